# The promise: docs/reference.md has every function, view, table and setting there is, and says of
# each what the catalogue says.
#
# The page is made again, as "make docs" makes it, and compared.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $root = "$FindBin::RealBin/../..";
my $made = PostgreSQL::Test::Utils::tempdir() . '/reference.md';
my $t    = WebhookTest->new;

sub make_page
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($t->node->host, $t->node->port, $WebhookTest::DB);
	my $error = '';
	my $ok = IPC::Run::run([ 'bash', "$root/scripts/docs.sh", 'page' ], '<', \undef, '>', $made, '2>', \$error);
	return $ok ? '' : $error || 'it failed';
}

sub difference
{
	my $diff = '';
	IPC::Run::run([ 'diff', '-u', "$root/docs/reference.md", $made ], '<', \undef, '>', \$diff, '2>&1');
	return $diff;
}

is(make_page(), '', 'the page is made');
is(difference(), '', 'docs/reference.md is as the catalogue is now') or diag('run make docs');

# what would be noticed
$t->sql("COMMENT ON FUNCTION webhook.pause(text) IS 'Something else.'");
is(make_page(), '', 'it is made of another comment');
like(difference(), qr/^\+Something else\.$/m, 'and differs');
$t->sql('CREATE FUNCTION webhook.news() RETURNS void LANGUAGE sql AS $$ $$; CREATE TYPE webhook.mood AS ENUM ()');
like(make_page(), qr/no heading for mood, news/, 'nothing is left out because nobody gave it a heading');

$t->stop;
done_testing();

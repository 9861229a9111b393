# The promise: what the documentation tells people to type works as it stands there.
#
# Every block of SQL and shell of the pages in docs/ and of CONTRIBUTING.md is run, or says why not:
# WebhookDocs.pm tells how. README.md, docs/guide.md and docs/receiving.md have tests of their own,
# which also look at what arrives.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookDocs;

my $root  = "$FindBin::RealBin/../..";
my @pages = grep { !m{^docs/(guide|receiving)\.md$} && -e "$root/$_" }
  ('CONTRIBUTING.md', map { s{^\Q$root\E/}{}r } sort glob("$root/docs/*.md $root/docs/*/*.md"));
cmp_ok(scalar @pages, '>', 5, 'there are pages');

my $docs = WebhookDocs->new;
$docs->run_page($_) for @pages;

subtest 'a block that does not do what its page says would be noticed' => sub {
	my $does = sub { return ($docs->run_block({ page => 'docs/none.md', line => 1, @_ }))[1] ? 1 : 0 };
	$docs->begin_page('docs/none.md');
	is($does->(language => 'sql', text => "SELECT 1;\n\\echo done\n"), 1, 'SQL');
	is($does->(language => 'sql', text => "SELECT 1/0;\nSELECT 1;\n"), 0, 'SQL that fails');
	is($does->(language => 'sql', text => 'SELECT 1/0', fails => 'division by zero'), 1, 'and should');
	is($does->(language => 'sql', text => 'SELECT 1/0', fails => 'overflow'), 0, 'for another reason');
	is($does->(language => 'sql', text => 'SELECT 1', fails => 'zero'), 0, 'SQL that should fail');
	is($does->(language => 'sql', setup => 'SELECT 1/0', text => 'SELECT 1'), 0, 'a setup that fails');
	is($does->(language => 'sh', text => "psql -Atc 'SELECT instance FROM webhook.identity'\n"), 1, 'a command');
	is($does->(language => 'sh', text => "false\ntrue\n"), 0, 'a command that fails');
	$docs->end_page;
};
$docs->stop;
done_testing();

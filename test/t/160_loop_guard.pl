# The promise: a receiver that writes back into the watched table is not told of
# its own changes when it marks its transactions; everybody else is. So it is
# with the recipe of docs/guide.md, run as it stands there.
#
# Covers: a handler that writes back, an endless loop.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookDocs;
use WebhookTest;

my $t = WebhookTest->new;
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE contact (id int PRIMARY KEY, score int NOT NULL DEFAULT 0)');
$t->watch('contact');
$t->subscribe('crm', $r->url('/ok/crm'), exclude_origins => q('{crm}'));
$t->subscribe('audit', $r->url('/ok/audit'));

# What the receiver behind /ok/crm does: for each request that it has not
# answered with a change yet, it changes the row it was told of. Returns how
# many there were.
my $answered = 0;
sub write_back
{
	my ($mark) = @_;
	$t->wait_until_settled;
	my @requests = $r->requests('/ok/crm');
	my @new      = @requests[ $answered .. $#requests ];
	for my $request (@new)
	{
		my $id = JSON::PP::decode_json($request->{body})->{entity_id};
		$t->sql("BEGIN; $mark; UPDATE contact SET score = score + 1 WHERE id = $id; COMMIT");
	}
	$answered = @requests;
	return scalar @new;
}

# Unmarked, there is a loop: each change is told, and answered with a change.
$t->sql('INSERT INTO contact VALUES (1), (2)');
my @unmarked = map { write_back('') } 1 .. 4;
is("@unmarked", '2 2 2 2', 'without a mark each round of changes makes another');

# Marked, the last round of the loop is answered, and that is the end of it.
my $mark   = q(SET LOCAL webhook.context = '{"origin": "crm"}');
my @marked = map { write_back($mark) } 1 .. 4;
is("@marked", '2 0 0 0', 'with the mark the receiver is not told of its own changes');
my $others = $r->count('/ok/audit');
is($others, 12, 'others are told of every change');
is($t->sql('SELECT sum(score) FROM contact'), 10, 'all of which were made');

# It is the transaction that is marked, not the session or the row.
$t->sql("BEGIN; $mark; UPDATE contact SET score = 0 WHERE id = 1; COMMIT; UPDATE contact SET score = 0 WHERE id = 2");
is(write_back($mark), 1, 'a change of the same session that is not marked is told');
$t->sql(q(BEGIN; SET LOCAL webhook.context = '{"origin": "erp"}'; UPDATE contact SET score = 7; COMMIT));
is(write_back($mark), 2, 'and one of another origin');
is(write_back($mark), 0, 'after which there is silence again');
is($r->count('/ok/audit') - $others, 2 + 1 + 2 + 2, 'others are told of all of these');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'nothing was given up');

# the recipe of docs/guide.md
my $recipe = WebhookDocs::block_text('docs/guide.md', 'Receivers that write back', 'sql');
$t->sql('CREATE TABLE users (id bigint PRIMARY KEY, score int); INSERT INTO users VALUES (42, 0)');
$t->watch('users');
$t->sql("UPDATE webhook.subscription SET exclude_origins = NULL WHERE name = 'crm'");
my %before = map { $_ => $r->count("/ok/$_") } 'crm', 'audit';
$t->sql($recipe);
$t->wait_until_settled;
is($t->sql('SELECT score FROM users'), 7, "the recipe makes its change");
is_deeply({ map { $_ => $r->count("/ok/$_") - $before{$_} } keys %before }, { crm => 0, audit => 1 }, 'of which the others are told, and the CRM is not');
$t->sql('UPDATE users SET score = 8');
$t->wait_until_settled;
is($r->count('/ok/crm') - $before{crm}, 1, 'as it is of those that are not marked');

$t->stop;
done_testing();

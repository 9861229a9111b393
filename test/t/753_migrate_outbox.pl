# The promise: scripts/migrate/outbox.sql prints SQL that takes over an outbox table of somebody's
# own: each row is sent once, by the old relay or by pgwebhook, whether the relay drains what is
# older or leaves it behind, and rows of an entity arrive in their order.
#
# The relay is a query of this test, which takes what is not marked and marks it.
use strict;
use warnings;

use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use Test::More;
use WebhookMigrate;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver;

$t->sql(<<'SQL');
CREATE SCHEMA app;
CREATE TABLE app."out'box" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, aggregate_id text, event_type text,
	"pay'load" jsonb NOT NULL, sent_at timestamptz, twice bigint GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE plain (seq int PRIMARY KEY, body text, state text DEFAULT 'new');
INSERT INTO plain SELECT n, format('{"n":%s}', n), CASE WHEN n <= 3 THEN 'done' ELSE 'new' END FROM generate_series(1, 6) n;
CREATE TABLE relayed (id bigint);
SQL
my $relay = q{WITH mine AS (UPDATE app."out'box" SET sent_at = now() WHERE sent_at IS NULL RETURNING id) INSERT INTO relayed SELECT id FROM mine};
my %of = (table => q(app."out'box"), name => 'events', url => $r->url('/ok/events?a=%27'), payload => q(pay'load), entity => 'aggregate_id', type => 'event_type');

for ([ 'neither', {}, qr/one of sent and unsent/ ], [ 'both', { sent => 'sent_at', unsent => 'true' }, qr/one of sent and unsent/ ],
	[ 'a column that is not there', { sent => 'sent' }, qr/no column sent/ ], [ 'a name', { sent => 'sent_at', name => q(a'b) }, qr/name must be/ ],
	[ 'a body', { sent => 'sent_at', payload => 'id' }, qr/neither JSON nor text/ ], [ 'a value', { sent => 'event_type' }, qr/give sent_value/ ])
{
	my ($name, $more, $error) = @$_;
	is(eval { migrate($t, 'outbox', %of, %$more); 1 }, undef, "$name is an error");
	like($@, $error, 'which says so');
}

subtest 'the relay drains what is older' => sub {
	my $sql = migrate($t, 'outbox', %of, sent => 'sent_at');
	my @writers = $t->sessions(map { writer(qq{INSERT INTO app."out'box" (aggregate_id, event_type, "pay'load", sent_at)
		VALUES ('$_', 'it', json_build_object('w', $_, 'n', n), NULL)}) } 1 .. 4);
	my @relay = $t->sessions("$relay;\n" x 30);
	poll_until('writers write', sub { $t->sql(q(SELECT count(*) FROM app."out'box")) > 40 });
	my ($ok, $said) = run_printed($t, $sql);
	ok($ok, 'the printed SQL runs while the table is written and relayed') or diag($said);
	is(join('', $t->finish_sessions(@writers, @relay)), '', 'and nobody fails');
	$t->sql($relay);
	$t->wait_until_settled;

	my @requests = arrived($r, '/ok/events');
	my @old = split /\n/, $t->sql('SELECT id FROM relayed');
	is(difference([ split /\n/, $t->sql(q(SELECT id FROM app."out'box")) ], [ @old, map { $_->{headers}{'x-outbox-id'} } @requests ]),
		'', 'each row is sent once, by one of both');
	cmp_ok(scalar @requests, '>=', 4 * 50, 'some by pgwebhook');
	cmp_ok(scalar @old,      '>=', 1,      'some by the relay');
	my (%last, @wrong);
	for my $body (map { JSON::PP::decode_json($_->{body}) } grep { $_->{path} =~ m{^/ok/events} } $r->requests)
	{
		push @wrong, "$body->{w}: $body->{n}" if $body->{n} <= ($last{ $body->{w} } // 0);
		$last{ $body->{w} } = $body->{n};
	}
	is("@wrong", '', 'in the order of their entity');

	$t->sql(q{INSERT INTO app."out'box" (aggregate_id, event_type, "pay'load") VALUES ('z', 'last', '{"w":"z","n":1}')});
	$t->wait_until_settled;
	my $request = (arrived($r, '/ok/events'))[-1];
	is_deeply(JSON::PP::decode_json($request->{body}), { w => 'z', n => 1 }, 'a row after the cut');
	is($request->{headers}{'x-outbox-type'}, 'last', 'with its type');
	is($t->sql(q(SELECT DISTINCT entity_id FROM webhook.outbox WHERE entity_id = 'z')), 'z', 'in the order of its aggregate');
	$t->sql(q(DELETE FROM app."out'box"));
	$t->wait_until_settled;
	is(scalar(arrived($r, '/ok/events')), @requests + 1, 'rows may be deleted');
};

subtest 'pgwebhook takes over what is not sent' => sub {
	my ($ok, $said) = run_printed($t, migrate($t, 'outbox', table => 'public.plain', name => 'rest', url => $r->url('/ok/rest'), id => 'seq', payload => 'body', unsent => "state = 'new'"));
	ok($ok, 'the printed SQL runs') or diag($said);
	$t->sql(q(INSERT INTO plain VALUES (7, '{"n":7}')));
	$t->wait_until_settled;
	is(join(' ', map { $_->{n} } bodies($r, '/ok/rest')), '4 5 6 7', 'what was not sent, once, in its order, then what is new');
	is($t->sql('SELECT count(*), count(DISTINCT seq) FROM plain'), '7|7', 'all rows are there');
};

$t->stop;
done_testing();

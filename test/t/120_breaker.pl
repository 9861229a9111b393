# The promise: an endpoint in trouble is left alone except for a probe now and
# then, and costs nobody else anything; what happens meanwhile is kept, one
# insert each, and arrives in order when the endpoint is well again.
#
# Covers: failures that go on; order per entity; no hot row.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
$t->watch('item');
$t->subscribe('ill', $r->url('/ok/ill'), retry_schedule => "'{1h}'", max_in_flight => 5);
$t->subscribe('well', $r->url('/ok/well'));

sub breaker { return $t->sql("SELECT breaker FROM webhook.status WHERE subscription = 'ill'") }

$r->mode('/ok/ill', '/status/503/ill');
is(breaker(), 'closed', 'closed at first');
$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 200) g');
$t->poll_sql('it opens', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'open');
$r->wait_for_requests(200, '/ok/well');
pass('another subscription gets everything');
my $failed = $r->count('/ok/ill');
cmp_ok($failed, '<=', 10 + 4, 'after ten failures in a row only those under way are still made');
$t->poll_sql('all of it is kept', "SELECT count(*) FROM webhook.pending", 200);
is( $t->sql("SELECT count(*) FROM webhook.pending WHERE state = 'deferred' AND attempts = 0"),
	200 - $failed, 'what was not tried is deferred with no attempt counted');

# while it is open
$t->sql('SELECT pg_stat_reset()');
$t->sql('UPDATE item SET v = v + 1') for 2 .. 4;
$r->wait_for_requests(800, '/ok/well');
$t->poll_sql('what happens meanwhile is kept', "SELECT count(*) FROM webhook.pending", 800);
$t->poll_sql('its statistics are in', q{SELECT n_tup_ins >= 600 FROM pg_stat_all_tables WHERE relid = 'webhook.pending'::regclass});
cmp_ok($t->sql(q{SELECT n_tup_upd FROM pg_stat_all_tables WHERE relid = 'webhook.pending'::regclass}),
	'<=', 10, 'by one insert each: rows are updated for probes only');
is($t->sql("SELECT state FROM webhook.status WHERE subscription = 'well'"), 'active', 'the other subscription is active');

# probes, until one is answered
$t->poll_sql('a probe is made', "SELECT count(*) > $failed FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'ill'");
$t->poll_sql('it is open again', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'open');
my @probes = ($r->requests('/ok/ill'))[ $failed .. $failed ];
like($probes[0]{body}, qr/"entity_id":"1"/, 'with the oldest delivery');
$r->mode('/ok/ill', undef);
$t->wait_until_settled;
is(breaker(), 'closed', 'closed after an answer');
is($t->sql("SELECT state FROM webhook.status WHERE subscription = 'ill'"), 'active', 'and active');

$t->load_requests($r, 'request');
$t->sql("DELETE FROM request WHERE path NOT LIKE '/ok/ill%' OR status <> 200");
is($t->sql('SELECT count(*), count(DISTINCT id) FROM request'), '800|800', 'all 800 deliveries arrive, once each');
is( $t->sql(<<SQL), '', 'in order per entity');
SELECT n, event_number, body FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request) x WHERE previous >= event_number
SQL
is( $t->sql(<<SQL), 't', 'at once, not when their schedule says: that was an hour');
SELECT max(a.started_at) - min(a.started_at) < interval '5 min' FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'ill'
SQL

# With nothing pending the next event is the probe: here because what there was is given up.
$r->mode('/ok/ill', '/hang');
$t->sql("UPDATE webhook.subscription SET timeout = '200ms' WHERE name = 'ill'");
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
$t->poll_sql('it opens again', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'open');
$t->wait_until_read;
$t->poll_sql('all is kept', "SELECT count(*) FROM webhook.pending WHERE state <> 'in_flight'", 20);
$t->sql("DELETE FROM webhook.pending");
$r->mode('/ok/ill', undef);
my $before = $r->count('/ok/ill');
# the worker looks for a row to probe with, and finds none
$t->poll_sql('it looks', "SELECT state FROM webhook.status WHERE subscription = 'ill'", 'active', 30);
$t->sql('UPDATE item SET v = v + 1 WHERE id = 100');
$t->wait_until_settled;
is($r->count('/ok/ill') - $before, 1, 'with nothing left the next event is the probe');
is(breaker(), 'closed', 'and closes it');

# A resume, or another URL, is a reason to try at once.
$r->mode('/ok/ill', '/status/500/ill');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
$t->poll_sql('it opens a third time', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'open');
$r->mode('/ok/ill', undef);
$t->sql("SELECT webhook.pause('ill')");
$t->sql("SELECT webhook.resume('ill')");
$t->wait_until_settled;
is(breaker(), 'closed', 'closed by a resume');

# also of what an endpoint that is there did not like
$r->mode('/ok/ill', '/status/404/ill');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 3');
$t->poll_sql('three are to be tried again in an hour', "SELECT count(*) FROM webhook.pending WHERE state = 'retry' AND next_attempt_at > now() + interval '30 min'", 3);
$r->mode('/ok/ill', undef);
$t->sql("SELECT webhook.pause('ill')");
$t->sql("SELECT webhook.resume('ill')");
$t->wait_until_settled;
pass('a resume tries at once what waits for its schedule');

# half-open: nothing but the probe is under way, and what comes is kept
sub open_again
{
	$r->mode('/ok/ill', '/status/503/ill');
	$t->sql("UPDATE webhook.subscription SET timeout = '60s' WHERE name = 'ill'");
	$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
	$t->poll_sql('it opens', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'open');
	return;
}

open_again();
$r->mode('/ok/ill', '/hold');
$t->poll_sql('half-open while a probe is under way', "SELECT breaker, in_flight FROM webhook.status WHERE subscription = 'ill'", 'half-open|1');
$t->sql('UPDATE item SET v = v + 1 WHERE id > 100');
$t->poll_sql('what happens meanwhile is kept', 'SELECT count(*) FROM webhook.pending', 120);
is($r->concurrent('/ok/ill')->{now}, 1, 'half-open: the receiver sees the probe and nothing else');
is(breaker(), 'half-open', 'and it stays so until that is answered');
$r->mode('/ok/ill', undef);
$r->release('/ok/ill', 1);
$t->wait_until_settled;
is(breaker(), 'closed', 'closed by the answer');

# while a probe is under way: a pause takes it away from nobody, and what it says counts
open_again();
$r->mode('/ok/ill', '/hold');
$t->poll_sql('a probe is under way again', "SELECT breaker FROM webhook.status WHERE subscription = 'ill'", 'half-open');
$t->sql("SELECT webhook.pause('ill')");
$t->poll_sql('it is paused', "SELECT state, breaker, in_flight FROM webhook.status WHERE subscription = 'ill'", 'paused|half-open|1');
$before = $r->count('/ok/ill');
$r->mode('/ok/ill', undef);
$r->release('/ok/ill', 1);
$t->poll_sql('its answer closes the breaker', "SELECT state, breaker, in_flight FROM webhook.status WHERE subscription = 'ill'", 'paused|closed|0');
$t->poll_sql('it is delivered', 'SELECT count(*) FROM webhook.pending', 19);
is($r->count('/ok/ill'), $before, 'and nothing more is sent while paused');
$t->sql("SELECT webhook.resume('ill')");
$t->wait_until_settled;

# the status tells when the next request is made: the probe, and not the retries, which wait for longer; and
# none while the probe is in flight
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}' WHERE name = 'ill'");
open_again();
$t->poll_sql('the status tells when the probe is', "SELECT next_attempt_at < now() + interval '11 min' FROM webhook.status WHERE subscription = 'ill' AND breaker = 'open'", 't');
$r->mode('/ok/ill', '/hold');
$t->poll_sql('and nothing of the retries meanwhile', "SELECT next_attempt_at IS NULL FROM webhook.status WHERE subscription = 'ill' AND breaker = 'half-open'", 't');
$r->mode('/ok/ill', undef);
$r->release('/ok/ill', 1);
$t->wait_until_settled;

open_again();
$t->sql("UPDATE webhook.subscription SET url = '${\$r->url('/ok/elsewhere')}' WHERE name = 'ill'");
$t->wait_until_settled;
is(breaker(), 'closed', 'another URL: closed');
is($r->count('/ok/elsewhere'), 20, 'another URL: all of it goes there');

$t->stop;
done_testing();

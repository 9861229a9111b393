# The promise: a delivery that fails is tried again by its subscription's
# schedule, under the same event id, until it is delivered or given up; what is
# given up is kept whole; and no failure changes the order of an entity's
# events or holds up those of others.
#
# Each part has a source and subscriptions of its own in one cluster; the
# endpoints fail in the way the part is about.
#
# Covers: retries by schedule, for every kind of failure; every event ends in
# exactly one state; what is a failure; an entity goes on after a dead letter;
# order per entity while retrying; dead letters; pause; addresses, redirects;
# settings change while running.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);
# a publication of everything has our tables too: what is updated in them must not need a key
$t->sql('SET client_min_messages = error; CREATE PUBLICATION ours FOR TABLES IN SCHEMA webhook');

# A subtest; when something in it never comes about it fails, and the next one
# begins without what it has left.
sub part
{
	my ($name, $code) = @_;
	subtest $name => sub {
		return if eval { $code->(); 1 };
		fail("everything it waits for comes about: $@");
		$t->sql('SELECT webhook.unsubscribe(name) FROM webhook.subscription');
	};
	return;
}

# A table NAME that is watched; events of it have that entity type.
sub source
{
	my ($name, %args) = @_;
	$t->sql("CREATE TABLE $name (id int PRIMARY KEY, v int NOT NULL DEFAULT 1, owner text)");
	$t->watch($name, %args);
	return;
}

# A subscription of that source's events, and of no others.
sub subscribe
{
	my ($name, $source, $url, %columns) = @_;
	$t->subscribe($name, $url, events => "'{$source.*}'", %columns);
	return;
}

# The attempts of a subscription, one a line, in order.
sub attempts
{
	my ($subscription, $columns) = @_;
	return $t->sql(<<SQL);
SELECT $columns FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = '$subscription'
	JOIN webhook.outbox o ON o.event_number = a.event_number ORDER BY a.started_at, a.event_number
SQL
}

# What a receiver got at a path, as "entity v" in order of arrival, those answered with 200 only if so asked.
sub arrivals
{
	my ($path, $only_ok) = @_;
	my @wanted = grep { !$only_ok || ($_->{status} // 0) == 200 } $r->requests($path);
	return join ', ', map { $_->{body} =~ /"result":\{"id":(\d+),"v":(\d+)/ ? "$1 $2" : 'no result' } @wanted;
}

sub state_of
{
	my ($subscription) = @_;
	return $t->sql("SELECT state FROM webhook.status WHERE subscription = '$subscription'");
}

part 'a failing delivery is tried again by its schedule' => sub {
	source('schedule');
	subscribe('schedule', 'schedule', $r->url('/fail-first/3/schedule'), retry_schedule => "'{300ms,600ms}'");
	$t->sql('INSERT INTO schedule SELECT g FROM generate_series(1, 3) g'); # nine failures in a row: its breaker stays closed
	$t->wait_until_settled;
	is( $t->sql(<<SQL), '{"(1,server_error,500)","(2,server_error,500)","(3,server_error,500)","(4,delivered,200)"}', 'attempts are numbered, failures logged as such, then delivered');
SELECT DISTINCT attempts FROM (SELECT array_agg((a.attempt_number, a.outcome, a.http_status) ORDER BY a.started_at) AS attempts
	FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'schedule' GROUP BY a.event_number) x
SQL
	# from the end of an attempt to the start of the next; the last wait of the schedule repeats
	is( $t->sql(<<SQL), '', 'after 300 ms, then 600, then 600 again, give or take a tenth (and not much later)');
SELECT * FROM (
	SELECT a.event_number, a.attempt_number, extract(epoch FROM a.started_at - lag(a.started_at) OVER w) * 1000 - lag(a.duration_ms) OVER w AS waited,
		(ARRAY[NULL, 300, 600, 600])[a.attempt_number] AS wait
	FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'schedule'
	WINDOW w AS (PARTITION BY a.event_number ORDER BY a.started_at)) x
WHERE waited < 0.9 * wait - 5 OR waited > 1.1 * wait + 2000
SQL
	my %ids = map { $_->{headers}{'webhook-id'} => 1 } $r->requests('/fail-first/3/schedule');
	is(scalar keys %ids, 3, 'every attempt carries the id of its event');
	is(scalar(grep { $_->{headers}{'webhook-timestamp'} } $r->requests('/fail-first/3/schedule')), 12, '12 requests for 3 events, each with the time of its attempt');
};

part 'waits are spread by a jitter' => sub {
	source('jitter');
	subscribe('jitter', 'jitter', $r->url('/status/400/jitter'), retry_schedule => "'{1h}'");
	$t->sql('INSERT INTO jitter SELECT g FROM generate_series(1, 50) g');
	$t->poll_sql('all have failed once', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 50);
	is( $t->sql(<<SQL), 't|t', 'of an hour, by a tenth to both sides');
SELECT min(wait) >= 0.9 * 3600 AND max(wait) <= 1.1 * 3600 + 10, max(wait) - min(wait) > 300 FROM (
	SELECT extract(epoch FROM p.next_attempt_at - a.started_at) AS wait FROM webhook.pending p JOIN webhook.attempt a USING (event_number, subscription_id)) w
SQL
	$t->sql("SELECT webhook.unsubscribe('jitter')");
};

part 'what is given up is kept whole, and its entity goes on' => sub {
	source('dead', keep_previous => 'true', tenant => "'owner'");
	# a whole wait would end beyond give_up_after
	subscribe('dead', 'dead', $r->url('/ok/dead'), retry_schedule => "'{150ms,2s}'", give_up_after => "'3s'");
	$t->sql("INSERT INTO dead VALUES (1, 1, 'Zoë \"the fox\" 🦊')");
	$t->wait_until_settled;
	$r->mode('/ok/dead', '/status/404/dead');
	$t->sql("BEGIN; SET LOCAL webhook.context = '{\"actor\": \"ada\"}'; UPDATE dead SET v = 2; COMMIT");
	$t->sql("UPDATE dead SET v = $_") for 3 .. 5;
	$t->poll_sql('the first is given up', "SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'dead'", 1);
	$r->mode('/ok/dead', undef);
	$t->wait_until_settled;
	is( $t->sql(<<SQL), '1|t|t|t|http 404|ada|1', 'the dead letter holds the whole event and the reason');
SELECT d.event_number - (SELECT min(event_number) FROM webhook.outbox WHERE entity_type = 'dead'),
	(d.xid, d.entity_id, d.entity_type, d.action_type, d.result::text, d.previous::text, d.tenant, d.context::text, d.created_at)
		IS NOT DISTINCT FROM (o.xid, o.entity_id, o.entity_type, o.action_type, o.result::text, o.previous::text, o.tenant, o.context::text, o.created_at),
	d.tenant = 'Zoë "the fox" 🦊',
	d.first_attempt_at < d.given_up_at AND d.attempts > 3,
	replace(substring(d.reason FROM 'status 404'), 'status', 'http'), d.context ->> 'actor', d.previous ->> 'v'
FROM webhook.dead_letter d JOIN webhook.outbox o ON o.event_number = d.event_number
SQL
	is( $t->sql(<<SQL), 't|t', 'as many attempts as the log has rows, over give_up_after');
SELECT count(*) = min(d.attempts) AND array_agg(a.attempt_number ORDER BY a.started_at) = array_agg(a.attempt_number ORDER BY a.attempt_number),
	max(a.started_at) - min(a.started_at) >= interval '2.9 s' -- the last one is made when that time ends; by the wall clock it may be a little less
FROM webhook.attempt a JOIN webhook.dead_letter d USING (event_number, subscription_id)
SQL
	is(arrivals('/ok/dead', 1), '1 1, 1 3, 1 4, 1 5', 'later events of that entity are delivered in order');
	is($t->sql("SELECT count(*) FROM webhook.dead_letter"), 1, 'and it is dead once');
};

part 'while one entity fails, others pass' => sub {
	source('alone');
	subscribe('alone', 'alone', $r->url('/ok/alone'), retry_schedule => "'{5s}'");
	$r->mode('/ok/alone', '/status/500/alone');
	$t->sql('INSERT INTO alone VALUES (1, 1)');
	$r->wait_for_requests(1, '/ok/alone');
	$t->poll_sql('it failed', "SELECT state FROM webhook.pending", 'retry');
	$r->mode('/ok/alone', undef);
	$t->sql('UPDATE alone SET v = 2 WHERE id = 1');
	$t->sql("INSERT INTO alone VALUES ($_, 1)") for 2 .. 4;
	$t->sql('UPDATE alone SET v = 3 WHERE id = 1');
	$r->wait_for_requests(4, '/ok/alone');
	is(arrivals('/ok/alone', 1), '2 1, 3 1, 4 1', 'events of other entities are delivered at once');
	ok($t->poll_sql('they wait', "SELECT string_agg(state, ' ' ORDER BY event_number) FROM webhook.pending", 'retry blocked blocked'), 'later ones of that entity wait behind it');
	$t->wait_until_settled;
	is(arrivals('/ok/alone', 1), '2 1, 3 1, 4 1, 1 1, 1 2, 1 3', 'and follow in order when it is delivered');
};

part 'ordering is changed while deliveries wait' => sub {
	source('reorder');
	subscribe('reorder', 'reorder', $r->url('/ok/reorder'), retry_schedule => "'{1s}'", ordering => "'entity'");
	$r->mode('/ok/reorder', '/status/404/reorder');
	$t->sql('INSERT INTO reorder SELECT g FROM generate_series(1, 3) g');
	$t->sql("UPDATE reorder SET v = $_") for 2, 3;
	$t->poll_sql('heads of lanes have failed, others wait behind', 'SELECT count(*) FROM webhook.pending', 9);
	my ($v, $n) = (3, 9);
	for my $ordering ('strict', 'none', 'entity')
	{
		$t->sql("UPDATE webhook.subscription SET ordering = '$ordering' WHERE name = 'reorder'");
		$v++;
		$t->sql("UPDATE reorder SET v = $v");
		$n += 3;
		$t->poll_sql("under $ordering they fail too", 'SELECT count(*) FROM webhook.pending', $n);
	}
	# what was given its lane under 'strict' is in one, under 'none' each in its own, and the others by entity, as before
	is($t->sql(<<SQL), '1 3 3', 'what is read later goes by the new ordering, in other lanes than what waits; by entity in the same');
SELECT string_agg(lanes::text, ' ' ORDER BY v) FROM (SELECT o.result ->> 'v' AS v, count(DISTINCT lane) AS lanes
	FROM webhook.pending p JOIN webhook.outbox o ON o.event_number = p.event_number WHERE (o.result ->> 'v')::int > 3 GROUP BY 1) x
SQL
	$r->mode('/ok/reorder', undef);
	$t->wait_until_settled;
	my @arrived = split /, /, arrivals('/ok/reorder', 1);
	is(join(', ', sort @arrived), join(', ', map { my $id = $_; map { "$id $_" } 1 .. 6 } 1 .. 3), 'all of it is delivered, once each');
	my @of = ('', '', '', '');
	$of[ (split / /)[0] ] .= (split / /)[1] for grep { / [1236]$/ } @arrived;
	is("@of[1 .. 3]", '1236 1236 1236', 'what was read by entity in order, also across the change and back');
	is(join(', ', grep { / 4$/ } @arrived), '1 4, 2 4, 3 4', 'what was read as strict, too');
};

part 'an endpoint that fails at random' => sub {
	source('flaky');
	subscribe('flaky', 'flaky', $r->url('/flaky/30/4711'), retry_schedule => "'{100ms}'");
	$t->sql('INSERT INTO flaky SELECT g FROM generate_series(1, 100) g');
	$t->sql('UPDATE flaky SET v = v + 1') for 2 .. 20;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	$t->sql("DELETE FROM request WHERE path NOT LIKE '/flaky/%'");
	note $t->sql(q{SELECT count(*) || ' requests for ' || count(DISTINCT id) || ' events, up to ' || (SELECT max(attempt_number) FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'flaky') || ' for one' FROM request});
	is($t->sql('SELECT count(DISTINCT id) FROM request WHERE status = 200'), 2000, 'all 2,000 events of 100 entities are delivered');
	is($t->sql('SELECT count(*) FROM request WHERE status = 200'), 2000, 'once each');
	is($t->sql('SELECT count(*) > 200 FROM request WHERE status <> 200'), 't', 'after many failures');
	is( $t->sql(<<SQL), '', 'the successful receptions of each entity are in order');
SELECT n, event_number, body FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request WHERE status = 200) x WHERE previous >= event_number
SQL
	is( $t->sql(<<SQL), '', 'and no event is even tried before the one before it is delivered');
SELECT n, event_number, body FROM (SELECT *, lag(event_number) OVER w AS previous, lag(status) OVER w AS status_before
	FROM request WINDOW w AS (PARTITION BY body::json ->> 'entity_id' ORDER BY n)) x
WHERE previous <> event_number AND (previous > event_number OR status_before <> 200)
SQL
	is($t->sql('SELECT id FROM request GROUP BY id HAVING count(DISTINCT body) > 1'), '', 'each attempt of an event has the same id and body');
	is( $t->sql(<<SQL), '', 'the log has every request, numbered from 1, the last one delivered');
SELECT * FROM (
	SELECT o.event_number, array_agg(a.attempt_number ORDER BY a.started_at) AS attempts, array_agg(a.http_status ORDER BY a.started_at) AS statuses
	FROM webhook.outbox o LEFT JOIN webhook.attempt a ON a.event_number = o.event_number WHERE o.entity_type = 'flaky' GROUP BY o.event_number) l
FULL JOIN (SELECT event_number, array_agg(status ORDER BY n) AS statuses, array_agg(i ORDER BY n) AS attempts
	FROM (SELECT *, row_number() OVER (PARTITION BY event_number ORDER BY n)::int AS i FROM request) q GROUP BY event_number) r ON r.event_number = l.event_number
WHERE (l.statuses, l.attempts) IS DISTINCT FROM (r.statuses, r.attempts)
SQL
};

part 'pause and resume' => sub {
	source('paused');
	subscribe('paused', 'paused', $r->url('/ok/paused'), retry_schedule => "'{300ms}'");
	subscribe('witness', 'paused', $r->url('/ok/witness'));
	$t->sql('INSERT INTO paused SELECT g FROM generate_series(1, 3) g');
	$t->wait_until_settled;
	is($r->count('/ok/paused'), 3, 'delivered before');

	$t->sql("SELECT webhook.pause('paused')");
	$t->sql('UPDATE paused SET v = v + 1') for 2 .. 4;
	$t->sql('INSERT INTO paused VALUES (4)');
	$t->poll_sql('all of it is kept', "SELECT pending FROM webhook.status WHERE subscription = 'paused'", 10);
	$r->wait_for_requests(13, '/ok/witness');
	is($r->count('/ok/paused'), 3,        'nothing is sent while paused, though it is to another subscription');
	is(state_of('paused'),      'paused', 'the status says so');
	$t->sql("SELECT webhook.resume('paused')");
	$t->wait_until_settled;
	my @of = ('', '', '', '', '');
	$of[ (split / /)[0] ] .= (split / /)[1] for split /, /, arrivals('/ok/paused');
	is("@of[1 .. 4]", '1234 1234 1234 1', 'after it is resumed all of it arrives, of each entity in order');
	is(state_of('paused'), 'active', 'and it is active again');
	is( $t->sql("SELECT DISTINCT attempt_number FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'paused'"),
		1, 'being paused counts as no attempt');

	# what was to be tried again becomes due while paused
	$r->mode('/ok/paused', '/status/500/paused');
	$t->sql('UPDATE paused SET v = v + 1 WHERE id < 3');
	$r->wait_for_requests(15, '/ok/paused');
	$t->poll_sql('both failed', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 2);
	$t->sql("SELECT webhook.pause('paused')");
	$t->poll_sql('both are due, and kept', "SELECT count(*) FROM webhook.pending WHERE state = 'retry' AND next_attempt_at < clock_timestamp() - interval '500ms'", 2);
	$t->sql('UPDATE paused SET v = v + 1 WHERE id < 3');
	$t->poll_sql('what follows is kept', 'SELECT count(*) FROM webhook.pending', 4);
	my $count = $r->count('/ok/paused');
	$r->mode('/ok/paused', undef);
	$t->sql("SELECT webhook.resume('paused')");
	$t->wait_until_settled;
	is($r->count('/ok/paused') - $count, 4, 'retries that became due while paused go on after it');
	@of = ('', '', '');
	$of[ (split / /)[0] ] .= (split / /)[1] for grep { /^[12] / } split /, /, arrivals('/ok/paused', 1);
	is("@of[1, 2]", '123456 123456', 'in order');
};

part 'unsubscribe' => sub {
	source('leaving');
	subscribe('leaving', 'leaving', $r->url('/status/500/leaving'), retry_schedule => "'{300ms}'");
	# a witness of the time that passes: two retries of 500 ms
	subscribe('staying', 'leaving', $r->url('/fail-first/2/staying'), retry_schedule => "'{500ms}'");
	$t->sql('INSERT INTO leaving SELECT g FROM generate_series(1, 3) g');
	$t->sql('UPDATE leaving SET v = 2');
	$t->poll_sql('they failed, others wait behind',
		"SELECT pending FROM webhook.status WHERE subscription = 'leaving'", 6);
	my $id = $t->sql("SELECT id FROM webhook.subscription WHERE name = 'leaving'");
	$t->sql("SELECT webhook.unsubscribe('leaving')");
	is($t->sql("SELECT count(*) FROM webhook.pending WHERE subscription_id = $id"), 0, 'pending deliveries are dropped');
	my $seen = $r->count('/status/500/leaving');
	$t->sql('UPDATE leaving SET v = 3');
	$t->wait_until_settled;
	cmp_ok($r->count('/status/500/leaving') - $seen, '<=', 3, 'nothing is sent any more but what was under way');
	$seen = $r->count('/status/500/leaving');
	$t->sql('UPDATE leaving SET v = 4');
	$t->wait_until_settled;
	is($r->count('/status/500/leaving'), $seen, 'and later nothing at all');
	is( $t->sql(
			"SELECT count(DISTINCT event_number) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'staying' WHERE outcome = 'delivered'"),
		12, 'the other subscription got everything');
	is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription_id = $id"), 0, 'dropped is not given up');
};

part 'an inactive subscription' => sub {
	source('sleeping');
	subscribe('sleeping', 'sleeping', $r->url('/ok/sleeping'));
	$t->sql('INSERT INTO sleeping VALUES (1)');
	$t->wait_until_settled;
	$t->sql("UPDATE webhook.subscription SET state = 'inactive' WHERE name = 'sleeping'");
	$t->sql('INSERT INTO sleeping VALUES (2)');
	$t->sql('UPDATE sleeping SET v = 2');
	$t->wait_until_settled;
	$t->sql("UPDATE webhook.subscription SET state = 'active' WHERE name = 'sleeping'");
	$t->sql('INSERT INTO sleeping VALUES (3)');
	$t->wait_until_settled;
	is(arrivals('/ok/sleeping'), '1 1, 3 1', 'gets nothing of what happens meanwhile');
	is($t->sql("SELECT delivered FROM webhook.status WHERE subscription = 'sleeping'"), 2, 'and the status counts two');
	$t->node->restart;
	$t->sql('INSERT INTO sleeping VALUES (4)');
	$t->wait_until_settled;
	is(arrivals('/ok/sleeping'), '1 1, 3 1, 4 1', 'nor does it after a restart');
};

part '410 Gone' => sub {
	source('gone');
	subscribe('gone', 'gone', $r->url('/ok/gone'), retry_schedule => "'{300ms}'");
	$t->sql('INSERT INTO gone VALUES (1), (2)');
	$t->wait_until_settled;
	$r->mode('/ok/gone', '/status/410/gone');
	$t->sql('UPDATE gone SET v = 2 WHERE id = 1');
	$t->poll_sql('it is disabled', "SELECT state FROM webhook.subscription WHERE name = 'gone'", 'disabled');
	like($t->sql("SELECT reason FROM webhook.status WHERE subscription = 'gone'"), qr/410/, 'an endpoint that answers 410 is disabled, with the reason');
	$t->sql('UPDATE gone SET v = v + 1');
	$t->poll_sql('deliveries are kept', "SELECT pending FROM webhook.status WHERE subscription = 'gone'", 3);
	$t->poll_sql('the first is long due', "SELECT bool_or(state = 'retry' AND next_attempt_at < clock_timestamp() - interval '500 ms') FROM webhook.pending");
	is($r->count('/ok/gone'), 3, 'nothing more is sent to it');
	$r->mode('/ok/gone', undef);
	$t->sql("SELECT webhook.resume('gone')");
	$t->wait_until_settled;
	is( $t->sql("SELECT state, state_reason IS NULL FROM webhook.subscription WHERE name = 'gone'"),
		'active|t', 'resume makes it active again');
	my @of = ('', '', '');
	$of[ (split / /)[0] ] .= (split / /)[1] for split /, /, arrivals('/ok/gone', 1);
	is("@of[1, 2]", '123 12', 'and all of it arrives, in order, what was refused with 410 first');
};

part 'what an endpoint answers' => sub {
	source('answer');
	subscribe('big',      'answer', $r->url('/big/10000/answer'));
	subscribe('small',    'answer', $r->url('/status/500/answer'), retry_schedule => "'{1h}'");
	subscribe('redirect', 'answer', $r->url('/redirect/answer'), retry_schedule => "'{300ms}'");
	subscribe('early',    'answer', $r->url('/close-early/answer'), retry_schedule => "'{1h}'");
	subscribe('reset',    'answer', $r->url('/reset/answer'), retry_schedule => "'{1h}'");
	subscribe('hang',     'answer', $r->url('/hang/answer'), retry_schedule => "'{1h}'", timeout => "'500ms'");
	subscribe('drip',     'answer', $r->url('/drip/answer'), retry_schedule => "'{1h}'", timeout => "'500ms'");
	subscribe('refused',  'answer', 'https://localhost:9/answer', retry_schedule => "'{1h}'");
	subscribe('nowhere',  'answer', 'https://nowhere.invalid/answer', retry_schedule => "'{1h}'");
	$t->sql('INSERT INTO answer VALUES (1)');
	my $names = "('big', 'small', 'redirect', 'early', 'reset', 'hang', 'drip', 'refused', 'nowhere')";
	$t->poll_sql('each has been tried', <<SQL, 9);
SELECT count(DISTINCT a.subscription_id) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name IN $names
SQL
	is(attempts('big', 'outcome, length(response), response = repeat(\'x\', 4096)'), 'delivered|4096|t', 'the first 4096 bytes of the response are kept');
	is(attempts('small', "outcome, http_status, replace(response, e'\\n', '\$')"), 'server_error|500|status 500$', 'also of a failure');
	my %outcome = (
		early   => 'reset',
		reset   => 'reset',
		hang    => 'timeout',
		drip    => 'timeout',
		refused => 'refused',
		nowhere => 'dns');
	for my $name (sort keys %outcome)
	{
		is(attempts($name, "outcome, coalesce(error, '') <> ''"), "$outcome{$name}|t", "/$name is a failure: $outcome{$name}");
	}
	is($t->sql("SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name IN $names AND p.state IN ('retry', 'in_flight')"),
		8, 'and all failures are to be tried again');

	$r->wait_for_requests(3, '/redirect');
	is($r->count('/ok/redirected'), 0, 'a redirect is not followed');
	is($t->sql("SELECT DISTINCT outcome, http_status FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'redirect'"),
		'redirect|302', 'but is a failure, tried again');
	$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription WHERE name IN $names");
};

part 'certificates that may not be trusted' => sub {
	source('tls');
	my %bad = map { $_ => $t->receiver(cert => $_) } qw(selfsigned expired wronghost);
	subscribe($_, 'tls', $bad{$_}->url("/ok/$_"), retry_schedule => "'{200ms}'") for sort keys %bad;
	subscribe('trusted', 'tls', $r->url('/ok/trusted'));
	$t->sql('INSERT INTO tls VALUES (1)');
	$t->poll_sql('each has been tried three times', <<SQL, 3);
SELECT count(*) FROM (SELECT a.subscription_id FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'tls'
	WHERE a.outcome LIKE 'tls%' AND a.http_status IS NULL AND a.error <> '' GROUP BY 1 HAVING count(*) >= 3) x
SQL
	my %why = (selfsigned => 'unknown authority', expired => 'expired certificate', wronghost => 'certificate of another host');
	my %word = (selfsigned => 'tls_unknown_ca', expired => 'tls_expired', wronghost => 'tls_wrong_host');
	for my $cert (sort keys %bad)
	{
		is($t->sql("SELECT DISTINCT outcome FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = '$cert'"),
			$word{$cert}, "$why{$cert}: refused and tried again");
		note $t->sql("SELECT error FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = '$cert' LIMIT 1");
		is($bad{$cert}->count, 0, "$why{$cert}: nothing is told to it");
		$bad{$cert}->stop;
	}
	is(arrivals('/ok/trusted'), '1 1', 'while a trusted one of the same machine gets its event');
	$t->sql("SELECT webhook.unsubscribe('$_')") for sort keys %bad;
	$t->wait_until_settled;
};

part 'addresses that may not be dialled' => sub {
	source('address');
	subscribe('address', 'address', $r->url('/ok/address'), retry_schedule => "'{300ms}'");
	$t->sql('INSERT INTO address VALUES (1)');
	$t->wait_until_settled;
	is($r->count('/ok/address'), 1, 'delivered while 127.0.0.0/8 is among webhook.allowed_networks');

	$t->sql("ALTER SYSTEM SET webhook.allowed_networks = ''");
	$t->node->reload;
	# the worker takes the setting up when it gets the signal: change one row until it shows
	my $v = 1;
	poll_until(
		'the new setting counts',
		sub {
			$v++;
			$t->sql("UPDATE address SET v = $v WHERE id = 1");
			$t->wait_until_read;
			return $t->sql("SELECT count(*) FROM webhook.attempt WHERE outcome = 'address_refused'") > 0;
		});
	my $seen = $r->count('/ok/address');
	$t->sql('INSERT INTO address SELECT g FROM generate_series(2, 5) g');
	$t->poll_sql('each is refused, and again', <<SQL, 5);
SELECT count(*) FROM (SELECT a.event_number FROM webhook.attempt a WHERE a.outcome = 'address_refused' GROUP BY 1 HAVING count(*) >= 2) x
SQL
	is($r->count('/ok/address'), $seen, 'without it nothing arrives, on the connections that were open neither');
	like($t->sql("SELECT DISTINCT error FROM webhook.attempt WHERE outcome = 'address_refused'"), qr/address/, 'the log says why');

	$t->sql('ALTER SYSTEM RESET webhook.allowed_networks');
	$t->node->reload;
	$t->wait_until_settled;
	my %of;
	push @{ $of{ (split / /)[0] } }, (split / /)[1] for split /, /, arrivals('/ok/address');
	is("@{ $of{1} }", join(' ', 1 .. $v), 'with it again all of it arrives in order');
	is(join(' ', map { "@{ $of{$_} }" } 2 .. 5), '1 1 1 1', 'of the other entities too');
};

# Every event of every source ended in exactly one state for each subscription that still is.
is( $t->sql(<<SQL), '', 'every delivery was delivered once or is dead, none both, none neither');
SELECT s.name, o.event_number, count(a.event_number), count(DISTINCT d.event_number) FROM webhook.subscription s
	JOIN webhook.outbox o ON o.entity_type || '.*' = ANY (s.events) AND s.name <> 'sleeping'
	LEFT JOIN webhook.attempt a ON a.event_number = o.event_number AND a.subscription_id = s.id AND a.outcome = 'delivered'
	LEFT JOIN webhook.dead_letter d ON d.event_number = o.event_number AND d.subscription_id = s.id
GROUP BY s.name, o.event_number HAVING count(DISTINCT d.event_number) + count(a.event_number) <> 1
SQL

$t->stop;
done_testing();

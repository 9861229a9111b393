# The promise: a subscription in trouble is an event for others. A breaker that
# opens or closes, a subscription that is disabled or resumed, a delivery that
# is given up: each is told once, to those that ask for it by name, never to the
# one it is about, and two that watch each other and are both in trouble come to
# rest.
#
# Covers: health reports what is broken.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
$t->watch('item');

# the events about a subscription, in order: change, and what is said of it
sub told
{
	my ($name) = @_;
	return $t->sql(<<SQL);
SELECT string_agg(concat_ws(' ', o.result ->> 'change', o.result ->> 'reason'), ', ' ORDER BY o.event_number)
FROM webhook.outbox o WHERE o.entity_type = 'webhook_subscription' AND o.entity_id = '$name'
SQL
}

# ---------------------------------------------------------------- nobody asks for them

$t->subscribe('crm', $r->url('/ok/crm?token=t0ken'), events => "'{item.*}'", retry_schedule => "'{1h}'");
$t->subscribe('all', $r->url('/ok/all'), max_in_flight => 1);
$r->mode('/ok/crm', '/status/413/crm');
$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 3) g');
$t->poll_sql('some are given up', 'SELECT count(*) FROM webhook.dead_letter', 3);
is(told('crm'), '', 'while nobody asks for them no event is made');
$t->sql("SELECT webhook.purge_dead_letters('0')");
$t->wait_until_settled;

# ---------------------------------------------------------------- each kind, once

$t->subscribe('ops', $r->url('/ok/ops'), events => "'{webhook_subscription.*}'");
$t->sql('UPDATE item SET v = 2');
$t->poll_sql('three are given up', 'SELECT count(*) FROM webhook.dead_letter', 3);
$t->wait_until_settled;
is(told('crm'), join(', ', ('dead_letter payload_too_large') x 3), 'each delivery that is given up is told');
is( $t->sql(<<SQL), 't', 'with its event');
SELECT bool_and(result ->> 'event_id' IN (SELECT webhook.event_id(event_number) FROM webhook.dead_letter)) FROM webhook.outbox WHERE entity_type = 'webhook_subscription'
SQL
$t->sql("SELECT webhook.purge_dead_letters('0')");
is(told('crm'), join(', ', ('dead_letter payload_too_large') x 3), 'a purge tells nothing');

$r->mode('/ok/crm', '/status/503/crm');
$t->sql('INSERT INTO item SELECT g FROM generate_series(11, 60) g');
$t->poll_sql('its breaker opens', "SELECT breaker FROM webhook.status WHERE subscription = 'crm'", 'open');
$t->poll_sql('it is told', q{SELECT count(*) FROM webhook.outbox WHERE result ->> 'change' = 'breaker_opened'}, 1);
# a probe that fails is no change
$t->poll_sql('a probe fails', "SELECT count(*) FROM webhook.pending WHERE attempts >= 2", 1);
$t->poll_sql('open again', "SELECT breaker FROM webhook.status WHERE subscription = 'crm'", 'open');
$r->mode('/ok/crm', undef);
$t->poll_sql('it closes', "SELECT breaker FROM webhook.status WHERE subscription = 'crm'", 'closed', 60);
$t->poll_sql('that is told too', q{SELECT count(*) FROM webhook.outbox WHERE result ->> 'change' = 'breaker_closed'}, 1);
like(told('crm'), qr/, breaker_opened unavailable, breaker_closed$/, 'a breaker that opens and closes is told once each');
$t->wait_until_settled;

$t->sql("UPDATE webhook.subscription SET retry_schedule = '{500ms}' WHERE name = 'crm'");
$r->mode('/ok/crm', '/status/410/crm');
$t->sql('UPDATE item SET v = 3 WHERE id <= 5');
$t->poll_sql('it is disabled', "SELECT state FROM webhook.subscription WHERE name = 'crm'", 'disabled');
$r->mode('/ok/crm', undef);
$t->sql("SELECT webhook.resume('crm')");
$t->wait_until_settled;
like(told('crm'), qr/, breaker_closed, disabled the endpoint answered 410 Gone, resumed$/, 'disabled and resumed are told');
my $so_far = told('crm');
$t->sql("SELECT webhook.pause('crm')");
$t->sql("SELECT webhook.resume('crm')");
$t->sql("BEGIN; UPDATE webhook.subscription SET state = 'disabled' WHERE name = 'crm'; ROLLBACK");
$t->wait_until_settled;
is(told('crm'), $so_far, 'a pause, its end, and what is rolled back are not');

my @got = map { JSON::PP::decode_json($_->{body}) } $r->requests('/ok/ops');
is(scalar @got, 7, 'who asks for them by name gets each once');
is_deeply([ map { "$_->{entity_type} $_->{entity_id} $_->{action_type}" } @got ], [ ('webhook_subscription crm update') x 7 ], 'as updates of the subscription');
is(join(' ', map { $_->{result}{state} } @got[ 5, 6 ]), 'disabled active', 'with its state');
unlike(join("\n", map { $_->{body} } $r->requests('/ok/ops')), qr/t0ken|localhost|127\.0\.0\.1|whsec_/, 'no URL and no secret is in them');
is(scalar(grep { $_->{body} =~ /webhook_subscription/ } $r->requests('/ok/all')), 0, 'who asks for all entity types does not get them');
is(scalar(grep { $_->{body} =~ /webhook_subscription/ } $r->requests('/ok/crm')), 0, 'nor does who asks for others');

# ---------------------------------------------------------------- across workers

# what breaker_opened said stands until breaker_closed, whichever worker sees it
sub told_since { my ($id) = @_; return $t->sql(<<SQL); }
SELECT string_agg(o.result ->> 'change', ', ' ORDER BY o.event_number) FROM webhook.outbox o WHERE o.event_number > $id AND o.entity_type = 'webhook_subscription'
SQL
my $from = $t->sql('SELECT max(event_number) FROM webhook.outbox');
sub another_worker
{
	my $worker = $t->worker_pid;
	kill 'KILL', $worker;
	$t->wait_for_worker($worker);
	return;
}
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}' WHERE name = 'crm'");
$r->mode('/ok/crm', '/status/503/crm');
$t->sql('INSERT INTO item SELECT g FROM generate_series(101, 120) g');
my $opened = "SELECT breaker FROM webhook.status WHERE subscription = 'crm'";
my $count  = q{SELECT count(*) FROM webhook.outbox WHERE event_number > } . $from . q{ AND result ->> 'change' = };
$t->poll_sql('its breaker opens', $opened, 'open');
$t->poll_sql('it is told', "$count 'breaker_opened'", 1);
another_worker();
$t->sql('INSERT INTO item SELECT g FROM generate_series(121, 140) g');
$t->poll_sql('it opens with another worker as well', $opened, 'open');
# by then its breaker has been looked at: the look comes with every settle
$t->poll_sql('a probe fails', "SELECT count(*) FROM webhook.pending WHERE attempts >= 2", 1);
is(told_since($from), 'breaker_opened', 'which is told once, although two workers saw it');
another_worker();
is($t->sql($opened), 'closed', 'a worker begins with a closed breaker');
$t->wait_until_read;
is(told_since($from), 'breaker_opened', 'of which it says nothing, for it knows nothing');
$r->mode('/ok/crm', undef);
$t->sql("SELECT webhook.redeliver(event_number::text, 'crm') FROM webhook.pending");
$t->poll_sql('that it is well again is told', "$count 'breaker_closed'", 1);
$t->wait_until_settled;
is(told_since($from), 'breaker_opened, breaker_closed', 'once something has been delivered, and once');
is($t->sql('SELECT count(*) FROM webhook_internal.breaker_notice'), 0, 'and nothing is left of it');

$t->sql("UPDATE webhook.subscription SET state = 'disabled', state_reason = 'by hand' WHERE name = 'crm'");
$t->sql("SELECT webhook.pause('crm')");
$t->sql("SELECT webhook.resume('crm')");
$t->wait_until_settled;
is(told_since($from), 'breaker_opened, breaker_closed, disabled, resumed', 'one that is no longer disabled is told of, also where it is paused first');

# ---------------------------------------------------------------- never to itself, never in a loop

$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription");
my $low = $t->sql('SELECT max(event_number) FROM webhook.outbox');
# alone: it asks for them, and there is nobody else to tell
$t->subscribe('alone', $r->url('/status/413/alone'), events => "'{item.*,webhook_subscription.*}'");
$t->sql('UPDATE item SET v = 4 WHERE id = 1');
$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.outbox WHERE event_number > $low AND entity_type = 'webhook_subscription'"), 0, 'nothing is told to nobody but itself');
$t->sql("SELECT webhook.unsubscribe('alone'), webhook.purge_dead_letters('0')");

# two that watch each other and give up at once
$low = $t->sql('SELECT max(event_number) FROM webhook.outbox');
$t->subscribe($_, $r->url("/status/413/$_"), events => "'{item.*,webhook_subscription.*}'") for 'left', 'right';
$t->sql('UPDATE item SET v = 5 WHERE id = 1');
$t->wait_until_settled;
is( $t->sql(<<SQL), 'left|dead_letter, right|dead_letter', 'two that watch each other: each dead letter is told once');
SELECT string_agg(entity_id || '|' || (result ->> 'change'), ', ' ORDER BY entity_id) FROM webhook.outbox WHERE event_number > $low AND entity_type = 'webhook_subscription'
SQL
is( $t->sql("SELECT string_agg(DISTINCT subscription || ' ' || entity_id, ', ' ORDER BY subscription || ' ' || entity_id) FROM webhook.dead_letter WHERE entity_type = 'webhook_subscription'"),
	'left right, right left', 'to the other one alone, and the dead letters of that are told to nobody');

# and the same with endpoints in trouble: both breakers open, each is told once, and then there is peace
$t->sql("SELECT webhook.unsubscribe('left'), webhook.unsubscribe('right'), webhook.purge_dead_letters('0')");
$low = $t->sql('SELECT max(event_number) FROM webhook.outbox');
$t->subscribe($_, $r->url("/status/503/$_"), events => "'{item.*,webhook_subscription.*}'", retry_schedule => "'{1h}'") for 'left', 'right';
$t->sql('UPDATE item SET v = 6');
$t->poll_sql('both breakers open', "SELECT count(*) FROM webhook.status WHERE breaker = 'open'", 2);
$t->poll_sql('both are told', "SELECT count(*) FROM webhook.outbox WHERE event_number > $low AND result ->> 'change' = 'breaker_opened'", 2);
# until each has been probed twice
$t->poll_sql('probes go on', <<SQL, 't', 60);
SELECT count(*) = 2 FROM (SELECT subscription FROM webhook.attempt WHERE event_number > $low GROUP BY 1 HAVING count(*) FILTER (WHERE attempt_number >= 2) >= 2) x
SQL
is($t->sql("SELECT count(*) FROM webhook.outbox WHERE event_number > $low AND entity_type = 'webhook_subscription'"), 2, 'however long that goes on, there are two events');

$t->stop;
done_testing();

# The promise: a row of our own tables that nobody should have been able to
# write takes neither the worker nor the server down, and does not hold up
# what it has nothing to do with. The log says which row; once it is put right, deliveries
# go on, and nothing is lost.
#
# The rows are made as people make them who know better: triggers disabled,
# constraints dropped.
#
# Covers: a poisonous row does not loop.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookFault;
use WebhookTest;

my $t    = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->{r};
$t->subscribe('odd', $r->url('/ok/odd'), retry_schedule => "'{1s}'");
$t->change(20);
$t->account('before', 0);
my $worker = $t->wait_for_worker;
my $start  = $t->log_size;

sub lives
{
	my ($what) = @_;
	is($t->wait_for_worker, $worker, "$what: the same worker lives");
	return;
}

# All changes of the subscription "odd" are there, each once.
sub odd_is_complete
{
	my ($what) = @_;
	$t->load_requests($r, 'odd');
	is( $t->sql("SELECT count(*) FROM changed c WHERE v > 0 AND (SELECT count(*) FROM odd o WHERE path = '/ok/odd' AND o.body::json ->> 'entity_id' = c.item::text AND (o.body::json -> 'result' ->> 'v')::int = c.v) <> 1"),
		0, "$what: of its own, nothing is lost or repeated");
	return;
}

#
# Subscriptions: everybody else's deliveries arrive, its own are kept until it is put right
#
my @subscriptions = (
	[ 'a url that is null', 'url = NULL', "url = '" . $r->url('/ok/odd') . "'", 'url' ],
	[ 'an empty retry_schedule', "retry_schedule = '{}'", "retry_schedule = '{1s}'", 'retry_schedule' ],
	[ 'a retry_schedule that is null', 'retry_schedule = NULL', "retry_schedule = '{1s}'", 'retry_schedule' ],
	[ 'no timeout, ordering, or limits', 'timeout = NULL, ordering = NULL, max_in_flight = NULL, batch_size = NULL, give_up_after = NULL',
		"timeout = '15s', ordering = 'entity', max_in_flight = 50, batch_size = 1, give_up_after = '3 days'", 'ordering' ],
);
$t->sql(<<'SQL');
ALTER TABLE webhook.subscription ALTER url DROP NOT NULL, ALTER retry_schedule DROP NOT NULL, ALTER timeout DROP NOT NULL, ALTER ordering DROP NOT NULL,
	ALTER max_in_flight DROP NOT NULL, ALTER batch_size DROP NOT NULL, ALTER give_up_after DROP NOT NULL, ALTER profile DROP NOT NULL;
DO $$
DECLARE
	name name;
BEGIN
	FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'webhook.subscription'::regclass AND contype = 'c' LOOP
		EXECUTE format('ALTER TABLE webhook.subscription DROP CONSTRAINT %I', name);
	END LOOP;
END $$;
SQL

# What the triggers would refuse; the worker is told by one of the extension's own.
sub set_odd
{
	my ($what) = @_;
	$t->sql(<<SQL);
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE webhook.subscription SET $what WHERE name = 'odd';
COMMIT;
SELECT webhook.pause('crm');
SELECT webhook.resume('crm');
SQL
	return;
}

for my $case (@subscriptions)
{
	my ($what, $bad, $good, $column) = @$case;
	my $offset = $t->log_size;
	set_odd($bad);
	$t->change(40);
	poll_until("$what: the log says which", sub { $t->log_since($offset) =~ /WARNING:.*subscription "odd" cannot be used\n.*DETAIL:.*"\w+"/ });
	my $made = $t->sql('SELECT count(*) FROM changed WHERE v > 0');
	$t->poll_sql("$what: others' deliveries arrive", "SELECT count(*) = $made FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'");
	is($t->pending('odd'), 40, "$what: its own are kept");
	set_odd($good);
	$t->account($what, 0);
	odd_is_complete($what);
	lives($what);
}

# What is of no use to it, and harms nothing.
set_odd(q{headers = '[1, "x"]', max_in_flight = -5, batch_size = -1, retry_schedule = '{NULL, 1s}'});
$t->change(40);
$t->account('headers that are no object, limits below zero', 0);
odd_is_complete('headers that are no object, limits below zero');
set_odd(q{headers = '{}', max_in_flight = 50, batch_size = 1, retry_schedule = '{1s}'});
set_odd(q{profile = 'no such thing'});
$t->change(20);
$t->poll_sql('an unknown profile: others\' deliveries arrive', "SELECT count(*) = (SELECT count(*) FROM changed WHERE v > 0) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'");
set_odd(q{profile = 'entity'});
$t->account('an unknown profile', 0);
lives('an unknown profile');

#
# Profiles: a change is what no trigger would have let pass. Requests say what is wrong, and are tried again
#
$t->sql("SELECT webhook.copy_profile('entity', 'bent'); ALTER TABLE webhook.profile ALTER envelope DROP NOT NULL, ALTER event_prefix DROP NOT NULL, ALTER signature_algorithm DROP NOT NULL");
set_odd(q{profile = 'bent'});
for my $case (
	[ 'no envelope',                'envelope = NULL' ],
	[ 'an envelope that is no template', q{envelope = '"$nothing"'} ],
	[ 'no prefix',                  'event_prefix = NULL' ],
	[ 'no algorithm',               'signature_algorithm = NULL' ],
	[ 'headers that are no object', q{headers = '[1, "x"]', signature_algorithm = 'nonsense'} ])
{
	my ($what, $bad) = @$case;
	$t->sql("BEGIN; SET LOCAL session_replication_role = replica; UPDATE webhook.profile SET $bad WHERE name = 'bent'; COMMIT");
	set_odd('params = params');    # so that the worker looks
	$t->change(20);
	$t->poll_sql("a profile with $what: others' deliveries arrive", "SELECT count(*) = (SELECT count(*) FROM changed WHERE v > 0) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'");
	$t->poll_sql("a profile with $what: the log says so", "SELECT count(*) > 0 FROM webhook.attempt WHERE subscription = 'odd' AND outcome = 'internal' AND error LIKE 'invalid profile: %'");
	$t->sql("BEGIN; SET LOCAL session_replication_role = replica; UPDATE webhook.profile b SET envelope = e.envelope, event_prefix = e.event_prefix, headers = e.headers, signature_algorithm = e.signature_algorithm FROM webhook.profile e WHERE b.name = 'bent' AND e.name = 'entity'; COMMIT");
	set_odd('params = params');
	$t->account("a profile with $what", 0);
	odd_is_complete("a profile with $what");
	lives("a profile with $what");
	$t->sql("UPDATE webhook.attempt SET outcome = 'seen' WHERE outcome = 'internal'");
}
set_odd(q{profile = 'entity'});

#
# Pending: a state that we do not know, no event, no subscription
#
$r->mode('/ok/odd', '/status/500');
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}' WHERE name = 'odd'");
$t->sql('UPDATE item SET v = v + 1 WHERE id BETWEEN 1 AND 3');
$t->poll_sql('three are to be tried again', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 3);
$r->mode('/ok/odd', undef);
my $offset = $t->log_size;
$t->sql(<<'SQL');
ALTER TABLE webhook.pending DROP CONSTRAINT pending_state_check, ALTER state DROP NOT NULL, ALTER next_attempt_at DROP NOT NULL;
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment) SELECT id, 999999, 1, 'retry', now(), 3 FROM webhook.subscription WHERE name = 'odd';
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment) SELECT 4711, event_number, 2, 'retry', now(), segment FROM webhook.pending LIMIT 1;
WITH r AS (SELECT event_number, row_number() OVER (ORDER BY event_number) AS n FROM webhook.pending WHERE event_number < 999999 AND subscription_id <> 4711)
	UPDATE webhook.pending p SET state = CASE n WHEN 1 THEN 'nonsense' WHEN 2 THEN NULL ELSE state END,
		next_attempt_at = CASE WHEN n < 3 THEN NULL ELSE now() END FROM r WHERE r.event_number = p.event_number AND p.subscription_id <> 4711;
UPDATE webhook.subscription SET retry_schedule = '{1s}' WHERE name = 'odd';
SQL
poll_until('an event that does not exist: the log says so', sub { $t->log_since($offset) =~ /WARNING:.*event 999999 is missing/ });
$t->change(20);
$t->account('rows of pending that are not as they should be', 0);
is($t->sql('SELECT count(*) FROM webhook.pending'), 0, 'states that we do not know are read as "retry", and what is for nobody is forgotten');
$worker = $t->wait_for_worker;
unlike($t->log_since($start), qr/terminated by signal|exited with exit code 1/, 'no worker died');

#
# The checkpoint: of the future, or of nowhere
#
my @checkpoints = (
	[ 'an id that no event has yet', q{SELECT 1 + max(id), 'settled', pg_current_snapshot(), '3', 1000000000, NULL FROM webhook.checkpoint} ],
	[ 'a transaction that has not begun', q{SELECT 1 + max(id), 'settled', pg_current_snapshot(), '9000000000000000000', 1, NULL FROM webhook.checkpoint} ],
	[ 'no snapshot', q{SELECT 1 + max(id), 'settled', NULL, '3', 1, NULL FROM webhook.checkpoint} ],
	[ 'a cut that is none', q{SELECT 1 + max(id), 'read', pg_current_snapshot(), '3', 1, '{"snapshot": "rubbish"}' FROM webhook.checkpoint} ],
);
$t->sql('ALTER TABLE webhook.checkpoint ALTER snapshot DROP NOT NULL');
for my $case (@checkpoints)
{
	my ($what, $row) = @$case;
	$offset = $t->log_size;
	# a worker that starts is the one that looks
	$node->stop('fast');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->start;
	my $id = $t->sql("INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi, within) $row RETURNING id");
	$node->stop('fast');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\n");
	$node->start;
	$t->change(20);
	$t->poll_sql("a checkpoint with $what: the status says so", "SELECT state = 'failing' AND reason <> '' FROM webhook_internal.worker_status()");
	like($t->log_since($offset), qr/WARNING:.*webhook worker failed while starting/, "a checkpoint with $what: so does the log");
	is($r->count('/slow/5/crm'), $t->sql("SELECT count(*) FROM webhook.attempt WHERE subscription = 'crm'"), "a checkpoint with $what: nothing is sent");
	$t->sql("DELETE FROM webhook.checkpoint WHERE id = $id");
	$t->account("a checkpoint with $what", 0);
	unlike($t->log_since($offset), qr/terminated by signal/, "a checkpoint with $what: nobody crashed");
}

#
# Identity
#
for my $bad ("instance = NULL", "instance = 'x'")
{
	$t->sql('ALTER TABLE webhook.identity DROP CONSTRAINT IF EXISTS identity_pkey, DROP CONSTRAINT IF EXISTS identity_instance_check; ALTER TABLE webhook.identity ALTER instance DROP NOT NULL');
	my $instance = $t->sql('SELECT instance FROM webhook.identity');
	$t->sql("UPDATE webhook.identity SET $bad");
	$t->poll_sql("identity with $bad: suspended, and says why", "SELECT state = 'suspended' AND reason ~ 'identity' FROM webhook_internal.worker_status()");
	$t->change(20);
	$t->sql("UPDATE webhook.identity SET instance = '$instance'");
	$t->account("identity with $bad", 0);
}
unlike($t->log_since($start), qr/terminated by signal|exited with exit code 1\n.*webhook worker/, 'and no process of the server was ended by a signal');

$t->stop;
done_testing();

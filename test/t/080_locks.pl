# The promise: no transaction, snapshot or lock is held during HTTP; whoever
# works on the extension's tables neither waits for the worker nor harms it; and
# what people add to these tables, or set for their database, does not either.
#
# Covers: ALTER, TRUNCATE, VACUUM FULL, REINDEX, LOCK while a request hangs,
# and somebody's lock while the worker wants to write; deadlocks; columns,
# indexes, triggers, foreign keys and row security added to our tables; a
# hostile search_path, statement_timeout, and other session defaults; triggers
# on what the worker writes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t    = WebhookTest->new(conf => "deadlock_timeout = '10ms'\nwebhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), timeout => "'60s'");

my @tables = split /\n/, $t->sql(<<'SQL');
SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND relkind IN ('r', 'p') ORDER BY relkind, oid
SQL

# What a statement says when it fails; at once, or not at all.
sub refused
{
	my ($sql) = @_;
	my (undef, undef, $err) = $node->psql('postgres', "SET client_min_messages = warning; SET lock_timeout = '1s'; SET statement_timeout = '20s';\n$sql", on_error_stop => 1);
	return $err eq '' ? () : "$sql: $err";
}

# All events that there are have been delivered to a path, each once; in order per entity.
sub check
{
	my ($what, $path, $after) = @_;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	is( $t->sql(<<SQL), '', "$what: nothing is lost");
SELECT o.event_number FROM webhook.outbox o WHERE o.event_number > $after AND NOT EXISTS (SELECT FROM request r WHERE r.event_number = o.event_number AND r.path = '$path' AND r.status = 200)
SQL
	is( $t->sql("SELECT event_number, count(*) FROM request WHERE path = '$path' AND status = 200 AND event_number > $after GROUP BY 1 HAVING count(*) > 1"),
		'', "$what: nothing is repeated");
	is( $t->sql(<<SQL), '', "$what: in order per entity");
SELECT n, event_number, previous FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request WHERE path = '$path' AND status = 200 AND event_number > $after) r WHERE previous > event_number
SQL
	return;
}

sub last_event { return $t->sql('SELECT coalesce(max(event_number), 0) FROM webhook.outbox') }

#
# While a request hangs
#
$r->mode('/ok/crm', '/hold');
$t->sql("UPDATE webhook.subscription SET timeout = '5 min'");
$t->sql('INSERT INTO item DEFAULT VALUES');
$r->wait_for_requests(1);
$t->wait_until_read;
my $worker = $t->worker_pid;
$t->poll_sql('a request is under way', 'SELECT in_flight FROM webhook_internal.worker_status()', 1);
is($t->sql("SELECT state, backend_xid IS NULL AND backend_xmin IS NULL AND xact_start IS NULL FROM pg_stat_activity WHERE pid = $worker"),
	'idle|t', 'the worker has no transaction and no snapshot');
is($t->sql("SELECT count(*) FROM pg_locks WHERE pid = $worker"), 0, 'nor a lock');

my @refused;
for my $table (@tables)
{
	my $partitioned = $t->sql("SELECT relkind = 'p' FROM pg_class WHERE oid = '$table'::regclass") eq 't';
	push @refused, refused("BEGIN; LOCK TABLE $table IN ACCESS EXCLUSIVE MODE; COMMIT");
	push @refused, refused("ALTER TABLE $table SET (autovacuum_enabled = false)") unless $partitioned;
	push @refused, refused("BEGIN; ALTER TABLE $table ADD COLUMN remark text; ROLLBACK") if $partitioned || $table !~ /_\d$/;
	# profiles are never truncated, whoever asks
	push @refused, refused("BEGIN; TRUNCATE $table CASCADE; ROLLBACK") unless $table =~ /profile/;
	push @refused, refused("VACUUM FULL $table");
	push @refused, refused("REINDEX TABLE $table");
}
push @refused, refused('TRUNCATE webhook.dead_letter');
push @refused, refused('CREATE INDEX CONCURRENTLY item_v ON item (v)');
push @refused, refused('ALTER TABLE item ADD w int; DROP INDEX item_v');
push @refused, refused('VACUUM FULL item');
is_deeply(\@refused, [], 'while a request hangs: LOCK, ALTER, TRUNCATE, VACUUM FULL and REINDEX of every table, and CREATE INDEX CONCURRENTLY, within a second');
is($t->sql("SELECT count(*) FROM webhook.attempt"), 0, 'it hangs still');
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = 'postgres'"), 1, 'and the worker is there');
$r->mode('/ok/crm', undef);
$r->release('/ok/crm', 1);
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 10)');
check('tables rewritten under way', '/ok/crm', 0);
is($t->worker_pid, $worker, 'by the same worker');
is($r->count, 11, 'one request for each event');

#
# While somebody holds a lock on the tables that the worker writes
#
my $after = last_event();
$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{100ms}'", events => "'{*.update}'");
my $offset = -s $node->logfile;
for my $locked ('webhook.pending, webhook.attempt', 'webhook.checkpoint', 'webhook.subscription, webhook.secret, webhook.identity', 'webhook.pending')
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; LOCK TABLE $locked IN ACCESS EXCLUSIVE MODE");
	my $held = time;
	my $n    = 0;
	while (time - $held < 3)
	{
		push @refused, refused('INSERT INTO item DEFAULT VALUES; UPDATE item SET v = v + 1 WHERE id <= 3');
		$n++;
		Time::HiRes::usleep(200_000);    # part of the scenario: somebody holds a lock for some seconds
	}
	$holder->query_safe('COMMIT');
	$holder->quit;
	is_deeply(\@refused, [], "$locked are locked: applications write on");
	is($t->worker_pid, $worker, 'the worker lives');
	check("$locked were locked", '/ok/crm', $after);
}
like(substr(slurp_file($node->logfile), $offset), qr/webhook worker is waiting for a lock/, 'it says what it waits for');
$t->load_requests($r, 'request');
is( $t->sql(<<SQL), 't|t', 'what had to be tried again was: each update twice, no more');
SELECT count(*) > 0, bool_and(n = 2) FROM (SELECT count(*) AS n FROM request WHERE path = '/fail-first/1/again' GROUP BY event_number) r
SQL

# hundreds of outcomes that wait for a lock, more than are settled at once
$after = last_event();
my $seen   = $r->count('/ok/crm');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE webhook.attempt IN ACCESS EXCLUSIVE MODE');
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 1500)');
$r->wait_for_requests($seen + 900, '/ok/crm');
$holder->query_safe('COMMIT');
$holder->quit;
check('hundreds of outcomes waited for a lock', '/ok/crm', $after);
is($t->worker_pid, $worker, 'the worker lives');

# somebody who works through the tables in another order, again and again
my @sessions = $t->sessions((<<'SQL') x 2, (<<'SQL2') x 2);
SET lock_timeout = '10s';
DO $$
BEGIN
	FOR i IN 1..40 LOOP
		BEGIN
			LOCK TABLE webhook.pending IN SHARE ROW EXCLUSIVE MODE;
			PERFORM pg_sleep(0.01); -- part of the scenario
			LOCK TABLE webhook.attempt, webhook.checkpoint IN SHARE ROW EXCLUSIVE MODE;
		EXCEPTION WHEN deadlock_detected THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END
$$;
SQL
SET lock_timeout = '10s';
DO $$
BEGIN
	FOR i IN 1..100 LOOP
		UPDATE item SET v = v + 1 WHERE id = 1 + i % 5;
		COMMIT;
		PERFORM pg_sleep(0.01); -- part of the scenario
	END LOOP;
END
$$;
SQL2
is_deeply([ $t->finish_sessions(@sessions) ], [], 'locks taken in another order than the worker does: applications write on');
check('deadlocks', '/ok/crm', $after);
is($t->worker_pid, $worker, 'the worker lives');

#
# What people add to our tables
#
$after  = last_event();
$offset = -s $node->logfile;
$t->sql(<<'SQL');
CREATE TABLE noted (at timestamptz DEFAULT clock_timestamp(), what text);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.noted (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP);
	PERFORM pg_notify('noted', TG_TABLE_NAME);
	RETURN coalesce(NEW, OLD);
END
$$;
ALTER TABLE webhook.outbox ADD COLUMN remark text DEFAULT 'none', ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now(), ADD CHECK (event_number > 0);
ALTER TABLE webhook.attempt ADD COLUMN remark text DEFAULT 'none';
ALTER TABLE webhook.pending ADD COLUMN remark text NOT NULL DEFAULT 'none';
ALTER TABLE webhook.dead_letter ADD COLUMN remark text, ADD COLUMN assignee int GENERATED ALWAYS AS (subscription_id % 10) STORED;
ALTER TABLE webhook.subscription ADD COLUMN owner_team text DEFAULT 'platform';
ALTER TABLE webhook.checkpoint ADD COLUMN remark text DEFAULT 'none';
ALTER TABLE webhook.identity ADD COLUMN remark text DEFAULT 'none';
CREATE INDEX ON webhook.outbox (entity_type, entity_id);
CREATE INDEX ON webhook.outbox ((result ->> 'id')) WHERE entity_type = 'item';
CREATE INDEX ON webhook.attempt (outcome);
CREATE INDEX ON webhook.pending (last_error);
CREATE UNIQUE INDEX ON webhook.attempt (event_number, subscription_id, attempt_number, segment);
CREATE INDEX ON webhook.dead_letter USING gin ((result::jsonb));
CREATE TRIGGER note_it AFTER INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE TRIGGER note_it AFTER INSERT ON webhook.outbox FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE TRIGGER note_it AFTER INSERT OR UPDATE OR DELETE ON webhook.pending FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE TRIGGER note_it BEFORE INSERT ON webhook.dead_letter FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE TABLE team_subscription (team text, subscription bigint REFERENCES webhook.subscription ON DELETE CASCADE);
INSERT INTO team_subscription SELECT 'platform', id FROM webhook.subscription;
ALTER TABLE webhook.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook.outbox FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook.attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook.attempt FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook.pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook.pending FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook.subscription ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook.subscription FORCE ROW LEVEL SECURITY;
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON item TO app;
GRANT USAGE ON SEQUENCE item_id_seq TO app;
SQL
$t->subscribe('failing', $r->url('/status/500/failing'), retry_schedule => "'{100ms}'", give_up_after => "'500ms'", events => "'{*.delete}'");
$t->sql('SET ROLE app; INSERT INTO item SELECT FROM generate_series(1, 5); UPDATE item SET v = v + 1 WHERE id <= 3; DELETE FROM item WHERE id = 7');
check('columns, indexes, triggers, references, row security', '/ok/crm', $after);
is($t->worker_pid, $worker, 'the same worker goes on');
$t->load_requests($r, 'request');
is($t->sql("SELECT count(*) FROM request WHERE path = '/fail-first/1/again' AND event_number > $after AND status = 200"), 3, 'what had to be tried again was');
is($t->sql("SELECT count(*), min(assignee) IS NOT NULL FROM webhook.dead_letter WHERE subscription = 'failing'"), '1|t', 'and what had to be given up');
is($t->sql("SELECT DISTINCT remark, seen_at IS NOT NULL FROM webhook.outbox WHERE event_number > $after"), 'none|t', 'new columns have their defaults');
is( $t->sql("SELECT string_agg(DISTINCT what, ', ' ORDER BY what) FROM noted WHERE what !~ '^outbox'") =~ s/_\d//gr =~ s/(attempt INSERT)(, attempt INSERT)+/$1/r,
	'attempt INSERT, dead_letter INSERT, pending DELETE, pending INSERT, pending UPDATE', 'triggers on what the worker writes fire');
unlike(substr(slurp_file($node->logfile), $offset), qr/webhook worker.*exited with exit code 1/, 'no worker died');

# References to what the worker deletes would make its deletes fail; so there is nothing that could be referenced.
for my $referenced ('webhook.pending', 'webhook.pending (subscription_id, event_number)', 'webhook.checkpoint', 'webhook.checkpoint (id)')
{
	my $columns = $referenced =~ /pending/ ? 'a, b' : 'a';
	like(scalar(refused("BEGIN; CREATE TABLE complaint (a bigint, b bigint, FOREIGN KEY ($columns) REFERENCES $referenced); ROLLBACK")) // '',
		qr/no (primary key|unique constraint)/, "no foreign key can refer to $referenced");
}
is_deeply([ refused('CREATE TABLE complaint (a bigint, b bigint, FOREIGN KEY (a, b) REFERENCES webhook.dead_letter)') ], [], 'to what the worker never takes away, one can');

# A reference to the outbox, for which somebody has made a key: its segments cannot be emptied, and the worker goes on.
$after  = last_event();
$offset = -s $node->logfile;
$t->sql(<<'SQL');
ALTER TABLE webhook.outbox ADD UNIQUE (event_number, segment);
CREATE TABLE remembered (event bigint, segment smallint, FOREIGN KEY (event, segment) REFERENCES webhook.outbox (event_number, segment));
INSERT INTO remembered SELECT event_number, segment FROM webhook.outbox ORDER BY event_number DESC LIMIT 1;
SQL
$node->append_conf('postgresql.conf', "webhook.retention = '6s'\n");
$node->reload;
for (1 .. 24)
{
	$t->sql('INSERT INTO item DEFAULT VALUES');
	Time::HiRes::usleep(500_000);    # part of the scenario: the ring goes round
}
is($t->worker_pid, $worker, 'a foreign key to the outbox: the worker goes on');
unlike(substr(slurp_file($node->logfile), $offset), qr/webhook worker.*exited with exit code 1/, 'and did not die in between');
check('a foreign key to the outbox', '/ok/crm', $after);
is($t->sql('SELECT count(*) FROM remembered r JOIN webhook.outbox o ON o.event_number = r.event'), 1, 'what is referenced is kept');
is($t->sql("SELECT count(*) > 0 FROM webhook.dead_letter WHERE reason LIKE 'older%'"), 'f', 'nothing is given up for it');
like(substr(slurp_file($node->logfile), $offset), qr/WARNING:.*outbox_\d/, 'the log says that a segment cannot be emptied');
$t->sql('DROP TABLE remembered; ALTER TABLE webhook.outbox DROP CONSTRAINT outbox_event_number_segment_key');
$t->poll_sql('segments are emptied again', "SELECT coalesce(min(created_at) > clock_timestamp() - interval '12 s', true) FROM webhook.outbox", 't', 40);
$node->append_conf('postgresql.conf', "webhook.retention = '7d'\n");
$node->reload;
is($t->worker_pid, $worker, 'the worker lives');

#
# What people set for their database
#
$t->sql('CREATE DATABASE hostile');
$t->sql('CREATE ROLE powerless');
{
	local $WebhookTest::DB = 'hostile';
	# these are for everybody else; the test's own sessions say what they want
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c search_path=public -c role=none'
	  . ' -c default_transaction_isolation=read\ committed -c session_replication_role=origin -c idle_in_transaction_session_timeout=0'
	  . ' -c DateStyle=ISO -c IntervalStyle=postgres';
	$t->sql(<<'SQL');
CREATE EXTENSION webhook;
CREATE TABLE item (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0, at timestamptz DEFAULT '2026-01-02 03:04:05+00', days interval DEFAULT '1 day 2 hours', x bytea DEFAULT '\x00ff', f float8 DEFAULT 0.1);
CREATE SCHEMA evil;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '-infinity'::timestamptz $$;
CREATE FUNCTION evil.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal);
CREATE OPERATOR evil.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.equal);
CREATE FUNCTION evil.count(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'evil'; END $$;
CREATE TABLE evil.outbox (id text);
CREATE TABLE evil.pg_class (oid text);
SQL
	$t->watch('item');
	$t->subscribe('crm', $r->url('/ok/hostile'), ordering => "'strict'");
	$t->subscribe('again', $r->url('/fail-first/1/hostile'), retry_schedule => "'{1s}'", events => "'{*.update}'");
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->wait_until_settled;
	# PostgreSQL 19 has no other value than on
	$t->sql('ALTER DATABASE hostile SET standard_conforming_strings = off') if $t->major < 19;
	$t->sql(<<'SQL');
ALTER DATABASE hostile SET default_transaction_isolation = 'serializable';
ALTER DATABASE hostile SET default_transaction_read_only = on;
ALTER DATABASE hostile SET default_transaction_deferrable = on;
ALTER DATABASE hostile SET statement_timeout = '1ms';
ALTER DATABASE hostile SET idle_in_transaction_session_timeout = '1ms';
ALTER DATABASE hostile SET search_path = evil, pg_catalog;
ALTER DATABASE hostile SET session_replication_role = replica;
ALTER DATABASE hostile SET enable_indexscan = off;
ALTER DATABASE hostile SET enable_indexonlyscan = off;
ALTER DATABASE hostile SET enable_nestloop = off;
ALTER DATABASE hostile SET enable_partition_pruning = off;
ALTER DATABASE hostile SET join_collapse_limit = 1;
ALTER DATABASE hostile SET work_mem = '64kB';
ALTER DATABASE hostile SET DateStyle = 'SQL, DMY';
ALTER DATABASE hostile SET IntervalStyle = 'iso_8601';
ALTER DATABASE hostile SET TimeZone = 'Asia/Kathmandu';
ALTER DATABASE hostile SET bytea_output = 'escape';
ALTER DATABASE hostile SET extra_float_digits = -15;
ALTER DATABASE hostile SET client_encoding = 'LATIN1';
ALTER DATABASE hostile SET client_min_messages = debug5;
ALTER DATABASE hostile SET row_security = off;
ALTER DATABASE hostile SET transform_null_equals = on;
ALTER DATABASE hostile SET role = 'powerless';
SQL
	$offset = -s $node->logfile;
	my $pid = $t->sql("SELECT pid FROM webhook_internal.worker_status()");
	$t->sql("SELECT pg_terminate_backend($pid)");
	$worker = $t->wait_for_worker($pid);
	$t->sql("INSERT INTO item DEFAULT VALUES; UPDATE item SET v = 1");
	$t->sql('INSERT INTO item SELECT FROM generate_series(1, 300)');
	$t->sql("UPDATE item SET v = 2 WHERE id <= 2");
	check('session defaults of every kind', '/ok/hostile', 1);
	$t->load_requests($r, 'request');
	is($t->sql("SELECT count(*), count(DISTINCT event_number) FROM request WHERE path = '/fail-first/1/hostile'"), '8|4', 'what had to be tried again was');
	is($t->worker_pid, $worker, 'the worker lives');
	my $log = substr(slurp_file($node->logfile), $offset);
	unlike($log, qr/exited with exit code 1/, 'and did not die in between');
	is( $t->sql("SELECT count(*) > 300, count(*) FILTER (WHERE strpos(r.body, o.result::text) = 0) FROM request r JOIN webhook.outbox o ON o.event_number = r.event_number WHERE r.path = '/ok/hostile'"),
		't|0', 'each row is sent as it was captured');
}

$t->stop;
done_testing();

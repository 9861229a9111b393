# The promise: no setting of a database, of a role, of a role in a database or of
# all roles changes how the worker behaves. It has those of the configuration
# file, which it follows as ever, and its own.
#
# Every setting that there is in this server is walked, and set to something odd
# at each of the four levels: booleans the other way round, enums to another value, numbers to
# their least or greatest, strings to something that is accepted. Then a new worker
# delivers, filters, tries again, buries, settles, and empties segments; a trigger
# in it writes down what its settings are. Sessions that were there before do
# the rest: new ones would be as odd as can be.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nwebhook.retention = '6s'\nautovacuum = off\nwork_mem = '5MB'\n");
my $node  = $t->node;
my $r     = $t->receiver(args => ['--no-http2']);
my $super = $t->sql('SELECT current_user');
$t->sql('CREATE DATABASE hostile');
$t->sql('CREATE DATABASE late');
$t->sql('CREATE ROLE powerless');

my $admin = $node->background_psql('postgres');
$admin->query_safe('SET client_min_messages = error');
my $late  = $node->background_psql('late');
my $work;

{
	local $WebhookTest::DB = 'hostile';
	$t->sql(<<'SQL');
CREATE EXTENSION webhook;
CREATE TABLE item (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0, at timestamptz DEFAULT '2026-01-02 03:04:05+00', f float8 DEFAULT 0.1);
CREATE TABLE this_round (n int);
INSERT INTO this_round VALUES (0);
CREATE TABLE seen (n int, name text, setting text, UNIQUE (n, name));
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_backend_pid() = (SELECT w.pid FROM webhook_internal.worker_status() w) THEN
		INSERT INTO public.seen SELECT r.n, s.name, s.setting FROM public.this_round r, pg_settings s
			UNION SELECT r.n, x, coalesce(current_setting(x, true), '') FROM public.this_round r, unnest(ARRAY['my.odd', 'plpgsql.variable_conflict', 'plpgsql.extra_errors', 'role', 'session_authorization']) x
			ON CONFLICT DO NOTHING;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER look AFTER INSERT ON webhook.attempt FOR EACH STATEMENT EXECUTE FUNCTION look();
CREATE SCHEMA evil;
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'infinity'::timestamptz $$;
SQL
	$t->watch('item');
	$t->subscribe('crm',   $r->url('/ok/crm'));
	$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{100ms}'", filter => q('$.result.v == 1'));
	$t->subscribe('dead',  $r->url('/status/413/dead'), filter => q('$.result.v == 2'));
	$t->subscribe('unclear', $r->url('/ok/unclear'), filter => q('$.context.a == "x"'));
	$work = $node->background_psql('hostile');
}

sub ask { return $work->query_safe($_[0]) }
sub poll { my ($what, $sql, $expected) = @_; my $last; return poll_until("$what (last: " . ($last // '') . ')', sub { ($last = ask($sql)) eq ($expected // 't') }) }

# A new worker in this database; and events, which all come to their ends.
sub deliver
{
	my ($n, $what) = @_;
	my $pid = ask('SELECT pid FROM webhook_internal.worker_status()');
	ask("UPDATE this_round SET n = $n; SELECT pg_terminate_backend($pid)");
	poll("$what: another worker runs", "SELECT state = 'running' AND pid <> $pid FROM webhook_internal.worker_status()");
	$pid = ask('SELECT pid FROM webhook_internal.worker_status()');
	my $before = ask('SELECT last_value - (NOT is_called)::int FROM webhook.event_number_seq');
	my %before = map { $_ => $r->count($_) } '/ok/crm', '/fail-first/1/again', '/status/413/dead';
	ask('INSERT INTO item (v) SELECT 1 + g % 3 FROM generate_series(0, 29) g');
	ask(q(BEGIN; SET LOCAL webhook.context = '{"a": "\u0000"}'; INSERT INTO item (v) VALUES (5); COMMIT));
	poll("$what: all is settled", <<SQL);
SELECT NOT EXISTS (SELECT FROM webhook.pending) AND EXISTS (SELECT FROM webhook.checkpoint c WHERE kind = 'settled' AND hi >= $before + 31)
SQL
	is($r->count('/ok/crm') - $before{'/ok/crm'}, 31, "$what: each event is delivered, once");
	is($r->count('/fail-first/1/again') - $before{'/fail-first/1/again'}, 20, "$what: those that a filter lets pass and that fail, twice");
	is(ask("SELECT count(*) FILTER (WHERE attempts = 1), count(*) FILTER (WHERE attempts = 0) FROM webhook.dead_letter WHERE event_number > $before"), '10|3',
		"$what: what is given up is a dead letter, and what a filter cannot be evaluated for");
	poll("$what: segments are emptied", "SELECT NOT EXISTS (SELECT FROM webhook.outbox WHERE created_at < clock_timestamp() - interval '9 s')");
	is(ask('SELECT pid FROM webhook_internal.worker_status()'), $pid, "$what: all by one worker");
	is(ask("SELECT count(*) > 300 FROM seen WHERE n = $n"), 't', "$what: it tells its settings");
	is( ask(<<SQL), '', "$what: which are as they were without");
SELECT string_agg(format('%s is %s and was %s', coalesce(a.name, b.name), b.setting, a.setting), ', ')
	FROM (SELECT * FROM seen WHERE n = 0) a FULL JOIN (SELECT * FROM seen WHERE n = $n) b ON b.name = a.name WHERE a.setting IS DISTINCT FROM b.setting
SQL
	return;
}

# make_odd(SCOPE, ROUND): sets whatever can be set there; how many of each type, and what not.
$admin->query_safe(<<'SQL');
CREATE FUNCTION make_odd(scope text, n int, OUT settable text, OUT not_settable text, OUT total int) LANGUAGE plpgsql AS $$
DECLARE
	s record;
	value text;
	done boolean;
	counts jsonb := '{}';
BEGIN
	total := 0;
	FOR s IN SELECT * FROM pg_settings WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') ORDER BY name LOOP
		done := false;
		FOREACH value IN ARRAY CASE s.vartype
			WHEN 'bool' THEN ARRAY[CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END]
			WHEN 'enum' THEN (SELECT array_agg(e.v ORDER BY (e.i + n) % cardinality(s.enumvals)) FROM unnest(s.enumvals) WITH ORDINALITY e(v, i) WHERE e.v <> s.setting)
			WHEN 'string' THEN ARRAY['evil', '{"odd": true}', 'all', '', '1', 'LATIN1', 'ISO, YMD', 'Asia/Kathmandu', 'powerless', 'serializable', 'POSIX', 'view', 'heap']
			ELSE CASE WHEN n % 2 = 0 THEN ARRAY[s.min_val, s.max_val] ELSE ARRAY[s.max_val, s.min_val] END END
		LOOP
			CONTINUE WHEN value IS NULL OR value = s.setting;
			BEGIN
				EXECUTE format('ALTER %s SET %s = %L', scope, s.name, value);
				done := true;
				EXIT;
			EXCEPTION WHEN OTHERS THEN
				NULL;
			END;
		END LOOP;
		IF done THEN
			total := total + 1;
			counts := counts || jsonb_build_object(s.vartype, coalesce((counts ->> s.vartype)::int, 0) + 1);
		ELSE
			not_settable := concat_ws(', ', not_settable, s.name);
		END IF;
	END LOOP;
	-- those that pg_settings does not show, and of libraries that are loaded when they are needed
	EXECUTE format('ALTER %s SET role = powerless', scope);
	EXECUTE format('ALTER %s SET session_authorization = powerless', scope);
	EXECUTE format('ALTER %s SET my.odd = behind', scope);
	EXECUTE format('ALTER %s SET plpgsql.variable_conflict = use_column', scope);
	EXECUTE format('ALTER %s SET plpgsql.extra_errors = ''all''', scope);
	settable := counts::text;
END
$$;
SQL

deliver(0, 'without');
is(ask("SELECT setting FROM seen WHERE n = 0 AND name = 'work_mem'"), '5120', 'the configuration file counts');
is(ask("SELECT setting FROM seen WHERE n = 0 AND name = 'exit_on_error'"), 'off', 'errors end no process');

my $n = 0;
for my $scope ('DATABASE hostile', "ROLE $super", 'ROLE ALL', "ROLE $super IN DATABASE hostile")
{
	$n++;
	$admin->query_safe('BEGIN');
	my ($settable, $not, $total) = split /\|/, $admin->query_safe("SELECT * FROM make_odd('$scope', $n)");
	$admin->query_safe('COMMIT');
	note "$scope: $total settings set ($settable), not settable: $not";
	cmp_ok($total, '>', 150, "$scope: $total settings are set to something odd");
	unlike($not, qr/work_mem|exit_on_error|search_path|client_encoding|timeout|replication_role|default_transaction/, "$scope: none that matters was left out");
	deliver($n, $scope);
	# a second, with the other end of numbers and another enum, for the level that its owner controls
	if ($n == 1)
	{
		$admin->query_safe("SELECT total FROM make_odd('$scope', 2)");
		deliver(11, "$scope, otherwise");
	}
	if ($scope eq 'ROLE ALL')
	{
		# the launcher as well
		my $launcher = ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook launcher'");
		ask("SELECT pg_terminate_backend($launcher)");
		poll('another launcher runs', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'webhook launcher' AND pid <> $launcher");
		$late->query_safe('SET client_min_messages = warning; CREATE EXTENSION webhook');
		poll_until('it starts workers', sub { $late->query_safe("SELECT state = 'running' FROM webhook_internal.worker_status()") eq 't' });
	}
	$admin->query_safe("ALTER $scope RESET ALL");
}

# The configuration file is followed as ever, also for what the database has an opinion of.
$admin->query_safe("ALTER DATABASE hostile SET work_mem = '64kB'");
ask("UPDATE this_round SET n = 20; SELECT pg_terminate_backend(pid) FROM webhook_internal.worker_status()");
$node->append_conf('postgresql.conf', "work_mem = '7MB'\n");
$node->reload;
poll('a session has the new value', "SELECT count(*) FROM pg_file_settings WHERE name = 'work_mem' AND setting = '7MB' AND applied", 1);
poll('the worker has it', <<'SQL');
WITH i AS (INSERT INTO item (v) VALUES (7)), d AS (DELETE FROM seen WHERE n = 20 AND name = 'work_mem' AND setting <> '7168')
	SELECT EXISTS (SELECT FROM seen WHERE n = 20 AND name = 'work_mem' AND setting = '7168')
SQL
unlike(slurp_file($node->logfile), qr/webhook worker.*(exited with exit code 1|terminated by signal)/, 'no worker ended with an error');

$_->quit for $admin, $work, $late;
$t->stop;
done_testing();

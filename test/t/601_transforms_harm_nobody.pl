# The promise: whatever a transform does (errors that end its process, loops that
# cannot be cancelled, all the memory there is, any setting), it is an outcome of
# its own delivery. The worker stays the same process, the server does not restart,
# and other subscriptions are delivered and settled while it goes on.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => <<'CONF');
webhook.poll_interval = '30s'
max_worker_processes = 20
CONF
my $r = $t->receiver(args => ['--no-http2']);

my @owners = map { "owner$_" } 1 .. 6;
$t->sql("CREATE ROLE $_; GRANT CREATE ON SCHEMA public TO $_; GRANT USAGE ON SCHEMA webhook TO $_") for 'alice', 'bob', @owners;
$t->sql(<<'SQL');
CREATE TABLE bad (id serial PRIMARY KEY, note text);
CREATE TABLE good (id serial PRIMARY KEY, note text);
CREATE TABLE bobs (id serial PRIMARY KEY, note text);
SET ROLE bob;
CREATE FUNCTION public.bob(e webhook.outbox) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN json_build_array(current_user, e.entity_id); END $$;
SQL
$t->watch($_) for 'bad', 'good', 'bobs';
$t->subscribe('good', $r->url('/ok/good'), events => "'{good.*}'");
$t->subscribe('bobs', $r->url('/ok/bobs'), events => "'{bobs.*}'", transform => "'public.bob'");
my $worker  = $t->wait_for_worker;
my $started = $t->sql('SELECT pg_postmaster_start_time()');

my $processes = q(FROM pg_stat_activity WHERE backend_type = 'webhook transform');

# Make the body of alice's function, and a subscription of its own, as others' outcomes would open its breaker.
my $made = 0;
sub bad
{
	my ($body, %o) = @_;
	my $language = $o{language} // 'plpgsql';
	my $name     = 'bad' . ++$made;
	my $owner    = $o{owner} // 'alice';
	$t->sql("SET ROLE $owner; CREATE FUNCTION public.$name(e webhook.outbox) RETURNS json LANGUAGE $language " . ($o{with} // '') . " AS \$f\$ $body \$f\$");
	$t->sql("DELETE FROM webhook.subscription WHERE events = '{bad.*}'") unless $o{keep};
	$t->subscribe($name, $r->url("/ok/$name"), events => "'{bad.*}'", transform => "'public.$name'", retry_schedule => "'" . ($o{retry} // '{30min}') . "'");
	return $name;
}

# One event in a table; returns its id.
sub event
{
	my ($table, $note) = @_;
	$t->sql("INSERT INTO $table (note) VALUES (" . ($note // 'NULL') . ')');
	return $t->sql("SELECT max(event_number) FROM webhook.outbox WHERE entity_type = '$table'");
}

# The first outcome of an event for a subscription, and its error.
sub outcome
{
	my ($event, $subscription) = @_;
	my $where = "FROM webhook.attempt WHERE event_number = $event AND subscription = '$subscription'";
	$t->poll_sql("event $event has an outcome for $subscription", "SELECT count(*) > 0 $where");
	return split /\|/, $t->sql("SELECT outcome, coalesce(error, '') $where ORDER BY attempt LIMIT 1"), 2;
}

# Others are delivered, also those that need a function of somebody else, by the same worker of the same server.
sub all_is_well
{
	my ($after) = @_;
	$t->sql('INSERT INTO good DEFAULT VALUES; INSERT INTO bobs DEFAULT VALUES');
	$t->poll_sql("$after: others are delivered", <<'SQL', 'delivered delivered');
SELECT string_agg(outcome, ' ') FROM webhook.attempt WHERE event_number > (SELECT max(event_number) - 2 FROM webhook.outbox) AND subscription IN ('good', 'bobs')
SQL
	is($t->sql("SELECT pid || ' ' || pg_postmaster_start_time() FROM webhook_internal.worker_status() WHERE state = 'running'"), "$worker $started", "$after: nobody has noticed");
	return;
}

#
# A function that ends its process with every call, again and again
#
my $name = bad(q(BEGIN PERFORM set_config('exit_on_error', 'on', false); RAISE EXCEPTION 'bye'; END), retry => '{100ms}');
my $id   = event('bad');
is_deeply([ outcome($id, $name) ], [ 'transform_failed', 'the process of the transform has ended: bye' ], 'a process that ends is an outcome, and says its last words');
$r->mode('/ok/good', '/slow/300');
$t->sql('INSERT INTO good SELECT FROM generate_series(1, 200)');
$t->poll_sql('200 of somebody else are delivered and settled', "SELECT count(*) FROM webhook.attempt WHERE subscription = 'good' AND outcome = 'delivered'", 200);
$r->mode('/ok/good', undef);
is($t->sql("SELECT count(*) FROM webhook.attempt WHERE subscription = 'good'"), 200, '... each with one attempt');
is($r->count('/ok/good'), 200, '... and one request');
$t->poll_sql('it has gone on meanwhile', "SELECT count(*) >= 5 FROM webhook.attempt WHERE event_number = $id AND outcome = 'transform_failed'");
is($t->sql("SELECT count(*) - count(DISTINCT attempt_number) FROM webhook.attempt WHERE event_number = $id"), 0, '... every call is an attempt');
all_is_well('exit_on_error');

#
# What ends a process, or would
#
for my $way (
	[ 'an error'                     => q(RAISE EXCEPTION 'no'), qr/^transform_failed no$/ ],
	[ 'terminating itself'           => q(PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)), qr/^transform_failed the process of the transform has ended: terminating background worker/ ],    # part of the scenario
	[ 'cancelling itself'            => q(PERFORM pg_cancel_backend(pg_backend_pid()); PERFORM pg_sleep(10)), qr/^transform_failed canceling statement due to user request$/ ],    # part of the scenario
	[ 'cancelling the worker'        => "PERFORM pg_cancel_backend($worker)", qr/^transform_failed must be a superuser to cancel superuser query/ ],
	[ 'terminating the worker'       => "PERFORM pg_terminate_backend($worker)", qr/^transform_failed must be a superuser to terminate superuser process/ ],
	[ 'FATAL when its time is over'  => q(PERFORM set_config('exit_on_error', 'on', false); PERFORM pg_sleep(10)), qr/^transform_timeout / ],    # part of the scenario
	[ 'lock_timeout and others'      => q(SET lock_timeout = 1; SET statement_timeout = 1; SET idle_in_transaction_session_timeout = 1; SET idle_session_timeout = 1; PERFORM pg_sleep(0.1); RETURN e.result), qr/^delivered $/ ],    # part of the scenario
	[ 'session_replication_role'     => q(SET session_replication_role = replica; RETURN e.result), qr/^transform_failed permission denied to set parameter "session_replication_role"$/ ],
	[ 'an endless loop'              => q(LOOP NULL; END LOOP), qr/^transform_timeout / ],
	[ 'one that catches the end'     => q(LOOP BEGIN PERFORM pg_sleep(10); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP), qr/^transform_timeout / ],    # part of the scenario
	[ 'endless recursion'            => q(RETURN public.recurse(1)), qr/^transform_failed stack depth limit exceeded|^transform_timeout / ],
	[ 'a string without end'         => q(DECLARE s text := repeat('x', 1000); BEGIN LOOP s := s || s; END LOOP; END), qr/^transform_failed (out of memory|invalid memory alloc request)|^transform_timeout / ],
	[ 'an aggregate of everything'   => q(RETURN to_json((SELECT string_agg(repeat('x', 100000), '') FROM generate_series(1, 100000)))), qr/^transform_failed (out of memory|string buffer exceeds)|^transform_timeout / ],
	[ 'an array without end'         => q(DECLARE a text[] := array_fill(repeat('x', 1000)::text, ARRAY[1000]); BEGIN LOOP a := a || a; END LOOP; END), qr/^transform_failed (out of memory|invalid memory alloc request|array size exceeds)|^transform_timeout / ],
	[ 'a sort in all the memory'     => q(SET work_mem = '2000GB'; RETURN to_json((SELECT count(*) FROM (SELECT repeat('x', 10000) || i AS s FROM generate_series(1, 1000000) i ORDER BY 1) x))), qr/^transform_failed out of memory|^transform_timeout / ],
	[ 'a huge result'                => q(RETURN ('"' || repeat('x', 34000000) || '"')), qr/^body_too_large the transform made more than 33554432 bytes$|^transform_timeout / ],
	[ 'a message without end'        => q(RAISE EXCEPTION '%', repeat('x', 1000000)), qr/^transform_failed x{200}/ ],
	[ 'parallel workers'             => q(SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET debug_parallel_query = on; RETURN 1), qr/^transform_failed unrecognized|^delivered/ ],
	[ 'a program'                    => q(COPY (SELECT 1) TO PROGRAM 'true'; RETURN 1), qr/^transform_failed must be superuser or have privileges|^transform_failed permission denied to COPY/ ])
{
	my ($what, $body, $expected) = @$way;
	$t->sql('CREATE OR REPLACE FUNCTION public.recurse(i int) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN public.recurse(i + 1); END $$');
	$name = bad("BEGIN $body; END");
	$id   = event('bad');
	like(join(' ', outcome($id, $name)), $expected, $what);
	all_is_well($what);
}

# when all has gone wrong, the next function is called as if nothing had
$name = bad(q(BEGIN RETURN json_build_array(session_user, current_user); END));
is((outcome(event('bad'), $name))[0], 'delivered', 'alice is served again');
is(($r->requests("/ok/$name"))[0]{body}, '["alice", "alice"]', '... as alice');

# nothing is planned for other processes than this one
$name = bad(<<'SQL');
DECLARE plan text; line text;
BEGIN
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 8;
	FOR line IN EXPLAIN SELECT count(*) FROM pg_catalog.pg_class LOOP plan := concat(plan, line); END LOOP;
	RETURN to_json(plan ~ 'Gather');
END
SQL
is((outcome(event('bad'), $name))[0], 'delivered', 'a function that asks for parallel workers');
is(($r->requests("/ok/$name"))[0]{body}, 'false', '... gets none');

#
# A loop that nothing can cancel. Its size decides for how long it is there: some seconds.
#
# What it compares is made before: that could be cancelled.
$t->sql(<<'SQL');
SET ROLE alice;
CREATE TABLE public.compared AS SELECT jsonb_agg(jsonb_build_array(i) ORDER BY i) AS a, jsonb_agg(jsonb_build_array(i) ORDER BY i DESC) AS b FROM generate_series(1, 16000) i;
SQL
my $loop = 'SELECT to_json(a @> b) FROM public.compared';
$name = bad($loop, language => 'sql');
my $other = bad(q(BEGIN RETURN '"alice"'; END), keep => 1);
$t->sql("UPDATE webhook.subscription SET events = '{good.*}', state = 'active' WHERE name = '$other'");
$id = event('bad');
is((outcome($id, $name))[0], 'transform_timeout', 'a loop in C is a timeout');
my $stuck = $t->sql("SELECT pid $processes AND usename = 'alice'");
like($stuck, qr/^\d+$/, '... and its process is still there');
poll_until('the log says what is wrong', sub { slurp_file($t->node->logfile) =~ /webhook transform of role "alice" cannot be cancelled.*Process $stuck runs a function/s });
my $free = event('bobs');
is((outcome($free, 'bobs'))[0], 'delivered', "bob's function is called");
my $good = event('good');
is((outcome($good, 'good'))[0], 'delivered', 'and who needs none is served');
is((outcome($good, $other))[0], 'transform_timeout', 'those that need another function of its owner do not wait for it');
is($t->sql("SELECT count(*) $processes AND pid = $stuck"), 1, '... all of that while it is in its call');
$t->poll_sql('it ends by itself', "SELECT count(*) $processes AND pid = $stuck", 0);
is((outcome(event('good'), $other))[0], 'delivered', 'and then they are called again');
all_is_well('a loop in C');

#
# An event of 10 MB passes, and back
#
$name = bad('SELECT e.result', language => 'sql', retry => '{100ms}');
$id   = event('bad', "repeat('0123456789', 1000000)");
$t->poll_sql('10 MB are delivered, perhaps not at once on a busy machine', "SELECT count(*) FROM webhook.attempt WHERE event_number = $id AND subscription = '$name' AND outcome = 'delivered'", 1);
is(length(($r->requests("/ok/$name"))[0]{body}), $t->sql("SELECT length(result::text) FROM webhook.outbox WHERE event_number = $id"), 'an event of 10 MB passes, whole');

#
# More owners than processes
#
$t->sql("DELETE FROM webhook.subscription WHERE events = '{bad.*}'");
bad(q(BEGIN RETURN json_build_array(current_user); END), owner => $_, keep => 1) for @owners;
$t->sql('INSERT INTO bad SELECT FROM generate_series(1, 20)');
my $most = 0;
poll_until(
	'all are served',
	sub {
		my $n = $t->sql("SELECT count(*) $processes");
		$most = $n if $n > $most;
		return $t->sql("SELECT count(*) FROM webhook.attempt a WHERE outcome = 'delivered' AND event_number > $id AND entity_type = 'bad'") == 6 * 20;
	});
cmp_ok($most, '<=', 4, "six owners are served by four processes (at most $most were seen)");

#
# Idle processes end
#
$t->poll_sql('none is left when there is nothing to do', "SELECT count(*) $processes", 0);
is($t->worker_pid, $worker, 'the worker is');

#
# Its owner can see and cancel it; and what became of the role meanwhile
#
$name = bad(q(BEGIN RETURN json_build_array(session_user, current_setting('is_superuser')); END));
event('bad');
$r->wait_for_requests(1, "/ok/$name");
is($t->sql("SELECT count(*) $processes AND usename = 'alice'"), 1, 'it is there');
is($t->sql("SET ROLE alice; SELECT pg_terminate_backend(pid) $processes AND usename = 'alice'"), 't', 'its owner may end it while it is idle');
$t->poll_sql('gone', "SELECT count(*) $processes AND usename = 'alice'", 0);
$id = event('bad');
is_deeply([ outcome($id, $name) ], [ 'delivered', '' ], '... and another one is started');

$t->sql('ALTER ROLE alice SUPERUSER');
event('bad');
$r->wait_for_requests(3, "/ok/$name");
$t->sql('ALTER ROLE alice NOSUPERUSER');
event('bad');
$r->wait_for_requests(4, "/ok/$name");
is(join(' ', map { $_->{body} } ($r->requests("/ok/$name"))[ 2, 3 ]), '["alice", "on"] ["alice", "off"]', 'it is a superuser as long as its owner is one');

$t->sql("DROP OWNED BY alice; DROP ROLE alice; CREATE ROLE alice; GRANT CREATE ON SCHEMA public TO alice; GRANT USAGE ON SCHEMA webhook TO alice");
$t->sql("SET ROLE alice; CREATE FUNCTION public.$name(e webhook.outbox) RETURNS json LANGUAGE sql AS 'SELECT to_json(session_user)'");
$id = event('bad');
is_deeply([ outcome($id, $name) ], [ 'delivered', '' ], 'a role that was dropped and made again');
is(($r->requests("/ok/$name"))[4]{body}, '"alice"', '... is who it is now');
$t->sql('ALTER ROLE alice RENAME TO alicia');
like(join(' ', outcome(event('bad'), $name)), qr/^transform_failed .*has another owner/, 'renamed, it is another owner');
$t->sql('ALTER ROLE alicia RENAME TO alice');

#
# A worker that is ended during a call, and a stop
#
# A statement that makes an event, waits until its function is being called, and then does something, all in one session: a
# call lasts less than half a second, which a look from outside may miss.
sub in_a_call
{
	my ($insert, $then) = @_;
	return <<"SQL";
DO \$\$
DECLARE
	until timestamptz := clock_timestamp() + interval '$PostgreSQL::Test::Utils::timeout_default s';
BEGIN
	$insert;
	COMMIT;
	WHILE NOT EXISTS (SELECT $processes AND datname = current_database() AND state = 'active') LOOP
		COMMIT; -- or the same would be seen again
		IF clock_timestamp() > until THEN
			RAISE 'it was never seen to be called';
		END IF;
	END LOOP;
	$then
END \$\$
SQL
}

$name = bad(q(BEGIN PERFORM pg_sleep(0.45); RETURN '1'; END));    # part of the scenario
$t->sql("DELETE FROM webhook.subscription WHERE name LIKE 'bad%' AND name <> '$name'");    # what waits for its retry there would not settle
for my $case (
	[ 'a worker that is ended during a call' => sub { "PERFORM pg_terminate_backend($worker);" } ],
	# as an operator does it who ends all sessions of a database, and a server that stops: the worker may be told last
	[ 'a process that is ended during a call, and then the worker' => sub { "PERFORM pg_terminate_backend(pid, 10000) $processes; PERFORM pg_terminate_backend($worker);" } ],
	[ 'a server that stops during a call' ])
{
	my ($how, $end) = @$case;
	my $before = $t->sql("SELECT count(*) FROM webhook.attempt WHERE subscription = '$name'");
	$t->sql(in_a_call('INSERT INTO bad (note) VALUES (NULL)', $end ? $end->() : ''));
	$t->node->restart unless $end;
	$worker = $t->wait_for_worker($worker);
	$t->wait_until_settled;
	is($t->sql("SELECT count(*) FROM webhook.attempt WHERE subscription = '$name'"), $before + 1, "$how: no attempt is counted except the one that ends");
	is($t->sql("SELECT attempt_number FROM webhook.attempt WHERE subscription = '$name' ORDER BY event_number DESC, attempt_number DESC LIMIT 1"), 1, '... and that is its first');
}

#
# Commands that need the database to themselves, with an idle process and with one in a call
#
for my $state ('idle', 'active')
{
	$t->sql('CREATE DATABASE theirs');
	my $there = sub { return $t->node->safe_psql('theirs', $_[0]) };
	$there->('CREATE EXTENSION webhook');
	$there->('CREATE TABLE item (id serial PRIMARY KEY)');
	$there->("SELECT webhook.watch('item')");
	my $body = $state eq 'idle' ? '' : 'PERFORM pg_sleep(0.45);';    # part of the scenario
	$there->("CREATE FUNCTION public.f(e webhook.outbox) RETURNS json LANGUAGE plpgsql AS 'BEGIN $body RETURN e.result; END'");
	$there->("ALTER FUNCTION public.f OWNER TO bob");
	$there->("INSERT INTO webhook.subscription (name, url, transform) VALUES ('theirs', '" . $r->url("/ok/theirs/$state") . "', 'public.f')");
	my $wanted = sub {
		my ($database) = @_;
		my $insert = 'INSERT INTO item DEFAULT VALUES';
		$t->node->safe_psql($database, $state eq 'active' ? in_a_call($insert, '') : $insert);
		$t->poll_sql('its process is idle', "SELECT count(*) $processes AND datname = '$database' AND state = 'idle'", 1) if $state eq 'idle';
	};
	$wanted->('theirs');
	for my $command ('CREATE DATABASE copied TEMPLATE theirs', 'DROP DATABASE copied')
	{
		my ($rc, undef, $err) = $t->node->psql($WebhookTest::DB, $command);
		is($rc, 0, "$command, with a process that is $state") or diag($err);
	}
	$wanted->('theirs');
	my ($rc, undef, $err) = $t->node->psql($WebhookTest::DB, 'ALTER DATABASE theirs RENAME TO others');
	is($rc, 0, "ALTER DATABASE ... RENAME, with a process that is $state") or diag($err);
	$wanted->('others');
	($rc, undef, $err) = $t->node->psql($WebhookTest::DB, 'DROP DATABASE others');
	is($rc, 0, "DROP DATABASE, with a process that is $state") or diag($err);
}

#
# No process to be had
#
my $log = slurp_file($t->node->logfile);
unlike($log, qr/terminating any other active server processes|PANIC/, 'no process of the server has crashed in all of this');
$t->node->append_conf('postgresql.conf', "max_worker_processes = 2\nmax_logical_replication_workers = 0\n");
$t->node->restart;
$worker = $t->wait_for_worker;
my $offset = -s $t->node->logfile;
$id = event('bobs');
is((outcome(event('good'), 'good'))[0], 'delivered', 'where no process can be started, others are delivered');
$t->poll_sql('status says why', "SELECT state || ': ' || reason FROM webhook_internal.worker_status()", 'failing: no process for transforms: all background worker slots are in use');
like(slurp_file($t->node->logfile, $offset), qr/WARNING:  could not start a process for transforms.*all background worker slots.*max_worker_processes/s, '... and so does the log');
is($t->sql("SELECT count(*) FROM webhook.attempt WHERE event_number = $id"), 0, 'what waits has not been tried');
$t->node->append_conf('postgresql.conf', "max_worker_processes = 20\n");
$t->node->restart;
is_deeply([ outcome($id, 'bobs') ], [ 'delivered', '' ], 'and is delivered when there is one');

$t->stop;
done_testing();

# The promise: no setting names a database. Every database that has the
# extension gets a worker at once, and loses it at once; none keeps a database
# from being dropped, copied or renamed; and where no worker can run, events are
# kept, the reason is told, and they are delivered as soon as one can.
#
# Covers: a foreign schema "webhook", tables missing; huge max_connections;
# DROP and CREATE DATABASE while the worker is idle and within HTTP; CREATE
# DATABASE ... TEMPLATE; templates and closed databases are left alone; DROP
# EXTENSION during a slow request, also with CREATE in one transaction;
# terminated worker and launcher; max_worker_processes exhausted; any database,
# no restart.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

# in DATABASE, CODE: the library's methods, in another database
sub in
{
	my ($db, $code) = @_;
	local $WebhookTest::DB = $db;
	return $code->();
}

# A source and a subscription named after the database, to /ok/DATABASE unless told otherwise.
sub furnish
{
	my ($t, $r, $db, $path) = @_;
	in $db, sub {
		$t->sql('CREATE TABLE IF NOT EXISTS item (id serial PRIMARY KEY)');
		$t->watch('item');
		$t->subscribe($db, $r->url($path // "/ok/$db"), retry_schedule => "'{1s}'");
	};
	return;
}

sub insert_into
{
	my ($t, $db) = @_;
	return in $db, sub { $t->sql('INSERT INTO item DEFAULT VALUES RETURNING id') =~ s/\n.*//sr };
}

# The database's workers, by the server's list of processes.
sub workers_of
{
	my ($t, $db) = @_;
	return $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = '$db'");
}

sub wait_for_no_worker
{
	my ($t, $db) = @_;
	poll_until("no worker is in $db", sub { workers_of($t, $db) == 0 });
	return;
}

# How long statements take, given in "postgres" unless told otherwise; for ever where they fail.
sub seconds_of
{
	my ($t, $sql, $db) = @_;
	my $start = time;
	my ($rc, $out, $err) = $t->node->psql($db // 'postgres', $sql, extra_params => [ '-v', 'ON_ERROR_STOP=1' ]);
	return time - $start if $rc == 0;
	diag("$sql: $err");
	return 9**9**9;
}

# The server's log since an offset.
sub log_since
{
	my ($t, $offset) = @_;
	return substr(slurp_file($t->node->logfile), $offset // 0);
}

my $t    = WebhookTest->new(conf => "log_min_messages = debug1\n");
my $node = $t->node;
my $r    = $t->receiver;
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

#
# Several databases, and one that comes later
#
for my $db ('one', 'two')
{
	$t->sql("CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION webhook');
	furnish($t, $r, $db);
	insert_into($t, $db);
}
$r->wait_for_requests(1, "/ok/$_") for 'one', 'two';
pass('two databases deliver, and nothing but CREATE EXTENSION told of them');
my %instance;
for my $db ('one', 'two')
{
	my ($request) = $r->requests("/ok/$db");
	$instance{$db} = $node->safe_psql($db, 'SELECT instance FROM webhook.identity');
	is($request->{headers}{'webhook-id'}, "evt_$instance{$db}_1", "$db: the event's id is of its instance");
}
isnt($instance{one}, $instance{two}, 'which is another in each database');

$t->sql('CREATE DATABASE three');
my $start = time;
$node->safe_psql('three', 'CREATE EXTENSION webhook');
in 'three', sub { $t->wait_for_worker(undef, 30) };
my $took = time - $start;
note sprintf 'a worker ran %.2f s after CREATE EXTENSION began', $took;
cmp_ok($took, '<', 3, 'CREATE EXTENSION: a worker starts at once');
furnish($t, $r, 'three');
insert_into($t, 'three');
$r->wait_for_requests(1, '/ok/three');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster, 'without a restart');
is(workers_of($t, 'three'), 1, 'one worker in it');
is($t->sql("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE backend_type = 'webhook launcher'"), 1, 'one launcher in the server');

#
# DROP EXTENSION while a request hangs
#
my $offset = -s $node->logfile;
$r->mode('/ok/one', '/hang');
insert_into($t, 'one');
$r->wait_for_requests(2, '/ok/one');
$took = seconds_of($t, "SET lock_timeout = '5s'; SET client_min_messages = warning; DROP EXTENSION webhook CASCADE", 'one');
cmp_ok($took, '<', 1, sprintf('DROP EXTENSION while a request hangs: %.2f s', $took));
$start = time;
wait_for_no_worker($t, 'one');
$took = time - $start;
cmp_ok($took, '<', 2, sprintf('its worker goes away: %.2f s', $took));
unlike(log_since($t, $offset), qr/(ERROR|FATAL|PANIC):.*/, 'and there is no error about it');
insert_into($t, 'one');
is(workers_of($t, 'one'), 0, 'the table is an ordinary one again');
$r->mode('/ok/one', undef);
$node->safe_psql('one', 'CREATE EXTENSION webhook');
furnish($t, $r, 'one');
insert_into($t, 'one');
$r->wait_for_requests(3, '/ok/one');
my $again = ($r->requests('/ok/one'))[2]->{headers}{'webhook-id'};
like($again, qr/^evt_[0-9a-f]{8}_1$/, 'created again it delivers, from 1 on');
unlike($again, qr/$instance{one}/, 'as another instance, so that no id is given twice');

# both in one transaction
$offset = -s $node->logfile;
$r->mode('/ok/one', '/hang');
insert_into($t, 'one');
$r->wait_for_requests(4, '/ok/one');
$took = seconds_of($t, <<SQL, 'one');
SET lock_timeout = '5s';
SET client_min_messages = warning;
BEGIN;
DROP EXTENSION webhook CASCADE;
CREATE EXTENSION webhook;
SELECT webhook.watch('item');
SELECT webhook.subscribe('new', '@{[ $r->url('/ok/new') ]}');
INSERT INTO item DEFAULT VALUES;
COMMIT;
SQL
cmp_ok($took, '<', 2, sprintf('DROP and CREATE EXTENSION in one transaction, while a request hangs: %.2f s', $took));
$r->wait_for_requests(1, '/ok/new');
pass('the event of that transaction is delivered');
$r->mode('/ok/one', undef);
in 'one', sub { $t->wait_until_settled };
is($r->count('/ok/new'), 1, 'once');
is($r->count('/ok/one'), 4, 'and nothing for the subscription that is gone');
unlike(log_since($t, $offset), qr/(ERROR|FATAL|PANIC):.*/, 'without an error');
is(workers_of($t, 'one'), 1, 'one worker in it');
furnish($t, $r, 'one');

#
# Other databases come and go; so do those that have workers
#
$t->sql('CREATE DATABASE other');
$took = seconds_of($t, 'CREATE DATABASE other2 TEMPLATE other');
cmp_ok($took, '<', 2, sprintf('CREATE DATABASE from another, with idle workers about: %.2f s', $took));
$took = seconds_of($t, 'DROP DATABASE other2');
cmp_ok($took, '<', 2, sprintf('DROP DATABASE of another, with idle workers about: %.2f s', $took));
$r->mode("/ok/$_", '/hang') for 'two', 'three';
insert_into($t, $_) for 'two', 'three';
$r->wait_for_requests(2, "/ok/$_") for 'two', 'three';
$took = seconds_of($t, 'CREATE DATABASE other2 TEMPLATE other');
cmp_ok($took, '<', 2, sprintf('CREATE DATABASE from another, with workers within HTTP: %.2f s', $took));
$took = seconds_of($t, 'DROP DATABASE other2');
cmp_ok($took, '<', 2, sprintf('DROP DATABASE of another, with workers within HTTP: %.2f s', $took));
my $oid = $t->sql("SELECT oid FROM pg_database WHERE datname = 'three'");
$took = seconds_of($t, 'DROP DATABASE three');
cmp_ok($took, '<', 1, sprintf('DROP DATABASE of one whose worker is within HTTP: %.2f s', $took));
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname IS NULL"), 0, 'no worker is left in it');
unlike(log_since($t, $offset), qr/FATAL:.*database "?(three|$oid)"? does not exist/, 'and none is sent into it');
in 'two', sub { is($t->sql('SELECT in_flight FROM webhook_internal.worker_status()'), 1, 'the request of another database hangs on undisturbed') };
is($r->count('/ok/two'), 2, 'and was not made again');

# a database of the same name is another one
$t->sql('CREATE DATABASE three');
$node->safe_psql('three', 'CREATE EXTENSION webhook');
$r->mode('/ok/three', undef);
furnish($t, $r, 'three');
insert_into($t, 'three');
$r->wait_for_requests(3, '/ok/three');
is($r->count('/ok/three'), 3, 'created again under its name, it delivers its own event');

# a copy of one that is at work: its worker steps aside and comes back
$r->mode('/ok/two', undef);    # for the next request; the one under way hangs on
$took = seconds_of($t, 'CREATE DATABASE copy TEMPLATE two');
cmp_ok($took, '<', 4, sprintf('CREATE DATABASE ... TEMPLATE of one whose worker is within HTTP: %.2f s', $took));
in 'two', sub { $t->wait_until_settled };
my @seen = map { $_->{headers}{'webhook-id'} } $r->requests('/ok/two');
is(scalar(@seen), 3, 'the worker comes back, and sends again what it broke off');
is($seen[1], $seen[2], 'with the same id');

# the copy
insert_into($t, 'copy');
in 'copy', sub {
	$t->poll_sql('the worker of the copy says why it is suspended',
		"SELECT state = 'suspended' AND reason LIKE '%webhook.enable_delivery()%' FROM webhook.worker");
	is($t->sql("SELECT instance FROM webhook.identity"), $instance{two}, 'a copy has the identity of its original');
};
insert_into($t, 'two');
$r->wait_for_requests(4, '/ok/two');
is($r->count('/ok/two'), 4, 'and stays suspended');
ok(!(grep { !/^evt_$instance{two}_/ } map { $_->{headers}{'webhook-id'} } $r->requests('/ok/two')), 'whatever arrives is of the original');
# whoever wants it to deliver says so, and where to
my $copied = in 'copy', sub {
	$t->sql("SELECT count(*) FROM webhook.pending");
};
in 'copy', sub {
	$t->sql("UPDATE webhook.subscription SET name = 'copy', url = '@{[ $r->url('/ok/copy') ]}'");
	$t->sql('SELECT webhook.enable_delivery()');
	isnt($t->sql('SELECT instance FROM webhook.identity'), $instance{two}, 'webhook.enable_delivery() makes it an instance of its own');
	$t->poll_sql('its worker runs', "SELECT state = 'running' FROM webhook.worker");
	$t->wait_until_settled;
};
insert_into($t, 'copy');
in 'copy', sub { $t->wait_until_settled };
my @copy = $r->requests('/ok/copy');
note sprintf '%d pending when copied, %d requests of the copy: %s', $copied, scalar(@copy), join ' ', map { $_->{headers}{'webhook-id'} } @copy;
like($copy[0]{headers}{'webhook-id'} // '', qr/^evt_(?!$instance{two})[0-9a-f]{8}_4$/, 'from then on it delivers, in its own name');
is(scalar(@copy), 1, 'and nothing of before: neither what was copied nor what it captured while it was suspended');
is($r->count('/ok/two'), 4, 'to its own endpoint');

# renamed
$took = seconds_of($t, 'ALTER DATABASE copy RENAME TO renamed');
cmp_ok($took, '<', 1, sprintf('ALTER DATABASE ... RENAME: %.2f s', $took));
in 'renamed', sub { $t->wait_for_worker };
insert_into($t, 'renamed');
$r->wait_for_requests(@copy + 1, '/ok/copy');
pass('renamed, it goes on');
# an error of the command leaves the worker where it was
my ($rc, $out, $err) = $node->psql('postgres', 'CREATE DATABASE two TEMPLATE renamed');
like($err, qr/already exists/, 'a command that fails');
in 'renamed', sub { $t->wait_for_worker };
pass('the worker comes back all the same');
# who may not give the command disturbs nobody
$t->sql('CREATE ROLE nobody LOGIN CREATEDB');
my $pid = in 'renamed', sub { $t->worker_pid };
for my $command ('DROP DATABASE renamed', 'ALTER DATABASE renamed RENAME TO mine', 'CREATE DATABASE mine TEMPLATE renamed')
{
	$node->psql('postgres', $command, extra_params => [ '-U', 'nobody' ], stderr => \$err);
	like($err, qr/permission denied|must be owner/, "$command: refused");
}
is(in('renamed', sub { $t->worker_pid }), $pid, 'and the worker did not move');
$took = seconds_of($t, 'DROP DATABASE renamed WITH (FORCE)');
cmp_ok($took, '<', 1, sprintf('DROP DATABASE ... WITH (FORCE): %.2f s', $took));

#
# Databases that nobody may be connected to
#
$t->sql('CREATE DATABASE closed');
$node->safe_psql('closed', 'CREATE EXTENSION webhook');
in 'closed', sub { $t->wait_for_worker };
$t->sql('ALTER DATABASE closed ALLOW_CONNECTIONS false');
$node->safe_psql('template1', 'CREATE EXTENSION webhook; CREATE TABLE item (id serial PRIMARY KEY); INSERT INTO item DEFAULT VALUES');
insert_into($t, 'one');    # the launcher has something to do
in 'one', sub { $t->wait_until_settled };
is(workers_of($t, 'template1'), 0, 'no worker in a template that has the extension');
$took = seconds_of($t, 'CREATE DATABASE from_template1');
cmp_ok($took, '<', 2, sprintf('CREATE DATABASE from that template: %.2f s', $took));
$node->safe_psql('from_template1', 'INSERT INTO item DEFAULT VALUES');
$node->stop('fast');
$offset = -s $node->logfile;
$node->start;
for my $db ('one', 'two', 'three')
{
	in $db, sub { $t->wait_for_worker };
}
in 'from_template1', sub {
	$t->sql("SELECT webhook.watch('item'); INSERT INTO item DEFAULT VALUES");
	$t->poll_sql('made from a template with the extension: suspended', "SELECT state = 'suspended' FROM webhook.worker");
	$t->sql('SELECT webhook.enable_delivery()');
	$t->wait_for_worker;
	pass('a database made from a template that has the extension: suspended until webhook.enable_delivery()');
};
my $log = log_since($t, $offset);
like($log, qr/starting background worker process "webhook worker for database one"/, '(the log tells of every start)');
unlike($log, qr/starting background worker process "webhook worker for database (template[01]|closed)"/,
	'templates and databases that take no connections are left alone');
unlike($log, qr/FATAL:/, 'and nobody was turned away');
$node->safe_psql('template1', 'DROP EXTENSION webhook; DROP TABLE item');

#
# A schema of the same name, and tables that are missing
#
$t->sql('CREATE DATABASE foreign_schema');
$node->safe_psql('foreign_schema', 'CREATE SCHEMA webhook; CREATE TABLE webhook.outbox (x text); CREATE TABLE webhook.subscription (id text); CREATE VIEW webhook.pending AS SELECT 1 AS nothing');
$node->stop('fast');
$offset = -s $node->logfile;
$node->start;
in $_, sub { $t->wait_for_worker } for 'one', 'two', 'three';
poll_until('the launcher has asked about it', sub { log_since($t, $offset) =~ /webhook worker for database foreign_schema/ });
wait_for_no_worker($t, 'foreign_schema');
insert_into($t, 'one');
in 'one', sub { $t->wait_until_settled };
$log = log_since($t, $offset);
is(() = $log =~ /starting background worker process "webhook worker for database foreign_schema"/g, 1, 'a foreign schema "webhook": asked once, no loop');
unlike($log, qr/(ERROR|FATAL|PANIC):/, 'and no error');
my ($refused) = ($node->psql('foreign_schema', 'CREATE EXTENSION webhook'))[2];
like($refused, qr/already exists/, 'CREATE EXTENSION there is refused');
is($node->safe_psql('foreign_schema', "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'webhook'::regnamespace AND relkind IN ('r', 'v')"),
	'outbox,pending,subscription', 'and changes nothing');

# a table of ours is taken away under a running worker
$offset = -s $node->logfile;
$node->safe_psql('three', 'ALTER EXTENSION webhook DROP TABLE webhook.attempt; ALTER TABLE webhook.attempt RENAME TO taken_away');
for (1 .. 20)
{
	insert_into($t, 'three');
	Time::HiRes::usleep(100_000);    # part of the scenario: commits that each ask for a worker
}
pass('a table of ours is missing: applications go on writing');
poll_until('the log names the table', sub { log_since($t, $offset) =~ /webhook\.attempt/ });
$log = log_since($t, $offset);
cmp_ok(scalar(() = $log =~ /starting background worker process "webhook worker for database three"/g), '<=', 6, 'no crash loop');
unlike($log, qr/terminated by signal|PANIC/, 'no crash');
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname IN ('one', 'two')"), 2, 'the other databases are not concerned');
in 'three', sub {
	$t->poll_sql('the status says why', "SELECT reason LIKE '%webhook.attempt%' FROM webhook.worker");
	$t->sql('ALTER TABLE webhook.taken_away RENAME TO attempt; ALTER EXTENSION webhook ADD TABLE webhook.attempt');
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->wait_until_settled;
};
my %three = map { $_->{headers}{'webhook-id'} => 1 } $r->requests('/ok/three');
is(keys %three, 3 + 21, 'put back: all is delivered');

#
# Terminated: worker and launcher
#
$pid   = in 'one', sub { $t->worker_pid };
$start = time;
$t->sql("SELECT pg_terminate_backend($pid)");
in 'one', sub { $t->wait_for_worker($pid, 30) };
$took = time - $start;
cmp_ok($took, '<', 5, sprintf('a terminated worker is back: %.2f s', $took));
my $launcher = $t->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook launcher'");
$t->sql("SELECT pg_terminate_backend($launcher)");
my $back = eval {
	poll_until('the launcher is back',
		sub { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook launcher' AND pid <> $launcher") }, 20);
};
ok($back, 'a terminated launcher is back');
SKIP:
{
	skip 'no launcher', 1 unless $back;
	$t->sql('CREATE DATABASE four');
	$node->safe_psql('four', 'CREATE EXTENSION webhook');
	in 'four', sub { $t->wait_for_worker };
	pass('and starts workers');
}
$t->stop;

#
# Not preloaded
#
$t    = WebhookTest->new(name => 'bare', preload => '');
$node = $t->node;
$r    = $t->receiver;
$t->sql('CREATE DATABASE bare');
(undef, undef, $err) = $node->psql('bare', 'CREATE EXTENSION webhook');
like($err, qr/shared_preload_libraries/, 'without preload: CREATE EXTENSION says what is missing');
furnish($t, $r, 'bare');
insert_into($t, 'bare') for 1 .. 3;
in 'bare', sub {
	is($t->sql('SELECT count(*) FROM webhook.outbox'), 3, 'events are captured and kept');
	like($t->sql('SELECT state, reason FROM webhook.worker'), qr/^not_running\|.*shared_preload_libraries/, 'the status says why nothing happens');
	is($r->count, 0, 'nothing is sent');
	$t->sql('SELECT webhook.start_worker()');
	$t->wait_until_settled;
	is($r->count, 3, 'webhook.start_worker() delivers them');
	$t->sql('SELECT webhook.start_worker()');
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->wait_until_settled;
	is($r->count, 4, 'and what comes later; calling it again changes nothing');
	is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook launcher'"), 1, 'one launcher');
	is(workers_of($t, 'bare'), 1, 'one worker');
};
$node->restart;
insert_into($t, 'bare');
in 'bare', sub {
	like($t->sql('SELECT state FROM webhook.worker'), qr/^not_running/, 'until the server is restarted');
	$t->sql('SELECT webhook.start_worker()');
	$t->wait_until_settled;
};
is($r->count, 5, 'nothing is lost or repeated by that');
$t->stop;

#
# No background worker slot is free
#
$t    = WebhookTest->new(name => 'few', conf => "max_worker_processes = 2\nmax_logical_replication_workers = 0\n");
$node = $t->node;
$r    = $t->receiver;
$t->wait_for_worker;    # the launcher and this one are all there may be
$t->sql('CREATE DATABASE second');
$offset = -s $node->logfile;
$node->safe_psql('second', 'CREATE EXTENSION webhook');
furnish($t, $r, 'second');
insert_into($t, 'second');
poll_until('the log says so', sub { log_since($t, $offset) =~ /could not start a webhook worker for database "second"/ });
like(log_since($t, $offset), qr/WARNING:.*could not start a webhook worker.*HINT:.*max_worker_processes/s, 'max_worker_processes exhausted: a warning, with a hint');
insert_into($t, 'second') for 1 .. 4;
in 'second', sub {
	is($t->sql('SELECT count(*) FROM webhook.outbox'), 5, 'events are kept');
	unlike($t->sql('SELECT state FROM webhook.worker'), qr/^running/, 'the status does not say that a worker runs');
};
is($r->count, 0, 'nothing is sent yet');
$t->sql('DROP EXTENSION webhook');
in 'second', sub {
	$t->wait_for_worker(undef, 30);
	$t->wait_until_settled;
};
is($r->count, 5, 'when a slot is free, they are delivered');
is(() = log_since($t, $offset) =~ /WARNING:.*could not start a webhook worker/g, 1, 'it was said once');
$t->stop;

#
# Very many connections
#
$t = WebhookTest->new(name => 'huge', conf => "max_connections = 5000\nmax_prepared_transactions = 1000\n");
$r = $t->receiver;
is($t->sql('SHOW max_connections'), 5000, 'a server for 5000 connections starts');
furnish($t, $r, 'postgres');
insert_into($t, 'postgres');
$r->wait_for_requests(1);
pass('and delivers');
$t->stop;

done_testing();

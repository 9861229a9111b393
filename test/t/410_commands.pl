# The promise: whoever gives a command about a database or its tables never
# waits longer than a second for the worker, however many requests hang; nothing
# is lost by it, and the worker is back by itself.
#
# How long a command takes is compared with the same command, given just before
# for a database (or tables) of the same size that has no worker: copying files
# and checkpoints are not waiting for us. What is left is the worker's clean
# stop (it writes down what it breaks off), its exit, and up to 100 ms in which
# PostgreSQL sleeps before it looks again whether the database is free.
#
# Covers: DROP DATABASE; CREATE DATABASE ... TEMPLATE; TRUNCATE, VACUUM FULL,
# CLUSTER, REINDEX, ALTER TABLE.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t    = WebhookTest->new(conf => "allow_in_place_tablespaces = on\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

# in DATABASE, CODE: the library's methods, in another database
sub in
{
	my ($db, $code) = @_;
	local $WebhookTest::DB = $db;
	return $code->();
}

# A database with 50 requests under way that hang, and ten deliveries that wait. (The next request is answered.)
sub hanging
{
	my ($db, $behave) = @_;
	$r->mode("/ok/$db", $behave // '/hang');
	in $db, sub {
		my $before = $r->count("/ok/$db");
		$t->sql('INSERT INTO item SELECT FROM generate_series(1, 60)');
		$r->wait_for_requests($before + 50, "/ok/$db");
		$t->wait_until_read;
		$t->poll_sql('fifty are under way', 'SELECT in_flight FROM webhook_internal.worker_status()', 50);
	};
	$r->mode("/ok/$db", undef);
	return;
}

sub furnished
{
	my ($db, $behave) = @_;
	$t->sql("CREATE DATABASE $db TEMPLATE template0") unless $db eq 'postgres';
	in $db, sub {
		$t->sql('CREATE EXTENSION IF NOT EXISTS webhook');
		$t->sql('CREATE TABLE item (id serial PRIMARY KEY)');
		$t->watch('item');
		$t->subscribe('crm', $r->url("/ok/$db"), timeout => "'150s'");
	};
	hanging($db, $behave);
	return;
}

# All events of a database have been answered, and are settled.
sub all_delivered
{
	my ($db, $path, $what) = @_;
	$path //= "/ok/$db";
	in $db, sub {
		$t->wait_until_settled;
		$t->load_requests($r, 'request');
		is($t->sql(<<SQL), '0|0|f', "$what: nothing is lost or given up");
SELECT count(*) FILTER (WHERE NOT EXISTS (SELECT FROM request r WHERE r.path = '$path' AND r.event_number = o.event_number AND r.status = 200
		AND r.id LIKE 'evt_' || (SELECT instance FROM webhook.identity LIMIT 1) || '%')),
	(SELECT count(*) FROM webhook.dead_letter), count(*) < 60
FROM webhook.outbox o
SQL
		$t->sql('DROP TABLE request');
	};
	return;
}

sub seconds_of
{
	my ($sql, $db) = @_;
	my $start = time;
	my ($rc, $out, $err) = $node->psql($db // 'postgres', "SET lock_timeout = '5s';\n$sql", extra_params => [ '-v', 'ON_ERROR_STOP=1' ]);
	return time - $start if $rc == 0;
	diag("$sql: $err");
	return 9**9**9;
}

# The second command takes no more than a second longer than the first, which has nobody to wait for.
sub no_wait
{
	my ($what, $floor, $took) = @_;
	return cmp_ok($took - $floor, '<', 1, sprintf('%s: %.2f s, and %.2f s where there is no worker', $what, $took, $floor));
}

$t->sql("CREATE TABLESPACE elsewhere LOCATION ''");
$t->sql('CREATE DATABASE bare TEMPLATE template0');
$node->safe_psql('bare', 'CREATE EXTENSION webhook; DROP EXTENSION webhook');

#
# Commands about databases
#
furnished('crm');
no_wait(
	'CREATE DATABASE ... TEMPLATE',
	seconds_of('CREATE DATABASE bare_copy TEMPLATE bare'),
	seconds_of('CREATE DATABASE copy TEMPLATE crm'));
all_delivered('crm', undef, 'copied');

hanging('crm');
no_wait(
	'ALTER DATABASE ... SET TABLESPACE',
	seconds_of('ALTER DATABASE bare SET TABLESPACE elsewhere'),
	seconds_of('ALTER DATABASE crm SET TABLESPACE elsewhere'));
all_delivered('crm', undef, 'moved to another tablespace');

hanging('crm');
no_wait('ALTER DATABASE ... RENAME', seconds_of('ALTER DATABASE bare RENAME TO bare2'), seconds_of('ALTER DATABASE crm RENAME TO crm2'));
all_delivered('crm2', '/ok/crm', 'renamed');

furnished('forced');
no_wait(
	'DROP DATABASE ... WITH (FORCE)',
	seconds_of('DROP DATABASE bare_copy WITH (FORCE)'),
	seconds_of('DROP DATABASE forced WITH (FORCE)'));
furnished('dropped');
no_wait('DROP DATABASE', seconds_of('DROP DATABASE bare2'), seconds_of('DROP DATABASE dropped'));
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname IS NULL"), 0, 'no worker is left in what is gone');

# A suspended worker, that of a copy, stands in nobody's way either.
in 'copy', sub { $t->poll_sql('the worker of the copy is suspended', 'SELECT state FROM webhook_internal.worker_status()', 'suspended') };
no_wait(
	'ALTER DATABASE ... RENAME of a copy',
	seconds_of('CREATE DATABASE bare; ALTER DATABASE bare RENAME TO bare3'),
	seconds_of('ALTER DATABASE copy RENAME TO copy2'));
no_wait('DROP DATABASE of a copy', seconds_of('DROP DATABASE bare3'), seconds_of('DROP DATABASE copy2'));

#
# The extension comes and goes, which a worker may notice between any two of its statements
#
$t->sql('CREATE DATABASE fickle TEMPLATE template0');
my ($slowest_drop, $drop) = (0);
for (1 .. 30)
{
	$node->safe_psql('fickle', 'CREATE EXTENSION webhook; SELECT webhook.subscribe(\'crm\', \'https://127.0.0.1:9/\')');
	$slowest_drop = $drop if ($drop = seconds_of('DROP EXTENSION webhook', 'fickle')) > $slowest_drop;
}
cmp_ok($slowest_drop, '<', 1, sprintf('DROP EXTENSION, thirty times while its worker starts or runs: %.2f s at most', $slowest_drop));

#
# Commands about our tables, committed
#
furnished('postgres', '/slow/60000');
my $worker = $t->worker_pid;
my @tables = split /\n/, $t->sql(<<'SQL');
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND relkind IN ('r', 'p')
	AND relname !~ '_[2-7]$' ORDER BY relkind, oid -- two segments stand for all
SQL
my %seconds;
for my $table (@tables)
{
	my ($partitioned, $index) = split /\|/, $t->sql(<<SQL);
SELECT relkind = 'p', (SELECT indexrelid::regclass FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am a ON a.oid = x.relam
	WHERE indrelid = c.oid AND indpred IS NULL AND amclusterable AND amname = 'btree' LIMIT 1)
FROM (SELECT true AS amclusterable) q, pg_class c WHERE c.oid = '$table'::regclass
SQL
	$seconds{"ALTER TABLE $table ADD COLUMN"} = seconds_of("ALTER TABLE $table ADD COLUMN remark text DEFAULT 'none'")
	  unless $table =~ /_\d\z/;
	$seconds{"VACUUM FULL $table"}        = seconds_of("VACUUM FULL $table");
	$seconds{"REINDEX $table"}            = seconds_of("REINDEX TABLE $table");
	$seconds{"REINDEX ... CONCURRENTLY $table"} = seconds_of("REINDEX TABLE CONCURRENTLY $table");
	$seconds{"CLUSTER $table"} = seconds_of("CLUSTER $table USING " . $index =~ s/^webhook(_internal)?\.//r) if $index && $partitioned eq 'f';
	$seconds{"ALTER TABLE $table SET TABLESPACE"} = seconds_of("ALTER TABLE $table SET TABLESPACE elsewhere");
}
# what is under way is in the worker's memory: neither the log nor the checkpoints nor the events themselves are needed for it
$seconds{"TRUNCATE $_"} = seconds_of("TRUNCATE $_") for 'webhook.attempt', 'webhook.dead_letter', 'webhook.checkpoint', 'webhook.pending';
my ($slowest) = sort { $seconds{$b} <=> $seconds{$a} } keys %seconds;
cmp_ok($seconds{$slowest}, '<', 1, sprintf('%d commands about our tables while requests hang; the slowest, %s: %.2f s', scalar(keys %seconds), $slowest, $seconds{$slowest}));
is($t->sql('SELECT in_flight FROM webhook_internal.worker_status()'), 50, 'they hang still');
is($t->worker_pid, $worker, 'the worker is not concerned');

$t->sql('INSERT INTO item SELECT FROM generate_series(1, 10)');
all_delivered('postgres', undef, 'after them');
is($t->worker_pid, $worker, 'by the same worker');
unlike(slurp_file($node->logfile), qr/exited with exit code 1|ERROR:|PANIC:|terminated by signal/, 'no worker died of any of it, and nobody saw an error');

$t->stop;
done_testing();

# The promise: what capture puts on disk is small and right. The outbox's json is compressed
# with lz4 where the server has it. Rows go behind all others, so that small ones do not touch
# old pages; what VACUUM has emptied is used again. The indexes are in order, whatever sessions
# write at once, whatever is rolled back, and after a crash.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "autovacuum = off\ncheckpoint_timeout = 1h\nmax_wal_size = 4GB\n");
my $node = $t->node;

sub size { return $t->sql('SELECT sum(pg_relation_size(tableoid)) FROM (SELECT DISTINCT tableoid FROM webhook.outbox) s') }

my $lz4 = "EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals))";
is($t->sql(<<SQL), '27', 'the json columns of the outbox and of each segment are compressed with lz4, if the server has it');
SELECT count(*) FROM pg_attribute JOIN pg_partition_tree('webhook.outbox') ON attrelid = relid
	WHERE atttypid = 'json'::regtype AND attcompression = CASE WHEN $lz4 THEN 'l' ELSE '' END
SQL

$t->sql('CREATE TABLE item (id int PRIMARY KEY, note text)');
$t->watch('item');

my $bulk = 'INSERT INTO item SELECT g, repeat(\'x\', 100) FROM generate_series(1, 5000) g';
$t->sql($bulk);

# --- behind

$t->sql('VACUUM webhook.outbox');    # it notes the ends of all pages
$t->sql('DELETE FROM item');
is($t->sql(<<SQL), 't', 'rows that would fit into the ends of old pages go behind them');
SELECT min(block) FILTER (WHERE action_type = 'delete') >= max(block) FILTER (WHERE action_type = 'new') AND max(block) > 10
	FROM (SELECT action_type, (ctid::text::point)[0] AS block FROM webhook.outbox) o
SQL
$t->sql('INSERT INTO item VALUES (1)');
is($t->sql('SELECT (ctid::text::point)[0] = (SELECT max((ctid::text::point)[0]) FROM webhook.outbox) FROM webhook.outbox ORDER BY event_number DESC LIMIT 1'),
	't', '... and so does the row of a new session, by itself');

# --- again

$t->sql('TRUNCATE item');
$t->sql("BEGIN; $bulk; ROLLBACK");
my $size = size();
$t->sql('VACUUM (TRUNCATE false) webhook.outbox');
$t->sql($bulk);
cmp_ok(size(), '<', $size + 20 * 8192, 'what a rolled back transaction has left is used again, once VACUUM has been there');

# ... by one row after another too, in a session that has a page already
sub one_by_one { my ($note, $n) = @_; return "DO \$\$ BEGIN FOR i IN 1..$n LOOP INSERT INTO item VALUES (100000 + i, $note); END LOOP; END \$\$" }
my $session = $node->background_psql($WebhookTest::DB);
$session->query_safe(one_by_one("'x'", 3) . '; TRUNCATE item');
$t->sql("BEGIN; $bulk; ROLLBACK");
$size = size();
$t->sql('VACUUM (TRUNCATE false) webhook.outbox');
$session->query_safe(one_by_one("repeat('x', 100)", 4000));
cmp_ok(size(), '<', $size + 20 * 8192, '... and by a session that writes row by row');
$session->quit;

# ... and so is the TOAST table: rows that lz4 does not make small
sub toast_size { return $t->sql('SELECT sum(pg_relation_size(reltoastrelid)) FROM pg_class WHERE oid IN (SELECT tableoid FROM webhook.outbox)') }
my $noise = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(i, i + 150))";
my $wide  = "INSERT INTO item SELECT i, $noise FROM generate_series(1, 1000) i";
$t->sql('TRUNCATE item');
for my $again ($wide, one_by_one($noise, 1000))
{
	$session = $node->background_psql($WebhookTest::DB);
	$session->query_safe("INSERT INTO item SELECT 200000, $noise FROM generate_series(1, 1) i; DELETE FROM item");
	$t->sql("BEGIN; $wide; ROLLBACK");
	my $toast = toast_size();
	$t->sql('VACUUM (TRUNCATE false) webhook.outbox');
	$session->query_safe($again);
	cmp_ok($toast, '>', 500 * 8192, 'wide rows take their pages of the TOAST table');
	cmp_ok(toast_size(), '<', $toast + $toast / 5, '... and what VACUUM has emptied there is used again');
	$session->quit;
	$t->sql('TRUNCATE item');
}

# --- right

my $amcheck = $t->try_sql('CREATE EXTENSION amcheck');

# The sessions' rows mingle: statements of some rows to some hundreds, savepoints that are rolled back, whole transactions too.
sub session
{
	my ($s) = @_;
	my $script = '';
	for my $n (1 .. 40)
	{
		my $rows = ($n * 37 + $s * 11) % 150 + 1;
		my $first = 1_000_000 * $s + 1000 * $n;
		$script .= "BEGIN;\nINSERT INTO item SELECT g, 'x' FROM generate_series($first, $first + $rows) g;\n";
		$script .= "SAVEPOINT s;\nUPDATE item SET note = 'undone' WHERE id BETWEEN $first AND $first + 20;\nROLLBACK TO s;\n" if $n % 3 == 0;
		$script .= "UPDATE item SET note = note || 'y' WHERE id >= $first AND id % 2 = 0 AND id < $first + 1000;\n";
		$script .= $n % 7 == 0 ? "ROLLBACK;\n" : "COMMIT;\n";
	}
	return $script;
}

sub check
{
	my ($when) = @_;
  SKIP:
	{
		skip 'the server has no amcheck', 1 unless defined $amcheck;
		$t->sql('CREATE EXTENSION IF NOT EXISTS amcheck');
		is($t->sql("SELECT count(bt_index_parent_check(indexrelid, true, true)) FROM pg_index WHERE indrelid IN (SELECT relid FROM pg_partition_tree('webhook.outbox') WHERE isleaf)"),
			16, "$when: the indexes are in order, and have an entry for each row");
	}
	for my $condition ('event_number > 0', "xid > '0'")
	{
		my $count = "SET enable_bitmapscan = off; SELECT count(*) FROM webhook.outbox WHERE $condition";
		is($t->sql("SET enable_seqscan = off; $count"), $t->sql("SET enable_indexscan = off; SET enable_indexonlyscan = off; $count"),
			"$when: each event is found by $condition");
	}
}

$t->sql("TRUNCATE item; TRUNCATE webhook.outbox; ALTER SYSTEM SET wal_consistency_checking = 'all'; SELECT pg_reload_conf()");
$t->sql('CHECKPOINT');
# an entry without a key is the last one of its index
$t->sql(<<'SQL');
ALTER TABLE webhook.outbox ALTER COLUMN event_number DROP NOT NULL;
INSERT INTO webhook.outbox (xid, entity_type, action_type, created_at, segment) VALUES ('1', 'item', 'new', now(), webhook_internal.current_segment());
SQL
is(join('', $t->finish_sessions($t->sessions(map { session($_) } 1 .. 4))), '', 'sessions write at once');
check('written at once');
my $expected = $t->sql('SELECT count(*), count(DISTINCT event_number), sum(event_number) FROM webhook.outbox');
$node->stop('immediate');
$node->start;
is($t->sql('SELECT count(*), count(DISTINCT event_number), sum(event_number) FROM webhook.outbox'), $expected, 'after a crash all events are there');
check('after a crash');
unlike(slurp_file($node->logfile), qr/inconsistent page/, 'every page was recovered as it had been');

$t->stop;
done_testing();

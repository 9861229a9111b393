# The promise: a row of the log is the same whichever way the worker writes it.
# While webhook.attempt is as the extension made it, rows go in as COPY would write
# them, with no statement; what people add (a trigger, a constraint, a column, a
# rule, forced row security) takes effect from the next settling on, as with any
# INSERT. And an entity's requests are found by an index that the worker keeps up to
# date while it writes, without VACUUM.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

# auto_explain writes down the statements of the worker
my $t = WebhookTest->new(preload => 'auto_explain,webhook', conf => <<'CONF');
autovacuum = off
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
CONF
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), ordering => "'none'");
$t->subscribe('failing', $r->url('/status/413/failing'), events => "'{item.new}'");

# Some changes of everything: changes(ID) makes two deliveries that succeed and one that does not.
sub changes
{
	my ($id) = @_;
	my $after = $t->sql('SELECT coalesce(max(event_number), 0) FROM webhook.outbox');
	$t->sql("INSERT INTO item VALUES ($id); UPDATE item SET v = v + 1 WHERE id = $id");
	$t->wait_until_settled;
	return $after;
}

# What the log has of them, without what is different each time.
sub rows_after
{
	my ($after) = @_;
	return $t->sql(<<SQL);
SELECT event_number - $after, a.subscription_id = s.id, attempt_number, http_status, duration_ms > 0, started_at BETWEEN clock_timestamp() - interval '10 min' AND clock_timestamp(),
	a.tableoid::regclass::text = 'webhook.attempt_' || a.segment,
	outcome, subscription, entity_type, action_type, error, rtrim(response, E'\n')
FROM webhook.attempt a LEFT JOIN webhook.subscription s ON s.name = a.subscription WHERE event_number > $after ORDER BY event_number, subscription
SQL
}

sub log_size { return -s $node->logfile }

# Has the worker written the log by a statement since then?
sub by_statement
{
	my ($offset) = @_;
	return substr(slurp_file($node->logfile), $offset) =~ /Query Text: INSERT INTO webhook\.attempt/ ? 1 : 0;
}

#
# As the extension made it
#
my $offset = log_size();
my $plain  = rows_after(changes(1));
is($plain =~ tr/\n// + 1, 3, 'a row for each request') or diag($plain);
like($plain, qr/\|200\|t\|t\|t\|delivered\|crm\|item\|new\|\|/,                 'of one that succeeded');
like($plain, qr/\|413\|t\|t\|t\|[a-z_]+\|failing\|item\|new\|[^|]+\|/, 'and of one that did not');
is(by_statement($offset), 0, 'written by no statement');
is($t->sql("SELECT entity_id FROM webhook.log ORDER BY started_at DESC LIMIT 1"), '1', 'with the entity');

#
# What people add
#
$t->sql(<<'SQL');
CREATE TABLE noted (what text);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.noted VALUES (TG_ARGV[0]); RETURN NEW; END $$;
SQL
for my $case (
	[ 'a trigger for each row', "CREATE TRIGGER note_it BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION note_it('row')", 'DROP TRIGGER note_it ON webhook.attempt' ],
	[
		'a trigger for each statement', "CREATE TRIGGER note_it AFTER INSERT ON webhook.attempt FOR EACH STATEMENT EXECUTE FUNCTION note_it('statement')",
		'DROP TRIGGER note_it ON webhook.attempt'
	],
	[
		"a segment's own trigger",
		join(';', map { "CREATE TRIGGER note_it BEFORE INSERT ON webhook.attempt_$_ FOR EACH ROW EXECUTE FUNCTION note_it('segment')" } 0 .. 7),
		join(';', map { "DROP TRIGGER note_it ON webhook.attempt_$_" } 0 .. 7)
	],
	[ 'a column with a default', "ALTER TABLE webhook.attempt ADD COLUMN remark text DEFAULT 'none'", 'ALTER TABLE webhook.attempt DROP COLUMN remark' ])
{
	my ($what, $do, $undo) = @$case;
	$t->sql('TRUNCATE noted');
	$t->sql($do);
	$offset = log_size();
	my $after = changes($t->sql('SELECT max(id) + 1 FROM item'));
	is(rows_after($after), $plain, "$what: the same rows");
	is(by_statement($offset), 1, "$what: written by a statement");
	if ($what =~ /trigger/)
	{
		cmp_ok($t->sql('SELECT count(*) FROM noted'), '>=', $what =~ /statement/ ? 1 : 3, "$what: it runs");
	}
	else
	{
		is($t->sql("SELECT DISTINCT remark FROM webhook.attempt WHERE event_number > $after"), 'none', "$what: it has its value");
	}
	$t->sql($undo);
}
is(rows_after(changes(100)), $plain, 'a column dropped: the same rows');

# A table that had a column dropped is never again as the extension made it; so the rest is in another database.
$t->sql('CREATE DATABASE other');
{
	local $WebhookTest::DB = 'other';
	$t->sql('CREATE EXTENSION webhook; CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0)');
	$t->watch('item');
	$t->subscribe('crm', $r->url('/ok/other'), ordering => "'none'");
	$offset = log_size();
	changes(1);
	is(by_statement($offset), 0, 'in another database: by no statement');

	$t->sql('ALTER TABLE webhook.attempt ADD CHECK (http_status < 300) NOT VALID');
	$offset = log_size();
	changes(2);
	is(by_statement($offset), 1, 'a constraint: by a statement, which looks at it');
	$t->sql('ALTER TABLE webhook.attempt DROP CONSTRAINT attempt_http_status_check');

	$t->sql("CREATE RULE to_nowhere AS ON INSERT TO webhook.attempt WHERE NEW.action_type = 'update' DO INSTEAD NOTHING");
	my $after = changes(3);
	is($t->sql("SELECT string_agg(action_type, ' ') FROM webhook.attempt WHERE event_number > $after"), 'new', 'a rule: it is followed');
	$t->sql('DROP RULE to_nowhere ON webhook.attempt');

	$t->sql('ALTER TABLE webhook.attempt ENABLE ROW LEVEL SECURITY; ALTER TABLE webhook.attempt FORCE ROW LEVEL SECURITY');
	$offset = log_size();
	changes(4);
	is(by_statement($offset), 1, 'forced row security: by a statement, which it is for');
	$t->sql('ALTER TABLE webhook.attempt NO FORCE ROW LEVEL SECURITY; ALTER TABLE webhook.attempt DISABLE ROW LEVEL SECURITY');

	# a type's precision (views of ours keep people from ALTER COLUMN)
	my $precision = "UPDATE pg_attribute SET atttypmod = %d WHERE attname = 'started_at' AND attrelid IN (SELECT relid FROM pg_partition_tree('webhook.attempt'))";
	$t->sql(sprintf $precision, 0);
	$offset = log_size();
	$after  = changes(6);
	is(by_statement($offset), 1, 'a column of whole seconds: by a statement');
	is($t->sql("SELECT bool_and(started_at = date_trunc('second', started_at)), count(*) FROM webhook.attempt WHERE event_number > $after"), 't|2', '... which has whole seconds in it');
	$t->sql(sprintf $precision, -1);

	# indexes of people are kept up without a statement
	$t->sql('CREATE INDEX ON webhook.attempt ((lower(entity_type)), outcome); CREATE UNIQUE INDEX ON webhook.attempt (event_number, subscription_id, attempt_number, segment)');
	$offset = log_size();
	$after  = changes(5);
	is(by_statement($offset), 0, 'indexes of people: by no statement');
	is($t->sql("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM webhook.attempt WHERE lower(entity_type) = 'item' AND event_number > $after"), 2, '... and they have the rows');

	#
	# The index by entity
	#
	$t->sql('TRUNCATE webhook.attempt');
	my $from = 10;
	my $many = sub {
		my ($n) = @_;
		# in no order: nothing but the filters tells where an entity is
		$t->sql("INSERT INTO item SELECT $from + g * 2741 % $n FROM generate_series(0, $n - 1) g");
		$from += $n;
		$t->wait_until_settled;
		changes($from++);    # the next settle summarizes what the last one has filled
		return $t->sql('SELECT segment FROM webhook.attempt ORDER BY event_number DESC LIMIT 1');
	};
	# ranges that are full and not summarized; the last one may be neither
	my $left = sub { return $t->sql("SELECT brin_summarize_new_values('webhook.attempt_$_[0]_entity_id_idx')") };
	my $segment = $many->(6000);
	cmp_ok($t->sql("SELECT pg_relation_size('webhook.attempt_$segment') / current_setting('block_size')::int"), '>', 48, 'a log of several ranges of pages');
	cmp_ok($left->($segment), '<=', 1, 'the worker has summarized those that are full');

	my $holder = $node->background_psql('other');
	$holder->query_safe('BEGIN; LOCK TABLE webhook.attempt IN SHARE UPDATE EXCLUSIVE MODE');
	$many->(2500);
	is($t->sql("SELECT state FROM webhook.worker"), 'running', 'who holds the lock that VACUUM takes is not waited for');
	$holder->query_safe('COMMIT');
	$holder->quit;
	$segment = $many->(2500);
	cmp_ok($left->($segment), '<=', 1, '... and what it kept from being summarized is, afterwards');

	$t->sql('VACUUM ANALYZE webhook.attempt');
	my $entity = "FROM webhook.attempt WHERE entity_type = 'item' AND entity_id = '4242'";
	my $plan   = $t->sql("EXPLAIN (ANALYZE, TIMING off) SELECT * $entity");
	like($plan, qr/Bitmap Index Scan on attempt_${segment}_entity_id_idx/, 'an entity is found by the index') or diag($plan);
	is($t->sql("SELECT count(*) $entity"), 1, '... which has it');
	is($t->sql("SET enable_bitmapscan = off; SELECT count(*) $entity"), 1, '... as the table has');

	$plan = $t->sql("SET constraint_exclusion = on; EXPLAIN SELECT * FROM webhook.attempt_$segment WHERE segment = ($segment + 1) % 8 AND entity_id = '4242'");
	like($plan, qr/One-Time Filter: false/, 'a segment that can have no such row is not looked into') or diag($plan);

	# whatever people call them
	my $each = sub { my ($sql) = @_; $t->sql(join ';', map { $sql =~ s/%/$_/gr } 0 .. 7) };
	my $amiss = sub { return join "\n", substr(slurp_file($node->logfile), $_[0]) =~ /^.*(?:WARNING|LOG):  webhook worker .*(?:summariz|failed while|resumed).*$/mg };
	$each->('ALTER INDEX webhook.attempt_%_entity_id_idx RENAME TO by_entity_%; CREATE INDEX attempt_%_entity_id_idx ON webhook.attempt_% (entity_id)');
	$offset  = log_size();
	$segment = $many->(2500);
	is($t->sql("SELECT state FROM webhook.worker"), 'running', 'another index has the name: nothing is amiss');
	is($amiss->($offset), '', '... nor is the log told');
	cmp_ok($t->sql("SELECT brin_summarize_new_values('webhook.by_entity_$segment')"), '<=', 1, '... and ours is kept up under its own');
	$each->('DROP INDEX webhook.attempt_%_entity_id_idx');
	$t->sql('VACUUM ANALYZE webhook.attempt');
	# the rows that the planner takes an index to lead to: some ranges of pages, or a part of the table
	my $leads_to = sub { return $t->sql("SET enable_seqscan = off; EXPLAIN SELECT * $entity") =~ /Bitmap Index Scan on $_[0] .*rows=(\d+)/ ? $1 : -1 };
	my $few = $leads_to->("by_entity_$segment");
	ok($few > 0 && $few < 500, '... and known to lead to few pages') or diag($few);
	$each->('DROP INDEX webhook.by_entity_%; CREATE INDEX attempt_%_entity_id_idx ON webhook.attempt_% USING brin (entity_id) WITH (pages_per_range = 16)');
	cmp_ok($leads_to->("attempt_${segment}_entity_id_idx"), '>', 1000, 'one without Bloom filters, whatever its name, is not taken to');
	$each->('DROP INDEX webhook.attempt_%_entity_id_idx');

	$offset = log_size();
	$after  = changes($from++);
	is(rows_after($after) =~ tr/\n// + 1, 2, 'without that index: rows are written');
	$many->(2500);
	is($t->sql("SELECT state FROM webhook.worker"), 'running', '... and nothing is amiss');
	is($amiss->($offset), '', '... nor is the log told');

	# one that cannot be summarized, and can be written
	$t->sql(<<'SQL');
CREATE FUNCTION not_when_summarized(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareUpdateExclusiveLock') THEN
		RAISE 'not when summarized';
	END IF;
	RETURN true;
END $$
SQL
	$each->('CREATE INDEX by_entity_% ON webhook.attempt_% USING brin (entity_id) WITH (pages_per_range = 4) WHERE public.not_when_summarized(entity_id)');
	$offset = log_size();
	$many->(2500);
	is($t->sql("SELECT state FROM webhook.worker"), 'running', 'an index that cannot be summarized: the worker runs');
	$many->(2500);
	my $said = $amiss->($offset);
	like($said, qr/\A.*WARNING:  webhook worker could not summarize the index of webhook.attempt by entity_id\z/, '... and says so, once');

	$each->('DROP INDEX webhook.by_entity_%');

	#
	# Space
	#
	my $pages = sub { return $t->sql("SELECT pg_relation_size('webhook.attempt_$segment') / current_setting('block_size')::int") };
	$t->sql('DELETE FROM webhook.attempt WHERE event_number < (SELECT max(event_number) - 100 FROM webhook.attempt)');
	$t->sql('VACUUM webhook.attempt');
	my $before = $pages->();
	$many->(2500);
	is($pages->(), $before, 'pages that VACUUM has emptied are used again');

	#
	# A segment that is being detached
	#
	my $reader = $node->background_psql('other');
	$reader->query_safe('BEGIN; SELECT FROM webhook.attempt LIMIT 1');
	my $detaching = $node->background_psql('other', on_error_stop => 0);
	$detaching->query_until(qr/begun/, "\\echo begun\nALTER TABLE webhook.attempt DETACH PARTITION webhook.attempt_$segment CONCURRENTLY;\n");
	my $detach = "FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE webhook.attempt DETACH%' AND pid <> pg_backend_pid()";
	$t->poll_sql('it waits for those who see it', "SELECT count(*) > 0 $detach AND wait_event_type = 'Lock'");
	$t->sql("SELECT pg_cancel_backend(pid) $detach");
	$t->poll_sql('it was given up', "SELECT count(*) = 0 $detach AND state = 'active'");
	$reader->quit;
	$after = $t->sql('SELECT max(event_number) FROM webhook.outbox');
	$t->sql("INSERT INTO item VALUES ($from)");
	$t->poll_sql('it cannot be written, or is', "SELECT state = 'failing' OR EXISTS (SELECT FROM webhook.attempt_$segment WHERE event_number > $after) FROM webhook.worker");
	like($t->sql('SELECT reason FROM webhook.worker'), qr/no partition of relation "attempt" found/, 'a segment that is being detached gets no rows, as with any INSERT');
	$t->sql("ALTER TABLE webhook.attempt DETACH PARTITION webhook.attempt_$segment FINALIZE");
	$t->sql("ALTER TABLE webhook.attempt ATTACH PARTITION webhook.attempt_$segment FOR VALUES IN ($segment)");
	$t->wait_until_settled;
	is($t->sql("SELECT count(*) FROM webhook.attempt WHERE event_number > $after"), 1, '... and when it is back, they are written');
	$from++;
	$t->sql("DO \$\$ DECLARE c name; BEGIN FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'webhook.attempt_$segment'::regclass AND contype = 'c' LOOP EXECUTE format('ALTER TABLE webhook.attempt_$segment DROP CONSTRAINT %I', c); END LOOP; END \$\$");
	$detaching->quit;

	#
	# Segments that are for others' rows
	#
	$t->sql('TRUNCATE webhook.attempt;' . join(';', map { "ALTER TABLE webhook.attempt DETACH PARTITION webhook.attempt_$_" } 0 .. 7)
		  . ';' . join(';', map { "ALTER TABLE webhook.attempt ATTACH PARTITION webhook.attempt_$_ FOR VALUES IN (" . ($_ + 1) % 8 . ')' } 0 .. 7));
	$offset = log_size();
	$after  = changes($from++);
	is(by_statement($offset), 1, 'a segment for other rows: by a statement');
	is($t->sql("SELECT bool_and(tableoid::regclass::text = 'webhook.attempt_' || (segment + 7) % 8), count(*) FROM webhook.attempt WHERE event_number > $after"), 't|2', '... which puts them where they belong');
}

$t->stop;
done_testing();

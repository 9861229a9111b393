# The promise: docs/guarantees.md names what can fail a transaction that writes a
# watched table, and it fails as the page says: with the server's own error, and
# without an event. When the trouble is over, the same statement works.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new;
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$t->sql(<<'SQL');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE FUNCTION mood_json(m mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	IF m = 'bad' THEN RAISE EXCEPTION 'bad mood'; END IF;
	RETURN to_json(m::text);
END $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json;
CREATE TABLE item (id int PRIMARY KEY, m mood);
SQL
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

# What a statement in a session of its own says.
sub error_of
{
	my ($sql) = @_;
	my (undef, undef, $err) = $node->psql($WebhookTest::DB, $sql);
	return $err =~ /^(?:psql:\S+ )?ERROR:  (.*)/m ? $1 : '';
}
sub rows_and_events { return $t->sql('SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM webhook.outbox)') }

# a lock on the outbox
my $holder = $node->background_psql($WebhookTest::DB, on_error_stop => 1);
$holder->query_safe('BEGIN; LOCK TABLE webhook.outbox IN SHARE MODE');
is(error_of("SET lock_timeout = '200ms'; INSERT INTO item VALUES (1)"), 'canceling statement due to lock timeout', 'a lock on the outbox is waited for, as long as lock_timeout says');
my ($waiting) = $t->sessions('INSERT INTO item VALUES (1);');
$t->poll_sql('without it, a writer waits', q(SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IN (SELECT relid FROM pg_partition_tree('webhook.outbox'))), 1);
$holder->query_safe('COMMIT');
$holder->quit;
is(join('', $t->finish_sessions($waiting)), '', 'and goes on when it is released');
is(rows_and_events(), '1|1', 'with its event');

# a cast of the column's type
is(error_of(q(INSERT INTO item VALUES (2, 'bad'))), 'bad mood', 'what a cast to json raises is the error of the statement');
is(rows_and_events(), '1|1', 'and neither row nor event is there');
is(error_of(q(INSERT INTO item VALUES (2, 'good'))), '', 'another value is written');

# no library: its functions are looked for where there is no file
my $file = $t->sql("SELECT DISTINCT probin FROM pg_proc WHERE oid = 'webhook.capture'::regproc");
$t->sql("UPDATE pg_proc SET probin = '\$libdir/webhook_removed' WHERE oid = 'webhook.capture'::regproc");
like(error_of('INSERT INTO item VALUES (3)'), qr/^could not access file "\$libdir\/webhook_removed"/, 'without the library a write fails, and the server says why');
$t->sql("UPDATE pg_proc SET probin = '$file' WHERE oid = 'webhook.capture'::regproc");
is(error_of('INSERT INTO item VALUES (3)'), '', 'with it, it does not');

$t->wait_until_settled;
is($r->count('/ok/crm'), 3, 'what was written has arrived, once each, and nothing else');
$t->stop;
done_testing();

# The promise: an older library with a newer version of the extension (a package that was rolled back, a
# standby that was promoted with an old one) captures, delivers while its tables allow it, and says what
# is wrong. An update that it cannot serve fails as a whole.
#
# Covers: a library that is older than the extension in its database.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookUpgrade;

my $version = version();
my $t       = WebhookTest->new(
	install_path => installation(updates => { unlinked => <<'SQL' }), conf => "webhook.poll_interval = '1s'\n");
ALTER TABLE webhook.outbox ADD COLUMN half integer;
CREATE FUNCTION webhook.unlinked() RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_that_is_not_there';
SQL
my $node   = $t->node;
my $r      = $t->receiver(args => ['--no-http2']);
my $advice = "the extension is at version next, which the library ($version) does not know: install that version's library and restart the server";

$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));
my $worker = $t->wait_for_worker;
$t->sql('INSERT INTO item VALUES (1)');
$r->wait_for_requests(1, '/ok/crm');
is($t->sql('SELECT state, reason FROM webhook.worker'), 'running|', 'at its own version it has nothing to say');

my (undef, undef, $error) = $node->psql('postgres', q{ALTER EXTENSION webhook UPDATE TO 'unlinked'});
like($error, qr/could not find function "webhook_that_is_not_there"/, 'an update that needs what the library has not fails');
is($t->sql(q{SELECT extversion, count(attname) FROM pg_extension LEFT JOIN pg_attribute ON attname = 'half' WHERE extname = 'webhook' GROUP BY 1}),
	"$version|0", 'as a whole');

#
# A newer version with all that the library knows
#
$t->sql(q{ALTER EXTENSION webhook UPDATE TO 'next'});
$t->sql('INSERT INTO item VALUES (2), (3)');
$r->wait_for_requests(3, '/ok/crm');
$t->wait_until_settled;
$t->poll_sql('the worker says what is wrong', 'SELECT state, reason FROM webhook.worker', "running|$advice");
like(slurp_file($node->logfile), qr/LOG: +webhook worker continues with another version: \Q$advice\E$/m, 'and in the log');
is($t->worker_pid, $worker, 'the worker stays');
is($t->sql('SELECT count(*), count(noted_at), count(later) FROM webhook.outbox'), '3|3|0', 'columns that it does not know have their defaults');

my $columns = $t->sql(q{SELECT string_agg(format('OUT c%s %s', n, format_type(t, NULL)), ', ' ORDER BY n)
	FROM pg_proc, unnest(proallargtypes) WITH ORDINALITY u(t, n) WHERE oid = 'webhook_internal.worker_status'::regproc});
# enough of them that reading on past those that the library fills would find something
my @more = map { "more$_" } 1 .. 60;
$t->sql("CREATE FUNCTION longer($columns, " . join(', ', map { "OUT $_ text" } @more) . q{) LANGUAGE c AS '$libdir/webhook', 'webhook_worker_status'});
is($t->sql('SELECT c1, num_nonnulls(' . join(', ', @more) . ') FROM longer()'), 'running|0', 'a function that a newer version declares with more columns');

# what a newer webhook.watch() may write for those who ask for it
$t->sql(q{CREATE TABLE other (id int PRIMARY KEY);
	CREATE TRIGGER webhook AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"mask_columns": ["id"]}')});
(undef, undef, $error) = $node->psql('postgres', 'INSERT INTO other VALUES (1)');
like($error, qr/^psql:.*WARNING: .*\n.*unknown key "mask_columns"/m, 'an option that the library does not know: a warning, as the column might have to be hidden');
is($t->sql(q{SELECT count(*) FROM other}), 1, 'and the statement succeeds');
is($t->sql(q{SELECT problem FROM webhook.source WHERE source = 'other'::regclass}), 'unknown key "mask_columns"', 'the view says so');

#
# A newer version without something that the library needs: captured, and delivered by the next library
#
$t->sql('ALTER TABLE webhook.pending RENAME judged TO was_judged');
$t->sql('INSERT INTO item VALUES (4)');
$t->poll_sql('the worker says both', 'SELECT state, reason FROM webhook.worker',
	"failing|the table webhook.pending is missing or not as the extension made it: column judged; $advice");
$node->restart;
$t->sql('INSERT INTO item VALUES (5)');
$t->poll_sql('also one that has just been started', 'SELECT state, reason FROM webhook.worker',
	"suspended|the table webhook.pending is missing or not as the extension made it: column judged; $advice");
is($t->sql('SELECT count(*) FROM webhook.outbox'), 5, 'captured meanwhile');
is($r->count('/ok/crm'), 3, 'and not sent');
$t->sql('ALTER TABLE webhook.pending RENAME was_judged TO judged');
$r->wait_for_requests(5, '/ok/crm');
$t->wait_until_settled;
pass('delivered when its tables are right');

$t->stop;
done_testing();

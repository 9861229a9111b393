# The promise: to read the outbox by its indexes, without a statement, shows what a
# statement would show. Where an index has not all that the worker's snapshot shows, or
# may be given up, a statement reads, and what was committed is delivered.
#
# auto_explain writes down the statements of the worker, with the rows that they found.
# (600_nobody_elses_rights has row security and privileges.)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(preload => 'auto_explain,webhook', conf => <<'CONF');
autovacuum = off
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
auto_explain.log_timing = off
CONF
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id serial PRIMARY KEY)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), ordering => "'none'");

sub log_size { return -s $node->logfile }

# Have statements over the outbox found events since then?
sub by_statement
{
	my ($offset) = @_;
	for my $plan (split /Query Text: /, substr(slurp_file($node->logfile), $offset))
	{
		next unless $plan =~ /^SELECT o\.event_number.* FROM webhook\.outbox o WHERE o\.event_number > \$1 /;
		return 1 if $plan =~ /\(actual rows=([\d.]+) / && $1 > 0;
	}
	return 0;
}

# One event, delivered.
sub event
{
	my $before = $r->count;
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$r->wait_for_requests($before + 1);
	$t->wait_until_settled;
	return;
}

my $offset = log_size();
event();
is(by_statement($offset), 0, 'as a rule: by no statement');
my $segment = $t->sql('SELECT segment FROM webhook.outbox LIMIT 1');
my $index   = $t->sql("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'webhook.outbox_$segment'::regclass AND indkey[0] = 1");

# as after CREATE INDEX CONCURRENTLY that has failed, or in DROP INDEX CONCURRENTLY
$t->sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '$index'::regclass");
$offset = log_size();
event();
is(by_statement($offset), 1, 'an index that is not valid: by a statement');
# (what makes an index valid invalidates what is known of the table)
$t->sql("UPDATE pg_index SET indisvalid = true WHERE indexrelid = '$index'::regclass; ALTER TABLE webhook.outbox_$segment RESET (fillfactor)");
$offset = log_size();
event();
is(by_statement($offset), 0, '... and valid again: by none');

# rebuilt while the worker waits for it: it may lack what older snapshots show
my $pid = $t->worker_pid;
kill 'STOP', $pid or die $!;
my $before = $r->count;
$t->sql('INSERT INTO item DEFAULT VALUES');
my $session = $node->background_psql($WebhookTest::DB);
$session->query_safe("BEGIN; REINDEX INDEX $index; UPDATE pg_index SET indcheckxmin = true WHERE indexrelid = '$index'::regclass");
$offset = log_size();
kill 'CONT', $pid or die $!;
$t->poll_sql('the worker waits for the index', "SELECT count(*) > 0 FROM pg_locks WHERE pid = $pid AND relation = '$index'::regclass AND NOT granted");
$session->query_safe('COMMIT');
$r->wait_for_requests($before + 1);
$t->wait_until_settled;
is(by_statement($offset), 1, 'an index that was rebuilt meanwhile, for later snapshots: by a statement');
$session->quit;

is($t->sql('SELECT count(*) FROM webhook.attempt'), 4, 'all are delivered, once');
$t->stop;
done_testing();

# The promise: whatever people do to our tables, deliveries that it makes
# impossible wait, and the log and webhook.status say why, once. Nothing is lost,
# nothing is sent again, no other process of the server notices, and it all goes on by itself
# within ten seconds of being fixed.
#
# What harms nothing (further columns, indexes, triggers that succeed, row
# security, references) is in 080_locks. Here are the changes that make a
# statement of the worker's fail, or its rows unreadable.
#
# Covers: what fails does not loop; each event ends somewhere.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookFault;
use WebhookTest;

my $t      = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n");
my $node   = $t->node;
my $r      = $t->{r};
my $worker = $t->wait_for_worker;
my $master = slurp_file($node->data_dir . '/postmaster.pid');
$t->sql(<<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nobody may write into %', TG_TABLE_NAME; END $$;
CREATE TABLE few (id bigint PRIMARY KEY);
SQL

# An endpoint that fails as well, for one entity, so that all tables are in use.
$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{100ms}'", filter => q('$.result.id == 1'));
$t->change(20);
$t->account('before', 0);

# While HARM is done, changes wait; the log says LIKE, once a step, and so does the status; after FIX they arrive.
sub harm
{
	my ($what, $harm, $fix, $like) = @_;
	my $offset = $t->log_size;
	$t->sql($harm);
	$t->change(50);
	poll_until("$what: the log says so", sub { $t->log_since($offset) =~ /WARNING:.*\n.*DETAIL:.*$like/ });
	$t->poll_sql("$what: the status says so", "SELECT state = 'failing' AND reason ~ '$like' FROM webhook.worker");
	# it is tried again, and fails again
	my $since = time;
	poll_until('some seconds pass', sub { time > $since + 2 });
	$t->change(50);
	# reading and settling may both meet it; neither repeats itself
	my %said;
	$said{$_}++ for $t->log_since($offset) =~ /WARNING:.*webhook worker (.*)/g;
	is(join(', ', grep { $said{$_} > 1 } sort keys %said), '', "$what: the log says so once for each step that meets it");
	is($t->worker_pid // '', '', "$what: the status does not say that all is well");
	$t->sql($fix);
	my $fixed = time;
	$t->account($what, 0);
	note sprintf '%s: settled %.1f s after it was fixed', $what, time - $fixed;
	cmp_ok(time - $fixed, '<', 20, "$what: goes on by itself");
	is($t->wait_for_worker, $worker, "$what: the same worker, well again");
	unlike($t->log_since($offset), qr/exited with exit code|terminated by signal/, "$what: no process ended");
	return;
}

for my $table ('attempt', 'pending', 'checkpoint')
{
	harm(
		"a trigger that raises on webhook.$table",
		"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON webhook.$table FOR EACH ROW EXECUTE FUNCTION refuse()",
		"DROP TRIGGER refuse ON webhook.$table", "nobody may write into $table");
}
harm(
	'a column without a default that must not be null',
	'TRUNCATE webhook.attempt; ALTER TABLE webhook.attempt ADD COLUMN reviewed_by text NOT NULL',
	'ALTER TABLE webhook.attempt DROP COLUMN reviewed_by', 'null value in column "reviewed_by"');
harm(
	'a foreign key that refers to few',
	'TRUNCATE webhook.attempt; ALTER TABLE webhook.attempt ADD FOREIGN KEY (event_number) REFERENCES few',
	'ALTER TABLE webhook.attempt DROP CONSTRAINT attempt_event_number_fkey', 'violates foreign key constraint');
harm(
	'a constraint',
	'ALTER TABLE webhook.pending ADD CONSTRAINT calm CHECK (attempts > 100) NOT VALID',
	'ALTER TABLE webhook.pending DROP CONSTRAINT calm', 'violates check constraint "calm"');
harm(
	'a column renamed',
	'ALTER TABLE webhook.attempt RENAME COLUMN response TO answer',
	'ALTER TABLE webhook.attempt RENAME COLUMN answer TO response', 'column "response" of relation "attempt" does not exist');
harm(
	'a column that is read renamed',
	'ALTER TABLE webhook.pending RENAME COLUMN lane TO alley',
	'ALTER TABLE webhook.pending RENAME COLUMN alley TO lane', 'webhook.pending is missing or not as the extension made it: column lane|column "?[a-z.]*lane"? .*does not exist');
harm(
	'a column of another type',
	'ALTER TABLE webhook.pending ALTER COLUMN first_attempt_at TYPE text',
	'ALTER TABLE webhook.pending ALTER COLUMN first_attempt_at TYPE timestamptz USING first_attempt_at::timestamptz',
	'webhook.pending .*not as the extension made it: column first_attempt_at|column "first_attempt_at" is of type text');
harm(
	'a column of the subscriptions of another type',
	'ALTER TABLE webhook.subscription DROP CONSTRAINT max_in_flight_range, ALTER COLUMN max_in_flight TYPE text; ALTER TABLE webhook.subscription RENAME COLUMN url TO link',
	'ALTER TABLE webhook.subscription RENAME COLUMN link TO url; ALTER TABLE webhook.subscription ALTER COLUMN max_in_flight TYPE int USING max_in_flight::int, ADD CONSTRAINT max_in_flight_range CHECK (max_in_flight BETWEEN 1 AND 1000)',
	'webhook.subscription .*not as the extension made it: column url');
harm(
	'a table renamed',
	'ALTER TABLE webhook.dead_letter RENAME TO dead_letter_office; UPDATE webhook.subscription SET timeout = \'14s\'',
	'ALTER TABLE webhook.dead_letter_office RENAME TO dead_letter', 'webhook.dead_letter is missing');
$t->sql('ALTER TABLE webhook.attempt FORCE ROW LEVEL SECURITY; ALTER TABLE webhook.attempt ENABLE ROW LEVEL SECURITY; CREATE INDEX ON webhook.attempt ((1 / (duration_ms::int + 1)))');
$t->change(50);
$t->account('row security that lets nobody in, an index of an expression', 0);
is($t->wait_for_worker, $worker, 'to the end, the same worker');
is(slurp_file($node->data_dir . '/postmaster.pid') =~ s/\n.*//sr, $master =~ s/\n.*//sr, 'and the same server');

#
# While nothing can be settled, what would be sent again after a crash does not grow
#
$t->sql('TRUNCATE webhook.attempt; INSERT INTO item SELECT FROM generate_series(1, 5000)');
$t->wait_until_settled;
$r->mode('/slow/5/crm', '/ok');
$t->sql('CREATE TRIGGER refuse BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION refuse()');
my $before = $r->count('/slow/5/crm');
$t->sql('UPDATE item SET v = v + 1');
my ($last, $still) = (-1, time);
poll_until(
	'no request is made for three seconds',
	sub {
		my $n = $r->count('/slow/5/crm');
		($last, $still) = ($n, time) if $n != $last;
		return time > $still + 3;
	});
note 'with 5020 changes, ' . ($last - $before) . ' were sent and could not be settled';
cmp_ok($last - $before, '<', 1100, 'what cannot be settled is bounded: nothing more is started');
cmp_ok($last - $before, '>', 100, 'and it was tried');
$t->sql('DROP TRIGGER refuse ON webhook.attempt');
$t->account('nothing could be settled for some time', 0);

#
# A worker that ends with an error each time
#
my $offset = $t->log_size;
my $pid = $worker;
my @delays;
for my $round (1 .. 4)
{
	$t->fault('sending error 1');
	poll_until('it meets the error', sub { $t->change(1); return $t->fault_is_over });
	my $ended = time;
	$t->poll_sql('the status says why', "SELECT state = 'failing' AND reason ~ 'fault point' FROM webhook_internal.worker_status()");
	$pid = $t->wait_for_worker($pid);
	push @delays, sprintf '%.1f', time - $ended;
}
note "it was back after @delays s";
cmp_ok($delays[0], '<', 2.5, 'after one error, a worker is back within seconds');
cmp_ok($delays[3], '>', 7, 'after four in a row, it waits for eight');
is(() = $t->log_since($offset) =~ /ERROR:.*fault point/g, 4, 'the log says why, each time');
$t->account('a worker that ended with an error, four times', 100);

$t->stop;
done_testing();

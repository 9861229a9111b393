# The promise: idle means idle. Where nothing is committed the worker and the
# launcher run no query at all, and still an event is sent as soon as it is
# committed.
#
# For a minute nothing happens in a cluster whose autovacuum is off;
# pg_stat_statements, which is told to track statements within functions and
# background workers as well, must know of no execution more than before. The
# poll_interval is a second, so the worker looks sixty times whether it has to look.
# Then one event is committed, and the time to its receipt is printed.
#
# Covers: statements of an idle worker; no NOTIFY, no polling.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(
	preload => 'pg_stat_statements,webhook',
	conf    => <<CONF);
pg_stat_statements.track = all
pg_stat_statements.track_planning = on
autovacuum = off
webhook.poll_interval = '1s'
CONF
my $r = $t->receiver;

$t->sql('CREATE EXTENSION pg_stat_statements');
$t->sql('CREATE TABLE item (id int PRIMARY KEY, note text)');
$t->watch('item');
$t->subscribe('crm',   $r->url('/ok/crm'));
$t->subscribe('other', $r->url('/fail-first/1/other'), retry_schedule => "'{200ms}'");
$t->sql("INSERT INTO item SELECT g, 'before' FROM generate_series(1, 100) g");
$t->wait_until_settled;
is($r->count, 300, 'the worker has worked before it rests');

# A statement of this test's own, known by its mark.
sub ask
{
	my ($sql) = @_;
	return $t->sql("SELECT /* the test's own */ $sql");
}

# Executions so far, of all other statements.
sub executions
{
	return ask(q{sum(calls + plans) FROM pg_stat_statements WHERE query NOT LIKE '%the test''s own%'});
}

# What the worker's and the launcher's last statements were, and when.
sub activity
{
	return ask(<<'SQL');
backend_type, pid, state, state_change, query_start, xact_start, backend_xmin
FROM pg_stat_activity WHERE backend_type LIKE 'webhook%' ORDER BY 1
SQL
}

cmp_ok($t->sql("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%webhook.attempt%'"),
	'>', 0, 'statements of the worker are tracked');

# At rest: what it did last made it look once more. From then on nothing.
my ($executions, $activity) = (0, '');
poll_until(
	'the worker has come to rest',
	sub {
		$executions = executions();
		$activity   = activity();
		sleep 3;    # part of the scenario: longer than the poll_interval
		return executions() == $executions && activity() eq $activity;
	});
like($activity, qr/webhook launcher\|.*\nwebhook worker\|/, 'launcher and worker are there');

# What they wait for has names since PostgreSQL 17.
my $named = $t->major >= 17;
my $waits = "SELECT string_agg(wait_event, ' ' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type LIKE 'webhook%'";
is($t->sql($waits), $named ? 'WebhookLauncher WebhookEvents' : 'Extension Extension', 'the launcher waits, and the worker for events');

my $transactions = ask('pg_snapshot_xmax(pg_current_snapshot())');
sleep 60;    # part of the scenario: an idle minute
is(executions() - $executions, 0, 'no statement was executed in an idle minute');
is(activity(), $activity, 'neither worker nor launcher has begun a transaction or holds a snapshot');
is(ask('pg_snapshot_xmax(pg_current_snapshot())'), $transactions, 'the minute was idle: no transaction id was assigned');

# The clock of the database and that of the receiver are the same.
my $committed = $t->sql("INSERT INTO item VALUES (101, 'after') RETURNING extract(epoch FROM clock_timestamp()) * 1000");
$r->wait_for_requests(301);
my ($request) = grep { $_->{body} =~ /after/ } $r->requests('/ok/crm');
ok($request, 'then a change is committed, and its event arrives');
my $ms = $request->{at} - (split /\n/, $committed)[0];
note sprintf 'it arrived %.2f ms after its INSERT', $ms;
cmp_ok($ms, '<', 2000, 'at once, not at some later look');

$r->mode('/ok/crm', '/hold/crm');
$t->sql("INSERT INTO item VALUES (102, 'held')");
$r->wait_for_requests(102, '/ok/crm');
$t->poll_sql('the worker waits for a response', $waits, $named ? 'WebhookLauncher WebhookResponses' : 'Extension Extension');
$r->release('/ok/crm', 1);
$t->wait_until_settled;

$t->stop;
done_testing();

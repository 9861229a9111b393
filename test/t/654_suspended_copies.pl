# The promise: a copy costs next to nothing. It keeps no background worker to
# itself, however many there are; it lets its events go when they are older
# than webhook.retention, without anybody's doing; its log says once what it is.
# What webhook.enable_delivery() sends is told before, and is nothing that was not asked for.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => <<'CONF');
max_worker_processes = 8
webhook.retention = '6s'
webhook.poll_interval = '500ms'
log_min_messages = debug1
CONF
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

sub status
{
	my ($db) = @_;
	return $node->safe_psql($db, "SELECT state || coalesce(': ' || reason, '') || coalesce('; webhook.outbox takes ' || pg_size_pretty(outbox_size), '') FROM webhook.worker");
}

sub wait_for_status
{
	my ($db, $pattern) = @_;
	my $last = '';
	eval { poll_until('', sub { ($last = status($db)) =~ $pattern }); 1 } or die "$db says \"$last\" and not $pattern\n";
	return $last;
}

sub workers { return $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker'") }
sub suspended_in_log { return scalar(() = slurp_file($node->logfile) =~ /LOG:  webhook worker does not deliver/g) }

$t->sql('CREATE DATABASE odb');
$node->safe_psql('odb', <<SQL);
CREATE EXTENSION webhook;
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT webhook.watch('item');
SQL
{
	local $WebhookTest::DB = 'odb';
	$t->subscribe('crm', $r->url('/ok/crm'), retry_schedule => "'{1h}'", give_up_after => "'1 day'");
	$t->wait_for_worker;
	# some of it is pending when the copies are made
	$r->mode('/ok/crm', '/status/503/crm');
	$t->sql("INSERT INTO item SELECT g, 'original' FROM generate_series(1, 3) g");
	$t->poll_sql('three deliveries are pending', 'SELECT count(*) FROM webhook.pending', 3);
	$r->mode('/ok/crm', undef);
}

#
# As many copies as there may be background workers
#
my @copies = map { "zc$_" } 1 .. 8;
$t->sql("CREATE DATABASE $_ TEMPLATE odb") for @copies;
like(wait_for_status($_, qr/^suspended/), qr/copy of another.*webhook\.enable_delivery\(\).*webhook\.outbox takes/, "$_ says what it is, and how much it keeps")
  for @copies;
poll_until('workers of copies have ended', sub { workers() == 2 });
pass('eight copies of a database, and two workers: its own and that of the other one');
$t->sql('CREATE DATABASE late');
$node->safe_psql('late', <<SQL);
CREATE EXTENSION webhook;
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT webhook.watch('item');
SELECT webhook.subscribe('late', '@{[ $r->url('/ok/late') ]}');
INSERT INTO item VALUES (1);
SQL
$r->wait_for_requests(1, '/ok/late');
pass('a database that is made then delivers');
is(suspended_in_log(), 8, 'each copy was told of once in the log');

#
# Commits, and changes of the configuration other than who it is, start nothing
#
my $starts = sub { scalar(() = slurp_file($node->logfile) =~ /starting background worker process "webhook worker for database zc1"/g) };
my $started = $starts->();
$node->safe_psql('zc1', "INSERT INTO item SELECT g, 'copy' FROM generate_series(11, 300) g; UPDATE webhook.subscription SET timeout = '5s'");
$node->safe_psql('zc1', join '', map { "INSERT INTO item VALUES ($_);\n" } 1001 .. 1100);
# the launcher has been at work since
$t->sql('CREATE DATABASE another');
$node->safe_psql('another', 'CREATE EXTENSION webhook');
wait_for_status('another', qr/^running/);
is($starts->(), $started, 'a hundred commits in a copy, and another timeout, start no worker');
$t->sql('DROP DATABASE another');    # there are places for eight workers, and those that deliver each have one

#
# Its events go when they are old
#
is($node->safe_psql('zc1', 'SELECT last_value FROM webhook.event_number_seq'), 390 + 3, 'all of them are captured');
poll_until('the copy has let its events go', sub { $node->safe_psql('zc1', 'SELECT count(*) FROM webhook.outbox o WHERE NOT EXISTS (SELECT FROM webhook.pending p WHERE p.event_number = o.event_number)') eq 0 });
pass('and gone when they were older than webhook.retention, with nobody to ask for it');
is($node->safe_psql('zc1', 'SELECT (SELECT count(*) FROM webhook.pending) + (SELECT count(*) FROM webhook.dead_letter)'), 3, 'what was pending has its event');
like(slurp_file($node->logfile), qr/webhook worker dropped undelivered events: \d+ .*B\n.*DETAIL:  They are older than webhook.retention.*copy of another/, 'the log says so');
is($node->safe_psql('zc1', 'SELECT count(*) FROM webhook.attempt'), 0, 'the log of requests that came with the copy, too');
is(suspended_in_log(), 8, 'and it is not told once more what it is');
like(status('zc1'), qr/^suspended/, 'that it is suspended is to be seen all the time');

# nothing of what follows is to be old, however slow the machine
$node->append_conf('postgresql.conf', "webhook.retention = '7d'");
my $started_before = $starts->();
$node->reload;
poll_until('another retention: copies are looked at', sub { $starts->() > $started_before });
is(suspended_in_log(), 8, 'and not told of once more');

#
# What enable would send is told, and nothing that is older goes
#
my $before = $r->count;
$node->safe_psql('zc2', "INSERT INTO item VALUES (20, 'before')");
is($node->safe_psql('zc2', "SELECT unread_events, events_left > 0, deliveries FROM webhook.enable_delivery_preview()"), '0|t|0', 'preview: nothing of before');
my $since = $node->safe_psql('zc2', 'SELECT clock_timestamp()');
$node->safe_psql('zc2', "INSERT INTO item VALUES (21, 'since'), (22, 'since')");
is($node->safe_psql('zc2', "SELECT unread_events, deliveries FROM webhook.enable_delivery_preview(since => '$since')"), '2|0', 'preview: since then two');
my ($rc, $out, $err) = $node->psql('zc2', "BEGIN; SELECT webhook.enable_delivery(); ROLLBACK");
like($err, qr/NOTICE:.*0 captured events and 0 pending deliveries will be sent\n.*DETAIL:  \d+ captured events and \d+ pending deliveries will not be sent/, 'enable tells how much it sends, and how much not');
like(status('zc2'), qr/^suspended/, 'rolled back, the copy is as suspended as before');
($rc, $out, $err) = $node->psql('zc2', "UPDATE webhook.subscription SET url = '@{[ $r->url('/ok/zc2') ]}'; SELECT webhook.enable_delivery(since => '$since')");
like($err, qr/NOTICE:.*2 captured events since .* and 0 pending deliveries will be sent/, 'with since: two');
wait_for_status('zc2', qr/^running/);
$node->safe_psql('zc2', "INSERT INTO item VALUES (23, 'after')");
$r->wait_for_requests(3, '/ok/zc2');
{
	local $WebhookTest::DB = 'zc2';
	$t->wait_until_settled;
}
is_deeply([ map { $_->{body} =~ /"id":(\d+)/ } $r->requests('/ok/zc2') ], [ 21, 22, 23 ], 'these go, what happens afterwards goes, and nothing else');

$t->sql('DROP DATABASE zc2');

# a transaction that is open meanwhile is committed afterwards, so it is new
my $open = $node->background_psql('zc3', on_error_stop => 1);
$open->query_safe("BEGIN; INSERT INTO item VALUES (30, 'open')");
$node->safe_psql('zc3', "INSERT INTO item VALUES (31, 'before')");
($rc, $out, $err) = $node->psql('zc3', "UPDATE webhook.subscription SET url = '@{[ $r->url('/ok/zc3') ]}'; SET lock_timeout = '2s'; SELECT webhook.enable_delivery()");
is($rc, 0, 'enable waits for no writer');
wait_for_status('zc3', qr/^running/);
$open->query_safe('COMMIT');
$open->quit;
$node->safe_psql('zc3', "INSERT INTO item VALUES (32, 'after')");
$r->wait_for_requests(2, '/ok/zc3');
{
	local $WebhookTest::DB = 'zc3';
	$t->wait_until_settled;
}
is_deeply([ sort { $a <=> $b } map { $_->{body} =~ /"id":(\d+)/ } $r->requests('/ok/zc3') ], [ 30, 32 ], 'what is committed after it is sent, and what was before is not');
($rc, $out, $err) = $node->psql('zc3', "SELECT webhook.enable_delivery(since => '-infinity')");
like($err, qr/NOTICE:.*already delivers; nothing was changed/, 'called again it changes nothing, and says so');

$t->sql('DROP DATABASE zc3');

# an explicit request, and whatever makes a copy the original again, without enable
($rc, $out, $err) = $node->psql('zc4', "SELECT webhook.enable_delivery(true, now())");
like($err, qr/cannot specify both moved and since/, 'moved and since: refused');
($rc, $out, $err) = $node->psql('zc4', "SELECT webhook.enable_delivery(since => now() + interval '1 day')");
like($err, qr/since is in the future/, 'since of tomorrow: refused');
$started = $starts->();
$node->safe_psql('zc1', 'SELECT webhook_internal.request_worker()');
poll_until('a worker looks when it is asked to', sub { $starts->() > $started });
$node->safe_psql('zc4', "UPDATE webhook.identity SET database_oid = (SELECT oid FROM pg_database WHERE datname = 'zc4')");
wait_for_status('zc4', qr/^running/);
pass('webhook.identity changed by hand: looked at at once');
$node->safe_psql('zc4', "UPDATE webhook.identity SET database_oid = 1");
wait_for_status('zc4', qr/^suspended/);
$node->safe_psql('zc4', 'DELETE FROM webhook.identity');
like(wait_for_status('zc4', qr/^suspended.*not enabled/), qr/call webhook\.enable_delivery/, 'and back, and without any');
# captured while it was not enabled: not sent either
$node->safe_psql('zc4', "INSERT INTO item VALUES (40, 'before'); UPDATE webhook.subscription SET url = '@{[ $r->url('/ok/zc4') ]}'; SELECT webhook.enable_delivery()");
wait_for_status('zc4', qr/^running/);
$node->safe_psql('zc4', "INSERT INTO item VALUES (41, 'after')");
poll_until('the event after it has arrived', sub { grep { $_->{body} =~ /"id":41/ } $r->requests('/ok/zc4') });
is(scalar(grep { $_->{body} =~ /"id":40/ } $r->requests), 0, 'without an identity, enable does not send what was before either');

#
# A copy is gone at once, and so is its place
#
$t->sql("DROP DATABASE $_") for 'zc7', 'zc8';
like(status($_), qr/^suspended/, "$_ is still there") for 'zc5', 'zc6';
$node->restart;
wait_for_status($_, qr/^suspended/) for 'zc5', 'zc6';
pass('suspended after a restart, too');
my ($late) = $r->count('/ok/late');
$node->safe_psql('late', 'INSERT INTO item VALUES (2)');
$r->wait_for_requests($late + 1, '/ok/late');
pass('and the others deliver');
is(scalar(grep { $_->{body} =~ /"v":"(original|copy|before)"/ } $r->requests), scalar(grep { $_->{body} =~ /"v":"original"/ } $r->requests('/ok/crm')),
	'of what was copied or captured in a suspended copy nothing has been sent');
$t->stop;
done_testing();

# The promise: a copy of the database stays suspended until somebody says that it
# is to deliver, and then it sends new events only; a standby is suspended until it
# is promoted, and then goes on with what was pending; what was moved goes on
# when it is told that it was moved.
#
# Covers: dump and restore to lower and higher xids; standby, failover; restore
# and clone are detected and told; what a dump holds.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\nwal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), retry_schedule => "'{1s}'");
$t->sql('INSERT INTO item VALUES (1)');
$t->wait_until_settled;
my $instance = $t->sql('SELECT instance FROM webhook.identity');

# of a cluster: what its worker says of itself
sub worker
{
	my ($cluster, $db) = @_;
	return $cluster->safe_psql($db // 'postgres', "SELECT state || coalesce(': ' || reason, '') FROM webhook_internal.worker_status()");
}

sub wait_for_worker_of
{
	my ($cluster, $pattern, $db) = @_;
	my $last = '';
	eval { poll_until('', sub { ($last = worker($cluster, $db)) =~ $pattern }); 1 }
	  or die "the worker says \"$last\" and not $pattern\n";
	return $last;
}

# The ids that have arrived since the n-th request, in order.
sub ids_since
{
	my ($n) = @_;
	my @all = $r->requests('/ok/crm');
	return map { $_->{headers}{'webhook-id'} } @all[ $n .. $#all ];
}

# A whole copy of the files, recovered as a standby or from the backup.
sub copy_of
{
	my ($name, $backup, %args) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	$copy->init_from_backup($node, $backup, has_streaming => $args{standby} ? 1 : 0);
	append_to_file($copy->data_dir . '/recovery.signal', '') unless $args{standby};
	$copy->append_conf('postgresql.conf', "restore_command = 'false'\n") unless $args{standby};
	$copy->start;
	return $copy;
}

#
# Pending deliveries, and copies of the files made while they are
#
$r->mode('/ok/crm', '/status/503/crm');
$t->sql('INSERT INTO item SELECT g FROM generate_series(2, 6) g');
$t->poll_sql('five deliveries are pending', 'SELECT count(*) FROM webhook.pending', 5);
$node->backup('copy');

my $standby = copy_of('standby', 'copy', standby => 1);
$node->wait_for_catchup('standby', 'replay', $node->lsn('flush'));
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'webhook%'"),
	0, 'a standby has no worker');
my $restored = copy_of('restored', 'copy');
my $moved    = copy_of('moved', 'copy');

for my $copy ($restored, $moved)
{
	my $rests = qr/^suspended: .*webhook\.enable_delivery_preview\(\)/;    # said when the worker has left
	my $says  = wait_for_worker_of($copy, $rests);
	like($says, qr/recovered from a backup.*webhook\.enable_delivery\(\)/, $copy->name . ': a recovered backup is suspended and says why');
	$copy->restart;
	is(wait_for_worker_of($copy, $rests), $says, 'also after another restart');
	is($copy->safe_psql('postgres', "SELECT count(*) FROM webhook.pending"), 5, 'it keeps what was pending');
}

# The files started without recovery are the original's, by all that can be known, and would deliver; told, as
# docs/operations.md says, before webhook is loaded, they are a copy
my $snapshot = PostgreSQL::Test::Cluster->new('snapshot');
$snapshot->init_from_backup($node, 'copy');
$snapshot->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$snapshot->start;
$snapshot->safe_psql('postgres', 'DELETE FROM webhook.identity');
my $until_told = $r->count('/ok/crm');
$snapshot->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\n");
$snapshot->restart;
wait_for_worker_of($snapshot, qr/^suspended/);
$snapshot->safe_psql('postgres', 'INSERT INTO item VALUES (300)');
$snapshot->safe_psql('postgres', 'SELECT webhook.enable_delivery()');
$snapshot->safe_psql('postgres', 'INSERT INTO item VALUES (301)');
poll_until('it delivers', sub { $snapshot->safe_psql('postgres', 'SELECT count(*) FROM webhook.attempt WHERE event_number = (SELECT max(event_number) FROM webhook.outbox)') eq 1 });
is(scalar(grep { $_->{body} =~ /"entity_id":"30\d"/ } ($r->requests('/ok/crm'))[ $until_told .. $r->count('/ok/crm') - 1 ]), 1,
	'a disk snapshot whose identity was deleted sends nothing until it is enabled, and then what is new');
$snapshot->stop('fast');

#
# The primary fails, the standby is promoted
#
$node->stop('fast');
my $before = $r->count('/ok/crm');
$r->mode('/ok/crm', undef);
my $start = time;
$standby->promote;
$r->wait_for_requests($before + 1, '/ok/crm');
my $took = time - $start;
cmp_ok($took, '<', 5, sprintf('promoted, it begins at once: %.2f s', $took));
$r->wait_for_requests($before + 5, '/ok/crm');
is_deeply([ sort(ids_since($before)) ], [ map { "evt_${instance}_$_" } 2 .. 6 ], 'with what was pending, under the same ids');
$standby->safe_psql('postgres', 'INSERT INTO item VALUES (7)');
$r->wait_for_requests($before + 6, '/ok/crm');
is((ids_since($before + 5))[0], "evt_${instance}_7", 'and goes on as the primary did');
is($standby->safe_psql('postgres', 'SELECT timeline FROM webhook.identity'), 2, 'the new timeline is known');
$standby->restart;
$standby->safe_psql('postgres', 'INSERT INTO item VALUES (8)');
$r->wait_for_requests($before + 7, '/ok/crm');
pass('also after a restart');

#
# The recovered backup, enabled: a copy in its own name
#
$before = $r->count('/ok/crm');
$restored->safe_psql('postgres', 'INSERT INTO item VALUES (100)');
$restored->safe_psql('postgres', 'SELECT webhook.enable_delivery()');
wait_for_worker_of($restored, qr/^running$/);
$restored->safe_psql('postgres', 'INSERT INTO item VALUES (101)');
$r->wait_for_requests($before + 1, '/ok/crm');
my ($id) = ids_since($before);
like($id, qr/^evt_[0-9a-f]{8}_\d+$/, 'a copy that is enabled delivers');
unlike($id, qr/$instance/, 'in its own name');
like(($r->requests('/ok/crm'))[$before]{body}, qr/"entity_id":"101"/, 'new events only: not what was pending, nor what happened before');
is($restored->safe_psql('postgres', 'SELECT count(*) FROM webhook.pending'), 0, 'of which nothing is left');

#
# The same, told that it is the original: a disaster recovered from
#
$before = $r->count('/ok/crm');
$moved->safe_psql('postgres', 'SELECT webhook.enable_delivery(moved => true)');
$r->wait_for_requests($before + 5, '/ok/crm');
is_deeply([ sort(ids_since($before)) ], [ map { "evt_${instance}_$_" } 2 .. 6 ], 'what was moved delivers what was pending, under the same ids');
is($moved->safe_psql('postgres', 'SELECT instance FROM webhook.identity'), $instance, 'and keeps its instance');
$_->stop('fast') for $restored, $moved;

#
# A copy within the cluster
#
$r->mode('/ok/crm', '/status/503/crm');
$standby->safe_psql('postgres', 'INSERT INTO item VALUES (9)');
poll_until('one delivery is pending', sub { $standby->safe_psql('postgres', 'SELECT count(*) FROM webhook.pending') eq 1 });
$standby->safe_psql('template1', 'CREATE DATABASE twin TEMPLATE postgres');
like(wait_for_worker_of($standby, qr/^suspended/, 'twin'), qr/copy of another/, 'a copy by TEMPLATE is suspended and says why');
poll_until('the worker of the copy has ended', sub { $standby->safe_psql('twin', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = 'twin'") eq 0 });
like(worker($standby, 'twin'), qr/^suspended.*copy of another/, 'its worker ends, and leaves word');
$r->mode('/ok/crm', undef);
$before = $r->count('/ok/crm');
# in one script, as people do it: webhook.test looks at this state, and would not send
my ($state) = $standby->safe_psql('twin', 'SELECT webhook.enable_delivery(); SELECT state FROM webhook.worker') =~ /(\w+)\z/;
like($state, qr/^(starting|running)$/, 'enabled, it is not suspended from then on');
wait_for_worker_of($standby, qr/^running$/, 'twin');
$standby->safe_psql('twin', 'INSERT INTO item VALUES (200)');
poll_until('the twin has sent its event', sub { grep { $_->{body} =~ /"entity_id":"200"/ } $r->requests('/ok/crm') });
poll_until('the original has sent its own', sub { grep { /^evt_${instance}_9$/ } ids_since($before) });
is(scalar(grep { $_->{body} =~ /"entity_id":"9"/ } ($r->requests('/ok/crm'))[ $before .. $r->count('/ok/crm') - 1 ]),
	1, 'enabled it does not send what was pending in the original');

#
# Dump and restore, to a cluster with lower and one with higher xids
#
my $dump = $standby->basedir . '/dump.sql';
$standby->safe_psql('postgres', <<'SQL');
DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$;
SQL
$standby->run_log([ 'pg_dump', '-f', $dump, '-d', $standby->connstr('postgres') ]);
unlike(slurp_file($dump), qr/COPY webhook\.(outbox|attempt|pending|checkpoint)/, 'a dump holds none of the logs and queues');
my $xid = $standby->safe_psql('postgres', 'SELECT pg_current_xact_id()');
for my $name ('lower', 'higher')
{
	my $to = PostgreSQL::Test::Cluster->new($name);
	$to->init(extra => [ '-E', 'UTF8', '--no-locale' ]);
	$to->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'webhook'
webhook.poll_interval = '500ms'
webhook.allowed_networks = '127.0.0.0/8, ::1/128'
webhook.ca_file = '$t->{certs}/ca.pem'
CONF
	$to->start;
	$to->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1..20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$')
	  if $name eq 'higher';
	my $there = $to->safe_psql('postgres', 'SELECT pg_current_xact_id()');
	cmp_ok($there, $name eq 'lower' ? '<' : '>', $xid, "a cluster with $name xids: $there, and $xid in the original");
	$before = $r->count('/ok/crm');
	$to->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $to->connstr('postgres') ], "$name: restored");
	is( $to->safe_psql('postgres', 'SELECT name, url FROM webhook.subscription'),
		$standby->safe_psql('postgres', 'SELECT name, url FROM webhook.subscription'), 'the configuration has arrived');
	is($to->safe_psql('postgres', 'SELECT source FROM webhook.source'), 'item', 'and what is watched');
	like(wait_for_worker_of($to, qr/^suspended/), qr/copy of another/, 'it is suspended and says why');
	$to->safe_psql('postgres', 'INSERT INTO item VALUES (300)');
	my ($rc, $out, $err) = $to->psql('postgres', 'SELECT webhook.enable_delivery(moved => true)');
	like($err, qr/was not moved/, 'a dump cannot be the original, moved');
	is($to->safe_psql('postgres', "SELECT unread_events, events_left FROM webhook.enable_delivery_preview()"), '0|1', 'enable would leave out what happened in it so far');
	is($to->safe_psql('postgres', "SELECT unread_events, events_left FROM webhook.enable_delivery_preview(since => '-infinity')"), '1|0', 'unless told otherwise');
	# the one is told so, the other is not
	$to->safe_psql('postgres', $name eq 'lower' ? "SELECT webhook.enable_delivery(since => '-infinity')" : 'SELECT webhook.enable_delivery()');
	wait_for_worker_of($to, qr/^running$/);
	$to->safe_psql('postgres', 'INSERT INTO item VALUES (301)');
	my @expected = $name eq 'lower' ? (300, 301) : (301);
	poll_until('the event after it has arrived', sub { grep { $_->{body} =~ /"entity_id":"301"/ } ($r->requests('/ok/crm'))[ $before .. $r->count('/ok/crm') - 1 ] });
	is_deeply([ map { $_->{body} =~ /"entity_id":"(\d+)"/ } ($r->requests('/ok/crm'))[ $before .. $r->count('/ok/crm') - 1 ] ],
		\@expected, 'enabled it sends what was asked for: ' . ($name eq 'lower' ? 'all that happened since it was restored' : 'what happens from then on'));
	unlike($_, qr/$instance/, 'in its own name') for ids_since($before);
	$to->stop('fast');
}
$standby->stop('fast');
$_->stop for $r;
done_testing();

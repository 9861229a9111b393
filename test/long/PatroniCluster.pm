# Three nodes under Patroni, for test/long/patroni.pl: each has a network of its own
# with two ways out of it.
#
#	+-- node 1: 10.9.1.11 ------+
#	|  Patroni, PostgreSQL      |        bridge 10.9.1.1
#	|  127.0.0.1:4430 receiver  |  ====  etcd, and the other nodes the same way;
#	|  clients, by Unix socket  |        isolate() takes this link down
#	+---------------------------+
#
# The receiver and the clients of a node are on its side of the link, as the world that a
# cut-off server still reaches. So a receiver's file holds what its node has sent, and nothing
# else; times in them are of one clock.
#
# enter() puts all of it into namespaces of processes, mounts and networks. No port is anybody
# else's, and whatever runs or is mounted here ends with the first process, however that
# ends. It needs root; what runs in a node runs as the user postgres, which owns DIR.
package PatroniCluster;

use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);
use WebhookTest;

our $RECEIVER_PORT = 4430;
our $SECRET        = $WebhookTest::SECRET;

# Short ones, so that a failover takes seconds: docs/operations.md has those for production.
my ($ttl, $loop_wait, $retry_timeout) = (8, 1, 3);

my @started;    # pids
my @as_postgres = qw(setpriv --reuid=postgres --regid=postgres --init-groups);

# Run this program again in namespaces of its own, if it is not there yet. Why not, if it cannot be.
sub enter
{
	return if $ENV{WEBHOOK_NAMESPACES};
	return 'this needs root, for networks between the nodes' if $> != 0;
	my @unshare = qw(unshare --net --pid --mount-proc --fork --kill-child);
	for my $try ([ @unshare, 'true' ], [ @unshare, 'ip', 'link', 'add', 'br0', 'type', 'bridge' ])
	{
		return "this needs namespaces and bridges: @$try failed" if system(@$try) != 0;
	}
	$ENV{WEBHOOK_NAMESPACES} = 1;
	# the first process waits for whatever is left to it, or a server that has ended would still be there for Patroni
	exec @unshare, 'bash', '-c', 'trap "exit 143" TERM INT; "$@" & wait $!; exit $?', '-', $^X, (map { "-I$_" } @INC), $0, @ARGV
	  or die "unshare: $!";
}

sub new
{
	my ($class, $dir) = @_;
	my $self = bless { dir => $dir, nodes => [], pids => [] }, $class;
	chomp(my $bindir = `$ENV{PG_CONFIG} --bindir`);
	$self->{bindir} = $bindir;
	$self->{http}   = HTTP::Tiny->new(timeout => 3);
	mkdir $dir or die "$dir: $!";
	run('bash', "$FindBin::RealBin/../receiver/certs.sh", "$dir/certs");
	append_to_file("$dir/keys", 'k1 ' . MIME::Base64::encode_base64(join('', map { chr int rand 256 } 1 .. 32), '') . "\n");
	run(qw(chown -R postgres:postgres), $dir);
	chmod 0600, "$dir/keys";

	run(qw(ip link set lo up));
	run(qw(ip link add br0 type bridge));
	run(qw(ip addr add 10.9.1.1/24 dev br0));
	run(qw(ip link set br0 up));
	# by version 2 of its interface: with that of version 3, Patroni 3.0.2 has taken the leader's lock back from another
	# when it went on after a freeze
	my $etcd = 'http://10.9.1.1:2379';
	$self->{etcd} = start("$dir/etcd.log", @as_postgres, 'etcd', '--data-dir', "$dir/etcd", '--listen-client-urls', $etcd, '--advertise-client-urls',
		$etcd, '--listen-peer-urls', 'http://10.9.1.1:2380', '--unsafe-no-fsync', '--enable-v2', '--logger', 'zap');
	poll_until('etcd answers', sub { $self->{http}->get("$etcd/health")->{success} });
	push @{ $self->{nodes} }, PatroniCluster::Node->new($self, $_) for 1 .. 3;
	return $self;
}

sub nodes { return @{ $_[0]->{nodes} } }

sub run
{
	system(@_) == 0 or die "@_ failed\n";
	return;
}

# start(LOG, COMMAND...): in the background; its pid
sub start
{
	my ($log, @command) = @_;
	my $pid = fork // die "$!";
	push @started, $pid;
	return $pid if $pid;
	open STDIN,  '<',  '/dev/null';
	open STDOUT, '>>', $log;
	open STDERR, '>&', \*STDOUT;
	exec @command;
	die "$command[0]: $!";
}

# The first node alone makes the cluster; the others are made from it.
sub bootstrap
{
	my ($self, $sql) = @_;
	my ($first, @others) = $self->nodes;
	$first->start_patroni;
	poll_until('the first node is the primary', sub { $first->is_primary });
	$first->sql($sql);
	$_->start_patroni for @others;
	return;
}

sub primary
{
	my ($self) = @_;
	for my $node ($self->nodes)
	{
		return $node if !$node->{frozen} && !$node->{isolated} && $node->is_primary;
	}
	return;
}

# All three are there and stream from the primary, which is returned. With SYNC, it waits for one of them.
sub wait_until_whole
{
	my ($self, $sync) = @_;
	my $wanted = $sync ? '2|1' : '2|0';
	my $last   = '';
	return eval {
		poll_until(
			'a primary and two standbys',
			sub {
				my $node = $self->primary or return;
				$last = $node->try_sql("SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication WHERE state = 'streaming'") // '';
				return unless $last eq $wanted;
				# nobody may take over before Patroni has noted who has all commits
				return $node if !$sync || $self->{http}->get("http://$node->{address}:8008/cluster")->{content} =~ /"sync_standby"/;
			},
			90);
	} // do { $self->show; die "$@ streaming, and of them synchronous: $last, not $wanted\n" };
}

sub synchronous
{
	my ($self, $on) = @_;
	my $content = JSON::PP::encode_json({ synchronous_mode => $on ? JSON::PP::true() : JSON::PP::false() });
	my $url     = 'http://' . $self->primary->{address} . ':8008/config';
	poll_until('Patroni takes the configuration', sub { $self->{http}->request('PATCH', $url, { content => $content })->{success} });
	return;
}

sub switchover
{
	my ($self, $to) = @_;
	run(@as_postgres, 'sh', '-c', 'exec "$@" >>"$0" 2>&1', "$self->{dir}/patronictl.log",
		'patronictl', '-c', "$to->{dir}/patroni.yml", 'switchover', '--master', $self->primary->{name}, '--candidate', $to->{name}, '--force');
	return;
}

# For whoever reads a failure.
sub show
{
	my ($self) = @_;
	for my $node ($self->nodes)
	{
		Test::More::diag("$node->{name}: " . `tail -n 15 $node->{log}`);
	}
	return;
}

# What a failing test leaves would hold our end until it is over; the server's processes end with the first process.
sub end { kill 'KILL', @started, @_; return; }

package PatroniCluster::Node;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use WebhookTest;

sub new
{
	my ($class, $cluster, $i) = @_;
	my $dir  = "$cluster->{dir}/n$i";
	my $self = bless { name => "n$i", dir => $dir, cluster => $cluster, address => "10.9.1.1$i", log => "$dir/log", link => "node$i", offset => 0 }, $class;
	mkdir $dir or die "$dir: $!";
	# gone with the namespaces, and with it the file that names processes in them
	mkdir "$dir/disk" or die "$dir/disk: $!";
	PatroniCluster::run(qw(mount -t tmpfs -o size=1g node), "$dir/disk");
	PatroniCluster::run(qw(chown postgres:postgres), $dir, "$dir/disk");

	# the network, which lasts as long as the process in it
	my $holder = PatroniCluster::start('/dev/null', qw(unshare --net sleep infinity));
	poll_until("$self->{name} has a network", sub { (readlink("/proc/$holder/ns/net") // '') ne readlink('/proc/self/ns/net') });
	$self->{inside} = [ 'nsenter', "--net=/proc/$holder/ns/net" ];
	PatroniCluster::run(qw(ip link add), $self->{link}, qw(type veth peer name out netns), $holder);
	PatroniCluster::run(qw(ip link set), $self->{link}, qw(master br0 up));
	PatroniCluster::run(@{ $self->{inside} }, 'ip', @$_)
	  for [qw(link set lo up)], [ qw(addr add), "$self->{address}/24", qw(dev out) ], [qw(link set out up)];

	# it lives as long as we hold its standard input
	my $receiver = open $self->{receiver}, '|-', @{ $self->{inside} }, @as_postgres, 'sh', '-c', 'exec "$@" >"$0" 2>&1', "$dir/receiver.log",
	  'node', "$FindBin::RealBin/../receiver/receiver.mjs", '--dir', "$dir/received", '--ready-file', "$dir/ready", '--port', $PatroniCluster::RECEIVER_PORT,
	  '--cert', "$cluster->{dir}/certs/server.pem", '--key', "$cluster->{dir}/certs/server.key", '--secret', $PatroniCluster::SECRET
	  or die "$!";
	push @started, $receiver;
	poll_until("the receiver of $self->{name} listens", sub { -s "$dir/ready" });

	append_to_file("$dir/patroni.yml", <<YAML);
scope: pgwebhook
name: $self->{name}
restapi: {listen: '$self->{address}:8008', connect_address: '$self->{address}:8008'}
etcd: {host: '10.9.1.1:2379'}
bootstrap:
  dcs:
    ttl: $ttl
    loop_wait: $loop_wait
    retry_timeout: $retry_timeout
    maximum_lag_on_failover: 1073741824
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        shared_preload_libraries: webhook
        max_connections: 40
        max_worker_processes: 8
        max_wal_size: 64MB
        min_wal_size: 32MB
        wal_keep_size: 32MB
        webhook.allowed_networks: '127.0.0.0/8, ::1/128'
  initdb: [{encoding: UTF8}, no-locale, {auth: trust}]
  pg_hba: ['local all all trust', 'host all all 10.9.1.0/24 trust', 'host replication all 10.9.1.0/24 trust']
postgresql:
  listen: $self->{address}:5432
  connect_address: $self->{address}:5432
  data_dir: $dir/disk/data
  bin_dir: $cluster->{bindir}
  pgpass: $dir/pgpass
  authentication: {superuser: {username: postgres}, replication: {username: replicator}}
  basebackup: [{checkpoint: fast}, no-sync]
  parameters:
    unix_socket_directories: $dir
    webhook.key_file: $cluster->{dir}/keys
    webhook.ca_file: $cluster->{dir}/certs/ca.pem
    log_line_prefix: '%m [%p] '
    log_timezone: UTC
    fsync: off
YAML
	return $self;
}

sub start_patroni
{
	my ($self) = @_;
	$self->{patroni} = PatroniCluster::start($self->{log}, @{ $self->{inside} }, @as_postgres, 'env', "HOME=$self->{dir}", 'patroni', "$self->{dir}/patroni.yml");
	return;
}

# What psql -At says in this node, by its socket; statements that a standby refuses fail.
sub psql
{
	my ($self, $db, $sql, %params) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $self->connstr($db), '-f', '-', @{ $params{extra_params} // [] } ],
		'<', \$sql, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	chomp $out;
	return (($? >> 8), $out, $err);
}

sub connstr { return "host=$_[0]->{dir} port=5432 user=postgres connect_timeout=5 dbname=$_[1]" }

sub safe_psql
{
	my ($self, $db, $sql) = @_;
	my ($rc, $out, $err) = $self->psql($db, $sql);
	die "$self->{name}: $err\n$sql" if $rc != 0;
	return $out;
}

sub sql { return $_[0]->safe_psql('postgres', $_[1]) }

sub try_sql
{
	my ($self, $sql) = @_;
	my ($rc, $out) = eval { $self->psql('postgres', $sql) };
	return defined $rc && $rc == 0 ? $out : undef;
}

sub is_primary { return ($_[0]->try_sql('SELECT NOT pg_is_in_recovery()') // '') eq 't' }

# Pids of the node's server: the postmaster and all below it.
sub server_pids
{
	my ($self) = @_;
	my ($postmaster) = split /\n/, slurp_file("$self->{dir}/disk/data/postmaster.pid");
	return ($postmaster, $self->children($postmaster));
}

sub children
{
	my ($self, $parent) = @_;
	my %of;
	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $stat or next;
		my $line = <$file> // next;
		push @{ $of{$2} }, $1 if $line =~ /^(\d+) \(.*\) \S (\d+)/;
	}
	my @found;
	my @next = ($parent);
	while (@next)
	{
		@next = map { @{ $of{$_} // [] } } @next;
		push @found, @next;
	}
	return @found;
}

sub walsenders
{
	my ($self) = @_;
	return split /\n/, $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'");
}

sub kill_all
{
	my ($self) = @_;
	kill 'KILL', $self->{patroni}, $self->children($self->{patroni}), $self->server_pids;
	waitpid $self->{patroni}, 0;
	return;
}

# Twice, as a process may have been made meanwhile.
sub freeze
{
	my ($self) = @_;
	for (1, 2)
	{
		$self->{frozen} = { server => [ $self->server_pids ], patroni => [ $self->{patroni}, $self->children($self->{patroni}) ] };
		kill 'STOP', map { @$_ } values %{ $self->{frozen} };
	}
	return;
}

sub thaw_server
{
	my ($self) = @_;
	kill 'CONT', @{ $self->{frozen}{server} };
	return;
}

sub thaw_patroni
{
	my ($self) = @_;
	kill 'CONT', @{ delete($self->{frozen})->{patroni} };
	return;
}

# How many sessions wait until a standby has their commit.
sub waiting { return $_[0]->try_sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") // 0 }

sub isolate
{
	my ($self) = @_;
	PatroniCluster::run(qw(ip link set), $self->{link}, 'down');
	$self->{isolated} = 1;
	return;
}

sub reconnect
{
	my ($self) = @_;
	PatroniCluster::run(qw(ip link set), $self->{link}, 'up');
	delete $self->{isolated};
	return;
}

# The lines of its log since the offset, Patroni's and the server's.
sub log_since { return substr slurp_file($_[0]->{log}), $_[1] }

sub log_size { return -s $_[0]->{log} // 0 }

# The requests that this node has sent since they were last asked for.
sub sent
{
	my ($self) = @_;
	my $path = "$self->{dir}/received/requests.jsonl";
	return unless -e $path;
	open my $file, '<', $path or die "$path: $!";
	seek $file, $self->{offset}, 0;
	my @lines = <$file>;
	$self->{offset} = tell $file;
	return map { JSON::PP::decode_json($_) } @lines;
}

sub n_sent
{
	my ($self) = @_;
	my $path = "$self->{dir}/received/requests.jsonl";
	return 0 unless -e $path;
	my $n = () = slurp_file($path) =~ /\n/g;
	return $n;
}

1;

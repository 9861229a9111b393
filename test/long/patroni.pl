# The promises, held against failover: three nodes under Patroni, a load on the primary,
# and one of the things that end a primary. What was committed and is in the new primary
# has reached the subscription, in the order of each entity; under synchronous
# replication nothing else has. A primary that was declared dead and is not sends
# nothing that the new one has not got.
#
#   make patroni            SCENARIOS="kill freeze" make patroni
#
# The load: clients beside each node change entities when their node is the primary. A
# change notes itself, with a key of its own, in a table of truth in the same transaction;
# a client notes the keys of what was acknowledged. PatroniCluster.pm has the nodes, and
# a receiver beside each. Each scenario begins with all three nodes well, and ends when they
# are again and all is delivered. What ends the primary:
#
#   kill          kill -9 of Patroni and all of PostgreSQL, at once
#   freeze        all of the node's processes stand still; when another is the primary the server goes on,
#                 and Patroni only when the server has had its chance to send
#   isolate       the node sees neither etcd nor the others, but its clients and its receiver; here commits that
#                 nobody was told of can be sent, of the sessions that wait when Patroni stops the server
#   switchover    on purpose
#
# and the same where the promise is not kept, by design, and in what numbers:
#
#   kill_async, freeze_async, isolate_async    without synchronous_mode; what is killed has standbys that lag behind
#   isolate_cancel                             clients of the isolated node cancel their wait for the standby
#
# DROP_ONE=1 deletes an event on the way: each scenario must then fail, with one change lost.
# Times are printed, and never judged.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../t";
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use Time::Local ();
use PatroniCluster;
use WebhookTest;

my $why_not;
BEGIN { $why_not = PatroniCluster::enter() }    # before PostgreSQL::Test::Utils takes the output
BAIL_OUT($why_not) if $why_not;

my @scenarios = split ' ', $ENV{SCENARIOS} || 'kill freeze isolate switchover kill_async freeze_async isolate_async isolate_cancel';
my $entities  = 40;
my $clients   = 2;      # beside each node
my $few       = 200;    # requests

my $cluster = PatroniCluster->new("$ENV{TESTDIR}/nodes");
my $dir     = $cluster->{dir};
my %judged;    # keys of earlier scenarios
my @table;
my @clients;    # pids

END { PatroniCluster::end(@clients) }

$cluster->bootstrap(<<SQL);
CREATE EXTENSION webhook;
CREATE TABLE item (id int PRIMARY KEY, seq bigint NOT NULL, key uuid NOT NULL);
CREATE SEQUENCE number;
CREATE TABLE truth (seq bigint NOT NULL, entity int NOT NULL, key uuid PRIMARY KEY);
-- an entity's lock is taken before its number, so that their order is that of commits
CREATE FUNCTION put(e int) RETURNS uuid LANGUAGE plpgsql AS \$\$
DECLARE
	k uuid := gen_random_uuid();
	n bigint;
BEGIN
	PERFORM pg_advisory_xact_lock(1, e);
	n := nextval('number');
	INSERT INTO item VALUES (e, n, k) ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, key = excluded.key;
	INSERT INTO truth VALUES (n, e, k);
	RETURN k;
END \$\$;
SELECT webhook.watch('item');
INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://localhost:$PatroniCluster::RECEIVER_PORT/ok/crm');
INSERT INTO webhook.secret (subscription_id, secret) SELECT id, '$PatroniCluster::SECRET' FROM webhook.subscription;
SQL

#
# The load
#

sub script
{
	my $sql = '';
	for (1 .. 40)
	{
		my $e    = 1 + int rand $entities;
		my $dice = rand;
		$sql .=
		    $dice < 0.8 ? "SELECT put($e);\n"
		  : $dice < 0.9 ? "SELECT put(e) FROM generate_series($e, ${\($e + 5)}) e;\n"
		  :               "BEGIN;\nSELECT put($e) \\g /dev/null\nROLLBACK;\n";
		$sql .= "SELECT pg_sleep(0.01) \\g /dev/null\n";    # part of the scenario
	}
	return $sql;
}

# psql writes a key when it has been told that the statement is committed. On a standby, each script fails at once.
sub start_load
{
	my ($name) = @_;
	my $load = { stop => "$dir/$name.stop", acked => [], pids => [] };
	for my $node ($cluster->nodes)
	{
		for my $client (1 .. $clients)
		{
			my $acked = "$dir/$name.$node->{name}.$client.acked";
			push @{ $load->{acked} }, $acked;
			my $pid = fork // die "$!";
			if ($pid)
			{
				push @{ $load->{pids} }, $pid;
				push @clients, $pid;
				next;
			}
			srand;
			until (-e $load->{stop})
			{
				open my $psql, '|-', "exec psql -X -q -At -v ON_ERROR_STOP=1 -d '${\$node->connstr('postgres')}' -f - >>$acked 2>>$acked.err"
				  or POSIX::_exit(1);
				{
					local $SIG{PIPE} = 'IGNORE';
					print $psql script();
					close $psql or usleep(100_000);
				}
			}
			POSIX::_exit(0);
		}
	}
	return $load;
}

sub stop_load
{
	my ($load) = @_;
	append_to_file($load->{stop}, '');
	waitpid $_, 0 for @{ $load->{pids} };
	return map { split /\n/, slurp_file($_) } @{ $load->{acked} };
}

#
# A scenario: what ends the primary, and what is done when another has delivered for a while
#

sub wait_for_more
{
	my ($node, $n) = @_;
	my $from = $node->n_sent;
	poll_until("$node->{name} has sent $n more", sub { $node->n_sent >= $from + $n }, 90);
	return;
}

my %fault = (
	kill       => sub { $_[0]->kill_all },
	freeze     => sub { $_[0]->freeze },
	isolate    => sub { $_[0]->isolate },
	switchover => sub { $cluster->switchover(synchronous_standby($_[0])) });

my %undo = (
	kill       => sub { $_[0]->start_patroni },
	freeze     => \&thaw,
	isolate    => sub { $_[0]->reconnect },
	switchover => sub { });

# The server alone first, as if its Patroni had died: its worker looks for something to send, its clients commit.
sub thaw
{
	my ($old, $async) = @_;
	my $then = $old->{sql_time};
	$old->thaw_server;
	poll_until('the worker of the one that is not dead looks again',
		sub { ($old->try_sql("SELECT last_read_at > '$then' FROM webhook.worker") // '') eq 't' });
	wait_for_more($old, $few) if $async;
	poll_until('a client of it waits for the standby', sub { $old->waiting }) unless $async;
	$old->thaw_patroni;
	return;
}

sub synchronous_standby
{
	my ($primary) = @_;
	my $name = $primary->sql("SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'");
	return grep { $_->{name} eq $name } $cluster->nodes;
}

sub scenario
{
	my ($scenario) = @_;
	my ($kind, $variant) = $scenario =~ /^([a-z]+)(?:_([a-z]+))?$/;
	my $ends  = $fault{$kind} or die "no scenario $scenario\n";
	my $async = ($variant // '') eq 'async';
	$cluster->synchronous(!$async);
	my $old  = $cluster->wait_until_whole(!$async);
	my $load = start_load($scenario);
	wait_for_more($old, $few);
	my %log = map { $_->{name} => $_->log_size } $cluster->nodes;

	if ($scenario eq 'kill_async')
	{
		# with walsenders that stand still, the standbys have nothing of what is committed and sent meanwhile
		kill 'STOP', $old->walsenders;
		wait_for_more($old, $few);
	}
	$old->{sql_time} = $old->sql('SELECT clock_timestamp()');
	my $failed = time;
	$ends->($old);
	my $new;
	poll_until(
		'another is the primary',
		sub {
			$old->try_sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") if ($variant // '') eq 'cancel';
			($new) = grep { $_ != $old && $_->is_primary } $cluster->nodes;
			return $new;
		},
		90);
	wait_for_more($new, $few);
	drop_one($new) if $ENV{DROP_ONE};
	$undo{$kind}->($old, $async);
	$cluster->wait_until_whole(!$async);
	my @acked = stop_load($load);
	is($cluster->primary->{name}, $new->{name}, "$scenario: $old->{name} is followed by $new->{name}, and is a standby again");
	bless({ node => $new }, 'WebhookTest')->wait_until_settled(90);
	$cluster->wait_until_whole(!$async);

	judge($scenario, $variant, $old, $new, $failed, [ promotion($new, $log{ $new->{name} }) ], @acked);
	like($old->log_since($log{ $old->{name} }), qr/running pg_rewind/, "$scenario: $old->{name} was rewound") if $async;
	like($old->sql("SELECT state || ': ' || reason FROM webhook.worker"), qr/^not_running: this server is a standby/, "$scenario: and says what it is");
	return;
}

sub drop_one
{
	my ($node) = @_;
	$node->sql("SELECT webhook.pause('crm')");
	poll_until('one is deleted that has not been sent', sub {
		$node->sql('WITH gone AS (DELETE FROM webhook.outbox WHERE event_number = (SELECT max(event_number) FROM webhook.pending) RETURNING 1) SELECT count(*) FROM gone');
	});
	$node->sql("SELECT webhook.resume('crm')");
	return;
}

# When Patroni told the server so, and when that took connections; Unix time, of the server's own log.
sub promotion
{
	my ($node, $offset) = @_;
	my @times;
	for my $what ('received promote request', 'database system is ready to accept connections')
	{
		my ($y, $mo, $d, $h, $mi, $s) = $node->log_since($offset) =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+):([\d.]+) UTC \[\d+\] LOG:  $what/m
		  or die "$node->{name} was not promoted";
		push @times, Time::Local::timegm(0, $mi, $h, $d, $mo - 1, $y) + $s;
	}
	return @times;
}

sub judge
{
	my ($scenario, $variant, $old, $new, $failed, $times, @acked) = @_;
	my ($promoted, $ready) = @$times;
	my %acked = map { $_ => 1 } @acked;
	my (%truth, %arrived, %last, %key_of_id, %sent_last, %invented_by);
	my %n = map { $_ => 0 } qw(committed lost invented repeated order reused unverified commits_lost zombie zombie_new invented_acked);
	for (split /\n/, $new->sql('SELECT key, entity, seq FROM truth ORDER BY seq'))
	{
		my ($key, $entity, $seq) = split /\|/;
		$truth{$key} = { entity => $entity, seq => $seq };
	}
	# killed while it sends a request, a node may have sent its head and not its body: no receiver takes that for one
	my @requests = grep { length $_->{body} >= $_->{headers}{'content-length'} } sort { $a->{at} <=> $b->{at} } map { my $node = $_; map { { %$_, node => $node } } $node->sent } $cluster->nodes;
	my ($first_delivery) = grep { $_->{node} == $new && $_->{at} / 1000 >= $promoted } @requests;
	for my $r (@requests)
	{
		my $event = JSON::PP::decode_json($r->{body});
		my $key   = $event->{result}{key};
		my $id    = $r->{headers}{'webhook-id'};
		my $late  = $r->{node} == $old && $r->{at} / 1000 > $promoted;
		$n{unverified}++ unless $r->{verified};
		$n{zombie}++ if $late;
		$n{zombie_new}++ if $late && !$arrived{$key};
		$n{reused}++ if ($key_of_id{$id} //= $key) ne $key;
		$n{repeated}++ if $arrived{$key}++ || $judged{$key};
		my $true = $truth{$key};
		unless ($true)
		{
			$n{invented}++ if $arrived{$key} == 1;
			$n{invented_acked}++ if $acked{$key};
			$invented_by{ $r->{node}{name} }++;
			next;
		}
		# first arrivals, and all that one node has sent
		my ($entity, $seq) = @$true{qw(entity seq)};
		$n{order}++ if $arrived{$key} == 1 && !$judged{$key} && $seq < ($last{$entity} // 0);
		$last{$entity} = $seq if $seq > ($last{$entity} // 0);
		$n{order}++ if $seq < ($sent_last{ $r->{node}{name} }{$entity} // 0);
		$sent_last{ $r->{node}{name} }{$entity} = $seq;
	}
	for my $key (grep { !$judged{$_} } keys %truth)
	{
		$n{committed}++;
		$n{lost}++ unless $arrived{$key};
	}
	$n{commits_lost} = grep { !$truth{$_} } @acked;
	%judged = (%judged, %truth);

	cmp_ok($n{committed}, '>', 2 * $few, "$scenario: changes were committed: $n{committed}, in " . scalar(@requests) . ' requests');
	is($n{lost},       0, "$scenario: each of them has arrived");
	is($n{order},      0, "$scenario: in the order of its entity");
	is($n{unverified}, 0, "$scenario: signed with the secret");
	unless ($variant)
	{
		is($n{commits_lost}, 0, "$scenario: no acknowledged change is lost");
		# Patroni stops the isolated server, which ends the sessions that wait for a standby. That makes their commits
		# visible, to the worker as well, in the moment before it ends: six changes at most for each of these clients
		my $visible = $scenario eq 'isolate' ? 6 * $clients : 0;
		cmp_ok($n{invented}, '<=', $visible, "$scenario: nothing was sent of what is not in the new primary"
			  . ($visible ? ' except commits that waited in vain: ' . $n{invented} : ''));
		is($n{invented_acked}, 0, "$scenario: and nothing of what was acknowledged");
		is($n{zombie_new},   0, "$scenario: the old primary has sent nothing after the promotion that had not arrived yet");
		is($n{reused},       0, "$scenario: an id is of one event");
	}
	else
	{
		is_deeply([ grep { $_ ne $old->{name} } keys %invented_by ], [], "$scenario: what is not in the new primary was sent by the old one");
	}
	if ($scenario eq 'kill_async' || $scenario eq 'freeze_async')
	{
		cmp_ok($n{commits_lost}, '>', 0, "$scenario: acknowledged changes were lost with the old primary: $n{commits_lost}");
		cmp_ok($n{invented}, '>=', $few / 2, "$scenario: events of lost changes were sent: $n{invented}");
	}
	push @table,
	  sprintf '%-14s %9d %5d %8d %8d %6d %6d %6d %6d %8.2f %8.2f %8.2f', $scenario, @n{qw(committed lost invented repeated order reused commits_lost zombie)},
	  $promoted - $failed, $ready - $promoted, $first_delivery->{at} / 1000 - $promoted;
	return;
}

scenario($_) for @scenarios;
diag("\n" . sprintf('%-14s %9s %5s %8s %8s %6s %6s %6s %6s %8s %8s %8s', qw(scenario committed lost invented repeated order id_two c_lost zombie promoted ready first)));
diag($_) for @table;
done_testing();

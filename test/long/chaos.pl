# The promises, held against everything at once: each committed change reaches
# each subscription or is a dead letter of it, under one id; what was not
# committed reaches nobody; and of one entity nothing arrives before what came
# before it was answered with 200 or given up. What was given up in the moment before a
# crash may not be a dead letter yet: then it comes again, after what was sent behind it.
#
#   make chaos SECONDS=600 SEEDS="11 22 33 44 55"
#
# Four clients change 60 entities: commits, rollbacks, savepoints kept and rolled back, exceptions that are
# caught, prepared transactions committed or rolled back later, DELETE and INSERT of the same key, UPDATEs of
# many rows, with synchronous_commit on and off. Each change notes itself, numbered, in a table of truth, in
# the same transaction. An operator changes the subscriptions at random:
#
#   a	in the order of entities
#   b	the same in batches, of 1, 10 or 50
#   c	in whatever order it is told, and its dead letters are asked for again
#
# The receiver (chaos_receiver.mjs) answers at random, or not. And every 3 to 12 seconds something ends: the
# worker by SIGKILL (with which the server restarts) or SIGTERM, or it stands still for a moment; the server
# at once, or fast. In the end all is calm, and the receiver's file is compared with the truth.
#
# One seed decides all that is decided here; what the machine makes of it differs. DROP_ONE=1 deletes one
# row of the outbox on the way: the test must then fail, with one change lost for each of the three.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use WebhookTest;

my $seconds  = $ENV{CHAOS_SECONDS} || 60;
my @seeds    = split ' ', $ENV{CHAOS_SEEDS} || 1;
my $entities = 60;
my $clients  = 4;

$WebhookTest::DB = 'postgres';

# As bits of PL/pgSQL that clients call. An entity's lock is taken before its numbers, so that their order is that of
# commits; `seq` is that order, `key` is what an event can be known by: the number that its row has, or had.
my $schema = <<'SQL';
CREATE TABLE item (id int PRIMARY KEY, n bigint NOT NULL, t text);
CREATE SEQUENCE number;
CREATE TABLE truth (seq bigint PRIMARY KEY, entity int NOT NULL, key text NOT NULL UNIQUE);
CREATE FUNCTION lock_entity(e int) RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(1, e) $$;
CREATE FUNCTION put(e int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	k bigint;
BEGIN
	PERFORM lock_entity(e);
	k := nextval('number');
	INSERT INTO item VALUES (e, k, repeat('t', (random() * 200)::int)) ON CONFLICT (id) DO UPDATE SET n = excluded.n, t = excluded.t;
	INSERT INTO truth VALUES (k, e, 'u' || k);
END $$;
CREATE FUNCTION take(e int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	k bigint;
BEGIN
	PERFORM lock_entity(e);
	DELETE FROM item WHERE id = e RETURNING n INTO k;
	IF FOUND THEN
		INSERT INTO truth VALUES (nextval('number'), e, 'd' || k);
	END IF;
END $$;
CREATE FUNCTION many(first int, last int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM lock_entity(e) FROM generate_series(first, last) e;
	WITH changed AS (UPDATE item SET n = nextval('number') WHERE id BETWEEN first AND last RETURNING id, n)
		INSERT INTO truth SELECT n, id, 'u' || n FROM changed;
END $$;
CREATE FUNCTION caught(e int, fails boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM put(e);
	BEGIN
		PERFORM take(e), put(e % 60 + 1);
		IF fails THEN
			RAISE EXCEPTION 'on purpose';
		END IF;
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
END $$;
CREATE FUNCTION body(e webhook.outbox) RETURNS json LANGUAGE sql AS $$
	SELECT json_build_object('id', e.event_number, 'entity_id', e.entity_id, 'action', e.action_type, 'result', e.result, 'previous', e.previous)
$$;
SELECT webhook.watch('item', keep_previous => true);
SELECT webhook.copy_profile('entity', 'chaos');
UPDATE webhook.profile SET (envelope, batch_envelope) = (SELECT x, x FROM (VALUES
	('{"id": "$id", "entity_id": "$entity_id", "action": "$action_type", "result": "$result", "previous": "$previous"}'::json)) v(x)) WHERE name = 'chaos';
SQL

#
# The clients: each a process of its own, which writes scripts for psql until it is told to stop
#

my $transactions = 0;

sub transaction
{
	my ($client) = @_;
	my $e     = sub { 1 + int rand $entities };
	my $put   = sub { "SELECT put(${\$e->()});\n" };
	my $dice  = rand;
	my $begin = 'BEGIN; SET LOCAL lock_timeout = 2000; SET LOCAL synchronous_commit = ' . (rand() < 0.5 ? 'on' : 'off') . ";\n";
	my $name  = "c${client}_${\time}_" . $transactions++;

	return $begin . $put->() . "COMMIT;\n" if $dice < 0.30;
	return $begin . $put->() . $put->() . "ROLLBACK;\n" if $dice < 0.40;
	return $begin . $put->() . "SAVEPOINT s;\n" . $put->() . (rand() < 0.5 ? "ROLLBACK TO s;\n" : "RELEASE s;\n") . $put->() . "COMMIT;\n" if $dice < 0.55;
	return $begin . "SELECT caught(${\$e->()}, " . (rand() < 0.5 ? 'true' : 'false') . ");\nCOMMIT;\n" if $dice < 0.65;
	if ($dice < 0.75)
	{
		my $one = $e->();
		return $begin . "SELECT take($one);\nSELECT put($one);\nCOMMIT;\n";
	}
	return $begin . "SELECT take(${\$e->()});\nCOMMIT;\n" if $dice < 0.82;
	if ($dice < 0.92)
	{
		my $first = $e->();
		my $last  = $first + 1 + int rand 15;
		return $begin . "SELECT many($first, $last);\nCOMMIT;\n";
	}
	return $begin . $put->() . "PREPARE TRANSACTION '$name';\nSELECT pg_sleep(${\rand 2});\n" . (rand() < 0.6 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name';\n";
}

sub client
{
	my ($connstr, $client, $seed, $stop, $dir) = @_;
	my $pid = fork // die "$!";
	return $pid if $pid;
	srand $seed * 100 + $client;
	until (-e $stop)
	{
		open my $script, '>', "$dir/client$client.sql" or POSIX::_exit(1);
		print $script transaction($client) for 1 .. 20;
		close $script;
		# what fails (a deadlock, a lock not had, a server that is gone) fails: the truth says what was committed
		system("psql -X -q -d '$connstr' -f '$dir/client$client.sql' >/dev/null 2>&1");
		usleep(20_000);
	}
	POSIX::_exit(0);
}

#
# The operator
#

sub operation
{
	my ($port) = @_;
	my $one = (qw(a b c))[ rand 3 ];
	my @all = (
		sub { "SELECT webhook.pause('$one')" },
		sub { "SELECT webhook.resume('$_')" }, sub { "SELECT webhook.resume(name) FROM webhook.subscription" },
		sub { "UPDATE webhook.subscription SET url = 'https://localhost:$port/$one/${\int rand 3}' WHERE name = '$one'" },
		sub { "SELECT webhook.rotate_secret('$one', overlap => '0')" },
		sub { "SELECT webhook.set_credential('$one', 'bearer', 'token${\int rand 1000}')" },
		sub { "UPDATE webhook.subscription SET max_in_flight = ${\(1 + int rand 30)} WHERE name = '$one'" },
		sub { "UPDATE webhook.subscription SET rate_limit = ${\(rand() < 0.5 ? 'NULL' : 50 + int rand 200)} WHERE name = '$one'" },
		# true of all there is, in different ways
		sub { "UPDATE webhook.subscription SET filter = ${\((qw(NULL), q{'$.entity_type == \"item\"'}, q{'exists($.result.n) || exists($.previous.n)'})[rand 3])} WHERE name = '$one'" },
		sub { "UPDATE webhook.subscription SET transform = ${\(rand() < 0.5 ? 'NULL' : q{'public.body'})} WHERE name = '$one'" },
		sub { "UPDATE webhook.subscription SET batch_size = ${\((1, 10, 50)[rand 3])} WHERE name = 'b'" },
		sub { "UPDATE webhook.subscription SET ordering = '${\((qw(none entity strict))[rand 3])}' WHERE name = 'c'" },
		sub { "SELECT webhook.redeliver(event_number::text, 'c') FROM (SELECT DISTINCT event_number FROM webhook.dead_letter WHERE subscription = 'c' LIMIT 20) d" });
	local $_ = $one;
	return $all[ rand @all ]->();
}

#
# What ends
#

sub fault
{
	my ($t, $node, $requests, $count) = @_;
	my $dice = rand;
	my $pid  = $t->try_sql("SELECT pid FROM webhook_internal.worker_status() WHERE pid IS NOT NULL") // '';
	my $what =
	    $dice < 0.35 ? 'kill'
	  : $dice < 0.60 ? 'term'
	  : $dice < 0.75 ? 'stop'
	  : $dice < 0.88 ? 'immediate'
	  :                'fast';
	return if $pid !~ /^\d+$/ && $what =~ /kill|term|stop/;
	$count->{$what}++;
	my $crash = $what =~ /kill|immediate/;
	append_to_file($requests, qq({"crash": "begins"}\n)) if $crash;
	kill 'KILL', $pid if $what eq 'kill';
	kill 'TERM', $pid if $what eq 'term';
	if ($what eq 'stop')
	{
		kill 'STOP', $pid;
		usleep(500_000 + rand 2_000_000);    # part of the scenario
		kill 'CONT', $pid;
	}
	if ($what eq 'immediate' || $what eq 'fast')
	{
		$node->stop($what);
		$node->start;
	}
	else
	{
		# a server that restarts after a crash takes no connections for a while
		WebhookTest::poll_until('the server answers', sub { defined $t->try_sql('SELECT 1') });
	}
	append_to_file($requests, qq({"crash": "is over"}\n)) if $crash;
	return;
}

#
# One seed
#

sub run
{
	my ($seed) = @_;
	srand $seed;
	my $t = WebhookTest->new(
		name => "seed$seed",
		conf => "webhook.poll_interval = '1s'\nlog_min_messages = fatal\ndeadlock_timeout = 200ms\nmax_connections = 40\n");
	my $node = $t->node;
	my $dir  = PostgreSQL::Test::Utils::tempdir();
	open my $alive, '|-', 'node', "$FindBin::RealBin/chaos_receiver.mjs", '--dir', $dir, '--seed', $seed, '--cert', "$t->{certs}/server.pem", '--key',
	  "$t->{certs}/server.key"
	  or die "$!";
	poll_until('the receiver listens', sub { -s "$dir/ready" });
	my $port = slurp_file("$dir/ready");
	$t->sql($schema);
	$t->sql("SELECT webhook.subscribe('$_', 'https://localhost:$port/$_/0', profile => 'chaos')") for qw(a b c);
	$t->sql("UPDATE webhook.subscription SET timeout = '1s', retry_schedule = '{100ms,300ms,1s}'");
	$t->wait_for_worker;

	my $stop = "$dir/stop";
	my @pids = map { client($node->connstr($WebhookTest::DB), $_, $seed, $stop, $dir) } 1 .. $clients;
	my %count;
	my $end        = time + $seconds;
	my $next_fault = time + 3 + rand 9;
	my $dropped    = 0;
	while (time < $end)
	{
		if (time > $next_fault)
		{
			fault($t, $node, "$dir/requests.jsonl", \%count);
			$next_fault = time + 3 + rand 9;
		}
		$count{refused}++ unless defined $t->try_sql(operation($port));
		$count{operations}++;
		if ($ENV{DROP_ONE} && !$dropped && time > $end - $seconds / 2)
		{
			# one that none of the three has got yet
			$t->sql('SELECT webhook.pause(name) FROM webhook.subscription');
			$dropped = $t->sql('WITH gone AS (DELETE FROM webhook.outbox o WHERE event_number = (SELECT max(event_number) FROM webhook.pending GROUP BY event_number HAVING count(*) = 3 ORDER BY 1 DESC LIMIT 1) RETURNING 1) SELECT count(*) FROM gone');
			$t->sql('SELECT webhook.resume(name) FROM webhook.subscription');
		}
		usleep(200_000 + rand 600_000);    # part of the scenario
	}

	# calm
	append_to_file($stop, '');
	waitpid $_, 0 for @pids;
	poll_until('the server answers', sub { defined $t->try_sql('SELECT 1') });
	$count{in_chaos} = () = slurp_file("$dir/requests.jsonl") =~ /^\{"n"/mg;
	append_to_file("$dir/calm", '');
	for my $gid (split /\n/, $t->sql('SELECT gid FROM pg_prepared_xacts'))
	{
		$t->sql((rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$gid'");
	}
	$t->sql('UPDATE webhook.subscription SET rate_limit = NULL, max_in_flight = 20');
	$t->sql('SELECT webhook.resume(name) FROM webhook.subscription');
	$node->restart('fast');    # breakers begin closed
	$t->wait_for_worker;
	$t->wait_until_settled(300);

	judge($t, $seed, $dir, \%count);
	close $alive;
	$node->stop('fast');
	return;
}

#
# The verdict
#

sub judge
{
	my ($t, $seed, $dir, $count) = @_;
	my (%entity, %order, %dead, %kept);

	for (split /\n/, $t->sql('SELECT key, entity FROM truth ORDER BY entity, seq'))
	{
		my ($key, $entity) = split /\|/;
		$entity{$key} = $entity;
		push @{ $order{$entity} }, $key;
	}
	my %before;
	for my $keys (values %order) { $before{ $keys->[$_] } = $keys->[ $_ - 1 ] for 1 .. $#$keys }
	$dead{ (split /\|/)[0] }{ (split /\|/)[1] } = 1
	  for split /\n/, $t->sql(<<'SQL');
SELECT subscription, CASE action_type WHEN 'delete' THEN 'd' || (previous ->> 'n') ELSE 'u' || (result ->> 'n') END FROM webhook.dead_letter
SQL

	my (%got, %ids, %requests, @keys_of, %bad);
	my ($lost, $invented, $two_ids, $out_of_order, $requests, $again) = (0) x 6;
	my ($crashes, $crashing) = (0, 0);
	my (%refused, %seen, %passed);    # by subscription and key: given up, it seems; how often; what was sent behind it then
	my @examples;
	my $wrong = sub { push @examples, $_[0] if @examples < 20 };
	open my $file, '<', "$dir/requests.jsonl" or die "$!";
	while (my $line = <$file>)
	{
		my $l = JSON::PP::decode_json($line);
		if (defined $l->{crash})
		{
			$crashing = $l->{crash} eq 'begins';
			$crashes++ if $crashing;
			next;
		}
		if (defined(my $n = $l->{answered} // $l->{refused}))
		{
			my ($sub, @keys) = @{ $keys_of[$n] };
			(defined $l->{answered} ? \%got : \%refused)->{$sub}{$_} = 1 for @keys;
			next;
		}
		$requests++;
		my ($sub) = $l->{path} =~ m{^/([abc])/} or die "a request to $l->{path}";
		my $body = JSON::PP::decode_json($l->{body});
		my @keys;
		my $within;
		my %with;
		for my $event (ref $body eq 'ARRAY' ? @$body : $body)
		{
			my $key = $event->{action} eq 'delete' ? "d$event->{previous}{n}" : "u$event->{result}{n}";
			# a single one's header has the same number as its body
			my ($number) = $event->{id} =~ /(\d+)$/;
			if (!exists $entity{$key} || $entity{$key} ne $event->{entity_id})
			{
				$invented++;
				$wrong->("$sub: $key of entity $event->{entity_id} is not in the truth");
				next;
			}
			$ids{$sub}{$key}{$number} = 1;
			$ids{$sub}{$key}{ $l->{id} =~ /_(\d+)$/ ? $1 : "?$l->{id}" } = 1 if ref $body ne 'ARRAY';
			$seen{$sub}{$key}++;
			for my $pass (@{ delete $passed{$sub}{$key} // [] })
			{
				# a crash undid that it was given up; else it never was
				my ($behind, $then) = @$pass;
				$again++, next if $crashes > $then;
				$out_of_order++;
				$wrong->("$sub: $behind of entity $event->{entity_id} came before $key, which came again without a crash");
			}
			my $last = $before{$key};
			if ($sub ne 'c' && defined $last && !$got{$sub}{$last} && !$dead{$sub}{$last} && !$with{$last})
			{
				if ($refused{$sub}{$last} || ($seen{$sub}{$last} // 0) > 1)
				{
					push @{ $passed{$sub}{$last} }, [ $key, $crashing ? $crashes - 1 : $crashes ];
				}
				else
				{
					$out_of_order++;
					$wrong->("$sub: $key of entity $event->{entity_id} came before $last was delivered");
				}
			}
			$with{$key} = 1;
			push @keys, $key;
		}
		$keys_of[ $l->{n} ] = [ $sub, @keys ];
	}
	for my $sub (qw(a b c))
	{
		for my $key (keys %entity)
		{
			next if $got{$sub}{$key} || $dead{$sub}{$key};
			$lost++;
			$wrong->("$sub: $key of entity $entity{$key} is lost");
		}
		for my $key (keys %{ $ids{$sub} })
		{
			next if keys %{ $ids{$sub}{$key} } == 1;
			$two_ids++;
			$wrong->("$sub: $key came under " . join ', ', keys %{ $ids{$sub}{$key} });
		}
	}
	diag($_) for @examples;
	my $dead = 0;
	$dead += keys %$_ for values %dead;
	note sprintf
	  'seed %d: %d s of chaos, %d committed x 3, %d requests (%d before it was calm), %d dead, %d given up and sent again after a crash, %d operations (%d refused); killed %d, terminated %d, stopped %d, immediate %d, fast %d; lost %d, invented %d, two ids %d, out of order %d',
	  $seed, $seconds, scalar keys %entity, $requests, $count->{in_chaos}, $dead, $again, $count->{operations}, map({ $count->{$_} // 0 } qw(refused kill term stop immediate fast)), $lost, $invented, $two_ids, $out_of_order;
	cmp_ok(scalar keys %entity, '>', 100, "seed $seed: something was committed");
	cmp_ok($count->{in_chaos}, '>', 100, "seed $seed: and sent while there was chaos");
	is($lost,         0, "seed $seed: lost");
	is($invented,     0, "seed $seed: invented");
	is($two_ids,      0, "seed $seed: under two ids");
	is($out_of_order, 0, "seed $seed: out of order");
	return;
}

run($_) for @seeds;
done_testing();

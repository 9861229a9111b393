# The promise: whatever the worker evaluates, and however much of it there is, it
# ends when it is asked to: pg_terminate_backend, ALTER DATABASE ... RENAME, a fast
# shutdown and DROP DATABASE succeed while thousands of events are being judged or
# transformed, each of them within the limit that filters and transforms have. What
# was broken off is evaluated again.
#
# How long each took is printed and not judged: that the command succeeds while the
# worker is at work is the proof. That it is, is looked at before.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $events = 1_500;    # for each command

my $t    = WebhookTest->new(conf => "autovacuum = off\nmax_worker_processes = 20\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$t->sql('CREATE ROLE bob');

my %numbers  = map { $_ => "(SELECT json_agg(g) FROM generate_series(1, $_) g)" } 1_000;
my $busy     = q(pg_stat_activity WHERE datname = current_database() AND backend_type = 'webhook transform' AND state = 'active');
my $function = <<'SQL';
CREATE FUNCTION public.slowly(e webhook.outbox) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + interval '40 ms';
BEGIN
	WHILE clock_timestamp() < until LOOP
	END LOOP;
	RETURN NULL;
END
$$;
ALTER FUNCTION public.slowly OWNER TO bob;
SQL
my @cases = (
	# what is evaluated, JSON of each event, columns of the subscription
	[ 'a filter in the worker', $numbers{1_000}, filter => q('$.**.**.**.** == "zz"') ],
	[ 'a filter in a child of the worker', "json_build_object('j', $numbers{1_000}, 'k', (SELECT json_agg(-g) FROM generate_series(1, 1000) g))",
		filter => q('$.result.j.j[*] == $.result.j.k[*]') ],
	[ 'a transform', q('1'::json), transform => q('public.slowly') ]);

# Does it work, now? A filter shows as a worker that runs, or as a child that it has forked.
sub is_at_work
{
	my ($what) = @_;
	return $t->sql("SELECT count(*) FROM $busy") > 0 if $what eq 'a transform';
	my $worker = $t->worker_pid;
	return 0 if $worker eq '' || !-e "/proc/$worker";
	return (eval { join '', map { slurp_file($_) } glob "/proc/$worker/task/*/children" } // '') =~ /\d/ if $what =~ /child/;
	return $t->sql("SELECT query = 'webhook: reading' AND state = 'active' FROM pg_stat_activity WHERE pid = $worker") eq 't'
	  && (eval { slurp_file("/proc/$worker/stat") } // '') =~ /^\S+ \(.*\) R/;
}

my ($json, $path, $given);

# Of what is judged, the last event is for somebody else, and has not arrived; of what is transformed, not each has an outcome.
sub is_on_its_way
{
	my ($what) = @_;
	return $t->sql("SELECT count(*) FROM webhook.attempt WHERE subscription = 'slow'") < $given * $events if $what eq 'a transform';
	return $r->count($path) < $given;
}

# Give it work, and a command while it does that; the command must succeed.
sub ends
{
	my ($what, $how, $command) = @_;
	$t->sql("WITH j AS MATERIALIZED (SELECT $json AS j) INSERT INTO item (j) SELECT j FROM j, generate_series(1, $events)");
	$t->sql('INSERT INTO last DEFAULT VALUES');
	$given++;
	poll_until("$what: at work before $how", sub { is_at_work($what) });
	ok(is_on_its_way($what), "$what: most of it is still to come before $how");
	my $start = time;
	ok($command->(), "$what: $how");
	note sprintf '%s: %s took %.2f s', $what, $how, time - $start;
	return;
}

sub command
{
	my ($sql) = @_;
	return sub {
		my ($rc, undef, $err) = $node->psql('postgres', $sql);
		diag($err) if $rc != 0;
		return $rc == 0;
	};
}

for my $case (@cases)
{
	my ($what, $of, %columns) = @$case;
	$json  = $of;
	$path  = '/ok/' . $what =~ tr/ /-/r;
	$given = 0;
	local $WebhookTest::DB = 'theirs';
	$node->safe_psql('postgres', 'CREATE DATABASE theirs');
	$t->sql($_) for 'CREATE EXTENSION webhook', 'CREATE TABLE item (id serial PRIMARY KEY, j json)', 'CREATE TABLE last (id serial PRIMARY KEY)', $function;
	$t->watch($_) for 'item', 'last';
	$t->subscribe('slow', $r->url('/ok/slow'), events => "'{item.*}'", ordering => "'none'", %columns);
	$t->subscribe('last', $r->url($path), events => "'{last.*}'");
	my $worker = $t->wait_for_worker;

	ends($what, 'pg_terminate_backend',
		sub { my $told = $t->sql("SELECT pg_terminate_backend($worker)") eq 't'; poll_until('it is gone', sub { !-e "/proc/$worker" }); return $told });
	isnt($t->wait_for_worker($worker), $worker, "$what: another one goes on");
	ends($what, 'a fast shutdown', sub { $node->stop('fast'); return 1 });
	$node->start;
	$t->wait_for_worker;
	ends($what, 'ALTER DATABASE ... RENAME', command('ALTER DATABASE theirs RENAME TO others'));
	$WebhookTest::DB = 'others';
	$t->wait_for_worker;
	is($t->sql("SELECT state FROM webhook.subscription WHERE name = 'slow'"), 'active', "$what: each event keeps to the limit");
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, "$what: no event is blamed for what was broken off");
	ends($what, 'DROP DATABASE', command('DROP DATABASE others'));
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'others'"), 0, "$what: nobody is left in it");
}
unlike(slurp_file($node->logfile), qr/ended the worker/, 'whoever asks it to end, no event has ended it');
unlike(slurp_file($node->logfile), qr/terminating any other active server processes|PANIC|was terminated by signal/, 'no process has crashed in all of this');

$t->stop;
done_testing();

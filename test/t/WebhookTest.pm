# What the TAP tests share: a cluster with webhook preloaded, HTTPS receivers
# with certificates of a CA of their own, and waiting for facts.
#
#   my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\n");
#   my $r = $t->receiver;
#   $t->sql('CREATE EXTENSION webhook');
#   $t->subscribe('crm', $r->url('/ok/crm'));
#   ...
#   $r->wait_for_requests(5);
#   $t->wait_until_settled;
#   is($t->sql(...), ...);
#   $t->stop;
#
# Nothing here waits for time: poll_until looks for a fact until a deadline,
# and dies with how things stood when that has passed. Receivers are ended by
# the pid we started; each holds the other end of a pipe as its standard input,
# so it also ends when this process does, however that comes about.
package WebhookTest;

use strict;
use warnings;

use Exporter 'import';
use File::Spec;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(poll_until);
our $DB = 'postgres';

# A Standard Webhooks secret that tests may give to subscriptions and receivers.
our $SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

my $receiver_dir = "$FindBin::RealBin/../receiver";
my @receivers;

# poll_until WHAT, CODE [, SECONDS]: until the code returns true, which is returned.
sub poll_until
{
	my ($what, $code, $seconds) = @_;
	$seconds //= $PostgreSQL::Test::Utils::timeout_default;
	my $deadline = time + $seconds;
	for (;;)
	{
		my $answer = $code->();
		return $answer if $answer;
		last if time > $deadline;
		Time::HiRes::usleep(20_000);    # part of the scenario: between two looks at the facts
	}
	die "not within $seconds s: $what\n";
}

# new(conf => LINES, preload => LIBRARIES, name => NAME, install_path => DIRECTORY): a running cluster.
sub new
{
	my ($class, %args) = @_;
	my $self = bless {}, $class;

	$self->{certs} = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir()) . "/certs";
	system_or_bail('bash', "$receiver_dir/certs.sh", $self->{certs});

	my @install = $args{install_path} ? (install_path => $args{install_path}) : ();
	my $node    = PostgreSQL::Test::Cluster->new($args{name} // 'main', @install);
	$node->init(extra => [ '-E', 'UTF8', '--no-locale' ]);
	my $preload = $args{preload} // 'webhook';
	$node->append_conf('postgresql.conf', <<CONF . ($args{conf} // ''));
shared_preload_libraries = '$preload'
restart_after_crash = on
log_statement = none
max_connections = 50
max_prepared_transactions = 20
webhook.allowed_networks = '127.0.0.0/8, ::1/128'
webhook.ca_file = '$self->{certs}/ca.pem'
CONF
	$node->start;
	$self->{node} = $node;
	$self->sql('CREATE EXTENSION webhook');
	return $self;
}

sub node { return $_[0]->{node} }

# The server's major version, and libcurl's: 7088 is 7.88. What they judge otherwise than others is asserted by version.
sub major { return int($_[0]->sql('SHOW server_version_num') / 10000) }

sub libcurl
{
	my ($major, $minor) = `curl-config --version` =~ /^libcurl (\d+)\.(\d+)/ or die 'curl-config does not tell the version of libcurl';
	return 1000 * $major + $minor;
}

# Output of a statement, as psql -At gives it. Dies when it fails.
sub sql
{
	my ($self, $sql, %params) = @_;
	return $self->{node}->safe_psql($DB, $sql, %params);
}

# Its output, or undef where the server does not answer or the statement fails.
sub try_sql
{
	my ($self, $sql) = @_;
	# a psql that ends before it has read the statement breaks our pipe to it, of which IPC::Run dies
	my ($rc, $out) = eval { $self->{node}->psql($DB, $sql) };
	return defined $rc && $rc == 0 ? $out : undef;
}

sub poll_sql
{
	my ($self, $what, $sql, $expected, $seconds) = @_;
	$expected //= 't';
	my $last = '';
	my $ok   = eval {
		poll_until($what, sub { ($last = $self->sql($sql)) eq $expected }, $seconds);
	};
	return 1 if $ok;
	$self->show_state;
	die "$@last answer: $last\n";
}

sub watch
{
	my ($self, $table, %args) = @_;
	my $more = join '', map { ", $_ => $args{$_}" } sort keys %args;
	$self->sql("SELECT webhook.watch('$table'$more)");
	return;
}

# subscribe(NAME, URL, column => SQL expression...): a row of webhook.subscription, with our secret.
sub subscribe
{
	my ($self, $name, $url, %columns) = @_;
	my $names  = join '', map { ", $_" } sort keys %columns;
	my $values = join '', map { ", $columns{$_}" } sort keys %columns;
	$self->sql(<<SQL);
BEGIN;
INSERT INTO webhook.subscription (name, url$names) VALUES ('$name', '$url'$values);
INSERT INTO webhook.secret (subscription_id, secret) SELECT id, '$SECRET' FROM webhook.subscription WHERE name = '$name';
COMMIT;
SQL
	return;
}

sub pending
{
	my ($self, $subscription) = @_;
	return $self->sql(<<SQL);
SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = '$subscription'
SQL
}

# Settled: all that was committed has been read, and nothing is left of it that
# is not delivered or dead. The newest settled checkpoint says it exactly.
my $settled = <<'SQL';
SELECT NOT EXISTS (SELECT FROM webhook.pending)
	AND (SELECT coalesce(sum(queued + in_flight), 0) = 0 FROM webhook.status)
	AND NOT EXISTS (
		SELECT FROM webhook.outbox o
		LEFT JOIN (SELECT hi, snapshot FROM webhook.checkpoint WHERE kind = 'settled' ORDER BY id DESC LIMIT 1) c ON true
		WHERE c.hi IS NULL OR o.event_number > c.hi OR NOT pg_visible_in_snapshot(o.xid, c.snapshot))
SQL

sub wait_until_settled
{
	my ($self, $seconds) = @_;
	$self->poll_sql('all that was committed is delivered or dead, and settled', $settled, 't', $seconds);
	return;
}

# All that was committed so far has been read by the worker (it may still be on its way).
sub wait_until_read
{
	my ($self) = @_;
	$self->poll_sql('all that was committed is read', <<'SQL');
SELECT NOT EXISTS (SELECT FROM webhook.outbox o WHERE NOT EXISTS (
	SELECT FROM webhook.checkpoint c WHERE o.event_number <= c.hi AND pg_visible_in_snapshot(o.xid, c.snapshot)))
SQL
	return;
}

sub worker_pid
{
	my ($self) = @_;
	return $self->sql("SELECT pid FROM webhook_internal.worker_status() WHERE state = 'running'");
}

# Wait for a running worker (another one than PID, if given); returns its pid.
sub wait_for_worker
{
	my ($self, $not, $seconds) = @_;
	my $pid = '';
	poll_until(
		'a worker runs',
		sub {
			$pid = $self->try_sql("SELECT pid FROM webhook_internal.worker_status() WHERE state = 'running'") // '';
			return $pid ne '' && $pid ne ($not // '');
		},
		$seconds);
	return $pid;
}

# sessions(SCRIPT...): start a psql for each script (SQL text), all at once.
# Returns handles for finish_sessions.
sub sessions
{
	my ($self, @scripts) = @_;
	my @handles;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	for my $i (0 .. $#scripts)
	{
		append_to_file("$dir/$i.sql", $scripts[$i]);
		append_to_file("$dir/$i.log", '');
		push @handles,
		  {
			log => "$dir/$i.log",
			run => IPC::Run::start(
				[
					'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $self->{node}->connstr($DB), '-f', "$dir/$i.sql"
				],
				'<', \undef, '>', "$dir/$i.log", '2>&1')
		  };
	}
	return @handles;
}

# Wait for them to end. Returns the output of those that failed; that of each
# is kept in its handle.
sub finish_sessions
{
	my ($self, @handles) = @_;
	my @failed;
	for my $h (@handles)
	{
		my $ok = $h->{run}->finish;
		$h->{output} = slurp_file($h->{log});
		push @failed, $h->{output} unless $ok;
	}
	return @failed;
}

# receiver(cert => NAME, args => [...]): a running receiver.
sub receiver
{
	my ($self, %args) = @_;
	my $r = WebhookTest::Receiver->start($self->{certs}, %args);
	push @receivers, $r;
	return $r;
}

# What a receiver recorded, as table NAME, for judging in SQL: n, at, beside and
# beside_entity as recorded; id, the header; event_number, the number in it; body;
# status; verified.
sub load_requests
{
	my ($self, $receiver, $name) = @_;
	my $file = "$receiver->{dir}/requests.jsonl";
	$self->sql(<<SQL);
SET client_min_messages = warning;
DROP TABLE IF EXISTS $name;
CREATE TEMP TABLE lines (line jsonb);
COPY lines FROM '$file' WITH (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02');
CREATE TABLE $name AS
	SELECT (line ->> 'n')::bigint AS n, (line ->> 'at')::float8 AS at, line ->> 'path' AS path, (line ->> 'conn')::int AS conn,
		line -> 'headers' ->> 'webhook-id' AS id,
		substring(line -> 'headers' ->> 'webhook-id' FROM '^evt_[0-9a-f]{8}_([0-9]+)\$')::bigint AS event_number,
		line ->> 'body' AS body, (line ->> 'status')::int AS status, (line ->> 'verified')::boolean AS verified,
		(line ->> 'beside')::int AS beside, (line ->> 'beside_entity')::int AS beside_entity
	FROM lines;
ANALYZE $name;
SQL
	return;
}

# For whoever reads a failure.
sub show_state
{
	my ($self) = @_;
	for my $what (
		'SELECT * FROM webhook.status',
		'SELECT subscription_id, state, count(*), min(next_attempt_at), max(attempts), min(event_number), max(event_number), min(last_error) FROM webhook.pending GROUP BY 1, 2',
		'SELECT * FROM webhook.checkpoint ORDER BY id DESC LIMIT 3',
		'SELECT count(*) AS events, max(event_number) FROM webhook.outbox')
	{
		my ($rc, $out) = $self->{node}->psql($DB, $what, extra_params => [ '-x', '-A' ]);
		diag("$what\n" . ($out // ''));
	}
	return;
}

sub stop
{
	my ($self) = @_;
	$_->stop for @receivers;
	$self->{node}->stop('fast');
	return;
}

END
{
	# leave the exit status of the test as it is
	local $?;
	$_->stop for @receivers;
}

# One receiver: test/receiver/receiver.mjs, whose first comment tells how it answers.
package WebhookTest::Receiver;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Utils;

sub start
{
	my ($class, $certs, %args) = @_;
	my $cert = $args{cert} // 'server';
	my $dir  = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
	my $self = bless { dir => $dir }, $class;

	# The write end of its standard input is ours alone: perl opens it close-on-exec.
	$self->{pid} = open(
		$self->{alive}, '|-', 'sh', '-c', 'exec "$@" >"$0" 2>&1', "$dir/log",
		'node', "$receiver_dir/receiver.mjs", '--dir', $dir, '--ready-file', "$dir/ready",
		'--cert', "$certs/$cert.pem", '--key', "$certs/$cert.key", @{ $args{args} // [] })
	  or die "could not start a receiver: $!";
	eval { WebhookTest::poll_until('the receiver listens', sub { -s "$dir/ready" }); 1 }
	  or die $@ . slurp_file("$dir/log");
	my $ready = JSON::PP::decode_json(slurp_file("$dir/ready"));
	$self->{port}      = $ready->{port};
	$self->{http_port} = $ready->{http_port};
	$self->{http}      = HTTP::Tiny->new(timeout => $PostgreSQL::Test::Utils::timeout_default);
	return $self;
}

sub url { return "https://localhost:$_[0]->{port}$_[1]" }

sub control
{
	my ($self, $method, $what, $body) = @_;
	my $response = $self->{http}->request($method, "http://127.0.0.1:$self->{http_port}/_control/$what",
		defined $body ? { content => JSON::PP::encode_json($body) } : {});
	die "receiver: $response->{status} $response->{content}" unless $response->{success};
	return $response->{content};
}

# From now on PATH and all below it behave as BEHAVE; undef: as before.
sub mode
{
	my ($self, $path, $behave) = @_;
	$self->control('POST', 'mode', { path => $path, behave => $behave });
	return;
}

# Answer the first N requests that are held (/hold) at PATH and below it.
sub release
{
	my ($self, $path, $n) = @_;
	$self->control('POST', 'release', { path => $path, n => 0 + $n });
	return;
}

# Requests under way at PATH and below it: { now, most }; with RESET, the most is counted again from now on.
sub concurrent
{
	my ($self, $path, $reset) = @_;
	return JSON::PP::decode_json($self->control('GET', "concurrent?path=$path" . ($reset ? '&reset=1' : '')));
}

# How many requests have arrived, of all or of those to a path and what is below it.
sub count
{
	my ($self, $path) = @_;
	return JSON::PP::decode_json($self->control('GET', 'count' . (defined $path ? "?path=$path" : '')))->{count};
}

# What was counted at a path below /count: (requests, answered with 200, different ids of those)
sub counted
{
	my ($self, $path) = @_;
	my $counted = JSON::PP::decode_json($self->control('GET', "counted?path=$path"));
	return @$counted{qw(requests ok distinct)};
}

# The requests that have arrived, decoded: all, or those to a path and what is
# below it. Each is fetched and decoded once. (For judging thousands: load_requests.)
sub requests
{
	my ($self, $path) = @_;
	my $all = $self->{requests} //= [];
	push @$all, map { JSON::PP::decode_json($_) } split /\n/, $self->control('GET', 'requests?since=' . @$all);
	return defined $path ? grep { $_->{path} =~ m{^\Q$path\E(/|$)} } @$all : @$all;
}

sub wait_for_requests
{
	my ($self, $n, $path) = @_;
	WebhookTest::poll_until("$n requests have arrived" . (defined $path ? " at $path" : ''),
		sub { $self->count($path) >= $n });
	return;
}

sub stop
{
	my ($self) = @_;
	return unless $self->{alive};
	kill 'TERM', $self->{pid};
	close $self->{alive};    # waits for it
	delete $self->{alive};
	return;
}

1;

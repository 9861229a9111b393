# What the tests of the console share: a server that asks for passwords, people with roles,
# the program, and a client of a few lines that sends exactly what it is told.
#
#   my $c = WebhookConsole->new;          # has a WebhookTest in $c->t
#   my $p = $c->person('op');             # logs in; dies if that fails
#   my ($status, $json, $headers) = $p->ask('GET', '/api/subscriptions');
#   $c->stop;
#
# The program is the one in the environment's PGWEBHOOK, which scripts/test.sh builds.
package WebhookConsole;

use strict;
use warnings;

use File::Spec;
use FindBin;
use lib "$FindBin::RealBin/../t";
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

our $PASSWORD = 'correct horse';
my @programs;

# Roles of docs/security.md, by the name of the person who has it.
my $ROLES = <<SQL;
CREATE ROLE op LOGIN PASSWORD '$PASSWORD';
SELECT webhook.grant_operator('op');
CREATE ROLE viewer LOGIN PASSWORD '$PASSWORD';
SELECT webhook.grant_viewer('viewer');
CREATE ROLE watcher LOGIN PASSWORD '$PASSWORD';
SELECT webhook.grant_watcher('watcher');
CREATE ROLE nobody LOGIN PASSWORD '$PASSWORD';
CREATE ROLE owner LOGIN PASSWORD '$PASSWORD';
CREATE ROLE boss SUPERUSER LOGIN PASSWORD '$PASSWORD';
CREATE ROLE service LOGIN NOINHERIT PASSWORD '$PASSWORD' IN ROLE op, viewer, boss;
SELECT webhook.grant_service('service');
CREATE TABLE users (id int PRIMARY KEY, plan text);
ALTER TABLE users OWNER TO watcher;
GRANT SELECT ON users TO op;
SELECT FROM webhook.watch('users', 'user');
SQL

sub new
{
	my ($class, %args) = @_;
	my $self = bless {}, $class;
	$self->{t} = WebhookTest->new(conf => "webhook.poll_interval = '200ms'\n");
	$self->{t}->sql($ROLES);
	my $node = $self->{t}->node;
	my $me   = getpwuid($<);
	open my $hba, '>', $node->data_dir . '/pg_hba.conf' or die $!;
	print $hba "local all $me trust\n", $args{hba} // '', "local all all scram-sha-256\n";
	close $hba;
	$node->reload;
	$self->{dir} = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
	append_to_file("$self->{dir}/service", "$PASSWORD\n");
	chmod 0600, "$self->{dir}/service";
	$self->start(@{ $args{options} // [] });
	return $self;
}

sub t { return $_[0]->{t} }

# The options of this server, for a program that is started.
sub database_options
{
	my ($self) = @_;
	my $node = $self->{t}->node;
	return ('--database=' . $WebhookTest::DB, '--db-host=' . $node->host, '--db-port=' . $node->port);
}

sub start
{
	my ($self, @options) = @_;
	my $out = "$self->{dir}/out";
	unlink $out;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>',  $out              or die $!;
		open STDERR, '>>', "$self->{dir}/log" or die $!;
		open STDIN,  '<',  '/dev/null'        or die $!;
		exec $ENV{PGWEBHOOK}, 'serve', '--listen=127.0.0.1:0', $self->database_options, '--service-role=service',
		  "--service-password-file=$self->{dir}/service", @options
		  or die "exec $ENV{PGWEBHOOK}: $!";
	}
	push @programs, $pid;
	$self->{pid} = $pid;
	my $line = poll_until('the program listens', sub { -s $out && slurp_file($out) =~ /^(.*)\n/ ? $1 : undef });
	($self->{port}) = $line =~ /:(\d+)$/ or die "it said: $line";
	$self->{host} = "127.0.0.1:$self->{port}";
	# the service's connections: until they are there, tokens are answered with 503
	my $standby = ($self->{t}->try_sql('SELECT pg_is_in_recovery()') // '') eq 't';
	poll_until(
		'the service is connected',
		sub {
			my ($status, $json) = $self->ask('GET', '/readyz');
			return $status == 200 || ($standby && ref $json && $json->{worker});
		}) unless grep { /^--tls/ } @options;
}

# Another program, for another server with the same roles.
sub of
{
	my ($self, $node, @options) = @_;
	my $other = bless { %$self, t => bless({ node => $node }, 'WebhookTest'), dir => "$self->{dir}/" . $node->name }, ref $self;
	mkdir $other->{dir} or die "$other->{dir}: $!";
	link "$self->{dir}/service", "$other->{dir}/service" or die "$!";
	$other->start(@options);
	return $other;
}

# Its log on standard error.
sub log { return slurp_file("$_[0]->{dir}/log") }

# End it as people do; returns its exit status.
sub end
{
	my ($self) = @_;
	kill TERM => $self->{pid};
	waitpid $self->{pid}, 0;
	my $status = $?;
	@programs = grep { $_ != $self->{pid} } @programs;
	return $status;
}

sub stop
{
	my ($self) = @_;
	is($self->end, 0, 'the program ends when it is told to, with nothing left behind');
	unlike($self->log, qr/ERROR: AddressSanitizer|runtime error|ERROR: LeakSanitizer/, '... and no sanitizer spoke');
	$self->{t}->stop;
}

END { my $status = $?; kill KILL => @programs if @programs; $? = $status }

# A connection.
sub connect
{
	my ($self) = @_;
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 60) // die "connect: $!";
}

# Read one answer: status, headers (names in lower case; a list for each), body. Empty: it was closed without one.
sub read_answer
{
	my ($socket) = @_;
	local $/ = "\r\n";
	my $first = <$socket>;
	return unless defined $first && $first =~ m{^HTTP/1\.1 (\d+)};
	my ($status, %headers) = ($1);
	while (defined(my $line = <$socket>))
	{
		chomp $line;
		last if $line eq '';
		my ($name, $value) = $line =~ /^([^:]+): *(.*)$/;
		push @{ $headers{ lc $name } }, $value;
	}
	my $body = '';
	my $left = $headers{'content-length'}[0] // 0;
	while ($left > 0)
	{
		my $n = read $socket, my ($part), $left;
		last unless $n;
		$body .= $part;
		$left -= $n;
	}
	return ($status, \%headers, $body);
}

# Send bytes as they are, on a connection of their own, and read the answer.
sub raw
{
	my ($self, $bytes) = @_;
	my $socket = $self->connect;
	$socket->print($bytes);
	return read_answer($socket);
}

# A request; body: a reference becomes JSON. Returns status, what the JSON says (or the text), headers.
sub ask
{
	my ($self, $method, $path, $body, %headers) = @_;
	my %send = (Host => $self->{host}, Connection => 'close');
	if ($method ne 'GET')
	{
		$body = JSON::PP->new->utf8->encode($body) if ref $body;
		$body //= '';
		%send = (%send, 'Content-Type' => 'application/json', Origin => "http://$self->{host}", 'Content-Length' => length $body);
	}
	%send = (%send, %headers);
	my $bytes = join('', "$method $path HTTP/1.1\r\n", map { defined $send{$_} ? "$_: $send{$_}\r\n" : () } sort keys %send) . "\r\n" . ($body // '');
	my ($status, $got, $text) = $self->raw($bytes);
	return unless defined $status;
	return ($status, eval { JSON::PP->new->utf8->decode($text) } // $text, $got);
}

# Somebody who has logged in.
sub person
{
	my ($self, $name, %args) = @_;
	my ($status, $json, $headers) =
	  $self->ask('POST', '/api/session', { user => $name, password => $PASSWORD, database => $args{database} // $WebhookTest::DB });
	die "$name could not log in: " . JSON::PP->new->encode($json) if $status != 200;
	my ($cookie) = $headers->{'set-cookie'}[0] =~ /^([^;]+)/;
	return bless { console => $self, cookie => $cookie, csrf => $json->{csrf}, session => $json }, 'WebhookConsole::Person';
}

package WebhookConsole::Person;

sub ask
{
	my ($self, $method, $path, $body, %headers) = @_;
	%headers = (Cookie => $self->{cookie}, $method eq 'GET' ? () : ('Webhook-CSRF' => $self->{csrf}), %headers);
	return $self->{console}->ask($method, $path, $body, %headers);
}

1;

# The promise: a client that is slow, large, malformed or many is cut off or refused, and people who
# behave are answered meanwhile.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookConsole;
use WebhookTest;

my $c    = WebhookConsole->new;
my $op   = $c->person('op');
my $host = $c->{host};
my $well = sub { ($op->ask('GET', '/api/worker'))[0] };

# sizes
sub login_of { my ($length) = @_; return '{"user": "' . 'x' x ($length - 12) . '"}' }
is(($c->ask('POST', '/api/session', login_of(65536)))[0], 422, 'a body of 64 kB is read');
is(($c->ask('POST', '/api/session', login_of(65537)))[0], 413, '... and a byte more is not');
my ($status) = $c->raw("POST /api/session HTTP/1.1\r\nHost: $host\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n");
is($status, 413, 'a length that is announced is believed before anything is read');
($status) = $c->raw("POST /api/session HTTP/1.1\r\nHost: $host\r\nOrigin: http://$host\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
	  . ("8000\r\n" . 'x' x 32768 . "\r\n") x 3 . "0\r\n\r\n");
is($status, 413, 'chunks are counted');
($status) = $c->raw("POST /api/session HTTP/1.1\r\nHost: $host\r\nContent-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n");
is($status, 400, 'two lengths are none');
is(($c->ask('GET', '/healthz', undef, 'X-Pad' => 'x' x 7000))[0], 200, 'headers of 7 kB are read');
is(($c->ask('GET', '/healthz', undef, 'X-Pad' => 'x' x 9000))[0], 431, '... and of 9 kB are not');
is(($c->ask('GET', '/healthz', undef, map { ("X-$_" => 'x' x 90) } 1 .. 100))[0], 431, '... nor many small ones');
like(join('', map { $_ // 'closed' } ($c->raw('GET /' . 'x' x 40000 . " HTTP/1.1\r\nHost: $host\r\n\r\n"))[0]), qr/^(414|431|closed)$/, 'a path of 40 kB');
is(($c->ask('GET', '/api/log?' . join('&', map { "a$_=1" } 1 .. 40)))[0], 400, 'forty parameters');

# what is no HTTP
for my $bytes ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . "\0" x 200, "GET\r\n\r\n", "\r\n" x 100, "GET / HTTP/9.9\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost: $host\r\nBad Header\r\n\r\n",
	"GET /healthz HTTP/1.1\r\nHost: $host\r\n folded\r\n\r\n", "POST /api/session HTTP/1.1\r\nHost: $host\r\nContent-Length: -1\r\n\r\n",
	"POST /api/session HTTP/1.1\r\nHost: $host\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
{
	my $socket = $c->connect;
	$socket->print($bytes);
	shutdown $socket, 1;
	my ($code) = WebhookConsole::read_answer($socket);
	unlike($code // 'closed', qr/^50[0-4]/, 'no HTTP: ' . substr($bytes, 0, 30) =~ s/[^ -~]/./gr);
	is($well->(), 200, '... and others are answered');
}

# one request in pieces of a byte, and two in one piece
my $socket = $c->connect;
$socket->autoflush(1);
$socket->print($_) for split //, "GET /healthz HTTP/1.1\r\nHost: $host\r\n\r\n";
is((WebhookConsole::read_answer($socket))[0], 200, 'byte by byte');
$socket->print("GET /healthz HTTP/1.1\r\nHost: $host\r\n\r\nGET /api/login HTTP/1.1\r\nHost: $host\r\n\r\n");
is((WebhookConsole::read_answer($socket))[0], 200, 'two at once: the first');
is((WebhookConsole::read_answer($socket))[0], 200, '... and the second');
close $socket;

# more connections than there may be, all silent: those who are there are served, and silence ends
my @silent = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $c->{port}) } 1 .. 300;
$_ and $_->print("GET /healthz HTTP/1.1\r\nX: ") for @silent;
poll_until('a place is free again, although none of them has hung up',
	sub { $silent[$_] && $silent[$_]->print('x') for 0 .. 20; (eval { $well->() } // 0) == 200 });
pass('slow clients are cut off, also those that send a byte now and then');
close $_ for grep { defined } @silent;

# people who go away in the middle of their request
$c->t->sql("SELECT FROM webhook.subscribe('s', 'https://127.0.0.1:1/')");
for (1 .. 50)
{
	my $gone = $c->connect;
	$gone->print("GET /api/subscriptions HTTP/1.1\r\nHost: $host\r\nCookie: $op->{cookie}\r\n\r\n");
	close $gone;
}
poll_until('answers that nobody takes are dropped', sub { $well->() == 200 });
pass('answers that nobody takes are dropped');

# more than one session's share
my @many = map { my $s = $c->connect; $s->print("GET /api/subscriptions HTTP/1.1\r\nHost: $host\r\nCookie: $op->{cookie}\r\nConnection: close\r\n\r\n"); $s } 1 .. 60;
my %codes;
$codes{ (WebhookConsole::read_answer($_))[0] }++ for @many;
is(join(' ', grep { !/^(200|429)$/ } keys %codes), '', 'what one session asks at once is answered, or refused with 429');
is(($c->person('viewer')->ask('GET', '/api/worker'))[0], 200, 'others log in meanwhile');

$c->stop;
done_testing();

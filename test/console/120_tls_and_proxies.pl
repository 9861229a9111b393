# The promise: with a certificate the program speaks https and nothing else; behind a proxy it believes
# the proxy about who asks, and asks that pages come over https.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookConsole;
use WebhookTest;

my $c     = WebhookConsole->new(options => ['--behind-proxy']);
my $certs = $c->t->{certs};
my $login = { user => 'op', password => $WebhookConsole::PASSWORD };

# behind a proxy
is(($c->ask('POST', '/api/session', $login))[0], 403, 'a page that came over http is not one of ours');
my ($status, undef, $headers) = $c->ask('POST', '/api/session', $login, Origin => "https://$c->{host}");
is($status, 200, '... over https it is');
like($headers->{'strict-transport-security'}[0] // '', qr/max-age/, '... and browsers are told to keep to it');
sub guess { my ($address) = @_; return ($c->ask('POST', '/api/session', { %$login, password => 'x' }, Origin => "https://$c->{host}", 'X-Forwarded-For' => $address))[0] }
my @codes = map { guess("forged$_, 192.0.2.1") } 1 .. 7;
is($codes[-1], 429, 'guesses are counted by the address that the proxy saw, whatever stands before it');
is(guess('192.0.2.1, 192.0.2.2'), 401, '... and another address has guesses of its own');
is($c->end, 0, 'it ends');

# with a certificate
my $key = "$c->{dir}/key";
append_to_file($key, slurp_file("$certs/server.key"));
chmod 0600, $key;
$c->start("--tls-cert=$certs/server.pem", "--tls-key=$key");
my $answer = '';
my $asked  = "GET /healthz HTTP/1.1\r\nHost: $c->{host}\r\nConnection: close\r\n\r\n";
IPC::Run::run([ 'openssl', 's_client', '-quiet', '-verify_return_error', '-CAfile', "$certs/ca.pem", '-connect', $c->{host} ], '<', \$asked, '>', \$answer, '2>', \my $err, IPC::Run::timeout(60));
like($answer, qr{^HTTP/1\.1 200 }, 'https is answered') or diag($err);
like($answer, qr/^Strict-Transport-Security: max-age/mi, '... and is to be kept to');
my ($plain) = $c->raw($asked);
isnt($plain // 'closed', 200, 'http is not');
for my $version ('-tls1', '-tls1_1')
{
	my $old = '';
	IPC::Run::run([ 'openssl', 's_client', '-quiet', $version, '-cipher', 'ALL:@SECLEVEL=0', '-connect', $c->{host} ], '<', \$asked, '>', \$old, '2>', \$err, IPC::Run::timeout(60));
	unlike($old, qr/200/, "nor is $version");
}
$c->stop;
done_testing();

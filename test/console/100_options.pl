# The promise: pgwebhook says what is wrong with its options, listens where nobody else can hear
# passwords unless told otherwise, and is not run by root.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookConsole;

my $program = $ENV{PGWEBHOOK} or die 'PGWEBHOOK is not set';
my $dir     = PostgreSQL::Test::Utils::tempdir();

# What it writes, and its exit status. It must end by itself.
sub run
{
	my ($out, $err) = ('', '');
	IPC::Run::run([ $program, @_ ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($out, $err, $? >> 8);
}

my ($help, undef, $status) = run('--help');
is($status, 0, '--help is no error');
my @named = $help =~ /^  (--[a-z-]+)/mg;
cmp_ok(@named, '>', 10, 'and lists options');
like(slurp_file("$FindBin::RealBin/../../console/main.c"), qr/\{"\Q@{[substr $_, 2]}\E", (required|no)_argument/, "$_ is there")
  for grep { !/^--(help|version)/ } @named;
is((run('--version'))[0], "pgwebhook 1.1\n", '--version');

append_to_file("$dir/open", "password\n");
chmod 0644, "$dir/open";
append_to_file("$dir/key", "no key\n");
chmod 0600, "$dir/key";
my @serve = ('serve', '--database=postgres');
for (
	[ [],                                              qr/usage/,                                   'no command' ],
	[ ['serve'],                                       qr/at least one database/,                   'no database' ],
	[ [ @serve, '--nonsense' ],                        qr/--help lists/,                            'an unknown option' ],
	[ [ @serve, 'more' ],                              qr/unexpected argument "more"/,              'an argument too many' ],
	[ [ @serve, '--listen=8430' ],                     qr/ADDRESS:PORT/,                            'a port without an address' ],
	[ [ @serve, '--listen=somewhere:8430' ],           qr/numeric address/,                         'a name to listen on' ],
	[ [ @serve, '--listen=0.0.0.0:0' ],                qr/--tls-cert or --behind-proxy is required/, 'an address that others reach' ],
	[ [ @serve, '--listen=[::]:0' ],                   qr/--tls-cert or --behind-proxy is required/, 'the same with IPv6' ],
	[ [ @serve, "--tls-cert=$dir/key" ],               qr/belong together/,                         'a certificate without a key' ],
	[ [ @serve, "--tls-cert=$dir/key", "--tls-key=$dir/open" ], qr/can be read by others/,          'a key that others can read' ],
	[ [ @serve, '--service-role=x' ],                  qr/belong together/,                         'a role without a password' ],
	[ [ @serve, '--service-role=x', "--service-password-file=$dir/none" ], qr/cannot read/,         'a file that is not there' ],
	[ [ @serve, '--service-role=x', "--service-password-file=$dir/open" ], qr/can be read by others/, 'a password that others can read' ],
  )
{
	my (undef, $err, $code) = run(@{ $_->[0] });
	is($code, 2, "refused: $_->[2]");
	like($err, qr/^pgwebhook: .*$_->[1]/m, '... with the reason');
}

my %seen;
for (run('routes'))
{
	$seen{"$1 $2"}++ while /^\{"method": "(\w+)", "path": "([^"]+)"/mg;
}
cmp_ok(keys %seen, '>', 40, 'pgwebhook routes lists them');
is_deeply([ grep { $seen{$_} > 1 } keys %seen ], [], 'each once');
my $page = slurp_file("$FindBin::RealBin/../../docs/console.md");
my %told;
while ($page =~ /^\| ([A-Z]+) \| ([^|]+) \|/mg)
{
	my ($method, $paths) = ($1, $2);
	$told{"$method $_"} = 1 for split /, */, $paths =~ s/ +$//r;
}
is_deeply([ sort keys %told ], [ sort keys %seen ], 'docs/console.md has a line for each of them, and no other');
done_testing();

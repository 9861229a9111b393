# The promise: memcheck finds nothing in the library, neither in the worker nor
# in backends, while rows are captured and delivered, fail and are retried,
# credentials are saved and used, the configuration changes and the worker ends.
#
# The server's own programs are not built for memcheck; what it says of them is
# suppressed (VALGRIND_SUPPRESSIONS), or else told and not counted. What counts
# is an error with a source file of ours in its stack.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\njit = off\n");
my $r = $t->receiver(args => ['--no-http2']);
$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int, note text, at timestamptz DEFAULT now())');
$t->watch('item', keep_previous => 'true');
$t->subscribe('well', $r->url('/ok/well'));
$t->subscribe('ill', $r->url('/fail-first/1/ill'), retry_schedule => "'{100ms}'");
$t->subscribe('hostile', $r->url('/close-early/hostile'), retry_schedule => "'{1h}'");
$t->subscribe('tokenless', $r->url('/ok/tokenless'), retry_schedule => "'{1h}'");

# The same cluster once more, under memcheck.
my $node = $t->node;
my $dir  = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my ($bindir) = split /\n/, `$ENV{PG_CONFIG} --bindir`;
$node->stop('fast');
my $memcheck = IPC::Run::start(
	[
		'valgrind', '--quiet', '--trace-children=yes', '--leak-check=full', '--show-leak-kinds=definite', '--errors-for-leak-kinds=definite',
		'--num-callers=30', '--fullpath-after=', "--suppressions=$ENV{VALGRIND_SUPPRESSIONS}", "--log-file=$dir/%p.log", "$bindir/postgres", '-D', $node->data_dir
	],
	'>', $node->logfile, '2>&1');

eval {
	poll_until('the server is ready', sub { system('pg_isready', '-q', '-d', $node->connstr($WebhookTest::DB)) == 0 });
	my $pid = $t->wait_for_worker;
	my $oauth2 = JSON::PP::encode_json({ token_url => $r->url('/ok/token'), client_id => 'id', client_secret => 'secret', scope => 'events' });
	$t->sql("SELECT webhook.set_credential('tokenless', 'oauth2', '$oauth2'), webhook.set_credential('tokenless', 'header:X-Key', 'key')");
	$t->sql("SELECT webhook.set_credential('well', 'basic', 'user:password'), webhook.set_credential('well', 'header:X-Key', 'key')");
	$t->sql("INSERT INTO item SELECT g, g, repeat('x', 100 * g) FROM generate_series(1, 100) g");
	$t->sql("UPDATE item SET v = v + 1 WHERE id <= 50; DELETE FROM item WHERE id > 90");
	$t->sql("INSERT INTO item VALUES (1000, 1, repeat('x', 3000000))");
	$t->poll_sql('all but the hostile one is delivered',
		"SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'", 2 * 161, 240);
	$t->poll_sql('what answers is no token endpoint', "SELECT bool_or(error ~ 'no bearer token') FROM webhook.log WHERE outcome = 'oauth'");
	$t->sql("SELECT webhook.set_credential('well', 'basic', NULL)");
	$t->sql("SELECT webhook.pause('well'); SELECT webhook.resume('well'); UPDATE webhook.subscription SET timeout = '3s'");
	$node->append_conf('postgresql.conf', "webhook.max_in_flight = 20\n");
	$node->reload;
	$t->sql('UPDATE item SET v = 0');
	$t->sql("SELECT pg_terminate_backend($pid)");
	$t->wait_for_worker($pid);
	$t->poll_sql('and what came after a new worker has begun', "SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'", 2 * (161 + 91), 240);
	1;
} or diag($@);
is($@, '', 'all is delivered under memcheck');
$memcheck->signal('INT'); # a fast shutdown
$memcheck->finish;

# An error is a paragraph that begins with a line that is not indented; its stack follows.
my (@ours, $others);
my @logs = glob "$dir/*.log";
for my $log (@logs)
{
	for my $error (split /^==\d+== *\n/m, slurp_file($log))
	{
		next unless $error =~ /^==\d+== +(at|by) 0x/m;
		if   ($error =~ m{/(extension|worker)/[a-z_/]+\.c:\d+\)}) { push @ours, $error }
		else                                                       { $others++ }
	}
}
note sprintf '%d processes were looked at; %d errors are of the server or its libraries alone', scalar @logs, $others // 0;
is(scalar @ours, 0, 'memcheck finds nothing in the library') or diag(join "\n", @ours[ 0 .. ($#ours < 4 ? $#ours : 4) ]);

$_->stop for $r;
done_testing();

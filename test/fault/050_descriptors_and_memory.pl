# The promise: without file descriptors or without memory the worker does less,
# says so, and loses nothing; it neither loops nor takes the server down.
#
# The server is started with as few descriptors as it starts with (64 where it
# can); later the worker alone is left with no more than it has open. Then one
# allocation in so many of the library's fails, at random, for as long as there
# is something to deliver; see worker/process/fault.c. That the engine is right after each
# single allocation that fails is what the unit tests show.
#
# Out of background workers is in 060_databases.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookFault;
use WebhookTest;

my $t = WebhookFault->new(conf => "webhook.poll_interval = '1s'\nwebhook.max_in_flight = 200\n", subscription => { max_in_flight => 200 }, entities => 200);
my $node = $t->node;
my $r    = $t->{r};
$t->account('before', 0);

#
# As few as the server starts with
#
$node->stop('fast');
my $limit;
for my $n (64, 68, 72, 80, 96, 128)
{
	my $log = $node->logfile;
	my $rc  = system('sh', '-c', 'ulimit -n "$0" && exec pg_ctl -w -D "$1" -l "$2" -o --cluster-name=main start >/dev/null 2>&1 </dev/null', $n, $node->data_dir, $log);
	if ($rc == 0) { $limit = $n; last }
	note "with $n descriptors the server itself does not start";
}
ok(defined $limit, 'the server starts with few descriptors');
$node->_update_pid(1);
note "descriptors: $limit";
my $offset = $t->log_size;
$t->wait_for_worker;
$t->change(300);
$t->account("$limit descriptors", 300);
like(slurp_file($node->logfile), qr/webhook worker sends at most \d+ requests at once/, 'the log says that it does less');
$t->poll_sql('and so does webhook.worker', q{SELECT state = 'running' AND reason ~ '^at most \d+ requests at once: 200 are asked for, but there are not enough file descriptors' FROM webhook.worker});
unlike($t->log_since($offset), qr/terminated by signal/, 'nobody crashed');
$node->stop('fast');
$node->start;
$t->wait_for_worker;

#
# None, from one moment to the next
#
SKIP:
{
	skip 'there is no prlimit', 1 if system('prlimit --version >/dev/null 2>&1') != 0;
	my $worker = $t->wait_for_worker;
	$t->account('many descriptors again', 0);
	# TLS connections that are open would do; new ones cannot be
	my $open = () = glob "/proc/$worker/fd/*";
	system_or_bail('prlimit', "--pid=$worker", "--nofile=$open:");
	$offset = $t->log_size;
	$t->change(50);
	$t->poll_sql('requests fail', "SELECT count(*) > 0 FROM webhook.pending WHERE last_error <> ''");
	is($t->sql('SELECT pid FROM webhook_internal.worker_status()'), $worker, 'the worker lives');
	note 'they say: ' . $t->sql("SELECT string_agg(DISTINCT outcome || ': ' || error, '; ') FROM webhook.attempt WHERE outcome <> 'delivered'");
	system_or_bail('prlimit', "--pid=$worker", '--nofile=1024:');
	$t->account('no descriptor left', 0);
	is($t->wait_for_worker, $worker, 'the same worker goes on');
	unlike($t->log_since($offset), qr/terminated by signal|exited with exit code 1/, 'no process ended');
}

#
# Memory
#
for my $chance (3000, 500)
{
	$offset = $t->log_size;
	$t->fault("malloc $chance");
	$t->change(300);
	# until it has been met: an error of a step, of the process, or of a request
	poll_until(
		'an allocation fails',
		sub {
			$t->change(50);
			return $t->log_since($offset) =~ /out of memory|could not start the webhook engine/
			  || $t->sql("SELECT count(*) > 0 FROM webhook.attempt WHERE outcome = 'internal'") eq 't';
		});
	$t->fault(undef);
	$t->account("one allocation in $chance failed", 2000);
	my $log = $t->log_since($offset);
	note sprintf '%d workers ended with it', scalar(() = $log =~ /exited with exit code 1/g);
	unlike($log, qr/terminated by signal|PANIC/, "one allocation in $chance failed: nobody crashed");
}

$t->stop;
done_testing();

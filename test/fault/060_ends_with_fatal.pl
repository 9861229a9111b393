# The promise: however a worker ends, the next one waits the longer the more
# often that happens: 1, 2, 4, 8 seconds. An error of the level FATAL cannot be
# caught, so the worker that meets it has no say in the matter; the status says
# that there was one, the log which. A stop that was asked for counts for nothing.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookFault;
use WebhookTest;

my $t      = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n");
my $pid    = $t->wait_for_worker;
my $offset = $t->log_size;

# How long until the next one after each of these ends, with a change now and then.
sub ends
{
	my ($fault, $reason) = @_;
	my @delays;
	for my $point (@$fault)
	{
		$t->fault("$point fatal 1");
		poll_until("it meets the error while $point", sub { $t->change(1); return $t->fault_is_over });
		my $ended = time;
		# after the first two the next one is back sooner than a busy machine looks
		$t->poll_sql('the status says so', "SELECT state = 'failing' AND reason = '$reason' FROM webhook_internal.worker_status()") if @delays >= 2;
		$pid = $t->wait_for_worker($pid);
		push @delays, sprintf '%.1f', time - $ended;
	}
	note "it was back after @delays s";
	return @delays;
}

# in a step, where errors are caught and tried again; and between steps
my @delays = ends([ 'reading', 'settling', 'sending', 'reading' ], "the worker ended with a fatal error; see the server log");
cmp_ok($delays[2], '>', 3, 'after three in a row, it waits for four seconds');
cmp_ok($delays[3], '>', 7, 'after four, for eight');
is(() = $t->log_since($offset) =~ /FATAL:.*fault point/g, 4, 'the log says which error it was, each time');
$t->account('four fatal errors', 100);

# What is not an end of its own accord does not add to it, and takes nothing away.
$t->sql("SELECT pg_terminate_backend($pid)");
$pid = $t->wait_for_worker($pid);
is($t->sql("SELECT reason FROM webhook_internal.worker_status()"), '', 'asked to stop, it leaves no reason behind');
$t->account('and a stop', 0);

$t->stop;
done_testing();

# The promise: whatever process is killed, and whenever, no event is lost; what
# is repeated has the same id and body, and is no more than what was under way
# or not settled. Nobody repairs anything.
#
# The worker is killed with SIGKILL, upon which the whole server starts anew, at
# each point of worker/process/fault.h where something is half done: a page read and not
# committed, or committed and not sent; requests under way; answered with 200 and
# not settled; in the midst of settling; settled, and the next one not begun; taken
# again from webhook.pending; a segment emptied and not committed. Then a backend,
# the launcher, and the server itself ("pg_ctl stop -m immediate").
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookFault;
use WebhookTest;

# How many of them may be repeated? What is under way, what waits to be settled, and, as settles are not flushed,
# what ended in three times the WAL writer's delay: that may be all of them. 020_crash judges it by the time.
my $CHANGES = 150;

my $t = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n", subscription => { max_in_flight => 10 });
my $r = $t->{r};
my $pid = $t->wait_for_worker;
$t->wait_until_settled;

# The worker dies at POINT, the Nth time it is passed, while CODE is run again and again.
sub dies_at
{
	my ($point, $n, $repeats, $code) = @_;
	$code //= sub { $t->change($CHANGES) };
	my $offset = $t->log_size;
	$t->fault("$point kill $n");
	# the session's own connection is lost as well; what it had committed is in the table
	poll_until("the worker passes \"$point\"", sub { eval { $code->() }; return $t->fault_is_over });
	my $killed = time;
	$pid = $t->wait_for_worker($pid);
	note sprintf '%s: a worker runs again after %.1f s', $point, time - $killed;
	cmp_ok(time - $killed, '<', 10, "$point: it is back within 10 s");
	like($t->log_since($offset), qr/webhook worker.*was terminated by signal 9/, "$point: killed it was");
	$t->account("killed at \"$point\"", $repeats, no_log => $point eq 'rotating');
	return;
}

dies_at('reading', 3, $CHANGES);
dies_at('read', 3, $CHANGES);
dies_at('sending', 3, $CHANGES);
dies_at('answered', 3, $CHANGES);
dies_at('settling', 2, $CHANGES);
dies_at('settled', 2, $CHANGES);

# What failed once is in webhook.pending, and is taken from there.
$r->mode('/slow/5/crm', '/fail-first/1');
dies_at('taken', 1, $CHANGES, sub { $t->change(1) });
$r->mode('/slow/5/crm', undef);

# All that is older than six seconds is emptied, segment by segment.
$t->node->append_conf('postgresql.conf', "webhook.retention = '6s'\n");
$t->node->reload;
dies_at('rotating', 2, $CHANGES, sub { $t->change(1) });
$t->node->append_conf('postgresql.conf', "webhook.retention = '7d'\n");
$t->node->reload;

# A backend, in the midst of a transaction that captured.
$r->mode('/slow/5/crm', '/slow/50');
my $session = $t->node->background_psql('postgres', on_error_stop => 0);
my $backend = $session->query('BEGIN; INSERT INTO item (v) VALUES (1000000); SELECT pg_backend_pid()');
$backend =~ s/\D//g;
$t->change(50);
kill 'KILL', $backend;
$pid = $t->wait_for_worker($pid);
eval { $session->quit };
$t->change(50);
$t->account('a backend killed', 100);
is($t->sql('SELECT count(*) FROM arrived WHERE v >= 1000000'), 0, 'what it had not committed is told to nobody');

# The launcher, in the midst of deliveries.
my $launcher = $t->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook launcher'");
$t->change(50);
kill 'KILL', $launcher;
$pid = $t->wait_for_worker($pid);
$t->poll_sql('a launcher runs again', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook launcher' AND pid <> $launcher", 1);
$t->change(50);
$t->account('the launcher killed', 100);

# The server.
$t->change(50);
$t->node->stop('immediate');
$t->node->start;
$t->wait_for_worker($pid);
$t->change(50);
$t->account('the postmaster stopped with "immediate"', 100);

$t->stop;
done_testing();

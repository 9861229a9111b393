# The promise: an event that kills the worker, when it is read or when a filter
# looks at it, does so three times at most. Then it is a dead letter of those that
# it could not be read or judged for, and says so; everything else is delivered.
#
# The worker is killed with SIGKILL each time it comes to that step, whichever
# process it is, until the event is dead.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookFault;
use WebhookTest;

my $t = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n");
my $r = $t->{r};
my $pid = $t->wait_for_worker;
my $reads = "SELECT count(*) FROM webhook.checkpoint WHERE kind = 'read'";

$t->sql('CREATE TABLE poison (id serial PRIMARY KEY, d text)');
$t->watch('poison');
$t->subscribe('bad', $r->url('/ok/bad'), events => "'{poison.*}'", filter => q{'$.result.id > 0'}, ordering => "'none'");
$t->sql(q{UPDATE webhook.subscription SET events = '{item.*}' WHERE name = 'crm'});
$t->change(20);
$t->wait_until_settled;

# A worker that is careful no more writes no checkpoint for a page.
sub wait_until_careless
{
	poll_until('the worker is careful no more', sub {
		my $before = $t->sql($reads);
		$t->change(1);
		$t->wait_until_settled;
		return $t->sql($reads) == $before;
	});
	return;
}

# It dies at POINT each time, of the event that SQL makes, until that is dead: DEAD dead letters that say WHY.
sub dies_of
{
	my ($what, $point, $sql, $dead, $why) = @_;
	my $offset = $t->log_size;
	my $last   = $t->sql('SELECT coalesce(max(event_number), 0) FROM webhook.dead_letter');
	my $before = $t->sql('SELECT count(*) FROM webhook.dead_letter');
	my $changed = 0;
	my $rows = $t->sql('SELECT count(*) FROM poison');
	$t->fault("$point kill 0");
	poll_until("$what: the event is made", sub {
		# once: the server may go down between the commit and its answer
		my $now = $t->try_sql('SELECT count(*) FROM poison') // return 0;
		return $now > $rows || defined $t->try_sql($sql);
	});
	poll_until("$what: it is dead", sub {
		# others go on while this happens
		$changed += 5 if defined eval { $t->change(5); 1 };
		return ($t->try_sql('SELECT count(*) FROM webhook.dead_letter') // 0) == $before + $dead;
	});
	my $deaths = () = $t->log_since($offset) =~ /webhook worker.*was terminated by signal 9/g;
	note "$what: the worker died $deaths times, while $changed other changes were made";
	cmp_ok($deaths, '>', 0, "$what: it was killed");
	cmp_ok($deaths, '<=', 3, "$what: three times at most");
	is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE event_number > $last AND reason ~ '$why'"), $dead, "$what: the dead letter says so");
	like($t->log_since($offset), qr/webhook event \d+ ended the worker/, "$what: and so does the log");
	$t->change(20);
	$t->fault(undef);
	$t->wait_until_settled;
	is($t->sql("SELECT count(*) FROM webhook.dead_letter"), $before + $dead, "$what: nothing else is dead");
	is( $t->sql(<<'SQL'), 0, "$what: everything else arrives");
SELECT count(*) FROM webhook.outbox o, webhook.subscription s WHERE webhook_internal.matches(s, o)
	AND o.created_at > s.created_at AND NOT EXISTS (SELECT FROM webhook.attempt a WHERE a.event_number = o.event_number AND a.subscription_id = s.id AND a.outcome = 'delivered')
	AND NOT EXISTS (SELECT FROM webhook.dead_letter d WHERE d.event_number = o.event_number AND d.subscription_id = s.id)
SQL
	# what was killed by it is past
	my $delivered = $r->count('/ok/bad');
	$t->sql('INSERT INTO poison (d) VALUES (0)');
	$r->wait_for_requests($delivered + 1, '/ok/bad');
	pass("$what: the subscription gets its next event");
	return;
}

my $insert = 'INSERT INTO poison (d) VALUES (1)';
my $matched = 'while it matched this event with the subscription';
dies_of('a filter, soon after the start', 'filter', $insert, 1, $matched);
wait_until_careless();
dies_of('a filter, when the worker has run for a while', 'filter', $insert, 1, $matched);

# Those that want it are two.
$t->subscribe('worse', $r->url('/ok/worse'), events => "'{poison.*}'", ordering => "'none'");
dies_of('reading an event', 'large', "INSERT INTO poison (d) VALUES (repeat('x', 3000000))", 2, 'while it read this event');
$t->sql("SELECT webhook.unsubscribe('worse')");

# It was put off.
$t->sql("SELECT webhook.pause('bad')");
$t->change(1);
$t->wait_until_settled;
$t->sql($insert);
$t->wait_until_read;
$t->poll_sql('it is kept', 'SELECT count(*) FROM webhook.pending WHERE NOT judged', 1);
dies_of('a filter, when its subscription is resumed', 'filter', "SELECT webhook.resume('bad')", 1, $matched);

$t->stop;
done_testing();

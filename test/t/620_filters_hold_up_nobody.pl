# The promise: no filter takes time or memory from anybody else. An event for
# which one exceeds its limits is a dead letter of its own subscription and says
# so; a subscription of which that is so again and again is disabled and says
# so; and whatever is being evaluated, the worker ends when it is asked to.
#
# Each filter here would take minutes, hours or gigabytes for the one event that
# it is given. Nobody measures how long anything took: that the other
# subscription's event arrives at all is the proof.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "autovacuum = off\n");
my $r    = $t->receiver(args => ['--no-http2']);
my $node = $t->node;

$t->sql(<<'SQL');
CREATE TABLE good (id serial PRIMARY KEY);
CREATE TABLE bad (id serial PRIMARY KEY, what text, j json);
SQL
$t->watch($_) for qw(good bad);
$t->subscribe('good', $r->url('/ok/good'), events => "'{good.*}'");
$t->subscribe('told', $r->url('/ok/told'), events => "'{webhook_subscription.*}'");

# Of a process, in kB; and from now on its peak is counted again.
sub peak
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : die 'no peak';
}

sub count_peak_anew
{
	my ($pid) = @_;
	open my $fh, '>', "/proc/$pid/clear_refs" or die "clear_refs: $!";
	print $fh "5\n";
	close $fh or die "clear_refs: $!";
	return;
}

my $goods = 0;

# Others' events go on.
sub good_arrives
{
	my ($what) = @_;
	$t->sql('INSERT INTO good DEFAULT VALUES');
	$r->wait_for_requests(++$goods, '/ok/good');
	pass("$what: somebody else's event arrives");
	return;
}

#
# What people write by accident, and what they may write on purpose
#
my %numbers = map { $_ => "(SELECT json_agg(g) FROM generate_series(1, $_) g)" } 1_000, 20_000, 200_000;
my @filters = (
	# name, filter, JSON
	['chain of .**', '$' . '.**' x 20 . ' == "zz"', "json_build_object('a', $numbers{20_000})"],
	['chain of .** of a small event', '$' . '.**' x 60 . ' == "zz"', "json_build_object('a', $numbers{1_000})"],
	[   'every number with every other', '$.result.j.j[*] == $.result.j.k[*]',
		"json_build_object('j', $numbers{200_000}, 'k', (SELECT json_agg(-g) FROM generate_series(1, 200000) g))"],
	['the same without a word about it', '$.result.j.j > $.result.j.k', "json_build_object('j', (SELECT json_agg(-g) FROM generate_series(1, 200000) g), 'k', $numbers{200_000})"],
	['the same within a condition', 'exists($.result.j ? (@.j == @.k))', "json_build_object('j', $numbers{200_000}, 'k', (SELECT json_agg(-g) FROM generate_series(1, 200000) g))"],
	['one number many times', '$.result.j' . '[0,0,0,0,0,0,0,0]' x 7 . ' > $.result.j' . '[0,0,0,0,0,0,0,0]' x 7, "'[1]'::json"],
	['all that is below all that is below', '$.result.**.** > $.result.**.**', "(SELECT json_object_agg(g, g) FROM generate_series(1, 100000) g)"],
	['long strings', '$.result.j[*] < $.result.j[*]', "(SELECT json_agg(repeat('a', 2000)) FROM generate_series(1, 3000) g)"],
	['a regular expression', '$.result.j like_regex "^(a*)(a*)(a*)\\\\1\\\\2\\\\3b?$"', "to_json(repeat('a', 30000))"],
	['numbers of numbers', '$' . '.result.**.keyvalue()' . '.**' x 30 . ' == 1', "(SELECT json_object_agg(g, $numbers{1_000}) FROM generate_series(1, 20) g)"],
);

$t->sql("ALTER SYSTEM SET webhook.filter_timeout = '50ms'; SELECT pg_reload_conf()");
my $pid = $t->wait_for_worker;
good_arrives('at first');

my $n = 0;
for my $case (@filters)
{
	my ($name, $filter, $json) = @$case;
	my $sub = 'bad' . ++$n;
	$t->subscribe($sub, $r->url("/ok/$sub"), events => "'{bad.*}'", filter => "\$f\$$filter\$f\$", ordering => "'none'");
	good_arrives("$name, not yet");
	count_peak_anew($pid);
	my $before = peak($pid);
	$t->sql("INSERT INTO bad (what, j) VALUES ('$sub', $json)");
	good_arrives($name);
	$t->poll_sql("$name: the event is judged", <<SQL);
SELECT count(*) > 0 FROM webhook.dead_letter WHERE subscription = '$sub'
SQL
	my $after = peak($pid);
	my $reason = $t->sql("SELECT reason FROM webhook.dead_letter WHERE subscription = '$sub'");
	like($reason, qr/^filter could not be evaluated: it (took more than 50 ms|needs more than 64 MB of memory)$/, "$name: a dead letter, which says why");
	note sprintf '%s: %s; the worker\'s memory grew by %d MB', $name, $reason, ($after - $before) / 1024;
	# the event and what is made of it to be judged, which has 64 MB
	cmp_ok($after - $before, '<', 400 * 1024, "$name: in bounded memory");
	$t->sql("SELECT webhook.unsubscribe('$sub')");
}
is($t->worker_pid, $pid, 'all by the same worker');

#
# Again and again
#
$t->subscribe('slow', $r->url('/ok/slow'), events => "'{bad.*}'", filter => q{'$.result.j.j[*] == $.result.j.k[*]'}, ordering => "'none'");
my $large = "json_build_object('j', $numbers{20_000}, 'k', (SELECT json_agg(-g) FROM generate_series(1, 20000) g))";
my $small = q{'{"j": 1, "k": 1}'};
good_arrives('a subscription is slow');
my $first = $t->sql('SELECT max(id) FROM bad');
# two are too slow, the next is not: it is not "again and again"
$t->sql("INSERT INTO bad (j) SELECT $large FROM generate_series(1, 2)");
$t->sql("INSERT INTO bad (j) VALUES ($small)");
$r->wait_for_requests(1, '/ok/slow');
$t->wait_until_settled;
is($t->sql("SELECT state, (SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'slow') FROM webhook.subscription WHERE name = 'slow'"),
	'active|2', 'what happens twice is two dead letters');
$t->sql("INSERT INTO bad (j) SELECT $large FROM generate_series(1, 40)");
$t->sql("INSERT INTO bad (j) VALUES ($small)");
good_arrives('forty events for it');
$t->poll_sql('it is disabled', "SELECT state = 'disabled' FROM webhook.subscription WHERE name = 'slow'");
is( $t->sql("SELECT state_reason FROM webhook.subscription WHERE name = 'slow'"),
	'3 events in a row: filter could not be evaluated: it took more than 50 ms',
	'it says why');
poll_until('others are told', sub { grep { $_->{body} =~ /"disabled"/ && $_->{body} =~ /slow/ } $r->requests('/ok/told') });
pass('others are told of it, as of any that is disabled');
$t->wait_until_read;
$t->poll_sql('all that came after is kept', "SELECT count(*) FROM webhook.pending WHERE NOT judged", 38);
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'slow'"), 5, 'the deliveries after that are kept, and none is given up');

#
# What is kept is judged when it is taken, by the filter as it is then
#
$t->sql(q{UPDATE webhook.subscription SET filter = '$.result.j.j == 1 && $.result.j.k == 1' WHERE name = 'slow'; SELECT webhook.resume('slow')});
$r->wait_for_requests(2, '/ok/slow');
$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id WHERE s.name = 'slow'"),
	2, 'resumed with a better filter: what is for it is delivered, once, and the rest is gone');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'slow'"), 5, 'and no more of it is dead');

# as it would be while paused by hand, in order, and with events that the filter cannot be evaluated for
$t->sql("SELECT webhook.pause('slow')");
$t->sql(q{UPDATE webhook.subscription SET ordering = 'strict' WHERE name = 'slow'});
good_arrives('paused');
$t->sql("INSERT INTO bad (j) SELECT CASE g % 3 WHEN 0 THEN '{\"j\": 1, \"k\": 1}' WHEN 1 THEN '{\"j\": 2}' ELSE '{\"j\": \"\\u0000\"}' END::json FROM generate_series(1, 30) g");
good_arrives('events while it is paused');
$t->poll_sql('all of them wait', 'SELECT count(*) FROM webhook.pending', 30);
is($t->sql('SELECT count(*) FROM webhook.pending WHERE judged'), 0, 'unjudged');
$t->sql("SELECT webhook.resume('slow')");
$r->wait_for_requests(12, '/ok/slow');
$t->wait_until_settled;
is($r->count('/ok/slow'), 12, 'those that are for it arrive');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'slow'"), 15, 'events that cannot be judged are dead letters');
my @ids = map { $_->{headers}{'webhook-id'} =~ /_(\d+)$/ ? $1 : () } ($r->requests('/ok/slow'))[ 2 .. 11 ];
is("@ids", join(' ', sort { $a <=> $b } @ids), 'in order');

#
# Many of them for one event
#
$t->subscribe("many$_", $r->url('/ok/many'), events => "'{bad.*}'", filter => q{'$.result.j.j[*] == $.result.j.k[*]'}, ordering => "'none'") for 1 .. 20;
$t->sql("INSERT INTO bad (j) SELECT $large FROM generate_series(1, 5)");
good_arrives('twenty of them');
$t->poll_sql('all are disabled', "SELECT count(*) FROM webhook.subscription WHERE name LIKE 'many%' AND state = 'disabled'", 20);
$t->poll_sql('each delivery of theirs is dead or kept', <<'SQL', '5|5|20');
SELECT min(n), max(n), count(*) FROM (SELECT (SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = s.id)
	+ (SELECT count(*) FROM webhook.pending p WHERE p.subscription_id = s.id) AS n FROM webhook.subscription s WHERE s.name LIKE 'many%') n
SQL
# the third may be judged again, when it is disabled already
is( $t->sql(<<'SQL'), 't', 'each after three events');
SELECT bool_and(n IN (2, 3)) FROM (SELECT count(*) AS n FROM webhook.dead_letter WHERE subscription LIKE 'many%' GROUP BY subscription) n
SQL
$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription WHERE name LIKE 'many%' OR name = 'slow'");
$t->wait_until_settled;

#
# To end, during it
#
$node->append_conf('postgresql.conf', "webhook.filter_timeout = '10s'\n");
$t->sql("ALTER SYSTEM RESET webhook.filter_timeout; SELECT pg_reload_conf()");
# 40,000 times 40,000 values: for a child more than the ten seconds that it may take; the worker's takes a second, and then
# more than the memory that it may have
my $long = "json_build_object('j', (SELECT json_agg(g) FROM generate_series(1, 40000) g), 'k', (SELECT json_agg(-g) FROM generate_series(1, 40000) g))";

# Its filter is being evaluated: by the worker, or by a child of it.
sub is_evaluating
{
	my ($worker) = @_;
	my $children = join ' ', map { slurp_file($_) } glob "/proc/$worker/task/*/children";
	return $children =~ /\d/ || slurp_file("/proc/$worker/stat") =~ /^\S+ \(.*\) R/;
}

my @ways = (['a child of the worker', '$.result.j.j[*] == $.result.j.k[*]'], ['the worker', 'exists($.result.j.j[*] ? (exists($.result.j.k[*] ? (@ == 0.5))))']);
my $missed = 0;
while (my $way = shift @ways)
{
	my ($who, $filter) = @$way;
	$t->subscribe('endless', $r->url('/ok/endless'), events => "'{bad.*}'", filter => "\$f\$$filter\$f\$");
	my $last = $t->sql('SELECT max(event_number) FROM webhook.outbox');
	my $worker = $t->wait_for_worker;
	$t->sql("INSERT INTO bad (j) VALUES ($long)");
	# on a busy machine it may end by itself, before anybody has seen or stopped it
	my $ended = sub { return $t->sql("SELECT count(*) FROM webhook.dead_letter WHERE event_number > $last AND reason ~ '(needs|took) more than'") };
	poll_until("$who evaluates", sub { is_evaluating($worker) || $ended->() });
	$t->sql("SELECT pg_terminate_backend($worker)");
	poll_until("$who: the worker that was terminated is gone", sub { !-e "/proc/$worker" });
	pass("$who evaluates: the worker that was terminated is gone");
	# the next one says that it runs after its first turn, of which the filter is part
	$worker = poll_until("$who: the next one has begun", sub { $t->sql("SELECT pid FROM webhook_internal.worker_status() WHERE pid <> $worker") });
	poll_until("$who evaluates again", sub { is_evaluating($worker) || $ended->() });
	$node->stop('fast');
	pass("$who evaluates: pg_ctl stop -m fast");
	# a start without a worker, to see what it has left
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
	$node->start;
	my $counted = $t->sql("SELECT (SELECT count(*) FROM webhook.dead_letter WHERE event_number > $last), (SELECT count(*) FROM webhook.pending WHERE event_number > $last),"
			. " (SELECT count(*) FROM webhook.attempt WHERE event_number > $last)");
	# then this has shown nothing, and is done once more
	if   ($ended->() && $missed++ < 10) { unshift @ways, $way }
	else                                { is($counted, '0|0|0', "$who: nothing is counted for what was broken off") }
	$t->sql("SELECT webhook.unsubscribe('endless')");
	$node->stop('fast');
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', 'webhook');
	$node->start;
	good_arrives('after the start');
}

# Somebody's trigger on a table of ours; what was delivered before is not to wait for it
$t->wait_until_settled;
$t->sql(<<'SQL');
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		BEGIN
			PERFORM count(*) FROM generate_series(1, 1000000000000);
		EXCEPTION WHEN query_canceled THEN
			PERFORM count(*) FROM generate_series(1, 1000000000000);
		END;
	END LOOP;
END
$$;
CREATE TRIGGER slowly BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION slowly();
SQL
my $worker = $t->wait_for_worker;
good_arrives('while a trigger takes for ever');
$t->poll_sql('the trigger runs', "SELECT query = 'webhook: settling' AND state = 'active' FROM pg_stat_activity WHERE pid = $worker");
$t->sql("SELECT pg_terminate_backend($worker)");
poll_until('the worker is gone', sub { !-e "/proc/$worker" });
pass('a trigger on a table of ours takes for ever: the worker that was terminated is gone');
$worker = $t->wait_for_worker($worker);
$node->stop('fast');
pass('and pg_ctl stop -m fast stops the server');

done_testing();

# The promise: the books balance. At any moment, for each subscription and for
# every event up to the settled checkpoint, matched = delivered + pending + dead,
# exactly: no event is in none of the three states or in two of them, and nobody
# has one that is not for it. Whatever fails, and however often the worker dies.
#
# What is matched is computed here, in SQL, from the outbox and the subscriptions'
# columns, independently of the worker. What lies beyond the settled checkpoint
# is in the worker's memory and has not been accounted for yet; when all is
# over there is nothing beyond it, and the equation is about every event.
#
# The endpoints answer 500, 404, 503, nothing, half a response or break the
# connection for up to three requests in ten; one refuses some events for good, so that
# there are dead letters. The worker is ended ten times meanwhile, by
# SIGTERM and SIGKILL in turns; the latter takes the whole cluster with it.
#
# Covers: exactly one state; nothing needs repair.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $RESTARTS = 10;
my $ROUND    = 200;    # changes that each of the sessions commits between two restarts
my $LOOKS    = 4;      # at the least, after each

my $t = WebhookTest->new;
my $r = $t->receiver(args => ['--no-http2']);

$t->sql(<<'SQL');
CREATE TABLE customer (id int PRIMARY KEY, v int NOT NULL, shop text NOT NULL);
CREATE TABLE invoice (id serial PRIMARY KEY, v int NOT NULL DEFAULT 1, shop text NOT NULL);
INSERT INTO customer SELECT g, 1, CASE WHEN g % 3 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 200) g;
SQL
$t->watch('customer', tenant => "'shop'");
$t->watch('invoice',  tenant => "'shop'");
my %path = (
	everything => '/chaos/30/1/everything',
	invoices   => '/chaos/30/2/invoices',
	removals   => '/chaos/10/3/removals',
	shop       => '/chaos/30/4/shop',
	picky      => '/poison/10/picky');
my @impatient = (timeout => "'300ms'", retry_schedule => "'{100ms,300ms}'");
$t->subscribe('everything', $r->url($path{everything}), @impatient);
$t->subscribe('invoices', $r->url($path{invoices}), @impatient, events => "'{invoice.*}'", ordering => "'none'");
$t->subscribe('removals', $r->url($path{removals}), @impatient, events => "'{*.delete}'", ordering => "'strict'");
$t->subscribe('shop', $r->url($path{shop}), @impatient, tenant => "'a'");
$t->subscribe('picky', $r->url($path{picky}), @impatient, give_up_after => "'1s'");

# One row for each subscription, from one snapshot: how many events match it, and how
# many of those are in each state; wrong are those not in exactly one; strange is what is
# recorded of events that are not for it; beyond is what is not accounted for yet.
my $BOOKS = <<'SQL';
SET enable_nestloop = off;
WITH c AS (SELECT hi, snapshot FROM webhook.checkpoint WHERE kind = 'settled' ORDER BY id DESC LIMIT 1),
event AS MATERIALIZED (
	SELECT o.*, coalesce((SELECT o.event_number <= c.hi AND pg_visible_in_snapshot(o.xid, c.snapshot) FROM c), false) AS covered FROM webhook.outbox o),
matched AS MATERIALIZED (
	SELECT s.id AS subscription_id, o.event_number AS event_number FROM event o CROSS JOIN webhook.subscription s
	WHERE o.covered AND (s.events IS NULL OR s.events && ARRAY[o.entity_type || '.*', '*.' || o.action_type])
		AND (s.tenant IS NULL OR o.tenant = s.tenant)),
state AS MATERIALIZED (
	SELECT event_number, subscription_id, count(*) FILTER (WHERE state = 'delivered') AS delivered,
		count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'dead') AS dead
	FROM (SELECT DISTINCT event_number, subscription_id, 'delivered' AS state FROM webhook.attempt WHERE outcome = 'delivered'
		UNION ALL SELECT event_number, subscription_id, 'pending' FROM webhook.pending
		UNION ALL SELECT event_number, subscription_id, 'dead' FROM webhook.dead_letter) s
	WHERE event_number IN (SELECT event_number FROM event WHERE covered) GROUP BY 1, 2)
SELECT b.name, count(m.event_number), coalesce(sum(s.delivered), 0), coalesce(sum(s.pending), 0), coalesce(sum(s.dead), 0),
	count(m.event_number) FILTER (WHERE s.event_number IS NULL OR s.delivered + s.pending + s.dead <> 1) AS wrong,
	count(s.event_number) FILTER (WHERE m.event_number IS NULL) AS strange,
	(SELECT count(*) FROM event WHERE NOT covered) AS beyond
FROM matched m FULL JOIN state s USING (event_number, subscription_id)
	JOIN webhook.subscription b ON b.id = subscription_id
GROUP BY b.name ORDER BY b.name
SQL

my ($looks, $unbalanced, $pending_seen, $beyond_seen) = (0, '', 0, 0);

# One look at the books; false where the server does not answer just now.
sub look
{
	my $out = $t->try_sql($BOOKS) // '';
	return 0 if $out eq '';
	$looks++;
	for my $line (split /\n/, $out)
	{
		my ($name, $matched, $delivered, $pending, $dead, $wrong, $strange, $beyond) = split /\|/, $line;
		$unbalanced .= "look $looks: $line\n" if $matched != $delivered + $pending + $dead || $wrong || $strange;
		$pending_seen = $pending if $pending > $pending_seen;
		$beyond_seen  = $beyond  if $beyond > $beyond_seen;
	}
	return 1;
}

sub look_again
{
	my $until = $looks + $LOOKS;
	poll_until('the books are looked at', sub { look(); return $looks >= $until });
	return;
}

# A session's changes, each a transaction of its own; rows of the session's own are inserted and deleted.
sub script
{
	my ($round, $session) = @_;
	my $script = $session % 2 ? "SET synchronous_commit = off;\n" : '';
	for my $i (1 .. $ROUND / 4)
	{
		my $customer = 1 + int rand 200;
		my $shop     = rand() < 0.3 ? 'a' : 'b';
		$script .= <<SQL;
UPDATE customer SET v = v + 1 WHERE id = $customer;
INSERT INTO invoice (shop) VALUES ('$shop');
UPDATE invoice SET v = v + 1 WHERE id = lastval();
SELECT pg_sleep(0.03); -- part of the scenario: they are to last beyond the restart
SQL
		$script .= $i % 2 ? "DELETE FROM invoice WHERE id = lastval();\n" : "UPDATE customer SET v = v + 1 WHERE id = $session;\n";
	}
	return $script;
}

srand 190;
my $broken = 0;
my $pid = $t->wait_for_worker;
for my $round (1 .. $RESTARTS)
{
	my $signal = $round % 2 ? 'TERM' : 'KILL';
	my @sessions = $t->sessions(map { script($round, $_) } 1 .. 4);
	poll_until('requests are under way', sub { $t->sql('SELECT in_flight > 0 FROM webhook_internal.worker_status()') eq 't' });
	kill $signal, $pid;
	# while it is down, and while the next one finds out what it did
	my $next = '';
	poll_until(
		'the next worker runs',
		sub {
			look();
			$next = $t->try_sql("SELECT pid FROM webhook_internal.worker_status() WHERE state = 'running'") // '';
			return $next ne '' && $next ne $pid;
		});
	$pid = $next;
	look_again();
	my @failed = $t->finish_sessions(@sessions);
	is(scalar @failed, 0, "restart $round: SIG$signal, of which the sessions notice nothing") if $signal eq 'TERM';
	$broken += @failed;
}
poll_until(
	'all that was committed is delivered or dead',
	sub {
		look();
		return $t->sql(<<'SQL') eq 't';
SELECT NOT EXISTS (SELECT FROM webhook.pending) AND (SELECT sum(queued + in_flight) = 0 FROM webhook.status)
SQL
	});
$t->wait_until_settled;
look();

note "$looks looks at the books; up to $pending_seen pending, up to $beyond_seen events not accounted for yet";
is($unbalanced, '', 'at every look matched = delivered + pending + dead, each event in exactly one of them');
cmp_ok($broken, '>', 0, "$broken sessions lost their connection to a SIGKILL during their changes");
cmp_ok($looks,        '>=', $LOOKS * $RESTARTS, 'there were enough looks');
cmp_ok($pending_seen, '>',  10,                     'some of them while deliveries were pending');

my $events = $t->sql('SELECT count(*) FROM webhook.outbox');
cmp_ok($events, '>', 2 * $ROUND * $RESTARTS, 'there was enough to account for');
my %final = map { /^(\w+)\|(.*)$/ } split /\n/, $t->sql($BOOKS);
for my $name (sort keys %path)
{
	my ($matched, $delivered, $pending, $dead, undef, undef, $beyond) = split /\|/, $final{$name};
	note "$name: $matched matched of $events, $delivered delivered, $dead dead";
	is($pending + $beyond, 0, "$name: in the end nothing is pending, and everything accounted for");
	cmp_ok($matched, '>', 0, "$name: events matched it");
	if   ($name eq 'picky') { cmp_ok($dead, '>', 0, 'picky: and some of them were given up') }
	else                    { is($dead, 0, "$name: none was given up") }
}
is((split /\|/, $final{everything})[0], $events, 'everything: that is every event');

# What the receiver says.
$t->load_requests($r, 'request');
my $names = join ', ', map { "('$_', '$path{$_}')" } sort keys %path;
is( $t->sql(<<SQL), '', 'lost: 0. Whatever is logged as delivered was answered with 200 by its endpoint');
SELECT s.name, a.event_number FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND a.outcome = 'delivered'
EXCEPT SELECT p.name, q.event_number FROM request q JOIN (VALUES $names) p(name, path) USING (path) WHERE q.status = 200
SQL
is( $t->sql(<<SQL), '', 'and no endpoint got an event that is not for it');
SELECT p.name, q.event_number, q.path FROM request q LEFT JOIN (VALUES $names) p(name, path) USING (path)
	LEFT JOIN webhook.outbox o ON o.event_number = q.event_number
WHERE o.event_number IS NULL OR p.name IS NULL OR p.name = 'invoices' AND o.entity_type <> 'invoice'
	OR p.name = 'removals' AND o.action_type <> 'delete' OR p.name = 'shop' AND o.tenant <> 'a'
SQL
note $t->sql("SELECT count(*) || ' requests, ' || count(DISTINCT (path, id)) || ' deliveries; ' || count(*) FILTER (WHERE status IS DISTINCT FROM 200) || ' were not answered with 200' FROM request");

$t->stop;
done_testing();

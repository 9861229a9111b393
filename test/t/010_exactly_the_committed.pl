# The promise: an event exists exactly when its transaction committed, and
# every one reaches the endpoint, once where nothing fails, in order per entity.
#
# Eight sessions commit 5,000 changes in transactions that commit late, out of
# order, in two phases, partly or not at all (WebhookLoad.pm). Half of the
# sessions commit with synchronous_commit off. What the receiver got is
# compared with what the application itself noted in the same transactions.
#
# Covers: two-phase commit; order per entity; late commits.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookLoad;
use WebhookTest;

my $t = WebhookTest->new;
my $r = $t->receiver(args => [ '--no-http2', '--secret', $WebhookTest::SECRET ]);

$t->sql($WebhookLoad::SCHEMA);
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

my $begin = time;
my @units = WebhookLoad::all_units(20240229);
my @failed =
  $t->finish_sessions($t->sessions(map { WebhookLoad::script($_, $units[$_]) } 0 .. $#units));
is("@failed", '', 'the sessions ran to their end');
my $end = time;
$t->wait_until_settled;
note "committed within ${\($end - $begin)} s, settled ${\(time - $end)} s after that";

is($t->sql('SELECT count(*) FROM audit'), $WebhookLoad::CHANGES, "$WebhookLoad::CHANGES changes were committed");
is($t->sql('SELECT count(*) FROM webhook.outbox'), $WebhookLoad::CHANGES, 'an event for each, and none for what was rolled back');
is($t->sql('SELECT count(DISTINCT entity) > 480 FROM audit'), 't', 'they are about nearly all of the 500 entities');
my $stragglers = $t->sql($WebhookLoad::STRAGGLERS);
my $cuts       = $t->sql($WebhookLoad::CUTS);
note "$stragglers events were found below the highest id already read; $cuts pages of them were cut";
cmp_ok($stragglers, '>', 500, 'many of them were committed after events with higher ids had been read');
cmp_ok($cuts, '>', 0, 'at one time more of them than a page holds');

$t->load_requests($r, 'request');
is($t->sql('SELECT count(*) FROM request'), $WebhookLoad::CHANGES, 'as many requests arrived as changes were committed');
is($t->sql('SELECT count(DISTINCT id) FROM request'), $WebhookLoad::CHANGES, 'no event twice');
is($t->sql($WebhookLoad::DIFFERENT), '', 'exactly the committed changes arrived, of each entity in order');
is($t->sql($WebhookLoad::NOT_AS_CAPTURED), '', 'each with the id of its event, and the row as captured, byte for byte');
is($t->sql('SELECT count(*) FROM request WHERE verified IS NOT TRUE'), 0, 'each with a signature that the receiver accepts');
is( $t->sql('SELECT count(*), count(DISTINCT event_number), min(attempt_number), max(attempt_number), min(outcome), max(outcome) FROM webhook.attempt'),
	"$WebhookLoad::CHANGES|$WebhookLoad::CHANGES|1|1|delivered|delivered",
	'the log has one request for each, delivered at once');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'nothing was given up');

$t->stop;
done_testing();

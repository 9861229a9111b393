# The promise: whoever reads the server's log learns of a subscription that is
# disabled, of events that became dead letters, and of a breaker that opens or
# closes; in one line, at most one a minute of each subscription. What happens
# within the minute is counted in the next line, which comes also where nothing
# more happens, at the latest when the worker ends. No line shows a payload, a
# URL, a secret, or what an endpoint or a function has said.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(sum0);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '30s'\nwebhook.filter_timeout = '50ms'\n");
my $r    = $t->receiver(args => ['--no-http2']);
my $node = $t->node;

# The lines about a subscription: { level, message, detail, hint } of each, in order.
sub lines
{
	my ($name) = @_;
	my @lines;
	my $log = slurp_file($node->logfile);
	while ($log =~ /^.*? (LOG|WARNING):  webhook subscription "\Q$name\E"(.*)\n(?:.*? DETAIL:  (.*)\n)?(?:.*? HINT:  (.*)\n)?/mg)
	{
		push @lines, { level => $1, message => $2, detail => $3 // '', hint => $4 // '' };
	}
	return @lines;
}

sub wait_for_line
{
	my ($name, $what, $n) = @_;
	poll_until("the log says that $what", sub { lines($name) >= ($n // 1) });
	return (lines($name))[-1];
}

# So many events became dead letters, as the lines say.
sub dead_letters
{
	return sum0(map { "$_->{message} $_->{detail}" =~ /(\d+) events? became (?:a dead letter|dead letters)/ ? $1 : () } lines($_[0]));
}

# What no line may show
my %private = (
	payload  => 'Payload4711',
	query    => 'token=Query4711',
	password => 'Basic4711',
	function => 'Function4711',
);

$t->sql("CREATE TABLE $_ (id int PRIMARY KEY, v text, j json)") for qw(item event);
$t->sql(<<SQL);
CREATE FUNCTION failing(event webhook.outbox) RETURNS json LANGUAGE plpgsql AS
\$\$ BEGIN RAISE 'not $private{function}: %', event.result; END \$\$;
SQL
$t->watch($_) for qw(item event);

#
# Dead letters
#
my $tight = { retry_schedule => "'{100ms}'", give_up_after => "'1s'", ordering => "'none'" };
$t->subscribe('shop', $r->url("/status/413/shop?$private{query}"), events => "'{item.*}'", %$tight);
$t->sql("SELECT webhook.set_credential('shop', 'basic', 'ann:$private{password}')");
$t->sql("INSERT INTO item VALUES (1, '$private{payload}')");
my $line = wait_for_line('shop', 'events became dead letters');
is_deeply(
	$line,
	{
		level   => 'WARNING',
		message => ': 1 event became a dead letter',
		detail  => 'The newest was given up after 1 attempt; the outcome was "payload_too_large" (status 413).',
		hint    => 'webhook.dead_letter has the events and the reasons. Fix the cause, then call webhook.redeliver().'
	},
	'the first is told at once');
$t->sql("INSERT INTO item SELECT g, '$private{payload}' FROM generate_series(2, 40) g");
$t->poll_sql('all have become dead letters', q{SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'shop'}, 40);

#
# While that minute passes: the others
#
# an endpoint that is gone, and its deliveries that were under way
$t->subscribe('gone', $r->url('/status/410/gone'), events => "'{event.*}'");
$t->sql("INSERT INTO event SELECT g, '$private{payload}' FROM generate_series(1, 5) g");
$line = wait_for_line('gone', 'it was disabled');
is_deeply(
	$line,
	{
		level   => 'WARNING',
		message => ' was disabled',
		detail  => 'The endpoint answered 410 Gone.',
		hint    => 'Its events are kept. Fix the cause, then call webhook.resume().'
	},
	'disabled by its endpoint');

# by people
$t->subscribe('ours', $r->url('/ok/ours'), events => "'{event.*}'");
$t->sql(q{UPDATE webhook.subscription SET state = 'disabled', state_reason = 'by hand' WHERE name = 'ours'});

# a filter that cannot be evaluated, and one that takes too long
my $large = q{SELECT json_build_object('j', json_agg(g), 'k', json_agg(-g)) FROM generate_series(1, 20000) g};
$t->subscribe('odd', $r->url('/ok/odd'), events => "'{event.new}'", filter => q{'$.result.v > 0'});
$t->sql(qq{INSERT INTO event VALUES (6, '$private{payload}', '"\\u0000"')});
$line = wait_for_line('odd', 'its filter could not be evaluated');
is_deeply([ @$line{qw(message detail)} ], [ ': 1 event became a dead letter', 'The newest was not sent.' ], 'an event that was not sent');
$t->subscribe('slow', $r->url('/ok/slow'), events => "'{event.*}'", filter => q{'$.result.j.j[*] == $.result.j.k[*]'}, ordering => "'none'");
$t->sql("INSERT INTO event SELECT g, '$private{payload}', ($large) FROM generate_series(11, 13) g");
$t->poll_sql('the slow one is disabled', q{SELECT state FROM webhook.subscription WHERE name = 'slow'}, 'disabled');

# a transform, and the text of a function
$t->subscribe('made', $r->url('/ok/made'), events => "'{event.*}'", transform => "'public.failing'", %$tight);
$t->sql("INSERT INTO event VALUES (20, '$private{payload}')");
$line = wait_for_line('made', 'its transform failed');
like($line->{detail}, qr/^The newest was given up after \d+ attempts?; the outcome was "transform_failed"\.$/, 'a transform: the word, and not what it said');

# a breaker
$t->subscribe('ill', $r->url('/ok/ill'), events => "'{event.*}'", retry_schedule => "'{1h}'", ordering => "'none'");
$r->mode('/ok/ill', '/status/503/ill');
$t->sql("INSERT INTO event SELECT g, '$private{payload}' FROM generate_series(100, 120) g");
$line = wait_for_line('ill', 'its breaker opened');
is_deeply(
	$line,
	{
		level   => 'LOG',
		message => ': its breaker opened',
		detail  => 'The failure that opened the breaker was "unavailable".',
		hint    => 'Its events are kept, and sent when a probe is answered. webhook.log has the requests that failed.'
	},
	'a breaker that opens');
$r->mode('/ok/ill', undef);
$t->poll_sql('its breaker is closed', q{SELECT breaker FROM webhook.status WHERE subscription = 'ill'}, 'closed');

#
# At the end of the minute
#
wait_for_line('shop', 'more events became dead letters', 2);
is(dead_letters('shop'), 40, 'the lines count every dead letter');
is(scalar(lines('shop')), 2, 'and are two: at once, and when the minute is over');
like((lines('shop'))[1]{message}, qr/^: 39 events became dead letters in the last minute$/, 'the second says since when');

wait_for_line('ill', 'its breaker closed', 2);
is_deeply([ @{ (lines('ill'))[1] }{qw(level message detail hint)} ], [ 'LOG', ': its breaker closed', '', '' ], 'a breaker that closes, in the next line');

#
# When the worker ends
#
my $before = scalar(() = lines('shop'));
$t->sql("INSERT INTO item SELECT g, '$private{payload}' FROM generate_series(41, 60) g");
$t->poll_sql('they have become dead letters', q{SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'shop'}, 60);
$t->sql(q{DELETE FROM webhook.subscription WHERE name = 'made'});
$t->stop;
is(dead_letters('shop'), 60, 'what was not said yet is said when the worker ends');
cmp_ok(scalar(() = lines('shop')), '<=', $before + 2, 'in no more lines than there are minutes begun, and one');

my ($slow) = grep { $_->{message} eq ' was disabled' } lines('slow');
like($slow->{detail}, qr/^Its filter exceeded a limit for several events in a row\./, 'disabled for its filter');
is(dead_letters('slow'), 3, 'with the events that its filter could not be evaluated for, wherever they are said');
is(scalar(lines('ours')), 0, 'who disables a subscription by hand need not be told');
is(scalar(lines('gone')), 1, 'what was under way when it was disabled makes no further line');

my $said = join "\n", map { my $name = $_; map { "$name $_->{message} $_->{detail} $_->{hint}" } lines($name) } qw(shop gone odd slow made ill);
unlike($said, qr/$private{$_}/, "no line shows what is private: $_") for sort keys %private;
unlike($said, qr{https?:|localhost|\\u0000}, 'nor a URL or host, nor what a filter has met');

done_testing();

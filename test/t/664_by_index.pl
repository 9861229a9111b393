# The promise: nothing that the worker does reads a table that grows from end to
# end, whatever the planner knows of it; and who looks for the events of a
# subscription has the rule about them in the plan itself, not behind the call of
# a function, so that what an event holds is not read where that decides nothing.
#
# auto_explain writes down the plan of each statement, of the worker's too. The
# planner knows less than nothing: all tables are analyzed while they are empty.
use strict;
use warnings;

use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(preload => 'auto_explain,webhook', conf => <<'CONF');
webhook.poll_interval = '500ms'
autovacuum = off
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_verbose = on
auto_explain.log_format = json
CONF
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

# The plans in the log, { Query Text, Plan, worker: was it of a worker that had started? }
sub plans
{
	my (@plans, %worker);
	my $log = slurp_file($node->logfile);
	while ($log =~ /^\S+ \S+ \S+ \[(\d+)\] (.*)LOG:  (?:(webhook worker started)|duration: [\d.]+ ms  plan:\n((?:\t.*\n)+))/mg)
	{
		my ($pid, $started, $plan) = ($1, $3, $4);
		$worker{$pid} = 1 if $started;
		push @plans, { %{ JSON::PP::decode_json($plan) }, worker => $worker{$pid} } if $plan;
	}
	return (scalar(keys %worker), @plans);
}

sub nodes
{
	my ($plan) = @_;
	return ($plan, map { nodes($_) } @{ $plan->{Plans} // [] });
}

my $grows = qr/^(outbox|attempt)_\d$|^(outbox|attempt|pending|dead_letter)$/;

#
# A worker that reads, sends, tries again, gives up, catches up, and starts after a crash
#
$t->sql(<<'SQL');
CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0, pad text);
ANALYZE;
SQL
$t->watch('item');
$t->subscribe('good', $r->url('/ok/good'), batch_size => 1);
$t->subscribe('failing', $r->url('/ok/failing'), retry_schedule => "'{100ms}'", events => "'{item.*}'");
$t->subscribe('refused', $r->url('/status/413/refused'), events => "'{item.new}'");
$t->subscribe('paused', $r->url('/ok/paused'), events => "'{item.*}'", filter => q{'$.result.v >= 0'});
$t->subscribe('batched', $r->url('/ok/batched'), events => "'{item.*}'", batch_size => 10, profile => "'standard'");
$t->sql("SELECT webhook.pause('paused')");
$r->mode('/ok/failing', '/status/404/failing');

my $late = $node->background_psql($WebhookTest::DB);
$late->query_safe('BEGIN; INSERT INTO item VALUES (100000)');
$t->sql('INSERT INTO item SELECT g, 0, repeat(md5(g::text), 100) FROM generate_series(1, 800) g');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
$r->wait_for_requests(800, '/ok/good');
$late->query_safe('COMMIT');
$late->quit;
$r->mode('/ok/failing', '/status/503/failing');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 40');
$t->poll_sql('its breaker opens', "SELECT breaker <> 'closed' FROM webhook.status WHERE subscription = 'failing'");
my $old = $t->wait_for_worker;
kill 9, $old;
$t->wait_for_worker($old);
$r->mode('/ok/failing', undef);
$t->sql("SELECT webhook.resume('paused')");
$t->sql("SELECT webhook.pause('failing')");
$t->sql("SELECT webhook.resume('failing')");
$t->wait_until_settled;
$t->sql("SELECT count(webhook.redeliver(event_number::text, 'good')) FROM (SELECT event_number FROM webhook.outbox ORDER BY 1 LIMIT 5) e");
$t->sql("SELECT webhook.replay('paused', now() - interval '1 hour')");
$t->wait_until_settled;
$t->stop;

# what a worker does once, before it says that it has started, passes what is pending
my ($workers, @plans) = plans();
is($workers, 2, 'two workers');
my (%seen, %scanned);
for my $p (grep { $_->{worker} } @plans)
{
	for my $n (nodes($p->{Plan}))
	{
		next unless ($n->{'Relation Name'} // '') =~ $grows;
		$seen{ $n->{'Relation Name'} =~ s/_\d$//r }++ if $n->{'Node Type'} =~ /Index|Tid/;
		$scanned{ $p->{'Query Text'} } = $n->{'Relation Name'} if $n->{'Node Type'} eq 'Seq Scan';
	}
}
note scalar(grep { $_->{worker} } @plans) . ' plans of the workers';
cmp_ok($seen{$_} // 0, '>', 0, "the worker goes by an index of $_") for qw(outbox attempt pending);
is(join("\n", map { "$scanned{$_}: $_" } sort keys %scanned), '', 'and reads none of what grows from end to end');

#
# Events of a subscription: the rule is in the plan
#
my ($found) = grep { $_->{'Query Text'} =~ /^WITH found AS MATERIALIZED/ } @plans;
ok($found, 'the plan of a replay');
my $plan = JSON::PP->new->canonical->encode($found->{Plan});
unlike($plan, qr/webhook_internal\.(matches|asks_for|event_size)\(/, 'has no call of the functions that it is made of');
like($plan, qr/&&.*webhook_internal\.matches_content\(/, 'but what they say; only what is in the event is asked of a function');

done_testing();

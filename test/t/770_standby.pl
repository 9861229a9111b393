# The promise: on a standby everything of webhook that reads works, and says what the primary
# says; what writes is refused, by an error that says why; and the standby says of itself
# that it is one, and delivers nothing.
#
# Every relation and every function of the schema webhook is tried, by the catalogue: one
# that is added must be put into one of the lists below.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\nwal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
$t->sql('CREATE ROLE op LOGIN; SELECT webhook.grant_operator(\'op\'); GRANT SELECT ON item TO op');
$t->watch('item');
$t->subscribe('crm',   $r->url('/ok/crm'));
$t->subscribe('gone',  $r->url('/status/413/gone'));
$t->subscribe('waits', 'https://localhost:1/', retry_schedule => "'{1 day}'");
$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 5) g');
$t->poll_sql('delivered, given up, and kept', "SELECT count(*) FILTER (WHERE s.name = 'waits'), (SELECT count(*) FROM webhook.dead_letter), (SELECT count(*) FROM webhook.attempt WHERE outcome = 'delivered') FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE p.state = 'retry'", '5|5|5');
my $event = $t->sql('SELECT webhook.event_id(min(event_number)) FROM webhook.outbox');

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$t->sql('INSERT INTO item VALUES (6)');
$t->poll_sql('the sixth too', "SELECT count(*) FROM webhook.attempt WHERE outcome = 'delivered'", 6);
$t->poll_sql('kept and given up', 'SELECT (SELECT count(*) FROM webhook.pending), (SELECT count(*) FROM webhook.dead_letter), (SELECT delivered FROM webhook.stat_worker)', '6|6|6');

$node->wait_for_catchup('standby', 'replay', $node->lsn('insert'));
my $arrived = $r->count;

# What the standby says: the output, or the error as psql shows it.
sub on_standby
{
	my ($sql, $role) = @_;
	my ($rc, $out, $err) = $standby->psql('postgres', ($role ? "SET ROLE $role;\n" : '') . "\\set VERBOSITY verbose\n$sql", on_error_stop => 1);
	return $rc == 0 ? $out : $err;
}

sub on_both
{
	my ($what, $sql) = @_;
	my ($there, $here);
	eval { poll_until('', sub { $node->wait_for_catchup('standby', 'replay', $node->lsn('insert')); $there = $t->sql($sql); $here = on_standby($sql); $there eq $here }, 20) };
	return is($here, $there // 'an answer of the primary', $what);
}

#
# What it says of itself
#
my $is_standby = 'not_running|this server is a standby: delivery begins when it is promoted';
is(on_standby('SELECT state, reason FROM webhook.worker'), $is_standby, 'webhook.worker says that it is a standby');
is(on_standby('SELECT pid, started_at, last_read_at, queued, in_flight, events_read, outbox_size FROM webhook.worker'), '||||||', 'and nothing of a worker');
is(on_standby('SELECT unread_events FROM webhook.worker'), 0, 'what the primary has read counts as read');
is(on_standby("SELECT subscription, state, breaker, queued, in_flight, pending, dead_letters FROM webhook.status ORDER BY 1"),
	"crm|active|closed|0|0|0|0\ngone|active|closed|0|0|0|6\nwaits|active|closed|0|0|6|0", 'webhook.status has what is stored, and nothing from the memory of a worker');
is(on_standby('SELECT count(*) FROM webhook.progress'), 0, 'webhook.progress has no work');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker'"), 0, 'there is no worker');

#
# Relations
#
my %in_memory = map { $_ => 1 } qw(status worker progress);
for my $name (split /\n/, $t->sql("SELECT relname FROM pg_class WHERE relnamespace = 'webhook'::regnamespace AND relkind IN ('r', 'v', 'p') AND NOT relispartition ORDER BY 1"))
{
	next if $in_memory{$name};
	on_both("webhook.$name says what the primary's says", "SELECT count(*), md5(string_agg(x::text, E'\n' ORDER BY x::text)) FROM webhook.$name x");
}

#
# Functions
#
my %reads = (
	enable_delivery_preview => 'SELECT count(*) FROM webhook.enable_delivery_preview()',
	event_id                => 'SELECT webhook.event_id(1)',
	event_number            => "SELECT webhook.event_number('$event')",
	metrics                 => 'SELECT webhook.metrics()',
	preview                 => "SELECT webhook.preview('entity', entity_type => 'item', entity_id => '1') IS NOT NULL",
	search_log              => "SELECT event_id, subscription, outcome FROM webhook.search_log(entity_type => 'item') ORDER BY 1, 2",
	verify                  => "SELECT webhook.verify('standard', '$WebhookTest::SECRET', '{}', 'x')",
);
# They go through the one door of webhook_internal.privileged_call, which is an UPDATE.
my %asks = (
	explain        => "SELECT webhook.explain('$event', 'crm')",
	match_preview  => "SELECT count(*) FROM webhook.match_preview(events => '{item.*}')",
	replay_preview => "SELECT p FROM webhook.replay_preview('crm', '-infinity') p",
);
my %writes = (
	copy_profile       => "SELECT webhook.copy_profile('entity', 'mine')",
	create_api_token   => "SELECT webhook.create_api_token('t', 'op')",
	grant_operator     => "SELECT webhook.grant_operator('op')",
	grant_service      => "SELECT webhook.grant_service('op')",
	grant_viewer       => "SELECT webhook.grant_viewer('op')",
	grant_watcher      => "SELECT webhook.grant_watcher('op')",
	isolate_operators  => "SELECT webhook.isolate_operators()",
	pause              => "SELECT webhook.pause('crm')",
	purge_dead_letters => "SELECT webhook.purge_dead_letters('1 day', 'gone')",
	redeliver          => "SELECT webhook.redeliver('$event', 'crm')",
	replay             => "SELECT webhook.replay('crm', '-infinity')",
	reseal             => "SELECT webhook.reseal()",
	resume             => "SELECT webhook.resume('crm')",
	revoke_api_token   => "SELECT webhook.revoke_api_token('t')",
	revoke_operator    => "SELECT webhook.revoke_operator('op')",
	revoke_service     => "SELECT webhook.revoke_service('op')",
	revoke_viewer      => "SELECT webhook.revoke_viewer('op')",
	revoke_watcher     => "SELECT webhook.revoke_watcher('op')",
	rotate_secret      => "SELECT webhook.rotate_secret('crm')",
	set_credential     => "SELECT webhook.set_credential('crm', 'bearer', 'x')",
	stat_reset         => "SELECT webhook.stat_reset()",
	subscribe          => "SELECT webhook.subscribe('new', 'https://localhost:1/')",
	unsubscribe        => "SELECT webhook.unsubscribe('crm')",
	unwatch            => "SELECT webhook.unwatch('item')",
	watch              => "SELECT webhook.watch('item', keep_previous => true)",
);
# What has nothing to do there says so, or nothing.
my %idle = (
	enable_delivery => [ 'SELECT webhook.enable_delivery()', qr/^$/ ],
	start_worker    => [ 'SELECT webhook.start_worker()', qr/^$/ ],
	test            => [ "CALL webhook.test('crm')", qr/\|not sent: the worker is not running: this server is a standby/ ],
);
my @functions = split /\n/, $t->sql("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'webhook'::regnamespace AND prorettype <> 'trigger'::regtype ORDER BY 1");
is_deeply([ sort keys %reads, keys %asks, keys %writes, keys %idle ], \@functions, 'every function is tried');

for my $name (sort keys %reads)
{
	next if $name eq 'metrics';
	on_both("webhook.$name() says what the primary's says", $reads{$name});
}
my $metrics = on_standby($reads{metrics});
like($metrics, qr/^webhook_worker_up 0$/m, 'webhook.metrics() says that no worker is up');
like($metrics, qr/^webhook_subscription_dead_letters\{subscription="gone"\} 6$/m, 'and what is stored');
like($metrics, qr/^webhook_worker_delivered_total 6$/m, 'and what was counted on the primary');
like($metrics, qr/^# EOF$/m, 'to its end');

my $read_only = qr/ERROR:  25006: cannot execute [A-Z ]+ in a read-only transaction/;
like(on_standby($asks{$_}), $read_only, "webhook.$_() is refused: the server takes it for a write") for sort keys %asks;
like(on_standby($writes{$_}), $_ eq 'watch' ? qr/ERROR:  55000: cannot acquire lock .* while recovery is in progress/ : $read_only, "webhook.$_() is refused")
  for sort keys %writes;
like(on_standby($idle{$_}[0]), $idle{$_}[1], "webhook.$_() does nothing there") for sort keys %idle;

like(on_standby($_, 'op'), qr/^\d+$/, "an operator reads: $_")
  for map { "SELECT count(*) FROM webhook.$_" } qw(subscription status worker log dead_letter stat_subscription progress source);
like(on_standby("UPDATE webhook.subscription SET max_in_flight = 1", 'op'), $read_only, 'and changes nothing');

is($r->count, $arrived, 'nothing was sent by all that');
is(on_standby('SELECT state FROM webhook.worker'), 'not_running', 'and no worker has come of it');
$standby->stop('fast');
$t->stop;
done_testing();

# The promise: cumulative counters say what the log says. They are kept over restarts of the
# worker and the server, nothing is wrong with a delivery if they cannot be written, and
# webhook.metrics() is their OpenMetrics text. webhook.progress tells how far long work has come.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\nautovacuum = off\n");
my $r = $t->receiver;
$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int)');
$t->watch('item');
$t->subscribe('good',    $r->url('/ok/good'));
$t->subscribe('rejects', $r->url('/status/413/rejects'));
$t->subscribe('busy', $r->url('/status/503/busy'), retry_schedule => "'{1h}'");
$t->wait_for_worker;

# ---------------------------------------------------------------- what the log says

my $bounds = '0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300';

# The counters of each subscription from the log and the dead letters, in the form of the view.
my $by_log = <<"SQL";
SELECT s.name, count(*) FILTER (WHERE a.outcome = 'delivered'), count(*) FILTER (WHERE a.outcome NOT IN ('delivered', 'skipped')),
	(SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = s.id),
	(SELECT array_agg((SELECT count(*) FROM webhook.attempt x WHERE x.subscription_id = s.id
			AND x.duration_ms > coalesce(1000 * lo, -1) AND x.duration_ms <= coalesce(1000 * hi, 'infinity')) ORDER BY n)
		FROM (SELECT n, (ARRAY[$bounds])[n - 1] AS lo, (ARRAY[$bounds])[n] AS hi FROM generate_series(1, 12) n) b),
	round(sum(a.duration_ms)::numeric / 1000, 2)
FROM webhook.subscription s LEFT JOIN webhook.attempt a ON a.subscription_id = s.id GROUP BY s.id, s.name ORDER BY 1
SQL
my $by_stat = <<'SQL';
SELECT subscription, delivered, failed, given_up, duration_histogram, round(duration_seconds::numeric, 2) FROM webhook.stat_subscription ORDER BY 1
SQL

# until both say the same, of which there is something
sub agree
{
	my ($what) = @_;
	my ($log, $stat) = ('', '');
	my $ok = eval { poll_until($what, sub { ($log, $stat) = ($t->sql($by_log), $t->sql($by_stat)); $log eq $stat }, 30) };
	is($stat, $log, $what);
	return $stat;
}

# items up to N are there, and the log has what was sent of them
my $items = 0;

sub items_to
{
	my ($n) = @_;
	$t->sql("INSERT INTO item SELECT g, 0 FROM generate_series($items + 1, $n) g");
	$items = $n;
	$t->poll_sql('all are settled', q{SELECT count(*) FROM webhook.log WHERE subscription = 'good'}, $n);
	return;
}

items_to(700);
$t->poll_sql('a breaker has opened', q{SELECT count(*) FROM webhook.status WHERE breaker <> 'closed'}, 1);
like(agree('counters are what the log says'), qr/^good\|700\|0\|0\|/m, 'of 700 deliveries');
items_to(900);
like(agree('they go on'), qr/^good\|900\|0\|0\|/m, 'from where they were');

is($t->sql(q{SELECT (SELECT sum(x) FROM unnest(delay_histogram) x) = delivered, delay_seconds > 0, (SELECT sum(x) FROM unnest(delay_histogram) x) > 0
	FROM webhook.stat_subscription WHERE subscription = 'good'}), 't|t|t', 'each delivery has its delay');
cmp_ok($t->sql(q{SELECT abs(s.delay_seconds - (SELECT sum(extract(epoch FROM l.started_at - o.created_at) + l.duration_ms / 1000)
	FROM webhook.log l JOIN webhook.outbox o USING (event_number) WHERE l.subscription = 'good')) FROM webhook.stat_subscription s WHERE subscription = 'good'}),
	'<', 0.05, 'from the change to the end of the request');
is($t->sql(q{SELECT (SELECT sum(x) FROM unnest(delay_histogram) x) FROM webhook.stat_subscription WHERE subscription = 'busy'}), 0, 'and a failure has none');
is($t->sql(q{SELECT string_agg(subscription || breaker_opened, ' ' ORDER BY subscription) FROM webhook.stat_subscription}), 'busy1 good0 rejects0', 'breakers that opened are counted');

my $total = q{SELECT w.delivered = s.delivered, w.failed = s.failed, w.given_up = s.given_up, w.starts, w.events_read, w.reads > 0
	FROM webhook.stat_worker w, (SELECT sum(delivered) AS delivered, sum(failed) AS failed, sum(given_up) AS given_up FROM webhook.stat_subscription) s};
is($t->sql($total), 't|t|t|1|900|t', 'the worker has the sums');

is($t->sql('SELECT count(*) FROM webhook_internal.stat_worker'), 1, 'one row for the worker');
is($t->sql('SELECT count(*) FROM webhook_internal.stat_subscription'), 3, 'and one for each subscription');

# ---------------------------------------------------------------- restarts, crashes

my $before = $t->sql("$by_stat");
my $pid    = $t->worker_pid;
$t->sql("SELECT pg_terminate_backend($pid)");
$t->wait_for_worker($pid);
items_to(1000);
like(agree('another worker goes on'), qr/^good\|1000\|/m, 'from where the last one ended');
is($t->sql('SELECT starts FROM webhook.stat_worker'), 2, 'which is counted');

# commits of the worker are not waited for: another's makes them durable
$t->sql('CREATE TABLE flushed ()');
$t->node->stop('immediate');
$t->node->start;
$t->wait_for_worker;
like(agree('a crash of the server loses nothing that was added'), qr/^good\|1000\|/m, 'to the counters');
items_to(1010);
like(agree('and they go on'), qr/^good\|1010\|/m, 'after it');

# a stop writes what has been counted and not been added yet
items_to(1020);
my $preloaded = $t->sql('SHOW shared_preload_libraries');
$t->node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q{''}); # no worker after the restart, which would go on
$t->node->restart;
is($t->sql($by_stat), $t->sql($by_log), 'a clean stop adds what is left');
$t->node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'$preloaded'");
$t->node->restart;
$t->wait_for_worker;

# ---------------------------------------------------------------- reset

$t->sql(q{SELECT webhook.stat_reset('good')});
is($t->sql(q{SELECT subscription, delivered, stats_reset IS NOT NULL FROM webhook.stat_subscription WHERE subscription = 'good'}), 'good|0|t', 'one is reset');
is($t->sql(q{SELECT failed > 0, stats_reset FROM webhook.stat_subscription WHERE subscription = 'busy'}), 't|', 'and the others are not');
$t->sql('SELECT webhook.stat_reset()');
is($t->sql(q{SELECT sum(delivered + failed + given_up), sum(delay_seconds + duration_seconds), bool_and(stats_reset IS NOT NULL) FROM webhook.stat_subscription}), '0|0|t', 'all are');
is($t->sql(q{SELECT delivered, events_read, stats_reset IS NOT NULL FROM webhook.stat_worker}), '0|0|t', 'the worker too');
$t->sql(q{INSERT INTO item VALUES (2001, 0)});
$t->poll_sql('from then on it counts again', q{SELECT delivered, delay_histogram[1] + delay_histogram[2] + delay_histogram[3] + delay_histogram[4] + delay_histogram[5] + delay_histogram[6] + delay_histogram[7] + delay_histogram[8] + delay_histogram[9] + delay_histogram[10] FROM webhook.stat_subscription WHERE subscription = 'good'}, '1|1');
my (undef, undef, $error) = $t->node->psql($WebhookTest::DB, q{SELECT webhook.stat_reset('nobody')});
like($error, qr/subscription "nobody" does not exist/, 'what is not there cannot be reset');

# ---------------------------------------------------------------- trouble with the tables holds up nothing

$t->sql(q{CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
CREATE TRIGGER no BEFORE UPDATE ON webhook_internal.stat_worker FOR EACH ROW EXECUTE FUNCTION no()});
my $offset = -s $t->node->logfile;
$t->sql(q{INSERT INTO item SELECT g, 0 FROM generate_series(3001, 3010) g});
$t->node->wait_for_log(qr/WARNING: .*could not add to its counters\n.*not today/, $offset);
$t->poll_sql('they are delivered and settled all the same', q{SELECT count(*) FROM webhook.log l JOIN webhook.outbox o USING (event_number) WHERE subscription = 'good' AND o.entity_id::int BETWEEN 3001 AND 3010}, 10);
is($t->sql('SELECT state FROM webhook.worker'), 'running', 'nothing fails');
$t->sql('DROP TRIGGER no ON webhook_internal.stat_worker');
$pid = $t->worker_pid;
$t->sql("SELECT pg_terminate_backend($pid)");
$t->wait_for_worker($pid);
is($t->sql(q{SELECT delivered FROM webhook.stat_subscription WHERE subscription = 'good'}), 11, 'what was counted meanwhile is not lost');

# ---------------------------------------------------------------- a subscription that is removed

$t->sql(q{SELECT webhook.unsubscribe('rejects')});
is($t->sql('SELECT count(*) FROM webhook_internal.stat_subscription t WHERE NOT EXISTS (SELECT FROM webhook.subscription s WHERE s.id = t.subscription_id)'), 0, 'it leaves no counters behind');

# ---------------------------------------------------------------- metrics

$t->sql(q{INSERT INTO webhook.subscription (name, url, state) VALUES (E'q"u\\\\o\nte', 'https://hooks.example.com/', 'inactive')});
my $text = $t->sql('SELECT webhook.metrics()');
like($text, qr/\n# EOF\n?\z/, 'metrics end as OpenMetrics text does');
like($text, qr/^webhook_subscription_pending\{subscription="q\\"u\\\\o\\nte"\} 0$/m, 'labels are escaped');
like($text, qr/^webhook_worker_up 1$/m, 'the worker is up');
my ($count)    = $text =~ /^webhook_subscription_delay_seconds_count\{subscription="good"\} (\d+)$/m;
my ($infinite) = $text =~ /^webhook_subscription_delay_seconds_bucket\{subscription="good",le="\+Inf"\} (\d+)$/m;
my ($total_delivered) = $text =~ /^webhook_subscription_delivered_total\{subscription="good"\} (\d+)$/m;
cmp_ok($count, '>', 0, 'a histogram counts');
is("$infinite $total_delivered", "$count $count", 'all of it in its last bucket, and as many were delivered');
my @buckets = $text =~ /^webhook_subscription_delay_seconds_bucket\{subscription="good",le="[^"]+"\} (\d+)$/mg;
is("@buckets", join(' ', sort { $a <=> $b } @buckets), 'its buckets are cumulative');
is_deeply([ $text =~ /^webhook_subscription_delay_seconds_bucket\{subscription="good",le="([^"]+)"\}/mg ], [ split(/, /, $bounds), '+Inf' ], 'with the bounds by which the worker counts');
# each family once, all its lines together, each of a form that the format has
my (%seen, $family);
for (split /\n/, $text)
{
	last if $_ eq '# EOF';
	if (/^# TYPE (\S+) (gauge|counter|histogram)$/)
	{
		$family = $1;
		fail("$family comes twice") if $seen{$family}++;
	}
	elsif (!/^# HELP \Q$family\E \S.*$/ && !/^\Q$family\E(?:_total|_bucket|_sum|_count)?(?:\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? [0-9.e+-]+$/)
	{
		fail("a line that is not of $family: $_");
	}
}
is(scalar(keys %seen), 34, 'families are 34');
my $small = $t->sql('SELECT webhook.metrics(1)');
is(scalar(() = $small =~ /^webhook_subscription_pending/mg), 1, 'subscriptions are capped');
like($small, qr/^webhook_worker_subscriptions_left_out 2$/m, 'and it says how many are left out');
$t->sql("CREATE ROLE eve LOGIN; SELECT webhook.grant_viewer('eve')");
my $seen = $t->node->safe_psql($WebhookTest::DB, 'SELECT length(webhook.metrics()) > 1000, (SELECT count(*) FROM webhook.stat_subscription), (SELECT count(*) FROM webhook.stat_worker), (SELECT count(*) FROM webhook.progress WHERE false)',
	extra_params => [ '-U', 'eve' ]);
is($seen, 't|3|1|0', 'a viewer sees all of it');
$t->sql("SELECT webhook.isolate_operators()");
is($t->node->safe_psql($WebhookTest::DB, 'SELECT count(*) FROM webhook.stat_subscription', extra_params => [ '-U', 'eve' ]), 0, 'kept apart, only of their own');
$t->sql("SELECT webhook.isolate_operators(false)");
(undef, undef, $error) = $t->node->psql($WebhookTest::DB, 'SELECT webhook.stat_reset()', extra_params => [ '-U', 'eve' ]);
like($error, qr/permission denied/, 'and resets nothing');

# ---------------------------------------------------------------- progress

is($t->sql(q{SELECT count(*) FROM webhook.progress WHERE subscription = 'good'}), 0, 'nothing long is under way');
$t->sql(q{UPDATE webhook.subscription SET rate_limit = 20 WHERE name = 'good'});
$t->sql(q{SELECT webhook.replay('good', '2000-01-01')});
$t->poll_sql('replay shows how far it is', q{SELECT command, done > 0 AND done < total, total <= 1100, rate > 0, estimated_remaining > '0' FROM webhook.progress WHERE subscription = 'good'}, 'replay|t|t|t|t');
my $done = $t->sql(q{SELECT done FROM webhook.progress WHERE subscription = 'good'});
$t->poll_sql('and goes on', qq{SELECT done > $done FROM webhook.progress WHERE subscription = 'good'});
$t->sql(q{UPDATE webhook.subscription SET rate_limit = NULL WHERE name = 'good'});
$t->poll_sql('until it is over', q{SELECT count(*) FROM webhook.progress WHERE subscription = 'good'}, 0);
$t->sql(q{SELECT webhook.pause('good')});
$t->sql(q{INSERT INTO item SELECT g, 0 FROM generate_series(10001, 40000) g});
$t->poll_sql('all that was committed while it was paused waits', q{SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'good'}, 30000);
is($t->sql(q{SELECT count(*) FROM webhook.progress WHERE subscription = 'good'}), 0, 'and nothing is shown');
$t->sql(q{UPDATE webhook.subscription SET rate_limit = 500, state = 'active' WHERE name = 'good'});
$t->poll_sql('catching up shows how far it is', q{SELECT command, done BETWEEN 1 AND total - 1, total > 20000 FROM webhook.progress WHERE subscription = 'good'}, 'catching_up|t|t', 60);
$t->stop;

# ---------------------------------------------------------------- rotation

$t = WebhookTest->new(name => 'rotating', conf => "webhook.retention = '6s'\nlock_timeout = 0\n");
$t->sql('CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)');
$t->watch($_) for 'item', 'other';
$t->subscribe('paused', 'https://127.0.0.1:1/', events => "'{item.*}'");
$t->sql("SELECT webhook.pause('paused')");
$t->wait_for_worker;

# one row that cannot be moved yet, so that it stays half-way
$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 3000) g');
$t->sql('INSERT INTO other VALUES (1)');    # nobody wants it: it goes with its segment
$t->poll_sql('all wait', 'SELECT count(*) FROM webhook.pending', 3000);
my $locker = $t->node->background_psql($WebhookTest::DB, on_error_stop => 1);
$locker->query_safe("BEGIN; SELECT FROM webhook.outbox WHERE entity_id = '2000' FOR UPDATE");
$t->poll_sql('rotation shows how far it is', 'SELECT command, subscription IS NULL, done > 0 AND done < total, total, rate > 0 FROM webhook.progress', 'rotation|t|t|3000|t');
$t->poll_sql('and that it is delayed', q{SELECT rotation_delayed_since > now() - interval '5 min' FROM webhook.stat_worker});
$locker->query_safe('ROLLBACK');
$locker->quit;
$t->poll_sql('it ends when it can', q{SELECT (SELECT count(*) FROM webhook.progress), rotation_delayed_since, segments_emptied > 0 FROM webhook.stat_worker}, '0||t');
is($t->sql('SELECT count(*) FROM webhook.outbox'), 3000, 'with all events');
$t->stop;
done_testing();

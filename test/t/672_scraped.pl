# The promise: what monitoring/ ships works as it stands. prometheus-postgres-exporter scrapes with
# its query file, Prometheus scrapes that and webhook.metrics() itself, both give the same metrics,
# each alert fires, and each query of the dashboard has an answer.
#
# Of the alerts, a minute of waiting is a second here, and an outbox is large that has grown by two
# megabytes: all else is what is shipped. What they wait for longer, an hour without progress, is
# written into the tables.
#
# Needs Debian's prometheus and prometheus-postgres-exporter: make monitoring installs them and runs it.
use strict;
use warnings;

use Test::More;

BEGIN
{
	plan skip_all => 'runs where PGWEBHOOK_MONITORING is set: make monitoring' unless $ENV{PGWEBHOOK_MONITORING};
}

use File::Spec;
use FindBin;
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use WebhookTest;

my $shipped = "$FindBin::RealBin/../../monitoring";
my $dir     = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my %children;

# A program that ends with us; its output is kept.
sub start
{
	my ($name, @command) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>', "$dir/$name.log") && open(STDERR, '>&', \*STDOUT) or die "$name: $!";
		exec(@command) or die "$command[0]: $!";
	}
	return $children{$name} = $pid;
}

sub end
{
	my ($name) = @_;
	my $pid = delete $children{$name} or return;
	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}
END { local $?; end($_) for keys %children }

my $t = WebhookTest->new;
my $r = $t->receiver;
$t->sql('CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY, note text)');
$t->watch('item');
$t->watch('other', exclude_columns => "'{note}'");
$t->subscribe('good',    $r->url('/ok/good'));
$t->subscribe('failing', $r->url('/status/503/failing'), retry_schedule => "'{1h}'");
$t->subscribe('gone',    $r->url('/status/410/gone'));
$t->subscribe('rejects', $r->url('/status/413/rejects'));
$t->sql("CREATE ROLE monitor LOGIN; SELECT webhook.grant_viewer('monitor')");
my $node = $t->node;

# ---------------------------------------------------------------- who scrapes whom

my ($exporter, $own, $prometheus) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
local $ENV{DATA_SOURCE_NAME} = sprintf('host=%s port=%d user=monitor dbname=%s sslmode=disable', $node->host, $node->port, $WebhookTest::DB);
start('exporter', 'prometheus-postgres-exporter', '--disable-default-metrics', '--disable-settings-metrics', "--extend.query-path=$shipped/postgres_exporter.yaml",
	"--web.listen-address=127.0.0.1:$exporter");

# the one line of an exporter, and an HTTP server round it
{
	my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $own, Listen => 5, ReuseAddr => 1) or die "port $own: $!";
	my $pid    = fork() // die "fork: $!";
	if ($pid == 0)
	{
		$SIG{TERM} = sub { POSIX::_exit(0) };
		while (my $client = $server->accept)
		{
			while (defined(my $line = <$client>)) { last if $line !~ /\S/ }
			my $body = `psql -XAtq -d 'host=@{[$node->host]} port=@{[$node->port]} user=monitor dbname=$WebhookTest::DB' -c 'SELECT webhook.metrics(3)' 2>/dev/null`;
			chomp $body;
			print $client "HTTP/1.1 " . ($body ? '200 OK' : '503 down') . "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: "
			  . length($body) . "\r\nConnection: close\r\n\r\n$body";
			close $client;
		}
		POSIX::_exit(0);
	}
	$children{own} = $pid;
	close $server;
}

my $rules = slurp_file("$shipped/alerts.yaml");
is(system_log('promtool', 'check', 'rules', "$shipped/alerts.yaml"), 0, 'promtool takes the alerts');
$rules =~ s/^( +for: \d+)m$/$1s/mg;
my $large = 2_000_000 + $t->sql('SELECT outbox_size FROM webhook.worker');
is($rules =~ s/> 10e9$/> $large/mg, 1, 'one alert is for a size');
append_to_file("$dir/alerts.yaml", $rules);
append_to_file("$dir/prometheus.yaml", <<CONF);
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: ['$dir/alerts.yaml']
scrape_configs:
  - job_name: exporter
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ['127.0.0.1:$exporter']}]
  - job_name: own
    scrape_interval: 1s
    scrape_timeout: 1s
    static_configs: [{targets: ['127.0.0.1:$own']}]
CONF
start('prometheus', 'prometheus', "--config.file=$dir/prometheus.yaml", "--storage.tsdb.path=$dir/data", "--web.listen-address=127.0.0.1:$prometheus");

my $http = HTTP::Tiny->new;

# The result of a query, decoded; undef: it has none.
sub query
{
	my ($expr) = @_;
	my $answer = $http->get("http://127.0.0.1:$prometheus/api/v1/query?" . $http->www_form_urlencode({ query => $expr }));
	return unless $answer->{success} || $answer->{status} =~ /^4/;
	my $data = JSON::PP::decode_json($answer->{content});
	die "$expr: $data->{error}\n" unless $data->{status} eq 'success';
	return @{ $data->{data}{result} } ? $data->{data}{result} : undef;
}

# The alerts that fire now.
sub firing
{
	my $answer = $http->get("http://127.0.0.1:$prometheus/api/v1/alerts");
	return {} unless $answer->{success};
	return { map { $_->{labels}{alertname} => 1 } grep { $_->{state} eq 'firing' } @{ JSON::PP::decode_json($answer->{content})->{data}{alerts} } };
}

my %fired;
my @alerts = $rules =~ /- alert: (\w+)/g;

sub fires
{
	my ($alert, $why) = @_;
	$fired{$alert} = ok(eval { poll_until("$alert fires", sub { firing()->{$alert} }, 60) }, "$alert fires: $why") or diag($@);
	return;
}

ok(poll_until('both are scraped', sub { ((query('sum(up)') // [])->[0]{value}[1] // 0) == 2 }), 'Prometheus scrapes both');
poll_until('and has what they tell', sub { query('webhook_subscription_pending{job="exporter"}') && query('webhook_subscription_pending{job="own"}') });
fires('WebhookSeriesLeftOut', 'of four subscriptions three are told of');
is_deeply([ sort keys %{ firing() } ], ['WebhookSeriesLeftOut'], 'where all else is well no other alert fires');

# ---------------------------------------------------------------- a bad day

$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 40) g');
$r->wait_for_requests(40, '/ok/good');
fires('WebhookBreakerOpen',          'an endpoint answers 503');
fires('WebhookDeadLetters',          'a payload was refused for good');
fires('WebhookSubscriptionDisabled', 'an endpoint is gone');
$t->sql("UPDATE webhook.pending SET pending_since = pending_since - interval '1 hour'");
fires('WebhookPendingOld', 'something has waited for an hour');
$t->sql('ALTER TABLE other RENAME note TO remark');
fires('WebhookSourceProblem', 'a column is gone that was left out');
$t->sql("INSERT INTO other SELECT g, 'x' FROM generate_series(1, 20000) g");
fires('WebhookOutboxLarge', 'thousands of events that cannot be emptied yet');

# ---------------------------------------------------------------- both tell the same

sub names
{
	my ($job) = @_;
	return sort map { $_->{metric}{__name__} } @{ query("count by (__name__) ({job=\"$job\", __name__=~\"webhook_.+\"})") };
}
is_deeply([ names('exporter') ], [ names('own') ], 'the exporter and webhook.metrics() have the same metrics');
# a histogram is three: bucket, sum and count
my @names = names('own');
is(scalar(@names), 34 + 2 * 2, 'all of them');
for my $job ('exporter', 'own')
{
	ok(poll_until("$job has seen all", sub { query("webhook_subscription_delivered_total{job=\"$job\", subscription=\"good\"} == 20040") }), "$job counts what was delivered");
}
for my $what ('webhook_subscription_delay_seconds_bucket', 'webhook_subscription_duration_seconds_count', 'webhook_subscription_dead_letters', 'webhook_subscription_given_up_total')
{
	is(query("$what\{job=\"exporter\"} - on (subscription, le) $what\{job=\"own\"} != 0"), undef, "$what is the same from both");
}

# ---------------------------------------------------------------- the dashboard

my $dashboard = JSON::PP::decode_json(slurp_file("$shipped/dashboard.json"));
my @queries   = map { my $title = $_->{title}; map { [ $title, $_->{expr} ] } @{ $_->{targets} } } @{ $dashboard->{panels} };
cmp_ok(scalar(@queries), '>=', 20, 'the dashboard has queries');
for (@queries)
{
	my ($title, $expr) = @$_;
	my $run = $expr =~ s/\$__rate_interval/1m/gr =~ s/\$subscription/.*/gr;
	ok(eval { poll_until($run, sub { query($run) }, 30) }, "$title: $expr") or diag($@);
}
my ($variable) = grep { $_->{name} eq 'subscription' } @{ $dashboard->{templating}{list} };
like($variable->{query}{query}, qr/^label_values\(webhook_subscription_pending, subscription\)$/, 'and a variable for subscriptions');

# ---------------------------------------------------------------- no worker

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
$t->sql('INSERT INTO item VALUES (1000)');
$t->sql("UPDATE webhook.outbox SET created_at = created_at - interval '1 hour'");
$t->sql("UPDATE webhook_internal.stat_worker SET rotation_delayed_since = clock_timestamp() - interval '2 hours'");
fires('WebhookWorkerDown',    'nobody delivers');
fires('WebhookLag',           'an event of an hour ago was not read');
fires('WebhookRotationStuck', 'a segment is held');
end($_) for 'exporter', 'own';
fires('WebhookMetricsAbsent', 'nobody tells');

is_deeply([ sort grep { $fired{$_} } keys %fired ], [ sort @alerts ], 'every alert has fired');
end('prometheus');
$t->stop;
done_testing();

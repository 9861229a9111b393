# The promise: whatever an endpoint answers, its request ends within its
# timeout with a word that says what happened, the worker lives and grows by a
# bounded amount, what is kept of the response is text, and nobody else's
# deliveries notice. test/receiver/hostile.mjs tells what each endpoint does.
#
# Covers: responses that crash; what is a failure; bytes of body and headers,
# decompression, NUL; timeouts; others do not wait; redirects.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $TIMEOUT   = 5;     # seconds
my $GROWTH_MB = 48;    # of the worker, for all of them at once and the bulk after that

# What libcurl makes of bytes that are not HTTP has changed: since() has first what one
# of at least that version says (7.88, 8.14 and 8.23 were looked at), then what older ones do.
my $libcurl = WebhookTest::libcurl();
sub since { my ($version, $newer, $older) = @_; return $libcurl >= $version ? @$newer : @$older }

# name of the endpoint, its listener (http unless given), what docs/outcomes.md calls it, the status that is told
my @endpoints = (
	# without end, or nearly so: cut off at 1 MB of body, 64 kB of headers
	[ 'endless-body',       'http', 'response_too_large', 200 ],
	[ 'endless-headers',    'http', 'response_too_large', 200 ],
	[ 'headers-100mb',      'http', 'response_too_large', 200 ],
	[ 'header-line',        'http', 'response_too_large', 200 ],
	[ 'status-line',        'http', 'response_too_large', '' ],
	[ 'interim-flood',      'http', 'response_too_large', 102 ],
	[ 'early-hints-flood',  'http', 'response_too_large', 103 ],
	[ 'endless-chunks',     'http', 'response_too_large', 200 ],
	[ 'chunk-extension',    'http', 'timeout',            200 ],    # never stored, so there is nothing to bound but time
	[ 'endless-trailers',   'http', 'response_too_large', 200 ],
	# libcurl unpacks it, and what comes out counts; newer ones refuse what nobody asked for
	[ 'gzip-transfer', 'http', since(8014, [ 'reset', 200 ], [ 'response_too_large', 200 ]) ],
	[ 'h2-endless-body',    'h2',   'response_too_large', 200 ],
	# slow
	[ 'drip-status',  'http',     'timeout',         '' ],
	[ 'drip-headers', 'http',     'timeout',         200 ],
	[ 'drip-body',    'http',     'timeout',         200 ],
	[ 'hang',         'http',     'timeout',         '' ],
	[ 'hang-tls',     'https',    'timeout',         '', 'hang' ],
	[ 'h2-hang',      'h2',       'timeout',         '' ],
	[ 'tls-hang',     'tls_hang', 'connect_timeout', '' ],
	[ 'length-too-large', 'http', 'timeout', 200 ],
	# closed too early
	[ 'close',                   'close',     'reset', '' ],
	[ 'close-request',           'http',      'reset', '' ],
	[ 'reset-request',           'http',      'reset', '' ],
	[ 'close-status',            'http',      'reset', '' ],
	[ 'close-status-line',       'http',      'reset', '' ],
	[ 'close-headers',           'http',      'reset', 200 ],
	[ 'close-headers-tls',       'https',     'reset', 200, 'close-headers' ],
	[ 'close-after-header',      'http',      'reset', 200 ],
	[ 'close-after-interim',     'http',      'reset', 103 ],
	[ 'close-body',              'http',      'reset', 200 ],
	[ 'close-body-tls',          'https',     'reset', 200, 'close-body' ],
	[ 'close-chunk',             'http',      'reset', 200 ],
	[ 'close-before-last-chunk', 'http',      'reset', 200 ],
	[ 'tls-close',               'tls_close', 'tls',   '' ],
	# HTTP/2
	[ 'h2-reset',      'h2', 'reset', '' ],
	[ 'h2-refused',    'h2', 'reset', '' ],
	[ 'h2-calm',       'h2', 'reset', '' ],
	[ 'h2-reset-body', 'h2', 'reset', 200 ],
	[ 'h2-goaway',     'h2_goaway',  'reset', '' ],
	[ 'h2-destroy',    'h2_destroy', 'reset', '' ],
	[ 'h2-garbage',    'h2_garbage', 'reset', '' ],
	# lengths: what follows the promised bytes is no answer to anything; of two lengths the last counts
	[ 'length-too-small',  'http', 'delivered', 200 ],
	[ 'length-differs',    'http', 'reset',     200 ],
	[ 'length-differs-too', 'http', since(8023, [ 'reset', 200 ], [ 'delivered', 200 ]) ],
	[ 'length-negative',   'http', 'reset',     200 ],
	[ 'length-no-number',  'http', 'reset',     200 ],
	[ 'length-and-chunks', 'http', 'delivered', 200 ],    # chunks win, RFC 9112
	# not HTTP
	[ 'ssh',              'http',        'reset', '' ],
	[ 'noise',            'http',        'reset', '' ],
	[ 'tls-garbage',      'tls_garbage', 'tls',   '' ],
	[ 'chunk-no-number',  'http',        'reset', 200 ],
	[ 'chunk-too-large',  'http',        'reset', 200 ],
	[ 'chunk-negative',   'http',        'reset', 200 ],
	[ 'unknown-coding',   'http',        'reset', 200 ],
	[ 'switch-protocols', 'http',        'http_error', 101 ],    # nobody asked for another protocol
	# no text
	[ 'dirty',      'http', 'delivered', 200 ],
	[ 'h2-dirty',   'h2',   'delivered', 200 ],
	[ 'folded', 'http', since(8014, [ 'delivered', 200 ], [ 'reset', 200 ]) ],    # a first line that continues the one before
	# newer ones take a status that is none in an answer of "HTTP/2", in clear text, for 200
	[ 'status-too-large', 'http', since(8014, [ 'delivered', 200 ], [ 'reset', '' ]) ],
	[ 'status-negative',  'http', since(8014, [ 'delivered', 200 ], [ 'reset', '' ]) ],
	[ 'nul-header', 'http', 'reset',     200 ],
	[ 'gzip-bomb',  'http', 'delivered', 200 ],             # kept as it came
	# elsewhere
	[ 'redirect-internal', 'http', 'redirect', 307 ],
	[ 'redirect-metadata', 'http', 'redirect', 302 ],
	[ 'redirect-file',     'http', 'redirect', 301 ],
	# certificates
	[ 'expired',    'expired',    'tls_expired',    '' ],
	[ 'wronghost',  'wronghost',  'tls_wrong_host', '' ],
	[ 'selfsigned', 'selfsigned', 'tls_unknown_ca', '' ],
);

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\nwebhook.allow_http = on\n");
my $r = $t->receiver;

# The hostile one, ended by closing its standard input.
my $dir = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my $hostile = open(my $alive, '|-', 'sh', '-c', 'exec "$@" >"$0" 2>&1', "$dir/log", 'node',
	"$FindBin::RealBin/../receiver/hostile.mjs", '--certs', $t->{certs}, '--ready-file', "$dir/ready")
  or die "could not start the hostile receiver: $!";
poll_until('the hostile receiver listens', sub { -s "$dir/ready" });
my $ports = JSON::PP::decode_json(slurp_file("$dir/ready"));

# kB of the worker: its peak, and what is its alone now.
sub memory
{
	my ($pid) = @_;
	my $status = slurp_file("/proc/$pid/status");
	return map { $status =~ /^$_:\s+(\d+) kB/m ? $1 : 0 } 'VmHWM', 'RssAnon';
}

sub outcomes
{
	my ($entity_type) = @_;
	my %of;
	for (split /\n/, $t->sql(<<SQL))
SELECT s.name, a.outcome, coalesce(a.http_status::text, ''), count(*), max(a.duration_ms)
FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = '$entity_type'
	JOIN webhook.subscription s ON s.id = a.subscription_id GROUP BY 1, 2, 3
SQL
	{
		my ($name, @row) = split /\|/, $_, -1;
		push @{ $of{$name} }, \@row;
	}
	return \%of;
}

$t->sql("CREATE TABLE $_ (id int PRIMARY KEY, note text)"), $t->watch($_) for qw(hostile bulk well);
for (@endpoints)
{
	my ($name, $listener, undef, undef, $path) = @$_;
	my $scheme = $listener =~ /^(http|close)$/ ? 'http' : 'https';
	$t->subscribe($name, "$scheme://127.0.0.1:$ports->{$listener}/" . ($path // $name),
		events => "'{hostile.*}'", timeout => "'$TIMEOUT s'", retry_schedule => "'{1h}'", ordering => "'none'");
}
$t->subscribe('well', $r->url('/ok/well'), events => "'{well.*}'");

my $pid = $t->wait_for_worker;
# once through with everything that is loaded and allocated on the way of an honest delivery
$t->sql("INSERT INTO well SELECT g, 'x' FROM generate_series(1, 100) g");
$t->wait_until_settled;
my ($peak_before) = memory($pid);

$t->sql("INSERT INTO hostile VALUES (1, 'x')");
poll_until('the requests that hang are under way', sub { $t->sql('SELECT in_flight >= 5 FROM webhook_internal.worker_status()') eq 't' });
$t->sql("INSERT INTO well SELECT g, 'x' FROM generate_series(101, 600) g");
$r->wait_for_requests(600, '/ok/well');
is($t->sql("SELECT count(*) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id WHERE s.name = 'hang'"),
	0, 'another subscription is served while theirs hang');
$t->poll_sql('every request ends',
	"SELECT count(DISTINCT a.subscription_id) FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'hostile'",
	scalar @endpoints, 60);

my $got = outcomes('hostile');
for (@endpoints)
{
	my ($name, undef, $outcome, $status) = @$_;
	my ($row, @more) = @{ $got->{$name} // [] };
	is(defined $row ? "$row->[0] $row->[1]" : 'nothing', "$outcome $status", "$name is $outcome");
}
my ($longest) = sort { $b <=> $a } map { $_->[3] } map { @$_ } values %$got;
note "the longest request took $longest ms of $TIMEOUT s";
cmp_ok($longest, '<', ($TIMEOUT + 2) * 1000, 'each ends within its timeout (and 2 s for a busy machine)');
cmp_ok($longest, '>=', $TIMEOUT * 1000, 'and not before');
is($t->worker_pid, $pid, 'the same worker lives');

# Many at once of those that send without end. All events fail in a way that is no trouble of the
# endpoint, so no breaker cuts it short.
my @endless = grep { $_->[2] eq 'response_too_large' } @endpoints;
$t->sql("UPDATE webhook.subscription SET events = '{bulk.*}', timeout = '60s' WHERE name = '$_->[0]'") for @endless;    # all at once, on a busy machine
$t->sql("INSERT INTO bulk SELECT g, 'x' FROM generate_series(1, 60) g");
$t->poll_sql('every request of many ends',
	"SELECT count(*) FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number AND o.entity_type = 'bulk'",
	60 * @endless);
$got = outcomes('bulk');
is_deeply([ map { map { $_->[0] } @{ $got->{ $_->[0] } } } @endless ], [ map { $_->[2] } @endless ], 'each of many is cut off alike');
my ($peak, $private) = memory($pid);
note sprintf 'the worker at its peak: %d MB, before %d MB; private now: %d MB', $peak / 1024, $peak_before / 1024, $private / 1024;
cmp_ok($peak - $peak_before, '<', $GROWTH_MB * 1024, "the worker has never grown by more than $GROWTH_MB MB");

# what is kept of responses
is($t->sql("SELECT count(*) FROM webhook.attempt WHERE octet_length(response) > 4096"), 0, '4 kB of a response are kept at most');
is( $t->sql("SELECT count(*) > 100 FROM webhook.attempt WHERE convert_from(convert_to(concat(response, error), 'UTF8'), 'UTF8') IS NOT NULL"),
	't', 'response and error are valid text');
is( $t->sql("SELECT response FROM webhook.log WHERE subscription = 'dirty'"), 'a??b?????', 'bytes that are no text, and NUL, are question marks');
like($t->sql("SELECT response FROM webhook.log WHERE subscription = 'gzip-bomb'"), qr/^\x1f\?/, 'what is compressed is kept as it came');

my $count = HTTP::Tiny->new->get("http://127.0.0.1:$ports->{http}/_count");
is($count->{content}, '{"internal":0}', 'no redirect was followed');

is($t->worker_pid, $pid, 'the same worker lives to the end');
$t->sql("INSERT INTO well VALUES (601, 'x')");
$r->wait_for_requests(601, '/ok/well');
pass('and delivers');
unlike(slurp_file($t->node->logfile), qr/was terminated by signal|TRAP|PANIC/, 'no process crashed');

# A database that cannot hold every character.
$t->sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
$t->node->safe_psql('latin', "CREATE EXTENSION webhook; CREATE TABLE item (id int PRIMARY KEY); SELECT webhook.watch('item')");
$t->node->safe_psql('latin', "SELECT webhook.subscribe('utf8', 'http://127.0.0.1:$ports->{http}/utf8'); INSERT INTO item VALUES (1)");
poll_until('the request from it is logged', sub { $t->node->safe_psql('latin', 'SELECT count(*) FROM webhook.log') == 1 });
is($t->node->safe_psql('latin', 'SELECT outcome, response FROM webhook.log'), 'delivered|zo??', 'in another encoding what is not ASCII is question marks');

close $alive;
$t->stop;
done_testing();

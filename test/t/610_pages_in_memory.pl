# The promise: the memory that reading takes does not grow with what is in the
# rows, nor with how many of them there are. An event that nobody asks for costs
# next to nothing; one that somebody asks for costs its own size, and for a moment
# once more.
#
# The peak of the worker's resident memory, as the kernel counts it, with few
# rows and with many.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "autovacuum = off\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE mark (id serial PRIMARY KEY); CREATE TABLE doc (id serial PRIMARY KEY, d text)');
$t->watch($_) for qw(mark doc);
$t->subscribe('mark', $r->url('/ok/mark'), events => "'{mark.*}'");
my $pid = $t->wait_for_worker;

my $marks = 0;

# All that was committed before has been read.
sub mark
{
	$t->sql('INSERT INTO mark DEFAULT VALUES');
	$r->wait_for_requests(++$marks, '/ok/mark');
	return;
}

sub peak
{
	my $status = slurp_file("/proc/$pid/status");
	return $status =~ /^VmHWM:\s+(\d+)/m ? $1 / 1024 : die 'no peak';
}

sub count_anew
{
	open my $fh, '>', "/proc/$pid/clear_refs" or die "clear_refs: $!";
	print $fh "5\n";
	close $fh or die "clear_refs: $!";
	return;
}

# By how many MB the peak is above what it was before, for what SQL does.
sub grows
{
	my ($what, $sql) = @_;
	mark();
	count_anew();
	my $before = peak();
	$t->sql($sql);
	mark();
	my $grown = peak() - $before;
	note sprintf '%s: %.0f MB', $what, $grown;
	return $grown;
}

# The first one is captured, the others are copies of its event as it lies in the table: that takes no time.
sub rows
{
	my ($n, $mb) = @_;
	return <<SQL;
BEGIN;
INSERT INTO doc (d) SELECT repeat('x', $mb * 1024 * 1024);
INSERT INTO webhook.outbox (event_number, xid, entity_id, entity_type, action_type, result, created_at, segment)
	SELECT nextval('webhook.event_number_seq'), o.xid, o.entity_id, o.entity_type, o.action_type, o.result, o.created_at, o.segment
	FROM (SELECT * FROM webhook.outbox ORDER BY event_number DESC LIMIT 1) o, generate_series(2, $n);
COMMIT;
SQL
}

mark();
for my $size ([ 1, 64 ], [ 8, 64 ], [ 64, 64 ])
{
	my ($mb, $many) = @$size;
	cmp_ok(grows("$many rows of $mb MB that nobody asks for", rows($many, $mb)), '<', 16, "$many rows of $mb MB that nobody asks for cost next to nothing");
}
my $context = "SELECT set_config('webhook.context', json_build_object('a', repeat('x', 60000))::text, false);"
  . " INSERT INTO doc (d) SELECT '' FROM generate_series(1, 64)";
cmp_ok(grows('64 tiny rows with 60 kB of webhook.context that nobody asks for', $context), '<', 16, 'nor does their context');

# somebody asks, but takes none now
$t->subscribe('doc', $r->url('/ok/doc'), events => "'{doc.*}'", filter => q{'$.result.id > 0'}, ordering => "'none'");
$t->sql("SELECT webhook.pause('doc')");
cmp_ok(grows("64 rows of $_ MB for a subscription that is paused", rows(64, $_)), '<', 16, "64 rows of $_ MB for a subscription that is paused are not read either") for 1, 64;
$t->sql("SELECT webhook.unsubscribe('doc')");

# A filter looks at each of them, and wants none: a page is 8 MB of events, or one that is larger, and one more
# column of it on the way; what the filter takes is what it is given, and no event with more is judged.
$t->subscribe('doc', $r->url('/ok/doc'), events => "'{doc.*}'", filter => q{'$.result.id < 0'}, ordering => "'none'");
for my $size ([ 1, 8, 64 ], [ 8, 2, 16 ])
{
	my ($mb, $few, $many) = @$size;
	my $first  = grows("$few rows of $mb MB for a filter", rows($few, $mb));
	my $second = grows("$many rows of $mb MB for a filter", rows($many, $mb));
	cmp_ok($first,  '<', 3 * 8 + 64 + 16, "$few rows of $mb MB for a filter");
	cmp_ok($second, '<', 3 * 8 + 64 + 16, "$many rows of $mb MB for a filter: no more");
}
cmp_ok(grows('64 tiny rows with 60 kB of webhook.context for a filter', $context), '<', 3 * 8 + 64 + 16, 'nor for 64 tiny rows with 60 kB of webhook.context');
$t->sql("SELECT webhook.unsubscribe('doc')");

# and all of it arrives where it is asked for and taken
$t->subscribe('doc', $r->url('/ok/doc'), events => "'{doc.*}'", ordering => "'none'", max_in_flight => 1);
note sprintf '64 rows of 1 MB, delivered: %.0f MB', grows('', rows(64, 1));
$t->poll_sql('all are delivered', "SELECT count(*) FROM webhook.attempt WHERE entity_type = 'doc' AND outcome = 'delivered'", 64);
$t->wait_until_settled;
is($t->worker_pid, $pid, 'by the same worker as all before');

# what is too large to be sent is a dead letter, and is not read for that
$t->sql("INSERT INTO doc (d) SELECT repeat('x', 270 * 1024 * 1024)");
mark();
$t->poll_sql('it is a dead letter', 'SELECT count(*) FROM webhook.dead_letter', 1);
my $largest = $t->sql("SELECT setting::bigint * 1024 * 1024 / 8 FROM pg_settings WHERE name = 'webhook.worker_memory'");
like($t->sql('SELECT reason FROM webhook.dead_letter'), qr/^the event has 2831\d{5} bytes, more than the limit of $largest$/, 'an event that is too large says so');
is($t->sql('SELECT length(result::text) > 283000000 FROM webhook.dead_letter'), 't', 'and is kept whole');

$t->stop;
done_testing();

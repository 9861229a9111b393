# The promise: a worker keeps to webhook.worker_memory, whatever is in the rows
# and in the configuration. At the limit something fails by itself, and is tried
# again or is a dead letter that says why; the process lives, others go on, and
# the server's shared memory is not counted.
#
# Printed: the peak (VmHWM, without what is shared with the server) for 64 rows
# of 1, 8 and 64 MB, with and without a subscription, with a receiver that is
# slow. Of the larger there are fewer, unless PGWEBHOOK_LONG is set.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nshared_buffers = 1GB\nhuge_pages = off\ndefault_toast_compression = lz4\nwebhook.max_in_flight = 200\nlog_min_messages = warning\n");
my $r = $t->receiver(args => ['--no-http2']);
my $MB = 1024;    # of kB

$t->sql('CREATE TABLE doc (id int PRIMARY KEY, t text); ALTER TABLE doc ALTER t SET STORAGE EXTENDED');
$t->sql('CREATE TABLE other (id int PRIMARY KEY)');
$t->watch($_) for qw(doc other);
my $worker = $t->wait_for_worker;
my $others = 0;

sub status_of { return slurp_file("/proc/$worker/status") =~ /^$_[0]:\s+(\d+) kB/m ? $1 : die "no $_[0]" }

# From now on VmHWM is a new peak.
sub new_peak
{
	open my $f, '>', "/proc/$worker/clear_refs" or die "$!";
	print $f "5\n";
	close $f;
	return;
}

# What the process alone has had at most: its peak, less what it shares with the server.
sub peak { return status_of('VmHWM') - status_of('RssShmem') - status_of('RssFile') }

# Somebody else's event arrives.
sub others_go_on
{
	my ($what) = @_;
	$others++;
	$t->sql("INSERT INTO other VALUES ($others)");
	$r->wait_for_requests($others, '/ok/other');
	pass("$what: somebody else's event arrives");
	return;
}

sub same_worker
{
	my ($what) = @_;
	is($t->wait_for_worker, $worker, "$what: by the same worker");
	return;
}

sub set
{
	my ($memory) = @_;
	$t->node->append_conf('postgresql.conf', "webhook.worker_memory = '$memory'\n");
	$t->node->reload;
	my $bytes = $memory =~ /(\d+)MB/ ? $1 * 1024 * 1024 : die;
	poll_until("the worker has $memory", sub { slurp_file("/proc/$worker/limits") =~ /^Max data size\s+(\d+)/m && $1 <= $bytes });
	return;
}

# Each a new version of the same rows.
my $round = 0;

sub round_of
{
	my ($mb) = @_;
	new_peak();
	my $rows = $mb == 1 || $ENV{PGWEBHOOK_LONG} ? 64 : $mb == 8 ? 16 : 4;
	$round++;
	$t->sql("INSERT INTO doc SELECT g, $round || repeat('x', $mb * 1024 * 1024 - 1000) FROM generate_series(1, $rows) g ON CONFLICT (id) DO UPDATE SET t = excluded.t");
	return $rows;
}

$t->subscribe('other', $r->url('/ok/other'), events => "'{other.*}'");
others_go_on('in the beginning');
my $before = peak();
note sprintf 'at rest: %d MB', $before / $MB;
cmp_ok($before, '<', 64 * $MB, 'at rest it has little');
like(slurp_file("/proc/$worker/limits"), qr/^Max data size\s+503316480 /m, 'its limit is the setting, less a sixteenth that is kept back');

subtest 'rows that nobody asks for' => sub {
	for my $mb (1, 8, 64)
	{
		my $rows = round_of($mb);
		others_go_on("$rows rows of $mb MB");
		note sprintf '%d x %d MB, no subscription: peak %d MB', $rows, $mb, peak() / $MB;
		cmp_ok(peak(), '<', 512 * $MB, 'below the limit');
		same_worker("$rows rows of $mb MB");
	}
	$t->wait_until_settled;
};

subtest 'rows on their way to a slow receiver' => sub {
	$t->subscribe('doc', $r->url('/hold/doc'), events => "'{doc.*}'", max_in_flight => 50, timeout => "'10min'", retry_schedule => "'{100ms}'");
	my $n = 0;
	for my $mb (1, 8, 60)
	{
		$r->mode('/hold/doc', undef);
		my $rows = round_of($mb);
		poll_until('some are under way', sub { $r->concurrent('/hold/doc')->{now} >= 1 });
		others_go_on("$rows rows of $mb MB under way");
		# all of them are read and wait, in memory or in the table
		$t->wait_until_read;
		others_go_on("$rows rows of $mb MB read");
		note sprintf '%d x %d MB, %d under way: peak %d MB', $rows, $mb, $r->concurrent('/hold/doc')->{now}, peak() / $MB;
		cmp_ok(peak(), '<', 512 * $MB, 'below the limit');
		$r->mode('/hold/doc', '/count/doc');
		$r->release('/hold/doc', 1000);
		$t->wait_until_settled(600);
		$n += $rows;
		is($t->sql("SELECT count(DISTINCT event_number) FROM webhook.attempt WHERE outcome = 'delivered' AND entity_type = 'doc'"), $n, 'and all of them arrive');
		note sprintf 'until all have arrived: peak %d MB', peak() / $MB;
		cmp_ok(peak(), '<', 512 * $MB, 'below the limit');
		same_worker("$rows rows of $mb MB");
	}
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'none of these is too large');
};

subtest 'a small limit' => sub {
	set('64MB');
	# 8 MB is an eighth of it; 2 MB and 6 MB are not too large, 12 MB is
	for my $mb (2, 6)
	{
		my $rows = $mb == 2 ? 24 : 8;
		new_peak();
		$t->sql("UPDATE doc SET t = repeat('y', $mb * 1024 * 1024) WHERE id <= $rows");
		others_go_on("$rows rows of $mb MB");
		$t->wait_until_settled(600);
		note sprintf '%d x %d MB with 64 MB: peak %d MB', $rows, $mb, peak() / $MB;
		cmp_ok(peak(), '<', 64 * $MB, 'below the limit');
		same_worker("$rows rows of $mb MB");
	}
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'all of them arrive');
	$t->sql("SET webhook.context = '{}'; UPDATE doc SET t = repeat('z', 24 * 1024 * 1024) WHERE id = 1");
	others_go_on('one that is too large');
	$t->wait_until_settled(600);
	like($t->sql("SELECT string_agg(reason, ';') FROM webhook.dead_letter"), qr/more than the limit of 8388608/, 'what is too large is a dead letter that says so');
	same_worker('one that is too large');
	set('512MB');
	$t->sql("SELECT webhook.redeliver((SELECT max(event_number) FROM webhook.dead_letter)::text)");
	$t->wait_until_settled(600);
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'with more memory it can be sent');
	same_worker('more again');
};

subtest 'many that are slow, while there is little' => sub {
	set('64MB');
	$t->sql('CREATE TABLE bulk (id int PRIMARY KEY, t text)');
	$t->watch('bulk');
	$t->subscribe("slow$_", $r->url("/slow/300/bulk/$_"), events => "'{bulk.*}'") for 1 .. 20;
	new_peak();
	$t->sql("INSERT INTO bulk SELECT g, repeat('x', 300000) FROM generate_series(1, 30) g");
	others_go_on('20 subscriptions, 30 rows of 300 kB');
	$t->wait_until_settled(600);
	is($t->sql("SELECT count(*) FROM (SELECT DISTINCT event_number, subscription_id FROM webhook.attempt WHERE outcome = 'delivered' AND entity_type = 'bulk') x"), 600, 'everything arrives');
	note sprintf '20 x 30 x 300 kB with 64 MB: peak %d MB', peak() / $MB;
	cmp_ok(peak(), '<', 64 * $MB, 'below the limit');
	same_worker('20 that are slow');
	set('512MB');
};

subtest 'configuration is bounded where it is saved' => sub {
	my $big = "jsonb_build_object('a', repeat('x', 10000000))";
	for my $case (
		['params', "params => $big"], ['headers', "headers => (SELECT jsonb_object_agg('X-' || g, repeat('x', 3000)) FROM generate_series(1, 20) g)"],
		['events', "events => (SELECT array_agg(format('e%s.*', g)) FROM generate_series(1, 1001) g)"],
		['events', "events => ARRAY[repeat('e', 40000) || '.*']"],
		['filter', "filter => ('\$.result.a == \"' || repeat('x', 20000) || '\"')::jsonpath"],
		['tenant', "tenant => repeat('t', 5000)"],
		# a few bytes each, as text a hundred thousand digits
		['params', "params => (SELECT jsonb_object_agg(g, ('1e' || 100000 + g)::numeric) FROM generate_series(1, 100) g)"])
	{
		my ($column, $argument) = @$case;
		my ($out, $err) = ('', '');
		my $rc = $t->node->psql($WebhookTest::DB, "SELECT webhook.subscribe('big', 'https://example.com/', $argument)", stderr => \$err);
		like($err, qr/subscription "big" is too large\s+DETAIL:  Its column $column has/, "$column: refused, and it says why");
	}
	my $err = '';
	$t->node->psql($WebhookTest::DB, "UPDATE webhook.subscription SET changed_columns = (SELECT array_agg(repeat('c', 60) || g) FROM generate_series(1, 900) g) WHERE name = 'other'", stderr => \$err);
	like($err, qr/Its column changed_columns has more than 32768 bytes/, 'an UPDATE is refused as well');
	$t->node->psql($WebhookTest::DB, "INSERT INTO webhook.profile (name, description, envelope) VALUES ('p', 'd', to_json(repeat('x', 70000)))", stderr => \$err);
	like($err, qr/profile "p" is too large/, 'a profile too');
	is($t->sql("SELECT count(*) FROM webhook.subscription WHERE name = 'big'"), 0, 'nothing was saved');
};

subtest 'configuration that got around the triggers' => sub {
	new_peak();
	my $offset = -s $t->node->logfile;
	$t->sql(<<"SQL");
SET session_replication_role = replica;
INSERT INTO webhook.subscription (name, url, events, params, retry_schedule, give_up_after)
	SELECT 'large' || g, '${\$r->url("/ok/large")}', '{other.*}', jsonb_build_object('a', repeat('x', 10000000)), '{1s}', '1 hour' FROM generate_series(1, 20) g;
INSERT INTO webhook.subscription (name, url, events, filter, retry_schedule, give_up_after)
	VALUES ('unjudged', '${\$r->url("/ok/unjudged")}', '{other.*}', ('\$.result.id == "' || repeat('x', 20000000) || '"')::jsonpath, '{1s}', '1 hour');
INSERT INTO webhook.subscription (name, url, events, params, retry_schedule, give_up_after)
	VALUES ('digits', '${\$r->url("/ok/digits")}', '{other.*}', (SELECT jsonb_object_agg(g, ('1e' || 100000 + g)::numeric) FROM generate_series(1, 4000) g), '{1s}', '1 hour');
RESET session_replication_role;
UPDATE webhook.subscription SET timeout = '14 s' WHERE name = 'other';
SQL
	others_go_on('20 x 10 MB of params');
	note sprintf '20 x 10 MB of params: peak %d MB', peak() / $MB;
	cmp_ok(peak(), '<', 256 * $MB, 'the worker does not read them');
	same_worker('20 x 10 MB of params');
	like(slurp_file($t->node->logfile, $offset), qr/subscription "large\d+" cannot be used\n.*It is too large: params has more than 65536 bytes/, 'the log says which, and why');
	is($t->sql("SELECT string_agg(DISTINCT last_error, ',') FROM webhook.status WHERE subscription ~ '^large|^digits'"), 'too_large', 'so does the status');
	$t->poll_sql('what is for them is kept', "SELECT count(*) = 22 FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name ~ '^large|^digits|^unjudged' AND p.state = 'deferred'");
	# made smaller, it is delivered
	$t->sql("INSERT INTO webhook.secret (subscription_id, secret) SELECT id, '$WebhookTest::SECRET' FROM webhook.subscription WHERE name IN ('large1', 'unjudged')");
	$t->sql("UPDATE webhook.subscription SET params = '{}' WHERE name = 'large1'");
	$r->wait_for_requests(1, '/ok/large');
	$t->sql("UPDATE webhook.subscription SET filter = '\$.result.id > 0' WHERE name = 'unjudged'");
	$r->wait_for_requests(1, '/ok/unjudged');
	# what people and the worker do with such rows goes on
	$t->sql("SELECT webhook.pause('large2')");
	$t->sql("DELETE FROM webhook.subscription WHERE name ~ '^large|^digits|^unjudged'");
	$t->wait_until_settled(600);
	same_worker('made smaller');
};

subtest 'ten thousand subscriptions as large as allowed' => sub {
	set('128MB');
	new_peak();
	$t->sql(<<"SQL");
SET session_replication_role = replica;
INSERT INTO webhook.subscription (name, url, events, params, filter, retry_schedule, give_up_after)
	SELECT 'many' || g, '${\$r->url("/ok/many")}', '{none.*}', jsonb_build_object('a', repeat('x', 65000)), ('\$.result.a == "' || repeat('x', 16000) || '"')::jsonpath, '{1s}', '1 hour' FROM generate_series(1, 10000) g;
RESET session_replication_role;
UPDATE webhook.subscription SET timeout = '13 s' WHERE name = 'other';
SQL
	others_go_on('10,000 subscriptions');
	note sprintf '10,000 x 80 kB with 128 MB: peak %d MB', peak() / $MB;
	cmp_ok(peak(), '<', 128 * $MB, 'below the limit');
	same_worker('10,000 subscriptions');
	$t->sql("DELETE FROM webhook.subscription WHERE name ~ '^many'");
	others_go_on('they are gone');
	same_worker('they are gone');
};

unlike(slurp_file($t->node->logfile), qr/terminated by signal|FATAL/, 'no process ended');
$t->stop;
done_testing();

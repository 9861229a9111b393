# The promise: what README, the guide and the page for receivers tell people to
# type works as it stands there.
#
# Runs every statement and command of the three pages, those under each heading
# in order in a database of its own (see WebhookDocs.pm), and looks at what
# arrives. README's quick start is run with the receiver that it names, which
# must print what README shows.
use strict;
use warnings;

use Cwd ();
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookDocs;
use WebhookTest;

my @pages    = ('README.md', 'docs/guide.md', 'docs/receiving.md');
my $examples = 'The tables of the examples';

#
# Nothing is left out
#
for my $block (map { WebhookDocs::blocks($_) } @pages)
{
	my $where = "$block->{page}:$block->{line}";
	my ($test) = ($block->{not_run} // '') =~ m{(test/t/\S+\.pl)};
	ok(index(slurp_file("$FindBin::RealBin/../../$test"), $block->{page}) >= 0, "$where: $test reads it") if $test;
	is($block->{text}, slurp_file("$FindBin::RealBin/../../$block->{program}"), "$where is $block->{program}") if $block->{program};
	fail("$where: no test runs this block of \"$block->{language}\", and it does not say why")
	  unless $block->{program} || $block->{not_run} || WebhookDocs::is_typed($block) || $block->{language} =~ /^(text|json)$/;
}

my $docs = WebhookDocs->new(conf => "max_worker_processes = 16\n");
my $t    = $docs->{t};
my $node = $t->node;
my $r    = $docs->receiver;
my $root = Cwd::abs_path("$FindBin::RealBin/../..");
my $dir  = $docs->{dir} = PostgreSQL::Test::Utils::tempdir();
symlink "$t->{certs}/ca.pem", "$dir/corp-ca.pem" or die "$!";
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=client',
	'-keyout', "$dir/client.key", '-out', "$dir/client.pem");

# What a block prints, as psql -At gives it.
sub run
{
	my ($block) = @_;
	my ($out, $ok) = $docs->run_block($block, more => ['-At']);
	ok($ok, "$block->{page}, $block->{title}, line $block->{line}") or diag("$block->{text}\n$out");
	return $out;
}

# In a copy of the database of the examples, which is enabled.
sub in_database
{
	my ($db, $code) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE examples STRATEGY file_copy");
	$docs->{db} = $db;
	{
		local $WebhookTest::DB = $db;
		$t->sql('SET client_min_messages = warning; SELECT webhook.enable_delivery()');
		eval { $code->(); 1 } or fail("$db: " . ($@ =~ s/\n.*//sr));
	}
	$docs->end_page;
	return;
}

# The bodies that have come to an endpoint of the pages since the last time, when there are N.
my %seen;
sub bodies
{
	my ($name, $n) = @_;
	my $path = "/ok/$name.example.com";
	$r->wait_for_requests(($seen{$path} // 0) + $n, $path);
	$t->wait_until_settled;
	my @all = $r->requests($path);
	return map { $_->{body} } @all[ ($seen{$path} // 0) .. $#all ];
}

# What is looked at after the blocks beneath a heading. The argument is what they printed.
my %after = (
	'docs/guide.md: Leave columns out, or send only some' => sub {
		is($t->sql('SELECT source, columns, exclude_columns FROM webhook.source ORDER BY 1'),
			"users||{password_hash}\norders|{id,status,total}|", 'columns are left out');
	},
	'docs/guide.md: Change what is watched' => sub {
		my ($output) = @_;
		like($output, qr/^changed \S+ keep_previous none -> true$/m, 'webhook.watch says what it did, and leaves out what it left out');
		is($t->sql('SELECT source FROM webhook.source'), 'orders', 'a table is watched no more');
	},
	'docs/guide.md: Tables without a primary key' => sub {
		$t->sql(q(INSERT INTO stock VALUES ('Bonn', 'A-17', 3)));
		is((bodies('crm', 1))[0], '{"entity_id":"[\"Bonn\",\"A-17\"]","entity_type":"stock","action_type":"new","result":{"warehouse":"Bonn","article":"A-17","quantity":3}}',
			'the id is an array of the columns');
	},
	'docs/guide.md: Partitions and inheritance' => sub {
		is((bodies('crm', 1))[0], '{"entity_id":"[1,\"2024-05-01\"]","entity_type":"visit","action_type":"new","result":{"id":1,"at":"2024-05-01"}}',
			'a later partition is watched');
	},
	'docs/guide.md: Know what an update changed' => sub {
		like($_[0], qr/"plan":"pro".*\|\{"plan":"free"\}/, 'the old value is kept');
	},
	'docs/guide.md: Only when it matters' => sub {
		$t->sql(q(INSERT INTO orders (id, status) VALUES (1, 'open'); UPDATE orders SET total = 5; UPDATE orders SET status = 'paid'));
		is(scalar(my @bodies = bodies('crm', 1)), 1, 'one event, of the change that matters');
		like($bodies[0], qr/"action_type":"update".*"status":"paid"/, 'which is this');
	},
	'docs/guide.md: Semantic events' => sub {
		my @types = map { JSON::PP::decode_json($_)->{type} } bodies('forum', 2);
		is("@types", 'user.created user.email.verified', 'the forum is told what has happened');
	},
	'docs/guide.md: Events that belong to no row' => sub {
		like((bodies('audit', 1))[0], qr/^\{"type":"user\.logged_in","timestamp":"[^"]*","data":\{"user": ?42\}\}$/, 'a type of its own');
	},
	'docs/guide.md: Tenants' => sub {
		my @ids = map { JSON::PP::decode_json($_)->{entity_id} } bodies('org17', 1);
		is("@ids", '1', 'only its own');
	},
	'docs/guide.md: A time and a sequence in the body' => sub {
		like((bodies('crm', 1))[0], qr/"occurred_at":"[^"]+","sequence":"\d{19}"/, 'both are there');
	},
	'docs/guide.md: Batches' => sub {
		$t->wait_until_settled;
		is(scalar(map { @{ JSON::PP::decode_json($_) } } bodies('crm', 1)), 50, 'all come, in arrays');
	},
	'docs/guide.md: Change a URL' => sub {
		my (undef, $sql) = @_;
		is(scalar(my @bodies = bodies('crm2', 1)), 1, 'it comes to the new one');
		# what waits for a retry too
		my $old = $r->url('/status/500/crm');
		$t->sql("UPDATE webhook.subscription SET url = '$old', retry_schedule = '{1h}'; INSERT INTO users (id) VALUES (43)");
		$t->poll_sql('it is to be tried again in an hour', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 1);
		my ($update) = $docs->as_typed($sql) =~ /(UPDATE [^;]*)/;
		$t->sql($update);
		$t->wait_until_settled;
		is(scalar(@bodies = bodies('crm2', 2)), 2, 'so does what waits for a retry, at once');
	},
	'docs/guide.md: Try again now' => sub {
		my (undef, $sql) = @_;
		$r->mode('/ok/crm.example.com', '/status/500/crm');
		$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}'; INSERT INTO users (id) VALUES (43)");
		$t->poll_sql('it is to be tried again in an hour', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 1);
		$r->mode('/ok/crm.example.com', undef);
		my ($select) = $sql =~ /(SELECT webhook\.redeliver[^;]*)/;
		is($t->sql($select), '1', 'it is found');
		$t->wait_until_settled;
		is($t->sql("SELECT string_agg(outcome, ' ' ORDER BY started_at) FROM webhook.log"), 'server_error delivered', 'and sent at once');
	},
	'docs/guide.md: Test a subscription' => sub {
		is(scalar(() = $_[0] =~ /^200\|$/gm), 2, 'both tests are delivered') or diag($_[0]);
	},
	'docs/guide.md: Tell receivers who did it' => sub {
		like($_[0], qr/"actor": "ada"/, 'the event has the context');
	},
	'docs/guide.md: PgBouncer and other poolers' => sub {
		is($t->sql(q(SELECT entity_id, context ->> 'actor' FROM webhook.outbox ORDER BY event_number)), "42|ada\n43|", 'the context ends with its transaction');
	},
	'docs/guide.md: Migration scripts' => sub {
		my @again = grep { $_->{title} eq 'Migration scripts' } WebhookDocs::blocks('docs/guide.md');
		my $secrets = 'SELECT string_agg(secret, $$ $$ ORDER BY subscription_id) FROM webhook.secret';
		my $before = $t->sql($secrets);
		run($_) for @again;
		is($t->sql($secrets), $before, 'and leaves the secrets as they are');
	},
	'docs/guide.md: Uninstall' => sub {
		is($t->sql(q(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)), '0', 'no trigger is left');
		is($t->sql(q(SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'webhook%')), '0', 'and no schema');
	},
	'docs/receiving.md: PostgreSQL' => sub { is($_[0], "t\n", 'the example verifies'); },
	'docs/receiving.md: Old events' => sub {
		my $sql = $_[1];
		is($t->sql('SELECT * FROM customers'), '42|pro|42', 'an event is taken');
		my ($insert) = $sql =~ /(INSERT.*)/s;
		$t->sql($insert =~ s/'pro', 42/'free', 41/r);
		is($t->sql('SELECT * FROM customers'), '42|pro|42', 'an older one is not');
		$t->sql($insert =~ s/'pro', 42/'team', 43/r);
		is($t->sql('SELECT * FROM customers'), '42|team|43', 'a newer one is');
	},
);

#
# The quick start
#
subtest 'README.md: Quick start' => sub {
	plan skip_all => 'there is no python3 on this machine' if system('command -v python3 >/dev/null 2>&1') != 0;
	my @blocks = grep { $_->{title} eq 'Quick start' } WebhookDocs::blocks('README.md');
	my @sql    = grep { $_->{language} eq 'sql' } @blocks;
	my ($command) = map { split /\n/, $_->{text} } grep { $_->{language} eq 'sh' } @blocks;
	my @shown  = map { split /\n/, $_->{text} } grep { $_->{language} eq 'text' } @blocks;
	is(scalar @sql, 3, 'subscribe, change rows, look at the log');

	my $port = PostgreSQL::Test::Cluster::get_free_port();
	ok($sql[0]{text} =~ s/127\.0\.0\.1:8080/127.0.0.1:$port/, '(on a port that is free here)');
	$t->sql('DROP EXTENSION webhook');
	$docs->{db} = $WebhookTest::DB;
	my ($secret) = run($sql[0]) =~ /^(whsec_[A-Za-z0-9+\/]{43}=)$/m;
	ok($secret, 'subscribing returns the signing secret') or return;
	ok($command =~ s/whsec_\.\.\.$/--port $port $secret/, 'which the receiver is started with') or return;
	my $printed = "$dir/receiver.out";
	my $pid = open(my $alive, '|-', 'bash', '-c', "cd '$root' && exec $command >'$printed' 2>&1") or die $!;
	poll_until('it listens', sub { -e $printed && slurp_file($printed) =~ /^listening on/ });
	run($sql[1]);
	poll_until('it has printed as much as README shows', sub { (() = slurp_file($printed) =~ /\n/g) > @shown });
	$t->wait_until_settled;
	kill 'TERM', $pid;
	close $alive;
	my (undef, @printed) = split /\n/, slurp_file($printed);
	s/evt_[0-9a-f]{8}_/evt_0123abcd_/ for @printed;
	is_deeply(\@printed, \@shown, 'the receiver prints what README shows');
	is(scalar(() = run($sql[2]) =~ /\|delivered\|200\|/g), 3, 'and the log has the three requests');
	$t->sql('ALTER SYSTEM RESET ALL');
	$t->sql('SELECT pg_reload_conf()');
};

#
# All else
#
$node->safe_psql('postgres', 'CREATE DATABASE examples');
$node->safe_psql('examples', 'CREATE EXTENSION webhook');
$docs->{db} = 'examples';
run($_) for grep { $_->{title} eq $examples } WebhookDocs::blocks('docs/guide.md');
$node->safe_psql('postgres', 'ALTER DATABASE examples IS_TEMPLATE true ALLOW_CONNECTIONS false');
# its worker leaves it
poll_until('nobody is in it', sub { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'examples'") eq '0' });

my $ran = 0;
for my $page (@pages)
{
	my @blocks = grep { WebhookDocs::is_typed($_) && !$_->{not_run} && $_->{title} !~ /^(Quick start|\Q$examples\E)$/ } WebhookDocs::blocks($page);
	while (@blocks)
	{
		my $title = $blocks[0]{title};
		my @here;
		push @here, shift @blocks while @blocks && $blocks[0]{title} eq $title;
		$seen{"/ok/$_.example.com"} = $r->count("/ok/$_.example.com") for qw(crm forum audit org17 crm2);
		in_database('page' . ++$ran, sub {
			my $output = join '', map { run($_) } @here;
			my $look = delete $after{"$page: $title"};
			$look->($output, join '', map { $_->{text} } @here) if $look;
		});
	}
}
is_deeply([ sort keys %after ], [], 'what is looked at belongs to a heading that is there');
cmp_ok($ran, '>', 40, "the blocks under $ran headings were run");

$docs->stop;
done_testing();

# The promise: what README, the guide and the page for receivers tell people to
# type works as it stands there.
#
# Runs every statement and command of the three pages, beneath each heading in
# order in a database of its own; only the endpoints' hosts are changed. What is
# not run says so in the page (see WebhookDocs.pm). README's quick start is run
# with the receiver that it names, which must print what README shows.
use strict;
use warnings;

use Cwd ();
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookDocs;
use WebhookTest;

my $root   = Cwd::realpath(WebhookDocs->root);
my $readme = WebhookDocs->page('README.md');
my $guide  = WebhookDocs->page('docs/guide.md');
my @pages  = ($readme, $guide, WebhookDocs->page('docs/receiving.md'));

is_deeply([ map { $_->unaccounted } @pages ], [], 'every block of code is run, or says why it is not');

my $t = WebhookTest->new(conf => "max_worker_processes = 16\n");
my $node = $t->node;
my $r = $t->receiver(args => ['--no-http2']);
my $dir = PostgreSQL::Test::Utils::tempdir();
symlink "$t->{certs}/ca.pem", "$dir/corp-ca.pem" or die "$!";
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=client',
	'-keyout', "$dir/client.key", '-out', "$dir/client.pem");

# psql and the shell of a reader: a file of statements, or commands, in $dir.
sub run
{
	my ($db, $language, $text) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $db);
	my @command = $language eq 'sql'
	  ? ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-')
	  : ('bash', '-euo', 'pipefail', '-s');
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(\@command, '<', \$text, '>', \$out, '2>', \$err, init => sub { chdir $dir });
	return ($ok, $out, $err);
}

# The endpoints of the pages are paths of our receiver.
sub rehost
{
	my ($text) = @_;
	$text =~ s{https://(\w+)\.example\.com(/[\w/.-]*)?}{$r->url("/ok/$1")}ge;
	return $text;
}

# In a copy of the database of the examples, which is enabled.
sub in_database
{
	my ($db, $code) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE examples STRATEGY file_copy");
	local $WebhookTest::DB = $db;
	$t->sql('SET client_min_messages = warning; SELECT webhook.enable_delivery()');
	eval { $code->(); 1 } or fail("$db: " . ($@ =~ s/\n.*//sr));
	$node->safe_psql('postgres', "DROP DATABASE $db WITH (FORCE)");
	return;
}

# The bodies that have come to an endpoint of the pages since the last time, when there are N.
my %seen;
sub bodies
{
	my ($name, $n) = @_;
	my $path = "/ok/$name";
	$r->wait_for_requests(($seen{$path} // 0) + $n, $path);
	$t->wait_until_settled;
	my @all = $r->requests($path);
	my @new = @all[ ($seen{$path} // 0) .. $#all ];
	return map { $_->{body} } @new;
}

# What is looked at after the blocks beneath a heading. The argument is what they printed.
my %after = (
	'docs/guide.md: Leave columns out, or send only some' => sub {
		is($t->sql('SELECT source, columns, exclude_columns FROM webhook.source ORDER BY 1'),
			"users||{password_hash}\norders|{id,status,total}|", 'columns are left out');
	},
	'docs/guide.md: Change what is watched' => sub {
		my ($output) = @_;
		like($output, qr/^unchanged|^changed "users"/m, 'webhook.watch says what it did');
		is($t->sql('SELECT source FROM webhook.source'), 'orders', 'a table is watched no more');
	},
	'docs/guide.md: Tables without a primary key' => sub {
		$t->sql(q(INSERT INTO stock VALUES ('Köln', 'A-17', 3)));
		is((bodies('crm', 1))[0], '{"entity_id":"[\"Köln\", \"A-17\"]","entity_type":"stock","action_type":"new","result":{"warehouse":"Köln","article":"A-17","quantity":3}}',
			'the id is an array of the columns');
	},
	'docs/guide.md: Partitions and inheritance' => sub {
		is((bodies('crm', 1))[0], '{"entity_id":"[\"1\", \"2024-05-01\"]","entity_type":"visit","action_type":"new","result":{"id":1,"at":"2024-05-01"}}',
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
		is(scalar(my @bodies = bodies('crm2', 1)), 1, 'it comes to the new one');
	},
	'docs/guide.md: Test a subscription' => sub {
		is(scalar(() = $_[0] =~ /^200\|$/gm), 2, 'both tests are delivered');
	},
	'docs/guide.md: Tell receivers who did it' => sub {
		like($_[0], qr/"actor": "ada"/, 'the event has the context');
	},
	'docs/guide.md: PgBouncer and other poolers' => sub {
		is($t->sql(q(SELECT entity_id, context ->> 'actor' FROM webhook.outbox ORDER BY event_number)), "42|ada\n43|", 'the context ends with its transaction');
	},
	'docs/guide.md: Migration scripts' => sub {
		my @sql = map { rehost($_->{text}) } grep { $_->{title} eq 'Migration scripts' } $guide->blocks;
		my $secrets = 'SELECT string_agg(secret, $$ $$ ORDER BY subscription_id) FROM webhook.secret';
		my $before = $t->sql($secrets);
		ok((run($WebhookTest::DB, 'sql', $_))[0], 'it can be run again') for @sql;
		is($t->sql($secrets), $before, 'and leaves the secrets as they are');
	},
	'docs/guide.md: Uninstall' => sub {
		is($t->sql(q(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal)), '0', 'no trigger is left');
		is($t->sql(q(SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'webhook%')), '0', 'and no schema');
	},
	'docs/receiving.md: PostgreSQL' => sub { is($_[0], "t\n", 'the example verifies'); },
	'docs/receiving.md: Old events' => sub {
		my $sql = rehost($_[1]);
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
	my @sql     = map { $_->{text} } grep { $_->{title} eq 'Quick start' && $_->{language} eq 'sql' } $readme->blocks;
	my ($command) = split /\n/, $readme->block('Quick start', 'sh');
	my @shown   = split /\n/, $readme->block('Quick start', 'text');
	is(scalar @sql, 3, 'subscribe, change rows, look at the log');
	SKIP:
	{
		skip 'there is no python3 on this machine', 1 if system('command -v python3 >/dev/null 2>&1') != 0;
		my $port = PostgreSQL::Test::Cluster::get_free_port();
		ok($sql[0] =~ s/127\.0\.0\.1:8080/127.0.0.1:$port/, '(on a port that is free here)');
		$t->sql('DROP EXTENSION webhook');
		$t->sql('ALTER SYSTEM RESET ALL');
		my ($ok, $out, $err) = run('postgres', 'sql', $sql[0]);
		ok($ok, 'a table is watched, an endpoint subscribed') or diag($err);
		my ($secret) = $out =~ /^(whsec_[A-Za-z0-9+\/]{43}=)$/m;
		ok($secret, 'which returns the signing secret') or return;

		ok($command =~ s/whsec_\.\.\./--port $port $secret/, 'the command takes it');
		my $printed = "$dir/receiver.out";
		my $pid = open(my $alive, '|-', 'bash', '-c', "cd '$root' && exec $command >'$printed' 2>&1") or die $!;
		poll_until('it listens', sub { -e $printed && slurp_file($printed) =~ /^listening on/ });
		($ok, $out, $err) = run('postgres', 'sql', $sql[1]);
		ok($ok, 'rows are changed') or diag($err);
		poll_until('it has printed what README shows', sub { (() = slurp_file($printed) =~ /\n/g) > @shown });
		$t->wait_until_settled;
		kill 'TERM', $pid;
		close $alive;
		my (undef, @printed) = split /\n/, slurp_file($printed);
		s/evt_[0-9a-f]{8}_/evt_0123abcd_/ for @printed;
		is_deeply(\@printed, \@shown, 'the receiver prints what README shows');

		($ok, $out, $err) = run('postgres', 'sql', $sql[2]);
		is(scalar(() = $out =~ /\|delivered\|200\|/g), 3, 'and the log has the three requests') or diag($err);
		$t->sql('ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()');
	}
};

#
# All else
#
my $examples = 'The tables of the examples';
$node->safe_psql('postgres', 'CREATE DATABASE examples');
$node->safe_psql('examples', 'CREATE EXTENSION webhook');
my ($made, undef, $why) = run('examples', 'sql', rehost($guide->block($examples, 'sql')));
ok($made, "docs/guide.md: $examples") or diag($why);
$node->safe_psql('postgres', 'ALTER DATABASE examples IS_TEMPLATE true ALLOW_CONNECTIONS false');
# who holds it still is the worker, which leaves it
poll_until('nobody is in it', sub { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'examples'") eq '0' });

my $ran = 0;
my $number = 0;
for my $page (@pages)
{
	for my $unit ($page->units)
	{
		my @blocks = grep { $_->{language} =~ /^(sql|sh)$/ && !defined $_->{mark} } @{ $unit->{blocks} };
		next if !@blocks || $unit->{title} eq 'Quick start' || $unit->{title} eq $examples;
		my $name = "$page->{name}: $unit->{title}";
		my $db   = 'page' . ++$number;
		$seen{"/ok/$_"} = $r->count("/ok/$_") for qw(crm forum audit org17 crm2);
		in_database($db, sub {
			my $output = '';
			for my $block (@blocks)
			{
				my ($done, $out, $error) = run($db, $block->{language}, rehost($block->{text}));
				ok($done, "$name, line $block->{line}") or diag($error);
				$output .= $out;
				$ran++;
			}
			$after{$name}->($output, join '', map { $_->{text} } @blocks) if $after{$name};
		});
		delete $after{$name};
	}
}
is_deeply([ sort keys %after ], [], 'what is looked at after a heading belongs to one that is there');
cmp_ok($ran, '>', 50, "$ran blocks were run");

$t->stop;
done_testing();

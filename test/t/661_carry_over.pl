# The promise: the configuration is carried into another database by a dump of
# its rows alone: the subscriptions with their secrets, credentials and profiles
# work there, and new ones can be made. And of every table and sequence, a dump
# of the database holds what docs/internals/overview.md says.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new;
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
my $ok   = $r->url('/ok');

$t->sql(<<SQL);
SELECT webhook.copy_profile('standard', 'mine');
SELECT webhook.subscribe('s' || g, '$ok/' || g, profile => CASE g WHEN 3 THEN 'mine' ELSE 'entity' END, secret => '$WebhookTest::SECRET') FROM generate_series(1, 12) g;
SELECT webhook.set_credential('s5', 'bearer', 'token5');
SELECT webhook.pause('s7');
SQL

my $dump = "$PostgreSQL::Test::Utils::tmp_check/configuration.sql";
$node->command_ok([ 'pg_dump', '--data-only', '-f', $dump, (map { ('-t', "webhook.$_") } qw(profile subscription secret credential)), $WebhookTest::DB ], 'the rows are dumped');
unlike(slurp_file($dump), qr/setval/, 'without the sequence');

$node->safe_psql($WebhookTest::DB, 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION webhook');
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('other'), '-f', $dump ], 'and restored in another database');
my $rows = "SELECT s.id, s.name, s.url, s.profile, s.state, k.id, k.secret, k.generated, c.value FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id LEFT JOIN webhook.credential c ON c.subscription_id = s.id ORDER BY 1";
is($node->safe_psql('other', $rows), $t->sql($rows), 'everything is there: state, profile, secret and credential');

is($node->safe_psql('other', "SELECT count(webhook.subscribe('new' || g, '$ok/new' || g)) FROM generate_series(1, 12) g"), 12, 'new ones can be made');
{
	local $WebhookTest::DB = 'other';
	$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
	$t->watch('item');
	$t->sql('INSERT INTO item VALUES (1)');
	$r->wait_for_requests(1, "/ok/$_") for 1 .. 6, 8 .. 12, 'new1', 'new12';
}
is(($r->requests('/ok/5'))[0]{headers}{authorization}, 'Bearer token5', 'an endpoint gets the credential that it had');
is($r->count('/ok/7'), 0, 'what was paused is paused');

# What a dump of the database holds, of each table and sequence of both schemas: as the page says, as the
# catalog says, and as pg_dump does it, with rows in every one of them
my %takes = ('all rows, or the last value' => '', 'rows that people have made' => 'WHERE NOT builtin', 'nothing' => 'nothing');
my ($page) = slurp_file("$FindBin::RealBin/../../docs/internals/overview.md") =~ /<!-- dump: relations -->\n(.*?)\n(?:\n|\z)/s or die 'no list of what is dumped';
my @said;
for my $line (grep { !/^\|(?:-| In a dump )/ } split /\n/, $page)
{
	my ($how, $relations) = $line =~ /^\| (.*?) \| (.*?)(?:, and all segments)? \|$/ or die "not read: $line";
	push @said, map { "$_ $takes{$how}" } split /, /, $relations;
}
$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
$t->watch('item');
$t->subscribe('refused', $r->url('/status/413/refused'));
$t->subscribe('told', $r->url('/ok/told'), events => "'{webhook_subscription.*}'");
$t->sql(q{SELECT webhook.isolate_operators(); UPDATE webhook.subscription SET owner = current_user});
$t->sql('INSERT INTO item VALUES (1)');
$t->sql(q{INSERT INTO webhook.api_token (name, role, digest, expires_at) VALUES ('shop', 'pg_monitor', sha256('token'), now() + '1 day');
	INSERT INTO webhook.audit (action, object, via) VALUES ('pause a subscription', 's1', 'console')});
$t->poll_sql('dead letters', "SELECT count(*) > 0 FROM webhook.dead_letter");
$t->poll_sql('statistics of them', 'SELECT count(*) > 0 FROM webhook_internal.stat_subscription');
$t->poll_sql('pending deliveries, of what is paused', "SELECT count(*) > 0 FROM webhook.pending");
$t->sql(q{SELECT webhook_internal.announce(id, 'breaker_opened', NULL, NULL) FROM webhook.subscription WHERE name = 's1'});
my $catalog = <<'SQL';
SELECT format('%s.%s', n.nspname, c.relname) AS name, c.relkind, coalesce(nullif(x.condition, ''), CASE WHEN x.relation IS NULL THEN 'nothing' ELSE '' END) AS takes, c.relispartition
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN (SELECT u.* FROM pg_extension e, unnest(e.extconfig, e.extcondition) u(relation, condition) WHERE e.extname = 'webhook') x ON x.relation = c.oid
	WHERE n.nspname IN ('webhook', 'webhook_internal') AND c.relkind IN ('r', 'p', 'S')
SQL
is($t->sql(qq{SELECT format('%s %s', name, takes) FROM ($catalog) r WHERE NOT relispartition ORDER BY name COLLATE "C"}), join("\n", sort @said), 'every table and sequence is dumped as the page says');
is($t->sql("SELECT string_agg(name, ' ') FROM ($catalog) r WHERE relispartition AND takes <> 'nothing'"), '', 'segments are not');

my $whole = "$PostgreSQL::Test::Utils::tmp_check/database.sql";
$node->command_ok([ 'pg_dump', '-f', $whole, $WebhookTest::DB ], 'a dump of the database');
my $text   = slurp_file($whole);
my %dumped = map { $_ => 0 } split /\n/, $t->sql("SELECT name FROM ($catalog) r");
while ($text =~ /^COPY (webhook\S*) \(.*?\) FROM stdin;\n(.*?)^\\\.$/msg)
{
	my ($name, $rows) = ($1, $2);
	$dumped{$name} = () = $rows =~ /\n/g;
}
$dumped{$1} = 1 while $text =~ /^SELECT pg_catalog\.setval\('(webhook\S*)'/mg;
for my $line (split /\n/, $t->sql(qq{SELECT name, relkind, takes FROM ($catalog) r ORDER BY name COLLATE "C"}))
{
	my ($name, $kind, $takes) = split /\|/, $line;
	my $rows = $kind eq 'S' ? 1 : $t->sql("SELECT count(*) FROM $name " . ($takes eq 'nothing' ? '' : $takes));
	cmp_ok($rows, '>', 0, "there is something in $name") unless $name =~ /_\d$/;
	is($dumped{$name}, $takes eq 'nothing' ? 0 : $rows, "$name is dumped " . ($takes eq 'nothing' ? 'without rows' : 'with them'));
}
like($text, qr/CREATE TRIGGER webhook_capture /, 'the trigger of a watched table is in it');

# Endpoints that are refused here and now were not where the dump was made: a superuser's restore keeps them, and
# the others with them. Nobody else's COPY does.
$t->sql(<<SQL);
SET webhook.allow_http = on;
SET webhook.allowed_networks = '127.0.0.0/8,10.0.0.0/8';
SELECT webhook.subscribe('plain', 'http://127.0.0.1:1/');
SELECT webhook.subscribe('private', 'https://10.1.2.3/');
SQL
my $refused = "$PostgreSQL::Test::Utils::tmp_check/refused.sql";
$node->command_ok([ 'pg_dump', '-f', $refused, $WebhookTest::DB ], 'a dump with endpoints that depend on settings');
$node->safe_psql($WebhookTest::DB, 'CREATE DATABASE restored');
my ($rc, $out, $err) = $node->psql('restored', "SET webhook.allowed_networks = '';\n" . slurp_file($refused), on_error_stop => 1);
is($rc, 0, 'it is restored without an error');
is($node->safe_psql('restored', 'SELECT name, url FROM webhook.subscription ORDER BY id'), $t->sql('SELECT name, url FROM webhook.subscription ORDER BY id'), 'with every subscription');
like($err, qr/WARNING:  URL of the endpoint is not https/, 'a WARNING for http');
like($err, qr/WARNING:  address of the endpoint is not allowed\n.*\nHINT:  The row was restored as it was/, 'and one for a private address');
($rc, $out, $err) = $node->psql('restored', "INSERT INTO webhook.subscription (name, url) VALUES ('typed', 'http://127.0.0.1:1/')");
like($err, qr/ERROR:  URL of the endpoint is not https/, 'what is typed is refused as ever');
($rc, $out, $err) = $node->psql('restored', "COPY webhook.subscription (name, url) FROM stdin;\ncopied\thttps://user:geheim\@hooks.example.com/\n\\.\n");
like($err, qr/ERROR:  URL of the endpoint contains credentials/, 'what no setting allows is refused to a COPY, too');
unlike(slurp_file($node->logfile), qr/geheim/, 'and the line that COPY read is not in the log');
$node->safe_psql('restored', 'CREATE ROLE op LOGIN; SELECT webhook.grant_operator(\'op\')');
($rc, $out, $err) = $node->psql('restored', "SET ROLE op;\nCOPY webhook.subscription (name, url) FROM stdin;\ncopied\thttp://127.0.0.1:1/\n\\.\n");
like($err, qr/ERROR:  COPY FROM not supported with row-level security/, 'and an operator has no COPY');

$t->stop;
done_testing();

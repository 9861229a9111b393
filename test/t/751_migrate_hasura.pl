# The promise: scripts/migrate/hasura.sql reads the event triggers of Hasura's exported metadata and
# prints SQL that delivers the same events in the same body to the same places: operations, update
# columns, payload columns, headers and URLs from the environment, retries. Its own triggers are
# disabled in the same transaction.
#
# The old system is metadata that this test writes, and triggers of the names that Hasura gives.
use strict;
use warnings;

use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookMigrate;
use WebhookTest;

my $t   = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r   = $t->receiver;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $n   = 0;

sub metadata
{
	my ($what) = @_;
	my $file = "$dir/metadata " . ++$n . '.json';    # a blank, as files of people have
	append_to_file($file, JSON::PP->new->ascii->encode($what));
	return $file;
}

$t->sql(<<'SQL');
CREATE SCHEMA hdb_catalog;
CREATE TABLE hdb_catalog.event_log (id int, op text);
CREATE FUNCTION hdb_catalog.log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO hdb_catalog.event_log VALUES (coalesce(NEW.id, OLD.id), TG_OP);
	RETURN NULL;
END $$;
CREATE TABLE users (id int PRIMARY KEY, name text, email text, hash text);
CREATE TRIGGER "notify_hasura_on_user_INSERT" AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION hdb_catalog.log();
CREATE TRIGGER "notify_hasura_on_user_UPDATE" AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION hdb_catalog.log();
CREATE TRIGGER "notify_hasura_formed_INSERT" AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION hdb_catalog.log();
CREATE SCHEMA shop;
CREATE TABLE shop."Order's" (id int PRIMARY KEY, total numeric);
SQL

my $evil  = "e'); DROP TABLE users; --\n\\! touch injected\n\$body\$";
my $users = [
	{
		name       => 'on_user',
		definition => { enable_manual => JSON::PP::true, insert => { columns => '*' }, update => { columns => [ 'name', 'email' ], payload => [ 'id', 'name' ] } },
		retry_conf => { num_retries => 3, interval_sec => 15, timeout_sec => 45 },
		webhook_from_env => 'USER_HOOK',
		headers    => [ { name => 'X-Plain', value => "pl'ain \$(x)" }, { name => 'Authorization', value_from_env => 'USER_TOKEN' }, { name => 'Content-Type', value => 'application/json' } ]
	},
	{ name => 'formed', definition => { insert => { columns => '*' } }, webhook => 'https://never.example.com/', request_transform => { version => 2 } },
	{ name => 'by_hand', definition => { enable_manual => JSON::PP::true }, webhook => 'https://never.example.com/' }
];
my $orders = [ { name => $evil, definition => { insert => { columns => '*' }, delete => { columns => '*' } }, webhook => '{{BASE}}/orders?q=%27', retry_conf => { num_retries => 0 } } ];
my @tables = ({ table => { schema => 'public', name => 'users' }, event_triggers => $users }, { table => { schema => 'shop', name => "Order's" }, event_triggers => $orders });
my $source = { name => 'main', kind => 'postgres', tables => \@tables };

subtest 'both forms of metadata say the same, and one source is read at a time' => sub {
	my $v3 = migrate($t, 'hasura', file => metadata({ resource_version => 7, metadata => { version => 3, sources => [$source] } }));
	is($v3, migrate($t, 'hasura', file => metadata({ version => 2, tables => \@tables })), 'version 2 as version 3');
	my $two = metadata({ version => 3, sources => [ $source, { name => 'other', kind => 'mssql', tables => [] } ] });
	is(eval { migrate($t, 'hasura', file => $two); 1 }, undef, 'two sources');
	like($@, qr/source=NAME/, 'are to be told apart');
	is(migrate($t, 'hasura', file => $two, source => 'main'), $v3, 'by the name');
};

my $file = metadata({ version => 3, sources => [$source] });
my $sql  = migrate($t, 'hasura', file => $file);
my %secrets = secrets_of($t, 'hasura', file => $file);
is_deeply(\%secrets, { WEBHOOK_SECRET_1 => "pl'ain \$(x)" }, 'a header that the metadata has in the clear');
unlike($sql, qr/pl'+ain/, 'is not in the SQL');
like($sql, qr/^-- NOT CARRIED OVER: formed .*request_transform/m, 'a transform is told');
like($sql, qr/^-- NOT CARRIED OVER: by_hand .*manual/m, 'so are manual triggers');

my %environment = (%secrets, USER_HOOK => $r->url('/ok/users'), USER_TOKEN => "Bearer t'oken", BASE => $r->url('/ok'));
my ($ok, $said) = run_printed($t, $sql, environment => \%environment);
ok($ok, 'the printed SQL runs') or diag($said);
ok(!-e 'injected' && $t->sql(q(SELECT to_regclass('users'))) eq 'users', 'no name of the old configuration ran');
is($t->sql('SELECT count(*) FROM webhook.subscription'), 2, 'two event triggers are carried over');
is($t->sql(q(SELECT string_agg(format('%s %s', tgname, tgenabled), ',' ORDER BY tgname) FROM pg_trigger WHERE tgname LIKE 'notify%')),
	'notify_hasura_formed_INSERT O,notify_hasura_on_user_INSERT D,notify_hasura_on_user_UPDATE D', 'the triggers of those are disabled');

$t->sql(<<'SQL');
INSERT INTO users VALUES (1, 'Ada', 'ada@example.com', 'h1');
UPDATE users SET hash = 'h2';
UPDATE users SET email = 'ada@example.org';
DELETE FROM users;
INSERT INTO shop."Order's" VALUES (5, 1.50);
DELETE FROM shop."Order's";
SQL
$t->wait_until_settled;

my @users = bodies($r, '/ok/users');
my %uuid;
for my $body (@users, bodies($r, '/ok/orders'))
{
	like($body->{id}, qr/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/, 'a uuid, as Hasura sends');
	like($body->{created_at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/, 'and a time');
	$uuid{ $body->{id} }++;
}
is(scalar(keys %uuid), 4, 'each event has an id of its own');
my $frame = sub {
	my ($trigger, $retries, $schema, $table, $op, $old, $new) = @_;
	return {
		delivery_info => { current_retry => 0, max_retries => $retries },
		table         => { schema => $schema, name => $table },
		trigger       => { name => $trigger },
		event         => { op => $op, session_variables => undef, data => { old => $old, new => $new } }
	};
};
delete @$_{ 'id', 'created_at' } for @users;
is_deeply(\@users, [
		$frame->('on_user', 3, 'public', 'users', 'INSERT', undef, { id => 1, name => 'Ada', email => 'ada@example.com', hash => 'h1' }),
		$frame->('on_user', 3, 'public', 'users', 'UPDATE', { id => 1, name => 'Ada' }, { id => 1, name => 'Ada' })
	], 'inserts whole; updates of the named columns, with those of the payload; no deletes');
my @orders = bodies($r, '/ok/orders');
delete @$_{ 'id', 'created_at' } for @orders;
is_deeply(\@orders, [
		$frame->($evil, 0, 'shop', "Order's", 'INSERT', undef, { id => 5, total => 1.5 }),
		$frame->($evil, 0, 'shop', "Order's", 'DELETE', { id => 5, total => 1.5 }, undef)
	], 'a trigger and a table with odd names, to a URL with a part from the environment');
my ($request) = arrived($r, '/ok/users');
is($request->{headers}{authorization}, "Bearer t'oken", 'a header from the environment');
is($request->{headers}{'x-plain'}, "pl'ain \$(x)", 'and one from the metadata');
is((arrived($r, '/ok/orders'))[0]{path}, '/ok/orders?q=%27', 'the query is kept');
is($t->sql(q(SELECT retry_schedule, give_up_after, timeout FROM webhook.subscription WHERE name = 'on_user')),
	'{00:00:15}|00:00:45|00:00:45', 'retries: three, every 15 seconds');
is($t->sql(q(SELECT cardinality(retry_schedule), give_up_after, timeout FROM webhook.subscription WHERE name <> 'on_user')),
	'6|3 days|00:01:00', 'none: as pgwebhook does');
is($t->sql('SELECT count(*) FROM hdb_catalog.event_log'), 1, 'only what was not carried over goes the old way');

$t->stop;
done_testing();

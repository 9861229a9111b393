# The promise: what docs/security.md grants is enough for what they are for, and
# give nothing else: an operator reads no secret, a viewer sees the log and the
# status, an application needs nothing. Where the owner wants that, operators
# neither see nor touch each other's subscriptions; a dump carries all of it.
#
# Runs the SQL of that page as it stands there. Roles log in by themselves.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $page = slurp_file("$FindBin::RealBin/../../docs/security.md");

sub block
{
	my ($mark) = @_;
	$page =~ /<!-- roles: $mark -->\n```sql\n(.*?)```/s or die "docs/security.md has no block \"$mark\"";
	return $1;
}

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql($_) for map { block($_) } 'operator', 'viewer', 'watcher';
$t->sql(<<'SQL');
CREATE ROLE ann LOGIN IN ROLE webhook_operator;
CREATE ROLE bob LOGIN IN ROLE webhook_operator;
CREATE ROLE eve LOGIN IN ROLE webhook_viewer;
CREATE ROLE tom LOGIN IN ROLE webhook_watcher;
CREATE ROLE app LOGIN;
CREATE TABLE item (id int PRIMARY KEY, v text);
GRANT SELECT ON item TO ann, bob;
GRANT SELECT, INSERT, UPDATE, DELETE ON item TO app;
GRANT CREATE ON SCHEMA public TO tom;
SQL
$t->watch('item');

# What a role gets for a statement: its output, or the first line of the error.
sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($WebhookTest::DB, $sql, extra_params => [ '-U', $role ]);
	return $out if $rc == 0;
	return $err =~ /(ERROR: .*)/ ? $1 : "no error message: $err";
}

sub refused
{
	my ($role, $what, $sql) = @_;
	return like(as($role, $sql), qr/^ERROR:  permission denied/, "$role may not $what");
}

my $no_such = qr/^ERROR:  subscription "crm" does not exist/;
my $ok      = $r->url('/ok/crm');

#
# The operator, a whole day
#
is($t->sql(<<'SQL'), 'created_at,id,transform_owner', 'operators may set every column of a subscription but its id, its date and whose its transform is');
SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'webhook.subscription'::regclass
	AND attnum > 0 AND NOT attisdropped
	AND NOT (has_column_privilege('ann', attrelid, attnum, 'INSERT') AND has_column_privilege('ann', attrelid, attnum, 'UPDATE'))
SQL
my $secret = as('ann', "SELECT webhook.subscribe('crm', '$ok')");
like($secret, qr/^whsec_[A-Za-z0-9+\/]{43}=$/, 'an operator subscribes, and is shown the secret');
my $held = $t->sql('SELECT secret FROM webhook.secret');
is($held, $secret, 'which is the one that signs');
is(as('ann', "SELECT webhook.subscribe('given', '$ok', secret => '$WebhookTest::SECRET', events => '{none.*}')"),
	$WebhookTest::SECRET, 'or gives one');
is(as('ann', "SELECT owner FROM webhook.subscription WHERE name = 'crm'"), 'ann', 'who subscribes owns the subscription');
is(as('app', "INSERT INTO item VALUES (1, 'one')"), '', 'an application without any grant writes into the watched table');
$t->wait_until_settled;
is($r->count('/ok/crm'), 1, 'and the event is delivered');
like(as('ann', "CALL webhook.test('crm', 'item', '1')"), qr/^200\|$/, 'an operator sends a test, made of a row');
is(($r->requests('/ok/crm'))[-1]{body}, '{"entity_id":"1","entity_type":"item","action_type":"test","result":{"id":1,"v":"one"}}', 'which is the row as JSON');
$t->sql('REVOKE SELECT ON item FROM ann');
like(as('ann', "CALL webhook.test('crm')"), qr/^200\|$/, 'also where he may not read the table');
is(($r->requests('/ok/crm'))[-1]{body}, '{"entity_id":"test","entity_type":"test","action_type":"test","result":{"test" : true, "subscription" : "crm"}}',
	'which is then made up');
like(as('ann', "CALL webhook.test('crm', 'item')"), qr/^ERROR:  permission denied for table item/, 'but not as a row of it');
is(as('ann', "SELECT webhook.pause('crm')"), '', 'pauses');
as('app', "UPDATE item SET v = 'two'");
is(as('ann', "SELECT webhook.resume('crm')"), '', 'and resumes');
$t->wait_until_settled;
is(as('ann', "SELECT webhook.redeliver((SELECT min(event_number)::text FROM webhook.log))"), 1, 'sends an event again');
$t->wait_until_settled;
is(as('ann', "SELECT webhook.replay('crm', '-infinity')"), 2, 'or all there are');
$t->wait_until_settled;
is($r->count('/ok/crm'), 7, 'all of which has arrived');
my $second = as('ann', "SELECT webhook.rotate_secret('crm')");
like($second, qr/^whsec_/, 'an operator gives a new secret, and is shown it');
isnt($second, $secret, 'which is another');
as('ann', "UPDATE webhook.subscription SET url = '" . $r->url('/status/400/crm') . "', give_up_after = '0' WHERE name = 'crm'");
as('app', "INSERT INTO item VALUES (2, 'dead')");
$t->poll_sql('a delivery is given up', 'SELECT count(*) FROM webhook.dead_letter', 1);
is(as('ann', 'SELECT count(*) FROM webhook.dead_letter'), 1, 'an operator sees dead letters');
is(as('ann', "SELECT webhook.purge_dead_letters(subscription => 'crm')"), 1, 'and purges them');
as('ann', "UPDATE webhook.subscription SET url = '$ok', give_up_after = '3 days' WHERE name = 'crm'");
is(as('ann', "SELECT webhook.subscribe('short', '$ok') IS NOT NULL; SELECT webhook.unsubscribe('short')"), "t\n", 'and unsubscribes');
like(as('ann', 'SELECT count(*) FROM webhook.source'), qr/^1$/, 'and sees the sources');
like(as('ann', "SELECT webhook.subscribe('crm', '$ok')"), qr/^ERROR:  subscription "crm" already exists/, 'names are unique');
like(as('ann', "INSERT INTO webhook.subscription (name, url) VALUES ('x', 'https://10.0.0.1/')"), qr/^ERROR:  address of the endpoint is not allowed/,
	'the rules for subscriptions hold for an operator');

# and nothing else
refused('ann', "read $_", "SELECT * FROM webhook.$_") for 'secret', 'credential', 'outbox', 'outbox_0', 'attempt_0', 'identity', 'checkpoint';
refused('ann', "write $_->[0]", $_->[1])
  for [ 'secret', "INSERT INTO webhook.secret (subscription_id, secret) VALUES (1, 'x')" ],
  [ 'credential',   "INSERT INTO webhook.credential (subscription_id, kind, value) VALUES (1, 'bearer', 'x')" ],
  [ 'outbox',       "INSERT INTO webhook.outbox SELECT FROM generate_series(1, 0)" ],
  [ 'pending',      "DELETE FROM webhook.pending" ],
  [ 'pending rows', "INSERT INTO webhook.pending DEFAULT VALUES" ],
  [ 'attempt',      "DELETE FROM webhook.attempt" ],
  [ 'identity',     "UPDATE webhook.identity SET instance = '00000000'" ],
  [ 'checkpoint',   "DELETE FROM webhook.checkpoint" ],
  [ 'profile',      "UPDATE webhook.profile SET description = ''" ],
  [ 'dead_letter',  "UPDATE webhook.dead_letter SET reason = ''" ],
  [ 'an id',        "INSERT INTO webhook.subscription (id, name, url) VALUES (77, 'x', '$ok')" ],
  [ 'the array of operation', "UPDATE webhook_internal.privileged_call SET subscriptions = '{1}', name = 'test'" ],
  [ 'through TRUNCATE',       'TRUNCATE webhook.subscription CASCADE' ];
refused('ann', "call $_", "SELECT $_")
  for "webhook_internal.seal_again('secret 1 1', 'x')", "webhook_internal.rotate_secret_wrapped('crm', NULL, '0')", "webhook_internal.append_event('item', '1', 'new', '{}', NULL, NULL)", 'webhook.enable_delivery()', 'webhook.reseal()',
  "webhook_internal.rotate_secret_as_owner(1, NULL, '0')", "webhook_internal.set_credential_as_owner(1, 'bearer', 'x')", "webhook_internal.redeliver_as_owner('{1}', '1', NULL)", 'webhook_internal.revive(1)', 'webhook_internal.wake_worker()';
like(as('ann', 'SELECT webhook.isolate_operators()'), qr/^ERROR:  permission denied/, 'only the owner separates operators');
like(as('ann', "SELECT webhook.rotate_secret('crm', 'file:/etc/passwd')"), qr/^ERROR:  must be superuser/, 'only a superuser has secrets read from files');
like(as('ann', "UPDATE webhook.subscription SET owner = 'bob' WHERE name = 'crm'"), qr/^ERROR:  must be a member of role "bob"/, 'nobody is given a subscription by another');
like(as('ann', "INSERT INTO webhook.subscription (name, url, owner) VALUES ('x', '$ok', 'postgres')"), qr/^ERROR:  must be a member of role "postgres"/, 'nor a superuser');
is(as('ann', "SELECT webhook.set_credential('crm', 'bearer', 'ours')"), '', 'an operator gives her subscription a credential');
is($t->sql('SELECT kind, value FROM webhook.credential'), 'bearer|ours', 'which is there, and which she cannot read');
# which no change shows her, while it is there
like(as('ann', $_), qr/^ERROR:  only the extension's owner may change the .* of a subscription that has credentials/, "refused: $_")
  for "UPDATE webhook.subscription SET url = 'https://127.0.0.1:1/' WHERE name = 'crm'",
  "SELECT webhook.set_credential('crm', 'proxy', 'http://127.0.0.1:1')", "SELECT webhook.set_credential('crm', 'ca', 'file:/tmp/ca')";
is(as('ann', "UPDATE webhook.subscription SET url = url || '?' WHERE name = 'crm'; UPDATE webhook.subscription SET url = rtrim(url, '?') WHERE name = 'crm'"),
	'', 'another path is hers to give');
is($t->sql("UPDATE webhook.subscription SET url = 'https://example.com/' WHERE name = 'crm'; UPDATE webhook.subscription SET url = '$ok' WHERE name = 'crm'"),
	'', 'and the owner changes what he likes');
is(as('ann', "SELECT webhook.set_credential('crm', 'bearer', NULL)"), '', '(taken away, and given again below)');
like(as('ann', "SELECT webhook.set_credential('crm', 'ca', 'file:/etc/passwd')"), qr/^ERROR:  must be superuser/, 'nor has she one read from a file');
is(as('ann', "SELECT webhook.set_credential('crm', 'proxy', 'http://127.0.0.1:1'), webhook.set_credential('crm', 'bearer', 'ours')"), '|', 'without one she names a proxy');
is(as('ann', "SELECT webhook.set_credential('crm', 'bearer', NULL), webhook.set_credential('crm', 'proxy', NULL)"), '|', 'she takes it away');
is($t->sql('SELECT count(*) FROM webhook.credential'), 0, 'and it is gone');

# the door by hand: it can do what the functions do, and shows no secret that was there before
my $by_hand = as('ann', q{UPDATE webhook_internal.privileged_call SET name = 'set_secret', arguments = '{"subscription": "crm"}' RETURNING result});
unlike($by_hand, qr/\Q$secret\E|\Q$second\E/, 'webhook_internal.privileged_call, updated by hand, shows no old secret');
my $made = $t->sql("SELECT string_agg(secret, ' ') FROM webhook.secret k JOIN webhook.subscription s ON s.id = k.subscription_id WHERE s.name = 'crm'");
like($made, qr/^whsec_\S+$/, 'but makes a new one');
like($by_hand, qr/^wrapped:/, 'which it shows wrapped, for it is a statement');
like(as('ann', qq{UPDATE webhook_internal.privileged_call SET name = 'set_secret', arguments = '{"subscription": "crm", "secret": "$made"}'}),
	qr/^ERROR:  secret or credential is not wrapped/, 'and is given none');
is(as('ann', 'SELECT name, arguments, result FROM webhook_internal.privileged_call'), '||', 'and keeps nothing');
like(as('ann', q{UPDATE webhook_internal.privileged_call SET name = 'replay', arguments = '{"since": "-infinity", "until": "infinity"}'}),
	qr/^ERROR:  subscription "" does not exist/, 'what is for one subscription is not for all');
like(as('ann', "UPDATE webhook_internal.privileged_call SET name = 'drop'"), qr/^ERROR:  /, 'an unknown operation is refused');

#
# The viewer
#
is(as('eve', "SELECT event_id, outcome FROM webhook.log WHERE subscription = 'crm' ORDER BY started_at LIMIT 1"),
	$t->sql('SELECT webhook.event_id(1)') . '|delivered', 'a viewer sees the log');
is(as('eve', "SELECT state, breaker, pending, dead_letters, delivered > 0 FROM webhook.status WHERE subscription = 'crm'"), 'active|closed|0|0|t', 'and the status');
is(as('eve', "SELECT state FROM webhook.worker"), 'running', 'and the worker');
is(as('eve', 'SELECT source FROM webhook.source'), 'item', 'and the sources');
refused('eve', "read $_->[0]", $_->[1])
  for map { [ $_, "SELECT $_" ] } 'url FROM webhook.subscription', 'headers FROM webhook.subscription', '* FROM webhook.subscription', '* FROM webhook.secret',
  'result FROM webhook.dead_letter', '* FROM webhook.outbox', 'last_error FROM webhook.pending', '* FROM webhook.identity', '* FROM webhook_internal.privileged_call', '* FROM webhook.profile';
refused('eve', "change $_", $_)
  for "UPDATE webhook.subscription SET state = 'inactive'", "SELECT webhook.pause('crm')", "SELECT webhook.subscribe('x', 'https://example.com/')",
  "SELECT webhook.redeliver('1')", "CALL webhook.test('crm')", 'DELETE FROM webhook.dead_letter', "UPDATE webhook_internal.privileged_call SET name = 'test'";

#
# The application, and who owns tables
#
like(as('app', $_), qr/^ERROR:  permission denied for schema webhook/, "an application sees nothing: $_")
  for 'SELECT * FROM webhook.subscription', 'SELECT * FROM webhook.log', 'SELECT * FROM webhook.source', "SELECT webhook.event_id(1)", "CALL webhook.test('crm')";
is(as('app', "SET webhook.context = '{}'; UPDATE item SET v = 'three' WHERE id = 1; DELETE FROM item WHERE id = 2"), '', 'and writes as it likes');
is(as('tom', "CREATE TABLE own (id int PRIMARY KEY); SELECT webhook.watch('own', action_types => '{new,truncate}'); SELECT webhook.unwatch('own')"),
	qq(created "public.own": entity_type own, id_columns {id}, action_types {new,truncate}\nunwatched "public.own": dropped webhook_capture, webhook_truncate),
	'who owns a table watches it, and ends that');
like(as('tom', "SELECT webhook.watch('item')"), qr/^ERROR:  (permission denied for|must be owner of) table item/, 'and no other');
refused('tom', 'subscribe', "SELECT webhook.subscribe('x', '$ok')");

#
# Apart: bob's are not ann's
#
is(as('bob', "SELECT webhook.pause('crm')"), '', 'at first operators share what there is');
is(as('bob', "SELECT webhook.resume('crm')"), '', '(and undo it)');
$t->sql(block('separate'));
$t->sql(block('see all') . 'CREATE ROLE kim LOGIN IN ROLE webhook_auditor');
as('bob', "SELECT webhook.subscribe('bobs', '" . $r->url('/status/400/bobs') . "'); UPDATE webhook.subscription SET give_up_after = '0' WHERE name = 'bobs'");
as('app', "INSERT INTO item VALUES (3, 'three')");
$t->poll_sql('a delivery of bob is given up', 'SELECT count(*) FROM webhook.dead_letter', 1);
$t->wait_until_settled;
is(as('bob', 'SELECT name FROM webhook.subscription'), 'bobs', 'bob sees his own subscription only');
is(as('ann', "SELECT string_agg(name, ',' ORDER BY name) FROM webhook.subscription"), 'crm,given', 'and ann hers');
is(as('bob', 'SELECT string_agg(DISTINCT subscription, \',\') FROM webhook.log'), 'bobs', 'he sees his log only');
is(as('bob', 'SELECT string_agg(DISTINCT subscription_id::text, \',\') FROM webhook.attempt'), as('bob', 'SELECT id FROM webhook.subscription'), 'also in the table');
is(as('bob', "SELECT string_agg(subscription, ',' ORDER BY subscription) FROM webhook.status"), 'bobs', 'his status');
is(as('bob', 'SELECT count(*) FROM webhook_internal.counters()'), 1, 'his counters');
is(as('bob', 'SELECT cardinality(subscriptions) FROM webhook_internal.privileged_call'), 1, 'and may operate his own');
is(as('bob', 'SELECT count(*) FROM webhook.dead_letter'), 1, 'bob sees his dead letter');
is(as('ann', 'SELECT count(*) FROM webhook.dead_letter'), 0, 'and ann does not');
is(as('ann', "SELECT webhook.purge_dead_letters('0')"), 0, 'nor purges it');
like(as('ann', "SELECT webhook.purge_dead_letters(subscription => 'bobs')"), qr/^ERROR:  subscription "bobs" does not exist/, 'for her there is no such subscription');
my $secrets_before = $t->sql('SELECT string_agg(secret, \' \' ORDER BY subscription_id, id) FROM webhook.secret');
like(as('bob', $_), $no_such, "nor for bob is ann's: $_")
  for "SELECT webhook.pause('crm')", "SELECT webhook.resume('crm')", "SELECT webhook.unsubscribe('crm')", "SELECT webhook.rotate_secret('crm')",
  "SELECT webhook.set_credential('crm', 'bearer', 'x')", "SELECT webhook.redeliver('1', 'crm')", "SELECT webhook.replay('crm', '-infinity')", "CALL webhook.test('crm')",
  q{UPDATE webhook_internal.privileged_call SET name = 'set_secret', arguments = '{"subscription": "crm"}'};
is($t->sql('SELECT string_agg(secret, \' \' ORDER BY subscription_id, id) FROM webhook.secret'), $secrets_before, 'and her secrets are as they were');
is(as('bob', "UPDATE webhook.subscription SET url = '$ok'; DELETE FROM webhook.subscription WHERE name = 'crm'; SELECT count(*) FROM webhook.subscription"), 1,
	'direct writes touch his own');
is($t->sql("SELECT owner FROM webhook.subscription WHERE name = 'crm'"), 'ann', 'hers is there');
like(as('bob', "SELECT webhook.subscribe('crm', '$ok')"), qr/^ERROR:  subscription "crm" already exists/, 'a name that is taken is taken');
my $sent = $r->count('/ok/crm/ann');
$t->sql("UPDATE webhook.subscription SET url = '" . $r->url('/ok/crm/ann') . "' WHERE name = 'crm'");
is(as('bob', "SELECT webhook.redeliver((SELECT max(event_number)::text FROM webhook.log))"), 1, 'what he sends again to all goes to all of his');
$t->wait_until_settled;
is($r->count('/ok/crm/ann'), $sent, 'and to nobody else');
like(as('ann', "SELECT outcome, response FROM webhook.log WHERE subscription = 'bobs' OR response IS NOT NULL AND subscription <> 'crm'"), qr/^$/, 'no condition on the log brings up his');
like(as('bob', "UPDATE webhook.subscription SET owner = 'ann'"), qr/^ERROR:  must be a member of role "ann"/, 'he cannot give her his');
is(as('kim', "SELECT string_agg(subscription, ',' ORDER BY subscription) FROM webhook.status"), 'bobs,crm,given', 'who shall see all does');
is(as('eve', "SELECT string_agg(subscription, ',' ORDER BY subscription) FROM webhook.status"), '', 'another viewer sees none');
is($t->sql('SELECT count(*) FROM webhook.subscription'), 3, 'the owner sees all');
# nor is he told of hers
for my $who ('ann', 'bob')
{
	as($who, "SELECT webhook.subscribe('ops of $who', '" . $r->url("/ok/ops/$who") . "', events => '{webhook_subscription.*}')");
}
$t->sql("UPDATE webhook.subscription SET state = 'disabled', state_reason = 'for this test' WHERE name = 'crm'");
as('ann', "SELECT webhook.resume('crm')");
$t->wait_until_settled;
is($r->count('/ok/ops/ann'), 2, 'of what happens to her subscription, she is told');
is($r->count('/ok/ops/bob'), 0, 'and he is not');
as($_, "SELECT webhook.unsubscribe('ops of $_')") for 'ann', 'bob';
# teams
$t->sql('CREATE ROLE team; GRANT team TO ann, bob; GRANT webhook_operator TO team');
is(as('bob', "UPDATE webhook.subscription SET owner = 'team' WHERE name = 'bobs'"), '', 'he can share it with a team he is in');
is(as('ann', "SELECT count(*) FROM webhook.subscription WHERE name = 'bobs'"), 1, 'whose members then see it');
as('ann', "SET ROLE team; SELECT webhook.subscribe('ours', '$ok')");
is($t->sql("SELECT owner FROM webhook.subscription WHERE name = 'ours'"), 'team', 'what is made in the name of a team is its own');

#
# A dump carries owners, grants and policies, also to where a role is missing
#
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr($WebhookTest::DB), '-f', $dump ], 'the database is dumped');
my $elsewhere = PostgreSQL::Test::Cluster->new('elsewhere');
$elsewhere->init;
$elsewhere->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\nwebhook.allowed_networks = '127.0.0.0/8, ::1/128'\n");
$elsewhere->start;
$elsewhere->safe_psql('postgres', <<'SQL');
CREATE ROLE webhook_operator NOLOGIN; CREATE ROLE webhook_viewer NOLOGIN; CREATE ROLE webhook_watcher NOLOGIN; CREATE ROLE webhook_auditor NOLOGIN;
CREATE ROLE bob LOGIN IN ROLE webhook_operator; CREATE ROLE app; CREATE ROLE team; CREATE ROLE tom
SQL
my ($rc, $out, $err) = $elsewhere->psql('postgres', undef, extra_params => [ '-f', $dump, '-v', 'ON_ERROR_STOP=0' ]);
is_deeply([ grep { !/role "ann" does not exist/ } $err =~ /(ERROR: .*)/g ], [], 'it is restored where ann does not exist, with no error but that');
is($elsewhere->safe_psql('postgres', "SELECT string_agg(name || ' ' || owner, ',' ORDER BY name) FROM webhook.subscription"),
	'bobs team,crm ann,given ann,ours team', 'with each subscription and its owner');
my (undef, $seen) = $elsewhere->psql('postgres', 'SELECT count(*) FROM webhook.subscription', extra_params => [ '-U', 'bob' ]);
is($seen, 0, 'row security is on there, for the operators that have the grants there');
$elsewhere->stop;

$t->sql('SELECT webhook.isolate_operators(false)');
is(as('bob', "SELECT count(*) FROM webhook.subscription"), 4, 'undone: operators share again');

$t->stop;
done_testing();

# The promise: docs/security.md says of every object of both schemas what each role may
# do with it, and nothing else is so: roles with our grants, a role without any, the
# owner of watched tables, and the server's own roles that read or see everything. The
# page's table is compared with what the server answers for each role and each object,
# both ways. And credentials that are sent stay with the endpoint they were given for, whatever is removed, whenever
# and by whom.
use strict;
use warnings;

use File::Spec;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use MIME::Base64 qw(encode_base64);
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

my $keys = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir()) . '/keys';
append_to_file($keys, 'k1 ' . encode_base64('0123456789abcdef' x 2, '') . "\n");
chmod 0600, $keys or die "chmod: $!";

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\nwebhook.key_file = '$keys'\n");
my $node = $t->node;
$t->sql($_) for map { block($_) } 'operator', 'viewer', 'watcher', 'service';
$t->sql('CREATE ROLE webhook_anybody; CREATE ROLE op LOGIN IN ROLE webhook_operator');
$t->sql(<<'SQL');
CREATE ROLE tables LOGIN;
CREATE ROLE reader LOGIN IN ROLE pg_read_all_data;
CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
CREATE TABLE owned (id int PRIMARY KEY, note text);
ALTER TABLE owned OWNER TO tables;
SELECT FROM webhook.watch('owned');
SQL

sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($WebhookTest::DB, $sql, extra_params => [ '-U', $role ]);
	return $out if $rc == 0;
	return $err =~ /(ERROR: .*)/ ? $1 : "no error message: $err";
}

# a line for each role and object that is reached in any way; of the segments one, as _N, for those of which all are
my $reach = $t->sql(<<'SQL');
WITH roles (role, shown) AS (VALUES ('webhook_anybody', 'anybody'), ('webhook_operator', 'operator'), ('webhook_viewer', 'viewer'), ('webhook_watcher', 'watcher'), ('webhook_service', 'service'),
	('tables', 'owner of tables'), ('reader', 'member of pg_read_all_data'), ('monitor', 'member of pg_monitor')),
schemas (oid, prefix) AS (VALUES ('webhook'::regnamespace::oid, ''), ('webhook_internal'::regnamespace::oid, 'webhook_internal.')),
objects (kind, name, oid) AS (
	SELECT 'schema', s.oid::regnamespace::text, s.oid FROM schemas s
	UNION ALL SELECT CASE WHEN c.relispartition THEN 'segment' WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'S' THEN 'sequence' ELSE 'table' END, s.prefix || c.relname, c.oid
		FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
	UNION ALL SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
		s.prefix || p.proname || CASE WHEN count(*) OVER (PARTITION BY p.pronamespace, p.proname) > 1 THEN format('(%s)', oidvectortypes(p.proargtypes)) ELSE '' END, p.oid
		FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace
	UNION ALL SELECT 'type', s.prefix || y.typname, y.oid FROM pg_type y JOIN schemas s ON s.oid = y.typnamespace WHERE y.typrelid = 0 AND y.typelem = 0),
reached AS (
	SELECT o.kind, o.name, r.shown, p.privilege || coalesce(' ' || c.columns, '') AS privilege, p.n
	FROM objects o CROSS JOIN roles r
	CROSS JOIN LATERAL (SELECT * FROM unnest(CASE
		WHEN o.kind = 'schema' THEN '{USAGE,CREATE}' WHEN o.kind IN ('table', 'segment', 'view') THEN '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'
		WHEN o.kind = 'sequence' THEN '{USAGE,SELECT,UPDATE}' WHEN o.kind = 'type' THEN '{USAGE}' ELSE '{EXECUTE}' END::text[]) WITH ORDINALITY x(privilege, n)) p
	LEFT JOIN LATERAL (SELECT '(' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')' AS columns FROM pg_attribute a
		WHERE o.kind IN ('table', 'segment', 'view') AND a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND NOT has_table_privilege(r.role, o.oid, p.privilege)
			AND has_column_privilege(r.role, o.oid, a.attnum, p.privilege)) c ON true
	WHERE CASE WHEN o.kind = 'schema' THEN has_schema_privilege(r.role, o.oid, p.privilege) WHEN o.kind IN ('table', 'segment', 'view') THEN has_table_privilege(r.role, o.oid, p.privilege)
		WHEN o.kind = 'sequence' THEN has_sequence_privilege(r.role, o.oid, p.privilege) WHEN o.kind = 'type' THEN has_type_privilege(r.role, o.oid, p.privilege)
		ELSE has_function_privilege(r.role, o.oid, p.privilege) END OR c.columns IS NOT NULL),
alike AS (
	SELECT kind, CASE WHEN kind = 'segment' AND count(*) OVER (PARTITION BY shown, kind, regexp_replace(name, '_\d$', ''), privilege) = 8
		THEN regexp_replace(name, '_\d$', '_N') ELSE name END AS name, shown, privilege FROM reached)
SELECT format('| %s | %s %s | %s |', shown, kind, name, string_agg(DISTINCT privilege, ', ')) FROM alike GROUP BY shown, kind, name ORDER BY shown, kind, name COLLATE "C"
SQL
my ($table) = $page =~ /<!-- roles: reach -->\n\| Role .*?\n\|[-| ]+\n(.*?)\n\n/s or die 'docs/security.md has no table of what is reached';
my %said = map { $_ => 1 } split /\n/, $table;
my %is   = map { $_ => 1 } split /\n/, $reach;
is_deeply([ grep { !$said{$_} } sort keys %is ], [], 'nothing is reached that the page does not say');
is_deeply([ grep { !$is{$_} } sort keys %said ], [], 'and all that it says');
is($t->sql(<<'SQL'), 0, 'no role but the owner was granted more in another way: defaults, large grants');
SELECT count(*) FROM pg_default_acl
SQL

#
# Who reads all tables of a database, sees all its activity, or owns what is watched: what they make of it
#
$t->sql("SELECT FROM webhook.subscribe('read', 'https://127.0.0.1:1/'), webhook.set_credential('read', 'bearer', 'token')");
my $sealed = "SELECT (SELECT string_agg(secret, ' ') FROM webhook.secret), (SELECT string_agg(value, ' ') FROM webhook.credential)";
like(as('reader', $sealed), qr/^sealed:\S+\|sealed:\S+$/, 'who reads all tables reads secrets and credentials sealed');
is(as('reader', "SELECT count(*), (SELECT count(*) FROM webhook.log), (SELECT url FROM webhook.subscription) FROM webhook.outbox"),
	'0|0|https://127.0.0.1:1/', '... and events, the log and where they go');
like(as('reader', "SELECT * FROM webhook.$_"), qr/^ERROR:  permission denied for function/, "... but not $_, which calls a function") for 'status', 'worker';
for my $role ('reader', 'monitor', 'tables')
{
	like(as($role, $_), qr/^ERROR:  permission denied/, "$role: $_")
	  for "SELECT webhook.subscribe('mine', 'https://127.0.0.1:1/')", "SELECT webhook.pause('read')", "SELECT webhook.rotate_secret('read')", "CALL webhook.test('read')",
	  "SELECT webhook.set_credential('read', 'bearer', NULL)", "SELECT webhook.replay('read', now())", "SELECT webhook.redeliver('1')", "SELECT webhook.unwatch('owned')",
	  q{UPDATE webhook_internal.privileged_call SET name = 'test', arguments = '{"subscription": "read"}'},
	  "UPDATE webhook.subscription SET url = 'https://127.0.0.2:1/'", 'DELETE FROM webhook.dead_letter', "INSERT INTO webhook.outbox DEFAULT VALUES",
	  'CREATE TRIGGER t BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', 'CREATE TABLE webhook.mine (id int)',
	  'TRUNCATE webhook.outbox_0';
}
like(as($_, 'SELECT count(*) FROM webhook.log'), qr/^ERROR:  permission denied for schema webhook/, "$_ does not see the log") for 'monitor', 'tables';
is(as('tables', "INSERT INTO owned VALUES (1, 'x'); ALTER TABLE owned DISABLE TRIGGER USER; SELECT count(*) FROM owned"), 1, 'who owns a watched table writes it, and may end that it is watched');
unlike(as('monitor', 'SELECT string_agg(query, e\'\\n\') FROM pg_stat_activity WHERE backend_type LIKE \'webhook%\''), qr/127\.0\.0\.1|sealed|whsec/, 'activity tells no URL and no secret');
$t->sql("SELECT webhook.unsubscribe('read'); ALTER TABLE owned ENABLE TRIGGER USER");

#
# What was granted is what is revoked
#
my %acls;

# The privileges that were granted to a role itself, on anything of ours.
sub acls
{
	my ($role) = @_;
	return $t->sql(<<"SQL");
WITH schemas (oid) AS (VALUES ('webhook'::regnamespace::oid), ('webhook_internal'::regnamespace::oid)),
acls (object, acl) AS (
	SELECT oid::regnamespace::text, nspacl FROM pg_namespace
	UNION ALL SELECT c.oid::regclass::text, c.relacl FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
	UNION ALL SELECT c.oid::regclass || '.' || a.attname, a.attacl FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN schemas s ON s.oid = c.relnamespace
	UNION ALL SELECT p.oid::regprocedure::text, p.proacl FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace)
SELECT format('%s %s', object, privilege_type) FROM acls, aclexplode(acl) WHERE grantee = '$role'::regrole ORDER BY 1
SQL
}
$t->sql('CREATE ROLE sam LOGIN');
for my $kind ('operator', 'viewer', 'watcher', 'service')
{
	$acls{$kind} = acls("webhook_$kind");
	is($t->sql("SELECT webhook.grant_$kind('sam'), webhook.grant_$kind('sam')"), '|', "somebody becomes $kind");
	is(acls('sam'), $acls{$kind}, '... once and for all');
	for my $other (grep { $_ ne $kind } 'operator', 'viewer', 'watcher', 'service')
	{
		$t->sql("SELECT webhook.grant_$other('sam')");
		isnt(acls('sam'), $acls{$kind}, "and $other as well");
		$t->sql("SELECT webhook.revoke_$other('sam')");
		is(acls('sam'), $acls{$kind}, "... and no more, but still $kind");
	}
	$t->sql("SELECT webhook.revoke_$kind('sam')");
	is(acls('sam'), '', "and nothing, when $kind is revoked");
}
like(as('op', "SELECT webhook.$_('sam')"), qr/^ERROR:  permission denied for function $_/, "an operator may not $_")
  for map { ("grant_$_", "revoke_$_") } 'operator', 'viewer', 'watcher', 'service';
my $owner = $t->sql("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'webhook'");
for my $wrong ([ "'nobody'", 'role "nobody" does not exist' ], [ 'NULL', 'role does not exist' ], [ "'$owner'", "role $owner owns the extension" ])
{
	my (undef, undef, $err) = $node->psql($WebhookTest::DB, "SELECT webhook.revoke_operator($wrong->[0])");
	like($err, qr/ERROR:  \Q$wrong->[1]\E/, "refused: $wrong->[0]");
}

#
# Credentials that are sent stay with the endpoint
#
my $refused = qr/^ERROR:  only the extension's owner may change the .* of a subscription that has credentials/;
my $ca      = slurp_file("$t->{certs}/ca.pem");
$t->subscribe('crm', 'https://127.0.0.1:1/ok');
$t->sql("SELECT webhook.set_credential('crm', 'ca', '$ca'), webhook.set_credential('crm', 'proxy', 'http://127.0.0.1:9')");
my $all = "SELECT string_agg(kind, ' ' ORDER BY kind) FROM webhook.credential";
for my $sent ([ 'bearer', 'token' ], [ 'basic', 'a:b' ], [ 'header:X-Key', 'k' ])
{
	$t->sql("SELECT webhook.set_credential('crm', '$sent->[0]', '$sent->[1]')");
	like(as('op', $_), $refused, "beside $sent->[0]: $_")
	  for "SELECT webhook.set_credential('crm', 'ca', NULL)", "SELECT webhook.set_credential('crm', 'proxy', NULL)",
	  q{UPDATE webhook_internal.privileged_call SET name = 'set_credential', arguments = '{"subscription": "crm", "kind": "ca", "value": null}'},
	  "UPDATE webhook.subscription SET url = 'https://127.0.0.1:2/'", "UPDATE webhook.subscription SET url = 'https://127.0.0.2:1/ok'";
	is($t->sql($all), join(' ', sort ($sent->[0], 'ca', 'proxy')), 'all is there');
	is(as('op', "SELECT webhook.set_credential('crm', '$sent->[0]', NULL)"), '', 'what is sent may be taken away');
}
# with a grant that goes beyond the page
$t->sql("SELECT webhook.set_credential('crm', 'bearer', 'token'); GRANT ALL ON webhook.credential TO op; SELECT webhook.subscribe('other', 'https://127.0.0.1:3/')");
like(as('op', $_), $refused, "with all rights on the table: $_")
  for "DELETE FROM webhook.credential WHERE kind = 'ca'", "UPDATE webhook.credential SET kind = 'header:X-Ca' WHERE kind = 'proxy'",
  "UPDATE webhook.credential SET subscription_id = (SELECT id FROM webhook.subscription WHERE name = 'other') WHERE kind = 'bearer'";
$t->sql('REVOKE ALL ON webhook.credential FROM op');
# who looks at the subscription under a snapshot from before the credential came does not see it, and does not get by either
$t->sql("SELECT webhook.set_credential('crm', 'bearer', NULL)");
for my $isolation ('REPEATABLE READ', 'SERIALIZABLE')
{
	for my $change ("UPDATE webhook.subscription SET url = 'https://127.0.0.1:2/' WHERE name = 'crm'", "SELECT webhook.set_credential('crm', 'ca', NULL)")
	{
		my ($in, $out, $err) = ('', '', '');
		my $timer = IPC::Run::timeout(180);
		my $run = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr($WebhookTest::DB) . ' user=op' ], '<', \$in, '>', \$out, '2>', \$err, $timer);
		$in = "BEGIN ISOLATION LEVEL $isolation; SELECT 'seen ' || count(*) FROM webhook.subscription;\n";
		$run->pump until $out =~ /seen/;
		$t->sql("SELECT webhook.set_credential('crm', 'bearer', 'token')");
		$in .= "$change; COMMIT;\n\\q\n";
		$run->finish;
		like($err, qr/could not serialize access|only the extension's owner/, "$isolation: $change");
		is($t->sql("$all WHERE subscription_id = (SELECT id FROM webhook.subscription WHERE name = 'crm' AND url = 'https://127.0.0.1:1/ok')"), 'bearer ca proxy', 'all is as it was');
		$t->sql("SELECT webhook.set_credential('crm', 'bearer', NULL)");
	}
}
# nor does an operator's index or cast that runs in a superuser's session
$t->sql("SELECT webhook.set_credential('crm', 'bearer', 'token'); CREATE SCHEMA ops AUTHORIZATION op");
is(as('op', <<'SQL'), '', 'an operator makes an index of a function of hers');
CREATE TABLE ops.t (id int);
INSERT INTO ops.t VALUES (1);
CREATE FUNCTION ops.g() RETURNS void LANGUAGE plpgsql VOLATILE AS $$ BEGIN
	IF session_user = 'postgres' THEN
		BEGIN UPDATE webhook.subscription SET url = 'https://127.0.0.1:2/' WHERE name = 'crm'; EXCEPTION WHEN insufficient_privilege THEN NULL; END;
		BEGIN PERFORM webhook.set_credential('crm', 'ca', NULL); EXCEPTION WHEN insufficient_privilege THEN NULL; END;
		BEGIN PERFORM webhook.rotate_secret('other', 'file:/etc/passwd'); EXCEPTION WHEN insufficient_privilege THEN NULL; END;
	END IF;
END $$;
CREATE FUNCTION ops.f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM ops.g(); RETURN i; END $$;
CREATE INDEX ON ops.t ((ops.f(id)));
SQL
$t->sql($_) for 'VACUUM (FULL, ANALYZE) ops.t', 'REINDEX TABLE ops.t', 'CLUSTER ops.t USING t_f_idx';
is($t->sql("$all WHERE subscription_id = (SELECT id FROM webhook.subscription WHERE name = 'crm' AND url = 'https://127.0.0.1:1/ok')"), 'bearer ca proxy', 'which gains her nothing where a superuser maintains it');
is($t->sql("SELECT count(*) FROM webhook.secret WHERE secret LIKE 'file:%'"), 0, 'nor a file');
is(as('op', "SELECT webhook.unsubscribe('crm')"), '', 'the subscription itself she may remove');
is($t->sql('SELECT count(*) FROM webhook.credential'), 0, 'and its credentials go with it');
# a test does not forge what only webhook tells
$t->sql("SELECT webhook.subscribe('ops', 'https://127.0.0.1:1/')");
as('op', q{UPDATE webhook_internal.privileged_call SET name = 'test', arguments = '{"subscription": "ops", "entity_type": "webhook_subscription", "entity_id": "crm", "result": "{\"change\": \"disabled\"}"}'});
is($t->sql("SELECT entity_id, action_type, result::jsonb FROM webhook.outbox WHERE entity_type = 'webhook_subscription'"), 'test|test|{"test": true, "subscription": "ops"}', 'nor does a test by hand');

#
# webhook.context, wherever it comes from
#
$t->sql("CREATE TABLE item (id int PRIMARY KEY); GRANT INSERT ON item TO op");
$t->watch('item');
sub with_options
{
	my ($options) = @_;
	local $ENV{PGOPTIONS} = $options;
	my ($rc, $out, $err) = $node->psql($WebhookTest::DB, "INSERT INTO item SELECT coalesce(max(id), 0) + 1 FROM item; SHOW webhook.context");
	return "$out $err";
}
like(with_options(qq{-c webhook.context={"a":"a\xff"}}), qr/invalid value for parameter "webhook.context"/, 'bytes that are no text are refused in the startup packet');
like(with_options(qq{-c webhook.context={"a":"\xc3\xa4"}}), qr/^\{"a":"\xc3\xa4"\}/, 'those that are not');
for my $wrong ([ q{'{"a": "' || repeat('x', 65536) || '"}'}, 'longer than 64 kB' ], [ q{'{"a": ' || repeat('[', 30000) || repeat(']', 30000) || '}'}, 'deeply nested' ])
{
	my (undef, undef, $err) = $node->psql($WebhookTest::DB, "SELECT set_config('webhook.context', $wrong->[0], false)");
	like($err, qr/ERROR:  invalid value for parameter "webhook.context"/, "refused when it is set: $wrong->[1]");
}
is($t->sql(q{SELECT length(set_config('webhook.context', '{"a": "' || repeat('x', 65000) || '"}', false))}), 65009, 'a long one is not');
is($t->sql('SELECT count(*) FROM webhook.outbox WHERE context IS NOT NULL'), 1, 'what was refused is in no event');
$t->stop;
done_testing();

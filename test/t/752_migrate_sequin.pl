# The promise: scripts/migrate/sequin.sql reads the webhook sinks of Sequin's configuration and
# prints SQL that delivers the same events in the same message to the same places: tables, actions,
# filters, endpoints with their paths and headers, grouping.
#
# The old system is the YAML that this test writes, made JSON as docs/migrating.md says.
use strict;
use warnings;

use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookMigrate;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r    = $t->receiver;
my $dir  = PostgreSQL::Test::Utils::tempdir();
my $base = $r->url('/ok/');
my $n    = 0;

# The command of the page, on that text.
sub as_json
{
	my ($yaml) = @_;
	my $name = "$dir/" . ++$n;
	append_to_file("$name.yaml", $yaml);
	system_or_bail('sh', '-c', q(python3 -c 'import json,sys,yaml; json.dump(yaml.safe_load(sys.stdin),sys.stdout,default=str)' <"$0.yaml" >"$0.json"), $name);
	return "$name.json";
}

$t->sql(<<'SQL');
CREATE SCHEMA "o'dd";
CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric, paid boolean, meta jsonb, account_id int, "a%s""b" text, at timestamptz);
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE "o'dd"."T.x" (id int PRIMARY KEY);
SQL

my $yaml = <<YAML;
databases:
  - {name: main, database: app, hostname: db, username: postgres, password: hunter2}
http_endpoints:
  - name: api
    url: "$base"
    headers: [{key: X-Shop, value: "sh'op"}, {key: Content-Type, value: application/json}]
    encrypted_headers: [{key: Authorization, value: "Bearer t0ken"}]
  - {name: tunnel, local: "true", path: /x}
sinks:
  - name: paid
    database: main
    table: public.orders
    actions: [insert, update, delete]
    filters:
      - {column_name: status, operator: in, comparison_value: [paid, "it's \\"so\\""]}
      - {column_name: total, operator: ">=", comparison_value: 100}
      - {column_name: paid, operator: "=", comparison_value: true}
      - {column_name: meta, field_path: a.b, operator: "!=", comparison_value: "no", field_type: string}
      - {column_name: 'a%s"b', operator: is null}
    destination: {type: webhook, http_endpoint: api, http_endpoint_path: /paid}
  - name: "two'); DROP TABLE users; --\\n\\\\! touch injected"
    database: main
    source: {include_tables: [public.users, "o'dd.T.x"]}
    actions: [insert]
    message_grouping: false
    batch_size: 10
    destination: {type: webhook, http_endpoint: api, http_endpoint_path: two, batch: true}
  - name: grouped
    database: main
    tables: [{name: public.orders, group_column_names: [account_id]}]
    actions: [delete]
    destination: {type: webhook, http_endpoint: api, http_endpoint_path: /grouped}
  - {name: queue, database: main, table: users, destination: {type: sqs}}
  - {name: function, database: main, table: users, transform: shape, destination: {type: webhook, http_endpoint: api}}
  - {name: local, database: main, table: users, destination: {type: webhook, http_endpoint: tunnel}}
  - {name: all, database: main, destination: {type: webhook, http_endpoint: api}}
  - {name: dated, database: main, table: orders, filters: [{column_name: at, operator: ">", comparison_value: 2024-01-01}],
     destination: {type: webhook, http_endpoint: api}}
  - {name: paused, database: main, table: users, status: disabled, destination: {type: webhook, http_endpoint: api}}
  - {name: elsewhere, database: other, table: users, destination: {type: webhook, http_endpoint: api}}
YAML

my $file = as_json($yaml);
is(eval { migrate($t, 'sequin', file => $file); 1 }, undef, 'sinks of two databases');
like($@, qr/database=NAME/, 'are to be told apart');
my @of = (file => $file, database => 'main');
my $sql = migrate($t, 'sequin', @of);
my %secrets = secrets_of($t, 'sequin', @of);
unlike($sql, qr/t0ken|sh'+op|hunter2/, 'no header and no password is in the SQL');
is(join('|', sort values %secrets), "Bearer t0ken|Bearer t0ken|Bearer t0ken|Bearer t0ken|sh'op|sh'op|sh'op|sh'op", 'headers are told by -v secrets=1');
for ([ queue => 'sqs' ], [ function => 'transform shape' ], [ local => 'no url' ], [ all => 'no tables' ], [ dated => 'filter' ], [ paused => 'disabled' ])
{
	like($sql, qr/^-- NOT CARRIED OVER: $$_[0]: .*$$_[1]/m, "$$_[0] is not carried over, and why");
}

my ($ok, $said) = run_printed($t, $sql, environment => \%secrets);
ok($ok, 'the printed SQL runs') or diag($said);
ok(!-e 'injected' && $t->sql(q(SELECT to_regclass('users'))) eq 'users', 'no name of the old configuration ran');
is($t->sql('SELECT count(*) FROM webhook.subscription'), 4, 'a subscription for each table of a sink');

$t->sql(<<'SQL');
INSERT INTO orders VALUES (1, 'paid', 100.5, true, '{"a": {"b": "yes"}}', 1);
INSERT INTO orders VALUES (2, 'open', 100, true, '{"a": {"b": "yes"}}', 1);          -- another status
INSERT INTO orders VALUES (3, 'it''s "so"', 99, true, '{"a": {"b": "yes"}}', 1);    -- too little
INSERT INTO orders VALUES (4, 'paid', 100, NULL, '{"a": {"b": "yes"}}', 1);         -- not true
INSERT INTO orders VALUES (5, 'paid', 100, true, '{"a": {"b": null}}', 1);          -- not known to be another
INSERT INTO orders VALUES (6, 'paid', 100, true, '{"a": {"b": "yes"}}', 1, 'x');    -- not null
INSERT INTO orders VALUES (7, 'it''s "so"', 100, true, '{"a": {"b": "yes"}}', 1);
UPDATE orders SET total = 200 WHERE id IN (1, 2);
DELETE FROM orders WHERE id IN (1, 2);
INSERT INTO users VALUES (9, 'Ada');
UPDATE users SET name = 'Bea';
INSERT INTO "o'dd"."T.x" VALUES (8);
SQL
$t->wait_until_settled;

# what differs from run to run, and is looked at here
sub messages
{
	my (@messages) = @_;
	for my $m (@messages)
	{
		like($m->{metadata}{idempotency_key}, qr/^evt_/, 'a key of its own');
		like($m->{metadata}{commit_timestamp}, qr/^\d{4}-\d\d-\d\dT.*Z$/, 'and a time');
		delete @{ $m->{metadata} }{qw(idempotency_key commit_timestamp)};
	}
	return \@messages;
}
my $meta = sub { return { table_schema => $_[0], table_name => $_[1], consumer => { name => $_[2] } } };
my $order = sub { return { id => $_[0], status => $_[1], total => $_[2], paid => JSON::PP::true, meta => { a => { b => 'yes' } }, account_id => 1, 'a%s"b' => undef, at => undef } };
is_deeply(messages(bodies($r, '/ok/paid')), [
		{ action => 'insert', record => $order->(1, 'paid', 100.5), changes => undef, metadata => $meta->('public', 'orders', 'paid') },
		{ action => 'insert', record => $order->(7, q(it's "so"), 100), changes => undef, metadata => $meta->('public', 'orders', 'paid') },
		{ action => 'update', record => $order->(1, 'paid', 200), changes => { total => 100.5 }, metadata => $meta->('public', 'orders', 'paid') },
		{ action => 'delete', record => $order->(1, 'paid', 200), changes => undef, metadata => $meta->('public', 'orders', 'paid') }
	], 'filters, also of what was deleted; record, changes, action, metadata');
my $odd  = "two'); DROP TABLE users; --\n\\! touch injected";
my @two  = map { ref $_->{data} eq 'ARRAY' && @{ $_->{data} } == 1 ? $_->{data}[0] : {} } bodies($r, '/ok/two');
is_deeply(messages(@two), [
		{ action => 'insert', record => { id => 9, name => 'Ada' }, changes => undef, metadata => $meta->('public', 'users', $odd) },
		{ action => 'insert', record => { id => 8 }, changes => undef, metadata => $meta->("o'dd", 'T.x', $odd) }
	], 'two tables, inserts only, in "data"');
is_deeply([ map { $_->{record}{id} } bodies($r, '/ok/grouped') ], [ 1, 2 ], 'a table that is named for its group');
is($t->sql(q(SELECT string_agg(ordering, ' ' ORDER BY left(name, 3), name) FROM webhook.subscription)), 'strict entity none none', 'grouping is order');
my ($request) = arrived($r, '/ok/paid');
is("$request->{headers}{authorization} $request->{headers}{'x-shop'}", "Bearer t0ken sh'op", 'the headers of the endpoint');

like(migrate($t, 'sequin', @of, data => 'on'), qr/''grouped'', ''t''/, 'data=on: always inside "data"');
$t->stop;
done_testing();

# The promise: scripts/migrate/supabase.sql reads Supabase's database webhooks from their triggers
# and prints SQL that delivers the same events in the same body to the same places, from one moment
# on: what was committed before it went the old way, and nothing goes both ways or none.
#
# The old system is its triggers, its tables and a function that stands in for its own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookMigrate;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver;

# The old system: a queue of requests, which this test's function writes as pg_net would.
my $hostile = q{x'); DROP TABLE orders; --};
my $url     = $r->url('/ok');
$t->sql(<<SQL);
CREATE SCHEMA supabase_functions;
CREATE SCHEMA net;
CREATE SCHEMA "Odd ""schema";
CREATE TABLE net.http_request_queue (id bigserial PRIMARY KEY, method text, url text, headers jsonb, body bytea,
	timeout_milliseconds int);
CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO net.http_request_queue (method, url, body)
		VALUES (TG_ARGV[1], TG_ARGV[0], convert_to(CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END::text, 'UTF8'));
	RETURN NULL;
END \$\$;
CREATE FUNCTION by_hand() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	-- PERFORM net.http_post(url := 'https://example.com');
	RETURN NULL;
END \$\$;
CREATE TABLE orders (id bigint PRIMARY KEY, status text, note text);
CREATE TABLE "Odd ""schema"."Ta'ble.x" (id int PRIMARY KEY, a text);
CREATE TABLE keyless (a int);
CREATE TRIGGER all_orders AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION
	supabase_functions.http_request('$url/orders', 'POST',
		'{"Content-type":"application/json","Authorization":"Bearer s3cr3t-''\$(x)"}', '{"a b":"c&d","é":"1"}', '5000');
CREATE TRIGGER status AFTER UPDATE OF status ON orders FOR EACH ROW EXECUTE FUNCTION
	supabase_functions.http_request('$url/status', 'POST', 'null', 'null', '10');
CREATE TRIGGER gone AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION supabase_functions.http_request('$url/never', 'POST');
ALTER TABLE orders DISABLE TRIGGER gone;
CREATE TRIGGER "get" AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION supabase_functions.http_request('$url/never', 'GET');
CREATE TRIGGER paid AFTER UPDATE ON orders FOR EACH ROW WHEN (NEW.status = 'paid
DROP TABLE orders;') EXECUTE FUNCTION supabase_functions.http_request('$url/never', 'POST');
CREATE TRIGGER own AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION by_hand();
CREATE TRIGGER "$hostile
\\! touch injected" AFTER INSERT OR UPDATE ON "Odd ""schema"."Ta'ble.x" FOR EACH ROW EXECUTE FUNCTION
	supabase_functions.http_request('$url/odd?a=%27;--', 'POST', '{"X-Key":"k"}');
SQL

# What the extension refuses stops the printed SQL, and nothing is left of it.
$t->sql("CREATE TRIGGER bad AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION
	supabase_functions.http_request('https://exa mple.com/'');DROP TABLE orders;--\\', 'POST', '{\"X Y\":\"z\"}')");
my %refused = secrets_of($t, 'supabase');
my ($ok, $said) = run_printed($t, migrate($t, 'supabase'), environment => \%refused);
ok(!$ok, 'a URL that is none stops the printed SQL') or diag($said);
like($said, qr/invalid URL/, 'by the error about it');
is($t->sql('SELECT count(*) FROM webhook.subscription'), 0, 'and nothing is left of it');
is($t->sql(q(SELECT tgenabled FROM pg_trigger WHERE tgname = 'all_orders')), 'O', 'the old trigger fires as before');
$t->sql('DROP TRIGGER bad ON orders');

my $sql = migrate($t, 'supabase');
my %secrets = secrets_of($t, 'supabase');
is(join('|', sort values %secrets), q(Bearer s3cr3t-'$(x)|k), 'the values of headers are told by -v secrets=1');
unlike($sql, qr/s3cr3t/, 'and are not in the SQL');
like($sql, qr/^-- NOT CARRIED OVER: gone .*disabled/m, 'a disabled trigger is told');
like($sql, qr/^-- NOT CARRIED OVER: get .*GET/m, 'so is another method');
like($sql, qr/^-- NOT CARRIED OVER: paid .*condition/m, 'and a condition');
like($sql, qr/^-- NOT CARRIED OVER: trigger own of public\.orders/m, 'and a function that calls pg_net');
is($t->sql('SELECT count(*) FROM webhook.source'), 0, 'the script itself changes nothing');

subtest 'to compare, the tables are watched and nothing else happens' => sub {
	my ($done, $output) = run_printed($t, $sql, variables => { only_watch => 1 });
	ok($done, 'the printed SQL runs') or diag($output);
	is($t->sql('SELECT count(*) FROM webhook.source'), 2, 'two tables are watched');
	is($t->sql('SELECT count(*) FROM webhook.subscription'), 0, 'nobody is subscribed');
	is($t->sql(q(SELECT tgenabled FROM pg_trigger WHERE tgname = 'all_orders')), 'O', 'the old trigger fires');
	$t->sql('SELECT webhook.unwatch(w.source) FROM (SELECT DISTINCT source FROM webhook.source) w');
};

subtest 'a secret that is missing stops it' => sub {
	my ($done, $output) = run_printed($t, $sql);
	ok(!$done, 'the printed SQL fails');
	like($output, qr/syntax error/, 'where the value belongs');
	is($t->sql('SELECT count(*) FROM webhook.subscription'), 0, 'and leaves nothing');
};

# The cut, while four sessions write.
my @writers = $t->sessions(map { writer("INSERT INTO orders VALUES (1000000 * $_ + n, 'new')") } 1 .. 4);
poll_until('writers write', sub { $t->sql('SELECT count(*) FROM orders') > 20 });
($ok, $said) = run_printed($t, $sql, environment => \%secrets);
ok($ok, 'the printed SQL runs while the tables are written') or diag($said);
is(join('', $t->finish_sessions(@writers)), '', 'and no writer fails');
$t->wait_until_settled;
ok(!-e 'injected' && $t->sql(q(SELECT to_regclass('orders'))) eq 'orders', 'no name of the old configuration ran');

my @arrived = bodies($r, '/ok/orders');
my @old     = split /\n/, $t->sql("SELECT convert_from(body, 'UTF8') FROM net.http_request_queue WHERE url = '$url/orders'");
is(difference([ split /\n/, $t->sql('SELECT id FROM orders') ], [ @old, map { $_->{record}{id} } @arrived ]),
	'', 'each row went the old way or the new one, and only one');
cmp_ok(scalar @arrived, '>=', 4 * 50, 'rows were written after the cut');
cmp_ok(scalar @old,     '>=', 20,     'and before it');

subtest 'what arrives is what Supabase sends' => sub {
	my $had = @arrived;
	$t->sql(q(INSERT INTO orders VALUES (1, 'open', 'a'); UPDATE orders SET note = 'b' WHERE id = 1;
		UPDATE orders SET status = 'paid' WHERE id = 1; DELETE FROM orders WHERE id = 1));
	$t->wait_until_settled;
	my @new = (bodies($r, '/ok/orders'))[ $had .. $had + 3 ];
	my $of = { table => 'orders', schema => 'public' };
	is_deeply(\@new, [
			{ %$of, type => 'INSERT', record => { id => 1, status => 'open', note => 'a' }, old_record => undef },
			{ %$of, type => 'UPDATE', record => { id => 1, status => 'open', note => 'b' }, old_record => { id => 1, status => 'open', note => 'a' } },
			{ %$of, type => 'UPDATE', record => { id => 1, status => 'paid', note => 'b' }, old_record => { id => 1, status => 'open', note => 'b' } },
			{ %$of, type => 'DELETE', record => undef, old_record => { id => 1, status => 'paid', note => 'b' } }
		], 'type, table, schema, record and the whole old record');
	is_deeply([ map { $_->{record}{status} } bodies($r, '/ok/status') ], ['paid'], 'UPDATE OF: only what changed that column');
	my ($request) = arrived($r, '/ok/orders');
	is($request->{headers}{authorization}, q(Bearer s3cr3t-'$(x)), 'the header arrives');
	is($request->{path}, '/ok/orders?a%20b=c%26d&%C3%A9=1', 'at its place, with its params');
	is($t->sql(q(SELECT string_agg(timeout::text, ' ' ORDER BY name) FROM webhook.subscription WHERE name IN ('all_orders', 'status'))),
		'00:00:05 00:00:00.1', 'timeouts are carried over, within the limits');
	is(scalar(arrived($r, '/ok/never')), 0, 'what was not carried over is not sent');
};

subtest 'names are only names' => sub {
	$t->sql(q(INSERT INTO "Odd ""schema"."Ta'ble.x" VALUES (7, 'x'); DELETE FROM "Odd ""schema"."Ta'ble.x"));
	$t->wait_until_settled;
	is_deeply([ bodies($r, '/ok/odd') ], [ { type => 'INSERT', table => "Ta'ble.x", schema => 'Odd "schema', record => { id => 7, a => 'x' }, old_record => undef } ],
		'a table with an odd name; its deletes were not asked for');
	is((arrived($r, '/ok/odd'))[0]{headers}{'x-key'}, 'k', 'with its header');
};

$t->stop;
done_testing();

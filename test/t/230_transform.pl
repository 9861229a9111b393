# The promise: a subscription's transform says what its receiver gets, or that it
# gets nothing, and can do nothing else: it is its owner in every respect, for half
# a second, nothing of it outlives the call, and whatever goes wrong in it is an
# outcome in the log. (That it harms nobody else is in 601_transforms_harm_nobody.)
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_base64);
use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use MIME::Base64 qw(decode_base64);
use Test::More;
use WebhookDocs;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\nlog_min_messages = log\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql(<<'SQL');
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE carol LOGIN IN ROLE alice;
GRANT CREATE ON SCHEMA public TO alice, bob;
SELECT webhook.grant_operator('alice'), webhook.grant_operator('bob'), webhook.grant_operator('carol');
GRANT INSERT, UPDATE ON webhook.subscription TO alice, bob, carol; -- also transform_owner
CREATE TABLE item (id serial PRIMARY KEY, note text);
CREATE TABLE secret_of_bob (word text);
ALTER TABLE secret_of_bob OWNER TO bob;
INSERT INTO secret_of_bob VALUES ('swordfish');
CREATE TABLE written (word text);
GRANT ALL ON written TO alice;
SQL
$t->watch('item');
$t->subscribe('plain', $r->url('/ok/plain'));
$t->subscribe('s', $r->url('/ok/s'), retry_schedule => "'{200ms,30min}'");

# Make the body of alice's function; that of `s` unless told otherwise.
sub function
{
	my ($body, %o) = @_;
	my $name     = $o{name}     // 'public.f';
	my $language = $o{language} // 'plpgsql';
	$t->sql("SET ROLE alice; CREATE OR REPLACE FUNCTION $name(e webhook.outbox) RETURNS json LANGUAGE $language " . ($o{with} // '') . " AS \$f\$ $body \$f\$");
	return;
}

# One event; returns its id.
sub event
{
	my ($note) = @_;
	$t->sql("INSERT INTO item (note) VALUES ('" . ($note // '') . "')");
	return $t->sql('SELECT max(event_number) FROM webhook.outbox');
}

# The first outcome of an event for a subscription, and its error.
sub outcome
{
	my ($event, $subscription) = @_;
	my $where = "FROM webhook.attempt WHERE event_number = $event AND subscription = '" . ($subscription // 's') . "'";
	$t->poll_sql("event $event has an outcome", "SELECT count(*) > 0 $where");
	return split /\|/, $t->sql("SELECT outcome, coalesce(error, '') $where ORDER BY attempt LIMIT 1"), 2;
}

sub bytes     { my ($s) = @_; utf8::encode($s); return $s }
sub last_body { return ($r->requests('/ok/s'))[-1]{body} }
sub psql_as   { my ($role, $sql) = @_; my ($rc, $out, $err) = $t->node->psql($WebhookTest::DB, "SET ROLE $role; $sql"); return $err }

#
# The body
#
function(<<'BODY');
BEGIN RETURN '{ "note":   "' || (e.result ->> 'note') || '", "of": ["' || e.entity_type || '", ' || e.entity_id || '] }'; END
BODY
is(psql_as('alice', q(UPDATE webhook.subscription SET transform = 'public.f' WHERE name = 's')), '', 'alice uses her function');
is($t->sql(q(SELECT transform, transform_owner FROM webhook.subscription WHERE name = 's')), 'public.f|alice', 'the row says whose it is');
my $id = event('größe');
$r->wait_for_requests(1, '/ok/s');
my ($request) = $r->requests('/ok/s');
my $entity = $t->sql('SELECT max(id) FROM item');
is(bytes($request->{body}), qq({ "note":   "größe", "of": ["item", $entity] }), 'the body is what the function returned, byte for byte');
my $h   = $request->{headers};
my $sum = hmac_sha256_base64(bytes("$h->{'webhook-id'}.$h->{'webhook-timestamp'}.$request->{body}"), decode_base64(substr $WebhookTest::SECRET, 6));
is($h->{'webhook-signature'}, 'v1,' . $sum . '=' x (-length($sum) % 4), 'and is what is signed');
is_deeply([ outcome($id) ], ['delivered', ''], 'it is delivered');
$r->wait_for_requests(1, '/ok/plain');
like(($r->requests('/ok/plain'))[0]{body}, qr/"entity_id":/, 'a subscription without one has its template');

# everything of the event is there
function(q(SELECT row_to_json(e)), language => 'sql', with => 'STABLE');
$id = event('whole');
is((outcome($id))[0], 'delivered', 'a function in SQL');
is_deeply(
	JSON::PP->new->decode(last_body()),
	JSON::PP->new->decode($t->sql("SELECT row_to_json(o) FROM webhook.outbox o WHERE event_number = $id")),
	'it is given the whole row of webhook.outbox');

#
# Not to be sent
#
function(q(BEGIN IF e.result ->> 'note' = 'secret' THEN RETURN NULL; END IF; RETURN e.result; END));
my $before = $r->count('/ok/s');
my $skipped = event('secret');
is_deeply([ outcome($skipped) ], ['skipped', ''], 'null: the log says that nothing was sent');
is((outcome(event('open')))[0], 'delivered', 'the next one is');
is($r->count('/ok/s'), $before + 1, 'and only that');
is($t->sql("SELECT count(*) FROM webhook.pending") . $t->sql('SELECT count(*) FROM webhook.dead_letter'), '00', 'nothing is left of it');

#
# An error is an outcome
#
function(q(BEGIN IF e.result ->> 'note' = 'bad' THEN RAISE EXCEPTION 'no % today', e.entity_type USING DETAIL = 'They are sold out.'; END IF; RETURN e.result; END));
my $worker = $t->worker_pid;
$id = event('bad');
is_deeply([ outcome($id) ], ['transform_failed', 'no item today: They are sold out.'], 'an error is told in the log');
is((outcome($id, 'plain'))[0], 'delivered', 'others have been sent the same event');
is((outcome(event('good')))[0], 'delivered', 'and this subscription the next one');
$t->poll_sql('tried again', "SELECT count(*) = 2 FROM webhook.attempt WHERE event_number = $id AND subscription = 's'");
is($t->sql("SELECT state, attempts FROM webhook.pending WHERE event_number = $id"), 'retry|2', 'it is retried by the schedule');
function(q(BEGIN RETURN '"fixed"'; END));
$t->sql("UPDATE webhook.pending SET next_attempt_at = now() WHERE event_number = $id");
$t->sql("SELECT webhook.pause('s')");
$t->sql("SELECT webhook.resume('s')");
$t->poll_sql('delivered', "SELECT count(*) = 0 FROM webhook.pending WHERE event_number = $id");
is(last_body(), '"fixed"', 'and delivered when the function is fixed');

#
# Time
#
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{30min}' WHERE name = 's'");    # twice as many would open its breaker
for my $way (
	[ 'loops'                        => 'BEGIN LOOP NULL; END LOOP; END' ],
	[ 'sleeps'                       => 'BEGIN PERFORM pg_sleep(600); RETURN e.result; END' ],    # part of the scenario
	[ 'counts for long in one query' => 'BEGIN RETURN to_json((SELECT count(*) FROM generate_series(1, 1000000000))); END' ],
	[ 'catches it once'              => 'BEGIN BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; RETURN e.result; END' ],    # part of the scenario
	[ 'catches it for ever'          => 'BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END' ],    # part of the scenario
	[ 'catches it without a word'    => 'BEGIN LOOP BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled OR others THEN END; END LOOP; EXCEPTION WHEN query_canceled THEN END; END LOOP; END' ])    # part of the scenario
{
	function($way->[1]);
	$id = event('slow');
	is_deeply([ outcome($id) ], [ 'transform_timeout', 'the transform did not return within 500 ms' ], "one that $way->[0] is cancelled");
	is((outcome($id, 'plain'))[0], 'delivered', 'and others are served');
}
is($t->worker_pid, $worker, 'by the same worker');
$t->sql("DELETE FROM webhook.subscription WHERE name = 's'");
$t->subscribe('s', $r->url('/ok/s'), retry_schedule => "'{30min}'", transform => "'public.f'");

#
# Rights
#
function(q(BEGIN RETURN to_json((SELECT word FROM secret_of_bob)); END), with => 'SET search_path = public');
like((outcome(event()))[1], qr/permission denied for table secret_of_bob/, 'it cannot read what its owner cannot');
# who it is, before and after it has tried to be somebody else
my $who = q(json_build_array(session_user, current_user, current_setting('is_superuser'), current_setting('role')));
my $alice = '["alice", "alice", "off", "none"]';
my $su    = superuser();
$t->sql(<<SQL);
CREATE FUNCTION public.reset_role() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RESET ROLE; RETURN session_user; END';
CREATE FUNCTION public.reset_session() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RESET SESSION AUTHORIZATION; RETURN session_user; END';
CREATE FUNCTION public.with_role() RETURNS text LANGUAGE sql SECURITY DEFINER SET role = '$su' AS 'SELECT session_user';
CREATE FUNCTION public.with_session() RETURNS text LANGUAGE sql SET session_authorization = '$su' AS 'SELECT session_user';
CREATE FUNCTION public.definer() RETURNS json LANGUAGE sql SECURITY DEFINER AS \$\$ SELECT $who \$\$;
CREATE TABLE public.gated (word text);
INSERT INTO public.gated VALUES ('top secret');
CREATE FUNCTION public.gate() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
	\$\$ BEGIN IF session_user <> '$su' THEN RAISE 'not for %', session_user; END IF; RETURN (SELECT word FROM gated); END \$\$;
SQL
function("BEGIN RETURN $who; END");
is((outcome(event()))[0], 'delivered', 'it runs');
is(last_body(), $alice, 'as its owner, and as nobody else');
function('BEGIN RETURN public.definer(); END');
is((outcome(event()))[0], 'delivered', 'a SECURITY DEFINER function of the superuser');
is(last_body(), qq(["alice", "$su", "off", "none"]), '... sees who called it');
function('BEGIN RETURN to_json(public.gate()); END');
is_deeply([ outcome(event()) ], [ 'transform_failed', 'not for alice' ], 'what asks for session_user is not opened by it');

my $refused = qr/cannot set parameter "(role|session_authorization)" within security-(restricted operation|definer function)/;
for my $way (
	[ 'SET ROLE'                       => "SET ROLE $su",                                             $refused ],
	[ 'SET LOCAL ROLE'                 => 'SET LOCAL ROLE bob',                                       $refused ],
	[ 'RESET ROLE'                     => q(RESET ROLE),                                              $refused ],
	[ 'SET SESSION AUTHORIZATION'      => q(SET SESSION AUTHORIZATION bob),                           $refused ],
	[ 'its default'                    => q(SET SESSION AUTHORIZATION DEFAULT),                       $refused ],
	[ 'RESET SESSION AUTHORIZATION'    => q(RESET SESSION AUTHORIZATION),                             $refused ],
	[ 'set_config'                     => "PERFORM set_config('session_authorization', '$su', false)", $refused ],
	[ 'set_config of the role'         => q(PERFORM set_config('role', 'none', true)),                $refused ],
	[ 'DO'                             => q(EXECUTE 'DO $x$ BEGIN RESET SESSION AUTHORIZATION; END $x$'), $refused ],
	[ 'RESET in SECURITY DEFINER'      => q(PERFORM public.reset_role()),                             $refused ],
	[ 'RESET of the session in it'     => q(PERFORM public.reset_session()),                          $refused ],
	[ 'SET role of a function'         => q(PERFORM public.with_role()),                              $refused ],
	[ 'SET session_authorization of one' => q(PERFORM public.with_session()),                         $refused ],
	[ 'SET in a subtransaction'        => q(BEGIN SET LOCAL role = bob; EXCEPTION WHEN division_by_zero THEN NULL; END), $refused ],
	[ 'is_superuser'                   => q(SET is_superuser = on),                                   qr/parameter "is_superuser" cannot be changed/ ],
	[ 'DISCARD ALL'                    => q(DISCARD ALL),                                             qr/cannot execute DISCARD within security-restricted operation|DISCARD ALL cannot / ],
	[ 'writing'                        => q(INSERT INTO public.written VALUES ('x')),                 qr/cannot execute INSERT in a read-only transaction/ ],
	[ 'making it writable'             => q(SET transaction_read_only = off),                         qr/read-write mode must be set before any query/ ],
	[ 'making it writable in it'       => q(BEGIN SET transaction_read_only = off; EXCEPTION WHEN division_by_zero THEN NULL; END), qr/cannot set transaction read-write mode inside a read-only transaction/ ],
	[ 'a sequence'                     => q(PERFORM nextval('public.alices')),                        qr/cannot execute nextval\(\) in a read-only transaction/ ],
	[ 'setting it'                     => q(PERFORM setval('public.alices', 100)),                    qr/cannot execute setval\(\) in a read-only transaction/ ],
	[ 'a temporary table'              => q(CREATE TEMP TABLE x (y int)),                             qr/cannot (create temporary table|execute CREATE TABLE)/ ],
	[ 'PREPARE'                        => q(EXECUTE 'PREPARE p AS SELECT 1'),                         qr/within security-restricted operation/ ],
	[ 'LISTEN'                         => q(LISTEN x),                                                qr/within security-restricted operation|cannot execute LISTEN/ ],
	[ 'a cursor that is held'          => q(EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'),       qr/within security-restricted operation/ ],
	[ 'COPY to a program'              => q(COPY (SELECT 1) TO PROGRAM 'true'),                       qr/must be superuser or have privileges|permission denied to COPY/ ],
	[ 'COMMIT'                         => q(COMMIT),                                                  qr/invalid transaction termination/ ])
{
	$t->sql('SET ROLE alice; CREATE SEQUENCE IF NOT EXISTS public.alices');
	function("BEGIN $way->[1]; RETURN e.result; END");
	my ($word, $error) = outcome(event());
	is($word, 'transform_failed', "$way->[0] fails");
	like($error, $way->[2], '... for the reason it should');
}
is($t->sql('SELECT count(*) FROM written'), 0, 'nothing was written');
function("BEGIN RESET ALL; RETURN $who; END");
is((outcome(event()))[0], 'delivered', 'RESET ALL is no way either');
is(last_body(), $alice, '... nor has any of these left anything behind');

# what may be written in a read-only transaction goes with it
function(q(BEGIN PERFORM lo_from_bytea(0, 'x'), pg_notify('told', e.result::text); RETURN '1'; END));
my ($rc, $out) = $t->node->psql($WebhookTest::DB, <<'SQL');
LISTEN told;
NOTIFY told, 'mine';
INSERT INTO item (note) VALUES ('theirs');
SELECT max(event_number) AS event FROM webhook.outbox \gset
SELECT set_config('test.event', :'event', false);
DO $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM webhook.attempt WHERE subscription = 's' AND event_number = current_setting('test.event')::bigint) LOOP
		COMMIT;
		PERFORM pg_sleep(0.01);    -- part of the scenario
	END LOOP;
END $$;
NOTIFY told, 'mine too';
SELECT outcome FROM webhook.attempt WHERE subscription = 's' AND event_number = current_setting('test.event')::bigint;
SQL
like($out, qr/"mine too"/, 'who listens hears others');
unlike($out, qr/theirs/, '... and nothing of a transform');
like($out, qr/^(delivered|transform_failed)$/m, '... that has been called');
is($t->sql('SELECT count(*) FROM pg_largeobject_metadata'), 0, 'no large object stays');

# what it sets, and the locks it takes, end with it
function(q(BEGIN SET enable_nestloop = off; SET my.own = 'left'; SET DateStyle = 'German'; PERFORM pg_advisory_lock(4711); RETURN to_json(current_setting('enable_nestloop')); END));
is((outcome(event()))[0], 'delivered', 'it may change settings and take advisory locks');
is($t->sql('SELECT pg_try_advisory_lock(4711)'), 't', 'no lock outlives it');
function(q(BEGIN RETURN json_build_object('own', current_setting('my.own', true), 'datestyle', current_setting('DateStyle'), 'nestloop', current_setting('enable_nestloop'), 'seqscan', current_setting('enable_seqscan'), 'search_path', current_setting('search_path'), 'row_security', current_setting('row_security')); END));
is((outcome(event()))[0], 'delivered', 'no setting either');
is_deeply(JSON::PP->new->decode(last_body()), { own => '', datestyle => 'ISO, MDY', nestloop => 'on', seqscan => 'on', search_path => 'pg_catalog, pg_temp', row_security => 'on' },
	'it has settings of its own, not those that the worker plans its statements with');

#
# Who may name which
#
$t->sql(<<'SQL');
CREATE FUNCTION public.of_superuser(e webhook.outbox) RETURNS json LANGUAGE sql AS 'SELECT e.result';
CREATE FUNCTION public.returns_text(e webhook.outbox) RETURNS text LANGUAGE sql AS 'SELECT e.result::text';
CREATE FUNCTION public.returns_many(e webhook.outbox) RETURNS SETOF json LANGUAGE sql AS 'SELECT e.result';
CREATE FUNCTION public.takes_text(e text) RETURNS json LANGUAGE sql AS 'SELECT e::json';
CREATE FUNCTION public."Odd ""name"(e webhook.outbox) RETURNS json LANGUAGE sql AS 'SELECT ''"odd"''::json';
SQL
sub set_transform { my ($role, $name) = @_; return psql_as($role, "UPDATE webhook.subscription SET transform = '$name' WHERE name = 's'") }
like(set_transform('alice', 'public.of_superuser'), qr/must be a member of role "\w+" to use its function/, 'nobody can have the rights of a superuser by their function');
like(set_transform('bob', 'public.f'), qr/must be a member of role "alice"/, 'nor those of another role');
is(set_transform('carol', 'public.f'), '', 'a member of the role can');
is(psql_as('bob', "UPDATE webhook.subscription SET max_in_flight = 40 WHERE name = 's'"), '', 'who changes other columns need not be one');
for my $name ('public.nothing', 'f', 'public.returns_text', 'public.returns_many', 'public.takes_text')
{
	like(set_transform('alice', $name), qr/invalid transform "\Q$name\E".*takes one argument of type webhook\.outbox and returns json/s, "refused: $name");
}
is(set_transform(superuser(), 'public."Odd ""name"'), '', 'a name that must be quoted');
event();
$t->poll_sql('it is called', "SELECT count(*) = 1 FROM webhook.attempt WHERE subscription = 's' AND event_number = (SELECT max(event_number) FROM webhook.outbox) AND outcome = 'delivered'");
is(last_body(), '"odd"', 'is found');

sub superuser { return $t->sql('SELECT current_user') }

# a function that comes to belong to somebody else
is(set_transform('alice', 'public.f'), '', 'alice has her function again');
$t->sql('ALTER FUNCTION public.f OWNER TO bob');
like((outcome(event()))[1], qr/has another owner than when it was set/, 'is not called with the rights of that owner');
$t->sql('ALTER FUNCTION public.f OWNER TO alice');

#
# Dropped, and made again
#
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{200ms}' WHERE name = 's'");
$t->sql('DROP FUNCTION public.f');
$id = event('waits');
is_deeply([ outcome($id) ], [ 'transform_failed', 'function public.f(webhook.outbox) does not exist' ], 'a function that is gone is told');
is(psql_as('bob', "UPDATE webhook.subscription SET max_in_flight = 50 WHERE name = 's'"), '', 'the row can be changed all the same');
my $dump;
IPC::Run::run([ 'pg_dump', '-d', $t->node->connstr($WebhookTest::DB), '--table', 'webhook.subscription', '--data-only' ], '>', \$dump) or die 'pg_dump';
like($dump, qr/\tpublic\.f\talice\t/, 'and dumped');
$t->sql("DELETE FROM webhook.subscription WHERE name = 'plain'");
function(q(BEGIN RETURN '"again"'; END));
$t->poll_sql('delivered', "SELECT count(*) > 0 FROM webhook.attempt WHERE event_number = $id AND subscription = 's' AND outcome = 'delivered'");
pass('when there is one again, what waited is delivered');

# a dump is restored though the function is missing
$t->sql('DROP FUNCTION public.f');
my ($insert) = $t->sql("SELECT format('INSERT INTO webhook.subscription (name, url, transform, transform_owner) VALUES (%L, %L, %L, %L)', 'restored', url, transform, transform_owner) FROM webhook.subscription WHERE name = 's'");
is(psql_as(superuser(), $insert), '', 'a row of a dump whose function was dropped is restored');
like(psql_as('bob', $insert =~ s/restored/other/r), qr/invalid transform/, 'but not by who has not the rights of its owner');

#
# Batches, and tests
#
function(q(BEGIN IF (e.result ->> 'note') = 'no' THEN RETURN NULL; END IF; RETURN e.result -> 'note'; END));
$t->sql("DELETE FROM webhook.subscription WHERE name = 'restored'");
$t->sql("DELETE FROM webhook.subscription WHERE name = 's'");
$t->subscribe('s', $r->url('/ok/s'), transform => "'public.f'", batch_size => 10);
$t->sql("SELECT webhook.pause('s')");
$t->wait_until_read;
$t->sql("INSERT INTO item (note) VALUES ('a'), ('no'), ('b')");
$t->wait_until_read;
$before = $r->count('/ok/s');
$t->sql("SELECT webhook.resume('s')");
$t->wait_until_settled;
is(last_body(), '["a","b"]', 'of a batch each element is what the function returned');
is($r->count('/ok/s'), $before + 1, 'in one request');
is($t->sql("SELECT string_agg(outcome, ' ' ORDER BY event_number) FROM webhook.attempt WHERE subscription = 's' AND event_number > (SELECT max(event_number) - 3 FROM webhook.outbox)"),
	'delivered skipped delivered', 'and what was left out is told');

function(q(BEGIN RETURN json_build_object('is', e.action_type); END));
is($t->sql("CALL webhook.test('s', 'item')") =~ s/\|.*//sr, '200', 'a test is transformed too');
is(last_body(), '{"is" : "test"}', 'and knows what it is');

#
# the recipe of docs/guide.md
#
my $recipe = WebhookDocs::block_text('docs/guide.md', 'A body that a template cannot express', 'sql');
$t->sql('CREATE TABLE users (id bigint PRIMARY KEY, email text); CREATE TABLE orders (user_id bigint); INSERT INTO orders VALUES (7), (7)');
$t->watch('users');
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{users.*}'");
$t->sql($recipe);
$t->sql("INSERT INTO users VALUES (6, 'test\@example.com'), (7, 'ada\@example.org')");
$t->poll_sql('both have ended', "SELECT count(*) = 2 FROM webhook.attempt WHERE subscription = 'crm'");
is_deeply([ map { JSON::PP->new->decode($_->{body}) } $r->requests('/ok/crm') ], [ { customer => 7, orders => 2 } ], "the guide's recipe");
is($t->sql("SELECT delivered, failed FROM webhook.status WHERE subscription = 'crm'"), '1|0', 'what was skipped counts as neither')
	if poll_status('crm');

# The status is as new as the last request.
sub poll_status { return $t->poll_sql('reported', "SELECT delivered > 0 FROM webhook.status WHERE subscription = '$_[0]'") || 1 }

$t->stop;
done_testing();

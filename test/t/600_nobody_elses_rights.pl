# The promise: the worker has the rights of the extension's owner while it
# works, and nobody else's. What others put on our tables (triggers, defaults,
# checks, indexes of expressions) runs as that owner, can become nobody else, and leaves
# nothing behind; what somebody else puts there does not run at all: deliveries
# wait, and the status says why. So neither the owner, once no superuser,
# nor whoever has all privileges on our tables, gets any right by the worker.
#
# In two databases: one whose extension belongs to the bootstrap superuser, and
# one where the owner was a superuser only to create it, and all of it is given
# to yet another role in the end.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t     = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nwebhook.retention = '6s'\nautovacuum = off\n");
my $node  = $t->node;
my $r     = $t->receiver(args => ['--no-http2']);
my $super = $t->sql('SELECT current_user');

$t->sql(<<'SQL');
CREATE ROLE boss LOGIN SUPERUSER;
CREATE ROLE op LOGIN;
CREATE ROLE sup LOGIN;
CREATE ROLE app LOGIN;
CREATE DATABASE owned;
SQL

sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($WebhookTest::DB, $sql, extra_params => [ '-U', $role ], on_error_stop => 1);
	return $rc == 0 ? $out : $err =~ /(ERROR: .*)/ ? $1 : $err;
}

# Code that tries what it may, and writes down what came of it. It does so in a table of the owner's.
my $probe = <<'SQL';
CREATE TABLE probed (place text, what text, result text, UNIQUE (place, what));
CREATE FUNCTION tries(place text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	what text;
	result text;
BEGIN
	IF pg_catalog.pg_backend_pid() IS DISTINCT FROM (SELECT w.pid FROM webhook_internal.worker_status() w) THEN
		RETURN;
	END IF;
	INSERT INTO public.probed VALUES (place, 'user', current_user),
		(place, 'settings', pg_catalog.format('%s|%s|%s|%s', current_setting('search_path'), current_setting('my.left', true), current_setting('row_security'), current_setting('lock_timeout')))
		ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	FOREACH what IN ARRAY ARRAY['ALTER ROLE sup SUPERUSER', 'SET ROLE op', 'RESET ROLE', 'SET SESSION AUTHORIZATION sup', 'RESET SESSION AUTHORIZATION',
		'SET exit_on_error = on', 'SELECT pg_catalog.set_config(''exit_on_error'', ''on'', false)',
		'LISTEN x', 'CREATE TEMP TABLE left_behind (a int)', 'PREPARE p AS SELECT 1', 'DISCARD ALL', 'DEALLOCATE ALL',
		'SET search_path = evil', 'SELECT pg_catalog.set_config(''my.left'', ''blocked'', false)', 'SET row_security = on', 'SET lock_timeout = 1', 'RESET ALL',
		'SELECT pg_catalog.pg_advisory_lock(4711)'] LOOP
		BEGIN
			EXECUTE what;
			IF what LIKE 'ALTER ROLE%' THEN
				EXECUTE 'ALTER ROLE sup NOSUPERUSER';
			END IF;
			result := 'done';
		EXCEPTION WHEN OTHERS THEN
			result := SQLERRM;
		END;
		INSERT INTO public.probed VALUES (place, what, result) ON CONFLICT DO NOTHING;
	END LOOP;
	BEGIN
		EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1';
		result := 'done';
	EXCEPTION WHEN OTHERS THEN
		result := SQLERRM;
	END;
	INSERT INTO public.probed VALUES (place, 'hold', result) ON CONFLICT DO NOTHING;
END
$$;
CREATE FUNCTION probe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.tries(pg_catalog.format('%s %s %s', TG_WHEN, TG_OP, pg_catalog.regexp_replace(TG_TABLE_NAME, '_\d$', '_n')));
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE FUNCTION tries_in(place text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.tries(place); RETURN 'x'; END $$;
DO $$
DECLARE
	tab text;
	rel text;
BEGIN
	FOREACH tab IN ARRAY ARRAY['attempt', 'pending', 'dead_letter', 'checkpoint', 'subscription', 'breaker_notice', 'identity'] LOOP
		rel := CASE tab WHEN 'breaker_notice' THEN 'webhook_internal.' ELSE 'webhook.' END || tab;
		EXECUTE format('CREATE TRIGGER zz_before BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.probe()', rel);
		EXECUTE format('CREATE TRIGGER zz_after AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.probe()', rel);
		EXECUTE format('ALTER TABLE %s ADD COLUMN tried text DEFAULT public.tries_in(%L)', rel, 'default ' || tab);
		EXECUTE format('ALTER TABLE %s ADD CHECK (public.tries_in(%L || tried) IS NOT NULL)', rel, 'check ' || tab || ' ');
		EXECUTE format('CREATE INDEX ON %s (public.tries_in(%L || tried))', rel, 'index ' || tab || ' ');
	END LOOP;
	FOR d IN 0..7 LOOP
		EXECUTE format('CREATE TRIGGER zz_own AFTER INSERT ON webhook.attempt_%s FOR EACH ROW EXECUTE FUNCTION public.probe()', d);
		EXECUTE format('CREATE TRIGGER zz_empty BEFORE TRUNCATE ON webhook.attempt_%s FOR EACH STATEMENT EXECUTE FUNCTION public.probe()', d);
		EXECUTE format('CREATE TRIGGER zz_empty AFTER TRUNCATE ON webhook.outbox_%s FOR EACH STATEMENT EXECUTE FUNCTION public.probe()', d);
	END LOOP;
END
$$;
SQL

# Events of every fate: delivered, retried, dead, a breaker that opens, an endpoint that is gone, segments emptied. What waits
# for an endpoint in trouble would wait for longer than the retention, and with its event; so those subscriptions go at the end.
sub all_fates
{
	my ($db) = @_;
	$t->subscribe('down', $r->url("/status/500/$db"), give_up_after => "'2s'", retry_schedule => "'{100ms}'", filter => q('$.result.v > 0'));
	$t->subscribe('gone', $r->url("/status/410/$db"), filter => q('$.result.v < 3'));
	as('app', 'INSERT INTO item (v) SELECT generate_series(1, 12)');
	my $last = $t->sql('SELECT max(event_number) FROM webhook.outbox');
	$t->poll_sql('a subscription is disabled', "SELECT state FROM webhook.subscription WHERE name = 'gone'", 'disabled');
	$t->poll_sql('a breaker has opened, and others are told', "SELECT count(*) FROM webhook_internal.breaker_notice", 1);
	$t->sql("SELECT webhook.unsubscribe('down'), webhook.unsubscribe('gone')");
	$t->wait_until_settled;
	$t->poll_sql('segments are emptied',
		"SELECT NOT EXISTS (SELECT FROM webhook.outbox WHERE event_number <= $last) AND NOT EXISTS (SELECT FROM webhook.attempt WHERE event_number <= $last)");
	return;
}

sub set_up
{
	my ($db) = @_;
	$t->sql('CREATE TABLE item (id serial PRIMARY KEY, v int); GRANT INSERT ON item TO app; GRANT USAGE ON SEQUENCE item_id_seq TO app');
	$t->sql("SELECT webhook.watch('item')");
	$t->subscribe('crm',   $r->url("/ok/$db/crm"));
	$t->subscribe('again', $r->url("/fail-first/1/$db"), retry_schedule => "'{100ms}'", filter => q('$.result.v < 4'));
	$t->subscribe('dead',  $r->url("/status/413/$db"), filter => q('$.result.v < 3'));
	$t->subscribe('ops',   $r->url("/ok/$db/ops"), events => "'{webhook_subscription.*}'");
	return;
}

# What was tried, in all places, by code of the owner's.
sub judge
{
	my ($db, $owner, $is_super) = @_;
	is($t->sql("SELECT DISTINCT result FROM probed WHERE what = 'user'"), $owner, "$db: whatever is put on our tables runs as the owner");
	# the second: within a function of ours, which sets it
	is($t->sql("SELECT string_agg(DISTINCT result, ', ') FROM probed WHERE what = 'settings' AND result NOT IN ('pg_catalog||off|500ms', 'pg_catalog, pg_temp||off|500ms')"),
		'', "$db: no setting of theirs outlives the transaction");
	my $places = $t->sql("SELECT string_agg(DISTINCT place, ', ') FROM probed WHERE what = 'user'");
	for my $place (
		'BEFORE INSERT attempt_n',  'AFTER INSERT attempt',       'AFTER INSERT attempt_n',    'BEFORE INSERT pending', 'BEFORE UPDATE pending',
		'BEFORE DELETE pending',    'BEFORE INSERT dead_letter',  'BEFORE INSERT checkpoint',  'BEFORE INSERT breaker_notice', 'BEFORE UPDATE subscription',
		'BEFORE TRUNCATE attempt_n', 'AFTER TRUNCATE outbox_n',   'default attempt',           'default pending',       'default dead_letter',
		'default checkpoint',       'default breaker_notice',            'check attempt x',           'check pending x',       'check dead_letter x',
		'check checkpoint x',       'check subscription x',       'index attempt x',           'index pending x',       'index checkpoint x')
	{
		like($places, qr/(^|, )\Q$place\E(,|$)/, "$db: $place was run");
	}
	my $refused = $t->sql("SELECT string_agg(DISTINCT what || ': ' || result, e'\\n' ORDER BY what || ': ' || result) FROM probed WHERE what NOT IN ('user', 'settings')");
	like($refused, qr/ALTER ROLE sup SUPERUSER: must be superuser|ALTER ROLE sup SUPERUSER: permission denied/, "$db: the owner makes nobody a superuser")
	  unless $is_super;
	unlike($refused, qr/ALTER ROLE sup SUPERUSER: done/, "$db: not once") unless $is_super;
	for my $what ('SET ROLE op', 'RESET ROLE', 'SET SESSION AUTHORIZATION sup', 'RESET SESSION AUTHORIZATION')
	{
		like($refused, qr/^$what: cannot set parameter .* within security-restricted operation$/m, "$db: $what is refused");
		unlike($refused, qr/^$what: done/m, "$db: always");
	}
	unlike($refused, qr/^(LISTEN|CREATE TEMP|PREPARE|DISCARD|DEALLOCATE|hold).*: done/m, "$db: nothing is left behind in the session");
	unlike($refused, qr/exit_on_error.*: done/m, "$db: no error becomes the end of the process");
	like($refused, qr/^SET search_path = evil: done$/m, "$db: what ends with the transaction is allowed");
	is($t->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, "$db: no lock is kept");
	return;
}

# What somebody does who has all privileges on our tables gives them nothing; deliveries wait until it is undone.
sub attack
{
	my ($what, $attack, $like, $undo, %args) = @_;
	$t->wait_for_worker;
	my $since = $t->sql('SELECT last_value FROM webhook.event_number_seq');
	$attack = [ $args{by} // 'sup', $attack ] unless ref $attack;
	if (ref $attack eq 'CODE') { $attack->() }
	else { is(as(@$attack), '', "$what: it can be made") }
	is(as('app', 'INSERT INTO item SELECT FROM generate_series(1, 3)'), '', "$what: applications write on");
	$t->poll_sql("$what: the status says so", "SELECT state = 'failing' AND reason ~ '$like' FROM webhook.worker");
	is($t->sql('SELECT count(*) FROM sup.caught'), 0, "$what: it is never run");
	is($t->sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'sup'"), 'f', "$what: nobody becomes a superuser");
	$t->sql($undo);
	$t->poll_sql("$what: when it is undone, what waited is delivered",
		"SELECT count(*) > 0 FROM webhook.attempt WHERE event_number > $since AND subscription = 'crm' AND outcome = 'delivered'");
	$t->wait_until_settled;
	is($t->sql('SELECT count(*) FROM sup.caught'), 0, "$what: nor is it then");
	return;
}

sub attacks
{
	my ($db, $owner) = @_;
	$t->sql(<<SQL);
CREATE SCHEMA sup AUTHORIZATION sup;
GRANT ALL ON SCHEMA webhook, webhook_internal TO sup;
GRANT ALL ON ALL TABLES IN SCHEMA webhook, webhook_internal TO sup;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA webhook, webhook_internal TO sup;
SQL
	is(as('sup', <<'SQL'), '', "$db: somebody has all privileges on our tables");
CREATE TABLE sup.caught (who text);
GRANT ALL ON SCHEMA sup TO PUBLIC;
GRANT ALL ON sup.caught TO PUBLIC;
CREATE FUNCTION sup.mine() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'sup' THEN
		INSERT INTO sup.caught VALUES (current_user);
		BEGIN
			EXECUTE 'ALTER ROLE sup SUPERUSER';
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END IF;
	RETURN true;
END
$$;
CREATE FUNCTION sup.tr() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM sup.mine(); RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
CREATE FUNCTION sup.alike(bigint, text) RETURNS boolean LANGUAGE sql AS 'SELECT sup.mine()';
CREATE OPERATOR sup.=== (LEFTARG = bigint, RIGHTARG = text, FUNCTION = sup.alike);
CREATE FUNCTION sup.valid(text) RETURNS boolean LANGUAGE sql AS 'SELECT sup.mine()';
CREATE DOMAIN sup.odd AS text CHECK (sup.valid(VALUE));
SQL
	for my $where ('INSERT ON webhook.dead_letter', 'INSERT OR UPDATE OR DELETE ON webhook.pending', 'INSERT ON webhook.attempt', 'TRUNCATE ON webhook.checkpoint')
	{
		my ($table) = $where =~ /(webhook\.\w+)/;
		my $each = $where =~ /TRUNCATE/ ? 'STATEMENT' : 'ROW';
		attack("$db: a trigger for $where", "CREATE TRIGGER mine BEFORE $where FOR EACH $each EXECUTE FUNCTION sup.tr()",
			qq(trigger "mine" on $table runs function tr, which $owner, the owner of the extension, does not own: drop), "DROP TRIGGER mine ON $table");
	}
	attack("$db: triggers on all segments",
		join(';', map { "CREATE TRIGGER mine AFTER INSERT ON webhook.attempt_$_ FOR EACH ROW EXECUTE FUNCTION sup.tr()" } 0 .. 7),
		'trigger "mine" on webhook.attempt_\d runs function tr', join(';', map { "DROP TRIGGER mine ON webhook.attempt_$_" } 0 .. 7));
	attack("$db: triggers for emptying segments",
		join(';', map { "CREATE TRIGGER mine BEFORE TRUNCATE ON webhook.outbox_$_ FOR EACH STATEMENT EXECUTE FUNCTION sup.tr()" } 0 .. 7),
		'trigger "mine" on webhook.outbox_\d runs function tr', join(';', map { "DROP TRIGGER mine ON webhook.outbox_$_" } 0 .. 7));
	# a function of the owner's, and foreign code in the condition
	$t->sql("CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; ALTER FUNCTION harmless() OWNER TO $owner");
	attack("$db: a condition that calls a function", 'CREATE TRIGGER mine BEFORE INSERT ON webhook.attempt FOR EACH ROW WHEN (sup.mine()) EXECUTE FUNCTION public.harmless()',
		'trigger "mine" on webhook.attempt(_\d)? runs function mine', 'DROP TRIGGER mine ON webhook.attempt');
	attack("$db: a condition with an operator",
		'CREATE TRIGGER mine BEFORE INSERT ON webhook.attempt FOR EACH ROW WHEN (NEW.event_number OPERATOR(sup.===) NEW.outcome) EXECUTE FUNCTION public.harmless()',
		'the condition of trigger "mine" on webhook.attempt(_\d)? may run code', 'DROP TRIGGER mine ON webhook.attempt');
	attack("$db: a condition with a domain",
		'CREATE TRIGGER mine BEFORE INSERT ON webhook.attempt FOR EACH ROW WHEN (NEW.outcome::sup.odd IS NOT NULL) EXECUTE FUNCTION public.harmless()',
		'the condition of trigger "mine" on webhook.attempt(_\d)? may run code', 'DROP TRIGGER mine ON webhook.attempt');
	# one of the owner's that is given away while it is there
	$t->sql("CREATE FUNCTION given() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; ALTER FUNCTION given() OWNER TO $owner;"
		  . 'CREATE TRIGGER given BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION given()');
	attack("$db: a function that changes hands", [ $super, 'ALTER FUNCTION given() OWNER TO sup' ], 'trigger "given" on webhook.attempt(_\d)? runs function given',
		'DROP TRIGGER given ON webhook.attempt; DROP FUNCTION given()');
	attack("$db: a function of ours that changes hands", [ $super, 'ALTER FUNCTION webhook_internal.secret_owner OWNER TO sup' ], 'the function webhook_internal.secret_owner is not owned by',
		"ALTER FUNCTION webhook_internal.secret_owner OWNER TO $owner");
	attack("$db: a table that changes hands", [ $super, 'ALTER TABLE webhook.pending OWNER TO sup' ],
		"the table webhook.pending is owned by sup, the extension by $owner: change one of the owners", "ALTER TABLE webhook.pending OWNER TO $owner");
	# made while the worker waits for the very lock under which it is made
	attack(
		"$db: a trigger made while the worker waits",
		sub {
			my $session = $node->background_psql($WebhookTest::DB, extra_params => [ '-U', 'sup' ]);
			$session->query_safe('BEGIN; CREATE TRIGGER mine BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION sup.tr()');
			as('app', 'INSERT INTO item DEFAULT VALUES');
			$t->poll_sql('the worker waits for it', "SELECT count(*) > 0 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE NOT l.granted AND c.relname LIKE 'attempt%'");
			$session->query_safe('COMMIT');
			$session->quit;
		},
		'trigger "mine" on webhook.attempt(_\d)? runs function tr',
		'DROP TRIGGER mine ON webhook.attempt');
	attack(
		"$db: a trigger on a segment made while the worker waits",
		sub {
			my $session = $node->background_psql($WebhookTest::DB, extra_params => [ '-U', 'sup' ]);
			$session->query_safe(
				'BEGIN; ' . join(';', map { "CREATE TRIGGER mine BEFORE INSERT ON webhook.attempt_$_ FOR EACH ROW EXECUTE FUNCTION sup.tr()" } 0 .. 7));
			as('app', 'INSERT INTO item DEFAULT VALUES');
			$t->poll_sql('the worker waits for it', "SELECT count(*) > 0 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE NOT l.granted AND c.relname LIKE 'attempt%'");
			$session->query_safe('COMMIT');
			$session->quit;
		},
		'trigger "mine" on webhook.attempt_\d runs function tr',
		join(';', map { "DROP TRIGGER mine ON webhook.attempt_$_" } 0 .. 7));
	# what may be: one that never runs, a function that is more like ours than ours, a reference with a trigger behind it
	is(as('sup', <<'SQL'), '', "$db: what is of no use to them can stay");
CREATE FUNCTION webhook_internal.announce(bigint, text, text, text) RETURNS void LANGUAGE sql AS 'SELECT sup.mine()';
CREATE FUNCTION webhook_internal.secret_owner(int, int) RETURNS text LANGUAGE sql AS 'SELECT sup.mine()::text';
CREATE FUNCTION webhook_internal.append_event(text, text, text, json, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT sup.mine(); SELECT 1::bigint';
CREATE TABLE sup.noted (subscription bigint REFERENCES webhook.subscription ON UPDATE CASCADE ON DELETE CASCADE, at timestamptz);
INSERT INTO sup.noted SELECT id FROM webhook.subscription;
CREATE TRIGGER mine BEFORE UPDATE OR DELETE ON sup.noted FOR EACH ROW EXECUTE FUNCTION sup.tr();
SQL
	all_fates($db);
	is($t->sql('SELECT count(*) FROM sup.caught'), 0, "$db: it is never run, whatever becomes of events");
	return;
}

#
# The bootstrap superuser's
#
set_up('postgres');
$t->sql($probe);
all_fates('postgres');
judge('postgres', $super, 1);
attacks('postgres', $super);

#
# One whose owner is no superuser any more
#
{
	local $WebhookTest::DB = 'owned';
	is(as('boss', 'CREATE EXTENSION webhook'), '', 'boss creates the extension');
	set_up('owned');
	$t->sql('GRANT ALL ON SCHEMA public TO boss; ALTER ROLE boss NOSUPERUSER');
	is(as('boss', $probe), '', 'boss, who is no superuser now, puts code of all kinds on our tables');
	all_fates('owned');
	judge('owned', 'boss', 0);

	# what cannot be undone with the transaction is refused, and said
	sub harm
	{
		my ($what, $harm, $like, $fix) = @_;
		is(as('boss', $harm), '', "$what: it can be done");
		as('app', 'INSERT INTO item DEFAULT VALUES');
		$t->poll_sql("$what: the status says so", "SELECT state = 'failing' AND reason ~ '$like' FROM webhook.worker");
		is(as('boss', $fix), '', "$what: it is undone");
		$t->wait_until_settled;
		return;
	}
	harm('a deferred trigger', 'CREATE CONSTRAINT TRIGGER late AFTER INSERT ON webhook.attempt DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION probe()',
		'cannot fire deferred trigger within security-restricted operation', 'DROP TRIGGER late ON webhook.attempt');
	harm('row security that is forced', 'ALTER TABLE webhook.attempt ENABLE ROW LEVEL SECURITY; ALTER TABLE webhook.attempt FORCE ROW LEVEL SECURITY',
		'would be affected by row-level security policy for table "attempt"', 'ALTER TABLE webhook.attempt NO FORCE ROW LEVEL SECURITY');
	harm('row security that is forced on what is read', 'ALTER TABLE webhook.outbox ENABLE ROW LEVEL SECURITY; ALTER TABLE webhook.outbox FORCE ROW LEVEL SECURITY',
		'would be affected by row-level security policy for table "outbox"', 'ALTER TABLE webhook.outbox NO FORCE ROW LEVEL SECURITY; ALTER TABLE webhook.outbox DISABLE ROW LEVEL SECURITY');
	harm('a privilege that the owner has given up', 'REVOKE SELECT ON webhook.outbox FROM boss', 'permission denied for table outbox', 'GRANT SELECT ON webhook.outbox TO boss');
	is(as('boss', 'SELECT webhook.isolate_operators()'), '', 'row security that is not');
	my $before = $r->count('/ok/owned/crm');
	all_fates('owned');
	is($r->count('/ok/owned/crm') - $before, 12, 'hides nothing from the worker');

	# A file of the server is not the owner's to read, not even through the worker, and by a row that no check has seen.
	my $file = $node->data_dir . '/private';
	append_to_file($file, 'not-for-boss');
	chmod 0600, $file;
	my $offset = -s $node->logfile;
	is(as('boss', <<SQL), '', 'a reference to a file, written past the checks');
ALTER TABLE webhook.credential DISABLE TRIGGER before_credential, DISABLE TRIGGER after_credential;
INSERT INTO webhook.credential (subscription_id, kind, value) SELECT id, 'bearer', 'file:$file' FROM webhook.subscription WHERE name = 'crm';
ALTER TABLE webhook.credential ENABLE TRIGGER before_credential, ENABLE TRIGGER after_credential;
SQL
	as('app', 'INSERT INTO item DEFAULT VALUES');
	poll_until('the worker does not use it', sub {
		slurp_file($node->logfile, $offset) =~ /cannot use a credential of subscription "crm"\n.*in a file, and role boss, the owner of the extension, is not a member of pg_read_server_files/ });
	$t->sql('GRANT pg_read_server_files TO boss');
	$t->sql("UPDATE webhook.subscription SET timeout = '14s' WHERE name = 'crm'");
	as('app', 'INSERT INTO item DEFAULT VALUES');
	poll_until('if the owner may read files, it is', sub { (grep { ($_->{headers}{authorization} // '') eq 'Bearer not-for-boss' } $r->requests('/ok/owned/crm')) > 0 });
	is((grep { ($_->{headers}{authorization} // '') eq 'Bearer not-for-boss' } $r->requests('/ok/postgres/crm')) + 0, 0, 'only there');
	$t->sql("REVOKE pg_read_server_files FROM boss; DELETE FROM webhook.credential");
	$t->wait_until_settled;

	attacks('owned', 'boss');

	# all of it is given to another role
	$t->sql('DROP SCHEMA sup CASCADE; DROP FUNCTION harmless(); TRUNCATE probed; REASSIGN OWNED BY boss TO op');
	$t->sql("DROP FUNCTION IF EXISTS webhook_internal.announce(bigint, text, text, text), webhook_internal.secret_owner(int, int), webhook_internal.append_event(text, text, text, json, text, text)");
	$t->sql('DROP OWNED BY boss; GRANT ALL ON SCHEMA public TO op; DROP ROLE boss');
	all_fates('owned');
	is($t->sql("SELECT DISTINCT result FROM probed WHERE what = 'user'"), 'op', 'given to another role, it runs as that one');
}

unlike(slurp_file($node->logfile), qr/webhook worker.*(exited with exit code 1|terminated by signal)/, 'no worker ended with an error');

$t->stop;
done_testing();

# The promise: no log tells a secret, at any setting. Everything that takes,
# makes or uses a secret or a credential is done, rightly and wrongly, on a
# server on which all that could log is at its loudest: auto_explain with nested
# statements, pgaudit with parameters, pg_stat_statements, the parse trees and
# plans of debug_print_*, every statement, every parameter, debug5.
#
# A secret that is typed is in the statement that it was typed in. So that nothing
# has to be excused, none is typed here: all are read from a table, which was
# filled from files. Then not one piece of 12 bytes of one may be in the log,
# as text, in base64, in hex or as the bytes of a plan's constant. At the end some
# are typed, and may be in what tells of that very statement.
use strict;
use warnings;

use Digest::SHA ();
use FindBin;
use lib $FindBin::RealBin;
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $dir      = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my $key_file = "$dir/keys";

sub random_text { return encode_base64(join('', map { chr(rand 256) } 1 .. ($_[0] // 32)), '') }

sub write_private
{
	my ($file, $text) = @_;
	unlink $file;
	append_to_file($file, $text);
	chmod 0600, $file or die "$file: $!";
	return;
}
my %key = map { $_ => random_text() } 'k1', 'k2';
write_private($key_file, "k1 $key{k1}\n");

#
# Secrets, each of its own bytes
#
my (%secret, %harmless);    # what is harmless is given as secrets are, and may be seen
$secret{$_} = 'whsec_' . random_text() for 'given', 'second', 'third', 'fourth', 'fifth', 'direct', 'updated', 'copied', 'verifying', 'lost';
$secret{raw}      = 'It is a Secret to ' . random_text(12);
$secret{unfit}    = 'no whsec_ but ' . random_text(12);
$secret{malformed} = 'whsec_' . random_text(9) . '!' . random_text(12);
$secret{basic}    = 'user:' . random_text(18);
$secret{bearer}   = random_text();
$secret{another}  = random_text();
$secret{header}   = random_text();
$secret{long}     = random_text(50_000);
$secret{url}      = 'https://ann:' . (random_text(18) =~ tr|+/=|abc|r) . '@hooks.example.com/';
$secret{proxy}    = 'http://ann:' . (random_text(18) =~ tr|+/=|abc|r) . '@127.0.0.1:9';
$secret{oauth2}   = '{"token_url": "https://127.0.0.1:9/token", "client_id": "the client", "client_secret": "' . random_text() . '"}';
$secret{oauth2_wrong} = '{"token_url": "https://127.0.0.1:9/token", "client_secret": "' . random_text() . '", "client_id": 7}';
$secret{oauth2_no_json} = '{"client_secret": "' . random_text() . '"';
$secret{oauth2_url} = '{"token_url": "https://ann:' . random_text(12) =~ tr|+/=|abc|r . '@127.0.0.1:9/", "client_id": "c", "client_secret": "' . random_text() . '"}';
for my $name ('client', 'stranger')
{
	system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', "/CN=$name",
		'-keyout', "$dir/$name.key", '-out', "$dir/$name.pem", '-days', '2');
	$secret{"${name}_key"} = slurp_file("$dir/$name.key");
	$harmless{"${name}_certificate"} = slurp_file("$dir/$name.pem");
}
$secret{control} = random_text();
my %given = (%secret, %harmless);

# A secret may also be one that was made for us, or the key itself.
my %all = (%secret, key_one => $key{k1}, key_two => $key{k2});

#
# A server that tells all it knows
#
my $loud = <<CONF;
log_statement = all
log_min_duration_statement = 0
log_duration = on
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
log_min_messages = debug5
log_min_error_statement = debug5
log_line_prefix = '%m [%p] %q%u %d %a %b %v/%x %i %e : '
log_lock_waits = on
log_temp_files = 0
log_autovacuum_min_duration = 0
debug_print_parse = on
debug_print_rewritten = on
debug_print_plan = on
debug_pretty_print = off
backtrace_functions = 'exec_stmt_raise, wh_check_secret, refuse, guard, ExecConstraints'
track_activities = on
track_functions = all
compute_query_id = on
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_buffers = on
auto_explain.log_wal = on
auto_explain.log_triggers = on
auto_explain.log_settings = on
auto_explain.log_format = text
pgaudit.log = 'all'
pgaudit.log_catalog = on
pgaudit.log_parameter = on
pgaudit.log_relation = on
pgaudit.log_rows = on
pgaudit.log_statement = on
pgaudit.log_statement_once = off
pgaudit.role = 'auditor'
wal_level = logical
max_replication_slots = 4
webhook.poll_interval = '30s'
webhook.key_file = '$key_file'
CONF
my $t    = WebhookTest->new(preload => 'auto_explain,pgaudit,pg_stat_statements,webhook', conf => $loud);
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$node->append_conf('postgresql.conf', "auto_explain.log_parameter_max_length = -1\n")
  if $t->sql("SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'auto_explain.log_parameter_max_length')") eq 't';
$node->reload;
$t->sql('CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pgaudit; CREATE ROLE auditor');
$t->sql('GRANT ALL ON ALL TABLES IN SCHEMA webhook, webhook_internal TO auditor');    # pgaudit then logs what is done to them as objects
$t->sql('CREATE TABLE item (id serial PRIMARY KEY); CREATE TABLE given (name text PRIMARY KEY, value text); CREATE TABLE scratch (value text)');
$t->watch('item');
for my $name (sort keys %given)
{
	write_private("$dir/given_$name", $given{$name});
	$t->sql("INSERT INTO given SELECT '$name', pg_read_file('$dir/given_$name')");
}
my ($operator) = slurp_file("$FindBin::RealBin/../../docs/security.md") =~ /<!-- roles: operator -->\n```sql\n(.*?)```/s or die 'no grants of operators in security.md';
$t->sql($operator);
$t->sql('CREATE ROLE ann LOGIN IN ROLE webhook_operator; GRANT SELECT ON given TO ann');

#
# Looking for pieces
#
# Every 12 bytes of its long words, in each form. (The short ones are JSON's, or those of the form of a secret.)
sub pieces_of
{
	my ($value) = @_;
	my %piece;
	for my $word (substr($value, 0, 2000) =~ m{[A-Za-z0-9+/=]{12,}}g)
	{
		for my $i (0 .. length($word) - 12)
		{
			my $piece = substr $word, $i, 12;
			$piece{$_} = 1 for $piece, unpack('H*', $piece), join(' ', unpack 'c*', $piece), encode_base64($piece, '');
		}
	}
	die "nothing to look for in '$value'" unless %piece;
	return keys %piece;
}

# The names of the secrets that are in a file from an offset on, and where: grep finds thousands of pieces in
# one go, where Perl would take minutes for a log as loud as this one.
sub found_in
{
	my ($file, $from, $secrets) = @_;
	my %names;
	for my $name (keys %$secrets)
	{
		push @{ $names{$_} }, $name for pieces_of($secrets->{$name});
	}
	write_private("$dir/pieces", join("\n", sort keys %names) . "\n");
	my $matches = `tail -c +@{[ $from + 1 ]} '$file' | LC_ALL=C grep -aoF -f '$dir/pieces' | sort -u | head -n 200`;
	my %found;
	my $text = $matches eq '' ? '' : substr slurp_file($file), $from;
	for my $piece (split /\n/, $matches)
	{
		my $at = index $text, $piece;
		$found{ join ' or ', sort @{ $names{$piece} } } //= substr $text, ($at > 600 ? $at - 600 : 0), 720;
	}
	return %found;
}

sub found_nowhere
{
	my ($what, $file, $from, $secrets) = @_;
	my %found = found_in($file, $from, $secrets);
	ok(!%found, "$what: " . ((-s $file) - $from) . ' bytes, and no piece of a secret') or diag(join "\n\n", map { "$_: ... $found{$_}" } sort keys %found);
	return;
}

sub found_nowhere_in_text
{
	my ($what, $text, $secrets) = @_;
	write_private("$dir/text", $text);
	found_nowhere($what, "$dir/text", 0, $secrets);
	return;
}

# The search finds what is there: a function of ours, were it written so, would be seen.
$t->sql(<<'SQL');
CREATE FUNCTION leak(v text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO scratch VALUES (v); END $$;
SELECT leak(value) FROM given WHERE name = 'control';
SQL
{
	my %found = found_in($node->logfile, 0, { control => $secret{control} });
	ok($found{control}, 'a secret that is given to a statement is seen');
	my $log   = slurp_file($node->logfile);
	my $bare  = substr $secret{control}, 3, 24;
	my @bytes = map { join ' ', unpack 'c*', substr $bare, $_, 12 } 0 .. 12;    # a line may end in between
	ok($log =~ /AUDIT: [^\n]*INSERT INTO scratch[^\n]*\Q$bare/, 'by pgaudit, as a parameter');
	ok($log =~ /plan:\n(?:\t[^\n]*\n)*\t[^\n]*Output: '\Q@{[ substr $secret{control}, 0, 27 ]}/, 'by auto_explain, as a constant');
	ok((grep { index($log, $_) >= 0 } @bytes), 'and by debug_print_plan, as bytes');
	delete $all{control};
}
my $offset = -s $node->logfile;

#
# What is done with secrets
#
# the functions that this test calls; one that is new has to be added here, and below
my %called = map { $_ => 1 } qw(
  subscribe rotate_secret set_credential verify reseal seal_again generate_secret check_secret check_credential_pair
  subscribe_wrapped rotate_secret_wrapped set_credential_wrapped verify_wrapped signature_matches
  set_secret_as_owner rotate_secret_as_owner set_credential_as_owner before_secret before_credential secret_owner credential_owner
  wrapped room_for_secret guard_credentials check_credentials after_credential perform_privileged_call after_subscription after_profile profile_of guard_removal
  check_signing check_subscription role_privileges named_columns preview
);
my $known = join ' ', sort keys %called;
is($t->sql(<<SQL), '', 'every function that has to do with secrets is called here') or diag('a new one has to be added to the test');
SELECT string_agg(DISTINCT p.proname, ' ') FROM pg_proc p WHERE p.pronamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace)
	AND (p.proname ~ 'secret|credential|seal|wrap|sign|verif' OR p.prosrc ~ 'secret|credential|wrapped'
		OR p.proargnames::text ~ 'secret|value|key|credential|certificate|password')
	AND p.proname <> ALL (string_to_array('$known', ' '))
SQL

sub value_of { return "(SELECT value FROM given WHERE name = '$_[0]')" }

# steps(ROLE, [ WHAT, STATEMENTS, WHAT IS ANSWERED ]...): one after the other. What they make is a secret too.
my $made = 0;

sub steps
{
	my ($role, @steps) = @_;
	my $script = join '', map { "\\echo =====\n$_->[1];\n" } @steps;
	my $output = '';
	IPC::Run::run([ 'psql', '-XAtq', '-U', $role, '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$script, '>', \$output, '2>&1');
	my (undef, @answers) = split /^=====\n/m, $output, -1;
	is(scalar @answers, scalar @steps, "$role: all of " . @steps . ' steps are done') or diag($output);
	for my $step (@steps)
	{
		my ($what, $sql, $expected) = @$step;
		my $answer = shift @answers;
		like($answer, $expected, "$role: $what");
		for my $value ($answer =~ /^(whs(?:ec|k)_\S+)$/mg)
		{
			$all{ 'made ' . ++$made } = $value unless grep { $_ eq $value } values %all;
		}
	}
	return;
}

my $url = $r->url('/ok');
my %v   = map { $_ => value_of($_) } keys %given;

$t->sql(<<'SQL');
SELECT webhook.copy_profile('standard', 'ed');
UPDATE webhook.profile SET signature_algorithm = 'ed25519', signature_format = 'v1a,{signature}' WHERE name = 'ed';
SELECT webhook.copy_profile('github', 'raw');
SQL

# What operators do, right and wrong.
sub as_operator
{
	my ($role, $p) = @_;
	steps(
		$role,
		[ 'subscribes, with a secret', "SELECT webhook.subscribe('$p', '$url', secret => $v{given})", qr/^whsec_/ ],
		[ 'without one', "SELECT webhook.subscribe('$p-made', '$url')", qr/^whsec_/ ],
		[ 'with one for ed25519', "SELECT webhook.subscribe('$p-ed', '$url', profile => 'ed')", qr/^whsk_/ ],
		[ 'with a raw one', "SELECT webhook.subscribe('$p-raw', '$url', profile => 'raw', secret => $v{raw})", qr/^It is a Secret/ ],
		[ 'looks at a request', "SELECT webhook.preview('standard', '$url', headers => '{\"X-Team\": \"billing\"}') ->> 'method'", qr/^POST/ ],
		[ 'by an INSERT', "INSERT INTO webhook.subscription (name, url) VALUES ('$p-direct', '$url')", qr/^$/ ],
		[ 'twice of a name', "SELECT webhook.subscribe('$p', '$url', secret => $v{lost})", qr/already exists/ ],
		[ 'a secret that does not fit', "SELECT webhook.subscribe('$p-x', '$url', secret => $v{unfit})", qr/invalid signing secret/ ],
		[ 'one that is malformed', "SELECT webhook.subscribe('$p-x', '$url', secret => $v{malformed})", qr/invalid signing secret/ ],
		[ 'one that is too long', "SELECT webhook.subscribe('$p-x', '$url', secret => $v{long})", qr/invalid signing secret|is too long/ ],
		[ 'a URL with a password', "SELECT webhook.subscribe('$p-x', $v{url})", qr/contains credentials/ ],
		[ 'the same by an INSERT', "INSERT INTO webhook.subscription (name, url) SELECT '$p-x', value FROM given WHERE name = 'url'", qr/contains credentials/ ],
		[ 'and by an UPDATE', "UPDATE webhook.subscription SET url = $v{url} WHERE name = '$p'", qr/contains credentials/ ],
		[ 'rotates, with a secret', "SELECT webhook.rotate_secret('$p', $v{second})", qr/^whsec_/ ],
		[ 'without one', "SELECT webhook.rotate_secret('$p-made')", qr/^whsec_/ ],
		[ 'for ed25519', "SELECT webhook.rotate_secret('$p-ed', overlap => '0')", qr/^whsk_/ ],
		[ 'one that does not fit', "SELECT webhook.rotate_secret('$p', $v{unfit})", qr/invalid signing secret/ ],
		[ 'nobody', "SELECT webhook.rotate_secret('$p-nobody', $v{lost})", qr/does not exist/ ],
		[ 'with an overlap that is none', "SELECT webhook.rotate_secret('$p', $v{lost}, '-1 s')", qr/overlap is out of range/ ],
		[ 'goes on after a savepoint', <<SQL, qr/invalid signing secret.*\nwhsec_/s ],
BEGIN; SAVEPOINT s; SELECT webhook.rotate_secret('$p', $v{unfit}); ROLLBACK TO s; SELECT webhook.rotate_secret('$p', $v{third}); COMMIT;
SQL
		[ 'through a prepared statement', <<SQL, qr/^whsec_.*PREPARE/s ],
PREPARE p AS SELECT webhook.rotate_secret('$p', $v{fourth}); EXECUTE p; SELECT statement, parameter_types FROM pg_prepared_statements;
SQL
		[ 'a fifth', "SELECT webhook.rotate_secret('$p', $v{fifth})", qr/at most four live secrets/ ],
		[ 'through a cursor', <<SQL, qr/^whsec_.*DECLARE/s ],
BEGIN; DECLARE c CURSOR FOR SELECT webhook.rotate_secret('$p-made', overlap => '0'); FETCH c; SELECT statement FROM pg_cursors; COMMIT;
SQL
		[ 'where an error is caught', <<SQL, qr/^$/ ],
DO \$\$ BEGIN PERFORM webhook.rotate_secret('$p-made', $v{unfit}); EXCEPTION WHEN invalid_parameter_value THEN NULL; END \$\$;
SQL
		[ 'sets a proxy', "SELECT webhook.set_credential('$p-made', 'proxy', $v{proxy})", qr/^$/ ],
		[ 'an authority', "SELECT webhook.set_credential('$p', 'ca', $v{client_certificate})", qr/^$/ ],
		[ 'basic', "SELECT webhook.set_credential('$p', 'basic', $v{basic})", qr/^$/ ],
		[ 'bearer', "SELECT webhook.set_credential('$p-made', 'bearer', $v{bearer})", qr/^$/ ],
		[ 'another bearer', "SELECT webhook.set_credential('$p-made', 'bearer', $v{another})", qr/^$/ ],
		[ 'a header', "SELECT webhook.set_credential('$p', 'header:X-Api-Key', $v{header})", qr/^$/ ],
		[ 'oauth2', "SELECT webhook.set_credential('$p-raw', 'oauth2', $v{oauth2})", qr/^$/ ],
		[ 'a certificate and its key', <<SQL, qr/^\s*$/ ],
BEGIN; SELECT webhook.set_credential('$p', 'client_certificate', $v{client_certificate}); SELECT webhook.set_credential('$p', 'client_key', $v{client_key}); COMMIT;
SQL
		[ 'the key of another', <<SQL, qr/is not that of the first certificate/ ],
BEGIN; SELECT webhook.set_credential('$p-ed', 'client_certificate', $v{client_certificate}); SELECT webhook.set_credential('$p-ed', 'client_key', $v{stranger_key}); COMMIT;
SQL
		[ 'a key alone', "SELECT webhook.set_credential('$p-ed', 'client_key', $v{stranger_key})", qr/needs both/ ],
		[ 'two for one header', "SELECT webhook.set_credential('$p', 'bearer', $v{bearer})", qr/would send the request header "authorization" twice/ ],
		[ 'a password that is none', "SELECT webhook.set_credential('$p-ed', 'basic', $v{another})", qr/invalid credential "basic"/ ],
		[ 'a token that is none', "SELECT webhook.set_credential('$p-ed', 'bearer', $v{raw})", qr/invalid credential "bearer"/ ],
		[ 'a key that is none', "SELECT webhook.set_credential('$p-ed', 'client_key', $v{bearer})", qr/invalid credential "client_key"/ ],
		[ 'a proxy that is none', "SELECT webhook.set_credential('$p-ed', 'proxy', $v{bearer})", qr/invalid credential "proxy"/ ],
		[ 'oauth2 that is no JSON', "SELECT webhook.set_credential('$p-ed', 'oauth2', $v{oauth2_no_json})", qr/invalid credential "oauth2"/ ],
		[ 'oauth2 that has a number', "SELECT webhook.set_credential('$p-ed', 'oauth2', $v{oauth2_wrong})", qr/invalid credential "oauth2"/ ],
		[ 'oauth2 of a URL with a password', "SELECT webhook.set_credential('$p-ed', 'oauth2', $v{oauth2_url})", qr/contains credentials/ ],
		[ 'a header of ours', "SELECT webhook.set_credential('$p-ed', 'header:Host', $v{header})", qr/sets this header itself/ ],
		[ 'one that is too long', "SELECT webhook.set_credential('$p-ed', 'bearer', $v{long})", qr/invalid credential|is too long/ ],
		[ 'value and kind exchanged', "SELECT webhook.set_credential('$p-ed', $v{bearer}, 'bearer')", qr/unknown kind of credential/ ],
		[ 'no kind', "SELECT webhook.set_credential('$p-ed', NULL, $v{bearer})", qr/must not be null/ ],
		[ 'nobody', "SELECT webhook.set_credential('$p-nobody', 'bearer', $v{bearer})", qr/does not exist/ ],
		[ 'takes one away', "SELECT webhook.set_credential('$p-raw', 'oauth2', NULL)", qr/^$/ ],
		[ 'another profile', "UPDATE webhook.subscription SET profile = 'stripe' WHERE name = '$p-raw'", qr/^$/ ],
		[ 'one that does not fit', "UPDATE webhook.subscription SET profile = 'entity' WHERE name = '$p-raw'", qr/invalid signing secret/ ],
		[ 'and back', "UPDATE webhook.subscription SET profile = 'raw' WHERE name = '$p-raw'", qr/^$/ ],
		[ 'verifies', "SELECT webhook.verify('entity', $v{verifying}, '{\"webhook-id\": \"1\"}', 'the body')", qr/^f$/ ],
		[ 'with a secret that is none', "SELECT webhook.verify('entity', $v{unfit}, '{}', 'the body')", qr/invalid signing secret/ ],
		[ 'by a profile that is none', "SELECT webhook.verify('nix', $v{verifying}, '{}', 'the body')", qr/does not exist/ ],
		[ 'with a tolerance that is none', "SELECT webhook.verify('entity', $v{verifying}, '{}', 'the body', '-1 s')", qr/tolerance is out of range/ ],
		[ 'sees no arguments', 'SELECT * FROM webhook_internal.privileged_call', qr/^\{[\d,]+\}\|\|\|$/ ],
	);
	# rightly, too
	my ($id, $now) = ('evt_1', time);
	my $sum = Digest::SHA::hmac_sha256_base64("$id.$now.the body", MIME::Base64::decode_base64(substr $secret{verifying}, 6));
	$sum .= '=' x (-length($sum) % 4);
	steps($role, [ 'verifies what is right', <<SQL, qr/^t$/ ]);
SELECT webhook.verify('entity', $v{verifying}, '{"webhook-id": "$id", "webhook-timestamp": "$now", "webhook-signature": "v1,$sum"}', 'the body')
SQL
	# what EXPLAIN shows of it
	my $plan = $t->sql("EXPLAIN (ANALYZE, VERBOSE) SELECT webhook.rotate_secret('$p-direct', $v{lost})");
	like($plan, qr/rotate_secret/, 'EXPLAIN shows the call');
	unlike($plan, qr/whsec_/, 'and no secret');
	# cancelled where it waits for a lock
	$t->sql("BEGIN; LOCK TABLE webhook.secret, webhook.credential IN SHARE MODE; PREPARE TRANSACTION 'held'");
	steps(
		$role,
		[ 'is cancelled', "SET statement_timeout = '200ms'; SELECT webhook.rotate_secret('$p-direct', $v{lost})", qr/statement timeout/ ],
		[ 'the same with a credential', "SET statement_timeout = 0; SET lock_timeout = '200ms'; SELECT webhook.set_credential('$p-direct', 'bearer', $v{bearer})", qr/lock timeout/ ]);
	$t->sql("ROLLBACK PREPARED 'held'");
	return;
}

# What their owner does to the tables themselves.
sub as_owner
{
	my ($p) = @_;
	my $id = $t->sql("SELECT id FROM webhook.subscription WHERE name = '$p-direct'");
	write_private("$dir/copy_$p", "$id\t50\t$secret{copied}\n");
	write_private("$dir/copy_unfit_$p", "$id\t51\t$secret{unfit}\n");
	write_private("$dir/copy_null_$p", "$id\t\\N\t$secret{copied}\n");
	write_private("$dir/copy_credential_$p", "$id\theader:X-Copied\t$secret{header}\n");
	write_private("$dir/copy_no_credential_$p", "$id\tbasic\t$secret{another}\n");
	steps(
		'postgres',
		[ 'INSERT', "INSERT INTO webhook.secret (subscription_id, id, secret) SELECT $id, 40, value FROM given WHERE name = 'direct'", qr/^$/ ],
		[ 'UPDATE', "UPDATE webhook.secret SET secret = $v{updated} WHERE subscription_id = $id AND id = 40", qr/^$/ ],
		[ 'of all columns', "UPDATE webhook.secret SET secret = secret, expires_at = now() + '1 hour' WHERE subscription_id = $id", qr/^$/ ],
		[ 'MERGE', <<SQL, qr/^$/ ],
MERGE INTO webhook.secret k USING given g ON k.subscription_id = $id AND k.id = 40 AND g.name = 'direct'
	WHEN MATCHED THEN UPDATE SET secret = g.value WHEN NOT MATCHED THEN DO NOTHING
SQL
		[ 'COPY', "COPY webhook.secret (subscription_id, id, secret) FROM '$dir/copy_$p'", qr/^$/ ],
		[ 'COPY of what does not fit', "COPY webhook.secret (subscription_id, id, secret) FROM '$dir/copy_unfit_$p'", qr/invalid signing secret/ ],
		[ 'COPY of a null', "COPY webhook.secret (subscription_id, id, secret) FROM '$dir/copy_null_$p'", qr/must not be null/ ],
		[ 'INSERT of a null', "INSERT INTO webhook.secret (subscription_id, secret, created_at) SELECT $id, value, NULL FROM given WHERE name = 'direct'", qr/must not be null/ ],
		[ 'INSERT of one that is there', "INSERT INTO webhook.secret (subscription_id, id, secret, expires_at) SELECT $id, 40, value, now() - '1 hour'::interval FROM given WHERE name = 'direct'", qr/duplicate key/ ],
		[ 'INSERT for nobody', "INSERT INTO webhook.secret (subscription_id, secret) SELECT 0, value FROM given WHERE name = 'direct'", qr/violates foreign key/ ],
		[ 'INSERT of what does not fit', "INSERT INTO webhook.secret (subscription_id, id, secret) SELECT $id, 41, value FROM given WHERE name = 'unfit'", qr/invalid signing secret/ ],
		[ 'INSERT of a credential', "INSERT INTO webhook.credential (subscription_id, kind, value) SELECT $id, 'bearer', value FROM given WHERE name = 'bearer'", qr/^$/ ],
		[ 'UPDATE', "UPDATE webhook.credential SET value = $v{another} WHERE subscription_id = $id AND kind = 'bearer'", qr/^$/ ],
		[ 'INSERT ON CONFLICT', <<SQL, qr/^$/ ],
INSERT INTO webhook.credential (subscription_id, kind, value) SELECT $id, 'bearer', value FROM given WHERE name = 'bearer'
	ON CONFLICT (subscription_id, kind) DO UPDATE SET value = EXCLUDED.value
SQL
		[ 'one that is none', "INSERT INTO webhook.credential (subscription_id, kind, value) SELECT $id, 'basic', value FROM given WHERE name = 'another'", qr/invalid credential/ ],
		[ 'a null', "INSERT INTO webhook.credential (subscription_id, kind, value, created_at) SELECT $id, 'basic', value, NULL FROM given WHERE name = 'basic'", qr/must not be null/ ],
		[ 'value and kind exchanged', "INSERT INTO webhook.credential (subscription_id, kind, value) SELECT $id, value, 'bearer' FROM given WHERE name = 'bearer'", qr/unknown kind/ ],
		[ 'COPY', "COPY webhook.credential (subscription_id, kind, value) FROM '$dir/copy_credential_$p'", qr/^$/ ],
		[ 'COPY of one that is none', "COPY webhook.credential (subscription_id, kind, value) FROM '$dir/copy_no_credential_$p'", qr/invalid credential/ ],
		[ 'a profile changes', "UPDATE webhook.profile SET description = 'changed' WHERE name IN ('ed', 'raw')", qr/^$/ ],
		[ 'to one that does not fit', "UPDATE webhook.profile SET secret_encoding = 'whsec' WHERE name = 'raw'", qr/invalid signing secret/ ],
		[ 'ed25519 to HMAC', "UPDATE webhook.profile SET signature_algorithm = 'hmac-sha256' WHERE name = 'ed'", qr/invalid signing secret/ ],
		[ 'a secret in a file', "SELECT webhook.rotate_secret('$p-made', 'file:$dir/given_given', '0')", qr/^file:/ ],
		[ 'the door by hand', "UPDATE webhook_internal.privileged_call SET name = 'rotate_secret', arguments = jsonb_build_object('subscription', '$p-made', 'secret', $v{lost})", qr/is not wrapped/ ],
		(map { [ 'what is behind the door', "SELECT webhook_internal.$_", qr/is not wrapped/ ] } "set_secret_as_owner($id, $v{lost})",
			"rotate_secret_as_owner($id, $v{lost}, '1 s')", "set_credential_as_owner($id, 'bearer', $v{bearer})", "rotate_secret_wrapped('$p-made', $v{lost}, '1 s')",
			"set_credential_wrapped('$p-made', 'bearer', $v{bearer})", "subscribe_wrapped('$p-x', '$url', NULL, 'entity', $v{lost}, NULL, NULL, NULL, NULL)",
			"wrapped($v{lost})"),
		[ 'and behind verify', "SELECT webhook_internal.verify_wrapped('entity', $v{verifying}, '{}', '', '1 s')", qr/is not wrapped/ ],
		[ 'reseal', 'SELECT webhook.reseal() > 5', qr/^t$/ ],
	);
	return;
}

# The worker uses all that is there.
sub deliver
{
	my $before = $t->sql('SELECT count(*) FROM webhook.attempt');
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->poll_sql('the worker has sent', "SELECT count(DISTINCT subscription_id) > 2 FROM webhook.attempt WHERE event_number = (SELECT max(event_number) FROM webhook.outbox)");
	return;
}

sub format_is
{
	my ($format, $keys) = @_;
	$node->append_conf('postgresql.conf', "auto_explain.log_format = $format\nwebhook.key_file = '$keys'\n");
	$node->reload;
	$t->poll_sql('reloaded', "SELECT current_setting('auto_explain.log_format') = '$format' AND current_setting('webhook.key_file') = '$keys'");
	return;
}

# All that may be asked and that outlives a statement.
sub shown_elsewhere
{
	return join "\n", map { $t->sql($_) } 'SELECT query FROM pg_stat_statements', 'SELECT a::text FROM pg_stat_activity a', 'SELECT s::text FROM pg_settings s',
	  'SELECT s::text FROM webhook.status s', 'SELECT l::text FROM webhook.log l', 'SELECT o::text FROM webhook_internal.privileged_call o',
	  'SELECT s::text FROM webhook.subscription s', 'SELECT pg_get_triggerdef(oid) FROM pg_trigger';
}

# A dump, and what restoring it logs.
sub dump_and_restore
{
	my ($name) = @_;
	my ($dump, $out) = ('', '');
	IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres'), '-T', 'given', '-T', 'scratch' ], '>', \$dump, '2>', \$out) or die $out;
	$t->sql("CREATE DATABASE $name");
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($name), '-f', '-' ], '<', \$dump, '>', \$out, '2>&1');
	is($node->safe_psql($name, 'SELECT count(*) > 5 FROM webhook.secret'), 't', 'a dump is restored');
	return $dump;
}

$t->sql("SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')");
as_operator('postgres', 'p');
as_owner('p');
deliver();

# The keys change, are gone, and are wrong.
write_private($key_file, "k2 $key{k2}\nk1 $key{k1}\n");
steps('postgres', [ 'reseals under another key', 'SELECT webhook.reseal() > 5', qr/^t$/ ]);
write_private($key_file, "k1 $key{k1}\n");
steps(
	'postgres',
	[ 'reseals without the key', 'SELECT webhook.reseal()', qr/could not open a secret/ ],
	[ 'another profile without it', "UPDATE webhook.subscription SET profile = 'stripe' WHERE name = 'p'", qr/could not open a secret/ ],
	[ 'a certificate without it', <<SQL, qr/^\s*$/ ]);
BEGIN; SELECT webhook.set_credential('p', 'client_certificate', $v{client_certificate}); SELECT webhook.set_credential('p', 'client_certificate', $v{client_certificate}); COMMIT;
SQL
chmod 0644, $key_file;
steps(
	'postgres',
	[ 'rotates with a key file that cannot be used', "SELECT webhook.rotate_secret('p-made', $v{lost})", qr/could not use webhook.key_file/ ],
	[ 'and sets a credential', "SELECT webhook.set_credential('p-direct', 'header:X-Lost', $v{header})", qr/could not use webhook.key_file/ ]);
write_private($key_file, "k2 $key{k2}\nk1 $key{k1}\n");

my $decoded = $t->sql("SELECT data FROM pg_logical_slot_get_changes('decoded', NULL, NULL)");
like($decoded, qr/table webhook.secret: INSERT:.*sealed:k1:/, 'logical decoding has sealed secrets');
my $dump = dump_and_restore('copy_sealed');
like($dump, qr/sealed:k2:/, 'so has a dump');

# (parse trees and plans have been printed, of all of it)
$node->append_conf('postgresql.conf', join '', map { "debug_print_$_ = off\n" } 'parse', 'rewritten', 'plan');
format_is('json', $key_file);
as_operator('ann', 'a');
as_owner('a');
deliver();

# Sealed everywhere
is($t->sql("SELECT count(*) FROM webhook.secret WHERE secret !~ '^(sealed|file):'") + $t->sql("SELECT count(*) FROM webhook.credential WHERE value !~ '^(sealed|file):'"),
	0, 'what is kept is sealed, all of it');
found_nowhere_in_text('logical decoding', join("\n", grep { !/^table public\./ } split /\n/, $decoded), \%all);
found_nowhere_in_text('a dump', $dump, \%all);

#
# Kept in clear, by choice: not logged either
#
$t->sql('DELETE FROM webhook.subscription');
format_is('text', '');
as_operator('ann', 'c');
as_owner('c');
deliver();
like($t->sql('SELECT string_agg(secret, $$ $$) FROM webhook.secret'), qr/whsec_/, 'without a key, secrets are kept as they are');
dump_and_restore('copy_clear');

#
# And now: is one of them told?
#
ok($made > 5, "$made secrets were made");
for my $kind ('AUDIT: SESSION', 'AUDIT: OBJECT', 'plan:', '"Query Text"', 'parse tree', 'INSERT INTO webhook.secret', 'wrapped:', 'statement: ')
{
	is(system("tail -c +@{[ $offset + 1 ]} '@{[ $node->logfile ]}' | grep -aqF '$kind'"), 0, "the log has '$kind'");
}
found_nowhere('the log', $node->logfile, $offset, \%all);
found_nowhere_in_text('what can be asked', shown_elsewhere(), \%all);

#
# Typed: in the statement itself, and in what tells of it
#
$offset = -s $node->logfile;
my %typed = map { $_ => 'whsec_' . random_text() } 'subscribe', 'rotate', 'prepared', 'insert';
$typed{credential} = random_text();
$t->sql("/* own */ SELECT webhook.subscribe('typed', '$url', secret => '$typed{subscribe}')");
$t->sql("/* own */ SELECT webhook.rotate_secret('typed', '$typed{rotate}')");
$t->sql("PREPARE p(text) AS /* own */ SELECT webhook.rotate_secret('typed', \$1);\n/* own */ EXECUTE p('$typed{prepared}')");
$t->sql("/* own */ INSERT INTO webhook.secret (subscription_id, id, secret) SELECT id, 9, '$typed{insert}' FROM webhook.subscription WHERE name = 'typed'");
$t->sql("/* own */ SELECT webhook.set_credential('typed', 'bearer', '$typed{credential}')");
my $typed_log = substr slurp_file($node->logfile), $offset;
my @entries   = split /^(?=\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ )/m, $typed_log;
for my $name (sort keys %typed)
{
	my $bare = $typed{$name} =~ s/^whsec_//r;
	my @with = grep { index($_, $bare) >= 0 } @entries;
	ok(@with > 1, "$name: a secret that was typed is in " . @with . ' entries of the log');
	my @others = grep { !m{/\* own \*/} } @with;
	is(scalar @others, 0, 'all of them of the statement that it was typed in') or diag(join "\n", map { substr $_, 0, 1000 } @others);
}

$t->stop;
done_testing();

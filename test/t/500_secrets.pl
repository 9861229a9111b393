# The promise: secrets do not leak. With webhook.key_file they are kept sealed
# under a key outside the database, which can be rotated; a superuser may keep
# them in files; and no message, view or dump shows one.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_base64);
use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(pairs);
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $dir      = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my $key_file = "$dir/keys";

# A key file with these lines; only the server's user may read it.
sub write_private
{
	my ($file, $text) = @_;
	unlink $file;
	append_to_file($file, $text);
	chmod 0600, $file or die "$file: $!";
	return;
}
my %key = map { $_ => encode_base64(join('', map { chr(rand 256) } 1 .. 32), '') } 'k1', 'k2';
write_private($key_file, "k1 $key{k1}\n");

my $t = WebhookTest->new(
	preload => 'pg_stat_statements,webhook',
	conf    => <<CONF);
webhook.poll_interval = '30s'
webhook.key_file = '$key_file'
log_min_messages = debug5
log_min_error_statement = panic
pg_stat_statements.track = all
CONF
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$t->sql('CREATE EXTENSION pg_stat_statements');
$t->sql('CREATE TABLE item (id serial PRIMARY KEY)');
$t->watch('item');

# Has a request been signed with this secret, by Perl's own library?
sub signed_with
{
	my ($request, $secret) = @_;
	my $h   = $request->{headers};
	my $sum = hmac_sha256_base64("$h->{'webhook-id'}.$h->{'webhook-timestamp'}.$request->{body}", decode_base64(substr $secret, 6));
	return index($h->{'webhook-signature'}, 'v1,' . $sum . '=' x (-length($sum) % 4)) >= 0;
}

# The request that one event makes.
sub event
{
	my $before = $r->count;
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$r->wait_for_requests($before + 1);
	return ($r->requests)[$before];
}

sub kept { return $t->sql('SELECT secret FROM webhook.secret ORDER BY id') }

#
# Sealed
#
my $first = $t->sql("SELECT webhook.subscribe('crm', '" . $r->url('/ok') . "')");
like($first, qr/^whsec_/, 'subscribe returns the secret');
like(kept(), qr/^sealed:k1:[A-Za-z0-9+\/=]+$/, 'its row keeps it sealed');
ok(signed_with(event(), $first), 'requests are signed with it');
my $second = $t->sql("SELECT webhook.rotate_secret('crm')");
is(scalar(grep { /^sealed:k1:/ } split /\n/, kept()), 2, 'so is one that takes its place');
my $request = event();
ok(signed_with($request, $first) && signed_with($request, $second), 'and requests are signed with both');
$t->sql("UPDATE webhook.secret SET expires_at = NULL");

# in another row it is worth nothing
my ($rc, $out, $err) = $node->psql('postgres', <<'SQL');
SELECT webhook_internal.seal_again(webhook_internal.secret_owner(k.subscription_id, k.id + 1), k.secret) FROM webhook.secret k ORDER BY k.id LIMIT 1
SQL
like($err, qr/could not open a secret.*sealed for another row/s, 'copied into another row it does not open');

#
# The key is rotated
#
write_private($key_file, "k2 $key{k2}\nk1 $key{k1}\n");
$node->reload;
ok(signed_with(event(), $second), 'with another first key, what is sealed under the old one is still used');
is($t->sql('SELECT webhook.reseal()'), 2, 'it is sealed again');
is(scalar(grep { /^sealed:k2:/ } split /\n/, kept()), 2, 'under the new key');
write_private($key_file, "k2 $key{k2}\n");
$node->reload;
ok(signed_with(event(), $second), 'and the old key may go');

#
# The key is lost, and found
#
my $offset = -s $node->logfile;
write_private($key_file, "k1 $key{k1}\n");
$node->reload;
$node->wait_for_log(qr/WARNING:.*cannot use a secret of subscription "crm"\n.*DETAIL:.*under a key that webhook.key_file does not have/, $offset);
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{200ms}'");
my $before = $r->count;
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->poll_sql('it cannot be signed, and is kept', "SELECT bool_and(outcome = 'internal') AND count(*) > 0 FROM webhook.log WHERE event_id = (SELECT webhook.event_id(max(event_number)) FROM webhook.outbox)");
is($r->count, $before, 'nothing is sent unsigned');
write_private($key_file, "k2 $key{k2}\n");
$node->reload;
$t->wait_until_settled;
ok(signed_with(($r->requests)[$before], $second), 'when the key is back it is delivered, signed');

# a key file that cannot be used
chmod 0644, $key_file;
($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.rotate_secret('crm')");
like($err, qr/could not use webhook.key_file.*others may read it/si, 'a key file that others may read is refused');
write_private($key_file, "k2 nonsense\n");
($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.rotate_secret('crm')");
like($err, qr/could not use webhook.key_file.*Line 1: the key is not the base64 of 32 bytes/s, 'one that is wrong is told with its line');
unlike($err, qr/nonsense/, 'and not quoted');
write_private($key_file, "k2 $key{k2}\n");

#
# Several that cannot be opened: each is told its own reason, whatever else was read
#
# From there on, beginning with that subscription, where the configuration was read.
sub whys
{
	my ($from, $first) = @_;
	my $said = substr slurp_file($node->logfile), $from;
	my @whys = map { join ': ', @$_ } pairs($said =~ /cannot use a secret of subscription "(\w+)"\n.*?DETAIL:  (.*)\n/g);
	shift @whys while @whys && $whys[0] !~ /^$first:/;
	return @whys;
}
for my $n (1 .. 8)
{
	$t->sql("SELECT webhook.subscribe('sealed_$n', '" . $r->url("/ok/sealed_$n") . "', events => '{nothing.*}')");
}
$t->sql(<<"SQL");
UPDATE webhook.secret k SET secret = 'file:$dir/nowhere' FROM webhook.subscription s WHERE s.id = k.subscription_id AND s.name = 'sealed_2';
UPDATE webhook.secret k SET secret = regexp_replace(secret, 'k2', 'k9') FROM webhook.subscription s WHERE s.id = k.subscription_id AND s.name = 'sealed_3';
UPDATE webhook.secret k SET secret = (SELECT o.secret FROM webhook.secret o JOIN webhook.subscription p ON p.id = o.subscription_id WHERE p.name = 'sealed_1')
FROM webhook.subscription s WHERE s.id = k.subscription_id AND s.name = 'sealed_4';
SQL
$offset = -s $node->logfile;
$node->reload;
my $missing = 'Its file cannot be used: it cannot be opened: No such file or directory.';
my @expected = (
	"sealed_2: $missing",
	'sealed_3: It is sealed under a key that webhook.key_file does not have.',
	'sealed_4: It is sealed for another row, or under another key of that id, or damaged.');
poll_until('they are named', sub { whys($offset, 'sealed_2') >= @expected });
is_deeply([ (whys($offset, 'sealed_2'))[ 0 .. $#expected ] ], \@expected, 'several secrets that cannot be opened: each with its own reason');

chmod 0644, $key_file;
$offset = -s $node->logfile;
$node->reload;
my $unusable = 'It is sealed, and webhook.key_file cannot be used: others may read it, or a group may write it.';
@expected = (("crm: $unusable") x 2, map { "sealed_$_: " . ($_ == 2 ? $missing : $unusable) } 1 .. 8);
poll_until('they are named', sub { whys($offset, 'crm') >= @expected });
is_deeply([ (whys($offset, 'crm'))[ 0 .. $#expected ] ], \@expected, 'a key file that cannot be used: each is told so, in the same words');
write_private($key_file, "k2 $key{k2}\n");
$t->sql("DELETE FROM webhook.subscription WHERE name LIKE 'sealed%'");
$node->reload;
ok(signed_with(event(), $second), '... and with the key file in order, crm is signed again');

#
# Kept in a file
#
my $in_file = 'whsec_' . encode_base64('a secret of 32 bytes in a file..', '');
write_private("$dir/secret", "$in_file\n");
is($t->sql("SELECT webhook.rotate_secret('crm', 'file:$dir/secret', '0')"), "file:$dir/secret", 'a superuser may keep a secret in a file');
is(kept(), "file:$dir/secret", 'of which the row has the name only');
ok(signed_with(event(), $in_file), 'requests are signed with it');
my $changed = 'whsec_' . encode_base64('the secret of the file, changed.', '');
write_private("$dir/secret", "$changed\n");
$node->reload;
$t->poll_sql('reloaded', 'SELECT true');
poll_until('requests are signed with what the file holds now', sub { signed_with(event(), $changed) });
pass('a reload reads it again');
$t->sql(<<'SQL');
CREATE ROLE operator;
GRANT USAGE ON SCHEMA webhook, webhook_internal TO operator;
GRANT ALL ON ALL TABLES IN SCHEMA webhook, webhook_internal TO operator;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA webhook, webhook_internal TO operator;
SQL
($rc, $out, $err) = $node->psql('postgres', "SET ROLE operator; SELECT webhook.rotate_secret('crm', 'file:/etc/passwd', '0')");
like($err, qr/must be superuser to keep a secret in a file/, 'nobody else may, for the server would read the file');
($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.rotate_secret('crm', 'file:etc/passwd', '0')");
like($err, qr/must be absolute/, 'its path is absolute');

#
# Nowhere else
#
# a row for each that cannot be decoded, or is too many: such errors quote nothing
$node->psql('postgres', "SELECT webhook.rotate_secret('crm', 'whsec_tooshort')");
my $third = $t->sql("SELECT webhook.rotate_secret('crm', NULL, '1 hour')");
event();
my %secret = (first => $first, second => $second, third => $third, 'in a file' => $changed, 'the key' => $key{k2});
my $log = slurp_file($node->logfile);
my $statements = $t->sql('SELECT query FROM pg_stat_statements');
my $activity = $t->sql('SELECT query, application_name FROM pg_stat_activity');
my $catalogs = $t->sql(<<'SQL');
SELECT pg_get_triggerdef(oid) FROM pg_trigger UNION ALL SELECT setting FROM pg_settings UNION ALL
SELECT s::text FROM webhook.status s UNION ALL SELECT l::text FROM webhook.log l UNION ALL SELECT s::text FROM webhook.source s
SQL
my ($dump, $dump_err) = ('', '');
IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres') ], '>', \$dump, '2>', \$dump_err) or die $dump_err;
like($dump, qr/sealed:k2:/, 'a dump has the sealed ones');
for my $name (sort keys %secret)
{
	my $bare = $secret{$name} =~ s/^whsec_//r;
	is(index($log,        $bare), -1, "$name: not in the server's log at debug5");
	is(index($statements, $bare), -1, "$name: not in pg_stat_statements");
	is(index($activity,   $bare), -1, "$name: not in pg_stat_activity");
	is(index($catalogs,   $bare), -1, "$name: not in triggers, settings and views");
	is(index($dump,       $bare), -1, "$name: not in a dump");
}
is($t->sql("SELECT has_table_privilege('public', 'webhook.secret', 'SELECT')"), 'f', 'and nobody is granted the table');

$t->stop;
done_testing();

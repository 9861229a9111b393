# The promise: a secret is changed without a request that its receiver refuses.
# While the old one lives on, each request is signed with both, the newest
# first; when it has expired, with the new one alone, though nobody has told
# the worker. So in each dialect, as its receivers' library reads it; where the
# header has room for one signature, the old secret makes it until it expires.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha1_hex hmac_sha256_base64);
use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use MIME::Base64 qw(decode_base64);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);
my $v = "$FindBin::RealBin/../receiver/profiles.mjs";

$t->sql('CREATE TABLE item (id serial PRIMARY KEY)');
$t->watch('item');
my $first = $t->sql("SELECT webhook.subscribe('s', '" . $r->url('/ok') . "')");

# One event, and the request that it makes.
sub event
{
	my $before = $r->count;
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$r->wait_for_requests($before + 1);
	return ($r->requests)[$before];
}

sub entries { return split / /, $_[0]{headers}{'webhook-signature'} }

# The entry that a secret makes, by Perl's own library.
sub entry
{
	my ($request, $secret) = @_;
	my $key = decode_base64(substr $secret, 6);
	my $h   = $request->{headers};
	my $sum = hmac_sha256_base64("$h->{'webhook-id'}.$h->{'webhook-timestamp'}.$request->{body}", $key);
	return 'v1,' . $sum . '=' x (-length($sum) % 4);
}

# Does a receivers' library accept the request with this secret (and refuse it changed)?
sub accepted
{
	my ($request, $secret, $library) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/request.jsonl';
	open my $out, '>', $file or die "$file: $!";
	print $out JSON::PP::encode_json($request), "\n";
	close $out;
	my ($stdout, $stderr);
	return IPC::Run::run([ 'node', $v, $library // 'standard', $file, $secret ], '<', \undef, '>', \$stdout, '2>', \$stderr) ? 1 : 0;
}

my $request = event();
is_deeply([ entries($request) ], [ entry($request, $first) ], 'at first one secret signs');
ok(accepted($request, $first), 'and the library accepts it');

# the new one signs at once, and so does the old one
my $second = $t->sql("SELECT webhook.rotate_secret('s')");
isnt($second, $first, 'a rotation makes another secret');
$request = event();
is_deeply([ entries($request) ], [ entry($request, $second), entry($request, $first) ], 'both sign, the newest first');
ok(accepted($request, $second), 'a receiver that has the new one accepts it');
ok(accepted($request, $first),  'and one that has the old one');
ok(accepted($request, $_, 'svix'), 'with another library too') for $first, $second;

my $third = $t->sql("SELECT webhook.rotate_secret('s')");
$request = event();
is_deeply([ entries($request) ], [ map { entry($request, $_) } $third, $second, $first ], 'three overlap');
my $fourth = $t->sql("SELECT webhook.rotate_secret('s')");
$request = event();
is_deeply([ entries($request) ], [ map { entry($request, $_) } $fourth, $third, $second, $first ], 'four overlap');
my ($rc, undef, $stderr) = $t->node->psql($WebhookTest::DB, "SELECT webhook.rotate_secret('s')");
isnt($rc, 0, 'a fifth is refused');
like($stderr, qr/at most four live secrets/, 'and told why');
unlike($stderr, qr/whsec_/, 'without a secret in it');

# the old ones are ended at once
my $fifth = $t->sql("SELECT webhook.rotate_secret('s', overlap => '0')");
$request = event();
is_deeply([ entries($request) ], [ entry($request, $fifth) ], 'with an overlap of 0 the new one signs alone');
ok(accepted($request, $fifth),   'and is accepted');
ok(!accepted($request, $fourth), 'and the old one is refused');

# An overlap that passes while the worker has nothing to read the configuration again for.
my $sixth = $t->sql("SELECT webhook.rotate_secret('s', overlap => '3 seconds')");
my $until = $t->sql('SELECT max(expires_at) FROM webhook.secret');
$request = event();
is_deeply([ entries($request) ], [ entry($request, $sixth), entry($request, $fifth) ], 'a short overlap: both sign');
$t->poll_sql('the overlap has passed', "SELECT clock_timestamp() > '$until'");
is($t->sql('SELECT count(*) FROM webhook.secret'), 2, 'nothing has been changed since');
$request = event();
is_deeply([ entries($request) ], [ entry($request, $sixth) ], 'when it has passed the new one signs alone');
ok(!accepted($request, $fifth), 'and the old one is refused');

# dates as far as they go stop nothing
$t->sql("UPDATE webhook.secret SET expires_at = expires_at - interval '1 hour' WHERE expires_at IS NOT NULL");
for my $date ('infinity', '294276-12-31 23:59:59.999999+00')
{
	$t->sql("UPDATE webhook.secret SET expires_at = '$date' WHERE expires_at IS NULL OR expires_at > now()");
	$request = event();
	is_deeply([ entries($request) ], [ entry($request, $sixth) ], "a secret that expires at $date signs");
}

# a retry is signed with what is live then; and a new secret makes it due at once, as the old one may have been the reason
$r->mode('/ok', '/fail-first/1');
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}' WHERE name = 's'");
my $before = $r->count;
$t->sql('INSERT INTO item DEFAULT VALUES');
$r->wait_for_requests($before + 1);
$t->poll_sql('it waits for its retry', "SELECT count(*) FROM webhook.pending WHERE state = 'retry' AND next_attempt_at > clock_timestamp() + interval '30 min'", 1);
my $seventh = $t->sql("SELECT webhook.rotate_secret('s', overlap => '0')");
$r->wait_for_requests($before + 2);
my @both = ($r->requests)[ $before, $before + 1 ];
is($both[0]{headers}{'webhook-id'}, $both[1]{headers}{'webhook-id'}, 'an event is sent twice');
ok(accepted($both[0], $sixth),   'the first time with the secret that was live then');
ok(accepted($both[1], $seventh), 'the second time with the one that is live now');

# each dialect, and two of one's own: with ed25519, and with HMAC-SHA1
$t->wait_until_settled;
$t->sql(<<'SQL');
SELECT webhook.unsubscribe('s');
SELECT webhook.copy_profile('standard', 'standard_v1a');
UPDATE webhook.profile SET signature_algorithm = 'ed25519', signature_format = 'v1a,{signature}' WHERE name = 'standard_v1a';
SELECT webhook.copy_profile('github', 'github_sha1');
UPDATE webhook.profile SET signature_algorithm = 'hmac-sha1', signature_header = 'X-Hub-Signature', signature_format = 'sha1={signature}' WHERE name = 'github_sha1';
SQL
my $params   = '{"project_id": "6be93f7a-2d5f-4d55-9b1c-3a8d4b6ef0a1", "event_types": {"item.new": "registration"}, "game_id": "gm_1"}';
my @profiles = split /\n/, $t->sql('SELECT name FROM webhook.profile ORDER BY name');
my %several  = map { $_ => 1 } split /\n/, $t->sql('SELECT name FROM webhook.profile WHERE signature_separator IS NOT NULL');
is_deeply([ grep { !$several{$_} } @profiles ], [qw(aghanim github github_sha1 xsolla)], 'these have room for one signature');
my %old = map { $_ => $t->sql("SELECT webhook.subscribe('$_', '" . $r->url("/dialect/$_") . "', '{item.new}', profile => '$_', params => '$params')") } @profiles;

# Of one event, what the receiver of each profile gets.
sub requests_of_an_event
{
	my ($n) = @_;
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$r->wait_for_requests($n, "/dialect/$_") for @profiles;
	return map { $_ => ($r->requests("/dialect/$_"))[ $n - 1 ] } @profiles;
}

# The receiver's library, or for want of one Perl's own, says 'accepted' or 'refused'.
sub says
{
	my ($profile, $request, $secret) = @_;
	my $yes =
	    $profile eq 'github_sha1'
	  ? $request->{headers}{'x-hub-signature'} eq 'sha1=' . hmac_sha1_hex($request->{body}, $secret)
	  : accepted($request, $secret, $profile);
	return $yes ? 'accepted' : 'refused';
}

my %of = requests_of_an_event(1);
is(says($_, $of{$_}, $old{$_}), 'accepted', "$_: one secret signs") for @profiles;
my %new = map { $_ => $t->sql("SELECT webhook.rotate_secret('$_')") } @profiles;
%of = requests_of_an_event(2);
for (@profiles)
{
	is(says($_, $of{$_}, $old{$_}), 'accepted', "$_: while two overlap, a receiver that has the old one accepts it");
	is(says($_, $of{$_}, $new{$_}), $several{$_} ? 'accepted' : 'refused', "$_: with the new one it is " . ($several{$_} ? 'too' : 'not yet'));
}
$t->sql('UPDATE webhook.secret SET expires_at = clock_timestamp() WHERE expires_at IS NOT NULL');
%of = requests_of_an_event(3);
for (@profiles)
{
	is(says($_, $of{$_}, $old{$_}), 'refused',  "$_: when the old one has expired, it signs no more");
	is(says($_, $of{$_}, $new{$_}), 'accepted', "$_: the new one does");
}

$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.attempt WHERE outcome NOT IN ('delivered', 'server_error')"), 0, 'no request failed for its signature');
$t->stop;
done_testing();

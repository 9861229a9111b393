# The promise: a token is the rights of one role, for one transaction at a time, until it is revoked
# or expires; only its SHA-256 is kept; and programs register webhooks as they do at Xsolla.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Digest::SHA qw(sha256_hex);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookConsole;
use WebhookTest;

my $c  = WebhookConsole->new;
my $t  = $c->t;
my $op = $c->person('op');
my $r  = $t->receiver;
$t->subscribe('s', $r->url('/ok/s'));

sub with { my ($token, @request) = @_; return $c->ask(@request[ 0, 1 ], $request[2], Authorization => "Bearer $token", Origin => undef) }

my ($status, $made) = $op->ask('POST', '/api/tokens', { name => 'ci', role => 'op' });
my $token = $made->{token};
like($token, qr/^whk_[0-9a-f]{64}$/, 'a token is made');
is($t->sql("SELECT encode(digest, 'hex') FROM webhook.api_token"), sha256_hex($token), 'its SHA-256 is kept');
is((with($token, 'GET', '/api/subscriptions'))[0], 200, 'it reads');
is((with($token, 'POST', '/api/subscriptions/s/pause', {}))[1]{state_reason}, 'paused by op', 'it writes, as its role');
is($t->sql("SELECT concat_ws(' ', role, login, via, object) FROM webhook.audit ORDER BY id DESC LIMIT 1"), 'op service api s', '... which is noted');
is((with($token, 'POST', '/api/subscriptions/s/resume', {}))[0], 200, '... again');
my (undef, $test) = with($token, 'POST', '/api/subscriptions/s/test', {});
is($test->{http_status}, 200, 'it tests');
is($test->{attempt}{outcome}, 'delivered', '... and gets the attempt');
is((with($token, 'GET', '/api/sources'))[0], 200, 'after a procedure the connection is as before');
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgwebhook api' AND usename <> 'service'"), 0, '... and the service\'s own');

# nobody else's rights
is((with($token, 'POST', '/api/sources', { source => 'public.users' }))[0], 403, 'an operator\'s token does not watch');
is((with($_, 'GET', '/api/worker'))[0], 401, 'no token: ' . substr $_, 0, 12) for 'x', '', $token . 'x', uc $token, substr($token, 0, -1), sha256_hex($token);
is(($op->ask('POST', '/api/tokens', { name => 'x', role => $_ }))[0], 403, "an operator makes no token of $_") for 'boss', 'watcher', 'viewer', 'none';
is(($op->ask('POST', '/api/tokens', { name => 'ci', role => 'op' }))[0], 409, 'nor one of a name that is taken');
is(($op->ask('POST', '/api/tokens', { name => 'x', role => 'op', expires_at => '2020-01-01' }))[0], 422, 'nor one that has expired');
$t->sql("SELECT FROM webhook.create_api_token('viewers', 'viewer')");
is(join(',', map { $_->{name} } @{ ($op->ask('GET', '/api/tokens'))[1]{items} }), 'ci', 'an operator sees only tokens of roles that it is a member of');
is(($op->ask('DELETE', '/api/tokens/viewers'))[0], 404, '... and revokes no other');
my $boss = $t->sql("ALTER ROLE boss NOSUPERUSER; SELECT webhook.create_api_token('boss', 'boss'); ALTER ROLE boss SUPERUSER") =~ s/\s//gr;
is((with($boss, 'GET', '/api/worker'))[0], 401, 'a token whose role has become a superuser is refused');
is((with($token, 'GET', '/api/subscriptions', undef))[0], 200, 'a read');
$t->sql("UPDATE webhook.api_token SET expires_at = now() WHERE name = 'ci'");
is((with($token, 'GET', '/api/worker'))[0], 401, 'a token expires');
$t->sql("UPDATE webhook.api_token SET expires_at = now() + '1 day' WHERE name = 'ci'");
is((with($token, 'GET', '/api/worker'))[0], 200, '... not before');
isnt($t->sql("SELECT last_used_at FROM webhook.api_token WHERE name = 'ci'"), '', 'when it was used is known');

# SHA-256 is ours: of every length around its blocks
for my $length (0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129)
{
	my $text = 'a' x $length;
	next if $length == 0;
	$t->sql("UPDATE webhook.api_token SET digest = sha256('$text') WHERE name = 'ci'");
	is((with($text, 'GET', '/api/worker'))[0], 200, "SHA-256 of $length bytes");
}
$t->sql("UPDATE webhook.api_token SET digest = sha256('$token') WHERE name = 'ci'");

#
# Xsolla's call
#
my $project = '0e2ba1b5-1e2f-4d6d-9a0c-6a2a4b0a1c11';
my $path    = "/projects/$project/events/registration/webhooks";
$t->sql(qq{SELECT FROM webhook.subscribe('project', 'https://127.0.0.1:1/', '{user.new}', 'xsolla', params => '{"project_id": "$project", "event_types": {"user.new": "registration"}}')});
($status, my $answer) = with($token, 'POST', $path, { url => $r->url('/ok/x') });
is($status, 200, 'a webhook is registered');
is_deeply($answer, {}, '... with {}');
is((with($token, 'POST', $path, { url => $r->url('/ok/x') }))[0], 200, 'twice');
is($t->sql("SELECT count(*) FROM webhook.subscription WHERE name LIKE 'xsolla %'"), 1, '... is as once');
$t->sql("INSERT INTO users VALUES (1, 'free')");
$r->wait_for_requests(1, '/ok/x');
my ($sent) = $r->requests('/ok/x');
like($sent->{body}, qr/"event_type":"registration".*"project_id":"$project"/, 'an event arrives there, as Xsolla has it');
is((with($token, 'POST', $path =~ s/registration/none/r, { url => $r->url('/ok/x') }))[0], 404, 'an unknown event');
is((with($token, 'POST', $path =~ s/0e2b/ffff/r, { url => $r->url('/ok/x') }))[0], 404, 'an unknown project');
is((with($token, 'POST', $path, { url => $_ }))[0], 422, 'a URL that is refused: ' . substr $_, 0, 40) for 'http://example.com/', 'https://10.0.0.1/', 'nonsense', 'https://example.com/' . 'x' x 500;
is((with($token, 'POST', $path, {}))[0], 422, 'no URL');
is((with('x', 'POST', $path, { url => $r->url('/ok/x') }))[0], 401, 'no token');
$t->sql(qq{SELECT FROM generate_series(1, 99) g, webhook.subscribe(format('xsolla $project registration %s', g), 'https://127.0.0.1:1/' || g, '{user.new}', 'xsolla', params => '{"project_id": "$project", "event_types": {"user.new": "registration"}}')});
is((with($token, 'POST', $path, { url => $r->url('/ok/y') }))[0], 429, 'one more than a hundred');

# revoked, and away
is(($op->ask('DELETE', '/api/tokens/ci'))[0], 200, 'it is revoked');
is((with($token, 'GET', '/api/worker'))[0], 401, '... at once');
unlike(slurp_file($t->node->logfile), qr/\Q$token\E/, 'the server\'s log has not seen it');
unlike($c->log, qr/\Q$token\E/, '... nor has ours');

# machines
is(($c->ask('GET', '/healthz'))[0], 200, '/healthz');
is(($c->ask('GET', '/readyz'))[0], 200, '/readyz, while the worker runs');
is(($c->ask('GET', '/metrics'))[0], 403, '/metrics, of a role that is no viewer');
$t->sql("SELECT webhook.grant_viewer('service')");
my ($scraped, $metrics, $as) = $c->ask('GET', '/metrics');
is($scraped, 200, '... and of one that is');
like($as->{'content-type'}[0], qr{^application/openmetrics-text; version=1\.0\.0}, '... as Prometheus reads it');
like($metrics, qr/^webhook_worker_up 1\n.*^# EOF\n?\z/ms, '... as the extension tells them');
$t->sql("UPDATE webhook.identity SET system_identifier = 1");
poll_until('/readyz tells that the worker is suspended', sub { my ($code, $why) = $c->ask('GET', '/readyz'); $code == 503 && ($why->{worker} // '') eq 'suspended' });
is(($c->ask('GET', '/healthz'))[0], 200, '... and /healthz that the program is alive');
$t->node->restart;
poll_until('it finds the server again', sub { ($c->ask('GET', '/readyz'))[1]{worker} });
my (undef, $document) = $c->ask('GET', '/api/openapi.json');
is($document->{openapi}, '3.1.0', 'the OpenAPI document');
is_deeply([ sort map { my $p = $_; map { uc($_) . " $p" } keys %{ $document->{paths}{$p} } } keys %{ $document->{paths} } ],
	[ sort map { my $route = JSON::PP->new->decode($_); "$route->{method} $route->{path}" } split /\n/, `$ENV{PGWEBHOOK} routes` ], '... has every route');

$c->stop;
done_testing();

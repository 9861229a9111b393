# The promise: endpoints with demands are met. Client certificates, an authority
# of their own, basic, bearer and further headers, a forward proxy, OAuth 2
# tokens: each against a server that insists on it, and none of these secrets
# is seen anywhere.
#
# Servers: nginx (certificates, headers, plain HTTP through a proxy) and two of
# test/receiver (proxy.mjs for tunnels, oauth.mjs for tokens).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $dir = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my %started;    # name -> { pid, alive, dir }: all that this test has started

# A program that ends with its standard input, of which we alone hold the other end.
sub start_server
{
	my ($name, @command) = @_;
	my $s = $started{$name} = { dir => "$dir/$name" };
	mkdir $s->{dir};
	$s->{pid} = open($s->{alive}, '|-', 'sh', '-c', 'exec "$@" >"$0" 2>&1', "$s->{dir}/output", @command)
	  or die "could not start $name: $!";
	return $s;
}

sub start_node
{
	my ($name, @args) = @_;
	my $s = start_server($name, 'node', "$FindBin::RealBin/../receiver/$name.mjs", '--dir', "$dir/$name", @args);
	poll_until("$name listens", sub { -s "$s->{dir}/ready" });
	$s->{port} = JSON::PP::decode_json(slurp_file("$s->{dir}/ready"))->{port};
	return $s;
}

END
{
	local $?;
	kill 'TERM', map { $_->{pid} } values %started;
	close $_->{alive} for values %started;    # waits for it
}

sub lines_of
{
	my ($file) = @_;
	return -e $file ? split /\n/, slurp_file($file) : ();
}

#
# An authority of our own, which nobody else knows, and a client's certificate by it
#
my $corp = "$dir/corp";
system_or_bail('bash', "$FindBin::RealBin/../receiver/certs.sh", $corp);
for my $name ('client', 'stranger')
{
	system_or_bail('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', "/CN=$name",
		'-keyout', "$corp/$name.key", '-out', "$corp/$name.csr");
	system_or_bail('openssl', 'x509', '-req', '-in', "$corp/$name.csr", '-CA', "$corp/ca.pem", '-CAkey', "$corp/ca.key", '-CAcreateserial',
		'-days', '2', '-out', "$corp/$name.pem");
}
my %pem = map { $_ => slurp_file("$corp/$_") } 'ca.pem', 'client.pem', 'client.key', 'stranger.pem', 'stranger.key';

#
# nginx: one endpoint insists on a client certificate, one does not mind, one is
# plain, and one is a forward proxy
#
my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } 'mtls', 'either', 'plain', 'forward';
my $tls = "ssl_certificate $corp/server.pem; ssl_certificate_key $corp/server.key; ssl_client_certificate $corp/ca.pem;";
mkdir "$dir/nginx";
append_to_file("$dir/nginx/conf", <<CONF);
daemon off;
pid $dir/nginx/pid;
error_log $dir/nginx/error;
events { }
http {
	log_format fact '\$server_port \$status \$ssl_client_verify "\$ssl_client_s_dn" \$connection "\$http_authorization" "\$http_x_api_key" "\$request_uri"';
	access_log $dir/nginx/log fact;
	client_body_temp_path $dir/nginx/t1;
	proxy_temp_path $dir/nginx/t2;
	fastcgi_temp_path $dir/nginx/t3;
	uwsgi_temp_path $dir/nginx/t4;
	scgi_temp_path $dir/nginx/t5;
	server { listen 127.0.0.1:$port{mtls} ssl; $tls ssl_verify_client on; location / { return 200 "ok"; } }
	server { listen 127.0.0.1:$port{either} ssl; $tls ssl_verify_client optional; location / { return 200 "ok"; } }
	server { listen 127.0.0.1:$port{plain}; location / { return 200 "ok"; } }
	server { listen 127.0.0.1:$port{forward}; location / { proxy_pass http://\$http_host\$request_uri; } }
}
CONF
my ($binary) = grep { -x } '/usr/sbin/nginx', '/usr/bin/nginx';
start_server('nginx', $binary // 'nginx', '-p', "$dir/nginx", '-e', "$dir/nginx/error", '-c', "$dir/nginx/conf");
poll_until('nginx listens', sub { HTTP::Tiny->new->post("http://127.0.0.1:$port{plain}/ready")->{success} });

# What nginx has noted of requests to one of its ports: hashes, in order.
sub noted
{
	my ($name) = @_;
	return map {
		/^(\d+) (\d+) (\S+) "(.*?)" (\d+) "(.*?)" "(.*?)" "(.*?)"$/ && $1 == $port{$name}
		  ? { status => $2, verify => $3, subject => $4, connection => $5, authorization => $6, key => $7, uri => $8 }
		  : ()
	} lines_of("$dir/nginx/log");
}

#
# The database
#
my $keys = "$dir/keys";
append_to_file($keys, 'k1 ' . encode_base64(join('', map { chr(rand 256) } 1 .. 32), '') . "\n");
chmod 0600, $keys;
my $t = WebhookTest->new(
	preload => 'pg_stat_statements,webhook',
	conf    => <<CONF);
webhook.poll_interval = '30s'
webhook.key_file = '$keys'
webhook.allow_http = on
log_min_messages = debug5
log_min_error_statement = panic
pg_stat_statements.track = all
CONF
my $node = $t->node;
$t->sql('CREATE EXTENSION pg_stat_statements; CREATE TABLE item (id serial PRIMARY KEY)');
$t->watch('item');

sub set
{
	my ($subscription, %values) = @_;
	my $calls = join ', ',
	  map { "webhook.set_credential('$subscription', '$_', " . (defined $values{$_} ? "\$v\$$values{$_}\$v\$" : 'NULL') . ')' } sort keys %values;
	$t->sql("SELECT $calls");
	return;
}

# How a test event of this subscription ends: its status, and what was said.
sub sent
{
	my ($subscription) = @_;
	return $t->sql("CALL webhook.test('$subscription')");
}

# -- an authority of its own, and a client's certificate

my $mtls = "https://localhost:$port{mtls}/";
$t->subscribe('mtls', $mtls, state => "'inactive'");
like(sent('mtls'), qr/^\|tls_unknown_ca/, 'an authority that nobody knows is not trusted');
set('mtls', ca => $pem{'ca.pem'});
like(sent('mtls'), qr/^400\|bad_request/, 'with its own authority a subscription gets as far as being asked for a certificate');
set('mtls', client_certificate => $pem{'client.pem'}, client_key => $pem{'client.key'});
is(sent('mtls'), '200|', 'and with a client certificate it is let in');
is((noted('mtls'))[-1]{subject}, 'CN=client', 'as that client');
set('mtls', client_certificate => $pem{'stranger.pem'}, client_key => $pem{'stranger.key'});
is(sent('mtls'), '200|', 'another certificate takes its place at once');
is((noted('mtls'))[-1]{subject}, 'CN=stranger', 'and is not sent over a connection that was made with the one before');
set('mtls', client_certificate => $pem{'client.pem'}, client_key => $pem{'client.key'});

my $r = $t->receiver(args => ['--no-http2']);
$t->subscribe('known', $r->url('/ok/known'), state => "'inactive'");
is(sent('known'), '200|', 'other subscriptions trust webhook.ca_file as before');
set('known', ca => $pem{'ca.pem'});
like(sent('known'), qr/^\|tls_unknown_ca/, 'an authority of its own is the only one that a subscription trusts, also where a connection is open');
set('known', ca => undef);
$t->subscribe('unknown', $mtls, state => "'inactive'");
like(sent('unknown'), qr/^\|tls_unknown_ca/, 'and is trusted by no other');

# a connection belongs to who proved himself on it
my $either = "https://localhost:$port{either}/";
for my $name ('with', 'without')
{
	$t->subscribe($name, $either, state => "'inactive'");
	set($name, ca => $pem{'ca.pem'});
}
set('with', client_certificate => $pem{'client.pem'}, client_key => $pem{'client.key'});
for my $name (qw(with without with without))
{
	is(sent($name), '200|', "$name a certificate");
}
my @either = noted('either');
is(join(' ', map { $_->{verify} } @either), 'SUCCESS NONE SUCCESS NONE', 'a request without a certificate goes over no connection made with one');
ok($either[0]{connection} == $either[2]{connection} && $either[1]{connection} == $either[3]{connection}, 'and each has a connection that is used again');

# -- headers

my $plain = "http://127.0.0.1:$port{plain}/";
my %value = (password => 'open-sesame-4711', token => 'bearer-token-0815', key => 'api-key-1234567');
$t->subscribe('headers', $plain, state => "'inactive'");
for my $case ([ basic => "aladdin:$value{password}", 'Basic ' . encode_base64("aladdin:$value{password}", '') ], [ bearer => $value{token}, "Bearer $value{token}" ])
{
	my ($kind, $secret, $header) = @$case;
	set('headers', $kind => $secret, 'header:X-Api-Key' => $value{key});
	is(sent('headers'), '200|', "$kind: delivered");
	is((noted('plain'))[-1]{authorization}, $header, "$kind: Authorization is sent");
	is((noted('plain'))[-1]{key}, $value{key}, 'and so is a header of its own');
	set('headers', $kind => undef);
}
is(sent('headers'), '200|', 'removed');
is((noted('plain'))[-1]{authorization}, '-', 'it is not sent any more');

# -- a forward proxy

$t->subscribe('forward', $plain . 'through', state => "'inactive'");
set('forward', proxy => "http://127.0.0.1:$port{forward}");
is(sent('forward'), '200|', 'plain HTTP goes through a proxy');
is((noted('forward'))[-1]{uri}, '/through', 'which has seen it');

$value{proxy} = 'proxy-password-99';
my $proxy = start_node('proxy', '--user', 'me', '--password', $value{proxy});
for my $name ('tunnel', 'intruder')
{
	$t->subscribe($name, $r->url("/ok/$name"), state => "'inactive'");
}
set('tunnel', proxy => "http://me:$value{proxy}\@127.0.0.1:$proxy->{port}", bearer => $value{token});
set('intruder', proxy => "http://me:wrong\@127.0.0.1:$proxy->{port}");
is(sent('tunnel'), '200|', 'HTTPS goes through a tunnel');
my @tunnels = lines_of("$proxy->{dir}/log");
like($tunnels[-1], qr/^200 localhost:$r->{port} /, 'to where the URL says');
unlike($tunnels[-1], qr/[ ,]authorization|webhook/, 'of which the proxy sees no header that is for the endpoint');
is((grep { $_->{path} eq '/ok/tunnel' } $r->requests)[-1]{headers}{authorization}, "Bearer $value{token}", 'the endpoint does');
like(sent('intruder'), qr/^\|proxy/, 'another password does not get through the tunnel that the right one has opened');
like((lines_of("$proxy->{dir}/log"))[-1], qr/^407 /, 'because the proxy was asked');
set('intruder', proxy => undef);
is(sent('intruder'), '200|', 'without a proxy it goes straight');

# -- OAuth 2

$value{client} = 'client-secret:+&31415';
my $oauth = start_node('oauth', '--client', 'my client', '--secret', $value{client});
my $api = "http://127.0.0.1:$oauth->{port}";

sub steer { HTTP::Tiny->new->post("$api/_control", { content => JSON::PP::encode_json({@_}) })->{success} or die; return }
sub oauth_log { return lines_of("$oauth->{dir}/log") }

$t->subscribe('oauth', "$api/api", retry_schedule => "'{200ms}'");
set('oauth', oauth2 => JSON::PP::encode_json({ token_url => "$api/token", client_id => 'my client', client_secret => $value{client}, scope => 'events' }));
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 30)');
$t->wait_until_settled;
is(scalar(grep { m{^/api 200} } oauth_log()), 30, 'OAuth 2: everything is delivered');
is(scalar(grep { m{^/token} } oauth_log()), 1, 'with one token');
steer(revoke => JSON::PP::true);
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 30)');
$t->wait_until_settled;
is(scalar(grep { m{^/api 200} } oauth_log()), 60, 'a token that was revoked is replaced');
is(scalar(grep { m{^/token} } oauth_log()), 2, 'by one other');
is($t->sql("SELECT DISTINCT outcome, attempt_number FROM webhook.log WHERE subscription = 'oauth'"), 'delivered|1', 'and nobody is told of a failure');
steer(life => 2, revoke => JSON::PP::true);
my $refused = grep { m{^/api 401} } oauth_log();
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->wait_until_settled;
poll_until('tokens grow old', sub {
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->wait_until_settled;
	return (grep { m{^/token 200} } oauth_log()) >= 5;
});
is((grep { m{^/api 401} } oauth_log()) - $refused, 1, 'a token is replaced before it has grown old: only the one revoked was refused');
steer(down => JSON::PP::true, revoke => JSON::PP::true);
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->poll_sql('without a token it is kept', "SELECT count(*) > 0 FROM webhook.log WHERE outcome = 'oauth'");
is( $t->sql("SELECT DISTINCT http_status, error FROM webhook.log WHERE outcome = 'oauth'"), '|the token endpoint answered with status 503',
	'and the log says that it was the token that could not be had');
steer(down => JSON::PP::false, life => 3600);
$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.dead_letter"), 0, 'when it can be had, it is delivered');
is($t->sql("SELECT count(DISTINCT event_number) = (SELECT count(*) FROM item) FROM webhook.log WHERE subscription = 'oauth' AND outcome = 'delivered'"), 't', 'all of it');
set('oauth', oauth2 => JSON::PP::encode_json({ token_url => "$api/token", client_id => 'my client', client_secret => 'wrong', scope => 'events' }));
like(sent('oauth'), qr/^\|oauth: the token endpoint answered with status 401: invalid_client/, 'a wrong client is told');
$t->sql("SELECT webhook.pause('oauth')");

# -- what is refused when it is saved

my $fine = JSON::PP::encode_json({ token_url => "$api/token", client_id => 'i', client_secret => $value{client} });
for my $case (
	[ 'bearer', "$value{token} ",                    qr/invalid credential "bearer"/ ],
	[ 'basic',  $value{password},                    qr/invalid credential "basic"/ ],
	[ $value{token}, 'bearer',                       qr/unknown kind of credential/ ],
	[ 'header:X-Key: ' . $value{key}, 'x',           qr/invalid header credential/ ],
	[ 'header:Host', $value{key},                    qr/invalid header credential.*sets this header itself/s ],
	[ 'client_key', substr($pem{'client.key'}, 0, 90), qr/invalid credential "client_key".*not a private key/s ],
	[ 'ca', "$pem{'client.key'}",                    qr/invalid credential "ca".*does not consist of certificates/s ],
	[ 'client_key', $pem{'client.key'},              qr/needs both client_certificate and client_key/ ],
	[ 'proxy', "http://me:$value{proxy}\@10.1.2.3:80", qr/address of the proxy is not allowed/ ],
	[ 'proxy', "http://me:$value{proxy}\@proxy",     qr/invalid credential "proxy".*host and a port/s ],
	[ 'proxy', "http://me:$value{proxy}%1Cab\@127.0.0.1:80", qr/invalid credential "proxy".*written %25/s ],
	[ 'oauth2', "{$value{client}",                   qr/invalid credential "oauth2"/ ],
	[ 'oauth2', $fine =~ s/client_id/client/r,       qr/invalid credential "oauth2"/ ],
	[ 'oauth2', $fine =~ s/\{/{"auth": "mtls", /r, qr/invalid credential "oauth2".*basic or post/s ],
	[ 'oauth2', $fine =~ s/127\.0\.0\.1/10.1.2.3/r,  qr/address of the endpoint is not allowed/ ])
{
	my ($kind, $secret, $error) = @$case;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.set_credential('headers', \$k\$$kind\$k\$, \$v\$$secret\$v\$)");
	like($err, $error, "refused: $error");
	ok(!(grep { index($err, $_) >= 0 } values %value, substr($pem{'client.key'}, 60, 40)), 'and not quoted');
}
my ($rc, $out, $err) = $node->psql('postgres',
	"SELECT webhook.set_credential('headers', 'client_certificate', '$pem{'client.pem'}'), webhook.set_credential('headers', 'client_key', '$pem{'stranger.key'}')");
like($err, qr/invalid credential "client_key".*not that of the first certificate/s, 'refused: a key of another certificate');
for my $case (
	[ q{UPDATE webhook.subscription SET headers = '{"authorization": "x"}' WHERE name = 'tunnel'}, 'one of the subscription' ],
	[ q{UPDATE webhook.subscription SET profile = 'xsolla', events = '{item.new}', params = '{"project_id": "0d5f1f2e-0000-4000-8000-000000000000", "event_types": {"item.new": "registration"}}' WHERE name = 'tunnel'}, 'one of its profile' ],
	[ q{SELECT webhook.set_credential('tunnel', 'basic', 'user:password')}, 'another credential' ],
	[ q{SELECT webhook.set_credential('tunnel', 'header:AUTHORIZATION', 'x')}, 'a header by name' ])
{
	my ($statement, $name) = @$case;
	($rc, $out, $err) = $node->psql('postgres', $statement);
	like($err, qr/would send the request header "authorization" twice/, "refused: Authorization twice, $name");
}

($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.set_credential('headers', 'barer', NULL)");
like($err, qr/unknown kind of credential/, 'refused: to remove one of a kind that there is not');

# two transactions, of which neither sees what the other has set
my @both = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
$_->query_safe("SET lock_timeout = '100ms'; BEGIN") for @both;
$both[0]->query_safe("SELECT webhook.set_credential('headers', 'basic', 'user:$value{password}')");
$both[1]->query("SELECT webhook.set_credential('headers', 'bearer', '$value{token}')");    # has to wait for that
$both[0]->query_safe('SET CONSTRAINTS ALL IMMEDIATE');    # what is looked at when it commits, looked at before
$both[1]->query('COMMIT');
$both[0]->query_safe('COMMIT');
$_->quit for @both;
is($t->sql("SELECT string_agg(kind, ' ') FROM webhook.credential c JOIN webhook.subscription s ON s.id = c.subscription_id AND s.name = 'headers' WHERE kind IN ('basic', 'bearer')"),
	'basic', 'refused: what another transaction has set meanwhile does not go with it');

# -- secrets

is($t->sql("SELECT bool_and(value LIKE 'sealed:k1:%') AND count(*) > 8 FROM webhook.credential"), 't', 'all of them are sealed');
is($t->sql('SELECT webhook.reseal() = (SELECT count(*) FROM webhook.credential) + (SELECT count(*) FROM webhook.secret)'), 't', 'and can be sealed anew');
is(sent('mtls'), '200|', 'after which they are what they were');
$node->append_conf('postgresql.conf', "webhook.allowed_networks = ''\n");
$node->reload;
$t->poll_sql('the proxies may not be dialled any more', "SELECT current_setting('webhook.allowed_networks') = ''");
is($t->sql('SELECT webhook.reseal() > 0'), 't', 'also where a rule that came later would refuse one of them');
$value{$_}                = $pem{$_} =~ s/.*-----\n(.{40}).*/$1/sr for 'client.key', 'stranger.key';
$value{"issued token $_"} = (map { m{^/token 200 (\S+)} } oauth_log())[$_] for 0, 1;
my %seen = (
	'the server\'s log' => slurp_file($node->logfile),
	pg_stat_statements  => $t->sql('SELECT query FROM pg_stat_statements'),
	views               => $t->sql(<<'SQL'));
SELECT pg_get_triggerdef(oid) FROM pg_trigger UNION ALL SELECT setting FROM pg_settings UNION ALL SELECT query FROM pg_stat_activity UNION ALL
SELECT s::text FROM webhook.status s UNION ALL SELECT l::text FROM webhook.log l UNION ALL SELECT p::text FROM webhook.pending p
SQL
$seen{'a dump'} = '';
IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres') ], '>', \$seen{'a dump'}) or die 'pg_dump failed';
like($seen{'a dump'}, qr/\tclient_key\tsealed:k1:/, 'a dump has them sealed');
for my $where (sort keys %seen)
{
	is(join(' ', grep { index($seen{$where}, $value{$_}) >= 0 } sort keys %value), '', "none is in $where");
}
is( $t->sql(<<'SQL'), 'f', 'and nobody is granted anything');
SELECT has_table_privilege('public', 'webhook.credential', 'SELECT') OR has_function_privilege('public', 'webhook.set_credential(text, text, text)', 'EXECUTE')
SQL

$t->stop;
done_testing();

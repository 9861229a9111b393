# The promise: each profile speaks its receiver's dialect. What the worker sends
# is accepted by the receiver's own library, and nothing near it is; bodies and
# headers are those that the receivers' own documents show, key by key and type
# by type; what they call a failure is one. A profile is a row: docs/profiles.md
# shows it as it is stored, a change counts for the next request, one of one's
# own is dumped and restored, and the guide's works as it stands there.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex sha1_hex);
use FindBin;
use IPC::Run ();
use JSON::PP ();
use lib $FindBin::RealBin;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookDocs;
use WebhookTest;

my $root    = "$FindBin::RealBin/../..";
my $t       = WebhookTest->new(conf => "webhook.poll_interval = '200ms'\nintervalstyle = postgres\n");
my $r       = $t->receiver(args => ['--no-http2']);
my $json    = JSON::PP->new->canonical->allow_nonref; # of characters, as receivers record them
my $project = '6be93f7a-2d5f-4d55-9b1c-3a8d4b6ef0a1';
my %params  = (
	xsolla  => qq({"project_id": "$project", "event_types": {"user.new": "registration", "user.update": "email_confirmation", "user.delete": "link_social_account"}}),
	aghanim => '{"game_id": "gm_exTAyxPsVwh"}');
my %secret;
my $instance = $t->sql('SELECT instance FROM webhook.identity');

# subscribe_as(PROFILE, NAME, more arguments of webhook.subscribe): to /ok/NAME
sub subscribe_as
{
	my ($profile, $name, $more) = @_;
	my $params = $params{$profile} // '{}';
	$more = defined $more ? ", $more" : '';
	$secret{$name} = $t->sql("SELECT webhook.subscribe('$name', '" . $r->url("/ok/$name")
		  . "', profile => '$profile', params => '$params'$more)");
	return;
}

# Number, string, boolean or null: all of it is in the text.
sub same_json
{
	my ($got, $expected, $name) = @_;
	return is($json->encode($json->decode($got)), $json->encode($json->decode($expected)), $name);
}

# What the receiver's library makes of these requests: the exit status of profiles.mjs, and what it says.
sub judged
{
	my ($library, $secret, @requests) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/requests.jsonl';
	open my $out, '>:utf8', $file or die "$file: $!";
	print $out $json->encode($_), "\n" for @requests;
	close $out;
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'node', "$FindBin::RealBin/../receiver/profiles.mjs", $library, $file, $secret ],
		'<', \undef, '>', \$stdout, '2>', \$stderr);
	diag($stderr) if $stderr ne '';
	return $stdout;
}

# The n-th request at /ok/NAME, waited for; and the event it is about, as the outbox has it.
sub request
{
	my ($name, $n) = @_;
	$r->wait_for_requests($n, "/ok/$name");
	return ($r->requests("/ok/$name"))[ $n - 1 ];
}

# Does webhook.verify accept a request, with this body in place of its own?
sub verified
{
	my ($profile, $secret, $request, $body) = @_;
	my ($headers, $sent) = map { my $s = $_; utf8::encode($s); $s } $json->encode($request->{headers}), $body // $request->{body};
	return $t->sql("SELECT webhook.verify('$profile', '$secret', \$h\$$headers\$h\$, \$b\$$sent\$b\$)");
}

sub event
{
	my ($condition) = @_;
	my ($id, $unix, $iso, $xid) = split /\|/, $t->sql(<<SQL);
SELECT event_number, floor(extract(epoch FROM created_at)), to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), xid
FROM webhook.outbox WHERE $condition
SQL
	return { id => $id, unix => $unix, iso => $iso, xid => $xid };
}

subtest 'docs/profiles.md shows the rows as they are stored' => sub {
	my $docs = slurp_file("$root/docs/profiles.md");
	$t->sql("INSERT INTO webhook.profile (name, description, envelope) VALUES ('plain', '', '{}')");
	my $rows = $t->sql(<<'SQL');
SELECT p.name, jsonb_build_object('envelopes', jsonb_build_array(p.envelope::jsonb, p.batch_envelope::jsonb),
	'lines', (SELECT array_agg(l ORDER BY l COLLATE "C") FROM (
		SELECT 'header ' || h.key || ': ' || h.value FROM jsonb_each_text(p.headers) h
		UNION ALL
		SELECT c.key || ' ' || CASE WHEN c.key = 'signature_separator' THEN to_json(c.value)::text
				WHEN c.key = 'failure_fields' THEN p.failure_fields::text WHEN c.key = 'retry_schedule' THEN p.retry_schedule::text ELSE c.value END
			FROM jsonb_each_text(to_jsonb(p)) c
			WHERE c.key NOT IN ('name', 'description', 'builtin', 'envelope', 'batch_envelope', 'headers')
				AND to_jsonb(p) -> c.key <> (SELECT to_jsonb(d) -> c.key FROM webhook.profile d WHERE d.name = 'plain')) x(l)))
FROM webhook.profile p WHERE p.builtin ORDER BY p.name
SQL
	my @names;
	for (split /\n/, $rows)
	{
		my ($name, $stored) = split /\|/, $_, 2;
		push @names, $name;
		$stored = $json->decode($stored);
		my ($section) = $docs =~ /^### `$name`\n(.*?)(?=^##|\z)/ms;
		ok(defined $section, "$name is there") or next;
		my @envelopes = $section =~ /^```json\n(.*?)^```/gms;
		my ($text) = $section =~ /^```text\n(.*?)^```/ms;
		is($json->encode($json->decode($envelopes[0])), $json->encode($stored->{envelopes}[0]), "$name: its envelope");
		is(defined $envelopes[1] ? $json->encode($json->decode($envelopes[1])) : 'null',
			$json->encode($stored->{envelopes}[1]), "$name: its batch_envelope");
		my @lines = sort map { s/^(\w+) +/$1 /r } split /\n/, $text;
		is_deeply(\@lines, $stored->{lines}, "$name: its other columns");
	}
	is_deeply([ sort $docs =~ /^### `(\w+)`$/mg ], \@names, 'and no others');
	my @columns = map { split /`, `/ } ($docs =~ /## Columns\n(.*?)\n\n\S/s)[0] =~ /^\| `(.*?)` \|/mg;
	is_deeply([ sort @columns ],
		[ split /\n/, $t->sql("SELECT attname FROM pg_attribute WHERE attrelid = 'webhook.profile'::regclass AND attnum > 0 ORDER BY attname COLLATE \"C\"") ],
		'it lists all columns');
};

subtest 'the receivers\' own libraries accept what is sent, and nothing near it' => sub {
	$t->sql('CREATE TABLE users (id bigint PRIMARY KEY, name text, tags text[], paid boolean, extra jsonb)');
	$t->watch('users', entity_type => "'user'", keep_previous => 'true');
	my @profiles = split /\n/, $t->sql('SELECT name FROM webhook.profile WHERE builtin ORDER BY name');
	# Xsolla's asks for each event by name, as nothing may be sent that its page has no type for
	subscribe_as($_, $_, "events => '{" . ($_ eq 'xsolla' ? 'user.new,user.update,user.delete' : 'user.*') . "}'") for @profiles;
	$t->sql("INSERT INTO users VALUES (42, 'Jürgen \"J\"', '{a,b}', true, '{\"n\": 1e3}')");
	$t->sql("UPDATE users SET name = '', paid = NULL WHERE id = 42");
	$t->sql('DELETE FROM users');
	for my $profile (@profiles)
	{
		$r->wait_for_requests(3, "/ok/$profile");
		my @requests = $r->requests("/ok/$profile");
		for my $library ($profile, $profile eq 'standard' ? 'svix' : ())
		{
			is(judged($library, $secret{$profile}, @requests),
				qq({"requests":3,"verified":3,"failed":0,"failures":[]}\n), "$profile, by $library");
		}
		is(join('', map { verified($profile, $secret{$profile}, $_) } @requests), 'ttt', "$profile, by webhook.verify");
		is(join('', map { verified($profile, $secret{$profile}, $_, "$_->{body} ") } @requests), 'fff', "$profile: which refuses another body");
		is_deeply([ map { $_->{method} } @requests ], [ ('POST') x 3 ], "$profile: by POST");
		like($requests[0]{headers}{'content-type'},
			$profile eq 'cloudevents' ? qr{^application/cloudevents\+json; charset=utf-8$} : qr{^application/json$}, "$profile: its content type");
	}
	# what is not in the bodies
	my @binary = $r->requests('/ok/cloudevents_binary');
	is_deeply([ map { $_->{headers}{'ce-type'} } @binary ], [ 'user.created', 'user.updated', 'user.deleted' ], 'CloudEvents: types');
	is_deeply([ map { $_->{headers}{'ce-subject'} } @binary ], [ ('user/42') x 3 ], 'CloudEvents: the subject');
	my @github = $r->requests('/ok/github');
	is_deeply([ map { $_->{headers}{'x-github-event'} } @github ], [ ('user') x 3 ], 'GitHub: the event\'s name');
	is_deeply([ map { $_->{headers}{'x-github-delivery'} } @github ],
		[ map { "evt_${instance}_$_" } split /\n/, $t->sql('SELECT event_number FROM webhook.outbox ORDER BY event_number') ], 'GitHub: the id of the delivery');
	my $changed = $json->decode(($r->requests('/ok/stripe'))[1]{body})->{data};
	is_deeply($changed->{previous_attributes}, { name => "J\x{fc}rgen \"J\"", paid => JSON::PP::true }, 'Stripe: previous_attributes');
	$t->wait_until_settled;
	is($t->sql("SELECT count(*) FROM webhook.attempt WHERE outcome <> 'delivered'"), 0, 'all were delivered at once');
	$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription");
};

subtest 'EventInsight: users and companies' => sub {
	$t->sql('CREATE TABLE company (id integer PRIMARY KEY, name text)');
	$t->watch('company');
	subscribe_as('entity', 'eventinsight', "events => '{user.*,company.*}'");
	$t->sql("INSERT INTO users VALUES (7, 'Ada', NULL, true, NULL)");
	$t->sql("INSERT INTO company VALUES (8, 'Acme')");
	$t->sql("UPDATE company SET name = 'Acme Ltd.'");
	$t->sql('DELETE FROM company');
	$r->wait_for_requests(4, '/ok/eventinsight');
	my %got = map { my $b = $json->decode($_->{body}); ("$b->{entity_type} $b->{action_type}" => $_->{body}) } $r->requests('/ok/eventinsight');
	same_json($got{'user new'}, '{"entity_id": "7", "entity_type": "user", "action_type": "new",
		"result": {"id": 7, "name": "Ada", "tags": null, "paid": true, "extra": null}}', 'new: the whole record');
	same_json($got{'company update'}, '{"entity_id": "8", "entity_type": "company", "action_type": "update",
		"result": {"id": 8, "name": "Acme Ltd."}}', 'update: its new value');
	same_json($got{'company delete'}, '{"entity_id": "8", "entity_type": "company", "action_type": "delete"}', 'delete: no result');
	$t->wait_until_settled;
	my $log = $t->sql("SELECT entity_id, action_type, outcome, http_status, response FROM webhook.log WHERE entity_type = 'company' ORDER BY started_at DESC LIMIT 10");
	is($log, "8|delete|delivered|200|ok\n\n8|update|delivered|200|ok\n\n8|new|delivered|200|ok\n", 'the log has the last requests');
};

subtest 'Website Toolbox: the user of its page' => sub {
	$t->sql(<<'SQL');
CREATE TABLE wt_user (signature text, name text, "allowEmails" boolean, "lastPostTimestamp" bigint, "userGroups" integer[], "userTitle" text,
	reputation integer, username text, "postCount" integer, "userId" integer PRIMARY KEY, "lastVisitTimestamp" bigint, "instantMessagingType" text,
	"instantMessagingId" text, invisible boolean, email text, "avatarUrl" text, "joinDateTimestamp" bigint, "enableMessages" boolean);
SQL
	$t->watch('wt_user', entity_type => "'user'");
	subscribe_as('website_toolbox', 'wt', "events => '{user.*}'");
	$t->sql(<<'SQL');
INSERT INTO wt_user VALUES ('Thanks, John.', 'John Doe', false, 0, '{7440,2452,52423}', 'Power User', 423, 'john', 32, 181855, 1322811119, '', '',
	false, 'johnDoe@gmail.com', 'https://test.com/images/avatar.png', 1322811119, true);
SQL
	my $event   = event("entity_id = '181855'");
	my $request = request('wt', 1);
	same_json($request->{body}, <<JSON, 'the event object, as its page shows it');
{"api_version": "1",
 "data": {"object": {"signature": "Thanks, John.", "name": "John Doe", "allowEmails": false, "lastPostTimestamp": 0,
   "userGroups": [7440, 2452, 52423], "userTitle": "Power User", "reputation": 423, "username": "john", "postCount": 32, "userId": 181855,
   "lastVisitTimestamp": 1322811119, "instantMessagingType": "", "instantMessagingId": "", "object": "User", "invisible": false,
   "email": "johnDoe\@gmail.com", "avatarUrl": "https://test.com/images/avatar.png", "joinDateTimestamp": 1322811119, "enableMessages": true}},
 "object": "event", "id": $event->{id}, "type": "user.created", "mode": "live"}
JSON
	is($request->{method}, 'POST', 'by POST');
	is($request->{headers}{'content-type'}, 'application/json', 'as JSON');
	# 2xx only, once an hour for up to 3 days
	$r->mode('/ok/wt', '/status/204/wt');
	$t->sql('UPDATE wt_user SET reputation = 424');
	$t->wait_until_settled;
	is($t->sql('SELECT http_status FROM webhook.log ORDER BY started_at DESC LIMIT 1'), 204, 'any 2xx is success');
	is($t->sql("SELECT retry_schedule, give_up_after FROM webhook.subscription WHERE name = 'wt'"), '{01:00:00}|3 days', 'tried once an hour for up to 3 days');
	for my $mode ('/status/304/wt', '/redirect/wt')
	{
		$r->mode('/ok/wt', $mode);
		$t->sql("UPDATE webhook.subscription SET ordering = 'none' WHERE name = 'wt'");
		$t->sql('UPDATE wt_user SET reputation = reputation + 1');
		$t->poll_sql("$mode is failure", "SELECT outcome = 'redirect' FROM webhook.log ORDER BY started_at DESC LIMIT 1");
		is($t->sql("SELECT next_attempt_at - first_attempt_at BETWEEN '54 min' AND '67 min' FROM webhook.pending ORDER BY event_number DESC LIMIT 1"), 't',
			"$mode: is tried again in an hour");
	}
	$t->sql("SELECT webhook.unsubscribe('wt')");
};

subtest 'Xsolla Login: registration' => sub {
	subscribe_as('xsolla', 'xsolla_user', "events => '{user.new}'");
	$t->sql("INSERT INTO users VALUES (9, 'Eve', '{x}', false, '{\"nested\": {\"deep\": [1, null]}}')");
	$t->sql("UPDATE users SET paid = true WHERE id = 9");
	my $event   = event("entity_id = '9' AND action_type = 'new'");
	my $request = request('xsolla_user', 1);
	same_json($request->{body}, qq({"event_type": "registration", "event_time": "$event->{iso}", "project_id": "$project",
		"data": {"id": 9, "name": "Eve", "tags": ["x"], "paid": false, "extra": {"nested": {"deep": [1, null]}}}}), 'as its page shows it');
	is($request->{headers}{authorization}, 'Signature ' . sha1_hex($request->{body} . $secret{xsolla_user}), 'signed in Authorization');
	$t->wait_until_settled;
	is($r->count('/ok/xsolla_user'), 1, 'what its page has no type for is not sent');
	$t->sql("SELECT webhook.unsubscribe('xsolla_user')");
};

subtest 'Aghanim: player.update' => sub {
	$t->sql('CREATE TABLE player (player_id text PRIMARY KEY, email text)');
	$t->watch('player');
	$t->sql("INSERT INTO player VALUES ('2D2R-OP3C', 'old')");
	subscribe_as('aghanim', 'aghanim_player', "events => '{player.*}'");
	$t->sql(<<'SQL');
BEGIN;
SET LOCAL webhook.context = '{"request_id": "d1593e9c-c291-4004-8846-6679c2e5810b", "trigger": "hub.profile_update"}';
UPDATE player SET email = 'PlayerOne@aghanim.com';
INSERT INTO player VALUES ('other', NULL);
COMMIT;
SQL
	$r->wait_for_requests(2, '/ok/aghanim_player');
	my ($request, $second) = sort { $a->{body} =~ /player\.new/ <=> $b->{body} =~ /player\.new/ } $r->requests('/ok/aghanim_player');
	my $event = event("entity_type = 'player' AND action_type = 'update'");
	same_json($request->{body}, <<JSON, 'the body, as its page shows it');
{"event_type": "player.update", "event_data": {"player_id": "2D2R-OP3C", "email": "PlayerOne\@aghanim.com"}, "event_time": $event->{unix},
 "event_id": "whevt_${instance}_$event->{id}", "idempotency_key": null, "request_id": "d1593e9c-c291-4004-8846-6679c2e5810b", "sandbox": false,
 "trigger": "hub.profile_update", "transaction_id": "whtx_${instance}_$event->{xid}", "context": null, "game_id": "gm_exTAyxPsVwh"}
JSON
	my $h = $request->{headers};
	is($h->{'content-type'}, 'application/json', 'Content-Type');
	like($h->{'user-agent'}, qr{^\w+/\d+(\.\d+)*$}, 'User-Agent: product and version');
	like($h->{'x-aghanim-signature-timestamp'}, qr/^\d{10}$/, 'the timestamp in Unix seconds');
	is($h->{'x-aghanim-signature'}, hmac_sha256_hex("$h->{'x-aghanim-signature-timestamp'}.$request->{body}", $secret{aghanim_player}), 'the signature');
	is($t->sql("SELECT webhook.event_number('whevt_${instance}_$event->{id}')"), $event->{id}, 'its event_id is known under its own prefix');
	is($json->decode($second->{body})->{transaction_id}, "whtx_${instance}_$event->{xid}", 'events of one transaction have one transaction_id');
	# all of it from the context
	$t->sql(<<'SQL');
BEGIN;
SET LOCAL webhook.context = '{"idempotency_key": "k", "sandbox": true, "player": {"level": 3}}';
DELETE FROM player WHERE player_id = 'other';
COMMIT;
SQL
	my $got = $json->decode(request('aghanim_player', 3)->{body});
	is_deeply([ @$got{qw(idempotency_key request_id sandbox trigger context)} ], [ 'k', undef, JSON::PP::true, undef, { order => undef, player => { level => 3 } } ],
		'idempotency_key, sandbox and context');

	# its answers
	my $answer = sub { '/json/200/' . encode_base64url($_[0]) . '/aghanim' };
	$r->mode('/ok/aghanim_player', $answer->('{"status": "error", "code": "not_found", "message": "플레이어를 찾을 수 없습니다"}'));
	$t->sql("UPDATE webhook.subscription SET retry_schedule = '{300ms}' WHERE name = 'aghanim_player'");
	$t->sql("UPDATE player SET email = 'a'");
	$t->poll_sql('it was tried twice', "SELECT count(*) >= 2 FROM webhook.log WHERE outcome = 'rejected'");
	is($t->sql("SELECT DISTINCT http_status, error, response::json ->> 'code' FROM webhook.log WHERE outcome = 'rejected'"),
		'200|not_found: 플레이어를 찾을 수 없습니다|not_found', 'a 200 that says error is a failure: its code and message are in the log');
	$r->mode('/ok/aghanim_player', $answer->('{"status": "ok"}'));
	$t->wait_until_settled;
	is($t->sql("SELECT outcome, http_status, response FROM webhook.log WHERE subscription = 'aghanim_player' ORDER BY started_at DESC LIMIT 1"), 'delivered|200|{"status": "ok"}', 'and one that says ok is delivered');
	is($t->sql("SELECT breaker FROM webhook.status WHERE subscription = 'aghanim_player'"), 'closed', 'the endpoint was never in trouble');
	$t->sql("SELECT webhook.unsubscribe('aghanim_player')");
};

subtest 'a test event marks itself in each dialect' => sub {
	my %mark = (
		entity          => sub { $_[0]{action_type} eq 'test' },
		website_toolbox => sub { $_[0]{mode} eq 'test' && $_[0]{type} eq 'user.test' },
		aghanim         => sub { $_[0]{sandbox} && $_[0]{event_type} eq 'user.test' },
		stripe          => sub { !$_[0]{livemode} },
		xsolla          => sub { $_[0]{event_type} eq 'registration' }, # the page has no type of a test, so it is one of its own
		github          => sub { $_[0]{action} eq 'test' },
		standard        => sub { $_[0]{type} eq 'user.test' },
		cloudevents     => sub { $_[0]{type} eq 'user.test' },
		cloudevents_binary => sub { $_[1]{headers}{'ce-type'} eq 'user.test' });
	is_deeply([ sort keys %mark ], [ split /\n/, $t->sql('SELECT name FROM webhook.profile WHERE builtin ORDER BY name COLLATE "C"') ], 'all that are built in');
	subscribe_as($_, "test_$_", "events => '{" . ($_ eq 'xsolla' ? 'user.new' : '*.truncate') . "}'") for sort keys %mark;
	for my $profile (sort keys %mark)
	{
		is($t->sql("CALL webhook.test('test_$profile', 'user', '7')"), '200|', "$profile: webhook.test says that it arrived");
		my $request = request("test_$profile", 1);
		ok($mark{$profile}->($json->decode($request->{body}), $request), "$profile: it is marked as a test");
		like($request->{body}, qr/"name":"Ada"/, "$profile: with the data of a real entity");
		is(judged($profile, $secret{"test_$profile"}, $request), qq({"requests":1,"verified":1,"failed":0,"failures":[]}\n), "$profile: signed");
	}
	$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription WHERE name LIKE 'test\\_%'");
};

subtest 'batches' => sub {
	my %type = (
		entity      => 'application/json',
		standard    => 'application/json',
		cloudevents => 'application/cloudevents-batch+json; charset=utf-8');
	subscribe_as($_, "batch_$_", "events => '{company.*}'") for sort keys %type;
	$t->sql("UPDATE webhook.subscription SET batch_size = 3 WHERE name LIKE 'batch\\_%'");
	$t->sql("INSERT INTO company SELECT g, 'c' || g FROM generate_series(101, 103) g");
	my @ids = map { "evt_${instance}_$_" } split /\n/, $t->sql("SELECT event_number FROM webhook.outbox WHERE entity_type = 'company' ORDER BY event_number DESC LIMIT 3");
	for my $profile (sort keys %type)
	{
		my $request = request("batch_$profile", 1);
		my $body    = $json->decode($request->{body});
		is($request->{headers}{'content-type'}, $type{$profile}, "$profile: Content-Type");
		is_deeply([ sort map { $_->{$profile eq 'entity' ? 'event_id' : 'id'} } @$body ], [ sort @ids ], "$profile: each element has its own id");
		is(judged($profile, $secret{"batch_$profile"}, $request), qq({"requests":1,"verified":1,"failed":0,"failures":[]}\n), "$profile: signed");
	}
	my ($rc, undef, $stderr) = $t->node->psql($WebhookTest::DB, "INSERT INTO webhook.subscription (name, url, profile, batch_size) VALUES ('x', 'https://hooks.example.com/', 'stripe', 2)");
	isnt($rc, 0, 'a receiver that takes one event per request');
	like($stderr, qr/DETAIL:  batch_size is greater than 1, but this profile sends one event per request/, 'gets no batches');
	$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription WHERE name LIKE 'batch\\_%'");
};

subtest 'docs/guide.md: a profile of your own; a change of it counts at once; it is dumped' => sub {
	my $sql = WebhookDocs::block_text('docs/guide.md', 'A profile of your own', 'sql');
	my $url = $r->url('');
	ok($sql =~ s{https://acme\.example\.com/hooks}{$url/ok/acme}, 'the guide shows one');
	cmp_ok(scalar(() = $sql =~ /\n/g), '<=', 10, 'in ten lines');
	$secret{acme} = $t->sql($sql);
	my $pid = $t->worker_pid;
	$t->sql("INSERT INTO company VALUES (201, 'Acme')");
	my $event   = event("entity_id = '201'");
	my $request = request('acme', 1);
	my $h       = $request->{headers};
	same_json($request->{body}, qq({"event": "company.created", "at": $event->{unix}, "shop": 17, "record": {"id": 201, "name": "Acme", "kind": "company"}}), 'the body');
	is($h->{'x-acme-event'}, 'company.created', 'a header from a template');
	is($h->{'x-acme-try'}, '1', 'and one that tells the attempt');
	is($h->{'x-acme-id'}, "evt_${instance}_$event->{id}", 'the id');
	is($h->{'x-acme-signature'}, 'sha256=' . hmac_sha256_hex("$h->{'x-acme-time'}.$request->{body}", $secret{acme}), 'the signature');
	is($t->sql("SELECT webhook.verify('acme', '$secret{acme}', \$\$" . $json->encode($h) . "\$\$, \$\$$request->{body}\$\$)"), 't', 'webhook.verify accepts it');

	# its rule for failures, and a change while a delivery waits
	$r->mode('/ok/acme', '/json/200/' . encode_base64url('{"ok":false,"reason":"closed on Sundays"}') . '/acme');
	$t->sql("UPDATE webhook.subscription SET retry_schedule = '{300ms}' WHERE name = 'acme'");
	$t->sql('DELETE FROM company WHERE id = 201');
	$t->poll_sql('it was rejected', "SELECT count(*) > 0 FROM webhook.log WHERE subscription = 'acme' AND outcome = 'rejected' AND error = 'closed on Sundays'");
	$t->sql(q(UPDATE webhook.profile SET envelope = '{"v": 2, "id": "$id"}', headers = '{"X-Acme-Version": "2"}', failure_match = NULL WHERE name = 'acme'));
	$t->wait_until_settled;
	my $last = ($r->requests('/ok/acme'))[-1];
	same_json($last->{body}, q({"v": 2, "id": ") . "evt_${instance}_" . event("entity_id = '201' AND action_type = 'delete'")->{id} . '"}', 'a change counts for the next request');
	is($last->{headers}{'x-acme-version'}, '2', 'headers too');
	is($last->{headers}{'x-acme-try'}, undef, 'those that are gone are gone');
	is($t->sql("SELECT outcome FROM webhook.log WHERE subscription = 'acme' ORDER BY started_at DESC LIMIT 1"), 'delivered', 'and the rule for failures');
	is($t->worker_pid, $pid, 'without another worker');

	# dump and restore, where pg_dump must have profiles before subscriptions
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
	$t->node->command_ok([ 'pg_dump', '-f', $dump, $t->node->connstr($WebhookTest::DB) ], 'the database is dumped');
	unlike(slurp_file($dump), qr/^stripe\t/m, 'without the profiles that are built in');
	$t->sql('CREATE DATABASE restored TEMPLATE template0');
	$t->node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $t->node->connstr('restored'), '-f', $dump ], 'and restored');
	my $rows = "SELECT to_jsonb(p)::text FROM webhook.profile p ORDER BY name COLLATE \"C\"";
	is($t->node->safe_psql('restored', $rows), $t->sql($rows), 'every profile is as it was');
	is($t->node->safe_psql('restored', "SELECT profile, params FROM webhook.subscription WHERE name = 'acme'"), 'acme|{"shop": 17}', 'and so is its subscription');
};

$t->stop;
done_testing();

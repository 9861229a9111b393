# The promise: who logs in is a role of PostgreSQL that gave its password, and nobody else; a
# session is one connection as this role, and ends with it.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(time);
use WebhookConsole;
use WebhookTest;

my $c = WebhookConsole->new(hba => "local all trusted trust\n");
my $t = $c->t;
$t->sql("CREATE ROLE trusted LOGIN PASSWORD 'x'; CREATE ROLE never NOLOGIN PASSWORD '$WebhookConsole::PASSWORD'; CREATE DATABASE other");

sub log_in
{
	my ($user, $password, $database) = @_;
	return $c->ask('POST', '/api/session', { user => $user, password => $password, database => $database });
}

#
# Who gets in
#
my ($status, $session, $headers) = log_in('op', $WebhookConsole::PASSWORD, $WebhookTest::DB);
is($status, 200, 'a role and its password');
is_deeply($session->{rights}, { operator => JSON::PP::true, viewer => JSON::PP::true, watcher => JSON::PP::false, owner => JSON::PP::false }, 'what it may is told');
like($headers->{'set-cookie'}[0], qr/^__Host-pgwebhook=[0-9a-f]{64}; Path=\/; Secure; HttpOnly; SameSite=Strict$/, 'its cookie');
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'op' AND application_name = 'pgwebhook console'"), 1, 'there is a connection as this role');
for ([ 'op', 'wrong' ], [ 'no such role', 'x' ], [ 'never', $WebhookConsole::PASSWORD ], [ 'trusted', 'anything' ], [ 'op', '' ], [ '', 'x' ],
	[ 'viewer', $WebhookConsole::PASSWORD, 'other' ], [ 'viewer', $WebhookConsole::PASSWORD, 'host=evil dbname=postgres' ])
{
	my ($user, $password, $database) = @$_;
	my ($code, $problem, $got) = log_in($user, $password, $database);
	is($code, 401, "refused: '$user' with '$password'" . ($database ? " into '$database'" : ''));
	is($problem->{title}, 'wrong role, password or database', '... always in the same words');
	ok(!$got->{'set-cookie'}, '... without a cookie');
}
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE usename IN ('trusted', 'never')"), 0, 'who was not asked for a password has no connection');
($status, my $problem) = log_in('boss', $WebhookConsole::PASSWORD);
is($status, 403, 'a superuser is refused');
like($problem->{hint}, qr/--allow-superuser/, '... with what lifts that');
for my $body ('', '[]', '{"user": "op"}', '{"user": "op", "password": 1}', '{"user": "op", "password": "x", "more": "y"}', '{"user": "a\u0000b", "password": "x"}',
	'{"user": "op", "user": "op", "password": "x"}', '{"user": "op", "password": "x"} x', '{"user": "\ud800", "password": "x"}')
{
	is(($c->ask('POST', '/api/session', $body))[0], 422, "no login: $body");
}

#
# An extension that was not updated
#
$t->sql('CREATE DATABASE older');
$t->node->safe_psql('older', q{CREATE EXTENSION webhook VERSION '1.0'});
is($c->end, 0, 'ended');
$c->start('--database=older');
($status, $problem) = log_in('op', $WebhookConsole::PASSWORD, 'older');
is("$status $problem->{title}", '503 the extension webhook is older in this database than pgwebhook needs', 'with an older extension there is nothing to log in to');
like($problem->{hint}, qr/^ALTER EXTENSION webhook UPDATE/, '... and what to do is said');
$t->node->safe_psql('older', 'ALTER EXTENSION webhook UPDATE');
is((log_in('op', $WebhookConsole::PASSWORD, 'older'))[0], 200, '... and then there is');

#
# What a session is
#
my $op = $c->person('op');
is(($op->ask('GET', '/api/session'))[1]{csrf}, $op->{csrf}, 'a page that is loaded again finds its token');
is(($c->ask('GET', '/api/session'))[0], 401, 'without the cookie there is no session');
is(($c->ask('GET', '/api/session', undef, Cookie => '__Host-pgwebhook=' . '0' x 64))[0], 401, '... nor with a wrong one');
is(($op->ask('DELETE', '/api/session'))[0], 200, 'it ends');
is(($op->ask('GET', '/api/session'))[0], 401, '... at once');
my $again = $c->person('op');
$t->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'op'");
poll_until('the session ends with its connection', sub { ($again->ask('GET', '/api/worker'))[0] == 401 });
pass('a session ends with its connection');

# a statement of a session that takes long does not keep others waiting
my $first  = $c->person('op');
my $second = $c->person('viewer');
$t->sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'");    # part of the scenario
$t->sql("SELECT FROM webhook.subscribe('slow', 'https://127.0.0.1:1/'); ALTER FUNCTION slow() OWNER TO " . $t->sql("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'webhook'"));
$t->sql('CREATE TRIGGER slow BEFORE UPDATE ON webhook.subscription FOR EACH ROW EXECUTE FUNCTION slow()');
my $socket = $c->connect;
$socket->print("POST /api/subscriptions/slow/pause HTTP/1.1\r\nHost: $c->{host}\r\nCookie: $first->{cookie}\r\nWebhook-CSRF: $first->{csrf}\r\n"
	  . "Origin: http://$c->{host}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
$t->poll_sql('it is at work', "SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'op' AND wait_event = 'PgSleep'");
is(($second->ask('GET', '/api/worker'))[0], 200, 'somebody else is answered meanwhile');
is((WebhookConsole::read_answer($socket))[0], 503, 'and what takes longer than statement_timeout is ended by the server');
is(($first->ask('GET', '/api/worker'))[0], 200, '... and the session goes on');
is($t->sql("SELECT state FROM webhook.subscription WHERE name = 'slow'"), 'active', '... and nothing was changed');

# many people behind one address: who logs in with the right password does not use up the attempts of others
for (1 .. 25)
{
	my $one = $c->person('op');
	is(($one->ask('DELETE', '/api/session'))[0], 200, 'one of many people comes and goes');
}

# one role leaves room for others
my @crowd;
push @crowd, $c->person('op') while @crowd < 15;    # and the one who has waited for the statement
my ($full, $why) = log_in('op', $WebhookConsole::PASSWORD);
is($full, 429, 'a role has 16 sessions');
is($why->{title}, 'all sessions of this role are in use', '... and is told so');
is(($c->person('viewer')->ask('GET', '/api/worker'))[0], 200, '... while others log in');
$_->ask('DELETE', '/api/session') for @crowd;

#
# Guessing
#
my @codes = map { (log_in('watcher', "guess $_"))[0] } 1 .. 7;
is_deeply([ @codes[ 0 .. 4 ] ], [ (401) x 5 ], 'five guesses are answered');
is($codes[6], 429, '... and no more for a while');
is((log_in('watcher', $WebhookConsole::PASSWORD))[2]{'retry-after'}[0] > 0, 1, '... even with the right password; Retry-After says how long');
is((log_in('viewer', $WebhookConsole::PASSWORD))[0], 200, 'another role may still log in');

$c->stop;
done_testing();

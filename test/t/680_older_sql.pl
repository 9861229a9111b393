# The promise: a library runs with every older version of the extension. It captures and delivers with
# the columns that are there, says that the extension is to be updated, and uses what is new as soon as
# it has been.
#
# Covers: a library that is newer than the extension in its database.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookUpgrade;

my $t       = WebhookTest->new(install_path => installation(library => next_library()), conf => "webhook.poll_interval = '1s'\n");
my $node    = $t->node;
my $r       = $t->receiver(args => ['--no-http2']);
my $version = version();
my $advice  = "the extension is at version $version, the library at next: run ALTER EXTENSION webhook UPDATE in this database";
my $events  = 0;

sub captured
{
	my ($session, $ids, $what) = @_;
	$session->query_safe("INSERT INTO item SELECT unnest(ARRAY[$ids])");
	$events += () = $ids =~ /\d+/g;
	$r->wait_for_requests($events, '/ok/crm');
	$t->wait_until_settled;
	is($t->sql('SELECT count(*) FROM webhook.outbox'), $events, "$what: captured, and delivered");
	return;
}

#
# Before the update
#
$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));
my $worker  = $t->wait_for_worker;
my $session = $node->background_psql('postgres', on_error_stop => 0);
captured($session, '1, 2, 3', 'with an older version');
$t->poll_sql('the worker says what to do', 'SELECT state, reason FROM webhook.worker', "running|$advice");
like(slurp_file($node->logfile), qr/LOG: +webhook worker continues with another version: \Q$advice\E$/m, 'and in the log');

$t->sql('ALTER TABLE webhook.outbox ADD COLUMN later integer');
captured($session, '4', q{with somebody's own column of that name});
$t->sql('ALTER TABLE webhook.outbox DROP COLUMN later');
captured($session, '5, 6', 'and without');

$t->sql(q{CREATE FUNCTION shorter(OUT state text, OUT reason text) LANGUAGE c AS '$libdir/webhook', 'webhook_worker_status'});
is($t->sql('SELECT * FROM shorter()'), "running|$advice", 'a function that an older version declares with fewer columns');

#
# The update
#
$t->sql(q{ALTER EXTENSION webhook UPDATE TO 'next'});
captured($session, '7, 8, 9', 'after the update');
is($t->sql(q{SELECT string_agg(coalesce(later, 'empty'), ' ' ORDER BY event_number) FROM webhook.outbox}),
	'empty empty empty empty empty empty filled filled filled', 'what is new is filled from then on');
$t->poll_sql('the worker has nothing to say', 'SELECT state, reason FROM webhook.worker', 'running|');
is($t->worker_pid, $worker, 'and is the same');
is($t->sql('SELECT count(*) FILTER (WHERE noted_at IS NULL) FROM webhook.attempt'), 0, 'the log goes on');

# what the newer version must have is looked for now
$t->sql('ALTER TABLE webhook.attempt DROP COLUMN noted_at');
$session->query_safe('INSERT INTO item VALUES (10)');
$t->poll_sql('its columns are needed now', 'SELECT state, reason FROM webhook.worker',
	'failing|the table webhook.attempt is missing or not as the extension made it: column noted_at');
$t->sql('ALTER TABLE webhook.attempt ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp()');
$events++; # the one before
captured($session, '11', 'when it is back');
$session->quit;

# one made at the version of the library
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', q{CREATE EXTENSION webhook VERSION 'next'});
poll_until('a worker there', sub { $node->safe_psql('fresh', 'SELECT state, reason FROM webhook.worker') eq 'running|' });
is(scalar(() = slurp_file($node->logfile) =~ /continues with another version/g), 1, 'said once');

$t->stop;
done_testing();

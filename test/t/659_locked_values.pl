# The promise: a lock on where large values lie is nothing of an event's. While somebody holds one, the worker
# waits and looks again; nothing becomes a dead letter, and nothing is called corrupt.
#
# Covers: an event that is read, one that is fetched from pending, and one of which even the entity lies out of
# line. The lock is that of a REINDEX of the TOAST table in a transaction that stays open.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, note text)');
$t->watch('item');
$t->sql('CREATE TABLE wide (key text)');
$t->watch('wide', id_columns => "'{key}'");
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{item.*}'");
$t->subscribe('wide', $r->url('/ok/wide'), events => "'{wide.*}'");
$t->subscribe('later', $r->url('/ok/later'), events => "'{item.*}'", state => "'paused'");
my $worker  = $t->wait_for_worker;
my $text    = "SELECT left(string_agg(md5(random()::text), ''), 5001) FROM generate_series(1, 200)";
my $dead    = 'SELECT count(*) FROM webhook.dead_letter';
my $waiting = "SELECT waitstart FROM pg_locks WHERE pid = $worker AND NOT granted AND waitstart IS NOT NULL";

# Runs $begin while the TOAST table of the current segment is locked, until the worker has waited for it twice.
sub while_locked
{
	my ($what, $begin) = @_;
	my $toast = $t->sql('SELECT reltoastrelid::regclass FROM pg_class WHERE oid = (SELECT tableoid FROM webhook.outbox ORDER BY event_number DESC LIMIT 1)');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; REINDEX TABLE $toast");
	$begin->();
	my $first;
	WebhookTest::poll_until("$what: the worker waits", sub { ($first = $t->sql($waiting)) ne '' || $t->sql($dead) });
	WebhookTest::poll_until("$what: it waits again", sub { $t->sql("$dead") || $first && $t->sql("SELECT EXISTS ($waiting AND waitstart > '$first')") eq 't' });
	is($t->sql($dead), 0, "$what: nothing is a dead letter");
	$holder->query_safe('COMMIT');
	$holder->quit;
	return;
}

# What is inserted lies in the outbox, and nobody has read it.
sub insert_unread
{
	my ($sql) = @_;
	kill 'STOP', $worker;
	$t->sql($sql);
	return;
}

my $offset = -s $node->logfile;
insert_unread("INSERT INTO item VALUES (1, 'small'); INSERT INTO item VALUES (2, ($text))");
while_locked('read', sub { kill 'CONT', $worker });
$r->wait_for_requests(2, '/ok/crm');

insert_unread("INSERT INTO wide $text");
while_locked('an entity out of line', sub { kill 'CONT', $worker });
$r->wait_for_requests(1, '/ok/wide');

while_locked('fetched', sub { $t->sql("SELECT webhook.resume('later')") });
$r->wait_for_requests(2, '/ok/later');

$t->wait_until_settled;
is($r->count('/ok/crm') + $r->count('/ok/wide') + $r->count('/ok/later'), 5, 'each arrives once');
is($t->sql($dead), 0, 'no dead letter');
unlike(slurp_file($node->logfile, $offset), qr/is corrupt/, 'nothing is called corrupt');
is($t->worker_pid, $worker, 'by the same worker');

$t->stop;
done_testing();

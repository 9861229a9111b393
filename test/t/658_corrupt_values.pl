# The promise: a value of the outbox that is corrupt on disk is the trouble of its event. Where
# a pointer into the TOAST table lies about the size of what it points to, that event becomes a
# dead letter that says so, everybody else's are delivered, and neither worker nor server ends.
#
# The pointers are changed in the segment's file, while the server is down.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nignore_checksum_failure = on\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, note text)');
$t->watch('item');
$t->sql('CREATE TABLE wide (key text)');
$t->watch('wide', id_columns => "'{key}'");
$t->subscribe('crm', $r->url('/ok/crm'));
$t->subscribe('later', $r->url('/ok/later'), state => "'paused'");    # its events are kept unread, and fetched when it is resumed
$t->subscribe('wide', $r->url('/ok/wide'), events => "'{wide.*}'");
$t->wait_for_worker;

# What each pointer will say of its value, as its length with the varlena header.
my %lies = (
	1 => 104,                 # less than there is
	2 => 4,                   # nothing
	3 => -1,                  # a negative length
	4 => 1_000_000,           # more than there is: the value counts as compressed
	5 => 2**31 - 1,
);

# Captured while nothing delivers: each value is out of line, in a length of its own.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
$t->sql(<<'SQL');
SET client_min_messages = error;
INSERT INTO item SELECT g, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 5000 + g)) FROM generate_series(1, 5) g;
INSERT INTO item SELECT g, 'good' FROM generate_series(6, 20) g;
INSERT INTO item SELECT g, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 5000 + g)) FROM generate_series(21, 25) g;
INSERT INTO wide SELECT left(string_agg(md5(random()::text), ''), 3001) FROM generate_series(1, 100);
SQL
my %length = map { split /\|/ } split /\n/, $t->sql("SELECT entity_id, octet_length(result::text) FROM webhook.outbox WHERE entity_id ~ '^[1-5]\$'");
is($t->sql("SELECT count(*) FROM webhook.outbox WHERE entity_id ~ '^[1-5]\$' AND pg_column_size(result) = octet_length(result::text)"), 5, 'values out of line, as they are');
is($t->sql("SELECT octet_length(entity_id), pg_column_size(entity_id) FROM webhook.outbox WHERE entity_type = 'wide'"), '3001|3001', 'an id out of line, as it is');
my $wide = $t->sql("SELECT event_number FROM webhook.outbox WHERE entity_type = 'wide'");
my $file = $node->data_dir . '/' . $t->sql('SELECT pg_relation_filepath(tableoid) FROM webhook.outbox LIMIT 1');
$node->stop;
my $pages = slurp_file($file);
my $key_length = 3001;    # of an entity's id
for my $id (sort keys %lies, 'wide')
{
	my $length  = $length{$id} // $key_length;
	my $pointer = pack('CCll', 1, 18, $length + 4, $length);
	my $lie     = pack('CCll', 1, 18, $lies{$id} // 1_000_000, $length);
	is($pages =~ s/\Q$pointer\E/$lie/, 1, "the pointer of event $id is in the file");
}
open my $fh, '+<:raw', $file or die "$file: $!";
print $fh $pages;
close $fh or die "$file: $!";

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\n");
my $offset = -s $node->logfile;
$node->start;
my $worker = $t->wait_for_worker;
$r->wait_for_requests(20, '/ok/crm');
$t->poll_sql('the others are dead letters', 'SELECT count(*) FROM webhook.dead_letter', 6);
$t->sql("UPDATE webhook.subscription SET state = 'active' WHERE name = 'later'");
$r->wait_for_requests(20, '/ok/later');
$t->poll_sql('the others are dead letters of it as well', 'SELECT count(*) FROM webhook.dead_letter', 12);
$t->wait_until_settled;
for my $name ('crm', 'later')
{
	is($r->count("/ok/$name"), 20, "all other events arrive at $name, once");
	is($t->sql("SELECT string_agg(CASE event_number WHEN $wide THEN 'wide' ELSE entity_id END, ' ' ORDER BY event_number) FROM webhook.dead_letter d JOIN webhook.subscription s ON s.id = d.subscription_id WHERE s.name = '$name'"), '1 2 3 4 5 wide', 'what is corrupt does not');
}
is($r->count('/ok/wide'), 0, 'and one of which even the entity cannot be read is for nobody who wants some events only');
like(slurp_file($node->logfile, $offset), qr/WARNING:  webhook event \d+ is corrupt/, '... which the log tells');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE reason !~ 'could not be read|more than the limit'"), 0, 'and the reason says why')
	or diag($t->sql('SELECT entity_id, reason FROM webhook.dead_letter'));
is($t->wait_for_worker, $worker, 'by one and the same worker');
unlike(slurp_file($node->logfile, $offset), qr/PANIC|terminated by signal|webhook worker.*exited with exit code 1/, 'no process died');

$t->stop;
done_testing();

# The promise: a disk that is full while the worker settles loses nothing and
# repeats nothing: what has ended waits in memory, bounded, and is written when
# there is room. The log and webhook.status say what is wrong, once.
#
# What is full is the tablespace of webhook.attempt and webhook.pending, 16 MB of tmpfs that
# scripts/test.sh mounts when root runs it. (WAL on a full disk is another matter: the whole server
# stops then, which is what 010_killed has in "immediate".)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookFault;
use WebhookTest;

my $disk = $ENV{WEBHOOK_SMALL_DISK};
plan skip_all => 'there is no small disk to be filled: it is mounted by scripts/test.sh, run by root where mounting is allowed'
  unless $disk;

my $t      = WebhookFault->new(conf => "webhook.poll_interval = '1s'\n");
my $r      = $t->{r};
my $worker = $t->wait_for_worker;
mkdir "$disk/webhook" or die "$disk/webhook: $!";
$t->sql("CREATE TABLESPACE small LOCATION '$disk/webhook'");
my @tables = ('webhook.pending', map { "webhook.attempt_$_" } 0 .. 7);
$t->sql("ALTER TABLE $_ SET TABLESPACE small") for @tables;
$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{100ms}'", filter => q('$.result.id == 1'));
$t->change(40);
$t->account('before', 0);

my $offset = $t->log_size;
open my $ballast, '>', "$disk/ballast" or die "$disk/ballast: $!";
my $written = 0;
while (defined(my $n = syswrite $ballast, 'x' x 8192)) { $written += $n }
close $ballast;
note "the disk was filled with another $written bytes";
# pages with room in them take some first
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 3000); UPDATE item SET v = v + 1');
poll_until('the log says so', sub { $t->log_since($offset) =~ /WARNING:.*webhook worker failed while.*\n.*DETAIL:.*No space left on device/ });
$t->poll_sql('the status says so', "SELECT state = 'failing' AND reason ~ 'No space left' FROM webhook_internal.worker_status()");
$t->change(40);
is(() = $t->log_since($offset) =~ /WARNING:.*webhook worker failed while settling/g, 1, 'the log says it once');
is($t->sql('SELECT count(*) > 3000 FROM webhook.outbox'), 't', 'applications write on');
unlink "$disk/ballast";
$t->account('the disk was full', 0);
is($t->wait_for_worker, $worker, 'the same worker goes on');
unlike($t->log_since($offset), qr/exited with exit code|terminated by signal|PANIC/, 'no process ended');

$t->sql("ALTER TABLE $_ SET TABLESPACE pg_default") for @tables;
$t->sql('DROP TABLESPACE small');
$t->stop;
done_testing();

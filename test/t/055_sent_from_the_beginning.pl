# The promise: a large value, which is sent from where it lies in the event, arrives
# whole at the first attempt also where the receiver has refused the stream, and
# libcurl sends the request once more by itself.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver;

$t->sql('CREATE TABLE doc (id int PRIMARY KEY, t text)');
$t->watch('doc');
$t->wait_for_worker;
$t->subscribe('doc', $r->url('/narrow/doc'));
$t->sql("INSERT INTO doc VALUES (1, 'small')");
$r->wait_for_requests(1, '/narrow/doc');
my ($small) = $r->requests('/narrow/doc');
is($small->{httpVersion}, '2.0', 'there is a connection, whose next stream will be refused');

$t->sql(qq{UPDATE webhook.subscription SET url = '${\$r->url("/ok/doc")}' WHERE name = 'doc'});
$t->sql("INSERT INTO doc VALUES (2, repeat('0123456789', 30000))");
$r->wait_for_requests(1, '/ok/doc');
$t->wait_until_settled;
my @large = $r->requests('/ok/doc');
is(scalar @large, 1, 'the large one arrives');
isnt($large[0]{conn}, $small->{conn}, 'over another connection');
like($large[0]{body}, qr/"t":\s*"(?:0123456789){30000}"/, 'whole');
is($t->sql("SELECT string_agg(outcome || attempt_number, ',' ORDER BY event_number) FROM webhook.attempt"), 'delivered1,delivered1', 'at the first attempt');

$t->stop;
done_testing();

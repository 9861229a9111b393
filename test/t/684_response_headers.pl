# The promise: since 1.1 the log has the headers of a response that was a failure, without cookies,
# however its rows are written, and the console's functions tell them. With an extension at 1.0 the
# library logs as 1.0 does.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\n");
my $r = $t->receiver;
$t->sql($_) for 'DROP EXTENSION webhook', q{CREATE EXTENSION webhook VERSION '1.0'}, 'CREATE TABLE item (id int PRIMARY KEY)';
$t->watch('item');
$t->subscribe('good', $r->url('/ok/good'));
$t->subscribe('bad', $r->url('/cookie/422/bad'), retry_schedule => "'{1h}'");
my $worker = $t->wait_for_worker;

# the rows of both for this item are there
sub item
{
	my ($id) = @_;
	$t->sql("INSERT INTO item VALUES ($id)");
	$t->poll_sql('both are logged', "SELECT count(*) FROM webhook.log WHERE entity_id = '$id'", 2);
	return;
}
my $headers = sub { $t->sql("SELECT subscription, coalesce(response_headers, 'none') FROM webhook.log WHERE entity_id = '$_[0]' ORDER BY 1") };

item(1);
is($t->sql(q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'webhook.log'::regclass AND attname = 'response_headers'}), 0, '1.0 has no such column, and logs');

$t->sql('ALTER EXTENSION webhook UPDATE');
is($headers->(1), "bad|none\ngood|none", 'what was logged has none');
item(2);
my $found = $headers->(2);
like($found, qr/^bad\|.*^x-request-id: r-1$/ims, 'from then on a failure has them');
like($found, qr/^good\|none$/m, 'and a delivery has not');
unlike($found, qr/secret|cookie/i, 'without the cookie');
is($t->worker_pid, $worker, 'by the same worker');

# with a trigger on the table, rows are inserted, not copied
$t->sql(q{CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION nothing()});
item(3);
like($headers->(3), qr/^x-request-id: r-1$/im, 'also where people have a trigger on the log');

my $id = $t->sql(q{SELECT event_id FROM webhook.log WHERE entity_id = '3' LIMIT 1});
like($t->sql("SELECT webhook_internal.delivery('$id', 'bad', true) #>> '{attempts,0,response_headers}'"), qr/^x-request-id: r-1$/im, 'the console has them');
is($t->sql(q{SELECT count(*) FROM webhook.search_log(outcome => 'failed') WHERE response_headers LIKE '%r-1%'}), 2, 'and who searches');

$t->stop;
done_testing();

# The promise: whoever has a browser and no psql can do with the pages what is to be done with
# subscriptions: look, create, choose, filter, preview, test, find, redeliver, replay, explain. Each is
# done by mouse here, on real deliveries, and the database and the receiver say that it was so.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookBrowser;
use WebhookConsole;

my $c = WebhookConsole->new;
my $t = $c->t;
my $r = $t->receiver;
$t->sql(<<SQL);
CREATE TABLE companies (id int PRIMARY KEY, name text, secret text);
ALTER TABLE companies OWNER TO op;
GRANT SELECT, TRIGGER ON companies TO op;
SELECT webhook.grant_watcher('op');
SQL
$t->subscribe('crm',     $r->url('/ok/crm'));
$t->subscribe('billing', $r->url('/status/503/billing'), retry_schedule => q('{1 day}'), filter => q('$.result.id <= 6'));
$t->subscribe('search',  $r->url('/status/413/search'));
$t->sql("INSERT INTO users SELECT i, CASE WHEN i % 3 = 0 THEN 'pro' ELSE 'free' END FROM generate_series(1, 12) i");
$t->poll_sql('what can be delivered is', "SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'", 12);
$t->poll_sql('what is refused is given up', 'SELECT count(*) FROM webhook.dead_letter', 12);
$t->poll_sql('what fails waits', "SELECT count(*) > 0 FROM webhook.pending WHERE state = 'retry'");

WebhookBrowser::run($c, 'mouse', $r);
$c->stop;
done_testing();

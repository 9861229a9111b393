# The promise: what the pages of EventInsight, Website Toolbox, Xsolla and Aghanim have people do is
# done with these pages, step by step, by keyboard alone.
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
CREATE TABLE companies (id int PRIMARY KEY, conference text, name text);
CREATE TABLE players (player_id text PRIMARY KEY, email text);
CREATE TABLE profiles (id int PRIMARY KEY, name text);
GRANT SELECT ON users, companies, players, profiles TO op;
SELECT FROM webhook.watch('companies', 'company', tenant => 'conference');
SELECT FROM webhook.watch('players', 'player');
INSERT INTO players VALUES ('2D2R-OP3C', 'PlayerOne\@aghanim.example');
SQL

WebhookBrowser::run($c, 'keyboard', $r);
$c->stop;
done_testing();

# The promise: a second webhook.watch never widens what is sent. What was left
# out of events stays left out whatever else is changed, so it reaches no
# endpoint; what is sent from then on although it was not before is told. And a
# call that changes nothing waits for nobody.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new;
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql(<<'SQL');
CREATE SCHEMA app;
CREATE TABLE app.users (id int PRIMARY KEY, name text, password_hash text, org int);
CREATE TABLE app.orders (id int PRIMARY KEY, card text, state text) PARTITION BY RANGE (id);
CREATE TABLE app.orders_1 PARTITION OF app.orders FOR VALUES FROM (1) TO (1000);
SELECT webhook.watch('app.users', 'user', exclude_columns => '{password_hash}', tenant => 'org');
SELECT webhook.watch('app.orders', columns => '{id,state}', action_types => '{new,update}');
SQL
$t->subscribe('all', $r->url('/ok/all'));
$t->subscribe('users', $r->url('/ok/users'), events => "'{user.*}'", tenant => "'7'");

# Statement by statement, each followed by changes of rows; nothing secret is ever sent.
my $n = 0;
sub change_rows
{
	$n++;
	$t->sql(<<SQL);
INSERT INTO app.users VALUES ($n, 'Ann', 'secret hash $n', 7);
UPDATE app.users SET name = 'Bob', password_hash = 'secret hash again $n' WHERE id = $n;
INSERT INTO app.orders VALUES ($n, 'secret card $n', 'open');
UPDATE app.orders SET state = 'paid', card = 'secret card again $n' WHERE id = $n;
DELETE FROM app.users WHERE id = $n;
SQL
	$t->wait_until_settled;
	return;
}

change_rows();
for my $again (
	"'app.users', keep_previous => true",
	"'app.users'",
	"'app.users', action_types => '{new,update,delete,truncate}'",
	"'app.users', id_columns => '{id}'",
	"'app.orders', keep_previous => true",
	"'app.orders', action_types => '{new,update,delete}'",
	"'app.users', keep_previous => false",
	"'app.users', exclude_columns => '{}'",
	"'app.users', exclude_columns => '{password_hash}'",
	"'app.users', 'user', keep_previous => true")
{
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.watch($again)");
	is("$rc $err", '0 ', "watch($again): without a word");
	change_rows();
}
my @all = $r->requests('/ok/all');
is(scalar(grep { $_->{body} =~ /secret/ || $_->{body} =~ /password_hash|card/ } @all), 0, 'nothing that was left out has been sent');
is(scalar(grep { $_->{body} =~ /"entity_type":"user"/ } @all), 3 * $n, 'all changes of users have, under the name that they were given');
is($r->count('/ok/users'), 3 * $n, 'and to whom they are for by that name and the tenant');
is($t->sql("SELECT string_agg(DISTINCT previous::text, ' ') FROM webhook.outbox WHERE previous::text ~ 'secret'"), '', 'nor is it kept in previous');

#
# Said, it is sent; and it is told
#
my ($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.watch('app.users', exclude_columns => '{org}', include_columns => '{password_hash}')");
like($err, qr/NOTICE:.*now contain more columns: password_hash/, 'an exclusion that is let go of: what is sent now is told');
like($out, qr/^changed "app.users": exclude_columns \{password_hash\} -> \{org\}$/, 'and so is what was done');
($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.watch('app.orders', columns => '{*}')");
like($err, qr/NOTICE:.*now contain more columns: card/, 'all columns, where some were named: told');
$t->sql("INSERT INTO app.orders VALUES (999, 'told', 'open')");
$t->wait_until_settled;
is(scalar(grep { $_->{body} =~ /"card":"told"/ } $r->requests('/ok/all')), 1, 'then it is sent');

#
# A renamed column
#
$t->sql(<<'SQL');
SELECT webhook.watch('app.users', exclude_columns => '{password_hash}', include_columns => '{org}');
ALTER TABLE app.users RENAME password_hash TO pw;
SQL
($rc, $out, $err) = $node->psql('postgres', "SELECT webhook.watch('app.users', keep_previous => true, action_types => '{new,update}')");
like($err, qr/WARNING:.*do not exist: "password_hash" of exclude_columns/, 'a column that was excluded has another name: told');
$t->sql("INSERT INTO app.users VALUES (5000, 'Eve', 'secret under another name', 7); UPDATE app.users SET pw = 'secret again' WHERE id = 5000");
$t->wait_until_settled;
is(scalar(grep { $_->{body} =~ /secret/ } $r->requests), 0, 'and nothing of it is sent');

#
# A writer is in the midst of a transaction: a migration that changes nothing passes
#
my $writer = $node->background_psql('postgres', on_error_stop => 1);
$writer->query_safe("BEGIN; UPDATE app.orders SET state = 'held'");
($rc, $out, $err) = $node->psql('postgres', "SET lock_timeout = '1s'; SELECT webhook.watch('app.orders', action_types => '{new,update,delete}', keep_previous => true)");
is($rc, 0, 'a writer holds its lock: the same settings again do not wait for it');
($rc, $out, $err) = $node->psql('postgres', "SET lock_timeout = '1s'; SELECT webhook.watch('app.orders', keep_previous => false)");
like($err, qr/lock timeout/, 'others do');
$writer->query_safe('COMMIT');
$writer->quit;

#
# How it fires
#
$t->sql("ALTER TABLE app.users DISABLE TRIGGER webhook_capture; SELECT webhook.watch('app.users', exclude_columns => '{pw,org}')");
my $before = $t->sql('SELECT count(*) FROM webhook.outbox');
$t->sql("INSERT INTO app.users VALUES (6000, 'Eve', 'x', 7)");
is($t->sql('SELECT count(*) FROM webhook.outbox'), $before, 'a trigger that was disabled stays so');

#
# unwatch and watch begin anew
#
$t->sql("SELECT webhook.unwatch('app.users'); SELECT webhook.watch('app.users')");
is($t->sql("SELECT entity_type, exclude_columns, tenant, keep_previous, fires FROM webhook.source WHERE source = 'app.users'::regclass"),
	'users|||f|origin', 'unwatched and watched: nothing is left of before');
$t->stop;
done_testing();

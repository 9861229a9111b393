# The promise: a subscription gets the events it asks for, all of them and no
# others: by entity type, action, tenant, filter, changed columns. An event for
# which a filter cannot be evaluated is kept for people, neither lost nor sent,
# and disturbs nobody. What an event costs does not depend on how many
# subscriptions ask for other tenants or entity types.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nlog_min_messages = debug1\nmax_stack_depth = '500kB'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql(<<'SQL');
CREATE TABLE orders (id int PRIMARY KEY, org text, status text, total numeric, at timestamptz, doc json);
CREATE TABLE users (id int PRIMARY KEY, org text, email text);
CREATE TABLE plain (id int PRIMARY KEY, v int);
SQL
$t->watch('orders', entity_type => q('order'), tenant => q('org'), keep_previous => 'true');
$t->watch('users', entity_type => q('user'), tenant => q('org'), keep_previous => 'true', action_types => q('{new,update,delete,truncate}'));
$t->watch('plain');

# Each subscription, and what it asks for said once more in Perl: $_ is an
# event with its JSON decoded. A name is also the path at the receiver.
my %asked = (
	all         => [ {}, sub { 1 } ],
	type        => [ { events => q('{order.*}') }, sub { $_->{entity_type} eq 'order' } ],
	types       => [ { events => q('{user.*,plain.*,user.*}') }, sub { $_->{entity_type} =~ /^(user|plain)$/ } ],
	no_type     => [ { events => q('{orders.*}') }, sub { 0 } ],
	action      => [ { events => q('{*.delete}') }, sub { $_->{action_type} eq 'delete' } ],
	actions     => [ { events => q('{*.new,*.truncate}') }, sub { $_->{action_type} =~ /^(new|truncate)$/ } ],
	chosen      => [ { events => q('{user.new,user.update,order.delete}') },
		sub { "$_->{entity_type} $_->{action_type}" =~ /^(user (new|update)|order delete)$/ } ],
	overlapping => [ { events => q('{user.new,*.update,user.*,*.update}') },
		sub { $_->{entity_type} eq 'user' || $_->{action_type} eq 'update' } ],
	any_of_any  => [ { events => q('{*.*}') }, sub { 1 } ],
	tenant      => [ { tenant => q('7') }, sub { ($_->{tenant} // '') eq '7' } ],
	no_tenant   => [ { tenant => q('') }, sub { ($_->{tenant} // '-') eq '' } ],
	tenant_type => [ { tenant => q('8'), events => q('{user.update,order.update}') },
		sub { ($_->{tenant} // '') eq '8' && $_->{action_type} eq 'update' } ],
	inactive    => [ { state => "'inactive'" }, sub { 0 } ],
	new_value   => [ { filter => q('$.result.total > 100') }, sub { ($_->{result}{total} // 0) > 100 } ],
	transition  => [ { filter => q('$.previous.status == "open" && $.result.status == "paid"') },
		sub { ($_->{previous}{status} // '') eq 'open' && ($_->{result}{status} // '') eq 'paid' } ],
	by_words    => [ { filter => q('$.entity_type == "user" && $.action_type starts with "up" && $.tenant == "7"') },
		sub { $_->{entity_type} eq 'user' && $_->{action_type} eq 'update' && ($_->{tenant} // '') eq '7' } ],
	by_context  => [ { filter => q('$.context.actor == "ada"') }, sub { ($_->{context}{actor} // '') eq 'ada' } ],
	exists      => [ { filter => q('exists($.previous.email)') }, sub { exists $_->{previous}{email} } ],
	nothing_new => [ { filter => q('$.result == null') }, sub { !defined $_->{result} } ],
	inside      => [ { filter => q('$.result.doc.tags[*] == "vip"') }, sub { ref $_->{result}{doc} eq 'HASH' && grep { $_ eq 'vip' } @{ $_->{result}{doc}{tags} // [] } } ],
	unknown     => [ { filter => q('strict $.result.nothing.at.all == 1') }, sub { 0 } ],
	not_unknown => [ { filter => q('strict !($.result.nothing.at.all == 1)') }, sub { 0 } ],
	is_unknown  => [ { filter => q('strict ($.result.nothing.at.all == 1) is unknown') }, sub { 1 } ],
	division    => [ { filter => q('1 / $.result.total > 0') }, sub { ($_->{result}{total} // 0) > 0 } ],
	changed     => [ { changed_columns => q('{status}') },
		sub { $_->{action_type} ne 'update' || $_->{entity_type} eq 'plain' || exists $_->{previous}{status} } ],
	changed_two => [ { changed_columns => q('{email,total}'), events => q('{order.update,user.update}') },
		sub { $_->{action_type} eq 'update' && $_->{entity_type} ne 'plain' && (exists $_->{previous}{email} || exists $_->{previous}{total}) } ],
	changed_if  => [ { changed_columns => q('{status}'), filter => q('$.result.total > 100'), events => q('{*.update}') },
		sub { $_->{action_type} eq 'update' && exists $_->{previous}{status} && ($_->{result}{total} // 0) > 100 } ],
	origin      => [ { exclude_origins => q('{crm,erp}') }, sub { ($_->{context}{origin} // '') !~ /^(crm|erp)$/ } ],
);
$t->subscribe($_, $r->url("/ok/$_"), %{ $asked{$_}[0] }) for sort keys %asked;

# The events as they are in the outbox, or what is asked for of them; looking at one may change it.
sub events
{
	my ($what, $which) = @_;
	return map { JSON::PP::decode_json($_) } split /\n/, $t->sql("SELECT $what FROM webhook.outbox o WHERE $which ORDER BY event_number");
}

# What has arrived at each path, as ids of events in their order.
sub arrived
{
	my ($name) = @_;
	return join ' ', sort { $a <=> $b } map { $_->{headers}{'webhook-id'} =~ /_(\d+)$/ } $r->requests("/ok/$name");
}

$t->sql(<<'SQL');
INSERT INTO orders VALUES (1, '7', 'open', 50, now(), '{"tags": ["new", "vip"]}'), (2, '8', 'open', 150, now(), NULL), (3, NULL, 'open', 0, NULL, '[1]');
INSERT INTO users VALUES (1, '7', 'ada@example.com'), (2, '8', 'bob@example.com'), (3, '', 'x'), (4, 'ö', 'y');
INSERT INTO plain VALUES (1, 1);
UPDATE orders SET status = 'paid';
UPDATE orders SET total = total + 100 WHERE id IN (1, 3);
UPDATE orders SET status = 'sent', total = 1 WHERE id = 2;
UPDATE users SET email = email || '.invalid' WHERE id < 3;
UPDATE users SET org = '8' WHERE id = 1;
UPDATE plain SET v = 2;
BEGIN; SET LOCAL webhook.context = '{"actor": "ada", "origin": "crm"}'; UPDATE orders SET status = 'back'; COMMIT;
BEGIN; SET LOCAL webhook.context = '{"actor": "bob", "origin": "erp"}'; UPDATE orders SET status = 'again' WHERE id = 1; COMMIT;
BEGIN; SET LOCAL webhook.context = '{"actor": "ada", "origin": ["crm"]}'; UPDATE orders SET status = 'crm' WHERE id = 1; COMMIT;
BEGIN; SET LOCAL webhook.context = '{"origin": "crm2"}'; UPDATE plain SET v = 3; COMMIT;
DELETE FROM orders WHERE id = 3;
TRUNCATE users;
SQL
$t->wait_until_settled;
$r->count;
my @events;
for my $name (sort keys %asked)
{
	@events = events('to_json(o)', 'true');
	my $wanted = join ' ', map { $_->{event_number} } grep { $asked{$name}[1]->() } @events;
	is(arrived($name), $wanted, "$name: exactly the events it asks for" . ($wanted eq '' ? ', which are none' : ''));
}
is(scalar @events, 26, 'of 26 events');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'what is unknown is not for a subscription, and no error');

# A change of what is asked for counts for all that is committed after it.
$t->sql(q{UPDATE webhook.subscription SET filter = '$.result.v == 5', changed_columns = NULL WHERE name = 'changed'; UPDATE plain SET v = g FROM generate_series(4, 4) g});
$t->sql('UPDATE plain SET v = 5');
$t->sql(q{UPDATE webhook.subscription SET filter = NULL WHERE name = 'changed'});
$t->sql('UPDATE plain SET v = 6');
$t->wait_until_settled;
is_deeply([ map { JSON::PP::decode_json($_->{body})->{result}{v} // () } ($r->requests('/ok/changed'))[ -2, -1 ] ],
	[ 5, 6 ], 'a change of the filter counts from its commit on');

#
# What cannot be evaluated
#
$t->sql(q{DELETE FROM webhook.subscription; DELETE FROM orders; UPDATE plain SET v = 0});
$t->subscribe('everything', $r->url('/ok/everything'), events => q('{order.*}'));
$t->subscribe('filtered', $r->url('/ok/filtered'), events => q('{order.*}'), filter => q('$.result.total > 0'));
$t->subscribe('dated', $r->url('/ok/dated'), events => q('{order.new}'),
	filter => q('$.result.at.datetime() < "2030-01-01".datetime()'));
$t->subscribe('columns', $r->url('/ok/columns'), events => q('{order.*}'), changed_columns => q('{status}'));
$t->subscribe('origins', $r->url('/ok/origins'), events => q('{order.*}'), exclude_origins => q('{crm}'));
my $worker = $t->worker_pid;
my $offset = -s $t->node->logfile;
my $first  = $t->sql('SELECT max(event_number) + 1 FROM webhook.outbox');
$t->sql(<<'SQL');
BEGIN;
INSERT INTO orders VALUES (1, NULL, 'good', 1);
INSERT INTO orders VALUES (2, NULL, 'nul', 1, NULL, '"\u0000"');
INSERT INTO orders VALUES (3, NULL, 'good', 1);
INSERT INTO orders VALUES (4, NULL, 'overflow', 1, NULL, '1e999999999');
SET LOCAL max_stack_depth = '7MB';
INSERT INTO orders VALUES (5, NULL, 'deep', 1, NULL, (repeat('[', 10000) || repeat(']', 10000))::json);
INSERT INTO orders VALUES (6, NULL, 'dated', 1, now());
INSERT INTO orders VALUES (7, NULL, 'good', 1);
SET LOCAL webhook.context = '{"origin": "\u0000"}';
INSERT INTO orders VALUES (8, NULL, 'context', 1);
RESET webhook.context;
UPDATE orders SET doc = NULL WHERE id IN (2, 4, 5);
UPDATE orders SET status = 'changed' WHERE id = 2;
COMMIT;
SQL
$t->wait_until_settled;
is($t->worker_pid, $worker, 'JSON that jsonb does not take, and values that cannot be compared, do not end the worker');
# their result is not JSON that everybody reads
@events = events(q{json_build_object('id', event_number, 'entity_id', entity_id, 'action_type', action_type, 'status', substring(result::text FROM '"status":"([^"]*)"'))}, "event_number >= $first");
is(arrived('everything'), join(' ', map { $_->{id} } @events), 'subscriptions without a filter get every event');
is( $t->sql(<<SQL), <<'EXPECTED' =~ s/\n\z//r, 'each goes to the dead letters of the subscriptions that ask for what it lacks, with the reason');
SELECT d.subscription, d.entity_id, d.action_type, regexp_replace(d.reason, '([^:]*: [^:(]*[^:( ]).*', '\\1')
	FROM webhook.dead_letter d ORDER BY 1, 3, d.event_number
SQL
columns|2|update|changed columns could not be determined: unsupported Unicode escape sequence
columns|4|update|changed columns could not be determined: value overflows numeric format
columns|5|update|changed columns could not be determined: stack depth limit exceeded
dated|2|new|filter could not be evaluated: unsupported Unicode escape sequence
dated|4|new|filter could not be evaluated: value overflows numeric format
dated|5|new|filter could not be evaluated: stack depth limit exceeded
dated|6|new|filter could not be evaluated: cannot convert value from date to timestamptz without time zone usage
dated|8|new|filter could not be evaluated: unsupported Unicode escape sequence
filtered|2|new|filter could not be evaluated: unsupported Unicode escape sequence
filtered|4|new|filter could not be evaluated: value overflows numeric format
filtered|5|new|filter could not be evaluated: stack depth limit exceeded
filtered|8|new|filter could not be evaluated: unsupported Unicode escape sequence
filtered|2|update|filter could not be evaluated: unsupported Unicode escape sequence
filtered|4|update|filter could not be evaluated: value overflows numeric format
filtered|5|update|filter could not be evaluated: stack depth limit exceeded
origins|8|new|origin could not be determined: unsupported Unicode escape sequence
EXPECTED
is($t->sql('SELECT count(*) FROM webhook.dead_letter WHERE attempts <> 0 OR first_attempt_at IS NOT NULL'), 0, 'with no attempt counted');
is( $t->sql('SELECT count(*) FROM webhook.dead_letter d JOIN webhook.outbox o ON o.event_number = d.event_number WHERE d.result::text IS DISTINCT FROM o.result::text OR d.context::text IS DISTINCT FROM o.context::text'),
	0, 'with the event as it was captured');
is(arrived('filtered'), join(' ', map { $_->{id} } grep { $_->{entity_id} =~ /^[1367]$/ || $_->{status} eq 'changed' } @events),
	'all others are filtered as ever, before and after, and of the same entity');
is(arrived('columns'), join(' ', map { $_->{id} } grep { $_->{action_type} eq 'new' || $_->{status} eq 'changed' } @events),
	'so it is with changed columns');
is(arrived('origins'), join(' ', map { $_->{id} } grep { $_->{entity_id} != 8 } @events), 'and with origins');
is( $t->sql(<<SQL), '', 'of each event and subscription that asks for it there is one delivery or one dead letter');
SELECT o.event_number, s.name FROM webhook.outbox o CROSS JOIN webhook.subscription s
	WHERE o.event_number >= $first AND s.name IN ('everything', 'origins')
		AND (SELECT count(*) FROM webhook.attempt a WHERE a.event_number = o.event_number AND a.subscription_id = s.id)
			+ (SELECT count(*) FROM webhook.dead_letter d WHERE d.event_number = o.event_number AND d.subscription_id = s.id) <> 1
SQL
unlike(slurp_file($t->node->logfile, $offset), qr/ERROR|FATAL|PANIC/, 'the server\'s log has no error of it');

#
# What an event costs
#
$t->sql('DELETE FROM webhook.subscription; TRUNCATE webhook.dead_letter');

# Events matched, deliveries made and entries looked at, since an offset of the log.
sub looked_at
{
	my ($from) = @_;
	my @sum = (0, 0, 0);
	my $most = 0;
	my $log  = slurp_file($t->node->logfile, $from);
	while ($log =~ /matched (\d+) events: (\d+) deliveries, (\d+) entries/g)
	{
		$sum[0] += $1;
		$sum[1] += $2;
		$sum[2] += $3;
		$most = $2 if $2 > $most;
	}
	return (@sum, $most);
}

my %cost;
for my $many (10, 10000)
{
	$t->sql("INSERT INTO webhook.subscription (name, url, tenant) SELECT 'tenant ' || g, '" . $r->url('/ok/tenant')
		  . "', g FROM generate_series(coalesce((SELECT max(tenant::int) + 1 FROM webhook.subscription), 1), $many) g");
	$t->sql("INSERT INTO users VALUES ($many + 1000000, '1', 'first')");    # so that they are loaded
	$t->wait_until_settled;
	my $from   = -s $t->node->logfile;
	my $before = $r->count('/ok/tenant');
	my $begin  = time;
	$t->sql("INSERT INTO users SELECT 10 * $many + g, 1 + g % 10, 'x' FROM generate_series(1, 2000) g");
	$t->wait_until_settled;
	my $end = time;
	is($r->count('/ok/tenant') - $before, 2000, "of $many subscriptions, each event reaches the one that asks for its tenant");
	my ($events, $deliveries, $entries) = looked_at($from);
	is("$events $deliveries", '2000 2000', 'all matched');
	$cost{$many} = $entries / $events;
	note sprintf('with %d subscriptions: %.2f entries of the index looked at per event; %.0f events/s committed, matched, delivered and settled',
		$many, $cost{$many}, 2000 / ($end - $begin));
}

# What a change of one of them costs: for people to see, not asserted.
for my $change ('SELECT', q(UPDATE webhook.subscription SET tenant = tenant WHERE tenant = '5'))
{
	my $before = $r->count('/ok/tenant');
	my $begin  = time;
	$t->sql("$change; INSERT INTO users SELECT max(id) + 1, '1', 'x' FROM users");
	poll_until('the event arrives', sub { $r->count('/ok/tenant') > $before });
	note sprintf('with 10000 subscriptions an event arrives after %.0f ms%s', 1000 * (time - $begin),
		$change eq 'SELECT' ? '' : ', and if one of them was changed just before');
}
cmp_ok($cost{10000}, '<', 10, 'with 10,000 tenants an event looks at four keys and its own subscription, and little more');
cmp_ok($cost{10}, '>=', 5, 'as with ten');

#
# Many subscriptions of the same events: pages are cut so that memory stays bounded
#
$t->sql('DELETE FROM webhook.subscription; TRUNCATE users');
$t->sql("INSERT INTO webhook.subscription (name, url, events, state) SELECT 'same ' || g, '" . $r->url('/ok/same') . "', '{plain.*}', 'paused' FROM generate_series(1, 100) g");
my $from = -s $t->node->logfile;
my $last = $t->sql('SELECT max(event_number) FROM webhook.outbox');
$t->sql("BEGIN; INSERT INTO plain SELECT g, 0 FROM generate_series(1001, 1300) g; PREPARE TRANSACTION 'late'");
$t->sql('INSERT INTO plain SELECT g, 0 FROM generate_series(2001, 2300) g');
my $kept = 'SELECT count(*) = %d AND count(DISTINCT (subscription_id, event_number)) = %1$d FROM webhook.pending';
$t->poll_sql('all are kept', sprintf($kept, 30000));
$t->sql("COMMIT PREPARED 'late'");
$t->poll_sql('and those that were committed late', sprintf($kept, 60000));
pass('600 events for 100 subscriptions, half of them committed late, make 60,000 deliveries, none twice');
my ($events, $deliveries, undef, $most) = looked_at($from);
is($deliveries, 60000, 'each was matched once');
cmp_ok($most, '<=', 20000 + 100, 'no page makes more deliveries than memory has room for');
is($t->sql("SELECT count(*) FROM webhook.outbox o WHERE o.event_number > $last AND (SELECT count(*) FROM webhook.pending p WHERE p.event_number = o.event_number) <> 100"), 0, 'each for all of them');

$t->stop;
done_testing();

# The promise: a route does what its statement does for the role that asks, and nothing else: for
# every route and every role of docs/security.md, the answer is psql's own, or its error.
#
# Each route's parameters are given here. A route of the table that has none fails the test.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use Test::More;
use WebhookConsole;
use WebhookTest;

my $c    = WebhookConsole->new(options => ['--allow-superuser']);
my $t    = $c->t;
my $json = JSON::PP->new->canonical->allow_nonref->utf8(0);
my @who  = ('op', 'viewer', 'watcher', 'nobody', 'boss');

# one subscription with a delivery, one with a dead letter, one whose delivery waits
my $r = $t->receiver;
$t->subscribe('ok',   $r->url('/ok/a'));
$t->subscribe('gone', $r->url('/status/413/b'));
$t->sql('INSERT INTO users VALUES (1, \'free\')');
$t->poll_sql('it is delivered', "SELECT count(*) FROM webhook.log WHERE subscription = 'ok' AND outcome = 'delivered'", 1);
$t->poll_sql('it is given up', 'SELECT count(*) FROM webhook.dead_letter', 1);
$t->subscribe('waits', 'https://localhost:1/');
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1 day}' WHERE name = 'waits'; INSERT INTO users VALUES (2, 'pro')");
$t->poll_sql('it waits', "SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'waits' AND p.state = 'retry'", 1);
$t->poll_sql('and nothing else happens', 'SELECT count(*) FROM webhook.dead_letter', 2);
# the worker tells its counts after it has settled
$t->poll_sql('and all is counted', 'SELECT sum(delivered), sum(failed) FROM webhook.status', '2|3');
$t->sql("UPDATE webhook.subscription SET state = 'paused' WHERE name = 'gone'");
$t->sql("CREATE TABLE other (id int PRIMARY KEY); ALTER TABLE other OWNER TO watcher");
my ($event) = $t->sql("SELECT event_id FROM webhook.log WHERE subscription = 'ok' ORDER BY started_at LIMIT 1");

# By route: lists of parameters: those of the path and of the query, and the body.
my %given = (
	'GET /api/subscriptions'                                  => [ {} ],
	'POST /api/subscriptions'                                 => [ { body => { name => 'made', url => 'https://127.0.0.1:1/', max_in_flight => 3 } },
		{ body => { name => 'ok', url => 'https://127.0.0.1:1/' } }, { body => { name => 'x', url => 'ftp://x/' } }, { body => { name => 'x', url => 'https://127.0.0.1/', filter => '$.(' } } ],
	'GET /api/subscriptions/{name}'                           => [ { path => ['ok'] } ],
	'PATCH /api/subscriptions/{name}'                         => [ { path => ['ok'], body => { max_in_flight => 5, retry_schedule => [ '5 s', '1 min' ], headers => { 'X-A' => 'b' }, events => ['user.*'] } },
		{ path => ['ok'], body => { batch_size => 0 } }, { path => ['none'], body => {} } ],
	'POST /api/subscriptions/{name}/pause'                    => [ { path => ['ok'], body => {} }, { path => ['none'], body => {} } ],
	'POST /api/subscriptions/{name}/resume'                   => [ { path => ['ok'], body => {} } ],
	'POST /api/subscriptions/{name}/deactivate'               => [ { path => ['waits'], body => {} } ],
	'POST /api/subscriptions/{name}/test'                     => [ { path => ['ok'], body => {} }, { path => ['none'], body => {} } ],
	'POST /api/subscriptions/{name}/secret'                   => [ { path => ['ok'], body => { overlap => '0' } }, { path => ['ok'], body => { overlap => '-1 s' } } ],
	'PUT /api/subscriptions/{name}/credentials/{kind}'        => [ { path => [ 'ok', 'header:X-Key' ], body => { value => 'v' } }, { path => [ 'ok', 'nonsense' ], body => { value => 'v' } } ],
	'DELETE /api/subscriptions/{name}/credentials/{kind}'     => [ { path => [ 'ok', 'header:X-Key' ] } ],
	'GET /api/subscriptions/{name}/rates'                     => [ { path => ['ok'] }, { path => ['ok'], query => { minutes => 5 } } ],
	'GET /api/subscriptions/{name}/pending'                   => [ { path => ['waits'], query => { limit => 1 } }, { path => ['waits'], query => { cursor => 'x' } } ],
	'GET /api/subscriptions/{name}/dead_letters'              => [ { path => ['gone'], query => { limit => 1 } } ],
	'GET /api/subscriptions/{name}/replay'                    => [ { path => ['ok'], query => { since => '2020-01-01' } }, { path => ['ok'], query => { since => '2020-01-01', until => '2019-01-01' } } ],
	'POST /api/subscriptions/{name}/replay'                   => [ { path => ['gone'], body => { since => '2050-01-01' } } ],
	'POST /api/subscriptions/{name}/dead_letters/redeliver'   => [ { path => ['gone'], body => { expected => 0 } }, { path => ['gone'], body => { until => '2020-01-01' } } ],
	'POST /api/subscriptions/{name}/dead_letters/purge'       => [ { path => ['gone'], body => { expected => 0 } }, { path => ['gone'], body => { until => '2020-01-01', expected => 0 } } ],
	'GET /api/profiles'                                       => [ {} ],
	'POST /api/preview'                                       => [ { body => { profile => 'entity', entity_type => 'user', entity_id => '1', headers => { 'X-A' => 'b' } } }, { body => { profile => 'none' } },
		{ body => { profile => 'entity', url => 'ftp://x/' } }, { body => { profile => 'entity', entity_type => 'none' } } ],
	'POST /api/match'                                         => [ { body => { events => ['user.*'], filter => '$.result.plan == "pro"' } }, { body => { events => ['nonsense'] } }, { body => { filter => '$.(' } } ],
	'GET /api/log'                                            => [ {}, { query => { subscription => 'ok', limit => 1 } }, { query => { outcome => 'failed', status => '4xx' } }, { query => { status => 'x' } }, { query => { event => $event } },
		{ query => { entity_type => 'user', entity_id => '1' } }, { query => { cursor => 'x' } } ],
	'GET /api/deliveries/{event}/{subscription}'              => [ { path => [ $event, 'ok' ] }, { path => [ $event, 'gone' ] }, { path => [ '2', 'waits' ] }, { path => [ 'evt_x', 'ok' ] }, { path => [ '99', 'ok' ] } ],
	'POST /api/deliveries/{event}/{subscription}/redeliver'   => [ { path => [ '99', 'ok' ], body => {} }, { path => [ $event, 'waits' ], body => {} } ],
	'GET /api/why'                                            => [ { query => { event => $event, subscription => 'ok' } }, { query => { event => $event, subscription => 'waits' } }, { query => { event => $event, subscription => 'none' } } ],
	'GET /api/sources'                                        => [ {} ],
	'GET /api/tables'                                         => [ {} ],
	'POST /api/sources'                                       => [ { body => { source => 'public.other', entity_type => 'thing' } }, { body => { source => 'none' } }, { body => { source => 'public.other', columns => ['none'] } } ],
	'DELETE /api/sources/{source}'                            => [ { path => ['public.other'] }, { path => ['none'] } ],
	'GET /api/worker'                                         => [ {} ],
	'GET /api/tokens'                                         => [ {} ],
	'POST /api/tokens'                                        => [ { body => { name => 't', role => 'op' } }, { body => { name => 't2', role => 'boss' } }, { body => { name => '', role => 'op' } } ],
	'DELETE /api/tokens/{name}'                               => [ { path => ['t'] }, { path => ['none'] } ],
	'GET /api/audit'                                          => [ {}, { query => { subscription => 'ok', limit => 1 } }, { query => { cursor => 'x' } } ],
	'DELETE /api/subscriptions/{name}'                        => [ { path => ['made'] }, { path => ['none'] } ],
	'POST /projects/{project_id}/events/{event_type}/webhooks' => [ { path => [ 'p', 'e' ], body => { url => 'https://127.0.0.1/' } } ],
);

my @routes = map { JSON::PP->new->decode($_) } split /\n/, `$ENV{PGWEBHOOK} routes`;
is_deeply([ grep { !$given{$_} } map { "$_->{method} $_->{path}" } grep { $_->{class} ne 'own' } @routes ], [], 'every route of the table is tried');

sub literal { my ($v) = @_; return 'NULL' unless defined $v; $v =~ s/'/''/g; return "'$v'" }

# Things that differ between two looks at the same.
sub steady
{
	my ($text) = @_;
	$text =~ s/"(oldest_\w+_seconds|until|since|read_at|\w+_read_at|last_settled_at|version|pid|xmin)": ?("[^"]*"|[^,}\]]+)/"$1":"..."/g;
	$text =~ s/("last_(?:success|failure)_at": ?"[^".]*)\.\d+/$1/g; # of the worker's own clock, from which it is reckoned each time
	$text =~ s/\["(webhook-timestamp|webhook-signature)", ?"[^"]*"/["$1","..."/g;
	$text =~ s/whsec_[^"]+|whk_[0-9a-f]+|\b[0-9a-f]{64}\b/SECRET/g;
	return $json->encode($json->decode($text)) if $text =~ /^[\[{]/;
	return $text;
}

# What psql says: the answer, "none", or "error SQLSTATE: message". What is done is rolled back.
sub by_psql
{
	my ($who, $route, @values) = @_;
	my $types = @values ? '(' . join(', ', ('text') x @values) . ')' : '';
	my $given = @values ? '(' . join(', ', map { literal($_) } @values) . ')' : '';
	for my $statement ($route->{sql}, $route->{less})
	{
		next unless defined $statement;
		my $sql = $statement;
		my ($rc, $out, $err) = (0, '', '');
		if ($route->{class} eq 'call')
		{
			$sql =~ s/\$(\d+)(?=\D)/literal($values[$1 - 1])/ge;
			($rc, $out, $err) = psql($who, "SET search_path = pg_catalog;\n$sql;");
			$out = 'done' if $rc == 0;
		}
		else
		{
			($rc, $out, $err) = psql($who,
				"SET search_path = pg_catalog; SET timezone = 'UTC'; SET intervalstyle = postgres;\nBEGIN;\nPREPARE it$types AS $sql;\nEXECUTE it$given;\n"
				  . (defined $route->{then} && $route->{what} =~ /^create a sub/ ? "PREPARE more$types AS $route->{then};\n\\o /dev/null\nEXECUTE more$given;\n\\o\n" : '') . 'ROLLBACK;');
		}
		return $out eq '' && $route->{then} ? 'done' : $out eq '' ? 'none' : $out if $rc == 0;
		my ($state, $message) = $err =~ /ERROR:  ([0-9A-Z]{5}): (.*)/;
		die "$err\n" unless defined $state;
		next if $state eq '42501' && defined $route->{less} && $statement ne $route->{less};
		return "error $state: $message";
	}
}

sub psql
{
	my ($who, $sql) = @_;
	local $ENV{PGPASSWORD} = $WebhookConsole::PASSWORD;
	my ($out, $err) = ('', '');
	my $rc = $t->node->psql($WebhookTest::DB, "\\set QUIET on\n\\set VERBOSITY verbose\nSET client_min_messages = error;\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 1, extra_params => [ '-U', $who ]);
	return ($rc, $out, $err);
}

sub by_http
{
	my ($person, $route, $try) = @_;
	my @path  = @{ $try->{path} // [] };
	my $path  = $route->{path} =~ s/\{\w+\}/my $v = shift @path; $v =~ s|([^A-Za-z0-9._-])|sprintf '%%%02X', ord $1|ger/ger;
	my $query = join '&', map { "$_=$try->{query}{$_}" =~ s/ /+/gr } sort keys %{ $try->{query} // {} };
	my ($status, $answer) = $person->ask($route->{method}, $path . ($query ? "?$query" : ''), $try->{body});
	return ($status, 'error ' . ($answer->{code} // 'none') . ': ' . $answer->{title}) if $status >= 400;
	return ($status, $json->encode($answer));
}

my %people = map { $_ => $c->person($_) } @who;
for my $route (@routes)
{
	next if $route->{class} eq 'own';
	my $name = "$route->{method} $route->{path}";
	for my $who (@who)
	{
		for my $try (@{ $given{$name} })
		{
			my @values = (@{ $try->{path} // [] });
			push @values, map { $try->{query}{$_} } split / /, $route->{query} // '';
			push @values, $json->encode($try->{body} // {}) if defined $route->{fields};
			push @values, undef if $route->{version};
			my $expected = by_psql($who, $route, @values);
			my ($status, $is) = by_http($people{$who}, $route, $try);
			my $label = "$who: $name " . $json->encode($try);
			if ($expected =~ /^error/)
			{
				is($is, $expected, "$label: $status");
			}
			elsif ($expected eq 'none')
			{
				is($status, 404, "$label: nothing");
			}
			elsif ($route->{class} =~ /^(write|call)$/)
			{
				is($status, 200, "$label: done") or diag($is);
				# as it was, for the next who tries
				$t->sql("DELETE FROM webhook.subscription WHERE name = 'made'") if $name eq 'POST /api/subscriptions';
				$t->sql("DELETE FROM webhook.api_token") if $name eq 'POST /api/tokens';
			}
			else
			{
				is(steady($is), steady($expected), $label) or diag("status $status");
			}
		}
	}
}

# every write is in the account, with who made it, and what was only asked is not
is($t->sql("SELECT string_agg(DISTINCT role::text, ',' ORDER BY role::text) FROM webhook.audit WHERE via = 'console'"), 'boss,op,watcher', 'writes are noted with who made them');
is($t->sql("SELECT count(*) FROM webhook.audit WHERE action IN ('try a filter', 'explain a delivery', 'count what a replay would send')"), 0, 'questions are not');
is($t->sql("SELECT details FROM webhook.audit WHERE action = 'change a subscription' LIMIT 1"), 'events, headers, max_in_flight, retry_schedule', 'with the names of what was given');
is($t->sql("SELECT count(*) FROM webhook.audit a WHERE a::text ~ 'whsec_|whk_'"), 0, 'and no secret');

# what is not in the table
my $op = $people{op};
is(($op->ask('GET', '/api/log?nonsense=1'))[0], 422, 'an unknown parameter');
is(($op->ask('POST', '/api/subscriptions', { name => 'x', nonsense => 1 }))[1]{title}, 'nonsense is not a field of this request', 'an unknown field');
is(($op->ask('GET', '/api/none'))[0], 404, 'an unknown path');
my ($status, undef, $headers) = $op->ask('PUT', '/api/subscriptions');
is("$status $headers->{allow}[0]", '405 GET, POST', 'another method');
is(($op->ask('GET', '/api/subscriptions/a%2Fb'))[0], 404, 'a name with a slash is one segment');
$t->sql(q{SELECT FROM webhook.subscribe('a/b ü %', 'https://127.0.0.1:1/')});
is(($op->ask('GET', '/api/subscriptions/a%2Fb%20%C3%BC%20%25'))[1]{name}, "a/b \x{fc} %", '... and is found');
is(($op->ask('GET', '/api/subscriptions/a%00b'))[0], 404, 'a zero byte in a path is none');
is(($op->ask('GET', '/api/subscriptions/%ff'))[0], 422, 'what is not UTF-8 is the server\'s to refuse');

# what somebody confirmed by its number
for my $what ('redeliver', 'purge')
{
	my ($code, $why) = $op->ask('POST', "/api/subscriptions/gone/dead_letters/$what", { expected => 1 });
	is("$code $why->{title}", '409 there are 2 now, and 1 were confirmed', "$what: more than were confirmed");
	is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'gone'"), 2, '... and nothing is done');
}

# If-Match
my ($version) = map { $_->{version} } ($op->ask('GET', '/api/subscriptions/ok'))[1];
is(($op->ask('PATCH', '/api/subscriptions/ok', { max_in_flight => 9 }, 'If-Match' => $version))[0], 200, 'a change of the version that was seen');
is(($op->ask('PATCH', '/api/subscriptions/ok', { max_in_flight => 10 }, 'If-Match' => "\"$version\""))[0], 412, 'not of one that somebody has changed');
is($t->sql("SELECT max_in_flight FROM webhook.subscription WHERE name = 'ok'"), 9, '... and nothing is changed');

# pages of a list: all, once, in the order of the whole
for my $list ('/api/log?entity_type=user', '/api/subscriptions/gone/dead_letters', '/api/audit')
{
	my $sign = $list =~ /\?/ ? '&' : '?';
	my (undef, $whole) = $op->ask('GET', "$list${sign}limit=200");
	cmp_ok(@{ $whole->{items} }, '>', 1, "$list has several");
	is($whole->{next}, undef, '... and ends');
	my ($cursor, @got);
	do
	{
		my (undef, $page) = $op->ask('GET', "$list${sign}limit=1" . (defined $cursor ? "&cursor=$cursor" : ''));
		push @got, @{ $page->{items} };
		$cursor = $page->{next};
	} while (defined $cursor && @got < 200);
	is_deeply(\@got, $whole->{items}, '... pages of one make the whole list');
}

$c->stop;
done_testing();

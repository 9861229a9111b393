# The promise: against a standby, the console shows what is stored and how the standby is,
# and refuses what writes with one clear answer, for sessions and for tokens. The primary's
# promotion of it is seen without a restart.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookConsole;
use WebhookTest;

my $me = getpwuid $<;
my $c  = WebhookConsole->new(hba => "local replication $me trust\n");
my $t  = $c->t;
my $r  = $t->receiver;
$t->node->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
$t->node->restart;
poll_until('the service is connected again', sub { ($c->ask('GET', '/readyz'))[0] == 200 });
$t->subscribe('ok',   $r->url('/ok/a'));
$t->subscribe('gone', $r->url('/status/413/b'));
$t->sql("SELECT webhook.grant_viewer('service')");    # for /metrics
$t->sql('INSERT INTO users VALUES (1, \'free\')');
$t->poll_sql('delivered and given up', "SELECT (SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'), (SELECT count(*) FROM webhook.dead_letter)", '1|1');
my $event = $t->sql('SELECT webhook.event_id(min(event_number)) FROM webhook.outbox');

$t->node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($t->node, 'copy', has_streaming => 1);
$standby->start;

my $s = $c->of($standby);
my $p = $s->person('op');

#
# Reading
#
my %params = ('/api/subscriptions/{name}' => ['ok'], '/api/subscriptions/{name}/rates' => ['ok'], '/api/subscriptions/{name}/pending' => ['ok'],
	'/api/subscriptions/{name}/dead_letters' => ['gone'], '/api/deliveries/{event}/{subscription}' => [ $event, 'ok' ]);
my @routes = map { JSON::PP->new->decode($_) } split /\n/, `$ENV{PGWEBHOOK} routes`;
for my $route (grep { $_->{class} eq 'read' && $_->{method} eq 'GET' && $_->{path} =~ m{^/api/} } @routes)
{
	my @values = @{ $params{ $route->{path} } // [] };
	(my $path = $route->{path}) =~ s/\{\w+\}/shift @values/ge;
	my ($status, $json) = $p->ask('GET', $path);
	is($status, 200, "GET $route->{path}") or diag explain $json;
}
my (undef, $worker) = $p->ask('GET', '/api/worker');
is("$worker->{state}: $worker->{reason}", 'not_running: this server is a standby: delivery begins when it is promoted', 'the worker\'s page says that it is a standby');
my ($ready, $why) = $s->ask('GET', '/readyz');
is("$ready $why->{reason}", '503 this server is a standby: delivery begins when it is promoted', 'so does /readyz, which is not ready');
my ($up, $metrics) = $s->ask('GET', '/metrics');
is($up, 200, '/metrics answers');
like($metrics, qr/^webhook_worker_up 0$/m, '... and says that no worker is up');

#
# What needs the primary
#
sub is_refused
{
	my ($name, $status, $json) = @_;
	return is(join('|', $status, @$json{qw(code title)}), '403|25006|this server is a standby: this is possible on the primary only', $name);
}
for my $route (grep { $_->{class} ne 'read' && $_->{class} ne 'own' } @routes)
{
	my @values = $route->{path} =~ /event/ ? ($event, 'ok') : ('ok', 'bearer');
	(my $path = $route->{path}) =~ s/\{\w+\}/shift @values/ge;
	is_refused("$route->{method} $route->{path}", $p->ask($route->{method}, $path, $route->{method} =~ /^P/ ? {} : undef));
}
is(($p->ask('GET', '/api/subscriptions'))[0], 200, 'the session reads on after all of them');

# A token's use is noted once a minute, except on a standby.
my $token = $t->sql("SELECT webhook.create_api_token('ci', 'op')");
my @with  = ('GET', '/api/subscriptions', undef, Authorization => "Bearer $token", Origin => undef);
$t->node->wait_for_catchup('standby', 'replay', $t->node->lsn('insert'));
is(($s->ask(@with))[0], 200, 'a token reads here');

#
# Promoted
#
$c->stop;
$standby->promote;
poll_until('it delivers', sub { ($s->ask('GET', '/readyz'))[0] == 200 });
is(($p->ask('POST', '/api/subscriptions/ok/pause', {}))[0], 200, 'promoted, it changes things in the same session');
is(($s->ask(@with))[0], 200, 'and takes the token');
is($s->end, 0, 'its program ends when it is told to');
unlike($s->log, qr/ERROR: AddressSanitizer|runtime error|ERROR: LeakSanitizer/, '... and no sanitizer spoke');
$standby->stop('fast');
done_testing();

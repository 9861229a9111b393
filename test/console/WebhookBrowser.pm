# What the tests of the pages share: a browser program (browser/*.mjs) that acts as a person would,
# and that this one answers: it runs SQL as the superuser, and ends and starts things underneath.
#
#   my $c = WebhookConsole->new;
#   WebhookBrowser::run($c, 'mouse', $r);
#
# The program says a JSON object a line: what was right or wrong, which becomes a test here, or what
# it wants, which is answered in a line. One that dies, or asks for nothing any more, fails.
package WebhookBrowser;

use strict;
use warnings;

use FindBin;
use IPC::Open2;
use JSON::PP ();
use Test::More;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub answer
{
	my ($c, $r, $wish) = @_;
	my $t = $c->t;
	return { out => [ $r->requests($wish->{requests}) ] } if defined $wish->{requests};
	if (defined $wish->{sql})
	{
		my $out = eval { $t->sql($wish->{sql}) };
		return defined $out ? { out => $out } : { error => "$@" };
	}
	if (($wish->{ask} // '') eq 'restart')
	{
		my $port = $c->{port};
		$c->end;
		$c->start("--listen=127.0.0.1:$port");
		return { out => '' };
	}
	if (($wish->{ask} // '') eq 'restart server')
	{
		$t->node->restart;
		$t->wait_for_worker;
		WebhookTest::poll_until('the service is connected', sub { ($c->ask('GET', '/readyz'))[0] == 200 });
		return { out => '' };
	}
	return { error => 'no such wish' };
}

sub run
{
	my ($c, $part, $r, %given) = @_;
	local $ENV{HOME} = $c->{dir}; # a browser writes there
	local $ENV{CONSOLE} = $json->encode({ url => "http://$c->{host}", password => $WebhookConsole::PASSWORD, receiver => $r->url(''), %given });
	my $pid = open2(my $from, my $to, 'node', "$FindBin::RealBin/browser/$part.mjs");
	local $SIG{PIPE} = 'IGNORE';
	my $done = 0;
	while (my $line = <$from>)
	{
		my $said = eval { $json->decode($line) };
		if (!ref $said) { chomp $line; diag($line) }
		elsif (defined $said->{what}) { ok($said->{ok}, $said->{what}) or diag($said->{why} // 'no reason') }
		elsif ($said->{done}) { $done = 1 }
		else { print $to $json->encode(answer($c, $r, $said)) . "\n"; $to->flush }
	}
	waitpid $pid, 0;
	is($? . ($done ? '' : ', before its end'), '0', "the program $part ended as it should");
	return;
}

1;

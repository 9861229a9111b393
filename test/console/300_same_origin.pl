# The promise: only pages of the console itself write, whatever a browser has been made to send;
# only names that are served are answered; and every answer forbids what a page must not do.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookConsole;

my $c  = WebhookConsole->new(options => ['--host=console.example:8443']);
my $t  = $c->t;
my $op = $c->person('op');
$t->sql("SELECT FROM webhook.subscribe('s', 'https://127.0.0.1:1/')");
my $state = sub { $t->sql("SELECT state FROM webhook.subscription WHERE name = 's'") };

# Origin, Sec-Fetch-Site, token, type: each right, wrong or missing
my %choices = (
	origin => { right => "http://$c->{host}", wrong => 'https://evil.example', null => 'null', missing => undef },
	site   => { right => 'same-origin', wrong => 'cross-site', sibling => 'same-site', missing => undef },
	token  => { right => $op->{csrf}, wrong => '0' x 64, missing => undef },
	type   => { right => 'application/json', with => 'application/json; charset=utf-8', wrong => 'text/plain', form => 'application/x-www-form-urlencoded', missing => undef },
);
for my $origin (sort keys %{ $choices{origin} })
{
	for my $site (sort keys %{ $choices{site} })
	{
		for my $token (sort keys %{ $choices{token} })
		{
			for my $type (sort keys %{ $choices{type} })
			{
				my $right_type = $type eq 'right' || $type eq 'with';
				my $right      = $token eq 'right' && $right_type && ($site eq 'right' && $origin =~ /^(right|missing)$/ || $site eq 'missing' && $origin eq 'right');
				my ($code) = $op->ask('POST', '/api/subscriptions/s/pause', {}, Origin => $choices{origin}{$origin}, 'Sec-Fetch-Site' => $choices{site}{$site},
					'Webhook-CSRF' => $choices{token}{$token}, 'Content-Type' => $choices{type}{$type});
				my $expected = $right ? 200 : $right_type ? 403 : 415;
				my $is       = $state->();
				is("$code $is", $expected . ($right ? ' paused' : ' active'), "origin $origin, site $site, token $token, type $type");
				$t->sql("UPDATE webhook.subscription SET state = 'active' WHERE state <> 'active'") if $is ne 'active';
			}
		}
	}
}
is(($c->ask('POST', '/api/session', { user => 'op', password => $WebhookConsole::PASSWORD }, Origin => 'https://evil.example'))[0], 403, 'nobody is logged in from elsewhere');

# names
for ([ $c->{host}, 200 ], [ "localhost:$c->{port}", 200 ], [ 'console.example:8443', 200 ], [ 'CONSOLE.example:8443', 200 ], [ 'console.example', 421 ],
	[ 'evil.example', 421 ], [ "evil.example:$c->{port}", 421 ], [ "127.0.0.1", 421 ], [ '', 421 ])
{
	is(($c->ask('GET', '/healthz', undef, Host => $_->[0]))[0], $_->[1], "Host: $_->[0]");
}
is(($c->raw("GET /healthz HTTP/1.1\r\nHost: $c->{host}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"))[0], 421, 'two of them');

# what every answer says
for ([ 'GET', '/' ], [ 'GET', '/assets/none.js' ], [ 'GET', '/api/login' ], [ 'GET', '/api/subscriptions' ], [ 'POST', '/api/none' ], [ 'GET', '/healthz' ])
{
	my ($code, undef, $h) = $c->ask(@$_);
	like($h->{'content-security-policy'}[0], qr/^default-src 'none'; script-src 'self';.*frame-ancestors 'none'; require-trusted-types-for 'script'$/, "$_->[0] $_->[1] ($code): policy");
	unlike($h->{'content-security-policy'}[0], qr/unsafe/, '... without exceptions');
	is_deeply([ map { $h->{$_}[0] } 'x-content-type-options', 'referrer-policy', 'cache-control', 'cross-origin-opener-policy' ],
		[ 'nosniff', 'no-referrer', 'no-store', 'same-origin' ], '... and the others');
	ok(!$h->{'access-control-allow-origin'}, '... and nobody else may read it');
}
$c->stop;
done_testing();

# The promise: README's sixty seconds work as they stand there.
#
# Runs the SQL of README's first example, with nothing changed but the
# endpoint's host, in a fresh database, and compares what arrives with the
# bodies README shows, and runs its queries of the log and the status.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");

sub block
{
	my ($mark, $language) = @_;
	$readme =~ /<!-- sixty-seconds$mark[^>]*-->\n```$language\n(.*?)```/s or die "README has no block \"sixty-seconds$mark\"";
	return $1;
}

my $t = WebhookTest->new;
my $r = $t->receiver;
my $sql = block(': run', 'sql');
my $url = $r->url('/ok');
ok($sql =~ s{https://crm\.example\.com}{$url}, 'the example subscribes an endpoint');

$t->sql('DROP EXTENSION webhook'); # the example creates it
my $secret = $t->sql($sql);
like($secret, qr/^whsec_[A-Za-z0-9+\/]{43}=$/m, 'it returns the signing secret');

my @expected = split /\n/, block(': bodies', 'json');
$r->wait_for_requests(scalar @expected);
$t->wait_until_settled;
is_deeply([ map { $_->{body} } $r->requests ], \@expected, 'what arrives is what README shows, in that order');
my ($id, @more) = map { $_->{headers}{'webhook-id'} } $r->requests;
like($id, qr/^evt_[0-9a-f]{8}_1$/, 'with a webhook-id');
is(scalar(grep { $_->{headers}{'webhook-signature'} =~ /^v1,/ } $r->requests), 3, 'and a signature');

my @queries = grep { /\S/ } split /;\n/, block(': log', 'sql');
is(scalar @queries, 3, 'README shows how to look at the log, the status and the worker');
my $log = $t->sql($queries[0]);
is(scalar(() = $log =~ /\|delivered\|200\|/g), 3, 'the log has the three requests');
like($t->sql($queries[1]), qr/^crm\|active\|/m, 'the status has the subscription');
like($t->sql($queries[2]), qr/^running\|/, 'and the worker runs');

$t->stop;
done_testing();

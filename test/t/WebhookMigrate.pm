# What the tests of scripts/migrate share: running a script against the old system's rows, and
# running what it has printed as people would, with the secrets in the environment.
package WebhookMigrate;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

our @EXPORT = qw(migrate run_printed secrets_of arrived bodies difference writer);

my $scripts = "$FindBin::RealBin/../../scripts/migrate";

sub psql
{
	my ($t, $variables, $file, %environment) = @_;
	my ($out, $err) = ('', '');
	local @ENV{ keys %environment } = values %environment;
	my @variables = map { ('-v', "$_=$variables->{$_}") } sort keys %$variables;
	my $ok = IPC::Run::run([ 'psql', '-X', '-q', @variables, '-d', $t->node->connstr($WebhookTest::DB), '-f', $file ],
		'<', \undef, '>', \$out, '2>', \$err);
	return ($ok, $out, $err);
}

# migrate(TEST, SCRIPT, variable => value...): what the script prints; dies if it fails.
sub migrate
{
	my ($t, $script, %variables) = @_;
	my ($ok, $out, $err) = psql($t, \%variables, "$scripts/$script.sql");
	die "$script: $err" unless $ok;
	return $out;
}

# The values that the script does not print among its SQL: name => value, as a shell reads them.
sub secrets_of
{
	my ($t, $script, %variables) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/secrets.sh", migrate($t, $script, %variables, secrets => 1));
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'env', '-i', 'sh', '-e', '-c', ". '$dir/secrets.sh'; exec /usr/bin/env -0" ], '<', \undef, '>', \$out, '2>', \$err)
	  or die $err;
	return map { /^(WEBHOOK_SECRET_\d+)=(.*)$/s ? ($1, $2) : () } split /\0/, $out;
}

# run_printed(TEST, SQL, variables => {...}, environment => {...}): whether it ran, and what was said.
sub run_printed
{
	my ($t, $sql, %args) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/webhook.sql", $sql);
	my ($ok, $out, $err) = psql($t, $args{variables} // {}, "$dir/webhook.sql", %{ $args{environment} // {} });
	return ($ok, "$out$err");
}

# What has arrived at a path, whatever its query, in the order of the events.
sub arrived
{
	my ($r, $path) = @_;
	my $number = sub { $_[0]{headers}{'webhook-id'} =~ /_(\d+)$/ ? $1 : 0 };
	my @in_order = sort { $number->($a) <=> $number->($b) } grep { $_->{path} =~ m{^\Q$path\E(\?|$)} } $r->requests;
	return @in_order;
}

sub bodies
{
	my ($r, $path) = @_;
	return map { JSON::PP::decode_json($_->{body}) } arrived($r, $path);
}

# The script of a session that runs an INSERT with n = 1, 2, ... in transactions of their own until
# it has done so fifty times after somebody has subscribed: so it writes before, during and after.
sub writer
{
	my ($insert) = @_;
	return <<SQL;
DO \$do\$
DECLARE
	after int := 0;
BEGIN
	FOR n IN 1..500000 LOOP
		$insert;
		COMMIT;
		after := after + CASE WHEN EXISTS (SELECT FROM webhook.subscription) THEN 1 ELSE 0 END;
		EXIT WHEN after = 50;
	END LOOP;
END
\$do\$;
SQL
}

# Which of the first list are not in the second once each, and which of the second are not in the
# first: a text that is empty where all is well.
sub difference
{
	my ($expected, $got) = @_;
	my %n;
	$n{$_}++ for @$got;
	my @wrong = map { 'missing: ' . $_ } grep { !$n{$_} } @$expected;
	push @wrong, map { "$n{$_} times: $_" } grep { $n{$_} > 1 } sort keys %n;
	my %expected = map { $_ => 1 } @$expected;
	push @wrong, map { "not expected: $_" } grep { !$expected{$_} } sort keys %n;
	return join "\n", @wrong > 10 ? (@wrong[ 0 .. 9 ], '...') : @wrong;
}

1;

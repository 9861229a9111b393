# gcov's JSON, a document a line, from standard input -> a table per file of
# the library, and a verdict as TAP: every outcome of a request is reached, and
# every branch of settling.
#
# A file is compiled several times (for the library, for the unit tests); a
# line counts as reached if it was in any of them.
use strict;
use warnings;

use JSON::PP ();

my %lines;    # file -> line number -> how often
while (my $json = <STDIN>)
{
	next unless $json =~ /^\{/;
	for my $file (@{ JSON::PP::decode_json($json)->{files} })
	{
		my ($name) = $file->{file} =~ m{((?:engine|extension|worker)/.*\.c)$} or next;
		for my $line (@{ $file->{lines} })
		{
			my $count = \$lines{$name}{ $line->{line_number} };
			$$count = ($$count // 0) + $line->{count};
		}
	}
}

# What has to be reached: in these files every line that matches. In retry.c the table of outcomes is data; the
# unit test of it goes through all rows.
my %must = (
	'engine/http/http_outcome.c'  => qr/\breturn\b.*WH_OUT_/,
	'engine/policy/retry.c'       => qr/\breturn\b/,
	'engine/engine.c'             => qr/= WH_DO_/,
	'worker/store/store_attempts.c' => qr/./,
	'worker/store/store_settle.c' => qr/./,
	'worker/worker_settle.c'      => qr/./);
# outcomes of which libcurl knows nothing
$must{"engine/$_.c"} = qr/\bkind = .*\bWH_OUT_/ for qw(request_auth batch oauth token profile request transform http/http);
# but not these, which are for what no test can bring about from outside
my $errors = qr/\b(ereport|elog|errcode|errmsg|errdetail|errhint|Assert|PANIC|out of memory)\b/;

my ($n, $bad) = (0, 0);
printf "%-40s %6s %6s %5s\n", 'file', 'lines', 'hit', '%';
my ($all, $hit) = (0, 0);
for my $name (sort keys %lines)
{
	my $of = $lines{$name};
	my ($total, $reached) = (scalar keys %$of, scalar grep { $_ } values %$of);
	printf "%-40s %6d %6d %5.1f\n", $name, $total, $reached, 100 * $reached / $total;
	$all += $total;
	$hit += $reached;
}
printf "%-40s %6d %6d %5.1f\n", 'all', $all, $hit, 100 * $hit / ($all || 1);

for my $name (sort keys %must)
{
	my @missed;
	open my $source, '<', $name or die "$name: $!";
	my @text = <$source>;
	for my $i (sort { $a <=> $b } keys %{ $lines{$name} // {} })
	{
		my ($code) = $text[ $i - 1 ] =~ /^\s*(.*?)\s*$/;
		next if $lines{$name}{$i} > 0 || $code !~ $must{$name} || $code =~ $errors;
		push @missed, "$name:$i: $code\n";
	}
	my $ok = $lines{$name} && !@missed;
	$n++;
	$bad++ unless $ok;
	print $ok ? 'ok' : 'not ok', " $n - $name: what has to be reached is reached\n", map { "# $_" } @missed;
}
exit($bad ? 1 : 0);

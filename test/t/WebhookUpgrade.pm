# What the tests of upgrades share: an installation of PostgreSQL with a next version of the
# extension, a library that knows that version, and the catalogue as text.
#
#   my $t = WebhookTest->new(install_path => installation(library => next_library()));
#   $t->sql(q{ALTER EXTENSION webhook UPDATE TO 'next'});
#
# The installation is a copy, which works wherever it lies, so the one that is tested holds nothing
# of it. test/upgrade/next.sql is the update.
package WebhookUpgrade;

use strict;
use warnings;

use Exporter 'import';
use File::Copy qw(copy);
use File::Path qw(make_path);
use FindBin;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(installation next_library version catalogue interface breaks);

my $root = "$FindBin::RealBin/../..";

# The version that CREATE EXTENSION makes.
sub version
{
	return slurp_file("$root/extension/webhook.control") =~ /^default_version = '(.*)'$/m ? $1 : die 'no default_version';
}

# installation(library => FILE, updates => { NAME => SQL }): the directory that holds its bin. Updates
# lead from the current version to NAME.
sub installation
{
	my (%args) = @_;
	my $copy = PostgreSQL::Test::Utils::tempdir();
	my %of   = map { chomp(my $dir = `$ENV{PG_CONFIG} --$_`); ($_ => $dir) } qw(bindir sharedir pkglibdir);
	# the server finds the others from where its program lies: keep how they lie to each other
	my $common = $of{bindir};
	$common =~ s{/[^/]+$}{} until $common eq '' || !grep { index("$_/", "$common/") != 0 } values %of;
	my %to = map { $_ => $copy . substr($of{$_}, length $common) } keys %of;
	make_path(map { s{/[^/]+$}{}r } values %to);
	system_or_bail('cp', '-R', $of{$_}, $to{$_}) for qw(bindir sharedir);
	if ($args{library})
	{
		make_path($to{pkglibdir});
		symlink($_, $to{pkglibdir} . '/' . s{.*/}{}r) or die "$_: $!" for glob("$of{pkglibdir}/*");
		unlink("$to{pkglibdir}/webhook.so");
		copy($args{library}, "$to{pkglibdir}/webhook.so") or die "$args{library}: $!";
	}
	else
	{
		symlink($of{pkglibdir}, $to{pkglibdir}) or die "$to{pkglibdir}: $!";
	}
	my %updates = (next => slurp_file("$root/test/upgrade/next.sql"), %{ $args{updates} // {} });
	append_to_file("$to{sharedir}/extension/webhook--" . version() . "--$_.sql", $updates{$_}) for keys %updates;
	return $to{bindir} =~ s{/bin$}{}r;
}

# A library that knows the next version, and fills the column that it has added to the outbox: what
# a developer would write, in a copy of the sources. What was built is used again. Returns the file.
sub next_library
{
	my $tree  = PostgreSQL::Test::Utils::tempdir() . '/next';
	my @dirs  = qw(engine extension worker);
	my %edits = (
		'extension/shared/sql_version.h' => [ qr/(?=\tWH_SQL_NEWER\b)/, "\tWH_SQL_NEXT,\n" ],
		'extension/shared/sql_version.c' => [ qr/(?=^\};\nStaticAssertDecl)/m, "\t[WH_SQL_NEXT] = \"next\",\n" ],
		'extension/capture/segment.h'    => [ qr/(?=\tOUTBOX_COLUMNS\n)/, "\tCOLUMN_LATER,\n" ],
		'extension/capture/segment.c'    => [ qr/(?=^\};\nStaticAssertDecl)/m, "\t[COLUMN_LATER] = {\"later\", TEXTOID, false, WH_SQL_NEXT},\n" ],
		'extension/capture/outbox.c'     => [ qr/(?=^\tset_value\(writer, COLUMN_XID)/m, "\tset_string(writer, COLUMN_LATER, \"filled\");\n" ],
		'worker/store/schema_check.c'    => [ qr/(?=^\};)/m, "\t{\"attempt\", \"noted_at\", TIMESTAMPTZOID, WH_SQL_NEXT},\n" ]);

	make_path("$tree/sql");
	system_or_bail('cp', '-pR', (map { "$root/$_" } 'Makefile', @dirs), $tree);
	for my $file (keys %edits)
	{
		my $text = slurp_file("$tree/$file");
		my @was  = stat "$tree/$file";
		$text =~ s/$edits{$file}->[0]/$edits{$file}->[1]/ or die "$file: there is no place for an edit";
		unlink "$tree/$file";
		append_to_file("$tree/$file", $text);
		# make would build everything again for a header
		utime($was[8], $was[9], "$tree/$file") if $file =~ /\.h$/;
	}
	unlink map { s/c$/o/r } grep { slurp_file($_) =~ /"(?:sql_version|segment|outbox_writer)\.h"/ }
	  map { glob("$tree/$_/*.c $tree/$_/*/*.c") } @dirs;
	system_or_bail('make', '-s', '-C', $tree, 'webhook.so', "PG_CONFIG=$ENV{PG_CONFIG}");
	return "$tree/webhook.so";
}

# Everything that the extension has made in a database, as lines of JSON: [kind, name, property, value].
sub catalogue
{
	my ($t, $database) = @_;
	return split /\n/, $t->node->safe_psql($database, slurp_file("$root/test/upgrade/catalogue.sql"));
}

# What people write against: { functions => [...], columns => {...}, triggers => {...} }
sub interface
{
	my ($t, $database) = @_;
	return JSON::PP::decode_json($t->node->safe_psql($database, slurp_file("$root/test/upgrade/interface.sql")));
}

sub serves
{
	my ($old, $new) = @_;
	my $same = sub { my ($n) = @_; join('|', @{ $old->{arguments} }[ 0 .. $n - 1 ]) eq join('|', @{ $new->{arguments} }[ 0 .. $n - 1 ]) };
	return $new->{name} eq $old->{name}
	  && @{ $new->{arguments} } >= @{ $old->{arguments} }
	  && $same->(scalar @{ $old->{arguments} })
	  && $new->{required} <= $old->{required}
	  && index($new->{result}, $old->{result} =~ s/\)$//r) == 0;
}

# What worked in the old version and does not in the new one, as sentences.
sub breaks
{
	my ($old, $new) = @_;
	my @breaks;
	for my $function (@{ $old->{functions} })
	{
		push @breaks, "function $function->{name}(" . join(', ', @{ $function->{arguments} }) . ') cannot be called as before'
		  unless grep { serves($function, $_) } @{ $new->{functions} };
	}
	for my $relation (sort keys %{ $old->{columns} })
	{
		my @was = @{ $old->{columns}{$relation} };
		my @is  = @{ $new->{columns}{$relation} // [] };
		push @breaks, "the columns of $relation do not begin as before" unless "@was" eq "@is[ 0 .. ($#was < $#is ? $#was : $#is) ]";
	}
	for my $trigger (sort keys %{ $old->{triggers} })
	{
		push @breaks, "trigger $trigger is not enabled as before" if ($new->{triggers}{$trigger} // '') ne $old->{triggers}{$trigger};
	}
	return @breaks;
}

1;

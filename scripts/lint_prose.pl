#!/usr/bin/env perl
# What `make lint` asks of prose: that the paths, links and words in it are
# right, README short, and code on pages run by a test.
# Prints each place that is not, as file:line: what; nothing where all is well.
#
#   perl scripts/lint_prose.pl paths|links|words|readme|blocks     (in the root of the tree)
#
# Prose is what people read: pages (*.md), comments, SQL's COMMENT ON, messages.
use v5.30;
use warnings;
use File::Basename qw(basename dirname);
use File::Find qw(find);
use File::Spec;

my (@files, %exists, %base);

find(
	{
		no_chdir => 1,
		wanted => sub {
			my $path = File::Spec->abs2rel($_, '.');
			if (/\/(?:\.git|node_modules|tmp_check)$/ || $path =~ m{^test/(?:results|unit/out|fuzz/corpus)$})
			{
				$exists{$path} = 1;
				$File::Find::prune = 1;
				return;
			}
			$exists{$path} = 1;
			return unless -f $_;
			$base{ basename($path) } = 1;
			push @files, $path if -T $_ && $path !~ /\.(?:o|so|bc|out|svg|lock)$|package-lock\.json$/;
		}
	},
	'.');
@files = sort @files;

sub slurp
{
	my $file = shift;
	open(my $in, '<', $file) or die "$file: $!\n";
	local $/;
	return scalar <$in>;
}

# A copy in which everything that is not prose is blank, line for line.
sub prose
{
	my ($file, $text) = @_;
	my $blank = sub { $_[0] =~ s/[^\n]/ /gr };

	return $text if $file =~ /\.md$/;
	if ($file =~ /\.[ch]$/)
	{
		my $out = '';
		while ($text =~ m{\G(/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[^/"']+|.)}gs)
		{
			my $piece = $1;
			$out .= $piece =~ m{^/\*} ? $piece : $blank->($piece);
		}
		return $out;
	}
	return join "\n", map { /^\s*(?:#|--|\/\/)(?!!)/ ? $_ : ' ' x length } split /\n/, $text, -1;
}

# Files of PostgreSQL that comments speak of, and files that readers make.
my %elsewhere = map { $_ => 1 } qw(postgres.h sequence.c webhook.sql configuration.sql);
# made by builds and tests, and by make freeze
my $made = qr{^(?:test/results|test/unit/out)/|^test/upgrade/frozen\.sha256$};
my $top = qr/engine|extension|worker|sql|test|docs|scripts|demo|console|\.ci/;
my $ending = qr/c|h|pl|pm|sh|mjs|sql|md|spec/;

sub paths
{
	for my $file (@files)
	{
		my $text = prose($file, slurp($file));
		my $line = 0;
		for (split /\n/, $text, -1)
		{
			$line++;
			# whole paths: file or folder, perhaps with * or {a,b}
			while (m{(?<![\w./\-])((?:$top)/[\w./*\{\},\-]*)}g)
			{
				my $path = $1 =~ s/[.,\-]+$//r =~ s{/$}{}r;
				$path =~ s/\}$// if ($path =~ tr/{//) < ($path =~ tr/}//);
				next if $path =~ /[A-Z]{4}|--/; # TEST_FILE and the like stand for a name; scripts that make builds
				next if $path =~ $made;
				my @found = grep { $exists{$_} || -e $_ } glob($path);
				@found = glob("$path.*") if !@found && $path !~ /\.\w+$/;
				say "$file:$line: $path does not exist" if !@found;
			}
			# files by their names alone
			while (m{(?<![\w./*\-"<])([a-z][a-z0-9_]*\.(?:$ending))\b(?![./\w"(])}g)
			{
				say "$file:$line: there is no file $1" if !$base{$1} && !$elsewhere{$1};
			}
			# tests by their names
			while (/(?<![\w\/])(\d{3}_[a-z][a-z_]+)\b/g)
			{
				say "$file:$line: there is no test $1" if !-e "test/t/$1.pl" && !-e "test/fault/$1.pl" && !-e "test/console/$1.pl";
			}
		}
	}
}

# The anchor that GitHub gives a heading.
sub slug
{
	my $heading = lc shift;
	$heading =~ s/\[([^\]]*)\]\([^)]*\)/$1/g;
	$heading =~ s/[`*]//g;
	$heading =~ s/[^\w\- ]//g;
	return $heading =~ s/ /-/gr;
}

my %anchors;

sub anchors_of
{
	my $file = shift;
	return $anchors{$file} //= do
	{
		my (%of, %times);
		my $fenced = 0;
		for (split /\n/, slurp($file))
		{
			$fenced = !$fenced if /^\s*```/;
			next if $fenced;
			$of{$1} = 1 while /<a\s+(?:id|name)="([^"]+)"/g;
			next unless /^#{1,6}\s+(.*?)\s*#*$/;
			my $slug = slug($1);
			$of{ $times{$slug}++ ? "$slug-" . ($times{$slug} - 1) : $slug } = 1;
		}
		\%of;
	};
}

sub links
{
	for my $file (grep { /\.md$/ } @files)
	{
		my $fenced = 0;
		my $line = 0;
		for (split /\n/, slurp($file))
		{
			$line++;
			$fenced = !$fenced if /^\s*```/;
			next if $fenced;
			s/`[^`]*`/ /g unless /\]\(/;
			while (/\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|srcset|href)="([^"]+)"/g)
			{
				my ($path, $anchor) = split /#/, $1 // $2, 2;
				next if $path =~ /^(?:https?|mailto):/;
				my $target = $path eq '' ? $file : File::Spec->canonpath(dirname($file) . "/$path");
				1 while $target =~ s{(?:^|/)(?!\.\.)[^/]+/\.\.(?=/|$)}{}; # a/../b
				$target =~ s{^/}{};
				if (!-e $target) { say "$file:$line: no $target to link to"; }
				elsif (defined $anchor && $target =~ /\.md$/ && !anchors_of($target)->{$anchor})
				{
					say "$file:$line: $target has no heading #$anchor";
				}
			}
		}
	}
}

# Words that are not used, and what is written instead.
my @avoided = (
	[ qr/\bmend(?:s|ed|ing)?\b/i, 'fix' ],
	[ qr/\banew\b/i, 'again' ],
	[ qr/\bbut for\b/i, 'except' ],
	[ qr/\bin (?:the|its) midst\b/i, 'within, during' ],
	[ qr/\b(?:of which )?it cannot be told\b/i, 'unknown' ],
	[ qr/\bshall\b/i, 'must, may, will' ],
	[ qr/\bCalled by\b/, 'what it does, not who calls it' ],
	[ qr/\b(?:he|his|him|himself)\b/i, 'they' ],
);

# file => pattern: a line that may have such a word, and why.
my %word_excepted = (
	'LICENSE' => qr/./, # not ours to write
	'debian/copyright' => qr/./, # it has the licence
	'scripts/lint_prose.pl' => qr/./, # the list itself
	'scripts/reference.sql' => qr/called by/i, # the roles that may call a function
	'docs/reference.md' => qr/called by/i, # the same, as it prints them
);

sub words
{
	for my $file (@files)
	{
		my $line = 0;
		for my $text (split /\n/, slurp($file), -1)
		{
			$line++;
			next if $word_excepted{$file} && $text =~ $word_excepted{$file};
			for (@avoided)
			{
				my ($pattern, $instead) = @$_;
				say "$file:$line: \"$1\": write $instead" if $text =~ /($pattern)/;
			}
		}
	}
}

# README is read in one go: at most so many lines, none wider than a screen.
sub readme
{
	my @lines = split /\n/, slurp('README.md');
	say 'README.md: ' . @lines . ' lines, and 230 are the most' if @lines > 230;
	length $lines[$_] > 100 and say 'README.md:' . ($_ + 1) . ': ' . length($lines[$_]) . ' columns, and 100 are the most' for 0 .. $#lines;
}

# Blocks of code on pages: what can be typed is run by 090_readme or 091_docs, which take every page
# of docs/, README and CONTRIBUTING; a program is a file's or says why it is not run.
sub blocks
{
	for my $file (grep { /\.md$/ } @files)
	{
		my $run = $file =~ m{^(?:README\.md|CONTRIBUTING\.md|docs/)};
		my ($line, $inside, $marked) = (0, 0, 0);
		for (split /\n/, slurp($file), -1)
		{
			$line++;
			if (/^\s*(```+|~~~+)\s*(\w*)/)
			{
				if (!$inside)
				{
					my $language = $2;
					say "$file:$line: a block without a language" if $language eq '';
					say "$file:$line: no test runs the blocks of this page" if $language =~ /^(?:sql|sh|bash)$/ && !$run && !$marked;
					say "$file:$line: a program that no test runs, and that does not say so"
					  if $language !~ /^(?:sql|sh|bash|text|json|)$/ && !$marked;
					say "$file:$line: $language is shown as another language" if $language =~ /^(?:psql|console|shell)$/;
				}
				$inside = !$inside;
				$marked = 0;
			}
			elsif (!$inside)
			{
				$marked = /<!--\s*(?:not run|program):/ || $marked && /^\s*<!--/;
			}
		}
	}
}

die "usage: perl scripts/lint_prose.pl paths|links|words|readme|blocks\n" unless @ARGV == 1 && defined &{ 'main::' . $ARGV[0] };
{
	no strict 'refs';
	&{ 'main::' . $ARGV[0] }();
}

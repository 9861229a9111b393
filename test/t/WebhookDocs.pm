# Runs what pages of the documentation tell their readers to type.
#
#   my $docs = WebhookDocs->new;
#   $docs->run_page('docs/security.md');                  # a subtest: every block of the page, in its order
#   $docs->begin_page('docs/receiving.md');               # or one by one:
#   my ($output) = $docs->run_block($_) for WebhookDocs::blocks('docs/receiving.md');
#   $docs->end_page;
#   $docs->stop;
#
# A page is one story: its blocks run from top to bottom in a database of its own, which has the
# extension (unless the page creates it), each block in a psql or a shell of its own, as a superuser.
# ```sql goes through psql, so it may have psql's commands; ```sh and ```bash go through
# "bash -e" with the PG* variables set, in an empty directory or, where the page is about the
# repository (CONTRIBUTING.md, docs/performance.md, docs/internals), in its root. Blocks in other
# languages are shown and not run. Roles and settings that a page makes are gone when it ends.
#
# Comments in the lines right before a block say what differs:
#
#   <!-- not run: REASON -->      it is not run; the reason names what does run it, or why nothing can
#   <!-- setup: SQL -->           run before it; what the reader has already, such as a table
#   <!-- fails: TEXT -->          it must fail, with TEXT in what it says
#   <!-- program: PATH -->        it is that file of the repository, word for word
#
# What readers replace is replaced: a URL of an example.com or .org goes to a receiver that says 200
# (its host is the first part of the path), and the instance 0123abcd is the database's own.
package WebhookDocs;

use strict;
use warnings;

use Cwd ();
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $root = Cwd::abs_path("$FindBin::RealBin/../..");

# new(conf => LINES, as WebhookTest has it): a server and a receiver
sub new
{
	my ($class, %args) = @_;
	my $t = WebhookTest->new(%args);
	return bless { t => $t, receiver => $t->receiver, roles => $t->sql('SELECT array_agg(rolname) FROM pg_roles') }, $class;
}

sub receiver { return $_[0]->{receiver} }

# All fenced blocks of a page: page, title (of the heading above), line, language, text, and what
# its comments say: not_run, setup, fails, program.
sub blocks
{
	my ($page) = @_;
	my @lines = split /\n/, slurp_file("$root/$page");
	my (@blocks, %marks);
	my $title = '';
	for (my $i = 0; $i < @lines; $i++)
	{
		if ($lines[$i] =~ /^\s*<!--/)
		{
			my $comment = $lines[$i];
			$comment .= "\n$lines[++$i]" while $comment !~ /-->/ && $i < $#lines;
			if (my ($mark, $text) = $comment =~ /^\s*<!--\s*(not run|setup|fails|program):\s*(.*?)\s*-->/s)
			{
				$mark =~ tr/ /_/;
				$marks{$mark} = defined $marks{$mark} ? "$marks{$mark}\n$text" : $text;
			}
		}
		elsif ($lines[$i] =~ /^(\s*)(```+|~~~+)\s*(\w*)/)
		{
			my ($indent, $fence, $language) = ($1, $2, $3);
			my $block = { page => $page, title => $title, line => $i + 1, language => $language, text => '', %marks };
			%marks = ();
			while (++$i < @lines && $lines[$i] !~ /^\s*\Q$fence\E\s*$/)
			{
				$block->{text} .= $lines[$i] =~ s/^$indent//r . "\n";
			}
			die "$page:$block->{line}: the block has no end\n" if $i == @lines;
			push @blocks, $block;
		}
		else
		{
			die "$page:" . ($i + 1) . ": a comment about a block must stand right before it\n" if %marks;
			$title = $1 if $lines[$i] =~ /^#+\s+(.*)/;
		}
	}
	return @blocks;
}

# The text of the first block of that language under that heading of a page.
sub block_text
{
	my ($page, $title, $language) = @_;
	my ($block) = grep { $_->{title} eq $title && $_->{language} eq $language } blocks($page);
	die "$page has no block of $language under \"$title\"\n" unless $block;
	return $block->{text};
}

# Is it a block that people type?
sub is_typed { return $_[0]->{language} =~ /^(sql|sh|bash)$/ }

# Does the first of the blocks that are run and speak of it make the extension?
sub creates_extension
{
	my ($first) = grep { is_typed($_) && !defined $_->{not_run} && $_->{text} =~ /\b(CREATE EXTENSION|webhook\.)/i } @_;
	return defined $first && $first->{text} =~ /\A(?:(?!webhook\.).)*\bCREATE EXTENSION (IF NOT EXISTS )?webhook\b/si;
}

# A database for the page, with the extension.
sub begin_page
{
	my ($self, $page) = @_;
	my $name = $page =~ s{.*/}{}r;
	$self->{page} = $page;
	$self->{db}   = 'docs_' . ($name =~ s/\.md$//r =~ tr/A-Za-z0-9/_/cr);
	$self->{dir}  = $page =~ m{^CONTRIBUTING|^docs/(performance|internals/)} ? $root : PostgreSQL::Test::Utils::tempdir();
	$self->{t}->sql("CREATE DATABASE \"$self->{db}\"");
	$self->sql('CREATE EXTENSION webhook') unless -e "$root/$page" && creates_extension(blocks($page));
	return;
}

# Output of a statement in the page's database, as psql -At gives it.
sub sql
{
	my ($self, $sql) = @_;
	return $self->{t}->node->safe_psql($self->{db}, $sql);
}

# What a reader types in place of what the page shows.
sub as_typed
{
	my ($self, $text) = @_;
	my $here = $self->{receiver}->url('/ok');
	$text =~ s{https://((?:[\w-]+\.)*example\.(?:com|org|net))}{$here/$1}g;
	if ($text =~ /0123abcd/)
	{
		my $instance = $self->sql('SELECT instance FROM webhook.identity');
		$text =~ s/0123abcd/$instance/g;
	}
	return $text;
}

sub type_into
{
	my ($self, $input, @command) = @_;
	my $node = $self->{t}->node;
	my $output = '';
	my $cwd    = Cwd::getcwd();
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} = ($node->host, $node->port, $self->{db}, $self->{t}->sql('SELECT current_user'));
	chdir $self->{dir} or die "$self->{dir}: $!";
	my $ok = eval { IPC::Run::run(\@command, '<', \$input, '>', \$output, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)) };
	$output .= $@ if $@;
	chdir $cwd or die "$cwd: $!";
	return ($output, $ok);
}

# Run one block, and what its setup asks for before: what it printed, and whether it did what it
# should. psql prints as it does for people; with more => OPTIONS it is given those as well.
sub run_block
{
	my ($self, $block, %args) = @_;
	my @psql = ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @{ $args{more} // [] });
	if (defined $block->{setup})
	{
		my ($output, $ok) = $self->type_into($self->as_typed($block->{setup}), @psql);
		return ("the setup failed:\n$output", 0) unless $ok;
	}
	my ($output, $ok) = $self->type_into($self->as_typed($block->{text}), $block->{language} eq 'sql' ? @psql : ('bash', '-e', '-o', 'pipefail'));
	$ok = !$ok && index($output, $block->{fails}) >= 0 if defined $block->{fails};
	return ($output, $ok);
}

# Nothing of the page is left: neither its database nor its roles, nor its settings.
sub end_page
{
	my ($self) = @_;
	my $t = $self->{t};
	$t->sql("DROP DATABASE IF EXISTS \"$self->{db}\" WITH (FORCE)");
	$t->sql('ALTER SYSTEM RESET ALL');
	$t->sql('SELECT pg_reload_conf()');
	for my $role (split /\n/, $t->sql("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname <> ALL ('$self->{roles}')"))
	{
		$t->sql("DROP OWNED BY $role; DROP ROLE $role");
	}
	return;
}

# A subtest of every block of the page.
sub run_page
{
	my ($self, $page) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return subtest $page => sub {
		my @blocks = blocks($page);
		my @typed = grep { is_typed($_) } @blocks;
		is(join(', ', map { "$_->{language} in line $_->{line}" } grep { $_->{language} =~ /^(psql|shell|console|shellsession|plpgsql|)$/ } @blocks),
			'', 'every block says its language: sql and sh are run, text and others are not');
		return unless @typed;
		$self->begin_page($page);
		for my $block (@typed)
		{
			my $where = "$page:$block->{line}";
			if (defined $block->{not_run})
			{
				like($block->{not_run}, qr/\w+/, "$where is not run: $block->{not_run}");
				next;
			}
			my ($output, $ok) = $self->run_block($block);
			ok($ok, defined $block->{fails} ? "$where fails as the page says" : "$where does what it says") or diag("$block->{text}\n$output");
		}
		$self->end_page;
	};
}

sub stop
{
	my ($self) = @_;
	$self->{t}->stop;
	return;
}

1;

# The promise: no encoding of a database stops the worker or garbles an event.
# Bodies are JSON in UTF-8 whatever the database's encoding; what cannot be said in
# UTF-8, because no conversion exists or because the bytes are no text at all
# (SQL_ASCII takes any), arrives as question marks; and nothing waits behind it.
# What an endpoint answers is kept as far as the database's encoding allows.
#
# Covers: one event's text stops no other's.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use Test::More;
use WebhookTest;

# a worker for each database, and those that the server has anyway
my $t = WebhookTest->new(conf => "max_worker_processes = 20\n");
my $r = $t->receiver(args => ['--no-http2']);

# Each database: [encoding, [SQL of a text, what must arrive], ...]. chr() is of the database's own encoding.
my @databases = (
	[ 'UTF8',   [ q{U&'Zo\00EB \+01F98A'}, "Zo\x{eb} \x{1f98a}" ] ],
	[ 'LATIN1', [ q{'Zo' || chr(235)}, "Zo\x{eb}" ], [ q{'na' || chr(239) || 've ' || chr(255)}, "na\x{ef}ve \x{ff}" ] ],
	[ 'LATIN9', [ q{chr(164) || ' 5'}, "\x{20ac} 5" ] ],
	[ 'EUC_JP', [ q{convert_from('\xc6fccbdc', 'EUC_JP')}, "\x{65e5}\x{672c}" ] ],
	# of WIN1253 0xAA stands for nothing, and PostgreSQL takes it all the same
	[ 'WIN1253', [ q{chr(225) || chr(170) || chr(226)}, "\x{3b1}?\x{3b2}" ] ],
	# there is no conversion of it to UTF-8
	[ 'MULE_INTERNAL', [ q{convert_from('\x5a6f81eb', 'MULE_INTERNAL')}, 'Zo??' ] ],
	[
		'SQL_ASCII',
		[ q{e'Zo\xc3\xab'},              "Zo\x{eb}" ],      # UTF-8, as it most often is
		[ q{e'Zo\xeb'},                  'Zo?' ],           # LATIN1
		[ q{e'cut \xe2\x82'},            'cut ??' ],        # a character that is not complete
		[ q{e'\xff\xfe\x80 \xc0\xaf !'}, '??? ?? !' ],      # nothing of it is UTF-8
	]);

for my $database (@databases)
{
	my ($encoding, @texts) = @$database;
	my $name = lc $encoding;
	$t->sql("CREATE DATABASE $name TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	local $WebhookTest::DB = $name;
	$t->sql('CREATE EXTENSION webhook; CREATE TABLE person (name text PRIMARY KEY, i int)');
	$t->watch('person');
	$t->subscribe('crm', $r->url("/unicode/$name"), retry_schedule => "'{100ms}'");
	my $n = 0;
	$t->sql("INSERT INTO person VALUES ($_->[0], ${\$n++})") for @texts;
	$t->sql("INSERT INTO person VALUES ('plain', $n)");
	$t->wait_until_settled;

	my %arrived = map { $_->{result}{i} => $_ } map { JSON::PP->new->decode($_->{body}) } $r->requests("/unicode/$name");
	for my $i (0 .. $#texts)
	{
		my $expected = $texts[$i][1];
		(my $shown = $expected) =~ s/([^ -~])/sprintf '\x{%x}', ord $1/ge;
		is($arrived{$i}{result}{name}, $expected, "$encoding: $shown arrives as UTF-8");
		is($arrived{$i}{entity_id}, $expected, "$encoding: as the entity's id too");
	}
	is($arrived{$n}{entity_id}, 'plain', "$encoding: and what comes after it");
	is($t->sql("SELECT count(*), min(outcome), min(attempt_number), max(attempt_number) FROM webhook.attempt"), ($n + 1) . '|delivered|1|1', "$encoding: each at the first attempt");
	is($t->sql('SELECT DISTINCT response = ' . ($encoding eq 'UTF8' ? q{U&'Zo\00EB \+01F98A'} : q{'Zo?? ????'}) . ' FROM webhook.attempt'),
		't', "$encoding: the response is kept as far as it can be");
}

# An entity's id may be longer than an index takes (2704 bytes, which no compression helps): the log keeps its first 500 characters.
{
	local $WebhookTest::DB = 'utf8';
	$t->sql('CREATE TABLE saga (name text)');
	$t->watch('saga', id_columns => q{'{name}'});
	$t->sql(q{INSERT INTO saga SELECT string_agg(chr(2048 + (hashint4(i) & 16383)), '' ORDER BY i) FROM generate_series(1, 2000) i});
	$t->wait_until_settled;
	my ($saga) = grep { $_->{entity_type} eq 'saga' } map { JSON::PP->new->decode($_->{body}) } $r->requests('/unicode/utf8');
	is(length($saga->{entity_id}), 2000, 'an entity id of 2000 characters arrives whole');
	is( $t->sql("SELECT outcome, attempt_number, entity_id = (SELECT left(name, 500) FROM saga) FROM webhook.log WHERE entity_type = 'saga'"),
		'delivered|1|t', 'and the log has its first 500');
}

$t->stop;
done_testing();

# The promise: the programs of docs/receiving.md verify requests as they stand
# there, each in its language: what is signed is accepted, and nothing near it
# is. So does demo/receiver.py. And the receivers' own libraries, which other
# tests judge our requests by (profiles.mjs), accept the published examples of
# their dialects.
#
# Needs no server. A language is left out where the machine does not have it.
use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use FindBin;
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookDocs;

my $recipes = "$FindBin::RealBin/../receiver/recipes";
my $dir     = PostgreSQL::Test::Utils::tempdir();
my $always  = 2_000_000_000;                                 # seconds, more than any of the examples is old

# Two examples that the standard's own documents give.
my @published = (
	{
		secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
		body   => '{"test": 2432232314}',
		id     => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
		at     => '1614265330',
		sent   => 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
	},
	{
		secret => 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD',
		body   => '{"email":"test@example.com","username":"test_user"}',
		id     => 'msg_27UH4WbU6Z5A5EzD8u03UvzRbpk',
		at     => '1649367553',
		sent   => 'v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw='
	});
my ($a, $b) = @published;

# As it would be sent at this time, signed by Perl's own library.
sub signed
{
	my $at   = "$_[0]";
	my $key  = decode_base64(substr $a->{secret}, 6);
	my $body = "{\"name\":\"J\xc3\xbcrgen\"}";
	return {
		%$a,
		at   => $at,
		body => $body,
		sent => 'v1,' . encode_base64(hmac_sha256("$a->{id}.$at.$body", $key), '')
	};
}

# name, what is sent, the tolerance, whether it is to be accepted
my @cases = (
	[ 'the first published example',  $a, $always, 1 ],
	[ 'the second',                   $b, $always, 1 ],
	[ 'with the usual tolerance',     $a, undef,   0 ],
	[ 'signed just now',              signed(time),        undef, 1 ],
	[ 'signed six minutes ago',       signed(time - 360),  undef, 0 ],
	[ 'signed in six minutes',        signed(time + 360),  undef, 0 ],
	[ 'several signatures, the right one last', { %$a, sent => "v1a,AAAA v1,AAAA $b->{sent} $a->{sent}" }, $always, 1 ],
	[ 'several signatures, none of them right', { %$a, sent => "v1a,AAAA v1, $b->{sent}" }, $always, 0 ],
	[ 'another version',        { %$a, sent => 'v2' . substr($a->{sent}, 2) }, $always, 0 ],
	[ 'one byte of the body changed', { %$a, body => '{"test": 2432232315}' }, $always, 0 ],
	[ 'a byte of the body less',      { %$a, body => '{"test": 2432232314' },  $always, 0 ],
	[ 'another id',             { %$a, id     => "$a->{id}x" },   $always, 0 ],
	[ 'another time',           { %$a, at     => '1614265331' },  $always, 0 ],
	[ 'a time that is none',    { %$a, at     => 'now' },         $always, 0 ],
	[ 'another secret',         { %$a, secret => $b->{secret} },  $always, 0 ],
	[ 'a changed signature',    { %$a, sent   => $a->{sent} =~ s/g0h/g0i/r }, $always, 0 ],
	[ 'an empty signature',     { %$a, sent   => '' },    $always, 0 ],
	[ 'no signature',           { %$a, sent   => undef }, $always, 0 ],
	[ 'no time',                { %$a, at     => undef }, $always, 0 ],
	[ 'no id',                  { %$a, id     => undef }, $always, 0 ]);

# The exit status of a program, which says nothing else: a crash is no refusal.
sub status_of
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);
	return "$out$err" eq '' ? $? >> 8 : "$out$err";
}

sub write_file
{
	my ($name, $content) = @_;
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!";
	print $file $content;
	close $file;
	return "$dir/$name";
}

sub run_cases
{
	my (@program) = @_;
	for my $case (@cases)
	{
		my ($name, $sent, $tolerance, $right) = @$case;
		my %headers = ('content-type' => 'application/json', 'webhook-id' => $sent->{id},
			'webhook-timestamp' => $sent->{at}, 'webhook-signature' => $sent->{sent});
		delete @headers{ grep { !defined $headers{$_} } keys %headers };
		my $status = status_of(@program, $sent->{secret}, write_file('headers.json', JSON::PP::encode_json(\%headers)),
			write_file('body', $sent->{body}), defined $tolerance ? $tolerance : ());
		is($status, $right ? 0 : 1, "$name: " . ($right ? 'accepted' : 'refused'));
	}
	return;
}

for my $language ([ 'js', 'node', 'verify.mjs' ], [ 'python', 'python3', 'verify.py' ], [ 'go', 'go', 'verify.go' ])
{
	my ($name, $program, $file) = @$language;
	subtest $name => sub {
		my ($shown) = grep { ($_->{program} // '') eq "test/receiver/recipes/$file" } WebhookDocs::blocks('docs/receiving.md');
		is($shown->{text}, slurp_file("$recipes/$file"), "docs/receiving.md shows $file as it is");
		SKIP:
		{
			skip "there is no $program on this machine", 1 if system("command -v $program >/dev/null 2>&1") != 0;
			my @run = ($program, "$recipes/$file");
			if ($program eq 'go')
			{
				local $ENV{GOCACHE} = "$dir/cache";
				local $ENV{GOTOOLCHAIN} = 'local';
				system_or_bail('go', 'build', '-o', "$dir/verify", "$recipes/$file");
				@run = ("$dir/verify");
			}
			run_cases(@run);
		}
	};
}

# The receiver of the quick start, whose words are its verdict.
subtest 'demo/receiver.py' => sub {
	plan skip_all => 'there is no python3 on this machine' if system('command -v python3 >/dev/null 2>&1') != 0;
	my $program = write_file('receiver_verdict.py', <<PY);
import json, sys
sys.path.insert(0, "$FindBin::RealBin/../../demo")
sys.dont_write_bytecode = True
import receiver
receiver.TOLERANCE = int(sys.argv[4]) if len(sys.argv) > 4 else receiver.TOLERANCE
with open(sys.argv[2]) as h, open(sys.argv[3], "rb") as b:
    sys.exit(0 if receiver.verdict(sys.argv[1], json.load(h), b.read()) == "signature valid" else 1)
PY
	run_cases('python3', $program);
};

# Dialects: name, secret, Unix seconds, body, headers; all published but CloudEvents, which has no signature of its own.
sub cloudevent
{
	my ($name, $body, %more) = @_;
	my $at = 1614265330;
	return [ $name, $a->{secret}, $at, $body, { 'webhook-id' => 'evt_1', 'webhook-timestamp' => "$at", 'webhook-signature' => 'v1,'
			. encode_base64(hmac_sha256("evt_1.$at.$body", decode_base64(substr $a->{secret}, 6)), ''), %more } ];
}
my %a_headers = ('webhook-id' => $a->{id}, 'webhook-timestamp' => $a->{at}, 'webhook-signature' => $a->{sent});
my %b_headers = ('webhook-id' => $b->{id}, 'webhook-timestamp' => $b->{at}, 'webhook-signature' => $b->{sent});
for my $dialect (
	[ 'standard', $a->{secret}, $a->{at}, $a->{body}, {%a_headers} ],
	[ 'svix', $a->{secret}, $a->{at}, $a->{body}, {%a_headers} ],
	[ 'entity', $b->{secret}, $b->{at}, $b->{body}, {%b_headers} ],
	[ 'website_toolbox', $b->{secret}, $b->{at}, $b->{body}, {%b_headers} ],
	cloudevent('cloudevents', '{"specversion":"1.0","id":"evt_1","source":"/db","type":"user.created","data":{"id":1}}',
		'content-type' => 'application/cloudevents+json; charset=utf-8'),
	cloudevent('cloudevents_binary', '{"id":1}', 'content-type' => 'application/json', 'ce-specversion' => '1.0', 'ce-id' => 'evt_1',
		'ce-source' => '/db', 'ce-type' => 'user.created'),
	[ 'github', "It's a Secret to Everybody", 1, 'Hello, World!',
		{ 'x-hub-signature-256' => 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' } ],
	[ 'stripe', 'whsec_test_secret', 1700000000, '{"id":"evt_test_webhook","object":"event"}',
		{ 'stripe-signature' => 't=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990' } ],
	[ 'xsolla', 'mysecret', 1, '{"event_type":"registration"}', { authorization => 'Signature 36c437024ce26d21dcda017b4f912ef775873fa7' } ],
	[ 'aghanim', 'mysecret', 1725548450, '{"event_type":"player.update"}',
		{ 'x-aghanim-signature-timestamp' => '1725548450',
			'x-aghanim-signature' => 'ed2452d87f833eab6036f3f1113edf25cecbcf5c68c3c22db90cf877a9accbe8' } ])
{
	my ($name, $secret, $at, $body, $headers) = @$dialect;
	my $judge = sub {
		my ($sent) = @_;
		my $line = JSON::PP->new->canonical->encode({ n => 1, at => ($at + 1) * 1000, path => '/', headers => $headers, body => $sent });
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'node', "$recipes/../profiles.mjs", $name, write_file('requests.jsonl', "$line\n"), 'another', $secret ],
			'<', \undef, '>', \$out, '2>', \$err);
		diag($err) if $err ne '';
		return $out;
	};
	like($judge->($body), qr/"verified":1,"failed":0/, "$name: its receivers accept an example, and refuse what is changed in it");
	like($judge->("$body "), qr/"verified":0,"failed":1/, "$name: and one that is not right");
}

done_testing();

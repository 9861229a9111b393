# The promise: people without psql do all with a browser: test/console/pages.mjs, in Debian's Chromium.
# What strangers wrote (rows, answers, names, errors) is text on every page.
#
# SHOTS=DIRECTORY keeps pictures. Needs chromium, and the modules of test/console.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t", "$FindBin::RealBin/../console";
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookConsole;
use WebhookTest;

my $c      = WebhookConsole->new;
my $t      = $c->t;
my $r      = $t->receiver;
my $script = '<script>window.ran = 1; document.title = "ran"</script><img src=x onerror="window.ran = 1">';

$t->sql(q{CREATE TABLE item (id text PRIMARY KEY, note text); CREATE TABLE more (id int PRIMARY KEY); ALTER TABLE more OWNER TO watcher; GRANT SELECT ON item TO op});
$t->watch('item');
$t->subscribe('orders', $r->url('/cookie/422/orders'), events => "'{item.*}'", retry_schedule => "'{1h}'");
$t->subscribe('refused', $r->url('/status/413/refused'), events => "'{item.*}'");
my $answer = MIME::Base64::encode_base64url(JSON::PP::encode_json({ error => $script }));
$t->subscribe($script, $r->url("/json/422/$answer"), events => "'{item.*}'", retry_schedule => "'{1h}'");
$t->wait_for_worker;
my $quoted = $script =~ s{'}{''}gr;
$t->sql("INSERT INTO item VALUES ('1', 'one'), ('$quoted', '$quoted'), ('3', 'three')");
$t->poll_sql('all failed', q{SELECT count(*) FROM webhook.log WHERE outcome <> 'delivered'}, 9);
my $event = $t->sql(q{SELECT event_id FROM webhook.log WHERE subscription = 'orders' AND entity_id = '1'});

local %ENV = (%ENV,
	CONSOLE_URL   => "http://$c->{host}",
	CONSOLE_FACTS => JSON::PP::encode_json({
		user => 'op', password => $WebhookConsole::PASSWORD, name => 'orders', event => $event, entity_type => 'item', entity_id => '1',
		endpoint => $r->url('/ok/made'), dead => 'refused', hostile => $script, table => 'public.more' }));
my $out = '';
IPC::Run::run([ 'node', "$FindBin::RealBin/../console/pages.mjs" ], '<', \undef, '>', \$out, '2>&1');
for my $line (split /\n/, $out)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2) }
	else { $line =~ /^1\.\.(\d+)$/ ? is(Test::More->builder->current_test, $1, 'all of it was run') : diag($line) }
}
like($out, qr/^1\.\.\d+$/m, 'the browser went on to the end');
$c->stop;
done_testing();

# What the tests of faults share: changes that are counted by the database
# itself, faults of the library built for tests (worker/process/fault.c), and the sum
# that each of them prints at the end: what was lost, what was repeated.
#
#   my $t = WebhookFault->new(conf => "...");      as WebhookTest, with a receiver, a table and a subscription
#   $t->fault('settling kill 1');
#   $t->change(100);
#   $t->account('killed while settling', 60);      lost 0, at most 60 repeated
package WebhookFault;

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

our @ISA = ('WebhookTest');

# new(subscription => { column => SQL expression }, entities => N, conf => ..., name => ...)
sub new
{
	my ($class, %args) = @_;
	my $self = WebhookTest::new($class, %args);
	$self->{entities} = $args{entities} // 20;
	$self->{r} = $self->receiver(args => ['--no-http2']);
	$self->sql(<<SQL);
CREATE TABLE item (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE TABLE changed (item int, v int, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	INSERT INTO public.changed VALUES (NEW.id, NEW.v);
	RETURN NULL;
END
\$\$;
CREATE TRIGGER announce AFTER INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION announce();
INSERT INTO item SELECT FROM generate_series(1, $self->{entities});
SQL
	$self->watch('item');
	$self->subscribe('crm', $self->{r}->url('/slow/5/crm'), retry_schedule => "'{1s}'", %{ $args{subscription} // {} });
	return $self;
}

# So many changes, each a transaction, of the entities in turn.
sub change
{
	my ($self, $n) = @_;
	$self->sql(<<SQL);
DO \$\$ BEGIN FOR i IN 1..$n LOOP UPDATE item SET v = v + 1 WHERE id = 1 + i % $self->{entities}; COMMIT; END LOOP; END \$\$
SQL
	return;
}

# What shall happen at a point of worker/process/fault.h; see worker/process/fault.c.
sub fault
{
	my ($self, $line) = @_;
	my $file = $self->node->data_dir . '/webhook.fault';
	unlink $file;
	return unless defined $line;
	append_to_file("$file.new", "$line\n");
	rename "$file.new", $file or die "$file: $!";
	return;
}

sub fault_is_over { return !-e $_[0]->node->data_dir . '/webhook.fault' }

sub log_size { return -s $_[0]->node->logfile }
sub log_since { return substr(slurp_file($_[0]->node->logfile), $_[1]) }

# Wait for the end of it all, then: nothing lost, at most so many repeated, the
# same id and body each time, first arrivals of each entity in order, and for each event since the last time
# one success in the log of each subscription that it is for (unless the log was emptied: no_log => 1).
sub account
{
	my ($self, $what, $repeats, %args) = @_;
	$self->wait_until_settled;
	$self->load_requests($self->{r}, 'request');
	$self->sql(<<'SQL');
DROP TABLE IF EXISTS arrived;
CREATE TABLE arrived AS SELECT n, id, body, body::json ->> 'entity_id' AS item, (body::json -> 'result' ->> 'v')::int AS v
	FROM request WHERE path LIKE '%/crm' AND status = 200;
SQL
	my $made = $self->sql('SELECT count(*) FROM changed WHERE v > 0');
	my $lost = $self->sql(<<'SQL');
SELECT count(*) FROM changed c WHERE v > 0 AND NOT EXISTS (SELECT FROM arrived a WHERE a.item = c.item::text AND a.v = c.v)
SQL
	my $repeated = $self->sql('SELECT count(*) - count(DISTINCT id) FROM arrived') - ($self->{repeated} // 0);
	$self->{repeated} += $repeated;
	note "$what: of $made changes lost $lost; repeated $repeated";
	is($lost, 0, "$what: lost 0");
	cmp_ok($repeated, '<=', $repeats, "$what: repeated $repeated, at most $repeats");
	is($self->sql('SELECT id FROM arrived GROUP BY id HAVING count(DISTINCT body) > 1'), '', "$what: what is repeated has the same body");
	is( $self->sql(<<'SQL'), '', "$what: nothing arrives that was not committed, and first arrivals are in order per entity");
SELECT a.item, a.v, before FROM (SELECT item, v, lag(v) OVER (PARTITION BY item ORDER BY n) AS before
	FROM (SELECT DISTINCT ON (id) * FROM arrived ORDER BY id, n) f) a
	LEFT JOIN changed c ON c.item::text = a.item AND c.v = a.v WHERE c.v IS NULL OR before >= a.v
SQL
	my $accounted = $self->{accounted} // 0;
	is( $self->sql(<<SQL), 0, "$what: each delivery is in the log, once") unless $args{no_log};
SELECT count(*) FROM webhook.outbox o, webhook.subscription s WHERE o.event_number > $accounted AND o.action_type = 'update' AND webhook_internal.matches(s, o)
	AND (SELECT count(*) FROM webhook.attempt a WHERE a.event_number = o.event_number AND a.subscription_id = s.id AND a.outcome = 'delivered') <> 1
SQL
	$self->{accounted} = $self->sql('SELECT coalesce(max(event_number), 0) FROM webhook.outbox');
	is($self->sql('SELECT count(*) FROM webhook.dead_letter'), 0, "$what: nothing is given up");
	return;
}

1;

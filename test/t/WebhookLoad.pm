# The load that the tests of delivery commit: 5,000 row changes of 500 entities
# by 8 concurrent sessions, of every kind of transaction that makes reading
# an outbox by position hard. Generated, always the same for a seed.
#
# The truth about what was committed is the application's own: each change
# writes (entity, v, action) into the table audit in its transaction, v being
# a counter of the entity's changes that is also a column of the watched row.
#
# Entities: 1 to 400 are changed by everybody; 401 to 440 as well, but held
# locked by the transactions that stay open for seconds; 441 to 496 belong to
# one session each (7 to a session), which deletes and inserts them too. Every
# transaction takes its rows in ascending order, so none of them deadlock.
#
# A session's script is a list of units. Each notes its number in the table
# done with its own transaction, so that a session that lost its connection
# can go on after the last one that was committed.
package WebhookLoad;

use strict;
use warnings;

our $SESSIONS = 8;
our $CHANGES  = 5000;

our $SCHEMA = <<'SQL';
CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL, note text, amount numeric NOT NULL DEFAULT 0);
CREATE TABLE audit (entity int NOT NULL, v int NOT NULL, action text NOT NULL, PRIMARY KEY (entity, v));
CREATE TABLE done (session int NOT NULL, unit int NOT NULL, PRIMARY KEY (session, unit));
INSERT INTO item SELECT g, 1 FROM generate_series(1, 500) g;
SQL

my @notes = ('plain', q{it's "quoted"}, 'Zoë 🦊', 'back\slash', "two\nlines", '</script>', '', 'x' x 500);

sub update
{
	my ($where) = @_;
	my $note    = $notes[ rand @notes ];
	my $amount  = int(rand 100_000) / 100;
	return <<SQL;
WITH u AS (UPDATE item SET v = v + 1, note = \$note\$$note\$note\$, amount = $amount WHERE $where RETURNING id, v)
INSERT INTO audit SELECT id, v, 'update' FROM u;
SQL
}

sub remove
{
	my ($id) = @_;
	return <<SQL;
WITH d AS (DELETE FROM item WHERE id = $id RETURNING id, v) INSERT INTO audit SELECT id, v + 1, 'delete' FROM d;
SQL
}

sub insert
{
	my ($id) = @_;
	return <<SQL;
WITH n AS (INSERT INTO item (id, v) SELECT $id, coalesce(max(v), 1) + 1 FROM audit WHERE entity = $id
	ON CONFLICT DO NOTHING RETURNING id, v) INSERT INTO audit SELECT id, v, 'new' FROM n;
SQL
}

# So many different ids, ascending: of those everybody changes, rarely of those that others hold.
sub anyone
{
	my ($n) = @_;
	return ids($n, 1, rand() < 0.03 ? 440 : 400);
}

# So many different ids of a range, ascending.
sub ids
{
	my ($n, $from, $to) = @_;
	my %ids;
	$ids{ $from + int rand($to - $from + 1) } = 1 while keys %ids < $n;
	return sort { $a <=> $b } keys %ids;
}

sub updates { return join '', map { update("id = $_") } @_ }

# units(SESSION, CHANGES): [SQL, ...] that commit so many changes together.
sub units
{
	my ($session, $changes) = @_;
	my @units;
	my %there = map { 441 + 7 * $session + $_ => 1 } 0 .. 6;
	my ($gid, $n) = (0, 0);

	my $huge = $session == 7 ? 1 : 0;
	my %held = (20 => 0.4, 80 => 1.5, 140 => 0.4);
	my %two  = map { $_ => 1 } 30, 90, 150;

	my $unit = sub {
		my ($body, $count, $end) = @_;
		my $number = @units + 1;
		$end //= 'COMMIT;';
		push @units, "BEGIN;\n${body}INSERT INTO done VALUES ($session, $number);\n$end\n";
		$n += $count;
	};

	while ($n < $changes)
	{
		my $number = @units + 1;
		my $left   = $changes - $n;
		my $dice   = rand;

		if ($number == $huge)
		{
			# more events than a page, whose ids are long passed by when they become visible
			my @own = sort { $a <=> $b } keys %there;
			$unit->(
				updates((@own) x 75) . "SELECT pg_sleep(2); -- part of the scenario\n" . updates((@own) x 5), 560);
		}
		elsif ($held{$number} && $left >= 4)
		{
			# committed seconds after it took its first ids, with further ids taken at the end
			my @ids = ids(4, 401, 440);
			$unit->(
				updates(@ids[ 0, 1 ])
				  . "SELECT pg_sleep($held{$number}); -- part of the scenario\n"
				  . updates(@ids[ 2, 3 ]),
				4);
		}
		elsif ($two{$number} && $left >= 5)
		{
			# between the two phases this session touches only what is its own: nobody can wait for it in a circle
			my $gid = "load $session $number";
			my @own = grep { $there{$_} } sort { $a <=> $b } keys %there;
			$unit->(
				updates(anyone(4)), 5,
				"PREPARE TRANSACTION '$gid';\n"
				  . update("id = $own[0]")
				  . "SELECT pg_sleep(0.3); -- part of the scenario\n"
				  . "COMMIT PREPARED '$gid';");
		}
		elsif ($dice < 0.20 && $left >= 10)
		{
			my @ids = anyone(2 + int rand 9);
			$unit->(updates(@ids), scalar @ids);
		}
		elsif ($dice < 0.25 && $left >= 2)
		{
			# one row twice in one transaction
			my ($id) = anyone(1);
			$unit->(updates($id, $id), 2);
		}
		elsif ($dice < 0.35 && $left >= 3)
		{
			my @ids = anyone(5);
			$unit->(
				updates($ids[0])
				  . "SAVEPOINT a;\n" . updates(@ids[ 1, 2 ]) . "SAVEPOINT b;\n" . updates($ids[3])
				  . "ROLLBACK TO a;\n" . updates($ids[2]) . "SAVEPOINT c;\n" . updates($ids[4]) . "RELEASE c;\n",
				3);
		}
		elsif ($dice < 0.42)
		{
			my @ids = anyone(3);
			push @units, "BEGIN;\n" . updates(@ids) . "ROLLBACK;\n";
		}
		elsif ($dice < 0.55)
		{
			my $id = (sort { $a <=> $b } keys %there)[ rand 7 ];
			my $gone = !$there{$id};
			my $remove = !$gone && rand() < 0.6 && 1 < grep { $_ } values %there;
			$there{$id} = 0 if $remove;
			$there{$id} = 1 if $gone;
			$unit->($gone ? insert($id) : $remove ? remove($id) : update("id = $id"), 1);
		}
		else
		{
			$unit->(updates(anyone(1)), 1);
		}
	}
	die "session $session commits $n changes, not $changes" unless $n == $changes;
	return \@units;
}

# all_units(SEED): for each session its units; together they commit $CHANGES changes.
sub all_units
{
	my ($seed) = @_;
	srand $seed;
	return map { units($_, $CHANGES / $SESSIONS) } 0 .. $SESSIONS - 1;
}

# script(SESSION, UNITS, FROM): what psql is given; half of the sessions commit
# asynchronously. After each unit it prints the unit's number.
sub script
{
	my ($session, $units, $from) = @_;
	my $synchronous = $session % 2 ? 'off' : 'on';
	return join '', "SET synchronous_commit = $synchronous;\nSET statement_timeout = '60s';\n\\o /dev/null\n",
	  map { "$units->[$_]\\echo unit ${\($_ + 1)}\n" } ($from // 0) .. $#$units;
}

# What to ask when all is over. The table request is what WebhookTest's
# load_requests makes; each returns the rows that must not be, or a number.

# One request for each event: where one was repeated, the first.
our $FIRST = 'SELECT DISTINCT ON (id) * FROM request ORDER BY id, n';

# Entities whose first requests are not exactly the committed changes in the order of v.
our $DIFFERENT = <<SQL;
WITH arrived AS (
	SELECT body::json ->> 'entity_id' AS entity, array_agg((body::json ->> 'action_type') || coalesce(' ' || (body::json -> 'result' ->> 'v'), '') ORDER BY n) AS changes
	FROM ($FIRST) f GROUP BY 1),
committed AS (
	SELECT entity::text, array_agg(action || CASE WHEN action <> 'delete' THEN ' ' || v ELSE '' END ORDER BY v) AS changes
	FROM audit GROUP BY 1)
SELECT entity, a.changes, c.changes FROM arrived a FULL JOIN committed c USING (entity) WHERE a.changes IS DISTINCT FROM c.changes
SQL

# Requests whose id or body is not that of a row of the outbox, byte for byte.
our $NOT_AS_CAPTURED = <<'SQL';
SELECT r.n, r.id, r.body FROM request r LEFT JOIN webhook.outbox o ON o.event_number = r.event_number
WHERE r.id IS DISTINCT FROM 'evt_' || (SELECT instance FROM webhook.identity) || '_' || o.event_number
	OR r.body IS DISTINCT FROM '{"entity_id":' || to_json(o.entity_id) || ',"entity_type":' || to_json(o.entity_type)
		|| ',"action_type":' || to_json(o.action_type) || coalesce(',"result":' || o.result::text, '') || '}'
SQL

# Events that the worker could only find below the highest id it had read: the late commits.
our $STRAGGLERS = <<'SQL';
SELECT count(*) FROM webhook.outbox o WHERE EXISTS (
	SELECT FROM webhook.checkpoint c WHERE o.event_number <= c.hi AND NOT pg_visible_in_snapshot(o.xid, c.snapshot))
SQL

# Late commits of more events than a page holds, read piece by piece.
our $CUTS = 'SELECT count(*) FROM webhook.checkpoint WHERE within IS NOT NULL';

1;

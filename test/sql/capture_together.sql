--
-- The events of a statement are written together: what may go wrong with rows
-- that wait. They must be there when the statement has ended, go with the
-- subtransaction they belong to and with no other, and keep their order.
-- 1,000 rows are more than wait at once; a few are all written at the end.
--
CREATE EXTENSION IF NOT EXISTS webhook;
SET client_min_messages = error;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
SET client_min_messages = warning;
CREATE SCHEMA together;
SET search_path = together;

CREATE TABLE item (id int PRIMARY KEY, note text);
CREATE TABLE part (id int PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE, note text);
SELECT webhook.watch('item');
SELECT webhook.watch('part');
CREATE VIEW told AS
	SELECT entity_type, action_type, count(*), count(DISTINCT entity_id) AS entities,
		count(DISTINCT event_number) AS ids, min(entity_id::int), max(entity_id::int)
	FROM webhook.outbox WHERE entity_type IN ('item', 'part')
	GROUP BY entity_type, action_type ORDER BY entity_type, action_type;

-- there as soon as the statement has ended, in its own transaction, in the order of the rows
BEGIN;
INSERT INTO item SELECT g, 'first' FROM generate_series(1, 1000) g;
SELECT * FROM told;
SELECT count(*) AS out_of_order FROM (SELECT event_number, lag(event_number) OVER (ORDER BY entity_id::int) AS before FROM webhook.outbox
	WHERE entity_type = 'item') o WHERE event_number <= before;
INSERT INTO item VALUES (1001, 'one');
SELECT * FROM told;

-- rolled back with its savepoint, and nothing else with it
SAVEPOINT s;
INSERT INTO item SELECT g, 'second' FROM generate_series(2001, 3000) g;
UPDATE item SET note = 'none of this' WHERE id <= 3;
ROLLBACK TO s;
INSERT INTO item VALUES (1002, 'after');
COMMIT;
SELECT * FROM told;

-- a statement that fails after many of its events, within a block that catches it
CREATE FUNCTION fail_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.note = 'fail' THEN
		RAISE EXCEPTION 'no';
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER zz_fail AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION fail_at();
DO $$
BEGIN
	INSERT INTO item VALUES (4000, 'kept');
	BEGIN
		INSERT INTO item SELECT g, CASE g WHEN 4900 THEN 'fail' END FROM generate_series(4001, 5000) g;
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	INSERT INTO item VALUES (6000, 'kept as well');
END $$;
SELECT * FROM told;
SELECT entity_id FROM webhook.outbox WHERE entity_id::int >= 4000 ORDER BY event_number;
DROP TRIGGER zz_fail ON item;

-- a trigger beside ours changes rows: half of it in a block that is rolled back, while the statement's events wait
TRUNCATE item, part, webhook.outbox;
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO part VALUES (NEW.id, NEW.id, 'kept');
	BEGIN
		UPDATE item SET note = 'undone' WHERE id = NEW.id;
		INSERT INTO part SELECT 1000 + g, NEW.id, 'undone' FROM generate_series(1, 100) g;
		RAISE EXCEPTION 'no';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	BEGIN
		UPDATE item SET note = note || ', meddled with' WHERE id = NEW.id;
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	RETURN NULL;
END $$;
CREATE TRIGGER zz_meddle AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION meddle();
INSERT INTO item SELECT g, 'third' FROM generate_series(1, 3) g;
SELECT entity_type, entity_id, action_type, result FROM webhook.outbox ORDER BY event_number;
DROP TRIGGER zz_meddle ON item;

-- what a trigger's own statement did is there for the trigger to see, and so is what happened before it
TRUNCATE item, part, webhook.outbox;
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO part VALUES (NEW.id, NEW.id, 'seen');
	UPDATE item SET note = (SELECT string_agg(entity_type || ' ' || entity_id, ', ' ORDER BY event_number) FROM webhook.outbox)
		WHERE id = NEW.id;
	RETURN NULL;
END $$;
CREATE TRIGGER zz_look AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION look();
INSERT INTO item VALUES (1), (2);
SELECT * FROM item ORDER BY id;
DROP TRIGGER zz_look ON item;

-- a foreign key's cascade: events of two tables in one statement
TRUNCATE webhook.outbox;
DELETE FROM item;
SELECT * FROM told;

-- deferred to the commit, where no statement runs
TRUNCATE item, part, webhook.outbox;
SELECT webhook.unwatch('part');
CREATE CONSTRAINT TRIGGER webhook_capture AFTER INSERT ON part DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"entity_type": "part"}');
BEGIN;
INSERT INTO part SELECT g, NULL, 'late' FROM generate_series(1, 100) g;
INSERT INTO item VALUES (1, 'early');
SELECT * FROM told;
COMMIT;
SELECT * FROM told;

-- a data-modifying WITH in a SELECT, COPY, and rows so large that few of them wait
TRUNCATE item, part, webhook.outbox;
WITH added AS (INSERT INTO item SELECT g, 'with' FROM generate_series(1, 100) g RETURNING id) SELECT count(*) FROM added;
COPY item FROM STDIN;
101	copied
102	copied
\.
INSERT INTO item SELECT g, string_agg(md5(g || ' ' || n), '') FROM generate_series(103, 122) g, generate_series(1, 2000) n GROUP BY g;
SELECT * FROM told;
SELECT bool_and(result::text = row_to_json(item)::text) AS same FROM webhook.outbox JOIN item ON item.id = entity_id::int;

-- an outbox that somebody added something to is filled in the executor's way, and a change of it is noticed
ALTER TABLE webhook.outbox ADD COLUMN seen int DEFAULT 7;
INSERT INTO item SELECT g, 'default' FROM generate_series(201, 300) g;
SELECT seen, count(*) FROM webhook.outbox WHERE entity_id::int > 200 GROUP BY seen;
ALTER TABLE webhook.outbox DROP COLUMN seen;
INSERT INTO item VALUES (301, 'none');
SELECT count(*) FROM webhook.outbox WHERE entity_id::int > 200;

DROP SCHEMA together CASCADE;
TRUNCATE webhook.outbox;

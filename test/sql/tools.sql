--
-- People's tools without a worker: what they refuse, and how they say it;
-- what they queue; and what the rows of a test hold.
--
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
RESET client_min_messages;
TRUNCATE webhook.outbox;
ALTER SEQUENCE webhook.event_number_seq RESTART;

CREATE TABLE customer (id int PRIMARY KEY, name text, hush text, org text);
CREATE TABLE visit (day date, place text, n int, PRIMARY KEY (day, place));
SELECT webhook.watch('customer', exclude_columns => '{hush}', tenant => 'org');
SELECT webhook.watch('visit', columns => '{day,n}');
INSERT INTO customer VALUES (1, 'Ada', 'secret one', 'a'), (2, 'Bob', 'secret two', 'b');
INSERT INTO visit VALUES ('2024-02-29', 'Ulm', 3);
INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://crm.example.com/'), ('away', 'https://crm.example.com/away');
INSERT INTO webhook.subscription (name, url, tenant, events) VALUES ('b', 'https://b.example.com/', 'b', '{customer.*}');
UPDATE webhook.subscription SET state = 'inactive' WHERE name = 'away';

-- which events are for whom is the same whatever the search_path finds
BEGIN;
CREATE SCHEMA tools_evil;
CREATE FUNCTION tools_evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'fell into the trap'; END $$;
CREATE OPERATOR tools_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = tools_evil.trap);
CREATE OPERATOR tools_evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = tools_evil.trap);
UPDATE webhook.subscription SET events = '{*.new}';
SET LOCAL search_path = tools_evil, pg_catalog;
SELECT count(*) AS three_for_crm_one_for_b FROM webhook.subscription s CROSS JOIN webhook.outbox o WHERE webhook_internal.matches(s, o);
ROLLBACK;

-- the id of an event
SELECT webhook.event_number('42'), webhook.event_number(webhook.event_id(42)), webhook.event_number(' 42 ');
SELECT webhook.event_number('evt_42');
SELECT webhook.event_number('evt_0000000g_42');
SELECT webhook.event_number('99999999999999999999');
SELECT webhook.event_number(NULL);
INSERT INTO webhook.identity VALUES ('0123abcd', 1, 1, 1);
SELECT webhook.event_number('evt_0123abcd_42') AS of_this_database;
DELETE FROM webhook.identity WHERE instance = '0123abcd';
SELECT webhook.event_number('evt_0123abcd_42');

-- redeliver
SELECT webhook.redeliver('1', 'nobody');
SELECT webhook.redeliver('123456');
SELECT webhook.redeliver('x');
SELECT webhook.redeliver('1', 'b'); -- of another tenant
SELECT webhook.redeliver('1') AS to_crm;
SELECT webhook.redeliver('1') AS again;
SELECT webhook.redeliver('2') AS to_crm_and_b;
SELECT s.name, p.event_number, p.state, p.attempts, p.segment = o.segment AS segment, p.size > 200 AS size
	FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id JOIN webhook.outbox o ON o.event_number = p.event_number ORDER BY 1, 2;
BEGIN;
DELETE FROM webhook.pending;
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_id, entity_type, action_type, result, created_at)
	SELECT s.id, o.event_number, s.name, 'status 500', 9, o.xid, o.entity_id, o.entity_type, o.action_type, o.result, o.created_at
	FROM webhook.subscription s, webhook.outbox o WHERE s.name IN ('crm', 'b') AND o.event_number = 2;
CREATE TEMP TABLE before AS SELECT * FROM webhook.outbox WHERE event_number = 2;
TRUNCATE webhook.outbox;
SELECT webhook.redeliver('2', 'b') AS one;
SELECT subscription FROM webhook.dead_letter;
SELECT webhook.redeliver('2') AS the_other;
SELECT count(*) AS dead FROM webhook.dead_letter;
SELECT count(*) AS back, bool_and((o.event_number, o.xid, o.entity_id, o.result::text, o.created_at) = (b.event_number, b.xid, b.entity_id, b.result::text, b.created_at)) AS as_it_was
	FROM webhook.outbox o, before b;
ROLLBACK;
-- what waits for its retry is due now
UPDATE webhook.pending SET state = 'retry', next_attempt_at = 'infinity' WHERE event_number = 1;
SELECT webhook.redeliver('1') AS due;
SELECT count(*) FROM webhook.pending WHERE state = 'retry' AND next_attempt_at <= clock_timestamp();

-- replay
SELECT webhook.replay('nobody', '-infinity');
SELECT webhook.replay('crm', NULL, '2024-01-01');
SELECT webhook.replay('crm', '2024-01-02', '2024-01-01');
SELECT webhook.replay('away', '-infinity');
SELECT webhook.replay('crm', '-infinity', '2000-01-01') AS nothing;
SELECT webhook.replay('crm', '-infinity') AS not_what_is_pending;
SELECT webhook.replay('b', '-infinity') AS none_left;
-- what is committed while a subscription is being made, or changed, must not be missed
BEGIN;
INSERT INTO webhook.subscription (name, url) VALUES ('new', 'https://new.example.com/');
SELECT webhook.replay('new', '-infinity');
ROLLBACK;
BEGIN;
SAVEPOINT part;
SELECT webhook.resume('crm');
RELEASE part;
SELECT webhook.replay('crm', '-infinity');
ROLLBACK;
-- what a filter cannot be evaluated for stops nothing, and is kept: as the worker has it
UPDATE webhook.subscription SET filter = '$.result.name == "Ada" || $.result.n == 3' WHERE name = 'crm';
BEGIN;
DELETE FROM webhook.pending;
SET LOCAL max_stack_depth = '7MB';
UPDATE webhook.outbox SET result = (repeat('[', 10000) || repeat(']', 10000))::json WHERE event_number = 2;
INSERT INTO webhook.outbox SELECT 4, xid, '4', entity_type, action_type, '"\u0000"', previous, tenant, context, NULL, created_at, segment FROM webhook.outbox WHERE event_number = 1;
SET LOCAL max_stack_depth = '1MB';
SELECT webhook.replay('crm', '-infinity') AS two_of_four;
SELECT event_number FROM webhook.pending ORDER BY 1;
SELECT d.subscription, d.event_number, d.entity_id, d.reason, d.attempts, d.first_attempt_at, d.result::text = o.result::text AS as_it_is
	FROM webhook.dead_letter d JOIN webhook.outbox o ON o.event_number = d.event_number ORDER BY 2;
SELECT webhook.replay('crm', '-infinity') AS nothing_more;
SELECT webhook.redeliver('2', 'crm') AS because_somebody_says_so;
ROLLBACK;
UPDATE webhook.subscription SET filter = NULL WHERE name = 'crm';

-- purge
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_type, action_type, created_at, given_up_at)
	SELECT CASE WHEN g % 2 = 0 THEN (SELECT id FROM webhook.subscription WHERE name = 'crm') ELSE -1 END, g, CASE WHEN g % 2 = 0 THEN 'crm' ELSE 'gone' END,
		'x', 1, '1', 't', 'new', now(), now() - g * interval '1 day'
	FROM generate_series(1, 10) g;
SELECT webhook.purge_dead_letters();
SELECT webhook.purge_dead_letters('-1 day');
SELECT webhook.purge_dead_letters(subscription => 'nobody');
SELECT webhook.purge_dead_letters('8.5 days') AS by_age;
SELECT webhook.purge_dead_letters('5.5 days', 'crm') AS by_both;
SELECT webhook.purge_dead_letters(subscription => 'gone') AS of_one_removed;
SELECT webhook.purge_dead_letters('0') AS all_others;

-- test
CALL webhook.test('nobody');
CALL webhook.test('crm', entity_id => '1');
CALL webhook.test('crm', wait => NULL);
CALL webhook.test('crm', wait => '-1 s');
CALL webhook.test('crm', 'nothing');
CALL webhook.test('crm');
BEGIN;
CALL webhook.test('crm');
ROLLBACK;
CREATE FUNCTION wrap() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	status int;
	error text;
BEGIN
	CALL webhook.test('crm', http_status => status, error => error);
END
$$;
SELECT wrap();
SELECT * FROM webhook.outbox WHERE action_type = 'test';

-- the rows it is made of: as capture tells of them
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, NULL, NULL, true) t WHERE entity_type IN ('customer', 'visit') ORDER BY s.entity_type;
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, '1', NULL, true) t WHERE entity_type = 'customer';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, '1', 'b', true) t WHERE entity_type = 'customer';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, NULL, 'a', true) t WHERE entity_type = 'customer';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, 'no number', NULL, true) t WHERE entity_type = 'customer';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, '["2024-02-29","Ulm"]', NULL, true) t WHERE entity_type = 'visit';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, '["2024-02-29"]', NULL, true) t WHERE entity_type = 'visit';
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, 'no array', NULL, true) t WHERE entity_type = 'visit';
SELECT bool_and((o.entity_id, o.result::text, o.tenant) IS NOT DISTINCT FROM (t.entity_id, t.result::text, t.tenant)) AS the_same
	FROM webhook.source s JOIN webhook.outbox o USING (entity_type) CROSS JOIN webhook_internal.sample_row(s.source, s.trigger, o.entity_id, NULL, true) t;
SELECT webhook_internal.sample_row(NULL, 'webhook_capture', NULL, NULL, true), webhook_internal.sample_row('customer', NULL, NULL, NULL, true), webhook_internal.sample_row(1::regclass, 'x', NULL, NULL, true);
SELECT webhook_internal.sample_row('customer', 'other', NULL, NULL, true);
-- where an excluded column goes by another name, nothing but the key is told
ALTER TABLE customer RENAME hush TO whisper;
SET client_min_messages = error;
SELECT t.* FROM webhook.source s, webhook_internal.sample_row(s.source, s.trigger, '1', NULL, true) t WHERE entity_type = 'customer';
RESET client_min_messages;

-- a reserved name
CREATE TABLE w (id int PRIMARY KEY);
SELECT webhook.watch('w', 'webhook_subscription');

-- operational events: only where another subscription asks for them by name
INSERT INTO webhook.subscription (name, url, events) VALUES ('ops', 'https://ops.example.com/', '{webhook_subscription.*}');
UPDATE webhook.subscription SET state = 'disabled', state_reason = 'for a test';
UPDATE webhook.subscription SET state = 'paused' WHERE name = 'crm';
UPDATE webhook.subscription SET state = 'disabled', state_reason = 'again' WHERE name = 'b';
SELECT webhook.resume('b');
SELECT entity_id, action_type, (result::jsonb - 'occurred_at')::text AS result FROM webhook.outbox WHERE entity_type = 'webhook_subscription' ORDER BY event_number;
SELECT s.name FROM webhook.subscription s CROSS JOIN webhook.outbox o WHERE o.entity_type = 'webhook_subscription' AND webhook_internal.matches(s, o) GROUP BY 1;

DELETE FROM webhook.subscription WHERE name = 'b'; -- one after the other, so that what is told has an order
DELETE FROM webhook.subscription;
DROP TABLE customer, visit, w;
DROP FUNCTION wrap();

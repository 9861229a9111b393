-- Rows in every table of the extension, for 682_upgraded_is_fresh. No worker runs.
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, v int);
SELECT webhook.watch('item');
SELECT webhook.copy_profile('stripe', 'mine');
SELECT webhook.subscribe('first', 'https://localhost:1/first', '{item.*}', profile => 'mine');
SELECT webhook.subscribe('second', 'https://localhost:1/second', filter => '$.result.v > 1');
SELECT webhook.set_credential('first', 'bearer', 'a-token-for-tests');
INSERT INTO item VALUES (1, 1), (2, 2);
INSERT INTO webhook.attempt (started_at, event_number, subscription_id, attempt_number, http_status, duration_ms, segment, outcome, subscription,
	entity_type, entity_id, action_type, error, response)
	SELECT created_at, event_number, 1, 1, 500, 1.5, segment, 'server_error', 'first', entity_type, entity_id, action_type, 'HTTP 500', 'no' FROM webhook.outbox;
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, attempts, next_attempt_at, segment)
	SELECT 1, event_number, 7, 'retry', 1, created_at, segment FROM webhook.outbox;
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_id, entity_type, action_type, result, created_at)
	SELECT 2, event_number, 'second', 'HTTP 410', 3, xid, entity_id, entity_type, action_type, result, created_at FROM webhook.outbox;
INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi) VALUES (1, 'settled', pg_current_snapshot(), '3', 0);
INSERT INTO webhook_internal.breaker_notice (subscription_id) VALUES (1);
INSERT INTO webhook_internal.stat_subscription (subscription_id, delivered) VALUES (1, 7);
SELECT to_regclass('webhook.audit') IS NOT NULL AS of_1_1 \gset
\if :of_1_1
INSERT INTO webhook.api_token (name, role, digest, expires_at) VALUES ('shop', 'pg_monitor', sha256('a-token-for-tests'), now() + '1 day');
INSERT INTO webhook.audit (action, object, via) VALUES ('pause a subscription', 'first', 'console');
\endif
SELECT webhook.isolate_operators();

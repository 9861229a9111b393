--
-- Views of what happens: the log, the subscriptions, the worker.
--

-- a plain projection, so that conditions and orders of people's own use the indexes of webhook.attempt
CREATE VIEW webhook.log WITH (security_invoker = true) AS
	SELECT a.started_at, webhook.event_id(a.event_number) AS event_id, a.subscription, a.entity_type, a.entity_id, a.action_type,
		a.attempt_number, a.outcome, a.http_status, a.error, a.duration_ms, a.response, a.event_number
	FROM webhook.attempt a;
COMMENT ON VIEW webhook.log IS
	'the requests made; ORDER BY started_at DESC for the newest first. Fast by event_id, by '
	'event_number, by subscription, by entity_id, by started_at, and for outcome <> ''delivered''';
COMMENT ON COLUMN webhook.log.started_at IS 'when the request was started';
COMMENT ON COLUMN webhook.log.event_id IS 'the event''s id as the receiver sees it';
COMMENT ON COLUMN webhook.log.subscription IS 'for whom: its name at that time';
COMMENT ON COLUMN webhook.log.entity_type IS 'of the event';
COMMENT ON COLUMN webhook.log.entity_id IS 'of the event, its first 500 characters';
COMMENT ON COLUMN webhook.log.action_type IS 'of the event';
COMMENT ON COLUMN webhook.log.attempt_number IS 'number of the attempt, from 1';
COMMENT ON COLUMN webhook.log.outcome IS 'one word: delivered, or what went wrong';
COMMENT ON COLUMN webhook.log.http_status IS 'the response''s status; null: there was none';
COMMENT ON COLUMN webhook.log.error IS 'what went wrong, for people';
COMMENT ON COLUMN webhook.log.duration_ms IS 'milliseconds from start to end';
COMMENT ON COLUMN webhook.log.response IS 'the first 4096 bytes of the response body';
COMMENT ON COLUMN webhook.log.event_number IS
	'the event''s number; webhook.event_number() tells it of an id with another prefix too';

CREATE FUNCTION webhook_internal.counters(
	OUT subscription_id bigint, OUT queued integer, OUT in_flight integer, OUT catching_up boolean, OUT breaker text,
	OUT delivered bigint, OUT failed bigint, OUT last_success_at timestamptz, OUT last_failure_at timestamptz, OUT last_error text
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_counters';
COMMENT ON FUNCTION webhook_internal.counters() IS
	'what the worker of this database has in memory and has counted since it started, a row per '
	'subscription that the caller may see; no rows while there is none';

CREATE FUNCTION webhook_internal.worker_status(
	OUT state text, OUT reason text, OUT pid integer, OUT started_at timestamptz, OUT last_read_at timestamptz,
	OUT last_settled_at timestamptz, OUT queued integer, OUT in_flight integer, OUT events_read bigint, OUT outbox_size bigint,
	OUT unread_events bigint, OUT oldest_unread_age interval
) RETURNS record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_worker_status';
COMMENT ON FUNCTION webhook_internal.worker_status() IS 'what webhook.worker shows';

-- pending and dead_letter are passed once each, however many subscriptions there are, and not at all
-- for who asks for none of their columns: nothing is looked up for each subscription
CREATE VIEW webhook.status WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		CASE WHEN s.state = 'active' AND c.catching_up THEN 'catching_up' ELSE s.state END AS state,
		s.state_reason AS reason,
		coalesce(c.breaker, 'closed') AS breaker,
		coalesce(c.queued, 0) AS queued,
		coalesce(c.in_flight, 0) AS in_flight,
		coalesce(p.pending, 0) AS pending,
		p.oldest_pending_age,
		p.next_attempt_at,
		coalesce(d.dead_letters, 0) AS dead_letters,
		coalesce(c.delivered, 0) AS delivered,
		coalesce(c.failed, 0) AS failed,
		c.last_success_at,
		c.last_failure_at,
		c.last_error
	FROM webhook.subscription s
	LEFT JOIN webhook_internal.counters() c ON c.subscription_id = s.id
	LEFT JOIN (SELECT p.subscription_id, count(*) AS pending,
			clock_timestamp() - min(p.pending_since) AS oldest_pending_age,
			min(p.next_attempt_at) FILTER (WHERE p.state = 'retry') AS next_attempt_at
		FROM webhook.pending p GROUP BY p.subscription_id) p ON p.subscription_id = s.id
	LEFT JOIN (SELECT d.subscription_id, count(*) AS dead_letters
		FROM webhook.dead_letter d GROUP BY d.subscription_id) d ON d.subscription_id = s.id;
COMMENT ON VIEW webhook.status IS
	'one row per subscription. delivered, failed, last_*: since the worker started. '
	'oldest_pending_age: age of the oldest delivery that did not simply succeed';
COMMENT ON COLUMN webhook.status.subscription IS 'its name';
COMMENT ON COLUMN webhook.status.state IS 'active, catching_up, paused, disabled or inactive';
COMMENT ON COLUMN webhook.status.reason IS 'why the state is not active';
COMMENT ON COLUMN webhook.status.breaker IS
	'closed: requests are sent as they come; open: ten in a row have failed, deliveries are kept '
	'and a probe is sent now and then; half-open: a probe is under way';
COMMENT ON COLUMN webhook.status.queued IS 'deliveries waiting in the worker''s memory';
COMMENT ON COLUMN webhook.status.in_flight IS 'requests under way';
COMMENT ON COLUMN webhook.status.pending IS 'rows in webhook.pending';
COMMENT ON COLUMN webhook.status.oldest_pending_age IS 'age of the oldest of them';
COMMENT ON COLUMN webhook.status.next_attempt_at IS
	'when the earliest of those that failed is tried again; while the breaker is open, not before it '
	'lets a probe out; null: none waits for a retry';
COMMENT ON COLUMN webhook.status.dead_letters IS 'rows in webhook.dead_letter';
COMMENT ON COLUMN webhook.status.delivered IS 'deliveries since the worker started';
COMMENT ON COLUMN webhook.status.failed IS 'failed attempts since the worker started';
COMMENT ON COLUMN webhook.status.last_success_at IS 'the last delivery';
COMMENT ON COLUMN webhook.status.last_failure_at IS 'the last failed attempt';
COMMENT ON COLUMN webhook.status.last_error IS
	'its outcome, one word; too_large: the worker cannot hold the subscription, its log says why,'
	' and what is for it is kept';

CREATE VIEW webhook.worker WITH (security_invoker = true) AS
	SELECT w.state, w.reason, w.unread_events, w.oldest_unread_age, w.pid, w.started_at,
		w.last_read_at, w.last_settled_at, w.queued, w.in_flight, w.events_read, w.outbox_size
	FROM webhook_internal.worker_status() w;
COMMENT ON VIEW webhook.worker IS 'the worker of this database, in one row';
COMMENT ON COLUMN webhook.worker.state IS
	'running; starting; failing: it meets an error again and again, and waits for longer each '
	'time; suspended: nothing is delivered here, as in a copy; not_running';
COMMENT ON COLUMN webhook.worker.reason IS 'why the state is not running';
COMMENT ON COLUMN webhook.worker.unread_events IS
	'committed events that the worker has not read yet, counted up to 10000: 10000 means so many or '
	'more. Not among them: what was committed late, after events with higher numbers were read. '
	'Null while somebody has locked webhook.outbox or webhook.checkpoint';
COMMENT ON COLUMN webhook.worker.oldest_unread_age IS
	'age of the oldest of them; null: there are none. Alert on it: it grows while no worker runs, '
	'and while the worker cannot keep up';
COMMENT ON COLUMN webhook.worker.pid IS 'its process, where there is one';
COMMENT ON COLUMN webhook.worker.started_at IS 'when that process was started';
COMMENT ON COLUMN webhook.worker.last_read_at IS 'when it last read events';
COMMENT ON COLUMN webhook.worker.last_settled_at IS
	'when it last wrote down what has become of deliveries';
COMMENT ON COLUMN webhook.worker.queued IS 'deliveries waiting in its memory';
COMMENT ON COLUMN webhook.worker.in_flight IS 'requests under way';
COMMENT ON COLUMN webhook.worker.events_read IS 'events read since it started';
COMMENT ON COLUMN webhook.worker.outbox_size IS
	'bytes that webhook.outbox takes on disk; null on a standby, and while somebody has locked it';

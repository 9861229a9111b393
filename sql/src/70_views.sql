--
-- Views of what happens: the log, the subscriptions, the worker.
--

-- a plain projection, so that a query's own conditions and order use the indexes of webhook.attempt
CREATE VIEW webhook.log WITH (security_invoker = true) AS
	SELECT a.started_at, webhook.event_id(a.event_number) AS event_id, a.subscription,
		a.entity_type, a.entity_id, a.action_type, a.attempt_number, a.outcome, a.http_status,
		a.error, a.duration_ms, a.response, a.event_number
	FROM webhook.attempt a;
COMMENT ON VIEW webhook.log IS
	'The requests made; ORDER BY started_at DESC shows the newest first. Searching is fast by '
	'event_id, event_number, subscription, entity_id, started_at, and for outcome <> '
	'''delivered''.';
COMMENT ON COLUMN webhook.log.started_at IS 'When the request was started.';
COMMENT ON COLUMN webhook.log.event_id IS 'The event id as the receiver sees it.';
COMMENT ON COLUMN webhook.log.subscription IS 'Name of the subscription at that time.';
COMMENT ON COLUMN webhook.log.entity_type IS 'The event''s entity type.';
COMMENT ON COLUMN webhook.log.entity_id IS 'The event''s entity id, its first 500 characters.';
COMMENT ON COLUMN webhook.log.action_type IS 'The event''s action type.';
COMMENT ON COLUMN webhook.log.attempt_number IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN webhook.log.outcome IS
	'One word: delivered, or what went wrong. docs/outcomes.md lists them all.';
COMMENT ON COLUMN webhook.log.http_status IS 'Status of the response. Null: there was none.';
COMMENT ON COLUMN webhook.log.error IS 'What went wrong, as text. Null when delivered.';
COMMENT ON COLUMN webhook.log.duration_ms IS 'Milliseconds from start to end.';
COMMENT ON COLUMN webhook.log.response IS 'The first 4096 bytes of the response body.';
COMMENT ON COLUMN webhook.log.event_number IS
	'Number of the event. webhook.event_number() finds it from an event id with any prefix.';

CREATE FUNCTION webhook_internal.counters(
	OUT subscription_id bigint, OUT queued integer, OUT in_flight integer, OUT catching_up boolean,
	OUT breaker text, OUT delivered bigint, OUT failed bigint, OUT last_success_at timestamptz,
	OUT last_failure_at timestamptz, OUT last_error text, OUT next_probe_at timestamptz
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_counters';
COMMENT ON FUNCTION webhook_internal.counters() IS
	'What this database''s worker has in memory and has counted since it started: one row per '
	'subscription that the caller may see. No rows while there is no worker.';

CREATE FUNCTION webhook_internal.worker_status(
	OUT state text, OUT reason text, OUT pid integer, OUT started_at timestamptz,
	OUT last_read_at timestamptz, OUT last_settled_at timestamptz, OUT queued integer,
	OUT in_flight integer, OUT events_read bigint, OUT outbox_size bigint,
	OUT unread_events bigint, OUT oldest_unread_age interval
) RETURNS record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_worker_status';
COMMENT ON FUNCTION webhook_internal.worker_status() IS 'The row of webhook.worker.';

-- pending and dead_letter are scanned once each, however many subscriptions there are, and not at
-- all if none of their columns is selected: nothing is looked up per subscription
CREATE VIEW webhook.status WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		CASE WHEN s.state = 'active' AND c.catching_up THEN 'catching_up' ELSE s.state END AS state,
		s.state_reason AS reason,
		coalesce(c.breaker, 'closed') AS breaker,
		coalesce(c.queued, 0) AS queued,
		coalesce(c.in_flight, 0) AS in_flight,
		coalesce(p.pending, 0) AS pending,
		p.oldest_pending_age,
		CASE coalesce(c.breaker, 'closed') WHEN 'closed' THEN p.next_attempt_at
			WHEN 'open' THEN c.next_probe_at END AS next_attempt_at,
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
	'One row per subscription: its state, what waits for it, and what was delivered since the '
	'worker started.';
COMMENT ON COLUMN webhook.status.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN webhook.status.state IS 'active, catching_up, paused, disabled or inactive.';
COMMENT ON COLUMN webhook.status.reason IS 'Why the state is not active.';
COMMENT ON COLUMN webhook.status.breaker IS
	'closed: requests are sent as usual; open: ten in a row have failed, deliveries are kept and a '
	'probe is sent now and then; half-open: a probe is in flight.';
COMMENT ON COLUMN webhook.status.queued IS 'Deliveries waiting in the worker''s memory.';
COMMENT ON COLUMN webhook.status.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN webhook.status.pending IS 'Rows in webhook.pending.';
COMMENT ON COLUMN webhook.status.oldest_pending_age IS 'Age of the oldest pending delivery.';
COMMENT ON COLUMN webhook.status.next_attempt_at IS
	'When the earliest retry is due; while the breaker is open, when its next probe is. Null: none '
	'waits for a retry, or the probe is in flight.';
COMMENT ON COLUMN webhook.status.dead_letters IS 'Rows in webhook.dead_letter.';
COMMENT ON COLUMN webhook.status.delivered IS 'Deliveries since the worker started.';
COMMENT ON COLUMN webhook.status.failed IS 'Failed attempts since the worker started.';
COMMENT ON COLUMN webhook.status.last_success_at IS
	'Time of the last delivery since the worker started.';
COMMENT ON COLUMN webhook.status.last_failure_at IS
	'Time of the last failed attempt since the worker started.';
COMMENT ON COLUMN webhook.status.last_error IS
	'Outcome of the last failed attempt, one word. too_large: the worker cannot hold the '
	'subscription; the server log says why, and its events are kept.';

CREATE VIEW webhook.worker WITH (security_invoker = true) AS
	SELECT w.state, w.reason, w.unread_events, w.oldest_unread_age, w.pid, w.started_at,
		w.last_read_at, w.last_settled_at, w.queued, w.in_flight, w.events_read, w.outbox_size
	FROM webhook_internal.worker_status() w;
COMMENT ON VIEW webhook.worker IS 'The worker of this database, in one row.';
COMMENT ON COLUMN webhook.worker.state IS
	'running; starting; failing: it meets an error again and again and waits longer each time; '
	'suspended: nothing is delivered here, as in a copy; not_running.';
COMMENT ON COLUMN webhook.worker.reason IS
	'Why the state is not running. While it is: that the extension is not at the version of the '
	'library, and what to do; or why fewer requests are in flight than webhook.max_in_flight, if '
	'that is set; or, for lack of file descriptors, than the subscriptions ask for.';
COMMENT ON COLUMN webhook.worker.unread_events IS
	'Committed events that the worker has not read yet, counted up to 10000 (10000 means at least '
	'that many). Events committed late, after higher numbers were read, are not counted. Null '
	'while webhook.outbox or webhook.checkpoint is locked.';
COMMENT ON COLUMN webhook.worker.oldest_unread_age IS
	'Age of the oldest unread event. Null: there is none. Alert on it: it grows while no worker '
	'runs or the worker cannot keep up.';
COMMENT ON COLUMN webhook.worker.pid IS 'Process id of the worker, if there is one.';
COMMENT ON COLUMN webhook.worker.started_at IS 'When that process was started.';
COMMENT ON COLUMN webhook.worker.last_read_at IS 'When it last read events.';
COMMENT ON COLUMN webhook.worker.last_settled_at IS
	'When it last recorded the results of deliveries.';
COMMENT ON COLUMN webhook.worker.queued IS 'Deliveries waiting in its memory.';
COMMENT ON COLUMN webhook.worker.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN webhook.worker.events_read IS 'Events read since it started.';
COMMENT ON COLUMN webhook.worker.outbox_size IS
	'Bytes that webhook.outbox takes on disk. Null on a standby, and while it is locked.';

--
-- Monitoring: cumulative counters, how far long work has come, and both as metrics.
--

CREATE VIEW webhook.stat_subscription WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		coalesce(t.delivered, 0) AS delivered,
		coalesce(t.skipped, 0) AS skipped,
		coalesce(t.failed, 0) AS failed,
		coalesce(t.given_up, 0) AS given_up,
		coalesce(t.breaker_opened, 0) AS breaker_opened,
		coalesce(t.duration_seconds, 0) AS duration_seconds,
		coalesce(t.duration_histogram, array_fill(0::bigint, '{12}')) AS duration_histogram,
		coalesce(t.delay_seconds, 0) AS delay_seconds,
		coalesce(t.delay_histogram, array_fill(0::bigint, '{12}')) AS delay_histogram,
		t.stats_reset
	FROM webhook.subscription s
	LEFT JOIN webhook_internal.stat_subscription t ON t.subscription_id = s.id;
COMMENT ON VIEW webhook.stat_subscription IS
	'Cumulative counters, one row per subscription, kept over restarts of the worker and the '
	'server. At most a second behind webhook.log. A histogram has 12 buckets, each with its own '
	'count; their upper bounds are 5, 10, 25, 50, 100, 250 and 500 ms, 1, 5, 30 and 300 s, and '
	'none for the last.';
COMMENT ON COLUMN webhook.stat_subscription.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN webhook.stat_subscription.delivered IS
	'Deliveries: rows of webhook.log with the outcome delivered.';
COMMENT ON COLUMN webhook.stat_subscription.skipped IS
	'Deliveries for which the transform returned null.';
COMMENT ON COLUMN webhook.stat_subscription.failed IS
	'Failed attempts: the other rows of webhook.log.';
COMMENT ON COLUMN webhook.stat_subscription.given_up IS
	'Deliveries that became dead letters, those that were redelivered or purged since included.';
COMMENT ON COLUMN webhook.stat_subscription.breaker_opened IS 'How often its breaker has opened.';
COMMENT ON COLUMN webhook.stat_subscription.duration_seconds IS
	'Seconds that all requests took together.';
COMMENT ON COLUMN webhook.stat_subscription.duration_histogram IS
	'How long requests took, from start to end.';
COMMENT ON COLUMN webhook.stat_subscription.delay_seconds IS
	'Seconds from change to receipt, of all deliveries together.';
COMMENT ON COLUMN webhook.stat_subscription.delay_histogram IS
	'How long it took from the change (webhook.outbox.created_at, shortly before its COMMIT) '
	'until the receiver had confirmed it.';
COMMENT ON COLUMN webhook.stat_subscription.stats_reset IS
	'When webhook.stat_reset() last set these to zero. Null: never.';

CREATE VIEW webhook.stat_worker WITH (security_invoker = true) AS
	SELECT t.starts, t.reads, t.events_read, t.delivered, t.skipped, t.failed, t.given_up,
		t.segments_emptied, t.rotation_delayed_since, t.stats_reset
	FROM webhook_internal.stat_worker t;
COMMENT ON VIEW webhook.stat_worker IS
	'Cumulative counters of this database''s worker, in one row, kept over its restarts and those '
	'of the server.';
COMMENT ON COLUMN webhook.stat_worker.starts IS 'How often a worker began to deliver.';
COMMENT ON COLUMN webhook.stat_worker.reads IS 'Pages of events read.';
COMMENT ON COLUMN webhook.stat_worker.events_read IS 'Events read.';
COMMENT ON COLUMN webhook.stat_worker.delivered IS
	'Deliveries of all subscriptions, those removed since included.';
COMMENT ON COLUMN webhook.stat_worker.skipped IS
	'Deliveries for which a transform returned null, likewise.';
COMMENT ON COLUMN webhook.stat_worker.failed IS 'Failed attempts, likewise.';
COMMENT ON COLUMN webhook.stat_worker.given_up IS
	'Deliveries that became dead letters, likewise.';
COMMENT ON COLUMN webhook.stat_worker.segments_emptied IS
	'Segments of webhook.outbox and webhook.attempt emptied.';
COMMENT ON COLUMN webhook.stat_worker.rotation_delayed_since IS
	'Since when a segment that is old enough cannot be emptied: somebody holds a lock on it, '
	'events in it are not settled, or an error, which the server log has. Null: rotation is on '
	'time.';
COMMENT ON COLUMN webhook.stat_worker.stats_reset IS
	'When webhook.stat_reset() last set these to zero. Null: never.';

CREATE FUNCTION webhook.stat_reset(subscription text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO webhook_internal.stat_subscription AS t (subscription_id, stats_reset)
		SELECT s.id, clock_timestamp() FROM webhook.subscription s
			WHERE s.name = stat_reset.subscription OR stat_reset.subscription IS NULL
		ON CONFLICT (subscription_id) WHERE subscription_id IS NOT NULL DO UPDATE
		SET (delivered, skipped, failed, given_up, breaker_opened, duration_seconds, delay_seconds,
				duration_histogram, delay_histogram, stats_reset)
			= ROW(0, 0, 0, 0, 0, 0, 0, DEFAULT, DEFAULT, excluded.stats_reset);
	IF NOT FOUND AND stat_reset.subscription IS NOT NULL THEN
		PERFORM webhook_internal.undefined_subscription_error(stat_reset.subscription);
	END IF;
	IF stat_reset.subscription IS NULL THEN
		UPDATE webhook_internal.stat_worker SET stats_reset = clock_timestamp(),
			(delivered, skipped, failed, given_up, starts, reads, events_read, segments_emptied)
				= ROW(0, 0, 0, 0, 0, 0, 0, 0);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.stat_reset(text) IS
	'Sets the counters of a subscription to zero; null: those of all subscriptions and of the '
	'worker. Until the transaction ends the worker keeps what it counts in memory. Only the owner '
	'of the extension may call it. Error undefined_object if there is no such subscription.';

CREATE FUNCTION webhook_internal.progress(
	OUT command text, OUT subscription_id bigint, OUT done bigint, OUT total bigint,
	OUT started_at timestamptz
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_progress';
COMMENT ON FUNCTION webhook_internal.progress() IS
	'What the worker says of long work, for webhook.progress.';

CREATE VIEW webhook.progress WITH (security_invoker = true) AS
	SELECT p.command, s.name AS subscription, p.done, p.total, r.rate,
		CASE WHEN r.rate > 0 THEN make_interval(secs => (p.total - p.done) / r.rate) END
			AS estimated_remaining,
		p.started_at
	FROM webhook_internal.progress() p
	LEFT JOIN webhook.subscription s ON s.id = p.subscription_id
	CROSS JOIN LATERAL (SELECT p.done / greatest(0.001,
			extract(epoch FROM clock_timestamp() - p.started_at)::double precision) AS rate) r;
COMMENT ON VIEW webhook.progress IS
	'Long work of the worker that is under way. No rows: there is none.';
COMMENT ON COLUMN webhook.progress.command IS
	'replay: a subscription sends what webhook.replay() or webhook.redeliver() asked for; '
	'catching_up: it sends what was kept for it; rotation: events with pending deliveries are '
	'moved out of a segment that is to be emptied.';
COMMENT ON COLUMN webhook.progress.subscription IS 'Name of the subscription. Null for rotation.';
COMMENT ON COLUMN webhook.progress.done IS
	'Deliveries made since it began; for rotation, rows of webhook.pending looked at.';
COMMENT ON COLUMN webhook.progress.total IS
	'The same when it is over, as far as is known: it grows while events go on coming.';
COMMENT ON COLUMN webhook.progress.rate IS 'How much of that was done per second.';
COMMENT ON COLUMN webhook.progress.estimated_remaining IS
	'How long it still takes at that rate. Null: nothing was done yet.';
COMMENT ON COLUMN webhook.progress.started_at IS
	'When it began; at the earliest, when the worker started.';

-- one row per family and subscription, then text: an exporter has only to send it
CREATE FUNCTION webhook.metrics(max_subscriptions integer DEFAULT 100) RETURNS text
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	WITH families (n, family, kind, help) AS (VALUES
		(1, 'worker_up', 'gauge', 'Whether a worker delivers, or starts: 1 or 0.'),
		(2, 'worker_suspended', 'gauge', 'Whether nothing is delivered because this is a copy.'),
		(3, 'worker_unread_events', 'gauge', 'Committed events not read yet, up to 10000.'),
		(4, 'worker_oldest_unread_age_seconds', 'gauge', 'Age of the oldest of them; 0: none.'),
		(5, 'worker_queued', 'gauge', 'Deliveries waiting in memory.'),
		(6, 'worker_in_flight', 'gauge', 'Requests in flight.'),
		(7, 'worker_outbox_size_bytes', 'gauge', 'Size of webhook.outbox on disk.'),
		(8, 'worker_rotation_delayed_seconds', 'gauge',
			'For how long a segment could not be emptied; 0: rotation is on time.'),
		(9, 'worker_source_problems', 'gauge', 'Watched tables whose triggers have a problem.'),
		(10, 'worker_subscriptions', 'gauge', 'Subscriptions.'),
		(11, 'worker_subscriptions_left_out', 'gauge', 'Those left out of these metrics.'),
		(12, 'worker_starts', 'counter', 'Starts of the worker.'),
		(13, 'worker_reads', 'counter', 'Pages of events read.'),
		(14, 'worker_events_read', 'counter', 'Events read.'),
		(15, 'worker_delivered', 'counter', 'Deliveries of all subscriptions.'),
		(16, 'worker_skipped', 'counter', 'Deliveries that a transform left out.'),
		(17, 'worker_failed', 'counter', 'Failed attempts.'),
		(18, 'worker_given_up', 'counter', 'Deliveries that became dead letters.'),
		(19, 'worker_segments_emptied', 'counter', 'Segments emptied.'),
		(20, 'subscription_active', 'gauge', 'Whether its state is active: 1 or 0.'),
		(21, 'subscription_disabled', 'gauge', 'Whether the worker has disabled it: 1 or 0.'),
		(22, 'subscription_breaker_open', 'gauge', 'Whether its breaker is not closed: 1 or 0.'),
		(23, 'subscription_queued', 'gauge', 'Deliveries waiting in memory.'),
		(24, 'subscription_in_flight', 'gauge', 'Requests in flight.'),
		(25, 'subscription_pending', 'gauge', 'Rows of webhook.pending.'),
		(26, 'subscription_oldest_pending_age_seconds', 'gauge',
			'Age of the oldest of them; 0: none.'),
		(27, 'subscription_dead_letters', 'gauge', 'Rows of webhook.dead_letter.'),
		(28, 'subscription_delivered', 'counter', 'Deliveries.'),
		(29, 'subscription_skipped', 'counter', 'Deliveries that the transform left out.'),
		(30, 'subscription_failed', 'counter', 'Failed attempts.'),
		(31, 'subscription_given_up', 'counter', 'Deliveries that became dead letters.'),
		(32, 'subscription_breaker_opened', 'counter', 'How often its breaker has opened.'),
		(33, 'subscription_duration_seconds', 'histogram', 'How long requests took.'),
		(34, 'subscription_delay_seconds', 'histogram', 'From the change to its receipt.')),
	-- as worker/worker_stat.c has them
	bounds (le) AS (VALUES ('{0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,5,30,300}'::text[])),
	shown AS (SELECT s.*, t.skipped, t.given_up, t.breaker_opened, t.delivered AS ever_delivered,
			t.failed AS ever_failed, t.duration_seconds, t.duration_histogram, t.delay_seconds,
			t.delay_histogram
		FROM webhook.status s JOIN webhook.stat_subscription t USING (subscription)
		ORDER BY s.subscription LIMIT greatest(max_subscriptions, 0)),
	totals AS (SELECT count(*) AS n FROM webhook.stat_subscription),
	-- what is in no family is a part of a histogram
	measured (label, value) AS (
		SELECT NULL::text, jsonb_build_object(
			'worker_up', (w.state IN ('running', 'starting'))::int,
			'worker_suspended', (w.state = 'suspended')::int,
			'worker_unread_events', w.unread_events,
			'worker_oldest_unread_age_seconds',
				coalesce(extract(epoch FROM w.oldest_unread_age), 0),
			'worker_queued', coalesce(w.queued, 0), 'worker_in_flight', coalesce(w.in_flight, 0),
			'worker_outbox_size_bytes', w.outbox_size,
			'worker_rotation_delayed_seconds', coalesce(
				greatest(0, extract(epoch FROM clock_timestamp() - t.rotation_delayed_since)), 0),
			'worker_source_problems',
				(SELECT count(*) FROM webhook.source WHERE problem IS NOT NULL),
			'worker_subscriptions', n.n,
			'worker_subscriptions_left_out', n.n - (SELECT count(*) FROM shown),
			'worker_starts', t.starts, 'worker_reads', t.reads,
			'worker_events_read', t.events_read, 'worker_delivered', t.delivered,
			'worker_skipped', t.skipped, 'worker_failed', t.failed,
			'worker_given_up', t.given_up, 'worker_segments_emptied', t.segments_emptied)
		FROM webhook.worker w, webhook.stat_worker t, totals n
		UNION ALL
		SELECT format('subscription="%s"', replace(replace(replace(s.subscription,
				E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), jsonb_build_object(
			'subscription_active', (s.state IN ('active', 'catching_up'))::int,
			'subscription_disabled', (s.state = 'disabled')::int,
			'subscription_breaker_open', (s.breaker <> 'closed')::int,
			'subscription_queued', s.queued, 'subscription_in_flight', s.in_flight,
			'subscription_pending', s.pending,
			'subscription_oldest_pending_age_seconds',
				coalesce(extract(epoch FROM s.oldest_pending_age), 0),
			'subscription_dead_letters', s.dead_letters,
			'subscription_delivered', s.ever_delivered, 'subscription_skipped', s.skipped,
			'subscription_failed', s.ever_failed, 'subscription_given_up', s.given_up,
			'subscription_breaker_opened', s.breaker_opened,
			'subscription_duration_seconds', jsonb_build_object(
				'sum', s.duration_seconds, 'buckets', s.duration_histogram),
			'subscription_delay_seconds', jsonb_build_object(
				'sum', s.delay_seconds, 'buckets', s.delay_histogram))
		FROM shown s),
	samples (n, part, label, sample) AS (
		SELECT f.n, 1, m.label, format('webhook_%s%s%s %s', f.family,
				CASE f.kind WHEN 'counter' THEN '_total' END, '{' || m.label || '}', v.value)
			FROM families f, measured m, jsonb_each_text(m.value) v(family, value)
			WHERE v.family = f.family AND f.kind <> 'histogram' AND v.value IS NOT NULL
		UNION ALL
		SELECT f.n, b.i, m.label, format('webhook_%s_bucket{%s,le="%s"} %s', f.family, m.label,
				coalesce(u.le[b.i], '+Inf'),
				sum(b.v::bigint) OVER (PARTITION BY f.n, m.label ORDER BY b.i))
			FROM families f, bounds u, measured m,
				jsonb_array_elements_text(m.value -> f.family -> 'buckets') WITH ORDINALITY b(v, i)
			WHERE f.kind = 'histogram'
		UNION ALL
		SELECT f.n, 99, m.label,
			format(E'webhook_%1$s_sum{%2$s} %3$s\nwebhook_%1$s_count{%2$s} %4$s', f.family,
				m.label, m.value -> f.family ->> 'sum',
				(SELECT sum(b::bigint)
					FROM jsonb_array_elements_text(m.value -> f.family -> 'buckets') b))
			FROM families f, measured m WHERE f.kind = 'histogram' AND m.value ? f.family)
	SELECT string_agg(
			format(E'# TYPE webhook_%1$s %2$s\n# HELP webhook_%1$s %3$s\n%4$s\n', f.family, f.kind,
				f.help, x.lines), '' ORDER BY f.n) || '# EOF' || E'\n'
		FROM families f JOIN (SELECT s.n,
			string_agg(s.sample, E'\n' ORDER BY s.label COLLATE "C", s.part) AS lines
			FROM samples s GROUP BY s.n) x USING (n)
$$;
COMMENT ON FUNCTION webhook.metrics(integer) IS
	'The state and the counters of this database as OpenMetrics text: about 40 series per '
	'subscription, for the first max_subscriptions by name. Names and meanings are those of '
	'webhook.status, webhook.worker, webhook.stat_subscription and webhook.stat_worker.';

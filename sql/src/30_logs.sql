--
-- The logs: rings of eight segments, written one after another, recycled by TRUNCATE.
--

CREATE SEQUENCE webhook.event_number_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE webhook.event_number_seq IS
	'Event numbers. Each is taken after its transaction has an xid, so that their order is the '
	'commit order of each entity.';

CREATE TABLE webhook.outbox (
	event_number    bigint      NOT NULL,
	xid             xid8        NOT NULL,
	entity_id       text,
	entity_type     text        NOT NULL,
	action_type     text        NOT NULL,
	result          json,
	previous        json,
	tenant          text,
	context         json,
	subscription_id bigint,
	created_at      timestamptz NOT NULL,
	segment         smallint    NOT NULL
) PARTITION BY LIST (segment);
-- Values of more than 2 kB are compressed in the application's statement. lz4 takes half of the
-- time that pglz takes there. Segments inherit it when they are created.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_settings
			WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
		ALTER TABLE webhook.outbox
			ALTER COLUMN result SET COMPRESSION lz4,
			ALTER COLUMN previous SET COMPRESSION lz4,
			ALTER COLUMN context SET COMPRESSION lz4;
	END IF;
END
$$;
COMMENT ON TABLE webhook.outbox IS
	'One row per event, inserted in the application''s own transaction. A segment is truncated '
	'once everything in it is older than webhook.retention and settled; events with a pending '
	'delivery are first moved to the current segment.';
COMMENT ON COLUMN webhook.outbox.event_number IS
	'Number of the event, ascending in commit order for each entity.';
COMMENT ON COLUMN webhook.outbox.xid IS 'The transaction that made the event.';
COMMENT ON COLUMN webhook.outbox.entity_id IS
	'The key of the changed row as text; several key columns as a JSON array. Null for truncate.';
COMMENT ON COLUMN webhook.outbox.entity_type IS
	'What kind of thing changed: the name given to webhook.watch(), by default the table''s.';
COMMENT ON COLUMN webhook.outbox.action_type IS 'new, update, delete, truncate or test.';
COMMENT ON COLUMN webhook.outbox.result IS
	'The captured columns of the row after the change. Null for delete and truncate.';
COMMENT ON COLUMN webhook.outbox.previous IS
	'If the source is watched with keep_previous: the old values of the columns that an update '
	'changed, or the whole row that was deleted.';
COMMENT ON COLUMN webhook.outbox.tenant IS 'Value of the source''s tenant column, as text.';
COMMENT ON COLUMN webhook.outbox.context IS 'The setting webhook.context of the transaction.';
COMMENT ON COLUMN webhook.outbox.subscription_id IS
	'The only subscription it is for. Null: all that match.';
COMMENT ON COLUMN webhook.outbox.created_at IS
	'The time of the change (not of the transaction''s start).';
COMMENT ON COLUMN webhook.outbox.segment IS 'The partition that the row is in.';

-- fixed widths first, the widest before: nothing is lost between them
CREATE TABLE webhook.attempt (
	started_at      timestamptz NOT NULL,
	event_number    bigint      NOT NULL,
	subscription_id bigint      NOT NULL,
	attempt_number  integer     NOT NULL,
	http_status     integer,
	duration_ms     real,
	segment         smallint    NOT NULL,
	outcome         text        NOT NULL,
	subscription    text        COLLATE "C",
	entity_type     text,
	entity_id       text        COLLATE "C",
	action_type     text,
	error           text,
	response        text
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.attempt IS
	'One row per HTTP request, inserted when it has ended. Recycled like webhook.outbox.';
COMMENT ON COLUMN webhook.attempt.started_at IS 'When the request was started.';
COMMENT ON COLUMN webhook.attempt.event_number IS
	'The event that was sent: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.attempt.subscription_id IS 'The subscription it was sent to.';
COMMENT ON COLUMN webhook.attempt.attempt_number IS
	'Number of this attempt of the delivery, from 1.';
COMMENT ON COLUMN webhook.attempt.http_status IS 'Status of the response. Null: there was none.';
COMMENT ON COLUMN webhook.attempt.duration_ms IS
	'Milliseconds from the start of the request to its end.';
COMMENT ON COLUMN webhook.attempt.segment IS 'The partition that the row is in.';
COMMENT ON COLUMN webhook.attempt.outcome IS
	'One word: delivered, or what went wrong. docs/outcomes.md lists them all.';
COMMENT ON COLUMN webhook.attempt.subscription IS
	'Name of the subscription at that time. Null: it was removed before the request ended.';
COMMENT ON COLUMN webhook.attempt.entity_type IS
	'The event''s entity type, so that the log can be searched by it.';
COMMENT ON COLUMN webhook.attempt.entity_id IS 'The event''s entity id, its first 500 characters.';
COMMENT ON COLUMN webhook.attempt.action_type IS 'The event''s action type.';
COMMENT ON COLUMN webhook.attempt.error IS 'What went wrong, as text. Null when delivered.';
COMMENT ON COLUMN webhook.attempt.response IS 'The first 4096 bytes of the response body.';

DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('CREATE TABLE webhook.outbox_%s PARTITION OF webhook.outbox '
			'FOR VALUES IN (%s)', d, d);
		-- it has no key, and rows move into other segments
		EXECUTE format('ALTER TABLE webhook.outbox_%s REPLICA IDENTITY FULL', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (xid)', d);
		EXECUTE format('COMMENT ON TABLE webhook.outbox_%s IS %L', d,
			'Segment ' || d || ' of webhook.outbox.');
		EXECUTE format('CREATE TABLE webhook.attempt_%s PARTITION OF webhook.attempt '
			'FOR VALUES IN (%s)', d, d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (started_at)', d);
		-- 2 bytes of a row, where a btree takes 45 and its record in the WAL 72. The worker keeps
		-- it up to date; of all ranges, 3 in 1000 are found and have nothing.
		EXECUTE format('CREATE INDEX attempt_%s_entity_id_idx ON webhook.attempt_%1$s USING brin '
			'(entity_id text_bloom_ops (n_distinct_per_range = 1300, false_positive_rate = 0.003)) '
			'WITH (pages_per_range = 16)', d);
		-- for failures alone: a delivery that succeeds costs nothing
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at) '
			'WHERE outcome <> ''delivered''', d);
		EXECUTE format('COMMENT ON TABLE webhook.attempt_%s IS %L', d,
			'Segment ' || d || ' of webhook.attempt.');
	END LOOP;
END
$$;

CREATE TABLE webhook.pending (
	subscription_id  bigint      NOT NULL,
	event_number     bigint      NOT NULL,
	lane             bigint      NOT NULL,
	state            text        NOT NULL
		CHECK (state IN ('retry', 'blocked', 'deferred', 'in_flight', 'requested')),
	attempts         integer     NOT NULL DEFAULT 0,
	next_attempt_at  timestamptz NOT NULL,
	first_attempt_at timestamptz,
	last_error       text,
	segment          smallint    NOT NULL,
	size             integer     NOT NULL DEFAULT 0,
	pending_since    timestamptz NOT NULL DEFAULT clock_timestamp(),
	batch            bigint,
	judged           boolean     NOT NULL DEFAULT true
);
-- it has no key, and may be in a publication of all tables
ALTER TABLE webhook.pending REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.pending IS
	'Deliveries that did not simply succeed: due for a retry, blocked by an earlier delivery that '
	'failed, or deferred until the subscription can take them.';
COMMENT ON COLUMN webhook.pending.subscription_id IS 'The subscription it is for.';
COMMENT ON COLUMN webhook.pending.event_number IS
	'The event to deliver: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.pending.lane IS
	'Deliveries of the subscription with the same lane go one after another: a hash of the entity, '
	'or as ordering requires.';
COMMENT ON COLUMN webhook.pending.state IS
	'retry: tried, due again at next_attempt_at; blocked: waits for an earlier delivery of its '
	'lane; deferred: waits until the subscription catches up; requested: by webhook.redeliver() or '
	'webhook.replay(), to be deferred by the worker; in_flight: taken by the worker, back to retry '
	'if the worker dies.';
COMMENT ON COLUMN webhook.pending.attempts IS 'Requests made so far, counted before they are sent.';
COMMENT ON COLUMN webhook.pending.next_attempt_at IS 'When it is due; infinity while blocked.';
COMMENT ON COLUMN webhook.pending.first_attempt_at IS 'When it was first tried. Null: not yet.';
COMMENT ON COLUMN webhook.pending.last_error IS 'What went wrong last.';
COMMENT ON COLUMN webhook.pending.segment IS 'The segment of webhook.outbox that its event is in.';
COMMENT ON COLUMN webhook.pending.size IS
	'Bytes that its event takes in the worker''s memory, which limits how many are taken at once.';
COMMENT ON COLUMN webhook.pending.pending_since IS 'When it became pending.';
COMMENT ON COLUMN webhook.pending.batch IS
	'The batch it was sent with and will be sent with again: the lowest event number in it, whose '
	'row says when. Null: sent by itself.';
COMMENT ON COLUMN webhook.pending.judged IS
	'False: read while the subscription was not active; filter, changed_columns and '
	'exclude_origins are evaluated when it is taken, so it may turn out not to match.';
-- partial, so that no foreign key can refer to it and keep the worker from deleting delivered rows
CREATE UNIQUE INDEX pending_idx ON webhook.pending (subscription_id, event_number)
	WHERE subscription_id IS NOT NULL;
CREATE INDEX pending_due_idx ON webhook.pending (next_attempt_at) WHERE state = 'retry';
CREATE INDEX pending_deferred_idx ON webhook.pending (subscription_id, event_number)
	WHERE state = 'deferred';
CREATE INDEX pending_requested_idx ON webhook.pending (subscription_id, event_number)
	WHERE state = 'requested';
CREATE INDEX pending_lane_idx ON webhook.pending (lane, event_number);
CREATE INDEX pending_batch_idx ON webhook.pending (subscription_id, batch) WHERE batch IS NOT NULL;

CREATE TABLE webhook.dead_letter (
	subscription_id  bigint      NOT NULL,
	event_number     bigint      NOT NULL,
	subscription     text        NOT NULL,
	reason           text        NOT NULL,
	attempts         integer     NOT NULL,
	first_attempt_at timestamptz,
	given_up_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	xid              xid8        NOT NULL,
	entity_id        text,
	entity_type      text        NOT NULL,
	action_type      text        NOT NULL,
	result           json,
	previous         json,
	tenant           text,
	context          json,
	created_at       timestamptz NOT NULL,
	PRIMARY KEY (subscription_id, event_number)
);
CREATE INDEX dead_letter_event_idx ON webhook.dead_letter (event_number);
COMMENT ON TABLE webhook.dead_letter IS
	'Deliveries that were given up, with their whole event, kept until they are redelivered or '
	'purged.';
COMMENT ON COLUMN webhook.dead_letter.subscription_id IS 'The subscription it was for.';
COMMENT ON COLUMN webhook.dead_letter.event_number IS 'The event: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.dead_letter.subscription IS 'Name of the subscription at that time.';
COMMENT ON COLUMN webhook.dead_letter.reason IS 'Why it was given up: what went wrong last.';
COMMENT ON COLUMN webhook.dead_letter.attempts IS 'Requests made.';
COMMENT ON COLUMN webhook.dead_letter.first_attempt_at IS 'When it was first tried. Null: never.';
COMMENT ON COLUMN webhook.dead_letter.given_up_at IS 'When it was given up.';
COMMENT ON COLUMN webhook.dead_letter.xid IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.entity_id IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.entity_type IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.action_type IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.result IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.previous IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.tenant IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.context IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.created_at IS 'As in webhook.outbox.';

CREATE TABLE webhook_internal.breaker_notice (
	subscription_id bigint      NOT NULL,
	opened_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- partial for the same reason as that of pending
CREATE UNIQUE INDEX breaker_notice_idx ON webhook_internal.breaker_notice (subscription_id)
	WHERE subscription_id IS NOT NULL;
ALTER TABLE webhook_internal.breaker_notice REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook_internal.breaker_notice IS
	'Subscriptions for which breaker_opened was announced and breaker_closed was not yet. Breakers '
	'are in the worker''s memory; what was announced must outlive it.';
COMMENT ON COLUMN webhook_internal.breaker_notice.subscription_id IS
	'The subscription of the breaker.';
COMMENT ON COLUMN webhook_internal.breaker_notice.opened_at IS 'When it was announced.';

CREATE TABLE webhook.checkpoint (
	id          bigint      NOT NULL,
	kind        text        NOT NULL
		CHECK (kind IN ('read', 'settled', 'matching', 'suspect', 'killed')),
	snapshot    pg_snapshot NOT NULL,
	next_xid    xid8        NOT NULL,
	hi          bigint      NOT NULL,
	within      jsonb,
	recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX checkpoint_idx ON webhook.checkpoint (id); -- not unique, for the same reason
ALTER TABLE webhook.checkpoint REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.checkpoint IS
	'Positions of the worker, append-only; the newest of each kind counts. '
	'docs/internals/reading.md explains them.';
COMMENT ON COLUMN webhook.checkpoint.id IS 'Number of the checkpoint.';
COMMENT ON COLUMN webhook.checkpoint.kind IS
	'read: everything up to here may have been sent; settled: everything up to here is delivered, '
	'pending or given up. The other kinds record what a worker was at that may have ended it: '
	'matching: a page that begins here; suspect: the event hi, while it was read or matched with '
	'within ->> subscription; killed: the same, and the worker ended.';
COMMENT ON COLUMN webhook.checkpoint.snapshot IS
	'S: every event visible in it with a number up to hi has been read.';
COMMENT ON COLUMN webhook.checkpoint.next_xid IS
	'N: the next transaction id, read just after the snapshot was taken.';
COMMENT ON COLUMN webhook.checkpoint.hi IS 'The highest event number read.';
COMMENT ON COLUMN webhook.checkpoint.within IS
	'Where a page of stragglers was cut: the snapshot they are read under, its next_xid, and the '
	'last event number read. Null: not among stragglers.';
COMMENT ON COLUMN webhook.checkpoint.recorded_at IS 'When the worker was there.';

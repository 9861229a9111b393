--
-- The logs: rings of eight segments, written by position, recycled by TRUNCATE
--

CREATE SEQUENCE webhook.event_number_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE webhook.event_number_seq IS
	'ids of events; taken one by one after the transaction has its xid, so that id order is '
	'commit order per entity';

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
	segment          smallint    NOT NULL
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.outbox IS
	'one row per event, appended in the application''s own transaction; a segment is truncated '
	'when all in it is older than webhook.retention and settled, and before that, events with a '
	'pending delivery move into the current segment';
COMMENT ON COLUMN webhook.outbox.event_number IS
	'number of the event; ascending in commit order for each entity';
COMMENT ON COLUMN webhook.outbox.xid IS 'the transaction that made the event';
COMMENT ON COLUMN webhook.outbox.entity_id IS
	'the key of the changed row as text; several key columns as a JSON array; null for action '
	'truncate';
COMMENT ON COLUMN webhook.outbox.entity_type IS
	'what kind of thing changed: the name given to webhook.watch, by default the table''s';
COMMENT ON COLUMN webhook.outbox.action_type IS 'new, update, delete, truncate or test';
COMMENT ON COLUMN webhook.outbox.result IS
	'the captured columns of the row after the change; null for delete and truncate';
COMMENT ON COLUMN webhook.outbox.previous IS
	'where the source is watched with keep_previous: the old values of the columns an update '
	'changed, or the whole row a delete removed';
COMMENT ON COLUMN webhook.outbox.tenant IS 'value of the source''s tenant column, as text';
COMMENT ON COLUMN webhook.outbox.context IS 'the setting webhook.context of the transaction';
COMMENT ON COLUMN webhook.outbox.subscription_id IS
	'null: for every matching subscription; else for this one alone';
COMMENT ON COLUMN webhook.outbox.created_at IS
	'the clock''s time of the change, not the transaction''s start';
COMMENT ON COLUMN webhook.outbox.segment IS 'which partition of the ring the row is in';

CREATE TABLE webhook.attempt (
	event_number        bigint      NOT NULL,
	subscription_id bigint      NOT NULL,
	attempt_number  integer     NOT NULL,
	started_at      timestamptz NOT NULL,
	outcome         text        NOT NULL,
	http_status     integer,
	error           text,
	duration_ms     real,
	response        text,
	subscription    text        COLLATE "C",
	entity_type     text,
	entity_id       text        COLLATE "C",
	action_type     text,
	segment          smallint    NOT NULL
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.attempt IS
	'one row per HTTP request made, appended when it has ended; recycled like webhook.outbox';
COMMENT ON COLUMN webhook.attempt.event_number IS
	'the event that was sent: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.attempt.subscription_id IS 'the subscription it was sent for';
COMMENT ON COLUMN webhook.attempt.attempt_number IS
	'number of this attempt of the delivery, from 1';
COMMENT ON COLUMN webhook.attempt.started_at IS 'when the request was started';
COMMENT ON COLUMN webhook.attempt.outcome IS
	'one word: delivered, or what went wrong; docs/outcomes.md has them all';
COMMENT ON COLUMN webhook.attempt.http_status IS
	'the response''s status; null where there was none';
COMMENT ON COLUMN webhook.attempt.error IS 'what went wrong, for people; null when delivered';
COMMENT ON COLUMN webhook.attempt.duration_ms IS
	'milliseconds from the start of the request to its end';
COMMENT ON COLUMN webhook.attempt.response IS 'the first 4096 bytes of the response body';
COMMENT ON COLUMN webhook.attempt.subscription IS
	'its name at that time; null: it was removed before the request had ended';
COMMENT ON COLUMN webhook.attempt.entity_type IS
	'of the event; kept here so that the log is found by it, at no cost to the application';
COMMENT ON COLUMN webhook.attempt.entity_id IS 'of the event, its first 500 characters';
COMMENT ON COLUMN webhook.attempt.action_type IS 'of the event';
COMMENT ON COLUMN webhook.attempt.segment IS 'which partition of the ring the row is in';

DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('CREATE TABLE webhook.outbox_%s PARTITION OF webhook.outbox FOR VALUES IN (%s)', d, d);
		EXECUTE format('ALTER TABLE webhook.outbox_%s REPLICA IDENTITY FULL', d); -- no key; rows move on into other segments
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (xid)', d);
		EXECUTE format('COMMENT ON TABLE webhook.outbox_%s IS %L', d, 'segment ' || d || ' of webhook.outbox');
		EXECUTE format('CREATE TABLE webhook.attempt_%s PARTITION OF webhook.attempt FOR VALUES IN (%s)', d, d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (entity_id, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (started_at)', d);
		-- for failures alone: a delivery that succeeds costs it nothing
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at) WHERE outcome <> ''delivered''', d);
		EXECUTE format('COMMENT ON TABLE webhook.attempt_%s IS %L', d, 'segment ' || d || ' of webhook.attempt');
	END LOOP;
END
$$;

CREATE TABLE webhook.pending (
	subscription_id bigint      NOT NULL,
	event_number        bigint      NOT NULL,
	lane            bigint      NOT NULL,
	state           text        NOT NULL CHECK (state IN ('retry', 'blocked', 'deferred', 'in_flight', 'requested')),
	attempts        integer     NOT NULL DEFAULT 0,
	next_attempt_at          timestamptz NOT NULL,
	first_attempt_at        timestamptz,
	last_error      text,
	segment          smallint    NOT NULL,
	size            integer     NOT NULL DEFAULT 0,
	pending_since   timestamptz NOT NULL DEFAULT clock_timestamp(),
	batch           bigint,
	judged          boolean     NOT NULL DEFAULT true
);
ALTER TABLE webhook.pending REPLICA IDENTITY FULL; -- it has no key, and may be in a publication of all tables
COMMENT ON TABLE webhook.pending IS
	'deliveries that did not simply succeed: to be tried again, waiting behind one that failed, '
	'or deferred until the subscription can take them';
COMMENT ON COLUMN webhook.pending.subscription_id IS 'for whom';
COMMENT ON COLUMN webhook.pending.event_number IS 'what: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.pending.lane IS
	'which deliveries of the subscription must go one after the other: a hash of the entity, or '
	'as ordering says';
COMMENT ON COLUMN webhook.pending.state IS
	'retry: tried, due again at next_attempt_at; blocked: waits for an earlier delivery of its '
	'lane; deferred: waits until the subscription catches up; requested: by webhook.redeliver() '
	'or webhook.replay(), the worker will defer it; in_flight: taken by the worker, back to retry'
	' if it dies';
COMMENT ON COLUMN webhook.pending.attempts IS 'requests already made, counted before they leave';
COMMENT ON COLUMN webhook.pending.next_attempt_at IS
	'when it is to be tried again; infinity while blocked';
COMMENT ON COLUMN webhook.pending.first_attempt_at IS 'when it was first tried; null: not yet';
COMMENT ON COLUMN webhook.pending.last_error IS 'what went wrong last';
COMMENT ON COLUMN webhook.pending.segment IS 'the segment of webhook.outbox its event is in';
COMMENT ON COLUMN webhook.pending.size IS
	'bytes its event takes in the worker''s memory, by which it takes no more at once than it can'
	' hold';
COMMENT ON COLUMN webhook.pending.pending_since IS 'when it became pending';
COMMENT ON COLUMN webhook.pending.batch IS
	'the batch it was sent with, and is to be sent with again: the lowest event_number in it, '
	'whose row says when; null: by itself';
COMMENT ON COLUMN webhook.pending.judged IS
	'false: read while the subscription was not live, and whether its filter, changed_columns and'
	' exclude_origins let the event through is looked at when it is taken; it may still turn out '
	'not to be for it';
-- partial, so that no foreign key can point here and keep the worker from deleting what was delivered
CREATE UNIQUE INDEX pending_idx ON webhook.pending (subscription_id, event_number) WHERE subscription_id IS NOT NULL;
CREATE INDEX pending_due_idx ON webhook.pending (next_attempt_at) WHERE state = 'retry';
CREATE INDEX pending_deferred_idx ON webhook.pending (subscription_id, event_number) WHERE state = 'deferred';
CREATE INDEX pending_requested_idx ON webhook.pending (subscription_id, event_number) WHERE state = 'requested';
CREATE INDEX pending_lane_idx ON webhook.pending (lane, event_number);
CREATE INDEX pending_batch_idx ON webhook.pending (subscription_id, batch) WHERE batch IS NOT NULL;

CREATE TABLE webhook.dead_letter (
	subscription_id bigint      NOT NULL,
	event_number        bigint      NOT NULL,
	subscription    text        NOT NULL,
	reason          text        NOT NULL,
	attempts        integer     NOT NULL,
	first_attempt_at        timestamptz,
	given_up_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
	xid             xid8        NOT NULL,
	entity_id       text,
	entity_type     text        NOT NULL,
	action_type     text        NOT NULL,
	result          json,
	previous        json,
	tenant          text,
	context         json,
	created_at      timestamptz NOT NULL,
	PRIMARY KEY (subscription_id, event_number)
);
CREATE INDEX dead_letter_event_idx ON webhook.dead_letter (event_number);
COMMENT ON TABLE webhook.dead_letter IS
	'deliveries given up, with their whole event, until someone redelivers or purges them';
COMMENT ON COLUMN webhook.dead_letter.subscription_id IS 'for whom it was';
COMMENT ON COLUMN webhook.dead_letter.event_number IS 'what it was: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.dead_letter.subscription IS 'name of the subscription at that time';
COMMENT ON COLUMN webhook.dead_letter.reason IS 'why it was given up: what went wrong last';
COMMENT ON COLUMN webhook.dead_letter.attempts IS 'requests made';
COMMENT ON COLUMN webhook.dead_letter.first_attempt_at IS 'when it was first tried; null: never';
COMMENT ON COLUMN webhook.dead_letter.given_up_at IS 'when it was given up';
COMMENT ON COLUMN webhook.dead_letter.xid IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.entity_id IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.entity_type IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.action_type IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.result IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.previous IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.tenant IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.context IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.created_at IS 'as in webhook.outbox';

CREATE TABLE webhook_internal.breaker_notice (
	subscription_id bigint      NOT NULL,
	opened_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX breaker_notice_idx ON webhook_internal.breaker_notice (subscription_id) WHERE subscription_id IS NOT NULL; -- partial, as that of pending
ALTER TABLE webhook_internal.breaker_notice REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook_internal.breaker_notice IS
	'subscriptions of which others were told breaker_opened, and not yet breaker_closed: breakers'
	' are in the worker''s memory, and whom it told of what must outlive it';
COMMENT ON COLUMN webhook_internal.breaker_notice.subscription_id IS 'whose breaker it is';
COMMENT ON COLUMN webhook_internal.breaker_notice.opened_at IS 'when it was told';

CREATE TABLE webhook.checkpoint (
	id       bigint      NOT NULL,
	kind     text        NOT NULL CHECK (kind IN ('read', 'settled', 'matching', 'suspect', 'killed')),
	snapshot pg_snapshot NOT NULL,
	next_xid xid8        NOT NULL,
	hi       bigint      NOT NULL,
	within   jsonb,
	recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX checkpoint_idx ON webhook.checkpoint (id); -- not unique, for the same reason
ALTER TABLE webhook.checkpoint REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.checkpoint IS
	'append-only positions of the worker, the newest of each kind counts; see '
	'docs/internals/reading.md';
COMMENT ON COLUMN webhook.checkpoint.id IS 'number of the checkpoint';
COMMENT ON COLUMN webhook.checkpoint.kind IS
	'read: everything up to here may have been sent; settled: everything up to here is delivered,'
	' pending or dead. No checkpoints, but what a worker was at that may have ended it: matching:'
	' a page that begins here; suspect: the event hi, as it is read or matched with within ->> '
	'subscription; killed: the same, and it has';
COMMENT ON COLUMN webhook.checkpoint.snapshot IS
	'S: every event visible in it with an id up to hi has been read';
COMMENT ON COLUMN webhook.checkpoint.next_xid IS
	'N: the next transaction id, read just after the snapshot was taken';
COMMENT ON COLUMN webhook.checkpoint.hi IS 'the highest event id read';
COMMENT ON COLUMN webhook.checkpoint.within IS
	'where a page of stragglers was cut: the snapshot they are read under, its next_xid, and the '
	'last id read; null: not in the midst of stragglers';
COMMENT ON COLUMN webhook.checkpoint.recorded_at IS 'when the worker was there';

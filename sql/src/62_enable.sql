--
-- Whether this database delivers.
--

CREATE FUNCTION webhook_internal.request_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_request_worker';
COMMENT ON FUNCTION webhook_internal.request_worker() IS
	'Asks the launcher for a worker in this database when this transaction commits. Does nothing '
	'if there is no launcher.';

CREATE FUNCTION webhook_internal.timeline() RETURNS integer
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_timeline';
COMMENT ON FUNCTION webhook_internal.timeline() IS 'Returns the timeline that this cluster writes.';

CREATE FUNCTION webhook_internal.next_xid() RETURNS xid8
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_next_xid';
COMMENT ON FUNCTION webhook_internal.next_xid() IS
	'Returns the transaction id that will be assigned next, without assigning one. Part of '
	'webhook.enable_delivery().';

-- An enabled database reads on from a checkpoint: so nothing need be deleted, and no table that the
-- application writes is locked. What lies before the checkpoint goes with its segment.
CREATE FUNCTION webhook.enable_delivery_preview(
	moved boolean DEFAULT false,
	since timestamptz DEFAULT NULL,
	OUT unread_events bigint,
	OUT deliveries bigint,
	OUT oldest timestamptz,
	OUT events_left bigint,
	OUT deliveries_left bigint,
	OUT after bigint
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	settled webhook.checkpoint;
	pending CONSTANT bigint := (SELECT count(*) FROM webhook.pending);
BEGIN
	IF enable_delivery_preview.moved AND enable_delivery_preview.since IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'cannot specify both moved and since',
			DETAIL = 'A moved database continues where it stopped; since is for a copy, which '
				'starts afresh.',
			HINT = 'Specify one of them.';
	END IF;
	IF enable_delivery_preview.since > clock_timestamp() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'since is in the future',
			DETAIL = format('since is %s; the time is now %s.', enable_delivery_preview.since,
				clock_timestamp()),
			HINT = 'Omit it to deliver what is committed from now on.';
	END IF;
	SELECT * INTO settled FROM webhook.checkpoint c
		WHERE c.kind = 'settled' ORDER BY c.id DESC LIMIT 1;
	-- by event numbers, which ascend whatever the clock does
	after := CASE
		WHEN enable_delivery_preview.moved THEN 0
		WHEN enable_delivery_preview.since IS NULL THEN
			greatest((SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END
					FROM webhook.event_number_seq q),
				(SELECT max(o.event_number) FROM webhook.outbox o))
		ELSE greatest(0, settled.hi, (SELECT max(o.event_number) FROM webhook.outbox o
			WHERE o.created_at < enable_delivery_preview.since)) END;
	SELECT count(*) FILTER (WHERE o.event_number > after),
			count(*) FILTER (WHERE o.event_number <= after),
			min(o.created_at) FILTER (WHERE o.event_number > after)
		INTO unread_events, events_left, oldest
		FROM webhook.outbox o
		WHERE settled.hi IS NULL OR o.event_number > settled.hi
			OR NOT pg_visible_in_snapshot(o.xid, settled.snapshot);
	deliveries := CASE WHEN enable_delivery_preview.moved THEN pending ELSE 0 END;
	deliveries_left := pending - deliveries;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery_preview(boolean, timestamptz) IS
	'Shows what webhook.enable_delivery() with the same arguments would send from a suspended '
	'database, without changing anything. unread_events: events captured and not yet read, to be '
	'sent to matching subscriptions; deliveries: pending ones to be sent; oldest: when the first '
	'of these events was captured; events_left and deliveries_left: what would not be sent; after: '
	'only events with higher event numbers are sent. Error invalid_parameter_value if both '
	'arguments are given or since is in the future.';

CREATE FUNCTION webhook.enable_delivery(
	moved boolean DEFAULT false, since timestamptz DEFAULT NULL
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sysid bigint := (SELECT system_identifier FROM pg_control_system());
	dboid oid    := (SELECT oid FROM pg_database WHERE datname = current_database());
	tli   integer := webhook_internal.timeline();
	is_suspended CONSTANT boolean := NOT EXISTS (SELECT FROM webhook.identity)
		OR EXISTS (SELECT FROM webhook.identity i
			WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0);
	-- CREATE EXTENSION has just made all this
	is_new CONSTANT boolean := NOT (SELECT q.is_called FROM webhook.event_number_seq q)
		AND NOT EXISTS (SELECT FROM webhook.identity)
		AND NOT EXISTS (SELECT FROM webhook.checkpoint);
	sent record;
BEGIN
	IF is_suspended OR enable_delivery.since IS NOT NULL THEN
		sent := webhook.enable_delivery_preview(enable_delivery.moved, enable_delivery.since);
	END IF;
	IF enable_delivery.moved AND is_suspended
		AND (SELECT count(*) FROM webhook.identity) > 1 THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'this database was not moved',
			DETAIL = 'It is a restored dump, which has the subscriptions but none of the pending '
				'deliveries.',
			HINT = 'Call webhook.enable_delivery() to deliver new events from this database.';
	END IF;
	IF is_suspended AND enable_delivery.moved THEN
		UPDATE webhook.identity SET system_identifier = sysid, database_oid = dboid,
			timeline = tli, enabled_at = clock_timestamp();
	ELSIF is_suspended AND NOT is_new THEN
		DELETE FROM webhook.identity i
			WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0;
		TRUNCATE webhook.pending, webhook_internal.breaker_notice, webhook.checkpoint;
		-- what is committed later with a lower number is a straggler of this snapshot, and read
		INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
			VALUES (1, 'settled', pg_current_snapshot(), webhook_internal.next_xid(), sent.after);
	END IF;
	IF NOT EXISTS (SELECT FROM webhook.identity) THEN
		INSERT INTO webhook.identity (instance, system_identifier, database_oid, timeline)
			VALUES (left(translate(gen_random_uuid()::text, '-', ''), 8), sysid, dboid, tli);
	END IF;
	PERFORM webhook_internal.request_worker();
	IF is_suspended AND NOT is_new THEN
		RAISE NOTICE USING
			MESSAGE = format('this database delivers once this transaction commits: %s captured '
				'events%s and %s pending deliveries will be sent',
				sent.unread_events, ' since ' || sent.oldest, sent.deliveries),
			DETAIL = format('%s captured events and %s pending deliveries will not be sent.',
				sent.events_left, sent.deliveries_left),
			HINT = 'Roll back to cancel. webhook.enable_delivery_preview() shows these numbers '
				'without changing anything.';
	ELSIF enable_delivery.since IS NOT NULL AND NOT is_suspended THEN
		RAISE NOTICE USING
			MESSAGE = 'this database already delivers; nothing was changed',
			DETAIL = 'since applies to a suspended database.',
			HINT = 'webhook.replay() sends events again.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery(boolean, timestamptz) IS
	'Allows this database, in this cluster, to deliver. Call it in a copy that should deliver '
	'under its own identity: it sends what is committed from then on and, with since, also what '
	'was captured since then and not read by the original. moved => true is for the one database '
	'after a move (pg_upgrade, or recovery because the original is lost): captured events and '
	'pending deliveries are sent under the same event ids. A NOTICE says how much is sent and how '
	'much is not; if the database already delivers, nothing changes. CREATE EXTENSION calls it. '
	'Errors as for webhook.enable_delivery_preview(); object_not_in_prerequisite_state if moved is '
	'given for a restored dump.';

-- for whoever looks for the switch of a subscription, and would read that 'crm' is not a boolean
CREATE FUNCTION webhook.enable_delivery(subscription text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM webhook.subscription s
		WHERE s.name = enable_delivery.subscription) THEN
		PERFORM webhook_internal.undefined_subscription_error(enable_delivery.subscription);
	END IF;
	RAISE wrong_object_type USING
		MESSAGE = format('webhook.enable_delivery() does not apply to subscription "%s"',
			enable_delivery.subscription),
		DETAIL = 'It lets a database deliver that is a copy of another.',
		HINT = format('SELECT webhook.resume(%L) makes the subscription active.',
			enable_delivery.subscription);
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery(text) IS
	'Always raises wrong_object_type, with the hint to call webhook.resume() for a subscription.';

CREATE FUNCTION webhook.start_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_start_worker';
COMMENT ON FUNCTION webhook.start_worker() IS
	'Starts delivery, until the server is restarted, if webhook is not in '
	'shared_preload_libraries. Does nothing if delivery already runs. Superuser only: error '
	'insufficient_privilege otherwise, insufficient_resources if all background worker slots are '
	'in use.';

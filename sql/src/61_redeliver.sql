--
-- Sending again: redeliver, replay, dead letters; and which events are for whom.
--

CREATE FUNCTION webhook_internal.wake_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_wake_worker';
COMMENT ON FUNCTION webhook_internal.wake_worker() IS
	'Makes the worker look at its subscriptions and at requested deliveries when this transaction '
	'commits.';

CREATE FUNCTION webhook_internal.current_segment() RETURNS smallint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_current_segment';
COMMENT ON FUNCTION webhook_internal.current_segment() IS
	'Returns the segment that is currently written.';

CREATE FUNCTION webhook_internal.is_current_xid(xid) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_current_xid';
COMMENT ON FUNCTION webhook_internal.is_current_xid(xid) IS
	'Whether this is the xid of the current transaction or of one of its subtransactions. Part of '
	'webhook.replay().';

-- The rule itself is in worker/route/route.c, which has no SQL at hand. test/t/170_tools.pl checks
-- that the two agree.
CREATE FUNCTION webhook_internal.matches_content(
	subscription webhook.subscription, event webhook.outbox
) RETURNS boolean
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s CONSTANT webhook.subscription := matches_content.subscription;
	e CONSTANT webhook.outbox := matches_content.event;
BEGIN
	IF s.exclude_origins IS NOT NULL AND jsonb_typeof(e.context::jsonb -> 'origin') = 'string'
		AND e.context::jsonb ->> 'origin' = ANY (s.exclude_origins) THEN
		RETURN false;
	END IF;
	IF s.changed_columns IS NOT NULL AND e.action_type = 'update' AND e.previous IS NOT NULL
		AND NOT (jsonb_typeof(e.previous::jsonb) = 'object'
			AND e.previous::jsonb ?| s.changed_columns) THEN
		RETURN false;
	END IF;
	RETURN s.filter IS NULL OR coalesce(jsonb_path_match(
		jsonb_build_object('result', e.result::jsonb, 'previous', e.previous::jsonb,
			'entity_type', e.entity_type, 'action_type', e.action_type, 'tenant', e.tenant,
			'context', e.context::jsonb), s.filter, '{}', true), false);
EXCEPTION -- json may contain what jsonb refuses, such as \u0000 or too deep a nesting
	WHEN data_exception OR feature_not_supported OR program_limit_exceeded THEN
		RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.matches_content(webhook.subscription, webhook.outbox) IS
	'The part of webhook_internal.matches() that reads the content of the event: exclude_origins, '
	'changed_columns, filter.';

-- Inlined, so that the content of events is read only if it is needed: hence no SET search_path,
-- and operators by their full names. Not RETURN either: with a parsed body that uses the row types
-- of the two tables, newer servers (17.12 does) refuse to add columns with defaults to them.
CREATE FUNCTION webhook_internal.matches(subscription webhook.subscription, event webhook.outbox)
	RETURNS boolean
	LANGUAGE sql STABLE
AS $$
	SELECT CASE
		WHEN (event).subscription_id IS NOT NULL
			THEN (event).subscription_id OPERATOR(pg_catalog.=) (subscription).id
		WHEN (subscription).state OPERATOR(pg_catalog.=) 'inactive' THEN false
		WHEN NOT webhook_internal.asks_for(
			(subscription).events, (event).entity_type, (event).action_type) THEN false
		WHEN (event).entity_type OPERATOR(pg_catalog.=) 'webhook_subscription'
			AND (event).entity_id OPERATOR(pg_catalog.=) (subscription).name THEN false
		WHEN (subscription).tenant IS NOT NULL
			AND NOT coalesce((subscription).tenant OPERATOR(pg_catalog.=) (event).tenant, false)
			THEN false
		WHEN (subscription).exclude_origins IS NULL AND (subscription).changed_columns IS NULL
			AND (subscription).filter IS NULL THEN true
		ELSE webhook_internal.matches_content(subscription, event)
	END
$$;
COMMENT ON FUNCTION webhook_internal.matches(webhook.subscription, webhook.outbox) IS
	'Whether this event is for this subscription as it is configured now. Null if the content of '
	'the event cannot be evaluated.';

-- inlined as well; it takes columns, not the row, so its body may be parsed
CREATE FUNCTION webhook_internal.event_size(
	entity_type text, entity_id text, tenant text, result json, previous json, context json
) RETURNS integer
	LANGUAGE sql STABLE
	RETURN 200 + coalesce(octet_length(entity_id), 0) + octet_length(entity_type)
		+ coalesce(octet_length(tenant), 0) + coalesce(octet_length(result::text), 0)
		+ coalesce(octet_length(previous::text), 0) + coalesce(octet_length(context::text), 0);
COMMENT ON FUNCTION webhook_internal.event_size(text, text, text, json, json, json) IS
	'Roughly the bytes that such an event takes in the worker''s memory.';

-- STABLE, so it sees what its caller's snapshot shows
CREATE FUNCTION webhook_internal.event_in_outbox(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event webhook.outbox;
BEGIN
	SELECT o.* INTO event FROM webhook.outbox o
		WHERE o.event_number = event_in_outbox.event_number LIMIT 1;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook_internal.event_in_outbox(bigint) IS
	'Returns an event of webhook.outbox, or null. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.event_now(event_number bigint) RETURNS webhook.outbox
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_event_now';
COMMENT ON FUNCTION webhook_internal.event_now(bigint) IS
	'Returns an event of webhook.outbox as committed by now, at every isolation level, or null. '
	'Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.lock_revival() RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_revival';
COMMENT ON FUNCTION webhook_internal.lock_revival() IS
	'Waits until no other transaction puts events back into webhook.outbox, and keeps others from '
	'doing so until this transaction ends. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.revive(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	event webhook.outbox;
BEGIN
	-- With its own number and xid it is below every position the worker can be at, and of none of
	-- the transactions that the worker still watches: so it is not read as a new event. The caller
	-- holds the locks on its dead letters.
	INSERT INTO webhook.outbox (event_number, xid, entity_id, entity_type, action_type, result,
			previous, tenant, context, created_at, segment)
		SELECT d.event_number, d.xid, d.entity_id, d.entity_type, d.action_type, d.result,
			d.previous, d.tenant, d.context, d.created_at, webhook_internal.current_segment()
		FROM webhook.dead_letter d WHERE d.event_number = revive.event_number
		ORDER BY d.subscription_id LIMIT 1
		RETURNING * INTO event;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook_internal.revive(bigint) IS
	'Puts an event whose segment was emptied back into webhook.outbox, from its dead letter, and '
	'returns it; null if there is none. Part of webhook.redeliver().';

CREATE FUNCTION webhook.redeliver(event_id text, subscription text DEFAULT NULL) RETURNS integer
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued integer;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'redeliver',
			arguments = jsonb_build_object(
				'event_id', redeliver.event_id, 'subscription', redeliver.subscription)
		RETURNING o.result::integer INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.redeliver(text, text) IS
	'Sends an event again with the same id and content, to one subscription or to all that match '
	'it or have received it. event_id: the id as the receiver got it, or the event number as text; '
	'in a batch the id of the element, not of the request. '
	'A dead letter is taken back, and its attempts and give_up_after start over; a delivery that '
	'waits for a retry becomes due at once. Returns the number of deliveries queued. Error '
	'undefined_object if the event or the subscription does not exist, invalid_parameter_value if '
	'the event is a test or does not match the subscription.';

CREATE FUNCTION webhook.replay(
	subscription text, since timestamptz, until timestamptz DEFAULT now()
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'replay',
			arguments = jsonb_build_object('subscription', replay.subscription,
				'since', replay.since, 'until', replay.until)
		RETURNING o.result::bigint INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.replay(text, timestamptz, timestamptz) IS
	'Sends again, in order, every event of the outbox created from since until before until that '
	'matches the subscription as it is now; deliveries already pending are not duplicated. Returns '
	'the number of deliveries queued; reads the whole outbox. Call it in a transaction after the '
	'one that created or changed the subscription, so that no event is missed. Error '
	'object_not_in_prerequisite_state in the same transaction or if the subscription is inactive, '
	'undefined_object if it does not exist, invalid_parameter_value if the time range is empty, '
	'serialization_failure if a segment was emptied meanwhile.';

CREATE FUNCTION webhook.purge_dead_letters(
	older_than interval DEFAULT NULL, subscription text DEFAULT NULL
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	purged bigint;
BEGIN
	IF older_than IS NULL AND purge_dead_letters.subscription IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'specify older_than, subscription, or both',
			DETAIL = 'Neither older_than nor subscription was given.',
			HINT = 'To purge all dead letters, use older_than => ''0''.';
	END IF;
	IF older_than < interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'older_than is out of range',
			DETAIL = format('%s was given; an age cannot be negative.', older_than),
			HINT = 'For example ''30 days''.';
	END IF;
	-- dead letters of a removed subscription have only its name
	IF purge_dead_letters.subscription IS NOT NULL
		AND NOT EXISTS (SELECT FROM webhook.subscription s
			WHERE s.name = purge_dead_letters.subscription)
		AND NOT EXISTS (SELECT FROM webhook.dead_letter d
			WHERE d.subscription = purge_dead_letters.subscription) THEN
		PERFORM webhook_internal.undefined_subscription_error(purge_dead_letters.subscription);
	END IF;
	DELETE FROM webhook.dead_letter d
		WHERE (older_than IS NULL OR d.given_up_at <= clock_timestamp() - older_than)
			AND (purge_dead_letters.subscription IS NULL
				OR d.subscription = purge_dead_letters.subscription
				OR d.subscription_id = (SELECT s.id FROM webhook.subscription s
					WHERE s.name = purge_dead_letters.subscription));
	GET DIAGNOSTICS purged = ROW_COUNT;
	RETURN purged;
END
$$;
COMMENT ON FUNCTION webhook.purge_dead_letters(interval, text) IS
	'Deletes the dead letters given up longer than older_than ago, or those of one subscription '
	'(also of a removed one), or both. Returns how many were deleted. They cannot be redelivered '
	'once their segment of the outbox has been emptied. Error invalid_parameter_value if neither '
	'argument is given.';

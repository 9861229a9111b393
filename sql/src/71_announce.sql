--
-- Operational events: what happens to subscriptions, for other subscriptions to receive.
--

CREATE FUNCTION webhook_internal.append_event(
	entity_type text, entity_id text, action_type text, result json, tenant text,
	subscription_id bigint
) RETURNS bigint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_append_event';
COMMENT ON FUNCTION webhook_internal.append_event(text, text, text, json, text, bigint) IS
	'Appends an event to the outbox as capture does, and returns its event number. '
	'subscription_id: for this subscription alone; null: for all that match.';

CREATE FUNCTION webhook_internal.announce(
	subscription_id bigint, change text, reason text, event_number bigint
) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s webhook.subscription;
	e webhook.outbox;
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b WHERE b.id = announce.subscription_id;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- once each, also if a worker has ended in between, and whether or not anybody listens
	IF announce.change = 'breaker_opened' THEN
		INSERT INTO webhook_internal.breaker_notice (subscription_id) VALUES (s.id)
			ON CONFLICT DO NOTHING;
	ELSIF announce.change = 'breaker_closed' THEN
		DELETE FROM webhook_internal.breaker_notice t WHERE t.subscription_id = s.id;
	END IF;
	IF announce.change LIKE 'breaker%' AND NOT FOUND
		OR NOT EXISTS (SELECT FROM webhook.subscription l
			WHERE l.state <> 'inactive' AND l.id <> s.id
				AND webhook_internal.asks_for(l.events, 'webhook_subscription', 'update')) THEN
		RETURN;
	END IF;
	e.entity_type := 'webhook_subscription';
	e.entity_id := s.name;
	e.action_type := 'update';
	e.result := json_build_object('subscription', s.name, 'change', announce.change,
		'state', s.state, 'reason', announce.reason,
		'event_id', webhook.event_id(announce.event_number), 'occurred_at', clock_timestamp());
	e.tenant := s.tenant;
	IF NOT EXISTS (SELECT FROM webhook_internal.operator_isolation) THEN
		-- nulls have their types, so that no function of this name made by others is called
		PERFORM webhook_internal.append_event(e.entity_type, e.entity_id, e.action_type, e.result,
			e.tenant, NULL::bigint);
		RETURN;
	END IF;
	-- operators are isolated: an event for each subscription whose owner may see this one
	PERFORM webhook_internal.append_event(e.entity_type, e.entity_id, e.action_type, e.result,
			e.tenant, l.id)
		FROM webhook.subscription l JOIN pg_roles r ON r.rolname = l.owner
			JOIN pg_roles o ON o.rolname = s.owner
		WHERE pg_has_role(r.oid, o.oid, 'USAGE') AND webhook_internal.matches(l, e);
END
$$;
COMMENT ON FUNCTION webhook_internal.announce(bigint, text, text, bigint) IS
	'Appends an event of entity type webhook_subscription if another subscription asks for that '
	'type by name. change: breaker_opened, breaker_closed, disabled, resumed or dead_letter. The '
	'event contains no URL, no secret, and no text from an endpoint or a library.';

CREATE FUNCTION webhook_internal.announce_state() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.state = 'disabled' THEN
		PERFORM webhook_internal.announce(NEW.id, 'disabled', NEW.state_reason, NULL::bigint);
	ELSIF OLD.state = 'disabled' THEN
		PERFORM webhook_internal.announce(NEW.id, 'resumed', NULL::text, NULL::bigint);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_state() IS
	'Announces a subscription that becomes disabled, or is disabled no longer.';

CREATE FUNCTION webhook_internal.announce_dead_letters() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- the outcome of its last attempt; the reason, written for people, may name a host
	PERFORM webhook_internal.announce(d.subscription_id, 'dead_letter',
			(SELECT a.outcome FROM webhook.attempt a
				WHERE d.attempts > 0 AND a.event_number = d.event_number
					AND a.subscription_id = d.subscription_id
				ORDER BY a.started_at DESC LIMIT 1), d.event_number)
		-- else two that listen to each other would never come to rest
		FROM dead d WHERE d.entity_type <> 'webhook_subscription';
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_dead_letters() IS
	'Announces deliveries that were given up, except those of announcements.';

CREATE TRIGGER announce_state AFTER UPDATE OF state ON webhook.subscription
	FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
	EXECUTE FUNCTION webhook_internal.announce_state();
CREATE TRIGGER announce_dead_letters AFTER INSERT ON webhook.dead_letter
	REFERENCING NEW TABLE AS dead
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.announce_dead_letters();

--
-- What webhook_internal.privileged_call performs. Only the owner may call these: they trust their
-- arguments.
--

CREATE FUNCTION webhook_internal.set_secret_as_owner(subscription_id bigint, secret text)
	RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_secret text := webhook_internal.wrapped(set_secret_as_owner.secret);
BEGIN
	-- never one that was there before: who may operate a subscription may not read its secret
	IF new_secret IS NULL THEN
		SELECT webhook_internal.generate_secret(p) INTO new_secret
			FROM webhook.profile p JOIN webhook.subscription s ON s.profile = p.name
			WHERE s.id = set_secret_as_owner.subscription_id;
	END IF;
	DELETE FROM webhook.secret k WHERE k.subscription_id = set_secret_as_owner.subscription_id;
	INSERT INTO webhook.secret (subscription_id, secret, generated)
		VALUES (set_secret_as_owner.subscription_id, new_secret,
			set_secret_as_owner.secret IS NULL);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.set_secret_as_owner(bigint, text) IS
	'Replaces the secrets of a subscription by this wrapped secret, or by a generated one, and '
	'returns it wrapped. Part of webhook.subscribe().';

CREATE FUNCTION webhook_internal.rotate_secret_as_owner(
	subscription_id bigint, secret text, overlap interval
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	new_id integer;
	new_secret text := webhook_internal.wrapped(rotate_secret_as_owner.secret);
BEGIN
	SELECT x.id, x.profile INTO STRICT s FROM webhook.subscription x
		WHERE x.id = rotate_secret_as_owner.subscription_id FOR NO KEY UPDATE;
	IF (rotate_secret_as_owner.overlap BETWEEN interval '0' AND interval '365 days')
		IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'overlap is out of range',
			DETAIL = format('%s was given; the range is 0 to 365 days.',
				coalesce(rotate_secret_as_owner.overlap::text, 'null')),
			HINT = 'The default is 24 hours; 0 ends the old secrets at once.';
	END IF;
	IF new_secret IS NULL THEN
		SELECT webhook_internal.generate_secret(p) INTO new_secret
			FROM webhook.profile p WHERE p.name = s.profile;
	END IF;
	SELECT coalesce(max(k.id), 0) + 1 INTO new_id
		FROM webhook.secret k WHERE k.subscription_id = s.id;
	DELETE FROM webhook.secret k WHERE k.subscription_id = s.id
		AND (rotate_secret_as_owner.overlap = interval '0'
			OR k.expires_at <= clock_timestamp());
	UPDATE webhook.secret k
		SET expires_at = least(k.expires_at, clock_timestamp() + rotate_secret_as_owner.overlap),
			generated = false
		WHERE k.subscription_id = s.id;
	INSERT INTO webhook.secret (subscription_id, id, secret) VALUES (s.id, new_id, new_secret);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_as_owner(bigint, text, interval) IS
	'Part of webhook.rotate_secret().';

CREATE FUNCTION webhook_internal.set_credential_as_owner(
	subscription_id bigint, kind text, value text
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_value CONSTANT text := webhook_internal.wrapped(set_credential_as_owner.value);
BEGIN
	IF new_value IS NULL THEN
		DELETE FROM webhook.credential c
			WHERE c.subscription_id = set_credential_as_owner.subscription_id
				AND c.kind = set_credential_as_owner.kind;
	ELSE
		INSERT INTO webhook.credential (subscription_id, kind, value)
			VALUES (set_credential_as_owner.subscription_id, set_credential_as_owner.kind,
				new_value)
			ON CONFLICT (subscription_id, kind) DO UPDATE SET value = new_value;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.set_credential_as_owner(bigint, text, text) IS
	'Part of webhook.set_credential().';

CREATE FUNCTION webhook_internal.redeliver_as_owner(
	subscriptions bigint[], event_id text, subscription text
) RETURNS integer
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	number CONSTANT bigint := webhook.event_number(redeliver_as_owner.event_id);
	event  webhook.outbox;
	dead   bigint[];
	locked bigint[];
	wanted bigint[];
	queued integer;
BEGIN
	-- Those who redeliver the same dead letters do so one after another; a dead letter that another
	-- transaction has taken meanwhile is left to it.
	dead := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d
		WHERE d.event_number = number);
	locked := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d
		WHERE d.event_number = number ORDER BY d.subscription_id FOR UPDATE);
	-- What others have committed counts, whatever this transaction's snapshot shows: else an event
	-- could be put back twice.
	event := webhook_internal.event_now(number);
	IF event.event_number IS NULL THEN
		PERFORM webhook_internal.lock_revival();
		event := webhook_internal.event_now(number);
	END IF;
	IF event.event_number IS NULL THEN
		event := webhook_internal.revive(number);
	END IF;
	IF event.event_number IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('event "%s" does not exist', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'It is neither in webhook.outbox nor in webhook.dead_letter.',
			HINT = 'Events are kept for webhook.retention, dead letters until they are redelivered '
				'or purged.';
	END IF;
	IF event.action_type = 'test' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" is a test', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'A test is sent once.',
			HINT = 'Send another one with CALL webhook.test().';
	END IF;
	wanted := ARRAY(
		SELECT s.id FROM webhook.subscription s
		WHERE s.id = ANY (redeliver_as_owner.subscriptions)
			AND (s.id = ANY (dead) OR webhook_internal.matches(s, event)
				OR EXISTS (SELECT FROM webhook.attempt a
					WHERE a.event_number = number AND a.subscription_id = s.id))
		-- whoever removes one waits, and then deletes what is queued here
		ORDER BY s.id FOR KEY SHARE);
	IF redeliver_as_owner.subscription IS NOT NULL AND wanted = '{}' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" does not match subscription "%s"',
				left(redeliver_as_owner.event_id, 100), redeliver_as_owner.subscription),
			DETAIL = 'It was never sent to this subscription either.',
			HINT = 'Compare it with events, tenant and filter of the subscription in '
				'webhook.subscription.';
	END IF;
	INSERT INTO webhook.pending (
			subscription_id, event_number, lane, state, next_attempt_at, segment, size)
		SELECT w.id, number, 0, 'requested', clock_timestamp(), event.segment,
				webhook_internal.event_size(event.entity_type, event.entity_id, event.tenant,
					event.result, event.previous, event.context)
		FROM unnest(wanted) w(id) WHERE w.id <> ALL (dead) OR w.id = ANY (locked) ORDER BY w.id
		ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL
			DO UPDATE SET next_attempt_at = excluded.next_attempt_at
			WHERE pending.state = 'retry';
	GET DIAGNOSTICS queued = ROW_COUNT;
	DELETE FROM webhook.dead_letter d
		WHERE d.event_number = number AND d.subscription_id = ANY (wanted);
	PERFORM webhook_internal.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_as_owner(bigint[], text, text) IS
	'Redelivers an event to those of these subscriptions that it is for. subscription: the name of '
	'the one asked for; null: all. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.replay_as_owner(
	subscription_id bigint, since timestamptz, until timestamptz
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	s webhook.subscription;
	queued bigint;
	unmatchable bigint[]; -- what they contain cannot be evaluated
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b
		WHERE b.id = replay_as_owner.subscription_id FOR KEY SHARE;
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = 'subscription was removed',
			DETAIL = 'Another transaction has removed it meanwhile.',
			HINT = 'SELECT name FROM webhook.subscription shows those that there are.';
	END IF;
	IF replay_as_owner.since IS NULL OR replay_as_owner.until IS NULL
		OR replay_as_owner.since >= replay_as_owner.until THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'time range to replay is empty',
			DETAIL = format('It begins at %s and ends before %s.',
				coalesce(replay_as_owner.since::text, 'null'),
				coalesce(replay_as_owner.until::text, 'null')),
			HINT = 'since must be earlier than until; ''-infinity'' replays all events that are '
				'kept.';
	END IF;
	IF s.state = 'inactive' THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" is inactive', s.name),
			DETAIL = 'An inactive subscription matches no event.',
			HINT = 'Call webhook.resume() first, or webhook.pause() to keep the replayed events '
				'for later.';
	END IF;
	-- An event committed after this look at the outbox, and before the subscription is committed as
	-- it is now, would be sent neither way.
	IF (SELECT webhook_internal.is_current_xid(b.xmin)
		FROM webhook.subscription b WHERE b.id = s.id) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" was created or changed in this transaction',
				s.name),
			DETAIL = 'Events that others commit before this transaction ends could be missed.',
			HINT = 'COMMIT, then call webhook.replay() in a new transaction.';
	END IF;
	-- A segment that was emptied looks empty to an older snapshot, too, and events that have moved
	-- on from it are not seen.
	LOCK TABLE webhook.outbox IN ACCESS SHARE MODE;
	IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'webhook.outbox'::regclass
			AND c.relfilenode <> pg_relation_filenode(c.oid)) THEN
		RAISE serialization_failure USING
			MESSAGE = 'could not serialize access due to the rotation of webhook.outbox',
			DETAIL = 'A segment was emptied after this transaction took its snapshot.',
			HINT = 'Retry the transaction.';
	END IF;
	WITH found AS MATERIALIZED (
		SELECT o.event_number, o.segment, m.matched,
			webhook_internal.event_size(
				o.entity_type, o.entity_id, o.tenant, o.result, o.previous, o.context) AS size
		FROM webhook.outbox o
			CROSS JOIN LATERAL (SELECT webhook_internal.matches(s, o) AS matched OFFSET 0) m
		WHERE o.created_at >= replay_as_owner.since AND o.created_at < replay_as_owner.until
			AND o.action_type <> 'test' AND m.matched IS NOT FALSE),
	again AS (
		INSERT INTO webhook.pending (
				subscription_id, event_number, lane, state, next_attempt_at, segment, size)
			SELECT s.id, f.event_number, 0, 'requested', clock_timestamp(), f.segment, f.size
			FROM found f WHERE f.matched
			ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL
				DO NOTHING
			RETURNING pending.event_number),
	alive AS (
		DELETE FROM webhook.dead_letter d USING again
			WHERE d.subscription_id = s.id AND d.event_number = again.event_number)
	SELECT (SELECT count(*) FROM again),
			ARRAY(SELECT f.event_number FROM found f WHERE f.matched IS NULL)
		INTO queued, unmatchable;
	-- as the worker does
	INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts,
			xid, entity_id, entity_type, action_type, result, previous, tenant, context, created_at)
		SELECT s.id, o.event_number, s.name,
			'filter, changed_columns or exclude_origins could not be evaluated', 0, o.xid,
			o.entity_id, o.entity_type, o.action_type, o.result, o.previous, o.tenant, o.context,
			o.created_at
		FROM webhook.outbox o WHERE o.event_number = ANY (unmatchable)
		ON CONFLICT DO NOTHING;
	PERFORM webhook_internal.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_as_owner(bigint, timestamptz, timestamptz) IS
	'Part of webhook.replay().';

CREATE FUNCTION webhook_internal.test_as_owner(
	subscription_id bigint, entity_type text, entity_id text, result json, tenant text
) RETURNS bigint
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	-- of an entity type that only webhook itself uses, a test says nothing but that it is one
	SELECT webhook_internal.append_event(test_as_owner.entity_type,
			CASE WHEN a.problem IS NULL THEN test_as_owner.entity_id ELSE 'test' END, 'test',
			CASE WHEN a.problem IS NULL THEN test_as_owner.result
				ELSE json_build_object('test', true, 'subscription', s.name) END,
			test_as_owner.tenant, test_as_owner.subscription_id)
		FROM webhook.subscription s, webhook_internal.capture_argument(1::smallint,
			convert_to(jsonb_build_object('entity_type', test_as_owner.entity_type)::text,
				getdatabaseencoding()), '') a
		WHERE s.id = test_as_owner.subscription_id
$$;
COMMENT ON FUNCTION webhook_internal.test_as_owner(bigint, text, text, json, text) IS
	'Appends an event for this subscription alone, and returns its event number. Part of '
	'webhook.test().';

CREATE FUNCTION webhook_internal.perform_privileged_call() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a CONSTANT jsonb := NEW.arguments;
	asked_for CONSTANT text := a ->> 'subscription';
	allowed bigint[] := OLD.subscriptions;
BEGIN
	-- all but these two are for one subscription, which must be one that the caller may see
	IF asked_for IS NOT NULL OR NEW.name NOT IN ('redeliver', 'match') THEN
		allowed := ARRAY(SELECT s.id FROM webhook.subscription s
			WHERE s.name = asked_for AND s.id = ANY (allowed));
		IF allowed = '{}' THEN
			PERFORM webhook_internal.undefined_subscription_error(asked_for);
		END IF;
	END IF;
	CASE NEW.name
		WHEN 'set_secret' THEN
			NEW.result := webhook_internal.set_secret_as_owner(allowed[1], a ->> 'secret');
		WHEN 'rotate_secret' THEN
			NEW.result := webhook_internal.rotate_secret_as_owner(allowed[1], a ->> 'secret',
				(a ->> 'overlap')::interval);
		WHEN 'set_credential' THEN
			PERFORM webhook_internal.set_credential_as_owner(allowed[1], a ->> 'kind',
				a ->> 'value');
		WHEN 'redeliver' THEN
			NEW.result := webhook_internal.redeliver_as_owner(allowed, a ->> 'event_id',
				asked_for);
		WHEN 'replay' THEN
			NEW.result := webhook_internal.replay_as_owner(allowed[1],
				(a ->> 'since')::timestamptz, (a ->> 'until')::timestamptz);
		WHEN 'test' THEN
			NEW.result := webhook_internal.test_as_owner(allowed[1], a ->> 'entity_type',
				a ->> 'entity_id', (a ->> 'result')::json, a ->> 'tenant');
		WHEN 'match' THEN
			NEW.result := webhook_internal.match_as_owner(a -> 'wanted',
				least((a ->> 'max_events')::integer, 1000));
		WHEN 'replay_preview' THEN
			NEW.result := webhook_internal.replay_preview_as_owner(allowed[1],
				(a ->> 'since')::timestamptz, (a ->> 'until')::timestamptz);
		WHEN 'explain' THEN
			NEW.result := webhook_internal.explain_as_owner(allowed[1], a ->> 'event_id');
		ELSE
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown operation "%s"', NEW.name),
				DETAIL = 'Valid operations are set_secret, rotate_secret, set_credential, '
					'redeliver, replay, test, match, replay_preview and explain.',
				HINT = 'Call the function of that name in schema webhook.';
	END CASE;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.perform_privileged_call() IS
	'Performs what webhook_internal.privileged_call is asked for with the owner''s rights, on no '
	'subscription but those that the caller may see.';

CREATE TRIGGER perform_privileged_call INSTEAD OF UPDATE ON webhook_internal.privileged_call
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.perform_privileged_call();

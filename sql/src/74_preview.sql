--
-- Looking before saving: the request that would be sent, the events that would match, the
-- deliveries that a replay would make.
--

CREATE FUNCTION webhook_internal.render_request(
	profile webhook.profile, header_templates text[], event webhook.outbox, instance text,
	params text
) RETURNS text[]
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_render_request';
COMMENT ON FUNCTION webhook_internal.render_request(
	webhook.profile, text[], webhook.outbox, text, text
) IS
	'Returns the body, and then the headers, of the request that an event becomes, signed with a '
	'secret that is forgotten. Part of webhook.preview().';

CREATE FUNCTION webhook_internal.sample_event(entity_type text, entity_id text, action_type text)
	RETURNS webhook.outbox
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event  webhook.outbox;
	source record;
	sample record;
BEGIN
	event.event_number := 0;
	event.created_at := clock_timestamp();
	event.action_type := sample_event.action_type;
	event.entity_type := coalesce(sample_event.entity_type, 'example');
	event.entity_id := coalesce(sample_event.entity_id, '1');
	event.result := json_build_object('id', 1, 'example', true);
	IF sample_event.entity_type IS NOT NULL THEN
		-- the caller's own tables first: anybody may use the entity type of somebody else's table
		SELECT w.source, w.trigger INTO source
			FROM webhook.source w LEFT JOIN pg_class c ON c.oid = w.source
			WHERE w.entity_type = sample_event.entity_type
			ORDER BY pg_has_role(c.relowner, 'USAGE') DESC, w.source::text LIMIT 1;
		IF NOT FOUND THEN
			RAISE undefined_object USING
				MESSAGE = format('no table is watched as "%s"', sample_event.entity_type),
				DETAIL = 'No source has this entity type.',
				HINT = 'SELECT source, entity_type FROM webhook.source shows the watched tables.';
		END IF;
		SELECT s.* INTO sample FROM webhook_internal.sample_row(
			source.source, source.trigger, sample_event.entity_id, NULL, true) s;
		IF sample.result IS NULL AND sample_event.entity_id IS NOT NULL THEN
			RAISE no_data_found USING
				MESSAGE = format('there is no %s "%s"', sample_event.entity_type,
					sample_event.entity_id),
				DETAIL = 'No row has this key.',
				HINT = 'Omit entity_id to use the newest row.';
		END IF;
		-- xid tells that it is a row: an event that is made up has none
		IF sample.result IS NOT NULL THEN
			event.xid := pg_current_xact_id_if_assigned();
			event.xid := coalesce(event.xid, '3'::xid8);
			event.entity_id := sample.entity_id;
			event.result := sample.result;
			event.tenant := sample.tenant;
		END IF;
	END IF;
	IF event.action_type IN ('delete', 'truncate') THEN
		event.previous := CASE event.action_type WHEN 'delete' THEN event.result END;
		event.result := NULL;
	END IF;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook_internal.sample_event(text, text, text) IS
	'Returns an event of a row of a watched table, or a made-up one, which has no xid. Part of '
	'webhook.preview().';

CREATE FUNCTION webhook.preview(
	profile     text  DEFAULT 'entity',
	url         text  DEFAULT NULL,
	headers     jsonb DEFAULT '{}',
	params      jsonb DEFAULT '{}',
	entity_type text  DEFAULT NULL,
	entity_id   text  DEFAULT NULL,
	action_type text  DEFAULT 'update',
	transform   text  DEFAULT NULL
) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p     webhook.profile;
	event webhook.outbox;
	made  text[];
BEGIN
	SELECT x.* INTO p FROM webhook.profile x WHERE x.name = preview.profile;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_profile_error(preview.profile);
	END IF;
	IF preview.url IS NOT NULL THEN
		PERFORM webhook_internal.check_url(preview.url);
	END IF;
	IF (preview.action_type IN ('new', 'update', 'delete', 'truncate', 'test')) IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'action_type is not one',
			DETAIL = 'Action types are new, update, delete, truncate and test.',
			HINT = 'The default is update.';
	END IF;
	IF (jsonb_typeof(preview.headers) = 'object' AND jsonb_typeof(preview.params) = 'object')
		IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers and params must be JSON objects',
			DETAIL = 'One of them is null or of another type.',
			HINT = 'For example ''{"X-Team": "billing"}''.';
	END IF;
	event := webhook_internal.sample_event(
		preview.entity_type, preview.entity_id, preview.action_type);
	made := webhook_internal.render_request(p,
		ARRAY(SELECT h.key || ': ' || h.value FROM jsonb_each_text(p.headers) h), event,
		(regexp_match(webhook.event_id(0), '([0-9a-f]{8})_0$'))[1], preview.params::text);
	RETURN jsonb_build_object('method', 'POST', 'url', preview.url,
		'headers', (SELECT jsonb_agg(jsonb_build_array(split_part(l.line, ': ', 1),
				substr(l.line, strpos(l.line, ': ') + 2)) ORDER BY l.n)
			FROM (SELECT u.line, u.n FROM unnest(made[2:]) WITH ORDINALITY u(line, n)
				UNION ALL SELECT h.key || ': ' || h.value, 1000
					FROM jsonb_each_text(preview.headers) h) l(line, n)),
		'body', made[1], 'body_type', p.content_type,
		'made_of', CASE WHEN event.xid IS NULL THEN 'made up' ELSE 'row' END,
		'notes', to_jsonb(array_remove(ARRAY[
			CASE WHEN p.signature_algorithm <> 'none'
				THEN 'The signature is made with a secret that is nobody''s.' END,
			CASE WHEN preview.transform IS NOT NULL
				THEN 'A transform makes the body; it is not called here.' END,
			'The event has the number 0; headers of credentials are not shown.'], NULL)));
END
$$;
COMMENT ON FUNCTION webhook.preview(text, text, jsonb, jsonb, text, text, text, text) IS
	'Returns the request that a subscription with this profile, url, headers and params would '
	'send, as a JSON object of method, url, headers, body, body_type, made_of and notes. It sends '
	'nothing. The event is made of the row with this entity_id, else of the newest row of '
	'entity_type, else it is made up; the caller needs SELECT on the table. transform: only noted. '
	'Error undefined_object if the profile or the entity type does not exist, no_data_found if the '
	'row does not, invalid_parameter_value for an invalid argument.';

-- The newest events that a subscription like this would get. Reads the outbox, so it goes through
-- the door.
CREATE FUNCTION webhook_internal.match_as_owner(wanted jsonb, max_events integer) RETURNS jsonb
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s webhook.subscription;
BEGIN
	s := jsonb_populate_record(NULL::webhook.subscription, match_as_owner.wanted);
	s.state := 'active';
	s.id := 0;
	s.name := '';
	RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('event_number', o.event_number,
			'event_id', webhook.event_id(o.event_number), 'entity_type', o.entity_type,
			'entity_id', o.entity_id, 'action_type', o.action_type, 'created_at', o.created_at,
			'matched', webhook_internal.matches(s, o)) ORDER BY o.event_number DESC), '[]')
		FROM (SELECT x.* FROM webhook.outbox x
			WHERE x.subscription_id IS NULL AND x.action_type <> 'test'
				AND x.entity_type <> 'webhook_subscription'
			ORDER BY x.event_number DESC LIMIT match_as_owner.max_events) o);
END
$$;
COMMENT ON FUNCTION webhook_internal.match_as_owner(jsonb, integer) IS
	'Part of webhook.match_preview().';

CREATE FUNCTION webhook.match_preview(
	events          text[]   DEFAULT NULL,
	tenant          text     DEFAULT NULL,
	filter          jsonpath DEFAULT NULL,
	changed_columns text[]   DEFAULT NULL,
	exclude_origins text[]   DEFAULT NULL,
	max_events      integer  DEFAULT 100
) RETURNS TABLE (event_number bigint, event_id text, entity_type text, entity_id text,
		action_type text, created_at timestamptz, matched boolean)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	made jsonb;
BEGIN
	IF (max_events BETWEEN 1 AND 1000) IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'max_events is out of range',
			DETAIL = format('%s was given; the range is 1 to 1000.',
				coalesce(max_events::text, 'null')),
			HINT = 'The default is 100.';
	END IF;
	PERFORM webhook_internal.check_events(events);
	UPDATE webhook_internal.privileged_call o SET name = 'match',
			arguments = jsonb_build_object('max_events', max_events, 'wanted',
				jsonb_build_object('events', events, 'tenant', tenant, 'filter', filter::text,
					'changed_columns', changed_columns, 'exclude_origins', exclude_origins))
		RETURNING o.result::jsonb INTO STRICT made;
	RETURN QUERY SELECT r.* FROM jsonb_to_recordset(made) AS r(event_number bigint, event_id text,
		entity_type text, entity_id text, action_type text, created_at timestamptz,
		matched boolean);
END
$$;
COMMENT ON FUNCTION webhook.match_preview(text[], text, jsonpath, text[], text[], integer) IS
	'Tries what a subscription asks for (columns of webhook.subscription) on the newest '
	'max_events events (1 to 1000) and returns them, newest first; matched: whether such a '
	'subscription would have got it, null if the content of the event cannot be evaluated. '
	'Nothing of the content is returned. Error invalid_parameter_value for an invalid argument.';

CREATE FUNCTION webhook_internal.replay_preview_as_owner(
	subscription_id bigint, since timestamptz, until timestamptz
) RETURNS jsonb
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s webhook.subscription;
BEGIN
	SELECT b.* INTO STRICT s FROM webhook.subscription b
		WHERE b.id = replay_preview_as_owner.subscription_id;
	RETURN (SELECT jsonb_build_object('matching', count(*), 'already_pending',
			count(p.event_number))
		FROM webhook.outbox o
		CROSS JOIN LATERAL (SELECT webhook_internal.matches(s, o) AS matched OFFSET 0) m
		LEFT JOIN webhook.pending p
			ON p.subscription_id = s.id AND p.event_number = o.event_number
		WHERE o.created_at >= replay_preview_as_owner.since
			AND o.created_at < replay_preview_as_owner.until
			AND o.action_type <> 'test' AND m.matched);
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_preview_as_owner(bigint, timestamptz, timestamptz) IS
	'Part of webhook.replay_preview().';

CREATE FUNCTION webhook.replay_preview(
	subscription text, since timestamptz, until timestamptz DEFAULT now(),
	OUT matching bigint, OUT already_pending bigint
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	made jsonb;
BEGIN
	IF (replay_preview.since < replay_preview.until) IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'time range to replay is empty',
			DETAIL = format('It begins at %s and ends before %s.',
				coalesce(replay_preview.since::text, 'null'),
				coalesce(replay_preview.until::text, 'null')),
			HINT = 'since must be earlier than until; ''-infinity'' stands for all events that are '
				'kept.';
	END IF;
	UPDATE webhook_internal.privileged_call o SET name = 'replay_preview',
			arguments = jsonb_build_object('subscription', replay_preview.subscription,
				'since', replay_preview.since, 'until', replay_preview.until)
		RETURNING o.result::jsonb INTO STRICT made;
	matching := made ->> 'matching';
	already_pending := made ->> 'already_pending';
END
$$;
COMMENT ON FUNCTION webhook.replay_preview(text, timestamptz, timestamptz) IS
	'Counts what webhook.replay() with the same arguments would queue now, without changing '
	'anything. matching: events that match the subscription as it is; already_pending: those of '
	'them that wait already and are not duplicated. Reads the whole outbox. Error '
	'undefined_object if the subscription does not exist, invalid_parameter_value if the time '
	'range is empty.';

CREATE FUNCTION webhook_internal.require_at_most(counted bigint, expected bigint) RETURNS bigint
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF require_at_most.counted > require_at_most.expected THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('there are %s now, and %s were confirmed', require_at_most.counted,
				require_at_most.expected),
			DETAIL = 'Nothing was done.',
			HINT = 'Look again, and confirm what there is now.';
	END IF;
	RETURN require_at_most.counted;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_at_most(bigint, bigint) IS
	'Returns counted; raises an error if it is more than expected. For what somebody confirms by '
	'its number. Null: any number.';

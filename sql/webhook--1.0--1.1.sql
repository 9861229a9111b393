/*
 * From 1.0 to 1.1: what the console and the HTTP API call (docs/console.md), and the headers
 * of responses in the log.
 *
 * In this order: the log, looking before saving, what became of an event, tokens and the account
 * of writes; then the functions of 1.0 that know of them; the grants.
 */
\echo Use "ALTER EXTENSION webhook UPDATE TO '1.1'" to load this file. \quit

-- Who is an operator, a viewer or a watcher, by the privileges of 1.0. Kept for the end: a
-- setting, because whoever owns the extension need not be allowed to make a temporary table.
SELECT pg_catalog.set_config('pgwebhook_update.roles', (
	SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(r.oid::text, k.kind))::text
	FROM pg_catalog.pg_roles r, (VALUES ('operator'), ('viewer'), ('watcher')) k(kind)
	WHERE webhook_internal.has_role_privileges(k.kind, r.oid::regrole)
		AND r.oid <> (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = 'webhook')
), true);

--
-- The headers of responses in the log
--

ALTER TABLE webhook.attempt ADD COLUMN response_headers text;
COMMENT ON COLUMN webhook.attempt.response_headers IS
	'The headers of the response, a line each, the first 2048 bytes, without cookies. Null when '
	'delivered, and of what was logged before 1.1.';

CREATE OR REPLACE VIEW webhook.log WITH (security_invoker = true) AS
	SELECT a.started_at, webhook.event_id(a.event_number) AS event_id, a.subscription,
		a.entity_type, a.entity_id, a.action_type, a.attempt_number, a.outcome, a.http_status,
		a.error, a.duration_ms, a.response, a.event_number, a.response_headers
	FROM webhook.attempt a;
COMMENT ON COLUMN webhook.log.response_headers IS
	'The headers of the response, a line each, the first 2048 bytes, without cookies. Null when '
	'delivered, and of what was logged before 1.1.';

--
-- The version that a built-in profile names
--

ALTER TABLE webhook.profile DISABLE TRIGGER check_profile;
UPDATE webhook.profile SET headers = '{"User-Agent": "pgwebhook/1.1"}'
	WHERE name = 'aghanim' AND builtin;
ALTER TABLE webhook.profile ENABLE TRIGGER check_profile;

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

--
-- What became of an event: why a subscription did not get it, and all about one delivery.
--

CREATE FUNCTION webhook_internal.why_pending(
	state text, attempts integer, last_error text, next_attempt_at timestamptz
) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE state
		WHEN 'retry' THEN format('The last of %s attempts failed: %s; the next is due at %s.',
			attempts, coalesce(last_error, 'no reason is known'), next_attempt_at)
		WHEN 'blocked' THEN 'It waits for an earlier delivery of the same lane.'
		WHEN 'deferred' THEN 'It is kept until the subscription can take it.'
		WHEN 'requested' THEN 'Somebody asked to send it again, and it is about to be.'
		ELSE 'It is being sent.' END
$$;
COMMENT ON FUNCTION webhook_internal.why_pending(text, integer, text, timestamptz) IS
	'Why a row of webhook.pending, of which these are columns, waits: a sentence.';

-- a row per question, in the order in which delivery asks them; all that is found is told
CREATE FUNCTION webhook_internal.explain_as_owner(subscription_id bigint, event_id text)
	RETURNS jsonb
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	number  CONSTANT bigint := webhook.event_number(explain_as_owner.event_id);
	e       webhook.outbox;
	s       webhook.subscription;
	of_one  webhook.subscription;
	tries   record;
	waits   webhook.pending;
	dead    webhook.dead_letter;
	mark    webhook.checkpoint;
	steps   jsonb := '[]';
	verdict text;
	because text;
	matched boolean;
	q       record;
BEGIN
	SELECT b.* INTO STRICT s FROM webhook.subscription b
		WHERE b.id = explain_as_owner.subscription_id;
	SELECT d.* INTO dead FROM webhook.dead_letter d
		WHERE d.subscription_id = s.id AND d.event_number = number;
	SELECT p.* INTO waits FROM webhook.pending p
		WHERE p.subscription_id = s.id AND p.event_number = number;
	SELECT count(*) AS n, max(a.attempt_number) AS attempts,
			(array_agg(a.outcome ORDER BY a.started_at DESC))[1] AS outcome,
			(array_agg(a.error ORDER BY a.started_at DESC))[1] AS error,
			max(a.started_at) AS last INTO tries
		FROM webhook.attempt a WHERE a.event_number = number AND a.subscription_id = s.id;
	e := webhook_internal.event_in_outbox(number);
	IF e.event_number IS NULL AND dead.event_number IS NOT NULL THEN
		e.event_number := number;
		e.entity_id := dead.entity_id; e.entity_type := dead.entity_type;
		e.action_type := dead.action_type; e.result := dead.result; e.previous := dead.previous;
		e.tenant := dead.tenant; e.context := dead.context; e.created_at := dead.created_at;
		e.xid := dead.xid;
	END IF;
	-- what is for another subscription alone, or tells isolated operators of one, is not there
	IF e.subscription_id <> s.id OR e.entity_type = 'webhook_subscription'
		AND tries.n = 0 AND waits.event_number IS NULL AND dead.event_number IS NULL
		AND EXISTS (SELECT FROM webhook_internal.operator_isolation) THEN
		e := NULL;
	END IF;
	steps := steps || jsonb_build_object('step', 'captured', 'ok', e.event_number IS NOT NULL,
		'text', CASE WHEN e.event_number IS NULL
			THEN 'No event with this id is kept: it was never committed, or webhook.retention is '
				'over.'
			ELSE format('The event was captured at %s: %s.%s %s.', e.created_at, e.entity_type,
				e.action_type, coalesce(e.entity_id, '')) END);
	IF e.event_number IS NOT NULL THEN
		SELECT c.* INTO mark FROM webhook.checkpoint c WHERE c.kind = 'read'
			ORDER BY c.id DESC LIMIT 1;
		steps := steps || jsonb_build_object('step', 'read', 'ok',
			tries.n > 0 OR waits.event_number IS NOT NULL OR dead.event_number IS NOT NULL
				OR coalesce(number <= mark.hi AND pg_visible_in_snapshot(e.xid, mark.snapshot),
					false),
			'text', format('The worker is %s, and has read up to event number %s.',
				(SELECT concat_ws(': ', replace(w.state, '_', ' '), w.reason)
					FROM webhook_internal.worker_status() w), coalesce(mark.hi, 0)));
		steps := steps || jsonb_build_object('step', 'subscription', 'ok',
			s.state <> 'inactive' AND s.created_at <= e.created_at,
			'text', CASE
				WHEN s.created_at > e.created_at
					THEN format('It was created at %s, after the event.', s.created_at)
				WHEN s.state = 'inactive' THEN 'It is inactive: events meanwhile are not for it.'
				ELSE format('It is %s%s.', s.state, ': ' || s.state_reason) END);
		IF e.subscription_id IS NOT NULL THEN
			steps := steps || jsonb_build_object('step', 'events', 'ok', e.subscription_id = s.id,
				'text', 'The event is for one subscription alone.');
		ELSE
			-- each clause by itself: the subscription with all others left out
			FOR q IN SELECT * FROM (VALUES
				('events', s.events::text), ('tenant', s.tenant),
				('exclude_origins', s.exclude_origins::text),
				('changed_columns', s.changed_columns::text), ('filter', s.filter::text)
				) v(step, given) LOOP
				of_one := s;
				of_one.state := 'active';
				IF q.step <> 'events' THEN of_one.events := NULL; END IF;
				IF q.step <> 'tenant' THEN of_one.tenant := NULL; END IF;
				IF q.step <> 'exclude_origins' THEN of_one.exclude_origins := NULL; END IF;
				IF q.step <> 'changed_columns' THEN of_one.changed_columns := NULL; END IF;
				IF q.step <> 'filter' THEN of_one.filter := NULL; END IF;
				matched := CASE WHEN q.step = 'events'
					THEN webhook_internal.asks_for(s.events, e.entity_type, e.action_type)
					ELSE webhook_internal.matches(of_one, e) END;
				-- of its own entity type, only those that name it are told
				IF q.step <> 'events' AND e.entity_type = 'webhook_subscription' THEN
					matched := NULL;
				END IF;
				steps := steps || jsonb_build_object('step', q.step,
					'ok', CASE WHEN q.given IS NULL AND q.step <> 'events' THEN true
						ELSE matched END,
					'text', CASE WHEN q.given IS NULL THEN format('It has no %s: any will do.',
							q.step)
						WHEN matched THEN format('Admitted by its %s: %s.', q.step, q.given)
						WHEN matched IS NULL THEN format('Its %s could not be evaluated: %s.',
							q.step, q.given)
						ELSE format('Excluded by its %s: %s.', q.step, q.given) END);
			END LOOP;
		END IF;
	END IF;
	because := CASE
		WHEN dead.event_number IS NOT NULL THEN format('It was given up at %s after %s attempts: '
			'%s.', dead.given_up_at, dead.attempts, dead.reason)
		WHEN waits.event_number IS NOT NULL THEN webhook_internal.why_pending(
			waits.state, waits.attempts, waits.last_error, waits.next_attempt_at)
		WHEN tries.n > 0 AND tries.outcome IN ('delivered', 'skipped')
			THEN format('It was %s at %s, at attempt %s.', tries.outcome, tries.last,
				tries.attempts)
		WHEN tries.n > 0 THEN format('Attempt %s ended with %s at %s, and nothing is left to do.',
			tries.attempts, concat_ws(': ', tries.outcome, tries.error), tries.last)
		END;
	verdict := CASE
		WHEN dead.event_number IS NOT NULL THEN 'dead'
		WHEN waits.event_number IS NOT NULL THEN 'pending'
		WHEN tries.n > 0 AND tries.outcome IN ('delivered', 'skipped') THEN 'delivered'
		WHEN tries.n > 0 THEN 'failed'
		WHEN e.event_number IS NULL THEN 'not_found'
		ELSE (SELECT CASE x ->> 'step' WHEN 'read' THEN 'not_read'
				WHEN 'subscription' THEN 'inactive' ELSE 'not_matched' END
			FROM jsonb_array_elements(steps) WITH ORDINALITY y(x, n)
			-- what does not match is no less so before it is read
			WHERE x -> 'ok' = 'false' ORDER BY x ->> 'step' = 'read', n LIMIT 1) END;
	because := coalesce(because,
		(SELECT x ->> 'text' FROM jsonb_array_elements(steps) WITH ORDINALITY y(x, n)
			WHERE x -> 'ok' = 'false' ORDER BY x ->> 'step' = 'read', n LIMIT 1),
		'It matches, is read, and is in the worker''s memory, about to be sent.');
	steps := steps || jsonb_build_object('step', 'delivery',
		'ok', coalesce(verdict = 'delivered', false), 'text', because);
	RETURN jsonb_build_object('event_id', webhook.event_id(number), 'subscription', s.name,
		'verdict', coalesce(verdict, 'pending'), 'explanation', because, 'steps', steps);
END
$$;
COMMENT ON FUNCTION webhook_internal.explain_as_owner(bigint, text) IS
	'Part of webhook.explain().';

CREATE FUNCTION webhook.explain(event_id text, subscription text) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	made jsonb;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'explain',
			arguments = jsonb_build_object(
				'subscription', explain.subscription, 'event_id', explain.event_id)
		RETURNING o.result::jsonb INTO STRICT made;
	RETURN made;
END
$$;
COMMENT ON FUNCTION webhook.explain(text, text) IS
	'Says why a subscription got an event, or did not: a JSON object with verdict (delivered, '
	'pending, dead, failed, not_found, not_read, not_matched or inactive), explanation (a '
	'sentence), and steps: what was looked at, whether it was so (null: cannot be told), and the '
	'sentence. It judges by the subscription as it is now. event_id: as for webhook.redeliver(). '
	'Error undefined_object if the subscription does not exist, invalid_parameter_value for what '
	'is no event id.';

CREATE FUNCTION webhook_internal.log_cursor(logged webhook.log) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT concat_ws('_', extract(epoch FROM ($1).started_at), ($1).event_number,
		($1).attempt_number, encode(convert_to(coalesce(($1).subscription, ''), 'UTF8'), 'hex'))
$$;
COMMENT ON FUNCTION webhook_internal.log_cursor(webhook.log) IS
	'The cursor of webhook.search_log() that continues after this row.';

CREATE FUNCTION webhook.search_log(
	subscription text        DEFAULT NULL,
	entity_type  text        DEFAULT NULL,
	entity_id    text        DEFAULT NULL,
	event_id     text        DEFAULT NULL,
	outcome      text        DEFAULT NULL,
	status       text        DEFAULT NULL,
	since        timestamptz DEFAULT NULL,
	until        timestamptz DEFAULT NULL,
	cursor       text        DEFAULT NULL,
	max_rows     integer     DEFAULT 100
) RETURNS SETOF webhook.log
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts CONSTANT text[] := regexp_match(search_log.cursor,
		'^([0-9]{1,12}\.[0-9]{1,6})_([0-9]{1,18})_([0-9]{1,9})_((?:[0-9a-f]{2})*)$');
BEGIN
	IF search_log.cursor IS NOT NULL AND parts IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'cursor is not one',
			DETAIL = 'A cursor is what an earlier page returned.',
			HINT = 'Omit it to begin with the newest.';
	END IF;
	IF search_log.status !~ '^([1-5]xx|[0-9]{3})$' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'status is not one',
			DETAIL = 'A status is three digits, or a digit and xx.',
			HINT = 'For example 404 or 5xx.';
	END IF;
	IF (search_log.max_rows BETWEEN 1 AND 10000) IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'max_rows is out of range',
			DETAIL = format('%s was given; the range is 1 to 10000.',
				coalesce(search_log.max_rows::text, 'null')),
			HINT = 'The default is 100.';
	END IF;
	-- only the conditions that there are, so that each kind of search has the plan of its own
	RETURN QUERY EXECUTE 'SELECT l.* FROM webhook.log l WHERE true'
		|| CASE WHEN search_log.subscription IS NULL THEN ''
			ELSE ' AND l.subscription = $1' END
		|| CASE WHEN search_log.entity_type IS NULL THEN '' ELSE ' AND l.entity_type = $2' END
		|| CASE WHEN search_log.entity_id IS NULL THEN ''
			ELSE ' AND l.entity_id = left($3, 500)' END
		|| CASE WHEN search_log.event_id IS NULL THEN ''
			ELSE ' AND l.event_number = webhook.event_number($4)' END
		|| CASE WHEN search_log.outcome IS NULL THEN ''
			WHEN search_log.outcome = 'failed'
				THEN ' AND l.outcome <> ''delivered'' AND l.outcome <> ''skipped'''
			ELSE ' AND l.outcome = $5' END
		|| CASE WHEN search_log.status IS NULL THEN ''
			WHEN search_log.status LIKE '%xx'
				THEN ' AND l.http_status BETWEEN left($6, 1)::int * 100'
					' AND left($6, 1)::int * 100 + 99'
			ELSE ' AND l.http_status = $6::int' END
		|| CASE WHEN search_log.since IS NULL THEN '' ELSE ' AND l.started_at >= $7' END
		|| CASE WHEN search_log.until IS NULL THEN '' ELSE ' AND l.started_at < $8' END
		|| CASE WHEN parts IS NULL THEN '' ELSE ' AND l.started_at <= $9 AND (l.started_at, '
			'l.event_number, l.attempt_number, coalesce(l.subscription, '''')) '
			'< ($9, $10, $11, $12)' END
		|| ' ORDER BY l.started_at DESC, l.event_number DESC, l.attempt_number DESC, '
			'coalesce(l.subscription, '''') DESC LIMIT $13'
		USING search_log.subscription, search_log.entity_type, search_log.entity_id,
			search_log.event_id, search_log.outcome, search_log.status, search_log.since,
			search_log.until,
			timestamptz 'epoch' + make_interval(secs => split_part(parts[1], '.', 1)::float8)
				+ make_interval(secs => ('0.' || split_part(parts[1], '.', 2))::float8),
			parts[2]::bigint, parts[3]::integer,
			convert_from(decode(parts[4], 'hex'), 'UTF8'), search_log.max_rows;
END
$$;
COMMENT ON FUNCTION webhook.search_log(
	text, text, text, text, text, text, timestamptz, timestamptz, text, integer
) IS
	'Returns rows of webhook.log, newest first: those that have all that is given. outcome: its '
	'word, or failed for all but delivered and skipped; status: three digits, or 4xx; since and '
	'until: of started_at; cursor: goes on after a row of an earlier page; max_rows: 1 to 10000. '
	'Each of subscription, entity_id, event_id and started_at is found by an index. Error '
	'invalid_parameter_value for an invalid argument.';

CREATE FUNCTION webhook_internal.delivery(event_id text, subscription text, whole boolean)
	RETURNS jsonb
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	number   CONSTANT bigint := webhook.event_number(delivery.event_id);
	attempts jsonb;
	waits    jsonb;
	dead     jsonb;
	last     jsonb;
	why      text; -- it is pending
BEGIN
	SELECT jsonb_agg(to_jsonb(l) - 'event_number' ORDER BY l.started_at, l.attempt_number)
		INTO attempts FROM webhook.log l
		WHERE l.event_number = number AND l.subscription = delivery.subscription;
	last := attempts -> -1;
	IF delivery.whole THEN
		SELECT to_jsonb(p) - '{subscription_id,event_number,lane,segment,size,batch,judged}'::text[]
				|| jsonb_build_object('next_attempt_at', nullif(p.next_attempt_at, 'infinity'),
					'event_id', webhook.event_id(number), 'entity_type', last -> 'entity_type',
					'entity_id', last -> 'entity_id', 'action_type', last -> 'action_type'),
				webhook_internal.why_pending(
					p.state, p.attempts, p.last_error, p.next_attempt_at)
			INTO waits, why FROM webhook.pending p
			JOIN webhook.subscription s ON s.id = p.subscription_id
			WHERE p.event_number = number AND s.name = delivery.subscription;
		SELECT to_jsonb(d)
				- '{subscription_id,event_number,subscription,xid,tenant,context}'::text[]
				|| jsonb_build_object('event_id', webhook.event_id(number))
			INTO dead FROM webhook.dead_letter d
			WHERE d.event_number = number AND (d.subscription = delivery.subscription
				OR d.subscription_id = (SELECT s.id FROM webhook.subscription s
					WHERE s.name = delivery.subscription)) LIMIT 1;
	END IF;
	IF coalesce(attempts, waits, dead) IS NULL THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('event_id', webhook.event_id(number),
		'subscription', delivery.subscription,
		'entity_type', coalesce(dead, last) -> 'entity_type',
		'entity_id', coalesce(dead, last) -> 'entity_id',
		'action_type', coalesce(dead, last) -> 'action_type', 'created_at', dead -> 'created_at',
		'state', CASE WHEN dead IS NOT NULL THEN 'dead' WHEN waits IS NOT NULL THEN 'pending'
			WHEN last ->> 'outcome' IN ('delivered', 'skipped') THEN 'delivered'
			WHEN delivery.whole THEN 'failed' END,
		'attempts', coalesce(attempts, '[]'), 'pending', waits, 'dead_letter', dead,
		'why', CASE
			WHEN dead IS NOT NULL THEN format('It was given up: %s.', dead ->> 'reason')
			WHEN waits IS NOT NULL THEN why
			WHEN last ->> 'outcome' IN ('delivered', 'skipped') THEN 'Nothing is left to do.'
			WHEN delivery.whole THEN 'It is not tried again.'
			ELSE 'Operators see whether it is tried again.' END);
END
$$;
COMMENT ON FUNCTION webhook_internal.delivery(text, text, boolean) IS
	'All about one delivery, as JSON for the console: its attempts, and if whole, its row of '
	'webhook.pending or webhook.dead_letter. Null if there is nothing.';

--
-- For the console and the HTTP API (docs/console.md): tokens, the account of writes, changes
-- of a subscription as JSON.
--

CREATE TABLE webhook.api_token (
	name         text        NOT NULL PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
	role         name        NOT NULL,
	digest       bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
	created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
	created_by   name        NOT NULL DEFAULT current_user,
	expires_at   timestamptz NOT NULL,
	last_used_at timestamptz,
	CHECK (expires_at <= created_at + interval '3661 days') -- whoever writes it
);
COMMENT ON TABLE webhook.api_token IS
	'Tokens with which programs call the HTTP API. Made by webhook.create_api_token(). Not part of '
	'a dump: a copy of the database needs tokens of its own.';
COMMENT ON COLUMN webhook.api_token.name IS 'What the token is for, 1 to 200 characters, unique.';
COMMENT ON COLUMN webhook.api_token.role IS 'The role whose rights it has.';
COMMENT ON COLUMN webhook.api_token.digest IS 'SHA-256 of the token, which is not kept.';
COMMENT ON COLUMN webhook.api_token.created_at IS 'When it was made.';
COMMENT ON COLUMN webhook.api_token.created_by IS 'By whom.';
COMMENT ON COLUMN webhook.api_token.expires_at IS 'From when on it is refused.';
COMMENT ON COLUMN webhook.api_token.last_used_at IS
	'When it was last used, to the minute. Null: never.';
-- whoever may take the role may see and revoke its tokens, and nobody makes one of a role that
-- they cannot take
ALTER TABLE webhook.api_token ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON webhook.api_token
	USING (role IN (SELECT r.rolname FROM pg_catalog.pg_roles r
		WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER')));

CREATE FUNCTION webhook.create_api_token(
	name text, role name, expires_at timestamptz DEFAULT NULL
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	-- assignments are evaluated without a statement, so that nothing can log the token
	token  CONSTANT text := 'whk_' || replace(gen_random_uuid()::text || gen_random_uuid()::text,
		'-', '');
	digest CONSTANT bytea := sha256(convert_to(token, 'UTF8'));
	until  CONSTANT timestamptz := coalesce(create_api_token.expires_at,
		clock_timestamp() + interval '365 days');
BEGIN
	IF (length(create_api_token.name) BETWEEN 1 AND 200) IS NOT TRUE THEN
		PERFORM webhook_internal.invalid_value('name must have 1 to 200 characters',
			format('It has %s characters.', coalesce(length(create_api_token.name), 0)),
			'Name it after the program that uses the token.');
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = create_api_token.role
		AND pg_has_role(r.oid, 'MEMBER') AND NOT r.rolsuper) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('role "%s" is none that you can make a token of',
				coalesce(create_api_token.role, 'null')),
			DETAIL = 'A token has the rights of a role that its maker is a member of, and that '
				'is not a superuser.',
			HINT = 'Name your own role, or one of which you are a member.';
	END IF;
	IF until <= clock_timestamp() OR until > clock_timestamp() + interval '3660 days' THEN
		PERFORM webhook_internal.invalid_value('expires_at is out of range',
			format('%s was given; the range is from now to ten years from now.', until),
			'The default is a year from now.');
	END IF;
	INSERT INTO webhook.api_token (name, role, digest, expires_at)
		VALUES (create_api_token.name, create_api_token.role, digest, until)
		ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE unique_violation USING
			MESSAGE = format('token "%s" already exists', create_api_token.name),
			DETAIL = 'Names of tokens are unique within a database.',
			HINT = 'Choose another name, or revoke the token first.';
	END IF;
	RETURN token;
END
$$;
COMMENT ON FUNCTION webhook.create_api_token(text, name, timestamptz) IS
	'Makes a token for the HTTP API with the rights of a role, and returns it; it is not shown '
	'again. expires_at: at most ten years from now, default one. Error insufficient_privilege if '
	'the caller is not a member of the role or it is a superuser, unique_violation if the name is '
	'taken, invalid_parameter_value for an invalid argument.';

CREATE FUNCTION webhook.revoke_api_token(name text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	DELETE FROM webhook.api_token t WHERE t.name = revoke_api_token.name;
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('token "%s" does not exist', revoke_api_token.name),
			DETAIL = 'webhook.api_token has no row with this name for you.',
			HINT = 'SELECT name, role FROM webhook.api_token lists the tokens.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.revoke_api_token(text) IS
	'Revokes a token at once. Error undefined_object if it does not exist, or is one of a role '
	'that the caller is not a member of.';

-- called by the role of pgwebhook serve, which sees no token
CREATE FUNCTION webhook_internal.authenticate(digest bytea) RETURNS name
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t webhook.api_token;
BEGIN
	SELECT x.* INTO t FROM webhook.api_token x JOIN pg_roles r ON r.rolname = x.role
		WHERE x.digest = authenticate.digest AND x.expires_at > clock_timestamp()
			AND NOT r.rolsuper;
	IF FOUND AND NOT pg_is_in_recovery()
		AND (t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 min') THEN
		UPDATE webhook.api_token x SET last_used_at = date_trunc('minute', clock_timestamp())
			WHERE x.name = t.name;
	END IF;
	RETURN t.role;
END
$$;
COMMENT ON FUNCTION webhook_internal.authenticate(bytea) IS
	'Returns the role of the token with this SHA-256; null if it is unknown or expired, or its '
	'role is gone or a superuser.';

CREATE TABLE webhook.audit (
	id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	role    name        NOT NULL DEFAULT current_user,
	login   name        NOT NULL DEFAULT session_user,
	action  text        NOT NULL,
	object  text,
	details text,
	via     text        NOT NULL
);
COMMENT ON TABLE webhook.audit IS
	'What was changed through the console and the HTTP API: a row for each write, made in its '
	'transaction. Nothing deletes from it; the owner may.';
COMMENT ON COLUMN webhook.audit.id IS 'Number of the row.';
COMMENT ON COLUMN webhook.audit.at IS 'When.';
COMMENT ON COLUMN webhook.audit.role IS 'With whose rights. It cannot be chosen.';
COMMENT ON COLUMN webhook.audit.login IS
	'Who was logged in: the same role, or for a token the role of pgwebhook serve.';
COMMENT ON COLUMN webhook.audit.action IS 'What was done, such as: change a subscription.';
COMMENT ON COLUMN webhook.audit.object IS 'To which subscription, source or token.';
COMMENT ON COLUMN webhook.audit.details IS 'The names of the fields that were given; no values.';
COMMENT ON COLUMN webhook.audit.via IS 'console or api.';
CREATE POLICY own ON webhook.audit
	USING (role IN (SELECT r.rolname FROM pg_catalog.pg_roles r
		WHERE pg_catalog.pg_has_role(r.oid, 'USAGE')));

CREATE FUNCTION webhook_internal.change_subscription(
	subscription text, changes jsonb, version text DEFAULT NULL
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	named   text[] := CASE WHEN jsonb_typeof(changes) = 'object'
		THEN ARRAY(SELECT jsonb_object_keys(changes)) END;
	changed integer;
	unknown text;
	is_now  text;
	list    text;
BEGIN
	SELECT s.xmin::text INTO is_now FROM webhook.subscription s
		WHERE s.name = change_subscription.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(change_subscription.subscription);
	END IF;
	IF is_now <> change_subscription.version THEN
		RAISE serialization_failure USING
			MESSAGE = format('subscription "%s" was changed meanwhile',
				change_subscription.subscription),
			DETAIL = 'It is not the version that was given.',
			HINT = 'Look at it as it is now, and make the change again.';
	END IF;
	IF named IS NULL THEN
		PERFORM webhook_internal.invalid_value('changes must be a JSON object',
			'It is null or of another type.', 'For example ''{"url": "https://host/path"}''.');
	END IF;
	SELECT k INTO unknown FROM unnest(named) k WHERE k NOT IN (SELECT a.attname FROM pg_attribute a
		WHERE a.attrelid = 'webhook.subscription'::regclass AND a.attnum > 0 AND NOT a.attisdropped
			AND a.attname NOT IN ('id', 'created_at', 'transform_owner')) LIMIT 1;
	IF FOUND THEN
		PERFORM webhook_internal.invalid_value(
			format('"%s" is not a column that can be changed', unknown),
			'Columns that can be changed are those of webhook.subscription but id, created_at and '
			'transform_owner.', 'docs/reference.md lists them.');
	END IF;
	IF named = '{}' THEN
		RETURN;
	END IF;
	-- why it was not active is no longer so
	IF changes ? 'state' AND NOT changes ? 'state_reason' THEN
		named := named || 'state_reason'::text;
	END IF;
	-- only the columns that are given: triggers look at which are
	list := (SELECT string_agg(quote_ident(k), ', ' ORDER BY k) FROM unnest(named) k);
	EXECUTE format('UPDATE webhook.subscription s SET (%1$s) = ROW(%2$s) '
			'FROM jsonb_populate_record(NULL::webhook.subscription, $2) n WHERE s.name = $1 '
			'AND ($3 IS NULL OR s.xmin::text = $3)', list,
			(SELECT string_agg('n.' || quote_ident(k), ', ' ORDER BY k) FROM unnest(named) k))
		USING change_subscription.subscription, changes, change_subscription.version;
	GET DIAGNOSTICS changed = ROW_COUNT;
	IF changed = 0 THEN
		RAISE serialization_failure USING
			MESSAGE = format('subscription "%s" was changed meanwhile',
				change_subscription.subscription),
			DETAIL = 'Another transaction changed it at the same time.',
			HINT = 'Look at it as it is now, and make the change again.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.change_subscription(text, jsonb, text) IS
	'Changes columns of a subscription, given as a JSON object. Text, intervals and jsonpath are '
	'strings, lists are arrays. version: its xmin as text, as it was when it was looked at; null: '
	'whatever it is. Error undefined_object if it does not exist, serialization_failure if it was '
	'changed meanwhile, invalid_parameter_value for an unknown column or an invalid value.';

-- Xsolla's call: a project is known by a subscription of profile xsolla that names it, and an event
-- type of it by the entity types and actions that such a subscription maps to it
CREATE FUNCTION webhook_internal.register(
	project_id text, event_type text, url text, OUT answer jsonb, OUT status integer
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	mapped jsonb;
	events text[];
	called text;
	many   integer;
BEGIN
	SELECT jsonb_object_agg(m.key, m.value), array_agg(DISTINCT m.key) INTO mapped, events
		FROM webhook.subscription s,
			jsonb_each_text(CASE WHEN jsonb_typeof(s.params -> 'event_types') = 'object'
				THEN s.params -> 'event_types' ELSE '{}' END) m
		WHERE s.profile = 'xsolla' AND lower(s.params ->> 'project_id') = lower(register.project_id)
			AND m.value = register.event_type;
	IF mapped IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = 'there is no such project, or it has no such event',
			DETAIL = 'No subscription with profile xsolla has this project_id and maps something '
				'to this event type.',
			HINT = 'Create one, with params project_id and event_types: docs/profiles.md.';
	END IF;
	IF register.url IS NULL THEN
		PERFORM webhook_internal.invalid_value('url must be given', 'The body has no url.',
			'Specify the endpoint as https://host/path.');
	END IF;
	answer := '{}';
	status := 200;
	IF EXISTS (SELECT FROM webhook.subscription s WHERE s.profile = 'xsolla'
			AND lower(s.params ->> 'project_id') = lower(register.project_id)
			AND s.params -> 'event_types' @> mapped AND s.url = register.url) THEN
		RETURN;
	END IF;
	-- one after another, so that the numbers differ and the limit holds
	PERFORM pg_advisory_xact_lock(hashtext('webhook.register'), hashtext(register.project_id));
	called := format('xsolla %s %s ', lower(register.project_id), register.event_type);
	SELECT count(*) INTO many FROM webhook.subscription s WHERE starts_with(s.name, called);
	IF many >= 100 THEN
		answer := jsonb_build_object('title', 'this event has 100 webhooks already');
		status := 429;
		RETURN;
	END IF;
	PERFORM webhook.subscribe(
		subscription => called || md5(register.url), url => register.url, events => events,
		profile => 'xsolla',
		params => jsonb_build_object('project_id', lower(register.project_id),
			'event_types', mapped));
END
$$;
COMMENT ON FUNCTION webhook_internal.register(text, text, text) IS
	'Registers a URL for an event type of a project, as Xsolla''s API does; twice is as once. '
	'status: 200, or 429 if the event has 100 webhooks already. Errors are those of '
	'webhook.subscribe(), and undefined_object for an unknown project or event type.';

--
-- What 1.0 has, and now knows of those
--

CREATE OR REPLACE FUNCTION webhook_internal.perform_privileged_call() RETURNS trigger
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
COMMENT ON COLUMN webhook_internal.privileged_call.name IS
	'Set it to the operation: set_secret, rotate_secret, set_credential, redeliver, replay, test, '
	'match, replay_preview or explain.';

CREATE OR REPLACE FUNCTION webhook_internal.apply_operator_isolation() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	what CONSTANT text := CASE WHEN EXISTS (SELECT FROM webhook_internal.operator_isolation)
		THEN 'ENABLE' ELSE 'DISABLE' END;
BEGIN
	EXECUTE format('ALTER TABLE webhook.subscription %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.pending %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.dead_letter %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.attempt %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.audit %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook_internal.stat_subscription %s ROW LEVEL SECURITY', what);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.isolate_operators(boolean) IS
	'Makes each subscription, its pending deliveries, its dead letters and its log visible only to '
	'members of the role that owns it, and the account of writes only to members of the role that '
	'made them, by row security; the owner of the extension and superusers '
	'see all. isolate => false: visible to all with the grants, as by default. Only the owner of '
	'the tables may call it: error insufficient_privilege otherwise.';
-- as it is for the other tables
DO $$
BEGIN
	IF EXISTS (SELECT FROM webhook_internal.operator_isolation) THEN
		ALTER TABLE webhook.audit ENABLE ROW LEVEL SECURITY;
	END IF;
END
$$;

CREATE OR REPLACE FUNCTION webhook_internal.role_privileges(
	kind text, OUT class text, OUT object text, OUT privilege text, OUT columns name[]
) RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH mine (columns) AS (
		-- not transform_owner, which a trigger writes; and not id and created_at: the log and the
		-- dead letters of a removed subscription go by its id
		SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
			WHERE a.attrelid = 'webhook.subscription'::regclass
				AND a.attnum > 0 AND NOT a.attisdropped
				AND a.attname NOT IN ('id', 'created_at', 'transform_owner')),
	-- a routine has its arguments if its name is not unique
	given (kind, class, privilege, columns, objects) AS (VALUES
		('operator', 'SCHEMA', 'USAGE', NULL::name[], '{webhook, webhook_internal}'::text[]),
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.subscription, webhook.profile,
			webhook.source, webhook.log, webhook.status, webhook.worker, webhook.attempt,
			webhook.pending, webhook.dead_letter, webhook_internal.privileged_call}'),
		-- what is counted: an operator's and a viewer's
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.stat_subscription, webhook.stat_worker,
			webhook.progress, webhook_internal.stat_subscription, webhook_internal.stat_worker}'),
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook.metrics, webhook_internal.progress}'),
		('viewer', 'TABLE', 'SELECT', NULL, '{webhook.stat_subscription, webhook.stat_worker,
			webhook.progress, webhook_internal.stat_subscription, webhook_internal.stat_worker}'),
		('viewer', 'ROUTINE', 'EXECUTE', NULL, '{webhook.metrics, webhook_internal.progress}'),
		('operator', 'TABLE', 'INSERT', (SELECT m.columns FROM mine m), '{webhook.subscription}'),
		('operator', 'TABLE', 'UPDATE', (SELECT m.columns FROM mine m), '{webhook.subscription}'),
		('operator', 'TABLE', 'DELETE', NULL, '{webhook.subscription, webhook.dead_letter}'),
		('operator', 'TABLE', 'UPDATE', '{name, arguments}', '{webhook_internal.privileged_call}'),
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook.subscribe, webhook.unsubscribe,
			webhook.pause, webhook.resume, webhook.rotate_secret, webhook.set_credential,
			webhook.redeliver, webhook.replay, webhook.purge_dead_letters, webhook.event_id,
			webhook.event_number, webhook.verify, webhook.test, webhook.enable_delivery(text),
			webhook.preview, webhook.match_preview,
			webhook.replay_preview, webhook.explain, webhook.search_log,
			webhook.create_api_token, webhook.revoke_api_token}'),
		('operator', 'TABLE', 'SELECT', '{name, role, created_at, created_by, expires_at,
			last_used_at}', '{webhook.api_token}'),
		('operator', 'TABLE', 'INSERT', '{name, role, digest, expires_at}', '{webhook.api_token}'),
		('operator', 'TABLE', 'DELETE', NULL, '{webhook.api_token}'),
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.audit}'),
		('operator', 'TABLE', 'INSERT', '{action, object, details, via}', '{webhook.audit}'),
		-- what those and the views call
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook_internal.counters,
			webhook_internal.worker_status, webhook_internal.undefined_subscription_error,
			webhook_internal.send_test, webhook_internal.sample_row, webhook_internal.test_result,
			webhook_internal.matches, webhook_internal.matches_content, webhook_internal.asks_for,
			webhook_internal.wrapped, webhook_internal.warn_undelivered,
			webhook_internal.require_own_transaction, webhook_internal.sample_event,
			webhook_internal.render_request, webhook_internal.check_url,
			webhook_internal.check_events, webhook_internal.undefined_profile_error,
			webhook_internal.invalid_value, webhook_internal.require_at_most,
			webhook_internal.log_cursor, webhook_internal.delivery, webhook_internal.why_pending,
			webhook_internal.register, webhook_internal.change_subscription}'),

		('viewer', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('viewer', 'TABLE', 'SELECT', NULL, '{webhook.log, webhook.status, webhook.worker,
			webhook.source, webhook.attempt}'),
		-- what the views read with the viewer's rights: names, states and numbers
		('viewer', 'TABLE', 'SELECT', '{id, name, state, state_reason}', '{webhook.subscription}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id, pending_since, state, next_attempt_at}',
			'{webhook.pending}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id}', '{webhook.dead_letter}'),
		('viewer', 'ROUTINE', 'EXECUTE', NULL, '{webhook.event_id, webhook.event_number,
			webhook.search_log, webhook_internal.log_cursor, webhook_internal.delivery,
			webhook_internal.counters, webhook_internal.worker_status}'),

		('watcher', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('watcher', 'TABLE', 'SELECT', NULL, '{webhook.source}'),
		('watcher', 'ROUTINE', 'EXECUTE', NULL, '{webhook.watch, webhook.unwatch,
			webhook_internal.check_source, webhook_internal.check_watch,
			webhook_internal.named_columns, webhook_internal.watched, webhook_internal.lock_source,
			webhook_internal.watch_as, webhook_internal.make_triggers, webhook_internal.tell_watch,
			webhook_internal.watch_done, webhook_internal.warn_undelivered}'),
		('watcher', 'TABLE', 'INSERT', '{action, object, details, via}', '{webhook.audit}'),

		-- of pgwebhook serve: whose token is this, and is the worker alive
		('service', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('service', 'ROUTINE', 'EXECUTE', NULL, '{webhook_internal.authenticate,
			webhook_internal.worker_status}'))
	SELECT g.class, o.object, g.privilege, g.columns FROM given g, unnest(g.objects) o(object)
		WHERE g.kind = role_privileges.kind
$$;
COMMENT ON FUNCTION webhook_internal.role_privileges(text) IS
	'The privileges of an operator, viewer, watcher or service: a row per object and privilege, '
	'with the columns if it is not for all.';
COMMENT ON FUNCTION webhook_internal.has_role_privileges(text, regrole) IS
	'Whether a role itself has been granted all privileges of this kind of role: operator, viewer, '
	'watcher or service.';

CREATE OR REPLACE FUNCTION webhook_internal.change_role_privileges(
	role regrole, kind text, granted boolean
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- the kinds share privileges, and the role keeps those that it has as another kind
	kept CONSTANT text[] := CASE
		WHEN change_role_privileges.granted THEN ARRAY[change_role_privileges.kind]
		ELSE ARRAY(SELECT k FROM unnest('{operator,viewer,watcher,service}'::text[]) k
			WHERE k <> change_role_privileges.kind
				AND webhook_internal.has_role_privileges(k, change_role_privileges.role)) END;
	statement text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = change_role_privileges.role) THEN
		RAISE undefined_object USING
			MESSAGE = 'role does not exist',
			DETAIL = format('There is no role with OID %s.',
				coalesce(change_role_privileges.role::oid::text, 'null')),
			HINT = 'Create it with CREATE ROLE.';
	END IF;
	IF EXISTS (SELECT FROM pg_namespace n
		WHERE n.oid = 'webhook'::regnamespace AND n.nspowner = change_role_privileges.role) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('role %s owns the extension', change_role_privileges.role),
			DETAIL = 'The owner always has all rights.',
			HINT = 'Name another role.';
	END IF;
	FOR statement IN SELECT format('%s %s%s ON %s %s %s %s', c.verb, p.privilege,
			(SELECT ' (' || string_agg(quote_ident(w), ', ') || ')' FROM unnest(p.columns) w),
			p.class, p.object, c.preposition, change_role_privileges.role)
		FROM (SELECT 1, 'REVOKE', 'FROM', change_role_privileges.kind
				WHERE NOT change_role_privileges.granted
			UNION ALL SELECT 2, 'GRANT', 'TO', k FROM unnest(kept) k) c(n, verb, preposition, kind),
			webhook_internal.role_privileges(c.kind) p
		ORDER BY c.n LOOP
		EXECUTE statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.change_role_privileges(regrole, text, boolean) IS
	'Grants or revokes the privileges of an operator, viewer, watcher or service. Privileges that '
	'the role also has as another of these are kept.';

CREATE FUNCTION webhook.grant_service(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'service', true); END $$;
COMMENT ON FUNCTION webhook.grant_service(regrole) IS
	'Lets a role be the --service-role of pgwebhook serve: it may ask whose token one is, and how '
	'the worker is, and nothing else. Make it a member of the roles that tokens have. Only the '
	'owner of the extension may call it. Error undefined_object if the role does not exist, '
	'object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.revoke_service(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'service', false); END $$;
COMMENT ON FUNCTION webhook.revoke_service(regrole) IS
	'Revokes what webhook.grant_service() granted. Only the owner of the extension may call it. '
	'Error undefined_object if the role does not exist, object_not_in_prerequisite_state if it '
	'owns the extension.';

--
-- Grants: nothing for anybody but the owner, and whoever had a role of 1.0 has that of 1.1
--

REVOKE ALL ON TABLE webhook.api_token, webhook.audit FROM PUBLIC;
REVOKE ALL ON SEQUENCE webhook.audit_id_seq FROM PUBLIC;
REVOKE ALL ON ROUTINE
	webhook_internal.render_request, webhook_internal.sample_event, webhook.preview,
	webhook_internal.match_as_owner, webhook.match_preview,
	webhook_internal.replay_preview_as_owner, webhook.replay_preview,
	webhook_internal.require_at_most, webhook_internal.why_pending,
	webhook_internal.explain_as_owner, webhook.explain, webhook_internal.log_cursor,
	webhook.search_log, webhook_internal.delivery, webhook.create_api_token,
	webhook.revoke_api_token, webhook_internal.authenticate,
	webhook_internal.change_subscription, webhook_internal.register, webhook.grant_service,
	webhook.revoke_service
	FROM PUBLIC;

SELECT webhook_internal.change_role_privileges((r ->> 0)::oid, r ->> 1, true)
	FROM pg_catalog.jsonb_array_elements(
		nullif(pg_catalog.current_setting('pgwebhook_update.roles'), '')::pg_catalog.jsonb) r;

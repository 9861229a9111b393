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

--
-- What a subscription may be: the rules that a constraint cannot say.
--

CREATE FUNCTION webhook_internal.check_url(url text) RETURNS void
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_url';
COMMENT ON FUNCTION webhook_internal.check_url(text) IS
	'Raises an error if an endpoint''s URL is not allowed: it is malformed, neither https nor '
	'(where allowed) http, contains credentials, or its host is a refused address.';

CREATE FUNCTION webhook_internal.check_template(
	kind text, template text, what text DEFAULT 'template'
) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_template';
COMMENT ON FUNCTION webhook_internal.check_template(text, text, text) IS
	'Raises an error, with position and reason, if a template (kind: envelope or header) does not '
	'follow the language of docs/profiles.md. what: how the message names the template.';

CREATE FUNCTION webhook_internal.check_signing(profile webhook.profile) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_signing';
COMMENT ON FUNCTION webhook_internal.check_signing(webhook.profile) IS
	'Raises an error, with the reason, if the signature columns of a profile do not describe a '
	'signature.';

CREATE FUNCTION webhook_internal.undefined_profile_error(name text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('profile "%s" does not exist', undefined_profile_error.name),
		DETAIL = (SELECT format('Available profiles: %s.', string_agg(p.name, ', ' ORDER BY p.name))
			FROM webhook.profile p),
		HINT = 'SELECT name, description FROM webhook.profile shows what each sends.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_profile_error(text) IS
	'Raises undefined_object for the name of a profile.';

CREATE FUNCTION webhook_internal.require_not_null(relation regclass, new_row jsonb) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	col name;
BEGIN
	SELECT a.attname INTO col FROM pg_attribute a
		WHERE a.attrelid = relation AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
			AND new_row -> a.attname::text = 'null'
		ORDER BY a.attnum LIMIT 1;
	IF FOUND THEN
		RAISE not_null_violation USING
			MESSAGE = format('column "%s" of %s must not be null', col, relation),
			DETAIL = 'A null value was given.',
			HINT = 'Omit the column to use its default, or give it a value.',
			COLUMN = col::text;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_not_null(regclass, jsonb) IS
	'Raises not_null_violation naming only the column. The server''s own message would quote the '
	'whole row, with its URL, headers or secret.';

CREATE FUNCTION webhook_internal.invalid_value(message text, detail text, hint text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE invalid_parameter_value USING
		MESSAGE = invalid_value.message,
		DETAIL = invalid_value.detail,
		HINT = invalid_value.hint;
END
$$;
COMMENT ON FUNCTION webhook_internal.invalid_value(text, text, text) IS
	'Raises invalid_parameter_value with this message, detail and hint.';

-- Inlined, with matches(), into the queries that call it. "*" does not match webhook_subscription:
-- those events are about other subscriptions, and asking for all events of the application is not
-- asking for them.
CREATE FUNCTION webhook_internal.asks_for(events text[], entity_type text, action_type text)
	RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE
		WHEN events IS NULL THEN entity_type <> 'webhook_subscription'
		ELSE events && (ARRAY[entity_type || '.' || action_type, entity_type || '.*']
			|| CASE WHEN entity_type <> 'webhook_subscription'
				THEN ARRAY['*.' || action_type, '*.*'] END)
	END;
COMMENT ON FUNCTION webhook_internal.asks_for(text[], text, text) IS
	'Whether a subscription with these event patterns asks for this entity type and action type.';

CREATE FUNCTION webhook_internal.check_events(events text[]) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pattern text;
	entity text;
	action text;
	wrong text;
	hint text;
BEGIN
	FOREACH pattern IN ARRAY coalesce(check_events.events, '{}') LOOP
		entity := substring(pattern FROM '^(.*)\.');
		action := substring(pattern FROM '[^.]*$');
		wrong := NULL;
		hint := 'To match any, use *: "user.*", "*.delete".';
		IF entity IS NULL THEN
			wrong := 'It has no dot. A pattern is entity_type.action_type; either part may be *.';
			hint := CASE
				WHEN pattern IN ('*', '') THEN 'Set events to null to receive all events.'
				ELSE format('For all events of this entity type use "%s.*".', pattern)
			END;
		ELSIF entity = '' THEN
			wrong := 'Its entity type, before the last dot, is empty.';
		ELSIF action = '' THEN
			wrong := 'Its action type, after the last dot, is empty.';
		ELSIF action NOT IN ('new', 'update', 'delete', 'truncate', 'test', '*') THEN
			wrong := format('"%s" is not an action type. Valid action types are new, update, '
				'delete, truncate and test; * matches any.', action);
			hint := format('For example "%s.new". For all events of an entity type "%s" '
				'use "%s.*".', entity, pattern, pattern);
		END IF;
		IF wrong IS NOT NULL THEN
			PERFORM webhook_internal.invalid_value(
				format('invalid event pattern "%s"', left(pattern, 200)), wrong, left(hint, 500));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
	'Raises an error naming the pattern if one of a subscription''s event patterns can match '
	'nothing.';

CREATE FUNCTION webhook_internal.check_retry(retry_schedule interval[], give_up_after interval)
	RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF cardinality(retry_schedule) NOT BETWEEN 1 AND 32 OR array_ndims(retry_schedule) > 1
		OR array_position(retry_schedule, NULL) IS NOT NULL
		OR EXISTS (SELECT FROM unnest(retry_schedule) w
			WHERE w NOT BETWEEN interval '100 ms' AND interval '30 days') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'invalid retry_schedule',
			DETAIL = 'It must be a list of 1 to 32 intervals, each from 100 milliseconds to '
				'30 days.',
			HINT = 'For example ''{5s,5min,30min,2h}''; the last interval repeats until '
				'give_up_after.';
	END IF;
	IF give_up_after NOT BETWEEN interval '0' AND interval '365 days' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'give_up_after is out of range',
			DETAIL = format('%s was given; the range is 0 to 365 days.', give_up_after),
			HINT = 'The default is 3 days.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_retry(interval[], interval) IS
	'Raises an error if a retry schedule or give_up_after is invalid. Nulls are valid.';

CREATE FUNCTION webhook_internal.param_error(name text, rule jsonb, given jsonb) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type CONSTANT text := rule ->> 'type';
	json_type CONSTANT text := CASE type WHEN 'uuid' THEN 'string' WHEN 'event_types' THEN 'object'
		ELSE type END;
	members CONSTANT jsonb := CASE WHEN jsonb_typeof(given) = 'object' THEN given ELSE '{}' END;
	other text;
BEGIN
	IF given IS NULL OR given = 'null' THEN
		RETURN CASE WHEN (rule ->> 'required')::boolean
			THEN format('params.%s is missing.', name) END;
	END IF;
	IF json_type <> jsonb_typeof(given)
		OR type = 'uuid' AND given ->> 0 !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		-- a header made of it would be left out: CloudEvents without a source
		OR type = 'string' AND given = '""' THEN
		RETURN format('params.%s must be %s.', name, CASE type
			WHEN 'uuid' THEN 'a UUID as a string' WHEN 'string' THEN 'a non-empty string'
			WHEN 'object' THEN 'an object' WHEN 'event_types' THEN 'an object'
			WHEN 'array' THEN 'an array' ELSE 'a ' || type END);
	END IF;
	IF type = 'event_types' THEN
		SELECT k INTO other FROM jsonb_object_keys(members) k
			WHERE k !~ '.[.](new|update|delete|truncate|test)$' OR k LIKE '*.%' ORDER BY k LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has the key "%s", which is not of the form '
				'entity_type.action_type, such as user.new.', name, left(other, 100));
		END IF;
	END IF;
	IF rule ? 'values' THEN
		SELECT g.value::text INTO other
			FROM (SELECT o.value FROM jsonb_each(members) o
				UNION ALL SELECT given WHERE jsonb_typeof(given) <> 'object') g
			WHERE NOT rule -> 'values' @> jsonb_build_array(g.value) ORDER BY g.value LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has %s, which is none of %s.', name, left(other, 100),
				(SELECT string_agg(w, ', ' ORDER BY n)
					FROM jsonb_array_elements_text(rule -> 'values') WITH ORDINALITY v(w, n)));
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.param_error(text, jsonb, jsonb) IS
	'What is wrong with one of a subscription''s params by its profile''s rule, as a sentence. '
	'Null: nothing.';

CREATE FUNCTION webhook_internal.check_profile_use(
	profile webhook.profile, subscription webhook.subscription
) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	header text;
	wrong text;
BEGIN
	SELECT h INTO header FROM jsonb_object_keys(subscription.headers) h
		WHERE lower(h) IN (SELECT lower(x) FROM jsonb_object_keys(profile.headers) x
			UNION ALL SELECT lower(x) FROM unnest(ARRAY[
				profile.signature_header, profile.id_header, profile.timestamp_header]) x)
		ORDER BY h LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('invalid request header "%s"', header),
			DETAIL = format('Profile "%s" sets this header itself.', profile.name),
			HINT = 'Remove it from headers.';
	END IF;
	SELECT x.wrong INTO wrong FROM (
		SELECT 1, format('url has %s characters; this profile allows %s.',
				length(subscription.url), profile.max_url_length)
			WHERE length(subscription.url) > profile.max_url_length
		UNION ALL SELECT 2, 'batch_size is greater than 1, but this profile sends one event per '
				'request: its batch_envelope is null.'
			WHERE subscription.batch_size > 1 AND profile.batch_envelope IS NULL
		UNION ALL SELECT 3,
				webhook_internal.param_error(r.key, r.value, subscription.params -> r.key)
			FROM jsonb_each(profile.params) r
		UNION ALL SELECT 4, CASE WHEN e IS NULL
				THEN format('events must name each event, and each must be a key of params.%s.',
					r.key)
				ELSE format('events has "%s", which is not a key of params.%s.', e, r.key) END
			FROM jsonb_each(profile.params) r
				CROSS JOIN LATERAL unnest(coalesce(subscription.events, ARRAY[NULL::text])) e
			WHERE (r.value ->> 'covers_events')::boolean
				AND NOT coalesce(subscription.params -> r.key ? e, false)
		ORDER BY 1, 2) x(n, wrong) WHERE x.wrong IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" does not meet the requirements of profile "%s"',
				subscription.name, profile.name),
			DETAIL = wrong,
			HINT = 'SELECT max_url_length, batch_envelope, params FROM webhook.profile shows the '
				'requirements. webhook.copy_profile() makes a profile that you can change.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_profile_use(webhook.profile, webhook.subscription) IS
	'Raises an error naming the field if a subscription''s url, batch_size, params, events or '
	'headers do not meet the requirements of its profile.';

CREATE FUNCTION webhook_internal.without_previous(events text[], action_types text[]) RETURNS text
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT string_agg(s.source::text, ', ' ORDER BY s.source::text) FROM webhook.source s
		WHERE NOT s.keep_previous AND EXISTS (SELECT FROM unnest(without_previous.action_types) a
			WHERE a = ANY (s.action_types)
				AND webhook_internal.asks_for(without_previous.events, s.entity_type, a)));
END
$$;
COMMENT ON FUNCTION webhook_internal.without_previous(text[], text[]) IS
	'The tables that are watched for one of these action types without keep_previous, and whose '
	'events of that type these patterns ask for. Null: none.';

CREATE FUNCTION webhook_internal.check_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word text;
	h record;
	p webhook.profile;
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = NEW.profile;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_profile_error(NEW.profile);
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.retry_schedule := coalesce(NEW.retry_schedule, p.retry_schedule,
			'{5s,5min,30min,2h,5h,10h}');
		NEW.give_up_after := coalesce(NEW.give_up_after, p.give_up_after, interval '3 days');
	END IF;
	-- First, and by an expression that is not a statement: a refused URL may contain a password,
	-- which must not be logged.
	IF NEW.url IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.url IS DISTINCT FROM OLD.url) THEN
		word := webhook_internal.check_url(NEW.url);
	END IF;
	PERFORM webhook_internal.require_not_null(TG_RELID, to_jsonb(NEW) - 'name' - 'url');
	IF (length(NEW.name) BETWEEN 1 AND 200) IS NOT TRUE THEN
		PERFORM webhook_internal.invalid_value('subscription name must have 1 to 200 characters',
			format('The name has %s characters.', coalesce(length(NEW.name), 0)),
			'Name it after the service that receives the events.');
	END IF;
	IF NEW.url IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'url must not be null',
			DETAIL = 'A subscription needs an endpoint.',
			HINT = 'Specify the endpoint as https://host/path.';
	END IF;
	-- scheme, host and port: who receives what is sent with each request
	IF TG_OP = 'UPDATE' AND substring(NEW.url FROM '^[^/]*//[^/?#]*')
		IS DISTINCT FROM substring(OLD.url FROM '^[^/]*//[^/?#]*') THEN
		PERFORM webhook_internal.guard_credentials(NEW.id, 'url''s origin');
	END IF;
	PERFORM webhook_internal.invalid_value(w.message, w.detail, w.hint) FROM (
		SELECT format('%s must %s', l.name, r.rule), r.detail, r.hint
			FROM (VALUES ('events', NEW.events), ('changed_columns', NEW.changed_columns),
				('exclude_origins', NEW.exclude_origins)) l(name, list)
			CROSS JOIN LATERAL (
				SELECT 'be a one-dimensional array', 'An array of arrays was given.',
						'For example ''{order.new,user.*}'' for events, ''{status,email}'' for '
						'changed_columns.'
					WHERE array_ndims(l.list) > 1
				UNION ALL SELECT 'not be empty or contain nulls',
						'An empty list matches nothing, and a null in it has no meaning.',
						'Set it to null to receive all events.'
					WHERE cardinality(l.list) = 0 OR array_position(
						CASE WHEN array_ndims(l.list) = 1 THEN l.list END, NULL) IS NOT NULL
			) r(rule, detail, hint)
		UNION ALL SELECT format('%s is out of range', r.name),
				format('%s was given; the range is %s.', r.given, r.range), r.hint
			FROM (VALUES
				('max_in_flight', NEW.max_in_flight BETWEEN 1 AND 1000, NEW.max_in_flight::text,
					'1 to 1000 requests', 'The default is 50.'),
				('rate_limit', NEW.rate_limit BETWEEN 1 AND 100000, NEW.rate_limit::text,
					'1 to 100000 requests per second', 'Set it to null for no limit.'),
				('batch_size', NEW.batch_size BETWEEN 1 AND 1000, NEW.batch_size::text,
					'1 to 1000 events', 'The default is 1: one event per request.'),
				('timeout', NEW.timeout BETWEEN interval '100 ms' AND interval '10 minutes',
					NEW.timeout::text, '100 milliseconds to 10 minutes',
					'The default is 15 seconds.')
			) r(name, fits, given, range, hint) WHERE NOT r.fits
		UNION ALL SELECT format('unknown ordering "%s"', NEW.ordering),
				'Valid orderings are entity, none and strict.',
				'The default is entity: deliveries of one entity go one after another.'
			WHERE NEW.ordering NOT IN ('entity', 'none', 'strict')
		UNION ALL SELECT format('unknown state "%s"', NEW.state),
				'Valid states are active, paused, disabled and inactive.',
				'Use webhook.pause() and webhook.resume().'
			WHERE NEW.state NOT IN ('active', 'paused', 'disabled', 'inactive')
		LIMIT 1) w(message, detail, hint);
	IF TG_OP = 'INSERT' OR NEW.events IS DISTINCT FROM OLD.events THEN
		PERFORM webhook_internal.check_events(NEW.events);
	END IF;
	PERFORM webhook_internal.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.changed_columns IS NOT NULL AND (TG_OP = 'INSERT'
			OR NEW.changed_columns IS DISTINCT FROM OLD.changed_columns
			OR NEW.events IS DISTINCT FROM OLD.events) THEN
		word := webhook_internal.without_previous(NEW.events, '{update}');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'changed_columns does not filter the updates of every source',
				DETAIL = format('These tables are watched without keep_previous, so what an '
					'update changed is not known: %s.', word),
				HINT = 'Watch them with keep_previous => true. Until then all their updates are '
					'sent.';
		END IF;
	END IF;
	IF NEW.filter IS NOT NULL
		AND (TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text) THEN
		-- a predicate is true, false or unknown whatever it is evaluated on; anything else yields
		-- nothing here
		BEGIN
			PERFORM jsonb_path_match('{}', NEW.filter);
		EXCEPTION WHEN OTHERS THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'invalid filter',
				DETAIL = format('A filter must be a jsonpath predicate, true or false for any '
					'event. On an empty event it failed: %s.', SQLERRM),
				HINT = 'For example ''$.result.total > 100'' or ''exists($.previous.status)''.';
		END;
		-- as the server writes a path: each member's name in quotes
		SELECT string_agg(DISTINCT format('"%s"', m[1]), ', ') INTO word
			FROM regexp_matches(NEW.filter::text, '[$][.]"([^"]*)"', 'g') m
			WHERE m[1] NOT IN ('result', 'previous', 'entity_type', 'action_type', 'tenant',
				'context');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'filter uses a member that no event has',
				DETAIL = format('It uses %s. Events have result, previous, entity_type, '
					'action_type, tenant and context.', word),
				HINT = 'Columns of the row are members of result, as in $.result.total.';
		END IF;
	END IF;
	IF NEW.filter::text ~ '[$][.]"previous"' AND (TG_OP = 'INSERT'
			OR NEW.filter::text IS DISTINCT FROM OLD.filter::text
			OR NEW.events IS DISTINCT FROM OLD.events) THEN
		word := webhook_internal.without_previous(NEW.events, '{update,delete}');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'filter uses $.previous, which not every source keeps',
				DETAIL = format('These tables are watched without keep_previous: %s.', word),
				HINT = 'Watch them with keep_previous => true. Until then the filter finds no '
					'previous values.';
		END IF;
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR jsonb_typeof(NEW.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers and params must be JSON objects',
			DETAIL = format('headers is of type %s, params of type %s.',
				jsonb_typeof(NEW.headers), jsonb_typeof(NEW.params)),
			HINT = 'For example ''{"X-Environment": "production"}''.';
	END IF;
	FOR h IN SELECT key, value, NEW.headers -> key AS json FROM jsonb_each_text(NEW.headers) LOOP
		IF h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' OR jsonb_typeof(h.json) <> 'string'
			OR h.value ~ '[\x01-\x08\x0a-\x1f\x7f]' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('invalid request header "%s"', h.key),
				DETAIL = 'A header name consists of letters, digits and hyphens; its value is a '
					'string without control characters.',
				HINT = 'See RFC 9110, section 5.';
		END IF;
		IF lower(h.key) ~ '^(webhook-.*|content-length|content-type|host|transfer-encoding'
			'|connection|expect)$' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('invalid request header "%s"', h.key),
				DETAIL = 'The worker sets this header itself.',
				HINT = 'Remove it from headers.';
		END IF;
	END LOOP;
	IF TG_OP = 'INSERT'
		OR (NEW.profile, NEW.url, NEW.headers, NEW.params, NEW.batch_size, NEW.events)
		IS DISTINCT FROM
			(OLD.profile, OLD.url, OLD.headers, OLD.params, OLD.batch_size, OLD.events) THEN
		PERFORM webhook_internal.check_profile_use(p, NEW);
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscription() IS
	'Checks a row of webhook.subscription, with the same errors for the functions and for direct '
	'writes. Runs as the owner, so the caller needs no rights on what it reads.';

-- apart from the others, because it must not be SECURITY DEFINER: it asks who the current user is
CREATE FUNCTION webhook_internal.check_owner() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- what ALTER TABLE ... OWNER TO requires: since 16 a membership can come without it
	how CONSTANT text := CASE WHEN current_setting('server_version_num')::integer >= 160000
		THEN 'SET' ELSE 'MEMBER' END;
BEGIN
	IF TG_OP = 'UPDATE' AND NEW.owner IS NOT DISTINCT FROM OLD.owner THEN
		RETURN NEW;
	END IF;
	-- a superuser may name any role, also (restoring a dump) one that does not exist
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
		AND NOT EXISTS (SELECT FROM pg_roles r
			WHERE r.rolname = NEW.owner AND pg_has_role(r.oid, how)) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to make it the owner of a subscription',
				NEW.owner),
			DETAIL = 'A subscription acts on behalf of its owner.',
			HINT = 'Omit owner to own the subscription yourself.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_owner() IS
	'Raises an error unless the current user could SET ROLE to the owner of a subscription.';

CREATE FUNCTION webhook_internal.check_transform() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- who could SET ROLE to the owner has the owner's rights anyway
	how CONSTANT text := CASE WHEN current_setting('server_version_num')::integer >= 160000
		THEN 'SET' ELSE 'MEMBER' END;
	part text[];
	f record;
BEGIN
	IF NEW.transform IS NULL THEN
		NEW.transform_owner := NULL;
		RETURN NEW;
	END IF;
	BEGIN
		part := parse_ident(NEW.transform);
	EXCEPTION WHEN invalid_parameter_value THEN
		part := NULL; -- not a name, so not that of a function
	END;
	SELECT p.proowner, r.rolname,
			p.prorettype = 'json'::regtype AND NOT p.proretset AND p.prokind = 'f' AS fits INTO f
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			JOIN pg_roles r ON r.oid = p.proowner
		WHERE cardinality(part) = 2 AND n.nspname = part[1] AND p.proname = part[2]
			AND p.pronargs = 1 AND p.proargtypes[0] = 'webhook.outbox'::regtype;
	-- A dump may name a function that had been dropped before; that must not keep the other
	-- subscriptions from being restored.
	IF f IS NULL AND TG_OP = 'INSERT' AND NEW.transform_owner IS NOT NULL
		AND EXISTS (SELECT FROM pg_roles r WHERE (r.rolname = current_user AND r.rolsuper)
			OR (r.rolname = NEW.transform_owner AND pg_has_role(r.oid, how))) THEN
		RETURN NEW;
	END IF;
	IF f IS NULL OR NOT f.fits THEN
		RAISE undefined_function USING
			MESSAGE = format('invalid transform "%s"', NEW.transform),
			DETAIL = 'There is no function of this name that takes one argument of type '
				'webhook.outbox and returns json.',
			HINT = 'Give its name with the schema and without arguments, such as public.for_crm.';
	END IF;
	IF NOT pg_has_role(f.proowner, how) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to use its function as a transform',
				f.rolname),
			DETAIL = 'A transform runs with the rights of its owner.',
			HINT = 'Create a function of your own; it may call this one.';
	END IF;
	NEW.transform := format('%I.%I', part[1], part[2]);
	-- Restored with another owner it is not called: its author must not gain rights this way.
	IF TG_OP = 'UPDATE' OR NEW.transform_owner IS NULL THEN
		NEW.transform_owner := f.rolname;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_transform() IS
	'Raises an error unless transform names a function that fits and whose owner the current user '
	'could SET ROLE to.';

-- Not SECURITY DEFINER: only those who may look up what is watched are told. Per statement, not per
-- row: ten thousand subscriptions inserted at once are checked once.
CREATE FUNCTION webhook_internal.notice_unwatched() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	asked text[];
	unwatched text[];
	watched text[];
	n integer;
BEGIN
	IF NOT has_table_privilege('webhook.source', 'SELECT') THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'INSERT' THEN
		asked := ARRAY(SELECT DISTINCT p FROM made n, unnest(n.events) p);
	ELSE
		asked := ARRAY(SELECT DISTINCT p
			FROM made n JOIN before b ON b.id = n.id, unnest(n.events) p
			WHERE n.events IS DISTINCT FROM b.events);
	END IF;
	IF asked = '{}' THEN
		RETURN NULL;
	END IF;
	watched := ARRAY(SELECT DISTINCT s.entity_type FROM webhook.source s
		WHERE s.entity_type IS NOT NULL ORDER BY 1);
	unwatched := ARRAY(SELECT DISTINCT t FROM unnest(asked) p, substring(p FROM '^(.*)\.') t
		WHERE t NOT IN ('*', 'webhook_subscription') AND t <> ALL (watched) ORDER BY t);
	n := cardinality(unwatched);
	IF n > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('no table is watched as %s%s',
				(SELECT string_agg(format('"%s"', t), ', ') FROM unnest(unwatched[:10]) t),
				CASE WHEN n > 10 THEN format(' and %s more', n - 10) END),
			DETAIL = CASE WHEN watched = '{}' THEN 'No table is watched yet.'
				ELSE format('Watched entity types: %s%s.', array_to_string(watched[:20], ', '),
					CASE WHEN cardinality(watched) > 20 THEN ', ...' END) END,
			HINT = format('Watch a table under this name to make such events: '
				'SELECT webhook.watch(''some_table'', %L).', unwatched[1]);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.notice_unwatched() IS
	'Raises a NOTICE if a subscription asks for an entity type that no source has; it may be '
	'misspelt.';

CREATE FUNCTION webhook_internal.after_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped bigint;
	dead bigint;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO webhook.secret (subscription_id, secret, generated)
			SELECT NEW.id, webhook_internal.generate_secret(p), true
			FROM webhook.profile p WHERE p.name = NEW.profile;
		-- an id given explicitly, as by a restore of the rows alone: the sequence goes on after it
		PERFORM setval('webhook.subscription_id_seq', NEW.id)
			FROM webhook.subscription_id_seq q WHERE NEW.id > q.last_value;
	ELSIF TG_OP = 'UPDATE' THEN
		PERFORM webhook_internal.check_secret(p,
				webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
			FROM webhook.profile p, webhook.secret k
			WHERE p.name = NEW.profile AND k.subscription_id = NEW.id;
	ELSE
		DELETE FROM webhook.pending p WHERE p.subscription_id = OLD.id;
		GET DIAGNOSTICS dropped = ROW_COUNT;
		DELETE FROM webhook_internal.breaker_notice t WHERE t.subscription_id = OLD.id;
		DELETE FROM webhook_internal.stat_subscription t WHERE t.subscription_id = OLD.id;
		dead := (SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = OLD.id);
		IF dropped > 0 OR dead > 0 THEN
			RAISE NOTICE USING
				MESSAGE = format('removed subscription "%s" and %s pending deliveries',
					OLD.name, dropped),
				DETAIL = format('The pending deliveries will not be sent. %s dead letters are '
					'kept.', dead),
				HINT = 'Roll back to keep the subscription. webhook.purge_dead_letters() removes '
					'dead letters.';
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_subscription() IS
	'Gives a new subscription a secret, checks the secrets of one whose profile changed, and '
	'deletes the pending deliveries of one that is removed.';

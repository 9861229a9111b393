--
-- What a subscription may be: the rules that a constraint cannot say.
--

CREATE FUNCTION webhook_internal.check_url(url text) RETURNS void
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_url';
COMMENT ON FUNCTION webhook_internal.check_url(text) IS
	'raises an error where an endpoint''s URL may not be used: no URL, neither https nor (where '
	'allowed) http, credentials in it, a refused address as its host';

CREATE FUNCTION webhook_internal.check_template(kind text, template text, what text DEFAULT 'the template') RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_template';
COMMENT ON FUNCTION webhook_internal.check_template(text, text, text) IS
	'raises an error, with the position and the reason, where a template (kind envelope or '
	'header) is not of the language of docs/profiles.md. what: its name in the message';

CREATE FUNCTION webhook_internal.check_signing(profile webhook.profile) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_signing';
COMMENT ON FUNCTION webhook_internal.check_signing(webhook.profile) IS
	'raises an error, with the reason, where the signature columns of a profile describe no way '
	'to sign';

CREATE FUNCTION webhook_internal.undefined_profile_error(name text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('webhook profile "%s" does not exist', undefined_profile_error.name),
		DETAIL = (SELECT format('Profiles: %s.', string_agg(p.name, ', ' ORDER BY p.name)) FROM webhook.profile p),
		HINT = 'SELECT name, description FROM webhook.profile shows what each sends.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_profile_error(text) IS
	'raises the error undefined_object for a profile''s name';

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
			DETAIL = 'A null was given for it.',
			HINT = 'Leave the column out to have its default, or give it a value.',
			COLUMN = col::text;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_not_null(regclass, jsonb) IS
	'raises not_null_violation naming the column only: the server''s own message would quote the '
	'whole row, with URL, headers or secret';

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
	'raises the error invalid_parameter_value: what a constraint would say in its own words';

-- With matches() inlined into the queries that ask. "*" is no word for webhook_subscription: those events are about
-- other subscriptions, and who has all events of the application has not asked for them.
CREATE FUNCTION webhook_internal.asks_for(events text[], entity_type text, action_type text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE
		WHEN events IS NULL THEN entity_type <> 'webhook_subscription'
		ELSE events && (ARRAY[entity_type || '.' || action_type, entity_type || '.*']
			|| CASE WHEN entity_type <> 'webhook_subscription'
				THEN ARRAY['*.' || action_type, '*.*'] END)
	END;
COMMENT ON FUNCTION webhook_internal.asks_for(text[], text, text) IS
	'does a subscription with these events ask for this entity type and action type?';

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
		hint := 'For any, write *: "user.*", "*.delete".';
		IF entity IS NULL THEN
			wrong := 'It has no dot. A pattern is entity_type.action_type, either of which may be *.';
			hint := CASE
				WHEN pattern IN ('*', '') THEN 'Leave events null to receive all.'
				ELSE format('For all events of the entity type write "%s.*".', pattern)
			END;
		ELSIF entity = '' THEN
			wrong := 'Its entity type, before the last dot, is empty.';
		ELSIF action = '' THEN
			wrong := 'Its action type, behind the last dot, is empty.';
		ELSIF action NOT IN ('new', 'update', 'delete', 'truncate', 'test', '*') THEN
			wrong := format('"%s" is no action type. There are new, update, delete, truncate and test, and * for any.', action);
			hint := format('For example "%s.new". All events of an entity type "%s" are "%s.*".', entity, pattern, pattern);
		END IF;
		IF wrong IS NOT NULL THEN
			PERFORM webhook_internal.invalid_value(format('event pattern "%s" is not usable', left(pattern, 200)), wrong, left(hint, 500));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
	'raises an error, which names the pattern, where a subscription''s events could match nothing';

CREATE FUNCTION webhook_internal.check_retry(retry_schedule interval[], give_up_after interval) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF cardinality(retry_schedule) NOT BETWEEN 1 AND 32 OR array_ndims(retry_schedule) > 1
		OR array_position(retry_schedule, NULL) IS NOT NULL
		OR EXISTS (SELECT FROM unnest(retry_schedule) w WHERE w NOT BETWEEN interval '100 ms' AND interval '30 days') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'retry_schedule is not usable',
			DETAIL = 'It is a list of 1 to 32 intervals, each from 100 milliseconds to 30 days.',
			HINT = 'For example ''{5s,5min,30min,2h}''; the last one repeats until give_up_after.';
	END IF;
	IF give_up_after NOT BETWEEN interval '0' AND interval '365 days' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'give_up_after is out of range',
			DETAIL = format('%s was given; it is from 0 to 365 days.', give_up_after),
			HINT = 'The default is 3 days.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_retry(interval[], interval) IS
	'raises an error where a retry schedule, or how long it lasts, is not usable; nulls are';

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
		RETURN CASE WHEN (rule ->> 'required')::boolean THEN format('params.%s is missing.', name) END;
	END IF;
	IF json_type <> jsonb_typeof(given)
		OR type = 'uuid' AND given ->> 0 !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		-- a header made of it would be left out: CloudEvents without a source
		OR type = 'string' AND given = '""' THEN
		RETURN format('params.%s must be %s.', name, CASE type
			WHEN 'uuid' THEN 'a string that is a UUID' WHEN 'string' THEN 'a string that is not empty'
			WHEN 'object' THEN 'an object' WHEN 'event_types' THEN 'an object'
			WHEN 'array' THEN 'an array' ELSE 'a ' || type END);
	END IF;
	IF type = 'event_types' THEN
		SELECT k INTO other FROM jsonb_object_keys(members) k
			WHERE k !~ '.[.](new|update|delete|truncate|test)$' OR k LIKE '*.%' ORDER BY k LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has the key "%s", which is no entity_type.action_type such as user.new.',
				name, left(other, 100));
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
	'what is wrong with one of a subscription''s params by its profile''s rule, as a sentence; '
	'null: nothing';

CREATE FUNCTION webhook_internal.check_profile_use(profile webhook.profile, subscription webhook.subscription) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	header text;
	wrong text;
BEGIN
	SELECT h INTO header FROM jsonb_object_keys(subscription.headers) h
		WHERE lower(h) IN (SELECT lower(x) FROM jsonb_object_keys(profile.headers) x
			UNION ALL SELECT lower(x) FROM unnest(ARRAY[profile.signature_header, profile.id_header, profile.timestamp_header]) x)
		ORDER BY h LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('request header "%s" is not usable', header),
			DETAIL = format('Profile "%s" sets this header itself.', profile.name),
			HINT = 'Leave it out of headers.';
	END IF;
	SELECT x.wrong INTO wrong FROM (
		SELECT 1, format('url has %s characters, and this profile allows %s.', length(subscription.url), profile.max_url_length)
			WHERE length(subscription.url) > profile.max_url_length
		UNION ALL SELECT 2, 'batch_size is more than 1, and this profile sends one event per request: its batch_envelope is null.'
			WHERE subscription.batch_size > 1 AND profile.batch_envelope IS NULL
		UNION ALL SELECT 3, webhook_internal.param_error(r.key, r.value, subscription.params -> r.key) FROM jsonb_each(profile.params) r
		UNION ALL SELECT 4, CASE WHEN e IS NULL
				THEN format('events must be named one by one, each a key of params.%s.', r.key)
				ELSE format('events has "%s", which is no key of params.%s.', e, r.key) END
			FROM jsonb_each(profile.params) r
				CROSS JOIN LATERAL unnest(coalesce(subscription.events, ARRAY[NULL::text])) e
			WHERE (r.value ->> 'covers_events')::boolean AND NOT coalesce(subscription.params -> r.key ? e, false)
		ORDER BY 1, 2) x(n, wrong) WHERE x.wrong IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" is not as profile "%s" asks for', subscription.name, profile.name),
			DETAIL = wrong,
			HINT = 'SELECT max_url_length, batch_envelope, params FROM webhook.profile shows what a profile asks for; webhook.copy_profile() makes one of your own.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_profile_use(webhook.profile, webhook.subscription) IS
	'raises an error, which names the field, where a subscription''s url, batch_size, params, events '
	'or headers are not as its profile asks for';

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
		NEW.retry_schedule := coalesce(NEW.retry_schedule, p.retry_schedule, '{5s,5min,30min,2h,5h,10h}');
		NEW.give_up_after := coalesce(NEW.give_up_after, p.give_up_after, interval '3 days');
	END IF;
	-- first, and by an expression that is no statement: what is refused may hold a password, and is not to be logged
	IF NEW.url IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.url IS DISTINCT FROM OLD.url) THEN
		word := webhook_internal.check_url(NEW.url);
	END IF;
	PERFORM webhook_internal.require_not_null(TG_RELID, to_jsonb(NEW) - 'name' - 'url');
	IF (length(NEW.name) BETWEEN 1 AND 200) IS NOT TRUE THEN
		PERFORM webhook_internal.invalid_value('a subscription needs a name of 1 to 200 characters',
			format('The name given has %s characters.', coalesce(length(NEW.name), 0)),
			'Name it after the service that receives the events.');
	END IF;
	IF NEW.url IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a subscription needs a URL',
			DETAIL = 'The URL given is null.',
			HINT = 'Give the endpoint as https://host/path.';
	END IF;
	-- scheme, host and port: who gets what is sent with each request
	IF TG_OP = 'UPDATE' AND substring(NEW.url FROM '^[^/]*//[^/?#]*') IS DISTINCT FROM substring(OLD.url FROM '^[^/]*//[^/?#]*') THEN
		PERFORM webhook_internal.guard_credentials(NEW.id, 'url''s origin');
	END IF;
	PERFORM webhook_internal.invalid_value(w.message, w.detail, w.hint) FROM (
		SELECT format('%s must be a one-dimensional array', l.name), 'An array of arrays was given.',
				'For example ''{order.new,user.*}'' for events, ''{status,email}'' for changed_columns.'
			FROM (VALUES ('events', NEW.events), ('changed_columns', NEW.changed_columns),
				('exclude_origins', NEW.exclude_origins)) l(name, list)
			WHERE array_ndims(l.list) > 1
		UNION ALL SELECT format('%s must name something', l.name),
				'An empty list would match nothing, and a null in it says nothing.',
				'Leave it null to receive all.'
			FROM (VALUES ('events', NEW.events), ('changed_columns', NEW.changed_columns),
				('exclude_origins', NEW.exclude_origins)) l(name, list)
			WHERE cardinality(l.list) = 0 OR array_position(CASE WHEN array_ndims(l.list) = 1 THEN l.list END, NULL) IS NOT NULL
		UNION ALL SELECT format('%s is out of range', r.name), format('%s was given; it is %s.', r.given, r.range), r.hint
			FROM (VALUES
				('max_in_flight', NEW.max_in_flight BETWEEN 1 AND 1000, NEW.max_in_flight::text,
					'a number of requests from 1 to 1000', 'The default is 50.'),
				('rate_limit', NEW.rate_limit BETWEEN 1 AND 100000, NEW.rate_limit::text,
					'a number of requests per second from 1 to 100000', 'Leave it null for no limit.'),
				('batch_size', NEW.batch_size BETWEEN 1 AND 1000, NEW.batch_size::text,
					'a number of events from 1 to 1000', 'The default is 1: one event per request.'),
				('timeout', NEW.timeout BETWEEN interval '100 ms' AND interval '10 minutes', NEW.timeout::text,
					'from 100 milliseconds to 10 minutes', 'The default is 15 seconds.')
			) r(name, fits, given, range, hint) WHERE NOT r.fits
		UNION ALL SELECT format('unknown ordering "%s"', NEW.ordering), 'Orderings: entity, none, strict.',
				'entity is the default: deliveries of one entity go one after the other.'
			WHERE NEW.ordering NOT IN ('entity', 'none', 'strict')
		UNION ALL SELECT format('unknown state "%s"', NEW.state), 'States: active, paused, disabled, inactive.',
				'Use webhook.pause() and webhook.resume().'
			WHERE NEW.state NOT IN ('active', 'paused', 'disabled', 'inactive')
		LIMIT 1) w(message, detail, hint);
	IF TG_OP = 'INSERT' OR NEW.events IS DISTINCT FROM OLD.events THEN
		PERFORM webhook_internal.check_events(NEW.events);
	END IF;
	PERFORM webhook_internal.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.changed_columns IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.changed_columns IS DISTINCT FROM OLD.changed_columns
			OR NEW.events IS DISTINCT FROM OLD.events) THEN
		SELECT string_agg(s.source::text, ', ' ORDER BY s.source::text) INTO word FROM webhook.source s
			WHERE NOT s.keep_previous AND 'update' = ANY (s.action_types)
				AND webhook_internal.asks_for(NEW.events, s.entity_type, 'update');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'changed_columns cannot hold back updates of every source',
				DETAIL = format('Watched without keep_previous, so that nobody can tell what an update changed: %s.', word),
				HINT = 'Watch them with keep_previous => true; until then all their updates are sent.';
		END IF;
	END IF;
	IF NEW.filter IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text) THEN
		-- a predicate is true, false or unknown for whatever it looks at; anything else yields nothing here
		BEGIN
			PERFORM jsonb_path_match('{}', NEW.filter);
		EXCEPTION WHEN OTHERS THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'filter is not usable',
				DETAIL = format('It must be a predicate, which says yes or no to any event. Tried on an empty one: %s.', SQLERRM),
				HINT = 'For example ''$.result.total > 100'', or ''exists($.previous.status)''.';
		END;
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR jsonb_typeof(NEW.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers and params must be JSON objects',
			DETAIL = format('headers is of type %s, params of type %s.', jsonb_typeof(NEW.headers), jsonb_typeof(NEW.params)),
			HINT = 'For example ''{"X-Environment": "production"}''.';
	END IF;
	FOR h IN SELECT key, value, NEW.headers -> key AS json FROM jsonb_each_text(NEW.headers) LOOP
		IF h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' OR jsonb_typeof(h.json) <> 'string' OR h.value ~ '[\x01-\x08\x0a-\x1f\x7f]' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('request header "%s" is not usable', h.key),
				DETAIL = 'A header''s name is made of letters, digits and hyphens; its value is a string without control characters.',
				HINT = 'See RFC 9110, section 5.';
		END IF;
		IF lower(h.key) ~ '^(webhook-.*|content-length|content-type|host|transfer-encoding|connection|expect)$' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('request header "%s" is not usable', h.key),
				DETAIL = 'The worker sets this header itself.',
				HINT = 'Leave it out of headers.';
		END IF;
	END LOOP;
	IF TG_OP = 'INSERT' OR (NEW.profile, NEW.url, NEW.headers, NEW.params, NEW.batch_size, NEW.events)
		IS DISTINCT FROM (OLD.profile, OLD.url, OLD.headers, OLD.params, OLD.batch_size, OLD.events) THEN
		PERFORM webhook_internal.check_profile_use(p, NEW);
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscription() IS
	'the rules of webhook.subscription, with the same errors for the functions and for direct '
	'writes. Runs as the owner: what it looks at, the caller need not see';

-- apart from the others, because it must not be SECURITY DEFINER: it asks who the current user is
CREATE FUNCTION webhook_internal.check_owner() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND NEW.owner IS NOT DISTINCT FROM OLD.owner THEN
		RETURN NEW;
	END IF;
	-- a superuser may name any role, also (restoring a dump) one that is not there
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
		AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = NEW.owner AND pg_has_role(r.oid,
			-- what ALTER TABLE ... OWNER TO asks for: since 16 a membership can be without it
			CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to give it a subscription', NEW.owner),
			DETAIL = 'What a subscription does, it does for its owner.',
			HINT = 'Leave owner out to own it yourself.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_owner() IS
	'who may be made the owner of a subscription: a role that the current user could SET ROLE to';

CREATE FUNCTION webhook_internal.check_transform() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- who could SET ROLE to the owner can have his rights anyway
	how text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
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
		part := NULL; -- no name at all, and so of no function
	END;
	SELECT p.proowner, r.rolname, p.prorettype = 'json'::regtype AND NOT p.proretset AND p.prokind = 'f' AS fits INTO f
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
		WHERE cardinality(part) = 2 AND n.nspname = part[1] AND p.proname = part[2] AND p.pronargs = 1
			AND p.proargtypes[0] = 'webhook.outbox'::regtype;
	-- one that a dump brings may have been dropped before; that must not keep all others from being restored
	IF f IS NULL AND TG_OP = 'INSERT' AND EXISTS (SELECT FROM pg_roles r WHERE (r.rolname = current_user AND r.rolsuper)
			OR (r.rolname = NEW.transform_owner AND pg_has_role(r.oid, how))) AND NEW.transform_owner IS NOT NULL THEN
		RETURN NEW;
	END IF;
	IF f IS NULL OR NOT f.fits THEN
		RAISE undefined_function USING
			MESSAGE = format('transform "%s" is not usable', NEW.transform),
			DETAIL = 'There must be a function of that name that takes one argument of type webhook.outbox and returns json.',
			HINT = 'Name it with its schema and without arguments, such as public.for_crm.';
	END IF;
	IF NOT pg_has_role(f.proowner, how) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to use its function as a transform', f.rolname),
			DETAIL = 'A transform runs with the rights of the role that owns it.',
			HINT = 'Make a function of your own, which may call this one.';
	END IF;
	NEW.transform := format('%I.%I', part[1], part[2]);
	-- restored with another owner it is not called: who wrote it must not come to rights that he did not have
	IF TG_OP = 'UPDATE' OR NEW.transform_owner IS NULL THEN
		NEW.transform_owner := f.rolname;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_transform() IS
	'which function may be a transform: one that fits, owned by a role that the current user '
	'could SET ROLE to';

-- Not SECURITY DEFINER: what is watched is told to those only who may look it up. Of a statement, not of a row: ten
-- thousand subscriptions made at once are one look.
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
		asked := ARRAY(SELECT DISTINCT p FROM made n JOIN before b ON b.id = n.id, unnest(n.events) p
			WHERE n.events IS DISTINCT FROM b.events);
	END IF;
	IF asked = '{}' THEN
		RETURN NULL;
	END IF;
	watched := ARRAY(SELECT DISTINCT s.entity_type FROM webhook.source s WHERE s.entity_type IS NOT NULL ORDER BY 1);
	unwatched := ARRAY(SELECT DISTINCT t FROM unnest(asked) p, substring(p FROM '^(.*)\.') t
		WHERE t NOT IN ('*', 'webhook_subscription') AND t <> ALL (watched) ORDER BY t);
	n := cardinality(unwatched);
	IF n > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('no table is watched as %s%s',
				(SELECT string_agg(format('"%s"', t), ', ') FROM unnest(unwatched[:10]) t), CASE WHEN n > 10 THEN format(' and %s more', n - 10) END),
			DETAIL = CASE WHEN watched = '{}' THEN 'No table is watched yet.'
				ELSE format('Watched are: %s%s.', array_to_string(watched[:20], ', '), CASE WHEN cardinality(watched) > 20 THEN ', ...' END) END,
			HINT = format('Such events come once a table is watched under that name, as by webhook.watch(''some_table'', %L).', unwatched[1]);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.notice_unwatched() IS
	'tells who asks for events of an entity type that no source has, which may be misspelt';

CREATE FUNCTION webhook_internal.after_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped bigint;
	dead bigint;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO webhook.secret (subscription_id, secret, generated)
			SELECT NEW.id, webhook_internal.generate_secret(p), true FROM webhook.profile p WHERE p.name = NEW.profile;
		-- an id that was given, as by a restore of the rows alone, is taken: the sequence goes on after it
		PERFORM setval('webhook.subscription_id_seq', NEW.id)
			FROM webhook.subscription_id_seq q WHERE NEW.id > q.last_value;
	ELSIF TG_OP = 'UPDATE' THEN
		PERFORM webhook_internal.check_secret(p, webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
			FROM webhook.profile p, webhook.secret k
			WHERE p.name = NEW.profile AND k.subscription_id = NEW.id;
	ELSE
		DELETE FROM webhook.pending p WHERE p.subscription_id = OLD.id;
		GET DIAGNOSTICS dropped = ROW_COUNT;
		DELETE FROM webhook_internal.breaker_notice t WHERE t.subscription_id = OLD.id;
		dead := (SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = OLD.id);
		IF dropped > 0 OR dead > 0 THEN
			RAISE NOTICE USING
				MESSAGE = format('subscription "%s" is removed with %s pending deliveries', OLD.name, dropped),
				DETAIL = format('Those will not be sent. %s dead letters stay.', dead),
				HINT = 'Roll back to keep them. webhook.purge_dead_letters() removes dead letters.';
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_subscription() IS
	'gives a new subscription a secret, sees that one given another profile has secrets that fit '
	'it, and takes a removed one''s pending deliveries away';

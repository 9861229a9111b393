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
	IF FOUND AND (t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 min') THEN
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

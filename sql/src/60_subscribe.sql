--
-- Subscribing, and all that is done to a subscription by its name.
--

-- Some of what an operator does needs rights that an operator must not have: to write secrets,
-- pending deliveries and events. The functions ask for it by an UPDATE of this view. Its one row
-- lists the subscriptions that the caller may see: it is read with the caller's rights
-- (security_invoker), row security included. Its trigger runs with the owner's rights and touches
-- only those. An argument could be forged by the caller; OLD is made by the server.
CREATE VIEW webhook_internal.privileged_call WITH (security_invoker = true) AS
	SELECT ARRAY(SELECT s.id FROM webhook.subscription s) AS subscriptions,
		NULL::text AS name, NULL::jsonb AS arguments, NULL::text AS result;
COMMENT ON VIEW webhook_internal.privileged_call IS
	'How functions called by an operator do what needs the owner''s rights. UPDATE of it is the '
	'right to operate the subscriptions one may see. One row, which stores nothing.';
COMMENT ON COLUMN webhook_internal.privileged_call.subscriptions IS
	'The subscriptions that the current user may see.';
COMMENT ON COLUMN webhook_internal.privileged_call.name IS
	'Set it to the operation: set_secret, rotate_secret, set_credential, redeliver, replay, test, '
	'match, replay_preview or explain.';
COMMENT ON COLUMN webhook_internal.privileged_call.arguments IS
	'Set it to the arguments of the function of that name. Only that function can supply a secret '
	'or credential.';
COMMENT ON COLUMN webhook_internal.privileged_call.result IS 'The result, for RETURNING.';

CREATE FUNCTION webhook.subscribe(
	subscription text,
	url          text,
	events       text[]   DEFAULT NULL,
	profile      text     DEFAULT 'entity',
	secret       text     DEFAULT NULL,
	tenant       text     DEFAULT NULL,
	filter       jsonpath DEFAULT NULL,
	headers      jsonb    DEFAULT '{}',
	params       jsonb    DEFAULT '{}'
) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_subscribe';
COMMENT ON FUNCTION webhook.subscribe(
	text, text, text[], text, text, text, jsonpath, jsonb, jsonb
) IS
	'Creates a subscription: matching events committed after this call are sent to url. events: '
	'patterns such as {user.new,company.*}; events, tenant and filter: null for all. profile: the '
	'format of the requests; headers and params: as in webhook.subscription. Returns the signing '
	'secret (generated unless secret is given), which is not shown again. Error unique_violation '
	'if the subscription exists, undefined_object if the profile does not, invalid_parameter_value '
	'for an invalid argument.';

CREATE FUNCTION webhook_internal.subscribe_wrapped(
	subscription text,
	url          text,
	events       text[],
	profile      text,
	secret       text,
	tenant       text,
	filter       jsonpath,
	headers      jsonb,
	params       jsonb
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(subscribe_wrapped.secret);
	signing_secret text;
BEGIN
	INSERT INTO webhook.subscription (name, url, events, profile, tenant, filter, headers, params)
		VALUES (subscribe_wrapped.subscription, subscribe_wrapped.url, subscribe_wrapped.events,
			subscribe_wrapped.profile, subscribe_wrapped.tenant, subscribe_wrapped.filter,
			coalesce(subscribe_wrapped.headers, '{}'), coalesce(subscribe_wrapped.params, '{}'))
		ON CONFLICT (name) DO NOTHING;
	-- whoever owns it: row security hides the subscription, but not that the name is taken
	IF NOT FOUND THEN
		RAISE unique_violation USING
			MESSAGE = format('subscription "%s" already exists', subscribe_wrapped.subscription),
			DETAIL = 'Subscription names are unique within a database.',
			HINT = 'Choose another name, update the row in webhook.subscription, or call '
				'webhook.unsubscribe() first.';
	END IF;
	UPDATE webhook_internal.privileged_call o SET name = 'set_secret',
			arguments = jsonb_build_object(
				'subscription', subscribe_wrapped.subscription, 'secret', given)
		RETURNING o.result INTO STRICT signing_secret;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	RETURN signing_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.subscribe_wrapped(
	text, text, text[], text, text, text, jsonpath, jsonb, jsonb
) IS
	'webhook.subscribe() with the secret, and the result, wrapped.';

CREATE FUNCTION webhook_internal.undefined_subscription_error(name text) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('subscription "%s" does not exist', undefined_subscription_error.name),
		DETAIL = 'webhook.subscription has no row with this name.',
		HINT = 'SELECT name, url, state FROM webhook.subscription lists the subscriptions.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_subscription_error(text) IS
	'Raises undefined_object for the name of a subscription.';

CREATE FUNCTION webhook.rotate_secret(
	subscription text, secret text DEFAULT NULL, overlap interval DEFAULT '24 hours'
) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_rotate_secret';
COMMENT ON FUNCTION webhook.rotate_secret(text, text, interval) IS
	'Gives a subscription a new signing secret (generated unless secret is given) and returns it. '
	'The old secrets expire after overlap (0 to 365 days; 0 ends them at once). Until then '
	'requests carry a signature by each of them; if the profile''s header has room for only one, '
	'the oldest secret signs until it expires. Error undefined_object if the subscription does not '
	'exist, program_limit_exceeded if four secrets are live.';

CREATE FUNCTION webhook_internal.rotate_secret_wrapped(
	subscription text, secret text, overlap interval
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(rotate_secret_wrapped.secret);
	new_secret text;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'rotate_secret',
			arguments = jsonb_build_object('subscription', rotate_secret_wrapped.subscription,
				'secret', given, 'overlap', rotate_secret_wrapped.overlap)
		RETURNING o.result INTO STRICT new_secret;
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_wrapped(text, text, interval) IS
	'webhook.rotate_secret() with the secret, and the result, wrapped.';

CREATE FUNCTION webhook.copy_profile(from_profile text, to_profile text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO webhook.profile
		SELECT c.* FROM webhook.profile p,
			jsonb_populate_record(p, jsonb_build_object('name', to_profile, 'builtin', false)) c
		WHERE p.name = from_profile
		ON CONFLICT (name) DO NOTHING;
	IF FOUND THEN
		RETURN;
	END IF;
	IF NOT EXISTS (SELECT FROM webhook.profile p WHERE p.name = from_profile) THEN
		PERFORM webhook_internal.undefined_profile_error(from_profile);
	END IF;
	RAISE unique_violation USING
		MESSAGE = format('profile "%s" already exists', to_profile),
		DETAIL = 'Names of profiles are unique within a database.',
		HINT = 'Choose another name, or change the row in webhook.profile.';
END
$$;
COMMENT ON FUNCTION webhook.copy_profile(text, text) IS
	'Copies a profile into a new row of webhook.profile, which may then be changed by UPDATE and '
	'is dumped with the database. Error undefined_object if from_profile does not exist, '
	'unique_violation if to_profile does.';

CREATE FUNCTION webhook.set_credential(subscription text, kind text, value text) RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_set_credential';
COMMENT ON FUNCTION webhook.set_credential(text, text, text) IS
	'Sets a credential of a subscription, replacing one of the same kind; value null removes it. '
	'Kinds and their values: basic (user:password), bearer (a token), header:Name (the header''s '
	'value), client_certificate and client_key (PEM; both in one transaction), ca (PEM; replaces '
	'webhook.ca_file for this endpoint), proxy (http://[user:password@]host:port), oauth2 (a JSON '
	'object of token_url, client_id, client_secret and, optionally, scope, audience, resource and '
	'auth, which is basic or post). Error undefined_object if the subscription does not exist, '
	'invalid_parameter_value for an invalid kind or value.';

CREATE FUNCTION webhook_internal.set_credential_wrapped(subscription text, kind text, value text)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(set_credential_wrapped.value);
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'set_credential',
		arguments = jsonb_build_object('subscription', set_credential_wrapped.subscription,
			'kind', set_credential_wrapped.kind, 'value', given);
END
$$;
COMMENT ON FUNCTION webhook_internal.set_credential_wrapped(text, text, text) IS
	'webhook.set_credential() with the value wrapped.';

CREATE FUNCTION webhook.unsubscribe(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint := 0;
BEGIN
	IF has_function_privilege('webhook_internal.counters()', 'EXECUTE') THEN
		queued := (SELECT c.queued FROM webhook_internal.counters() c
			JOIN webhook.subscription s ON s.id = c.subscription_id
			WHERE s.name = unsubscribe.subscription);
	END IF;
	DELETE FROM webhook.subscription s WHERE s.name = unsubscribe.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(unsubscribe.subscription);
	END IF;
	IF queued > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('removed subscription "%s" and %s queued deliveries',
				unsubscribe.subscription, queued),
			DETAIL = 'They were in the worker''s memory a moment ago. Those that have not been '
				'started will not be sent.',
			HINT = 'Roll back to keep the subscription.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unsubscribe(text) IS
	'Removes a subscription, its secrets and its pending deliveries. Its dead letters and its log '
	'are kept. A NOTICE says how many deliveries and dead letters there are. Error '
	'undefined_object if the subscription does not exist.';

CREATE FUNCTION webhook.reseal() RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	more bigint;
BEGIN
	UPDATE webhook.secret k
		SET secret = webhook_internal.seal_again(
			webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
		WHERE k.secret NOT LIKE 'file:%';
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE webhook.credential c
		SET value = webhook_internal.seal_again(
			webhook_internal.credential_owner(c.subscription_id, c.kind), c.value)
		WHERE c.value NOT LIKE 'file:%';
	GET DIAGNOSTICS more = ROW_COUNT;
	RETURN n + more;
END
$$;
COMMENT ON FUNCTION webhook.reseal() IS
	'Seals all secrets and credentials again, under the first key of webhook.key_file. Call it '
	'after that setting is set for the first time, or its file has a new first key; afterwards the '
	'old key may be removed. Returns how many were sealed. Error config_file_error if the file '
	'lacks a key that a secret is sealed under.';

CREATE FUNCTION webhook.pause(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s
		SET state = 'paused', state_reason = format('paused by %s', current_user)
		WHERE s.name = pause.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(pause.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.pause(text) IS
	'Stops sending to a subscription and keeps its deliveries until webhook.resume(). Requests '
	'under way are completed. Error undefined_object if the subscription does not exist.';

CREATE FUNCTION webhook.resume(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s SET state = 'active', state_reason = NULL
		WHERE s.name = resume.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(resume.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.resume(text) IS
	'Makes a paused, disabled or inactive subscription active again and closes its breaker. '
	'Deliveries kept meanwhile are sent in order. Changes nothing if it is active. Error '
	'undefined_object if the subscription does not exist.';

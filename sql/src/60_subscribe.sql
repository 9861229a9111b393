--
-- Subscribing, and all that is done to a subscription by its name.
--

-- Some of what an operator does takes rights that he must not have: to write secrets, pending deliveries and events.
-- He asks for it by an UPDATE of this view. It has one row, with the subscriptions that he may see: found with his
-- rights (security_invoker), row security included. Its trigger runs with the owner's, and touches only those. What
-- a function were told by its caller could be forged; OLD is made by the server.
CREATE VIEW webhook_internal.privileged_call WITH (security_invoker = true) AS
	SELECT ARRAY(SELECT s.id FROM webhook.subscription s) AS subscriptions, NULL::text AS name, NULL::jsonb AS arguments, NULL::text AS result;
COMMENT ON VIEW webhook_internal.privileged_call IS
	'how functions that an operator calls have done what takes the owner''s rights; UPDATE of it '
	'is the right to operate the subscriptions one may see. One row, which keeps nothing';
COMMENT ON COLUMN webhook_internal.privileged_call.subscriptions IS
	'the subscriptions that the current user may see';
COMMENT ON COLUMN webhook_internal.privileged_call.name IS
	'set it to the operation: set_secret, rotate_secret, set_credential, redeliver, replay or '
	'test';
COMMENT ON COLUMN webhook_internal.privileged_call.arguments IS
	'set it to the arguments of the function of that name; a secret or credential can only be '
	'given to that';
COMMENT ON COLUMN webhook_internal.privileged_call.result IS 'RETURNING shows the result';

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
COMMENT ON FUNCTION webhook.subscribe(text, text, text[], text, text, text, jsonpath, jsonb, jsonb) IS
	'from the commit of this call on, events that match go to url. events: which ones, such as '
	'{user.new,company.*}; events, tenant, filter: null for all. profile: how the receiver wants '
	'to be spoken to. Returns the signing secret, generated where none is given; show it to the '
	'receiver, it is not shown again. Error unique_violation where there is such a subscription';

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
		VALUES (subscribe_wrapped.subscription, subscribe_wrapped.url, subscribe_wrapped.events, subscribe_wrapped.profile,
			subscribe_wrapped.tenant, subscribe_wrapped.filter, coalesce(subscribe_wrapped.headers, '{}'), coalesce(subscribe_wrapped.params, '{}'))
		ON CONFLICT (name) DO NOTHING;
	-- whoever made it: row security hides that, and not that the name is taken
	IF NOT FOUND THEN
		RAISE unique_violation USING
			MESSAGE = format('subscription "%s" already exists', subscribe_wrapped.subscription),
			DETAIL = 'Names of subscriptions are unique within a database.',
			HINT = 'Choose another name, change the row in webhook.subscription, or call webhook.unsubscribe() first.';
	END IF;
	UPDATE webhook_internal.privileged_call o SET name = 'set_secret',
			arguments = jsonb_build_object('subscription', subscribe_wrapped.subscription, 'secret', given)
		RETURNING o.result INTO STRICT signing_secret;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	RETURN signing_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.subscribe_wrapped(text, text, text[], text, text, text, jsonpath, jsonb, jsonb) IS
	'webhook.subscribe(), with the secret wrapped, as its result is';

CREATE FUNCTION webhook_internal.undefined_subscription_error(name text) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('subscription "%s" does not exist', undefined_subscription_error.name),
		DETAIL = 'webhook.subscription has no row with this name.',
		HINT = 'SELECT name, url, state FROM webhook.subscription shows what there is.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_subscription_error(text) IS
	'raises the error undefined_object for a subscription''s name';

CREATE FUNCTION webhook.rotate_secret(subscription text, secret text DEFAULT NULL, overlap interval DEFAULT '24 hours') RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_rotate_secret';
COMMENT ON FUNCTION webhook.rotate_secret(text, text, interval) IS
	'gives a subscription a new signing secret (generated where none is given) and returns it; '
	'those it had expire after overlap, at once where that is 0. Until then requests carry a '
	'signature by each; where the profile''s header has room for one only, the oldest goes on '
	'signing until it expires. Error undefined_object where there is no such subscription, '
	'program_limit_exceeded where four secrets are live';

CREATE FUNCTION webhook_internal.rotate_secret_wrapped(subscription text, secret text, overlap interval) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(rotate_secret_wrapped.secret);
	new_secret text;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'rotate_secret', arguments = jsonb_build_object('subscription', rotate_secret_wrapped.subscription,
			'secret', given, 'overlap', rotate_secret_wrapped.overlap)
		RETURNING o.result INTO STRICT new_secret;
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_wrapped(text, text, interval) IS
	'webhook.rotate_secret(), with the secret wrapped, as its result is';

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
	'makes a profile of your own from another: a row of webhook.profile to be changed by UPDATE, '
	'dumped with the database. Errors undefined_object where there is no from_profile, '
	'unique_violation where there is a to_profile';

CREATE FUNCTION webhook.set_credential(subscription text, kind text, value text) RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_set_credential';
COMMENT ON FUNCTION webhook.set_credential(text, text, text) IS
	'gives a subscription a credential, in place of one of that kind; null removes it. kind: '
	'basic (user:password), bearer (token), header:Name (value), client_certificate and '
	'client_key (PEM, both in one transaction), ca (PEM: who may have signed the endpoint''s '
	'certificate, in place of webhook.ca_file), proxy (http://[user:password@]host:port), oauth2 '
	'(JSON: token_url, client_id, client_secret, and where wanted scope, audience, resource, and '
	'auth: how the client proves who it is, basic or post). Error undefined_object where there is'
	' no such subscription, invalid_parameter_value where the value is not usable';

CREATE FUNCTION webhook_internal.set_credential_wrapped(subscription text, kind text, value text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(set_credential_wrapped.value);
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'set_credential', arguments = jsonb_build_object('subscription', set_credential_wrapped.subscription,
		'kind', set_credential_wrapped.kind, 'value', given);
END
$$;
COMMENT ON FUNCTION webhook_internal.set_credential_wrapped(text, text, text) IS
	'webhook.set_credential(), with the value wrapped';

CREATE FUNCTION webhook.unsubscribe(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint := 0;
BEGIN
	IF has_function_privilege('webhook_internal.counters()', 'EXECUTE') THEN
		queued := (SELECT c.queued FROM webhook_internal.counters() c JOIN webhook.subscription s ON s.id = c.subscription_id WHERE s.name = unsubscribe.subscription);
	END IF;
	DELETE FROM webhook.subscription s WHERE s.name = unsubscribe.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(unsubscribe.subscription);
	END IF;
	IF queued > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('%s deliveries of "%s" that were queued go with it', queued, unsubscribe.subscription),
			DETAIL = 'They were in the worker''s memory a moment ago, and those that have not been started are not sent.',
			HINT = 'Roll back to keep them.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unsubscribe(text) IS
	'removes a subscription, its secrets and its pending deliveries; its dead letters and its log'
	' stay. A NOTICE tells how many of either there are. Error undefined_object where there is '
	'none';

CREATE FUNCTION webhook.reseal() RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	more bigint;
BEGIN
	UPDATE webhook.secret k SET secret = webhook_internal.seal_again(webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
		WHERE k.secret NOT LIKE 'file:%';
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE webhook.credential c SET value = webhook_internal.seal_again(webhook_internal.credential_owner(c.subscription_id, c.kind), c.value)
		WHERE c.value NOT LIKE 'file:%';
	GET DIAGNOSTICS more = ROW_COUNT;
	RETURN n + more;
END
$$;
COMMENT ON FUNCTION webhook.reseal() IS
	'seals all secrets and credentials anew under the first key of webhook.key_file: when that '
	'was set for the first time, or has a new first key. Afterwards the old key may go. Returns '
	'their number';

CREATE FUNCTION webhook.pause(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s SET state = 'paused', state_reason = format('paused by %s', session_user)
		WHERE s.name = pause.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(pause.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.pause(text) IS
	'keeps a subscription''s deliveries until webhook.resume(); requests under way end as they '
	'end. Error undefined_object where there is none';

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
	'makes a paused, disabled or inactive subscription active again; what happened while it was '
	'paused is delivered in order, and its breaker is closed. Of a live one it changes nothing. '
	'Error undefined_object where there is none';

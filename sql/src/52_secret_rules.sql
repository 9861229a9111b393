--
-- What secrets and credentials may be, and who may change where they are sent.
--

-- Of secrets and credentials in SQL: what a statement is given, a log may show. So the functions that people give one
-- to are C, and have it wrapped, under a key that is gone with the transaction, before any statement sees it; the
-- triggers of their tables are C, unwrap it and seal it. No function returns one in clear but to who made it.
CREATE FUNCTION webhook_internal.secret_owner(subscription_id bigint, id integer) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_secret_owner';
COMMENT ON FUNCTION webhook_internal.secret_owner(bigint, integer) IS
	'the name of a row of webhook.secret, which is sealed together with it: copied into another '
	'row, a sealed secret does not open';

CREATE FUNCTION webhook_internal.credential_owner(subscription_id bigint, kind text) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_credential_owner';
COMMENT ON FUNCTION webhook_internal.credential_owner(bigint, text) IS
	'the name of a row of webhook.credential, which is sealed together with it';

-- called in assignments only: an expression that plpgsql evaluates by itself is no statement, and not logged
CREATE FUNCTION webhook_internal.wrapped(secret text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_wrapped';
COMMENT ON FUNCTION webhook_internal.wrapped(text) IS
	'its argument, or an error where that is no secret or credential that was wrapped in this '
	'transaction';

CREATE FUNCTION webhook_internal.generate_secret(profile webhook.profile) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';
COMMENT ON FUNCTION webhook_internal.generate_secret(webhook.profile) IS
	'a new signing secret, wrapped: whsec_ and the base64 of 32 random bytes, which is also a '
	'good raw one; for ed25519 whsk_ and the base64 of a seed and its public half';

CREATE FUNCTION webhook_internal.check_secret(profile webhook.profile, owner text, kept text) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_secret';
COMMENT ON FUNCTION webhook_internal.check_secret(webhook.profile, text, text) IS
	'raises an error, which quotes no part of it, where the secret that a row keeps does not have'
	' the form that the profile asks for. Error config_file_error where webhook.key_file does not'
	' have its key';

CREATE FUNCTION webhook_internal.seal_again(owner text, kept text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_seal_again';
COMMENT ON FUNCTION webhook_internal.seal_again(text, text) IS
	'what a row keeps, sealed under the first key of webhook.key_file, where that is set. Error '
	'config_file_error where that does not have the key that it is sealed under';

CREATE FUNCTION webhook_internal.signature_matches(profile webhook.profile, secret text, id text, "timestamp" text, signature text, body text,
		earliest bigint, latest bigint) RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_signature_matches';
COMMENT ON FUNCTION webhook_internal.signature_matches(webhook.profile, text, text, text, text, text, bigint, bigint) IS
	'what webhook.verify does, with the headers found, and the secret wrapped: is the signature '
	'right, and the timestamp from earliest to latest (Unix seconds)? In constant time. False for'
	' a null where something is needed; an error for a secret that does not fit';

CREATE FUNCTION webhook_internal.profile_of(subscription_id bigint) RETURNS webhook.profile
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p FROM webhook.subscription s JOIN webhook.profile p ON p.name = s.profile WHERE s.id = profile_of.subscription_id
$$;
COMMENT ON FUNCTION webhook_internal.profile_of(bigint) IS
	'a subscription''s profile. Part of webhook_internal.before_secret()';

-- that a row which is inserted takes the place of the generated one is for dumps that are restored: left beside it,
-- that one would sign with a key which no receiver has
CREATE FUNCTION webhook_internal.room_for_secret(subscription_id bigint, id integer, expires_at timestamptz) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF room_for_secret.id IS NULL THEN
		DELETE FROM webhook.secret s WHERE s.subscription_id = room_for_secret.subscription_id AND s.generated;
	END IF;
	IF (room_for_secret.expires_at > clock_timestamp()) IS NOT FALSE
		AND 4 <= (SELECT count(*) FROM webhook.secret s WHERE s.subscription_id = room_for_secret.subscription_id
			AND (s.expires_at > clock_timestamp()) IS NOT FALSE AND s.id IS DISTINCT FROM room_for_secret.id) THEN
		RAISE program_limit_exceeded USING
			MESSAGE = 'a subscription has at most four live secrets',
			DETAIL = 'Each request carries a signature by each of them, and four have not expired.',
			HINT = 'Wait until one expires, or rotate with an overlap of 0, which ends the old ones at once.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.room_for_secret(bigint, integer, timestamptz) IS
	'takes the generated secret away where another is inserted (id is null), and raises an error '
	'where four others are live. Part of webhook_internal.before_secret()';

CREATE FUNCTION webhook_internal.before_secret() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_before_secret';
COMMENT ON FUNCTION webhook_internal.before_secret() IS
	'checks a secret and how many there are, and seals it';

CREATE FUNCTION webhook_internal.check_credential_pair(subscription_id bigint, certificate text, key text) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_credential_pair';
COMMENT ON FUNCTION webhook_internal.check_credential_pair(bigint, text, text) IS
	'raises an error where a private key is not the certificate''s, both as their rows keep them';

CREATE FUNCTION webhook_internal.calling_role() RETURNS name
	LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'webhook_calling_role';
COMMENT ON FUNCTION webhook_internal.calling_role() IS
	'who asks, also where the functions between are SECURITY DEFINER: the role that was SET, else'
	' the session''s user. Null within a security-restricted operation: there it is somebody''s '
	'index, policy or cast that runs, in the session of whoever maintains or reads a table, and '
	'that is not who asks';

CREATE FUNCTION webhook_internal.guard_credentials(subscription_id bigint, change text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	who CONSTANT name := webhook_internal.calling_role();
BEGIN
	IF EXISTS (SELECT FROM webhook.credential c WHERE c.subscription_id = guard_credentials.subscription_id
			AND (c.kind IN ('basic', 'bearer', 'oauth2', 'client_key') OR c.kind LIKE 'header:%'))
		AND NOT EXISTS (SELECT FROM pg_extension x WHERE x.extname = 'webhook' AND pg_has_role(who, x.extowner, 'USAGE')) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('only the extension''s owner may change the %s of a subscription that has credentials', change),
			DETAIL = 'They would be sent where they were not given for.',
			HINT = 'Remove basic, bearer, header:Name, client_key and oauth2 first, with webhook.set_credential(..., NULL), and give them again afterwards.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.guard_credentials(bigint, text) IS
	'raises an error where a change would show credentials to whoever makes it: another origin of'
	' url, another ca or proxy, or none';

CREATE FUNCTION webhook_internal.before_credential() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_before_credential';
COMMENT ON FUNCTION webhook_internal.before_credential() IS
	'checks a credential by itself, and seals it';

-- apart from before_credential: this is about what was there
CREATE FUNCTION webhook_internal.guard_removal() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN -- it becomes another kind, or another subscription's
		PERFORM webhook_internal.guard_credentials(OLD.subscription_id, OLD.kind);
		RETURN NEW;
	END IF;
	-- with the subscription itself all goes, and nothing is sent any more
	PERFORM webhook_internal.guard_credentials(OLD.subscription_id, OLD.kind) FROM webhook.subscription s
		WHERE s.id = OLD.subscription_id AND OLD.kind IN ('ca', 'proxy');
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION webhook_internal.guard_removal() IS
	'keeps ca and proxy, and whose a credential is, as they are while a subscription has '
	'credentials that would then be sent to whoever changes them';

CREATE FUNCTION webhook_internal.mark_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- the new version of the row is the mark: an UPDATE of url under a snapshot from before fails (could not serialize access),
	-- and one that is under way is waited for
	UPDATE webhook.subscription s SET name = s.name WHERE s.id IN (OLD.subscription_id, NEW.subscription_id);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.mark_subscription() IS
	'leaves a mark on the subscription that gets or loses a credential, so that nobody changes '
	'where it is sent without having seen it, whatever the isolation level';

CREATE FUNCTION webhook_internal.check_credentials(subscription webhook.subscription) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds CONSTANT text[] := ARRAY(SELECT c.kind FROM webhook.credential c WHERE c.subscription_id = subscription.id ORDER BY c.kind);
	header text;
	n bigint;
BEGIN
	IF kinds = '{}' THEN
		RETURN;
	END IF;
	IF ('client_certificate' = ANY (kinds)) <> ('client_key' = ANY (kinds)) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" needs both client_certificate and client_key', subscription.name),
			DETAIL = 'One of them alone proves nothing.',
			HINT = 'Set, or remove, both in one transaction.';
	END IF;
	SELECT x.name, count(*) INTO header, n FROM (
			SELECT lower(substr(k, 8)) FROM unnest(kinds) k WHERE k LIKE 'header:%'
			UNION ALL SELECT 'authorization' FROM unnest(kinds) k WHERE k IN ('basic', 'bearer', 'oauth2')
			UNION ALL SELECT lower(h) FROM jsonb_object_keys(subscription.headers) h
			UNION ALL SELECT lower(h) FROM webhook.profile p, jsonb_object_keys(p.headers) h WHERE p.name = subscription.profile
			UNION ALL SELECT lower(h) FROM webhook.profile p, unnest(ARRAY[p.signature_header, p.id_header, p.timestamp_header]) h
				WHERE p.name = subscription.profile AND h IS NOT NULL
		) x(name) GROUP BY x.name HAVING count(*) > 1 ORDER BY x.name LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" would send the request header "%s" twice', subscription.name, header),
			DETAIL = 'basic, bearer and oauth2 are each sent as Authorization; a header may also be a credential header:Name, or one of the subscription''s headers, or its profile''s.',
			HINT = 'Remove one: webhook.set_credential() with a value of null does that.';
	END IF;
	PERFORM webhook_internal.check_credential_pair(c.subscription_id, c.value, k.value)
		FROM webhook.credential c JOIN webhook.credential k ON k.subscription_id = c.subscription_id
		WHERE c.subscription_id = subscription.id AND c.kind = 'client_certificate' AND k.kind = 'client_key';
END
$$;
COMMENT ON FUNCTION webhook_internal.check_credentials(webhook.subscription) IS
	'raises an error where a subscription''s credentials do not go together, or send a header '
	'that is sent already';

CREATE FUNCTION webhook_internal.after_credential() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_TABLE_NAME = 'profile' THEN
		PERFORM webhook_internal.check_credentials(s) FROM webhook.subscription s WHERE s.profile = NEW.name;
	ELSIF TG_TABLE_NAME = 'subscription' THEN
		PERFORM webhook_internal.check_credentials(s) FROM webhook.subscription s WHERE s.id = NEW.id;
	ELSE
		-- one transaction after the other: the statement after this one sees what was committed before it
		PERFORM FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.subscription_id ELSE NEW.subscription_id END FOR NO KEY UPDATE;
		PERFORM webhook_internal.check_credentials(s) FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.subscription_id ELSE NEW.subscription_id END;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_credential() IS
	'sees that what is sent to an endpoint still goes together; of credentials when the '
	'transaction commits, so that they may be changed one after the other';

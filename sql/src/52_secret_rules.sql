--
-- What secrets and credentials may be, and who may change where they are sent.
--

-- A log may show what a statement contains. So the functions that take a secret are written in C:
-- they wrap it, under a key that ends with the transaction, before any statement sees it. The
-- triggers of the two tables are C as well; they unwrap and seal it. No function returns a secret
-- in clear, except to whoever created it.
CREATE FUNCTION webhook_internal.secret_owner(subscription_id bigint, id integer) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_secret_owner';
COMMENT ON FUNCTION webhook_internal.secret_owner(bigint, integer) IS
	'The name of a row of webhook.secret. A secret is sealed together with it, so a sealed secret '
	'copied into another row does not open.';

CREATE FUNCTION webhook_internal.credential_owner(subscription_id bigint, kind text) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_credential_owner';
COMMENT ON FUNCTION webhook_internal.credential_owner(bigint, text) IS
	'The name of a row of webhook.credential. A credential is sealed together with it.';

-- Called only in assignments: an expression that plpgsql evaluates by itself is not a statement, so
-- it is not logged.
CREATE FUNCTION webhook_internal.wrapped(secret text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_wrapped';
COMMENT ON FUNCTION webhook_internal.wrapped(text) IS
	'Returns its argument. Raises an error if that is not a secret or credential wrapped in this '
	'transaction.';

CREATE FUNCTION webhook_internal.generate_secret(profile webhook.profile) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';
COMMENT ON FUNCTION webhook_internal.generate_secret(webhook.profile) IS
	'Returns a new signing secret, wrapped: whsec_ and the base64 of 32 random bytes, which is '
	'also valid as a raw secret; for ed25519, whsk_ and the base64 of a seed and its public key.';

CREATE FUNCTION webhook_internal.check_secret(profile webhook.profile, owner text, kept text)
	RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_secret';
COMMENT ON FUNCTION webhook_internal.check_secret(webhook.profile, text, text) IS
	'Raises an error, which quotes no part of it, if a stored secret does not have the form that '
	'the profile requires. Error config_file_error if webhook.key_file does not have its key.';

CREATE FUNCTION webhook_internal.seal_again(owner text, kept text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_seal_again';
COMMENT ON FUNCTION webhook_internal.seal_again(text, text) IS
	'Returns a stored secret sealed under the first key of webhook.key_file, if that is set. Error '
	'config_file_error if the file does not have the key it is sealed under.';

CREATE FUNCTION webhook_internal.signature_matches(
	profile webhook.profile, secret text, id text, "timestamp" text, signature text, body text,
	earliest bigint, latest bigint
) RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_signature_matches';
COMMENT ON FUNCTION webhook_internal.signature_matches(
	webhook.profile, text, text, text, text, text, bigint, bigint
) IS
	'Whether the signature is right and the timestamp is from earliest to latest (Unix seconds). '
	'secret is wrapped. Compares in constant time. False if a value that is needed is null; an '
	'error if the secret does not fit the profile.';

CREATE FUNCTION webhook_internal.profile_of(subscription_id bigint) RETURNS webhook.profile
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p FROM webhook.subscription s JOIN webhook.profile p ON p.name = s.profile
		WHERE s.id = profile_of.subscription_id
$$;
COMMENT ON FUNCTION webhook_internal.profile_of(bigint) IS
	'Returns the profile of a subscription. Part of webhook_internal.before_secret().';

-- A restored dump inserts its own secrets. The generated one must go then: left beside them, it
-- would sign with a key that no receiver has.
CREATE FUNCTION webhook_internal.room_for_secret(
	subscription_id bigint, id integer, expires_at timestamptz
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF room_for_secret.id IS NULL THEN
		DELETE FROM webhook.secret s
			WHERE s.subscription_id = room_for_secret.subscription_id AND s.generated;
	END IF;
	IF (room_for_secret.expires_at > clock_timestamp()) IS NOT FALSE
		AND 4 <= (SELECT count(*) FROM webhook.secret s
			WHERE s.subscription_id = room_for_secret.subscription_id
				AND (s.expires_at > clock_timestamp()) IS NOT FALSE
				AND s.id IS DISTINCT FROM room_for_secret.id) THEN
		RAISE program_limit_exceeded USING
			MESSAGE = 'a subscription can have at most four live secrets',
			DETAIL = 'Each request is signed with each of them, and four have not expired.',
			HINT = 'Wait until one expires, or rotate with overlap => ''0'', which ends the old '
				'secrets at once.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.room_for_secret(bigint, integer, timestamptz) IS
	'Deletes the generated secret when another is inserted (id is null), and raises an error if '
	'four others are live. Part of webhook_internal.before_secret().';

CREATE FUNCTION webhook_internal.before_secret() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'webhook_before_secret';
COMMENT ON FUNCTION webhook_internal.before_secret() IS
	'Checks a secret and the number of secrets, and seals it.';

CREATE FUNCTION webhook_internal.check_credential_pair(
	subscription_id bigint, certificate text, key text
) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_credential_pair';
COMMENT ON FUNCTION webhook_internal.check_credential_pair(bigint, text, text) IS
	'Raises an error if a private key does not belong to the certificate. Takes both as their rows '
	'store them.';

CREATE FUNCTION webhook_internal.calling_role() RETURNS name
	LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'webhook_calling_role';
COMMENT ON FUNCTION webhook_internal.calling_role() IS
	'The role that makes the call, even through SECURITY DEFINER functions: the role that was SET, '
	'else the session user. Null within a security-restricted operation: there an index, policy or '
	'cast runs in the session of whoever maintains or reads a table, who did not make the call.';

CREATE FUNCTION webhook_internal.guard_credentials(subscription_id bigint, change text)
	RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	who CONSTANT name := webhook_internal.calling_role();
BEGIN
	IF EXISTS (SELECT FROM webhook.credential c
			WHERE c.subscription_id = guard_credentials.subscription_id
				AND (c.kind IN ('basic', 'bearer', 'oauth2', 'client_key')
					OR c.kind LIKE 'header:%'))
		AND NOT EXISTS (SELECT FROM pg_extension x
			WHERE x.extname = 'webhook' AND pg_has_role(who, x.extowner, 'USAGE')) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('only the extension''s owner may change the %s of a subscription that '
				'has credentials', change),
			DETAIL = 'The credentials would be sent to a destination they were not set for.',
			HINT = 'Remove basic, bearer, header:Name, client_key and oauth2 first, with '
				'webhook.set_credential(..., NULL), and set them again afterwards.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.guard_credentials(bigint, text) IS
	'Raises an error if a change (of the origin of url, of ca or of proxy) would send credentials '
	'to whoever makes it.';

CREATE FUNCTION webhook_internal.before_credential() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS 'MODULE_PATHNAME', 'webhook_before_credential';
COMMENT ON FUNCTION webhook_internal.before_credential() IS
	'Checks a single credential, and seals it.';

-- apart from before_credential: this is about the old row
CREATE FUNCTION webhook_internal.guard_removal() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN -- it becomes another kind, or another subscription's
		PERFORM webhook_internal.guard_credentials(OLD.subscription_id, OLD.kind);
		RETURN NEW;
	END IF;
	-- when the subscription itself is removed, everything goes and nothing more is sent
	PERFORM webhook_internal.guard_credentials(OLD.subscription_id, OLD.kind)
		FROM webhook.subscription s
		WHERE s.id = OLD.subscription_id AND OLD.kind IN ('ca', 'proxy');
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION webhook_internal.guard_removal() IS
	'Protects ca and proxy, and the subscription a credential belongs to, while a subscription has '
	'credentials that the change would send elsewhere.';

CREATE FUNCTION webhook_internal.mark_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- The new version of the row is the mark. An UPDATE of url under an older snapshot fails with
	-- "could not serialize access", and one under way is waited for.
	UPDATE webhook.subscription s SET name = s.name
		WHERE s.id IN (OLD.subscription_id, NEW.subscription_id);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.mark_subscription() IS
	'Updates the subscription that gains or loses a credential, so that at no isolation level its '
	'destination is changed by a transaction that has not seen the credential.';

CREATE FUNCTION webhook_internal.check_credentials(subscription webhook.subscription) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds CONSTANT text[] := ARRAY(SELECT c.kind FROM webhook.credential c
		WHERE c.subscription_id = subscription.id ORDER BY c.kind);
	header text;
	n bigint;
BEGIN
	IF kinds = '{}' THEN
		RETURN;
	END IF;
	IF ('client_certificate' = ANY (kinds)) <> ('client_key' = ANY (kinds)) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" needs both client_certificate and client_key',
				subscription.name),
			DETAIL = 'Neither of them is of use alone.',
			HINT = 'Set or remove both in one transaction.';
	END IF;
	SELECT x.name, count(*) INTO header, n FROM (
			SELECT lower(substr(k, 8)) FROM unnest(kinds) k WHERE k LIKE 'header:%'
			UNION ALL SELECT 'authorization' FROM unnest(kinds) k
				WHERE k IN ('basic', 'bearer', 'oauth2')
			UNION ALL SELECT lower(h) FROM jsonb_object_keys(subscription.headers) h
			UNION ALL SELECT lower(h) FROM webhook.profile p, jsonb_object_keys(p.headers) h
				WHERE p.name = subscription.profile
			UNION ALL SELECT lower(h) FROM webhook.profile p,
					unnest(ARRAY[p.signature_header, p.id_header, p.timestamp_header]) h
				WHERE p.name = subscription.profile AND h IS NOT NULL
		) x(name) GROUP BY x.name HAVING count(*) > 1 ORDER BY x.name LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" would send the request header "%s" twice',
				subscription.name, header),
			DETAIL = 'basic, bearer and oauth2 each set Authorization. Other headers come from '
				'credentials header:Name, from the subscription''s headers and from its profile.',
			HINT = 'Remove one, for example with webhook.set_credential(..., NULL).';
	END IF;
	PERFORM webhook_internal.check_credential_pair(c.subscription_id, c.value, k.value)
		FROM webhook.credential c JOIN webhook.credential k ON k.subscription_id = c.subscription_id
		WHERE c.subscription_id = subscription.id
			AND c.kind = 'client_certificate' AND k.kind = 'client_key';
END
$$;
COMMENT ON FUNCTION webhook_internal.check_credentials(webhook.subscription) IS
	'Raises an error if a subscription''s credentials do not fit together, or set a header that is '
	'already set.';

CREATE FUNCTION webhook_internal.after_credential() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_TABLE_NAME = 'profile' THEN
		PERFORM webhook_internal.check_credentials(s)
			FROM webhook.subscription s WHERE s.profile = NEW.name;
	ELSIF TG_TABLE_NAME = 'subscription' THEN
		PERFORM webhook_internal.check_credentials(s)
			FROM webhook.subscription s WHERE s.id = NEW.id;
	ELSE
		-- one transaction after another: the next statement sees what was committed before it
		PERFORM FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE'
				THEN OLD.subscription_id ELSE NEW.subscription_id END
			FOR NO KEY UPDATE;
		PERFORM webhook_internal.check_credentials(s) FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE'
				THEN OLD.subscription_id ELSE NEW.subscription_id END;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_credential() IS
	'Checks that credentials and headers still fit together; for credentials at the end of the '
	'transaction, so that they may be changed one after another.';

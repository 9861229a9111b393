--
-- What a profile may be.
--

CREATE FUNCTION webhook_internal.profile_error(name text, detail text, hint text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE invalid_parameter_value USING
		MESSAGE = format('invalid profile "%s"', profile_error.name),
		DETAIL = profile_error.detail,
		HINT = profile_error.hint;
END
$$;
COMMENT ON FUNCTION webhook_internal.profile_error(text, text, text) IS
	'Raises invalid_parameter_value for a profile.';

CREATE FUNCTION webhook_internal.check_profile_headers(profile webhook.profile) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own text[] := array_remove(ARRAY[
		profile.signature_header, profile.id_header, profile.timestamp_header], NULL);
	names text[];
	h record;
BEGIN
	IF profile.content_type !~ '^[!-~][ -~]*$' OR profile.batch_content_type !~ '^[!-~][ -~]*$' THEN
		PERFORM webhook_internal.profile_error(profile.name,
			'content_type and batch_content_type must consist of visible ASCII characters and '
			'blanks.',
			'For example application/json.');
	END IF;
	IF jsonb_typeof(profile.headers) <> 'object' THEN
		PERFORM webhook_internal.profile_error(profile.name,
			'headers must be a JSON object.',
			'For example ''{"X-Event": "{type}"}''.');
	END IF;
	SELECT own || array_agg(k ORDER BY k) INTO names FROM jsonb_object_keys(profile.headers) k;
	FOR h IN SELECT n.name, count(*) OVER (PARTITION BY lower(n.name)) AS times,
			n.number > cardinality(own) AS further,
			profile.headers -> n.name AS json, profile.headers ->> n.name AS text
		FROM unnest(names) WITH ORDINALITY n(name, number) ORDER BY n.number LOOP
		IF h.name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' THEN
			PERFORM webhook_internal.profile_error(profile.name,
				format('"%s" is not a valid header name.', h.name),
				'A header name consists of letters, digits and hyphens; see RFC 9110, section 5.');
		END IF;
		IF lower(h.name) IN ('content-length', 'content-type', 'host', 'transfer-encoding',
			'connection', 'expect') THEN
			PERFORM webhook_internal.profile_error(profile.name,
				format('The worker sets the header "%s" itself.', h.name),
				'Set the type of the body in content_type.');
		END IF;
		IF h.times > 1 THEN
			PERFORM webhook_internal.profile_error(profile.name,
				format('The header "%s" is set twice, in headers or in a column of its own.',
					h.name),
				'Header names are case-insensitive.');
		END IF;
		IF h.further AND (jsonb_typeof(h.json) <> 'string' OR length(h.text) > 4000) THEN
			PERFORM webhook_internal.profile_error(profile.name,
				format('The value of the header "%s" is not a string of at most 4000 characters.',
					h.name),
				'For example ''{"X-Event": "{type}"}''.');
		END IF;
		IF h.further THEN
			PERFORM webhook_internal.check_template('header', h.text,
				format('header "%s" of profile "%s"', h.name, profile.name));
		END IF;
	END LOOP;
	IF cardinality(names) > 32 THEN
		PERFORM webhook_internal.profile_error(profile.name,
			format('It has %s headers; the limit is 32.', cardinality(names)),
			'Send data of the event in the body.');
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_profile_headers(webhook.profile) IS
	'Raises an error if the headers or content types of a profile cannot be sent.';

CREATE FUNCTION webhook_internal.check_profile() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused text;
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		refused := 'cannot truncate profiles';
	ELSIF TG_OP <> 'INSERT' AND OLD.builtin THEN
		refused := format('cannot change or delete built-in profile "%s"', OLD.name);
	ELSIF TG_OP <> 'DELETE' AND NEW.builtin THEN
		refused := format('cannot make profile "%s" a built-in one', NEW.name);
	END IF;
	IF refused IS NOT NULL THEN
		RAISE insufficient_privilege USING
			MESSAGE = refused,
			DETAIL = 'Built-in profiles change only with the version of the extension.',
			HINT = 'Make a copy with webhook.copy_profile() and change the copy.';
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	-- the server's own message would quote headers
	PERFORM webhook_internal.require_not_null(TG_RELID, to_jsonb(NEW));
	IF NEW.name = '' OR length(NEW.name) > 200 THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			format('Its name has %s characters; the range is 1 to 200.', length(NEW.name)),
			'Name it after the receiver.');
	END IF;
	PERFORM webhook_internal.check_template('envelope', NEW.envelope::text,
		format('envelope of profile "%s"', NEW.name));
	PERFORM webhook_internal.check_template('envelope', NEW.batch_envelope::text,
		format('batch_envelope of profile "%s"', NEW.name));
	IF NEW.event_prefix !~ '^[A-Za-z0-9_-]{0,32}$'
		OR NEW.transaction_prefix !~ '^[A-Za-z0-9_-]{0,32}$' THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			'event_prefix and transaction_prefix may have at most 32 letters, digits, hyphens and '
			'underscores.',
			'For example ''evt_''.');
	END IF;
	PERFORM webhook_internal.check_signing(NEW);
	IF NEW.signature_algorithm <> 'none' AND (NEW.signature_header IS NULL
		OR NEW.signed_content LIKE '%{id}%' AND NEW.id_header IS NULL
		OR NEW.signed_content LIKE '%{timestamp}%'
			AND (NEW.timestamp_header IS NOT NULL)
				= (NEW.signature_format LIKE '%{timestamp}%')) THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			'What is signed must also be sent: signature_header is missing, or {id} is signed and '
			'id_header is missing, or {timestamp} is signed and not in exactly one of '
			'timestamp_header and signature_format.',
			'SELECT * FROM webhook.profile shows valid settings.');
	END IF;
	PERFORM webhook_internal.check_profile_headers(NEW);
	IF jsonb_typeof(NEW.failure_match) <> 'object' OR NEW.failure_match = '{}'
		OR EXISTS (SELECT FROM jsonb_each(CASE WHEN jsonb_typeof(NEW.failure_match) = 'object'
				THEN NEW.failure_match END) f
			WHERE jsonb_typeof(f.value) IN ('object', 'array'))
		OR cardinality(NEW.failure_fields) NOT BETWEEN 1 AND 8
		OR EXISTS (SELECT FROM unnest(NEW.failure_fields) w
			WHERE (w ~ '^[A-Za-z0-9_-]+$') IS NOT TRUE) THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			'failure_match must be an object of strings, numbers, booleans and nulls; '
			'failure_fields must be a list of 1 to 8 names of letters, digits, hyphens and '
			'underscores.',
			'For example ''{"status": "error"}'' and ''{code,message}''.');
	END IF;
	PERFORM webhook_internal.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.max_url_length NOT BETWEEN 1 AND 2048 THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			format('max_url_length is %s; the range is 1 to 2048 characters.', NEW.max_url_length),
			'Set it to null for 2048.');
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR EXISTS (
		SELECT FROM jsonb_each(
				CASE WHEN jsonb_typeof(NEW.params) = 'object' THEN NEW.params END) r
			WHERE jsonb_typeof(r.value) <> 'object'
				OR r.value - '{type,required,values,covers_events}'::text[] <> '{}'
				OR r.value ->> 'type' NOT IN (
					'string', 'number', 'boolean', 'object', 'array', 'uuid', 'event_types')
				OR jsonb_typeof(r.value -> 'required') <> 'boolean'
				OR jsonb_typeof(r.value -> 'covers_events') <> 'boolean'
				OR jsonb_typeof(r.value -> 'values') <> 'array') THEN
		PERFORM webhook_internal.profile_error(NEW.name,
			'params must be an object of rules. A rule is an object with any of type (string, '
			'number, boolean, object, array, uuid or event_types), required and covers_events '
			'(true or false), and values (an array).',
			'For example ''{"project_id": {"type": "uuid", "required": true}}''.');
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_profile() IS
	'Checks a row of webhook.profile, and protects the built-in ones.';

CREATE FUNCTION webhook_internal.after_profile() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM webhook_internal.check_profile_use(NEW, s)
		FROM webhook.subscription s WHERE s.profile = NEW.name;
	PERFORM webhook_internal.check_secret(NEW,
			webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
		FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id
		WHERE s.profile = NEW.name;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_profile() IS
	'Raises an error if the subscriptions of a changed profile, or their secrets, no longer meet '
	'its requirements.';

--
-- Events as their receivers see them: ids and signatures.
--

-- reads webhook.identity on behalf of any caller
CREATE FUNCTION webhook.event_id(event_number bigint) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_id';
COMMENT ON FUNCTION webhook.event_id(bigint) IS
	'Returns the id that receivers see for an event number of webhook.outbox (a profile may use '
	'another event_prefix). WHERE webhook.event_id(event_number) = ''evt_...'' uses an index on '
	'event_number.';

CREATE FUNCTION webhook_internal.header_value(headers jsonb, name text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN count(*) = 1 THEN min(h.value) END FROM jsonb_each_text(header_value.headers) h
		WHERE lower(h.key COLLATE "C") = lower(header_value.name COLLATE "C")
$$;
COMMENT ON FUNCTION webhook_internal.header_value(jsonb, text) IS
	'Returns the value of a request header, whatever the case of its name. Null if there is none, '
	'or several that differ in case.';

CREATE FUNCTION webhook.verify(
	profile text, secret text, headers jsonb, body text, tolerance interval DEFAULT '5 minutes'
) RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION webhook.verify(text, text, jsonb, text, interval) IS
	'Whether a received request was signed with this secret as the profile requires, for receivers '
	'inside PostgreSQL. headers: an object of header names (in any case) and values; body: exactly '
	'as received; tolerance: how far a signed timestamp may be from now, in either direction. '
	'False for a wrong or missing header and for nulls; compares in constant time. It does not '
	'detect a request that is repeated within the tolerance: store the ids. Error undefined_object '
	'if the profile does not exist, invalid_parameter_value if the profile does not sign, or the '
	'secret or another argument is invalid.';

CREATE FUNCTION webhook_internal.verify_wrapped(
	profile text, secret text, headers jsonb, body text, tolerance interval
) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p webhook.profile;
	now numeric := extract(epoch FROM clock_timestamp());
	-- 17 has infinite intervals
	seconds numeric := extract(epoch FROM least(verify_wrapped.tolerance, interval '10000 years'));
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = verify_wrapped.profile;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_profile_error(verify_wrapped.profile);
	END IF;
	IF p.signature_algorithm = 'none' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('requests of profile "%s" are not signed', p.name),
			DETAIL = 'Its signature_algorithm is none, so there is nothing to verify.',
			HINT = 'SELECT name, signature_algorithm FROM webhook.profile shows which profiles '
				'sign.';
	END IF;
	IF (verify_wrapped.tolerance >= interval '0') IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'tolerance is out of range',
			DETAIL = format('%s was given; it must be 0 or more.',
				coalesce(verify_wrapped.tolerance::text, 'null')),
			HINT = 'The default is 5 minutes.';
	END IF;
	IF jsonb_typeof(verify_wrapped.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers must be a JSON object',
			DETAIL = format('headers is of type %s.', jsonb_typeof(verify_wrapped.headers)),
			HINT = 'Pass names and values, such as ''{"webhook-id": "evt_1"}''.';
	END IF;
	RETURN webhook_internal.signature_matches(p, verify_wrapped.secret,
		webhook_internal.header_value(verify_wrapped.headers, p.id_header),
		webhook_internal.header_value(verify_wrapped.headers, p.timestamp_header),
		webhook_internal.header_value(verify_wrapped.headers, p.signature_header),
		verify_wrapped.body, ceil(now - seconds)::bigint, floor(now + seconds)::bigint);
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_wrapped(text, text, jsonb, text, interval) IS
	'webhook.verify() with the secret wrapped.';

CREATE FUNCTION webhook.event_number(event_id text) RETURNS bigint
	LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := regexp_match(event_number.event_id,
		'^\s*(?:[A-Za-z0-9_-]{0,32}([0-9a-f]{8})_)?([0-9]{1,18})\s*$');
BEGIN
	IF parts IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('invalid event id "%s"', left(event_number.event_id, 100)),
			DETAIL = 'An event id is the webhook-id that the receiver got, or the event number in '
				'webhook.outbox.',
			HINT = 'For example ''evt_0123abcd_42'' or ''42''; webhook.log shows both.';
	END IF;
	IF parts[1] IS NOT NULL
		AND NOT EXISTS (SELECT FROM webhook.identity i WHERE i.instance = parts[1]) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" does not belong to this database',
				left(event_number.event_id, 100)),
			DETAIL = format('Its id has the instance %s; this database has another.', parts[1]),
			HINT = 'If it was made here before the last webhook.enable_delivery(), pass its event '
				'number alone.';
	END IF;
	RETURN parts[2]::bigint;
END
$$;
COMMENT ON FUNCTION webhook.event_number(text) IS
	'Returns the event number (webhook.outbox.event_number) for an event id as the receiver got '
	'it, or for the number as text. Error invalid_parameter_value if it is neither, or belongs to '
	'another database.';

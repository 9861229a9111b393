--
-- Events as their receivers see them: ids and signatures.
--

-- reads webhook.identity for whoever calls it
CREATE FUNCTION webhook.event_id(event_number bigint) RETURNS text
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_event_id';
COMMENT ON FUNCTION webhook.event_id(bigint) IS
	'an event''s id as receivers see it (a profile may have another event_prefix), from '
	'webhook.outbox.event_number. WHERE webhook.event_id(event_number) = ''evt_...'' is found by an '
	'index of event_number';

CREATE FUNCTION webhook_internal.header_value(headers jsonb, name text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN count(*) = 1 THEN min(h.value) END FROM jsonb_each_text(header_value.headers) h
		WHERE lower(h.key COLLATE "C") = lower(header_value.name COLLATE "C")
$$;
COMMENT ON FUNCTION webhook_internal.header_value(jsonb, text) IS
	'a request header''s value, whatever the case of its name; null where there is none, or '
	'several that differ in case';

CREATE FUNCTION webhook.verify(profile text, secret text, headers jsonb, body text, tolerance interval DEFAULT '5 minutes') RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION webhook.verify(text, text, jsonb, text, interval) IS
	'for receivers that live in PostgreSQL: was this request signed with this secret, as the '
	'profile says? body: exactly as received. headers: an object of names (in any case) and '
	'values. tolerance: how far its timestamp, where the profile signs one, may be from now, '
	'either way. False for a wrong or missing header, and for nulls; errors: undefined_object for'
	' the profile, invalid_parameter_value for a secret that cannot be the profile''s. Compares '
	'in constant time. Does not notice a request that is sent again within the tolerance: '
	'remember the ids';

CREATE FUNCTION webhook_internal.verify_wrapped(profile text, secret text, headers jsonb, body text, tolerance interval) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p webhook.profile;
	now numeric := extract(epoch FROM clock_timestamp());
	seconds numeric := extract(epoch FROM least(verify_wrapped.tolerance, interval '10000 years')); -- 17 knows infinite ones
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = verify_wrapped.profile;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_profile_error(verify_wrapped.profile);
	END IF;
	IF p.signature_algorithm = 'none' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('requests of profile "%s" are not signed', p.name),
			DETAIL = 'Its signature_algorithm is none, so there is nothing that could be verified.',
			HINT = 'SELECT name, signature_algorithm FROM webhook.profile shows which profiles sign.';
	END IF;
	IF (verify_wrapped.tolerance >= interval '0') IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'tolerance is out of range',
			DETAIL = format('%s was given; it is an interval of 0 or more.', coalesce(verify_wrapped.tolerance::text, 'null')),
			HINT = 'The default is 5 minutes.';
	END IF;
	IF jsonb_typeof(verify_wrapped.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers must be a JSON object',
			DETAIL = format('headers is of type %s.', jsonb_typeof(verify_wrapped.headers)),
			HINT = 'Give names and values, such as ''{"webhook-id": "evt_1"}''.';
	END IF;
	RETURN webhook_internal.signature_matches(p, verify_wrapped.secret, webhook_internal.header_value(verify_wrapped.headers, p.id_header),
		webhook_internal.header_value(verify_wrapped.headers, p.timestamp_header), webhook_internal.header_value(verify_wrapped.headers, p.signature_header),
		verify_wrapped.body, ceil(now - seconds)::bigint, floor(now + seconds)::bigint);
END
$$;
COMMENT ON FUNCTION webhook_internal.verify_wrapped(text, text, jsonb, text, interval) IS
	'webhook.verify(), with the secret wrapped';

CREATE FUNCTION webhook.event_number(event_id text) RETURNS bigint
	LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := regexp_match(event_number.event_id, '^\s*(?:[A-Za-z0-9_-]{0,32}([0-9a-f]{8})_)?([0-9]{1,18})\s*$');
BEGIN
	IF parts IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('"%s" is not the id of an event', left(event_number.event_id, 100)),
			DETAIL = 'An event''s id is the webhook-id that its receiver got, or its number in webhook.outbox.',
			HINT = 'For example ''evt_0123abcd_42'' or ''42''; webhook.log shows both.';
	END IF;
	IF parts[1] IS NOT NULL AND NOT EXISTS (SELECT FROM webhook.identity i WHERE i.instance = parts[1]) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" is not of this database', left(event_number.event_id, 100)),
			DETAIL = format('Its instance is %s; this database has another.', parts[1]),
			HINT = 'Give its number alone if it was made here before webhook.enable_delivery() was called anew.';
	END IF;
	RETURN parts[2]::bigint;
END
$$;
COMMENT ON FUNCTION webhook.event_number(text) IS
	'the number of an event (webhook.outbox.event_number) from the id that its receiver got, or '
	'from that number as text. Error invalid_parameter_value where it is neither, or of another '
	'database';

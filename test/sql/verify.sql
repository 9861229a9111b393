--
-- Signatures in SQL: webhook.verify with the published example of every
-- scheme, and everything near them that must not pass; what a profile may say
-- about signatures; secrets, of the form that each profile asks for, and their
-- rotation. Runs without a worker, in a database of its own.
--
CREATE DATABASE webhook_verify TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\c webhook_verify
SET client_min_messages = error; -- not to be told about preloading
CREATE EXTENSION webhook;
RESET client_min_messages;

-- What an error says, and that no part of the secret is in it.
CREATE PROCEDURE wrong(statement text, secret text DEFAULT 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw') LANGUAGE plpgsql AS $$
DECLARE
	code text;
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	BEGIN
		EXECUTE statement USING secret;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'accepted';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	END;
	IF code = 'ZZ000' THEN
		RAISE NOTICE 'accepted';
	ELSE
		RAISE NOTICE '%: %', code, message USING DETAIL = detail, HINT = hint;
	END IF;
	IF EXISTS (SELECT FROM generate_series(1, length(secret) - 7) i
		WHERE strpos(concat_ws('|', message, detail, hint, context), substr(secret, i, 8)) > 0 AND substr(secret, i, 8) !~ 'whs.._') THEN
		RAISE NOTICE 'a part of the secret is in it';
	END IF;
END
$$;

-- HMAC-SHA256 (RFC 2104) by the server's sha256, to have signatures that are not ours.
CREATE FUNCTION hmac_sha256(key bytea, message bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	inner_pad bytea := decode(repeat('36', 64), 'hex');
	outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
	FOR i IN 0 .. length(key) - 1 LOOP
		inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
		outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
	END LOOP;
	RETURN sha256(outer_pad || sha256(inner_pad || message));
END
$$;

--
-- The published examples
--
-- for ed25519 a profile of one's own
SELECT webhook.copy_profile('standard', 'standard_v1a');
UPDATE webhook.profile SET description = 'Standard Webhooks, signed asymmetrically', signature_algorithm = 'ed25519', signature_format = 'v1a,{signature}'
	WHERE name = 'standard_v1a';
INSERT INTO webhook.profile (name, description, envelope) VALUES ('suspended', 'not signed', '{}');

CREATE TABLE example (name text, profile text, secret text, headers jsonb, body text, dated boolean);
INSERT INTO example VALUES
	('A', 'standard', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', '{"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}', '{"test": 2432232314}', true),
	('B', 'entity', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', '{"webhook-id": "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
		"webhook-timestamp": "1649367553", "webhook-signature": "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="}',
		'{"email":"test@example.com","username":"test_user"}', true),
	('D', 'standard_v1a', 'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=', '{"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"webhook-timestamp": "1614265330", "webhook-signature": "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="}',
		'{"test": 2432232314}', true),
	('Xsolla', 'xsolla', 'mysecret', '{"Authorization": "Signature 36c437024ce26d21dcda017b4f912ef775873fa7"}', '{"event_type":"registration"}', false),
	('Aghanim', 'aghanim', 'mysecret', '{"X-Aghanim-Signature-Timestamp": "1725548450",
		"X-Aghanim-Signature": "ed2452d87f833eab6036f3f1113edf25cecbcf5c68c3c22db90cf877a9accbe8"}', '{"event_type":"player.update"}', true),
	('GitHub', 'github', 'It''s a Secret to Everybody',
		'{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}', 'Hello, World!', false),
	('Stripe', 'stripe', 'whsec_test_secret',
		'{"Stripe-Signature": "t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990"}',
		'{"id":"evt_test_webhook","object":"event"}', true);

-- right; and old by now, where there is a date
SELECT name, webhook.verify(profile, secret, headers, body, '200 years') AS verified,
	webhook.verify(profile, secret, headers, body) = NOT dated AS as_its_date_says FROM example ORDER BY name;
-- in the profiles that sign alike
SELECT p.name, webhook.verify(p.name, e.secret, e.headers, e.body, '200 years') FROM example e, webhook.profile p
	WHERE e.name = 'A' AND p.signature_header = 'webhook-signature' AND p.signature_algorithm = 'hmac-sha256' ORDER BY 1;
-- names of headers in any case; others do not matter
SELECT name, webhook.verify(profile, secret, (SELECT jsonb_object_agg(upper(h.key), h.value) FROM jsonb_each(headers) h), body, '200 years')
	AND webhook.verify(profile, secret, (SELECT jsonb_object_agg(lower(h.key), h.value) FROM jsonb_each(headers) h)
		|| '{"host": "example.com", "x": null, "y": ["a"]}', body, '200 years') AS verified
	FROM example ORDER BY name;
-- any one character of the body changed, taken away or added
SELECT name, count(*) > 12 AS tried, count(*) FILTER (WHERE webhook.verify(profile, secret, headers, b, '200 years')) AS accepted
	FROM example, generate_series(1, length(body)) i,
		LATERAL (VALUES (overlay(body PLACING chr(ascii(substr(body, i, 1)) # 1) FROM i FOR 1)),
			(overlay(body PLACING '' FROM i FOR 1)), (overlay(body PLACING ' ' FROM i FOR 0))) v(b)
	GROUP BY name ORDER BY name;
-- any one character of any header
SELECT name, h.key AS header, count(*) > 9 AS tried, count(*) FILTER (WHERE webhook.verify(profile, secret, headers || jsonb_build_object(h.key, v), body, '200 years')) AS accepted
	FROM example, jsonb_each_text(headers) h, generate_series(1, length(h.value)) i,
		LATERAL (VALUES (overlay(h.value PLACING chr(ascii(substr(h.value, i, 1)) # 1) FROM i FOR 1)), (overlay(h.value PLACING '' FROM i FOR 1))) w(v)
	GROUP BY 1, 2 ORDER BY 1, 2;
-- a header missing, null, empty, of another type, or there twice
SELECT name, count(*) AS tried, count(*) FILTER (WHERE webhook.verify(profile, secret, v, body, '200 years')) AS accepted
	FROM example, jsonb_object_keys(headers) h,
		LATERAL (VALUES (headers - h), (headers || jsonb_build_object(h, NULL)), (headers || jsonb_build_object(h, '')),
			(headers || jsonb_build_object(h, jsonb_build_array(headers -> h))), (headers || jsonb_build_object(h, '{}'::jsonb)),
			(headers || jsonb_build_object(upper(h) || '', headers -> h, lower(h), headers -> h))) w(v)
	GROUP BY name ORDER BY name;
-- another secret of the same form
SELECT name, webhook.verify(profile, CASE left(secret, 5) WHEN 'whpk_' THEN 'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='
	WHEN 'whsec' THEN 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX' ELSE 'mysecret ' END, headers, body, '200 years') AS accepted FROM example ORDER BY name;
-- ed25519 with the secret key too
SELECT webhook.verify(profile, 'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==', headers, body, '200 years')
	FROM example WHERE name = 'D';
-- several signatures: any right one will do, whatever else is there
SELECT e.name, v.header, webhook.verify(e.profile, e.secret, e.headers || jsonb_build_object(p.signature_header, v.value), e.body, '200 years') AS verified
	FROM example e JOIN webhook.profile p ON p.name = e.profile, LATERAL (SELECT e.headers ->> p.signature_header AS own) o,
		LATERAL (VALUES
			('own first', own || p.signature_separator || CASE e.name WHEN 'Stripe' THEN 'v1=00' ELSE 'v1,AAAA' END),
			('own last', CASE e.name WHEN 'Stripe' THEN 'v0=00,v1=00,' || own ELSE 'v2,AAAA v1,AAAA ' || own END),
			('another version''s', CASE e.name WHEN 'Stripe' THEN replace(own, 'v1', 'v0') ELSE 'v2' || substr(own, strpos(own, ',')) END),
			('divided otherwise', own || ';'),
			('two dates', CASE e.name WHEN 'Stripe' THEN own || ',t=1700000001' END)) v(header, value)
	WHERE p.signature_separator IS NOT NULL ORDER BY 1, 2;
-- a receiver has one secret or the other while they overlap
SELECT x.secret, webhook.verify('standard', x.secret, headers || jsonb_build_object('webhook-signature', (headers ->> 'webhook-signature') || ' '
		|| 'v1,' || encode(hmac_sha256('\x000102030405060708090a0b0c0d0e0f1011121314151617', convert_to(format('%s.%s.%s', headers ->> 'webhook-id',
			headers ->> 'webhook-timestamp', body), 'UTF8')), 'base64')), body, '200 years') AS verified
	FROM example, (VALUES ('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), ('whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX'), ('whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD')) x(secret)
	WHERE name = 'A';

--
-- Tolerance: either way, from the clock and not from the transaction's start
--
CREATE FUNCTION aged(profile text, age integer) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE aged.profile
		WHEN 'aghanim' THEN jsonb_build_object('x-aghanim-signature-timestamp', ts, 'x-aghanim-signature', sig)
		ELSE jsonb_build_object('stripe-signature', format('t=%s,v1=%s', ts, sig)) END
	FROM (SELECT (extract(epoch FROM clock_timestamp())::bigint - age)::text AS ts) t,
		LATERAL (SELECT encode(hmac_sha256('mysecret', convert_to(ts || '.{}', 'UTF8')), 'hex') AS sig) s
$$;
SELECT p AS profile, age, webhook.verify(p, 'mysecret', aged(p, age), '{}') AS by_default,
	webhook.verify(p, 'mysecret', aged(p, age), '{}', '2 hours') AS "2 hours"
	FROM unnest('{aghanim,stripe}'::text[]) p,
		unnest('{0,290,-290,310,-310,7140,-7140,7260,-7260}'::integer[]) WITH ORDINALITY a(age, n)
	ORDER BY p, n;
BEGIN;
SELECT pg_sleep(2.2);
-- two seconds into this transaction, what is signed now is not of the future
SELECT webhook.verify('stripe', 'mysecret', aged('stripe', 0), '{}', '1 second') AS verified;
COMMIT;
SELECT webhook.verify('stripe', 'mysecret', aged('stripe', 1500000000), '{}', '178000000 years') AS verified;

--
-- Nulls are refused, and mistakes of the caller's are told
--
SELECT webhook.verify('github', 'mysecret', NULL, 'x') AS no_headers, webhook.verify('github', 'mysecret', '{}', 'x') AS none,
	webhook.verify('github', 'mysecret', '{"x-hub-signature-256": "sha256="}', NULL) AS no_body,
	webhook.verify('github', 'mysecret', '{"x-hub-signature-256": "sha256="}', '') AS empty;
CALL wrong($$ SELECT webhook.verify('nix', $1, '{}', 'x') $$);
CALL wrong($$ SELECT webhook.verify(NULL, $1, '{}', 'x') $$);
CALL wrong($$ SELECT webhook.verify('suspended', $1, '{}', 'x') $$);
CALL wrong($$ SELECT webhook.verify('standard', $1, '{}', 'x') $$, 'geheimes-Passwort');
CALL wrong($$ SELECT webhook.verify('standard', $1, '{}', 'x') $$, 'whsec_geheimes-Passwort');
CALL wrong($$ SELECT webhook.verify('standard_v1a', $1, '{}', 'x') $$);
CALL wrong($$ SELECT webhook.verify('standard_v1a', $1, '{}', 'x') $$, 'whpk_geheimes-Passwort');
CALL wrong($$ SELECT webhook.verify('github', $1, '{}', 'x') $$, '');
CALL wrong($$ SELECT webhook.verify('github', $1, '{}', 'x') $$, NULL);
CALL wrong($$ SELECT webhook.verify('github', $1, '[]', 'x') $$);
CALL wrong($$ SELECT webhook.verify('github', $1, 'null', 'x') $$);
CALL wrong($$ SELECT webhook.verify('github', $1, '{}', 'x', NULL) $$);
CALL wrong($$ SELECT webhook.verify('github', $1, '{}', 'x', '-1 second') $$);

-- a receiver needs EXECUTE on it and nothing else
CREATE ROLE regress_webhook_receiver;
GRANT USAGE ON SCHEMA webhook TO regress_webhook_receiver;
SET ROLE regress_webhook_receiver;
SELECT webhook.verify('github', 'mysecret', '{}', 'x');
RESET ROLE;
GRANT EXECUTE ON FUNCTION webhook.verify TO regress_webhook_receiver;
SET ROLE regress_webhook_receiver;
SELECT webhook.verify('github', 'It''s a Secret to Everybody',
	'{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}', 'Hello, World!');
RESET ROLE;
DROP OWNED BY regress_webhook_receiver;
DROP ROLE regress_webhook_receiver;

--
-- What a profile says about signatures
--
-- those that are built in would be accepted
SELECT count(webhook.copy_profile(name, name || ' again')) FROM webhook.profile WHERE builtin;
DELETE FROM webhook.profile WHERE name LIKE '% again';
SELECT name, signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header, signature_format, signature_separator, id_header, timestamp_header
	FROM webhook.profile ORDER BY name COLLATE "C";
-- each of these is one step from what is right
CREATE PROCEDURE wrong_profile(col text, value text) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO webhook.profile SELECT (jsonb_populate_record(p, jsonb_build_object('name', 'x', 'builtin', false, col, value))).* FROM webhook.profile p WHERE name = 'stripe';
	RAISE NOTICE '% = %: accepted', col, value;
	DELETE FROM webhook.profile WHERE name = 'x';
EXCEPTION WHEN OTHERS THEN
	DECLARE
		detail text;
	BEGIN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RAISE NOTICE '% = %: % % %', col, value, SQLSTATE, SQLERRM, CASE WHEN SQLSTATE = '22023' THEN detail END;
	END;
END
$$;
DO $$
BEGIN
	CALL wrong_profile('signature_algorithm', 'hmac-sha1');
	CALL wrong_profile('signature_algorithm', 'md5');
	CALL wrong_profile('signature_algorithm', 'ed25519');
	CALL wrong_profile('signature_encoding', 'HEX');
	CALL wrong_profile('signature_encoding', NULL);
	CALL wrong_profile('secret_encoding', 'base64');
	CALL wrong_profile('signed_content', NULL);
	CALL wrong_profile('signed_content', '{timestamp}');
	CALL wrong_profile('signed_content', '{body}{secret}');
	CALL wrong_profile('signed_content', '{id}.{body}');
	CALL wrong_profile('signature_format', NULL);
	CALL wrong_profile('signature_format', 'v1={signature}');
	CALL wrong_profile('signature_format', 't={timestamp}');
	CALL wrong_profile('signature_format', E't={timestamp},v1={signature}\r\nX: y');
	CALL wrong_profile('signature_separator', NULL);
	CALL wrong_profile('signature_separator', E'\n');
	CALL wrong_profile('signature_header', NULL);
	CALL wrong_profile('signature_header', '');
	CALL wrong_profile('signature_header', 'X: y');
	CALL wrong_profile('signature_header', E'X\r\nY');
	CALL wrong_profile('timestamp_header', 'X-Timestamp');
	CALL wrong_profile('id_header', 'X Id');
	CALL wrong_profile('id_header', 'X-Id');
END
$$;

--
-- Secrets: of the form that the profile asks for
--
-- each has one that was made, of its form
SELECT name, webhook.subscribe(name, 'https://hooks.example.com/', CASE name WHEN 'xsolla' THEN '{user.new}'::text[] END, profile => name,
		params => '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration"}, "game_id": "gm_1"}')
		~ CASE name WHEN 'standard_v1a' THEN '^whsk_[A-Za-z0-9+/]{86}==$' ELSE '^whsec_[A-Za-z0-9+/]{43}=$' END AS made
	FROM webhook.profile p ORDER BY name COLLATE "C";
-- and what is kept of it is right for it
SELECT p.name, webhook_internal.check_secret(p, webhook_internal.secret_owner(k.subscription_id, k.id), k.secret) IS NOT NULL AS fits
	FROM webhook.profile p JOIN webhook.subscription s ON s.name = p.name JOIN webhook.secret k ON k.subscription_id = s.id ORDER BY p.name COLLATE "C";
BEGIN;
SELECT count(DISTINCT webhook.rotate_secret('standard_v1a', overlap => '0')) FROM generate_series(1, 50);
ROLLBACK;
SELECT webhook.subscribe('raw', 'https://hooks.example.com/', profile => 'github', secret => 'It''s a Secret to Everybody');
CALL wrong($$ SELECT webhook.subscribe('x', 'https://hooks.example.com/', profile => 'github', secret => $1) $$, E'geheimes\nPasswort');
CALL wrong($$ SELECT webhook.subscribe('x', 'https://hooks.example.com/', profile => 'github', secret => $1) $$, repeat('geheim', 34));
CALL wrong($$ SELECT webhook.subscribe('x', 'https://hooks.example.com/', profile => 'standard', secret => $1) $$, 'It''s a Secret to Everybody');
CALL wrong($$ SELECT webhook.subscribe('x', 'https://hooks.example.com/', profile => 'standard_v1a', secret => $1) $$);
-- another profile must fit the secrets that are there
CALL wrong($$ UPDATE webhook.subscription SET profile = 'standard' WHERE name = 'raw' $$, 'It''s a Secret to Everybody');
CALL wrong($$ UPDATE webhook.subscription SET profile = 'stripe' WHERE name = 'raw' $$);
CALL wrong($$ UPDATE webhook.subscription SET profile = 'github' WHERE name = 'standard' $$);

--
-- Rotation
--
CREATE VIEW secrets AS
	SELECT s.name, k.id, CASE s.name WHEN 'raw' THEN k.secret END AS secret, k.generated, CASE WHEN k.expires_at IS NOT NULL THEN date_trunc('hour', k.expires_at - clock_timestamp() + '1 min') END AS hours_left
	FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id WHERE s.name IN ('entity', 'raw') ORDER BY 1, 2;
-- a new one is made, those before live on for a day
SELECT webhook.rotate_secret('entity') ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS made;
SELECT secrets.id, generated, hours_left, (SELECT count(DISTINCT k.secret) FROM webhook.secret k WHERE k.subscription_id = s.id) AS different
	FROM secrets JOIN webhook.subscription s USING (name) WHERE name = 'entity' ORDER BY secrets.id;
-- or one is given, and the overlap; what ends sooner is not prolonged
SELECT webhook.rotate_secret('raw', 'another', '2 hours');
SELECT webhook.rotate_secret('raw', 'a third', '3 hours');
SELECT webhook.rotate_secret('raw', 'a fourth', '1 hour');
TABLE secrets;
-- four at most
CALL wrong($$ SELECT webhook.rotate_secret('raw', $1) $$);
CALL wrong($$ INSERT INTO webhook.secret (subscription_id, id, secret) SELECT id, 9, $1 FROM webhook.subscription WHERE name = 'raw' $$);
SELECT id, secret FROM secrets WHERE name = 'raw';
-- one that has expired makes room, and is gone
UPDATE webhook.secret SET expires_at = clock_timestamp() WHERE secret = 'another';
SELECT webhook.rotate_secret('raw', 'a fifth', '4 hours');
TABLE secrets;
CALL wrong($$ UPDATE webhook.secret SET expires_at = NULL WHERE secret = 'a third' $$);
INSERT INTO webhook.secret (subscription_id, id, secret, expires_at) SELECT id, 2, 'another', clock_timestamp() FROM webhook.subscription WHERE name = 'raw';
CALL wrong($$ UPDATE webhook.secret SET expires_at = NULL WHERE secret = 'another' $$);
-- at once
SELECT webhook.rotate_secret('raw', 'the sixth', '0');
TABLE secrets;
-- what a dump holds comes back as it was: none beside it that was made again
DELETE FROM webhook.subscription WHERE name = 'raw';
INSERT INTO webhook.subscription (name, url, profile) VALUES ('raw', 'https://hooks.example.com/', 'github');
INSERT INTO webhook.secret (subscription_id, id, secret, expires_at) SELECT id, 6, 'the sixth', now() + interval '2 hours' FROM webhook.subscription WHERE name = 'raw';
INSERT INTO webhook.secret (subscription_id, id, secret) SELECT id, 7, 'the seventh' FROM webhook.subscription WHERE name = 'raw';
TABLE secrets;
-- a subscription whose secrets were all taken away
DELETE FROM webhook.secret k USING webhook.subscription s WHERE s.id = k.subscription_id AND s.name = 'raw';
SELECT webhook.rotate_secret('raw', 'from the start');
TABLE secrets;
-- mistakes
CALL wrong($$ SELECT webhook.rotate_secret('nix', $1) $$);
CALL wrong($$ SELECT webhook.rotate_secret(NULL, $1) $$);
CALL wrong($$ SELECT webhook.rotate_secret('raw', $1, NULL) $$);
CALL wrong($$ SELECT webhook.rotate_secret('raw', $1, '-1 s') $$);
CALL wrong($$ SELECT webhook.rotate_secret('raw', $1, '366 days') $$);
CALL wrong($$ SELECT webhook.rotate_secret('raw', $1) $$, '');
CALL wrong($$ SELECT webhook.rotate_secret('entity', $1) $$, 'geheimes-Passwort');
TABLE secrets;

\c postgres
DROP DATABASE webhook_verify;

--
-- What is sent to an endpoint and shown to nobody: signing secrets and credentials.
--

CREATE TABLE webhook.secret (
	subscription_id bigint      NOT NULL REFERENCES webhook.subscription ON DELETE CASCADE,
	id              integer     NOT NULL DEFAULT 1,
	secret          text        NOT NULL,
	generated       boolean     NOT NULL DEFAULT false,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at      timestamptz,
	PRIMARY KEY (subscription_id, id)
);
COMMENT ON TABLE webhook.secret IS
	'signing secrets, at most four live ones a subscription; readable by the owner of the '
	'extension only';
COMMENT ON COLUMN webhook.secret.subscription_id IS 'whose secret it is';
COMMENT ON COLUMN webhook.secret.id IS
	'number of the secret within its subscription; the highest is the newest';
COMMENT ON COLUMN webhook.secret.secret IS
	'the secret as the receiver knows it, in the form that the profile''s secret_encoding asks '
	'for';
COMMENT ON COLUMN webhook.secret.generated IS
	'true: made for a subscription that was given none; the first row that is inserted takes its '
	'place (webhook.rotate_secret keeps it for the overlap)';
COMMENT ON COLUMN webhook.secret.created_at IS 'when the secret was made';
COMMENT ON COLUMN webhook.secret.expires_at IS 'until when it signs; null: until it is removed';
SELECT pg_catalog.pg_extension_config_dump('webhook.secret', '');

CREATE TABLE webhook.credential (
	subscription_id bigint      NOT NULL REFERENCES webhook.subscription ON DELETE CASCADE,
	kind            text        NOT NULL,
	value           text        NOT NULL,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (subscription_id, kind)
);
COMMENT ON TABLE webhook.credential IS
	'what endpoints want besides a signature, set by webhook.set_credential(); readable by the '
	'owner of the extension only';
COMMENT ON COLUMN webhook.credential.subscription_id IS 'whose credential it is';
COMMENT ON COLUMN webhook.credential.kind IS
	'basic, bearer, header:Name, client_certificate, client_key, ca, proxy or oauth2';
COMMENT ON COLUMN webhook.credential.value IS
	'user:password; a token; the header''s value; PEM; http://[user:password@]host:port; or '
	'{"token_url", "client_id", "client_secret", "scope", "audience", "resource", "auth"}. Sealed'
	' where webhook.key_file is set';
COMMENT ON COLUMN webhook.credential.created_at IS 'when it was set first';
SELECT pg_catalog.pg_extension_config_dump('webhook.credential', '');

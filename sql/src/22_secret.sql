--
-- What is used for requests and shown to nobody: signing secrets and credentials.
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
	'Signing secrets, at most four live ones per subscription. Only the owner of the extension can '
	'read them.';
COMMENT ON COLUMN webhook.secret.subscription_id IS 'The subscription it belongs to.';
COMMENT ON COLUMN webhook.secret.id IS
	'Number of the secret within its subscription; the highest is the newest.';
COMMENT ON COLUMN webhook.secret.secret IS
	'The secret as the receiver knows it, in the form of the profile''s secret_encoding. Sealed if '
	'webhook.key_file is set.';
COMMENT ON COLUMN webhook.secret.generated IS
	'Whether it was generated because the subscription was created without a secret. The first '
	'secret that is inserted replaces it; webhook.rotate_secret() keeps it for the overlap.';
COMMENT ON COLUMN webhook.secret.created_at IS 'When the secret was created.';
COMMENT ON COLUMN webhook.secret.expires_at IS 'Until when it signs. Null: until it is deleted.';
SELECT pg_catalog.pg_extension_config_dump('webhook.secret', '');

CREATE TABLE webhook.credential (
	subscription_id bigint      NOT NULL REFERENCES webhook.subscription ON DELETE CASCADE,
	kind            text        NOT NULL,
	value           text        NOT NULL,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (subscription_id, kind)
);
COMMENT ON TABLE webhook.credential IS
	'What endpoints require besides a signature, set by webhook.set_credential(). Only the owner '
	'of the extension can read it.';
COMMENT ON COLUMN webhook.credential.subscription_id IS 'The subscription it belongs to.';
COMMENT ON COLUMN webhook.credential.kind IS
	'basic, bearer, header:Name, client_certificate, client_key, ca, proxy or oauth2.';
COMMENT ON COLUMN webhook.credential.value IS
	'By kind: user:password; a token; the header''s value; PEM; http://[user:password@]host:port; '
	'or {"token_url", "client_id", "client_secret", "scope", "audience", "resource", "auth"}. '
	'Sealed if webhook.key_file is set.';
COMMENT ON COLUMN webhook.credential.created_at IS 'When it was first set.';
SELECT pg_catalog.pg_extension_config_dump('webhook.credential', '');

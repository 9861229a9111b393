--
-- Profiles: the formats that receivers expect, and the built-in ones.
--

CREATE TABLE webhook.profile (
	name                text NOT NULL PRIMARY KEY,
	description         text NOT NULL,
	envelope            json NOT NULL,
	batch_envelope      json,
	content_type        text NOT NULL DEFAULT 'application/json',
	batch_content_type  text,
	headers             jsonb NOT NULL DEFAULT '{}',
	id_header           text,
	timestamp_header    text,
	event_prefix        text NOT NULL DEFAULT 'evt_',
	transaction_prefix  text NOT NULL DEFAULT 'tx_',
	signature_algorithm text NOT NULL DEFAULT 'none',
	signature_encoding  text,
	secret_encoding     text,
	signed_content      text,
	signature_header    text,
	signature_format    text,
	signature_separator text,
	failure_match       jsonb,
	failure_fields      text[],
	retry_schedule      interval[],
	give_up_after       interval,
	params              jsonb NOT NULL DEFAULT '{}',
	max_url_length      integer,
	builtin             boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE webhook.profile IS
	'The format that a kind of receiver expects: envelope, headers, signature, what counts as '
	'success, and which params a subscription must have. docs/profiles.md is the reference.';
COMMENT ON COLUMN webhook.profile.name IS 'The name that subscriptions use, 1 to 200 characters.';
COMMENT ON COLUMN webhook.profile.description IS 'What is sent, in one sentence.';
COMMENT ON COLUMN webhook.profile.envelope IS
	'Template of the body: JSON of at most 16 kB in which a string "$name" is replaced by that '
	'variable''s value.';
COMMENT ON COLUMN webhook.profile.batch_envelope IS
	'Template of each element of a batch''s array, at most 16 kB. The headers carry the id of the '
	'batch, so it should contain the event''s own id. Null: the receiver takes one event per '
	'request.';
COMMENT ON COLUMN webhook.profile.content_type IS 'The request header Content-Type.';
COMMENT ON COLUMN webhook.profile.batch_content_type IS
	'The Content-Type of a batch. Null: content_type.';
COMMENT ON COLUMN webhook.profile.headers IS
	'Further request headers: an object of names and text templates with {name} in them. In a '
	'batch they describe its first event.';
COMMENT ON COLUMN webhook.profile.id_header IS
	'The request header that carries the event id. Null: none.';
COMMENT ON COLUMN webhook.profile.timestamp_header IS
	'The request header that carries the time of the attempt in Unix seconds. Null: none.';
COMMENT ON COLUMN webhook.profile.event_prefix IS
	'What event ids begin with: at most 32 letters, digits, hyphens and underscores.';
COMMENT ON COLUMN webhook.profile.transaction_prefix IS
	'What transaction ids begin with: at most 32 letters, digits, hyphens and underscores.';
COMMENT ON COLUMN webhook.profile.signature_algorithm IS
	'How requests are signed: hmac-sha256, hmac-sha1, sha1 (of the content followed by the '
	'secret), ed25519, or none. With none, the columns from signature_encoding to '
	'signature_separator are ignored.';
COMMENT ON COLUMN webhook.profile.signature_encoding IS
	'How a signature is written: hex or base64.';
COMMENT ON COLUMN webhook.profile.secret_encoding IS
	'The form of a secret: raw (the key is its text, 1 to 200 bytes) or whsec (the key is the '
	'base64 after whsec_; for ed25519 after whsk_).';
COMMENT ON COLUMN webhook.profile.signed_content IS
	'What is signed: text with {id}, {timestamp} and {body}.';
COMMENT ON COLUMN webhook.profile.signature_header IS
	'The request header that carries the signature.';
COMMENT ON COLUMN webhook.profile.signature_format IS
	'The value of signature_header: text with {signature}, and with {timestamp} if the timestamp '
	'is sent there.';
COMMENT ON COLUMN webhook.profile.signature_separator IS
	'Separates the entries of signature_format; the entry with {signature} is repeated for each '
	'live secret, newest first. Null: the header has room for one signature, and while secrets '
	'overlap the oldest one signs, which every receiver knows.';
COMMENT ON COLUMN webhook.profile.failure_match IS
	'A response with status 2xx is a failure (outcome rejected) if its body is a JSON object that '
	'contains all of these members. An object of scalars; null: every 2xx is success.';
COMMENT ON COLUMN webhook.profile.failure_fields IS
	'Members of such a body that say what went wrong, 1 to 8 names; joined, they are the error in '
	'webhook.log.';
COMMENT ON COLUMN webhook.profile.retry_schedule IS
	'The retry_schedule of subscriptions created without one. Null: {5s,5min,30min,2h,5h,10h}.';
COMMENT ON COLUMN webhook.profile.give_up_after IS
	'The give_up_after of subscriptions created without one. Null: 3 days.';
COMMENT ON COLUMN webhook.profile.params IS
	'Rules for the params of a subscription, by name: {"type": string (not empty), number, '
	'boolean, object, array, uuid or event_types (an object with keys such as user.new), '
	'"required": boolean, "values": [allowed values of it, or of each member of the object], '
	'"covers_events": true (every event the subscription asks for must be a key of it)}. Params '
	'without a rule are not checked.';
COMMENT ON COLUMN webhook.profile.max_url_length IS
	'The longest url of a subscription, in characters. Null: 2048.';
COMMENT ON COLUMN webhook.profile.builtin IS
	'Whether it is part of the extension and cannot be changed; copy it with '
	'webhook.copy_profile() and change the copy.';
SELECT pg_catalog.pg_extension_config_dump('webhook.profile', 'WHERE NOT builtin');

INSERT INTO webhook.profile (name, builtin, envelope, batch_envelope, description) VALUES
	('entity', true,
		'{"entity_id": "$entity_id", "entity_type": "$entity_type", "action_type": "$action_type", '
		'"result": "$result?"}',
		'{"event_id": "$id", "entity_id": "$entity_id", "entity_type": "$entity_type", '
		'"action_type": "$action_type", "result": "$result?"}',
		'entity_id, entity_type, action_type and result as one JSON object, signed with the '
		'Standard Webhooks headers'),
	('standard', true,
		'{"type": "$type", "timestamp": "$timestamp", "data": "$object"}',
		'{"id": "$id", "type": "$type", "timestamp": "$timestamp", "data": "$object"}',
		'Standard Webhooks: type, timestamp and data, signed with its headers');
INSERT INTO webhook.profile (name, builtin, content_type, batch_content_type, params,
		envelope, batch_envelope, description)
	SELECT 'cloudevents', true, 'application/cloudevents+json; charset=utf-8',
		'application/cloudevents-batch+json; charset=utf-8',
		'{"source": {"type": "string"}}', e, e,
		'CloudEvents 1.0 in structured mode: attributes and data as one JSON object, signed with '
		'the Standard Webhooks headers'
	FROM (SELECT '{"specversion": "1.0", "id": "$id", "source": "$param.source|origin", '
		'"type": "$type", "subject": "$entity", "time": "$timestamp", '
		'"datacontenttype": "application/json", "sequence": "$sequence", '
		'"partitionkey": "$entity", "data": "$object"}'::json) x(e);
INSERT INTO webhook.profile (name, builtin, headers, params, envelope, description) VALUES
	('cloudevents_binary', true,
		'{"ce-specversion": "1.0", "ce-id": "{id:percent}",
			"ce-source": "{param.source|origin:percent}", "ce-type": "{type:percent}",
			"ce-subject": "{entity:percent}", "ce-time": "{timestamp}",
			"ce-sequence": "{sequence}", "ce-partitionkey": "{entity:percent}"}',
		'{"source": {"type": "string"}}',
		'"$object"',
		'CloudEvents 1.0 in binary mode: the data as the body, attributes as headers, signed with '
		'the Standard Webhooks headers');
INSERT INTO webhook.profile (name, builtin, retry_schedule, give_up_after, params, envelope,
		description) VALUES
	('website_toolbox', true, '{1h}', '3 days',
		'{"event_types": {"type": "event_types"}}',
		'{"api_version": "1", "data": {"object": {"...": "$object", "object": "$entity_title"}}, '
		'"object": "event", "id": "$number", '
		'"type": "$mapped_type|type", "mode": "$mode"}',
		'as Website Toolbox sends them: an event object with data.object, here signed with the '
		'Standard Webhooks headers');
-- all of these are signed as Standard Webhooks requires
UPDATE webhook.profile SET signature_algorithm = 'hmac-sha256', signature_encoding = 'base64',
	secret_encoding = 'whsec', signed_content = '{id}.{timestamp}.{body}',
	signature_header = 'webhook-signature', signature_format = 'v1,{signature}',
	signature_separator = ' ', id_header = 'webhook-id', timestamp_header = 'webhook-timestamp';

INSERT INTO webhook.profile (name, builtin, headers, id_header,
		signature_algorithm, signature_encoding, secret_encoding, signed_content,
		signature_header, signature_format, envelope, description) VALUES
	('github', true, '{"X-GitHub-Event": "{entity_type}"}', 'X-GitHub-Delivery',
		'hmac-sha256', 'hex', 'raw', '{body}',
		'X-Hub-Signature-256', 'sha256={signature}',
		'{"action": "$verb", "entity_type": "$entity_type", "entity_id": "$entity_id", '
		'"object": "$object", "previous": "$changes?"}',
		'as GitHub sends them: the event''s name and id in headers, signed with '
		'X-Hub-Signature-256');
INSERT INTO webhook.profile (name, builtin,
		signature_algorithm, signature_encoding, secret_encoding, signed_content,
		signature_header, signature_format, signature_separator, envelope, description) VALUES
	('stripe', true,
		'hmac-sha256', 'hex', 'raw', '{timestamp}.{body}',
		'Stripe-Signature', 't={timestamp},v1={signature}', ',',
		'{"id": "$id", "object": "event", "type": "$type", "created": "$unix", '
		'"livemode": "$live", "data": {"object": "$object", "previous_attributes": "$changes?"}}',
		'as Stripe sends them: an event object with data.object, signed with Stripe-Signature');
INSERT INTO webhook.profile (name, builtin,
		signature_algorithm, signature_encoding, secret_encoding, signed_content,
		signature_header, signature_format, max_url_length, params, envelope, description) VALUES
	('xsolla', true,
		'sha1', 'hex', 'raw', '{body}',
		'Authorization', 'Signature {signature}', 500,
		'{"project_id": {"type": "uuid", "required": true},
			"event_types": {"type": "event_types", "required": true, "covers_events": true,
			"values": ["registration", "authorization", "email_confirmation",
				"link_social_account", "new_verified_user"]}}',
		'{"event_type": "$mapped_type", "event_time": "$timestamp", '
		'"project_id": "$param.project_id", "data": "$object"}',
		'as Xsolla Login sends them: event_type, event_time, project_id and data, signed in '
		'Authorization');
INSERT INTO webhook.profile (name, builtin, headers, timestamp_header,
		event_prefix, transaction_prefix,
		signature_algorithm, signature_encoding, secret_encoding, signed_content,
		signature_header, signature_format, failure_match, failure_fields,
		params, envelope, description) VALUES
	('aghanim', true, '{"User-Agent": "pgwebhook/1.0"}', 'X-Aghanim-Signature-Timestamp',
		'whevt_', 'whtx_',
		'hmac-sha256', 'hex', 'raw', '{timestamp}.{body}',
		'X-Aghanim-Signature', '{signature}', '{"status": "error"}', '{code,message}',
		'{"game_id": {"type": "string", "required": true},
			"event_types": {"type": "event_types"}}',
		'{"event_type": "$mapped_type|entity_action", "event_data": "$object", '
		'"event_time": "$unix", "event_id": "$id", '
		'"idempotency_key": "$context.idempotency_key:string", '
		'"request_id": "$context.request_id:string", "sandbox": "$sandbox", '
		'"trigger": "$context.trigger:string", "transaction_id": "$transaction_id", '
		'"context": {"?": null, "order": "$context.order", "player": "$context.player"}, '
		'"game_id": "$param.game_id"}',
		'as Aghanim sends them: event_type, event_data and related members, signed with '
		'X-Aghanim-Signature');

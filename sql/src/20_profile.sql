--
-- Profiles: how receivers want to be spoken to, and the built-in ones.
--

CREATE TABLE webhook.profile (
	name             text NOT NULL PRIMARY KEY,
	description      text NOT NULL,
	envelope         json NOT NULL,
	batch_envelope   json,
	content_type     text NOT NULL DEFAULT 'application/json',
	batch_content_type text,
	headers          jsonb NOT NULL DEFAULT '{}',
	id_header        text,
	timestamp_header text,
	event_prefix     text NOT NULL DEFAULT 'evt_',
	transaction_prefix text NOT NULL DEFAULT 'tx_',
	signature_algorithm        text NOT NULL DEFAULT 'none',
	signature_encoding         text,
	secret_encoding  text,
	signed_content   text,
	signature_header text,
	signature_format text,
	signature_separator        text,
	failure_match          jsonb,
	failure_fields     text[],
	retry_schedule   interval[],
	give_up_after    interval,
	params           jsonb NOT NULL DEFAULT '{}',
	max_url_length          integer,
	builtin          boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE webhook.profile IS
	'how a receiver wants to be spoken to: the envelope, the headers, the signature, what counts '
	'as success, and what it asks of a subscription; docs/profiles.md is the reference';
COMMENT ON COLUMN webhook.profile.name IS 'the name a subscription uses, 1 to 200 characters';
COMMENT ON COLUMN webhook.profile.description IS 'what is sent, in one sentence';
COMMENT ON COLUMN webhook.profile.envelope IS
	'the body: JSON of at most 64 kB in which a string "$name" becomes that variable''s value';
COMMENT ON COLUMN webhook.profile.batch_envelope IS
	'each element of a batch''s array, in the same language, at most 64 kB; since headers tell '
	'the id of the batch, it should hold the event''s own. Null: the receiver takes one event per'
	' request';
COMMENT ON COLUMN webhook.profile.content_type IS 'the request header Content-Type';
COMMENT ON COLUMN webhook.profile.batch_content_type IS 'that of a batch; null: content_type';
COMMENT ON COLUMN webhook.profile.headers IS
	'further request headers: an object of names and of text with {name} in it; in a batch they '
	'tell of its first event';
COMMENT ON COLUMN webhook.profile.id_header IS
	'the request header that carries the event''s id; null: none does';
COMMENT ON COLUMN webhook.profile.timestamp_header IS
	'the request header that carries the time of the attempt in Unix seconds; null: none does';
COMMENT ON COLUMN webhook.profile.event_prefix IS 'what the ids of events begin with';
COMMENT ON COLUMN webhook.profile.transaction_prefix IS 'what the ids of transactions begin with';
COMMENT ON COLUMN webhook.profile.signature_algorithm IS
	'how requests are signed: hmac-sha256, hmac-sha1, sha1 (of the content and, behind it, the '
	'secret), ed25519, or none; with none the columns from signature_encoding to '
	'signature_separator mean nothing';
COMMENT ON COLUMN webhook.profile.signature_encoding IS 'how a signature is written: hex or base64';
COMMENT ON COLUMN webhook.profile.secret_encoding IS
	'what a secret is: raw (the key is its text, all of it, 1 to 200 bytes) or whsec (the key is '
	'the base64 after whsec_; with ed25519 after whsk_)';
COMMENT ON COLUMN webhook.profile.signed_content IS
	'what is signed: text with {id}, {timestamp} and {body}';
COMMENT ON COLUMN webhook.profile.signature_header IS
	'the request header that carries the signature';
COMMENT ON COLUMN webhook.profile.signature_format IS
	'its value: text with {signature}, and {timestamp} where it is sent there';
COMMENT ON COLUMN webhook.profile.signature_separator IS
	'divides signature_format into entries; the one with {signature} is there once for each live '
	'secret, the newest first. Null: the header has room for one signature, and while secrets '
	'overlap it is made with the oldest, which is the one that every receiver has';
COMMENT ON COLUMN webhook.profile.failure_match IS
	'a 2xx is a failure too (outcome rejected) where its body is a JSON object with all of these '
	'members, an object of scalars; null: every 2xx is success';
COMMENT ON COLUMN webhook.profile.failure_fields IS
	'which members of such a body tell what went wrong; joined, they are the error in webhook.log';
COMMENT ON COLUMN webhook.profile.retry_schedule IS
	'the retry_schedule of subscriptions that are made without one; null: the general default';
COMMENT ON COLUMN webhook.profile.give_up_after IS 'the same for give_up_after';
COMMENT ON COLUMN webhook.profile.params IS
	'what is asked of a subscription''s params: an object of their names and of rules, {"type": '
	'string (not an empty one), number, boolean, object, array, uuid or event_types (an object with '
	'keys such as user.new), "required": boolean, "values": [what it, or each member of the object, '
	'may be], "covers_events": true (every event that the subscription asks for is a key of it)}; '
	'params without a rule are free';
COMMENT ON COLUMN webhook.profile.max_url_length IS
	'the most characters a subscription''s url may have; null: 2048';
COMMENT ON COLUMN webhook.profile.builtin IS
	'part of the extension, and protected; copy it with webhook.copy_profile and change the copy';
SELECT pg_catalog.pg_extension_config_dump('webhook.profile', 'WHERE NOT builtin');

INSERT INTO webhook.profile (name, builtin, envelope, batch_envelope, description) VALUES
	('entity', true,
		'{"entity_id": "$entity_id", "entity_type": "$entity_type", "action_type": "$action_type", "result": "$result?"}',
		'{"event_id": "$id", "entity_id": "$entity_id", "entity_type": "$entity_type", "action_type": "$action_type", "result": "$result?"}',
		'entity_id, entity_type, action_type and result as one JSON object, signed with the Standard Webhooks headers'),
	('standard', true,
		'{"type": "$type", "timestamp": "$timestamp", "data": "$object"}',
		'{"id": "$id", "type": "$type", "timestamp": "$timestamp", "data": "$object"}',
		'Standard Webhooks: type, timestamp and data, signed with its headers');
INSERT INTO webhook.profile (name, builtin, content_type, batch_content_type, params, envelope, batch_envelope, description)
	SELECT 'cloudevents', true, 'application/cloudevents+json; charset=utf-8', 'application/cloudevents-batch+json; charset=utf-8',
		'{"source": {"type": "string"}}', e, e,
		'CloudEvents 1.0 in structured mode: attributes and data as one JSON object, signed with the Standard Webhooks headers'
	FROM (SELECT '{"specversion": "1.0", "id": "$id", "source": "$param.source|origin", "type": "$type", "subject": "$entity", "time": "$timestamp",
 "datacontenttype": "application/json", "sequence": "$sequence", "partitionkey": "$entity", "data": "$object"}'::json) x(e);
INSERT INTO webhook.profile (name, builtin, headers, params, envelope, description) VALUES
	('cloudevents_binary', true,
		'{"ce-specversion": "1.0", "ce-id": "{id:percent}", "ce-source": "{param.source|origin:percent}", "ce-type": "{type:percent}",
			"ce-subject": "{entity:percent}", "ce-time": "{timestamp}", "ce-sequence": "{sequence}", "ce-partitionkey": "{entity:percent}"}',
		'{"source": {"type": "string"}}',
		'"$object"',
		'CloudEvents 1.0 in binary mode: the data as the body, attributes as headers, signed with the Standard Webhooks headers');
INSERT INTO webhook.profile (name, builtin, retry_schedule, give_up_after, params, envelope, description) VALUES
	('website_toolbox', true, '{1h}', '3 days',
		'{"event_types": {"type": "event_types"}}',
		'{"api_version": "1", "data": {"object": {"...": "$object", "object": "$entity_title"}}, "object": "event", "id": "$number",
 "type": "$mapped_type|type", "mode": "$mode"}',
		'as Website Toolbox sends them: an event object with data.object, here signed with the Standard Webhooks headers');
-- all of these are signed as Standard Webhooks has it
UPDATE webhook.profile SET signature_algorithm = 'hmac-sha256', signature_encoding = 'base64', secret_encoding = 'whsec', signed_content = '{id}.{timestamp}.{body}',
	signature_header = 'webhook-signature', signature_format = 'v1,{signature}', signature_separator = ' ',
	id_header = 'webhook-id', timestamp_header = 'webhook-timestamp';

INSERT INTO webhook.profile (name, builtin, headers, id_header, signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header,
		signature_format, envelope, description) VALUES
	('github', true, '{"X-GitHub-Event": "{entity_type}"}', 'X-GitHub-Delivery',
		'hmac-sha256', 'hex', 'raw', '{body}', 'X-Hub-Signature-256', 'sha256={signature}',
		'{"action": "$verb", "entity_type": "$entity_type", "entity_id": "$entity_id", "object": "$object", "previous": "$changes?"}',
		'as GitHub sends them: the event''s name and id in headers, signed with X-Hub-Signature-256');
INSERT INTO webhook.profile (name, builtin, signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header, signature_format,
		signature_separator, envelope, description) VALUES
	('stripe', true, 'hmac-sha256', 'hex', 'raw', '{timestamp}.{body}', 'Stripe-Signature', 't={timestamp},v1={signature}', ',',
		'{"id": "$id", "object": "event", "type": "$type", "created": "$unix", "livemode": "$live",
 "data": {"object": "$object", "previous_attributes": "$changes?"}}',
		'as Stripe sends them: an event object with data.object, signed with Stripe-Signature');
INSERT INTO webhook.profile (name, builtin, signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header, signature_format,
		max_url_length, params, envelope, description) VALUES
	('xsolla', true, 'sha1', 'hex', 'raw', '{body}', 'Authorization', 'Signature {signature}', 500,
		'{"project_id": {"type": "uuid", "required": true},
			"event_types": {"type": "event_types", "required": true, "covers_events": true,
			"values": ["registration", "authorization", "email_confirmation", "link_social_account", "new_verified_user"]}}',
		'{"event_type": "$mapped_type", "event_time": "$timestamp", "project_id": "$param.project_id", "data": "$object"}',
		'as Xsolla Login sends them: event_type, event_time, project_id and data, signed in Authorization');
INSERT INTO webhook.profile (name, builtin, headers, timestamp_header, event_prefix, transaction_prefix,
		signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header, signature_format, failure_match, failure_fields, params, envelope, description) VALUES
	('aghanim', true, '{"User-Agent": "pgwebhook/1.0"}', 'X-Aghanim-Signature-Timestamp', 'whevt_', 'whtx_',
		'hmac-sha256', 'hex', 'raw', '{timestamp}.{body}', 'X-Aghanim-Signature', '{signature}', '{"status": "error"}', '{code,message}',
		'{"game_id": {"type": "string", "required": true}, "event_types": {"type": "event_types"}}',
		'{"event_type": "$mapped_type|entity_action", "event_data": "$object", "event_time": "$unix", "event_id": "$id",
 "idempotency_key": "$context.idempotency_key:string", "request_id": "$context.request_id:string", "sandbox": "$sandbox",
 "trigger": "$context.trigger:string", "transaction_id": "$transaction_id",
 "context": {"?": null, "order": "$context.order", "player": "$context.player"}, "game_id": "$param.game_id"}',
		'as Aghanim sends them: event_type, event_data and what goes with them, signed with X-Aghanim-Signature');

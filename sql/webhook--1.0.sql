/*
 * The install script of the extension "webhook".
 *
 * In this order: the tables (each column commented), watching, the rules and triggers
 * that keep the tables valid, subscribing and sending again, the views, and the grants.
 *
 * There are two schemas, both members of the extension: "webhook" has what people
 * call and read, "webhook_internal" everything else. If a schema of either name
 * already exists, CREATE EXTENSION fails and changes nothing. ("schema = webhook"
 * in the control file would install into it, and would leave the schema behind
 * when the extension is dropped.)
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION webhook" to load this file. \quit

CREATE SCHEMA webhook;
COMMENT ON SCHEMA webhook IS
	'Webhooks from PostgreSQL: the functions, tables and views that people use.';
CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
	'What the functions, triggers and views of schema webhook are built on. Not to be called '
	'directly; names may change.';

--
-- Identity: which cluster and database may deliver
--

CREATE TABLE webhook.identity (
	instance          text        NOT NULL PRIMARY KEY CHECK (instance ~ '^[0-9a-f]{8}$'),
	system_identifier bigint      NOT NULL,
	database_oid      oid         NOT NULL,
	timeline          integer     NOT NULL,
	enabled_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE webhook.identity IS
	'Where this database may deliver from. Delivery runs only while every row matches the running '
	'cluster and database. webhook.enable_delivery() leaves one row; a restored dump adds that of '
	'its original.';
COMMENT ON COLUMN webhook.identity.instance IS
	'Eight random hex digits, part of every event id that this database sends.';
COMMENT ON COLUMN webhook.identity.system_identifier IS
	'The cluster''s system identifier (pg_control_system()) when delivery was enabled.';
COMMENT ON COLUMN webhook.identity.database_oid IS 'The database''s OID when delivery was enabled.';
COMMENT ON COLUMN webhook.identity.timeline IS
	'The cluster''s timeline. The worker updates it when a standby is promoted, and sets it to 0 '
	'if the cluster was recovered from a backup.';
COMMENT ON COLUMN webhook.identity.enabled_at IS 'When delivery was enabled here.';
SELECT pg_catalog.pg_extension_config_dump('webhook.identity', '');

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

--
-- Subscriptions: who receives which events, and where.
--

CREATE TABLE webhook.subscription (
	id              bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	name            text        NOT NULL UNIQUE,
	url             text        NOT NULL,
	events          text[],
	profile         text        NOT NULL DEFAULT 'entity' REFERENCES webhook.profile,
	tenant          text,
	filter          jsonpath,
	headers         jsonb       NOT NULL DEFAULT '{}',
	params          jsonb       NOT NULL DEFAULT '{}',
	retry_schedule  interval[]  NOT NULL,
	give_up_after   interval    NOT NULL,
	timeout         interval    NOT NULL DEFAULT '15 seconds',
	max_in_flight   integer     NOT NULL DEFAULT 50,
	rate_limit      integer,
	batch_size      integer     NOT NULL DEFAULT 1,
	ordering        text        NOT NULL DEFAULT 'entity',
	changed_columns text[],
	exclude_origins text[],
	transform       text,
	transform_owner name,
	state           text        NOT NULL DEFAULT 'active',
	state_reason    text,
	owner           name        NOT NULL DEFAULT current_user,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	-- the triggers check the same before, with messages for people
	CONSTRAINT name_length CHECK (length(name) BETWEEN 1 AND 200),
	CONSTRAINT events_list CHECK (cardinality(events) > 0 AND array_ndims(events) = 1
		AND array_position(events, NULL) IS NULL),
	CONSTRAINT changed_columns_list CHECK (cardinality(changed_columns) > 0
		AND array_ndims(changed_columns) = 1 AND array_position(changed_columns, NULL) IS NULL),
	CONSTRAINT exclude_origins_list CHECK (cardinality(exclude_origins) > 0
		AND array_ndims(exclude_origins) = 1 AND array_position(exclude_origins, NULL) IS NULL),
	CONSTRAINT headers_object CHECK (jsonb_typeof(headers) = 'object'),
	CONSTRAINT params_object CHECK (jsonb_typeof(params) = 'object'),
	CONSTRAINT retry_schedule_list CHECK (cardinality(retry_schedule) BETWEEN 1 AND 32
		AND array_ndims(retry_schedule) = 1 AND array_position(retry_schedule, NULL) IS NULL
		AND interval '100 ms' <= ALL (retry_schedule)
		AND interval '30 days' >= ALL (retry_schedule)),
	CONSTRAINT give_up_after_range CHECK (give_up_after BETWEEN '0' AND '365 days'),
	CONSTRAINT timeout_range CHECK (timeout BETWEEN '100 ms' AND '10 minutes'),
	CONSTRAINT max_in_flight_range CHECK (max_in_flight BETWEEN 1 AND 1000),
	CONSTRAINT rate_limit_range CHECK (rate_limit BETWEEN 1 AND 100000),
	CONSTRAINT batch_size_range CHECK (batch_size BETWEEN 1 AND 1000),
	CONSTRAINT ordering_known CHECK (ordering IN ('entity', 'none', 'strict')),
	CONSTRAINT state_known CHECK (state IN ('active', 'paused', 'disabled', 'inactive'))
);
COMMENT ON TABLE webhook.subscription IS
	'Who receives which events, at which URL, and how they are delivered. Rows may be written '
	'directly or with webhook.subscribe() and its companions.';
COMMENT ON COLUMN webhook.subscription.id IS
	'Number of the subscription, used by the outbox, the log and pending deliveries.';
COMMENT ON COLUMN webhook.subscription.name IS
	'Its name, 1 to 200 characters, unique. Not sent to receivers.';
COMMENT ON COLUMN webhook.subscription.url IS
	'The endpoint: https (http only while webhook.allow_http is on), without user name or '
	'password, at most 2048 characters.';
COMMENT ON COLUMN webhook.subscription.events IS
	'Patterns of events to receive: entity_type.action_type, either part of which may be *, such '
	'as {user.new,user.update,company.*}. The last dot separates the parts; action types are new, '
	'update, delete, truncate and test. At most 1000 patterns, 32 kB in total; null: all events. '
	'Events of entity type webhook_subscription are sent only to subscriptions that name it.';
COMMENT ON COLUMN webhook.subscription.profile IS
	'The format of the requests: a name in webhook.profile.';
COMMENT ON COLUMN webhook.subscription.tenant IS
	'Receive only events of this tenant. Null: of all.';
COMMENT ON COLUMN webhook.subscription.filter IS
	'Receive only events for which this jsonpath predicate is true. It is evaluated on {"result", '
	'"previous", "entity_type", "action_type", "tenant", "context"}, as by jsonb_path_match in '
	'silent mode; at most 16 kB; null: all. An event for which it cannot be evaluated becomes a '
	'dead letter.';
COMMENT ON COLUMN webhook.subscription.headers IS
	'Further request headers: a JSON object of strings, at most 16 kB.';
COMMENT ON COLUMN webhook.subscription.params IS
	'Values for the profile''s templates: a JSON object, at most 64 kB. The profile may have rules '
	'for them.';
COMMENT ON COLUMN webhook.subscription.retry_schedule IS
	'Waits between the attempts of a delivery that fails: 1 to 32 intervals from 100 milliseconds '
	'to 30 days; the last one repeats. Default: the profile''s, else {5s,5min,30min,2h,5h,10h}.';
COMMENT ON COLUMN webhook.subscription.give_up_after IS
	'How long after its first attempt a delivery that still fails becomes a dead letter, 0 to 365 '
	'days. Default: the profile''s, else 3 days.';
COMMENT ON COLUMN webhook.subscription.timeout IS
	'The longest time that one request may take, from its start to the end of the response: 100 '
	'milliseconds to 10 minutes.';
COMMENT ON COLUMN webhook.subscription.max_in_flight IS
	'The most requests in flight to this endpoint at once, 1 to 1000.';
COMMENT ON COLUMN webhook.subscription.rate_limit IS
	'The most requests started per second, 1 to 100000. Null: no limit.';
COMMENT ON COLUMN webhook.subscription.batch_size IS
	'The most events in one request, 1 to 1000. If greater than 1, the body is a JSON array of the '
	'queued events, each in the profile''s batch_envelope.';
COMMENT ON COLUMN webhook.subscription.ordering IS
	'entity: deliveries of one entity go one after another; none: deliveries do not wait for each '
	'other; strict: one at a time for the whole subscription. A change applies to events read from '
	'then on, which may overtake pending ones.';
COMMENT ON COLUMN webhook.subscription.changed_columns IS
	'Of updates, receive only those that changed one of these columns; at most 1000, 32 kB in '
	'total; null: all. Updates of sources watched without keep_previous are always sent.';
COMMENT ON COLUMN webhook.subscription.exclude_origins IS
	'Do not receive events of transactions whose webhook.context has one of these values as '
	'origin; at most 1000, 32 kB in total; null: receive all. Use it for a receiver that writes '
	'back, so that it is not sent its own changes.';
COMMENT ON COLUMN webhook.subscription.transform IS
	'A function, schema.name, that takes a webhook.outbox and returns json: the body, instead of '
	'the profile''s envelope; if it returns null, nothing is sent. It runs with the rights of its '
	'owner, read-only, for at most 500 ms. Null: none.';
COMMENT ON COLUMN webhook.subscription.transform_owner IS
	'The role that owned the transform when it was set, written by a trigger. If the function gets '
	'another owner, it is not called.';
COMMENT ON COLUMN webhook.subscription.state IS
	'active; paused (by people, with webhook.pause(): deliveries are kept); disabled (by the '
	'worker, see state_reason: deliveries are kept); inactive (by people: events that occur '
	'meanwhile are not for it). webhook.resume() makes it active again.';
COMMENT ON COLUMN webhook.subscription.state_reason IS 'Why the state is not active; at most 4 kB.';
COMMENT ON COLUMN webhook.subscription.owner IS
	'The role that the subscription belongs to, by default the one that creates it; it can be set '
	'only to a role that the current user is a member of. After webhook.isolate_operators(), only '
	'its members see the subscription. Stored as a name, so that a dump can be restored where the '
	'role does not exist.';
COMMENT ON COLUMN webhook.subscription.created_at IS 'When the subscription was created.';
SELECT pg_catalog.pg_extension_config_dump('webhook.subscription', '');
SELECT pg_catalog.pg_extension_config_dump('webhook.subscription_id_seq', '');

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

--
-- The logs: rings of eight segments, written one after another, recycled by TRUNCATE.
--

CREATE SEQUENCE webhook.event_number_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE webhook.event_number_seq IS
	'Event numbers. Each is taken after its transaction has an xid, so that their order is the '
	'commit order of each entity.';

CREATE TABLE webhook.outbox (
	event_number    bigint      NOT NULL,
	xid             xid8        NOT NULL,
	entity_id       text,
	entity_type     text        NOT NULL,
	action_type     text        NOT NULL,
	result          json,
	previous        json,
	tenant          text,
	context         json,
	subscription_id bigint,
	created_at      timestamptz NOT NULL,
	segment         smallint    NOT NULL
) PARTITION BY LIST (segment);
-- Values of more than 2 kB are compressed in the application's statement. lz4 takes half of the
-- time that pglz takes there. Segments inherit it when they are created.
DO $$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_settings
			WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
		ALTER TABLE webhook.outbox
			ALTER COLUMN result SET COMPRESSION lz4,
			ALTER COLUMN previous SET COMPRESSION lz4,
			ALTER COLUMN context SET COMPRESSION lz4;
	END IF;
END
$$;
COMMENT ON TABLE webhook.outbox IS
	'One row per event, inserted in the application''s own transaction. A segment is truncated '
	'once everything in it is older than webhook.retention and settled; events with a pending '
	'delivery are first moved to the current segment.';
COMMENT ON COLUMN webhook.outbox.event_number IS
	'Number of the event, ascending in commit order for each entity.';
COMMENT ON COLUMN webhook.outbox.xid IS 'The transaction that made the event.';
COMMENT ON COLUMN webhook.outbox.entity_id IS
	'The key of the changed row as text; several key columns as a JSON array. Null for truncate.';
COMMENT ON COLUMN webhook.outbox.entity_type IS
	'What kind of thing changed: the name given to webhook.watch(), by default the table''s.';
COMMENT ON COLUMN webhook.outbox.action_type IS 'new, update, delete, truncate or test.';
COMMENT ON COLUMN webhook.outbox.result IS
	'The captured columns of the row after the change. Null for delete and truncate.';
COMMENT ON COLUMN webhook.outbox.previous IS
	'If the source is watched with keep_previous: the old values of the columns that an update '
	'changed, or the whole row that was deleted.';
COMMENT ON COLUMN webhook.outbox.tenant IS 'Value of the source''s tenant column, as text.';
COMMENT ON COLUMN webhook.outbox.context IS 'The setting webhook.context of the transaction.';
COMMENT ON COLUMN webhook.outbox.subscription_id IS
	'The only subscription it is for. Null: all that match.';
COMMENT ON COLUMN webhook.outbox.created_at IS
	'The time of the change (not of the transaction''s start).';
COMMENT ON COLUMN webhook.outbox.segment IS 'The partition that the row is in.';

-- fixed widths first, the widest before: nothing is lost between them
CREATE TABLE webhook.attempt (
	started_at      timestamptz NOT NULL,
	event_number    bigint      NOT NULL,
	subscription_id bigint      NOT NULL,
	attempt_number  integer     NOT NULL,
	http_status     integer,
	duration_ms     real,
	segment         smallint    NOT NULL,
	outcome         text        NOT NULL,
	subscription    text        COLLATE "C",
	entity_type     text,
	entity_id       text        COLLATE "C",
	action_type     text,
	error           text,
	response        text
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.attempt IS
	'One row per HTTP request, inserted when it has ended. Recycled like webhook.outbox.';
COMMENT ON COLUMN webhook.attempt.started_at IS 'When the request was started.';
COMMENT ON COLUMN webhook.attempt.event_number IS
	'The event that was sent: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.attempt.subscription_id IS 'The subscription it was sent to.';
COMMENT ON COLUMN webhook.attempt.attempt_number IS
	'Number of this attempt of the delivery, from 1.';
COMMENT ON COLUMN webhook.attempt.http_status IS 'Status of the response. Null: there was none.';
COMMENT ON COLUMN webhook.attempt.duration_ms IS
	'Milliseconds from the start of the request to its end.';
COMMENT ON COLUMN webhook.attempt.segment IS 'The partition that the row is in.';
COMMENT ON COLUMN webhook.attempt.outcome IS
	'One word: delivered, or what went wrong. docs/outcomes.md lists them all.';
COMMENT ON COLUMN webhook.attempt.subscription IS
	'Name of the subscription at that time. Null: it was removed before the request ended.';
COMMENT ON COLUMN webhook.attempt.entity_type IS
	'The event''s entity type, so that the log can be searched by it.';
COMMENT ON COLUMN webhook.attempt.entity_id IS 'The event''s entity id, its first 500 characters.';
COMMENT ON COLUMN webhook.attempt.action_type IS 'The event''s action type.';
COMMENT ON COLUMN webhook.attempt.error IS 'What went wrong, as text. Null when delivered.';
COMMENT ON COLUMN webhook.attempt.response IS 'The first 4096 bytes of the response body.';

DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('CREATE TABLE webhook.outbox_%s PARTITION OF webhook.outbox '
			'FOR VALUES IN (%s)', d, d);
		-- it has no key, and rows move into other segments
		EXECUTE format('ALTER TABLE webhook.outbox_%s REPLICA IDENTITY FULL', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (xid)', d);
		EXECUTE format('COMMENT ON TABLE webhook.outbox_%s IS %L', d,
			'Segment ' || d || ' of webhook.outbox.');
		EXECUTE format('CREATE TABLE webhook.attempt_%s PARTITION OF webhook.attempt '
			'FOR VALUES IN (%s)', d, d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (started_at)', d);
		-- 2 bytes of a row, where a btree takes 45 and its record in the WAL 72. The worker keeps
		-- it up to date; of all ranges, 3 in 1000 are found and have nothing.
		EXECUTE format('CREATE INDEX attempt_%s_entity_id_idx ON webhook.attempt_%1$s USING brin '
			'(entity_id text_bloom_ops (n_distinct_per_range = 1300, false_positive_rate = 0.003)) '
			'WITH (pages_per_range = 16)', d);
		-- for failures alone: a delivery that succeeds costs nothing
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at) '
			'WHERE outcome <> ''delivered''', d);
		EXECUTE format('COMMENT ON TABLE webhook.attempt_%s IS %L', d,
			'Segment ' || d || ' of webhook.attempt.');
	END LOOP;
END
$$;

CREATE TABLE webhook.pending (
	subscription_id  bigint      NOT NULL,
	event_number     bigint      NOT NULL,
	lane             bigint      NOT NULL,
	state            text        NOT NULL
		CHECK (state IN ('retry', 'blocked', 'deferred', 'in_flight', 'requested')),
	attempts         integer     NOT NULL DEFAULT 0,
	next_attempt_at  timestamptz NOT NULL,
	first_attempt_at timestamptz,
	last_error       text,
	segment          smallint    NOT NULL,
	size             integer     NOT NULL DEFAULT 0,
	pending_since    timestamptz NOT NULL DEFAULT clock_timestamp(),
	batch            bigint,
	judged           boolean     NOT NULL DEFAULT true
);
-- it has no key, and may be in a publication of all tables
ALTER TABLE webhook.pending REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.pending IS
	'Deliveries that did not simply succeed: due for a retry, blocked by an earlier delivery that '
	'failed, or deferred until the subscription can take them.';
COMMENT ON COLUMN webhook.pending.subscription_id IS 'The subscription it is for.';
COMMENT ON COLUMN webhook.pending.event_number IS
	'The event to deliver: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.pending.lane IS
	'Deliveries of the subscription with the same lane go one after another: a hash of the entity, '
	'or as ordering requires.';
COMMENT ON COLUMN webhook.pending.state IS
	'retry: tried, due again at next_attempt_at; blocked: waits for an earlier delivery of its '
	'lane; deferred: waits until the subscription catches up; requested: by webhook.redeliver() or '
	'webhook.replay(), to be deferred by the worker; in_flight: taken by the worker, back to retry '
	'if the worker dies.';
COMMENT ON COLUMN webhook.pending.attempts IS 'Requests made so far, counted before they are sent.';
COMMENT ON COLUMN webhook.pending.next_attempt_at IS 'When it is due; infinity while blocked.';
COMMENT ON COLUMN webhook.pending.first_attempt_at IS 'When it was first tried. Null: not yet.';
COMMENT ON COLUMN webhook.pending.last_error IS 'What went wrong last.';
COMMENT ON COLUMN webhook.pending.segment IS 'The segment of webhook.outbox that its event is in.';
COMMENT ON COLUMN webhook.pending.size IS
	'Bytes that its event takes in the worker''s memory, which limits how many are taken at once.';
COMMENT ON COLUMN webhook.pending.pending_since IS 'When it became pending.';
COMMENT ON COLUMN webhook.pending.batch IS
	'The batch it was sent with and will be sent with again: the lowest event number in it, whose '
	'row says when. Null: sent by itself.';
COMMENT ON COLUMN webhook.pending.judged IS
	'False: read while the subscription was not active; filter, changed_columns and '
	'exclude_origins are evaluated when it is taken, so it may turn out not to match.';
-- partial, so that no foreign key can refer to it and keep the worker from deleting delivered rows
CREATE UNIQUE INDEX pending_idx ON webhook.pending (subscription_id, event_number)
	WHERE subscription_id IS NOT NULL;
CREATE INDEX pending_due_idx ON webhook.pending (next_attempt_at) WHERE state = 'retry';
CREATE INDEX pending_deferred_idx ON webhook.pending (subscription_id, event_number)
	WHERE state = 'deferred';
CREATE INDEX pending_requested_idx ON webhook.pending (subscription_id, event_number)
	WHERE state = 'requested';
CREATE INDEX pending_lane_idx ON webhook.pending (lane, event_number);
CREATE INDEX pending_batch_idx ON webhook.pending (subscription_id, batch) WHERE batch IS NOT NULL;

CREATE TABLE webhook.dead_letter (
	subscription_id  bigint      NOT NULL,
	event_number     bigint      NOT NULL,
	subscription     text        NOT NULL,
	reason           text        NOT NULL,
	attempts         integer     NOT NULL,
	first_attempt_at timestamptz,
	given_up_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	xid              xid8        NOT NULL,
	entity_id        text,
	entity_type      text        NOT NULL,
	action_type      text        NOT NULL,
	result           json,
	previous         json,
	tenant           text,
	context          json,
	created_at       timestamptz NOT NULL,
	PRIMARY KEY (subscription_id, event_number)
);
CREATE INDEX dead_letter_event_idx ON webhook.dead_letter (event_number);
COMMENT ON TABLE webhook.dead_letter IS
	'Deliveries that were given up, with their whole event, kept until they are redelivered or '
	'purged.';
COMMENT ON COLUMN webhook.dead_letter.subscription_id IS 'The subscription it was for.';
COMMENT ON COLUMN webhook.dead_letter.event_number IS 'The event: webhook.outbox.event_number.';
COMMENT ON COLUMN webhook.dead_letter.subscription IS 'Name of the subscription at that time.';
COMMENT ON COLUMN webhook.dead_letter.reason IS 'Why it was given up: what went wrong last.';
COMMENT ON COLUMN webhook.dead_letter.attempts IS 'Requests made.';
COMMENT ON COLUMN webhook.dead_letter.first_attempt_at IS 'When it was first tried. Null: never.';
COMMENT ON COLUMN webhook.dead_letter.given_up_at IS 'When it was given up.';
COMMENT ON COLUMN webhook.dead_letter.xid IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.entity_id IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.entity_type IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.action_type IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.result IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.previous IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.tenant IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.context IS 'As in webhook.outbox.';
COMMENT ON COLUMN webhook.dead_letter.created_at IS 'As in webhook.outbox.';

CREATE TABLE webhook_internal.breaker_notice (
	subscription_id bigint      NOT NULL,
	opened_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- partial for the same reason as that of pending
CREATE UNIQUE INDEX breaker_notice_idx ON webhook_internal.breaker_notice (subscription_id)
	WHERE subscription_id IS NOT NULL;
ALTER TABLE webhook_internal.breaker_notice REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook_internal.breaker_notice IS
	'Subscriptions for which breaker_opened was announced and breaker_closed was not yet. Breakers '
	'are in the worker''s memory; what was announced must outlive it.';
COMMENT ON COLUMN webhook_internal.breaker_notice.subscription_id IS
	'The subscription of the breaker.';
COMMENT ON COLUMN webhook_internal.breaker_notice.opened_at IS 'When it was announced.';

CREATE TABLE webhook.checkpoint (
	id          bigint      NOT NULL,
	kind        text        NOT NULL
		CHECK (kind IN ('read', 'settled', 'matching', 'suspect', 'killed')),
	snapshot    pg_snapshot NOT NULL,
	next_xid    xid8        NOT NULL,
	hi          bigint      NOT NULL,
	within      jsonb,
	recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX checkpoint_idx ON webhook.checkpoint (id); -- not unique, for the same reason
ALTER TABLE webhook.checkpoint REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.checkpoint IS
	'Positions of the worker, append-only; the newest of each kind counts. '
	'docs/internals/reading.md explains them.';
COMMENT ON COLUMN webhook.checkpoint.id IS 'Number of the checkpoint.';
COMMENT ON COLUMN webhook.checkpoint.kind IS
	'read: everything up to here may have been sent; settled: everything up to here is delivered, '
	'pending or given up. The other kinds record what a worker was at that may have ended it: '
	'matching: a page that begins here; suspect: the event hi, while it was read or matched with '
	'within ->> subscription; killed: the same, and the worker ended.';
COMMENT ON COLUMN webhook.checkpoint.snapshot IS
	'S: every event visible in it with a number up to hi has been read.';
COMMENT ON COLUMN webhook.checkpoint.next_xid IS
	'N: the next transaction id, read just after the snapshot was taken.';
COMMENT ON COLUMN webhook.checkpoint.hi IS 'The highest event number read.';
COMMENT ON COLUMN webhook.checkpoint.within IS
	'Where a page of stragglers was cut: the snapshot they are read under, its next_xid, and the '
	'last event number read. Null: not among stragglers.';
COMMENT ON COLUMN webhook.checkpoint.recorded_at IS 'When the worker was there.';

--
-- The cumulative counters, which the worker adds to at most once a second.
--

-- Rows are short and updated often: half of a page is left for their next versions.
CREATE TABLE webhook_internal.stat_subscription (
	subscription_id    bigint           NOT NULL,
	delivered          bigint           NOT NULL DEFAULT 0,
	skipped            bigint           NOT NULL DEFAULT 0,
	failed             bigint           NOT NULL DEFAULT 0,
	given_up           bigint           NOT NULL DEFAULT 0,
	breaker_opened     bigint           NOT NULL DEFAULT 0,
	duration_seconds   double precision NOT NULL DEFAULT 0,
	delay_seconds      double precision NOT NULL DEFAULT 0,
	stats_reset        timestamptz,
	duration_histogram bigint[]         NOT NULL DEFAULT array_fill(0, '{12}'),
	delay_histogram    bigint[]         NOT NULL DEFAULT array_fill(0, '{12}')
) WITH (fillfactor = 50);
-- partial, so that no foreign key can refer to it
CREATE UNIQUE INDEX stat_subscription_idx ON webhook_internal.stat_subscription (subscription_id)
	WHERE subscription_id IS NOT NULL;
ALTER TABLE webhook_internal.stat_subscription REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook_internal.stat_subscription IS
	'What webhook.stat_subscription shows, a row per subscription of which anything was counted.';
COMMENT ON COLUMN webhook_internal.stat_subscription.subscription_id IS 'The subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.delivered IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.skipped IS 'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.failed IS 'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.given_up IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.breaker_opened IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.duration_seconds IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.delay_seconds IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.stats_reset IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.duration_histogram IS
	'As in webhook.stat_subscription.';
COMMENT ON COLUMN webhook_internal.stat_subscription.delay_histogram IS
	'As in webhook.stat_subscription.';

CREATE TABLE webhook_internal.stat_worker (
	delivered              bigint NOT NULL DEFAULT 0,
	skipped                bigint NOT NULL DEFAULT 0,
	failed                 bigint NOT NULL DEFAULT 0,
	given_up               bigint NOT NULL DEFAULT 0,
	starts                 bigint NOT NULL DEFAULT 0,
	reads                  bigint NOT NULL DEFAULT 0,
	events_read            bigint NOT NULL DEFAULT 0,
	segments_emptied       bigint NOT NULL DEFAULT 0,
	rotation_delayed_since timestamptz,
	stats_reset            timestamptz
) WITH (fillfactor = 50);
ALTER TABLE webhook_internal.stat_worker REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook_internal.stat_worker IS 'What webhook.stat_worker shows, in one row.';
COMMENT ON COLUMN webhook_internal.stat_worker.delivered IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.skipped IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.failed IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.given_up IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.starts IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.reads IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.events_read IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.segments_emptied IS 'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.rotation_delayed_since IS
	'As in webhook.stat_worker.';
COMMENT ON COLUMN webhook_internal.stat_worker.stats_reset IS 'As in webhook.stat_worker.';
INSERT INTO webhook_internal.stat_worker DEFAULT VALUES;

--
-- Trigger functions: capture, and changes of the configuration.
--

CREATE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
COMMENT ON FUNCTION webhook.capture() IS
	'Row trigger (AFTER INSERT, UPDATE or DELETE, FOR EACH ROW) that appends the change to '
	'webhook.outbox with the owner''s rights. webhook.watch() creates it. Its argument is the JSON '
	'object that webhook.watch() writes; without one, the entity type is the table''s name, the '
	'key is the primary key, and all columns are sent.';

CREATE FUNCTION webhook.capture_truncate() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture_truncate';
COMMENT ON FUNCTION webhook.capture_truncate() IS
	'Statement trigger (AFTER TRUNCATE) that appends one event with action type truncate. '
	'webhook.watch() creates it.';

CREATE FUNCTION webhook_internal.capture_argument(
	nargs smallint, args bytea, table_name name,
	OUT entity_type text, OUT id_columns name[], OUT action_types text[], OUT columns name[],
	OUT exclude_columns name[], OUT tenant name, OUT keep_previous boolean, OUT problem text
)
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_capture_argument';
COMMENT ON FUNCTION webhook_internal.capture_argument(smallint, bytea, name) IS
	'What the argument of a capture trigger (tgnargs and tgargs of pg_trigger) means: its values, '
	'null where it has none, or only the problem if it is invalid and makes no events. Never '
	'raises an error.';

CREATE FUNCTION webhook_internal.config_changed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_config_changed';
COMMENT ON FUNCTION webhook_internal.config_changed() IS
	'Makes the worker read its subscriptions again when this transaction commits.';

--
-- What webhook.watch() is made of: what can be watched, what is asked for, how a table is watched,
-- how it is to be, and the triggers that make it so.
--

CREATE FUNCTION webhook_internal.warn_undelivered() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_warn_undelivered';
COMMENT ON FUNCTION webhook_internal.warn_undelivered() IS
	'Raises a WARNING, once per session, if webhook was neither preloaded nor started, so that '
	'events are kept and not delivered. For CREATE EXTENSION, webhook.watch() and '
	'webhook.subscribe().';

CREATE FUNCTION webhook_internal.lock_source(source regclass) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_source';
COMMENT ON FUNCTION webhook_internal.lock_source(regclass) IS
	'Locks a table as CREATE TRIGGER does, with the same rights: its triggers stay as they are '
	'until this transaction ends. Part of webhook.watch().';

CREATE TYPE webhook_internal.watch_state AS (
	args      jsonb,   -- the argument of its triggers; null: it is not watched
	events    text[],  -- what the row trigger fires for
	truncates boolean, -- is there a trigger for TRUNCATE
	trigger   name,    -- the row trigger's name; null: there is none
	same_args boolean, -- the two triggers agree
	own_terms boolean  -- one has a condition or the like, which webhook.watch() cannot express
);
COMMENT ON TYPE webhook_internal.watch_state IS
	'How a table is watched, or should be, by its triggers: their argument, what they fire for, '
	'the name of the row trigger, whether they agree, and whether one has a condition or the like.';

CREATE FUNCTION webhook_internal.watched(source regclass, locked boolean)
	RETURNS webhook_internal.watch_state
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	has webhook_internal.watch_state := (NULL, '{}', false, NULL, true, false);
	t record;
	argument text;
	first_argument text;
	other text;
BEGIN
	FOR t IN SELECT g.*,
			(SELECT p.tgrelid::regclass FROM pg_trigger p WHERE p.oid = g.tgparentid) AS parent
		FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
		WHERE g.tgrelid = watched.source
			AND (g.tgname IN ('webhook_capture', 'webhook_truncate')
				OR c.relkind = 'p' AND g.tgparentid = 0 AND g.tgname ~ '^webhook_capture_[0-9]+$'
					AND g.tgfoid = 'webhook.capture'::regproc)
		ORDER BY g.tgname LOOP
		IF t.tgfoid NOT IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) THEN
			RAISE duplicate_object USING
				MESSAGE = format('trigger "%s" of "%s" does not belong to webhook',
					t.tgname, watched.source),
				DETAIL = 'webhook.watch() creates triggers of that name.',
				HINT = format('Rename it: ALTER TRIGGER %I ON %s RENAME TO another_name.', t.tgname,
					watched.source);
		END IF;
		IF t.parent IS NOT NULL THEN
			RAISE duplicate_object USING
				MESSAGE = format('trigger "%s" of "%s" is inherited from "%s"',
					t.tgname, watched.source, t.parent),
				DETAIL = 'webhook.watch() creates triggers of that name.',
				HINT = format('Rename it: ALTER TRIGGER %I ON %s RENAME TO another_name.', t.tgname,
					t.parent);
		END IF;
		argument := CASE WHEN t.tgnargs > 0
			THEN convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1),
				getdatabaseencoding())
			ELSE '{}' END;
		-- the snapshot of an older transaction may show a trigger that has been replaced since
		IF locked AND strpos(coalesce(pg_get_triggerdef(t.oid), ''), CASE WHEN t.tgnargs > 0
				THEN format('(''%s'')', replace(argument, '''', '''''')) ELSE '()' END) = 0 THEN
			RAISE serialization_failure USING
				MESSAGE = format('could not serialize access due to concurrent webhook.watch() of '
					'"%s"', watched.source),
				DETAIL = 'This transaction does not see the change, and would undo it.',
				HINT = 'Retry the transaction.';
		END IF;
		BEGIN
			PERFORM jsonb_array_elements_text(argument::jsonb -> k.key)
				FROM (VALUES ('id_columns'), ('action_types'), ('columns'), ('exclude_columns'))
					k(key)
				WHERE argument::jsonb ? k.key;
			IF jsonb_typeof(argument::jsonb) <> 'object' THEN
				RAISE invalid_parameter_value;
			END IF;
		EXCEPTION WHEN data_exception THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('could not read the argument of trigger "%s" of "%s"', t.tgname,
					watched.source),
				DETAIL = 'It is not the JSON object that webhook.watch() writes, so the columns '
					'that it excludes are not known.',
				HINT = 'Call webhook.unwatch() first, then webhook.watch().';
		END;
		IF has.args IS NULL THEN
			has.args := argument::jsonb;
			first_argument := argument;
		END IF;
		has.same_args := argument::jsonb = first_argument::jsonb;
		has.own_terms := has.own_terms OR t.tgqual IS NOT NULL OR t.tgattr::text <> ''
			OR t.tgconstraint <> 0;
		IF t.tgname = 'webhook_truncate' THEN
			has.truncates := true;
		ELSE
			has.trigger := t.tgname;
			has.events := array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
				CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
				CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END], NULL);
		END IF;
	END LOOP;

	-- A table watched by a trigger of another name must not be watched again, with other columns.
	-- In partitions, capture takes care of that, unless a trigger has a condition or the like.
	IF has.args IS NULL THEN
		SELECT string_agg(format('"%s" of "%s"', g.tgname, g.tgrelid::regclass), ', '
				ORDER BY g.tgrelid::regclass::text, g.tgname) INTO other
			FROM pg_trigger g
			WHERE g.tgparentid = 0
				AND (g.tgrelid = watched.source AND g.tgfoid IN (
						'webhook.capture'::regproc, 'webhook.capture_truncate'::regproc)
					OR g.tgrelid IN (SELECT p.relid FROM pg_partition_tree(watched.source) p)
						AND g.tgfoid = 'webhook.capture'::regproc
						AND (g.tgqual IS NOT NULL OR g.tgattr::text <> '' OR g.tgconstraint <> 0));
	END IF;
	IF other IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('"%s" is already watched by another trigger: %s',
				watched.source, other),
			DETAIL = 'Watching it again would send each change twice, possibly with columns that '
				'are excluded now.',
			HINT = 'Change or drop that trigger, or call webhook.unwatch() for its table first.';
	END IF;
	RETURN has;
END
$$;
COMMENT ON FUNCTION webhook_internal.watched(regclass, boolean) IS
	'How webhook.watch() has a table watched now, read from its triggers. Raises an error if other '
	'triggers watch it. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.named_columns(lists jsonb, OUT key text, OUT name text)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.key, e.name FROM jsonb_each(lists) l,
			jsonb_array_elements_text(CASE jsonb_typeof(l.value)
				WHEN 'array' THEN l.value ELSE jsonb_build_array(l.value) END) e(name)
		WHERE l.key IN ('id_columns', 'columns', 'exclude_columns', 'include_columns', 'tenant')
			AND NOT (l.key = 'columns' AND l.value = '["*"]')
			AND NOT (l.key = 'tenant' AND e.name = '')
		ORDER BY l.key, e.name
$$;
COMMENT ON FUNCTION webhook_internal.named_columns(jsonb) IS
	'The columns named by a capture trigger''s argument or by the arguments of webhook.watch(). '
	'Part of webhook.watch().';

CREATE FUNCTION webhook_internal.check_source(source regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rel    record;
	reason text;
	advice text := 'Watch a table of your application.';
BEGIN
	SELECT c.relkind, c.relpersistence, n.nspname INTO rel
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = check_source.source;
	IF NOT FOUND THEN
		RAISE undefined_table USING
			MESSAGE = 'table to watch does not exist',
			DETAIL = format('There is no table with OID %s.',
				coalesce(check_source.source::oid::text, 'null')),
			HINT = 'Pass the table as ''schema.table''.';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		reason := 'Only ordinary and partitioned tables can be watched.';
		advice := 'Watch the tables that the view or foreign table gets its rows from.';
	ELSIF rel.relpersistence = 't' THEN
		reason := 'It is a temporary table.';
	ELSIF rel.nspname IN ('webhook', 'webhook_internal', 'information_schema')
		OR rel.nspname LIKE 'pg\_%' THEN
		reason := 'System tables and the tables of this extension cannot be watched.';
	END IF;
	IF reason IS NOT NULL THEN
		RAISE wrong_object_type USING
			MESSAGE = format('cannot watch "%s"', check_source.source),
			DETAIL = reason,
			HINT = advice;
	END IF;
	IF NOT has_table_privilege(check_source.source, 'TRIGGER') THEN
		PERFORM webhook_internal.lock_source(check_source.source); -- refuses
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_source(regclass) IS
	'Raises an error if the table cannot be watched, or not by the caller. Part of '
	'webhook.watch().';

-- named: the columns that each argument names. Those in include_columns need not exist any more.
CREATE FUNCTION webhook_internal.check_watch(
	source regclass, entity_type text, action_types text[], named jsonb
) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word  text;
	bad   record;
BEGIN
	IF cardinality(check_watch.action_types) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'action_types must not be empty',
			DETAIL = 'Valid action types are new, update, delete and truncate.',
			HINT = 'The default is ''{new,update,delete}''.';
	END IF;
	FOREACH word IN ARRAY coalesce(check_watch.action_types, '{}') LOOP
		IF word IS NULL OR word NOT IN ('new', 'update', 'delete', 'truncate') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown action type "%s"', word),
				DETAIL = 'Valid action types are new, update, delete and truncate.',
				HINT = 'The default is ''{new,update,delete}''.';
		END IF;
	END LOOP;
	IF check_watch.entity_type = '' OR length(check_watch.entity_type) > 200 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'entity_type must have 1 to 200 characters',
			DETAIL = format('It has %s characters.', length(check_watch.entity_type)),
			HINT = 'Omit it to use the table''s name.';
	END IF;

	SELECT k.key INTO word FROM jsonb_each(named) k
		WHERE k.key IN ('id_columns', 'columns') AND k.value = '[]' ORDER BY k.key DESC LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('%s must not be empty', word),
			DETAIL = 'The list names no column.',
			HINT = CASE word WHEN 'id_columns' THEN 'Omit it to use the primary key.'
				ELSE 'To send all columns, use columns => ''{*}''.' END;
	END IF;
	IF named -> 'columns' <> '["*"]' AND named -> 'exclude_columns' <> '[]' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'cannot specify both columns and exclude_columns',
			DETAIL = 'columns lists what is sent, exclude_columns what is not.',
			HINT = 'Specify one of them.';
	END IF;
	SELECT c.name INTO word FROM jsonb_array_elements_text(named -> 'include_columns') c(name)
		WHERE named -> 'exclude_columns' ? c.name LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('column "%s" is in both include_columns and exclude_columns', word),
			DETAIL = 'include_columns sends a column again, exclude_columns stops sending it.',
			HINT = 'Name it in one of them.';
	END IF;

	-- columns: each must exist, and a trigger must see those that are read
	SELECT m.name, m.key, a.attname IS NOT NULL AS found INTO bad
		FROM webhook_internal.named_columns(named) m
		LEFT JOIN pg_attribute a ON a.attrelid = check_watch.source AND a.attname = m.name
			AND a.attnum > 0 AND NOT a.attisdropped
		WHERE a.attname IS NULL AND m.key <> 'include_columns'
			OR a.attgenerated = 'v' AND m.key <> 'exclude_columns'
		LIMIT 1;
	IF bad.found THEN
		RAISE feature_not_supported USING
			MESSAGE = format('cannot use virtual generated column "%s" of "%s" in %s',
				bad.name, check_watch.source, bad.key),
			DETAIL = 'Its value is computed when a row is read; a trigger does not see it.',
			HINT = 'Use the columns that it is computed from, or a stored generated column.';
	ELSIF bad.key IS NOT NULL THEN
		RAISE undefined_column USING
			MESSAGE = format('column "%s" of "%s" does not exist', bad.name, check_watch.source),
			DETAIL = (SELECT format('The table has the columns %s.',
					string_agg(a.attname, ', ' ORDER BY a.attnum))
				FROM pg_attribute a
				WHERE a.attrelid = check_watch.source AND a.attnum > 0 AND NOT a.attisdropped),
			HINT = 'Names are case-sensitive here; write them as in pg_attribute.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_watch(regclass, text, text[], jsonb) IS
	'Raises an error if the arguments of webhook.watch() are invalid, whatever is watched already. '
	'named: its lists of columns, by argument. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.watch_as(
	source regclass, has webhook_internal.watch_state, entity_type text, action_types text[],
	named jsonb, keep_previous boolean
) RETURNS webhook_internal.watch_state
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted   webhook_internal.watch_state := has;
	is_new   CONSTANT boolean := has.args IS NULL;
	keys     jsonb := named -> 'id_columns';
	listed   jsonb := coalesce(named -> 'columns', has.args -> 'columns');
	excluded jsonb := coalesce(has.args -> 'exclude_columns', '[]');
	actions  text[];
	word     text;
BEGIN
	IF keys IS NULL AND NOT coalesce(has.args ? 'id_columns', false) THEN
		SELECT jsonb_agg(a.attname ORDER BY k.n) INTO keys
			FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_attribute a
			WHERE i.indrelid = watch_as.source AND i.indisprimary AND a.attrelid = i.indrelid
				AND a.attnum = k.attnum AND k.n <= i.indnkeyatts;
		IF keys IS NULL THEN
			RAISE invalid_table_definition USING
				MESSAGE = format('"%s" has no primary key', watch_as.source),
				DETAIL = 'Without a key, receivers could not tell which row an event is about.',
				HINT = 'Add a primary key, or name the columns that identify a row in id_columns.';
		END IF;
		keys := CASE WHEN is_new THEN keys END; -- a trigger without id_columns uses the primary key
	END IF;

	-- a column stays excluded until include_columns names it; one that is named twice counts once
	SELECT coalesce(jsonb_agg(c.name ORDER BY c.n), '[]') INTO excluded
		FROM (SELECT e.name, min(e.n) AS n
			FROM jsonb_array_elements_text(excluded || coalesce(named -> 'exclude_columns', '[]'))
				WITH ORDINALITY e(name, n)
			WHERE NOT coalesce(named -> 'include_columns' ? e.name, false) GROUP BY e.name) c;
	IF named -> 'columns' = '["*"]' THEN
		listed := NULL;
	ELSIF listed IS NOT NULL THEN
		SELECT coalesce(listed || jsonb_agg(c.name), listed) INTO listed
			FROM (SELECT DISTINCT i.name
				FROM jsonb_array_elements_text(named -> 'include_columns') i(name)
				JOIN pg_attribute a ON a.attrelid = watch_as.source AND a.attname = i.name
					AND a.attnum > 0 AND NOT a.attisdropped
				WHERE NOT listed ? i.name) c;
	END IF;
	SELECT c.name INTO word FROM jsonb_array_elements_text(named -> 'columns') c(name)
		WHERE excluded ? c.name LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('column "%s" of "%s" is excluded', word, watch_as.source),
			DETAIL = 'An earlier call of webhook.watch() named it in exclude_columns.',
			HINT = format('To send it, add include_columns => ''{%s}''.',
				quote_ident(word));
	END IF;
	SELECT i.name INTO word FROM jsonb_array_elements_text(named -> 'include_columns') i(name)
		WHERE NOT coalesce(has.args -> 'exclude_columns' ? i.name, false)
			AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = watch_as.source
				AND a.attname = i.name AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE undefined_column USING
			MESSAGE = format('column "%s" of "%s" does not exist', word, watch_as.source),
			DETAIL = 'It is not an excluded column either.',
			HINT = 'SELECT source, exclude_columns FROM webhook.source shows the excluded columns.';
	END IF;

	actions := array_remove(coalesce(watch_as.action_types,
		CASE WHEN is_new THEN '{new,update,delete}'::text[] END), 'truncate');
	-- an empty value removes the old one
	wanted.args := (coalesce(has.args, '{}') - '{columns,exclude_columns}'::text[]
		- CASE WHEN named -> 'tenant' = '[""]' THEN '{tenant}' ELSE '{}' END::text[]
		- CASE WHEN NOT watch_as.keep_previous THEN '{keep_previous}' ELSE '{}' END::text[])
		|| jsonb_strip_nulls(jsonb_build_object(
			'entity_type', coalesce(watch_as.entity_type, CASE WHEN is_new
				THEN (SELECT c.relname::text FROM pg_class c WHERE c.oid = watch_as.source) END),
			'id_columns', keys,
			'action_types', to_jsonb(actions),
			'columns', listed,
			'exclude_columns', nullif(excluded, '[]'),
			'tenant', nullif(named -> 'tenant' ->> 0, ''),
			'keep_previous', CASE WHEN watch_as.keep_previous THEN true END));
	-- a changed key makes a delete and a new, so updates are looked at for either
	IF actions IS NOT NULL THEN
		wanted.events := array_remove(ARRAY[
			CASE WHEN actions && '{new}' THEN 'INSERT' END,
			CASE WHEN actions && '{new,update,delete}' THEN 'UPDATE' END,
			CASE WHEN actions && '{delete}' THEN 'DELETE' END], NULL);
	END IF;
	wanted.truncates := coalesce('truncate' = ANY (watch_as.action_types), has.truncates);
	wanted.same_args := true;

	-- what capture would refuse is refused here
	SELECT a.problem INTO word FROM pg_class c, webhook_internal.capture_argument(1::smallint,
			convert_to(wanted.args::text, getdatabaseencoding()), c.relname) a
		WHERE c.oid = watch_as.source;
	IF word IS NOT NULL THEN
		RAISE reserved_name USING
			MESSAGE = format('cannot watch "%s" with these options', watch_as.source),
			DETAIL = format('%s.', upper(left(word, 1)) || substr(word, 2)),
			HINT = 'Choose another name in entity_type.';
	END IF;
	RETURN wanted;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_as(
	regclass, webhook_internal.watch_state, text, text[], jsonb, boolean
) IS
	'How a table should be watched: as it is, with what the arguments of webhook.watch() name '
	'changed. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.make_triggers(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	trigger name := has.trigger;
	again   text[]; -- statements that make triggers fire as they did
	word    text;
	number  oid := make_triggers.source;
BEGIN
	-- A replaced trigger fires as usual. Those that were disabled, or fire always, are set back to
	-- what they were, also where the trigger was cloned to a partition.
	SELECT array_agg(format('ALTER TABLE ONLY %s %s TRIGGER %I', t.tgrelid::regclass,
			CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
				ELSE 'ENABLE ALWAYS' END, t.tgname)) INTO again
		FROM pg_trigger t
		WHERE t.tgenabled <> 'O'
			AND (t.tgname = has.trigger AND wanted.events <> '{}'
					AND (t.tgrelid = make_triggers.source OR t.tgparentid <> 0 AND t.tgrelid IN (
						SELECT p.relid FROM pg_partition_tree(make_triggers.source) p))
				OR t.tgname = 'webhook_truncate' AND wanted.truncates
					AND t.tgrelid = make_triggers.source);
	-- PostgreSQL clones a partitioned table's trigger to partitions, by name: see
	-- docs/internals/reading.md
	IF trigger IS NULL THEN
		trigger := 'webhook_capture';
		IF (SELECT c.relkind FROM pg_class c WHERE c.oid = make_triggers.source) = 'p' THEN
			LOOP
				trigger := 'webhook_capture_' || number;
				EXIT WHEN NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = trigger);
				number := (number::bigint % 4294967295 + 1)::oid; -- a dump brought that name
			END LOOP;
		END IF;
	END IF;
	IF wanted.events <> '{}' THEN
		EXECUTE format('%s TRIGGER %I AFTER %s ON %s FOR EACH ROW '
			'EXECUTE FUNCTION webhook.capture(%L)',
			CASE WHEN has.trigger IS NULL THEN 'CREATE' ELSE 'CREATE OR REPLACE' END, trigger,
			array_to_string(wanted.events, ' OR '), make_triggers.source, wanted.args);
	ELSIF has.trigger IS NOT NULL THEN
		EXECUTE format('DROP TRIGGER %I ON %s', trigger, make_triggers.source);
	END IF;
	IF wanted.truncates THEN
		EXECUTE format('%s TRIGGER webhook_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT '
			'EXECUTE FUNCTION webhook.capture_truncate(%L)',
			CASE WHEN has.truncates THEN 'CREATE OR REPLACE' ELSE 'CREATE' END,
			make_triggers.source, wanted.args);
	ELSIF has.truncates THEN
		EXECUTE format('DROP TRIGGER webhook_truncate ON %s', make_triggers.source);
	END IF;
	FOREACH word IN ARRAY coalesce(again, '{}') LOOP
		EXECUTE word;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.make_triggers(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'Creates, replaces and drops the triggers of a table, so that it is watched as wanted. Part of '
	'webhook.watch().';

CREATE FUNCTION webhook_internal.tell_watch(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cols text;
	virtual text;
	other record;
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			FILTER (WHERE (NOT has.args -> 'columns' ? a.attname::text
					OR has.args -> 'exclude_columns' ? a.attname::text)
				AND coalesce(wanted.args -> 'columns' ? a.attname::text, true)
				AND NOT coalesce(wanted.args -> 'exclude_columns' ? a.attname::text, false)),
			string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			FILTER (WHERE a.attgenerated = 'v' AND NOT wanted.args ? 'columns'
				AND NOT coalesce(wanted.args -> 'exclude_columns' ? a.attname::text, false))
		INTO cols, virtual FROM pg_attribute a
		WHERE a.attrelid = tell_watch.source AND a.attnum > 0 AND NOT a.attisdropped;
	IF cols IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" now contain more columns: %s',
				tell_watch.source, cols),
			DETAIL = 'They were not sent before.',
			HINT = 'To keep a column from being sent, name it in exclude_columns.';
	END IF;
	IF virtual IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" do not contain virtual generated columns: %s',
				tell_watch.source, virtual),
			DETAIL = 'Their values are computed when a row is read; a trigger does not see them.',
			HINT = 'Stored generated columns are sent.';
	END IF;
	FOR other IN SELECT u.what,
			string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') AS tables
		FROM (SELECT 1 AS n, p.relid, '"%s" is a partition of %s, which is also watched' AS what
				FROM pg_partition_ancestors(tell_watch.source) p
			UNION ALL SELECT 2, p.relid, 'partitions of "%s" are also watched: %s'
				FROM pg_partition_tree(tell_watch.source) p) u
		JOIN pg_trigger g ON g.tgrelid = u.relid
		WHERE u.relid <> tell_watch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc
		GROUP BY u.n, u.what ORDER BY u.n LOOP
		RAISE NOTICE USING
			MESSAGE = format(other.what, tell_watch.source, other.tables),
			DETAIL = 'The topmost watched table makes the event of a row change, and no other. '
				'Columns that any of them excludes are not sent.',
			HINT = 'SELECT source, parent FROM webhook.source shows these tables.';
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.tell_watch(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'Raises NOTICEs of what people may not expect of watching a table like this. Part of '
	'webhook.watch().';

CREATE FUNCTION webhook_internal.watch_done(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH options AS (
		SELECT s.is_new, k.key, CASE jsonb_typeof(k.value)
				WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(k.value))::text
				ELSE k.value #>> '{}' END AS value
			FROM (VALUES (false, has), (true, wanted)) s(is_new, state),
				jsonb_each((s.state).args || jsonb_build_object('action_types',
					coalesce((s.state).args -> 'action_types', to_jsonb((s.state).events)) || CASE
						WHEN (s.state).truncates THEN '["truncate"]' ELSE '[]' END::jsonb)) k
			WHERE (s.state).args IS NOT NULL),
	changes AS (
		SELECT array_position(
				'{entity_type,id_columns,action_types,columns,exclude_columns,tenant}', key) AS n,
				key, o.value AS old, w.value AS new
			FROM (SELECT * FROM options WHERE NOT is_new) o
			FULL JOIN (SELECT * FROM options WHERE is_new) w USING (key)
			WHERE o.value IS DISTINCT FROM w.value)
	SELECT CASE WHEN has.args IS NULL THEN format('created "%s": ', source) || string_agg(
			concat_ws(' ', key, new), ', ' ORDER BY n, key)
		ELSE format('changed "%s": ', source) || coalesce(string_agg(
			concat_ws(' ', key, coalesce(old, 'none'), '->', coalesce(new, 'none')), ', '
			ORDER BY n, key), 'its triggers agree now') END
		FROM changes
$$;
COMMENT ON FUNCTION webhook_internal.watch_done(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'The result of webhook.watch() if it changed something. Part of webhook.watch().';

--
-- Tables as sources: watch, unwatch, and the view of what is watched.
--

-- What is not named stays as it is: a second call must not send what the first one excluded. So the
-- decision is made with the table locked, by what its triggers say then. If nothing would change,
-- nothing is locked at all.
CREATE FUNCTION webhook.watch(
	source          regclass,
	entity_type     text    DEFAULT NULL,
	id_columns      name[]  DEFAULT NULL,
	action_types    text[]  DEFAULT NULL,
	columns         name[]  DEFAULT NULL,
	exclude_columns name[]  DEFAULT NULL,
	tenant          name    DEFAULT NULL,
	keep_previous   boolean DEFAULT NULL,
	include_columns name[]  DEFAULT NULL
) RETURNS text
	-- its plans over the catalog are never worth compiling, whatever the session's costs say
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	named  CONSTANT jsonb := jsonb_strip_nulls(jsonb_build_object(
		'id_columns', to_jsonb(watch.id_columns), 'columns', to_jsonb(watch.columns),
		'exclude_columns', to_jsonb(watch.exclude_columns),
		'include_columns', to_jsonb(watch.include_columns),
		'tenant', CASE WHEN watch.tenant IS NOT NULL THEN jsonb_build_array(watch.tenant) END));
	has    webhook_internal.watch_state;
	wanted webhook_internal.watch_state;
	gone   text;
BEGIN
	PERFORM webhook_internal.check_source(watch.source);
	PERFORM webhook_internal.check_watch(watch.source, watch.entity_type, watch.action_types,
		named);
	FOR attempt IN 1..2 LOOP
		has := webhook_internal.watched(watch.source, attempt = 2);
		wanted := webhook_internal.watch_as(watch.source, has, watch.entity_type,
			watch.action_types, named, watch.keep_previous);
		EXIT WHEN (has.args, has.events, has.truncates, has.same_args)
			= (wanted.args, wanted.events, wanted.truncates, true);
		PERFORM webhook_internal.lock_source(watch.source);
	END LOOP;

	-- the table may have changed since the options were given
	SELECT string_agg(format('"%s" of %s', m.name, m.key), ', ') INTO gone
		FROM webhook_internal.named_columns(wanted.args) m
		WHERE NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = watch.source AND a.attname = m.name AND a.attnum > 0
				AND NOT a.attisdropped);
	IF gone IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('columns named for watching "%s" do not exist: %s',
				watch.source, gone),
			DETAIL = 'While an excluded column is missing, events contain only the key. If a '
				'column of the key is missing, the primary key is used.',
			HINT = 'Call webhook.watch() with the current names. To drop an excluded name, name it '
				'in include_columns.';
	END IF;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	IF (has.args, has.events, has.truncates, has.same_args)
		= (wanted.args, wanted.events, wanted.truncates, true) THEN
		RETURN format('unchanged "%s"', watch.source);
	END IF;
	IF has.own_terms THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('cannot replace the customized trigger of "%s"', watch.source),
			DETAIL = 'It has a condition, names columns, or is deferred. webhook.watch() would '
				'drop that, and more would be sent.',
			HINT = 'Use CREATE OR REPLACE TRIGGER, or call webhook.unwatch() first.';
	END IF;
	PERFORM webhook_internal.tell_watch(watch.source, has, wanted);
	PERFORM webhook_internal.make_triggers(watch.source, has, wanted);
	RETURN webhook_internal.watch_done(watch.source, has, wanted);
END
$$;
COMMENT ON FUNCTION webhook.watch(
	regclass, text, name[], text[], name[], name[], name, boolean, name[]
) IS
	'Makes a table a source: its committed row changes become events from now on. entity_type: '
	'default the table''s name; id_columns: default the primary key; action_types: of new, update, '
	'delete (the default) and truncate; columns: the only columns sent, {*} for all; '
	'exclude_columns: columns not sent; tenant: the column whose value routes events ('''' for '
	'none); keep_previous: store old values too; include_columns: send excluded columns again. A '
	'second call changes only what it names, and excluded columns stay excluded until '
	'include_columns names them; webhook.unwatch() starts over. Returns what it did: created, '
	'changed or unchanged, and the options. Error wrong_object_type if the table cannot be '
	'watched, undefined_column, invalid_table_definition without a key, '
	'object_not_in_prerequisite_state if another trigger would be overridden.';

CREATE FUNCTION webhook.unwatch(source regclass) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	t record;
	dropped text[];
	parent text;
	below text;
BEGIN
	FOR t IN SELECT g.tgname FROM pg_trigger g
		WHERE g.tgrelid = unwatch.source AND g.tgparentid = 0
			AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc)
		ORDER BY g.tgname LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, unwatch.source);
		dropped := dropped || t.tgname::text;
	END LOOP;
	SELECT string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') INTO parent
		FROM pg_partition_ancestors(unwatch.source) p JOIN pg_trigger g ON g.tgrelid = p.relid
		WHERE p.relid <> unwatch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc;
	IF dropped IS NULL AND parent IS NOT NULL THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" is watched as a partition of %s', unwatch.source, parent),
			DETAIL = 'It has no trigger of its own.',
			HINT = format('Call webhook.unwatch() for %s.', parent);
	ELSIF dropped IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('"%s" is not watched', unwatch.source),
			DETAIL = 'It has no trigger of this extension.',
			HINT = 'SELECT * FROM webhook.source shows the watched tables.';
	END IF;
	IF parent IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('"%s" is still watched, as a partition of %s', unwatch.source, parent),
			DETAIL = 'Columns that only its own trigger excluded are sent from now on.',
			HINT = format('To keep a column from being sent, exclude it for %s.', parent);
	END IF;
	SELECT string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') INTO below
		 FROM pg_partition_tree(unwatch.source) p JOIN pg_trigger g ON g.tgrelid = p.relid
		WHERE p.relid <> unwatch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc;
	IF below IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('partitions of "%s" are still watched: %s', unwatch.source, below),
			DETAIL = 'They have triggers of their own.',
			HINT = 'Call webhook.unwatch() for each of them.';
	END IF;
	RETURN format('unwatched "%s": dropped %s', unwatch.source, array_to_string(dropped, ', '));
END
$$;
COMMENT ON FUNCTION webhook.unwatch(regclass) IS
	'Stops making events of a table; events already captured are still delivered. Returns which '
	'triggers it dropped. Error undefined_object if the table is not watched, wrong_object_type if '
	'it is watched only as a partition.';

CREATE VIEW webhook.source AS
	SELECT t.tgrelid::regclass AS source,
		a.entity_type,
		CASE WHEN a.problem IS NULL THEN coalesce(a.id_columns,
			ARRAY(SELECT f.attname
				FROM pg_catalog.pg_index i,
					unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n),
					pg_catalog.pg_attribute f
				WHERE i.indrelid = t.tgrelid AND i.indisprimary AND f.attrelid = t.tgrelid
					AND f.attnum = k.attnum AND k.n <= i.indnkeyatts
				ORDER BY k.n)) END AS id_columns,
		CASE WHEN a.problem IS NULL THEN coalesce(a.action_types,
				array_remove(ARRAY[
					CASE WHEN t.tgtype & 4 <> 0 THEN 'new' END,
					CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
					CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END], NULL))
			|| CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger u
					WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture_truncate'::regproc)
				THEN '{truncate}'::text[] ELSE '{}' END
			ELSE '{}' END AS action_types,
		a.columns,
		a.exclude_columns,
		a.tenant,
		coalesce(a.keep_previous, false) AS keep_previous,
		t.tgname AS trigger,
		CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
			WHEN 'A' THEN 'always' ELSE 'origin' END AS fires,
		(SELECT u.tgrelid::regclass
			FROM pg_partition_ancestors(t.tgrelid) WITH ORDINALITY p(relid, n)
			JOIN pg_catalog.pg_trigger u ON u.tgrelid = p.relid
			WHERE p.relid <> t.tgrelid AND u.tgparentid = 0
				AND u.tgfoid = 'webhook.capture'::regproc
			ORDER BY p.n DESC LIMIT 1) AS parent,
		CASE
			WHEN a.problem IS NOT NULL THEN a.problem
			WHEN t.tgfoid = 'webhook.capture'::regproc AND t.tgtype & 67 <> 1
				THEN 'the trigger is not AFTER, FOR EACH ROW: it fails when it fires'
			ELSE nullif(concat_ws('; ',
				(SELECT 'column ' || string_agg(quote_ident(m.col), ', ' ORDER BY m.col)
						|| ' does not exist'
					FROM (SELECT DISTINCT n.col FROM unnest(
						a.id_columns || a.columns || a.exclude_columns || a.tenant) n(col)) m
					WHERE m.col IS NOT NULL AND NOT EXISTS (
						SELECT FROM pg_catalog.pg_attribute f
						WHERE f.attrelid = t.tgrelid AND f.attname = m.col AND f.attnum > 0
							AND NOT f.attisdropped)),
				(SELECT 'column ' || string_agg(quote_ident(f.attname), ', ' ORDER BY f.attname)
						|| ' is virtual: a trigger does not see its value'
					FROM pg_catalog.pg_attribute f WHERE f.attrelid = t.tgrelid AND f.attnum > 0
						AND NOT f.attisdropped AND f.attgenerated = 'v'
						AND f.attname = ANY (a.id_columns || a.columns || a.tenant))), '')
		END AS problem
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	LEFT JOIN pg_catalog.pg_class root ON root.oid = pg_partition_root(c.oid)
	CROSS JOIN LATERAL webhook_internal.capture_argument(
		t.tgnargs, t.tgargs, coalesce(root.relname, c.relname)) a
	WHERE t.tgparentid = 0
		AND (t.tgfoid = 'webhook.capture'::regproc
			OR t.tgfoid = 'webhook.capture_truncate'::regproc AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_trigger u
				WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture'::regproc));
COMMENT ON VIEW webhook.source IS 'The watched tables, read from their triggers.';
COMMENT ON COLUMN webhook.source.source IS 'The watched table.';
COMMENT ON COLUMN webhook.source.entity_type IS
	'What its events call a row. Null: it makes no events, see problem.';
COMMENT ON COLUMN webhook.source.id_columns IS 'The columns that make entity_id.';
COMMENT ON COLUMN webhook.source.action_types IS 'The changes that make events.';
COMMENT ON COLUMN webhook.source.columns IS 'The only columns sent. Null: see exclude_columns.';
COMMENT ON COLUMN webhook.source.exclude_columns IS 'The columns not sent. Null: all are sent.';
COMMENT ON COLUMN webhook.source.tenant IS 'The column whose value routes the event.';
COMMENT ON COLUMN webhook.source.keep_previous IS 'Whether old values are stored.';
COMMENT ON COLUMN webhook.source.trigger IS 'Name of the trigger.';
COMMENT ON COLUMN webhook.source.fires IS
	'When the trigger fires, as set by ALTER TABLE ... TRIGGER: origin, always, replica or '
	'disabled.';
COMMENT ON COLUMN webhook.source.parent IS
	'The topmost watched table that this one is a partition of; that table makes the event of a '
	'change, and this one does not repeat it. Null: none.';
COMMENT ON COLUMN webhook.source.problem IS
	'Which of its settings are invalid or no longer fit the table. Null: none.';

--
-- What a subscription may be: the rules that a constraint cannot say.
--

CREATE FUNCTION webhook_internal.check_url(url text) RETURNS void
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_url';
COMMENT ON FUNCTION webhook_internal.check_url(text) IS
	'Raises an error if an endpoint''s URL is not allowed: it is malformed, neither https nor '
	'(where allowed) http, contains credentials, or its host is a refused address.';

CREATE FUNCTION webhook_internal.check_template(
	kind text, template text, what text DEFAULT 'template'
) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_template';
COMMENT ON FUNCTION webhook_internal.check_template(text, text, text) IS
	'Raises an error, with position and reason, if a template (kind: envelope or header) does not '
	'follow the language of docs/profiles.md. what: how the message names the template.';

CREATE FUNCTION webhook_internal.check_signing(profile webhook.profile) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_signing';
COMMENT ON FUNCTION webhook_internal.check_signing(webhook.profile) IS
	'Raises an error, with the reason, if the signature columns of a profile do not describe a '
	'signature.';

CREATE FUNCTION webhook_internal.undefined_profile_error(name text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('profile "%s" does not exist', undefined_profile_error.name),
		DETAIL = (SELECT format('Available profiles: %s.', string_agg(p.name, ', ' ORDER BY p.name))
			FROM webhook.profile p),
		HINT = 'SELECT name, description FROM webhook.profile shows what each sends.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_profile_error(text) IS
	'Raises undefined_object for the name of a profile.';

CREATE FUNCTION webhook_internal.require_not_null(relation regclass, new_row jsonb) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	col name;
BEGIN
	SELECT a.attname INTO col FROM pg_attribute a
		WHERE a.attrelid = relation AND a.attnum > 0 AND a.attnotnull AND NOT a.attisdropped
			AND new_row -> a.attname::text = 'null'
		ORDER BY a.attnum LIMIT 1;
	IF FOUND THEN
		RAISE not_null_violation USING
			MESSAGE = format('column "%s" of %s must not be null', col, relation),
			DETAIL = 'A null value was given.',
			HINT = 'Omit the column to use its default, or give it a value.',
			COLUMN = col::text;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.require_not_null(regclass, jsonb) IS
	'Raises not_null_violation naming only the column. The server''s own message would quote the '
	'whole row, with its URL, headers or secret.';

CREATE FUNCTION webhook_internal.invalid_value(message text, detail text, hint text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE invalid_parameter_value USING
		MESSAGE = invalid_value.message,
		DETAIL = invalid_value.detail,
		HINT = invalid_value.hint;
END
$$;
COMMENT ON FUNCTION webhook_internal.invalid_value(text, text, text) IS
	'Raises invalid_parameter_value with this message, detail and hint.';

-- Inlined, with matches(), into the queries that call it. "*" does not match webhook_subscription:
-- those events are about other subscriptions, and asking for all events of the application is not
-- asking for them.
CREATE FUNCTION webhook_internal.asks_for(events text[], entity_type text, action_type text)
	RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE
		WHEN events IS NULL THEN entity_type <> 'webhook_subscription'
		ELSE events && (ARRAY[entity_type || '.' || action_type, entity_type || '.*']
			|| CASE WHEN entity_type <> 'webhook_subscription'
				THEN ARRAY['*.' || action_type, '*.*'] END)
	END;
COMMENT ON FUNCTION webhook_internal.asks_for(text[], text, text) IS
	'Whether a subscription with these event patterns asks for this entity type and action type.';

CREATE FUNCTION webhook_internal.check_events(events text[]) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	pattern text;
	entity text;
	action text;
	wrong text;
	hint text;
BEGIN
	FOREACH pattern IN ARRAY coalesce(check_events.events, '{}') LOOP
		entity := substring(pattern FROM '^(.*)\.');
		action := substring(pattern FROM '[^.]*$');
		wrong := NULL;
		hint := 'To match any, use *: "user.*", "*.delete".';
		IF entity IS NULL THEN
			wrong := 'It has no dot. A pattern is entity_type.action_type; either part may be *.';
			hint := CASE
				WHEN pattern IN ('*', '') THEN 'Set events to null to receive all events.'
				ELSE format('For all events of this entity type use "%s.*".', pattern)
			END;
		ELSIF entity = '' THEN
			wrong := 'Its entity type, before the last dot, is empty.';
		ELSIF action = '' THEN
			wrong := 'Its action type, after the last dot, is empty.';
		ELSIF action NOT IN ('new', 'update', 'delete', 'truncate', 'test', '*') THEN
			wrong := format('"%s" is not an action type. Valid action types are new, update, '
				'delete, truncate and test; * matches any.', action);
			hint := format('For example "%s.new". For all events of an entity type "%s" '
				'use "%s.*".', entity, pattern, pattern);
		END IF;
		IF wrong IS NOT NULL THEN
			PERFORM webhook_internal.invalid_value(
				format('invalid event pattern "%s"', left(pattern, 200)), wrong, left(hint, 500));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_events(text[]) IS
	'Raises an error naming the pattern if one of a subscription''s event patterns can match '
	'nothing.';

CREATE FUNCTION webhook_internal.check_retry(retry_schedule interval[], give_up_after interval)
	RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF cardinality(retry_schedule) NOT BETWEEN 1 AND 32 OR array_ndims(retry_schedule) > 1
		OR array_position(retry_schedule, NULL) IS NOT NULL
		OR EXISTS (SELECT FROM unnest(retry_schedule) w
			WHERE w NOT BETWEEN interval '100 ms' AND interval '30 days') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'invalid retry_schedule',
			DETAIL = 'It must be a list of 1 to 32 intervals, each from 100 milliseconds to '
				'30 days.',
			HINT = 'For example ''{5s,5min,30min,2h}''; the last interval repeats until '
				'give_up_after.';
	END IF;
	IF give_up_after NOT BETWEEN interval '0' AND interval '365 days' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'give_up_after is out of range',
			DETAIL = format('%s was given; the range is 0 to 365 days.', give_up_after),
			HINT = 'The default is 3 days.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_retry(interval[], interval) IS
	'Raises an error if a retry schedule or give_up_after is invalid. Nulls are valid.';

CREATE FUNCTION webhook_internal.param_error(name text, rule jsonb, given jsonb) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type CONSTANT text := rule ->> 'type';
	json_type CONSTANT text := CASE type WHEN 'uuid' THEN 'string' WHEN 'event_types' THEN 'object'
		ELSE type END;
	members CONSTANT jsonb := CASE WHEN jsonb_typeof(given) = 'object' THEN given ELSE '{}' END;
	other text;
BEGIN
	IF given IS NULL OR given = 'null' THEN
		RETURN CASE WHEN (rule ->> 'required')::boolean
			THEN format('params.%s is missing.', name) END;
	END IF;
	IF json_type <> jsonb_typeof(given)
		OR type = 'uuid' AND given ->> 0 !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		-- a header made of it would be left out: CloudEvents without a source
		OR type = 'string' AND given = '""' THEN
		RETURN format('params.%s must be %s.', name, CASE type
			WHEN 'uuid' THEN 'a UUID as a string' WHEN 'string' THEN 'a non-empty string'
			WHEN 'object' THEN 'an object' WHEN 'event_types' THEN 'an object'
			WHEN 'array' THEN 'an array' ELSE 'a ' || type END);
	END IF;
	IF type = 'event_types' THEN
		SELECT k INTO other FROM jsonb_object_keys(members) k
			WHERE k !~ '.[.](new|update|delete|truncate|test)$' OR k LIKE '*.%' ORDER BY k LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has the key "%s", which is not of the form '
				'entity_type.action_type, such as user.new.', name, left(other, 100));
		END IF;
	END IF;
	IF rule ? 'values' THEN
		SELECT g.value::text INTO other
			FROM (SELECT o.value FROM jsonb_each(members) o
				UNION ALL SELECT given WHERE jsonb_typeof(given) <> 'object') g
			WHERE NOT rule -> 'values' @> jsonb_build_array(g.value) ORDER BY g.value LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has %s, which is none of %s.', name, left(other, 100),
				(SELECT string_agg(w, ', ' ORDER BY n)
					FROM jsonb_array_elements_text(rule -> 'values') WITH ORDINALITY v(w, n)));
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.param_error(text, jsonb, jsonb) IS
	'What is wrong with one of a subscription''s params by its profile''s rule, as a sentence. '
	'Null: nothing.';

CREATE FUNCTION webhook_internal.check_profile_use(
	profile webhook.profile, subscription webhook.subscription
) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	header text;
	wrong text;
BEGIN
	SELECT h INTO header FROM jsonb_object_keys(subscription.headers) h
		WHERE lower(h) IN (SELECT lower(x) FROM jsonb_object_keys(profile.headers) x
			UNION ALL SELECT lower(x) FROM unnest(ARRAY[
				profile.signature_header, profile.id_header, profile.timestamp_header]) x)
		ORDER BY h LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('invalid request header "%s"', header),
			DETAIL = format('Profile "%s" sets this header itself.', profile.name),
			HINT = 'Remove it from headers.';
	END IF;
	SELECT x.wrong INTO wrong FROM (
		SELECT 1, format('url has %s characters; this profile allows %s.',
				length(subscription.url), profile.max_url_length)
			WHERE length(subscription.url) > profile.max_url_length
		UNION ALL SELECT 2, 'batch_size is greater than 1, but this profile sends one event per '
				'request: its batch_envelope is null.'
			WHERE subscription.batch_size > 1 AND profile.batch_envelope IS NULL
		UNION ALL SELECT 3,
				webhook_internal.param_error(r.key, r.value, subscription.params -> r.key)
			FROM jsonb_each(profile.params) r
		UNION ALL SELECT 4, CASE WHEN e IS NULL
				THEN format('events must name each event, and each must be a key of params.%s.',
					r.key)
				ELSE format('events has "%s", which is not a key of params.%s.', e, r.key) END
			FROM jsonb_each(profile.params) r
				CROSS JOIN LATERAL unnest(coalesce(subscription.events, ARRAY[NULL::text])) e
			WHERE (r.value ->> 'covers_events')::boolean
				AND NOT coalesce(subscription.params -> r.key ? e, false)
		ORDER BY 1, 2) x(n, wrong) WHERE x.wrong IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" does not meet the requirements of profile "%s"',
				subscription.name, profile.name),
			DETAIL = wrong,
			HINT = 'SELECT max_url_length, batch_envelope, params FROM webhook.profile shows the '
				'requirements. webhook.copy_profile() makes a profile that you can change.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_profile_use(webhook.profile, webhook.subscription) IS
	'Raises an error naming the field if a subscription''s url, batch_size, params, events or '
	'headers do not meet the requirements of its profile.';

CREATE FUNCTION webhook_internal.without_previous(events text[], action_types text[]) RETURNS text
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT string_agg(s.source::text, ', ' ORDER BY s.source::text) FROM webhook.source s
		WHERE NOT s.keep_previous AND EXISTS (SELECT FROM unnest(without_previous.action_types) a
			WHERE a = ANY (s.action_types)
				AND webhook_internal.asks_for(without_previous.events, s.entity_type, a)));
END
$$;
COMMENT ON FUNCTION webhook_internal.without_previous(text[], text[]) IS
	'The tables that are watched for one of these action types without keep_previous, and whose '
	'events of that type these patterns ask for. Null: none.';

CREATE FUNCTION webhook_internal.check_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word text;
	h record;
	p webhook.profile;
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = NEW.profile;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_profile_error(NEW.profile);
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.retry_schedule := coalesce(NEW.retry_schedule, p.retry_schedule,
			'{5s,5min,30min,2h,5h,10h}');
		NEW.give_up_after := coalesce(NEW.give_up_after, p.give_up_after, interval '3 days');
	END IF;
	-- First, and by an expression that is not a statement: a refused URL may contain a password,
	-- which must not be logged.
	IF NEW.url IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.url IS DISTINCT FROM OLD.url) THEN
		word := webhook_internal.check_url(NEW.url);
	END IF;
	PERFORM webhook_internal.require_not_null(TG_RELID, to_jsonb(NEW) - 'name' - 'url');
	IF (length(NEW.name) BETWEEN 1 AND 200) IS NOT TRUE THEN
		PERFORM webhook_internal.invalid_value('subscription name must have 1 to 200 characters',
			format('The name has %s characters.', coalesce(length(NEW.name), 0)),
			'Name it after the service that receives the events.');
	END IF;
	IF NEW.url IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'url must not be null',
			DETAIL = 'A subscription needs an endpoint.',
			HINT = 'Specify the endpoint as https://host/path.';
	END IF;
	-- scheme, host and port: who receives what is sent with each request
	IF TG_OP = 'UPDATE' AND substring(NEW.url FROM '^[^/]*//[^/?#]*')
		IS DISTINCT FROM substring(OLD.url FROM '^[^/]*//[^/?#]*') THEN
		PERFORM webhook_internal.guard_credentials(NEW.id, 'url''s origin');
	END IF;
	PERFORM webhook_internal.invalid_value(w.message, w.detail, w.hint) FROM (
		SELECT format('%s must %s', l.name, r.rule), r.detail, r.hint
			FROM (VALUES ('events', NEW.events), ('changed_columns', NEW.changed_columns),
				('exclude_origins', NEW.exclude_origins)) l(name, list)
			CROSS JOIN LATERAL (
				SELECT 'be a one-dimensional array', 'An array of arrays was given.',
						'For example ''{order.new,user.*}'' for events, ''{status,email}'' for '
						'changed_columns.'
					WHERE array_ndims(l.list) > 1
				UNION ALL SELECT 'not be empty or contain nulls',
						'An empty list matches nothing, and a null in it has no meaning.',
						'Set it to null to receive all events.'
					WHERE cardinality(l.list) = 0 OR array_position(
						CASE WHEN array_ndims(l.list) = 1 THEN l.list END, NULL) IS NOT NULL
			) r(rule, detail, hint)
		UNION ALL SELECT format('%s is out of range', r.name),
				format('%s was given; the range is %s.', r.given, r.range), r.hint
			FROM (VALUES
				('max_in_flight', NEW.max_in_flight BETWEEN 1 AND 1000, NEW.max_in_flight::text,
					'1 to 1000 requests', 'The default is 50.'),
				('rate_limit', NEW.rate_limit BETWEEN 1 AND 100000, NEW.rate_limit::text,
					'1 to 100000 requests per second', 'Set it to null for no limit.'),
				('batch_size', NEW.batch_size BETWEEN 1 AND 1000, NEW.batch_size::text,
					'1 to 1000 events', 'The default is 1: one event per request.'),
				('timeout', NEW.timeout BETWEEN interval '100 ms' AND interval '10 minutes',
					NEW.timeout::text, '100 milliseconds to 10 minutes',
					'The default is 15 seconds.')
			) r(name, fits, given, range, hint) WHERE NOT r.fits
		UNION ALL SELECT format('unknown ordering "%s"', NEW.ordering),
				'Valid orderings are entity, none and strict.',
				'The default is entity: deliveries of one entity go one after another.'
			WHERE NEW.ordering NOT IN ('entity', 'none', 'strict')
		UNION ALL SELECT format('unknown state "%s"', NEW.state),
				'Valid states are active, paused, disabled and inactive.',
				'Use webhook.pause() and webhook.resume().'
			WHERE NEW.state NOT IN ('active', 'paused', 'disabled', 'inactive')
		LIMIT 1) w(message, detail, hint);
	IF TG_OP = 'INSERT' OR NEW.events IS DISTINCT FROM OLD.events THEN
		PERFORM webhook_internal.check_events(NEW.events);
	END IF;
	PERFORM webhook_internal.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.changed_columns IS NOT NULL AND (TG_OP = 'INSERT'
			OR NEW.changed_columns IS DISTINCT FROM OLD.changed_columns
			OR NEW.events IS DISTINCT FROM OLD.events) THEN
		word := webhook_internal.without_previous(NEW.events, '{update}');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'changed_columns does not filter the updates of every source',
				DETAIL = format('These tables are watched without keep_previous, so what an '
					'update changed is not known: %s.', word),
				HINT = 'Watch them with keep_previous => true. Until then all their updates are '
					'sent.';
		END IF;
	END IF;
	IF NEW.filter IS NOT NULL
		AND (TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text) THEN
		-- a predicate is true, false or unknown whatever it is evaluated on; anything else yields
		-- nothing here
		BEGIN
			PERFORM jsonb_path_match('{}', NEW.filter);
		EXCEPTION WHEN OTHERS THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'invalid filter',
				DETAIL = format('A filter must be a jsonpath predicate, true or false for any '
					'event. On an empty event it failed: %s.', SQLERRM),
				HINT = 'For example ''$.result.total > 100'' or ''exists($.previous.status)''.';
		END;
		-- as the server writes a path: each member's name in quotes
		SELECT string_agg(DISTINCT format('"%s"', m[1]), ', ') INTO word
			FROM regexp_matches(NEW.filter::text, '[$][.]"([^"]*)"', 'g') m
			WHERE m[1] NOT IN ('result', 'previous', 'entity_type', 'action_type', 'tenant',
				'context');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'filter uses a member that no event has',
				DETAIL = format('It uses %s. Events have result, previous, entity_type, '
					'action_type, tenant and context.', word),
				HINT = 'Columns of the row are members of result, as in $.result.total.';
		END IF;
	END IF;
	IF NEW.filter::text ~ '[$][.]"previous"' AND (TG_OP = 'INSERT'
			OR NEW.filter::text IS DISTINCT FROM OLD.filter::text
			OR NEW.events IS DISTINCT FROM OLD.events) THEN
		word := webhook_internal.without_previous(NEW.events, '{update,delete}');
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'filter uses $.previous, which not every source keeps',
				DETAIL = format('These tables are watched without keep_previous: %s.', word),
				HINT = 'Watch them with keep_previous => true. Until then the filter finds no '
					'previous values.';
		END IF;
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR jsonb_typeof(NEW.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers and params must be JSON objects',
			DETAIL = format('headers is of type %s, params of type %s.',
				jsonb_typeof(NEW.headers), jsonb_typeof(NEW.params)),
			HINT = 'For example ''{"X-Environment": "production"}''.';
	END IF;
	FOR h IN SELECT key, value, NEW.headers -> key AS json FROM jsonb_each_text(NEW.headers) LOOP
		IF h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' OR jsonb_typeof(h.json) <> 'string'
			OR h.value ~ '[\x01-\x08\x0a-\x1f\x7f]' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('invalid request header "%s"', h.key),
				DETAIL = 'A header name consists of letters, digits and hyphens; its value is a '
					'string without control characters.',
				HINT = 'See RFC 9110, section 5.';
		END IF;
		IF lower(h.key) ~ '^(webhook-.*|content-length|content-type|host|transfer-encoding'
			'|connection|expect)$' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('invalid request header "%s"', h.key),
				DETAIL = 'The worker sets this header itself.',
				HINT = 'Remove it from headers.';
		END IF;
	END LOOP;
	IF TG_OP = 'INSERT'
		OR (NEW.profile, NEW.url, NEW.headers, NEW.params, NEW.batch_size, NEW.events)
		IS DISTINCT FROM
			(OLD.profile, OLD.url, OLD.headers, OLD.params, OLD.batch_size, OLD.events) THEN
		PERFORM webhook_internal.check_profile_use(p, NEW);
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_subscription() IS
	'Checks a row of webhook.subscription, with the same errors for the functions and for direct '
	'writes. Runs as the owner, so the caller needs no rights on what it reads.';

-- apart from the others, because it must not be SECURITY DEFINER: it asks who the current user is
CREATE FUNCTION webhook_internal.check_owner() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- what ALTER TABLE ... OWNER TO requires: since 16 a membership can come without it
	how CONSTANT text := CASE WHEN current_setting('server_version_num')::integer >= 160000
		THEN 'SET' ELSE 'MEMBER' END;
BEGIN
	IF TG_OP = 'UPDATE' AND NEW.owner IS NOT DISTINCT FROM OLD.owner THEN
		RETURN NEW;
	END IF;
	-- a superuser may name any role, also (restoring a dump) one that does not exist
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
		AND NOT EXISTS (SELECT FROM pg_roles r
			WHERE r.rolname = NEW.owner AND pg_has_role(r.oid, how)) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to make it the owner of a subscription',
				NEW.owner),
			DETAIL = 'A subscription acts on behalf of its owner.',
			HINT = 'Omit owner to own the subscription yourself.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_owner() IS
	'Raises an error unless the current user could SET ROLE to the owner of a subscription.';

CREATE FUNCTION webhook_internal.check_transform() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- who could SET ROLE to the owner has the owner's rights anyway
	how CONSTANT text := CASE WHEN current_setting('server_version_num')::integer >= 160000
		THEN 'SET' ELSE 'MEMBER' END;
	part text[];
	f record;
BEGIN
	IF NEW.transform IS NULL THEN
		NEW.transform_owner := NULL;
		RETURN NEW;
	END IF;
	BEGIN
		part := parse_ident(NEW.transform);
	EXCEPTION WHEN invalid_parameter_value THEN
		part := NULL; -- not a name, so not that of a function
	END;
	SELECT p.proowner, r.rolname,
			p.prorettype = 'json'::regtype AND NOT p.proretset AND p.prokind = 'f' AS fits INTO f
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
			JOIN pg_roles r ON r.oid = p.proowner
		WHERE cardinality(part) = 2 AND n.nspname = part[1] AND p.proname = part[2]
			AND p.pronargs = 1 AND p.proargtypes[0] = 'webhook.outbox'::regtype;
	-- A dump may name a function that had been dropped before; that must not keep the other
	-- subscriptions from being restored.
	IF f IS NULL AND TG_OP = 'INSERT' AND NEW.transform_owner IS NOT NULL
		AND EXISTS (SELECT FROM pg_roles r WHERE (r.rolname = current_user AND r.rolsuper)
			OR (r.rolname = NEW.transform_owner AND pg_has_role(r.oid, how))) THEN
		RETURN NEW;
	END IF;
	IF f IS NULL OR NOT f.fits THEN
		RAISE undefined_function USING
			MESSAGE = format('invalid transform "%s"', NEW.transform),
			DETAIL = 'There is no function of this name that takes one argument of type '
				'webhook.outbox and returns json.',
			HINT = 'Give its name with the schema and without arguments, such as public.for_crm.';
	END IF;
	IF NOT pg_has_role(f.proowner, how) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to use its function as a transform',
				f.rolname),
			DETAIL = 'A transform runs with the rights of its owner.',
			HINT = 'Create a function of your own; it may call this one.';
	END IF;
	NEW.transform := format('%I.%I', part[1], part[2]);
	-- Restored with another owner it is not called: its author must not gain rights this way.
	IF TG_OP = 'UPDATE' OR NEW.transform_owner IS NULL THEN
		NEW.transform_owner := f.rolname;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_transform() IS
	'Raises an error unless transform names a function that fits and whose owner the current user '
	'could SET ROLE to.';

-- Not SECURITY DEFINER: only those who may look up what is watched are told. Per statement, not per
-- row: ten thousand subscriptions inserted at once are checked once.
CREATE FUNCTION webhook_internal.notice_unwatched() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	asked text[];
	unwatched text[];
	watched text[];
	n integer;
BEGIN
	IF NOT has_table_privilege('webhook.source', 'SELECT') THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'INSERT' THEN
		asked := ARRAY(SELECT DISTINCT p FROM made n, unnest(n.events) p);
	ELSE
		asked := ARRAY(SELECT DISTINCT p
			FROM made n JOIN before b ON b.id = n.id, unnest(n.events) p
			WHERE n.events IS DISTINCT FROM b.events);
	END IF;
	IF asked = '{}' THEN
		RETURN NULL;
	END IF;
	watched := ARRAY(SELECT DISTINCT s.entity_type FROM webhook.source s
		WHERE s.entity_type IS NOT NULL ORDER BY 1);
	unwatched := ARRAY(SELECT DISTINCT t FROM unnest(asked) p, substring(p FROM '^(.*)\.') t
		WHERE t NOT IN ('*', 'webhook_subscription') AND t <> ALL (watched) ORDER BY t);
	n := cardinality(unwatched);
	IF n > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('no table is watched as %s%s',
				(SELECT string_agg(format('"%s"', t), ', ') FROM unnest(unwatched[:10]) t),
				CASE WHEN n > 10 THEN format(' and %s more', n - 10) END),
			DETAIL = CASE WHEN watched = '{}' THEN 'No table is watched yet.'
				ELSE format('Watched entity types: %s%s.', array_to_string(watched[:20], ', '),
					CASE WHEN cardinality(watched) > 20 THEN ', ...' END) END,
			HINT = format('Watch a table under this name to make such events: '
				'SELECT webhook.watch(''some_table'', %L).', unwatched[1]);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.notice_unwatched() IS
	'Raises a NOTICE if a subscription asks for an entity type that no source has; it may be '
	'misspelt.';

CREATE FUNCTION webhook_internal.after_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped bigint;
	dead bigint;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO webhook.secret (subscription_id, secret, generated)
			SELECT NEW.id, webhook_internal.generate_secret(p), true
			FROM webhook.profile p WHERE p.name = NEW.profile;
		-- an id given explicitly, as by a restore of the rows alone: the sequence goes on after it
		PERFORM setval('webhook.subscription_id_seq', NEW.id)
			FROM webhook.subscription_id_seq q WHERE NEW.id > q.last_value;
	ELSIF TG_OP = 'UPDATE' THEN
		PERFORM webhook_internal.check_secret(p,
				webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
			FROM webhook.profile p, webhook.secret k
			WHERE p.name = NEW.profile AND k.subscription_id = NEW.id;
	ELSE
		DELETE FROM webhook.pending p WHERE p.subscription_id = OLD.id;
		GET DIAGNOSTICS dropped = ROW_COUNT;
		DELETE FROM webhook_internal.breaker_notice t WHERE t.subscription_id = OLD.id;
		DELETE FROM webhook_internal.stat_subscription t WHERE t.subscription_id = OLD.id;
		dead := (SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = OLD.id);
		IF dropped > 0 OR dead > 0 THEN
			RAISE NOTICE USING
				MESSAGE = format('removed subscription "%s" and %s pending deliveries',
					OLD.name, dropped),
				DETAIL = format('The pending deliveries will not be sent. %s dead letters are '
					'kept.', dead),
				HINT = 'Roll back to keep the subscription. webhook.purge_dead_letters() removes '
					'dead letters.';
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.after_subscription() IS
	'Gives a new subscription a secret, checks the secrets of one whose profile changed, and '
	'deletes the pending deliveries of one that is removed.';

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

--
-- The triggers that keep the tables right.
--

-- By its name it fires before all others, which may take many times the memory of what they read.
CREATE FUNCTION webhook_internal.check_size() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_check_size';
COMMENT ON FUNCTION webhook_internal.check_size() IS
	'Refuses a subscription or profile with a column larger than allowed: the worker holds all of '
	'them in memory.';
CREATE TRIGGER bounds BEFORE INSERT OR UPDATE ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_size();
CREATE TRIGGER bounds BEFORE INSERT OR UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_size();
CREATE TRIGGER check_owner BEFORE INSERT OR UPDATE OF owner ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_owner();
CREATE TRIGGER check_subscription BEFORE INSERT OR UPDATE ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_subscription();
CREATE TRIGGER check_transform BEFORE INSERT OR UPDATE OF transform, transform_owner
	ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_transform();
CREATE TRIGGER after_subscription AFTER INSERT OR UPDATE OF profile OR DELETE
	ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.after_subscription();
CREATE TRIGGER notice_unwatched_new AFTER INSERT ON webhook.subscription
	REFERENCING NEW TABLE AS made
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.notice_unwatched();
CREATE TRIGGER notice_unwatched AFTER UPDATE ON webhook.subscription
	REFERENCING OLD TABLE AS before NEW TABLE AS made
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.notice_unwatched();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.subscription
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.config_changed();
CREATE TRIGGER check_profile BEFORE INSERT OR UPDATE OR DELETE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.check_profile();
CREATE TRIGGER protect_profiles BEFORE TRUNCATE ON webhook.profile
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.check_profile();
CREATE TRIGGER after_profile AFTER UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.after_profile();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON webhook.profile
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.config_changed();
CREATE TRIGGER before_secret BEFORE INSERT OR UPDATE ON webhook.secret
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.before_secret();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.secret
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.config_changed();
CREATE TRIGGER before_credential BEFORE INSERT OR UPDATE ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.before_credential();
CREATE TRIGGER guard_removal BEFORE DELETE OR UPDATE OF subscription_id, kind ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.guard_removal();
CREATE TRIGGER mark_subscription AFTER INSERT OR DELETE OR UPDATE OF subscription_id, kind
	ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.mark_subscription();
CREATE CONSTRAINT TRIGGER after_credential AFTER INSERT OR UPDATE OR DELETE ON webhook.credential
	DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.after_credential();
CREATE TRIGGER check_credentials AFTER UPDATE OF headers, profile ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.after_credential();
CREATE TRIGGER check_credentials AFTER UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.after_credential();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.credential
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.identity
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.config_changed();

--
-- Subscribing, and all that is done to a subscription by its name.
--

-- Some of what an operator does needs rights that an operator must not have: to write secrets,
-- pending deliveries and events. The functions ask for it by an UPDATE of this view. Its one row
-- lists the subscriptions that the caller may see: it is read with the caller's rights
-- (security_invoker), row security included. Its trigger runs with the owner's rights and touches
-- only those. An argument could be forged by the caller; OLD is made by the server.
CREATE VIEW webhook_internal.privileged_call WITH (security_invoker = true) AS
	SELECT ARRAY(SELECT s.id FROM webhook.subscription s) AS subscriptions,
		NULL::text AS name, NULL::jsonb AS arguments, NULL::text AS result;
COMMENT ON VIEW webhook_internal.privileged_call IS
	'How functions called by an operator do what needs the owner''s rights. UPDATE of it is the '
	'right to operate the subscriptions one may see. One row, which stores nothing.';
COMMENT ON COLUMN webhook_internal.privileged_call.subscriptions IS
	'The subscriptions that the current user may see.';
COMMENT ON COLUMN webhook_internal.privileged_call.name IS
	'Set it to the operation: set_secret, rotate_secret, set_credential, redeliver, replay or '
	'test.';
COMMENT ON COLUMN webhook_internal.privileged_call.arguments IS
	'Set it to the arguments of the function of that name. Only that function can supply a secret '
	'or credential.';
COMMENT ON COLUMN webhook_internal.privileged_call.result IS 'The result, for RETURNING.';

CREATE FUNCTION webhook.subscribe(
	subscription text,
	url          text,
	events       text[]   DEFAULT NULL,
	profile      text     DEFAULT 'entity',
	secret       text     DEFAULT NULL,
	tenant       text     DEFAULT NULL,
	filter       jsonpath DEFAULT NULL,
	headers      jsonb    DEFAULT '{}',
	params       jsonb    DEFAULT '{}'
) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_subscribe';
COMMENT ON FUNCTION webhook.subscribe(
	text, text, text[], text, text, text, jsonpath, jsonb, jsonb
) IS
	'Creates a subscription: matching events committed after this call are sent to url. events: '
	'patterns such as {user.new,company.*}; events, tenant and filter: null for all. profile: the '
	'format of the requests; headers and params: as in webhook.subscription. Returns the signing '
	'secret (generated unless secret is given), which is not shown again. Error unique_violation '
	'if the subscription exists, undefined_object if the profile does not, invalid_parameter_value '
	'for an invalid argument.';

CREATE FUNCTION webhook_internal.subscribe_wrapped(
	subscription text,
	url          text,
	events       text[],
	profile      text,
	secret       text,
	tenant       text,
	filter       jsonpath,
	headers      jsonb,
	params       jsonb
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(subscribe_wrapped.secret);
	signing_secret text;
BEGIN
	INSERT INTO webhook.subscription (name, url, events, profile, tenant, filter, headers, params)
		VALUES (subscribe_wrapped.subscription, subscribe_wrapped.url, subscribe_wrapped.events,
			subscribe_wrapped.profile, subscribe_wrapped.tenant, subscribe_wrapped.filter,
			coalesce(subscribe_wrapped.headers, '{}'), coalesce(subscribe_wrapped.params, '{}'))
		ON CONFLICT (name) DO NOTHING;
	-- whoever owns it: row security hides the subscription, but not that the name is taken
	IF NOT FOUND THEN
		RAISE unique_violation USING
			MESSAGE = format('subscription "%s" already exists', subscribe_wrapped.subscription),
			DETAIL = 'Subscription names are unique within a database.',
			HINT = 'Choose another name, update the row in webhook.subscription, or call '
				'webhook.unsubscribe() first.';
	END IF;
	UPDATE webhook_internal.privileged_call o SET name = 'set_secret',
			arguments = jsonb_build_object(
				'subscription', subscribe_wrapped.subscription, 'secret', given)
		RETURNING o.result INTO STRICT signing_secret;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	RETURN signing_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.subscribe_wrapped(
	text, text, text[], text, text, text, jsonpath, jsonb, jsonb
) IS
	'webhook.subscribe() with the secret, and the result, wrapped.';

CREATE FUNCTION webhook_internal.undefined_subscription_error(name text) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('subscription "%s" does not exist', undefined_subscription_error.name),
		DETAIL = 'webhook.subscription has no row with this name.',
		HINT = 'SELECT name, url, state FROM webhook.subscription lists the subscriptions.';
END
$$;
COMMENT ON FUNCTION webhook_internal.undefined_subscription_error(text) IS
	'Raises undefined_object for the name of a subscription.';

CREATE FUNCTION webhook.rotate_secret(
	subscription text, secret text DEFAULT NULL, overlap interval DEFAULT '24 hours'
) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_rotate_secret';
COMMENT ON FUNCTION webhook.rotate_secret(text, text, interval) IS
	'Gives a subscription a new signing secret (generated unless secret is given) and returns it. '
	'The old secrets expire after overlap (0 to 365 days; 0 ends them at once). Until then '
	'requests carry a signature by each of them; if the profile''s header has room for only one, '
	'the oldest secret signs until it expires. Error undefined_object if the subscription does not '
	'exist, program_limit_exceeded if four secrets are live.';

CREATE FUNCTION webhook_internal.rotate_secret_wrapped(
	subscription text, secret text, overlap interval
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(rotate_secret_wrapped.secret);
	new_secret text;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'rotate_secret',
			arguments = jsonb_build_object('subscription', rotate_secret_wrapped.subscription,
				'secret', given, 'overlap', rotate_secret_wrapped.overlap)
		RETURNING o.result INTO STRICT new_secret;
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_wrapped(text, text, interval) IS
	'webhook.rotate_secret() with the secret, and the result, wrapped.';

CREATE FUNCTION webhook.copy_profile(from_profile text, to_profile text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO webhook.profile
		SELECT c.* FROM webhook.profile p,
			jsonb_populate_record(p, jsonb_build_object('name', to_profile, 'builtin', false)) c
		WHERE p.name = from_profile
		ON CONFLICT (name) DO NOTHING;
	IF FOUND THEN
		RETURN;
	END IF;
	IF NOT EXISTS (SELECT FROM webhook.profile p WHERE p.name = from_profile) THEN
		PERFORM webhook_internal.undefined_profile_error(from_profile);
	END IF;
	RAISE unique_violation USING
		MESSAGE = format('profile "%s" already exists', to_profile),
		DETAIL = 'Names of profiles are unique within a database.',
		HINT = 'Choose another name, or change the row in webhook.profile.';
END
$$;
COMMENT ON FUNCTION webhook.copy_profile(text, text) IS
	'Copies a profile into a new row of webhook.profile, which may then be changed by UPDATE and '
	'is dumped with the database. Error undefined_object if from_profile does not exist, '
	'unique_violation if to_profile does.';

CREATE FUNCTION webhook.set_credential(subscription text, kind text, value text) RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_set_credential';
COMMENT ON FUNCTION webhook.set_credential(text, text, text) IS
	'Sets a credential of a subscription, replacing one of the same kind; value null removes it. '
	'Kinds and their values: basic (user:password), bearer (a token), header:Name (the header''s '
	'value), client_certificate and client_key (PEM; both in one transaction), ca (PEM; replaces '
	'webhook.ca_file for this endpoint), proxy (http://[user:password@]host:port), oauth2 (a JSON '
	'object of token_url, client_id, client_secret and, optionally, scope, audience, resource and '
	'auth, which is basic or post). Error undefined_object if the subscription does not exist, '
	'invalid_parameter_value for an invalid kind or value.';

CREATE FUNCTION webhook_internal.set_credential_wrapped(subscription text, kind text, value text)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook_internal.wrapped(set_credential_wrapped.value);
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'set_credential',
		arguments = jsonb_build_object('subscription', set_credential_wrapped.subscription,
			'kind', set_credential_wrapped.kind, 'value', given);
END
$$;
COMMENT ON FUNCTION webhook_internal.set_credential_wrapped(text, text, text) IS
	'webhook.set_credential() with the value wrapped.';

CREATE FUNCTION webhook.unsubscribe(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint := 0;
BEGIN
	IF has_function_privilege('webhook_internal.counters()', 'EXECUTE') THEN
		queued := (SELECT c.queued FROM webhook_internal.counters() c
			JOIN webhook.subscription s ON s.id = c.subscription_id
			WHERE s.name = unsubscribe.subscription);
	END IF;
	DELETE FROM webhook.subscription s WHERE s.name = unsubscribe.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(unsubscribe.subscription);
	END IF;
	IF queued > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('removed subscription "%s" and %s queued deliveries',
				unsubscribe.subscription, queued),
			DETAIL = 'They were in the worker''s memory a moment ago. Those that have not been '
				'started will not be sent.',
			HINT = 'Roll back to keep the subscription.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unsubscribe(text) IS
	'Removes a subscription, its secrets and its pending deliveries. Its dead letters and its log '
	'are kept. A NOTICE says how many deliveries and dead letters there are. Error '
	'undefined_object if the subscription does not exist.';

CREATE FUNCTION webhook.reseal() RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	more bigint;
BEGIN
	UPDATE webhook.secret k
		SET secret = webhook_internal.seal_again(
			webhook_internal.secret_owner(k.subscription_id, k.id), k.secret)
		WHERE k.secret NOT LIKE 'file:%';
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE webhook.credential c
		SET value = webhook_internal.seal_again(
			webhook_internal.credential_owner(c.subscription_id, c.kind), c.value)
		WHERE c.value NOT LIKE 'file:%';
	GET DIAGNOSTICS more = ROW_COUNT;
	RETURN n + more;
END
$$;
COMMENT ON FUNCTION webhook.reseal() IS
	'Seals all secrets and credentials again, under the first key of webhook.key_file. Call it '
	'after that setting is set for the first time, or its file has a new first key; afterwards the '
	'old key may be removed. Returns how many were sealed. Error config_file_error if the file '
	'lacks a key that a secret is sealed under.';

CREATE FUNCTION webhook.pause(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s
		SET state = 'paused', state_reason = format('paused by %s', current_user)
		WHERE s.name = pause.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(pause.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.pause(text) IS
	'Stops sending to a subscription and keeps its deliveries until webhook.resume(). Requests '
	'under way are completed. Error undefined_object if the subscription does not exist.';

CREATE FUNCTION webhook.resume(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s SET state = 'active', state_reason = NULL
		WHERE s.name = resume.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(resume.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.resume(text) IS
	'Makes a paused, disabled or inactive subscription active again and closes its breaker. '
	'Deliveries kept meanwhile are sent in order. Changes nothing if it is active. Error '
	'undefined_object if the subscription does not exist.';

--
-- Sending again: redeliver, replay, dead letters; and which events are for whom.
--

CREATE FUNCTION webhook_internal.wake_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_wake_worker';
COMMENT ON FUNCTION webhook_internal.wake_worker() IS
	'Makes the worker look at its subscriptions and at requested deliveries when this transaction '
	'commits.';

CREATE FUNCTION webhook_internal.current_segment() RETURNS smallint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_current_segment';
COMMENT ON FUNCTION webhook_internal.current_segment() IS
	'Returns the segment that is currently written.';

CREATE FUNCTION webhook_internal.is_current_xid(xid) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_current_xid';
COMMENT ON FUNCTION webhook_internal.is_current_xid(xid) IS
	'Whether this is the xid of the current transaction or of one of its subtransactions. Part of '
	'webhook.replay().';

-- The rule itself is in worker/route/route.c, which has no SQL at hand. test/t/170_tools.pl checks
-- that the two agree.
CREATE FUNCTION webhook_internal.matches_content(
	subscription webhook.subscription, event webhook.outbox
) RETURNS boolean
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s CONSTANT webhook.subscription := matches_content.subscription;
	e CONSTANT webhook.outbox := matches_content.event;
BEGIN
	IF s.exclude_origins IS NOT NULL AND jsonb_typeof(e.context::jsonb -> 'origin') = 'string'
		AND e.context::jsonb ->> 'origin' = ANY (s.exclude_origins) THEN
		RETURN false;
	END IF;
	IF s.changed_columns IS NOT NULL AND e.action_type = 'update' AND e.previous IS NOT NULL
		AND NOT (jsonb_typeof(e.previous::jsonb) = 'object'
			AND e.previous::jsonb ?| s.changed_columns) THEN
		RETURN false;
	END IF;
	RETURN s.filter IS NULL OR coalesce(jsonb_path_match(
		jsonb_build_object('result', e.result::jsonb, 'previous', e.previous::jsonb,
			'entity_type', e.entity_type, 'action_type', e.action_type, 'tenant', e.tenant,
			'context', e.context::jsonb), s.filter, '{}', true), false);
EXCEPTION -- json may contain what jsonb refuses, such as \u0000 or too deep a nesting
	WHEN data_exception OR feature_not_supported OR program_limit_exceeded THEN
		RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.matches_content(webhook.subscription, webhook.outbox) IS
	'The part of webhook_internal.matches() that reads the content of the event: exclude_origins, '
	'changed_columns, filter.';

-- Inlined, so that the content of events is read only if it is needed: hence no SET search_path,
-- and operators by their full names. Not RETURN either: with a parsed body that uses the row types
-- of the two tables, newer servers (17.12 does) refuse to add columns with defaults to them.
CREATE FUNCTION webhook_internal.matches(subscription webhook.subscription, event webhook.outbox)
	RETURNS boolean
	LANGUAGE sql STABLE
AS $$
	SELECT CASE
		WHEN (event).subscription_id IS NOT NULL
			THEN (event).subscription_id OPERATOR(pg_catalog.=) (subscription).id
		WHEN (subscription).state OPERATOR(pg_catalog.=) 'inactive' THEN false
		WHEN NOT webhook_internal.asks_for(
			(subscription).events, (event).entity_type, (event).action_type) THEN false
		WHEN (event).entity_type OPERATOR(pg_catalog.=) 'webhook_subscription'
			AND (event).entity_id OPERATOR(pg_catalog.=) (subscription).name THEN false
		WHEN (subscription).tenant IS NOT NULL
			AND NOT coalesce((subscription).tenant OPERATOR(pg_catalog.=) (event).tenant, false)
			THEN false
		WHEN (subscription).exclude_origins IS NULL AND (subscription).changed_columns IS NULL
			AND (subscription).filter IS NULL THEN true
		ELSE webhook_internal.matches_content(subscription, event)
	END
$$;
COMMENT ON FUNCTION webhook_internal.matches(webhook.subscription, webhook.outbox) IS
	'Whether this event is for this subscription as it is configured now. Null if the content of '
	'the event cannot be evaluated.';

-- inlined as well; it takes columns, not the row, so its body may be parsed
CREATE FUNCTION webhook_internal.event_size(
	entity_type text, entity_id text, tenant text, result json, previous json, context json
) RETURNS integer
	LANGUAGE sql STABLE
	RETURN 200 + coalesce(octet_length(entity_id), 0) + octet_length(entity_type)
		+ coalesce(octet_length(tenant), 0) + coalesce(octet_length(result::text), 0)
		+ coalesce(octet_length(previous::text), 0) + coalesce(octet_length(context::text), 0);
COMMENT ON FUNCTION webhook_internal.event_size(text, text, text, json, json, json) IS
	'Roughly the bytes that such an event takes in the worker''s memory.';

-- STABLE, so it sees what its caller's snapshot shows
CREATE FUNCTION webhook_internal.event_in_outbox(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event webhook.outbox;
BEGIN
	SELECT o.* INTO event FROM webhook.outbox o
		WHERE o.event_number = event_in_outbox.event_number LIMIT 1;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook_internal.event_in_outbox(bigint) IS
	'Returns an event of webhook.outbox, or null. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.event_now(event_number bigint) RETURNS webhook.outbox
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_event_now';
COMMENT ON FUNCTION webhook_internal.event_now(bigint) IS
	'Returns an event of webhook.outbox as committed by now, at every isolation level, or null. '
	'Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.lock_revival() RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_revival';
COMMENT ON FUNCTION webhook_internal.lock_revival() IS
	'Waits until no other transaction puts events back into webhook.outbox, and keeps others from '
	'doing so until this transaction ends. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.revive(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	event webhook.outbox;
BEGIN
	-- With its own number and xid it is below every position the worker can be at, and of none of
	-- the transactions that the worker still watches: so it is not read as a new event. The caller
	-- holds the locks on its dead letters.
	INSERT INTO webhook.outbox (event_number, xid, entity_id, entity_type, action_type, result,
			previous, tenant, context, created_at, segment)
		SELECT d.event_number, d.xid, d.entity_id, d.entity_type, d.action_type, d.result,
			d.previous, d.tenant, d.context, d.created_at, webhook_internal.current_segment()
		FROM webhook.dead_letter d WHERE d.event_number = revive.event_number
		ORDER BY d.subscription_id LIMIT 1
		RETURNING * INTO event;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook_internal.revive(bigint) IS
	'Puts an event whose segment was emptied back into webhook.outbox, from its dead letter, and '
	'returns it; null if there is none. Part of webhook.redeliver().';

CREATE FUNCTION webhook.redeliver(event_id text, subscription text DEFAULT NULL) RETURNS integer
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued integer;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'redeliver',
			arguments = jsonb_build_object(
				'event_id', redeliver.event_id, 'subscription', redeliver.subscription)
		RETURNING o.result::integer INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.redeliver(text, text) IS
	'Sends an event again with the same id and content, to one subscription or to all that match '
	'it or have received it. event_id: the id as the receiver got it, or the event number as text; '
	'in a batch the id of the element, not of the request. '
	'A dead letter is taken back, and its attempts and give_up_after start over; a delivery that '
	'waits for a retry becomes due at once. Returns the number of deliveries queued. Error '
	'undefined_object if the event or the subscription does not exist, invalid_parameter_value if '
	'the event is a test or does not match the subscription.';

CREATE FUNCTION webhook.replay(
	subscription text, since timestamptz, until timestamptz DEFAULT now()
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint;
BEGIN
	UPDATE webhook_internal.privileged_call o SET name = 'replay',
			arguments = jsonb_build_object('subscription', replay.subscription,
				'since', replay.since, 'until', replay.until)
		RETURNING o.result::bigint INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.replay(text, timestamptz, timestamptz) IS
	'Sends again, in order, every event of the outbox created from since until before until that '
	'matches the subscription as it is now; deliveries already pending are not duplicated. Returns '
	'the number of deliveries queued; reads the whole outbox. Call it in a transaction after the '
	'one that created or changed the subscription, so that no event is missed. Error '
	'object_not_in_prerequisite_state in the same transaction or if the subscription is inactive, '
	'undefined_object if it does not exist, invalid_parameter_value if the time range is empty, '
	'serialization_failure if a segment was emptied meanwhile.';

CREATE FUNCTION webhook.purge_dead_letters(
	older_than interval DEFAULT NULL, subscription text DEFAULT NULL
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	purged bigint;
BEGIN
	IF older_than IS NULL AND purge_dead_letters.subscription IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'specify older_than, subscription, or both',
			DETAIL = 'Neither older_than nor subscription was given.',
			HINT = 'To purge all dead letters, use older_than => ''0''.';
	END IF;
	IF older_than < interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'older_than is out of range',
			DETAIL = format('%s was given; an age cannot be negative.', older_than),
			HINT = 'For example ''30 days''.';
	END IF;
	-- dead letters of a removed subscription have only its name
	IF purge_dead_letters.subscription IS NOT NULL
		AND NOT EXISTS (SELECT FROM webhook.subscription s
			WHERE s.name = purge_dead_letters.subscription)
		AND NOT EXISTS (SELECT FROM webhook.dead_letter d
			WHERE d.subscription = purge_dead_letters.subscription) THEN
		PERFORM webhook_internal.undefined_subscription_error(purge_dead_letters.subscription);
	END IF;
	DELETE FROM webhook.dead_letter d
		WHERE (older_than IS NULL OR d.given_up_at <= clock_timestamp() - older_than)
			AND (purge_dead_letters.subscription IS NULL
				OR d.subscription = purge_dead_letters.subscription
				OR d.subscription_id = (SELECT s.id FROM webhook.subscription s
					WHERE s.name = purge_dead_letters.subscription));
	GET DIAGNOSTICS purged = ROW_COUNT;
	RETURN purged;
END
$$;
COMMENT ON FUNCTION webhook.purge_dead_letters(interval, text) IS
	'Deletes the dead letters given up longer than older_than ago, or those of one subscription '
	'(also of a removed one), or both. Returns how many were deleted. They cannot be redelivered '
	'once their segment of the outbox has been emptied. Error invalid_parameter_value if neither '
	'argument is given.';

--
-- Whether this database delivers.
--

CREATE FUNCTION webhook_internal.request_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_request_worker';
COMMENT ON FUNCTION webhook_internal.request_worker() IS
	'Asks the launcher for a worker in this database when this transaction commits. Does nothing '
	'if there is no launcher.';

CREATE FUNCTION webhook_internal.timeline() RETURNS integer
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_timeline';
COMMENT ON FUNCTION webhook_internal.timeline() IS 'Returns the timeline that this cluster writes.';

CREATE FUNCTION webhook_internal.next_xid() RETURNS xid8
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_next_xid';
COMMENT ON FUNCTION webhook_internal.next_xid() IS
	'Returns the transaction id that will be assigned next, without assigning one. Part of '
	'webhook.enable_delivery().';

-- An enabled database reads on from a checkpoint: so nothing need be deleted, and no table that the
-- application writes is locked. What lies before the checkpoint goes with its segment.
CREATE FUNCTION webhook.enable_delivery_preview(
	moved boolean DEFAULT false,
	since timestamptz DEFAULT NULL,
	OUT unread_events bigint,
	OUT deliveries bigint,
	OUT oldest timestamptz,
	OUT events_left bigint,
	OUT deliveries_left bigint,
	OUT after bigint
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	settled webhook.checkpoint;
	pending CONSTANT bigint := (SELECT count(*) FROM webhook.pending);
BEGIN
	IF enable_delivery_preview.moved AND enable_delivery_preview.since IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'cannot specify both moved and since',
			DETAIL = 'A moved database continues where it stopped; since is for a copy, which '
				'starts afresh.',
			HINT = 'Specify one of them.';
	END IF;
	IF enable_delivery_preview.since > clock_timestamp() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'since is in the future',
			DETAIL = format('since is %s; the time is now %s.', enable_delivery_preview.since,
				clock_timestamp()),
			HINT = 'Omit it to deliver what is committed from now on.';
	END IF;
	SELECT * INTO settled FROM webhook.checkpoint c
		WHERE c.kind = 'settled' ORDER BY c.id DESC LIMIT 1;
	-- by event numbers, which ascend whatever the clock does
	after := CASE
		WHEN enable_delivery_preview.moved THEN 0
		WHEN enable_delivery_preview.since IS NULL THEN
			greatest((SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END
					FROM webhook.event_number_seq q),
				(SELECT max(o.event_number) FROM webhook.outbox o))
		ELSE greatest(0, settled.hi, (SELECT max(o.event_number) FROM webhook.outbox o
			WHERE o.created_at < enable_delivery_preview.since)) END;
	SELECT count(*) FILTER (WHERE o.event_number > after),
			count(*) FILTER (WHERE o.event_number <= after),
			min(o.created_at) FILTER (WHERE o.event_number > after)
		INTO unread_events, events_left, oldest
		FROM webhook.outbox o
		WHERE settled.hi IS NULL OR o.event_number > settled.hi
			OR NOT pg_visible_in_snapshot(o.xid, settled.snapshot);
	deliveries := CASE WHEN enable_delivery_preview.moved THEN pending ELSE 0 END;
	deliveries_left := pending - deliveries;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery_preview(boolean, timestamptz) IS
	'Shows what webhook.enable_delivery() with the same arguments would send from a suspended '
	'database, without changing anything. unread_events: events captured and not yet read, to be '
	'sent to matching subscriptions; deliveries: pending ones to be sent; oldest: when the first '
	'of these events was captured; events_left and deliveries_left: what would not be sent; after: '
	'only events with higher event numbers are sent. Error invalid_parameter_value if both '
	'arguments are given or since is in the future.';

CREATE FUNCTION webhook.enable_delivery(
	moved boolean DEFAULT false, since timestamptz DEFAULT NULL
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sysid bigint := (SELECT system_identifier FROM pg_control_system());
	dboid oid    := (SELECT oid FROM pg_database WHERE datname = current_database());
	tli   integer := webhook_internal.timeline();
	is_suspended CONSTANT boolean := NOT EXISTS (SELECT FROM webhook.identity)
		OR EXISTS (SELECT FROM webhook.identity i
			WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0);
	-- CREATE EXTENSION has just made all this
	is_new CONSTANT boolean := NOT (SELECT q.is_called FROM webhook.event_number_seq q)
		AND NOT EXISTS (SELECT FROM webhook.identity)
		AND NOT EXISTS (SELECT FROM webhook.checkpoint);
	sent record;
BEGIN
	IF is_suspended OR enable_delivery.since IS NOT NULL THEN
		sent := webhook.enable_delivery_preview(enable_delivery.moved, enable_delivery.since);
	END IF;
	IF enable_delivery.moved AND is_suspended
		AND (SELECT count(*) FROM webhook.identity) > 1 THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'this database was not moved',
			DETAIL = 'It is a restored dump, which has the subscriptions but none of the pending '
				'deliveries.',
			HINT = 'Call webhook.enable_delivery() to deliver new events from this database.';
	END IF;
	IF is_suspended AND enable_delivery.moved THEN
		UPDATE webhook.identity SET system_identifier = sysid, database_oid = dboid,
			timeline = tli, enabled_at = clock_timestamp();
	ELSIF is_suspended AND NOT is_new THEN
		DELETE FROM webhook.identity i
			WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0;
		TRUNCATE webhook.pending, webhook_internal.breaker_notice, webhook.checkpoint;
		-- what is committed later with a lower number is a straggler of this snapshot, and read
		INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
			VALUES (1, 'settled', pg_current_snapshot(), webhook_internal.next_xid(), sent.after);
	END IF;
	IF NOT EXISTS (SELECT FROM webhook.identity) THEN
		INSERT INTO webhook.identity (instance, system_identifier, database_oid, timeline)
			VALUES (left(translate(gen_random_uuid()::text, '-', ''), 8), sysid, dboid, tli);
	END IF;
	PERFORM webhook_internal.request_worker();
	IF is_suspended AND NOT is_new THEN
		RAISE NOTICE USING
			MESSAGE = format('this database delivers once this transaction commits: %s captured '
				'events%s and %s pending deliveries will be sent',
				sent.unread_events, ' since ' || sent.oldest, sent.deliveries),
			DETAIL = format('%s captured events and %s pending deliveries will not be sent.',
				sent.events_left, sent.deliveries_left),
			HINT = 'Roll back to cancel. webhook.enable_delivery_preview() shows these numbers '
				'without changing anything.';
	ELSIF enable_delivery.since IS NOT NULL AND NOT is_suspended THEN
		RAISE NOTICE USING
			MESSAGE = 'this database already delivers; nothing was changed',
			DETAIL = 'since applies to a suspended database.',
			HINT = 'webhook.replay() sends events again.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery(boolean, timestamptz) IS
	'Allows this database, in this cluster, to deliver. Call it in a copy that should deliver '
	'under its own identity: it sends what is committed from then on and, with since, also what '
	'was captured since then and not read by the original. moved => true is for the one database '
	'after a move (pg_upgrade, or recovery because the original is lost): captured events and '
	'pending deliveries are sent under the same event ids. A NOTICE says how much is sent and how '
	'much is not; if the database already delivers, nothing changes. CREATE EXTENSION calls it. '
	'Errors as for webhook.enable_delivery_preview(); object_not_in_prerequisite_state if moved is '
	'given for a restored dump.';

-- for whoever looks for the switch of a subscription, and would read that 'crm' is not a boolean
CREATE FUNCTION webhook.enable_delivery(subscription text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM webhook.subscription s
		WHERE s.name = enable_delivery.subscription) THEN
		PERFORM webhook_internal.undefined_subscription_error(enable_delivery.subscription);
	END IF;
	RAISE wrong_object_type USING
		MESSAGE = format('webhook.enable_delivery() does not apply to subscription "%s"',
			enable_delivery.subscription),
		DETAIL = 'It lets a database deliver that is a copy of another.',
		HINT = format('SELECT webhook.resume(%L) makes the subscription active.',
			enable_delivery.subscription);
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery(text) IS
	'Always raises wrong_object_type, with the hint to call webhook.resume() for a subscription.';

CREATE FUNCTION webhook.start_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_start_worker';
COMMENT ON FUNCTION webhook.start_worker() IS
	'Starts delivery, until the server is restarted, if webhook is not in '
	'shared_preload_libraries. Does nothing if delivery already runs. Superuser only: error '
	'insufficient_privilege otherwise, insufficient_resources if all background worker slots are '
	'in use.';

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

--
-- Views of what happens: the log, the subscriptions, the worker.
--

-- a plain projection, so that a query's own conditions and order use the indexes of webhook.attempt
CREATE VIEW webhook.log WITH (security_invoker = true) AS
	SELECT a.started_at, webhook.event_id(a.event_number) AS event_id, a.subscription,
		a.entity_type, a.entity_id, a.action_type, a.attempt_number, a.outcome, a.http_status,
		a.error, a.duration_ms, a.response, a.event_number
	FROM webhook.attempt a;
COMMENT ON VIEW webhook.log IS
	'The requests made; ORDER BY started_at DESC shows the newest first. Searching is fast by '
	'event_id, event_number, subscription, entity_id, started_at, and for outcome <> '
	'''delivered''.';
COMMENT ON COLUMN webhook.log.started_at IS 'When the request was started.';
COMMENT ON COLUMN webhook.log.event_id IS 'The event id as the receiver sees it.';
COMMENT ON COLUMN webhook.log.subscription IS 'Name of the subscription at that time.';
COMMENT ON COLUMN webhook.log.entity_type IS 'The event''s entity type.';
COMMENT ON COLUMN webhook.log.entity_id IS 'The event''s entity id, its first 500 characters.';
COMMENT ON COLUMN webhook.log.action_type IS 'The event''s action type.';
COMMENT ON COLUMN webhook.log.attempt_number IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN webhook.log.outcome IS
	'One word: delivered, or what went wrong. docs/outcomes.md lists them all.';
COMMENT ON COLUMN webhook.log.http_status IS 'Status of the response. Null: there was none.';
COMMENT ON COLUMN webhook.log.error IS 'What went wrong, as text. Null when delivered.';
COMMENT ON COLUMN webhook.log.duration_ms IS 'Milliseconds from start to end.';
COMMENT ON COLUMN webhook.log.response IS 'The first 4096 bytes of the response body.';
COMMENT ON COLUMN webhook.log.event_number IS
	'Number of the event. webhook.event_number() finds it from an event id with any prefix.';

CREATE FUNCTION webhook_internal.counters(
	OUT subscription_id bigint, OUT queued integer, OUT in_flight integer, OUT catching_up boolean,
	OUT breaker text, OUT delivered bigint, OUT failed bigint, OUT last_success_at timestamptz,
	OUT last_failure_at timestamptz, OUT last_error text, OUT next_probe_at timestamptz
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_counters';
COMMENT ON FUNCTION webhook_internal.counters() IS
	'What this database''s worker has in memory and has counted since it started: one row per '
	'subscription that the caller may see. No rows while there is no worker.';

CREATE FUNCTION webhook_internal.worker_status(
	OUT state text, OUT reason text, OUT pid integer, OUT started_at timestamptz,
	OUT last_read_at timestamptz, OUT last_settled_at timestamptz, OUT queued integer,
	OUT in_flight integer, OUT events_read bigint, OUT outbox_size bigint,
	OUT unread_events bigint, OUT oldest_unread_age interval
) RETURNS record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_worker_status';
COMMENT ON FUNCTION webhook_internal.worker_status() IS 'The row of webhook.worker.';

-- pending and dead_letter are scanned once each, however many subscriptions there are, and not at
-- all if none of their columns is selected: nothing is looked up per subscription
CREATE VIEW webhook.status WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		CASE WHEN s.state = 'active' AND c.catching_up THEN 'catching_up' ELSE s.state END AS state,
		s.state_reason AS reason,
		coalesce(c.breaker, 'closed') AS breaker,
		coalesce(c.queued, 0) AS queued,
		coalesce(c.in_flight, 0) AS in_flight,
		coalesce(p.pending, 0) AS pending,
		p.oldest_pending_age,
		CASE coalesce(c.breaker, 'closed') WHEN 'closed' THEN p.next_attempt_at
			WHEN 'open' THEN c.next_probe_at END AS next_attempt_at,
		coalesce(d.dead_letters, 0) AS dead_letters,
		coalesce(c.delivered, 0) AS delivered,
		coalesce(c.failed, 0) AS failed,
		c.last_success_at,
		c.last_failure_at,
		c.last_error
	FROM webhook.subscription s
	LEFT JOIN webhook_internal.counters() c ON c.subscription_id = s.id
	LEFT JOIN (SELECT p.subscription_id, count(*) AS pending,
			clock_timestamp() - min(p.pending_since) AS oldest_pending_age,
			min(p.next_attempt_at) FILTER (WHERE p.state = 'retry') AS next_attempt_at
		FROM webhook.pending p GROUP BY p.subscription_id) p ON p.subscription_id = s.id
	LEFT JOIN (SELECT d.subscription_id, count(*) AS dead_letters
		FROM webhook.dead_letter d GROUP BY d.subscription_id) d ON d.subscription_id = s.id;
COMMENT ON VIEW webhook.status IS
	'One row per subscription: its state, what waits for it, and what was delivered since the '
	'worker started.';
COMMENT ON COLUMN webhook.status.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN webhook.status.state IS 'active, catching_up, paused, disabled or inactive.';
COMMENT ON COLUMN webhook.status.reason IS 'Why the state is not active.';
COMMENT ON COLUMN webhook.status.breaker IS
	'closed: requests are sent as usual; open: ten in a row have failed, deliveries are kept and a '
	'probe is sent now and then; half-open: a probe is in flight.';
COMMENT ON COLUMN webhook.status.queued IS 'Deliveries waiting in the worker''s memory.';
COMMENT ON COLUMN webhook.status.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN webhook.status.pending IS 'Rows in webhook.pending.';
COMMENT ON COLUMN webhook.status.oldest_pending_age IS 'Age of the oldest pending delivery.';
COMMENT ON COLUMN webhook.status.next_attempt_at IS
	'When the earliest retry is due; while the breaker is open, when its next probe is. Null: none '
	'waits for a retry, or the probe is in flight.';
COMMENT ON COLUMN webhook.status.dead_letters IS 'Rows in webhook.dead_letter.';
COMMENT ON COLUMN webhook.status.delivered IS 'Deliveries since the worker started.';
COMMENT ON COLUMN webhook.status.failed IS 'Failed attempts since the worker started.';
COMMENT ON COLUMN webhook.status.last_success_at IS
	'Time of the last delivery since the worker started.';
COMMENT ON COLUMN webhook.status.last_failure_at IS
	'Time of the last failed attempt since the worker started.';
COMMENT ON COLUMN webhook.status.last_error IS
	'Outcome of the last failed attempt, one word. too_large: the worker cannot hold the '
	'subscription; the server log says why, and its events are kept.';

CREATE VIEW webhook.worker WITH (security_invoker = true) AS
	SELECT w.state, w.reason, w.unread_events, w.oldest_unread_age, w.pid, w.started_at,
		w.last_read_at, w.last_settled_at, w.queued, w.in_flight, w.events_read, w.outbox_size
	FROM webhook_internal.worker_status() w;
COMMENT ON VIEW webhook.worker IS 'The worker of this database, in one row.';
COMMENT ON COLUMN webhook.worker.state IS
	'running; starting; failing: it meets an error again and again and waits longer each time; '
	'suspended: nothing is delivered here, as in a copy; not_running.';
COMMENT ON COLUMN webhook.worker.reason IS
	'Why the state is not running. While it is: that the extension is not at the version of the '
	'library, and what to do; or why fewer requests are in flight than webhook.max_in_flight, if '
	'that is set; or, for lack of file descriptors, than the subscriptions ask for.';
COMMENT ON COLUMN webhook.worker.unread_events IS
	'Committed events that the worker has not read yet, counted up to 10000 (10000 means at least '
	'that many). Events committed late, after higher numbers were read, are not counted. Null '
	'while webhook.outbox or webhook.checkpoint is locked.';
COMMENT ON COLUMN webhook.worker.oldest_unread_age IS
	'Age of the oldest unread event. Null: there is none. Alert on it: it grows while no worker '
	'runs or the worker cannot keep up.';
COMMENT ON COLUMN webhook.worker.pid IS 'Process id of the worker, if there is one.';
COMMENT ON COLUMN webhook.worker.started_at IS 'When that process was started.';
COMMENT ON COLUMN webhook.worker.last_read_at IS 'When it last read events.';
COMMENT ON COLUMN webhook.worker.last_settled_at IS
	'When it last recorded the results of deliveries.';
COMMENT ON COLUMN webhook.worker.queued IS 'Deliveries waiting in its memory.';
COMMENT ON COLUMN webhook.worker.in_flight IS 'Requests in flight.';
COMMENT ON COLUMN webhook.worker.events_read IS 'Events read since it started.';
COMMENT ON COLUMN webhook.worker.outbox_size IS
	'Bytes that webhook.outbox takes on disk. Null on a standby, and while it is locked.';

--
-- Operational events: what happens to subscriptions, for other subscriptions to receive.
--

CREATE FUNCTION webhook_internal.append_event(
	entity_type text, entity_id text, action_type text, result json, tenant text,
	subscription_id bigint
) RETURNS bigint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_append_event';
COMMENT ON FUNCTION webhook_internal.append_event(text, text, text, json, text, bigint) IS
	'Appends an event to the outbox as capture does, and returns its event number. '
	'subscription_id: for this subscription alone; null: for all that match.';

CREATE FUNCTION webhook_internal.announce(
	subscription_id bigint, change text, reason text, event_number bigint
) RETURNS void
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s webhook.subscription;
	e webhook.outbox;
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b WHERE b.id = announce.subscription_id;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	-- once each, also if a worker has ended in between, and whether or not anybody listens
	IF announce.change = 'breaker_opened' THEN
		INSERT INTO webhook_internal.breaker_notice (subscription_id) VALUES (s.id)
			ON CONFLICT DO NOTHING;
	ELSIF announce.change = 'breaker_closed' THEN
		DELETE FROM webhook_internal.breaker_notice t WHERE t.subscription_id = s.id;
	END IF;
	IF announce.change LIKE 'breaker%' AND NOT FOUND
		OR NOT EXISTS (SELECT FROM webhook.subscription l
			WHERE l.state <> 'inactive' AND l.id <> s.id
				AND webhook_internal.asks_for(l.events, 'webhook_subscription', 'update')) THEN
		RETURN;
	END IF;
	e.entity_type := 'webhook_subscription';
	e.entity_id := s.name;
	e.action_type := 'update';
	e.result := json_build_object('subscription', s.name, 'change', announce.change,
		'state', s.state, 'reason', announce.reason,
		'event_id', webhook.event_id(announce.event_number), 'occurred_at', clock_timestamp());
	e.tenant := s.tenant;
	IF NOT EXISTS (SELECT FROM webhook_internal.operator_isolation) THEN
		-- nulls have their types, so that no function of this name made by others is called
		PERFORM webhook_internal.append_event(e.entity_type, e.entity_id, e.action_type, e.result,
			e.tenant, NULL::bigint);
		RETURN;
	END IF;
	-- operators are isolated: an event for each subscription whose owner may see this one
	PERFORM webhook_internal.append_event(e.entity_type, e.entity_id, e.action_type, e.result,
			e.tenant, l.id)
		FROM webhook.subscription l JOIN pg_roles r ON r.rolname = l.owner
			JOIN pg_roles o ON o.rolname = s.owner
		WHERE pg_has_role(r.oid, o.oid, 'USAGE') AND webhook_internal.matches(l, e);
END
$$;
COMMENT ON FUNCTION webhook_internal.announce(bigint, text, text, bigint) IS
	'Appends an event of entity type webhook_subscription if another subscription asks for that '
	'type by name. change: breaker_opened, breaker_closed, disabled, resumed or dead_letter. The '
	'event contains no URL, no secret, and no text from an endpoint or a library.';

CREATE FUNCTION webhook_internal.announce_state() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.state = 'disabled' THEN
		PERFORM webhook_internal.announce(NEW.id, 'disabled', NEW.state_reason, NULL::bigint);
	ELSIF OLD.state = 'disabled' THEN
		PERFORM webhook_internal.announce(NEW.id, 'resumed', NULL::text, NULL::bigint);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_state() IS
	'Announces a subscription that becomes disabled, or is disabled no longer.';

CREATE FUNCTION webhook_internal.announce_dead_letters() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- the outcome of its last attempt; the reason, written for people, may name a host
	PERFORM webhook_internal.announce(d.subscription_id, 'dead_letter',
			(SELECT a.outcome FROM webhook.attempt a
				WHERE d.attempts > 0 AND a.event_number = d.event_number
					AND a.subscription_id = d.subscription_id
				ORDER BY a.started_at DESC LIMIT 1), d.event_number)
		-- else two that listen to each other would never come to rest
		FROM dead d WHERE d.entity_type <> 'webhook_subscription';
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.announce_dead_letters() IS
	'Announces deliveries that were given up, except those of announcements.';

CREATE TRIGGER announce_state AFTER UPDATE OF state ON webhook.subscription
	FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
	EXECUTE FUNCTION webhook_internal.announce_state();
CREATE TRIGGER announce_dead_letters AFTER INSERT ON webhook.dead_letter
	REFERENCING NEW TABLE AS dead
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.announce_dead_letters();

--
-- What webhook_internal.privileged_call performs. Only the owner may call these: they trust their
-- arguments.
--

CREATE FUNCTION webhook_internal.set_secret_as_owner(subscription_id bigint, secret text)
	RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_secret text := webhook_internal.wrapped(set_secret_as_owner.secret);
BEGIN
	-- never one that was there before: who may operate a subscription may not read its secret
	IF new_secret IS NULL THEN
		SELECT webhook_internal.generate_secret(p) INTO new_secret
			FROM webhook.profile p JOIN webhook.subscription s ON s.profile = p.name
			WHERE s.id = set_secret_as_owner.subscription_id;
	END IF;
	DELETE FROM webhook.secret k WHERE k.subscription_id = set_secret_as_owner.subscription_id;
	INSERT INTO webhook.secret (subscription_id, secret, generated)
		VALUES (set_secret_as_owner.subscription_id, new_secret,
			set_secret_as_owner.secret IS NULL);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.set_secret_as_owner(bigint, text) IS
	'Replaces the secrets of a subscription by this wrapped secret, or by a generated one, and '
	'returns it wrapped. Part of webhook.subscribe().';

CREATE FUNCTION webhook_internal.rotate_secret_as_owner(
	subscription_id bigint, secret text, overlap interval
) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	new_id integer;
	new_secret text := webhook_internal.wrapped(rotate_secret_as_owner.secret);
BEGIN
	SELECT x.id, x.profile INTO STRICT s FROM webhook.subscription x
		WHERE x.id = rotate_secret_as_owner.subscription_id FOR NO KEY UPDATE;
	IF (rotate_secret_as_owner.overlap BETWEEN interval '0' AND interval '365 days')
		IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'overlap is out of range',
			DETAIL = format('%s was given; the range is 0 to 365 days.',
				coalesce(rotate_secret_as_owner.overlap::text, 'null')),
			HINT = 'The default is 24 hours; 0 ends the old secrets at once.';
	END IF;
	IF new_secret IS NULL THEN
		SELECT webhook_internal.generate_secret(p) INTO new_secret
			FROM webhook.profile p WHERE p.name = s.profile;
	END IF;
	SELECT coalesce(max(k.id), 0) + 1 INTO new_id
		FROM webhook.secret k WHERE k.subscription_id = s.id;
	DELETE FROM webhook.secret k WHERE k.subscription_id = s.id
		AND (rotate_secret_as_owner.overlap = interval '0'
			OR k.expires_at <= clock_timestamp());
	UPDATE webhook.secret k
		SET expires_at = least(k.expires_at, clock_timestamp() + rotate_secret_as_owner.overlap),
			generated = false
		WHERE k.subscription_id = s.id;
	INSERT INTO webhook.secret (subscription_id, id, secret) VALUES (s.id, new_id, new_secret);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook_internal.rotate_secret_as_owner(bigint, text, interval) IS
	'Part of webhook.rotate_secret().';

CREATE FUNCTION webhook_internal.set_credential_as_owner(
	subscription_id bigint, kind text, value text
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_value CONSTANT text := webhook_internal.wrapped(set_credential_as_owner.value);
BEGIN
	IF new_value IS NULL THEN
		DELETE FROM webhook.credential c
			WHERE c.subscription_id = set_credential_as_owner.subscription_id
				AND c.kind = set_credential_as_owner.kind;
	ELSE
		INSERT INTO webhook.credential (subscription_id, kind, value)
			VALUES (set_credential_as_owner.subscription_id, set_credential_as_owner.kind,
				new_value)
			ON CONFLICT (subscription_id, kind) DO UPDATE SET value = new_value;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.set_credential_as_owner(bigint, text, text) IS
	'Part of webhook.set_credential().';

CREATE FUNCTION webhook_internal.redeliver_as_owner(
	subscriptions bigint[], event_id text, subscription text
) RETURNS integer
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	number CONSTANT bigint := webhook.event_number(redeliver_as_owner.event_id);
	event  webhook.outbox;
	dead   bigint[];
	locked bigint[];
	wanted bigint[];
	queued integer;
BEGIN
	-- Those who redeliver the same dead letters do so one after another; a dead letter that another
	-- transaction has taken meanwhile is left to it.
	dead := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d
		WHERE d.event_number = number);
	locked := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d
		WHERE d.event_number = number ORDER BY d.subscription_id FOR UPDATE);
	-- What others have committed counts, whatever this transaction's snapshot shows: else an event
	-- could be put back twice.
	event := webhook_internal.event_now(number);
	IF event.event_number IS NULL THEN
		PERFORM webhook_internal.lock_revival();
		event := webhook_internal.event_now(number);
	END IF;
	IF event.event_number IS NULL THEN
		event := webhook_internal.revive(number);
	END IF;
	IF event.event_number IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('event "%s" does not exist', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'It is neither in webhook.outbox nor in webhook.dead_letter.',
			HINT = 'Events are kept for webhook.retention, dead letters until they are redelivered '
				'or purged.';
	END IF;
	IF event.action_type = 'test' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" is a test', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'A test is sent once.',
			HINT = 'Send another one with CALL webhook.test().';
	END IF;
	wanted := ARRAY(
		SELECT s.id FROM webhook.subscription s
		WHERE s.id = ANY (redeliver_as_owner.subscriptions)
			AND (s.id = ANY (dead) OR webhook_internal.matches(s, event)
				OR EXISTS (SELECT FROM webhook.attempt a
					WHERE a.event_number = number AND a.subscription_id = s.id))
		-- whoever removes one waits, and then deletes what is queued here
		ORDER BY s.id FOR KEY SHARE);
	IF redeliver_as_owner.subscription IS NOT NULL AND wanted = '{}' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" does not match subscription "%s"',
				left(redeliver_as_owner.event_id, 100), redeliver_as_owner.subscription),
			DETAIL = 'It was never sent to this subscription either.',
			HINT = 'Compare it with events, tenant and filter of the subscription in '
				'webhook.subscription.';
	END IF;
	INSERT INTO webhook.pending (
			subscription_id, event_number, lane, state, next_attempt_at, segment, size)
		SELECT w.id, number, 0, 'requested', clock_timestamp(), event.segment,
				webhook_internal.event_size(event.entity_type, event.entity_id, event.tenant,
					event.result, event.previous, event.context)
		FROM unnest(wanted) w(id) WHERE w.id <> ALL (dead) OR w.id = ANY (locked) ORDER BY w.id
		ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL
			DO UPDATE SET next_attempt_at = excluded.next_attempt_at
			WHERE pending.state = 'retry';
	GET DIAGNOSTICS queued = ROW_COUNT;
	DELETE FROM webhook.dead_letter d
		WHERE d.event_number = number AND d.subscription_id = ANY (wanted);
	PERFORM webhook_internal.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.redeliver_as_owner(bigint[], text, text) IS
	'Redelivers an event to those of these subscriptions that it is for. subscription: the name of '
	'the one asked for; null: all. Part of webhook.redeliver().';

CREATE FUNCTION webhook_internal.replay_as_owner(
	subscription_id bigint, since timestamptz, until timestamptz
) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	s webhook.subscription;
	queued bigint;
	unmatchable bigint[]; -- what they contain cannot be evaluated
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b
		WHERE b.id = replay_as_owner.subscription_id FOR KEY SHARE;
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = 'subscription was removed',
			DETAIL = 'Another transaction has removed it meanwhile.',
			HINT = 'SELECT name FROM webhook.subscription shows those that there are.';
	END IF;
	IF replay_as_owner.since IS NULL OR replay_as_owner.until IS NULL
		OR replay_as_owner.since >= replay_as_owner.until THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'time range to replay is empty',
			DETAIL = format('It begins at %s and ends before %s.',
				coalesce(replay_as_owner.since::text, 'null'),
				coalesce(replay_as_owner.until::text, 'null')),
			HINT = 'since must be earlier than until; ''-infinity'' replays all events that are '
				'kept.';
	END IF;
	IF s.state = 'inactive' THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" is inactive', s.name),
			DETAIL = 'An inactive subscription matches no event.',
			HINT = 'Call webhook.resume() first, or webhook.pause() to keep the replayed events '
				'for later.';
	END IF;
	-- An event committed after this look at the outbox, and before the subscription is committed as
	-- it is now, would be sent neither way.
	IF (SELECT webhook_internal.is_current_xid(b.xmin)
		FROM webhook.subscription b WHERE b.id = s.id) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" was created or changed in this transaction',
				s.name),
			DETAIL = 'Events that others commit before this transaction ends could be missed.',
			HINT = 'COMMIT, then call webhook.replay() in a new transaction.';
	END IF;
	-- A segment that was emptied looks empty to an older snapshot, too, and events that have moved
	-- on from it are not seen.
	LOCK TABLE webhook.outbox IN ACCESS SHARE MODE;
	IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'webhook.outbox'::regclass
			AND c.relfilenode <> pg_relation_filenode(c.oid)) THEN
		RAISE serialization_failure USING
			MESSAGE = 'could not serialize access due to the rotation of webhook.outbox',
			DETAIL = 'A segment was emptied after this transaction took its snapshot.',
			HINT = 'Retry the transaction.';
	END IF;
	WITH found AS MATERIALIZED (
		SELECT o.event_number, o.segment, m.matched,
			webhook_internal.event_size(
				o.entity_type, o.entity_id, o.tenant, o.result, o.previous, o.context) AS size
		FROM webhook.outbox o
			CROSS JOIN LATERAL (SELECT webhook_internal.matches(s, o) AS matched OFFSET 0) m
		WHERE o.created_at >= replay_as_owner.since AND o.created_at < replay_as_owner.until
			AND o.action_type <> 'test' AND m.matched IS NOT FALSE),
	again AS (
		INSERT INTO webhook.pending (
				subscription_id, event_number, lane, state, next_attempt_at, segment, size)
			SELECT s.id, f.event_number, 0, 'requested', clock_timestamp(), f.segment, f.size
			FROM found f WHERE f.matched
			ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL
				DO NOTHING
			RETURNING pending.event_number),
	alive AS (
		DELETE FROM webhook.dead_letter d USING again
			WHERE d.subscription_id = s.id AND d.event_number = again.event_number)
	SELECT (SELECT count(*) FROM again),
			ARRAY(SELECT f.event_number FROM found f WHERE f.matched IS NULL)
		INTO queued, unmatchable;
	-- as the worker does
	INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts,
			xid, entity_id, entity_type, action_type, result, previous, tenant, context, created_at)
		SELECT s.id, o.event_number, s.name,
			'filter, changed_columns or exclude_origins could not be evaluated', 0, o.xid,
			o.entity_id, o.entity_type, o.action_type, o.result, o.previous, o.tenant, o.context,
			o.created_at
		FROM webhook.outbox o WHERE o.event_number = ANY (unmatchable)
		ON CONFLICT DO NOTHING;
	PERFORM webhook_internal.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook_internal.replay_as_owner(bigint, timestamptz, timestamptz) IS
	'Part of webhook.replay().';

CREATE FUNCTION webhook_internal.test_as_owner(
	subscription_id bigint, entity_type text, entity_id text, result json, tenant text
) RETURNS bigint
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	-- of an entity type that only webhook itself uses, a test says nothing but that it is one
	SELECT webhook_internal.append_event(test_as_owner.entity_type,
			CASE WHEN a.problem IS NULL THEN test_as_owner.entity_id ELSE 'test' END, 'test',
			CASE WHEN a.problem IS NULL THEN test_as_owner.result
				ELSE json_build_object('test', true, 'subscription', s.name) END,
			test_as_owner.tenant, test_as_owner.subscription_id)
		FROM webhook.subscription s, webhook_internal.capture_argument(1::smallint,
			convert_to(jsonb_build_object('entity_type', test_as_owner.entity_type)::text,
				getdatabaseencoding()), '') a
		WHERE s.id = test_as_owner.subscription_id
$$;
COMMENT ON FUNCTION webhook_internal.test_as_owner(bigint, text, text, json, text) IS
	'Appends an event for this subscription alone, and returns its event number. Part of '
	'webhook.test().';

CREATE FUNCTION webhook_internal.perform_privileged_call() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a CONSTANT jsonb := NEW.arguments;
	asked_for CONSTANT text := a ->> 'subscription';
	allowed bigint[] := OLD.subscriptions;
BEGIN
	-- all but redeliver are for one subscription, which must be one that the caller may see
	IF asked_for IS NOT NULL OR NEW.name <> 'redeliver' THEN
		allowed := ARRAY(SELECT s.id FROM webhook.subscription s
			WHERE s.name = asked_for AND s.id = ANY (allowed));
		IF allowed = '{}' THEN
			PERFORM webhook_internal.undefined_subscription_error(asked_for);
		END IF;
	END IF;
	CASE NEW.name
		WHEN 'set_secret' THEN
			NEW.result := webhook_internal.set_secret_as_owner(allowed[1], a ->> 'secret');
		WHEN 'rotate_secret' THEN
			NEW.result := webhook_internal.rotate_secret_as_owner(allowed[1], a ->> 'secret',
				(a ->> 'overlap')::interval);
		WHEN 'set_credential' THEN
			PERFORM webhook_internal.set_credential_as_owner(allowed[1], a ->> 'kind',
				a ->> 'value');
		WHEN 'redeliver' THEN
			NEW.result := webhook_internal.redeliver_as_owner(allowed, a ->> 'event_id',
				asked_for);
		WHEN 'replay' THEN
			NEW.result := webhook_internal.replay_as_owner(allowed[1],
				(a ->> 'since')::timestamptz, (a ->> 'until')::timestamptz);
		WHEN 'test' THEN
			NEW.result := webhook_internal.test_as_owner(allowed[1], a ->> 'entity_type',
				a ->> 'entity_id', (a ->> 'result')::json, a ->> 'tenant');
		ELSE
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown operation "%s"', NEW.name),
				DETAIL = 'Valid operations are set_secret, rotate_secret, set_credential, '
					'redeliver, replay and test.',
				HINT = 'Call the function of that name in schema webhook.';
	END CASE;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook_internal.perform_privileged_call() IS
	'Performs what webhook_internal.privileged_call is asked for with the owner''s rights, on no '
	'subscription but those that the caller may see.';

CREATE TRIGGER perform_privileged_call INSTEAD OF UPDATE ON webhook_internal.privileged_call
	FOR EACH ROW EXECUTE FUNCTION webhook_internal.perform_privileged_call();

--
-- webhook.test, after the views that it reads.
--

CREATE FUNCTION webhook_internal.sample_row(
	source regclass, trigger name, wanted text, only_tenant text, named boolean,
	OUT entity_id text, OUT result json, OUT tenant text
)
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_sample_row';
COMMENT ON FUNCTION webhook_internal.sample_row(regclass, name, text, text, boolean) IS
	'Returns the row of a watched table with this entity_id, or the newest one, as its trigger '
	'would capture it; nulls if there is none. The caller needs SELECT on the table, without row '
	'security; the row is read as the table''s owner, in a security-restricted operation. named '
	'false: nulls if the caller is not a member of the table''s owner. Part of webhook.test().';

CREATE FUNCTION webhook_internal.send_test(
	subscription text, entity_type text, entity_id text, wait interval,
	OUT event bigint, OUT error text
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s      webhook.subscription;
	named  CONSTANT boolean := send_test.entity_type IS NOT NULL;
	source record;
	shown  record;
	sample webhook.outbox;
	types  text[]; -- the entity types that it asks for, in its order
	worker record;
	code text; message text; detail text; hint text; -- the first error of a table's own code
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b WHERE b.name = send_test.subscription;
	IF NOT FOUND THEN
		PERFORM webhook_internal.undefined_subscription_error(send_test.subscription);
	END IF;
	IF send_test.wait IS NULL OR send_test.wait < interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'wait is out of range',
			DETAIL = format('%s was given; it must be 0 or more.',
				coalesce(send_test.wait::text, 'null')),
			HINT = 'The default is 10 seconds; 0 does not wait for the answer.';
	END IF;
	IF send_test.entity_id IS NOT NULL AND send_test.entity_type IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'entity_id requires entity_type',
			DETAIL = 'Entities of several types may have the same id.',
			HINT = 'SELECT source, entity_type FROM webhook.source shows the entity types.';
	END IF;
	IF send_test.entity_type IS NOT NULL AND NOT EXISTS (SELECT FROM webhook.source w
		WHERE w.entity_type = send_test.entity_type) THEN
		RAISE undefined_object USING
			MESSAGE = format('no table is watched as "%s"', send_test.entity_type),
			DETAIL = 'No source has this entity type.',
			HINT = 'SELECT source, entity_type FROM webhook.source shows the watched tables.';
	END IF;
	SELECT * INTO worker FROM webhook_internal.worker_status();
	IF worker.state IN ('not_running', 'suspended') THEN
		error := format('not sent: the worker is %s%s', replace(worker.state, '_', ' '),
			': ' || worker.reason);
		RETURN;
	END IF;

	-- of the rows that this subscription might receive; whether it takes updates, or is active, is
	-- not what is tested
	s.state := 'active';
	types := ARRAY(SELECT substring(u.p FROM '^(.*)\.')
		FROM unnest(s.events) WITH ORDINALITY u(p, n) ORDER BY u.n);
	s.events := nullif(ARRAY(SELECT t || '.*' FROM unnest(types) t), '{}');
	s.changed_columns := NULL;
	sample.action_type := 'update';
	-- tables that the caller owns first: anybody may use the entity type of somebody else's table
	FOR source IN SELECT w.source, w.trigger, w.entity_type
		FROM webhook.source w LEFT JOIN pg_class c ON c.oid = w.source
		WHERE w.entity_type IS NOT NULL AND coalesce(w.entity_type = send_test.entity_type,
			webhook_internal.asks_for(s.events, w.entity_type, 'test'))
		ORDER BY w.entity_type, pg_has_role(c.relowner, 'USAGE') DESC, w.source::text LOOP
		BEGIN
			SELECT * INTO shown FROM webhook_internal.sample_row(
				source.source, source.trigger, send_test.entity_id, s.tenant, named);
		EXCEPTION WHEN assert_failure OR OTHERS THEN
			-- With an entity_id: it is not one of this table. Otherwise it is an error of this
			-- table, not of the test.
			IF code IS NULL AND NOT (send_test.entity_id IS NOT NULL
				AND (SQLSTATE LIKE '22%' OR SQLSTATE = '23514')) THEN
				GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
					detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			END IF;
			CONTINUE;
		END;
		sample.entity_type := source.entity_type;
		sample.entity_id := shown.entity_id;
		sample.result := shown.result;
		sample.tenant := shown.tenant;
		EXIT WHEN shown.result IS NOT NULL AND webhook_internal.matches(s, sample);
		sample.result := NULL;
	END LOOP;
	IF sample.result IS NULL AND named AND code IS NOT NULL THEN
		RAISE USING ERRCODE = code, MESSAGE = message,
			DETAIL = coalesce(nullif(detail, ''),
				'The error occurred while a row was read for the test.'),
			HINT = coalesce(nullif(hint, ''), 'Omit entity_type to send a made-up event.');
	END IF;
	IF sample.result IS NULL AND send_test.entity_id IS NOT NULL THEN
		RAISE no_data_found USING
			MESSAGE = format('there is no %s "%s" for subscription "%s"', send_test.entity_type,
				send_test.entity_id, send_test.subscription),
			DETAIL = 'No row has this key, or the subscription''s events, tenant or filter '
				'exclude it.',
			HINT = 'Omit entity_id to use the newest row.';
	END IF;
	IF sample.result IS NULL THEN
		sample.entity_type := coalesce(send_test.entity_type, (array_remove(types, '*'))[1],
			'test');
		sample.entity_id := 'test';
		sample.tenant := s.tenant;
		sample.result := json_build_object('test', true, 'subscription', s.name);
	END IF;
	UPDATE webhook_internal.privileged_call o SET name = 'test',
			arguments = jsonb_build_object('subscription', s.name,
				'entity_type', sample.entity_type, 'entity_id', sample.entity_id,
				'result', sample.result::text, 'tenant', sample.tenant)
		RETURNING o.result::bigint INTO STRICT event;
END
$$;
COMMENT ON FUNCTION webhook_internal.send_test(text, text, text, interval) IS
	'Appends the event of a test, or says why not. Part of webhook.test().';

CREATE FUNCTION webhook_internal.test_result(
	event bigint, since timestamptz, wait interval,
	OUT finished boolean, OUT http_status integer, OUT error text
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT a.http_status,
			CASE WHEN a.outcome <> 'delivered' THEN concat_ws(': ', a.outcome, a.error) END
		INTO http_status, error FROM webhook.attempt a WHERE a.event_number = test_result.event;
	finished := FOUND OR clock_timestamp() >= since + wait;
	IF NOT FOUND AND finished THEN
		error := format('no answer within %s%s', wait,
			(SELECT ': the worker is ' || concat_ws(': ', replace(w.state, '_', ' '), w.reason)
				FROM webhook_internal.worker_status() w WHERE w.state <> 'running'));
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.test_result(bigint, timestamptz, interval) IS
	'Whether the request of a test has ended or has been waited for long enough, and its result. '
	'Part of webhook.test().';

CREATE PROCEDURE webhook_internal.require_own_transaction()
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_require_own_transaction';
COMMENT ON PROCEDURE webhook_internal.require_own_transaction() IS
	'Raises active_sql_transaction if the caller could not COMMIT. Part of webhook.test().';

-- It commits, so it can neither SET search_path nor be SECURITY DEFINER: all names in it are
-- qualified.
CREATE PROCEDURE webhook.test(
	subscription      text,
	entity_type       text     DEFAULT NULL,
	entity_id         text     DEFAULT NULL,
	wait              interval DEFAULT '10 seconds',
	INOUT http_status integer  DEFAULT NULL,
	INOUT error       text     DEFAULT NULL
)
	LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
	event    pg_catalog.int8;
	since    pg_catalog.timestamptz;
	finished pg_catalog.bool;
BEGIN
	CALL webhook_internal.require_own_transaction();
	http_status := NULL;
	SELECT t.event, t.error INTO event, error
		FROM webhook_internal.send_test(subscription, entity_type, entity_id, wait) t;
	COMMIT;
	IF event IS NULL THEN
		RETURN;
	END IF;
	since := pg_catalog.clock_timestamp();
	LOOP
		SELECT r.finished, r.http_status, r.error INTO finished, http_status, error
			FROM webhook_internal.test_result(event, since, wait) r;
		COMMIT; -- hold no snapshot while waiting
		EXIT WHEN finished;
		PERFORM pg_catalog.pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON PROCEDURE webhook.test(text, text, text, interval, integer, text) IS
	'Sends one event with action type test to this subscription, whatever its state, and waits for '
	'the answer: http_status, and error (null: delivered). There is one request, no retry and no '
	'dead letter. The event is made of the row with this entity_id, else of the newest row of '
	'entity_type or of any type the subscription asks for, else it is made up; the caller needs '
	'SELECT on the table and, if entity_type is not given, membership in its owner. Error '
	'active_sql_transaction inside a transaction block, undefined_object if the subscription or '
	'the entity type does not exist, no_data_found if no such row is for the subscription.';

--
-- Monitoring: cumulative counters, how far long work has come, and both as metrics.
--

CREATE VIEW webhook.stat_subscription WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		coalesce(t.delivered, 0) AS delivered,
		coalesce(t.skipped, 0) AS skipped,
		coalesce(t.failed, 0) AS failed,
		coalesce(t.given_up, 0) AS given_up,
		coalesce(t.breaker_opened, 0) AS breaker_opened,
		coalesce(t.duration_seconds, 0) AS duration_seconds,
		coalesce(t.duration_histogram, array_fill(0::bigint, '{12}')) AS duration_histogram,
		coalesce(t.delay_seconds, 0) AS delay_seconds,
		coalesce(t.delay_histogram, array_fill(0::bigint, '{12}')) AS delay_histogram,
		t.stats_reset
	FROM webhook.subscription s
	LEFT JOIN webhook_internal.stat_subscription t ON t.subscription_id = s.id;
COMMENT ON VIEW webhook.stat_subscription IS
	'Cumulative counters, one row per subscription, kept over restarts of the worker and the '
	'server. At most a second behind webhook.log. A histogram has 12 buckets, each with its own '
	'count; their upper bounds are 5, 10, 25, 50, 100, 250 and 500 ms, 1, 5, 30 and 300 s, and '
	'none for the last.';
COMMENT ON COLUMN webhook.stat_subscription.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN webhook.stat_subscription.delivered IS
	'Deliveries: rows of webhook.log with the outcome delivered.';
COMMENT ON COLUMN webhook.stat_subscription.skipped IS
	'Deliveries for which the transform returned null.';
COMMENT ON COLUMN webhook.stat_subscription.failed IS
	'Failed attempts: the other rows of webhook.log.';
COMMENT ON COLUMN webhook.stat_subscription.given_up IS
	'Deliveries that became dead letters, those that were redelivered or purged since included.';
COMMENT ON COLUMN webhook.stat_subscription.breaker_opened IS 'How often its breaker has opened.';
COMMENT ON COLUMN webhook.stat_subscription.duration_seconds IS
	'Seconds that all requests took together.';
COMMENT ON COLUMN webhook.stat_subscription.duration_histogram IS
	'How long requests took, from start to end.';
COMMENT ON COLUMN webhook.stat_subscription.delay_seconds IS
	'Seconds from change to receipt, of all deliveries together.';
COMMENT ON COLUMN webhook.stat_subscription.delay_histogram IS
	'How long it took from the change (webhook.outbox.created_at, shortly before its COMMIT) '
	'until the receiver had confirmed it.';
COMMENT ON COLUMN webhook.stat_subscription.stats_reset IS
	'When webhook.stat_reset() last set these to zero. Null: never.';

CREATE VIEW webhook.stat_worker WITH (security_invoker = true) AS
	SELECT t.starts, t.reads, t.events_read, t.delivered, t.skipped, t.failed, t.given_up,
		t.segments_emptied, t.rotation_delayed_since, t.stats_reset
	FROM webhook_internal.stat_worker t;
COMMENT ON VIEW webhook.stat_worker IS
	'Cumulative counters of this database''s worker, in one row, kept over its restarts and those '
	'of the server.';
COMMENT ON COLUMN webhook.stat_worker.starts IS 'How often a worker began to deliver.';
COMMENT ON COLUMN webhook.stat_worker.reads IS 'Pages of events read.';
COMMENT ON COLUMN webhook.stat_worker.events_read IS 'Events read.';
COMMENT ON COLUMN webhook.stat_worker.delivered IS
	'Deliveries of all subscriptions, those removed since included.';
COMMENT ON COLUMN webhook.stat_worker.skipped IS
	'Deliveries for which a transform returned null, likewise.';
COMMENT ON COLUMN webhook.stat_worker.failed IS 'Failed attempts, likewise.';
COMMENT ON COLUMN webhook.stat_worker.given_up IS
	'Deliveries that became dead letters, likewise.';
COMMENT ON COLUMN webhook.stat_worker.segments_emptied IS
	'Segments of webhook.outbox and webhook.attempt emptied.';
COMMENT ON COLUMN webhook.stat_worker.rotation_delayed_since IS
	'Since when a segment that is old enough cannot be emptied: somebody holds a lock on it, '
	'events in it are not settled, or an error, which the server log has. Null: rotation is on '
	'time.';
COMMENT ON COLUMN webhook.stat_worker.stats_reset IS
	'When webhook.stat_reset() last set these to zero. Null: never.';

CREATE FUNCTION webhook.stat_reset(subscription text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO webhook_internal.stat_subscription AS t (subscription_id, stats_reset)
		SELECT s.id, clock_timestamp() FROM webhook.subscription s
			WHERE s.name = stat_reset.subscription OR stat_reset.subscription IS NULL
		ON CONFLICT (subscription_id) WHERE subscription_id IS NOT NULL DO UPDATE
		SET (delivered, skipped, failed, given_up, breaker_opened, duration_seconds, delay_seconds,
				duration_histogram, delay_histogram, stats_reset)
			= ROW(0, 0, 0, 0, 0, 0, 0, DEFAULT, DEFAULT, excluded.stats_reset);
	IF NOT FOUND AND stat_reset.subscription IS NOT NULL THEN
		PERFORM webhook_internal.undefined_subscription_error(stat_reset.subscription);
	END IF;
	IF stat_reset.subscription IS NULL THEN
		UPDATE webhook_internal.stat_worker SET stats_reset = clock_timestamp(),
			(delivered, skipped, failed, given_up, starts, reads, events_read, segments_emptied)
				= ROW(0, 0, 0, 0, 0, 0, 0, 0);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.stat_reset(text) IS
	'Sets the counters of a subscription to zero; null: those of all subscriptions and of the '
	'worker. Until the transaction ends the worker keeps what it counts in memory. Only the owner '
	'of the extension may call it. Error undefined_object if there is no such subscription.';

CREATE FUNCTION webhook_internal.progress(
	OUT command text, OUT subscription_id bigint, OUT done bigint, OUT total bigint,
	OUT started_at timestamptz
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_progress';
COMMENT ON FUNCTION webhook_internal.progress() IS
	'What the worker says of long work, for webhook.progress.';

CREATE VIEW webhook.progress WITH (security_invoker = true) AS
	SELECT p.command, s.name AS subscription, p.done, p.total, r.rate,
		CASE WHEN r.rate > 0 THEN make_interval(secs => (p.total - p.done) / r.rate) END
			AS estimated_remaining,
		p.started_at
	FROM webhook_internal.progress() p
	LEFT JOIN webhook.subscription s ON s.id = p.subscription_id
	CROSS JOIN LATERAL (SELECT p.done / greatest(0.001,
			extract(epoch FROM clock_timestamp() - p.started_at)::double precision) AS rate) r;
COMMENT ON VIEW webhook.progress IS
	'Long work of the worker that is under way. No rows: there is none.';
COMMENT ON COLUMN webhook.progress.command IS
	'replay: a subscription sends what webhook.replay() or webhook.redeliver() asked for; '
	'catching_up: it sends what was kept for it; rotation: events with pending deliveries are '
	'moved out of a segment that is to be emptied.';
COMMENT ON COLUMN webhook.progress.subscription IS 'Name of the subscription. Null for rotation.';
COMMENT ON COLUMN webhook.progress.done IS
	'Deliveries made since it began; for rotation, rows of webhook.pending looked at.';
COMMENT ON COLUMN webhook.progress.total IS
	'The same when it is over, as far as is known: it grows while events go on coming.';
COMMENT ON COLUMN webhook.progress.rate IS 'How much of that was done per second.';
COMMENT ON COLUMN webhook.progress.estimated_remaining IS
	'How long it still takes at that rate. Null: nothing was done yet.';
COMMENT ON COLUMN webhook.progress.started_at IS
	'When it began; at the earliest, when the worker started.';

-- one row per family and subscription, then text: an exporter has only to send it
CREATE FUNCTION webhook.metrics(max_subscriptions integer DEFAULT 100) RETURNS text
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	WITH families (n, family, kind, help) AS (VALUES
		(1, 'worker_up', 'gauge', 'Whether a worker delivers, or starts: 1 or 0.'),
		(2, 'worker_suspended', 'gauge', 'Whether nothing is delivered because this is a copy.'),
		(3, 'worker_unread_events', 'gauge', 'Committed events not read yet, up to 10000.'),
		(4, 'worker_oldest_unread_age_seconds', 'gauge', 'Age of the oldest of them; 0: none.'),
		(5, 'worker_queued', 'gauge', 'Deliveries waiting in memory.'),
		(6, 'worker_in_flight', 'gauge', 'Requests in flight.'),
		(7, 'worker_outbox_size_bytes', 'gauge', 'Size of webhook.outbox on disk.'),
		(8, 'worker_rotation_delayed_seconds', 'gauge',
			'For how long a segment could not be emptied; 0: rotation is on time.'),
		(9, 'worker_source_problems', 'gauge', 'Watched tables whose triggers have a problem.'),
		(10, 'worker_subscriptions', 'gauge', 'Subscriptions.'),
		(11, 'worker_subscriptions_left_out', 'gauge', 'Those left out of these metrics.'),
		(12, 'worker_starts', 'counter', 'Starts of the worker.'),
		(13, 'worker_reads', 'counter', 'Pages of events read.'),
		(14, 'worker_events_read', 'counter', 'Events read.'),
		(15, 'worker_delivered', 'counter', 'Deliveries of all subscriptions.'),
		(16, 'worker_skipped', 'counter', 'Deliveries that a transform left out.'),
		(17, 'worker_failed', 'counter', 'Failed attempts.'),
		(18, 'worker_given_up', 'counter', 'Deliveries that became dead letters.'),
		(19, 'worker_segments_emptied', 'counter', 'Segments emptied.'),
		(20, 'subscription_active', 'gauge', 'Whether its state is active: 1 or 0.'),
		(21, 'subscription_disabled', 'gauge', 'Whether the worker has disabled it: 1 or 0.'),
		(22, 'subscription_breaker_open', 'gauge', 'Whether its breaker is not closed: 1 or 0.'),
		(23, 'subscription_queued', 'gauge', 'Deliveries waiting in memory.'),
		(24, 'subscription_in_flight', 'gauge', 'Requests in flight.'),
		(25, 'subscription_pending', 'gauge', 'Rows of webhook.pending.'),
		(26, 'subscription_oldest_pending_age_seconds', 'gauge',
			'Age of the oldest of them; 0: none.'),
		(27, 'subscription_dead_letters', 'gauge', 'Rows of webhook.dead_letter.'),
		(28, 'subscription_delivered', 'counter', 'Deliveries.'),
		(29, 'subscription_skipped', 'counter', 'Deliveries that the transform left out.'),
		(30, 'subscription_failed', 'counter', 'Failed attempts.'),
		(31, 'subscription_given_up', 'counter', 'Deliveries that became dead letters.'),
		(32, 'subscription_breaker_opened', 'counter', 'How often its breaker has opened.'),
		(33, 'subscription_duration_seconds', 'histogram', 'How long requests took.'),
		(34, 'subscription_delay_seconds', 'histogram', 'From the change to its receipt.')),
	-- as worker/worker_stat.c has them
	bounds (le) AS (VALUES ('{0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,5,30,300}'::text[])),
	shown AS (SELECT s.*, t.skipped, t.given_up, t.breaker_opened, t.delivered AS ever_delivered,
			t.failed AS ever_failed, t.duration_seconds, t.duration_histogram, t.delay_seconds,
			t.delay_histogram
		FROM webhook.status s JOIN webhook.stat_subscription t USING (subscription)
		ORDER BY s.subscription LIMIT greatest(max_subscriptions, 0)),
	totals AS (SELECT count(*) AS n FROM webhook.stat_subscription),
	-- what is in no family is a part of a histogram
	measured (label, value) AS (
		SELECT NULL::text, jsonb_build_object(
			'worker_up', (w.state IN ('running', 'starting'))::int,
			'worker_suspended', (w.state = 'suspended')::int,
			'worker_unread_events', w.unread_events,
			'worker_oldest_unread_age_seconds',
				coalesce(extract(epoch FROM w.oldest_unread_age), 0),
			'worker_queued', coalesce(w.queued, 0), 'worker_in_flight', coalesce(w.in_flight, 0),
			'worker_outbox_size_bytes', w.outbox_size,
			'worker_rotation_delayed_seconds', coalesce(
				greatest(0, extract(epoch FROM clock_timestamp() - t.rotation_delayed_since)), 0),
			'worker_source_problems',
				(SELECT count(*) FROM webhook.source WHERE problem IS NOT NULL),
			'worker_subscriptions', n.n,
			'worker_subscriptions_left_out', n.n - (SELECT count(*) FROM shown),
			'worker_starts', t.starts, 'worker_reads', t.reads,
			'worker_events_read', t.events_read, 'worker_delivered', t.delivered,
			'worker_skipped', t.skipped, 'worker_failed', t.failed,
			'worker_given_up', t.given_up, 'worker_segments_emptied', t.segments_emptied)
		FROM webhook.worker w, webhook.stat_worker t, totals n
		UNION ALL
		SELECT format('subscription="%s"', replace(replace(replace(s.subscription,
				E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n')), jsonb_build_object(
			'subscription_active', (s.state IN ('active', 'catching_up'))::int,
			'subscription_disabled', (s.state = 'disabled')::int,
			'subscription_breaker_open', (s.breaker <> 'closed')::int,
			'subscription_queued', s.queued, 'subscription_in_flight', s.in_flight,
			'subscription_pending', s.pending,
			'subscription_oldest_pending_age_seconds',
				coalesce(extract(epoch FROM s.oldest_pending_age), 0),
			'subscription_dead_letters', s.dead_letters,
			'subscription_delivered', s.ever_delivered, 'subscription_skipped', s.skipped,
			'subscription_failed', s.ever_failed, 'subscription_given_up', s.given_up,
			'subscription_breaker_opened', s.breaker_opened,
			'subscription_duration_seconds', jsonb_build_object(
				'sum', s.duration_seconds, 'buckets', s.duration_histogram),
			'subscription_delay_seconds', jsonb_build_object(
				'sum', s.delay_seconds, 'buckets', s.delay_histogram))
		FROM shown s),
	samples (n, part, label, sample) AS (
		SELECT f.n, 1, m.label, format('webhook_%s%s%s %s', f.family,
				CASE f.kind WHEN 'counter' THEN '_total' END, '{' || m.label || '}', v.value)
			FROM families f, measured m, jsonb_each_text(m.value) v(family, value)
			WHERE v.family = f.family AND f.kind <> 'histogram' AND v.value IS NOT NULL
		UNION ALL
		SELECT f.n, b.i, m.label, format('webhook_%s_bucket{%s,le="%s"} %s', f.family, m.label,
				coalesce(u.le[b.i], '+Inf'),
				sum(b.v::bigint) OVER (PARTITION BY f.n, m.label ORDER BY b.i))
			FROM families f, bounds u, measured m,
				jsonb_array_elements_text(m.value -> f.family -> 'buckets') WITH ORDINALITY b(v, i)
			WHERE f.kind = 'histogram'
		UNION ALL
		SELECT f.n, 99, m.label,
			format(E'webhook_%1$s_sum{%2$s} %3$s\nwebhook_%1$s_count{%2$s} %4$s', f.family,
				m.label, m.value -> f.family ->> 'sum',
				(SELECT sum(b::bigint)
					FROM jsonb_array_elements_text(m.value -> f.family -> 'buckets') b))
			FROM families f, measured m WHERE f.kind = 'histogram' AND m.value ? f.family)
	SELECT string_agg(
			format(E'# TYPE webhook_%1$s %2$s\n# HELP webhook_%1$s %3$s\n%4$s\n', f.family, f.kind,
				f.help, x.lines), '' ORDER BY f.n) || '# EOF' || E'\n'
		FROM families f JOIN (SELECT s.n,
			string_agg(s.sample, E'\n' ORDER BY s.label COLLATE "C", s.part) AS lines
			FROM samples s GROUP BY s.n) x USING (n)
$$;
COMMENT ON FUNCTION webhook.metrics(integer) IS
	'The state and the counters of this database as OpenMetrics text: about 40 series per '
	'subscription, for the first max_subscriptions by name. Names and meanings are those of '
	'webhook.status, webhook.worker, webhook.stat_subscription and webhook.stat_worker.';

--
-- Operators isolated from each other, if the owner of the database wants that.
--

CREATE TABLE webhook_internal.operator_isolation (
	isolated boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (isolated),
	isolated_since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE webhook_internal.operator_isolation IS
	'Has a row while operators are isolated from each other: webhook.isolate_operators(). Row '
	'security of an extension''s tables is not dumped; this row is, and switches it on when it is '
	'restored.';
COMMENT ON COLUMN webhook_internal.operator_isolation.isolated IS 'Always true.';
COMMENT ON COLUMN webhook_internal.operator_isolation.isolated_since IS 'Since when.';
SELECT pg_catalog.pg_extension_config_dump('webhook_internal.operator_isolation', '');

-- without effect until row security is switched on
CREATE POLICY own ON webhook.subscription
	USING (owner IN (SELECT r.rolname FROM pg_catalog.pg_roles r
		WHERE pg_catalog.pg_has_role(r.oid, 'USAGE')));
CREATE POLICY own ON webhook.pending
	USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));
CREATE POLICY own ON webhook.dead_letter
	USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));
CREATE POLICY own ON webhook.attempt
	USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));
CREATE POLICY own ON webhook_internal.stat_subscription
	USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));

CREATE FUNCTION webhook_internal.apply_operator_isolation() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	what CONSTANT text := CASE WHEN EXISTS (SELECT FROM webhook_internal.operator_isolation)
		THEN 'ENABLE' ELSE 'DISABLE' END;
BEGIN
	EXECUTE format('ALTER TABLE webhook.subscription %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.pending %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.dead_letter %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.attempt %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook_internal.stat_subscription %s ROW LEVEL SECURITY', what);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_internal.apply_operator_isolation() IS
	'Switches row security on or off, as webhook_internal.operator_isolation says.';

CREATE TRIGGER apply_operator_isolation
	AFTER INSERT OR DELETE OR TRUNCATE ON webhook_internal.operator_isolation
	FOR EACH STATEMENT EXECUTE FUNCTION webhook_internal.apply_operator_isolation();

CREATE FUNCTION webhook.isolate_operators(isolate boolean DEFAULT true) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF isolate_operators.isolate THEN
		INSERT INTO webhook_internal.operator_isolation DEFAULT VALUES ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM webhook_internal.operator_isolation;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.isolate_operators(boolean) IS
	'Makes each subscription, its pending deliveries, its dead letters and its log visible only to '
	'members of the role that owns it, by row security; the owner of the extension and superusers '
	'see all. isolate => false: visible to all with the grants, as by default. Only the owner of '
	'the tables may call it: error insufficient_privilege otherwise.';

--
-- What each kind of role is granted, and the functions that grant it.
--

-- The one list: granting, revoking and checking all use its rows. It is read when it is used, so a
-- column added to webhook.subscription later is an operator's too.
CREATE FUNCTION webhook_internal.role_privileges(
	kind text, OUT class text, OUT object text, OUT privilege text, OUT columns name[]
) RETURNS SETOF record
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH mine (columns) AS (
		-- not transform_owner, which a trigger writes; and not id and created_at: the log and the
		-- dead letters of a removed subscription go by its id
		SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
			WHERE a.attrelid = 'webhook.subscription'::regclass
				AND a.attnum > 0 AND NOT a.attisdropped
				AND a.attname NOT IN ('id', 'created_at', 'transform_owner')),
	-- a routine has its arguments if its name is not unique
	given (kind, class, privilege, columns, objects) AS (VALUES
		('operator', 'SCHEMA', 'USAGE', NULL::name[], '{webhook, webhook_internal}'::text[]),
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.subscription, webhook.profile,
			webhook.source, webhook.log, webhook.status, webhook.worker, webhook.attempt,
			webhook.pending, webhook.dead_letter, webhook_internal.privileged_call}'),
		-- what is counted: an operator's and a viewer's
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.stat_subscription, webhook.stat_worker,
			webhook.progress, webhook_internal.stat_subscription, webhook_internal.stat_worker}'),
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook.metrics, webhook_internal.progress}'),
		('viewer', 'TABLE', 'SELECT', NULL, '{webhook.stat_subscription, webhook.stat_worker,
			webhook.progress, webhook_internal.stat_subscription, webhook_internal.stat_worker}'),
		('viewer', 'ROUTINE', 'EXECUTE', NULL, '{webhook.metrics, webhook_internal.progress}'),
		('operator', 'TABLE', 'INSERT', (SELECT m.columns FROM mine m), '{webhook.subscription}'),
		('operator', 'TABLE', 'UPDATE', (SELECT m.columns FROM mine m), '{webhook.subscription}'),
		('operator', 'TABLE', 'DELETE', NULL, '{webhook.subscription, webhook.dead_letter}'),
		('operator', 'TABLE', 'UPDATE', '{name, arguments}', '{webhook_internal.privileged_call}'),
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook.subscribe, webhook.unsubscribe,
			webhook.pause, webhook.resume, webhook.rotate_secret, webhook.set_credential,
			webhook.redeliver, webhook.replay, webhook.purge_dead_letters, webhook.event_id,
			webhook.event_number, webhook.verify, webhook.test, webhook.enable_delivery(text)}'),
		-- what those and the views call
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook_internal.counters,
			webhook_internal.worker_status, webhook_internal.undefined_subscription_error,
			webhook_internal.send_test, webhook_internal.sample_row, webhook_internal.test_result,
			webhook_internal.matches, webhook_internal.matches_content, webhook_internal.asks_for,
			webhook_internal.wrapped, webhook_internal.warn_undelivered,
			webhook_internal.require_own_transaction}'),

		('viewer', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('viewer', 'TABLE', 'SELECT', NULL, '{webhook.log, webhook.status, webhook.worker,
			webhook.source, webhook.attempt}'),
		-- what the views read with the viewer's rights: names, states and numbers
		('viewer', 'TABLE', 'SELECT', '{id, name, state, state_reason}', '{webhook.subscription}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id, pending_since, state, next_attempt_at}',
			'{webhook.pending}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id}', '{webhook.dead_letter}'),
		('viewer', 'ROUTINE', 'EXECUTE', NULL, '{webhook.event_id, webhook.event_number,
			webhook_internal.counters, webhook_internal.worker_status}'),

		('watcher', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('watcher', 'TABLE', 'SELECT', NULL, '{webhook.source}'),
		('watcher', 'ROUTINE', 'EXECUTE', NULL, '{webhook.watch, webhook.unwatch,
			webhook_internal.check_source, webhook_internal.check_watch,
			webhook_internal.named_columns, webhook_internal.watched, webhook_internal.lock_source,
			webhook_internal.watch_as, webhook_internal.make_triggers, webhook_internal.tell_watch,
			webhook_internal.watch_done, webhook_internal.warn_undelivered}'))
	SELECT g.class, o.object, g.privilege, g.columns FROM given g, unnest(g.objects) o(object)
		WHERE g.kind = role_privileges.kind
$$;
COMMENT ON FUNCTION webhook_internal.role_privileges(text) IS
	'The privileges of an operator, viewer or watcher: a row per object and privilege, with the '
	'columns if it is not for all.';

-- by the object's own ACL, so that neither inherited privileges nor a superuser's count
CREATE FUNCTION webhook_internal.has_role_privileges(kind text, role regrole) RETURNS boolean
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT bool_and(CASE
		WHEN p.class = 'SCHEMA' THEN EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) x
			WHERE n.oid = p.object::regnamespace
				AND x.grantee = has_role_privileges.role AND x.privilege_type = p.privilege)
		WHEN p.class = 'ROUTINE' THEN EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) x
			WHERE f.oid = CASE WHEN p.object LIKE '%(%' THEN p.object::regprocedure::oid
					ELSE p.object::regproc::oid END
				AND x.grantee = has_role_privileges.role AND x.privilege_type = p.privilege)
		WHEN p.columns IS NULL THEN EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) x
			WHERE c.oid = p.object::regclass
				AND x.grantee = has_role_privileges.role AND x.privilege_type = p.privilege)
		ELSE NOT EXISTS (SELECT FROM unnest(p.columns) col WHERE NOT EXISTS (
			SELECT FROM pg_attribute a, aclexplode(a.attacl) x
			WHERE a.attrelid = p.object::regclass AND a.attname = col
				AND x.grantee = has_role_privileges.role AND x.privilege_type = p.privilege))
		END)
		FROM webhook_internal.role_privileges(has_role_privileges.kind) p
$$;
COMMENT ON FUNCTION webhook_internal.has_role_privileges(text, regrole) IS
	'Whether a role itself has been granted all privileges of an operator, viewer or watcher.';

CREATE FUNCTION webhook_internal.change_role_privileges(role regrole, kind text, granted boolean)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- the kinds share privileges, and the role keeps those that it has as another kind
	kept CONSTANT text[] := CASE
		WHEN change_role_privileges.granted THEN ARRAY[change_role_privileges.kind]
		ELSE ARRAY(SELECT k FROM unnest('{operator,viewer,watcher}'::text[]) k
			WHERE k <> change_role_privileges.kind
				AND webhook_internal.has_role_privileges(k, change_role_privileges.role)) END;
	statement text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = change_role_privileges.role) THEN
		RAISE undefined_object USING
			MESSAGE = 'role does not exist',
			DETAIL = format('There is no role with OID %s.',
				coalesce(change_role_privileges.role::oid::text, 'null')),
			HINT = 'Create it with CREATE ROLE.';
	END IF;
	IF EXISTS (SELECT FROM pg_namespace n
		WHERE n.oid = 'webhook'::regnamespace AND n.nspowner = change_role_privileges.role) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('role %s owns the extension', change_role_privileges.role),
			DETAIL = 'The owner always has all rights.',
			HINT = 'Name another role.';
	END IF;
	FOR statement IN SELECT format('%s %s%s ON %s %s %s %s', c.verb, p.privilege,
			(SELECT ' (' || string_agg(quote_ident(w), ', ') || ')' FROM unnest(p.columns) w),
			p.class, p.object, c.preposition, change_role_privileges.role)
		FROM (SELECT 1, 'REVOKE', 'FROM', change_role_privileges.kind
				WHERE NOT change_role_privileges.granted
			UNION ALL SELECT 2, 'GRANT', 'TO', k FROM unnest(kept) k) c(n, verb, preposition, kind),
			webhook_internal.role_privileges(c.kind) p
		ORDER BY c.n LOOP
		EXECUTE statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.change_role_privileges(regrole, text, boolean) IS
	'Grants or revokes the privileges of an operator, viewer or watcher. Privileges that the role '
	'also has as another of these are kept.';

CREATE FUNCTION webhook.grant_operator(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'operator', true); END $$;
COMMENT ON FUNCTION webhook.grant_operator(regrole) IS
	'Lets a role create, change, test, pause and remove subscriptions, send events again and '
	'rotate secrets. docs/security.md lists what it can reach. Only the owner of the '
	'extension may call it. Error undefined_object if the role does not exist, '
	'object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.revoke_operator(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'operator', false); END $$;
COMMENT ON FUNCTION webhook.revoke_operator(regrole) IS
	'Revokes what webhook.grant_operator() granted. What the role also has as a viewer or a '
	'watcher, it keeps. Only the owner of the extension may call it. Error undefined_object '
	'if the role does not exist, object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.grant_viewer(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'viewer', true); END $$;
COMMENT ON FUNCTION webhook.grant_viewer(regrole) IS
	'Lets a role see the log, the status and the sources. docs/security.md lists what it can '
	'reach. Only the owner of the extension may call it. Error undefined_object if the role '
	'does not exist, object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.revoke_viewer(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'viewer', false); END $$;
COMMENT ON FUNCTION webhook.revoke_viewer(regrole) IS
	'Revokes what webhook.grant_viewer() granted. What the role also has as an operator or a '
	'watcher, it keeps. Only the owner of the extension may call it. Error undefined_object '
	'if the role does not exist, object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.grant_watcher(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'watcher', true); END $$;
COMMENT ON FUNCTION webhook.grant_watcher(regrole) IS
	'Lets a role watch the tables that it owns or has the privilege TRIGGER on. '
	'docs/security.md lists what it can reach. Only the owner of the extension may call it. '
	'Error undefined_object if the role does not exist, object_not_in_prerequisite_state if '
	'it owns the extension.';

CREATE FUNCTION webhook.revoke_watcher(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'watcher', false); END $$;
COMMENT ON FUNCTION webhook.revoke_watcher(regrole) IS
	'Revokes what webhook.grant_watcher() granted. What the role also has as an operator or a '
	'viewer, it keeps. Only the owner of the extension may call it. Error undefined_object if '
	'the role does not exist, object_not_in_prerequisite_state if it owns the extension.';

--
-- Grants: nothing for anybody but the owner; capture needs none.
--

REVOKE ALL ON SCHEMA webhook, webhook_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA webhook, webhook_internal FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA webhook, webhook_internal FROM PUBLIC;
-- Whoever creates a partition of a watched table gets its triggers, created in their own name: the
-- server then requires EXECUTE, by oid. Without USAGE on the schema nobody can name the functions,
-- and they refuse to be called other than as a trigger.
GRANT EXECUTE ON FUNCTION webhook.capture(), webhook.capture_truncate() TO PUBLIC;
-- a function in a view is called by whoever reads the view
GRANT EXECUTE ON FUNCTION webhook_internal.capture_argument(smallint, bytea, name) TO PUBLIC;

SELECT webhook.enable_delivery();

SELECT webhook_internal.warn_undelivered();

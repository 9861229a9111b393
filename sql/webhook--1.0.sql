/*
 * The install script of the extension "webhook", version 1.0.
 *
 * In this order: the tables (each column commented), the trigger functions
 * that keep the tables right, the functions of a user's day (watch, subscribe,
 * pause ...), the views, and the grants. Everything is created in the schema
 * "webhook", which is a member of the extension: where somebody has made a
 * schema of that name before, CREATE EXTENSION fails and touches nothing.
 * (A control file's "schema = webhook" would install into it, and would leave
 * the schema behind when the extension is dropped.)
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION webhook" to load this file. \quit

CREATE SCHEMA webhook;
COMMENT ON SCHEMA webhook IS 'webhooks straight out of PostgreSQL: watch a table, subscribe a URL';

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
COMMENT ON TABLE webhook.identity IS 'where this database may deliver from: delivery starts only while every row matches the running cluster and database; webhook.enable_delivery() leaves one row, and a restored dump brings a foreign one';
COMMENT ON COLUMN webhook.identity.instance IS 'eight random hex digits, part of every event id this database sends';
COMMENT ON COLUMN webhook.identity.system_identifier IS 'the cluster''s system identifier (pg_control_system) when delivery was enabled';
COMMENT ON COLUMN webhook.identity.database_oid IS 'the database''s oid when delivery was enabled';
COMMENT ON COLUMN webhook.identity.timeline IS 'the cluster''s timeline; the worker follows it when a standby is promoted, and sets it to 0 where the cluster turns out to be recovered from a backup';
COMMENT ON COLUMN webhook.identity.enabled_at IS 'when delivery was enabled here';
SELECT pg_catalog.pg_extension_config_dump('webhook.identity', '');

--
-- Configuration: profiles, subscriptions, secrets
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
COMMENT ON TABLE webhook.profile IS 'how a receiver wants to be spoken to: the envelope, the headers, the signature, what counts as success, and what it asks of a subscription; docs/PROFILES.md is the reference';
COMMENT ON COLUMN webhook.profile.name IS 'the name a subscription uses, 1 to 200 characters';
COMMENT ON COLUMN webhook.profile.description IS 'what is sent, in one sentence';
COMMENT ON COLUMN webhook.profile.envelope IS 'the body: JSON of at most 64 kB in which a string "$name" becomes that variable''s value';
COMMENT ON COLUMN webhook.profile.batch_envelope IS 'each element of a batch''s array, in the same language, at most 64 kB; since headers tell the id of the batch, it should hold the event''s own. Null: the receiver takes one event per request';
COMMENT ON COLUMN webhook.profile.content_type IS 'the request header Content-Type';
COMMENT ON COLUMN webhook.profile.batch_content_type IS 'that of a batch; null: content_type';
COMMENT ON COLUMN webhook.profile.headers IS 'further request headers: an object of names and of text with {name} in it; in a batch they tell of its first event';
COMMENT ON COLUMN webhook.profile.id_header IS 'the request header that carries the event''s id; null: none does';
COMMENT ON COLUMN webhook.profile.timestamp_header IS 'the request header that carries the time of the attempt in Unix seconds; null: none does';
COMMENT ON COLUMN webhook.profile.event_prefix IS 'what the ids of events begin with';
COMMENT ON COLUMN webhook.profile.transaction_prefix IS 'what the ids of transactions begin with';
COMMENT ON COLUMN webhook.profile.signature_algorithm IS 'how requests are signed: hmac-sha256, hmac-sha1, sha1 (of the content and, behind it, the secret), ed25519, or none; with none the columns from signature_encoding to signature_separator mean nothing';
COMMENT ON COLUMN webhook.profile.signature_encoding IS 'how a signature is written: hex or base64';
COMMENT ON COLUMN webhook.profile.secret_encoding IS 'what a secret is: raw (the key is its text, all of it, 1 to 200 bytes) or whsec (the key is the base64 after whsec_; with ed25519 after whsk_)';
COMMENT ON COLUMN webhook.profile.signed_content IS 'what is signed: text with {id}, {timestamp} and {body}';
COMMENT ON COLUMN webhook.profile.signature_header IS 'the request header that carries the signature';
COMMENT ON COLUMN webhook.profile.signature_format IS 'its value: text with {signature}, and {timestamp} where it is sent there';
COMMENT ON COLUMN webhook.profile.signature_separator IS 'divides signature_format into entries; the one with {signature} is there once for each live secret, the newest first. Null: the header has room for one signature, and while secrets overlap it is made with the oldest, which is the one that every receiver has';
COMMENT ON COLUMN webhook.profile.failure_match IS 'a 2xx is a failure too (outcome rejected) where its body is a JSON object with all of these members, an object of scalars; null: every 2xx is success';
COMMENT ON COLUMN webhook.profile.failure_fields IS 'which members of such a body tell what went wrong; joined, they are the error in webhook.log';
COMMENT ON COLUMN webhook.profile.retry_schedule IS 'the retry_schedule of subscriptions that are made without one; null: the general default';
COMMENT ON COLUMN webhook.profile.give_up_after IS 'the same for give_up_after';
COMMENT ON COLUMN webhook.profile.params IS 'what is asked of a subscription''s params: an object of their names and of rules, {"required": boolean, "type": string (not an empty one), number, boolean, object, array or uuid, "values": [what it, or each member of the object, may be]}; params without a rule are free';
COMMENT ON COLUMN webhook.profile.max_url_length IS 'the most characters a subscription''s url may have; null: 2048';
COMMENT ON COLUMN webhook.profile.builtin IS 'part of the extension, and protected; copy it with webhook.copy_profile and change the copy';
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
		'{"event_types": {"type": "object"}}',
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
			"event_types": {"type": "object", "values": ["registration", "authorization", "email_confirmation", "link_social_account", "new_verified_user"]}}',
		'{"event_type": "$mapped_type|type", "event_time": "$timestamp", "project_id": "$param.project_id", "data": "$object"}',
		'as Xsolla Login sends them: event_type, event_time, project_id and data, signed in Authorization');
INSERT INTO webhook.profile (name, builtin, headers, timestamp_header, event_prefix, transaction_prefix,
		signature_algorithm, signature_encoding, secret_encoding, signed_content, signature_header, signature_format, failure_match, failure_fields, params, envelope, description) VALUES
	('aghanim', true, '{"User-Agent": "pgwebhook/1.0"}', 'X-Aghanim-Signature-Timestamp', 'whevt_', 'whtx_',
		'hmac-sha256', 'hex', 'raw', '{timestamp}.{body}', 'X-Aghanim-Signature', '{signature}', '{"status": "error"}', '{code,message}',
		'{"game_id": {"type": "string"}, "event_types": {"type": "object"}}',
		'{"event_type": "$mapped_type|entity_action", "event_data": "$object", "event_time": "$unix", "event_id": "$id",
 "idempotency_key": "$context.idempotency_key:string", "request_id": "$context.request_id:string", "sandbox": "$sandbox",
 "trigger": "$context.trigger:string", "transaction_id": "$transaction_id",
 "context": {"?": null, "order": "$context.order", "player": "$context.player"}, "game_id": "$param.game_id"}',
		'as Aghanim sends them: event_type, event_data and what goes with them, signed with X-Aghanim-Signature');

CREATE TABLE webhook.subscription (
	id             bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	name           text        NOT NULL UNIQUE,
	url            text        NOT NULL,
	entity_types   text[],
	action_types        text[],
	profile        text        NOT NULL DEFAULT 'entity' REFERENCES webhook.profile,
	tenant         text,
	filter         jsonpath,
	headers        jsonb       NOT NULL DEFAULT '{}',
	params         jsonb       NOT NULL DEFAULT '{}',
	retry_schedule interval[]  NOT NULL,
	give_up_after  interval    NOT NULL,
	timeout        interval    NOT NULL DEFAULT '15 seconds',
	max_in_flight  integer     NOT NULL DEFAULT 50,
	rate_limit     integer,
	batch_size     integer     NOT NULL DEFAULT 1,
	ordering       text        NOT NULL DEFAULT 'entity',
	changed_columns text[],
	exclude_origins text[],
	transform      text,
	transform_owner name,
	state          text        NOT NULL DEFAULT 'active',
	state_reason   text,
	owner          name        NOT NULL DEFAULT current_user,
	created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE webhook.subscription IS 'who wants which events, and where; may be written directly as well as through webhook.subscribe() and its companions';
COMMENT ON COLUMN webhook.subscription.id IS 'number of the subscription, used by the outbox, the log and pending deliveries';
COMMENT ON COLUMN webhook.subscription.name IS 'the operator''s name for it, 1 to 200 characters; sent to nobody';
COMMENT ON COLUMN webhook.subscription.url IS 'the endpoint: https (http only while webhook.allow_http is on), no user name or password in it, at most 2048 characters';
COMMENT ON COLUMN webhook.subscription.entity_types IS 'only events of these entity types, at most 1000, of 32 kB together; null: all';
COMMENT ON COLUMN webhook.subscription.action_types IS 'only these action types (new, update, delete, truncate, test), at most 100; null: all';
COMMENT ON COLUMN webhook.subscription.profile IS 'how this receiver wants to be spoken to: a name in webhook.profile';
COMMENT ON COLUMN webhook.subscription.tenant IS 'only events of this tenant; null: all';
COMMENT ON COLUMN webhook.subscription.filter IS 'only events for which this jsonpath predicate, over {"result", "previous", "entity_type", "action_type", "tenant", "context"}, is true, as jsonb_path_match in silent mode, at most 16 kB; null: all. One that it cannot be evaluated for goes to webhook.dead_letter';
COMMENT ON COLUMN webhook.subscription.headers IS 'further request headers, a JSON object of strings, at most 16 kB';
COMMENT ON COLUMN webhook.subscription.params IS 'values that the profile''s templates may refer to, a JSON object of at most 64 kB; a profile may have rules for them';
COMMENT ON COLUMN webhook.subscription.retry_schedule IS 'waits between the attempts of a delivery that fails; the last one repeats. By default the profile''s, else {5s,5min,30min,2h,5h,10h}';
COMMENT ON COLUMN webhook.subscription.give_up_after IS 'how long after its first attempt a delivery that still fails goes to webhook.dead_letter. By default the profile''s, else 3 days';
COMMENT ON COLUMN webhook.subscription.timeout IS 'longest time one request may take, from its start to the end of the response; 100 ms to 10 minutes';
COMMENT ON COLUMN webhook.subscription.max_in_flight IS 'most requests under way to this endpoint at once, 1 to 1000';
COMMENT ON COLUMN webhook.subscription.rate_limit IS 'most requests started per second, 1 to 100000; null: no limit';
COMMENT ON COLUMN webhook.subscription.batch_size IS 'most events in one request, 1 to 1000; more than 1: the body is a JSON array of what is queued, each as the profile''s batch_envelope has it';
COMMENT ON COLUMN webhook.subscription.ordering IS 'entity: deliveries of one entity go one after the other; none: no waiting; strict: one at a time for the whole subscription. A change is for events that are read from then on: they may pass what was pending before';
COMMENT ON COLUMN webhook.subscription.changed_columns IS 'of updates, only those that changed one of these columns, at most 1000, of 32 kB together; null: all. Updates of sources that are not watched with keep_previous are all sent';
COMMENT ON COLUMN webhook.subscription.exclude_origins IS 'no events of transactions whose webhook.context has one of these as its origin, at most 1000, of 32 kB together; null: all. Keeps a receiver that writes back from being told of it';
COMMENT ON COLUMN webhook.subscription.transform IS 'a function, schema.name, that takes a webhook.outbox and returns json: the body, in place of the profile''s envelope; where it returns null nothing is sent. It runs with the rights of its owner, read-only, for at most 500 ms. Null: none';
COMMENT ON COLUMN webhook.subscription.transform_owner IS 'the role that owned that function when it was set here, written by a trigger: should the function come to belong to another, it is not called';
COMMENT ON COLUMN webhook.subscription.state IS 'active; paused (by people, webhook.pause: deliveries are kept); disabled (by the worker, see state_reason: deliveries are kept); inactive (by people: events that happen meanwhile are not for it). webhook.resume makes it active again';
COMMENT ON COLUMN webhook.subscription.state_reason IS 'why the state is not active, for people; at most 4 kB';
COMMENT ON COLUMN webhook.subscription.owner IS 'the role that it belongs to: whoever made it, unless told otherwise; to be set only to a role that one is a member of. After webhook.isolate_operators(), only its members see the subscription. A name, so that a dump can be restored where the role is not there (then only who sees all sees it)';
COMMENT ON COLUMN webhook.subscription.created_at IS 'when the subscription was made';
SELECT pg_catalog.pg_extension_config_dump('webhook.subscription', '');
SELECT pg_catalog.pg_extension_config_dump('webhook.subscription_id_seq', '');

CREATE TABLE webhook.secret (
	subscription_id bigint      NOT NULL REFERENCES webhook.subscription ON DELETE CASCADE,
	id              integer     NOT NULL DEFAULT 1,
	secret          text        NOT NULL,
	generated       boolean     NOT NULL DEFAULT false,
	created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at      timestamptz,
	PRIMARY KEY (subscription_id, id)
);
COMMENT ON TABLE webhook.secret IS 'signing secrets, at most four live ones a subscription; readable by the owner of the extension only';
COMMENT ON COLUMN webhook.secret.subscription_id IS 'whose secret it is';
COMMENT ON COLUMN webhook.secret.id IS 'number of the secret within its subscription; the highest is the newest';
COMMENT ON COLUMN webhook.secret.secret IS 'the secret as the receiver knows it, in the form that the profile''s secret_encoding asks for';
COMMENT ON COLUMN webhook.secret.generated IS 'true: made for a subscription that was given none; the first row that is inserted takes its place (webhook.rotate_secret keeps it for the overlap)';
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
COMMENT ON TABLE webhook.credential IS 'what endpoints want besides a signature, set by webhook.set_credential(); readable by the owner of the extension only';
COMMENT ON COLUMN webhook.credential.subscription_id IS 'whose credential it is';
COMMENT ON COLUMN webhook.credential.kind IS 'basic, bearer, header:Name, client_certificate, client_key, ca, proxy or oauth2';
COMMENT ON COLUMN webhook.credential.value IS 'user:password; a token; the header''s value; PEM; http://[user:password@]host:port; or {"token_url", "client_id", "client_secret", "scope", "audience", "resource", "auth"}. Sealed where webhook.key_file is set';
COMMENT ON COLUMN webhook.credential.created_at IS 'when it was set first';
SELECT pg_catalog.pg_extension_config_dump('webhook.credential', '');

--
-- The logs: rings of eight segments, written by position, recycled by TRUNCATE
--

CREATE SEQUENCE webhook.event_number_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE webhook.event_number_seq IS 'ids of events; taken one by one after the transaction has its xid, so that id order is commit order per entity';

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
	segment          smallint    NOT NULL
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.outbox IS 'one row per event, appended in the application''s own transaction; a segment is truncated when all in it is older than webhook.retention and settled, and before that, events with a pending delivery move into the current segment';
COMMENT ON COLUMN webhook.outbox.event_number IS 'number of the event; ascending in commit order for each entity';
COMMENT ON COLUMN webhook.outbox.xid IS 'the transaction that made the event';
COMMENT ON COLUMN webhook.outbox.entity_id IS 'the key of the changed row as text; several key columns as a JSON array; null for action truncate';
COMMENT ON COLUMN webhook.outbox.entity_type IS 'what kind of thing changed: the name given to webhook.watch, by default the table''s';
COMMENT ON COLUMN webhook.outbox.action_type IS 'new, update, delete, truncate or test';
COMMENT ON COLUMN webhook.outbox.result IS 'the captured columns of the row after the change; null for delete and truncate';
COMMENT ON COLUMN webhook.outbox.previous IS 'where the source is watched with keep_previous: the old values of the columns an update changed, or the whole row a delete removed';
COMMENT ON COLUMN webhook.outbox.tenant IS 'value of the source''s tenant column, as text';
COMMENT ON COLUMN webhook.outbox.context IS 'the setting webhook.context of the transaction';
COMMENT ON COLUMN webhook.outbox.subscription_id IS 'null: for every matching subscription; else for this one alone';
COMMENT ON COLUMN webhook.outbox.created_at IS 'the clock''s time of the change, not the transaction''s start';
COMMENT ON COLUMN webhook.outbox.segment IS 'which partition of the ring the row is in';

CREATE TABLE webhook.attempt (
	event_number        bigint      NOT NULL,
	subscription_id bigint      NOT NULL,
	attempt_number  integer     NOT NULL,
	started_at      timestamptz NOT NULL,
	outcome         text        NOT NULL,
	http_status     integer,
	error           text,
	duration_ms     real,
	response        text,
	subscription    text        COLLATE "C",
	entity_type     text,
	entity_id       text        COLLATE "C",
	action_type     text,
	segment          smallint    NOT NULL
) PARTITION BY LIST (segment);
COMMENT ON TABLE webhook.attempt IS 'one row per HTTP request made, appended when it has ended; recycled like webhook.outbox';
COMMENT ON COLUMN webhook.attempt.event_number IS 'the event that was sent: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.attempt.subscription_id IS 'the subscription it was sent for';
COMMENT ON COLUMN webhook.attempt.attempt_number IS 'number of this attempt of the delivery, from 1';
COMMENT ON COLUMN webhook.attempt.started_at IS 'when the request was started';
COMMENT ON COLUMN webhook.attempt.outcome IS 'one word: delivered, or what went wrong; docs/OUTCOMES.md has them all';
COMMENT ON COLUMN webhook.attempt.http_status IS 'the response''s status; null where there was none';
COMMENT ON COLUMN webhook.attempt.error IS 'what went wrong, for people; null when delivered';
COMMENT ON COLUMN webhook.attempt.duration_ms IS 'milliseconds from the start of the request to its end';
COMMENT ON COLUMN webhook.attempt.response IS 'the first 4096 bytes of the response body';
COMMENT ON COLUMN webhook.attempt.subscription IS 'its name at that time; null: it was removed before the request had ended';
COMMENT ON COLUMN webhook.attempt.entity_type IS 'of the event; kept here so that the log is found by it, at no cost to the application';
COMMENT ON COLUMN webhook.attempt.entity_id IS 'of the event, its first 500 characters';
COMMENT ON COLUMN webhook.attempt.action_type IS 'of the event';
COMMENT ON COLUMN webhook.attempt.segment IS 'which partition of the ring the row is in';

DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('CREATE TABLE webhook.outbox_%s PARTITION OF webhook.outbox FOR VALUES IN (%s)', d, d);
		EXECUTE format('ALTER TABLE webhook.outbox_%s REPLICA IDENTITY FULL', d); -- no key; rows move on into other segments
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.outbox_%s (xid)', d);
		EXECUTE format('COMMENT ON TABLE webhook.outbox_%s IS %L', d, 'segment ' || d || ' of webhook.outbox');
		EXECUTE format('CREATE TABLE webhook.attempt_%s PARTITION OF webhook.attempt FOR VALUES IN (%s)', d, d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (event_number)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (subscription, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (entity_id, started_at)', d);
		EXECUTE format('CREATE INDEX ON webhook.attempt_%s (started_at)', d);
		EXECUTE format('COMMENT ON TABLE webhook.attempt_%s IS %L', d, 'segment ' || d || ' of webhook.attempt');
	END LOOP;
END
$$;

CREATE TABLE webhook.pending (
	subscription_id bigint      NOT NULL,
	event_number        bigint      NOT NULL,
	lane            bigint      NOT NULL,
	state           text        NOT NULL CHECK (state IN ('retry', 'blocked', 'deferred', 'in_flight', 'requested')),
	attempts        integer     NOT NULL DEFAULT 0,
	next_attempt_at          timestamptz NOT NULL,
	first_attempt_at        timestamptz,
	last_error      text,
	segment          smallint    NOT NULL,
	size            integer     NOT NULL DEFAULT 0,
	pending_since   timestamptz NOT NULL DEFAULT clock_timestamp(),
	batch           bigint,
	judged          boolean     NOT NULL DEFAULT true
);
ALTER TABLE webhook.pending REPLICA IDENTITY FULL; -- it has no key, and may be in a publication of all tables
COMMENT ON TABLE webhook.pending IS 'deliveries that did not simply succeed: to be tried again, waiting behind one that failed, or deferred until the subscription can take them';
COMMENT ON COLUMN webhook.pending.subscription_id IS 'for whom';
COMMENT ON COLUMN webhook.pending.event_number IS 'what: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.pending.lane IS 'which deliveries of the subscription must go one after the other: a hash of the entity, or as ordering says';
COMMENT ON COLUMN webhook.pending.state IS 'retry: tried, due again at next_attempt_at; blocked: waits for an earlier delivery of its lane; deferred: waits until the subscription catches up; requested: by webhook.redeliver() or webhook.replay(), the worker will defer it; in_flight: taken by the worker, back to retry if it dies';
COMMENT ON COLUMN webhook.pending.attempts IS 'requests already made, counted before they leave';
COMMENT ON COLUMN webhook.pending.next_attempt_at IS 'when it is to be tried again; infinity while blocked';
COMMENT ON COLUMN webhook.pending.first_attempt_at IS 'when it was first tried; null: not yet';
COMMENT ON COLUMN webhook.pending.last_error IS 'what went wrong last';
COMMENT ON COLUMN webhook.pending.segment IS 'the segment of webhook.outbox its event is in';
COMMENT ON COLUMN webhook.pending.size IS 'bytes its event takes in the worker''s memory, by which it takes no more at once than it can hold';
COMMENT ON COLUMN webhook.pending.pending_since IS 'when it became pending';
COMMENT ON COLUMN webhook.pending.batch IS 'the batch it was sent with, and is to be sent with again: the lowest event_number in it, whose row says when; null: by itself';
COMMENT ON COLUMN webhook.pending.judged IS 'false: read while the subscription was not live, and whether its filter, changed_columns and exclude_origins let the event through is looked at when it is taken; it may still turn out not to be for it';
-- partial, so that no foreign key can point here and keep the worker from deleting what was delivered
CREATE UNIQUE INDEX pending_idx ON webhook.pending (subscription_id, event_number) WHERE subscription_id IS NOT NULL;
CREATE INDEX pending_due_idx ON webhook.pending (next_attempt_at) WHERE state = 'retry';
CREATE INDEX pending_deferred_idx ON webhook.pending (subscription_id, event_number) WHERE state = 'deferred';
CREATE INDEX pending_requested_idx ON webhook.pending (subscription_id, event_number) WHERE state = 'requested';
CREATE INDEX pending_lane_idx ON webhook.pending (lane, event_number);
CREATE INDEX pending_batch_idx ON webhook.pending (subscription_id, batch) WHERE batch IS NOT NULL;

CREATE TABLE webhook.dead_letter (
	subscription_id bigint      NOT NULL,
	event_number        bigint      NOT NULL,
	subscription    text        NOT NULL,
	reason          text        NOT NULL,
	attempts        integer     NOT NULL,
	first_attempt_at        timestamptz,
	given_up_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
	xid             xid8        NOT NULL,
	entity_id       text,
	entity_type     text        NOT NULL,
	action_type     text        NOT NULL,
	result          json,
	previous        json,
	tenant          text,
	context         json,
	created_at      timestamptz NOT NULL,
	PRIMARY KEY (subscription_id, event_number)
);
CREATE INDEX dead_letter_event_idx ON webhook.dead_letter (event_number);
COMMENT ON TABLE webhook.dead_letter IS 'deliveries given up, with their whole event, until someone redelivers or purges them';
COMMENT ON COLUMN webhook.dead_letter.subscription_id IS 'for whom it was';
COMMENT ON COLUMN webhook.dead_letter.event_number IS 'what it was: webhook.outbox.event_number';
COMMENT ON COLUMN webhook.dead_letter.subscription IS 'name of the subscription at that time';
COMMENT ON COLUMN webhook.dead_letter.reason IS 'why it was given up: what went wrong last';
COMMENT ON COLUMN webhook.dead_letter.attempts IS 'requests made';
COMMENT ON COLUMN webhook.dead_letter.first_attempt_at IS 'when it was first tried; null: never';
COMMENT ON COLUMN webhook.dead_letter.given_up_at IS 'when it was given up';
COMMENT ON COLUMN webhook.dead_letter.xid IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.entity_id IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.entity_type IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.action_type IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.result IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.previous IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.tenant IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.context IS 'as in webhook.outbox';
COMMENT ON COLUMN webhook.dead_letter.created_at IS 'as in webhook.outbox';

CREATE TABLE webhook.breaker_notice (
	subscription_id bigint      NOT NULL,
	opened_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX breaker_notice_idx ON webhook.breaker_notice (subscription_id) WHERE subscription_id IS NOT NULL; -- partial, as that of pending
ALTER TABLE webhook.breaker_notice REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.breaker_notice IS 'subscriptions of which others were told breaker_opened, and not yet breaker_closed: breakers are in the worker''s memory, and whom it told of what must outlive it';
COMMENT ON COLUMN webhook.breaker_notice.subscription_id IS 'whose breaker it is';
COMMENT ON COLUMN webhook.breaker_notice.opened_at IS 'when it was told';

CREATE TABLE webhook.checkpoint (
	id       bigint      NOT NULL,
	kind     text        NOT NULL CHECK (kind IN ('read', 'settled', 'matching', 'suspect', 'killed')),
	snapshot pg_snapshot NOT NULL,
	next_xid xid8        NOT NULL,
	hi       bigint      NOT NULL,
	within   jsonb,
	recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX checkpoint_idx ON webhook.checkpoint (id); -- not unique, for the same reason
ALTER TABLE webhook.checkpoint REPLICA IDENTITY FULL;
COMMENT ON TABLE webhook.checkpoint IS 'append-only positions of the worker, the newest of each kind counts; see docs/ARCHITECTURE.md, Reading';
COMMENT ON COLUMN webhook.checkpoint.id IS 'number of the checkpoint';
COMMENT ON COLUMN webhook.checkpoint.kind IS 'read: everything up to here may have been sent; settled: everything up to here is delivered, pending or dead. No checkpoints, but what a worker was at that may have ended it: matching: a page that begins here; suspect: the event hi, as it is read or matched with within ->> subscription; killed: the same, and it has';
COMMENT ON COLUMN webhook.checkpoint.snapshot IS 'S: every event visible in it with an id up to hi has been read';
COMMENT ON COLUMN webhook.checkpoint.next_xid IS 'N: the next transaction id, read just after the snapshot was taken';
COMMENT ON COLUMN webhook.checkpoint.hi IS 'the highest event id read';
COMMENT ON COLUMN webhook.checkpoint.within IS 'where a page of stragglers was cut: the snapshot they are read under, its next_xid, and the last id read; null: not in the midst of stragglers';
COMMENT ON COLUMN webhook.checkpoint.recorded_at IS 'when the worker was there';

--
-- Trigger functions: capture, and the tables' own rules
--

CREATE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
COMMENT ON FUNCTION webhook.capture() IS 'AFTER ROW trigger: appends the row change to webhook.outbox with the owner''s rights. Takes one argument, a JSON object that webhook.watch() writes, or none: the table''s name, its primary key, all columns';

CREATE FUNCTION webhook.capture_truncate() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture_truncate';
COMMENT ON FUNCTION webhook.capture_truncate() IS 'AFTER STATEMENT trigger on TRUNCATE: appends one event with action truncate';

CREATE FUNCTION webhook.capture_argument(
	nargs smallint, args bytea, table_name name, OUT entity_type text, OUT id_columns name[], OUT action_types text[], OUT columns name[],
	OUT exclude_columns name[], OUT tenant name, OUT keep_previous boolean, OUT problem text
)
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_capture_argument';
COMMENT ON FUNCTION webhook.capture_argument(smallint, bytea, name) IS 'what the argument of a capture trigger (pg_trigger''s tgnargs and tgargs) means to capture: its values, null where it has none; or, where it cannot be used and makes no events, the problem alone. Never an error';

CREATE FUNCTION webhook.config_changed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_config_changed';
COMMENT ON FUNCTION webhook.config_changed() IS 'makes the worker read its subscriptions anew when this transaction commits';

CREATE FUNCTION webhook.check_url(url text) RETURNS void
	LANGUAGE c STRICT STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_url';
COMMENT ON FUNCTION webhook.check_url(text) IS 'raises an error where an endpoint''s URL may not be used: no URL, neither https nor (where allowed) http, credentials in it, a refused address as its host';

CREATE FUNCTION webhook.check_template(kind text, template text, what text DEFAULT 'the template') RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_template';
COMMENT ON FUNCTION webhook.check_template(text, text, text) IS 'raises an error, with the position and the reason, where a template (kind envelope or header) is not of the language of docs/PROFILES.md. what: its name in the message';

CREATE FUNCTION webhook.check_signing(profile webhook.profile) RETURNS void
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_check_signing';
COMMENT ON FUNCTION webhook.check_signing(webhook.profile) IS 'raises an error, with the reason, where the signature columns of a profile describe no way to sign';

-- Of secrets and credentials in SQL: what a statement is given, a log may show. So the functions that people give one
-- to are C, and have it wrapped, under a key that is gone with the transaction, before any statement sees it; the
-- triggers of their tables are C, unwrap it and seal it. No function returns one in clear but to who made it.
CREATE FUNCTION webhook.secret_owner(subscription_id bigint, id integer) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_secret_owner';
COMMENT ON FUNCTION webhook.secret_owner(bigint, integer) IS 'the name of a row of webhook.secret, which is sealed together with it: copied into another row, a sealed secret does not open';

CREATE FUNCTION webhook.credential_owner(subscription_id bigint, kind text) RETURNS text
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_credential_owner';
COMMENT ON FUNCTION webhook.credential_owner(bigint, text) IS 'the name of a row of webhook.credential, which is sealed together with it';

-- called in assignments only: an expression that plpgsql evaluates by itself is no statement, and not logged
CREATE FUNCTION webhook.wrapped(secret text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_wrapped';
COMMENT ON FUNCTION webhook.wrapped(text) IS 'its argument, or an error where that is no secret or credential that was wrapped in this transaction';

CREATE FUNCTION webhook.generate_secret(profile webhook.profile) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_generate_secret';
COMMENT ON FUNCTION webhook.generate_secret(webhook.profile) IS 'a new signing secret, wrapped: whsec_ and the base64 of 32 random bytes, which is also a good raw one; for ed25519 whsk_ and the base64 of a seed and its public half';

CREATE FUNCTION webhook.check_secret(profile webhook.profile, owner text, kept text) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_secret';
COMMENT ON FUNCTION webhook.check_secret(webhook.profile, text, text) IS 'raises an error, which quotes no part of it, where the secret that a row keeps does not have the form that the profile asks for. Error config_file_error where webhook.key_file does not have its key';

CREATE FUNCTION webhook.seal_again(owner text, kept text) RETURNS text
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_seal_again';
COMMENT ON FUNCTION webhook.seal_again(text, text) IS 'what a row keeps, sealed under the first key of webhook.key_file, where that is set. Error config_file_error where that does not have the key that it is sealed under';

CREATE FUNCTION webhook.signature_matches(profile webhook.profile, secret text, id text, "timestamp" text, signature text, body text,
		earliest bigint, latest bigint) RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_signature_matches';
COMMENT ON FUNCTION webhook.signature_matches(webhook.profile, text, text, text, text, text, bigint, bigint) IS 'what webhook.verify does, with the headers found, and the secret wrapped: is the signature right, and the timestamp from earliest to latest (Unix seconds)? In constant time. False for a null where something is needed; an error for a secret that does not fit';

CREATE FUNCTION webhook.undefined_profile_error(name text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('webhook profile "%s" does not exist', undefined_profile_error.name),
		DETAIL = (SELECT format('Profiles: %s.', string_agg(p.name, ', ' ORDER BY p.name)) FROM webhook.profile p),
		HINT = 'SELECT name, description FROM webhook.profile shows what each sends.';
END
$$;
COMMENT ON FUNCTION webhook.undefined_profile_error(text) IS 'raises the error undefined_object for a profile''s name';

CREATE FUNCTION webhook.require_not_null(relation regclass, new_row jsonb) RETURNS void
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
			DETAIL = 'A null was given for it.',
			HINT = 'Leave the column out to have its default, or give it a value.',
			COLUMN = col::text;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.require_not_null(regclass, jsonb) IS 'raises not_null_violation naming the column only: the server''s own message would quote the whole row, with URL, headers or secret';

CREATE FUNCTION webhook.check_retry(retry_schedule interval[], give_up_after interval) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF cardinality(retry_schedule) NOT BETWEEN 1 AND 32 OR array_ndims(retry_schedule) > 1
		OR array_position(retry_schedule, NULL) IS NOT NULL
		OR EXISTS (SELECT FROM unnest(retry_schedule) w WHERE w NOT BETWEEN interval '100 ms' AND interval '30 days') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'retry_schedule is not usable',
			DETAIL = 'It is a list of 1 to 32 intervals, each from 100 milliseconds to 30 days.',
			HINT = 'For example ''{5s,5min,30min,2h}''; the last one repeats until give_up_after.';
	END IF;
	IF give_up_after NOT BETWEEN interval '0' AND interval '365 days' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'give_up_after is out of range',
			DETAIL = format('%s was given; it is from 0 to 365 days.', give_up_after),
			HINT = 'The default is 3 days.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.check_retry(interval[], interval) IS 'raises an error where a retry schedule, or how long it lasts, is not usable; nulls are';

CREATE FUNCTION webhook.param_error(name text, rule jsonb, given jsonb) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type text := rule ->> 'type';
	other jsonb;
BEGIN
	IF given IS NULL OR given = 'null' THEN
		RETURN CASE WHEN (rule ->> 'required')::boolean THEN format('params.%s is missing.', name) END;
	END IF;
	IF type = 'uuid' AND (jsonb_typeof(given) <> 'string' OR given ->> 0 !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
		OR type <> 'uuid' AND type <> jsonb_typeof(given)
		OR type = 'string' AND given = '""' THEN -- a header made of it would be left out: CloudEvents without a source
		RETURN format('params.%s must be %s.', name, CASE type WHEN 'uuid' THEN 'a string that is a UUID' WHEN 'string' THEN 'a string that is not empty' WHEN 'object' THEN 'an object'
			WHEN 'array' THEN 'an array' ELSE 'a ' || type END);
	END IF;
	IF rule ? 'values' THEN
		SELECT g.value INTO other
			FROM (SELECT o.value FROM jsonb_each(CASE WHEN jsonb_typeof(given) = 'object' THEN given ELSE '{}' END) o
				UNION ALL SELECT given WHERE jsonb_typeof(given) <> 'object') g
			WHERE NOT rule -> 'values' @> jsonb_build_array(g.value) ORDER BY 1 LIMIT 1;
		IF FOUND THEN
			RETURN format('params.%s has %s, which is none of %s.', name, left(other::text, 100),
				(SELECT string_agg(w, ', ' ORDER BY n) FROM jsonb_array_elements_text(rule -> 'values') WITH ORDINALITY v(w, n)));
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.param_error(text, jsonb, jsonb) IS 'what is wrong with one of a subscription''s params by its profile''s rule, as a sentence; null: nothing';

CREATE FUNCTION webhook.check_profile_use(profile webhook.profile, subscription webhook.subscription) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	header text;
	wrong text;
BEGIN
	SELECT h INTO header FROM jsonb_object_keys(subscription.headers) h
		WHERE lower(h) IN (SELECT lower(x) FROM jsonb_object_keys(profile.headers) x
			UNION ALL SELECT lower(x) FROM unnest(ARRAY[profile.signature_header, profile.id_header, profile.timestamp_header]) x)
		ORDER BY h LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('request header "%s" is not usable', header),
			DETAIL = format('Profile "%s" sets this header itself.', profile.name),
			HINT = 'Leave it out of headers.';
	END IF;
	SELECT x.wrong INTO wrong FROM (
		SELECT 1, format('url has %s characters, and this profile allows %s.', length(subscription.url), profile.max_url_length)
			WHERE length(subscription.url) > profile.max_url_length
		UNION ALL SELECT 2, 'batch_size is more than 1, and this profile sends one event per request: its batch_envelope is null.'
			WHERE subscription.batch_size > 1 AND profile.batch_envelope IS NULL
		UNION ALL SELECT 3, webhook.param_error(r.key, r.value, subscription.params -> r.key) FROM jsonb_each(profile.params) r
		ORDER BY 1, 2) x(n, wrong) WHERE x.wrong IS NOT NULL LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" is not as profile "%s" asks for', subscription.name, profile.name),
			DETAIL = wrong,
			HINT = 'SELECT max_url_length, batch_envelope, params FROM webhook.profile shows what a profile asks for; webhook.copy_profile() makes one of your own.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.check_profile_use(webhook.profile, webhook.subscription) IS 'raises an error, which names the field, where a subscription''s url, batch_size, params or headers are not as its profile asks for';

CREATE FUNCTION webhook.check_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word text;
	h record;
	p webhook.profile;
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = NEW.profile;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_profile_error(NEW.profile);
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.retry_schedule := coalesce(NEW.retry_schedule, p.retry_schedule, '{5s,5min,30min,2h,5h,10h}');
		NEW.give_up_after := coalesce(NEW.give_up_after, p.give_up_after, interval '3 days');
	END IF;
	-- first, and by an expression that is no statement: what is refused may hold a password, and is not to be logged
	IF NEW.url IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.url IS DISTINCT FROM OLD.url) THEN
		word := webhook.check_url(NEW.url);
	END IF;
	PERFORM webhook.require_not_null(TG_RELID, to_jsonb(NEW) - 'name' - 'url');
	IF TG_OP = 'INSERT' OR NEW.name IS DISTINCT FROM OLD.name THEN
		IF NEW.name IS NULL OR NEW.name = '' OR length(NEW.name) > 200 THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'a subscription needs a name of 1 to 200 characters',
				DETAIL = format('The name given has %s characters.', coalesce(length(NEW.name), 0)),
				HINT = 'Name it after the service that receives the events.';
		END IF;
		IF EXISTS (SELECT FROM webhook.subscription s WHERE s.name = NEW.name AND s.id <> NEW.id) THEN
			RAISE unique_violation USING
				MESSAGE = format('subscription "%s" already exists', NEW.name),
				DETAIL = 'Names of subscriptions are unique within a database.',
				HINT = 'Choose another name, change the row in webhook.subscription, or call webhook.unsubscribe() first.';
		END IF;
	END IF;
	IF NEW.url IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a subscription needs a URL',
			DETAIL = 'The URL given is null.',
			HINT = 'Give the endpoint as https://host/path.';
	END IF;
	-- scheme, host and port: who gets what is sent with each request
	IF TG_OP = 'UPDATE' AND substring(NEW.url FROM '^[^/]*//[^/?#]*') IS DISTINCT FROM substring(OLD.url FROM '^[^/]*//[^/?#]*') THEN
		PERFORM webhook.guard_credentials(NEW.id, 'url''s origin');
	END IF;
	IF greatest(array_ndims(NEW.entity_types), array_ndims(NEW.action_types), array_ndims(NEW.changed_columns), array_ndims(NEW.exclude_origins)) > 1 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a list of a subscription is an array of arrays',
			DETAIL = 'entity_types, action_types, changed_columns and exclude_origins have one dimension.',
			HINT = 'For example ''{order,user}''.';
	END IF;
	IF cardinality(NEW.entity_types) = 0 OR cardinality(NEW.action_types) = 0 OR array_position(NEW.entity_types, NULL) IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'entity_types and action_types must name something',
			DETAIL = 'An empty list would match no event at all.',
			HINT = 'Leave them null to receive all.';
	END IF;
	FOREACH word IN ARRAY coalesce(NEW.action_types, '{}') LOOP
		IF word IS NULL OR word NOT IN ('new', 'update', 'delete', 'truncate', 'test') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown action type "%s"', word),
				DETAIL = 'Action types a subscription may ask for: new, update, delete, truncate, test.',
				HINT = 'Leave action_types null to receive all.';
		END IF;
	END LOOP;
	IF NEW.ordering NOT IN ('entity', 'none', 'strict') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('unknown ordering "%s"', NEW.ordering),
			DETAIL = 'Orderings: entity, none, strict.',
			HINT = 'entity is the default: deliveries of one entity go one after the other.';
	END IF;
	IF NEW.state NOT IN ('active', 'paused', 'disabled', 'inactive') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('unknown state "%s"', NEW.state),
			DETAIL = 'States: active, paused, disabled, inactive.',
			HINT = 'Use webhook.pause() and webhook.resume().';
	END IF;
	IF NEW.max_in_flight NOT BETWEEN 1 AND 1000 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'max_in_flight is out of range',
			DETAIL = format('%s was given; it is a number of requests from 1 to 1000.', NEW.max_in_flight),
			HINT = 'The default is 50.';
	END IF;
	IF NEW.rate_limit NOT BETWEEN 1 AND 100000 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'rate_limit is out of range',
			DETAIL = format('%s was given; it is a number of requests per second from 1 to 100000.', NEW.rate_limit),
			HINT = 'Leave it null for no limit.';
	END IF;
	IF NEW.batch_size NOT BETWEEN 1 AND 1000 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'batch_size is out of range',
			DETAIL = format('%s was given; it is a number of events from 1 to 1000.', NEW.batch_size),
			HINT = 'The default is 1: one event per request.';
	END IF;
	IF cardinality(NEW.changed_columns) = 0 OR array_position(NEW.changed_columns, NULL) IS NOT NULL
		OR cardinality(NEW.exclude_origins) = 0 OR array_position(NEW.exclude_origins, NULL) IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'changed_columns and exclude_origins must name something',
			DETAIL = 'An empty list, or a null in it, says nothing.',
			HINT = 'Leave them null to receive all.';
	END IF;
	IF NEW.timeout NOT BETWEEN interval '100 ms' AND interval '10 minutes' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'timeout is out of range',
			DETAIL = format('%s was given; it is from 100 milliseconds to 10 minutes.', NEW.timeout),
			HINT = 'The default is 15 seconds.';
	END IF;
	PERFORM webhook.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.changed_columns IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.changed_columns IS DISTINCT FROM OLD.changed_columns
			OR NEW.entity_types IS DISTINCT FROM OLD.entity_types) THEN
		SELECT string_agg(s.source::text, ', ' ORDER BY s.source::text) INTO word FROM webhook.source s
			WHERE NOT s.keep_previous AND 'update' = ANY (s.action_types)
				AND (NEW.entity_types IS NULL OR s.entity_type = ANY (NEW.entity_types));
		IF word IS NOT NULL THEN
			RAISE WARNING USING
				MESSAGE = 'changed_columns cannot hold back updates of every source',
				DETAIL = format('Watched without keep_previous, so that nobody can tell what an update changed: %s.', word),
				HINT = 'Watch them with keep_previous => true; until then all their updates are sent.';
		END IF;
	END IF;
	IF NEW.filter IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.filter::text IS DISTINCT FROM OLD.filter::text) THEN
		-- a predicate is true, false or unknown for whatever it looks at; anything else yields nothing here
		BEGIN
			PERFORM jsonb_path_match('{}', NEW.filter);
		EXCEPTION WHEN OTHERS THEN
			RAISE invalid_parameter_value USING
				MESSAGE = 'filter is not usable',
				DETAIL = format('It must be a predicate, which says yes or no to any event. Tried on an empty one: %s.', SQLERRM),
				HINT = 'For example ''$.result.total > 100'', or ''exists($.previous.status)''.';
		END;
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR jsonb_typeof(NEW.headers) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'headers and params must be JSON objects',
			DETAIL = format('headers is of type %s, params of type %s.', jsonb_typeof(NEW.headers), jsonb_typeof(NEW.params)),
			HINT = 'For example ''{"X-Environment": "production"}''.';
	END IF;
	FOR h IN SELECT key, value, NEW.headers -> key AS json FROM jsonb_each_text(NEW.headers) LOOP
		IF h.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' OR jsonb_typeof(h.json) <> 'string' OR h.value ~ '[\x01-\x08\x0a-\x1f\x7f]' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('request header "%s" is not usable', h.key),
				DETAIL = 'A header''s name is made of letters, digits and hyphens; its value is a string without control characters.',
				HINT = 'See RFC 9110, section 5.';
		END IF;
		IF lower(h.key) ~ '^(webhook-.*|content-length|content-type|host|transfer-encoding|connection|expect)$' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('request header "%s" is not usable', h.key),
				DETAIL = 'The worker sets this header itself.',
				HINT = 'Leave it out of headers.';
		END IF;
	END LOOP;
	IF TG_OP = 'INSERT' OR (NEW.profile, NEW.url, NEW.headers, NEW.params, NEW.batch_size)
		IS DISTINCT FROM (OLD.profile, OLD.url, OLD.headers, OLD.params, OLD.batch_size) THEN
		PERFORM webhook.check_profile_use(p, NEW);
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook.check_subscription() IS 'the rules of webhook.subscription, with the same errors for the functions and for direct writes. Runs as the owner, so that a name is taken also where row security hides by whom';

-- apart from the others, because it must not be SECURITY DEFINER: it asks who the current user is
CREATE FUNCTION webhook.check_owner() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' AND NEW.owner IS NOT DISTINCT FROM OLD.owner THEN
		RETURN NEW;
	END IF;
	-- a superuser may name any role, also (restoring a dump) one that is not there
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper)
		AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = NEW.owner AND pg_has_role(r.oid,
			-- what ALTER TABLE ... OWNER TO asks for: since 16 a membership can be without it
			CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to give it a subscription', NEW.owner),
			DETAIL = 'What a subscription does, it does for its owner.',
			HINT = 'Leave owner out to own it yourself.';
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook.check_owner() IS 'who may be made the owner of a subscription: a role that the current user could SET ROLE to';

CREATE FUNCTION webhook.check_transform() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- who could SET ROLE to the owner can have his rights anyway
	how text := CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END;
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
		part := NULL; -- no name at all, and so of no function
	END;
	SELECT p.proowner, r.rolname, p.prorettype = 'json'::regtype AND NOT p.proretset AND p.prokind = 'f' AS fits INTO f
		FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
		WHERE cardinality(part) = 2 AND n.nspname = part[1] AND p.proname = part[2] AND p.pronargs = 1
			AND p.proargtypes[0] = 'webhook.outbox'::regtype;
	-- one that a dump brings may have been dropped before; that must not keep all others from being restored
	IF f IS NULL AND TG_OP = 'INSERT' AND EXISTS (SELECT FROM pg_roles r WHERE (r.rolname = current_user AND r.rolsuper)
			OR (r.rolname = NEW.transform_owner AND pg_has_role(r.oid, how))) AND NEW.transform_owner IS NOT NULL THEN
		RETURN NEW;
	END IF;
	IF f IS NULL OR NOT f.fits THEN
		RAISE undefined_function USING
			MESSAGE = format('transform "%s" is not usable', NEW.transform),
			DETAIL = 'There must be a function of that name that takes one argument of type webhook.outbox and returns json.',
			HINT = 'Name it with its schema and without arguments, such as public.for_crm.';
	END IF;
	IF NOT pg_has_role(f.proowner, how) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('must be a member of role "%s" to use its function as a transform', f.rolname),
			DETAIL = 'A transform runs with the rights of the role that owns it.',
			HINT = 'Make a function of your own, which may call this one.';
	END IF;
	NEW.transform := format('%I.%I', part[1], part[2]);
	-- restored with another owner it is not called: who wrote it must not come to rights that he did not have
	IF TG_OP = 'UPDATE' OR NEW.transform_owner IS NULL THEN
		NEW.transform_owner := f.rolname;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook.check_transform() IS 'which function may be a transform: one that fits, owned by a role that the current user could SET ROLE to';

CREATE FUNCTION webhook.after_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	dropped bigint;
	dead bigint;
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO webhook.secret (subscription_id, secret, generated)
			SELECT NEW.id, webhook.generate_secret(p), true FROM webhook.profile p WHERE p.name = NEW.profile;
	ELSIF TG_OP = 'UPDATE' THEN
		PERFORM webhook.check_secret(p, webhook.secret_owner(k.subscription_id, k.id), k.secret)
			FROM webhook.profile p, webhook.secret k
			WHERE p.name = NEW.profile AND k.subscription_id = NEW.id;
	ELSE
		DELETE FROM webhook.pending p WHERE p.subscription_id = OLD.id;
		GET DIAGNOSTICS dropped = ROW_COUNT;
		DELETE FROM webhook.breaker_notice t WHERE t.subscription_id = OLD.id;
		dead := (SELECT count(*) FROM webhook.dead_letter d WHERE d.subscription_id = OLD.id);
		IF dropped > 0 OR dead > 0 THEN
			RAISE NOTICE USING
				MESSAGE = format('subscription "%s" is removed with %s pending deliveries', OLD.name, dropped),
				DETAIL = format('Those will not be sent. %s dead letters stay.', dead),
				HINT = 'Roll back to keep them. webhook.purge_dead_letters() removes dead letters.';
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.after_subscription() IS 'gives a new subscription a secret, sees that one given another profile has secrets that fit it, and takes a removed one''s pending deliveries away';

CREATE FUNCTION webhook.profile_error(name text, detail text, hint text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE invalid_parameter_value USING
		MESSAGE = format('profile "%s" is not usable', profile_error.name),
		DETAIL = profile_error.detail,
		HINT = profile_error.hint;
END
$$;
COMMENT ON FUNCTION webhook.profile_error(text, text, text) IS 'raises the error invalid_parameter_value for a profile';

CREATE FUNCTION webhook.check_profile_headers(profile webhook.profile) RETURNS void
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own text[] := array_remove(ARRAY[profile.signature_header, profile.id_header, profile.timestamp_header], NULL);
	names text[];
	h record;
BEGIN
	IF profile.content_type !~ '^[!-~][ -~]*$' OR profile.batch_content_type !~ '^[!-~][ -~]*$' THEN
		PERFORM webhook.profile_error(profile.name, 'content_type and batch_content_type are made of visible ASCII characters and blanks.',
			'For example application/json.');
	END IF;
	IF jsonb_typeof(profile.headers) <> 'object' THEN
		PERFORM webhook.profile_error(profile.name, 'headers must be a JSON object.', 'For example ''{"X-Event": "{type}"}''.');
	END IF;
	SELECT own || array_agg(k ORDER BY k) INTO names FROM jsonb_object_keys(profile.headers) k;
	FOR h IN SELECT n.name, count(*) OVER (PARTITION BY lower(n.name)) AS times, n.number > cardinality(own) AS further,
			profile.headers -> n.name AS json, profile.headers ->> n.name AS text
		FROM unnest(names) WITH ORDINALITY n(name, number) ORDER BY n.number LOOP
		IF h.name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' THEN
			PERFORM webhook.profile_error(profile.name, format('"%s" is no name of a header.', h.name),
				'It is made of letters, digits and hyphens; see RFC 9110, section 5.');
		END IF;
		IF lower(h.name) IN ('content-length', 'content-type', 'host', 'transfer-encoding', 'connection', 'expect') THEN
			PERFORM webhook.profile_error(profile.name, format('The header "%s" is set by the worker itself.', h.name),
				'The type of the body has the column content_type.');
		END IF;
		IF h.times > 1 THEN
			PERFORM webhook.profile_error(profile.name, format('The header "%s" is there twice, in headers or in a column of its own.', h.name),
				'Names of headers are the same whatever their case.');
		END IF;
		IF h.further AND (jsonb_typeof(h.json) <> 'string' OR length(h.text) > 4000) THEN
			PERFORM webhook.profile_error(profile.name, format('The value of the header "%s" is no string, or longer than 4000 characters.', h.name),
				'For example ''{"X-Event": "{type}"}''.');
		END IF;
		IF h.further THEN
			PERFORM webhook.check_template('header', h.text, format('header "%s" of profile "%s"', h.name, profile.name));
		END IF;
	END LOOP;
	IF cardinality(names) > 32 THEN
		PERFORM webhook.profile_error(profile.name, format('It has %s headers; 32 is the most.', cardinality(names)), 'Send what belongs to the event in its body.');
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.check_profile_headers(webhook.profile) IS 'raises an error where a profile''s headers or content types cannot be sent';

CREATE FUNCTION webhook.check_profile() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	refused text;
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		refused := 'profiles cannot be truncated';
	ELSIF TG_OP <> 'INSERT' AND OLD.builtin THEN
		refused := format('profile "%s" cannot be changed or removed', OLD.name);
	ELSIF TG_OP <> 'DELETE' AND NEW.builtin THEN
		refused := format('profile "%s" cannot be a built-in one', NEW.name);
	END IF;
	IF refused IS NOT NULL THEN
		RAISE insufficient_privilege USING
			MESSAGE = refused,
			DETAIL = 'Built-in profiles come and change with its versions only.',
			HINT = 'Make a copy with webhook.copy_profile() and change that.';
	END IF;
	IF TG_OP = 'DELETE' THEN
		RETURN OLD;
	END IF;
	PERFORM webhook.require_not_null(TG_RELID, to_jsonb(NEW)); -- the server's own message would quote headers
	IF NEW.name = '' OR length(NEW.name) > 200 THEN
		PERFORM webhook.profile_error(NEW.name, format('Its name has %s characters; it is 1 to 200.', length(NEW.name)), 'Name it after the receiver.');
	END IF;
	PERFORM webhook.check_template('envelope', NEW.envelope::text, format('the envelope of profile "%s"', NEW.name));
	PERFORM webhook.check_template('envelope', NEW.batch_envelope::text, format('the batch_envelope of profile "%s"', NEW.name));
	IF NEW.event_prefix !~ '^[A-Za-z0-9_-]{0,32}$' OR NEW.transaction_prefix !~ '^[A-Za-z0-9_-]{0,32}$' THEN
		PERFORM webhook.profile_error(NEW.name, 'event_prefix and transaction_prefix are at most 32 letters, digits, hyphens and underscores.', 'For example ''evt_''.');
	END IF;
	PERFORM webhook.check_signing(NEW);
	IF NEW.signature_algorithm <> 'none' AND (NEW.signature_header IS NULL OR NEW.signed_content LIKE '%{id}%' AND NEW.id_header IS NULL
		OR NEW.signed_content LIKE '%{timestamp}%' AND (NEW.timestamp_header IS NOT NULL) = (NEW.signature_format LIKE '%{timestamp}%')) THEN
		PERFORM webhook.profile_error(NEW.name, 'What is signed must be sent: there is no signature_header, or the id is signed and there is no id_header, or the timestamp is signed and not in exactly one of timestamp_header and signature_format.',
			'SELECT * FROM webhook.profile shows how others are described.');
	END IF;
	PERFORM webhook.check_profile_headers(NEW);
	IF jsonb_typeof(NEW.failure_match) <> 'object' OR NEW.failure_match = '{}'
		OR EXISTS (SELECT FROM jsonb_each(CASE WHEN jsonb_typeof(NEW.failure_match) = 'object' THEN NEW.failure_match END) f WHERE jsonb_typeof(f.value) IN ('object', 'array'))
		OR cardinality(NEW.failure_fields) NOT BETWEEN 1 AND 8
		OR EXISTS (SELECT FROM unnest(NEW.failure_fields) w WHERE (w ~ '^[A-Za-z0-9_-]+$') IS NOT TRUE) THEN
		PERFORM webhook.profile_error(NEW.name, 'failure_match is an object of strings, numbers, booleans and nulls; failure_fields is a list of 1 to 8 names, of letters, digits, hyphens and underscores.',
			'For example ''{"status": "error"}'' and ''{code,message}''.');
	END IF;
	PERFORM webhook.check_retry(NEW.retry_schedule, NEW.give_up_after);
	IF NEW.max_url_length NOT BETWEEN 1 AND 2048 THEN
		PERFORM webhook.profile_error(NEW.name, format('max_url_length is %s; it is a number of characters from 1 to 2048.', NEW.max_url_length), 'Leave it null for 2048.');
	END IF;
	IF jsonb_typeof(NEW.params) <> 'object' OR EXISTS (
		SELECT FROM jsonb_each(CASE WHEN jsonb_typeof(NEW.params) = 'object' THEN NEW.params END) r
			WHERE jsonb_typeof(r.value) <> 'object' OR r.value - '{type,required,values}'::text[] <> '{}'
				OR r.value ->> 'type' NOT IN ('string', 'number', 'boolean', 'object', 'array', 'uuid')
				OR jsonb_typeof(r.value -> 'required') <> 'boolean' OR jsonb_typeof(r.value -> 'values') <> 'array') THEN
		PERFORM webhook.profile_error(NEW.name, 'params is an object of rules, each an object with type (string, number, boolean, object, array or uuid), required (true or false) and values (an array), or some of them.',
			'For example ''{"project_id": {"type": "uuid", "required": true}}''.');
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook.check_profile() IS 'the rules of webhook.profile that its constraints cannot say, and the protection of the built-in ones';

CREATE FUNCTION webhook.after_profile() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM webhook.check_profile_use(NEW, s) FROM webhook.subscription s WHERE s.profile = NEW.name;
	PERFORM webhook.check_secret(NEW, webhook.secret_owner(k.subscription_id, k.id), k.secret)
		FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id
		WHERE s.profile = NEW.name;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.after_profile() IS 'sees that the subscriptions of a profile that was changed, and their secrets, are still as it asks for';

CREATE FUNCTION webhook.profile_of(subscription_id bigint) RETURNS webhook.profile
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p FROM webhook.subscription s JOIN webhook.profile p ON p.name = s.profile WHERE s.id = profile_of.subscription_id
$$;
COMMENT ON FUNCTION webhook.profile_of(bigint) IS 'a subscription''s profile. Part of webhook.before_secret()';

-- that a row which is inserted takes the place of the generated one is for dumps that are restored: left beside it,
-- that one would sign with a key which no receiver has
CREATE FUNCTION webhook.room_for_secret(subscription_id bigint, id integer, expires_at timestamptz) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF room_for_secret.id IS NULL THEN
		DELETE FROM webhook.secret s WHERE s.subscription_id = room_for_secret.subscription_id AND s.generated;
	END IF;
	IF (room_for_secret.expires_at > clock_timestamp()) IS NOT FALSE
		AND 4 <= (SELECT count(*) FROM webhook.secret s WHERE s.subscription_id = room_for_secret.subscription_id
			AND (s.expires_at > clock_timestamp()) IS NOT FALSE AND s.id IS DISTINCT FROM room_for_secret.id) THEN
		RAISE program_limit_exceeded USING
			MESSAGE = 'a subscription has at most four live secrets',
			DETAIL = 'Each request carries a signature by each of them, and four have not expired.',
			HINT = 'Wait until one expires, or rotate with an overlap of 0, which ends the old ones at once.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.room_for_secret(bigint, integer, timestamptz) IS 'takes the generated secret away where another is inserted (id is null), and raises an error where four others are live. Part of webhook.before_secret()';

CREATE FUNCTION webhook.before_secret() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_before_secret';
COMMENT ON FUNCTION webhook.before_secret() IS 'checks a secret and how many there are, and seals it';

CREATE FUNCTION webhook.check_credential_pair(subscription_id bigint, certificate text, key text) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_check_credential_pair';
COMMENT ON FUNCTION webhook.check_credential_pair(bigint, text, text) IS 'raises an error where a private key is not the certificate''s, both as their rows keep them';

CREATE FUNCTION webhook.calling_role() RETURNS name
	LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'webhook_calling_role';
COMMENT ON FUNCTION webhook.calling_role() IS 'who asks, also where the functions between are SECURITY DEFINER: the role that was SET, else the session''s user. Null within a security-restricted operation: there it is somebody''s index, policy or cast that runs, in the session of whoever maintains or reads a table, and that is not who asks';

CREATE FUNCTION webhook.guard_credentials(subscription_id bigint, change text) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	who CONSTANT name := webhook.calling_role();
BEGIN
	IF EXISTS (SELECT FROM webhook.credential c WHERE c.subscription_id = guard_credentials.subscription_id
			AND (c.kind IN ('basic', 'bearer', 'oauth2', 'client_key') OR c.kind LIKE 'header:%'))
		AND NOT EXISTS (SELECT FROM pg_extension x WHERE x.extname = 'webhook' AND pg_has_role(who, x.extowner, 'USAGE')) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('only the extension''s owner may change the %s of a subscription that has credentials', change),
			DETAIL = 'They would be sent where they were not given for.',
			HINT = 'Remove basic, bearer, header:Name, client_key and oauth2 first, with webhook.set_credential(..., NULL), and give them again afterwards.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.guard_credentials(bigint, text) IS 'raises an error where a change would show credentials to whoever makes it: another origin of url, another ca or proxy, or none';

CREATE FUNCTION webhook.before_credential() RETURNS trigger
	LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'webhook_before_credential';
COMMENT ON FUNCTION webhook.before_credential() IS 'checks a credential by itself, and seals it';

-- apart from before_credential: this is about what was there
CREATE FUNCTION webhook.guard_removal() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN -- it becomes another kind, or another subscription's
		PERFORM webhook.guard_credentials(OLD.subscription_id, OLD.kind);
		RETURN NEW;
	END IF;
	-- with the subscription itself all goes, and nothing is sent any more
	PERFORM webhook.guard_credentials(OLD.subscription_id, OLD.kind) FROM webhook.subscription s
		WHERE s.id = OLD.subscription_id AND OLD.kind IN ('ca', 'proxy');
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION webhook.guard_removal() IS 'keeps ca and proxy, and whose a credential is, as they are while a subscription has credentials that would then be sent to whoever changes them';

CREATE FUNCTION webhook.mark_subscription() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- the new version of the row is the mark: an UPDATE of url under a snapshot from before fails (could not serialize access),
	-- and one that is under way is waited for
	UPDATE webhook.subscription s SET name = s.name WHERE s.id IN (OLD.subscription_id, NEW.subscription_id);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.mark_subscription() IS 'leaves a mark on the subscription that gets or loses a credential, so that nobody changes where it is sent without having seen it, whatever the isolation level';

CREATE FUNCTION webhook.check_credentials(subscription webhook.subscription) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	kinds CONSTANT text[] := ARRAY(SELECT c.kind FROM webhook.credential c WHERE c.subscription_id = subscription.id ORDER BY c.kind);
	header text;
	n bigint;
BEGIN
	IF kinds = '{}' THEN
		RETURN;
	END IF;
	IF ('client_certificate' = ANY (kinds)) <> ('client_key' = ANY (kinds)) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" needs both client_certificate and client_key', subscription.name),
			DETAIL = 'One of them alone proves nothing.',
			HINT = 'Set, or remove, both in one transaction.';
	END IF;
	SELECT x.name, count(*) INTO header, n FROM (
			SELECT lower(substr(k, 8)) FROM unnest(kinds) k WHERE k LIKE 'header:%'
			UNION ALL SELECT 'authorization' FROM unnest(kinds) k WHERE k IN ('basic', 'bearer', 'oauth2')
			UNION ALL SELECT lower(h) FROM jsonb_object_keys(subscription.headers) h
			UNION ALL SELECT lower(h) FROM webhook.profile p, jsonb_object_keys(p.headers) h WHERE p.name = subscription.profile
			UNION ALL SELECT lower(h) FROM webhook.profile p, unnest(ARRAY[p.signature_header, p.id_header, p.timestamp_header]) h
				WHERE p.name = subscription.profile AND h IS NOT NULL
		) x(name) GROUP BY x.name HAVING count(*) > 1 ORDER BY x.name LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('subscription "%s" would send the request header "%s" twice', subscription.name, header),
			DETAIL = 'basic, bearer and oauth2 are each sent as Authorization; a header may also be a credential header:Name, or one of the subscription''s headers, or its profile''s.',
			HINT = 'Remove one: webhook.set_credential() with a value of null does that.';
	END IF;
	PERFORM webhook.check_credential_pair(c.subscription_id, c.value, k.value)
		FROM webhook.credential c JOIN webhook.credential k ON k.subscription_id = c.subscription_id
		WHERE c.subscription_id = subscription.id AND c.kind = 'client_certificate' AND k.kind = 'client_key';
END
$$;
COMMENT ON FUNCTION webhook.check_credentials(webhook.subscription) IS 'raises an error where a subscription''s credentials do not go together, or send a header that is sent already';

CREATE FUNCTION webhook.after_credential() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_TABLE_NAME = 'profile' THEN
		PERFORM webhook.check_credentials(s) FROM webhook.subscription s WHERE s.profile = NEW.name;
	ELSIF TG_TABLE_NAME = 'subscription' THEN
		PERFORM webhook.check_credentials(s) FROM webhook.subscription s WHERE s.id = NEW.id;
	ELSE
		-- one transaction after the other: the statement after this one sees what was committed before it
		PERFORM FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.subscription_id ELSE NEW.subscription_id END FOR NO KEY UPDATE;
		PERFORM webhook.check_credentials(s) FROM webhook.subscription s
			WHERE s.id = CASE WHEN TG_OP = 'DELETE' THEN OLD.subscription_id ELSE NEW.subscription_id END;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.after_credential() IS 'sees that what is sent to an endpoint still goes together; of credentials when the transaction commits, so that they may be changed one after the other';

-- by its name before all others, which may take many times the memory of what they look at
CREATE FUNCTION webhook.check_size() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_check_size';
COMMENT ON FUNCTION webhook.check_size() IS 'refuses a subscription or a profile with a column that is larger than it may be: the worker holds all of them in memory';
CREATE TRIGGER bounds BEFORE INSERT OR UPDATE ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.check_size();
CREATE TRIGGER bounds BEFORE INSERT OR UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook.check_size();
CREATE TRIGGER check_owner BEFORE INSERT OR UPDATE OF owner ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.check_owner();
CREATE TRIGGER check_subscription BEFORE INSERT OR UPDATE ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.check_subscription();
CREATE TRIGGER check_transform BEFORE INSERT OR UPDATE OF transform, transform_owner ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.check_transform();
CREATE TRIGGER after_subscription AFTER INSERT OR UPDATE OF profile OR DELETE ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.after_subscription();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.subscription
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.config_changed();
CREATE TRIGGER check_profile BEFORE INSERT OR UPDATE OR DELETE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook.check_profile();
CREATE TRIGGER protect_profiles BEFORE TRUNCATE ON webhook.profile
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.check_profile();
CREATE TRIGGER after_profile AFTER UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook.after_profile();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE ON webhook.profile
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.config_changed();
CREATE TRIGGER before_secret BEFORE INSERT OR UPDATE ON webhook.secret
	FOR EACH ROW EXECUTE FUNCTION webhook.before_secret();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.secret
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.config_changed();
CREATE TRIGGER before_credential BEFORE INSERT OR UPDATE ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook.before_credential();
CREATE TRIGGER guard_removal BEFORE DELETE OR UPDATE OF subscription_id, kind ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook.guard_removal();
CREATE TRIGGER mark_subscription AFTER INSERT OR DELETE OR UPDATE OF subscription_id, kind ON webhook.credential
	FOR EACH ROW EXECUTE FUNCTION webhook.mark_subscription();
CREATE CONSTRAINT TRIGGER after_credential AFTER INSERT OR UPDATE OR DELETE ON webhook.credential
	DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION webhook.after_credential();
CREATE TRIGGER check_credentials AFTER UPDATE OF headers, profile ON webhook.subscription
	FOR EACH ROW EXECUTE FUNCTION webhook.after_credential();
CREATE TRIGGER check_credentials AFTER UPDATE ON webhook.profile
	FOR EACH ROW EXECUTE FUNCTION webhook.after_credential();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.credential
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON webhook.identity
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.config_changed();

--
-- Functions, in the order of a user's day
--

CREATE FUNCTION webhook.warn_undelivered() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_warn_undelivered';
COMMENT ON FUNCTION webhook.warn_undelivered() IS 'raises a WARNING, once in a session, where webhook was neither preloaded nor started: events are kept and not delivered. CREATE EXTENSION, webhook.watch() and webhook.subscribe() call it';

CREATE FUNCTION webhook.lock_source(source regclass) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_source';
COMMENT ON FUNCTION webhook.lock_source(regclass) IS 'locks a table as CREATE TRIGGER does, for who may make triggers on it: its triggers stay as they are until this transaction ends. Part of webhook.watch()';

CREATE FUNCTION webhook.watched(
	source regclass, locked boolean,
	OUT args jsonb, OUT events text[], OUT truncates boolean, OUT same_args boolean, OUT own_terms boolean
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	t record;
	parent regclass;
	argument text;
	first_argument text;
	other text;
BEGIN
	events := '{}';
	truncates := false;
	same_args := true;
	own_terms := false;
	FOR t IN SELECT g.* FROM pg_trigger g WHERE g.tgrelid = watched.source AND g.tgname IN ('webhook_capture', 'webhook_truncate')
		ORDER BY g.tgname LOOP
		IF t.tgfoid NOT IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) THEN
			RAISE duplicate_object USING
				MESSAGE = format('"%s" has a trigger "%s" that is not of this extension', watched.source, t.tgname),
				DETAIL = 'webhook.watch() makes triggers of that name.',
				HINT = 'Rename that trigger.';
		END IF;
		IF t.tgparentid <> 0 THEN
			SELECT g.tgrelid INTO parent FROM pg_trigger g WHERE g.oid = t.tgparentid;
			RAISE wrong_object_type USING
				MESSAGE = format('"%s" is watched as a partition of "%s"', watched.source, parent),
				DETAIL = 'A partition cannot be watched in another way than its parent.',
				HINT = format('Call webhook.watch() for "%s".', parent);
		END IF;
		argument := CASE WHEN t.tgnargs > 0
			THEN convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1), getdatabaseencoding()) ELSE '{}' END;
		-- under the snapshot of an older transaction it may be another one by now
		IF locked AND strpos(coalesce(pg_get_triggerdef(t.oid), ''), CASE WHEN t.tgnargs > 0
				THEN format('(''%s'')', replace(argument, '''', '''''')) ELSE '()' END) = 0 THEN
			RAISE serialization_failure USING
				MESSAGE = format('"%s" has been watched in another way meanwhile', watched.source),
				DETAIL = 'This transaction does not see how, and would undo it.',
				HINT = 'Try again in a new transaction.';
		END IF;
		BEGIN
			PERFORM jsonb_array_elements_text(argument::jsonb -> k.key) FROM (VALUES ('id_columns'), ('action_types'), ('columns'), ('exclude_columns')) k(key)
				WHERE argument::jsonb ? k.key;
			IF jsonb_typeof(argument::jsonb) <> 'object' THEN
				RAISE invalid_parameter_value;
			END IF;
		EXCEPTION WHEN data_exception THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('the argument of trigger "%s" of "%s" cannot be read', t.tgname, watched.source),
				DETAIL = 'It is not the JSON object that webhook.watch() writes, so what it leaves out is not known.',
				HINT = 'Call webhook.unwatch() first, and watch the table anew.';
		END;
		IF args IS NULL THEN
			args := argument::jsonb;
			first_argument := argument;
		END IF;
		same_args := argument::jsonb = first_argument::jsonb;
		own_terms := own_terms OR t.tgqual IS NOT NULL OR t.tgattr::text <> '' OR t.tgdeferrable OR t.tgconstraint <> 0;
		IF t.tgname = 'webhook_truncate' THEN
			truncates := true;
		ELSE
			events := array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
				CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END], NULL);
		END IF;
	END LOOP;

	-- a table that is watched by a trigger of another name is not to be watched once more, with other columns
	IF args IS NULL THEN
		SELECT string_agg(format('"%s" of "%s"', g.tgname, g.tgrelid::regclass), ', ' ORDER BY g.tgrelid::regclass::text, g.tgname) INTO other
			FROM pg_trigger g
			WHERE g.tgrelid IN (SELECT watched.source UNION SELECT p.relid FROM pg_partition_tree(watched.source) p) AND g.tgparentid = 0
				AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc);
	END IF;
	IF other IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('"%s" is watched already, by another trigger: %s', watched.source, other),
			DETAIL = 'To watch it once more would send its changes twice, perhaps with columns that are left out now.',
			HINT = 'Change or drop that trigger, or call webhook.unwatch() for its table first.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.watched(regclass, boolean) IS 'how webhook.watch() has a table watched now, by the triggers that it made: their argument (null: not at all), what they fire for, whether they agree, and whether they have a condition or the like. An error where others watch it. Part of webhook.watch()';

-- What is not named stays as it is: a second call must not send what the first one left out. So it is decided with the
-- table locked, by what its triggers say then; and where nothing would change, nothing is locked at all.
CREATE FUNCTION webhook.watch(
	source      regclass,
	entity_type text    DEFAULT NULL,
	id_columns  name[]  DEFAULT NULL,
	action_types     text[]  DEFAULT NULL,
	columns     name[]  DEFAULT NULL,
	exclude_columns     name[]  DEFAULT NULL,
	tenant      name    DEFAULT NULL,
	keep_previous boolean DEFAULT NULL
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	rel     record;
	word    text;
	col     name;
	has     record; -- as it is watched now
	keys    name[];
	wanted  jsonb;
	row_actions text[];
	events  text[];
	truncates boolean;
	same    boolean;
	cols    text;
	firing  record;
	again   text[]; -- statements that have triggers fire as they did
BEGIN
	SELECT c.oid, c.relname, c.relkind, c.relpersistence, n.nspname INTO rel
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = watch.source;
	IF NOT FOUND THEN
		RAISE undefined_table USING
			MESSAGE = 'the table to watch does not exist',
			DETAIL = format('No table has the oid %s.', coalesce(watch.source::oid::text, 'null')),
			HINT = 'Name the table as ''schema.table''.';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'Only ordinary and partitioned tables can be watched; this is neither.',
			HINT = 'Watch the tables that the view or foreign table gets its rows from.';
	END IF;
	IF rel.relpersistence = 't' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'It is a temporary table; its rows are gone with the session.',
			HINT = 'Watch a table of the application.';
	END IF;
	IF rel.nspname = 'webhook' OR rel.nspname LIKE 'pg\_%' OR rel.nspname = 'information_schema' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'Tables of the system and of this extension make no events.',
			HINT = 'Watch a table of the application.';
	END IF;

	IF NOT has_table_privilege(rel.oid, 'TRIGGER') THEN
		PERFORM webhook.lock_source(rel.oid); -- refuses
	END IF;

	-- what is watched
	IF cardinality(watch.action_types) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'no action types to watch',
			DETAIL = 'action_types is an empty list.',
			HINT = 'Action types: new, update, delete, truncate.';
	END IF;
	FOREACH word IN ARRAY coalesce(watch.action_types, '{}') LOOP
		IF word IS NULL OR word NOT IN ('new', 'update', 'delete', 'truncate') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown action type "%s"', word),
				DETAIL = 'Action types that can be watched: new, update, delete, truncate.',
				HINT = 'The default is ''{new,update,delete}''.';
		END IF;
	END LOOP;

	IF cardinality(watch.id_columns) = 0 OR cardinality(watch.columns) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('no columns in %s', CASE WHEN cardinality(watch.id_columns) = 0 THEN 'id_columns' ELSE 'columns' END),
			DETAIL = 'The list is empty.',
			HINT = CASE WHEN cardinality(watch.id_columns) = 0 THEN 'Leave it out to use the primary key.'
				ELSE 'To send all columns, say exclude_columns => ''{}''.' END;
	END IF;

	-- columns: each must exist
	FOREACH col IN ARRAY coalesce(watch.id_columns, '{}') || coalesce(watch.columns, '{}') || coalesce(watch.exclude_columns, '{}')
		|| CASE WHEN coalesce(watch.tenant, '') = '' THEN '{}' ELSE ARRAY[watch.tenant] END LOOP
		IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = rel.oid AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped) THEN
			RAISE undefined_column USING
				MESSAGE = format('column "%s" of "%s" does not exist', col, watch.source),
				DETAIL = (SELECT format('Its columns: %s.', string_agg(a.attname, ', ' ORDER BY a.attnum))
					FROM pg_attribute a WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped),
				HINT = 'Names are case-sensitive here: give them as pg_attribute shows them.';
		END IF;
	END LOOP;

	IF watch.columns IS NOT NULL AND watch.exclude_columns IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'columns and exclude_columns cannot be used together',
			DETAIL = 'columns lists what is sent, exclude_columns what is not.',
			HINT = 'Give one of them.';
	END IF;
	IF watch.entity_type = '' OR length(watch.entity_type) > 200 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'an entity type has 1 to 200 characters',
			DETAIL = format('The entity type given has %s.', length(watch.entity_type)),
			HINT = 'Leave it out to use the table''s name.';
	END IF;

	FOR attempt IN 1..2 LOOP
		SELECT * INTO has FROM webhook.watched(watch.source, attempt = 2);
		-- the key
		keys := watch.id_columns;
		IF keys IS NULL AND NOT coalesce(has.args ? 'id_columns', false) THEN
			SELECT array_agg(a.attname ORDER BY k.n) INTO keys
				FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_attribute a
				WHERE i.indrelid = rel.oid AND i.indisprimary AND a.attrelid = rel.oid AND a.attnum = k.attnum
					AND k.n <= i.indnkeyatts;
			IF coalesce(cardinality(keys), 0) = 0 THEN
				RAISE invalid_table_definition USING
					MESSAGE = format('"%s" has no primary key', watch.source),
					DETAIL = 'Without a key nobody could tell which row an event is about.',
					HINT = 'Add a primary key, or name the columns that identify a row in id_columns.';
			END IF;
			keys := CASE WHEN has.args IS NULL THEN keys END; -- a trigger that names none goes by the primary key
		END IF;

		row_actions := array_remove(coalesce(watch.action_types, CASE WHEN has.args IS NULL THEN '{new,update,delete}'::text[] END), 'truncate');
		-- columns and exclude_columns are one decision; what is given empty lets go of what there was
		wanted := (coalesce(has.args, '{}')
			- CASE WHEN watch.columns IS NOT NULL OR watch.exclude_columns IS NOT NULL THEN '{columns,exclude_columns}' ELSE '{}' END::text[]
			- CASE WHEN watch.tenant = '' THEN '{tenant}' ELSE '{}' END::text[]
			- CASE WHEN NOT watch.keep_previous THEN '{keep_previous}' ELSE '{}' END::text[])
			|| jsonb_strip_nulls(jsonb_build_object(
				'entity_type', coalesce(watch.entity_type, CASE WHEN has.args IS NULL THEN rel.relname::text END),
				'id_columns', to_jsonb(keys),
				'action_types', to_jsonb(row_actions),
				'columns', to_jsonb(watch.columns),
				'exclude_columns', to_jsonb(nullif(watch.exclude_columns, '{}')),
				'tenant', nullif(watch.tenant, ''),
				'keep_previous', CASE WHEN watch.keep_previous THEN true END));
		-- a changed key makes a delete and a new, so updates are looked at for either
		events := CASE WHEN row_actions IS NULL THEN has.events ELSE array_remove(ARRAY[
			CASE WHEN row_actions && '{new}' THEN 'INSERT' END,
			CASE WHEN row_actions && '{new,update,delete}' THEN 'UPDATE' END,
			CASE WHEN row_actions && '{delete}' THEN 'DELETE' END], NULL) END;
		truncates := coalesce('truncate' = ANY (watch.action_types), has.truncates);
		same := coalesce(has.args = wanted AND has.events = events AND has.truncates = truncates AND has.same_args, false);
		EXIT WHEN same;
		PERFORM webhook.lock_source(watch.source);
	END LOOP;
	-- what capture would refuse is refused here
	SELECT a.problem INTO word FROM webhook.capture_argument(1::smallint, convert_to(wanted::text, getdatabaseencoding()), rel.relname) a;
	IF word IS NOT NULL THEN
		RAISE reserved_name USING
			MESSAGE = format('"%s" cannot be watched like this', watch.source),
			DETAIL = format('The reason: %s.', word),
			HINT = 'Name what a row of the table is in entity_type.';
	END IF;

	-- what was kept may have been overtaken by the table
	SELECT string_agg(format('"%s" of %s', m.col, m.key), ', ' ORDER BY m.key, m.col) INTO cols
		FROM (SELECT k.key, jsonb_array_elements_text(wanted -> k.key) AS col
				FROM (VALUES ('id_columns'), ('columns'), ('exclude_columns')) k(key) WHERE wanted ? k.key
			UNION ALL SELECT 'tenant', wanted ->> 'tenant' WHERE wanted ? 'tenant') m
		WHERE NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = rel.oid AND a.attname = m.col AND a.attnum > 0 AND NOT a.attisdropped);
	IF cols IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('columns that "%s" is watched by do not exist: %s', watch.source, cols),
			DETAIL = 'While an excluded column is not found, events hold the key alone; instead of a key that is not found, the primary key counts.',
			HINT = 'Call webhook.watch() with the columns as they are named now.';
	END IF;
	IF has_function_privilege('webhook.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook.warn_undelivered();
	END IF;
	IF same THEN
		RETURN;
	END IF;
	IF has.own_terms THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('the trigger of "%s" has terms of its own', watch.source),
			DETAIL = 'It has a condition, names columns, or is deferred. webhook.watch() would drop that, and more would be sent.',
			HINT = 'Change it with CREATE OR REPLACE TRIGGER, or call webhook.unwatch() first to begin anew.';
	END IF;
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO cols FROM pg_attribute a
		WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND (NOT has.args -> 'columns' ? a.attname::text OR has.args -> 'exclude_columns' ? a.attname::text)
			AND coalesce(wanted -> 'columns' ? a.attname::text, true) AND NOT coalesce(wanted -> 'exclude_columns' ? a.attname::text, false);
	IF cols IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" hold more columns from now on: %s', watch.source, cols),
			DETAIL = 'They were left out so far.',
			HINT = 'Name those that are not to be sent in exclude_columns.';
	END IF;

	-- a trigger that is replaced fires as usual: those that were disabled, or fire always, are put back as they were
	FOR firing IN SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgenabled FROM pg_trigger t
		WHERE t.tgenabled <> 'O' AND t.tgname IN ('webhook_capture', 'webhook_truncate')
			AND t.tgrelid IN (SELECT watch.source UNION SELECT p.relid FROM pg_partition_tree(watch.source) p) LOOP
		again := again || format('ALTER TABLE ONLY %s %s TRIGGER %I', firing.relation,
			CASE firing.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, firing.tgname);
	END LOOP;
	IF events <> '{}' THEN
		EXECUTE format('%s TRIGGER webhook_capture AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION webhook.capture(%L)',
			CASE WHEN has.events = '{}' THEN 'CREATE' ELSE 'CREATE OR REPLACE' END, array_to_string(events, ' OR '), watch.source, wanted);
	ELSIF has.events <> '{}' THEN
		EXECUTE format('DROP TRIGGER webhook_capture ON %s', watch.source);
	END IF;
	IF truncates THEN
		EXECUTE format('%s TRIGGER webhook_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION webhook.capture_truncate(%L)',
			CASE WHEN has.truncates THEN 'CREATE OR REPLACE' ELSE 'CREATE' END, watch.source, wanted);
	ELSIF has.truncates THEN
		EXECUTE format('DROP TRIGGER webhook_truncate ON %s', watch.source);
	END IF;
	FOREACH word IN ARRAY coalesce(again, '{}') LOOP
		IF (events <> '{}' AND word LIKE '%webhook\_capture') OR (truncates AND word LIKE '%webhook\_truncate') THEN
			EXECUTE word;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook.watch(regclass, text, name[], text[], name[], name[], name, boolean) IS 'turns a table into a source: from now on its committed row changes make events. entity_type: by default the table''s name. id_columns: by default the primary key. action_types: of new, update, delete (these by default), truncate. columns or exclude_columns: what result holds. tenant: a column whose value routes the event. previous: keep the old values too. Called again it changes what is named; all else stays as it is, and where nothing changes the table is not even locked. exclude_columns => ''{}'' sends all columns again, tenant => '''' lets go of the tenant; columns that were left out so far are told in a NOTICE. To begin anew, webhook.unwatch() first. Errors: object_not_in_prerequisite_state where a trigger made by hand would be overridden';

CREATE FUNCTION webhook.unwatch(source regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	n integer := 0;
BEGIN
	FOR t IN SELECT g.tgname FROM pg_trigger g
		WHERE g.tgrelid = unwatch.source AND g.tgparentid = 0
			AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, unwatch.source);
		n := n + 1;
	END LOOP;
	IF n = 0 THEN
		RAISE undefined_object USING
			MESSAGE = format('"%s" is not watched', unwatch.source),
			DETAIL = 'It has no trigger of this extension.',
			HINT = 'SELECT * FROM webhook.source shows the watched tables.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unwatch(regclass) IS 'the table makes no more events; those already captured are still delivered. Error undefined_object where it is not watched';

-- Some of what an operator does takes rights that he must not have: to write secrets, pending deliveries and events.
-- He asks for it by an UPDATE of this view. It has one row, with the subscriptions that he may see: found with his
-- rights (security_invoker), row security included. Its trigger runs with the owner's, and touches only those. What
-- a function were told by its caller could be forged; OLD is made by the server.
CREATE VIEW webhook.privileged_call WITH (security_invoker = true) AS
	SELECT ARRAY(SELECT s.id FROM webhook.subscription s) AS subscriptions, NULL::text AS name, NULL::jsonb AS arguments, NULL::text AS result;
COMMENT ON VIEW webhook.privileged_call IS 'how functions that an operator calls have done what takes the owner''s rights; UPDATE of it is the right to operate the subscriptions one may see. One row, which keeps nothing';
COMMENT ON COLUMN webhook.privileged_call.subscriptions IS 'the subscriptions that the current user may see';
COMMENT ON COLUMN webhook.privileged_call.name IS 'set it to the operation: set_secret, rotate_secret, set_credential, redeliver, replay or test';
COMMENT ON COLUMN webhook.privileged_call.arguments IS 'set it to the arguments of the function of that name; a secret or credential can only be given to that';
COMMENT ON COLUMN webhook.privileged_call.result IS 'RETURNING shows the result';

CREATE FUNCTION webhook.subscribe(
	subscription text,
	url          text,
	entity_types text[]   DEFAULT NULL,
	action_types      text[]   DEFAULT NULL,
	profile      text     DEFAULT 'entity',
	secret       text     DEFAULT NULL,
	tenant       text     DEFAULT NULL,
	filter       jsonpath DEFAULT NULL,
	headers      jsonb    DEFAULT '{}',
	params       jsonb    DEFAULT '{}'
) RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_subscribe';
COMMENT ON FUNCTION webhook.subscribe(text, text, text[], text[], text, text, text, jsonpath, jsonb, jsonb) IS 'from the commit of this call on, events that match go to url. entity_types, action_types, tenant, filter: which events, null for all. profile: how the receiver wants to be spoken to. Returns the signing secret, generated where none is given; show it to the receiver, it is not shown again';

CREATE FUNCTION webhook.subscribe_wrapped(
	subscription text,
	url          text,
	entity_types text[],
	action_types      text[],
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
	given CONSTANT text := webhook.wrapped(subscribe_wrapped.secret);
	signing_secret text;
BEGIN
	INSERT INTO webhook.subscription (name, url, entity_types, action_types, profile, tenant, filter, headers, params)
		VALUES (subscribe_wrapped.subscription, subscribe_wrapped.url, subscribe_wrapped.entity_types, subscribe_wrapped.action_types, subscribe_wrapped.profile,
			subscribe_wrapped.tenant, subscribe_wrapped.filter, coalesce(subscribe_wrapped.headers, '{}'), coalesce(subscribe_wrapped.params, '{}'));
	UPDATE webhook.privileged_call o SET name = 'set_secret',
			arguments = jsonb_build_object('subscription', subscribe_wrapped.subscription, 'secret', given)
		RETURNING o.result INTO STRICT signing_secret;
	IF has_function_privilege('webhook.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook.warn_undelivered();
	END IF;
	RETURN signing_secret;
END
$$;
COMMENT ON FUNCTION webhook.subscribe_wrapped(text, text, text[], text[], text, text, text, jsonpath, jsonb, jsonb) IS 'webhook.subscribe(), with the secret wrapped, as its result is';

CREATE FUNCTION webhook.undefined_subscription_error(name text) RETURNS void
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE undefined_object USING
		MESSAGE = format('subscription "%s" does not exist', undefined_subscription_error.name),
		DETAIL = 'webhook.subscription has no row with this name.',
		HINT = 'SELECT name, url, state FROM webhook.subscription shows what there is.';
END
$$;
COMMENT ON FUNCTION webhook.undefined_subscription_error(text) IS 'raises the error undefined_object for a subscription''s name';

CREATE FUNCTION webhook.rotate_secret(subscription text, secret text DEFAULT NULL, overlap interval DEFAULT '24 hours') RETURNS text
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_rotate_secret';
COMMENT ON FUNCTION webhook.rotate_secret(text, text, interval) IS 'gives a subscription a new signing secret (generated where none is given) and returns it; those it had expire after overlap, at once where that is 0. Until then requests carry a signature by each; where the profile''s header has room for one only, the oldest goes on signing until it expires. Error undefined_object where there is no such subscription, program_limit_exceeded where four secrets are live';

CREATE FUNCTION webhook.rotate_secret_wrapped(subscription text, secret text, overlap interval) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook.wrapped(rotate_secret_wrapped.secret);
	new_secret text;
BEGIN
	UPDATE webhook.privileged_call o SET name = 'rotate_secret', arguments = jsonb_build_object('subscription', rotate_secret_wrapped.subscription,
			'secret', given, 'overlap', rotate_secret_wrapped.overlap)
		RETURNING o.result INTO STRICT new_secret;
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook.rotate_secret_wrapped(text, text, interval) IS 'webhook.rotate_secret(), with the secret wrapped, as its result is';

CREATE FUNCTION webhook.copy_profile(from_profile text, to_profile text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO webhook.profile
		SELECT c.* FROM webhook.profile p,
			jsonb_populate_record(p, jsonb_build_object('name', to_profile, 'builtin', false)) c
		WHERE p.name = from_profile;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_profile_error(from_profile);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.copy_profile(text, text) IS 'makes a profile of your own from another: a row of webhook.profile to be changed by UPDATE, dumped with the database. Errors undefined_object where there is no from_profile, unique_violation where there is a to_profile';

CREATE FUNCTION webhook.set_credential(subscription text, kind text, value text) RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_set_credential';
COMMENT ON FUNCTION webhook.set_credential(text, text, text) IS 'gives a subscription a credential, in place of one of that kind; null removes it. kind: basic (user:password), bearer (token), header:Name (value), client_certificate and client_key (PEM, both in one transaction), ca (PEM: who may have signed the endpoint''s certificate, in place of webhook.ca_file), proxy (http://[user:password@]host:port), oauth2 (JSON: token_url, client_id, client_secret, and where wanted scope, audience, resource, and auth: how the client proves who it is, basic or post). Error undefined_object where there is no such subscription, invalid_parameter_value where the value is not usable';

CREATE FUNCTION webhook.set_credential_wrapped(subscription text, kind text, value text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	given CONSTANT text := webhook.wrapped(set_credential_wrapped.value);
BEGIN
	UPDATE webhook.privileged_call o SET name = 'set_credential', arguments = jsonb_build_object('subscription', set_credential_wrapped.subscription,
		'kind', set_credential_wrapped.kind, 'value', given);
END
$$;
COMMENT ON FUNCTION webhook.set_credential_wrapped(text, text, text) IS 'webhook.set_credential(), with the value wrapped';

CREATE FUNCTION webhook.unsubscribe(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint := 0;
BEGIN
	IF has_function_privilege('webhook.counters()', 'EXECUTE') THEN
		queued := (SELECT c.queued FROM webhook.counters() c JOIN webhook.subscription s ON s.id = c.subscription_id WHERE s.name = unsubscribe.subscription);
	END IF;
	DELETE FROM webhook.subscription s WHERE s.name = unsubscribe.subscription;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_subscription_error(unsubscribe.subscription);
	END IF;
	IF queued > 0 THEN
		RAISE NOTICE USING
			MESSAGE = format('%s deliveries of "%s" that were queued go with it', queued, unsubscribe.subscription),
			DETAIL = 'They were in the worker''s memory a moment ago, and those that have not been started are not sent.',
			HINT = 'Roll back to keep them.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unsubscribe(text) IS 'removes a subscription, its secrets and its pending deliveries; its dead letters and its log stay. A NOTICE tells how many of either there are. Error undefined_object where there is none';

CREATE FUNCTION webhook.reseal() RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	more bigint;
BEGIN
	UPDATE webhook.secret k SET secret = webhook.seal_again(webhook.secret_owner(k.subscription_id, k.id), k.secret)
		WHERE k.secret NOT LIKE 'file:%';
	GET DIAGNOSTICS n = ROW_COUNT;
	UPDATE webhook.credential c SET value = webhook.seal_again(webhook.credential_owner(c.subscription_id, c.kind), c.value)
		WHERE c.value NOT LIKE 'file:%';
	GET DIAGNOSTICS more = ROW_COUNT;
	RETURN n + more;
END
$$;
COMMENT ON FUNCTION webhook.reseal() IS 'seals all secrets and credentials anew under the first key of webhook.key_file: when that was set for the first time, or has a new first key. Afterwards the old key may go. Returns their number';

CREATE FUNCTION webhook.pause(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s SET state = 'paused', state_reason = format('paused by %s', session_user)
		WHERE s.name = pause.subscription;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_subscription_error(pause.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.pause(text) IS 'keeps a subscription''s deliveries until webhook.resume(); requests under way end as they end. Error undefined_object where there is none';

CREATE FUNCTION webhook.resume(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE webhook.subscription s SET state = 'active', state_reason = NULL
		WHERE s.name = resume.subscription;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_subscription_error(resume.subscription);
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.resume(text) IS 'makes a paused, disabled or inactive subscription active again; what happened while it was paused is delivered in order, and its breaker is closed. Of a live one it changes nothing. Error undefined_object where there is none';

CREATE FUNCTION webhook.wake_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_wake_worker';
COMMENT ON FUNCTION webhook.wake_worker() IS 'makes the worker look at its subscriptions, and at what has been asked for, when this transaction commits';

CREATE FUNCTION webhook.current_segment() RETURNS smallint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_current_segment';
COMMENT ON FUNCTION webhook.current_segment() IS 'the segment that is written now';

CREATE FUNCTION webhook.is_current_xid(xid) RETURNS boolean
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_is_current_xid';
COMMENT ON FUNCTION webhook.is_current_xid(xid) IS 'is it the xid of the current transaction, or of a part of it? Part of webhook.replay()';

-- The rule itself is in worker/route.c, which has no SQL at hand; test/t/170_tools.pl holds the two together.
CREATE FUNCTION webhook.matches_content(subscription webhook.subscription, event webhook.outbox) RETURNS boolean
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
		AND NOT (jsonb_typeof(e.previous::jsonb) = 'object' AND e.previous::jsonb ?| s.changed_columns) THEN
		RETURN false;
	END IF;
	RETURN s.filter IS NULL OR coalesce(jsonb_path_match(
		jsonb_build_object('result', e.result::jsonb, 'previous', e.previous::jsonb, 'entity_type', e.entity_type,
			'action_type', e.action_type, 'tenant', e.tenant, 'context', e.context::jsonb), s.filter, '{}', true), false);
EXCEPTION -- json may hold what jsonb does not take, such as \u0000, or what is nested too deeply for it
	WHEN data_exception OR feature_not_supported OR program_limit_exceeded THEN
		RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.matches_content(webhook.subscription, webhook.outbox) IS 'the part of webhook.matches() that looks into the event: exclude_origins, changed_columns, filter';

-- Inlined, so that what the events hold is not read unless it is asked for: hence no SET search_path, and operators by
-- their whole names. Not RETURN either: with a parsed body that uses their row types, newer servers (17.12 does)
-- let nobody add columns with defaults to the two tables.
CREATE FUNCTION webhook.matches(subscription webhook.subscription, event webhook.outbox) RETURNS boolean
	LANGUAGE sql STABLE
AS $$
	SELECT CASE
		WHEN (event).subscription_id IS NOT NULL THEN (event).subscription_id OPERATOR(pg_catalog.=) (subscription).id
		WHEN (subscription).state OPERATOR(pg_catalog.=) 'inactive' THEN false
		WHEN NOT coalesce((event).entity_type OPERATOR(pg_catalog.=) ANY ((subscription).entity_types),
			(event).entity_type OPERATOR(pg_catalog.<>) 'webhook_subscription') THEN false
		WHEN (event).entity_type OPERATOR(pg_catalog.=) 'webhook_subscription'
			AND (event).entity_id OPERATOR(pg_catalog.=) (subscription).name THEN false
		WHEN NOT coalesce((event).action_type OPERATOR(pg_catalog.=) ANY ((subscription).action_types), true) THEN false
		WHEN (subscription).tenant IS NOT NULL
			AND NOT coalesce((subscription).tenant OPERATOR(pg_catalog.=) (event).tenant, false) THEN false
		WHEN (subscription).exclude_origins IS NULL AND (subscription).changed_columns IS NULL AND (subscription).filter IS NULL THEN true
		ELSE webhook.matches_content(subscription, event)
	END
$$;
COMMENT ON FUNCTION webhook.matches(webhook.subscription, webhook.outbox) IS 'is this event for this subscription, as it is configured now? Null where what the event holds does not let that be told';

-- inlined as well; of columns and not of the row, so its body may be parsed
CREATE FUNCTION webhook.event_size(entity_type text, entity_id text, tenant text, result json, previous json, context json) RETURNS integer
	LANGUAGE sql STABLE
	RETURN 200 + coalesce(octet_length(entity_id), 0) + octet_length(entity_type) + coalesce(octet_length(tenant), 0)
		+ coalesce(octet_length(result::text), 0) + coalesce(octet_length(previous::text), 0)
		+ coalesce(octet_length(context::text), 0);
COMMENT ON FUNCTION webhook.event_size(text, text, text, json, json, json) IS 'about as many bytes as an event of these takes in the worker''s memory';

-- read-only, so it sees what its caller's snapshot shows
CREATE FUNCTION webhook.event_in_outbox(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	event webhook.outbox;
BEGIN
	SELECT o.* INTO event FROM webhook.outbox o WHERE o.event_number = event_in_outbox.event_number LIMIT 1;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook.event_in_outbox(bigint) IS 'an event of webhook.outbox; null where there is none. Part of webhook.redeliver()';

CREATE FUNCTION webhook.event_now(event_number bigint) RETURNS webhook.outbox
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_event_now';
COMMENT ON FUNCTION webhook.event_now(bigint) IS 'the same, as committed by now at every isolation level. Part of webhook.redeliver()';

CREATE FUNCTION webhook.lock_revival() RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_revival';
COMMENT ON FUNCTION webhook.lock_revival() IS 'waits until no other transaction puts events back into webhook.outbox, and keeps others from it until this one ends. Part of webhook.redeliver()';

CREATE FUNCTION webhook.revive(event_number bigint) RETURNS webhook.outbox
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	event webhook.outbox;
BEGIN
	-- With its own id and xid it is below every position the worker can be at, and none of the transactions that it
	-- still watches: so it is not read as a new event, for anybody. The caller holds the locks on its dead letters.
	INSERT INTO webhook.outbox (event_number, xid, entity_id, entity_type, action_type, result, previous, tenant, context, created_at, segment)
		SELECT d.event_number, d.xid, d.entity_id, d.entity_type, d.action_type, d.result, d.previous, d.tenant, d.context, d.created_at,
			webhook.current_segment()
		FROM webhook.dead_letter d WHERE d.event_number = revive.event_number ORDER BY d.subscription_id LIMIT 1
		RETURNING * INTO event;
	RETURN event;
END
$$;
COMMENT ON FUNCTION webhook.revive(bigint) IS 'puts an event whose segment was emptied back into webhook.outbox, with all it had, from its dead letter; null where there is none. Part of webhook.redeliver()';

CREATE FUNCTION webhook.redeliver(event_id text, subscription text DEFAULT NULL) RETURNS integer
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued integer;
BEGIN
	UPDATE webhook.privileged_call o SET name = 'redeliver',
			arguments = jsonb_build_object('event_id', redeliver.event_id, 'subscription', redeliver.subscription)
		RETURNING o.result::integer INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.redeliver(text, text) IS 'sends an event again, with the same id and content: to one subscription, or to all that match it or have had it. event_id: as the receiver got it, or its number. Also from webhook.dead_letter, whose row then goes, and after its segment was emptied. What waits for its retry is due at once; what is on its way already is left alone; what is for a paused, disabled or inactive subscription goes when that is resumed. Attempts and give_up_after begin anew. Returns the deliveries queued';

CREATE FUNCTION webhook.replay(subscription text, since timestamptz, until timestamptz DEFAULT now()) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	queued bigint;
BEGIN
	UPDATE webhook.privileged_call o SET name = 'replay',
			arguments = jsonb_build_object('subscription', replay.subscription, 'since', replay.since, 'until', replay.until)
		RETURNING o.result::bigint INTO STRICT queued;
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.replay(text, timestamptz, timestamptz) IS 'sends again, in order, every event of the outbox from since until just before until that matches the subscription as it is now; what is pending already is not doubled, and what its filter cannot be evaluated for goes to webhook.dead_letter. Events committed after this call follow behind; so that none is missed, call it in a transaction after the one that made or changed the subscription (error object_not_in_prerequisite_state in the same). Returns the deliveries queued. Reads the whole outbox';

CREATE FUNCTION webhook.purge_dead_letters(older_than interval DEFAULT NULL, subscription text DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	purged bigint;
BEGIN
	IF older_than IS NULL AND purge_dead_letters.subscription IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'which dead letters to purge is not said',
			DETAIL = 'Neither older_than nor subscription is given.',
			HINT = 'Give one of them or both; older_than => ''0'' purges all.';
	END IF;
	IF older_than < interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'older_than is out of range',
			DETAIL = format('%s was given; it is an age, hence not negative.', older_than),
			HINT = 'For example ''30 days''.';
	END IF;
	-- those of a subscription that was removed have nothing but its name
	IF purge_dead_letters.subscription IS NOT NULL
		AND NOT EXISTS (SELECT FROM webhook.subscription s WHERE s.name = purge_dead_letters.subscription)
		AND NOT EXISTS (SELECT FROM webhook.dead_letter d WHERE d.subscription = purge_dead_letters.subscription) THEN
		PERFORM webhook.undefined_subscription_error(purge_dead_letters.subscription);
	END IF;
	DELETE FROM webhook.dead_letter d
		WHERE (older_than IS NULL OR d.given_up_at <= clock_timestamp() - older_than)
			AND (purge_dead_letters.subscription IS NULL OR d.subscription = purge_dead_letters.subscription
				OR d.subscription_id = (SELECT s.id FROM webhook.subscription s WHERE s.name = purge_dead_letters.subscription));
	GET DIAGNOSTICS purged = ROW_COUNT;
	RETURN purged;
END
$$;
COMMENT ON FUNCTION webhook.purge_dead_letters(interval, text) IS 'deletes dead letters given up longer ago than older_than, or those of a subscription (also one that was removed), or both. Returns how many. Their events are gone for good where their segment was emptied';

CREATE FUNCTION webhook.request_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_request_worker';
COMMENT ON FUNCTION webhook.request_worker() IS 'asks the launcher for a worker in this database when this transaction commits; nothing happens where there is no launcher';

CREATE FUNCTION webhook.timeline() RETURNS integer
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_timeline';
COMMENT ON FUNCTION webhook.timeline() IS 'the timeline that this cluster writes';

CREATE FUNCTION webhook.next_xid() RETURNS xid8
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_next_xid';
COMMENT ON FUNCTION webhook.next_xid() IS 'the transaction id that will be given next; gives none. Part of webhook.enable_delivery()';

-- The position from which an enabled database reads on is a checkpoint's: so nothing need be deleted, and no table
-- that the application writes is locked. What lies before it goes with its segment.
CREATE FUNCTION webhook.enable_delivery_preview(
	moved boolean DEFAULT false, since timestamptz DEFAULT NULL,
	OUT events bigint, OUT deliveries bigint, OUT oldest timestamptz, OUT events_left bigint, OUT deliveries_left bigint, OUT after bigint
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
			MESSAGE = 'moved and since cannot be used together',
			DETAIL = 'What was moved goes on where it stopped; since is for a copy, which begins anew.',
			HINT = 'Give one of them.';
	END IF;
	IF enable_delivery_preview.since > clock_timestamp() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'since is in the future',
			DETAIL = format('It is %s, and now is %s.', enable_delivery_preview.since, clock_timestamp()),
			HINT = 'Leave it out to deliver what is committed from now on.';
	END IF;
	SELECT * INTO settled FROM webhook.checkpoint c WHERE c.kind = 'settled' ORDER BY c.id DESC LIMIT 1;
	-- by ids, which ascend whatever the clock does
	after := CASE
		WHEN enable_delivery_preview.moved THEN 0
		WHEN enable_delivery_preview.since IS NULL THEN
			greatest((SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END FROM webhook.event_number_seq q), (SELECT max(o.event_number) FROM webhook.outbox o))
		ELSE greatest(0, settled.hi, (SELECT max(o.event_number) FROM webhook.outbox o WHERE o.created_at < enable_delivery_preview.since)) END;
	SELECT count(*) FILTER (WHERE o.event_number > after), count(*) FILTER (WHERE o.event_number <= after), min(o.created_at) FILTER (WHERE o.event_number > after)
		INTO events, events_left, oldest
		FROM webhook.outbox o
		WHERE settled.hi IS NULL OR o.event_number > settled.hi OR NOT pg_visible_in_snapshot(o.xid, settled.snapshot);
	deliveries := CASE WHEN enable_delivery_preview.moved THEN pending ELSE 0 END;
	deliveries_left := pending - deliveries;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery_preview(boolean, timestamptz) IS 'what webhook.enable_delivery() with these arguments would send from a database that is suspended, without changing anything. events: captured and not yet read, to be sent to whom they match; deliveries: pending; oldest: when the first of these events was captured; events_left, deliveries_left: what would not be sent; after: only events with higher numbers go out';

CREATE FUNCTION webhook.enable_delivery(moved boolean DEFAULT false, since timestamptz DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sysid bigint := (SELECT system_identifier FROM pg_control_system());
	dboid oid    := (SELECT oid FROM pg_database WHERE datname = current_database());
	tli   integer := webhook.timeline();
	is_suspended CONSTANT boolean := NOT EXISTS (SELECT FROM webhook.identity) OR EXISTS (SELECT FROM webhook.identity i
		WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0);
	-- CREATE EXTENSION has just made all this
	is_new CONSTANT boolean := NOT (SELECT q.is_called FROM webhook.event_number_seq q)
		AND NOT EXISTS (SELECT FROM webhook.identity) AND NOT EXISTS (SELECT FROM webhook.checkpoint);
	sent record;
BEGIN
	IF is_suspended OR enable_delivery.since IS NOT NULL THEN
		sent := webhook.enable_delivery_preview(enable_delivery.moved, enable_delivery.since);
	END IF;
	IF enable_delivery.moved AND is_suspended AND (SELECT count(*) FROM webhook.identity) > 1 THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'this database was not moved',
			DETAIL = 'It is a restored dump: it knows a subscription''s settings, but nothing of what was pending.',
			HINT = 'Call webhook.enable_delivery() if it shall deliver new events in its own name.';
	END IF;
	IF is_suspended AND enable_delivery.moved THEN
		UPDATE webhook.identity SET system_identifier = sysid, database_oid = dboid, timeline = tli, enabled_at = clock_timestamp();
	ELSIF is_suspended AND NOT is_new THEN
		DELETE FROM webhook.identity i WHERE i.system_identifier <> sysid OR i.database_oid <> dboid OR i.timeline = 0;
		TRUNCATE webhook.pending, webhook.breaker_notice, webhook.checkpoint;
		-- what is committed later with a lower number is a straggler of this snapshot, and read
		INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
			VALUES (1, 'settled', pg_current_snapshot(), webhook.next_xid(), sent.after);
	END IF;
	IF NOT EXISTS (SELECT FROM webhook.identity) THEN
		INSERT INTO webhook.identity (instance, system_identifier, database_oid, timeline)
			VALUES (left(translate(gen_random_uuid()::text, '-', ''), 8), sysid, dboid, tli);
	END IF;
	PERFORM webhook.request_worker();
	IF is_suspended AND NOT is_new THEN
		RAISE NOTICE USING
			MESSAGE = format('from the commit of this on, this database delivers: %s captured events%s and %s pending deliveries are sent',
				sent.events, ' since ' || sent.oldest, sent.deliveries),
			DETAIL = format('%s captured events and %s pending deliveries are not sent.', sent.events_left, sent.deliveries_left),
			HINT = 'Roll back if that is not what you want. webhook.enable_delivery_preview() tells it without changing anything.';
	ELSIF enable_delivery.since IS NOT NULL AND NOT is_suspended THEN
		RAISE NOTICE USING
			MESSAGE = 'this database delivers already: nothing was changed',
			DETAIL = 'since is for a database that is suspended.',
			HINT = 'webhook.replay() sends events again.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.enable_delivery(boolean, timestamptz) IS 'this database, in this cluster, may deliver from now on. CREATE EXTENSION calls it; call it again in a copy that shall deliver in its own name: it sends what is committed from then on, and with since also what was captured since then and not read by the original. moved: it is no copy, but the one database, moved (by pg_upgrade, or recovered because the original is lost): what was captured or pending is delivered, under the same event ids. A NOTICE tells how much is sent, and how much is not. Changes nothing where the database delivers already';

CREATE FUNCTION webhook.start_worker() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_start_worker';
COMMENT ON FUNCTION webhook.start_worker() IS 'starts delivery for this server''s lifetime where webhook is not in shared_preload_libraries; does nothing where delivery runs already. Superuser only';

CREATE FUNCTION webhook.event_id(event_number bigint) RETURNS text
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'evt_' || (SELECT i.instance FROM webhook.identity i ORDER BY i.enabled_at DESC LIMIT 1) || '_' || event_id.event_number
$$;
COMMENT ON FUNCTION webhook.event_id(bigint) IS 'an event''s id as receivers see it (a profile may have another event_prefix), from webhook.outbox.event_number';

CREATE FUNCTION webhook.header_value(headers jsonb, name text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN count(*) = 1 THEN min(h.value) END FROM jsonb_each_text(header_value.headers) h
		WHERE lower(h.key COLLATE "C") = lower(header_value.name COLLATE "C")
$$;
COMMENT ON FUNCTION webhook.header_value(jsonb, text) IS 'a request header''s value, whatever the case of its name; null where there is none, or several that differ in case';

CREATE FUNCTION webhook.verify(profile text, secret text, headers jsonb, body text, tolerance interval DEFAULT '5 minutes') RETURNS boolean
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_verify';
COMMENT ON FUNCTION webhook.verify(text, text, jsonb, text, interval) IS 'for receivers that live in PostgreSQL: was this request signed with this secret, as the profile says? body: exactly as received. headers: an object of names (in any case) and values. tolerance: how far its timestamp, where the profile signs one, may be from now, either way. False for a wrong or missing header, and for nulls; errors: undefined_object for the profile, invalid_parameter_value for a secret that cannot be the profile''s. Compares in constant time. Does not notice a request that is sent again within the tolerance: remember the ids';

CREATE FUNCTION webhook.verify_wrapped(profile text, secret text, headers jsonb, body text, tolerance interval) RETURNS boolean
	LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	p webhook.profile;
	now numeric := extract(epoch FROM clock_timestamp());
	seconds numeric := extract(epoch FROM least(verify_wrapped.tolerance, interval '10000 years')); -- 17 knows infinite ones
BEGIN
	SELECT * INTO p FROM webhook.profile x WHERE x.name = verify_wrapped.profile;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_profile_error(verify_wrapped.profile);
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
	RETURN webhook.signature_matches(p, verify_wrapped.secret, webhook.header_value(verify_wrapped.headers, p.id_header),
		webhook.header_value(verify_wrapped.headers, p.timestamp_header), webhook.header_value(verify_wrapped.headers, p.signature_header),
		verify_wrapped.body, ceil(now - seconds)::bigint, floor(now + seconds)::bigint);
END
$$;
COMMENT ON FUNCTION webhook.verify_wrapped(text, text, jsonb, text, interval) IS 'webhook.verify(), with the secret wrapped';

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
COMMENT ON FUNCTION webhook.event_number(text) IS 'the number of an event (webhook.outbox.event_number) from the id that its receiver got, or from that number as text. Error invalid_parameter_value where it is neither, or of another database';

--
-- Views
--

CREATE VIEW webhook.source AS
	SELECT t.tgrelid::regclass AS source,
		a.entity_type,
		CASE WHEN a.problem IS NULL THEN coalesce(a.id_columns,
			ARRAY(SELECT f.attname FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_catalog.pg_attribute f
				WHERE i.indrelid = t.tgrelid AND i.indisprimary AND f.attrelid = t.tgrelid AND f.attnum = k.attnum
					AND k.n <= i.indnkeyatts ORDER BY k.n)) END AS id_columns,
		CASE WHEN a.problem IS NULL THEN coalesce(a.action_types,
				array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'new' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
					CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END], NULL))
			|| CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger u WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture_truncate'::regproc)
				THEN '{truncate}'::text[] ELSE '{}' END ELSE '{}' END AS action_types,
		a.columns,
		a.exclude_columns,
		a.tenant,
		coalesce(a.keep_previous, false) AS keep_previous,
		t.tgname AS trigger,
		CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' ELSE 'origin' END AS fires,
		CASE
			WHEN a.problem IS NOT NULL THEN a.problem
			WHEN t.tgfoid = 'webhook.capture'::regproc AND t.tgtype & 67 <> 1 THEN 'the trigger is not AFTER, FOR EACH ROW: it fails when it fires'
			ELSE (SELECT 'column ' || string_agg(quote_ident(m.col), ', ' ORDER BY m.col) || ' does not exist'
				FROM (SELECT DISTINCT n.col FROM unnest(a.id_columns || a.columns || a.exclude_columns || a.tenant) n(col)) m
				WHERE m.col IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute f
					WHERE f.attrelid = t.tgrelid AND f.attname = m.col AND f.attnum > 0 AND NOT f.attisdropped))
		END AS problem
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	LEFT JOIN pg_catalog.pg_class root ON root.oid = pg_partition_root(c.oid)
	CROSS JOIN LATERAL webhook.capture_argument(t.tgnargs, t.tgargs, coalesce(root.relname, c.relname)) a
	WHERE t.tgparentid = 0
		AND (t.tgfoid = 'webhook.capture'::regproc
			OR t.tgfoid = 'webhook.capture_truncate'::regproc AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_trigger u WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture'::regproc));
COMMENT ON VIEW webhook.source IS 'the watched tables: a view of their triggers, which are the registry. fires: origin, always, replica or disabled, as ALTER TABLE ... TRIGGER has set it. problem: what keeps it from making the events it should; one that makes none has no entity_type';
COMMENT ON COLUMN webhook.source.source IS 'the watched table';
COMMENT ON COLUMN webhook.source.entity_type IS 'what its events call a row; null: there are none, see problem';
COMMENT ON COLUMN webhook.source.id_columns IS 'the columns that make entity_id';
COMMENT ON COLUMN webhook.source.action_types IS 'which changes make events';
COMMENT ON COLUMN webhook.source.columns IS 'the only columns sent; null: see exclude_columns';
COMMENT ON COLUMN webhook.source.exclude_columns IS 'the columns not sent; null: all are';
COMMENT ON COLUMN webhook.source.tenant IS 'the column whose value routes the event';
COMMENT ON COLUMN webhook.source.keep_previous IS 'whether old values are kept';
COMMENT ON COLUMN webhook.source.trigger IS 'the trigger''s name';
COMMENT ON COLUMN webhook.source.fires IS 'when: origin, always, replica, or disabled';
COMMENT ON COLUMN webhook.source.problem IS 'what in its settings cannot be used, or no longer fits the table; null: nothing';

-- a plain projection, so that conditions on it use the indexes of webhook.attempt
CREATE VIEW webhook.log WITH (security_invoker = true) AS
	SELECT a.started_at, webhook.event_id(a.event_number) AS event_id, a.subscription, a.entity_type, a.entity_id, a.action_type,
		a.attempt_number, a.outcome, a.http_status, a.error, a.duration_ms, a.response, a.event_number
	FROM webhook.attempt a
	ORDER BY a.started_at DESC;
COMMENT ON VIEW webhook.log IS 'the requests made, newest first; fast by subscription, by entity_id, by event_number and by started_at';
COMMENT ON COLUMN webhook.log.started_at IS 'when the request was started';
COMMENT ON COLUMN webhook.log.event_id IS 'the event''s id as the receiver sees it';
COMMENT ON COLUMN webhook.log.subscription IS 'for whom: its name at that time';
COMMENT ON COLUMN webhook.log.entity_type IS 'of the event';
COMMENT ON COLUMN webhook.log.entity_id IS 'of the event, its first 500 characters';
COMMENT ON COLUMN webhook.log.action_type IS 'of the event';
COMMENT ON COLUMN webhook.log.attempt_number IS 'number of the attempt, from 1';
COMMENT ON COLUMN webhook.log.outcome IS 'one word: delivered, or what went wrong';
COMMENT ON COLUMN webhook.log.http_status IS 'the response''s status; null: there was none';
COMMENT ON COLUMN webhook.log.error IS 'what went wrong, for people';
COMMENT ON COLUMN webhook.log.duration_ms IS 'milliseconds from start to end';
COMMENT ON COLUMN webhook.log.response IS 'the first 4096 bytes of the response body';
COMMENT ON COLUMN webhook.log.event_number IS 'the event''s number, by which it is found: WHERE event_number = webhook.event_number(''evt_...'')';

CREATE FUNCTION webhook.counters(
	OUT subscription_id bigint, OUT queued integer, OUT in_flight integer, OUT catching_up boolean, OUT breaker text,
	OUT delivered bigint, OUT failed bigint, OUT last_success_at timestamptz, OUT last_failure_at timestamptz, OUT last_error text
) RETURNS SETOF record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_counters';
COMMENT ON FUNCTION webhook.counters() IS 'what the worker of this database has in memory and has counted since it started, a row per subscription that the caller may see; no rows while there is none';

CREATE FUNCTION webhook.worker_status(
	OUT state text, OUT reason text, OUT pid integer, OUT started_at timestamptz, OUT last_read_at timestamptz,
	OUT last_settled_at timestamptz, OUT queued integer, OUT in_flight integer, OUT events_read bigint, OUT outbox_size bigint
) RETURNS record
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_worker_status';
COMMENT ON FUNCTION webhook.worker_status() IS 'what webhook.worker shows';

CREATE VIEW webhook.status WITH (security_invoker = true) AS
	SELECT s.name AS subscription,
		CASE WHEN s.state = 'active' AND c.catching_up THEN 'catching_up' ELSE s.state END AS state,
		s.state_reason AS reason,
		coalesce(c.breaker, 'closed') AS breaker,
		coalesce(c.queued, 0) AS queued,
		coalesce(c.in_flight, 0) AS in_flight,
		p.pending,
		p.oldest_pending_age,
		d.dead_letters,
		coalesce(c.delivered, 0) AS delivered,
		coalesce(c.failed, 0) AS failed,
		c.last_success_at,
		c.last_failure_at,
		c.last_error
	FROM webhook.subscription s
	LEFT JOIN webhook.counters() c ON c.subscription_id = s.id
	CROSS JOIN LATERAL (SELECT count(*) AS pending, clock_timestamp() - min(p.pending_since) AS oldest_pending_age
		FROM webhook.pending p WHERE p.subscription_id = s.id) p
	CROSS JOIN LATERAL (SELECT count(*) AS dead_letters FROM webhook.dead_letter d WHERE d.subscription_id = s.id) d;
COMMENT ON VIEW webhook.status IS 'one row per subscription. delivered, failed, last_*: since the worker started. oldest_pending_age: age of the oldest delivery that did not simply succeed';
COMMENT ON COLUMN webhook.status.subscription IS 'its name';
COMMENT ON COLUMN webhook.status.state IS 'active, catching_up, paused, disabled or inactive';
COMMENT ON COLUMN webhook.status.reason IS 'why the state is not active';
COMMENT ON COLUMN webhook.status.breaker IS 'closed: requests are sent as they come; open: ten in a row have failed, deliveries are kept and a probe is sent now and then; half-open: a probe is under way';
COMMENT ON COLUMN webhook.status.queued IS 'deliveries waiting in the worker''s memory';
COMMENT ON COLUMN webhook.status.in_flight IS 'requests under way';
COMMENT ON COLUMN webhook.status.pending IS 'rows in webhook.pending';
COMMENT ON COLUMN webhook.status.oldest_pending_age IS 'age of the oldest of them';
COMMENT ON COLUMN webhook.status.dead_letters IS 'rows in webhook.dead_letter';
COMMENT ON COLUMN webhook.status.delivered IS 'deliveries since the worker started';
COMMENT ON COLUMN webhook.status.failed IS 'failed attempts since the worker started';
COMMENT ON COLUMN webhook.status.last_success_at IS 'the last delivery';
COMMENT ON COLUMN webhook.status.last_failure_at IS 'the last failed attempt';
COMMENT ON COLUMN webhook.status.last_error IS 'its outcome, one word; too_large: the worker cannot hold the subscription, its log says why, and what is for it is kept';

CREATE VIEW webhook.worker WITH (security_invoker = true) AS
	SELECT w.state, w.reason, w.pid, w.started_at, w.last_read_at, w.last_settled_at, w.queued, w.in_flight, w.events_read, w.outbox_size
	FROM webhook.worker_status() w;
COMMENT ON VIEW webhook.worker IS 'the worker of this database, in one row';
COMMENT ON COLUMN webhook.worker.state IS 'running; starting; failing: it meets an error again and again, and waits for longer each time; suspended: nothing is delivered here, as in a copy; not_running';
COMMENT ON COLUMN webhook.worker.reason IS 'why the state is not running';
COMMENT ON COLUMN webhook.worker.pid IS 'its process, where there is one';
COMMENT ON COLUMN webhook.worker.started_at IS 'when that process was started';
COMMENT ON COLUMN webhook.worker.last_read_at IS 'when it last read events';
COMMENT ON COLUMN webhook.worker.last_settled_at IS 'when it last wrote down what has become of deliveries';
COMMENT ON COLUMN webhook.worker.queued IS 'deliveries waiting in its memory';
COMMENT ON COLUMN webhook.worker.in_flight IS 'requests under way';
COMMENT ON COLUMN webhook.worker.events_read IS 'events read since it started';
COMMENT ON COLUMN webhook.worker.outbox_size IS 'bytes that webhook.outbox takes on disk; null on a standby, and while somebody has locked it';

--
-- Operational events: what happens to subscriptions, for others to be told
--

CREATE FUNCTION webhook.append_event(
	entity_type text, entity_id text, action_type text, result json, tenant text, subscription_id bigint
) RETURNS bigint
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_append_event';
COMMENT ON FUNCTION webhook.append_event(text, text, text, json, text, bigint) IS 'appends an event to the outbox as capture does, and returns its number. subscription_id: for this one alone, null for all that match';

CREATE FUNCTION webhook.announce(subscription_id bigint, change text, reason text, event_number bigint) RETURNS void
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
	-- once each, also where a worker has ended in between; and whether or not anybody listens
	IF announce.change = 'breaker_opened' THEN
		INSERT INTO webhook.breaker_notice (subscription_id) VALUES (s.id) ON CONFLICT DO NOTHING;
	ELSIF announce.change = 'breaker_closed' THEN
		DELETE FROM webhook.breaker_notice t WHERE t.subscription_id = s.id;
	END IF;
	IF announce.change LIKE 'breaker%' AND NOT FOUND OR NOT EXISTS (SELECT FROM webhook.subscription l
			WHERE l.state <> 'inactive' AND 'webhook_subscription' = ANY (l.entity_types) AND l.id <> s.id) THEN
		RETURN;
	END IF;
	e.entity_type := 'webhook_subscription';
	e.entity_id := s.name;
	e.action_type := 'update';
	e.result := json_build_object('subscription', s.name, 'change', announce.change, 'state', s.state, 'reason', announce.reason,
		'event_id', webhook.event_id(announce.event_number), 'occurred_at', clock_timestamp());
	e.tenant := s.tenant;
	IF NOT EXISTS (SELECT FROM webhook.operator_isolation) THEN
		-- nulls have their types: a function of this name that somebody else has made is not meant
		PERFORM webhook.append_event(e.entity_type, e.entity_id, e.action_type, e.result, e.tenant, NULL::bigint);
		RETURN;
	END IF;
	-- operators are apart: it is told to those whose owner may see what it is about, an event for each
	PERFORM webhook.append_event(e.entity_type, e.entity_id, e.action_type, e.result, e.tenant, l.id)
		FROM webhook.subscription l JOIN pg_roles r ON r.rolname = l.owner JOIN pg_roles o ON o.rolname = s.owner
		WHERE 'webhook_subscription' = ANY (l.entity_types) AND pg_has_role(r.oid, o.oid, 'USAGE') AND webhook.matches(l, e);
END
$$;
COMMENT ON FUNCTION webhook.announce(bigint, text, text, bigint) IS 'appends an event of entity type webhook_subscription, where another subscription asks for those by name. change: breaker_opened, breaker_closed, disabled, resumed or dead_letter. Holds neither URL nor secret, nor what an endpoint or a library has said';

CREATE FUNCTION webhook.announce_state() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NEW.state = 'disabled' THEN
		PERFORM webhook.announce(NEW.id, 'disabled', NEW.state_reason, NULL::bigint);
	ELSIF OLD.state = 'disabled' THEN
		PERFORM webhook.announce(NEW.id, 'resumed', NULL::text, NULL::bigint);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.announce_state() IS 'tells of a subscription that is disabled, or is so no more';

CREATE FUNCTION webhook.announce_dead_letters() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- the word of its last attempt; the reason for people may name a host
	PERFORM webhook.announce(d.subscription_id, 'dead_letter', (SELECT a.outcome FROM webhook.attempt a
			WHERE d.attempts > 0 AND a.event_number = d.event_number AND a.subscription_id = d.subscription_id
			ORDER BY a.started_at DESC LIMIT 1), d.event_number)
		FROM dead d WHERE d.entity_type <> 'webhook_subscription'; -- else those that watch each other would never come to rest
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.announce_dead_letters() IS 'tells of deliveries that were given up, but for those that would have told of another';

CREATE TRIGGER announce_state AFTER UPDATE OF state ON webhook.subscription
	FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION webhook.announce_state();
CREATE TRIGGER announce_dead_letters AFTER INSERT ON webhook.dead_letter REFERENCING NEW TABLE AS dead
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.announce_dead_letters();

--
-- What webhook.privileged_call has done. Nobody but the owner may call these: they believe what they are told
--

CREATE FUNCTION webhook.set_secret_as_owner(subscription_id bigint, secret text) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	new_secret text := webhook.wrapped(set_secret_as_owner.secret);
BEGIN
	-- never one that was there before: who may operate a subscription may not read its secret
	IF new_secret IS NULL THEN
		SELECT webhook.generate_secret(p) INTO new_secret FROM webhook.profile p JOIN webhook.subscription s ON s.profile = p.name
			WHERE s.id = set_secret_as_owner.subscription_id;
	END IF;
	DELETE FROM webhook.secret k WHERE k.subscription_id = set_secret_as_owner.subscription_id;
	INSERT INTO webhook.secret (subscription_id, secret, generated)
		VALUES (set_secret_as_owner.subscription_id, new_secret, set_secret_as_owner.secret IS NULL);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook.set_secret_as_owner(bigint, text) IS 'gives a subscription this wrapped secret, or a generated one, instead of what it had, and returns it wrapped. Part of webhook.subscribe()';

CREATE FUNCTION webhook.rotate_secret_as_owner(subscription_id bigint, secret text, overlap interval) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s record;
	new_id integer;
	new_secret text := webhook.wrapped(rotate_secret_as_owner.secret);
BEGIN
	SELECT x.id, x.profile INTO STRICT s FROM webhook.subscription x WHERE x.id = rotate_secret_as_owner.subscription_id FOR NO KEY UPDATE;
	IF (rotate_secret_as_owner.overlap BETWEEN interval '0' AND interval '365 days') IS NOT TRUE THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'overlap is out of range',
			DETAIL = format('%s was given; it is from 0 to 365 days.', coalesce(rotate_secret_as_owner.overlap::text, 'null')),
			HINT = 'The default is 24 hours; 0 ends the old secrets at once.';
	END IF;
	IF new_secret IS NULL THEN
		SELECT webhook.generate_secret(p) INTO new_secret FROM webhook.profile p WHERE p.name = s.profile;
	END IF;
	SELECT coalesce(max(k.id), 0) + 1 INTO new_id FROM webhook.secret k WHERE k.subscription_id = s.id;
	DELETE FROM webhook.secret k WHERE k.subscription_id = s.id
		AND (rotate_secret_as_owner.overlap = interval '0' OR k.expires_at <= clock_timestamp());
	UPDATE webhook.secret k SET expires_at = least(k.expires_at, clock_timestamp() + rotate_secret_as_owner.overlap), generated = false
		WHERE k.subscription_id = s.id;
	INSERT INTO webhook.secret (subscription_id, id, secret) VALUES (s.id, new_id, new_secret);
	RETURN new_secret;
END
$$;
COMMENT ON FUNCTION webhook.rotate_secret_as_owner(bigint, text, interval) IS 'part of webhook.rotate_secret()';

CREATE FUNCTION webhook.set_credential_as_owner(subscription_id bigint, kind text, value text) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_value CONSTANT text := webhook.wrapped(set_credential_as_owner.value);
BEGIN
	IF new_value IS NULL THEN
		DELETE FROM webhook.credential c WHERE c.subscription_id = set_credential_as_owner.subscription_id AND c.kind = set_credential_as_owner.kind;
	ELSE
		INSERT INTO webhook.credential (subscription_id, kind, value)
			VALUES (set_credential_as_owner.subscription_id, set_credential_as_owner.kind, new_value)
			ON CONFLICT (subscription_id, kind) DO UPDATE SET value = new_value;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.set_credential_as_owner(bigint, text, text) IS 'part of webhook.set_credential()';

CREATE FUNCTION webhook.redeliver_as_owner(subscriptions bigint[], event_id text, subscription text) RETURNS integer
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
	-- whoever redelivers what is dead does so one after the other; what another has taken meanwhile is his
	dead := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d WHERE d.event_number = number);
	locked := ARRAY(SELECT d.subscription_id FROM webhook.dead_letter d WHERE d.event_number = number ORDER BY d.subscription_id FOR UPDATE);
	-- what others have committed counts, whatever this transaction's snapshot shows: else an event could be put back twice
	event := webhook.event_now(number);
	IF event.event_number IS NULL THEN
		PERFORM webhook.lock_revival();
		event := webhook.event_now(number);
	END IF;
	IF event.event_number IS NULL THEN
		event := webhook.revive(number);
	END IF;
	IF event.event_number IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('event "%s" does not exist', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'It is neither in webhook.outbox nor in webhook.dead_letter.',
			HINT = 'Events are kept for webhook.retention; those given up until they are redelivered or purged.';
	END IF;
	IF event.action_type = 'test' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" is a test', left(redeliver_as_owner.event_id, 100)),
			DETAIL = 'A test is sent once.',
			HINT = 'CALL webhook.test() again.';
	END IF;
	wanted := ARRAY(
		SELECT s.id FROM webhook.subscription s
		WHERE s.id = ANY (redeliver_as_owner.subscriptions)
			AND (s.id = ANY (dead) OR webhook.matches(s, event)
				OR EXISTS (SELECT FROM webhook.attempt a WHERE a.event_number = number AND a.subscription_id = s.id))
		ORDER BY s.id);
	IF redeliver_as_owner.subscription IS NOT NULL AND wanted = '{}' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event "%s" is not for subscription "%s"', left(redeliver_as_owner.event_id, 100), redeliver_as_owner.subscription),
			DETAIL = 'The subscription does not match it, and it was never sent there.',
			HINT = 'See what the subscription asks for in webhook.subscription: entity_types, action_types, tenant, filter.';
	END IF;
	INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment, size)
		SELECT w.id, number, 0, 'requested', clock_timestamp(), event.segment,
				webhook.event_size(event.entity_type, event.entity_id, event.tenant, event.result, event.previous, event.context)
		FROM unnest(wanted) w(id) WHERE w.id <> ALL (dead) OR w.id = ANY (locked) ORDER BY w.id
		ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL
			DO UPDATE SET next_attempt_at = excluded.next_attempt_at WHERE pending.state = 'retry';
	GET DIAGNOSTICS queued = ROW_COUNT;
	DELETE FROM webhook.dead_letter d WHERE d.event_number = number AND d.subscription_id = ANY (wanted);
	PERFORM webhook.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.redeliver_as_owner(bigint[], text, text) IS 'redelivers to those of these subscriptions that an event is for; subscription: the name of the one asked for, null: all. Part of webhook.redeliver()';

CREATE FUNCTION webhook.replay_as_owner(subscription_id bigint, since timestamptz, until timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	s webhook.subscription;
	queued bigint;
	untold bigint[];
BEGIN
	SELECT b.* INTO STRICT s FROM webhook.subscription b WHERE b.id = replay_as_owner.subscription_id;
	IF replay_as_owner.since IS NULL OR replay_as_owner.until IS NULL OR replay_as_owner.since >= replay_as_owner.until THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the time range to replay is empty',
			DETAIL = format('It begins at %s and ends before %s.', coalesce(replay_as_owner.since::text, 'null'), coalesce(replay_as_owner.until::text, 'null')),
			HINT = 'since is earlier than until; ''-infinity'' replays all that is kept.';
	END IF;
	IF s.state = 'inactive' THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" is inactive', s.name),
			DETAIL = 'No event is for an inactive subscription.',
			HINT = 'Call webhook.resume() first, or webhook.pause() to keep what is replayed for later.';
	END IF;
	-- an event committed after this look at the outbox, and before the subscription is as it is now, would come neither way
	IF (SELECT webhook.is_current_xid(b.xmin) FROM webhook.subscription b WHERE b.id = s.id) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('subscription "%s" was made or changed in this transaction', s.name),
			DETAIL = 'What others commit before its end would be neither replayed nor matched with the subscription as it is now.',
			HINT = 'COMMIT, and call webhook.replay() in a transaction of its own.';
	END IF;
	-- a segment that was emptied looks empty in an older snapshot, too, and what has moved on from it is not seen
	LOCK TABLE webhook.outbox IN ACCESS SHARE MODE;
	IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'webhook.outbox'::regclass AND c.relfilenode <> pg_relation_filenode(c.oid)) THEN
		RAISE serialization_failure USING
			MESSAGE = 'could not serialize access due to the rotation of webhook.outbox',
			DETAIL = 'A segment was emptied after the snapshot of this transaction was taken.',
			HINT = 'Retry the transaction.';
	END IF;
	WITH found AS MATERIALIZED (
		SELECT o.event_number, o.segment, m.matched,
			webhook.event_size(o.entity_type, o.entity_id, o.tenant, o.result, o.previous, o.context) AS size
		FROM webhook.outbox o CROSS JOIN LATERAL (SELECT webhook.matches(s, o) AS matched OFFSET 0) m
		WHERE o.created_at >= replay_as_owner.since AND o.created_at < replay_as_owner.until AND o.action_type <> 'test'
			AND m.matched IS NOT FALSE),
	again AS (
		INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment, size)
			SELECT s.id, f.event_number, 0, 'requested', clock_timestamp(), f.segment, f.size FROM found f WHERE f.matched
			ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL DO NOTHING
			RETURNING pending.event_number),
	alive AS (
		DELETE FROM webhook.dead_letter d USING again WHERE d.subscription_id = s.id AND d.event_number = again.event_number)
	SELECT (SELECT count(*) FROM again), ARRAY(SELECT f.event_number FROM found f WHERE f.matched IS NULL) INTO queued, untold;
	-- as the worker does with what it cannot tell
	INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_id, entity_type, action_type,
			result, previous, tenant, context, created_at)
		SELECT s.id, o.event_number, s.name, 'filter, changed_columns or exclude_origins could not be evaluated', 0, o.xid, o.entity_id, o.entity_type,
			o.action_type, o.result, o.previous, o.tenant, o.context, o.created_at
		FROM webhook.outbox o WHERE o.event_number = ANY (untold)
		ON CONFLICT DO NOTHING;
	PERFORM webhook.wake_worker();
	RETURN queued;
END
$$;
COMMENT ON FUNCTION webhook.replay_as_owner(bigint, timestamptz, timestamptz) IS 'part of webhook.replay()';

CREATE FUNCTION webhook.test_as_owner(subscription_id bigint, entity_type text, entity_id text, result json, tenant text) RETURNS bigint
	LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
	-- of the events that only webhook itself makes, a test says nothing but that it is one
	SELECT webhook.append_event(test_as_owner.entity_type, CASE WHEN a.problem IS NULL THEN test_as_owner.entity_id ELSE 'test' END, 'test',
			CASE WHEN a.problem IS NULL THEN test_as_owner.result ELSE json_build_object('test', true, 'subscription', s.name) END,
			test_as_owner.tenant, test_as_owner.subscription_id)
		FROM webhook.subscription s, webhook.capture_argument(1::smallint,
			convert_to(jsonb_build_object('entity_type', test_as_owner.entity_type)::text, getdatabaseencoding()), '') a
		WHERE s.id = test_as_owner.subscription_id
$$;
COMMENT ON FUNCTION webhook.test_as_owner(bigint, text, text, json, text) IS 'appends an event that is for this subscription alone, and returns its number. Part of webhook.test()';

CREATE FUNCTION webhook.perform_privileged_call() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	a CONSTANT jsonb := NEW.arguments;
	asked_for CONSTANT text := a ->> 'subscription';
	allowed bigint[] := OLD.subscriptions;
BEGIN
	-- all but redeliver are for one, which must be among those that the caller may see
	IF asked_for IS NOT NULL OR NEW.name <> 'redeliver' THEN
		allowed := ARRAY(SELECT s.id FROM webhook.subscription s WHERE s.name = asked_for AND s.id = ANY (allowed));
		IF allowed = '{}' THEN
			PERFORM webhook.undefined_subscription_error(asked_for);
		END IF;
	END IF;
	CASE NEW.name
		WHEN 'set_secret' THEN
			NEW.result := webhook.set_secret_as_owner(allowed[1], a ->> 'secret');
		WHEN 'rotate_secret' THEN
			NEW.result := webhook.rotate_secret_as_owner(allowed[1], a ->> 'secret', (a ->> 'overlap')::interval);
		WHEN 'set_credential' THEN
			PERFORM webhook.set_credential_as_owner(allowed[1], a ->> 'kind', a ->> 'value');
		WHEN 'redeliver' THEN
			NEW.result := webhook.redeliver_as_owner(allowed, a ->> 'event_id', asked_for);
		WHEN 'replay' THEN
			NEW.result := webhook.replay_as_owner(allowed[1], (a ->> 'since')::timestamptz, (a ->> 'until')::timestamptz);
		WHEN 'test' THEN
			NEW.result := webhook.test_as_owner(allowed[1], a ->> 'entity_type', a ->> 'entity_id', (a ->> 'result')::json, a ->> 'tenant');
		ELSE
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown operation "%s"', NEW.name),
				DETAIL = 'Operations: set_secret, rotate_secret, set_credential, redeliver, replay, test.',
				HINT = 'Call the function of that name.';
	END CASE;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION webhook.perform_privileged_call() IS 'does with the owner''s rights what webhook.privileged_call is asked for, to no subscription but those that its caller may see';

CREATE TRIGGER perform_privileged_call INSTEAD OF UPDATE ON webhook.privileged_call
	FOR EACH ROW EXECUTE FUNCTION webhook.perform_privileged_call();

--
-- webhook.test, after the views that it looks at
--

CREATE FUNCTION webhook.sample_row(
	source regclass, trigger name, wanted text, only_tenant text, named boolean, OUT entity_id text, OUT result json, OUT tenant text
)
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_sample_row';
COMMENT ON FUNCTION webhook.sample_row(regclass, name, text, text, boolean) IS 'the row of a watched table with this entity_id, or the newest one, as its trigger would tell of it; nulls where there is none. The caller needs SELECT on the table, and no row security that applies; it is read as its owner, in a security-restricted operation. named false: nulls where it is of no role that the caller is a member of. Part of webhook.test()';

CREATE FUNCTION webhook.send_test(subscription text, entity_type text, entity_id text, wait interval, OUT event bigint, OUT error text)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s      webhook.subscription;
	named  CONSTANT boolean := send_test.entity_type IS NOT NULL;
	source record;
	shown  record;
	sample webhook.outbox;
	worker record;
	code text; message text; detail text; hint text; -- the first error of a table's own code
BEGIN
	SELECT b.* INTO s FROM webhook.subscription b WHERE b.name = send_test.subscription;
	IF NOT FOUND THEN
		PERFORM webhook.undefined_subscription_error(send_test.subscription);
	END IF;
	IF send_test.wait IS NULL OR send_test.wait < interval '0' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'wait is out of range',
			DETAIL = format('%s was given; it is how long to wait for the answer, hence not negative.', coalesce(send_test.wait::text, 'null')),
			HINT = 'The default is 10 seconds; 0 does not wait.';
	END IF;
	IF send_test.entity_id IS NOT NULL AND send_test.entity_type IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'an entity_id needs an entity_type',
			DETAIL = 'Entities of several types may have the same id.',
			HINT = 'SELECT source, entity_type FROM webhook.source shows the types.';
	END IF;
	IF send_test.entity_type IS NOT NULL AND NOT EXISTS (SELECT FROM webhook.source w WHERE w.entity_type = send_test.entity_type) THEN
		RAISE undefined_object USING
			MESSAGE = format('no table is watched as "%s"', send_test.entity_type),
			DETAIL = 'No source has this entity type.',
			HINT = 'SELECT source, entity_type FROM webhook.source shows the watched tables.';
	END IF;
	SELECT * INTO worker FROM webhook.worker_status();
	IF worker.state IN ('not_running', 'suspended') THEN
		error := format('not sent: the worker is %s%s', replace(worker.state, '_', ' '), ': ' || worker.reason);
		RETURN;
	END IF;

	-- of the rows that this subscription might be told of; whether it takes updates, or is active, is not what is tested
	s.state := 'active';
	s.action_types := NULL;
	s.changed_columns := NULL;
	sample.action_type := 'update';
	-- tables that the caller owns first: anybody may call his rows what others call theirs
	FOR source IN SELECT w.source, w.trigger, w.entity_type FROM webhook.source w LEFT JOIN pg_class c ON c.oid = w.source
		WHERE w.entity_type IS NOT NULL AND coalesce(w.entity_type = send_test.entity_type, w.entity_type = ANY (s.entity_types), true)
		ORDER BY w.entity_type, pg_has_role(c.relowner, 'USAGE') DESC, w.source::text LOOP
		BEGIN
			SELECT * INTO shown FROM webhook.sample_row(source.source, source.trigger, send_test.entity_id, s.tenant, named);
		EXCEPTION WHEN assert_failure OR OTHERS THEN
			-- where an entity_id is given: it is none of this table. Else it is this table's trouble, and not that of the test
			IF code IS NULL AND NOT (send_test.entity_id IS NOT NULL AND (SQLSTATE LIKE '22%' OR SQLSTATE = '23514')) THEN
				GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			END IF;
			CONTINUE;
		END;
		sample.entity_type := source.entity_type;
		sample.entity_id := shown.entity_id;
		sample.result := shown.result;
		sample.tenant := shown.tenant;
		EXIT WHEN shown.result IS NOT NULL AND webhook.matches(s, sample);
		sample.result := NULL;
	END LOOP;
	IF sample.result IS NULL AND named AND code IS NOT NULL THEN
		RAISE USING ERRCODE = code, MESSAGE = message, DETAIL = coalesce(nullif(detail, ''), 'A row was to be read for the test.'),
			HINT = coalesce(nullif(hint, ''), 'Leave entity_type out to send a made-up event.');
	END IF;
	IF sample.result IS NULL AND send_test.entity_id IS NOT NULL THEN
		RAISE no_data_found USING
			MESSAGE = format('there is no %s "%s" for subscription "%s"', send_test.entity_type, send_test.entity_id, send_test.subscription),
			DETAIL = 'No row has this key, or the subscription''s entity_types, tenant or filter keep it from being told of it.',
			HINT = 'Leave entity_id out to have the newest row.';
	END IF;
	IF sample.result IS NULL THEN
		sample.entity_type := coalesce(send_test.entity_type, s.entity_types[1], 'test');
		sample.entity_id := 'test';
		sample.tenant := s.tenant;
		sample.result := json_build_object('test', true, 'subscription', s.name);
	END IF;
	UPDATE webhook.privileged_call o SET name = 'test', arguments = jsonb_build_object('subscription', s.name, 'entity_type', sample.entity_type,
			'entity_id', sample.entity_id, 'result', sample.result::text, 'tenant', sample.tenant)
		RETURNING o.result::bigint INTO STRICT event;
END
$$;
COMMENT ON FUNCTION webhook.send_test(text, text, text, interval) IS 'appends the event of a test, or says why not. Part of webhook.test()';

CREATE FUNCTION webhook.test_result(event bigint, since timestamptz, wait interval, OUT finished boolean, OUT http_status integer, OUT error text)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT a.http_status, CASE WHEN a.outcome <> 'delivered' THEN concat_ws(': ', a.outcome, a.error) END
		INTO http_status, error FROM webhook.attempt a WHERE a.event_number = test_result.event;
	finished := FOUND OR clock_timestamp() >= since + wait;
	IF NOT FOUND AND finished THEN
		error := format('no answer within %s%s', wait, (SELECT ': the worker is ' || concat_ws(': ', replace(w.state, '_', ' '), w.reason)
			FROM webhook.worker_status() w WHERE w.state <> 'running'));
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.test_result(bigint, timestamptz, interval) IS 'has the request of a test ended, or has it been waited for long enough? Part of webhook.test()';

CREATE PROCEDURE webhook.require_own_transaction()
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_require_own_transaction';
COMMENT ON PROCEDURE webhook.require_own_transaction() IS 'raises active_sql_transaction where its caller could not COMMIT. Part of webhook.test()';

-- It commits, so it can neither SET search_path nor be SECURITY DEFINER: everything in it is named in full.
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
	CALL webhook.require_own_transaction();
	http_status := NULL;
	SELECT t.event, t.error INTO event, error FROM webhook.send_test(subscription, entity_type, entity_id, wait) t;
	COMMIT;
	IF event IS NULL THEN
		RETURN;
	END IF;
	since := pg_catalog.clock_timestamp();
	LOOP
		SELECT r.finished, r.http_status, r.error INTO finished, http_status, error FROM webhook.test_result(event, since, wait) r;
		COMMIT; -- hold no snapshot while waiting
		EXIT WHEN finished;
		PERFORM pg_catalog.pg_sleep(0.02);
	END LOOP;
END
$$;
COMMENT ON PROCEDURE webhook.test(text, text, text, interval, integer, text) IS 'sends an event with action test to this subscription alone, whatever its state, and waits for the answer: http_status, and error (null: delivered). It is made of the row with this entity_id, else of the newest row of entity_type or of any the subscription asks for, else made up. One request, no retry, no dead letter. Outside of transaction blocks only. A row is read of a table that the caller may SELECT from, and where entity_type is not given only of one that the caller, or a role that the caller is a member of, owns';

--
-- Operators apart from each other, where the owner of the database wants that
--

CREATE TABLE webhook.operator_isolation (
	isolated boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (isolated),
	isolated_since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE webhook.operator_isolation IS 'has a row while operators are kept apart from each other: webhook.isolate_operators(). Row security of an extension''s tables is not dumped, this is, and switches it on where it is restored';
COMMENT ON COLUMN webhook.operator_isolation.isolated IS 'true';
COMMENT ON COLUMN webhook.operator_isolation.isolated_since IS 'since when';
SELECT pg_catalog.pg_extension_config_dump('webhook.operator_isolation', '');

-- of no effect until row security is switched on
CREATE POLICY own ON webhook.subscription
	USING (owner IN (SELECT r.rolname FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'USAGE')));
CREATE POLICY own ON webhook.pending USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));
CREATE POLICY own ON webhook.dead_letter USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));
CREATE POLICY own ON webhook.attempt USING (subscription_id IN (SELECT s.id FROM webhook.subscription s));

CREATE FUNCTION webhook.apply_operator_isolation() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	what CONSTANT text := CASE WHEN EXISTS (SELECT FROM webhook.operator_isolation) THEN 'ENABLE' ELSE 'DISABLE' END;
BEGIN
	EXECUTE format('ALTER TABLE webhook.subscription %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.pending %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.dead_letter %s ROW LEVEL SECURITY', what);
	EXECUTE format('ALTER TABLE webhook.attempt %s ROW LEVEL SECURITY', what);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook.apply_operator_isolation() IS 'switches row security as webhook.operator_isolation says';

CREATE TRIGGER apply_operator_isolation AFTER INSERT OR DELETE OR TRUNCATE ON webhook.operator_isolation
	FOR EACH STATEMENT EXECUTE FUNCTION webhook.apply_operator_isolation();

CREATE FUNCTION webhook.isolate_operators(isolate boolean DEFAULT true) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF isolate_operators.isolate THEN
		INSERT INTO webhook.operator_isolation DEFAULT VALUES ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM webhook.operator_isolation;
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.isolate_operators(boolean) IS 'from now on a subscription, its pending deliveries, its dead letters and its log are only for members of the role that owns it (row security; the owner of the extension and superusers see all). With false: for all who have the grants, as at first. Only the owner of the tables may call it';

--
-- Grants: nothing for anybody but the owner; capture needs none
--

REVOKE ALL ON SCHEMA webhook FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA webhook FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA webhook FROM PUBLIC;
-- Whoever makes a partition of a watched table has its triggers made for it, as himself: the server asks for EXECUTE, by oid.
-- Without USAGE on the schema nobody can name them, and called otherwise than by a trigger they refuse.
GRANT EXECUTE ON FUNCTION webhook.capture(), webhook.capture_truncate() TO PUBLIC;
-- a function in a view is called by whoever reads the view
GRANT EXECUTE ON FUNCTION webhook.capture_argument(smallint, bytea, name) TO PUBLIC;

SELECT webhook.enable_delivery();

SELECT webhook.warn_undelivered();

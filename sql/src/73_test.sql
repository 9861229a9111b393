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

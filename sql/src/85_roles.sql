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
			webhook.event_number, webhook.verify, webhook.test, webhook.enable_delivery(text),
			webhook.preview, webhook.match_preview,
			webhook.replay_preview, webhook.explain, webhook.search_log,
			webhook.create_api_token, webhook.revoke_api_token}'),
		('operator', 'TABLE', 'SELECT', '{name, role, created_at, created_by, expires_at,
			last_used_at}', '{webhook.api_token}'),
		('operator', 'TABLE', 'INSERT', '{name, role, digest, expires_at}', '{webhook.api_token}'),
		('operator', 'TABLE', 'DELETE', NULL, '{webhook.api_token}'),
		('operator', 'TABLE', 'SELECT', NULL, '{webhook.audit}'),
		('operator', 'TABLE', 'INSERT', '{action, object, details, via}', '{webhook.audit}'),
		-- what those and the views call
		('operator', 'ROUTINE', 'EXECUTE', NULL, '{webhook_internal.counters,
			webhook_internal.worker_status, webhook_internal.undefined_subscription_error,
			webhook_internal.send_test, webhook_internal.sample_row, webhook_internal.test_result,
			webhook_internal.matches, webhook_internal.matches_content, webhook_internal.asks_for,
			webhook_internal.wrapped, webhook_internal.warn_undelivered,
			webhook_internal.require_own_transaction, webhook_internal.sample_event,
			webhook_internal.render_request, webhook_internal.check_url,
			webhook_internal.check_events, webhook_internal.undefined_profile_error,
			webhook_internal.invalid_value, webhook_internal.require_at_most,
			webhook_internal.log_cursor, webhook_internal.delivery, webhook_internal.why_pending,
			webhook_internal.register, webhook_internal.change_subscription}'),

		('viewer', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('viewer', 'TABLE', 'SELECT', NULL, '{webhook.log, webhook.status, webhook.worker,
			webhook.source, webhook.attempt}'),
		-- what the views read with the viewer's rights: names, states and numbers
		('viewer', 'TABLE', 'SELECT', '{id, name, state, state_reason}', '{webhook.subscription}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id, pending_since, state, next_attempt_at}',
			'{webhook.pending}'),
		('viewer', 'TABLE', 'SELECT', '{subscription_id}', '{webhook.dead_letter}'),
		('viewer', 'ROUTINE', 'EXECUTE', NULL, '{webhook.event_id, webhook.event_number,
			webhook.search_log, webhook_internal.log_cursor, webhook_internal.delivery,
			webhook_internal.counters, webhook_internal.worker_status}'),

		('watcher', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('watcher', 'TABLE', 'SELECT', NULL, '{webhook.source}'),
		('watcher', 'ROUTINE', 'EXECUTE', NULL, '{webhook.watch, webhook.unwatch,
			webhook_internal.check_source, webhook_internal.check_watch,
			webhook_internal.named_columns, webhook_internal.watched, webhook_internal.lock_source,
			webhook_internal.watch_as, webhook_internal.make_triggers, webhook_internal.tell_watch,
			webhook_internal.watch_done, webhook_internal.warn_undelivered}'),
		('watcher', 'TABLE', 'INSERT', '{action, object, details, via}', '{webhook.audit}'),

		-- of pgwebhook serve: whose token is this, and is the worker alive
		('service', 'SCHEMA', 'USAGE', NULL, '{webhook, webhook_internal}'),
		('service', 'ROUTINE', 'EXECUTE', NULL, '{webhook_internal.authenticate,
			webhook_internal.worker_status}'))
	SELECT g.class, o.object, g.privilege, g.columns FROM given g, unnest(g.objects) o(object)
		WHERE g.kind = role_privileges.kind
$$;
COMMENT ON FUNCTION webhook_internal.role_privileges(text) IS
	'The privileges of an operator, viewer, watcher or service: a row per object and privilege, '
	'with the columns if it is not for all.';

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
	'Whether a role itself has been granted all privileges of this kind of role: operator, viewer, '
	'watcher or service.';

CREATE FUNCTION webhook_internal.change_role_privileges(role regrole, kind text, granted boolean)
	RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- the kinds share privileges, and the role keeps those that it has as another kind
	kept CONSTANT text[] := CASE
		WHEN change_role_privileges.granted THEN ARRAY[change_role_privileges.kind]
		ELSE ARRAY(SELECT k FROM unnest('{operator,viewer,watcher,service}'::text[]) k
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
	'Grants or revokes the privileges of an operator, viewer, watcher or service. Privileges that '
	'the role also has as another of these are kept.';

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

CREATE FUNCTION webhook.grant_service(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'service', true); END $$;
COMMENT ON FUNCTION webhook.grant_service(regrole) IS
	'Lets a role be the --service-role of pgwebhook serve: it may ask whose token one is, and how '
	'the worker is, and nothing else. Make it a member of the roles that tokens have. Only the '
	'owner of the extension may call it. Error undefined_object if the role does not exist, '
	'object_not_in_prerequisite_state if it owns the extension.';

CREATE FUNCTION webhook.revoke_service(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN PERFORM webhook_internal.change_role_privileges(role, 'service', false); END $$;
COMMENT ON FUNCTION webhook.revoke_service(regrole) IS
	'Revokes what webhook.grant_service() granted. Only the owner of the extension may call it. '
	'Error undefined_object if the role does not exist, object_not_in_prerequisite_state if it '
	'owns the extension.';

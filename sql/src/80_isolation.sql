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
	EXECUTE format('ALTER TABLE webhook.audit %s ROW LEVEL SECURITY', what);
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
	'members of the role that owns it, and the account of writes only to members of the role that '
	'made them, by row security; the owner of the extension and superusers '
	'see all. isolate => false: visible to all with the grants, as by default. Only the owner of '
	'the tables may call it: error insufficient_privilege otherwise.';

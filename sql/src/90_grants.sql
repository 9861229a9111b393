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

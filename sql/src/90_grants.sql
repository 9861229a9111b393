--
-- Grants: nothing for anybody but the owner; capture needs none
--

REVOKE ALL ON SCHEMA webhook, webhook_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA webhook, webhook_internal FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA webhook, webhook_internal FROM PUBLIC;
-- Whoever makes a partition of a watched table has its triggers made for it, as himself: the server asks for EXECUTE, by oid.
-- Without USAGE on the schema nobody can name them, and called otherwise than by a trigger they refuse.
GRANT EXECUTE ON FUNCTION webhook.capture(), webhook.capture_truncate() TO PUBLIC;
-- a function in a view is called by whoever reads the view
GRANT EXECUTE ON FUNCTION webhook_internal.capture_argument(smallint, bytea, name) TO PUBLIC;

SELECT webhook.enable_delivery();

SELECT webhook_internal.warn_undelivered();

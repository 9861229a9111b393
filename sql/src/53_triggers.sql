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

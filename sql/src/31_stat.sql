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

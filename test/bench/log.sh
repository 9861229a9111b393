# log: what a delivery leaves behind, and how fast people find it again. Sourced by
# run.sh, after delivery.sh.
#
# Look-ups are those of README, guide and operations, and of webhook.status, in a database
# that delivers nothing: a log of LOG_ROWS rows in seven segments, as if a million were
# written a day. 1,000 subscriptions; one of them, quiet, has its requests in the oldest
# segment only. An entity has ten requests or so. One in 200 failed.
#
# WAL and disk are of the users table of the benches, over HTTPS.

LOG_ROWS=${LOG_ROWS:-1000000} # 10,000,000 in the long run
LOG_DELIVERIES=${LOG_DELIVERIES:-20000}
LOG_PENDING=${LOG_PENDING:-100000}

# Filled through the parent as anybody would fill it, without the worker: so what the worker does beside, the
# summaries of the index by entity, is done by hand.
log_setup() {
  DB=postgres ask 'CREATE DATABASE log'
  DB=log
  sql >/dev/null <<SQL
SET synchronous_commit = off;
CREATE EXTENSION webhook;
UPDATE webhook.identity SET database_oid = 0; -- as in a copy: captures and does not deliver
INSERT INTO webhook.subscription (name, url, events) SELECT 'sub' || g, 'https://localhost/', '{user.*}' FROM generate_series(0, 998) g;
INSERT INTO webhook.subscription (name, url, events) VALUES ('quiet', 'https://localhost/', '{user.*}');
INSERT INTO webhook.attempt (started_at, event_number, subscription_id, attempt_number, http_status, duration_ms, segment, outcome, subscription,
  entity_type, entity_id, action_type, error, response)
  SELECT now() - ($LOG_ROWS - g) * interval '7 days' / $LOG_ROWS, g, s.id, 1, CASE WHEN g % 200 = 7 THEN 500 ELSE 200 END, 3.5,
    g * 7 / ($LOG_ROWS + 1), CASE WHEN g % 200 = 7 THEN 'server_error' ELSE 'delivered' END, s.name,
    'user', (hashint8(g) & 2147483647) % ($LOG_ROWS / 10), 'update', CASE WHEN g % 200 = 7 THEN 'HTTP 500' END, 'ok'
  FROM generate_series(1, $LOG_ROWS) g
  JOIN webhook.subscription s ON s.name = CASE WHEN g * 7 < $LOG_ROWS AND g % 1000 = 42 THEN 'quiet' ELSE 'sub' || (hashint8(g) & 511) END;
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment)
  SELECT (SELECT id FROM webhook.subscription WHERE name = 'sub1'), g, g, 'deferred', now(), 0 FROM generate_series(1, $LOG_PENDING) g;
SELECT sum(brin_summarize_new_values(format('webhook.attempt_%s_entity_id_idx', d))) FROM generate_series(0, 6) d;
VACUUM ANALYZE;
SQL
}

# found KEY SQL: milliseconds of a look-up, as a session's second one; its plan reads no table from end to end
found() {
  sql -c '\timing on' -c "$2" -c "$2" </dev/null | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1 | while read -r ms; do sample "$1" "$ms"; done
  ! ask "EXPLAIN $2" | grep -E 'Seq Scan on attempt_[0-6]' || die "not by an index: $2"
}

look_ups() {
  local r event entity
  event=$(ask "SELECT event_id FROM webhook.log WHERE event_number = $LOG_ROWS / 2")
  entity=$(ask "SELECT entity_id FROM webhook.log WHERE event_number = $LOG_ROWS / 3")
  for r in $(seq "$REPEATS"); do
    found log_newest 'SELECT started_at, event_id, action_type, outcome, http_status, response FROM webhook.log ORDER BY started_at DESC LIMIT 10'
    found log_id "SELECT * FROM webhook.log WHERE event_id = '$event'"
    found log_subscription "SELECT * FROM webhook.log WHERE subscription = 'sub77' ORDER BY started_at DESC LIMIT 10"
    found log_quiet "SELECT * FROM webhook.log WHERE subscription = 'quiet' ORDER BY started_at DESC LIMIT 10"
    found log_entity "SELECT * FROM webhook.log WHERE entity_type = 'user' AND entity_id = '$entity' ORDER BY started_at DESC"
    found log_no_entity "SELECT * FROM webhook.log WHERE entity_type = 'user' AND entity_id = 'none' ORDER BY started_at DESC LIMIT 10"
    found log_failures "SELECT subscription, outcome, http_status, count(*), max(started_at) AS last, min(error) AS example FROM webhook.log
      WHERE outcome <> 'delivered' AND started_at > now() - interval '1 hour' GROUP BY 1, 2, 3 ORDER BY 4 DESC"
    found log_failed "SELECT * FROM webhook.log WHERE subscription = 'sub77' AND outcome <> 'delivered' ORDER BY started_at DESC LIMIT 10"
    found log_status 'SELECT * FROM webhook.status ORDER BY oldest_pending_age DESC NULLS LAST'
  done
}

# Everything that is written: the worker's transactions and the log, and nothing of the users table or its events.
wal_since() { calc "$(ask "SELECT pg_current_wal_insert_lsn() - '$1'") / $LOG_DELIVERIES"; }
written() {
  local r from captured
  deliver_setup
  for r in $(seq "$REPEATS"); do
    subscribed "$https" "events = '{nothing.*}'"
    sql -c 'TRUNCATE users' -c CHECKPOINT </dev/null
    from=$(ask 'SELECT pg_current_wal_insert_lsn()')
    ask "INSERT INTO users SELECT * FROM seed LIMIT $LOG_DELIVERIES"
    settle
    captured=$(wal_since "$from")
    subscribed "$https" "events = '{users.*}'"
    sql -c 'TRUNCATE users' -c CHECKPOINT </dev/null
    from=$(ask 'SELECT pg_current_wal_insert_lsn()')
    ask "INSERT INTO users SELECT * FROM seed LIMIT $LOG_DELIVERIES"
    settle
    sample log_wal "$(calc "$(wal_since "$from") - $captured")"
    # the row itself, of a table that is not watched
    sql -c 'TRUNCATE users' -c 'ALTER TABLE users DISABLE TRIGGER USER' -c CHECKPOINT </dev/null
    from=$(ask 'SELECT pg_current_wal_insert_lsn()')
    ask "INSERT INTO users SELECT * FROM seed LIMIT $LOG_DELIVERIES"
    sample all_wal "$(calc "$captured + $(tail -n 1 "$WORK/samples.tsv" | cut -f 2) - $(wal_since "$from")")"
    ask 'ALTER TABLE users ENABLE TRIGGER webhook_capture'
  done
  sample log_size "$(size_of attempt)"
  sample event_size "$(size_of outbox)"
}
# size_of LOG: megabytes of a million rows, with their indexes
size_of() {
  ask "SELECT sum(pg_total_relation_size(inhrelid)) / (SELECT count(*) FROM webhook.$1)
    FROM pg_inherits WHERE inhparent = 'webhook.$1'::regclass AND pg_relation_size(inhrelid) > 0"
}

bench_log() {
  figure log_newest "log of $LOG_ROWS: the newest ten" ms '<= 50'
  figure log_id '... by the id that the receiver has' ms '<= 50'
  figure log_subscription "... a subscription's newest" ms '<= 50'
  figure log_quiet '... of one that has had none for days' ms '<= 50'
  figure log_entity "... an entity's" ms '<= 50'
  figure log_no_entity '... of one that there is not' ms '<= 50'
  figure log_failures '... failures of the last hour' ms '<= 50'
  figure log_failed "... a subscription's failures" ms '<= 50'
  figure log_status "webhook.status, 1000 subscriptions, $LOG_PENDING pending" ms '<= 50'
  figure log_wal 'WAL of a delivery' bytes
  figure all_wal 'WAL of an event and its delivery, beside the row itself' bytes '<= 800'
  figure log_size 'size of the log' 'MB per million'
  figure event_size 'size of the outbox' 'MB per million'
  written
  log_setup
  look_ups
}

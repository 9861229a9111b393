# latency: from commit to receipt, against the floor (floor_listen.c). Sourced by run.sh.
#
# One transaction per event, so far apart, in blocks: some events for the
# worker, as many for the floor, and again. The time of an event runs from its
# commit record (pg_xact_commit_timestamp, taken before WAL is flushed) to its
# arrival at the test receiver, which notes it. Both speak HTTPS, kept alive.

# seconds apart:events (per side)
SPACINGS=${SPACINGS:-2.4:15 0.3:75 0.05:500}

latency_setup() {
  DB=postgres ask 'CREATE DATABASE latency'
  DB=latency
  sql >/dev/null <<SQL
CREATE EXTENSION webhook;
CREATE TABLE watched (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, settings jsonb);
CREATE TABLE notified (LIKE watched INCLUDING ALL);
CREATE FUNCTION notify_row() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
  PERFORM pg_notify('bench', json_build_object('entity_id', NEW.id, 'result', NEW)::text); RETURN NULL; END \$\$;
CREATE TRIGGER notify AFTER INSERT ON notified FOR EACH ROW EXECUTE FUNCTION notify_row();
SELECT webhook.watch('watched');
SELECT webhook.subscribe('bench', 'https://localhost:$port/watched');
SQL
  mkfifo "$WORK/listen"
  exec 8<>"$WORK/listen"
  "${as_user[@]}" "$WORK/bin/floor_listen" "host=$WORK/socket user=postgres dbname=latency" bench "https://localhost:$port/notified" \
    "$WORK/certs/ca.pem" <"$WORK/listen" >"$WORK/listening" 2>&1 8>&- &
  wait_until 10 'the floor listens' grep -q listening "$WORK/listening"
}

arrived() { [ "$(cat "$WORK/receiver/requests.jsonl" 2>/dev/null | wc -l)" -ge "$1" ]; }

# events TABLE SECONDS N: N transactions so far apart; appends "SECONDS<tab>ms" of each to $WORK/times.TABLE
events() {
  local table=$1 spacing=$2 n=$3 first
  first=$(ask "SELECT coalesce(max(id), 0) + 1 FROM $table")
  expected=$((expected + n))
  # the pauses are the benchmark's load
  for _ in $(seq "$n"); do
    printf 'INSERT INTO %s (email, settings) VALUES (%s, %s);\nSELECT pg_sleep(%s);\n' "$table" \
      "'somebody@example.com'" "jsonb_build_object('pad', repeat('x', 300))" "$spacing"
  done | sql >/dev/null
  wait_until 60 "$expected requests have arrived" arrived "$expected"
  sql -F ' ' -c "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM $table WHERE id >= $first ORDER BY id" </dev/null |
    "${as_user[@]}" node test/bench/arrivals.mjs "/$table" "$WORK/receiver/requests.jsonl" | sed "s/^/$spacing\t/" >>"$WORK/times.$table"
}

# percentile SHARE TABLE SPACING [LAST]: of all its times, or of the LAST ones
percentile() {
  awk -v s="$3" '$1 == s { print $2 }' "$WORK/times.$2" | tail -n "${4:-1000000}" | sort -n |
    awk -v p="$1" '{ t[NR] = $1 } END { i = int(NR * p); if (i < NR * p) i++; print t[i] }'
}

bench_latency() {
  local expected=0 pair spacing n block r table
  for pair in $SPACINGS; do
    spacing=${pair%:*}
    figure "median_$spacing" "every $spacing s: median" ms
    figure "floor_median_$spacing" "every $spacing s: floor's median" ms
    figure "median_ratio_$spacing" "every $spacing s: median / floor's" ratio '<= 1.2'
    figure "p99_$spacing" "every $spacing s: p99 of all ${pair#*:}" ms
    figure "floor_p99_$spacing" "every $spacing s: floor's p99" ms
    figure "p99_ratio_$spacing" "every $spacing s: p99 / floor's" ratio '<= 2'
  done
  start_receiver /dev/null --ignore-stdin --ttl 7200 --no-http2
  build_floor floor_listen -lcurl -lpq
  latency_setup
  events watched 0.05 220 # a worker that began less than 10 s ago works checkpoint first: see docs/internals/sending.md
  events notified 0.05 20
  rm -f "$WORK"/times.*
  for r in $(seq "$REPEATS"); do
    for pair in $SPACINGS; do
      spacing=${pair%:*} n=${pair#*:}
      block=$(((n + REPEATS - 1) / REPEATS))
      events watched "$spacing" "$block"
      events notified "$spacing" "$block"
      sample "median_$spacing" "$(percentile 0.5 watched "$spacing" "$block")"
      sample "floor_median_$spacing" "$(percentile 0.5 notified "$spacing" "$block")"
      sample "median_ratio_$spacing" "$(calc "$(percentile 0.5 watched "$spacing" "$block") / $(percentile 0.5 notified "$spacing" "$block")")"
    done
  done
  for pair in $SPACINGS; do
    spacing=${pair%:*}
    sample "p99_$spacing" "$(percentile 0.99 watched "$spacing")"
    sample "floor_p99_$spacing" "$(percentile 0.99 notified "$spacing")"
    sample "p99_ratio_$spacing" "$(calc "$(percentile 0.99 watched "$spacing") / $(percentile 0.99 notified "$spacing")")"
  done
  exec 8>&-
  latency_under_load
}

# Half of what the worker can drain, as transactions of ten rows. A request is over when it has been received, so its end is a time not before its receipt.
latency_under_load() {
  local r before load
  figure load_rate 'under load: half of the maximum, offered' 'events/s'
  figure load_median 'under load: median' ms
  figure load_p99 'under load: p99' ms '< 50'
  deliver_setup
  subscribed "$https"
  drain 50000
  load=$(calc "$rate / 20") # transactions
  sql -c 'TRUNCATE users' -c 'CREATE SEQUENCE IF NOT EXISTS load_id' </dev/null
  "${as_user[@]}" tee "$WORK/load.sql" >/dev/null <<'SQL'
INSERT INTO users SELECT nextval('load_id'), email, name, role, balance, settings, created_at, is_active FROM seed LIMIT 10;
SQL
  for r in $(seq "$REPEATS"); do
    before=$(last_event)
    quietly pgbench "${as_user[@]}" pgbench -n -h "$WORK/socket" -U postgres -c 4 -j 1 -M prepared -T 5 -R "$load" -f "$WORK/load.sql" "$DB"
    settle
    sample load_rate "$(calc "$load * 10")"
    ask "CREATE TEMP TABLE t AS SELECT extract(epoch FROM a.started_at - pg_xact_commit_timestamp(o.xmin)) * 1000 + a.duration_ms AS ms
        FROM webhook.outbox o JOIN webhook.attempt a ON a.event_number = o.event_number WHERE o.event_number > $before;
      SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) || ' ' || percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM t" >"$WORK/load"
    read -r median p99 <"$WORK/load"
    sample load_median "$median"
    sample load_p99 "$p99"
  done
}

# stream: small commits, one after another, while the worker delivers. Sourced by
# run.sh, after delivery.sh.
#
# What the worker's CPU per event is in a stream of single-row transactions at a given
# rate, against its CPU per event in a backlog, which the same repeat drains. And what is
# left of the rate of unwatched transactions when the machine is saturated.

STREAM_RATES=${STREAM_RATES:-1000:2.5 2000:2 4000:1.5} # commits a second:target
STREAM_SECONDS=${STREAM_SECONDS:-4}
STREAM_BACKLOG=${STREAM_BACKLOG:-20000}

# cpu_us PID: time on a CPU so far, in µs; finer than cpu_ticks
cpu_us() { awk '{ printf "%.0f", $1 / 1000 }' "/proc/$1/schedstat"; }

# commits CLIENTS SECONDS [OPTION...]: single-row transactions; sets tps
commits() {
  local clients=$1 seconds=$2
  shift 2
  tps=$("${as_user[@]}" pgbench -n -h "$WORK/socket" -U postgres -c "$clients" -j 1 -M prepared -T "$seconds" "$@" \
    -f "$WORK/one.sql" "$DB" </dev/null 2>&1 | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
}

stream_setup() {
  deliver_setup
  subscribed "$https"
  sql -c 'TRUNCATE users' -c 'CREATE SEQUENCE stream_id' </dev/null
  "${as_user[@]}" tee "$WORK/one.sql" >/dev/null <<SQL
INSERT INTO users VALUES (nextval('stream_id'), 'somebody@example.com', 'Somebody Else', 'customer', 1250.50,
  '{"theme": "dark", "pad": "$(printf 'x%.0s' {1..180})"}', now(), true);
SQL
  commits 4 12 -R 500 # a worker that began less than 10 s ago works checkpoint first: see docs/internals/sending.md
  settle
}

# stream RATE: sets cpu (µs of the worker's per event) and median (ms from commit to the end of the request). As many
# clients as it takes to commit that often on a slow disk.
stream() {
  local before pid used
  sql -c 'TRUNCATE users' -c CHECKPOINT </dev/null
  settle
  before=$(last_event)
  pid=$(worker_pid)
  used=$(cpu_us "$pid")
  commits 16 "$STREAM_SECONDS" -R "$1"
  settle
  used=$(($(cpu_us "$pid") - used))
  cpu=$(calc "$used / ($(last_event) - $before)")
  median=$(ask "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY
      extract(epoch FROM a.started_at - pg_xact_commit_timestamp(o.xmin)) * 1000 + a.duration_ms)
    FROM webhook.outbox o JOIN webhook.attempt a ON a.event_number = o.event_number WHERE o.event_number > $before")
}

# saturated ENABLE|DISABLE PATTERN: sets tps, of a table that is watched or not, of which a subscription asks for this
saturated() {
  subscribed "$https" "events = '{$2}'"
  sql -c 'TRUNCATE users' -c "ALTER TABLE users $1 TRIGGER webhook_capture" -c CHECKPOINT </dev/null
  commits 4 "$STREAM_SECONDS"
  sql -c 'ALTER TABLE users ENABLE TRIGGER webhook_capture' </dev/null
  settle
}

bench_stream() {
  local r pair rate backlog none
  figure stream_backlog 'backlog: CPU of the worker' 'µs/event'
  for pair in $STREAM_RATES; do
    rate=${pair%:*}
    figure "stream_tps_$rate" "$rate commits/s: committed" '1/s'
    figure "stream_cpu_$rate" "$rate commits/s: CPU of the worker" 'µs/event'
    figure "stream_ratio_$rate" "$rate commits/s: CPU / that in a backlog" ratio "<= ${pair#*:}"
    figure "stream_median_$rate" "$rate commits/s: median, commit to the response" ms
  done
  figure saturated_none 'saturated: single-row transactions, 4 clients, not watched' '1/s'
  figure saturated_nobody '... watched, nobody subscribed / not watched' share '>= 0.92'
  figure saturated_live '... watched, delivering over HTTPS / not watched' share '>= 0.75'
  stream_setup
  for r in $(seq "$REPEATS"); do
    local pid used
    sql -c 'TRUNCATE users' </dev/null
    pid=$(worker_pid)
    used=$(cpu_us "$pid")
    ask "INSERT INTO users SELECT * FROM seed LIMIT $STREAM_BACKLOG"
    settle
    backlog=$(calc "($(cpu_us "$pid") - $used) / $STREAM_BACKLOG")
    sample stream_backlog "$backlog"
    for pair in $STREAM_RATES; do
      rate=${pair%:*}
      stream "$rate"
      sample "stream_tps_$rate" "$tps"
      sample "stream_cpu_$rate" "$cpu"
      sample "stream_ratio_$rate" "$(calc "$cpu / $backlog")"
      sample "stream_median_$rate" "$median"
    done
    saturated DISABLE '*.*'
    none=$tps
    sample saturated_none "$none"
    saturated ENABLE 'nothing.*'
    sample saturated_nobody "$(calc "$tps / $none")"
    saturated ENABLE '*.*'
    sample saturated_live "$(calc "$tps / $none")"
  done
}

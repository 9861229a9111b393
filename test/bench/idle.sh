# idle: what it costs when there is nothing to do, or nothing that can be done.
# Sourced by run.sh, after delivery.sh.

DEFERRED=${DEFERRED:-100000}
SUBSCRIPTIONS=${SUBSCRIPTIONS:-10000}
WATCH_SECONDS=10 # for so long the resting worker is watched

# Transactions that have ended in the database, as another one sees them; so asking is not counted.
transactions() { DB=postgres ask "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'deliver'"; }
is_deferred() { [ "$(ask 'SELECT count(*) FROM webhook.pending')" -ge "$1" ]; }
# at_rest: has the worker done nothing for three seconds, and has all that it did been counted?
at_rest() {
  local ticks pid before
  pid=$(worker_pid)
  ticks=$(cpu_ticks "$pid")
  before=$(transactions)
  sleep 3
  [ $(($(cpu_ticks "$pid") - ticks)) -le 1 ] && [ "$(transactions)" -le $((before + 1)) ] # one asked for its pid
}

# Memory that is no file and no shared memory: of the latter, what nobody else has touched yet counts as private.
anonymous_kb() { "${as_user[@]}" awk '/^Anonymous/ { print $2 }' "/proc/$1/smaps_rollup"; }

restart_server() { # with OPTIONS
  quietly 'restarting the server' "${as_user[@]}" pg_ctl restart -w -D "$WORK/data" -l "$WORK/server.log" -m fast -o "$1"
}

# Of a worker that has delivered a little since it began.
memory_at_rest() {
  local r
  for r in $(seq "$REPEATS"); do
    restart_server ''
    drain 1000
    wait_until 60 'the worker rests' at_rest
    sample rest "$(calc "$(anonymous_kb "$(worker_pid)") / 1024")"
  done
}

idle() {
  local r before
  for r in $(seq "$REPEATS"); do
    before=$(transactions)
    sleep "$WATCH_SECONDS"
    sample idle "$(($(transactions) - before))"
  done
}

hurt() {
  local r pid ticks dead
  dead=$(free_port)
  subscribed "https://localhost:$dead/"
  sql -c 'TRUNCATE users' </dev/null
  ask "INSERT INTO users SELECT * FROM seed LIMIT $DEFERRED"
  wait_until 120 "$DEFERRED deliveries are deferred" is_deferred "$DEFERRED"
  wait_until 60 'the worker rests' at_rest
  pid=$(worker_pid)
  for r in $(seq "$REPEATS"); do
    ticks=$(cpu_ticks "$pid")
    sleep "$WATCH_SECONDS"
    sample hurt "$(calc "($(cpu_ticks "$pid") - $ticks) / $WATCH_SECONDS")"
  done
  ask "DELETE FROM webhook.subscription WHERE name = 'bench'"
  sql -c 'TRUNCATE webhook.pending' -c "SELECT webhook.subscribe('bench', '$https')" </dev/null >/dev/null
}

# The worker's start, from the process's to its first request, for an event that waits for it.
many_subscriptions() {
  local r before pid
  sql -c "INSERT INTO webhook.subscription (name, url, events) SELECT 'idle ' || g, 'https://localhost/' || g, '{nothing.*}'
    FROM generate_series(1, $SUBSCRIPTIONS) g" </dev/null
  for r in $(seq "$REPEATS"); do
    quietly 'stopping the server' "${as_user[@]}" pg_ctl stop -D "$WORK/data" -m fast
    # without preload the event is captured and nothing is sent
    quietly 'starting the server' "${as_user[@]}" pg_ctl start -w -D "$WORK/data" -l "$WORK/server.log" -o "-c shared_preload_libraries=''"
    before=$(last_event)
    sql -c 'TRUNCATE users' -c 'INSERT INTO users SELECT * FROM seed LIMIT 1' </dev/null
    restart_server '-c shared_preload_libraries=webhook'
    settle
    pid=$(worker_pid)
    sample start "$(ask "SELECT extract(epoch FROM (SELECT min(started_at) FROM webhook.attempt WHERE event_number > $before) - backend_start) * 1000
      FROM pg_stat_activity WHERE pid = $pid")"
    sample memory "$(calc "$(private_kb "$pid") / 1024")"
    sample memory_alone "$(calc "$(anonymous_kb "$pid") / 1024")"
  done
  ask "DELETE FROM webhook.subscription WHERE name LIKE 'idle %'"
}

bench_idle() {
  figure idle "transactions of an idle worker in $WATCH_SECONDS s" count '<= 0'
  figure hurt "CPU with a dead endpoint and $DEFERRED events deferred" '%' '< 1'
  figure start "start with $SUBSCRIPTIONS subscriptions, to the first request" ms '< 1000'
  figure memory "memory of the worker then, its own" MB
  figure memory_alone '... without shared memory' MB '<= 25'
  figure rest 'memory of a worker at rest, without shared memory' MB '<= 6'
  deliver_setup
  subscribed "$https"
  memory_at_rest
  idle
  hurt
  many_subscriptions
}

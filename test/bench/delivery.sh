# delivery: one worker process against the floor (floor_send.c), both to the
# same nginx. Sourced by run.sh.
#
# The worker drains a backlog that one transaction commits; its rate runs from
# that commit to the checkpoint that says all is settled and logged. The floor
# sends the bodies that the worker sends, with as many in flight.

BACKLOG=${BACKLOG:-200000}            # over HTTPS, HTTP/1.1
BACKLOG_OTHER=${BACKLOG_OTHER:-50000} # over plain HTTP and HTTP/2
BACKLOG_10K=${BACKLOG_10K:-20000}     # over HTTPS, of 10 kB each
BACKLOG_100K=${BACKLOG_100K:-4000}    # of 100 kB
MANY=${MANY:-1000}                    # host names

# The database that bench_delivery, bench_idle, bench_fresh and bench_flatness use.
deliver_setup() {
  DB=deliver
  [ -z "${deliver_ready:-}" ] || return 0
  deliver_ready=1
  DB=postgres ask 'CREATE DATABASE deliver'
  sql -c 'CREATE EXTENSION webhook' </dev/null
  users_table 2000000
  sql -c "SELECT webhook.watch('users')" -c "SELECT webhook.subscribe('bench', '$plain')" </dev/null >/dev/null
  wait_until 30 'the worker runs' worker_runs
  drain 2000
  sql -c "SELECT json_build_object('entity_id', entity_id, 'entity_type', entity_type, 'action_type', action_type, 'result', result)
    FROM webhook.outbox ORDER BY event_number LIMIT 1000" </dev/null | "${as_user[@]}" tee "$WORK/bodies" >/dev/null
}
worker_runs() { [ -n "$(worker_pid)" ]; }

# send_floor URL REQUESTS [fresh [BODIES]]: sets floor_rate and floor_cpu
send_floor() {
  local out
  out=$("${as_user[@]}" "$WORK/bin/floor_send" "$1" "$2" 50 "$WORK/certs/ca.pem" "${4:-$WORK/bodies}" ${3:-})
  floor_rate=${out% *} floor_cpu=${out#* }
}

# against KIND URL EVENTS: the worker and the floor, once each
against() {
  subscribed "$2"
  drain "$3"
  send_floor "$2" "$3"
  sample "rate_$1" "$rate"
  sample "floor_rate_$1" "$floor_rate"
  sample "rate_ratio_$1" "$(calc "$rate / $floor_rate")"
  sample "cpu_$1" "$cpu"
  sample "floor_cpu_$1" "$floor_cpu"
}

# Documents of about so many bytes, 100 different ones: keys and words that compress, and values that do not.
documents() {
  sql <<SQL
CREATE TABLE document (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content jsonb);
ALTER TABLE document ALTER content SET STORAGE EXTERNAL;
CREATE TABLE document_seed AS SELECT kind, n, (SELECT jsonb_agg(jsonb_build_object('sku', md5(n || ' ' || i),
    'description', 'Item number ' || i || ' of order ' || n, 'quantity', i % 7, 'price', (i * 37 % 1000)::numeric(9,2),
    'reference', md5(i || ' ' || n))) FROM generate_series(1, items) i) AS content
  FROM (VALUES ('10k', 56), ('100k', 556)) AS kinds(kind, items), generate_series(0, 99) n;
SELECT webhook.watch('document');
SQL
}

# large KIND EVENTS: the worker and the floor with such documents, once each
large() {
  local bodies=$WORK/bodies.$1
  sql -c 'TRUNCATE document' </dev/null
  settle
  drain "$2" "INSERT INTO document (content) SELECT s.content FROM generate_series(1, $2) g JOIN document_seed s ON s.kind = '$1' AND s.n = g % 100"
  [ -s "$bodies" ] || sql -c "SELECT json_build_object('entity_id', entity_id, 'entity_type', entity_type, 'action_type', action_type, 'result', result)
    FROM webhook.outbox WHERE entity_type = 'document' AND action_type = 'new' ORDER BY event_number DESC LIMIT 100" </dev/null |
    "${as_user[@]}" tee "$bodies" >/dev/null
  send_floor "$https" "$2" '' "$bodies"
  sample "rate_$1" "$rate"
  sample "floor_rate_$1" "$floor_rate"
  sample "rate_ratio_$1" "$(calc "$rate / $floor_rate")"
  sample "cpu_$1" "$cpu"
  sample "floor_cpu_$1" "$floor_cpu"
}

has_batches() { [ "$(ask "SELECT count(*) FROM pg_attribute WHERE attrelid = 'webhook.subscription'::regclass AND attname = 'batch_size'")" = 1 ]; }

# many_hosts PORT: MANY subscriptions to as many host names, which libcurl knows to be this machine
many_hosts() {
  sql -c "INSERT INTO webhook.subscription (name, url, events)
    SELECT 'many ' || g, format('https://h%s.many.localhost:$1/', to_char(g, 'FM0000')), '{many.*}' FROM generate_series(1, $MANY) g" \
    -c 'CREATE TABLE IF NOT EXISTS many (id bigint PRIMARY KEY, note text)' -c "SELECT webhook.watch('many')" </dev/null >/dev/null
}
no_many_hosts() { ask "DELETE FROM webhook.subscription WHERE name LIKE 'many %'"; }

# many_events N: N events for all of them; sets rate and cpu, per delivery
many_events() {
  local pid ticks before
  pid=$(worker_pid) ticks=$(cpu_ticks "$(worker_pid)") before=$(last_event)
  ask "INSERT INTO many SELECT coalesce((SELECT max(id) FROM many), 0) + g, repeat('x', 300) FROM generate_series(1, $1) g"
  settle
  cpu=$(calc "($(cpu_ticks "$pid") - $ticks) * 10000 / $1 / $MANY")
  rate=$(rate_since "$before" $(($1 * MANY)))
}

bench_delivery() {
  local kind r
  for kind in https 10k 100k plain h2; do
    local text='HTTPS, HTTP/1.1' target='>= 0.8'
    [ $kind != 10k ] || text='HTTPS, bodies of 10 kB' target='>= 0.85'
    [ $kind != 100k ] || text='HTTPS, bodies of 100 kB' target='>= 0.85'
    [ $kind != plain ] || text='plain HTTP' target=
    [ $kind != h2 ] || text='HTTPS, HTTP/2' target=
    figure rate_$kind "$text: worker" 'deliveries/s'
    figure floor_rate_$kind "$text: floor" 'requests/s'
    figure rate_ratio_$kind "$text: worker / floor" ratio "$target"
    figure cpu_$kind "$text: CPU of the worker" 'µs/delivery'
    figure floor_cpu_$kind "$text: CPU of the floor" 'µs/request'
  done
  figure fresh_ratio 'HTTPS, HTTP/1.1: worker / floor with a handle for each request, as the worker has before libcurl 8.1.1' ratio
  figure fresh_cpu 'HTTPS, HTTP/1.1: CPU of that floor' 'µs/request'
  figure rate_batch 'HTTPS, batch_size 100' 'events/s'
  figure rate_many "$MANY subscriptions on as many host names" 'deliveries/s'
  build_floor floor_send -lcurl -lcrypto
  deliver_setup
  documents
  for r in $(seq "$REPEATS"); do
    against https "$https" "$BACKLOG"
    send_floor "$https" "$BACKLOG" fresh
    sample fresh_ratio "$(calc "$rate / $floor_rate")"
    sample fresh_cpu "$floor_cpu"
    large 10k "$BACKLOG_10K"
    large 100k "$BACKLOG_100K"
    against plain "$plain" "$BACKLOG_OTHER"
    against h2 "$h2" "$BACKLOG_OTHER"
    if has_batches; then
      subscribed "$https" 'batch_size = 100'
      drain "$BACKLOG_OTHER"
      sample rate_batch "$rate"
      subscribed "$https" 'batch_size = 1'
    fi
  done
  has_batches || note 'batch_size: not there yet.'
  many_hosts "$many_port"
  many_events 2
  for r in $(seq "$REPEATS"); do
    many_events 5
    sample rate_many "$rate"
  done
  no_many_hosts
  subscribed "$https"
  split_cpu
}

# Where the worker's time goes: samples of its stack, each counted for the innermost of our functions that says what it is about.
split_cpu() {
  local pid of=$WORK/perf.data as=("${as_user[@]}")
  [ "$(id -u)" != 0 ] || as=()
  pid=$(worker_pid)
  if ! command -v perf >/dev/null || ! "${as[@]}" perf record -e cpu-clock -o "$of" -- true >/dev/null 2>&1; then
    note 'Split of the CPU per delivery: no perf here.'
    return 0
  fi
  "${as[@]}" perf record -q -e cpu-clock -F 199 --call-graph dwarf,16384 -o "$of" -p "$pid" -- sleep 600 >/dev/null 2>&1 &
  local perf_pid=$!
  drain "$BACKLOG_OTHER"
  kill -INT "$perf_pid"
  wait "$perf_pid" || true
  note "$("${as[@]}" perf script --no-inline -i "$of" -F ip,sym,dso 2>/dev/null | awk -f test/bench/split.awk)"
}

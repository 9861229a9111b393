# flight: many subscriptions whose receivers take 100 ms to answer, over HTTPS.
# Sourced by run.sh.
#
# What one worker sends then is the number of requests it has in flight, divided by
# that time, until its CPU is the limit. The receiver is an nginx of its own, which
# waits without blocking (echo_sleep). Each subscription has a host name of its own.
# Then as many connections as one worker may have, all of them waiting for an answer:
# what do they cost in memory?

SLOW=${SLOW:-20}                 # subscriptions
SLOW_EVENTS=${SLOW_EVENTS:-8000} # for each of them
SLOW_MS=${SLOW_MS:-100}          # until a request is answered
SLOW_EACH=${SLOW_EACH:-150}      # max_in_flight of each, where it is set
HELD=${HELD:-10000}              # connections

# An nginx that answers after a while; sets slow_port.
start_slow_nginx() {
  slow_port=$(free_port)
  "${as_user[@]}" mkdir -p "$WORK/slow"
  sed -e "s|$WORK/nginx/|$WORK/slow/|g" -e '/^http {/,$d' -e '/^events/d' "$WORK/nginx/nginx.conf" | "${as_user[@]}" tee "$WORK/slow/nginx.conf" >/dev/null
  "${as_user[@]}" tee -a "$WORK/slow/nginx.conf" >/dev/null <<CONF
worker_rlimit_nofile $(ulimit -Hn);
events { worker_connections $((HELD + 1000)); }
http {
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 3600s;
  client_body_temp_path $WORK/slow/body;
  proxy_temp_path $WORK/slow/proxy;
  fastcgi_temp_path $WORK/slow/fastcgi;
  uwsgi_temp_path $WORK/slow/uwsgi;
  scgi_temp_path $WORK/slow/scgi;
  ssl_certificate $WORK/certs/many.pem;
  ssl_certificate_key $WORK/certs/many.key;
  server {
    listen 127.0.0.1:$slow_port ssl backlog=16384;
    location / { echo_read_request_body; echo_sleep $((SLOW_MS / 1000)).$(printf %03d $((SLOW_MS % 1000))); echo ok; }
    location /held/ { echo_read_request_body; echo_sleep 120; echo ok; }
  }
}
CONF
  setsid "${as_user[@]}" nginx -c "$WORK/slow/nginx.conf" -e "$WORK/slow/error.log" </dev/null >/dev/null 2>&1 &
  nginx_pid+=" $!"
  wait_until 10 "the slow nginx has started" test -s "$WORK/slow/pid"
}

# slow_events N: for each of the subscriptions; sets rate and cpu, per delivery
slow_events() {
  local pid ticks before
  pid=$(worker_pid) ticks=$(cpu_ticks "$(worker_pid)") before=$(last_event)
  ask "INSERT INTO slow (note) SELECT repeat('x', 300) FROM generate_series(1, $1) g"
  settle
  cpu=$(calc "($(cpu_ticks "$pid") - $ticks) * 10000 / $1 / $SLOW")
  rate=$(rate_since "$before" $(($1 * SLOW)))
}

# slow_subscriptions PATH CHANGES: all of them lead there
slow_subscriptions() {
  local path=$1
  ask "UPDATE webhook.subscription SET url = format('https://h%s.many.localhost:$slow_port$path', substr(name, 6)), $2 WHERE name LIKE 'slow %'" >/dev/null
}

setting() {
  printf '%s\n' "$@" | "${as_user[@]}" tee -a "$WORK/data/postgresql.conf" >/dev/null
  ask 'SELECT pg_reload_conf()' >/dev/null
}

in_flight() { ask 'SELECT coalesce(in_flight, 0) FROM webhook.worker'; }
none_in_flight() { [ "$(in_flight)" = 0 ]; }
are_held() { [ "$(in_flight)" -ge "$1" ]; }

bench_flight() {
  local r kb n step
  figure flight_default "$SLOW subscriptions, answers after $SLOW_MS ms, no setting" 'deliveries/s'
  figure flight_rate "$SLOW subscriptions, answers after $SLOW_MS ms, max_in_flight $SLOW_EACH" 'deliveries/s' '>= 20000'
  figure flight_cpu 'the same: CPU of the worker' 'µs/delivery'
  figure flight_held "requests in flight, where $HELD may be" requests
  figure flight_memory 'the same: memory of the worker per connection' kB '<= 80'
  deliver_setup
  start_slow_nginx
  sql -c 'CREATE TABLE slow (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)' -c "SELECT webhook.watch('slow')" \
    -c "INSERT INTO webhook.subscription (name, url, events)
      SELECT 'slow ' || to_char(g, 'FM0000'), 'https://localhost/', '{slow.*}' FROM generate_series(1, $SLOW) g" </dev/null >/dev/null
  ask "UPDATE webhook.subscription SET events = '{users.*}' WHERE name = 'bench'" >/dev/null
  for r in $(seq "$REPEATS"); do
    slow_subscriptions / 'max_in_flight = DEFAULT'
    slow_events 200 # opens the connections
    slow_events $((SLOW_EVENTS / 4))
    sample flight_default "$rate"
    slow_subscriptions / "max_in_flight = $SLOW_EACH"
    slow_events 400
    slow_events "$SLOW_EVENTS"
    sample flight_rate "$rate"
    sample flight_cpu "$cpu"
  done
  setting "webhook.max_in_flight = $HELD" "webhook.worker_memory = '4GB'"
  slow_subscriptions /held/ "max_in_flight = 1000, timeout = '3min'"
  settle
  kb=$(private_kb "$(worker_pid)")
  # a subscription has no more than are left free, so some always are; and not all connections at once
  for step in 1 2 3 4 5 6 7 8; do
    n=$((HELD * step / 8 / (SLOW + 1) * SLOW))
    ask "INSERT INTO slow (note) SELECT repeat('x', 300) FROM generate_series(1, $((HELD / SLOW / 8))) g"
    wait_until 60 "$n are in flight" are_held $((n * 97 / 100))
  done
  n=$(in_flight)
  sample flight_held "$n"
  sample flight_memory "$(calc "($(private_kb "$(worker_pid)") - $kb) / $n")"
  # what is still held ends with its receiver, so that the next part begins at rest
  kill "$(cat "$WORK/slow/pid")"
  ask "DELETE FROM webhook.subscription WHERE name LIKE 'slow %'" >/dev/null
  wait_until 60 'nothing is in flight' none_in_flight
  ask "UPDATE webhook.subscription SET events = DEFAULT WHERE name = 'bench'" >/dev/null
  setting 'webhook.max_in_flight = 0' "webhook.worker_memory = '512MB'"
}

# What the benchmarks share; sourced by run.sh, never run.
#
# A figure is declared once (figure KEY TEXT UNIT [TARGET]) and measured at
# least REPEATS times (sample KEY VALUE). What is compared is measured by turns
# within one repeat, and the ratio of the two is a figure of its own. report.mjs
# makes the table of it.

figure() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}" >>"$WORK/figures.tsv"; }
sample() {
  printf '%s\t%s\n' "$1" "$2" >>"$WORK/samples.tsv"
  [ -z "${VERBOSE:-}" ] || say "    $1 $2"
}
# note TEXT: a line beneath the table
note() { printf '%s\n' "$*" >>"$WORK/notes.txt"; }

# calc EXPRESSION: arithmetic with fractions
calc() { awk "BEGIN { printf \"%.4f\", $1 }"; }

# ------------------------------------------------------------------- the server

DB=postgres # where sql and timed work

sql() { PSQL -q -d "$DB" -At "$@"; }
# ask SQL: one value
ask() { sql -c "$1" </dev/null; }

# timed SQL [SETUP]: milliseconds of one statement, its commit included. Not flushed: the disk is not what is measured.
timed() {
  sql -c CHECKPOINT -c 'SET synchronous_commit = off' -c "${2:-SELECT}" -c '\timing on' -c "$1" </dev/null |
    sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1
}

# The source: 8 columns, about 400 bytes as JSON. seed holds rows to fill it with.
users_table() {
  local rows=$1
  sql <<SQL
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, name text, role text, balance numeric(12,2),
  settings jsonb, created_at timestamptz, is_active boolean);
CREATE TABLE seed AS SELECT g::bigint AS id, 'user' || g || '@example.com' AS email, 'Somebody Numbered ' || g AS name,
  'customer'::text AS role, (g % 100000)::numeric(12,2) AS balance,
  jsonb_build_object('theme', 'dark', 'pad', repeat('x', 180)) AS settings, now() AS created_at, true AS is_active
  FROM generate_series(1, $rows) g;
VACUUM ANALYZE seed;
SQL
}

worker_pid() { ask "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = '$DB'"; }
# cpu_ticks PID: user and system time used so far, in 1/100 s
cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
# private_kb PID: memory that is its own
private_kb() { "${as_user[@]}" awk '/^Private/ { kb += $2 } END { print kb }' "/proc/$1/smaps_rollup"; }

settled_hi() { ask "SELECT coalesce((SELECT hi FROM webhook.checkpoint WHERE kind = 'settled' ORDER BY id DESC LIMIT 1), 0)"; }
last_event() { ask 'SELECT coalesce(max(event_number), 0) FROM webhook.outbox'; }
is_settled() { [ "$(settled_hi)" -ge "$1" ] && [ "$(ask 'SELECT EXISTS (SELECT FROM webhook.pending)')" = f ]; }
# settle: wait until every event so far is settled, and what had to be deferred on the way as well
settle() { wait_until 900 "everything is settled" is_settled "$(last_event)"; }

# subscribed URL [SETTING...]: the subscription "bench" now leads there
subscribed() {
  local url=$1
  shift
  ask "UPDATE webhook.subscription SET url = '$url'${*:+, $*} WHERE name = 'bench'" >/dev/null
}

# drain EVENTS [STATEMENT]: commits a backlog at once and waits until it is settled;
# sets rate (deliveries per second, from the commit to the last checkpoint) and cpu
# (microseconds of the worker's per delivery).
drain() {
  local events=$1 before pid ticks
  sql -c 'TRUNCATE users' </dev/null
  before=$(last_event)
  pid=$(worker_pid)
  ticks=$(cpu_ticks "$pid")
  ask "${2:-INSERT INTO users SELECT * FROM seed LIMIT $events}"
  settle
  cpu=$(calc "($(cpu_ticks "$pid") - $ticks) * 10000 / $events")
  rate=$(rate_since "$before" "$events")
}

# rate_since EVENT DELIVERIES: per second, from the commit of the event after it to the end of the last request or,
# if it is later, the checkpoint that settles the last event
rate_since() {
  local delivered end
  IFS='|' read -r delivered end < <(ask "SELECT count(*) FILTER (WHERE outcome = 'delivered'),
    extract(epoch FROM greatest(max(started_at + duration_ms * interval '1 ms'),
      (SELECT recorded_at FROM webhook.checkpoint WHERE kind = 'settled' AND hi >= $(last_event) ORDER BY id LIMIT 1)))
    FROM webhook.attempt WHERE event_number > $1")
  [ "$delivered" -ge "$2" ] || {
    PSQL -d "$DB" -c "SELECT outcome, error, count(*) FROM webhook.attempt WHERE event_number > $1 GROUP BY 1, 2" </dev/null >&2
    die "only $delivered of $2 deliveries succeeded"
  }
  ask "SELECT round($2 / ($end - extract(epoch FROM pg_xact_commit_timestamp(xmin)))) FROM webhook.outbox WHERE event_number > $1 ORDER BY event_number LIMIT 1"
}

# ----------------------------------------------------------------- the receiver

free_port() { "${as_user[@]}" node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'; }

# start_nginx: an endpoint that reads each request whole and answers 200, as fast
# as it can; sets nginx_pid, the URLs plain, https and h2, and for many host names
# many_port and fresh_port, where each connection is closed after its request. (A
# mere "return" would not wait for the body, and end HTTP/2 streams that still send.)
start_nginx() {
  local p=$(free_port) t=$(free_port) h=$(free_port) m=$(free_port) f=$(free_port)
  "${as_user[@]}" mkdir -p "$WORK/nginx"
  "${as_user[@]}" tee "$WORK/nginx/nginx.conf" >/dev/null <<CONF
daemon off;
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
worker_processes 1;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
events { worker_connections 4096; }
http {
  log_format fresh '\$connection_requests \$ssl_session_reused';
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 3600s;
  client_body_temp_path $WORK/nginx/body;
  proxy_temp_path $WORK/nginx/proxy;
  fastcgi_temp_path $WORK/nginx/fastcgi;
  uwsgi_temp_path $WORK/nginx/uwsgi;
  scgi_temp_path $WORK/nginx/scgi;
  ssl_certificate $WORK/certs/many.pem;
  ssl_certificate_key $WORK/certs/many.key;
  server {
    listen 127.0.0.1:$p backlog=4096;
    listen 127.0.0.1:$t ssl backlog=4096;
    listen 127.0.0.1:$h ssl http2 backlog=4096;
    http2_max_concurrent_streams 1000;
    location / { echo_read_request_body; echo ok; }
  }
  server {
    listen 127.0.0.1:$m ssl backlog=4096;
    location / { echo_read_request_body; echo ok; }
  }
  server {
    listen 127.0.0.1:$f ssl backlog=4096;
    keepalive_requests 1;
    access_log $WORK/nginx/fresh.log fresh buffer=64k flush=1s;
    location / { echo_read_request_body; echo ok; }
  }
}
CONF
  setsid "${as_user[@]}" nginx -c "$WORK/nginx/nginx.conf" -e "$WORK/nginx/error.log" </dev/null >/dev/null 2>&1 &
  nginx_pid=$!
  wait_until 10 "nginx has started" test -s "$WORK/nginx/pid"
  plain=http://127.0.0.1:$p/ https=https://localhost:$t/ h2=https://localhost:$h/ many_port=$m fresh_port=$f
}

# build_floor NAME LIBRARY...: test/bench/NAME.c
build_floor() {
  local name=$1
  shift
  "${as_user[@]}" mkdir -p "$WORK/bin"
  quietly "building $name" "${as_user[@]}" gcc -O2 -Wall -Wextra -Werror -I"$("$PG_CONFIG" --includedir)" \
    -o "$WORK/bin/$name" "test/bench/$name.c" -L"$("$PG_CONFIG" --libdir)" "$@"
}

#!/usr/bin/env bash
# Benchmarks: `make bench`. So far the latency from commit to receipt.
#
# A throw-away cluster with track_commit_timestamp, and the test receiver, which
# notes when each request has arrived whole. EVENTS single-row transactions
# are committed SPACING_MS apart; the time of an event runs from its commit
# record (pg_xact_commit_timestamp, taken before WAL is flushed) to its arrival.
#
#   EVENTS=200 SPACING_MS="50 300" make bench
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

EVENTS=${EVENTS:-200}
SPACING_MS=${SPACING_MS:-50 300}
WORK=
receiver_pid=

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$WORK" ]; then
    [ "$status" = 0 ] || tail -n 20 "$WORK/server.log" 2>/dev/null || true
    stop_servers
    if [ -n "$receiver_pid" ]; then
      kill "$receiver_pid" 2>/dev/null || true
      wait "$receiver_pid" 2>/dev/null || true
    fi
    rm -rf "$WORK"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

PSQL() { "${as_user[@]}" psql -X -q -v ON_ERROR_STOP=1 -h "$WORK/socket" -U postgres "$@"; }

bash "$ROOT/scripts/setup.sh" demo
prepare_work bench
build_and_install

"${as_user[@]}" mkdir -m 700 "$WORK/socket"
quietly initdb "${as_user[@]}" initdb -D "$WORK/data" -U postgres -A trust -E UTF8 --no-locale --no-sync
"${as_user[@]}" tee -a "$WORK/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$WORK/socket'
shared_preload_libraries = 'webhook'
track_commit_timestamp = on
webhook.allowed_networks = '127.0.0.0/8, ::1/128'
webhook.ca_file = '$WORK/certs/ca.pem'
CONF
quietly "making certificates" "${as_user[@]}" bash test/receiver/certs.sh "$WORK/certs"
quietly "starting the server" "${as_user[@]}" pg_ctl start -w -D "$WORK/data" -l "$WORK/server.log"
"${as_user[@]}" node test/receiver/receiver.mjs --dir "$WORK/receiver" --cert "$WORK/certs/server.pem" \
  --key "$WORK/certs/server.key" --ready-file "$WORK/ready" --ignore-stdin --ttl 1200 --no-http2 \
  </dev/null >"$WORK/receiver.log" 2>&1 &
receiver_pid=$!
wait_until 30 "the receiver listens" test -s "$WORK/ready"
port=$("${as_user[@]}" node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).port' "$WORK/ready")

PSQL -d postgres >/dev/null <<SQL
CREATE EXTENSION webhook;
CREATE TABLE account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, settings jsonb);
SELECT webhook.watch('account');
SELECT webhook.subscribe('bench', 'https://localhost:$port/ok');
SQL

arrived() { [ "$(cat "$WORK/receiver/requests.jsonl" 2>/dev/null | wc -l)" -ge "$1" ]; }

step "commit to receipt, $EVENTS events (milliseconds)"
total=0
for spacing in $SPACING_MS; do
  first=$((total + 1))
  total=$((total + EVENTS))
  # one session, one transaction per event; the pauses are the benchmark's load
  for _ in $(seq "$EVENTS"); do
    printf 'INSERT INTO account (email, settings) VALUES (%s, %s);\nSELECT pg_sleep(%s);\n' \
      "'somebody@example.com'" "jsonb_build_object('pad', repeat('x', 300))" "$(awk "BEGIN {print $spacing / 1000}")"
  done | PSQL -d postgres >/dev/null
  wait_until 60 "$total requests have arrived" arrived "$total"
  PSQL -d postgres -At -F ' ' -c "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM account
    WHERE id BETWEEN $first AND $total ORDER BY id" >"$WORK/commits"
  "${as_user[@]}" node test/bench/latency.mjs "$spacing" "$WORK/receiver/requests.jsonl" <"$WORK/commits"
done

# fresh: CPU of a request over a connection that must be made first, to 1,000
# HTTPS hosts in turn, each of which closes it after one request. Sourced by run.sh, after delivery.sh.
bench_fresh() {
  local r requests
  figure fresh "CPU of the worker per fresh connection, $MANY HTTPS hosts" ms '< 1.5'
  deliver_setup
  many_hosts "$fresh_port"
  many_events 1
  wait_until 10 'the log is written' test -s "$WORK/nginx/fresh.log"
  requests=$(wc -l <"$WORK/nginx/fresh.log")
  for r in $(seq "$REPEATS"); do
    many_events 1
    sample fresh "$(calc "$cpu / 1000")"
  done
  no_many_hosts
  wait_until 10 'the log is written' logged_requests $((requests + REPEATS * MANY))
  note "Fresh connections: $(tail -n +$((requests + 1)) "$WORK/nginx/fresh.log" | awk '$1 == 1 { fresh++ } $2 == "r" { resumed++ }
    END { printf "%d of %d requests were the first of theirs, %d resumed a TLS session", fresh, NR, resumed }')."
}
logged_requests() { [ "$(wc -l <"$WORK/nginx/fresh.log")" -ge "$1" ]; }

#!/usr/bin/env bash
# Benchmarks: `make bench` (all but flatness) and `make bench-long` (all).
#
#   ONLY="capture idle" make bench     some of: capture delivery flight stream log transform latency idle fresh flatness
#   REPEATS=3 BACKLOG=20000 ...        smaller; each file names its sizes at its top
#   OUT=FILE                           where the table goes as Markdown (test/results/bench.md)
#   VERBOSE=1                          every value as it is measured
#   KEEP=1                             leave the work directory, with the values and logs
#
# A throw-away cluster with PostgreSQL's own settings, except for checkpoints and
# autovacuum, which would come in at random. What is compared is measured by
# turns, in one run: on a machine that does other things as well, ratios say
# more than figures. It ends well whatever the figures are; the table says which
# targets are missed.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
source "$here/../../scripts/lib.sh"
source "$here/lib.sh"

ALL='capture delivery flight stream log transform latency idle fresh'
[ -z "${LONG:-}" ] || ALL+=' flatness'
ONLY=${ONLY:-$ALL}
REPEATS=${REPEATS:-5}
OUT=${OUT:-$ROOT/test/results/bench.md}
WORK=
receiver_pid=
nginx_pid=

# what the long run does more of
[ -z "${LONG:-}" ] || SPACINGS=${SPACINGS:-2.4:60 0.3:300 0.05:1000} LOG_ROWS=${LOG_ROWS:-10000000}
for part in capture delivery flight stream log transform latency idle fresh flatness; do source "$here/$part.sh"; done
for part in $ONLY; do declare -F "bench_$part" >/dev/null || die "no such benchmark: $part"; done

finish() {
  local status=$? pid
  trap - EXIT INT TERM
  if [ -n "$WORK" ]; then
    if [ "$status" != 0 ]; then
      tail -n 20 "$WORK/server.log" 2>/dev/null || true
      [ ! -s "$WORK/samples.tsv" ] || report || true # what was measured until then
    fi
    stop_servers
    for pid in $receiver_pid $nginx_pid; do
      kill "$pid" 2>/dev/null || true
      wait "$pid" 2>/dev/null || true
    done
    if [ -n "${KEEP:-}" ]; then say "left for looking at: $WORK"; else rm -rf "$WORK"; fi
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

report() {
  printf '%s\n' "Measured at $(date -u '+%F %H:%M') UTC, commit $commit, in $((SECONDS / 60)) minutes." \
    "$(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)), $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GB, Linux $(uname -r), $("$PG_CONFIG" --version), $(curl_version)." \
    "Load average when it began: $load_before." >"$WORK/about.txt"
  mkdir -p "$(dirname "$OUT")"
  node "$here/report.mjs" "$WORK" "$OUT"
  say "as Markdown: $OUT"
}
curl_version() { printf 'libcurl %s' "$(dpkg-query -W -f '${Version}' libcurl4 2>/dev/null || echo '?')"; }

commit=$(git -c safe.directory='*' -C "$ROOT" describe --always --dirty 2>/dev/null || echo unknown)
load_before=$(cut -d' ' -f1-3 /proc/loadavg)
bash "$ROOT/scripts/setup.sh" bench
PATH=$PATH:/usr/sbin # nginx
prepare_work bench
build_and_install
make_certs
start_cluster 'max_wal_size = 8GB' 'min_wal_size = 2GB' 'checkpoint_timeout = 1h' 'autovacuum = off' \
  'track_commit_timestamp = on' 'webhook.allow_http = on' "webhook.retention = '30d'" \
  'client_min_messages = warning' >/dev/null
start_nginx
for part in $ONLY; do
  step "$part"
  "bench_$part"
done
report

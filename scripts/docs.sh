#!/usr/bin/env bash
# Writes docs/reference.md from the catalogue of a throw-away server: what COMMENT ON says of each
# function, view and table, and what settings say of themselves. `make docs`.
#
#   scripts/docs.sh          build, install, start a server, write the page, end the server
#   scripts/docs.sh page     the page on stdout, of the database that PG* name (test/t/092_reference.pl)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# what a worker reports in pg_stat_activity stands in the sources alone
page() {
  psql -XAtq -v ON_ERROR_STOP=1 -f "$ROOT/scripts/reference.sql" \
    -v labels="$(grep -rhoE 'wh_tx_begin\("[^"]+' "$ROOT/worker" | cut -d'"' -f2 | LC_ALL=C sort -u)"
}

if [ "${1:-}" = page ]; then
  page
  exit
fi

WORK=
finish() {
  local status=$?
  trap - EXIT INT TERM
  [ -z "$WORK" ] || { stop_servers && rm -rf "$WORK"; }
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bash "$ROOT/scripts/setup.sh" demo </dev/null
prepare_work docs
build_and_install
step "writing docs/reference.md"
make_certs
start_cluster >/dev/null
PSQL -qc 'CREATE EXTENSION webhook'
"${as_user[@]}" PGHOST="$WORK/socket" PGUSER=postgres bash scripts/docs.sh page >"$WORK/reference.md"
# in one step, and not at all where anything failed
cp "$WORK/reference.md" "$ROOT/docs/reference.md"

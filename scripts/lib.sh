# What the demo and the test runner share; sourced, never run.
#
# PostgreSQL refuses to run as root, and a clone made by root cannot be read by
# anybody else. So both work the same way whoever starts them: prepare_work
# copies the tree into a private directory ($WORK/src), build_and_install
# builds it there as an ordinary user, and only installing asks for root. The
# source tree stays as it was, and removing $WORK removes all.
#
# "${as_user[@]}" COMMAND runs a command as that ordinary user, in $WORK/src. It
# is an array and not a function so that in the background, $! is the command's
# own pid: processes are ended by the pid we started, never by name.

# The version that this Debian brings; 15, where it is there already or nobody knows better.
default_major() {
  local release
  [ ! -x /usr/lib/postgresql/15/bin/postgres ] || { echo 15; return; }
  release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null || true)
  case $release in
    trixie) echo 17 ;;
    forky | sid) echo 18 ;;
    *) echo 15 ;;
  esac
}
PG_MAJOR=${PG_MAJOR:-$(default_major)}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ -t 1 ]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' GREEN='' RED='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '%s%s%s\n' "$BOLD" "==> $*" "$PLAIN"; }
die() {
  printf '%serror: %s%s\n' "$RED" "$*" "$PLAIN" >&2
  exit 1
}

# as_root COMMAND: only for installing.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

# quietly WHAT COMMAND: output only if it fails.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
  else
    cat "$log" >&2
    rm -f "$log"
    die "$what failed"
  fi
}

# wait_until SECONDS DESCRIPTION COMMAND: until the command succeeds. Waits for
# a fact, with a deadline; returns 1 when it has passed.
wait_until() {
  local deadline=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@"; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
      printf '%stimed out waiting until %s%s\n' "$RED" "$what" "$PLAIN" >&2
      return 1
    fi
    sleep 0.05
  done
}

# copy_tree TO: what git would clone, with changes not committed yet.
copy_tree() {
  if git -c safe.directory='*' -C "$ROOT" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    (
      cd "$ROOT"
      # a file that was deleted and not yet committed is still listed
      git -c safe.directory='*' ls-files -coz --exclude-standard |
        while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
        tar --null --files-from=- -cf -
    ) | tar -xf - -C "$1"
  else
    tar -C "$ROOT" --exclude=./.git --exclude=./packages --exclude='*.o' --exclude='*.so' --exclude=node_modules -cf - . | tar -xf - -C "$1"
  fi
  local d
  for d in test/receiver test/console/browser; do
    if [ -d "$ROOT/$d/node_modules" ]; then cp -R "$ROOT/$d/node_modules" "$1/$d/"; fi
  done
}

# prepare_work NAME: sets WORK, BINDIR, PGXS_DIR and as_user. Needs setup.sh first.
prepare_work() {
  # not before: setup.sh may just have installed it
  PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$PG_MAJOR/bin/pg_config}
  PG_CONFIG=$(command -v "$PG_CONFIG" || command -v pg_config) || die "no pg_config; run scripts/setup.sh"
  BINDIR=$("$PG_CONFIG" --bindir)
  PGXS_DIR=$(dirname "$("$PG_CONFIG" --pgxs)")/../.. # .../lib/pgxs
  PGXS_DIR=$(cd "$PGXS_DIR" && pwd)

  local base=${TMPDIR:-/tmp} drop=()
  if [ "$(id -u)" = 0 ]; then
    drop=(setpriv --reuid=postgres --regid=postgres --init-groups)
    # root's own TMPDIR may be closed to others
    "${drop[@]}" test -x "$base" || base=/tmp
  fi
  WORK=$(mktemp -d "$base/pgwebhook-$1.XXXXXX")
  mkdir "$WORK/src" "$WORK/tmp"
  copy_tree "$WORK/src"
  [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$WORK"
  # the PG* settings of whoever starts this are meant for another server
  as_user=("${drop[@]}" env -C "$WORK/src" -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -u PGPASSWORD -u PGSERVICE
    -u PGOPTIONS -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u LC_ALL
    HOME="$WORK" TMPDIR="$WORK/tmp" LANG=C.UTF-8 PATH="$BINDIR:$PATH"
    PG_CONFIG="$PG_CONFIG" PG_MAJOR="$PG_MAJOR")
}

build_and_install() {
  step "building for $("$PG_CONFIG" --version), installing into it"
  quietly "the build" "${as_user[@]}" make -s -j"$(nproc)"
  install_from "$WORK/src"
}

# install_from TREE: what was built there
install_from() {
  # Root only copies what was built: nothing of the project's is compiled or run
  # by it. A PostgreSQL of one's own needs no root at all.
  local root=as_root
  if [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; then root=; fi
  quietly "make install" $root env -u MAKEFLAGS -u MAKELEVEL make -s -C "$1" install PG_CONFIG="$PG_CONFIG"
}

# End every server whose data directory is ours (tests may leave some when interrupted).
stop_servers() {
  local pidfile
  find "$WORK" -name postmaster.pid -type f 2>/dev/null | while read -r pidfile; do
    "${as_user[@]}" "$BINDIR/pg_ctl" stop -D "$(dirname "$pidfile")" -m immediate >/dev/null 2>&1 </dev/null || true
  done
}

PSQL() { "${as_user[@]}" psql -X -v ON_ERROR_STOP=1 -h "$WORK/socket" -U postgres "$@"; }

# make_certs: in $WORK/certs, for the receiver and the server's webhook.ca_file.
make_certs() { quietly "making certificates" "${as_user[@]}" bash test/receiver/certs.sh "$WORK/certs"; }

# start_cluster [SETTING...]: a throw-away cluster in $WORK/data, without a TCP
# port, that delivers to local receivers. Shows its settings.
start_cluster() {
  "${as_user[@]}" mkdir -m 700 "$WORK/socket"
  quietly initdb "${as_user[@]}" initdb -D "$WORK/data" -U postgres -A trust -E UTF8 --no-locale --no-sync
  printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$WORK/socket'" \
    "shared_preload_libraries = 'webhook'" "webhook.allowed_networks = '127.0.0.0/8, ::1/128'" \
    "webhook.ca_file = '$WORK/certs/ca.pem'" "$@" | "${as_user[@]}" tee -a "$WORK/data/postgresql.conf"
  quietly "starting the server" "${as_user[@]}" pg_ctl start -w -D "$WORK/data" -l "$WORK/server.log"
}

# start_receiver STDIN ARGUMENT...: the test receiver; sets receiver_pid and port.
start_receiver() {
  local stdin=$1
  shift
  # a session of its own: what is typed at this one ends the script, and the script ends it
  setsid "${as_user[@]}" node test/receiver/receiver.mjs --dir "$WORK/receiver" --cert "$WORK/certs/server.pem" \
    --key "$WORK/certs/server.key" --ready-file "$WORK/ready" "$@" <"$stdin" >"$WORK/receiver.log" 2>&1 9>&- &
  receiver_pid=$!
  wait_until 30 "the receiver listens" test -s "$WORK/ready" || {
    cat "$WORK/receiver.log"
    exit 1
  }
  port=$("${as_user[@]}" node -p 'JSON.parse(require("fs").readFileSync(process.argv[1])).port' "$WORK/ready")
}

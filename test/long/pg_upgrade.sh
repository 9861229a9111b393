#!/usr/bin/env bash
# The promise: pg_upgrade to a newer PostgreSQL keeps what was pending; nothing
# is sent while it runs nor after it, until somebody says that the cluster was
# moved; then all of it goes out once, under the ids it had.
#
#   SUITE=sid     another suite of Debian than "stable"
#   MIRROR=URL    where it is had from, if not from where this machine's apt has its own
#   KEEP=1        leaves the directory with all logs
#
# The layer "pg_upgrade" of the tests (scripts/long.sh), which has installed
# webhook into the older server. Prints TAP; the exit status agrees. Where
# something is missing (root, for chroot; a mirror that has the suite and can
# be reached; a server in it that is newer) it fails and says what: a test that
# passes over this would promise what nobody has seen.
#
# The newer server comes from Debian: its suite is unpacked into a temporary
# directory (debootstrap), webhook is built for it there, and the older server
# is copied to it with the libraries that the suite does not have any more.
# Nothing stays mounted, and the receiver runs outside, on the loopback interface.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/chroot.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../tap.sh"

SUITE=${SUITE:-stable}
WORK=
receiver_pid=

# A server of the chroot that still runs is ended by the pid in its file.
finish() {
  local status=$? pidfile
  trap - EXIT INT TERM
  [ -z "$receiver_pid" ] || kill "$receiver_pid" 2>/dev/null || true
  if [ -n "$WORK" ]; then
    for pidfile in "$WORK"/suite/upgrade/*/postmaster.pid; do
      [ ! -f "$pidfile" ] || kill -INT "$(head -n 1 "$pidfile")" 2>/dev/null || true
    done
    for pidfile in "$WORK"/suite/upgrade/*/postmaster.pid; do
      wait_until 20 "a server has ended" test ! -e "$pidfile" || true
    done
    if [ -n "${KEEP:-}" ]; then say "# left for looking at: $WORK"; else remove_work "$WORK"; fi
  fi
  exit "$status"
}

in_suite() { chroot "$WORK/suite" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
as_postgres() { in_suite setpriv --reuid=postgres --regid=postgres --init-groups env -C /upgrade HOME=/upgrade "$@"; }
bin() { as_postgres "/usr/lib/postgresql/$1/bin/$2" "${@:3}"; }

# sql MAJOR STATEMENTS: in the server of that version
sql() { bin "$1" psql -X -q -A -t -v ON_ERROR_STOP=1 -h /upgrade -p "$port" -d postgres -c "$2"; }
sql_says() { [ "$(sql "$1" "$2")" = "$3" ]; }
start() { bin "$1" pg_ctl start -w -s -D "/upgrade/$1" -l "/upgrade/$1.log" -o "${2:-}" </dev/null >/dev/null; }
stop() { bin "$1" pg_ctl stop -w -s -m fast -D "/upgrade/$1"; }

requests() { wc -l <"$WORK/receiver/requests.jsonl"; }
requests_are() { [ "$(requests)" -ge "$1" ]; }

# The entities and ids of the requests after the first N, one pair a line, in order of ids: "3 evt_0a1b2c3d_4"
sent_after() {
  tail -n "+$(($1 + 1))" "$WORK/receiver/requests.jsonl" | node -e '
    const requests = require("fs").readFileSync(0, "utf8").trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
    for (const r of requests) console.log(JSON.parse(r.body).entity_id, r.headers["webhook-id"]);' | LC_ALL=C sort -n
}

behave() { # behave JSON
  node -e 'fetch(process.argv[1], { method: "POST", body: JSON.stringify({ path: "/ok/crm", behave: JSON.parse(process.argv[2]) }) })
    .then((r) => process.exit(r.ok ? 0 : 1))' "$control" "$1"
}

#
# The suite, the newer server with webhook, and the older one with webhook
#

install_in_suite() { quietly "apt-get install" in_suite apt-get -q -y -o Acquire::Retries=3 --no-install-recommends install "$@"; }

make_suite() {
  debootstrap --variant=minbase "$SUITE" "$WORK/suite" "$mirror" >"$WORK/debootstrap.log" 2>&1 || {
    tail -n 20 "$WORK/debootstrap.log" | sed 's/^/# /'
    bail "debootstrap could not unpack the suite $SUITE"
  }
  mkdir -p "$WORK/suite/etc/postgresql-common/createcluster.d"
  echo 'create_main_cluster = false' >"$WORK/suite/etc/postgresql-common/createcluster.d/pgwebhook.conf"
  install_in_suite build-essential postgresql libcurl4-openssl-dev libssl-dev
  new=$(find "$WORK/suite/usr/lib/postgresql" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)
  [ "$new" -gt "$old" ] || bail "the suite $SUITE has no server newer than PostgreSQL $old"
  install_in_suite "postgresql-server-dev-$new"
}

build_for_newer() {
  mkdir "$WORK/suite/src" "$WORK/suite/upgrade"
  copy_tree "$WORK/suite/src"
  in_suite chown -R postgres:postgres /src /upgrade
  quietly "the build for PostgreSQL $new" as_postgres make -s -C /src PG_CONFIG="/usr/lib/postgresql/$new/bin/pg_config"
  quietly "its installation" in_suite make -s -C /src PG_CONFIG="/usr/lib/postgresql/$new/bin/pg_config" install
}

# Where Debian has its servers, whatever the place of this one is: its programs find the rest from there.
bring_older() {
  local lib file to=$WORK/suite/usr/lib/postgresql/$old
  mkdir "$to"
  cp -R "$BINDIR" "$to/bin"
  cp -R "$("$PG_CONFIG" --pkglibdir)" "$to/lib"
  cp -R "$("$PG_CONFIG" --sharedir)" "$WORK/suite/usr/share/postgresql/$old"
  # libraries whose names the suite still has are taken from there
  in_suite ldconfig -p >"$WORK/libraries"
  for file in "$to/bin/postgres" "$to/bin/psql" "$to/lib/webhook.so"; do
    ldd "$file" | sed -nE 's/.* => (\/[^ ]+) .*/\1/p'
  done | sort -u | while IFS= read -r lib; do
    grep -qF "$(basename "$lib") " "$WORK/libraries" || cp -L "$lib" "$WORK/suite/usr/lib/$(gcc -print-multiarch)/"
  done
  in_suite ldconfig
}

make_cluster() { # make_cluster MAJOR
  bin "$1" initdb -D "/upgrade/$1" -A trust -N -E UTF8 --no-locale >"$WORK/initdb-$1.log"
  cat >>"$WORK/suite/upgrade/$1/postgresql.conf" <<CONF
shared_preload_libraries = 'webhook'
port = $port
listen_addresses = ''
unix_socket_directories = '/upgrade'
fsync = off
webhook.poll_interval = '500ms'
webhook.allowed_networks = '127.0.0.0/8, ::1/128'
webhook.ca_file = '/upgrade/ca.pem'
CONF
}

[ "$(id -u)" = 0 ] || bail "this needs root, for chroot"
command -v debootstrap >/dev/null || bail "no debootstrap; run scripts/setup.sh long"

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
prepare_work upgrade
old=$("$PG_CONFIG" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
[ -e "$("$PG_CONFIG" --pkglibdir)/webhook.so" ] || bail "webhook is not installed in PostgreSQL $old; run make install"
mirror=$(debian_mirror "$SUITE") || bail "no mirror of Debian that apt uses can be reached and has a suite $SUITE (MIRROR=URL names another)"
make_suite
build_for_newer
ok 0 "webhook builds for PostgreSQL $new without a warning"
bring_older

make_certs
start_receiver /dev/null --ignore-stdin --ttl 1800 --no-http2
endpoint=https://localhost:$port/ok/crm
control=http://127.0.0.1:$(sed -E 's/.*"http_port":([0-9]+).*/\1/' "$WORK/ready")/_control/mode
cp "$WORK/certs/ca.pem" "$WORK/suite/upgrade/"
port=5432 # of a socket in a directory of our own
for major in "$old" "$new"; do make_cluster "$major"; done

#
# The older server: delivered, pending, and captured but not read
#
behave null
start "$old"
sql "$old" "CREATE EXTENSION webhook;
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT webhook.watch('item');
SELECT webhook.subscribe('crm', '$endpoint');
UPDATE webhook.subscription SET retry_schedule = '{1s}';
INSERT INTO item VALUES (1), (2);" >"$WORK/sql.log"
wait_until 60 "two events are delivered" sql_says "$old" "SELECT count(*) FROM webhook.attempt WHERE outcome = 'delivered'" 2
behave '"/status/503"'
sql "$old" "INSERT INTO item SELECT g FROM generate_series(3, 7) g"
wait_until 60 "five deliveries are pending" sql_says "$old" "SELECT count(*) FROM webhook.pending WHERE attempts > 0" 5
stop "$old"
start "$old" "-c shared_preload_libraries="
sql "$old" "INSERT INTO item VALUES (8)"
expected=$(sql "$old" "SELECT entity_id || ' ' || webhook.event_id(event_number) FROM webhook.outbox WHERE event_number > 2 ORDER BY event_number")
stop "$old"

#
# pg_upgrade
#
behave null
before=$(requests)
status=0
bin "$new" pg_upgrade -b "/usr/lib/postgresql/$old/bin" -B "/usr/lib/postgresql/$new/bin" -d "/upgrade/$old" -D "/upgrade/$new" \
  >"$WORK/pg_upgrade.log" 2>&1 || status=1
[ "$status" = 0 ] || sed 's/^/# /' "$WORK/pg_upgrade.log"
ok "$status" "pg_upgrade from PostgreSQL $old to $new, with deliveries pending"
start "$new"
wait_until 60 "the worker is suspended" sql_says "$new" "SELECT state FROM webhook.worker" "suspended"
sql "$new" "INSERT INTO item VALUES (9)"
says=$(sql "$new" "SELECT reason FROM webhook.worker")
status=0
[[ "$says" == *"webhook.enable_delivery(moved => true)"* ]] || status=1
ok "$status" "after it the worker is suspended, and says what to do: $says"
is "$(sql "$new" "SELECT count(*) FROM webhook.pending")" 5 "what was pending is there"
is "$(requests)" "$before" "nothing was sent meanwhile"

sql "$new" "SELECT webhook.enable_delivery(moved => true)" >>"$WORK/sql.log"
wait_until 60 "all is delivered" sql_says "$new" "SELECT count(*) FROM webhook.pending" 0
wait_until 60 "all has arrived" requests_are $((before + 7))
expected+=$'\n'$(sql "$new" "SELECT entity_id || ' ' || webhook.event_id(event_number) FROM webhook.outbox WHERE entity_id = '9'")
is "$(sent_after "$before")" "$expected" "told so, it delivers once, under the ids they had: what was pending, captured before, and captured after"
sql "$new" "INSERT INTO item VALUES (10)"
wait_until 60 "a new event has arrived" requests_are $((before + 8))
is "$(requests)" $((before + 8)) "and goes on with new events"

status=0
sql "$new" "BEGIN; DO \$\$
DECLARE
	ours regclass;
BEGIN
	FOR ours IN SELECT oid FROM pg_class WHERE relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition LOOP
		EXECUTE format('ALTER TABLE %s ADD COLUMN remark text DEFAULT ''none'', ADD COLUMN noted_at timestamptz DEFAULT clock_timestamp()', ours);
	END LOOP;
END \$\$; ROLLBACK" 2>&1 | sed 's/^/# /' || status=1
ok "$status" "columns with defaults can be added to each of our tables"
stop "$new"

done_testing

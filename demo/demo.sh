#!/usr/bin/env bash
# The main job on real input, on a machine that may have nothing yet: `make demo`.
#
# Installs what is missing, builds and installs the extension, makes a
# throw-away cluster (no TCP port, a private socket directory) and a local HTTPS
# receiver with its own CA, and tells a story: two tables are watched, an
# endpoint subscribes, rows change, and each committed change arrives as a
# signed request. At the end everything that arrived is judged; the exit status
# is 0 only if exactly the committed changes came, once each, verified.
#
# KEEP=1 leaves the cluster and the receiver running and prints how to connect.
# CONSOLE=1 builds the console, too, starts it on a free port of this machine, and logs in;
# with KEEP=1 it stays, full of the demo's data, and its address and login are printed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

KEEP=${KEEP:-}
CONSOLE=${CONSOLE:-}
PATIENCE=30 # seconds to wait for anything that must happen
WORK=
receiver_pid=
console_pid=
succeeded=
kept=

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$WORK" ] && [ -z "$succeeded" ] && [ -f "$WORK/server.log" ]; then
    say "${RED}the demo failed; how things stood:${PLAIN}"
    PSQL -d shop -x -c 'SELECT * FROM webhook.status' -c 'SELECT * FROM webhook.pending' </dev/null 2>&1 || true
    say "${RED}the end of the server log:${PLAIN}"
    tail -n 40 "$WORK/server.log"
  fi
  if [ -z "$kept" ] && [ -n "$WORK" ]; then
    stop_servers
    if [ -n "$receiver_pid" ]; then
      kill "$receiver_pid" 2>/dev/null || true
      wait "$receiver_pid" 2>/dev/null || true
    fi
    if [ -n "$console_pid" ]; then
      kill "$console_pid" 2>/dev/null || true
      wait "$console_pid" 2>/dev/null || true
    fi
    rm -rf "$WORK"
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

query() { PSQL -d shop -At -c "$1" </dev/null; }

# ------------------------------------------------------------- the two sides

receive() {
  step "starting an HTTPS receiver with its own CA"
  make_certs
  if [ -n "$KEEP" ]; then
    start_receiver /dev/null --ignore-stdin
  else
    # It reads from a pipe that this script alone holds open, so it ends with
    # the script even where no trap runs.
    mkfifo "$WORK/alive"
    exec 9<>"$WORK/alive"
    start_receiver "$WORK/alive"
  fi
  say "    https://localhost:$port"
}

# ---------------------------------------------------------------- the story

requests=0 # expected to have arrived by now

arrived() { cat "$WORK/receiver/requests.jsonl" 2>/dev/null | wc -l; }
arrived_at_least() { [ "$(arrived)" -ge "$1" ]; }
nothing_left() {
  [ "$(query "SELECT coalesce(sum(queued + in_flight), 0) + (SELECT count(*) FROM webhook.pending) FROM webhook.status")" = 0 ]
}
logged_at_least() { [ "$(query "SELECT count(*) FROM webhook.attempt")" -ge "$1" ]; }

# chapter TITLE REQUESTS [DATABASE] <<SQL: run it before the reader's eyes, wait
# for the requests that it must bring, and show them.
chapter() {
  local from=$((requests + 1)) sql echo=-a
  sql=$(cat)
  echo
  step "$1"
  # -a shows each statement before its result, but not the data of a COPY
  if [[ $sql == *'FROM STDIN'* ]]; then
    sed 's/^/    /' <<<"$sql"
    echo=-b
  fi
  PSQL "$echo" -d "${3:-shop}" -f - <<<"$sql" | sed 's/^/    /'
  requests=$((requests + $2))
  [ "$2" != 0 ] || return 0
  wait_until "$PATIENCE" "$requests requests have arrived (now: $(arrived))" arrived_at_least "$requests"
  echo
  "${as_user[@]}" node demo/check.mjs show "$WORK/receiver/requests.jsonl" "$from" "$requests"
}

has_dead_letter() { [ "$(query 'SELECT count(*) > 0 FROM webhook.dead_letter')" = t ]; }

# An operator with a password, a service role, a server that asks for passwords, and the program.
# What is there to be seen: a delivery that fails, a dead letter, a subscription that is paused.
serve_console() {
  local password
  password=$("${as_user[@]}" node -p 'require("crypto").randomBytes(9).toString("base64url")')
  step "the console"
  quietly "the build of the console" "${as_user[@]}" make -s -C console OUT="$WORK/console"
  query "CREATE ROLE operator LOGIN PASSWORD '$password'" >"$WORK/console.out"
  query "CREATE ROLE service LOGIN NOINHERIT PASSWORD '$password' IN ROLE operator" >>"$WORK/console.out"
  query "SELECT webhook.grant_operator('operator'), webhook.grant_watcher('operator'), webhook.grant_service('service')" >>"$WORK/console.out"
  query "GRANT SELECT, TRIGGER ON users, companies TO operator" >>"$WORK/console.out"
  query "SELECT webhook.subscribe('billing', 'https://localhost:$port/status/503/billing', '{company.*}')" >>"$WORK/console.out"
  query "SELECT webhook.subscribe('search index', 'https://localhost:$port/status/413/search', '{user.*}', 'standard')" >>"$WORK/console.out"
  query "SELECT webhook.subscribe('newsletter', 'https://localhost:$port/ok/newsletter', '{user.new}', filter => '$.result.is_active == true')" >>"$WORK/console.out"
  query "SELECT webhook.pause('newsletter')" >>"$WORK/console.out"
  query "UPDATE companies SET employees = employees + 1" >>"$WORK/console.out"
  query "INSERT INTO users (email, name) VALUES ('barbara@acme.example', 'Barbara Liskov')" >>"$WORK/console.out"
  wait_until "$PATIENCE" "a dead letter is there to be seen" has_dead_letter
  printf 'local all postgres trust\nlocal all all scram-sha-256\n' | "${as_user[@]}" tee "$WORK/data/pg_hba.conf" >/dev/null
  query 'SELECT pg_reload_conf()' >>"$WORK/console.out"
  printf '%s\n' "$password" | "${as_user[@]}" tee "$WORK/service" >/dev/null
  chmod 600 "$WORK/service"
  setsid "${as_user[@]}" "$WORK/console/pgwebhook" serve --listen=127.0.0.1:0 --database=shop --db-host="$WORK/socket" \
    --service-role=service --service-password-file="$WORK/service" </dev/null >"$WORK/console.log" 2>&1 9>&- &
  console_pid=$!
  wait_until "$PATIENCE" "the console listens" grep -q listening "$WORK/console.log"
  console_url=$(sed -n 's/.*listening on //p' "$WORK/console.log")
  "${as_user[@]}" node demo/check.mjs console "$console_url" operator "$password"
  console_login="operator, password $password"
  [ -z "${PICTURES:-}" ] || take_pictures
}

# PICTURES=DIRECTORY: for the pages; make pictures
take_pictures() {
  "${as_user[@]}" mkdir -p "$WORK/pictures"
  quietly "the modules for the browser" "${as_user[@]}" npm --prefix test/console ci --no-audit --no-fund
  "${as_user[@]}" node test/console/pictures.mjs "$console_url" operator "$password" "$WORK/pictures"
  cp "$WORK"/pictures/*.png "$PICTURES/"
}

ONLY=${CONSOLE:+console} bash "$ROOT/scripts/setup.sh" demo </dev/null
prepare_work demo
build_and_install
receive
step "making a throw-away cluster in $WORK/data"
start_cluster | sed 's/^/    /'

chapter "A shop's database" 0 postgres <<'SQL'
CREATE DATABASE shop;
SQL
chapter "The extension, and two tables" 0 <<'SQL'
CREATE EXTENSION webhook;
CREATE TYPE user_role AS ENUM ('customer', 'staff', 'admin');
CREATE TABLE companies (
    id          uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name        text        NOT NULL,
    vat_number  text        UNIQUE,
    address     jsonb       NOT NULL DEFAULT '{}',
    employees   integer     CHECK (employees >= 0),
    founded_on  date,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE users (
    id            bigint        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id    uuid          REFERENCES companies ON DELETE CASCADE,
    email         text          NOT NULL UNIQUE,
    name          text          NOT NULL,
    role          user_role     NOT NULL DEFAULT 'customer',
    is_active     boolean       NOT NULL DEFAULT true,
    balance       numeric(12,2) NOT NULL DEFAULT 0,
    tags          text[]        NOT NULL DEFAULT '{}',
    settings      jsonb         NOT NULL DEFAULT '{}',
    password_hash text,
    created_at    timestamptz   NOT NULL DEFAULT now()
);
SQL

echo
step "Watch both; subscribe an endpoint (the answer is its signing secret)"
PSQL -a -d shop -f - <<SQL | tee "$WORK/subscribe.out" | sed 's/^/    /'
SELECT webhook.watch('users', entity_type => 'user', exclude_columns => '{password_hash}');
SELECT webhook.watch('companies', entity_type => 'company');
SELECT webhook.subscribe('crm', 'https://localhost:$port/ok/crm');
SQL
secret=$(grep -o 'whsec_[A-Za-z0-9+/=]*' "$WORK/subscribe.out")

acme=0b7c5a5e-1f1d-4c53-9a53-6c1f7a3e0001
globex=0b7c5a5e-1f1d-4c53-9a53-6c1f7a3e0002

chapter "New companies and users" 5 <<SQL
INSERT INTO companies (id, name, vat_number, address, employees, founded_on) VALUES
    ('$acme', 'Acme GmbH', 'DE123456789', '{"city": "Köln", "street": "Domplatz 1", "zip": "50667"}', 42, '1999-12-31'),
    ('$globex', 'Globex Ltd', 'GB987654321', '{"city": "London"}', NULL, NULL);
INSERT INTO users (company_id, email, name, role, balance, tags, settings, password_hash) VALUES
    ('$acme', 'ada@acme.example', 'Ada "the Countess" Lovelace', 'staff', 1250.50, '{vip,early adopter}', '{"theme": "dark", "limits": {"daily": 100}}', 'scrypt\$1'),
    ('$globex', 'grace@globex.example', 'Grace Hopper', 'customer', 0, '{}', '{}', 'scrypt\$2'),
    (NULL, 'zoe@nowhere.example', E'Zoë 🦊 \\\\ two\nlines', 'customer', 99999999.99, '{NULL,"a,b"}', '{}', NULL);
SQL

chapter "Updates: one each; two of one row in one transaction; one that changes nothing, one of an excluded column" 4 <<SQL
UPDATE users SET role = 'admin' WHERE email = 'ada@acme.example';
UPDATE companies SET employees = 43 WHERE id = '$acme';
BEGIN;
UPDATE users SET balance = balance + 10 WHERE email = 'grace@globex.example';
UPDATE users SET is_active = false WHERE email = 'grace@globex.example';
COMMIT;
UPDATE users SET name = name;
UPDATE users SET password_hash = 'scrypt\$3' WHERE email = 'ada@acme.example';
SQL

chapter "A transaction that is rolled back: nothing may arrive" 0 <<SQL
BEGIN;
INSERT INTO users (email, name) VALUES ('mallory@evil.example', 'Mallory');
UPDATE companies SET name = 'Rolled Back Inc.';
DELETE FROM users WHERE email = 'zoe@nowhere.example';
ROLLBACK;
SQL

chapter "COPY" 3 <<SQL
COPY users (company_id, email, name, tags) FROM STDIN WITH (FORMAT csv);
$acme,linus@acme.example,Linus,"{kernel}"
$globex,margaret@globex.example,"Hamilton, Margaret","{apollo,11}"
,dennis@nowhere.example,Dennis,{}
\.
SQL

# users 1 to 3 were inserted, 4 was Mallory's, 5 to 7 were copied
chapter "Deletes, one of them through a foreign key's cascade" 4 <<SQL
DELETE FROM users WHERE email = 'dennis@nowhere.example';
DELETE FROM companies WHERE id = '$globex';
SQL

# What was committed, written down by hand: not from the outbox.
cat >"$WORK/expected.jsonl" <<JSON
{"entity_type": "company", "entity_id": "$acme", "action_type": "new", "result": {"id": "$acme", "name": "Acme GmbH", "vat_number": "DE123456789", "address": {"city": "Köln", "street": "Domplatz 1", "zip": "50667"}, "employees": 42, "founded_on": "1999-12-31"}}
{"entity_type": "company", "entity_id": "$globex", "action_type": "new", "result": {"id": "$globex", "name": "Globex Ltd", "employees": null, "founded_on": null}}
{"entity_type": "user", "entity_id": "1", "action_type": "new", "result": {"id": 1, "company_id": "$acme", "email": "ada@acme.example", "name": "Ada \"the Countess\" Lovelace", "role": "staff", "is_active": true, "balance": 1250.5, "tags": ["vip", "early adopter"], "settings": {"theme": "dark", "limits": {"daily": 100}}}}
{"entity_type": "user", "entity_id": "2", "action_type": "new", "result": {"id": 2, "email": "grace@globex.example", "role": "customer", "balance": 0, "tags": [], "settings": {}}}
{"entity_type": "user", "entity_id": "3", "action_type": "new", "result": {"id": 3, "company_id": null, "name": "Zoë 🦊 \\\\ two\nlines", "balance": 99999999.99, "tags": [null, "a,b"]}}
{"entity_type": "user", "entity_id": "1", "action_type": "update", "result": {"id": 1, "role": "admin", "balance": 1250.5}}
{"entity_type": "company", "entity_id": "$acme", "action_type": "update", "result": {"name": "Acme GmbH", "employees": 43}}
{"entity_type": "user", "entity_id": "2", "action_type": "update", "result": {"balance": 10, "is_active": true}}
{"entity_type": "user", "entity_id": "2", "action_type": "update", "result": {"balance": 10, "is_active": false}}
{"entity_type": "user", "entity_id": "5", "action_type": "new", "result": {"company_id": "$acme", "email": "linus@acme.example", "name": "Linus", "tags": ["kernel"]}}
{"entity_type": "user", "entity_id": "6", "action_type": "new", "result": {"email": "margaret@globex.example", "name": "Hamilton, Margaret", "tags": ["apollo", "11"]}}
{"entity_type": "user", "entity_id": "7", "action_type": "new", "result": {"company_id": null, "email": "dennis@nowhere.example", "name": "Dennis", "tags": []}}
{"entity_type": "user", "entity_id": "7", "action_type": "delete"}
{"entity_type": "company", "entity_id": "$globex", "action_type": "delete"}
{"entity_type": "user", "entity_id": "2", "action_type": "delete"}
{"entity_type": "user", "entity_id": "6", "action_type": "delete"}
JSON

# Only when the worker has nothing left can no further request arrive.
wait_until "$PATIENCE" "nothing is queued, in flight or pending" nothing_left
wait_until "$PATIENCE" "all $requests requests are in the log" logged_at_least "$requests"

chapter "The log and the status" 0 <<'SQL'
SELECT to_char(started_at, 'HH24:MI:SS.MS') AS at, event_id, subscription AS "for", entity_type, entity_id, action_type AS action, attempt_number AS try, outcome, http_status AS status, round(duration_ms::numeric, 1) AS ms FROM webhook.log ORDER BY started_at DESC;
\x
SELECT * FROM webhook.status;
SQL

query "SELECT json_build_object('event_id', webhook.event_id(event_number), 'entity_type', entity_type, 'entity_id', entity_id,
  'action_type', action_type, 'result', result::text) FROM webhook.outbox ORDER BY event_number" >"$WORK/outbox.jsonl"

echo
step "Judgement"
chmod a+r "$WORK"/*.jsonl
"${as_user[@]}" node demo/check.mjs judge "$WORK/receiver/requests.jsonl" "$WORK/expected.jsonl" "$WORK/outbox.jsonl" "$secret"
if [ -n "$CONSOLE" ]; then
  echo
  serve_console
fi
succeeded=1

echo
step "What next"
if [ -n "$KEEP" ]; then
  kept=1
  say "All is left running in $WORK"
  say "  connect      $BINDIR/psql -h $WORK/socket -U postgres shop"
  say "  requests     tail -f $WORK/receiver/requests.jsonl"
  say "  server log   tail -f $WORK/server.log"
  [ -z "$CONSOLE" ] || say "  console      $console_url   $console_login"
  stop="$BINDIR/pg_ctl stop -D $WORK/data"
  [ "$(id -u)" != 0 ] || stop="setpriv --reuid=postgres --regid=postgres --init-groups $stop"
  say "  stop         $stop; kill $receiver_pid${console_pid:+ $console_pid}; rm -rf $WORK"
else
  say "  make demo KEEP=1     the same, left running to play with"
  say "  README.md            a quick start for a database of your own"
  say "  make test            every promise, tested"
fi

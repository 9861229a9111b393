# capture: what a watched table costs the application. Sourced by run.sh.
#
# In a database whose worker is suspended, so that nothing but the application
# runs. Each way of writing an event down is measured against the same INSERT
# without it, by turns, and each begins with empty tables.
#
# The floor is the least that could be done with SQL: one INSERT ... SELECT that
# makes the same outbox rows of the table (number, key and row_to_json) and puts
# them into a table with the outbox's columns and indexes. "Copied" is the same
# of ready rows: heap, two indexes and their WAL, and no JSON at all.
#
# The same again with rows of 40 columns, which are compressed: the floor's as
# the server does by default, and as the outbox does.

CAPTURE_ROWS=${CAPTURE_ROWS:-200000}
WIDE_ROWS=${WIDE_ROWS:-10000}
DELETED_ROWS=${DELETED_ROWS:-10000}
PGBENCH_SECONDS=${PGBENCH_SECONDS:-4}

capture_setup() {
  DB=postgres ask 'CREATE DATABASE capture'
  DB=capture
  sql <<'SQL'
CREATE EXTENSION webhook;
UPDATE webhook.identity SET database_oid = 0; -- as in a copy: captures and does not deliver
SQL
  users_table "$CAPTURE_ROWS"
  sql >/dev/null <<'SQL'
SELECT webhook.watch('users');
ALTER TABLE users DISABLE TRIGGER webhook_capture;
CREATE TABLE floor (LIKE webhook.outbox);
CREATE INDEX ON floor (event_number);
CREATE INDEX ON floor (xid);
CREATE SEQUENCE floor_id;
CREATE FUNCTION row_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO floor VALUES (nextval('floor_id'), pg_current_xact_id(), NEW.id::text, 'users', 'new', to_jsonb(NEW)::json,
    NULL, NULL, NULL, NULL, clock_timestamp(), 0);
  RETURN NULL; END $$;
CREATE FUNCTION delete_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO floor VALUES (nextval('floor_id'), pg_current_xact_id(), OLD.id::text, 'users', 'delete', NULL,
    NULL, NULL, NULL, NULL, clock_timestamp(), 0);
  RETURN NULL; END $$;
CREATE FUNCTION statement_events() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO floor SELECT nextval('floor_id'), pg_current_xact_id(), n.id::text, 'users', 'new', to_jsonb(n)::json,
    NULL, NULL, NULL, NULL, clock_timestamp(), 0 FROM n;
  RETURN NULL; END $$;
CREATE TRIGGER by_row AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION row_event();
CREATE TRIGGER delete_by_row AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION delete_event();
CREATE TRIGGER by_statement AFTER INSERT ON users REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION statement_events();
ALTER TABLE users DISABLE TRIGGER USER;
CREATE TABLE ready AS SELECT nextval('floor_id') AS id, pg_current_xact_id() AS xid, id::text AS entity_id, 'users'::text AS entity_type,
  'new'::text AS action_type, row_to_json(seed) AS result, NULL::json AS previous, NULL::text AS tenant, NULL::json AS context,
  NULL::bigint AS subscription_id, clock_timestamp() AS created_at, 0::smallint AS segment FROM seed;
CREATE SEQUENCE client_id;
VACUUM ANALYZE ready;
SQL
  wide_table
  "${as_user[@]}" tee "$WORK/single.sql" >/dev/null <<'SQL'
INSERT INTO users VALUES (nextval('client_id'), 'somebody@example.com', 'Somebody Else', 'customer', 1250.50,
  '{"theme": "dark", "pad": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}', now(), true);
SQL
  # the floor of a single row: the statement writes both
  { printf 'WITH x AS ('; sed '$s/;$//' "$WORK/single.sql"; cat <<'SQL'
 RETURNING *) INSERT INTO floor SELECT nextval('floor_id'), pg_current_xact_id(), x.id::text, 'users', 'new', row_to_json(x),
  NULL, NULL, NULL, NULL, clock_timestamp(), 0 FROM x;
SQL
  } | "${as_user[@]}" tee "$WORK/both.sql" >/dev/null
}

# 40 columns, 2.9 kB as JSON, of which half is digits that do not compress. floor_same is compressed as the outbox is.
wide_table() {
  sql >/dev/null <<SQL
DO \$\$ BEGIN
  EXECUTE (SELECT 'CREATE TABLE wide_seed AS SELECT g::bigint AS id, ' || string_agg(CASE k % 6
      WHEN 0 THEN format('g * %s AS number_%s', k, k)
      WHEN 3 THEN format('now() - g * interval ''1 s'' AS at_%s', k)
      ELSE format('%L || md5((g * 100 + %s)::text) || '', '' || md5((g * 1000 + %s)::text) || '' and so on'' AS text_%s',
        'street ' || k || ', ', k, k, k) END, ', ') || ' FROM generate_series(1, $WIDE_ROWS) g' FROM generate_series(1, 39) k);
END \$\$;
CREATE TABLE wide (LIKE wide_seed, PRIMARY KEY (id));
SELECT webhook.watch('wide');
CREATE TABLE floor_same (LIKE webhook.outbox INCLUDING COMPRESSION);
CREATE INDEX ON floor_same (event_number);
CREATE INDEX ON floor_same (xid);
VACUUM ANALYZE wide_seed;
SQL
}

# with TRIGGER: users is empty and has this trigger ("none": none), what events were written is gone, and the
# WAL goes into files that are there, as on a server that has run for a while: making one costs more than filling it
with() {
  sql -c 'TRUNCATE users, floor, webhook.outbox' -c 'ALTER TABLE users DISABLE TRIGGER USER' -c CHECKPOINT </dev/null
  [ "$1" = none ] || ask "ALTER TABLE users ENABLE TRIGGER $1"
}

# bulk TRIGGER: sets us (microseconds per row) and wal (bytes per row) of a bulk insert
bulk() {
  local from
  with "$1"
  from=$(ask 'SELECT pg_current_wal_insert_lsn()')
  us=$(calc "$(timed 'INSERT INTO users SELECT * FROM seed') * 1000 / $CAPTURE_ROWS")
  wal=$(ask "SELECT (pg_current_wal_insert_lsn() - '$from')::numeric / $CAPTURE_ROWS")
}
# into_floor SELECT: the same of the rows themselves
into_floor() { us=$(calc "$(timed "INSERT INTO floor $1") * 1000 / $CAPTURE_ROWS"); }

# deleting TRIGGER: sets wal (bytes per row) of a bulk delete, where the same trigger has announced the rows before
deleting() {
  local from
  with "$1"
  ask "INSERT INTO users SELECT * FROM seed LIMIT $DELETED_ROWS"
  if [ "$1" = by_row ]; then ask 'ALTER TABLE users ENABLE TRIGGER delete_by_row'; fi
  ask CHECKPOINT # so that what is in the WAL as a whole page counts
  from=$(ask 'SELECT pg_current_wal_insert_lsn()')
  ask 'DELETE FROM users'
  wal=$(ask "SELECT (pg_current_wal_insert_lsn() - '$from')::numeric / $DELETED_ROWS")
}

# wide TRIGGER: sets us of a bulk insert of wide rows; TRIGGER is ENABLE or DISABLE
wide() {
  sql -c 'TRUNCATE wide, floor, floor_same, webhook.outbox' -c "ALTER TABLE wide $1 TRIGGER webhook_capture" </dev/null
  us=$(calc "$(timed 'INSERT INTO wide SELECT * FROM wide_seed') * 1000 / $WIDE_ROWS")
}
# wide_floor TABLE: the same of their outbox rows
wide_floor() {
  us=$(calc "$(timed "INSERT INTO $1 SELECT nextval('floor_id'), pg_current_xact_id(), w.id::text, 'wide', 'new', row_to_json(w),
    NULL, NULL, NULL, NULL, clock_timestamp(), 0 FROM wide w") * 1000 / $WIDE_ROWS")
}

bench_wide() {
  local none captured
  wide DISABLE && none=$us
  sample wide_none "$none"
  wide ENABLE && captured=$(calc "$us - $none")
  sample wide_capture "$captured"
  sample wide_disk "$(ask "SELECT sum(pg_total_relation_size(relid)) / $WIDE_ROWS FROM pg_partition_tree('webhook.outbox')")"
  wide_floor floor
  sample wide_floor "$us"
  sample wide_ratio "$(calc "$captured / $us")"
  sample wide_floor_disk "$(ask "SELECT pg_total_relation_size('floor') / $WIDE_ROWS")"
  wide_floor floor_same
  sample wide_floor_same "$us"
  sample wide_ratio_same "$(calc "$captured / $us")"
}

bench_deleted() {
  local none
  deleting none && none=$wal
  deleting webhook_capture
  sample deleted "$(calc "$wal - $none")"
  deleting by_row
  sample deleted_row "$(calc "$wal - $none")"
}

# single TRIGGER SYNCHRONOUS_COMMIT [SCRIPT]: transactions per second of single rows, 4 clients
single() {
  with "$1"
  "${as_user[@]}" env PGOPTIONS="-c synchronous_commit=$2" pgbench -n -h "$WORK/socket" -U postgres -c 4 -j 1 -M prepared \
    -T "$PGBENCH_SECONDS" -f "$WORK/${3:-single}.sql" "$DB" </dev/null 2>&1 | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

bench_capture() {
  local r none none_wal captured way
  figure none 'bulk INSERT, not watched' 'µs/row'
  figure capture 'watched: added' 'µs/row'
  figure capture_row 'plpgsql row trigger, to_jsonb(NEW): added' 'µs/row'
  figure capture_statement 'plpgsql statement trigger, transition table: added' 'µs/row'
  figure floor 'floor: the same outbox rows by one INSERT ... SELECT' 'µs/row'
  figure copied 'ready outbox rows copied' 'µs/row'
  figure capture_ratio 'watched: added / floor' ratio '<= 0.6'
  figure copied_ratio 'watched: added / ready rows copied' ratio
  figure wal 'WAL of an event' bytes
  figure deleted "WAL of a deleted row's event" bytes '<= 255'
  figure deleted_row '... plpgsql row trigger' bytes
  figure unchanged 'UPDATE that changes nothing captured: added' 'µs/row' '< 1'
  figure single_on 'single-row transactions, 4 clients, watched / not' share '>= 0.92'
  figure single_floor '... floor: both rows by one statement / not watched' share
  figure single_off '... synchronous_commit off' share
  figure wide_none '40 columns, 2.9 kB: bulk INSERT, not watched' 'µs/row'
  figure wide_capture '40 columns: watched: added' 'µs/row'
  figure wide_floor '40 columns: floor' 'µs/row'
  figure wide_floor_same '40 columns: floor, compressed as the outbox' 'µs/row'
  figure wide_ratio '40 columns: watched: added / floor' ratio '<= 0.45'
  figure wide_ratio_same '40 columns: watched: added / floor, compressed as the outbox' ratio
  figure wide_disk '40 columns: an event on disk, with its indexes' bytes
  figure wide_floor_disk "... the floor's, compressed by default" bytes

  capture_setup
  bulk webhook_capture # what is done once (WAL files, caches) is done before
  for r in $(seq "$REPEATS"); do
    bulk none && none=$us none_wal=$wal
    sample none "$us"
    bulk webhook_capture
    captured=$(calc "$us - $none")
    sample capture "$captured"
    sample wal "$(calc "$wal - $none_wal")"
    ask CHECKPOINT
    into_floor "SELECT nextval('floor_id'), pg_current_xact_id(), u.id::text, 'users', 'new', row_to_json(u), NULL, NULL, NULL, NULL, clock_timestamp(), 0 FROM users u"
    sample floor "$us"
    sample capture_ratio "$(calc "$captured / $us")"
    sql -c 'TRUNCATE floor' -c CHECKPOINT </dev/null
    into_floor 'SELECT * FROM ready'
    sample copied "$us"
    sample copied_ratio "$(calc "$captured / $us")"
    bulk by_row
    sample capture_row "$(calc "$us - $none")"
    bulk by_statement
    sample capture_statement "$(calc "$us - $none")"

    bench_deleted
    bench_wide

    with none
    ask 'INSERT INTO users SELECT * FROM seed'
    none=$(timed 'UPDATE users SET name = name')
    with webhook_capture
    ask 'INSERT INTO users SELECT * FROM seed'
    sample unchanged "$(calc "($(timed 'UPDATE users SET name = name') - $none) * 1000 / $CAPTURE_ROWS")"

    for way in on off; do
      none=$(single none $way)
      sample single_$way "$(calc "$(single webhook_capture $way) / $none")"
      [ $way = off ] || sample single_floor "$(calc "$(single none $way both) / $none")"
    done
  done
  with none
}

# flatness: neither backlog nor age nor somebody's long transaction may cost.
# Only in `make bench-long`. Sourced by run.sh, after delivery.sh and capture.sh.

HUGE_BACKLOG=${HUGE_BACKLOG:-2000000}
SMALL_BACKLOG=${SMALL_BACKLOG:-20000}
OLD_EVENTS=${OLD_EVENTS:-10000000}
ONE_TRANSACTION=${ONE_TRANSACTION:-1000000}

# holding SQL COMMAND...: run the command while another session stands in a transaction that began with this SQL
holding() {
  local begin=$1 holder
  shift
  mkfifo "$WORK/held"
  sql <"$WORK/held" >"$WORK/held.out" &
  holder=$!
  exec 7>"$WORK/held"
  printf "BEGIN ISOLATION LEVEL REPEATABLE READ;\n%s;\n\\\\echo held\n" "$begin" >&7
  wait_until 10 'the transaction is held' grep -q held "$WORK/held.out"
  "$@"
  exec 7>&-
  wait "$holder"
  rm "$WORK/held" "$WORK/held.out"
}

# The held snapshot locks none of our tables: that would be another matter, see test/t/080_locks.pl.
backlogs() {
  local r small
  subscribed "$https"
  for r in $(seq "$REPEATS"); do
    drain "$SMALL_BACKLOG"
    small=$rate
    sample small_backlog "$rate"
    holding 'SELECT 1 FROM pg_class LIMIT 1' drain "$SMALL_BACKLOG"
    sample snapshot_ratio "$(calc "$rate / $small")"
    # with an event of its own, which is rolled back with its session
    holding "INSERT INTO other VALUES ($r)" drain "$SMALL_BACKLOG"
    sample writer_ratio "$(calc "$rate / $small")"
    drain "$HUGE_BACKLOG"
    sample huge_backlog "$rate"
    sample huge_ratio "$(calc "$rate / $small")"
  done
}

memory_peak() {
  local pid=$1 peak=0 kb
  while [ -e "$WORK/watching" ] && kb=$(private_kb "$pid" 2>/dev/null); do
    [ "$kb" -le "$peak" ] || peak=$kb
    echo "$peak" >"$WORK/peak"
    sleep 0.2
  done
}

one_transaction() {
  local r before watcher
  for r in $(seq "$REPEATS"); do
    before=$(last_event)
    sql -c 'TRUNCATE users' </dev/null
    touch "$WORK/watching"
    memory_peak "$(worker_pid)" &
    watcher=$!
    ask "INSERT INTO users SELECT * FROM seed LIMIT $ONE_TRANSACTION"
    settle
    rm "$WORK/watching"
    wait "$watcher"
    sample one_memory "$(calc "$(cat "$WORK/peak") / 1024")"
    sample one_first "$(ask "SELECT extract(epoch FROM (SELECT min(started_at) FROM webhook.attempt WHERE event_number > $before)
      - pg_xact_commit_timestamp((SELECT xmin FROM webhook.outbox WHERE event_number > $before ORDER BY event_number LIMIT 1))) * 1000")"
  done
}

# The outbox is not emptied between: bulk() does, so this measures by itself.
added_cost() {
  local none
  sql -c 'TRUNCATE users' -c 'ALTER TABLE users DISABLE TRIGGER USER' </dev/null
  none=$(timed 'INSERT INTO users SELECT * FROM seed')
  sql -c 'TRUNCATE users' -c 'ALTER TABLE users ENABLE TRIGGER webhook_capture' </dev/null
  calc "($(timed 'INSERT INTO users SELECT * FROM seed') - $none) * 1000 / $CAPTURE_ROWS"
}

old_outbox() {
  local r first=0 events
  [ "$(DB=postgres ask "SELECT count(*) FROM pg_database WHERE datname = 'capture'")" = 1 ] || capture_setup
  DB=capture
  with none
  for r in $(seq "$REPEATS"); do
    sql -c 'TRUNCATE webhook.outbox' </dev/null
    sample young_capture "$(added_cost)"
  done
  first=$(awk '$1 == "young_capture" { print $2 }' "$WORK/samples.tsv" | sort -n | sed -n "$(((REPEATS + 1) / 2))p")
  sql -c 'ALTER TABLE users ENABLE TRIGGER webhook_capture' </dev/null
  for ((events = 0; events < OLD_EVENTS; events += CAPTURE_ROWS)); do
    sql -c 'SET synchronous_commit = off' -c 'TRUNCATE users' -c 'INSERT INTO users SELECT * FROM seed' </dev/null
  done
  for r in $(seq "$REPEATS"); do
    sample old_capture "$(added_cost)"
    sample old_ratio "$(calc "$(tail -n 1 "$WORK/samples.tsv" | cut -f 2) / $first")"
  done
  sample outbox_size "$(ask "SELECT sum(pg_total_relation_size(inhrelid)) / 1e6 / (SELECT count(*) / 1e6 FROM webhook.outbox) FROM pg_inherits WHERE inhparent = 'webhook.outbox'::regclass")"
}

bench_flatness() {
  figure small_backlog "backlog of $SMALL_BACKLOG" 'deliveries/s'
  figure huge_backlog "backlog of $HUGE_BACKLOG" 'deliveries/s'
  figure huge_ratio "backlog of $HUGE_BACKLOG / of $SMALL_BACKLOG" ratio '>= 0.9'
  figure snapshot_ratio 'with an old snapshot held / without' ratio '>= 0.9'
  figure writer_ratio 'with a writing transaction held open / without' ratio '>= 0.9'
  figure one_memory "one transaction of $ONE_TRANSACTION changes: the worker's own memory" MB '< 100'
  figure one_first "one transaction of $ONE_TRANSACTION changes: to the first request" ms '< 1000'
  figure young_capture 'capture into an empty outbox: added' 'µs/row'
  figure old_capture "capture after $OLD_EVENTS events: added" 'µs/row'
  figure old_ratio 'after / at first' ratio '<= 1.1'
  figure outbox_size 'size of the outbox with its indexes' 'MB per million events'
  deliver_setup
  sql -c 'CREATE TABLE IF NOT EXISTS other (id int PRIMARY KEY)' -c "SELECT webhook.watch('other')" </dev/null >/dev/null
  backlogs
  one_transaction
  old_outbox
}

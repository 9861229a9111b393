# transform: what the call of a function for each event costs. Sourced by run.sh.
#
# The same events go to the same endpoint over HTTPS, by turns without a
# transform and with one that only returns the row, in SQL and in PL/pgSQL. So
# what is added is the call: a message to the process of the function's owner,
# a transaction there, and a message back. That process's CPU is counted apart
# from the worker's.

BACKLOG_TRANSFORM=${BACKLOG_TRANSFORM:-10000}

# transform_ticks: user and system time of the process that calls the functions, in 1/100 s; there is none at first
transform_ticks() {
  local pid
  pid=$(ask "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook transform' AND datname = '$DB'")
  if [ -n "$pid" ]; then cpu_ticks "$pid"; else echo 0; fi
}

bench_transform() {
  local kind r plain_rate before
  for kind in none sql plpgsql; do
    local text="transform in $kind"
    [ $kind != none ] || text='no transform'
    figure transform_rate_$kind "$text" 'deliveries/s'
    [ $kind = none ] || figure transform_ratio_$kind "$text: rate / without" ratio
    figure transform_cpu_$kind "$text: CPU of the worker" 'µs/delivery'
    [ $kind = none ] || figure transform_called_$kind "$text: CPU of the process that calls it" 'µs/delivery'
  done
  deliver_setup
  sql -c 'CREATE FUNCTION public.bench_sql(e webhook.outbox) RETURNS json LANGUAGE sql AS $$ SELECT e.result $$' \
    -c 'CREATE FUNCTION public.bench_plpgsql(e webhook.outbox) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN e.result; END $$' </dev/null
  for r in $(seq "$REPEATS"); do
    for kind in none sql plpgsql; do
      local function="'public.bench_$kind'"
      [ $kind != none ] || function=NULL
      subscribed "$https" "transform = $function"
      drain 100 # connections, the process and its plans are there
      before=$(transform_ticks)
      drain "$BACKLOG_TRANSFORM"
      sample transform_rate_$kind "$rate"
      sample transform_cpu_$kind "$cpu"
      if [ $kind = none ]; then
        plain_rate=$rate
      else
        sample transform_ratio_$kind "$(calc "$rate / $plain_rate")"
        sample transform_called_$kind "$(calc "($(transform_ticks) - $before) * 10000 / $BACKLOG_TRANSFORM")"
      fi
    done
  done
  subscribed "$https" 'transform = NULL'
}

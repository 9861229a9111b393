# transform: what the call of a function for each event costs. Sourced by run.sh.
#
# The same events go to the same endpoint over HTTPS, by turns without a
# transform and with one that only returns the row, in SQL and in PL/pgSQL. So
# what is added is the call: a message to the process of the function's owner,
# a transaction there, and a message back. That process's CPU is counted apart
# from the worker's.

BACKLOG_TRANSFORM=${BACKLOG_TRANSFORM:-10000}

# transform_process: the process that calls the functions and what it has used, in 1/100 s; none at first
transform_process() {
  local pid
  pid=$(ask "SELECT pid FROM pg_stat_activity WHERE backend_type = 'webhook transform' AND datname = '$DB'")
  [ -z "$pid" ] || echo "$pid $(cpu_ticks "$pid")"
}

# called_since PID TICKS: what has been used since, by that process or by the one that has followed it (an idle one ends)
called_since() {
  local now=()
  read -r -a now < <(transform_process) || true
  [ "${now[0]:-}" = "${1:-}" ] || set -- '' 0
  echo "$((${now[1]:-0} - ${2:-0}))"
}

bench_transform() {
  local kind r plain_rate before=()
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
      read -r -a before < <(transform_process) || true
      drain "$BACKLOG_TRANSFORM"
      sample transform_rate_$kind "$rate"
      sample transform_cpu_$kind "$cpu"
      if [ $kind = none ]; then
        plain_rate=$rate
      else
        sample transform_ratio_$kind "$(calc "$rate / $plain_rate")"
        sample transform_called_$kind "$(calc "$(called_since "${before[@]}") * 10000 / $BACKLOG_TRANSFORM")"
      fi
    done
  done
  subscribed "$https" 'transform = NULL'
}

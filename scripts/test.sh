#!/usr/bin/env bash
# Runs every test, setting up the machine first. This is what CI runs.
#
#   scripts/test.sh                          everything
#   ONLY="lint unit" scripts/test.sh         some layers: lint unit regress isolation tap console fault,
#                                            or, of the long ones (scripts/long.sh), asan fuzz valgrind coverage pg_upgrade million monitoring patroni pages chaos soak,
#                                            or versions, which only who asks for it gets: it makes chroots of other suites
#   ONLY=long, ONLY=all                      all the long ones; everything except patroni and pages, which need networks of their own and a browser
#   ONLY=tap TAP=test/t/050_retry.pl ...         one TAP file (or several, separated by blanks); ONLY=fault TAP=test/fault/010_killed.pl
#   KEEP=1 ...                               leave the work directory, with all logs, for looking at
#
# Builds and runs a copy of the tree (see lib.sh). Each layer prints its own
# report; its results are counted from that. A layer that ends badly without
# having counted a failure, or that has files but ran no test, counts as a
# failure. The last line is "N passed, N failed", and the exit status agrees.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/long.sh"

short='lint unit regress isolation tap console fault'
long='asan fuzz valgrind coverage pg_upgrade million monitoring patroni pages chaos soak'
case ${ONLY:-} in
  '') ONLY=$short ;;
  long) ONLY=$long ;;
  all) ONLY="$short ${long/ patroni pages/}" ;;
esac
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-300}
passed=0
failed=0
failures= # what failed, told once more at the end: who sees only the end of the output knows what to run
WORK=

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "${layer_pid:-}" ]; then
    kill -- "-$layer_pid" 2>/dev/null || true
    wait "$layer_pid" 2>/dev/null || true
  fi
  if [ -n "$WORK" ]; then
    stop_servers
    [ -z "${small_disk:-}" ] || umount "$small_disk" || true
    if [ -n "${KEEP:-}" ]; then say "left for looking at: $WORK"; else rm -rf "$WORK"; fi
  fi
  # Died on the way (set -e, a failed build, Ctrl-C): say so in the same form.
  if [ -z "${counted:-}" ]; then
    say "the test run itself ended early, with status $status"
    failed=$((failed + 1))
    [ "$status" -ne 0 ] || status=1
  fi
  [ -z "$failures" ] || printf '==> what failed\n%s' "$failures"
  say "$passed passed, $failed failed"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run LAYER COMMAND: keep its output in $log; sets status. With LIVE=1 it is
# also shown as it comes.
run() {
  local layer=$1
  shift
  log=$WORK/$layer.log
  step "$layer"
  : >"$log" # for who shows it as it comes
  # In the background and waited for, so that an interrupt is acted on at once,
  # and in a process group of its own, so that it can be ended as a whole. Not
  # through a pipe, whose reader would wait for every process that inherited it.
  setsid "$@" >"$log" 2>&1 </dev/null &
  layer_pid=$!
  [ -z "${LIVE:-}" ] || tail -n +1 -s 0.2 -f --pid="$layer_pid" "$log" &
  status=0
  wait "$layer_pid" || status=$?
  layer_pid=
  wait # for the last lines to be shown
}

# count PASSED FAILED FILES: add a layer's results; FILES says how many there were to run.
count() {
  local ok=$1 bad=$2 files=$3
  if [ "$bad" = 0 ] && [ "$status" != 0 ]; then
    say "${RED}$layer ended with status $status${PLAIN}"
    bad=1
  elif [ "$((ok + bad))" = 0 ] && [ "$files" != 0 ]; then
    say "${RED}$layer has $files files and ran no test${PLAIN}"
    bad=1
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  [ "$bad" = 0 ] || failures+="    $layer"$'\n'$(of_failures "$log" | head -n 60)$'\n'
  say "    $layer: $ok passed, $bad failed"
}

# The lines of a log that say what failed: a layer's own word for it, and what TAP says after it.
of_failures() {
  grep -E -A6 '^ *(not ok|test .* FAILED)|^# +Failed test|\(Wstat: ' "$1" | grep -vE '^ *ok |^--$' | cut -c1-300 || true
}

# What a TAP program said last, of which it died: in its log, before the server's end.
of_last_words() {
  grep -vE '\] ok |^ok |^###|^# (Running|Postmaster|No postmaster)|^waiting for|^server stopped|^$' "$1" 2>/dev/null | tail -n 6 | cut -c1-300 || true
}

matches() { grep -cE "$1" "$log" || true; }
files() { find "$WORK/src/$1" -maxdepth 1 -name "$2" 2>/dev/null | wc -l; }

lint() {
  run lint "${as_user[@]}" bash scripts/lint.sh
  grep -vE '^ok ' "$log" || true
  count "$(matches '^ok ')" "$(matches '^not ok ')" 1
}

# cmocka, told to speak TAP.
unit() {
  [ -f "$WORK/src/test/unit/Makefile" ] || { say "==> unit: nothing there"; return 0; }
  run unit "${as_user[@]}" CMOCKA_MESSAGE_OUTPUT=TAP make -C test/unit check OUT="$WORK/unit"
  if [ "$status" = 0 ] && [ "$(matches '^not ok ')" = 0 ]; then
    grep -E '^# ' "$log" | sed 's/^/    /' || true
  else
    tail -n 200 "$log"
  fi
  count "$(matches '^ok ')" "$(matches '^not ok ')" "$(files test/unit '*.c')"
}

# pg_regress and pg_isolation_regress: a server of their own, without preload,
# hence without a worker. Before PostgreSQL 16 they print "test NAME ... ok",
# since then TAP.
regress_with() {
  local layer=$1 program=$2 dir=$3 ending=$4 tests=() name
  mapfile -t tests < <(find "$WORK/src/$dir" -maxdepth 1 -name "*.$ending" -printf '%f\n' 2>/dev/null |
    sed "s/\.$ending\$//" | LC_ALL=C sort)
  if [ ${#tests[@]} = 0 ]; then
    say "==> $layer: nothing there"
    return 0
  fi
  # a test whose expected output nobody has written yet fails, and not the whole run
  for name in "${tests[@]}"; do
    [ -e "$WORK/src/test/expected/$name.out" ] || "${as_user[@]}" tee "test/expected/$name.out" </dev/null
  done
  "${as_user[@]}" mkdir -p "$WORK/$layer"
  run "$layer" "${as_user[@]}" "$PGXS_DIR/src/test/$program" --bindir="$BINDIR" --inputdir=test \
    --outputdir="$WORK/$layer" --temp-instance="$WORK/$layer/instance" --encoding=UTF8 --no-locale "${tests[@]}"
  sed -nE 's/^(test |ok |not ok )/    &/p' "$log"
  if [ "$status" != 0 ]; then
    if [ -s "$WORK/$layer/regression.diffs" ]; then
      head -n 300 "$WORK/$layer/regression.diffs"
    else
      tail -n 40 "$log"
      tail -n 40 "$WORK/$layer/log/"*.log 2>/dev/null || true
    fi
  fi
  count "$(matches '^(test .* \.\.\. ok|ok )')" "$(matches '^(test .* \.\.\. FAILED|not ok )')" "${#tests[@]}"
}
regress() { regress_with regress regress/pg_regress test/sql sql; }
isolation() { regress_with isolation isolation/pg_isolation_regress test/specs spec; }

# TAP tests on PostgreSQL::Test::Cluster, two at once: the machine of the tests has two cores.
tap() { tap_with tap test/t; }

# tap_with LAYER DIRECTORY [VARIABLE=VALUE...]
tap_with() {
  local layer=$1 dir=$2 tests=() ran bad died ok last_words=
  shift 2
  if [ -n "${TAP:-}" ]; then
    read -r -a tests <<<"$TAP"
  else
    mapfile -t tests < <(cd "$WORK/src" && find "$dir" -name '*.pl' 2>/dev/null | LC_ALL=C sort)
  fi
  if [ ${#tests[@]} = 0 ]; then
    say "==> $layer: nothing there"
    return 0
  fi
  "${as_user[@]}" mkdir -p "$WORK/tap"
  LIVE=1 run "$layer" "${as_user[@]}" "$@" TESTDIR="$WORK/tap" TESTDATADIR="$WORK/tap/tmp_check" TESTLOGDIR="$WORK/tap/tmp_check/log" \
    top_builddir="$WORK/tap" PG_REGRESS="$PGXS_DIR/src/test/regress/pg_regress" \
    prove -j2 --timer -I "$PGXS_DIR/src/test/perl" -I test/t "${tests[@]}"
  # "Files=2, Tests=53, ...", and in the summary a line for each bad program:
  # "test/t/050_retry.pl (Wstat: 512 (exited 2) Tests: 3 Failed: 2)". A program that
  # died, or stopped short of its plan, has failed no test; it counts as one.
  ran=$(sed -nE 's/^Files=[0-9]+, Tests=([0-9]+),.*/\1/p' "$log")
  read -r bad died < <(sed -nE 's/^test\/.*\(Wstat: ([0-9]+).* Failed: ([0-9]+)\)$/\1 \2/p' "$log" |
    awk '{ bad += $2; died += ($1 != 0 && $2 == 0) } END { print bad + 0, died + 0 }')
  ok=$((${ran:-0} - bad))
  if [ "$status" != 0 ]; then
    local t name l
    for t in $(sed -nE 's/^(test\/[^ ]+\.pl) +\(Wstat.*/\1/p' "$log" | sort -u); do
      name=$(basename "$t" .pl)
      for l in "$WORK/tap/tmp_check/log/regress_log_$name" "$WORK/tap/tmp_check/log/${name}"_*.log; do
        [ ! -f "$l" ] || { say "--- end of $(basename "$l")"; tail -n 60 "$l"; }
      done
      last_words+="    $t"$'\n'$(of_last_words "$WORK/tap/tmp_check/log/regress_log_$name")$'\n'
    done
  fi
  count "$ok" "$((bad + died))" "${#tests[@]}"
  [ "$status" = 0 ] || failures+=$last_words
}

# The console, built with sanitizers, as people and programs meet it.
console() {
  quietly "the build of the console" "${as_user[@]}" make -s -j"$(nproc)" -C console OUT="$WORK/console" SANITIZE=1
  tap_with console test/console PGWEBHOOK="$WORK/console/pgwebhook" UBSAN_OPTIONS=halt_on_error=1
}

# A PostgreSQL of its own, with a library that has the fault points of worker/process/fault.c: what people install has none of
# them, and is not touched. It is a copy of the server's directories, which finds its files by where it is.
fault() {
  local tree=$WORK/faulty dirs=() variables=()
  mapfile -t dirs < <(printf '%s\n' "$BINDIR" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)" | LC_ALL=C sort -u)
  "${as_user[@]}" mkdir -p "$tree"
  quietly "the copy of the server" "${as_user[@]}" cp -RL --parents "${dirs[@]}" "$tree"
  "${as_user[@]}" cp -R "$WORK/src" "$WORK/faulty_src"
  quietly "the build with fault points" "${as_user[@]}" make -s -C "$WORK/faulty_src" clean
  quietly "the build with fault points" "${as_user[@]}" make -s -j"$(nproc)" -C "$WORK/faulty_src" FAULTS=1
  quietly "its installation" "${as_user[@]}" make -s -C "$WORK/faulty_src" install FAULTS=1 PG_CONFIG="$tree$BINDIR/pg_config"
  if [ "$(id -u)" = 0 ] && mkdir "$WORK/small" && mount -t tmpfs -o size=16m,mode=1777 tmpfs "$WORK/small" 2>/dev/null; then
    small_disk=$WORK/small
    variables=(WEBHOOK_SMALL_DISK="$small_disk")
  fi
  tap_with fault test/fault PATH="$tree$BINDIR:$PATH" PG_CONFIG="$tree$BINDIR/pg_config" "${variables[@]}"
}

setup=test
for layer in $ONLY; do
  case " $long versions packages " in *" $layer "*) setup=long ;; esac
done
bash "$ROOT/scripts/setup.sh" "$setup" </dev/null
prepare_work test
build_and_install
for layer in $ONLY; do
  case $layer in
    lint | unit | regress | isolation | tap | console | fault | asan | fuzz | valgrind | coverage | pg_upgrade | million | monitoring | patroni | pages | chaos | soak | versions | packages) "$layer" ;;
    *) die "no such layer: $layer" ;;
  esac
done
counted=1
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

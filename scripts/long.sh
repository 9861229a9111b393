# The layers of tests that take longer, for scripts/test.sh, which sources this
# file and whose run(), count() and matches() they use. Each is also a make
# target of its own.
#
#   asan        the engine under ASan and UBSan: unit tests, corpora of the fuzzers
#   fuzz        every fuzzer for SECONDS_EACH (60)
#   valgrind    a server under memcheck, delivering; errors with the library in their stack count
#   coverage    gcov over unit tests and some TAP tests; every outcome and settle branch is to be reached
#   pg_upgrade  to the newer server of a SUITE (stable) of Debian, with deliveries pending; as root, from the mirror of apt
#   million     1,000,000 deliveries for a dead endpoint: the worker's memory, and that all arrive (the TAP test, which is of 50,000 there)
#   monitoring  what monitoring/ ships, scraped by Prometheus and its exporter for PostgreSQL (a TAP test, which is skipped there)
#   patroni     three nodes under Patroni, killed, frozen, cut off and switched over (SCENARIOS): nothing lost or invented; as root, for namespaces
#   pages       the console's pages in Chromium (SHOTS=DIRECTORY keeps pictures)
#   chaos       CHAOS_SECONDS (60) of everything at once for each of CHAOS_SEEDS (1): nothing lost, invented or out of order
#   soak        MINUTES (2) of load and random faults, with exact accounting at the end
#   versions    unit, regress, isolation and ten TAP files on PostgreSQL 17 and 18, in chroots (scripts/test_versions.sh); not one of `long`
#   packages    the packages for PostgreSQL 15 and 17, in chroots (scripts/test_packages.sh); not one of `long`
#
# coverage installs a library that counts, and the usual one again afterwards.

# A layer whose output is TAP, shown as it comes.
show_and_count() {
  LIVE=1 run "$@"
  count "$(matches '^ok ')" "$(matches '^not ok ')" 1
}

# perl_test FILE [VARIABLE=VALUE...]: one of test/long, with a server of its own
perl_test() {
  local file=$1
  shift
  "${as_user[@]}" mkdir -p "$WORK/long"
  show_and_count "$(basename "$file" .pl)" "${as_user[@]}" "$@" TESTDIR="$WORK/long" TESTDATADIR="$WORK/long/tmp_check" \
    TESTLOGDIR="$WORK/long/tmp_check/log" top_builddir="$WORK/long" PG_REGRESS="$PGXS_DIR/src/test/regress/pg_regress" \
    perl -I "$PGXS_DIR/src/test/perl" -I test/t "$file"
}

# The sanitisers end a program at the first thing they find, and with it its test.
asan() {
  run asan "${as_user[@]}" ASAN_OPTIONS=detect_leaks=1 CMOCKA_MESSAGE_OUTPUT=TAP bash -c \
    'status=0; make -C test/unit check OUT="$1/asan" || status=1; env -u ONLY make -C test/fuzz check OUT="$1/fuzz" || status=1; exit $status' \
    - "$WORK"
  [ "$status" = 0 ] || tail -n 200 "$log"
  count "$(matches '^ok ')" "$(matches '^not ok ')" 1
}

fuzz() {
  show_and_count fuzz "${as_user[@]}" env -u ONLY make -s -C test/fuzz run OUT="$WORK/fuzz" SECONDS="${SECONDS_EACH:-60}"
  cp "$WORK"/fuzz/{crash,leak,timeout,oom}-* "${TMPDIR:-/tmp}" 2>/dev/null && say "what it found is in ${TMPDIR:-/tmp}" || true
}

valgrind() {
  perl_test test/long/valgrind.pl VALGRIND_SUPPRESSIONS="$WORK/src/test/valgrind.supp"
}

# As root, for chroot; the file says so where it is not.
pg_upgrade() {
  show_and_count pg_upgrade env PG_CONFIG="$PG_CONFIG" SUITE="${SUITE:-stable}" bash "$WORK/src/test/long/pg_upgrade.sh"
}

million() {
  perl_test test/t/900_million_deferred.pl PGWEBHOOK_LONG=1
}

monitoring() {
  perl_test test/t/672_scraped.pl PGWEBHOOK_MONITORING=1
}

# As root, for namespaces; the file says so where it is not. What it starts runs as the user postgres.
patroni() {
  "${as_user[@]}" mkdir -p "$WORK/patroni"
  show_and_count patroni env -C "$WORK/src" -u PGOPTIONS -u PGSERVICE LANG=C.UTF-8 PATH="$BINDIR:/usr/sbin:$PATH" PG_CONFIG="$PG_CONFIG" \
    TESTDIR="$WORK/patroni" TESTDATADIR="$WORK/patroni/tmp_check" TESTLOGDIR="$WORK/patroni/tmp_check/log" top_builddir="$WORK/patroni" \
    PG_REGRESS="$PGXS_DIR/src/test/regress/pg_regress" SCENARIOS="${SCENARIOS:-}" DROP_ONE="${DROP_ONE:-}" \
    perl -I "$PGXS_DIR/src/test/perl" -I test/t test/long/patroni.pl
}

pages() {
  quietly "the modules for the browser" "${as_user[@]}" npm --prefix test/console ci --no-audit --no-fund
  quietly "the build of the console" "${as_user[@]}" make -s -j"$(nproc)" -C console OUT="$WORK/console"
  perl_test test/long/pages.pl PGWEBHOOK="$WORK/console/pgwebhook" SHOTS="${SHOTS:-}"
}

chaos() {
  perl_test test/long/chaos.pl CHAOS_SECONDS="${CHAOS_SECONDS:-60}" CHAOS_SEEDS="${CHAOS_SEEDS:-1}" DROP_ONE="${DROP_ONE:-}"
}

soak() {
  perl_test test/long/soak.pl MINUTES="${MINUTES:-2}"
}

# Each version counts its own tests, so the sum of them is what counts here.
versions() {
  LIVE=1 run versions env VERSIONS="${VERSIONS:-17 18}" ONLY="unit regress isolation tap" \
    TAP="$(printf 'test/t/%s.pl ' 010_exactly_the_committed 050_retry 060_databases 080_locks 090_readme 170_tools 230_transform 300_hostile_receiver \
      664_by_index 665_plain_insert)" bash "$ROOT/scripts/test_versions.sh"
  local ok bad
  read -r ok _ bad _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1) || true
  count "${ok:-0}" "${bad:-1}" 1
}

# Likewise.
packages() {
  LIVE=1 run packages env ONLY= bash "$ROOT/scripts/test_packages.sh"
  local ok bad
  read -r ok _ bad _ < <(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1) || true
  count "${ok:-0}" "${bad:-1}" 1
}

coverage() {
  "${as_user[@]}" cp -R "$WORK/src" "$WORK/counting"
  quietly "the build that counts" "${as_user[@]}" make -s -C "$WORK/counting" clean
  quietly "the build that counts" "${as_user[@]}" make -s -j"$(nproc)" -C "$WORK/counting" COPT="--coverage -O0 -Wno-cpp"
  install_from "$WORK/counting"
  run coverage "${as_user[@]}" TESTDIR="$WORK/counted" TESTDATADIR="$WORK/counted/tmp_check" TESTLOGDIR="$WORK/counted/tmp_check/log" \
    top_builddir="$WORK/counted" PG_REGRESS="$PGXS_DIR/src/test/regress/pg_regress" COVERED="${COVERED:-050 062 080 120 300 510 650 658 668}" \
    bash scripts/coverage.sh "$WORK/counting" "$WORK/counted" "$PGXS_DIR/src/test/perl"
  install_from "$WORK/src"
  sed -n '/^file /,$p' "$log"
  count "$(matches '^ok ')" "$(matches '^not ok ')" 1
}

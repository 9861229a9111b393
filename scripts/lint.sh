#!/usr/bin/env bash
# The rules that the compiler does not know: who may include whom, how files
# are laid out, and that tests wait for facts. `make lint` prints one TAP line
# per rule, and beneath a broken one each place that breaks it. The reasons for
# the dependency rules are in docs/ARCHITECTURE.md.
#
#   scripts/lint.sh [TREE]     (the tree this script is in, unless given)
set -euo pipefail
shopt -s nullglob
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

n=0
broken=0

# rule NAME COMMAND...: the command prints what breaks the rule, nothing if it
# is kept. A command that fails (a missing tool, a bad pattern) breaks it too.
rule() {
  local name=$1 found status=0
  shift
  n=$((n + 1))
  found=$("$@" 2>&1) || status=$?
  if [ -z "$found" ] && [ "$status" = 0 ]; then
    echo "ok $n - $name"
  else
    broken=$((broken + 1))
    echo "not ok $n - $name"
    [ -z "$found" ] || sed 's/^/#   /' <<<"$found"
    [ "$status" = 0 ] || echo "#   (ended with status $status)"
  fi
}

# search PATTERN FILE...: matching lines as file:line:text. Without files or
# matches nothing; grep's own errors count.
search() {
  local pattern=$1 status=0
  shift
  [ $# -gt 0 ] || return 0
  grep -nHIE -- "$pattern" "$@" || status=$?
  [ "$status" -le 1 ]
}

include='^[[:space:]]*#[[:space:]]*include[[:space:]]*'

# names FILE...: an alternation of their base names, for use in a pattern
names() {
  local list
  list=$(printf '%s|' "${@##*/}")
  printf '%s' "${list%|}" | sed 's/\./\\./g'
}

# Includes of these headers, with whatever path before them.
includes_of() { printf '%s"([^"]*/)?(%s)"' "$include" "$(names "$@")"; }

extension=(extension/*.[ch])
engine=(worker/deliver/*.[ch])
c_files=(extension/*.[ch] worker/*.[ch] worker/deliver/*.[ch] test/unit/*.[ch] test/fuzz/*.[ch] test/bench/*.[ch])
sources=(extension/*.[ch] worker/*.[ch] worker/deliver/*.[ch])

# without NAME... -- FILE...: the files whose base names are not among the names
without() {
  local skip=() f s
  while [ "$1" != -- ]; do skip+=("$1") && shift; done
  shift
  for f in "$@"; do
    for s in "${skip[@]}"; do [[ ${f##*/} == $s ]] && continue 2; done
    printf '%s\n' "$f"
  done
}

# outside PATTERN NAME...: matches in the sources, but for the files named
outside() {
  local pattern=$1 files
  shift
  mapfile -t files < <(without "$@" -- "${sources[@]}")
  search "$pattern" "${files[@]}"
}

# ------------------------------------------------------------ who knows whom

# the files of extension/ that may call the engine's leaves
on_leaves=(api.c credentials.c key_file.c secrets.c verify.c verify.h wrap.c)

extension_knows_no_worker() {
  local headers=(worker/*.h worker/deliver/*.h) leaves refused files
  mapfile -t files < <(without "${on_leaves[@]}" -- "${extension[@]}")
  search "$include[\"<]([^\">]*/)?(worker|deliver)/" "${files[@]}"
  [ ${#headers[@]} -gt 0 ] || return 0
  search "$(includes_of "${headers[@]}")" "${files[@]}"
  # these may use the engine's leaves that need no worker, and nothing else
  leaves='credential.h sign.h target.h template.h seal.h types.h buffer.h json_text.h'
  # shellcheck disable=SC2086
  mapfile -t refused < <(without $leaves -- "${headers[@]}")
  [ ${#refused[@]} = 0 ] || search "$(includes_of "${refused[@]}")" "${on_leaves[@]/#/extension/}"
}

engine_knows_no_postgres() {
  # Quoted includes may name the engine's own headers only, which covers the
  # rest of the project too; and PostgreSQL's are not to come in by <...> either.
  search "$include\"" "${engine[@]}" | grep -vE "include[[:space:]]*\"($(names worker/deliver/*.h))\"" || true
  search "$include<(postgres|fmgr|miscadmin|pgstat|libpq|c\.h|(utils|storage|executor|access|catalog|postmaster|commands|lib|nodes|port|common|mb)/)" "${engine[@]}"
}

leaves_know_no_leaf() {
  local leaf file
  for leaf in answer credential queue template sign http target retry breaker rate seal; do
    # a leaf may have several files, and a header that they share
    for file in worker/deliver/$leaf.[ch] worker/deliver/${leaf}_*.[ch]; do
      search "$include\"" "$file" | grep -vE "\"(types|buffer|json_text|$leaf|${leaf}_internal)\.h\"" || true
    done
  done
}

store_and_deliver_apart() {
  search "$include\"([^\"]*/)?(answer|credential|deliver|json_text|queue|template|sign|http|target|retry|breaker|rate)(_[a-z]+)?\.h\"" worker/store*.[ch]
  search "$include\"([^\"]*/)?store[^\"]*\.h\"" "${engine[@]}"
}

spi_in_its_places() {
  outside "(${include}[\"<]executor/spi\.h)|\bSPI_[a-z]" 'store*.c' 'store*.h' api.c sample.c
}

rule "extension/ includes nothing of worker/ (${on_leaves[*]}: only leaves of the engine)" extension_knows_no_worker
rule 'worker/deliver/ includes only its own and system headers, none of PostgreSQL' engine_knows_no_postgres
rule 'leaves of worker/deliver/ know types.h, buffer.h, json_text.h and themselves; only deliver.c composes' leaves_know_no_leaf
rule 'store and deliver do not know each other' store_and_deliver_apart
rule '<curl/...> only in worker/deliver/http*.[ch] and target.c' outside "${include}[<\"]curl/" 'http*.c' http_internal.h target.c
# credential.c: nobody else can tell whether a certificate is one, and whether a key is its key
rule '<openssl/...> only in worker/deliver/sign*.c, seal.c and credential.c' outside "${include}[<\"]openssl/" 'sign*.c' seal.c credential.c
rule 'SPI only in worker/store*.c, extension/api.c and extension/sample.c' spi_in_its_places
rule 'PG_VERSION_NUM only in extension/compat.h' outside '\bPG_VERSION_NUM\b' compat.h

# ------------------------------------------------------------ how files look

opening_comment() {
  local f
  for f in "${c_files[@]}"; do
    [ "$(head -c 2 "$f")" = '/*' ] || echo "$f:1: does not open with a comment that tells what it is for"
  done
}

short_files() {
  local f lines
  for f in "${c_files[@]}"; do
    [[ $f == *.c ]] || continue
    lines=$(wc -l <"$f")
    [ "$lines" -lt 600 ] || echo "$f: $lines lines; which idea inside wants a file of its own?"
  done
}

no_sleeps() {
  search '\b(sleep|usleep|nanosleep|pg_sleep(_for|_until)?)\b|\bselect[[:space:]]*\([[:space:]]*undef' test/t/*.p[lm] test/fault/*.p[lm] |
    grep -vE ':[0-9]+:[[:space:]]*#|(#|--) part of the scenario' || true
}

text_files() {
  find . \( -name .git -o -name node_modules \) -prune -o -type f \
    ! -name '*.o' ! -name '*.so' ! -name '*.bc' ! -name '*.tgz' ! -name '*.pem' -print0 | LC_ALL=C sort -z
}

# Escaped dots keep these patterns from matching themselves.
no_places() {
  local files
  mapfile -d '' -t files < <(text_files)
  search '\bregistry\.[a-z0-9-]+\.[a-z]+|\b(deb|security|ftp|snapshot|packages)\.debian\.|"resolve[d]":' "${files[@]}"
  search '(^|[^A-Za-z0-9_.$})/*-])/(work|root|home)/[A-Za-z0-9._]' "${files[@]}"
}

formatted() {
  [ ${#c_files[@]} -gt 0 ] || return 0
  # quiet about where in a file: `make format` mends it all
  local f
  for f in "${c_files[@]}"; do
    clang-format --dry-run -Werror "$f" >/dev/null 2>&1 || echo "$f: make format would change it"
  done
}

bash_parses() {
  local f
  while IFS= read -r -d '' f; do bash -n "$f" || echo "$f: does not parse"; done < <(
    find . \( -name .git -o -name node_modules \) -prune -o -type f \( -name '*.sh' -o -path ./.ci/run \) -print0
  )
}

node_parses() {
  local f
  while IFS= read -r -d '' f; do node --check "$f" || echo "$f: does not parse"; done < <(
    find . \( -name .git -o -name node_modules \) -prune -o -type f -name '*.mjs' -print0
  )
}

cppcheck_clean() {
  local c=(extension/*.c worker/*.c worker/deliver/*.c)
  [ ${#c[@]} -gt 0 ] || return 0
  # PostgreSQL's headers are not shown to it: it would check them. Their macros
  # that are no statement or expression are made known here instead.
  cppcheck --quiet --error-exitcode=1 --std=c11 --language=c -j2 --inline-suppr \
    --enable=warning,performance,portability \
    --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unknownMacro \
    --template='{file}:{line}: {severity}: {message} [{id}]' \
    -Iextension -Iworker -Iworker/deliver \
    -DPG_VERSION_NUM=150000 '-DPG_MODULE_MAGIC=' '-DPG_FUNCTION_INFO_V1(x)=' '-DPGDLLEXPORT=' '-DPG_FUNCTION_ARGS=void *fcinfo' \
    '-DPG_TRY(...)=if (1) {' '-DPG_CATCH(...)=} else {' '-DPG_FINALLY(...)=} {' '-DPG_END_TRY(...)=}' \
    '-DPG_RE_THROW()=abort()' \
    "${c[@]}"
}

rule 'every C file opens with a comment' opening_comment
rule 'every .c file has fewer than 600 lines' short_files
rule 'tests in test/t and test/fault wait for facts, not for time (else marked "# part of the scenario")' no_sleeps
rule 'no registry hosts and no absolute paths of one machine' no_places
rule 'C files are laid out by .clang-format' formatted
rule 'shell scripts parse' bash_parses
rule 'Node files parse' node_parses
rule 'cppcheck finds nothing' cppcheck_clean

echo "1..$n"
[ "$broken" = 0 ]

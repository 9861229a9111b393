#!/usr/bin/env bash
# The rules that the compiler does not know: who may include whom, how files
# are laid out, and that tests wait for facts. `make lint` prints one TAP line
# per rule, and beneath a broken one each place that breaks it. The reasons for
# the dependency rules are in docs/internals/overview.md.
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

# the folders of the sources, each with those whose headers it may include besides its own
folders=(
  'engine/common:'
  'engine/policy: engine/common'
  'engine/queue: engine/common'
  'engine/template: engine/common'
  'engine/http: engine/common'
  'engine/secret: engine/common'
  'engine: engine/common engine/policy engine/queue engine/template engine/http engine/secret'
  'extension/shared: engine/policy'
  'extension/capture: extension/shared'
  'extension: extension/shared extension/capture engine/common engine/policy engine/template engine/secret'
  'worker/process: extension/shared engine/http'
  'worker/store: worker/process extension extension/shared extension/capture engine/common'
  'worker/route: worker/store worker/process extension/shared engine/common'
  'worker/transform: worker/store worker/process extension/shared engine/common'
  'worker: worker/process worker/store worker/route worker/transform extension extension/shared engine engine/common'
  'console: engine/common'
)
folder_names=("${folders[@]%%:*}")
engine=(engine/*.[ch] engine/*/*.[ch])
sources=("${engine[@]}" extension/*.[ch] extension/*/*.[ch] worker/*.[ch] worker/*/*.[ch] console/*.[ch])
c_files=("${sources[@]}" test/unit/*.[ch] test/fuzz/*.[ch] test/bench/*.[ch])

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

# outside PATTERN NAME...: matches in the sources, except in the files named
outside() {
  local pattern=$1 files
  shift
  mapfile -t files < <(without "$@" -- "${sources[@]}")
  search "$pattern" "${files[@]}"
}

# ------------------------------------------------------------ who knows whom

# Who includes what that it may not: each folder's list is the whole of what it may know.
folders_keep_to_their_lists() {
  local line folder allowed others found
  for line in "${folders[@]}"; do
    folder=${line%%:*}
    # the headers of every folder that is neither this one nor in its list
    others=()
    for found in "${folder_names[@]}"; do
      allowed=" $folder ${line#*:} "
      [[ $allowed == *" $found "* ]] || others+=("$found"/*.h)
    done
    search "$include\"([^\"]*/)?($(names "${others[@]}"))\"" "$folder"/*.[ch]
  done
}

# A folder that is in no list would be free to do anything.
folders_have_lists() {
  local folder
  while IFS= read -r folder; do
    [[ " ${folder_names[*]} " == *" $folder "* ]] || echo "$folder: not in the list of folders in scripts/lint.sh"
  done < <(find engine extension worker console -name '*.[ch]' -printf '%h\n' | sort -u)
}

# Each list names only folders that come before: so there is no way round in a circle.
folders_in_order() {
  local line known=' ' other
  for line in "${folders[@]}"; do
    for other in ${line#*:}; do
      [[ $known == *" $other "* ]] || echo "${line%%:*} may include $other, which does not come before it"
    done
    known+="${line%%:*} "
  done
}

# each of these decides one thing, and knows nothing of the others
policies_apart() {
  local file name
  for file in engine/policy/*.[ch]; do
    name=${file##*/}
    name=${name%.*}
    search "$include\"" "$file" | grep -E "\"($(names engine/policy/*.h))\"" | grep -vE "\"(${name%_after})\.h\"" || true
  done
}

# Circles of includes. A .c and the .h of its name are one. Files of one folder whose names begin
# with the same word (queue.c, queue_batch.c) are one module, cut by size: those may know each other.
circles() {
  grep -HoE "$include\"[^\"]+" "${sources[@]}" | awk '
    function stem(path) { sub(/.*\//, "", path); sub(/\.[ch]$/, "", path); return path }
    function module(path) { match(path, /.*\//); sub(/_.*/, "", path); return path }
    NR == FNR { file[stem($0)] = $0; next }
    {
      split($0, part, ":"); from = stem(part[1]); to = $0; sub(/.*"/, "", to); to = stem(to)
      if (to in file && to != from) edge[from, to] = reach[from, to] = 1
    }
    END {
      for (via in file)
        for (from in file)
          if ((from, via) in reach)
            for (to in file)
              if ((via, to) in reach) reach[from, to] = 1
      for (both in edge) {
        split(both, part, SUBSEP); a = file[part[1]]; b = file[part[2]]
        sub(/\.[ch]$/, "", a); sub(/\.[ch]$/, "", b)
        if ((part[2], part[1]) in reach && module(a) != module(b))
          print a " includes " b ", from which includes lead back to it"
      }
    }' <(printf '%s\n' "${sources[@]}") - | sort
}

# Every source file has its line in the drawing of the tree.
drawn() {
  local f
  for f in "${sources[@]}"; do
    [[ $f == *_internal.h || ($f == *.h && -e ${f%.h}.c) ]] && continue
    grep -qE "^ +${f##*/} " docs/internals/overview.md || echo "$f: not in the drawing of docs/internals/overview.md"
  done
}

names_are_unique() { find engine extension worker console -name '*.[ch]' -printf '%f\n' | sort | uniq -d; }

engine_knows_no_postgres() {
  search "$include<(postgres|fmgr|miscadmin|pgstat|libpq|c\.h|(utils|storage|executor|access|catalog|postmaster|commands|lib|nodes|port|common|mb)/)" "${engine[@]}"
  search "$include\"(postgres|c|fmgr|miscadmin|funcapi|pgstat)\.h\"|$include\"(utils|storage|executor|access|catalog|postmaster|commands|lib|nodes|port|mb)/" "${engine[@]}"
}

spi_in_its_places() {
  outside "(${include}[\"<]executor/spi\.h)|\bSPI_[a-z]" 'store*.c' 'store*.h' tx_guard.c schema_check.c counters_function.c sample.c
}

rule 'every folder includes only what scripts/lint.sh lists for it' folders_keep_to_their_lists
rule 'every folder of sources is in that list' folders_have_lists
rule 'no two folders of that list know each other, directly or around' folders_in_order
rule 'files of engine/policy/ do not know each other' policies_apart
rule 'no circles of includes, but within one module' circles
rule 'base names of sources are unique' names_are_unique
rule 'every source file is in the drawing of docs/internals/overview.md' drawn
rule 'engine/ includes no header of PostgreSQL' engine_knows_no_postgres
rule '<curl/...> only in engine/http/ and engine/policy/address_policy.c' outside "${include}[<\"]curl/" 'http*.c' http_internal.h address_policy.c
# credential.c: nobody else can tell whether a certificate is one, and whether a key is its key
rule '<openssl/...> only in engine/secret/' outside "${include}[<\"]openssl/" 'sign*.c' seal.c credential.c
rule '<microhttpd.h> only in console/httpd.c' outside "${include}[<\"]microhttpd" httpd.c
rule 'SPI only in worker/store/, extension/counters_function.c and extension/sample.c' spi_in_its_places
rule 'PG_VERSION_NUM only in extension/shared/compat.h' outside '\bPG_VERSION_NUM\b' compat.h

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
  # quiet about where in a file: `make format` fixes it all
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
  local c f
  mapfile -t c < <(printf '%s\n' "${sources[@]}" | grep '\.c$')
  # PostgreSQL's headers are not shown to it: it would check them. Their macros
  # that are no statement or expression are made known here instead.
  cppcheck --quiet --error-exitcode=1 --std=c11 --language=c -j2 --inline-suppr \
    --enable=warning,performance,portability \
    --suppress=missingInclude --suppress=missingIncludeSystem --suppress=unknownMacro \
    --template='{file}:{line}: {severity}: {message} [{id}]' \
    "${folder_names[@]/#/-I}" \
    -DPG_VERSION_NUM=150000 '-DPG_MODULE_MAGIC=' '-DPG_FUNCTION_INFO_V1(x)=' '-DPGDLLEXPORT=' '-DPG_FUNCTION_ARGS=void *fcinfo' \
    '-DPG_TRY(...)=if (1) {' '-DPG_CATCH(...)=} else {' '-DPG_FINALLY(...)=} {' '-DPG_END_TRY(...)=}' \
    '-DPG_RE_THROW()=abort()' \
    "${c[@]}"
}

# Scripts that people have installed from: what they make must stay what it was.
frozen_sql() {
  local hashes=test/upgrade/frozen.sha256
  [ -e "$hashes" ] || return 0
  sha256sum --check --quiet --strict "$hashes"
}

# A tab counts 4, as in .clang-format.
narrow_sql() {
  local f
  for f in sql/webhook--*.sql; do expand -t 4 "$f" | awk -v f="$f" 'length > 100 { print f ":" NR ": " length }'; done
}

rule 'paths, files and tests that pages and comments name exist' perl scripts/lint_prose.pl paths
rule 'words that are not to be used are not (scripts/lint_prose.pl has the list)' perl scripts/lint_prose.pl words
rule 'README has at most 230 lines of at most 100 columns' perl scripts/lint_prose.pl readme
rule 'code on pages is run by a test, or says why not' perl scripts/lint_prose.pl blocks
rule 'links of pages lead somewhere, and so do their anchors' perl scripts/lint_prose.pl links
rule 'every C file opens with a comment' opening_comment
rule 'every .c file has fewer than 600 lines' short_files
rule 'tests in test/t and test/fault wait for facts, not for time (else marked "# part of the scenario")' no_sleeps
rule 'no registry hosts and no absolute paths of one machine' no_places
rule 'C files are laid out by .clang-format' formatted
rule 'shell scripts parse' bash_parses
rule 'Node files parse' node_parses
rule 'cppcheck finds nothing' cppcheck_clean
rule 'docs/images/*.svg are what docs/drawings/*.txt make' node scripts/drawings.mjs --check
rule 'META.json is what PGXN asks for' node scripts/meta.mjs
rule 'version numbers agree: META.json, control file, library, changelogs' bash scripts/release.sh versions
rule 'frozen SQL scripts are as they were frozen' frozen_sql
rule 'lines of SQL scripts have at most 100 columns' narrow_sql

echo "1..$n"
[ "$broken" = 0 ]

#!/usr/bin/env bash
# The promise: `make dist` of a commit always makes the same bytes, and what is in them builds.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# A repository of its own, so that the tree as it is now is a commit, wherever this runs.
mkdir "$WORK/tree"
copy_tree "$WORK/tree"
rm -rf "$WORK/tree/test/receiver/node_modules"
repository() { git -c user.name=test -c user.email=test@example.com -c commit.gpgsign=false -C "$WORK/tree" "$@"; }
repository init -q
repository add -A
GIT_AUTHOR_DATE='2026-01-02T03:04:06Z' GIT_COMMITTER_DATE='2026-01-02T03:04:06Z' repository commit -qm tree

dist() { env -u MAKEFLAGS -u MAKELEVEL OUT="$WORK/$1" "${@:2}" make -s -C "$WORK/tree" dist; }
sum() { sha256sum <"$WORK/$1/$name.zip"; }
name=pgwebhook-$(node -p 'require(process.argv[1]).version' "$ROOT/META.json")

try "make dist" dist first || bail "nothing else can be tried"
# another clone, time zone, mask, and times of files
repository clone -q "$WORK/tree" "$WORK/clone"
find "$WORK/clone" -name .git -prune -o -type f -exec touch -d 2001-01-01 {} +
rm -rf "$WORK/tree"
mv "$WORK/clone" "$WORK/tree"
(umask 077 && dist second TZ=Asia/Tokyo LC_ALL=C >/dev/null)
is "$(sum second)" "$(sum first)" "twice the same bytes: $(sum first | cut -c1-16)..."
repository commit -q --allow-empty -m next
dist third >/dev/null
status=0
[ "$(sum third)" != "$(sum first)" ] || status=1
ok "$status" "(which a later commit does not make: its time is in it)"

mkdir "$WORK/unpacked"
export TZ=UTC # which such archives do not tell
try "it unpacks" unzip -q "$WORK/first/$name.zip" -d "$WORK/unpacked"
is "$(ls "$WORK/unpacked")" "$name" "into one directory, $name"
is "$(find "$WORK/unpacked" -type f -printf '%TY-%Tm-%Td %TH:%TM:%.2TS\n' | sort -u)" '2026-01-02 03:04:06' "every file has the time of the commit"
for file in $(node -p 'const p = require(process.argv[1]).provides.webhook; `${p.file} ${p.docfile}`' "$ROOT/META.json") META.json LICENSE README.md CHANGELOG.md; do
  try "it has $file" test -s "$WORK/unpacked/$name/$file"
done
(cd "$WORK/unpacked/$name" && find . -type f | sed 's|^\./||' | LC_ALL=C sort) >"$WORK/has"
(repository ls-files && node -p 'require(process.argv[1]).provides.webhook.file' "$ROOT/META.json") | LC_ALL=C sort -u >"$WORK/should"
is "$(diff "$WORK/should" "$WORK/has")" '' "and all files of the commit, and no others"
if [ -n "${PG_CONFIG:-}" ] || [ -x "/usr/lib/postgresql/$PG_MAJOR/bin/pg_config" ]; then
  try "it builds" env -u MAKEFLAGS -u MAKELEVEL make -s -j"$(nproc)" -C "$WORK/unpacked/$name"
  try "and installs" env -u MAKEFLAGS -u MAKELEVEL make -s -C "$WORK/unpacked/$name" install DESTDIR="$WORK/installed"
  is "$(find "$WORK/installed" -type f -name 'webhook*' -printf '%f\n' | LC_ALL=C sort | tr '\n' ' ')" \
    "$(cd "$WORK/unpacked/$name/sql" && printf '%s\n' webhook--*.sql ../webhook.so ../webhook.control | sed 's|.*/||' | LC_ALL=C sort | tr '\n' ' ')" \
    "the library, the control file and the scripts"
fi

sed -i 's/"name"/"nam"/' "$WORK/tree/META.json"
repository commit -qam wrong
has "$(dist fourth 2>&1 || true)" 'META.json: name is missing' "a META.json that PGXN would not take makes none"
is "$(ls "$WORK/fourth" 2>/dev/null)" '' "indeed"
done_testing

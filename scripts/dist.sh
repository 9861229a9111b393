#!/usr/bin/env bash
# Writes the archive that PGXN takes, pgwebhook-VERSION.zip by META.json: `make dist`.
#
#   scripts/dist.sh          of HEAD, to packages/ of this tree
#   OUT=DIRECTORY            another place
#   REF=v1.0.0               of another commit
#
# It has what the commit has, and beside the sources the install script made of them,
# which META.json names. The same commit makes the same bytes: order, modes and
# compression are git's, and every file has the commit's time, in UTC.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

OUT=${OUT:-$ROOT/packages}
REF=${REF:-HEAD}
TREE= # of the commit
trap '[ -z "$TREE" ] || rm -rf "$TREE"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

git() { command git -c safe.directory='*' -c core.autocrlf=false -c core.attributesFile=/dev/null -c tar.umask=0022 -C "$ROOT" "$@"; }
field() { node -p 'process.argv.slice(2).reduce((value, name) => value[name], JSON.parse(require("fs").readFileSync(process.argv[1])))' "$TREE/META.json" "$@"; }

git rev-parse -q --verify "$REF^{commit}" >/dev/null 2>&1 || die "make dist archives a commit, and $ROOT is no git repository with a commit $REF"
[ "$REF" != HEAD ] || [ -z "$(git status --porcelain)" ] || say "what is not committed is not in the archive"

TREE=$(mktemp -d)
git archive --format=tar "$REF" | tar -xf - -C "$TREE"
node "$ROOT/scripts/meta.mjs" "$TREE/META.json" || die "META.json is not what PGXN asks for"
name=$(field name)-$(field version)
script=$(field provides webhook file)
for file in "$script" "$(field provides webhook docfile)"; do
  [ -e "$TREE/$file" ] || die "META.json names $file, which is not there"
done
mkdir -p "$OUT"
chmod 644 "$TREE/$script" # a mode of git's
TZ=UTC git archive --format=zip -9 "${extra[@]}" --prefix="$name/" --output="$(cd "$OUT" && pwd)/$name.zip" "$REF"
say "$OUT/$name.zip"

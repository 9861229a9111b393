#!/usr/bin/env bash
# Freezes the SQL of a version, just before its release: `make freeze SQL_VERSION=1.0`. From then on a
# change of the SQL side is an upgrade script, sql/webhook--1.0--1.1.sql.
#
# The scripts that lead to the version are hashed into test/upgrade/frozen.sha256, which `make lint`
# compares. The first time, the install script is made of its parts for good, and the parts are removed:
# one of the two must be the truth. Commits nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
shopt -s nullglob
cd "$ROOT"

version=${1:-}
hashes=test/upgrade/frozen.sha256
[[ $version =~ ^[0-9]+\.[0-9]+$ ]] || die "which version? make freeze SQL_VERSION=1.0"
current=$(sed -nE "s/^default_version = '(.*)'$/\1/p" extension/webhook.control)
[ "$version" = "$current" ] || die "extension/webhook.control makes $current, not $version"

base=$(sed -n 's/^BASE = //p' Makefile)
parts=(sql/src/*.sql)
if [ ${#parts[@]} != 0 ]; then
  [ "$base" = "sql/webhook--$version.sql" ] || die "the parts in sql/src make $base: freeze that first"
  quietly "making $base" env -u MAKEFLAGS -u MAKELEVEL make -s "$base"
fi
scripts=("sql/webhook--$version.sql" sql/webhook--*--"$version".sql)
[ -e "${scripts[0]}" ] || unset 'scripts[0]'
[ ${#scripts[@]} != 0 ] || die "no script in sql leads to version $version"
for script in "${scripts[@]}"; do
  ! grep -qsF "  $script" "$hashes" || die "$script is frozen already"
done
sha256sum "${scripts[@]}" >>"$hashes"
if [ ${#parts[@]} != 0 ]; then
  rm -r sql/src
  sed -i "\|^/\?$base\$|d" .gitignore .dockerignore
fi
say "frozen: ${scripts[*]}"
named=$(grep -rlF --include='*.md' --include='*.sh' --include='*.sql' 'sql/src' . --exclude-dir=node_modules --exclude-dir=.git | sort || true)
[ ${#parts[@]} = 0 ] || [ -z "$named" ] || say "These name the parts, which are gone: "$named

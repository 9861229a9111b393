#!/usr/bin/env bash
# Freezes the SQL of a version, just before its release: `make freeze SQL_VERSION=1.1`. From then on a
# change of the SQL side is the next upgrade script, sql/webhook--1.1--1.2.sql.
#
# The scripts that lead to the version are hashed into test/upgrade/frozen.sha256, which `make lint`
# compares. Commits nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
shopt -s nullglob
cd "$ROOT"

version=${1:-}
hashes=test/upgrade/frozen.sha256
[[ $version =~ ^[0-9]+\.[0-9]+$ ]] || die "which version? make freeze SQL_VERSION=1.1"
current=$(sed -nE "s/^default_version = '(.*)'$/\1/p" extension/webhook.control)
[ "$version" = "$current" ] || die "extension/webhook.control makes $current, not $version"

scripts=("sql/webhook--$version.sql" sql/webhook--*--"$version".sql)
[ -e "${scripts[0]}" ] || unset 'scripts[0]'
[ ${#scripts[@]} != 0 ] || die "no script in sql leads to version $version"
for script in "${scripts[@]}"; do
  ! grep -qsF "  $script" "$hashes" || die "$script is frozen already"
done
sha256sum "${scripts[@]}" >>"$hashes"
say "frozen: ${scripts[*]}"

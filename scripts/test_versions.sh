#!/usr/bin/env bash
# The same tests on each PostgreSQL that Debian has: scripts/test.sh in a chroot
# of the suite that brings it. `make test-versions`, as root.
#
#   VERSIONS="17 18" ...              some of 15 17 18 19; all but 15 unless set
#   ONLY="unit regress" TAP=... ...   layers and files, as for scripts/test.sh; unless set, unit regress isolation tap fault
#   DIRECTORY=...                     where the chroots are kept between runs, 1 to 2 GB each and the packages once more;
#                                     pgwebhook-versions in XDG_CACHE_HOME or /var/cache unless set
#   MIRROR=URL                        of Debian, if not the one that this machine's apt uses
#   KEEP=1                            leaves the work directories, in each chroot's /tmp
#
#   scripts/test_versions.sh prepare  only makes the chroots
#
# A chroot is made at its first use, and brought up to date by nobody: remove its
# directory for a new one. The output of each version is kept beside it, in
# DIRECTORY/VERSION.log. Prints a table at the end, and as its last line
# "N passed, N failed", and the exit status agrees. A version that cannot be had
# or does not build counts as a failure.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/chroot.sh"

VERSIONS=${VERSIONS:-17 18 19}
ONLY=${ONLY:-unit regress isolation tap fault}
TAP=${TAP:-}
DIRECTORY=${DIRECTORY:-${XDG_CACHE_HOME:-/var/cache}/pgwebhook-versions}
passed=0
failed=0

[ "$(id -u)" = 0 ] || die "this needs root, for chroot"
bash "$ROOT/scripts/setup.sh" versions </dev/null
mkdir -p "$DIRECTORY/packages"
DIRECTORY=$(cd "$DIRECTORY" && pwd)
exec 9>"$DIRECTORY/lock"
flock -n 9 || die "somebody uses $DIRECTORY; DIRECTORY=... takes another"

suite_of() {
  case $1 in
    15) say bookworm ;;
    17) say trixie ;;
    18 | 19) say sid ;;
    *) return 1 ;;
  esac
}

# Where a release candidate is. Only the server and what belongs to it come from there.
add_experimental() { # add_experimental CHROOT MIRROR MAJOR
  say "deb $2 experimental main" >"$1/etc/apt/sources.list.d/experimental.list"
  printf 'Package: src:postgresql-%s src:postgresql-common src:pgaudit-%s\nPin: release a=experimental\nPin-Priority: 990\n' "$3" "$3" \
    >"$1/etc/apt/preferences.d/experimental"
}

# prepare VERSION: its chroot, with all that the tests need. Made under another name, so a kept one is whole.
prepare() {
  local version=$1 dir=$DIRECTORY/$1 suite mirror
  [ ! -e "$dir" ] || return 0
  suite=$(suite_of "$version") || { say "no suite of Debian has PostgreSQL $version"; return 1; }
  mirror=$(debian_mirror "$suite") || { say "no mirror of Debian that apt uses has a suite $suite (MIRROR=URL names another)"; return 1; }
  rm -rf --one-file-system "$dir.made"
  make_chroot "$dir.made" "$suite" "$mirror" "$DIRECTORY/packages" || return 1
  [ "$version" != 19 ] || add_experimental "$dir.made" "$mirror" "$version"
  bring_tree "$dir.made"
  in_chroot "$dir.made" "$DIRECTORY/packages" env PG_MAJOR="$version" NO_GO=1 ONLY=tap bash /pgwebhook/scripts/setup.sh test || return 1
  mv "$dir.made" "$dir"
}

# bring_tree CHROOT: the tree as it is now, to /pgwebhook
bring_tree() {
  rm -rf "$1/pgwebhook"
  mkdir "$1/pgwebhook"
  copy_tree "$1/pgwebhook"
}

# run_version VERSION: its output goes to DIRECTORY/VERSION.log too
run_version() {
  local version=$1
  step "PostgreSQL $version: its chroot"
  prepare "$version" 9>&- || { say "PostgreSQL $version cannot be had"; return 1; }
  bring_tree "$DIRECTORY/$version"
  in_chroot "$DIRECTORY/$version" "$DIRECTORY/packages" env PG_MAJOR="$version" NO_GO=1 ONLY="$ONLY" TAP="$TAP" KEEP="${KEEP:-}" \
    PG_TEST_TIMEOUT_DEFAULT="${PG_TEST_TIMEOUT_DEFAULT:-300}" bash /pgwebhook/scripts/test.sh 9>&-
}

# results VERSION LAYER: "N passed, N failed" of it, or nothing
results() { sed -nE "s/^    $2: ([0-9]+ passed, [0-9]+ failed)\$/\1/p" "$DIRECTORY/$1.log" | tail -n 1; }

if [ "${1:-}" = prepare ]; then
  for version in $VERSIONS; do
    step "PostgreSQL $version: its chroot"
    prepare "$version" 9>&- || die "PostgreSQL $version cannot be had"
  done
  exit 0
fi

for version in $VERSIONS; do
  run_version "$version" 2>&1 | tee "$DIRECTORY/$version.log" || true
done

step "all versions"
format='%-12s'
for layer in $ONLY; do format+=' %-24s'; done
# shellcheck disable=SC2086,SC2059
printf "    $format\n" PostgreSQL $ONLY
for version in $VERSIONS; do
  cells=()
  # as the run counted: also a build that failed, or a run that ended early
  last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$DIRECTORY/$version.log" | tail -n 1 || true)
  for layer in $ONLY; do
    cell=$(results "$version" "$layer")
    cells+=("${cell:-not run}")
  done
  # shellcheck disable=SC2059
  printf "    $format\n" "$version" "${cells[@]}"
  read -r ok _ bad _ <<<"${last:-0 passed, 1 failed}"
  passed=$((passed + ok))
  failed=$((failed + bad))
done
say "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

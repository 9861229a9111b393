#!/usr/bin/env bash
# What becomes of a release, tried before it is one: `make test-packages`, as root.
#
#   VERSIONS="15 17 18" ...      whose packages; 15 and 17 unless set
#   ONLY="dist release" ...      some of meta dist release compose deb install autopkgtest dockerfile; all unless set
#   DIRECTORY=...                where chroots are kept, as for scripts/test_versions.sh: of each suite bare-SUITE, of 350 MB,
#                                and build-SUITE, of 1.5 GB
#   PACKAGES=...                 where the packages are, or go: packages/ of this tree
#   MIRROR=URL                   of Debian, if not the one that this machine's apt uses; SECURITY_MIRROR=URL likewise
#   KEEP=1                       leaves the work directories
#
#   meta         META.json by the rules of PGXN, and what they refuse
#   dist         make dist: the same bytes each time, which build
#   release      the checklist refuses what differs
#   compose      compose.yaml names what is there
#   deb          make deb: each version's package builds, and lintian has nothing to say
#   install      on a bare Debian: installs, README's quick start delivers, upgrades, purges; no compiler
#   autopkgtest  debian/tests, as Debian runs them
#   dockerfile   the Dockerfile's steps in a chroot, from source and from the package; README's quick start there
#
# deb leaves the packages that the three after it take. Each is a program of
# test/packages that prints TAP. The last line is "N passed, N failed", and the
# exit status agrees; a program that ends badly without a failed test counts as one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

all='meta dist release compose deb install autopkgtest dockerfile'
ONLY=${ONLY:-$all}
VERSIONS=${VERSIONS:-15 17}
export DIRECTORY=${DIRECTORY:-${XDG_CACHE_HOME:-/var/cache}/pgwebhook-versions}
PACKAGES=${PACKAGES:-$ROOT/packages}
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

suite_of() {
  case $1 in
    15) say bookworm ;;
    17) say trixie ;;
    *) say sid ;;
  esac
}

# tap NAME COMMAND...: shown as it comes, and counted
tap() {
  local name=$1 status=0 ok bad
  shift
  step "$name"
  "$@" 2>&1 </dev/null | tee "$log" || status=1
  ok=$(grep -c '^ok ' "$log" || true)
  bad=$(grep -c '^not ok ' "$log" || true)
  if [ "$status" != 0 ] && [ "$bad" = 0 ] || [ "$((ok + bad))" = 0 ]; then
    say "$name ended badly, or tested nothing"
    bad=$((bad + 1))
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  say "    $name: $ok passed, $bad failed"
}

# deb.sh prints no TAP: one test for each version
build() {
  if env -u MAKEFLAGS -u MAKELEVEL OUT="$PACKAGES" make -s -C "$ROOT" deb VERSIONS="$1"; then
    say "ok 1 - postgresql-$1-webhook builds, and lintian has nothing to say"
  else
    say "not ok 1 - postgresql-$1-webhook builds, and lintian has nothing to say"
    return 1
  fi
}

[ "$(id -u)" = 0 ] || die "this needs root, for chroot"
bash "$ROOT/scripts/setup.sh" packages </dev/null
mkdir -p "$DIRECTORY/packages" "$PACKAGES"
DIRECTORY=$(cd "$DIRECTORY" && pwd)
exec 9>>"$DIRECTORY/lock"
flock -n 9 || die "somebody uses $DIRECTORY; DIRECTORY=... takes another"
export LOCKED=1 # for scripts/deb.sh
here=$ROOT/test/packages

for part in $ONLY; do
  case $part in
    meta | dist | release) tap "$part" bash "$here/$part.sh" ;;
    compose) tap compose python3 "$here/compose.py" ;;
    deb)
      for major in $VERSIONS; do tap "deb $major" build "$major"; done
      ;;
    install | autopkgtest | dockerfile)
      for major in $VERSIONS; do
        suite=$(suite_of "$major")
        # there is no image of sid
        [ "$part $suite" != 'dockerfile sid' ] || { say "==> dockerfile $major: there is no image of $suite" && continue; }
        tap "$part $major" bash "$here/$part.sh" "$major" "$suite" "$PACKAGES"
      done
      ;;
    *) die "no such part: $part" ;;
  esac
done
say "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]

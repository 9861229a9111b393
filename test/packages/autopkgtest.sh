#!/usr/bin/env bash
# The promise: debian/tests pass against the package as it was built, as Debian's own CI runs them.
#
#   test/packages/autopkgtest.sh MAJOR SUITE PACKAGES      as install.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/chroot.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"

debian=$WORK/debian
cp -a "$bare" "$debian"
mkdir "$debian/packages"
cp "$packages/postgresql-$major-webhook_"*.deb "$packages/console-$major/"*.deb "$packages/source-$major/"* "$debian/packages/"

in_debian() { in_chroot "$debian" "$DIRECTORY/packages" "$@"; }
in_debian apt-get -q update >"$WORK/log" 2>&1 && in_debian apt-get -q -y install --no-install-recommends autopkgtest dpkg-dev >>"$WORK/log" 2>&1 || {
  tail -n 20 "$WORK/log" | sed 's/^/# /'
  bail "autopkgtest cannot be installed"
}
status=0
# shellcheck disable=SC2016 # expanded inside
in_debian bash -c 'autopkgtest --no-built-binaries /packages/*.deb /packages/*.dsc -- null' >"$WORK/log" 2>&1 </dev/null || status=1
ok "$status" "autopkgtest passes with postgresql-$major-webhook"
[ "$status" = 0 ] || tail -n 60 "$WORK/log" | sed 's/^/# /'
has "$(cat "$WORK/log")" "PostgreSQL $major: two changes were delivered, and their signatures are valid" "it captured and delivered"
has "$(cat "$WORK/log")" '^deliver +PASS' "and says so"
done_testing

#!/usr/bin/env bash
# Builds the packages postgresql-NN-webhook and pgwebhook-console, and has lintian judge them: `make deb`.
#
#   scripts/deb.sh              for the PostgreSQL of this Debian, on this machine
#   VERSIONS="15 17 18" ...     for each, in a chroot of the Debian that has it, which is kept; as root
#                               (DIRECTORY, MIRROR as for scripts/test_versions.sh; SECURITY_MIRROR=URL)
#   OUT=DIRECTORY               where the packages go (packages/ of this tree), and their sources, in source-NN
#
# debian/ has control.in; debian/control is made here, as it names the server's
# version. The build is that of dpkg-buildpackage with debhelper and pg_buildext, of a
# copy of the tree, as an ordinary user. Whatever lintian says fails it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/chroot.sh"

OUT=${OUT:-$ROOT/packages}
DIRECTORY=${DIRECTORY:-${XDG_CACHE_HOME:-/var/cache}/pgwebhook-versions}
WORK=

finish() {
  local status=$?
  trap - EXIT INT TERM
  [ -z "$WORK" ] || rm -rf "$WORK"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The package of this Debian's PostgreSQL, by what this Debian has.
build_here() {
  local version upstream epoch needed headers
  PG_MAJOR=$1 bash "$ROOT/scripts/setup.sh" deb </dev/null
  needed=$(awk -v major="$1" '$1 == major { print $2 }' /etc/postgresql-common/minor_versions 2>/dev/null || true)
  headers=$(dpkg-query -W -f '${Version}' "postgresql-server-dev-$1")
  # pg_buildext makes the package need a newer server than this, to which these headers do not belong
  [ -z "$needed" ] || dpkg --compare-versions "$headers" gt "$needed" ||
    die "postgresql-server-dev-$1 is of version $headers, and Debian's packages of extensions are for servers after $needed; upgrade it, or build with VERSIONS=$1"
  # a server of somebody's own has no package
  PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config PG_MAJOR=$1
  prepare_work deb
  step "building the package for PostgreSQL $1"
  rm -rf "$WORK/src/test/receiver/node_modules"
  "${as_user[@]}" PG_SUPPORTED_VERSIONS="$1" pg_buildext updatecontrol
  version=$("${as_user[@]}" dpkg-parsechangelog -S Version)
  epoch=$("${as_user[@]}" dpkg-parsechangelog -S Timestamp)
  upstream=${version%-*}
  "${as_user[@]}" bash -c 'tar --sort=name --mtime="@$2" --owner=0 --group=0 --numeric-owner --exclude=./debian --exclude=./packages --transform="s|^\.|pgwebhook-$1|" \
    -cf - . | gzip -9n >"../pgwebhook_$1.orig.tar.gz"' - "$upstream" "$epoch"
  quietly "dpkg-buildpackage" "${as_user[@]}" PG_SUPPORTED_VERSIONS="$1" DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage -us -uc
  step "lintian"
  # One source is for three releases of Debian, each with a policy of its own and its own format of watch files. The console's
  # unit is a sandbox, for which an init script has no equivalent.
  "${as_user[@]}" lintian --no-cfg --suppress-tags out-of-date-standards-version,newer-standards-version,older-debian-watch-file-standard,package-supports-alternative-init-but-no-init.d-script --tag-display-limit 0 --info --display-info --show-overrides \
    --fail-on error,warning,info,pedantic "../pgwebhook_${version}_$(dpkg --print-architecture).changes" || die "lintian is not content"
  say "    nothing to say"
  rm -rf "$OUT/postgresql-$1-webhook_"*.deb "$OUT/source-$1" "$OUT/console-$1"
  mkdir -p "$OUT/source-$1"
  cp "$WORK/postgresql-$1-webhook_${version}_"*.deb "$OUT/"
  # the console is built on each Debian, and is of it
  mkdir -p "$OUT/console-$1"
  cp "$WORK/pgwebhook-console_${version}_"*.deb "$OUT/console-$1/"
  cp "$WORK/pgwebhook_$upstream.orig.tar.gz" "$WORK/pgwebhook_$version.dsc" "$WORK/pgwebhook_$version.debian.tar."* "$OUT/source-$1/"
  rm -rf "$WORK"
  WORK=
}

suite_of() {
  case $1 in
    15) say bookworm ;;
    17) say trixie ;;
    18) say sid ;;
    *) die "no suite of Debian has PostgreSQL $1" ;;
  esac
}

# The same in the Debian that has this PostgreSQL. It is kept, and brought up to date before each build: a package needs
# the server whose headers it was built with.
build_in_chroot() {
  local dir bare suite
  [ "$(id -u)" = 0 ] || die "VERSIONS needs root, for chroot"
  bash "$ROOT/scripts/setup.sh" versions </dev/null
  suite=$(suite_of "$1")
  dir=$DIRECTORY/build-$suite
  mkdir -p "$DIRECTORY/packages"
  (
    [ -n "${LOCKED:-}" ] || flock -n 9 || die "somebody uses $DIRECTORY; DIRECTORY=... takes another"
    step "PostgreSQL $1: the chroot that builds its package"
    if [ ! -e "$dir" ]; then
      bare=$(bare_chroot "$DIRECTORY" "$suite") || die "no mirror of Debian that apt uses has a suite $suite (MIRROR=URL and SECURITY_MIRROR=URL name others)"
      cp -a "$bare" "$dir"
    fi
    rm -rf "$dir/pgwebhook"
    mkdir "$dir/pgwebhook"
    copy_tree "$dir/pgwebhook"
    quietly "bringing it up to date" in_chroot "$dir" "$DIRECTORY/packages" sh -c 'apt-get -q update && apt-get -q -y dist-upgrade'
    in_chroot "$dir" "$DIRECTORY/packages" bash /pgwebhook/scripts/deb.sh </dev/null
    rm -rf "$OUT/postgresql-$1-webhook_"*.deb "$OUT/source-$1" "$OUT/console-$1"
    mkdir -p "$OUT"
    cp -r "$dir/pgwebhook/packages/postgresql-$1-webhook_"*.deb "$dir/pgwebhook/packages/source-$1" "$dir/pgwebhook/packages/console-$1" "$OUT/"
  ) 9>>"$DIRECTORY/lock"
}

if [ -n "${VERSIONS:-}" ]; then
  for major in $VERSIONS; do build_in_chroot "$major"; done
else
  VERSIONS=$(default_major)
  build_here "$VERSIONS"
fi
step "in $OUT"
for major in $VERSIONS; do (cd "$OUT" && ls "postgresql-$major-webhook_"*.deb "console-$major/"*.deb | sed 's/^/    /'); done

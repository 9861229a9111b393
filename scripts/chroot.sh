# shellcheck shell=bash
# Suites of Debian in directories of their own, for tests of other PostgreSQL
# versions; sourced after lib.sh, never run.
#
# No mirror is named here: it is the first of this machine's apt that has the
# suite (MIRROR=URL takes another). Nothing stays mounted: what a chroot needs is
# mounted in a mount namespace of its own, which ends with its last process, and
# in_chroot also gives it a process namespace, so no server outlives the call.

# debian_mirror SUITE [LABEL]: prints its URL. What other people's mirrors and those of security updates have is not labelled so.
debian_mirror() {
  local site tmp label=${2:-Debian}
  tmp=$(mktemp -d)
  for site in ${MIRROR:-$(apt-get --print-uris update | sed -nE "s|^'(.*)/dists/[^/]+/(In)?Release'.*|\1|p" | uniq)}; do
    if /usr/lib/apt/apt-helper -o Acquire::Retries=3 download-file "$site/dists/$1/InRelease" "$tmp/InRelease" >>"$tmp/log" 2>&1 &&
      grep -qx "Label: $label" "$tmp/InRelease"; then
      rm -rf "$tmp"
      say "$site"
      return 0
    fi
  done
  sed 's/^/# /' "$tmp/log" >&2 2>/dev/null || true
  rm -rf "$tmp"
  return 1
}

# make_chroot DIRECTORY SUITE MIRROR PACKAGES: unpacks the suite; DIRECTORY appears only when it is whole.
# PACKAGES is a directory in which downloaded packages are kept, for the next one.
make_chroot() {
  local dir=$1 suite=$2 mirror=$3 packages=$4 new=$1.new log
  rm -rf --one-file-system "$new"
  mkdir -p "$packages"
  log=$(mktemp)
  # debootstrap mounts /proc; so it has mounts of its own, too
  if ! unshare --mount --propagation private debootstrap --variant=minbase --cache-dir="$packages" "$suite" "$new" "$mirror" \
    >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  # servers of packages make no cluster and start nothing; the rest of how apt reaches its mirror is as on this machine
  mkdir -p "$new/etc/postgresql-common/createcluster.d"
  say 'create_main_cluster = false' >"$new/etc/postgresql-common/createcluster.d/pgwebhook.conf"
  printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
  chmod +x "$new/usr/sbin/policy-rc.d"
  apt-config dump | grep -E '^Acquire::(Check-|Retries|https?::)' >"$new/etc/apt/apt.conf.d/90pgwebhook" || true
  say 'Acquire::Languages "none";' >>"$new/etc/apt/apt.conf.d/90pgwebhook"
  mv "$new" "$dir"
}

# bare_chroot DIRECTORY SUITE: a Debian with nothing added, and with its security updates as every Debian has them; kept as
# DIRECTORY/bare-SUITE, whose name is printed.
bare_chroot() {
  local dir=$1/bare-$2 mirror
  if [ ! -e "$dir" ]; then
    mirror=$(debian_mirror "$2") || return 1
    make_chroot "$dir.made" "$2" "$mirror" "$1/packages" >&2 || return 1
    if [ "$2" != sid ]; then # which gets them itself
      mirror=$(MIRROR=${SECURITY_MIRROR:-} debian_mirror "$2-security" Debian-Security) || return 1
      say "deb $mirror $2-security main" >>"$dir.made/etc/apt/sources.list"
    fi
    mv "$dir.made" "$dir"
  fi
  say "$dir"
}

# in_chroot DIRECTORY PACKAGES COMMAND...: as root, with /proc, /dev and shared memory, and the environment of the
# command alone. When it ends, or this process does, everything that it has started ends.
in_chroot() {
  local dir=$1 packages=$2
  shift 2
  # shellcheck disable=SC2016 # expanded inside
  unshare --mount --propagation private --pid --fork --kill-child bash -c '
    dir=$1 packages=$2
    shift 2
    mount -t proc proc "$dir/proc" && mount --bind /dev "$dir/dev" && mount -t tmpfs -o mode=1777 tmpfs "$dir/dev/shm" &&
      mount --bind "$packages" "$dir/var/cache/apt/archives" || exit 1
    cp -L /etc/resolv.conf /etc/hosts "$dir/etc/" 2>/dev/null
    chroot "$dir" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
      DEBIAN_FRONTEND=noninteractive "$@"
    exit $?' - "$dir" "$packages" "$@"
}

# remove_work DIRECTORY: what an interrupted debootstrap left mounted there is not ours to delete
remove_work() {
  local mounted
  awk -v under="$1/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | LC_ALL=C sort -r |
    while IFS= read -r mounted; do umount "$mounted"; done
  rm -rf --one-file-system "$1"
}

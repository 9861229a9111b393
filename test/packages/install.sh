#!/usr/bin/env bash
# The promise: on a bare Debian, what docs/operations.md says of the package, typed as it stands
# there, installs it, delivers README's quick start, upgrades it and removes it; it brings no compiler.
#
#   test/packages/install.sh MAJOR SUITE PACKAGES
#
# PACKAGES is the directory that scripts/deb.sh left the package in. As root, for chroot:
# the Debian is a copy of what debootstrap unpacks, and is removed at the end. What a chroot
# has not: systemd, which starts the server that was installed, and somebody who answers apt
# with yes. Only the receiver, which README starts "in another terminal", runs outside, by this
# machine's python3, from what the package has installed. The chroot shares the machine's loopback
# interface, so README's port 8080 is replaced by one that is free.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/chroot.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"
package=postgresql-$major-webhook
documents=/usr/share/doc/$package

# The page's commands are for PostgreSQL 15, and say that other versions take their place.
page=docs/operations.md
section='### Debian packages'
block() { page_block "$page" "$1" "$section" sh | sed -E "s/\\b15\\b/$major/g"; }
type_line() { # type_line DIRECTORY LINE
  local status=0
  typed=$(inside "cd $1 && $2") || status=1
  ok "$status" "$page: $2"
  [ "$status" = 0 ] || sed 's/^/#   /' <<<"$typed"
  return "$status"
}

# in another terminal
receive() { exec python3 "$debian$documents/examples/receiver.py" --port "$1" "$2"; }

deb=$(find "$packages" -maxdepth 1 -name "${package}_*.deb")
[ -f "$deb" ] || bail "$packages must have one package ${package}: $deb"
debian=$WORK/debian
cp -a "$bare" "$debian"
# as an administrator has it: the server's package makes its cluster
rm "$debian/etc/postgresql-common/createcluster.d/pgwebhook.conf"

# what is downloaded is kept for the next test
say 'Binary::apt::APT::Keep-Downloaded-Packages "true";' >>"$debian/etc/apt/apt.conf.d/90pgwebhook"
say 'APT::Get::Assume-Yes "true";' >>"$debian/etc/apt/apt.conf.d/90pgwebhook"

# The package as an older version of it would be: the same, except for its number.
mkdir "$debian/older" "$debian/newer" "$WORK/older"
cp "$deb" "$debian/newer/"
dpkg-deb -R "$deb" "$WORK/older"
newer=$(sed -n 's/^Version: //p' "$WORK/older/DEBIAN/control")
sed -i 's/^Version: .*/Version: 0.9.0-1/' "$WORK/older/DEBIAN/control"
dpkg-deb --root-owner-group -b "$WORK/older" "$debian/older/${package}_0.9.0-1.deb" >/dev/null

enter "$debian"
version_installed() { inside "dpkg-query -W -f '\${db:Status-Status} \${Version}' $package 2>/dev/null" || true; }

#
# Install
#
is "$(block 1)" "make deb VERSIONS=$major" "$page: the package is built by make deb, which has been"
inside 'apt-get -q update' >"$WORK/apt.log" || bail "apt-get update fails in the chroot: $(tail -n 5 "$WORK/apt.log")"
mapfile -t lines < <(block 2)
is "${#lines[@]}" 4 "four commands install it"
type_line /older "${lines[0]}" || bail "nothing else can be tried"
is "$(version_installed)" "installed 0.9.0-1" "it is installed on a bare $suite, with the server that it needs"
all=$(inside "dpkg-query -W -f '\${Package}\\n'")
has "$all" "^postgresql-$major\$" "(among $(wc -l <<<"$all") packages)"
# (postgresql-common-dev, of trixie's server itself, is scripts)
is "$(grep -vx postgresql-common-dev <<<"$all" | grep -E '^(gcc|g\+\+|clang|cpp|make|binutils|tcc)(-[0-9]+)?$|-dev$')$(inside 'find /usr/include -type f | head -n 1; command -v cc gcc clang make ld')" '' \
  "there is no compiler and no package of headers"
is "$(inside "ls /etc/ssl/certs/ca-certificates.crt $documents/README.md $documents/$page $documents/examples/receiver.py | wc -l")" 4 \
  "it has brought the authorities of TLS, the pages and the receiver"
inside "pg_ctlcluster $major main start" | sed 's/^/# /' # as systemd has
for line in "${lines[@]:1}"; do type_line /older "$line" || bail "nothing else can be tried"; done
is "$(sql <<<'SHOW shared_preload_libraries')" webhook "the server has loaded it"

#
# README's quick start
#
quick_start
mapfile -t lines < <(block 3)
is "${lines[*]}" "apt install python3 python3 $documents/examples/receiver.py whsec_..." "$page: it is this receiver that has printed that"
type_line / "${lines[0]}" || true
has "$(inside "python3 $documents/examples/receiver.py --help")" '^usage: receiver.py ' "(and with this python3 it starts)"

#
# Upgrade
#
stop_receiver
sql <<<"INSERT INTO users VALUES (43, 'free')"
mapfile -t lines < <(block 4)
is "${#lines[@]}" 3 "three commands upgrade it"
type_line /newer "${lines[0]}" || true
is "$(version_installed)" "installed $newer" "from 0.9.0-1 to $newer, while the server runs"
sql <<<"INSERT INTO users VALUES (44, 'free')"
is "$(sql <<<"SELECT count(*) FROM webhook.outbox WHERE entity_id IN ('43', '44')")" 2 "events are captured before the server is restarted"
# the list with another library, as the page has it
type_line / "$(sed "s/\b15\b/$major/g" "$ROOT/$page" | grep -oE "pg_conftool $major main set shared_preload_libraries [a-z_]+,webhook")" || true
for line in "${lines[@]:1}"; do type_line /newer "$line" || true; done
has "$(sql <<<'SHOW shared_preload_libraries')" '^[a-z_]+,webhook$' "both libraries are loaded"
start_receiver "$secret"
sql <<<"SELECT webhook.redeliver(webhook.event_id(p.event_number), 'demo') FROM webhook.pending p" >/dev/null
wait_until 60 "two events are printed" printed_lines 4 || true
is "$(printed | grep -oE '"entity_id":"[0-9]+"' | sort -u | tr '\n' ' ')" '"entity_id":"43" "entity_id":"44" ' "and what was captured before is delivered"

#
# Remove and purge
#
inside "dpkg -L $package | while read -r path; do [ -d \$path ] || echo \$path; done" >"$WORK/files"
mapfile -t lines < <(block 5)
is "${#lines[@]}" 4 "four commands remove it"
for line in "${lines[@]}"; do type_line / "$line" || true; done
is "$(version_installed)" '' "the package manager knows nothing of it any more"
has "$(cat "$WORK/files")" '/webhook\.so$' "(of $(wc -l <"$WORK/files") files)"
is "$(while IFS= read -r path; do [ ! -e "$debian$path" ] || say "$path"; done <"$WORK/files")" '' "none of its files is left"
is "$(find "$debian/usr" "$debian/etc" "$debian/var/lib" -path '*webhook*' ! -name 'pgwebhook*' -not -path '*/var/lib/postgresql/*' -not -path '*/apt/*' | head)" '' \
  "nor anything else of its name"
type_line / "pg_ctlcluster $major main restart" || true # without its files
is "$(sql <<<"SELECT count(*) FROM users")" 2 "the server starts without it, and the tables are there"

done_testing

#!/usr/bin/env bash
# Installs what a fresh Debian machine lacks: setup.sh [demo|test|long|bench|versions|deb|packages]
#
# "demo" is what building, installing and the demo need; "test" (the default)
# adds the tools of the tests, "long" those of the long ones, "bench" those of
# the benchmarks; "versions" is what makes chroots, and nothing else; "deb" is what
# builds the package, "packages" what its tests need on this machine. Runs apt-get only if something is missing, as root or through sudo, and starts none of the
# services that Debian's packages bring. Then fetches the receiver's npm packages
# as locked.
# PG_MAJOR chooses the PostgreSQL version, that of this Debian unless set; PG_CONFIG one that is
# installed already. The tools of lint are left out if ONLY has other layers.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

what=${1:-test}
missing=()

# need PACKAGE COMMAND...: the package is wanted unless the check succeeds
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
installed() { dpkg-query -W -f '${Status}' "$1" | grep -q 'ok installed'; }

receiver=$ROOT/test/receiver
browser=$ROOT/test/console/browser # what drives chromium over the pages of the console
fetched() {
  [ -f "$1/node_modules/.package-lock.json" ] &&
    [ ! "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]
}

build_and_demo() {
  need build-essential eval 'command -v gcc && command -v make && installed libc6-dev'
  if [ -z "${PG_CONFIG:-}" ]; then # else somebody brings their own PostgreSQL
    need "postgresql-$PG_MAJOR" test -x "/usr/lib/postgresql/$PG_MAJOR/bin/postgres"
    need "postgresql-server-dev-$PG_MAJOR" test -f "/usr/include/postgresql/$PG_MAJOR/server/postgres.h"
  fi
  need libcurl4-openssl-dev installed libcurl4-openssl-dev
  need libssl-dev installed libssl-dev
  [[ " ${ONLY:-} " != *' console '* ]] || console_libraries
  need openssl command -v openssl
  need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt # the authorities that libcurl asks where nobody names others
  need nodejs command -v node
  fetched "$receiver" || need npm command -v npm
}

# what pgwebhook serve is made of
console_libraries() {
  need libmicrohttpd-dev installed libmicrohttpd-dev # HTTP
  need libpq-dev installed libpq-dev                 # the database
}

# whether the tests of the console's pages are run, which need a browser
pages() { [[ $what =~ ^(test|long)$ && " ${ONLY:-console} " == *' console '* ]]; }

need_debootstrap() { need debootstrap eval 'PATH=$PATH:/usr/sbin command -v debootstrap'; }

# Debian's own way to packages of extensions, and its judge
package_tools() {
  need build-essential eval 'command -v gcc && command -v make && installed libc6-dev'
  need debhelper command -v dh
  need postgresql-common installed postgresql-common # the user postgres, as which it is built
  need postgresql-server-dev-all installed postgresql-server-dev-all # pg_buildext
  need "postgresql-server-dev-$PG_MAJOR" test -f "/usr/include/postgresql/$PG_MAJOR/server/postgres.h"
  need libcurl4-openssl-dev installed libcurl4-openssl-dev
  need libssl-dev installed libssl-dev
  console_libraries
  need lintian command -v lintian
}

case $what in
  demo | test | long | bench) build_and_demo ;;
  versions) need_debootstrap ;;
  deb) package_tools ;;
  packages)
    need_debootstrap
    need nodejs command -v node # scripts/meta.mjs
    need git command -v git # archives, for make dist
    need unzip command -v unzip
    need openssh-client command -v ssh-keygen # signs the tag that the test of the checklist makes
    need python3 command -v python3 # README's receiver
    need python3-yaml python3 -c 'import yaml' # reads compose.yaml
    ;;
  *) die "usage: setup.sh [demo|test|long|bench|versions|deb|packages]" ;;
esac
case $what in
  test | long)
    need perl command -v prove
    need libipc-run-perl perl -MIPC::Run -e1
    need libcmocka-dev installed libcmocka-dev
    # what may log secrets: test/t/640_logs_tell_no_secret.pl. A PostgreSQL of somebody's own has to bring it
    [ -n "${PG_CONFIG:-}" ] || need "postgresql-$PG_MAJOR-pgaudit" test -f "/usr/lib/postgresql/$PG_MAJOR/lib/pgaudit.so"
    need nginx-light eval 'PATH=$PATH:/usr/sbin command -v nginx'
    # README's receiver, and the programs of docs/receiving.md
    need python3 command -v python3
    [ -n "${ONLY:-}" ] || console_libraries
    if pages; then
      need chromium command -v chromium
      fetched "$browser" || need npm command -v npm
    fi
    [ -n "${NO_GO:-}" ] || need golang-go command -v go # 460 MB; without it those in Go are not run
    if [[ " ${ONLY:-lint} " == *' lint '* ]]; then
      need cppcheck command -v cppcheck
      need clang-format command -v clang-format
    fi
    ;;
  bench)
    need nginx-light test -x /usr/sbin/nginx -a -f /usr/lib/nginx/modules/ngx_http_echo_module.so
    need libpq-dev installed libpq-dev
    # optional: perf tells where a worker's time goes, and not every kernel lets it
    [ -n "${NO_PERF:-}" ] || need linux-perf command -v perf
    ;;
esac
if [ "$what" = long ]; then
  need clang command -v clang
  need libclang-rt-dev eval 'clang -print-file-name=libclang_rt.fuzzer-x86_64.a >/dev/null && ls "$(clang -print-resource-dir)"/lib/linux/libclang_rt.fuzzer-*.a'
  need valgrind command -v valgrind
  need_debootstrap
  if [[ " ${ONLY:-monitoring} " =~ \ (monitoring|long|all)\  ]]; then
    need prometheus command -v promtool # judges the alerts of monitoring/, and scrapes
    need prometheus-postgres-exporter command -v prometheus-postgres-exporter
  fi
fi

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || die "missing, and no apt-get to install it: ${missing[*]}"
  step "installing ${missing[*]}"
  # Without this file the server's package makes and starts a cluster on port
  # 5432, which nobody here asked for. Somebody who has postgresql-common
  # already has decided for themselves.
  snippet= policy=
  trap 'as_root rm -f $snippet $policy' EXIT
  if ! installed postgresql-common 2>/dev/null; then
    snippet=/etc/postgresql-common/createcluster.d/pgwebhook-setup.conf
    as_root mkdir -p "$(dirname "$snippet")"
    echo 'create_main_cluster = false' | as_root tee "$snippet" >/dev/null
  fi
  # nor does anybody need nginx or Prometheus as a service
  if [[ " ${missing[*]} " =~ \ (nginx-light|prometheus|prometheus-postgres-exporter)\  ]] && [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
  fi
  quietly "apt-get update" as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
  # headers of the server that is there, if Debian still has them: nobody asked for another server
  version=$(dpkg-query -W -f '${Version}' "postgresql-$PG_MAJOR" 2>/dev/null || true)
  if [ -n "$version" ] && apt-cache show "postgresql-server-dev-$PG_MAJOR=$version" >/dev/null 2>&1; then
    missing=("${missing[@]/%postgresql-server-dev-$PG_MAJOR/postgresql-server-dev-$PG_MAJOR=$version}")
  fi
  quietly "apt-get install" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -q -y --no-install-recommends install "${missing[@]}"
  hash -r
fi

if [[ $what =~ ^(demo|test|long|bench)$ ]] && ! fetched "$receiver"; then
  step "fetching the receiver's npm packages"
  quietly "npm ci" npm ci --prefix "$receiver" --no-audit --no-fund
fi
if pages && ! fetched "$browser"; then
  step "fetching the browser's npm packages"
  quietly "npm ci" npm ci --prefix "$browser" --no-audit --no-fund
fi

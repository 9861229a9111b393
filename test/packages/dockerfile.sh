#!/usr/bin/env bash
# The promise: the Dockerfile's steps make an image that captures and delivers, from source and
# from the package; compose.yaml's receiver is one that README's quick start works with.
#
#   test/packages/dockerfile.sh MAJOR SUITE PACKAGES      as install.sh
#
# Without Docker: each stage is a copy of a chroot in which its RUN and COPY lines are run as
# they stand. The base, such as postgres:17-trixie, is played by a bare Debian with its own
# server, which has the same paths as the image. What the image's entrypoint does to a new data
# directory, initdb and `postgres`, is done here. An instruction that is not known here is an error.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/chroot.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

begin "$@"

make_base() {
  cp -a "$bare" "$WORK/base"
  in_chroot "$WORK/base" "$DIRECTORY/packages" sh -c "apt-get -q update && apt-get -q -y install --no-install-recommends postgresql-$major" \
    >"$WORK/base.log" 2>&1 </dev/null || bail "the base cannot be made: $(tail -n 5 "$WORK/base.log")"
}

# The context that Docker would be given: the tree without what .dockerignore names, and packages/.
make_context() {
  mkdir -p "$WORK/context/packages"
  copy_tree "$WORK/context"
  rm -rf "$WORK/context/test/receiver/node_modules"
  cp "$packages"/*.deb "$WORK/context/packages/"
}

# one instruction a line, without comments
instructions() { sed -e '/^[[:space:]]*#/d' "$ROOT/Dockerfile" | sed -e ':more; /\\$/ { N; s/[[:space:]]*\\\n[[:space:]]*/ /; b more }' -e '/^$/d'; }

# replaced TEXT: ${NAME} of an ARG by its value
replaced() {
  local text=$1 name
  for name in "${!args[@]}"; do text=${text//"\${$name}"/${args[$name]}}; done
  say "$text"
}

# build TARGET: every stage that it takes, as Docker does it; each in $WORK/stage-NAME. Stages that it does not take are skipped.
declare -A args
build() {
  local target=$1 wanted=" $1 " line instruction rest stage='' image name words status from
  while IFS= read -r line; do # what it copies from, too
    [[ $line =~ ^FROM\ .*\ AS\ ([a-z]+)$ ]] && stage=${BASH_REMATCH[1]}
    [[ $line =~ ^COPY\ --from=([a-z]+)\  ]] && [ "$stage" = "$target" ] && wanted+="${BASH_REMATCH[1]} "
  done < <(instructions)
  args=([PG_MAJOR]=$major [DEBIAN]=$suite)
  stage=''
  while IFS= read -r line; do
    instruction=${line%% *} rest=${line#* }
    if [ "$instruction" = FROM ]; then
      [[ $(replaced "$rest") =~ ^postgres:$major-$suite\ AS\ ([a-z]+)$ ]] || bail "Dockerfile: another base: $line"
      stage=${BASH_REMATCH[1]} image=$WORK/stage-${BASH_REMATCH[1]}
      [[ $wanted == *" $stage "* && ! -e $image ]] || { stage=skipped && continue; }
      cp -a "$WORK/base" "$image"
      continue
    fi
    [ "$stage" != skipped ] || continue
    case $instruction in
      ARG) name=${rest%%=*} && [ -n "${args[$name]:-}" ] || bail "Dockerfile: no value is known for $name" ;;
      RUN)
        status=0
        in_chroot "$image" "$DIRECTORY/packages" env PG_MAJOR="${args[PG_MAJOR]}" sh -c "$rest" >"$WORK/run.log" 2>&1 </dev/null || status=1
        ok "$status" "$target: RUN ${rest:0:60}..."
        [ "$status" = 0 ] || { tail -n 30 "$WORK/run.log" | sed 's/^/# /' && return 1; }
        ;;
      COPY)
        read -r -a words <<<"$(replaced "$rest")"
        from=$WORK/context
        [[ ${words[0]} != --from=* ]] || { from=$WORK/stage-${words[0]#--from=} && words=("${words[@]:1}"); }
        [ ${#words[@]} = 2 ] && [[ ${words[0]} != --* && ${words[1]} == /* ]] || bail "Dockerfile: COPY as it is not known here: $line"
        mkdir -p "$image${words[1]}"
        status=0
        # a directory's contents, or files; the destination is a directory here
        if [ -d "$from/${words[0]}" ]; then
          cp -R --preserve=mode,timestamps,links "$from/${words[0]}/." "$image${words[1]}/" || status=1
        else
          # shellcheck disable=SC2086 # a pattern
          cp --preserve=mode,timestamps "$from"/${words[0]} "$image${words[1]}" || status=1
        fi
        ok "$status" "$target: $line"
        [ "$status" = 0 ] || return 1
        ;;
      *) bail "Dockerfile: an instruction that is not known here: $line" ;;
    esac
  done < <(instructions)
}

# run TARGET: what the entrypoint does with a new data directory; then README's quick start
run() {
  debian=$WORK/stage-$1
  enter "$debian"
  inside "bin=/usr/lib/postgresql/$major/bin"'; d=/var/lib/postgresql/data
    as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
    install -d -o postgres -g postgres -m 700 "$d" && install -d -o postgres -g postgres -m 2775 /var/run/postgresql &&
    as $bin/initdb -D "$d" -A trust >/dev/null && as $bin/pg_ctl start -w -D "$d" -l /tmp/server.log -o "-c listen_addresses="' |
    sed 's/^/# /'
  psql="/usr/lib/postgresql/$major/bin/psql -h /var/run/postgresql"
  is "$(sql <<<'SHOW shared_preload_libraries')" webhook "$1: a new cluster preloads it, whatever its command line"
  quick_start
  stop_receiver
  leave
}

# compose.yaml's receiver, on another port, and with this tree's demo/ where compose mounts it
receive() {
  local command
  mapfile -t command < <(python3 "$ROOT/test/packages/compose.py" command "$2")
  command=("${command[@]//8080/$1}")
  WEBHOOK_SECRET=$2 PYTHONUNBUFFERED=1 exec "${command[@]//\/demo\//$ROOT/demo/}"
}

make_base
make_context
for target in package source; do
  if build "$target"; then run "$target"; fi
done
is "$(find "$WORK/stage-source/usr/bin" -name 'gcc*' -o -name make | head -n 1)" '' "no compiler is in the image from source"
done_testing

# shellcheck shell=bash
# What the tests of packages share; sourced after scripts/lib.sh and scripts/chroot.sh.
# Each of them prints TAP, and its exit status agrees.

source "$ROOT/test/tap.sh"

# has TEXT PATTERN NAME: a line of the text matches
has() {
  local status=0
  grep -qE -- "$2" <<<"$1" || status=1
  ok "$status" "$3"
  [ "$status" = 0 ] || printf '#   expected: a line like %s\n%s\n' "$2" "$(tail -n 20 <<<"$1" | sed 's/^/#   got: /')"
}

# try NAME COMMAND...: it succeeds; else what it said is shown
try() {
  local name=$1 out status=0
  shift
  out=$("$@" 2>&1 </dev/null) || status=1
  ok "$status" "$name"
  [ "$status" = 0 ] || tail -n 40 <<<"$out" | sed 's/^/#   /'
  return "$status"
}

# begin MAJOR SUITE PACKAGES: of that PostgreSQL, on that Debian, the packages in that directory. Sets
# `bare`, an unpacked Debian that is not to be changed, and WORK, which is removed at the end.
begin() {
  major=$1 suite=$2 packages=$(cd "$3" && pwd)
  [ "$(id -u)" = 0 ] || bail "this needs root, for chroot"
  WORK=$(mktemp -d)
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  bare=$(bare_chroot "$DIRECTORY" "$suite") || bail "no mirror of Debian that apt uses has a suite $suite (MIRROR=URL and SECURITY_MIRROR=URL name others)"
}
finish() {
  stop_receiver
  leave
  if [ -n "${KEEP:-}" ]; then say "# left for looking at: $WORK"; else remove_work "$WORK"; fi
}

# A shell in a chroot that stays until leave(): what it starts runs on between the calls of inside(), and ends with it.
enter() { # enter DIRECTORY
  coproc SHELL_INSIDE { in_chroot "$1" "$DIRECTORY/packages" bash 2>&1; }
  inside_pid=$SHELL_INSIDE_PID
  # bash closes its own in subshells
  exec {inside_out}<&"${SHELL_INSIDE[0]}" {inside_in}>&"${SHELL_INSIDE[1]}"
}

# inside COMMANDS: in that shell; prints what they print, and returns their status
inside() {
  local line last any=
  printf '(\n%s\n) </dev/null; printf "\\n=== %%s\\n" $?\n' "$1" >&"$inside_in"
  while IFS= read -r line <&"$inside_out"; do
    if [[ $line =~ ^===\ ([0-9]+)$ ]]; then
      # the line's end before === may be ours
      [ -z "${last:-}" ] || say "$last"
      return "${BASH_REMATCH[1]}"
    fi
    [ -z "$any" ] || say "$last"
    last=$line any=1
  done
  return 125 # it has ended
}

# The shell and all that it has started end.
leave() {
  local children
  [ -n "${inside_pid:-}" ] || return 0
  exec {inside_in}>&- {inside_out}<&-
  read -r -a children <"/proc/$inside_pid/task/$inside_pid/children" || true
  [ ${#children[@]} = 0 ] || kill -KILL "${children[@]}" 2>/dev/null || true # unshare, which lets nothing less end it, and takes its own with it
  wait "$inside_pid" 2>/dev/null || true
  inside_pid=
}

# page_block PAGE N HEADING LANGUAGE: the Nth block of that language beneath that heading of that page
page_block() {
  awk -v n="$2" -v heading="$3" -v fence="\`\`\`$4" '
    /^##/ && !inside { here = ($0 == heading) }
    here && inside && $0 == "```" { exit }
    inside { print }
    here && !inside && $0 == fence && ++seen == n { inside = 1 }' "$ROOT/$1"
}
readme_block() { page_block README.md "$1" "## $2" "$3"; } # readme_block N TITLE LANGUAGE

#
# README's quick start, on a server in the chroot $debian that enter() has entered, by $psql,
# with a receiver of this machine: `receive PORT SECRET` is to become it.
#

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# sql STATEMENTS: as the superuser, in one psql
sql() {
  cat >"$debian/tmp/statements.sql"
  chmod a+r "$debian/tmp/statements.sql"
  inside "setpriv --reuid=postgres --regid=postgres --init-groups ${psql:-psql} -XAtq -v ON_ERROR_STOP=1 -f /tmp/statements.sql"
}
sql_says() { [ "$(sql <<<"$1" | tail -n 1)" = "$2" ]; }

start_receiver() { # start_receiver SECRET
  : >"$WORK/printed"
  receive "$port" "$1" >"$WORK/printed" 2>&1 </dev/null {inside_in}>&- &
  receiver_pid=$!
  wait_until 30 "the receiver listens" grep -q '^listening on' "$WORK/printed"
}
stop_receiver() {
  [ -n "${receiver_pid:-}" ] || return 0
  kill "$receiver_pid" 2>/dev/null || true
  wait "$receiver_pid" 2>/dev/null || true
  receiver_pid=
}
printed() { sed -e '/^listening on/d' -e 's/evt_[0-9a-f]\{8\}_/evt_0123abcd_/' "$WORK/printed"; }
printed_lines() { [ "$(printed | wc -l)" -ge "$1" ]; }

# Leaves the receiver running, and its $secret.
quick_start() {
  port=$(free_port)
  readme_block 1 'Quick start' sql | sed "s/127\.0\.0\.1:8080/127.0.0.1:$port/" >"$WORK/subscribe.sql"
  grep -qF ":$port/" "$WORK/subscribe.sql" || bail "README's quick start has no URL of 127.0.0.1:8080"
  [ "$(readme_block 1 'Quick start' sh)" = 'python3 demo/receiver.py whsec_...' ] || bail "README starts another receiver"
  secret=$(sql <"$WORK/subscribe.sql" | tee "$WORK/subscribe.out" | grep -E '^whsec_' || true)
  has "$secret" '^whsec_[A-Za-z0-9+/]{43}=$' "README's quick start subscribes"
  [ -n "$secret" ] || { sed 's/^/# /' "$WORK/subscribe.out" && bail "nothing else can be tried"; }
  start_receiver "$secret"
  readme_block 2 'Quick start' sql | sql
  readme_block 1 'Quick start' text >"$WORK/expected"
  wait_until 60 "what README shows is printed" printed_lines "$(wc -l <"$WORK/expected")" || true
  is "$(printed)" "$(cat "$WORK/expected")" "its receiver prints what README shows: three events, signed"
  wait_until 60 "the log has all" sql_says "SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'" 3 || true
  is "$(readme_block 3 'Quick start' sql | sql | grep -cF '|delivered|200|')" 3 "and the log has three deliveries"
}

# shellcheck shell=bash
# TAP, for tests that are shell scripts; sourced after scripts/lib.sh. done_testing agrees with
# what was printed.

tests=0
failed=0

ok() { # ok STATUS NAME
  tests=$((tests + 1))
  if [ "$1" = 0 ]; then
    say "ok $tests - $2"
  else
    failed=$((failed + 1))
    say "not ok $tests - $2"
  fi
}

is() { # is GOT EXPECTED NAME
  local status=0
  [ "$1" = "$2" ] || status=1
  ok "$status" "$3"
  [ "$status" = 0 ] || printf '#   got:      %s\n#   expected: %s\n' "${1//$'\n'/ }" "${2//$'\n'/ }"
}

done_testing() {
  say "1..$tests"
  [ "$failed" = 0 ]
}

bail() {
  say "Bail out! $*"
  exit 1
}

#!/usr/bin/env bash
# What the tests reach: coverage.sh TREE OUT PERL_LIBRARY
#
# The layer "coverage" of the tests, with a TREE that was built with
# --coverage, not optimised, and installed. Runs the unit tests, built in the same way, and the
# TAP tests whose numbers are in COVERED; then coverage.pl tells per file what
# was reached, and judges. What a process counted is written when it ends, so
# nothing is known of those that were killed.
set -euo pipefail
tree=$1 out=$2 library=$3
cd "$tree"
mkdir -p "$out/unit"

# the unit tests fail elsewhere if they fail
make -s -C test/unit check OUT="$out/unit" SANITIZE=--coverage CFLAGS="-g -O0" || echo "# some unit tests failed"
for number in $COVERED; do
  prove -I "$library" -I test/t test/t/"$number"_*.pl || {
    echo "# $number failed, and said last:"
    tail -n 10 "$TESTLOGDIR/regress_log_$number"_* | cut -c1-300 | sed 's/^/#   /'
  }
done

for dir in "$tree" "$out/unit"; do
  find "$dir" -name '*.gcda' | while read -r counts; do
    (cd "$(dirname "$counts")" && gcov --json-format --stdout "$counts")
  done
done | perl scripts/coverage.pl

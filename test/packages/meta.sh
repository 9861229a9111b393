#!/usr/bin/env bash
# The promise: META.json is what PGXN takes, and the judge that says so refuses what PGXN would.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# said JAVASCRIPT: what the judge says of META.json (m) after that
said() {
  node -e 'const fs = require("fs"); const m = JSON.parse(fs.readFileSync(process.argv[1])); eval(process.argv[2]);
    fs.writeFileSync(process.argv[3], JSON.stringify(m));' "$ROOT/META.json" "$1" "$WORK/META.json"
  node "$ROOT/scripts/meta.mjs" "$WORK/META.json" || true
}

is "$(said '')" '' "META.json is what PGXN asks for"
for name in name abstract version maintainer license provides meta-spec; do
  is "$(said "delete m['$name']")" "META.json: $name is missing" "without $name it is refused"
done
is "$(said 'delete m.provides.webhook.file')" "META.json.provides.webhook: file is missing" "so is an extension without its file"
is "$(said 'delete m.provides.webhook.version')" "META.json.provides.webhook: version is missing" "or its version"
is "$(said 'm.provides = {}')" "META.json.provides: must have at least 1 members" "a distribution of nothing"
has "$(said 'm.version = "1.0"')" '^META.json.version: "1.0" does not match' "a version of two parts"
has "$(said 'm.version = "01.0.0"')" '^META.json.version: "01.0.0" does not match' "or with a leading zero"
has "$(said 'm.prereqs.runtime.requires.PostgreSQL = "15"')" '^META.json.prereqs.runtime.requires.PostgreSQL: "15" does not match' \
  "a prerequisite's version of one part"
is "$(said 'm.prereqs.runtime.needs = {}')" "META.json.prereqs.runtime.needs: must be requires or recommends or suggests or conflicts" \
  "a relation that there is not"
is "$(said 'm.license = "MINE"')" "META.json.license: must be postgresql" "another licence"
is "$(said 'm.release_status = "done"')" "META.json.release_status: must be stable or testing or unstable" "a status that there is not"
is "$(said 'm.tags = []')" "META.json.tags: must have at least 1 items" "no tags where there are some"
has "$(said 'm.tags = ["a/b"]')" '^META.json.tags\[0\]: "a/b" does not match' "a tag with a slash"
is "$(said 'm["meta-spec"].version = "2.0.0"')" "META.json.meta-spec.version: must be 1.0.0" "another Meta Spec"
is "$(said 'm.colour = "red"')" "META.json.colour: is not known to the Meta Spec" "a member that the spec does not know"
is "$(said 'm.x_colour = "red"')" '' "but not one that begins with x_"
is "$(said 'm.resources.repository = { type: "git" }')" "META.json.resources.repository: must have at least 2 members" "a repository that is nowhere"
has "$(said 'm.provides.webhook.file = "/tmp/x.sql"')" '^META.json.provides.webhook.file: "/tmp/x.sql" does not match' "a file outside the archive"
printf '{' >"$WORK/META.json"
has "$(node "$ROOT/scripts/meta.mjs" "$WORK/META.json" || true)" '^META.json: .*JSON' "what is no JSON"
done_testing

#!/usr/bin/env bash
# The promise: the release checklist refuses what differs, says what it is, and tags only what is ready.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

repository() { git -c user.name=test -c user.email=test@example.com -c commit.gpgsign=false -C "$WORK/tree" "$@"; }
version=$(node -p 'require(process.argv[1]).version' "$ROOT/META.json")
short=${version%.*}

mkdir "$WORK/tree"
copy_tree "$WORK/tree"
rm -rf "$WORK/tree/test/receiver/node_modules"
cd "$WORK/tree"
repository init -q

release() { bash scripts/release.sh "$@" 2>&1 </dev/null; }
# differs FILE SED WHAT: after that change the versions do not agree, and it says so
differs() {
  local said status=0
  cp "$1" "$WORK/kept"
  sed -i "$2" "$1"
  said=$(release versions) && status=1
  cp "$WORK/kept" "$1"
  grep -qF "$3" <<<"$said" || status=1
  ok "$status" "refused: $3"
  [ "$status" = 0 ] || sed 's/^/#   said: /' <<<"$said"
}

is "$(release versions)" '' "the versions agree as they are"
differs extension/webhook.control "s/^default_version = .*/default_version = '7.7'/" "extension/webhook.control: default_version is 7.7, and META.json makes it $short"
differs CHANGELOG.md "s/^## $version/## 7.7.7/" "CHANGELOG.md: its first version is 7.7.7, and META.json makes it $version"
differs debian/changelog "1s/($version/(7.7.7/" "debian/changelog: its first version is 7.7.7, and META.json makes it $version"
differs engine/http/http_easy.c 's/"pgwebhook\/.*"/"pgwebhook\/7.7"/' "engine/http/http_easy.c: USER_AGENT is 7.7, and META.json makes it $short"
differs META.json "s/^\t\t\t\"version\": .*/\t\t\t\"version\": \"7.7.7\"/" "META.json: the version of what it provides is 7.7.7, and META.json makes it $version"
differs META.json "s/^\t\"version\": .*/\t\"version\": \"7\",/" "META.json: the version is 7, and must be X.Y.Z"
differs META.json 's/"version": "[0-9.]*"/"version": "7.7.7"/' "sql: no script leads to version 7.7: neither webhook--7.7.sql nor an upgrade"
differs SECURITY.md "s/^| $short /| 7.7 /" "SECURITY.md: the first version with fixes is 7.7, and META.json makes it $short"
differs META.json 's/"file": ".*"/"file": "sql\/none.sql"/' "META.json: it provides sql/none.sql, which is not there"

# A tree that is ready: what a release changes is changed
sed -i -E "1,/^## /s/^## .*/## $version (2026-01-02)/" CHANGELOG.md
sed -i -E '1s/ [A-Za-z]+;/ unstable;/' debian/changelog
sed -i -E 's/"release_status": "[a-z]+"/"release_status": "stable"/' META.json
sed -i -E 's/is unreleased/is out/; s/not decided/decided/; s/ \(not released yet\)//; s/no download place/a download place/' README.md SECURITY.md docs/*.md debian/watch
{ grep -rlF pgwebhook.example . --exclude-dir=.git | grep -v '/release\.sh$' || true; } | xargs -r sed -i 's/pgwebhook\.example/example.org/g'
repository add -A
repository commit -qm ready
is "$(release ready)" "ready: well" "a tree that is ready is found to be so"

# not_ready FILE SED WHAT: committed, and refused
not_ready() {
  local said status=0
  sed -i -E "$2" "$1"
  repository commit -qam change
  said=$(release ready) && status=1
  repository reset -q --hard HEAD~1
  grep -qF "$3" <<<"$said" || status=1
  ok "$status" "refused: $3"
  [ "$status" = 0 ] || sed 's/^/#   said: /' <<<"$said"
}
not_ready CHANGELOG.md "s/^## $version .*/## $version (unreleased)/" "## $version (unreleased): no date"
not_ready CHANGELOG.md "s/^## $version .*/## $version (2026-02-30)/" "CHANGELOG.md: the line must be \"## $version (YYYY-MM-DD)\""
not_ready debian/changelog '1s/ unstable;/ UNRELEASED;/' "debian/changelog: the distribution is UNRELEASED"
not_ready META.json 's/"stable"/"testing"/' "META.json: release_status is testing, and must be stable"
not_ready META.json 's/"abstract": "/&pgwebhook.example /' "pgwebhook.example: a placeholder"
not_ready docs/guide.md '1s/$/ see pgwebhook.example/' "docs/guide.md:1:pgwebhook.example: a placeholder"
not_ready README.md "1s/\$/: $short is unreleased/" 'README.md: it says "unreleased"'
not_ready README.md "1s/\$/: the place is not\ndecided/" 'README.md: it says "not decided"'
not_ready SECURITY.md "s/^\| $short \|/| $short (not released yet) |/" 'SECURITY.md: it says "not released"'
not_ready META.json 's/"version": "[0-9.]+"/"version": "7.7.7"/' "extension/webhook.control: default_version is $short, and META.json makes it 7.7"

# not_tagged WHAT NAME: ready refuses, and so does tag, which tags nothing
not_tagged() {
  local tags
  tags=$(repository tag)
  has "$(release ready || true)" "$1" "refused: $2"
  has "$(release tag || true)" "$1" "also by tag"
  is "$(repository tag)" "$tags" "which has tagged nothing"
}
echo more >>README.md
not_tagged '^git: something is not committed$' "what is not committed"
repository update-index --assume-unchanged README.md
not_tagged '^git: README.md: changes of it are not looked at' "what git was told to take for unchanged"
repository update-index --no-assume-unchanged README.md
repository checkout -q README.md
echo more >sql/webhook--0.9--$short.sql
repository config status.showUntrackedFiles no
not_tagged '^git: something is not committed$' "a file that git does not know, where its settings hide such"
repository config --unset status.showUntrackedFiles
rm sql/webhook--0.9--$short.sql
repository tag "v$version"
not_tagged "^git: there is a tag v$version already\$" "a version that is tagged already"
repository tag -d "v$version" >/dev/null
repository tag v9.10.0
not_tagged "^git: v9.10.0 is tagged, and is newer than $version\$" "a version older than one that is tagged"
repository tag -d v9.10.0 >/dev/null
mkdir "$WORK/alien"
is "$(GIT_DIR=$WORK/alien GIT_WORK_TREE=$WORK/alien release ready)" "ready: well" \
  "the repository is that of the tree, whatever a hook's environment names"
mv .git "$WORK/kept.git"
has "$(release ready || true)" '^git: this tree is no repository of its own, with a commit$' "refused: a tree that is no repository"
git -C "$WORK" init -q
git -C "$WORK" -c user.name=test -c user.email=test@example.com commit -q --allow-empty -m alien
has "$(release ready || true)" '^git: this tree is no repository of its own, with a commit$' "refused: a tree within another repository"
rm -rf "$WORK/.git"
mv "$WORK/kept.git" .git

# The whole of it, with docs and tests that are made here
cat >scripts/docs.sh <<SH
[ -z "\${DOCS_SKIP:-}" ] || exit 0
command git -C "$WORK/tree" show HEAD:docs/reference.md >"\$(dirname "\$0")/../docs/reference.md"
[ -z "\${DOCS_CHANGE:-}" ] || echo more >>"\$(dirname "\$0")/../docs/reference.md"
SH
ran=$WORK/ran
cat >Makefile.tests <<MAKE
.PHONY: test test-long test-versions test-packages
test test-long test-versions test-packages:
	@echo "\$@ \$(VERSIONS)" >>$ran; env >>$WORK/environment; cat README.md >$WORK/readme
	@[ ! -e $WORK/meanwhile ] || sh $WORK/meanwhile
	@test "\$@" != "\$\$(cat $WORK/fail)"
MAKE
mkdir bin
printf '#!/bin/sh\nexec "%s" -f Makefile.tests "$@"\n' "$(command -v make)" >bin/make
chmod +x bin/make
repository add -A
repository commit -qm stubs
export PATH=$WORK/tree/bin:$PATH
: >"$ran"
: >"$WORK/fail"
said=$(release || true)
has "$said" '^    make test-versions VERSIONS="[0-9 ]+19"$' "without an argument it names the tests"
is "$({ grep -oE '[0-9]+' <<<"$(grep test-versions <<<"$said")" && PG_MAJOR='' bash -c 'source scripts/lib.sh; default_major'; } | sort | tr '\n' ' ')" '15 17 18 19 ' \
  "of all versions, this machine's among them"
is "$(cat "$ran")" '' "and runs none"
has "$(DOCS_CHANGE=1 release || true)" '^docs/reference.md: make docs would change it$' "refused: pages that are not as they are made"
has "$(DOCS_SKIP=1 release || true)" '^docs/reference.md: make docs would change it$' "refused: pages that were not made at all"

# As whom: nobody's settings but these
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@example.com GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@example.com
export GNUPGHOME=$WORK/gnupg # nobody's keys
mkdir -m 700 "$GNUPGHOME"
has "$(release tag || true)" '^git: no tag can be signed and verified here' "refused, before any test: nobody to sign"
ssh-keygen -q -t ed25519 -N '' -C test -f "$WORK/key"
ssh-keygen -q -t ed25519 -N '' -C other -f "$WORK/other"
repository config gpg.format ssh
repository config user.signingKey "$WORK/key.pub"
repository config gpg.ssh.allowedSignersFile "$WORK/signers"
printf 'test@example.com %s\n' "$(cut -d' ' -f1,2 "$WORK/other.pub")" >"$WORK/signers"
has "$(release tag || true)" '^git: no tag can be signed and verified here' "refused: a signature that nobody here takes for good"
is "$(cat "$ran")$(repository tag)" '' "nothing was run, and nothing is tagged"
printf 'test@example.com %s\n' "$(cut -d' ' -f1,2 "$WORK/key.pub")" >"$WORK/signers"

echo test-long >"$WORK/fail"
has "$(release tag || true)" '^make test-long failed$' "refused: a test that fails"
is "$(cut -d' ' -f1 "$ran" | tr '\n' ' ')" 'test test-long ' "the first that fails is the last that is run"
is "$(repository tag)" '' "and nothing is tagged"
: >"$WORK/fail"
echo "echo more >>'$WORK/tree/README.md'" >"$WORK/meanwhile"
has "$(release tag || true)" '^git: something is not committed$' "refused: a tree that is changed during the tests"
is "$(cat "$WORK/readme")" "$(repository show HEAD:README.md)" "which have run on the files of the commit all the same"
repository checkout -q README.md
echo "cd '$WORK/tree' && git commit -q --allow-empty -m meanwhile" >"$WORK/meanwhile"
has "$(release tag || true)" '^git: another commit is checked out than the one that was tested' "refused: a commit that is made during the tests"
is "$(repository tag)" '' "and nothing is tagged"
rm "$WORK/meanwhile"

: >"$ran"
rm "$WORK/environment"
has "$(ONLY=lint TAP=none VERSIONS=17 PG_MAJOR=18 MAKEFLAGS=-n DIRECTORY=/somewhere release tag || true)" "^tagged v$version, signed\. Not pushed" \
  "a tree that is ready, and passes all tests, is tagged"
is "$(cut -d' ' -f1 "$ran" | tr '\n' ' ')" 'test test-long test-versions test-packages ' "after all of them"
has "$(cat "$ran")" '^test-packages 15 17 18$' "of all packages"
is "$(grep -E '^(ONLY|TAP|PG_MAJOR)=' "$WORK/environment" | sort -u)" '' "whatever the environment says to run"
has "$(cat "$WORK/environment")" '^DIRECTORY=/somewhere$' "(except where chroots are)"
is "$(repository tag)" "v$version" "as v$version"
is "$(repository rev-parse "v$version^{commit}")" "$(repository rev-parse HEAD)" "of this commit"
has "$(repository verify-tag "v$version" 2>&1)" '^Good "git" signature for test@example.com ' "with a signature that is good"
done_testing

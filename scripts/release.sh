#!/usr/bin/env bash
# The checklist of a release. Each step says what differs, and then nothing further is done.
#
#   scripts/release.sh versions   the version numbers agree: META.json, the control file, the
#                                 install script, the library's User-Agent, CHANGELOG.md, debian/changelog.
#                                 `make lint` does this too
#   scripts/release.sh ready      that, and no page says that it is not released, no placeholder
#                                 is left, all is committed, and no version as new is tagged
#   scripts/release.sh docs       `make docs` and the drawings leave no difference
#   scripts/release.sh tests      runs the tests of all versions; without it they are only named
#   scripts/release.sh            ready, docs, and what is to be run
#   scripts/release.sh tag        ready, docs and tests; then it signs a tag of the commit, here and nowhere else
#
# The version is that of META.json, X.Y.Z; the extension's is X.Y. Nothing is ever pushed.
#
# What is tagged is what was tested: the tests run on files of the commit, not on those of
# this tree, and without the environment's ONLY, TAP, VERSIONS or MAKEFLAGS, which would have
# them pass by running fewer. The tag is of that commit, whatever is checked out meanwhile.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
# a hook's, which are another repository's
# shellcheck disable=SC2046 # names
unset $(git rev-parse --local-env-vars 2>/dev/null || true)

WORK=
trap '[ -z "$WORK" ] || rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# work: sets WORK, a directory that is removed at the end
work() { [ -n "$WORK" ] || WORK=$(mktemp -d); }

faults=0
fault() {
  say "$*"
  faults=$((faults + 1))
}
git() { command git -c safe.directory='*' "$@"; }
meta() { sed -nE "s/^\t{$1}\"$2\": \"([^\"]*)\".*/\1/p" META.json; }
first() { sed -nE "s/$2/\1/p" "$1" | head -n 1; }

version=$(meta 1 version)
extension=${version%.*}

# same FILE WHAT GOT EXPECTED
same() { [ "$3" = "$4" ] || fault "$1: $2 is ${3:-missing}, and META.json makes it $4"; }

versions() {
  [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fault "META.json: the version is ${version:-missing}, and must be X.Y.Z"
  same META.json "the version of what it provides" "$(meta 3 version)" "$version"
  same extension/webhook.control default_version "$(first extension/webhook.control "^default_version = '(.*)'\$")" "$extension"
  same engine/http/http_easy.c USER_AGENT "$(first engine/http/http_easy.c '^#define USER_AGENT "pgwebhook\/(.*)"$')" "$extension"
  same CHANGELOG.md "its first version" "$(first CHANGELOG.md '^## ([^ ]+).*')" "$version"
  same debian/changelog "its first version" "$(first debian/changelog '^pgwebhook \(([^-]*)-.*')" "$version"
  same SECURITY.md "the first version with fixes" "$(first SECURITY.md '^\| ([0-9.]+)( .*)?\| yes \|$')" "$extension"
  local script=sql/webhook--$extension.sql
  [ -e "$script" ] || compgen -G "sql/webhook--*--$extension.sql" >/dev/null ||
    fault "sql: no script leads to version $extension: neither webhook--$extension.sql nor an upgrade"
  script=$(meta 3 file)
  [ -e "$script" ] || fault "META.json: it provides $script, which is not there"
}

# what git says that it sees, and what it was told not to look at
committed() {
  local up found
  up=$(git rev-parse --show-cdup 2>/dev/null) && [ -z "$up" ] && git rev-parse -q --verify HEAD >/dev/null ||
    { fault "git: this tree is no repository of its own, with a commit" && return; }
  [ -z "$(git status --porcelain --untracked-files=all --ignore-submodules=none)" ] || fault "git: something is not committed"
  while IFS= read -r found; do
    fault "git: ${found#* }: changes of it are not looked at (assume-unchanged, skip-worktree)"
  done < <(git ls-files -v | grep -E '^([a-z]|S) ' || true)
}

ready() {
  versions
  local found date file newest
  ! found=$(grep -nE '^## .*unreleased' CHANGELOG.md) || fault "CHANGELOG.md:$found: no date"
  date=$(sed -nE "s/^## ${version//./\\.} \(([0-9]{4}-[0-9]{2}-[0-9]{2})\)\$/\1/p" CHANGELOG.md)
  [ -n "$date" ] && [ "$(date -u -d "$date" +%F 2>/dev/null)" = "$date" ] ||
    fault "CHANGELOG.md: the line must be \"## $version (YYYY-MM-DD)\""
  [[ $(head -n 1 debian/changelog) != *' UNRELEASED;'* ]] || fault "debian/changelog: the distribution is UNRELEASED"
  [ "$(meta 1 release_status)" = stable ] || fault "META.json: release_status is $(meta 1 release_status), and must be stable"
  for file in README.md SECURITY.md docs/*.md debian/watch; do # a sentence goes on in the next line
    while IFS= read -r found; do
      fault "$file: it says \"$found\""
    done < <(tr -s '\n\t ' ' ' <"$file" | grep -oiE 'unreleased|not released|not decided|no download place' | sort -u)
  done
  while IFS= read -r found; do
    fault "$found: a placeholder"
  done < <(git grep -noE '[a-z@]*pgwebhook\.example' -- . ':!scripts/release.sh' ':!test/packages/release.sh' 2>/dev/null | sort -u)
  committed
  ! git rev-parse -q --verify "refs/tags/v$version" >/dev/null 2>&1 || fault "git: there is a tag v$version already"
  newest=$({ git tag -l 'v[0-9]*' 2>/dev/null || true; } | sort -V | tail -n 1)
  [ -z "$newest" ] || [ "$(printf '%s\n' "$newest" "v$version" | sort -V | tail -n 1)" = "v$version" ] ||
    fault "git: $newest is tagged, and is newer than $version"
}

# Before tests that take hours: can a signature be made here, and is it found good? Of a commit that is kept nowhere.
signing() {
  local said
  work
  mkdir -p "$WORK/objects"
  said=$(
    exec 2>&1
    GIT_ALTERNATE_OBJECT_DIRECTORIES=$(git rev-parse --path-format=absolute --git-path objects)
    export GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_OBJECT_DIRECTORY=$WORK/objects
    commit=$(git commit-tree -S -m "can this be signed?" 'HEAD^{tree}') && git verify-commit "$commit"
  ) || {
    [ -z "$said" ] || sed 's/^/    /' <<<"$said"
    fault "git: no tag can be signed and verified here: user.signingKey, and for SSH gpg.format and gpg.ssh.allowedSignersFile, say by whom"
  }
}

# In a copy, which has no differences to begin with, and no page that could be left as it was
docs() {
  step "docs"
  work
  mkdir "$WORK/docs"
  copy_tree "$WORK/docs"
  rm "$WORK/docs/docs/reference.md"
  (bash "$WORK/docs/scripts/docs.sh") || fault "make docs failed"
  cmp "$WORK/docs/docs/reference.md" docs/reference.md || fault "docs/reference.md: make docs would change it"
  node scripts/drawings.mjs --check || fault "docs/images: make drawings would change them"
}

# Each command is one line. PostgreSQL 16 is in no suite of Debian, and 19 is no release.
all_tests() {
  local here others=() major
  here=$(default_major)
  for major in 15 17 18 19; do [ "$major" = "$here" ] || others+=("$major"); done
  say "make test"
  say "make test-long"
  say "make test-versions VERSIONS=\"${others[*]}\""
  say "make test-packages VERSIONS=\"15 17 18\""
}

# What the tests may know of this environment: NAME=VALUE, each ended by a zero byte
environment() {
  env -0 | grep -zE '^(PATH|HOME|USER|LOGNAME|LANG|TERM|TMPDIR|XDG_CACHE_HOME|DIRECTORY|(SECURITY_)?MIRROR|[A-Za-z_]*_(proxy|PROXY)|(npm_config|NPM_CONFIG)_[A-Za-z_]*|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR))='
}

tests() {
  local command kept=()
  work
  mapfile -d '' kept < <(environment)
  mkdir "$WORK/tests"
  git archive --format=tar HEAD | tar -xf - -C "$WORK/tests"
  while IFS= read -r command; do
    step "$command"
    env -i -C "$WORK/tests" "${kept[@]}" bash -c "$command" </dev/null || { fault "$command failed" && return; }
  done < <(all_tests)
}

sign() { # sign COMMIT
  git tag -s -m "pgwebhook $version" "v$version" "$1"
  git verify-tag "v$version" || {
    git tag -d "v$version"
    die "the signature is not good; there is no tag"
  }
}

# what is to be repaired comes before the next step, which takes longer
done_with() {
  [ "$faults" = 0 ] || die "$1: $faults to fix; nothing was done"
  say "$1: well"
}

case ${1:-} in
  versions)
    versions
    [ "$faults" = 0 ] || exit 1
    ;;
  ready | docs)
    "$1"
    done_with "$1"
    ;;
  tests)
    committed
    done_with "the commit"
    tests
    done_with tests
    ;;
  '')
    ready
    done_with "ready for $version"
    docs
    done_with docs
    step "what is to be run before scripts/release.sh tag, which runs it:"
    all_tests | sed 's/^/    /'
    ;;
  tag)
    ready
    [ "$faults" != 0 ] || signing
    done_with "ready for $version"
    commit=$(git rev-parse HEAD)
    docs
    done_with docs
    tests
    [ "$(git rev-parse HEAD)" = "$commit" ] || fault "git: another commit is checked out than the one that was tested, $commit"
    ready
    done_with tests
    sign "$commit"
    say "tagged v$version, signed. Not pushed: git push origin v$version"
    ;;
  *) die "usage: scripts/release.sh [versions|ready|docs|tests|tag]" ;;
esac

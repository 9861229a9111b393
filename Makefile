# The build of pgwebhook: one PGXS module, and the commands that people and CI
# use around it (demo, test, lint, format, bench; `make help` lists them).
#
# `make demo` and `make test` must work on a machine that has no PostgreSQL
# yet: they install it themselves. So this file may be read without PGXS; only
# building and installing then end with a message.

PG_MAJOR ?= 15
PG_CONFIG ?= $(firstword $(wildcard /usr/lib/postgresql/$(PG_MAJOR)/bin/pg_config) pg_config)

# The control file lives in extension/; PGXS installs it by its base name.
EXTENSION = extension/webhook
# The install script of the first version, and what leads from each to the next.
DATA = $(sort $(wildcard sql/webhook--*.sql))
MODULE_big = webhook
# every folder of the sources; base names of files are unique, so that includes need no paths
FOLDERS = engine $(addprefix engine/,common policy queue template http secret) \
	extension $(addprefix extension/,shared capture) \
	worker $(addprefix worker/,process store route transform)
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard $(addsuffix /*.c,$(FOLDERS)))))

C_FILES = $(sort $(wildcard $(addsuffix /*.[ch],$(FOLDERS) console test/unit test/fuzz test/bench)))

# PostgreSQL's own headers count as system headers, so that the warnings below
# judge this project's code and nobody else's.
PG_CPPFLAGS = $(addprefix -I,$(FOLDERS)) \
	-isystem $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
# Every PG_FUNCTION_ARGS, hook and callback has parameters it must take and need
# not use; that warning says nothing here. All others are errors.
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter
SHLIB_LINK = -lcurl -lcrypto
# A library that dies where the tests in test/fault want it to: worker/process/fault.c.
ifdef FAULTS
PG_CPPFLAGS += -DWEBHOOK_FAULTS
SHLIB_LINK += -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
endif

# Bitcode serves JIT inlining of functions called in expressions. Triggers and
# workers never are, so clang at build time would buy nothing.
override with_llvm = no

REGRESS = $(sort $(basename $(notdir $(wildcard test/sql/*.sql))))
REGRESS_OPTS = --inputdir=test --outputdir=test/results
ISOLATION = $(sort $(basename $(notdir $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --outputdir=test/results

EXTRA_CLEAN = test/results tmp_check console/pgwebhook console/assets.c $(addsuffix /*.o,$(FOLDERS) console)

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
.PHONY: all install clean
all install clean:
	@echo >&2 "make $@: no PostgreSQL $(PG_MAJOR) server headers found (PG_CONFIG=$(PG_CONFIG))."
	@echo >&2 "On Debian: apt-get install postgresql-server-dev-$(PG_MAJOR) libcurl4-openssl-dev libssl-dev"
	@exit 1
endif

# A header changed: rebuild everything. A whole build takes seconds, so nothing
# finer is worth its upkeep.
$(OBJS): $(wildcard $(addsuffix /*.h,$(FOLDERS))) Makefile

.PHONY: console install-console demo pictures docs test test-long test-versions test-packages deb dist freeze release unit lint drawings asan fuzz valgrind coverage pg_upgrade million monitoring patroni pages chaos soak format bench bench-long help

demo: ## show the main job on real input (KEEP=1 leaves it running, CONSOLE=1 with the console)
	@KEEP='$(KEEP)' CONSOLE='$(CONSOLE)' bash demo/demo.sh

console: ## the program pgwebhook: pages and an HTTP API (needs libmicrohttpd-dev and libpq-dev)
	@$(MAKE) --no-print-directory -C console

install-console: ## put it, and its manual page, into PREFIX (/usr/local)
	@$(MAKE) --no-print-directory -C console install

pictures: ## of the console with the demo's data, into docs/images (needs chromium)
	@CONSOLE=1 PICTURES=docs/images bash demo/demo.sh

docs: ## write docs/reference.md from the catalogue
	@bash scripts/docs.sh

test: ## set up, then run every test (ONLY="lint unit regress isolation tap console fault", TAP=test/t/FILE.pl, KEEP=1)
	@bash scripts/test.sh

test-long: ## all of the eleven that follow after lint, in about 27 minutes
	@ONLY=long bash scripts/test.sh

test-versions: ## the same on PostgreSQL 17, 18 and 19, in chroots of Debian that are kept; as root (VERSIONS="17 18", ONLY, TAP)
	@bash scripts/test_versions.sh

test-packages: ## the packages: built, installed on bare Debians, delivering; as root (VERSIONS="15 17")
	@bash scripts/test_packages.sh

deb: ## the Debian package, judged by lintian (VERSIONS="15 17 18": each in a chroot, as root)
	@bash scripts/deb.sh

dist: ## the archive for PGXN, of the commit that is checked out
	@bash scripts/dist.sh

freeze: ## SQL that is released changes no more: SQL_VERSION=1.1
	@bash scripts/freeze.sh '$(SQL_VERSION)'

release: ## the checklist of a release; scripts/release.sh tag then tags it
	@bash scripts/release.sh

unit: ## the engine's unit tests alone, without a server
	@$(MAKE) --no-print-directory -C test/unit check

lint: ## the dependency rules, formatting and cppcheck
	@bash scripts/lint.sh

asan: ## the engine under ASan and UBSan: unit tests and the fuzzers' corpora
	@ONLY=asan bash scripts/test.sh

fuzz: ## every fuzzer of test/fuzz (SECONDS=60 for each)
	@ONLY=fuzz SECONDS_EACH='$(or $(SECONDS),60)' bash scripts/test.sh

valgrind: ## a server under memcheck, delivering
	@ONLY=valgrind bash scripts/test.sh

coverage: ## gcov over unit and some TAP tests (COVERED="050 062 ...")
	@ONLY=coverage bash scripts/test.sh

pg_upgrade: ## to the newer server of Debian's stable (SUITE=sid), with deliveries pending; as root
	@ONLY=pg_upgrade SUITE='$(or $(SUITE),stable)' bash scripts/test.sh

million: ## 1,000,000 deliveries for a dead endpoint: rows, not memory, and all arrive
	@ONLY=million bash scripts/test.sh

monitoring: ## what monitoring/ ships, scraped by Prometheus: every query, alert and panel
	@ONLY=monitoring bash scripts/test.sh

patroni: ## failover: three nodes under Patroni, killed, frozen, cut off, switched over (SCENARIOS="kill freeze")
	@ONLY=patroni SCENARIOS='$(SCENARIOS)' bash scripts/test.sh

pages: ## the console's pages in a browser (SHOTS=DIRECTORY keeps pictures)
	@ONLY=pages SHOTS='$(SHOTS)' bash scripts/test.sh

chaos: ## commits, kills, a receiver and an operator at random, against a table of truth (SECONDS=60, SEEDS="1 2 3")
	@ONLY=chaos CHAOS_SECONDS='$(or $(SECONDS),60)' CHAOS_SEEDS='$(or $(SEEDS),1)' bash scripts/test.sh

soak: ## load and random faults (MINUTES=2), then exact accounting
	@ONLY=soak MINUTES='$(or $(MINUTES),2)' bash scripts/test.sh

drawings: ## docs/images/*.svg, of docs/drawings/*.txt
	@bash scripts/setup.sh demo && node scripts/drawings.mjs

format: ## lay out all C files by .clang-format
	@clang-format -i $(C_FILES)

bench: ## measure capture, delivery, transforms, latency and rest (ONLY="capture delivery flight stream log transform latency idle fresh")
	@bash test/bench/run.sh

bench-long: ## the same and flatness: huge backlogs, long transactions, old logs
	@LONG=1 bash test/bench/run.sh

help: ## this list
	@echo "make             build (PG_CONFIG=... picks the PostgreSQL; default major: $(PG_MAJOR))"
	@echo "make install     install into that PostgreSQL"
	@echo "make clean       remove what was built"
	@sed -n 's/^\([a-z_-]*\): ## \(.*\)/make \1 \2/p' $(firstword $(MAKEFILE_LIST)) \
		| while read -r make target text; do printf 'make %-11s %s\n' "$$target" "$$text"; done

# The front door. Needs make and Python 3.11, 3.12 or 3.13; everything else is installed into .venv.
#
#   make setup   the environment only          make check   linters, types, contracts: what CI runs first
#   make up      everything, started locally   make test    what CI tests; make test-all  the long tests too
#   make bench   the benchmarks                make fmt     formats what the formatter owns
#   make bench-decisions   the policies beside the field's best, on public sets, logs and simulations
#   make faults  kills, bad networks, full disks, and an oracle that looks for what was lost (under half an hour)
#   make fuzz    strange records by the thousand over the whole way to the dead letter
#   make proto   generated code from proto/    make proto-release   what is released from now on
#
# `make up ARGS="--workers 2"` and `make test ARGS="-k frames"` pass options on.

SHELL := /bin/sh
.DEFAULT_GOAL := help
ARGS ?=

# The first Python in this list that is new enough; set PYTHON=... to choose another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
UV_VERSION := 0.13.9
# An installed uv is used as it is; else one of this version goes into .uv, so that the machine's Python stays as it was.
UV ?= $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)

# uv does not read pip's settings; the machine's are handed to it, unless uv has its own.
define from_pip
ifneq ($$($(1)),)
export $(2) ?= $$($(1))
endif
endef
$(eval $(call from_pip,PIP_CERT,SSL_CERT_FILE))
$(eval $(call from_pip,PIP_DEFAULT_TIMEOUT,UV_HTTP_TIMEOUT))
$(eval $(call from_pip,PIP_INDEX_URL,UV_DEFAULT_INDEX))
$(eval $(call from_pip,PIP_EXTRA_INDEX_URL,UV_INDEX))
$(eval $(call from_pip,PIP_FIND_LINKS,UV_FIND_LINKS))

RUN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup up check test test-all library bench bench-decisions faults fuzz proto proto-check proto-release console-page page fmt

help:
	@sed -n '3,11s/^# \{0,1\}//p' Makefile

setup: .venv/.synced .venv/.compiled

SYNC = $(UV) sync --frozen --compile-bytecode --extra local --extra replay --extra traces --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"

# Only what the lock names; a second call with nothing changed does nothing. `make up` needs no more than this.
.venv/.base: uv.lock pyproject.toml Makefile
	@test -n "$(PYTHON)" || { echo "oO needs Python 3.11, 3.12 or 3.13, and found none. Install one, or: make PYTHON=/path/to/python" >&2; exit 1; }
	@test "$(UV)" != .uv/bin/uv || test -x .uv/bin/uv || { echo "Installing uv $(UV_VERSION) into .uv"; \
	  { $(PYTHON) -m venv .uv 2>/dev/null && .uv/bin/python -m pip install --quiet uv==$(UV_VERSION); } || \
	  { rm -rf .uv && $(PYTHON) -m pip install --quiet --target .uv uv==$(UV_VERSION); } || \
	  { rm -rf .uv; echo "uv could not be installed. On Debian: apt-get install python3-venv, then again" >&2; exit 1; }; }
	$(SYNC) --inexact
	@touch $@

# Each adds what its option of `oo up` needs, and takes nothing away.
.venv/.llm: .venv/.base
	$(SYNC) --inexact --extra llm --extra local-llm
	@touch $@

.venv/.ml: .venv/.base
	$(SYNC) --inexact --extra lake --extra ml
	@touch $@

# All that tests use, and nothing else.
.venv/.synced: .venv/.base
	$(SYNC) --extra llm --extra local-llm --extra lake --extra ml
	@touch $@

# Compilers, here and not at the start of a process: some ten seconds for loops, two for our modules.
.venv/.compiled: .venv/.base tables/compiled.py tables/lanes.py $(shell grep -rl "^from tables.compiled" tables agents)
	$(RUN)/python -m deploy.compile
	@touch $@

up: .venv/.compiled $(if $(findstring --llm,$(ARGS)),.venv/.llm) $(if $(findstring --ml,$(ARGS)),.venv/.ml)
	$(RUN)/oo up $(ARGS)

test: setup
	$(RUN)/pytest $(ARGS)

# Those too that cost much: before a release, and when their room changes (docs/adr/0086).
test-all: setup
	$(RUN)/pytest --long $(ARGS)

# What shows the faults of pinned libraries, whatever has changed; then it is known with which it was passed.
library: setup
	$(RUN)/pytest -m library $(ARGS)
	$(RUN)/python -m tests.proven

check: setup proto-check
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/deptry .

proto-check: setup
	$(RUN)/python -m contracts.check
	$(RUN)/python -m contracts.generate --check

proto: setup
	$(RUN)/buf format --write proto --exclude-path proto/buf
	$(RUN)/python -m contracts.generate
	$(RUN)/python -m contracts.limits
	$(RUN)/python -m contracts.configuration

proto-release: setup
	$(RUN)/python -m contracts.check --release

bench: setup
	$(RUN)/python -m bench $(if $(AGAINST),--against=$(AGAINST)) $(ARGS)

bench-decisions: setup
	$(RUN)/python -m bench.decisions $(ARGS)

faults: setup
	$(RUN)/python -m tests.faults $(ARGS)

fuzz: setup
	$(RUN)/python -m tests.fuzz $(ARGS)

# The console's page is committed as it was built; this needs Node (deploy/console/page/README.md).
console-page: setup
	$(RUN)/python -m deploy.built console openapi
	cd deploy/console/page && npm run --silent types && npm run --silent build
	$(RUN)/python -m deploy.built console note

# The page likewise, and the client that it is a user of (serving/page/README.md).
page: setup
	$(RUN)/python -m deploy.built page openapi
	cd serving/client && npm run --silent types && npm run --silent build
	cd serving/page && npm run --silent build
	$(RUN)/python -m deploy.built page note

fmt: setup
	$(RUN)/ruff check --fix-only --fixable I,F401,UP,RUF100 .
	$(RUN)/ruff format .

# `make help` lists the targets. Everything is set up on a bare Debian or Ubuntu (x86-64, Python 3.11) by the targets themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
LIFECYCLE := $(addprefix tests/calls/test_,lifecycle.py live_calls.py sweeper.py recording_parts.py clocks.py prepared.py) $(addprefix tests/calls/campaigns/test_,claims.py rounds.py deadlocks.py) tests/streaming/test_journal.py
# Reaction times over real sockets: a machine whose cores all compute would be what is measured.
REAL_TIME := tests/integration/stream/test_turn_taking.py

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo run test tests test-slow chaos soak lint types bars bench migrate clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"Parley is tested on Python 3.11, not {v[0]}.{v[1]}: install python3.11 and python3.11-venv, or run make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/.run: requirements.txt requirements-sandbox.txt requirements-models.txt | $(BIN)/python
	@echo "Installing what Parley needs into $(VENV) (two minutes the first time) ..."
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt -r requirements-sandbox.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps -r requirements-models.txt
	@touch $@

$(VENV)/.test: requirements-dev.txt $(VENV)/.run
	@echo "Installing what the tests need ..."
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	@./tests/install-system-packages
	@touch $@

setup: $(VENV)/.run ## virtual environment and dependencies

setup-test: $(VENV)/.test ## what the tests need too, Chromium by apt included

demo: setup ## a simulated caller phones the demo agent; no key, no service needed (ONCE=1: stop after the call)
	@$(BIN)/python -m config.demo $(if $(ONCE),--once)

run: setup ## web, stream, worker, dialler, beat and Redis on this machine, in the foreground
	@$(BIN)/python -m config.supervisor

migrate: setup ## bring the database up to date
	@$(BIN)/python manage.py migrate

test: setup-test ## lint and every test but the slow ones; the life of a call and the claims of campaigns on PostgreSQL too
	@$(MAKE) --no-print-directory -j2 lint tests

tests: setup-test
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && export TESTS_READY_MADE=$$made && \
	$(BIN)/pytest -q -n 3 -m "not slow" --ignore $(REAL_TIME) && \
	$(BIN)/python -m tests.with_postgres $(BIN)/pytest -q -n 2 -m "not slow" $(REAL_TIME) $(LIFECYCLE)

test-slow: setup-test ## the tests that take minutes: real processes killed, unscaled clocks; new examples for the properties
	@$(BIN)/pytest -q -m slow --timeout 900
	@$(BIN)/pytest -q -n 2 -m "not slow" --hypothesis-profile search $$(grep -rl "^@given" tests)

chaos: setup-test ## Redis, database, disk, worker and beat broken under live calls, and under a campaign of 10,000 people (an hour)
	@$(BIN)/pytest -q --timeout 900 tests/chaos
	@$(BIN)/python -m benchmarks.campaign_chaos

soak: setup-test ## calls in rotation for an hour: memory, files, sockets, threads and tasks stay flat (SOAK_MINUTES=60 SOAK_CALLS=10)
	@$(BIN)/python -m benchmarks.soak

lint: setup-test ## ruff, types, templates, imports, migrations
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }
	@$(BIN)/mypy config agents calls streaming sandbox
	@$(BIN)/djlint --quiet --lint templates
	@$(BIN)/python manage.py makemigrations --check --dry-run > /dev/null || { echo "A model changed without a migration"; exit 1; }

bars: setup-test ## a line for each bar: figure now, bar, holds or falls short (BARS="name ..." for named ones, long ones too)
	@$(BIN)/python -m benchmarks.bars $(BARS)

.venv-pipecat/.ready: benchmarks/requirements-pipecat.txt
	@echo "Installing Pipecat, to compare with, into .venv-pipecat ..."
	@$(PYTHON) -m venv .venv-pipecat
	@.venv-pipecat/bin/pip install -q --disable-pip-version-check -r benchmarks/requirements-pipecat.txt
	@touch $@

bench: setup-test .venv-pipecat/.ready ## Parley beside Pipecat: CPU, memory, response, barge-in, gaps (BENCH="--capacity ...")
	@$(BIN)/python -m benchmarks.bench $(BENCH)

clean: ## remove the virtual environment (not your data under var/)
	rm -rf $(VENV) .venv-pipecat

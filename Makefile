# ATF: one command each for setting up, trying, checking and testing. `make help` lists them.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ONCE ?=
ONLY ?=
BENCH_OPTIONS ?=
# Debian's PostgreSQL, where it is installed: ATF's storage must work on any server from 15 on.
SYSTEM_POSTGRES := $(foreach major,15 16 17 18 19,$(wildcard /usr/lib/postgresql/$(major)/bin))
# These files hold the statements that one version may plan or refuse otherwise; the others are plain ones.
STORAGE_TESTS := $(addprefix tests/integration/test_,schema.py run_queue.py leases.py schedules.py partitions.py \
  alert_commit.py outbox.py bars_store.py misfires.py)

# Hundreds of processes of the tests load ATF: compiled modules make that a quarter quicker.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test check format coverage chaos soak fuzz bench clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "ATF needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install python3-venv)"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev -e '.[all]'
	@touch $@

setup: $(VENV)/.installed ## Make .venv with everything in it (atf at .venv/bin/atf)

demo: setup ## Replay real prices through the whole pipeline (ONCE=1: a short one that ends by itself)
	$(BIN)/atf demo $(if $(ONCE),--once)

check: setup ## Lint, format, types, layers, known vulnerabilities; prints the longest files and functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/longest.py
	@$(BIN)/python tools/audit_dependencies.py

format: setup ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## All tests: fast ones first, then those that kill processes, then the short soak
	$(BIN)/pytest -q -n 2 tests/unit
	$(BIN)/pytest -q -n 3 --durations=30 --durations-min=3 tests/contract tests/integration
	@for bin in $(SYSTEM_POSTGRES); do \
	  echo "the storage once more on the PostgreSQL in $$bin"; \
	  ATF_TEST_PG_BINDIR=$$bin $(BIN)/pytest -q -n 3 $(STORAGE_TESTS) || exit 1; done
	$(BIN)/pytest -q -n 3 --durations=20 --durations-min=5 tests/chaos --ignore tests/chaos/test_up_start.py
	$(BIN)/pytest -q tests/chaos/test_up_start.py tests/soak

coverage: setup ## All tests but chaos and soak, measured; prints the coverage of each room
	$(BIN)/pytest -q -n 2 --cov=atf --cov-report= tests/unit tests/contract tests/integration
	$(BIN)/python tests/coverage_by_room.py

chaos: setup ## Only the tests that kill processes, in their long form
	ATF_CHAOS_KILLS=$${ATF_CHAOS_KILLS:-60} ATF_CHAOS_RUNS=$${ATF_CHAOS_RUNS:-2000} $(BIN)/pytest -q tests/chaos

soak: setup ## Some hours: 200 kills of the trading service a test, 500,000 bars through one bot
	ATF_CHAOS_KILLS=$${ATF_CHAOS_KILLS:-200} $(BIN)/pytest -q tests/chaos/test_kill_trading.py
	ATF_SOAK_BARS=$${ATF_SOAK_BARS:-500000} $(BIN)/pytest -q -rP tests/soak

fuzz: setup ## 100,000 documents of nonsense against the alert validator, some minutes
	ATF_FUZZ_DOCUMENTS=$${ATF_FUZZ_DOCUMENTS:-100000} $(BIN)/pytest -q tests/unit/alerts/test_validator_fuzz.py

bench: setup ## Measure against baselines of the same run (ONLY=jobs: that one; docs/performance.md)
	@test -e $(VENV)/.bench || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group bench \
	  && touch $(VENV)/.bench; } || echo "the peers cannot be installed: ATF is measured without them"
	$(BIN)/python -m benchmarks.run $(ONLY) $(BENCH_OPTIONS)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

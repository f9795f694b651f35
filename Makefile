.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
# Test processes at once: most of a test's time is one core's.
WORKERS ?= 2
BIN := $(VENV)/bin
# Where nothing is to be sent or fetched, nothing is tried: models and data come as packages.
export HF_HUB_OFFLINE ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export TOKENIZERS_PARALLELISM ?= false

# The processes that tests start would each compile every module anew.
test test-fast test-slow coverage: export PYTHONDONTWRITEBYTECODE =
# A worker that has run out of tests takes some of the other's.
PARALLEL := -n $(WORKERS) --dist worksteal

.PHONY: install experiments test test-fast test-slow coverage check bench docs clean help

install: $(VENV)/.installed ## make the environment .venv, with the default model and the data

experiments: $(VENV)/.installed ## run every experiment, from baseline to verdict; pages land in reports/
	$(BIN)/python -m pytest experiments

test: $(VENV)/.installed-dev ## run the tests of harness and tasks
	$(BIN)/python -m pytest tests tasks $(PARALLEL)

test-fast: $(VENV)/.installed-dev ## run the tests of single pieces: no training, no whole run; while editing
	$(BIN)/python -m pytest tests tasks $(PARALLEL) -m "not whole"

test-slow: $(VENV)/.installed-dev ## run the tests that install other tuners, train the default model or start several processes
	$(BIN)/python -m pytest tests -m slow

coverage: $(VENV)/.installed-dev ## run the tests and say which lines of harness they reach
	$(BIN)/python -m pytest tests tasks $(PARALLEL) -q --cov=harness --cov-report=term

check: $(VENV)/.installed-dev ## format, lint, types and floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## measure speed against the reference packages, side by side
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed-docs ## build docs/ as a site in site/, offline; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

clean: ## remove the environment and caches; reports stay
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first: with it in place no other package asks for another build of it.
$(VENV)/.installed: requirements.lock requirements-data.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-data.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet -r requirements-dev.lock
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed requirements-docs.lock
	$(BIN)/python -m pip install --quiet -r requirements-docs.lock
	@touch $@

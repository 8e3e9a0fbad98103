# Every target sets up what it needs: Python 3.11+, make and a way to the package registries are enough.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
# Trust what the machine trusts: a company that inspects its traffic puts its certificate there.
export UV_SYSTEM_CERTS := 1
export VIRTUAL_ENV :=

.PHONY: help setup demo test check format lock bench privacy fuzz clean

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "intent-events needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/installed: $(UV) requirements.lock pyproject.toml exporter/pyproject.toml
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable . --editable exporter
	@touch $@

setup: .venv/installed  ## Make .venv with everything at the locked versions

demo: setup  ## Run the demo orchestrator end to end on an embedded Postgres
	@$(BIN)/intent-events demo

test: setup  ## Run every test
	$(BIN)/python -m pytest

check: setup  ## Format, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

bench: setup  ## Measure the budgets as ratios inside one run; wants a quiet machine
	cd tests && ../$(BIN)/python -m benchmarks $(BENCH)

privacy: setup  ## Compare ways of masking on planted values, and Presidio; writes docs/privacy.md
	cd tests && ../$(BIN)/python -m benchmarks.privacy $(PRIVACY)

fuzz: setup  ## Feed the sink with nonsense for ten minutes, or FUZZ=-max_total_time=60
	$(UV) venv --quiet --allow-existing --python $(BIN)/python .bench/fuzz
	$(UV) pip install --quiet --python .bench/fuzz/bin/python atheris==3.0.0
	cd tests && PYTHONPATH=.:$$(echo ../.bench/fuzz/lib/python*/site-packages) \
	  ../$(BIN)/python fuzz/sink_requests.py -max_len=8192 $(or $(FUZZ),-max_total_time=600)

format: setup  ## Format and fix what the linter can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(UV)  ## Resolve requirements.lock anew from the two pyproject files
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --no-emit-package intent-events --no-emit-package intent-events-exporter --group dev \
	  pyproject.toml exporter/pyproject.toml --output-file requirements.lock

clean:  ## Remove what the targets made
	rm -rf .venv $(TOOLS) .bench .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

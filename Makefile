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

# What Go, Rust and Maven bring for the tests is kept outside of the checkout, under the hash of what it is built from.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/intent-events
GO ?= $(or $(shell command -v go),/usr/local/go/bin/go)
CARGO ?= cargo
BUILD_JOBS ?= 1
hash_of = $(shell cat $(1) | sha256sum | cut -c1-16)
COLLECTOR := deploy/collector/builder.yaml
COLLECTOR_BUILDER := go.opentelemetry.io/collector/cmd/builder@v0.165.0
OTELCOL := $(CACHE)/otelcol-$(call hash_of,$(COLLECTOR))
EMITTER := tests/acceptance/rust_emitter
RUST_EMITTER := $(CACHE)/rust-emitter-$(call hash_of,$(EMITTER)/Cargo.toml $(EMITTER)/Cargo.lock $(EMITTER)/src/*.rs)
KUBE_SCORE := $(CACHE)/kube-score-1.20.0
KUSTOMIZE := $(CACHE)/kustomize-5.8.1
KAFKA := $(CACHE)/kafka-$(call hash_of,tests/acceptance/kafka/pom.xml)
# Builds leave the machine usable.
go_install = GOBIN=$(1) GOTOOLCHAIN=local GOMAXPROCS=$(BUILD_JOBS) GOFLAGS=-p=$(BUILD_JOBS) nice $(GO) install $(2)

.PHONY: help setup demo test check format lock bench privacy fuzz clean otelcol rust-emitter kube-score kustomize kafka tools tool-paths

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "intent-events needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/installed: $(UV) requirements.lock pyproject.toml exporter/pyproject.toml hatch_build.py $(wildcard src/intent_events/native/*.[ch])
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable . --editable exporter
	@touch $@

setup: .venv/installed  ## Make .venv with everything at the locked versions

demo: setup  ## Run the demo orchestrator end to end on an embedded Postgres
	@$(BIN)/intent-events demo

test: setup  ## Run every test
	$(BIN)/python -m pytest

check: setup  ## Format, lint, import layers, documentation and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --quiet -m "not postgres" tests/contract/test_documented.py
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

otelcol: $(OTELCOL)/otelcol  ## Build the Collector of the tests: Go 1.26+, some minutes once

$(OTELCOL)/otelcol:
	@command -v $(GO) >/dev/null || { echo "make otelcol needs Go 1.26 or newer"; exit 1; }
	@rm -rf $(OTELCOL).new && mkdir -p $(OTELCOL).new
	$(call go_install,$(OTELCOL).new,$(COLLECTOR_BUILDER))
	cd $(OTELCOL).new && PATH="$(dir $(GO)):$$PATH" CGO_ENABLED=0 GOTOOLCHAIN=local \
	  GOMAXPROCS=$(BUILD_JOBS) GOFLAGS='-p=$(BUILD_JOBS) -buildvcs=false' nice ./builder --config $(CURDIR)/$(COLLECTOR)
	@mkdir -p $(OTELCOL) && mv $(OTELCOL).new/build/otelcol $(OTELCOL)/ && rm -rf $(OTELCOL).new

rust-emitter: $(RUST_EMITTER)/rust-emitter  ## Build the emitter of the tests that is not Python: Rust 1.85+

$(RUST_EMITTER)/rust-emitter:
	@command -v $(CARGO) >/dev/null || { echo "make rust-emitter needs Rust 1.85 or newer"; exit 1; }
	CARGO_TARGET_DIR=$(CACHE)/rust-target CARGO_BUILD_JOBS=$(BUILD_JOBS) \
	  nice $(CARGO) build --quiet --locked --manifest-path $(EMITTER)/Cargo.toml
	@mkdir -p $(@D) && cp $(CACHE)/rust-target/debug/rust-emitter $@.new && mv $@.new $@

kube-score: $(KUBE_SCORE)/kube-score

$(KUBE_SCORE)/kube-score:
	$(call go_install,$(@D),github.com/zegl/kube-score/cmd/kube-score@v1.20.0)

kustomize: $(KUSTOMIZE)/kustomize

$(KUSTOMIZE)/kustomize:
	$(call go_install,$(@D),sigs.k8s.io/kustomize/kustomize/v5@v5.8.1)

kafka: $(KAFKA)/kafka  ## Fetch the Kafka of the tests: Java 17+ and Maven

$(KAFKA)/kafka:
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "make kafka needs Java 17 or newer and Maven"; exit 1; }
	@mkdir -p $(KAFKA)
	mvn --quiet --batch-mode --file tests/acceptance/kafka/pom.xml \
	  dependency:copy-dependencies -DoutputDirectory=$(KAFKA)/libs
	@printf '%s\n' '#!/bin/sh' 'exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$(KAFKA)/libs/*" "$$@"' > $@.new
	@chmod +x $@.new && mv $@.new $@

tools: otelcol rust-emitter kube-score kustomize kafka  ## Everything that tests need beyond Python: Go, Rust, Java, Maven

tool-paths:
	@printf '%s\n' $(OTELCOL)/otelcol $(RUST_EMITTER)/rust-emitter $(KUBE_SCORE)/kube-score $(KUSTOMIZE)/kustomize $(KAFKA)/kafka

clean:  ## Remove what the targets made
	rm -rf .venv $(TOOLS) .bench src/intent_events/native/*.so .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

# Every command a contributor or user needs. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.9
export PYTHONPATH := $(CURDIR)
# Without compiled bytecode every process starts twice as slowly.
unexport PYTHONDONTWRITEBYTECODE
export XDG_CACHE_HOME ?= $(CURDIR)/.venv/cache
export PYRIGHT_PYTHON_CACHE_DIR ?= $(CURDIR)/.venv/cache/pyright
BIN := .venv/bin

.PHONY: help setup setup-dev run up test check chaos bench format lock openapi docs docs-reference clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/uv.stamp:
	@test -n "$(PYTHON)" || { echo "Tandem needs Python 3.11 or newer; none was found. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@touch $@

.venv/run.stamp: .venv/uv.stamp requirements.lock pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps -e .
	@touch $@

.venv/dev.stamp: .venv/run.stamp .venv/sandbox.stamp requirements-dev.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes -r requirements-dev.lock
	@touch $@

# What programs of the tool python_full may import, apart from what Tandem imports: its own folder, shown to the sandbox and to nobody else.
.venv/sandbox.stamp: .venv/run.stamp requirements-sandbox.lock tools/sandbox/prepare.py
	rm -rf .venv/sandbox
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes --target .venv/sandbox -r requirements-sandbox.lock
	$(BIN)/python -m tools.sandbox.prepare .venv/sandbox
	@touch $@

setup: .venv/run.stamp .venv/sandbox.stamp ## create .venv with what running needs

setup-dev: .venv/dev.stamp ## ... and with what developing needs

run: setup ## start everything, prove both lanes once, stay up (Ctrl-C stops)
	$(BIN)/python -m tandem up

test: setup-dev check ## everything CI runs
	scripts/test.sh

SEED := $(or $(SEED),$(shell shuf -i 1-999999 -n 1))
SOAK := $(BIN)/python -m tandem.testing.chaos.soak --seed $(SEED)

chaos: setup-dev ## every fault at length, a soak on both databases, the memory curve (make chaos SEED=7)
	CHAOS_LONG=1 CHAOS_SEED=$(SEED) $(BIN)/python -m pytest -q -n 2 --dist loadgroup tests/chaos
	$(SOAK) --jobs 500 --every 2 --seconds 600
	$(SOAK) --jobs 1000 --every 0 --seconds 600

check: setup-dev ## formatting, lint, types, layering, dependencies, openapi.json
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/pyright
	$(BIN)/python -m gateway.openapi --check openapi.json
	$(BIN)/python scripts/generate_docs.py --check

format: setup-dev ## format and sort
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --quiet .

openapi: setup ## rewrite openapi.json after a change of the doors
	$(BIN)/python -m gateway.openapi --write openapi.json

bench: setup-dev ## the benchmarks, with a table
	$(BIN)/python -m bench

docs-reference: setup ## rewrite the pages that the code knows best (settings, errors, metrics)
	$(BIN)/python scripts/generate_docs.py --write

docs: setup-dev ## build the documentation into site/
	$(BIN)/mkdocs build --strict

lock: .venv/uv.stamp ## resolve dependencies again
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-header --upgrade -q -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --upgrade -q -o requirements-dev.lock
	$(BIN)/uv pip compile requirements-sandbox.in --universal --python-version 3.11 --generate-hashes --no-header --upgrade -q -o requirements-sandbox.lock

clean: ## remove what this Makefile made (not TANDEM_HOME)
	rm -rf .venv site .pytest_cache .ruff_cache .coverage htmlcov

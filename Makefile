# Needs only python3 >= 3.11 (with venv) and make. `make help` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
UV_VERSION := 0.13.8
PYTEST_ARGS ?=
CODE := src tests bench tools

.PHONY: help run test check lint bench torture acceptance prices providers lock fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run $(VENV)/.project ## install the locked run set and start the gateway
	@$(BIN)/trunkline serve

test: lint ## everything but the torture loops (< 10 min)
	$(BIN)/python -m pytest -n auto -m "not torture" --hypothesis-profile=test --acceptance-report $(PYTEST_ARGS)

check: lint ## lint, types, imports and unit tests (< 60 s)
	$(BIN)/python -m pytest tests/unit -n auto -m "not torture" $(PYTEST_ARGS)

lint: $(VENV)/.dev $(VENV)/.project ## lint, size caps, types, imports
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/python -m tools.caps
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev $(VENV)/.project ## measure; prints numbers, fails on none
	$(BIN)/python -m bench

torture: $(VENV)/.dev $(VENV)/.project ## the long loops: kills and soak
	$(BIN)/python -m pytest -m torture --hypothesis-profile=torture --timeout 0 $(PYTEST_ARGS)

acceptance: $(VENV)/.dev $(VENV)/.project ## run the acceptance tests; print the rows proven and not proven
	$(BIN)/python -m pytest -m acceptance --hypothesis-profile=test --acceptance-report $(PYTEST_ARGS)

prices: $(VENV)/.dev ## compile the price data of the locked genai-prices into the package
	$(BIN)/python -m tools.compile_prices

providers: $(VENV)/.dev $(VENV)/.project ## write the page of what each provider takes from the catalog
	$(BIN)/python -m tools.providers_page

fmt: $(VENV)/.dev ## format and mend what can be mended
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

# The pins in the lock files stay unless pyproject.toml forbids them; UPGRADE=1 takes the newest.
COMPILE = build/uv/bin/uv --no-config pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" \
	$(if $(UPGRADE),--upgrade)

lock: ## resolve pyproject.toml into requirements/*.txt (UPGRADE=1: to the newest)
	test -x build/uv/bin/uv || $(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet uv==$(UV_VERSION)
	$(COMPILE) --extra server --extra postgres --extra redis --group dev -o requirements/dev.txt
	$(COMPILE) --extra server --group build -c requirements/dev.txt -o requirements/run.txt

clean: ## remove what the targets made, the environment too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment: one, made when needed, installed again only when a lock changes ----

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("trunkline needs Python 3.11 or later; name one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r $<
	@touch $@

# Without build isolation: the build backend is in both locks, with its hash. Order-only after either set.
$(VENV)/.project: pyproject.toml | $(if $(filter run,$(MAKECMDGOALS)),$(VENV)/.run,$(VENV)/.dev)
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

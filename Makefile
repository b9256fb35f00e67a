# Every task of this repository; `make help` lists them.  Needs Python 3.11 or newer, nothing else.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PRODUCT_STAMP := $(VENV)/.installed-standalone
DEV_STAMP := $(VENV)/.installed-dev
MINISTACK := .venv-ministack
SAM := .venv-sam
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3 python
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
# Twice the cores: half of the tests wait, for leases to end and for programs to start.
WORKERS ?= $$(($$(getconf _NPROCESSORS_ONLN) * 2))

# Each function has its requirements/NAME.in; PRODUCT is all that runs anywhere.
FUNCTIONS := api events inbound scheduled webhooks
PRODUCT := $(patsubst %,requirements/%.in,$(FUNCTIONS) node standalone)
# What Lambda's Python runtimes bring along; a function's package holds none of it.
IN_LAMBDA := boto3 botocore s3transfer jmespath python-dateutil six urllib3

include infra/build.mk

.PHONY: help
help: ## Show every target with a sentence
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- Setting up

.PHONY: setup
setup: $(PRODUCT_STAMP) ## Make .venv and install the pinned packages (the other targets do it when needed)
	@:

# A virtual environment that was left half made, or whose Python is gone, is made again.
$(BIN)/python:
	@for name in $(PYTHONS); do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$("$$name" --version)"; \
	    "$$name" -m venv --clear $(VENV); exit $$?; \
	  fi; \
	done; \
	echo "Edgepost needs Python 3.11 or newer with its venv module (Debian: apt-get install python3-venv)." >&2; exit 1

# --no-build-isolation: the build tool is the pinned one, so that nothing unpinned is fetched.
$(PRODUCT_STAMP): requirements/standalone.txt pyproject.toml | $(BIN)/python
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip --upgrade
	$(PIP) install --quiet --require-hashes -r requirements/standalone.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(PRODUCT_STAMP)
	$(PIP) install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# Tools with pins of their own stand in environments of their own.  --no-deps: the lock names everything, but not the
# extras that one package asks of another, which some versions of pip then want pinned a second time.
$(MINISTACK)/.installed $(SAM)/.installed: .venv-%/.installed: requirements/%.txt | $(BIN)/python
	$(BIN)/python -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip --disable-pip-version-check --no-input install --quiet --no-deps --require-hashes -r $<
	@touch $@

.PHONY: lock
lock: ## Pin the newest allowed packages again, with hashes (needs uv)
	$(LOCK) --upgrade $(PRODUCT) requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) $(PRODUCT) --constraint requirements/dev.txt --output-file requirements/standalone.txt
	$(LOCK) requirements/node.in --constraint requirements/dev.txt --output-file requirements/node.txt
	for each in $(FUNCTIONS); do \
	  $(LOCK) $(patsubst %,--no-emit-package %,$(IN_LAMBDA)) requirements/$$each.in --constraint requirements/dev.txt \
	    --output-file requirements/$$each.txt || exit 1; done
	for each in ministack sam; do \
	  $(LOCK) --upgrade requirements/$$each.in --output-file requirements/$$each.txt || exit 1; done

# ---------------------------------------------------------------- Running

.PHONY: run
run: setup ## Start Edgepost on this machine; the first start prints all that is needed to send
	@exec $(BIN)/edgepost serve

.PHONY: demo
demo: setup ## Show sending, delivery, tracking, bounces and webhooks on throw-away ports
	@exec $(BIN)/edgepost demo

.PHONY: bench
bench: setup ## Measure this machine and print tables
	@exec bench/run.sh

.PHONY: sizing
sizing: setup ## Measure memory and disk, and write docs/sizing.md
	$(BIN)/python bench/sizing.py

# ---------------------------------------------------------------- AWS and its emulators

.PHONY: deploy-local
deploy-local: setup ## Deploy the stack to an emulator on this machine; starts MiniStack if none is there
	@localstack/deploy.sh local

.PHONY: delete-local
delete-local: $(SAM)/.installed ## Delete the stack from the emulator with its data, and stop MiniStack
	@localstack/deploy.sh delete

.PHONY: delete-stack
delete-stack: $(SAM)/.installed ## Delete the stack STACK from AWS; its tables and bucket stay
	@$(SAM)/bin/python infra/delete_stack.py "$${STACK:?make delete-stack STACK=NAME}"

# ---------------------------------------------------------------- Releasing

.PHONY: release
release: $(DEV_STAMP) ## Build wheel, source and checksums of the tagged version into dist/
	@exec infra/release/build.sh

# ---------------------------------------------------------------- Checking

.PHONY: test
test: lint $(MINISTACK)/.installed ## Run every check and test that needs no network; skipped ones say why
	$(BIN)/pytest -n $(WORKERS)

.PHONY: unit
unit: $(DEV_STAMP) ## Run the unit tests alone (seconds)
	$(BIN)/pytest tests/unit

.PHONY: lint
lint: $(DEV_STAMP) ## Check form, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV_STAMP) ## Bring the code into form and fix what can be fixed safely
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: docs
docs: setup ## Write the pages that are made from the code again: settings, events
	$(BIN)/python docs/make_settings.py
	$(BIN)/python docs/make_events.py

.PHONY: clean
clean: ## Remove .venv and everything that can be made again; ./data stays
	rm -rf $(VENV) $(MINISTACK) $(SAM) .venv-*.lock .aws-sam build dist *.egg-info .ci/node .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

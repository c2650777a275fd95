# Everything a newcomer needs. `make` alone prints this help.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PORT ?= 8080

.DEFAULT_GOAL := help

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	       echo "Say which one: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(RUN) || { echo "Making a virtual environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing pinned packages into $(VENV)"
	@$(RUN) -m pip install --disable-pip-version-check --progress-bar on -e '.[local,dev]' \
	  || { echo "pip failed: is there a way to PyPI? 'pip config list' shows the index in use."; exit 1; }
	@touch $@

setup: $(INSTALLED) ## install everything into .venv

run: $(INSTALLED) ## the whole morning on this machine (ONCE=1 exits when it is done)
	@$(RUN) -m knative.morning --port $(PORT) $(if $(ONCE),--once)

test: $(INSTALLED) ## all tests
	@$(RUN) -m pytest -q -n auto --dist worksteal

test-browser: $(INSTALLED) ## the console in Chromium (says how to get it)
	@$(RUN) -m tests.browser.chromium
	@$(RUN) -m pytest -q -m browser tests/browser

screenshots: $(INSTALLED) ## the README's pictures of the console, into .github/
	@$(RUN) -m tests.browser.chromium
	@$(RUN) -m tests.browser.screenshots .github

lint: $(INSTALLED) ## style, types and floors
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

check: lint test ## what CI checks: style, types, floors, all tests, every manifest

bench: $(INSTALLED) ## ratios against peers and limits, in one run
	@$(RUN) -m tests.bench

clean: ## stop the embedded database and remove its data
	@test ! -x $(RUN) || $(RUN) -m knative.local down
	@rm -rf .data

.PHONY: help setup run test test-browser screenshots lint check bench clean

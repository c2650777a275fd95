# Everything a newcomer needs. `make` alone prints this help.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
PORT ?= 8080
DATA ?= .data

# A word for the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'

.DEFAULT_GOAL := help

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

define install
	@command -v $(call quoted,$(PYTHON)) >/dev/null \
	  || { echo "There is no $(PYTHON) here. Name a Python of 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@$(call quoted,$(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	  || { echo "Python 3.11 or newer is needed, and $(PYTHON) is none. Name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(RUN) -m pip --version >/dev/null 2>&1 \
	  || { echo "Making a virtual environment in $(VENV)"; $(call quoted,$(PYTHON)) -m venv --clear $(VENV); }
	@echo "Installing $(2) into $(VENV)"
	@$(PIP) --require-hashes -r $(1) && $(PIP) --no-build-isolation -e . \
	  || { echo "pip failed: is there a way to PyPI? 'pip config list' shows the index in use."; exit 1; }
endef

# A lock names all that is needed, so pip resolves nothing.
PIP = $(RUN) -m pip install --quiet --disable-pip-version-check --no-deps

$(RUNNABLE): requirements-local.lock pyproject.toml
	$(call install,requirements-local.lock,what running needs: a minute)
	@touch $@

$(INSTALLED): requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock,the tests' packages too: some minutes)
	@touch $(RUNNABLE) $@

setup: $(INSTALLED) ## install everything into .venv

run: $(RUNNABLE) ## the demo on this machine: ONCE=1 ends after it, PORT=8080, DATA=.data
	@$(RUN) -m knative.demo --port $(PORT) --data=$(call quoted,$(DATA)) --front dsm/orchestrator $(if $(ONCE),--once)

# Twice as many as processors: tests wait more than they work. A file stays with one worker, as some
# files begin with a morning that all of their tests look at.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) * 2)')

test: $(INSTALLED) ## all tests
	@$(RUN) -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-browser: $(INSTALLED) ## the console in Chromium (says how to get it)
	@$(RUN) -m tests.browser.chromium
	@$(RUN) -m pytest -q -m browser tests/browser

screenshots: $(INSTALLED) ## the README's pictures of the console, into .github/
	@$(RUN) -m tests.browser.chromium
	@$(RUN) -m tests.browser.screenshots .github

lint: $(INSTALLED) ## style, types and layers
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

check: lint test ## what CI checks: style, types, layers, all tests, every manifest

bench: $(INSTALLED) ## ratios against peers and limits, in one run
	@$(RUN) -m tests.bench

clean: ## stop what runs on DATA=.data and delete it, if it is marked as a data folder
	@if $(RUN) -c 'import knative.local.cli.main' 2>/dev/null; \
	then $(RUN) -m knative.local clean --data=$(call quoted,$(DATA)); \
	elif test -f $(call quoted,$(DATA)/.knative-local); then rm -rf -- $(call quoted,$(DATA)); fi

# A cluster. OVERLAY is kind, production, authenticated, or a folder of your own; there is no default, as the wrong
# one destroys an installation. IMAGE and TAG stand in for the overlay's own.
DOCKER ?= docker
KUBECTL ?= kubectl
AGREED = $(filter 1 y yes true,$(YES))

LOCK = $(RUN) -m uv pip compile --quiet --no-header --generate-hashes --universal

define locked
	@{ echo '# $(2), each file by its hash. Made by `make lock`.'; $(LOCK) $(3); } > $(1).new
	@mv $(1).new $(1)
endef

lock: $(INSTALLED) ## the lock files anew, after requirements.txt or pyproject.toml has changed
	$(call locked,requirements.lock,All that the image installs,--python-version 3.13 requirements.txt)
	$(call locked,requirements-local.lock,All that `make run` installs,--python-version 3.11 pyproject.toml --extra local --group build)
	$(call locked,requirements-dev.lock,All that `make setup` installs,--python-version 3.11 pyproject.toml --extra local --extra dev --group build)

# Docker keeps one platform; several can only be pushed, so IMAGE names a registry then.
image: ## build the functions' image: IMAGE, TAG; PLATFORMS=linux/amd64,linux/arm64 pushes it
	@test -z "$(PLATFORMS)" || test -n "$(IMAGE)" || { echo "Where to? make image PLATFORMS=... IMAGE=registry/name TAG=v1"; exit 1; }
	@$(DOCKER) buildx version >/dev/null || { echo "$(DOCKER) has no buildx: install that plugin"; exit 1; }
	$(DOCKER) buildx build -f functions/Dockerfile -t $(or $(IMAGE),dev.local/dsm-functions):$(or $(TAG),dev) \
	  $(if $(PLATFORMS),--platform $(PLATFORMS) --push,--load) \
	  $(if $(PYTHON_DIGEST),--build-arg PYTHON_DIGEST=$(PYTHON_DIGEST)) $(if $(SOURCE),--build-arg SOURCE=$(SOURCE)) \
	  --build-arg VERSION=$(or $(TAG),dev) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) .

overlay:
	@test -n "$(OVERLAY)" || { echo "Which overlay? make $(MAKECMDGOALS) OVERLAY=kind, OVERLAY=production, OVERLAY=authenticated, or a folder of your own"; exit 1; }

deploy: overlay $(RUNNABLE) ## to the cluster of kubectl, and wait: OVERLAY=kind TAG=v2
	@$(RUN) -m knative.deploy '$(OVERLAY)' --kubectl '$(KUBECTL)' $(if $(IMAGE),--image '$(IMAGE)') $(if $(TAG),--tag '$(TAG)')

undeploy: overlay $(RUNNABLE) ## delete what an overlay has made: OVERLAY=..., a dry run unless YES=1
	@$(RUN) -m knative.deploy.undeploy '$(OVERLAY)' --kubectl '$(KUBECTL)' $(if $(AGREED),--yes)

cleanup-legacy: $(RUNNABLE) ## delete what the CronJobs left in the cluster, a dry run unless YES=1
	@$(RUN) -m knative.legacy --kubectl '$(KUBECTL)' $(if $(AGREED),--yes)

smoke: $(RUNNABLE) ## the morning through a cluster's gateway: URL=http://127.0.0.1:8081
	@test -n "$(URL)" || { echo "Where is the gateway? make smoke URL=http://127.0.0.1:8081 (see knative/DEPLOY.md)"; exit 1; }
	@$(RUN) -m knative.smoke --url '$(URL)'

.PHONY: help lock setup run test test-browser screenshots lint check bench clean image overlay deploy undeploy cleanup-legacy smoke

# The commands of kube-job-runner. `make help` lists them. They write only to the checkout (.venv, .kjr) and to one cache folder
# (KJR_CACHE_DIR, by default ~/.cache/kube-job-runner); the build of the test bed also uses Go's own caches.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
KJR_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kube-job-runner
export KJR_CACHE_DIR
export UV_CACHE_DIR ?= $(KJR_CACHE_DIR)/uv
export PIP_CACHE_DIR ?= $(KJR_CACHE_DIR)/pip
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
UV = $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
ifeq (,$(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif

RUNTIME_STAMP := $(VENV)/.runtime
DEV_STAMP := $(VENV)/.dev
PYTEST = $(BIN)/python -m pytest
# A file is run by one process, so what its tests share is made once; the slow ones come first (tests/conftest.py).
BY_FILE = --dist loadfile --no-loadscope-reorder
PARALLEL = -n auto --maxprocesses 8 $(BY_FILE)
# With it, every process that a test starts would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE
IMAGE ?= kube-job-runner
TAG ?= $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' kube_job_runner/__init__.py)
PLATFORMS ?= linux/amd64,linux/arm64

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.uv: $(VENV)/pyvenv.cfg
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(RUNTIME_STAMP): $(VENV)/.uv requirements/runtime.txt pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/runtime.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/build.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): $(RUNTIME_STAMP) requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: demo
demo: $(RUNTIME_STAMP) ## Run the main job here: embedded PostgreSQL, three jobs as local processes.
	@KJR_DATA_DIR=$(CURDIR)/.kjr/demo $(BIN)/kjr demo

.PHONY: install
install: $(DEV_STAMP) ## Install everything a developer needs into .venv.

.PHONY: up
up: $(RUNTIME_STAMP) ## Start the service here, with jobs as local processes.
	@KJR_DATA_DIR=$(CURDIR)/.kjr/up $(BIN)/kjr up

.PHONY: test
test: $(DEV_STAMP) ## Run the tests that need no cluster, on all cores.
	@$(PYTEST) $(PARALLEL) -m "not cluster and not realnode and not crash and not chart" $(ARGS)

# The oldest version that docs/known-limits.md names. It must be installed on this machine, for example Debian's postgresql-15.
OLDEST_POSTGRES = tests/integration/postgres tests/contract/test_admission.py tests/contract/test_process_store.py \
	tests/contract/test_submit_store.py tests/contract/test_log_store.py tests/contract/test_job_readers.py \
	tests/contract/test_sweep_store.py
# Its planner reads the few anomalies of that test as a whole; the newer one takes the index.
OTHER_PLAN = --deselect 'tests/integration/postgres/test_plans.py::test_hot_statements[delete]'
.PHONY: test-postgres15
test-postgres15: $(DEV_STAMP) ## Run the PostgreSQL suites on PostgreSQL 15.
	@KJR_TEST_POSTGRES_MAJOR=15 $(PYTEST) $(PARALLEL) $(OLDEST_POSTGRES) --ignore-glob '*test_embedded*' $(OTHER_PLAN) $(ARGS)

NEWEST = .venv-newest
.PHONY: test-newest-python
test-newest-python: $(DEV_STAMP) ## Run the unit tests on the newest Python of this machine.
	@newest=$$($(BIN)/python -m tools.newest_python) || exit 1; \
	$(UV) venv --quiet --clear --python "$$newest" $(NEWEST) && \
	$(UV) pip install --quiet --python $(NEWEST)/bin/python --require-hashes -r requirements/runtime.txt -r requirements/dev.txt && \
	$(UV) pip install --quiet --python $(NEWEST)/bin/python --no-deps --require-hashes -r requirements/build.txt && \
	$(UV) pip install --quiet --python $(NEWEST)/bin/python --no-deps --no-build-isolation -e . && \
	$(NEWEST)/bin/python -m pytest $(PARALLEL) tests/unit -p no:cacheprovider $(ARGS)

# The fault drills and the tests on the real node mostly wait, so they run at the same time. The others load all cores and run alone.
# pytest exits with 2 when it is interrupted, and with 5 where ARGS leaves no test.
WAITING = drill or realnode
.PHONY: test-cluster
test-cluster: $(DEV_STAMP) ## Run the tests on a real Kubernetes API server (needs Go; builds the test bed once).
	@first=0; second=0; \
	$(PYTEST) -n 2 $(BY_FILE) -m "$(WAITING)" --timeout 900 $(ARGS) || first=$$?; \
	[ $$first != 2 ] || exit 2; \
	$(PYTEST) -m "(cluster or crash) and not ($(WAITING))" --timeout 900 $(ARGS) || second=$$?; \
	case $$first$$second in 00 | 05 | 50) ;; *) exit 1 ;; esac

.PHONY: test-drills
test-drills: $(DEV_STAMP) ## Run only the fault drills of these: servers away for seconds while jobs run (six minutes).
	@$(PYTEST) -m drill $(ARGS)

.PHONY: testbed
testbed: $(DEV_STAMP) ## Build the test bed and start it; stop it with `python -m testbed down`.
	@$(BIN)/python -m testbed build
	@$(BIN)/python -m testbed up

.PHONY: lint
lint: $(DEV_STAMP) ## Check format, lint, types and the import contracts.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: chart-lint
chart-lint: $(DEV_STAMP) ## Check the Helm chart with Helm itself (needs Go; builds Helm once).
	@$(PYTEST) -m chart tests/chart $(ARGS)

.PHONY: chart
chart: $(DEV_STAMP) ## Write the files made from the chart: golden renders, Kustomize base, pages of reference.
	@$(BIN)/python -m testbed chart

.PHONY: kustomize
kustomize: chart ## Write the Kustomize base from the chart (the same as `make chart`).

.PHONY: format
format: $(DEV_STAMP) ## Format the code and fix what the linter can fix.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: client
client: $(DEV_STAMP) ## Write the synchronous client from the asynchronous one.
	@$(BIN)/python -m tools.sync_client

.PHONY: build
build: $(DEV_STAMP) ## Build the wheel and the source distribution into dist/.
	@$(UV) build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist

.PHONY: docker
docker: ## Build the image for this machine (IMAGE, TAG, DOCKER).
	@deploy/docker/build.sh local "$(IMAGE)" "$(TAG)"

.PHONY: docker-publish
docker-publish: ## Build it for PLATFORMS, with SBOM and provenance, and push it to IMAGE:TAG.
	@deploy/docker/build.sh publish "$(IMAGE)" "$(TAG)" "$(PLATFORMS)"

.PHONY: deploy-local
deploy-local: ## Deploy to minikube: PostgreSQL, ElasticMQ, the image of this checkout, the chart.
	@deploy/minikube/local.sh up

.PHONY: undeploy-local
undeploy-local: ## Remove that from minikube, with its data.
	@deploy/minikube/local.sh down

.PHONY: watch
watch: $(RUNTIME_STAMP) ## Show the jobs of the running service, live.
	@KJR_DATA_DIR=$(CURDIR)/.kjr/up $(BIN)/kjr list --watch

.PHONY: bench
bench: $(DEV_STAMP) ## Measure submit rate and, where the test bed can be built, jobs per second on it.
	@$(BIN)/python -m bench $(ARGS)

.PHONY: drills
drills: $(DEV_STAMP) ## Run the fault drills at full length (an hour); ARGS names groups: postgres, tokens, ...
	@$(BIN)/python -m bench drills $(ARGS)

.PHONY: lock
lock: $(VENV)/.uv ## Write the hashed requirement files from pyproject.toml.
	@$(UV) lock --quiet --upgrade --python $(BIN)/python
	@./requirements/export.sh $(UV)

.PHONY: lock-check
lock-check: $(DEV_STAMP) ## Check that the hashed requirement files fit pyproject.toml.
	@$(BIN)/python requirements/check.py

.PHONY: clean
clean: ## Remove what was built and installed in the checkout.
	@rm -rf $(VENV) $(NEWEST) .kjr build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

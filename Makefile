# Every target works from a clean clone. What is downloaded or built is kept in $XDG_CACHE_HOME/stationkeeper.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER ?= stationkeeper

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@echo "creating $(VENV) with the locked dependencies (once, a minute or two) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(VENV)/.ready ## Create the virtual environment with everything in it

.PHONY: demo
demo: images ## The whole loop on real data: train, serve, drift, retrain, roll out (brings up a cluster if none is named)
	@$(BIN)/python -m hack.demo --name $(CLUSTER) up

.PHONY: demo-down
demo-down: venv ## Remove what the demo made; the cluster stays
	@$(BIN)/python -m hack.demo --name $(CLUSTER) down

.PHONY: cluster-up
cluster-up: venv ## Bring up a Kubernetes cluster on this machine (or check the one named by USE_EXISTING_CLUSTER=1)
	@$(BIN)/python -m hack.cluster up --name $(CLUSTER)

.PHONY: cluster-down
cluster-down: venv ## End that cluster and leave nothing behind
	@$(BIN)/python -m hack.cluster down --name $(CLUSTER)

.PHONY: images
images: cluster-up ## Build the images and load them into the cluster (or push them to REGISTRY)
	@$(BIN)/python -m hack.images --name $(CLUSTER)

.PHONY: test
test: venv ## All three tiers of tests: unit, integration, e2e
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadscope --no-loadscope-reorder tests/e2e tests/integration tests/unit

.PHONY: test-unit
test-unit: venv ## Unit tests alone: no cluster
	@$(BIN)/python -m pytest tests/unit

.PHONY: test-integration
test-integration: venv ## Integration tests alone: a control plane without nodes
	@$(BIN)/python -m pytest tests/integration

.PHONY: test-e2e
test-e2e: venv ## End-to-end tests alone: a whole node with containers (needs root)
	@$(BIN)/python -m pytest tests/e2e

.PHONY: lint
lint: venv ## Formatting, lint rules, types, architecture
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy operator hack
	@$(BIN)/lint-imports

.PHONY: bench-reconcile
bench-reconcile: venv ## What the operator costs beside a bare API client (a control plane without nodes; about ten minutes)
	@$(BIN)/python -m tests.benchmarks.reconcile

.PHONY: bench-drift
bench-drift: venv ## The drift engine beside Evidently, NannyML and scipy (environments of their own; half an hour the first time)
	@$(BIN)/python -m tests.benchmarks.drift

.PHONY: bench-backtest
bench-backtest: venv ## The default policy beside never, a schedule and every window, on the flights of a year (an hour; --quick in the module: ten minutes)
	@$(BIN)/python -m tests.benchmarks.backtest

.PHONY: crds
crds: venv ## Generate the CRDs from the API types
	@$(BIN)/python -m stationkeeper.api.crd crds
	@mkdir -p charts/stationkeeper/crds && cp crds/*.yaml charts/stationkeeper/crds/

.PHONY: golden
golden: venv ## Rewrite the golden files of the unit tests; read the diff
	@$(BIN)/python -m pytest tests/unit --update-golden -q

.PHONY: lock
lock: venv ## Resolve the dependencies anew
	@$(BIN)/python -m pip install --quiet uv
	@UV=$(BIN)/uv hack/lock.sh

.PHONY: clean
clean: ## Remove the virtual environment and build output (the cache stays)
	@rm -rf $(VENV) build

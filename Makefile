# Every target sets up what it needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml tools/venv.sh
	@PYTHON="$(PYTHON)" tools/venv.sh $(VENV)

venv: $(STAMP) ## the virtual environment .venv with the command fairlead

run: $(STAMP) ## the demo: control plane, a real Envoy, three backends (ARGS="--for 30s")
	@exec $(BIN)/fairlead demo $(ARGS)

tools: ## kube-apiserver, etcd and kube-controller-manager, built once into a cache (others: ARGS="--set helm|kind|node")
	@$(PYTHON) tools/build.py $(ARGS)

test: $(STAMP) ## all tests: unit, property, golden, traffic, API server, chart (ARGS="-k word")
	@$(PYTHON) tools/build.py --set api --set helm > /dev/null
	@$(BIN)/pytest $(ARGS)

unit: $(STAMP) ## the fast tests only
	@$(BIN)/pytest tests/unit tests/golden $(ARGS)

lint: $(STAMP) ## ruff, mypy strict, architecture contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

generated: $(STAMP) ## are crds/ and docs/reference.md what the models say?
	@$(BIN)/python -m fairlead_operator.api.schema --check .

crds: $(STAMP) ## write crds/, docs/reference.md and the files of the chart from the models
	@$(BIN)/python -m fairlead_operator.api.schema .
	@$(BIN)/fairlead bootstrap --pod --gateway GATEWAY --xds-address XDS-SERVICE:18000 > helm/fairlead/files/gateway-bootstrap.json

golden: $(STAMP) ## write the goldens of tests/cases and tests/chart/cases anew
	@$(BIN)/pytest tests/golden tests/chart/test_goldens.py --update -q

bench: $(STAMP) ## measure (ARGS="--json")
	@$(BIN)/python -m bench $(ARGS)

cluster: $(STAMP) ## a kind cluster with Fairlead and a sample application; it goes on running
	@$(BIN)/python -m e2e.cluster up

cluster-down: $(STAMP) ## end it, and the container engine if it is ours
	@$(BIN)/python -m e2e.cluster down

e2e: $(STAMP) ## end-to-end tests: cluster up, e2e/, cluster down, whatever happens (ARGS="-k word"; CLUSTER=current)
	@$(BIN)/python -m e2e.cluster test -- e2e $(ARGS)

e2e-telling: $(STAMP) ## the scenarios of it that say most, if this machine can run the cluster
	@$(BIN)/python -m e2e.cluster telling

bench-e2e: $(STAMP) ## measure in the cluster that `make cluster` left running (ARGS="--json FILE")
	@$(BIN)/python -m e2e.bench $(ARGS)

check: lint generated test ## what CI runs

lock: $(STAMP) ## write requirements.lock anew from pyproject.toml
	@$(BIN)/pip install -q uv && $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra envoy --group dev pyproject.toml -o requirements.lock

clean: ## remove what was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help venv run tools test unit lint generated crds golden bench cluster cluster-down e2e e2e-telling bench-e2e check lock clean

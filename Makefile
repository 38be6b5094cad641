# One command to a working tree: make dev. Everything else: make help.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
PYTEST_ARGS ?=
# Megabytes of weights that `make bench` hands over; docs/benchmarks.md says what large ones need.
MB ?= 0.25 100

DEV := $(VENV)/.tasuki-dev
DEMO := $(VENV)/.tasuki-demo
FRAMEWORKS := $(VENV)/.tasuki-frameworks
# What `make dev` installed is enough for the demo too.
TO_RUN := $(if $(wildcard $(DEV)),$(DEV),$(DEMO))

.PHONY: help dev lint check test compose-test cluster-drill wheel-check demo bench clean

help:
	@echo "make dev          a virtual environment with everything in it"
	@echo "make check        format, lint, types, import contracts, unit and contract tests"
	@echo "make lint         the first four of these alone"
	@echo "make test         every suite, on a RabbitMQ of its own"
	@echo "make wheel-check  build the wheel, install it bare, import it without torch"
	@echo "make demo         three sites train a small network on this machine"
	@echo "make bench        what a turn and a hand-over cost beyond training; MB='1000 3000' for larger"
	@echo "make compose-test the drill of compose/ on a Docker engine, as root"
	@echo "make cluster-drill the same with a broker of three nodes; takes half an hour, CI does without"
	@echo "make clean        remove what these commands made; your runs in .tasuki stay"

dev: $(DEV)
	@echo "ready: source $(BIN)/activate"

$(DEV): pyproject.toml
	@.ci/provide venv $(VENV)
	@echo "installing Tasuki and what it is developed with (the first time takes minutes)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(DEMO): pyproject.toml
	@.ci/provide venv $(VENV)
	@echo "installing Tasuki, PyTorch and what the examples need (the first time takes minutes)"
	@$(PIP) install --editable '.[torch,examples]'
	@touch $@

$(FRAMEWORKS): $(DEV)
	@echo "installing Lightning, transformers and TensorFlow for their tests"
	@$(PIP) install --editable '.[dev,frameworks]'
	@touch $@

lint: $(DEV)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest tests/unit tests/contract $(PYTEST_ARGS)

test: $(DEV) $(FRAMEWORKS)
	@.ci/provide rabbitmq
	@.ci/provide promtool
	@.ci/provide systemd-analyze
	@.ci/provide chromium
	@.ci/provide fashion-mnist
	TASUKI_REQUIRE_BROKER=1 $(BIN)/python -m pytest -n 4 --no-loadscope-reorder $(PYTEST_ARGS)

compose-test: $(DEV) $(FRAMEWORKS)
	PYTHONPATH=tests $(BIN)/python -m compose.drill

cluster-drill: $(DEV)
	PYTHONPATH=tests $(BIN)/python -m compose.cluster_drill

wheel-check: $(DEV)
	$(BIN)/python -m pytest tests/e2e/test_wheel.py $(PYTEST_ARGS)

demo: $(TO_RUN)
	@mkdir -p .tasuki
	@data=$$(mktemp -d ".tasuki/demo-$$(date +%Y%m%d-%H%M%S)-XXXX"); \
	$(BIN)/tasuki simulate examples/cifar10/run.toml --data "$$data"; \
	$(BIN)/tasuki export cifar10 -o "$$data/cifar10.safetensors" --data "$$data"

bench: $(DEV)
	@.ci/provide rabbitmq
	@.ci/provide chromium
	$(BIN)/python benchmarks/overhead.py
	PYTHONPATH=tests $(BIN)/python benchmarks/transport.py
	PYTHONPATH=tests $(BIN)/python benchmarks/handoff.py --mb $(MB)
	PYTHONPATH=tests $(BIN)/python benchmarks/many_runs.py
	PYTHONPATH=tests $(BIN)/python benchmarks/evaluation.py
	PYTHONPATH=tests $(BIN)/python benchmarks/report.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

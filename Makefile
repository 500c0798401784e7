# `make demo` and `make test` need Python 3.11 or newer and nothing else: the first of them makes .venv and installs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint bench clean

# Two processes with one thread each are faster than one with two: the models are small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

demo: $(READY)
	$(BIN)/pruneguard demo

test: $(READY)
	$(PYTEST) --dist loadfile -m "not slow"

# loadgroup hands out one test at a time, which suits tests that take minutes.
test-slow: $(READY)
	$(PYTEST) --dist loadgroup -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.atelier
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.erasers
	$(BIN)/python -m benchmarks.together
	$(BIN)/python -m benchmarks.oracle
	$(BIN)/python -m benchmarks.unlearning
	$(BIN)/python -m benchmarks.routes
	$(BIN)/python -m benchmarks.folding
	$(BIN)/python -m benchmarks.minors
	$(BIN)/python -m benchmarks.plot
	$(BIN)/python -m benchmarks.readme

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try make PYTHON=python3.12"; exit 1; }
	@echo "installing into $(VENV), which takes some minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,train,export,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

# `make run` and `make test` need only python3 (3.11 to 3.13), make and a package index.
# PYTHON=python3.12 chooses the interpreter; VENV=.venv312 keeps several side by side.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCK   ?= deployments/locks/dev.lock
JOBS   ?= 4
STAMP  := $(VENV)/.installed

# Where the environment forbids byte code, every process compiles every library again: a third of
# the time of the tests.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run test test-long cover warm-up checks lint types unit bench measure faults fuzz setup lock clean

run: setup
	@$(BIN)/allsky360 up

# What is compiled on first use, to machine code or byte code, is compiled first, beside lint and
# types: else every process of the tests would do so. Then the tests, four at a time, as many wait for
# servers or disks; last, with nothing beside it, the one that runs the whole system by the clock.
test: setup
	@$(MAKE) --no-print-directory -j2 warm-up checks
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not alone and not long"
	@$(BIN)/python -m pytest -m "alone and not long" tests/system

# What another test or a benchmark shows too, at less cost; not part of CI.
test-long: setup
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "long and not alone"
	@$(BIN)/python -m pytest -m "long and alone" tests/flows

warm-up: setup
	@$(BIN)/allsky360 warm-up

checks: lint
	@$(MAKE) --no-print-directory types
	@$(BIN)/python -m pytest --collect-only -q >/dev/null

# The same with coverage, which costs a quarter more time.
cover: setup
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not alone" --cov --cov-report=
	@$(BIN)/python -m pytest -m alone --cov --cov-append --cov-report=term:skip-covered

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: setup
	@$(BIN)/mypy

unit: setup
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not alone and not long"

# Every measurement; ratios against a reference of the same run. About an hour on two cores.
# An environment of its own, with the libraries that are compared with.
bench:
	@$(MAKE) --no-print-directory measure VENV=.venv-bench LOCK=deployments/locks/bench.lock

measure: setup
	@for name in filters hdr_truth debayer dehaze flicker overlay stars measure photometry clouds transients archive exposure_control open_shutter api_scale page_follow api_slow_readers timelapse products reprocess; do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

# The fault campaign (docs/reliability.md): an accelerated night, hurt at random moments; hours at ten repeats.
faults: setup
	@$(BIN)/python -m benchmarks.faults --continue

# Wild bytes for every decoder, ten minutes of processor time each; ends with 1 where one crashed or hung.
fuzz: setup
	@$(BIN)/python -m benchmarks.fuzz

setup: $(STAMP)

$(STAMP): $(LOCK) pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" LOCK="$(LOCK)" sh deployments/setup.sh

# Renew every lock file, GPU ones included, from pyproject.toml.
lock: setup
	@UV="$(BIN)/uv" sh deployments/lock.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage

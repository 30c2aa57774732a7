# make demo: see it work.  make test: see that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --constraint constraints.txt
# One worker more than cores, as some tests wait for servers and processes; more than four only cost memory here.
WORKERS = $(shell $(PYTHON) -c "import os; print(min(4, (os.cpu_count() or 1) + 1))")
PARALLEL = --numprocesses $(WORKERS) --dist worksteal
# One thread a worker, and in what it starts: more only wait for each other. Byte code is kept whatever the shell says: the
# workers and the commands that tests start import the same files.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

ROOMS := src tests bench training plugins .ci docs/*.py

.PHONY: setup demo test test-slow families test-real test-versions test-vllm test-lmms-eval bench lint types types-lower docs architectures studies facts results guard train-scenes train-decoder studies-decoder pictures

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "set-up, once: 1 of 3, a Python environment in $(VENV) (10 seconds)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "set-up: 2 of 3, torch (the largest download; usually 1 to 5 minutes)"
	@$(PIP) torch==2.13.0
	@echo "set-up: 3 of 3, transformers, this package and what its tests need (usually 1 to 5 minutes)"
	@$(PIP) --editable ".[test,dev]"
	@touch $(STAMP)
	@echo "set-up: done"

demo: setup
	@echo "demo: a small model captions six pictures five ways (15 seconds on two free cores)"
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m lvlm_saliency.demo --out demo

test: setup
	$(PYTEST) -m "not slow" $(PARALLEL)

# Every method on every family, and what takes minutes. The tests of packages that are not here are skipped.
test-slow: setup .families
	LVLM_SALIENCY_PROCESSORS=$(CURDIR)/.families $(PYTEST) -m slow $(PARALLEL)

# The exactness and contract tests on the oldest and the newest releases, each in an environment of its own.
test-versions:
	$(PYTHON) .ci/versions.py floor newest

# The plug-in inside vLLM, in an environment of its own (3.5 GB, 5 to 10 minutes once), against what this package writes.
test-vllm: setup
	$(PYTHON) .ci/vllm.py

# The plug-in inside lmms-eval, in an environment of its own (2.5 GB, about ten minutes to install).
test-lmms-eval:
	$(PYTHON) .ci/lmms_eval.py

# At most about ten minutes on two cores; `python -m bench.cpu --help` says how to choose parts, and how to resume.
bench: setup
	$(BIN)/python -m bench.cpu

lint: setup
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/ruff format --check $(ROOMS)

# mypy: strict where pyproject.toml says so; elsewhere no more errors than .ci/types.txt allows.
types: setup
	$(BIN)/python .ci/type_check.py

types-lower: setup
	$(BIN)/python .ci/type_check.py --lower

# The tests of the families beside those of `make test`, and those of videos (their contract tables: `make test-slow`).
families: setup .families
	LVLM_SALIENCY_PROCESSORS=$(CURDIR)/.families $(BIN)/python -m pytest -m slow $(PARALLEL) \
		tests/engine/test_more_families.py tests/test_layout.py tests/test_painted_pictures.py tests/test_regions.py tests/test_full_size.py
	LVLM_SALIENCY_PROCESSORS=$(CURDIR)/.families $(BIN)/python -m pytest $(PARALLEL) tests/test_video.py tests/test_films.py \
		tests/test_films_refused.py tests/engine/test_video_rows.py

# torchvision (and PyAV), which a third of the families' processors need, in a folder of its own: `make test` runs without.
.families: $(STAMP)
	$(PIP) --upgrade --no-deps --target .families torchvision av
	@touch .families

# The documentation site, in docs/_build/html: tutorials are executed, a warning is an error, links are followed within it.
# Its tools stand in an environment of their own, on top of .venv, so that torch is there once.
DOCS := .venv-docs
docs: setup
	@test -x $(DOCS)/bin/python || $(BIN)/python -m venv $(DOCS)
	@$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > \
		"$$($(DOCS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/tests-environment.pth"
	@$(DOCS)/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --constraint constraints.txt \
		--editable ".[docs]"
	PATH="$(CURDIR)/$(DOCS)/bin:$(PATH)" OMP_NUM_THREADS=1 $(DOCS)/bin/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(BIN)/python .ci/links.py docs/_build/html

# The claims on a real language model, which a package index holds (93 MB to fetch, 540 MB in .real), then the study of
# facts on it (half an hour of one core; what was asked before is kept, not asked again). There is a second one:
# `make test-real REAL=gemma3-270m` (253 MB to fetch, 1.1 GB in .real; ai.google.dev/gemma/terms apply to it).
REAL ?= smollm2
test-real: setup
	$(BIN)/python .ci/real_weights.py .real/$(REAL)
	LVLM_SALIENCY_REAL=.real/$(REAL) $(BIN)/python -m pytest -m slow tests/real
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency study factual --model .real/$(REAL) --out runs/real/$(REAL)

# The studies of facts, as they were last made, into the documents.
facts: setup
	$(MAKE) test-real REAL=smollm2
	$(MAKE) test-real REAL=gemma3-270m
	$(BIN)/python docs/publish_studies.py --source runs/real/smollm2 --out docs/studies --summary docs/results.md
	$(BIN)/python docs/publish_beside.py --source runs/real/gemma3-270m --page docs/facts.md \
		--models "Gemma 3 270M" "SmolLM2-135M-Instruct"

# The table of docs/architectures.md: every decoder of the installed transformers against the definition.
architectures: setup
	PYTHONPATH=tests $(BIN)/python -m zoo.examination --rows-only

# Every study on the shipped model, offline; what was measured before is read from runs/studies, not measured again.
studies: setup
	$(BIN)/lvlm-saliency study all --out runs/studies
	$(BIN)/python docs/publish_studies.py --source runs/studies --out docs/studies --summary docs/results.md \
		--detectors docs/detectors.md

# Every method on the shipped model, captions and questions; what was written before is kept, not written again.
results: setup
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency evaluate --model scenes --benchmark scenes-caption --method all \
		--method sgrs+locore --n 150 --max-new-tokens 128 --batch-size 16 --out runs/results/captions
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency evaluate --model scenes --benchmark scenes-pope --method all \
		--method sgrs+locore --n 40 --max-new-tokens 8 --batch-size 32 --out runs/results/questions
	$(BIN)/python docs/publish_results.py

# The guard on the shipped model: its calibrations, and the guard beside its controls on 500 unseen scenes.
guard: setup
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency guard calibrate --n 1200 --out runs/guard/calibration
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency guard calibrate --no-risk --n 400 --out runs/guard/questions
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency evaluate --model scenes --benchmark scenes-caption --n 500 \
		--max-new-tokens 128 --batch-size 16 --method guard --method guard:verdicts=oracle \
		--method guard:verdicts=random --method guard:verdicts=position --out runs/guard/captions
	OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency evaluate --model scenes --benchmark scenes-caption --n 150 \
		--max-new-tokens 128 --batch-size 16 --method guard:recall_loss=0.005 --method guard:recall_loss=0.02 \
		--method runs/guard/questions/guard.yaml --method guard+sample --method guard:beams=5 \
		--method guard:beams=5,recall_loss=0.005 \
		--method guard:action=best_of,verdicts=oracle --out runs/guard/thresholds
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.guard > runs/guard/cost.txt
	$(BIN)/python docs/publish_guard.py

train-scenes: setup
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m training.train

# The scenes tower before a real language model (fetched as in test-real): hours on two cores, resumable, in .real.
train-decoder: setup
	$(PIP) --editable ".[training]"
	$(BIN)/python .ci/real_weights.py .real/smollm2
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m training.decoder.train

# The studies on that model (but latency, which is about the machine), and its findings beside those of the small one: three to
# four hours of one core, resumable.
DECODER_STUDIES := "separation --n 200" "decay --n 100" "behaviour --n 40" "ablation --n 30" \
	"tune:budget=700,settings=9 --n 150" "detect:train=200 --n 100"
studies-decoder: setup
	set -e; for study in $(DECODER_STUDIES); do OMP_NUM_THREADS=1 $(BIN)/lvlm-saliency study $$study \
		--model .real/scenes-smollm2 --out runs/studies-decoder; done
	$(BIN)/python docs/publish_beside.py --source runs/studies-decoder --page docs/decoder.md \
		--models "real decoder" "small model" --card .real/scenes-smollm2/README.md

# The pictures of the README, from what `make demo` wrote.
pictures: demo
	$(BIN)/python docs/pictures.py

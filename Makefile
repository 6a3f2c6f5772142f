# `make test` and `make figures` set everything up by themselves, in .venv; `make test EXTRA=test-without-torch` without
# PyTorch.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
EXTRA ?= test
# a plain path in the environment, which type checkers follow: the default puts a hook there that only imports see
INSTALL := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	--config-settings editable_mode=compat --editable

# what `full-scale` trains and measures; a small network in their place runs on a CPU (docs/guides/full-scale.md)
RECIPE ?= cifar100-wrn28x10 --epochs 40 --precision bf16 --compile
PRUNED ?= --method sgd,grda --c 0.003 --mu 0.55,0.6 --keep 1,2,5,10,20
OTHERS ?= --method one-shot,gradual,rigl --zeros 0.94
VALLEY ?=
THEORY ?=
RESULTS ?= results

.PHONY: help test test-slow test-memory figures study full-scale bench docs notebooks dist lint types check clean

help:
	@echo "make test         set up and run the tests"
	@echo "make test-slow    the statistical studies (minutes)"
	@echo "make test-memory  the tests of compiled code with checked indices, and with a checked heap (minutes)"
	@echo "make figures      set up and draw every figure into figures/"
	@echo "make study        run every validation at full size; interrupted, it goes on where it was"
	@echo "make full-scale DATA=DIR   train on CIFAR-100 and measure the valley, on a GPU; interrupted, it goes on"
	@echo "make docs         set up and build the documentation site into docs/_build"
	@echo "make notebooks    execute the notebooks anew, in place"
	@echo "make bench        measure, and write benchmarks/results.md"
	@echo "make dist         build sdist and wheel into dist, and check them"
	@echo "make check        tests, lint and types"

$(READY): setup.cfg pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(RUN) $(INSTALL) '.[$(EXTRA)]'
	touch $(READY)

# tests/conftest.py says which files one worker runs, and which are started first; each worker has a core of its own, for
# which the threads of linear algebra would else compete
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(RUN) $(INSTALL) '.[$(EXTRA),dask,mpi]'
	$(RUN) -m pytest -m slow

# what compiled code reads and writes: with checked indices, then with a checked heap (each compiles everything anew)
MEMORY := tests/compiled/test_scratch.py tests/compiled/test_random.py tests/problems/test_covariance.py \
	tests/approximations/test_paths.py tests/simulation/test_simulate.py tests/inference/test_fit.py
# since glibc 2.34 MALLOC_CHECK_ is heard by this library only
CHECKED_HEAP := libc_malloc_debug.so.0
test-memory: $(READY)
	NUMBA_BOUNDSCHECK=1 $(PYTEST) -m "" $(MEMORY)
	LD_PRELOAD=$(CHECKED_HEAP) MALLOC_CHECK_=3 MALLOC_PERTURB_=165 $(PYTEST) -m "" $(MEMORY)

figures: $(READY)
	$(VENV)/bin/rdasde figure --all --out figures

study: $(READY)
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(VENV)/bin/rdasde figure --studies --store .study --out figures

# every step goes on where it was; the first of the strengths is the one whose valley is measured
TRAIN = $(RUN) -m rdasde.pruning.recipes $(RECIPE) --folder $(DATA)
MEASURE = $(RUN) -m rdasde.pruning.recipes
PAIR = $$(ls $(RESULTS)/runs/run-grda*.pt | grep -v epoch | head -1) $(RESULTS)/runs/run-sgd.pt --folder $(DATA)
full-scale: $(READY)
	@test -d "$(DATA)" || { echo "DATA is '$(DATA)', but must be a folder with CIFAR-100: make full-scale DATA=DIR."; exit 2; }
	mkdir -p $(RESULTS)/runs
	$(TRAIN) $(PRUNED) --checkpoint $(RESULTS)/runs/run.pt
	$(TRAIN) $(OTHERS) --checkpoint $(RESULTS)/runs/run.pt
	$(MEASURE) compare $(RESULTS)/runs --out $(RESULTS)/sparsity-accuracy-cifar100.json
	$(MEASURE) valley $(PAIR) $(VALLEY) --out $(RESULTS)/valley-cifar100.npz
	$(MEASURE) theory $(PAIR) $(THEORY) --out $(RESULTS)/theory-cifar100.json
	$(VENV)/bin/rdasde figure valley-cifar100 sparsity-accuracy-cifar100 theory-cifar100 \
		--results $(RESULTS) --out $(RESULTS)

bench: $(READY)
	$(RUN) $(INSTALL) '.[test,bench]'
	$(RUN) benchmarks/run.py
	$(RUN) benchmarks/optimizer.py

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# notebooks are executed once for each state of theirs; a warning is an error
docs: $(READY)
	$(RUN) $(INSTALL) '.[docs]'
	$(RUN) -m sphinx -b html -W --keep-going -q docs docs/_build
	$(RUN) docs/check_search.py

notebooks: $(READY)
	$(RUN) notebooks/execute.py

types: $(READY)
	$(VENV)/bin/mypy

dist: $(READY)
	$(RUN) $(INSTALL) '.[$(EXTRA),dist]'
	rm -rf dist
	$(RUN) -m build --outdir dist .
	$(VENV)/bin/twine check --strict dist/*
	$(VENV)/bin/check-wheel-contents dist/*.whl

check: test lint types

clean:
	rm -rf docs/_build docs/_cache docs/jupyter_execute $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

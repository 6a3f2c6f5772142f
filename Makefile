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

.PHONY: help test test-slow figures study bench lint types check clean

help:
	@echo "make test       set up and run the tests"
	@echo "make test-slow  the statistical studies (minutes)"
	@echo "make figures    set up and draw every figure into figures/"
	@echo "make study      run every validation at full size; interrupted, it goes on where it was"
	@echo "make bench      measure, and write benchmarks/results.md"
	@echo "make check      tests, lint and types"

$(READY): setup.cfg pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(RUN) $(INSTALL) '.[$(EXTRA)]'
	touch $(READY)

test: $(READY)
	$(RUN) -m pytest -n 2 --dist loadfile

test-slow: $(READY)
	$(RUN) -m pytest -m slow

figures: $(READY)
	$(VENV)/bin/rdasde figure --all --out figures

study: $(READY)
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(VENV)/bin/rdasde figure --studies --store .study --out figures

bench: $(READY)
	$(RUN) $(INSTALL) '.[test,bench]'
	$(RUN) benchmarks/run.py
	$(RUN) benchmarks/optimizer.py

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(READY)
	$(VENV)/bin/mypy

check: test lint types

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Both targets work on a fresh clone with Python 3.10+, git and a C compiler: they create .venv when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help install demo test unit lint docs

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# torch first and alone: constraints.txt pins the version, and nothing later may pull another build of it.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

install: $(VENV)/.installed  ## create .venv with everything

demo: install  ## the whole story on toy videos in a few minutes; ends with demo/report.html
	$(BIN)/openfsar demo --out demo

# Most tests are small: one thread in each of several processes beats all threads in one.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

test: lint  ## format, lint, types, then every test
	$(PYTEST)

unit: install  ## the quick tests only
	$(PYTEST) -m 'not slow'

lint: install  ## ruff and pyright
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

docs: install  ## redraw figures and claims, and rewrite the reference
	$(BIN)/python docs/figures.py
	$(BIN)/python docs/claims.py
	$(BIN)/python docs/reference.py

# The words CI uses. `make demo` and `make test` set up all they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One thread per process: the suite runs on every core already, and numbers stay comparable.
ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false MPLBACKEND=Agg

.PHONY: setup demo test lint types docs tutorials bench clean

setup: $(READY)

# torch first, pinned: then no other package's range can pull a different build.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	@$(ENV) $(BIN)/python -m captum.demo

test: $(READY)
	$(ENV) $(BIN)/python -m pytest -n auto --cov --cov-report=term:skip-covered -q

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

tutorials: $(READY)
	$(ENV) $(BIN)/python -m pytest tests/test_tutorials.py -q

docs: $(READY)
	$(ENV) $(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python perf/bench.py

clean:
	rm -rf $(VENV) docs/_build docs/tutorials build dist

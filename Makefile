# Two commands set up everything they need: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
OUT    ?= out
IMITATION := .venv-imitation

# Python keeps what it has compiled, whatever the caller's environment says: the suite starts hundreds of interpreters,
# and without it each reads all of Rewarden, and each of pytest's workers all tests, from their sources.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-slow test-imitation lint types unit bench wheel clean

help:
	@echo "make demo       set up, then the whole story on real data; leaves OUT=$(OUT)/report.html"
	@echo "make test       set up, then linters, types and the test suite"
	@echo "make test-slow  all tests, the exhaustive ones too, with new random cases"
	@echo "make test-imitation  convert imitation's own reward nets, in an environment with the Gymnasium that it needs"
	@echo "make example-expert_path   a reward learned from a path, mended and proved (see examples/)"
	@echo "make example-hh   a head over sentence vectors, learned from preferences and tried with texts (needs an encoder)"
	@echo "make example-driving   a reward learned from driving preferences, judged, mended and certified"
	@echo "make bench      measurements, as medians and ratios"
	@echo "make example-pedestrians   a reward learned from how people walk, judged, mended and certified (needs their tracks)"
	@echo "make example-loops  three worlds in which going round pays, and three mended; leaves examples/loops/out/"
	@echo "make wheel      build the wheel into dist/"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rewarden needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "==> making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# torch goes first and alone: an unpinned torch pulls gigabytes of CUDA on a machine that has none.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing Rewarden and what it needs (once; a few minutes)"
	@$(PIP) install -c constraints.txt torch==2.13.0
	@$(PIP) install -c constraints.txt -e .
	@echo "==> compiling the cells and neurons engines (once)"
	@$(BIN)/python -m rewarden.verifier.cells
	@$(BIN)/python -m rewarden.verifier.wide
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "==> installing the test tools"
	@$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@

demo: $(VENV)/.installed
	@echo "==> rewarden demo --out $(OUT)"
	@$(BIN)/rewarden demo --out $(OUT)

# make example-NAME runs examples/NAME/run.py, which leaves its figures in examples/NAME/out/summary.json
example-%: $(VENV)/.installed
	@echo "==> examples/$*"
	@$(BIN)/python examples/$*/run.py

lint: $(VENV)/.installed-test
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	@echo "==> mypy --strict"
	@$(BIN)/mypy --strict -p rewarden -p benchmarks

unit: $(VENV)/.installed-test
	@echo "==> pytest"
	@$(BIN)/pytest -q -n 2 --dist worksteal

# mypy's one process runs beside those of pytest, in which a core is often idle: its verdict stands among their dots.
test: lint
	@$(MAKE) --no-print-directory -j2 types unit

test-slow: $(VENV)/.installed-test
	@REWARDEN_NEW_CASES=1 $(BIN)/pytest -q -n 2 --dist worksteal -m "slow or not slow"

# imitation needs another Gymnasium: its tests have an environment of their own, and `make test` never sees them.
$(IMITATION)/.installed: pyproject.toml constraints-imitation.txt
	@echo "==> making $(IMITATION)"
	@$(PYTHON) -m venv $(IMITATION)
	@$(IMITATION)/bin/python -m pip --disable-pip-version-check --quiet install -c constraints-imitation.txt torch==2.13.0
	@$(IMITATION)/bin/python -m pip --disable-pip-version-check --quiet install -c constraints-imitation.txt -e . imitation pytest hypothesis
	@touch $@

test-imitation: $(IMITATION)/.installed
	@$(IMITATION)/bin/python -m pytest -q -o filterwarnings=default tests/imitation

bench: $(VENV)/.installed-test
	@$(BIN)/python -m benchmarks

wheel: $(VENV)/.installed-test
	@$(BIN)/python -m tests.reference.confidence_page --check || echo "    (docs/tool-confidence.md)"
	@$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info

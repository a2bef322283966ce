# All the set-up there is. `make backtest PYTHON=python3.12` picks another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PINNED := $(BIN)/python -m pip install --quiet -c constraints.txt

.PHONY: backtest test clean
.DELETE_ON_ERROR:

backtest: .venv/installed
	$(BIN)/mmdrex backtest sp500 --out runs/sp500

test: .venv/installed-test
	$(BIN)/python -m pytest

.venv/created:
	@$(PYTHON) -c "import sys; sys.version_info < (3, 11) and sys.exit('mmdrex needs Python 3.11 or newer, $(PYTHON) is ' + sys.version.split()[0] + '; try: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	@touch $@

# Editable, so that a changed source file needs no new installation.
.venv/installed: setup.cfg pyproject.toml constraints.txt | .venv/created
	$(PINNED) -e .
	@touch $@

.venv/installed-test: setup.cfg pyproject.toml constraints.txt | .venv/created
	$(PINNED) -e '.[test]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv build dist *.egg-info

# Everything a fresh machine needs: Python >= 3.11 and make. Each target sets up its own
# virtual environment under .venv/ the first time, and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format clean

demo: $(VENV)/demo  ## train on real data and write report.html
	$(BIN)/deltarule demo

test: $(VENV)/test  ## all tests
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/lint  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

# Everything a fresh machine needs: Python >= 3.11 and make. Each target sets up its own
# virtual environment under .venv/ the first time, and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format sanitize sanitize-address sanitize-thread clean FORCE

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

# Two runs, each with an environment and a build of its own under build/sanitize/. Left out under
# AddressSanitizer: a memory map of 2 GiB, a test that measures time, torch. Under ThreadSanitizer: torch.
PRELOAD = $(foreach library,$(1),$(shell $${CXX:-c++} -print-file-name=lib$(library).so))
LEFT_OUT := more_than_two_to_the_31 or denormals_cost_nothing or beside_torch

sanitize: sanitize-address sanitize-thread  ## the native engine under GCC's sanitizers (Linux)

sanitize-address: build/sanitize/address
	LD_PRELOAD='$(call PRELOAD,asan ubsan)' ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYTHONMALLOC=malloc \
	$</bin/python -m pytest -q -p no:cacheprovider -k 'not ($(LEFT_OUT))' tests/native

sanitize-thread: build/sanitize/thread
	LD_PRELOAD='$(call PRELOAD,tsan)' TSAN_OPTIONS='exitcode=66 die_after_fork=0' OPENBLAS_NUM_THREADS=1 \
	$</bin/python -m pytest -q -p no:cacheprovider -k 'not beside_torch' tests/native/test_threads.py

build/sanitize/address: SANITIZERS := address,undefined
build/sanitize/thread: SANITIZERS := thread

# Installed, not editable, so that the package is the one that was built here.
build/sanitize/%: FORCE
	test -x $@/bin/python || $(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --upgrade pip pytest
	$@/bin/python -m pip install --quiet --force-reinstall --no-deps . \
	  -C build-dir=$@/native -C cmake.build-type=RelWithDebInfo -C install.strip=false \
	  -C cmake.define.DELTARULE_SANITIZE=$(SANITIZERS)
	$@/bin/python -m pip install --quiet 'numpy>=1.26' 'safetensors>=0.4.3'
	test -n "$$(find $@/lib -name '_native*.so')"  # the install goes on without a core that fails

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

# Everything a fresh machine needs: Python >= 3.11 and make. Each target sets up its own
# virtual environment under .venv/ the first time, and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format lint-native format-native stub sanitize sanitize-address sanitize-thread clean FORCE

demo: $(VENV)/demo  ## train on real data and write report.html
	$(BIN)/deltarule demo

test: $(VENV)/test  ## all tests
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/lint lint-native  ## ruff, mypy --strict, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/lint format-native
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

NATIVE_SOURCES = $(wildcard native/src/*.?pp native/tests/*.cpp native/tools/*.cpp)

lint-native: $(VENV)/lint  ## the layout of the C++ code
	$(BIN)/clang-format --dry-run --Werror $(NATIVE_SOURCES)

format-native: $(VENV)/lint
	$(BIN)/clang-format -i $(NATIVE_SOURCES)

stub: $(VENV)/test  ## src/deltarule/_native.pyi from the compiled core
	$(BIN)/python -m nanobind.stubgen -m deltarule._native -o src/deltarule/_native.pyi

# The native engine under GCC's sanitizers (Linux). Each builds the core anew beside a copy of the package
# in build/sanitize/; fewer examples, since all is ten times slower. Left out under AddressSanitizer: a
# memory map of 2 GiB, tests that measure time, and libraries that are not installed there.
PRELOAD = $(foreach library,$(1),$(shell $${CXX:-c++} -print-file-name=lib$(library).so))
LEFT_OUT := memory_stays or more_than_two_to_the_31 or denormals or ctrl_c or beside_other or loky
CLEAN_PYTEST = DELTARULE_FEW_EXAMPLES=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$< \
	build/sanitize/venv/bin/python -m pytest -q -n 2 -p no:cacheprovider

sanitize: sanitize-address sanitize-thread

sanitize-address: build/sanitize/address
	LD_PRELOAD='$(call PRELOAD,asan ubsan)' ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(CLEAN_PYTEST) -k 'not ($(LEFT_OUT))' tests/native

sanitize-thread: build/sanitize/thread
	LD_PRELOAD='$(call PRELOAD,tsan)' TSAN_OPTIONS='exitcode=66 die_after_fork=0' \
	$(CLEAN_PYTEST) -k 'not ($(LEFT_OUT))' tests/native/test_threads.py

build/sanitize/address: SANITIZERS := address,undefined
build/sanitize/thread: SANITIZERS := thread

build/sanitize/venv: pyproject.toml
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --upgrade pip
	$@/bin/python -m pip install --quiet cmake ninja 'nanobind>=2.4' 'numpy>=1.26' 'safetensors>=0.4.3' \
	  'hypothesis>=6.100' 'pytest>=8.2' 'pytest-xdist>=3.6'
	touch $@

build/sanitize/address build/sanitize/thread: build/sanitize/venv FORCE
	$</bin/cmake -G Ninja -S . -B $@/native -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$</bin/ninja -DPython_EXECUTABLE=$(CURDIR)/$</bin/python \
	  -DDELTARULE_SANITIZE=$(SANITIZERS)
	$</bin/cmake --build $@/native
	rm -rf $@/deltarule
	cp -r src/deltarule $@/
	rm -f $@/deltarule/_native*.so
	cp $@/native/_native*.so $@/deltarule/

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

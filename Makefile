# Everything a fresh machine needs: Python >= 3.11 and make, and a C++20 compiler for the native engine.
# Each target sets up what it needs the first time, and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LINT := build/lint/bin

# Where there is a compiler, a core that does not compile is an error, not a reason to do without.
export DELTARULE_REQUIRE_CORE := $(shell command -v $${CXX:-c++} > /dev/null && echo 1)

# One thread of BLAS in each process: threads that wait for each other cost tenfold.
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test soak core lint format lint-native format-native stub sanitize sanitize-address \
	sanitize-thread coverage clean FORCE

demo: $(VENV)/demo core  ## train on real data and write report.html
	$(BIN)/deltarule demo

test: $(VENV)/test core  ## all tests
	$(PYTEST)

soak: $(VENV)/test core  ## all tests, every combination and many more examples: hours
	DELTARULE_SOAK=1 $(PYTEST) --timeout 7200

# Asked each time: two seconds where nothing changed. Ninja compiles what did, and Python files that
# are new, moved or gone are found.
core: $(VENV)/build
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .

lint: build/lint/done lint-native  ## ruff, mypy --strict, clang-format
	$(LINT)/ruff check .
	$(LINT)/ruff format --check .
	$(LINT)/mypy

format: build/lint/done format-native
	$(LINT)/ruff check --fix .
	$(LINT)/ruff format .

NATIVE_SOURCES = $(wildcard native/src/*.?pp native/tests/*.cpp native/tools/*.cpp)

lint-native: build/lint/done  ## the layout of the C++ code
	$(LINT)/clang-format --dry-run --Werror $(NATIVE_SOURCES)

format-native: build/lint/done
	$(LINT)/clang-format -i $(NATIVE_SOURCES)

stub: $(VENV)/test core  ## src/deltarule/_native.pyi from the compiled core
	$(BIN)/python -m nanobind.stubgen -m deltarule._native -o src/deltarule/_native.pyi

# Other builds of the core, each beside a copy of the package in build/<name>/. They run in an environment
# without deltarule that borrows the libraries of .venv (PYTHONPATH, unlike .venv itself, obeys no .pth).
BARE := build/bare
BORROWED = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
IN_BUILD = PYTHONPATH=$(CURDIR)/$<:$(BORROWED) OPENBLAS_NUM_THREADS=1 $(BARE)/bin/python

# The native engine under GCC's sanitizers (Linux). Fewer examples, since all is ten times slower. Left out: a
# memory map of 2 GiB, tests that measure time or memory, and libraries that sanitizers do not go with.
PRELOAD = $(foreach library,$(1),$(shell $${CXX:-c++} -print-file-name=lib$(library).so))
LEFT_OUT := memory_stays or more_than_two_to_the_31 or denormals_cost or ctrl_c or beside_other or loky or each_process
SANITIZED = DELTARULE_FEW_EXAMPLES=1 $(IN_BUILD) -m pytest -q -n 2 -p no:cacheprovider --timeout 600 \
	-k 'not ($(LEFT_OUT))'

sanitize: sanitize-address sanitize-thread

sanitize-address: build/address
	LD_PRELOAD='$(call PRELOAD,asan ubsan)' ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 DELTARULE_SANITIZE=address,undefined \
	$(SANITIZED) tests/native tests/vector_maths

# (NumPy takes no lock when it copies the vector of a network that another thread trains.)
sanitize-thread: LEFT_OUT += or numpy_reads
sanitize-thread: build/thread
	$(BIN)/cmake --build $</native --target bench_steps  # the tool for profilers works
	$</native/bench_steps W1,W2 2 0.01
	$${CXX:-c++} -std=c++20 -fsyntax-only -Inative/src native/tools/bench_products.cpp
	LD_PRELOAD='$(call PRELOAD,tsan)' TSAN_OPTIONS='exitcode=66 die_after_fork=0' \
	$(SANITIZED) tests/native/test_threads.py tests/native/test_every_batch.py tests/native/test_in_use.py \
	  tests/native/test_team.py

# In C++ of the baseline target alone: the others are the same text. Processes that tests start count too.
coverage: build/coverage $(VENV)/coverage  ## the lines that no test reaches
	find $< -name '*.gcda' -delete
	cp $(BORROWED)/a1_coverage.pth $(BARE)/lib/python*/site-packages/
	DELTARULE_FEW_EXAMPLES=1 $(IN_BUILD) -m pytest -q -n auto --dist worksteal --timeout 1200 \
	  -k 'not (memory_stays or more_than_two_to_the_31 or package_is_small)' --cov=deltarule --cov-report= || true
	$(BIN)/python -m coverage report --skip-covered --show-missing
	$(BIN)/gcovr --root native/src $</native --merge-lines --exclude-throw-branches --txt \
	  --gcov-ignore-parse-errors=all --gcov-suspicious-hits-threshold=0 2> /dev/null

build/address: OPTIONS := -DDELTARULE_SANITIZE=address,undefined
build/thread: OPTIONS := -DDELTARULE_SANITIZE=thread -DDELTARULE_BASELINE_ONLY=ON
build/coverage: OPTIONS := -DDELTARULE_COVERAGE=ON -DDELTARULE_BASELINE_ONLY=ON

build/address build/thread build/coverage: $(VENV)/test $(BARE) FORCE
	$(BIN)/cmake -G Ninja -S . -B $@/native -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python $(OPTIONS)
	$(BIN)/cmake --build $@/native
	rm -rf $@/deltarule
	cp -r src/deltarule $@/
	rm -f $@/deltarule/_native*.so
	cp $@/native/_native*.so $@/deltarule/

clean:
	rm -rf $(VENV) build dist

# ------------------------------------------------------------------------------------- environments

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# What compiles the core, in .venv itself: in an environment made anew each time all would be compiled anew.
REQUIREMENTS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

$(VENV)/build: $(BIN)/python pyproject.toml
	$(BIN)/python -c '$(REQUIREMENTS)' > $@.txt
	$(BIN)/python -m pip install --quiet --requirement $@.txt cmake ninja
	touch $@

$(VENV)/demo $(VENV)/test $(VENV)/coverage: $(VENV)/%: $(VENV)/build
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[$*]'
	touch $@

# The package without its core, and what it needs: enough for ruff and mypy.
build/lint/done: pyproject.toml
	$(PYTHON) -m venv build/lint
	$(LINT)/python -m pip install --quiet --upgrade pip
	$(LINT)/python -m pip install --quiet --config-settings wheel.cmake=false \
	  --config-settings wheel.py-api=py3 --editable '.[lint]'
	touch $@

$(BARE): $(BIN)/python
	$(BIN)/python -m venv --without-pip $@
	touch $@

# `make demo` and `make test` do all set-up on a fresh machine that has Python >= 3.10 and a C++17 compiler.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find csrc -type f) CMakeLists.txt pyproject.toml constraints.txt
NATIVE := $(shell find csrc tests -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test lint format bench clean

.venv/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

# gatentk is installed, so that this adds the tools and builds nothing.
.venv/.tools: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "gatentk[dev]"
	touch $@

demo: .venv/.installed
	$(BIN)/gatentk demo --out demo

test: .venv/.installed
	$(BIN)/python -m pytest $(PYTEST)

# Checks, without changing a file.
lint: .venv/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo

format: .venv/.tools
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

bench: .venv/.installed
	$(BIN)/gatentk bench

clean:
	rm -rf .venv build demo

# `make demo` and `make test` do all set-up on a fresh machine that has Python >= 3.10 and a C++17 compiler.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find csrc -type f) CMakeLists.txt pyproject.toml constraints.txt

.PHONY: demo test lint bench clean

.venv/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

demo: .venv/.installed
	$(BIN)/gatentk demo --out demo

test: .venv/.installed
	$(BIN)/python -m pytest $(PYTEST)

bench: .venv/.installed
	$(BIN)/gatentk bench

lint: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/pre-commit run --all-files

clean:
	rm -rf .venv build demo

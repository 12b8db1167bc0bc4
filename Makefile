# `make demo` and `make test` do all set-up on a fresh machine that has Python >= 3.10 and a C++17 compiler.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find csrc -type f) CMakeLists.txt pyproject.toml constraints.txt
SANITIZED := build/sanitized
# All that calls kernels of the CPU, in every instruction set.
KERNEL_TESTS := $(patsubst %,tests/ops/test_%.py,bits biases block_form blocks checksums few_samples gate_gram gram infinite masked ordered plans registration)
NATIVE := $(shell find csrc tests -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test sanitize lint format bench clean

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

# A build of its own, by GCC. Python knows no installed gatentk there (-S), and the compiler's libraries come before all
# others; torch and Python leave memory to the end of the process, which is no leak of ours.
$(SANITIZED)/.built: $(SOURCES) $(shell find python -name '*.py') .venv/.installed
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(SANITIZED) . \
	  --config-settings=build-dir=build/sanitized-objects --config-settings=cmake.build-type=Debug \
	  --config-settings=cmake.define.GATENTK_CUDA=OFF \
	  --config-settings="cmake.define.CMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all"
	touch $@

sanitize: $(SANITIZED)/.built
	site=$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") && \
	PYTHONPATH=$(SANITIZED):$$site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	$(BIN)/python -S -m pytest -k "not opcheck and not compile and not forked" $(KERNEL_TESTS) $(PYTEST)

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

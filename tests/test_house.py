"""What keeps the house in order: sizes, tests that mirror sources, and who may import what.

The layers are held by import-linter (pyproject.toml, `make lint`).
"""

import ast
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]


def name(path):
    return str(path.relative_to(ROOT))


PACKAGE = ROOT / "python" / "gatentk"
TESTS = ROOT / "tests"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted(TESTS.rglob("*.py"))
NATIVE = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".cpp", ".hpp", ".cu", ".cuh", ".inc"))

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("csrc", "docs", "examples", "python", "tests", "tools")
FILES = [name(path) for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + ["README.md", "CONTRIBUTING.md"]

# Strings outside the command line that name an option, by module and number, and why they do.
OPTIONS_NAMED = {
    "bench/run.py": 1,  # a note in the file of results, whose readers have the command
    "ops/cuda.py": 1,  # an option of pip
    "papers/conditioning/experiment.py": 2,  # settings, which journals keep
    "papers/grelu_conditioning/experiment.py": 1,  # settings, which journals keep
    "papers/switch.py": 1,  # a remark on a page, whose readers have the command
}

LONGEST_MODULE, MEDIAN_MODULE, LONGEST_NATIVE = 450, 220, 400

# Modules without a test file of their own, and the one that covers them.
COVERED_BY = {
    "__init__.py": "test_package.py",
    "_version.py": "test_package.py",
    "errors.py": "test_package.py",
    "bench/case.py": "bench/test_cases.py",
    **{
        f"bench/cases/{family}.py": "bench/test_cases.py"
        for family in ("bits", "blocks", "gram", "infinite", "machines", "networks", "products", "skipping", "spectra")
    },
    "cli/__init__.py": "test_extras.py",
    "data/__init__.py": "data/test_registry.py",
    "fit/__init__.py": "test_package.py",
    "kernel_machines/__init__.py": "test_package.py",
    "ops/arguments.py": "ops/test_masked.py",
    "ops/cpu_products.py": "ops/test_masked.py",
    "ops/layouts.py": "ops/test_masked.py",
    "papers/__init__.py": "papers/test_experiments.py",
    "study/__init__.py": "test_package.py",
    "train/__init__.py": "test_package.py",
}


def lines(path):
    return len(path.read_text().splitlines())


def imported(path):
    """Modules that a file imports, with the names that it takes from them as if they were modules."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_modules_are_short():
    sizes = {name(path): lines(path) for path in MODULES}
    assert {path: size for path, size in sizes.items() if size > LONGEST_MODULE} == {}
    assert median(sizes.values()) < MEDIAN_MODULE


def test_native_files_are_short():
    assert {name(path): lines(path) for path in NATIVE if lines(path) > LONGEST_NATIVE} == {}


def test_every_module_has_its_tests():
    alone = []
    for path in MODULES:
        inside = path.relative_to(PACKAGE)
        expected = COVERED_BY.get(str(inside), inside.with_name(f"test_{inside.name}"))
        definitions = any(
            isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_text()).body
        )
        if definitions and not (TESTS / expected).is_file():
            alone.append(f"{inside}: no tests/{expected}")
    assert alone == []


def test_modules_that_others_cover_are_there_and_have_none_of_their_own():
    assert [path for path in COVERED_BY if not (PACKAGE / path).is_file()] == []
    assert [path for path in COVERED_BY if (TESTS / path).with_name(f"test_{Path(path).name}").is_file()] == []


@pytest.mark.parametrize("path", TEST_FILES, ids=name)
def test_no_test_imports_a_test_or_edits_the_path(path):
    assert [module for module in imported(path) if re.search(r"(^|\.)(test_\w+|conftest)\b", module)] == []
    edits = r"sys\.path(\.(append|extend|insert|remove)\(|\[.*\] =| \+?= )|syspath_prepend\("
    assert re.search(edits, path.read_text()) is None


def test_only_operations_call_compiled_modules():
    compiled = {"gatentk._core", "gatentk._cuda"}
    callers = [path for path in MODULES if compiled & set(imported(path))]
    assert [name(path) for path in callers if path.relative_to(PACKAGE).parts[0] != "ops"] == []


def strings(path):
    """The text of a module but for its comments, docstrings and parts of f-strings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_only_the_command_line_names_its_options():
    named = {}
    for path in MODULES:  # var(--ink) is a variable of a style sheet
        count = sum(re.search(r"(?<!var\()--[a-z]", text) is not None for text in strings(path))
        if count and path.relative_to(PACKAGE).parts[0] != "cli":
            named[str(path.relative_to(PACKAGE))] = count
    assert named == OPTIONS_NAMED


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_documents_name_files_that_are_there(path):
    named = set(re.findall(r"[\w/.-]+\.(?:py|md|cpp|hpp|cu|cuh)\b", path.read_text()))
    missing = [each for each in named if not any(f"/{file}".endswith(f"/{each.lstrip('./')}") for file in FILES)]
    assert [each for each in missing if "NAME" not in each] == []

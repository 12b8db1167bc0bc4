"""The package as a whole: its names, its version, and how little an import of it loads."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gatentk
from gatentk import errors

ROOT = Path(__file__).parents[1]


@pytest.fixture(
    params=["gatentk", "gatentk.data", "gatentk.fit", "gatentk.kernel_machines", "gatentk.study", "gatentk.train"]
)
def package(request):
    """Those that load their names at first use."""
    return importlib.import_module(request.param)


def test_every_name_is_there(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))


def test_an_unknown_name_is_an_attribute_error(package):
    assert not hasattr(package, "no_such_name")


def test_the_version_is_the_same_everywhere():
    for path, pattern in (("pyproject.toml", r'^version = "(.+)"$'), ("CITATION.cff", r"^version: (.+)$")):
        assert re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE) == [gatentk.__version__]


def test_exceptions_of_the_package_have_one_base():
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    raised = [kind for kind in own if not issubclass(kind, Warning)]
    assert len(raised) > 5
    assert all(issubclass(error, errors.GateNTKError) for error in raised)
    assert all(kind.__doc__ for kind in own)


def test_an_import_waits_for_nothing_large():
    code = "import sys, gatentk, gatentk.data, gatentk.fit, gatentk.kernel_machines, gatentk.study, gatentk.train; "
    code += "print([name for name in ('torch', 'numpy', 'scipy', 'sklearn', 'click') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"

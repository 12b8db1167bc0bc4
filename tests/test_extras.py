import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gatentk.bench import results
from gatentk.errors import DataError, MissingExtraError
from gatentk.extras import EXTRAS, imports, require
from gatentk.gates import GateNetwork
from gatentk.papers import augmentation
from gatentk.reporting import figures, page
from gatentk.study.config import StudyConfig
from gatentk.study.folder import run_study
from gatentk.train import TrainingConfig, run_training

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def declared(name: str) -> set[str]:
    """Packages of an entry of pyproject.toml (Python 3.10 has no reader for it)."""
    entry = re.search(rf"^{name} = \[(.*?)\]$", PYPROJECT.read_text(), re.MULTILINE | re.DOTALL)
    return {re.match(r"[\w-]+", package)[0] for package in re.findall(r"\"([^\"]+)\"", entry[1])}


@pytest.mark.parametrize("extra", EXTRAS)
def test_modules_are_those_of_the_extra(extra):
    assert set(EXTRAS[extra].values()) == declared(extra)


def test_what_is_installed_is_not_complained_about():
    for extra in EXTRAS:
        require(extra, "this test")
    with imports("cli", "this test"):
        import rich
    assert rich


def test_what_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        MissingExtraError, match=r'^plots: needs matplotlib and pillow; .* pip install "gatentk\[cli\]"'
    ):
        require("cli", "plots")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    install = '; install it by: pip install "gatentk'
    with pytest.raises(MissingExtraError, match=re.escape(f'plots: needs matplotlib and pillow{install}[cli]"')):
        require("cli", "plots")
    with (
        pytest.raises(MissingExtraError, match=re.escape(f'plots: needs pillow{install}[cli]"')),
        imports("cli", "plots"),
    ):
        import PIL.Image  # noqa: F401
    with (
        pytest.raises(DataError, match=re.escape(f'digits: needs scikit-learn{install}[data]"')),
        imports("data", "digits", DataError),
    ):
        import sklearn.datasets  # noqa: F401


def test_other_failures_are_let_through():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), imports("cli", "plots"):
        import no_such_module  # noqa: F401


@pytest.mark.parametrize(
    ("module", "package", "use"),
    [
        ("matplotlib.figure", "matplotlib", lambda: figures.panels([("Title", "")], [("x", "y")])),
        ("matplotlib.figure", "matplotlib", lambda: figures.plot("Title", "", 2, 17)),
        ("PIL", "pillow", lambda: run_study(StudyConfig("no such data"), Path("nowhere"))),
        ("PIL", "pillow", lambda: run_training(TrainingConfig("no such data"), Path("nowhere"))),
        ("jinja2", "jinja2", lambda: page.template("report.html")),
        ("rich.box", "rich", lambda: results.table([])),
        ("PIL.Image", "pillow", lambda: augmentation.change(np.zeros((2, 2, 3), np.uint8), 1, 1, None)),
        ("rich.console", "rich", lambda: GateNetwork(2, 2, 1).table(torch.ones(2, 2), progress=True)),
    ],
)
def test_functions_say_which_extra_they_need(monkeypatch, module, package, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'needs {package}; install it by: pip install "gatentk\[cli\]"'):
        use()


@pytest.mark.parametrize("missing", EXTRAS["cli"])
def test_the_command_line_says_in_one_line_what_it_needs(missing):
    start = f"import sys; sys.modules['{missing}'] = None; from gatentk.cli import main; main()"
    command = [sys.executable, "-c", start, "info"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode != 0
    package = EXTRAS["cli"][missing]
    assert outcome.stderr == f'Error: gatentk: needs {package}; install it by: pip install "gatentk[cli]"\n'


def test_the_numerical_part_needs_no_extra():
    modules = [module for extra in EXTRAS.values() for module in extra]
    code = f"""
import sys
sys.modules |= dict.fromkeys({modules})
import torch, gatentk as gt
x = gt.data.load("synthetic", n=8).x
net = gt.nn.GReLUNetwork(5, 16, 2, dtype=x.dtype)
gt.convert.grelu_to_relu(net, x)
print(gt.spectrum(gt.ntk.infinite(x, depth=2)).resolved, gt.ntk.empirical(net, x).shape)
run = gt.train.fit(gt.train.Config("synthetic", n=8, width=8, depth=1, epochs=1))
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout == "True torch.Size([8, 8])\n", outcome.stderr

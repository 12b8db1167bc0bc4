"""Every command and snippet of the documents and help texts runs as it is printed, in its order, in a fresh folder.

By default the long ones run at a smaller size, which the tables say; `-m slow` runs them as they are.
"""

import subprocess

import click
import numpy as np
import pytest
from cases.commands import invoke
from cases.documents import ROOT, blocks, commands, mentioned, snippets, sources

from gatentk.cli import demo
from gatentk.cli.main import COMMANDS, main
from gatentk.study.config import StudyConfig

# What is added to a command, by what it starts with: an option that is given again counts.
SMALLER = {
    ("ntk",): ["-n", "64", "--depths", "0:2", "--width", "16,inf"],
    ("fit",): ["-n", "64", "--depths", "1:2", "--ridges", "0.001,0.1"],
    ("train",): ["-n", "60", "--width", "32", "--depth", "2", "--epochs", "12"],
}
# Words in place of others, by what a command starts with.
INSTEAD = {("paper",): {"conditioning": "angles"}}
# Substitutions in snippets.
SHORTER = {"n=1000": "n=100", "range(200)": "range(5)", "512, 5": "64, 3"}
# What needs more than this machine is sure to have, and why it is not run.
LEFT_OUT = {
    ("bench", "--device", "cuda"): "a CUDA device",
    ("bench", "--peers", "nt/bin/python"): "neural-tangents from the network",
}
DOCUMENTS = {name: commands(text) for name, text in sources().items() if commands(text)}


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A fresh folder with the user's own data."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 8))
    y = 2e5 + 1e5 * (x @ generator.normal(size=8) + 0.1 * generator.normal(size=120))
    lines = ["a,b,c,d,e,f,g,h,target", *(",".join(map(repr, map(float, row))) for row in np.c_[x, y])]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "new.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines[:20]) + "\n")
    return tmp_path


def starts(words, table):
    """The entry of a table for a command."""
    return next((value for first, value in table.items() if tuple(words[: len(first)]) == first), None)


def run(words):
    if starts(words, LEFT_OUT) is None:
        outcome = invoke(*words)
        assert outcome.exit_code == 0, f"{' '.join(words)}: {outcome.output}"


def test_there_are_commands_in_all_the_places_that_have_some():
    assert {"README.md", "docs/cuda.md", *(f"gatentk {name} --help" for name in ("bench", "ntk", "train"))} <= {
        *DOCUMENTS
    }
    assert len(DOCUMENTS["README.md"]) >= 8
    assert len(snippets()) >= 2


@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_run_at_a_smaller_size(document, monkeypatch):
    small = {"digits": StudyConfig("digits", n=20, width=8, depths=(0, 1), seeds=1)}
    monkeypatch.setattr(demo, "configurations", lambda: small)
    for words in DOCUMENTS[document]:
        changes = starts(words, INSTEAD) or {}
        more = [] if "--help" in words else starts(words, SMALLER) or []
        run([changes.get(word, word) for word in words] + more)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("default::UserWarning")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_run_as_printed(document):
    for words in DOCUMENTS[document]:
        run(words)


def test_no_folder_of_results_is_of_two_commands():
    owners = {}
    for document in DOCUMENTS.values():
        for words in document:
            if "--out" in words:
                owners.setdefault(words[words.index("--out") + 1], set()).add(words[0])
    assert not {folder: names for folder, names in owners.items() if len(names) > 1}


@pytest.mark.usefixtures("fresh", "one_thread")
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")  # of torch, when it saves a program
@pytest.mark.parametrize("place", snippets())
def test_snippets_run_shorter(place, capsys):
    text = snippets()[place]
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    exec(compile(text, place, "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("place", snippets())
def test_snippets_run_as_printed(place):
    exec(compile(snippets()[place], place, "exec"), {})


@pytest.mark.parametrize("words", mentioned(), ids=" ".join)
def test_commands_in_sentences_have_the_options_they_name(words):
    assert words[0] in COMMANDS
    command = main.get_command(click.Context(main), words[0])
    flags = {"--help", *(flag for parameter in command.params for flag in parameter.opts)}
    assert {word for word in words if word.startswith("-")} <= flags


def test_targets_of_make_are_there():
    targets = {
        line.split()[1]
        for path in ("README.md", "CONTRIBUTING.md")
        for block in blocks(ROOT / path)
        for line in block.splitlines()
        if line.startswith("make ")
    }
    assert {"test", "demo", "lint"} <= targets
    for target in targets:
        outcome = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr

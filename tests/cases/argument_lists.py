"""Argument lists of all commands, made from what click knows of their options: right, wrong, huge, empty, no text."""

import os

import click
from hypothesis import strategies as st

from gatentk.cli.main import COMMANDS, main

# Runs that end at once, whatever options follow; an option that is given again replaces them.
FEW = ["--data", "csv:few.csv"]
BASES = {
    "ntk": [*FEW, "--width", "8,inf", "--depths", "0:1", "--seeds", "1", "--out", "ntk"],
    "train": [*FEW, "--width", "8", "--epochs", "2", "--trial-epochs", "1", "--lr", "0.01", "--out", "train"],
    "fit": [*FEW, "--depths", "0:1", "--out", "fit"],
    "paper": ["angles", "--out", "paper"],
    "demo": ["--out", "demo"],
    "bench": ["--quick", "-k", "no such case"],
    "info": [],
}
# A long run is no failure: what sets its length is small, or larger than any number of the machine.
LONG = {"epochs", "trial_epochs", "seeds", "repeats", "depth", "checkpoint_every", "switch"}
NOT_UTF8 = os.fsdecode(b"caf\xe9.csv")
FILES = ["few.csv", "empty.csv", "words.csv", "huge.csv", "few.npy", "broken.npy", "folder", "no such file", NOT_UTF8]
FILES += ["few.csv/inside", "x" * 300, "~nosuchuser/x", "~$mine.csv", "$HOME", "-", "folder/../few.csv", "/dev/null"]
KINDS = ["csv", "npy", "digits", "", "no such kind", "CSV"]
VALUES = {
    "data": [f"{kind}:{file}" for kind in KINDS for file in FILES] + ["synthetic", "friedman", "ackley", "cifar10"],
    "test": [f"csv:{file}" for file in FILES]
    + ["npy:few.npy", "digits", "friedman", "", "csv:", "no such kind:few.csv"],
    "ridges": ["auto", "0", "1", "1e-8,1", "0,0", "nan", "inf", "-1", "1e-320", "1e308", "a", ",", "1e400"],
    "path": [*FILES, "cifar10=few.csv", "cifar10=", "=few.csv", "cifar10"],
    "paths": [*FILES, "cifar10=few.csv", "sgemm=folder", "cifar10=", "=few.csv", "librispeech=few.npy"],
    "folder": [
        "a",
        "b/c",
        "ntk",
        "train",
        "fit",
        "paper",
        "few.csv",
        "few.csv/x",
        "",
        "x" * 300,
        "/proc/nothing",
        "\udce9",
        " ",
    ],
    "out": ["a.json", "b/c.json", "few.csv/x", "", "x" * 300, "/proc/nothing/x", "folder", "\udce9.json"],
    "peers": [*FILES, "", "/bin/false", "/bin/true"],
    "depths": ["0", "0:1", "1,0", "0:2:2", "2:1", "0:1:0", "a", "0::1", "9999999", ",", "0:3:1000"],
    "width": ["8", "inf", "8,inf", "inf,inf", "0", "-1", "8,9", "999999999", "1e3"],
    "activations": ["relu", "linear", "relu,linear", "relu,relu", "tanh", ",", "grelu"],
    "rates": ["auto", "0.1", "0.1,0.01", "nan", "inf", "1e-320", "1e308", "0", "-1", "0.1,0.1", "a", ",", "1e400"],
    "diagnostics": ["none", "all", "tau", "tau,dead", "spectra,drift,linearised", "x", ",", "all,tau"],
    "label": ["a", "label", "1", "3", "99", "-1", "", "\udce9"],
    "name": ["angles", "all", "no such", "", "Angles"],
    "cases": ["no such case", "%", "["],
}
JUNK = st.one_of(
    st.sampled_from(
        ["", " ", "-", "--", "=", "\x00", "\n", "nan", "inf", "-1", "0", "1", "9" * 40, "1e999", "½", "日本", "٣"]
    ),
    st.sampled_from(
        [os.fsdecode(b"\xff\xfe"), "\x1b[31m", "%s%n", "{0}", "[bold]", "$(x)", "../..", "a" * 5000, "\ud800"]
    ),
    st.text(max_size=8),
)
INTEGERS = st.one_of(st.integers(-2, 4), st.integers(2**63, 2**70), st.just(10**40))
SIZES = st.one_of(st.integers(-2, 6), st.integers(10**8, 2**80))
FLOATS = st.one_of(st.floats(), st.sampled_from([0.5, 0.3, 1e-320, 1e308, -0.0]))


def _value(parameter):
    """A value for a parameter: one of its kind four times of five."""
    kind = parameter.type
    if parameter.name in VALUES:
        known = st.sampled_from(VALUES[parameter.name])
    elif isinstance(kind, click.Choice):
        known = st.sampled_from([*kind.choices, kind.choices[0].upper()])
    elif isinstance(kind, (click.IntRange, click.types.IntParamType)):
        known = (INTEGERS if parameter.name in LONG else SIZES).map(str)
    elif isinstance(kind, (click.FloatRange, click.types.FloatParamType)):
        known = FLOATS.map(str)
    else:
        known = JUNK
    return st.one_of(known, known, known, known, JUNK)


def _words(parameter):
    """A parameter as it is typed."""
    if isinstance(parameter, click.Argument):
        return _value(parameter).map(lambda value: [value])
    flags = st.sampled_from([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return flags.map(lambda flag: [flag])
    spaced = st.tuples(flags, _value(parameter)).map(list)
    joined = st.tuples(flags, _value(parameter)).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    return st.one_of(spaced, spaced, joined, flags.map(lambda flag: [flag]))


def _lists(name):
    command = main.get_command(click.Context(main), name)
    parameters = [parameter for parameter in command.params if not isinstance(parameter, click.Argument)]
    options = st.lists(st.sampled_from(parameters).flatmap(_words), max_size=4) if parameters else st.just([])
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    base = st.just(BASES[name])
    if arguments:
        base = st.one_of(base, st.tuples(*map(_value, arguments)).map(list))
    bases = st.one_of(base, base, base, base, st.just([]))
    extra = st.one_of(st.just([]), st.just([]), st.just([]), JUNK.map(lambda word: [word]), st.just(["--help"]))
    return st.tuples(bases, options, extra).map(
        lambda parts: [name, *parts[0], *(word for words in parts[1] for word in words), *parts[2]]
    )


def argument_lists():
    """Lists for all commands, and a few that name none."""
    commands = st.sampled_from([*sorted(COMMANDS), *["ntk", "train", "fit"] * 3]).flatmap(_lists)
    others = st.lists(st.one_of(JUNK, st.sampled_from(["--version", "--help", "-h", "nt", *COMMANDS])), max_size=3)
    return st.one_of(*[commands] * 12, others)

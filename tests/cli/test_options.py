"""Options that several commands share, and where their defaults come from."""

import inspect
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gatentk.cli import main, options
from gatentk.fit.config import FitConfig
from gatentk.study.config import StudyConfig
from gatentk.train import TrainingConfig, run_all


def run(option, *arguments):
    """What a command with one option gets."""
    seen = {}
    command = click.command()(option(lambda **values: seen.update(values)))
    outcome = CliRunner().invoke(command, arguments)
    return seen or outcome.output


def test_results_go_to_a_folder_that_must_be_named_unless_there_is_a_default():
    assert run(options.out(), "--out", "a") == {"folder": Path("a")}
    assert "Missing option '--out'" in run(options.out())
    assert run(options.out(default="demo")) == {"folder": Path("demo")}


@pytest.mark.parametrize(
    ("option", "arguments", "value"),
    [
        (options.data("Which."), ["--data", "digits"], {"data": "digits"}),
        (options.path(), [], {"path": None}),
        (options.n(), ["-n", "20"], {"n": 20}),
        (options.data_seed(3, "-n"), [], {"data_seed": 3}),
        (options.seeds(5, "Networks."), ["--seeds", "2"], {"seeds": 2}),
        (options.dtype("b", ("a", "b"), "Precision."), [], {"dtype": "b"}),
        (options.restart("Again."), ["--restart"], {"restart": True}),
    ],
)
def test_values_are_those_of_the_arguments_of_the_library(option, arguments, value):
    assert run(option, *arguments) == value


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        (options.n(), ["-n", "1"]),
        (options.seeds(5, ""), ["--seeds", "0"]),
        (options.data_seed(0, ""), ["--data-seed=-1"]),
    ],
)
def test_values_out_of_range_are_refused(option, arguments):
    assert "Invalid value" in run(option, *arguments)


def settings(name):
    """What a command configures if it is given nothing but data and a folder."""
    values = main.get_command(click.Context(main), name).make_context(name, ["--data", "digits", "--out", "x"]).params
    return {name: values[name] for name in values if name not in ("folder", "restart", "resume", "checkpoint_every")}


def test_defaults_of_a_study_are_those_of_its_configuration():
    values = settings("ntk")
    width, infinite = values.pop("width")
    assert StudyConfig(width=width, infinite=infinite, **values) == StudyConfig("digits")


def test_defaults_of_a_training_are_those_of_its_configuration():
    assert TrainingConfig(**settings("train")) == TrainingConfig("digits")


def test_defaults_of_a_fit_are_those_of_its_configuration():
    assert FitConfig(**settings("fit")) == FitConfig("digits")


def test_epochs_between_checkpoints_are_those_of_the_library():
    option = next(
        option for option in main.get_command(click.Context(main), "train").params if option.name == "checkpoint_every"
    )
    assert option.default == inspect.signature(run_all).parameters["checkpoint_every"].default

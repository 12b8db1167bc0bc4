"""What other programs and people may rely on: public names, command lines, and the files that commands write.

    python tools/public_contract.py            print the list, a line a fact
    python tools/public_contract.py --write    store it as tests/contract/public.txt

A test says which of the stored lines are no longer true; lines may be added. Store the list again only to change the
contract on purpose. Constants are part of it where they name choices or a format; thresholds that follow measurements
are not, nor are imported names and aliases of types.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import inspect
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import torch
from click.testing import CliRunner

LIST = Path(__file__).resolve().parents[1] / "tests" / "contract" / "public.txt"

MODULES = (
    "errors",
    "gates",
    "nn",
    "ntk",
    "spectra",
    "convert",
    "kernel_machines",
    "data",
    "fit",
    "study",
    "train",
    "ops",
    "reference",
)
CHOICES = {
    "ops": ("CUDA_DTYPES", "CUDA_PRECISIONS", "METHODS", "QUANTITIES", "ROW_ALIGNMENT"),
    "reference": ("ROW_ALIGNMENT",),
    "train": ("MODELS", "NORMALIZATIONS", "OPTIMIZERS"),
}
# Parts of a runner: their names are kept, not their parameters.
PARTS = {"gatentk.train.Log", "gatentk.train.normalised", "gatentk.train.read_checkpoint"}
# Aliases of types that are listed under another of their names.
LISTED_AS = {"FactorGates": "Gates"}
# Options whose help lists data sets, of which there may be more.
OF_DATA_SETS = ("--data", "--path")
SPECIAL = {"__call__", "__enter__", "__exit__", "__getitem__", "__iter__", "__len__", "__str__"}
RUNS = {
    "ntk": "--data synthetic -n 30 --depths 0,2 --width 16,inf --seeds 2 --certify",
    "train": "--data digits -n 60 --width 16 --depth 2 --epochs 3 --test-fraction 0.2 --switch 2 --diagnostics all",
    "fit": "--data digits -n 60 --depths 1,2 --ridges 0.001,0.1",
    "paper angles": "",
}


def contract() -> list[str]:
    """All of it, a line a fact, under a title each part."""
    return [line for part in (names, attributes, options, files) for line in (f"# {part.__name__}", *part())]


def stored(part: str) -> list[str]:
    """The lines of a part of the stored list."""
    parts = LIST.read_text().removeprefix("# ").split("\n# ")
    return next(lines for title, *lines in map(str.splitlines, parts) if title == part)


def broken(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """Lines of before that are not among those of now, or in another order; lines of now may be more."""
    lines, missing, position = list(now), [], 0
    for line in before:
        if line in lines[position:]:
            position = lines.index(line, position) + 1
        else:
            missing.append(line)
    return missing


# Names


def names() -> Iterator[str]:
    """Public names with their signatures, the public members of classes, and the names of data sets."""
    package = importlib.import_module("gatentk")
    for name in sorted(package.__all__):
        value = getattr(package, name)
        if not isinstance(value, ModuleType):
            yield from _public("gatentk", name, value, {})
    for module in MODULES:
        yield from _of_module(importlib.import_module(f"gatentk.{module}"), module)
    yield from (f"data set {name}" for name in sorted(importlib.import_module("gatentk.data").names()))


def _of_module(module: ModuleType, short: str) -> Iterator[str]:
    values = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    own = {
        name: value
        for name, value in values.items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and (f"{value.__module__}.".startswith(f"{module.__name__}.") or name in getattr(module, "__all__", ()))
    }
    # A class that has an alias here is called by it here.
    aliases = {value.__name__: name for name, value in own.items() if value.__name__ != name}
    for name, value in sorted(own.items()):
        yield from _public(module.__name__, name, value, aliases)
    for name in CHOICES.get(short, ()):
        many = values[name] if isinstance(values[name], tuple) else (values[name],)
        yield from (f"{module.__name__}.{name} has {value!r}" for value in many)


def _public(module: str, name: str, value: Any, aliases: Mapping[str, str]) -> Iterator[str]:
    if f"{module}.{name}" in PARTS:
        yield f"{module}.{name}"
        return
    if not inspect.isclass(value):
        yield f"{module}.{name}{_signature(value, aliases)}"
        return
    # What classes share inside the package is theirs; what a class is to torch or to an `except` is not.
    abstract = issubclass(value, BaseException) or getattr(value, "_is_protocol", False)
    yield f"{module}.{name}{'' if abstract else _signature(value, aliases)}"
    for base in value.__mro__[1:]:
        if not base.__name__.startswith("_") and base.__name__ not in (
            "object",
            "BaseException",
            "Generic",
            "Protocol",
            "ReprHTMLMixin",  # of some versions of scikit-learn
        ):
            yield f"{module}.{name} is a {base.__name__}"
    members: dict[str, Any] = {}
    for base in reversed(value.__mro__):
        if base.__module__.partition(".")[0] == "gatentk":
            members |= vars(base)
    for attribute, member in sorted(members.items()):
        if attribute in SPECIAL or not attribute.startswith("_"):
            yield f"{module}.{name}.{attribute}{_member(member, aliases)}"


def _member(member: Any, aliases: Mapping[str, str]) -> str:
    if isinstance(member, (classmethod, staticmethod)):
        return f"{_signature(member.__func__, aliases)}: a {type(member).__name__}"
    if inspect.isfunction(member):
        return _signature(member, aliases)
    return ": an attribute"


def _signature(value: Any, aliases: Mapping[str, str]) -> str:
    """The signature; annotations by their text, without the modules of their names."""
    signature = inspect.signature(value)
    parameters = [
        parameter.replace(annotation=_Text(parameter.annotation, aliases))
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=_Text(signature.return_annotation, aliases)))


class _Text:
    """An annotation whose representation is its text."""

    def __new__(cls, annotation: Any, aliases: Mapping[str, str]) -> Any:
        return annotation if annotation is inspect.Parameter.empty else super().__new__(cls)

    def __init__(self, annotation: Any, aliases: Mapping[str, str]) -> None:
        annotation = getattr(annotation, "__forward_arg__", annotation)
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        text = re.sub(r"(\w+\.)+(?=\w)", "", text).replace('"', "").replace("'", "")
        names = LISTED_AS | dict(aliases)
        self._text = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)

    def __repr__(self) -> str:
        return self._text


# Objects


def attributes() -> Iterator[str]:
    """Public attributes of objects, parameters and buffers of networks among them."""
    for name, value in _objects().items():
        known = {*vars(value), *(key for key, _ in inspect.getmembers(type(value), inspect.isdatadescriptor))}
        if isinstance(value, torch.nn.Module):
            known |= {*value._parameters, *value._buffers, *value._modules}
            known -= set(vars(torch.nn.Module()))
            yield f"the state of a {name}: {', '.join(value.state_dict())}"
        yield from (f"a {name}.{attribute}" for attribute in sorted(known) if not attribute.startswith("_"))


def _objects() -> dict[str, Any]:
    import gatentk as gt

    x = torch.eye(3)
    gated = gt.nn.GReLUNetwork(3, 4, 2)
    table = gated.gate_table(x)
    return {
        "GateNetwork": gt.gates.GateNetwork(3, 4, 2),
        "GateTable": table,
        "GateLayer": table.layer(0),
        "GReLULinear": gt.nn.GReLULinear(3, 4),
        "GReLUNetwork": gated,
        "GatedLinear": gt.nn.GatedLinear(3, 4, block=2),
        "MLP": gt.nn.MLP(3, 4, 2),
        "ReLUNetwork": gt.nn.ReLUNetwork(3, 4, 2),
        "LowRankGated": gt.convert.low_rank_gates(gated, torch.eye(3), rank=1)[0],
        "Spectrum": gt.spectrum(x.double()),
        "Dataset": gt.data.load("synthetic", n=3),
    }


# Command lines


def options() -> Iterator[str]:
    """Every option of every command: names, type, default, help."""
    from gatentk.cli import main

    yield from _options("gatentk", main)
    context = click.Context(main)
    for name in sorted(main.list_commands(context)):
        command = main.get_command(context, name)
        assert command is not None
        yield from _options(f"gatentk {name}", command)


def _options(name: str, command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        lines = paragraph.splitlines()
        as_they_are = lines[0].startswith("\b")  # such as a table, which may get more rows
        yield from (f"{name}: {' '.join(text.split())}" for text in (lines[1:] if as_they_are else [" ".join(lines)]))
    for parameter in command.params:
        shown = ", ".join((*parameter.opts, *parameter.secondary_opts))
        facts = [_type(parameter.type)]
        if parameter.required:
            facts.append("required")
        default = parameter.get_default(click.Context(command), call=False)
        if isinstance(default, (str, int, float)) and not getattr(parameter, "is_flag", False):
            facts.append(f"default {default}")
        if isinstance(parameter, click.Option):
            facts += [fact for fact in ("is_flag", "multiple", "show_default") if getattr(parameter, fact)]
            help_text = "of the data sets" if parameter.opts[0] in OF_DATA_SETS else parameter.help
            facts.append(f"{parameter.metavar or ''}: {help_text}")
        else:
            shown = shown.upper()
        yield f"{name} {shown}: {', '.join(facts)}"


def _type(kind: click.ParamType) -> str:
    if isinstance(kind, click.Choice):
        return f"one of {' | '.join(kind.choices)}"
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        ends = ("(" if kind.min_open else "[") + f"{kind.min}, {kind.max}" + (")" if kind.max_open else "]")
        return f"{kind.name} in {ends}"
    return kind.name


# Files


def files() -> Iterator[str]:
    """Names of the files that small runs write, keys of the JSON and columns of the CSV among them."""
    for name, arguments in RUNS.items():
        with tempfile.TemporaryDirectory(prefix="gatentk-contract-") as folder:
            _run([*name.split(), *arguments.split(), "--out", f"{folder}/out"])
            for path in sorted(Path(folder, "out").rglob("*")):
                if path.is_file():
                    where = f"gatentk {name} writes {path.relative_to(Path(folder, 'out'))}"
                    yield where
                    yield from (f"{where}: {part}" for part in _parts(path))


def _run(command: list[str]) -> None:
    from gatentk.cli import main

    result = CliRunner().invoke(main, command)
    if result.exit_code:
        raise RuntimeError(f"gatentk {' '.join(command)} failed: {result.output}")


def _parts(path: Path) -> Iterable[str]:
    """Keys or columns of a file, in its order."""
    if path.suffix == ".json":
        return _keys([json.loads(path.read_text())])
    if path.suffix == ".jsonl":
        return _keys([json.loads(line) for line in path.read_text().splitlines()])
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return next(csv.reader(file))
    return ()


def _keys(values: list[Any], prefix: str = "") -> Iterator[str]:
    """Keys of several objects as paths such as "config.depths"; those of all elements of a list count as one's."""
    for key in dict.fromkeys(key for value in values if isinstance(value, dict) for key in value):
        path = f"{prefix}.{key}" if prefix else key
        yield path
        inner = [value[key] for value in values if isinstance(value, dict) and key in value]
        while any(isinstance(value, list) for value in inner):
            inner = [each for value in inner for each in (value if isinstance(value, list) else [value])]
        yield from _keys(inner, path)


def main() -> None:
    """Print the list or store it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"store the list as {LIST.name}")
    text = "\n".join(contract()) + "\n"
    if parser.parse_args().write:
        LIST.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

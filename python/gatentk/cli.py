"""The command `gatentk`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import gatentk
from gatentk.bench.command import bench
from gatentk.errors import GateNTKError, RunError
from gatentk.paper_cli import paper
from gatentk.train_cli import train

if TYPE_CHECKING:
    from rich.console import Console

    from gatentk.report import Study
    from gatentk.study import Config, Journal, Samples

# Modules that take long to import are imported by the commands that need them, so that --help is quick.


class UserError(click.ClickException):
    """Something to change in the command; one line on stderr."""

    exit_code = 2


class MachineError(click.ClickException):
    """Something that went wrong on the machine: a full disk, too little memory."""

    exit_code = 1


class Interrupted(click.ClickException):
    """Stopped by Ctrl-C."""

    exit_code = 130  # as shells report it


def with_flags(message: str, command: click.Command) -> str:
    """A message of the library with the arguments that it names, as `name=value`, replaced by the command's flags."""
    options = {param.name: param for param in command.params if isinstance(param, click.Option)}

    def flag(match: re.Match[str]) -> str:
        name, value = match.groups()
        option = options.get({"folder": "out", "width": "widths"}.get(name, name), options.get(name))
        if option is None:
            return match[0]
        text = max(option.opts, key=len)
        if option.is_flag:
            return text if value == "True" else f"leaving out {text}"
        return f"{text} {value}".rstrip()

    return re.sub(r"\b([a-z_]+)=([\w.]*)", flag, message)


class Commands(click.Group):
    """A group of commands that turns the errors a user can cause into one line without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (GateNTKError, ValueError, TypeError, OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, (RunError, MemoryError)) and ctx.invoked_subcommand is not None:
                message = with_flags(message, self.commands[ctx.invoked_subcommand])
            failure = MachineError if isinstance(error, (OSError, MemoryError)) else UserError
            raise failure(message) from error
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gatentk.__version__, prog_name="gatentk")
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Comes before the command.")
def main(debug: bool) -> None:
    """How well conditioned is the neural tangent kernel of my data?

    gatentk computes neural tangent kernels (NTK) of ReLU and linear networks, of finite and infinite width, and
    says by depth how far the gradients of the closest samples are pulled apart and how large the condition
    number of the kernel is.

    \b
    Start here:
      gatentk demo                                  two data sets, a report to look at
      gatentk ntk --data csv:mine.csv --out result  the same for your own data
    """  # noqa: D301 (click reads \b: keep these lines apart)


# Arguments


def _depths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Ascending depths from 0:10, 0:10:2, 0,1,5 or a mixture."""
    depths: set[int] = set()
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?::(\d{1,6})(?::(\d{1,6}))?)?\s*", part)
        if match is None:
            raise click.BadParameter(f"expected depths such as 0:10, 0:10:2 or 0,1,5, got {value!r}", ctx, param)
        start = int(match[1])
        stop, step = int(match[2] or start), int(match[3] or 1)
        if stop < start or step < 1:
            raise click.BadParameter(f"expected a:b[:step] with a <= b and step >= 1, got {part.strip()!r}", ctx, param)
        depths.update(range(start, stop + 1, step))
    return tuple(sorted(depths))


def _widths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int | None, bool]:
    """The finite width or None, and whether infinite width is wanted."""
    parts = [part.strip().lower() for part in value.split(",")]
    finite = [part for part in parts if part != "inf"]
    once = len(finite) <= 1 and len(parts) - len(finite) <= 1
    if not once or not all(re.fullmatch(r"[1-9]\d{0,8}", part) for part in finite):
        raise click.BadParameter(f"expected one width such as 512, or inf, or 512,inf, got {value!r}", ctx, param)
    return (int(finite[0]) if finite else None), "inf" in parts


def _activations(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """ReLU before linear, whatever their order on the command line."""
    parts = [part.strip().lower() for part in value.split(",")]
    choices = ("relu", "linear")
    for part in parts:
        if part not in choices:
            raise click.BadParameter(f"expected relu, linear or both, got {part!r}", ctx, param)
    return tuple(choice for choice in choices if choice in parts)


# gatentk ntk


@main.command()
@click.option(
    "--data",
    required=True,
    metavar="NAME",
    help="synthetic, friedman, ackley, digits, diabetes, mnist, fashion-mnist, svhn, cifar10 (the last three also "
    "with -test), sgemm, csv:PATH (one sample a line; a last column named label, target or y is left out) or "
    "npy:PATH (an n x d array).",
)
@click.option(
    "--path", metavar="PATH", help="Folder or file of fashion-mnist, svhn, cifar10 or sgemm, or the csv or npy file."
)
@click.option("-n", "n", type=click.IntRange(2), metavar="N", help="Take N samples at random.  [default: all]")
@click.option(
    "--depths",
    callback=_depths,
    metavar="A:B[:STEP]|A,B,..",
    default="0:10",
    show_default=True,
    help="Numbers of hidden layers; 0:10 includes 10. Depth 0 is the linear model.",
)
@click.option(
    "--width",
    "widths",
    callback=_widths,
    metavar="M|inf|M,inf",
    default="512,inf",
    show_default=True,
    help="Width of the hidden layers: finite, infinite or both.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Random networks of finite width for each depth.",
)
@click.option(
    "--subset",
    type=click.IntRange(2),
    metavar="N",
    help="Use only N random samples for finite width, which is the slow part.  [default: all]",
)
@click.option(
    "--batch",
    type=click.IntRange(2),
    metavar="B",
    help="Average over the kernels of random disjoint mini-batches of B samples. With more samples than features "
    "the kernel of a linear network is singular; mini-batches of at most min(512, features / 2) compare it with ReLU.",
)
@click.option(
    "--activation",
    "activations",
    callback=_activations,
    metavar="NAMES",
    default="relu,linear",
    show_default=True,
    help="Kinds of networks.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float64", "float32"]),
    default="float64",
    show_default=True,
    help="Precision of networks and kernels; float32 resolves condition numbers only up to about 10^7 / n.",
)
@click.option("--certify", is_flag=True, help="Prove intervals for the extreme eigenvalues; about three times slower.")
@click.option(
    "--data-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of everything that is drawn from the data: -n, --subset, --batch.",
)
@click.option("--drop-zero-rows", is_flag=True, help="Leave out samples that are all zero; they have no angle.")
@click.option("--drop-duplicates", is_flag=True, help="Leave out samples that equal an earlier one.")
@click.option("--restart", is_flag=True, help="Start over even if the folder holds results of another command.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder of the results.")
def ntk(widths: tuple[int | None, bool], restart: bool, out: Path, **options: Any) -> None:
    """Minimal gradient angles and condition numbers by depth.

    Writes report.html (open it in a browser), results.json, results.csv and two plots into DIR. Finished steps
    are kept there: after Ctrl-C, or a crash, the same command goes on where it stopped.

    \b
    Examples:
      gatentk ntk --data digits --out digits
      gatentk ntk --data digits --batch 32 --out digits-batches
      gatentk ntk --data csv:mine.csv --depths 0:20:5 --width inf --out mine
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from gatentk.study import Config

    console = _console()
    config = Config(width=widths[0], infinite=widths[1], **options)
    study = _study(console, config, out, restart)
    _show(console, study)
    console.print(f"\nReport: {out / 'report.html'}", soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)  # paths and names are printed as they are


def _study(console: Console, config: Config, out: Path, restart: bool | None) -> Study:
    """Compute what is missing in the folder, then write all files; `restart` as for `Journal`."""
    from gatentk import report, study
    from gatentk.reporting.environment import environment

    samples = study.prepare(config)
    _check_memory(config, samples)
    for text in _remarks(config, samples):
        console.print(text, style="yellow", soft_wrap=True)
    identity = study.fingerprint(config, samples, gatentk.__version__)
    with _open_journal(out, identity, restart) as journal:
        try:
            _compute(console, config, samples, journal)
        except KeyboardInterrupt:
            total = len(study.plan(config, samples))
            raise Interrupted(
                f"interrupted; {len(journal.done)} of {total} steps are kept in {out}, and the same command goes on "
                "from there"
            ) from None
        result = report.Study(config, samples, journal.records, environment())
        report.write(out, result)
    return result


def _check_memory(config: Config, samples: Samples) -> None:
    from gatentk import study
    from gatentk.runs.memory import check_memory

    check_memory(
        study.memory_needed(config, samples),
        remedy="take fewer samples with n= (or subset=, if finite width is the larger part), or mini-batches with "
        "batch=",
    )


def _remarks(config: Config, samples: Samples) -> list[str]:
    """What a user should know before waiting."""
    n, d = samples.x.shape
    remarks = []
    if samples.duplicates:
        remarks.append(
            f"Rows that equal an earlier one: {samples.duplicates:,}. Their angle is 0 and kernels that hold both are "
            "singular; --drop-duplicates leaves them out."
        )
    if config.batch is not None and config.batch > d and ("linear" in config.activations or 0 in config.depths):
        remarks.append(
            f"Mini-batches of {config.batch} samples with {d:,} features: kernels of linear networks stay singular; "
            f"--batch {max(2, min(512, d // 2))} resolves them."
        )
    if config.width is not None and config.subset is None and config.batch is None and n > 2000:
        remarks.append(f"Finite width on all {n:,} samples takes long; --subset 1000 is quicker.")
    return remarks


def _open_journal(out: Path, identity: dict[str, Any], restart: bool | None) -> Journal:
    from gatentk.study import Journal

    try:
        out.mkdir(parents=True, exist_ok=True)
        return Journal(out, identity, restart)
    except OSError as error:
        raise click.BadParameter(f"cannot write to {out}: {error.strerror or error}", param_hint="--out") from error


def _compute(console: Console, config: Config, samples: Samples, journal: Journal) -> None:
    """Run the missing tasks behind a progress bar and write each to the journal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from gatentk import study

    tasks = study.plan(config, samples)
    work = {task.key: study.cost(config, samples, task) for task in tasks}
    if journal.done:
        console.print(f"Continuing: {len(journal.done)} of {len(tasks)} steps are done already.")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(samples.name, total=sum(work.values()))
        progress.advance(bar, sum(work[key] for key in journal.done))
        for task, records in study.run(config, samples, set(journal.done)):
            journal.append(task, records)
            progress.update(bar, advance=work[task.key], description=f"{samples.name}, {task.key}")


def _show(console: Console, study: Study) -> None:
    """The results as a table: a row a depth, two columns a series."""
    from rich.table import Table

    from gatentk import report

    for name, text in (("Smallest angle", report.angle_text), ("Condition number", report.condition_text)):
        table = Table(title=f"{name}, {study.samples.name}", title_justify="left", title_style="bold", box=None)
        table.add_column("depth", justify="right")
        for series in study.series:
            table.add_column(f"{report.NAMES[series.activation]}, {series.label}", justify="right")
        for index, depth in enumerate(study.config.depths):
            table.add_row(str(depth), *(text(series.points[index]) for series in study.series))
        console.print(table)
    for sentence in report.headline(study.config, study.samples, study.series):
        console.print(sentence)


# gatentk demo


@main.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Folder of the reports.",
)
def demo(out: Path) -> None:
    """Two data sets of handwritten digits, from data to a report, in a few minutes.

    Depths 0 to 10, infinite width on all samples and width 512 with five seeds on 500 of them; then the same
    with mini-batches of 32 samples, where linear networks can be compared with ReLU. DIR gets a folder for each
    and one report.html about all of them. Run again, it continues where it stopped.
    """
    from gatentk import report
    from gatentk.runs.files import write_aside

    console = _console()
    studies = [_study(console, config, out / name, restart=None) for name, config in _demo_configs().items()]
    page = report.html(studies, "Neural tangent kernels of handwritten digits")
    write_aside(out / "report.html", page.encode())
    for study in studies:
        console.print(f"\n{report.title(study)}", style="bold")
        for sentence in report.headline(study.config, study.samples, study.series):
            console.print(sentence)
    console.print(f"\nReport: {out / 'report.html'}", soft_wrap=True)


def _demo_configs() -> dict[str, Config]:
    """Five mini-batches are enough for finite width: their condition numbers vary little."""
    from gatentk.study import Config

    whole = {name: Config(data=name, subset=500) for name in ("digits", "mnist")}
    batches = {f"{name}-batch32": Config(data=name, subset=160, batch=32) for name in ("digits", "mnist")}
    return whole | batches


# gatentk info


@main.command()
def info() -> None:
    """Version, processor, instruction sets, threads, CUDA kernels and the versions of what gatentk builds on."""
    from rich.table import Table

    from gatentk import ops
    from gatentk.ops import cuda
    from gatentk.reporting.environment import environment

    facts = environment()
    in_use = facts.pop("instruction_set")
    rows = {name: str(value) for name, value in facts.items()}
    rows["instruction set"] = f"{in_use} (available: {', '.join(ops.available_isas())})"
    rows["compiled with"] = "OpenMP" if ops.openmp() else "one thread only"
    runtimes = openmp_runtimes()
    rows["OpenMP runtimes"] = ", ".join(runtimes) if runtimes else "none found"
    rows["CUDA"] = cuda.description()
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console = _console()
    console.print(table)
    if len(runtimes) > 1:
        console.print(
            f"Warning: {len(runtimes)} OpenMP runtimes are loaded, expected one; they compete for the processor.",
            style="yellow",
        )


def openmp_runtimes(maps: Path = Path("/proc/self/maps")) -> Sequence[str]:
    """OpenMP libraries mapped into this process; empty where the system does not tell."""
    try:
        lines = maps.read_text().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in paths if re.match(r"lib(g|i|)omp\d*[-.]", Path(path).name))


main.add_command(bench)
main.add_command(train)
main.add_command(paper)

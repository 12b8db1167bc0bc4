"""Runs that are killed, or whose disk is full, and that end as if nothing had happened.

They are children of a process that has imported everything and computed nothing: `Server` starts it, so that tests have
one whatever they did before.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path

import click
import torch
from cases import studies, training
from cases.experiments import Toy
from cases.file_operations import NEEDS_SPACE, Operations, full_from, killed_at

from gatentk import papers, train
from gatentk.cli import main
from gatentk.errors import GateNTKError
from gatentk.nn import MLP, from_pretrained, save_pretrained
from gatentk.papers.frame.experiment import Scale
from gatentk.papers.frame.run import prepare, run_experiment
from gatentk.reporting import figures
from gatentk.runs.lock import LOCK_NAME
from gatentk.study.folder import run_study
from gatentk.train import start

LONGEST = 300  # seconds of a child: nothing waits for ever
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.gatentk-tmp")

# Of the users', like those of runs.
NOTES = ("notes.txt", "log.jsonl.bak", "my-log.jsonl", ".log.jsonl.tmp", ".results.json.mine.tmp", "results-old.json")
TENSORS = ("checkpoint-best.pt", "checkpoint-7.pt", "best-7.pt", "mnist-width512-0.gates", "train-7.gates", "loss.pdf")
BESIDE = (*NOTES, *TENSORS, ".notes.txt.0123abcd.gatentk-tmp", "old/results.json", "old/checkpoint-0.pt")


# What runs


def commanded(*words):
    """By the command line; what it warns of is a warning."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        main([str(word) for word in words], standalone_mode=False)
    if said.getvalue():
        warnings.warn(said.getvalue().strip(), stacklevel=2)


class Scenario:
    """A run in a folder, and how it goes on after a kill."""

    users = BESIDE

    def before(self, folder):
        """What the folder holds before, if anything."""

    def run(self, folder, attempt):
        """The run; the first attempt is 0."""
        raise NotImplementedError

    def check_left(self, folder):
        """What holds whenever the run was killed, before it goes on; nothing more unless it says so."""


class Training(Scenario):
    """Two seeds, trials of two rates, a test set; tables in files."""

    users = (*BESIDE, "records.jsonl", "cells.jsonl")

    def __init__(self, **options):
        sizes = {"n": 20, "width": 8, "depth": 1, "epochs": 3, "seeds": 2, "rates": (0.01, 0.05), "trial_epochs": 1}
        self.config = training.small(**{**sizes, "test_fraction": 0.2, "dtype": "float32", **options})
        self.samples = train.prepare_training(self.config)

    def run(self, folder, attempt):
        self.trained(folder, self.config, resume=True)

    def trained(self, folder, config, **how):
        train.run_training(config, folder, self.samples, checkpoint_every=1, **how)


class GrownTraining(Training):
    """A finished one that goes on with more epochs and seeds."""

    def before(self, folder):
        self.trained(folder, training.replace(self.config, epochs=1, seeds=1))


class RestartedTraining(Training):
    """One that takes the folder of a finished one of more seeds and another size."""

    def before(self, folder):
        self.trained(folder, training.replace(self.config, seeds=3, depth=2, epochs=1))

    def run(self, folder, attempt):
        self.trained(folder, self.config, restart=True)


class ForgottenTraining(Training):
    """A finished one that is started over once, then resumed."""

    def before(self, folder):
        self.trained(folder, self.config)

    def run(self, folder, attempt):
        self.trained(folder, self.config, **{"resume" if attempt else "restart": True})


class TrainingWithoutLinks(Training):
    """On a file system that has no hard links."""

    def run(self, folder, attempt):
        def refuse(*_):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        link, os.link = os.link, refuse
        try:
            super().run(folder, attempt)
        finally:
            os.link = link


class CommandedTraining(Training):
    """By the command line."""

    def run(self, folder, attempt):
        words = ["train", "--data", "digits", "-n", 20, "--width", 8, "--depth", 1, "--epochs", 3, "--lr", 0.01]
        commanded(*words, "--checkpoint-every", 1, "--resume", "--out", folder)


class Papers(Scenario):
    """Two experiments into a folder each, and a page, by the command line."""

    users = (*BESIDE, "toy/notes.txt", "cells.jsonl")

    def run(self, folder, attempt):
        self.commanded(folder)

    def commanded(self, folder, *words):
        known = {name: Toy(name) for name in ("toy", "tea")}
        papers.NAMES, papers.experiment = tuple(known), known.__getitem__
        commanded("paper", "all", "--out", folder, *words)


class ForgottenPapers(Papers):
    """Finished ones that are started over once, then resumed."""

    def before(self, folder):
        self.commanded(folder)

    def run(self, folder, attempt):
        self.commanded(folder, *([] if attempt else ["--restart"]))


class Demo(Scenario):
    """Two studies and a page, in a folder whose first study is another one."""

    def __init__(self):
        self.small = {name: studies.small(n=8, seeds=1, width=width) for name, width in (("a", 8), ("b", 6))}

    def before(self, folder):
        self.demonstrated(folder, {"a": studies.small(n=7, seeds=2, width=8), "b": self.small["b"]})

    def run(self, folder, attempt):
        self.demonstrated(folder, self.small)

    def demonstrated(self, folder, configurations):
        import_module("gatentk.cli.demo").configurations = lambda: configurations
        commanded("demo", "--out", folder)


class Study(Scenario):
    """Of eight kernels, in a folder that is made."""

    users = ()

    def __init__(self):
        self.config = studies.small(n=8, seeds=1, width=8)
        self.samples = studies.prepare_study(self.config)

    def run(self, folder, attempt):
        run_study(self.config, folder, self.samples)


class Fit(Scenario):
    """Of three depths, by the command line, into a folder that is there."""

    def run(self, folder, attempt):
        words = ["fit", "--data", "digits", "-n", 30, "--depths", "1:3", "--ridges", "0.001,0.1"]
        commanded(*words, "--out", folder)


class OldStudy(Study):
    """One that was stopped when lines had no checksums and named no files."""

    users = (*BESIDE, "log.jsonl", "cells.jsonl")

    def before(self, folder):
        self.run(folder, 0)
        path = folder / "records.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()[:4]]
        kept = [{key: value for key, value in line.items() if key not in ("crc", "files")} for line in lines]
        path.write_text("".join(f"{json.dumps(line)}\n" for line in kept))


class StudyWithALockFile(Study):
    """On a file system that locks files only."""

    def run(self, folder, attempt):
        flock = fcntl.flock

        def files_only(file, operation):
            if stat.S_ISDIR(os.fstat(file).st_mode):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            flock(file, operation)

        fcntl.flock = files_only
        try:
            super().run(folder, attempt)
        finally:
            fcntl.flock = flock


class Paper(Scenario):
    """An experiment of three cells."""

    users = (*BESIDE, "log.jsonl", "records.jsonl")

    def run(self, folder, attempt):
        run_experiment(prepare(Toy(), Scale()), folder)


class SavedNetwork(Scenario):
    """Into the folder of another network."""

    def before(self, folder):
        self._save(folder, 3)

    def run(self, folder, attempt):
        self._save(folder, 4)

    def check_left(self, folder):
        assert from_pretrained(folder, MLP).depth in (3, 4)

    def _save(self, folder, depth):
        net = MLP(5, 7, depth, generator=torch.Generator().manual_seed(0))
        save_pretrained(net, folder)


SCENARIOS = {
    "training": Training,
    "switched training": lambda: Training(
        optimizer="adam", width=24, rates=(0.01,), switch=2, epochs=5, patience=1, diagnostics=("gradient", "patterns")
    ),
    "diverged training": lambda: Training(rates=(1e12,), epochs=20),
    "training with gates of blocks": lambda: Training(block=3, gates="shallow", center=True),
    "grown training": GrownTraining,
    "restarted training": RestartedTraining,
    "forgotten training": ForgottenTraining,
    "forgotten diverged training": lambda: ForgottenTraining(rates=(1e12,), epochs=20),
    "training without links": TrainingWithoutLinks,
    "commanded training": CommandedTraining,
    "fit": Fit,
    "study": Study,
    "study with a lock file": StudyWithALockFile,
    "old study": OldStudy,
    "paper": Paper,
    "papers": Papers,
    "forgotten papers": ForgottenPapers,
    "demo": Demo,
    "saved network": SavedNetwork,
}


# What is left of it


def plain(value):
    """Without times, machines and checksums."""
    left_out = {"seconds", "environment", "crc", "sha256"}
    if isinstance(value, dict):
        return {key: plain(content) for key, content in value.items() if key not in left_out}
    return [plain(content) for content in value] if isinstance(value, list) else value


def contents(folder):
    """All files below a folder by name: numbers, or bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name, content = str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"folder"
        if path.suffix == ".jsonl" and content.startswith(b"{"):
            content = [plain(json.loads(line)) for line in content.splitlines()]
        elif path.suffix == ".json" and content.startswith(b"{"):
            content = plain(json.loads(content))
        found[name] = content
    return found


def add_users_files(scenario, folder):
    for name in scenario.users:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine, {name}\n" * 9)
        os.utime(path, ns=(10**18, 10**18))


def users_files(scenario, folder):
    """Everything that says whether somebody was there: content, times, and which file it is."""
    stats = [(name, (folder / name).read_bytes(), (folder / name).stat()) for name in scenario.users]
    return [(name, content, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_mode) for name, content, s in stats]


class Place:
    """Where a scenario runs, again and again."""

    def __init__(self, name, root):
        torch.set_num_threads(1)
        start.TABLE_BYTES = 0
        figures.render = lambda figure, kind: b"<svg>%s</svg>" % (kind.encode() * 3000)  # drawing takes a second
        self.name, self.scenario = name, SCENARIOS[name]()
        self.root = Path(root)
        self._before = self.root / "before"
        self.scenario.before(self._before)
        self.scenario.run(self.root / "first", 0)  # what is computed or imported once is not by every child

    @contextlib.contextmanager
    def fresh(self):
        """A folder as it is before the run, and how the user's files in it are."""
        folder = self.root / "inside" / "folder"
        if self._before.exists():
            shutil.copytree(self._before, folder)
        add_users_files(self.scenario, folder)
        yield folder, users_files(self.scenario, folder)
        shutil.rmtree(folder.parent)

    def whole(self):
        """What an uninterrupted run leaves, the operations that it takes, and its seconds."""
        with self.fresh() as (folder, _):
            operations, report = Operations(self.root / "inside"), self.root / "operations"

            def run():
                operations.watch()
                self.scenario.run(folder, 0)
                operations.check_complete()
                report.write_text(json.dumps(operations.done))

            self._run(run)
            return contents(folder), [tuple(each) for each in json.loads(report.read_text())]

    def seconds(self):
        """Those of an uninterrupted run."""
        with self.fresh() as (folder, _):
            begun = time.perf_counter()
            self._run(lambda: self.scenario.run(folder, 0))
            return time.perf_counter() - begun

    def child(self, action):
        """The number of a child that runs it and leaves the error, or else warnings, in a file."""
        report = self.root / "report"
        report.unlink(missing_ok=True)
        number = os.fork()
        if number:
            return number
        status = 1
        try:
            signal.alarm(LONGEST)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                action()
            report.write_text("\n".join(str(warning.message) for warning in caught))
            status = 0
        except (OSError, GateNTKError, click.ClickException) as error:
            report.write_text(error.format_message() if isinstance(error, click.ClickException) else str(error))
            status = 3
        except BaseException:
            report.write_text(traceback.format_exc())
        finally:
            os._exit(status)

    def unexpected(self):
        """What the last child warned of, but for what the scenarios bring about."""
        return "".join(line for line in self.report().splitlines() if "the train loss grew" not in line)

    def report(self):
        return (self.root / "report").read_text()

    def _run(self, action):
        _, status = os.waitpid(self.child(action), 0)
        assert (status, self.unexpected()) == (0, ""), f"{self.name}: status {status}: {self.report()}"

    def struck(self, folder, strike, attempt=0):
        """The status of a child that runs the scenario with a strike at one of its operations."""

        def run():
            Operations(self.root / "inside", strike).watch()
            self.scenario.run(folder, attempt)

        return os.waitpid(self.child(run), 0)[1]

    def go_on(self, folder):
        self._run(lambda: self.scenario.run(folder, 1))

    def check(self, folder, users, expected, when):
        """What an interrupted run must leave once it is done."""
        found = contents(folder)
        assert sorted(found) == sorted(expected), when
        for name, content in expected.items():
            assert found[name] == content, f"{when}: {name}"
        assert users_files(self.scenario, folder) == users, when
        assert os.listdir(folder.parent) == [folder.name], when


# What is asked of the server


def _strikes(operations, kinds, share):
    """Indices with whether it is in the middle of a write: all, or a share of one of each kind of both."""
    points = [
        (index, middle)
        for index, (kind, _, size) in enumerate(operations)
        if kind in kinds
        for middle in ([False, True] if kind == "write" and size > 1 else [False])
    ]
    if share == 1:
        return points
    chosen, seen = [], set()
    for index, middle in points:
        kind, path, _ = operations[index]
        what = (kind, middle, re.sub(r"\d+|[0-9a-f]{8}(?=\.gatentk-tmp)", "", os.path.basename(path)))
        if what not in seen:
            chosen.append((index, middle))
            seen.add(what)
    return sorted(random.Random(0).sample(chosen, max(1, round(share * len(chosen)))))


ALL = {"mkdir", "create", "write", "fsync", "truncate", "rename", "link", "unlink", "rmdir"}


def kills_at_operations(name, root, share=1, twice=False):
    """Killed at every operation, or at a share of the kinds of operations; `twice` while it goes on, too."""
    place, kills, draw = Place(name, root), 0, random.Random(1)
    expected, operations = place.whole()
    strikes = _strikes(operations, ALL, share)
    for index, middle in strikes:
        when = f"{name}: killed {'in' if middle else 'before'} operation {index}, {operations[index]}"
        with place.fresh() as (folder, users):
            assert place.struck(folder, killed_at(index, middle)) == signal.SIGKILL, when
            assert users_files(place.scenario, folder) == users, when
            kills += 1
            if twice:
                again = draw.randrange(min(len(operations), 40))
                when += f", and before operation {again} of the next run"
                kills += place.struck(folder, killed_at(again), 1) == signal.SIGKILL
            place.scenario.check_left(folder)
            place.go_on(folder)
            place.check(folder, users, expected, when)
    return {"operations": len(operations), "strikes": len(strikes), "kills": kills}


def full_disks(name, root, share=1):
    """A disk that is full from every operation that needs space on."""
    place, errors = Place(name, root), 0
    expected, operations = place.whole()
    strikes = _strikes(operations, NEEDS_SPACE, share)
    for index, middle in strikes:
        path = operations[index][1]
        when = f"{name}: full {'in' if middle else 'before'} operation {index}, {operations[index]}"
        with place.fresh() as (folder, users):
            copy = place.root / "copy"
            shutil.rmtree(copy, ignore_errors=True)

            def keep(folder=folder, copy=copy):
                if folder.exists():
                    subprocess.run(["cp", "-a", folder, copy], check=True)  # nothing that it does is watched

            status = place.struck(folder, full_from(index, middle, keep))
            text, file = place.report(), TEMPORARY.sub(r"\1", os.path.basename(path))
            code = os.waitstatus_to_exitcode(status)
            assert code in (0, 3), f"{when}: {text}"
            if code == 0:  # only a drawing is missing
                assert "could not be written" in text, f"{when}: {text}"
                assert (folder / "results.json").exists(), when
            assert "No space left on device" in text, f"{when}: {text}"
            assert file in text, f"{when}: {text}"
            assert code == 0 or len(text.splitlines()) == 1, f"{when}: {text}"
            errors += code == 3
            assert users_files(place.scenario, folder) == users, when
            left = contents(folder) if folder.exists() else {}
            there = contents(copy) if copy.exists() else {}
            for known, content in there.items():
                if not TEMPORARY.fullmatch(known) and known != LOCK_NAME:
                    assert left.get(known) == content, f"{when}: {known}"
            assert not any(TEMPORARY.fullmatch(known) for known in left if known not in place.scenario.users), when
            place.go_on(folder)
            place.check(folder, users, expected, when)
    return {"operations": len(operations), "strikes": len(strikes), "errors": errors}


def kills_at_any_time(name, root, kills, seed=0):
    """Killed at random times, again and again until it is done, in new folders until there were so many kills."""
    place, draw, count, rounds = Place(name, root), random.Random(seed), 0, 0
    expected, _ = place.whole()
    longest = place.seconds()
    while count < kills:
        with place.fresh() as (folder, users):
            attempt, when = 0, f"{name}: round {rounds} after {count} kills"
            while True:
                child = place.child(lambda folder=folder, attempt=attempt: place.scenario.run(folder, attempt))
                time.sleep(draw.uniform(0, longest))
                os.kill(child, signal.SIGKILL)
                _, status = os.waitpid(child, 0)
                assert users_files(place.scenario, folder) == users, when
                if status == 0:
                    break
                assert status == signal.SIGKILL, f"{when}: status {status}: {place.report()}"
                count, attempt = count + 1, 1
            place.check(folder, users, expected, when)
        rounds += 1
    return {"kills": count, "rounds": rounds}


QUESTIONS = {each.__name__: each for each in (kills_at_operations, full_disks, kills_at_any_time)}


def serve():
    """Answer a line with a line, until there are none."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, options = json.loads(line)
        try:
            answer = [QUESTIONS[name](**options), None]
        except BaseException:
            answer = [None, traceback.format_exc()]
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)  # at once


class Server:
    """The process whose children are killed."""

    def __init__(self):
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from cases import kills; kills.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def ask(self, question, **options):
        """The answer of one of the functions above.

        Raises:
            AssertionError: it failed.
        """
        print(json.dumps([question.__name__, options], default=str), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        answer, error = json.loads(line)
        assert error is None, error
        return answer

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

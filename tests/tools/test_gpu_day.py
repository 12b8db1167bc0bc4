"""The script for a day with a GPU: its order and limits, and what it survives, with stubs for all that it calls."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import cuda_ceilings
import pytest
import torch

from gatentk.bench import cuda, run

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "gpu_day.sh"
FILES = {"machine.txt", "build.txt", "checks.txt", "measured.txt", "products.json", "kernels.json", "profiles.txt"}
ORDER = ["machine", "build", "pytest", "memcheck", "racecheck", "synccheck", "initcheck", "pip", "streams", "ceilings"]
ORDER += ["products", "kernels", "blocks", "ncu-product", "ncu-gram", "ncu-ntk"]
BESIDE = ["memcheck", "racecheck", "synccheck", "initcheck", "pip"]

# What the script may find on any machine.
COREUTILS = ["bash", "cat", "cp", "dirname", "env", "grep", "head", "mkdir", "mv", "nice", "nproc"]
COREUTILS += ["rm", "sed", "sleep", "tail", "tee", "timeout", "touch", "tr", "uname", "wc"]

# A stub says what it was called with and does what the variable of its name asks for: nothing, fail or hang.
STUB = """#!/usr/bin/env bash
name={name}
echo "$name $*" >>"$CALLS"
case "$name $*" in
  ncu*) kind=NCU ;;
  *"import torch"*) kind=GPU ;;
  *"pip install"*) kind=PIP ;;
  *test_streams.py) kind=STREAMS ;;
  *"-m pytest"*) kind=PYTEST ;;
  *cuda_ceilings*) kind=CEILINGS ;;
  *block_gates*) kind=BLOCKS ;;
  *" bench "*products.json*) kind=PRODUCTS ;;
  *" bench "*) kind=KERNELS ;;
  *"import "*) kind=IMPORT ;;
  *"--tool racecheck"*) kind=RACECHECK ;;
  *"--tool initcheck"*) kind=INITCHECK ;;
  *) kind=${{name//[!a-z]/}}; kind=${{kind^^}} ;;
esac
asked=STUB_$kind
[[ ${{!asked:-}} == [hd]* ]] && echo $$ >>"$CALLS.pids"
case ${{!asked:-}} in
  fail) echo "the $kind stub fails | badly"; exit 3 ;;
  hang) echo "half: 1.00 ms, of $kind"; exec sleep 60 ;;
  deaf) trap "" INT TERM; while true; do sleep 60; done ;;
esac
case $kind in
  NVIDIASMI) [[ $* == *compute_cap* ]] && echo 9.0 || echo "NVIDIA Stub, 1.0, 2 MiB, 3 MHz" ;;
  CMAKE) [[ $1 == --install ]] && mkdir -p "$4/gatentk" && touch "$4/gatentk/_cuda.stub.so" ;;
  PYTEST | STREAMS) echo "7 passed in 0.01s" ;;
  COMPUTESANITIZER | RACECHECK) echo "========= ERROR SUMMARY: 0 errors" ;;
  INITCHECK)
    for kernel in ${{STUB_READS:-}}; do
      echo "========= Uninitialized __global__ memory read of size 4 bytes"
      echo "=========     at void $kernel<(int)0>(float *)+0x70"
    done
    [[ ${{STUB_READS:-}} == cut ]] || echo "========= ERROR SUMMARY: $(wc -w <<<"${{STUB_READS:-}}") errors" ;;
  CEILINGS) echo "copy of 2 GiB: 1.43 ms, 3000 GB/s" ;;
  BLOCKS) echo "n=8192 m=4096 g=64 forward (1, 2): 0.5000 ms, cuBLAS 1.0000 ms, ratio 2.00, error 1e-03" ;;
  PRODUCTS | KERNELS)
    echo "case-of-${{kind,,}}: 1.20 ms, peer 2.40 ms by torch | torch, ratio 2.00x"
    while (($#)); do [[ $1 == --out ]] && echo '{{}}' >"$2"; shift; done ;;
  NCU) echo "    Duration    us    12.3" ;;
esac
exit 0
"""
TOOLS = ["nvidia-smi", "nvcc", "cmake", "ninja", "python3", "compute-sanitizer", "ncu"]


class Day:
    """A copy of the script in a folder of its own, and a PATH with nothing but stubs."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "out"
        self.script = folder / "tools" / "gpu_day.sh"
        self.script.parent.mkdir()
        shutil.copy(SCRIPT, self.script)
        (folder / "python" / "gatentk").mkdir(parents=True)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in COREUTILS:
            (self.bin / name).symlink_to(shutil.which(name))
        for name in TOOLS:
            self.tool(name)
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(folder),
            "CUDA_HOME": str(folder / "no-cuda"),
            "CALLS": str(folder / "calls"),
        }

    def tool(self, name):
        path = self.bin / name
        path.write_text(STUB.format(name=name))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, *arguments, **variables):
        return subprocess.run(
            [self.script, *(arguments or [self.out])],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self):
        return (self.folder / "calls").read_text().splitlines()

    def still_running(self):
        """Processes of stubs that hang and did not end within a second or two."""
        pids = [int(pid) for pid in Path(self.environment["CALLS"] + ".pids").read_text().split()]
        deadline = time.monotonic() + 5
        while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def table(self):
        return (self.out / "table.md").read_text()

    def ended(self):
        """How each step ended, by the table."""
        rows = [line.split(" | ") for line in self.table().splitlines() if line.count(" | ") == 4]
        return {row[0].removeprefix("| "): row[3] for row in rows[2:]}


def alive(pid):
    """Whether a process is there and not merely waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def day(tmp_path):
    return Day(tmp_path)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A day on which all goes well, and what it printed."""
    day = Day(tmp_path_factory.mktemp("good"))
    return day, day.run()


def only(*names, **limits):
    """Limits that leave out all but some steps."""
    left_out = dict.fromkeys([name for name in ORDER if name not in names], 0)
    return " ".join(f"{name}={limit}" for name, limit in (left_out | limits).items())


def printed(text):
    """Steps of the lines on standard output, and how they ended."""
    return re.findall(
        r"^([a-z-]+): (ok|failed rc=\d+|timed out|stopped|skipped: [^,]+), [\d.]+ s of ", text, re.MULTILINE
    )


def steps_of_dry_run(text):
    return re.findall(r"^([a-z-]+) +(\d+) s +(after|beside) ", text, re.MULTILINE)


def test_dry_run_says_order_and_limits_and_runs_nothing(day):
    result = day.run("--dry-run")
    steps = steps_of_dry_run(result.stdout)
    assert result.returncode == 0, result.stderr
    assert [name for name, _, _ in steps] == ORDER
    assert [name for name, _, how in steps if how == "beside"] == BESIDE
    assert all(int(limit) > 0 for _, limit, _ in steps)
    assert not (day.folder / "calls").exists()
    assert not (day.folder / "build").exists()


def test_limits_add_up_to_less_than_eight_minutes(day):
    text = day.run("--dry-run").stdout
    total = longest = 0
    for _, limit, how in steps_of_dry_run(text):
        total, longest = (total, max(longest, int(limit))) if how == "beside" else (total + longest, int(limit))
    total += longest
    assert total < 480
    assert f"together at most {total} s" in text
    assert int(re.search(r"budget (\d+) s", text)[1]) < 480


def test_limits_come_from_the_environment(day):
    text = day.run("--dry-run", GPU_DAY_LIMITS="pip=0 ncu-gram=7", GPU_DAY_BUDGET="33").stdout
    limits = {name: int(limit) for name, limit, _ in steps_of_dry_run(text)}
    assert (limits["pip"], limits["ncu-gram"], limits["ncu-ntk"]) == (0, 7, 15)
    assert "budget 33 s" in text


@pytest.mark.parametrize("limits", ["pips=3", "pip", "pip=3.5", "pip=08", "ncu-gram=1 pip=-1", "=3"])
def test_limits_that_say_nothing_are_refused(day, limits):
    result = day.run("--dry-run", GPU_DAY_LIMITS=limits)
    assert result.returncode == 2
    assert result.stderr.startswith("GPU_DAY_LIMITS: expected STEP=SECONDS")
    assert day.run("--dry-run", GPU_DAY_BUDGET="long").returncode == 2


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--step", "nonsense"], [""]])
def test_wrong_arguments_are_refused(day, arguments):
    result = day.run(*arguments)
    assert result.returncode == 2
    assert "tools/gpu_day.sh [DIR]" in result.stdout


def test_everything_is_there(good):
    day, result = good
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    assert day.ended() == dict.fromkeys(ORDER, "ok")
    assert dict(printed(result.stdout)) == day.ended()
    # Eight files, each whole; the table is the last that is printed.
    assert {path.name for path in day.out.iterdir()} == FILES | {"table.md"}
    assert result.stdout.endswith(day.table())
    assert all(json.loads((day.out / f"{name}.json").read_text()) == {} for name in ("products", "kernels"))
    for words in (
        "# NVIDIA Stub, 1.0",
        "| ok | 7 passed in 0.01s |",
        "| ok | ========= ERROR SUMMARY: 0 errors |",
        "| ceilings | copy of 2 GiB | 1.43 ms, 3000 GB/s |",
        "| products | case-of-products | 1.20 ms, peer 2.40 ms by torch / torch, ratio 2.00x |",
        "| kernels | case-of-kernels |",
        "| blocks | n=8192 m=4096 g=64 forward (1, 2) | 0.5000 ms, cuBLAS 1.0000 ms, ratio 2.00, error 1e-03 |",
    ):
        assert words in day.table()


def test_what_is_called_is_there(good):
    """Files, cases of the benchmark and kernels that the script names are those of the repository."""
    calls = good[0].calls()
    files = {word for call in calls for word in re.findall(r"\b(?:tools|tests)/\S+", call)}
    assert len(files) == 5
    assert [name for name in files if not (ROOT / name).exists()] == []
    benches = [call for call in calls if " bench " in call]
    assert len(benches) == 5
    for call in benches:
        assert all(run.select([name], cuda.CUDA_CASES) for name in re.findall(r"(?<= -k )\S+", call))
    kernels = [re.search(r"regex:(\w+)", call)[1] for call in calls if call.startswith("ncu ")]
    sources = "\n".join(path.read_text() for path in (ROOT / "csrc" / "cuda").rglob("*.cuh"))
    assert len(set(kernels)) == 3
    assert all(re.search(rf"\b{name}\(const", sources) for name in kernels)
    # The card's architecture alone, and nothing from a network.
    assert all("CMAKE_CUDA_ARCHITECTURES=90-real" in call for call in calls if "GATENTK_CUDA=ON" in call)
    assert sum("GATENTK_CUDA=ON" in call for call in calls) == 2
    assert all("--no-index --no-deps" in call for call in calls if "pip install" in call)


def test_failures_and_hanging_steps_stop_no_other(day):
    began = time.monotonic()
    result = day.run(
        STUB_PIP="fail",
        STUB_RACECHECK="fail",
        STUB_PRODUCTS="hang",
        STUB_BLOCKS="deaf",
        STUB_NCU="fail",
        GPU_DAY_LIMITS="products=1 blocks=1",
    )
    assert time.monotonic() - began < 30  # what hangs would take a minute
    assert day.still_running() == []
    assert result.returncode == 1
    profiles = dict.fromkeys(["ncu-product", "ncu-gram", "ncu-ntk"], "failed rc=1")
    others = {"pip": "failed rc=3", "racecheck": "failed rc=3", "products": "timed out", "blocks": "timed out"}
    assert day.ended() == dict.fromkeys(ORDER, "ok") | profiles | others
    assert "| the PIP stub fails / badly |" in day.table()
    assert "| products | half | 1.00 ms, of PRODUCTS |" in day.table()
    assert {path.name for path in day.out.iterdir()} == (FILES | {"table.md"}) - {"products.json"}


@pytest.mark.parametrize(
    ("reads", "end", "words"),
    [
        ("", "ok", "0 errors, 0 in kernels of this package"),
        ("at::native::sort at::native::copy", "ok", "2 errors, 0 in kernels of this package"),
        ("at::native::sort gatentk::cuda::gram_kernel", "failed rc=1", "2 errors, 1 in kernels of this package"),
        ("cut", "failed rc=1", "unknown errors, 0 in kernels of this package"),  # the tool did not come to its end
    ],
)
def test_uninitialized_reads_count_in_kernels_of_this_package(day, reads, end, words):
    day.run(STUB_READS=reads, GPU_DAY_LIMITS=only("machine", "build", "memcheck", "initcheck"))
    assert day.ended()["initcheck"] == end
    assert f"| {end} | ========= INITCHECK SUMMARY: {words} |" in day.table()
    # What a kernel writes that initcheck is told to leave out counts as never written.
    filtered = {tool: "--kernel-name" in call for call in day.calls() for tool in re.findall(r"--tool (\w+)", call)}
    assert filtered == {"memcheck": True, "initcheck": False}


def test_a_build_that_fails_leaves_what_needs_none(day):
    result = day.run(STUB_CMAKE="fail")
    built = dict.fromkeys(
        [name for name in ORDER if name not in ("machine", "pip", "blocks")], "skipped: nothing was built"
    )
    assert day.ended() == dict.fromkeys(ORDER, "ok") | built | {"build": "failed rc=3"}
    assert result.returncode == 1


def test_a_later_step_gets_what_is_left(day):
    began = time.monotonic()
    day.run(STUB_CEILINGS="deaf", GPU_DAY_LIMITS=only("machine", "build", "ceilings", "products"), GPU_DAY_BUDGET="3")
    assert time.monotonic() - began < 30
    ended = day.ended()
    assert ended["build"] == "ok"
    assert (ended["ceilings"], ended["products"]) == ("timed out", "skipped: no time left")
    assert 0 < float(re.search(r"\| ceilings \| ([\d.]+) ", day.table())[1]) < 3  # and not the 20 s that are its own


def test_a_bare_machine(day):
    """No tool at all: nothing is run but the first step, and the table says why."""
    for name in TOOLS:
        (day.bin / name).unlink()
    result = day.run()
    assert result.returncode == 0, result.stdout + result.stderr
    assert day.ended() == {"machine": "ok"} | dict.fromkeys(ORDER[1:], "skipped: python3 missing")
    assert "# no card named" in day.table()


def test_a_machine_without_a_gpu(day):
    """It builds; what asks a device is left out, so that no table has tests that were all skipped as passed."""
    (day.bin / "ncu").unlink()
    day.run(STUB_GPU="fail", STUB_NVIDIASMI="fail")
    ended = day.ended()
    assert {ended[name] for name in ("machine", "build", "pip")} == {"ok"}
    assert {ended[name] for name in ORDER if name not in ("machine", "build", "pip")} == {
        "skipped: no GPU",
        "skipped: ncu missing",
    }


def test_modules_that_are_missing(day):
    day.run(STUB_IMPORT="fail")  # also the check of what was built
    ended = day.ended()
    assert (ended["build"], ended["pytest"], ended["pip"]) == (
        "failed rc=3",
        "skipped: pytest missing",
        "skipped: pip missing",
    )
    assert (ended["products"], ended["blocks"]) == ("skipped: click missing", "skipped: triton missing")


def test_a_machine_that_does_not_answer_is_tried(day):
    """A probe that hangs proves nothing; only what is known to be absent is left out."""
    day.run(STUB_NVIDIASMI="hang", GPU_DAY_LIMITS=only("build", "ceilings", "blocks", machine=1))
    tried = {name: end for name, end in day.ended().items() if end != "skipped: limit 0"}
    assert tried == {"machine": "timed out", "build": "ok", "ceilings": "ok", "blocks": "ok"}


def test_what_was_built_is_taken_again(day):
    day.run(GPU_DAY_LIMITS=only("build", "kernels"))
    assert (day.out / "kernels.json").exists()
    (day.folder / "calls").unlink()
    (day.out / "kept-by-somebody").touch()
    result = day.run(GPU_DAY_LIMITS=only("machine", "pytest", "kernels"), STUB_KERNELS="fail")
    assert not any(call.startswith("cmake") for call in day.calls())
    assert day.ended()["pytest"] == "ok"
    # Files of the run before are not taken for those of this one; what others left stays.
    assert not (day.out / "kernels.json").exists()
    assert (day.out / "kept-by-somebody").exists()
    assert result.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_what_was_measured(day, number):
    process = subprocess.Popen(
        [day.script, day.out],
        env=day.environment | {"STUB_PRODUCTS": "hang", "GPU_DAY_LIMITS": only("build", "ceilings", "products")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Of a process in the background interrupts may be ignored, and a shell cannot take that back.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    log = day.folder / "build" / "gpu-day" / "logs" / "products.txt"
    deadline = time.monotonic() + 10
    while not (log.exists() and "half" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert day.ended()["ceilings"] == "ok"  # written before the end
    process.send_signal(number)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert day.still_running() == []
    assert day.ended()["products"] == "stopped"
    assert "| products | half | 1.00 ms, of PRODUCTS |" in day.table()
    assert not any(path.name.endswith(".part") for path in day.out.iterdir())


def test_one_step_alone(day):
    result = day.run("--step", "ceilings")
    assert result.stdout == "copy of 2 GiB: 1.43 ms, 3000 GB/s\n"
    assert not day.out.exists()


def test_the_folder_may_be_a_variable(day):
    other = day.folder / "other"
    result = subprocess.run(
        [day.script],
        env=day.environment | {"OUT": "other", "GPU_DAY_LIMITS": only()},
        cwd=day.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert [path.name for path in other.iterdir()] == ["table.md"]


def test_the_script_is_an_executable_without_evaluated_strings():
    assert os.access(SCRIPT, os.X_OK)
    text = SCRIPT.read_text()
    assert "\nset -u\n" in text
    assert re.search(r"\beval\b|bash -c", text) is None


# Ceilings.


class EverySecondLonger:
    """A clock whose evaluations take 1 s, 2 s, ...; it keeps the results."""

    def __init__(self):
        self.results = []

    def seconds(self, run):
        self.results.append(run())
        return float(len(self.results))


def test_a_copy_counts_bytes_read_and_written():
    clock = EverySecondLonger()
    assert cuda_ceilings.copy_line(clock, "cpu", 1 << 20) == "copy of 0.000977 GiB: 6.00 s, 0 GB/s"
    assert torch.equal(clock.results[0], torch.zeros(1 << 20, dtype=torch.uint8))


@pytest.mark.parametrize("product", cuda_ceilings.PRODUCTS, ids=lambda product: product.name)
def test_a_product_counts_two_operations_a_term(product):
    clock = EverySecondLonger()
    before = torch.backends.cuda.matmul.allow_tf32
    line = cuda_ceilings.product_line(clock, "cpu", product._replace(size=100))
    assert line == f"cuBLAS {product.name} 100^3: 6.00 s, 3.333e-07 TFLOP/s"
    assert clock.results[0].dtype == product.dtype
    assert torch.backends.cuda.matmul.allow_tf32 == before

"""The peak of a process's memory beside what was estimated."""

import os
import subprocess
import sys

_MEASURED = """
import threading, time
import torch
import gatentk as gt

gt.ntk.empirical(gt.nn.MLP(8, 16, 2, dtype=torch.float64), torch.randn(70, 8, dtype=torch.float64))  # threads, packages
{code}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

peak, done, before = 0, False, resident()

def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.001)

thread = threading.Thread(target=watch)
thread.start()
try:
    run()
finally:
    done = True
    thread.join()
print(estimate / (peak - before))
"""


def peak_ratio(code):
    """How many times the measured peak an estimate is; `code` gives `estimate` and `run`, in a process of its own."""
    # What is freed goes back at once, or the peak of one step would hold what others left.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "100000", "MALLOC_TRIM_THRESHOLD_": "100000"}
    command = [sys.executable, "-c", _MEASURED.format(code=code)]
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return float(outcome.stdout.split()[-1])

"""What a result may depend on besides its settings."""

import platform

import torch

import gatentk
from gatentk import ops
from gatentk.reporting.environment import cpu_model, environment


def test_versions_and_hardware_are_those_in_use():
    found = environment()
    assert (found["gatentk"], found["python"]) == (gatentk.__version__, platform.python_version())
    assert (found["torch"], found["threads"]) == (torch.__version__, torch.get_num_threads())
    assert (found["instruction_set"], found["processor"]) == (ops.isa(), cpu_model())


def test_the_processor_has_a_name():
    assert cpu_model()

"""How much memory a training needs, and which gate tables are too large to stay there."""

from __future__ import annotations

from gatentk.ntk.memory import layerwise_memory
from gatentk.ops import row_bytes
from gatentk.train.config import TrainingConfig
from gatentk.train.diagnostics import DIAGNOSTICS, KERNEL_SAMPLES
from gatentk.train.samples import BLOCK_ROWS, DTYPES, TrainingSamples

TABLE_BYTES = 256_000_000  # a larger gate table is kept in a file


def training_memory(config: TrainingConfig, samples: TrainingSamples) -> int:
    """Peak bytes of one network in training."""
    itemsize = DTYPES[config.dtype].itemsize
    square = config.depth * config.width**2 * itemsize
    # Weights, gradients, the step, the best epoch; moments; weights to go back to between trials or measure against.
    copies = 4 + 2 * (config.optimizer == "adam") + (len(config.rates) != 1)
    copies += 2 * (config.switch is not None)  # the converted network and what is fitted for it
    copies += sum(DIAGNOSTICS[name].weight_copies for name in config.diagnostics)
    n, d = samples.train.x.shape
    tests = 0 if samples.test is None else len(samples.test)
    rows = min(n, BLOCK_ROWS)
    activations = rows * config.width * (2 * config.depth + 2) * itemsize
    inputs = config.width * (d + samples.outputs) * itemsize
    table = table_bytes(config, n) + table_bytes(config, tests)
    conversion = 4 * n * config.width * 8 if config.switch is not None else 0
    kept = (n + tests) * (d + samples.outputs) * itemsize
    kernel = 0
    if {"drift", "linearised"} & set(config.diagnostics):
        samples_of_kernel = min(n, config.diagnostic_samples, KERNEL_SAMPLES)
        kernel = layerwise_memory(samples_of_kernel, config.width, config.depth, itemsize, samples.outputs)
    gates = gate_weights(config, d) * itemsize
    return copies * square + inputs + gates + kept + min(table, 2 * TABLE_BYTES) + max(activations, conversion, kernel)


def table_bytes(config: TrainingConfig, n: int) -> int:
    """Size of the gate table of n samples; a ReLU network has none."""
    return (config.depth + 1) * n * row_bytes(gate_units(config)) if config.model == "grelu" else 0


def gate_units(config: TrainingConfig) -> int:
    """Gates of a layer: one for each block of neurons."""
    return -(-config.width // config.block)


def gate_weights(config: TrainingConfig, d: int) -> int:
    """Weights of the network that draws the gates of samples of d features; a ReLU network has none."""
    if config.model != "grelu":
        return 0
    units = gate_units(config)
    if config.gates == "shallow":
        return (config.depth + 1) * units * d
    return units * d + config.depth * units**2

"""Bits that kernels give for fixed samples, on each instruction set: a change that moves one of them is on purpose.

    python tools/stored_numbers.py            print a line a kernel and instruction set that this processor runs
    python tools/stored_numbers.py --write    store them in tests/contract/numbers.txt, beside those of other processors

Whether a number is right, other tests say; these say that it is the number that it was. The kernels add in an order of
their own, so an instruction set has the same bits on every processor and with any number of threads. A compiler may
choose which products it contracts with additions: the list is of one compiler, which its first line names. Nothing here
calls BLAS or a reduction of torch, whose bits depend on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gatentk import _core, ops

LIST = Path(__file__).resolve().parents[1] / "tests" / "contract" / "numbers.txt"
N, WIDTH, OUT = 37, 131, 70  # no multiple of any vector or tile


def samples(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers that float32 holds exactly, and that no library function makes."""
    integers = np.random.default_rng(seed).integers(-(1 << 20), 1 << 20, shape)
    return torch.from_numpy(integers / (1 << 19)).to(dtype)


def mask(*shape: int, seed: int) -> Tensor:
    """Gates, half of them on."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, shape) == 1)


def numbers() -> Iterator[tuple[str, list[Tensor]]]:
    """Names of kernels and their results, with the instruction set that is selected."""
    inside, outside = (ops.pack_bits(mask(N, width, seed=seed)) for width, seed in ((WIDTH, 1), (OUT, 2)))
    yield "pack_bits", [inside, outside, ops.transpose_bits(inside, WIDTH)]
    yield "gate_gram", [ops.gate_gram(inside), ops.gate_gram(inside, inside[:9])]
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        z, weight = samples(N, WIDTH, seed=3, dtype=dtype), samples(OUT, WIDTH, seed=4, dtype=dtype)
        y = samples(N, OUT, seed=5, dtype=dtype)
        yield f"ordered_linear {name}", [ops.ordered_linear(z, weight), ops.ordered_linear(z, weight, relu=True)]
        yield f"masked_linear {name}", masked_product(z, weight, inside, outside, y)
        factors = [[z, y], [y, z]]
        yield f"gram_ntk {name}", [ops.gram_ntk(*factors, components=c) for c in (False, True)]
        yield f"gram_ntk of gates {name}", [ops.gram_ntk([z], [z], gates=[inside])]
        for quantity in ops.QUANTITIES:
            pairs = [ops.infinite_ntk(z[:, :5], other, [3], quantity) for other in (None, z[:4, :5])]
            yield f"infinite_ntk {quantity} {name}", pairs
        for slope in (0.0, 0.25):
            pairs = [
                ops.infinite_network(z[:, :5], other, [3], "leaky_relu", slope=slope, first=0.25, bias=0.5)
                for other in (None, z[:4, :5])
            ]
            yield f"infinite_network leaky_relu {slope} {name}", pairs
        yield f"training {name}", training(z, samples(WIDTH, WIDTH, seed=6, dtype=dtype) / 16, inside)


def masked_product(z: Tensor, weight: Tensor, inside: Tensor, outside: Tensor, gradient: Tensor) -> list[Tensor]:
    """A product between gates, its gradients, and a product that skips zeros."""
    z, weight = z.clone().requires_grad_(), weight.clone().requires_grad_()
    out = ops.masked_linear(z, weight, inside, outside, method="masked")
    zeros = ops.masked_linear(z.detach().relu(), weight.detach(), method="masked")
    return [out.detach(), *torch.autograd.grad(out, (z, weight), gradient), zeros]


def training(z: Tensor, weight: Tensor, gates: Tensor) -> list[Tensor]:
    """Two trained matrices between gates after four steps of descent towards the samples themselves."""
    matrices = [weight.clone(), weight.T.contiguous()]
    for _ in range(4):
        for matrix in matrices:
            matrix.requires_grad_()
        hidden = ops.masked_linear(z, matrices[0], gates, gates, method="masked")
        out = ops.masked_linear(hidden, matrices[1], gates, gates, method="masked")
        gradients = torch.autograd.grad(out, matrices, (out - z).detach() / 64)
        matrices = [(m - g / 64).detach() for m, g in zip(matrices, gradients, strict=True)]
    return matrices


def compiler() -> str:
    """What compiled the kernels, as it stands in the module; "unknown" where a linker has removed that."""
    comment = re.search(rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", Path(_core.__file__).read_bytes())
    return comment.group().decode() if comment else "unknown"


def digests(isa: str) -> dict[str, str]:
    """SHA-256 of the results of each kernel, by its name and the instruction set; the one in use stays in use."""
    before = ops.isa()
    ops.select_isa(isa)
    try:
        return {f"{name} {isa}": _digest(results) for name, results in numbers()}
    finally:
        ops.select_isa(before)


def _digest(results: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for result in results:
        digest.update(result.contiguous().numpy().tobytes())
    return digest.hexdigest()


def stored() -> tuple[str, dict[str, str]]:
    """The compiler of the list, and its digests by kernel and instruction set."""
    first, *lines = LIST.read_text().splitlines()
    return first, dict(line.rsplit(" ", 1) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"store them in {LIST.name}")
    write = parser.parse_args().write
    found = {key: value for isa in ops.available_isas() if isa != "wide" for key, value in digests(isa).items()}
    if write and LIST.exists() and stored()[0] == compiler():
        found = {**stored()[1], **found}
    text = "".join(f"{line}\n" for line in (compiler(), *(f"{key} {found[key]}" for key in sorted(found))))
    if write:
        LIST.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

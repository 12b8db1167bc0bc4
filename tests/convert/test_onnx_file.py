"""ONNX files: onnxruntime gives the outputs of torch for any number of samples."""

import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cases import sequences
from cases.deployed import D_IN, D_OUT, DEPTH, FORMS, WIDTH, clear_samples, gated, generator, samples
from torch import nn

from gatentk import convert
from gatentk.errors import MissingExtraError, UnsupportedModuleError
from gatentk.nn import MLP, GReLULinear, ReLUNetwork

COUNTS = (1, 3, 20)  # samples


def run(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (outputs,) = session.run(["y"], {name: value.numpy() for name, value in inputs.items()})
    return torch.from_numpy(outputs)


def assert_runs_as(net, path, x):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    for n in COUNTS:
        torch.testing.assert_close(run(path, x=x[:n]), net(x[:n]).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_gated_networks_run_in_onnxruntime(form, tmp_path):
    net = gated(form, torch.float32)
    x = clear_samples(convert.to_torch(net).gate_net)
    convert.save_onnx(net, tmp_path / "net.onnx", x)
    assert_runs_as(net, tmp_path / "net.onnx", x)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize(
    "net",
    [
        MLP(D_IN, WIDTH, DEPTH, D_OUT, generator=generator(), dtype=torch.float32),
        ReLUNetwork(D_IN, WIDTH, DEPTH, D_OUT, generator=generator(), dtype=torch.float32),
    ],
    ids=lambda net: type(net).__name__,
)
def test_networks_without_gates_run_in_onnxruntime(net, tmp_path):
    convert.save_onnx(net, str(tmp_path / "net.onnx"), samples(1, torch.float32))
    assert_runs_as(net, tmp_path / "net.onnx", samples(20, torch.float32))


def test_gates_are_an_input_where_they_are_given(tmp_path):
    net = gated("shallow, ragged blocks, centred")
    x = samples()
    table = net.gate_table(x)
    convert.save_onnx(net, tmp_path / "net.onnx", x[:1], table[:1].to_bool())
    for n in COUNTS:
        found = run(tmp_path / "net.onnx", x=x[:n], masks=table[:n].to_bool())
        torch.testing.assert_close(found, net(x[:n], table[:n]).detach())


@pytest.mark.parametrize("name", sequences.SEQUENCES)
def test_sequences_run_in_onnxruntime(name, tmp_path):
    model, x = sequences.sequence(name), sequences.samples(20)
    net = sequences.perturbed(convert.relu_to_grelu(model))
    expected = sequences.plain_gated(net.layers, x, sequences.plain_gates(model, x)).detach()
    convert.save_onnx(net, tmp_path / "net.onnx", x)
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"), full_check=True)
    for n in COUNTS:
        torch.testing.assert_close(run(tmp_path / "net.onnx", x=x[:n]), expected[:n])


@pytest.mark.parametrize("name", sequences.SEQUENCES)
def test_gates_of_a_sequence_are_inputs_where_they_are_given(name, tmp_path):
    net, x = convert.relu_to_grelu(sequences.sequence(name)), sequences.samples(20)
    widths = [table.width for table in net.gate_tables(x)]
    gates = [torch.rand(20, width, generator=generator(width)) > 0.5 for width in widths]
    expected = sequences.plain_gated(net.layers, x, gates).detach()
    convert.save_onnx(net, tmp_path / "net.onnx", x[:1], [mask[:1] for mask in gates])
    for n in COUNTS:
        given = {f"masks_{k}": mask[:n] for k, mask in enumerate(gates)}
        torch.testing.assert_close(run(tmp_path / "net.onnx", x=x[:n], **given), expected[:n])


def test_predicted_gates_of_sequences_run_in_onnxruntime(tmp_path):
    fast, _ = convert.low_rank_gates(sequences.sequence("nested"), sequences.samples(40))
    x = sequences.samples(20, seed=1).reshape(20, 2, 3)
    convert.save_onnx(fast, tmp_path / "net.onnx", x[:2])
    assert_runs_as(fast, tmp_path / "net.onnx", x)


def test_the_older_exporter_works_too(tmp_path):
    net = gated("deep, blocks", torch.float32)
    plain = convert.to_torch(net)
    x = clear_samples(plain.gate_net)
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(plain, (x,), tmp_path / "net.onnx", dynamo=False, dynamic_axes=axes, **names)
    assert_runs_as(net, tmp_path / "net.onnx", x)


def test_arrays_stand_for_samples_and_modes_stay(tmp_path):
    model = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 2)).double()
    convert.save_onnx(convert.skip_zeros(model), tmp_path / "net.onnx", np.ones((2, 5)))
    assert model.training
    x = torch.randn(4, 5, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(run(tmp_path / "net.onnx", x=x), model.eval()(x).detach())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_what_is_missing_is_named(monkeypatch, missing, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    needed = rf'^save_onnx: needs {missing}; install it by: pip install "gatentk\[onnx\]"$'
    with pytest.raises(MissingExtraError, match=needed):
        convert.save_onnx(nn.Linear(2, 2), tmp_path / "net.onnx", torch.ones(1, 2))
    assert not list(tmp_path.iterdir())


def test_without_onnxruntime_files_are_written_unverified(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    convert.save_onnx(nn.Linear(2, 2), tmp_path / "net.onnx", torch.ones(1, 2), verify=False)
    assert (tmp_path / "net.onnx").stat().st_size > 0


def of_a_sequence():
    return convert.relu_to_grelu(sequences.sequence("biases", torch.float32))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class OfTwoSamples(nn.Module):
    def forward(self, x):
        return x.reshape(2, 2)


@pytest.mark.parametrize(
    ("net", "arguments", "error", "message"),
    [
        (nn.Linear(2, 2), {"x": torch.ones(2)}, ValueError, r"^x: expected shape \(n, \.\.\.\) with at least one"),
        (nn.Linear(2, 2), {"x": torch.ones(0, 2)}, ValueError, r"^x: expected shape \(n, \.\.\.\) with at least one"),
        (nn.Linear(2, 2), {"x": "rows"}, TypeError, "^x: expected a torch tensor or numpy array"),
        (3, {"x": torch.ones(1, 2)}, TypeError, r"^net: expected a torch\.nn\.Module"),
        (nn.Linear(2, 2), {"x": torch.ones(1, 2), "masks": torch.ones(1)}, TypeError, "^masks: expected None, as only"),
        (gated("deep"), {"x": samples(), "masks": 3}, TypeError, "^masks: expected a bool tensor, got int 3"),
        (of_a_sequence(), {"x": torch.ones(2, 6), "masks": 3}, TypeError, "^masks: expected a list of bool tensors, "),
        (of_a_sequence(), {"x": torch.ones(2, 6), "masks": []}, TypeError, r"^masks: .* 3 layers, got list \[\]$"),
        (
            of_a_sequence(),
            {"x": torch.ones(2, 6), "masks": 3 * [torch.ones(2, 6) > 0]},
            UnsupportedModuleError,
            "^net: torch .*: masks: expected a list of bools",
        ),
        (Branching(), {"x": torch.ones(2, 2)}, UnsupportedModuleError, "^net: torch cannot export it for batches of"),
        (OfTwoSamples(), {"x": torch.ones(1, 2)}, UnsupportedModuleError, "^net: torch cannot export it for batches"),
        (
            GReLULinear(2, 2),
            {"x": torch.ones(2, 2)},
            UnsupportedModuleError,
            "^net: torch .*: gate_in, gate_out: expected",
        ),
        (nn.Linear(2, 2).bfloat16(), {"x": torch.ones(2, 2).bfloat16()}, UnsupportedModuleError, "^net: onnxruntime c"),
        (nn.Linear(2, 2, device="meta"), {"x": torch.ones(2, 2)}, ValueError, "^net: expected weights, got"),
        (nn.Linear(1 << 15, 1 << 15, device="meta"), {"x": torch.ones(2, 1 << 15)}, ValueError, "less than 2 GB"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_exported_is_refused(net, arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        convert.save_onnx(net, tmp_path / "net.onnx", **arguments)
    assert not list(tmp_path.iterdir())


def test_other_outputs_are_noticed(monkeypatch, tmp_path):
    real = onnxruntime.InferenceSession.run
    for wrong in (lambda y: [y[0] + 1], lambda y: [y[0].astype(np.float64)], lambda y: [y[0][:1]]):
        monkeypatch.setattr(onnxruntime.InferenceSession, "run", lambda *args, wrong=wrong: wrong(real(*args)))
        with pytest.raises(UnsupportedModuleError, match=r"^net: onnxruntime gives other outputs .* for 3 of 3"):
            convert.save_onnx(nn.Linear(2, 2), tmp_path / "net.onnx", torch.ones(3, 2))
    assert not list(tmp_path.iterdir())

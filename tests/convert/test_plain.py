"""The file of plain modules, where there is no gatentk."""

import shutil
import subprocess
import sys

import pytest
import torch
from cases import sequences
from cases.deployed import D_IN, D_OUT, DEPTH, FORMS, WIDTH, gated, samples

from gatentk import convert
from gatentk.convert import plain

ALONE = """
import sys, torch
sys.modules["gatentk"] = None
from copied import PlainGReLUNetwork
net = PlainGReLUNetwork({sizes}, block=16, kind="shallow", centered=True, dtype=torch.float64)
net.load_state_dict(torch.load("state.pt", weights_only=True))
torch.save(net(torch.load("x.pt")), "y.pt")
"""


def test_a_copy_of_the_file_loads_a_state_dict_without_gatentk(tmp_path):
    net, x = gated("shallow, ragged blocks, centred"), samples()
    shutil.copy(plain.__file__, tmp_path / "copied.py")
    torch.save(net.state_dict(), tmp_path / "state.pt")
    torch.save(x, tmp_path / "x.pt")
    code = ALONE.format(sizes=f"{D_IN}, {WIDTH}, {DEPTH}, {D_OUT}")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "y.pt"), net(x))


SEQUENCE_ALONE = """
import sys, torch
sys.modules["gatentk"] = None
from torch import nn
from copied import PlainGReLUSequential
first = nn.Sequential(nn.Linear(6, 30), nn.Identity(), nn.ReLU(), nn.Dropout())
second = nn.Sequential(nn.Linear(30, 20), nn.ReLU())
layers = nn.Sequential(nn.Flatten(), first, second, nn.Linear(20, 3, bias=False))
net = PlainGReLUSequential(layers.float(), dtype=torch.float64).eval()
net.load_state_dict(torch.load("state.pt", weights_only=True))
torch.save(net(torch.load("x.pt")), "y.pt")
"""


def test_a_copy_of_the_file_loads_a_sequence_without_gatentk(tmp_path):
    net, x = sequences.perturbed(convert.relu_to_grelu(sequences.sequence("nested"))).float(), sequences.samples(9)
    shutil.copy(plain.__file__, tmp_path / "copied.py")
    torch.save(net.state_dict(), tmp_path / "state.pt")
    torch.save(x.float(), tmp_path / "x.pt")
    subprocess.run([sys.executable, "-c", SEQUENCE_ALONE], check=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "y.pt"), net(x.float()))


def test_modules_say_their_form():
    assert "d_in=7, units=5, depth=2, block=16, kind='shallow'" in repr(
        convert.to_torch(gated("shallow, ragged blocks, centred"))
    )


def test_gates_repeat_over_their_blocks():
    on = torch.tensor([[True, False, True]])
    values = torch.tensor([[1.0, 2, torch.inf, torch.nan, -5]])
    assert plain.gated(values, on, 2).tolist() == [[1, 2, 0, 0, -5]]


LOADED = """
import sys, torch
sys.modules["gatentk"] = None
net = torch.export.load("net.pt2").module()
torch.save([net(x) for x in torch.load("x.pt")], "y.pt")
"""


def exported(net, *inputs):
    """For any number of samples: axis 0 of x, axis 1 of masks."""
    count = torch.export.Dim("n")
    shapes = {name: {axis: count} for name, axis in zip(("x", "masks")[: len(inputs)], (0, 1), strict=False)}
    return torch.export.export(net, inputs, dynamic_shapes=shapes)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("form", FORMS)
def test_programs_take_any_number_of_samples_and_gates(form):
    net, x = gated(form), samples()
    plain_net, masks = convert.to_torch(net), net.gate_table(x).to_bool()
    few = samples(2), net.gate_table(samples(2)).to_bool()
    alone, given = exported(plain_net, few[0]).module(), exported(plain_net, *few).module()
    for n in (1, 2, 20):
        torch.testing.assert_close(alone(x[:n]), net(x[:n]))
        torch.testing.assert_close(given(x[:n], masks[:, :n]), net(x[:n]))
    called = {str(node.target) for node in alone.graph.nodes if node.op == "call_function"}
    assert not any("gatentk" in target for target in called)


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("name", sequences.SEQUENCES)
def test_programs_of_sequences_take_any_number_of_samples_and_gates(name):
    model, x = sequences.sequence(name), sequences.samples(20)
    net, masks = sequences.perturbed(convert.relu_to_grelu(model)), sequences.plain_gates(model, x)
    fast, _ = convert.low_rank_gates(model, x)
    plain_net, count = convert.to_torch(net).eval(), torch.export.Dim("n")
    rows = {0: count}
    alone = torch.export.export(plain_net, (x[:2],), dynamic_shapes=(rows,)).module()
    few = x[:2], [mask[:2] for mask in masks]
    given = torch.export.export(plain_net, few, dynamic_shapes=(rows, [rows] * len(masks))).module()
    predicted = torch.export.export(convert.to_torch(fast), (x[:2],), dynamic_shapes=(rows,)).module()
    for n in (1, 2, 20):
        expected = sequences.plain_gated(net.layers, x[:n], [mask[:n] for mask in masks])
        torch.testing.assert_close(alone(x[:n]), expected)
        torch.testing.assert_close(given(x[:n], [mask[:n] for mask in masks]), expected)
        torch.testing.assert_close(predicted(x[:n]).detach(), fast(x[:n]))
    called = {str(node.target) for node in alone.graph.nodes if node.op == "call_function"}
    assert not any("gatentk" in target for target in called)


@pytest.mark.parametrize("name", ["biases", "bottleneck", "nested"])
def test_sequences_are_compiled_without_a_break(name):
    model, x = sequences.sequence(name), sequences.samples(9)
    net, masks = convert.relu_to_grelu(model), sequences.plain_gates(model, x)
    fast, _ = convert.low_rank_gates(model, x)
    plain_net, predicted = (convert.to_torch(one).eval() for one in (net, fast))
    compiled = torch.compile(plain_net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
    torch.testing.assert_close(compiled(x, masks), net(x))
    compiled = torch.compile(predicted, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x).detach(), fast(x))


@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
def test_a_program_runs_in_a_process_without_gatentk(tmp_path):
    net, batches = gated("deep, centred"), [samples(n) for n in (1, 5, 20)]
    torch.export.save(exported(convert.to_torch(net), batches[1]), tmp_path / "net.pt2")
    torch.save(batches, tmp_path / "x.pt")
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOADED], check=True, cwd=tmp_path)
    for found, x in zip(torch.load(tmp_path / "y.pt"), batches, strict=True):
        torch.testing.assert_close(found, net(x))


COMPILED = """
import sys, torch
sys.modules["gatentk"] = None
net = torch._inductor.aoti_load_package("net.pt2")
torch.save([net(x) for x in torch.load("x.pt")], "y.pt")
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gates_of_ragged_blocks_are_compiled_right(dtype):
    net, x = gated("shallow, ragged blocks, centred", dtype), samples(dtype=dtype)
    compiled = torch.compile(convert.to_torch(net), fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(x), net(x))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_package_of_a_sequence_runs_in_a_process_without_gatentk(tmp_path):
    net = sequences.perturbed(convert.relu_to_grelu(sequences.sequence("nested")))
    batches = [sequences.samples(n) for n in (2, 5, 20)]
    program = exported(convert.to_torch(net).eval(), batches[1])
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "net.pt2"))
    torch.save(batches, tmp_path / "x.pt")
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True, cwd=tmp_path)
    for found, x in zip(torch.load(tmp_path / "y.pt"), batches, strict=True):
        torch.testing.assert_close(found, net(x).detach())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("form", ["deep", "shallow, ragged blocks, centred"])
def test_a_compiled_package_runs_in_a_process_without_gatentk(form, tmp_path):
    net, batches = gated(form), [samples(n) for n in (2, 5, 20)]
    program = exported(convert.to_torch(net).eval(), batches[1])
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "net.pt2"))
    torch.save(batches, tmp_path / "x.pt")
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], check=True, cwd=tmp_path)
    for found, x in zip(torch.load(tmp_path / "y.pt"), batches, strict=True):
        torch.testing.assert_close(found, net(x).detach())

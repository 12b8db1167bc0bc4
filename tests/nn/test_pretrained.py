"""Networks in folders: the same one comes back, or an error says which file is wrong and how."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from cases.deployed import (
    D_IN,
    SEQUENCES_OF_LAYERS,
    WIDTH,
    gated,
    gated_sequence,
    generator,
    samples,
    saved_networks,
    with_dropout_and_names,
)
from torch import nn

from gatentk import convert
from gatentk.errors import GateNTKError, MissingExtraError, NetworkFileError, UnsupportedModuleError
from gatentk.nn import (
    MLP,
    GatedLinear,
    GReLULinear,
    GReLUNetwork,
    GReLUSequential,
    ReLUNetwork,
    from_pretrained,
    save_pretrained,
)
from gatentk.runs.lock import FolderLock

NETWORKS = saved_networks()


def outputs(net):
    dtype = next(net.parameters()).dtype
    features = (samples(dtype=dtype)[:, : net.gate_features],) if isinstance(net, GatedLinear) else ()
    return net(samples(dtype=dtype), *features)


def config(folder):
    return json.loads((folder / "config.json").read_text())


def write_config(folder, document):
    (folder / "config.json").write_text(json.dumps(document))


def weights(folder):
    return folder / config(folder)["weights"]["file"]


def replace_weights(folder, tensors, metadata=None):
    """Other tensors, with the name and checksum that they would have."""
    weights(folder).unlink()
    content = safetensors.torch.save(tensors, metadata)
    digest = hashlib.sha256(content).hexdigest()
    name = f"model-{digest[:16]}.safetensors"
    (folder / name).write_bytes(content)
    write_config(folder, {**config(folder), "weights": {"file": name, "bytes": len(content), "sha256": digest}})


@pytest.fixture
def folder(tmp_path):
    """With a saved network."""
    save_pretrained(gated("shallow, ragged blocks, centred"), tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_network_comes_back(name, tmp_path):
    net = NETWORKS[name]()
    before = torch.get_rng_state()
    save_pretrained(net, str(tmp_path / "a" / "net"))
    same = from_pretrained(tmp_path / "a" / "net", type(net))
    assert torch.equal(torch.get_rng_state(), before)
    assert type(same) is type(net)
    assert repr(same) == repr(net)
    assert list(same.state_dict()) == list(net.state_dict())
    torch.testing.assert_close(same.state_dict(), net.state_dict(), rtol=0, atol=0)
    assert [p.requires_grad for p in same.parameters()] == [p.requires_grad for p in net.parameters()]
    assert torch.equal(outputs(same), outputs(net))
    outputs(same).sum().backward()
    assert getattr(same, "method", None) == getattr(net, "method", None)


def test_tables_of_the_saved_network_fit(folder):
    net, same, x = gated("shallow, ragged blocks, centred"), from_pretrained(folder), samples()
    assert torch.equal(same(x, net.gate_table(x)), net(x))


def test_the_weights_are_plain_safetensors(folder):
    net = gated("shallow, ragged blocks, centred")
    loaded = safetensors.torch.load_file(weights(folder))
    torch.testing.assert_close(loaded, dict(net.state_dict()), rtol=0, atol=0)
    with safetensors.safe_open(weights(folder), "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_weights_that_share_memory_or_are_transposed_are_saved(tmp_path):
    net = MLP(D_IN, WIDTH, 2, generator=generator())
    net.weights[1].data = net.weights[1].data.T
    net.weights[2].data = net.weights[1].data[:1]
    save_pretrained(net, tmp_path)
    torch.testing.assert_close(from_pretrained(tmp_path).state_dict(), net.state_dict(), rtol=0, atol=0)


def test_another_network_takes_its_place_and_other_files_stay(folder):
    before = weights(folder)
    left = folder / f".{before.name}.0123abcd.gatentk-tmp"
    for path in (left, folder / "notes.txt", folder / "model.safetensors"):
        path.write_text("mine")
    net = MLP(3, 8, 1, generator=generator())
    save_pretrained(net, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["config.json", "model.safetensors", "notes.txt", weights(folder).name]
    )
    assert weights(folder) != before
    assert repr(from_pretrained(folder)) == repr(net)
    save_pretrained(net, folder)  # the same once more
    assert repr(from_pretrained(folder)) == repr(net)


def test_a_change_of_what_was_loaded_changes_no_file(folder):
    before = weights(folder).read_bytes()
    net = from_pretrained(folder)
    with torch.no_grad():
        net.weights[0].zero_()
    assert weights(folder).read_bytes() == before
    weights(folder).write_bytes(bytes(len(before)))
    assert bool(net.weights[1].any())


def test_a_reader_finds_what_took_the_place_meanwhile(folder, monkeypatch):
    old, net = weights(folder), MLP(3, 8, 1, generator=generator())
    opened = type(old).open

    def replaced(path, *mode, **options):
        if path == old and old.exists():
            save_pretrained(net, folder)
        return opened(path, *mode, **options)

    monkeypatch.setattr(type(old), "open", replaced)
    assert repr(from_pretrained(folder)) == repr(net)


@pytest.mark.parametrize("file", ["config.json", ".safetensors"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_stops_a_file_leaves_the_network_before(folder, monkeypatch, file, error):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    replace = os.replace

    def stop(source, target):
        if str(target).endswith(file):
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(error):
        save_pretrained(MLP(3, 8, 1), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_neither_gatentk_nor_torch_is_needed_to_read_the_files(folder):
    code = (
        "import sys, json; sys.modules |= {'gatentk': None, 'torch': None}; from safetensors.numpy import load_file; "
        "config = json.load(open('config.json')); print(len(load_file(config['weights']['file'])))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert run.stdout == "8\n", run.stderr


@pytest.mark.parametrize("use", [lambda path: save_pretrained(MLP(2, 2, 1), path), from_pretrained])
def test_the_missing_package_is_named(use, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    needed = r'pretrained: needs safetensors; install it by: pip install "gatentk\[safetensors\]"$'
    with pytest.raises(MissingExtraError, match=needed):
        use(tmp_path / "net")


class Subclass(MLP):
    pass


def cut():
    net = MLP(2, 3, 2)
    net.weights = net.weights[:2]
    return net


def with_another_shape():
    net = ReLUNetwork(2, 3, 2)
    net.output_weight = torch.ones(2, 3)
    return net


def with_a_buffer():
    net = MLP(2, 3, 2)
    net.register_buffer("mine", torch.ones(1))
    return net


def with_two_dtypes():
    net = MLP(2, 3, 1)
    net.weights[1] = net.weights[1].double()
    return net


def predicted():
    return convert.low_rank_gates(SEQUENCES_OF_LAYERS["biases"](), samples(dtype=torch.float32))[0]


def with_another_activation():
    net = GReLUSequential(SEQUENCES_OF_LAYERS["biases"]())
    net.layers[3] = nn.GELU()
    return net


def with_a_layer_less():
    net = GReLUSequential(SEQUENCES_OF_LAYERS["biases"]())
    del net.layers[6]
    return net


def tied():
    layer = nn.Linear(5, 5)
    return GReLUSequential(nn.Sequential(layer, nn.ReLU(), layer))


class OwnSequence(nn.Sequential):
    pass


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (predicted, TypeError, r"^net: expected one of MLP, .*, no subclass, got LowRankSequential "),
        (with_another_activation, UnsupportedModuleError, r"^net\.layers\.3: expected Linear, .*, got GELU"),
        (with_a_layer_less, UnsupportedModuleError, r"^net\.layers: has other modules than when its gates were found"),
        (tied, ValueError, r"^net\.layers: expected layers that share no weights, .* 0\.weight and 2\.weight"),
        (
            lambda: GReLUSequential(OwnSequence(nn.Linear(3, 3))),
            UnsupportedModuleError,
            r"^net\.layers: expected one of Sequential, .*, no subclass, got OwnSequence",
        ),
        (
            lambda: GReLUSequential(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).double())),
            ValueError,
            r"^net: expected the weights of a GReLUSequential .* layers\.1\.weight: expected shape \(3, 3\), torch\.fl",
        ),
        (
            lambda: GReLUSequential(nn.Sequential(nn.Linear(1, 1), *(nn.Identity() for _ in range(20000)))),
            ValueError,
            r"^net: expected a configuration of less than 1048576 bytes, got 1\d{6}$",
        ),
        (lambda: Subclass(2, 3, 1), TypeError, r"^net: expected one of MLP, .*, no subclass, got Subclass "),
        (lambda: GReLULinear(2, 3), TypeError, r"^net: expected one of MLP, .*, no subclass, got GReLULinear "),
        (lambda: 3, TypeError, "got int 3$"),
        (lambda: MLP, TypeError, "got type <class"),
        (lambda: MLP(2, 3, 1, device="meta"), ValueError, "^net: expected weights with values, got some on the meta"),
        (lambda: MLP(2, 3, 1).half(), ValueError, "^dtype: expected one of 'float32', .* got 'float16'$"),
        (cut, ValueError, r"^net: expected the weights of a MLP of its sizes, missing weights\.2$"),
        (with_a_buffer, ValueError, r"^net: .* unknown mine$"),
        (
            with_another_shape,
            ValueError,
            r"^net: .* output_weight: expected shape \(1, 3\), torch\.float32, got \(2, 3",
        ),
        (
            lambda: MLP(2, 3, 1)._apply(lambda t: t.double() if len(t) == 1 else t),
            ValueError,
            r"^net: .* weights\.1: ex",
        ),
    ],
)
def test_what_has_no_files_is_refused(build, error, message, tmp_path):
    with pytest.raises(error, match=message):
        save_pretrained(build(), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    with pytest.raises(NetworkFileError, match="not the configuration of a network of gatentk"):
        save_pretrained(MLP(2, 3, 1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert (tmp_path / "config.json").read_text() == '{"architectures": ["BertModel"]}'


def test_one_process_at_a_time_writes(tmp_path):
    lock = FolderLock(tmp_path)
    with pytest.raises(NetworkFileError, match="another gatentk is writing to this folder"):
        save_pretrained(MLP(2, 3, 1), tmp_path)
    lock.close()
    save_pretrained(MLP(2, 3, 1), tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "net").write_text("mine")
    with pytest.raises(FileExistsError):
        save_pretrained(MLP(2, 3, 1), tmp_path / "net")
    with pytest.raises(NotADirectoryError):
        from_pretrained(tmp_path / "net")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", [MLP, ReLUNetwork, GatedLinear])
def test_a_network_of_another_class_is_refused(folder, kind):
    with pytest.raises(NetworkFileError, match=f"expected a {kind.__name__}, got a GReLUNetwork; load it as that"):
        from_pretrained(folder, kind)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    other = gated("shallow, ragged blocks, centred")
    with torch.no_grad():
        other.weights[0].add_(1)
    save_pretrained(other, tmp_path / "other")
    weights(folder).write_bytes(weights(tmp_path / "other").read_bytes())  # of the same sizes
    with pytest.raises(
        NetworkFileError, match="damaged, or the weights of another network: it does not fit the SHA-256"
    ):
        from_pretrained(folder)
    weights(folder).unlink()
    with pytest.raises(NetworkFileError, match=r"safetensors: not there, although .*config\.json names it"):
        from_pretrained(folder)


@pytest.mark.parametrize("change", ["flip", "cut", "longer"])
def test_damaged_weights_are_refused(folder, change):
    content = bytearray(weights(folder).read_bytes())
    if change == "flip":
        content[-5] ^= 1
    weights(folder).write_bytes({"flip": content, "cut": content[:-1], "longer": content + b"\0"}[change])
    with pytest.raises(NetworkFileError, match="damaged" if change == "flip" else r"expected \d+ bytes, got"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("weights.1"), r"missing weights\.1$"),
        (lambda t: t.update(mine=torch.ones(2)), r"unknown mine$"),
        (
            lambda t: t.update({"weights.0": t["weights.0"].float()}),
            r"weights\.0: .*float64, got \(70, 70\), torch\.float32",
        ),
        (lambda t: t.update({"gate_net.center": torch.ones(3).double()}), r"gate_net\.center: expected shape \(7,\)"),
        (lambda t: t["gate_net.psi_1"].mul_(-1), r"expected gates of fingerprint [0-9a-f]{12}\.\.\., got "),
        (lambda t: t.clear(), r"depth=2, but there are 0 tensors"),
    ],
)
def test_weights_that_do_not_fit_the_configuration_are_refused(folder, change, message):
    tensors = safetensors.torch.load_file(weights(folder))
    change(tensors)
    replace_weights(folder, tensors)
    with pytest.raises(NetworkFileError, match=message):
        from_pretrained(folder)


def edited(document, **changes):
    return {**document, "configuration": {**document["configuration"], **changes}}


def with_gates(document, **changes):
    return edited(document, gates={**document["configuration"]["gates"], **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {**d, "format": 2}, r"config\.json: format 2, this gatentk reads 1; install"),
        (lambda d: {**d, "format": 0}, "damaged, it names format 0"),
        (lambda d: {**d, "format": "1"}, r"config\.json\.format: expected int"),
        (lambda d: {**d, "network": "Bert"}, r"not the configuration of a network of gatentk \(MLP, "),
        (lambda d: {**d, "network": ["MLP"]}, "damaged, or not the configuration"),
        (lambda d: {**d, "network": "MLP"}, r"configuration: missing 'activation'"),
        (lambda d: {**d, "more": 1}, "unknown 'more'"),
        (lambda d: [d], "not the configuration of a network of gatentk"),
        (lambda d: {**d, "weights": {**d["weights"], "file": "../secret"}}, r"weights '\.\./secret'$"),
        (lambda d: edited(d, width=71), "weights of another network than"),
        (lambda d: edited(d, width=0), "configuration: width: expected an integer of at least 1"),
        (lambda d: edited(d, width="70"), r"configuration\.width: expected int, got '70'"),
        (lambda d: edited(d, width=1 << 62), "configuration: "),
        (lambda d: edited(d, width=1 << 70), "configuration: "),
        (lambda d: edited(d, depth=3), r"missing gate_net\.psi_3, weights\.2"),
        (lambda d: edited(d, depth=10**15), "configuration: depth=1000000000000000, but there are 8 tensors"),
        (lambda d: edited(d, dtype="float32"), r"expected shape .* torch\.float32, got"),
        (lambda d: edited(d, dtype="float16"), "configuration: dtype: expected one of"),
        (lambda d: edited(d, method="fast"), "configuration: method: expected one of"),
        (lambda d: with_gates(d, block=17), "expected gates of fingerprint"),  # the same number of units
        (lambda d: with_gates(d, block=71), "configuration: block: expected at most width=70"),
        (lambda d: with_gates(d, kind="flat"), "configuration: kind: expected one of 'deep', 'shallow'"),
        (lambda d: with_gates(d, centred=False), r"unknown gate_net\.center"),
        (lambda d: with_gates(d, fingerprint="0" * 64), r"fingerprint 000000000000\.\.\., got"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder, change, message):
    write_config(folder, change(config(folder)))
    with pytest.raises(NetworkFileError, match=message):
        from_pretrained(folder)


@pytest.fixture
def sequence_folder(tmp_path):
    """With a saved network of a sequence."""
    save_pretrained(gated_sequence(with_dropout_and_names), tmp_path / "net")
    return tmp_path / "net"


def test_tables_of_the_saved_sequence_fit(sequence_folder):
    net, x = gated_sequence(with_dropout_and_names), samples()
    same = from_pretrained(sequence_folder, GReLUSequential)
    assert torch.equal(same(x, net.gate_tables(x)), net(x))
    assert [table.fingerprint for table in same.gate_tables(x)] == [table.fingerprint for table in net.gate_tables(x)]
    torch.manual_seed(0)
    first = same.train()(x)
    torch.manual_seed(0)
    assert torch.equal(net.train()(x), first)
    assert not torch.equal(same(x), same(x))


def test_a_sequence_is_no_other_network(sequence_folder, tmp_path):
    with pytest.raises(NetworkFileError, match="expected a GReLUNetwork, got a GReLUSequential; load it as that"):
        from_pretrained(sequence_folder, GReLUNetwork)
    save_pretrained(gated_sequence(SEQUENCES_OF_LAYERS["biases"]), tmp_path / "other")
    replace_weights(sequence_folder, safetensors.torch.load_file(weights(tmp_path / "other")))
    with pytest.raises(NetworkFileError, match=r"weights of another network than .*config\.json says, missing "):
        from_pretrained(sequence_folder)


def changed(document, name, /, **changes):
    """Another value of one of the layers."""
    layers = [{**one, **changes} if one["name"] == name else one for one in document["configuration"]["layers"]]
    return edited(document, layers=layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: changed(d, "3", bias=False), r"unknown layers\.3\.bias$"),
        (
            lambda d: changed(d, "3", out_features=4),
            r"layers\.3\.weight: expected shape \(4, 20\), torch\.float64, got \(3, 20\)",
        ),
        (lambda d: changed(d, "3", out_features=0), "configuration: out_features: expected an integer of at least 1"),
        (lambda d: changed(d, "3", in_features=1 << 62), "configuration: "),
        (lambda d: changed(d, "3", in_features=1 << 70), "configuration: "),
        (lambda d: changed(d, "3", in_features="20"), r"layers\[\d+\]\.in_features: expected int, got '20'"),
        (lambda d: changed(d, "3", kind="GELU"), "configuration: kind: expected one of 'Sequential', "),
        (lambda d: changed(d, "3", shape=3), r"layers\[\d+\]: unknown 'shape'"),
        (lambda d: changed(d, "3", name="1"), "configuration: layers: expected names that are there once"),
        (lambda d: changed(d, "2.1", name="2.forward"), "configuration: layers: attribute 'forward' already exists"),
        (lambda d: changed(d, "2.1", kind="Flatten", inplace=False), "expected nothing of a Flatten, got inplace"),
        (lambda d: edited(d, layers=[]), "configuration: layers: expected at least one Linear"),
        (lambda d: edited(d, layers=3), r"configuration\.layers: expected list"),
        (lambda d: edited(d, layers=d["configuration"]["layers"][::-1]), "configuration: "),
        (lambda d: edited(d, method="fast"), "configuration: method: expected one of"),
        (lambda d: edited(d, dtype="float16"), "configuration: dtype: expected one of"),
        (lambda d: edited(d, dtype="float32"), r"expected shape .* torch\.float32, got"),
        (lambda d: with_gates(d, dtype="float16"), "configuration: dtype: expected one of"),
        (lambda d: with_gates(d, dtype="float32"), r"gate_net\.psi_1: expected shape \(30, 8\), torch\.float32, got"),
        (lambda d: with_gates(d, fingerprint="0" * 64), r"fingerprint 000000000000\.\.\., got"),
        (lambda d: with_gates(d, block=1), "unknown 'block'"),
        (lambda d: {**d, "network": "GReLUNetwork"}, r"configuration: missing 'd_in'"),
    ],
)
def test_a_configuration_that_does_not_fit_a_sequence_is_refused(sequence_folder, change, message):
    write_config(sequence_folder, change(config(sequence_folder)))
    with pytest.raises(NetworkFileError, match=message):
        from_pretrained(sequence_folder)


@pytest.mark.parametrize(
    ("name", "message"), [("1", "expected gates of fingerprint"), ("3", r"unknown gate_net\.psi_2$")]
)
def test_a_relu_that_is_no_more_is_noticed(tmp_path, name, message):
    layers = [nn.Linear(D_IN, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 2)]
    save_pretrained(GReLUSequential(nn.Sequential(*layers)), tmp_path)
    document = config(tmp_path)
    parts = document["configuration"]["layers"]
    same = {"name": name, "kind": "Identity"}
    write_config(tmp_path, edited(document, layers=[same if one["name"] == name else one for one in parts]))
    with pytest.raises(NetworkFileError, match=message):
        from_pretrained(tmp_path)


def test_sequences_in_very_many_sequences_are_refused(tmp_path):
    save_pretrained(GReLUSequential(nn.Sequential(nn.Linear(D_IN, 2))), tmp_path)
    document = config(tmp_path)
    for depth in (100, 1000):
        inner = [{"name": ".".join(["1"] + ["0"] * k), "kind": "Sequential"} for k in range(depth)]
        write_config(tmp_path, edited(document, layers=[*document["configuration"]["layers"], *inner]))
        if depth == 100:
            assert len(list(from_pretrained(tmp_path).layers.modules())) == 102
    with pytest.raises(NetworkFileError, match="configuration: maximum recursion depth"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.3.bias"), r"missing layers\.3\.bias$"),
        (lambda t: t.update(mine=torch.ones(2)), r"unknown mine$"),
        (
            lambda t: t.update({"gate_net.psi_1": torch.ones(30, 7).double()}),
            r"gate_net\.psi_1: expected shape \(30, 8",
        ),
        (lambda t: t["gate_net.psi_2"].mul_(-1), r"expected gates of fingerprint [0-9a-f]{12}\.\.\., got "),
        (lambda t: t.clear(), "missing gate_net.psi_1, "),
    ],
)
def test_weights_that_do_not_fit_a_sequence_are_refused(sequence_folder, change, message):
    tensors = safetensors.torch.load_file(weights(sequence_folder))
    change(tensors)
    replace_weights(sequence_folder, tensors)
    with pytest.raises(NetworkFileError, match=message):
        from_pretrained(sequence_folder)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[" * 100000, b"3", b"{}" + b" " * (1 << 20)])
def test_a_damaged_configuration_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"config\.json: (damaged, or )?not the configuration"):
        from_pretrained(folder)


def test_what_is_not_safetensors_is_refused(folder):
    content = b"\x80\x04pickle"
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"model-{digest[:16]}.safetensors"
    path.write_bytes(content)
    write_config(folder, {**config(folder), "weights": {"file": path.name, "bytes": len(content), "sha256": digest}})
    with pytest.raises(NetworkFileError, match="not in the format of safetensors"):
        from_pretrained(folder)


def test_errors_are_of_the_package():
    assert issubclass(NetworkFileError, GateNTKError)
    assert from_pretrained.__doc__
    assert issubclass(GReLUNetwork, torch.nn.Module)

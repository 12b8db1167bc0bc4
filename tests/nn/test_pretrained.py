"""Networks in folders: the same one comes back, or an error says which file is wrong and how."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from cases.deployed import D_IN, WIDTH, gated, generator, samples, saved_networks

from gatentk.errors import GateNTKError, MissingExtraError, NetworkFileError
from gatentk.nn import MLP, GatedLinear, GReLULinear, GReLUNetwork, ReLUNetwork, from_pretrained, save_pretrained
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


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
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

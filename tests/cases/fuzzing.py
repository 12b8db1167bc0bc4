"""Every reader of files of other people, whole files of each, and the errors that damage may lead to."""

import contextlib
import gzip
import hashlib
import io
import json
import tempfile
import zipfile
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from cases.datasets import idx_bytes, matlab_bytes, random_bytes
from cases.pickles import pickled_batch

from gatentk import data
from gatentk.data.formats.cifar_binary import read_cifar10_binary
from gatentk.data.formats.idx import read_idx
from gatentk.data.formats.matlab import read_matlab
from gatentk.errors import DataError, GateTableError, NetworkFileError, RunError
from gatentk.gates import GateTable
from gatentk.nn import MLP, from_pretrained, save_pretrained
from gatentk.study.journal import Journal as StudyJournal
from gatentk.train.checkpoints import read_checkpoint, write_checkpoint
from gatentk.train.journal import Journal as TrainingJournal

EXPECTED = (DataError, GateTableError, NetworkFileError, RunError)
IDENTITY = {"format": 1, "data": "digits", "width": 8}


def _csv(path):
    data.load("csv", path=path)
    for options in ({"label": "a"}, {"header": False, "index": True}, {"header": True, "label": ""}):
        with contextlib.suppress(DataError, ValueError):  # a label that is not there, names without a header
            ds = data.load("csv", path=path, **options)
            assert torch.isfinite(ds.x).all()
            assert ds.y is None or len(ds.y) == len(ds.x)
            ds.note.encode("utf-8", "surrogateescape")


def _npy(path):
    ds = data.load("npy", path=path)
    assert torch.isfinite(ds.x).all()


def _pickle(path):
    path.rename(path.parent / "test_batch")
    data.load("cifar10-pickle-test", path=path.parent)


def _gates(path):
    for mmap in (True, False):
        table = GateTable.load(path, mmap=mmap)
        assert table.to_bool().shape == (table.layers, table.n, table.width)


def _study(path):
    path.rename(path.parent / "records.jsonl")
    with StudyJournal(path.parent, IDENTITY):
        pass


def _training(path):
    path.rename(path.parent / "log.jsonl")
    with TrainingJournal(path.parent, IDENTITY, resume=True):
        pass


def _checkpoint(path):
    read_checkpoint(path, IDENTITY)


def _network(path):
    path.rename(path.parent / "config.json")
    content = _saved_network()["weights"]
    name = f"model-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    (path.parent / name).write_bytes(content)
    from_pretrained(path.parent)


def _network_weights(path):
    """As if the configuration were of these weights, which no checksum protects then."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    document = json.loads(_saved_network()["config"])
    document["weights"] = {"file": f"model-{digest[:16]}.safetensors", "bytes": len(content), "sha256": digest}
    path.rename(path.parent / document["weights"]["file"])
    (path.parent / "config.json").write_text(json.dumps(document))
    from_pretrained(path.parent)


@cache
def _saved_network():
    """The files of a small network."""
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(MLP(2, 3, 1, generator=torch.Generator().manual_seed(0)), folder)
        (weights,) = Path(folder).glob("model-*")
        return {"config": (Path(folder) / "config.json").read_bytes(), "weights": weights.read_bytes()}


READERS = {
    "csv": _csv,
    "npy": _npy,
    "idx": lambda path: read_idx(path, 3),
    "idx.gz": lambda path: read_idx(path.rename(path.with_suffix(".gz")), 3),
    "matlab": lambda path: read_matlab(path, ("X", "y")),
    "cifar-binary": read_cifar10_binary,
    "cifar-pickle": _pickle,
    "gates": _gates,
    "study-journal": _study,
    "training-journal": _training,
    "checkpoint": _checkpoint,
    "network": _network,
    "network-weights": _network_weights,
}


def seeds(name, folder):
    """Whole files for a reader, made in an empty folder."""
    return {
        "csv": _csv_files,
        "npy": _npy_files,
        "idx": lambda _: [idx_bytes(random_bytes(2, 3, 4))],
        "idx.gz": lambda _: [gzip.compress(idx_bytes(random_bytes(2, 3, 4)))],
        "matlab": lambda _: [matlab_bytes(zipped, X=random_bytes(2, 3), y=np.ones((2, 1))) for zipped in (False, True)],
        "cifar-binary": lambda _: [b"\x03" + bytes(3072)],
        "cifar-pickle": lambda _: [pickled_batch(random_bytes(1, 3072), [1])],
        "gates": _gate_files,
        "study-journal": partial(_journal_files, StudyJournal),
        "training-journal": partial(_journal_files, TrainingJournal),
        "checkpoint": _checkpoint_files,
        "network": lambda _: [_saved_network()["config"]],
        "network-weights": lambda _: [_saved_network()["weights"]],
    }[name](folder)


def read(name, content, folder):
    """Read bytes as a file of that kind, alone in a folder; damage is one of the errors of the package.

    Anything else that is raised, a hang or a crash is what fuzzing looks for.
    """
    path = folder / "file"
    path.write_bytes(content)
    try:
        with contextlib.suppress(*EXPECTED):
            READERS[name](path)
    finally:
        for file in folder.iterdir():
            file.unlink()


def _csv_files(_):
    texts = (
        "a,b,label\n1,2.5,0\n-3e0,4,1\n",
        ",0,1\n0,0.5,1.25\n1,2.0,3.5\n",
        'a;"b\nc";class\n1,5;2,5;x\n0,25;1,5;"y z"\n',
        "1 2 3\n4 5 6\n",
        "?,NA\n1\t2\n",
    )
    return [*(text.encode() for text in texts), "größe\ty\r\n1,5\t2\r\n".encode("utf-16")]


def _npy_files(_):
    files = []
    for save in (np.save, lambda f, x: np.savez(f, x=x, y=np.arange(2)), lambda f, x: np.savez_compressed(f, x=x)):
        buffer = io.BytesIO()
        save(buffer, np.arange(6.0).reshape(2, 3))
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", files[0])
    return [*files, buffer.getvalue()]


def _gate_files(folder):
    files = []
    some = torch.eye(5, dtype=torch.bool)[None]
    # Two versions of the format: a gate for each neuron, and one for each block of three.
    tables = [GateTable.from_bool(mask) for mask in (some, torch.zeros(0, 0, 0, dtype=torch.bool))]
    for table in (*tables, GateTable.from_bool(some, block=3, width=13)):
        table.save(folder / "gates")
        files.append((folder / "gates").read_bytes())
        (folder / "gates").unlink()
    return files


def _journal_files(journal, folder):
    with journal(folder, IDENTITY):
        pass
    (path,) = folder.iterdir()
    first = path.read_bytes()
    path.unlink()
    lines = ({"task": "a", "records": []}, {"rate": 0.1, "trials": []}, {"epoch": 1, "seed": 0}, [[[]]])
    return [first, first + b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _checkpoint_files(folder):
    state = {"identity": IDENTITY, "seed": 0, "epoch": 3, "rate": 0.1, "model": "relu", "order": torch.arange(4)}
    state |= {"network": {"w": torch.eye(2)}, "optimizer": {}}
    write_checkpoint(folder / "checkpoint-0.pt", state)
    content = (folder / "checkpoint-0.pt").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    return [content]

import numpy as np
import pytest
import torch
from cases.datasets import is_dataset

from gatentk import DataError, data


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_missing_file_and_folder(tmp_path, kind):
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}: No such file"):
        data.load(f"{kind}:{tmp_path / 'none'}")
    with pytest.raises(DataError, match=f"{tmp_path}: Is a directory"):
        data.load(kind, path=tmp_path)


def test_features_of_another_program(tmp_path):
    features, speakers = np.random.default_rng(2).standard_normal((6, 40)).astype(np.float32), np.arange(6) % 2
    np.save(tmp_path / "speech.npy", features)
    np.savez(tmp_path / "speech.npz", x=features, y=speakers)
    assert np.array_equal(data.load(f"npy:{tmp_path / 'speech.npy'}").x.numpy(), features)
    ds = data.load(f"npy:{tmp_path / 'speech.npz'}")
    assert is_dataset(ds, 6, 40, torch.int64)
    assert np.array_equal(ds.x.numpy(), features)
    assert np.array_equal(ds.y.numpy(), speakers)
    np.savez(tmp_path / "bare.npz", features)
    with pytest.raises(DataError, match=r"bare.npz: expected an array x, got arr_0\.npy"):
        data.load(f"npy:{tmp_path / 'bare.npz'}")

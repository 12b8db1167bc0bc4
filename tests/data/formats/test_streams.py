import numpy as np
import pytest

from gatentk import DataError, data
from gatentk.data.formats import streams


@pytest.mark.parametrize("chunk", [1, 7, 84])
def test_file_of_several_chunks(fashion, images, monkeypatch, chunk):
    monkeypatch.setattr(streams, "_CHUNK_BYTES", chunk)
    assert np.array_equal(data.load("fashion-mnist", path=fashion).x.numpy() * 255, images.reshape(7, 12))
    with (fashion / "train-images-idx3-ubyte").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="got more"):
        data.load("fashion-mnist", path=fashion)

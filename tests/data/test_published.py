"""Where published files are looked for, and what is said where they are not."""

import pytest

from gatentk import DataError, data


@pytest.mark.parametrize(
    ("name", "wanted", "origin"),
    [
        ("svhn", "train_32x32.mat", r"Street View House Numbers .* http://ufldl.stanford.edu/housenumbers"),
        ("svhn-test", "test_32x32.mat", r"download test_32x32.mat .* http://ufldl.stanford.edu/housenumbers"),
        ("cifar10", "data_batch_1.bin", r"cifar-10-binary.tar.gz, .* https://www.cs.toronto.edu/~kriz/cifar.html"),
        ("cifar10-test", "test_batch.bin", r"The CIFAR-10 dataset, https://www.cs.toronto.edu/~kriz/cifar.html"),
        ("sgemm", "sgemm_product.csv", r"data set 440, SGEMM .* https://archive.ics.uci.edu/dataset/440"),
    ],
)
def test_missing_files_are_named_with_the_place_where_they_are_published(tmp_path, name, wanted, origin):
    with pytest.raises(DataError, match=f"{wanted}: needs to be downloaded; .*{origin}.* as path"):
        data.load(name)
    with pytest.raises(DataError, match=f"{tmp_path / wanted}: no such file; .*{origin}"):
        data.load(name, path=tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}.*: no such file; .*{origin}"):
        data.load(name, path=tmp_path / "none")

"""SGEMM GPU kernel performance (Nugteren and Codreanu, 2015): run times of a matrix product by its kernel's settings.

x is MWG, NWG, KWG, MDIMC, NDIMC, MDIMA, NDIMB, KWI, VWM, VWN, STRM, STRN, SA, SB, and y the natural logarithm of the
mean of the four run times. The features differ in scale: standardise them.
"""

from __future__ import annotations

from pathlib import Path

from gatentk.data.entries import Published, Row, Source
from gatentk.data.published import find_file
from gatentk.errors import DataError

_HEADER = "MWG,NWG,KWG,MDIMC,NDIMC,MDIMA,NDIMB,KWI,VWM,VWN,STRM,STRN,SA,SB,Run1 (ms),Run2 (ms),Run3 (ms),Run4 (ms)"
_FEATURES = 14
_LONGEST_TIME = 1e9

_ADVICE = (
    "download and unzip sgemm_product.csv from the UCI Machine Learning Repository, data set 440, SGEMM GPU kernel "
    "performance, https://archive.ics.uci.edu/dataset/440, and give the file or its folder as path"
)


def _read(path: Path | None) -> Source:
    """Sizes and switches of a matrix product's kernel, and the logarithm of its mean time in four runs."""
    import numpy as np

    from gatentk.data.formats.csv import read_csv
    from gatentk.data.formats.csv_lines import csv_lines

    path = find_file(path, "sgemm_product.csv", _ADVICE)
    sample = csv_lines(path).sample
    header = sample[0][1] if sample else [""]
    got = ",".join(field.strip() for field in header)
    if got != _HEADER:
        raise DataError(f"{path}: expected the header {_HEADER}, got {got[:120]!r}")
    table = read_csv(path).x
    times = table[:, _FEATURES:]
    wrong = (times <= 0) | (times > _LONGEST_TIME)
    if wrong.any():
        sample, run = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}, sample {sample} (from 0): expected run times above 0 and up to {_LONGEST_TIME:g} ms, "
            f"got {times[sample, run]}"
        )
    return Source(table[:, :_FEATURES], np.log(times.mean(axis=1)))


ENTRIES = (
    Published(
        name="sgemm",
        place=140,
        rows=(Row("sgemm", "241,600 x 14", "as written", "log of the mean time, in ms"),),
        read=_read,
        path="`sgemm_product.csv` or the folder it is in",
    ),
)

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data

SGEMM_HEADER = "MWG,NWG,KWG,MDIMC,NDIMC,MDIMA,NDIMB,KWI,VWM,VWN,STRM,STRN,SA,SB,Run1 (ms),Run2 (ms),Run3 (ms),Run4 (ms)"

SGEMM_LINE = "16,16,16,8,8,8,8,2,1,1,0,0,0,0,115.26,115.87,118.55,115.8"


@pytest.fixture
def sgemm_file(tmp_path):
    def write(content):
        path = tmp_path / "sgemm_product.csv"
        path.write_text(content)
        return path

    return write


def test_sgemm(sgemm_file, tmp_path):
    path = sgemm_file(f"{SGEMM_HEADER}\n{SGEMM_LINE}\n128,64,32,16,8,32,8,8,4,4,1,1,1,0,13.5,13.25,13.25,14\n")
    ds = data.load("sgemm", path=tmp_path)
    assert (ds.x.dtype, ds.y.dtype, ds.name) == (torch.float64, torch.float64, "sgemm")
    assert ds.x.is_contiguous()
    assert ds.x.tolist() == [
        [16, 16, 16, 8, 8, 8, 8, 2, 1, 1, 0, 0, 0, 0],
        [128, 64, 32, 16, 8, 32, 8, 8, 4, 4, 1, 1, 1, 0],
    ]
    assert ds.y.tolist() == pytest.approx([math.log(116.37), math.log(13.5)], rel=1e-15)
    assert torch.equal(data.load("sgemm", path=path).x, ds.x)
    assert data.load("sgemm", n=1, path=path).x.shape == (1, 14)


DAMAGED_SGEMM = [
    ("", "expected the header MWG,NWG,.*Run4 .ms., got ''"),
    (f"{SGEMM_LINE}\n", "expected the header MWG,.*, got '16,16,"),
    (f"idx,{SGEMM_HEADER}\n0,{SGEMM_LINE}\n", "expected the header MWG,.*, got 'idx,MWG"),
    (f"{SGEMM_HEADER.replace(',Run4 (ms)', '')}\n", "expected the header"),
    (f"{SGEMM_HEADER}\n", "expected lines of numbers after the header in line 1"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}\n{SGEMM_LINE[:-6]}\n", "line 3: expected 18 columns, as in line 1, got 17"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}x\n", r"line 2, column 18 \(Run4 \(ms\)\): expected a finite number, got '115.8x'"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}\n{SGEMM_LINE.replace('115.87', '0')}\n", r"sample 1 \(from 0\): .* got 0.0"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE.replace('118.55', '-1')}\n", "run times above 0 and up to 1e[+]09 ms, got -1.0"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE.replace('118.55', '1e308')}\n", "got 1e[+]308"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED_SGEMM, ids=range(len(DAMAGED_SGEMM)))
def test_damaged_sgemm_file(sgemm_file, content, message):
    path = sgemm_file(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load("sgemm", path=path)
    assert str(caught.value).startswith(str(path))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 128), min_size=14, max_size=14),
            st.lists(st.floats(1e-300, 1e9), min_size=4, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_sgemm_round_trip(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("sgemm") / "sgemm_product.csv"
    path.write_text("\n".join([SGEMM_HEADER, *(",".join(map(repr, x + times)) for x, times in samples)]))
    ds = data.load("sgemm", path=path)
    assert ds.x.tolist() == [x for x, _ in samples]
    expected = [math.log(math.fsum(times) / 4) for _, times in samples]
    assert ds.y.tolist() == pytest.approx(expected, rel=1e-14, abs=1e-14)

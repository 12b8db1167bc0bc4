import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from cases.training import record_of

from gatentk.train import EpochRecord
from gatentk.train.record import plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor([[1.0, math.inf], [math.nan, 2.0]]), [[1.0, None], [None, 2.0]]),
        ({1: (math.nan, 3), "a": {"b": -math.inf}}, {"1": [None, 3], "a": {"b": None}}),
        (0.1, 0.1),
        (True, True),
        ("nan", "nan"),
        (None, None),
    ],
)
def test_values_become_finite_json(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_a_record_comes_back_from_its_line():
    record = replace(record_of(1, 2), diagnostics={"tau": 0.5}, switch={"rate": 0.1})
    assert EpochRecord(**json.loads(json.dumps(asdict(record)))) == record

"""What cannot be fitted is said before anything is loaded."""

import math
import re

import pytest
from cases.fits import small


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"normalize": "rows"}, ValueError, "normalize: expected one of"),
        ({"kernel": "rbf"}, ValueError, "kernel: expected one of"),
        ({"activation": "sine"}, ValueError, "activation: expected one of"),
        ({"depths": ()}, ValueError, "depths: expected different depths in ascending order"),
        ({"depths": (2, 1)}, ValueError, "depths: expected different depths in ascending order"),
        ({"depths": (-1, 1)}, ValueError, "depths: expected an integer of at least 0"),
        ({"ridges": ()}, ValueError, "ridges: expected different ridges in falling order"),
        ({"ridges": (0.1, 1.0)}, ValueError, "ridges: expected different ridges in falling order"),
        ({"ridges": (math.nan,)}, ValueError, "ridges: expected finite numbers of at least 0"),
        ({"ridges": (math.inf, 1.0)}, ValueError, "ridges: expected finite numbers of at least 0"),
        ({"ridges": (1.0, -1.0)}, ValueError, "ridges: expected finite numbers of at least 0"),
        ({"depths": tuple(range(60_000))}, ValueError, "depths: expected at most 100,000 pairs"),
        ({"constant": 1}, TypeError, "constant: expected True, False or None"),
        ({"test": 3}, TypeError, "test: expected the name of a data set"),
        ({"test": "digits", "test_fraction": 0.2}, ValueError, "test_fraction: expected none beside a test set"),
        ({"test_fraction": 1.0}, ValueError, "test_fraction: expected a share of at least 0 and below 1"),
        ({"test_fraction": math.nan}, ValueError, "test_fraction: expected a share of at least 0 and below 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(changes, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        small(**changes)


def test_a_fifth_is_kept_where_no_test_set_is_given():
    assert [small().share, small(test_fraction=0).share, small(test="digits").share] == [0.2, 0, 0]

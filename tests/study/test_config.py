"""What a study refuses to be asked."""

import pytest
from cases.studies import small

from gatentk.study.config import StudyConfig, depths_text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": ()}, "depths"),
        ({"depths": (2, 1)}, "depths.*ascending"),
        ({"depths": (-1, 0)}, "depths.*at least 0"),
        ({"activations": ()}, "^activations: expected different names"),
        ({"activations": ("tanh",)}, "^activations: .*'relu'.*'tanh'"),
        ({"dtype": "float16"}, "dtype.*'float64'"),
        ({"width": None, "infinite": False}, "^width: expected a number of neurons, or infinite=True"),
        ({"width": 0}, "width.*at least 1"),
        ({"seeds": 0}, "seeds.*at least 1"),
        ({"subset": 1}, "subset.*at least 2"),
        ({"batch": 1}, "batch.*at least 2"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize(
    ("depths", "text"),
    [((0, 1, 2), "0:2"), ((0, 5, 10), "0:10:5"), ((0, 1, 5), "0,1,5"), ((3,), "3"), ((1, 2), "1,2")],
)
def test_depths_are_short_to_read(depths, text):
    assert depths_text(StudyConfig("digits", depths=depths).depths) == text

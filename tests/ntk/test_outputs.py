import numpy as np
import pytest

from gatentk.ntk.outputs import OUTPUTS, check_index, check_outputs


@pytest.mark.parametrize("outputs", [*OUTPUTS, 0, 7, np.int64(2)])
def test_names_and_numbers_are_outputs(outputs):
    check_outputs(outputs)
    check_index(outputs, 8)


@pytest.mark.parametrize(
    ("error", "outputs"), [(ValueError, "all"), (TypeError, 1.0), (TypeError, True), (TypeError, None)]
)
def test_others_are_refused(error, outputs):
    with pytest.raises(error, match="outputs: expected an int or one of 'trace', 'diag', 'full', got"):
        check_outputs(outputs)


def test_numbers_count_from_zero():
    with pytest.raises(ValueError, match="outputs: expected an output below 3, got 3"):
        check_index(3, 3)
    with pytest.raises(ValueError, match="outputs: expected an integer of at least 0, got -1"):
        check_index(-1, 3)

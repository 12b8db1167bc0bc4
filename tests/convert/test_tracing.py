"""What torch.fx finds in networks."""

import pytest
from cases.skipping import NETWORKS, WITHOUT_ZEROS, Network

from gatentk.convert.tracing import Found, fed_by_relu


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_that_a_relu_feeds_are_found(name):
    built = NETWORKS[name]
    assert fed_by_relu(built.build()) == Found(built.skipping, ())


@pytest.mark.parametrize("name", WITHOUT_ZEROS)
def test_others_are_not(name):
    assert fed_by_relu(WITHOUT_ZEROS[name]()) == Found((), ())


def test_parts_of_zeros_have_zeros():
    assert fed_by_relu(Network(lambda h: h.relu()[:, :520])).layers == ("second",)

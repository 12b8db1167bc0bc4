"""Networks from plain values: the same class, sizes and form."""

import json

import pytest
import torch
from cases.deployed import saved_networks

from gatentk.nn.configuration import CONFIGURATIONS, configuration, expected, gate_network
from gatentk.runs.plain import from_json, to_json

NETWORKS = saved_networks()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_built_from_its_configuration(name):
    net = NETWORKS[name]()
    config = from_json(CONFIGURATIONS[type(net)], json.loads(json.dumps(to_json(configuration(net)))), "config")
    built = config.build()
    assert config == configuration(net)
    assert repr(built) == repr(net).replace("bfloat16", "float32")
    assert all(tensor.is_meta for tensor in built.state_dict().values())
    assert getattr(built, "method", None) == getattr(net, "method", None)
    tensors = net.state_dict()
    assert expected(config, built) == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    assert (gate_network(net) is None) == (not hasattr(net, "gate_net"))


def test_building_draws_no_random_numbers():
    before = torch.get_rng_state()
    for build in NETWORKS.values():
        configuration(build()).build()
    assert torch.equal(torch.get_rng_state(), before)

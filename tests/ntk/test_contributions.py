import torch
from torch import nn

from gatentk.ntk.contributions import Contribution, contributions_of, joined, kernel_of
from gatentk.ntk.layers import Call, Positions
from gatentk.ntk.memory import Term


def call(layer, count=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, count, layer.in_features, generator=generator)
    return Call(layer, x, torch.randn(4, 1, count, layer.out_features, generator=generator))


def test_a_bias_joins_a_matrix_that_acts_once():
    layer = nn.Linear(3, 5)
    for count, parts in ((1, 1), (2, 2)):
        groups = contributions_of({"0": layer}, [call(layer, count)])
        merged = joined(groups)
        assert [len(group) for group in groups.values()] == [2]
        assert [len(group) for group in merged.values()] == [parts]
        kernels = [sum(kernel_of(part, None, "trace") for part in group) for group in (groups | merged).values()]
        separate = sum(kernel_of(part, None, "trace") for part in next(iter(groups.values())))
        torch.testing.assert_close(kernels[0], separate)


def test_parameters_that_two_layers_have_are_groups_of_their_own():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    groups = contributions_of({"0": first, "1": second}, [call(first), call(second, seed=1)])
    assert [len(group) for group in groups.values()] == [1, 1, 1]
    assert list(groups) == [id(first.weight), id(first.bias), id(second.bias)]


def test_layers_without_calls_contribute_nothing():
    layer = nn.Linear(3, 3)
    parts = next(iter(contributions_of({"0": layer}, []).values()))
    assert [kernel_of(part, None, "full") for part in parts] == [None, None]
    assert [part.tensors for part in parts] == [[], []]
    assert [part.term("trace") for part in parts] == [None, None]
    assert parts[0].gradient(torch.ones(4, 1)) is None


def test_places_and_gradients_are_the_same_kernel():
    generator = torch.Generator().manual_seed(0)
    places = Positions(torch.randn(4, 1, 3, 5, generator=generator), torch.randn(4, 2, 1, 3, 6, generator=generator))
    as_places, as_gradients = Contribution(0, places=places), Contribution(0, gradients=places.gradients())
    weights = torch.randn(4, 2, generator=generator)
    torch.testing.assert_close(as_places.gradient(weights), as_gradients.gradient(weights))
    for layout in ("trace", "diag", "full"):
        torch.testing.assert_close(kernel_of(as_places, None, layout), kernel_of(as_gradients, None, layout))
        torch.testing.assert_close(
            kernel_of(as_places, as_places, layout), kernel_of(as_gradients, as_gradients, layout)
        )


def test_terms_are_what_products_hold_beside_the_factors():
    places = Positions(torch.zeros(4, 1, 3, 5), torch.zeros(4, 2, 1, 3, 6))
    assert Contribution(0, places=places).term("trace") == Term(4 * (3 * 5 + 2 * 3 * 6), 4 * (5 + 12), 9)
    assert Contribution(0, places=places).term("full") == Term(4 * (3 * 5 + 2 * 3 * 6), 4 * (5 + 6), 9)
    once = Positions(places.act[:, :, :1], places.delta[:, :, :, :1])
    assert Contribution(0, places=once).term("trace") == Term(0, 4 * (5 + 12), 1)
    assert Contribution(0, gradients=torch.zeros(4, 2, 7)).term("trace") == Term(0, 4 * 14, 1)

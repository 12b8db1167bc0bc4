import torch

from gatentk.bench.training import Descent


def test_descent_takes_random_mini_batches_and_follows_the_gradient():
    targets = torch.randn(6, 2, dtype=torch.float64)
    weight = torch.zeros(6, 2, dtype=torch.float64, requires_grad=True)
    taken = []

    def outputs(rows):
        taken.append(rows)
        return weight[rows]

    step = Descent(outputs, [weight], targets, 4, rate=1.0)
    assert torch.equal(step(), torch.zeros(4, 2, dtype=torch.float64))
    expected = torch.zeros(6, 2, dtype=torch.float64)
    expected[taken[0]] = targets[taken[0]] / 4  # the gradient of the mean over 4 x 2 squares
    torch.testing.assert_close(weight.detach(), expected)
    step()
    assert all(len(rows.unique()) == 4 for rows in taken)
    assert not torch.equal(*taken)
    Descent(outputs, [weight], targets, 4, rate=1.0)()
    assert torch.equal(taken[2], taken[0])

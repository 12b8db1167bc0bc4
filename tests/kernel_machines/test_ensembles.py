import math
import warnings

import mpmath
import numpy as np
import pytest
import torch
from cases.machines import samples, targets

from gatentk import ntk
from gatentk.errors import NoiseFloorWarning, SpectrumError
from gatentk.kernel_machines import max_learning_rate, training

X, Z = samples(8), samples(3, seed=5)
Y = targets(X, 2)
N, M = len(X), len(Z)
TIMES = [0, 1, 50, math.inf]


def last_layer(x, z=None, depth=2):
    """The NNGP kernel."""
    return ntk.infinite(x, z, depth, components=True)[-1]


TANGENT = {"K": ntk.infinite(X, depth=2), "K_test": ntk.infinite(Z, X, depth=2)}
START = {"nngp": last_layer(X), "nngp_test": last_layer(Z, X), "nngp_test_test": last_layer(Z)}
# Arguments for networks whose weights are all trained, and for those of which only the last layer is.
CASES = {
    "ntk": {**TANGENT, **START},
    "nngp": {"K": START["nngp"], "K_test": START["nngp_test"], "K_test_test": START["nngp_test_test"]},
}
RATE = 0.7 * max_learning_rate(TANGENT["K"])  # components above 1 / 0.7 of the half change their sign


def as_matrix(array):
    return mpmath.matrix(np.asarray(array).tolist())


def as_array(matrix):
    return np.array([[float(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)])


def maps(K, K_test, rate, time, method):
    """Linear maps of f_0 - y to f_t - y, and to f*_t - f*_0, in 60 digits: by steps, an exponential or a limit."""
    K, K_test = as_matrix(K), as_matrix(K_test)
    if math.isinf(time):
        return mpmath.zeros(N, N), -K_test * mpmath.inverse(K)
    if method == "flow":
        left = mpmath.expm(-mpmath.mpf(rate) * time * K)
        return left, -K_test * mpmath.inverse(K) * (mpmath.eye(N) - left)
    left, moved = mpmath.eye(N), mpmath.zeros(M, N)
    for _ in range(time):
        moved -= mpmath.mpf(rate) * K_test * left
        left -= mpmath.mpf(rate) * K * left
    return left, moved


def oracle(case, rate, time, method):
    """Means and covariances at the test samples and at those of the training."""
    with mpmath.workdps(60):
        given = CASES[case]
        left, moved = maps(given["K"], given["K_test"], rate, time, method)
        y = as_matrix(Y)
        start, cross, last = (as_matrix(START[name]) for name in ("nngp", "nngp_test", "nngp_test_test"))
        mean = -moved * y
        covariance = last + moved * start * moved.T + moved * cross.T + cross * moved.T
        return [as_array(m) for m in (mean, covariance, y - left * y, left * start * left.T)]


@pytest.mark.parametrize("method", ["flow", "descent"])
@pytest.mark.parametrize("case", CASES)
def test_moments_are_those_of_60_digits(case, method):
    of_test = training(**CASES[case], y=Y, times=TIMES, learning_rate=RATE, method=method)
    of_training = training(CASES[case]["K"], Y, TIMES, RATE, method=method, nngp=CASES[case].get("nngp"))
    assert of_test.mean.shape == (4, M, 2)
    assert of_training.covariance.shape == (4, N, N)
    for k, time in enumerate(TIMES):
        mean, covariance, train_mean, train_covariance = oracle(case, RATE, time, method)
        np.testing.assert_allclose(of_test.mean[k], mean, rtol=0, atol=1e-11)
        np.testing.assert_allclose(of_test.covariance[k], covariance, rtol=0, atol=1e-11)
        np.testing.assert_allclose(of_training.mean[k], train_mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(of_training.covariance[k], train_covariance, rtol=0, atol=1e-12)


def test_weights_of_a_linear_model_descend_as_the_process_does():
    """Steps on weights: their distribution is carried along as a linear map of what they were at the start."""
    generator = np.random.default_rng(0)
    features, others = generator.normal(size=(6, 9)), generator.normal(size=(4, 9))
    y, rate = generator.normal(size=6), 0.05
    moves, constant = np.eye(9), np.zeros(9)
    for _ in range(40):
        constant -= rate * features.T @ (features @ constant - y)
        moves -= rate * features.T @ features @ moves
    process = training(features @ features.T, y, 40, rate, others @ features.T, others @ others.T, method="descent")
    np.testing.assert_allclose(process.mean, others @ constant, atol=1e-12)
    np.testing.assert_allclose(process.covariance, others @ moves @ moves.T @ others.T, atol=1e-12)
    np.testing.assert_allclose(process.std, np.linalg.norm(others @ moves, axis=1), atol=1e-12)


def test_descent_by_small_steps_is_the_flow():
    flow = training(**CASES["ntk"], y=Y, times=3.0, learning_rate=RATE)
    small = training(**CASES["ntk"], y=Y, times=3 * 2**20, learning_rate=RATE / 2**20, method="descent")
    np.testing.assert_allclose(small.mean, flow.mean, atol=1e-5)
    np.testing.assert_allclose(small.covariance, flow.covariance, atol=1e-5)


def test_many_steps_end_where_infinite_time_does():
    for method in ("flow", "descent"):
        far = training(**CASES["ntk"], y=Y, times=[10**9, math.inf], learning_rate=RATE, method=method)
        np.testing.assert_allclose(far.mean[0], far.mean[1], rtol=1e-10)
        np.testing.assert_allclose(far.covariance[0], far.covariance[1], atol=1e-12)


def test_forms_follow_what_came():
    column = training(**CASES["ntk"], y=Y[:, 0], times=[1.0, 2.0])
    assert column.mean.shape == (2, M)
    assert column.learning_rate == pytest.approx(column.max_learning_rate / 2)
    both = training(**CASES["ntk"], y=Y, times=[1.0, 2.0])
    np.testing.assert_allclose(both.mean[..., 0], column.mean, rtol=1e-13)
    one = training(**CASES["ntk"], y=Y[:, 0].tolist(), times=2)
    np.testing.assert_allclose(one.mean, column.mean[1], rtol=1e-13)
    assert one.covariance.shape == (M, M)
    assert float(one.times) == 2
    tensors = training(
        torch.from_numpy(TANGENT["K"]), torch.from_numpy(Y), torch.tensor([1.0]), K_test=TANGENT["K_test"]
    )
    assert isinstance(tensors.mean, torch.Tensor)
    assert tensors.covariance is None
    assert tensors.std is None
    np.testing.assert_allclose(tensors.mean[0], both.mean[0], rtol=1e-12)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_size_of_targets_does_not_matter(size):
    one, other = (training(**CASES["ntk"], y=s * Y, times=TIMES, learning_rate=RATE) for s in (1, size))
    np.testing.assert_allclose(other.mean, size * one.mean, rtol=1e-12)
    np.testing.assert_array_equal(other.covariance, one.covariance)


def test_the_largest_rate_is_where_descent_begins_to_diverge():
    K = TANGENT["K"]
    largest = max_learning_rate(K)
    assert largest == pytest.approx(2 / np.linalg.eigvalsh(K)[-1], rel=1e-9)
    assert max_learning_rate(np.zeros((2, 2))) == math.inf
    with pytest.raises(ValueError, match="K: expected one kernel"):
        max_learning_rate(np.stack([K, K]))
    just = training(K, Y, [10**4, math.inf], 0.999 * largest, method="descent")
    np.testing.assert_allclose(just.mean[0], Y, atol=1e-3)
    with pytest.raises(ValueError, match=r"learning_rate: expected less than 2 / lambda_max = .*, got"):
        training(K, Y, 1, 1.001 * largest, method="descent")
    training(K, Y, 1, 1000 * largest)  # the flow has no such limit


def test_what_the_noise_floor_hides_is_said_and_not_learnt():
    x = np.r_[X, X[:2]]
    K, y = ntk.infinite(x, depth=2), np.r_[Y, 1 + Y[:2]]
    with pytest.warns(NoiseFloorWarning, match="2 of 10 eigenvalues of K are not above the noise floor"):
        process = training(K, y, [1.0, math.inf], nngp=last_layer(x))
    assert process.noise[0] < 1e-10
    assert process.noise[1] >= 1
    assert process.noise_floor == pytest.approx(10 * 2.0**-52 * np.linalg.eigvalsh(K)[-1], rel=1e-6)
    np.testing.assert_allclose(process.mean[1][2:8], y[2:8], atol=1e-8)
    between = (process.mean[1][:2] + process.mean[1][8:]) / 2
    np.testing.assert_allclose(between, Y[:2] + 0.5, atol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training(K, y, [1e3]).noise < 1e-8


def test_a_float32_kernel_has_a_higher_floor():
    K = TANGENT["K"].astype(np.float32)
    assert training(K, Y, 1).noise_floor == pytest.approx(8 * 2.0**-23 * np.linalg.eigvalsh(K)[-1], rel=1e-5)


def test_a_kernel_of_zeros_learns_nothing():
    process = training(np.zeros((2, 2)), [1.0, 2.0], [5.0], method="descent")
    assert process.mean.tolist() == [[0, 0]]
    assert process.max_learning_rate == math.inf


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"K": np.ones((2, 3))}, ValueError, "K: expected a non-empty square matrix"),
        ({"K": np.diag([1.0, -1.0]), "y": [1.0, 1.0], "K_test": None}, SpectrumError, "lambda_min = -1 lies below"),
        ({"K": np.triu(np.ones((8, 8)))}, SpectrumError, "K: expected a symmetric matrix"),
        ({"K": np.full((8, 8), np.nan)}, ValueError, "K: expected finite values"),
        ({"y": Y[:3]}, ValueError, r"y: expected shape \(8,\) or \(8, outputs\)"),
        ({"y": np.where(Y > 3, np.inf, Y)}, ValueError, "y: expected finite values"),
        ({"y": np.ma.masked_greater(Y, 3)}, ValueError, "values are masked"),
        ({"times": -1}, ValueError, r"times\[0\]: expected a number of at least 0, got -1"),
        ({"times": [1, math.nan]}, ValueError, r"times\[1\]: expected a number of at least 0"),
        ({"times": [0.5], "method": "descent"}, ValueError, "a whole number of steps"),
        ({"times": [10**400]}, ValueError, r"times\[0\]: expected math.inf, or a number that float64 can hold"),
        ({"times": []}, TypeError, "times: expected a number or some numbers"),
        ({"times": "1"}, TypeError, "times: expected"),
        ({"times": [True]}, TypeError, r"times\[0\]: expected a number"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a finite number above 0"),
        ({"learning_rate": "1"}, TypeError, "learning_rate: expected a number"),
        ({"method": "newton"}, ValueError, "method: expected one of 'flow', 'descent'"),
        ({"K_test": np.ones((3, 7))}, ValueError, r"K_test: expected shape \(m, 8\)"),
        ({"K_test_test": np.ones((4, 4))}, ValueError, r"K_test_test: expected shape \(3, 3\)"),
        ({"K_test": None, "K_test_test": np.ones((3, 3))}, ValueError, "K_test_test: expected None without K_test"),
        ({"nngp_test": START["nngp_test"]}, ValueError, "nngp_test: expected None without nngp"),
        ({"nngp": START["nngp"], "K_test_test": np.ones((3, 3))}, ValueError, "K_test_test: expected None beside nngp"),
        ({"nngp": START["nngp"], "nngp_test": START["nngp_test"]}, ValueError, "nngp_test_test together"),
        ({"nngp": START["nngp"][:4]}, ValueError, r"nngp: expected shape \(8, 8\)"),
    ],
)
def test_bad_arguments_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        training(**{"y": Y, "times": 1, **TANGENT, **changes})

"""Problems are equal when they are: same class, same parameters."""

import copy
import pickle
import time

import numba
import numpy as np
import pytest
import scipy.stats
from registry import log_cosh

import rdasde as rs

ROWS = np.random.default_rng(0).standard_normal((40, 3))
LABELS = np.arange(40) % 2
DIRECTIONS = np.eye(5)[:2]
STD = np.array([1.0, 2.0])


def gradient(std, w, rng, out):
    for j in range(w.size):
        out[j] = w[j] + std[j] * rng.standard_normal()


def twin_of_gradient(std, w, rng, out):
    for j in range(w.size):
        out[j] = w[j] + std[j] * rng.standard_normal()


def other_gradient(std, w, rng, out):
    for j in range(w.size):
        out[j] = w[j] + std[j] * rng.uniform()


def mean(std, w):
    return 1.0 * w


def covariance(w):
    return np.diag(STD**2)


def own(parameters=None, function=gradient, **options):
    return rs.StochasticProblem(function, STD.copy() if parameters is None else parameters, 2, **options)


MAKERS = {
    "linear": lambda: rs.LinearRegression([0.5, 0.0]),
    "linear, more noise": lambda: rs.LinearRegression([0.5, 0.0], noise_std=2.0),
    "linear, another coefficient": lambda: rs.LinearRegression([0.5, 0.1]),
    "linear, variances": lambda: rs.LinearRegression([0.5, 0.0], [1.0, 2.0]),
    "linear, AR1": lambda: rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5)),
    "linear, dense": lambda: rs.LinearRegression([0.5, 0.0], rs.AR1(2, 0.5).dense()),
    "linear, rows": lambda: rs.LinearRegression.from_data(ROWS, ROWS[:, 0]),
    "linear, other rows": lambda: rs.LinearRegression.from_data(ROWS, ROWS[:, 1]),
    "logistic": lambda: rs.LogisticRegression([0.5, 0.0]),
    "logistic, rows": lambda: rs.LogisticRegression.from_data(ROWS, LABELS),
    "Huber": lambda: rs.LinearModel(rs.HuberLoss(), [0.5, 0.0]),
    "Huber, wider": lambda: rs.LinearModel(rs.HuberLoss(2.0), [0.5, 0.0]),
    "Huber, less noise": lambda: rs.LinearModel(rs.HuberLoss(), [0.5, 0.0], noise_std=0.5),
    "Huber, heavy tails": lambda: rs.LinearModel(rs.HuberLoss(), [0.5, 0.0], noise=scipy.stats.t(3)),
    "Poisson": lambda: rs.LinearModel(rs.PoissonLoss(), [0.5, 0.0]),
    "Huber, rows": lambda: rs.LinearModel.from_data(rs.HuberLoss(), ROWS, ROWS[:, 0]),
    "Huber, wider, rows": lambda: rs.LinearModel.from_data(rs.HuberLoss(2.0), ROWS, ROWS[:, 0]),
    "hinge, rows": lambda: rs.LinearModel.from_data(rs.SquaredHingeLoss(), ROWS, LABELS),
    "own loss, rows": lambda: rs.LinearModel.from_data(rs.CustomLoss(log_cosh), ROWS, ROWS[:, 0]),
    "softmax": lambda: rs.SoftmaxRegression.from_data(ROWS, LABELS),
    "PCA in three": lambda: rs.OnlinePCA(rs.AR1(3, 0.5)),
    "PCA in four": lambda: rs.OnlinePCA(rs.AR1(4, 0.5)),
    "PCA by Krasulina": lambda: rs.OnlinePCA(rs.AR1(3, 0.5), "krasulina"),
    "PCA, spiked": lambda: rs.OnlinePCA.spiked([2.0, 1.0], DIRECTIONS),
    "PCA, rows": lambda: rs.OnlinePCA.from_data(ROWS),
    "network": lambda: rs.MLP(ROWS, LABELS, 4),
    "network, wider": lambda: rs.MLP(ROWS, LABELS, 5),
    "own": own,
    "own, other parameters": lambda: own(np.array([1.0, 3.0])),
    "own, mean given": lambda: own(mean_gradient=mean),
    "own, covariance given": lambda: own(noise_covariance=covariance),
    "own, fewer draws": lambda: own(samples=100),
    "own, another function": lambda: own(function=other_gradient),
}
PROBLEMS = {name: make() for name, make in MAKERS.items()}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_equal_to_its_twin_and_to_nothing_else(name):
    twin = MAKERS[name]()
    assert twin == PROBLEMS[name]
    assert hash(twin) == hash(PROBLEMS[name])
    assert [other for other in PROBLEMS if PROBLEMS[other] == twin] == [name]
    assert twin != name
    assert len({twin, PROBLEMS[name]}) == 1


def test_a_function_is_what_it_computes():
    assert own(function=twin_of_gradient) == own()
    assert own(function=numba.njit(gradient)) == own(function=numba.njit(twin_of_gradient))
    assert own(function=numba.njit(gradient)) != own()  # which divides by zero without an error
    assert own(function=other_gradient) != own()


def test_use_does_not_change_it():
    for name in ("PCA in three", "network", "own, mean given", "Huber", "Huber, rows"):
        problem = MAKERS[name]()
        before = hash(problem)
        problem.fastest_rate()
        problem.noise_factor(np.ones(problem.dimension))
        assert problem == MAKERS[name]()
        assert hash(problem) == before


def test_copies_are_equal():
    for name in ("linear, AR1", "PCA, spiked", "network", "Huber, heavy tails", "Huber, rows", "softmax"):
        problem = PROBLEMS[name]
        assert copy.deepcopy(problem) == problem
        assert pickle.loads(pickle.dumps(problem)) == problem


def test_a_hash_does_not_read_the_data():
    problem = rs.LinearRegression.from_data(np.ones((200_000, 5)), np.zeros(200_000))
    start = time.process_time()
    for _ in range(1000):
        hash(problem)
    assert time.process_time() - start < 1.0  # a pass over the data takes a millisecond or more


def test_a_class_of_ones_own_is_another_problem():
    class Mine(rs.LinearRegression):
        pass

    assert Mine([0.5, 0.0]) != rs.LinearRegression([0.5, 0.0])
    assert Mine([0.5, 0.0]) == Mine([0.5, 0.0])

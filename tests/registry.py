"""One of each built-in problem and design, for the laws that hold for all of them."""

import numpy as np
import pytest
from own_problems import retrieval, retrieval_mean

import rdasde as rs

_RNG = np.random.default_rng(20)
_ROWS = _RNG.standard_normal((70, 5)) * [1.0, 0.5, 2.0, 1.0, 1.5]  # more than one chunk of 64
_LABELS = (_RNG.uniform(size=70) < 0.5).astype(float)
_SQUARE = _RNG.standard_normal((5, 5))
_DENSE = _SQUARE @ _SQUARE.T / 5 + 0.2 * np.eye(5)
_DIRECTIONS = np.linalg.qr(_RNG.standard_normal((5, 5)))[0][:2]
_COEF = np.array([0.5, -0.4, 0.0, 0.3, 0.0])
_EVEN = np.array([0.5, -0.4, 0.0, 0.3])
_OTHER = np.random.default_rng(21)
_REAL = _ROWS @ _COEF + _OTHER.standard_normal(70)
_COUNTS = _OTHER.poisson(np.exp(0.5 * _ROWS @ _COEF)).astype(float)
_CLASSES = (_ROWS[:, 0] > 0.3).astype(int) + (_OTHER.uniform(size=70) < 0.5)


def log_cosh(eta, y):
    """l' of a loss of the residual, by differences where it bends."""
    return np.tanh(eta - y)


def uneven(eta, y):
    """l' of a loss that is not one of the residual."""
    return (1.0 + 0.3 * np.tanh(eta)) * np.tanh(eta - y)


def slope_of_uneven(eta, y):
    bend, tail = np.tanh(eta - y), np.tanh(eta)
    return 0.3 * (1.0 - tail * tail) * bend + (1.0 + 0.3 * tail) * (1.0 - bend * bend)


_LOSSES = {
    "squared": rs.SquaredLoss(),
    "logit": rs.LogisticLoss(),
    "poisson": rs.PoissonLoss(),
    "huber": rs.HuberLoss(1.0),
    "quantile": rs.QuantileLoss(0.8),
    "smoothed": rs.QuantileLoss(0.8, 0.3),
    "hinge": rs.SquaredHingeLoss(),
    "custom": rs.CustomLoss(log_cosh),
}
_RESPONSES = {"real": _REAL, "label": _LABELS, "count": _COUNTS}


PROBLEMS = {
    "linear-identity": rs.LinearRegression(_COEF),
    "linear-diagonal": rs.LinearRegression(_EVEN, np.linspace(0.5, 2.0, 4), noise_std=0.5),
    "linear-ar1": rs.LinearRegression(_COEF, rs.AR1(5, 0.6)),
    "linear-dense": rs.LinearRegression(_COEF, _DENSE),
    "linear-one": rs.LinearRegression([0.3]),
    "linear-rows": rs.LinearRegression.from_data(_ROWS, _ROWS @ _COEF + _RNG.standard_normal(70)),
    "logistic-identity": rs.LogisticRegression(_COEF),
    "logistic-ar1": rs.LogisticRegression(_EVEN, rs.AR1(4, 0.6)),
    "logistic-dense": rs.LogisticRegression(_COEF, _DENSE),
    "logistic-rows": rs.LogisticRegression.from_data(_ROWS, _LABELS),
    "oja-diagonal": rs.OnlinePCA(np.linspace(0.5, 2.0, 4)),
    "oja-dense": rs.OnlinePCA(_DENSE),
    "oja-ar1": rs.OnlinePCA(rs.AR1(5, 0.5)),
    "krasulina-dense": rs.OnlinePCA(_DENSE, "krasulina"),
    "oja-spiked": rs.OnlinePCA.spiked([2.0, 0.5], _DIRECTIONS),
    "krasulina-spiked": rs.OnlinePCA.spiked([2.0, 0.5], _DIRECTIONS, "krasulina"),
    "oja-rows": rs.OnlinePCA.from_data(_ROWS),
    "krasulina-rows": rs.OnlinePCA.from_data(_ROWS, "krasulina"),
    "mlp": rs.MLP(_ROWS, _LABELS, hidden=3),
    "softmax-rows": rs.SoftmaxRegression.from_data(_ROWS[:, :3], _CLASSES),
    "uneven-ar1": rs.LinearModel(rs.CustomLoss(uneven, slope_of_uneven), 0.6 * _EVEN, rs.AR1(4, 0.6), noise_std=0.8),
    "own": rs.StochasticProblem(retrieval, _EVEN, 4, mean_gradient=retrieval_mean, minimizer=_EVEN),
}


PROBLEMS |= {
    f"{name}-rows": rs.LinearModel.from_data(loss, _ROWS, _RESPONSES[loss.response]) for name, loss in _LOSSES.items()
}
PROBLEMS |= {f"{name}-ar1": rs.LinearModel(loss, 0.6 * _COEF, rs.AR1(5, 0.6)) for name, loss in _LOSSES.items()}
# Code is compiled for each pair of a loss and a design. Among these every problem, every loss, every design and both
# parities of the dimension occur, so that each piece of code is met; all pairs are for `make test-slow`.
COVER = (
    "linear-ar1", "linear-one", "linear-rows", "logistic-dense", "logistic-rows", "oja-diagonal", "oja-rows",
    "krasulina-spiked", "mlp", "softmax-rows", "uneven-ar1", "own", "poisson-rows", "smoothed-rows", "quantile-rows",
    "huber-ar1", "hinge-ar1", "custom-rows",
)  # fmt: skip


def each(names, cover=COVER):
    """A test for each of the names, slow but for those of the cover."""
    return [name if name in cover else pytest.param(name, marks=pytest.mark.slow) for name in names]


def some_points(problem):
    """Three points (3, d) in general position, of length about one."""
    points = np.random.default_rng(problem.dimension).standard_normal((3, problem.dimension))
    return points / np.sqrt(problem.dimension)

"""A fit in a file, or in another process, is the same fit."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import rdasde as rs

ALGORITHM = rs.RDA(0.01, rs.L1([0.0, 1.0, 1.0]), rs.PowerLaw(c=0.3, mu=0.6), batch_size=2)
COEF = np.array([0.4, -0.3, 0.0])


def log_cosh(eta, y):
    return np.tanh(eta - y)


KINDS = {
    "LinearRegression": (rs.LinearRegression, "real"),
    "LogisticRegression": (rs.LogisticRegression, "label"),
    "OnlinePCA": (rs.OnlinePCA, "none"),
    "SquaredLoss": (rs.SquaredLoss(), "real"),
    "LogisticLoss": (rs.LogisticLoss(), "label"),
    "PoissonLoss": (rs.PoissonLoss(), "count"),
    "HuberLoss": (rs.HuberLoss(), "real"),
    "QuantileLoss": (rs.QuantileLoss(0.7), "real"),
    "smoothed QuantileLoss": (rs.QuantileLoss(0.7, bandwidth=0.5), "real"),
    "SquaredHingeLoss": (rs.SquaredHingeLoss(), "label"),
    "CustomLoss": (rs.CustomLoss(log_cosh), "real"),
    "SoftmaxRegression": (rs.SoftmaxRegression, "class"),
}


def rows_of(response, n):
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(n), rng.standard_normal((n, 2))])
    eta = X @ COEF
    y = {
        "real": eta + rng.standard_normal(n),
        "label": (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float),
        "count": rng.poisson(np.exp(eta)),
        "class": np.digitize(eta + rng.logistic(size=n), [-0.5, 0.8]),
        "none": None,
    }[response]
    return X, y


def part(X, y, low, high):
    return X[low:high], None if y is None else y[low:high]


def read(fit):
    return [fit.rows, fit.names, fit.average.note, fit.iterate.note], [
        fit.coef, fit.raw, fit.std_error, fit.interval, fit.iterate.interval, fit.iterate.raw, *fit.sums()[2:],
    ]  # fmt: skip


@pytest.mark.parametrize("again", [lambda fit: pickle.loads(pickle.dumps(fit)), copy.deepcopy], ids=["pickle", "copy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_was_put_away_goes_on(kind, again):
    """Bit for bit, from within the first block, from the kept rows, from beyond them; read before or not."""
    what, response = KINDS[kind]
    X, y = rows_of(response, 5001)
    algorithm = ALGORITHM
    if response == "class":
        algorithm = dataclasses.replace(ALGORITHM, regularizer=rs.L1([0.0, 1.0, 1.0] * 2))
    fit = rs.fit(what, *part(X, y, 0, 101), algorithm, names=["one", "a", "b"])
    other = again(fit)
    for low, high in ((101, 1703), (1703, 4300), (4300, 5001)):
        fit.update(*part(X, y, low, high))
        other.update(*part(X, y, low, high))
        if high == 1703:
            fit.summary()
        other = again(other)
        for one, two in zip(read(fit), read(other), strict=True):
            for a, b in zip(one, two, strict=True):
                np.testing.assert_array_equal(a, b)
    assert other.problem_class == what
    np.testing.assert_array_equal(other.predict(X[:5]), fit.predict(X[:5]))


class Own(rs.LinearRegression):
    """A class of one's own, whose row model holds a function without a name."""

    row_model = rs.LinearRegression.row_model._replace(gaussian=lambda second: rs.LinearRegression([0.0] * 3, second))


def test_a_class_of_ones_own_can_be_put_away():
    X, y = rows_of("real", 300)
    fit = rs.fit(Own, X, y, ALGORITHM)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fit)).interval, fit.interval)

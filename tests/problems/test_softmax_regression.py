"""Softmax regression: two classes are logistic regression; labels; the laws are in test_laws."""

import numpy as np
import pytest

import rdasde as rs

RNG = np.random.default_rng(4)
ROWS = RNG.standard_normal((120, 3)) * [1.0, 0.6, 1.5]
CLASSES = np.argmax(ROWS @ RNG.standard_normal((3, 3)) + RNG.gumbel(size=(120, 3)), axis=1)


def test_two_classes_are_logistic_regression():
    labels = (CLASSES == 1).astype(float)
    two, logistic = rs.SoftmaxRegression.from_data(ROWS, labels), rs.LogisticRegression.from_data(ROWS, labels)
    u, w = np.array([0.2, -0.1, 0.4]), np.array([0.5, 0.3, -0.2])
    both = np.concatenate([u, u + w])  # only the difference counts
    lift = np.vstack([-np.eye(3), np.eye(3)])
    np.testing.assert_allclose(two.mean_gradient(both), lift @ logistic.mean_gradient(w), atol=1e-15)
    np.testing.assert_allclose(two.hessian(both), lift @ logistic.hessian(w) @ lift.T, atol=1e-15)
    np.testing.assert_allclose(two.noise_covariance(both), lift @ logistic.noise_covariance(w) @ lift.T, atol=1e-15)
    np.testing.assert_allclose(two.minimizer, lift @ logistic.minimizer / 2.0, atol=1e-10)
    # W with a small spread, which the logistic class averages by a rule of 16 nodes
    root = 0.03 * RNG.standard_normal((6, 6))
    spread = lift.T @ root @ root.T @ lift
    got, target = two.expectations(both, root @ root.T), logistic.expectations(w, spread)
    np.testing.assert_allclose(got.gradient, lift @ target.gradient, atol=1e-4)
    np.testing.assert_allclose(got.hessian(np.eye(6)), lift @ target.hessian(np.eye(3)) @ lift.T, atol=1e-4)


def test_the_minimizer_is_the_shortest():
    problem = rs.SoftmaxRegression.from_data(ROWS, CLASSES)
    assert (problem.classes, problem.dimension) == (3, 9)
    assert np.abs(problem.mean_gradient(problem.minimizer)).max() < 1e-15
    np.testing.assert_allclose(problem.minimizer.reshape(3, 3).sum(axis=0), 0.0, atol=1e-12)
    separated = rs.SoftmaxRegression.from_data(np.repeat(np.eye(3), 4, axis=0), np.repeat(np.arange(3), 4))
    assert separated.minimizer is None
    # a feature that only one class has: the loss falls for ever along it alone
    X = np.column_stack([np.ones(400), RNG.standard_normal((400, 2)), np.arange(400) < 12])
    assert rs.SoftmaxRegression.from_data(X, np.where(X[:, 3] > 0, 1, np.arange(400) % 2)).minimizer is None


def test_row_gradients_are_those_of_the_loss():
    problem, w = rs.SoftmaxRegression.from_data(ROWS, CLASSES), np.linspace(-1.0, 1.0, 9)

    def loss(place, i):
        scores = place.reshape(3, 3) @ ROWS[i]
        return np.log(np.exp(scores).sum()) - scores[CLASSES[i]]

    for i in (0, 7):
        by_hand = [(loss(w + step, i) - loss(w - step, i)) / 2e-5 for step in 1e-5 * np.eye(9)]
        np.testing.assert_allclose(problem.row_gradients(w)[i], by_hand, atol=1e-9)


ERRORS = [
    (
        [0.5, 1.0, 2.0],
        "y is 0.5 somewhere, but must be labels 0, 1, ..., K - 1, each at least once: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        [-1, 0, 1],
        "y is -1 somewhere, but must be labels 0, 1, ..., K - 1, each at least once: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        [0, 1, 3],
        "y is without a label 2 but with 3, but must be labels 0, 1, ..., K - 1, each at least once: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        [1, 2, 3],
        "y is without a label 0 but with 3, but must be labels 0, 1, ..., K - 1, each at least once: "
        "pass np.unique(y, return_inverse=True)[1].",
    ),
    (
        [0, 0, 0],
        "y is 0 everywhere, but must be labels 0, 1, ..., K - 1, each at least once: give at least two classes.",
    ),
    (
        [0, 1],
        "y is an array of shape (2,), but must be an array of shape (3,) of finite numbers: "
        "give one label for each row of X.",
    ),
]


@pytest.mark.parametrize(("labels", "message"), ERRORS, ids=[str(labels) for labels, _ in ERRORS])
def test_errors(labels, message):
    with pytest.raises(ValueError, match=r"^y is ") as caught:
        rs.SoftmaxRegression.from_data(np.eye(3), labels)
    assert str(caught.value) == message


def test_words_and_steps():
    problem = rs.SoftmaxRegression.from_data(ROWS, CLASSES)
    assert repr(problem) == "SoftmaxRegression.from_data(<n=120, p=3, classes=3>)"
    assert problem.instability(0.05, 1) is None
    assert "the mean square grows" in problem.instability(3.0, 1)

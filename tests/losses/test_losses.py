"""Losses of a linear predictor: derivatives against values in NumPy, and the responses each is made for."""

import re

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import rdasde as rs


def log_cosh(eta, y):
    """l' of a loss of one's own."""
    return np.tanh(eta - y)


def slope_of_log_cosh(eta, y):
    return 1.0 - np.tanh(eta - y) ** 2


# l(eta, y) in NumPy, and a response away from kinks at the predictors below
LOSSES = {
    "squared": (rs.SquaredLoss(), lambda eta, y: 0.5 * (y - eta) ** 2, 0.3),
    "logistic": (rs.LogisticLoss(), lambda eta, y: np.logaddexp(0.0, eta) - y * eta, 1.0),
    "poisson": (rs.PoissonLoss(), lambda eta, y: np.exp(eta) - y * eta, 2.0),
    "huber": (
        rs.HuberLoss(0.8),
        lambda eta, y: np.where(abs(y - eta) <= 0.8, 0.5 * (y - eta) ** 2, 0.8 * abs(y - eta) - 0.32),
        0.3,
    ),
    "quantile": (rs.QuantileLoss(0.2), lambda eta, y: (y - eta) * (0.2 - (y < eta)), 0.3),
    "smoothed": (
        rs.QuantileLoss(0.2, bandwidth=0.5),
        lambda eta, y: (eta - y) * norm.cdf((eta - y) / 0.5) + 0.5 * norm.pdf((eta - y) / 0.5) - 0.2 * eta,
        0.3,
    ),
    "hinge": (rs.SquaredHingeLoss(), lambda eta, y: 0.5 * np.maximum(1.0 - (2.0 * y - 1.0) * eta, 0.0) ** 2, 1.0),
    "own": (rs.CustomLoss(log_cosh), lambda eta, y: np.log(np.cosh(eta - y)), 0.3),
    "own, both": (rs.CustomLoss(log_cosh, slope_of_log_cosh), lambda eta, y: np.log(np.cosh(eta - y)), 0.3),
}
ETA = np.array([-2.0, -0.4, 0.1, 0.9, 1.7])
STEP = 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_are_those_of_the_loss(name):
    loss, value, y = LOSSES[name]
    ahead, behind = value(ETA + STEP, y), value(ETA - STEP, y)
    np.testing.assert_allclose(loss.derivative(ETA, y), (ahead - behind) / (2.0 * STEP), rtol=1e-7, atol=1e-8)
    curvature = (ahead - 2.0 * value(ETA, y) + behind) / STEP**2
    np.testing.assert_allclose(loss.second_derivative(ETA, y), curvature, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_curvature_is_bounded_as_stated_and_a_nan_stays_one(name):
    loss, _, y = LOSSES[name]
    assert np.all(loss.second_derivative(np.linspace(-5.0, 5.0, 201), y) <= loss.largest_curvature + 1e-12)
    assert np.isnan(loss.derivative(np.nan, y))


def test_what_to_expect_of_a_response():
    np.testing.assert_array_equal(rs.HuberLoss().mean_response(ETA), ETA)
    np.testing.assert_array_equal(rs.LogisticLoss().mean_response(ETA), expit(ETA))
    np.testing.assert_array_equal(rs.PoissonLoss().mean_response(ETA), np.exp(ETA))
    np.testing.assert_array_equal(rs.SquaredHingeLoss().mean_response(ETA), ETA > 0.0)


def test_losses_are_equal_when_they_are():
    assert rs.HuberLoss(1.0) == rs.HuberLoss(1.0) != rs.HuberLoss(2.0)
    assert rs.QuantileLoss(0.5) != rs.QuantileLoss(0.5, 0.1)
    assert rs.SquaredLoss() != rs.LogisticLoss()
    assert len({rs.HuberLoss(1.0), rs.HuberLoss(1.0), rs.CustomLoss(log_cosh), rs.CustomLoss(log_cosh)}) == 2
    shown = [repr(rs.HuberLoss()), repr(rs.QuantileLoss(0.5, 0.1)), repr(rs.CustomLoss(log_cosh))]
    assert shown[:2] == ["HuberLoss(delta=1.345)", "QuantileLoss(0.5, bandwidth=0.1)"]
    assert shown[2] == "CustomLoss(log_cosh, second derivative by differences)"


BAD = {
    "y is 2 somewhere, but must be labels in {0, 1}: pass (y == positive).astype(float).": lambda: (
        rs.LogisticLoss().check_responses([0, 1, 2], 3)
    ),
    "y is 0.5 somewhere, but must be whole numbers from 0 on: pass how often it happened for each row.": lambda: (
        rs.PoissonLoss().check_responses([0, 0.5], 2)
    ),
    "y is an array of shape (2,), but must be an array of shape (3,) of finite numbers: "
    "give one response for each row of X.": lambda: rs.SquaredLoss().check_responses([0.0, 1.0], 3),
    "delta is 0, but must be a finite number > 0: give for example delta=1.345.": lambda: rs.HuberLoss(0),
    "bandwidth is -1, but must be a finite number > 0: leave it out for the loss itself.": lambda: rs.QuantileLoss(
        0.5, -1
    ),
    "derivative is 3 (int), but must be a function derivative(eta, y) that returns a number: "
    "pass one that numba can compile.": lambda: rs.CustomLoss(3),
}


@pytest.mark.parametrize("sentence", BAD)
def test_bad_input_in_one_sentence(sentence):
    with pytest.raises((TypeError, ValueError), match=re.escape(sentence)) as error:
        BAD[sentence]()
    assert str(error.value) == sentence
    assert len(sentence) <= 300


def test_truth_values_are_labels():
    np.testing.assert_array_equal(rs.LogisticLoss().check_responses([True, False], 2), [1.0, 0.0])


def huber(eta, y):
    return min(max(eta - y, -1.0), 1.0)


def welsch(eta, y):  # not convex
    return (eta - y) * np.exp(-0.5 * (eta - y) ** 2)


def logit(eta, y):
    return 1.0 / (1.0 + np.exp(-eta)) - y


def slope_of_logit(eta, y):  # -2e-16 in places, by rounding
    p = 1.0 / (1.0 + np.exp(-eta))
    return 1.0 - p - (1.0 - p) ** 2 if eta < 0.0 else (p - p * p) - 2e-17


@pytest.mark.parametrize("own", [rs.CustomLoss(log_cosh), rs.CustomLoss(huber), rs.CustomLoss(logit, slope_of_logit)])
def test_what_is_negative_by_rounding_is_flat(own):
    """Where a derivative is flat, and beside its kinks: a loss that is convex has no negative second derivative."""
    eta = np.linspace(-40.0, 40.0, 200_001)
    for y in (0.0, 0.3):
        second = own.second_derivative(eta, y)
        assert second.min() == 0.0
        assert second.max() <= 1.1
    smooth = rs.CustomLoss(log_cosh).second_derivative(eta, 0.0)
    np.testing.assert_allclose(smooth, np.cosh(eta) ** -2.0, rtol=0.0, atol=2e-12)


def test_a_loss_that_is_not_convex_is_not_made_so():
    eta = np.linspace(1.01, 5.0, 500)
    expected = (1.0 - eta**2) * np.exp(-0.5 * eta**2)
    np.testing.assert_allclose(rs.CustomLoss(welsch).second_derivative(eta, 0.0), expected, rtol=0.0, atol=2e-12)

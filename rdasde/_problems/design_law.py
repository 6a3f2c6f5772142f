"""Which law a loss has on a Gaussian design."""

from __future__ import annotations

from typing import Any

import numpy as np

from rdasde import _check
from rdasde._losses.base import Loss
from rdasde._losses.logistic import LogisticLoss
from rdasde._losses.poisson import PoissonLoss
from rdasde._losses.squared_hinge import SquaredHingeLoss
from rdasde._problems.hinge_means import hinge_law
from rdasde._problems.laws import LOGISTIC, POISSON, SQUARED, Law
from rdasde._problems.logistic_means import slope_means
from rdasde._problems.mean_table import tabulated
from rdasde._problems.quadrature_means import quadrature_law
from rdasde._problems.radial_means import radial_law


def design_law(loss: Loss, variance: float, noise: Any, noise_std: float) -> Law:
    """Closed forms where there are any, a series in one variable, or a table in two; `variance` is that of s*.

    ValueError where neither follows the means that a loss of the user's or a noise has.
    """
    law = _known_law(loss, variance, noise, noise_std)
    if law is None:
        got = f"{loss!r}, whose means over a normal predictor are not smooth here, or grow too fast"
        raise _check.bad(
            "loss",
            got,
            "one with a smooth derivative that grows slowly, or a function of eta - y with a noise of bounded density",
            "use LinearModel.from_data on rows, or StochasticProblem",
        )
    return law


def _known_law(loss: Loss, variance: float, noise: Any, noise_std: float) -> Law | None:
    if isinstance(loss, LogisticLoss):
        return Law(LOGISTIC, float(slope_means(variance)[0]))
    if isinstance(loss, PoissonLoss):
        return Law(POISSON)
    if isinstance(loss, SquaredHingeLoss):
        return tabulated(hinge_law(), variance, 0.0)
    if loss.is_quadratic:
        return Law(SQUARED, noise_std**2 if noise is None else float(noise.var() + noise.mean() ** 2))
    if loss.is_shift:
        return radial_law(loss, noise, noise_std)
    law = quadrature_law(loss.parameters, noise, noise_std)
    return tabulated(law, variance, law.noise_variance)


def steepness(loss: Loss, variance: float, noise: Any, noise_std: float) -> float:
    """A bound of l'', or ``E l''^2 / E l''`` where ``s = s*`` and there is none."""
    if np.isfinite(loss.largest_curvature):
        return loss.largest_curvature
    if isinstance(loss, PoissonLoss):
        return float(np.exp(1.5 * variance))
    scores, weights = np.polynomial.hermite_e.hermegauss(24)
    predictors = np.sqrt(variance) * scores[:, None]
    if noise is None:
        deviations = noise_std * scores
    else:
        from scipy.special import ndtr

        deviations = noise.ppf(ndtr(scores))
    curvature = np.maximum(loss.second_derivative(predictors, predictors + deviations), 0.0)
    first, second = (float(weights @ curvature**power @ weights) for power in (1, 2))
    return second / first if first > 0.0 else 0.0

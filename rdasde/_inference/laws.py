"""The laws behind online intervals: of the average over a stretch of the stream, and of its last iterate.

**The average.** A step of dual averaging is ``v_{k+1} = v_k - gamma grad_k``, whatever the mirror map, so that the mean
of the m gradients behind an average is known without a sum: ``-(v_n - v_0) / (gamma m)``. It is also
``H (mean w - w*)`` plus a martingale of covariance Sigma / m. Hence the average lies off by

    shift = -H^-1 (v_n - v_0) / (gamma m),

the growth of the threshold (``v = w + g sgn w``: on the support ``-H_SS^-1 sgn(w*_S) (g_n - g_0) / (gamma m)``, the
time average of ``-H_SS^-1 sgn(w*_S) g'(t)``) and what is left of the start, both exactly; and what remains,
``mean w - shift``, has covariance ``H^-1 Sigma H^-1 / m`` in every coordinate, zero or not. Where f is not quadratic,
every gradient is replaced by its linearization at an earlier estimate of w*: what it is beyond that, of order gamma on
average (half the second derivative times the spread of w), is subtracted. With that, ``mean w - shift`` lies off by
-H^-1 times the mean of ``psi_k = grad_k(c) + (H_k - H)(w_k - mean w)``, c the centre of linearization, H_k the row's
own Hessian: a martingale, whatever the path, so that Sigma is the mean square of psi_k (`rdasde._inference.average`).

**The last iterate**, on its support S, started from its state at the begin of the stretch: the linear recursion
``e <- e - kappa (gamma H_SS e + dP(w) (g_k - g_{k-1}) + gamma xi)``, ``Cov xi = Sigma_SS / b``, kappa the slope of the
mirror map (1 for l1), solved mode by mode. In the long run its mean is ``-H_SS^-1 dP(w) g'(t)``, and its covariance
gamma C / b with ``H C + C H' = Sigma`` (theory, sections 2b and 5; Chao & Cheng 2019). Where the start is not yet
forgotten the mean depends on w*, which is estimated from the same rows: what is left of the start times the error of
``mean w - shift`` adds to the recursion's own noise, and the two are correlated (`Known`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats


class Sums(NamedTuple):
    """What a stream has added up until some row."""

    rows: int
    steps: int
    dual: Floats
    primal: Floats
    path: Floats  # of the w at which gradients were taken, one for each step
    roots: Floats  # (d, d); over rows, as all below
    gradients: Floats  # (d, d), of their linearizations
    curvature: Floats  # (d,): what gradients are beyond these


@dataclass(frozen=True)
class Stretch:
    """A stretch of the stream: averages between two points of it.

    Attributes
    ----------
    rows, steps : int
    coef : ndarray of shape (d,)
        Mean of the iterates at which gradients were taken.
    gradient : ndarray of shape (d,)
        Mean gradient, without what curvature adds to it.
    hessian, noise : ndarray of shape (d, d)
        Plug-in H and Sigma: the mean square of gradients around their mean.
    """

    rows: int
    steps: int
    coef: Floats
    gradient: Floats
    hessian: Floats
    noise: Floats

    @staticmethod
    def between(first: Sums, last: Sums, step_size: float, directional: bool) -> Stretch:
        """From one point of the stream to a later one; `directional`: of a unit vector, by Oja's rule."""
        rows, steps = last.rows - first.rows, last.steps - first.steps
        coef = (last.path - first.path) / steps
        gradient = (first.dual - last.dual) / (step_size * steps)
        gradient = gradient - (last.curvature - first.curvature) / rows
        noise = (last.gradients - first.gradients) / rows - np.outer(gradient, gradient)
        hessian = (last.roots - first.roots) / rows
        if directional:
            size = np.linalg.norm(coef)
            unit = coef / (size if size > 0.0 else 1.0)
            image = hessian @ unit
            hessian = float(unit @ image) * np.eye(len(unit)) + 2.0 * np.outer(unit, image) - hessian
        return Stretch(rows, steps, coef, gradient, hessian, noise)


def weak_direction(hessian: Floats) -> bool:
    """Whether some direction has no curvature to speak of, or a negative one."""
    values = np.linalg.eigvalsh(0.5 * (hessian + hessian.T))
    return bool(values[0] <= 1e-10 * max(values[-1], 0.0))


def newton(stretch: Stretch) -> Floats | None:
    """The shift of ``mean w``, from enough rows."""
    d = len(stretch.coef)
    if stretch.rows < 20 * d or not np.all(np.isfinite(stretch.hessian)) or weak_direction(stretch.hessian):
        return None
    shift = np.asarray(np.linalg.solve(stretch.hessian, stretch.gradient), dtype=np.float64)
    return shift if np.all(np.isfinite(shift)) else None


def across(unit: Floats, covariance: Floats) -> Floats:
    """The covariance of ``x / ||x||`` around a unit vector, to first order."""
    covariance = covariance - np.outer(unit, unit @ covariance)
    return covariance - np.outer(covariance @ unit, unit)


class Known(NamedTuple):
    """How surely a target is known that is estimated from the rows of the recursion itself, their noise being xi."""

    cross: Floats  # (d, d): the covariance of the xi of any one step with the estimate
    covariance: Floats  # (d, d)


def iterate_law(
    hessian: Floats,
    noise: Floats,
    rate: float,
    start: Floats,
    pull: Floats,
    steps: int,
    threshold: Callable[[NDArray[np.int64]], Floats],
    known: Known | None = None,
) -> tuple[Floats, Floats] | None:
    """Mean and covariance of e after `steps` steps of ``e <- e - rate (H e + xi) - pull (g_k - g_{k-1})``.

    `noise` is the covariance of xi, `start` the first e, ``threshold(ages)`` g that many steps before the end. None
    where the recursion is not stable. All times are handled at once in the eigenvectors of H; between some hundred
    ages, evenly spread in their logarithm, g counts as a straight line.

    With `known`, the first e is from an estimate of the target, and the covariance is that of e less its mean as that
    has it: the estimate's error is left in it as the start is, and has the same rows' noise in it.
    """
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    decay = 1.0 - rate * values
    if np.max(np.abs(decay)) >= 1.0:
        return None
    ages = np.unique(np.concatenate([[0], np.round(np.geomspace(1.0, steps, 400)).astype(np.int64), [steps]]))
    g = threshold(ages)
    slopes = (g[:-1] - g[1:]) / np.diff(ages)
    powers = decay ** ages[:, None]
    response = slopes @ (powers[:-1] - powers[1:]) / (1.0 - decay)
    mean = vectors @ (decay**steps * (start @ vectors) - response * (pull @ vectors))
    pairs = np.outer(decay, decay)
    modes = rate**2 * (vectors.T @ noise @ vectors) * (1.0 - pairs**steps) / (1.0 - pairs)
    if known is not None:
        cross, covariance = (vectors.T @ matrix @ vectors for matrix in known)
        left = decay**steps
        both = cross * np.outer(rate * (1.0 - left) / (1.0 - decay), left)
        modes = modes + both + both.T + covariance * np.outer(left, left)
    return mean, vectors @ modes @ vectors.T

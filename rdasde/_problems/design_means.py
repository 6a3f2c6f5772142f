"""What a loss of a linear predictor is on a Gaussian design: three functions of two numbers.

``X ~ N(0, H)``, ``s = X'w``, ``s* = X'coef``, Y given s* alone. By Stein's lemma, with ``B = (H coef, H w)``,

* the mean gradient is ``E X l'(s, Y) = A H w + A* H coef``;
* its Jacobian is ``E XX' l''(s, Y) = a H + B K B'``;
* the noise covariance is ``E XX' l'(s, Y)^2 - G G' = tau H + B K' B'``;

where all numbers depend on ``q = w'Hw`` and ``c = w'H coef`` alone. A *law* is a NamedTuple with what these take.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rdasde._compiled.jit import Kernel, generic, implements
from rdasde._problems.logistic_means import noise_moments, slope_means


@generic
def pull(law, q, c, q_star):
    """A and A* of the mean gradient."""


@generic
def bend(law, q, c, q_star):
    """a, K_**, K_*w, K_ww of the Hessian."""


@generic
def scatter(law, q, c, q_star):
    """tau, K'_**, K'_*w, K'_ww of the noise covariance."""


@generic
def tabled(law, q, c, q_star):
    """Of a law that is tabulated: A, A*, ``T = E l'^2``, and ``(E z^2 l'^2 - T) / p^2`` with p z what Y varies by."""


@Kernel
def pull_of(law: Any, q: float, c: float, q_star: float) -> tuple[float, float]:
    """`pull`, called from Python, as those below."""
    return pull(law, q, c, q_star)


@Kernel
def bend_of(law: Any, q: float, c: float, q_star: float) -> tuple[float, float, float, float]:
    return bend(law, q, c, q_star)


@Kernel
def scatter_of(law: Any, q: float, c: float, q_star: float) -> tuple[float, float, float, float]:
    return scatter(law, q, c, q_star)


class SquaredLaw(NamedTuple):
    square: float  # E eps^2


@implements(pull, SquaredLaw)
def _(law, q, c, q_star):
    return 1.0, -1.0


@implements(bend, SquaredLaw)
def _(law, q, c, q_star):
    return 1.0, 0.0, 0.0, 0.0


@implements(scatter, SquaredLaw)
def _(law, q, c, q_star):
    # E XX' (X'e)^2 = e'He H + 2 Hee'H
    return max(q - 2.0 * c + q_star, 0.0) + law.square, 1.0, -1.0, 1.0


class LogisticLaw(NamedTuple):
    curvature: float  # E p'(s*)


@implements(pull, LogisticLaw)
def _(law, q, c, q_star):
    return slope_means(q)[0], -law.curvature


@implements(bend, LogisticLaw)
def _(law, q, c, q_star):
    curvature, third = slope_means(q)
    return curvature, 0.0, 0.0, third


@implements(scatter, LogisticLaw)
def _(law, q, c, q_star):
    return noise_moments(q, c, q_star, law.curvature)


class PoissonLaw(NamedTuple):
    unused: float


@implements(pull, PoissonLaw)
def _(law, q, c, q_star):
    return np.exp(0.5 * q), -np.exp(0.5 * q_star)


@implements(bend, PoissonLaw)
def _(law, q, c, q_star):
    curvature = np.exp(0.5 * q)
    return curvature, 0.0, 0.0, curvature


@implements(scatter, PoissonLaw)
def _(law, q, c, q_star):
    # E l'^2 = e^{2 s} - 2 e^{s + s*} + e^{2 s*} + e^{s*}, and E XX' e^{X'v} = e^{v'Hv/2} (H + H v v' H)
    own, star, twice = np.exp(0.5 * q), np.exp(0.5 * q_star), np.exp(2.0 * q_star)
    doubled, both = np.exp(2.0 * q), np.exp(0.5 * (q + q_star) + c)
    tau = doubled - 2.0 * both + twice + star
    return (
        tau,
        4.0 * twice + star - 2.0 * both - star * star,
        own * star - 2.0 * both,
        (4.0 * doubled) - 2.0 * both - (own * own),
    )

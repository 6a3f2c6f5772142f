"""`check_problem`: whether the pieces of a problem fit together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._problems.base import Problem
from rdasde.testing._samples import compiled_pieces, replay, samples
from rdasde.testing._values import ROUNDING, Values, evaluate, monte_carlo_error, quantile
from rdasde.testing._verdict import broken, differences, hold, show, verdict

_JUMPS = "the mean gradient jumps"
_LONG, _SHORT = 1e-3, 1e-6  # steps of differences: where kinks are, so short that none lies within
_EXACT, _SMOOTH = 1e-10, 1e-8  # of extrapolated differences: of a linear function, of any smooth one


def check_problem(problem: Problem, *, points: ArrayLike | None = None, seed: int = 0) -> dict[str, str]:
    """Check that the pieces of a problem fit together: formulas, compiled code, and samples.

    Parameters
    ----------
    problem : Problem
        One of rdasde's, a `StochasticProblem`, or a class of your own.
    points : array_like of shape (k, d), optional
        Where to look. When not given: two points that `seed` decides, coordinates between 1/4 and 3/4 in size, and
        the minimizer if it is known (unless the mean gradient jumps, as it does there).
    seed : int
        Of the points and the samples: the same seed checks the same numbers.

    Returns
    -------
    dict of str to str
        Each law, and ``"holds"`` or ``"skipped: ..."`` with the reason.

    Raises
    ------
    AssertionError
        At the first law that does not hold; the sentence says which, where, by how much, and what to mend.
    ValueError, TypeError
        If an argument is not what it should be.

    Notes
    -----
    With G the mean gradient, H its Hessian and Sigma the noise covariance:

    * all are finite and of their shapes; Sigma is symmetric and positive semi-definite, and equals B B' for the noise
      factor B;
    * H is the Jacobian of G, by extrapolated central differences (to 1e-8); constant where the problem says that it is
      quadratic; G is odd where it says that -w is as good as w; G vanishes at the minimizer;
    * `expectations` of a W without spread are the values at its mean; `flow` solves ``dw/dt = -G(w)`` (to 1e-10, by
      an explicit Runge-Kutta method of order 8);
    * compiled `drift` and `hessian_product` equal G and H u, with another point in every lane (to 1e-13; 1e-8 where the
      product is made of differences);
    * what a replicate draws is decided by (seed, replicate) alone: the same bits whoever shares its block;
    * samples of the stochastic gradient have mean G and covariance Sigma, those of the noise mean 0 and covariance
      Sigma.

    Samples are judged by z-scores of all means and all products of two coordinates, up to a million gradients and
    200 000 noise vectors at the first point. Standard errors come from the samples, fourth moments included. Products
    of heavy-tailed gradients have skewed means: each score is Hall's (1992) cubic transform of the t-statistic, whose
    law is normal up to terms of order 1/n, so that a tail is trusted as far as third moments are finite and seen. The
    scores are compared with the quantile at ``1e-4 / (4 m)`` for the m of one call (Bonferroni): a problem that
    obeys every law fails with probability at most 1e-4 over the seeds.

    Where a `StochasticProblem` estimates a piece from draws, a law about it has nothing independent to be held
    against, or is held to within `monte_carlo_error`; the answer says so.

    References
    ----------
    P. Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54 (1992) 221-228.

    Examples
    --------
    >>> import rdasde as rs
    >>> laws = rs.testing.check_problem(rs.LinearRegression([0.5, 0.0, -1.0], rs.AR1(3, 0.6)))
    >>> laws["samples"], laws["flow"]
    ('holds', 'holds')
    """
    _check.instance("problem", problem, Problem, "a problem", "pass for example rs.LinearRegression([0.5, 0.0])")
    seed = _check.seed(seed)
    d = problem.dimension
    if points is None:
        generator = np.random.default_rng(seed)
        places: Floats = generator.uniform(0.25, 0.75, (2, d)) * generator.choice([-1.0, 1.0], (2, d))
        if problem.minimizer is not None and not problem.has_jumps:
            places = np.vstack([places, problem.minimizer])
    else:
        places = _check.array("points", points, (None, d), mend="give one row for each point")
    values = evaluate(problem, places, seed)
    return {"shapes": "holds"} | {name: verdict(law(values)) for name, law in _PROBLEM_LAWS.items()}


def _covariance(v: Values) -> str | None:
    for k, noise in enumerate(v.noises):
        law = "noise_covariance is to be symmetric"
        hold(law, v.at(k), noise, noise.T, ROUNDING * v.noise, "mend noise_covariance")
        negative = -float(np.linalg.eigvalsh(noise).min())
        if negative > 1e-7 * v.noise:
            law = "noise_covariance is to have no negative eigenvalue"
            broken(law, v.at(k), negative, 1e-7 * v.noise, "mend noise_covariance")
    return None


def _factor(v: Values) -> str | None:
    minimizer = v.problem.minimizer
    for k, w in enumerate(v.points):
        factor = v.problem.noise_factor(w)
        if np.ndim(factor) != 2 or len(factor) != v.problem.dimension:
            raise AssertionError(
                f"noise_factor is to be of shape ({v.problem.dimension}, m), but {v.at(k)} it has shape "
                f"{np.shape(factor)}: mend noise_factor."
            )
        # at the minimizer a factor may hold the root of what rounding leaves of 0
        known = 1e-7 if minimizer is not None and np.allclose(w, minimizer) else ROUNDING
        law = "noise_factor times its transpose is to be noise_covariance"
        hold(law, v.at(k), factor @ factor.T, v.noises[k], known * v.noise, "mend either")
    return None


def _jacobian(v: Values) -> str | None:
    if v.problem.has_jumps:
        return _JUMPS
    if v.estimates("hessian"):
        return "the Hessian is made of differences of an estimated mean gradient"
    if v.estimates("mean_gradient"):
        return "the mean gradient is estimated, and no Monte Carlo error of its differences is known"
    for k, w in enumerate(v.points):
        steps = (_SHORT if v.problem.has_kinks else _LONG) * np.maximum(1.0, np.abs(w))
        wide, narrow = (differences(v.problem.mean_gradient, w, scale * steps) for scale in (1.0, 0.5))
        jacobian = (4.0 * narrow - wide) / 3.0
        known = _EXACT if v.problem.is_quadratic else _SHORT if v.problem.has_kinks else _SMOOTH
        law = "hessian is to be the Jacobian of mean_gradient"
        hold(law, v.at(k), v.hessians[k], jacobian, known * v.curvature, "mend either")
    return None


def _quadratic(v: Values) -> str | None:
    if not v.problem.is_quadratic:
        return "the problem is not quadratic"
    for k, hessian in enumerate(v.hessians):
        law = "hessian is to be constant, since is_quadratic is True"
        hold(law, v.at(k), hessian, v.hessians[0], ROUNDING * v.curvature, "mend hessian or is_quadratic")
    return None


def _even(v: Values) -> str | None:
    if not v.problem.is_even:
        return "the problem is not even"
    for k, w in enumerate(v.points):
        law = "mean_gradient is to be odd, since is_even is True"
        expected, mend = -v.gradients[k], "mend mean_gradient or is_even"
        hold(law, v.at(k), v.problem.mean_gradient(-w), expected, ROUNDING * v.slope, mend)
    return None


def _minimum(v: Values) -> str | None:
    if v.problem.has_jumps:
        return _JUMPS
    minimizer = v.problem.minimizer
    if minimizer is None:
        return "no minimizer is known"
    if minimizer.shape != (v.problem.dimension,):
        raise AssertionError(
            f"minimizer is to be of shape ({v.problem.dimension},), but it has shape {minimizer.shape}: mend minimizer."
        )
    gradient, allowed = v.problem.mean_gradient(minimizer), 2e-14 * v.slope * np.sqrt(v.problem.dimension)
    if v.estimates("mean_gradient"):
        allowed = quantile(len(minimizer)) * float(monte_carlo_error(v.problem, minimizer).max())
    law, mend = "mean_gradient is to vanish at minimizer", "mend it, or polish the minimizer by Newton's steps"
    hold(law, f"at w = {show(minimizer)}", gradient, 0.0, allowed, mend)
    return None


def _expectations(v: Values) -> str | None:
    d = v.problem.dimension
    for k, w in enumerate(v.points):
        means = v.problem.expectations(w, np.zeros((d, d)))
        law = "expectations of a W without spread are to be the values at its mean"
        for name, got, expected, unit in (
            ("mean_gradient", means.gradient, v.gradients[k], v.slope),
            ("hessian", means.hessian(np.eye(d)), v.hessians[k], v.curvature),
            ("noise_covariance", means.whole_noise(), v.noises[k], v.noise),
        ):
            hold(law, f"for {name} {v.at(k)}", got, expected, 1e-10 * unit, "mend expectations")
    return None


def _flow(v: Values) -> str | None:
    rate = v.problem.fastest_rate()
    if type(v.problem).flow is Problem.flow or not rate > 0.0:
        return "the problem has no flow in closed form"
    times = np.array([0.0, 0.3, 1.0, 3.0, 9.0]) / rate
    flow = v.problem.flow(v.points[0], times)
    if flow is None:
        return "the problem has no flow in closed form"
    from scipy.integrate import solve_ivp

    solution = solve_ivp(
        lambda t, w: -v.problem.mean_gradient(w),
        (0.0, times[-1]),
        v.points[0],
        "DOP853",
        times,
        rtol=1e-12,
        atol=1e-13 * float(np.abs(v.points[0]).max()),
    )
    allowed = 1e-10 * float(np.abs(solution.y).max())
    law = "flow is to solve dw/dt = -mean_gradient(w)"
    hold(law, f"from w = {show(v.points[0])}", flow, solution.y.T, allowed, "mend flow or mean_gradient")
    return None


_PROBLEM_LAWS: dict[str, Callable[[Values], str | None]] = {
    "noise_covariance": _covariance,
    "noise_factor": _factor,
    "hessian": _jacobian,
    "is_quadratic": _quadratic,
    "is_even": _even,
    "minimizer": _minimum,
    "expectations": _expectations,
    "flow": _flow,
    "compiled pieces": compiled_pieces,
    "replicates": replay,
    "samples": samples,
}

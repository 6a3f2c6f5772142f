"""`suggest`: step size, batch, threshold and exponent for a problem and a horizon, and why these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.arguments import check_instance_of_problem
from rdasde._problems.base import Problem
from rdasde._regularizers.l1 import L1
from rdasde._schedule import PowerLaw

LOAD = 0.1  # step_size tr(H) / batch_size, at most: what an iterate's spread adds to the noise stays below a twentieth
FASTEST = 0.2  # step_size times the largest eigenvalue, at most, however large the batch
MU = 0.6  # within (1/2, 1): supports are recovered, and the lag of the mean falls like t^(mu - 1)
ERROR = 0.05  # of any coordinate that is zero to be found active at the horizon
_SMALL = 1e-140  # standard deviations whose squares are numbers, and so is what is reckoned with these
LAG = 0.5  # of a coefficient, that the growth of the threshold may take from it


class _Local(NamedTuple):
    """The problem at one point."""

    values: Floats  # eigenvalues of the Hessian
    spread: Floats  # diagonal of C, HC + CH' = Sigma: the variance of an iterate over step_size / batch_size
    noise: Floats  # diagonal of Sigma
    pull: Floats  # |H_SS^-1 sgn(w*_S)| by coordinate, 0 off the support
    active: NDArray[np.bool_] | None  # the support, where it is known and not everything


def suggest(
    problem: Problem, horizon: float, *, accuracy: float | None = None, steps: int = 1_000_000, level: float = 0.95
) -> RDA:
    """An algorithm for a problem: its step size, batch and threshold from the theory, with reasons.

    Parameters
    ----------
    problem : Problem
        What is learned.
    horizon : float
        Length of the run in units of ``t = n * step_size``.
    accuracy : float, optional
        Standard deviation that a coordinate of the last iterate may have. When not given, a quarter of the smallest
        coefficient of the minimizer, where some of its coordinates are zero; elsewhere only stability decides.
    steps : int
        Take a larger batch, as long as that is worth it, rather than more steps than this.
    level : float
        With which probability no coordinate that should be zero is active at the horizon.

    Returns
    -------
    RDA
        With `L1` and `PowerLaw`; ``.reasons`` are sentences on every number.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Notes
    -----
    * ``step_size tr(H) / batch_size <= 0.1``: far from mean-square instability, the noise is nearly that at w*.
    * At its place a coordinate has the variance ``step_size C_jj / batch_size``, ``HC + CH' = Sigma`` (theory,
      section 5), which `accuracy` bounds.
    * Where w*_j = 0 nothing pulls the dual back inside the threshold: it spreads like
      ``(step_size Sigma_jj t / batch_size)^(1/2)``. The threshold at the horizon is as many of these as the largest of
      d normal numbers stays below with probability `level`: ``c = q (Sigma_jj / batch_size)^(1/2) horizon^(1/2 - mu)``.
    * Its growth shifts active coordinates by ``-H_SS^-1 sgn(w*_S) g'(t)``: at most half of each coefficient at the
      horizon.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, -0.3, 0.0, 0.0], rs.AR1(4, 0.5))
    >>> algorithm = rs.suggest(problem, horizon=20.0)
    >>> algorithm.schedule.mu
    0.6
    >>> print(algorithm.reasons[0])  # doctest: +ELLIPSIS
    step_size 0.011...: a coordinate of the last iterate has a standard deviation of 0.07...
    """
    check_instance_of_problem(problem)
    horizon = _check.number("horizon", horizon, above=0.0, mend="give for example horizon=10.0")
    if accuracy is not None:
        mend = "give a standard deviation, such as 0.05"
        accuracy = _check.number("accuracy", accuracy, above=0.0, mend=mend)
        if not _SMALL < accuracy < 1.0 / _SMALL:
            raise _check.bad("accuracy", accuracy, f"a number > {_SMALL:g} and < {1.0 / _SMALL:g}", mend)
    most = _check.count("steps", steps, mend="give a number of steps, such as 100_000")
    level = _check.level(level)
    local = _at_minimizer(problem)
    if not local.values.max() > 0.0:
        raise _check.bad(
            "problem", f"{problem!r}, whose Hessian is zero", "one that pulls somewhere", "give another design"
        )
    reasons: list[str] = []
    share = _step(problem, local, horizon, accuracy, level, reasons)  # step_size / batch_size
    if share > horizon:
        share = horizon / 100.0
        reasons[0] = f"step_size {share:.3g}: a hundred steps within the horizon, and more would be allowed."
    batch = _batch(local, share, horizon, most, reasons)
    step_size = share * batch
    reasons[0] = reasons[0].replace(f"step_size {share:.3g}", f"step_size {step_size:.3g}")
    scores = _scores(local, level)
    noisiest = float(np.sqrt(_idle(local).max() / batch))
    c = float(f"{scores * noisiest * horizon ** (0.5 - MU):.3g}")
    reached = c * np.sqrt(step_size) * horizon**MU
    reasons.append(
        f"c = {c:g}, mu = {MU:g}: at the horizon the threshold is {reached:.3g}, {scores:.3g} standard deviations of a "
        f"dual coordinate that rests inside it: with probability {level:g} none of them is active."
    )
    if local.active is None:
        reasons.append(
            "No coordinate of the minimizer is known to be zero, so that how small a coefficient matters is not known: "
            "pass accuracy= to say so."
        )
    slowest = float(local.values[local.values > 1e-9 * local.values.max()].min())
    if horizon * slowest < 3.0:
        reasons.append(
            f"The slowest direction relaxes in t = {1.0 / slowest:.3g}: up to the horizon it has gone "
            f"{100.0 * -np.expm1(-horizon * slowest):.0f} % of its way; a longer horizon is better."
        )
    algorithm = RDA(float(f"{step_size:.3g}"), L1(), PowerLaw(c, MU), batch)
    object.__setattr__(algorithm, "reasons", tuple(reasons))
    return algorithm


def _at_minimizer(problem: Problem) -> _Local:
    """Hessian and noise where the run ends; at a start where that is not known."""
    point = problem.minimizer
    if point is None:
        try:
            point = problem.default_start()
        except ValueError:  # zero is no start there
            point = np.full(problem.dimension, problem.dimension**-0.5)
    hessian, noise = problem.smoothed_hessian(point), problem.noise_covariance(point)
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
    values = np.maximum(values, 0.0)
    sums = values[:, None] + values
    turned = vectors.T @ noise @ vectors
    inner = np.where(sums > 1e-9 * values.max(), turned / np.where(sums > 0.0, sums, 1.0), 0.0)
    spread = np.einsum("ij,jk,ik->i", vectors, inner, vectors)
    pull, active = np.zeros(problem.dimension), None
    if problem.minimizer is not None and np.any(point == 0.0) and np.any(point != 0.0):
        active = np.asarray(point != 0.0)
        pull[active] = np.abs(np.linalg.pinv(hessian[np.ix_(active, active)]) @ np.sign(point[active]))
        spread = np.where(active, spread, 0.0)
    return _Local(values, np.maximum(spread, 0.0), np.maximum(np.diagonal(noise), 0.0), pull, active)


def _idle(local: _Local) -> Floats:
    """The noise of coordinates that may rest at zero."""
    return local.noise if local.active is None else local.noise[~local.active]


def _scores(local: _Local, level: float) -> float:
    """Below how many standard deviations all idle coordinates stay with that probability."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + 0.5 * level ** (1.0 / len(_idle(local)))))


def _step(
    problem: Problem, local: _Local, horizon: float, accuracy: float | None, level: float, reasons: list[str]
) -> float:
    """The largest step size over batch size that everything allows, and what decided."""
    trace = float(local.values.sum())
    bounds = {"stable": LOAD / trace}
    coef = None if local.active is None or problem.minimizer is None else np.abs(problem.minimizer[local.active])
    wanted = accuracy if accuracy is not None else None if coef is None else 0.25 * float(coef.min())
    widest = float(local.spread.max())
    if wanted is not None and widest > 0.0:
        bounds["accurate"] = wanted**2 / widest
    growth = MU * _scores(local, level) * float(np.sqrt(_idle(local).max() / horizon))  # g'(horizon) / share^(1/2)
    if coef is not None and growth > 0.0 and local.active is not None:
        pull = local.pull[local.active]
        bounds["lagging"] = float(np.min(LAG * coef / (growth * np.maximum(pull, 1e-300)))) ** 2
    decided = min(bounds, key=lambda name: bounds[name])
    share = float(f"{bounds[decided]:.3g}")
    words = {
        "stable": f"step_size * tr(H) / batch_size is {LOAD:g}, far from where the mean square is unstable",
        "accurate": f"a coordinate of the last iterate has a standard deviation of {wanted or 0.0:.3g} at most"
        + ("" if accuracy is not None else ", a quarter of the smallest coefficient"),
        "lagging": f"the growing threshold holds active coordinates back by half of a coefficient at most at t = "
        f"{horizon:g}",
    }
    reasons.append(f"step_size {share:.3g}: {words[decided]}.")
    return share


def _batch(local: _Local, share: float, horizon: float, most: int, reasons: list[str]) -> int:
    """Larger than 1 where that spares steps, as long as single steps stay short."""
    needed = horizon / share
    room = FASTEST / (share * float(local.values.max()))
    batch = max(1, int(min(np.ceil(needed / most), room)))
    if batch > 1:
        reasons.append(f"batch_size {batch}: {horizon / (share * batch):,.0f} steps in place of {needed:,.0f}.")
    if needed / batch > most:
        reasons.append(
            f"It takes {needed / batch:,.0f} steps, more than {most:,}: steps cannot be longer than a fifth of the "
            "fastest relaxation, or batches smaller for the same noise."
        )
    return batch

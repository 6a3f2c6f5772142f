"""Whether the closure holds: a few paths of the same diffusion tell."""

from __future__ import annotations

import warnings

import numpy as np

from rdasde._approximations.paths import dual_paths
from rdasde._check import Floats
from rdasde._engine.run import MonteCarlo, Run
from rdasde._engine.time_axis import TimeAxis
from rdasde._errors import ClosureWarning

_PATHS, _SEED = 256, 0
_TIMES = 6  # at which they are compared
_CHANCE = 5.0  # standard errors that chance is allowed: a false alarm in 2e6 comparisons
_ROOM = 0.25  # what the closure may be off by beyond that: standard deviations, or in the logarithm of one


def compare(run: Run, closure: dict[str, Floats], monte_carlo: MonteCarlo) -> dict[str, float]:
    """Compare the closure with a few paths of the same diffusion: near a saddle, where V has two humps, it fails.

    The largest gap of the means in standard deviations, and of the logarithms of these, over coordinates and a few
    times; a ClosureWarning where one is past what so few paths leave open and `_ROOM`. Called by the `solve` of a
    method, which `approximate` calls: the warning points at the line of the user.
    """
    axis = run.axis
    later = np.flatnonzero(axis.times > 0.0)
    if not later.size:
        return {}
    picked = np.unique(later[np.linspace(0, len(later) - 1, _TIMES).astype(int)])
    seldom = TimeAxis(axis.steps[picked], axis.times[picked], axis.total)
    dual, _ = dual_paths(run._replace(axis=seldom), MonteCarlo(_PATHS, _SEED, monte_carlo.executor))
    std = dual.std(axis=0, ddof=1)
    moving = std > 0.0
    safe = np.where(moving, std, 1.0)
    shift = np.where(moving, np.abs(closure["dual_mean"][picked] - dual.mean(axis=0)) / safe, 0.0)
    closure_std = np.where(moving, closure["dual_std"][picked], 1.0)
    ratio = np.abs(np.log(np.maximum(closure_std, 1e-300) / safe))
    for gap, chance, what in (
        (shift, _CHANCE, "mean is off by {:.2g} standard deviations"),
        # the logarithm of a standard deviation from n paths has the standard error 1 / sqrt(2 n)
        (ratio, _CHANCE / np.sqrt(2.0), "standard deviation is off by a factor of {:.2g}"),
    ):
        worst = np.unravel_index(int(gap.argmax()), gap.shape)
        if gap[worst] > chance / np.sqrt(_PATHS) + _ROOM:
            size = gap[worst] if gap is shift else np.exp(gap[worst])
            warnings.warn(
                f"The closure's {what.format(size)} at t = {seldom.times[worst[0]]:g}, coordinate {worst[1]}, against "
                f"{_PATHS} paths of the same diffusion: use method='paths' there.",
                ClosureWarning,
                stacklevel=4,
            )
            break
    return {"checked_mean": float(shift.max()), "checked_std": float(ratio.max())}

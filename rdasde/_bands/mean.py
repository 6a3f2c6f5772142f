"""Where the mean of runs lies, as against where a run does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rdasde import _check
from rdasde._bands.quantiles import by_rank, need_spread, standardized
from rdasde._check import Floats
from rdasde._engine.run import TOLERANCE

if TYPE_CHECKING:
    import xarray as xr

_BOOTSTRAP = 2000  # draws for the simultaneous band of a mean, at least
_MANY = 200  # draws from which on a spread is as good as known: Student's quantile is within 1 % of the normal one
_CHECKED = 256  # runs that a closure was checked with, where the result does not say
_CHANCE = 5.0  # standard errors by which a check may be off by chance: only what is beyond them is known


def mean_band(
    result: xr.Dataset, space: str, level: float, together: int, replicates: int | None
) -> tuple[Floats, Floats]:
    moments = standardized(np.asarray(result[space].values)) if "dual" in result else None
    mean, std = (result[f"{space}_mean"].values, result[f"{space}_std"].values) if moments is None else moments[:2]
    draws = _draws(result)
    if draws == 0 and replicates is None:
        raise _check.bad(
            "replicates",
            None,
            "given, since the result is no Monte Carlo",
            "pass replicates=n for the interval of the mean over n runs",
        )
    need_spread(draws)
    share = (1.0 / draws if draws else 0.0) + (1.0 / replicates if replicates else 0.0)
    bias = _bias(result) / math.sqrt(share)
    reach: Any = _reach(level, bias, draws - 1 if 0 < draws < _MANY else None)
    if together and moments is not None:
        reach = _bootstrap(moments.scaled, level, together) + bias
    half = reach * std * math.sqrt(share)
    return mean - half, mean + half


def _draws(result: xr.Dataset) -> int:
    """Of Monte Carlo behind the moments of a result; 0 where there is none."""
    if "dual" in result:
        return len(result["dual"])
    return int(result.sizes.get("path", result.attrs.get("paths", result.attrs.get("replicates", 0))))


def _bias(result: xr.Dataset) -> float:
    """What the mean of a result may be off by, in standard deviations, beside its Monte Carlo error."""
    attributes = result.attrs
    if "method" not in attributes:  # the algorithm itself
        return 0.0
    if _draws(result):
        return float(attributes.get("tolerance", TOLERANCE))
    chance = _CHANCE / math.sqrt(float(attributes.get("checked_replicates", _CHECKED)))
    return max(0.0, float(attributes.get("checked_mean", 0.0)) - chance)


def _reach(level: float, bias: float, freedom: int | None) -> float:
    """q with ``P(|T + bias| <= q) = level``, T of Student's law, or normal where the spread is known."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    def below(x: float) -> float:
        return float(ndtr(x) if freedom is None else stdtr(freedom, x))

    p = 0.5 + level / 2.0
    unbiased = float(ndtri(p) if freedom is None else stdtrit(freedom, p))

    def excess(q: float) -> float:
        # 1 - level as the mass of two tails: it keeps its digits where the level is close to 1
        return below(bias - q) + below(-bias - q) - (1.0 - level)

    most = unbiased + bias
    if excess(unbiased) <= 0.0 or excess(most) >= 0.0:  # of no bias, or of so little that rounding decides
        return most
    return float(brentq(excess, unbiased, most, xtol=1e-12))


def _bootstrap(scaled: Floats, level: float, together: int) -> Floats:
    """The level's quantile of the largest deviation of a mean, over times (coordinate), or over these, too.

    The mean of standardized paths is a Gaussian process with their correlation: a multiplier bootstrap, divided by what
    an estimated spread scatters by.
    """
    generator, n = np.random.default_rng(0), len(scaled)
    number = max(_BOOTSTRAP, n)  # n paths can tell the level, so that as many draws can
    weights = generator.standard_normal((number, n)) / np.sqrt(generator.chisquare(n - 1, (number, 1)))
    largest = np.array([np.abs(weights @ scaled[:, :, j]).max(axis=1) for j in range(scaled.shape[2])])
    return by_rank(largest.max(axis=0) if together == 2 else largest.T, level)

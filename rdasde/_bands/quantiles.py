"""Quantiles and simultaneous bounds from draws, and from moments.

Quantiles of draws are taken by rank: a new draw lies between the k-th smallest and the k-th largest of n with
probability ``(n + 1 - 2 k) / (n + 1)`` exactly, whatever their law. A level that asks for k < 1 is more than n draws
can tell: paths, of which there could be more, are then refused; for runs a normal law stands in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats

if TYPE_CHECKING:
    import xarray as xr

_SLACK = 1e-9  # of ranks, which are rounded


def need_draws(level: float, number: int, kind: str, sides: int = 2) -> None:
    """ValueError for a level beyond what so many draws of a `kind` ("path" or another) can tell by rank.

    Of both ends, or (``sides=1``) of the upper one alone.
    """
    tail = (1.0 - level) / sides
    if not told(level, number, sides):
        enough = math.ceil((1.0 / tail - 1.0) * (1.0 - _SLACK))
        plural, more = ("paths", "paths") if kind == "path" else ("runs", "replicates")
        number_of = f"{number} {plural if number != 1 else plural[:-1]}"
        raise _check.bad(
            "level",
            f"{level:g} from {number_of}",
            "one whose quantiles lie among them",
            f"pass {more}={enough} or more, or a lower level"
            + (", or use method='closure'" if sides == 2 and kind == "path" else ""),
        )


def told(level: float, number: int, sides: int = 2) -> bool:
    """Whether the ranks of so many draws reach as far as the level."""
    return (number + 1) * (1.0 - level) / sides >= 1.0 - _SLACK


def between_ranks(samples: Floats, level: float) -> tuple[Floats, Floats]:
    lower, upper = by_rank(samples, (0.5 - level / 2.0, 0.5 + level / 2.0))
    return lower, upper


def prediction(samples: Floats, level: float) -> tuple[Floats, Floats]:
    """Where one more normal draw lies, from few: mean and spread are estimated, too."""
    from scipy.special import stdtrit

    need_spread(len(samples))
    mean, std, _ = standardized(samples)
    reach = float(stdtrit(len(samples) - 1, 0.5 + level / 2.0)) * math.sqrt(1.0 + 1.0 / len(samples))
    return mean - reach * std, mean + reach * std


def need_spread(draws: int) -> None:
    if draws == 1:
        raise _check.bad(
            "result", "of a single path or run", "of several, whose spread is seen", "draw at least two of them"
        )


def by_rank(samples: Floats, probabilities: ArrayLike) -> Floats:
    """Quantiles over the first axis, such that a new draw lies below them with these probabilities.

    Order statistics at the rank ``(n + 1) p``, between two of them linear in it.
    """
    return np.asarray(np.quantile(samples, np.asarray(probabilities, dtype=np.float64), axis=0, method="weibull"))


def at_scores(result: xr.Dataset, scores: ArrayLike) -> Floats:
    """Dual quantiles (score, time, coordinate) at normal scores, of a result without paths.

    Linear in the score between those kept, and beyond the last ones, which is a normal tail; normal throughout where
    only moments are known.
    """
    wanted = np.asarray(scores, dtype=np.float64)
    if "dual_quantile" not in result:
        return np.asarray(result["dual_mean"].values + wanted[:, None, None] * result["dual_std"].values)
    known, kept = result["score"].values, result["dual_quantile"].values
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    weight = ((wanted - known[right - 1]) / (known[right] - known[right - 1]))[:, None, None]
    return np.asarray((1.0 - weight) * kept[right - 1] + weight * kept[right])


class Moments(NamedTuple):
    """Mean and standard deviation over draws, and the draws in these terms."""

    mean: Floats
    std: Floats
    scaled: Floats  # 0 where nothing moves


def standardized(samples: Floats) -> Moments:
    mean = samples.mean(axis=0)
    std = samples.std(axis=0, ddof=1) if len(samples) > 1 else np.zeros_like(mean)
    moving = std > 0.0
    return Moments(mean, std, np.where(moving, (samples - mean) / np.where(moving, std, 1.0), 0.0))


def sup_band(samples: Floats, level: float, together: int) -> tuple[Floats, Floats]:
    mean, std, scaled = standardized(samples)
    n = len(samples)
    if n > 2:
        # from the mean of the others and by their spread: a new path is not among those it is measured by, either
        spread = ((n - 1.0) - n / (n - 1.0) * scaled**2) / (n - 2.0)
        scaled = scaled * (n / (n - 1.0)) / np.sqrt(np.maximum(spread, np.finfo(float).tiny))
    # times where nothing moves yet (t = 0) take no part
    reach = by_rank(np.abs(scaled).max(axis=(1, 2) if together == 2 else 1), level)
    return mean - reach * std, mean + reach * std

"""What a method says of a problem, with all that is to be counted against: bands, quantiles, warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rdasde._bands.band import band
from rdasde._bands.quantiles import at_scores, by_rank
from rdasde._bands.variables import SPACES
from rdasde._check import Floats
from rdasde._errors import AccuracyWarning, CostWarning
from rdasde._regularizers.base import Regularizer

if TYPE_CHECKING:
    import xarray as xr

PROBABILITIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995)
ROUNDING = 1e-12  # of a state that does not move, as a share of it
_SIDES = {"lower": -1.0, "upper": 1.0}


class Theory(NamedTuple):
    """An approximation, or why there is none."""

    law: xr.Dataset | None
    ends: Floats  # (space, end, time, coordinate)
    quantiles: Floats  # in the dual, (probability, time, coordinate); NaN where paths cannot tell them
    draws: int | None  # how many paths its quantiles come from, if any
    seconds: float
    warned: str
    refused: str


def approximated(
    refusal: ValueError | None, level: float, mirror: Regularizer, solve: Callable[[], xr.Dataset]
) -> Theory:
    """What `solve` finds, with its bands and quantiles; a failure is part of the answer."""
    nothing = np.full((len(SPACES), 2, 1, 1), np.nan)
    missing = Theory(None, nothing, np.full((len(PROBABILITIES), 1, 1), np.nan), None, np.nan, "", str(refusal or ""))
    if refusal is not None:
        return missing
    begin, failed, law = time.perf_counter(), "", None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            law = solve()
        except ArithmeticError as error:  # no finite solution, or paths that diverge
            failed = str(error)
    seconds, warned = time.perf_counter() - begin, _ours(caught)
    if law is None:
        return missing._replace(seconds=seconds, refused=failed, warned=warned)
    ends = np.full((len(SPACES), 2, *law["dual_mean"].shape), np.nan)
    for s, space in enumerate(SPACES):
        # through a map that couples coordinates only paths have a primal band
        if space == "dual" or "dual" in law or mirror.separable:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", AccuracyWarning)  # how often it holds is what is to be counted
                edges = band(law, level, space=space, regularizer=mirror)
            # what does not move lies on its band, up to rounding
            ends[s] = [edges[end].values + side * ROUNDING * np.abs(edges[end].values) for end, side in _SIDES.items()]
    draws = law.sizes.get("path")
    return Theory(law, ends, _quantiles(law, draws), draws, seconds, warned, "")


def _quantiles(law: xr.Dataset, draws: int | None) -> Floats:
    from scipy.special import ndtri

    if draws is None:
        return at_scores(law, ndtri(PROBABILITIES))
    p = np.array(PROBABILITIES)
    told = (draws + 1) * np.minimum(p, 1.0 - p) >= 1.0 - 1e-9
    return np.where(told[:, None, None], by_rank(law["dual"].values, p), np.nan)


def _ours(caught: list[warnings.WarningMessage]) -> str:
    """What rdasde itself warned of; anything else is passed on, but for the price: a dear law may be a right one."""
    said = []
    for item in caught:
        if issubclass(item.category, CostWarning):
            continue
        if item.category.__module__.startswith("rdasde"):
            said.append(f"{item.category.__name__}: {item.message}")
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    return " ".join(said)

"""A law beside runs of the algorithm: by how much they differ beyond chance, in each respect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._approximations.tails import Cases, settled, tails
from rdasde._bands.band import band
from rdasde._bands.quantiles import standardized
from rdasde._bands.variables import drawn, names_of
from rdasde._check import Floats
from rdasde._regularizers.base import Regularizer

if TYPE_CHECKING:
    import xarray as xr

_LEVEL = 0.95  # of the band whose coverage is looked at

# what a law may be off by, beyond chance, without a word
_ROOM_MEAN = 0.25  # standard deviations
_ROOM_STD = 0.15  # in its logarithm
_ROOM_ZERO = 0.04  # in P(w_j = 0),
_ROOM_FIRST = 0.25  # and after n steps an n-th of this: at first the dual is a sum of a few products of normal numbers
_ROOM_SHARE = 0.018  # in the coverage of one coordinate at one time
_ROOM_AVERAGE = 0.012  # in the coverage at one time, averaged over coordinates
_ROOM_COORDINATE = 0.015  # in that of one coordinate, averaged over times
_DISTINCT = 0.9  # share of runs whose values differ, from which on these count as continuous
FALSE_ALARM = 1e-4  # of each kind of comparison, of all times and coordinates together
Attributes = dict[str, float | str]  # of a result, as netCDF keeps them
_DOUBT, _DOUBTFUL_ROOM = 0.2, 0.5  # the same, and the share of a room, at which more runs are asked


class Miss(NamedTuple):
    """Where a law is furthest off, in one respect."""

    excess: float  # in units of what is let pass
    what: str


class Respect(NamedTuple):
    """In which a law is compared: by (time, coordinate), (time,) or over all (1,)."""

    gap: Floats
    error: Floats  # standard error of the gap
    room: float | Floats
    say: Callable[[float], str]

    def furthest(self, law: xr.Dataset, false_alarm: float, share_of_room: float) -> Miss:
        """The largest gap, in units of the room and of what chance makes of none once in ``1 / false_alarm`` cases."""
        from scipy.special import ndtri

        reach = -ndtri(0.5 * false_alarm / self.gap.size)
        excess = np.abs(self.gap) / (reach * self.error + share_of_room * self.room)
        excess = np.where(np.isnan(excess), np.inf, excess)
        at = np.unravel_index(int(excess.argmax()), excess.shape)
        what = self.say(float(self.gap[at]))
        if len(self.gap) == law.sizes["time"] and "on average" not in what:
            what += f" at t = {law['time'].values[at[0]]:g}"
        if self.gap.ndim == 2:
            what += f", coordinate {law['coordinate'].values[at[1]]}"
        return Miss(float(excess[at]), what)


class Comparison(NamedTuple):
    """Of a law with runs of the algorithm."""

    attributes: Attributes
    misses: list[Miss]  # past what chance and room leave open
    doubts: list[Miss]  # past what would pass without a second look

    def finding(self, against: str) -> Finding:
        """The largest miss in words, if there is one."""
        number = int(self.attributes["checked_replicates"])
        worst = [f"{max(self.misses).what}, against {number} {against}"] if self.misses else []
        return Finding(self.attributes, worst)


class Finding(NamedTuple):
    """What a result says of its law, and what is to be warned of."""

    attributes: Attributes
    complaints: list[str]


def compare(
    law: xr.Dataset,
    mirror: Regularizer,
    steps: NDArray[np.int64],
    states: dict[str, Floats],
    false_alarm: float = FALSE_ALARM,
    tails_too: bool = True,
) -> Comparison:
    """`steps` (time,): after how many the law and the states, (run, time, coordinate), are those of.

    `tails_too`: whether the states have the tails of the algorithm, which those of the law are to be compared with.
    """
    dual, primal = states["dual"], states["primal"]
    number = len(dual)
    attributes: Attributes = {"checked_replicates": float(number)}
    mean, std = dual.mean(axis=0), dual.std(axis=0, ddof=1)
    moving = std > 1e-9 * (np.abs(mean) + 1e-300)
    if not moving.any():
        return Comparison(attributes, [], [])
    safe = np.where(moving, std, 1.0)
    sampling = 1.0 / number + 1.0 / law.sizes.get("path", np.inf)  # paths have an error of their own
    of_std = np.maximum(_kurtosis(dual) - 1.0, 0.5) / (4.0 * number)  # the variance of the logarithm of one
    if "dual" in law:
        of_std += np.maximum(_kurtosis(law["dual"].values) - 1.0, 0.5) / (4.0 * law.sizes["path"])

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        shift = np.where(moving, (law["dual_mean"].values - mean) / safe, 0.0)
        ratio = np.where(moving, np.log(np.maximum(law["dual_std"].values, 1e-300) / safe), 0.0)
    ends = band(law, _LEVEL, space="dual", regularizer=mirror)
    inside = (dual >= ends["lower"].values) & (dual <= ends["upper"].values)
    share = np.where(moving, inside.mean(axis=0) - _LEVEL, 0.0)
    by_run, coordinates = _shares(inside, moving, 1)
    by_coordinate, times = _shares(inside, moving, 0)
    zero = law["probability_zero"].values - (primal == 0.0).mean(axis=0)

    binomial = _LEVEL * (1.0 - _LEVEL)
    expected = np.clip(law["probability_zero"].values, 0.5 / number, 1.0 - 0.5 / number)
    # coordinates and times move together: what an average over them is worth is seen between runs
    over_coordinates = np.maximum(by_run.var(axis=0, ddof=1), binomial / coordinates)
    over_times = np.maximum(by_coordinate.var(axis=0, ddof=1), binomial / times)
    over_all = np.maximum(by_run.mean(axis=1).var(ddof=1), binomial / dual[0].size)[None]

    def holds(gap: float) -> str:
        return f"its {100 * _LEVEL:.0f} % band in the dual holds {100 * (gap + _LEVEL):.1f} %"

    others = [_of_another(law, name, states[name]) for name in names_of(law) if name in states]
    respects = (
        Respect(shift, np.sqrt(sampling), _ROOM_MEAN, "its mean is off by {:+.2g} standard deviations".format),
        Respect(
            ratio,
            np.sqrt(of_std),
            _ROOM_STD,
            lambda gap: f"its standard deviation is {np.exp(min(gap, 700.0)):.3g} times as large",
        ),
        Respect(share, np.sqrt(binomial * sampling), _ROOM_SHARE, holds),
        Respect(
            zero,
            np.sqrt(expected * (1.0 - expected) * sampling),
            _ROOM_ZERO + _ROOM_FIRST / steps[:, None],
            "its P(w_j = 0) is off by {:+.2g}".format,
        ),
        Respect(by_run.mean(axis=0) - _LEVEL, np.sqrt(over_coordinates * sampling), _ROOM_AVERAGE, holds),
        Respect(
            by_coordinate.mean(axis=0)[None] - _LEVEL,
            np.sqrt(over_times * sampling)[None],
            _ROOM_COORDINATE,
            lambda gap: holds(gap) + " on average over times",
        ),
        Respect(
            by_run.mean(keepdims=True)[0] - _LEVEL,
            np.sqrt(over_all * sampling),
            _ROOM_AVERAGE,
            lambda gap: holds(gap) + " on average over times and coordinates",
        ),
        *(respect for other in others for respect in other.respects),
    )
    attributes |= {
        "checked_mean": float(np.abs(shift).max()),
        "checked_std": float(np.abs(ratio).max()),
        "checked_quantile": float(np.abs(by_run.mean(axis=0) - _LEVEL).max()),
        "checked_zero": float(np.abs(zero).max()),
    }
    if tails_too:
        late = settled(steps, law["time"].values)
        every = [("", Cases(dual, ~inside, moving)), *((other.name, other.cases) for other in others)]
        for name, cases in every:
            there = cases.moving & late.reshape(-1, *(1,) * (cases.moving.ndim - 1))
            attributes |= tails(law, cases._replace(moving=there), false_alarm, name)
    misses = [respect.furthest(law, false_alarm, 1.0) for respect in respects]
    doubts = [respect.furthest(law, _DOUBT, _DOUBTFUL_ROOM) for respect in respects]
    return Comparison(attributes, *([miss for miss in part if miss.excess > 1.0] for part in (misses, doubts)))


def _shares(inside: NDArray[np.bool_], moving: NDArray[np.bool_], axis: int) -> tuple[Floats, NDArray[np.int64]]:
    """How much of an axis of (time, coordinate) each run is inside of, where it moves, (run, ...); and of how much."""
    counted = moving.sum(axis=axis)
    cells = np.maximum(counted, 1)
    return np.where(counted > 0, (inside & moving).sum(axis=axis + 1) / cells, _LEVEL), cells


class Other(NamedTuple):
    """A function of the state, or the running average."""

    name: str
    respects: list[Respect]
    cases: Cases  # where its values have a density


def _of_another(law: xr.Dataset, name: str, values: Floats) -> Other:
    """`values` (run, time, ...) are those of runs."""
    number = len(values)
    sampling = 1.0 / number + 1.0 / law.sizes.get("path", np.inf)
    mean, std = values.mean(axis=0), values.std(axis=0, ddof=1)
    moving = std > 1e-9 * (np.abs(mean) + 1e-300)
    safe, draws = np.where(moving, std, 1.0), drawn(law, name)
    centre = law[f"{name}_mean"].values if draws is None else draws.values.mean(axis=0)
    edges = band(law, _LEVEL, of=name)
    inside = (values >= edges["lower"].values) & (values <= edges["upper"].values)
    gap = np.where(moving, inside.mean(axis=0) - _LEVEL, 0.0)
    # a band between values that many runs have holds more often, and may
    distinct = 1 + np.count_nonzero(np.diff(np.sort(values, axis=0), axis=0), axis=0)
    continuous = moving & (distinct >= _DISTINCT * number)
    gap = np.where(continuous, gap, np.minimum(gap, 0.0))

    def holds(gap: float) -> str:
        return f"its {100 * _LEVEL:.0f} % band of {name!r} holds {100 * (gap + _LEVEL):.1f} %"

    def shifted(gap: float) -> str:
        return f"its mean of {name!r} is off by {gap:+.2g} standard deviations"

    error = np.full(gap.shape, np.sqrt(sampling))
    respects = [
        Respect(np.where(moving, (centre - mean) / safe, 0.0), error, _ROOM_MEAN, shifted),
        Respect(gap, np.sqrt(_LEVEL * (1.0 - _LEVEL)) * error, _ROOM_SHARE, holds),
    ]
    return Other(name, respects, Cases(values, ~inside, continuous))


def _kurtosis(samples: Floats) -> Floats:
    """Of each (time, coordinate); 0 where nothing moves."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = standardized(samples).scaled ** 2
        # products, which NumPy has many times sooner than fourth powers
        fourth = np.mean(squares * squares, axis=0) * (len(samples) / (len(samples) - 1.0)) ** 2
    return np.asarray(np.nan_to_num(fourth), dtype=np.float64)

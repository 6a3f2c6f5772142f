"""How often runs lie outside bands of high levels and outside simultaneous ones, where the tails of a law alone matter.

What a band leaves out at level .999 is too rare to be counted in one coordinate at one time: it is counted over all of
them, over those of a time, and over those of a coordinate. A run that is outside once is more often outside elsewhere:
counts of single runs say by how much more they vary than Poisson's, and so many cases are taken for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._bands.quantiles import at_scores, by_rank, sup_band, told
from rdasde._bands.tails import BODY, LEVELS, TOGETHER, attribute
from rdasde._bands.variables import drawn
from rdasde._check import Floats

if TYPE_CHECKING:
    import xarray as xr

# By which factor a share outside may be off without a word, at each level; caution harms less
_ROOMS = ((1.3, 0.65), (1.5, 0.5), (2.0, 0.33))
_ROOM_TOGETHER = 0.03  # in the share of whole runs inside
_NUMBERS = 2**21  # of paths that are looked at, and of runs in which whole ones are: every so many coordinates
_TINY = 1e-12  # a share that none is
_SHOWN = 0.999  # the level whose share outside is always said
_FEW_STEPS, _FIRST = 50, 0.1  # a state is a sum of few gradients until then, in that share of the time: not looked at


class _Sets(NamedTuple):
    """Sets of cells (time, ...) that are counted together."""

    of_cell: NDArray[np.int64]  # (cell,), in which set it is
    cells: NDArray[np.int64]  # (set,), how many of them there are

    def counts(self, run: NDArray[np.int64], cell: NDArray[np.int64], number: int) -> Floats:
        """Of cases by (run, set)."""
        sets = len(self.cells)
        flat = np.bincount(run * sets + self.of_cell[cell], minlength=number * sets)
        return flat.reshape(number, sets).astype(np.float64)


class Cases(NamedTuple):
    """Values of runs, in cells (time, ...) which are looked at where they are `moving`."""

    values: Floats  # (run, time, ...)
    outside: NDArray[np.bool_]  # of the band of level .95, (run, time, ...)
    moving: NDArray[np.bool_]  # (time, ...)


def settled(steps: NDArray[np.int64], times: Floats) -> NDArray[np.bool_]:
    """Of which times (time,) tails are looked at."""
    return np.asarray((steps >= _FEW_STEPS) | (times > _FIRST * times[-1]))


def tails(law: xr.Dataset, cases: Cases, false_alarm: float, name: str = "") -> dict[str, float]:
    """What attributes say of the tails of a law, of states in the dual or of the variable `name`, beside those of runs.

    That a band is off, beyond chance (`false_alarm` for each kind of band) and room; and the share of runs outside one
    of level .999.
    """
    draws = drawn(law, name or "dual")
    if draws is not None and "coordinate" in draws.dims and draws.size > _NUMBERS:
        seldom = slice(None, None, -(-draws.size // _NUMBERS))
        law = law.isel(coordinate=seldom)
        cases = Cases(cases.values[..., seldom], cases.outside[..., seldom], cases.moving[..., seldom])
    if not cases.moving.any():
        return {}
    return _pointwise(law, cases, false_alarm, name) | _simultaneous(law, cases, false_alarm, name)


def _pointwise(law: xr.Dataset, cases: Cases, false_alarm: float, name: str) -> dict[str, float]:
    values, outside, moving = cases
    number, paths = len(values), law.sizes.get("path")
    levels = [level for level in LEVELS if paths is None or told(level, paths)]
    uncertain = 1.0 if paths is None else 1.0 + number / paths  # ranks of paths are, too
    groups = _groups(moving)
    run, cell = np.divmod(np.flatnonzero(outside & moving), moving.size)
    x = values.reshape(number, -1)[run, cell]
    before = [_clumps(sets.counts(run, cell, number)) / BODY for sets in groups]  # of a binomial variance
    found: dict[str, float] = {}
    for level, rooms, ends in zip(levels, _ROOMS, _ends(law, name, levels), strict=False):
        lower, upper = ends.reshape(2, -1)[:, cell]
        further = (x < lower) | (x > upper)  # bands are nested: nothing else is
        run, cell, x = run[further], cell[further], x[further]
        worst = 1.0 - level
        for i, sets in enumerate(groups):
            counts = sets.counts(run, cell, number)
            # where few are outside, how they clump is seen at the level before, where they do so more
            clumps, before[i] = before[i], _clumps(counts)
            cases_as_one = np.maximum(np.maximum(clumps, before[i]), 1.0) * uncertain
            seen, expected = counts.sum(axis=0), number * sets.cells * (1.0 - level)
            sure = _sure(seen / cases_as_one, expected / cases_as_one, rooms, false_alarm)
            for share in (seen / (number * np.maximum(sets.cells, 1)))[sure]:
                worst = max(worst, float(share), key=lambda other: abs(np.log((other + _TINY) / (1.0 - level))))
        if worst != 1.0 - level:
            found[attribute(level, name)] = worst
        if level == _SHOWN:
            found["checked_tail" + (f"_{name}" if name else "")] = len(x) / (number * int(moving.sum()))
    return found


def _ends(law: xr.Dataset, name: str, levels: list[float]) -> Floats:
    """Of pointwise bands, as `band` has them in the dual: (level, end, time, ...)."""
    from scipy.special import ndtri

    below = 0.5 - 0.5 * np.array(levels)
    probabilities = np.stack([below, 1.0 - below], axis=1).ravel()
    draws = drawn(law, name or "dual")
    if draws is not None:
        ends = by_rank(draws.values, probabilities)
    elif name:
        mean, std = law[f"{name}_mean"].values, law[f"{name}_std"].values
        ends = mean + ndtri(probabilities).reshape(-1, *(1,) * mean.ndim) * std
    else:
        ends = at_scores(law, ndtri(probabilities))
    return ends.reshape(len(levels), 2, *ends.shape[1:])


def _simultaneous(law: xr.Dataset, cases: Cases, false_alarm: float, name: str) -> dict[str, float]:
    """Of whole runs, at level .95, where there are paths."""
    from scipy.special import ndtri

    draws = drawn(law, name or "dual")
    if draws is None:
        return {}
    few, shape = max(2, _NUMBERS // cases.moving.size), (len(cases.moving), -1)
    paths, runs = (x[:few].reshape(-1, *cases.moving.reshape(shape).shape) for x in (draws.values, cases.values))
    moving = cases.moving.reshape(shape)
    columns = np.asarray(moving.any(axis=0))
    found = {}
    for i, kind in enumerate(TOGETHER):
        lower, upper = sup_band(np.where(moving, paths, 0.0), BODY, i + 1)
        inside = (runs >= lower) & (runs <= upper) | ~moving
        always = np.asarray(inside.all(axis=1))[:, columns]
        share = always.all(axis=1) if kind == "all" else always.mean(axis=1)
        least = BODY * (1.0 - BODY) / (1 if kind == "all" else always.shape[1])
        error = np.sqrt(max(float(share.var()), least) * (1.0 / len(runs) + 1.0 / len(paths)))
        if abs(share.mean() - BODY) > _ROOM_TOGETHER - float(ndtri(0.25 * false_alarm)) * error:
            found[attribute(kind, name)] = 1.0 - float(share.mean())
    return found


def _groups(moving: NDArray[np.bool_]) -> list[_Sets]:
    """All of the cells that move, those of a time, and those of a coordinate."""
    index = np.indices(moving.shape).reshape(moving.ndim, -1)
    sets = [np.zeros(moving.size, dtype=np.int64), *index]
    return [_Sets(of, np.bincount(of, weights=moving.ravel()).astype(np.int64)) for of in sets]


def _clumps(counts: Floats) -> Floats:
    """How many cases come together: the variance of counts (run, set) over runs, in units of Poisson's."""
    mean = counts.mean(axis=0)
    return np.asarray(counts.var(axis=0) / np.where(mean > 0.0, mean, 1.0))


def _sure(seen: Floats, expected: Floats, rooms: tuple[float, float], false_alarm: float) -> NDArray[np.bool_]:
    """Of which sets Poisson counts are more, or fewer, than chance and room leave open."""
    from scipy.special import gammainc, gammaincc

    more, less = rooms
    alarm = 0.5 * false_alarm / seen.size
    too_many = (seen > expected) & (gammainc(np.maximum(seen, 1e-9), more * expected) < alarm)
    too_few = (seen < expected) & (gammaincc(seen + 1.0, less * expected) < alarm)
    return np.asarray(too_many | too_few)

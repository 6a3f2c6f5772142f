"""Categorical data in which a few pairs of fields act together, and it is known which."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._engine.memory import need_memory


class Planted(NamedTuple):
    """Codes (n, fields), labels (n,), how many codes each field has, the true pairs, and the true logits (n,).

    Examples
    --------
    >>> from rdasde.interactions import planted
    >>> data = planted(1000, fields=4, pairs=2, cardinality=5, seed=0)
    >>> data.cardinalities, data.pairs
    ((5, 5, 5, 5), ((0, 3), (2, 3)))
    >>> data.X.shape, data.y.shape, data.logits.shape
    ((1000, 4), (1000,), (1000,))
    """

    X: NDArray[np.int64]
    y: NDArray[np.int64]
    cardinalities: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    logits: Floats


def planted(
    rows: int,
    *,
    fields: int = 12,
    pairs: int = 8,
    cardinality: int = 10,
    strength: float = 0.5,
    main: float = 0.3,
    rank: int = 2,
    seed: int | None = None,
) -> Planted:
    """Draw independent uniform codes, and labels whose logits have `pairs` true interactions.

    The logit is a sum of one term for each field, of standard deviation `main`, and one for each true pair, of
    standard deviation `strength` over the codes: a matrix of rank `rank` over the codes of both, its rows and columns
    centred, so that nothing of it is seen in either field alone.

    Parameters
    ----------
    rows, fields, pairs, cardinality : int
        Rows n, fields, true pairs among all ``fields (fields - 1) / 2``, codes in each field.
    strength, main : float
        Standard deviations in units of the logit, >= 0.
    rank : int
        Less than `cardinality`.
    seed : int, optional
        Without one, a fresh one.

    Returns
    -------
    Planted

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    TooMuchMemoryError
        If that many rows do not fit in memory.

    Examples
    --------
    >>> from rdasde.interactions import planted
    >>> data = planted(1000, seed=0)
    >>> data.X.shape, len(data.pairs)
    ((1000, 12), 8)
    """
    rows = _check.count("rows", rows, mend="give for example rows=100_000")
    fields = _check.count("fields", fields, least=2, mend="give for example fields=12")
    pairs = _check.count("pairs", pairs, least=0, mend="give for example pairs=8")
    cardinality = _check.count("cardinality", cardinality, least=2, mend="give for example cardinality=10")
    strength = _check.number("strength", strength, least=0.0, mend="give for example strength=0.5")
    main = _check.number("main", main, least=0.0, mend="give for example main=0.3")
    rank = _check.count("rank", rank, mend="give for example rank=2")
    size = 8.0 * rows * (fields + 6) + 72.0 * math.comb(fields, 2) + 32.0 * cardinality * (cardinality + rank)
    need_memory(size, f"{rows} rows of {fields} fields of {cardinality} codes", "ask for fewer of them")
    everything = list(itertools.combinations(range(fields), 2))
    if pairs > len(everything):
        raise _check.bad("pairs", pairs, f"at most {len(everything)} for {fields} fields", "ask for fewer")
    if rank >= cardinality:
        raise _check.bad("rank", rank, f"less than cardinality = {cardinality}", "give for example rank=2")
    rng = np.random.default_rng(_check.seed(seed))
    X = rng.integers(cardinality, size=(rows, fields))
    chosen = sorted(everything[k] for k in rng.choice(len(everything), pairs, replace=False))
    logits = np.zeros(rows)
    for field in range(fields):
        effect = rng.standard_normal(cardinality)
        effect -= effect.mean()
        logits += main * (effect / effect.std())[X[:, field]]
    for i, j in chosen:
        left, right = (side - side.mean(axis=0) for side in rng.standard_normal((2, cardinality, rank)))
        table = left @ right.T
        logits += strength * (table / table.std())[X[:, i], X[:, j]]
    y = (rng.random(rows) < 1.0 / (1.0 + np.exp(-logits))).astype(np.int64)
    return Planted(X, y, (cardinality,) * fields, tuple(chosen), logits)

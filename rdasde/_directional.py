"""Directional pruning in closed form (theory, section 5, point 7; Chao, Wang, Xing & Cheng 2020).

`scores` and `shrunk` are the formula, once, for arrays of NumPy and tensors of torch alike: they use what both have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rdasde._check import Floats

Projection = Floats | Callable[[Floats], Floats]


def scores(sign: Any, flat: Any) -> Any:
    """``s_j = sgn(w_j) (P_0 sgn(w))_j``, from ``sgn(w)`` and its projection `flat` on the flat directions."""
    return sign * flat


def shrunk(w: Any, sign: Any, scores: Any, strength: Any) -> Any:
    """``sgn(w_j) max(|w_j| - strength s_j, 0)``.

    A negative score moves the weight away from zero, so that it cannot cross; a zero has no side and stays.
    """
    return sign * (abs(w) - strength * scores).clip(min=0.0)


def group_totals(values: Any, groups: Any) -> Any:
    """Sums over groups, the labels (d,) 0 to k - 1; (k,)."""
    if isinstance(values, np.ndarray):
        return np.bincount(groups, weights=values)
    return groups.bincount(weights=values).to(values)


def group_sizes(values: Any, groups: Any) -> Any:
    """How many values there are in each, as numbers of their kind."""
    return group_totals(values * 0 + 1, groups)


def _norms(w: Any, groups: Any) -> Any:
    return group_totals(w * w, groups) ** 0.5


def group_directions(w: Any, groups: Any) -> Any:
    """``sqrt(|a|) w_a / ||w_a||``, what the sign is to a single weight; 0 where the group is 0."""
    norms, sizes = _norms(w, groups), group_sizes(w, groups)
    return w * (sizes**0.5 / (norms + (norms == 0)))[groups]


def group_scores(directions: Any, flat: Any, groups: Any) -> Any:
    """``<u_a, (P_0 u)_a> / |a|`` by group (k,), from u and its projection on the flat directions."""
    return group_totals(directions * flat, groups) / group_sizes(directions, groups)


def groups_shrunk(w: Any, scores: Any, groups: Any, strength: Any) -> Any:
    """``w_a max(1 - sqrt(|a|) strength s_a / ||w_a||, 0)``; a group that is 0 stays."""
    norms, sizes = _norms(w, groups), group_sizes(w, groups)
    kept = (norms - sizes**0.5 * strength * scores).clip(min=0.0) / (norms + (norms == 0))
    return w * kept[groups]


def pruning_scores(w: Floats, flat_projection: Projection) -> Floats:
    """The scores of weights (..., d), P_0 the projection on the flat directions.

    `flat_projection` is the symmetric matrix P_0, or a function that projects the last axis.
    """
    sign = np.sign(w)
    flat = flat_projection(sign) if callable(flat_projection) else sign @ flat_projection
    return np.asarray(scores(sign, flat))


def directional_prune(w: Floats, flat_projection: Projection, strength: float | Floats) -> Floats:
    """``argmin_x |w - x|^2 / 2 + strength sum_j s_j |x_j|``, coordinate by coordinate; `w` (..., d)."""
    return np.asarray(shrunk(w, np.sign(w), pruning_scores(w, flat_projection), strength))

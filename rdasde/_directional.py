"""Directional pruning in closed form (theory, section 5, point 7; Chao, Wang, Xing & Cheng 2020)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rdasde._check import Floats

Projection = Floats | Callable[[Floats], Floats]


def pruning_scores(w: Floats, flat_projection: Projection) -> Floats:
    """``s_j = sgn(w_j) (P_0 sgn(w))_j`` for weights (..., d), P_0 the projection on the flat directions.

    `flat_projection` is the symmetric matrix P_0, or a function that projects the last axis.
    """
    sign = np.sign(w)
    projected = flat_projection(sign) if callable(flat_projection) else sign @ flat_projection
    return np.asarray(sign * projected)


def directional_prune(w: Floats, flat_projection: Projection, strength: float | Floats) -> Floats:
    """``argmin_x |w - x|^2 / 2 + strength sum_j s_j |x_j|``, coordinate by coordinate; `w` (..., d).

    ``sgn(w_j) max(|w_j| - strength s_j, 0)``: a negative score moves a weight away from 0.
    """
    return np.sign(w) * np.maximum(np.abs(w) - strength * pruning_scores(w, flat_projection), 0.0)

"""The group lasso: whole groups of coordinates are zero together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import fma, implements
from rdasde._regularizers.base import GaussianMoments, Regularizer, checked_state, mirror


class GroupLassoParameters(NamedTuple):
    members: NDArray[np.int64]  # (d,): the coordinates, group after group
    starts: NDArray[np.int64]  # (groups + 1,): where each group begins in `members`
    roots: Floats  # (groups,): square roots of the sizes


@implements(mirror, GroupLassoParameters)
def _(regularizer, v, threshold, w):
    members, starts = regularizer.members, regularizer.starts
    for group in range(starts.size - 1):
        first = members[starts[group]]
        g = threshold * regularizer.roots[group]
        # the row of the first member holds the sum of squares, then the factor
        for lane in range(v.shape[1]):
            w[first, lane] = v[first, lane] * v[first, lane]
        for k in range(starts[group] + 1, starts[group + 1]):
            j = members[k]
            for lane in range(v.shape[1]):
                w[first, lane] = fma(v[j, lane], v[j, lane], w[first, lane])
        for lane in range(v.shape[1]):
            norm = np.sqrt(w[first, lane])
            excess = norm - g
            w[first, lane] = 0.0 if excess <= 0.0 else excess / norm
        for k in range(starts[group] + 1, starts[group + 1]):
            j = members[k]
            for lane in range(v.shape[1]):
                w[j, lane] = w[first, lane] * v[j, lane]
        for lane in range(v.shape[1]):
            w[first, lane] = w[first, lane] * v[first, lane]


class GroupLasso(Regularizer):
    """``P(w) = sum_a sqrt(n_a) ||w_a||`` over groups a of n_a coordinates (Yuan & Lin 2006).

    ``prox(v, g)_a = v_a max(1 - sqrt(n_a) g / ||v_a||, 0)``. It couples the coordinates of a group: bands of w come
    from paths (theory, section 3).

    Parameters
    ----------
    groups : array_like of int, shape (d,)
        The label of each coordinate's group, for example ``[0, 0, 1, 1, 1]``.

    Raises
    ------
    ValueError, TypeError
        If `groups` is not a one-dimensional array of whole numbers.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.GroupLasso([0, 0, 1, 1]).prox([3.0, 4.0, 0.3, 0.4], 1.0).round(2)  # a group stays or goes
    array([2.15, 2.87, 0.  , 0.  ])
    """

    separable = False
    has_moments = False

    def __init__(self, groups: ArrayLike) -> None:
        accepted, mend = "an array of shape (n,) of whole numbers", "give the label of each coordinate's group"
        raw = _check.plain("groups", groups, accepted, mend)
        if raw.ndim != 1 or raw.size == 0:
            raise _check.bad("groups", f"an array of shape {raw.shape}", accepted, mend)
        if raw.dtype.kind not in "iu":
            raise _check.wrong_kind("groups", groups, accepted, mend)
        self.groups = _check.sealed(raw.astype(np.int64))
        _, labels, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        self._labels = labels
        self.parameters: GroupLassoParameters = GroupLassoParameters(
            np.argsort(labels, kind="stable"), np.concatenate([[0], np.cumsum(sizes)]), np.sqrt(sizes)
        )

    def check_dimension(self, dimension: int) -> None:
        if len(self.groups) != dimension:
            raise _check.bad(
                "groups of GroupLasso",
                f"of length {len(self.groups)}",
                f"of length {dimension}, the problem's dimension",
                "give one label for each coordinate",
            )

    def span(self, least: int) -> int:
        return len(self.groups)

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v, g = checked_state(v, threshold, len(self.groups))
        members, starts, roots = self.parameters
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.sqrt(np.add.reduceat(v[..., members] ** 2, starts[:-1], axis=-1))
            excess = norm - g * roots
            factor = np.where(excess <= 0.0, 0.0, excess / np.where(norm == 0.0, 1.0, norm))
            return factor[..., self._labels] * v

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        raise ValueError(
            f"The regularizer is {self!r}, which couples coordinates, but its Jacobian is diagonal only for separable "
            "ones: differentiate prox instead."
        )

    def subgradient(self, w: Floats) -> Floats:
        members, starts, roots = self.parameters
        norm = np.sqrt(np.add.reduceat(w[members] ** 2, starts[:-1]))
        return (roots / np.where(norm == 0.0, 1.0, norm))[self._labels] * w

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        raise ValueError(
            f"The regularizer is {self!r}, which couples coordinates, but Gaussian moments are known only for "
            "separable ones: use method='paths' instead."
        )

    def settings(self) -> dict[str, Any]:
        return {"groups": self.groups.tolist()}

    def __repr__(self) -> str:
        return f"GroupLasso(<{len(self.parameters.roots)} groups of {len(self.groups)} coordinates>)"

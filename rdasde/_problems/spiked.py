"""A covariance with a few directions of larger variance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.lanes import copy, project
from rdasde._problems.covariance import Covariance, Modes, color, correlate


class SpikedParameters(NamedTuple):
    spikes: Floats  # (k,)
    gains: Floats  # sqrt(1 + spikes) - 1
    directions: Floats  # (k, d), orthonormal rows


@compilable
def _add_spikes(directions, gains, x, sums, out):
    """out += sum_k gains_k u_k u_k'x; `out` may be `x`, for what is added along u_k leaves the other u'x alone."""
    for k in range(gains.size):
        direction = directions[k]
        project(direction, x, sums)
        for lane in range(sums.size):
            sums[lane] *= gains[k]
        for j in range(direction.size):
            u = direction[j]
            for lane in range(sums.size):
                out[j, lane] = fma(u, sums[lane], out[j, lane])


@implements(correlate, SpikedParameters)
def _(covariance, x, spare, out):
    copy(x, out)
    _add_spikes(covariance.directions, covariance.spikes, x, spare[0], out)


@implements(color, SpikedParameters)
def _(covariance, z, spare):
    _add_spikes(covariance.directions, covariance.gains, z, spare[0], z)


class Spiked(Covariance):
    """A few directions of larger variance: ``A = I + sum_k spikes_k u_k u_k'``, everything in O(d k).

    The square root is as simple: ``L = I + sum_k (sqrt(1 + spikes_k) - 1) u_k u_k'``, symmetric.

    Parameters
    ----------
    spikes : array_like of shape (k,)
        Excess variances, > 0.
    directions : array_like of shape (k, d)
        Orthonormal rows u_k.

    Raises
    ------
    ValueError, TypeError
        If a spike is not > 0, or the rows are not orthonormal to 1e-8.
    """

    def __init__(self, spikes: ArrayLike, directions: ArrayLike) -> None:
        spikes = _check.array("spikes", spikes, (None,), mend="give one excess variance for each direction")
        if spikes.min() <= 0.0:
            raise _check.bad("spikes", f"{spikes.min():g} somewhere", "> 0", "drop directions of unit variance")
        k = len(spikes)
        rows = _check.array("directions", directions, (k, None), mend="give one row for each spike")
        gap = float(np.abs(rows @ rows.T - np.eye(k)).max())
        if gap > 1e-8:
            raise _check.bad(
                "directions",
                f"rows whose inner products are off by {gap:.3g}",
                "orthonormal to 1e-8",
                "pass np.linalg.qr(directions.T)[0].T",
            )
        # to rounding: the nearest orthonormal rows
        left, _, right = np.linalg.svd(rows, full_matrices=False)
        self.dimension = rows.shape[1]
        self.parameters: SpikedParameters = SpikedParameters(
            spikes, np.sqrt(1.0 + spikes) - 1.0, np.ascontiguousarray(left @ right)
        )

    def _filled(self, gains: Floats) -> Floats:
        directions = self.parameters.directions
        matrix: Floats = (directions.T * gains) @ directions
        matrix[np.diag_indices(self.dimension)] += 1.0
        return (matrix + matrix.T) / 2.0

    def dense(self) -> Floats:
        return self._filled(self.parameters.spikes)

    def root(self) -> Floats:
        """L itself, (d, d)."""
        return self._filled(self.parameters.gains)

    def eigenvalues(self) -> Floats:
        spikes = np.sort(self.parameters.spikes)
        return np.concatenate([np.ones(self.dimension - len(spikes)), 1.0 + spikes])

    def multiply(self, x: Floats) -> Floats:
        directions = self.parameters.directions
        return x + (directions.T * self.parameters.spikes) @ (directions @ x)

    def leading(self) -> Floats:
        vector: Floats = self.parameters.directions[np.argmax(self.parameters.spikes)]
        return vector

    def modes(self, x: Floats) -> Modes:
        spikes, _, directions = self.parameters
        along = directions @ x
        rest = x - along @ directions
        size = float(np.linalg.norm(rest))
        # off the spikes all of `x` has one eigenvalue: one mode
        unit = rest / size if size > 0.0 else rest
        return Modes(np.append(1.0 + spikes, 1.0), np.append(along, size), np.vstack([directions, unit]))

    def __repr__(self) -> str:
        return f"<spiked, d={self.dimension}, k={len(self.parameters.spikes)}>"

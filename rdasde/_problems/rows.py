"""What problems on the rows of a data set share: their scratch, and the noise of drawing rows."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, generic
from rdasde._compiled.lanes import add_row
from rdasde._compiled.random import normals
from rdasde._compiled.scratch import ROW, Layout
from rdasde._problems.base import Problem, drift

_CHUNK = 64  # rows whose noise is drawn at a time


class RowScratch(NamedTuple):
    """What pieces over the rows of a data set work in."""

    normals: Floats  # (chunk, lanes)
    gradient: Floats  # (d, lanes)
    drawn: Floats  # (lanes,), as all below
    residual: Floats
    total: Floats
    level: Floats
    slope: Floats
    norm: Floats


def row_layout(dimension: int) -> Layout:
    """The scratch of a problem of this dimension on the rows of a data set."""
    rows = dict.fromkeys(("drawn", "residual", "total", "level", "slope", "norm"), ROW)
    return Layout(RowScratch, normals=_CHUNK, gradient=dimension, **rows)


@generic
def row_residual(problem, i, w, out):
    """r_i(w) in every lane, where the gradient of row i is ``x_i r_i(w)``."""


@compilable
def residual_noise(problem, w, streams, scratch, out):
    """The noise of drawing a row whose gradient is ``x_i r_i``, in factored form.

    ``n^-1/2 X'(r * (xi - mean xi)) = n^-1/2 (sum_i x_i r_i xi_i - G sum_i xi_i)``.
    """
    d, lanes = w.shape
    n = problem.rows.shape[0]
    xi, residual, total, gradient = scratch.normals, scratch.residual, scratch.total, scratch.gradient
    drift(problem, w, scratch, gradient)
    out[:] = 0.0
    total[:] = 0.0
    for start in range(0, n, _CHUNK):
        normals(streams, xi)
        for i in range(start, min(start + _CHUNK, n)):
            row_residual(problem, i, w, residual)
            for lane in range(lanes):
                total[lane] += xi[i - start, lane]
                residual[lane] *= xi[i - start, lane]
            add_row(problem.rows[i], residual, out)
    scale = 1.0 / np.sqrt(float(n))
    for j in range(d):
        for lane in range(lanes):
            out[j, lane] = scale * fma(-gradient[j, lane], total[lane], out[j, lane])


_BLOCK = 4096  # rows that are looked at together outside of compiled code
_MOST_WORK = 2_000_000  # n d^2 up to which the mean square is iterated


def blocks(count: int) -> Iterator[slice]:
    """Rows by the thousand, so that what is made of them stays in the cache."""
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def weighted_gram(rows: Floats, weights: Floats) -> Floats:
    """``X' diag(weights) X / n``."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for block in blocks(len(rows)):
        total += (rows[block].T * weights[block]) @ rows[block]
    return total / len(rows)


def mean_square_growth(rows: Floats, weights: Floats, step_size: float, batch_size: int) -> str | None:
    """Why steps along rows drawn at random are not stable in mean square, or None.

    With gradients ``weights_i x_i x_i'w``, ``H = X' diag(weights) X / n`` and ``A_i = weights_i x_i x_i'``, the mean
    square follows ``C -> C - gamma (HC + CH) + gamma^2 (E[A C A] / b + (1 - 1/b) HCH)``: stable iff the spectral radius
    of this positive map is below 1.
    """
    n, d = rows.shape
    hessian = weighted_gram(rows, weights)
    if n * d * d > _MOST_WORK:
        bound = step_size * float(np.trace(hessian))
        return f"step_size * trace of the Hessian is {bound:.3g}, not below 2 b" if bound >= 2 * batch_size else None
    moment, growth = np.eye(d), 0.0
    for _ in range(300):
        product = hessian @ moment
        fourth = weighted_gram(rows, weights**2 * np.einsum("ij,ij->i", rows @ moment, rows))
        image = moment - step_size * (product + product.T)
        image += step_size**2 * (fourth / batch_size + (1.0 - 1.0 / batch_size) * product @ hessian)
        growth = float(np.linalg.norm(image) / np.linalg.norm(moment))
        moment = image / np.linalg.norm(image)
    # a flat direction keeps the radius at 1 exactly
    return f"the mean square grows by the factor {growth:.4g} a step" if growth > 1.0 + 1e-6 else None


class RowNoise(Problem):
    """A problem on `rows` (n, d) that knows the gradient of each: its noise, exactly."""

    rows: Floats

    @abc.abstractmethod
    def row_gradients(self, w: Floats) -> Floats:
        """The gradients of all rows at w, (n, d)."""

    def _centred(self, w: Floats) -> Floats:
        gradients = self.row_gradients(w)
        return gradients - gradients.mean(axis=0)

    def noise_covariance(self, w: ArrayLike) -> Floats:
        centred = self._centred(self._point(w))
        return centred.T @ centred / len(self.rows)

    def noise_factor(self, w: Floats) -> Floats:
        # R'R = centred'centred: d columns instead of n
        return np.transpose(np.linalg.qr(self._centred(w) / np.sqrt(len(self.rows)), mode="r"))

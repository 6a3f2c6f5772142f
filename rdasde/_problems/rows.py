"""What problems on the rows of a data set share: their scratch, and the noise of drawing rows."""

from __future__ import annotations

import abc
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, generic
from rdasde._compiled.lanes import add_row
from rdasde._compiled.random import epoch_streams, normals
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


class RowNoise(Problem):
    """A problem on `rows` (n, d) that knows the gradient of each: its noise, exactly."""

    rows: Floats

    def _draw(self, replacement: bool) -> None:
        """With replacement, or epoch by epoch: every row once, in an order drawn for each run and epoch anew."""
        if not _check.flag("replacement", replacement):
            self.has_independent_draws = False
            self.make_streams = functools.partial(epoch_streams, len(self.rows))  # type: ignore[method-assign]

    @property
    def _drawing(self) -> str:
        """What the repr says of it."""
        return "" if self.has_independent_draws else ", replacement=False"

    def _defining(self) -> tuple[Any, ...]:
        return (*super()._defining(), self.has_independent_draws)

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

"""What problems on the rows of a data set share: their scratch, and the noise of drawing rows."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterator
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
_PART = 2**16  # numbers of rows that are looked at once: they stay in the cache
_PRODUCTS = 1.2e7  # of numbers, in a Gram matrix of the rows that stand for all where there are twice as many
_FOR_EACH = 100  # rows for each coordinate, at least


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


class RowSample(NamedTuple):
    """Rows that stand for all: all of them, or a fixed sample of very many.

    A sample is mapped linearly so that its second moments are those of all rows; what its weighted ones then still lack
    at the minimizer is added everywhere. Elsewhere they are off by about ``1 / sqrt(rows)`` of what they change by.
    """

    rows: Floats  # (n, d)
    response: Floats  # (n,)
    missing: Floats  # (k, d, d), of `grams`, or (1, 1, 1) for nothing

    def grams(self, weights: Floats) -> Floats:
        """``sum_i weights_ki x_i x_i' / n`` for k sets of weights (k, n)."""
        return grams(self.rows, weights) + self.missing


def grams(rows: Floats, weights: Floats) -> Floats:
    """``sum_i weights_ki x_i x_i' / n`` for k sets of weights (k, n): (k, d, d)."""
    n, d = rows.shape
    total = np.zeros((len(weights), d, d))
    for part in parts(n, d):
        x = rows[part]
        for k, weight in enumerate(weights):
            here = weight[part, None]
            if here.min() >= 0.0:  # a product of a matrix with its own transpose is half the work
                y = np.sqrt(here) * x
                total[k] += y.T @ y
            else:
                total[k] += x.T @ (here * x)
    return total / n


def parts(n: int, d: int) -> Iterator[slice]:
    """Rows of d numbers, so many at a time that they stay in the cache."""
    size = max(1, _PART // d)
    return (slice(i, i + size) for i in range(0, n, size))


def row_sample(
    rows: Floats, response: Floats, second: Floats, weights: Callable[[Floats, Floats], Floats]
) -> RowSample:
    """A `RowSample`; ``weights(rows, response)`` (k, n) are those of `grams` at the minimizer, `second` is X'X / n."""
    n, d = rows.shape
    number = max(int(_PRODUCTS / d**2), _FOR_EACH * d)
    if n < 2 * number:
        return RowSample(rows, response, np.zeros((1, 1, 1)))
    picked = np.sort(np.random.default_rng(0).choice(n, number, replace=False))
    own, y = rows[picked], response[picked]
    try:
        # own L^-T R' has the second moments R R', where L L' are those of `own`
        left, right = np.linalg.cholesky(own.T @ own / number), np.linalg.cholesky(second)
        own = np.linalg.solve(left, own.T).T @ right.T
    except np.linalg.LinAlgError:
        pass  # columns that depend on each other are left as they are
    own = np.ascontiguousarray(own)
    missing = grams(rows, weights(rows, response)) - grams(own, weights(own, y))
    return RowSample(own, y, missing)


class RowNoise(Problem):
    """A problem on `rows` (n, d) that knows the gradient of each: its noise, exactly."""

    rows: Floats

    def expectation_cost(self) -> float:
        return float(self.rows.size) * self.dimension

    def drift_cost(self) -> float:
        return float(self.rows.size)

    def parts(self) -> Iterator[slice]:
        """All rows, a few at a time."""
        return parts(*self.rows.shape)

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

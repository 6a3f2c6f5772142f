"""Covariances of a Gaussian vector: diagonal, first-order autoregressive, dense.

Each knows how to multiply (``H x``) and how to color white noise (``L z``, ``L L' = H``), both in lanes, and
its spectrum. The products cost O(d) for the first two.
"""

from __future__ import annotations

import abc
import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, compilable, fma, generic, implements, one_row
from rdasde._compiled.random import LANES

SPARE = 4  # rows of scratch that `color` asks for


@generic
def correlate(covariance, x, out):
    """H x into `out`; both (d, lanes)."""


@generic
def color(covariance, z, spare):
    """L z in place, ``L L' = H``; `z` (d, lanes), `spare` (4, lanes) is scratch."""


@Kernel
def _multiply(covariance, x, out):
    correlate(covariance, x, out)


class Covariance(abc.ABC):
    """What the three kinds share. `parameters` is the NamedTuple that compiled code sees."""

    dimension: int
    parameters: NamedTuple

    @abc.abstractmethod
    def dense(self) -> Floats:
        """The matrix itself, (d, d)."""

    @abc.abstractmethod
    def eigenvalues(self) -> Floats:
        """All eigenvalues, increasing."""

    def root(self) -> Floats:
        """The L of `color` as a matrix, ``L L' = H``."""
        return np.linalg.cholesky(self.dense())

    def multiply(self, x: Floats) -> Floats:
        """H x for `x` of shape (d,) or (d, m)."""
        return self.dense() @ x

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues."""
        return float(self.eigenvalues().sum())

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues()[-1])


class DiagonalParameters(NamedTuple):
    variance: Floats
    std: Floats


@implements(correlate, DiagonalParameters)
def _(covariance, x, out):
    flat, target, lanes = one_row(x), one_row(out), np.uint64(LANES)
    for j in range(x.shape[0]):
        variance, row = covariance.variance[j], np.uint64(j) * lanes
        for lane in range(lanes):
            target[row + lane] = variance * flat[row + lane]


@implements(color, DiagonalParameters)
def _(covariance, z, spare):
    for j in range(covariance.std.size):
        std = covariance.std[j]
        for lane in range(z.shape[1]):
            z[j, lane] *= std


class Diagonal(Covariance):
    """Independent coordinates with the given variances."""

    def __init__(self, variance: Floats) -> None:
        self.dimension = len(variance)
        self.parameters: DiagonalParameters = DiagonalParameters(variance, np.sqrt(variance))

    def dense(self) -> Floats:
        return np.diag(self.parameters.variance)

    def root(self) -> Floats:
        return np.diag(self.parameters.std)

    def eigenvalues(self) -> Floats:
        return np.sort(self.parameters.variance)

    def multiply(self, x: Floats) -> Floats:
        return (self.parameters.variance * x.T).T

    def __repr__(self) -> str:
        variance = self.parameters.variance
        return "None" if np.all(variance == 1.0) else f"<diagonal, d={self.dimension}>"


class AR1Parameters(NamedTuple):
    rho: float
    innovation: float  # sqrt(1 - rho^2)


@implements(correlate, AR1Parameters)
def _(covariance, x, out):
    # H = (I - rho S)^-1 diag(1, s^2, ..., s^2) (I - rho S')^-1 with S the shift, s^2 = 1 - rho^2
    d, rho, width = x.shape[0], covariance.rho, np.uint64(x.shape[1])  # any width: see `AR1.multiply`
    flat, target = one_row(x), one_row(out)
    end = np.uint64(d - 1) * width
    for column in range(width):
        target[end + column] = flat[end + column]
    for j in range(d - 1, 0, -1):
        below = np.uint64(j) * width
        row = below - width
        for column in range(width):
            target[row + column] = fma(rho, target[below + column], flat[row + column])
    variance = covariance.innovation * covariance.innovation
    for j in range(1, d):
        row = np.uint64(j) * width
        above = row - width
        for column in range(width):
            target[row + column] = fma(rho, target[above + column], variance * target[row + column])


@implements(color, AR1Parameters)
def _(covariance, z, spare):
    flat, lanes = one_row(z), np.uint64(z.shape[1])
    for j in range(1, z.shape[0]):
        row = np.uint64(j) * lanes
        above = row - lanes
        for lane in range(lanes):
            flat[row + lane] = fma(covariance.rho, flat[above + lane], covariance.innovation * flat[row + lane])


class AR1(Covariance):
    """Stationary first-order autoregression: ``H_ij = rho**|i - j|``, sampled and multiplied in O(d).

    Parameters
    ----------
    d : int
        Dimension.
    rho : float
        Correlation of neighbours, ``-1 < rho < 1``.

    Raises
    ------
    ValueError, TypeError
        If `d` is not a whole number >= 1 or `rho` not strictly between -1 and 1.
    """

    def __init__(self, d: int, rho: float) -> None:
        self.dimension = _check.count("d", d, mend="give the number of coordinates")
        rho = _check.number("rho", rho, mend="give a correlation such as 0.8")
        if not -1.0 < rho < 1.0:
            raise _check.bad("rho", rho, "a number > -1 and < 1", "give a correlation such as 0.8")
        self.parameters: AR1Parameters = AR1Parameters(rho, float(np.sqrt((1.0 - rho) * (1.0 + rho))))

    def dense(self) -> Floats:
        index = np.arange(self.dimension)
        return np.asarray(self.parameters.rho ** np.abs(index[:, None] - index), dtype=np.float64)

    def eigenvalues(self) -> Floats:
        return self._spectrum

    @functools.cached_property
    def _spectrum(self) -> Floats:
        import scipy.linalg

        rho, d = self.parameters.rho, self.dimension
        if d == 1 or rho == 0.0:
            return np.ones(d)
        # the inverse is tridiagonal
        diagonal = np.full(d, 1.0 + rho**2)
        diagonal[[0, -1]] = 1.0
        inverse = scipy.linalg.eigvalsh_tridiagonal(diagonal, np.full(d - 1, -rho))
        return np.asarray((1.0 - rho**2) / inverse[::-1])

    def multiply(self, x: Floats) -> Floats:
        if x.ndim == 1:  # what constructors need: nothing is compiled for it
            import scipy.linalg

            return np.asarray(scipy.linalg.matmul_toeplitz(self.parameters.rho ** np.arange(self.dimension), x))
        out = np.empty_like(x, order="C")
        _multiply(self.parameters, np.ascontiguousarray(x), out)
        return out

    def __repr__(self) -> str:
        return f"AR1({self.dimension}, {self.parameters.rho:g})"


class DenseParameters(NamedTuple):
    matrix: Floats
    factor: Floats  # lower triangular


@compilable
def _four_rows(matrix, i, stop, x, out, row):
    """out[row + k] = sum over j < stop of matrix[i + k, j] x[j], k = 0..3: blocks of 4 x 4 in registers.

    Flat arrays and unsigned indices let the compiler see that `x` and `out` do not overlap (`random._word_pairs`).
    """
    lanes = np.uint64(LANES)
    flat, target = one_row(x), one_row(out)
    out[row : row + 4] = 0.0
    o0 = np.uint64(row) * lanes
    o1, o2, o3 = o0 + lanes, o0 + lanes + lanes, o0 + lanes + lanes + lanes
    whole = stop - stop % 4
    for j in range(0, whole, 4):
        a0, a1, a2, a3 = matrix[i, j], matrix[i, j + 1], matrix[i, j + 2], matrix[i, j + 3]
        b0, b1, b2, b3 = matrix[i + 1, j], matrix[i + 1, j + 1], matrix[i + 1, j + 2], matrix[i + 1, j + 3]
        c0, c1, c2, c3 = matrix[i + 2, j], matrix[i + 2, j + 1], matrix[i + 2, j + 2], matrix[i + 2, j + 3]
        d0, d1, d2, d3 = matrix[i + 3, j], matrix[i + 3, j + 1], matrix[i + 3, j + 2], matrix[i + 3, j + 3]
        s0 = np.uint64(j) * lanes
        s1, s2, s3 = s0 + lanes, s0 + lanes + lanes, s0 + lanes + lanes + lanes
        for lane in range(lanes):
            x0, x1, x2, x3 = flat[s0 + lane], flat[s1 + lane], flat[s2 + lane], flat[s3 + lane]
            target[o0 + lane] = fma(a3, x3, fma(a2, x2, fma(a1, x1, fma(a0, x0, target[o0 + lane]))))
            target[o1 + lane] = fma(b3, x3, fma(b2, x2, fma(b1, x1, fma(b0, x0, target[o1 + lane]))))
            target[o2 + lane] = fma(c3, x3, fma(c2, x2, fma(c1, x1, fma(c0, x0, target[o2 + lane]))))
            target[o3 + lane] = fma(d3, x3, fma(d2, x2, fma(d1, x1, fma(d0, x0, target[o3 + lane]))))
    for j in range(whole, stop):
        for k in range(4):
            a0 = matrix[i + k, j]
            for lane in range(x.shape[1]):
                out[row + k, lane] = fma(a0, x[j, lane], out[row + k, lane])


@compilable
def _one_row(matrix, i, stop, x, out, row):
    """out[row] = sum over j < stop of matrix[i, j] x[j], in the order of `_four_rows`."""
    out[row] = 0.0
    for j in range(stop):
        a0 = matrix[i, j]
        for lane in range(x.shape[1]):
            out[row, lane] = fma(a0, x[j, lane], out[row, lane])


@compilable
def multiply(matrix, x, out):
    """matrix x into `out`, in lanes."""
    rows = matrix.shape[0]
    whole = rows - rows % 4
    for i in range(0, whole, 4):
        _four_rows(matrix, i, matrix.shape[1], x, out, i)
    for i in range(whole, rows):
        _one_row(matrix, i, matrix.shape[1], x, out, i)


@implements(correlate, DenseParameters)
def _(covariance, x, out):
    multiply(covariance.matrix, x, out)


@implements(color, DenseParameters)
def _(covariance, z, spare):
    # from the last row up: a row needs only the rows above it, still white
    factor = covariance.factor
    d = factor.shape[0]
    whole = d - d % 4
    for i in range(d - 1, whole - 1, -1):
        _one_row(factor, i, i + 1, z, spare, 0)
        z[i] = spare[0]
    for i in range(whole - 4, -1, -4):
        _four_rows(factor, i, i + 4, z, spare, 0)
        z[i : i + 4] = spare


class Dense(Covariance):
    """Any covariance matrix; positive semi-definite is enough."""

    def __init__(self, matrix: Floats) -> None:
        self.dimension = len(matrix)
        values, vectors = np.linalg.eigh(matrix)
        size = max(float(np.abs(values).max()), np.finfo(float).tiny)
        if values[0] < -1e-10 * size:
            raise _check.bad(
                "covariance",
                f"a matrix with the eigenvalue {values[0]:.3g}",
                "positive semi-definite",
                "pass a covariance, for example np.cov(X.T)",
            )
        self._eigenvalues = np.maximum(values, 0.0)
        # L' = R of the QR decomposition of any square root: exists for a singular matrix too
        upper = np.linalg.qr((vectors * np.sqrt(self._eigenvalues)).T, mode="r")
        factor = np.ascontiguousarray((np.where(np.diag(upper) < 0.0, -1.0, 1.0)[:, None] * upper).T)
        self.parameters: DenseParameters = DenseParameters(matrix, factor)

    def dense(self) -> Floats:
        return self.parameters.matrix

    def root(self) -> Floats:
        return self.parameters.factor

    def eigenvalues(self) -> Floats:
        return self._eigenvalues

    def __repr__(self) -> str:
        return f"<dense, d={self.dimension}>"


def as_covariance(value: ArrayLike | Covariance | None, dimension: int) -> Covariance:
    """The covariance a user meant: None (identity), (d,) variances, (d, d) matrix, or one of ours."""
    d = dimension
    mend = f"pass None, variances ({d},), a matrix ({d}, {d}), or rs.AR1({d}, rho)"
    if value is None:
        return Diagonal(np.ones(d))
    if isinstance(value, Covariance):
        if value.dimension != d:
            raise _check.bad("covariance", f"{value!r} of dimension {value.dimension}", f"of dimension {d}", mend)
        return value
    if np.ndim(value) == 1:  # type: ignore[arg-type]
        variance = _check.array("covariance", value, (d,), mend=mend)
        if variance.min() < 0.0:
            raise _check.bad("covariance", f"{variance.min():g} somewhere", "variances >= 0", mend)
        return Diagonal(variance)
    matrix = _check.array("covariance", value, (d, d), mend=mend)
    gap = float(np.abs(matrix - matrix.T).max())
    if gap > 1e-10 * float(np.abs(matrix).max()):
        raise _check.bad(
            "covariance",
            f"a matrix that differs from its transpose by {gap:.3g}",
            "symmetric",
            "pass (C + C.T) / 2 if rounding made the difference",
        )
    return Dense(np.ascontiguousarray((matrix + matrix.T) / 2.0))


@compilable
def dot(x, y, out):
    """x'y in every lane, summed four coordinates at a time; `x`, `y` (d, lanes), `out` (lanes,)."""
    d = x.shape[0]
    whole = d - d % 4
    out[:] = 0.0
    for j in range(0, whole, 4):
        for lane in range(out.size):
            left = fma(x[j, lane], y[j, lane], x[j + 1, lane] * y[j + 1, lane])
            right = fma(x[j + 2, lane], y[j + 2, lane], x[j + 3, lane] * y[j + 3, lane])
            out[lane] += left + right
    for j in range(whole, d):
        for lane in range(out.size):
            out[lane] = fma(x[j, lane], y[j, lane], out[lane])


@compilable
def project(vector, x, out):
    """vector'x in every lane: `dot` with a vector (d,) that all lanes share."""
    d = vector.size
    whole = d - d % 4
    out[:] = 0.0
    for j in range(0, whole, 4):
        v0, v1, v2, v3 = vector[j], vector[j + 1], vector[j + 2], vector[j + 3]
        for lane in range(out.size):
            left = fma(v0, x[j, lane], v1 * x[j + 1, lane])
            right = fma(v2, x[j + 2, lane], v3 * x[j + 3, lane])
            out[lane] += left + right
    for j in range(whole, d):
        v0 = vector[j]
        for lane in range(out.size):
            out[lane] = fma(v0, x[j, lane], out[lane])


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
def _(covariance, x, out):
    out[:] = x
    _add_spikes(covariance.directions, covariance.spikes, x, np.empty(LANES), out)


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

    def __repr__(self) -> str:
        return f"<spiked, d={self.dimension}, k={len(self.parameters.spikes)}>"

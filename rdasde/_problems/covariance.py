"""Covariances of a Gaussian vector: diagonal, first-order autoregressive, dense.

Each knows how to multiply (``H x``) and how to color white noise (``L z``, ``L L' = H``), both in lanes, and
its spectrum. The products cost O(d) for the first two.
"""

from __future__ import annotations

import abc
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, fma, generic, implements, one_row
from rdasde._compiled.lanes import LANES, copy, four_rows, multiply, single_row
from rdasde._problems.equality import glance, same

SPARE = 4  # rows of scratch that `color` and `correlate` ask for


@generic
def correlate(covariance, x, spare, out):
    """H x into `out`; both (d, lanes), `spare` (SPARE, lanes) is scratch."""


@generic
def color(covariance, z, spare):
    """L z in place, ``L L' = H``; `z` (d, lanes), `spare` (SPARE, lanes) is scratch."""


@Kernel
def _multiply(covariance: Any, x: Floats, spare: Floats, out: Floats) -> None:
    correlate(covariance, x, spare, out)


class Modes(NamedTuple):
    """``x = sum_i components_i vectors_i``, unit eigenvectors of a covariance; None for the coordinate axes."""

    values: Floats
    components: Floats
    vectors: Floats | None  # (mode, d)

    def together(self, weights: Floats) -> Floats:
        """``sum_i weights_i vectors_i`` for `weights` (..., mode)."""
        return weights if self.vectors is None else weights @ self.vectors


class Covariance(abc.ABC):
    """What all kinds share. `parameters` is the NamedTuple that compiled code sees."""

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
        return np.asarray(np.linalg.cholesky(self.dense()), dtype=np.float64)

    def multiply(self, x: Floats) -> Floats:
        """H x for `x` of shape (d,) or (d, m)."""
        return self.dense() @ x

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, Covariance) and type(self) is type(other) and self.dimension == other.dimension
        return alike and same(self.parameters, getattr(other, "parameters", None))

    def __hash__(self) -> int:
        return hash((type(self), self.dimension, glance(self.parameters)))

    @functools.cached_property
    def matrix(self) -> Floats:
        """`dense`, computed once."""
        return self.dense()

    @functools.cached_property
    def factor(self) -> Floats:
        """`root`, computed once."""
        return self.root()

    @functools.cached_property
    def _eigen(self) -> tuple[Floats, Floats]:
        values, vectors = np.linalg.eigh(self.matrix)
        return np.maximum(values, 0.0), vectors

    def leading(self) -> Floats:
        """A leading unit eigenvector, (d,)."""
        vector: Floats = self._eigen[1][:, -1]
        return vector

    def modes(self, x: Floats) -> Modes:
        """A vector (d,) taken apart along eigenvectors."""
        values, vectors = self._eigen
        return Modes(values, x @ vectors, vectors.T)

    @property
    def trace(self) -> float:
        """Sum of the eigenvalues."""
        return float(self.eigenvalues().sum())

    @property
    def longest_row(self) -> float:
        """The largest norm of a row."""
        return float(np.linalg.norm(self.matrix, axis=1).max())

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues()[-1])


class DiagonalParameters(NamedTuple):
    variance: Floats
    std: Floats


@implements(correlate, DiagonalParameters)
def _(covariance, x, spare, out):
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

    def leading(self) -> Floats:
        vector: Floats = np.zeros(self.dimension)
        vector[np.argmax(self.parameters.variance)] = 1.0
        return vector

    def modes(self, x: Floats) -> Modes:
        return Modes(self.parameters.variance, x, None)

    @property
    def longest_row(self) -> float:
        return float(self.parameters.variance.max())

    def __repr__(self) -> str:
        variance = self.parameters.variance
        return "None" if np.all(variance == 1.0) else f"<diagonal, d={self.dimension}>"


class AR1Parameters(NamedTuple):
    rho: float
    innovation: float  # sqrt(1 - rho^2)


@implements(correlate, AR1Parameters)
def _(covariance, x, spare, out):
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

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.AR1(3, 0.5).dense()
    array([[1.  , 0.5 , 0.25],
           [0.5 , 1.  , 0.5 ],
           [0.25, 0.5 , 1.  ]])
    >>> problem = rs.LinearRegression([0.5, 0.0, 0.0], rs.AR1(3, 0.5))
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

    @property
    def longest_row(self) -> float:
        middle = np.abs(np.arange(self.dimension) - (self.dimension - 1) // 2)  # the row with the most near it
        return float(np.linalg.norm(self.parameters.rho**middle))

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
        _multiply(self.parameters, np.ascontiguousarray(x), np.empty((SPARE, 0)), out)  # an AR(1) needs no scratch
        return out

    def __repr__(self) -> str:
        return f"AR1({self.dimension}, {self.parameters.rho:g})"


class DenseParameters(NamedTuple):
    matrix: Floats
    factor: Floats  # lower triangular


@implements(correlate, DenseParameters)
def _(covariance, x, spare, out):
    multiply(covariance.matrix, x, out)


@implements(color, DenseParameters)
def _(covariance, z, spare):
    # from the last row up: a row needs only the rows above it, still white
    factor = covariance.factor
    d = factor.shape[0]
    whole = d - d % 4
    for i in range(d - 1, whole - 1, -1):
        single_row(factor, i, i + 1, z, spare, 0)
        copy(spare[0], z[i])
    for i in range(whole - 4, -1, -4):
        four_rows(factor, i, i + 4, z, spare, 0)
        copy(spare, z[i : i + 4])


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
    if _check.axes_of(value) == 1:
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

"""What a problem is: a mean gradient, a Hessian, a noise covariance, and the same in lanes for the kernels.

The compiled pieces are generic functions of the type of the problem's parameters. `scratch` holds the areas of the
problem's `Layout`; no piece keeps anything in it from one call to the next, and none allocates.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import generic, implements
from rdasde._compiled.random import streams
from rdasde._compiled.scratch import Layout
from rdasde._html import card
from rdasde._problems.equality import glance, same
from rdasde._problems.row_terms import RowModel


@generic
def add_gradient(problem, w, streams, scratch, out):
    """Add one stochastic gradient at `w` (d, lanes) to `out`, a fresh sample in every lane."""


@generic
def drift(problem, w, scratch, out):
    """The mean gradient at `w` into `out`, both (d, lanes)."""


@generic
def noise(problem, w, streams, scratch, out):
    """A Gaussian vector of covariance Sigma(w) into `out`, in factored form: no matrix root."""


@generic
def hessian_product(problem, w, u, scratch, out):
    """H(w) u into `out`, all (d, lanes)."""


class Along(NamedTuple):
    """A problem at the points of a path."""

    problem: NamedTuple
    points: Floats  # (time, d)


@generic
def noise_along(along, k, spare, streams, scratch, out):
    """`noise` at point k of a path; `spare` (d, lanes) holds the point."""


@generic
def hessian_along(along, k, spare, u, scratch, out):
    """`hessian_product` at point k of a path; `spare` (d, lanes) holds the point."""


@implements(noise_along, Along)
def _(along, k, spare, streams, scratch, out):
    for j in range(spare.shape[0]):
        spare[j] = along.points[k, j]
    noise(along.problem, spare, streams, scratch, out)


@implements(hessian_along, Along)
def _(along, k, spare, u, scratch, out):
    for j in range(spare.shape[0]):
        spare[j] = along.points[k, j]
    hessian_product(along.problem, spare, u, scratch, out)


class Expectations(NamedTuple):
    """Of a random W: means that enter the moment equations of the dual diffusion.

    Products of matrices are what they cost, and the equations have one of E[H(W)] with a matrix in any case. So the
    noise may leave out a multiple of the scatter of G, ``E[H(W)] Cov(W) E[H(W)]'``, for that product to bring in.
    """

    gradient: Floats  # E G(W), (d,)
    hessian: Callable[[Floats], Floats]  # X -> E[H(W)] X, for X (d, d)
    noise: Floats  # E Sigma(W), less `share` times the scatter, (d, d)
    share: float = 0.0
    cross: Floats | None = None  # Cov(W, G(W)) = Cov(W) E[H(W)]', (d, d), up to third order, where it came up
    matrix: Floats | None = None  # E[H(W)], where it was formed

    @staticmethod
    def formed(gradient: Floats, matrix: Floats, noise: Floats, **others: Any) -> Expectations:
        """With E[H(W)] as a matrix."""
        return Expectations(gradient, lambda x: matrix @ x, noise, matrix=matrix, **others)

    def hessian_diagonal(self, x: Floats) -> Floats:
        """The diagonal of ``E[H(W)] x``, (d,)."""
        return np.diagonal(self.hessian(x)) if self.matrix is None else np.einsum("ij,ji->i", self.matrix, x)

    def whole_noise(self) -> Floats:
        """E Sigma(W)."""
        if self.cross is None or not self.share:
            return self.noise
        return self.noise + self.share * self.hessian(self.cross)


class Diagonals(NamedTuple):
    """`Expectations` where the Hessian is diagonal and constant: what means and variances depend on, each (d,)."""

    gradient: Floats
    hessian: Floats
    noise: Floats


class Problem(abc.ABC):
    """What the algorithms learn: a distribution of gradients.

    Attributes
    ----------
    dimension : int
        Number of coordinates d.
    minimizer : ndarray of shape (d,) or None
        Where the mean gradient vanishes, if known.

    Notes
    -----
    Problems compare equal when they are of the same class with the same parameters: arrays by content, a user's
    functions by what they compute.

    Examples
    --------
    >>> import rdasde as rs
    >>> problem = rs.LinearRegression([0.5, 0.0])
    >>> isinstance(problem, rs.Problem), problem == rs.LinearRegression([0.5, 0.0])
    (True, True)
    >>> problem.dimension, problem.minimizer
    (2, array([0.5, 0. ]))
    """

    dimension: int
    minimizer: Floats | None
    is_even: bool = False  # whether -w is as good as w, so that `minimizer` has an arbitrary sign
    has_exact_gradient: bool = True  # whether `mean_gradient` is known, not estimated from draws
    has_kinks: bool = False  # whether the slope of `mean_gradient` jumps
    has_jumps: bool = False  # whether `mean_gradient` jumps, so that `hessian` does not tell its slope
    has_independent_draws: bool = True  # of samples in a run; without it a diffusion is not its law
    is_quadratic: bool = False  # then the closure is exact but for the shape of V
    decouples: bool = False  # whether `diagonal_expectations` is known
    is_gaussian_least_squares: bool = False  # linear regression with a Gaussian design, whose moments close
    row_model: ClassVar[RowModel | None] = None  # what `fit` needs of the class, if it can be fitted
    parameters: NamedTuple  # what compiled code sees
    scratch: Layout  # what compiled code works in

    @staticmethod
    def make_streams(seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> Any:
        """What `add_gradient` and `noise` draw from, for one block: a NamedTuple, keyed by (seed, replicate) alone."""
        return streams(seed, replicates, purpose)

    def along(self, points: Floats) -> NamedTuple:
        """What `noise_along` and `hessian_along` see: here `Along`, or what spares work that is the same for all."""
        return Along(self.parameters, points)

    @property
    def has_compiled_drift(self) -> bool:
        """Whether `drift` and `hessian_product` can be compiled, which paths of the diffusion need."""
        return True

    def expectation_cost(self) -> float:
        """About how many products of numbers `expectations` takes."""
        return 6.0 * float(self.dimension) ** 3

    def drift_cost(self) -> float:
        """About how many numbers a mean gradient looks at."""
        return float(self.dimension**2)

    @abc.abstractmethod
    def mean_gradient(self, w: ArrayLike) -> Floats:
        """``G(w) = E grad f(w; Z)``, shape (d,)."""

    @abc.abstractmethod
    def hessian(self, w: ArrayLike) -> Floats:
        """The Jacobian of `mean_gradient` at w, shape (d, d)."""

    def smoothed_hessian(self, w: Floats) -> Floats:
        """The Hessian at w, or, where the gradient jumps, what tells how it moves on the scale of its noise."""
        return self.hessian(w)

    @abc.abstractmethod
    def noise_covariance(self, w: ArrayLike) -> Floats:
        """``Sigma(w) = Cov grad f(w; Z)``, shape (d, d)."""

    @abc.abstractmethod
    def default_start(self) -> Floats:
        """Where a run starts when the user does not say."""

    def flow(self, start: Floats, times: Floats) -> Floats | None:
        """``dw/dt = -G(w)`` from `start` in closed form, (time, d); None where there is none."""
        return None

    @abc.abstractmethod
    def fastest_rate(self) -> float:
        """About the largest eigenvalue of the Hessian along a run: what limits the time step of the diffusion."""

    def typical_rate(self) -> float:
        """The root mean square of the rates that a coordinate relaxes with, for the worst coordinate.

        That is the largest norm of a row of the Hessian along a run; `fastest_rate` where nothing better is known.
        """
        return self.fastest_rate()

    @abc.abstractmethod
    def trace(self) -> float:
        """About the trace of the Hessian along a run."""

    def instability(self, step_size: float, batch_size: int) -> str | None:
        """Why the step size is past mean-square stability (in words), or None."""
        return None

    @abc.abstractmethod
    def noise_factor(self, w: Floats) -> Floats:
        """A matrix B (d, m) with ``B B' = Sigma(w)``."""

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """What the Gaussian closure needs, given the first two moments of W; exact for quadratic problems.

        Here, for a problem that knows no better: the mean gradient averaged over the 2 d points
        ``mean +- sqrt(d) c_i``, ``sum_i c_i c_i' = covariance`` (exact for cubic ones of a Gaussian W), the Hessian
        and the noise at the mean.
        """
        gradient = sigma_average(self.mean_gradient, mean, covariance)
        return Expectations.formed(gradient, self.hessian(mean), self.noise_covariance(mean))

    def diagonal_expectations(self, mean: Floats, variance: Floats) -> Diagonals:
        """The same from the variances of W alone, where the problem `decouples`."""
        raise NotImplementedError

    def _defining(self) -> tuple[Any, ...]:
        """What sets problems of one class apart."""
        return self.dimension, self.parameters

    def __eq__(self, other: object) -> bool:
        """Same class, same parameters: arrays by content, functions by what they compute."""
        return isinstance(other, Problem) and type(self) is type(other) and same(self._defining(), other._defining())

    def __hash__(self) -> int:
        """From the first few numbers of each array only: its cost does not grow with the data."""
        return hash((type(self), self.dimension, glance(self.parameters)))

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"dimension": self.dimension}
        rows["mean gradient"] = "exact" if self.has_exact_gradient else "estimated from draws"
        return card(repr(self), rows)

    def _point(self, w: ArrayLike) -> Floats:
        return _check.array("w", w, (self.dimension,), mend="give one number for each coordinate")


def sigma_average(function: Callable[[Floats], Floats], mean: Floats, covariance: Floats) -> Floats:
    """``E f(W)`` over the 2 d points ``mean +- sqrt(d) c_i``, ``sum_i c_i c_i' = covariance``: exact for cubic f."""
    values, vectors = np.linalg.eigh(covariance)
    # the symmetric root: eigenvectors alone turn at random where eigenvalues meet
    spread = (vectors * np.sqrt(len(mean) * np.maximum(values, 0.0))) @ vectors.T
    columns = [column for column in spread.T if np.any(column)]
    total: Floats = (len(mean) - len(columns)) * 2.0 * function(mean)
    for column in columns:
        total = total + (function(mean + column) + function(mean - column))
    return total / (2.0 * len(mean))


def gaussian_instability(rates: Floats, batch_size: int, eigenvalue: str) -> str | None:
    """Why least squares on a Gaussian design is not stable in mean square, or None (theory, section 4).

    With x_i the `rates`, step size times eigenvalues, and b the batch size, it is stable iff all
    ``x_i (1 + 1/b) < 2`` and ``sum_i x_i / (b (2 - x_i (1 + 1/b))) < 1``. `eigenvalue` names what is multiplied.
    """
    room = 2.0 - rates * (1.0 + 1.0 / batch_size)
    if room.min() <= 0.0:
        return f"step_size * largest {eigenvalue} * (1 + 1/batch_size) is {2.0 - room.min():.3g}, not below 2"
    total = float(np.sum(rates / (batch_size * room)))
    if total >= 1.0:
        x = eigenvalue.replace("eigenvalue", "eigenvalues")
        return f"sum_i x_i / (b (2 - x_i (1 + 1/b))), x = step_size * {x}, is {total:.3g}, not below 1"
    return None

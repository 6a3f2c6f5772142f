"""What a problem is: a mean gradient, a Hessian, a noise covariance, and the same in lanes for the kernels."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._jit import generic


@generic
def add_gradient(problem, w, streams, scratch, out):
    """Add one stochastic gradient at `w` (d, lanes) to `out`, a fresh sample in every lane."""


@generic
def drift(problem, w, out):
    """The mean gradient at `w` into `out`, both (d, lanes)."""


@generic
def noise(problem, w, streams, scratch, out):
    """A Gaussian vector of covariance Sigma(w) into `out`, in factored form: no matrix root."""


@generic
def hessian_product(problem, w, u, out):
    """H(w) u into `out`, all (d, lanes)."""


class Problem:
    """What the algorithms learn: a distribution of gradients.

    Attributes
    ----------
    dimension : int
        Number of coordinates d.
    minimizer : ndarray of shape (d,) or None
        Where the mean gradient vanishes, if known.
    """

    dimension: int
    minimizer: Floats | None
    parameters: NamedTuple
    scratch_rows: int

    def mean_gradient(self, w: ArrayLike) -> Floats:
        """``G(w) = E grad f(w; Z)``, shape (d,)."""
        raise NotImplementedError

    def hessian(self, w: ArrayLike) -> Floats:
        """The Jacobian of `mean_gradient` at w, shape (d, d)."""
        raise NotImplementedError

    def noise_covariance(self, w: ArrayLike) -> Floats:
        """``Sigma(w) = Cov grad f(w; Z)``, shape (d, d)."""
        raise NotImplementedError

    def default_start(self) -> Floats:
        """Where a run starts when the user does not say."""
        raise NotImplementedError

    def flow(self, start: Floats, times: Floats) -> Floats | None:
        """``dw/dt = -G(w)`` from `start` in closed form, (time, d); None where there is none."""
        return None

    def fastest_rate(self) -> float:
        """About the largest eigenvalue of the Hessian along a run: what limits the time step of the diffusion."""
        raise NotImplementedError

    def trace(self) -> float:
        """About the trace of the Hessian along a run."""
        raise NotImplementedError

    def instability(self, step_size: float, batch_size: int) -> str | None:
        """Why the step size is past mean-square stability (in words), or None."""
        return None

    def noise_factor(self, w: Floats) -> Floats:
        """A matrix B (d, m) with ``B B' = Sigma(w)``."""
        raise NotImplementedError

    def gaussian_gradient(self, mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
        """``E G(W)`` (d,) and ``E Sigma(W)`` (d, d), given the first two moments of W. Quadratic problems only."""
        raise NotImplementedError

    def apply_hessian(self, matrix: Floats) -> Floats:
        """``H matrix``. Quadratic problems only."""
        raise NotImplementedError

    def _point(self, w: ArrayLike) -> Floats:
        return _check.array("w", w, (self.dimension,), mend="give one number for each coordinate")

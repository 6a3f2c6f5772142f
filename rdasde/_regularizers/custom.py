"""A user's own mirror map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.functions import apply, call, for_compiled_code
from rdasde._compiled.jit import Kernel, implements
from rdasde._compiled.trial import compile_for
from rdasde._normal import normal_cdf
from rdasde._regularizers.base import Fluctuation, GaussianMoments, NDArrayBool, Regularizer, checked_state, mirror
from rdasde._regularizers.probe import Probe, subgradient

_REACH = 8.5  # standard deviations that the quadrature covers
_NODES = np.linspace(-_REACH, _REACH, 1001)


class CustomParameters(NamedTuple):
    prox: Any  # what `call` takes, of the user's function
    unused: float


@implements(mirror, CustomParameters)
def _(regularizer, v, threshold, w):
    vector, mapped = np.empty(v.shape[0]), np.empty(v.shape[0])
    for lane in range(v.shape[1]):
        for j in range(v.shape[0]):
            vector[j] = v[j, lane]
        call(regularizer.prox, vector, threshold, mapped)
        for j in range(v.shape[0]):
            # what the function makes of a NaN is its own affair: here it stays one
            w[j, lane] = mapped[j] if vector[j] == vector[j] else vector[j]


@Kernel
def _images(prox: Any, v: Floats, thresholds: Floats, out: Floats) -> None:
    """``out[i]`` (d,) gets the image of v[i] at threshold i."""
    for i in range(v.shape[0]):
        call(prox, v[i], thresholds[i], out[i])


def _tried(trait: str) -> Any:
    """An attribute that says whether a probe of the map has this answer."""

    def known(regularizer: CustomRegularizer) -> bool:
        answer = getattr(regularizer._probe(), trait) if regularizer.separable else None
        return answer is not None and answer is not False

    return property(known)


class NotCarried(ValueError):
    """A mirror map that is a function of the user's own is not part of a result."""


class CustomRegularizer(Regularizer):
    """A regularizer of your own, by its proximal operator.

    ``out = argmin_w threshold P(w) + ||w - v||^2 / 2`` for a convex P.

    Parameters
    ----------
    prox : callable
        ``prox(v, threshold, out)`` writes the image of `v` (d,) into `out` (d,) and leaves `v` as it is. A function
        that numba can compile, or one already compiled by ``numba.njit``.
    separable : bool
        Whether each coordinate of the image depends on that coordinate of `v` alone (and grows with it). If not, bands
        come from paths, and the closure is not available.

    Raises
    ------
    TypeError
        If `prox` is not a function, or `separable` not True or False.
    ValueError
        If numba cannot compile `prox`.

    Notes
    -----
    Derivatives are taken by differences, Gaussian moments by quadrature. A result does not carry the function: pass
    ``regularizer=`` to `band`. Kernels with your function are compiled once and kept on disk for other
    processes, until it is changed, or what it refers to.

    Where theory asks for more than a mirror map (`approximate` with ``method="limit"``, `weak_error` with
    ``equation_order=2``, standard errors of `fit`), a separable one is tried, as plain Python, on a few dozen values at
    a few thresholds: it need not be of our own classes but do what they do.

    Examples
    --------
    The squared norm, which shrinks and leaves nothing at zero:

    >>> import rdasde as rs
    >>> def ridge(v, threshold, out):
    ...     out[:] = v / (1.0 + threshold)
    >>> rs.CustomRegularizer(ridge).prox([2.0, -1.0], 1.0)
    array([ 1. , -0.5])
    """

    identity_at_zero: bool = _tried("identity_at_zero")
    slope_is_indicator: bool = _tried("slope_is_indicator")
    has_constant_slope: bool = _tried("has_constant_slope")
    has_fluctuation: bool = _tried("kink")
    has_value: bool = _tried("has_value")

    def __init__(self, prox: Callable[[Floats, float, Floats], object], separable: bool = True) -> None:
        if not callable(prox):
            raise _check.wrong_kind(
                "prox", prox, "a function prox(v, threshold, out)", "pass one that writes the image of v into out"
            )
        if not isinstance(separable, bool):
            raise _check.wrong_kind("separable", separable, "True or False", "say whether prox works coordinatewise")
        self.function = prox
        self.separable = separable
        self.has_moments = separable
        compiled = for_compiled_code(prox, 3)
        compile_for("prox", compiled, (np.ones(1), 1.0, np.ones(1)))
        self.parameters: CustomParameters = CustomParameters(compiled, 0.0)
        self._dimension: int | None = None  # of the problem it is used with
        self._probes: dict[int | None, Probe] = {}

    def check_dimension(self, dimension: int) -> None:
        if dimension != self._dimension:
            self._try(dimension)
        self._dimension = dimension  # the function may fit this one only

    def _try(self, dimension: int) -> None:
        """ValueError where the compiled function does not write the image of a point into `out`."""
        point = np.random.default_rng(0).uniform(-0.75, 0.75, dimension)
        accepted = "a function prox(v, threshold, out) that overwrites out (d,)"
        zeros, ones = np.zeros(dimension), np.ones(dimension)
        for out in (zeros, ones):
            v = point.copy()
            with np.errstate(all="ignore"):
                apply(self.parameters.prox, (v, 0.5, out))
        if not np.array_equal(zeros, ones, equal_nan=True):
            got = "a function that leaves what was in out before"
            raise _check.bad("prox", got, accepted, "write all of it, for example out[:] = ...")

    def _probe(self, dimension: int | None = None) -> Probe:
        """What is found out by trying the function, in this dimension or that of the problem it was last used with."""
        dimension = self._dimension if dimension is None else dimension
        if dimension not in self._probes:
            self._probes[dimension] = Probe(self.function, dimension)
        return self._probes[dimension]

    def prox(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        v, g = checked_state(v, threshold)
        v = np.broadcast_to(v, np.broadcast_shapes(v.shape, (*g.shape[:-1], 1)))
        out = np.empty(v.shape)
        levels = np.broadcast_to(g if g.ndim == 0 else g[..., 0], v.shape[:-1])
        rows = np.array(v.reshape(-1, v.shape[-1]))  # a copy: the function may change its argument
        _images(self.parameters.prox, rows, np.array(levels).reshape(-1), out.reshape(rows.shape))
        return np.where(np.isnan(v), v, out)

    def jacobian_diagonal(self, v: ArrayLike, threshold: ArrayLike) -> Floats:
        self._need_separable("its Jacobian is diagonal")
        v = np.asarray(v, dtype=np.float64)
        step = np.cbrt(np.finfo(float).eps) * np.maximum(1.0, np.abs(v))
        right, left = v + step, v - step
        return (self.prox(right, threshold) - self.prox(left, threshold)) / (right - left)

    def subgradient(self, w: Floats) -> Floats:
        """By differences in the threshold; zeros where coordinates are coupled."""
        return subgradient(self.prox, w) if self.separable else np.zeros_like(w)

    def kink_weights(self, dimension: int) -> Floats | None:
        kink = self._probe(dimension).kink if self.separable else None
        return None if kink is None else kink.copy()

    def dead_zone(self, threshold: Floats) -> tuple[Floats, Floats] | None:
        ends = self._probe().dead_zone if self.separable else None
        if ends is None:
            return None
        lower, upper = (np.full_like(threshold, end) if np.isinf(end) else end * threshold for end in ends)
        return lower, upper

    def fluctuation(self, flow: Floats, zero: NDArrayBool, tuning: Floats) -> Fluctuation:
        kink = self.kink_weights(flow.shape[1])
        if kink is None:
            raise ValueError(
                f"The regularizer is {self!r}, which near 0 is no soft-threshold: use method='paths' instead."
            )
        reach = tuning[:, None] * kink
        shift = tuning[:, None] * self.subgradient(flow)
        return Fluctuation(np.ones_like(flow), np.where(zero, 0.0, shift), np.where(zero, reach, 0.0))

    def gaussian_moments(self, mean: Floats, std: Floats, threshold: ArrayLike) -> GaussianMoments:
        """Moments by the trapezoidal rule; the derivatives by Stein's lemma, which only needs W itself.

        ``E prox' = E[Z W] / s``, ``E prox'' = E[(Z^2 - 1) W] / s^2``. P(W = 0) is that of an interval, its ends found
        by bisection: the map is nondecreasing.
        """
        self._need_separable("its Gaussian moments are known")
        if mean.ndim > 1:
            levels = np.broadcast_to(threshold, (len(mean), 1))[:, 0]
            parts = [self.gaussian_moments(m, s, g) for m, s, g in zip(mean, std, levels, strict=True)]
            return GaussianMoments(*(np.array(values) for values in zip(*parts, strict=True)))
        threshold = float(np.asarray(threshold))
        z = _NODES[:, None]
        weights = np.exp(-0.5 * z**2)
        weights /= weights.sum()
        centre = self.prox(mean, threshold)
        change = self.prox(mean + std * z, threshold) - centre
        shift = (weights * change).sum(axis=0)
        moving = std > 0.0
        safe = np.where(moving, std, 1.0)
        slope = (weights * z * change).sum(axis=0) / safe
        curvature = (weights * (z**2 - 1.0) * change).sum(axis=0) / safe**2
        return GaussianMoments(
            centre + shift,
            (weights * (change - shift) ** 2).sum(axis=0),
            np.where(moving, slope, self.jacobian_diagonal(mean, threshold)),
            np.where(moving, curvature, 0.0),
            np.where(moving, self._zero(mean, std, threshold), centre == 0.0),
        )

    def _zero(self, mean: Floats, std: Floats, threshold: float) -> Floats:
        """``P(W = 0)``: between the last z with ``W < 0`` and the first with ``W > 0``."""
        ends = []
        for beyond in (np.greater_equal, np.greater):
            low, high = np.full_like(mean, -_REACH), np.full_like(mean, _REACH)
            for _ in range(50):
                middle = 0.5 * (low + high)
                above = beyond(self.prox(mean + std * middle, threshold), 0.0)
                low, high = np.where(above, low, middle), np.where(above, middle, high)
            ends.append(high)
        return np.maximum(normal_cdf(ends[1]) - normal_cdf(ends[0]), 0.0)

    def _need_separable(self, what: str) -> None:
        if not self.separable:
            raise ValueError(
                f"The regularizer is {self!r}, which couples coordinates, but {what} only for separable ones: "
                "use method='paths' instead."
            )

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Regularizer:
        raise NotCarried(
            "The regularizer is a function of the user's own, which a result does not carry: pass regularizer=."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomRegularizer) and (self.function, self.separable) == (
            other.function,
            other.separable,
        )

    def __hash__(self) -> int:
        return hash((self.function, self.separable))

    def __repr__(self) -> str:
        return f"CustomRegularizer({getattr(self.function, '__name__', 'prox')})"

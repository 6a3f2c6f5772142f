"""What a user's own mirror map is like, found out by trying the plain Python function on a few dozen values.

Asked are the same things that our own regularizers state of themselves. An answer is None where the function cannot be
tried outside compiled code, or not in this dimension: then nothing is known, as of any other function.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from rdasde._check import Floats

_SIZES = 1.1 * 3.3 ** np.arange(-5, 8)  # of coordinates, from .003 to 4 700; far from round numbers, where kinks may be
_VALUES = np.concatenate([-_SIZES[::-1], _SIZES])
_THRESHOLDS = (0.0, 0.13, 0.71, 2.9)
_STATES = 2**12  # numbers tried at once: in high dimension each coordinate is tried at fewer values
_STEP = 2.0**-14  # of difference quotients in v, relative: exact for piecewise linear maps
_SLOPE = 1e-6  # how near to each other slopes count as equal
_REACH = 2.0**-17  # threshold of difference quotients in it, relative to the coordinate up to 1
_NEAR, _SCALE = 2.0**-20, 2.0**-30  # places next to 0: where P is differentiated, what the map is looked at in units of
_SCALED_VALUES = np.array([-7.3, -2.9, -1.3, -0.6, -0.2, 0.2, 0.6, 1.3, 2.9, 7.3])
_SCALED_THRESHOLDS = (0.7, 1.9)

Map = Callable[[Floats, float], Floats]
T = TypeVar("T")


def subgradient(prox: Map, w: Floats) -> Floats:
    """P'(w_j) where ``w_j != 0``, 0 elsewhere, (..., d): how fast the map leaves w as the threshold leaves 0.

    ``(w - prox(w, e)) / e``, extrapolated from e and e / 2 to 0, e a fixed share of the coordinate; for a separable map
    that is the identity at threshold 0 as far as `w` goes.
    """
    steps = np.ldexp(_REACH, np.frexp(np.minimum(np.abs(w), 1.0))[1])
    out = np.zeros_like(w)
    for step in np.unique(steps[w != 0.0]):
        whole, half = ((w - prox(w, e)) / e for e in (step, 0.5 * step))
        np.copyto(out, 2.0 * half - whole, where=(w != 0.0) & (steps == step))
    return out


def _trait(find: Callable[[Any], T]) -> functools.cached_property[T | None]:
    """An answer of a probe, found when first asked for; None where trying the function fails."""

    @functools.wraps(find)
    def tried(probe: Probe) -> T | None:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return find(probe) if probe.is_separable else None
        except Exception:  # whatever a user's function makes of being called
            return None

    return functools.cached_property(tried)


class Probe:
    """Tries ``function(v, threshold, out)``, which maps each coordinate by itself, on states of one dimension."""

    def __init__(self, function: Callable[[Floats, float, Floats], object], dimension: int | None = None) -> None:
        self._function = getattr(function, "py_func", function)
        d = len(_VALUES) if dimension is None else dimension
        shifts = min(len(_VALUES), max(2, _STATES // d))
        # every coordinate at the largest values, and at `shifts` others
        ends = np.tile(_VALUES[[0, -1], None], d)
        self._states = np.concatenate([ends, _VALUES[(np.arange(d) + np.arange(shifts)[:, None]) % len(_VALUES)]])

    def _prox(self, states: Floats, threshold: float) -> Floats:
        out = np.full(states.shape, np.nan)
        for v, w in zip(states, out, strict=True):
            self._function(v.copy(), np.float64(threshold), w)
        return out

    @functools.cached_property
    def _images(self) -> list[Floats]:
        """The map of all states, by threshold."""
        return [self._prox(self._states, g) for g in _THRESHOLDS]

    @functools.cached_property
    def _slopes(self) -> list[Floats]:
        right, left = self._states * (1.0 + _STEP), self._states * (1.0 - _STEP)
        return [(self._prox(right, g) - self._prox(left, g)) / (right - left) for g in _THRESHOLDS]

    @functools.cached_property
    def is_separable(self) -> bool:
        """Whether a coordinate of the image stays what it is where every other one of the argument is 0."""
        even = np.arange(self._states.shape[1]) % 2 == 0
        alone = [
            np.where(even, self._prox(self._states * even, g), self._prox(self._states * ~even, g)) for g in _THRESHOLDS
        ]
        return all(np.allclose(w, image, rtol=1e-12, atol=0.0) for w, image in zip(alone, self._images, strict=True))

    @_trait
    def identity_at_zero(self) -> bool:
        """Whether prox(v, 0) = v."""
        v = self._states
        return bool(np.all(np.abs(self._prox(v, 0.0) - v) <= 1e-12 * np.abs(v)))

    @_trait
    def slope_is_indicator(self) -> bool:
        """Whether the slope is 1 where the image is not 0, and 0 elsewhere."""
        pairs = zip(self._images, self._slopes, strict=True)
        return all(np.all(np.abs(slope - (w != 0.0)) <= _SLOPE) for w, slope in pairs)

    @_trait
    def has_constant_slope(self) -> bool:
        """Whether the slope is one number on the whole support, on both sides of 0 in every coordinate."""
        pairs = zip(self._images, self._slopes, strict=True)
        return all(
            np.all(w[0] < 0.0) and np.all(w[1] > 0.0) and np.ptp(slope[w != 0.0]) <= _SLOPE for w, slope in pairs
        )

    @_trait
    def has_value(self) -> bool:
        """Whether P' is linear on either side of 0, as far as the domain of P goes: then P follows from it."""
        w = self._states
        inside = self._prox(w, 0.0) == w
        whole, half, quarter = (subgradient(self._prox, share * w) for share in (1.0, 0.5, 0.25))
        bend = (whole - half) - 2.0 * (half - quarter)
        return bool(inside.any() and np.all(np.abs(bend[inside]) <= 1e-5 * (1.0 + np.abs(whole[inside]))))

    @_trait
    def edges(self) -> tuple[Floats, Floats] | None:
        """The subdifferential of P at 0, lower and upper ends (d,), if next to 0 the map is a soft-threshold with them:

        ``prox(e u, e tau) / e = max(u - upper tau, 0) + min(u - lower tau, 0)`` for small e. An end is infinite where P
        is, beyond 0.
        """
        beyond = []
        for side in (-1.0, 1.0):
            near, twice = np.full((2, self._states.shape[1]), side * _NEAR) * np.array([[1.0], [2.0]])
            end = 2.0 * subgradient(self._row, near) - subgradient(self._row, twice)
            beyond.append(np.where(self._row(near, 0.0) == near, end, side * np.inf))
        lower, upper = beyond
        u = np.tile(_SCALED_VALUES[:, None], len(lower))
        for tau in _SCALED_THRESHOLDS:
            image = self._prox(_SCALE * u, _SCALE * tau) / _SCALE
            expected = np.maximum(u - upper * tau, 0.0) + np.minimum(u - lower * tau, 0.0)
            if not np.all(np.abs(image - expected) <= 1e-6 * (1.0 + np.abs(u))):
                return None
        return lower, upper

    def _row(self, v: Floats, threshold: float) -> Floats:
        return self._prox(v[None], threshold)[0]

    @_trait
    def kink(self) -> Floats | None:
        """The weights (d,) of the l1 part of P, where this is its only kink.

        The edges are then symmetric, the map is the identity at threshold 0, and nowhere else does it rest.
        """
        if self.edges is None or not self.identity_at_zero:
            return None
        lower, upper = self.edges
        pairs = zip(self._images, self._slopes, strict=True)
        rests = any(np.any(slope[w != 0.0] <= _SLOPE) for w, slope in pairs)
        if rests or not np.all(np.abs(lower + upper) <= 1e-9 * (1.0 + upper)) or not upper.max() > 0.0:
            return None
        return 0.5 * (upper - lower)

    @_trait
    def dead_zone(self) -> tuple[float, float] | None:
        """The interval that is mapped to 0 at threshold 1, in proportion at others; None if coordinates differ."""
        if self.edges is None:
            return None
        (lower, upper), v = self.edges, self._states
        ends = float(lower[0]), float(upper[0])
        if ends == (0.0, 0.0) or not all(np.all(e == e[0]) or np.ptp(e) <= 1e-9 for e in (lower, upper)):
            return None
        for w, g in list(zip(self._images, _THRESHOLDS, strict=True))[1:]:
            if not np.array_equal(w == 0.0, (v >= ends[0] * g) & (v <= ends[1] * g)):
                return None
        return ends

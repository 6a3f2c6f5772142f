"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.functions import apply, call, for_compiled_code
from rdasde._compiled.jit import Kernel, compilable, implements
from rdasde._compiled.trial import compile_for
from rdasde._losses.base import GaussianMeans, Loss, derivative, second_derivative

_DIFFERENCE = 1e-3  # step of differences of order four, in units of the predictor: a loss is smooth on the scale of 1
_ROUNDING = 64.0 * float(np.finfo(np.float64).eps)  # relative, of a derivative: what is below may be rounding alone
_REACH = 8.5  # standard deviations that matter
_ALONE, _TOGETHER, _FAR = 2000, 200, 40  # nodes on each side, for one mean, for many, and where l' hardly changes
_STEPS = np.array([-5.0, -3.0, -1.5, 0.0, 1.5, 3.0, 5.0])  # panels of a normal law, in standard deviations
_GROWTH = 2.5  # of panels, away from a kink
_PLACES, _FARTHEST, _HALVINGS = 2001, 1e3, 26  # where kinks are looked for, in cells that are halved
_BESIDE, _AROUND = 1e-5, 0.05  # where slopes are taken to tell a kink, and what they are compared with
_BEND, _JUMP, _SLIGHT = 0.01, 1e-4, 1e-6  # least changes of slope and of value, relative; what may be rounding
_MOST = 16  # kinks; of more there is no end
_SHIFTS = (0.7, -1.3, 4.0)  # of predictor and response together, that may change nothing
_TRIED = (-1.0, 0.0, 0.5, 1.0)  # predictors, and 0 and 1 as responses, one pair of which must have a finite derivative


class CustomParameters(NamedTuple):
    derivative: Any  # what `call` takes, of the user's function
    second_derivative: Any


class DifferencedParameters(NamedTuple):
    derivative: Any
    unused: float


@implements(derivative, CustomParameters)
def _(loss, eta, y):
    return call(loss.derivative, eta, y)


@implements(second_derivative, CustomParameters)
def _(loss, eta, y):
    slope = call(loss.second_derivative, eta, y)
    # a formula such as p - p^2 is negative by rounding where it should be 0: its root is taken
    if slope < 0.0 and slope >= -_ROUNDING * abs(call(loss.derivative, eta, y)):
        return 0.0 * slope
    return slope


@implements(derivative, DifferencedParameters)
def _(loss, eta, y):
    return call(loss.derivative, eta, y)


@implements(second_derivative, DifferencedParameters)
def _(loss, eta, y):
    step = _DIFFERENCE * max(1.0, 1e-6 * abs(eta))
    slope = loss.derivative
    above, below = call(slope, eta + step, y), call(slope, eta - step, y)
    near = above - below
    far = call(slope, eta + 2.0 * step, y) - call(slope, eta - 2.0 * step, y)
    result = (8.0 * near - far) / (12.0 * step)
    if result < 0.0 and near >= -_ROUNDING * (abs(above) + abs(below)):
        # A derivative that does not fall: the difference is negative by rounding where it is flat, or by the weights
        # beside a kink. That of order two never is.
        return max(near, 0.0) / (2.0 * step)
    return result


@compilable
def _add(sums: Floats, weight: float, slope: float, z: float) -> None:
    """One node of a rule: its mass, and l', l' z and l'^2."""
    sums[0] += weight
    sums[1] += weight * slope
    sums[2] += weight * slope * z
    sums[3] += weight * slope * slope


@compilable
def _read(sums: Floats, std: float, i: int, out: Floats) -> None:
    """``E l'``, ``E l''`` by Stein's lemma, ``E l'^2`` into column i of `out`."""
    mass = sums[0]
    out[0, i], out[1, i], out[2, i] = sums[1] / mass, sums[2] / (mass * std), sums[3] / mass


@Kernel
def _wide_means(loss: Any, std: Floats, y: Floats, count: int, out: Floats) -> None:
    """``E l'``, ``E l'^2`` and, by Stein's lemma, ``E l''`` into `out` (3, n), for predictors of mean 0.

    By the trapezoidal rule in u, ``s = y + c sinh u``, which is fine where s is near y, on the scale of 1, and coarse
    where it is far; in s itself where y is out of its reach.
    """
    sums = np.empty(4)
    for i in range(std.size):
        end = _REACH * std[i]
        near = abs(y[i]) <= end
        scale = min(std[i], 1.0)
        low = np.arcsinh((-end - y[i]) / scale) if near else -end
        high = np.arcsinh((end - y[i]) / scale) if near else end
        nodes = 2 * (count if near else _FAR) + 1
        step = (high - low) / (nodes - 1)
        sums[:] = 0.0
        for k in range(nodes):
            u = low + k * step
            s = y[i] + scale * np.sinh(u) if near else u
            z = s / std[i]
            weight = np.exp(-0.5 * z * z) * (np.cosh(u) if near else 1.0)
            _add(sums, weight, derivative(loss, s, y[i]), z)
        _read(sums, std[i], i, out)


@Kernel
def _panel_means(
    loss: Any, centres: Floats, std: Floats, y: Floats, steps: Floats, nodes: Floats, weights: Floats, out: Floats
) -> None:
    """The same by Gauss's rule in panels, which end where l' has kinks: at `y + centres`."""
    sums = np.empty(4)
    for i in range(std.size):
        end = _REACH * std[i]
        first_width = min(std[i], 1.0)
        room = int(np.log(2.0 * end / first_width) / np.log(_GROWTH)) + 2
        edges = np.full(centres.size * (2 * room + 1) + steps.size + 2, end)
        edges[0] = -end
        edges[1 : steps.size + 1] = std[i] * steps
        at = steps.size + 1
        for centre in centres:
            kink = y[i] + centre
            if abs(kink) < end:
                edges[at] = kink
                at += 1
                width = 0.5 * first_width
                for _ in range(room):
                    edges[at], edges[at + 1] = max(kink - width, -end), min(kink + width, end)
                    at += 2
                    width *= _GROWTH
        edges = np.sort(edges)
        sums[:] = 0.0
        for k in range(edges.size - 1):
            half, middle = 0.5 * (edges[k + 1] - edges[k]), 0.5 * (edges[k + 1] + edges[k])
            if half <= 0.0:
                continue
            for n in range(nodes.size):
                s = middle + half * nodes[n]
                z = s / std[i]
                weight = half * weights[n] * np.exp(-0.5 * z * z)
                _add(sums, weight, derivative(loss, s, y[i]), z)
        _read(sums, std[i], i, out)


class CustomLoss(Loss):
    """A loss of your own, by its derivative.

    Parameters
    ----------
    derivative : callable
        ``derivative(eta, y) -> float``, that of the loss in the linear predictor ``eta = x'w``. A function that numba
        can compile, or one already compiled by ``numba.njit``.
    second_derivative : callable, optional
        ``second_derivative(eta, y) -> float``. By central differences when not given; what is negative by rounding
        alone counts as 0.

    Raises
    ------
    TypeError
        If one is not a function, or does not return a number.
    ValueError
        If numba cannot compile one, or it is not finite anywhere near 0.

    Notes
    -----
    The loss should be convex in eta for a minimizer to be found, and its derivative continuous and smooth on the scale
    of the standard deviation of a predictor: means are by quadratures that do not know where it has kinks. Where it is
    a function of ``eta - y``, which is seen by trying, kinks and jumps are found, and means are exact: all of them on a
    Gaussian design, those beside jumps over rows.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> def log_cosh(eta, y):
    ...     return np.tanh(eta - y)
    >>> rs.CustomLoss(log_cosh).derivative([0.0, 1.0], [0.0, 0.0]).round(3)
    array([0.   , 0.762])
    """

    def __init__(
        self,
        derivative: Callable[[float, float], float],
        second_derivative: Callable[[float, float], float] | None = None,
    ) -> None:
        for name, function in (("derivative", derivative), ("second_derivative", second_derivative)):
            if function is not None or name == "derivative":
                accepted = f"a function {name}(eta, y) that returns a number"
                _check.function(name, function, accepted, "pass one that numba can compile")
        self._name = getattr(derivative, "__name__", "derivative")
        first = _number_of("derivative", derivative)
        self.parameters: NamedTuple = DifferencedParameters(first, 0.0)
        if second_derivative is not None:
            self.parameters = CustomParameters(first, _number_of("second_derivative", second_derivative))
        self.is_shift = _is_shift(first)
        self.width = 1.0 if self.is_shift else 0.0
        if self.is_shift:
            self.kinks, jumps = _kinks(self)
            self.is_bent, self.is_smooth = bool(self.kinks), not jumps

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        means = super().gaussian_means(mean, std, y)
        spread = std > 0.0
        if self.is_smooth or not spread.any():
            return means
        exact = self.wide_means(std[spread], (y - mean)[spread])
        for values, better in zip(means, exact, strict=True):
            values[spread] = better
        return means

    def wide_means(self, std: Floats, y: Floats) -> GaussianMeans:
        out = np.empty((3, len(std)))
        if self.kinks:
            centres, rule = np.array([0.0, *self.kinks]), np.polynomial.legendre.leggauss(12)
            _panel_means(self.parameters, centres, std, np.ascontiguousarray(y), _STEPS, *rule, out)
            return GaussianMeans(*out)
        _wide_means(self.parameters, std, y, _ALONE if len(std) == 1 else _TOGETHER, out)
        return GaussianMeans(*out)

    def __repr__(self) -> str:
        by = ", second derivative by differences" if isinstance(self.parameters, DifferencedParameters) else ""
        return f"CustomLoss({self._name}{by})"


def _is_shift(slope: Any) -> bool:
    """Whether a derivative depends on ``eta - y`` alone, at some dozens of places."""
    places = np.linspace(-3.1, 2.9, 7)
    with np.errstate(all="ignore"):
        for shift in _SHIFTS:
            for eta in places:
                values = apply(slope, (float(eta), 0.25)), apply(slope, (float(eta + shift), 0.25 + shift))
                if not abs(values[0] - values[1]) <= 1e-9 * (1.0 + abs(values[0])):
                    return False
    return True


def _kinks(loss: Loss) -> tuple[tuple[float, ...], bool]:
    """Where the derivative of a loss of ``eta - y`` bends or jumps, and whether it jumps anywhere.

    Cells are halved towards what is least linear in them. Where that is a kink, slopes on both sides differ however
    small the cell is.
    """

    def slope(places: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return loss.derivative(places, 0.0)

    end = np.arcsinh(_FARTHEST)
    edges = np.sinh(np.linspace(-end, end, _PLACES) + 1.0 / (np.pi * _PLACES))  # none of them at a kink
    left, right = edges[:-1], edges[1:]
    for _ in range(_HALVINGS):
        middle = 0.5 * (left + right)
        quarters = slope(0.5 * (left + middle)), slope(0.5 * (middle + right))
        ends = slope(left), slope(middle), slope(right)
        off = [np.abs(q - 0.5 * (a + b)) for q, a, b in zip(quarters, ends[:-1], ends[1:], strict=True)]
        second = off[1] > off[0]
        left, right = np.where(second, middle, left), np.where(second, right, middle)
    unit = 1.0 + np.abs(left)

    def rises(width: float) -> tuple[Floats, Floats]:
        h = width * unit
        return (slope(left) - slope(left - h)) / h, (slope(right + h) - slope(right)) / h

    before, after = rises(_BESIDE)
    wide = np.max(np.abs([before, after, *rises(_AROUND)]), axis=0)
    size = np.max(np.abs([slope(left - _AROUND * unit), slope(right + _AROUND * unit)]), axis=0)
    jump = np.abs(slope(right) - slope(left)) > _JUMP * size
    bend = np.abs(after - before) > _BEND * wide + _SLIGHT * size
    places = 0.5 * (left + right)[jump | bend]
    if not 0 < len(places) <= _MOST:
        return (), False
    return tuple(float(place) for place in np.round(places, 9) + 0.0), bool(jump.any())


def _number_of(name: str, function: Any) -> Any:
    """What stands in compiled code for a function of two numbers that returns one."""
    import numba

    accepted = f"a function {name}(eta, y) that returns a number"
    mend = f"write {name} for two numbers, and return one"
    compiled = for_compiled_code(function, 2)
    kind = compile_for(name, compiled, (0.0, 0.0))
    if not isinstance(kind, numba.types.Integer | numba.types.Float):
        raise TypeError(f"{name} is a function that returns {str(kind)[:60]}, but must be {accepted}: {mend}.")
    with np.errstate(all="ignore"):
        tried = [apply(compiled, (eta, y)) for eta in _TRIED for y in (0.0, 1.0)]
    if not np.any(np.isfinite(tried)):
        raise ValueError(f"{name} is a function that is not finite at any eta near 0, but must be {accepted}: {mend}.")
    return compiled

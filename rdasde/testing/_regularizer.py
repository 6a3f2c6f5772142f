"""`check_regularizer`: whether a mirror map is a proximal operator, and all that is known of it agrees."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._engine.memory import need_memory
from rdasde._regularizers.base import GaussianMoments, Regularizer, mirror
from rdasde._regularizers.custom import CustomRegularizer
from rdasde._regularizers.kinds import from_json
from rdasde.testing._verdict import differences, hold, show, verdict


@Kernel
def _mirror(regularizer: NamedTuple, v: Floats, threshold: float, w: Floats) -> None:
    mirror(regularizer, v, threshold, w)


def check_regularizer(regularizer: Regularizer, *, dimension: int | None = None, seed: int = 0) -> dict[str, str]:
    """Check that a mirror map is the proximal operator of a convex penalty, and that all that is known of it agrees.

    Parameters
    ----------
    regularizer : Regularizer
        One of rdasde's, or a `CustomRegularizer`.
    dimension : int, optional
        Length of the vectors to try, where your function wants a certain one; 6, or what the regularizer says.
    seed : int
        Of the vectors: the same seed checks the same numbers.

    Returns
    -------
    dict of str to str
        Each law, and ``"holds"`` or ``"skipped: ..."`` with the reason.

    Raises
    ------
    AssertionError
        At the first law that does not hold; the sentence says which, where, by how much, and what to mend.
    ValueError, TypeError
        If an argument is not what it should be.

    Notes
    -----
    With ``w = prox(v, g)``:

    * shapes broadcast, `v` is left as it is, a NaN stays one; ``prox(v, 0) = v`` where that is promised, and g does not
      matter where no schedule is needed;
    * it is firmly nonexpansive, ``||w - w'||^2 <= (w - w')'(v - v')``, and its Jacobian is symmetric: together these
      make it the proximal operator of one convex function (Moreau 1965), which gives the three-point inequality
      ``g P(w) + (||w - v||^2 + ||z - w||^2) / 2 <= g P(z) + ||z - v||^2 / 2``;
    * that function is g P with the same P for every g: ``prox(w + s (v - w), s g) = w`` for every s > 0;
    * where it is separable, a coordinate of w depends on that of v alone and grows with it; `jacobian_diagonal` is its
      derivative, by central differences off the kinks;
    * ``w + g subgradient(w)`` is mapped to w;
    * w is exactly 0 within `dead_zone` and nowhere else;
    * compiled `mirror` is `prox`, to two units in the last place, in each lane whatever stands beside it;
    * `gaussian_moments` are integrals: mean, variance, slope and curvature by quadrature, P(W = 0) by the ends of
      the interval that is mapped to 0; without spread they are those of the point that it is mapped to;
    * `from_json` undoes `to_json`.

    Examples
    --------
    >>> import rdasde as rs
    >>> laws = rs.testing.check_regularizer(rs.ElasticNet(0.5))
    >>> laws["firmly nonexpansive"], laws["gaussian_moments"]
    ('holds', 'holds')
    """
    _check.instance("regularizer", regularizer, Regularizer, "a regularizer", "pass for example rs.L1()")
    if dimension is None:
        dimension = regularizer.span(6)
    d = _check.count("dimension", dimension, mend="give the length of the vectors that prox maps")
    need_memory(30.0 * 8.0 * 400.0 * d, "The vectors that are tried", "take a smaller dimension")
    regularizer.check_dimension(d)
    generator = np.random.default_rng(_check.seed(seed))
    vectors = generator.standard_normal((400, d)) * generator.choice([0.1, 1.0, 5.0], (400, 1))
    thresholds = np.where(generator.random((400, 1)) < 0.1, 0.0, generator.uniform(0.0, 2.0, (400, 1)))
    sample = _Vectors(regularizer, vectors, thresholds)
    return {name: verdict(law(sample)) for name, law in _REGULARIZER_LAWS.items()}


@dataclass(frozen=True)
class _Vectors:
    """A regularizer, and where it is looked at."""

    regularizer: Regularizer
    v: Floats  # (n, d)
    g: Floats  # (n, 1)

    @functools.cached_property
    def w(self) -> Floats:
        """The images."""
        return self.regularizer.prox(self.v, self.g)

    @property
    def size(self) -> float:
        """The unit of rounding errors."""
        return max(float(np.abs(self.v).max()), float(np.abs(self.w).max()))

    def where(self, gaps: NDArray[Any]) -> str:
        """The vector with the largest gap, in words."""
        k = int(np.argmax(np.nan_to_num(np.abs(gaps), nan=np.inf).reshape(len(self.v), -1).max(axis=1)))
        return f"at v = {show(self.v[k])} and threshold {self.g[k, 0]:.4g}"

    def hold(self, law: str, got: Floats, expected: Any, allowed: float, mend: str) -> None:
        """`hold` of what belongs to the vectors one by one."""
        hold(law, self.where(got - expected), got, expected, allowed, mend)


def _shape(s: _Vectors) -> str | None:
    before = s.v.copy()
    if s.w.shape != s.v.shape or not np.all(np.isfinite(s.w)):
        fault = f"shape {s.w.shape}" if s.w.shape != s.v.shape else "NaN or infinite entries"
        raise AssertionError(
            f"prox is to be finite and of shape {s.v.shape}, that of v, but it has {fault}: "
            "mend prox, or pass dimension=."
        )
    s.hold("prox is to leave v as it is", s.v, before, 0.0, "work on a copy")
    one_by_one: Floats = np.array([s.regularizer.prox(v, g) for v, g in zip(s.v, s.g[:, 0], strict=True)])
    s.hold("prox is to map rows as it maps each alone", s.w, one_by_one, 4e-16 * s.size, "let prox broadcast")
    if s.regularizer.identity_at_zero:
        got = s.regularizer.prox(s.v, 0.0)
        s.hold("prox is to be the identity at threshold 0", got, s.v, 4e-16 * s.size, "mend prox or identity_at_zero")
    if not s.regularizer.needs_schedule:
        got = s.regularizer.prox(s.v, 2.0 * s.g + 1.0)
        s.hold("prox is not to depend on the threshold", got, s.w, 0.0, "mend prox or needs_schedule")
    return None


def _firm(s: _Vectors) -> str | None:
    generator = np.random.default_rng(len(s.v))
    others = s.v + generator.standard_normal(s.v.shape) * generator.choice([1e-2, 1.0, 5.0], (len(s.v), 1))
    gap, apart = s.regularizer.prox(others, s.g) - s.w, others - s.v
    excess = np.maximum(np.sum(gap * gap, axis=1) - np.sum(gap * apart, axis=1), 0.0)
    law = "prox is to be firmly nonexpansive, ||w - w'||^2 <= (w - w')'(v - v')"
    s.hold(law, excess, 0.0, 1e-12 * s.size**2, "give the proximal operator of a convex function")
    return None


def _symmetric(s: _Vectors) -> str | None:
    """By central differences at a few vectors; where a kink is near two step sizes disagree."""
    for v, g in zip(s.v[:20], s.g[:20, 0], strict=True):
        prox = functools.partial(s.regularizer.prox, threshold=g)
        coarse, fine = (differences(prox, v, np.full(len(v), h)) for h in (1e-5, 5e-6))
        smooth = np.abs(coarse - fine) < 1e-6
        gap = np.where(smooth & smooth.T, fine - fine.T, 0.0)
        law, mend = "The Jacobian of prox is to be symmetric", "give the proximal operator of a convex function"
        hold(law, f"at v = {show(v)} and threshold {g:.4g}", gap, 0.0, 1e-5, mend)
    return None


def _one_penalty(s: _Vectors) -> str | None:
    for scale in (0.25, 3.0):
        again = s.regularizer.prox(s.w + scale * (s.v - s.w), scale * s.g)
        law = "prox(w + s (v - w), s g) is to be w for every s > 0"
        s.hold(law, again, s.w, 1e-12 * s.size, "let the threshold multiply one and the same penalty")
    return None


def _monotone(s: _Vectors) -> str | None:
    if not s.regularizer.separable:
        return "the regularizer couples coordinates"
    shuffled = s.v.copy()
    shuffled[:, 1:] = np.roll(s.v[:, 1:], 1, axis=0)
    got = s.regularizer.prox(shuffled, s.g)[:, 0]
    s.hold("A coordinate of prox is to depend on that of v alone", got, s.w[:, 0], 0.0, "mend prox or separable")
    ahead = s.regularizer.prox(s.v + np.abs(shuffled), s.g)
    law = "A coordinate of prox is to grow with that of v"
    s.hold(law, np.maximum(s.w - ahead, 0.0), 0.0, 0.0, "mend prox or separable")
    return None


def _diagonal(s: _Vectors) -> str | None:
    if not s.regularizer.separable:
        return "the regularizer couples coordinates"
    prox, slope = s.regularizer.prox, s.regularizer.jacobian_diagonal
    h = 1e-6 * np.maximum(1.0, np.abs(s.v))
    right, left = s.v + h, s.v - h
    difference = (prox(right, s.g) - prox(left, s.g)) / (right - left)
    # a kink within reach shows as a slope that changes
    near = np.abs(slope(s.v + 1e-4, s.g) - slope(s.v - 1e-4, s.g)) > 1e-3
    got = np.where(near, 0.0, slope(s.v, s.g))
    if near.mean() > 0.1:
        raise AssertionError(
            f"jacobian_diagonal is to be smooth but at kinks, but it jumps within 1e-4 of {near.mean():.0%} of all "
            "vectors: mend jacobian_diagonal."
        )
    law = "jacobian_diagonal is to be the derivative of each coordinate"
    s.hold(law, got, np.where(near, 0.0, difference), 1e-7, "mend jacobian_diagonal")
    return None


def _subgradient(s: _Vectors) -> str | None:
    if isinstance(s.regularizer, CustomRegularizer):
        return "it is made of differences of prox"
    if type(s.regularizer).subgradient is Regularizer.subgradient:
        return "no subgradient is known"
    duals = np.array([w + g * s.regularizer.subgradient(w) for w, g in zip(s.w, s.g[:, 0], strict=True)])
    gaps = np.where(s.w != 0.0, duals - s.v, 0.0)
    s.hold("w + g subgradient(w) is to be v where w is not 0", gaps, 0.0, 1e-12 * s.size, "mend subgradient")
    return None


def _dead(s: _Vectors) -> str | None:
    if isinstance(s.regularizer, CustomRegularizer):
        return "it is found by trying prox"
    levels = np.ascontiguousarray(s.g[:, 0])
    zone = s.regularizer.dead_zone(levels)
    if zone is None:
        return "no one interval is mapped to 0"
    low, high = (np.broadcast_to(end, levels.shape)[:, None] for end in zone)
    inside = (s.v >= low) & (s.v <= high)
    wrong = np.where(inside == (s.w == 0.0), 0.0, np.abs(s.w) + np.finfo(float).tiny)
    s.hold("prox is to be exactly 0 within dead_zone and only there", wrong, 0.0, 0.0, "mend prox or dead_zone")
    for end in (low, high):
        edge = np.where(np.isfinite(end), end, 0.0) * np.ones_like(s.v)
        got = s.regularizer.prox(edge, s.g)
        s.hold("prox is to be exactly 0 at the ends of dead_zone", got, 0.0, 0.0, "mend prox or dead_zone")
    return None


def _compiled_mirror(s: _Vectors) -> str | None:
    parameters, d = s.regularizer.parameters, s.v.shape[1]
    for k in range(0, 4 * LANES, LANES):
        v, w, again = s.v[k : k + LANES].T.copy(), lane_array(d), lane_array(d)
        v[:, 3] = 0.0
        g = float(s.g[k, 0])
        _mirror(parameters, v, g, w)
        expected, where = s.regularizer.prox(v.T, g).T, f"at threshold {g:.4g}"
        law = "compiled mirror is to equal prox"
        hold(law, where, w, expected, 4.4e-16 * s.size, "mend mirror or prox")
        v[:, 5] = np.nan
        _mirror(parameters, np.ascontiguousarray(v[:, ::-1]), g, again)
        keep = np.arange(LANES) != 5
        law = "A lane of compiled mirror is to have the same bits whatever stands beside it"
        hold(law, where, again[:, ::-1][:, keep], w[:, keep], 0.0, "let a lane use nothing of another")
        if not np.all(np.isnan(again[:, ::-1][:, 5])) or not np.all(np.isnan(s.regularizer.prox(v[:, 5], g))):
            raise AssertionError(
                f"A NaN is to stay one, but {where} prox or compiled mirror makes it a number: compare so that it does."
            )
    return None


_REACH = 9.0  # standard deviations that the quadrature covers
_TOLERANCE = 5e-5  # of moments, in standard deviations; the curvature, a second difference, to 20 times that


def _gaussian(s: _Vectors) -> str | None:
    regularizer, d = s.regularizer, s.v.shape[1]
    if not regularizer.has_moments:
        return "the Gaussian moments are not known"
    generator = np.random.default_rng(d)
    for g, size in ((0.0, 1.0), (0.4, 1.0), (0.4, 0.1), (1.5, 0.3)):
        mean: Floats = generator.standard_normal((d,))
        std: Floats = size * generator.uniform(0.5, 1.5, (d,))
        got = regularizer.gaussian_moments(mean, std, g)
        for name, value, integral in zip(
            GaussianMoments._fields, got, _integrals(regularizer, mean, std, g), strict=True
        ):
            scale = {"mean": size, "variance": size**2, "curvature": 20.0 / size}.get(name, 1.0)
            law, where = f"{name} of gaussian_moments is to be its integral", f"at m = {show(mean)}, s = {show(std)}"
            hold(law, f"{where}, threshold {g:g},", value, integral, _TOLERANCE * scale, "mend gaussian_moments")
    _without_spread(s, generator.standard_normal((d,)))
    return None


def _without_spread(s: _Vectors, mean: Floats) -> None:
    """What is at one point is mapped to one point."""
    still = np.where(np.arange(len(mean)) % 3 == 0, 0.0, mean)  # as at a start, 0 among it
    zeros = np.zeros(len(mean))
    for g in (0.0, 0.4):
        w = s.regularizer.prox(still, g)
        got = s.regularizer.gaussian_moments(still, zeros, g)
        expected = {"mean": w, "variance": zeros, "zero": np.where(w == 0.0, 1.0, 0.0)}
        for name, value in expected.items():
            law, where = f"{name} of gaussian_moments without spread is to be that of prox", f"at m = {show(still)}"
            hold(law, f"{where}, threshold {g:g},", getattr(got, name), value, 1e-12, "mend gaussian_moments")


def _integrals(regularizer: Regularizer, mean: Floats, std: Floats, g: float) -> GaussianMoments:
    """By the midpoint rule; derivatives by Stein's lemma, ``E W' = E[Z W] / s``, ``E W'' = E[(Z^2 - 1) W] / s^2``."""
    count = 4000
    z = (np.arange(count) + 0.5)[:, None] * (2.0 * _REACH / count) - _REACH
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()
    w = regularizer.prox(mean + std * z, g)
    first = (weights * w).sum(axis=0)
    rest = w - first
    return GaussianMoments(
        first,
        (weights * rest**2).sum(axis=0),
        (weights * z * rest).sum(axis=0) / std,
        (weights * (z**2 - 1.0) * rest).sum(axis=0) / std**2,
        _probability_zero(regularizer, mean, std, g),
    )


def _probability_zero(regularizer: Regularizer, mean: Floats, std: Floats, g: float) -> Floats:
    """Between where the image stops being negative and where it starts being positive, by bisection."""
    from scipy.special import ndtr

    ends = []
    for beyond in (np.greater_equal, np.greater):
        low, high = np.full_like(mean, -_REACH), np.full_like(mean, _REACH)
        for _ in range(50):
            middle = 0.5 * (low + high)
            above = beyond(regularizer.prox(mean + std * middle, g), 0.0)
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        ends.append(high)
    return np.maximum(ndtr(ends[1]) - ndtr(ends[0]), 0.0)


def _json(s: _Vectors) -> str | None:
    if isinstance(s.regularizer, CustomRegularizer):
        return "a function of the user's own is not written"
    again = from_json(s.regularizer.to_json())
    if again != s.regularizer or hash(again) != hash(s.regularizer):
        raise AssertionError(
            f"from_json(to_json()) is to give an equal regularizer, but {s.regularizer!r} comes back as {again!r}: "
            "let settings() hold the constructor's arguments."
        )
    law = "from_json(to_json()) is to give the same map"
    s.hold(law, again.prox(s.v, s.g), s.w, 0.0, "let settings() hold the constructor's arguments")
    return None


_REGULARIZER_LAWS: dict[str, Callable[[_Vectors], str | None]] = {
    "shapes": _shape,
    "firmly nonexpansive": _firm,
    "symmetric": _symmetric,
    "one penalty": _one_penalty,
    "monotone": _monotone,
    "jacobian_diagonal": _diagonal,
    "subgradient": _subgradient,
    "dead_zone": _dead,
    "compiled mirror": _compiled_mirror,
    "gaussian_moments": _gaussian,
    "json": _json,
}

"""Mirror maps: the laws of proximal operators, the compiled maps, and Gaussian moments against quadrature."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba.extending import overload

import rdasde as rs
from rdasde._compiled.jit import Kernel
from rdasde._regularizers import KINDS
from rdasde._regularizers.base import mirror
from rdasde._regularizers.kinds import from_json
from rdasde._regularizers.unregularized import Unregularized

D = 6
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
LOWER, UPPER = np.array([-1.0, 0.0, -np.inf, 0.5, -2.0, -0.3]), np.array([1.0, np.inf, 0.0, 0.5, -1.0, 0.4])
GROUPS = [0, 0, 2, 1, 2, 2]
BUILT_IN = {
    "none": Unregularized(),
    "l1": rs.L1(),
    "weighted l1": rs.L1(WEIGHTS),
    "elastic net": rs.ElasticNet(0.7),
    "elastic net 0": rs.ElasticNet(0.0),
    "nonnegative l1": rs.NonNegativeL1(),
    "box": rs.Box(LOWER, UPPER),
    "box of numbers": rs.Box(-0.5, 1.5),
    "half line": rs.Box(0.0, np.inf),
    "group lasso": rs.GroupLasso(GROUPS),
}


def soft(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess, v[j])


def weighted_soft(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold * WEIGHTS[j]
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess, v[j])


def net(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess / (1.0 + 0.7 * threshold), v[j])


def one_sided(v, threshold, out):
    for j in range(v.size):
        excess = v[j] - threshold
        out[j] = 0.0 if excess <= 0.0 else excess


def clip(v, threshold, out):
    for j in range(v.size):
        out[j] = min(max(v[j], -0.5), 1.5)


def ridge(v, threshold, out):
    out[:] = v / (1.0 + threshold)


def smoothed(v, threshold, out):
    """Of Huber's function with a corner of width 0.01: next to 0 a shrinkage."""
    for j in range(v.size):
        size = abs(v[j])
        out[j] = np.copysign(size * 0.01 / (0.01 + threshold) if size <= 0.01 + threshold else size - threshold, v[j])


def two_kinks(v, threshold, out):
    """Of ``(|w| + |w - 1| + w) / 2 - w / 2``: rests at 0 and at 1."""
    for j in range(v.size):
        x = v[j]
        above = x - threshold
        inside = min(max(x, 0.0), 1.0)
        out[j] = above if above > 1.0 else (x + threshold if x < -threshold else inside)


def nothing():
    raise RuntimeError("not in Python")


@overload(nothing)
def _():
    return lambda: None


def stubborn(v, threshold, out):
    nothing()
    out[:] = v / (1.0 + threshold)


def block(v, threshold, out):
    norm = np.sqrt(np.sum(v * v))
    out[:] = v * (0.0 if norm <= threshold else 1.0 - threshold / norm)


ALL = BUILT_IN | {"custom": rs.CustomRegularizer(soft), "custom block": rs.CustomRegularizer(block, separable=False)}
every = pytest.mark.parametrize("regularizer", ALL.values(), ids=ALL.keys())
separable = pytest.mark.parametrize(
    "regularizer", [r for r in ALL.values() if r.separable], ids=[k for k, r in ALL.items() if r.separable]
)
with_moments = pytest.mark.parametrize(
    "regularizer",
    [r for r in BUILT_IN.values() if r.has_moments],
    ids=[k for k, r in BUILT_IN.items() if r.has_moments],
)
quick = settings(max_examples=30, deadline=None, derandomize=True)
vectors = arrays(np.float64, D, elements=st.floats(-5.0, 5.0, allow_subnormal=False))
thresholds = st.floats(0.0, 3.0, allow_subnormal=False)


def penalty(regularizer, w):
    """P(w), for w in its domain."""
    if isinstance(regularizer, rs.L1):
        return float(np.abs(w) @ (np.ones(D) if regularizer.weights is None else regularizer.weights))
    if isinstance(regularizer, rs.ElasticNet):
        return float(np.abs(w).sum() + 0.5 * regularizer.l2 * (w @ w))
    if isinstance(regularizer, rs.GroupLasso):
        labels = np.array(GROUPS)
        return float(sum(np.sqrt(np.sum(labels == a)) * np.linalg.norm(w[labels == a]) for a in set(GROUPS)))
    if isinstance(regularizer, rs.CustomRegularizer):
        return float(np.abs(w).sum()) if regularizer.separable else float(np.linalg.norm(w))
    if isinstance(regularizer, rs.NonNegativeL1):
        return float(w.sum())
    return 0.0


@every
@quick
@given(v=vectors, u=vectors, g=thresholds)
def test_three_point_inequality(regularizer, v, u, g):
    """``g P(w) + |w-v|^2/2 + |z-w|^2/2 <= g P(z) + |z-v|^2/2`` for w = prox(v, g) and z in the domain of P."""
    w, z = regularizer.prox(v, g), regularizer.prox(u, 0.0)
    at_w = g * penalty(regularizer, w) + 0.5 * (w - v) @ (w - v) + 0.5 * (z - w) @ (z - w)
    assert at_w <= g * penalty(regularizer, z) + 0.5 * (z - v) @ (z - v) + 1e-10


@every
@quick
@given(v=vectors, u=vectors, g=thresholds)
def test_firmly_nonexpansive(regularizer, v, u, g):
    gap = regularizer.prox(v, g) - regularizer.prox(u, g)
    assert gap @ gap <= gap @ (v - u) + 1e-10


def project_group_ball(v, g):
    out = v.copy()
    labels = np.array(GROUPS)
    for a in set(GROUPS):
        radius = g * np.sqrt(np.sum(labels == a))
        norm = np.linalg.norm(v[labels == a])
        if norm > radius:
            out[labels == a] *= radius / norm
    return out


@pytest.mark.parametrize(
    ("regularizer", "conjugate"),
    [
        (rs.L1(), lambda v, g: np.clip(v, -g, g)),
        (rs.L1(WEIGHTS), lambda v, g: np.clip(v, -g * WEIGHTS, g * WEIGHTS)),
        (rs.NonNegativeL1(), np.minimum),
        (rs.GroupLasso(GROUPS), project_group_ball),
        # that of the support function of [-1/2, 3/2]: the soft-threshold with two ends
        (rs.Box(-0.5, 1.5), lambda v, g: np.maximum(v - 1.5, 0.0) + np.minimum(v + 0.5, 0.0)),
    ],
    ids=["l1", "weighted l1", "nonnegative l1", "group lasso", "box"],
)
@quick
@given(v=vectors, g=thresholds)
def test_moreau_identity(regularizer, conjugate, v, g):
    np.testing.assert_allclose(regularizer.prox(v, g) + conjugate(v, g), v, rtol=1e-13, atol=1e-14)


@every
@quick
@given(v=vectors)
def test_identity_at_zero(regularizer, v):
    if regularizer.identity_at_zero:
        np.testing.assert_allclose(regularizer.prox(v, 0.0), v, rtol=1e-15, atol=1e-150)


@Kernel
def mapped(regularizer, v, threshold, w):
    mirror(regularizer, v, threshold, w)


@every
@pytest.mark.parametrize("g", [0.0, 0.4, 1.7])
def test_compiled_map_is_prox(regularizer, g):
    v = np.random.default_rng(0).standard_normal((D, 16)) * 2.0
    v[:, 3] = 0.0
    v[:, 4] = g
    w = np.full_like(v, 7.0)
    mapped(regularizer.parameters, v, g, w)
    np.testing.assert_allclose(w, regularizer.prox(v.T, g).T, rtol=1e-15, atol=1e-15)
    # by lane: the same bits beside any other lane
    again = np.full_like(v, 7.0)
    mapped(regularizer.parameters, np.ascontiguousarray(v[:, ::-1]), g, again)
    assert w.tobytes() == np.ascontiguousarray(again[:, ::-1]).tobytes()


@every
@pytest.mark.parametrize("g", [0.0, 0.4])
def test_nan_stays_nan(regularizer, g):
    v = np.ones((D, 16))
    v[2, 5] = np.nan
    w = np.zeros_like(v)
    mapped(regularizer.parameters, v, g, w)
    assert np.isnan(w[2, 5])
    assert np.isfinite(np.delete(w, 5, axis=1)).all()
    assert np.isnan(regularizer.prox(v[:, 5], g)[2])


@every
def test_prox_broadcasts(regularizer):
    v, g = np.random.default_rng(1).standard_normal((4, 3, D)), np.array([0.1, 0.5, 1.0])
    together = regularizer.prox(v, g[:, None])
    assert together.shape == v.shape
    for i, k in np.ndindex(4, 3):
        np.testing.assert_array_equal(together[i, k], regularizer.prox(v[i, k], g[k]))
    if regularizer.needs_schedule:
        np.testing.assert_array_equal(regularizer.prox(v[0, 0], g[:, None])[1], regularizer.prox(v[0, 0], 0.5))


@separable
@pytest.mark.parametrize("g", [0.0, 0.3, 1.2])
def test_jacobian_diagonal(regularizer, g):
    v = np.random.default_rng(3).standard_normal((200, D)) * 2.0  # surely off the kinks
    h = 1e-7
    slope = (regularizer.prox(v + h, g) - regularizer.prox(v - h, g)) / (2.0 * h)
    kinks = np.abs(regularizer.jacobian_diagonal(v + 1e-4, g) - regularizer.jacobian_diagonal(v - 1e-4, g)) > 1e-3
    assert kinks.mean() < 0.01
    np.testing.assert_allclose(regularizer.jacobian_diagonal(v, g)[~kinks], slope[~kinks], atol=1e-7)


@separable
@quick
@given(v=vectors, u=vectors, g=thresholds)
def test_monotone(regularizer, v, u, g):
    """What lets quantiles pass through."""
    assert np.all(regularizer.prox(np.minimum(v, u), g) <= regularizer.prox(np.maximum(v, u), g))


def integrals(regularizer, mean, std, g):
    """The moments by Gauss-Legendre between the kinks; the curvature by Stein's lemma, ``E[(Z^2 - 1) W] / s^2``."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    ends = np.concatenate([g * WEIGHTS, -g * WEIGHTS, [g, -g, -0.5, 1.5], LOWER, UPPER])
    found = []
    for j in range(D):
        edges = mean[j] + std[j] * np.linspace(-9.0, 9.0, 37)
        edges = np.union1d(edges, ends[(ends > edges[0]) & (ends < edges[-1])])
        half = 0.5 * np.diff(edges)[:, None]
        x = (edges[:-1, None] + half * (1.0 + nodes)).ravel()
        z = (x - mean[j]) / std[j]
        law = (half * weights).ravel() * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi) / std[j]
        v = np.ones((len(x), D))
        v[:, j] = x
        w, slope = regularizer.prox(v, g)[:, j], regularizer.jacobian_diagonal(v, g)[:, j]
        first = law @ w
        second = law @ ((z**2 - 1.0) * (w - first)) / std[j] ** 2
        found.append([first, law @ (w - first) ** 2, law @ slope, second, law @ (w == 0.0)])
    return np.array(found).T


MEANS = np.array([0.3, -1.1, 0.0, 0.7, -0.45, 2.0])


@with_moments
@pytest.mark.parametrize("g", [0.0, 0.4])
@pytest.mark.parametrize("size", [1.0, 0.1, 1e-3])
def test_gaussian_moments_are_integrals(regularizer, g, size):
    std = size * np.array([1.0, 0.5, 2.0, 0.3, 1.0, 0.8])
    found = np.array(regularizer.gaussian_moments(MEANS, std, g))
    expected = integrals(regularizer, MEANS, std, g)
    tolerance = np.array([1e-12, 1e-12 * size**2, 1e-11, 1e-9 / size, 1e-12])
    assert np.all(np.abs(found - expected) <= 10.0 * tolerance[:, None])


@with_moments
def test_gaussian_moments_at_extremes(regularizer):
    """No warning (they are errors here), nothing but finite numbers, variances that do not cancel."""
    mean = np.array([0.0, 1e100, -1e100, 3.0, -3.0, 1e-300])
    for size in (0.0, 1e-200, 1e-12, 1.0):
        found = regularizer.gaussian_moments(mean, np.full(D, size), 0.5)
        assert np.isfinite(np.array(found)[[0, 1, 2, 4]]).all()
        assert np.all(found.variance >= 0.0)
        assert np.all((found.zero >= 0.0) & (found.zero <= 1.0))
        if 0.0 < size < 1.0:
            slope = regularizer.jacobian_diagonal(mean, 0.5)[3:5]
            np.testing.assert_allclose(found.variance[3:5], (slope * size) ** 2, rtol=1e-12)


@with_moments
@pytest.mark.parametrize("g", [0.0, 0.4])
def test_gaussian_moments_without_spread(regularizer, g):
    found = regularizer.gaussian_moments(MEANS, np.zeros(D), g)
    at_mean = regularizer.prox(MEANS, g)
    np.testing.assert_array_equal(found.mean, at_mean)
    np.testing.assert_array_equal(found.variance, 0.0)
    np.testing.assert_array_equal(found.curvature, 0.0)
    smooth = MEANS != 0.0
    np.testing.assert_array_equal(found.slope[smooth], regularizer.jacobian_diagonal(MEANS, g)[smooth])
    if not isinstance(regularizer, Unregularized):
        np.testing.assert_array_equal(found.zero, at_mean == 0.0)


def test_l1_lets_everything_through_at_the_start():
    assert np.all(rs.L1().gaussian_moments(np.zeros(2), np.zeros(2), 0.0).slope == 1.0)


@pytest.mark.parametrize("g", [0.0, 0.4])
def test_custom_moments_are_those_of_l1(g):
    std = np.array([1.0, 0.5, 2.0, 0.3, 0.0, 0.8])
    found, expected = (r.gaussian_moments(MEANS, std, g) for r in (rs.CustomRegularizer(soft), rs.L1()))
    for name, tolerance in (("mean", 1e-5), ("variance", 1e-5), ("slope", 1e-5), ("curvature", 1e-3), ("zero", 1e-10)):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=tolerance, err_msg=name)


CUSTOM = {
    "custom l1": (soft, rs.L1()),
    "custom weighted l1": (weighted_soft, rs.L1(WEIGHTS)),
    "custom elastic net": (net, rs.ElasticNet(0.7)),
    "custom nonnegative l1": (one_sided, rs.NonNegativeL1()),
    "custom box": (clip, rs.Box(-0.5, 1.5)),
}
CAPABILITIES = ("identity_at_zero", "slope_is_indicator", "has_constant_slope", "has_fluctuation", "has_value")


def custom(function):
    regularizer = rs.CustomRegularizer(function)
    regularizer.check_dimension(D)  # as every verb does first
    return regularizer


STATING = BUILT_IN | {name: custom(function) for name, (function, _) in CUSTOM.items()}
STATING |= {"custom ridge": custom(ridge), "custom smoothed": custom(smoothed), "custom kinks": custom(two_kinks)}
stating = pytest.mark.parametrize("regularizer", STATING.values(), ids=STATING.keys())


def twin(regularizer):
    """Our own regularizer with the map of a user's, itself where it is one."""
    return {id(STATING[name]): ours for name, (_, ours) in CUSTOM.items()}.get(id(regularizer), regularizer)


@stating
@pytest.mark.parametrize("g", [0.0, 0.3, 1.2])
def test_stated_slopes_are_those_of_the_map(regularizer, g):
    if not regularizer.separable:
        assert not regularizer.slope_is_indicator
        assert not regularizer.has_constant_slope
        return
    v = np.random.default_rng(4).standard_normal((200, D)) * 2.0  # surely off the kinks
    w, slope = regularizer.prox(v, g), regularizer.jacobian_diagonal(v, g)
    if regularizer.is_identity:
        np.testing.assert_array_equal(w, v)
    if regularizer.slope_is_indicator:
        np.testing.assert_allclose(slope, w != 0.0, atol=1e-9)
    if regularizer.has_constant_slope:
        assert np.ptp(slope[w != 0.0]) < 1e-9
        assert np.all(regularizer.prox(np.full(D, 9.0), g) > 0.0)
        assert np.all(regularizer.prox(np.full(D, -9.0), g) < 0.0)


@stating
def test_stated_value_is_the_penalty(regularizer):
    w = np.abs(np.random.default_rng(5).standard_normal((20, D)))
    for point in regularizer.prox(w, 0.0):  # in the domain
        if regularizer.has_value and regularizer not in (STATING["custom ridge"],):
            value = regularizer.subgradient(0.5 * point) @ point
            assert value == pytest.approx(penalty(twin(regularizer), point), rel=1e-8, abs=1e-12)


@stating
def test_stated_kink_is_that_of_the_penalty(regularizer):
    """``P(w) - sum_j k_j |w_j|`` has a derivative at 0: from both sides it is the same."""
    kink = regularizer.kink_weights(D)
    if kink is None:
        return
    ours, near = twin(regularizer), 1e-7 * np.eye(D)
    slopes = [(penalty(ours, e) + penalty(ours, -e)) / 2e-7 for e in near]
    np.testing.assert_allclose(kink, slopes, atol=1e-6)


@stating
@quick
@given(v=vectors, g=st.floats(0.01, 3.0))
def test_stated_dead_zone_is_what_is_mapped_to_zero(regularizer, v, g):
    zone = regularizer.dead_zone(np.array([g]))
    if zone is not None:
        lower, upper = zone
        away = np.minimum(np.abs(v - lower), np.abs(v - upper)) > 1e-8
        np.testing.assert_array_equal((regularizer.prox(v, g) == 0.0)[away], ((v >= lower) & (v <= upper))[away])


@stating
def test_stated_fluctuation_is_the_map_next_to_a_flow(regularizer):
    """``(prox(w + e u, e tau) - w) / e`` at a small e is ``slope S(u - shift, kink)``."""
    if not regularizer.has_fluctuation:
        return
    flow = np.array([[0.4, -0.7, 0.0, 0.0, 1.3, 0.0]])
    for tau, u in ((0.6, np.array([1.0, -2.0, 0.4, -2.0, 0.3, 1.5])), (1.7, np.linspace(-3.0, 3.0, D))):
        theory = regularizer.fluctuation(flow, flow[0] == 0.0, np.array([tau]))
        excess = u - theory.shift[0]
        mapped = theory.slope[0] * np.sign(excess) * np.maximum(np.abs(excess) - theory.kink[0], 0.0)
        moved = (regularizer.prox(flow[0] + 1e-8 * u, 1e-8 * tau) - flow[0]) / 1e-8
        np.testing.assert_allclose(mapped, moved, atol=1e-6)


@pytest.mark.parametrize("name", CUSTOM)
def test_a_map_of_ones_own_is_like_ours(name):
    """What is found out by trying it is what our class states, in numbers too."""
    function, ours = CUSTOM[name]
    regularizer = custom(function)
    for capability in CAPABILITIES:
        assert getattr(regularizer, capability) == getattr(ours, capability), capability
    for mine, expected in (
        (regularizer.kink_weights(D), ours.kink_weights(D)),
        (regularizer.dead_zone(np.array([0.2, 1.0])), ours.dead_zone(np.array([0.2, 1.0]))),
    ):
        assert (mine is None) == (expected is None)
        if expected is not None:
            np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-11)
    w = regularizer.prox(np.array([0.3, -0.4, 0.0, 1.2, 1e-9, 0.7]), 0.0)
    np.testing.assert_allclose(regularizer.subgradient(w), ours.subgradient(w), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("function", [ridge, smoothed, two_kinks, stubborn, block])
def test_a_map_that_is_no_soft_threshold_says_so(function):
    regularizer = custom(function)
    assert not regularizer.slope_is_indicator
    assert not regularizer.has_fluctuation
    assert regularizer.kink_weights(D) is None
    assert regularizer.has_constant_slope == (function is ridge)


def test_nothing_is_known_of_a_map_that_fits_another_dimension():
    regularizer = rs.CustomRegularizer(weighted_soft)
    assert not any(getattr(regularizer, capability) for capability in CAPABILITIES)
    assert regularizer.kink_weights(D - 1) is not None
    assert regularizer.kink_weights(D + 1) is None
    regularizer.check_dimension(D)
    assert all(getattr(regularizer, capability) for capability in CAPABILITIES)
    coupled = rs.CustomRegularizer(soft, separable=False)
    assert not any(getattr(coupled, capability) for capability in CAPABILITIES)
    with pytest.raises(ValueError, match="which near 0 is no soft-threshold"):
        rs.CustomRegularizer(ridge).fluctuation(np.ones((1, D)), np.zeros(D, dtype=bool), np.ones(1))


def test_trying_a_map_compiles_nothing(monkeypatch):
    regularizer = rs.CustomRegularizer(soft)
    monkeypatch.setattr(regularizer, "parameters", None)
    assert all(getattr(regularizer, capability) for capability in CAPABILITIES)
    assert regularizer.kink_weights(3).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("regularizer", list(BUILT_IN.values()), ids=BUILT_IN.keys())
def test_json_round_trip(regularizer):
    again = from_json(regularizer.to_json())
    assert type(again) is type(regularizer)
    assert again == regularizer
    assert hash(again) == hash(regularizer)
    assert json.loads(again.to_json())["kind"] == type(regularizer).__name__
    v = np.linspace(-2.0, 2.0, D)
    np.testing.assert_array_equal(again.prox(v, 0.3), regularizer.prox(v, 0.3))


def test_every_kind_is_found_in_a_fresh_process():
    code = (
        "import sys\nfrom rdasde._regularizers.kinds import from_json\n"
        "for text in sys.argv[1:]: from_json(text)\n"
        "assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *(r.to_json() for r in BUILT_IN.values())], check=True, timeout=60)


def test_the_table_of_kinds_is_complete():
    defined = {
        name: module.stem
        for module in Path(rs.__file__).parent.glob("_regularizers/*.py")
        for name in re.findall(r"^class (\w+)\(Regularizer\)", module.read_text(), flags=re.MULTILINE)
    }
    assert defined == KINDS


def test_custom_is_not_written():
    text = rs.CustomRegularizer(soft).to_json()
    assert json.loads(text) == {"kind": "CustomRegularizer"}
    with pytest.raises(ValueError, match="pass regularizer="):
        from_json(text)
    with pytest.raises(ValueError, match="'RDA', which is not known here"):
        from_json('{"kind": "RDA"}')
    assert rs.CustomRegularizer(soft) == rs.CustomRegularizer(soft)
    assert rs.CustomRegularizer(soft) != rs.CustomRegularizer(block)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rs.L1([1.0, -2.0]), ValueError, "weights is -2 somewhere, but must be numbers >= 0"),
        (lambda: rs.ElasticNet(-1.0), ValueError, "l2 is -1.0, but must be a finite number >= 0"),
        (lambda: rs.ElasticNet("1"), TypeError, "l2 is '1' (str), but must be a finite number >= 0"),
        (lambda: rs.Box(1.0, 0.0), ValueError, "lower is above upper somewhere"),
        (lambda: rs.Box(np.nan, 0.0), ValueError, "lower is NaN somewhere, but must be a number or an array"),
        (lambda: rs.Box([0.0, 0.0], [1.0, 1.0, 1.0]), ValueError, "upper is of length 3, but must be of length 2"),
        (lambda: rs.Box(0.0, "1"), TypeError, "upper is '1' (str), but must be a number or an array"),
        (lambda: rs.Box(0.0, np.ones((2, 2))), ValueError, "upper is an array of shape (2, 2)"),
        (lambda: rs.Box(0.0, [[1.0], []]), ValueError, "upper is a ragged sequence"),
        (
            lambda: rs.GroupLasso([0.0, 1.0]),
            TypeError,
            "groups is [0.0, 1.0] (list), but must be an array of shape (n,)",
        ),
        (lambda: rs.GroupLasso([[0, 1]]), ValueError, "groups is an array of shape (1, 2), but must be"),
        (lambda: rs.GroupLasso([]), ValueError, "groups is an array of shape (0,), but must be"),
        (lambda: rs.GroupLasso([[0], [1, 2]]), ValueError, "groups is a ragged sequence"),
        (
            lambda: rs.GroupLasso([0, 1]).check_dimension(3),
            ValueError,
            "groups of GroupLasso is of length 2, but must be",
        ),
        (
            lambda: rs.Box([0, 1], 5).check_dimension(3),
            ValueError,
            "lower of Box is of length 2, but must be of length 3",
        ),
        (lambda: rs.L1([0, 1]).check_dimension(3), ValueError, "weights of L1 is of length 2, but must be of length 3"),
        (lambda: rs.CustomRegularizer(3), TypeError, "prox is 3 (int), but must be a function prox(v, threshold, out)"),
        (lambda: rs.CustomRegularizer(soft, separable=1), TypeError, "separable is 1 (int), but must be True or False"),
        (
            lambda: rs.GroupLasso([0]).jacobian_diagonal(np.ones(1), 0.1),
            ValueError,
            "which couples coordinates, but its",
        ),
        (lambda: rs.GroupLasso([0]).gaussian_moments(np.ones(1), np.ones(1), 0.1), ValueError, "use method='paths'"),
        (lambda: ALL["custom block"].jacobian_diagonal(np.ones(D), 0.1), ValueError, "which couples coordinates"),
        (lambda: ALL["custom block"].gaussian_moments(MEANS, MEANS, 0.1), ValueError, "which couples coordinates"),
        (lambda: rs.RDA(1e-3, rs.ElasticNet(0.1)), ValueError, "given, since ElasticNet(l2=0.1) uses a threshold"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error) as caught:
        make()
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) <= 300
    assert text.endswith(".")


def test_shape_of_a_regularizer():
    assert repr(rs.Box(-1.0, [1.0, 2.0])) == "Box(-1, <2 numbers>)"
    assert repr(rs.GroupLasso(GROUPS)) == "GroupLasso(<3 groups of 6 coordinates>)"
    assert repr(rs.CustomRegularizer(soft)) == "CustomRegularizer(soft)"
    assert rs.Box(0.0, np.ones(4)).span(2) == 4
    assert rs.Box(0.0, 1.0).span(2) == 2
    assert rs.GroupLasso(GROUPS).span(2) == D
    w = rs.GroupLasso(GROUPS).subgradient(np.ones(D))
    np.testing.assert_allclose(w, np.ones(D))  # sqrt(|a|) w_a / ||w_a||
    assert rs.RDA(1e-3, rs.Box(0.0, 1.0)).schedule is None  # needs none


PROBLEM = rs.LinearRegression(np.array([0.5, -0.3, 0.0]), rs.AR1(3, 0.5))


def test_custom_run_is_that_of_l1():
    """Bit for bit."""
    schedule = rs.PowerLaw(c=0.5, mu=0.6)
    runs = []
    for regularizer in (rs.L1(), rs.CustomRegularizer(soft)):
        runs.append(rs.simulate(PROBLEM, rs.RDA(1e-2, regularizer, schedule), 1.0, replicates=20, seed=3, times=11))
    for space in ("dual", "primal"):
        np.testing.assert_array_equal(runs[0][space], runs[1][space])


def test_custom_bands():
    schedule = rs.PowerLaw(c=0.5, mu=0.6)
    theory, ours = (
        rs.approximate(PROBLEM, rs.RDA(1e-2, regularizer, schedule), 1.0, times=5)
        for regularizer in (rs.L1(), rs.CustomRegularizer(soft))
    )
    with pytest.raises(ValueError, match="pass regularizer="):
        rs.band(ours)
    np.testing.assert_allclose(ours["dual_ode"], theory["dual_ode"], atol=1e-10)
    np.testing.assert_allclose(ours["primal_ode"], theory["primal_ode"], rtol=0.0)
    expected, found = rs.band(theory), rs.band(ours, regularizer=rs.CustomRegularizer(soft))
    np.testing.assert_allclose(found["lower"], expected["lower"], atol=2e-4)
    np.testing.assert_allclose(found["upper"], expected["upper"], atol=2e-4)


@pytest.mark.parametrize("schedule", [rs.PowerLaw(c=1.0, mu=0.6), rs.Linear(0.2)], ids=["power", "linear"])
def test_elastic_net_fluctuations(schedule):
    """The limit law of the primal against the discrete algorithm at a small step."""
    start, problem = np.array([-0.4, 0.2, 1.0]), rs.LinearRegression(np.array([0.5, -0.3, 0.4]), rs.AR1(3, 0.5))

    def limit(regularizer):
        algorithm = rs.RDA(1e-4, regularizer, schedule)
        return rs.approximate(problem, algorithm, 3.0, method="limit", times=7, start=start, check=False)

    theory = limit(rs.ElasticNet(2.0))
    algorithm = rs.RDA(1e-4, rs.ElasticNet(2.0), schedule)
    runs = rs.simulate(problem, algorithm, 3.0, replicates=320, seed=1, times=7, start=start)["primal"]
    # away from the start and from zero, where it holds to leading order only
    clear = (np.abs(theory["primal_ode"].values) > 0.05) & (theory["time"].values > 0.0)[:, None]
    std = runs.std("replicate").values[clear]
    gap = runs.mean("replicate").values[clear] - theory["primal_mean"].values[clear]
    assert np.abs(gap).max() < 4.0 * std.max() / np.sqrt(320)
    np.testing.assert_allclose(std, theory["primal_std"].values[clear], rtol=0.15)
    # the shrinkage is seen: its part of the law is far larger than that
    assert np.abs(limit(rs.L1())["primal_mean"].values - theory["primal_mean"].values)[clear].max() > 0.006


def test_elastic_net_without_shrinkage_is_l1():
    start = np.array([-0.4, 0.2, 1.0])
    found = [
        rs.approximate(
            PROBLEM, rs.RDA(1e-3, r, rs.PowerLaw(0.5, 0.6)), 2.0, method="limit", times=9, start=start, check=False
        )
        for r in (rs.L1(), rs.ElasticNet(0.0))
    ]
    for name in ("primal_mean", "primal_std", "dual_mean"):
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("schedule", [rs.PowerLaw(c=1.0, mu=0.6), rs.Linear(0.2)], ids=["power", "linear"])
@pytest.mark.parametrize("name", ["custom l1", "custom weighted l1", "custom elastic net"])
def test_custom_limit_is_that_of_ours(name, schedule):
    """Where a coordinate of the flow is zero throughout (paths) and where none is (moments)."""
    function, ours = CUSTOM[name]
    covariance = rs.AR1(D, 0.5)
    for coef in (np.array([0.5, -0.3, 0.4, -0.6, 0.2, 0.3]), np.array([0.5, -0.3, 0.0, 0.0, 0.0, 0.0])):
        problem = rs.LinearRegression(coef, covariance if coef.all() else None)
        start = np.where(np.arange(D) == 1, 0.3, 0.0)  # one coordinate changes sign on the way
        theories = [
            rs.approximate(
                problem,
                rs.RDA(1e-3, r, schedule),
                2.0,
                method="limit",
                times=5,
                start=start,
                paths=40,
                seed=0,
                check=False,
            )
            for r in (ours, rs.CustomRegularizer(function))
        ]
        assert list(theories[0]) == list(theories[1])
        for variable in theories[0]:
            np.testing.assert_allclose(theories[1][variable], theories[0][variable], atol=1e-8, err_msg=variable)


@pytest.mark.parametrize(
    "regularizer", [rs.NonNegativeL1(), rs.GroupLasso([0, 0, 1]), *map(rs.CustomRegularizer, (ridge, one_sided, block))]
)
def test_no_limit(regularizer):
    algorithm = rs.RDA(1e-3, regularizer, rs.PowerLaw(0.5, 0.6))
    with pytest.raises(ValueError, match="'limit' only with L1 or ElasticNet"):
        rs.approximate(PROBLEM, algorithm, 1.0, method="limit", check=False)

"""The public laws of mirror maps: all of the package obey them, and maps that break them are caught, law by law."""

import numpy as np
import pytest

import rdasde as rs
from rdasde._regularizers.unregularized import Unregularized

GROUPS = [0, 0, 2, 1, 2, 2]


def soft(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess, v[j])


def hard(v, threshold, out):
    for j in range(v.size):
        out[j] = 0.0 if abs(v[j]) <= threshold else v[j]


def block(v, threshold, out):
    norm = np.sqrt(np.sum(v * v))
    out[:] = v * (0.0 if norm <= threshold else 1.0 - threshold / norm)


def twisted(v, threshold, out):
    """A contraction that turns the plane: half of firm, but the gradient of nothing."""
    out[:] = 0.5 * v
    out[0] -= 0.3 * v[1]
    out[1] += 0.3 * v[0]


def squared(v, threshold, out):
    for j in range(v.size):
        excess = abs(v[j]) - threshold * threshold
        out[j] = np.copysign(0.0 if excess <= 0.0 else excess, v[j])


def not_finite(v, threshold, out):
    out[:] = v
    out[0] = np.inf


REGULARIZERS = {
    "none": Unregularized(),
    "l1": rs.L1(),
    "weighted l1": rs.L1([1.0, 0.0, 2.0, 0.5, 1.0, 3.0]),
    "elastic net": rs.ElasticNet(0.7),
    "nonnegative l1": rs.NonNegativeL1(),
    "box": rs.Box([-1.0, 0.0, -np.inf, 0.5, -2.0, -0.3], [1.0, np.inf, 0.0, 0.5, -1.0, 0.4]),
    "half line": rs.Box(0.0, np.inf),
    "group lasso": rs.GroupLasso(GROUPS),
    "custom": rs.CustomRegularizer(soft),
    "custom block": rs.CustomRegularizer(block, separable=False),
}
COUPLED = {"monotone", "jacobian_diagonal", "gaussian_moments"}
SKIPPED = {
    "none": {"subgradient", "dead_zone"},
    "l1": set(),
    "weighted l1": {"dead_zone"},
    "elastic net": set(),
    "nonnegative l1": set(),
    "box": {"subgradient", "dead_zone"},
    "half line": {"subgradient", "dead_zone"},
    "group lasso": {"dead_zone", *COUPLED},
    "custom": {"subgradient", "dead_zone", "json"},
    "custom block": {"subgradient", "dead_zone", "json", *COUPLED},
}


@pytest.mark.parametrize("name", list(REGULARIZERS))
@pytest.mark.parametrize("seed", [0, 1])
def test_every_law(name, seed):
    laws = rs.testing.check_regularizer(REGULARIZERS[name], seed=seed)
    assert {law for law, verdict in laws.items() if verdict != "holds"} == SKIPPED[name]


def test_the_length_of_the_vectors():
    assert rs.testing.check_regularizer(rs.L1(), dimension=1)["monotone"] == "holds"
    with pytest.raises(ValueError, match="weights of L1 is of length 2"):
        rs.testing.check_regularizer(rs.L1([1.0, 2.0]), dimension=3)
    with pytest.raises(TypeError, match="regularizer is 'l1' "):
        rs.testing.check_regularizer("l1")


class WrongShape(rs.L1):
    def prox(self, v, threshold):
        return super().prox(v, threshold)[..., :1]


class NotIdentity(rs.L1):
    def prox(self, v, threshold):
        return super().prox(v, np.asarray(threshold) + 1e-9)


class NeedsSchedule(rs.L1):
    needs_schedule = False


class WrongSlope(rs.ElasticNet):
    def jacobian_diagonal(self, v, threshold):
        return np.where(np.abs(v) > threshold, 1.0, 0.0)


class WrongSubgradient(rs.ElasticNet):
    def subgradient(self, w):
        return np.sign(w)


class WrongZone(rs.L1):
    def dead_zone(self, threshold):
        return -0.5 * threshold, threshold


class WrongMirror(rs.L1):
    """The compiled map sees other weights."""

    def __init__(self):
        super().__init__()
        self.parameters = self.parameters._replace(weights=np.array([1.0 + 1e-9]))
        self.right = rs.L1()

    def prox(self, v, threshold):
        return self.right.prox(v, threshold)

    def subgradient(self, w):
        return np.sign(w)


class WrongVariance(rs.L1):
    def gaussian_moments(self, mean, std, threshold):
        exact = super().gaussian_moments(mean, std, threshold)
        return exact._replace(variance=1.01 * exact.variance)


class WrongZero(rs.L1):
    def gaussian_moments(self, mean, std, threshold):
        exact = super().gaussian_moments(mean, std, threshold)
        return exact._replace(zero=0.999 * exact.zero)


FIRM = "prox is to be firmly nonexpansive, ||w - w'||^2 <= (w - w')'(v - v'), but at v = "
CASES = [
    (WrongShape, "prox is to be finite and of shape (400, 6), that of v, but it has shape (400, 1)"),
    (
        lambda: rs.CustomRegularizer(not_finite),
        "prox is to be finite and of shape (400, 6), that of v, but it has NaN ",
    ),
    (NotIdentity, "prox is to be the identity at threshold 0, but at v = "),
    (NeedsSchedule, "prox is not to depend on the threshold, but at v = "),
    (lambda: rs.CustomRegularizer(hard), FIRM),
    (lambda: rs.CustomRegularizer(twisted, separable=False), "The Jacobian of prox is to be symmetric, but at v = "),
    (lambda: rs.CustomRegularizer(squared), "prox(w + s (v - w), s g) is to be w for every s > 0, but at v = "),
    (lambda: rs.CustomRegularizer(block), "A coordinate of prox is to depend on that of v alone, but at v = "),
    (lambda: WrongSlope(0.7), "jacobian_diagonal is to be the derivative of each coordinate, but at v = "),
    (lambda: WrongSubgradient(0.7), "w + g subgradient(w) is to be v where w is not 0, but at v = "),
    (WrongZone, "prox is to be exactly 0 within dead_zone and only there, but at v = "),
    (WrongMirror, "compiled mirror is to equal prox, but at threshold "),
    (WrongVariance, "variance of gaussian_moments is to be its integral, but at m = "),
    (WrongZero, "zero of gaussian_moments is to be its integral, but at m = "),
]


@pytest.mark.parametrize(("mutant", "sentence"), CASES, ids=[sentence[:50] for _, sentence in CASES])
def test_a_broken_law_is_one_sentence(mutant, sentence):
    with pytest.raises(AssertionError) as caught:
        rs.testing.check_regularizer(mutant())
    message = str(caught.value)
    assert message.startswith(sentence)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) <= 300


def test_a_map_that_is_written_wrong(monkeypatch):
    monkeypatch.setattr(rs.ElasticNet, "settings", lambda self: {"l2": 0.0})
    with pytest.raises(AssertionError, match=r"from_json\(to_json\(\)\) is to give the same map, but at v = "):
        rs.testing.check_regularizer(rs.ElasticNet(0.7))

"""The stabilized integrator: order two, a long stability interval, interpolation."""

import numpy as np
import pytest

from rdasde._approximations.rkc import _one_step, integrate, integrate_steps, interpolate


def solve(stages, steps):
    y, h = np.array([1.0]), 1.0 / steps
    for i in range(steps):
        y = _one_step(lambda t, y: np.cos(t) - y, i * h, h, y, np.cos(i * h) - y, stages)
    return abs(float(y[0]) - (0.5 * (np.cos(1.0) + np.sin(1.0)) + 0.5 * np.exp(-1.0)))


@pytest.mark.parametrize("stages", [2, 3, 5, 10, 20])
def test_order_two(stages):
    errors = np.array([solve(stages, steps) for steps in (20, 40, 80)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 2.0, atol=0.08)


@pytest.mark.parametrize("stages", [2, 5, 10, 20])
def test_stability_interval(stages):
    # 2/3 (s^2 - 1) (1 - 2 eps / 15), eps = 2/13 (Sommeijer, Shampine & Verwer 1998)
    beta = 2.0 / 3.0 * (stages**2 - 1) * (1.0 - 2.0 / 15.0 * 2.0 / 13.0)
    for z in np.linspace(0.01, 0.99 * beta, 200):
        one = np.array([1.0])
        assert abs(_one_step(lambda t, y, z=z: -z * y, 0.0, 1.0, one, -z * one, stages)[0]) <= 1.0


def test_adaptive_steps_meet_the_tolerance():
    rates = np.array([1.0, 30.0, 300.0])

    def rhs(t, y):
        return -rates * (y - np.sin(t))

    for tolerance in (1e-3, 1e-5):
        found, steps = [], 0
        times = np.linspace(0.0, 5.0, 101)[1:]
        for step in integrate(
            rhs,
            np.ones(3),
            5.0,
            rate=330.0,
            first_step=1e-4,
            error=lambda e, a, b, tol=tolerance: np.abs(e).max() / tol,
        ):
            steps += 1
            inside = (times > step.t0) & (times <= step.t1)
            if inside.any():
                found.append(interpolate(step, times[inside], lambda y: y))
        t = times[:, None]
        particular = (rates**2 * np.sin(t) - rates * np.cos(t)) / (rates**2 + 1.0)
        exact = particular + (1.0 + rates / (rates**2 + 1.0)) * np.exp(-rates * t)
        assert np.abs(np.concatenate(found) - exact).max() < 20 * tolerance
        assert steps < (400 if tolerance == 1e-3 else 1500)  # an explicit classical method needs more than 500 at 330


@pytest.mark.parametrize("lag", [2e-3, 0.02])
def test_steps_of_a_recursion_are_met_in_fewer(lag):
    """x_{n+1} = x_n + lag f(t_n, x_n), rates 1 to 30, lag times rate up to .6, under a forcing like the threshold's."""
    rates, count, tolerance = np.array([1.0, 5.0, 30.0]), round(4.0 / lag), 1e-3
    calls = []

    def rhs(t, x):
        calls.append(t)
        return np.sqrt(t) - rates * x

    exact = [np.ones(3)]
    for n in range(count):
        exact.append(exact[-1] + lag * rhs(n * lag, exact[-1]))
    calls.clear()
    times, found = lag * np.arange(count + 1), np.zeros((count + 1, 3))
    steps = integrate_steps(
        rhs, np.ones(3), count, lag, rate=33.0, error=lambda e, a, b: float(np.abs(e).max()) / tolerance
    )
    for step in steps:
        inside = (times > step.t0 + 0.25 * lag) & (times <= step.t1 + 0.25 * lag)
        found[inside] = interpolate(step, times[inside], lambda x: x)
        np.testing.assert_allclose(found[inside][-1], step.end, atol=1e-12)
    assert np.abs(found - exact)[1:].max() < 10 * tolerance
    assert len(calls) < (0.25 * count if lag < 0.01 else 1.2 * count)  # never much dearer than the recursion itself


def test_a_recursion_that_leaves_the_numbers_says_where():
    steps = integrate_steps(lambda t, x: x**3, np.full(1, 1e100), 100, 0.1, rate=1.0, error=lambda e, a, b: 0.0)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ArithmeticError) as caught:
        list(steps)
    assert str(caught.value) == (
        "The moments of the algorithm have no finite value past t = 0: take a smaller step_size or a larger "
        "batch_size, or rs.simulate(..., on_divergence='keep') in their place."
    )


def test_a_bound_of_the_rate_that_is_far_off_costs_little():
    """The step is as long as what is fast by now allows, not as what might be."""
    calls = {}
    for bound in (11.0, 44.0):
        asked = calls[bound] = []

        def rhs(t, y, asked=asked):
            asked.append(t)
            return -np.array([1.0, 10.0]) * (y - np.sin(t))

        def error(difference, before, after):
            return float(np.abs(difference).max()) / 1e-4

        *_, last = integrate(rhs, np.ones(2), 4.0, rate=bound, first_step=1e-3, error=error)
        rates = np.array([1.0, 10.0])
        decay = (1.0 + rates / (rates**2 + 1.0)) * np.exp(-4.0 * rates)
        exact = (rates**2 * np.sin(4.0) - rates * np.cos(4.0)) / (rates**2 + 1.0) + decay
        assert np.abs(last.end - exact).max() < 1e-3
    assert len(calls[44.0]) < 1.5 * len(calls[11.0])

"""A user's own problem: stochastic gradients as a function compiled by numba, and what is known besides."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check, _users
from rdasde._check import Floats
from rdasde._compiled.functions import for_compiled_code, plain_records
from rdasde._compiled.lanes import LANES
from rdasde._compiled.random import streams
from rdasde._compiled.trial import cannot_compile, compile_for
from rdasde._problems.base import Expectations, Problem, sigma_average
from rdasde._problems.equality import owned
from rdasde._problems.stochastic_problem_lanes import (
    CustomParameters,
    CustomStreams,
    custom_layout,
    joint_moments,
    moments,
)
from rdasde._problems.user_functions import takes_parameters

_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the point's size
_AROUND = 0.1  # standard deviation of states around one, in the same units, that see where gradients jump
_NORMALS, _ESTIMATES, _STATES = 3, 4, 5  # families of streams: of the diffusion's normals, of estimates, of states
_WIDER = (
    0.1  # states are spread in every direction by this share of the largest spread at least: slopes are known there
)
_EXTRA_PAIRS = 32  # of states that a mean slope is averaged over, beyond as many as coordinates
_OFTEN = 100  # times as many draws as `samples` tell once what those of `samples` are off by
_CLOSE, _MOST = 0.05, 16  # relative error of variances that is let pass, and at most how many times `samples` for it
_DESCENT = 30  # steps towards where that is asked
_REGULAR = 1e-6  # least eigenvalue of a covariance that is corrected by a factor, as a share of the largest
_KNOWN = ("mean_gradient", "hessian", "noise_covariance")


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


class _Joint(NamedTuple):
    """Of gradients at random states, both drawn."""

    gradient: Floats  # their mean (d,)
    slope: Floats  # E[H(W)] root, where root root' is the covariance of the states
    scatter: Floats  # their covariance


class _Corrections(NamedTuple):
    """Of averages over the draws that are used at every state."""

    times: int  # how many times `samples` are drawn
    gradient: Floats  # what their mean gradient lacks (d,)
    factor: Floats  # what turns the root of their noise into that of the noise (d, d)


class StochasticProblem(Problem):
    """A problem of your own, given by its stochastic gradients.

    What you do not give is estimated from `gradient`, from the same draws at every w: the mean gradient is then that of
    a fixed sample, a smooth function of w if each draw is one.

    Parameters
    ----------
    gradient : callable
        ``gradient(parameters, w, rng, out)`` overwrites `out` (d,) with one stochastic gradient at `w` (d,), random
        numbers taken from `rng`, a numpy.random.Generator. A function that numba can compile, or one already compiled
        by ``numba.njit``. What is compiled is kept on disk for other processes, until the function is changed, or a
        global value or a function that it uses.
    parameters : object
        The first argument of your functions, anything that numba takes: an array, a number, a (named) tuple of such.
    dimension : int
        Number of coordinates d.
    mean_gradient, hessian, noise_covariance : callable, optional
        ``(parameters, w)`` or ``(w)`` to the expectation G(w) (d,) of the gradient, its Jacobian (d, d), and its
        covariance Sigma(w) (d, d). A `mean_gradient` of the first form that numba can compile also drives the paths
        of the diffusion; without one their drift is linearized around the closure.
    minimizer : array_like of shape (d,), optional
        Where the mean gradient vanishes, if you know.
    rate : float, optional
        About the largest eigenvalue of the Hessian along a run, which sets the time step of the diffusion and the
        warning about the step size. Without, it is the largest at zero and at the minimizer.
    samples : int
        How many gradients an estimate is made of.

    Attributes
    ----------
    estimated : tuple of str
        Which of ``mean_gradient``, ``hessian``, ``noise_covariance`` are estimated from draws.

    Raises
    ------
    ValueError, TypeError
        If a function cannot be compiled or called, or does not do what it should at a point tried here.

    Notes
    -----
    Replicate r draws from ``Generator(SFC64(SeedSequence(seed, spawn_key=(r,))))``: (seed, r) alone decides.

    An estimate of the mean gradient or of the noise covariance costs `samples` gradients at w; the Hessian, by central
    differences, 2 d mean gradients. All use the same draws, so differences are as accurate as the mean itself; where
    one draw jumps as w moves, give `mean_gradient` or `hessian`. The first run costs one or two Hessians, for the rate.

    The noise of the diffusion at w is ``(K - 1)^(-1/2) sum_i (g_i - mean g) xi_i`` with K = 32 fresh gradients ``g_i``
    at w and standard normals ``xi_i``: its covariance is Sigma(w), and a step of a path costs K gradients.

    The closure averages over ``W ~ N(m, C)`` and the sample of a gradient together: pairs of states ``m +- x``, each
    pair at one sample, the same draws at every m and C. From the pairs follow ``E G``, ``E H`` as the slope of the
    regression of the gradient on x (Stein's lemma, so that the gradient may have kinks), and the noise as what that
    slope leaves of the gradients' covariance. What so few draws are off by is found once, from 100 times as many at the
    minimizer or where gradients lead, and corrected everywhere: the mean by a difference, the noise by a factor.

    Examples
    --------
    Phase retrieval: squares of projections are seen, ``Y = (Z'w*)^2 + noise``, and ``f = ((Z'w)^2 - Y)^2 / 4``.

    >>> import numpy as np
    >>> import rdasde as rs
    >>> def gradient(coef, w, rng, out):
    ...     z = rng.standard_normal(w.size)
    ...     y = (z @ coef) ** 2 + 0.5 * rng.standard_normal()
    ...     out[:] = ((z @ w) ** 2 - y) * (z @ w) * z
    >>> def mean_gradient(coef, w):
    ...     return (3 * (w @ w) - coef @ coef) * w - 2 * (coef @ w) * coef
    >>> coef = np.array([0.8, -0.6, 0, 0, 0, 0])
    >>> problem = rs.StochasticProblem(gradient, coef, 6, mean_gradient=mean_gradient, minimizer=coef)
    >>> problem
    StochasticProblem(gradient, d=6, hessian by differences, noise_covariance from 10000 draws)
    >>> algorithm = rs.RDA(2e-3, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> start = coef + 0.2
    >>> runs = rs.simulate(problem, algorithm, horizon=5.0, times=6, replicates=50, start=start, seed=0)
    >>> options = {"times": 6, "start": start, "seed": 0}
    >>> theory = rs.approximate(problem, algorithm, horizon=5.0, method="paths", paths=200, **options)
    >>> bool(abs(runs.primal.mean("replicate") - theory.primal_mean).max() < 0.03)
    True
    """

    def __init__(
        self,
        gradient: Callable[[Any, Floats, np.random.Generator, Floats], object],
        parameters: Any,
        dimension: int,
        *,
        mean_gradient: Callable[..., ArrayLike] | None = None,
        hessian: Callable[..., ArrayLike] | None = None,
        noise_covariance: Callable[..., ArrayLike] | None = None,
        minimizer: ArrayLike | None = None,
        rate: float | None = None,
        samples: int = 10_000,
    ) -> None:
        if not callable(gradient):
            raise _check.wrong_kind(
                "gradient",
                gradient,
                "a function gradient(parameters, w, rng, out)",
                "pass one that writes a stochastic gradient at w into out",
            )
        self.dimension = _check.count("dimension", dimension, mend="give the number of coordinates")
        self.samples = _check.count("samples", samples, least=2, mend="give how many gradients an estimate is made of")
        self._rate = None if rate is None else _check.number("rate", rate, above=0.0)
        self.minimizer: Floats | None = None
        if minimizer is not None:
            self.minimizer = _check.array(
                "minimizer", minimizer, (self.dimension,), mend="give one number for each coordinate"
            )
        self._user_parameters = parameters = owned(parameters)
        self._name = getattr(gradient, "__name__", "gradient")
        self._given: dict[str, Callable[..., ArrayLike]] = {}
        self._with_parameters: dict[str, bool] = {}
        functions: tuple[Any, ...] = (mean_gradient, hessian, noise_covariance)
        for name, function in zip(_KNOWN, functions, strict=True):
            if function is None:
                continue
            if not callable(function):
                accepted = f"a function {name}(parameters, w) or {name}(w)"
                raise _check.wrong_kind(name, function, accepted, "pass one, or leave it out")
            self._with_parameters[name] = takes_parameters(name, function)
            self._given[name] = function
        self.estimated = tuple(
            name
            for name in _KNOWN
            if name not in self._given and not (name == "hessian" and "mean_gradient" in self._given)
        )
        self.has_exact_gradient = "mean_gradient" in self._given
        probe = np.random.default_rng(0).uniform(0.25, 0.75, self.dimension)  # where logarithms and roots exist too
        self._try_gradient(getattr(gradient, "py_func", gradient), probe)
        for name in self._given:
            self._evaluate(name, probe)
        own = plain_records(parameters)
        compiled = for_compiled_code(gradient, 4)
        compile_for("gradient", compiled, (own, probe, _generator(0), probe))
        mean: Any = mean_gradient if self._with_parameters.get("mean_gradient", False) else None
        if not (inspect.isfunction(mean) or hasattr(mean, "py_func")):
            mean = None
        self.parameters: CustomParameters = CustomParameters(
            compiled, own, None if mean is None else for_compiled_code(mean, 2)
        )
        self.scratch = custom_layout(self.dimension)

    def _try_gradient(self, function: Callable[..., object], probe: Floats) -> None:
        """Call the user's function as Python does, which sees what compiled code would not: indices out of bounds."""
        accepted = "a function gradient(parameters, w, rng, out) that overwrites out (d,)"
        zeros, ones = np.zeros(self.dimension), np.ones(self.dimension)
        for out in (zeros, ones):
            point = probe.copy()
            try:
                with np.errstate(all="ignore"):
                    function(self._user_parameters, point, _generator(0), out)
            except Exception as error:
                if type(error).__module__.startswith("numba."):  # a compiled function that it calls
                    raise cannot_compile("gradient", error) from error
                got = f"a function that raises {type(error).__name__} ({_check.show(str(error))}) at a point w (d,)"
                raise _check.bad(
                    "gradient", got, accepted, "make it work for these parameters and dimension"
                ) from error
            if not np.array_equal(point, probe):
                raise _check.bad("gradient", "a function that changes w", accepted, "leave w as it is")
        if not np.array_equal(zeros, ones, equal_nan=True):
            got = "a function that leaves what was in out before"
            raise _check.bad("gradient", got, accepted, "write all of it, for example out[:] = ...")

    @staticmethod
    def make_streams(seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> CustomStreams:
        generators = [_generator(seed, int(replicate), *purpose) for replicate in replicates]
        unused = [generators[0]] * (LANES - len(generators))
        lanes = streams(seed, replicates, (*purpose, _NORMALS))
        return CustomStreams((*generators, *unused), len(generators), lanes)

    @functools.cached_property
    def has_compiled_drift(self) -> bool:
        """Whether `mean_gradient` was given as a function of parameters and w that numba can compile."""
        function = self.parameters.mean_gradient
        if function is None:
            return False
        try:
            arguments = (self.parameters.parameters, np.zeros(self.dimension))
            returned = compile_for("mean_gradient", function, arguments)
        except ValueError:
            return False
        return getattr(returned, "ndim", None) == 1

    def _evaluate(self, name: str, w: Floats) -> Floats:
        """What the user's function returns at w, of the right shape."""
        shape = (self.dimension,) if name == "mean_gradient" else (self.dimension, self.dimension)
        arguments = (self._user_parameters, w) if self._with_parameters[name] else (w,)
        accepted = f"one that returns shape {shape}"
        mend = "give one number for each coordinate" if len(shape) == 1 else "give one row for each coordinate"
        value = _users.called(
            name, self._given[name], *arguments, at="at a point w (d,)", accepted=accepted, mend="make it work there"
        )
        numbers = _users.numbers(value)
        if numbers is None or numbers.shape != shape:
            made = _users.returned(value) if numbers is None else f"an array of shape {numbers.shape}"
            raise _check.bad(name, f"a function that returns {made}", accepted, mend)
        return np.array(numbers, dtype=np.float64)

    def _estimate(self, w: Floats, samples: int, covariance: bool) -> tuple[Floats, Floats]:
        """Mean and, if wanted, covariance of gradients at w, from the same draws at every w."""
        d = self.dimension
        mean, squares = np.empty(d), np.empty((d if covariance else 0, d))
        generator = _generator(0, 0, _ESTIMATES)
        moments(self.parameters.gradient, self.parameters.parameters, generator, w, samples, mean, squares)
        return mean, squares / (samples - 1)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        point = self._point(w)
        if "mean_gradient" in self._given:
            return self._evaluate("mean_gradient", point)
        return self._estimate(point, self.samples, False)[0]

    def monte_carlo_error(self, w: ArrayLike) -> Floats:
        """Standard errors of the estimated mean gradient at w, (d,); zero where it was given."""
        point = self._point(w)
        if "mean_gradient" in self._given:
            return np.zeros(self.dimension)
        return np.sqrt(np.diagonal(self._estimate(point, self.samples, True)[1]) / self.samples)

    def hessian(self, w: ArrayLike) -> Floats:
        point = self._point(w)
        if "hessian" in self._given:
            return self._evaluate("hessian", point)
        result = np.empty((self.dimension, self.dimension))
        for j, step in enumerate(_DIFFERENCE * np.maximum(1.0, np.abs(point))):
            ahead, behind = point.copy(), point.copy()
            ahead[j] += step
            behind[j] -= step
            result[:, j] = (self.mean_gradient(ahead) - self.mean_gradient(behind)) / (ahead[j] - behind[j])
        return result

    def noise_covariance(self, w: ArrayLike) -> Floats:
        point = self._point(w)
        if "noise_covariance" in self._given:
            return self._evaluate("noise_covariance", point)
        return self._estimate(point, self.samples, True)[1]

    def noise_factor(self, w: Floats) -> Floats:
        values, vectors = np.linalg.eigh(self.noise_covariance(w))
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """Averages over states around `mean`, Gaussian, and over samples.

        By Stein's lemma the mean Hessian is the slope of the regression of the gradient on the state, for which the
        gradient need not be smooth. What is estimated is from the same draws at every mean and covariance.
        """
        given = self._given
        if not covariance.any():
            return super().expectations(mean, covariance)
        values, vectors = np.linalg.eigh(covariance)
        largest = float(np.sqrt(max(values[-1], 0.0)))
        least = max(_WIDER * largest, _DIFFERENCE * max(1.0, float(np.abs(mean).max())))
        widths = np.sqrt(np.maximum(values, least**2))
        drawn = not {"mean_gradient", "noise_covariance"} <= given.keys()
        # the symmetric root moves with the covariance; eigenvectors turn at random where eigenvalues meet
        root = (vectors * widths) @ vectors.T
        joint = self._joint(mean, root, self._corrections.times) if drawn else None
        if "mean_gradient" in given:
            gradient = sigma_average(self.mean_gradient, mean, covariance)
            slope = self._mean_slope(mean, root)
        else:
            assert joint is not None
            gradient, slope = joint.gradient + self._corrections.gradient, joint.slope
        if "noise_covariance" in given:
            noise = sigma_average(self.noise_covariance, mean, covariance)
        else:
            assert joint is not None
            factor = self._corrections.factor
            noise = factor @ (joint.scatter - joint.slope @ joint.slope.T) @ factor.T
        hessian = slope @ (vectors / widths) @ vectors.T
        return Expectations.formed(gradient, hessian, noise)

    def _mean_slope(self, mean: Floats, root: Floats) -> Floats:
        """``E[H(W)] root`` from `mean_gradient` at pairs of states, whose second moments are exact."""
        d = self.dimension
        xi = _generator(0, 0, _STATES).standard_normal((d + _EXTRA_PAIRS, d))
        halves = [0.5 * (self.mean_gradient(mean + root @ x) - self.mean_gradient(mean - root @ x)) for x in xi]
        return np.asarray(np.linalg.solve(xi.T @ xi, xi.T @ np.array(halves)).T, dtype=np.float64)

    @functools.cached_property
    def _corrections(self) -> _Corrections:
        """How many draws there are, and what averages over them lack.

        The same draws are used at every state, so that most of their error is the same everywhere. Many more of them,
        once, at the minimizer or where gradients lead, tell what it is.
        """
        point = self.minimizer
        if point is None:
            point = np.random.default_rng(0).uniform(0.25, 0.75, self.dimension)
            with np.errstate(all="ignore"):
                for _ in range(_DESCENT):
                    point = point - self.mean_gradient(point) / self.fastest_rate()
        nothing, unchanged = np.zeros(self.dimension), np.eye(self.dimension)
        if not np.all(np.isfinite(point)):
            return _Corrections(1, nothing, unchanged)
        mean, covariance = self._estimate(point, _OFTEN * self.samples, True)
        if not np.all(np.isfinite(covariance)):
            return _Corrections(1, nothing, unchanged)
        few = self._joint(point, _DIFFERENCE * unchanged, 1)
        variance = np.maximum(np.diagonal(covariance), np.finfo(float).tiny)
        error = float(np.abs(np.diagonal(few.scatter) / variance - 1.0).max())
        root = min(error / _CLOSE, float(np.sqrt(_MOST)))  # as heavy tails of gradients ask for
        times = max(1, int(np.ceil(root**2)))
        few = self._joint(point, _DIFFERENCE * unchanged, times)
        known = few.scatter - few.slope @ few.slope.T
        values = np.linalg.eigvalsh(known)
        if values[0] <= _REGULAR * values[-1] or np.linalg.eigvalsh(covariance)[0] <= 0.0:
            return _Corrections(times, mean - few.gradient, unchanged)
        factor = np.linalg.cholesky(covariance) @ np.linalg.inv(np.linalg.cholesky(known))
        return _Corrections(times, mean - few.gradient, np.asarray(factor, dtype=np.float64))

    def _joint(self, mean: Floats, root: Floats, times: int) -> _Joint:
        d, pairs = self.dimension, max(2, times * self.samples // 2)
        sums = np.empty((3 * d + 2, d))
        same = (_generator(0, 0, _ESTIMATES), _generator(0, 0, _ESTIMATES), _generator(0, 0, _STATES))
        root = np.ascontiguousarray(root)
        joint_moments(self.parameters.gradient, self.parameters.parameters, same, mean, root, pairs, sums)
        number = 2.0 * pairs
        shift = sums[1] / number
        slope = np.asarray(np.linalg.solve(sums[2 + d : 2 + 2 * d], sums[2 : 2 + d].T).T, dtype=np.float64)
        scatter: Floats = sums[2 + 2 * d :] / number - np.outer(shift, shift)
        return _Joint(sums[0] + shift, slope, scatter)

    def _defining(self) -> tuple[Any, ...]:
        return *super()._defining(), self._given, self.samples  # not all functions are among the parameters

    def expectation_cost(self) -> float:
        return float("inf")  # a user's functions may cost anything

    def default_start(self) -> Floats:
        start = np.zeros(self.dimension)
        mean, covariance = self._estimate(start, 100, True)
        if not np.all(np.isfinite(mean)):
            accepted = "given where the gradient at zero is not finite"
            raise _check.bad("start", "None", accepted, "give one where it is")
        if not (np.any(mean) or np.any(covariance)):
            raise _check.bad("start", "None", "given where zero is a fixed point", "give a start other than zero")
        return start

    @functools.cached_property
    def _hessians(self) -> list[Floats]:
        """At the minimizer, if known, and at zero, where finite."""
        points = [np.zeros(self.dimension)] if self.minimizer is None else [self.minimizer, np.zeros(self.dimension)]
        with np.errstate(all="ignore"):
            return [hessian for hessian in map(self._typical_hessian, points) if np.all(np.isfinite(hessian))]

    def _typical_hessian(self, w: Floats) -> Floats:
        """The Hessian; around w where differences of gradients that jump have missed most of it."""
        near = self.hessian(w)
        if {"mean_gradient", "hessian"} & self._given.keys() or not np.all(np.isfinite(near)):
            return near
        width = _AROUND * max(1.0, float(np.abs(w).max()))
        wide = self._joint(w, width * np.eye(self.dimension), 1).slope / width
        if not np.all(np.isfinite(wide)):
            return near
        return near if _fastest(near) >= 0.5 * _fastest(wide) else wide

    def fastest_rate(self) -> float:
        if self._rate is None:
            if not self._hessians:
                raise _check.bad(
                    "rate",
                    "None where the Hessian at zero is not finite",
                    "a number > 0",
                    "give about the largest eigenvalue of the Hessian along a run",
                )
            largest = max(map(_fastest, self._hessians))
            self._rate = max(largest, float(np.finfo(float).tiny))
        return self._rate

    def trace(self) -> float:
        return float(np.trace(self._hessians[0])) if self._hessians else float("nan")

    def instability(self, step_size: float, batch_size: int) -> str | None:
        load = step_size * self.fastest_rate()
        return f"step_size * largest eigenvalue of the Hessian is {load:.3g}, not below 2" if load >= 2.0 else None

    def __repr__(self) -> str:
        parts = [self._name, f"d={self.dimension}"]
        if "hessian" not in self._given and "hessian" not in self.estimated:
            parts.append("hessian by differences")
        if self.estimated:
            parts.append(f"{' and '.join(self.estimated)} from {self.samples} draws")
        return f"StochasticProblem({', '.join(parts)})"


def _fastest(hessian: Floats) -> float:
    return float(np.abs(np.linalg.eigvals(hessian)).max())

"""A small neural network as a problem: one hidden layer, softmax, the rows of a data set as the population.

The compiled pieces take one row in every lane at a time, forwards and backwards, and add its gradient in passing. Each
layer is a matrix (outputs, inputs + 1), the bias in its last column.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._compiled.lanes import LANES
from rdasde._compiled.random import integers, normals
from rdasde._compiled.scratch import ROW, Layout
from rdasde._problems.base import add_gradient, drift, hessian_product, noise
from rdasde._problems.rows import RowNoise

_WEIGHTS = 10**8  # of a network, at most
_DRAWS = 32  # rows that one noise vector is made of
_DIFFERENCE = float(np.cbrt(np.finfo(float).eps))  # step of central differences, in units of the weights' size
_DESCENT, _LOOKS, _POWERS = 10, 12, 20  # steps between looks at the curvature, looks, iterations of each


class MLPParameters(NamedTuple):
    rows: Floats  # (n, p)
    labels: NDArray[np.int64]  # (n,), 0 to classes - 1
    hidden: int
    classes: int


class MLPScratch(NamedTuple):
    normals: Floats  # (draws, lanes)
    ahead: Floats  # (d, lanes)
    behind: Floats  # (d, lanes)
    inputs: Floats  # (p, lanes)
    hidden: Floats  # (hidden, lanes)
    pull: Floats  # (hidden, lanes)
    outputs: Floats  # (classes, lanes)
    drawn: Floats  # (lanes,), as all below
    weight: Floats
    centre: Floats
    step: Floats


@compilable
def _layer(weights, x, out):
    """``out_i = sum_j weights_ij x_j + bias_i`` in every lane."""
    ins = x.shape[0] + 1
    for i in range(out.shape[0]):
        line, total = weights[i * ins : (i + 1) * ins], out[i]
        for lane in range(LANES):
            total[lane] = line[ins - 1, lane]
        for j in range(ins - 1):
            for lane in range(LANES):
                total[lane] = fma(line[j, lane], x[j, lane], total[lane])


@compilable
def _add_slope(pull, x, out):
    """Add ``pull_i x_j`` to the gradient of ``weights_ij``, ``pull_i`` to that of the bias."""
    ins = x.shape[0] + 1
    for i in range(pull.shape[0]):
        line, level = out[i * ins : (i + 1) * ins], pull[i]
        for j in range(ins - 1):
            for lane in range(LANES):
                line[j, lane] = fma(level[lane], x[j, lane], line[j, lane])
        for lane in range(LANES):
            line[ins - 1, lane] += level[lane]


@compilable
def _pull_back(weights, pull, out):
    """``out_j = sum_i pull_i weights_ij`` in every lane."""
    ins = out.shape[0] + 1
    out[:] = 0.0
    for i in range(pull.shape[0]):
        line, level = weights[i * ins : (i + 1) * ins], pull[i]
        for j in range(ins - 1):
            for lane in range(LANES):
                out[j, lane] = fma(level[lane], line[j, lane], out[j, lane])


@compilable
def _tanh(z):
    """In place."""
    flat = z.reshape(-1)
    for i in range(flat.size):
        e = np.exp(-2.0 * abs(flat[i]))
        flat[i] = np.copysign((1.0 - e) / (1.0 + e), flat[i])


@compilable
def _softmax(s):
    """In place, in every lane."""
    for lane in range(LANES):
        top = s[0, lane]
        for i in range(1, s.shape[0]):
            top = max(top, s[i, lane])
        total = 0.0
        for i in range(s.shape[0]):
            s[i, lane] = np.exp(s[i, lane] - top)
            total += s[i, lane]
        for i in range(s.shape[0]):
            s[i, lane] /= total


@compilable
def _add_weighted(problem, drawn, weight, w, scratch, out):
    """Add ``weight[lane]`` times the gradient of row ``drawn[lane]``."""
    p, h = problem.rows.shape[1], problem.hidden
    x, z, pull, r = scratch.inputs, scratch.hidden, scratch.pull, scratch.outputs
    first, second = w[: h * (p + 1)], w[h * (p + 1) :]
    for lane in range(LANES):
        row = problem.rows[int(drawn[lane])]
        for j in range(p):
            x[j, lane] = row[j]
    _layer(first, x, z)
    _tanh(z)
    _layer(second, z, r)
    _softmax(r)
    for lane in range(LANES):
        r[problem.labels[int(drawn[lane])], lane] -= 1.0
        for i in range(problem.classes):
            r[i, lane] *= weight[lane]
    _pull_back(second, r, pull)
    for i in range(h):
        for lane in range(LANES):
            pull[i, lane] *= 1.0 - z[i, lane] * z[i, lane]
    _add_slope(pull, x, out[: h * (p + 1)])
    _add_slope(r, z, out[h * (p + 1) :])


@implements(add_gradient, MLPParameters)
def _(problem, w, streams, scratch, out):
    drawn, weight = scratch.drawn, scratch.weight
    integers(streams, problem.labels.size, drawn)
    weight[:] = 1.0
    _add_weighted(problem, drawn, weight, w, scratch, out)


@implements(noise, MLPParameters)
def _(problem, w, streams, scratch, out):
    # (K - 1)^-1/2 sum_i (g_i - mean g) xi_i = (K - 1)^-1/2 sum_i g_i (xi_i - mean xi), over K rows drawn afresh
    xi, drawn, centre = scratch.normals, scratch.drawn, scratch.centre
    normals(streams, xi)
    centre[:] = 0.0
    for i in range(_DRAWS):
        for lane in range(LANES):
            centre[lane] += xi[i, lane] / _DRAWS
    out[:] = 0.0
    for i in range(_DRAWS):
        for lane in range(LANES):
            xi[i, lane] = (xi[i, lane] - centre[lane]) / np.sqrt(_DRAWS - 1.0)
        integers(streams, problem.labels.size, drawn)
        _add_weighted(problem, drawn, xi[i], w, scratch, out)


@implements(drift, MLPParameters)
def _(problem, w, scratch, out):
    n = problem.rows.shape[0]
    drawn, weight = scratch.drawn, scratch.weight
    weight[:] = 1.0 / n
    out[:] = 0.0
    for i in range(n):
        drawn[:] = i
        _add_weighted(problem, drawn, weight, w, scratch, out)


@implements(hessian_product, MLPParameters)
def _(problem, w, u, scratch, out):
    # central differences of the mean gradient along u
    d = w.shape[0]
    ahead, behind, h = scratch.ahead, scratch.behind, scratch.step
    for lane in range(LANES):
        size, length = 1.0, 0.0
        for j in range(d):
            size = max(size, abs(w[j, lane]))
            length = max(length, abs(u[j, lane]))
        h[lane] = _DIFFERENCE * size / length if length > 0.0 else 1.0
    for j in range(d):
        for lane in range(LANES):
            ahead[j, lane] = fma(h[lane], u[j, lane], w[j, lane])
            behind[j, lane] = fma(-h[lane], u[j, lane], w[j, lane])
    drift(problem, ahead, scratch, out)
    slope = ahead  # no longer needed
    drift(problem, behind, scratch, slope)
    for j in range(d):
        for lane in range(LANES):
            out[j, lane] = (out[j, lane] - slope[j, lane]) / (2.0 * h[lane])


class MLP(RowNoise):
    """A network of one hidden layer on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

    ``f(w; x, y) = -log softmax(A (tanh(B (x, 1)), 1))_y``: cross-entropy, biases in the last columns of B
    (hidden, p + 1) and A (classes, hidden + 1), ``w = (B, A)`` row by row.

    Parameters
    ----------
    X : array_like of shape (n, p)
        Inputs, best of mean 0 and variance about 1.
    y : array_like of int of shape (n,)
        Labels: 0, 1, ..., classes - 1, each of which occurs.
    hidden : int
        Units of the hidden layer.
    rate : float, optional
        About the largest eigenvalue of the Hessian along a run, which sets the time step of the diffusion and the
        warning about the step size. Without, it is the largest one met on a gradient descent from `initial`.

    Attributes
    ----------
    bias : ndarray of bool of shape (d,)
        Which coordinates are biases; ``rs.L1(weights=1.0 - problem.bias)`` leaves them unpenalized.

    Raises
    ------
    ValueError, TypeError
        If an array is not finite, the shapes do not match, or a label is missing.

    Notes
    -----
    A start must be given, for example ``initial(seed)``: zero is a saddle that the inner weights never leave.

    A step of the diffusion takes two passes over all rows for the mean gradient. Its noise at w is
    ``(K - 1)^(-1/2) sum_i (g_i - mean g) xi_i`` with the gradients g_i of K = 32 rows drawn afresh and standard normals
    xi_i: its covariance is Sigma(w).

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> X = np.random.default_rng(0).standard_normal((50, 2))
    >>> problem = rs.MLP(X, (X[:, 0] * X[:, 1] > 0.0).astype(int), hidden=3)
    >>> start = problem.initial(seed=0)
    >>> start.shape, problem.predict(start, X).shape
    ((17,), (50, 2))
    """

    def __init__(self, X: ArrayLike, y: ArrayLike, hidden: int = 16, *, rate: float | None = None) -> None:
        X, y = _frames.pair(X, y)
        self.rows = _check.array("X", X, (None, None), mend="give one row for each observation")
        n, p = self.rows.shape
        given = _check.array("y", y, (n,), mend="give one label for each row of X")
        labels = given.astype(np.int64)
        classes = int(labels.max()) + 1
        if classes < 2 or np.any(labels != given) or not np.array_equal(np.unique(labels), np.arange(classes)):
            raise _check.bad(
                "y",
                "an array with fractions"
                if np.any(labels != given)
                else f"labels {_check.show(np.unique(labels).tolist())}",
                "whole numbers 0, 1, ..., each of which occurs, at least two",
                "pass np.unique(y, return_inverse=True)[1]",
            )
        self.labels, self.classes = labels, classes
        self.hidden = _check.count("hidden", hidden, mend="give the number of units of the hidden layer")
        self._rate = None if rate is None else _check.number("rate", rate, above=0.0)
        self._split = self.hidden * (p + 1)
        self.dimension = self._split + classes * (self.hidden + 1)
        if self.dimension > _WEIGHTS:
            got = f"{_check.show(hidden)}, which makes {self.dimension:.3g} weights"
            raise _check.bad("hidden", got, f"one that makes at most {_WEIGHTS:g}", "take fewer units")
        self.minimizer: Floats | None = None
        self.bias = np.zeros(self.dimension, dtype=bool)
        for layer in self.layers(self.bias):
            layer[:, -1] = True
        self.parameters: NamedTuple = MLPParameters(self.rows, labels, self.hidden, classes)
        self.scratch = Layout(
            MLPScratch,
            normals=_DRAWS,
            ahead=self.dimension,
            behind=self.dimension,
            inputs=p,
            hidden=self.hidden,
            pull=self.hidden,
            outputs=classes,
            **dict.fromkeys(("drawn", "weight", "centre", "step"), ROW),
        )

    def layers(self, w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The matrices B and A within w: views, biases in their last columns."""
        accepted, mend = f"an array of shape ({self.dimension},)", "give one number for each weight"
        _check.instance("w", w, np.ndarray, accepted, mend)
        if w.shape != (self.dimension,):
            raise _check.bad("w", f"an array of shape {w.shape}", accepted, mend)
        return w[: self._split].reshape(self.hidden, -1), w[self._split :].reshape(self.classes, -1)

    def initial(self, seed: int = 0) -> Floats:
        """Weights to start from: normal, of variance 1 over the number of inputs of their layer; biases 0."""
        w = np.random.default_rng(_check.seed(seed)).standard_normal(self.dimension)
        for layer in self.layers(w):
            layer /= np.sqrt(layer.shape[1] - 1.0)
        w[self.bias] = 0.0
        return w

    def predict(self, w: ArrayLike, X: ArrayLike) -> Floats:
        """Probabilities of the classes, (n, classes), for rows X."""
        X = _check.array(
            "X", _frames.plain("X", X), (None, self.rows.shape[1]), mend="give rows like those of the problem"
        )
        return self._forwards(self._point(w), X)[1]

    def _forwards(self, w: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """The hidden layer (n, hidden), and probabilities (n, classes)."""
        inner, outer = self.layers(w)
        z = np.tanh(rows @ inner[:, :-1].T + inner[:, -1])
        s = z @ outer[:, :-1].T + outer[:, -1]
        e = np.exp(s - s.max(axis=1, keepdims=True))
        return z, e / e.sum(axis=1, keepdims=True)

    def _backwards(self, w: Floats) -> tuple[Floats, Floats, Floats]:
        """The hidden layer, and what it and the outputs pull with, all (n, .)."""
        z, r = self._forwards(w, self.rows)
        r[np.arange(len(r)), self.labels] -= 1.0
        return z, (r @ self.layers(w)[1][:, :-1]) * (1.0 - z * z), r

    def mean_gradient(self, w: ArrayLike) -> Floats:
        z, pull, r = self._backwards(self._point(w))
        parts = (pull.T @ self.rows, pull.sum(axis=0)[:, None]), (r.T @ z, r.sum(axis=0)[:, None])
        return np.concatenate([np.hstack(part).ravel() for part in parts]) / len(r)

    def row_gradients(self, w: Floats) -> Floats:
        z, pull, r = self._backwards(w)
        inner, outer = pull[:, :, None] * _with_ones(self.rows)[:, None], r[:, :, None] * _with_ones(z)[:, None]
        return np.concatenate([inner.reshape(len(r), -1), outer.reshape(len(r), -1)], axis=1)

    def hessian(self, w: ArrayLike) -> Floats:
        product = self._curvature(self._point(w))
        return np.array([product(u) for u in np.eye(self.dimension)])

    def _curvature(self, w: Floats) -> Callable[[Floats], Floats]:
        """A function ``u -> H(w) u``, the derivative of the mean gradient along u (Pearlman 1994)."""
        outer = self.layers(w)[1][:, :-1]
        z, p = self._forwards(w, self.rows)
        r = p.copy()
        r[np.arange(len(r)), self.labels] -= 1.0
        slope, back = 1.0 - z * z, r @ outer
        rows, ones = _with_ones(self.rows), _with_ones(z)

        def product(u: Floats) -> Floats:
            inner_u, outer_u = self.layers(u)
            dz = slope * (rows @ inner_u.T)
            ds = ones @ outer_u.T + dz @ outer.T
            dr = p * (ds - np.sum(p * ds, axis=1, keepdims=True))
            dpull = slope * (dr @ outer + r @ outer_u[:, :-1]) - 2.0 * back * z * dz
            below = dr.T @ ones
            below[:, :-1] += r.T @ dz
            return np.concatenate([(dpull.T @ rows).ravel(), below.ravel()]) / len(r)

        return product

    def default_start(self) -> Floats:
        raise _check.bad(
            "start",
            "None",
            "given for an MLP, where zero is a saddle",
            "pass for example start=problem.initial(seed=0)",
        )

    @functools.cached_property
    def _steepest(self) -> float:
        """The largest curvature met on a gradient descent from `initial`, by power iterations."""
        w = self.initial()
        u: Floats = np.random.default_rng(0).standard_normal(self.dimension)
        largest = float(np.finfo(float).tiny)
        for _ in range(_LOOKS):
            product = self._curvature(w)
            for _ in range(_POWERS):
                u = product(u / np.linalg.norm(u))
            largest = max(largest, float(np.linalg.norm(u)))
            for _ in range(_DESCENT):
                w -= self.mean_gradient(w) / largest
        return largest

    def fastest_rate(self) -> float:
        return self._steepest if self._rate is None else self._rate

    def trace(self) -> float:
        return float(np.trace(self.hessian(self.initial())))

    def instability(self, step_size: float, batch_size: int) -> str | None:
        load = step_size * self.fastest_rate()
        return f"step_size * largest eigenvalue of the Hessian is {load:.3g}, not below 2" if load >= 2.0 else None

    def __repr__(self) -> str:
        n, p = self.rows.shape
        return f"MLP(<n={n}, {p} inputs, {self.classes} classes>, hidden={self.hidden})"


def _with_ones(x: Floats) -> Floats:
    return np.hstack([x, np.ones((len(x), 1))])

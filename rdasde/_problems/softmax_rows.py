"""Softmax regression as `fit` takes it: one row after the other, coefficients of each class against class 0."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, implements
from rdasde._problems.linear_regression import LinearRegression
from rdasde._problems.row_terms import RowModel, dot, row_terms


class SoftmaxModel(NamedTuple):
    """Of K classes: scratch alone, each (K,), class 0 first, whose score is 0."""

    here: Floats  # probabilities at w
    there: Floats  # and at the centre
    moves: Floats  # of the scores, from there to here


@compilable
def _probabilities(x, w, out):
    p, largest, total = x.size, 0.0, 0.0
    out[0] = 0.0
    for k in range(1, out.size):
        out[k] = dot(x, w[(k - 1) * p : k * p])
        largest = max(largest, out[k])
    for k in range(out.size):
        out[k] = np.exp(out[k] - largest)
        total += out[k]
    for k in range(out.size):
        out[k] /= total


@implements(row_terms, SoftmaxModel)
def _(model, row, w, moments):
    # gradient (p - e) (x) x, H = (diag q - q q') (x) x x', roots L_k (x) x with the columns of the Cholesky factor L
    x, y, place = row
    here, there, moves = model
    gradient, curvature, centre, p = moments.gradients[place], moments.curvature, moments.centre, x.size
    last = there.size - 1
    _probabilities(x, w, here)
    _probabilities(x, centre, there)
    mean = 0.0
    for k in range(1, last + 1):
        low = (k - 1) * p
        moves[k] = dot(x, w[low : low + p]) - dot(x, centre[low : low + p])
        mean = fma(there[k], moves[k], mean)
    rest = there[0]  # the probability of class 0 and of those after k
    for k in range(last, 0, -1):
        low, root = (k - 1) * p, moments.roots[place * last + k - 1]
        pull = here[k] - (1.0 if y == k else 0.0)
        bend = here[k] - there[k] - there[k] * (moves[k] - mean)
        total = rest + there[k]
        scale = 0.0 if rest == 0.0 else np.sqrt(there[k] * rest / total)
        for j in range(low):
            root[j] = 0.0
        for j in range(p):
            gradient[low + j] = pull * x[j]
            curvature[low + j] = fma(bend, x[j], curvature[low + j])
            root[low + j] = scale * x[j]
        for i in range(k, last):
            across = 0.0 if rest == 0.0 else -scale * there[i + 1] / rest
            for j in range(p):
                root[i * p + j] = across * x[j]
        rest = total


def softmax_rows(classes: int) -> RowModel:
    """The row model of so many classes."""
    bound = 0.25 if classes == 2 else 0.5  # of diag q - qq'
    return RowModel(
        SoftmaxModel(*np.zeros((3, classes))),
        lambda second: LinearRegression(np.zeros(len(second)), bound * second),
        is_linearized=True,
        largest_slope=bound,
        predictors=classes - 1,
        classes=classes,
    )


def scores(rows: NDArray[Any], w: Floats) -> Floats:
    """Of each row and class, (n, K): zero for class 0."""
    others = np.asarray(rows @ w.reshape(-1, rows.shape[1]).T, dtype=np.float64)
    return np.column_stack([np.zeros(len(others)), others])


def probabilities(rows: NDArray[Any], w: Floats) -> Floats:
    """Of each row and class, (n, K)."""
    from scipy.special import softmax

    return np.asarray(softmax(scores(rows, w), axis=1))


def margins(rows: Floats, labels: Floats, w: Floats) -> Floats:
    """By how much the score of each row in its own class is above that in any other one."""
    of_rows = scores(rows, w)
    own = np.arange(len(rows)), labels.astype(np.int64)
    of_own = of_rows[own]
    of_rows[own] = -np.inf
    above: Floats = of_own - np.max(of_rows, axis=1)
    return above


def first_labels(argument: str, labels: Floats, where: str = "", mend: str = "") -> int:
    """K, where these are labels 0 to K - 1; `where` each has to be, and what else than `unique` mends it."""
    accepted, anew = f"labels 0, 1, ..., K - 1, each at least once{where}", "pass np.unique(y, return_inverse=True)[1]"
    strange = labels[(labels < 0.0) | (labels != np.floor(labels))]
    if strange.size:
        raise _check.bad(argument, f"{strange[0]:g} somewhere", accepted, anew)
    kinds = np.unique(labels)
    if len(kinds) < 2:
        raise _check.bad(argument, f"{kinds[0]:g} everywhere", accepted, mend or "give at least two classes")
    absent = np.flatnonzero(kinds != np.arange(len(kinds)))
    if absent.size:
        mend = f"{mend}, or {anew}" if mend else anew
        raise _check.bad(argument, f"without a label {absent[0]} but with {kinds[-1]:g}", accepted, mend)
    return len(kinds)

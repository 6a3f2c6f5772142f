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
    classes: int  # K


@compilable
def _probabilities(x, w, classes, out):
    """Of classes 1, 2, ... into `out`; that of class 0, whose score is 0, is returned."""
    p, largest = x.size, 0.0
    for k in range(1, classes):
        out[k - 1] = dot(x, w[(k - 1) * p : k * p])
        largest = max(largest, out[k - 1])
    first = np.exp(-largest)
    total = first
    for k in range(1, classes):
        out[k - 1] = np.exp(out[k - 1] - largest)
        total += out[k - 1]
    for k in range(1, classes):
        out[k - 1] /= total
    return first / total


@implements(row_terms, SoftmaxModel)
def _(model, row, w, moments):
    # gradient (p - e) (x) x, H = (diag q - q q') (x) x x', roots L_k (x) x with the columns of the Cholesky factor L
    x, y, place = row
    p, several = x.size, model.classes - 1
    gradient, curvature, centre = moments.gradients[place], moments.curvature, moments.centre
    first = place * several
    # probabilities, and moves of scores, in lines of this row that are filled later: two from the last class down, the
    # path by the caller
    here, there, moves = gradient, moments.path[place], moments.roots[first]
    _probabilities(x, w, model.classes, here)
    rest = _probabilities(x, centre, model.classes, there)  # of class 0, and then of those after k
    mean = 0.0
    for k in range(several):
        moves[k] = dot(x, w[k * p : k * p + p]) - dot(x, centre[k * p : k * p + p])
        mean = fma(there[k], moves[k], mean)
    for k in range(several - 1, -1, -1):
        pull = here[k] - (1.0 if y == k + 1 else 0.0)
        bend = here[k] - there[k] - there[k] * (moves[k] - mean)
        total = rest + there[k]
        scale = 0.0 if rest == 0.0 else np.sqrt(there[k] * rest / total)
        root, low = moments.roots[first + k], k * p
        for j in range(low):
            root[j] = 0.0
        for j in range(p):
            gradient[low + j] = pull * x[j]
            curvature[low + j] = fma(bend, x[j], curvature[low + j])
            root[low + j] = scale * x[j]
        for i in range(k + 1, several):
            across = 0.0 if rest == 0.0 else -scale * there[i] / rest
            for j in range(p):
                root[i * p + j] = across * x[j]
        rest = total


def softmax_rows(classes: int) -> RowModel:
    """The row model of so many classes."""
    bound = 0.25 if classes == 2 else 0.5  # of diag q - qq'
    return RowModel(
        SoftmaxModel(classes),
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

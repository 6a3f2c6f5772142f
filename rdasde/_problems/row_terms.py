"""What `fit` asks of a problem: its gradient on one row, compiled, and a few words on what its rows are.

A problem class that can be fitted says so in its attribute ``row_model``, a `RowModel`. Its ``parameters`` are a
NamedTuple whose class has an implementation of `row_terms`. Those of a loss follow from its derivatives, see
`LossModel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma, generic, implements
from rdasde._losses.base import derivative, second_derivative
from rdasde._losses.formulas import QUANTILE, SMOOTHED_QUANTILE, LossParameters, logistic


class RowModel(NamedTuple):
    """How a problem class is fitted to a stream of rows.

    Attributes
    ----------
    parameters : NamedTuple
        Of `row_terms`.
    gaussian : callable or None
        From second moments of the rows, (d, d), to the problem with Gaussian rows of these, whose `instability` judges
        the step size; None where nothing is known.
    has_response : bool
        Whether a row comes with a number y.
    is_binary : bool
        Whether y is a label, 0 or 1.
    is_directional : bool
        A unit vector is sought, by Oja's rule: the start is along the first row, laws are across the vector.
    is_linearized : bool
        f is not quadratic: gradients are linearized at a centre that follows the path, see `row_terms`.
    largest_slope : float or None
        A bound of l'' that holds for a loss whose l'' changes where scores move by 1; None where it is not known so
        well, and what linearizations leave is looked at instead.
    is_real, is_count : bool
        Whether y is any number, so that least squares is a first guess; whether it is 0, 1, 2, ...
    predictors : int
        Linear predictors x'w_k of a row, so that there are as many coefficients for each column, those of one predictor
        after those of another, and so many roots of a row.
    classes : int
        K, where y is a label 0, 1, ..., K - 1 of several classes, else 0.
    by_classes : callable or None
        Where K is to be read from the first labels: from K to the model.
    """

    parameters: NamedTuple
    gaussian: Callable[[Floats], Any] | None = None
    has_response: bool = True
    is_binary: bool = False
    is_directional: bool = False
    is_linearized: bool = False
    largest_slope: float | None = None
    is_real: bool = False
    is_count: bool = False
    predictors: int = 1
    classes: int = 0
    by_classes: Callable[[int], RowModel] | None = None

    @property
    def is_labelled(self) -> bool:
        """Whether y says of which class a row is."""
        return self.is_binary or self.classes > 0


class Row(NamedTuple):
    """One row of a stream."""

    x: Floats  # (d,)
    y: float  # 0 where there is no response
    place: int  # in its block, from 0


class Moments(NamedTuple):
    """What inference is made of."""

    total: Floats  # (d,): the sum of the w at which gradients were taken, over finished steps
    centre: Floats  # (d,): where gradients are linearized
    curvature: Floats  # (d,): gains what the gradient of a row is beyond its linearization
    gradients: Floats  # (block, d): of each row of the block
    roots: Floats  # (block * predictors, d): r of each row, one after another, where the sum of r r' averages to H
    path: Floats  # (block, d): the w at which the gradient of each row was taken, set once `row_terms` is done
    bent: Floats  # (d,): the sum of `curvature` over all rows


@generic
def row_terms(model, row, w, moments):
    """The gradient at `w` on a `Row`, and its root, into line ``row.place`` of ``moments.gradients`` and ``.roots``.

    Where a row has several roots, they go into as many lines from ``row.place * predictors`` on.

    Where f is not quadratic, ``moments.curvature`` gains what the gradient at `w` is beyond its linearization at
    ``moments.centre``, where H is taken too.
    """


@compilable
def dot(x, w):
    """x'w in eight partial sums: a fixed order that the compiler can vectorize."""
    d = x.size
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = d - d % 8
    for j in range(0, whole, 8):
        s0 = fma(x[j], w[j], s0)
        s1 = fma(x[j + 1], w[j + 1], s1)
        s2 = fma(x[j + 2], w[j + 2], s2)
        s3 = fma(x[j + 3], w[j + 3], s3)
        s4 = fma(x[j + 4], w[j + 4], s4)
        s5 = fma(x[j + 5], w[j + 5], s5)
        s6 = fma(x[j + 6], w[j + 6], s6)
        s7 = fma(x[j + 7], w[j + 7], s7)
    for j in range(whole, d):
        s0 = fma(x[j], w[j], s0)
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


class LinearModel(NamedTuple):
    unused: float


@implements(row_terms, LinearModel)
def _(model, row, w, moments):
    x, y, k = row  # fields are looked up once, not in the loop: that takes time
    gradient, root = moments.gradients[k], moments.roots[k]
    residual = dot(x, w) - y
    for j in range(x.size):
        gradient[j] = residual * x[j]
        root[j] = x[j]


class LogisticModel(NamedTuple):
    unused: float


@implements(row_terms, LogisticModel)
def _(model, row, w, moments):
    x, y, k = row
    gradient, root, curvature = moments.gradients[k], moments.roots[k], moments.curvature
    score, central = dot(x, w), dot(x, moments.centre)
    p, _ = logistic(score)
    q, slope = logistic(central)
    bend = p - q - slope * (score - central)
    scale = np.sqrt(slope)
    for j in range(x.size):
        gradient[j] = (p - y) * x[j]
        root[j] = scale * x[j]
        curvature[j] = fma(bend, x[j], curvature[j])


class LossModel(NamedTuple):
    """Of any loss: gradient ``l'(x'w) x``, root ``sqrt(l''(x'c)) x``, and what the gradient is beyond it."""

    loss: Any  # its parameters


@implements(row_terms, LossModel)
def _(model, row, w, moments):
    x, y, k = row
    gradient, root, curvature = moments.gradients[k], moments.roots[k], moments.curvature
    loss = model.loss
    score, central = dot(x, w), dot(x, moments.centre)
    pull, slope = derivative(loss, score, y), second_derivative(loss, central, y)
    bend = pull - derivative(loss, central, y) - slope * (score - central)
    scale = np.sqrt(slope)  # NaN where the loss is not convex, which `fit` says
    for j in range(x.size):
        gradient[j] = pull * x[j]
        root[j] = scale * x[j]
        curvature[j] = fma(bend, x[j], curvature[j])


class DensityModel(NamedTuple):
    """Of the check loss: its derivative jumps, so that its Hessian is the density of residuals at 0, by a kernel.

    The linearization has the slope of the loss smoothed with this bandwidth; what the gradient is beyond it is still
    exact, jump for jump.
    """

    level: float
    bandwidth: float  # infinite while none is known: slopes are 0

    @property
    def smooth(self) -> LossModel:
        """The smoothed loss, whose mean gradient has a zero that Newton's method finds."""
        return LossModel(LossParameters(SMOOTHED_QUANTILE, self.level, self.bandwidth))


@implements(row_terms, DensityModel)
def _(model, row, w, moments):
    x, y, k = row
    gradient, root, curvature = moments.gradients[k], moments.roots[k], moments.curvature
    score, central = dot(x, w), dot(x, moments.centre)
    exact = LossParameters(QUANTILE, model.level, 0.0)
    pull = derivative(exact, score, y)
    slope = second_derivative(LossParameters(SMOOTHED_QUANTILE, model.level, model.bandwidth), central, y)
    bend = pull - derivative(exact, central, y) - slope * (score - central)
    scale = np.sqrt(slope)
    for j in range(x.size):
        gradient[j] = pull * x[j]
        root[j] = scale * x[j]
        curvature[j] = fma(bend, x[j], curvature[j])


class OjaModel(NamedTuple):
    unused: float


@implements(row_terms, OjaModel)
def _(model, row, w, moments):
    x, _, k = row
    gradient, root = moments.gradients[k], moments.roots[k]
    score = dot(x, w)
    for j in range(x.size):
        gradient[j] = score * (score * w[j] - x[j])
        root[j] = x[j]

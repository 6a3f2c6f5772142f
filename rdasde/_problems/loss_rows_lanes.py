"""A loss of a linear predictor over the rows of a data set, in lanes: what the compiled loops call."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats
from rdasde._compiled.jit import fma, implements
from rdasde._compiled.lanes import add_row, row_dot
from rdasde._compiled.random import row_numbers
from rdasde._losses.base import derivative, second_derivative
from rdasde._problems.base import add_gradient, drift, hessian_product, noise
from rdasde._problems.rows import residual_noise, row_residual


class LossRowParameters(NamedTuple):
    rows: Floats  # (n, d)
    response: Floats  # (n,)
    loss: NamedTuple


@implements(row_residual, LossRowParameters)
def _(problem, i, w, out):
    y = problem.response[i]
    row_dot(problem.rows[i], w, out)
    for lane in range(out.size):
        out[lane] = derivative(problem.loss, out[lane], y)


@implements(add_gradient, LossRowParameters)
def _(problem, w, streams, scratch, out):
    d, lanes = w.shape
    drawn = scratch.drawn
    row_numbers(streams, problem.response.size, drawn)
    for lane in range(lanes):
        i = int(drawn[lane])
        eta = 0.0
        for j in range(d):
            eta = fma(problem.rows[i, j], w[j, lane], eta)
        residual = derivative(problem.loss, eta, problem.response[i])
        for j in range(d):
            out[j, lane] = fma(problem.rows[i, j], residual, out[j, lane])


@implements(drift, LossRowParameters)
def _(problem, w, scratch, out):
    residual = scratch.residual
    share = 1.0 / problem.response.size
    out[:] = 0.0
    for i in range(problem.response.size):
        row_residual(problem, i, w, residual)
        for lane in range(residual.size):
            residual[lane] *= share
        add_row(problem.rows[i], residual, out)


@implements(hessian_product, LossRowParameters)
def _(problem, w, u, scratch, out):
    eta, product = scratch.level, scratch.slope
    share = 1.0 / problem.response.size
    out[:] = 0.0
    for i in range(problem.response.size):
        y = problem.response[i]
        row_dot(problem.rows[i], w, eta)
        row_dot(problem.rows[i], u, product)
        for lane in range(eta.size):
            product[lane] *= share * second_derivative(problem.loss, eta[lane], y)
        add_row(problem.rows[i], product, out)


@implements(noise, LossRowParameters)
def _(problem, w, streams, scratch, out):
    residual_noise(problem, w, streams, scratch, out)

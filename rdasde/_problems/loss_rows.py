"""A loss of a linear predictor over the rows of a data set: everything follows from its two derivatives."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._losses.base import Loss
from rdasde._problems.base import Expectations
from rdasde._problems.loss_rows_lanes import LossRowParameters
from rdasde._problems.rates import HessianRates
from rdasde._problems.row_minimizer import row_minimizer
from rdasde._problems.rows import RowNoise, RowSample, mean_square_growth, row_layout, row_sample, weighted_gram

_BANDWIDTH = 1.06  # of Silverman's rule (1986), in units of the standard deviation times n^(-1/5)


class LossRows(RowNoise, HessianRates):
    """``f(w; i) = l(x_i'w, y_i)``, i uniform: see `rdasde.LinearModel.from_data`."""

    def __init__(self, loss: Loss, X: ArrayLike, y: ArrayLike, replacement: bool = True) -> None:
        self.loss = loss
        X, y = _frames.pair(X, y)
        self.rows = _check.design("X", X)
        self.response = loss.check_responses(y, len(self.rows))
        self.dimension = self.rows.shape[1]
        self.is_quadratic = loss.is_quadratic
        self.has_kinks = loss.is_bent
        self.has_jumps = not loss.is_smooth
        self.parameters = LossRowParameters(self.rows, self.response, loss.parameters)
        self.scratch = row_layout(self.dimension)
        self._draw(replacement)

    @functools.cached_property
    def minimizer(self) -> Floats | None:  # type: ignore[override]
        """By Newton's method, or linear programming, when first asked for."""
        return row_minimizer(self.loss, self.rows, self.response)

    def _slopes(self, w: Floats) -> Floats:
        return self.loss.derivative(self.rows @ w, self.response)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        return self.rows.T @ self._slopes(self._point(w)) / len(self.rows)

    def hessian(self, w: ArrayLike) -> Floats:
        return weighted_gram(self.rows, self.loss.second_derivative(self.rows @ self._point(w), self.response))

    def smoothed_hessian(self, w: Floats) -> Floats:
        """Where the slope of the loss jumps, l'' says nothing: a kernel estimate of the density of responses does."""
        predictor = self.rows @ w
        residual = predictor - self.response
        width = _BANDWIDTH * float(np.std(residual)) * len(residual) ** -0.2 if self.has_jumps else 0.0
        means = self.loss.gaussian_means(predictor, np.full(len(residual), width), self.response)
        return weighted_gram(self.rows, means.second)

    def row_gradients(self, w: Floats) -> Floats:
        return self.rows * self._slopes(w)[:, None]

    def noise_covariance(self, w: ArrayLike) -> Floats:
        slopes = self._slopes(self._point(w))
        gradient = self.rows.T @ slopes / len(self.rows)
        return weighted_gram(self.rows, slopes**2) - np.outer(gradient, gradient)

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """Row by row: ``x_i'W`` as if normal, by the means of the loss over a normal predictor.

        Of very many rows, E G has the mean gradient at the mean from all of them, and from a sample (`RowSample`) what
        the spread of W adds to it; so have the others what they are.
        """
        sample, n = self.sample, len(self.sample.rows)
        predictor = sample.rows @ mean
        variance = np.maximum(np.einsum("ij,ij->i", sample.rows @ covariance, sample.rows), 0.0)
        means = self.loss.gaussian_means(predictor, np.sqrt(variance), sample.response)
        if n == len(self.rows):
            gradient = means.first @ sample.rows / n
        else:
            more = means.first - self.loss.derivative(predictor, sample.response)
            gradient = self.mean_gradient(mean) + more @ sample.rows / n
        curvature, squares = sample.grams(np.stack([means.second, means.square]))
        noise = squares - np.outer(gradient, gradient)
        return Expectations.formed(gradient, curvature, noise, share=-1.0, cross=covariance @ curvature)

    @functools.cached_property
    def sample(self) -> RowSample:
        """What expectations beyond the mean gradient are taken over: all rows where l' jumps.

        There E l'' is a density of responses, on the scale of what a predictor spreads by, for which many are needed.
        """
        if self.has_jumps:
            return RowSample(self.rows, self.response, np.zeros((1, 1, 1)))
        second = self.rows.T @ self.rows / len(self.rows)
        return row_sample(self.rows, self.response, second, self._settled_weights)

    def _settled_weights(self, rows: Floats, response: Floats) -> Floats:
        """l'' and l'^2 of rows at the minimizer, or where there is none at zero."""
        at = np.zeros(self.dimension) if self.minimizer is None else self.minimizer
        first, second = self.loss.derivatives(rows @ at, response)
        return np.stack([second, first**2])

    def instability(self, step_size: float, batch_size: int) -> str | None:
        """The mean-square condition of the gradients linearized at the minimizer, at the start where there is none."""
        if self.has_jumps:  # gradients are bounded: nothing grows
            return None
        w = self.default_start() if self.minimizer is None else self.minimizer
        weights = self.loss.second_derivative(self.rows @ w, self.response)
        return mean_square_growth(self.rows, weights, step_size, batch_size)

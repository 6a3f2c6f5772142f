"""What a loss of a linear predictor is: ``f(w; x, y) = l(x'w, y)``, known by the derivatives of l in ``eta = x'w``.

A gradient is ``x l'(x'w, y)`` and its Hessian ``x x' l''(x'w, y)``: everything that a problem, an approximation or
`fit` asks follows from these two numbers, whatever the loss.
"""

from __future__ import annotations

import abc
import functools
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel, generic

Response = Literal["real", "label", "count"]
_NOUNS = {"real": "response", "label": "label", "count": "count"}
_ACCEPTED = {"label": "labels in {0, 1}", "count": "whole numbers from 0 on"}
_MENDS = {"label": "pass (y == positive).astype(float)", "count": "pass how often it happened for each row"}


@generic
def derivative(loss, eta, y):
    """l'(eta, y), in eta; a number."""


@generic
def second_derivative(loss, eta, y):
    """l''(eta, y), in eta; a number."""


@Kernel
def _derivatives(loss: Any, eta: Floats, y: Floats, first: Floats, second: Floats) -> None:
    for i in range(eta.size):
        first[i] = derivative(loss, eta[i], y[i])
        second[i] = second_derivative(loss, eta[i], y[i])


@Kernel
def _hermite_means(
    loss: Any, mean: Floats, std: Floats, y: Floats, nodes: Floats, weights: Floats, first: Floats, rest: Floats
) -> None:
    """``E l'`` into `first`, ``E l''`` and ``E l'^2`` into the rows of `rest`, by a rule for the standard normal."""
    for i in range(mean.size):
        a, b, c = 0.0, 0.0, 0.0
        for k in range(nodes.size):
            eta, weight = mean[i] + std[i] * nodes[k], weights[k]
            slope = derivative(loss, eta, y[i])
            a += weight * slope
            b += weight * second_derivative(loss, eta, y[i])
            c += weight * slope * slope
        first[i], rest[0, i], rest[1, i] = a, b, c


class GaussianMeans(NamedTuple):
    """Of a predictor ``s ~ N(mean, std^2)``, each of the shape of the responses."""

    first: Floats  # E l'(s, y)
    second: Floats  # E l''(s, y): the derivative of E l' in the mean, which exists where l' jumps, too
    square: Floats  # E l'(s, y)^2


@functools.cache
def _hermite_rule() -> tuple[Floats, Floats]:
    """Nodes and weights for means over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    return nodes, weights / weights.sum()


class Loss(abc.ABC):
    """A loss of a linear predictor. Concrete ones stand in modules of their own, for example `rdasde.HuberLoss`.

    Attributes
    ----------
    response : {"real", "label", "count"}
        What y may be: any number, 0 or 1, or 0, 1, 2, ...
    is_quadratic : bool
        Whether ``l''`` is 1 everywhere.
    is_smooth : bool
        Whether ``l'`` is continuous in eta: then the mean gradient over rows is, and ``l''`` tells its slope.
    is_bent : bool
        Whether l' has kinks: then ``l''`` jumps there.
    is_shift : bool
        Whether l is a function of ``eta - y``.
    is_likelihood : bool
        Whether outcomes that follow the loss have their coefficients as its minimizer.
    kinks : tuple of float
        Where l', as a function of ``eta - y``, bends or jumps.
    width : float
        The scale of ``eta - y`` on which l' changes its slope; 0 for none.
    largest_curvature : float
        A bound of ``l''`` in eta, infinite where there is none.
    parameters : NamedTuple
        What compiled code is handed.

    Examples
    --------
    >>> import rdasde as rs
    >>> isinstance(rs.HuberLoss(), rs.Loss), rs.HuberLoss().response, rs.LogisticLoss().response
    (True, 'real', 'label')
    >>> first, second = rs.SquaredLoss().derivatives([1.0, 3.0], 2.0)
    >>> first, second
    (array([-1.,  1.]), array([1., 1.]))
    """

    def __new__(cls, *arguments: Any, **named: Any) -> Self:
        _check.not_base(cls, Loss, "a loss", "rs.HuberLoss()")
        return super().__new__(cls)

    response: Response = "real"
    is_quadratic: bool = False
    is_smooth: bool = True
    is_bent: bool = False
    is_shift: bool = False
    is_likelihood: bool = False
    kinks: tuple[float, ...] = ()
    width: float = 0.0
    largest_curvature: float = float("inf")
    parameters: NamedTuple

    def derivative(self, eta: ArrayLike, y: ArrayLike) -> Floats:
        """``l'(eta, y)``, of the common shape of both."""
        return self.derivatives(eta, y)[0]

    def second_derivative(self, eta: ArrayLike, y: ArrayLike) -> Floats:
        """``l''(eta, y)``, of the common shape of both."""
        return self.derivatives(eta, y)[1]

    def derivatives(self, eta: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        """Both, in one pass."""
        eta, y = np.broadcast_arrays(_check.reals("eta", eta), _check.reals("y", y))
        first, second = np.empty(eta.shape), np.empty(eta.shape)
        predictors, responses = (np.array(values, order="C").reshape(-1) for values in (eta, y))
        _derivatives(self.parameters, predictors, responses, first.reshape(-1), second.reshape(-1))
        return first, second

    def gaussian_means(self, mean: Floats, std: Floats, y: Floats) -> GaussianMeans:
        """Means over a normal predictor, all of one shape (n,).

        In closed form where l' has kinks or jumps; here, for one that is smooth on the scale of `std`, by a
        Gauss-Hermite rule of 24 nodes.
        """
        first, rest = np.empty_like(mean), np.empty((2, *mean.shape))
        _hermite_means(self.parameters, mean, std, y, *_hermite_rule(), first, rest)
        return GaussianMeans(first, rest[0], rest[1])

    def wide_means(self, std: Floats, y: Floats) -> GaussianMeans:
        """`gaussian_means` of predictors of mean 0 that may spread far beyond the scale of the loss."""
        return self.gaussian_means(np.zeros_like(std), std, y)

    def mean_response(self, eta: Floats) -> Floats:
        """What to expect of y where the predictor is eta; the predictor itself where the loss says nothing else."""
        return _check.reals("eta", eta)

    def check_responses(self, y: ArrayLike, count: int) -> Floats:
        """The responses of `count` rows, (count,); ValueError for one that the loss is not made for."""
        mend = f"give one {_NOUNS[self.response]} for each row of X"
        responses = _check.array("y", y, (count,), mend=mend, truth=True)
        if self.response != "real":
            allowed = (responses == 0.0) | (responses == 1.0)
            if self.response == "count":
                allowed = (responses >= 0.0) & (responses == np.floor(responses))
            if not allowed.all():
                strange = f"{responses[~allowed][0]:g} somewhere"
                raise _check.bad("y", strange, _ACCEPTED[self.response], _MENDS[self.response])
        return responses

    def __eq__(self, other: object) -> bool:
        """Same class, same parameters: a user's functions by identity."""
        return isinstance(other, Loss) and type(self) is type(other) and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash((type(self), self.parameters))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

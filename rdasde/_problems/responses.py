"""How responses are drawn where the predictor is s*: noise added to it, labels, counts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rdasde import _check
from rdasde._check import Floats
from rdasde._compiled.jit import compilable, fma
from rdasde._compiled.random import uniforms
from rdasde._problems.logistic_means import centred_logistic

_OCTAVES, _PIECES, _ORDER = 54, 16, 8  # of the table of quantiles: halvings of the tail, parts of each, coefficients
_HALF_UNIT = 2.0**-54  # half of the distance of uniform numbers
_SEARCH = 60.0  # steps of the search of a count, beside 40 standard deviations
_TAIL = 1e-18  # probability that is as good as none


NORMAL, TABLED, LABELS, COUNTS = range(4)


class Responses(NamedTuple):
    """How they are drawn: one type for all, so that loops are compiled once for them.

    Quantiles of both tails are tabulated by halvings of the probability, each in pieces, each a polynomial.
    """

    kind: int  # one of those above
    std: float = 0.0  # of normal noise
    lower: Floats = np.zeros((1, 1, 1))  # (octaves, pieces, order): coefficients, highest first
    upper: Floats = np.zeros((1, 1, 1))


@compilable
def _count(rate, uniform):
    """A Poisson variable from a uniform one: probabilities are taken off from the mode outwards (chop-down search)."""
    if not rate < 1e15:
        return rate  # no longer a count, and not finite where it is not
    low = high = np.floor(rate)
    below = above = np.exp(low * np.log(rate) - rate - math.lgamma(low + 1.0)) if rate > 0.0 else 1.0
    rest = uniform - below
    if rest < 0.0:
        return low
    for _ in range(int(_SEARCH + 40.0 * np.sqrt(rate))):
        high += 1.0
        above *= rate / high
        if above < _TAIL and (low == 0.0 or below < _TAIL):  # rounding has left something
            return high
        rest -= above
        if rest < 0.0:
            return high
        if low > 0.0:
            below *= low / rate
            low -= 1.0
            rest -= below
            if rest < 0.0:
                return low
    return high


@compilable
def _quantile(table, probability):
    """Of a tail of probability at most 1/2."""
    mantissa, exponent = math.frexp(probability)  # in [1/2, 1)
    octave = min(-exponent, table.shape[0] - 1)
    place = (2.0 * mantissa - 1.0) * table.shape[1]
    piece = min(int(place), table.shape[1] - 1)
    x = 2.0 * (place - piece) - 1.0
    value = 0.0
    for k in range(table.shape[2]):
        value = fma(value, x, table[octave, piece, k])
    return value


@compilable
def respond(responses, normal, streams, uniform, star):
    """From predictors to responses in `star` (lanes,), with standard normals; `uniform` (lanes,) is scratch."""
    if responses.kind == NORMAL:
        for lane in range(star.size):
            star[lane] = fma(responses.std, normal[lane], star[lane])
        return
    uniforms(streams, uniform)
    for lane in range(star.size):
        u, predictor = uniform[lane], star[lane]
        if responses.kind == LABELS:
            star[lane] = 1.0 if u - 0.5 < centred_logistic(predictor) else 0.0
        elif responses.kind == COUNTS:
            star[lane] = _count(np.exp(predictor), u)
        elif u < 0.5:
            star[lane] = predictor + _quantile(responses.lower, u + _HALF_UNIT)
        else:
            star[lane] = predictor + _quantile(responses.upper, 1.0 - u)


def tabled_noise(noise: Any) -> Responses:
    """The quantile function of a frozen SciPy distribution, to about 1e-9 where it is smooth."""
    x = np.cos(np.pi * (np.arange(_ORDER) + 0.5) / _ORDER)
    starts = 0.5 * (1.0 + (np.arange(_PIECES)[:, None] + 0.5 * (1.0 + x)) / _PIECES)  # mantissas
    probabilities = 2.0 ** -np.arange(_OCTAVES)[:, None, None] * starts
    # octave k holds probabilities in [2^-k-1, 2^-k): the first is [1/2, 1), of which 1/2 alone is asked for
    probabilities = np.minimum(probabilities, 0.75)
    inverse = np.linalg.inv(np.vander(x, _ORDER))
    with np.errstate(all="ignore"):
        tails = [np.asarray(function(probabilities)) @ inverse.T for function in (noise.ppf, noise.isf)]
    if not all(np.all(np.isfinite(tail)) for tail in tails):
        raise _check.bad(
            "noise",
            "a distribution whose quantiles are not all finite",
            "one with finite quantiles",
            "pass another one",
        )
    return Responses(TABLED, 0.0, *(np.ascontiguousarray(tail) for tail in tails))

"""Moments merged part by part (Chan, Golub & LeVeque, The American Statistician 37, 1983)."""

from __future__ import annotations

from typing import NamedTuple

from rdasde._check import Floats


class Pooled(NamedTuple):
    """Two samples taken together."""

    mean: Floats
    gap: Floats  # between their means
    weight: float  # the squared deviations are those within both, and `weight` times the square of `gap`


def pooled(count: float, mean: Floats, further: float, centre: Floats) -> Pooled:
    """Of `count` values of mean `mean` and `further` ones of mean `centre`."""
    gap = centre - mean
    return Pooled(mean + gap * (further / (count + further)), gap, count * further / (count + further))

"""What compiled code sees of losses on a Gaussian design: one type for all, so that loops are compiled once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rdasde._check import Floats

SQUARED, LOGISTIC, POISSON, RADIAL, TABLE = range(5)


class Law(NamedTuple):
    kind: int  # one of those above
    first: float = 0.0  # E eps^2, E p'(s*), the scale of a series, the reach of a table
    second: float = 0.0  # of a table: the variance of what Y varies by; of a series: 1 where E l'^2 grows like r^2
    series: Floats = np.zeros((2, 1))  # coefficients of E l'' and E l'^2, lowest first
    table: Floats = np.zeros((4, 1, 1))  # of A, A*, T and a fourth, lowest first

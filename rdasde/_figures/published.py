"""Settings of the trajectory figure of the gRDA project page (Chao & Cheng 2019), read off its drawing."""

from __future__ import annotations

import numpy as np

import rdasde as rs
from rdasde._check import Floats

STEP_SIZE, STEPS = 1e-4, 200_000
HORIZON = STEP_SIZE * STEPS
COORDINATES = (0, 50, 100)  # 1, 51 and 101, counted from 0
HALF_WIDTH = 1.96 * float(np.sqrt(STEP_SIZE / 2.0))  # of the published band, around w*
SEED = 20  # the horizon; nothing was picked


def problem() -> rs.LinearRegression:
    """Gaussian design with ``H_ij = 0.8**|i - j|``, d = 200, unit noise (which is what the published band assumes)."""
    coef = np.zeros(200)
    coef[:50], coef[50:100] = 0.05, -0.05
    return rs.LinearRegression(coef, rs.AR1(200, 0.8), noise_std=1.0)


def algorithm() -> rs.RDA:
    """``g = sqrt(2) gamma^(1/2) t^0.51``."""
    return rs.RDA(STEP_SIZE, rs.L1(), rs.PowerLaw(c=float(np.sqrt(2.0)), mu=0.51))


def drawn_times() -> Floats:
    """2 000 equally spaced steps from 1 to N, as times."""
    return np.rint(np.linspace(1, STEPS, 2000)) * STEP_SIZE


def published_band(coef: Floats) -> tuple[Floats, Floats]:
    """``w*_j -+ 1.96 sqrt(gamma / 2)``, constant in time, by coordinate; NaN off the support, where none is drawn."""
    centre = np.where(coef != 0.0, coef, np.nan)
    return centre - HALF_WIDTH, centre + HALF_WIDTH

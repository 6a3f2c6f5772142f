"""The runs behind the intervals of `fit`: designs, one replicate, what theory predicts of it.

Linear regression under independent and under Toeplitz columns. Settings follow from the theory, not from trials. With
H_jj = sigma = 1:

* gamma = .1 / d. The distance of an iterate from w* adds the share gamma tr(H_AA) / 2 to the noise of the gradients, A
  the coordinates in motion: at most 5 %, so that intervals are at most 2.5 % wider than those of least squares over
  the same rows.
* mu = .7, within (1/2, 1), and c = 3 / T^(mu - 1/2), T = n gamma: where w*_j = 0 the dual has a standard deviation of
  at most sqrt(gamma T), and the threshold at the end is three of them. The average is then shifted by about as many
  standard errors: c gamma^(1/2) T^mu / T in units of 1 / sqrt(n).
* strong coefficients are +-1/2 and +-1, weak ones +-2 / sqrt(n), two standard errors of least squares at H = I, below
  what the threshold lets through.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import rdasde as rs
from rdasde._check import Floats
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import Streams, normals, streams
from rdasde._engine.blocks import workers
from rdasde._studies._pieces import Pieces

MU = 0.7
SPREAD = 0.1  # gamma tr(H)
CLEARANCE = 3.0  # the last threshold, in standard deviations of the dual where w*_j = 0
BATCH = 2048  # rows drawn at a time
CLASSES = ("strong", "weak", "zero")
PIECE = 100  # replicates kept together


class Design(NamedTuple):
    """One cell of the study."""

    name: str
    dimension: int
    rho: float  # H_ij = rho^|i-j|
    rows: int
    replicates: int
    seed: int = 5

    @property
    def classes(self) -> NDArray[np.str_]:
        """Of each coordinate: as many weak ones as strong, d/5 each but at most 10, the rest zero."""
        k = min(10, self.dimension // 5)
        return np.repeat(CLASSES, [k, k, self.dimension - 2 * k])

    @property
    def coef(self) -> Floats:
        """Strong ones in pairs of one sign, so that signs change between correlated neighbours."""
        j = np.arange(self.dimension)
        signs = np.where(j // 2 % 2 == 0, 1.0, -1.0)
        size = np.select(
            [self.classes == "strong", self.classes == "weak"], [np.where(j % 2 == 0, 1.0, 0.5), 2.0 / self.rows**0.5]
        )
        return np.asarray(signs * size)

    @property
    def covariance(self) -> Floats:
        j = np.arange(self.dimension)
        return np.asarray(float(self.rho) ** np.abs(j[:, None] - j))

    @property
    def algorithm(self) -> rs.RDA:
        step_size = SPREAD / self.dimension
        c = CLEARANCE / (self.rows * step_size) ** (MU - 0.5)
        return rs.RDA(step_size, rs.L1(), rs.PowerLaw(c, MU))


@Kernel
def draw_rows(
    streams: Streams, coef: Floats, rho: float, numbers: Floats, rows: Floats, response: Floats, products: Floats
) -> None:
    """Rows with ``H_ij = rho^|i-j|`` and their responses, noise 1; `products` gains X'y, in its last entry y'y."""
    normals(streams, numbers)
    flat = numbers.reshape(-1)
    n, d = rows.shape
    fresh = np.sqrt(1.0 - rho * rho)
    for i in range(n):
        row = flat[i * (d + 1) : (i + 1) * (d + 1)]
        x, mean = row[0], 0.0
        for j in range(d):
            x = x if j == 0 else rho * x + fresh * row[j]
            rows[i, j] = x
            mean += x * coef[j]
        y = mean + row[d]
        response[i] = y
        for j in range(d):
            products[j] += rows[i, j] * y
        products[d] += y * y


def replicate(design: Design, number: int) -> dict[str, Floats]:
    """One stream: what `fit` says of it, and least squares on all of its rows."""
    d = design.dimension
    source = streams(design.seed, LANES * number + np.arange(LANES))
    numbers = lane_array(BATCH * (d + 1) // LANES)
    rows, response, products = np.empty((BATCH, d)), np.empty(BATCH), np.zeros(d + 1)

    def batches() -> Any:
        left = design.rows
        while left:
            n = min(BATCH, left)
            draw_rows(source, design.coef, design.rho, numbers, rows[:n], response[:n], products)
            left -= n
            yield rows[:n], response[:n]

    fit = rs.fit(rs.LinearRegression, batches(), None, design.algorithm)
    gram = fit.sums().roots
    inverse = np.linalg.inv(gram)
    least_squares = inverse @ products[:d]
    variance = (products[d] - products[:d] @ least_squares) / (design.rows - d)
    return {
        "average": fit.raw,
        "average_shift": fit.shift,
        "average_error": fit.std_error,
        "iterate": fit.iterate.raw,
        "iterate_shift": fit.iterate.shift,
        "iterate_error": fit.iterate.std_error,
        "ols": least_squares,
        "ols_error": np.sqrt(variance * np.diag(inverse)),
    }


def averaged(design: Design) -> int:
    """How many of the last rows `fit` averages over."""
    blocks = design.rows // 8 // 256
    return design.rows - (256 * 2 ** (blocks.bit_length() - 1) if blocks else 0)


def predicted_shift(design: Design) -> Floats:
    """Of the average: the time average of ``-H_SS^-1 sgn(w*_S) g'(t)``, S the strong coordinates; NaN for the others.

    The others, R, count as held at zero, away from w*: that adds ``H_SS^-1 H_SR w*_R``.
    """
    algorithm, on, m = design.algorithm, design.classes == "strong", averaged(design)
    g = algorithm.thresholds(np.array([design.rows - m, design.rows]) * algorithm.step_size)
    return _settled(design, np.sign(design.coef[on]) * (g[1] - g[0]) / (algorithm.step_size * m))


def _settled(design: Design, pull: Floats) -> Floats:
    on = design.classes == "strong"
    shift = np.full(design.dimension, np.nan)
    rest = design.covariance[np.ix_(on, ~on)] @ design.coef[~on]
    shift[on] = -np.linalg.solve(design.covariance[np.ix_(on, on)], pull - rest)
    return shift


def predicted_drift(design: Design) -> Floats:
    """Where the last iterate is on average: ``-H_SS^-1 (sgn(w*_S) g'(T) - H_SR w*_R)``; NaN off the strong ones."""
    algorithm, on = design.algorithm, design.classes == "strong"
    g = algorithm.thresholds(np.array([design.rows - 1, design.rows]) * algorithm.step_size)
    pull = np.sign(design.coef[on]) * (g[1] - g[0]) / algorithm.step_size
    return _settled(design, pull)


def predicted_length(design: Design) -> Floats:
    """Of an interval of the average, over that of least squares on all rows.

    Only strong coordinates move, with variance gamma / 2 each under any H: a share gamma tr(H_SS) / 2 of noise from
    e'He everywhere, and gamma times H_.S H_S. from twice Hee'H, once as noise and once as squared mean of a gradient.
    """
    on, gamma = design.classes == "strong", design.algorithm.step_size
    inflation = 1.0 + gamma * np.count_nonzero(on) / 2.0 + gamma * on / np.diag(np.linalg.inv(design.covariance))
    return np.asarray(np.sqrt(inflation * design.rows / averaged(design)))


def run(design: Design, pieces: Pieces) -> dict[str, Floats]:
    """All replicates of a cell, (replicate, coordinate) each."""
    parts = []
    with concurrent.futures.ThreadPoolExecutor(workers()) as pool:
        for first in range(0, design.replicates, PIECE):
            numbers = range(first, min(first + PIECE, design.replicates))

            def compute(numbers: range = numbers) -> dict[str, Floats]:
                estimates = list(pool.map(lambda number: replicate(design, number), numbers))
                return {name: np.array([estimate[name] for estimate in estimates]) for name in estimates[0]}

            settings = {
                **design._replace(replicates=len(numbers))._asdict(),
                "first": first,
                "mu": MU,
                "spread": SPREAD,
                "clearance": CLEARANCE,
            }
            parts.append(pieces("online-inference", settings, compute))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def designs(small: bool) -> list[Design]:
    if small:
        return [Design("identity", 5, 0.0, 8_000, 40), Design("Toeplitz(0.5)", 10, 0.5, 8_000, 40)]
    cells = (("identity", 0.0), ("Toeplitz(0.5)", 0.5))
    return [Design(name, d, rho, 100_000, 1_000) for d in (20, 100) for name, rho in cells]

"""The law of the average over a stretch of the stream, from what the stream has kept.

The estimate ``mean w - shift`` is off by ``-H^-1`` times the mean of

    psi_k = grad_k(c) + (H_k - H)(w_k - mean w),    H_k = r_k r_k',

which is a martingale where rows are independent: its variance is ``H^-1 Sigma H^-1 / m``, Sigma the mean square of
psi_k. Gradients along the path are not psi_k: their mean is not zero while the start is being forgotten, and taking it
for noise makes intervals too wide. While all rows are still in memory psi_k is computed for each of them. Later the
mean of gradients is subtracted by units of rows (``H (mean w over the unit - c)``), and what the place of the average
adds,
``(H_k - H)(mean w - c)``, is found from the kept rows.

The linearization has a remainder, quadratic in the distance of the centre c_s of each segment from w*: its mean over
rows, the mean of ``grad_k(w) - grad_k(c_s) - H_k (w - c_s)``, is estimated by the rows that are kept, at the estimate
itself, and subtracted; how surely that is known goes into the variance.

Sums over units of consecutive rows tell whether rows are independent, see `excess`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._inference import scaling
from rdasde._inference.head import products, smooth
from rdasde._inference.laws import Stretch, across
from rdasde._inference.leverage import Leverage
from rdasde._inference.stream import Stream
from rdasde._problems.row_terms import Moments, RowModel

Covariance = Literal["independent", "batch-means"]
Inference = Literal["plug-in", "random-scaling"]

DEPENDENT = 1e-4  # the size of the test of independence
_FEWEST_UNITS = 8
_FAR = 2.0  # by how much the remainder of linearizations may widen an interval
_ROUNDS = 12
_SEPARATED = "The classes are separated in the first rows: no finite coefficient is the best there."
_LEFT = 0.1  # standard errors by which the estimate may still move where it is subtracted
_DEPENDENT, _SHORT = 0.5, 25.0  # what a row is worth where rows depend on one another, and a batch that is short then
_MOST_BATCHES = 32  # between 16 and 32: more would hardly make quantiles smaller, and longer ones forget better


class Method(NamedTuple):
    """How standard errors of the average are found."""

    covariance: Covariance = "independent"
    inference: Inference = "plug-in"


class Law(NamedTuple):
    """Of the average."""

    center: Floats
    std_error: Floats
    note: str
    freedom: float = np.inf  # of Student's t
    units: float = 0.0  # of random scaling, if it is that

    @property
    def is_known(self) -> bool:
        return bool(np.all(np.isfinite(self.std_error)))


class BatchMeans(NamedTuple):
    """What sums over long batches say of the noise of one row."""

    noise: Floats  # (d, d), so that a total over rows has their number times as much
    freedom: float
    note: str


class Average:
    """The average of a stream, and what there is to know of it.

    Parameters
    ----------
    stream : Stream
    model : RowModel
    distinct : int
        How many different rows are behind it.

    Attributes
    ----------
    first : Sums
        Where it begins.
    stretch : Stretch
    centre : ndarray of shape (d,)
        ``mean w - shift``.
    distinct : int
    noise : ndarray of shape (d, d)
        Sigma, of rows that are independent; finer once `law` has been asked.
    bend : ndarray of shape (d,)
        What gradients are beyond their linearization, on average.
    reason : str
        Why its law is not known, or nothing.
    """

    def __init__(self, stream: Stream, model: RowModel, distinct: int) -> None:
        self._model, self.distinct, self.reason = model, distinct, ""
        self._head = stream.head
        self._origin = stream
        self._columns = len(stream.dual) // model.predictors
        if model.is_linearized and stream.is_short and distinct >= 2 * len(stream.dual) and not stream.has_one_class:
            solution = stream.head.solution() if stream.head is not None else None
            if solution is None:
                no_zero = "The mean gradient over the rows has no zero that Newton's method finds"
                self.reason = f"{no_zero}: {self._cause()}."
            else:
                stream = stream.replay(solution)
        elif model.is_linearized and not stream.is_short and self._is_moving(stream):
            self.reason = (
                f"Gradients are linearized at a place that is still moving: {self._cause(' in the first rows')}."
            )
        self._stream = stream
        self.first, last = stream.first(), stream.sums()
        with np.errstate(over="ignore", invalid="ignore"):
            self.stretch = Stretch.between(self.first, last, stream.algorithm.step_size, model.is_directional)
            self.bend = (last.curvature - self.first.curvature) / self.stretch.rows
        self._outer = last.gradients - self.first.gradients
        self.centre, self.noise, self._leverage = self.stretch.coef, self.stretch.noise, ""

    def _cause(self, where: str = "") -> str:
        """Why Newton's method finds nothing."""
        if self._head is not None and self._head.is_concave:
            return f"second derivatives of the loss are negative or not finite{where}"
        separated = f"the classes are separated{where}, or " if self._model.is_labelled else ""
        return f"{separated}columns are linearly dependent{where and ' there'}"

    @property
    def freedom(self) -> float:
        """Of Student's t, where rows are independent."""
        return float(self.distinct - self._columns)

    @staticmethod
    def _is_moving(stream: Stream) -> bool:
        begin = stream.first().rows
        ends = [row for row, _ in stream.centres[1:]] + [stream.rows]
        return any(here.centre is None and end > begin for (_, here), end in zip(stream.centres, ends, strict=True))

    def law(self, method: Method, fresh: float) -> Law:
        """Its centre, its standard error and what is to be said of them; `fresh` is the share of rows that are new."""
        stretch, notes = self.stretch, []
        d = len(stretch.coef)
        inverse = np.asarray(np.linalg.inv(stretch.hessian), dtype=np.float64)
        self.centre = stretch.coef - inverse @ stretch.gradient
        widening = np.zeros((d, d))
        if self._model.is_linearized and not self._origin.is_short:
            remainder, widening, left = self._remainder(inverse)
            self.centre = stretch.coef - inverse @ (stretch.gradient + remainder)
        counts, gradients, path, squares = self._stream.batches(self.first)
        sums = gradients - (path - counts[:, None] * self.centre) @ stretch.hessian.T
        by_units = self._noise_by_units(counts, gradients, sums)
        noise = self.noise = self._noise(by_units)
        notes += [self._leverage] * bool(self._leverage)
        freedom, units = self.freedom, 0.0
        scaled = method.inference == "random-scaling"
        if scaled or method.covariance == "batch-means":
            reason = ""
            if len(counts) < _FEWEST_UNITS:
                what = "Random scaling needs" if scaled else "Batch means need"
                reason = f"{what} at least {_FEWEST_UNITS} batches of rows, and there are {len(counts)}."
            elif scaled and fresh < 1.0:
                reason = "Random scaling has no law for rows that come again: take inference='plug-in'."
            if reason:
                return Law(stretch.coef, np.full(d, np.nan), reason)
            chance = trend(counts, sums)
            if chance < DEPENDENT:
                notes.append(
                    f"Even runs of {round(np.mean(counts))} rows depend on the runs before them (p = {chance:.1g}): "
                    "standard errors are too small; shuffle sorted rows, or follow a trend by columns of its own."
                )
        if method.covariance == "batch-means":
            noise, fewer, note = batch_means(counts, sums, noise, inverse, fresh)
            freedom = min(freedom, fewer)
            notes += [note] if note else []
        elif not scaled and len(counts) >= _FEWEST_UNITS:
            chance = excess(counts, sums, squares, self._across(by_units))
            if chance < DEPENDENT:
                notes.append(
                    "Rows that follow on one another are not independent, or the start is not forgotten: sums over "
                    f"{len(counts)} runs of them are too large (p = {chance:.1g}), and standard errors too small; "
                    "take covariance='batch-means', or shuffle sorted rows."
                )
        variance = inverse @ noise @ inverse.T / self.distinct
        more = inverse @ widening @ inverse.T
        if np.any(widening):
            size = np.maximum(np.diag(variance), 1e-300)
            wider = float(np.max(np.sqrt(1.0 + np.diag(more) / size)))
            if not np.isfinite(wider) or wider > _FAR or np.max(np.abs(left) / np.sqrt(size)) > _LEFT:
                note = (
                    _SEPARATED
                    if self._head is not None and self._head.has_separated
                    else (
                        "Gradients are linearized too far from the estimate for their remainder to be known: take a "
                        "smaller step, or more rows."
                    )
                )
                return Law(stretch.coef, np.full(d, np.nan), note)
            if wider > 1.1:
                notes.append(
                    f"Gradients are linearized far from the estimate: intervals are up to {wider:.2g} times as wide."
                )
        if scaled:
            squares, units = scaling.scale(counts, sums @ inverse.T)
            # the sums add up to zero along all columns, not only along the bridge
            squares *= self.distinct / (self.distinct - self._columns) / (scaling.mean(units) * self.distinct)
            return Law(self.centre, np.sqrt(squares + np.diag(more)), " ".join(notes), units=units)
        variance = variance + more
        center = self.centre
        if self._model.is_directional:
            center = center / float(np.linalg.norm(center))
            variance = across(center, variance)
        return Law(center, np.sqrt(np.maximum(np.diag(variance), 0.0)), " ".join(notes), freedom)

    def _across(self, noise: Floats) -> Floats:
        if not self._model.is_directional:
            return noise
        unit = self.centre / float(np.linalg.norm(self.centre))
        return across(unit, noise)

    def _remainder(self, inverse: Floats) -> tuple[Floats, Floats, Floats]:
        """The mean of the linearizations' remainder at the estimate, the variance of that mean, and the last move."""
        assert self._head is not None
        stretch, begin = self.stretch, self.first.rows
        rows = len(self._head.taken()[0])
        ends = [row for row, _ in self._stream.centres[1:]] + [self._stream.rows]
        estimate = stretch.coef - inverse @ stretch.gradient
        bends, move = np.zeros((rows, len(estimate))), np.zeros(len(estimate))
        for _ in range(_ROUNDS):  # it is quadratic in a small distance: each round gains as much again
            bends = np.zeros((-(-rows // 8) * 8, len(estimate)))
            for (row, here), end in zip(self._stream.centres, ends, strict=True):
                if here.centre is not None and end > begin:
                    share = (end - max(row, begin)) / stretch.rows
                    bends += share * self._head.terms(estimate, here.centre, smooth(here.parameters)).bends
            before = estimate
            estimate = stretch.coef - inverse @ (stretch.gradient + np.sum(bends, axis=0) / rows)
            move = estimate - before
            if float(move @ stretch.hessian @ move) * stretch.rows < 1e-6:
                break
        mean = np.sum(bends, axis=0) / rows
        return mean, (products(bends) / rows - np.outer(mean, mean)) / rows, move

    def _noise_by_units(self, counts: NDArray[np.int64], gradients: Floats, sums: Floats) -> Floats:
        """The mean square of gradients around their mean over each unit, as H and the path say it is."""
        total = gradients - sums  # of the means over all rows of a unit
        means = total / counts[:, None]
        less = gradients.T @ means
        inner = total.T @ means
        noise: Floats = (self._outer - less - less.T + inner) / self.stretch.rows
        return noise

    def _noise(self, by_units: Floats) -> Floats:
        """Sigma: the mean square of psi."""
        if self._model.is_directional or self._head is None:
            return self.stretch.noise
        stretch = self.stretch
        away = stretch.coef - self.centre
        if self._origin.is_short:
            total, begin = np.zeros_like(stretch.hessian), self.first.rows
            inverse, several = np.asarray(np.linalg.inv(stretch.hessian), dtype=np.float64), self._model.predictors
            leverage = Leverage(inverse, self.distinct, several)

            def add(row: int, moments: Moments) -> None:
                nonlocal total
                low, high = max(begin - row, 0), min(self._origin.block, self._origin.rows - row)
                if high > low:
                    roots = moments.roots[low * several : high * several]
                    part = (roots, moments.gradients[low:high], moments.path[low:high])
                    total += products(_padded(self._psi(*part, leverage)))

            self._origin.replay(self._stream.linearization, add)
            self._leverage = leverage.note()
            return total / stretch.rows
        # how large (H_k - H) away is, were rows normal
        if float(away @ stretch.hessian @ away) * float(np.trace(stretch.hessian)) < 1e-3 * float(np.trace(by_units)):
            return by_units
        gradients, roots, _ = self._head.terms(self.centre, self.centre, self._stream.linearization.parameters)
        more = self._of_rows(roots * (roots @ away)[:, None]) - away @ stretch.hessian
        rows = len(self._head.taken()[0])
        cross = gradients[:rows].T @ more[:rows]
        noise = by_units - (cross + cross.T + more[:rows].T @ more[:rows]) / rows
        # where it is most of the noise it is not known well enough to be taken off
        return noise if np.linalg.eigvalsh(noise)[0] > 0.2 * np.linalg.eigvalsh(by_units)[0] else by_units

    def _psi(self, roots: Floats, gradients: Floats, path: Floats, leverage: Leverage) -> Floats:
        """Of each row; gradients at the centre are too small, as the row has pulled it to itself."""
        moving = path - self.stretch.coef
        alone = leverage.without(roots, gradients - self._curved(roots, path - self.centre))
        return alone + self._curved(roots, moving) - moving @ self.stretch.hessian

    def _curved(self, roots: Floats, ways: Floats) -> Floats:
        """``H_k`` times the way of each row."""
        if self._model.predictors > 1:
            ways = np.repeat(ways, self._model.predictors, axis=0)
        return self._of_rows(roots * np.sum(roots * ways, axis=1)[:, None])

    def _of_rows(self, by_roots: Floats) -> Floats:
        """What is there for each root, added up for each row."""
        several = self._model.predictors
        total: Floats = np.sum(by_roots.reshape(-1, several, by_roots.shape[1]), axis=1) if several > 1 else by_roots
        return total


def _padded(rows: Floats) -> Floats:
    return np.concatenate([rows, np.zeros((-len(rows) % 8, rows.shape[1]))])


def excess(counts: NDArray[np.int64], sums: Floats, squares: Floats, noise: Floats) -> float:
    """The p-value of rows being independent, against sums over runs of them that are too large.

    With M the inverse of the noise, ``S_b' M S_b - sum_k psi_k' M psi_k`` over a run b is twice the sum of
    ``psi_k' M psi_l`` over its pairs. Where rows are independent these have mean zero, are uncorrelated, and have the
    variance ``tr (M N_k M N_l)``: for N_k = N its rank r, so that the sum over runs of m rows has the variance
    ``2 m (m - 1) r`` for each. Noise that changes along the stream makes it larger: N_k counts as a multiple of N,
    which squares of gradients tell for each run. Where psi has tails so heavy that M is not known well, it is larger
    still: the spread between runs counts if it is, in units of what dependence makes of it. The distribution is that of
    a
    chi-squared variable with the same variance in relation to its mean.
    """
    from scipy.special import chdtrc

    values, vectors = np.linalg.eigh(0.5 * (noise + noise.T))
    real = values > 1e-10 * max(float(values[-1]), 0.0)
    rank, rows = int(np.count_nonzero(real)), float(np.sum(counts))
    if rank == 0 or len(counts) < 2:
        return 1.0
    white = sums @ vectors[:, real] / np.sqrt(values[real])
    size = counts.astype(np.float64)
    # as the sums add up to zero, their squares are expected to be less by this
    fitted = rank * float(np.sum(size**2)) / rows
    surplus = float(np.sum(white**2)) - rank * rows + fitted
    weights = np.sum(squares, axis=0)
    level = np.mean(squares / np.where(weights > 0.0, weights, 1.0), axis=1) * rows  # the run's, times its rows
    level *= rows / max(float(np.sum(level)), 1e-300)
    even = 2.0 * rank * float(np.sum(level**2 * (1.0 - 1.0 / size)))
    apart = np.sum(white**2, axis=1) - rank * level
    inflation = 1.0 + max(surplus, 0.0) / (rank * rows)
    spread = max(even, float(np.sum((apart - size * (np.sum(apart) / rows)) ** 2)) / inflation**2)
    if spread <= 0.0:
        return 1.0
    freedom = rank * rows**2 / float(np.sum(level**2))
    return float(chdtrc(freedom, max(freedom + surplus / np.sqrt(spread) * np.sqrt(2.0 * freedom), 0.0)))


def trend(counts: NDArray[np.int64], sums: Floats) -> float:
    """The p-value of sums over runs being uncorrelated with those over the next run, against a positive correlation.

    In each coordinate the sum of products of neighbours over the root of the sum of their squares, which is standard
    normal, whatever the tails and however the noise changes; the largest counts, by Bonferroni's bound.
    """
    from scipy.special import ndtr

    # as the sums add up to zero, products of two are expected to be less than zero by this
    square = np.sum(sums**2, axis=0) / float(np.sum(counts)) ** 2
    product = sums[:-1] * sums[1:] + (counts[:-1] * counts[1:])[:, None] * square
    scale = np.sqrt(np.sum(product**2, axis=0))
    largest = float(np.max(np.sum(product, axis=0) / np.where(scale > 0.0, scale, 1.0)))
    return min(1.0, sums.shape[1] * float(ndtr(-largest)))


def batch_means(counts: NDArray[np.int64], sums: Floats, noise: Floats, inverse: Floats, fresh: float) -> BatchMeans:
    """The noise of rows that depend on one another, from sums over long batches; `noise` is that of each row alone.

    Whatever the law of rows, sums over long batches are normal: Student's t with as many degrees of freedom as there
    are batches to compare, a short one in proportion, copies not counted. The stretch over which the path forgets can
    be as long as they are: the correlation rho of neighbours, averaged over coefficients and not below zero, makes the
    variance of a total larger by ``1 + 2 rho``, as in the lugsail estimate (Vats & Flegal 2022).
    """
    starts = np.arange(0, len(sums), -(-len(sums) // _MOST_BATCHES))
    sums, sizes = np.add.reduceat(sums, starts, axis=0), np.add.reduceat(counts, starts)
    rows = float(np.sum(sizes))
    freedom = max(rows**2 / float(np.sum(sizes**2)) * fresh - 1.0, 1.0)
    coefficients = sums @ inverse.T
    square = np.sum(coefficients**2, axis=0)
    # as the sums add up to zero, they are expected to be correlated by less than zero
    lagged = np.sum(coefficients[:-1] * coefficients[1:], axis=0) / np.where(square > 0.0, square, 1.0)
    correlation = max(0.0, float(np.mean(lagged)) + 1.0 / len(sums))
    noise_of_sums = sums.T @ sums / rows * (1.0 + 1.0 / freedom) * (1.0 + 2.0 * correlation)
    alone, together = (np.diag(inverse @ matrix @ inverse.T) for matrix in (noise, noise_of_sums))
    worth = float(np.mean(alone / np.where(together > 0.0, together, np.inf)))  # of a row, in independent ones
    length, note = rows / len(sums), ""
    if worth < _DEPENDENT and worth * length < _SHORT:
        note = (
            f"Batches of {length:.0f} rows are worth about {worth * length:.2g} independent ones, too few to forget "
            "the rows before them: standard errors are somewhat too small; take more rows."
        )
    return BatchMeans(noise_of_sums, freedom, note)

"""What a stream says when it is read: its average and its last iterate, or why there is no saying."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdasde._check import Floats
from rdasde._inference.average import Average, Method
from rdasde._inference.estimate import Estimate
from rdasde._inference.laws import Known, Stretch, across, iterate_law, weak_direction
from rdasde._inference.stream import Stream
from rdasde._problems.row_terms import RowModel

_ROWS_PER_COLUMN = 4
_LEFT = 0.01  # share of the start
_BENT = 0.5  # standard errors that the last iterate may lie off


def estimates(stream: Stream, model: RowModel, method: Method, level: float) -> tuple[Estimate, Estimate]:
    """Of the average, and of the last iterate."""
    last = stream.sums()
    unknown = np.full(len(last.dual), np.nan)
    if last.steps == stream.first().steps:
        note = f"No step is finished: fewer rows than batch_size {stream.algorithm.batch_size}."
        estimate = Estimate(last.primal, unknown, unknown, level, note)
        return estimate, estimate
    rows, different = stream.repeats.rows, stream.repeats.different()
    averaged = stream.rows - stream.first().rows
    distinct = min(averaged, rows, different)
    average = Average(stream, model, distinct)
    stretch = average.stretch
    note = _without_theory(stream, model, stretch, distinct) or average.reason
    if note:
        first, second = (Estimate(w, unknown, unknown, level, note) for w in (stretch.coef, last.primal))
        return first, second
    law = average.law(method, different / max(rows, 1))
    notes = [law.note] * bool(law.note)
    if different < rows:
        note = f"Runs of rows come again: about {different} of {rows} rows are different, and they are counted once."
        if not stream.repeats.is_in_order:
            note = (
                f"Rows come again, in another order: {rows} rows are worth about {different} different ones, and they "
                "are counted as so many."
            )
        notes.insert(0, note)
    if distinct < _ROWS_PER_COLUMN * len(last.dual):
        what = "column" if model.predictors == 1 else "coefficient"
        notes.append(f"Standard errors are rough with fewer than {_ROWS_PER_COLUMN} rows for each {what}.")
    shift = stretch.coef - law.center if law.is_known else unknown
    known = Estimate(stretch.coef, shift, law.std_error, level, " ".join(notes), law.freedom, law.units)
    return known, _iterate(stream, model, average, known)


def _without_theory(stream: Stream, model: RowModel, stretch: Stretch, distinct: int) -> str:
    """Why there are no standard errors, or nothing."""
    mirror, d = stream.algorithm.mirror, len(stretch.coef)
    if not mirror.has_constant_slope:
        return f"Standard errors are known for L1, ElasticNet and no regularizer, not for {mirror!r}."
    curved = bool(np.all(np.isfinite(stretch.hessian)))
    if not np.all(np.isfinite(stretch.coef)) or (not curved and not model.is_linearized):
        return "The sums have overflowed: the stream diverges."
    if distinct < 2 * d:
        what = "columns" if model.predictors == 1 else "coefficients"
        return f"Standard errors need at least {2 * d} rows, twice as many as {what}."
    if stream.has_one_class and model.is_count:
        return "All counts are zero: no finite coefficient is the best."
    if stream.has_one_class:
        return "All labels are the same: the classes are separated, and no finite coefficient is the best."
    if not curved or not np.all(np.isfinite(stretch.noise)):
        return (
            "The loss is not convex where gradients were linearized (its second derivative is negative or not "
            "finite): standard errors are for convex losses."
        )
    if not weak_direction(stretch.hessian):
        return ""
    if model.is_directional:
        return "The average is not near a leading eigenvector whose eigenvalue stands alone."
    if model.is_linearized and not model.is_labelled:
        return "Some direction has no curvature: columns are linearly dependent, or the loss is flat there."
    return "Some direction has no curvature: columns are linearly dependent, or the classes are separated."


def _iterate(stream: Stream, model: RowModel, average: Average, known: Estimate) -> Estimate:
    algorithm, coef, steps = stream.algorithm, stream.primal.copy(), stream.steps
    stretch, level = average.stretch, known.level
    target = known.coef if known.is_known else average.centre
    shift, std_error = np.full((2, len(coef)), np.nan)
    on = np.flatnonzero(coef)
    if on.size == 0:
        return Estimate(coef, shift, std_error, level, "All coordinates are exactly zero.")
    g = float(stream.threshold(np.array([steps]))[0])
    slope = float(algorithm.mirror.jacobian_diagonal(stream.dual, g)[on[0]])  # the same on the whole support
    block, rate = np.ix_(on, on), slope * algorithm.step_size
    hessian = stretch.hessian[block]
    if not known.is_known and not _forgets(hessian, rate, stretch.steps):
        note = (
            "The start is not forgotten: where the average is not known, the mean of the last iterate is not, either."
        )
        return Estimate(coef, shift, std_error, level, note)
    law = iterate_law(
        hessian,
        average.noise[block] / algorithm.batch_size,
        rate,
        (average.first.primal - target)[on],
        slope * algorithm.mirror.subgradient(coef)[on],
        stretch.steps,
        lambda ages: stream.threshold(steps - ages[::-1])[::-1],
        _known(stream, average, block),
    )
    if law is None:
        return Estimate(coef, shift, std_error, level, "The step size is too long for a stationary law.")
    mean, covariance = law
    if model.is_directional:
        covariance = across(target[on] / np.linalg.norm(target[on]), covariance)
        center = coef[on] - mean
        mean = coef[on] - center / np.linalg.norm(center)
    shift[on], std_error[on] = mean, np.sqrt(np.maximum(np.diag(covariance), 0.0))
    notes = ["Coordinates that are exactly zero have no normal law."] * (on.size < len(coef))
    if np.any(np.abs(np.linalg.solve(hessian, average.bend[on])) > _BENT * std_error[on]):
        notes.append(
            "Gradients bend on the way to the last iterate, which is not part of its law: intervals are rough."
        )
    return Estimate(coef, shift, std_error, level, " ".join(notes), average.freedom)


def _forgets(hessian: Floats, rate: float, steps: int) -> bool:
    """Whether hardly anything is left of the start in the mean."""
    decay = 1.0 - rate * np.linalg.eigvalsh(0.5 * (hessian + hessian.T))
    return bool(np.max(np.abs(decay)) ** steps < _LEFT)


def _known(stream: Stream, average: Average, block: tuple[NDArray[np.intp], ...]) -> Known | None:
    """How surely the minimizer is known; None after several passes, where it is that over the rows."""
    if stream.repeats.rows < stream.rows:
        return None
    cross = np.linalg.solve(average.stretch.hessian, average.noise).T  # Sigma H'^-1
    covariance = np.linalg.solve(average.stretch.hessian, cross)
    return Known(cross[block] / average.stretch.rows, covariance[block] / average.distinct)

"""An online estimate: it can be read at any time, and go on."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._errors import DivergenceError, StabilityWarning
from rdasde._inference.average import Average, Covariance
from rdasde._inference.batches import batches, checked
from rdasde._inference.estimate import Estimate
from rdasde._inference.laws import Stretch, Sums, across, iterate_law, weak_direction
from rdasde._inference.stream import Stream
from rdasde._problems.base import Problem
from rdasde._problems.row_terms import RowModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rdasde._inference.summary import Summary

_ROWS_PER_COLUMN = 4


class OnlineFit:
    """What `fit` returns: an online estimate that can be read at any time, and go on.

    Reading (attributes, `summary`, `plot`) never changes the state. Arrays are the caller's own.

    Attributes
    ----------
    average, iterate : Estimate
        The Polyak-Ruppert average, and the last iterate.
    coef, raw, shift, std_error, interval : ndarray
        Those of the average.
    support : ndarray of shape (d,), bool
        Where the last iterate is not exactly zero.
    rows, steps : int
        Taken so far.
    rows_averaged : int
        How many of them, the last, the average is over.
    time : float
        ``t = n gamma``.
    """

    def __init__(
        self, problem_class: type[Problem], algorithm: RDA, level: float, covariance: Covariance = "independent"
    ) -> None:
        self.problem_class, self.algorithm, self.level, self.covariance = problem_class, algorithm, level, covariance
        self._stream: Stream | None = None  # d is not known before the first rows
        self._distinct = 0
        self._known: tuple[Estimate, Estimate] | None = None

    def update(self, X: Any, y: ArrayLike | None = None) -> OnlineFit:
        """Go on with the stream; how it is cut into updates makes no difference, bit for bit.

        Parameters
        ----------
        X : array_like of shape (n, d), or an iterator of batches
            As for `fit`.
        y : array_like of shape (n,), optional

        Returns
        -------
        OnlineFit
            Itself.

        Raises
        ------
        ValueError, TypeError
            For bad rows, before any of that batch is taken.
        DivergenceError
            If the state stops being finite; it then stays as it was up to 256 rows earlier.
        """
        for name, part, labels in batches(X, y, self._model.has_response):
            rows, response = self._checked(name, part, labels)
            self._take(rows, response)
            self._distinct += len(rows)
        return self

    def _passes(self, X: Any, y: Any, passes: int) -> OnlineFit:
        """Start by going through arrays several times; averages are over the last pass."""
        rows, response = self._checked("", X, y)
        for i in range(passes):
            if i > 0:
                self._run.forget()
                self._run.is_watched = False
            self._take(rows, response)
        self._run.is_watched = True
        self._distinct = len(rows)
        return self

    @property
    def _model(self) -> RowModel:
        model = self.problem_class.row_model
        assert model is not None  # `fit` refuses a class without one
        return model

    def _checked(self, name: str, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        model, d = self._model, None if self._stream is None else self.dimension
        return checked(name, X, y, d, self.problem_class.__name__, model.has_response, model.is_binary)

    def _take(self, rows: NDArray[Any], response: NDArray[Any]) -> None:
        self._known = None
        if self._stream is None:
            self._stream = Stream(self._model, self.algorithm, rows.shape[1])
            self._warn_if_unstable(rows)
        try:
            self._stream.take(rows, response)
        except DivergenceError as error:
            error.partial = self
            raise

    def _warn_if_unstable(self, rows: NDArray[Any]) -> None:
        """As for Gaussian rows with the second moments of the first ones, if there are many."""
        gaussian, d = self._model.gaussian, rows.shape[1]
        n = min(len(rows), max(1000, 50 * d))
        if gaussian is None or n < 20 * d:
            return
        head = rows[:n].astype(np.float64)
        second = head.T @ head / n
        if not np.any(second):
            return
        reason = gaussian(0.5 * (second + second.T)).instability(self.algorithm.step_size, self.algorithm.batch_size)
        if reason is not None:
            warnings.warn(
                f"step_size {self.algorithm.step_size:g} is past mean-square stability without a regularizer "
                f"({reason}, from the first {n} rows): the run may diverge; take a smaller step or a larger batch.",
                StabilityWarning,
                stacklevel=5,  # whoever called `fit`
            )

    @property
    def _run(self) -> Stream:
        assert self._stream is not None  # `fit` returns after the first rows
        return self._stream

    @property
    def dimension(self) -> int:
        return len(self._run.dual)

    @property
    def rows(self) -> int:
        return self._run.rows

    @property
    def steps(self) -> int:
        return self._run.steps

    @property
    def rows_averaged(self) -> int:
        return self._run.rows - self._run.first().rows

    @property
    def time(self) -> float:
        return self.steps * self.algorithm.step_size

    @property
    def support(self) -> NDArray[np.bool_]:
        return self._run.primal != 0.0

    @property
    def average(self) -> Estimate:
        return self._estimates()[0]

    @property
    def iterate(self) -> Estimate:
        return self._estimates()[1]

    @property
    def coef(self) -> Floats:
        return self.average.coef

    @property
    def raw(self) -> Floats:
        return self.average.raw.copy()

    @property
    def shift(self) -> Floats:
        return self.average.shift.copy()

    @property
    def std_error(self) -> Floats:
        return self.average.std_error.copy()

    @property
    def interval(self) -> Floats:
        return self.average.interval

    def _estimates(self) -> tuple[Estimate, Estimate]:
        if self._known is None:
            self._known = self._estimate()
        return self._known

    def _estimate(self) -> tuple[Estimate, Estimate]:
        run = self._run
        last = run.sums()
        unknown = np.full(len(last.dual), np.nan)
        if last.steps == run.first().steps:
            note = f"No step is finished: fewer rows than batch_size {self.algorithm.batch_size}."
            estimate = Estimate(last.primal, unknown, unknown, self.level, note)
            return estimate, estimate
        different = run.repeats.different()
        distinct = min(self.rows_averaged, self._distinct, different)
        average = Average(run, self._model, distinct)
        stretch = average.stretch
        note = self._without_theory(stretch, distinct) or average.reason
        if note:
            first, second = (Estimate(w, unknown, unknown, self.level, note) for w in (stretch.coef, last.primal))
            return first, second
        law = average.law(self.covariance, different / max(run.repeats.rows, 1))
        notes = [law.note] * bool(law.note)
        if different < run.repeats.rows:
            notes.insert(
                0,
                f"Runs of rows come again: about {different} of {run.repeats.rows} rows are different, and they are "
                "counted once.",
            )
        if distinct < _ROWS_PER_COLUMN * self.dimension:
            notes.append(f"Standard errors are rough with fewer than {_ROWS_PER_COLUMN} rows for each column.")
        shift = stretch.coef - law.center if law.is_known else unknown
        known = Estimate(stretch.coef, shift, law.std_error, self.level, " ".join(notes), law.freedom)
        return known, self._iterate(average.first, last, stretch, known.coef if law.is_known else average.centre)

    def _without_theory(self, stretch: Stretch, distinct: int) -> str:
        """Why there are no standard errors, or nothing."""
        if not self.algorithm.mirror.has_constant_slope:
            known = "Standard errors are known for L1, ElasticNet and no regularizer"
            return f"{known}, not for {self.algorithm.mirror!r}."
        if not all(np.all(np.isfinite(part)) for part in (stretch.coef, stretch.hessian, stretch.noise)):
            return "The sums have overflowed: the stream diverges."
        if distinct < 2 * self.dimension:
            return f"Standard errors need at least {2 * self.dimension} rows, twice as many as columns."
        if self._run.has_one_class:
            return "All labels are the same: the classes are separated, and no finite coefficient is the best."
        if not weak_direction(stretch.hessian):
            return ""
        if self._model.is_directional:
            return "The average is not near a leading eigenvector whose eigenvalue stands alone."
        return "Some direction has no curvature: columns are linearly dependent, or the classes are separated."

    def _iterate(self, first: Sums, last: Sums, stretch: Stretch, target: Floats) -> Estimate:
        algorithm, coef = self.algorithm, last.primal
        shift, std_error = np.full((2, len(coef)), np.nan)
        on = np.flatnonzero(coef)
        if on.size == 0:
            return Estimate(coef, shift, std_error, self.level, "All coordinates are exactly zero.")
        g = float(self._run.threshold(np.array([last.steps]))[0])
        slope = float(algorithm.mirror.jacobian_diagonal(last.dual, g)[on[0]])  # the same on the whole support
        law = iterate_law(
            stretch.hessian[np.ix_(on, on)],
            stretch.noise[np.ix_(on, on)] / algorithm.batch_size,
            slope * algorithm.step_size,
            (first.primal - target)[on],
            slope * algorithm.mirror.subgradient(coef)[on],
            stretch.steps,
            lambda ages: self._run.threshold(last.steps - ages[::-1])[::-1],
        )
        if law is None:
            return Estimate(coef, shift, std_error, self.level, "The step size is too long for a stationary law.")
        mean, covariance = law
        if self._model.is_directional:
            covariance = across(target[on] / np.linalg.norm(target[on]), covariance)
            center = coef[on] - mean
            mean = coef[on] - center / np.linalg.norm(center)
        shift[on], std_error[on] = mean, np.sqrt(np.maximum(np.diag(covariance), 0.0))
        note = "" if on.size == len(coef) else "Coordinates that are exactly zero have no normal law."
        return Estimate(coef, shift, std_error, self.level, note)

    def sums(self) -> Sums:
        """What has been added up over all rows so far, as copies.

        ``sums().roots / rows`` is the plug-in Hessian over all rows; for linear regression `roots` is X'X, and so it
        is for PCA, where X'X / rows are second moments.
        """
        return self._run.sums()

    def summary(self) -> Summary:
        """A table in the manner of statsmodels, as text and in HTML."""
        from rdasde._inference.summary import Summary

        algorithm = self.algorithm
        facts = [
            ("Rows", f"{self.rows}"),
            ("Step size", f"{algorithm.step_size:g}"),
            ("Rows averaged", f"{self.rows_averaged}"),
            ("Time t = n gamma", f"{self.time:g}"),
            ("Regularizer", repr(algorithm.regularizer)),
            ("Schedule", repr(algorithm.schedule)),
            ("Batch size", f"{algorithm.batch_size}"),
            ("On the support", f"{np.count_nonzero(self.support)} of {self.dimension}"),
        ]
        return Summary(f"Online inference: {self.problem_class.__name__}", facts, self.average, self.iterate)

    def plot(self) -> Figure:
        """The intervals by coordinate, with the last iterate; and what they hold, in standard errors."""
        from rdasde._inference.summary import draw

        return draw(self.average, self.iterate, self.support)

    def copy(self) -> OnlineFit:
        """An independent copy, for example to try two continuations."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        return (
            f"<OnlineFit of {self.problem_class.__name__}: {self.rows} rows, d = {self.dimension}, "
            f"{np.count_nonzero(self.support)} on the support of the last iterate>"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

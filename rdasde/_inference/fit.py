"""`fit`: inference in one pass over a stream of rows."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._errors import DivergenceError, StabilityWarning
from rdasde._inference.batches import batches, checked
from rdasde._inference.laws import Stretch, Sums, across, average_law, iterate_law, weak_direction
from rdasde._inference.row_loop import LinearRows, LogisticRows, OjaRows
from rdasde._inference.stream import Stream
from rdasde._problems.linear_regression import LinearRegression
from rdasde._problems.logistic_regression import LogisticRegression
from rdasde._problems.online_pca import OnlinePCA
from rdasde._regularizers.elastic_net import ElasticNet
from rdasde._regularizers.l1 import L1
from rdasde._regularizers.unregularized import Unregularized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rdasde._inference.summary import Summary


class _Model(NamedTuple):
    rows: NamedTuple
    has_response: bool
    is_binary: bool = False
    is_directional: bool = False  # a unit vector, by Oja's rule


_MODELS: dict[type, _Model] = {
    LinearRegression: _Model(LinearRows(0.0), True),
    LogisticRegression: _Model(LogisticRows(1.0), True, is_binary=True),
    OnlinePCA: _Model(OjaRows(0.0), False, is_directional=True),
}


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate with what is known of its law; NaN where nothing is, and `note` says why.

    Attributes
    ----------
    coef : ndarray of shape (d,)
        ``raw - shift``, the centre of the interval; `raw` where the shift is not known.
    raw : ndarray of shape (d,)
        The average, or the last iterate, as it stands.
    shift : ndarray of shape (d,)
        By how much that lies off on average: the threshold still grows, the start is not quite forgotten.
    std_error : ndarray of shape (d,)
    level : float
        Of the interval.
    note : str
        Why something is not known; empty if all is.
    """

    raw: Floats
    shift: Floats
    std_error: Floats
    level: float
    note: str = ""

    @property
    def coef(self) -> Floats:
        return np.where(np.isnan(self.shift), self.raw, self.raw - self.shift)

    @property
    def interval(self) -> Floats:
        """The confidence interval of each coordinate, (d, 2)."""
        from scipy.special import ndtri

        half = float(ndtri(0.5 + 0.5 * self.level)) * self.std_error
        return np.column_stack([self.coef - half, self.coef + half])


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

    def __init__(self, problem_class: type, algorithm: RDA, level: float) -> None:
        self.problem_class, self.algorithm, self.level = problem_class, algorithm, level
        self._model = _MODELS[problem_class]
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
        for name, some, theirs in batches(X, y, self._model.has_response):
            rows, response = self._checked(name, some, theirs)
            self._take(rows, response)
            self._distinct += len(rows)
        return self

    def _checked(self, name: str, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        model, d = self._model, None if self._stream is None else self.dimension
        return checked(name, X, y, d, self.problem_class.__name__, model.has_response, model.is_binary)

    def _take(self, rows: NDArray[Any], response: NDArray[Any]) -> None:
        self._known = None
        if self._stream is None:
            self._stream = Stream(self._model.rows, self.algorithm, rows.shape[1], self._model.is_directional)
            self._warn_if_unstable(rows)
        try:
            self._stream.take(rows, response)
        except DivergenceError as error:
            error.partial = self
            raise

    def _warn_if_unstable(self, rows: NDArray[Any]) -> None:
        """As for Gaussian rows with the second moments of the first ones, if there are many."""
        n, d = min(len(rows), max(1000, 50 * rows.shape[1])), rows.shape[1]
        if n < 20 * d:
            return
        head = rows[:n].astype(np.float64)
        second = head.T @ head / n
        if not np.any(second):
            return
        problem = self.problem_class(*([np.zeros(d)] * self._model.has_response), 0.5 * (second + second.T))
        reason = problem.instability(self.algorithm.step_size, self.algorithm.batch_size)
        if reason is not None:
            warnings.warn(
                f"step_size {self.algorithm.step_size:g} is past mean-square stability without a regularizer "
                f"({reason}, from the first {n} rows): the run may diverge; take a smaller step or a larger batch.",
                StabilityWarning,
                stacklevel=4,
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
            self._known = self._estimate(self._run.first(), self._run.sums())
        return self._known

    def _estimate(self, first: Sums, last: Sums) -> tuple[Estimate, Estimate]:
        unknown = np.full(len(last.dual), np.nan)
        if last.steps == first.steps:
            note = f"No step is finished: fewer rows than batch_size {self.algorithm.batch_size}."
            nothing = Estimate(last.primal, unknown, unknown, self.level, note)
            return nothing, nothing
        with np.errstate(over="ignore", invalid="ignore"):
            stretch = Stretch.between(first, last, self.algorithm.step_size, self._model.is_directional)
        distinct = min(stretch.rows, self._distinct)
        note = self._without_theory(stretch, distinct)
        if note:
            average, iterate = (Estimate(w, unknown, unknown, self.level, note) for w in (stretch.coef, last.primal))
            return average, iterate
        average = Estimate(stretch.coef, *average_law(stretch, distinct, self._model.is_directional), self.level)
        return average, self._iterate(first, last, stretch, average.coef)

    def _without_theory(self, stretch: Stretch, distinct: int) -> str:
        """Why there are no standard errors, or nothing."""
        if not isinstance(self.algorithm.mirror, L1 | ElasticNet | Unregularized):
            known = "Standard errors are known for L1, ElasticNet and no regularizer"
            return f"{known}, not for {self.algorithm.mirror!r}."
        if not all(np.all(np.isfinite(part)) for part in (stretch.coef, stretch.hessian, stretch.noise)):
            return "The sums have overflowed: the stream diverges."
        if distinct < 2 * self.dimension:
            return f"Standard errors need at least {2 * self.dimension} rows, twice as many as columns."
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

    def summary(self) -> Summary:
        """A table in the manner of statsmodels, as text and in HTML."""
        from rdasde._inference.summary import Summary

        return Summary(self)

    def plot(self) -> Figure:
        """The intervals by coordinate, with the last iterate; and what they hold, in standard errors."""
        from rdasde._inference.summary import draw

        return draw(self)

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


def fit(
    problem_class: type,
    X: Any,
    y: ArrayLike | None,
    algorithm: RDA,
    *,
    passes: int = 1,
    level: float = 0.95,
) -> OnlineFit:
    r"""Estimate, and say how surely, from one pass over one stream of rows.

    ``v <- v - gamma grad f(w; row)``, ``w = prox(v, g(n, gamma))``, one row after the other (`batch_size` of them a
    step), from ``v = 0`` (for PCA from the first row, scaled to length 1). Along the way the outer products of rows and
    of gradients are added up: plug-in H and Sigma.

    Parameters
    ----------
    problem_class : {rs.LinearRegression, rs.LogisticRegression, rs.OnlinePCA}
        The class itself. There is no intercept: add a column of ones. PCA is by Oja's rule, nothing is centred, and the
        sign is that of the run.
    X : array_like of shape (n, d), or an iterator of batches
        The rows, in the order of the stream, or an iterator that yields pairs ``(X, y)`` (for PCA arrays), so that all
        of them never need to be in memory.
    y : array_like of shape (n,) or None
        Responses, or labels in {0, 1}; None for PCA and where X is an iterator.
    algorithm : RDA
        Step size, regularizer, schedule, batch size.
    passes : int
        How often to go through an array X. The average is then over the last pass.
    level : float
        Of the intervals.

    Returns
    -------
    OnlineFit
        ``coef``, ``std_error (d,)`` and ``interval (d, 2)`` of the average, corrected for its ``shift`` (``raw`` is the
        average as it stands); the same of the last iterate in ``iterate``; ``support (d,)``; ``summary()``, ``plot()``,
        ``update(X, y)``.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    DivergenceError
        If the state stops being finite; ``partial`` is the fit until then.

    Warns
    -----
    StabilityWarning
        If the step size is past mean-square stability, judged by the first rows (if 20 times as many as columns).

    Notes
    -----
    **Average.** Over all but the first rows: left out are the largest ``256 * 2**k`` of them that are at most one in
    eight (one in 16 to one in 8 of a long stream, none below 2 048 rows), where the start is being forgotten. Its
    standard errors are those of the sandwich ``H^-1 Sigma H^-1 / m``, valid under heteroscedasticity. It lies off by
    ``shift``, ``-H^-1 (v_n - v_0) / (gamma m)``: on the support the time average of
    ``-H_SS^-1 sgn(w*_S) c mu gamma^(1/2) t^(mu - 1)``. ``coef``, the centre of the interval, is free of it.
    A threshold that keeps zero coordinates at zero up to z standard deviations shifts the others by about z
    standard errors, so that without the correction hardly an interval would hold. With it they hold in every
    coordinate, strong, weak or zero: the dual remembers what the threshold withheld. The price is that they are as
    wide as those of least squares on all columns, times about ``sqrt(1 + gamma tr(H) / 2)`` (the trace over
    coordinates in motion): an iterate is never at rest, and its distance from w* adds to the noise of the
    gradients.

    Least squares has no bias from a constant step. Logistic regression has one of order gamma; it is part of `shift`:
    gradients are linearized at the estimate that there was when the stream was at most half as long (at a running
    average before that). For PCA the centre is scaled to length 1, and so are the standard errors: 0 along it.

    **Last iterate.** On its support, the linear recursion around w* from the beginning of the average on; in the long
    run its variance is ``gamma C / batch_size`` with ``H C + C H' = Sigma`` on the support. Its intervals take the
    support for given: for a weak coordinate, on it because it was drawn large, they need not hold at `level`;
    coordinates that are zero have none (NaN). After several passes they are for the minimizer over the rows.

    References
    ----------
    Polyak & Juditsky, SIAM J. Control Optim. 30, 1992. Chao & Cheng, arXiv 1909.10072, 2019. Chen, Lee, Tong & Zhang,
    Annals of Statistics 48, 2020 (plug-in).
    """
    if not isinstance(problem_class, type) or problem_class not in _MODELS:
        raise _check.wrong_kind(
            "problem_class",
            problem_class,
            "rs.LinearRegression, rs.LogisticRegression or rs.OnlinePCA",
            "pass the class itself",
        )
    _check.instance("algorithm", algorithm, RDA, "an algorithm", "pass for example rs.RDA(step_size=1e-3)")
    passes = _check.count("passes", passes, mend="give how often to go through the rows")
    found = OnlineFit(problem_class, algorithm, _check.level(level))
    if passes == 1:
        return found.update(X, y)
    if isinstance(X, Iterator):
        raise _check.bad("passes", passes, "1 where X is an iterator", "pass arrays, which can be read again")
    rows, response = found._checked("", X, y)
    for i in range(passes):
        if i > 0:
            found._run.forget()
        found._take(rows, response)
    found._distinct = len(rows)
    return found

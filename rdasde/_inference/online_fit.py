"""An online estimate: it can be read at any time, and go on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rdasde import _check, _frames
from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.arguments import need_plain
from rdasde._errors import DivergenceError, StabilityWarning
from rdasde._inference.average import Method
from rdasde._inference.batches import Batch, batches, is_empty
from rdasde._inference.estimate import Estimate
from rdasde._inference.laws import Sums
from rdasde._inference.partial import left_behind
from rdasde._inference.reading import estimates
from rdasde._inference.stream import Stream
from rdasde._inference.subject import Subject, with_classes
from rdasde._losses.base import Loss
from rdasde._problems.base import Problem
from rdasde._problems.row_terms import RowModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from rdasde._inference.summary import Summary


class OnlineFit:
    """What `fit` returns: an online estimate that can be read at any time, and go on.

    Reading (attributes, `summary`, `plot`) never changes the state. Arrays are the caller's own. Whatever interrupts
    `update`, it is afterwards the fit of exactly `rows` rows.

    Attributes
    ----------
    average, iterate : Estimate
        The Polyak-Ruppert average, and the last iterate.
    coef, raw, shift, std_error, interval : ndarray
        Those of the average.
    support : ndarray of shape (d,), bool
        Where the last iterate is not exactly zero.
    names : list of str
        Of the coordinates: those given, those of a DataFrame's columns, or "0", "1", ... For several classes each with
        its class before it, "1: dose", ..., "2: dose", ...
    classes : int or None
        K of a softmax regression. Its coordinates are the coefficients of class 1 against class 0, then those of class
        2, ...: ``coef.reshape(K - 1, p)`` has a line for each.
    rows, steps : int
        Taken so far.
    rows_averaged : int
        How many of them, the last, the average is over.
    time : float
        ``t = n gamma``.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> X = np.random.default_rng(0).standard_normal((2000, 2))
    >>> y = X @ [0.5, 0.0] + np.random.default_rng(1).standard_normal(2000)
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.5, mu=0.6))
    >>> fit = rs.fit(rs.LinearRegression, X[:1000], y[:1000], algorithm)
    >>> fit.update(X[1000:], y[1000:]).rows
    2000
    >>> fit.support, fit.conf_int(0.9).round(2)
    (array([ True, False]), array([[ 0.41,  0.49],
           [-0.05,  0.02]]))
    >>> fit.predict([[1.0, 0.0]]).round(2)
    array([0.45])
    >>> print(str(fit.summary()).splitlines()[0].strip())
    Online inference: LinearRegression
    """

    def __init__(
        self,
        problem_class: type[Problem] | Loss,
        algorithm: RDA,
        level: float,
        method: Method = Method(),  # noqa: B008 -- it cannot be changed
        names: Sequence[str] | None = None,
        classes: int | None = None,
    ) -> None:
        self._subject: Subject = with_classes(problem_class, classes)
        _check.instance("algorithm", algorithm, RDA, "an algorithm", "pass for example rs.RDA(step_size=1e-3)")
        need_plain(algorithm)
        _check.instance("method", method, Method, "what fit makes of covariance and inference", "use rs.fit")
        self.problem_class, self.algorithm, self.method = problem_class, algorithm, method
        self.level = _check.level(level)
        self._names = _checked_names(names)
        self._labels: list[str] | None = None  # of the first DataFrame's columns
        self._stream: Stream | None = None  # d is not known before the first rows
        self._known: tuple[Stream, tuple[Estimate, Estimate]] | None = None

    def update(self, X: Any, y: ArrayLike | None = None) -> OnlineFit:
        """Go on with the stream; how it is cut into updates makes no difference, bit for bit.

        Parameters
        ----------
        X : array_like of shape (n, d), DataFrame, or what yields batches
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

        Notes
        -----
        An exception on the way, of the iterator or by Ctrl-C, leaves the fit of the `rows` rows before (those of the
        last batch are taken some thousand at a time), and carries it as ``partial``.
        """
        with left_behind(self):
            self._take_all(X, y)
        return self

    def _passes(self, X: Any, y: Any, passes: int) -> OnlineFit:
        """Start by going through rows several times; averages are over the last pass."""
        with left_behind(self):
            try:
                for i in range(passes):
                    if i > 0:
                        self._stream = self._run.forgetful(watched=False)
                    self._take_all(X, y)
            finally:
                if self._stream is not None:  # what `update` brings are new rows
                    self._stream = self._stream.watchful()
        return self

    def _take_all(self, X: Any, y: Any) -> None:
        for batch in batches(X, y, self._subject.model.has_response):
            if self._stream is not None and is_empty(batch.X):
                continue
            rows, response = self._checked(batch)
            if self._stream is None:
                self._names = self._named(batch, rows.shape[1])
                # judging the step size is done here: the stream needs no function for it, which pickle might not take
                named = self._subject.of_labels(response)
                fresh = Stream(named.model._replace(gaussian=None), self.algorithm, rows.shape[1])
                self._warn_if_unstable(rows, named.model)
                self._labels, self._subject, self._stream = None, named, fresh
            self._labels = self._labels or _frames.labels(batch.X)
            for part in self._stream.slices(rows, response):
                try:
                    after = self._stream.after(*part)
                except DivergenceError as error:
                    self._stream = error.partial
                    raise
                self._stream = after

    def _checked(self, batch: Batch) -> tuple[NDArray[Any], NDArray[Any]]:
        """Rows and their responses (zeros where there are none), as they are: no copy."""
        name, has_response = batch.name, self._subject.model.has_response
        _frames.aligned(name, batch.X, batch.y)
        rows = self._matrix("X" + name, batch.X)
        if not has_response:
            if batch.y is not None:
                raise _check.bad("y" + name, batch.y, f"None for {self._subject.name}", "leave it out")
            return rows, np.zeros(len(rows))
        if batch.y is None:
            accepted = f"the responses for {self._subject.name}"
            raise _check.bad("y" + name, None, accepted, "pass one number for each row of X")
        return rows, self._subject.responses(name, _frames.plain("y" + name, batch.y), len(rows))

    def _matrix(self, argument: str, X: Any) -> NDArray[Any]:
        d = None if self._stream is None else self.dimension // self._subject.model.predictors
        labels = _frames.labels(X)
        if d is not None and labels is not None:
            self._compare(argument, labels)
        mend = "give one row for each observation" if d is None else f"give the {d} columns as before"
        return _check.rows(argument, _frames.plain(argument, X), (None, d), mend=mend)

    def _compare(self, argument: str, labels: list[str]) -> None:
        """A DataFrame's columns with those of the first one; with the names where rows have come without labels."""
        first, columns = self._labels, list(self._names or [])
        if first is None and sorted(labels) == sorted(columns):
            first = columns
        if first is not None:
            same = "fit.names" if first == self.names else _check.show(first)
            _frames.same_columns(argument, labels, first, f"pass X[{same}]")

    def _named(self, batch: Batch, dimension: int) -> list[str]:
        names = self._names or _frames.labels(batch.X) or [f"{j}" for j in range(dimension)]
        if len(names) != dimension:
            raise _check.bad("names", f"of length {len(names)}", f"of length {dimension}", "give one for each column")
        return names

    def _warn_if_unstable(self, rows: NDArray[Any], model: RowModel) -> None:
        """As for Gaussian rows with the second moments of the first ones, if there are many."""
        gaussian, d = model.gaussian, rows.shape[1]
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
    def loss(self) -> Loss | None:
        """The loss that is fitted, if that is what was given."""
        return self.problem_class if isinstance(self.problem_class, Loss) else None

    @property
    def names(self) -> list[str]:
        columns = list(self._names or [])
        if self.classes is None:
            return columns
        return [f"{k}: {name}" for k in range(1, self.classes) for name in columns]

    @property
    def classes(self) -> int | None:
        return self._subject.model.classes or None

    @property
    def dimension(self) -> int:
        return len(self._run.dual)

    @property
    def rows(self) -> int:
        return 0 if self._stream is None else self._stream.rows

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

    def conf_int(self, level: float | None = None) -> Floats:
        """The confidence interval of each coordinate of the average, (d, 2), at the fit's own level or another."""
        return self.average.conf_int(self.level if level is None else _check.level(level))

    def predict(self, X: Any) -> Floats:
        """What to expect of y for each row: the mean, or quantile, that the loss is made for, at `coef`.

        Parameters
        ----------
        X : array_like of shape (n, d), or DataFrame

        Returns
        -------
        ndarray of shape (n,), or (n, K) for several classes
            ``x'coef`` through the loss's `mean_response`: a probability for a logistic regression, a count for a
            Poisson regression; for a softmax regression the probability of each class; for PCA the projections
            ``x'coef``.
        """
        rows = self._matrix("X", X)
        return self._subject.predict(rows, self.coef)

    def _estimates(self) -> tuple[Estimate, Estimate]:
        stream, known = self._run, self._known
        if known is None or known[0] is not stream:
            self._known = known = (stream, estimates(stream, self._subject.model, self.method, self.level))
        return known[1]

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
        return Summary(f"Online inference: {self._subject.name}", facts, self.names, self.average, self.iterate)

    def to_dataframe(self) -> DataFrame:
        """One row for each coordinate, by its name.

        Returns
        -------
        pandas.DataFrame
            ``coef``, ``std_error``, ``z``, ``p_value``, ``lower``, ``upper``, ``raw`` and ``shift`` of the average,
            ``last`` (the last iterate), ``last_std_error`` and ``in_support``.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        from rdasde._inference.summary import table

        return table(self.names, self.average, self.iterate, self.support)

    def plot(self) -> Figure:
        """The intervals by coordinate, with the last iterate; and what they hold, in standard errors."""
        from rdasde._inference.summary import draw

        return draw(self.average, self.iterate, self.support)

    def copy(self) -> OnlineFit:
        """An independent copy, for example to try two continuations."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        if self._stream is None:
            return f"<OnlineFit of {self._subject.name}: 0 rows>"
        return (
            f"<OnlineFit of {self._subject.name}: {self.rows} rows, d = {self.dimension}, "
            f"{np.count_nonzero(self.support)} on the support of the last iterate>"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def _checked_names(names: Any) -> list[str] | None:
    """The names of columns."""
    if names is None:
        return None
    accepted, mend = "a list of different strings", "give one for each column"
    if isinstance(names, str) or not isinstance(names, Iterable) or _check.axes_of(names) == 0:
        raise _check.wrong_kind("names", names, accepted, mend)
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise _check.wrong_kind("names", name, accepted, mend)
    if len(set(listed)) < len(listed):
        raise _check.bad("names", listed, accepted, mend)
    return listed

"""`fit`: inference in one pass over a stream of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast

from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._engine.arguments import need_plain
from rdasde._inference.average import Covariance
from rdasde._inference.online_fit import OnlineFit
from rdasde._problems.base import Problem


def fit(
    problem_class: type[Problem],
    X: Any,
    y: ArrayLike | None,
    algorithm: RDA,
    *,
    passes: int = 1,
    level: float = 0.95,
    covariance: Literal["independent", "batch-means"] = "independent",
) -> OnlineFit:
    r"""Estimate, and say how surely, from one pass over one stream of independent rows.

    ``v <- v - gamma grad f(w; row)``, ``w = prox(v, g(n, gamma))``, one row after the other (`batch_size` of them a
    step), from ``v = 0`` (for PCA from the first row, scaled to length 1). Along the way the outer products of rows and
    of gradients are added up: plug-in H and Sigma. Standard errors are for independent rows, each of them new, unless
    `covariance` says otherwise; where rows are seen to depend on one another, ``average.note`` says so.

    Parameters
    ----------
    problem_class : {rs.LinearRegression, rs.LogisticRegression, rs.OnlinePCA}
        The class itself. There is no intercept: add a column of ones. PCA is by Oja's rule, nothing is centred, and the
        sign is that of the run.
    X : array_like of shape (n, d), or an iterator of batches
        Independent rows, in the order of the stream, or an iterator that yields pairs ``(X, y)`` (for PCA arrays), so
        that all of them never need to be in memory.
    y : array_like of shape (n,) or None
        Responses, or labels in {0, 1}; None for PCA and where X is an iterator.
    algorithm : RDA
        Step size, regularizer, schedule, batch size.
    passes : int
        How often to go through an array X. The average is then over the last pass.
    level : float
        Of the intervals.
    covariance : {"independent", "batch-means"}
        How standard errors of the average are found. ``"independent"``: rows are independent. ``"batch-means"``: they
        may depend on rows shortly before, as in a time series: from the spread of sums over 16 to 32 batches of
        consecutive rows, with the quantile of Student's t; batches are twice as long where the stream is, and memory
        is the same. Batches must be longer than what rows remember.

    Returns
    -------
    OnlineFit
        ``coef``, ``std_error (d,)`` and ``interval (d, 2)`` of the average, corrected for its ``shift`` (``raw`` is the
        average as it stands); the same of the last iterate in ``iterate``; ``support (d,)``; ``summary()``, ``plot()``,
        ``update(X, y)``. ``average.note`` is empty where nothing speaks against the intervals.

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
    gradients are linearized. The first rows are kept, ``max(2048, 16 d)`` of them or somewhat more, and the path
    through them is linearized where their estimating equation is solved, whenever it is read; later rows at the
    estimate that there was when the stream was at most half as long. What is then left, quadratic in the distance of
    the two, is estimated by the kept rows at the final estimate and subtracted, and intervals are as much wider as it
    is uncertain: over a tenth, and the note says so; over twice, and they are NaN, as they are for separated classes.
    For PCA the centre is scaled to length 1, and so are the standard errors: 0 along it.

    **Noise.** Sigma is the mean square of gradients around their mean on the path, so that the way from the start to
    w* is not taken for noise: for each of the kept rows exactly, later by runs of rows. Where all rows are still kept
    it has the factor ``m / (m - d)``, for the degrees of freedom that are fitted. With fewer than ``4 d`` rows the
    note says that standard errors are rough.

    **Independence** is tested when the average is read: the squares of sums of centred gradients over 64 to 128 runs
    of consecutive rows, whitened, against what they are for independent rows (a chi-squared law, of the right
    variance whatever the fourth moments; significant at 1e-4), and for batch means the correlation of neighbouring
    runs (normal, by Bonferroni's bound over coordinates; significant at 1e-4). Rows sorted by their response are
    found by both. For gradients without fourth moments the first has more false alarms, about three in 1000. Runs of
    32 rows that come again are recognized by their hashes (in a sample of at most 4096): such rows are counted once,
    and the note says so.

    **Last iterate.** On its support, the linear recursion around w* from the beginning of the average on; in the long
    run its variance is ``gamma C / batch_size`` with ``H C + C H' = Sigma`` on the support. Its intervals take the
    support for given: for a weak coordinate, on it because it was drawn large, they need not hold at `level`;
    coordinates that are zero have none (NaN). After several passes they are for the minimizer over the rows.

    References
    ----------
    Polyak & Juditsky, SIAM J. Control Optim. 30, 1992. Chao & Cheng, arXiv 1909.10072, 2019. Chen, Lee, Tong & Zhang,
    Annals of Statistics 48, 2020 (plug-in). Schmeiser, Operations Research 30, 1982 (few, long batches).
    """
    is_problem = isinstance(problem_class, type) and issubclass(problem_class, Problem)
    if not is_problem or problem_class.row_model is None:
        raise _check.wrong_kind(
            "problem_class",
            problem_class,
            "rs.LinearRegression, rs.LogisticRegression or rs.OnlinePCA",
            "pass the class itself",
        )
    _check.instance("algorithm", algorithm, RDA, "an algorithm", "pass for example rs.RDA(step_size=1e-3)")
    need_plain(algorithm)
    passes = _check.count("passes", passes, mend="give how often to go through the rows")
    kind = cast(Covariance, _check.choice("covariance", covariance, ("independent", "batch-means")))
    online = OnlineFit(problem_class, algorithm, _check.level(level), kind)
    if passes == 1:
        return online.update(X, y)
    if isinstance(X, Iterator):
        raise _check.bad("passes", passes, "1 where X is an iterator", "pass arrays, which can be read again")
    return online._passes(X, y, passes)

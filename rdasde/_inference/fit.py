"""`fit`: inference in one pass over a stream of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._engine.arguments import need_plain
from rdasde._inference.average import Covariance, Inference, Method
from rdasde._inference.batches import can_be_read_again
from rdasde._inference.online_fit import OnlineFit
from rdasde._inference.subject import subject, with_classes
from rdasde._losses.base import Loss
from rdasde._problems.base import Problem


def fit(
    problem_class: type[Problem] | Loss,
    X: Any,
    y: ArrayLike | None,
    algorithm: RDA,
    *,
    passes: int = 1,
    level: float = 0.95,
    covariance: Literal["independent", "batch-means"] = "independent",
    inference: Literal["plug-in", "random-scaling"] = "plug-in",
    names: Sequence[str] | None = None,
    classes: int | None = None,
) -> OnlineFit:
    r"""Estimate, and say how surely, from one pass over one stream of independent rows.

    ``v <- v - gamma grad f(w; row)``, ``w = prox(v, g(n, gamma))``, one row after the other (`batch_size` of them a
    step), from ``v = 0`` (for PCA from the first row, scaled to length 1). Along the way the outer products of rows and
    of gradients are added up: plug-in H and Sigma. Standard errors are for independent rows, each of them new, unless
    `covariance` or `inference` says otherwise; where rows are seen to depend on one another, ``average.note`` says so.

    Parameters
    ----------
    problem_class : {rs.LinearRegression, rs.LogisticRegression, rs.SoftmaxRegression, rs.OnlinePCA}, or Loss
        The class itself, or a loss of the linear predictor x'w: ``rs.PoissonLoss()``, ``rs.HuberLoss()``,
        ``rs.QuantileLoss(0.9)``, ``rs.SquaredHingeLoss()``, a ``rs.CustomLoss``, ... ``rs.SquaredLoss()`` and
        ``rs.LogisticLoss()`` give what the classes give, bit for bit. There is no intercept: add a column of ones. PCA
        is by Oja's rule, nothing is centred, and the sign is that of the run.
    X : array_like of shape (n, d), DataFrame, or what yields batches
        Independent rows, in the order of the stream; or an iterator that yields pairs ``(X, y)`` (for PCA arrays), so
        that all of them never need to be in memory: a generator, a ``torch.utils.data.DataLoader``, a list of pairs.
        Batches without rows are skipped. Dense only; columns of a DataFrame are numbers or truth values.
    y : array_like of shape (n,), Series, or None
        Responses: numbers, labels in {0, 1} or counts, as the loss has it; for `SoftmaxRegression` labels 0 to K - 1,
        each of them at least once in the first batch unless `classes` says how many there are. None for PCA and where X
        yields batches.
    algorithm : RDA
        Step size, regularizer, schedule, batch size.
    passes : int
        How often to go through X, if that can be read again. The average is then over the last pass.
    level : float
        Of the intervals.
    covariance : {"independent", "batch-means"}
        How standard errors of the average are found. ``"independent"``: rows are independent. ``"batch-means"``: they
        may depend on rows shortly before, as in a time series: from the spread of sums over 16 to 32 batches of
        consecutive rows, with the quantile of Student's t; batches are twice as long where the stream is, and memory
        is the same. Batches must be longer than what rows remember.
    inference : {"plug-in", "random-scaling"}
        ``"plug-in"``: standard errors from estimates of H and Sigma. ``"random-scaling"``: from the path of the
        estimate alone, without Sigma, also for rows that depend on rows shortly before; intervals are about a third
        wider on average, and their width varies. Not for PCA.
    names : sequence of str, optional
        Of the columns; by default those of a DataFrame, or "0", "1", ... Coordinates of several classes are called
        "1: dose", ..., "2: dose", ...
    classes : int, optional
        K, for `SoftmaxRegression`, of a stream whose first rows need not have every class; by default as many as the
        first batch has.

    Returns
    -------
    OnlineFit
        ``coef``, ``std_error (d,)`` and ``interval (d, 2)`` of the average, corrected for its ``shift`` (``raw`` is the
        average as it stands); the same of the last iterate in ``iterate``; ``support (d,)``; ``summary()``, ``plot()``,
        ``to_dataframe()``, ``conf_int(level)``, ``predict(X)``, ``update(X, y)``. ``average.note`` is empty where
        nothing speaks against the intervals.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    DivergenceError
        If the state stops being finite.

    Whatever ends the stream early, an error of its iterator, a bad batch, Ctrl-C, carries as its attribute ``partial``
    the fit of the rows before, which can be read and go on; None before the first rows.

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

    Least squares has no bias from a constant step. Other losses have one of order gamma; it is part of `shift`:
    gradients are linearized. The first rows are kept, ``max(2048, 16 d)`` of them or somewhat more, and the path
    through them is linearized where their estimating equation is solved, whenever it is read; later rows at the
    estimate that there was when the stream was at most half as long. What is then left, quadratic in the distance of
    the two, is estimated by the kept rows at the final estimate and subtracted, and intervals are as much wider as it
    is uncertain: over a tenth, and the note says so; over twice, and they are NaN, as they are for separated classes.
    For PCA the centre is scaled to length 1, and so are the standard errors: 0 along it. The check loss of
    ``rs.QuantileLoss(level)`` jumps in its derivative, and its H is the density of the residuals at 0: by Powell's
    kernel estimate, with Hall & Sheather's bandwidth for the kept rows, falling like ``n^(-1/5)`` as more come; what
    gradients are beyond that slope is taken off jump for jump.

    **Several classes.** Class k has the probability ``exp(x'w_k) / sum_j exp(x'w_j)``, ``w_0 = 0`` (one vector could be
    added to all K): coordinates are those of ``w_1, ..., w_(K-1)``, class by class, log odds against class 0, so that
    ``d = (K - 1) p`` for p columns. A threshold pulls classes towards class 0: which one that is matters to `support`,
    and to the average hardly. A row takes about ``K d^2 / 2`` multiplications.

    **Random scaling.** ``mean w - shift`` over the first rows of a stretch, times their number, is a sum of martingale
    differences: threshold, start and curvature are no part of it, so that its partial sums S_k tend to a Brownian
    motion under every threshold. ``V = 1/b sum_k (S_k - k/b S_b)^2 / b`` over the ends of b = 56 to 128 units of rows
    gives ``(coef - w*) / sqrt(V / m)`` a law without unknowns; its quantiles are computed, for that b, from a formula
    (`rdasde._inference.scaling`; 6.747 for 95 % as b grows, as published). ``std_error`` is ``sqrt(V / m)`` scaled to
    be right on average. Fewer than 8 units, and rows that come again, have no such law: NaN.

    **Noise.** Sigma is the mean square of gradients around their mean on the path, so that the way from the start to w*
    is not taken for noise: for each of the kept rows exactly, later by runs of rows. Where all rows are still kept each
    of these gradients is divided by 1 less the leverage of its row (HC3; a matrix for several classes), and quantiles
    are those of Student's t with ``m - d`` degrees of freedom (for several classes ``m - p``: each has all rows for its
    p columns). With fewer than ``4 d`` rows, or where a coefficient rests on fewer than 20 rows whose entries are
    large, the note says that standard errors are rough.

    **Independence** is tested when the average is read: the squares of sums of centred gradients over 64 to 128 runs
    of consecutive rows, whitened, against what they are for independent rows (a chi-squared law, of the right
    variance whatever the fourth moments; significant at 1e-4), and for batch means the correlation of neighbouring
    runs (normal, by Bonferroni's bound over coordinates; significant at 1e-4). Rows sorted by their response are
    found by both. For gradients without fourth moments the first has more false alarms, about three in 1000. Runs of
    32 rows that come again are recognized by their hashes (in a sample of at most 4096): such rows are counted once,
    and the note says so. Single rows that come again in another order, shuffled copies or rows drawn with replacement,
    are told from rows that are equal by chance, as discrete columns make them, by the noise: where X is equal by
    chance the response is not, and the other way round (in samples of at most 1024 different rows; false alarms below
    1e-6). They count as ``n^2 / sum m^2`` rows, m the number of copies of each, and the note says so. Where columns
    and responses are all discrete copies cannot be told from chance, and nothing is said. Passes that `passes` asks for
    are no copies.

    **Last iterate.** On its support, the linear recursion around w* from the beginning of the average on; in the long
    run its variance is ``gamma C / batch_size`` with ``H C + C H' = Sigma`` on the support. Where the start is not
    forgotten, its mean depends on w*: the error of `coef`, which has the same rows' noise in it, is part of the law.
    Its intervals take the support for given: for a weak coordinate, on it because it was drawn large, they need not
    hold at `level`; coordinates that are zero have none (NaN). After several passes they are for the minimizer over the
    rows.

    References
    ----------
    Polyak & Juditsky, SIAM J. Control Optim. 30, 1992. Chao & Cheng, arXiv 1909.10072, 2019. Chen, Lee, Tong & Zhang,
    Annals of Statistics 48, 2020 (plug-in). Schmeiser, Operations Research 30, 1982 (few, long batches). Lee, Liao, Seo
    & Shin, AAAI 2022, and arXiv 2209.14502, 2023 (random scaling; quantile regression). Powell 1991; Hall & Sheather,
    J. Royal Statistical Society B 50, 1988 (the density of residuals). MacKinnon & White, J. Econometrics 29, 1985;
    Long & Ervin, American Statistician 54, 2000 (HC3).

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rng = np.random.default_rng(0)
    >>> X = np.column_stack([np.ones(20_000), rng.standard_normal((20_000, 2))])
    >>> y = rng.poisson(np.exp(X @ [0.2, 0.5, 0.0]))
    >>> algorithm = rs.RDA(0.01, rs.L1([0.0, 1.0, 1.0]), rs.PowerLaw(c=0.5, mu=0.6))
    >>> fit = rs.fit(rs.PoissonLoss(), X, y, algorithm, names=["constant", "dose", "age"])
    >>> inside = (fit.interval[:, 0] < [0.2, 0.5, 0.0]) & ([0.2, 0.5, 0.0] < fit.interval[:, 1])
    >>> print(inside, fit.rows, fit.names)
    [ True  True  True] 20000 ['constant', 'dose', 'age']
    >>> fit.predict([[1.0, 1.0, 0.0]]).round(1)
    array([2.])
    """
    with_classes(problem_class, classes)
    _check.instance("algorithm", algorithm, RDA, "an algorithm", "pass for example rs.RDA(step_size=1e-3)")
    need_plain(algorithm)
    passes = _check.count("passes", passes, mend="give how often to go through the rows")
    online = OnlineFit(
        problem_class, algorithm, _check.level(level), _method(problem_class, covariance, inference), names, classes
    )
    if passes == 1:
        return online.update(X, y)
    if not can_be_read_again(X):
        raise _check.bad("passes", passes, "1 where X is an iterator", "pass arrays, which can be read again")
    return online._passes(X, y, passes)


def _method(kind: Any, covariance: object, inference: object) -> Method:
    of_rows = _check.choice("covariance", covariance, ("independent", "batch-means"))
    by = _check.choice("inference", inference, ("plug-in", "random-scaling"))
    if by == "random-scaling":
        mend = "leave it out: random scaling holds for rows that depend on rows shortly before, too"
        if of_rows != "independent":
            raise _check.bad("covariance", repr(of_rows), "'independent' with inference='random-scaling'", mend)
        if subject(kind).model.is_directional:
            accepted = "'plug-in' for PCA, whose average is a direction"
            raise _check.bad("inference", repr(by), accepted, "leave it out, or take covariance='batch-means'")
    return Method(cast(Covariance, of_rows), cast(Inference, by))

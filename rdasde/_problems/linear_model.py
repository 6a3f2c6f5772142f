"""Any loss of a linear predictor: on a Gaussian design with known covariance, or over the rows of a data set."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import Loss
from rdasde._problems.base import Expectations, gaussian_instability
from rdasde._problems.covariance import Covariance, as_covariance
from rdasde._problems.design_law import design_law, steepness
from rdasde._problems.design_means import add_levels, bend_of, numbers_of, pull_of, scatter_of
from rdasde._problems.linear_model_lanes import DesignParameters, design_layout
from rdasde._problems.logistic_means import factored
from rdasde._problems.loss_rows import LossRows
from rdasde._problems.rates import HessianRates
from rdasde._problems.responses import COUNTS, LABELS, NORMAL, Responses, tabled_noise

_LOSS = "pass for example rs.HuberLoss()"
_FARTHEST = 1e6  # multiple of coef beyond which there is no minimizer
_NEGLIGIBLE = 1e-12  # share of a variance that is rounding


class LinearModel(HessianRates):
    """A loss of a linear predictor with a Gaussian design: ``f(w; X, Y) = l(X'w, Y)``, ``X ~ N(0, H)``.

    The outcome Y depends on ``s* = X'coef`` alone. It follows the loss where the loss says what it is made for: labels
    of probability ``1 / (1 + e^-s*)`` for `LogisticLoss` and `SquaredHingeLoss`, counts of mean ``e^s*`` for
    `PoissonLoss`. For all others it is ``s* + noise``.

    With ``s = X'w``, by Stein's lemma, the mean gradient is ``A H w + A* H coef``, its Jacobian ``a H + B K B'``, the
    noise covariance ``tau H + B K' B'``, ``B = (H coef, H w)``: all numbers are means over (s, s*, Y), functions of
    ``w'Hw`` and ``w'H coef`` alone.

    Parameters
    ----------
    loss : Loss
        For example `HuberLoss()`, or a `CustomLoss` of your own.
    coef : array_like of shape (d,)
        What outcomes depend on. It is the minimizer where the loss follows the law of the outcomes, and where the loss
        is one of ``Y - X'w``, whatever the noise: there is no intercept, and a constant is not correlated with X. (So
        a quantile of the noise that is not 0 shifts nothing.) Otherwise the minimizer is a multiple of it, by
        symmetry; which, is found from the means.
    covariance : None, array_like of shape (d,) or (d, d), or `rdasde.AR1`
        H: identity, variances, a positive semi-definite matrix, or structured.
    noise : frozen continuous distribution of scipy.stats, optional
        Of ``Y - s*``; normal with `noise_std` when not given.
    noise_std : float
        Standard deviation of normal noise, in units of Y.

    Raises
    ------
    ValueError, TypeError
        If an argument is not what it should be, or does not go with the loss.

    Notes
    -----
    The numbers are exact to 1e-9 or better for the losses of the package (closed forms, or series fitted to them;
    noise of a SciPy distribution is integrated piece by piece between quantiles), as far as the density of the noise
    is smooth, and to about 1e-7 for a `CustomLoss` that is smooth on the scale of 1 with normal noise, 1e-5 with noise
    of another law. Noise of a SciPy distribution is drawn from a table of its quantiles, exact to 1e-9 where these are
    smooth.

    Examples
    --------
    >>> import scipy.stats
    >>> import rdasde as rs
    >>> problem = rs.LinearModel(rs.HuberLoss(), [0.5, 0.0, -0.3], rs.AR1(3, 0.5), noise=scipy.stats.t(2))
    >>> problem.minimizer
    array([ 0.5,  0. , -0.3])
    >>> algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
    >>> theory = rs.approximate(problem, algorithm, horizon=5.0, check=False)
    >>> theory.primal_mean.shape
    (201, 3)

    References
    ----------
    Stein, Annals of Statistics 9, 1981. Brillinger, "A generalized linear model with Gaussian regressor variables",
    1982 (the minimizer along coef).
    """

    def __init__(
        self,
        loss: Loss,
        coef: ArrayLike,
        covariance: ArrayLike | Covariance | None = None,
        noise: Any = None,
        noise_std: float = 1.0,
    ) -> None:
        _check.instance("loss", loss, Loss, "a loss of a linear predictor", _LOSS)
        self.loss = loss
        coef = _check.array("coef", coef, (None,), mend="give one number for each coordinate")
        self.coef, self.dimension = _check.sealed(coef), len(coef)
        self.covariance = as_covariance(covariance, self.dimension)
        self.noise_std = _check.number("noise_std", noise_std, least=0.0, mend="give for example noise_std=1.0")
        _check_noise(loss, noise, self.noise_std)
        self.noise = noise
        self._star = self.covariance.multiply(coef)
        self._variance = max(float(coef @ self._star), 0.0)
        self.is_quadratic = loss.is_quadratic
        # at the minimizer residuals are the noise: an edge of its density at a kink of the loss bends the Hessian
        bent = loss.is_bent or not loss.is_smooth
        self.has_kinks = bent and noise is not None and bool(np.isfinite(noise.support()).any())
        if loss.response != "real":
            responses = Responses(LABELS if loss.response == "label" else COUNTS)
        else:
            responses = Responses(NORMAL, self.noise_std) if noise is None else tabled_noise(noise)
        self._law = design_law(loss, self._variance, noise, self.noise_std)
        self.parameters: NamedTuple = DesignParameters(
            coef, self._star, self._variance, self.covariance.parameters, loss.parameters, responses, self._law
        )
        self.scratch = design_layout(self.dimension)

    @staticmethod
    @_check.of_rows
    def from_data(loss: Loss, X: ArrayLike, y: ArrayLike, *, replacement: bool = True) -> RowModel:
        """A loss of a linear predictor on a finite population: rows of ``(X, y)`` drawn uniformly with replacement.

        ``G = X'l'/n``, ``H = X'diag(l'')X/n``, ``Sigma(w) = X'diag(l'^2)X/n - GG'``, derivatives at ``Xw``. There is
        no intercept: add a column of ones for one. The attribute `minimizer`, found when first asked for, is by
        Newton's method, or by linear programming for `QuantileLoss` without a bandwidth; None where there is none, for
        example for classes that can be separated.

        Parameters
        ----------
        loss : Loss
        X : array_like of shape (n, d)
        y : array_like of shape (n,)
            What the loss is made for: numbers, labels 0 and 1, or counts.
        replacement : bool
            Whether rows are drawn with replacement; False: epoch by epoch, each row once, in a new random order, in
            `simulate` alone (a mini-batch is the next rows of the epoch). Takes 4 bytes for each row and run at work.

        Raises
        ------
        ValueError, TypeError
            If an array is not finite, the shapes do not match, or a response is not one that the loss is made for.

        Notes
        -----
        In the closure, ``x_i'W`` is taken as normal row by row, and the means of the loss over it are exact for the
        losses of the package (a rule of 24 nodes for the logistic loss and for one of your own). That holds for the
        exact check loss too, whose mean gradient jumps; its `hessian` is 0, and the rates that decide about time steps
        come from a kernel estimate of the density of the residuals.

        Examples
        --------
        >>> import numpy as np
        >>> import rdasde as rs
        >>> X = np.random.default_rng(0).standard_normal((500, 3))
        >>> problem = rs.LinearModel.from_data(rs.QuantileLoss(0.9, bandwidth=0.2), X, X @ [1.0, 0.0, -1.0])
        >>> problem.minimizer.round(2) + 0.0
        array([ 0.97,  0.02, -1.  ])
        """
        _check.instance("loss", loss, Loss, "a loss of a linear predictor", _LOSS)
        return RowModel(loss, X, y, replacement)

    @functools.cached_property
    def minimizer(self) -> Floats | None:  # type: ignore[override]
        """A multiple of coef, where the mean gradient vanishes; found when first asked for."""
        if self.loss.is_shift or self.loss.is_likelihood or self._variance == 0.0:
            return self.coef.copy()
        import scipy.optimize

        def along(multiple: float) -> float:
            own, star = pull_of(self._law, multiple**2 * self._variance, multiple * self._variance, self._variance)
            return own * multiple + star

        low, high = 0.0, 1.0
        if along(low) > 0.0:
            low, high = -1.0, 0.0
        while abs(low) + abs(high) < _FARTHEST and not along(low) <= 0.0 <= along(high):
            low, high = 2.0 * low, 2.0 * high
        if not along(low) <= 0.0 <= along(high):
            return None
        multiple = scipy.optimize.brentq(along, low, high, xtol=1e-16, rtol=1e-15)
        return np.asarray(multiple * self.coef)

    def _numbers(self, w: Floats) -> tuple[Floats, float, float]:
        """``H w``, ``w'H w``, ``w'H coef``."""
        image = self.covariance.multiply(w[:, None])[:, 0]
        return image, max(float(w @ image), 0.0), float(w @ self._star)

    def mean_gradient(self, w: ArrayLike) -> Floats:
        image, q, c = self._numbers(self._point(w))
        own, other = pull_of(self._law, q, c, self._variance)
        return own * image + other * self._star

    def hessian(self, w: ArrayLike) -> Floats:
        image, q, c = self._numbers(self._point(w))
        return self._matrix(bend_of(self._law, q, c, self._variance), image)

    def noise_covariance(self, w: ArrayLike) -> Floats:
        image, q, c = self._numbers(self._point(w))
        return self._matrix(scatter_of(self._law, q, c, self._variance), image)

    def _matrix(self, numbers: tuple[float, float, float, float], image: Floats) -> Floats:
        """``level H + B K B'``."""
        level, k_star, k_cross, k_own = numbers
        both = np.column_stack([self._star, image])
        return level * self.covariance.matrix + both @ np.array([[k_star, k_cross], [k_cross, k_own]]) @ both.T

    def noise_factor(self, w: Floats) -> Floats:
        image, q, c = self._numbers(w)
        inner, inner_star = w @ self.covariance.factor, self.coef @ self.covariance.factor
        moments = scatter_of(self._law, q, c, self._variance)
        level, f_star, f_own = factored(moments, q, c, self._variance, inner, inner_star)
        return level * self.covariance.factor + np.outer(self._star, f_star) + np.outer(image, f_own)

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """The closed forms, averaged over W to first order in its covariance.

        What the numbers depend on moves with the part of W along ``H m`` and ``H coef``: four points that have the
        covariance of this part. The rest of W has no part in ``w'H coef``, and its own mean in ``w'H w``.
        """
        image = self.covariance.multiply(mean[:, None])[:, 0]
        along = np.column_stack([image, self._star])
        values, vectors = np.linalg.eigh(along.T @ covariance @ along)
        seen = values > _NEGLIGIBLE * max(float(values[-1]), 0.0)
        moves = np.sqrt(np.count_nonzero(seen) / values[seen]) * (covariance @ along @ vectors[:, seen])
        points = mean + np.vstack([moves.T, -moves.T]) if moves.size else mean[None]
        shifted = points - mean
        rest = covariance - shifted.T @ shifted / len(points)
        cross = np.ascontiguousarray(self.covariance.multiply(rest).T)
        variance = max(float(np.trace(cross)), 0.0)
        images = self.covariance.multiply(np.ascontiguousarray(points.T))
        q = np.maximum(np.einsum("kj,jk->k", points, images) + variance, 0.0)
        numbers = np.empty((len(points), 10))
        numbers_of(self._law, q, points @ self._star, self._variance, numbers)
        numbers /= len(points)
        gradient = images @ numbers[:, 0] + numbers[:, 1].sum() * self._star
        matrices = numbers[:, 2:].reshape(-1, 2, 4)  # (point, Hessian or noise, level and K)
        totals, middles = matrices[:, :, [0, 3]].sum(axis=0), np.zeros((2, 2 * len(points), 2 * len(points)))
        for k, both in enumerate(matrices):
            middles[:, 2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = both[:, [1, 2, 2, 3]].reshape(2, 2, 2)
        low = np.empty((self.dimension, 2 * len(points)))
        low[:, ::2], low[:, 1::2] = self._star[:, None], images
        turned = self.covariance.multiply(cross)  # H rest H
        hessian, noise = (low @ middle @ low.T for middle in middles)
        add_levels(self.covariance.matrix, turned, totals, (hessian, noise))
        # E H without what is of the order of Cov W; ``Cov(W) H`` from that of both parts of W
        cross += shifted.T @ (images - image[:, None]).T / len(points)
        cross *= totals[0, 0]
        cross += (covariance @ low) @ middles[0] @ low.T
        return Expectations.formed(gradient, hessian, noise, cross=cross)

    def instability(self, step_size: float, batch_size: int) -> str | None:
        """That of linear regression with H times a bound of l'', or ``E l''^2 / E l''`` where there is none."""
        if not self.loss.is_smooth:  # gradients are bounded by ||X||: nothing grows
            return None
        steep = steepness(self.loss, self._variance, self.noise, self.noise_std)
        eigenvalue = "eigenvalue" if steep == 1.0 else f"eigenvalue * {steep:.3g}"
        return gaussian_instability(step_size * steep * self.covariance.eigenvalues(), batch_size, eigenvalue)

    def __repr__(self) -> str:
        noise = ""
        if self.loss.response == "real":
            noise = f", noise_std={self.noise_std:g}" if self.noise is None else f", noise={_named(self.noise)}"
        return f"LinearModel({self.loss!r}, <coef, d={self.dimension}>, covariance={self.covariance!r}{noise})"


class RowModel(LossRows, LinearModel):
    """`LinearModel.from_data`."""

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"LinearModel.from_data({self.loss!r}, <n={n}, d={d}>{self._drawing})"


def _named(noise: Any) -> str:
    """A frozen distribution as it was written."""
    arguments = [f"{value:g}" for value in noise.args] + [f"{name}={value:g}" for name, value in noise.kwds.items()]
    return f"{noise.dist.name}({', '.join(arguments)})"


def _check_noise(loss: Loss, noise: Any, noise_std: float) -> None:
    """Noise must go with the loss."""
    if noise is None:
        if loss.is_shift and not loss.is_smooth and noise_std == 0.0:
            raise _check.bad(
                "noise_std", "0.0", f"> 0 for {loss!r}, whose slope jumps", "give noise, or the loss a bandwidth"
            )
        return
    import scipy.stats

    frozen = scipy.stats.distributions.rv_frozen
    if not isinstance(noise, frozen) or not isinstance(noise.dist, scipy.stats.rv_continuous):
        accepted = "a frozen continuous distribution of scipy.stats"
        raise _check.wrong_kind("noise", noise, accepted, "pass for example scipy.stats.t(3)")
    if loss.response != "real":
        kind = "labels" if loss.response == "label" else "counts"
        raise _check.bad("noise", _named(noise), f"None for {loss!r}, whose outcomes are {kind}", "leave it out")
    if noise_std != 1.0:
        raise _check.bad(
            "noise_std", noise_std, "left out where noise is given", "scale the noise, for example t(3, scale=2)"
        )
    if loss.is_quadratic and not np.isfinite(noise.std()):
        raise _check.bad(
            "noise", f"{_named(noise)}, of infinite variance", "of finite variance for SquaredLoss()", "use HuberLoss"
        )

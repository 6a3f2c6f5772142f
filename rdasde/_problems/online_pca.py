"""Online principal component analysis by the rules of Oja and Krasulina: Gaussian data, or the rows of a data set.

Both follow the leading eigenvector of ``A = E ZZ'``, and differ in how they hold the norm. With ``y = Z'w``,
``q = w'Aw`` and ``N = 1`` (Oja) or ``N = ||w||^2`` (Krasulina), ``r = q / N``: one set of formulas.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde import _check, _frames
from rdasde._check import Floats
from rdasde._problems.base import Expectations, Problem
from rdasde._problems.covariance import Covariance, Dense, as_covariance
from rdasde._problems.online_pca_lanes import SQRT2, GaussianParameters, RowParameters, gaussian_layout
from rdasde._problems.online_pca_means import Matrices, Rate, Vectors, hessian_means, noise_means
from rdasde._problems.row_terms import OjaModel, RowModel
from rdasde._problems.rows import RowNoise, row_layout
from rdasde._problems.spiked import Spiked

_SIMPLE = 1e-10  # relative gap below which the leading eigenvalue counts as multiple
_VARIANTS = ("oja", "krasulina")


class OnlinePCA(Problem):
    """Online PCA of ``Z ~ N(0, A)`` by a stochastic rule that follows the leading eigenvector.

    With ``y = Z'w``, ``q = w'Aw``, ``N = 1`` for Oja's rule and ``||w||^2`` for Krasulina's, ``r = q / N``:

    * gradient ``-(Z y - w y^2 / N)``, mean gradient ``-(Aw - r w)``;
    * its Jacobian ``-(A - r I - w s')``, ``s = 2 Aw`` (Oja) or ``(2 / N)(Aw - r w)`` (Krasulina); not symmetric;
    * noise covariance ``q A + Aww'A - 2 r (Aww' + ww'A) + 2 r^2 ww'``, in factored form
      ``sqrt(q) (L xi - Aw (w'L xi) / q) + sqrt(2) (Aw - r w) eta`` with ``L L' = A``.

    ``w = 0`` is absorbing: the gradient, mean and noise, is 0 there (Krasulina's mean gradient is not differentiable
    at 0; -A is returned for its Jacobian). So a threshold that no coordinate passes ends a run for good.

    From near a saddle runs end at either sign of the leading eigenvector: a band over all of them spans both. Look at
    the runs that end at one sign.

    Parameters
    ----------
    covariance : array_like of shape (d,) or (d, d), or `rdasde.AR1`
        A: variances, a positive semi-definite matrix, or structured.
    variant : {"oja", "krasulina"}
        Oja's rule brings the norm to 1; the flow of Krasulina's keeps the norm of the start, and its iterates
        gain ``step_size^2 ||grad f||^2`` a step: look at ``w / ||w||`` there.

    Attributes
    ----------
    minimizer : ndarray of shape (d,) or None
        The leading unit eigenvector, its entry of largest magnitude positive (the opposite one is as good; for
        Krasulina's rule so is any multiple); None where the leading eigenvalue is not simple.

    Raises
    ------
    ValueError, TypeError
        If the covariance is missing, not finite, of the wrong shape, asymmetric or indefinite, or the variant is
        unknown.

    Notes
    -----
    `instability` follows the squared norm, what runs away when the step is too long, along the leading eigenvector
    v (eigenvalue l), where ``s = Z'v``, ``K = E s^4``, ``F = E s^2 ||Z||^2`` (Gaussian: ``3 l^2``,
    ``l tr A + 2 l^2``). With ``a = step_size (l^2 + (K - l^2) / b)``, b the batch size, one step of Oja's rule from
    ``w = sqrt(N) v`` changes ``E ||w||^2`` by ``step_size N`` times
    ``a N^2 - 2 (l + a) N + 2 l + a + step_size (F - K) / b``. This has no zero, so that the squared norm grows
    wherever it is, iff ``a step_size (F - K) / b > l^2``; and around norm 1 the linearized norm is stable in
    mean square iff ``a < l``. For Krasulina's rule the norm decouples from the direction and always grows, by the
    factor ``1 + step_size^2 (F - K) / b`` on average there: the bound is a doubling in one step.

    Examples
    --------
    >>> import numpy as np
    >>> import rdasde as rs
    >>> rs.OnlinePCA([1.0, 3.0, 1.0]).minimizer
    array([0., 1., 0.])
    >>> rs.OnlinePCA.spiked([2.0], [[0.0, 0.6, 0.8]]).minimizer.round(2) + 0.0
    array([0. , 0.6, 0.8])
    >>> Z = np.random.default_rng(0).standard_normal((500, 3)) * [1.0, 3.0, 1.0]
    >>> rs.OnlinePCA.from_data(Z).minimizer.round(1) + 0.0
    array([0., 1., 0.])
    """

    is_even = True
    row_model = RowModel(OjaModel(0.0), lambda second: OnlinePCA(second), has_response=False, is_directional=True)

    def __init__(self, covariance: ArrayLike | Covariance, variant: Literal["oja", "krasulina"] = "oja") -> None:
        self.variant = _check.choice("variant", variant, _VARIANTS)
        self.covariance = _as_covariance(covariance)
        self.dimension = self.covariance.dimension
        self.parameters: NamedTuple = GaussianParameters(self.covariance.parameters, variant == "krasulina")
        self.scratch = gaussian_layout(self.dimension)

    @staticmethod
    def spiked(spikes: ArrayLike, directions: ArrayLike, variant: Literal["oja", "krasulina"] = "oja") -> OnlinePCA:
        """Online PCA with ``A = I + sum_k spikes_k u_k u_k'``, in O(d k).

        Parameters
        ----------
        spikes : array_like of shape (k,)
            Excess variances, > 0.
        directions : array_like of shape (k, d)
            Orthonormal rows u_k.
        variant : {"oja", "krasulina"}

        Raises
        ------
        ValueError, TypeError
            If a spike is not > 0, or the rows are not orthonormal to 1e-8.
        """
        return OnlinePCA(Spiked(spikes, directions), variant)

    @staticmethod
    @_check.of_rows
    def from_data(Z: ArrayLike, variant: Literal["oja", "krasulina"] = "oja", *, replacement: bool = True) -> OnlinePCA:
        """Online PCA of a finite population: rows of `Z` drawn uniformly with replacement.

        ``A = Z'Z/n``, and the noise covariance is that of the gradients ``-(z_i y_i - w y_i^2 / N)`` over the rows.
        Nothing is centered: subtract ``Z.mean(axis=0)`` first if the components of the covariance are wanted.

        Parameters
        ----------
        Z : array_like of shape (n, d)
        variant : {"oja", "krasulina"}
        replacement : bool
            Whether rows are drawn with replacement; False: epoch by epoch, each row once, in a new random order, in
            `simulate` alone (a mini-batch is the next rows of the epoch). Takes 4 bytes for each row and run at work.

        Raises
        ------
        ValueError, TypeError
            If `Z` is not finite or not two-dimensional.
        """
        return _RowPCA(Z, variant, replacement)

    def _rates(self, w: Floats) -> tuple[Floats, float, float, float]:
        """``Aw``, q, r and N."""
        image = self.covariance.multiply(w)
        q = max(float(w @ image), 0.0)
        norm = float(w @ w) if self.variant == "krasulina" else 1.0
        return image, q, q / norm if norm > 0.0 else 0.0, norm

    def mean_gradient(self, w: ArrayLike) -> Floats:
        w = self._point(w)
        image, _, r, _ = self._rates(w)
        return r * w - image

    def hessian(self, w: ArrayLike) -> Floats:
        w = self._point(w)
        image, _, r, norm = self._rates(w)
        slope = 2.0 * image
        if self.variant == "krasulina":
            slope = (slope - 2.0 * r * w) / norm if norm > 0.0 else np.zeros_like(w)
        return r * np.eye(self.dimension) + np.outer(w, slope) - self.covariance.matrix

    def noise_covariance(self, w: ArrayLike) -> Floats:
        w = self._point(w)
        image, q, r, _ = self._rates(w)
        cross = np.outer(image, w)
        return (
            q * self.covariance.matrix
            + np.outer(image, image)
            - 2.0 * r * (cross + cross.T)
            + 2.0 * r**2 * np.outer(w, w)
        )

    def noise_factor(self, w: Floats) -> Floats:
        image, q, r, _ = self._rates(w)
        factor = np.sqrt(q) * self.covariance.factor
        if q > 0.0:
            factor -= np.outer(image, w @ self.covariance.factor) / np.sqrt(q)
        return np.column_stack([factor, SQRT2 * (image - r * w)])

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        """As if W were Gaussian: exact for Oja's mean gradient and Hessian, leading terms in Cov W for the rest.

        With ``r = E q / E N``, s the derivative of q / N at the mean and ``c = Cov(W) s``:
        ``E G = r m + c - A m``, ``E H = r I + m s' + Cov(W) ds - A``, and in Sigma ``E r ww' = r M + m c' + c m'``,
        ``E r^2 ww' = r^2 M + 2 r (m c' + c m') + (s'c) mm'``, ``M = E WW'``.
        """
        image, spread = self.covariance.multiply(mean[:, None])[:, 0], self.covariance.multiply(covariance)
        rate = self._expected_rate(mean, covariance, image, float(np.trace(spread)))
        along = covariance @ rate.slope
        # scale (A - r I) or, for Oja's rule, scale A is the second derivative of q / N, but for smaller terms
        shift = rate.scale * rate.value if self.variant == "krasulina" else 0.0
        vectors = Vectors(mean, along, image, self.covariance.multiply(along[:, None])[:, 0])
        matrices = Matrices(self.covariance.matrix, covariance, spread, np.ascontiguousarray(spread.T))
        hessian, cross = np.empty_like(covariance), np.empty_like(covariance)
        hessian_means(rate, shift, vectors, matrices, hessian, cross)
        noise = self._expected_noise(rate, vectors, matrices)
        return Expectations.formed(rate.value * mean + along - image, hessian, noise, cross=cross)

    def _expected_rate(self, mean: Floats, covariance: Floats, image: Floats, spread: float) -> Rate:
        q = float(mean @ image) + spread
        if self.variant == "oja":
            return Rate(q, 2.0 * image, 2.0, 1.0)
        norm = float(mean @ mean) + float(np.trace(covariance))
        r = q / norm if norm > 0.0 else 0.0
        scale = 2.0 / norm if norm > 0.0 else 0.0
        return Rate(r, scale * (image - r * mean), scale, norm)

    def _expected_noise(self, rate: Rate, vectors: Vectors, matrices: Matrices) -> Floats:
        """E Sigma."""
        noise, turned = np.empty_like(matrices.spread), self.covariance.multiply(matrices.back)
        trace = float(vectors.mean @ vectors.image) + float(np.trace(matrices.spread))
        noise_means(rate, vectors, trace, matrices, turned, noise)
        return noise

    def default_start(self) -> Floats:
        raise _check.bad(
            "start",
            "None",
            f"an array of shape ({self.dimension},) other than zero, a fixed point of online PCA",
            "pass start=, for example a random unit vector",
        )

    def _leading(self) -> Floats:
        """A leading unit eigenvector, its entry of largest magnitude positive."""
        vector = self.covariance.leading()
        return vector * np.copysign(1.0, vector[np.argmax(np.abs(vector))])

    @functools.cached_property
    def minimizer(self) -> Floats | None:  # type: ignore[override]
        """The leading eigenvector, None where its eigenvalue is not simple."""
        values = self.covariance.eigenvalues()
        second = values[-2] if len(values) > 1 else 0.0
        return self._leading() if values[-1] - second > _SIMPLE * values[-1] else None

    def flow(self, start: Floats, times: Floats) -> Floats:
        """``e^{At} w_0 / sqrt(1 + w_0'(e^{2At} - I) w_0)``, or ``||w_0|| e^{At} w_0 / ||e^{At} w_0||`` (Krasulina).

        Mode by mode in the eigenbasis, all exponents less the largest: no overflow at any time.
        """
        norm = float(np.linalg.norm(start))
        if norm == 0.0:
            return np.zeros((len(times), self.dimension))
        along = self.covariance.modes(start)
        values, components = along.values, along.components
        growth = np.outer(times, values)
        with np.errstate(divide="ignore"):
            exponents = growth + np.log(np.abs(components))
        largest = exponents.max(axis=1, keepdims=True)
        if self.variant == "krasulina":
            modes = np.exp(exponents - largest)
            modes *= norm / np.linalg.norm(modes, axis=1, keepdims=True)
        else:
            # 1 + sum_i c_i^2 (e^(2 l_i t) - 1): no term is negative
            largest = np.maximum(largest, 0.0)
            modes = np.exp(exponents - largest)
            gained = -np.sum(modes**2 * np.expm1(-2.0 * growth), axis=1, keepdims=True)
            modes /= np.sqrt(np.exp(-2.0 * largest) + gained)
        modes *= np.sign(components)
        return along.together(modes)

    def fastest_rate(self) -> float:
        """``2 l_1``, at the minimizer Oja's rate along w; all others, and Krasulina's, are at most ``l_1 - l_d``."""
        return 2.0 * self.covariance.largest

    def typical_rate(self) -> float:
        """``l_1``: noise drives no mode that relaxes faster than ``l_1 - l_d``."""
        return self.covariance.largest

    def trace(self) -> float:
        """``tr A = E ||Z||^2``, what a step is to be short against."""
        return self.covariance.trace

    def _fourth_moments(self) -> tuple[float, float]:
        """``E s^4`` and ``E s^2 ||Z||^2``, s the score on the leading eigenvector."""
        leading = self.covariance.largest
        return 3.0 * leading**2, leading * (self.covariance.trace + 2.0 * leading)

    def instability(self, step_size: float, batch_size: int) -> str | None:
        leading = self.covariance.largest
        if leading == 0.0:
            return None
        fourth, across = self._fourth_moments()
        gain = step_size * (across - fourth) / (batch_size * leading)
        if self.variant == "krasulina":
            factor = 1.0 + step_size * gain * leading
            return f"the squared norm grows by the factor {factor:.3g} a step, not below 2" if factor >= 2.0 else None
        brake = step_size * (leading + (fourth / leading - leading) / batch_size)
        if brake >= 1.0:
            return f"step_size * leading eigenvalue * (1 + (kurtosis - 1) / batch_size) is {brake:.3g}, not below 1"
        if brake * gain >= 1.0:
            return f"the squared norm has no balance: {brake * gain:.3g}, not below 1, in the notes of OnlinePCA"
        return None

    def __repr__(self) -> str:
        return f"OnlinePCA({self.covariance!r}, variant={self.variant!r})"


class _RowPCA(RowNoise, OnlinePCA):
    """`OnlinePCA.from_data`."""

    def __init__(self, Z: ArrayLike, variant: Literal["oja", "krasulina"], replacement: bool = True) -> None:
        self.variant = _check.choice("variant", variant, _VARIANTS)
        self.rows = _check.design("Z", _frames.plain("Z", Z))
        n, d = self.rows.shape
        self.dimension = d
        self.covariance = Dense(self.rows.T @ self.rows / n)
        self.parameters = RowParameters(self.rows, self.covariance.dense(), variant == "krasulina")
        self.scratch = row_layout(d)
        self._draw(replacement)

    def row_gradients(self, w: Floats) -> Floats:
        y = self.rows @ w
        norm = self._rates(w)[3]
        return np.outer(y**2 / norm if norm > 0.0 else np.zeros_like(y), w) - self.rows * y[:, None]

    def expectations(self, mean: Floats, covariance: Floats) -> Expectations:
        raw = super().expectations(mean, covariance)  # its noise is E ff'
        noise = raw.noise - np.outer(raw.gradient, raw.gradient)
        # less Cov G(W), to first order
        return raw._replace(noise=noise, share=-1.0)

    def _expected_noise(self, rate: Rate, vectors: Vectors, matrices: Matrices) -> Floats:
        # given a row z, y = z'W is normal with mean a and variance t^2, and Cov(W, y) = Cov(W) z
        mean, covariance, n = vectors.mean, matrices.covariance, len(self.rows)
        a = self.rows @ mean
        variance = np.einsum("ij,ij->i", self.rows @ covariance, self.rows)
        norm = rate.norm
        second = a**2 + variance
        cubes = self.rows.T @ (a**3 + 3.0 * a * variance) / n
        fourth = float(np.mean(a**4 + 6.0 * a**2 * variance + 3.0 * variance**2))
        weighted = (self.rows.T * second) @ self.rows / n
        cross = np.outer(cubes, mean) + 3.0 * weighted @ covariance
        mixed = np.outer(mean, covariance @ cubes)
        last = fourth * (np.outer(mean, mean) + covariance) + 4.0 * (mixed + mixed.T)
        last += 12.0 * covariance @ weighted @ covariance
        return weighted - (cross + cross.T) / norm + last / norm**2

    def _fourth_moments(self) -> tuple[float, float]:
        squares = (self.rows @ self._leading()) ** 2
        return float(np.mean(squares**2)), float(np.mean(squares * np.sum(self.rows**2, axis=1)))

    def __repr__(self) -> str:
        n, d = self.rows.shape
        return f"OnlinePCA.from_data(<n={n}, d={d}>, variant={self.variant!r}{self._drawing})"


def _as_covariance(value: ArrayLike | Covariance) -> Covariance:
    """`as_covariance`, the dimension read off the value; the identity has no leading direction."""
    if isinstance(value, Covariance):
        return value
    mend = "pass variances (d,), a matrix (d, d), or rs.AR1(d, rho)"
    if value is None:
        raise _check.wrong_kind("covariance", value, "variances or a matrix", mend)
    matrix = _check.array("covariance", value, (None,) * (2 if _check.axes_of(value) != 1 else 1), mend=mend)
    if matrix.ndim == 1 and matrix.min() < 0.0:
        raise _check.bad("covariance", f"{matrix.min():g} somewhere", "variances >= 0", mend)
    if matrix.ndim == 2 and len(matrix) != matrix.shape[1]:
        raise _check.bad("covariance", f"an array of shape {matrix.shape}", "square", mend)
    return as_covariance(matrix, len(matrix))

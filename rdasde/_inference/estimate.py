"""An estimate with what is known of its law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdasde._check import Floats
from rdasde._inference import scaling


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
        Why something is not known, or cannot be trusted; empty if all is well.
    freedom : float
        The interval's quantile is that of Student's t with so many degrees of freedom; infinite for the normal one.
    units : float
        Where the interval is that of random scaling, over how many units of rows; 0 for any other. ``std_error`` is
        then scaled to be right on average (of its square), and quantiles are those of the law of ``coef / std_error``.
    """

    raw: Floats
    shift: Floats
    std_error: Floats
    level: float
    note: str = ""
    freedom: float = np.inf
    units: float = 0.0

    @property
    def is_known(self) -> bool:
        return bool(np.all(np.isfinite(self.std_error)))

    @property
    def coef(self) -> Floats:
        return np.where(np.isnan(self.shift), self.raw, self.raw - self.shift)

    @property
    def interval(self) -> Floats:
        """The confidence interval of each coordinate, (d, 2)."""
        return self.conf_int(self.level)

    def conf_int(self, level: float) -> Floats:
        """The confidence interval of each coordinate at this level, (d, 2)."""
        half = self._quantile(level) * self.std_error
        return np.column_stack([self.coef - half, self.coef + half])

    @property
    def z(self) -> Floats:
        """``coef / std_error``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.coef / self.std_error

    @property
    def p_value(self) -> Floats:
        """How likely so large a `z` is, in size, where the coefficient is zero."""
        from scipy.special import ndtr, stdtr

        size = np.abs(self.z)
        if self.units > 0.0:
            unit = np.sqrt(scaling.mean(self.units))
            return np.array([np.nan if np.isnan(x) else scaling.tail(x / unit, self.units) for x in size])
        return np.asarray(2.0 * (stdtr(self.freedom, -size) if np.isfinite(self.freedom) else ndtr(-size)))

    def _quantile(self, level: float) -> float:
        from scipy.special import ndtri, stdtrit

        if self.units > 0.0:
            return scaling.quantile(level, self.units) * float(np.sqrt(scaling.mean(self.units)))
        edge = 0.5 + 0.5 * level
        return float(stdtrit(self.freedom, edge) if np.isfinite(self.freedom) else ndtri(edge))

"""An estimate with what is known of its law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rdasde._check import Floats


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
    """

    raw: Floats
    shift: Floats
    std_error: Floats
    level: float
    note: str = ""
    freedom: float = np.inf

    @property
    def coef(self) -> Floats:
        return np.where(np.isnan(self.shift), self.raw, self.raw - self.shift)

    @property
    def interval(self) -> Floats:
        """The confidence interval of each coordinate, (d, 2)."""
        from scipy.special import ndtri, stdtrit

        edge = 0.5 + 0.5 * self.level
        half = float(stdtrit(self.freedom, edge) if np.isfinite(self.freedom) else ndtri(edge)) * self.std_error
        return np.column_stack([self.coef - half, self.coef + half])

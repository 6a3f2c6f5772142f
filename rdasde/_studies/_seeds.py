"""What several seeds say together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """A mean over seeds, with half the width of its 95 % t-interval."""

    mean: float
    half: float

    def show(self, digits: int) -> str:
        """With so many digits after the point."""
        return f"{self.mean:+.{digits}f} ± {self.half:.{digits}f}"

    def __str__(self) -> str:
        return self.show(2)


def interval(values: NDArray[np.float64]) -> Interval:
    """Of the mean of some values, one for each seed."""
    from scipy import stats

    n = values.size
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(float(values.mean()), half)

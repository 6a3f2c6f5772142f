"""The minimizer of the logistic loss over the rows of a data set."""

from __future__ import annotations

import numpy as np

from rdasde._check import Floats


def maximum_likelihood(rows: Floats, labels: Floats) -> Floats | None:
    """The minimizer of shortest length by Newton's method, None where there is none.

    Where the classes can be separated, even if not strictly, the loss has no minimum: Newton's steps then go on
    changing some ``x_i'w`` by about 1 for ever. Where there is a minimum they shrink quadratically.
    """
    from scipy.special import expit

    left, size, right = np.linalg.svd(rows, full_matrices=False)
    rank = int(np.count_nonzero(size > 1e-12 * size[0])) if size[0] > 0.0 else 0
    basis = left[:, :rank] * np.sqrt(len(rows))

    def loss(margins: Floats) -> float:
        return float(np.sum(np.logaddexp(0.0, margins) - labels * margins))

    margins = np.zeros(len(rows))
    for _ in range(60):
        p = expit(margins)
        curvature = (basis.T * (p * (1.0 - p))) @ basis
        try:
            step = basis @ np.linalg.solve(curvature, basis.T @ (labels - p))
        except np.linalg.LinAlgError:
            return None
        if not np.all(np.isfinite(step)):
            return None
        if np.abs(step).max() <= 1e-9 * (1.0 + np.abs(margins).max()):
            scaled = left[:, :rank].T @ (margins + step) / size[:rank]
            return np.asarray(scaled @ right[:rank])
        before = loss(margins)
        while loss(margins + step) > before * (1.0 + 1e-12) and np.abs(step).max() > 1e-9:
            step = 0.5 * step
        margins = margins + step
    return None

"""Lanczos' method in little memory: restarted from its best vectors whenever its basis is full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rdasde._check import Floats

from ._hessian import Eigenspace

_PIECE = 2**20  # columns at a time


def restarted_lanczos(
    multiply: Callable[[Tensor], Tensor],
    start: Tensor,
    k: int,
    *,
    room: int,
    products: int,
    tolerance: float,
    after_product: Callable[[int], None] | None = None,
) -> Eigenspace:
    """The k algebraically largest eigenpairs of a symmetric matrix, with at most `room` vectors in memory.

    Thick restarts (Wu & Simon, SIAM J. Matrix Anal. Appl. 22, 2000): a full basis is replaced by its leading Ritz
    vectors and the residual, so that nothing is lost of what was found. The basis is orthogonalized twice against all
    of itself. Stops when all k residuals are below `tolerance` times the largest eigenvalue in absolute value, or after
    that many products.

    Parameters
    ----------
    multiply : callable
        From a vector (d,) to a vector (d,), both as `start` is.
    start : Tensor of shape (d,)
        The first direction, of any length but 0.
    k, room : int
        Eigenpairs wanted; vectors held, at least ``k + 2``, or the dimension.
    products : int
        At most this many, at least k.
    tolerance : float
        On the residuals ``||H u - value u||``.
    after_product : callable, optional
        Called with the number of products done.

    Returns
    -------
    Eigenspace
        Values, vectors and residuals; fewer than k of them where the directions met span an invariant space.
    """
    dimension = len(start)
    room = min(room, dimension)
    kept = k + (room - k) // 2  # of a full basis: more than k, so that what comes next is not found anew
    basis = start.new_zeros(room, dimension)
    basis[0] = start / start.norm()
    small = np.zeros((room, room))  # the matrix in the basis
    size, done = 0, 0
    while True:
        image = multiply(basis[size])
        done += 1
        if after_product is not None:
            after_product(done)
        size += 1
        column = basis[:size] @ image
        image = image - basis[:size].T @ column
        again = basis[:size] @ image
        image = image - basis[:size].T @ again
        small[:size, size - 1] = small[size - 1, :size] = (column + again).double().cpu().numpy()
        rest = float(image.norm())
        values, columns = np.linalg.eigh(small[:size, :size])
        largest = float(np.abs(values).max())
        residuals = rest * np.abs(columns[-1])
        closed = rest <= 100.0 * torch.finfo(start.dtype).eps * largest
        settled = size >= k and bool(np.all(residuals[-k:] <= tolerance * largest))
        if settled or size == dimension or closed or (done >= products and size >= k):
            chosen = _like(columns[:, : -k - 1 : -1].T, start)
            found = (values[: -k - 1 : -1], residuals[: -k - 1 : -1])
            return Eigenspace(_like(found[0], start), chosen @ basis[:size], _like(found[1], start))
        if size == room:
            leading = columns[:, -kept:]
            turned = _like(leading.T, start)
            for piece in basis.split(_PIECE, dim=1):  # in place
                piece[:kept] = turned @ piece
            small[:] = 0.0
            small[range(kept), range(kept)] = values[-kept:]
            size = kept
        basis[size] = image / rest


def _like(array: Floats, tensor: Tensor) -> Tensor:
    # a copy: a single entry passes for contiguous whatever its stride, and PyTorch takes no negative one
    return torch.from_numpy(array.copy()).to(tensor)

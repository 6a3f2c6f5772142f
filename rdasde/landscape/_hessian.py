"""The Hessian of a loss through its products with vectors: its top eigenspace, and what lies outside, the flat part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._errors import note_partial
from rdasde._network import Data, Loss, Network, batches, count_weights, flatten, loss_of, plain_attention

from ._given import checked_network, real_vector, solution


class Eigenspace(NamedTuple):
    """Eigenvalues, largest first, and unit eigenvectors of a symmetric matrix.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import top_eigenspace
    >>> data = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
    >>> space = top_eigenspace(torch.nn.Linear(3, 1, bias=False), torch.nn.functional.mse_loss, data, k=2)
    >>> space.vectors.shape, bool(space.residuals.max() < 1e-3 * space.values[0])
    (torch.Size([2, 3]), True)
    """

    values: Tensor  # (k,)
    vectors: Tensor  # (k, d)
    residuals: Tensor  # (k,), norms of H u - value u


class HessianProduct:
    """``u -> H u``, H the Hessian of the mean loss over all data at the weights of the model, in evaluation mode."""

    def __init__(self, network: Network, loss: Loss, data: Data, batch_size: int) -> None:
        self._network, self._loss, self._data, self._batch_size = network, loss, data, batch_size
        self._network.model.eval()
        self.dimension = count_weights(network.model)
        self.device, self.dtype = self._network.device, self._network.dtype

    def in_training(self) -> None:
        """From now on of the loss that training follows: batch norm takes the statistics of each batch."""
        for norm in self._network.norms:
            norm.train()

    def __call__(self, u: Tensor) -> Tensor:
        accepted, mend = f"a tensor of shape ({self.dimension},)", "give one number for each weight"
        _check.instance("u", u, Tensor, accepted, f"{mend}, by torch.from_numpy if they are NumPy's")
        if u.shape != (self.dimension,):
            raise _check.bad("u", f"a tensor of shape {tuple(u.shape)}", accepted, mend)
        real_vector("u", u, mend)
        parameters = list(self._network.model.parameters())
        parts = u.to(self.device, self.dtype).split([p.numel() for p in parameters])
        pieces = [part.view(p.shape) for part, p in zip(parts, parameters, strict=True)]
        total, seen = torch.zeros(self.dimension, device=self.device, dtype=self.dtype), 0
        for inputs, targets in batches(self._data, self._batch_size, self.device):
            with plain_attention():
                _, loss = loss_of(self._loss, self._network.model, inputs, targets)
                slope = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
                along = sum((g * v).sum() for g, v in zip(slope, pieces, strict=True))
                if isinstance(along, Tensor) and along.requires_grad:  # else the loss is linear in the weights
                    product = torch.autograd.grad(along, parameters, materialize_grads=True)
                    total += len(inputs) * flatten(product)
            seen += len(inputs)
        if not bool(total.isfinite().all()):
            raise ArithmeticError("A product with the Hessian is not finite: look which batch has such a loss.")
        return total / seen


def hessian_product(model: nn.Module, loss: Loss, data: Data, *, batch_size: int = 512) -> HessianProduct:
    """A function ``u -> H u``: products of the Hessian of the mean loss with vectors, without the matrix.

    Parameters
    ----------
    model : torch.nn.Module
        The network, at the weights where the Hessian is wanted; in evaluation mode, batch-norm statistics as they are.
    loss : callable
        ``loss(outputs, targets)``, the mean over a batch, for example ``torch.nn.functional.cross_entropy``.
    data : (Tensor, Tensor) or iterable of such pairs
        Inputs and targets; or batches, for example a DataLoader.
    batch_size : int
        How many rows of a pair of tensors are taken at a time (memory only).

    Returns
    -------
    callable
        From a vector (d,) to a vector (d,), in the order of ``model.parameters()``.

    Raises
    ------
    ValueError, TypeError
        For bad arguments: among others, a loss that is not one finite number, or data that the model does not take.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import hessian_product
    >>> data = torch.eye(3), torch.zeros(3, 1)
    >>> product = hessian_product(torch.nn.Linear(3, 1, bias=False), torch.nn.functional.mse_loss, data)
    >>> product(torch.ones(3))
    tensor([0.6667, 0.6667, 0.6667])
    """
    batch_size = _check.count("batch_size", batch_size)
    network = checked_network(model, loss, data, batch_size, gradient=True, finite=True)
    return HessianProduct(network, loss, data, batch_size)


def lanczos(
    multiply: Callable[[Tensor], Tensor],
    dimension: int,
    k: int,
    *,
    iterations: int,
    tolerance: float,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Eigenspace:
    """The k algebraically largest eigenpairs of a symmetric matrix (Lanczos 1950, Golub & Van Loan, section 10.3).

    The basis is orthogonalized twice against all of itself at every step; where it spans an invariant subspace it goes
    on from a fresh direction. Stops when all k residuals are below `tolerance` times the largest eigenvalue in absolute
    value, or after `iterations`, or with a basis of everything. An eigenvalue that repeats exactly may be found once.
    """
    limit = min(iterations, dimension)
    basis = torch.zeros(limit, dimension, dtype=dtype, device=device)
    diagonal, beside = np.zeros(limit), np.zeros(limit)

    def fresh(m: int) -> Tensor:
        u = torch.randn(dimension, generator=generator, dtype=torch.float64).to(device, dtype)
        for _ in range(2):
            u = u - basis[:m].T @ (basis[:m] @ u)
        return u / u.norm()

    def pairs(m: int) -> Eigenspace:
        values, columns = _tridiagonal(diagonal[:m], beside[: m - 1])
        residuals = beside[m - 1] * np.abs(columns[-1, -k:])
        # copies: a single entry passes for contiguous whatever its stride, and PyTorch takes no negative one
        chosen = torch.from_numpy(columns[:, : -k - 1 : -1].copy()).to(device, dtype)
        leading = [torch.from_numpy(part[: -k - 1 : -1].copy()) for part in (values, residuals)]
        return Eigenspace(leading[0].to(device, dtype), chosen.T @ basis[:m], leading[1].to(device, dtype))

    basis[0] = fresh(0)
    tiny = 100.0 * torch.finfo(dtype).eps
    done = 0
    try:
        for m in range(1, limit + 1):
            image = multiply(basis[m - 1])
            diagonal[m - 1] = float(basis[m - 1] @ image)
            for _ in range(2):
                image = image - basis[:m].T @ (basis[:m] @ image)
            rest = float(image.norm())
            size = max(np.abs(diagonal[:m]).max(), np.abs(beside[:m]).max())
            closed = rest <= tiny * max(size, torch.finfo(dtype).tiny)
            beside[m - 1] = 0.0 if closed else rest
            done = m
            if m < limit:
                if m >= k and not closed and m % 5 == 0 and _settled(diagonal[:m], beside[:m], k, tolerance):
                    break
                basis[m] = fresh(m) if closed else image / rest
    except KeyboardInterrupt as interrupt:
        if done >= k:
            note_partial(interrupt, pairs(done), f"the eigenpairs after {done} products, with their residuals")
        raise
    return pairs(done)


def _settled(diagonal: Any, beside: Any, k: int, tolerance: float) -> bool:
    """Whether all k residuals are small."""
    values, columns = _tridiagonal(diagonal, beside[:-1])
    return bool(np.all(beside[-1] * np.abs(columns[-1, -k:]) <= tolerance * np.abs(values).max()))


def _tridiagonal(diagonal: Any, beside: Any) -> tuple[Any, Any]:
    from scipy.linalg import eigh_tridiagonal

    return eigh_tridiagonal(diagonal, beside)


def top_eigenspace(
    model: nn.Module,
    loss: Loss,
    data: Data,
    k: int = 10,
    *,
    iterations: int | None = None,
    tolerance: float = 1e-3,
    batch_size: int = 512,
    seed: int = 0,
) -> Eigenspace:
    """The k largest eigenvalues of the Hessian of the mean loss, and their eigenvectors.

    By Lanczos' method on Hessian-vector products, with full reorthogonalization; one product costs about two passes
    of backpropagation over the data.

    Parameters
    ----------
    model, loss, data, batch_size
        As in `hessian_product`.
    k : int
        How many.
    iterations : int, optional
        At most this many products; ``10 k + 50`` when not given.
    tolerance : float
        On the residuals ``||H u - value u||``, in units of the largest eigenvalue in absolute value.
    seed : int
        Of the first direction.

    Returns
    -------
    Eigenspace
        ``values`` (k,), largest first, ``vectors`` (k, d), orthonormal rows in the order of ``model.parameters()``,
        ``residuals`` (k,).

    Raises
    ------
    ValueError, TypeError
        For bad arguments.
    KeyboardInterrupt
        Its ``partial`` holds the eigenpairs so far, once there are k.

    Warns
    -----
    RuntimeWarning
        If the tolerance is not reached in that many products.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import top_eigenspace
    >>> data = torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.zeros(3, 1)
    >>> model = torch.nn.Linear(3, 1, bias=False)
    >>> space = top_eigenspace(model, torch.nn.functional.mse_loss, data, k=2)
    >>> space.values, space.vectors.shape
    (tensor([6.0000, 2.6667]), torch.Size([2, 3]))
    """
    multiply = hessian_product(model, loss, data, batch_size=batch_size)
    d = multiply.dimension
    k = _check.count("k", k, mend="give the number of eigenvectors")
    if k > d:
        raise _check.bad("k", k, f"at most {d}, the number of weights", "ask for fewer eigenvectors")
    most = 10 * k + 50 if iterations is None else _check.count("iterations", iterations, least=k)
    tolerance = _check.number("tolerance", tolerance, above=0.0, mend="give for example tolerance=1e-3")
    generator = torch.Generator().manual_seed(_check.seed(seed))
    eigenspace = lanczos(
        multiply,
        d,
        k,
        iterations=most,
        tolerance=tolerance,
        generator=generator,
        dtype=multiply.dtype,
        device=multiply.device,
    )
    worst = float(eigenspace.residuals.max())
    if worst > tolerance * float(eigenspace.values.abs().max()) and most < d:
        warnings.warn(
            f"After {most} Hessian products a residual is {worst:.2g}, the largest eigenvalue "
            f"{float(eigenspace.values[0]):.2g}: give more iterations, or a larger tolerance.",
            RuntimeWarning,
            stacklevel=2,
        )
    return eigenspace


class FlatProjection:
    """``x -> x - U'U x``: the projection on the complement of the rows of U, the flat directions.

    Attributes
    ----------
    vectors : Tensor of shape (k, d)
        Orthonormal rows.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import FlatProjection
    >>> flat = FlatProjection(torch.tensor([[1.0, 0.0, 0.0]]))
    >>> flat(torch.tensor([3.0, 2.0, 1.0]))
    tensor([0., 2., 1.])
    """

    def __init__(self, vectors: Tensor) -> None:
        accepted, mend = "a tensor of shape (k, d)", "take one from flat_projection(eigenspace)"
        _check.instance("vectors", vectors, Tensor, accepted, mend)
        if vectors.ndim != 2 or not vectors.is_floating_point():
            got = f"a tensor of shape {tuple(vectors.shape)} and {vectors.dtype}"
            raise _check.bad("vectors", got, f"{accepted} of floating-point numbers", mend)
        self.vectors = vectors

    def __call__(self, x: Any) -> Any:
        """The flat part of a vector; NumPy's or torch's, as it came."""
        d, mend = self.vectors.shape[1], "give one number for each weight"
        if isinstance(x, Tensor):
            if x.shape != (d,):
                raise _check.bad("x", f"a tensor of shape {tuple(x.shape)}", f"a vector of {d} numbers", mend)
            real_vector("x", x, mend)
            vectors = self.vectors.to(x.device, x.dtype)
            return x - vectors.T @ (vectors @ x)
        rows = self.vectors.detach().cpu().numpy().astype(np.float64)
        flat = _check.array("x", x, (d,), mend=mend)
        return flat - rows.T @ (rows @ flat)

    def __repr__(self) -> str:
        k, d = self.vectors.shape
        return f"FlatProjection(<{d - k} of {d} directions>)"


def flat_projection(eigenspace: Eigenspace, threshold: float | None = None) -> FlatProjection:
    """The projection on the flat directions: those outside the top eigenspace of the Hessian.

    Parameters
    ----------
    eigenspace : Eigenspace
        From `top_eigenspace`.
    threshold : float, optional
        Leave out only directions of an eigenvalue above it; all of the eigenspace when not given.

    Returns
    -------
    FlatProjection
        A function of a vector (d,), as `rdasde.pruning.directional_prune` takes it.

    Raises
    ------
    ValueError
        If all eigenvalues found are above the threshold: there may be more of them.

    Examples
    --------
    >>> import torch
    >>> from rdasde.landscape import flat_projection, top_eigenspace
    >>> from rdasde.pruning import directional_prune
    >>> data = torch.diag(torch.tensor([3.0, 2.0, 0.0])), torch.zeros(3, 1)
    >>> space = top_eigenspace(torch.nn.Linear(3, 1, bias=False), torch.nn.functional.mse_loss, data, k=2)
    >>> directional_prune(torch.tensor([0.5, -0.4, 0.3]), flat_projection(space), 0.2)
    tensor([ 0.5000, -0.4000,  0.1000])
    """
    _check.instance("eigenspace", eigenspace, Eigenspace, "what top_eigenspace returned", "pass that")
    vectors = eigenspace.vectors
    if threshold is not None:
        threshold = _check.number("threshold", threshold, least=0.0, mend="give the smallest curvature that counts")
        steep = eigenspace.values > threshold
        if bool(steep.all()) and len(vectors) < vectors.shape[1]:
            raise _check.bad(
                "threshold",
                threshold,
                f"at least {float(eigenspace.values.min()):.3g}, the smallest eigenvalue found",
                "ask top_eigenspace for more eigenvectors, or give a larger threshold",
            )
        vectors = vectors[steep]
    return FlatProjection(vectors)


def share(difference: Any, eigenvectors: Any) -> float:
    """The share ``||P d|| / ||d||`` of a difference d in the span of some vectors, P the projection on it.

    A ratio of lengths, not of squares. The published plot of it (Chao, Wang, Xing & Cheng, NeurIPS 2020) is too small
    by the square root of ten, the number of eigenvectors. A random direction has about ``sqrt(k / d)``.

    Parameters
    ----------
    difference : Tensor or array_like of shape (d,)
        For example the weights of two solutions, one minus the other; not zero.
    eigenvectors : Eigenspace, or Tensor or array_like of shape (k, d)
        Rows that span the space; they need not be orthonormal.

    Returns
    -------
    float
        Within [0, 1].

    Examples
    --------
    >>> from rdasde.landscape import share
    >>> round(share([3.0, 4.0, 0.0], [[1.0, 0.0, 0.0]]), 3)
    0.6
    """
    rows = eigenvectors.vectors if isinstance(eigenvectors, Eigenspace) else eigenvectors
    if not isinstance(rows, Tensor):
        rows = torch.from_numpy(_check.array("eigenvectors", rows, (None, None), mend="give one row for each vector"))
    if rows.ndim != 2:
        raise _check.bad(
            "eigenvectors", f"of shape {tuple(rows.shape)}", "of shape (k, d)", "give one row for each vector"
        )
    d = solution("difference", difference, rows.shape[1])
    length = float(d.norm())
    if length == 0.0:
        raise _check.bad("difference", "zero", "a vector other than zero", "compare two different solutions")
    basis, triangle = torch.linalg.qr(rows.detach().to("cpu", torch.float64).T)
    size = triangle.diagonal().abs()
    if bool((size <= 1e-10 * size.max()).any()):
        raise _check.bad(
            "eigenvectors", "linearly dependent rows", "independent rows", "leave out what the others span"
        )
    return min(1.0, float((basis.T @ d).norm()) / length)

"""Linear layers whose weights are stored without their zeros."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from rdasde import _check

from ._copies import plain_copy
from ._models import checked_module


class SparseLinear(nn.Module):
    """``x W' + b`` with W in compressed sparse rows; for inference."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            weight = linear.weight.detach().to_sparse_csr()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the last axis of x."""
        columns = x.reshape(-1, self.in_features).t()
        y = torch.sparse.mm(self.weight, columns).t()
        if self.bias is not None:
            y = y + self.bias
        return y.reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """What `print` shows."""
        stored = self.weight.values().numel()
        return f"in_features={self.in_features}, out_features={self.out_features}, stored={stored}"


@torch.no_grad()
def to_sparse(model: nn.Module, *, least: float = 0.9) -> nn.Module:
    """A copy of a model, for inference, whose sparse linear layers store only what is not zero.

    Parameters
    ----------
    model : torch.nn.Module
    least : float
        Share of exact zeros from which a `torch.nn.Linear` is converted; below about 0.9 dense products are faster.

    Returns
    -------
    torch.nn.Module
        A deep copy with the same outputs up to rounding, in evaluation mode.

    Raises
    ------
    ValueError, TypeError
        If `least` is not in [0, 1], or `model` is no module.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import to_sparse
    >>> model = torch.nn.Sequential(torch.nn.Linear(20, 10))
    >>> model[0].weight.data[1:] = 0.0
    >>> small = to_sparse(model)
    >>> small[0]
    SparseLinear(in_features=20, out_features=10, stored=20)
    >>> torch.allclose(small(torch.ones(5, 20)), model(torch.ones(5, 20)))
    True
    """
    checked_module(model)
    least = _check.number("least", least, least=0.0, most=1.0, mend="give a share, for example least=0.9")
    result = plain_copy(model)
    if _converts(result, least):
        return SparseLinear(result)  # type: ignore[arg-type]
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if _converts(child, least):
                setattr(module, name, SparseLinear(child))  # type: ignore[arg-type]
    return result


def _converts(module: nn.Module, least: float) -> bool:
    if type(module) is not nn.Linear:
        return False
    return int((module.weight == 0).sum()) >= least * module.weight.numel()

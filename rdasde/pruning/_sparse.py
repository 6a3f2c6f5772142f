"""Linear layers whose weights are stored without their zeros."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from rdasde import _check

from ._copies import plain_copy
from ._models import checked_module

_NO_PRODUCT = (torch.bfloat16, torch.float16)


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

    def __deepcopy__(self, memo: dict[int, Any]) -> SparseLinear:
        """A copy; PyTorch makes none of a tensor in compressed rows by itself."""
        result = type(self).__new__(type(self))
        memo[id(self)] = result
        vars(result).update(copy.deepcopy(vars(self) | {"_parameters": {}}, memo))
        for name, value in self._parameters.items():
            if value is not None and id(value) not in memo:
                memo[id(value)] = nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
            result._parameters[name] = None if value is None else memo[id(value)]
        return result

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
        Layers in half precision on a CPU stay: PyTorch has no sparse products for them there.

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
    converted: dict[nn.Module, SparseLinear] = {}  # a layer may be there more than once
    for module in list(result.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and child not in converted and _converts(child, least):
                converted[child] = SparseLinear(child)  # type: ignore[arg-type]
            if child in converted:
                setattr(module, name, converted[child])
    return result


def _converts(module: nn.Module, least: float) -> bool:
    if type(module) is not nn.Linear or (module.weight.is_cpu and module.weight.dtype in _NO_PRODUCT):
        return False
    return int((module.weight == 0).sum()) >= least * module.weight.numel()

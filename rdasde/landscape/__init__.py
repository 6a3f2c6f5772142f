"""The landscape of a loss around trained networks: planes, low-loss curves, the top eigenspace of the Hessian.

A `model` is never changed: its weights, batch-norm statistics and mode are left as they are. A *solution* is a network
of its architecture, or the weights of one as a vector in the order of ``model.parameters()``.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise ImportError("rdasde.landscape needs PyTorch: pip install 'rdasde[torch]'.") from None

from rdasde.landscape._curve import curve
from rdasde.landscape._hessian import (
    Eigenspace,
    FlatProjection,
    flat_projection,
    hessian_product,
    share,
    top_eigenspace,
)
from rdasde.landscape._plane import Plane, plane, surface

__all__ = [
    "Eigenspace",
    "FlatProjection",
    "Plane",
    "curve",
    "flat_projection",
    "hessian_product",
    "plane",
    "share",
    "surface",
    "top_eigenspace",
]


def __dir__() -> list[str]:
    return __all__

"""Which pairs of fields matter in tables of categories: factorization machines whose gates gRDA closes (AutoFIS)."""

import lazy_loader as _lazy

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        "rdasde.interactions needs PyTorch, which is not installed: pip install 'rdasde[torch]'."
    ) from None

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

"""Directional pruning of neural networks: generalized regularized dual averaging as a `torch.optim.Optimizer`."""

import lazy_loader as _lazy

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("rdasde.pruning needs PyTorch, which is not installed: pip install 'rdasde[torch]'.") from None

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

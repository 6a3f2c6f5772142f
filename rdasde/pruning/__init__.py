"""Directional pruning of neural networks: generalized regularized dual averaging as a `torch.optim.Optimizer`."""

import lazy_loader as _lazy

from rdasde import _check

_check.need_torch(__name__)

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

"""The landscape of a loss around trained networks: planes, low-loss curves, the top eigenspace of the Hessian.

A `model` is never changed: its weights, batch-norm statistics and mode are left as they are. A *solution* is a network
of its architecture, or the weights of one as a vector in the order of ``model.parameters()``.
"""

import lazy_loader as _lazy

from rdasde import _check

_check.need_torch(__name__)

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)

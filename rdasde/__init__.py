"""rdasde: regularized dual averaging, its ODE/SDE limit, and bands through the mirror map."""

import lazy_loader as _lazy

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
# `import *` is not to need PyTorch
__all__ = [name for name in __all__ if name not in ("interactions", "landscape", "pruning")]

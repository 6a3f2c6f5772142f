"""Laws that problems and mirror maps obey, as checks of your own: in the spirit of scikit-learn's `check_estimator`.

A law that does not hold is an AssertionError of one sentence: the law, where, by how much, and what to mend.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

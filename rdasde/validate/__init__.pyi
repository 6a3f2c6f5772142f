from ._moments import exact_weak_error as exact_weak_error

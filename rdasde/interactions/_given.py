"""What users hand over: arrays of codes and labels, and paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from rdasde import _check


def array_of(argument: str, value: Any, accepted: str, mend: str) -> NDArray[Any]:
    """As NumPy's, whatever its kind and shape; all of its values are there."""
    if isinstance(value, Tensor):
        if value.is_meta:
            raise _check.bad(argument, "a tensor on the meta device", accepted, mend)
        value = value.detach().cpu()
    return _check.plain(argument, value, accepted, mend)


def path_of(argument: str, value: Any, accepted: str, mend: str) -> Path:
    """A path, whether or not anything is there."""
    if not isinstance(value, str | os.PathLike):
        raise _check.wrong_kind(argument, value, accepted, mend)
    return Path(value)

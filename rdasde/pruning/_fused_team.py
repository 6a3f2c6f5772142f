"""PyTorch's own threads on a CPU, for work of ours.

After an operation they keep their cores busy for some milliseconds, in wait of the next one: threads of ours that came
right after it would get none. So the same threads are asked, through GNU's OpenMP where PyTorch brings that.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_PROCESS = os.getpid()
_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def _parallel(process: int) -> Any:
    """``GOMP_parallel`` of the library that PyTorch loaded; None where it has another, or none.

    Nor in a copy of the process, by a fork, in which the library takes for its own the threads that it had before.
    """
    maps = Path("/proc/self/maps")
    if process != _PROCESS or not maps.exists():
        return None
    home = Path(torch.__file__).parent
    for line in maps.read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith("libgomp") and path.parent in (home / "lib", home.parent / "torch.libs"):
            function = getattr(ctypes.CDLL(str(path)), "GOMP_parallel", None)
            if function is not None:
                function.argtypes, function.restype = [_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
            return function
    return None


def together(work: Callable[[], None], threads: int) -> bool:
    """Call `work` in so many threads of PyTorch's, this one among them; False where they are not to be had."""
    parallel = _parallel(os.getpid())
    if parallel is None:
        return False
    errors: list[BaseException] = []

    def body(_: Any) -> None:
        try:
            work()
        except BaseException as error:  # raised here, it would be printed and forgotten
            errors.append(error)

    parallel(_BODY(body), None, threads, 0)
    if errors:
        raise errors[0]
    return True

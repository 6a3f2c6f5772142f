"""Machine code on disk: one file for each kernel and each combination of types, found by its name alone.

numba's own cache keeps an index of all entries of a function. Reading one that names a class which this process does
not know fails, and two processes that write at once may leave an index in which an entry stands for the other's file.
Here nothing is shared: a file appears whole, and who asks for other types never opens it. What cannot be read is
compiled; where nothing can be written, in memory.

Nor may what is in the files meet. Machine code holds the functions that it calls as weak symbols: of two of one name in
a process, the one that came first is called. numba tells functions of one name and the same types apart by a number
that it counts in each process, so a file of another process could bring a function in whose place this one's is
called, or the other way round: noise where a gradient is asked for (https://github.com/numba/numba/issues/10486). Hence
numbers here are drawn, and no two processes give the same.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdasde._compiled import functions_of_users
from rdasde._errors import warn

_KEPT = 64  # entries with functions of users, of one kernel: the oldest go
_USERS = "own"  # in the names of such files


def keep_on_disk(dispatcher: Any, stamp: str) -> None:
    """Let numba's dispatcher look for machine code on disk, and keep it there; `stamp` is that of the sources."""
    try:
        dispatcher._cache = _cache_class()(dispatcher.py_func, stamp)
    except (RuntimeError, OSError):  # numba's "no locator available"
        _say_that_nothing_is_kept()


@functools.cache
def _say_that_nothing_is_kept() -> None:
    warn(
        "No folder for compiled code can be written to (that of the package, the home directory): every process "
        "compiles anew; set the environment variable NUMBA_CACHE_DIR to a folder that can.",
        RuntimeWarning,
    )


class _Unnamed(Exception):
    """A type that a file cannot be named by."""


def _described(kind: Any) -> str:
    """A numba type in words, the same in every process, and different for types that differ."""
    import numba

    types: Any = numba.core.types
    if isinstance(kind, types.BaseTuple):
        items = ",".join(map(_described, kind))
        if not isinstance(kind, types.BaseNamedTuple):
            return f"({items})"
        cls = kind.instance_class
        return f"{cls.__module__}.{cls.__qualname__}[{','.join(cls._fields)}]({items})"
    named = (
        types.Number | types.Boolean | types.NoneType | types.Omitted | types.UnicodeType | types.Array,
        types.NumPyRandomGeneratorType,
    )
    if isinstance(kind, named):
        return str(kind)
    raise _Unnamed


def _number() -> int:
    return secrets.randbits(62)


@functools.cache
def _cache_class() -> Any:
    import numba
    import numpy as np
    from numba.core import bytecode, caching

    identity: Any = bytecode.FunctionIdentity
    identity._unique_ids = iter(_number, None)  # asked for one after the other: copies of a process draw their own
    function_cache: Any = caching.FunctionCache
    config: Any = numba.core.config

    class Cache(function_cache):  # type: ignore[misc]
        def __init__(self, function: Callable[..., Any], stamp: str) -> None:
            super().__init__(function)
            self._stamp = stamp

        def _file(self, signature: Any, codegen: Any) -> Path:
            described = ",".join(map(_described, signature))
            setting = (numba.__version__, np.__version__, config.BOUNDSCHECK, config.OPT, codegen.magic_tuple())
            text = f"{described} {setting} {self._index_key(signature, codegen)[2]}"
            entry = hashlib.sha256(text.encode()).hexdigest()[:24]
            users = f"-{_USERS}" if f"{functions_of_users.__name__}." in described else ""
            return Path(self._cache_path) / f"{self._impl.filename_base}-{self._stamp}{users}-{entry}.nbc"

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            target_context.refresh()
            try:
                file = self._file(sig, target_context.codegen())
                content = pickle.loads(file.read_bytes())
                if f"-{_USERS}-" in file.name:
                    os.utime(file)  # in use: see _prune
                return self._impl.rebuild(target_context, content)
            except (_Unnamed, OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError):
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            # numba would warn where it finds addresses of this process in the code
            if data.library.has_dynamic_globals or any(not part.can_cache for part in data.lifted):
                return
            with contextlib.suppress(_Unnamed, OSError):
                file = self._file(sig, data.codegen)
                self._impl.locator.ensure_cache_path()
                content = self._cache_file._dump(self._reduced(data))
                with self._cache_file._open_for_write(str(file)) as stream:
                    stream.write(content)
                if f"-{_USERS}-" in file.name:
                    self._prune()

        def _reduced(self, data: Any) -> Any:
            try:
                return self._impl.reduce(data)
            except RuntimeError:  # numba's "no compiled object yet"
                if threading.current_thread() is not threading.main_thread():
                    raise
                # machine code is handed over in a callback of LLVM's, out of which no exception comes, nor Ctrl-C
                raise KeyboardInterrupt from None

        def _prune(self) -> None:
            """Leave the entries with functions of users that were of use last."""
            ages = {}
            for file in Path(self._cache_path).glob(f"{self._impl.filename_base}-*-{_USERS}-*.nbc"):
                with contextlib.suppress(OSError):  # another process was there first
                    ages[file] = file.stat().st_mtime
            for file in sorted(ages, key=ages.__getitem__)[:-_KEPT]:
                with contextlib.suppress(OSError):
                    file.unlink()

    return Cache

"""Compilation on demand: plain functions here, machine code at the first call.

Nothing in rdasde imports numba when the package is imported. Functions that run compiled are written as
plain Python and marked:

* `compilable` -- a helper that other compiled functions call; `compiled_by`: one whose machine code is written by hand;
* `generic` / `implements` -- a function with one implementation per parameter type (a NamedTuple class):
  how a kernel reaches the gradient of this problem or the mirror map of that regularizer;
* `Kernel` -- an entry point called from Python; compiled without the GIL, cached on disk.

Composition goes through the *types* of the parameters, which is what lets a composed kernel be found on disk (`disk`)
in the next process. A user's own function has a type that says what it does (`functions`). A user's own class has one
that no other process knows: what is composed with it is compiled in memory only.

Products and sums that matter are written with `fma`, never left to the compiler's choice: a replicate then has the same
bits whatever the width of the vectors it is computed in.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from rdasde import _check, _users
from rdasde._compiled.disk import keep_on_disk

_PACKAGE = Path(__file__).parents[1]
OPTIONS: Any = {"nogil": True, "error_model": "numpy"}
# wrappers take time to compile: nobody calls kernels from C, and only compiled code calls what is not a kernel
_KERNEL: Any = OPTIONS | {"no_cfunc_wrapper": True}
_INNER: Any = _KERNEL | {"no_cpython_wrapper": True}
_lock = threading.RLock()
Compiled = Callable[..., Any]  # numba infers the types of what compiled code calls
P = ParamSpec("P")
R = TypeVar("R")
_unknown: list[Compiled] = []  # what numba has not been told of yet
_generics: dict[Compiled, dict[type, Compiled]] = {}
_makers: dict[Compiled, Callable[[], Compiled]] = {}


def compilable(function: Compiled) -> Compiled:
    """Mark a plain function as callable from compiled code."""
    _unknown.append(function)
    return function


def compiled_by(make: Callable[[], Compiled]) -> Callable[[Compiled], Compiled]:
    """Mark a plain function for which `make()`, called when numba is there, gives what is compiled in its place."""

    def register(function: Compiled) -> Compiled:
        _makers[function] = make
        return compilable(function)

    return register


def generic(function: Compiled) -> Compiled:
    """Mark a function whose implementation is chosen by the type of its first argument."""
    _generics[function] = {}
    _unknown.append(function)
    return function


def implements(function: Compiled, parameters: type) -> Callable[[Compiled], Compiled]:
    """Give the implementation of a `generic` function for one NamedTuple class of parameters."""

    def register(implementation: Compiled) -> Compiled:
        # numba names machine code by this
        implementation.__qualname__ = f"{function.__name__}_{parameters.__name__}"
        _generics[function][parameters] = implementation
        return implementation

    return register


def _fma() -> Compiled:
    """The instruction itself."""
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def fused(typing_context, a, b, c):
        kind = types.float32 if a == b == c == types.float32 else types.float64
        return kind(kind, kind, kind), lambda context, builder, sig, arguments: builder.fma(*arguments)

    def fused_multiply_add(a: Any, b: Any, c: Any) -> Any:
        return fused(a, b, c)  # type: ignore[call-arg]

    return fused_multiply_add


@compiled_by(_fma)
def fma(a, b, c):
    """a b + c, rounded once."""
    return a * b + c  # what pure Python does


def _array_of(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """LLVM's code for an array over memory that is not NumPy's."""
    import numba
    from numba.np import arrayobj

    arrays: Any = arrayobj
    cgutils: Any = numba.core.cgutils
    array = arrays.make_array(signature.return_type)(context, builder)
    size = context.get_abi_sizeof(context.get_data_type(signature.return_type.dtype))
    step = context.get_constant(numba.types.intp, size)
    shape, strides = (cgutils.pack_array(builder, [value]) for value in (arguments[1], step))
    data = builder.inttoptr(arguments[0], array.data.type)
    arrays.populate_array(array, data=data, shape=shape, strides=strides, itemsize=step, meminfo=None)
    return array._getvalue()


def _array_at() -> Compiled:
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def array_of(typing_context, address, count, like):
        kind = types.Array(like.dtype, 1, "C")
        return kind(types.intp, types.intp, like), _array_of

    def array_at_address(address: Any, count: Any, like: Any) -> Any:
        return array_of(address, count, like)  # type: ignore[call-arg]

    return array_at_address


@compiled_by(_array_at)
def array_at(address, count, like):
    """The numbers that lie at an address, of the kind of an array: who calls it answers for their being there."""
    return np.frombuffer((ctypes.c_char * (count * like.itemsize)).from_address(address), like.dtype)


@compilable
def one_row(x):
    """A view of a contiguous array as one row."""
    return x.reshape(-1)


def _teach_numba() -> None:
    """Register with numba what was marked since the last time; called under the lock."""
    from numba.core import types
    from numba.extending import overload

    while _unknown:
        function = _unknown.pop(0)
        if function in _generics:

            def choose(parameters, *rest, implementations=_generics[function]):
                if isinstance(parameters, types.BaseNamedTuple):
                    return implementations.get(parameters.instance_class)
                return None

            overload(function, strict=False, jit_options=_INNER)(choose)
        else:
            body = _makers[function]() if function in _makers else function
            overload(function, strict=False, jit_options=_INNER)(lambda *args, body=body: body)


def stamp_of(folder: Path) -> str:
    """A digest of all sources in a folder and below."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _package_stamp() -> str:
    """A digest of the package's own sources.

    numba stamps a cached function with the file it stands in; ours are composed from several files, so an edit
    of any of them must make the cache stale.
    """
    return stamp_of(_PACKAGE)


@functools.cache
def _is_ours(kind: type) -> bool:
    ours = kind is tuple or kind.__module__.split(".")[0] == __name__.split(".")[0]
    return ours and getattr(kind, "on_disk", True)  # which a class made for a user's function says: see `functions`


def _is_of_this_process(arguments: tuple[Any, ...]) -> bool:
    """Whether parameters contain what another process may not know: a user's compiled function, or a user's class.

    Asked at every call of a kernel, of which a stream makes one for each 256 rows: hence no call for each array.
    """
    if not _is_ours(type(arguments)):
        return True
    for argument in arguments:
        if isinstance(argument, tuple):
            if _is_of_this_process(argument):
                return True
        elif hasattr(argument, "py_func"):
            return True
    return False


class Kernel(Generic[P, R]):
    """A compiled entry point: ``kernel(*arguments)`` compiles, or loads from the disk cache, on first use.

    With a user's NamedTuple class among the parameters it never touches the disk: what was kept there could not be
    found again, and would pile up.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        functools.update_wrapper(self, function)
        self.python = function
        self._dispatchers: dict[bool, Any] = {}

    def dispatcher(self, cache: bool = True) -> Any:
        """numba's dispatcher, made at the first call (of whichever thread comes first)."""
        if _unknown or cache not in self._dispatchers:
            with _lock:
                _teach_numba()  # a module may have been imported since the kernel was first used
                if cache not in self._dispatchers:
                    self._dispatchers[cache] = self._make(cache)
        return self._dispatchers[cache]

    def _make(self, on_disk: bool) -> Any:
        import numba

        dispatcher = numba.njit(**_KERNEL)(self.python)
        if on_disk:
            keep_on_disk(dispatcher, _package_stamp())
        return dispatcher

    def dispatcher_for(self, parameters: tuple[Any, ...]) -> Any:
        """The dispatcher that a call with these among its arguments goes to."""
        return self.dispatcher(not _is_of_this_process(parameters))

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        dispatcher = self.dispatcher(not _is_of_this_process(arguments))
        try:
            result: R = dispatcher(*arguments, **named)
        except Exception as error:
            raised = _raised_by_a_user(error)
            if raised is None:
                raise
            raise raised from error
        return result


def _raised_by_a_user(error: Exception) -> ValueError | None:
    """The sentence about what a user's compiled function raised, for which numba writes a frame; None for the rest."""
    calls = error.__traceback__
    frame = None if calls is None else calls.tb_next
    if frame is None or frame.tb_next is not None:
        return None
    code = frame.tb_frame.f_code
    path = Path(code.co_filename)
    if _PACKAGE in path.parents or "numba" in path.parts:
        return None
    got = f"a function that raises {_users.said(error)} in line {frame.tb_lineno} of {path.name}"
    return _check.bad(code.co_name, got, "one that works at whatever it is given in a run", "mend it there")

"""Functions of a user's own in compiled code: each known by a class that another process can make again.

A composed kernel is found in the disk cache by the types of its parameters. The type of numba's own dispatcher names an
object of one process; here a function is an empty NamedTuple of a class of its own, whose name has the digest of what
the function does (`snapshot`), and `call` has an implementation for it. What cannot be told by a digest gets a class
that no other process has, and is compiled in memory only.
"""

from __future__ import annotations

import collections
import functools
import pickle
import threading
import uuid
from collections.abc import Callable
from typing import Any

from rdasde._compiled import functions_of_users
from rdasde._compiled.jit import OPTIONS, Kernel, generic, implements
from rdasde._compiled.snapshot import NoDigest, Snapshot

_lock = threading.RLock()


@generic
def call(function, *arguments):
    """What a function of the user's own returns for two, three or four arguments."""


def _bodies(user: Any) -> dict[int, Callable[..., Any]]:
    """Implementations of `call`, by the number of arguments."""

    def of_two(function: Any, a: Any, b: Any) -> Any:
        return user(a, b)

    def of_three(function: Any, a: Any, b: Any, c: Any) -> Any:
        return user(a, b, c)

    def of_four(function: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return user(a, b, c, d)

    return {2: of_two, 3: of_three, 4: of_four}


@Kernel
def apply(function: Any, arguments: tuple[Any, ...]) -> Any:
    """What a function of the user's own returns, compiled."""
    return call(function, *arguments)


def for_compiled_code(function: Callable[..., Any], arguments: int) -> Any:
    """What stands for a user's function among the parameters of kernels: `call` it with so many arguments.

    Functions that do the same now have one class; a function that refers to what has changed since gets another.
    """
    try:
        snapshot = Snapshot(function)
    except NoDigest:
        return _in_memory(function, arguments)
    with _lock:
        name = f"Function{arguments}_{snapshot.digest}"
        return _known(name) or _make(name, function, snapshot.compiled(OPTIONS), arguments)


@functools.lru_cache(maxsize=64)
def _in_memory(function: Callable[..., Any], arguments: int, name: str | None = None) -> Any:
    import numba

    name = f"Function{arguments}_{uuid.uuid4().hex}" if name is None else name
    dispatcher = function if hasattr(function, "py_func") else numba.njit(**OPTIONS)(function)
    return _make(name, function, dispatcher, arguments, on_disk=False)


def _known(name: str) -> Any:
    kind = getattr(functions_of_users, name, None)
    return None if kind is None else kind(0.0)


def _make(name: str, function: Any, dispatcher: Any, arguments: int, *, on_disk: bool = True) -> Any:
    """An instance of a new class, which `call` knows."""
    kind: Any = _named(name, ("unused",))  # numba wants at least one field
    kind.on_disk, kind.dispatcher = on_disk, dispatcher
    kind.__reduce__ = lambda self: (_again, (_pickled(function), name, arguments, on_disk))
    implements(call, kind)(_bodies(dispatcher)[arguments])
    return kind(0.0)


def _equal(self: tuple[Any, ...], other: object) -> bool:
    return type(self) is type(other) and tuple.__eq__(self, other)


def _unequal(self: tuple[Any, ...], other: object) -> bool:
    return not _equal(self, other)


def _hash(self: tuple[Any, ...]) -> int:
    return hash((type(self), tuple.__hash__(self)))


_METHODS = {"__eq__": _equal, "__ne__": _unequal, "__hash__": _hash}  # a tuple's do not look at the class


def _named(name: str, fields: tuple[str, ...]) -> Any:
    """A new NamedTuple class where other processes look for it. Its instances are equal to those of no other class."""
    kind: Any = collections.namedtuple(name, fields)  # type: ignore[misc]
    kind.__module__ = functions_of_users.__name__
    for name_of, method in _METHODS.items():
        setattr(kind, name_of, method)
    setattr(functions_of_users, name, kind)
    return kind


def _pickled(function: Any) -> bytes:
    """By name where other processes can import it, by value elsewhere: `__main__`, functions within functions."""
    from numba.core import serialize

    dumps: Any = serialize.dumps
    return bytes(dumps(function))


def _again(pickled: bytes, name: str, arguments: int, on_disk: bool) -> Any:
    known = _known(name)
    if known is not None:
        return known
    function = pickle.loads(pickled)
    return for_compiled_code(function, arguments) if on_disk else _in_memory(function, arguments, name)


def plain_records(value: Any) -> Any:
    """Parameters with their NamedTuples exchanged for equal ones whose classes other processes can make again."""
    if not isinstance(value, tuple):
        return value
    items = [plain_records(item) for item in value]
    fields = getattr(value, "_fields", None)
    if type(value) is tuple or fields is None:
        return tuple(items) if type(value) is tuple else value
    return _record(fields)(*items)


def _record(fields: tuple[str, ...]) -> Any:
    name = "Record_" + "_".join(f"{len(field)}{field}" for field in fields)
    with _lock:
        kind = getattr(functions_of_users, name, None)
        if kind is None:
            kind = _named(name, fields)
            kind.on_disk = True
            kind.__reduce__ = lambda self: (_record_again, (fields, tuple(self)))
        return kind


def _record_again(fields: tuple[str, ...], items: tuple[Any, ...]) -> Any:
    return _record(fields)(*items)

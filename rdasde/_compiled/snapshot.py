"""A user's function as it is now: a digest of all that it does, and a copy that later edits do not reach.

numba takes global and closure values for constants when it compiles. The copy refers to copies of them, of functions
that are called too, so that what is compiled, whenever that is, is what the digest says.
"""

from __future__ import annotations
import __future__

import dis
import hashlib
import struct
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rdasde._compiled import functions_of_users

_LARGE = 10**6  # bytes of a constant array that numba would refer to in memory
_NUMBA_KNOWS = ("builtins", "math", "cmath", "operator", "random", "numpy", "numba", "_operator")
# kinds of what is known by its name; functions of NumPy are of a class of their own
_BY_NAME = (type, types.BuiltinFunctionType, types.BuiltinMethodType, types.FunctionType, np.ufunc, type(np.sum))
_WRITTEN_AS_TEXT = __future__.annotations.compiler_flag  # annotations, which nothing here looks at
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


class NoDigest(Exception):
    """What a function does cannot be told from what is known of it."""


class Snapshot:
    """Of one function, plain or compiled by ``numba.njit``.

    Attributes
    ----------
    digest : str
        The same for functions that do the same, in every process.

    Raises
    ------
    NoDigest
        If the function refers to something whose content is not known.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._hash = hashlib.sha256()
        self._seen: dict[int, int] = {}  # functions by identity, in the order in which they were met
        self._copies: list[types.FunctionType] = []
        self._kept: list[Any] = []  # alive, so that identities stay theirs
        self._function = self._of_function(function)
        self.digest = self._hash.hexdigest()[:16]
        for place, copy in enumerate(self._copies):
            # numba names what it compiles by these, and two functions of one name must not meet in a cache
            copy.__qualname__ = f"{copy.__name__}_{self.digest}_{place}"

    def compiled(self, options: dict[str, Any]) -> Any:
        """numba's dispatcher of the copy; the options are for a function that was plain."""
        import numba

        return self._function if _is_dispatcher(self._function) else numba.njit(**options)(self._function)

    def _add(self, *parts: object) -> None:
        for part in parts:
            content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            self._hash.update(f"{type(part).__name__} {len(content)} ".encode())
            self._hash.update(content)

    def _of_function(self, function: Any) -> Any:
        """Add a function to the digest; its copy."""
        import numba

        plain, options = function, dict[str, Any]()
        if hasattr(function, "py_func"):
            plain = function.py_func
            options = getattr(function, "targetoptions", {})
            if (
                not _is_dispatcher(function)
                or not function._can_compile
                or function.locals
                or any(map(callable, options.values()))
            ):
                raise NoDigest(f"{function!r} is compiled in a way of its own")
            self._add("compiled", sorted((name, repr(value)) for name, value in options.items()))
        if type(plain) is not types.FunctionType:
            raise NoDigest(f"{plain!r} is no function in Python")
        if id(function) in self._seen:
            self._add("again", self._seen[id(function)])
            return self._kept[self._seen[id(function)]]
        code, names = plain.__code__, dict[str, Any]()
        cells = tuple(types.CellType() for _ in code.co_freevars)
        copy = types.FunctionType(code, names, plain.__name__, None, cells or None)
        names["__name__"] = functions_of_users.__name__
        copy.__module__ = functions_of_users.__name__
        known = copy if plain is function else numba.jit(**options)(copy)
        self._seen[id(function)] = len(self._kept)
        self._kept.append(known)
        self._kept.append(function)
        self._copies.append(copy)
        self._of_code(code, plain.__doc__)
        copy.__defaults__ = self._of_value(plain.__defaults__)
        keywords = plain.__kwdefaults__
        copy.__kwdefaults__ = None if keywords is None else {k: self._of_value(v) for k, v in sorted(keywords.items())}
        outer = dict(zip(code.co_freevars, plain.__closure__ or (), strict=True))
        inner = dict(zip(code.co_freevars, cells, strict=True))
        for name, chains in sorted(_references(code).items()):
            self._add(name)
            if name in outer:
                try:
                    value = outer[name].cell_contents
                except ValueError:
                    raise NoDigest(f"{name} has no value yet") from None
                inner[name].cell_contents = self._of_reference(value, chains)
            elif name in plain.__globals__:
                names[name] = self._of_reference(plain.__globals__[name], chains)
            # else a builtin, a local of an enclosing function, or what numba will not find
        return known

    def _of_code(self, code: types.CodeType, docstring: str | None = None) -> None:
        flags = code.co_flags & ~_WRITTEN_AS_TEXT
        self._add(code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self._add(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
        self._add(getattr(code, "co_exceptiontable", b""), len(code.co_consts))
        for place, constant in enumerate(code.co_consts):
            if place == 0 and docstring is not None and constant == docstring:
                self._of_value(None)  # what stands there without one
            elif isinstance(constant, types.CodeType):
                self._of_code(constant)
            else:
                self._of_value(constant)

    def _of_reference(self, value: Any, chains: set[tuple[str, ...]]) -> Any:
        """Of what a name stands for, and of those of its attributes that are used, if it is a module."""
        if not isinstance(value, types.ModuleType):
            return self._of_value(value)
        self._add("module", value.__name__)
        if value.__name__.split(".")[0] in _NUMBA_KNOWS:
            return value
        if () in chains:
            raise NoDigest(f"the module {value.__name__} is used as a value")
        copy = types.ModuleType(value.__name__)
        for name in sorted({chain[0] for chain in chains}):
            self._add(name)
            if not hasattr(value, name):
                raise NoDigest(f"{value.__name__} has no {name}")
            setattr(copy, name, self._of_reference(getattr(value, name), {c[1:] for c in chains if c[0] == name}))
        return copy

    def _of_value(self, value: Any) -> Any:
        """Add a value to the digest; a copy of it."""
        kind = type(value)
        if kind in (float, complex):
            self._add(kind.__name__, struct.pack("<2d", value.real, value.imag))
        elif kind in _PLAIN:
            self._add(kind.__name__, repr(value))
        elif kind in (list, frozenset) or isinstance(value, tuple):
            return self._of_items(value)
        elif kind is slice:
            self._of_items((value.start, value.stop, value.step))
        elif kind is np.ndarray:
            if value.dtype.hasobject or value.nbytes > _LARGE or not value.flags.forc:
                raise NoDigest("an array is large, strided, or one of objects")
            order = "C" if value.flags.c_contiguous else "F"
            self._add(order, np.lib.format.dtype_to_descr(value.dtype), value.shape, value.tobytes(order))
            copy = value.copy(order)
            copy.flags.writeable = value.flags.writeable
            return copy
        elif isinstance(value, np.generic) and not value.dtype.hasobject:
            self._add(kind.__name__, value.dtype.str, value.tobytes())
        elif isinstance(value, np.dtype) and not value.hasobject:
            self._add("dtype", np.lib.format.dtype_to_descr(value))
        elif _is_known(value):
            self._add("known", str(value.__module__ if hasattr(value, "__module__") else None), value.__name__)
        elif hasattr(value, "py_func"):
            return self._of_function(value)
        else:
            raise NoDigest(f"{value!r} is not among what can be told")
        return value

    def _of_items(self, value: Any) -> Any:
        kind = type(value)
        fields = getattr(kind, "_fields", None)
        if kind not in (list, tuple, frozenset) and fields is None:
            raise NoDigest(f"{value!r} is of a class of its own")
        self._add(kind.__name__, fields, len(value))
        items = [self._of_value(item) for item in (sorted(value, key=repr) if kind is frozenset else value)]
        return kind(items) if fields is None else kind(*items)


def _is_dispatcher(function: Any) -> bool:
    from numba.core.compiler import Compiler
    from numba.core.registry import CPUDispatcher

    kind: Any = CPUDispatcher
    return type(function) is kind and function._compiler.pipeline_class is Compiler


def _is_known(value: Any) -> bool:
    """Whether numba itself, not a user, says what a function or a type does in compiled code."""
    if hasattr(value, "py_func") or not isinstance(value, _BY_NAME):
        return False
    module = getattr(value, "__module__", None)
    if module is None:
        return any(getattr(home, value.__name__, None) == value for home in (np, np.random))
    return str(module).split(".")[0] in _NUMBA_KNOWS


def _references(code: types.CodeType) -> dict[str, set[tuple[str, ...]]]:
    """Global and closure names that a code uses, its inner functions included, each with the attributes that follow."""
    result: dict[str, set[tuple[str, ...]]] = {}
    for name, chain in _loads(code):
        result.setdefault(name, set()).add(chain)
    return result


def _loads(code: types.CodeType) -> Iterator[tuple[str, tuple[str, ...]]]:
    name, chain = "", list[str]()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("IMPORT_NAME", "STORE_GLOBAL"):
            raise NoDigest(f"it uses {instruction.opname}")
        if name and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain.append(str(instruction.argval))
            continue
        if name:
            yield name, tuple(chain)
        name, chain = "", []
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
            name = str(instruction.argval)
    if name:
        yield name, tuple(chain)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _loads(constant)

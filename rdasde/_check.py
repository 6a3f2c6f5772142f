"""Arguments are checked here, each failure one sentence: argument, what was got, what is accepted, how to mend it."""

from __future__ import annotations

import concurrent.futures
import difflib
import functools
import importlib
import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


_LONGEST = 250  # letters of what was got


def show(value: object) -> str:
    """A short, one-line picture of a value for an error message."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of more digits than Python writes out
        return "a number of thousands of digits"
    except Exception:  # of a class of the user's own
        return f"an object of {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def bad(argument: str, got: object, accepted: str, mend: str) -> ValueError:
    """The ValueError of an argument with a wrong value."""
    if not isinstance(got, str) or len(got) > _LONGEST or not got.isprintable():  # a name or path of the user's
        got = show(got)
    return ValueError(f"{argument} is {got}, but must be {accepted}: {mend}.")


def wrong_kind(argument: str, got: object, accepted: str, mend: str) -> TypeError:
    """The TypeError of an argument of a wrong kind."""
    return TypeError(f"{argument} is {show(got)} ({type(got).__name__}), but must be {accepted}: {mend}.")


P = ParamSpec("P")
R = TypeVar("R")


def listed(names: Sequence[str], values: Mapping[str, Any]) -> str:
    """Settings with their values, the first three of them."""
    said = [f"{name} {show(values.get(name))}" for name in names[:3]]
    return ", ".join([*said, "and so on"] if len(names) > 3 else said)


def with_hints(**hints: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """For a function: what there is instead of words that people try, in the TypeError of an unknown one."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = list(inspect.signature(function).parameters)
        name = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def checked(*arguments: P.args, **named: P.kwargs) -> R:
            for word in named:
                if word not in known:
                    close = difflib.get_close_matches(word, known, 1)
                    there = f"there are {', '.join(known).removeprefix('self, ')}"
                    hint = hints.get(word, f"did you mean {close[0]}?" if close else there)
                    raise TypeError(f"{word} is no argument of {name}: {hint}{'' if hint[-1] == '?' else '.'}")
            return function(*arguments, **named)

        return checked

    return decorate


_EPOCHS = "rows are drawn with replacement, or with replacement=False epoch by epoch"
of_rows = with_hints(
    replace=_EPOCHS, shuffle=_EPOCHS, intercept="add a column of ones", fit_intercept="add a column of ones"
)


def need_torch(package: str) -> None:
    """ImportError where a package of ours is asked for that works with PyTorch, and there is none."""
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        sentence = f"{package} needs PyTorch, which is not installed: pip install 'rdasde[torch]'."
        raise ImportError(sentence) from None


def number(
    argument: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
    mend: str = "give one finite number",
) -> float:
    """A finite real number, of which is asked ``above < x < below`` and ``least <= x <= most``."""
    value = _unboxed(value)
    accepted = "a finite number"
    if above > -math.inf:
        accepted += f" > {above:g}"
    if least > -math.inf:
        accepted += f" >= {least:g}"
    if most < math.inf:
        accepted += f" and <= {most:g}"
    if below < math.inf:
        accepted += f" and < {below:g}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise wrong_kind(argument, value, accepted, mend)
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not (math.isfinite(result) and above < result < below and least <= result <= most):
        raise bad(argument, value, accepted, mend)
    return result


def has_axes(value: object) -> bool:
    """Whether it is a sequence, ragged or not, or an array with axes."""
    return bool(getattr(value, "ndim", isinstance(value, Sequence) and not isinstance(value, str)))


def axes_of(value: object) -> int | None:
    """How many axes it has as an array; None where it is none, for it is ragged, or a tensor with a gradient."""
    try:
        return np.ndim(value)  # type: ignore[arg-type]
    except Exception:  # whatever it makes of being an array
        return None


def _unboxed(value: object) -> object:
    """A number that comes as an array without axes."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value) else value


def count(argument: str, value: object, *, least: int = 1, mend: str = "give a whole number") -> int:
    """A whole number of at least `least`."""
    value = _unboxed(value)
    accepted = f"a whole number >= {least}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise wrong_kind(argument, value, accepted, mend)
    if int(value) < least:
        raise bad(argument, value, accepted, mend)
    if int(value) >= 2**63:
        raise bad(argument, value, f"{accepted} and < 2**63", mend)
    return int(value)


def array(argument: str, value: ArrayLike, shape: tuple[int | None, ...], *, mend: str, truth: bool = False) -> Floats:
    """A new C-contiguous float array of the given shape (None: any length >= 1), finite throughout.

    With `truth`, truth values count as 0 and 1.
    """
    raw = _numbers(argument, value, shape, mend, "fiub" if truth else "fiu")
    result = np.array(raw, dtype=np.float64, order="C")
    wrong = int(np.count_nonzero(~np.isfinite(result)))
    if wrong:
        raise bad(argument, f"an array with {wrong} NaN or infinite entries", _described(shape), mend)
    return result


def sealed(values: Floats) -> Floats:
    """A view that cannot be written to: what was computed from the values would not follow."""
    view = values.view()
    view.flags.writeable = False
    return view


_LARGEST = 1e150  # whose square is a number


def design(argument: str, value: ArrayLike) -> Floats:
    """Rows of observations, (n, d), as a new array; truth values count as 0 and 1."""
    result = array(argument, value, (None, None), mend="give one row for each observation", truth=True)
    can_be_squared(argument, result)
    return result


def can_be_squared(argument: str, values: Floats) -> None:
    """ValueError where second moments would not be numbers."""
    largest = float(np.abs(values).max())
    if largest > _LARGEST:
        got = f"an array with entries up to {largest:.2g}"
        raise bad(argument, got, f"one of numbers below {_LARGEST:g}, whose squares are finite", "change the units")


_SLICE = 8192  # rows looked at, at a time


def rows(argument: str, value: Any, shape: tuple[int | None, ...], *, mend: str) -> NDArray[Any]:
    """As `array`, but as it is: rows may be many, so that they are neither copied nor converted; truth values count."""
    raw = _numbers(argument, value, shape, mend, "fiub")
    wrong = 0
    for low in range(0, len(raw), _SLICE):
        finite = np.isfinite(raw[low : low + _SLICE])
        wrong += int(np.count_nonzero(~finite.reshape(len(finite), -1).all(axis=1)))
    if wrong:
        raise bad(argument, f"an array with NaN or infinite entries in {wrong} rows", _described(shape), mend)
    return raw


def _described(shape: tuple[int | None, ...]) -> str:
    lengths = ", ".join("n" if k is None else str(k) for k in shape)
    return f"an array of shape ({lengths}{',' if len(shape) == 1 else ''}) of finite numbers"


def _numbers(argument: str, value: Any, shape: tuple[int | None, ...], mend: str, kinds: str) -> NDArray[Any]:
    """An array of a numeric dtype and of the given shape."""
    accepted = _described(shape)
    if hasattr(value, "toarray"):  # SciPy's sparse matrices, which NumPy takes for one object
        raise TypeError(f"{argument} is a sparse matrix, but must be {accepted}, dense: pass its .toarray().")
    not_masked(argument, value, accepted, mend)
    try:
        raw = _from_columns(value) if hasattr(value, "to_numpy") else np.asarray(value)
    except ValueError:
        raise bad(argument, "a ragged sequence", accepted, mend) from None
    except Exception as error:  # a tensor on a device, one with a gradient, one of bfloat16
        reason = " ".join(str(error).split(".")[0].split())[:90]
        raise TypeError(f"{argument} is no array ({reason}), but must be {accepted}: {mend}.") from None
    if raw.dtype.kind not in kinds:
        if raw.ndim and hasattr(value, "__array__") and raw.dtype.kind in _CONTENTS:
            content, convert = _CONTENTS[raw.dtype.kind]
            raise TypeError(f"{argument} is an array of {content}, but must be {accepted}: {convert}.")
        raise wrong_kind(argument, value, accepted, mend)
    right = raw.ndim == len(shape) and all(
        have >= 1 if want is None else have == want for have, want in zip(raw.shape, shape, strict=True)
    )
    if not right:
        if raw.ndim == len(shape) and raw.size == 0:
            kind = "number" if raw.ndim == 1 else "row" if raw.shape[0] == 0 else "column"
            mend = f"give at least one {kind}"
        raise bad(argument, f"an array of shape {raw.shape}", accepted, mend)
    return raw


def plain(argument: str, value: Any, accepted: str, mend: str) -> NDArray[Any]:
    """As NumPy's array, whatever its kind and shape; all of its entries are there."""
    not_masked(argument, value, accepted, mend)
    try:
        return np.asarray(value)
    except ValueError:
        raise bad(argument, "a ragged sequence", accepted, mend) from None
    except Exception:  # a tensor with a gradient, or on a device
        raise wrong_kind(argument, value, accepted, mend) from None


def reals(argument: str, value: Any) -> Floats:
    """Real numbers of any shape, NaN and infinite ones too, as they are where they are an array of them."""
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value
    accepted, mend = "a number or an array of numbers", "pass an array of floats"
    raw = plain(argument, value, accepted, mend)
    if raw.dtype.kind not in "fiu":
        raise wrong_kind(argument, value, accepted, mend)
    return raw.astype(np.float64)


def not_masked(argument: str, value: Any, accepted: str, mend: str) -> None:
    """ValueError for a masked array, and for a list of them: NumPy would read what lies below the mask."""
    masked = masked_entries(value)
    if masked:
        raise bad(argument, f"an array with {masked} masked entries", accepted, mend)


def masked_entries(value: Any) -> int:
    """How many there are in an array, or in a list of arrays."""
    parts = value if isinstance(value, list | tuple) else [value]
    return sum(int(np.count_nonzero(np.ma.getmaskarray(part))) for part in parts if np.ma.is_masked(part))


def integers(argument: str, value: ArrayLike, accepted: str, mend: str) -> NDArray[np.int64]:
    """One or more whole numbers, (n,)."""
    raw = np.atleast_1d(plain(argument, value, accepted, mend))
    if raw.ndim != 1 or raw.size == 0 or raw.dtype.kind not in "iu":
        raise wrong_kind(argument, value, accepted, mend)
    return raw.astype(np.int64)


_CONTENTS = {
    "O": ("Python objects", "convert it, for example by astype(float)"),
    "U": ("strings", "convert them to numbers, or encode categories in columns of 0 and 1"),
    "S": ("bytes", "convert them to numbers"),
    "c": ("complex numbers", "pass real and imaginary parts as columns"),
    "M": ("dates", "convert them to numbers, for example days since the first"),
    "m": ("durations", "convert them to numbers, for example seconds"),
}


def _from_columns(value: Any) -> NDArray[Any]:
    """Of a table, whose columns may be truth values beside numbers, or know of missing values (they become NaN)."""
    types = np.atleast_1d(np.asarray(value.dtypes if hasattr(value, "dtypes") else value.dtype, dtype=object))
    raw = np.asarray(value)
    if raw.dtype.kind == "O" and all(getattr(kind, "kind", "O") in "fiub" for kind in types):
        return np.asarray(value.to_numpy(dtype=np.float64, na_value=np.nan))
    return raw


def choice(argument: str, value: object, accepted: tuple[str, ...]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in accepted:
        words = ", ".join(repr(word) for word in accepted)
        raise bad(argument, show(value), f"one of {words}", "choose one of these")
    return value


def flag(argument: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise wrong_kind(argument, value, "True or False", "choose one of these")
    return bool(value)


def level(value: object) -> float:
    """A confidence level, strictly between 0 and 1."""
    return number("level", value, above=0.0, below=1.0, mend="give for example level=0.95")


def seed(value: int | str | None) -> int:
    """The seed, or a fresh one from the operating system; digits, as `kept_seed` writes them, count as a number."""
    if value is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0] >> np.uint32(1))
    if isinstance(value, str) and value.isdecimal() and len(value) <= _DIGITS:
        value = int(value)
    return count("seed", value, least=0, mend="give a whole number, or None for a fresh one")


_DIGITS = 19  # of 2**63


def kept_seed(value: int) -> int | str:
    """A seed as an attribute that every kind of netCDF file keeps: as digits where 32 bits are too few."""
    return value if value < 2**31 else str(value)


def executor(value: object) -> None:
    """None, or something that runs tasks as concurrent.futures.Executor does."""
    if value is not None and not isinstance(value, concurrent.futures.Executor):
        raise wrong_kind(
            "executor",
            value,
            "None or a concurrent.futures.Executor",
            "pass for example concurrent.futures.ProcessPoolExecutor(), or client.get_executor() of Dask",
        )
    closed = (getattr(value, name, False) is True for name in ("_shutdown", "_shutdown_thread"))
    if any(closed) and not getattr(value, "_broken", False):  # what a broken one was to do is done here
        raise no_executor("one that was shut down")


def no_executor(got: str) -> ValueError:
    """The ValueError of an executor that does not do what one does."""
    return bad("executor", got, "one that runs what it is given", "make it anew, or leave it out for threads")


def not_base(cls: type, base: type, what: str, example: str) -> None:
    """TypeError for an object of the base class itself."""
    if cls is base:
        raise TypeError(f"{base.__name__} is what {what} derives from, and none itself: use for example {example}.")


def function(argument: str, value: object, accepted: str, mend: str) -> None:
    """Something to call that is no class."""
    if not callable(value) or isinstance(value, type):
        raise wrong_kind(argument, value, accepted, mend)


def instance(argument: str, value: Any, kind: type | tuple[type, ...], accepted: str, mend: str) -> None:
    """An object of the right class."""
    if not isinstance(value, kind):
        raise wrong_kind(argument, value, accepted, mend)

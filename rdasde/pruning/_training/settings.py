"""What determines the weights of a run, and what is said of a run that was made with something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rdasde import _check

METHODS = ("grda", "sgd", "one-shot", "gradual", "rigl")
TO_A_SHARE = METHODS[2:]  # they reach the zeros they are told


class Settings(NamedTuple):
    """Everything but data, network, device and number of processes that determines the weights."""

    recipe: str
    epochs: int
    batch_size: int
    c: float
    mu: float
    spare: bool  # biases and batch norm are not thresholded
    seed: int
    method: str = "grda"
    zeros: float | None = None  # the share that `TO_A_SHARE` reach
    precision: str = "fp32"
    pictures: int | None = None  # fewer of them, fewer classes, fewer pixels a side
    classes: int | None = None
    side: int | None = None
    init: str | None = None  # of the file of first weights, its checksum


def differing(saved: Mapping[str, Any], settings: Settings) -> list[str]:
    """The names of what is otherwise in saved settings; what version 0.1 did not save was as the defaults are."""
    there, here = _heeded(saved), _heeded(settings._asdict())
    return [name for name in Settings._fields if name in there and name in here and there[name] != here[name]]


def _heeded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with every entry, but those that the method does not heed."""
    there = dict.fromkeys(Settings._fields) | Settings._field_defaults | dict(settings)
    if there["method"] == "grda" and there["c"] == 0.0:
        there["method"] = "sgd"
    unheeded = () if there["method"] == "grda" else ("c", "mu", "spare")
    return {name: value for name, value in there.items() if name not in unheeded}


def checked_zeros(zeros: float | None, method: str) -> float | None:
    """The share of zeros that a method is told, if it is one of those that are."""
    if method not in TO_A_SHARE:
        if zeros is not None:
            raise _check.bad("zeros", zeros, f"left out with method {method}", f"give it with {', '.join(TO_A_SHARE)}")
        return None
    if zeros is None:
        raise _check.bad("zeros", None, f"a share in (0, 1) with method {method}", "give --zeros, for example 0.9")
    return _check.number("zeros", zeros, above=0.0, below=1.0, mend="give a share, for example 0.9")

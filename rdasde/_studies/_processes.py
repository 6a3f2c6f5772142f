"""Trainings side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from rdasde._engine.blocks import workers
from rdasde._engine.store import Arrays


def in_processes(function: Callable[..., Arrays], tasks: Sequence[tuple[Any, ...]], here: bool) -> list[Arrays]:
    """``function(*task)`` for every task, in their order: one process a core, or all in this one if `here`."""
    if here or workers() == 1:
        return [function(*task) for task in tasks]
    with ProcessPoolExecutor(workers(), get_context("spawn")) as pool:
        return [future.result() for future in [pool.submit(function, *task) for task in tasks]]

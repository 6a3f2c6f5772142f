"""Ensembles: blocks of replicates, run anywhere, collected in order, kept on disk as they finish.

A *block* is up to LANES replicates. What a replicate draws depends on (seed, replicate) alone, and blocks are
collected in their order, so results do not depend on the executor or the number of workers.
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check, _users
from rdasde._compiled.lanes import LANES
from rdasde._engine.progress import Signals
from rdasde._engine.store import Arrays, Store
from rdasde._errors import warn

_CHUNK = 2**21  # numbers held at once


def blocks_of(replicates: NDArray[np.int64], several: int = 1) -> list[NDArray[np.int64]]:
    """The replicates in their order, LANES at a time, or `several` times as many."""
    size = LANES * several
    return [replicates[i : i + size] for i in range(0, len(replicates), size)]


def chunks_of(number: int, width: int) -> list[NDArray[np.int64]]:
    """The replicates 0, ..., number - 1 in chunks whose states, `width` numbers each, take a fixed amount of memory."""
    size = LANES * max(1, _CHUNK // (LANES * width))
    return [np.arange(first, min(first + size, number)) for first in range(0, number, size)]


def workers() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class AtOnce(concurrent.futures.Executor):
    """Runs a task where it is submitted: for one too short for a thread, and for profiles."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(function(*arguments, **named))
        return future


def run_blocks(
    task: Callable[..., Arrays],
    job: Any,
    blocks: list[NDArray[np.int64]],
    *,
    executor: concurrent.futures.Executor | None,
    signals: Signals,
    steps: int,
    store: Store | None = None,
) -> Generator[tuple[NDArray[np.int64], Arrays], None, None]:
    """Yield ``(block, task(job, block, signals))`` in the order of blocks, whatever order they finish in.

    Only a few blocks are under way at once, so memory does not grow with their number. Where workers die, the
    blocks they had are computed here. `signals` stays in this process: other processes get None.
    """
    own = executor is None
    pool = concurrent.futures.ThreadPoolExecutor(workers()) if executor is None else executor
    shares_memory = isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    window = 2 * (getattr(pool, "_max_workers", None) or workers())
    pending: dict[int, concurrent.futures.Future[Arrays] | None] = {}
    submitted, wait = 0, True
    signals.progress.start()
    try:
        for index, block in enumerate(blocks):
            while submitted < len(blocks) and submitted < index + window:
                coming = blocks[submitted]
                if store is None or not store.holds(coming):
                    pending[submitted] = _submit(pool, task, job, coming, signals if shares_memory else None, store)
                submitted += 1
            arrays = None
            if index in pending:
                try:
                    future = pending.pop(index)
                    if future is None:
                        raise concurrent.futures.BrokenExecutor
                    arrays = future.result()
                except concurrent.futures.CancelledError as error:
                    raise _check.no_executor("one that cancelled its tasks") from error
                except Exception as error:
                    if not _says_that_workers_died(error):
                        raise
                    warn("A worker died; its replicates are computed in this process.", RuntimeWarning)
                    arrays = task(job, block, None)
                    if store is not None:
                        store.save(block, arrays)
                if not isinstance(arrays, dict):
                    raise _check.no_executor(f"one whose task came to {_check.show(arrays)}")
            if arrays is None:
                assert store is not None
                arrays = store.load(block)
                signals.progress.add(steps * len(block))
            elif not shares_memory:
                signals.progress.add(steps * len(block))
            yield block, arrays
    except KeyboardInterrupt:
        wait = False  # threads may be compiling, and stop by themselves after that
        raise
    finally:
        signals.stop.set()
        for waiting in pending.values():
            if waiting is not None:
                waiting.cancel()
        if own:
            pool.shutdown(wait=wait)
        signals.progress.close()


def _says_that_workers_died(error: Exception) -> bool:
    """The standard library's executors, and Dask's, which has exceptions of its own and need not be installed."""
    kind = type(error)
    return isinstance(error, concurrent.futures.BrokenExecutor) or (
        kind.__module__.startswith("distributed.") and kind.__name__ in ("KilledWorker", "CommClosedError")
    )


def _submit(
    pool: concurrent.futures.Executor,
    task: Callable[..., Arrays],
    job: Any,
    block: NDArray[np.int64],
    signals: Signals | None,
    store: Store | None,
) -> concurrent.futures.Future[Arrays] | None:
    """The future of one block, done once that is kept on disk; None where the executor is broken."""
    try:
        future = pool.submit(task, job, block, signals)
    except concurrent.futures.BrokenExecutor:
        return None
    except Exception as error:
        raise _check.no_executor(f"one that takes no task ({_users.said(error)})") from error
    if not hasattr(future, "result"):
        raise _check.no_executor(f"one that makes {_check.show(future)} of a task, and no future")
    return future if store is None else _Kept(future, functools.partial(store.save, block))


class _Kept(concurrent.futures.Future[Arrays]):
    """A future of arrays that are kept the moment they are there, before anybody gets them: once, by one thread."""

    def __init__(self, source: concurrent.futures.Future[Arrays], keep: Callable[[Arrays], None]) -> None:
        super().__init__()
        self._source, self._keep = source, keep
        source.add_done_callback(self._finish)

    def _finish(self, done: concurrent.futures.Future[Arrays]) -> None:
        if done.cancelled():
            super().cancel()
            return
        try:
            arrays = done.result()
            self._keep(arrays)
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(arrays)

    def cancel(self) -> bool:
        return self._source.cancel()

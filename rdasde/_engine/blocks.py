"""Ensembles: blocks of replicates, run anywhere, collected in order, kept on disk as they finish.

A *block* is up to LANES replicates. What a replicate draws depends on (seed, replicate) alone, and blocks are
collected in their order, so results do not depend on the executor or the number of workers.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._compiled.lanes import LANES
from rdasde._errors import TooMuchMemoryError

Arrays = dict[str, NDArray[Any]]

_SILENT = 2.0  # seconds before a bar shows


def blocks_of(replicates: NDArray[np.int64], several: int = 1) -> list[NDArray[np.int64]]:
    """The replicates in their order, LANES at a time, or `several` times as many."""
    size = LANES * several
    return [replicates[i : i + size] for i in range(0, len(replicates), size)]


def workers() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def need_memory(size: float, what: str, mend: str) -> None:
    """Refuse before the start what would not fit in memory."""
    available = _available_memory()
    if size > 0.9 * available:
        raise TooMuchMemoryError(
            f"{what} would take {size / 2**30:.3g} GiB, but {available / 2**30:.3g} GiB of memory are free: {mend}."
        )


def _available_memory() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024.0
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return 2.0**63


class Progress:
    """A bar that counts steps over all replicates; silent where nobody would see it, and for the first seconds."""

    def __init__(self, wanted: bool | None, total: int, name: str) -> None:
        if wanted is None:
            wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
        elif not isinstance(wanted, bool):
            raise _check.wrong_kind("progress", wanted, "None, True or False", "pass True to see a bar")
        self._lock = threading.Lock()
        self._bar = None
        if wanted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm's, about a notebook without widgets: it falls back to text
                from tqdm.auto import tqdm
            self._bar = tqdm(total=total, desc=name, unit="step", unit_scale=True, delay=_SILENT)

    def add(self, steps: int) -> None:
        if self._bar is not None:
            with self._lock:
                self._bar.update(steps)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Control:
    """What threads of one run share: the bar, and whether to stop early."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stop = threading.Event()


class AtOnce(concurrent.futures.Executor):
    """Runs a task where it is submitted: for one too short for a thread, and for profiles."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(function(*arguments, **named))
        return future


class Store:
    """Finished blocks as files of a directory: arrays only, nothing that could be executed.

    `description` names the run; a directory that holds another run is refused.
    """

    def __init__(self, path: str | os.PathLike[str], description: dict[str, Any]) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        header = self.path / "run.json"
        text = json.dumps(description, indent=1, sort_keys=True)
        if header.exists():
            there = json.loads(header.read_text())
            differing = [key for key in description if there.get(key) != description[key]]
            if differing:
                raise _check.bad(
                    "store",
                    f"a directory with another run (it differs in {', '.join(differing)})",
                    "empty, or a directory with the same run",
                    "give another path, or repeat the run with the same arguments",
                )
        else:
            scratch = _scratch(header)
            scratch.write_text(text)
            os.replace(scratch, header)

    @staticmethod
    def seed_in(path: str | os.PathLike[str]) -> int | None:
        """The seed of the run already kept there, if any."""
        header = Path(path) / "run.json"
        return int(json.loads(header.read_text())["seed"]) if header.exists() else None

    def _file(self, block: NDArray[np.int64]) -> Path:
        name = hashlib.sha256(block.astype("<i8").tobytes()).hexdigest()[:12]
        return self.path / f"block-{int(block[0]):08d}-{name}.npz"

    def holds(self, block: NDArray[np.int64]) -> bool:
        """Whether the block is finished."""
        return self._file(block).exists()

    def load(self, block: NDArray[np.int64]) -> Arrays:
        """A finished block."""
        with np.load(self._file(block), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def save(self, block: NDArray[np.int64], arrays: Arrays) -> None:
        """Keep a finished block; a file appears whole or not at all."""
        file = self._file(block)
        scratch = _scratch(file)
        with open(scratch, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(scratch, file)


def _scratch(file: Path) -> Path:
    return file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")


def run_blocks(
    task: Callable[..., Arrays],
    job: Any,
    blocks: list[NDArray[np.int64]],
    *,
    executor: concurrent.futures.Executor | None,
    control: Control,
    steps: int,
    store: Store | None = None,
) -> Generator[tuple[NDArray[np.int64], Arrays], None, None]:
    """Yield ``(block, task(job, block, control))`` in the order of blocks, whatever order they finish in.

    Only a few blocks are under way at once, so memory does not grow with their number. Where workers die, the
    blocks they had are computed here. `control` stays in this process: other processes get None.
    """
    own = executor is None
    pool = concurrent.futures.ThreadPoolExecutor(workers()) if executor is None else executor
    shares_memory = isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    window = 2 * (getattr(pool, "_max_workers", None) or workers())
    pending: dict[int, concurrent.futures.Future[Arrays] | None] = {}
    submitted = 0
    try:
        for index, block in enumerate(blocks):
            while submitted < len(blocks) and submitted < index + window:
                coming = blocks[submitted]
                if store is None or not store.holds(coming):
                    pending[submitted] = _submit(pool, task, job, coming, control if shares_memory else None, store)
                submitted += 1
            arrays = None
            if index in pending:
                try:
                    future = pending.pop(index)
                    if future is None:
                        raise concurrent.futures.BrokenExecutor
                    arrays = future.result()
                except concurrent.futures.BrokenExecutor:
                    message = "A worker died; its replicates are computed in this process."
                    warnings.warn(message, RuntimeWarning, stacklevel=4)
                    arrays = task(job, block, None)
                if store is not None and not store.holds(block):
                    store.save(block, arrays)
            if arrays is None:
                assert store is not None
                arrays = store.load(block)
                control.progress.add(steps * len(block))
            elif not shares_memory:
                control.progress.add(steps * len(block))
            yield block, arrays
    finally:
        control.stop.set()
        for waiting in pending.values():
            if waiting is not None:
                waiting.cancel()
        if own:
            pool.shutdown(wait=True)
        control.progress.close()


def _submit(
    pool: concurrent.futures.Executor,
    task: Callable[..., Arrays],
    job: Any,
    block: NDArray[np.int64],
    control: Control | None,
    store: Store | None,
) -> concurrent.futures.Future[Arrays] | None:
    """The future of one block, kept on disk the moment it finishes; None where the executor is broken."""
    try:
        future = pool.submit(task, job, block, control)
    except concurrent.futures.BrokenExecutor:
        return None
    if store is not None:

        def keep(done: concurrent.futures.Future[Arrays]) -> None:
            if not done.cancelled() and done.exception() is None:
                store.save(block, done.result())

        future.add_done_callback(keep)
    return future

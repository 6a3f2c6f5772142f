"""What is refused before the start, since it would not fit in memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from rdasde._errors import TooMuchMemoryError

_KEPT = 4_000_000  # numbers: the most that the C library of Linux can be told to keep, 32 MB


def keep_freed_memory() -> None:
    """Let the arrays of a solver, freed at every step, stay with the process for the next.

    The C library of Linux hands large ones back to the system at once, which clears each page anew when it is asked
    for: a third of the time of equations in matrices of 200 x 200. Up to which size it keeps them, it learns from the
    largest that it has seen freed, whether anything was written to it or not.
    """
    np.empty(_KEPT)


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


def need_memory_for_runs(number: int) -> None:
    """Of their numbers alone."""
    need_memory(16.0 * number, "The list of replicates", "take fewer, in several runs")

"""How things are measured and written: rounds that interleave, workers held to some cores, tables."""

from __future__ import annotations

import contextlib
import cProfile
import importlib.metadata
import multiprocessing
import os
import platform
import pstats
import time
from pathlib import Path

import numpy as np

PACKAGES = ("numpy", "scipy", "numba", "xarray", "jax", "diffrax", "torch", "torchsde", "sdeint")


class Missing(Exception):
    """A peer cannot be measured here; says why."""


class Worker:
    """A process of its own, held to `cores` cores before anything is imported there.

    ``setup(*arguments)`` runs there once and returns a function; calling the worker calls that function, and gives
    the seconds it took and what it returned. The first call, which compiles, is made here and kept in `first`.
    """

    def __init__(self, setup, *arguments, cores=1, warm=()):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, cores, setup, arguments), daemon=True)
        self._process.start()
        other.close()
        self._answer()
        self.first, self.value = self(*warm)

    def __call__(self, *arguments):
        self._pipe.send(arguments)
        return self._answer()

    def _answer(self):
        try:
            good, answer = self._pipe.recv()
        except EOFError:
            raise Missing("its process died") from None
        if not good:
            self.close()
            raise Missing(answer)
        return answer

    def close(self):
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(pipe, cores, setup, arguments):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
    try:
        measure = setup(*arguments)
        pipe.send((True, None))
        while (call := pipe.recv()) is not None:
            start = time.perf_counter()
            value = measure(*call)
            pipe.send((True, (time.perf_counter() - start, value)))
    except EOFError:
        pass
    except Exception as error:
        pipe.send((False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]))


def hire(staff, cores=1):
    """Workers by name from ``{name: (setup, its arguments, those of a first call)}``; a line for each not to be had."""
    workers, lines = {}, []
    for name, (setup, arguments, warm) in staff.items():
        try:
            workers[name] = Worker(setup, *arguments, cores=cores, warm=warm)
        except Missing as reason:
            lines.append(f"Skipped: {name} ({reason}).\n")
    return workers, lines


def interleave(measures, rounds, *, least=0.0, clock=time.perf_counter):
    """By name, what `clock` advances by in each round; what takes under `least` seconds is repeated, and averaged."""
    taken = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            begun, start, repeated = time.perf_counter(), clock(), 0
            while repeated == 0 or time.perf_counter() - begun < least:
                measure()
                repeated += 1
            taken[name].append((clock() - start) / repeated)
    return {name: np.array(values) for name, values in taken.items()}


def spread(values, digits=3):
    """Median and quartiles."""
    values = np.atleast_1d(values)
    middle, low, high = (f"{x:#.{digits}g}".rstrip(".") for x in np.quantile(values, [0.5, 0.25, 0.75]))
    return f"{middle} [{low} .. {high}]" if values.size > 1 else middle


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def asked(name, values, must, aim, digits=3):
    """A row of what was asked: at most or, with a sign of its own, at least."""
    better = "at most" if aim < must else "at least"
    middle = float(np.median(values))
    reached = [middle <= bound if aim < must else middle >= bound for bound in (must, aim)]
    verdict = "aim" if reached[1] else "must" if reached[0] else "**missed**"
    return [name, spread(values, digits), f"{better} {must:g}", f"{aim:g}", verdict]


ASKED = ["", "measured", "must", "aim", "reached"]


def where_time_goes(run, number=6):
    """A sentence: the functions in which one run spends most of its own time, by cProfile."""
    profile = cProfile.Profile()
    profile.runcall(run)
    stats = pstats.Stats(profile).stats
    total = sum(entry[2] for entry in stats.values())
    longest = sorted(stats.items(), key=lambda item: -item[1][2])[:number]
    shares = [f"`{_place(*where)}` {entry[2] / total:.0%}" for where, entry in longest]
    return f"Own time by function, one profiled run: {', '.join(shares)}."


def _place(file, line, function):
    module = Path(file).stem if file not in ("~", "") else ""
    return f"{module}.{function}" if module else function.split(" of ")[0].strip("<>{}")


def slope(x, y):
    """Exponent fitted to the larger half of the points."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def versions():
    found = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def machine():
    cpuinfo = Path("/proc/cpuinfo")
    names = [s.split(":")[1].strip() for s in cpuinfo.read_text().splitlines() if s.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    return (
        f"{names[0]}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}; "
        f"Python {platform.python_version()}, {versions()}"
    )

"""Blocks of replicates put together: what `simulate` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._algorithm import RDA
from rdasde._bands.inside import Inside
from rdasde._check import Floats
from rdasde._engine.pooled import pooled
from rdasde._engine.results import result_attributes
from rdasde._engine.store import Arrays
from rdasde._engine.time_axis import TimeAxis
from rdasde._problems.base import Problem
from rdasde._simulation.block import Job

if TYPE_CHECKING:
    import xarray as xr


class Collected:
    """Blocks put together in their order: paths side by side, moments merged."""

    def __init__(self, job: Job, numbers: NDArray[np.int64], axis: TimeAxis, problem: Problem, algorithm: RDA) -> None:
        self.job, self.numbers, self.axis, self.problem, self.algorithm = job, numbers, axis, problem, algorithm
        shape = (len(axis.steps), len(job.coordinates))
        self.done = 0
        self.diverged = 0
        self.arrays: Arrays = {name: np.full((len(numbers), shape[0]), np.nan) for name in job.statistics}
        if job.summary:
            names = [f"{space}_{moment}" for space in job.spaces for moment in ("mean", "squares")]
            self.arrays |= {name: np.zeros(shape) for name in [*names, "zeros"]}
        else:
            self.arrays |= {name: np.empty((len(numbers), *shape)) for name in job.spaces}
        self.inside: Floats | float = 0.0  # how many runs are

    def add(self, block: NDArray[np.int64], part: Arrays) -> None:
        """The next block."""
        rows = slice(self.done, self.done + len(block))
        for name in self.job.statistics:
            self.arrays[name][rows] = part[name]
        if self.job.summary:
            for space in self.job.spaces:
                mean, squares = self.arrays[f"{space}_mean"], self.arrays[f"{space}_squares"]
                with np.errstate(over="ignore", invalid="ignore"):  # a run on its way to infinity
                    both = pooled(float(self.done), mean, float(len(block)), part[f"{space}_mean"])
                    squares += part[f"{space}_squares"]
                    squares += both.gap**2 * both.weight
                    mean[:] = both.mean
            self.arrays["zeros"] += part["zeros"]
        else:
            for name in self.job.spaces:
                self.arrays[name][rows] = part[name]
        if self.job.inside is not None:
            self.inside = self.inside + part["inside"]
        self.done = rows.stop
        self.diverged += int(np.count_nonzero(part["diverged"] >= 0))

    def dataset(self) -> xr.Dataset:
        """What there is so far, NaN where nothing is."""
        import xarray as xr

        job = self.job
        data: dict[str, Any] = {}
        if job.summary:
            n = self.done
            grid = ("time", "coordinate")
            for space in job.spaces:
                data[f"{space}_mean"] = (grid, self.arrays[f"{space}_mean"] if n else np.nan * self.arrays["zeros"])
                with np.errstate(invalid="ignore"):
                    variance = self.arrays[f"{space}_squares"] / (n - 1) if n > 1 else np.nan * self.arrays["zeros"]
                data[f"{space}_std"] = (grid, np.sqrt(variance))
            share = self.arrays["zeros"] / n if n else np.nan * self.arrays["zeros"]
            # a diverged replicate is neither zero nor not
            data["probability_zero"] = (grid, np.where(np.isnan(self.arrays["primal_mean"]), np.nan, share))
        else:
            for name in job.spaces:
                self.arrays[name][self.done :] = np.nan
                data[name] = (("replicate", "time", "coordinate"), self.arrays[name])
        for name in job.statistics:
            data[name] = (("replicate", "time"), self.arrays[name])
        if job.inside is not None:
            data["inside"] = self._shares(job.inside)
        data["threshold"] = (("time",), job.dynamics.thresholds[self.axis.steps])
        coords: dict[str, Any] = {"time": self.axis.times, "coordinate": job.coordinates}
        if not job.summary or job.statistics:
            coords["replicate"] = self.numbers
        result = xr.Dataset(data, coords=coords)
        result.attrs = result_attributes(self.problem, self.algorithm, "simulate")
        result.attrs |= {"seed": _check.kept_seed(job.seed), "replicates": self.done, "diverged": self.diverged}
        if job.inside is not None:
            result.attrs["inside_band"] = job.inside.digest
        return result

    def _shares(self, inside: Inside) -> tuple[tuple[str, ...], Floats]:
        """Of the runs inside a band; NaN in coordinates that it does not have."""
        dims = ("time", "coordinate")[inside.together :] if inside.columns is not None else ("time",)[inside.together :]
        shares = np.asarray(self.inside / self.done if self.done else np.nan * np.asarray(self.inside))
        if "coordinate" not in dims:
            return dims, shares
        every = np.full((*inside.lower.shape[: len(dims) - 1], len(self.job.coordinates)), np.nan)
        every[..., inside.columns] = shares
        return dims, every

"""The state of a stream: the algorithm's own, and the sums that inference is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.blocks import need_memory
from rdasde._errors import DivergenceError
from rdasde._inference.laws import Stretch, Sums, newton
from rdasde._inference.row_loop import Rows, Rule, State, add_products, advance_rows
from rdasde._problems.row_terms import Moments, RowModel

_BLOCK = 256  # rows (at least) whose outer products are summed at a time
_SLICE = 8192  # rows converted at a time
LEFT_OUT = 8  # the average leaves out at most one row in this many


class Stream:
    """Rows go through the algorithm in blocks that do not depend on how they arrive.

    Parameters
    ----------
    model : RowModel
        Where it is directional, the dual starts at the first row that is not zero, scaled to length 1, instead of 0.
    algorithm : RDA
    dimension : int
    """

    def __init__(self, model: RowModel, algorithm: RDA, dimension: int) -> None:
        algorithm.mirror.check_dimension(dimension)
        self._parameters, self._is_linearized, self.algorithm = model.parameters, model.is_linearized, algorithm
        self.block = algorithm.batch_size * -(-_BLOCK // algorithm.batch_size)
        need_memory(8.0 * dimension * (12.0 * dimension + 2.0 * self.block), "Sums of outer products", "drop columns")
        self.rows = 0
        v, pending, total, centre, curvature = (np.zeros(dimension) for _ in range(5))
        w = algorithm.mirror.prox(v, self.threshold(np.zeros(1))[0])
        self._state = State(v, w, pending)
        gradients, roots = np.zeros((2, -(-self.block // 8) * 8, dimension))
        self._moments = Moments(total, centre, curvature, gradients, roots)
        self._rule = Rule(np.zeros(0), algorithm.step_size, algorithm.batch_size, model.is_linearized)
        self._roots, self._gradients = np.zeros((2, dimension, dimension))  # upper triangles
        self._started = not model.is_directional
        self._marks: list[Sums] = []  # at blocks 1, 2, 4, 8, ...
        self._origin = self.sums()

    @property
    def dual(self) -> Floats:
        return self._state.dual

    @property
    def primal(self) -> Floats:
        return self._state.primal

    @property
    def steps(self) -> int:
        """Finished ones."""
        return self.rows // self.algorithm.batch_size

    def threshold(self, steps: NDArray[Any]) -> Floats:
        """g after so many steps."""
        return self.algorithm.thresholds(steps * self.algorithm.step_size)

    def take(self, rows: NDArray[Any], response: NDArray[Any]) -> None:
        """Go on with checked rows."""
        if not self._started:
            nonzero = np.flatnonzero(np.any(rows != 0.0, axis=1))
            first = int(nonzero[0]) if nonzero.size else len(rows)
            self._run(rows[:first], response[:first])
            rows, response = rows[first:], response[first:]
            if len(rows):
                row = np.array(rows[0], dtype=np.float64)
                self.dual[:] = row / float(np.linalg.norm(row))
                self.primal[:] = self.algorithm.mirror.prox(self.dual, self.threshold(np.array([self.steps]))[0])
                self._started = True
                self.forget()
        self._run(rows, response)

    def forget(self) -> None:
        """Averages begin here at the earliest."""
        self._origin = self.sums()

    def first(self) -> Sums:
        """Where averages begin."""
        marks = [mark for mark in self._marks if self._origin.rows <= mark.rows <= self.rows // LEFT_OUT]
        return marks[-1] if marks else self._origin

    def sums(self) -> Sums:
        """Everything up to now."""
        place = self.rows % self.block

        def product(total: Floats, block: Floats) -> Floats:
            total = total.copy()
            if place:
                part = np.zeros_like(block)
                part[:place] = block[:place]
                add_products(part, total)
            return np.triu(total) + np.triu(total, 1).T

        return Sums(
            self.rows,
            self.steps,
            self.dual.copy(),
            self.primal.copy(),
            self._moments.total.copy(),
            product(self._roots, self._moments.roots),
            product(self._gradients, self._moments.gradients),
            self._moments.curvature.copy(),
        )

    def _run(self, rows: NDArray[Any], response: NDArray[Any]) -> None:
        for low in range(0, len(rows), _SLICE):
            x = np.ascontiguousarray(rows[low : low + _SLICE], dtype=np.float64)
            y = np.ascontiguousarray(response[low : low + _SLICE], dtype=np.float64)
            here = 0
            while here < len(x):
                place = self.rows % self.block
                if place == 0:
                    steps = self.steps + 1 + np.arange(self.block // self.algorithm.batch_size)
                    self._rule = self._rule._replace(thresholds=self.threshold(steps))
                there = min(here + self.block - place, len(x))
                self._advance(x[here:there], y[here:there])
                here = there
                if self.rows % self.block == 0:
                    self._fold()

    def _fold(self) -> None:
        """Add a full block to the sums; mark the stream at powers of two."""
        add_products(self._moments.roots, self._roots)
        add_products(self._moments.gradients, self._gradients)
        blocks = self.rows // self.block
        if blocks & (blocks - 1) == 0:
            self._marks = [*(mark for mark in self._marks if mark.rows * LEFT_OUT >= self.rows), self.sums()]
            if self._is_linearized:
                self._linearize_anew()

    def _linearize_anew(self) -> None:
        """At the estimate of now, until the rows have doubled; at a running average while there is no good one."""
        first, last = self.first(), self._marks[-1]
        estimate = newton(Stretch.between(first, last, self.algorithm.step_size, False)) if last.steps else None
        self._rule = self._rule._replace(follow=estimate is None)
        if estimate is not None:
            self._moments.centre[:] = estimate

    def _advance(self, x: Floats, y: Floats) -> None:
        place = self.rows % self.block
        # what the rows of this call leave in the block is written anew by the next one
        arrays = (*self._state, self._moments.total, self._moments.centre, self._moments.curvature)
        before = [array.copy() for array in arrays]
        if self._kernel(Rows(x, y, self.rows, place)):
            self.rows += len(x)
            return

        def restore() -> None:
            for array, old in zip(arrays, before, strict=True):
                array[:] = old

        restore()
        # one row at a time, to say where
        parts = (Rows(x[i : i + 1], y[i : i + 1], self.rows + i, place + i) for i in range(len(x)))
        row = next((i for i, part in enumerate(parts) if not self._kernel(part)), 0)
        restore()
        raise self._divergence((self.rows + row) // self.algorithm.batch_size + 1, x)

    def _kernel(self, rows: Rows) -> bool:
        finite: bool = advance_rows(
            self._parameters, self.algorithm.mirror.parameters, self._rule, rows, self._state, self._moments
        )
        return finite

    def _divergence(self, step: int, rows: Floats) -> DivergenceError:
        step_size = self.algorithm.step_size
        trace = float(np.mean(np.sum(rows**2, axis=1)))
        return DivergenceError(
            f"The stream diverged at step {step} (t = {step * step_size:g}): step_size {step_size:g} times the mean "
            f"squared length of the rows there, {trace:.3g}, is {step_size * trace:.3g}; take a smaller step or scale "
            "the columns.",
            step=step,
            time=step * step_size,
            replicate=0,
        )

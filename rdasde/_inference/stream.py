"""The state of a stream: the algorithm's own, and the sums that inference is made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde._algorithm import RDA
from rdasde._check import Floats
from rdasde._engine.memory import need_memory
from rdasde._errors import DivergenceError
from rdasde._inference.density import narrower
from rdasde._inference.head import Head, Linearization
from rdasde._inference.laws import Stretch, Sums, newton
from rdasde._inference.repeats import Repeats
from rdasde._inference.row_loop import Rows, Rule, State, add_products, advance_rows
from rdasde._inference.units import Sums as UnitSums
from rdasde._inference.units import Units
from rdasde._problems.row_terms import DensityModel, Moments, RowModel

_BLOCK = 256  # rows (at least) whose outer products are summed at a time
_SLICE = 8192  # rows (at most) taken at a time
_NUMBERS = 2**20  # and numbers in them
_HEAD = 2048  # rows (at least) that are kept, the first ones
_HEAD_PER_COLUMN = 16
LEFT_OUT = 8  # the average leaves out at most one row in this many


class Stream:
    """Rows go through the algorithm in blocks that do not depend on how they arrive.

    A value: `after` returns the stream with more rows, and leaves this one as it is, so that whoever is interrupted
    still holds a stream of exactly `rows` rows. What both have in common is shared: blocks and kept rows are written
    only where the earlier stream does not look.

    Parameters
    ----------
    model : RowModel
        Where it is directional, the dual starts at the first row that is not zero, scaled to length 1, instead of 0.
    algorithm : RDA
    columns : int
        Of X; the dimension d is as many times that as a row has predictors.
    fixed : Linearization, optional
        Where gradients are linearized from the first row to the last; chosen along the way if it is not given.

    Attributes
    ----------
    head : Head or None
        The first rows, kept: the path through them can be gone again, linearized at a better place or row by row.
        None for a directional model and for a stream with a `fixed` linearization, which goes such a path.
    units : Units
        Sums over short runs of rows that follow on one another.
    repeats : Repeats
        Of rows taken while `is_watched`.
    is_watched : bool
    centres : list of (int, Linearization)
        From which row on gradients are linearized where.
    """

    def __init__(self, model: RowModel, algorithm: RDA, columns: int, fixed: Linearization | None = None) -> None:
        several = model.predictors
        dimension = columns * several
        algorithm.mirror.check_dimension(dimension)
        self._model, self.algorithm = model, algorithm
        self.block = algorithm.batch_size * -(-_BLOCK // algorithm.batch_size)
        kept = self.block
        while kept < max(_HEAD, _HEAD_PER_COLUMN * dimension):
            kept *= 2
        numbers = dimension * (12.0 * dimension + (2.0 + several) * self.block) + float(kept) * columns
        if several > 1:  # while the kept rows are looked at; one root a row takes no more than there is anyway
            numbers += float(kept) * several * dimension
        need_memory(8.0 * numbers, "Sums of outer products", "drop columns")
        self.rows = 0
        v, pending, total, curvature, bent = (np.zeros(dimension) for _ in range(5))
        w = algorithm.mirror.prox(v, self.threshold(np.zeros(1))[0])
        self._state = State(v, w, pending)
        lines = -(-self.block // 8) * 8
        gradients, path = np.zeros((2, lines, dimension))
        roots = np.zeros((lines * several, dimension))
        start = np.zeros(dimension) if fixed is None or fixed.centre is None else fixed.centre.copy()
        self._moments = Moments(total, start, curvature, gradients, roots, path, bent)
        follow = model.is_linearized and fixed is None
        self._rule = Rule(np.zeros(0), algorithm.step_size, algorithm.batch_size, follow, model.is_linearized)
        self._is_replay = fixed is not None
        self.head = None if self._is_replay or model.is_directional else Head(model, kept, columns)
        self.centres = [(0, fixed or Linearization(None, model.parameters))]
        self._behind = 0  # rows that the last one was estimated from
        self.units = Units(self.block, dimension)
        self.repeats = Repeats(model.has_response)
        self.is_watched = not self._is_replay
        self._labels = np.zeros(2, dtype=bool)  # whether zeros have been seen, and others, of labels and counts
        self._roots, self._gradients = np.zeros((2, dimension, dimension))  # upper triangles
        self._started = not model.is_directional
        self._marks: list[Sums] = []  # at blocks 1, 2, 4, 8, ...
        self._is_shared = False
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

    def slices(self, rows: NDArray[Any], response: NDArray[Any]) -> Iterator[tuple[Floats, Floats]]:
        """Checked rows as `after` takes them: few enough to be taken again after an interruption."""
        size = min(_SLICE, max(_BLOCK, _NUMBERS // rows.shape[1]))
        for low in range(0, len(rows), size):
            x = np.ascontiguousarray(rows[low : low + size], dtype=np.float64)
            yield x, np.ascontiguousarray(response[low : low + size], dtype=np.float64)

    def after(self, x: Floats, y: Floats) -> Stream:
        """The stream with these rows; a DivergenceError carries, as `partial`, that until shortly before."""
        stream, low = self._draft(), 0
        if not self._started:
            nonzero = np.flatnonzero(np.any(x != 0.0, axis=1))
            low = int(nonzero[0]) if nonzero.size else len(x)
            stream._run(x[:low], y[:low])
            if low < len(x):
                row = x[low]
                stream._state.dual[:] = row / float(np.linalg.norm(row))
                stream.primal[:] = self.algorithm.mirror.prox(stream.dual, self.threshold(np.array([stream.steps]))[0])
                stream._started = True
                stream._forget()
        stream._run(x[low:], y[low:])
        if stream.rows < self.rows + len(x):
            taken = stream.rows - self.rows
            good = self.after(x[:taken], y[:taken]) if taken else self
            raise good._divergence(x[taken:], y[taken:])
        if self.is_watched:
            stream.repeats = self.repeats.taken(x, y)
        return stream

    def forgetful(self, watched: bool) -> Stream:
        """The same, averages beginning here at the earliest; whether later rows are watched for repetitions."""
        stream = self._draft()
        stream.is_watched = watched
        stream._forget()
        return stream

    def watchful(self) -> Stream:
        """The same, later rows being watched for repetitions."""
        stream = self._draft()
        stream.is_watched = True
        return stream

    def _draft(self) -> Stream:
        """A stream that may be changed, up to the end of its block, without a change of this one."""
        draft = copy.copy(self)
        draft.head = copy.copy(self.head)
        draft._state = State(*(array.copy() for array in self._state))
        moments = self._moments
        draft._moments = moments._replace(
            total=moments.total.copy(),
            centre=moments.centre.copy(),
            curvature=np.zeros_like(moments.total),
            bent=moments.bent.copy(),
        )
        draft._is_shared = True
        return draft

    def _own(self) -> None:
        """Before a block ends: what the earlier stream still looks at is left to it."""
        if self._is_shared:
            self._is_shared = False
            moments = self._moments
            self._moments = moments._replace(
                gradients=moments.gradients.copy(), roots=moments.roots.copy(), path=moments.path.copy()
            )
            self._roots, self._gradients = self._roots.copy(), self._gradients.copy()

    def _forget(self) -> None:
        self._origin = self.sums()
        self.units = Units(self.block, len(self.dual), self.rows)

    @property
    def has_one_class(self) -> bool:
        """Whether all rows so far have the same label, or all counts are zero."""
        if self._model.is_count:
            return not self._labels[1]
        return self._model.is_binary and not np.all(self._labels)

    @property
    def is_short(self) -> bool:
        """Whether all rows so far are still in memory."""
        return self.head is not None and self.rows <= len(self.head.rows)

    @property
    def linearization(self) -> Linearization:
        """That of the last row."""
        return self.centres[-1][1]

    def replay(self, fixed: Linearization, visit: Callable[[int, Moments], None] | None = None) -> Stream:
        """The way through the kept rows once more, gradients linearized there; the same path, bit for bit.

        ``visit(first, moments)`` is called for each block: arrays of `moments` that have a line for each row are those
        of the rows from `first` on.
        """
        assert self.head is not None
        x, y = self.head.taken()
        again = Stream(self._model, self.algorithm, x.shape[1], fixed)
        for low in range(0, len(x), self.block):
            high = min(low + self.block, len(x))
            cut = min(max(self._origin.rows, low), high)
            for start, stop in ((low, cut), (cut, high)):
                if start == self._origin.rows:
                    again._forget()
                again._run(x[start:stop], y[start:stop])
            if visit is not None:
                visit(low, again._moments)
        return again

    def first(self) -> Sums:
        """Where averages begin."""
        marks = [mark for mark in self._marks if self._origin.rows <= mark.rows <= self.rows // LEFT_OUT]
        return marks[-1] if marks else self._origin

    def batches(self, first: Sums) -> UnitSums:
        """Sums over each unit of rows since `first`."""
        place = self.rows % self.block
        return self.units.since(first.rows, self.rows - place, self._moments.gradients[:place], self._moments.path)

    def sums(self) -> Sums:
        """Everything up to now."""
        place = self.rows % self.block

        def product(total: Floats, block: Floats, lines: int) -> Floats:
            total = total.copy()
            if lines:
                part = np.zeros_like(block)
                part[:lines] = block[:lines]
                add_products(part, total)
            return np.triu(total) + np.triu(total, 1).T

        return Sums(
            self.rows,
            self.steps,
            self.dual.copy(),
            self.primal.copy(),
            self._moments.total.copy(),
            product(self._roots, self._moments.roots, place * self._model.predictors),
            product(self._gradients, self._moments.gradients, place),
            self._moments.bent.copy(),
        )

    def _run(self, x: Floats, y: Floats) -> None:
        """In place; it ends early, before the block in which the state stops being finite."""
        if self._model.is_binary or self._model.is_count:
            self._labels = self._labels | np.array([np.any(y == 0.0), np.any(y > 0.0)])
        here = 0
        while here < len(x):
            place = self.rows % self.block
            if place == 0:
                steps = self.steps + 1 + np.arange(self.block // self.algorithm.batch_size)
                self._rule = self._rule._replace(thresholds=self.threshold(steps))
            there = min(here + self.block - place, len(x))
            if not self._kernel(Rows(x[here:there], y[here:there], self.rows, place)):
                return
            self.rows += there - here
            if self.head is not None:
                self.head.keep(x[here:there], y[here:there])
            here = there
            if self.rows % self.block == 0:
                self._own()
                self._fold()

    def _fold(self) -> None:
        """Add a full block to the sums; mark the stream at powers of two."""
        add_products(self._moments.roots, self._roots)
        add_products(self._moments.gradients, self._gradients)
        self.units = self.units.added(self.rows - self.block, self._moments.gradients, self._moments.path)
        blocks = self.rows // self.block
        if blocks & (blocks - 1) == 0:
            self._marks = [*(mark for mark in self._marks if mark.rows * LEFT_OUT >= self.rows), self.sums()]
            if self._model.is_linearized and not self._is_replay:
                self._linearize_anew()

    def _linearize_anew(self) -> None:
        """At the estimate of now, until the rows have doubled; at a running average while there is none.

        When the head is full, it is gone through again, linearized where its estimating equation is solved: what
        comes later never depends on a centre that remembers the start.
        """
        assert self.head is not None
        if self.rows == len(self.head.rows):
            solution = self.head.solution()
            if solution is not None:
                again = self.replay(solution)
                self._marks, self._origin, self.units = again._marks, again._origin, again.units
                self._roots, self._gradients = again._roots, again._gradients
                self._moments.bent[:], self.centres = again._moments.bent, again.centres
                self._moments.centre[:], self._rule = again._moments.centre, self._rule._replace(follow=False)
                self._behind = self.rows
        first, last = self.first(), self._marks[-1]
        rows, estimate = last.rows - first.rows, None
        # a centre that more rows are behind than a new one would have is better
        if last.steps > first.steps and rows > self._behind:
            estimate = self._estimate(Stretch.between(first, last, self.algorithm.step_size, False))
        if estimate is None and self.linearization.centre is not None:
            return
        self._behind = rows if estimate is not None else 0
        self._rule = self._rule._replace(follow=estimate is None)
        if estimate is not None:
            self._moments.centre[:] = estimate
        here = Linearization(estimate, self._parameters(self._moments.centre))
        self.centres = [
            *(early for early, after in zip(self.centres, self.centres[1:], strict=False) if after[0] > first.rows),
            self.centres[-1],
            (self.rows, here),
        ]

    def _estimate(self, stretch: Stretch) -> Floats | None:
        """``mean w - shift`` where it can be trusted to linearize at."""
        assert self.head is not None
        shift = newton(stretch)
        if shift is None:
            return None
        bound = self._model.largest_slope
        if bound is not None:  # this bounds the mean square of x'shift from below
            near = float(shift @ stretch.hessian @ shift) < bound
        else:
            near = self.head.bends_little(stretch.coef, stretch.coef - shift, self.linearization.parameters)
        return stretch.coef - shift if near else None

    def _parameters(self, centre: Floats) -> Any:
        """Those of `row_terms` from here on: a kernel's bandwidth falls as rows come."""
        assert self.head is not None
        parameters = self.linearization.parameters
        if isinstance(parameters, DensityModel):
            width = narrower(self.head.bandwidth(centre), self.rows, len(self.head.rows))
            return parameters._replace(bandwidth=width)
        return parameters

    def _kernel(self, rows: Rows) -> bool:
        finite: bool = advance_rows(
            self.linearization.parameters,
            self.algorithm.mirror.parameters,
            self._rule,
            rows,
            self._state,
            self._moments,
        )
        return finite

    def _divergence(self, x: Floats, y: Floats) -> DivergenceError:
        """What to say of rows after which the state is not finite."""
        draft, row = self._draft(), 0
        while row < len(x) - 1:  # one row at a time, to say where
            before = draft.rows
            draft._run(x[row : row + 1], y[row : row + 1])
            if draft.rows == before:
                break
            row += 1
        step, step_size = (self.rows + row) // self.algorithm.batch_size + 1, self.algorithm.step_size
        with np.errstate(over="ignore"):
            trace = float(np.mean(np.sum(x[: self.block - self.rows % self.block] ** 2, axis=1)))
        return DivergenceError(
            f"The stream diverged at step {step} (t = {step * step_size:g}): step_size {step_size:g} times the mean "
            f"squared length of the rows there, {trace:.3g}, is {step_size * trace:.3g}; take a smaller step or scale "
            "the columns.",
            step=step,
            time=step * step_size,
            replicate=0,
            partial=self,
        )

"""Scratch memory: one layout gives sizes and slices, and nothing is written outside of them."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
from helpers import drift, hessian_along, hessian_product, in_lanes, noise_along
from registry import COVER, PROBLEMS, each, some_points

import rdasde as rs
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.scratch import ROW, Layout, Lines, even
from rdasde._problems.base import Along
from rdasde._weak_error.control_variate import Controlled
from rdasde.testing._samples import _draw_gradients, _draw_noise

SENTINEL = -7.25e77
# pieces of `Along` take a point of the path to the pieces of its problem: one problem shows that this writes nothing
# else, and for the others it is done here, with the pieces that are compiled already
SHOWS_ALONG = PROBLEMS["logistic-dense"]


class Inner(NamedTuple):
    block: object
    line: object


class Outer(NamedTuple):
    first: object
    inner: object
    row: object


INNER = Layout(Inner, block=3, line=Lines(LANES + 1))
OUTER = Layout(Outer, first=2, inner=INNER, row=ROW)


def leaves(areas):
    for area in areas:
        yield from leaves(area) if isinstance(area, tuple) else (area,)


def test_areas_are_what_the_layout_says_and_do_not_overlap():
    assert OUTER.rows() == 2 + (3 + 2) + 1
    areas = OUTER.allocate()
    assert [area.shape for area in leaves(areas)] == [(2, LANES), (3, LANES), (LANES + 1,), (LANES,)]
    for number, area in enumerate(leaves(areas)):
        assert area.flags.c_contiguous
        assert area.ctypes.data % 64 == 0
        area[:] = number
    for number, area in enumerate(leaves(areas)):
        assert np.all(area == number)


def test_a_layout_travels_to_other_processes():
    copy = pickle.loads(pickle.dumps(OUTER))
    assert copy.rows() == OUTER.rows()
    assert isinstance(copy.allocate(), Outer)


def test_names_must_be_those_of_the_areas():
    with pytest.raises(TypeError, match=r"Inner has the areas block, line, not line, block\."):
        Layout(Inner, line=3, block=ROW)


@pytest.mark.parametrize("rows", range(6))
def test_even(rows):
    assert even(rows) in (rows, rows + 1)
    assert even(rows) % 2 == 0


def guarded(layout):
    """Areas with two rows of a sentinel behind each, in memory with two more in front, and a check of all of these."""
    guard = 2
    memory = lane_array(layout.rows(guard) + guard)
    memory[:] = SENTINEL
    areas = layout.place(memory[guard:], guard)

    def untouched():
        for area in leaves(areas):
            area[...] = SENTINEL
        return np.all(memory == SENTINEL)

    for area in leaves(areas):
        area[...] = 0.5
    return areas, untouched


def pieces_of(problem):
    """Every compiled piece of a problem as a function of the scratch."""
    d = problem.dimension
    w, u, out = in_lanes(some_points(problem)[0]), in_lanes(np.linspace(-1.0, 1.0, d)), lane_array(d)
    streams = problem.make_streams(5, np.arange(LANES))
    # the kernels of the laws, so that they are compiled once for both
    pieces = {
        "add_gradient": lambda scratch: _draw_gradients(problem.parameters, w, streams, scratch, out[None]),
        "noise": lambda scratch: _draw_noise(problem.parameters, w, streams, scratch, out[None]),
    }
    if problem.has_compiled_drift:
        pieces["drift"] = lambda scratch: drift(problem.parameters, w, scratch, out)
    if problem.has_compiled_drift and not isinstance(problem, Controlled):  # no closure is made of a control variate
        pieces["hessian_product"] = lambda scratch: hessian_product(problem.parameters, w, u, scratch, out)
        along, point = problem.along(some_points(problem)), lane_array(d)
        if type(along) is Along and problem is not SHOWS_ALONG:
            there, next_there = in_lanes(along.points[0]), in_lanes(along.points[1])
            pieces["noise_along"] = lambda scratch: _draw_noise(along.problem, there, streams, scratch, out[None])
            pieces["hessian_along"] = lambda scratch: hessian_product(along.problem, next_there, u, scratch, out)
        else:
            pieces["noise_along"] = lambda scratch: noise_along(along, 0, point, streams, scratch, out)
            pieces["hessian_along"] = lambda scratch: hessian_along(along, 1, point, u, scratch, out)
    return pieces


def controlled(second_order):
    problem = PROBLEMS["linear-ar1"]
    algorithm = rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
    return Controlled(problem, algorithm, np.zeros(problem.dimension), 0.5, second_order=second_order)


GUARDED = PROBLEMS | {f"controlled-{order}": (lambda order=order: controlled(order == 2)) for order in (1, 2)}


# the other way round than the laws, which another worker goes through at the same time: what one has compiled the other
# finds, and they meet in the middle
@pytest.mark.parametrize("name", each(list(GUARDED)[::-1], (*COVER, "controlled-1", "controlled-2")))
def test_nothing_is_written_outside_the_areas(name):
    problem = GUARDED[name]() if callable(GUARDED[name]) else GUARDED[name]
    for piece, call in pieces_of(problem).items():
        areas, untouched = guarded(problem.scratch)
        call(areas)
        assert untouched(), piece

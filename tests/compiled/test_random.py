"""The generator: a twin to the last digits, and what its streams depend on. Its statistics: test_random_battery.py."""

import numpy as np
import pytest
import scipy.stats
from helpers import draw_integers, draw_normals

from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import streams

MASK = (1 << 64) - 1


def xoshiro(state, count):
    """xoshiro256++ in Python integers, one stream."""
    a, b, c, d = (int(x) for x in state)

    def rotl(x, k):
        return ((x << k) | (x >> (64 - k))) & MASK

    words = []
    for _ in range(count):
        words.append((rotl((a + d) & MASK, 23) + a) & MASK)
        t = (b << 17) & MASK
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= t
        d = rotl(d, 45)
    return words


def twin_normals(state, half):
    """The pairs of `normals` from the words of one stream, with library functions."""
    words = np.array(xoshiro(state, 2 * half + 2 * (half % 2)), dtype=np.uint64)[: 2 * half].reshape(half, 2)
    u = 1.0 - (words[:, 0] >> np.uint64(12)).astype(float) * 2.0**-52
    x = (words[:, 1] >> np.uint64(12)).astype(float) * 2.0**-52 - 0.5
    radius = np.sqrt(-2.0 * np.log(u))
    sine, cosine = np.sin(np.pi / 2 * x), np.cos(np.pi / 2 * x)
    cosine = np.where(words[:, 1] & np.uint64(2), -cosine, cosine)
    swap = (words[:, 1] & np.uint64(1)).astype(bool)
    return np.concatenate([radius * np.where(swap, sine, cosine), radius * np.where(swap, cosine, sine)])


@pytest.mark.parametrize("half", [1, 2, 31, 32, 33, 100])
def test_normals_equal_their_twin(half):
    stream = streams(7, np.arange(LANES))
    start = stream.state.copy()
    out = lane_array(2 * half)
    draw_normals(stream, out)
    for lane in range(LANES):
        np.testing.assert_allclose(out[:, lane], twin_normals(start[:, lane], half), rtol=5e-15, atol=5e-16)


def test_polynomials_are_accurate_in_the_tails():
    # the smallest u, and u next to 1: states whose first word is all ones or all zeros above the low bits
    out = lane_array(2)
    stream = streams(0, np.arange(LANES))
    for top, radius in ((MASK, np.sqrt(2 * 52 * np.log(2.0))), (0, 0.0), (1 << 12, np.sqrt(2.0 * 2.0**-52))):
        # the first word is rotl(a + d, 23) + a: with a = 0 it is rotl(d, 23)
        d = ((top >> 23) | (top << 41)) & MASK
        stream.state[:] = np.array([0, 1, 2, d], dtype=np.uint64)[:, None]
        draw_normals(stream, out)
        np.testing.assert_allclose(np.hypot(out[0], out[1]), radius, rtol=1e-15)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 20261122 << 32, 2**63 - 1])
@pytest.mark.parametrize("purpose", [(), (1,), (99, 3)])
def test_streams_are_those_of_seed_sequence(seed, purpose):
    for replicates in ([0, 1, 17, 2**20], [2**32 - 1, 5], [3, 2**32, 2**40]):
        state = streams(seed, np.array(replicates), purpose).state
        for lane, replicate in enumerate(replicates):
            exact = np.random.SeedSequence(seed, spawn_key=(replicate, *purpose)).generate_state(4, np.uint64)
            np.testing.assert_array_equal(state[:, lane], exact)


def test_streams_depend_on_seed_replicate_and_purpose_alone():
    whole = streams(3, np.arange(LANES)).state
    some = streams(3, np.array([5, 2])).state
    np.testing.assert_array_equal(some[:, :2], whole[:, [5, 2]])
    others = [streams(4, np.arange(LANES)).state, streams(3, np.arange(LANES), (1,)).state]
    everything = np.concatenate([whole, *others], axis=1)
    assert len(np.unique(everything, axis=1).T) == 3 * LANES


def test_integers_are_uniform_and_in_range():
    # null: uniform on 0..9; chi-square with 9 degrees of freedom, 16 000 draws, 1e-4
    stream, out, seen = streams(5, np.arange(LANES)), np.empty(LANES), np.zeros(10)
    for _ in range(1000):
        draw_integers(stream, 10, out)
        np.add.at(seen, out.astype(int), 1)
    assert seen.sum() == 1000 * LANES
    assert scipy.stats.chisquare(seen).pvalue > 1e-4

"""Random numbers in lanes: sixteen replicates side by side, one independent stream each.

Lane l of a block carries the stream of one replicate: xoshiro256++ (Blackman & Vigna, "Scrambled linear
pseudorandom number generators", ACM TOMS 2021, public domain), its 256 bits of state taken from
``SeedSequence(seed, spawn_key)``. Every operation below is elementwise over lanes, so what a replicate draws
does not depend on who shares its block.

Normals come in pairs by Box and Muller (1958), ``sqrt(-2 log u) (cos 2 pi a, sin 2 pi a)``, with polynomials for
the logarithm, sine and cosine (Chebyshev interpolants, relative error below 4e-16) instead of library calls:
they vectorize. ``u`` is a multiple of 2^-52, so no normal exceeds 8.49 in absolute value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._compiled.jit import Kernel, compilable, fma, generic, implements, one_row
from rdasde._compiled.lanes import LANES, lane_array

_PAIRS = 32  # pairs of normals made at a time: their bits stay in the first-level cache

_ONE = np.uint64(0x3FF0000000000000)  # the bits of 1.0
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_QUARTER_TURN, _HALF_TURN = np.uint64(1), np.uint64(2)
_R11, _R12, _R19, _R41, _R52 = (np.uint64(k) for k in (11, 12, 19, 41, 52))
_L17, _L23, _L45 = (np.uint64(k) for k in (17, 23, 45))
_UNIT = 2.0**-53  # what 53 random bits count in
_NONE = np.uint64(0)
_ROW, _ANGLES = np.uint64(LANES), np.uint64(_PAIRS * LANES)

# of NumPy's SeedSequence
_HASH_A, _MULTIPLY_A = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_HASH_B, _MULTIPLY_B = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_MIX_LEFT, _MIX_RIGHT = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
_WORD, _R16, _R32 = np.uint64(0xFFFFFFFF), np.uint64(16), np.uint64(32)

_SQRT2 = float(np.sqrt(2.0))
_LOG = -2.0 * float(np.log(2.0))
# -2 log(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1]
_A0, _A1, _A2, _A3, _A4 = -2.0, 0.9999999999999984, -0.6666666666665182, 0.5000000000006719, -0.4000000000411385
_A5, _A6, _A7, _A8 = 0.3333333332698294, -0.28571428130396065, 0.24999999993627986, -0.2222224585709493
_A9, _A10, _A11, _A12 = 0.20000025599607216, -0.18181117727130133, 0.1666529942600772, -0.1539627811921916
_A13, _A14, _A15, _A16 = 0.1431861552600504, -0.13233832207459678, 0.12089864497303753, -0.1200472524919362
_A17, _A18, _A19 = 0.13586969850507072, -0.1249948865983042, 0.055158309770548856
# sin(pi x / 2) / x and cos(pi x / 2) in powers of x^2, |x| <= 1/2
_S0, _S1, _S2, _S3 = 1.5707963267948966, -0.6459640975062443, 0.07969262624604301, -0.004681754132340976
_S4, _S5, _S6 = 0.0001604411507421909, -3.59864335298231e-06, 5.633933781537854e-08
_C1, _C2, _C3, _C4 = -1.2337005501361697, 0.2536695079010467, -0.02086348076331121, 0.0009192602741831558
_C5, _C6, _C7 = -2.520203677046026e-05, 4.710609726757823e-07, -6.321256869628588e-09


Words = NDArray[np.uint64]


class Streams(NamedTuple):
    """The random streams of one block of replicates."""

    state: NDArray[np.uint64]  # (4, lanes)
    bits: NDArray[np.uint64]  # (2 * _PAIRS, lanes), scratch


class EpochStreams(NamedTuple):
    """Streams that go through rows epoch by epoch, each time in another order."""

    state: NDArray[np.uint64]  # as of `Streams`
    bits: NDArray[np.uint64]
    order: NDArray[np.int32]  # (row, lanes): a permutation of the rows, those drawn in this epoch first
    drawn: NDArray[np.int64]  # (1,): how many they are


def epoch_streams(rows: int, seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> EpochStreams:
    """`streams` over so many rows, 4 bytes for each row and replicate."""
    order = np.repeat(np.arange(rows, dtype=np.int32)[:, None], LANES, axis=1)
    return EpochStreams(*streams(seed, replicates, purpose), order, np.zeros(1, dtype=np.int64))


@generic
def block_streams(streams, block):
    """The streams of one of several blocks, out of `stacked_streams`."""


@implements(block_streams, Streams)
def _(streams, block):
    return Streams(streams.state[block], streams.bits)


def streams(seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> Streams:
    """One stream for each replicate (at most LANES), keyed by (seed, replicate) alone.

    `purpose` sets families of streams apart. Lanes without a replicate stay at zero and are never looked at.
    """
    stack = stacked_streams(seed, replicates, purpose)
    return stack._replace(state=stack.state[0])


def stacked_streams(seed: int, replicates: NDArray[np.int64], purpose: tuple[int, ...] = ()) -> Streams:
    """`streams` of any number of replicates, LANES to a block: the state is (blocks, 4, LANES)."""
    blocks = max(1, -(-len(replicates) // LANES))
    state = lane_array(4 * blocks, np.uint64).reshape(blocks, 4, LANES)
    if len(replicates) and replicates.max() < 2**32:
        entropy = _words(seed)
        entropy += [0] * (4 - len(entropy))  # as SeedSequence pads what a key follows
        after = np.array([word for number in purpose for word in _words(number)], dtype=np.uint64)
        _seed(np.array(entropy, dtype=np.uint64), np.asarray(replicates, dtype=np.uint64), after, state)
    else:
        for k, replicate in enumerate(replicates):
            key = np.random.SeedSequence(seed, spawn_key=(int(replicate), *purpose))
            state[k // LANES, :, k % LANES] = key.generate_state(4, np.uint64)
    return Streams(state, lane_array(2 * _PAIRS, np.uint64))


def _words(number: int) -> list[int]:
    """32 bits each, the lowest first."""
    return [number >> shift & 0xFFFFFFFF for shift in range(0, max(number.bit_length(), 1), 32)]


@compilable
def _hashed(word, constant, multiplier):
    """One word of SeedSequence's hash, and the constant of the next."""
    after = (constant * multiplier) & _WORD
    word = ((word ^ constant) * after) & _WORD
    return word ^ (word >> _R16), after


@compilable
def _mixed(x, y):
    word = (_MIX_LEFT * x - _MIX_RIGHT * y) & _WORD
    return word ^ (word >> _R16)


@Kernel
def _seed(before: Words, replicates: Words, after: Words, state: Words) -> None:
    """``SeedSequence(seed, spawn_key=(replicate, *purpose)).generate_state(4)`` of many replicates, bit for bit.

    Into `state` (blocks, 4, LANES). The algorithm is O'Neill's seed_seq as NumPy fixed it; in Python it took longer
    than a short path itself.
    """
    pool = np.empty(4, dtype=np.uint64)
    total = before.size + 1 + after.size
    for k in range(replicates.size):
        block, lane = k // LANES, k % LANES
        constant = _HASH_A
        for i in range(4):
            pool[i], constant = _hashed(before[i], constant, _MULTIPLY_A)
        for source in range(4):
            for target in range(4):
                if source != target:
                    word, constant = _hashed(pool[source], constant, _MULTIPLY_A)
                    pool[target] = _mixed(pool[target], word)
        for i in range(4, total):
            if i < before.size:
                fresh = before[i]
            elif i == before.size:
                fresh = replicates[k]
            else:
                fresh = after[i - before.size - 1]
            for target in range(4):
                word, constant = _hashed(fresh, constant, _MULTIPLY_A)
                pool[target] = _mixed(pool[target], word)
        constant = _HASH_B
        for i in range(4):
            low, constant = _hashed(pool[2 * i % 4], constant, _MULTIPLY_B)
            high, constant = _hashed(pool[(2 * i + 1) % 4], constant, _MULTIPLY_B)
            state[block, i, lane] = low | (high << _R32)


@compilable
def _next(a, b, c, d):
    """One word and the state after it."""
    total = a + d
    word = ((total << _L23) | (total >> _R41)) + a
    shifted = b << _L17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    return word, a, b, c, (d << _L45) | (d >> _R19)


@compilable
def random_words(state, out):
    """The next 64 bits of every lane into `out` (lanes,)."""
    for lane in range(LANES):
        word, a, b, c, d = _next(state[0, lane], state[1, lane], state[2, lane], state[3, lane])
        out[lane] = word
        state[0, lane], state[1, lane], state[2, lane], state[3, lane] = a, b, c, d


@compilable
def _word_pairs(state, words, count):
    """The next 2 count words of every lane: 2 i and 2 i + 1 into rows i and _PAIRS + i of `words`.

    Four words for one trip of the state through memory. Flat arrays, constant strides and unsigned indices (which
    cannot wrap around) let the compiler see that nothing overlaps; it is three times faster for it.
    """
    flat_state, flat = one_row(state), one_row(words)
    for i in range(0, count, 2):
        row = np.uint64(i * LANES)
        for lane in range(np.uint64(LANES)):
            a, b = flat_state[lane], flat_state[_ROW + lane]
            c, d = flat_state[_ROW + _ROW + lane], flat_state[_ROW + _ROW + _ROW + lane]
            word, a, b, c, d = _next(a, b, c, d)
            flat[row + lane] = word
            word, a, b, c, d = _next(a, b, c, d)
            flat[row + _ANGLES + lane] = word
            word, a, b, c, d = _next(a, b, c, d)
            flat[row + _ROW + lane] = word
            word, a, b, c, d = _next(a, b, c, d)
            flat[row + _ANGLES + _ROW + lane] = word
            flat_state[lane], flat_state[_ROW + lane] = a, b
            flat_state[_ROW + _ROW + lane], flat_state[_ROW + _ROW + _ROW + lane] = c, d


@compilable
def _radius(bits):
    """sqrt(-2 log u) for u uniform on the multiples of 2^-52 in (0, 1]."""
    u = 2.0 - np.uint64((bits >> _R12) | _ONE).view(np.float64)
    pattern = np.float64(u).view(np.uint64)
    mantissa = np.uint64((pattern & _MANTISSA) | _ONE).view(np.float64)
    exponent = np.int64(pattern >> _R52) - 1023
    upper = mantissa > _SQRT2
    f = (0.5 * mantissa if upper else mantissa) - 1.0
    power = np.float64(exponent + 1 if upper else exponent)
    # Estrin's scheme: short chains of multiply-adds
    f2 = f * f
    f4 = f2 * f2
    f8 = f4 * f4
    p0 = fma(fma(_A3, f, _A2), f2, fma(_A1, f, _A0))
    p1 = fma(fma(_A7, f, _A6), f2, fma(_A5, f, _A4))
    p2 = fma(fma(_A11, f, _A10), f2, fma(_A9, f, _A8))
    p3 = fma(fma(_A15, f, _A14), f2, fma(_A13, f, _A12))
    p4 = fma(fma(_A19, f, _A18), f2, fma(_A17, f, _A16))
    polynomial = fma(fma(p4, f8, fma(p3, f4, p2)), f8, fma(p1, f4, p0))
    return np.sqrt(fma(power, _LOG, f * polynomial))


@compilable
def _pairs(radius_bits, angle_bits, first, second):
    """Two independent standard normals from each pair of random words (flat arrays of one length)."""
    for i in range(first.size):
        radius = _radius(radius_bits[i])
        word = angle_bits[i]
        x = np.uint64((word >> _R12) | _ONE).view(np.float64) - 1.5
        y = x * x
        y2 = y * y
        y4 = y2 * y2
        sine = fma(fma(_S6, y2, fma(_S5, y, _S4)), y4, fma(fma(_S3, y, _S2), y2, fma(_S1, y, _S0))) * x
        cosine = fma(fma(fma(_C7, y, _C6), y2, fma(_C5, y, _C4)), y4, fma(fma(_C3, y, _C2), y2, fma(_C1, y, 1.0)))
        # x covers a quarter of the circle; two spare bits of the word turn it to the other three
        cosine = -cosine if (word & _HALF_TURN) != _NONE else cosine
        swap = (word & _QUARTER_TURN) != _NONE
        first[i] = radius * (sine if swap else cosine)
        second[i] = radius * (cosine if swap else sine)


@compilable
def normals(streams, out):
    """Standard normals into `out` (2 h, LANES), contiguous: rows i and h + i from words 2 i and 2 i + 1.

    Words are taken four at a time: an odd h leaves the last two unused.
    """
    lanes = LANES
    half = out.shape[0] // 2
    flat = one_row(out)
    bits = streams.bits
    words = one_row(bits)
    for start in range(0, half, _PAIRS):
        count = min(_PAIRS, half - start)
        _word_pairs(streams.state, bits, count)
        here, there = start * lanes, (half + start) * lanes
        _pairs(
            words[: count * lanes],
            words[_PAIRS * lanes : (_PAIRS + count) * lanes],
            flat[here : here + count * lanes],
            flat[there : there + count * lanes],
        )


@compilable
def integers(streams, bound, out):
    """Uniform integers in [0, bound) into `out` (lanes,), from the upper 53 bits of one word each."""
    words = streams.bits[0]
    random_words(streams.state, words)
    for lane in range(words.size):
        out[lane] = np.int64(np.float64(words[lane] >> _R11) * _UNIT * bound)


@generic
def row_numbers(streams, bound, out):
    """The number of the next row, of `bound` ones, in every lane, into `out` (lanes,)."""


@implements(row_numbers, Streams)
def _(streams, bound, out):
    integers(streams, bound, out)


@implements(row_numbers, EpochStreams)
def _(streams, bound, out):
    # one step of Fisher & Yates' shuffle; whatever order an epoch starts from, each is as likely at its end
    order, here = streams.order, streams.drawn[0]
    integers(streams, bound - here, out)
    for lane in range(out.size):
        there = here + int(out[lane])
        row = order[there, lane]
        order[there, lane] = order[here, lane]
        order[here, lane] = row
        out[lane] = row
    streams.drawn[0] = here + 1 if here + 1 < bound else 0


@compilable
def uniforms(streams, out):
    """Uniform numbers in [0, 1) into `out` (lanes,), multiples of 2^-53, one word each."""
    words = streams.bits[0]
    random_words(streams.state, words)
    for lane in range(words.size):
        out[lane] = np.float64(words[lane] >> _R11) * _UNIT

"""A statistical battery for the generator: the distribution of its normals, and the independence of its streams.

Each check maps draws to one p-value, Bonferroni-corrected for how many numbers it looks at. Under its null, iid
N(0, 1) (or iid fair bits) in every stream, that p-value is below ALPHA = 1e-4 with probability at most 1e-4; seeds are
fixed and were not chosen. Every check is given three things: our draws; those of NumPy's PCG64, which it must not
reject; and draws with a small flaw of the kind that it is there for, which it must reject.

Sizes: 2^22 normals here, 10^8 in the slow target, where dieharder (the Debian package of that name) also reads the
raw bits, one stream or many, and the normals turned back into bits.
"""

import contextlib
import shutil
import subprocess

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import scipy.special
import scipy.stats
from helpers import draw_normals, draw_words

from rdasde._compiled import random as _random
from rdasde._compiled.jit import Kernel
from rdasde._compiled.lanes import LANES, lane_array
from rdasde._compiled.random import streams

ALPHA = 1e-4
SEED = 20261122
BLOCK = 4096  # rows drawn at a time
CHUNK = 10**6


# Draws, (time, stream)


def drawn(kernel, count, replicates, *, seed=SEED, purpose=()):
    """`count` numbers of each of at most LANES replicates."""
    stream = streams(seed, np.asarray(replicates), purpose)
    dtype = np.uint64 if kernel is draw_words else np.float64
    part, out = lane_array(BLOCK, dtype), np.empty((count, len(replicates)), dtype)
    for start in range(0, count, BLOCK):
        kernel(stream, part)
        out[start : start + BLOCK] = part[: count - start, : len(replicates)]
    return out


def family(kernel, count, name):
    """64 streams that differ in the replicate, in the seed or in the purpose alone (or in the lane they run in)."""
    lanes = range(LANES)
    parts = {
        "replicates": [{"replicates": range(16 * k, 16 * k + 16)} for k in range(4)],
        "seeds": [{"replicates": lanes, "seed": SEED + k} for k in range(4)],
        "purposes": [{"replicates": lanes, "purpose": p} for p in ((), (1,), (2,), (99,))],
    }[name]
    return np.concatenate([drawn(kernel, count, **part) for part in parts], axis=1)


def numpys(size):
    return np.random.Generator(np.random.PCG64(SEED)).standard_normal(size)


def numpys_words(size):
    return np.random.Generator(np.random.PCG64(SEED)).integers(0, 2**64, size, dtype=np.uint64)


# From statistics to p-values


def of_normals(scores, number):
    """Two-sided p-value of the largest of `number` standard normal scores."""
    return min(1.0, number * 2.0 * scipy.stats.norm.sf(np.max(np.abs(scores))))


def two_sided(law, values, number):
    """The smallest two-sided p-value of `number` draws of a law."""
    return min(1.0, number * 2.0 * np.min(np.minimum(law.sf(values), law.cdf(values))))


def anderson_darling_tail(x):
    """P(sum_j chi^2_1 / (j (j + 1)) > x), the law of the limit, by inversion (Imhof 1961)."""
    terms = 400
    weights = 1.0 / (np.arange(1, terms + 1) * np.arange(2, terms + 2))
    x = x - 1.0 / (terms + 1)  # the mean of the terms left out

    def integrand(u):
        angle = 0.5 * np.sum(np.arctan(weights * u)) - 0.5 * x * u
        return np.sin(angle) / u * np.exp(-0.25 * np.sum(np.log1p((weights * u) ** 2)))

    return 0.5 + scipy.integrate.quad(integrand, 0.0, 1000.0, limit=5000, epsabs=1e-9)[0] / np.pi


# Checks of normals; null: iid N(0, 1)


def moments(z):
    """Means of z^k, k = 1 .. 8: normal by the central limit theorem."""
    power, scores = np.ones_like(z), []
    for k in range(1, 9):
        power *= z
        exact = scipy.stats.norm.moment(k)
        scores.append((power.mean() - exact) / np.sqrt((scipy.stats.norm.moment(2 * k) - exact**2) / z.size))
    return of_normals(scores, 8)


def kolmogorov_smirnov(z):
    """The largest distance between the distribution functions: its exact law."""
    ordered, n, distance = np.sort(z, axis=None), z.size, 0.0
    for start in range(0, n, CHUNK):
        below = scipy.special.ndtr(ordered[start : start + CHUNK])
        rank = np.arange(start, start + len(below))
        distance = max(distance, np.max((rank + 1) / n - below), np.max(below - rank / n))
    return scipy.stats.kstwo.sf(distance, n)


def anderson_darling(z):
    """The squared distance weighted by 1 / (F (1 - F)), which watches the tails: the law of its limit."""
    ordered, n, total = np.sort(z, axis=None), z.size, 0.0
    for start in range(0, n, CHUNK):
        low = ordered[start : start + CHUNK]
        high = ordered[n - start - len(low) : n - start][::-1]
        rank = np.arange(start + 1, start + len(low) + 1)
        logs = scipy.special.log_ndtr(low) + scipy.special.log_ndtr(-high)
        total += float(np.sum((2.0 * rank - 1.0) / n * logs + 2.0 - (2.0 * rank - 1.0) / n))
    # sum (2 - (2 i - 1) / n) = n: summed with the logarithms, so that nothing of the size of n is left to cancel
    return anderson_darling_tail(-total)


def tails(z):
    """How many lie beyond 4, 4.5, 5, 5.5 and 6 standard deviations on either side: Poisson."""
    sizes = np.array([4.0, 4.5, 5.0, 5.5, 6.0])
    found = [[np.count_nonzero(side * z > size) for size in sizes] for side in (-1, 1)]
    expected = z.size * scipy.stats.norm.sf(sizes)
    law = scipy.stats.poisson(expected)
    smallest = np.min(np.minimum(law.sf(np.array(found) - 1), law.cdf(found)))
    return min(1.0, 2.0 * 2.0 * len(sizes) * smallest)


def _periodogram(z):
    """Summed over streams, at the frequencies 0 .. n/2; exponential of mean 1 each."""
    total = 0.0
    for stream in z.T:
        total = total + np.abs(scipy.fft.rfft(stream)) ** 2 / len(z)
    return total


def lags(z):
    """Correlations within a stream at every lag: N(0, 1/size) each."""
    n, number = len(z), len(z) // 2 - 1
    return of_normals(scipy.fft.irfft(_periodogram(z), n)[1 : number + 1] * np.sqrt(n / z.shape[1]), number)


def lags_of_squares(z):
    """The same of (z^2 - 1) / sqrt(2)."""
    return lags((z**2 - 1.0) / np.sqrt(2.0))


def frequencies(z):
    """The periodogram at every frequency, summed over streams: Gamma(streams)."""
    return two_sided(scipy.stats.gamma(z.shape[1]), _periodogram(z)[1 : len(z) // 2], len(z) // 2 - 1)


def pairs_of_streams(z):
    """Correlations between any two streams, of z, of z^2, and of one with the other."""
    n, squares = len(z), (z**2 - 1.0) / np.sqrt(2.0)
    above = np.triu_indices(z.shape[1], 1)
    mixed = z.T @ squares
    scores = np.concatenate([(z.T @ z)[above], (squares.T @ squares)[above], mixed[above], mixed.T[above]])
    return of_normals(scores / np.sqrt(n), scores.size)


def shifted_pairs_of_streams(z):
    """Correlations between any two streams at any lag: no stream runs into another one."""
    n, streams_ = z.shape
    spectra = scipy.fft.rfft(z, axis=0)
    largest = 0.0
    for k in range(streams_ - 1):
        products = scipy.fft.irfft(spectra[:, k : k + 1].conj() * spectra[:, k + 1 :], n, axis=0)
        largest = max(largest, np.max(np.abs(products)) / np.sqrt(n))
    return of_normals(largest, n * streams_ * (streams_ - 1) // 2)


# Checks of raw words; null: iid fair bits


def _signs(words):
    """Bits of words (n,) as -1 and 1, (n, 64)."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return 2.0 * bits.astype(np.float32) - 1.0


def bytes_(words):
    """Each of the eight bytes of a word uniform on 256 values: chi-square, neither too large nor too small."""
    split = words.reshape(-1).astype("<u8").view(np.uint8).reshape(-1, 8)
    seen = np.array([np.bincount(split[:, k], minlength=256) for k in range(8)])
    expected = len(split) / 256
    return two_sided(scipy.stats.chi2(255), np.sum((seen - expected) ** 2, axis=1) / expected, 8)


def bits(words):
    """Means of the 64 bits, correlations of any two of a word, and of any two of successive words."""
    mean, within, following = 0.0, 0.0, 0.0
    for stream in words.T:
        signs = _signs(stream)
        mean = mean + signs.sum(axis=0, dtype=float)
        within = within + signs.T @ signs  # whole numbers below 2^24: exact
        following = following + signs[:-1].T @ signs[1:]
    n, above = words.size, np.triu_indices(64, 1)
    scores = np.concatenate([mean, within[above], following.ravel() * np.sqrt(n / (n - words.shape[1]))])
    return of_normals(scores / np.sqrt(n), scores.size)


def bits_of_pairs(words):
    """Any two streams agree in half of their bits."""
    signs = np.concatenate([_signs(stream).reshape(1, -1) for stream in words.T])
    above = np.triu_indices(len(signs), 1)
    return of_normals((signs @ signs.T)[above] / np.sqrt(signs.shape[1]), len(above[0]))


# Flaws


def _echo(z):
    return z + 0.01 * np.roll(z, BLOCK // 2, axis=0)


def _clusters(z):
    return z * np.exp(0.01 * (np.roll(z, 1, axis=0) ** 2 - 1.0))


def _hum(z):
    return z + 0.01 * np.cos(0.7 * np.arange(len(z)))[:, None]


def _leak(z):
    return np.column_stack([z[:, :-1], 0.995 * z[:, -1] + 0.1 * z[:, 3]])


def _overlap(z):
    return np.column_stack([z[:, :-1], np.roll(z[:, 3], 1000)])


def _congruential(words):
    """x <- a x + c mod 2^64 from random starts: the low bits have short periods."""
    x, out = words[0].copy(), np.empty_like(words)
    for row in out:
        x = x * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        row[:] = x
    return out


def _complement(words):
    return np.column_stack([words[:, :-1], ~words[:, 3]])


ONE_FAMILY = {
    moments: lambda z: 1.005 * z,
    kolmogorov_smirnov: lambda z: z + 0.005,
    anderson_darling: lambda z: 1.005 * z,
    tails: lambda z: np.clip(z, -4.4, 4.4),
    lags: _echo,
    lags_of_squares: _clusters,
    frequencies: _hum,
}
FAMILIES = {pairs_of_streams: (2**15, _leak), shifted_pairs_of_streams: (2**14, _overlap)}
WORDS = {bytes_: _congruential, bits: _congruential}


@pytest.fixture(scope="module")
def normals():
    return drawn(draw_normals, 2**18, range(LANES))


@pytest.mark.parametrize("check", ONE_FAMILY, ids=lambda check: check.__name__)
def test_normals(check, normals):
    assert check(normals) > ALPHA
    assert check(numpys(normals.shape)) > ALPHA
    assert check(ONE_FAMILY[check](normals)) < ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("check", ONE_FAMILY, ids=lambda check: check.__name__)
def test_many_normals(check):
    # 10^8 of them
    assert check(drawn(draw_normals, 6_250_000, range(LANES))) > ALPHA


@pytest.mark.parametrize("name", ["replicates", "seeds", "purposes"])
@pytest.mark.parametrize("check", FAMILIES, ids=lambda check: check.__name__)
def test_streams_are_independent(check, name):
    count, flaw = FAMILIES[check]
    z = family(draw_normals, count, name)
    assert check(z) > ALPHA
    assert check(flaw(z)) < ALPHA


@pytest.mark.parametrize("check", FAMILIES, ids=lambda check: check.__name__)
def test_the_checks_of_streams_pass_numpys(check):
    assert check(numpys((FAMILIES[check][0], 64))) > ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("name", ["replicates", "seeds", "purposes"])
def test_long_streams_are_independent(name):
    assert pairs_of_streams(family(draw_normals, 2**20, name)) > ALPHA
    assert shifted_pairs_of_streams(family(draw_normals, 2**18, name)) > ALPHA


@pytest.mark.parametrize("check", WORDS, ids=lambda check: check.__name__)
def test_words(check):
    words = drawn(draw_words, 2**14, range(LANES))
    assert check(words) > ALPHA
    assert check(numpys_words(words.shape)) > ALPHA
    assert check(WORDS[check](words)) < ALPHA


@pytest.mark.slow
@pytest.mark.parametrize("check", WORDS, ids=lambda check: check.__name__)
def test_many_words(check):
    assert check(drawn(draw_words, 2**20, range(LANES))) > ALPHA


@pytest.mark.parametrize("name", ["replicates", "seeds", "purposes"])
def test_bits_of_streams_are_independent(name):
    words = family(draw_words, 2**10, name)
    assert bits_of_pairs(words) > ALPHA
    assert bits_of_pairs(_complement(words)) < ALPHA


def test_the_law_of_anderson_and_darling():
    # its tabulated upper quantiles (Marsaglia & Marsaglia, J. Stat. Softw. 9, 2004)
    for x, p in ((1.9329578327, 0.10), (2.4923671600, 0.05), (3.8781250216, 0.01)):
        assert anderson_darling_tail(x) == pytest.approx(p, rel=1e-5)


# Exactness


def xoshiro(state, count):
    """xoshiro256++ in NumPy, a column a stream: (count, streams) words from the state (4, streams)."""
    a, b, c, d = (row.copy() for row in state)
    out = np.empty((count, state.shape[1]), dtype=np.uint64)

    def rotate(x, k):
        return (x << np.uint64(k)) | (x >> np.uint64(64 - k))

    for row in out:
        row[:] = rotate(a + d, 23) + a
        shifted = b << np.uint64(17)
        c ^= a
        d ^= b
        b ^= c
        a ^= d
        c ^= shifted
        d = rotate(d, 45)
    return out


def test_words_are_those_of_the_published_generator():
    # the first words from the state (1, 2, 3, 4), as in the tests of other implementations (rand_xoshiro)
    known = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205, 9973669472204895162]
    stream, out = streams(0, np.arange(LANES)), lane_array(len(known), np.uint64)
    stream.state[:] = np.array([1, 2, 3, 4], dtype=np.uint64)[:, None]
    draw_words(stream, out)
    np.testing.assert_array_equal(out, np.array(known, dtype=np.uint64)[:, None].repeat(LANES, axis=1))


@pytest.mark.parametrize("seed", [0, 1, SEED])
def test_words_equal_their_twin_bit_for_bit(seed):
    stream = streams(seed, np.arange(LANES))
    twin, out = xoshiro(stream.state, 10_000), lane_array(10_000, np.uint64)
    draw_words(stream, out)
    np.testing.assert_array_equal(out, twin)


def twin_normals(words, number):
    """Box and Muller on words (2 h, streams) in the arithmetic of `number`: (2 h, streams) normals."""
    words = words.reshape(-1, 2, words.shape[1])
    u = 1 - (words[:, 0] >> np.uint64(12)).astype(number) / 2**52
    x = (words[:, 1] >> np.uint64(12)).astype(number) / 2**52 - number(0.5)
    radius, angle = np.sqrt(-2 * np.log(u)), 2 * np.arctan(number(1)) * x
    sine, cosine = np.sin(angle), np.cos(angle)
    cosine = np.where(words[:, 1] & np.uint64(2), -cosine, cosine)
    swap = (words[:, 1] & np.uint64(1)).astype(bool)
    return np.concatenate([radius * np.where(swap, sine, cosine), radius * np.where(swap, cosine, sine)])


def test_a_million_normals_against_longer_arithmetic():
    if np.finfo(np.longdouble).eps > 2.0**-60:
        pytest.skip("long double is no longer than double here")
    half = 2**15
    stream = streams(SEED, np.arange(LANES))
    exact, out = twin_normals(xoshiro(stream.state, 2 * half), np.longdouble), lane_array(2 * half)
    # `normals` makes _PAIRS pairs at a time, each time the next words of the stream
    draw_normals(stream, out)
    error = np.abs((out - exact) / exact)
    assert float(error.max()) < 4 * np.finfo(float).eps


@Kernel
def box_muller(radius_bits, angle_bits, first, second):
    _random._pairs(radius_bits, angle_bits, first, second)


def test_box_muller_against_mpmath():
    # 400 random pairs of words, and what lies at the edges: u = 1, next to 1, smallest, around powers of 2 and of
    # sqrt(2) where the logarithm changes branch; angles at both ends of a quarter and next to 0, in all four
    mpmath = pytest.importorskip("mpmath")
    top = 2**52 - 1
    edges = [0, 1, 2, 3, top, top - 1, 2**51, 2**51 - 1, 2**51 + 1, 3 * 2**50]
    edges += [top + 1 - round(2**52 / 2**0.5) + k for k in range(-2, 3)]
    random = np.random.default_rng(SEED).integers(0, 2**64, (400, 2), dtype=np.uint64)
    radii = np.concatenate([np.array(edges, dtype=np.uint64) << np.uint64(12), random[:, 0]])
    angles = np.array([2**51 + k for k in (-2, -1, 1, 2)] + [0, 1, top, top - 1, 2**50], dtype=np.uint64)
    angles = np.concatenate([(angles << np.uint64(12)) + np.uint64(turn) for turn in range(4)] + [random[:, 1]])
    size = max(len(radii), len(angles))
    radii, angles = np.resize(radii, size), np.resize(angles, size)
    first, second = np.empty(size), np.empty(size)
    box_muller(radii, angles, first, second)
    worst = 0.0
    with mpmath.workdps(40):
        for i, (radius_word, angle_word) in enumerate(zip(radii.tolist(), angles.tolist(), strict=True)):
            radius = mpmath.sqrt(-2 * mpmath.log(1 - mpmath.mpf(radius_word >> 12) / 2**52))
            angle = mpmath.pi / 2 * (mpmath.mpf(angle_word >> 12) / 2**52 - mpmath.mpf(1) / 2)
            sine, cosine = mpmath.sin(angle), mpmath.cos(angle) * (-1 if angle_word & 2 else 1)
            pair = (sine, cosine) if angle_word & 1 else (cosine, sine)
            for found, factor in zip((first[i], second[i]), pair, strict=True):
                exact = radius * factor
                worst = max(worst, abs(found) if exact == 0 else abs((found - exact) / exact))
    assert worst < 4 * np.finfo(float).eps


# dieharder


def write_bits(sink, draw):
    """Feed `sink` with the bytes of ``draw()`` until it has had enough."""
    with contextlib.suppress(BrokenPipeError):
        while True:
            sink.write(draw().tobytes())
    with contextlib.suppress(BrokenPipeError):
        sink.close()  # what is left in its buffer


def one_stream():
    """The words of one replicate, in order."""
    stream, out = streams(SEED, np.arange(1)), lane_array(2**16, np.uint64)

    def draw():
        draw_words(stream, out)
        return out[:, 0]

    return draw


def interleaved_streams():
    """A word from each of 64 replicates in turn."""
    blocks = [streams(SEED, np.arange(16 * k, 16 * k + 16)) for k in range(4)]
    parts = [lane_array(BLOCK, np.uint64) for _ in blocks]

    def draw():
        for stream, part in zip(blocks, parts, strict=True):
            draw_words(stream, part)
        return np.concatenate(parts, axis=1)

    return draw


def normals_as_bits():
    """The upper 32 bits of Phi(z), z the normals of sixteen replicates."""
    stream, out = streams(SEED, np.arange(LANES)), lane_array(BLOCK)

    def draw():
        draw_normals(stream, out)
        return (scipy.special.ndtr(out) * 2.0**32).astype(np.uint32)

    return draw


# (number of the test, its -n): all that dieharder calls good but the slowest (-d 17, -d 201: minutes each)
DIEHARDER = [(k, 0) for k in (0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 15, 16, 100, 101, 102)]
DIEHARDER += [(200, 1), (200, 4), (200, 8), (202, 2), (202, 5), (203, 1), (203, 4), (203, 31)]
DIEHARDER += [(k, 0) for k in (204, 205, 206, 207, 208, 209)]


def dieharder(number, size, draw):
    """What one test of dieharder says to our bits: (name, p-value, assessment) a line."""
    command = ["dieharder", "-g", "200", "-S", "1", "-d", str(number), "-n", str(size), "-c", ",", "-X", "5e-7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        write_bits(process.stdin, draw)
        lines = process.stdout.read().decode().splitlines()
    fields = [[field.strip() for field in line.split(",")] for line in lines if not line.startswith("#")]
    return [(line[0], float(line[4]), line[5]) for line in fields if len(line) == 6 and line[5].isupper()]


@pytest.mark.slow
@pytest.mark.parametrize("feed", [one_stream, interleaved_streams, normals_as_bits], ids=lambda feed: feed.__name__)
def test_dieharder(feed):
    """Null: fair bits.

    FAILED is a p-value within 5e-7 of 0 or 1; 63 of them: 6.3e-5. WEAK is one within 0.005: lines of one test may hang
    together, so tests with a weak line are counted, at most as many as Poisson by Bonferroni: 3e-5.
    """
    if shutil.which("dieharder") is None:
        pytest.skip("dieharder is not installed: apt-get install dieharder")
    draw = feed()  # every test reads on where the one before it stopped
    tests = [dieharder(number, size, draw) for number, size in DIEHARDER]
    lines = [line for test in tests for line in test]
    assert all(tests)
    assert len(lines) == 63
    assert not [line for line in lines if line[2] == "FAILED"]
    weak = [test for test in tests if any(line[2] == "WEAK" for line in test)]
    assert len(weak) <= scipy.stats.poisson.isf(3e-5, 0.01 * len(lines)), weak


@pytest.mark.slow
def test_dieharder_refuses_a_poor_generator():
    if shutil.which("dieharder") is None:
        pytest.skip("dieharder is not installed: apt-get install dieharder")
    words = _congruential(np.arange(LANES, dtype=np.uint64)[None].repeat(2**14, axis=0))
    assert any(line[2] == "FAILED" for line in dieharder(2, 0, lambda: words))

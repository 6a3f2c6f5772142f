"""Time against weak error on one fluctuation SDE: rdasde, NumPy, JAX, diffrax, torchsde, sdeint.

    dU = -H D_t(U) dt + L dB,  LL' = H,  U(0) = 0,    D_t(u)_j = u_j - sgn(w*_j) c t^mu   where w*_j != 0
                                                              = S(u_j, c t^mu)            where w*_j = 0

is the fluctuation limit of L1-regularized dual averaging on linear regression from its minimizer, half of whose
coordinates are zero: they stay on the kink of the soft-threshold. The weak error of a scheme with n equal steps is the
largest error over the coordinates of the mean and of the standard deviation of D_T(U), in units of that standard
deviation: bias of the time step, not sampling error.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
from measure import ASKED, asked, hire, spread, table, where_time_goes

D, HORIZON, PATHS, TARGET = 20, 5.0, 1000, 0.01
C, MU, RHO = 0.5, 0.6, 0.6
COEF = np.repeat([0.5, -0.5, 0.0], [5, 5, 10])
SIGN = np.sign(COEF)
H = RHO ** np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
L = np.linalg.cholesky(H)
FINE = 960  # steps of the solution that the others are compared with
STEPS = {
    "Euler": (40, 80, 160, 320),
    "Heun": (10, 16, 24, 40, 60),
    "ShARK": (10, 16, 24, 40),
    "SRA1": (10, 16, 24, 40),
}
OUR_STEPS = (6, 10, 16, 24, 40, 60)


def mapped(t, u):
    """D_t(u)."""
    g = C * t**MU
    return np.where(SIGN != 0.0, u - SIGN * g, u - np.clip(u, -g, g))


def velocity(t, u):
    return -mapped(t, u) @ H


# One step of each scheme: `noise` is L dB and `area` L times the space-time Levy area, (1/h) int (B - chord) ds


def euler(t, u, h, noise, area):
    return u + h * velocity(t, u) + noise


def heun(t, u, h, noise, area):
    first = velocity(t, u)
    return u + noise + 0.5 * h * (first + velocity(t + h, u + h * first + noise))


def shark(t, u, h, noise, area):
    first = velocity(t, u + area)
    second = velocity(t + 5 / 6 * h, u + area + 5 / 6 * (h * first + noise))
    return u + noise + h * (0.4 * first + 0.6 * second)


def sra1(t, u, h, noise, area):
    first = velocity(t, u)
    second = velocity(t + 0.75 * h, u + 0.75 * h * first + 1.5 * (0.5 * noise + area))
    return u + noise + h * (first + 2.0 * second) / 3.0


SCHEMES = {"Euler": euler, "Heun": heun, "ShARK": shark, "SRA1": sra1}


# Weak errors


def moments(x):
    return np.concatenate([x.mean(axis=0), x.std(axis=0)])


def coupled_differences(paths, batches=10, seed=1):
    """How each scheme at each number of steps differs from the fine solution on the same Brownian paths.

    By (scheme, steps): differences of the moments, and their standard errors, from batches.
    """
    found = {(name, n): [] for name in SCHEMES for n in STEPS[name]}
    fine_h = HORIZON / FINE
    for batch in range(batches):
        rng = np.random.Generator(np.random.SFC64([seed, batch]))
        size = (paths // batches, D)
        states = {key: np.zeros(size) for key in found}
        fine = np.zeros(size)
        walk = np.zeros(size)  # L B
        gaps = {FINE // n for _, n in found}
        start, integral = ({gap: np.zeros(size) for gap in gaps} for _ in range(2))
        for k in range(FINE):
            step = np.sqrt(fine_h) * rng.standard_normal(size) @ L.T
            # the integral of the bridge within a fine step is Gaussian, given its ends
            bridge = np.sqrt(fine_h / 12.0) * rng.standard_normal(size) @ L.T
            fine = shark(k * fine_h, fine, fine_h, step, bridge)
            for gap in gaps:
                integral[gap] += fine_h * (walk + 0.5 * step + bridge)
            walk = walk + step
            for gap in gaps:
                if (k + 1) % gap:
                    continue
                h = gap * fine_h
                noise = walk - start[gap]
                area = integral[gap] / h - start[gap] - 0.5 * noise
                for name, n in found:
                    if FINE // n == gap:
                        state = states[name, n]
                        states[name, n] = SCHEMES[name]((k + 1 - gap) * fine_h, state, h, noise, area)
                start[gap] = walk
                integral[gap] = np.zeros(size)
        exact = moments(mapped(HORIZON, fine))
        for key, state in states.items():
            found[key].append(moments(mapped(HORIZON, state)) - exact)
    return {key: (np.mean(v, axis=0), np.std(v, axis=0, ddof=1) / np.sqrt(batches)) for key, v in found.items()}


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _heun_sums(rng, paths, n, h, powers, sign, matrix, factor, sums):
    """Sums of D_T(U) and of its square over paths of Heun's scheme, plain loops."""
    d = sign.size
    u, first, ahead, out, z = np.empty(d), np.empty(d), np.empty(d), np.empty(d), np.empty(d)
    for _ in range(paths):
        u[:] = 0.0
        for k in range(n + 1):
            for j in range(d):
                g = powers[k]
                out[j] = u[j] - sign[j] * g if sign[j] != 0.0 else u[j] - min(max(u[j], -g), g)
            if k == n:
                break
            for j in range(d):
                z[j] = rng.standard_normal()
            for i in range(d):
                total, noise = 0.0, 0.0
                for j in range(d):
                    total += matrix[i, j] * out[j]
                    noise += factor[i, j] * z[j]
                first[i] = total
                u[i] += np.sqrt(h) * noise
                ahead[i] = u[i] - h * total
            g = powers[k + 1]
            for j in range(d):
                out[j] = ahead[j] - sign[j] * g if sign[j] != 0.0 else ahead[j] - min(max(ahead[j], -g), g)
            for i in range(d):
                total = 0.0
                for j in range(d):
                    total += matrix[i, j] * out[j]
                u[i] -= 0.5 * h * (first[i] + total)
        for j in range(d):
            sums[0, j] += out[j]
            sums[1, j] += out[j] * out[j]


def heun_moments(n, paths, seed=2, parts=16):
    """Moments of D_T(U) by Heun's scheme with n steps, from many independent paths; one thread a core."""
    powers = C * np.linspace(0.0, HORIZON, n + 1) ** MU

    def part(k):
        sums = np.zeros((2, D))
        rng = np.random.Generator(np.random.SFC64([seed, k]))
        _heun_sums(rng, paths // parts, n, HORIZON / n, powers, SIGN, H, L, sums)
        return sums

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        first, second = sum(pool.map(part, range(parts))) / (paths // parts * parts)
    return np.concatenate([first, np.sqrt(second - first**2)])


def steps_for(target, steps, errors):
    """The least number of steps at which the error is below target, interpolated between two measured ones."""
    below = [k for k in range(len(steps)) if all(e <= target for e in errors[k:])]
    if not below:
        return None
    k = below[0]
    if k == 0 or errors[k] <= 0.0:
        return steps[k]
    share = np.log(errors[k - 1] / target) / np.log(errors[k - 1] / errors[k])
    return int(np.ceil(np.exp(np.log(steps[k - 1]) + share * np.log(steps[k] / steps[k - 1])) - 1e-9))


# The solvers: each setup imports what it needs and returns ``run(n, paths, seed) -> D_T(U), (paths, d)``


def setup_ours(structured, executor=None):
    import rdasde as rs
    from rdasde._diffusion import TimeGrid, fluctuation_paths

    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=C, mu=MU))
    problem = rs.LinearRegression(COEF, rs.AR1(D, RHO) if structured else H)

    def run(n, paths, seed):
        grid = TimeGrid(np.linspace(0.0, HORIZON, n + 1), np.array([n]))
        flow = np.tile(COEF, (n + 1, 1))
        table = algorithm.mirror.fluctuation(flow, COEF == 0.0, C * grid.times**MU)
        return fluctuation_paths(problem, algorithm, grid, table, flow, paths, seed, executor, False)[1][:, 0]

    return run


def setup_numpy(scheme):
    step = SCHEMES[scheme]

    def run(n, paths, seed):
        rng = np.random.Generator(np.random.SFC64(seed))
        u, h = np.zeros((paths, D)), HORIZON / n
        factor = np.sqrt(h) * L.T
        for k in range(n):
            u = step(k * h, u, h, rng.standard_normal((paths, D)) @ factor, 0.0)
        return mapped(HORIZON, u)

    return run


def one_thread_jax():
    threads = len(os.sched_getaffinity(0))
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def _jax_mapped(jnp):
    def function(t, u):
        g = C * t**MU
        return jnp.where(SIGN != 0.0, u - SIGN * g, u - jnp.clip(u, -g, g))

    return function


def setup_jax(scheme):
    jax = one_thread_jax()
    jnp, jr = jax.numpy, jax.random
    image = _jax_mapped(jnp)

    @functools.partial(jax.jit, static_argnums=1)
    def solve(n, paths, key):
        h = HORIZON / n

        def step(k, u):
            t = k * h
            noise = jnp.sqrt(h) * jr.normal(jr.fold_in(key, k), (paths, D)) @ L.T
            first = -image(t, u) @ H
            if scheme == "Euler":
                return u + h * first + noise
            return u + noise + 0.5 * h * (first - image(t + h, u + h * first + noise) @ H)

        return image(HORIZON, jax.lax.fori_loop(0, n, step, jnp.zeros((paths, D))))

    return lambda n, paths, seed: np.asarray(solve(n, paths, jr.key(seed)))


def setup_diffrax(scheme):
    """All paths as one state, one Brownian path of that shape, no step kept, no derivative: what is fastest there.

    (`vmap` over paths costs some percent more, a VirtualBrownianTree thirty times as much.)
    """
    jax = one_thread_jax()
    import diffrax

    jnp, jr = jax.numpy, jax.random
    image = _jax_mapped(jnp)
    solver = {"Euler": diffrax.Euler, "Heun": diffrax.Heun, "ShARK": diffrax.ShARK}[scheme]()
    area = diffrax.SpaceTimeLevyArea if scheme == "ShARK" else diffrax.BrownianIncrement

    class Control(diffrax.ControlTerm):
        def prod(self, vf, control):
            return control @ vf.T

    @functools.partial(jax.jit, static_argnums=1)
    def solve(n, paths, key):
        path = diffrax.UnsafeBrownianPath(shape=(paths, D), key=key, levy_area=area)
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, u, _: -image(t, u) @ H), Control(lambda t, u, _: jnp.asarray(L), path)
        )
        found = diffrax.diffeqsolve(
            terms,
            solver,
            0.0,
            HORIZON,
            HORIZON / n,
            jnp.zeros((paths, D)),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=10_000,
            adjoint=diffrax.ForwardMode(),
        )
        return image(HORIZON, found.ys[0])

    return lambda n, paths, seed: np.asarray(solve(n, paths, jr.key(seed)))


def setup_torchsde(method):
    import torch
    import torchsde

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    sign, matrix, factor = (torch.from_numpy(x) for x in (SIGN, H, L))

    def image(t, u):
        g = C * t**MU
        return torch.where(sign != 0.0, u - sign * g, u - torch.clamp(u, -g, g))

    class Equation(torch.nn.Module):
        noise_type = "additive"
        sde_type = "stratonovich" if method == "heun" else "ito"  # the same, where noise is additive

        def f(self, t, u):
            return -image(t, u) @ matrix

        def g(self, t, u):
            return factor.expand(len(u), D, D)

    def run(n, paths, seed):
        area = "space-time" if method == "srk" else "none"
        path = torchsde.BrownianInterval(0.0, HORIZON, size=(paths, D), entropy=seed, levy_area_approximation=area)
        ends = torch.tensor([0.0, HORIZON])
        with torch.no_grad():
            u = torchsde.sdeint(Equation(), torch.zeros(paths, D), ends, bm=path, method=method, dt=HORIZON / n)[-1]
            return image(HORIZON, u).numpy()

    return run


def setup_sdeint(method):
    import sdeint

    solve = getattr(sdeint, method)

    def run(n, paths, seed):
        rng, times = np.random.default_rng(seed), np.linspace(0.0, HORIZON, n + 1)
        ends = [
            solve(lambda u, t: velocity(t, u), lambda u, t: L, np.zeros(D), times, generator=rng)[-1]
            for _ in range(paths)
        ]
        return mapped(HORIZON, np.array(ends))

    return run


# The section


class Peer(NamedTuple):
    setup: Callable
    argument: Any
    scheme: str  # whose weak error it has; "" for ours, measured by itself
    rounds: int
    part: int = 1  # of the paths are run, where a thousand take too long; time is scaled up

    @property
    def paths(self):
        return PATHS // self.part


OURS = ("rdasde", "rdasde, dense H")
PEERS = {
    "rdasde": Peer(setup_ours, True, "", 9),
    "rdasde, dense H": Peer(setup_ours, False, "", 9),
    "NumPy, Euler": Peer(setup_numpy, "Euler", "Euler", 5),
    "NumPy, Heun": Peer(setup_numpy, "Heun", "Heun", 5),
    "JAX by hand, Euler": Peer(setup_jax, "Euler", "Euler", 9),
    "JAX by hand, Heun": Peer(setup_jax, "Heun", "Heun", 9),
    "diffrax, Euler": Peer(setup_diffrax, "Euler", "Euler", 9),
    "diffrax, Heun": Peer(setup_diffrax, "Heun", "Heun", 9),
    "diffrax, ShARK": Peer(setup_diffrax, "ShARK", "ShARK", 9),
    "torchsde, Euler": Peer(setup_torchsde, "euler", "Euler", 2),
    "torchsde, Heun": Peer(setup_torchsde, "heun", "Heun", 2),
    "torchsde, SRK": Peer(setup_torchsde, "srk", "SRA1", 2),
    "sdeint, Euler": Peer(setup_sdeint, "itoEuler", "Euler", 2, 20),
    "sdeint, Heun": Peer(setup_sdeint, "stratHeun", "Heun", 2, 20),
}


def weak_errors(coupled_paths, paths):
    """Weak errors by scheme and number of steps, ours under ""; what they were found from; and how sure they are."""
    coupled = coupled_differences(coupled_paths)
    exact = heun_moments(24, 4 * paths) - coupled["Heun", 24][0]  # two-level Monte Carlo
    scale = exact[D:]
    errors = {name: {n: worst(coupled[name, n][0], scale) for n in STEPS[name]} for name in SCHEMES}
    run, chunk, errors[""] = setup_ours(True), 2**16, {}
    for n in OUR_STEPS:
        first, second = np.zeros(D), np.zeros(D)
        for part in range(paths // chunk):
            x = run(n, chunk, 1000 + part)
            first, second = first + x.sum(axis=0), second + (x**2).sum(axis=0)
        first, second = first / (paths // chunk * chunk), second / (paths // chunk * chunk)
        errors[""][n] = worst(np.concatenate([first, np.sqrt(second - first**2)]) - exact, scale)
    standard = {"coupled": max(worst(error, scale) for _, error in coupled.values()), "ours": np.sqrt(1.25 / paths)}
    return errors, coupled, exact, standard


def worst(differences, scale):
    """The weak error from differences of moments (2 d,)."""
    return float(np.max(np.abs(differences) / np.tile(scale, 2)))


def has_law(sample, expected):
    """Whether draws have these moments, within 5.5 standard errors of a mean (of a deviation, 7.8)."""
    return bool(np.all(np.abs(moments(sample) - expected) < 5.5 * np.tile(expected[D:], 2) / np.sqrt(len(sample))))


def measure(workers, steps, rounds):
    """Seconds by name and number of steps, and the samples drawn; all peers take their turn in every round."""
    taken, samples = {}, {}
    for turn in range(max(map(rounds, workers))):
        for name, worker in workers.items():
            for n in steps[name] if turn < rounds(name) else ():
                seconds, sample = worker(n, PEERS[name].paths, 100 + turn)
                taken.setdefault((name, n), []).append(seconds * PEERS[name].part)
                samples.setdefault((name, n), []).append(sample)
    return {key: np.array(t) for key, t in taken.items()}, {key: np.concatenate(x) for key, x in samples.items()}


def section(out, quick=False):
    """The text; the picture work-precision.png into the folder `out`."""
    errors, coupled, exact, standard = weak_errors(*((2000, 2**16) if quick else (20_000, 2**20)))
    workers, lines = hire({name: (peer.setup, (peer.argument,), (20, peer.paths, 0)) for name, peer in PEERS.items()})
    needed = {}
    for name in workers:
        found = errors[PEERS[name].scheme]
        needed[name] = steps_for(TARGET, list(found), list(found.values()))
        if needed[name] is None:
            lines.append(f"{name}: above {TARGET:.0%} at all of {list(found)} steps.\n")
    at_target, _ = measure(
        {name: worker for name, worker in workers.items() if needed[name]},
        {name: [n] for name, n in needed.items()},
        lambda name: 2 if quick else PEERS[name].rounds,
    )
    curves, samples = measure(
        workers,
        {name: list(errors[PEERS[name].scheme]) for name in workers},
        lambda name: 1 if quick else min(3, PEERS[name].rounds),
    )
    for (name, n), sample in samples.items():
        scheme = PEERS[name].scheme
        if scheme and not has_law(sample, exact + coupled[scheme, n][0]):
            lines.append(f"{name} with {n} steps does not have the law of its scheme: its line is not to be trusted.\n")
    first = {name: worker.first for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    draw(out / "work-precision.png", errors, curves, 2.5 * standard["ours"])

    rows = []
    for name, n in needed.items():
        if n is None:
            continue
        t = at_target[name, n]
        ratios = []
        for ours in OURS:
            base = at_target.get((ours, needed.get(ours)))
            ratios.append("" if base is None or name in OURS else spread(t / base[: len(t)]))
        per_step = f"{1e6 * np.median(t) / (n * PATHS):.3g}"
        rows.append([name, n, f"{1e3 * np.median(t):.3g}", spread(1e3 * t), per_step, f"{first[name]:.2g}", *ratios])
    return "\n".join(
        [
            f"## A fluctuation SDE, d = {D}: time at equal weak error\n",
            f"`dU = -H D_t(U) dt + L dB` up to t = {HORIZON:g}, H = AR(1) with {RHO:g}, threshold {C:g} t^{MU:g}, half "
            f"of the coordinates on the kink; {PATHS} paths, one core for everybody, double precision. Weak error: the "
            "largest error, over coordinates, of mean and standard deviation of D_t(U) at the end, in standard "
            f"deviations. The steps are those that bring it to {TARGET:.0%}, by interpolation; biases of the peers' "
            "schemes come from paths coupled to a fine solution (standard errors at most "
            f"{standard['coupled']:.1e}), ours from independent paths through the package itself (standard error of "
            f"one mean {standard['ours']:.1e}, the largest of {2 * D}). That each peer draws from the law of its "
            "scheme was checked. Compilation, in the first call, is left out of the times. diffrax runs on all paths "
            "as one state, UnsafeBrownianPath and ForwardMode: the fastest of what it offers here. sdeint runs "
            f"{PEERS['sdeint, Euler'].paths} paths, scaled up. ![work-precision](work-precision.png)\n",
            table(
                [
                    "",
                    "steps",
                    "ms",
                    "spread",
                    "µs a path and step",
                    "first call, s",
                    *(f"over {ours}" for ours in OURS),
                ],
                rows,
            ),
            _asked(needed, at_target),
            _fixed_cost(curves),
            *lines,
        ]
    )


def _asked(needed, taken):
    """Against the fastest solver of each package."""

    def fastest(prefix):
        names = [name for name, n in needed.items() if name.startswith(prefix) and n]
        return min(names, key=lambda name: np.median(taken[name, needed[name]]), default=None)

    rows, ours = [], OURS[0]
    for package, must, aim in (("diffrax", 10, 30), ("sdeint", 500, 3000)):
        name = fastest(package)
        if name is not None and needed.get(ours):
            t = taken[name, needed[name]]
            rows.append(asked(f"{name} / {ours}", t / taken[ours, needed[ours]][: len(t)], must, aim))
    return table(ASKED, rows)


class AtOnce(Executor):
    """Runs on the thread that asks: what a profile sees."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def _fixed_cost(taken):
    """What ours takes before its first step, and for each: a line through the times."""
    lines = []
    for name in OURS:
        points = [(n, np.median(t)) for (who, n), t in taken.items() if who == name]
        if len(points) > 1:
            per_step, fixed = np.polyfit(*zip(*points, strict=True), 1)
            share = f"{1e3 * fixed:.2g} ms before the first step, {1e3 * per_step:.2g} ms a step of {PATHS} paths"
            lines.append(f"{name}: {share}.")
    n, run = max(OUR_STEPS), setup_ours(True, AtOnce())
    return " ".join([*lines, f"With {n} steps: {where_time_goes(lambda: [run(n, PATHS, k) for k in range(20)])}\n"])


COLORS = {"rdasde": "#b2182b", "NumPy": "#1b1b1b", "JAX by hand": "#e08214", "diffrax": "#2c6fbb"}
COLORS |= {"torchsde": "#7b3294", "sdeint": "#01665e"}
MARKS = {"Euler": "o", "Heun": "s", "ShARK": "^", "SRA1": "D", "": "P"}


def draw(file, errors, taken, floor):
    """Time of a thousand paths against weak error; below `floor`, what is drawn of ours is noise."""
    from rdasde.plot import new_figure

    figure = new_figure(9.0, 6.0)
    axis = figure.subplots()
    for name, peer in PEERS.items():
        found = errors[peer.scheme].items()  # past 0.3 a scheme is about to be unstable
        points = [(np.median(taken[name, n]), e) for n, e in found if (name, n) in taken and e < 0.3]
        if not points:
            continue
        ours, package = name in OURS, name.split(",")[0]
        style = "--" if name == OURS[1] else "-"
        axis.plot(
            *zip(*points, strict=True),
            marker=MARKS[peer.scheme],
            ls=style,
            ms=7 if ours else 5,
            lw=2.2 if ours else 1.1,
            color=COLORS[package],
            label=name,
        )
    axis.axhspan(axis.get_ylim()[0], floor, color="0.93", lw=0, zorder=0)
    axis.text(0.01, floor, "sampling error of ours", transform=axis.get_yaxis_transform(), va="top", color="0.5")
    axis.axhline(TARGET, color="0.5", lw=0.8, ls=":")
    axis.text(1.0, TARGET, " 1 %", transform=axis.get_yaxis_transform(), va="center", color="0.4")
    axis.set(xscale="log", yscale="log", xlabel=f"seconds for {PATHS} paths, one core", ylabel="weak error")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(which="major", lw=0.3, color="0.85")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(file, dpi=110)

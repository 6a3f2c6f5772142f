"""The equation of `sde` by rdasde, NumPy, JAX, diffrax, torchsde and sdeint.

Each setup imports what it needs and returns ``run(n, paths, seed) -> D_T(U), (paths, d)``, n equal steps.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sde import COEF, HORIZON, MU, RHO, SCHEMES, SIGN, C, D, H, L, mapped, velocity

PATHS = 1000


def setup_ours(structured, executor=None):
    import rdasde as rs
    from rdasde._approximations.paths import fluctuation_paths
    from rdasde._approximations.time_grid import TimeGrid
    from rdasde._engine.run import MonteCarlo, Run
    from rdasde._engine.time_axis import TimeAxis

    algorithm = rs.RDA(1e-3, rs.L1(), rs.PowerLaw(c=C, mu=MU))
    problem = rs.LinearRegression(COEF, rs.AR1(D, RHO) if structured else H)

    def run(n, paths, seed):
        grid = TimeGrid(np.linspace(0.0, HORIZON, n + 1), np.array([n]))
        flow = np.tile(COEF, (2 * n + 1, 1))
        table = algorithm.mirror.fluctuation(flow[::2], COEF == 0.0, C * grid.times**MU)
        axis = TimeAxis(grid.recorded, grid.times[grid.recorded], n)
        whole = Run(problem, algorithm, np.zeros(D), axis)
        return fluctuation_paths(whole, MonteCarlo(paths, seed, executor), grid, table, flow)[1][:, 0]

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

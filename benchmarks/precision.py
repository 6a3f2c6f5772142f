"""The section on the fluctuation SDE: who takes how long for a weak error of one percent, and the picture of it."""

from __future__ import annotations

import numpy as np
from measure import ASKED, asked, hire, spread, table, where_time_goes
from sde import (
    HORIZON,
    MU,
    OUR_STEPS,
    RHO,
    SCHEMES,
    STEPS,
    C,
    D,
    coupled_differences,
    has_law,
    heun_moments,
    steps_for,
    worst,
)
from solvers import OURS, PATHS, PEERS, setup_ours

from rdasde._engine.blocks import AtOnce

TARGET = 0.01


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
    errors, coupled, exact, standard = weak_errors(*((4000, 2**18) if quick else (20_000, 2**20)))
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
    from rdasde._drawing import new_figure

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

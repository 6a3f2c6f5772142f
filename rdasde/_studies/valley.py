"""Do SGD and directional pruning end in the same valley? The loss on a plane, along a curve and along a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._studies import _checkpoints
from rdasde._studies._checkpoints import Plan
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._processes import in_processes
from rdasde._studies._valley_panels import contours, over_the_way

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEEDS, EPOCHS, POINTS = 5, 10, 25  # of the bend's training, of the measurements along a path
SIZE, ROWS = 21, 1000  # of the grid on the plane, training rows it is measured on
ROOM, POINT = 0.05, 0.01  # what the curve may cost: of the loss, of the accuracy
RATE = 0.05


def study(pieces: Pieces) -> Report:
    """Left: training loss on the plane of the first seed. Right: along the curve and the segment, all seeds."""
    plan = _checkpoints.SMALL if pieces.small else Plan()
    seeds = range(2 if pieces.small else SEEDS)
    epochs, points = (2, 5) if pieces.small else (EPOCHS, POINTS)
    size, rows = (5, 200) if pieces.small else (SIZE, ROWS)
    runs = {
        method: in_processes(_weights, [(pieces, plan, seed, method) for seed in seeds], pieces.small)
        for method in ("grda", "sgd")
    }
    curves = in_processes(
        _curve,
        [(pieces, plan, seed, epochs, points, runs["grda"][seed], runs["sgd"][seed]) for seed in seeds],
        pieces.small,
    )
    settings = plan._asdict() | {"seed": 0, "bend": epochs, "rate_bend": RATE, "size": size, "rows": rows}
    plane = pieces(
        "valley-plane",
        settings,
        lambda: _plane(plan, size, rows, runs["grda"][0], runs["sgd"][0], curves[0]),
    )

    figure = _drawing.page(3.9)
    axes = figure.subplot_mosaic([["plane", "loss"], ["plane", "accuracy"]], width_ratios=(1.2, 1.0))
    contours(figure, axes["plane"], plane, "training loss", "training loss, first seed")
    _profiles(axes["loss"], axes["accuracy"], curves)
    _drawing.letters(axes[name] for name in ("plane", "loss", "accuracy"))

    total = runs["sgd"][0]["weights"].shape[1]
    zeros = [100.0 * run["zeros"][-1] / total for run in runs["grda"]]
    tested = {method: [100.0 * run["test_accuracy"][-1] for run in by_seed] for method, by_seed in runs.items()}
    ends = [max(curve["loss"][0, 0], curve["loss"][0, -1]) for curve in curves]
    barriers = [curve["loss"].max(axis=1) - end for curve, end in zip(curves, ends, strict=True)]
    lost = [curve["accuracy"][:, [0, -1]].min() - curve["accuracy"].min(axis=1) for curve in curves]
    within = [(barrier < ROOM) & (loss < POINT) for barrier, loss in zip(barriers, lost, strict=True)]
    holds, straight = ([bool(both[row]) for both in within] for row in (0, 1))
    bars = np.array(barriers)
    _drawing.caption(
        figure,
        rf"{_checkpoints.about(plan)} ({total:,} weights), SGD and gRDA ($c = {plan.c:g}$, $\mu = {plan.mu:g}$) from "
        rf"the "
        f"same initial weights and batches: {plan.epochs} epochs, learning rate {plan.rate:g}, batches of "
        f"{plan.batch_size}. "
        f"gRDA has {np.mean(zeros):.1f} % exact zeros and {np.mean(tested['grda']):.2f} % test accuracy, SGD "
        f"{np.mean(tested['sgd']):.2f} % (means of {len(curves)} seeds). A quadratic Bézier curve joins them; its bend "
        f"alone was trained, {epochs} epochs (Garipov et al. 2018). **a**: training loss ({rows:,} rows, {size} × "
        f"{size} points, interpolated in its logarithm) on the plane through both and the bend, first seed; its axes "
        f"differ in scale. **b**, **c**: "
        f"all of the training set, {points} points a path. On the straight segment the loss rises by "
        f"{bars[:, 1].min():.3f} to {bars[:, 1].max():.3f} over its worse end, on the curve by at most "
        f"{bars[:, 0].max():.4f}; the curve loses at most {100 * max(loss[0] for loss in lost):.2f} points of training "
        f"accuracy, the segment up to {100 * max(loss[1] for loss in lost):.1f}. The curve stays within "
        f"{ROOM:g} in loss and {100 * POINT:g} point in {sum(holds)} of {len(holds)} seeds; by that "
        f"yardstick the segment passes in {sum(straight)} too, and the barrier is what tells them apart.",
    )
    table = {
        "seed": [str(seed) for seed in seeds],
        "zeros, %": [f"{value:.2f}" for value in zeros],
        "test accuracy gRDA, %": [f"{value:.2f}" for value in tested["grda"]],
        "SGD, %": [f"{value:.2f}" for value in tested["sgd"]],
        "training loss gRDA": [f"{curve['loss'][0, 0]:.4f}" for curve in curves],
        "SGD": [f"{curve['loss'][0, -1]:.4f}" for curve in curves],
        "highest on the curve": [f"{curve['loss'][0].max():.4f}" for curve in curves],
        "highest on the segment": [f"{curve['loss'][1].max():.4f}" for curve in curves],
        "points lost on the curve": [f"{100 * loss[0]:.2f}" for loss in lost],
        "points lost on the segment": [f"{100 * loss[1]:.2f}" for loss in lost],
        f"curve within {ROOM:g} and {100 * POINT:g} point": ["yes" if hold else "no" for hold in holds],
    }
    return Report(figure, markdown(table))


def _weights(pieces: Pieces, plan: Plan, seed: int, method: str) -> Arrays:
    return _checkpoints.weights(pieces, plan, seed, method)


def _curve(pieces: Pieces, plan: Plan, seed: int, epochs: int, points: int, pruned: Arrays, plain: Arrays) -> Arrays:
    settings = plan._asdict() | {"seed": seed, "bend": epochs, "rate_bend": RATE, "points": points}

    def compute() -> Arrays:
        from torch.nn import functional

        from rdasde import landscape

        with _checkpoints.one_thread():
            curve = landscape.curve(
                _checkpoints.network(plan),
                pruned["weights"][-1],
                plain["weights"][-1],
                functional.cross_entropy,
                _checkpoints.training_rows(plan),
                epochs=epochs,
                learning_rate=RATE,
                points=points,
                seed=seed,
            )
        return {name: curve[name].values for name in ("t", "loss", "accuracy", "bend", "training_loss")}

    return pieces("valley-curve", settings, compute)


def _plane(plan: Plan, size: int, rows: int, pruned: Arrays, plain: Arrays, curve: Arrays) -> Arrays:
    from torch.nn import functional

    from rdasde import landscape

    ends = pruned["weights"][-1], plain["weights"][-1]
    with _checkpoints.one_thread():
        plane = landscape.plane(*ends, curve["bend"])
        x, y = plane.grid(size, 0.25)
        surface = landscape.surface(
            _checkpoints.network(plan),
            plane,
            functional.cross_entropy,
            _checkpoints.training_rows(plan, rows),
            x=x,
            y=y,
            statistics=_checkpoints.training_rows(plan),
        )
    return {"x": x, "y": y, "loss": surface["loss"].values, "corners": plane.corners}


def _profiles(upper: Axes, lower: Axes, curves: list[Arrays]) -> None:
    from matplotlib.lines import Line2D

    inks = _drawing.inks(len(curves))
    for curve, ink in zip(curves, inks, strict=True):
        for row, style in ((0, "-"), (1, "--")):
            upper.plot(curve["t"], curve["loss"][row], style, color=ink)
            lower.plot(curve["t"], 100.0 * curve["accuracy"][row], style, color=ink)
    upper.set(yscale="log", ylabel="training loss", title="loss, curve and segment")
    handles = [Line2D([], [], color=ink, label=f"seed {seed}") for seed, ink in enumerate(inks)]
    handles += [
        Line2D([], [], color="0.4", label="curve"),
        Line2D([], [], color="0.4", ls="--", label="straight segment"),
    ]
    lower.set(title="accuracy", ylabel="training accuracy (%)")
    _drawing.legend_above(upper.figure, handles)
    over_the_way(upper, named=False)
    over_the_way(lower)
    _drawing.decimal_ticks(upper, "y")

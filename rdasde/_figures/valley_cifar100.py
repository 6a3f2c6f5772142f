"""The valley between gRDA and SGD on CIFAR-100: two planes, a curve and a segment, from a stored result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdasde import _drawing, _published
from rdasde._engine.store import Arrays
from rdasde._figures import _results
from rdasde._published import label
from rdasde._studies._valley_panels import contours, over_the_way

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "valley-cifar100"


def draw(results: Path | None = None) -> Figure:
    """Above: training and test loss on the plane. Below: loss and accuracy along the curve and the segment."""
    found = _results.arrays(NAME, results)
    settings = json.loads(str(found["settings"]))
    runs = settings["where"]["runs"]
    ends = (_short(runs[0]), _short(runs[1]))
    figure = _drawing.page(5.4)
    axes = figure.subplot_mosaic(
        [["train", "test"], ["loss", "accuracy"]], height_ratios=(1.6, 1.0), gridspec_kw={"hspace": 0.06}
    )
    for part, name in (("train", "training"), ("test", "test")):
        plane = {"x": found["x"], "y": found["y"], "corners": found["corners"]}
        plane["loss"] = found[f"plane_{part}_loss"]
        top, end = float(found[f"{part}_loss"][1].max()), float(found[f"{part}_loss"][:, [0, -1]].max())
        most = end + 4.0 * (top - end) if top > 1.1 * end else None  # the barrier is seen, not what lies far above it
        contours(figure, axes[part], plane, f"{name} loss", f"{name} loss on the plane", ends=ends, most=most)
    _profiles(axes["loss"], axes["accuracy"], found, ends)
    _drawing.letters(axes[name] for name in ("train", "test", "loss", "accuracy"))
    _drawing.caption(figure, _text(found, settings, runs))
    return figure


def _short(run: dict[str, Any]) -> str:
    return label(run).split(",")[0]


def barriers(found: Arrays) -> dict[str, float]:
    """By path, how far the training loss rises over the worse end."""
    end = float(found["train_loss"][:, [0, -1]].max())
    return {path: float(row.max()) - end for path, row in zip(("curve", "segment"), found["train_loss"], strict=True)}


def _profiles(losses: Axes, accuracies: Axes, found: Arrays, ends: tuple[str, str]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    for part, ink in (("train", _drawing.BLUE), ("test", _drawing.RED)):
        for row, style in ((0, "-"), (1, "--")):
            rise = found[f"{part}_loss"][row] - found[f"{part}_loss"][:, [0, -1]].max()
            losses.plot(found["t"], rise, style, color=ink)
            accuracies.plot(found["t"], 100.0 * found[f"{part}_accuracy"][row], style, color=ink)
    low, high = _published.SEGMENT
    losses.axhspan(low, high, color="0.85", lw=0, zorder=0)
    _drawing.zero_line(losses)
    losses.set(ylabel="loss over the worse end", title="rise of the loss along the way")
    accuracies.set(ylabel="accuracy (%)", title="accuracy along the way")
    for axis in (losses, accuracies):
        over_the_way(axis, ends)
    handles = [
        Line2D([], [], color=_drawing.BLUE, label="training"),
        Line2D([], [], color=_drawing.RED, label="test"),
        Line2D([], [], color="0.4", label="curve"),
        Line2D([], [], color="0.4", ls="--", label="straight segment"),
        Patch(color="0.85", lw=0, label="published, WRN28x10: top of the segment"),
    ]
    _drawing.legend_above(losses.figure, handles)


def _text(found: Arrays, settings: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    plan, where = settings["plan"], settings["where"]
    rise = barriers(found)
    ends = found["train_loss"][0, [0, -1]]
    described = " and ".join(
        f"{_math(label(run))} ({100 * run['zeros']:.1f} % zeros, {100 * run['test_accuracy']:.2f} % test accuracy, "
        f"{_results.trained(run)})"
        for run in runs
    )
    bend, measuring = found["seconds"]
    low, high = _published.SEGMENT
    return (
        f"{_results.about(runs[0], where['weights'])}: {described}, from the same initial weights and batches. A "
        f"quadratic Bézier curve joins them; its bend alone was trained, {plan['epochs']} epochs at {plan['rate']:g} "
        f"({where['device']}, {settings['precision']}, {_results.duration(bend)}; measured in "
        f"{_results.duration(measuring)}). Batch-norm statistics are estimated anew at every point. **a**, **b**: "
        f"training and test loss on the plane through both and the bend ({plan['grid']} × {plan['grid']} points, "
        f"{settings['grid_rows']:,} pictures each at most, interpolated in the logarithm; the axes differ in scale). "
        f"**c**, **d**: {plan['points']} points a path, {settings['rows']:,} pictures each at most. The training loss "
        f"is {ends[0]:.4f} and {ends[1]:.4f} at the ends; on the segment it rises by {rise['segment']:.3f} over the "
        f"worse one, on the curve by {max(rise['curve'], 0.0):.4f}. Published, WRN28x10: {low:g} to {high:g} at the "
        f"top of the segment, below {_published.CURVE:g} all along the curve ({_published.VALLEY_SOURCE})."
        f"{_results.unmeasured(runs)}"
    )


def _math(text: str) -> str:
    return text.replace("μ", r"$\mu$").replace("c ", "$c$ ")

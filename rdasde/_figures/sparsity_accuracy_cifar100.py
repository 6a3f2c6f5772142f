"""Error against sparsity on CIFAR-100, ours and published, from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdasde import _check, _drawing, _published
from rdasde._figures import _results
from rdasde._published import label
from rdasde._studies._error_panels import error_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "sparsity-accuracy-cifar100"
_ALIKE = ("recipe", "epochs", "batch_size", "pictures", "classes", "side")
STYLES = {
    "gRDA": ("o", _drawing.BLUE),
    "gradual magnitude": ("s", _drawing.RED),
    "one-shot magnitude": ("P", "0.55"),
    "RigL": ("^", _drawing.TEAL),
    "tuned magnitude": ("X", _drawing.RED),
    "RigL-ERK 5x": ("<", _drawing.TEAL),
    "STR": ("D", _drawing.YELLOW),
    "AC/DC": ("v", _drawing.SKY),
}


def draw(results: Path | None = None) -> Figure:
    """Left: the runs at hand. Middle and right: published, of WRN28x10 on CIFAR-100 and of ResNet-50 on ImageNet."""
    runs = [run for run in _results.numbers(NAME, results)["runs"] if run["epoch"] == run.get("epochs")]
    runs = [run for run in runs if run["test_accuracy"] is not None]
    _check_runs(runs)
    figure = _drawing.page(2.9)
    axes = figure.subplots(1, 3, width_ratios=(1.1, 0.9, 1.1))
    ours = _ours(runs)
    _panel(axes[0], ours, [run for run in runs if _method(run) == "SGD"])
    _quoted(axes[1], "cifar100-wrn28x10", "published, WRN28x10")
    _quoted(axes[2], "imagenet-resnet50", "published, ImageNet")
    axes[0].set_title(f"measured, {_results.named(str(runs[0]['recipe']).partition('-')[2])}")
    for axis in axes[1:]:
        axis.set_ylabel("")
    handles = {text: handle for axis in axes for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    _drawing.legend_above(figure, list(handles.values()))
    _drawing.letters(axes)
    _drawing.caption(figure, _text(runs))
    return figure


def _check_runs(runs: list[dict[str, Any]]) -> None:
    """ValueError of runs that are not at equal cost, or without gRDA among them."""
    if not any(_method(run) == "gRDA" for run in runs):
        got = f"a directory whose {NAME}.json tells of no finished run of gRDA"
        raise _check.bad("results", got, "one that tells of some", "train one to its end, and compare again")
    odd = [name for name in _ALIKE if len({run.get(name) for run in runs}) > 1]
    if odd:
        got = f"a directory whose {NAME}.json tells of runs that differ in {', '.join(odd)}"
        raise _check.bad("results", got, "one of runs at equal cost", "compare a directory of these alone")


def _method(run: dict[str, Any]) -> str:
    """The method of a run, whatever its strength."""
    return label(run).split(",")[0]


def _ours(runs: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Weights left and error in %, by method, sparser runs last; SGD is a line."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in sorted(runs, key=lambda run: float(run["zeros"])):
        if _method(run) != "SGD":
            pair = 100.0 * (1.0 - run["zeros"]), 100.0 * (1.0 - run["test_accuracy"])
            found.setdefault(_method(run), []).append(pair)
    return found


def _panel(axis: Axes, found: dict[str, list[tuple[float, float]]], plain: list[dict[str, Any]]) -> None:
    for method, pairs in found.items():
        mark, ink = STYLES[method]
        axis.plot(*zip(*pairs, strict=True), f"{mark}-", color=ink, label=method)
    for run in plain:
        axis.axhline(100.0 * (1.0 - run["test_accuracy"]), color="0.2", lw=0.8, label="SGD, all weights")
    error_axes(axis, [left for pairs in found.values() for left, _ in pairs])


def _quoted(axis: Axes, name: str, title: str) -> None:
    """Published pairs; gRDA's settings on one line."""
    beside = _published.PUBLISHED[name]
    found: dict[str, list[tuple[float, float]]] = {}
    for method, pairs in beside.runs.items():
        key = "gRDA" if method.startswith("gRDA") else method
        found.setdefault(key, []).extend((100.0 - zeros, 100.0 - right) for zeros, right in pairs)
    plain = [{"test_accuracy": beside.plain / 100.0}]
    _panel(axis, found, plain)
    axis.set_title(title)


def _text(runs: list[dict[str, Any]]) -> str:
    plain = [run for run in runs if _method(run) == "SGD"]
    pruned = [run for run in runs if _method(run) == "gRDA"]
    best = max(pruned, key=lambda run: float(run["test_accuracy"]))
    sparsest = max(pruned, key=lambda run: float(run["zeros"]))
    first, others = runs[0], len(runs) - len(plain) - len(pruned)
    seeds = sorted({run["seed"] for run in runs})
    several = len(seeds) > 1
    seconds = sum(run["seconds"] for run in runs)
    places = sorted({f"{_results.device(run['device'])}, {run['precision']}" for run in runs if run.get("device")})
    wrn, resnet = (_published.PUBLISHED[name] for name in ("cifar100-wrn28x10", "imagenet-resnet50"))
    text = (
        f"**a**: {_results.about(first, first['weights'])}, {first['epochs']} epochs, batches of "
        f"{first['batch_size']}, seed{'s' if several else ''} {', '.join(map(str, seeds))}; {len(runs)} runs from the "
        f"same initial weights{' where the seed is the same' if several else ''} "
        f"({len(pruned)} of gRDA, {others} of other methods), {_results.duration(seconds)} in all "
        f"({'; '.join(places)}). "
    )
    if plain:
        text += f"SGD reaches {', '.join(_percent(run) for run in plain)} %; "
    text += f"gRDA at best {_said(best)}, at its sparsest {_said(sparsest)}. "
    if not several:
        text += "One seed: differences of the size of those between seeds are no findings. "
    text += f"**b**: {wrn.about}: {wrn.source}. **c**: {resnet.about}: {resnet.source}."
    unmeasured = _results.unmeasured(runs)
    return text + (f"{unmeasured} {_published.EARLIER}." if unmeasured else "")


def _percent(run: dict[str, Any]) -> str:
    return f"{100 * run['test_accuracy']:.2f}"


def _said(run: dict[str, Any]) -> str:
    setting = label(run).partition(", ")[2].replace("μ", r"$\mu$").replace("c ", "$c$ ")
    return f"{_percent(run)} % at {100 * run['zeros']:.1f} % zeros ({setting})"

"""Where the zeros are: layer by layer, by directional pruning and by magnitude at equal sparsity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._studies import _prunings
from rdasde._studies._pieces import Pieces, Report, markdown


def study(pieces: Pieces) -> Report:
    """Left: the weights gRDA leaves in each layer. Right: those magnitude pruning leaves, as many in all."""
    runs = _prunings.runs(pieces)
    plan = runs.plan
    chosen = [k for k, layer in enumerate(runs.layers) if layer.endswith("weight")]
    sizes = runs.sizes[chosen]
    how = _prunings.TRIMS[0]

    def left(by_seed: list[Arrays]) -> NDArray[np.float64]:  # (seed, layer)
        return np.array([100 * (1 - run["layer_zeros"][chosen] / sizes) for run in by_seed])

    ways = {
        "gRDA": {name: left(by_seed) for name, by_seed in runs.directional.items()},
        f"magnitude, {how}": {name: left(runs.trimmed[name, how]) for name in runs.directional},
    }
    labels = _labels(plan, len(chosen))
    figure = _drawing.page(3.1)
    axes = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(chosen))
    inks, shapes = _drawing.inks(6), "os^vDX"
    for axis, (way, settings) in zip(axes, ways.items(), strict=True):
        for (name, values), ink, shape in zip(settings.items(), inks, shapes, strict=False):
            mean = values.mean(axis=0)
            reach = np.abs([mean - values.min(axis=0), values.max(axis=0) - mean])
            axis.errorbar(places, mean, reach, fmt=f"{shape}-", ms=3, lw=0.9, color=ink, label=_prunings.in_math(name))
        axis.set_xticks(places, [f"{label}\n{size:,}" for label, size in zip(labels, sizes, strict=True)])
        axis.set(yscale="log", title=way, xlim=(-0.4, len(chosen) - 0.6))
        _drawing.bare(axis)
        axis.grid(axis="y", color="0.92", lw=0.5)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if tick >= 0.8 * axes[0].get_ylim()[0]]
    axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].set(ylabel="weights left in the layer (%)")
    _drawing.legend_above(figure, axes[0].get_legend_handles_labels()[0], ncols=3)
    _drawing.letters(axes)
    largest = int(np.argmax(sizes))
    first, second = ({name: values.mean(axis=0) for name, values in settings.items()} for settings in ways.values())
    emptiest = {labels[int(np.argmin(values))] for values in first.values()}
    ratios = [float(np.mean(first[name] > second[name])) for name in first]
    dead = min(float(values.min()) for values in ways["gRDA"].values())
    _drawing.caption(
        figure,
        f"{_prunings.about(plan)}; {plan.epochs} epochs, {plan.seeds} seeds: means over seeds, bars from the least "
        f"to the most. Below each layer the number of its weights; {labels[largest]} has "
        f"{100 * sizes[largest] / sizes.sum():.0f} % of all. gRDA has one threshold for all layers, and leaves the "
        f"smallest share in {' or '.join(sorted(emptiest))}; no layer keeps less than {dead:.2f} % of its weights. "
        "Magnitude pruning leaves as many weights in all, seed by seed; in "
        f"{100 * np.mean(ratios):.0f} % of settings and layers gRDA leaves the larger share.",
    )
    table = {"layer": [*labels], "weights": [f"{size:,}" for size in sizes]}
    for name in runs.directional:
        table[f"gRDA, {name}: left, %"] = [f"{value:.2f}" for value in first[name]]
        table[f"magnitude, as many ({name}): left, %"] = [f"{value:.2f}" for value in second[name]]
    return Report(figure, markdown(table))


def _labels(plan: _prunings.Plan, layers: int) -> list[str]:
    if plan.network == "lenet":
        return ["convolution 1", "convolution 2", "full 1", "full 2"]
    return [f"full {k + 1}" for k in range(layers)]

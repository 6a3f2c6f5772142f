"""How many weights does directional pruning leave, and what does it cost? Against SGD and magnitude pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._published import IMAGENET
from rdasde._studies import _prunings
from rdasde._studies._error_panels import error_axes
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._seeds import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 0.5  # points of accuracy
INKS = {"gradual, fine-tuned": _drawing.RED, "gradual": _drawing.YELLOW, "one-shot": "0.55"}
SHAPES = {"gradual, fine-tuned": "s", "gradual": "^", "one-shot": "v"}


def last(runs: list[Arrays], key: str) -> NDArray[np.float64]:
    """The last entry of a history, by seed."""
    return np.array([float(run[key][-1]) for run in runs])


def study(pieces: Pieces) -> Report:
    """Left: test error against the weights left. Right: differences, paired by seed; published numbers in the table."""
    runs = _prunings.runs(pieces)
    plan, total = runs.plan, int(runs.sizes.sum())
    dense = 100 * last(runs.dense, "test_accuracy")
    names = list(runs.directional)
    sparsity = {name: 100 * last(runs.directional[name], "zeros") / total for name in names}
    accuracy = {name: 100 * last(runs.directional[name], "test_accuracy") for name in names}
    trimmed = {key: 100 * last(runs.trimmed[key], "test_accuracy") for key in runs.trimmed}
    to_dense = {name: interval(accuracy[name] - dense) for name in names}
    to_trim = {key: interval(accuracy[key[0]] - trimmed[key]) for key in trimmed}

    figure = _drawing.page(3.3)
    axes = figure.subplots(1, 2, width_ratios=[1.1, 1.0])
    _errors(axes[0], runs, dense, sparsity, accuracy, trimmed)
    _differences(axes[1], names, to_dense, to_trim, sparsity)
    handles = [handle for axis in axes for handle in axis.get_legend_handles_labels()[0]]
    _drawing.legend_above(figure, handles, ncols=4)
    _drawing.letters(axes)

    sparse = [name for name in names if sparsity[name].mean() >= 97.0]
    within = [name for name in sparse if to_dense[name].mean - to_dense[name].half >= -MARGIN]
    best = max(sparse, key=lambda name: accuracy[name].mean(), default=None)
    sparsest = max(within, key=lambda name: sparsity[name].mean(), default=None)
    above = [name for name in names if to_trim[name, _prunings.TRIMS[0]].mean > 0]
    clearly = [
        name for name in above if to_trim[name, _prunings.TRIMS[0]].mean > to_trim[name, _prunings.TRIMS[0]].half
    ]
    weights = [k for k, layer in enumerate(runs.layers) if layer.endswith("weight")]
    misses = {}
    for target in plan.targets:
        zeros = [run["layer_zeros"][weights].sum() for run in runs.directional[f"target {100 * target:g} %"]]
        misses[target] = float(np.abs(100 * (np.array(zeros) / runs.sizes[weights].sum() - target)).max())
    text = (
        f"{_prunings.about(plan)}; {total:,} parameters, batches of {plan.batch_size}, learning rate "
        f"{plan.rate:g} for half of the time, then down to a hundredth as in the paper's CIFAR runs, {plan.epochs} "
        f"epochs in all for every method, {plan.seeds} seeds; methods share initial weights and batches seed by seed, "
        "biases are not thresholded. Magnitude pruning starts from SGD's "
        f"weights after epoch {plan.dense_epochs} and cuts the smallest of all weights step by step (Zhu & Gupta 2017) "
        "to exactly as many as gRDA left in the run it is compared with: "
        f"within {plan.cut_epochs} epochs, then fine-tuned, or until the end; one-shot cuts SGD's last weights. "
        f"Bars are 95 % t-intervals over seeds, on one test set. SGD reaches {dense.mean():.2f} %. "
    )
    if best is None:
        text += "No setting reached 97 % zeros. "
    else:
        text += (
            f"Of {len(sparse)} settings with at least 97 % zeros, {len(within)} are within {MARGIN:g} points of SGD "
            f"(whole interval); the best ({best}) has {accuracy[best].mean():.2f} % at {sparsity[best].mean():.2f} % "
            f"zeros, {to_dense[best]} against SGD. "
        )
    if sparsest is not None:
        text += f"The sparsest of these ({sparsest}) has {sparsity[sparsest].mean():.2f} % zeros. "
    text += (
        f"At equal sparsity gRDA is above fine-tuned magnitude pruning in {len(above)} of {len(names)} settings, by "
        f"more than the interval in {len(clearly)}."
    )
    if misses:
        text += " The share of zero weights asked for (sparsity_target) was missed by at most "
        text += ", ".join(f"{miss:.2f} points (target {100 * target:g} %)" for target, miss in misses.items()) + "."
    _drawing.caption(figure, text)

    table = {
        "method": ["SGD", *names],
        "zeros, %": ["0", *(f"{sparsity[name].mean():.2f}" for name in names)],
        "test accuracy, %": [f"{values.mean():.2f}" for values in (dense, *accuracy.values())],
        "minus SGD, points": ["", *(str(to_dense[name]) for name in names)],
        "last training loss": [
            f"{last(by_seed, 'train_loss').mean():.4f}" for by_seed in (runs.dense, *runs.directional.values())
        ],
    }
    for how in _prunings.TRIMS:
        table[f"magnitude, {how}, %"] = ["", *(f"{trimmed[name, how].mean():.2f}" for name in names)]
        table[f"minus magnitude, {how}"] = ["", *(str(to_trim[name, how]) for name in names)]
    early = _early(_prunings.early(pieces), dense, plan.rate)
    return Report(figure, f"{markdown(table)}\n{early}\n{_published()}")


def _errors(
    axis: Axes,
    runs: _prunings.Runs,
    dense: NDArray[np.float64],
    sparsity: dict[str, NDArray[np.float64]],
    accuracy: dict[str, NDArray[np.float64]],
    trimmed: dict[tuple[str, str], NDArray[np.float64]],
) -> None:
    order = sorted(sparsity, key=lambda name: sparsity[name].mean())
    left = [100 - sparsity[name].mean() for name in order]
    for how, ink in INKS.items():
        means = [interval(100 - trimmed[name, how]) for name in order]
        axis.errorbar(
            left,
            [value.mean for value in means],
            [value.half for value in means],
            fmt=f"{SHAPES[how]}--",
            ms=3,
            lw=0.8,
            color=ink,
            label=f"magnitude, {how}",
        )
    means = [interval(100 - accuracy[name]) for name in order]
    axis.errorbar(
        left,
        [value.mean for value in means],
        [value.half for value in means],
        fmt="o-",
        color=_drawing.BLUE,
        label="gRDA",
        zorder=3,
    )
    whole = interval(100 - dense)
    axis.axhline(whole.mean, color="0.2", lw=0.8, label="SGD, all weights")
    axis.axhspan(whole.mean - whole.half, whole.mean + whole.half, color="0.85", zorder=0)
    axis.set(title="error and sparsity")
    error_axes(axis, left)


def _differences(
    axis: Axes,
    names: list[str],
    to_dense: dict[str, Interval],
    to_trim: dict[tuple[str, str], Interval],
    sparsity: dict[str, NDArray[np.float64]],
) -> None:
    rows = np.arange(len(names))[::-1]
    series = [("SGD", 0.15, _drawing.BLUE, [to_dense[name] for name in names])]
    how = _prunings.TRIMS[0]
    series.append((f"magnitude, {how}", -0.15, INKS[how], [to_trim[name, how] for name in names]))
    for label, shift, ink, values in series:
        axis.errorbar(
            [value.mean for value in values],
            rows + shift,
            xerr=[value.half for value in values],
            fmt="o" if label == "SGD" else "s",
            mfc="white",
            color=ink,
            label=f"gRDA minus {label}",
        )
    axis.axvline(0, color="0.4", lw=0.8)
    axis.axvline(-MARGIN, color="0.4", lw=0.8, ls="--")
    axis.set_yticks(rows, [f"{_prunings.in_math(name)}\n{sparsity[name].mean():.2f} % zeros" for name in names])
    axis.set(xlabel="difference in test accuracy (points)", title="paired by seed")
    axis.set_ylim(-0.6, len(names) - 0.1)
    _drawing.bare(axis)


def _early(runs: _prunings.Early, slow: NDArray[np.float64], slow_rate: float) -> str:
    """Targets reached before the rate falls against SGD at this rate and at the other, in Markdown."""
    plan = runs.plan
    total = int(runs.dense[0]["sizes"].sum())
    dense = 100 * last(runs.dense, "test_accuracy")
    accuracy = {name: 100 * last(by_seed, "test_accuracy") for name, by_seed in runs.directional.items()}
    to_dense = {name: interval(values - dense) for name, values in accuracy.items()}
    to_slow = {name: interval(values - slow) for name, values in accuracy.items()}
    zeros = {name: 100 * last(by_seed, "zeros").mean() / total for name, by_seed in runs.directional.items()}
    losses = [last(by_seed, "train_loss").mean() for by_seed in (runs.dense, *runs.directional.values())]
    table = {
        "method": ["SGD", *accuracy],
        "zeros, %": ["0", *(f"{value:.2f}" for value in zeros.values())],
        "test accuracy, %": [f"{values.mean():.2f}" for values in (dense, *accuracy.values())],
        "minus SGD, points": ["", *(value.show(3) for value in to_dense.values())],
        f"minus SGD at learning rate {slow_rate:g}": ["", *(value.show(3) for value in to_slow.values())],
        "last training loss": [f"{loss:.4f}" for loss in losses],
    }
    sparse = [name for name in accuracy if zeros[name] >= 97.0]
    within = [sum(to[name].mean - to[name].half >= -MARGIN for name in sparse) for to in (to_dense, to_slow)]
    return (
        f"### Learning rate {plan.rate:g}, targets reached before it falls\n\n"
        + markdown(table)
        + f"\nThe same seeds, pictures, epochs and schedule. Of {len(sparse)} settings with at least 97 % zeros, the "
        f"whole interval is above {-MARGIN:g} points for {within[0]} against SGD at the same rate, for {within[1]} "
        f"against SGD at a learning rate of {slow_rate:g}.{_fresh(runs)}{_diverged(runs)}\n"
    )


def _fresh(runs: _prunings.Early) -> str:
    """Settings with seeds that had no part in choosing them, alone and together with those that may have."""
    first, end = runs.plan.seeds, runs.plan.seeds + runs.plan.fresh
    total = int(runs.dense[0]["sizes"].sum())
    plain = [100 * last(by_seed, "test_accuracy") for by_seed in (runs.dense, runs.fresh_dense)]
    told = []
    for name, by_seed in runs.fresh.items():
        sparse = [100 * last(by, "test_accuracy") for by in (runs.directional[name], by_seed)]
        alone = interval(sparse[1] - plain[1])
        together = interval(np.concatenate(sparse) - np.concatenate(plain))
        told.append(
            f"{name}: {sparse[1].mean():.2f} % at {100 * last(by_seed, 'zeros').mean() / total:.2f} % zeros, a "
            f"difference of {alone.show(3)} points; all {end} seeds together, {together.show(3)}."
        )
    return (
        f" Seeds {first} to {end - 1}, fixed before they were trained and trained once: SGD at the same rate has "
        f"{plain[1].mean():.2f} %. {' '.join(told)}"
    )


def _diverged(runs: _prunings.Early) -> str:
    """Which runs have no finite loss at the end; they count in every mean and interval."""
    everything = {name: by_seed + runs.fresh.get(name, []) for name, by_seed in runs.directional.items()}
    everything |= {"SGD": runs.dense + runs.fresh_dense}
    counts = {name: int((~np.isfinite(last(by, "train_loss"))).sum()) for name, by in everything.items()}
    told = [f"{name}, {count} of {len(everything[name])}" for name, count in counts.items() if count]
    return f" Runs that diverged, which count in what is above: {'; '.join(told)}." if told else ""


def _published() -> str:
    """What others report of ImageNet, in Markdown."""
    cells = [(name, f"{zeros:.1f}", f"{right:.2f}") for name, pairs in IMAGENET.items() for zeros, right in pairs]
    method, zeros, right = (list(column) for column in zip(*cells, strict=True))
    return (
        "### Published: ImageNet, ResNet-50\n\n"
        + markdown({"method": method, "zeros, %": zeros, "top-1, %": right})
        + "\ngRDA: Chao, Wang, Xing & Cheng (NeurIPS 2020), whose SGD at a fixed rate has 68.71 %. Others as reported "
        "by their authors (Gale et al. 2019 for magnitude), with other epochs and schedules: not at equal cost.\n"
    )

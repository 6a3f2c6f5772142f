"""Whole filters: what is left of networks, what it costs, and what it is worth. gRDA, magnitude, SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._studies import _filter_runs
from rdasde._studies._filter_runs import METHODS, PLANS, SMALL, Plan
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._seeds import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN, LEFT, FASTER = 0.7, 0.5, 1.0 / 3.0  # points of accuracy, of the multiply-adds, of the milliseconds
NAMES = {"lenet": "LeNet-5", "resnet8": "ResNet-8", "mlp": "two layers"}
WORDS = {"sgd": "SGD, all filters", "grda": "gRDA", "magnitude": "magnitude"}
INKS = {"sgd": "0.25", "grda": _drawing.BLUE, "magnitude": _drawing.RED}
BESIDE = {"sgd": 0.0, "grda": -5.0, "magnitude": 0.0}  # of the same multiply-adds, so that none lies on another
MARKS = {"sgd": "D", "grda": "o", "magnitude": "s"}


def study(pieces: Pieces) -> Report:
    """Left: accuracy against the multiply-adds left, by seed. Right: milliseconds a picture, of SGD's."""
    plans = SMALL if pieces.small else PLANS
    runs = {plan: _filter_runs.runs(pieces, plan).runs for plan in plans}
    times = {plan: _filter_runs.times(pieces, plan, runs[plan]) for plan in plans}

    figure = _drawing.page(2.9)
    axes = figure.subplots(1, 3, width_ratios=[1.0, 1.0, 1.15])
    for axis, plan in zip(axes, plans, strict=False):
        _accuracies(axis, plan, runs[plan])
    _speeds(axes[2], times)
    handles, _ = axes[0].get_legend_handles_labels()
    _drawing.legend_above(figure, handles)
    _drawing.letters(axes)
    found = {plan: _found(runs[plan], times[plan]) for plan in plans}
    _drawing.caption(figure, _text(plans, runs, times, found))
    return Report(figure, _table(plans, runs, times, found))


def _layers(plan: Plan) -> str:
    """What becomes zero in each layer of channels."""
    shares = ", ".join(f"{100 * target:g}" for target in plan.targets)
    return f"of {NAMES[plan.network]}'s layers {shares} % of the weights"


def _last(runs: list[Arrays], key: str = "test_accuracy") -> NDArray[np.float64]:
    return np.array([100.0 * float(np.atleast_1d(run[key])[-1]) for run in runs])


def _ratios(times: Arrays, method: str) -> NDArray[np.float64]:
    """Milliseconds over SGD's, (size, seed); SGD's networks are all alike, so that their median is the measure."""
    each = times["milliseconds"]
    dense = np.median(each[:, METHODS.index("sgd")], axis=-1, keepdims=True)
    return np.asarray(each[:, METHODS.index(method)] / dense)


def _found(runs: dict[str, list[Arrays]], times: Arrays) -> dict[str, Any]:
    accuracy = {method: _last(runs[method]) for method in METHODS}
    return {
        "accuracy": accuracy,
        "left": {method: _last(runs[method], "multiply_adds") for method in METHODS[1:]},
        "minus": {method: interval(accuracy[method] - accuracy["sgd"]) for method in METHODS[1:]},
        "between": interval(accuracy["grda"] - accuracy["magnitude"]),
        "ratios": {method: _ratios(times, method) for method in METHODS[1:]},
    }


def _accuracies(axis: Axes, plan: Plan, runs: dict[str, list[Arrays]]) -> None:
    for method in METHODS:
        left = _last(runs[method], "multiply_adds")
        axis.plot(
            left + BESIDE[method],
            _last(runs[method]),
            MARKS[method],
            ms=4,
            color=INKS[method],
            mec="white",
            mew=0.4,
            label=WORDS[method],
            zorder=3,
        )
        mean = _last(runs[method]).mean()
        middle = left.mean() + BESIDE[method]
        axis.plot([middle - 5.0, middle + 5.0], [mean, mean], color=INKS[method], lw=1.2, zorder=2)
    whole = _last(runs["sgd"]).mean()
    axis.axhspan(whole - MARGIN, whole, color="0.92", zorder=0, lw=0)
    axis.axvline(100.0 * LEFT, color="0.6", lw=0.7, ls=":", zorder=1)
    axis.set(
        xlim=(0.0, 108.0),
        xlabel="multiply-adds left (%)",
        ylabel="test accuracy (%)" if plan is PLANS[0] or plan is SMALL[0] else "",
        title=NAMES[plan.network],
    )
    _drawing.bare(axis)


def _speeds(axis: Axes, times: dict[Plan, Arrays]) -> None:
    place = 0.0
    ticks: list[float] = []
    labels: list[str] = []
    for plan, measured in times.items():
        for k, size in enumerate(measured["sizes"].tolist()):
            for j, method in enumerate(METHODS[1:]):
                ratios = 100.0 * _ratios(measured, method)[k]
                x = place + 0.34 * (j - 0.5)
                axis.bar(x, np.median(ratios), 0.3, color=INKS[method], alpha=0.85, lw=0)
                axis.plot(np.full(len(ratios), x), ratios, "o", ms=2, color="black", mec="white", mew=0.3, zorder=3)
            ticks.append(place)
            labels.append(f"{NAMES[plan.network].split('-')[0]}\n{'one' if size == 1 else f'of {size}'}")
            place += 1.0
    axis.axhline(100.0, color=INKS["sgd"], lw=1.0)
    axis.axhline(100.0 * (1.0 - FASTER), color="0.6", lw=0.7, ls=":")
    axis.set_xticks(ticks, labels)
    axis.set(ylabel="time a picture (% of SGD's)", ylim=(0.0, None), title="one picture, or batches")
    _drawing.bare(axis)


def _text(plans: tuple[Plan, ...], runs: Any, times: Any, found: Any) -> str:
    plan = plans[0]
    pictures = _filter_runs.data(plan)
    text = (
        f"{' and '.join(NAMES[p.network] for p in plans)} on {len(pictures.train_labels):,} digits, "
        f"{len(pictures.test_labels):,} to test on, {plan.seeds} seeds. All methods share initial weights, batches "
        f"(of {plan.batch_size}) and the learning rate ({plan.rate:g} for half of {plan.epochs} epochs, then falling "
        "to a hundredth). "
        rf"gRDA ($\mu = {plan.mu:g}$, at {' and '.join(f'{p.rate_pruning / p.rate:g}' for p in plans)} times the "
        f"rate, for what a threshold shrinks moves less) brings channels to zero in the first {plan.pruned} epochs, "
        f"each with all that makes it at once, across residual sums: {'; '.join(_layers(p) for p in plans)}. "
        "They are taken out, and the smaller network trains on by SGD "
        f"(at {plan.rate_after / plan.rate:g} of the rate for {NAMES[plan.network]}, which "
        f"diverges else). Magnitude cuts the filters of the smallest norm from SGD's weights after {plan.pruned} "
        f"epochs, as many of each layer as the gRDA run of its seed has at zero, and trains on alike. **a**, **b**: "
        f"every run, gRDA drawn beside magnitude, which has as many; lines are means, "
        f"the shade is {MARGIN:g} points below SGD. **c**: time a picture in one thread, one at a time and in "
        f"batches, over that of SGD's network; medians over seeds of medians of repeated runs, all networks in turn. "
    )
    for p in plans:
        here = found[p]
        ratios = here["ratios"]["grda"]
        text += (
            f"{NAMES[p.network]}: SGD {here['accuracy']['sgd'].mean():.2f} %; gRDA "
            f"{here['accuracy']['grda'].mean():.2f} % ({here['minus']['grda']} points) with "
            f"{here['left']['grda'].mean():.1f} % of the multiply-adds and "
            f"{100 * np.median(ratios[0]):.0f} / {100 * np.median(ratios[1]):.0f} % of the time (one / batches); "
            f"magnitude {here['accuracy']['magnitude'].mean():.2f} %, gRDA minus magnitude {here['between']}. "
        )
    goals = [_reached(found[p]) for p in plans]
    text += (
        f"At most half of the multiply-adds: {sum(goal[0] for goal in goals)} of {len(plans)} networks; mean accuracy "
        f"within {MARGIN:g} points of SGD: {sum(goal[1] for goal in goals)}; a third of the time saved or more: "
        f"{sum(goal[2] for goal in goals)} one at a time, {sum(goal[3] for goal in goals)} in batches. "
        "Intervals are 95 % t-intervals over seeds, on one test set."
    )
    return text


def _reached(found: Any) -> tuple[bool, bool, bool, bool]:
    ratios = np.median(found["ratios"]["grda"], axis=1)
    return (
        bool(found["left"]["grda"].mean() <= 100.0 * LEFT),
        bool(found["minus"]["grda"].mean >= -MARGIN),
        bool(ratios[0] <= 1.0 - FASTER),
        bool(ratios[1] <= 1.0 - FASTER),
    )


def _table(plans: tuple[Plan, ...], runs: Any, times: Any, found: Any) -> str:
    columns: dict[str, list[str]] = {
        name: []
        for name in (
            *("network", "method", "test accuracy, %", "minus SGD, points", "just after the cut, %"),
            *("multiply-adds, %", "parameters, %", "zero channels that stay", "largest change of an output"),
            *("ms, one picture", "of SGD's, %", "ms a picture in batches", "of SGD's, % "),
        )
    }
    for plan in plans:
        here = found[plan]
        each = times[plan]["milliseconds"]
        for k, method in enumerate(METHODS):
            by_seed = runs[plan][method]
            sgd = method == "sgd"
            minus: Interval | str = "" if sgd else here["minus"][method]
            row = [
                NAMES[plan.network],
                WORDS[method],
                f"{here['accuracy'][method].mean():.2f}",
                str(minus),
                "" if sgd else f"{_last(by_seed, 'pruned_accuracy').mean():.2f}",
                "100" if sgd else f"{here['left'][method].mean():.1f}",
                "100" if sgd else f"{_last(by_seed, 'parameters').mean():.1f}",
                "" if sgd else f"{np.mean([run['kept'] for run in by_seed]):.1f}",
                "" if sgd else f"{max(float(run['error']) for run in by_seed):.1e}",
            ]
            for size in (0, 1):
                ratio = 100.0 if sgd else 100.0 * np.median(here["ratios"][method][size])
                row += [f"{np.median(each[size, k]):.4f}", f"{ratio:.0f}"]
            for name, cell in zip(columns, row, strict=True):
                columns[name].append(cell)
    return markdown(columns)

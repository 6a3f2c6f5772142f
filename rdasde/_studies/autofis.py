"""Which pairs of fields does gRDA keep, and what are they worth? Planted pairs, and films."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._studies import _interaction_runs
from rdasde._studies._interaction_runs import Plan
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._seeds import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_WORDS = {"random": "at random", "time": "by time"}
INKS = {"gRDA": _drawing.BLUE, "random": "0.55", "information": "#e08214", "l1": "#7b3294"}
NAMES = {
    "gRDA": "gRDA",
    "random": "as many at random",
    "information": "as many by information",
    "l1": "l1, proximal SGD",
}


def study(pieces: Pieces) -> Report:
    """Left: planted pairs found. Then films by split: test AUC against the pairs kept, as differences by seed."""
    plan = _interaction_runs.SMALL if pieces.small else Plan()
    planted = _interaction_runs.all_planted(pieces, plan)
    cost = _interaction_runs.costs(pieces, plan)
    try:
        films, missing = _interaction_runs.all_films(pieces, plan), ""
    except ImportError as error:
        films, missing = {}, str(error)
    figure = _drawing.page(3.2, _drawing.DOUBLE if films else _drawing.SINGLE)
    axes = figure.subplots(1, 1 + len(films), squeeze=False)[0]
    found = _draw_planted(axes[0], planted, plan)
    for axis, (split, runs) in zip(axes[1:], films.items(), strict=True):
        _draw_films(axis, runs, f"films, split {SPLIT_WORDS[split]}")
    if films:
        axes[1].set_ylabel("test AUC minus that of all pairs, points")
    _drawing.legend_above(figure, [h for axis in axes[:2] for h in axis.get_legend_handles_labels()[0]])
    _drawing.letters(axes)
    _drawing.caption(figure, _text(plan, films, found, cost, missing))
    parts = ["### Planted pairs\n", markdown(_planted_table(found))]
    for split, runs in films.items():
        parts += [f"### MovieLens-100K, split {SPLIT_WORDS[split]}\n", _films_table(runs)]
    parts += ["### Processor time, medians\n", markdown(_cost_table(cost))]
    return Report(figure, "\n".join(parts))


def _score(truth: NDArray[np.bool_], gate: NDArray[np.float64]) -> tuple[float, float, int]:
    """Precision, recall, and pairs kept."""
    kept = gate != 0
    hits = int((kept & truth).sum())
    return hits / max(int(kept.sum()), 1), hits / int(truth.sum()), int(kept.sum())


def _draw_planted(axis: Axes, runs: list[Arrays], plan: Plan) -> dict[str, NDArray[np.float64]]:
    """Precision and recall by method, a bar for each; what was found, by method: (seeds, 3)."""
    methods = [name for name in runs[0] if name != "truth"]
    found = {name: np.array([_score(run["truth"], run[name]) for run in runs]) for name in methods}
    rows = np.arange(len(methods))[::-1]
    for k, (label, ink) in enumerate((("precision", _drawing.BLUE), ("recall", "#92c5de"))):
        axis.barh(rows + 0.2 - 0.4 * k, [found[name][:, k].mean() for name in methods], 0.36, color=ink, label=label)
    axis.axvline(0.95, color="0.4", lw=_drawing.line_width(0.6), ls="--")
    axis.set_yticks(rows, [f"{name}\n{found[name][:, 2].mean():.1f} kept" for name in methods])
    axis.tick_params(axis="y", labelsize="small")
    axis.set(xlim=(0, 1.02), xlabel="share", title="8 of 66 pairs planted")
    _drawing.bare(axis)
    return found


def _methods(runs: list[Arrays]) -> list[str]:
    return [name for name in runs[0] if "kept" not in name]


def _kept(runs: list[Arrays], method: str) -> float:
    """Mean number of pairs of a method's models."""
    kind, _, strength = method.partition(" ")
    if not strength:
        return 55.0
    return float(np.mean([len(run[f"{'l1' if kind == 'l1' else 'gRDA'} kept {strength}"]) for run in runs]))


def _scores(runs: list[Arrays], method: str) -> NDArray[np.float64]:
    """AUC and log loss by seed (seeds, 2)."""
    return np.array([run[method] for run in runs])


def _draw_films(axis: Axes, runs: list[Arrays], title: str) -> None:
    whole = _scores(runs, "all")[:, 0]
    for shift, (kind, ink) in zip((-0.6, -0.2, 0.2, 0.6), INKS.items(), strict=True):  # side by side at equal numbers
        methods = [name for name in _methods(runs) if name.split()[0] == kind]
        if not methods:
            continue
        gaps = [interval(100 * (_scores(runs, name)[:, 0] - whole)) for name in methods]
        axis.errorbar(
            [_kept(runs, name) + shift for name in methods],
            [gap.mean for gap in gaps],
            [gap.half for gap in gaps],
            fmt="o-" if kind == "gRDA" else "s--",
            ms=4 if kind == "gRDA" else 3,
            color=ink,
            capsize=2,
            label=NAMES[kind],
            zorder=3 if kind == "gRDA" else 2,
        )
    plain = interval(100 * (_scores(runs, "plain")[:, 0] - whole))
    axis.errorbar([55], [plain.mean], [plain.half], fmt="D", ms=4, color="0.1", capsize=2, label="no gates, all pairs")
    _drawing.zero_line(axis)
    axis.set(xlim=(0, 57), xlabel="pairs kept, of 55", title=title)
    _drawing.bare(axis)


def _planted_table(found: dict[str, NDArray[np.float64]]) -> dict[str, list[str]]:
    return {
        "method": list(found),
        "pairs kept": [f"{values[:, 2].mean():.1f}" for values in found.values()],
        "precision": [f"{values[:, 0].mean():.3f}" for values in found.values()],
        "recall": [f"{values[:, 1].mean():.3f}" for values in found.values()],
        "worst precision": [f"{values[:, 0].min():.3f}" for values in found.values()],
        "worst recall": [f"{values[:, 1].min():.3f}" for values in found.values()],
    }


def _films_table(runs: list[Arrays]) -> str:
    methods = _methods(runs)
    whole = _scores(runs, "all")
    gaps = {name: _scores(runs, name) - whole for name in methods}
    against = {name: [interval(gap).show(4) if name != "all" else "" for gap in gaps[name].T] for name in methods}
    return markdown(
        {
            "method": methods,
            "pairs": [f"{_kept(runs, name):.1f}" for name in methods],
            "test AUC": [f"{_scores(runs, name)[:, 0].mean():.4f}" for name in methods],
            "test log loss": [f"{_scores(runs, name)[:, 1].mean():.4f}" for name in methods],
            "AUC minus all pairs": [against[name][0] for name in methods],
            "log loss minus all pairs": [against[name][1] for name in methods],
            "AUC minus as many at random": [_over_random(runs, name) for name in methods],
        }
    )


def _over_random(runs: list[Arrays], name: str) -> str:
    kind, _, strength = name.partition(" ")
    other = f"random {strength}"
    if kind in ("random", "l1") or other not in runs[0]:
        return ""
    return interval(_scores(runs, name)[:, 0] - _scores(runs, other)[:, 0]).show(4)


def _cost_table(cost: Arrays) -> dict[str, list[str]]:
    ratios = {"epoch, gates": "epoch, no gates", "inference, half": "inference, all"}
    return {
        "what": list(cost),
        "seconds": [f"{np.median(values):.3f}" for values in cost.values()],
        "over": [ratios.get(name, "") for name in cost],
        "median ratio": [_ratio(cost, name, ratios[name]) if name in ratios else "" for name in cost],
    }


def _ratio(cost: Arrays, name: str, other: str) -> str:
    return f"{np.median(cost[name] / cost[other]):.2f}"


def _text(
    plan: Plan, films: dict[str, list[Arrays]], found: dict[str, NDArray[np.float64]], cost: Arrays, missing: str
) -> str:
    text = (
        f"Factorization machines of dimension {plan.dim}; batches of {plan.batch_size}, Adam (1e-3) on the weights. "
        f"The search: {plan.search_epochs} epochs, gRDA (rate 1, μ = .8) on the gates, its threshold growing after the "
        "first; numbers behind a method are c, or the l1 penalty. "
    )
    best = max(found, key=lambda name: found[name][:, :2].mean() if name.startswith("gRDA") else -1.0)
    precision, recall, _ = found[best].mean(axis=0)
    text += (
        f"**a**: {plan.planted_rows:,} rows, {len(found[best])} seeds; {best} has precision {precision:.3f} and recall "
        f"{recall:.3f}. "
    )
    if films:
        seeds = ", ".join(
            f"{len(runs)} seeds split {SPLIT_WORDS[split]} (AUC of all pairs, gated, "
            f"{_scores(runs, 'all')[:, 0].mean():.4f})"
            for split, runs in films.items()
        )
        text += (
            f"Films, MovieLens-100K: {seeds}; 8 parts to learn from, one to stop by, one to test on. Every method is "
            "trained anew from first weights of the same seed, with its pairs, and gates that Adam trains; bars are "
            "95 % t-intervals of differences paired by seed (by time, seeds share the test rows). "
        )
    else:
        text += missing + " "
    return text + (
        f"An epoch of the search takes {_ratio(cost, 'epoch, gates', 'epoch, no gates')} times one without gates, "
        f"inference with half of the pairs {_ratio(cost, 'inference, half', 'inference, all')} times that with all."
    )

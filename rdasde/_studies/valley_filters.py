"""Do SGD and gRDA of whole filters end in one valley? A curve, and directional pruning of groups in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rdasde import _drawing
from rdasde._engine.store import Arrays
from rdasde._studies import _filter_runs
from rdasde._studies._checkpoints import one_thread
from rdasde._studies._filter_runs import PLANS, SMALL, Plan
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._processes import in_processes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

CURVES, EPOCHS, POINTS, RATE = 3, 4, 11, 0.05  # seeds; of the bend's training; measured along a path
EIGENVECTORS, ROWS = 10, 500  # of the Hessian, on so many rows
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # of the closed form, over the median of norms over root sizes


def study(pieces: Pieces) -> Report:
    """Loss and accuracy along the curve and the segment; the loss of the closed form with and without the Hessian."""
    plan = SMALL[0] if pieces.small else PLANS[0]
    runs = _filter_runs.runs(pieces, plan).runs
    seeds = range(min(CURVES, plan.seeds))
    epochs, points = (2, 5) if pieces.small else (EPOCHS, POINTS)
    curves = in_processes(
        _curve,
        [(pieces, plan, seed, epochs, points, runs["grda"][seed], runs["sgd"][seed]) for seed in seeds],
        pieces.small,
    )
    closed = in_processes(_closed, [(pieces, plan, seed, runs["sgd"][seed]) for seed in seeds], pieces.small)

    figure = _drawing.page(2.7)
    axes = figure.subplots(1, 3)
    _paths(axes[0], axes[1], curves)
    _shrunk(axes[2], closed)
    _drawing.legend_above(figure, _handles(len(curves)))
    _drawing.letters(axes)

    barriers = np.array([curve["loss"].max(axis=1) - curve["loss"][0, [0, -1]].max() for curve in curves])
    lost = 100.0 * np.array([curve["accuracy"][0, [0, -1]].min() - curve["accuracy"].min(axis=1) for curve in curves])
    zeros = [100.0 * float(curve["zero_groups"]) for curve in curves]
    half = 2
    projected, plain = (np.array([entry["loss"][k, half] for entry in closed]) for k in (0, 1))
    start = np.array([float(entry["start"]) for entry in closed])
    _drawing.caption(
        figure,
        f"{_about(plan)}: SGD, and gRDA of whole filters ({np.mean(zeros):.0f} % of the convolutions' channels "
        f"at zero), from the same initial weights and batches, after {plan.pruned} epochs, {len(curves)} "
        f"seeds. A quadratic Bézier curve "
        f"joins them; its bend alone was trained, {epochs} epochs. **a**, **b**: training loss and accuracy at "
        f"{points} points of the curve and of the straight segment. Over its worse end the segment rises by at most "
        f"{max(barriers[:, 1].max(), 0.0):.4f} and loses at most {max(lost[:, 1].max(), 0.0):.2f} points, the curve "
        f"{max(barriers[:, 0].max(), 0.0):.4f} and {max(lost[:, 0].max(), 0.0):.2f}. **c**: "
        f"directional pruning of groups in closed form from SGD's weights, the flat directions being those outside of "
        f"the top {EIGENVECTORS} eigenvectors of the Hessian (on {len(_rows(plan)[1])} rows), and the same without a "
        f"Hessian, which is the group soft-threshold; strengths over the median of the filters' norms over root sizes. "
        f"At {100 * STRENGTHS[half]:g} % the training loss is {projected.mean():.4f} against {plain.mean():.4f}, where "
        f"SGD's is {start.mean():.4f}; the projection is lower in {int((projected < plain).sum())} of {len(closed)} "
        "seeds. Filters of SGD differ little in norm, so that the closed form, a local statement, has none at zero "
        "before the loss is large: gRDA finds on its way which ones the others can do without.",
    )
    return Report(figure, _table(curves, closed, lost, zeros))


def _about(plan: Plan) -> str:
    names = {"lenet": "LeNet-5", "mlp": "Two layers", "mnist5000": "5 000 digits of MNIST", "digits": "digits"}
    return f"{names[plan.network]} on {names[plan.data]}"


def _rows(plan: Plan) -> tuple[Tensor, Tensor]:
    pictures = _filter_runs.data(plan)
    return pictures.train_inputs[:ROWS], pictures.train_labels[:ROWS]


def _flat(plan: Plan, run: Arrays, when: str) -> Tensor:
    """A run's weights as a vector."""
    import torch

    names = [name for name, _ in _filter_runs.network(plan).named_parameters()]
    return torch.cat([torch.from_numpy(run[f"{when}/{name}"]).reshape(-1) for name in names])


def _labels(plan: Plan) -> Any:
    from rdasde.pruning import group_labels
    from rdasde.pruning._training import filter_layers

    model = _filter_runs.network(plan)
    return group_labels(model, filter_layers(model, None)[1])


def _curve(pieces: Pieces, plan: Plan, seed: int, epochs: int, points: int, pruned: Arrays, plain: Arrays) -> Arrays:
    settings = plan._asdict() | {"seed": seed, "bend": epochs, "rate_bend": RATE, "points": points}

    def compute() -> dict[str, Any]:
        from torch.nn import functional

        from rdasde import landscape

        pictures = _filter_runs.data(plan)
        ends = _flat(plan, pruned, "zero"), _flat(plan, plain, "middle")
        with one_thread():
            curve = landscape.curve(
                _filter_runs.network(plan),
                *ends,
                functional.cross_entropy,
                (pictures.train_inputs, pictures.train_labels),
                epochs=epochs,
                learning_rate=RATE,
                points=points,
                seed=seed,
            )
        labels = _labels(plan)
        zero = [bool((ends[0][labels == k] == 0).all()) for k in range(int(labels.max()) + 1)]
        return {name: curve[name].values for name in ("t", "loss", "accuracy")} | {"zero_groups": np.mean(zero)}

    return pieces("filters-curve", settings, compute)


def _closed(pieces: Pieces, plan: Plan, seed: int, plain: Arrays) -> Arrays:
    """Loss of directional pruning of groups at SGD's weights, with and without the Hessian."""
    settings = plan._asdict() | {"seed": seed, "strengths": STRENGTHS, "vectors": EIGENVECTORS, "rows": ROWS}
    for name in ("targets", "mu", "rate_pruning", "rate_after", "seeds"):  # of what is not looked at
        del settings[name]

    def compute() -> dict[str, Any]:
        import torch
        from torch.nn import functional

        from rdasde import landscape

        model, data = _filter_runs.network(plan), _rows(plan)
        pictures = _filter_runs.data(plan)
        w = _flat(plan, plain, "middle")
        labels = _labels(plan)

        def loss(weights: Tensor) -> float:
            torch.nn.utils.vector_to_parameters(weights, model.parameters())
            with torch.no_grad():
                scores = model.eval()(pictures.train_inputs)
                return float(functional.cross_entropy(scores, pictures.train_labels))

        with one_thread():
            start = loss(w)
            space = landscape.top_eigenspace(
                model, functional.cross_entropy, data, EIGENVECTORS, iterations=40, tolerance=0.1, seed=seed
            )
            flat = landscape.flat_projection(space)
            unit = _typical(w, labels)
            found = [[loss(_pruned(w, labels, p, share * unit)) for share in STRENGTHS] for p in (flat, lambda u: u)]
        return {"start": start, "loss": found, "eigenvalues": space.values.numpy()}

    return pieces("filters-closed", settings, compute)


def _pruned(w: Tensor, labels: Tensor, projection: Any, strength: float) -> Tensor:
    """Directional pruning of the groups; weights of no group stay."""
    import torch

    from rdasde.pruning import directional_prune

    inside = labels >= 0

    def flat(u: Tensor) -> Tensor:  # what is in no group is no part of u
        whole = torch.zeros_like(w)
        whole[inside] = u
        return torch.as_tensor(projection(whole))[inside]

    result = w.clone()
    result[inside] = torch.as_tensor(directional_prune(w[inside], flat, strength, groups=labels[inside]))
    return result


def _typical(w: Tensor, labels: Tensor) -> float:
    """The median over groups of the norm over the root of the size, in which strengths are measured."""
    import torch

    inside = labels >= 0
    number = int(labels.max()) + 1
    squares, sizes = torch.zeros(2, number).unbind()
    squares.index_add_(0, labels[inside], w[inside].square())
    sizes.index_add_(0, labels[inside], torch.ones(int(inside.sum())))
    return float((squares / sizes).sqrt().median())


def _paths(upper: Axes, lower: Axes, curves: list[Arrays]) -> None:
    for curve, ink in zip(curves, _drawing.inks(len(curves)), strict=True):
        for row, style in ((0, "-"), (1, "--")):
            upper.plot(curve["t"], curve["loss"][row], style, color=ink)
            lower.plot(curve["t"], 100.0 * curve["accuracy"][row], style, color=ink)
    upper.set(yscale="log", ylabel="training loss", title="loss on the way")
    lower.set(ylabel="training accuracy (%)", title="accuracy")
    for axis in (upper, lower):
        axis.set_xticks([0.0, 0.5, 1.0], ["0\ngRDA", ".5", "1\nSGD"])
        axis.set_xlabel("share of the way")
        axis.margins(x=0.03)
        _drawing.bare(axis)
    _drawing.decimal_ticks(upper, "y")


def _shrunk(axis: Axes, closed: list[Arrays]) -> None:
    for entry, ink in zip(closed, _drawing.inks(len(closed)), strict=True):
        x = 100.0 * np.array((0.0, *STRENGTHS))
        for row, style, mark in ((0, "-", "o"), (1, ":", "s")):
            axis.plot(x, [float(entry["start"]), *entry["loss"][row]], style, marker=mark, ms=2.5, color=ink)
    axis.set(yscale="log", xlabel="strength (% of the median norm)", ylabel="training loss", title="closed form")
    _drawing.decimal_ticks(axis, "y")
    _drawing.bare(axis)


def _handles(number: int) -> list[Any]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=ink, label=f"seed {k}") for k, ink in enumerate(_drawing.inks(number))]
    grey: dict[str, Any] = {"color": "0.4"}
    return [
        *handles,
        Line2D([], [], **grey, label="curve"),
        Line2D([], [], **grey, ls="--", label="segment"),
        Line2D([], [], **grey, marker="o", ms=2.5, label="closed form"),
        Line2D([], [], **grey, marker="s", ms=2.5, ls=":", label="without Hessian"),
    ]


def _table(curves: list[Arrays], closed: list[Arrays], lost: Any, zeros: list[float]) -> str:
    half = 2
    columns = {
        "seed": [str(k) for k in range(len(curves))],
        "filters at zero, %": [f"{value:.1f}" for value in zeros],
        "training loss gRDA": [f"{curve['loss'][0, 0]:.4f}" for curve in curves],
        "SGD": [f"{curve['loss'][0, -1]:.4f}" for curve in curves],
        "highest on the curve": [f"{curve['loss'][0].max():.4f}" for curve in curves],
        "highest on the segment": [f"{curve['loss'][1].max():.4f}" for curve in curves],
        "points lost on the curve": [f"{value:.2f}" for value in lost[:, 0]],
        "on the segment": [f"{value:.2f}" for value in lost[:, 1]],
    }
    for k, word in ((0, "closed form"), (1, "without Hessian")):
        for j in (half, len(STRENGTHS) - 1):
            columns[f"loss, {word}, {100 * STRENGTHS[j]:g} %"] = [f"{entry['loss'][k, j]:.4f}" for entry in closed]
    return markdown(columns)

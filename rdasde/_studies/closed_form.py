"""Are gRDA's zeros those of directional pruning in closed form? As the step size falls, time being the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rdasde import _drawing
from rdasde._check import Floats
from rdasde._engine.store import Arrays
from rdasde._studies import _checkpoints
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._processes import in_processes
from rdasde._studies._seeds import interval

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rdasde.pruning._training import Data

FORMS = {"flow": "closed form, flow", "top": "closed form, $P_0$", "threshold": "soft-threshold alone"}
DRAWN = {"flow": (_drawing.BLUE, "-"), "threshold": ("0.45", "--")}  # P_0 lies on the soft-threshold
MEASURES = {
    "agreement": "weights agreed on (%)",
    "overlap": "zeros in common (%)",
    "cosine": "cosine of the changes",
}


class Plan(NamedTuple):
    """What determines the numbers."""

    data: str = "mnist5000"
    widths: tuple[int, ...] = (784, 100, 10)
    rate: float = 0.1  # the largest step size, and by how much it falls
    halvings: int = 5
    epochs: int = 10  # at the largest; more at smaller ones, so that time is the same
    batch_size: int = 64
    c: tuple[float, ...] = (0.005, 0.02)
    mu: float = 0.55
    top: int = 10
    products: int = 60
    seeds: int = 3


SMALL = Plan("digits", (64, 20, 10), halvings=1, epochs=2, top=3, products=10, seeds=2)


def study(pieces: Pieces) -> Report:
    """Three panels over the step size: weights agreed on, zeros in common, and the cosine of the difference."""
    plan = SMALL if pieces.small else Plan()
    rates = [plan.rate / 2**k for k in range(plan.halvings + 1)]
    tasks = [(pieces, plan, seed, k) for k in reversed(range(len(rates))) for seed in range(plan.seeds)]
    done = dict(zip([task[2:] for task in tasks], in_processes(_meet, tasks, pieces.small), strict=True))
    by_rate = [[done[seed, k] for seed in range(plan.seeds)] for k in range(len(rates))]

    def values(name: str, i: int) -> Floats:
        """By rate and seed, for the i-th strength c."""
        return np.array([[float(run[f"{i}/{name}"]) for run in runs] for runs in by_rate])

    figure = _drawing.page(2.9)
    axes = figure.subplots(1, 3)
    for axis, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        scale = 1.0 if measure == "cosine" else 100.0
        for i, c in enumerate(plan.c):
            for form, (ink, style) in DRAWN.items():
                found = [interval(scale * row) for row in values(f"{form}/{measure}", i)]
                axis.errorbar(
                    rates,
                    [one.mean for one in found],
                    [one.half for one in found],
                    fmt="os"[i] + style,
                    color=ink,
                    mfc="white" if i else ink,
                    ms=3,
                    label=f"{FORMS[form]}, $c = {c:g}$",
                )
        axis.set(xscale="log", xlabel=r"step size $\gamma$", title=label)
        axis.invert_xaxis()
        axis.set_xticks(rates, [f"{rate:g}" if k % 2 == 0 else "" for k, rate in enumerate(rates)])
        axis.minorticks_off()
        _drawing.bare(axis)
    _drawing.legend_above(figure, axes[0].get_legend_handles_labels()[0], ncols=2)
    _drawing.letters(axes)
    _drawing.caption(figure, _text(plan, rates, values))
    table: dict[str, list[str]] = {"c": [], "step size": [], "threshold over SGD's median weight": [], "zeros, %": []}
    table |= {f"{measure}, {form}": [] for form in FORMS for measure in MEASURES}
    table["share in the top eigenspace"] = []
    for i, c in enumerate(plan.c):
        for k, rate in enumerate(rates):
            row = [f"{c:g}", f"{rate:g}", f"{values('strength', i)[k].mean():.2f}"]
            row.append(f"{100 * values('zeros', i)[k].mean():.2f}")
            row += [f"{values(f'{form}/{measure}', i)[k].mean():.4f}" for form in FORMS for measure in MEASURES]
            row.append(f"{values('share', i)[k].mean():.4f}")
            for column, entry in zip(table.values(), row, strict=True):
                column.append(entry)
    return Report(figure, markdown(table))


def _text(plan: Plan, rates: list[float], values: Any) -> str:
    words = {"mnist5000": "5 000 digits of MNIST", "digits": "digits"}
    last = len(rates) - 1
    strongest = len(plan.c) - 1
    ends = {form: values(f"{form}/cosine", strongest).mean(axis=1) for form in FORMS}
    zeros = values("zeros", strongest).mean(axis=1)
    weights = sum((a + 1) * b for a, b in zip(plan.widths[:-1], plan.widths[1:], strict=True))
    apart = max(
        float(np.abs(values(f"top/{measure}", i) - values(f"threshold/{measure}", i)).max())
        for i in range(len(plan.c))
        for measure in MEASURES
    )
    return (
        f"A network of {' - '.join(map(str, plan.widths))} units ({weights:,} weights) on {words[plan.data]}; SGD "
        rf"and gRDA ($\mu = {plan.mu:g}$, two $c$) from the same initial weights and batches, a fixed step size "
        rf"$\gamma$, to the same time ({plan.epochs} epochs at $\gamma = {rates[0]:g}$, {plan.epochs * 2**last} at "
        f"{rates[-1]:g}); {plan.seeds} seeds, bars are 95 % t-intervals. gRDA's weights against directional pruning of "
        r"SGD's in closed form at the threshold that gRDA's has grown to, $c\gamma^{1/2}t^\mu$. $P_0$: what lies "
        rf"outside the top {plan.top} eigenvectors of the Hessian at SGD's weights. Flow: in its place "
        r"$\int e^{-H(t-s)} ds^\mu / t^\mu$, which is $P_0$ as $t$ grows; curvature below $1/t$ counts as flat. **a**: "
        "weights that are zero in both or in neither. **b**: zeros in both, of those in either. **c**: cosine between "
        f"the changes of SGD's weights. With $c = {plan.c[strongest]:g}$ gRDA has {100 * zeros[0]:.1f} % zeros at the "
        f"largest step and {100 * zeros[-1]:.1f} % at the smallest, where the flow's cosine is {ends['flow'][-1]:.3f} "
        f"(from {ends['flow'][0]:.3f}) and that of the soft-threshold alone {ends['threshold'][-1]:.3f} (from "
        f"{ends['threshold'][0]:.3f}); $P_0$ of so few directions differs from that by at most {apart:.3f} and is "
        "not drawn. Neither the zeros in common nor the cosine come to 1: the Hessian is held at its last value, and "
        "it changes on the way."
    )


def _meet(pieces: Pieces, plan: Plan, seed: int, k: int) -> Arrays:
    """Both trainings at the k-th step size, and how the closed forms describe their difference."""
    settings = plan._asdict() | {"seed": seed, "k": k}
    del settings["seeds"], settings["halvings"]
    return pieces("closed-form", settings, lambda: _compute(plan, seed, k))


def _compute(plan: Plan, seed: int, k: int) -> Arrays:
    import torch
    from torch.nn import functional

    from rdasde._network import Network
    from rdasde.landscape import hessian_product, top_eigenspace
    from rdasde.pruning._panels.theory import Clock, meeting
    from rdasde.pruning._training import load, mlp

    def network() -> nn.Module:
        return mlp(plan.widths)

    data, rate, epochs = load(plan.data), plan.rate / 2**k, plan.epochs * 2**k
    rows = data.train_inputs, data.train_labels
    steps = epochs * -(-len(rows[1]) // plan.batch_size)
    clock = Clock(np.full(steps, rate), plan.mu)
    found: Arrays = {}
    with _checkpoints.one_thread():
        plain = _weights(network, data, plan, rate, 0.0, epochs, seed)
        at = Network(network())
        at.move(plain)
        loss = functional.cross_entropy
        space = top_eigenspace(at.model, loss, rows, plan.top, tolerance=0.01, batch_size=4000)
        multiply = hessian_product(at.model, loss, rows, batch_size=4000)
        for i, c in enumerate(plan.c):
            pruned = _weights(network, data, plan, rate, c, epochs, seed)
            met = meeting(pruned, plain, clock.threshold(c), space, multiply, clock, products=plan.products)
            found |= {f"{i}/{name}": np.array(met[name]) for name in ("share", "strength", "zeros", "length")}
            found |= {
                f"{i}/{form}/{name}": np.array(value)
                for form, values in met["forms"].items()
                for name, value in values.items()
            }
    found["residual"] = np.array(float(torch.max(space.residuals)))
    return found


def _weights(network: Any, data: Data, plan: Plan, rate: float, c: float, epochs: int, seed: int) -> Tensor:
    """The weights after so many epochs, as one vector."""
    import torch

    from rdasde.pruning import GRDA
    from rdasde.pruning._training import train

    trained = train(
        network,
        data,
        lambda module: GRDA(module.parameters(), rate, c=c, mu=plan.mu),
        epochs=epochs,
        batch_size=plan.batch_size,
        seed=seed,
        memory_format=torch.contiguous_format,
    )
    names = [name for name, _ in network().named_parameters()]
    return torch.cat([trained.weights[name].reshape(-1) for name in names])

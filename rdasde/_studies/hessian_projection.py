"""In which directions does gRDA part from SGD? Its share in the steep ones, the Hessian's top eigenspace."""

from __future__ import annotations

from typing import Any

import numpy as np

from rdasde import _drawing
from rdasde._check import Floats
from rdasde._engine.store import Arrays
from rdasde._studies import _checkpoints
from rdasde._studies._checkpoints import Plan
from rdasde._studies._pieces import Pieces, Report, markdown
from rdasde._studies._processes import in_processes

SEEDS, TOP, ROWS = 2, 10, 500


def study(pieces: Pieces) -> Report:
    """Left: the share by epoch, with a random direction's. Right: the eigenvalues."""
    from scipy import stats

    plan = _checkpoints.SMALL if pieces.small else Plan()
    seeds = range(1 if pieces.small else SEEDS)
    top, rows = (3, 100) if pieces.small else (TOP, ROWS)
    number = len(plan.kept)
    methods = [(pieces, plan, seed, method) for seed in seeds for method in ("grda", "sgd")]
    runs = [run["weights"] for run in in_processes(_checkpoints.weights, methods, pieces.small)]
    tasks = [
        (pieces, plan, seed, k, top, rows, runs[2 * seed][k], runs[2 * seed + 1][k])
        for seed in seeds
        for k in range(number)
    ]
    spectra = in_processes(_steep, tasks, pieces.small)
    by_seed = [spectra[i : i + number] for i in range(0, len(spectra), number)]
    shares = np.array([[float(piece["share"]) for piece in history] for history in by_seed])
    values = np.array([[piece["values"] for piece in history] for history in by_seed])
    moved = np.array([[float(piece["length"]) for piece in history] for history in by_seed])
    weights = int(spectra[0]["weights"])
    chance = np.sqrt(top / weights)
    usual = np.sqrt(stats.beta.ppf([0.025, 0.975], top / 2, (weights - top) / 2))  # the law of its square

    figure = _drawing.page(3.0)
    left, right = figure.subplots(1, 2)
    for seed, ink in zip(seeds, _drawing.inks(len(seeds)), strict=True):
        left.plot(plan.kept, shares[seed], "o-", color=ink, label=f"gRDA minus SGD, seed {seed}")
        right.plot(plan.kept, values[seed][:, 0], "o-", color=ink, label=f"largest, seed {seed}")
        right.plot(plan.kept, values[seed][:, -1], "s--", color=ink, mfc="white", label=f"number {top}, seed {seed}")
    left.axhline(chance, color="0.3", lw=0.8, label="a random direction")
    left.axhspan(*usual, color="0.85", lw=0, zorder=0, label="95 % of random ones")
    difference = r"w_{\mathrm{gRDA}} - w_{\mathrm{SGD}}"
    left.set(
        ylabel=rf"$\Vert P({difference})\Vert / \Vert {difference}\Vert$", title=f"share in the top {top} eigenvectors"
    )
    right.set(ylabel="eigenvalue at SGD's weights", title="the steep directions")
    for axis in (left, right):
        axis.set(xscale="log", yscale="log", xlabel="epoch")
        _drawing.legend_below(axis, axis.get_legend_handles_labels()[0], 2, 0.2)
        _drawing.plain_ticks(axis, "x", plan.kept)
        _drawing.decimal_ticks(axis, "y")
        _drawing.bare(axis)
    _drawing.letters((left, right))
    last = shares[:, -1]
    _drawing.caption(
        figure,
        rf"{_checkpoints.about(plan)} ({weights:,} weights), gRDA ($c = {plan.c:g}$, $\mu = {plan.mu:g}$) and SGD from "
        f"the same initial weights and batches, learning rate {plan.rate:g}, {len(shares)} seeds. After each epoch "
        f"kept: "
        f"the share of the difference that lies in the span of the {top} leading eigenvectors of the Hessian at SGD's "
        f"weights (loss on {rows:,} training rows; Lanczos with full reorthogonalization). It is a ratio of lengths: 1 "
        f"is all of it. At the end it is {_list(last, '.4f')}, {_list(last / chance, '.1f')} times the "
        rf"$\sqrt{{{top}/d}} = {chance:.4f}$ of a random direction; in squared length {_list(100 * last**2, '.3g')} % "
        rf"of the difference, "
        f"which is {_list(moved[:, -1], '.1f')} long. The published share (Chao et al. 2020, other networks) falls to "
        ".002 to .003 for VGG16 and .001 for WRN28x10.",
    )
    table: dict[str, list[str]] = {"seed": [], "epoch": [], "share": [], "over a random direction's": [], "length": []}
    table |= {"largest eigenvalue": [], f"number {top}": [], "largest residual": []}
    for seed, history in zip(seeds, by_seed, strict=True):
        for epoch, piece in zip(plan.kept, history, strict=True):
            row: list[Any] = [seed, epoch, f"{float(piece['share']):.5f}", f"{float(piece['share']) / chance:.2f}"]
            row += [f"{float(piece['length']):.3f}", f"{piece['values'][0]:.4g}", f"{piece['values'][-1]:.4g}"]
            row.append(f"{piece['residuals'].max():.1e}")
            for column, entry in zip(table.values(), row, strict=True):
                column.append(str(entry))
    return Report(figure, markdown(table))


def _list(values: Any, form: str) -> str:
    return " and ".join(format(value, form) for value in values)


def _steep(pieces: Pieces, plan: Plan, seed: int, k: int, top: int, rows: int, pruned: Floats, plain: Floats) -> Arrays:
    """Eigenvalues at SGD's weights after the k-th epoch kept, and the share of the difference."""
    settings = plan._asdict() | {"seed": seed, "checkpoint": k, "top": top, "rows": rows}
    return pieces("steep", settings, lambda: _compute(plan, pruned, plain, top, rows))


def _compute(plan: Plan, pruned: Floats, plain: Floats, top: int, rows: int) -> Arrays:
    import torch
    from torch.nn import functional

    from rdasde import landscape
    from rdasde._network import Network

    difference = pruned.astype(float) - plain
    data = _checkpoints.training_rows(plan, rows)
    with _checkpoints.one_thread():
        network = Network(_checkpoints.network(plan))
        network.move(torch.from_numpy(plain))
        network.renorm(_checkpoints.training_rows(plan), 512)
        eigenspace = landscape.top_eigenspace(network.model, functional.cross_entropy, data, top, tolerance=0.01)
        return {
            "share": np.array(landscape.share(difference, eigenspace)),
            "length": np.array(np.linalg.norm(difference)),
            "values": eigenspace.values.numpy(),
            "residuals": eigenspace.residuals.numpy(),
            "weights": np.array(len(plain)),
        }

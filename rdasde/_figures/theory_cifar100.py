"""Where the theory meets a network on CIFAR-100, by epoch, from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdasde import _drawing, _published
from rdasde._figures import _results
from rdasde._published import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "theory-cifar100"
FORMS = {"flow": "closed form, flow", "top": "closed form, $P_0$", "threshold": "soft-threshold alone"}


def draw(results: Path | None = None) -> Figure:
    """Left: the share of gRDA minus SGD in the top eigenspace. Middle and right: closed forms against gRDA."""
    found = _results.numbers(NAME, results)
    records = sorted(found["records"], key=lambda record: int(record["epoch"]))
    epochs = [record["epoch"] for record in records]
    figure = _drawing.page(2.8)
    axes = figure.subplots(1, 3)
    axes[0].plot(epochs, [record["share"] for record in records], "o-", color=_drawing.BLUE, label="gRDA minus SGD")
    axes[0].axhline(records[0]["chance"], color="0.3", lw=0.8, label="a random direction")
    wrn = _published.SHARE["WRN28x10"][0]
    axes[0].axhline(wrn, color=_drawing.RED, lw=0.8, ls=":", label="published at the end, WRN28x10")
    axes[0].set(yscale="log", title=f"share in the top {found['settings']['top']} eigenvectors")
    inks = (_drawing.BLUE, _drawing.RED, "0.45")
    for axis, measure, title in (
        (axes[1], "overlap", "zeros in common (%)"),
        (axes[2], "cosine", "cosine of the changes"),
    ):
        scale = 1.0 if measure == "cosine" else 100.0
        for (form, name), ink, style in zip(FORMS.items(), inks, ("o-", "s:", "^--"), strict=True):
            values = [scale * record["forms"][form][measure] for record in records]
            axis.plot(epochs, values, style, ms=3, color=ink, label=name)
        axis.set(title=title)
    for axis in axes:
        axis.set(xscale="log", xlabel="epoch")
        _drawing.plain_ticks(axis, "x", epochs)
        _drawing.bare(axis)
    _drawing.decimal_ticks(axes[0], "y")
    handles = [handle for axis in axes[:2] for handle in axis.get_legend_handles_labels()[0]]
    _drawing.legend_above(figure, handles)
    _drawing.letters(axes)
    _drawing.caption(figure, _text(found, records))
    return figure


def _text(found: dict[str, Any], records: list[dict[str, Any]]) -> str:
    settings, (pruned, plain), last = found["settings"], found["runs"], records[-1]
    flow, threshold = last["forms"]["flow"], last["forms"]["threshold"]
    residual = max(record["residual"] / record["eigenvalues"][0] for record in records)
    seconds, times = _results.duration(found["seconds"]), last["share"] / last["chance"]
    return (
        f"{_results.about(pruned, pruned['weights'])}: {_math(label(pruned))} ({100 * pruned['zeros']:.1f} % zeros) "
        f"and {label(plain)} from the same initial weights and batches, {_results.trained(pruned)}; the weights of "
        f"both after {', '.join(str(record['epoch']) for record in records)} epochs ({seconds} on {found['device']}). "
        f"**a**: the share of their difference in the span of the {settings['top']} leading eigenvectors of the "
        f"Hessian at SGD's weights ({settings['rows']:,} training pictures, batch-norm statistics held; residuals up "
        f"to {residual:.2g} of the largest eigenvalue), a ratio of lengths: "
        f"{last['share']:.4f} at the end, {times:.1f} times a random direction's. Published: "
        f".002 to .003 for VGG16, {_published.SHARE['WRN28x10'][0]:g} for WRN28x10, whose random direction has .0005. "
        "**b**, **c**: gRDA's weights against directional pruning of SGD's in closed form, at the threshold that "
        f"gRDA's has grown to ({last['strength']:.2f} of SGD's median weight at the end): zeros in both, of those in "
        "either, and the cosine between the changes of SGD's weights. $P_0$: what lies outside the eigenvectors; "
        "flow: in its place the flow of the linearized gradient (batch norm as in training), for which curvature below "
        "one over the time is flat. "
        f"At the end the flow has {100 * flow['overlap']:.1f} % and {flow['cosine']:.3f}, the soft-threshold alone "
        f"{100 * threshold['overlap']:.1f} % and {threshold['cosine']:.3f}: the closed form is a local statement, for "
        f"thresholds that are small beside the weights.{_results.unmeasured(found['runs'])}"
    )


def _math(text: str) -> str:
    return text.replace("μ", r"$\mu$").replace("c ", "$c$ ")

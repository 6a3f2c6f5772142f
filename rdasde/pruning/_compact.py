"""A smaller dense network where whole filters or rows are zero, and a report of what went and what stayed."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check

from . import _chain
from ._channels import Channels, Truths
from ._copies import plain_copy
from ._costs import Cost, costs, size
from ._models import checked_module
from ._removal import Values, remove, settled, superfluous
from ._traced import checked_example, run, tensors, traced

Model = TypeVar("Model", bound=nn.Module)
TOLERANCE = 1e-5  # of outputs, in units of the largest


class Kept(NamedTuple):
    """Channels whose weights are zero and that stay: the layer that makes them, how many, and why.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import compact
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 2, 3, padding=1))
    >>> model[0].weight.data[:2] = 0.0
    >>> compact(model).compacted.kept
    (Kept(layer='0', channels=2, reason='a constant other than 0, which 1 cannot take'),)
    """

    layer: str
    channels: int
    reason: str


@dataclass(frozen=True)
class Compaction:
    """What `compact` did: costs `before` and `after`, what was `kept` and why, and the largest change of an output.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import compact
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> model[0].weight.data[:6] = 0.0
    >>> print(compact(model).compacted.table())
                before  after  ratio
    parameters      58     16  0.276
    bytes          232     64  0.276
    """

    before: Cost
    after: Cost
    kept: tuple[Kept, ...]
    error: float | None = None
    """On the example, in units of the largest output; None without an example."""

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = [("", "before", "after", "ratio")]
        for name in ("parameters", "multiply_adds", "bytes", "milliseconds"):
            a, b = getattr(self.before, name), getattr(self.after, name)
            if a is not None and b is not None:
                form = "{:.3g}" if isinstance(a, float) else "{:,}"
                ratio = f"{b / a:.3f}" if a else ""
                rows.append((name.replace("_", "-"), form.format(a), form.format(b), ratio))
        return rows

    def table(self) -> str:
        """Costs before and after, and what stays, as plain text."""
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines += [f"{entry.layer}: {entry.channels} zero channels stay: {entry.reason}" for entry in self.kept]
        return "\n".join(line.rstrip() for line in lines)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        cells = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._rows()]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        stays = "".join(f"<li>{html.escape(line)}</li>" for line in self.table().splitlines()[len(cells) :])
        return f"<table>{body}</table>" + (f"<ul>{stays}</ul>" if stays else "")


def compact(model: Model, example: Any = None) -> Model:
    """A copy of a model, for inference, without the channels that its zeros make superfluous.

    Outputs are those of the model in evaluation mode, up to rounding. Channels go where every weight that makes them
    is zero (what they then are, through biases, batch normalization and activations, is folded into the next layer's
    biases; where zero padding forbids that, they stay) and where every weight that reads them is zero. Inputs and
    outputs of the whole, and of every layer that is not understood, stay as they are.

    Chains of layers are followed as they are. Other networks (residual sums, concatenations, grouped convolutions,
    attention) are run on `example` and followed by Torch-Pruning (extra ``filters``); outputs before and after are then
    compared, and what would change them is put back.

    Parameters
    ----------
    model : torch.nn.Module
        Without an example a `torch.nn.Sequential` of Linear and (ungrouped) convolutional layers, batch normalization,
        activations, pooling, dropout and Flatten, nested as you like; where a Linear layer is followed by BatchNorm1d,
        its outputs are taken to be rows of features, not sequences. A subclass of Sequential with a forward of its
        own, and a module with hooks, are never taken apart. Train it with ``parameter_groups(model,
        structure="filters")``, or ``regularizer="group_lasso"``, for whole filters.
    example : Tensor, tuple of Tensor, or dict, optional
        Inputs of the model, as arguments in order or by name: a batch of a few rows.

    Returns
    -------
    torch.nn.Module
        Of the same structure, in evaluation mode. Its attribute ``compacted`` is a `Compaction`: ``before`` and
        ``after`` (parameters, bytes and, for the example, multiply-adds and milliseconds), ``kept``, and ``table()``.

    Raises
    ------
    TypeError
        If `model` is no Sequential and there is no example, or `example` is none of the above.
    ValueError
        If the model does not take the example, or is a ScriptModule.
    ImportError
        If Torch-Pruning is needed and not installed.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import compact
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> model[0].weight.data[:6] = 0.0
    >>> small = compact(model, torch.randn(5, 4))
    >>> small.compacted.before.multiply_adds, small.compacted.after.multiply_adds
    (240, 60)
    """
    if example is None or not isinstance(model, nn.Module):
        _check.instance(
            "model",
            model,
            nn.Sequential,
            "a torch.nn.Sequential",
            "put the layers in sequence, for example nn.Sequential(net.features, nn.Flatten(), net.classifier), or "
            "give an example of its inputs",
        )
    checked_module(model, lazy=example is not None)
    return compacted(model, example)


@torch.no_grad()
def compacted(model: Model, example: Any, repeats: int = 15) -> Model:
    """`compact`, timed so many times."""
    result = plain_copy(model)
    if example is not None:
        checked_example(result, example)
    chain = False
    if isinstance(result, nn.Sequential) and not _chain.normalizes_sequences(result, example):
        _chain.shorten(result)
        chain = _chain.covers(result)
    kept: dict[tuple[str, str], int] = {}
    if example is not None and not chain:
        kept = _shorten(result, example)
    if not kept and isinstance(result, nn.Sequential):
        kept = _chain.remaining(result)
    stays = tuple(Kept(layer, number, reason) for (layer, reason), number in kept.items())
    if example is None:
        before, after = (Cost(*size(part), None, None) for part in (model, result))
        error = None
    else:
        reference = plain_copy(model)
        before, after = costs([reference, result], example, repeats)
        error = _difference(_outputs(reference, example), _outputs(result, example))
    object.__setattr__(result, "compacted", Compaction(before, after, stays, error))
    return result


def _shorten(model: nn.Module, example: Any) -> dict[tuple[str, str], int]:
    """Take out what can go, in place; how many zero channels stay, by layer and reason."""
    expected = [_outputs(model, inputs) for inputs in _inputs(example)]
    refused: set[str] = set()
    while True:  # a dropped channel may leave others unread or constant
        channels = traced(model, example)
        values = _values(model, channels, example)
        gone, reasons = superfluous(channels, values)
        for name, _, labels in channels.makes:
            if name in refused:
                reasons |= {label: "without it outputs would change" for label in labels[gone[labels]].tolist()}
                gone[labels] = False
        gone, unbalanced = settled(channels, gone)
        reasons |= unbalanced
        if not gone.any():
            break
        if _attempt(model, channels, gone, values, example, expected):
            continue
        for name, _, labels in channels.makes:  # one layer at a time, to find what the graph did not tell
            alone = np.zeros_like(gone)
            alone[labels] = gone[labels]
            alone = settled(channels, alone)[0]
            if alone.any():
                if _attempt(model, channels, alone, values, example, expected):
                    break  # the graph is another now
                refused.add(name)
        else:
            # one by one they go, together they do not, or none does
            refused |= {name for name, _, labels in channels.makes if gone[labels].any()}
    kept: dict[tuple[str, str], int] = {}
    wanted = _zero_channels(channels)
    for name, _, labels in channels.makes:
        for label in labels[wanted[labels]].tolist():
            reason = reasons.get(label, "other layers make or read them")
            kept[name, reason] = kept.get((name, reason), 0) + 1
    return kept


def _zero_channels(channels: Channels) -> Truths:
    """Those that every layer makes of nothing but zeros."""
    zero, other = np.zeros(channels.number, dtype=bool), np.zeros(channels.number, dtype=bool)
    for _, layer, labels in channels.makes:
        rows = (layer.weight == 0).flatten(1).all(dim=1).cpu().numpy()
        zero[labels[rows]] = True
        other[labels[~rows]] = True
    return zero & ~other


def _attempt(
    model: nn.Module, channels: Channels, gone: Truths, values: Values, example: Any, expected: list[list[Tensor]]
) -> bool:
    """Take them out, and put them back if an output on the example changes."""
    layers = [layer for _, layer, _ in (*channels.makes, *channels.passes)]
    layers += [reading.layer for reading in channels.reads]
    before = [(layer, dict(vars(layer)), dict(layer._parameters), dict(layer._buffers)) for layer in layers]
    try:
        remove(channels, gone, values)
        for inputs, outputs in zip(_inputs(example), expected, strict=True):
            if not _difference(outputs, _outputs(model, inputs)) <= TOLERANCE:
                raise ValueError("outputs change")
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        for layer, attributes, parameters, buffers in before:
            vars(layer).update(attributes)
            layer._parameters.clear()
            layer._parameters.update(parameters)
            layer._buffers.clear()
            layer._buffers.update(buffers)
        return False
    return True


def _inputs(example: Any) -> list[Any]:
    """The example, and the same with every number moved at random."""
    generator = torch.Generator().manual_seed(0)

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: moved(part) for name, part in value.items()}
        if isinstance(value, tuple | list):
            return type(value)([moved(part) for part in value]) if not hasattr(value, "_fields") else value
        if isinstance(value, Tensor) and value.is_floating_point():
            return value + torch.randn(value.shape, generator=generator).to(value)
        return value

    return [example, moved(example)]


def _outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    return [part.clone() for part in tensors(run(model, inputs))]


def _difference(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest, in units of the largest output; infinite where there are others, or NaN."""
    if len(a) != len(b) or any(x.shape != y.shape for x, y in zip(a, b, strict=True)):
        return np.inf
    largest = 0.0
    for x, y in zip(a, b, strict=True):
        if x.numel():
            gap = (x.double() - y.double()).abs().max() / x.double().abs().max().clamp(min=1e-30)
            largest = max(largest, float(gap.nan_to_num(np.inf)))
    return largest


def _values(model: nn.Module, channels: Channels, example: Any) -> Values:
    """What each layer reads on the example where it is the same number everywhere, else NaN."""
    values: Values = {}
    handles = []
    for reading in channels.reads:

        def look(layer: Any, arguments: Any, name: str = reading.name) -> None:
            x = arguments[0]
            x = x.reshape(-1, x.shape[-1]) if isinstance(layer, nn.Linear) else x.transpose(0, 1).flatten(1).T
            values[name] = torch.where(x.amin(dim=0) == x.amax(dim=0), x[0], torch.nan)

        handles.append(reading.layer.register_forward_pre_hook(look))
    try:
        run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return values

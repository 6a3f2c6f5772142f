"""Which interactions are left: a table, and a picture of fields by fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from rdasde import _check

from ._layer import gated_layer

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def selected(model: nn.Module, fields: Sequence[str] | None = None) -> pd.DataFrame:
    """The interactions whose gates are open, largest gate first.

    Parameters
    ----------
    model : torch.nn.Module
        With one gated layer of interactions.
    fields : sequence of str, optional
        Names of the fields, for example `Codebook.fields`; without them, their numbers from 0.

    Returns
    -------
    pandas.DataFrame
        Columns ``field_i``, ``field_j`` and ``gate``, sorted by the size of the gate; where the layer has triples also
        ``field_k``, which is missing for pairs.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, or a model without gates.

    Examples
    --------
    >>> from rdasde.interactions import FM, selected
    >>> len(selected(FM([10, 20, 5], seed=0)))
    3
    """
    import pandas as pd

    layer = gated_layer(model)
    names = _names(fields, layer.fields)
    assert layer.gate is not None
    gate = layer.gate.detach().double().cpu().numpy()
    members = layer.members.cpu().numpy()
    order = np.argsort(-np.abs(gate), kind="stable")
    order = order[gate[order] != 0.0]
    columns: dict[str, object] = {}
    for k, column in enumerate(("field_i", "field_j", "field_k")):
        if column == "field_k" and not layer.products.triples:
            continue
        numbers = members[order, k]
        if names is not None:
            columns[column] = [None if number < 0 else names[number] for number in numbers]
        elif column == "field_k":
            columns[column] = pd.array([None if number < 0 else int(number) for number in numbers], dtype="Int64")
        else:
            columns[column] = numbers
    columns["gate"] = gate[order]
    return pd.DataFrame(columns)


def plot(model: nn.Module, fields: Sequence[str] | None = None, ax: Axes | None = None) -> Figure:
    """The gates of all pairs, fields by fields: blank where a gate is exactly zero.

    Parameters
    ----------
    model : torch.nn.Module
        With one gated layer of interactions. Triples are not shown.
    fields : sequence of str, optional
        Names of the fields.
    ax : matplotlib.axes.Axes, optional
        Where to draw; without, in a figure of its own.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        As `selected`.

    Examples
    --------
    >>> from rdasde.interactions import FM, plot
    >>> figure = plot(FM([10, 20, 5], seed=0), ["user", "film", "hour"])
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['user', 'film', 'hour']
    """
    from rdasde._drawing import new_figure
    from rdasde.plot._axes import figure_of, one

    layer = gated_layer(model)
    names = _names(fields, layer.fields) or [str(k) for k in range(layer.fields)]
    table = selected(model)
    pairs = table[table["field_k"].isna()] if "field_k" in table else table
    picture = np.full((layer.fields, layer.fields), np.nan)
    picture[pairs["field_i"], pairs["field_j"]] = picture[pairs["field_j"], pairs["field_i"]] = pairs["gate"]
    reach = float(np.nanmax(np.abs(picture))) if len(pairs) else 1.0
    width = 2.6 + 0.36 * layer.fields
    axis = new_figure(width + 0.6, width).subplots() if ax is None else one(ax)
    image = axis.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach)
    axis.set_xticks(range(layer.fields), names, rotation=90)
    axis.set_yticks(range(layer.fields), names)
    axis.set_xticks(np.arange(0.5, layer.fields - 1), minor=True)
    axis.set_yticks(np.arange(0.5, layer.fields - 1), minor=True)
    axis.grid(which="minor", color="0.9", lw=0.6)
    axis.tick_params(which="both", length=0)
    total = layer.fields * (layer.fields - 1) // 2
    axis.set_title(f"{len(pairs)} of {total} pairs", loc="left", fontsize=11)
    axis.figure.colorbar(image, ax=axis, label="gate", shrink=0.8)
    return figure_of(axis)


def _names(fields: Sequence[str] | None, number: int) -> list[str] | None:
    if fields is None:
        return None
    sequence = isinstance(fields, Sequence) and not isinstance(fields, str)
    if not sequence or not all(isinstance(name, str) for name in fields) or len(fields) != number:
        raise _check.bad(
            "fields", _check.show(fields), f"{number} names", "give one for each field, for example codebook.fields"
        )
    return list(fields)

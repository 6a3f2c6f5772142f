"""How many weights are exactly zero."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._models import checked_module, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Layer:
    """The counts of one parameter: its name, its shape, entries, exact zeros of either sign, and NaN."""

    name: str
    shape: tuple[int, ...]
    total: int
    zeros: int
    nans: int

    @property
    def share(self) -> float:
        """Exact zeros over all entries."""
        return self.zeros / self.total if self.total else 0.0


@dataclass(frozen=True)
class Sparsity:
    """Exact zeros of a model: `share` over all parameters, `layers` one by one.

    NaN are neither zeros nor weights that work: they are counted apart, in `nans`, and reported.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import sparsity
    >>> model = torch.nn.Linear(3, 2)
    >>> model.weight.data[0] = 0.0
    >>> found = sparsity(model)
    >>> found.zeros, found.total, found["weight"].share
    (3, 8, 0.5)
    >>> print(found.table())
    layer   shape  zeros  of    share
    weight  2 × 3      3   6  50.00 %
    bias    2          0   2   0.00 %
    all                3   8  37.50 %
    """

    layers: tuple[Layer, ...]

    @property
    def total(self) -> int:
        """The number of entries of all parameters."""
        return sum(layer.total for layer in self.layers)

    @property
    def zeros(self) -> int:
        """The number of exact zeros."""
        return sum(layer.zeros for layer in self.layers)

    @property
    def nans(self) -> int:
        """The number of NaN."""
        return sum(layer.nans for layer in self.layers)

    @property
    def share(self) -> float:
        """Exact zeros over all entries."""
        return self.zeros / self.total if self.total else 0.0

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def _rows(self) -> list[tuple[str, ...]]:
        entries: list[tuple[str, str, Layer | Sparsity]] = [
            (layer.name, " × ".join(map(str, layer.shape)) or "1", layer) for layer in self.layers
        ]
        entries.append(("all", "", self))
        rows = [
            (name, shape, f"{counts.zeros:,}", f"{counts.total:,}", f"{100 * counts.share:.2f} %", f"{counts.nans:,}")
            for name, shape, counts in entries
        ]
        header = ("layer", "shape", "zeros", "of", "share", "NaN")
        return [row if self.nans else row[:-1] for row in (header, *rows)]

    def table(self) -> str:
        """The counts as a plain-text table, a line for each layer and one for all."""
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if k < 2 else cell.rjust(width) for k, (cell, width) in enumerate(line)
            ).rstrip()
            for line in (list(zip(row, widths, strict=True)) for row in rows)
        )

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        nans = f", {self.nans:,} NaN" if self.nans else ""
        return f"Sparsity({self.zeros:,} of {self.total:,} exactly zero, {100 * self.share:.2f} %{nans})"

    def _repr_html_(self) -> str:
        def cells(row: tuple[str, ...], tag: str) -> str:
            align = ["left", "left", *["right"] * (len(row) - 2)]
            return "".join(
                f'<{tag} style="text-align:{a}">{html.escape(cell)}</{tag}>' for a, cell in zip(align, row, strict=True)
            )

        header, *body, everything = self._rows()
        return (
            f"<table><thead><tr>{cells(header, 'th')}</tr></thead><tbody>"
            + "".join(f"<tr>{cells(row, 'td')}</tr>" for row in body)
            + f"</tbody><tfoot><tr>{cells(everything, 'th')}</tr></tfoot></table>"
        )

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the share of zeros of each layer, first layer on top; the number of entries at the right.

        Into the axes `ax` of Matplotlib, or a figure of its own; the figure is returned.
        """
        from rdasde._drawing import new_figure
        from rdasde.plot._axes import figure_of, one

        ax = new_figure(7.0, 1.3 + 0.26 * len(self.layers)).subplots() if ax is None else one(ax)
        rows = range(len(self.layers))
        ax.barh(rows, [100.0 * layer.share for layer in self.layers], color="tab:blue", height=0.7)
        for row, layer in enumerate(self.layers):
            label = f"{layer.total:,}" + (f", {layer.nans:,} NaN" if layer.nans else "")
            ax.annotate(label, (100.0, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
        ax.set_yticks(rows, [layer.name for layer in self.layers])
        ax.invert_yaxis()
        ax.set(xlim=(0.0, 100.0), xlabel="exact zeros (%)")
        ax.set_title(f"{self.zeros:,} of {self.total:,} parameters are exactly zero ({100.0 * self.share:.1f} %)")
        return figure_of(ax)


def effective_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each parameter once, with masks of `torch.nn.utils.prune` applied and under its own name."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            value: Tensor = parameter
            masked = name.removesuffix("_orig")
            mask = getattr(module, masked + "_mask", None) if masked != name else None
            if mask is not None:
                name, value = masked, parameter * mask
            yield (f"{prefix}.{name}" if prefix else name), value


@torch.no_grad()
def sparsity(model: nn.Module) -> Sparsity:
    """Count the exact zeros of a model, over all parameters and by layer.

    Parameters shared by several modules count once. Where `torch.nn.utils.prune` keeps a mask beside a weight, the
    masked weight counts. In a sparse tensor, what is not stored is zero. A model that is spread over processes
    (FSDP) is counted as a whole, by all of them together: each must call.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    Sparsity
        With `.share`, `.zeros`, `.total`, `.nans`, `.layers`, `["name of a parameter"]`, `.table()` and `.plot()`; a
        notebook shows it as a table.

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import sparsity
    >>> sparsity(torch.nn.Linear(3, 2))
    Sparsity(0 of 8 exactly zero, 0.00 %)
    """
    checked_module(model)
    layers = []
    for name, spread in effective_parameters(model):
        value = whole(spread)
        stored = value if value.layout == torch.strided else value.values()
        unstored = value.numel() - stored.numel()
        zeros = unstored + stored.numel() - int(torch.count_nonzero(stored))
        layers.append(Layer(name, tuple(value.shape), value.numel(), zeros, int(stored.isnan().sum())))
    return Sparsity(tuple(layers))

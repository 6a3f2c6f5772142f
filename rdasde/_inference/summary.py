"""An online fit as a table and as a picture."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdasde import _drawing
from rdasde._inference.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

_MOST = 40  # coordinates in a table
_LONGEST = 16  # letters of a name there


class Summary:
    """The estimates of an online fit: ``print`` it, or look at it in a notebook.

    `facts` are an even number of pairs ``(what, its value as text)``, two of them to a line.
    """

    def __init__(
        self, title: str, facts: list[tuple[str, str]], names: list[str], average: Estimate, iterate: Estimate
    ) -> None:
        self.title, self.facts = title, facts
        edge = 0.5 - 0.5 * average.level
        self.columns = (
            "",
            "coef",
            "std err",
            "z",
            "P>|z|",
            f"[{edge:g}",
            f"{1.0 - edge:g}]",
            "shift",
            "last",
            "s.e.",
        )
        dimension = len(average.raw)
        lower, upper = average.interval.T
        numbers = (
            average.coef,
            average.std_error,
            average.z,
            average.p_value,
            lower,
            upper,
            average.shift,
            iterate.raw,
            iterate.std_error,
        )
        digits = (4, 4, 2, 3, 4, 4, 4, 4, 4)
        self.rows = [
            [_shortened(names[j]), *(_cell(values[j], places) for values, places in zip(numbers, digits, strict=True))]
            for j in range(min(dimension, _MOST))
        ]
        self.notes = ["coef is the average of the iterates less its shift; last is the last iterate."]
        if average.units > 0.0:
            self.notes.append("Intervals of the average are by random scaling; z has its law, not the normal one.")
        if dimension > _MOST:
            self.notes.append(f"{dimension - _MOST} more coordinates: see .interval.")
        self.notes += [f"Average: {average.note}"] * bool(average.note)
        self.notes += [f"Last iterate: {iterate.note}"] * (bool(iterate.note) and iterate.note != average.note)

    def __str__(self) -> str:
        cells = [list(self.columns), *self.rows]
        widths = [max(len(row[k]) for row in cells) + (2 if k else 0) for k in range(len(self.columns))]
        total = max(sum(widths), 78)
        half = total // 2
        lines = [self.title.center(total).rstrip(), "=" * total]
        for (left, a), (right, b) in zip(self.facts[::2], self.facts[1::2], strict=True):
            lines.append(f"{left + ':':<16}{a:>{half - 19}}   {right + ':':<18}{b:>{total - half - 18}}")
        lines.append("=" * total)
        for i, row in enumerate(cells):
            lines.append("".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)))
            lines += ["-" * total] * (i == 0)
        return "\n".join([*lines, "=" * total, *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(text)}</{tag}>" for text in cells) + "</tr>"

        facts = "".join(
            row([f"{left}:", a, f"{right}:", b], "td")
            for (left, a), (right, b) in zip(self.facts[::2], self.facts[1::2], strict=True)
        )
        body = "".join(row(cells, "td") for cells in self.rows)
        notes = "<br>".join(html.escape(note) for note in self.notes)
        return (
            f"<table><caption>{html.escape(self.title)}</caption>{facts}</table>"
            f"<table>{row(list(self.columns), 'th')}{body}</table><p>{notes}</p>"
        )


def _cell(value: float, places: int) -> str:
    return "" if np.isnan(value) else f"{value + 0.0:.{places}f}"  # no negative zeros


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def table(names: list[str], average: Estimate, iterate: Estimate, support: NDArray[np.bool_]) -> DataFrame:
    """What `OnlineFit.to_dataframe` returns."""
    try:
        from pandas import DataFrame
    except ImportError:
        raise ImportError("to_dataframe needs pandas, which is not installed: run pip install pandas.") from None
    lower, upper = average.interval.T
    columns = {
        "coef": average.coef,
        "std_error": average.std_error,
        "z": average.z,
        "p_value": average.p_value,
        "lower": lower,
        "upper": upper,
        "raw": average.raw,
        "shift": average.shift,
        "last": iterate.raw,
        "last_std_error": iterate.std_error,
        "in_support": support,
    }
    return DataFrame(columns, index=names)


def draw(average: Estimate, iterate: Estimate, support: NDArray[np.bool_]) -> Figure:
    """What `OnlineFit.plot` returns."""
    dimension, off = len(support), ~support
    label = f"{100 * average.level:g} % interval"
    figure = _drawing.new_figure(min(14.0, max(7.5, 0.16 * dimension)), 6.4)
    upper, lower = figure.subplots(2, 1, sharex=True)
    where = np.arange(dimension)
    low, high = average.interval.T
    upper.vlines(where, low, high, color=_drawing.BLUE, lw=4.0, alpha=0.5)
    upper.plot(where, average.coef, "_", ms=7, color=_drawing.BLUE, label=f"{label} and its centre")
    upper.plot(where, average.raw, "x", ms=5, color=_drawing.RED, label="average, as it stands")
    upper.plot(where[support], iterate.raw[support], "o", ms=4, mfc="none", color=_drawing.BLACK, label="last iterate")
    upper.plot(where[off], iterate.raw[off], "o", ms=4, color="#5aa64a", label="last iterate, exactly 0")
    upper.axhline(0.0, color="0.55", lw=0.6, zorder=0.5)
    upper.set(ylabel="coefficient")
    upper.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    with np.errstate(divide="ignore", invalid="ignore"):
        half = float(np.nanmedian((high - average.coef) / average.std_error)) if np.any(np.isfinite(high)) else 0.0
        shift, zero = average.shift / average.std_error, -average.coef / average.std_error
    reach = max(2.5 * half, 1.2 * float(np.nanmax(np.abs(shift), initial=0.0)))
    lower.axhspan(-half, half, color=_drawing.BLUE, alpha=0.22, lw=0, label=label)
    lower.plot(where, shift, "x", ms=5, color=_drawing.RED)
    near = np.abs(zero) <= reach
    lower.plot(where[near], zero[near], "o", ms=4, mfc="none", color="0.35", label="zero, where it is near")
    lower.set(
        xlabel="coordinate", ylabel="distance from the centre\nin standard errors", ylim=(-reach - 0.5, reach + 0.5)
    )
    for axis in (upper, lower):
        axis.margins(x=0.02)
        axis.spines[["top", "right"]].set_visible(False)
    lower.xaxis.get_major_locator().set_params(integer=True)
    lower.legend(frameon=False, loc="upper right")
    return figure

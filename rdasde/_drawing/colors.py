"""Inks, and widths of lines."""

from __future__ import annotations

from rdasde import _check

# told apart under every kind of colour blindness, and by their lightness in grey
INK = ("#004488", "#bb5566", "#d9a01a", "#111111", "#2f9c8f", "#7fc4ea")
BLUE, RED, YELLOW, BLACK, TEAL, SKY = INK
GREEN = "#7fbf7b"
_INKS = 10**6


def inks(number: int) -> list[str]:
    """That many colors: those of the style sheet in force; where it has none of its own, told apart by everybody.

    Examples
    --------
    >>> import rdasde as rs
    >>> rs.plot.inks(2)
    ['#004488', '#bb5566']
    """
    import matplotlib

    number = _check.count("number", number, least=0, mend="give how many colors are wanted")
    if number > _INKS:
        raise _check.bad("number", number, f"at most {_INKS}", "give how many colors are wanted")
    cycle = matplotlib.rcParams["axes.prop_cycle"]
    own = cycle == matplotlib.rcParamsDefault["axes.prop_cycle"] or "color" not in cycle.keys
    colors = INK if own else cycle.by_key()["color"]
    return [colors[i % len(colors)] for i in range(number)]


def line_width(share: float = 1.0) -> float:
    """In the measure of the style sheet in force."""
    import matplotlib

    return share * float(matplotlib.rcParams["lines.linewidth"])

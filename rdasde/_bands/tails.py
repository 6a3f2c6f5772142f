"""Bands that a law cannot answer for: what its check has found of its tails stands in attributes, and `band` reads it.

Each is the share of runs outside a band, and is there only where that differs from what it should be by more than
chance and a room leave open: ``tail_off_99``, ``tail_off_999`` and ``tail_off_9999`` of bands of such a level,
``tail_off_coordinate`` and ``tail_off_all`` of simultaneous ones at .95; of another variable than the state with its
name behind. Where nothing was run ``tail_unseen`` says in words why tails are to be expected, if they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rdasde._errors import AccuracyWarning, ClosureWarning, warn

BODY = 0.95  # the level at which a law is compared anyway, and is warned of at once
LEVELS = (0.99, 0.999, 0.9999)
_TAIL = 0.999  # from which on tails that nobody saw matter
_SLACK = 1e-9  # of ranks, which are rounded
TOGETHER = ("coordinate", "all")  # what a simultaneous band holds over, as attributes number it from 1 on


def attribute(level: float | str, name: str = "") -> str:
    """Of a pointwise level, or of a simultaneous band; of the states, or another variable."""
    what = level if isinstance(level, str) else f"{level:.10g}".removeprefix("0.")
    return f"tail_off_{what}" + (f"_{name}" if name else "")


def nearest(level: float) -> float:
    """The level that stands for another: the nearest one in the logarithm of what is left out."""
    return min((BODY, *LEVELS), key=lambda other: abs(math.log((1.0 - other) / (1.0 - level))))


def warn_of_tails(attributes: Mapping[Any, Any], level: float, together: int, name: str) -> None:
    """AccuracyWarning where runs of the algorithm were seen outside such a band more, or less, often than they should.

    `together` as attributes of a band say it; `name` of a variable, empty for the states.
    """
    if together:
        kind = TOGETHER[together - 1]
        asked, found = f"simultaneous={kind!r}", _said(attributes, BODY, attribute(kind, name), "simultaneous ", name)
    else:
        # what is off at a level is off further out, where fewer are counted
        near = [other for other in reversed(LEVELS) if other <= nearest(level)]
        said = (_said(attributes, other, attribute(other, name), "", name) for other in near)
        asked, found = f"level={level:g}", next(filter(None, said), "")
        if not found and "tail_unseen" in attributes and nearest(level) >= _TAIL:
            found = f"{attributes['tail_unseen']}, and no runs of the algorithm were compared"
    if not found:
        return
    method = str(attributes.get("method", "closure"))
    enough = "keep='paths'" if together else f"replicates={math.ceil(2.0 / (1.0 - level) * (1.0 - _SLACK)) - 1}"
    gradients = "try noise='gradients', or " if attributes.get("noise") == "gaussian" else ""
    warn(
        f"method={method!r} is not right for {asked}: {found}; {gradients}"
        f"take a smaller step_size or a larger batch_size, or the band of rs.simulate(..., {enough}).",
        ClosureWarning if method == "closure" else AccuracyWarning,
    )


def _said(attributes: Mapping[Any, Any], level: float, key: str, kind: str, name: str) -> str:
    """What was found, if anything."""
    if key not in attributes:
        return ""
    share, runs = float(attributes[key]), int(attributes.get("checked_replicates", 0))
    how_many = "as many as" if share > 1.0 - level else "only"
    band = f"{kind}{100.0 * level:.6g} % band" + (f" of {name!r}" if name else "")
    return f"of {runs} runs of the algorithm {how_many} {100.0 * share:.2g} % leave its {band}"

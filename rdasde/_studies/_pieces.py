"""What a study is made of: finished pieces, kept as files; what it hands back: a picture and a table."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rdasde._engine.store import Arrays, load_arrays, save_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Report(NamedTuple):
    """What a study found: a picture, and a table in Markdown, with the numbers that the picture shows."""

    figure: Figure
    table: str


class Pieces:
    """The finished pieces of a study, kept as files of arrays (nothing that could be executed).

    Parameters
    ----------
    store : path, optional
        A directory; without one nothing is kept.
    small : bool
        Whether the study should run at a small size, as in the tests: seconds, to see that it works.
    progress : bool
        Say on standard error which piece is being computed.
    """

    def __init__(
        self, store: str | os.PathLike[str] | None = None, small: bool = False, progress: bool = False
    ) -> None:
        self.store = None if store is None else Path(store)
        self.small = small
        self.progress = progress

    def __call__(
        self, name: str, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, ArrayLike]]
    ) -> Arrays:
        """The arrays that ``compute()`` returns; kept under `name` and the `settings` (JSON) that determine them."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        file = None if self.store is None else self.store / f"{name}-{digest}.npz"
        if file is not None and file.exists():
            return load_arrays(file)
        if self.progress:
            print(f"{name}: {', '.join(f'{key}={value}' for key, value in settings.items())}", file=sys.stderr)
        piece = {key: np.asarray(value) for key, value in compute().items()}
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_arrays(file, piece)
        return piece


def markdown(columns: Mapping[str, list[str]]) -> str:
    """A Markdown table of columns of text."""
    rows = list(zip(*columns.values(), strict=True))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"

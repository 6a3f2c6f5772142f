"""Whatever ends a stream early leaves the fit so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def left_behind(online: Any) -> Iterator[None]:
    """An exception that passes carries `online`, a fit, as its attribute `partial`, None before the first rows.

    Where an exception takes no attribute, a RuntimeError that has one is raised from it.
    """
    try:
        yield
    except BaseException as error:
        rows = online.rows
        partial = online if rows else None
        note = f"The fit of the {rows} rows before is in .partial of this exception; .partial.update goes on with it."
        try:
            error.partial = partial  # type: ignore[attr-defined]
            if rows and note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        except Exception:
            chained = RuntimeError(f"The stream ended with {type(error).__name__} after {rows} rows.")
            chained.partial = partial  # type: ignore[attr-defined]
            if rows:
                chained.add_note(note)
            raise chained from error
        raise

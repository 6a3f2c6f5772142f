"""A bar of a run: its pictures a second, and the time left; only where somebody sees it."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_FORM = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} pictures, {rate_fmt}, {remaining} left"


class Bar:
    """Counts steps as they are handed to the device, which may lag some behind."""

    def __init__(self, rows: int, epochs: int) -> None:
        self._rows, self._epochs = rows, epochs
        self._bar: Any = None

    def __call__(self, epoch: int, pictures: int) -> None:
        """Count a step of an epoch, from 0 on; what was done before the first one does not count as fast."""
        if self._bar is None:
            self._bar = tqdm(
                total=self._rows * self._epochs,
                initial=self._rows * epoch,
                unit=" pictures",
                unit_scale=True,
                bar_format=_FORM,
                disable=not sys.stderr.isatty(),
                leave=False,
            )
        self._bar.set_description_str(f"epoch {epoch + 1}/{self._epochs}", refresh=False)
        self._bar.update(pictures)

    def close(self) -> None:
        """Take it off the screen."""
        if self._bar is not None:
            self._bar.close()


def say(line: str) -> None:
    """Print a line, at once, above a bar."""
    tqdm.write(line)
    sys.stdout.flush()

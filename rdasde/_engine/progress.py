"""What a run says of itself while it goes on, and whether it is to stop."""

from __future__ import annotations

import sys
import threading
import warnings

from rdasde import _check

_SILENT = 2.0  # seconds before a bar shows


class Progress:
    """A bar that counts steps over all replicates; silent where nobody would see it, and for the first seconds."""

    def __init__(self, wanted: bool | None, total: int, name: str) -> None:
        if wanted is None:
            wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
        elif not isinstance(wanted, bool):
            raise _check.wrong_kind("progress", wanted, "None, True or False", "pass True to see a bar")
        self._lock = threading.Lock()
        self._bar = None
        if wanted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # tqdm's, about a notebook without widgets: it falls back to text
                from tqdm.auto import tqdm
            self._bar = tqdm(total=total, desc=name, unit="step", unit_scale=True, delay=_SILENT)

    def add(self, steps: int) -> None:
        if self._bar is not None:
            with self._lock:
                self._bar.update(steps)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Signals:
    """What threads of one run share: the bar, and whether to stop early."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stop = threading.Event()

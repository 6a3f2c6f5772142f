"""What a run says of itself while it goes on, and whether it is to stop."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from rdasde import _check

_SILENT = 3.0  # seconds before a bar shows: what is done by then has none
STEPS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {remaining} left"
ALONG = "{desc}: {percentage:3.0f}%|{bar}| {remaining} left"  # where what is counted is the time of a solver
_WIDTH = 88  # letters of a bar where nobody says how wide a line is
_doing = contextvars.ContextVar("_doing", default="running")


@contextlib.contextmanager
def phase(word: str) -> Iterator[None]:
    """Within it, what runs says that it does this, for example "checking"."""
    token = _doing.set(word)
    try:
        yield
    finally:
        _doing.reset(token)


class Progress:
    """A bar that counts steps over all replicates, with its phase and the time left.

    Silent where nobody would see it, and for work that is done within the first seconds. Until the first steps are
    counted its phase is "compiling", and the time left is estimated from there on.
    """

    def __init__(self, wanted: bool | None, total: float, name: str, form: str = STEPS) -> None:
        if wanted is None:
            wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
        elif not isinstance(wanted, bool):
            raise _check.wrong_kind("progress", wanted, "None, True or False", "pass True to see a bar")
        self._wanted, self._total, self._name, self._form = wanted, total, name, form
        self._phase = _doing.get()  # here: other threads have contexts of their own
        self._lock = threading.Lock()
        self._begin = time.monotonic()
        self._done = 0.0
        self._bar: Any = None
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Work begins, which `close` ends: the bar shows after a while, also before any step is done."""
        if self._wanted and self._timer is None:
            self._timer = threading.Timer(_SILENT, self._show)
            self._timer.daemon = True
            self._timer.start()

    def add(self, steps: float) -> None:
        if not self._wanted:
            return
        with self._lock:
            first, self._done = not self._done, self._done + steps
            if self._bar is None and time.monotonic() - self._begin >= _SILENT:
                self._draw()
            elif self._bar is not None:
                if first:  # what was compiled before says nothing of the time left
                    self._bar.start_t = self._bar.last_print_t = time.time()
                    self._bar.set_description_str(self._words(), refresh=False)
                self._bar.update(steps)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._wanted = False
            if self._bar is not None:
                self._bar.set_description_str(self._name)
                self._bar.close()
                self._bar = None

    def _show(self) -> None:
        with self._lock:
            if self._wanted and self._bar is None:
                self._draw()

    def _words(self) -> str:
        return f"{self._name}, {self._phase if self._done else 'compiling'}"

    def _draw(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tqdm's, about a notebook without widgets: it falls back to text
            from tqdm.auto import tqdm
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=self._total,
            initial=self._done,
            desc=self._words(),
            unit_scale=True,
            bar_format=self._form,
            dynamic_ncols=terminal,
            ncols=None if terminal else _WIDTH,
        )


class Signals:
    """What threads of one run share: the bar, and whether to stop early."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stop = threading.Event()

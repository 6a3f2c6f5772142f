"""The project's figures, by name. Each module has `draw() -> Figure`; nothing is imported before it is drawn."""

from __future__ import annotations

import importlib
import multiprocessing
import time
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rdasde import _check, _drawing
from rdasde._errors import CostWarning
from rdasde._figures import _results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = {
    "trajectories": "the published trajectory figure, redrawn at its published settings",
    "trajectories-corrected": "the same runs with the published band and ours, and how often each holds",
    "trajectories-diabetes": "the same picture on real data: scikit-learn's diabetes rows",
    "trajectories-pca": "sparse online PCA of a spiked model, through the neighbourhood of the saddle",
    "trajectories-digits": "sparse online PCA of scikit-learn's digits, and the loading as a picture",
    "trajectories-logistic": "sparse logistic regression on scikit-learn's breast cancer rows",
    "network-trajectories": "the theory on a neural network of 442 weights: bands, exact zeros, training loss",
    "mirror-maps": "one problem under every regularizer",
    "valley-cifar100": "CIFAR-100: the loss between gRDA and SGD, on the plane, a curve and a segment (stored results)",
    "sparsity-accuracy-cifar100": "CIFAR-100: error against sparsity, published numbers beside (stored results)",
    "theory-cifar100": "CIFAR-100: the steep share of gRDA minus SGD, and the closed form (stored results)",
}
STORED = ("valley-cifar100", "sparsity-accuracy-cifar100", "theory-cifar100")  # drawn from what the recipes measured
_LONGEST = ("network-trajectories", "mirror-maps", "trajectories-digits", "trajectories-corrected")  # begun first


def draw(name: str, results: Path | None = None) -> Figure:
    """Draw a figure by its name; those of stored results from the files of a directory, if one is given."""
    _check.choice("name", name, tuple(FIGURES))
    module = importlib.import_module(f"rdasde._figures.{name.replace('-', '_')}")
    with _drawing.printed(), warnings.catch_warnings():
        warnings.simplefilter("ignore", CostWarning)  # a law and its runs are both shown, whatever they cost
        figure: Figure = _results.drawn(module.draw, name, results) if name in STORED else module.draw()
    return figure


def save(figure: Figure, name: str, directory: Path, *, table: str = "", caption: bool = False) -> list[Path]:
    """As PNG and PDF, and beside them in Markdown the caption and a table; `caption`: it is in the picture, too.

    The PDF carries no date, so that redrawing changes nothing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{name}.{kind}" for kind in ("png", "pdf", "md")]
    if caption:
        _drawing.bake(figure)
    with _drawing.printed():
        figure.savefig(files[0], metadata={"Software": None})
        figure.savefig(files[1], metadata={"CreationDate": None})
    prose: str = figure.caption  # type: ignore[attr-defined]
    files[2].write_text("\n\n".join(part.strip() for part in (prose, table) if part) + "\n", encoding="utf-8")
    return files


class Drawn(NamedTuple):
    """A figure that is on disk."""

    name: str
    files: list[Path]
    seconds: float


def draw_and_save(name: str, directory: Path, caption: bool = False, results: Path | None = None) -> Drawn:
    """Both, as one piece of work."""
    begin = time.perf_counter()
    files = save(draw(name, results), name, directory, caption=caption)
    return Drawn(name, files, time.perf_counter() - begin)


def draw_at_once(
    names: Iterable[str], directory: Path, jobs: int, caption: bool = False, results: Path | None = None
) -> Iterator[Drawn]:
    """Several figures in as many processes, as they are finished: one compiles while another one runs."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        ordered = sorted(names, key=lambda name: _LONGEST.index(name) if name in _LONGEST else len(_LONGEST))
        for piece in as_completed([pool.submit(draw_and_save, name, directory, caption, results) for name in ordered]):
            yield piece.result()
    finally:
        pool.shutdown(cancel_futures=True)

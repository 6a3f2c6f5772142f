"""What the trainings of a directory came to: accuracy and loss against sparsity, published numbers beside."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rdasde import _check, _published
from rdasde._engine.store import write_whole
from rdasde.pruning._training import history
from rdasde.pruning._training.checkpoints import is_kept, writable

from . import checkpoints

# of the last epoch of a run's history
_LAST = (
    *("train_loss", "test_loss", "test_accuracy", "zeros", "device", "precision", "compiled", "version"),
    "images_per_second",
)


def main(arguments: Sequence[str]) -> None:
    """``compare DIR``."""
    parser = argparse.ArgumentParser(
        prog="python -m rdasde.pruning.recipes compare",
        description="Accuracy and loss against sparsity of the checkpoints of a directory, published numbers beside.",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="where checkpoints and their histories lie")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep the numbers there (JSON)")
    options = parser.parse_args(arguments)
    runs, odd = collect(options.directory)
    if options.out is not None:
        text = json.dumps({"runs": runs}, indent=1, ensure_ascii=False) + "\n"
        writable("out", options.out)
        write_whole(options.out, lambda stream: stream.write(text.encode()))
    print(report(runs))  # the numbers are kept by now, whoever closes the pipe
    if odd:
        print(f"\nNo runs of these recipes, left out: {', '.join(odd)}.")
    if options.out is not None:
        print(f"\n{options.out}")


def collect(directory: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The runs of a directory, sparser ones last within a recipe, and the names of files that are none."""
    accepted, mend = "a directory with what python -m rdasde.pruning.recipes wrote", "train with --checkpoint"
    if not directory.is_dir():
        got = f"{directory}, which is {'no directory' if directory.exists() else 'not there'}"
        raise _check.bad("DIR", got, accepted, mend)
    files = sorted(file for file in directory.glob("*.pt") if not is_kept(file))
    stems = {file.stem for file in files}
    lone = [file for file in sorted(directory.glob("*.jsonl")) if file.stem not in stems]
    if not files and not lone:
        raise _check.bad("DIR", f"{directory}, which holds no checkpoint", accepted, mend)
    runs, odd = [], []
    for file in [*files, *lone]:
        try:
            runs.append(_logged(file) if file.suffix == ".jsonl" else run_of(file))
        except ValueError:
            if len(files) + len(lone) == 1:
                raise
            odd.append(file.name)
    if not runs:
        raise _check.bad("DIR", f"{directory}, which holds none in {', '.join(odd)}", accepted, mend)
    return sorted(runs, key=lambda run: (str(run["recipe"]), run["zeros"])), odd


def run_of(file: Path) -> dict[str, Any]:
    """A checkpoint and the history beside it; without one, what the weights themselves say."""
    checkpoint = checkpoints.read(file)
    if "recipe" not in checkpoint.settings:
        got = f"{file}, whose settings name no recipe"
        raise _check.bad("the checkpoint", got, "one of a recipe", "leave it out")
    weights = checkpoints.parameters(checkpoint)
    rows = [row for row in _told(history.file_of(file)) if row["epoch"] <= checkpoint.epoch]
    run = _summary(file.stem, checkpoint.settings, rows)
    run["weights"] = sum(value.numel() for value in weights)
    run["epoch"] = checkpoint.epoch
    if not rows:
        run["zeros"] = sum(int((value == 0).sum()) for value in weights) / max(1, run["weights"])
    return run


def _logged(file: Path) -> dict[str, Any]:
    """A history whose checkpoint is not there any more."""
    rows = _told(file)
    if not rows:
        got = f"one whose {file.name} tells of no epoch of a recipe"
        raise _check.bad("DIR", got, "a directory with histories", "remove that file")
    return _summary(file.stem, rows[-1], rows)


def _told(file: Path) -> list[dict[str, Any]]:
    """The epochs that a history tells of."""
    return [row for row in history.read(file) if "recipe" in row and isinstance(row.get("zeros"), int | float)]


def _summary(name: str, settings: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    kept = ("recipe", "method", "c", "mu", "seed", "epochs", "batch_size", "pictures", "classes", "side", "spare")
    run: dict[str, Any] = {"name": name} | {key: settings[key] for key in kept if key in settings}
    last = rows[-1] if rows else {}
    run |= {key: last[key] for key in (*kept, *_LAST) if key in last and key not in run}
    run["epoch"] = last.get("epoch", 0)
    run["seconds"] = round(sum(row.get("seconds", 0.0) for row in {row["epoch"]: row for row in rows}.values()), 1)
    for key in ("zeros", "test_accuracy", "test_loss", "train_loss"):
        run.setdefault(key, None)
    return run


def report(runs: list[dict[str, Any]]) -> str:
    """The table in Markdown, recipe by recipe, and what is published."""
    lines: list[str] = []
    recipes = list(dict.fromkeys(str(run.get("recipe")) for run in runs))
    for recipe in recipes:
        lines += [f"### {recipe}", ""]
        lines += ["| run | method | seed | epochs | zeros, % | test accuracy, % | test loss | train loss | where |"]
        lines += ["|" + "---|" * 9]
        lines += [_row(run) for run in runs if str(run.get("recipe")) == recipe]
        lines += [""]
    shown = {beside.about: beside for recipe in recipes for beside in _published.of(recipe)}
    for beside in shown.values():
        lines += [f"### Published: {beside.about}", "", "| method | zeros, % | test accuracy, % |", "|---|---|---|"]
        lines += [f"| SGD | 0 | {beside.plain:.2f} |"]
        cells = [(method, *pair) for method, pairs in beside.runs.items() for pair in pairs]
        lines += [f"| {method} | {zeros:.1f} | {right:.2f} |" for method, zeros, right in cells]
        lines += ["", f"{beside.source}.", ""]
    if any(recipe.startswith("cifar100") for recipe in recipes):
        lines += [f"{_published.EARLIER}.", ""]
    return "\n".join(lines).rstrip()


def _row(run: dict[str, Any]) -> str:
    epochs = run.get("epochs", run["epoch"])
    where = ", ".join(str(run[key]) for key in ("device", "precision") if run.get(key))
    cells = [
        run["name"],
        _published.label(run),
        str(run.get("seed", "")),
        str(epochs) if run["epoch"] == epochs else f"{run['epoch']} of {epochs}",
        _number(run["zeros"], 100.0, 2),
        _number(run["test_accuracy"], 100.0, 2),
        _number(run["test_loss"], 1.0, 4),
        _number(run["train_loss"], 1.0, 4),
        f"{where}, {run['seconds']:.0f} s" if run["seconds"] else where,
    ]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None, scale: float, digits: int) -> str:
    return "not kept" if value is None else f"{scale * value:.{digits}f}"

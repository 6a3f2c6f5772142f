"""What a run did by epoch, as lines of JSON beside its checkpoint."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from rdasde._engine.store import write_whole


def file_of(checkpoint: Path) -> Path:
    """FILE.jsonl beside FILE.pt."""
    return checkpoint.with_suffix(".jsonl")


def read(file: Path) -> list[dict[str, Any]]:
    """The epochs that are told of, each once; a line that is cut off is left out."""
    epochs: dict[int, dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and isinstance(told.get("epoch"), int):
            epochs[told["epoch"]] = told
    return [epochs[epoch] for epoch in sorted(epochs)]


def rewind(file: Path, epoch: int) -> None:
    """Leave what is told up to this epoch, from where a run goes on."""
    if file.exists():
        lines = "".join(_line(told) for told in read(file) if told["epoch"] <= epoch)
        write_whole(file, lambda stream: stream.write(lines.encode()))


def append(file: Path, told: dict[str, Any]) -> None:
    """Tell of an epoch."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a") as stream:
        stream.write(_line(told))


def _line(told: dict[str, Any]) -> str:
    """Numbers that are none, which JSON has no word for, are null."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in told.items()}
    return json.dumps(finite) + "\n"


def version() -> str:
    """Of the package."""
    return str(sys.modules["rdasde"].__version__)

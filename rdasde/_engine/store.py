"""Arrays as files that appear whole or not at all, and the finished blocks of a run kept that way."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rdasde import _check

Arrays = dict[str, NDArray[Any]]
_LATER = {"values_of_statistics"}  # what descriptions of version 0.1 do not say


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a binary stream, and put that in the place of `path`: whole, or not at all.

    It is filled under a name of this thread's own beside `path`, so that whoever reads `path` meanwhile sees what was
    there before, and writers side by side do not mix. Links are followed; a pipe or a device is written to, and stays.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        with open(path, "wb") as stream:
            write(stream)
        return
    scratch = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(scratch, "wb") as stream:
            write(stream)
        os.replace(scratch, path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Named arrays as one file, nothing that could be executed."""
    write_whole(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]


def load_arrays(path: Path) -> Arrays:
    """What `save_arrays` wrote; of anything else nothing is executed, and it is refused."""
    try:
        # a stream of our own: NumPy leaves its own open where it finds no archive
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        raise _check.bad(
            "store",
            f"a directory whose file {path.name} cannot be read ({_check.show(' '.join(str(error).split()))})",
            "one that holds the arrays of finished parts",
            "remove the file, and its part is computed anew",
        ) from None


def _header(folder: Path) -> dict[str, Any]:
    """What the run of a directory is."""
    try:
        found = json.loads((folder / "run.json").read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        got = "a directory whose run.json does not describe a run"
        raise _check.bad("store", got, "empty, or a directory with the same run", "give another path, or empty it")
    return found


class Store:
    """Finished blocks as files of a directory: arrays only, nothing that could be executed.

    `description` names the run; a directory that holds another run is refused.
    """

    def __init__(self, path: str | os.PathLike[str], description: dict[str, Any]) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            got = f"{_check.show(str(path))}, which cannot be made ({_check.show(str(error))})"
            raise _check.bad("store", got, "a directory, or a path where one can be made", "name another") from None
        header = self.path / "run.json"
        text = json.dumps(description, indent=1, sort_keys=True)
        if header.exists():
            there = _header(self.path)
            differing = [
                key for key, value in description.items() if there.get(key, value if key in _LATER else None) != value
            ]
            if differing:
                raise _check.bad(
                    "store",
                    f"a directory with another run (it differs in {', '.join(differing)})",
                    "empty, or a directory with the same run",
                    "give another path, or repeat the run with the same arguments",
                )
        else:
            try:
                write_whole(header, lambda stream: stream.write(text.encode()))
            except OSError as error:
                got = f"{_check.show(str(path))}, which cannot be written to ({error.strerror})"
                raise _check.bad("store", got, "a directory of yours", "name another") from None

    @staticmethod
    def seed_in(path: str | os.PathLike[str]) -> int | None:
        """The seed of the run already kept there, if any."""
        try:
            there = (Path(path) / "run.json").exists()
        except OSError:  # no directory that could be: said when it is to be made
            return None
        seed = _header(Path(path)).get("seed") if there else None
        return None if seed is None else _check.seed(seed)

    def _file(self, block: NDArray[np.int64]) -> Path:
        name = hashlib.sha256(block.astype("<i8").tobytes()).hexdigest()[:12]
        return self.path / f"block-{int(block[0]):08d}-{name}.npz"

    def holds(self, block: NDArray[np.int64]) -> bool:
        """Whether the block is finished."""
        return self._file(block).exists()

    def load(self, block: NDArray[np.int64]) -> Arrays:
        """A finished block."""
        return load_arrays(self._file(block))

    def save(self, block: NDArray[np.int64], arrays: Arrays) -> None:
        """Keep a finished block."""
        save_arrays(self._file(block), arrays)

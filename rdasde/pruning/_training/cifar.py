"""CIFAR from disk as bytes: a folder a class, the binary version, or torchvision's layout; nothing is downloaded.

Of class folders and of the binary version nothing is executed. torchvision's layout holds pickles, which torchvision
compares with the published checksums before it opens them; they are left to it.
"""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdasde import _check

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]  # pictures (n, height, width, 3), labels
CLASSES = {"cifar10": 10, "cifar100": 100}
_SIDE = 32
_THREADS = 8
_BINARY = {  # folder, files of the training set, of the test set, bytes of labels before a picture
    "cifar10": ("cifar-10-batches-bin", [f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"], 1),
    "cifar100": ("cifar-100-binary", ["train.bin"], ["test.bin"], 2),
}
_PICKLED = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}  # torchvision's folders
_LAYOUTS = "train/CLASS/*.png and test/CLASS/*.png, its binary version, or torchvision's layout"


def read(name: str, folder: Path | None) -> tuple[Part, Part, list[str]]:
    """Training set, test set and names of the classes of `cifar10` or `cifar100`, in whichever layout the folder has.

    Raises
    ------
    ImportError
        Where the layout is torchvision's, and that is not installed; where pictures are PNG, and Pillow is not.
    ValueError
        Where the folder does not hold the data set.
    """
    _check.choice("name", name, tuple(CLASSES))
    if folder is None:
        raise _check.bad("folder", None, f"the directory that holds {name}", "give --folder; nothing is downloaded")
    if not folder.is_dir():
        raise _nothing(name, folder)
    if (folder / "train").is_dir():
        return _of_folders(name, folder)
    place, train, test, ahead = _BINARY[name]
    for directory in (folder / place, folder):
        if (directory / test[0]).is_file():
            classes = [str(label) for label in range(CLASSES[name])]
            return _of_binary(name, directory, train, ahead), _of_binary(name, directory, test, ahead), classes
    if (folder / _PICKLED[name]).is_dir():
        return _of_torchvision(name, folder)
    raise _nothing(name, folder)


def _nothing(name: str, folder: Path) -> ValueError:
    """The ValueError of a folder in none of the layouts."""
    return _check.bad("folder", str(folder), f"a directory with {name} ({_LAYOUTS})", "nothing is downloaded")


def _of_folders(name: str, folder: Path) -> tuple[Part, Part, list[str]]:
    tested = next((part for part in ("test", "val") if (folder / part).is_dir()), None)
    if tested is None:
        raise _check.bad("folder", str(folder), "a directory with train/ and test/", "put the test pictures there")
    classes, others = (_classes(folder / part) for part in ("train", tested))
    if classes != others:
        odd = sorted(set(classes) ^ set(others))[0]
        got = f"one where train/ and {tested}/ differ in {_check.show(odd)}"
        raise _check.bad("folder", got, "a directory with the same classes in both", "name their folders alike")
    if len(classes) != CLASSES[name]:
        got = f"one with {len(classes)} class{'' if len(classes) == 1 else 'es'} in train/"
        raise _check.bad("folder", got, f"a directory with the {CLASSES[name]} of {name}", "give another --folder")
    return _part(folder / "train", classes), _part(folder / tested, classes), classes


def _classes(folder: Path) -> list[str]:
    """The names of the folders, in alphabetical order, which is that of their labels."""
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not found:
        got = f"{_check.show(str(folder))}, without folders in it"
        raise _check.bad("folder", got, "a directory with a folder for each class", "put the pictures in such folders")
    return found


def _part(folder: Path, classes: list[str]) -> Part:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        pictures = (path for path in (folder / name).iterdir() if path.suffix.lower() == ".png")
        here = sorted(path for path in pictures if not path.name.startswith("."))  # what macOS leaves beside pictures
        if not here:
            got = f"one where {folder.name}/{name} holds no pictures"
            raise _check.bad("folder", got, "a directory with PNG pictures of every class", "complete it")
        files += here
        labels += [label] * len(here)
    return _decoded(files), np.array(labels, dtype=np.int64)


def _decoded(files: list[Path], at_once: int = 250) -> NDArray[np.uint8]:
    """Decoded once, by several threads: while one decodes, Python lets the others work."""
    decode = _decoder()
    pieces = [files[i : i + at_once] for i in range(0, len(files), at_once)]
    threads = ThreadPoolExecutor(_THREADS)
    try:
        return np.concatenate(list(threads.map(lambda piece: np.stack([decode(path) for path in piece]), pieces)))
    finally:
        threads.shutdown(cancel_futures=True)  # after Ctrl-C, or a file that is none, the rest is not decoded


def _decoder() -> Any:
    try:
        image: Any = importlib.import_module("PIL.Image")
    except ImportError:
        raise ImportError("PNG pictures are read through Pillow, which is not installed: pip install pillow.") from None

    def decode(path: Path) -> NDArray[np.uint8]:
        try:
            with image.open(path) as picture:
                if picture.mode.startswith(("I", "F")):
                    raise ValueError("it has more than 8 bits a pixel")
                opaque = picture.convert("RGBA") if "transparency" in picture.info else picture
                values = np.asarray(opaque.convert("RGB"), dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
            got = f"one where {_check.show(str(path.name))} cannot be read ({_check.show(str(error))})"
            raise _check.bad("folder", got, "a directory with PNG pictures", "replace that file") from None
        if values.shape != (_SIDE, _SIDE, 3):
            got = f"one where {_check.show(str(path.name))} has {values.shape[1]} x {values.shape[0]} pixels"
            raise _check.bad("folder", got, f"a directory with pictures of {_SIDE} x {_SIDE}", "replace that file")
        return values

    return decode


def _of_binary(name: str, directory: Path, files: list[str], ahead: int) -> Part:
    """Records of labels, the last of which counts, and 32 x 32 bytes of red, of green, of blue."""
    size = ahead + 3 * _SIDE**2
    records = []
    for file in files:
        if not (directory / file).is_file():
            got = f"one without {file}"
            raise _check.bad("folder", got, f"a directory with {', '.join(files)}", "copy what is missing")
        content = np.fromfile(directory / file, dtype=np.uint8)
        if not len(content) or len(content) % size:
            got = f"one where {file} has {len(content)} bytes"
            raise _check.bad("folder", got, f"a directory with records of {size} bytes in it", "copy the file anew")
        records.append(content.reshape(-1, size))
    rows = np.concatenate(records)
    labels = rows[:, ahead - 1].astype(np.int64)
    if labels.max() >= CLASSES[name]:
        got = f"one where {files[0]} has a label {labels.max()}"
        raise _check.bad("folder", got, f"a directory with labels below {CLASSES[name]} in it", "copy the file anew")
    return rows[:, ahead:].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), labels


def _of_torchvision(name: str, folder: Path) -> tuple[Part, Part, list[str]]:
    datasets = torchvision(name, "datasets")
    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    try:
        train, test = (kind(str(folder), train=part, download=False) for part in (True, False))
    except (OSError, RuntimeError):
        raise _nothing(name, folder) from None
    parts = [
        (np.asarray(part.data, dtype=np.uint8), np.asarray(part.targets, dtype=np.int64)) for part in (train, test)
    ]
    return parts[0], parts[1], [str(word) for word in train.classes]


def torchvision(name: str, part: str) -> Any:
    """A part of torchvision, by which the data set `name` is read; ImportError says what is missing."""
    try:
        return importlib.import_module(f"torchvision.{part}")
    except ImportError:
        raise ImportError(
            f"{name} is read through torchvision, which is not installed: pip install torchvision."
        ) from None
    except RuntimeError:  # operators that this PyTorch does not know
        raise ImportError(
            f"{name} is read through torchvision, and the one installed is for another PyTorch: install its match."
        ) from None

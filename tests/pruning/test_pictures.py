"""Pictures that are kept on the device as bytes: reading them, cropping and flipping them, taking fewer."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from rdasde.pruning import _training  # noqa: E402
from rdasde.pruning._training import cifar as _cifar  # noqa: E402
from rdasde.pruning._training import pictures as _pictures  # noqa: E402

CPU = torch.device("cpu")
NAMES = [f"class_{label}" for label in range(10)]


def folders(root, train=2, test=1, names=NAMES, part="test"):
    """CIFAR-10 as class folders: random pictures, those of the training set returned in the order of reading."""
    rng = np.random.default_rng(0)
    drawn = {}
    for where, count in (("train", train), (part, test)):
        drawn[where] = rng.integers(0, 256, (len(names), count, 32, 32, 3), dtype=np.uint8)
        for name, own in zip(names, drawn[where], strict=True):
            (root / where / name).mkdir(parents=True)
            for k, picture in enumerate(own):
                Image.fromarray(picture).save(root / where / name / f"{k}.png")
    return drawn["train"].reshape(-1, 32, 32, 3)


def binary(directory, pictures, labels, files, ahead):
    directory.mkdir()
    records = [
        bytes([0] * (ahead - 1) + [label]) + picture.transpose(2, 0, 1).tobytes()
        for picture, label in zip(pictures, labels, strict=True)
    ]
    share = -(-len(records) // len(files))
    for k, file in enumerate(files):
        (directory / file).write_bytes(b"".join(records[k * share : (k + 1) * share]))


def some(rows=40, side=8, classes=4):
    rng = np.random.default_rng(1)
    parts = [
        (rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), np.arange(count) % classes)
        for count in (rows, rows // 2)
    ]
    return parts, _pictures.of_bytes(*parts, NAMES[:classes], _training.SCALES["cifar"], CPU)


def test_class_folders_are_read_in_alphabetical_order(tmp_path):
    drawn = folders(tmp_path)
    read = _training.read("cifar10", tmp_path, CPU)
    assert read.train_inputs.dtype == torch.uint8
    assert read.classes == tuple(NAMES)
    assert torch.equal(read.train_inputs.permute(0, 2, 3, 1), torch.from_numpy(drawn))
    assert read.train_labels.tolist() == np.repeat(range(10), 2).tolist()
    assert read.test_labels.tolist() == list(range(10))
    assert read.train_inputs.is_contiguous(memory_format=torch.channels_last)


def test_pictures_of_other_modes_and_what_lies_beside_them(tmp_path):
    folders(tmp_path)
    here = tmp_path / "train" / NAMES[0]
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).convert("P")
    colours.save(here / "0.png", transparency=bytes(100))  # of which Pillow warns
    (here / "._0.png").write_bytes(b"macOS")
    read = _cifar.read("cifar10", tmp_path)[0][0]
    np.testing.assert_array_equal(read[0], np.asarray(colours.convert("RGB")))


def test_test_pictures_may_be_called_val(tmp_path):
    folders(tmp_path, part="val")
    assert len(_training.read("cifar10", tmp_path, CPU).test_labels) == 10


@pytest.mark.parametrize(("name", "ahead"), [("cifar10", 1), ("cifar100", 2)])
def test_the_binary_version(tmp_path, name, ahead):
    rng = np.random.default_rng(2)
    classes = _cifar.CLASSES[name]
    drawn = rng.integers(0, 256, (18, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, 18)
    directory, train, test, _ = _cifar._BINARY[name]
    for place in (tmp_path / directory, tmp_path / "itself"):
        binary(place, drawn, labels, [*train, *test], ahead)
    held = -(-18 // len([*train, *test])) * len(train)  # the last file is the test set's
    for root in (tmp_path, tmp_path / "itself"):
        read = _training.read(name, root, CPU)
        there = torch.from_numpy(drawn)
        assert torch.equal(read.train_inputs.permute(0, 2, 3, 1), there[:held])
        assert torch.equal(read.test_inputs.permute(0, 2, 3, 1), there[held:])
        assert read.train_labels.tolist() + read.test_labels.tolist() == labels.tolist()


def test_bytes_are_scaled_as_published():
    parts, pictures = some()
    mean, std = (np.array(values) for values in _training.SCALES["cifar"])
    wanted = (parts[1][0] / 255.0 - mean) / std
    ((inputs, labels),) = _pictures.plain_batches(pictures, pictures.test_inputs, pictures.test_labels, 100)
    np.testing.assert_allclose(inputs.permute(0, 2, 3, 1).numpy(), wanted, rtol=0, atol=2e-6)
    assert inputs.dtype == torch.float32
    assert torch.equal(labels, pictures.test_labels)


def test_numbers_stay_as_they_are():
    data = _training.load("digits")
    pictures = _training.read("digits", None, CPU)
    rows = [[3, 1], [2]]
    for (inputs, labels), batch in zip(_pictures.training_batches(pictures, rows, 0, 0), rows, strict=True):
        assert torch.equal(inputs, data.train_inputs[batch])
        assert torch.equal(labels, data.train_labels[batch])


def test_a_crop_is_cut_from_a_black_margin():
    parts, pictures = some(side=16)
    rows = [[5, 0, 7], [1, 2]]
    margin = pictures.margin
    assert margin == 2
    drawn = _pictures.moves(40, margin, 3, 4, CPU)
    framed = np.pad(parts[0][0], ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    for (inputs, _), batch in zip(_pictures.training_batches(pictures, rows, 3, 4), rows, strict=True):
        crops = []
        for row in batch:
            top, left = int(drawn.top[row]), int(drawn.left[row])
            crop = framed[row, top : top + 16, left : left + 16]
            crops.append(crop[:, ::-1] if drawn.flip[row] else crop)
        wanted = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        assert torch.equal(inputs, _pictures.scaled(pictures, wanted))
        assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_crops_and_flips_are_those_of_the_published_transform():
    """RandomCrop(32, padding=4) and RandomHorizontalFlip: 81 places times 2, equally likely, independent by row.

    Null: uniform on 162 outcomes. Chi-square over 162 000 pictures, size 1e-4 by construction.
    """
    scipy = pytest.importorskip("scipy.stats")
    counts = np.zeros(162)
    for epoch in range(4):
        drawn = _pictures.moves(40_500, 4, 11, epoch, CPU)
        outcome = (drawn.top * 9 + drawn.left) * 2 + drawn.flip
        counts += np.bincount(outcome.numpy(), minlength=162)
    assert counts.size == 162
    assert scipy.chisquare(counts).pvalue > 1e-4


def test_moves_depend_on_seed_and_epoch_alone():
    first = _pictures.moves(100, 4, 1, 2, CPU)
    assert all(torch.equal(one, two) for one, two in zip(first, _pictures.moves(100, 4, 1, 2, CPU), strict=True))
    for seed, epoch in ((1, 3), (2, 2)):
        assert not torch.equal(first.top, _pictures.moves(100, 4, seed, epoch, CPU).top)
    _, pictures = some()
    whole = next(_pictures.training_batches(pictures, [[0, 1, 2, 3]], 1, 2))[0]
    half = next(_pictures.training_batches(pictures, [[1, 3]], 1, 2))[0]  # another process' share
    assert torch.equal(whole[[1, 3]], half)


def test_the_transform_of_torchvision_agrees():
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError):  # RuntimeError: it is for another PyTorch
        pytest.skip("needs torchvision")
    parts, pictures = some()
    mean, std = _training.SCALES["cifar"]
    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    wanted = torch.stack([finish(Image.fromarray(picture)) for picture in parts[0][0]])
    torch.testing.assert_close(_pictures.scaled(pictures, pictures.train_inputs), wanted, rtol=0, atol=2e-6)


def test_fewer_pictures_are_taken_evenly():
    parts, pictures = some(rows=40, side=8, classes=4)
    less = _training.reduced(pictures, rows=7, classes=3, side=4)
    assert torch.bincount(less.train_labels).tolist() == [3, 2, 2]
    assert len(less.test_labels) == 4  # 7 of 30, of 15
    assert less.classes == tuple(NAMES[:3])
    rows = [0, 1, 2, 4, 5, 6, 8]  # the first of each class, in their order
    blocks = parts[0][0][rows].reshape(7, 4, 2, 4, 2, 3).mean((2, 4))
    off = less.train_inputs.permute(0, 2, 3, 1).numpy() - blocks
    assert np.abs(off).max() <= 0.5
    assert less.train_inputs.dtype == torch.uint8
    assert less.margin == 0  # an eighth of four pixels is none
    assert less.train_inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 41}, "pictures is 41, but must be at most the 40 there are: give fewer."),
        ({"rows": 0}, "pictures is 0, but must be a whole number >= 1: give a whole number."),
        ({"classes": 5}, "classes is 5, but must be at most the 4 of the data: give fewer."),
        ({"classes": 1}, "classes is 1, but must be a whole number >= 2: give a whole number."),
        ({"side": 3}, "side is 3, but must be a divisor of the pictures' 8 pixels: give a divisor."),
    ],
)
def test_fewer_than_there_are(options, message):
    with pytest.raises(ValueError, match=r".") as caught:
        _training.reduced(some()[1], **options)
    assert str(caught.value) == message


def said(name, folder):
    with pytest.raises((ValueError, ImportError)) as caught:
        _training.read(name, folder, CPU)
    return str(caught.value)


LAYOUTS = "train/CLASS/*.png and test/CLASS/*.png, its binary version, or torchvision's layout"


def test_folders_that_hold_something_else(tmp_path, monkeypatch):
    assert said("cifar10", None) == (
        "folder is None, but must be the directory that holds cifar10: give --folder; nothing is downloaded."
    )
    nowhere = tmp_path / "nowhere"
    assert said("cifar10", nowhere) == (
        f"folder is {nowhere}, but must be a directory with cifar10 ({LAYOUTS}): nothing is downloaded."
    )
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert said("cifar10", tmp_path).startswith(f"folder is {tmp_path}, but must be a directory with cifar10 (")
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert said("cifar10", tmp_path) == (
        "cifar10 is read through torchvision, which is not installed: pip install torchvision."
    )
    (tmp_path / "train").mkdir()
    assert said("cifar10", tmp_path) == (
        f"folder is {tmp_path}, but must be a directory with train/ and test/: put the test pictures there."
    )
    (tmp_path / "test").mkdir()
    assert said("cifar10", tmp_path).endswith(
        ", without folders in it, but must be a directory with a folder for each class: put the pictures in such "
        "folders."
    )
    for part, names in (("train", "ab"), ("test", "ac")):
        for name in names:
            (tmp_path / part / name).mkdir()
    assert said("cifar10", tmp_path) == (
        "folder is one where train/ and test/ differ in 'b', but must be a directory with the same classes in both: "
        "name their folders alike."
    )


def test_class_folders_that_are_not_the_data(tmp_path):
    few = tmp_path / "few"
    folders(few, names=["a", "b"])
    assert said("cifar10", few) == (
        "folder is one with 2 classes in train/, but must be a directory with the 10 of cifar10: give another --folder."
    )
    whole = tmp_path / "whole"
    folders(whole)
    odd = whole / "train" / "class_3" / "1.png"
    Image.new("RGB", (31, 32)).save(odd)
    assert said("cifar10", whole) == (
        "folder is one where '1.png' has 31 x 32 pixels, but must be a directory with pictures of 32 x 32: replace "
        "that file."
    )
    Image.fromarray(np.full((32, 32), 40000, dtype=np.uint16)).save(odd)  # Pillow would make it white
    assert said("cifar10", whole) == (
        "folder is one where '1.png' cannot be read ('it has more than 8 bits a pixel'), but must be a directory with "
        "PNG pictures: replace that file."
    )
    odd.write_bytes(b"no picture")
    assert said("cifar10", whole).startswith("folder is one where '1.png' cannot be read (")
    for file in (whole / "train" / "class_3").iterdir():
        file.unlink()
    assert said("cifar10", whole) == (
        "folder is one where train/class_3 holds no pictures, but must be a directory with PNG pictures of every "
        "class: complete it."
    )


def test_binary_files_that_are_cut_off(tmp_path):
    rng = np.random.default_rng(2)
    pictures = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    directory = tmp_path / "cifar-100-binary"
    binary(directory, pictures, [1, 2, 3, 100], ["train.bin", "test.bin"], 2)
    assert said("cifar100", tmp_path) == (
        "folder is one where test.bin has a label 100, but must be a directory with labels below 100 in it: copy the "
        "file anew."
    )
    (directory / "train.bin").write_bytes(b"cut")
    assert said("cifar100", tmp_path) == (
        "folder is one where train.bin has 3 bytes, but must be a directory with records of 3074 bytes in it: copy the "
        "file anew."
    )
    (directory / "train.bin").unlink()
    assert said("cifar100", tmp_path) == (
        "folder is one without train.bin, but must be a directory with train.bin: copy what is missing."
    )


def test_pillow_is_named_where_it_is_missing(tmp_path, monkeypatch):
    folders(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert said("cifar10", tmp_path) == (
        "PNG pictures are read through Pillow, which is not installed: pip install pillow."
    )

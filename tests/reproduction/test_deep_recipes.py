"""The training program at full scale: its settings, its errors, and that a killed run goes on."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import rdasde  # noqa: E402
from rdasde.pruning import recipes  # noqa: E402
from rdasde.pruning._training import distributed as _distributed  # noqa: E402


def test_the_published_settings():
    # Chao, Wang, Xing & Cheng (2020), and the epochs, batches and c of their scripts
    published = {
        "cifar10-wrn28x10": (200, 128, 0.001),
        "cifar100-wrn28x10": (200, 128, 0.001),
        "cifar10-vgg16": (600, 128, 0.0005),
        "imagenet-resnet50": (150, 256, 0.005),
    }
    for name, (epochs, batch_size, c) in published.items():
        recipe = recipes.RECIPES[name]
        assert (recipe.epochs, recipe.batch_size, recipe.c) == (epochs, batch_size, c)
    assert recipes.RECIPES["cifar100-wrn28x10"].network.args == (100,)  # classes


def test_learning_rates():
    # epochs 138, 160 and 180 to 200 of the published CIFAR logs: .0530, .0257, .0010
    rates = [recipes.RATE * recipes.lowered(epoch - 1, 200) for epoch in (1, 100, 138, 160, 180, 200)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.0530, 0.0257, 0.001, 0.001], rtol=0, atol=5.1e-5)
    assert [recipes.RATE * recipes.dropped(epoch, 150) for epoch in (0, 139, 140, 149)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01]
    )


@pytest.mark.parametrize(("rows", "batch_size", "world"), [(1438, 64, 2), (101, 12, 4), (12, 6, 1)])
def test_every_row_is_met_once_an_epoch(rows, batch_size, world):
    shares = [_distributed.shares(rows, batch_size, 3, 1, rank, world) for rank in range(world)]
    alone = _distributed.shares(rows, batch_size, 3, 1, 0, 1)
    for k, batch in enumerate(alone):
        together = [row for share in shares for row in share[k]]
        assert {len(share[k]) for share in shares} == {-(-len(batch) // world)}
        assert set(batch) <= set(together)
        if k + 1 < len(alone):
            assert sorted(batch) == sorted(together)
    assert sorted(row for batch in alone for row in batch) == list(range(rows))
    assert alone != _distributed.shares(rows, batch_size, 3, 2, 0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["imagenet-resnet50", "--folder", "."],
            "imagenet is read through torchvision, which is not installed: pip install torchvision.",
        ),
        (
            ["cifar10-vgg16"],
            "folder is None, but must be the directory that holds cifar10: give --folder; nothing is downloaded.",
        ),
        (
            ["digits-resnet8", "--mu", "2"],
            "mu is 2.0, but must be a finite number > 0 and <= 1: give one finite number.",
        ),
        (
            ["mnist"],
            "NAME is 'mnist', but must be one of 'cifar10-wrn28x10', 'cifar100-wrn28x10', 'cifar10-vgg16', "
            "'imagenet-resnet50', 'cifar100-wrn10x1', 'mnist5000-lenet', 'digits-resnet8': choose one of these.",
        ),
    ],
)
def test_bad_requests_get_one_sentence(monkeypatch, capsys, arguments, message):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert recipes.main(arguments) == 1
    assert capsys.readouterr().err == f"rdasde.pruning.recipes: {message}\n"


def test_torchvision_reads_its_own_layout_and_nothing_is_downloaded(monkeypatch, capsys, tmp_path):
    asked = []

    def cifar(root, train, download):
        asked.append((root, train, download))
        raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", types.SimpleNamespace(CIFAR10=cifar))
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert recipes.main(["cifar10-vgg16", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes: folder is {tmp_path}, but must be a directory with cifar10 (train/CLASS/*.png and "
        "test/CLASS/*.png, its binary version, or torchvision's layout): nothing is downloaded.\n"
    )
    assert asked == [(str(tmp_path), True, False)]
    pictures = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 32, 32, 3)
    there = types.SimpleNamespace(data=pictures, targets=[3, 9], classes=list("abcdefghij"))
    monkeypatch.setattr(sys.modules["torchvision.datasets"], "CIFAR10", lambda root, train, download: there)
    read = recipes.source_of(recipes.RECIPES["cifar10-vgg16"], tmp_path, torch.device("cpu"))
    assert torch.equal(read.test_inputs.permute(0, 2, 3, 1), torch.from_numpy(pictures))
    assert read.train_labels.tolist() == [3, 9]


def test_a_torchvision_for_another_torch_is_named(monkeypatch, capsys, tmp_path):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setattr("rdasde.pruning._training.cifar.importlib.import_module", broken)
    assert recipes.main(["cifar10-vgg16", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        "rdasde.pruning.recipes: cifar10 is read through torchvision, and the one installed is for another PyTorch: "
        "install its match.\n"
    )


def test_one_process_goes_on_from_its_checkpoint(tmp_path, capsys):
    arguments = ["digits-resnet8", "--epochs", "2", "--seed", "4"]
    whole, part = tmp_path / "whole.pt", tmp_path / "part.pt"
    assert recipes.main([*arguments, "--checkpoint", str(whole)]) == 0
    recipe = recipes.RECIPES["digits-resnet8"]
    settings = _distributed.Settings("digits-resnet8", 2, 64, recipe.c, recipe.mu, False, 4)
    place = _distributed.Place(0, 1, torch.device("cpu"))

    def rate(epoch, epochs):
        return recipes.RATE * recipe.rate(epoch, epochs)

    class Stopped(Exception):
        pass

    def stop(line):
        raise Stopped(line)

    with pytest.raises(Stopped, match=r"^epoch    1 "):
        _distributed.train(
            recipe.network,
            recipes.source_of(recipe, None, place.device),
            rate,
            settings,
            place,
            checkpoint=part,
            say=stop,
        )
    assert recipes.main([*arguments, "--checkpoint", str(part)]) == 0
    same(whole, part)
    files = ["part.jsonl", "part.pt", "whole.jsonl", "whole.pt"]  # no scratch is left
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    capsys.readouterr()
    assert recipes.main([*arguments, "--checkpoint", str(part), "--c", "0.01"]) == 1
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes: checkpoint is that of a run with c {settings.c}, but must be one with c 0.01: give "
        "the same again, or another --checkpoint.\n"
    )


def test_two_processes_killed_and_resumed_end_with_the_same_weights(tmp_path):
    epochs = 6
    arguments = ["digits-resnet8", "--epochs", str(epochs), "--seed", "2"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    part, whole = tmp_path / "part.pt", tmp_path / "whole.pt"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rdasde.__file__).parents[1])}
    run = subprocess.Popen(
        [*launch, "-m", "rdasde.pruning.recipes", *arguments, "--checkpoint", str(part)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not part.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    kill_all(run.pid)
    run.wait()
    done = torch.load(part, weights_only=True)["epoch"]
    assert 1 <= done < epochs  # it was killed on its way
    script = tmp_path / "both.py"  # goes on, and runs without interruption
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from rdasde.pruning import recipes\n"
        "from rdasde.pruning._training import distributed as d\n"
        "recipe = recipes.RECIPES['digits-resnet8']\n"
        f"settings = d.Settings('digits-resnet8', {epochs}, 64, recipe.c, recipe.mu, False, 2)\n"
        "def rate(epoch, epochs):\n"
        "    return recipes.RATE * recipe.rate(epoch, epochs)\n"
        "with d.place() as here:\n"
        "    for file in sys.argv[1:]:\n"
        "        d.train(recipe.network, recipes.source_of(recipe, None, here.device), rate, settings, here,\n"
        "                checkpoint=Path(file))\n"
    )
    resumed = subprocess.run(
        [*launch, str(script), str(part), str(whole)], env=environment, capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert torch.load(part, weights_only=True)["epoch"] == epochs
    same(whole, part)


def kill_all(leader):
    """The launcher and the processes it started, which have process groups of their own."""
    processes = [leader, *descendants(leader)]
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descendants(process):
    try:
        with open(f"/proc/{process}/task/{process}/children") as stream:
            children = [int(word) for word in stream.read().split()]
    except OSError:
        pytest.skip("needs /proc to find the processes to kill")
    return [*children, *(below for child in children for below in descendants(child))]


def same(one, two):
    first, second = torch.load(one, weights_only=True), torch.load(two, weights_only=True)
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    for key, state in first["optimizer"]["state"].items():
        assert torch.equal(state["accumulator"], second["optimizer"]["state"][key]["accumulator"])

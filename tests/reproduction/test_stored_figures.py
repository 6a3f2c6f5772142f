"""Figures of stored results: drawn in no time, from the package's or a user's own; captions take numbers from these."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from rdasde import _cli, _figures, _published
from rdasde._figures import _results

RUN = {
    "recipe": "cifar100-wrn28x10",
    "method": "grda",
    "c": 0.003,
    "mu": 0.55,
    "seed": 1,
    "epochs": 44,
    "epoch": 44,
    "batch_size": 128,
    "zeros": 0.94,
    "test_accuracy": 0.7589,
    "test_loss": 1.1,
    "train_loss": 0.01,
    "seconds": 270.0,
    "device": "NVIDIA something",
    "precision": "bf16",
    "weights": 36_000_000,
    "name": "grda",
}
PLAIN = RUN | {"method": "sgd", "c": 0.0, "zeros": 0.0, "test_accuracy": 0.7495, "name": "sgd"}


def store(folder, runs=(RUN, PLAIN)):
    """Results of all three figures, made up."""
    t, x, y = np.linspace(0, 1, 5), np.linspace(-1.0, 5.0, 6), np.linspace(-1.0, 3.0, 6)
    bump = 4.0 * t * (1.0 - t)
    arrays = {"t": t, "x": x, "y": y, "corners": np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 2.0]])}
    arrays |= {"bend_loss": np.ones(3), "seconds": np.array([60.0, 125.0])}
    for part in ("train", "test"):
        arrays[f"{part}_loss"] = 0.01 + 0.3 * np.array([0.01 * bump, bump])
        arrays[f"{part}_accuracy"] = 1.0 - 0.1 * np.array([0.01 * bump, bump])
        arrays[f"plane_{part}_loss"] = 0.01 + 0.1 * np.hypot(x - 2.0, y[:, None])
        arrays[f"plane_{part}_accuracy"] = np.ones((6, 6))
    where = {"device": "NVIDIA something", "weights": 36_000_000, "runs": runs}
    plan = {"epochs": 10, "rate": 0.05, "points": 5, "grid": 6}
    settings = {"plan": plan, "where": where, "precision": "bf16", "rows": 10000, "grid_rows": 2000}
    np.savez(folder / "valley-cifar100.npz", settings=np.array(json.dumps(settings)), **arrays)
    others = [RUN | {"method": "gradual", "test_accuracy": 0.75, "name": "gradual"}]
    others.append(RUN | {"mu": 0.6, "zeros": 0.97, "test_accuracy": 0.751})
    (folder / "sparsity-accuracy-cifar100.json").write_text(json.dumps({"runs": [*runs, *others]}))
    form = {"zeros": 0.9, "agreement": 0.95, "overlap": 0.9, "cosine": 0.97}
    record = {"share": 0.002, "chance": 0.0005, "length": 3.0, "strength": 1.5, "zeros": 0.9, "eigenvalues": [3.0]}
    record |= {"residual": 0.01, "forms": {"flow": form, "top": form, "threshold": form | {"cosine": 0.9}}}
    found = {"settings": {"top": 10, "rows": 1000}, "seconds": 90.0, "device": "NVIDIA something", "runs": runs}
    found["records"] = [{"epoch": epoch} | record for epoch in (1, 44)]
    (folder / "theory-cifar100.json").write_text(json.dumps(found))


@pytest.mark.parametrize("name", _figures.STORED)
def test_what_comes_with_the_package_is_drawn_in_no_time(name):
    _figures.draw(name)  # imports and fonts
    begin = time.perf_counter()
    figure = _figures.draw(name)
    assert time.perf_counter() - begin < 2.0  # a fraction of a second, on a machine of one's own
    assert "not measured with this version" in figure.caption
    assert "CPU" in figure.caption
    files = [file for file in _results.KEPT.iterdir() if file.stem == name]
    assert len(files) == 1
    assert files[0].stat().st_size < 100_000


def test_a_figure_of_stored_results_needs_no_torch():
    script = "import sys; sys.modules['torch'] = None\nfrom rdasde import _figures\n"
    script += "for name in _figures.STORED: _figures.draw(name)\n"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_captions_take_their_numbers_from_the_results(tmp_path):
    store(tmp_path)
    captions = {name: _figures.draw(name, tmp_path).caption for name in _figures.STORED}
    for caption in captions.values():
        assert "WRN28x10 (36,000,000 weights) on CIFAR-100" in caption
        assert "NVIDIA something" in caption
        assert "not measured" not in caption
    valley = captions["valley-cifar100"]
    assert "on the segment it rises by 0.300 over the worse one, on the curve by 0.0030" in valley
    assert "94.0 % zeros, 75.89 % test accuracy, 44 epochs, batches of 128, NVIDIA something, bf16, 4.5 min" in valley
    assert "0.158 to 0.51" in valley
    assert "60 s; measured in 2.1 min" in valley
    accuracy = captions["sparsity-accuracy-cifar100"]
    assert "SGD reaches 74.95 %" in accuracy
    assert r"gRDA at best 75.89 % at 94.0 % zeros ($c$ 0.003, $\mu$ 0.55)" in accuracy
    assert r"at its sparsest 75.10 % at 97.0 % zeros" in accuracy
    theory = captions["theory-cifar100"]
    assert "0.0020 at the end, 4.0 times a random direction's" in theory
    assert "1.50 of SGD's median weight" in theory


def test_the_command_draws_a_users_results(tmp_path, capsys):
    store(tmp_path)
    out = tmp_path / "figures"
    assert _cli.main(["figure", "valley-cifar100", "--jobs", "1", "--results", str(tmp_path), "--out", str(out)]) == 0
    assert "36,000,000" in (out / "valley-cifar100.md").read_text()
    capsys.readouterr()
    assert _cli.main(["figure", "theory-cifar100", "--results", str(tmp_path / "none"), "--out", str(out)]) == 1
    assert capsys.readouterr().err.endswith(
        f"rdasde figure: results is {tmp_path / 'none'}, which is not there, but must be a directory with what the "
        "recipes' commands wrote: leave it out, or name one.\n"
    )
    (tmp_path / "valley-cifar100.npz").write_bytes(b"damaged")
    (tmp_path / "theory-cifar100.json").write_text("{")
    for name, file in (("valley-cifar100", "valley-cifar100.npz"), ("theory-cifar100", "theory-cifar100.json")):
        assert _cli.main(["figure", name, "--results", str(tmp_path), "--out", str(out)]) == 1
        said = capsys.readouterr().err
        assert f"rdasde figure: results is a directory whose {file} cannot be read (" in said
        assert said.endswith(
            "but must be one with what the recipes' commands wrote: remove the file, or make it anew.\n"
        )


def test_results_that_are_of_something_else(tmp_path):
    def said(name):
        with pytest.raises(ValueError, match=r"^results is") as caught:
            _figures.draw(name, tmp_path)
        return str(caught.value)

    assert said("valley-cifar100") == (
        f"results is {tmp_path}, which holds no valley-cifar100.npz, but must be a directory with what the recipes' "
        "commands wrote: give the command --out valley-cifar100.npz there."
    )
    for content in ("{}", '{"records": []}', '{"records": [1]}'):
        (tmp_path / "theory-cifar100.json").write_text(content)
        assert said("theory-cifar100").startswith("results is a directory whose theory-cifar100.json cannot be read (")
        (tmp_path / "theory-cifar100.png").touch()  # drawn from the file before
    file = tmp_path / "sparsity-accuracy-cifar100.json"
    for runs in ([], [PLAIN], [RUN | {"epoch": 43}]):
        file.write_text(json.dumps({"runs": runs}))
        assert said(file.stem) == (
            f"results is a directory whose {file.name} tells of no finished run of gRDA, but must be one that tells of "
            "some: train one to its end, and compare again."
        )
    file.write_text(json.dumps({"runs": [RUN, PLAIN | {"epochs": 10, "epoch": 10, "recipe": "digits-resnet8"}]}))
    assert said(file.stem) == (
        f"results is a directory whose {file.name} tells of runs that differ in recipe, epochs, but must be one of "
        "runs at equal cost: compare a directory of these alone."
    )


def test_several_seeds_are_said_to_be_several(tmp_path):
    runs = [RUN, PLAIN, RUN | {"seed": 2}, PLAIN | {"seed": 2, "test_accuracy": 0.76}]
    (tmp_path / "sparsity-accuracy-cifar100.json").write_text(json.dumps({"runs": runs}))
    caption = _figures.draw("sparsity-accuracy-cifar100", tmp_path).caption
    assert "seeds 1, 2; 4 runs from the same initial weights where the seed is the same (2 of gRDA" in caption
    assert "SGD reaches 74.95, 76.00 %; " in caption
    assert "One seed" not in caption


def test_methods_are_named_as_the_published_tables_have_them():
    assert _published.label(RUN) == "gRDA, c 0.003, μ 0.55"
    assert _published.label(PLAIN) == "SGD"
    assert _published.label({"c": 0.0}) == "SGD"
    assert _published.label(RUN | {"method": "rigl"}) == "RigL"

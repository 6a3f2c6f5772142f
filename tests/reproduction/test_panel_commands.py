"""What ``python -m rdasde.pruning.recipes`` does with checkpoints: valley, compare, theory, on a few digits."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
recipes = pytest.importorskip("rdasde.pruning.recipes")

TRAIN = ["digits-resnet8", "--epochs", "2", "--keep", "1", "--pictures", "200", "--seed", "3"]
VALLEY = ["--epochs", "1", "--points", "3", "--grid", "2", "--rows", "60", "--grid-rows", "40"]
THEORY = ["--top", "2", "--rows", "40", "--memory", "6", "--products", "20"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Checkpoints of gRDA and of SGD, and the weights both had after one epoch."""
    folder = tmp_path_factory.mktemp("runs")
    assert recipes.main([*TRAIN, "--c", "0.02", "--checkpoint", str(folder / "grda.pt")]) == 0
    assert recipes.main([*TRAIN, "--method", "sgd", "--checkpoint", str(folder / "sgd.pt")]) == 0
    return folder


def test_valley(runs, tmp_path, capsys):
    out = tmp_path / "new" / "valley.npz"
    command = ["valley", str(runs / "grda.pt"), str(runs / "sgd.pt"), *VALLEY, "--out", str(out)]
    assert recipes.main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == str(out)
    assert said[-5] == "| loss | at A | at B | top of the curve | top of the segment |"
    with np.load(out) as found:
        arrays = {name: found[name] for name in found.files}
    assert arrays["train_loss"].shape == (2, 3)
    assert arrays["plane_test_loss"].shape == (2, 2)
    settings = json.loads(str(arrays["settings"]))
    assert settings["where"]["runs"][0]["c"] == 0.02
    assert settings["where"]["runs"][1]["method"] == "sgd"
    assert settings["where"]["weights"] == 19810
    assert recipes.main(command) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{out} is complete."
    # bfloat16 inside is another run, near to this one
    half = [*command[:-1], str(tmp_path / "half.npz"), "--precision", "bf16"]
    assert recipes.main(half) == 0
    with np.load(tmp_path / "half.npz") as found:
        np.testing.assert_allclose(found["train_loss"][:, 0], arrays["train_loss"][:, 0], rtol=0.05)
        assert not np.array_equal(found["train_loss"], arrays["train_loss"])


def test_compare(runs, tmp_path, capsys):
    assert recipes.main(["compare", str(runs), "--out", str(tmp_path / "runs.json")]) == 0
    found = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [run["name"] for run in found] == ["sgd", "grda"]  # what was kept on the way is no run
    assert found[0]["zeros"] == 0.0 < found[1]["zeros"]
    assert all(run["epoch"] == 2 and run["pictures"] == 200 and run["device"] for run in found)
    assert "| sgd | SGD | 3 | 2 | 0.00 |" in capsys.readouterr().out


def test_theory(runs, tmp_path, capsys):
    out = tmp_path / "theory.json"
    command = ["theory", str(runs / "grda.pt"), str(runs / "sgd.pt"), *THEORY, "--out", str(out)]
    assert recipes.main(command) == 0
    found = json.loads(out.read_text())
    assert [record["epoch"] for record in found["records"]] == [1, 2]
    for record in found["records"]:
        assert 0.0 < record["share"] < 1.0
        assert record["strength"] > 0.0
        for form in record["forms"].values():
            assert 0.5 < form["cosine"] <= 1.0
            assert 0.0 <= form["overlap"] <= form["agreement"] + 1.0
    assert found["records"][0]["strength"] < found["records"][1]["strength"]
    # killed after an epoch, it goes on with the others
    whole = out.read_text()
    out.write_text(json.dumps(found | {"records": found["records"][:1]}))
    capsys.readouterr()
    assert recipes.main(command) == 0
    assert "epoch 1  share" not in capsys.readouterr().out
    again, before = json.loads(out.read_text()), json.loads(whole)
    assert again["records"] == before["records"]
    assert recipes.main([*command, "--top", "3"]) == 1
    got = f"a run with top {found['settings']['top']}"
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes theory: out is {out}, which holds {got}, but must be a file of one with top 3, or a "
        "new one: give another --out, or remove it.\n"
    )


def test_what_an_earlier_run_left_is_not_taken_for_this_ones(runs, tmp_path, capsys):
    for path in runs.glob("*.pt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stale = torch.load(tmp_path / "sgd.epoch1.pt", weights_only=True)
    stale["settings"]["seed"] = 8
    torch.save(stale, tmp_path / "sgd.epoch1.pt")
    assert recipes.main(["theory", str(tmp_path / "grda.pt"), str(tmp_path / "sgd.pt"), *THEORY]) == 1
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes theory: SGD.pt is {tmp_path / 'sgd.pt'}, beside which sgd.epoch1.pt is of another "
        "run, but must be one whose run kept what is beside it: remove sgd.epoch1.pt.\n"
    )


def test_of_several_processes_the_first_does_all(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    assert recipes.main(["compare", "nowhere"]) == 0
    assert capsys.readouterr().err == "rdasde.pruning.recipes compare: left to process 0; this is 1.\n"


def test_mistakes_are_one_sentence(runs, tmp_path, capsys):
    grda, sgd = str(runs / "grda.pt"), str(runs / "sgd.pt")

    def said(*arguments):
        assert recipes.main(list(arguments)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert said("theory", sgd, grda) == (
        f"rdasde.pruning.recipes theory: GRDA.pt is {sgd}, a run of sgd, but must be one of gRDA: give the two in this "
        "order."
    )
    assert said("theory", grda, grda) == (
        f"rdasde.pruning.recipes theory: SGD.pt is {grda}, a run of grda, but must be one of SGD: give the two in this "
        "order."
    )
    other = torch.load(sgd, weights_only=True)
    torch.save(other | {"settings": other["settings"] | {"seed": 4, "epochs": 9}}, tmp_path / "other.pt")
    assert said("theory", grda, str(tmp_path / "other.pt")) == (
        f"rdasde.pruning.recipes theory: SGD.pt is {tmp_path / 'other.pt'}, whose run is not beside that of {grda} "
        "(seed 3 and 4, epochs 2 and 9), but must be one from the same first weights in the same batches: train both "
        "alike."
    )
    assert said("theory", grda, sgd, "--top", "20000", "--memory", "20002", "--products", "20000") == (
        "rdasde.pruning.recipes theory: top is 20000, but must be less than the 19810 weights: ask for fewer "
        "eigenvectors."
    )
    assert said("theory", grda, sgd, "--out", str(tmp_path)) == (
        f"rdasde.pruning.recipes theory: out is {tmp_path}, a directory, but must be a file in a directory that can be "
        "written to: give another --out."
    )
    nan = {name: w * torch.nan if w.is_floating_point() else w for name, w in other["model"].items()}
    torch.save(other | {"model": nan}, tmp_path / "other.pt")
    for command in (["valley", grda], ["theory", grda]):
        words = [*command, str(tmp_path / "other.pt"), "--out", str(tmp_path / "out")]
        assert f".pt is {tmp_path / 'other.pt'}, whose weights are not all finite, but must be one of" in said(*words)
    other["settings"] |= {"recipe": "mnist5000-lenet"}
    torch.save(other, tmp_path / "other.pt")
    assert "(recipe digits-resnet8 and mnist5000-lenet), but must be one of the same network and data" in said(
        "valley", grda, str(tmp_path / "other.pt")
    )
    other["settings"] |= {"recipe": "unheard-of"}
    torch.save(other, tmp_path / "other.pt")
    assert f"A.pt is {tmp_path / 'other.pt'}, of a recipe 'unheard-of', but must be one of cifar10-wrn28x10," in said(
        "valley", str(tmp_path / "other.pt"), str(tmp_path / "other.pt")
    )
    assert said("valley", grda, str(tmp_path / "none.pt")) == (
        f"rdasde.pruning.recipes valley: B.pt is {tmp_path / 'none.pt'}, which is not there, but must be one that "
        "python -m rdasde.pruning.recipes NAME --checkpoint wrote: train one."
    )
    assert said("valley", grda, grda) == (
        f"rdasde.pruning.recipes valley: B.pt is {grda}, with the weights of A.pt, but must be another run's: pass two "
        "runs."
    )
    assert said("valley", grda, sgd, "--precision", "fp64").startswith(
        "rdasde.pruning.recipes valley: precision is 'fp64', but must be one of "
    )
    assert said("compare", str(tmp_path / "none")).startswith("rdasde.pruning.recipes compare: DIR is ")

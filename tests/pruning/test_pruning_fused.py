"""The fused step of GRDA: against a NumPy twin in double precision, and against PyTorch's own operations."""

import collections
import contextlib
import copy
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from rdasde.pruning import GRDA, _fused, _fused_cpu, _fused_team, parameter_groups  # noqa: E402

torch.set_num_threads(1)

# a row longer than a stretch, tails of all kinds, a number, nothing
SHAPES = [(40, 30), (7,), (8, 3, 3, 3), (), (3, 2500), (0, 4)]
OPTIONS = {
    "l1": {},
    "momentum": {"momentum": 0.9},
    "decay": {"weight_decay": 0.1},
    "both, up": {"momentum": 0.5, "weight_decay": 0.05, "maximize": True},
    "elastic net": {"regularizer": "elastic_net", "l2": 3.0},
    "groups": {"regularizer": "group_lasso", "c": 2.0},
    "groups, momentum": {"regularizer": "group_lasso", "c": 2.0, "momentum": 0.5},
    "SGD": {"c": 0.0, "momentum": 0.9},
}
# PyTorch adds a decay to gradients in bfloat16 and sums squares in another order: there the last digit may differ
SAME = [(name, dtype) for name in OPTIONS for dtype in (torch.float32, torch.float64, torch.bfloat16)]


def draws(seed, shapes=SHAPES, dtype=torch.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    return [torch.tensor(scale * rng.standard_normal(shape), dtype=dtype) for shape in shapes]


def twin(
    start, gradients, rates, c=0.6, mu=0.7, momentum=0.0, weight_decay=0.0, maximize=False, regularizer="l1", l2=1
):
    """The rule of theory, section 8, on one tensor."""
    a, w, theta, b = start.copy(), start.copy(), 0.0, np.zeros_like(start)
    for n, (gradient, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        b = momentum * b + (-gradient if maximize else gradient) + weight_decay * w
        a, theta = a - lr * b, theta + c * lr ** (mu + 0.5) * (n**mu - (n - 1) ** mu)
        w = (
            np.sign(a)
            * np.maximum(np.abs(a) - theta, 0.0)
            / (1.0 + (l2 * theta if regularizer == "elastic_net" else 0))
        )
        if regularizer == "group_lasso" and a.ndim > 1 and a.size:
            norms = np.sqrt((a.reshape(len(a), -1) ** 2).sum(1)).reshape(-1, *[1] * (a.ndim - 1))
            w = a * np.maximum(1.0 - math.sqrt(a[0].size) * theta / norms, 0.0)
    return a, w, theta


def driven(dtype, gradients, rates, shapes=SHAPES, layout=torch.contiguous_format, **options):
    """An optimizer and its weights after steps under a changing rate."""
    start = [t.to(dtype) for t in draws(0, shapes)]
    ws = [nn.Parameter(t.contiguous(memory_format=layout) if t.dim() == 4 else t) for t in start]
    optimizer = GRDA(ws, **({"lr": 0.1, "c": 0.6, "mu": 0.7} | options))
    for each, lr in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        for w, g in zip(ws, each, strict=True):
            w.grad = torch.empty_like(w).copy_(g)
        optimizer.step()
    return optimizer, ws


def course(steps, shapes=SHAPES):
    """Gradients, and a rate that changes at every step."""
    return [draws(1 + n, shapes, scale=0.3) for n in range(steps)], [0.06 + 0.05 * math.sin(n) for n in range(steps)]


@pytest.fixture
def fused_tensors(monkeypatch):
    """How many tensors each step took."""
    taken, step = [], _fused.step

    def counted(parts, thresholds, wanted, plans):
        which = step(parts, thresholds, wanted, plans)
        if any(wanted):
            taken.append(sum(map(sum, which)))
        return which

    monkeypatch.setattr(_fused, "step", counted)
    return taken


def equals_the_twin(optimizer, ws, gradients, rates, options, accuracy=2e-6):
    zeros = 0
    for k, w in enumerate(ws):
        each = [g[k].to(w.dtype).double().numpy() for g in gradients]
        a, expected, theta = twin(draws(0)[k].to(w.dtype).double().numpy(), each, rates, **options)
        kept = optimizer.state[w].get("accumulator", w).detach().double().numpy()
        size = np.abs(a).max(initial=1.0)
        assert np.abs(kept - a).max(initial=0.0) <= accuracy * size
        rounding = 2.0**-8 if w.dtype == torch.bfloat16 else 0.0
        assert (np.abs(w.detach().double().numpy() - expected) <= accuracy * size + rounding * np.abs(expected)).all()
        assert float(optimizer.state[w]["threshold"]) == pytest.approx(theta, rel=1e-12)
        zeros += int((w == 0).sum())
    assert zeros == 0 if options.get("c") == 0.0 else 100 < zeros < sum(w.numel() for w in ws)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_equals_the_numpy_twin(name, dtype, fused_tensors):
    options = OPTIONS[name]
    # what is rounded to bfloat16 comes back through the decay
    accuracy = 3e-3 if dtype == torch.bfloat16 and "weight_decay" in options else 2e-6
    gradients, rates = course(60)
    optimizer, ws = driven(dtype, gradients, rates, fused=True, **options)
    equals_the_twin(optimizer, ws, gradients, rates, options, accuracy)
    assert fused_tensors == [len(SHAPES)] * 60


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shift", [0, 1, 5, 16])
def test_weights_of_large_models_are_written_around_the_cache(monkeypatch, shift, dtype):
    """Lines of the cache begin elsewhere than tensors, and nothing is written beside them."""
    gradients, rates = course(5, [(3000,)])
    found = []
    for beyond in (1, 2**60):
        monkeypatch.setattr(_fused_cpu, "_BEYOND", beyond)
        room = torch.full((3040,), 7.0, dtype=dtype)
        w = nn.Parameter(room[shift : shift + 3000])
        with torch.no_grad():
            w.copy_(draws(0, [(3000,)])[0])
        optimizer = GRDA([w], lr=0.1, c=0.6, mu=0.7, fused=True)
        for (g,), lr in zip(gradients, rates, strict=True):
            optimizer.param_groups[0]["lr"] = lr
            w.grad = g.to(dtype)
            optimizer.step()
        assert (room[:shift] == 7.0).all()
        assert (room[shift + 3000 :] == 7.0).all()
        found.append((room.clone(), optimizer.state[w]["accumulator"]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert 100 < (found[0][0] == 0).sum() < 2900


def test_weights_of_smaller_models_stay_in_the_cache(monkeypatch):
    told = []
    monkeypatch.setattr(_fused_cpu, "_kernel", lambda *arguments: told.append(arguments[4]))
    for entries in (2**22 - 1, 2**22):
        _fused_cpu.step(None, entries, None, None, False)
    assert told == [False, True]


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(("name", "dtype"), SAME, ids=str)
@pytest.mark.parametrize("past", [False, True])
def test_has_the_bits_of_pytorchs_operations(name, dtype, foreach, past, monkeypatch):
    monkeypatch.setattr(_fused_cpu, "_BEYOND", 1 if past else _fused_cpu._BEYOND)
    gradients, rates = course(25)
    options = OPTIONS[name]
    (ours, mine), (theirs, other) = (
        driven(dtype, gradients, rates, **path, **options) for path in ({"fused": True}, {"foreach": foreach})
    )
    last_digit = options.get("regularizer") == "group_lasso" or (dtype == torch.bfloat16 and "weight_decay" in options)
    rtol = {torch.float32: 4e-6, torch.float64: 1e-14, torch.bfloat16: 2.0**-6}[dtype] if last_digit else 0.0
    for w, v in zip(mine, other, strict=True):
        torch.testing.assert_close(w, v, rtol=rtol, atol=rtol)
        torch.testing.assert_close(
            ours.state[w].get("accumulator", w), theirs.state[v].get("accumulator", v), rtol=rtol, atol=rtol
        )


@pytest.mark.parametrize("options", [{}, {"regularizer": "group_lasso", "c": 3.3}], ids=["l1", "groups"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_filters_in_either_layout(layout, options, fused_tensors):
    shapes = [(16, 8, 3, 3), (5, 3, 1, 1)]
    gradients, rates = course(20, shapes)
    runs = [
        driven(torch.float32, gradients, rates, shapes, layout, fused=fused, **options)[1] for fused in (True, False)
    ]
    assert fused_tensors == [2] * 20
    for w, v in zip(*runs, strict=True):
        assert w.is_contiguous(memory_format=layout)
        torch.testing.assert_close(w, v, rtol=4e-6, atol=4e-6)
        assert torch.equal(w == 0, v == 0)
    assert 0 < int((runs[0][0] == 0).sum()) < runs[0][0].numel()


def test_what_lies_in_another_order_goes_the_other_way(fused_tensors):
    start, gradient = draws(0, [(30, 20), (6, 5, 3, 3), (30, 20)]), draws(1, [(30, 20), (6, 5, 3, 3), (30, 20)])
    results = []
    for fused in (True, False):
        transposed, crossed, strided = (nn.Parameter(t.clone()) for t in start)
        transposed.data = transposed.data.t().contiguous().t()
        strided.data = torch.zeros(30, 40)[:, ::2].copy_(strided.data)
        transposed.grad = gradient[0].t().contiguous().t()
        crossed.grad = gradient[1].contiguous(memory_format=torch.channels_last)
        strided.grad = gradient[2].clone()
        optimizer = GRDA([transposed, crossed, strided], lr=0.1, c=1.0, fused=fused)
        for _ in range(3):
            optimizer.step()
        results.append([w.detach() for w in (transposed, crossed, strided)])
    assert fused_tensors == [1] * 3  # the first alone lies as its gradient does, without gaps
    assert all(torch.equal(w, v) for w, v in zip(*results, strict=True))


def test_rows_of_inputs_do_not_lie_together(fused_tensors):
    gradients, rates = course(20)
    options = {"regularizer": "group_lasso", "c": 2.0, "axis": 1}
    shapes = [(40, 30), (8, 3, 3, 3), (7,)]
    gradients = [[g[0], g[2], g[1]] for g in gradients]
    runs = [driven(torch.float32, gradients, rates, shapes, fused=fused, **options)[1] for fused in (True, False)]
    assert fused_tensors == [1] * 20  # of a vector every entry is a group
    for w, v in zip(*runs, strict=True):
        torch.testing.assert_close(w, v, rtol=0, atol=1e-6)


@pytest.mark.parametrize("regularizer", ["l1", "elastic_net", "group_lasso"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nan_and_infinity_are_not_turned_into_zeros(dtype, regularizer):
    results = []
    for fused in (True, False):
        w = nn.Parameter(torch.full((3, 40), 0.01, dtype=dtype))
        w.grad = torch.zeros_like(w)
        w.grad[0, 0], w.grad[1, 0], w.grad[1, 1] = math.nan, math.inf, -math.inf
        GRDA([w], lr=0.1, c=1.0, regularizer=regularizer, fused=fused).step()
        results.append(w.detach())
    torch.testing.assert_close(*results, rtol=0, atol=0, equal_nan=True)
    assert torch.isnan(results[0][0, 0])
    assert not torch.isfinite(results[0][1, :2]).any()
    assert torch.equal(results[0][2], torch.zeros(40, dtype=dtype))


def test_bfloat16_is_rounded_as_pytorch_rounds():
    exact = torch.cat([torch.randn(5000, generator=torch.manual_seed(0)), torch.tensor([1 + 2**-8, 1 + 3 * 2**-8])])
    exact = torch.cat([exact, torch.tensor([0.0, -0.0, 3.4e38, -3.4e38, 1e-40, math.inf, -math.inf, math.nan])])
    halves = np.empty(len(exact), np.uint16)
    _fused_cpu._to_bfloat16(exact.numpy().view(np.uint32), halves)
    assert torch.equal(
        torch.from_numpy(halves.view(np.int16)).view(torch.bfloat16).nan_to_num(7.0),
        exact.to(torch.bfloat16).nan_to_num(7.0),
    )


def test_autograd_notices_a_weight_changed_under_a_graph_that_needs_it():
    w, x = nn.Parameter(torch.ones(3)), torch.ones(3, requires_grad=True)
    w.grad = torch.ones(3)
    loss = (w * x).sum()
    version = w._version
    GRDA([w], lr=0.1, c=0.1, fused=True).step()
    assert w._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_gradients_that_move_weights_that_are_replaced_and_tensors_that_come_late(fused_tensors):
    results = []
    for fused in (True, False):
        ws = [nn.Parameter(t) for t in draws(0, [(20, 5), (30,)])]
        optimizer, held = GRDA(ws, lr=0.1, c=0.3, fused=fused), []
        for n in range(8):
            optimizer.zero_grad(set_to_none=n % 2 == 0)
            held.append([w.grad for w in ws])  # their memory is not given out again
            for w, g in zip(ws, draws(n + 1, [(20, 5), (30,)]), strict=True):
                w.grad = g if w is ws[0] or n >= 3 else None
            if n == 5:
                ws[0].data = ws[0].data.clone()
            optimizer.step()
        assert [optimizer.state[w]["step"] for w in ws] == [8, 5]
        results.append([w.detach() for w in ws])
    assert fused_tensors == [1] * 3 + [2] * 5
    assert all(torch.equal(w, v) for w, v in zip(*results, strict=True))


@pytest.mark.parametrize("other", [{}, {"lr": 0.02}, {"momentum": 0.9}, {"regularizer": "elastic_net"}], ids=str)
def test_groups_of_parameters_that_differ_in_strength_go_together(other, monkeypatch):
    tables, step = [], _fused_cpu.step
    monkeypatch.setattr(_fused_cpu, "step", lambda *given: tables.append(len(given[0])) or step(*given))
    results = []
    for fused in (True, False):
        ws = [nn.Parameter(t) for t in draws(0)]
        groups = [{"params": ws[:2], "c": 0.4}, {"params": ws[2:4], "c": 0.0}, {"params": ws[4:], "mu": 0.9, **other}]
        optimizer = GRDA(groups, lr=0.1, c=0.3, fused=fused)
        for n in range(6):
            for k, (w, g) in enumerate(zip(ws, draws(n + 1), strict=True)):
                w.grad = None if n == 2 and k > 3 else g  # once a whole group has none
            optimizer.step()
        results.append(ws)
    assert tables == ([6, 6, 4, 6, 6, 6] if not other else [4, 2, 4, 2, 4, 4, 2, 4, 2, 4, 2])
    assert all(torch.equal(w, v) for w, v in zip(*results, strict=True))


def test_weights_that_become_fewer_where_they_are(fused_tensors):
    """Rows cut off by hand: the address stays."""
    w = nn.Parameter(torch.ones(6, 10))
    optimizer = GRDA([w], lr=0.1, fused=True)
    w.grad = torch.ones(6, 10)
    optimizer.step()
    kept = w.data[:4]
    w.grad = None
    w.data = kept
    w.grad = torch.ones(4, 10)
    optimizer.step()
    assert fused_tensors == [1, 1]
    assert torch.allclose(w, torch.full((4, 10), 0.8))


@pytest.mark.parametrize("structure", ["weights", "filters"])
def test_a_share_of_zeros_is_reached_and_groups_across_tensors_go_together(structure, fused_tensors):
    models, options = [], {"mu": 0.6, "sparsity_target": 0.5, "total_steps": 30}
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten())
        optimizer = GRDA(parameter_groups(model, structure=structure), lr=0.05, fused=fused, **options)
        for n in range(30):
            optimizer.zero_grad()
            model(draws(n, [(4, 3, 6, 6)])[0]).square().mean().backward()
            optimizer.step()
        models.append(model)
    assert min(fused_tensors) > 0
    for w, v in zip(*(m.parameters() for m in models), strict=True):
        torch.testing.assert_close(w, v, rtol=0, atol=1e-5)
        assert torch.equal(w == 0, v == 0)
    zeros = sum(int((w == 0).sum()) for w in models[0].parameters())
    assert zeros > 50


def test_states_go_from_one_to_the_other_and_older_ones_are_taken():
    gradients, rates = course(10)
    more, then = course(5)
    (first, ws), (second, vs) = (driven(torch.float32, gradients, rates, fused=fused) for fused in (True, False))
    old = second.state_dict()
    for group in old["param_groups"]:
        del group["fused"]  # as before 0.2
    first.load_state_dict(old)
    assert first.param_groups[0]["fused"] is True
    for optimizer, weights in ((first, ws), (second, vs)):
        for each, lr in zip(more, then, strict=True):
            optimizer.param_groups[0]["lr"] = lr
            for w, g in zip(weights, each, strict=True):
                w.grad = g
            optimizer.step()
    assert all(torch.equal(w, v) for w, v in zip(ws, vs, strict=True))
    assert not hasattr(copy.deepcopy(first), "_plans")


def test_threads_take_shares_of_every_tensor(monkeypatch):
    monkeypatch.setattr(_fused_cpu, "_TOO_FEW", 100)
    gradients, rates = course(5)

    def weights(threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        kinds = ({}, {"regularizer": "group_lasso"})
        return [w for kind in kinds for w in driven(torch.float32, gradients, rates, fused=True, **kind)[1]]

    one, three = weights(1), weights(3)
    monkeypatch.setattr(_fused_cpu, "together", lambda work, threads: False)  # and in threads of our own
    for others in (three, weights(3)):
        assert all(torch.equal(w, v) for w, v in zip(one, others, strict=True))


@pytest.mark.skipif(_fused_team._parallel(os.getpid()) is None, reason="PyTorch without GNU's OpenMP")
def test_work_in_threads_of_pytorch():
    left, names, barrier = collections.deque(range(100)), set(), threading.Barrier(3)

    def work():
        names.add(threading.get_ident())
        barrier.wait(60.0)  # all three are there
        while left:
            with contextlib.suppress(IndexError):
                left.popleft()

    assert _fused_team.together(work, 3)
    assert len(names) == 3
    assert not left

    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fused_team.together(fails, 2)


def test_a_forked_process_has_none_of_them():
    """The library would wait for threads that are not there."""
    assert _fused_team._parallel(os.getpid() + 1) is None


def test_what_is_taken_when_nothing_is_said(monkeypatch, fused_tensors):
    monkeypatch.setattr(_fused, "_MANY", 1000)

    def tensors(entries, dtype=torch.float32, **options):
        w = nn.Parameter(torch.ones(entries, dtype=dtype))
        w.grad = torch.ones_like(w)
        del fused_tensors[:]
        GRDA([w], lr=0.1, c=0.1, **options).step()
        return fused_tensors

    assert tensors(1000) == [1]
    assert (
        tensors(999) == tensors(1000, fused=False) == tensors(1000, foreach=True) == tensors(1000, foreach=False) == []
    )
    assert tensors(999, fused=True) == tensors(999, fused=True, foreach=False) == [1]
    assert tensors(1000, dtype=torch.float16) == [0]
    assert tensors(1000, capturable=True, fused=True) == []


class Named(torch.Tensor):
    """A tensor that may have no memory of its own, for all that is known."""


def test_subclasses_go_the_other_way(fused_tensors):
    w = nn.Parameter(torch.ones(5).as_subclass(Named))
    w.grad = torch.ones(5).as_subclass(Named)
    optimizer = GRDA([w], lr=0.1, c=0.1, fused=True)
    optimizer.step()
    assert fused_tensors == [0]
    assert float(w.detach()[0]) == pytest.approx(0.9 - 0.1 * 0.1**1.01)


def test_options_that_are_none():
    with pytest.raises(TypeError, match=r"^fused is 1 \(int\), but must be None, True or False: leave it out for the"):
        GRDA([nn.Parameter(torch.ones(2))], lr=0.1, fused=1)
    sentence = r"^fused is True, but must be False or None where foreach is True: ask for one of the two\.$"
    with pytest.raises(ValueError, match=sentence):
        GRDA([nn.Parameter(torch.ones(2))], lr=0.1, fused=True, foreach=True)
    with pytest.raises(ValueError, match=sentence):
        GRDA([{"params": [nn.Parameter(torch.ones(2))], "fused": True}], lr=0.1, foreach=True)


def test_small_models_load_neither_numba_nor_triton():
    script = (
        "import sys, torch\n"
        "w = torch.nn.Parameter(torch.ones(100))\n"
        "w.grad = torch.ones(100)\n"
        "torch.optim.SGD([w], lr=0.1).step()\n"
        "before = set(sys.modules)\n"  # PyTorch loads Triton itself where there is one
        "from rdasde.pruning import GRDA\n"
        "GRDA([w], lr=0.1, c=0.1).step()\n"
        "print([name for name in ('numba', 'triton') if name in set(sys.modules) - before])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_triton_it_falls_back_and_says_nothing(monkeypatch):
    monkeypatch.setattr(_fused, "_failed", [])
    monkeypatch.setattr(_fused, "_working", set())

    def kernels():
        raise RuntimeError("no compiler")

    assert _fused._launched(kernels) is False
    assert not _fused.has_triton()
    monkeypatch.setattr(_fused, "_working", {"kernels"})
    with pytest.raises(RuntimeError, match="no compiler"):  # once they have worked, an error is one
        _fused._launched(kernels)

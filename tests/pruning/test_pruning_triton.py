"""The Triton kernels of GRDA's fused step: on a GPU where there is one, else in Triton's interpreter."""

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")
GPU = torch.cuda.is_available()
if not GPU:  # before Triton is imported
    os.environ["TRITON_INTERPRET"] = "1"
# the interpreter of older ones does not go with NumPy 2
pytest.importorskip("triton", minversion="3.0" if GPU else "3.9", exc_type=ImportError)
from torch import nn  # noqa: E402

from rdasde.pruning import GRDA, _fused, _fused_cuda  # noqa: E402
from rdasde.pruning._update import increment  # noqa: E402

DEVICE = "cuda" if GPU else "cpu"
# whole blocks, tails, a number, nothing; filters; groups whose entries are 64, aligned, and others
SHAPES = [(40, 30), (7,), (8, 3, 3, 3), (), (3, 1024), (0, 4), (4, 16, 2, 2)]
OPTIONS = {
    "l1": {},
    "momentum": {"momentum": 0.9},
    "decay, up": {"weight_decay": 0.1, "maximize": True},
    "elastic net": {"regularizer": "elastic_net", "l2": 3.0},
    "groups": {"regularizer": "group_lasso", "c": 1.5, "momentum": 0.5},
    "SGD": {"c": 0.0, "momentum": 0.5},
}


@pytest.fixture(autouse=True)
def kernels_on_this_device(monkeypatch):
    """Small blocks; without a GPU, the tables and kernels for it on the CPU's tensors."""
    monkeypatch.setattr(_fused_cuda, "_BLOCK", 256)
    monkeypatch.setattr(_fused_cuda, "_PIECE", 64)
    monkeypatch.setattr(_fused_cuda, "_OF_A_GROUP", 64)
    if not GPU:
        monkeypatch.setattr(_fused, "wanted", lambda group, ws, many: bool(group["fused"]))
        monkeypatch.setitem(_fused._KINDS, "cpu", _fused._KINDS["cuda"])
        monkeypatch.setattr(_fused, "_on_cpu", lambda *given: _fused_cuda.step(*given) is None)
        monkeypatch.setattr(_fused, "_COUNTED", {"cpu"})


def draws(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.standard_normal(shape), dtype=torch.float32, device=DEVICE) for shape in shapes]


def driven(dtype, fused, steps=12, late=False, **options):
    ws = [nn.Parameter(t.to(dtype)) for t in draws(0)]
    ws[2].data = ws[2].data.contiguous(memory_format=torch.channels_last)
    capturable = options.get("capturable", False)
    lr = torch.tensor(0.1, dtype=torch.float64, device=DEVICE) if capturable else 0.1
    optimizer = GRDA(ws, **({"lr": lr, "c": 0.6, "mu": 0.7} | options), fused=fused)
    for n in range(steps):
        if capturable:
            lr.fill_(0.1 * (1 + n % 3))
        else:
            optimizer.param_groups[0]["lr"] = 0.1 * (1 + n % 3)
        for k, (w, g) in enumerate(zip(ws, draws(n + 1), strict=True)):
            w.grad = torch.empty_like(w).copy_(0.3 * g)
            if late and k < 2 and n < 4:
                w.grad = None
        optimizer.step()
    return optimizer, ws


def alike(ours, theirs, dtype):
    """The accumulators to their last digits, the weights to theirs."""
    (first, ws), (second, vs) = ours, theirs
    unit = {torch.float32: 4e-6, torch.bfloat16: 2.0**-6, torch.float16: 2.0**-9}[dtype]
    fed_back = dtype != torch.float32 and first.param_groups[0]["weight_decay"]
    for w, v in zip(ws, vs, strict=True):
        torch.testing.assert_close(w, v, rtol=unit, atol=unit)
        a, b = (o.state[x].get("accumulator", x) for o, x in ((first, w), (second, v)))
        accuracy = unit if fed_back or a is w else 4e-6
        torch.testing.assert_close(a, b, rtol=accuracy, atol=accuracy)
        thresholds = [float(o.state[x]["threshold"]) for o, x in ((first, w), (second, v))]
        assert thresholds[0] == pytest.approx(thresholds[1], rel=1e-12)
        assert int(first.state[w]["step"]) == int(second.state[v]["step"])


@pytest.mark.parametrize("late", [False, True], ids=["together", "late"])
@pytest.mark.parametrize("capturable", [False, True], ids=["", "capturable"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_kernels_do_what_pytorchs_operations_do(name, dtype, capturable, late, monkeypatch):
    launched, step = [], _fused_cuda.step
    monkeypatch.setattr(_fused_cuda, "step", lambda *given: launched.append(len(given[1].chosen)) or step(*given))
    options = OPTIONS[name] | {"capturable": capturable}
    ours = driven(dtype, True, late=late, **options)
    assert launched == [len(SHAPES) - 2] * 4 * late + [len(SHAPES)] * (12 - 4 * late)
    theirs = driven(dtype, False, late=late, **options)
    alike(ours, theirs, dtype)
    zeros = sum(int((w == 0).sum()) for w in ours[1])
    assert zeros == 0 if name == "SGD" else 20 < zeros < sum(w.numel() for w in ours[1])


def test_thresholds_grow_without_cancellation():
    state = {name: torch.zeros(3, dtype=torch.float64, device=DEVICE) for name in ("step", "threshold")}
    state["step"] += torch.tensor([0.0, 62.0, 1e6], dtype=torch.float64, device=DEVICE)
    states = [{name: values[k] for name, values in state.items()} for k in range(3)]
    strengths, kept = [(0.5, 0.7), (0.5, 0.7), (0.25, 0.55)], {}
    addresses = [[s[name].data_ptr() for name in ("step", "threshold") for s in of] for of in (states[:2], states[2:])]
    for c in (0.25, 0.25, 1.0 / 3.0):  # as a target changes it
        parts = [(0.5, 0.7, addresses[0]), (c, 0.55, addresses[1])]
        _fused_cuda.raise_thresholds(0.2, states[0]["step"].device, parts, kept)
    for k, (start, (c, mu)) in enumerate(zip((0, 62, 10**6), strengths, strict=True)):
        cs = (c, c, 1.0 / 3.0 if k == 2 else c)
        expected = 0.2 ** (mu + 0.5) * sum(x * increment(start + n, mu) for x, n in zip(cs, (1, 2, 3), strict=True))
        assert float(states[k]["threshold"]) == pytest.approx(expected, rel=1e-12)
        assert float(states[k]["step"]) == start + 3


@pytest.mark.parametrize("regularizer", ["l1", "elastic_net", "group_lasso"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_nan_and_infinity_are_not_turned_into_zeros(dtype, regularizer):
    w = nn.Parameter(torch.full((3, 40), 0.01, dtype=dtype, device=DEVICE))
    w.grad = torch.zeros_like(w)
    w.grad[0, 0], w.grad[1, 0], w.grad[1, 1] = float("nan"), float("inf"), -float("inf")
    with np.errstate(invalid="ignore"):  # of the interpreter
        GRDA([w], lr=0.1, c=1.0, regularizer=regularizer, fused=True).step()
    assert torch.isnan(w[0, 0])
    assert not torch.isfinite(w[1, :2]).any()
    assert bool((w[2] == 0).all())


def test_tables_are_made_anew_when_something_moves():
    made, on_device = [], _fused_cuda.on_device
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_fused_cuda, "on_device", lambda values, device: made.append(1) or on_device(values, device))
        w = nn.Parameter(torch.ones(600, device=DEVICE))
        optimizer = GRDA([w], lr=0.1, c=0.1, fused=True)
        counts, held = [], []
        for n in range(5):
            if n in (0, 3):  # another gradient
                held.append(torch.ones(600, device=DEVICE))
                w.grad = held[-1]
            if n == 4:  # other weights
                w.data = w.data.clone()
            optimizer.step()
            counts.append(len(made))
    assert counts == [3, 3, 3, 4, 7]  # tensors, stretches and gradients; nothing; gradients; all


@pytest.mark.parametrize("capturable", [False, True], ids=["", "capturable"])
def test_groups_of_parameters_go_in_one_launch(capturable, monkeypatch):
    from rdasde.pruning import _fused_triton

    launched = []
    for kernel in ("by_entries", "raise_thresholds"):

        class Counted:
            def __init__(self, name, function):
                self.name, self.function = name, function

            def __getitem__(self, grid):
                launched.append(self.name)
                return self.function[grid]

        monkeypatch.setattr(_fused_triton, kernel, Counted(kernel, getattr(_fused_triton, kernel)))
    results = []
    for fused in (True, False):
        ws = [nn.Parameter(t) for t in draws(0)]
        groups = [{"params": ws[::2], "c": 0.4, "mu": 0.6}, {"params": ws[1::2], "c": 0.0}]
        optimizer = GRDA(groups, lr=0.1, fused=fused, capturable=capturable)
        for n in range(4):
            for w, g in zip(ws, draws(n + 1), strict=True):
                w.grad = g
            optimizer.step()
        results.append((optimizer, ws))
    assert launched == (["raise_thresholds", "by_entries"] if capturable else ["by_entries"]) * 4
    alike(*results, torch.float32)


def test_what_a_graph_reads_stays_while_other_steps_are_taken(monkeypatch):
    ws = [nn.Parameter(torch.ones(600, device=DEVICE)) for _ in range(2)]
    optimizer = GRDA(ws, lr=0.1, c=0.1, capturable=True, fused=True)
    for w in ws:
        w.grad = torch.ones_like(w)
    optimizer.step()
    there, on_device = [], _fused_cuda.on_device
    with monkeypatch.context() as patch:
        patch.setattr(_fused_cuda, "capturing", lambda device: True)
        patch.setattr(_fused_cuda, "on_device", lambda *given: there.append(given) or on_device(*given))
        optimizer.step()  # with the tables of the step before
    assert not there
    kept = next(value for key, value in optimizer._plans.items() if key[1:] == ("tables",))
    (tables,) = [what for what in kept["captured"] if isinstance(what, _fused_cuda.Tables)]
    reference = weakref.ref(tables.launches[0].table)
    del tables, kept
    ws[0].grad = None
    optimizer.step()  # other tables take their place
    gc.collect()
    assert reference() is not None


@pytest.mark.skipif(not GPU, reason="needs a GPU")
def test_a_captured_step_goes_on_with_the_gradients_it_was_captured_with():
    runs = []
    for captured in (False, True):
        ws = [nn.Parameter(t) for t in draws(0)]
        lr = torch.tensor(0.1, dtype=torch.float64, device=DEVICE)
        optimizer = GRDA(ws, lr=lr, c=0.3, capturable=True, fused=True)
        for w in ws:
            w.grad = torch.zeros_like(w)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            optimizer.step()
        torch.cuda.current_stream().wait_stream(stream)
        graph, gradients = torch.cuda.CUDAGraph(), [torch.zeros_like(w) for w in ws]
        for w, g in zip(ws, gradients, strict=True):
            w.grad = g  # moved since the tables were made
        if captured:
            with torch.cuda.graph(graph):
                optimizer.step()
        for n in range(6):
            for g, given in zip(gradients, draws(n + 1), strict=True):
                g.copy_(given)
            if captured:
                graph.replay()
            else:
                optimizer.step()
        runs.append(ws)
    assert all(torch.equal(w, v) for w, v in zip(*runs, strict=True))


COMPILED = """
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rdasde.pruning import _fused_cuda, _fused_triton

flags = {"SIGN": 1.0, "KIND": tl.float32, "MOMENTUM": True, "DECAY": True, "CAPTURABLE": False, "ALIGNED": True}
numbers = dict.fromkeys(("rate", "inertia", "decay", "threshold", "l2"), "fp32")
sizes = {"BLOCK": _fused_cuda._BLOCK, "PIECE": _fused_cuda._PIECE}
tables = dict.fromkeys(("table", "grads", "chunks", "rate_at"), "*i64")
for kernel, types, constants in (
    (_fused_triton.by_entries, tables | numbers, flags | {"ELASTIC": True} | sizes),
    (_fused_triton.by_groups, tables | numbers, flags | {"BLOCK": _fused_cuda._OF_A_GROUP}),
    (_fused_triton.raise_thresholds, {"table": "*i64", "rate_at": "*fp64", "count": "i32"}, {"BLOCK": 128}),
):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types[name] for name in names}
    constants = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, constants)
    ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=_fused_cuda._HOW).asm["ptx"]
    print(kernel.__name__, "ld.global.v4" in ptx, "st.global.v4" in ptx, ".local" in ptx)
"""


def test_kernels_compile_for_an_h100_and_move_four_numbers_at_once(tmp_path):
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = tmp_path / "compiled.py"
    script.write_text(COMPILED)
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == [
        "by_entries True True False",
        "by_groups True True False",
        "raise_thresholds False False False",
    ]

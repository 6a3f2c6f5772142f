"""Steps of GRDA on a GPU: one table for each device and model, of which those of other devices are kept.

Times are between events on the device, of many steps one after the other, so that what launching costs counts where it
is more than the work. Bandwidth: the bytes a step must move, over its time, over what copying a large tensor moves.
"""

from __future__ import annotations

import re

import numpy as np
import torch

from rdasde.pruning import GRDA, parameter_groups

_REPETITIONS = 20
_NOT = "not measured"
_COLUMNS = ["", "ms a step", "over SGD(fused=True)", "share of copy bandwidth"]


def rate(device):
    return torch.tensor(1e-6, dtype=torch.float64, device=device)


def plain(optimizer):
    return optimizer.step


def in_a_graph(optimizer):
    """A step, captured after it has been warmed up."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    return graph.replay


def compiled(optimizer):
    """A step by Inductor, which fuses PyTorch's operations."""
    torch._dynamo.reset()
    return torch.compile(optimizer.step, fullgraph=True)


def grda(model, regularizer="l1", *, tensor_rate=False, **options):
    groups = parameter_groups(model, c=1e-3, regularizer=regularizer)
    return GRDA(groups, lr=rate("cuda") if tensor_rate else 1e-6, **options)


# by name: how it is built, how it steps, and the numbers of four bytes that a step moves for each weight
ROWS = {
    "SGD(fused=True)": (lambda m: torch.optim.SGD(m.parameters(), lr=1e-6, fused=True), plain, 3),
    "SGD(foreach=True)": (lambda m: torch.optim.SGD(m.parameters(), lr=1e-6, foreach=True), plain, 3),
    "Adam(fused=True)": (lambda m: torch.optim.Adam(m.parameters(), lr=1e-6, fused=True), plain, 7),
    "GRDA(fused=True)": (lambda m: grda(m, fused=True), plain, 4),
    "GRDA(foreach=True)": (lambda m: grda(m, foreach=True), plain, 4),
    "GRDA(fused=True), momentum": (lambda m: grda(m, fused=True, momentum=0.9), plain, 6),
    "GRDA(fused=True), group lasso": (lambda m: grda(m, "group_lasso", fused=True), plain, 4),
    "GRDA(fused=True, capturable=True)": (lambda m: grda(m, fused=True, capturable=True), plain, 4),
    "the same in a CUDA graph": (
        lambda m: grda(m, fused=True, capturable=True, tensor_rate=True),
        in_a_graph,
        4,
    ),
    "GRDA(capturable=True), compiled by Inductor": (
        lambda m: grda(m, capturable=True, tensor_rate=True),
        compiled,
        4,
    ),
}


def timed(step):
    """Milliseconds of a step."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(_REPETITIONS):
        step()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / _REPETITIONS


def copy_bandwidth():
    """Bytes a millisecond that copying a gigabyte moves."""
    here, there = (torch.empty(2**28, device="cuda") for _ in range(2))
    there.copy_(here)
    return 2 * here.nbytes / min(timed(lambda: there.copy_(here)) for _ in range(5))


def measure(make, rounds):
    """By name, milliseconds a step in each round, or why there are none; and the number of weights."""
    steps, failed = {}, {}
    torch.manual_seed(0)
    model = make().cuda()
    for p in model.parameters():
        p.grad = 0.01 * torch.randn_like(p)
    for name, (build, way, _) in ROWS.items():
        try:
            steps[name] = way(build(model))
            for _ in range(3):
                steps[name]()
        except (RuntimeError, ImportError) as error:
            failed[name] = f"{_NOT}: {type(error).__name__}"
            steps.pop(name, None)
    taken = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            taken[name].append(timed(step))
    return {name: np.array(values) for name, values in taken.items()}, failed, model


def spread(values, digits=3):
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.{digits}g} [{low:.{digits}g} .. {high:.{digits}g}]"


def table(rows):
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def heading(model, device):
    tensors, weights = len(list(model.parameters())), sum(p.numel() for p in model.parameters())
    return f"## {device}: {weights:,} weights in {tensors} tensors\n"


def measured(models, rounds):
    """The tables of this device."""
    device, most = torch.cuda.get_device_name(), copy_bandwidth()
    parts = []
    for make in models:
        taken, failed, model = measure(make, rounds)
        weights = sum(p.numel() for p in model.parameters())
        base, rows = taken["SGD(fused=True)"], []
        for name, (_, _, streams) in ROWS.items():
            if name in failed:
                rows.append([name, failed[name], "", ""])
            else:
                share = 4 * streams * weights / taken[name] / most
                rows.append([name, spread(taken[name]), spread(taken[name] / base), spread(share, 2)])
        note = f"torch {torch.__version__}, copying moves {most / 1e9:.2f} TB/s.\n"
        parts.append("\n".join([heading(model, device), note, table(rows)]))
        print(parts[-1], flush=True)
    return parts


def kept(file, device):
    """The tables of other GPUs that the report has."""
    text = file.read_text() if file.exists() else ""
    sections = re.split(r"(?m)^(?=## )", text)
    gpus = [part for part in sections if "over SGD(fused=True)" in part and _NOT + " |" not in part]
    return [part.rstrip() + "\n" for part in gpus if device is None or not part.startswith(f"## {device}:")]


def unmeasured(models):
    """Tables without numbers, where no GPU has been at hand yet."""
    rows = [[name, *[_NOT] * (len(_COLUMNS) - 1)] for name in ROWS]
    return ["\n".join([heading(make(), "H100 or H200"), table(rows)]) for make in models]


def sections(file, models, rounds):
    """The report's part on GPUs."""
    here = torch.cuda.is_available()
    parts = kept(file, torch.cuda.get_device_name() if here else None)
    parts += measured(models, rounds) if here else []
    return "\n".join(parts or unmeasured(models))

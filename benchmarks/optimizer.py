"""Measure GRDA against SGD: ``python benchmarks/optimizer.py`` prints a report and writes it beside this file.

Steps of the optimizers alone, on the same weights and gradients, interleaved; ratios are taken within rounds. On a GPU
`optimizer_gpu.py` adds its tables in the same run; those of other devices stay.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optimizer_gpu
import torch
from torch import nn

from rdasde.pruning import GRDA, parameter_groups
from rdasde.pruning._training.networks import wide_resnet

RESULTS = Path(__file__).with_name("optimizer.md")


def ten_million():
    """A perceptron of 10 million weights, in 18 tensors."""
    widths = [3072, *[1024] * 7, 512, 100]
    return nn.Sequential(*(nn.Linear(n, m) for n, m in itertools.pairwise(widths)))


def many_small():
    """Sixty convolutions of 16 to 64 channels with batch normalization, in 180 tensors: a ResNet for CIFAR."""
    widths = [16] * 21 + [32] * 20 + [64] * 20
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*(nn.Sequential(nn.Conv2d(n, m, 3, bias=False), nn.BatchNorm2d(m)) for n, m in pairs))


def wide_residual():
    """The wide residual network of the paper, 28 layers, ten times as wide: 36.5 million weights."""
    return wide_resnet(100)


OPTIMIZERS = {
    "SGD(foreach=True)": lambda model: torch.optim.SGD(model.parameters(), lr=1e-6, foreach=True),
    "SGD(foreach=False)": lambda model: torch.optim.SGD(model.parameters(), lr=1e-6, foreach=False),
    "GRDA": lambda model: GRDA(parameter_groups(model, c=1e-3), lr=1e-6),
    "GRDA(fused=True)": lambda model: GRDA(parameter_groups(model, c=1e-3), lr=1e-6, fused=True),
    "GRDA(fused=False)": lambda model: GRDA(parameter_groups(model, c=1e-3), lr=1e-6, fused=False),
    "GRDA(foreach=True)": lambda model: GRDA(parameter_groups(model, c=1e-3), lr=1e-6, foreach=True),
    "GRDA, group lasso": lambda model: GRDA(parameter_groups(model, c=1e-3, regularizer="group_lasso"), lr=1e-6),
    "GRDA(fused=False), group lasso": lambda model: GRDA(
        parameter_groups(model, c=1e-3, regularizer="group_lasso"), lr=1e-6, fused=False
    ),
    "GRDA, momentum": lambda model: GRDA(parameter_groups(model, c=1e-3), lr=1e-6, momentum=0.9),
    "SGD(foreach=True), momentum": lambda model: torch.optim.SGD(
        model.parameters(), lr=1e-6, foreach=True, momentum=0.9
    ),
}


def prepared(make):
    torch.manual_seed(0)
    model = make()
    for p in model.parameters():
        p.grad = 0.01 * torch.randn_like(p)
    return model


def measure(make, rounds, repetitions):
    """By name, milliseconds a step in each round."""
    model = prepared(make)
    optimizers = {name: build(model) for name, build in OPTIMIZERS.items()}
    for optimizer in optimizers.values():
        optimizer.step()
    taken = {name: [] for name in optimizers}
    for _ in range(rounds):
        for name, optimizer in optimizers.items():
            start = time.perf_counter()
            for _ in range(repetitions):
                optimizer.step()
            taken[name].append(1e3 * (time.perf_counter() - start) / repetitions)
    return {name: np.array(values) for name, values in taken.items()}


def state_bytes(make):
    """Bytes of GRDA's state after a step, over the bytes of the weights in float32."""
    model = prepared(make)
    optimizer = OPTIMIZERS["GRDA"](model)
    optimizer.step()
    state = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor))
    return state / (4 * sum(p.numel() for p in model.parameters()))


def peak(name):
    """Peak resident memory, in MiB, of a process that takes three steps of one optimizer."""
    script = (
        f"import optimizer, torch; torch.set_num_threads(1); model = optimizer.prepared(optimizer.ten_million)\n"
        f"steps = optimizer.OPTIMIZERS[{name!r}](model)\n"
        "for _ in range(3): steps.step()\n"
        'print(next(s.split()[1] for s in open("/proc/self/status") if s.startswith("VmHWM")))'
    )
    command = [sys.executable, "-c", script]
    folder = Path(__file__).parent
    found = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder, env=os.environ)
    return int(found.stdout) / 1024


def spread(values):
    """Median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3g} [{low:.3g} .. {high:.3g}]"


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    rounds = parser.parse_args().rounds
    load = os.getloadavg()[0]
    parts = [
        "# Optimizer steps\n\nWritten by `benchmarks/optimizer.py` in one run. Milliseconds a step: medians and "
        f"[quartiles] over {rounds} rounds, what is compared interleaved, ratios within rounds.\n\n"
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}; load average {load:.2f} at the start.\n"
    ]
    for threads in sorted({1, os.cpu_count()}):
        torch.set_num_threads(threads)
        busy = os.getloadavg()[0]
        if threads > 1 and busy > threads:  # threads then wait for those that get no core, and times say nothing
            heading = f"## {threads} threads\n\nNot measured: the load average was {busy:.1f} on {threads} cores.\n"
            parts.append(heading)
            continue
        for make, repetitions in ((ten_million, 3), (many_small, 10)):
            taken = measure(make, rounds, repetitions)
            base = taken["SGD(foreach=True)"]
            model = make()
            tensors, weights = len(list(model.parameters())), sum(p.numel() for p in model.parameters())
            parts.append(f"## {weights:,} weights in {tensors} tensors, {threads} thread{'s' * (threads > 1)}\n")
            parts.append(
                table(
                    ["", "ms a step", "over SGD(foreach=True)"],
                    [[name, spread(t), spread(t / base)] for name, t in taken.items()],
                )
            )
            print("\n".join(parts[-2:]), flush=True)
    ours, plain, theirs = peak("GRDA"), peak("GRDA(fused=False)"), peak("SGD(foreach=True)")
    copy = 4 * sum(p.numel() for p in ten_million().parameters()) / 2**20
    parts.append(
        "## Memory\n\n"
        f"GRDA's state is {state_bytes(ten_million):.3f} float32 copies of the weights. Peak resident memory of a "
        f"process with the 10 million weights: {plain:.0f} MiB without the fused step, with SGD {theirs:.0f} MiB: "
        f"{plain - theirs:.1f} MiB more, {(plain - theirs) / copy:.2f} float32 copies of the weights ({copy:.1f} MiB); "
        f"with the fused step {ours - plain:.0f} MiB on top, which are numba's.\n"
    )
    print(parts[-1])
    parts.append(optimizer_gpu.sections(RESULTS, [wide_residual, ten_million], rounds))
    RESULTS.write_text("\n".join(parts))


if __name__ == "__main__":
    main()

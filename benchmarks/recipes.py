"""Measure the recipes: ``python benchmarks/recipes.py`` prints a table and writes it beside this file.

An epoch through the recipe (batches from bytes on the device, crops and flips, losses, JSON) against a bare loop: the
same network, compiled alike, and the same optimizer on one batch that never changes. Both for gRDA, epoch after epoch
in turn. The pictures are random bytes of CIFAR's size, which take the same time as those of CIFAR. The row of a device
stays until that is measured again; what was measured on none says so. ``--quick`` is small enough for a CPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from rdasde.pruning import GRDA, _training, recipes
from rdasde.pruning._training import distributed, pictures, precision, processes

RESULTS = Path(__file__).with_name("recipes.md")
AIMS = {"NVIDIA H200": 6.5, "NVIDIA H100": 7.5}  # seconds an epoch of cifar100-wrn28x10
HEADER = """# Recipes

Written by `benchmarks/recipes.py`: seconds an epoch of training through the recipe, its loader included, against a bare
loop on one batch; medians over epochs in turn, the first of each left out.

| device | recipe | precision | compiled | recipe, s | bare, s | over bare | with test and checkpoint, s | aim, s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def random_bytes(rows, classes, side, device):
    rng = np.random.default_rng(0)
    parts = [
        (rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8), rng.integers(0, classes, n))
        for n in (rows, rows // 5)
    ]
    return pictures.of_bytes(*parts, map(str, range(classes)), _training.SCALES["cifar"], device)


def bare(module, optimizer, batch, rows, options, device):
    """Seconds that as many pictures take as an epoch has."""
    inputs, labels = batch
    steps = -(-rows // len(labels))
    waited(device)
    begin = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with precision.autocast(options.precision, device):
            loss = functional.cross_entropy(module(inputs), labels)
        loss.backward()
        optimizer.step()
    waited(device)
    return (time.perf_counter() - begin) * rows / (steps * len(labels))


def waited(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(options, here):
    recipe = recipes.recipe_of(options.recipe)
    network = recipes.network_of(recipe, options.classes)
    source = random_bytes(options.rows, options.classes, options.side, here.device)
    size = options.batch_size
    module = network().to(here.device).to(memory_format=torch.channels_last)
    optimizer = GRDA(module.parameters(), lr=0.001, c=recipe.c, mu=recipe.mu)
    quick = torch.compile(module, dynamic=False) if options.compile else module
    batch = next(pictures.plain_batches(source, source.train_inputs, source.train_labels, size))
    alone, whole, begin = [], [], [time.perf_counter()]

    def after_an_epoch(line):  # in the precision of the recipe, whose epoch is over
        whole.append(time.perf_counter() - begin[0])
        module.train()
        alone.append(bare(quick, optimizer, batch, options.rows, options, here.device))
        begin[0] = time.perf_counter()

    settings = _training.Settings(
        options.recipe, options.epochs, size, recipe.c, recipe.mu, False, 1, precision=options.precision
    )
    checkpoint = Path(options.folder) / "measured.pt"
    for file in (checkpoint, checkpoint.with_suffix(".jsonl")):
        file.unlink(missing_ok=True)
    distributed.train(
        network,
        source,
        lambda epoch, epochs: 0.001,
        settings,
        here,
        checkpoint=checkpoint,
        compiled=options.compile,
        say=after_an_epoch,
    )
    told = [json.loads(line) for line in checkpoint.with_suffix(".jsonl").read_text().splitlines()]
    return [line["seconds"] for line in told][1:], alone[1:], whole[1:]


def row(options, device, through, alone, whole):
    ratio = statistics.median(one / two for one, two in zip(through, alone, strict=True))
    what = (
        options.recipe if not options.quick else f"{options.recipe}, {options.rows} of {options.side} x {options.side}"
    )
    aim = next((f"{aim:g}" for name, aim in AIMS.items() if name in device and not options.quick), "")
    first, second, third = (f"{statistics.median(seconds):.2f}" for seconds in (through, alone, whole))
    numbers = f"{first} | {second} | {ratio:.3f} | {third}"
    return f"| {device} | {what} | {options.precision} | {'yes' if options.compile else 'no'} | {numbers} | {aim} |"


def table(new):
    """The rows that were there, but for that of the same device and settings, and the new one."""
    old = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = {line.split(" | ")[0] + str(line.split(" | ")[1:4]): line for line in old if line.startswith("| ")}
    rows = {key: line for key, line in rows.items() if "---" not in line and not line.startswith("| device")}
    for name, aim in AIMS.items():
        if not any(name in line for line in [*rows.values(), new]):
            rows[name] = (
                f"| {name} | cifar100-wrn28x10 | bf16 | yes | not measured | not measured | | not measured | {aim:g} |"
            )
        elif name in new:
            rows = {key: line for key, line in rows.items() if not (name in line and "not measured" in line)}
    rows[new.split(" | ")[0] + str(new.split(" | ")[1:4])] = new
    return HEADER + "\n".join(rows.values()) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="cifar100-wrn28x10")
    parser.add_argument("--precision", default="bf16", choices=_training.PRECISIONS)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--folder", default="/tmp", help="where a checkpoint may be written")
    parser.add_argument("--quick", action="store_true", help="little, on whatever device: to try this, or for a CPU")
    options = parser.parse_args()
    options.rows, options.classes, options.side, options.batch_size = 50_000, 100, 32, 128
    if options.quick:
        options.recipe, options.precision, options.compile = "cifar100-wrn10x1", "fp32", False
        options.rows, options.side, options.batch_size = 2_000, 16, 64
    with processes.place() as here:
        if here.device.type != "cuda" and not options.quick:
            parser.error("there is no GPU: not measured (--quick is for a CPU)")
        line = row(options, processes.words(here), *measure(options, here))
    RESULTS.write_text(table(line))
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()

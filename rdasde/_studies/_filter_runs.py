"""Whole filters taken out early in training, by gRDA and by magnitude; then the smaller networks train on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rdasde._engine.store import Arrays
from rdasde._studies._pieces import Pieces
from rdasde._studies._processes import in_processes

if TYPE_CHECKING:
    from torch import nn

    from rdasde.pruning._training import Data, Trained, Weights

METHODS = ("sgd", "grda", "magnitude")


class Plan(NamedTuple):
    """Everything that determines the numbers, for one network."""

    network: str
    targets: tuple[float, ...]  # by layer of channels, the share of its weights that become zero
    width: int | None = None  # of the residual network's first stage
    data: str = "mnist5000"
    epochs: int = 12
    pruned: int = 4  # after so many epochs the channels go
    batch_size: int = 64
    rate: float = 0.1
    rate_after: float = 0.1  # of the smaller networks; without batch norm they may be steeper
    rate_pruning: float = 0.2  # of gRDA: what a threshold shrinks moves less
    mu: float = 0.6
    seeds: int = 5


# those of ResNet-8 leave multiples of 8 channels, which a processor's vectors hold: 10 of 16 take hardly less time
PLANS = (
    Plan("lenet", (0.36, 0.36), rate_after=0.05),
    Plan("resnet8", (0.5, 0.5, 0.25, 0.25, 0.375, 0.375), 16, rate_pruning=0.8),
)
SMALL = (
    Plan("mlp", (0.4,), None, "digits", 2, 1, 128, seeds=2),
    Plan("resnet8", (0.5, 0.5, 0.25, 0.25, 0.375, 0.375), 8, "digits", 2, 1, 128, seeds=2),
)


class Runs(NamedTuple):
    """By method and seed: weights where the channels are zero, weights at the end, history; and what they cost."""

    plan: Plan
    runs: dict[str, list[Arrays]]


def runs(pieces: Pieces, plan: Plan) -> Runs:
    """Train everything, in as many processes as there are cores."""
    seeds = range(plan.seeds)
    dense = in_processes(_dense, [(pieces, plan, seed) for seed in seeds], pieces.small)
    directional = in_processes(_directional, [(pieces, plan, seed) for seed in seeds], pieces.small)
    cuts = [tuple(int(count) for count in run["channels_cut"]) for run in directional]
    trimmed = in_processes(_trimmed, [(pieces, plan, seed, cuts[seed], dense[seed]) for seed in seeds], pieces.small)
    return Runs(plan, dict(zip(METHODS, (dense, directional, trimmed), strict=True)))


def _settings(plan: Plan, seed: int) -> dict[str, Any]:
    settings = plan._asdict() | {"seed": seed}
    del settings["seeds"]
    return settings


def _dense(pieces: Pieces, plan: Plan, seed: int) -> Arrays:
    settings = _settings(plan, seed)
    del settings["targets"], settings["mu"], settings["rate_after"], settings["rate_pruning"]

    def compute() -> Arrays:
        import torch

        trained = _train(
            plan, seed, lambda module: torch.optim.SGD(module.parameters(), plan.rate), keep=(plan.pruned,)
        )
        middle = {f"middle/{name}": value.numpy() for name, value in trained.kept[plan.pruned].items()}
        return _arrays(trained) | middle | {"multiply_adds": 1.0}

    return pieces("filters-sgd", settings, compute)


def _directional(pieces: Pieces, plan: Plan, seed: int) -> Arrays:
    def compute() -> Arrays:
        from rdasde.pruning import GRDA
        from rdasde.pruning._training import filter_layers, zero_channels

        example = data(plan).train_inputs[:2]

        def optimizer(module: nn.Module) -> GRDA:
            groups, channels = filter_layers(module, example)
            steps = plan.pruned * -(-len(data(plan).train_labels) // plan.batch_size)
            for group, target in zip(channels, plan.targets, strict=True):
                group |= {"sparsity_target": target, "total_steps": steps}
            return GRDA(groups, plan.rate_pruning, mu=plan.mu)

        weights = _train(plan, seed, optimizer, until=plan.pruned, rate=plan.rate_pruning).weights
        pruned = network(plan)
        pruned.load_state_dict(weights)
        return _go_on(plan, seed, weights) | {"channels_cut": np.array(zero_channels(pruned, example))}

    return pieces("filters-grda", _settings(plan, seed), compute)


def _trimmed(pieces: Pieces, plan: Plan, seed: int, counts: tuple[int, ...], dense: Arrays) -> Arrays:
    def compute() -> Arrays:
        from rdasde.pruning._training import cut_filters

        module = network(plan)
        module.load_state_dict(_weights(dense, "middle"))
        cut_filters(module, data(plan).train_inputs[:2], counts)
        return _go_on(plan, seed, module.state_dict())

    settings = _settings(plan, seed) | {"channels_cut": counts}
    del settings["targets"], settings["mu"], settings["rate_pruning"]
    return pieces("filters-magnitude", settings, compute)


def _go_on(plan: Plan, seed: int, weights: Weights) -> Arrays:
    """Take out what is zero, and train what is left by SGD."""
    import torch

    from rdasde.pruning._training import evaluate

    small = compacted(plan, weights)
    pictures = data(plan)
    accuracy = evaluate(lambda: copy.deepcopy(small), small.state_dict(), pictures.test_inputs, pictures.test_labels)[1]
    trained = _train(
        plan,
        seed,
        lambda module: torch.optim.SGD(module.parameters(), plan.rate),
        network=small,
        start=plan.pruned,
        rate=plan.rate_after,
    )
    before = {f"zero/{name}": value.numpy() for name, value in weights.items()}
    return _arrays(trained) | before | _report(small) | {"pruned_accuracy": accuracy}


def _report(small: Any) -> dict[str, Any]:
    """What compaction did."""
    report = small.compacted
    return {
        "multiply_adds": report.after.multiply_adds / report.before.multiply_adds,
        "parameters": report.after.parameters / report.before.parameters,
        "error": report.error,
        "kept": sum(entry.channels for entry in report.kept),
    }


def _train(
    plan: Plan,
    seed: int,
    optimizer: Any,
    *,
    network: nn.Module | None = None,
    start: int = 0,
    until: int | None = None,
    rate: float | None = None,
    keep: tuple[int, ...] = (),
) -> Trained:
    import torch

    from rdasde.pruning._training import lowered, train

    return train(
        functools.partial(_new, plan) if network is None else functools.partial(copy.deepcopy, network),
        data(plan),
        optimizer,
        epochs=plan.epochs if until is None else until,
        first_epoch=start,
        batch_size=plan.batch_size,
        seed=seed,
        rate=lambda epoch: (plan.rate if rate is None else rate) * lowered(epoch, plan.epochs),
        keep=keep,
        memory_format=torch.channels_last if network is None else torch.contiguous_format,
    )


def _arrays(trained: Trained) -> dict[str, Any]:
    return {
        "train_loss": trained.train_loss,
        "test_accuracy": trained.test_accuracy,
        **{f"end/{name}": value.numpy() for name, value in trained.weights.items()},
    }


def _weights(arrays: Mapping[str, Any], when: str) -> Weights:
    import torch

    start = when + "/"
    return {key.removeprefix(start): torch.from_numpy(value) for key, value in arrays.items() if key.startswith(start)}


def _new(plan: Plan) -> nn.Module:
    from rdasde.pruning import _training

    options = {} if plan.width is None else {"width": plan.width}
    module: nn.Module = getattr(_training, plan.network)(**options)
    return module


def network(plan: Plan) -> nn.Module:
    """A new network."""
    return _new(plan)


@functools.cache
def data(plan: Plan) -> Data:
    """The data set."""
    from rdasde.pruning._training import load

    return load(plan.data)


def compacted(plan: Plan, weights: Weights) -> nn.Module:
    """The network without what is zero in these weights."""
    from rdasde.pruning import compact

    module = _new(plan)
    module.load_state_dict(weights)
    return compact(module, data(plan).test_inputs[:4])


def final(plan: Plan, run: Arrays) -> nn.Module:
    """The network as it ended, without what is zero."""
    if not any(key.startswith("zero/") for key in run):
        return compacted(plan, _weights(run, "end"))
    module = compacted(plan, _weights(run, "zero"))  # of the shape in which it went on
    module.load_state_dict(_weights(run, "end"))
    return module.eval()


def times(pieces: Pieces, plan: Plan, by_method: Mapping[str, list[Arrays]]) -> Arrays:
    """Milliseconds a picture, one at a time and in batches (size, method, seed), one thread, all in turn."""
    sizes, repeats = ((1, 4), 3) if pieces.small else ((1, 100), 60)

    def compute() -> dict[str, Any]:
        from rdasde._studies._checkpoints import one_thread
        from rdasde.pruning._costs import costs

        models = [final(plan, run) for method in METHODS for run in by_method[method]]
        with one_thread():
            found = [
                [cost.milliseconds or np.nan for cost in costs(models, data(plan).test_inputs[:size], repeats)]
                for size in sizes
            ]
        each = np.array(found).reshape(len(sizes), len(METHODS), -1) / np.array(sizes)[:, None, None]
        return {"sizes": sizes, "milliseconds": each}

    return pieces("filters-times", plan._asdict() | {"sizes": sizes, "repeats": repeats}, compute)

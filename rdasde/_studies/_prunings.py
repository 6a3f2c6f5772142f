"""One network pruned in several ways, from the same initial weights seed by seed: what two studies draw."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._engine.store import Arrays
from rdasde._studies._pieces import Pieces
from rdasde._studies._processes import in_processes

if TYPE_CHECKING:
    from torch import nn

    from rdasde.pruning._training import Data, Trained, Weights

TRIMS = ("gradual, fine-tuned", "gradual", "one-shot")  # magnitude pruning


class Plan(NamedTuple):
    """Everything that determines the numbers."""

    data: str = "mnist5000"
    network: str = "lenet"
    epochs: int = 40
    dense_epochs: int = 20  # before magnitude pruning begins
    cut_epochs: int = 10  # in which it cuts, if it is fine-tuned after that
    cuts: int = 3  # an epoch
    batch_size: int = 64
    rate: float = 0.1
    schedule: str = "lowered"
    seeds: int = 5
    directional: tuple[tuple[float, float], ...] = ((0.01, 0.51), (0.01, 0.6), (0.02, 0.55), (0.03, 0.6))
    targets: tuple[float, ...] = (0.97, 0.99)
    target_mu: float = 0.6
    early_rate: float = 0.15  # with targets reached before the rate falls
    early_epochs: int = 20
    # shares of zeros, and mu: 97, 97 and 98.4 % of all parameters, biases counted
    early_targets: tuple[tuple[float, float], ...] = ((0.972, 0.6), (0.972, 0.9), (0.985, 0.6))
    early_directional: tuple[tuple[float, float], ...] = ((0.01, 0.51), (0.02, 0.55))
    fresh: int = 5  # seeds after these, for SGD and the first of the early targets alone
    fresh_targets: int = 2  # how many of them


SMALL = Plan(
    "digits",
    "mlp",
    6,
    3,
    2,
    batch_size=32,
    seeds=2,
    directional=((0.01, 0.6), (0.03, 0.6)),
    targets=(0.9,),
    early_epochs=3,
    early_targets=((0.9, 0.6), (0.9, 0.9)),
    early_directional=((0.01, 0.6),),
    fresh=2,
)


class Runs(NamedTuple):
    """By method and seed. Directional methods are named by their settings, trims by theirs and the way of trimming."""

    plan: Plan
    layers: list[str]
    sizes: NDArray[np.int64]
    dense: list[Arrays]
    directional: dict[str, list[Arrays]]
    trimmed: dict[tuple[str, str], list[Arrays]]


def runs(pieces: Pieces) -> Runs:
    """Train everything, in as many processes as there are cores."""
    plan = SMALL if pieces.small else Plan()
    seeds = range(plan.seeds)
    methods = {f"c = {c:g}, μ = {mu:g}": {"c": c, "mu": mu} for c, mu in plan.directional}
    methods |= {f"target {100 * target:g} %": {"target": target, "mu": plan.target_mu} for target in plan.targets}
    tasks: list[tuple[Any, ...]] = [(pieces, plan, seed, {}) for seed in seeds]
    tasks += [(pieces, plan, seed, method) for seed in seeds for method in methods.values()]
    trained = in_processes(_first, tasks, pieces.small)
    dense, rest = trained[: plan.seeds], trained[plan.seeds :]
    directional = {name: rest[k :: len(methods)] for k, name in enumerate(methods)}
    keys = [(name, how, seed) for seed in seeds for name in methods for how in TRIMS]
    again = in_processes(
        _second,
        [(pieces, plan, seed, how, int(directional[name][seed]["zeros"][-1]), dense[seed]) for name, how, seed in keys],
        pieces.small,
    )
    trimmed: dict[tuple[str, str], list[Arrays]] = {}
    for (name, how, _), arrays in zip(keys, again, strict=True):
        trimmed.setdefault((name, how), []).append(arrays)
    layers, sizes = dense[0]["layers"], dense[0]["sizes"]
    return Runs(plan, [str(layer) for layer in layers], sizes, dense, directional, trimmed)


class Early(NamedTuple):
    """Targets reached while the learning rate is high, by setting and seed, beside SGD at that rate."""

    plan: Plan
    dense: list[Arrays]
    directional: dict[str, list[Arrays]]
    fresh_dense: list[Arrays]  # with seeds that chose nothing, and so the first settings
    fresh: dict[str, list[Arrays]]


def early(pieces: Pieces) -> Early:
    """Train at a higher rate, with targets reached before it falls: what costs least accuracy at 97 % zeros."""
    plan = SMALL if pieces.small else Plan()
    plan = plan._replace(rate=plan.early_rate)
    methods: dict[str, dict[str, float]] = {
        f"target {100 * target:g} % within {plan.early_epochs} epochs, μ = {mu:g}": {
            "target": target,
            "mu": mu,
            "target_epochs": plan.early_epochs,
        }
        for target, mu in plan.early_targets
    }
    methods |= {f"c = {c:g}, μ = {mu:g}": {"c": c, "mu": mu} for c, mu in plan.early_directional}
    again = list(methods)[: plan.fresh_targets]
    tasks = [(pieces, plan, seed, method) for method in ({}, *methods.values()) for seed in range(plan.seeds)]
    later = range(plan.seeds, plan.seeds + plan.fresh)
    tasks += [(pieces, plan, seed, method) for method in ({}, *(methods[name] for name in again)) for seed in later]
    trained = in_processes(_first, tasks, pieces.small)
    count = plan.seeds * (1 + len(methods))
    dense, *directional = (trained[k : k + plan.seeds] for k in range(0, count, plan.seeds))
    fresh_dense, *fresh = (trained[k : k + plan.fresh] for k in range(count, len(trained), plan.fresh))
    settings, repeated = (dict(zip(names, by, strict=True)) for names, by in ((methods, directional), (again, fresh)))
    return Early(plan, dense, settings, fresh_dense, repeated)


def _common(plan: Plan, seed: int) -> dict[str, Any]:
    return {
        "data": plan.data,
        "network": plan.network,
        "epochs": plan.epochs,
        "batch_size": plan.batch_size,
        "rate": plan.rate,
        "schedule": plan.schedule,
        "seed": seed,
    }


def _first(pieces: Pieces, plan: Plan, seed: int, method: Mapping[str, float]) -> Arrays:
    """SGD, or GRDA where there is a method."""
    settings = _common(plan, seed) | dict(method)
    if method:
        return pieces("directional", settings, lambda: _run(plan, seed, method))
    return pieces("dense", settings | {"kept": plan.dense_epochs}, lambda: _run(plan, seed, method))


def _run(plan: Plan, seed: int, method: Mapping[str, float]) -> Arrays:
    import torch

    from rdasde.pruning import GRDA, parameter_groups

    def sgd(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), plan.rate)

    def grda(module: nn.Module) -> torch.optim.Optimizer:
        if "c" in method:
            return GRDA(parameter_groups(module, c=method["c"]), plan.rate, mu=method["mu"])
        steps = int(method.get("target_epochs", plan.epochs)) * -(-len(_data(plan).train_labels) // plan.batch_size)
        target = method["target"]
        return GRDA(parameter_groups(module), plan.rate, mu=method["mu"], sparsity_target=target, total_steps=steps)

    trained = _train(plan, seed, grda if method else sgd, keep=() if method else (plan.dense_epochs,))
    arrays = _arrays(trained)
    if not method:
        for when, weights in (("middle", trained.kept[plan.dense_epochs]), ("end", trained.weights)):
            arrays |= {f"{when}/{name}": value.numpy() for name, value in weights.items()}
    return arrays


def _second(pieces: Pieces, plan: Plan, seed: int, how: str, count: int, dense: Arrays) -> Arrays:
    """Magnitude pruning of what SGD found, to `count` zeros."""
    schedule = {"kept": plan.dense_epochs, "cut": plan.cut_epochs, "cuts": plan.cuts}
    settings = _common(plan, seed) | {"how": how, "zeros": count} | schedule
    return pieces("magnitude", settings, lambda: _trim(plan, seed, how, count, dense))


def _trim(plan: Plan, seed: int, how: str, count: int, dense: Arrays) -> Arrays:
    import torch

    from rdasde.pruning._training import cut, evaluate, gradually, train

    network, data = _network(plan), _data(plan)
    if how == "one-shot":
        module = network()
        module.load_state_dict(_weights(dense, "end"))
        cut(module, count)
        loss, accuracy = evaluate(network, module.state_dict(), data.test_inputs, data.test_labels)
        counts = [int((parameter == 0).sum()) for parameter in module.parameters()]
        return {
            "test_loss": np.array([loss]),
            "test_accuracy": np.array([accuracy]),
            "zeros": np.array([sum(counts)]),
            "layer_zeros": np.array(counts),
        }
    a_pass = -(-len(data.train_labels) // plan.batch_size)
    steps = a_pass * (plan.cut_epochs if how == TRIMS[0] else plan.epochs - plan.dense_epochs)
    return _arrays(
        train(
            network,
            data,
            lambda module: torch.optim.SGD(module.parameters(), plan.rate),
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            seed=seed,
            start=_weights(dense, "middle"),
            rate=_rate(plan),
            first_epoch=plan.dense_epochs,
            after_step=gradually(count, steps, every=a_pass // plan.cuts),
        )
    )


def _weights(dense: Arrays, when: str) -> Weights:
    import torch

    start = when + "/"
    return {key.removeprefix(start): torch.from_numpy(value) for key, value in dense.items() if key.startswith(start)}


def _arrays(trained: Trained) -> Arrays:
    counts = trained.weights
    return {
        "train_loss": trained.train_loss,
        "test_loss": trained.test_loss,
        "test_accuracy": trained.test_accuracy,
        "zeros": trained.zeros,
        "layers": np.array(list(counts)),
        "sizes": np.array([value.numel() for value in counts.values()]),
        "layer_zeros": np.array([int((value == 0).sum()) for value in counts.values()]),
    }


def _network(plan: Plan) -> Callable[[], nn.Module]:
    from rdasde.pruning._training import lenet, mlp

    networks: dict[str, Callable[[], nn.Module]] = {"lenet": lenet, "mlp": mlp}
    return networks[plan.network]


def _rate(plan: Plan) -> Callable[[int], float]:
    from rdasde.pruning._training import held, lowered

    share = {"held": held, "lowered": lowered}[plan.schedule]
    return lambda epoch: plan.rate * share(epoch, plan.epochs)


@functools.cache
def _data(plan: Plan) -> Data:
    from rdasde.pruning._training import load

    return load(plan.data)


def _train(plan: Plan, seed: int, optimizer: Callable[[nn.Module], Any], keep: tuple[int, ...] = ()) -> Trained:
    from rdasde.pruning._training import train

    return train(
        _network(plan),
        _data(plan),
        optimizer,
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        seed=seed,
        rate=_rate(plan),
        keep=keep,
    )


def about(plan: Plan) -> str:
    """Network and data in words."""
    data = _data(plan)
    sizes = f"{len(data.train_labels):,} to learn from and {len(data.test_labels):,} to test on"
    words = {"lenet": "LeNet-5", "mlp": "two layers", "mnist5000": "MNIST", "digits": "digits"}
    return f"{words[plan.network]}, {words[plan.data]}, {sizes}"


def in_math(name: str) -> str:
    """A setting as it is typeset."""
    return re.sub(r"c = ([\d.]+), μ = ([\d.]+)", r"$c = \1$, $\\mu = \2$", name)

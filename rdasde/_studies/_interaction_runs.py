"""Searches and trainings of factorization machines, each a piece: what the study of interactions draws."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rdasde._engine.store import Arrays
from rdasde._studies._pieces import Pieces
from rdasde._studies._processes import in_processes

Pairs = list[list[int]]
SPLITS = ("random", "time")


class Plan(NamedTuple):
    """Everything that determines the numbers."""

    seeds: int = 10
    batch_size: int = 1024
    search_epochs: int = 5  # the first of them without a threshold
    epochs: int = 12  # at most; the validation rows say when to stop
    strengths: tuple[float, ...] = (0.008, 0.01, 0.013)
    penalties: tuple[float, ...] = (0.002, 0.004)
    planted_rows: int = 100_000
    planted_strengths: tuple[float, ...] = (0.03, 0.06, 0.1)
    planted_penalties: tuple[float, ...] = (0.01, 0.02)
    dim: int = 16
    repeats: int = 15  # of what is timed


SMALL = Plan(2, 256, 2, 2, (0.02,), (0.02,), 3000, (0.05,), (0.05,), 4, 3)


class Table(NamedTuple):
    """Codes and labels to learn from, to stop by and to test on."""

    cardinalities: list[int]
    train: tuple[NDArray[np.int64], NDArray[np.int64]]
    validation: tuple[NDArray[np.int64], NDArray[np.int64]]
    test: tuple[NDArray[np.int64], NDArray[np.int64]]


def films(split: str, seed: int) -> Table:
    """MovieLens-100K, the last tenth or a random one for testing, as much for validation."""
    from rdasde.interactions import Codebook, movielens
    from rdasde.interactions._movielens import FIELDS

    ratings = movielens()
    n = len(ratings)
    order = np.arange(n) if split == "time" else np.random.default_rng(seed).permutation(n)
    parts = [ratings.iloc[rows] for rows in np.split(order, [8 * n // 10, 9 * n // 10])]
    book = Codebook.from_data(parts[0][[*FIELDS, "liked"]], "liked")
    coded = [(book.encode(part), book.outcome(part)) for part in parts]
    return Table(book.cardinalities, *coded)


def seed_of_films(pieces: Pieces, plan: Plan, split: str, seed: int) -> Arrays:
    """All methods on one split with one seed: scores (2,), pairs kept, by name."""
    table: list[Table] = []  # made once it is needed

    def rows() -> Table:
        if not table:
            table.append(films(split, seed))
        return table[0]

    common = {"split": split, "seed": seed} | {name: getattr(plan, name) for name in ("batch_size", "epochs", "dim")}
    results: Arrays = {}

    def train(name: str, pairs: Pairs | None, gates: bool = True) -> None:
        settings = common | {"pairs": pairs, "gates": gates}
        piece = pieces("interactions-train", settings, lambda: _train(rows(), plan, seed, pairs, gates))
        results[name] = piece["scores"]

    searched = common | {"search_epochs": plan.search_epochs}
    train("all", None)
    rng = np.random.default_rng([seed, 1])
    for c in plan.strengths:
        gate = pieces("interactions-search", searched | {"c": c}, lambda c=c: _search(rows(), plan, seed, c))["gate"]  # type: ignore[misc]
        kept = np.flatnonzero(gate)
        everything = _pairs(11)
        results[f"gRDA kept {c:g}"] = kept
        train(f"gRDA {c:g}", [everything[k] for k in kept])
        drawn = np.sort(rng.permutation(len(everything))[: len(kept)])
        train(f"random {c:g}", [everything[k] for k in drawn])
    train("plain", None, gates=False)
    ranking = pieces("interactions-information", common, lambda: {"order": _by_information(*rows().train)})["order"]
    for c in plan.strengths:
        top = np.sort(ranking[: len(results[f"gRDA kept {c:g}"])])
        train(f"information {c:g}", [_pairs(11)[k] for k in top])
    for penalty in plan.penalties:
        settings = searched | {"l1": penalty}
        gate = pieces("interactions-search", settings, lambda p=penalty: _search(rows(), plan, seed, None, p))["gate"]  # type: ignore[misc]
        results[f"l1 kept {penalty:g}"] = np.flatnonzero(gate)
        train(f"l1 {penalty:g}", [_pairs(11)[k] for k in np.flatnonzero(gate)])
    return results


def seed_of_planted(pieces: Pieces, plan: Plan, seed: int) -> Arrays:
    """Gates by method, and which pairs are true, on planted data."""
    from rdasde.interactions import planted

    def compute(c: float | None, penalty: float = 0.0) -> Arrays:
        data = planted(plan.planted_rows, seed=seed)
        rows = (data.X, data.y)
        truth = np.array([tuple(pair) in data.pairs for pair in _pairs(12)])
        if c is None and not penalty:
            return {"order": _by_information(*rows), "truth": truth}
        table = Table(list(data.cardinalities), rows, rows, rows)
        return _search(table, plan, seed, c, penalty) | {"truth": truth}

    common = {"seed": seed, "rows": plan.planted_rows, "epochs": plan.search_epochs, "batch_size": plan.batch_size}
    common |= {"dim": plan.dim}
    results: Arrays = {}
    for c in plan.planted_strengths:
        piece = pieces("interactions-planted", common | {"c": c}, lambda c=c: compute(c))  # type: ignore[misc]
        results[f"gRDA {c:g}"], results["truth"] = piece["gate"], piece["truth"]
    for penalty in plan.planted_penalties:
        piece = pieces("interactions-planted", common | {"l1": penalty}, lambda p=penalty: compute(None, p))  # type: ignore[misc]
        results[f"l1 {penalty:g}"] = piece["gate"]
    piece = pieces("interactions-planted", common | {"by": "information"}, lambda: compute(None))
    results["information"] = np.isin(np.arange(len(piece["order"])), piece["order"][: int(piece["truth"].sum())])
    return results


def all_films(pieces: Pieces, plan: Plan) -> dict[str, list[Arrays]]:
    """By split, the results of every seed."""
    tasks = [(pieces, plan, split, seed) for split in SPLITS for seed in range(plan.seeds)]
    done = in_processes(seed_of_films, tasks, pieces.small)
    return {split: done[k * plan.seeds : (k + 1) * plan.seeds] for k, split in enumerate(SPLITS)}


def all_planted(pieces: Pieces, plan: Plan) -> list[Arrays]:
    """The results of every seed."""
    return in_processes(seed_of_planted, [(pieces, plan, seed) for seed in range(plan.seeds)], pieces.small)


def costs(pieces: Pieces, plan: Plan) -> Arrays:
    """Processor time in turn: an epoch without and with gates, inference with all and with half of the pairs."""
    return pieces("interactions-cost", {"repeats": plan.repeats, "rows": plan.planted_rows}, lambda: _costs(plan))


def _costs(plan: Plan) -> Arrays:
    import torch

    from rdasde.interactions import FM, predict, search
    from rdasde.interactions._training import checked_plan, checked_rows, optimize
    from rdasde.pruning._training.single import alone

    cardinalities = [944, 1654, 11, 3, 22, 20, 10, 19, 19, 25, 8]  # those of the films
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(size, size=plan.planted_rows) for size in cardinalities], axis=1)
    y = rng.integers(2, size=len(X))
    half = [_pairs(11)[k] for k in np.sort(rng.permutation(55)[:27])]
    models = {"all": FM(cardinalities, seed=0), "half": FM(cardinalities, interactions=half, seed=0)}
    taken: dict[str, list[float]] = {}

    def clock(name: str, call: Any) -> None:
        start = time.process_time()
        call()
        taken.setdefault(name, []).append(time.process_time() - start)

    with alone(0):
        for _ in range(plan.repeats):
            for name, model in models.items():
                clock(f"inference, {name}", lambda model=model: predict(model, X))
        for k in range(max(plan.repeats // 3, 1)):
            plain, gated = FM(cardinalities, gates=False, seed=k), FM(cardinalities, seed=k)
            rows, how = checked_rows(X, y, plain), checked_plan(plain, 1, 0, 1024, None, False, "")
            # Adam is built within, as `search` builds its optimizers; its rate is 1e-3 by default
            clock("epoch, no gates", lambda: optimize(plain, rows, [torch.optim.Adam(plain.parameters())], how))  # noqa: B023
            clock("epoch, gates", lambda: search(gated, X, y, epochs=1, warmup=0, seed=0, progress=False))  # noqa: B023
    return {name: np.array(seconds) for name, seconds in taken.items()}


def _pairs(fields: int) -> Pairs:
    return [[i, j] for i in range(fields) for j in range(i + 1, fields)]


def _search(table: Table, plan: Plan, seed: int, c: float | None, penalty: float = 0.0) -> Arrays:
    """Gates after a search by gRDA, or by proximal SGD with an l1 penalty."""
    import torch

    from rdasde.interactions import FM, gates, search, weights
    from rdasde.interactions._training import checked_plan, checked_rows, optimize

    model = FM(table.cardinalities, plan.dim, seed=seed)
    if c is not None:
        options = {"epochs": plan.search_epochs, "batch_size": plan.batch_size, "progress": False}
        search(model, *table.train, c=c, seed=seed, **options)  # type: ignore[arg-type]
    else:
        how = checked_plan(model, plan.search_epochs, seed, plan.batch_size, None, False, "")
        proximal = _proximal_sgd()(gates(model), penalty)

        def strengthen(epoch: int) -> None:
            proximal.param_groups[0]["l1"] = penalty if epoch else 0.0

        optimizers = [torch.optim.Adam(weights(model), 1e-3), proximal]
        optimize(model, checked_rows(*table.train, model), optimizers, how, strengthen)
    return {"gate": np.concatenate([gate.detach().numpy() for gate in gates(model)])}


def _train(table: Table, plan: Plan, seed: int, pairs: Pairs | None, gates: bool) -> Arrays:
    """Test AUC and log loss of a machine with these pairs."""
    import torch

    from rdasde.interactions import FM, evaluate
    from rdasde.interactions._training import checked_plan, checked_rows, optimize

    model = FM(table.cardinalities, plan.dim, gates, interactions=pairs, seed=seed)
    how = checked_plan(model, plan.epochs, seed, plan.batch_size, table.validation, False, "", 2)
    optimize(model, checked_rows(*table.train, model), [torch.optim.Adam(model.parameters(), 1e-3)], how)
    return {"scores": np.array(evaluate(model, *table.test))}


def _by_information(X: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs, most information on the label first: ``I(x_i, x_j; y)``, its bias removed (Miller & Madow)."""

    def entropy(codes: NDArray[np.int64]) -> float:
        counts = np.unique(codes, return_counts=True)[1]
        shares = counts / len(codes)
        return float(-(shares * np.log(shares)).sum() + (len(counts) - 1) / (2 * len(codes)))

    information = []
    for i, j in _pairs(X.shape[1]):
        both = X[:, i] * (X[:, j].max() + 1) + X[:, j]
        information.append(entropy(both) - entropy(2 * both + y))
    return np.argsort(-np.array(information), kind="stable")


def _proximal_sgd() -> Any:
    import torch

    class ProximalSGD(torch.optim.Optimizer):
        """``w <- S(w - grad, l1)``: the rate is 1, as that of gRDA on gates."""

        def __init__(self, parameters: Sequence[torch.nn.Parameter], l1: float) -> None:
            super().__init__(parameters, {"l1": l1})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                for w in group["params"]:
                    moved = w - w.grad
                    w.copy_(moved.sign() * (moved.abs() - group["l1"]).clamp(min=0.0))

    return ProximalSGD

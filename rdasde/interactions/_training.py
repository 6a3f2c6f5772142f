"""A training loop over rows of codes: the same arguments, the same weights, bit for bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rdasde import _check
from rdasde._engine.progress import Progress
from rdasde.pruning._training.single import alone, batches

from ._layer import gates
from ._scores import Scores, checked_codes, checked_labels, checked_logits, device_of, logits, scores


class Rows(NamedTuple):
    """Checked codes (n, fields) and labels (n,)."""

    codes: Tensor
    labels: Tensor


class Plan(NamedTuple):
    """How to go through the rows."""

    epochs: int
    seed: int
    batch_size: int
    validation: Rows | None
    patience: int | None  # epochs without a better validation AUC before it stops, and goes back to the best
    progress: bool | None
    name: str


class History(NamedTuple):
    """By epoch: the mean loss as batches were met, the gates after it, and scores on the validation rows."""

    loss: list[float]
    gate: list[NDArray[np.float64]]
    validation: list[Scores]


def checked_rows(X: Any, y: Any, model: nn.Module, names: tuple[str, str] = ("X", "y")) -> Rows:
    codes = checked_codes(names[0], X, model)
    return Rows(codes, checked_labels(names[1], y, len(codes)))


def checked_plan(
    model: nn.Module,
    epochs: Any,
    seed: Any,
    batch_size: Any,
    validation: Any,
    progress: bool | None,
    name: str,
    patience: Any = None,
) -> Plan:
    if validation is not None:
        if not isinstance(validation, tuple) or len(validation) != 2:
            raise _check.wrong_kind("validation", validation, "None or a pair (X, y)", "give codes and labels")
        validation = checked_rows(*validation, model, ("validation X", "validation y"))
    return Plan(
        _check.count("epochs", epochs, mend="give the number of passes over the rows, for example epochs=10"),
        _check.seed(seed),
        _check.count("batch_size", batch_size, least=2, mend="give for example batch_size=1024"),
        validation,
        None
        if validation is None or patience is None
        else _check.count("patience", patience, mend="give for example 2"),
        progress,
        name,
    )


def optimize(
    model: nn.Module,
    rows: Rows,
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Plan,
    before_epoch: Callable[[int], object] = lambda epoch: None,
    history: History | None = None,
) -> History:
    """Minimize the mean log loss, one step of every optimizer a batch.

    Interrupted, model and `history` are as after the last epoch that was finished.
    """
    history = History([], [], []) if history is None else history
    device, count = device_of(model), len(rows.labels)
    there = Rows(rows.codes.to(device), rows.labels.to(device))
    progress = Progress(plan.progress, plan.epochs * -(-count // plan.batch_size), plan.name)
    last = copy.deepcopy(model.state_dict())
    best: dict[str, Any] = {}
    best_auc, since = -math.inf, 0
    training, finished = model.training, 0
    try:
        with alone(plan.seed):  # one thread, and dropout by the seed
            for epoch in range(plan.epochs):
                model.train()
                before_epoch(epoch)
                history.loss.append(_pass(model, there, optimizers, plan, epoch, progress))
                history.gate.append(np.concatenate([np.zeros(0), *(g.detach().double().cpu() for g in gates(model))]))
                if plan.validation is not None:
                    history.validation.append(scores(logits(model, plan.validation.codes), plan.validation.labels))
                last, finished = copy.deepcopy(model.state_dict()), epoch + 1
                if plan.patience is not None:
                    auc = history.validation[-1].auc
                    since = 0 if auc > best_auc else since + 1
                    if since == 0:
                        best_auc, best = auc, last
                    if since >= plan.patience:
                        break
    except KeyboardInterrupt:
        model.load_state_dict(last)
        for part in history:
            del part[finished:]
        raise
    finally:
        progress.close()
        model.train(training)
    if best:
        model.load_state_dict(best)
    return history


def _pass(
    model: nn.Module,
    rows: Rows,
    optimizers: Sequence[torch.optim.Optimizer],
    plan: Plan,
    epoch: int,
    progress: Progress,
) -> float:
    """One epoch; its mean loss."""
    codes, labels = rows
    total = torch.zeros((), dtype=torch.float64)
    for batch in _two_or_more(list(batches(len(labels), plan.batch_size, plan.seed, epoch))):
        batch = batch.to(labels.device)
        outputs = checked_logits(model(codes[batch]), len(batch))
        loss = functional.binary_cross_entropy_with_logits(outputs, labels[batch])
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        total += len(batch) * loss.detach().cpu().double()
        progress.add(1)
    mean = float(total) / len(labels)
    if not math.isfinite(mean):
        raise ArithmeticError(
            f"The loss is {mean} in epoch {epoch + 1}: the learning rates are too large; lower lr or gate_lr."
        )
    return mean


def _two_or_more(parts: list[Tensor]) -> list[Tensor]:
    """Batches of two rows or more, as normalization needs them."""
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts

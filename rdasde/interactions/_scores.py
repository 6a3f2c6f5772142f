"""Probabilities that a model gives, and how good they are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rdasde import _check
from rdasde._check import Floats
from rdasde.pruning._models import checked_module

from ._given import array_of

_ROWS = 8192  # at a time


class Scores(NamedTuple):
    """How good probabilities are: the area under the ROC curve, and the mean log loss in nats.

    Examples
    --------
    >>> from rdasde.interactions import Scores
    >>> Scores(auc=0.75, log_loss=0.5).auc
    0.75
    """

    auc: float
    log_loss: float


def predict(model: nn.Module, X: Any) -> Floats:
    """Probabilities of the second class, in evaluation mode; the model's mode is left as it was.

    Parameters
    ----------
    model : torch.nn.Module
        From codes (n, fields) to logits (n,).
    X : array_like of int of shape (n, fields)
        Codes.

    Returns
    -------
    ndarray of shape (n,)

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> from rdasde.interactions import FM, predict
    >>> model = FM([10, 20, 5], dim=4, seed=0)
    >>> predict(model, [[0, 3, 4], [9, 19, 0]]).round(2)
    array([0.5, 0.5])
    """
    return np.asarray(torch.sigmoid(logits(model, checked_codes("X", X, model)).double()).numpy())


def evaluate(model: nn.Module, X: Any, y: Any) -> Scores:
    """Area under the ROC curve, ties counted half, and mean log loss of a model.

    Parameters
    ----------
    model, X
        As in `predict`.
    y : array_like of shape (n,)
        Labels, 0 or 1, of both kinds.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> from rdasde.interactions import FM, evaluate, planted
    >>> data = planted(500, fields=4, pairs=2, seed=0)
    >>> scores = evaluate(FM(data.cardinalities, dim=4, seed=0), data.X, data.y)  # not trained
    >>> round(scores.auc, 1), round(scores.log_loss, 2)
    (0.5, 0.69)
    """
    codes = checked_codes("X", X, model)
    labels = checked_labels("y", y, len(codes))
    return scores(logits(model, codes), labels)


def scores(values: Tensor, labels: Tensor) -> Scores:
    """Of logits (n,) on labels (n,)."""
    from scipy.stats import rankdata

    loss = functional.binary_cross_entropy_with_logits(values.double(), labels.double()).item()
    ones = labels.numpy() > 0.5
    positive, negative = int(ones.sum()), int((~ones).sum())
    above = float(rankdata(values.numpy())[ones].sum()) - positive * (positive + 1) / 2
    return Scores(above / (positive * negative), loss)


@torch.no_grad()
def logits(model: nn.Module, codes: Tensor) -> Tensor:
    """Logits (n,) of checked codes, on the CPU."""
    training, device = model.training, device_of(model)
    model.eval()
    try:
        return torch.cat([checked_logits(model(rows.to(device)), len(rows)).cpu() for rows in codes.split(_ROWS)])
    finally:
        model.train(training)


def checked_logits(outputs: Any, rows: int) -> Tensor:
    """What a model returned for so many rows: one number for each."""
    if not isinstance(outputs, Tensor) or outputs.shape != (rows,):
        what = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise _check.bad(
            "model",
            f"a module that returns {what} for {rows} rows",
            f"one that returns logits of shape ({rows},)",
            "squeeze its last axis",
        )
    return outputs


def device_of(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def checked_codes(argument: str, X: Any, model: nn.Module) -> Tensor:
    """Codes as an integer tensor (n, fields), within the cardinalities of the model where it has any."""
    checked_module(model)
    cardinalities = getattr(model, "cardinalities", None)
    fields = "fields" if cardinalities is None else str(len(cardinalities))
    accepted, mend = f"integer codes of shape (n, {fields})", "encode the table by a Codebook"
    raw = array_of(argument, X, accepted, mend)
    if raw.dtype.kind not in "iu":
        raise _check.wrong_kind(argument, X, accepted, mend)
    if raw.ndim != 2 or not len(raw) or (cardinalities is not None and raw.shape[1] != len(cardinalities)):
        raise _check.bad(argument, f"an array of shape {raw.shape}", accepted, mend)
    lowest, highest = raw.min(axis=0), raw.max(axis=0)
    for field in range(raw.shape[1]):
        size = None if cardinalities is None else cardinalities[field]
        if lowest[field] < 0 or (size is not None and highest[field] >= size):
            wrong = lowest[field] if lowest[field] < 0 else highest[field]
            raise _check.bad(
                argument,
                f"one with code {wrong} in field {field}",
                f"codes 0 to {size - 1} there" if size is not None else "codes >= 0",
                "encode new rows by the Codebook of the old ones, which has a code for what it has not seen",
            )
    return torch.from_numpy(np.ascontiguousarray(raw, dtype=np.int64))


def checked_labels(argument: str, y: Any, rows: int) -> Tensor:
    """Labels (n,) of two classes, 0 and 1, as float32."""
    accepted = f"{rows} labels, 0 or 1, of both kinds"
    mend = "code the two classes as 0 and 1, for example by Codebook.outcome"
    raw = array_of(argument, y, accepted, mend)
    if raw.shape != (rows,):
        raise _check.bad(argument, f"an array of shape {raw.shape}", accepted, mend)
    if raw.dtype.kind not in "iufb":
        raise _check.wrong_kind(argument, y, accepted, mend)
    kinds = np.unique(raw)
    if kinds.tolist() != [0, 1]:
        got = ", ".join(f"{kind:g}" for kind in kinds[:4]) + (", ..." if len(kinds) > 4 else "")
        raise _check.bad(argument, f"an array of {got}", accepted, mend)
    return torch.from_numpy(raw.astype(np.float32))

"""AutoFIS: search with gates that close, then train what is left."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from rdasde import _check
from rdasde._errors import note_partial
from rdasde.pruning import GRDA

from ._layer import checked_members, gated_layer, gates, weights
from ._training import History, checked_plan, checked_rows, optimize

if TYPE_CHECKING:
    import xarray as xr

Model = TypeVar("Model", bound=nn.Module)
_LR = "give the learning rate, for example 1e-3"
_MOST = 1e30  # of what single precision goes on to reckon with


def search(
    model: nn.Module,
    X: Any,
    y: Any,
    *,
    c: float = 5e-4,
    mu: float = 0.8,
    epochs: int = 10,
    warmup: int = 1,
    seed: int | None = None,
    lr: float = 1e-3,
    gate_lr: float = 1.0,
    weight_decay: float = 0.0,
    batch_size: int = 1024,
    validation: tuple[Any, Any] | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Train a model on rows of codes, its weights by Adam and its gates by gRDA, which closes those of no use.

    The model is trained in place. How many gates close depends on ``c gate_lr^(mu + 1/2) n^mu``, the threshold after n
    steps: more with `c`, and more with longer training or smaller batches.

    Parameters
    ----------
    model : torch.nn.Module
        `FM`, `DeepFM`, or one of your own with one gated layer of `Interactions`, from codes (n, fields) to logits
        (n,).
    X : array_like of int of shape (n, fields)
        Codes.
    y : array_like of shape (n,)
        Labels, 0 or 1.
    c, mu : float
        Strength and exponent of the threshold, as in `rdasde.pruning.GRDA`.
    epochs : int
        Passes over the rows.
    warmup : int
        Passes before the threshold begins to grow, with `c` at 0: embeddings are then no longer noise. Without any, a
        large `c` closes gates that matter before they have shown it. 0 is what the paper does.
    seed : int, optional
        What the order of rows, and dropout, are drawn from; without one, a fresh one.
    lr, gate_lr : float
        Learning rates of Adam and of gRDA.
    weight_decay : float
        Of Adam: added to the gradient as ``weight_decay * w``.
    batch_size : int
        Rows a step.
    validation : tuple of array_like, optional
        Codes and labels to evaluate on after every epoch.
    progress : bool, optional
        A bar on standard error; None shows one where somebody would see it.

    Returns
    -------
    xarray.Dataset
        By ``epoch``: ``loss`` (mean log loss as batches were met), ``kept`` (open gates),
        ``gate (epoch, interaction)``, and with `validation` ``auc`` and ``log_loss``. ``attrs["seed"]``.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, or a model without gates, before anything is trained.
    ArithmeticError
        If the loss stops being finite.
    KeyboardInterrupt
        Its ``partial`` holds the epochs that were finished; the model is as after the last of them.

    References
    ----------
    Liu et al., "AutoFIS", KDD 2020: the defaults of `c`, `mu`, `lr` and `gate_lr`.

    Examples
    --------
    >>> from rdasde.interactions import FM, planted, retrain, search, selected
    >>> data = planted(2000, fields=4, pairs=2, strength=1.0, seed=0)
    >>> model = FM(data.cardinalities, dim=4, seed=0)
    >>> history = search(model, data.X, data.y, c=1e-3, epochs=2, seed=0)
    >>> history["kept"].dims
    ('epoch',)
    >>> smaller = retrain(model, data.X, data.y, epochs=2, seed=0)
    """
    check_trainable(model)
    c = _check.number("c", c, least=0.0, most=_MOST, mend="give the strength, for example c=5e-4")
    mu = _check.number("mu", mu, above=0.0, most=1.0, mend="give the exponent, for example mu=0.8")
    gate_lr = _check.number("gate_lr", gate_lr, above=0.0, most=_MOST, mend="give for example gate_lr=1.0")
    lr, weight_decay = _adam_of(lr, weight_decay)
    rows = checked_rows(X, y, model)
    plan = checked_plan(model, epochs, seed, batch_size, validation, progress, "search")
    warmup = _check.count("warmup", warmup, least=0, mend="give for example warmup=1")
    grda = GRDA(gates(model), gate_lr, c, mu)

    def strengthen(epoch: int) -> None:
        for group in grda.param_groups:
            group["c"] = c if epoch >= warmup else 0.0

    optimizers = [torch.optim.Adam(weights(model), lr, weight_decay=weight_decay), grda]
    history = History([], [], [])
    try:
        optimize(model, rows, optimizers, plan, strengthen, history)
    except KeyboardInterrupt as interrupt:
        if history.loss:
            what = f"the {len(history.loss)} epochs that were finished, after the last of which model is"
            note_partial(interrupt, dataset(history, plan.seed), what)
        raise
    return dataset(history, plan.seed)


def retrain(
    model: Model,
    X: Any,
    y: Any,
    *,
    epochs: int = 10,
    seed: int | None = None,
    interactions: Sequence[Sequence[int]] | None = None,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    batch_size: int = 1024,
    validation: tuple[Any, Any] | None = None,
    patience: int = 2,
    progress: bool | None = None,
) -> Model:
    """Train a smaller model from new weights, with the interactions whose gates are open and no others.

    Its gates are weights like all others now: Adam trains them, and none closes.

    Parameters
    ----------
    model : torch.nn.Module
        From `search`; it stays as it is. A model of your own is copied, and every module's ``reset_parameters`` called.
    X, y, epochs, seed, lr, weight_decay, batch_size, progress
        As in `search`; first weights come from the `seed`, too.
    interactions : sequence of tuple of int, optional
        Which ones to keep instead, by their fields; all of them among the layer's.
    validation : tuple of array_like, optional
        Codes and labels. Training stops once the area under the ROC curve there has not risen for `patience` epochs,
        and the weights are those of the best epoch.
    patience : int
        In epochs.

    Returns
    -------
    torch.nn.Module
        Of the class of `model`, in evaluation mode.

    Raises
    ------
    ValueError, TypeError
        For bad arguments, a model without gates, or one that has none open.
    ArithmeticError
        If the loss stops being finite.
    KeyboardInterrupt
        Its ``partial`` is a dictionary of the ``model`` after the last epoch that was finished, and of its ``history``,
        a Dataset as from `search`.

    Examples
    --------
    >>> from rdasde.interactions import FM, planted, retrain, selected
    >>> data = planted(500, fields=4, pairs=2, seed=0)
    >>> model = FM(data.cardinalities, dim=4, seed=0)
    >>> smaller = retrain(model, data.X, data.y, interactions=[(0, 1)], epochs=1, seed=0)
    >>> len(selected(model)), len(selected(smaller))
    (6, 1)
    """
    check_trainable(model)
    lr, weight_decay = _adam_of(lr, weight_decay)
    rows = checked_rows(X, y, model)
    plan = checked_plan(model, epochs, seed, batch_size, validation, progress, "retrain", patience)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        small = smaller(model, interactions)
    history = History([], [], [])
    try:
        optimize(
            small, rows, [torch.optim.Adam(small.parameters(), lr, weight_decay=weight_decay)], plan, history=history
        )
    except KeyboardInterrupt as interrupt:
        if history.loss:
            kept = {"model": small.eval(), "history": dataset(history, plan.seed)}
            note_partial(interrupt, kept, f"model after {len(history.loss)} epochs, and its history by epoch")
        raise
    return small.eval()


@torch.no_grad()
def smaller(model: Model, interactions: Sequence[Sequence[int]] | None) -> Model:
    """A copy with fewer interactions and new weights."""
    result = copy.deepcopy(model)
    layer = gated_layer(result)
    assert layer.gate is not None
    if interactions is not None:
        kept = checked_members(interactions, layer.fields)
        missing = [group for group in kept if group not in layer.interactions]
        if missing:
            raise _check.bad(
                "interactions",
                f"one with {missing[0]}",
                "among those of the model",
                "leave it out, or build a new model",
            )
        layer.gate.copy_(torch.tensor([group in kept for group in layer.interactions]))
    if not torch.count_nonzero(layer.gate):
        raise _check.bad(
            "model", "one whose gates are all closed", "one with an open gate", "search anew with a smaller c"
        )
    _prune(result)
    for module in reversed(list(result.modules())):  # a whole has the last word on its parts
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        elif list(module.parameters(recurse=False)):
            raise _check.bad(
                "model",
                f"one with a {type(module).__name__} whose weights cannot be drawn anew",
                "of modules with reset_parameters",
                "give that class a method reset_parameters()",
            )
    return result


def _prune(model: nn.Module) -> None:
    """Let the outermost module that can do so leave out what is closed."""
    prune = getattr(model, "prune", None)
    if callable(prune):
        prune()
        return
    for child in model.children():
        _prune(child)


def dataset(history: History, seed: int) -> xr.Dataset:
    """What happened, by epoch."""
    import xarray as xr

    gate = np.array(history.gate)
    fields: dict[str, Any] = {
        "loss": ("epoch", history.loss),
        "kept": ("epoch", np.count_nonzero(gate, axis=1)),
        "gate": (("epoch", "interaction"), gate),
    }
    for name in ("auc", "log_loss") if history.validation else ():
        fields[name] = ("epoch", [getattr(scored, name) for scored in history.validation])
    return xr.Dataset(fields, {"epoch": 1 + np.arange(len(history.loss))}, {"seed": seed})


def check_trainable(model: nn.Module) -> None:
    """ValueError of a model whose gates no optimizer could move."""
    gate = gated_layer(model).gate
    assert gate is not None
    if not gate.requires_grad:
        mend = "call model.requires_grad_()"
        raise _check.bad("model", "one whose gates are frozen", "one whose gates need a gradient", mend)


def _adam_of(lr: float, weight_decay: float) -> tuple[float, float]:
    """The options of Adam: step size and decay."""
    lr = _check.number("lr", lr, above=0.0, most=_MOST, mend=_LR)
    mend = "give for example 1e-5, or 0"
    return lr, _check.number("weight_decay", weight_decay, least=0.0, most=_MOST, mend=mend)

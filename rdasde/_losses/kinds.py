"""A loss from what a result says of it: a name that is looked up, and numbers for its constructor."""

from __future__ import annotations

import importlib
from typing import Any

from rdasde._losses.base import Loss

KINDS = {  # by class: the module of this folder that defines it, and what its constructor takes
    "SquaredLoss": ("squared", ()),
    "LogisticLoss": ("logistic", ()),
    "PoissonLoss": ("poisson", ()),
    "HuberLoss": ("huber", ("delta",)),
    "QuantileLoss": ("quantile", ("level", "bandwidth")),
    "SquaredHingeLoss": ("squared_hinge", ()),
}


def loss_settings(loss: Loss) -> dict[str, Any] | None:
    """Its name and numbers, in JSON's types; None for one of the user's own."""
    name = type(loss).__name__
    module, arguments = KINDS.get(name, ("", ()))
    if type(loss).__module__ != f"{__package__}.{module}":
        return None
    return {"kind": name} | {argument: getattr(loss, argument) for argument in arguments}


def loss_from(settings: dict[str, Any]) -> Loss:
    """The loss with these settings; ValueError where there is none of that name."""
    name = settings.get("kind")
    if name not in KINDS:
        raise ValueError("its loss is of a kind that this version does not know")
    module, arguments = KINDS[name]
    loss: Loss = getattr(importlib.import_module(f"{__package__}.{module}"), name)(*(settings[k] for k in arguments))
    return loss

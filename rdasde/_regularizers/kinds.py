"""A regularizer from what a result says of it."""

from __future__ import annotations

import importlib
import json

from rdasde._regularizers import KINDS
from rdasde._regularizers.base import Regularizer


def from_json(text: str) -> Regularizer:
    """The regularizer written by `Regularizer.to_json`.

    Of what stands there a name is looked up and numbers are handed to the constructor: nothing is executed.

    Raises
    ------
    ValueError
        If it is of a kind that is not known here: a class of the user's own that this process has not defined.
    """
    settings = json.loads(text)
    name = settings.pop("kind")
    if name not in Regularizer.kinds and name in KINDS:
        importlib.import_module(f"{__package__}.{KINDS[name]}")
    kind = Regularizer.kinds.get(name)
    if kind is None:
        raise ValueError(f"The regularizer is of kind {name!r}, which is not known here: pass regularizer=.")
    return kind.from_settings(settings)

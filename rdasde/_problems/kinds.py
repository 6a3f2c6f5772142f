"""A problem as a result describes it, and the problem again: arguments of constructors, arrays packed in text.

Of what stands there a name is looked up and numbers are handed to a constructor: nothing is executed.
"""

from __future__ import annotations

import base64
import importlib
import zlib
from typing import Any, NamedTuple

import numpy as np

from rdasde._losses.base import Loss
from rdasde._losses.kinds import loss_from, loss_settings
from rdasde._problems.base import Problem
from rdasde._problems.covariance import AR1, Covariance, Dense, Diagonal
from rdasde._problems.spiked import Spiked

_MOST = 2**22  # bytes of arrays that a result carries


class Kind(NamedTuple):
    """How a class is made again."""

    module: str
    constructor: str  # a class of the module, or a static method of one
    arguments: dict[str, str]  # to the attribute that holds each


_DRAWN = {"replacement": "has_independent_draws"}
KINDS = {  # by the class of the object; what is not here is a class of the user's own
    "LinearRegression": Kind(
        "linear_regression",
        "LinearRegression",
        {"coef": "coef", "covariance": "covariance", "noise_std": "noise_std"},
    ),
    "_RowRegression": Kind("linear_regression", "LinearRegression.from_data", {"X": "rows", "y": "response"} | _DRAWN),
    "LogisticRegression": Kind(
        "logistic_regression", "LogisticRegression", {"coef": "coef", "covariance": "covariance"}
    ),
    "_RowLogistic": Kind("logistic_regression", "LogisticRegression.from_data", {"X": "rows", "y": "labels"} | _DRAWN),
    "OnlinePCA": Kind("online_pca", "OnlinePCA", {"covariance": "covariance", "variant": "variant"}),
    "_RowPCA": Kind("online_pca", "OnlinePCA.from_data", {"Z": "rows", "variant": "variant"} | _DRAWN),
    "LinearModel": Kind(
        "linear_model",
        "LinearModel",
        {"loss": "loss", "coef": "coef", "covariance": "covariance", "noise": "noise", "noise_std": "noise_std"},
    ),
    "RowModel": Kind("linear_model", "LinearModel.from_data", {"loss": "loss", "X": "rows", "y": "response"} | _DRAWN),
    "SoftmaxRegression": Kind(
        "softmax_regression", "SoftmaxRegression.from_data", {"X": "rows", "y": "labels"} | _DRAWN
    ),
    "MLP": Kind("mlp", "MLP", {"X": "rows", "y": "labels", "hidden": "hidden", "rate": "_rate"}),
}


def settings_of(problem: Problem) -> dict[str, Any]:
    """What makes it again, in JSON's types; or, under ``"reason"``, why a result cannot carry that."""
    kind = KINDS.get(type(problem).__name__)
    if kind is None or type(problem).__module__ != f"{__package__}.{kind.module}":
        return {"reason": "it has functions of your own, which a result does not carry"}
    arguments = {name: getattr(problem, attribute) for name, attribute in kind.arguments.items()}
    if not all(map(_is_plain, arguments.values())):
        return {"reason": "it has a loss or noise of your own, which a result does not carry"}
    size = sum(value.nbytes for value in arguments.values() if isinstance(value, np.ndarray))
    if size > _MOST:
        return {"reason": f"its rows take {size / 2**20:.0f} MiB, and a result carries {_MOST / 2**20:.0f} at most"}
    return {"kind": type(problem).__name__, **{name: _packed(value) for name, value in arguments.items()}}


def from_settings(settings: dict[str, Any]) -> Problem:
    """The problem with these settings; ValueError, the reason, where there is none."""
    settings = dict(settings)
    if "reason" in settings:
        raise ValueError(str(settings["reason"]))
    kind = KINDS.get(str(settings.pop("kind", "")))
    if kind is None:
        raise ValueError("it is of a kind that this version does not know")
    maker: Any = importlib.import_module(f"{__package__}.{kind.module}")
    for name in kind.constructor.split("."):
        maker = getattr(maker, name)
    problem: Problem = maker(**{name: _unpacked(settings[name]) for name in kind.arguments if name in settings})
    return problem


def _is_plain(value: Any) -> bool:
    """Whether it is told by a name and numbers."""
    if isinstance(value, Loss):
        return loss_settings(value) is not None
    return value is None or isinstance(value, np.ndarray | Covariance | int | float | str)


def _packed(value: Any) -> Any:
    if isinstance(value, Loss):
        return {"loss": loss_settings(value)}
    if isinstance(value, np.ndarray):
        data = base64.b85encode(zlib.compress(np.ascontiguousarray(value).tobytes(), 1)).decode()
        return {"array": data, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, Covariance):
        return {"covariance": type(value).__name__, **{name: _packed(part) for name, part in _parts(value).items()}}
    return value


def _parts(covariance: Covariance) -> dict[str, Any]:
    """What its constructor takes."""
    if isinstance(covariance, AR1):
        return {"d": covariance.dimension, "rho": covariance.parameters.rho}
    if isinstance(covariance, Diagonal):
        return {"variance": covariance.parameters.variance}
    if isinstance(covariance, Spiked):
        return {"spikes": covariance.parameters.spikes, "directions": covariance.parameters.directions}
    return {"matrix": covariance.dense()}


_COVARIANCES: dict[str, type[Covariance]] = {kind.__name__: kind for kind in (AR1, Dense, Diagonal, Spiked)}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "loss" in value:
        return loss_from(value["loss"])
    if "covariance" in value:
        parts = {name: _unpacked(part) for name, part in value.items() if name != "covariance"}
        covariance = _COVARIANCES[value["covariance"]](**parts)
        if isinstance(covariance, Spiked):  # made orthonormal before: once more would turn their last bits
            covariance.parameters = covariance.parameters._replace(directions=parts["directions"])
        return covariance
    data = zlib.decompress(base64.b85decode(value["array"]))
    return np.frombuffer(data, dtype=np.dtype(value["dtype"])).reshape(value["shape"]).copy()

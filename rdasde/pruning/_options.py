"""What GRDA takes: options of parameter groups, parameters, and saved states."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rdasde import _check

from ._mirror import REGULARIZERS

_OF_TENSORS = ("accumulator", "momentum_buffer")  # what is kept for each entry of a parameter
_KEPT = {"step", "threshold", *_OF_TENSORS}
_PARAMS, _MODEL = "parameters, or groups of them", "pass model.parameters(), or parameter_groups(model)"
_STATE = "what state_dict() of a GRDA or SGD with these parameters returned"
_NUMBERS = ("lr", "c", "mu", "momentum", "weight_decay", "l2")
_MOST = 1e30  # of what single precision goes on to reckon with
_ANEW = "build the optimizer as the one that was saved, or start anew without a state"


def check_options(options: dict[str, Any]) -> None:
    """TypeError or ValueError where an option of a parameter group is none."""
    _check_numbers(options)
    _check.choice("regularizer", options["regularizer"], REGULARIZERS)
    _check.count("axis", options["axis"], least=0, mend="give 0 for filters and rows, 1 for input channels")
    _check.flag("maximize", options["maximize"])
    _check.flag("capturable", options["capturable"])
    for name in ("foreach", "fused"):
        if options[name] is not None and not isinstance(options[name], bool):
            raise _check.wrong_kind(name, options[name], "None, True or False", "leave it out for the faster")
    if options["fused"] and options["foreach"]:
        raise _check.bad("fused", True, "False or None where foreach is True", "ask for one of the two")
    _check_target(options)


def _check_numbers(options: dict[str, Any]) -> None:
    lr, mend = options["lr"], "give the learning rate, for example lr=0.1"
    if isinstance(lr, Tensor) and lr.numel() == 1:  # it stays one, which schedulers may write into
        _size("lr", 0.0 if lr.is_meta else lr.item(), mend)
    else:
        options["lr"] = _size("lr", lr, mend)
    mend = "give the strength, for example c=5e-4; c=0 is SGD"
    options["c"] = _size("c", options["c"], mend)
    mend = "give the exponent, for example mu=0.51"
    options["mu"] = _check.number("mu", options["mu"], above=0.0, most=1.0, mend=mend)
    mend = "give for example momentum=0.9, or 0 for none"
    options["momentum"] = _check.number("momentum", options["momentum"], least=0.0, below=1.0, mend=mend)
    mend = "give for example 5e-4, or 0 for none"
    options["weight_decay"] = _size("weight_decay", options["weight_decay"], mend)
    mend = "give the weight of the squared norm, for example l2=0.1"
    options["l2"] = _size("l2", options["l2"], mend)


def _size(name: str, value: Any, mend: str) -> float:
    size = _check.number(name, value, least=0.0, mend=mend)
    if size > _MOST:
        raise _check.bad(name, size, f"at most {_MOST:g}, which single precision has room for", mend)
    return size


def _check_target(options: dict[str, Any]) -> None:
    target, total = options["sparsity_target"], options["total_steps"]
    if target is not None or total is not None:
        _check.count("total_steps", total, mend="give the number of steps over which sparsity_target is reached")
    if target is None:
        return
    _check.number("sparsity_target", target, above=0.0, below=1.0, mend="give a share, for example 0.97")
    if options["c"]:
        raise _check.bad("c", options["c"], "0 where sparsity_target is given", "leave c out: it is found on the way")
    if options["capturable"]:
        raise _check.bad(
            "capturable",
            True,
            "False where sparsity_target is given",
            "a captured graph cannot change c; give c itself",
        )


def checked_params(params: Any) -> list[Any]:
    """Parameters, parameters with their names, or groups of them."""
    if isinstance(params, Tensor | nn.Module | np.ndarray | str | bytes | dict) or not isinstance(params, Iterable):
        raise _check.wrong_kind("params", params, _PARAMS, _MODEL)
    given = list(params)
    if not given:
        raise _check.bad("params", "empty", _PARAMS, _MODEL)
    for item in given:
        if not isinstance(item, dict):
            _tensor(item)
    return given


def checked_group(group: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """A new parameter group, whose parameters and options are sound."""
    _check.instance("params", group, dict, _PARAMS, _MODEL)
    given = group.get("params")
    if isinstance(given, nn.Module | str | bytes | set) or not isinstance(given, Iterable):
        raise _check.wrong_kind("'params' of a group", given, "parameters in order", _MODEL)
    own = {**group, "params": [given] if isinstance(given, Tensor) else list(given)}
    if "c" in own:  # a strength of its own: not one to be found
        own.setdefault("sparsity_target", None)
    options = defaults | own
    check_options(options)
    own |= {name: options[name] for name in _NUMBERS if name in own}
    whole = options["regularizer"] == "group_lasso" and options["groups"] is None
    for item in own["params"]:
        _check_parameter(_tensor(item), options["axis"] if whole else None)
    return own


def _tensor(item: Any) -> Tensor:
    """A parameter, which may come with its name."""
    w = item[1] if isinstance(item, tuple) and len(item) == 2 else item
    if not isinstance(w, Tensor):
        raise _check.wrong_kind("params", item, _PARAMS, _MODEL)
    return w


def _check_parameter(w: Tensor, axis: int | None) -> None:
    """ValueError where a tensor cannot be trained; `axis`: along which it is to fall into groups, if any."""
    if is_lazy(w):
        raise _check.bad("params", "a tensor without a shape", "of a shape", "run the model once on a batch first")
    if not w.is_floating_point():
        raise _check.bad("params", f"a tensor of {w.dtype}", "of real floating-point numbers", "leave it out")
    if not (w.is_leaf or w.retains_grad):
        got = f"a tensor of shape {tuple(w.shape)} computed of others"
        raise _check.bad("params", got, _PARAMS, _MODEL)
    # of a vector every entry is a group, whatever the axis
    if axis is not None and w.dim() >= 2 and axis >= w.dim():
        mend = "put tensors of other shapes into a parameter group with an axis of their own"
        raise _check.bad("axis", f"{axis} for a parameter of shape {tuple(w.shape)}", f"below {w.dim()} there", mend)


def take_groups(group: dict[str, Any]) -> None:
    """Labels that fit the parameters, on their device."""
    labels, ws = group["groups"], group["params"]
    if group["regularizer"] != "group_lasso":
        accepted, mend = "'group_lasso' where groups is given", "leave regularizer to parameter_groups"
        raise _check.bad("regularizer", repr(group["regularizer"]), accepted, mend)
    accepted = "a list of whole numbers for each parameter, that broadcast to it, of its number of dimensions"
    mend = "take them from parameter_groups(model, structure='filters') of this model"
    if not isinstance(labels, list) or not all(isinstance(x, Tensor) and not x.is_floating_point() for x in labels):
        raise _check.wrong_kind("groups", labels, accepted, mend)
    if len(labels) != len(ws):
        raise _check.bad("groups", f"for {len(labels)} parameters (there are {len(ws)})", accepted, mend)
    for label, w in zip(labels, ws, strict=True):
        if label.dim() != w.dim() or any(n not in (1, m) for n, m in zip(label.shape, w.shape, strict=True)):
            got = f"of shape {tuple(label.shape)} for a parameter of shape {tuple(w.shape)}"
            raise _check.bad("groups", got, accepted, mend)
    group["groups"] = [label.to(w.device).long() for label, w in zip(labels, ws, strict=True)]
    group["group_count"] = max((int(label.max()) + 1 for label in labels if label.numel()), default=0)


def check_state(given: Any) -> None:
    """TypeError where a state could be none of any optimizer."""
    _check.instance("state_dict", given, dict, _STATE, _ANEW)


def check_saved(given: Any, own: list[dict[str, Any]]) -> None:
    """TypeError or ValueError where a saved state is not one of these parameters, by GRDA or SGD."""
    check_state(given)
    saved, states = given.get("param_groups"), given.get("state")
    if not isinstance(saved, list) or not isinstance(states, dict) or not all(_is_group(group) for group in saved):
        raise _check.bad("state_dict", "no state of an optimizer", _STATE, _ANEW)
    if not all("mu" in group or "nesterov" in group for group in saved) or any(
        not isinstance(state, dict) or not set(state) <= _KEPT for state in states.values()
    ):
        raise _check.bad("state_dict", "that of another optimizer", _STATE, _ANEW)
    counts, wanted = ([len(group["params"]) for group in groups] for groups in (saved, own))
    if counts != wanted:
        raise _check.bad("state_dict", f"that of {counts} parameters by group", f"of {wanted} of them", _ANEW)
    for group, there in zip(saved, own, strict=True):
        for key, w in zip(group["params"], there["params"], strict=True):
            for name in _OF_TENSORS:
                value = states.get(key, {}).get(name)
                if isinstance(value, Tensor) and value.shape != w.shape:
                    got = f"that of a parameter of shape {tuple(value.shape)} where there is one of {tuple(w.shape)}"
                    raise _check.bad("state_dict", got, _STATE, _ANEW)
    _check_labels(saved, own)


def _is_group(group: Any) -> bool:
    return isinstance(group, dict) and isinstance(group.get("params"), list)


def _check_labels(saved: list[dict[str, Any]], own: list[dict[str, Any]]) -> None:
    """ValueError where a saved state is of groups that do not fit these parameters."""
    for given, group in zip(saved, own, strict=True):
        labels, ws = given.get("groups"), group["params"]
        if labels is not None and [
            (x.dim(), *(n if n > 1 else m for n, m in zip(x.shape, w.shape, strict=False)))
            for x, w in zip(labels, ws, strict=False)
        ] != [(w.dim(), *w.shape) for w in ws]:
            raise _check.bad(
                "state_dict",
                "that of groups which do not fit these parameters",
                "one of the same model and structure",
                "build optimizer and parameter groups from the model that was saved",
            )

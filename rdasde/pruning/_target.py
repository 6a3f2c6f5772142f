"""Reaching a share of zeros: the strength that leads the threshold there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._mirror import group_norms, mirror

_UPDATES = 100  # times that the strength is estimated anew during training
_SAMPLE = 2**20  # entries looked at for it: a share is then known to less than 0.05 points


def adapt(group: dict[str, Any], states: Sequence[dict[str, Any]]) -> None:
    """Set the strength of a group so that its threshold grows by the power law into the one that meets the target.

    Let q be the threshold that would make the wanted share of accumulators zero now. It grows, because accumulators
    drift: extrapolating it by the power of n at which it grew over the last half of training, q (N / n)^rho, the
    strength is the c for which theta + c lr^{mu+1/2} (N^mu - n^mu) is that, at the present rate. It is found anew at
    intervals, so that errors of the extrapolation and changes of the rate are made up for. Between, theta does not
    pass q: more than the wanted share could not be taken back.
    """
    n, end = max(state["step"] for state in states), group["total_steps"]
    interval = max(1, end // _UPDATES)
    lr, mu = float(group["lr"]), group["mu"]
    if lr == 0.0 or n % interval:
        return
    theta = max(state["threshold"] for state in states)
    q = wanted_threshold(group, [state["accumulator"] for state in states])
    if not math.isfinite(q):
        return
    past = group["quantiles"] = [entry for entry in group.get("quantiles", []) if 2 * entry[0] >= n] + [(n, q)]
    before, q_before = past[0]
    rho = math.log(q / q_before) / math.log(n / before) if 0 < before < n and q_before > 0.0 and q > 0.0 else 0.0
    until = end if n < end else n + interval  # after the end, the share is held
    goal = q * (until / n) ** min(max(rho, 0.0), 1.0) if n else q
    soon = min(n + interval, until)
    scale = lr ** (mu + 0.5)
    group["c"] = max(
        0.0,
        min((goal - theta) / (scale * (until**mu - n**mu)), (q - theta) / (scale * (soon**mu - n**mu))),
    )


def settle(group: dict[str, Any], ws: Sequence[Tensor], states: Sequence[dict[str, Any]]) -> None:
    """After the last step, raise the threshold by what is still missing."""
    if max(state["step"] for state in states) != group["total_steps"]:
        return
    q = wanted_threshold(group, [state["accumulator"] for state in states], exact=True)
    for w, state in zip(ws, states, strict=True):
        if math.isfinite(q) and q > state["threshold"]:
            state["threshold"] = q
            mirror(state["accumulator"], q, group, w)


def wanted_threshold(group: dict[str, Any], accumulators: Sequence[Tensor], *, exact: bool = False) -> float:
    """The threshold at which the wanted share of the group's entries is zero; NaN of none."""
    share = group["sparsity_target"]
    accumulators = [a for a in accumulators if a.numel()]
    if not accumulators:
        return math.nan
    if group["regularizer"] == "group_lasso":
        values, sizes = [], []
        for a in accumulators:
            norms, size = group_norms(a, group["axis"])
            values.append(norms.flatten().double() / math.sqrt(size))
            sizes.append(torch.full_like(values[-1], size))
        value, order = torch.cat(values).sort()
        reached = torch.cat(sizes)[order].cumsum(0)
        nearest = int((reached / reached[-1] - share).abs().argmin())
        return float(value[nearest]) * (1.0 + 1e-6)  # not to miss the last group by a rounding
    total = sum(a.numel() for a in accumulators)
    stride = 1 if exact else -(-total // _SAMPLE)
    sample = torch.cat([a.flatten()[::stride] for a in accumulators]).abs_()
    k = min(max(round(share * sample.numel()), 1), sample.numel())
    return float(sample.kthvalue(k).values)

"""Reaching a share of zeros: the strength that leads the threshold there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._mirror import group_norms, joint_norms, joint_soft_threshold, mirror
from ._models import whole

_UPDATES = 100  # times that the strength is estimated anew during training
_SAMPLE = 2**20  # entries looked at for it: a share is then known to less than 0.05 points


def adapt(group: dict[str, Any], states: Sequence[dict[str, Any]], labels: Sequence[Tensor] | None = None) -> None:
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
    if lr <= 0.0 or n % interval:
        return
    theta = max(state["threshold"] for state in states)
    q = wanted_threshold(group, [state["accumulator"] for state in states], labels)
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


def settle(
    group: dict[str, Any],
    ws: Sequence[Tensor],
    states: Sequence[dict[str, Any]],
    labels: Sequence[Tensor] | None = None,
) -> None:
    """After the last step, raise the threshold by what is still missing."""
    if max(state["step"] for state in states) != group["total_steps"]:
        return
    accumulators = [state["accumulator"] for state in states]
    q = wanted_threshold(group, accumulators, labels, exact=True)
    for w, state in zip(ws, states, strict=True):
        if math.isfinite(q) and q > state["threshold"]:
            state["threshold"] = q
            if labels is None:
                mirror(state["accumulator"], q, group, w)
    if labels is not None and math.isfinite(q):
        joint_soft_threshold(accumulators, labels, group["group_count"], max(s["threshold"] for s in states), ws)


def wanted_threshold(
    group: dict[str, Any],
    accumulators: Sequence[Tensor],
    labels: Sequence[Tensor] | None = None,
    *,
    exact: bool = False,
) -> float:
    """The threshold at which the wanted share of the group's entries is zero; NaN of none."""
    share = group["sparsity_target"]
    if labels is not None:
        norms, entries = joint_norms(accumulators, labels, group["group_count"])
        there = entries > 0
        return _between((norms[there].double() / entries[there].double().sqrt()), entries[there].double(), share)
    accumulators = [a for a in accumulators if a.numel()]
    if not accumulators:
        return math.nan
    if group["regularizer"] == "group_lasso":
        values, sizes = [], []
        for a in accumulators:
            norms, size = group_norms(a, group["axis"])
            values.append(whole(norms).flatten().double() / math.sqrt(size))
            sizes.append(torch.full_like(values[-1], size))
        return _between(torch.cat(values), torch.cat(sizes), share)
    total = sum(a.numel() for a in accumulators)
    stride = 1 if exact else -(-total // _SAMPLE)
    sample = torch.cat([whole(a).flatten()[::stride] for a in accumulators]).abs_()
    k = min(max(round(share * sample.numel()), 1), sample.numel())
    return float(sample.kthvalue(k).values)


def _between(values: Tensor, sizes: Tensor, share: float) -> float:
    """The threshold that makes groups of these norms over root sizes zero, nearest to a share of all entries."""
    if not len(values):
        return math.nan
    value, order = values.sort()
    reached = sizes[order].cumsum(0)
    nearest = int((reached / reached[-1] - share).abs().argmin())
    return float(value[nearest]) * (1.0 + 1e-6)  # not to miss the last group by a rounding

"""Generalized regularized dual averaging as an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from rdasde import _check

from ._mirror import mirror


class GRDA(torch.optim.Optimizer):
    """Generalized regularized dual averaging, a drop-in for `torch.optim.SGD` that leaves weights exactly zero."""

    def __init__(self, params: Iterable[Any], lr: float, c: float = 0.0, mu: float = 0.51) -> None:
        lr = _check.number("lr", lr, least=0.0, mend="give the learning rate, for example lr=0.1")
        c = _check.number("c", c, least=0.0, mend="give the strength, for example c=5e-4; c=0 is SGD")
        mu = _check.number("mu", mu, above=0.0, most=1.0, mend="give the exponent, for example mu=0.51")
        super().__init__(params, {"lr": lr, "c": c, "mu": mu, "regularizer": "l1", "l2": 0.0, "axis": 0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step: ``A <- A - lr grad``, the threshold grows, ``w <- S(A, threshold)`` in place."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, c, mu = float(group["lr"]), group["c"], group["mu"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    dtype = torch.promote_types(w.dtype, torch.float32)
                    state["step"], state["threshold"] = 0, 0.0
                    state["accumulator"] = w.detach().to(dtype, copy=True, memory_format=torch.preserve_format)
                state["step"] += 1
                state["threshold"] += c * lr ** (mu + 0.5) * increment(state["step"], mu)
                a, threshold = state["accumulator"], state["threshold"]
                a.add_(w.grad, alpha=-lr)
                mirror(a, threshold, group, w)
        return loss


def increment(n: int, mu: float) -> float:
    """``n^mu - (n - 1)^mu``, without cancellation."""
    return 1.0 if n == 1 else -math.expm1(mu * math.log1p(-1.0 / n)) * float(n) ** mu

"""Where the theory meets a network: the steep part of gRDA minus SGD, and directional pruning in closed form.

With a fixed Hessian H, and while no sign changes, gRDA minus SGD after steps of rates ``gamma_n`` is
``-sum_n (g_n - g_(n-1)) exp(-H tau_n) sgn(w)``, ``tau_n`` the sum of the rates after step n and g the threshold
(theory, section 5, point 7). As time passes it tends to ``-g P_0 sgn(w)``. Both are compared with the network here: P_0
as what lies outside the top eigenspace, as the paper takes it, and the sum itself, the *flow*, in which directions of
curvature below one over the time are flat, and those above it are not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._check import Floats
from rdasde._directional import scores, shrunk
from rdasde.landscape._hessian import Eigenspace, FlatProjection
from rdasde.pruning._groups import weights_and_rest
from rdasde.pruning._update import increment

Product = Callable[[Tensor], Tensor]


class Clock:
    """When the threshold grew: the rate of each step, and the exponent mu."""

    def __init__(self, rates: Floats, mu: float) -> None:
        steps = np.arange(1, len(rates) + 1)
        self.growth = np.array([increment(int(n), mu) for n in steps]) * rates ** (mu + 0.5)
        self.left = np.cumsum(rates[::-1])[::-1] - rates  # time that is left after the step

    def threshold(self, c: float) -> float:
        """What it has grown to."""
        return float(c * self.growth.sum())

    def lasting(self, curvature: float) -> float:
        """The share of the shrinkage along a direction of that curvature that the loss has not undone."""
        decay = np.exp(-max(curvature, 0.0) * self.left)
        return float(self.growth @ decay / self.growth.sum())


def flow(multiply: Product, sign: Tensor, clock: Clock, products: int = 60) -> Tensor:
    """``sum_n (g_n - g_(n-1)) exp(-H tau_n) sgn(w) / g``, by Lanczos' method from ``sgn(w)``; negative curvature is 0.

    As many vectors as products are in memory.
    """
    size = min(products, len(sign))
    basis = sign.new_zeros(size, len(sign))
    small = np.zeros((size, size))
    length = sign.norm()
    basis[0] = sign / length
    for m in range(size):
        image = multiply(basis[m])
        column = basis[: m + 1] @ image
        image = image - basis[: m + 1].T @ column
        again = basis[: m + 1] @ image
        image = image - basis[: m + 1].T @ again
        small[: m + 1, m] = small[m, : m + 1] = (column + again).double().cpu().numpy()
        rest = float(image.norm())
        if m + 1 == size or rest <= 100.0 * torch.finfo(sign.dtype).eps * float(np.abs(small).max()):
            size = m + 1
            break
        basis[m + 1] = image / rest
    values, columns = np.linalg.eigh(small[:size, :size])
    weights = columns @ (np.array([clock.lasting(value) for value in values]) * columns[0])
    return torch.from_numpy(weights).to(sign) @ basis[:size] * length


def meeting(
    pruned: Tensor,
    plain: Tensor,
    strength: Tensor | float,
    space: Eigenspace,
    multiply: Product,
    clock: Clock,
    *,
    products: int = 60,
) -> dict[str, Any]:
    """How the theory describes gRDA minus SGD.

    Parameters
    ----------
    pruned, plain : Tensor of shape (d,)
        The weights of gRDA and of SGD, from the same start and batches.
    strength : Tensor of shape (d,), or number
        What gRDA's threshold has grown to.
    space : Eigenspace
        Of the Hessian at SGD's weights, on their device.
    multiply : callable
        Products with the Hessian that the flow is of: that of the loss in training.
    clock : Clock
        When the threshold grew.
    products : int
        With the Hessian, for the flow; as many vectors are in memory.

    Returns
    -------
    dict
        ``share`` of the difference in the eigenspace, and ``chance``, of a random direction; ``length`` of the
        difference; ``strength``, the largest threshold in units of SGD's median weight; ``zeros``; and for the closed
        forms "flow", "top" (P_0 what lies outside of the eigenspace) and "threshold" (the soft-threshold alone, which
        knows no landscape): their ``zeros``, ``agreement``, the share of weights on which it and gRDA agree about zero
        or not, ``overlap``, their common zeros among the zeros of either, and ``cosine`` between its difference to SGD
        and gRDA's.
    """
    difference = pruned - plain
    length = difference.norm()
    sign = plain.sign()
    strengths = torch.as_tensor(strength, device=plain.device, dtype=plain.dtype).expand_as(plain)
    largest = strengths.max()
    pull = sign * strengths / largest.clamp(min=torch.finfo(plain.dtype).tiny)  # 0 where nothing is thresholded
    flats = {
        "flow": flow(multiply, pull, clock, products),
        "top": FlatProjection(space.vectors)(pull),
        "threshold": pull,
    }
    return {
        "share": float((space.vectors @ difference).norm() / length),
        "chance": (len(space.vectors) / len(plain)) ** 0.5,
        "length": float(length),
        "strength": float(largest / plain.abs().median()),
        "zeros": float((pruned == 0).double().mean()),
        "eigenvalues": space.values.tolist(),
        "residual": float(space.residuals.max()),
        "forms": {
            name: _agreement(pruned, plain, shrunk(plain, sign, scores(sign, flat), largest))
            for name, flat in flats.items()
        },
    }


def _agreement(pruned: Tensor, plain: Tensor, form: Tensor) -> dict[str, float]:
    here, there = pruned == 0, form == 0
    either = int((here | there).sum())
    one, two = (pruned - plain).double(), (form - plain).double()
    return {
        "zeros": float(there.double().mean()),
        "agreement": float((here == there).double().mean()),
        "overlap": float((here & there).sum()) / either if either else 1.0,
        "cosine": float(one @ two / (one.norm() * two.norm())),
    }


def thresholds(module: nn.Module, optimizer: dict[str, Any], spare: bool) -> Tensor:
    """gRDA's threshold at each weight (d,), in the order of the parameters, from the state that a checkpoint holds.

    With `spare` the parameters stand there in the two groups of `parameter_groups`; else in their own order.
    """
    parameters = list(module.parameters())
    order = [parameter for group in weights_and_rest(module) for parameter in group] if spare else parameters
    numbers = [number for group in optimizer.get("param_groups", []) for number in group["params"]]
    if len(numbers) != len(order):
        got = f"one with the optimizer's state of {len(numbers)} parameters"
        raise _check.bad("GRDA.pt", got, f"one of all {len(order)}", "train it again")
    values = [float(optimizer["state"].get(number, {}).get("threshold", 0.0)) for number in numbers]
    of = {id(parameter): value for parameter, value in zip(order, values, strict=True)}
    return torch.cat([torch.full((parameter.numel(),), of[id(parameter)]) for parameter in parameters])

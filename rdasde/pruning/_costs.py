"""What a network costs: parameters, multiply-adds, bytes, milliseconds on this machine."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rdasde import _check
from rdasde._network import plain_attention

from ._models import checked_module
from ._traced import checked_example, run


class Cost(NamedTuple):
    """The cost of a network; what depends on its inputs is None where no example of them is known.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import cost
    >>> found = cost(torch.nn.Linear(20, 5), torch.zeros(1, 20))
    >>> found.parameters, found.bytes, found.multiply_adds, found.milliseconds > 0.0
    (105, 420, 100, True)
    """

    parameters: int
    bytes: int
    """Of parameters and buffers."""
    multiply_adds: int | None
    """For the example, in matrix products, convolutions and attention."""
    milliseconds: float | None
    """For the example, the median of several runs on this machine."""


def cost(model: nn.Module, example: Any, *, repeats: int = 15) -> Cost:
    """Count and time one run of a model on an example of its inputs, in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        It is not changed.
    example : Tensor, tuple of Tensor, or dict
        Its inputs, as arguments in order or by name; as many rows as you want to know the cost of.
    repeats : int
        Timed runs; the median counts.

    Returns
    -------
    Cost
        ``parameters``, ``bytes``, ``multiply_adds``, ``milliseconds``.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import cost
    >>> cost(torch.nn.Linear(20, 5), torch.zeros(1, 20)).multiply_adds
    100
    """
    checked_module(model, lazy=True)
    return costs([model], checked_example(model, example), _check.count("repeats", repeats))[0]


def costs(models: Sequence[nn.Module], example: Any, repeats: int = 15) -> list[Cost]:
    """Of several models in turn, so that what else the machine does meets all of them alike; 0 repeats: untimed."""
    modes = [{module: module.training for module in model.modules()} for model in models]
    try:
        for model in models:
            model.eval()
        products = [_multiply_adds(model, example) for model in models]
        times = [[_milliseconds(model, example) for model in models] for _ in range(repeats)]
    finally:
        for mode in modes:
            for module, training in mode.items():
                module.training = training
    medians = np.median(times, axis=0).tolist() if times else [None] * len(models)
    return [Cost(*size(model), *rest) for model, *rest in zip(models, products, medians, strict=True)]


def size(model: nn.Module) -> tuple[int, int]:
    """Parameters, and bytes of parameters and buffers."""
    parameters, buffers = list(model.parameters()), list(model.buffers())
    return sum(p.numel() for p in parameters), sum(t.numel() * t.element_size() for t in parameters + buffers)


def _multiply_adds(model: nn.Module, example: Any) -> int:
    # attention and recurrences as products that are counted, not as kernels of their own that are not
    with torch.enable_grad(), plain_attention(), _plain_recurrences(model), FlopCounterMode(display=False) as counter:
        run(model, example)
    return int(counter.get_total_flops()) // 2


@contextlib.contextmanager
def _plain_recurrences(model: nn.Module) -> Iterator[None]:
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield  # convolutions are faster by oneDNN
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what oneDNN has on other devices
        flags = torch.backends.mkldnn.flags(enabled=False)
        flags.__enter__()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flags.__exit__(None, None, None)


@torch.no_grad()
def _milliseconds(model: nn.Module, example: Any) -> float:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    begin = time.perf_counter()
    run(model, example)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - begin)

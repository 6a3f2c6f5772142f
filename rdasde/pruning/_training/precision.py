"""In what precision a network reckons; its weights and what the optimizer keeps stay float32."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from rdasde import _check

PRECISIONS = ("bf16", "tf32", "fp32")


def checked(precision: str, device: torch.device) -> str:
    """One of `PRECISIONS` that the device has."""
    _check.choice("precision", precision, PRECISIONS)
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise _check.bad(
            "precision", "tf32", "bf16 or fp32 on this device", "TF32 needs a GPU of NVIDIA's, from 2020 on"
        )
    if precision == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        raise _check.bad("precision", "bf16", "fp32 on this GPU", "bfloat16 needs one of NVIDIA's from 2020 on")
    return precision


@contextlib.contextmanager
def in_force(precision: str, device: torch.device) -> Iterator[None]:
    """PyTorch's switches for a precision, and cuDNN's choice of the fastest kernels; put back afterwards.

    ``fp32`` is float32 throughout: PyTorch, left alone, uses TF32 in convolutions.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    try:
        _switch("highest" if precision == "fp32" else "high", precision != "fp32", True)
        yield
    finally:
        _switch(*before)


def _switch(products: str, convolutions: bool, benchmark: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions ask for names that older ones do not know
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cudnn.benchmark = benchmark


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Within it, convolutions and products take bfloat16, where that is the precision."""
    if precision != "bf16":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)

"""Studies: figures that take minutes, each with a table of what it measured, by name.

Each module has ``study(pieces) -> Report``. What takes long in it is asked for as ``pieces(name, settings, compute)``,
so that an interrupted study goes on where it was.
"""

from __future__ import annotations

import importlib

from rdasde import _check, _drawing
from rdasde._studies._pieces import Pieces, Report

__all__ = ["STUDIES", "Pieces", "Report", "run"]

STUDIES: dict[str, str] = {
    "weak-error": "the weak error of the dual diffusion against the step size, and its order",
    "coverage": "how often bands hold, over designs, tunings, levels and step sizes",
    "calibration": "200 problems drawn at random: where the bands of closure and paths can be trusted, and what warns",
    "support-recovery": "exact support and normal active coordinates at once: gRDA, RDA, SGD and the batch lasso",
    "risk": "regret and excess risk of the averaged iterate against their bounds",
    "flat-directions": "gRDA minus SGD along flat directions, and directional pruning in closed form",
    "online-inference": "intervals from one pass over a stream: coverage, length, bias before and after the correction",
    "sparsity-accuracy": "LeNet on MNIST: gRDA against magnitude pruning and SGD, error against sparsity (torch)",
    "layerwise-sparsity": "the same runs: what gRDA and magnitude pruning leave in each layer (torch)",
    "valley": "LeNet on MNIST: the loss between SGD and gRDA, on a plane, a curve and a segment (torch)",
    "hessian-projection": "the same runs: the share of gRDA minus SGD in the Hessian's top eigenspace (torch)",
    "closed-form": "a network: gRDA's zeros and directional pruning in closed form as the step size falls (torch)",
    "filters": "LeNet and ResNet-8: whole filters out by gRDA and by magnitude, accuracy against time (torch, filters)",
    "valley-filters": "LeNet: the loss between SGD and gRDA of whole filters, and groups in closed form (torch)",
    "autofis": "which pairs of fields gRDA keeps in a factorization machine, planted and on MovieLens (torch)",
}


def run(name: str, pieces: Pieces) -> Report:
    """Run a study by its name."""
    _check.choice("name", name, tuple(STUDIES))
    module = importlib.import_module(f"rdasde._studies.{name.replace('-', '_')}")
    with _drawing.printed():
        report: Report = module.study(pieces)
    return report

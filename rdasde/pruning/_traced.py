"""The channels of any network, followed through the dependency graph of one run of it.

Torch-Pruning traces the run: which layers and operations there are, and what each reads. It takes what it does not know
for elementwise, and loses count of a concatenation that is flattened; so channels are followed here, by the shapes of
what is computed, through the operations that keep channels apart, and end, with the reason, at all others.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rdasde import _check

from ._channels import BATCH_NORM, WEIGHTED, Channels, Labels, Reading, Truths, bound, inputs, is_depthwise, outputs

# what keeps channels apart, by the beginning of the names that autograd gives it
_ALONE = (
    *("Relu", "LeakyRelu", "Prelu", "Elu", "Selu", "Celu", "Gelu", "Silu", "Mish", "Tanh", "Sigmoid", "Softplus"),
    *("Hardtanh", "Hardswish", "Hardsigmoid", "LogSigmoid", "Softshrink", "Hardshrink", "Threshold", "Clamp", "Abs"),
    *("Neg", "Exp", "Pow", "Sqrt", "Clone", "Alias", "ToCopy", "MaxPool", "AvgPool", "AdaptiveAvgPool", "Upsample"),
    *("AdaptiveMaxPool", "ConstantPad", "ReflectionPad", "ReplicationPad", "MulBackward0", "AddBackward0"),
    *("SubBackward0", "DivBackward0", "MaximumBackward0", "MinimumBackward0", "NativeDropout", "MkldnnMaxPool"),
)


class _Flow(NamedTuple):
    """The channels along one dimension of a tensor; `constant` where no input of the model moves them."""

    dimension: int  # from the end: -1 is the last
    channels: Labels
    constant: Truths


def traced(model: nn.Module, example: Any) -> Channels:
    """Run the network on an example, in evaluation mode, and follow its channels."""
    library = _library()
    calls = _calls(model, example)
    reasons = bound(model)
    for module, count in calls.items():
        if count > 1:
            reasons.setdefault(module, "it is used more than once")
    marks: list[Any] = []
    graph = library.DependencyGraph()

    def forward(module: nn.Module, inputs: Any) -> Any:
        return run(module, _marked(inputs, marks))

    wanted = [(p, p.requires_grad) for p in model.parameters()]
    try:
        with torch.enable_grad():
            for p, _ in wanted:
                p.requires_grad_(True)
            graph.build_dependency(
                model,
                example,
                forward_fn=forward,
                output_transform=lambda result: [part * 1.0 for part in tensors(result) if part.grad_fn is not None],
                verbose=False,
            )
    finally:
        for p, want in wanted:
            p.requires_grad_(want)
    return _Followed(model, graph.module2node, marks, reasons).channels.close()


def run(model: nn.Module, inputs: Any) -> Any:
    """The model on an example: a tensor, a sequence of arguments, or a dictionary of named ones."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


def _library() -> Any:
    try:
        return importlib.import_module("torch_pruning")
    except ImportError:
        raise ImportError(
            "Networks that are no plain chain of layers are followed by Torch-Pruning, which is not installed: "
            "pip install 'rdasde[filters]'."
        ) from None


def _calls(model: nn.Module, example: Any) -> dict[nn.Module, int]:
    """How often each module with parameters of its own runs."""
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, *_: Any) -> None:
        counts[module] = counts.get(module, 0) + 1

    owners = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    handles = [module.register_forward_hook(count) for module in owners]
    try:
        with torch.no_grad():
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return counts


def _marked(inputs: Any, marks: list[Any]) -> Any:
    """The same inputs as the outcome of an operation, so that the graph shows where they are used."""
    if isinstance(inputs, dict):
        return {name: _marked(value, marks) for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return tuple(_marked(value, marks) for value in inputs)
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        return inputs
    marked = inputs.detach().requires_grad_().view_as(inputs) * 1.0
    marks.append(marked.grad_fn)
    return marked


def tensors(value: Any) -> list[Tensor]:
    """The tensors in what a model takes or returns."""
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors(part)]


class _Followed:
    """The pass through the graph, from what the model returns back to its inputs."""

    def __init__(
        self, model: nn.Module, nodes: dict[Any, Any], marks: list[Any], reasons: dict[nn.Module, str]
    ) -> None:
        self.channels = Channels()
        self.names = {module: name for name, module in model.named_modules()}
        self.marks = {id(mark) for mark in marks}
        self.reasons = reasons
        self.flows: dict[int, _Flow | None] = {}
        for node in nodes.values():
            self.follow(node)

    def follow(self, last: Any) -> None:
        """All that a node needs, then the node; without recursion, for networks may be deep."""
        stack = [(last, False)]
        open_: set[int] = set()
        while stack:
            node, ready = stack.pop()
            if id(node) in self.flows:
                continue
            if ready:
                # what comes round again, as in a layer that is used twice, is not there yet
                self.flows[id(node)] = self.through(node, [self.flows.get(id(source)) for source in node.inputs])
            elif id(node) not in open_:
                open_.add(id(node))
                stack.append((node, True))
                stack += [(source, False) for source in node.inputs]

    def through(self, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        """What a node makes of what it reads."""
        module, kind = node.module, node.type.name
        if isinstance(module, nn.Module) and module in self.names:
            return self.layer(self.names[module], module, node, flows)
        if id(node.grad_fn) in self.marks:
            shape = _shape(node)
            dimension = -1 if len(shape) < 4 else 1 - len(shape)
            labels = self.channels.fresh(shape[dimension], "it is added to the model's inputs")
            return _Flow(dimension, labels, np.zeros(len(labels), dtype=bool))
        if kind == "OUTPUT":
            return self.ends(flows, "the model returns it")
        if kind == "CONCAT":
            return self.concatenation(node, flows)
        if kind == "RESHAPE":
            return self.reshaped(node, flows)
        name = _operation(node)
        if name.startswith("AsStridedBackward") and _stays_in_place(node):
            return flows[0]
        if name.startswith(("MeanBackward", "SumBackward")):
            return self.reduced(node, flows)
        if name.startswith(("AddmmBackward", "MmBackward")):  # within a Linear that is applied to more than rows
            within = [source for source in node.outputs if isinstance(source.module, nn.Linear)]
            known = [flow for flow in flows if flow is not None]
            if len(within) == len(node.outputs) == len(known) == 1:
                return known[0]
        elif name.startswith(_ALONE):
            return self.elementwise(node, flows)
        return self.ends(flows, f"{name.removesuffix('0').removesuffix('Backward')} is not followed")

    def ends(self, flows: Sequence[_Flow | None], reason: str) -> _Flow | None:
        """Channels that are read by what is not understood stay, and what it makes is not followed."""
        for flow in flows:
            if flow is not None:
                self.channels.bar(flow.channels, reason)
        return None

    def layer(self, name: str, layer: Any, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        known = [flow for flow in flows if flow is not None]
        flow = known[0] if len(known) == 1 else None
        reason = self.reasons.get(layer)
        kind, dims = type(layer), len(_shape(node))
        if kind in WEIGHTED and (kind is nn.Linear or dims == layer.weight.dim()):
            return self.weighted(name, layer, -1 if kind is nn.Linear else 1 - dims, flow, reason)
        if reason is None and flow is not None and flow.dimension == 1 - dims:
            if kind is nn.PReLU and layer.num_parameters == 1:
                return flow
            if kind is nn.PReLU and layer.num_parameters == len(flow.channels):
                self.channels.passes.append((name, layer, flow.channels))
                return flow
            # in a batch norm without running statistics, channels that are constant would not be
            if kind in BATCH_NORM and layer.running_mean is not None and layer.num_features == len(flow.channels):
                self.channels.passes.append((name, layer, flow.channels))
                return flow._replace(constant=flow.constant | _zeros(layer)) if layer.affine else flow
        return self.ends(flows, reason or f"{kind.__name__} is not followed")

    def weighted(self, name: str, layer: Any, dimension: int, flow: _Flow | None, reason: str | None) -> _Flow | None:
        """A layer of weights reads channels and makes new ones."""
        if flow is not None and (flow.dimension != dimension or inputs(layer) != len(flow.channels)):
            reason = reason or f"{name} does not read it channel by channel"
        if is_depthwise(layer):
            if flow is None or reason is not None:
                return self.ends([flow], reason or "its inputs are not followed")
            self.channels.passes.append((name, layer, flow.channels))
            return _Flow(dimension, flow.channels, flow.constant | _zeros(layer))
        if reason is not None:
            self.ends([flow], reason)
        elif flow is not None:
            self.channels.reads.append(Reading(name, layer, flow.channels, flow.constant))
        # its outputs may go where its inputs are not followed, if nothing keeps it from being cut
        bars = reason if layer in self.reasons else None
        labels = self.channels.fresh(outputs(layer), bars)
        self.channels.makes.append((name, layer, labels))
        return _Flow(dimension, labels, _zeros(layer))

    def concatenation(self, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        shape = _shape(node)
        along = _signed(getattr(node.grad_fn, "_saved_dim", None), len(shape))
        known = [flow for flow in flows if flow is not None]
        if along is not None and len(known) == len(flows) and known:
            first = known[0]
            if all(flow.dimension == along for flow in known):
                labels = np.concatenate([flow.channels for flow in known])
                if len(labels) == shape[along]:
                    return _Flow(along, labels, np.concatenate([flow.constant for flow in known]))
            elif all(flow.dimension == first.dimension for flow in known) and len(known) > 1:
                return self.tied(known)
        return self.ends(flows, "a concatenation is not followed")

    def reshaped(self, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        before = [int(n) for n in getattr(node.grad_fn, "_saved_self_sym_sizes", ())]
        after = _shape(node)
        flow = flows[0] if len(flows) == 1 else None
        if flow is not None and before:
            place = len(before) + flow.dimension
            if after[: place + 1] == before[: place + 1]:  # what comes after the channels is folded
                return flow._replace(dimension=place - len(after))
            if after[:place] == before[:place] and len(after) == place + 1:  # the channels are folded with it
                times = math.prod(before[place + 1 :])
                return _Flow(-1, flow.channels.repeat(times), flow.constant.repeat(times))
            if flow.dimension == -1 and after and after[-1] == before[-1]:  # what comes before them
                return flow
        return self.ends(flows, "a reshape is not followed")

    def reduced(self, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        sizes = getattr(node.grad_fn, "_saved_self_sym_sizes", None)
        saved = getattr(node.grad_fn, "_saved_dim", None)
        flow = flows[0] if len(flows) == 1 else None
        if flow is not None and sizes is not None and saved:
            gone = {_signed(d, len(sizes)) for d in saved}
            if flow.dimension not in gone:
                keeps = bool(getattr(node.grad_fn, "_saved_keepdim", len(_shape(node)) == len(sizes)))
                later = 0 if keeps else sum(1 for d in gone if d is not None and d > flow.dimension)
                return flow._replace(dimension=flow.dimension + later)
        return self.ends(flows, "a sum over its channels is not followed")

    def elementwise(self, node: Any, flows: list[_Flow | None]) -> _Flow | None:
        shape = _shape(node)
        known = [flow for flow in flows if flow is not None]
        for flow in known:
            if -flow.dimension > len(shape) or any(flow.dimension != other.dimension for other in known):
                return self.ends(flows, "operands of different layout are not followed")
        whole = [flow for flow in known if len(flow.channels) == shape[flow.dimension]]
        # one number for all channels, as of a spatial map, is no channel of theirs
        self.ends([flow for flow in known if len(flow.channels) != shape[flow.dimension]], "it is spread over others")
        if not whole or len(known) != len(flows):
            return self.ends(flows, "it is added to, or multiplied by, what is not followed")
        flow = self.tied(whole)
        moved = len(whole) < len(known)
        return flow._replace(constant=np.zeros_like(flow.constant)) if moved else flow

    def tied(self, flows: list[_Flow]) -> _Flow:
        first = flows[0]
        constant = first.constant
        for flow in flows[1:]:
            self.channels.tie(first.channels, flow.channels)
            constant = constant & flow.constant
        return first._replace(constant=constant)


def _shape(node: Any) -> list[int]:
    """Of what a node makes."""
    return [int(n) for n in node.grad_fn._input_metadata[0].shape]


def _stays_in_place(node: Any) -> bool:
    """Whether the strides are as they were: a mean over pictures gets those of channels last set, of ones."""
    shape = _shape(node)
    contiguous = [math.prod(shape[k + 1 :]) for k in range(len(shape))]
    strides = [int(stride) for stride in getattr(node.grad_fn, "_saved_stride", ())]
    return (
        [_shape(source) for source in node.inputs] == [shape]
        and math.prod(shape[2:]) == 1
        and [s for s, n in zip(strides, shape, strict=False) if n > 1]
        == [s for s, n in zip(contiguous, shape, strict=True) if n > 1]
    )


def _zeros(layer: Any) -> Truths:
    """Which channels it makes of nothing but zeros."""
    return np.asarray((layer.weight.detach() == 0).reshape(len(layer.weight), -1).all(dim=1).cpu().numpy())


def _operation(node: Any) -> str:
    return str(node.grad_fn.name()) if hasattr(node.grad_fn, "name") else type(node.grad_fn).__name__


def _signed(dimension: Any, dims: int) -> int | None:
    """Counted from the end; autograd keeps negative ones as huge numbers."""
    if dimension is None:
        return None
    value = int(dimension)
    value = value - 2**64 if value >= 2**63 else value
    return value if value < 0 else value - dims


@torch.no_grad()
def checked_example(model: nn.Module, example: Any) -> Any:
    """An example of the model's inputs, a tensor, several, or named ones, that the model takes in evaluation mode."""
    mend = "pass for example the first batch of a DataLoader"
    if not tensors(example):
        accepted = "inputs of the model: a tensor, a tuple of them, or a dictionary of named ones"
        raise _check.wrong_kind("example", example, accepted, mend)
    if isinstance(model, torch.jit.ScriptModule):
        raise _check.bad("model", "a ScriptModule", "a module in Python", "compact it first, then torch.jit.script it")
    modes = {module: module.training for module in model.modules()}
    try:
        run(model.eval(), example)
    except Exception as error:
        said = " ".join(str(error).split())[:90]
        got = f"of shape {', '.join(str(tuple(part.shape)) for part in tensors(example))} ({said})"
        raise _check.bad("example", got, "inputs that the model takes", mend) from error
    finally:
        for module, training in modes.items():
            module.training = training
    return example

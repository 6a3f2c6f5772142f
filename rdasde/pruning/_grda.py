"""Generalized regularized dual averaging as an optimizer: its options, its state, its steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from rdasde import _check

from . import _fused
from ._mirror import joint_soft_threshold
from ._options import check_options, check_saved, check_state, checked_group, checked_params, take_groups
from ._target import adapt, settle
from ._update import Part, increment, update

_FULL_PRECISION = (torch.float32, torch.float64)


class GRDA(torch.optim.Optimizer):
    r"""Generalized regularized dual averaging: SGD whose weights become exactly zero along flat directions.

    For every tensor, an accumulator starts as a copy of the weights at the first gradient; then, with the learning
    rate in force at step n,

    .. math::

        A \leftarrow A - \mathrm{lr} \nabla f(w), \qquad
        \theta \leftarrow \theta + c\, \mathrm{lr}^{\mu + 1/2} (n^\mu - (n - 1)^\mu), \qquad
        w \leftarrow S(A, \theta),

    where :math:`S(A, \theta) = \operatorname{sign}(A) \max(|A| - \theta, 0)` is written into the weights in place.
    The threshold never falls, and a scheduler may change the rate at any time. ``c = 0`` is `torch.optim.SGD`.

    Parameters
    ----------
    params : iterable
        Parameters, or groups of them; each group may have its own value of every option below. `parameter_groups`
        makes two, with biases and the parameters of normalization layers unregularized.
    lr : float or Tensor
        Learning rate. A tensor, on the weights' device, lets a scheduler reach into a captured graph.
    c : float
        Strength of the regularization; 0 is SGD.
    mu : float
        Exponent of the threshold's growth, in (0, 1]; the theory of directional pruning asks for more than 1/2.
    momentum : float
        Heavy ball on the gradient, as in `torch.optim.SGD`: ``b <- momentum b + grad``, and b takes the gradient's
        place. Off by default; the theory has none.
    weight_decay : float
        Added to the gradient as ``weight_decay * w``, as in `torch.optim.SGD`.
    maximize : bool
        Ascend instead of descend.
    regularizer : {"l1", "elastic_net", "group_lasso"}
        The mirror map. Elastic net: ``S(A, theta) / (1 + l2 theta)``. Group lasso: every slice a of a tensor along
        `axis` is ``A_a max(1 - sqrt(|a|) theta / ||A_a||, 0)``, whole filters or rows at once. Groups across tensors
        are those of ``parameter_groups(model, structure="filters")``.
    l2 : float
        Weight of the squared norm in the elastic net.
    axis : int
        Axis along which a tensor falls into groups: 0 for filters and rows, 1 for input channels and columns.
    sparsity_target : float, optional
        A share in (0, 1): `c` is then chosen during training, and again as it goes on, so that the threshold grows by
        its power law into the one that makes this share of each group's weights zero after `total_steps`; from then
        on the share is kept from falling. A group that sets its own `c` keeps it, and has no target.
    total_steps : int, optional
        Steps over which `sparsity_target` is reached. Where a schedule lowers the learning rate, no more than the steps
        before it does: a threshold that still has to rise while steps are short outruns what they can fit. From then
        on it rests, but for what holds the share, and the weights that are left are fitted. Where it rises fast up to
        the end (`mu` near 1) at a high rate, training can diverge: take a smaller `mu`, a lower rate or more steps.
    foreach : bool, optional
        All tensors at once (True) or one after the other (False), by PyTorch's operations; None takes the faster.
    fused : bool, optional
        The whole step in one pass over each tensor, of a group lasso in two: on CUDA in one Triton kernel for all
        tensors, on a CPU in code compiled by numba. None takes it where nothing is said about `foreach`, on CUDA, and
        on a CPU from 262 144 weights on, of all groups of parameters together: fewer are not worth the half second in
        which the code is loaded (some seconds at the first time, when it is compiled). Where it cannot be had, the step
        is that of `foreach`: without Triton, on other devices, within `torch.compile`, which fuses PyTorch's operations
        itself, for float64 on CUDA and float16 on a CPU, for `capturable` on a CPU, for subclasses of tensors,
        gradients that lie in memory in another order than the weights, and groups whose weights do not lie together.
    capturable : bool
        Keep counters and thresholds in tensors on the weights' device, so that steps may be captured in a CUDA
        graph, or compiled by `torch.compile`, which otherwise leaves them as they are.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range or of a wrong kind, or a gradient is sparse.

    Notes
    -----
    Each tensor keeps its accumulator in float32 where the weights are bfloat16 or float16 (float64 stays float64),
    so that small steps are not lost; the weight is the accumulator's image, rounded. Where ``c = 0``, weights in full
    precision are their own accumulator, and memory and time are those of SGD. Infinite and NaN gradients reach
    the weights as they do with SGD: they are not turned into zeros.

    Loading weights does not touch the accumulators, which undo it at the next step: call `reset` after it.

    References
    ----------
    Chao, Wang, Xing & Cheng, "Directional Pruning of Deep Neural Networks", NeurIPS 2020, arXiv 2006.09358.
    Li et al., arXiv 2107.05328, for whole filters.

    Examples
    --------
    >>> import torch
    >>> from rdasde.pruning import GRDA, parameter_groups, sparsity
    >>> generator = torch.manual_seed(0)
    >>> X, model = torch.randn(64, 10), torch.nn.Linear(10, 1)
    >>> optimizer = GRDA(parameter_groups(model), lr=0.1, sparsity_target=0.9, total_steps=50)
    >>> for _ in range(50):
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.mse_loss(model(X)[:, 0], X[:, 0]).backward()
    ...     loss = optimizer.step()
    >>> sparsity(model)["weight"].share
    0.9
    >>> optimizer = GRDA(parameter_groups(model), lr=0.1, c=5e-4, mu=0.6)
    """

    @_check.with_hints(learning_rate="did you mean lr?", nesterov="momentum= is that of the heavy ball")
    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        c: float = 0.0,
        mu: float = 0.51,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        maximize: bool = False,
        regularizer: Literal["l1", "elastic_net", "group_lasso"] = "l1",
        l2: float = 1.0,
        axis: int = 0,
        sparsity_target: float | None = None,
        total_steps: int | None = None,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        defaults = {name: value for name, value in locals().items() if name not in ("self", "params", "__class__")}
        check_options(defaults)
        super().__init__(checked_params(params), defaults | {"groups": None})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, with options of their own or the defaults."""
        super().add_param_group(checked_group(param_group, self.defaults))
        if self.param_groups[-1]["groups"] is not None:
            try:
                take_groups(self.param_groups[-1])
            except (ValueError, TypeError):
                self.param_groups.pop()
                raise

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Evaluates the model anew and returns the loss.

        Returns
        -------
        The loss of the closure, or None.

        Raises
        ------
        ValueError
            If a gradient is sparse; nothing has been changed then.
        """
        loss = None
        if closure is not None:
            accepted = "None or a function that computes the loss and its gradients"
            _check.function("closure", closure, accepted, "leave it out where backward() was called")
            with torch.enable_grad():
                loss = closure()
        moved = [(group, *_with_gradient(group)) for group in self.param_groups]
        moved = [(group, ws, grads) for group, ws, grads in moved if ws]
        if not torch.compiler.is_compiling():
            self._update(moved, many=_fused.many(ws for _, ws, _ in moved))
            return loss
        for each in moved:
            (self._update if each[0]["capturable"] else self._update_uncompiled)([each])
        return loss

    def _update(self, moved: list[tuple[dict[str, Any], list[Tensor], list[Tensor]]], many: bool = False) -> None:
        """A step of groups, given with their tensors and gradients; `many`: whether weights are."""
        parts = [self._part(*each) for each in moved]
        for part in parts:
            if part.group["sparsity_target"] is not None:
                adapt(part.group, part.states, _labels(part))
        # where tensors lie: neither saved nor copied
        plans = {} if torch.compiler.is_compiling() else self.__dict__.setdefault("_plans", {})
        wanted = [_fused.wanted(part.group, part.ws, many) for part in parts]
        raised = _fused.raise_thresholds(parts, wanted, plans)
        thresholds = [_thresholds(part, done) for part, done in zip(parts, raised, strict=True)]
        taken = _fused.step(parts, thresholds, wanted, plans)
        for part, levels, done in zip(parts, thresholds, taken, strict=True):
            if not all(done):
                update(part, levels, [not x for x in done])
            if part.group["groups"] is not None:
                self._map_groups(part, levels)
            if part.group["sparsity_target"] is not None:
                settle(part.group, part.ws, part.states, _labels(part))

    # Python's numbers change at every step: torch.compile would compile each anew
    _update_uncompiled = torch._disable_dynamo(_update)  # type: ignore[attr-defined]

    def _part(self, group: dict[str, Any], ws: list[Tensor], grads: list[Tensor]) -> Part:
        states = self._states(group, ws)
        accumulators = [state.get("accumulator", w) for w, state in zip(ws, states, strict=True)]
        momenta = [state["momentum_buffer"] for state in states] if group["momentum"] else [None] * len(ws)
        return Part(group, ws, grads, states, accumulators, momenta)

    def _map_groups(self, part: Part, thresholds: list[Any]) -> None:
        """The mirror map of groups across tensors; those without a gradient count in the norms, and stay."""
        group, moved = part.group, set(map(id, part.ws))
        ws: list[Tensor] = group["params"]
        accumulators = [self.state[w].get("accumulator", w) if w in self.state else w for w in ws]
        outs = [w if id(w) in moved and a is not w else None for w, a in zip(ws, accumulators, strict=True)]
        if any(out is not None for out in outs):
            threshold = torch.stack(thresholds).amax() if group["capturable"] else max(thresholds)
            joint_soft_threshold(accumulators, group["groups"], group["group_count"], threshold, outs)

    def __repr__(self) -> str:
        shown = [group["groups"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                if group["groups"] is not None:
                    group["groups"] = f"<{group['group_count']} groups>"
            return super().__repr__()
        finally:
            for group, groups in zip(self.param_groups, shown, strict=True):
                group["groups"] = groups

    def _states(self, group: dict[str, Any], ws: list[Tensor]) -> list[dict[str, Any]]:
        """The state of every tensor, begun where there is none."""
        states = [self.state[w] for w in ws]
        thresholded = bool(group["c"]) or group["sparsity_target"] is not None
        for w, state in zip(ws, states, strict=True):
            if (
                "threshold" not in state
                or ("accumulator" not in state and (thresholded or w.dtype not in _FULL_PRECISION))
                or (group["momentum"] and state.get("momentum_buffer") is None)
            ):
                self._begin(w, state, group, thresholded)
        return states

    @staticmethod
    def _begin(w: Tensor, state: dict[str, Any], group: dict[str, Any], thresholded: bool) -> None:
        """Add to a state what it lacks."""
        dtype = torch.promote_types(w.dtype, torch.float32)
        if "threshold" not in state:
            if group["capturable"]:
                state["step"], state["threshold"] = w.new_zeros(2, dtype=_counter_dtype(w)).unbind()
            else:
                state["step"], state["threshold"] = 0, 0.0
        # until something is thresholded, weights in full precision are their own accumulator
        if "accumulator" not in state and (thresholded or dtype != w.dtype):
            state["accumulator"] = w.detach().to(dtype, copy=True, memory_format=torch.preserve_format)
        if group["momentum"] and state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(w, dtype=dtype)

    @torch.no_grad()
    def reset(self) -> None:
        """Start anew from the present weights, as at the first gradient; to be called after loading weights.

        Accumulators become copies of the weights; thresholds, counters and momentum become 0, in place, so that a
        captured graph stays valid. The weights themselves stay: only zeros that the next gradients leave alone
        remain zero.
        """
        for group in self.param_groups:
            group.pop("quantiles", None)
            for w in group["params"]:
                state = self.state[w]
                for name, value in state.items():
                    if name == "accumulator":
                        value.copy_(w)
                    elif isinstance(value, Tensor):
                        value.zero_()
                    else:
                        state[name] = type(value)()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, bit for bit.

        Parameters
        ----------
        state_dict : dict
            From `state_dict`. One of `torch.optim.SGD` is taken too: accumulators then start from the weights.

        Raises
        ------
        ValueError, TypeError
            If it is of another optimizer or of other parameters; nothing has been changed then.
        """
        check_state(state_dict)
        options = [{name: group[name] for name in self.defaults} for group in self.param_groups]
        taken: list[dict[str, Any]] = []

        def take(_: Any, given: dict[str, Any]) -> None:
            check_saved(given, self.param_groups)
            taken.append(given)

        handle = self.register_load_state_dict_pre_hook(take)  # after others' hooks
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
        (given,) = taken
        for saved, group, own in zip(given["param_groups"], self.param_groups, options, strict=True):
            for name, value in own.items():
                group.setdefault(name, value)
            if group["groups"] is not None:
                take_groups(group)
            for key, w in zip(saved["params"], group["params"], strict=True):
                # PyTorch rounds all state to the dtype of the weights: what was kept wider is taken again
                for name, value in given["state"].get(key, {}).items():
                    if isinstance(value, Tensor) and "threshold" in given["state"][key]:
                        self.state[w][name] = value.to(w.device, copy=True, memory_format=torch.preserve_format)


def _labels(part: Part) -> list[Tensor] | None:
    """Which groups across tensors the slices of each tensor belong to."""
    if part.group["groups"] is None:
        return None
    labels = {id(w): label for w, label in zip(part.group["params"], part.group["groups"], strict=True)}
    return [labels[id(w)] for w in part.ws]


def _thresholds(part: Part, raised: bool) -> list[Any]:
    """The thresholds of this step, raised here where they are not yet."""
    if not part.group["capturable"]:
        return _grow(part.group, part.states)
    return [state["threshold"] for state in part.states] if raised else _grow_tensors(part.group, part.states)


def _grow(group: dict[str, Any], states: list[dict[str, Any]]) -> list[float]:
    """Count the step and raise the thresholds, in Python's numbers."""
    factor = group["c"] * max(float(group["lr"]), 0.0) ** (group["mu"] + 0.5)  # NaN stays NaN
    growth: dict[int, float] = {}  # nearly always all tensors have taken as many steps
    thresholds = []
    for state in states:
        n = state["step"] = state["step"] + 1
        if n not in growth:
            growth[n] = factor * increment(n, group["mu"])
        threshold = state["threshold"] = state["threshold"] + growth[n]
        thresholds.append(threshold)
    return thresholds


def _grow_tensors(group: dict[str, Any], states: list[dict[str, Any]]) -> list[Tensor]:
    """The same in tensors, without a look at their values."""
    steps, thresholds = [state["step"] for state in states], [state["threshold"] for state in states]
    lr, mu = group["lr"], group["mu"]
    lr = lr.to(steps[0].device, steps[0].dtype).clamp(min=0.0) if isinstance(lr, Tensor) else max(lr, 0.0)
    torch._foreach_add_(steps, 1)
    growth = torch._foreach_reciprocal(steps)
    torch._foreach_neg_(growth)
    torch._foreach_log1p_(growth)
    torch._foreach_mul_(growth, mu)
    torch._foreach_expm1_(growth)
    torch._foreach_mul_(growth, torch._foreach_pow(steps, mu))
    torch._foreach_mul_(growth, -group["c"] * lr ** (mu + 0.5))
    torch._foreach_add_(thresholds, growth)
    return thresholds


def _counter_dtype(w: Tensor) -> torch.dtype:
    return torch.float32 if w.device.type == "mps" else torch.float64  # MPS has no float64


def _with_gradient(group: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that have a gradient, and these."""
    ws, grads = group["params"], [w.grad for w in group["params"]]
    there = [grad is not None for grad in grads]
    if not all(there):
        ws, grads = list(itertools.compress(ws, there)), list(itertools.compress(grads, there))
    layouts = [grad.layout for grad in grads]
    if layouts != [torch.strided] * len(layouts):
        k = next(k for k, layout in enumerate(layouts) if layout != torch.strided)
        raise _check.bad(
            "the gradient",
            f"sparse ({layouts[k]}) for a parameter of shape {tuple(ws[k].shape)}",
            "dense",
            "build the embedding with sparse=False, as GRDA moves every weight at every step",
        )
    return ws, grads

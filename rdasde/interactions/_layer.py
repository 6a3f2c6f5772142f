"""A layer of gated interactions, for any model and any training loop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rdasde import _check
from rdasde._engine.memory import need_memory
from rdasde.pruning._models import checked_module

from ._products import Members, Products

_MOST = 1e30  # of a gate at the start, in single precision
_MEND = "give tuples of two or three ascending field numbers, for example [(0, 1), (0, 3)]"


class Interactions(nn.Module):
    r"""A weighted sum of the interactions of fields, each with a gate that can close.

    .. math::

        \sum_k \alpha_k \frac{p_k - \mathrm{E}\, p_k}{\sqrt{\operatorname{Var} p_k + \epsilon}}, \qquad
        p_{ij} = \langle e_i, e_j \rangle, \qquad
        p_{ijk} = \sum_d e_{i, d}\, e_{j, d}\, e_{k, d},

    over pairs, and triples if asked for. Mean and variance are those of the batch while training, running ones
    afterwards: batch normalization without scale and shift, so that the size of a gate cannot hide in the embeddings.
    Train the gates by `rdasde.pruning.GRDA`, everything else by any other optimizer, and gates close exactly.

    Parameters
    ----------
    fields : int
        How many fields there are, at least 2.
    triples : bool
        Whether triples are among the interactions, beside pairs.
    interactions : sequence of tuple of int, optional
        Which ones, by their fields, instead of all: ``[(0, 1), (0, 3)]``.
    gates : bool
        Without gates, the plain sum of products: neither weights nor normalization.
    start : float
        Gates start within .001 of it.
    epsilon : float
        Added to the variance, > 0, in the products' own units squared. Interactions smaller than its root count for
        less than the others: those of embeddings that nothing has moved yet.
    momentum : float
        Of the running mean and variance, in (0, 1].

    Attributes
    ----------
    gate : torch.nn.Parameter of shape (interactions,)
        None without gates.
    interactions : list of tuple of int
        The fields of each, pairs first.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Notes
    -----
    `state_dict` carries the fields of every interaction; loading one makes the layer what it was when saved, with as
    many interactions as survived.

    References
    ----------
    Liu et al., "AutoFIS: Automatic Feature Interaction Selection in Factorization Models for Click-Through Rate
    Prediction", KDD 2020, arXiv 2003.11235.

    Examples
    --------
    >>> import torch
    >>> from rdasde.interactions import Interactions
    >>> layer = Interactions(4)
    >>> layer(torch.randn(8, 4, 16)).shape
    torch.Size([8])
    >>> layer
    Interactions(4 fields, 6 pairs, 6 gates open)
    """

    members: Tensor  # (interactions, 3), -1 for the third of a pair
    used: Tensor  # fields that are in one, ascending
    running_mean: Tensor
    running_var: Tensor
    gate: nn.Parameter | None

    def __init__(
        self,
        fields: int,
        *,
        triples: bool = False,
        interactions: Sequence[Sequence[int]] | None = None,
        gates: bool = True,
        start: float = 0.6,
        epsilon: float = 1e-3,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.fields = _check.count("fields", fields, least=2, mend="give the number of fields, for example 11")
        self.start = _check.number("start", start, least=-_MOST, most=_MOST, mend="give for example start=0.6")
        self.epsilon = _check.number("epsilon", epsilon, above=0.0, mend="give for example epsilon=1e-3")
        self.momentum = _check.number("momentum", momentum, above=0.0, most=1.0, mend="give for example momentum=0.1")
        for name, value in (("triples", triples), ("gates", gates)):
            _check.instance(name, value, bool, "True or False", "give one of these")
        if interactions is None:
            sizes = (2, 3) if triples else (2,)
            number = sum(math.comb(self.fields, size) for size in sizes)
            mend = "ask for fewer fields, or name the interactions= that are wanted"
            need_memory(200.0 * number, f"{number} interactions of {self.fields} fields", mend)
            members = [group for size in sizes for group in itertools.combinations(range(self.fields), size)]
        else:
            members = checked_members(interactions, self.fields)
        self.gate = nn.Parameter(torch.empty(0)) if gates else None
        self.register_buffer("members", torch.empty(0, 3, dtype=torch.int64))
        self.register_buffer("used", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("running_mean", torch.empty(0) if gates else None)
        self.register_buffer("running_var", torch.empty(0) if gates else None)
        self.rebuild(members)
        self.reset_parameters()

    @property
    def interactions(self) -> list[Members]:
        """The fields of each interaction."""
        return _groups(self.members)

    def reset_parameters(self) -> None:
        """Gates anew around `start`, and no memory of means and variances."""
        if self.gate is not None:
            nn.init.uniform_(self.gate, self.start - 1e-3, self.start + 1e-3)
            self.running_mean.zero_()
            self.running_var.fill_(1.0)

    def forward(self, embeddings: Tensor) -> Tensor:
        """The weighted sum (batch,) over interactions.

        Embeddings are (batch, fields, dim), or only those of the fields in `used`.
        """
        embeddings = self._needed(embeddings)
        if self.gate is None:
            return self.products.weighted(embeddings, embeddings.new_ones(len(self.members)))
        if self.training:
            return self._normalized(embeddings) @ self.gate
        scaled = self.gate * (self.running_var + self.epsilon).rsqrt()
        return self.products.weighted(embeddings, scaled) - scaled @ self.running_mean

    def terms(self, embeddings: Tensor) -> Tensor:
        """The same one by one, (batch, interactions), in the order of `interactions`: for a network to go on with."""
        embeddings = self._needed(embeddings)
        if self.gate is None:
            return torch.as_tensor(self.products(embeddings))
        return self._normalized(embeddings) * self.gate

    @torch.no_grad()
    def prune(self) -> None:
        """Leave out the interactions whose gates are exactly zero; outputs stay as they are, up to rounding.

        The gates become fewer: optimizers are to be built anew.
        """
        if self.gate is None:
            return
        open_ = torch.nonzero(self.gate).flatten()
        kept = [tensor[open_].clone() for tensor in (self.gate, self.running_mean, self.running_var)]
        self.rebuild([self.interactions[k] for k in open_.tolist()])
        for tensor, values in zip((self.gate, self.running_mean, self.running_var), kept, strict=True):
            tensor.copy_(values)

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr."""
        pairs, triples = self.products.pairs, self.products.triples
        words = [f"{self.fields} fields", f"{pairs} pairs"] + ([f"{triples} triples"] if triples else [])
        if self.gate is None or self.gate.is_meta:
            words.append("no gates" if self.gate is None else f"{len(self.gate)} gates")
        else:
            words.append(f"{int(torch.count_nonzero(self.gate))} gates open")
        return ", ".join(words)

    def __repr__(self) -> str:
        return f"Interactions({self.extra_repr()})"

    def _normalized(self, embeddings: Tensor) -> Tensor:
        products = self.products(embeddings)
        if not len(self.members):
            return torch.as_tensor(products)
        return F.batch_norm(
            products,
            self.running_mean,
            self.running_var,
            training=self.training,
            momentum=self.momentum,
            eps=self.epsilon,
        )

    def _needed(self, embeddings: Tensor) -> Tensor:
        """Embeddings of the fields in `used`."""
        self._check_numbers(embeddings)
        width = embeddings.shape[1] if embeddings.ndim == 3 else -1
        if width not in (self.fields, len(self.used)):
            raise _check.bad(
                "embeddings",
                f"a tensor of shape {tuple(embeddings.shape)}",
                f"of shape (batch, {self.fields}, dim)",
                "stack one vector for each field",
            )
        if self.training and self.gate is not None and len(embeddings) < 2:
            raise _check.bad(
                "embeddings", "a batch of one row", "of two rows or more while training", "leave the last batch out"
            )
        return embeddings if width == len(self.used) else embeddings.index_select(1, self.used)

    def _check_numbers(self, embeddings: Any) -> None:
        """TypeError or ValueError where embeddings are no numbers that the gates can be multiplied with."""
        accepted, mend = "a tensor of floating-point numbers", "stack one vector for each field"
        _check.instance("embeddings", embeddings, Tensor, accepted, mend)
        if not embeddings.is_floating_point():
            raise _check.bad("embeddings", f"a tensor of {embeddings.dtype}", accepted, mend)
        if (
            self.gate is not None
            and embeddings.dtype != self.gate.dtype
            and not torch.is_autocast_enabled(embeddings.device.type)
        ):
            got, own = f"a tensor of {embeddings.dtype}", str(self.gate.dtype)
            raise _check.bad("embeddings", got, f"of {own} as the gates are", f"convert them by .to({own})")

    def rebuild(self, members: Sequence[Members]) -> None:
        """Make this the layer of other interactions: tensors have the right length, and nothing in them yet."""
        device = self.members.device
        padded = [[*group, -1][:3] for group in members]
        self.members = torch.tensor(padded, dtype=torch.int64, device=device).view(-1, 3)
        used = sorted({field for group in members for field in group})
        self.used = torch.tensor(used, dtype=torch.int64, device=device)
        places = [tuple(used.index(field) for field in group) for group in members]
        self.products = Products(places, len(used)).to(device)
        if self.gate is not None:
            self.gate.grad = None
            for tensor in (self.gate, self.running_mean, self.running_var):
                tensor.data = tensor.data.new_zeros(len(members))

    def adopt(self, members: Tensor) -> bool:
        """Rebuild with the interactions of a saved layer, where they differ."""
        if members.tolist() == self.members.tolist():
            return False
        self.rebuild(checked_members(_groups(members), self.fields))
        return True

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if prefix + "members" in state_dict:
            self.adopt(state_dict[prefix + "members"])
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _groups(members: Tensor) -> list[Members]:
    """Rows of field numbers, -1 where there is none, as tuples."""
    return [tuple(field for field in row if field >= 0) for row in members.tolist()]


def checked_members(interactions: Iterable[Sequence[int]], fields: int) -> list[Members]:
    """Interactions as ascending tuples within range, none twice, pairs first."""
    accepted = f"different pairs or triples of fields 0 to {fields - 1}"
    try:
        given = [tuple(_check.count("interactions", field, least=0) for field in group) for group in interactions]
    except (TypeError, ValueError):
        raise _check.bad("interactions", _check.show(interactions), accepted, _MEND) from None
    for group in given:
        if len(group) not in (2, 3) or list(group) != sorted(set(group)) or group[-1] >= fields:
            raise _check.bad("interactions", f"one with {group}", accepted, _MEND)
    if len(set(given)) < len(given):
        twice = next(group for group in given if given.count(group) > 1)
        raise _check.bad("interactions", f"one with {twice} twice", accepted, "leave it out once")
    return sorted(given, key=len)  # stable


def layers(model: nn.Module) -> list[Interactions]:
    """The layers of interactions in a model."""
    checked_module(model, lazy=True, meta=True)
    return [module for module in model.modules() if isinstance(module, Interactions)]


def gated_layer(model: nn.Module) -> Interactions:
    """The one layer with gates of a model, whose weights have values."""
    checked_module(model)
    gated = [layer for layer in layers(model) if layer.gate is not None]
    if len(gated) != 1:
        raise _check.bad(
            "model",
            f"a {type(model).__name__} with {len(gated)} layers of gates",
            "a module with one",
            "use for example FM(cardinalities, gates=True), or put Interactions(fields) in yours",
        )
    return gated[0]


def gates(model: nn.Module) -> list[nn.Parameter]:
    """The gates of all layers of interactions in a model: what GRDA is to train.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of torch.nn.Parameter

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> import torch
    >>> from rdasde.interactions import FM, gates, weights
    >>> from rdasde.pruning import GRDA
    >>> model = FM([10, 20, 5])
    >>> optimizers = torch.optim.Adam(weights(model), 1e-3), GRDA(gates(model), lr=1.0, c=5e-4, mu=0.8)
    """
    return [layer.gate for layer in layers(model) if layer.gate is not None]


def weights(model: nn.Module) -> list[nn.Parameter]:
    """All parameters of a model except its gates.

    Parameters
    ----------
    model : torch.nn.Module

    Returns
    -------
    list of torch.nn.Parameter

    Raises
    ------
    TypeError
        If `model` is no module.

    Examples
    --------
    >>> from rdasde.interactions import FM, gates, weights
    >>> model = FM([10, 20, 5], seed=0)
    >>> len(list(model.parameters())), len(weights(model)), len(gates(model))
    (4, 3, 1)
    """
    gate_ids = {id(gate) for gate in gates(model)}
    return [parameter for parameter in model.parameters() if id(parameter) not in gate_ids]

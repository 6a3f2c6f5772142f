"""Factorization machines over integer codes, plain and beside a network."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rdasde import _check
from rdasde._engine.memory import need_memory

from ._layer import Interactions

EMBEDDING_STD = 0.01


class FM(nn.Module):
    r"""A factorization machine, its interactions gated.

    The logit of a row of codes is ``b + sum_i u_i[x_i]`` plus `Interactions` of the embeddings ``e_i = E_i[x_i]``.

    Parameters
    ----------
    cardinalities : sequence of int
        How many codes each field has; `Codebook.cardinalities`.
    dim : int
        Numbers in an embedding.
    gates : bool
        Whether every interaction is normalized and gated; else they are summed, as in Rendle (2010).
    triples : bool
        Whether triples are among the interactions, beside pairs.
    interactions : sequence of tuple of int, optional
        Which ones, by their fields, instead of all. Fields in none of them have no embedding.
    seed : int, optional
        What first weights are drawn from; without one, torch's own stream.

    Attributes
    ----------
    cardinalities : tuple of int
    interactions : Interactions

    Raises
    ------
    ValueError, TypeError
        For bad arguments, and of codes that are out of range.
    TooMuchMemoryError
        If its tables do not fit in memory.

    References
    ----------
    Rendle, "Factorization machines", ICDM 2010. Liu et al., KDD 2020 (gates).

    Examples
    --------
    >>> import torch
    >>> from rdasde.interactions import FM
    >>> model = FM([10, 20, 5], dim=8, seed=0)
    >>> model(torch.tensor([[0, 3, 4], [9, 19, 0]])).shape
    torch.Size([2])
    """

    _sizes: Tensor  # the cardinalities
    _offsets: Tensor  # where each field begins in the table of the linear terms
    _columns: Tensor  # fields with embeddings
    _embedding_offsets: Tensor  # where each of these begins in the table of embeddings

    def __init__(
        self,
        cardinalities: Sequence[int],
        dim: int = 16,
        gates: bool = True,
        *,
        triples: bool = False,
        interactions: Sequence[Sequence[int]] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        mend = "give how many codes each field has, for example codebook.cardinalities"
        if _check.axes_of(cardinalities) != 1 or len(cardinalities) < 2:
            raise _check.bad(
                "cardinalities", _check.show(cardinalities), "a sequence of two or more whole numbers", mend
            )
        self.cardinalities = tuple(_check.count("cardinalities", size, mend=mend) for size in cardinalities)
        self.dim = _check.count("dim", dim, mend="give for example dim=16")
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(_check.seed(seed))
            self.interactions = Interactions(
                len(self.cardinalities), triples=triples, interactions=interactions, gates=gates
            )
            codes = sum(self.cardinalities)
            size = 4.0 * (codes + self.dim * sum(self.cardinalities[field] for field in self._embedded()))
            mend = "hash fields into fewer codes, for example by Codebook.from_data(table, hashed={'user': 10_000})"
            need_memory(size, f"The tables of {codes} codes", mend)
            self.bias = nn.Parameter(torch.zeros(()))
            self.linear = nn.Embedding(sum(self.cardinalities), 1)
            self.embedding = nn.Embedding(1, self.dim)
            starts = [0, *itertools.accumulate(self.cardinalities)][:-1]
            self.register_buffer("_offsets", torch.tensor(starts), persistent=False)
            self.register_buffer("_sizes", torch.tensor(self.cardinalities), persistent=False)
            for name in ("_columns", "_embedding_offsets"):
                self.register_buffer(name, torch.empty(0, dtype=torch.int64), persistent=False)
            self._lay_out()
            self._build()
            self.reset_parameters()

    def forward(self, X: Tensor) -> Tensor:
        """Logits (n,) of codes (n, fields)."""
        self._check_codes(X)
        return self._first_order(X) + self.interactions(self._embed(X))

    def reset_parameters(self) -> None:
        """Weights anew: embeddings of standard deviation .01 a number, linear terms zero."""
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.linear.weight)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.interactions.reset_parameters()

    @torch.no_grad()
    def prune(self) -> None:
        """Leave out closed interactions, and embeddings of fields that are in none; outputs stay, up to rounding."""
        rows = self.embedding.weight.split([self.cardinalities[field] for field in self._columns.tolist()])
        tables = dict(zip(self._columns.tolist(), rows, strict=True))
        self.interactions.prune()
        self._lay_out()
        kept = [tables[field] for field in self._columns.tolist()]
        if kept:
            self.embedding.weight.copy_(torch.cat(kept))

    def _build(self) -> None:
        """What a model has beside the factorization machine."""

    def _embedded(self) -> list[int]:
        """Fields that need embeddings."""
        return [int(field) for field in self.interactions.used.tolist()]

    def _lay_out(self) -> None:
        """A table of embeddings for the fields that need them, with nothing in it yet."""
        fields, device = self._embedded(), self._offsets.device
        sizes = [self.cardinalities[field] for field in fields]
        self._columns = torch.tensor(fields, dtype=torch.int64, device=device)
        starts = [0, *itertools.accumulate(sizes)][:-1]
        self._embedding_offsets = torch.tensor(starts, dtype=torch.int64, device=device)
        self.embedding.num_embeddings = sum(sizes)
        self.embedding.weight.grad = None
        self.embedding.weight.data = self.embedding.weight.data.new_zeros(sum(sizes), self.dim)

    def _check_codes(self, X: Any) -> None:
        """TypeError or ValueError of codes that are none of this model's; their values are looked at where that can be.

        A code past its field's would be read as one of the next field.
        """
        accepted, mend = f"a tensor of codes of shape (n, {len(self.cardinalities)})", "pass torch.from_numpy(codes)"
        _check.instance("X", X, Tensor, accepted, mend)
        if X.dtype not in (torch.int64, torch.int32):
            raise _check.bad("X", f"a tensor of {X.dtype}", "of torch.int64 or torch.int32", "encode by a Codebook")
        if X.ndim != 2 or X.shape[1] != len(self.cardinalities):
            raise _check.bad("X", f"a tensor of shape {tuple(X.shape)}", accepted, "give one column for each field")
        if torch.compiler.is_compiling() or X.is_meta or (X.is_cuda and torch.cuda.is_current_stream_capturing()):
            return
        wrong = (X < 0) | (self._sizes <= X)
        if bool(wrong.any()):
            row, field = wrong.nonzero()[0].tolist()
            raise _check.bad(
                "X",
                f"one with code {int(X[row, field])} in field {field}",
                f"codes 0 to {self.cardinalities[field] - 1} there",
                "encode new rows by the Codebook of the old ones, which has a code for what it has not seen",
            )

    def _first_order(self, X: Tensor) -> Tensor:
        return self.bias + self.linear(X + self._offsets).sum((1, 2))

    def _embed(self, X: Tensor) -> Tensor:
        """Embeddings (n, fields that need them, dim)."""
        columns = X if len(self._columns) == len(self.cardinalities) else X.index_select(1, self._columns)
        return torch.as_tensor(self.embedding(columns + self._embedding_offsets))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        members = state_dict.get(prefix + "interactions.members")
        if members is not None and self.interactions.adopt(members):
            self._lay_out()
        super()._load_from_state_dict(state_dict, prefix, *rest)


class DeepFM(FM):
    """A factorization machine and a network on the same embeddings, their logits added (Guo et al., IJCAI 2017).

    Parameters
    ----------
    cardinalities, dim, gates, triples, interactions, seed
        As in `FM`; here, all fields have embeddings.
    hidden : sequence of int
        Widths of the network's hidden layers, with rectified linear units between.
    dropout : float
        The share of hidden units left out while training, in [0, 1).

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    Examples
    --------
    >>> import torch
    >>> from rdasde.interactions import DeepFM
    >>> model = DeepFM([10, 20, 5], dim=8, hidden=(32,), seed=0)
    >>> model(torch.tensor([[0, 3, 4], [9, 19, 0]])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        dim: int = 16,
        gates: bool = True,
        *,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.0,
        triples: bool = False,
        interactions: Sequence[Sequence[int]] | None = None,
        seed: int | None = None,
    ) -> None:
        if _check.axes_of(hidden) != 1:
            raise _check.bad(
                "hidden", _check.show(hidden), "a sequence of whole numbers", "give for example hidden=(64, 64)"
            )
        self._hidden = [_check.count("hidden", width, mend="give for example hidden=(64, 64)") for width in hidden]
        self._dropout = _check.number("dropout", dropout, least=0.0, most=0.99, mend="give for example dropout=0.2")
        super().__init__(cardinalities, dim, gates, triples=triples, interactions=interactions, seed=seed)

    def forward(self, X: Tensor) -> Tensor:
        """Logits (n,) of codes (n, fields)."""
        self._check_codes(X)
        embeddings = self._embed(X)
        beside = self.network(embeddings.flatten(1)).squeeze(1)
        return self._first_order(X) + self.interactions(embeddings) + beside

    def reset_parameters(self) -> None:
        """Weights anew, as in `FM`, and the network's as PyTorch draws them."""
        super().reset_parameters()
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    def _build(self) -> None:
        widths = [len(self.cardinalities) * self.dim, *self._hidden]
        size = 4.0 * sum(width * following for width, following in itertools.pairwise([*widths, 1]))
        need_memory(size, f"The network of widths {', '.join(map(str, widths))}", "give for example hidden=(64, 64)")
        between: list[nn.Module] = []
        for width, following in itertools.pairwise(widths):
            between += [nn.Linear(width, following), nn.ReLU(), nn.Dropout(self._dropout)]
        self.network = nn.Sequential(*between, nn.Linear(widths[-1], 1))

    def _embedded(self) -> list[int]:
        return list(range(len(self.cardinalities)))

"""Products over pairs and triples of fields, ``sum_d e_i e_j`` and ``sum_d e_i e_j e_k``, as batched matrix products.

The pairs of one row are entries of the Gram matrix of its embeddings, which costs a fraction of gathering both members
of every pair. Rows of that matrix that no pair needs are left out: one member of each pair stands *left*, and few
fields do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Members = tuple[int, ...]  # of an interaction: two fields or three, ascending


class Products(nn.Module):
    """The products of given pairs and triples; no parameters.

    `members`: pairs first, then triples. Called with embeddings (batch, fields, dim), it returns (batch, interactions).
    """

    left: Tensor  # fields whose rows of the Gram matrix are needed, (l,)
    right: Tensor  # fields whose columns are, (r,)
    place: Tensor  # of every pair in that part of the Gram matrix, laid flat
    gradient_place: (
        Tensor  # of every entry of the whole Gram matrix among the pairs, or their number where there is none
    )
    first: Tensor  # pairs that begin a triple: both their fields, each (q,)
    second: Tensor
    triple_place: Tensor  # of every triple among (q, fields), laid flat

    def __init__(self, members: Sequence[Members], fields: int) -> None:
        super().__init__()
        pairs = [group for group in members if len(group) == 2]
        triples = [group for group in members if len(group) == 3]
        self.fields, self.pairs, self.triples = fields, len(pairs), len(triples)
        cover = _cover(pairs)
        turned = [(i, j) if i in cover else (j, i) for i, j in pairs]
        left, right = sorted(cover), sorted({j for _, j in turned})
        whole = len(right) + 1 >= fields  # then all columns cost less than choosing some
        right = list(range(fields)) if whole else right
        place = [left.index(i) * len(right) + right.index(j) for i, j in turned]
        gradient_place = torch.full((fields, fields), len(pairs))
        for k, (i, j) in enumerate(pairs):
            gradient_place[i, j] = gradient_place[j, i] = k
        starts = sorted({(i, j) for i, j, _ in triples})
        numbers = {
            "left": left,
            "right": right,
            "place": place,
            "gradient_place": gradient_place.flatten().tolist(),
            "first": [i for i, _ in starts],
            "second": [j for _, j in starts],
            "triple_place": [starts.index((i, j)) * fields + k for i, j, k in triples],
        }
        for name, values in numbers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        parts = []
        if self.pairs:
            where = self.left, self.right, self.place, self.gradient_place
            parts.append(_PairProducts.apply(embeddings, *where))  # type: ignore[no-untyped-call]
        if self.triples:
            starts = embeddings.index_select(1, self.first) * embeddings.index_select(1, self.second)
            table = torch.bmm(starts, embeddings.transpose(1, 2))
            parts.append(table.flatten(1).index_select(1, self.triple_place))
        if not parts:
            return embeddings.new_zeros(len(embeddings), 0)
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def weighted(self, embeddings: Tensor, weights: Tensor) -> Tensor:
        """``sum_k weights_k product_k`` (batch,), pairs by one matrix product, without the products one by one."""
        total = embeddings.new_zeros(len(embeddings))
        if self.pairs:
            entries = weights.new_zeros(len(self.left) * len(self.right))
            table = entries.index_copy(0, self.place, weights[: self.pairs]).view(len(self.left), len(self.right))
            partners = torch.matmul(table, _fields(embeddings, self.right))
            total = total + (_fields(embeddings, self.left) * partners).sum((1, 2))
        if self.triples:
            starts = embeddings.index_select(1, self.first) * embeddings.index_select(1, self.second)
            entries = weights.new_zeros(len(self.first) * self.fields)
            table = entries.index_copy(0, self.triple_place, weights[self.pairs :]).view(len(self.first), self.fields)
            total = total + (starts * torch.matmul(table, embeddings)).sum((1, 2))
        return total


class _PairProducts(torch.autograd.Function):
    """Chosen entries of every row's Gram matrix; its gradient is one product with a symmetric matrix."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, left: Tensor, right: Tensor, place: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings, back)
        gram = torch.bmm(_fields(embeddings, left), _fields(embeddings, right).transpose(1, 2))
        return gram.flatten(1).index_select(1, place)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        embeddings, back = ctx.saved_tensors
        fields = embeddings.shape[1]
        spread = F.pad(gradients[0], (0, 1)).index_select(1, back)  # the last column: where there is no pair
        return torch.bmm(spread.view(-1, fields, fields), embeddings), None, None, None, None


def _fields(embeddings: Tensor, chosen: Tensor) -> Tensor:
    return embeddings if len(chosen) == embeddings.shape[1] else embeddings.index_select(1, chosen)


def _cover(pairs: Sequence[Members]) -> set[int]:
    """Fields such that every pair has one of them: again and again the one in most of the pairs left."""
    cover: set[int] = set()
    rest = list(pairs)
    while rest:
        counts: dict[int, int] = {}
        for pair in rest:
            for field in pair:
                counts[field] = counts.get(field, 0) + 1
        best = max(sorted(counts), key=lambda field: counts[field])
        cover.add(best)
        rest = [pair for pair in rest if best not in pair]
    return cover

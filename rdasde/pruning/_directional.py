"""Directional pruning in closed form: weights shrink along the flat directions of the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rdasde import _check, _users
from rdasde._directional import group_directions, group_scores, groups_shrunk, scores, shrunk

_PROJECTION = "pass for example rdasde.landscape.flat_projection(eigenspace)"


def directional_prune(
    w_sgd: Any, flat_projection: Callable[[Any], Any] | Any, strength: float, *, groups: Any = None
) -> Any:
    """Prune a solution of SGD along the flat directions of the loss (Chao, Wang, Xing & Cheng, NeurIPS 2020).

    ``argmin_w 1/2 ||w_sgd - w||^2 + strength sum_j s_j |w_j|``, with the scores
    ``s_j = sgn(w_sgd,j) (P_0 sgn(w_sgd))_j`` and P_0 the projection on the flat directions (the null space) of the
    Hessian at `w_sgd`. Its solution, coordinate by coordinate, is

        ``w_j = sgn(w_sgd,j) max(|w_sgd,j| - strength s_j, 0)``.

    A weight whose score is positive shrinks and may become exactly zero; one whose score is negative moves away from
    zero. To first order this is what gRDA does to SGD's solution, with ``strength = c gamma^(1/2) t^mu``, as long as no
    sign changes: a local statement, for small strengths.

    With `groups`, whole groups a of weights at once (filters, rows): ``argmin_w 1/2 ||w_sgd - w||^2 + strength
    sum_a sqrt(|a|) s_a ||w_a||``, with ``u_a = sqrt(|a|) w_sgd,a / ||w_sgd,a||`` in place of the sign and the scores
    ``s_a = <u_a, (P_0 u)_a> / |a|``, so that ``w_a = w_sgd,a max(1 - sqrt(|a|) strength s_a / ||w_sgd,a||, 0)``: to
    first order what ``GRDA(..., regularizer="group_lasso")`` does to the norms of groups.

    Parameters
    ----------
    w_sgd : ndarray or Tensor of shape (d,)
        The solution, NumPy's or torch's.
    flat_projection : callable, or ndarray or Tensor of shape (d, d)
        P_0: a function from a vector (d,) to a vector (d,), such as ``rdasde.landscape.flat_projection`` makes, or a
        matrix.
    strength : float
        lambda >= 0, in units of the weights.
    groups : array_like of int of shape (d,), optional
        The group of each weight, any labels >= 0.

    Returns
    -------
    ndarray or Tensor of shape (d,)
        As `w_sgd` came.

    Raises
    ------
    ValueError, TypeError
        For bad arguments.

    References
    ----------
    Chao, Wang, Xing & Cheng, NeurIPS 2020, arXiv 2006.09358. Li et al., arXiv 2107.05328, for groups.

    Examples
    --------
    >>> import numpy as np
    >>> from rdasde.pruning import directional_prune
    >>> directional_prune(np.array([3.0, 4.0, 0.3, 0.4]), np.eye(4), 0.5 / np.sqrt(2.0), groups=[0, 0, 1, 1]).round(6)
    array([2.7, 3.6, 0. , 0. ])
    """
    strength = _check.number("strength", strength, least=0.0, mend="give for example strength=0.01")
    w = _vector(w_sgd)
    if groups is not None:
        labels = _labels(groups, w)
        directions = group_directions(w, labels)
        return groups_shrunk(w, group_scores(directions, _flat(directions, flat_projection), labels), labels, strength)
    sign = _sign(w)
    return shrunk(w, sign, scores(sign, _flat(sign, flat_projection)), strength)


def directional_scores(w_sgd: Any, flat_projection: Callable[[Any], Any] | Any) -> Any:
    """The scores ``s_j = sgn(w_sgd,j) (P_0 sgn(w_sgd))_j`` of directional pruning, between 0 and 1 on average.

    Parameters
    ----------
    w_sgd, flat_projection
        As in `directional_prune`.

    Returns
    -------
    ndarray or Tensor of shape (d,)
        Positive where the weight may shrink at no loss, negative where it should grow; 0 where the weight is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from rdasde.pruning import directional_scores
    >>> flat = np.diag([1.0, 1.0, 0.0])  # the loss does not depend on the first two weights
    >>> directional_scores(np.array([0.3, -0.2, 0.5]), flat)
    array([1., 1., 0.])
    """
    sign = _sign(_vector(w_sgd))
    return scores(sign, _flat(sign, flat_projection))


def _vector(w_sgd: Any) -> Any:
    """A finite vector: a torch tensor as it is, anything else by NumPy."""
    if hasattr(w_sgd, "detach"):
        w = w_sgd.detach()
        usable = w.ndim == 1 and len(w) and w.is_floating_point() and not w.is_meta
        if not usable or not bool((w - w == 0.0).all()):
            raise _check.bad(
                "w_sgd",
                f"a {w.dtype} tensor of shape {tuple(w.shape)}{' on the meta device' if w.is_meta else ''}",
                "a vector of finite floating-point numbers",
                "pass for example torch.nn.utils.parameters_to_vector(model.parameters())",
            )
        return w
    return _check.array("w_sgd", w_sgd, (None,), mend="give one number for each weight")


def _labels(groups: Any, w: Any) -> Any:
    """The group of each weight as numbers from 0 without gaps, NumPy's or torch's as `w` is."""
    accepted, mend = f"{len(w)} whole numbers >= 0", "give the number of its group for each weight"
    if np.ma.is_masked(groups) or getattr(groups, "is_meta", False):
        raise _check.bad("groups", "an array without all of its values", accepted, mend)
    raw = _check.plain("groups", groups.detach().cpu() if hasattr(groups, "detach") else groups, accepted, mend)
    if raw.dtype.kind not in "iu":
        raise _check.wrong_kind("groups", groups, accepted, mend)
    if raw.shape != (len(w),):
        raise _check.bad("groups", f"an array of shape {raw.shape}", accepted, mend)
    if raw.min() < 0:
        raise _check.bad("groups", f"one with {raw.min()}", accepted, mend)
    labels = np.unique(raw, return_inverse=True)[1].reshape(-1)
    if isinstance(w, np.ndarray):
        return labels
    import torch

    return torch.from_numpy(labels).to(w.device)


def _sign(w: Any) -> Any:
    return np.sign(w) if isinstance(w, np.ndarray) else w.sign()


def _flat(sign: Any, flat_projection: Any) -> Any:
    """The projection of `sign` (d,) on the flat directions, of its kind."""
    d = len(sign)
    accepted = f"a function of a vector ({d},) to one, or a matrix of shape ({d}, {d})"
    if not callable(flat_projection):
        shape = getattr(flat_projection, "shape", None)
        if shape is None:
            raise _check.wrong_kind("flat_projection", flat_projection, accepted, _PROJECTION)
        if tuple(shape) != (d, d):
            raise _check.bad("flat_projection", f"an array of shape {tuple(shape)}", accepted, _PROJECTION)
        return _alike("flat_projection", flat_projection, sign) @ sign
    flat = _users.called(
        "flat_projection", flat_projection, sign, at=f"at a vector ({d},)", accepted=accepted, mend=_PROJECTION
    )
    shape = None if _check.axes_of(flat) is None else np.shape(flat)
    if shape != (d,):
        got = _check.show(flat) if flat is None or shape is None else f"an array of shape {tuple(shape)}"
        raise _check.bad("flat_projection", f"a function that returns {got}", accepted, _PROJECTION)
    return _alike("what flat_projection returns", flat, sign)


def _alike(argument: str, value: Any, sign: Any) -> Any:
    """Finite real numbers, NumPy's or torch's as `sign` is."""
    numpy = isinstance(sign, np.ndarray)
    if hasattr(value, "detach"):
        value = value.detach()
        if value.is_meta or value.is_complex():
            got = "a tensor on the meta device" if value.is_meta else "a tensor of complex numbers"
            raise _check.bad(argument, got, "real numbers", _PROJECTION)
        if not numpy:
            value = value.to(sign)
            if not bool(value.isfinite().all()):
                raise _check.bad(argument, "a tensor with NaN or infinite entries", "finite numbers", _PROJECTION)
            return value
        value = value.cpu().double().numpy()
    checked = _check.rows(argument, value, np.shape(value), mend=_PROJECTION)
    return checked if numpy else sign.new_tensor(checked)

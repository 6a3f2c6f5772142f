"""What is fitted: a problem class or a loss, and what it says of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from rdasde import _check
from rdasde._check import Floats
from rdasde._losses.base import Loss
from rdasde._losses.logistic import LogisticLoss
from rdasde._losses.quantile import QuantileLoss
from rdasde._losses.squared import SquaredLoss
from rdasde._problems.base import Problem
from rdasde._problems.linear_regression import LinearRegression
from rdasde._problems.logistic_regression import LogisticRegression
from rdasde._problems.row_terms import DensityModel, LossModel, RowModel
from rdasde._problems.softmax_rows import first_labels, probabilities


class Subject(NamedTuple):
    """What `fit` needs to know of what is fitted.

    Attributes
    ----------
    kind : type of Problem, or Loss
        As the user has said it.
    name : str
    model : RowModel
    """

    kind: type[Problem] | Loss
    name: str
    model: RowModel

    def __reduce__(self) -> tuple[Any, ...]:
        """By what the user has said: a row model may hold functions that have no name."""
        return subject, (self.kind, self.model.classes)

    def of_labels(self, response: NDArray[Any]) -> Subject:
        """With as many classes as the first rows have, where that is to be read from them."""
        return self if self.model.by_classes is None else subject(self.kind, int(np.max(response)) + 1)

    def responses(self, name: str, y: Any, count: int) -> NDArray[Any]:
        """Those of so many rows, checked; `name` says which batch they are of."""
        if isinstance(self.kind, Loss):
            try:
                return self.kind.check_responses(y, count)
            except (TypeError, ValueError) as error:
                if not name or not str(error).startswith("y "):
                    raise
                raise type(error)("y" + name + str(error)[1:]) from None
        response = _check.rows("y" + name, y, (count,), mend="give one number for each row of X")
        if self.model.is_binary:
            wrong = (response != 0) & (response != 1)
            if np.any(wrong):
                got = f"{response[np.argmax(wrong)]:g} somewhere"
                raise _check.bad("y" + name, got, "labels in {0, 1}", "recode them, for example y > 0")
        if self.model.by_classes is not None:
            first_labels("y" + name, response, " in the first rows", "let these have every class or give classes=")
        elif self.model.classes:
            self._check_classes("y" + name, response)
        return response

    def _check_classes(self, argument: str, labels: NDArray[Any]) -> None:
        last = self.model.classes - 1
        strange = labels[(labels < 0) | (labels > last) | (labels != np.floor(labels))]
        if strange.size:
            mend = "fit anew with classes=, or with first rows that have every class"
            raise _check.bad(argument, f"{strange[0]:g} somewhere", f"labels 0 to {last}", mend)

    def predict(self, rows: NDArray[Any], coef: Floats) -> Floats:
        """What to expect of y for each row; of several classes the probability of each."""
        if not self.model.classes:
            return self.mean_response(np.asarray(rows @ coef, dtype=np.float64))
        return probabilities(rows, coef)

    def mean_response(self, scores: Floats) -> Floats:
        """What to expect of y where x'w is this; the score itself where there is no y."""
        if isinstance(self.kind, Loss):
            return self.kind.mean_response(scores)
        return LogisticLoss().mean_response(scores) if issubclass(self.kind, LogisticRegression) else scores


def subject(kind: Any, classes: int = 0) -> Subject:
    """Of a problem class, or of a loss; TypeError for anything else. `classes` where they are known."""
    if isinstance(kind, Loss):
        return Subject(kind, repr(kind), _of_loss(kind))
    if isinstance(kind, type) and issubclass(kind, Problem) and kind.row_model is not None:
        model = kind.row_model
        if classes and model.by_classes is not None:
            return Subject(kind, f"{kind.__name__} with {classes} classes", model.by_classes(classes))
        return Subject(kind, kind.__name__, model)
    mend = "pass the class itself"
    if isinstance(kind, type) and issubclass(kind, Loss):
        mend = f"pass an instance, for example rs.{kind.__name__}()"
    raise _check.wrong_kind(
        "problem_class",
        kind,
        "rs.LinearRegression, rs.LogisticRegression, rs.SoftmaxRegression, rs.OnlinePCA, or a loss such as "
        "rs.PoissonLoss()",
        mend,
    )


def with_classes(kind: Any, classes: object) -> Subject:
    """The same, of so many classes where that is said (not None)."""
    what = subject(kind)
    if classes is None:
        return what
    if what.model.by_classes is None:
        mend = "leave it out, or fit rs.SoftmaxRegression"
        raise _check.bad("classes", _check.show(classes), f"None for {what.name}", mend)
    mend = "give K, the number of classes, or leave it out where the first rows have every class"
    return subject(kind, _check.count("classes", classes, least=2, mend=mend))


def _of_loss(loss: Loss) -> RowModel:
    if type(loss) is SquaredLoss or type(loss) is LogisticLoss:  # the same bits as the class
        problem: type[Problem] = LinearRegression if type(loss) is SquaredLoss else LogisticRegression
        return cast(RowModel, problem.row_model)
    parameters: Any = LossModel(loss.parameters)
    if isinstance(loss, QuantileLoss) and not loss.is_smooth:
        parameters = DensityModel(loss.level, np.inf)
    return RowModel(
        parameters,
        _gaussian(loss),
        is_binary=loss.response == "label",
        is_linearized=True,
        is_real=loss.response == "real",
        is_count=loss.response == "count",
    )


def _gaussian(loss: Loss) -> Callable[[Floats], Any] | None:
    """Stability is judged where curvature is largest; a kernel's is far above what it is on average."""
    bound = loss.largest_curvature
    if not np.isfinite(bound) or isinstance(loss, QuantileLoss):
        return None
    return lambda second: LinearRegression(np.zeros(len(second)), bound * second)

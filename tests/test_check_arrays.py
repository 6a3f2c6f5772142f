"""Arrays that are no numbers, each called by its name; tables as they come."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import rdasde as rs
from rdasde import _check

ACCEPTED = "must be an array of shape (n, n) of finite numbers"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.array([[1, None]], dtype=object), "X is an array of Python objects, but"),
        (np.array([["a", "b"]]), "X is an array of strings, but"),
        (np.array([[b"a"]]), "X is an array of bytes, but"),
        (np.ones((2, 2)) * 1j, "X is an array of complex numbers, but"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), "X is an array of dates, but"),
        (scipy.sparse.eye(3).tocsr(), "X is a sparse matrix, but"),
    ],
)
def test_what_is_no_number_is_named(value, got):
    for problem in (rs.LinearRegression, rs.LogisticRegression):
        with pytest.raises(TypeError) as caught:
            problem.from_data(value, [0, 1])
        message = str(caught.value)
        assert message.startswith((f"{got} {ACCEPTED}: ", f"{got} {ACCEPTED}, dense: "))
        assert message.endswith(".")
        assert len(message) <= 300


def test_a_column_that_is_no_number_is_named():
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]})
    for problem in (rs.LinearRegression, rs.LogisticRegression):
        with pytest.raises(TypeError, match="column 'a' of X is "):
            problem.from_data(frame, [0, 1])


def test_truth_values_and_tables_count():
    x = np.array([[True, False], [False, True], [True, True]])
    y = [0.0, 1.0, 3.0]
    expected = rs.LinearRegression.from_data(x + 0.0, y)
    assert rs.LinearRegression.from_data(x, y) == expected
    assert rs.LinearRegression.from_data(pd.DataFrame({"a": x[:, 0], "b": x[:, 1] + 0.0}), y) == expected
    nullable = pd.DataFrame({"a": pd.array(x[:, 0], dtype="boolean"), "b": pd.array(x[:, 1] + 0, dtype="Int64")})
    assert rs.LinearRegression.from_data(nullable, pd.Series(y, dtype="Float64")) == expected
    nullable.iloc[1, 1] = pd.NA
    with pytest.raises(ValueError, match="column 'b' of X is without a value in 1 rows"):
        rs.LinearRegression.from_data(nullable, y)
    with pytest.raises(TypeError):
        _check.array("coef", [True], (1,), mend="give numbers")

"""Names, DataFrames and Series; and what is refused by its name."""

import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import rdasde as rs

ALGORITHM = rs.RDA(0.02, rs.L1(), rs.PowerLaw(c=0.3, mu=0.6))
rng = np.random.default_rng(0)
X = np.column_stack([np.ones(900), rng.standard_normal(900), rng.random(900) < 0.5, rng.integers(0, 4, 900)])
y = X @ [0.5, -0.3, 0.2, 0.0] + rng.standard_normal(900)
NAMES = ["constant", "age", "treated", "visits"]
FRAME = pd.DataFrame(X, columns=NAMES)


def fit_of(rows, response=y, **options):
    return rs.fit(rs.HuberLoss(), rows, response, ALGORITHM, **options)


PLAIN = fit_of(X)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.astype({"treated": bool, "visits": int}),
        FRAME.astype({"treated": "boolean", "visits": "Int64", "age": "Float64"}),
        FRAME.astype({"age": "float64", "visits": "uint8"}),
    ],
    ids=["floats", "bool and int", "nullable", "mixed"],
)
@pytest.mark.parametrize(
    "response", [y, pd.Series(y), pd.Series(y).astype("Float64")], ids=["array", "Series", "nullable"]
)
def test_a_frame_is_its_numbers_and_names(frame, response):
    fit = fit_of(frame, response)
    np.testing.assert_array_equal(fit.interval, PLAIN.interval)
    assert fit.names == NAMES
    assert [row[0] for row in fit.summary().rows] == NAMES
    np.testing.assert_array_equal(fit.predict(frame), PLAIN.predict(X))
    assert PLAIN.names == ["0", "1", "2", "3"]


def test_a_stream_of_frames():
    parts = [
        (FRAME[low : low + 300], pd.Series(y[low : low + 300], FRAME.index[low : low + 300])) for low in (0, 300, 600)
    ]
    np.testing.assert_array_equal(rs.fit(rs.HuberLoss(), parts, None, ALGORITHM).interval, PLAIN.interval)
    fit = fit_of(FRAME[:300], y[:300]).update(X[300:], y[300:])
    assert fit.names == NAMES
    with pytest.raises(ValueError, match=r"^X is a DataFrame with its columns in another order") as caught:
        fit.update(FRAME[NAMES[::-1]], y)
    assert str(caught.value).endswith("pass X[fit.names].")
    with pytest.raises(ValueError, match="columns in another order"):
        fit.predict(FRAME[NAMES[::-1]])
    assert fit.rows == 900


ORDER = "one with the columns of the first rows in their order"
OTHERS = {
    f"X is a DataFrame without the column 'age', but must be {ORDER}: pass X[fit.names].": {"age": "height"},
    f"X is a DataFrame without the column 'constant' and 3 more, but must be {ORDER}: pass X[fit.names].": dict(
        zip(NAMES, "abcd", strict=True)
    ),
}


@pytest.mark.parametrize("sentence", OTHERS, ids=range(len(OTHERS)))
def test_columns_are_those_of_the_first_frame(sentence):
    fit = fit_of(FRAME)
    other = FRAME.rename(columns=OTHERS[sentence])
    for act in (lambda: fit.predict(other), lambda: fit.update(other, y)):
        with pytest.raises(ValueError, match=r"^X is a DataFrame") as caught:
            act()
        assert str(caught.value) == sentence
    assert fit.rows == 900
    assert fit.update(FRAME, y).rows == 1800


def test_a_frame_with_more_columns():
    with pytest.raises(ValueError, match=r"^X of batch 1 is a DataFrame with 5 columns instead of 4, but must be"):
        rs.fit(rs.HuberLoss(), [(FRAME, y), (FRAME.assign(more=1.0), y)], None, ALGORITHM)


def test_names_that_are_given_are_not_labels():
    """A frame is compared with the first frame, whatever its columns are called in the fit."""
    fit = fit_of(FRAME, names=NAMES[::-1])
    np.testing.assert_array_equal(fit.predict(FRAME), PLAIN.predict(X))
    with pytest.raises(ValueError, match=r"another order.*pass X\[\['constant', 'age', 'treated', 'visits'\]\]\.$"):
        fit.predict(FRAME[NAMES[::-1]])
    fit = fit_of(X, names=["a", "b", "c", "d"])  # the first frame comes later
    np.testing.assert_array_equal(fit.predict(FRAME), PLAIN.predict(X))
    fit.update(FRAME, y)
    with pytest.raises(ValueError, match=r"^X is a DataFrame without the column 'age'"):
        fit.predict(FRAME.rename(columns={"age": "height"}))


def test_names():
    assert fit_of(X, names=NAMES).names == NAMES
    assert fit_of(FRAME, names=("a", "b", "c", "d")).names == ["a", "b", "c", "d"]
    long = fit_of(X, names=["x" * 40, "b", "c", "d"])
    assert len(long.summary().rows[0][0]) == 16


def test_to_dataframe():
    fit = fit_of(FRAME, inference="random-scaling")
    table = fit.to_dataframe()
    assert list(table.index) == NAMES
    assert list(table.columns) == [
        "coef", "std_error", "z", "p_value", "lower", "upper", "raw", "shift", "last", "last_std_error", "in_support",
    ]  # fmt: skip
    np.testing.assert_array_equal(table[["lower", "upper"]].to_numpy(), fit.interval)
    np.testing.assert_array_equal(table["raw"] - table["shift"], table["coef"])
    np.testing.assert_array_equal(table["in_support"], fit.support)
    assert table["in_support"].dtype == bool


def test_to_dataframe_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError) as caught:
        PLAIN.to_dataframe()
    assert str(caught.value) == "to_dataframe needs pandas, which is not installed: run pip install pandas."


def masked(values):
    return np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 5)


SHAPE = "an array of shape (n, n) of finite numbers"
ROWS = "give one row for each observation"
CASES = {
    f"X is an array with 1 masked entries, but must be {SHAPE}: {ROWS}.": lambda: fit_of(masked(X)),
    "y is an array with 1 masked entries, but must be an array of shape (900,) of finite numbers: "
    "give one response for each row of X.": lambda: fit_of(X, masked(y)),
    f"X is a sparse matrix, but must be {SHAPE}, dense: pass its .toarray().": lambda: fit_of(
        scipy.sparse.csr_matrix(X)
    ),
    f"X is an array of Python objects, but must be {SHAPE}: convert it, for example by astype(float).": lambda: fit_of(
        X.astype(object)
    ),
    f"X is an array of strings, but must be {SHAPE}: convert them to numbers, or encode categories in columns of 0 and "
    "1.": lambda: fit_of(X.astype(str)),
    f"X is an array of complex numbers, but must be {SHAPE}: pass real and imaginary parts as columns.": lambda: fit_of(
        X + 0j
    ),
    "column 'age' of X is of dtype object, but must be of numbers or truth values: encode it, for example by "
    "pandas.get_dummies.": lambda: fit_of(FRAME.astype({"age": object})),
    "column 'visits' of X is of dtype category, but must be of numbers or truth values: encode it, for example by "
    "pandas.get_dummies.": lambda: fit_of(FRAME.astype({"visits": "category"})),
    "column 'age' of X is without a value in 900 rows, but must be of finite numbers: drop or fill these rows.": (
        lambda: fit_of(FRAME.assign(age=np.nan))
    ),
    "column 'visits' of X is without a value in 1 rows, but must be of finite numbers: drop or fill these rows.": (
        lambda: fit_of(FRAME.assign(visits=FRAME["visits"].astype("Int64").where(FRAME.index != 3)))
    ),
    "y is a Series whose index differs from that of X, but must be in the order of X: pass y.loc[X.index].": (
        lambda: fit_of(FRAME, pd.Series(y, FRAME.index[::-1]))
    ),
    "y is of dtype category, but must be of numbers or truth values: convert it by astype(float), or encode labels by "
    "pandas.factorize.": lambda: fit_of(FRAME, pd.Series(np.round(y)).astype("category")),
    "X is a list with 2 masked entries, but must be of finite numbers: drop or fill these rows.": (
        lambda: fit_of([np.ma.masked_array(X[0], [True, False, False, True]), X[1]], y[:2])
    ),
    "y is a list with 1 masked entries, but must be of finite numbers: drop or fill these rows.": (
        lambda: fit_of(X[:2], [1.0, np.ma.masked])
    ),
    "names is 'abcd' (str), but must be a list of different strings: give one for each column.": (
        lambda: fit_of(X, names="abcd")
    ),
    "names is 3 (int), but must be a list of different strings: give one for each column.": (
        lambda: fit_of(X, names=["a", "b", "c", 3])
    ),
    "names is ['a', 'b', 'c', 'a'], but must be a list of different strings: give one for each column.": (
        lambda: fit_of(X, names=["a", "b", "c", "a"])
    ),
    "names is of length 2, but must be of length 4: give one for each column.": lambda: fit_of(X, names=["a", "b"]),
    "coef is an array with 1 masked entries, but must be an array of shape (n,) of finite numbers: "
    "give one number for each coordinate.": lambda: rs.LinearRegression(masked(y)),
    "step_size is masked (MaskedConstant), but must be a finite number > 0: give for example step_size=1e-3.": (
        lambda: rs.RDA(np.ma.masked)
    ),
}


@pytest.mark.parametrize("sentence", CASES, ids=range(len(CASES)))
def test_bad_input_is_refused_by_name(sentence):
    with pytest.raises((ValueError, TypeError)) as caught:
        CASES[sentence]()
    assert str(caught.value) == sentence
    assert len(sentence) <= 300


def test_nothing_masked_is_an_array():
    np.testing.assert_array_equal(fit_of(np.ma.masked_array(X)).interval, PLAIN.interval)


def test_tensors():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(fit_of(torch.from_numpy(X), torch.from_numpy(y)).interval, PLAIN.interval)
    with pytest.raises(TypeError, match=r"^X is no array \(.*requires grad.*\), but must be an array of shape"):
        fit_of(torch.from_numpy(X).requires_grad_(), y)
    with pytest.raises(TypeError, match=r"^X is no array \(.*BFloat16.*\), but must be an array of shape"):
        fit_of(torch.from_numpy(X).to(torch.bfloat16), y)

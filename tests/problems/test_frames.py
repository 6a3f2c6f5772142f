"""Problems on the rows of a DataFrame: its numbers, and what is refused by its name."""

import numpy as np
import pandas as pd
import pytest

import rdasde as rs

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"age": rng.standard_normal(60), "visits": rng.integers(0, 4, 60), "treated": rng.random(60) < 0.5}
)
ROWS = FRAME.to_numpy(dtype=np.float64)
LABEL = pd.Series((rng.random(60) < 0.5).astype(float))
MAKE = {
    "linear": rs.LinearRegression.from_data,
    "logistic": rs.LogisticRegression.from_data,
    "loss": lambda X, y: rs.LinearModel.from_data(rs.HuberLoss(), X, y),
    "softmax": rs.SoftmaxRegression.from_data,
    "mlp": lambda X, y: rs.MLP(X, y, 3),
    "pca": lambda X, y: rs.OnlinePCA.from_data(X),
}
SUPERVISED = [kind for kind in MAKE if kind != "pca"]


@pytest.mark.parametrize("kind", MAKE)
def test_a_frame_is_its_numbers(kind):
    plain = MAKE[kind](ROWS, LABEL.to_numpy())
    floats = FRAME.astype(float)
    for frame in (floats, floats.astype({"visits": "Int64"}), FRAME):
        np.testing.assert_array_equal(MAKE[kind](frame, LABEL).rows, plain.rows)
    w = np.linspace(-0.5, 0.5, plain.dimension)
    np.testing.assert_array_equal(MAKE[kind](floats, LABEL).mean_gradient(w), plain.mean_gradient(w))


@pytest.mark.parametrize("kind", SUPERVISED)
def test_responses_are_those_of_their_rows(kind):
    with pytest.raises(ValueError, match=r"^y is a Series") as caught:
        MAKE[kind](FRAME, LABEL[::-1])
    sentence = "y is a Series whose index differs from that of X, but must be in the order of X: pass y.loc[X.index]."
    assert str(caught.value) == sentence
    shuffled = FRAME.index[::-1]
    np.testing.assert_array_equal(MAKE[kind](FRAME.loc[shuffled], LABEL[::-1]).rows, ROWS[::-1])


@pytest.mark.parametrize("kind", MAKE)
def test_categories_are_no_numbers(kind):
    name = "Z" if kind == "pca" else "X"
    with pytest.raises(TypeError) as caught:
        MAKE[kind](FRAME.astype({"visits": "category"}), LABEL)
    assert str(caught.value) == (
        f"column 'visits' of {name} is of dtype category, but must be of numbers or truth values: encode it, for "
        "example by pandas.get_dummies."
    )


@pytest.mark.parametrize("kind", SUPERVISED)
def test_categories_are_no_responses(kind):
    with pytest.raises(TypeError) as caught:
        MAKE[kind](FRAME, LABEL.astype("category"))
    assert str(caught.value) == (
        "y is of dtype category, but must be of numbers or truth values: convert it by astype(float), or encode labels "
        "by pandas.factorize."
    )


@pytest.mark.parametrize("kind", MAKE)
def test_masked_rows_in_a_list(kind):
    rows = [np.ma.masked_array(row, [i == 3, False, False]) for i, row in enumerate(ROWS)]
    name = "Z" if kind == "pca" else "X"
    with pytest.raises(ValueError, match="masked") as caught:
        MAKE[kind](rows, LABEL)
    sentence = f"{name} is a list with 1 masked entries, but must be of finite numbers: drop or fill these rows."
    assert str(caught.value) == sentence


def test_a_network_predicts_for_a_frame_like_its_own():
    network = rs.MLP(FRAME, LABEL, 3)
    w = np.linspace(-0.5, 0.5, network.dimension)
    np.testing.assert_array_equal(network.predict(w, FRAME), network.predict(w, ROWS))

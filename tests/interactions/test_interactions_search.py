"""Searching and training anew: what is found, what is exact, what depends on the seed alone."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from rdasde._errors import TooMuchMemoryError
from rdasde.interactions import (
    FM,
    DeepFM,
    Interactions,
    evaluate,
    gates,
    planted,
    plot,
    predict,
    retrain,
    search,
    selected,
    weights,
)
from rdasde.pruning import GRDA

CHEAP = {"epochs": 4, "seed": 0, "batch_size": 128}


@pytest.fixture(scope="module")
def data():
    return planted(6000, fields=5, pairs=2, cardinality=4, strength=1.0, seed=1)


@pytest.fixture(scope="module")
def searched(data):
    model = FM(data.cardinalities, dim=4, seed=0)
    history = search(model, data.X, data.y, c=0.05, validation=(data.X, data.y), lr=5e-3, **CHEAP)
    return model, history


def test_the_planted_pairs_are_found_and_the_others_exactly_zero(data, searched):
    model, history = searched
    table = selected(model)
    assert sorted(zip(table["field_i"], table["field_j"], strict=True)) == list(data.pairs)
    assert list(table["gate"].abs()) == sorted(table["gate"].abs(), reverse=True)
    gate = model.interactions.gate.detach()
    assert int((gate == 0).sum()) == 8
    assert history["kept"].values[-1] == 2
    np.testing.assert_array_equal(history["gate"].values[-1], gate.double())
    assert history["auc"].values[-1] == pytest.approx(evaluate(model, data.X, data.y).auc, abs=0)


def test_training_anew_keeps_those_and_is_smaller(data, searched):
    model, _ = searched
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = retrain(model, data.X, data.y, lr=5e-3, **CHEAP)
    assert small.interactions.interactions == list(data.pairs)
    used = {field for pair in data.pairs for field in pair}
    assert small.embedding.weight.shape == (4 * len(used), 4)
    assert evaluate(small, data.X, data.y).auc > evaluate(model, data.X, data.y).auc - 0.01
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not small.training


def test_everything_depends_on_the_seed_alone(data, searched):
    model, history = searched
    torch.manual_seed(99)
    again = FM(data.cardinalities, dim=4, seed=0)
    repeated = search(again, data.X, data.y, c=0.05, validation=(data.X, data.y), lr=5e-3, **CHEAP)
    assert repeated.identical(history)
    one, two = (retrain(m, data.X, data.y, epochs=1, seed=4) for m in (model, again))
    np.testing.assert_array_equal(predict(one, data.X), predict(two, data.X))


def test_search_is_the_loop_that_a_user_would_write(data):
    """Adam on the weights, GRDA on the gates, batches in the order of the seed."""
    model, own = (FM(data.cardinalities, dim=4, seed=0) for _ in range(2))
    search(model, data.X, data.y, c=0.03, mu=0.7, epochs=2, warmup=0, seed=5, batch_size=500)
    optimizers = torch.optim.Adam(weights(own), 1e-3), GRDA(gates(own), lr=1.0, c=0.03, mu=0.7)
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y).float()
    for epoch in range(2):
        for rows in np.array_split(np.random.default_rng([5, epoch]).permutation(6000), 12):
            for optimizer in optimizers:
                optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(own(X[rows]), y[rows]).backward()
            for optimizer in optimizers:
                optimizer.step()
    for a, b in zip(model.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_no_gate_closes_before_the_threshold_grows(data):
    model = FM(data.cardinalities, dim=4, seed=0)
    history = search(model, data.X, data.y, c=10.0, epochs=2, warmup=1, seed=0)
    assert history["kept"].values.tolist() == [10, 0]


class Own(torch.nn.Module):
    """A user's model: an embedding for each field, two of them never in an interaction."""

    def __init__(self, cardinalities):
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(size, 3) for size in cardinalities)
        self.cross = Interactions(len(cardinalities), triples=True)
        self.head = torch.nn.Linear(3 * len(cardinalities), 1)

    def forward(self, X):
        e = torch.stack([table(X[:, k]) for k, table in enumerate(self.tables)], 1)
        return self.head(e.flatten(1)).squeeze(1) + self.cross(e)


def test_a_model_of_ones_own_with_triples(data):
    torch.manual_seed(0)
    model = Own(data.cardinalities)
    search(model, data.X, data.y, c=0.02, epochs=2, seed=0, batch_size=256)
    table = selected(model, fields=list("abcde"))
    assert list(table.columns) == ["field_i", "field_j", "field_k", "gate"]
    assert set(table["field_i"]) <= set("abcde")
    small = retrain(model, data.X, data.y, epochs=1, seed=0)
    assert len(small.cross.interactions) == len(table) == int(torch.count_nonzero(model.cross.gate))
    assert isinstance(small, Own)


def test_a_choice_of_ones_own(data):
    model = DeepFM(data.cardinalities, dim=3, hidden=(4,), seed=0)
    small = retrain(model, data.X, data.y, epochs=1, seed=0, interactions=[(0, 2), (1, 3)])
    assert small.interactions.interactions == [(0, 2), (1, 3)]


def test_training_stops_at_its_best(data):
    model = FM(data.cardinalities, dim=4, seed=0)
    half = len(data.y) // 2
    rows, validation = (data.X[:half], data.y[:half]), (data.X[half:], data.y[half:])
    small = retrain(model, *rows, epochs=30, seed=0, lr=0.05, validation=validation, patience=1)
    again = retrain(model, *rows, epochs=1, seed=0, lr=0.05)
    assert evaluate(small, *validation).auc >= evaluate(again, *validation).auc


def test_scores_are_those_of_their_definitions():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = torch.nn.Parameter(torch.tensor([0.0, 1.0, 1.0, -2.0, 0.5]))

        def forward(self, X):
            return self.scores[X[:, 0]]

    X, y = np.arange(5)[:, None], np.array([0, 1, 0, 0, 1])
    s = Fixed().scores.detach().double().numpy()
    pairs = [(s[a] > s[b]) + 0.5 * (s[a] == s[b]) for a, b in itertools.product([1, 4], [0, 2, 3])]
    p = predict(Fixed(), X)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-s)), rtol=1e-12)
    loss = -np.mean(np.log(np.where(y == 1, p, 1 - p)))
    assert evaluate(Fixed(), X, y) == (np.mean(pairs), pytest.approx(loss, rel=1e-12))


def test_the_picture_is_blank_where_gates_are_closed(searched, data):
    axis = plot(searched[0], fields=list("abcde")).axes[0]
    picture = axis.images[0].get_array()
    shown = {(int(i), int(j)) for i, j in np.argwhere(~np.ma.getmaskarray(picture)) if i < j}
    assert shown == set(data.pairs)
    assert axis.get_title(loc="left") == "2 of 10 pairs"
    figure = axis.figure
    mine = figure.add_axes([0.5, 0.5, 0.2, 0.2])
    assert plot(searched[0], ax=mine) is figure
    assert len(mine.images) == 1
    with pytest.raises(TypeError, match=r"^ax is 3 \(int\), but must be axes of Matplotlib or None"):
        plot(searched[0], ax=3)
    np.testing.assert_array_equal(np.ma.filled(picture, 0), np.ma.filled(picture, 0).T)


class TestPlanted:
    def test_terms_have_the_strength_asked_for(self):
        """Over all codes; rows draw them uniformly, so that sums of squares are those of the tables."""
        data = planted(200_000, fields=3, pairs=1, cardinality=3, strength=0.7, main=0.0, seed=0)
        (pair,) = data.pairs
        cells = {tuple(code): logit for code, logit in zip(data.X[:, pair], data.logits, strict=True)}
        table = np.array([[cells[i, j] for j in range(3)] for i in range(3)])
        assert table.std() == pytest.approx(0.7, rel=1e-12)
        np.testing.assert_allclose([table.mean(0), table.mean(1)], 0.0, atol=1e-12)

    def test_labels_follow_the_logits(self):
        """Null: the mean of y - p is 0; n = 200 000, false alarms 1e-5 (4.4 standard errors)."""
        data = planted(200_000, seed=0)
        p = 1 / (1 + np.exp(-data.logits))
        assert abs((data.y - p).mean()) < 4.4 * np.sqrt((p * (1 - p)).mean() / 200_000)


BAD = {
    "no gates": (
        lambda d: search(FM(d.cardinalities, gates=False), d.X, d.y),
        "model is a FM with 0 layers of gates, but must be a module with one: use for example "
        "FM(cardinalities, gates=True), or put Interactions(fields) in yours.",
    ),
    "all closed": (
        lambda d: retrain(_closed(d), d.X, d.y),
        "model is one whose gates are all closed, but must be one with an open gate: search anew with a smaller c.",
    ),
    "code": (
        lambda d: search(FM([3, 4, 4, 4, 4]), d.X, d.y),
        "X is one with code 3 in field 0, but must be codes 0 to 2 there: encode new rows by the Codebook of the old "
        "ones, which has a code for what it has not seen.",
    ),
    "fields": (
        lambda d: search(FM([4, 4]), d.X, d.y),
        "X is an array of shape (6000, 5), but must be integer codes of shape (n, 2): encode the table by a Codebook.",
    ),
    "labels": (
        lambda d: search(FM(d.cardinalities), d.X, d.y + 1),
        "y is an array of 1, 2, but must be 6000 labels, 0 or 1, of both kinds: code the two classes as 0 and 1, for "
        "example by Codebook.outcome.",
    ),
    "one class": (
        lambda d: search(FM(d.cardinalities), d.X, 0 * d.y),
        "y is an array of 0, but must be 6000 labels, 0 or 1, of both kinds: code the two classes as 0 and 1, for "
        "example by Codebook.outcome.",
    ),
    "interactions": (
        lambda d: retrain(FM(d.cardinalities, interactions=[(0, 1)]), d.X, d.y, interactions=[(0, 2)]),
        "interactions is one with (0, 2), but must be among those of the model: leave it out, or build a new model.",
    ),
    "logits": (
        lambda d: search(_Wide(), d.X, d.y, batch_size=1000),
        "model is a module that returns shape (1000, 1) for 1000 rows, but must be one that returns logits of shape "
        "(1000,): squeeze its last axis.",
    ),
    "names": (
        lambda d: selected(FM(d.cardinalities), ["a", "b"]),
        "fields is ['a', 'b'], but must be 5 names: give one for each field, for example codebook.fields.",
    ),
    "cardinalities": (
        lambda d: FM(5),
        "cardinalities is 5, but must be a sequence of two or more whole numbers: give how many codes each field has, "
        "for example codebook.cardinalities.",
    ),
    "masked codes": (
        lambda d: predict(FM(d.cardinalities), np.ma.array(d.X, mask=d.X > 2)),
        lambda d: (
            f"X is an array with {(d.X > 2).sum()} masked entries, but must be integer codes of shape (n, 5): "
            "encode the table by a Codebook."
        ),
    ),
    "masked labels": (
        lambda d: evaluate(FM(d.cardinalities), d.X, np.ma.array(d.y, mask=d.y > 0)),
        lambda d: (
            f"y is an array with {d.y.sum()} masked entries, but must be 6000 labels, 0 or 1, of both kinds: "
            "code the two classes as 0 and 1, for example by Codebook.outcome."
        ),
    ),
    "masked search": (
        lambda d: search(FM(d.cardinalities), d.X, np.ma.array(d.y, mask=d.y > 0)),
        lambda d: (
            f"y is an array with {d.y.sum()} masked entries, but must be 6000 labels, 0 or 1, of both kinds: "
            "code the two classes as 0 and 1, for example by Codebook.outcome."
        ),
    ),
    "ragged codes": (
        lambda d: predict(FM(d.cardinalities), [[0], [1, 2]]),
        "X is a ragged sequence, but must be integer codes of shape (n, 5): encode the table by a Codebook.",
    ),
    "codes without values": (
        lambda d: predict(FM(d.cardinalities), torch.zeros(2, 5, dtype=torch.int64, device="meta")),
        "X is a tensor on the meta device, but must be integer codes of shape (n, 5): encode the table by a Codebook.",
    ),
    "frozen": (
        lambda d: search(FM(d.cardinalities).requires_grad_(False), d.X, d.y),
        "model is one whose gates are frozen, but must be one whose gates need a gradient: "
        "call model.requires_grad_().",
    ),
    "meta": (
        lambda d: search(FM(d.cardinalities).to("meta"), d.X, d.y),
        "model is one whose bias is on the meta device, but must be one whose parameters have values: "
        "load weights on another device.",
    ),
    "no logits": (
        lambda d: predict(torch.nn.Identity(), d.X),
        "model is a module that returns shape (6000, 5) for 6000 rows, but must be one that returns logits of shape "
        "(6000,): squeeze its last axis.",
    ),
    "number of names": (
        lambda d: selected(FM(d.cardinalities), 5),
        "fields is 5, but must be 5 names: give one for each field, for example codebook.fields.",
    ),
    "mu": (
        lambda d: search(FM(d.cardinalities), d.X, d.y, mu=2),
        "mu is 2, but must be a finite number > 0 and <= 1: give the exponent, for example mu=0.8.",
    ),
}


def _closed(data):
    model = FM(data.cardinalities)
    with torch.no_grad():
        model.interactions.gate.zero_()
    return model


class _Wide(Own):
    def __init__(self):
        super().__init__([4] * 5)

    def forward(self, X):
        return super().forward(X)[:, None]


@pytest.mark.parametrize("name", BAD)
def test_bad_input_in_one_sentence(name, data):
    call, sentence = BAD[name]
    with pytest.raises(ValueError, match="but must be") as error:
        call(data)
    assert str(error.value) == (sentence(data) if callable(sentence) else sentence)


class Interrupted(FM):
    """Ctrl-C at a batch of the third epoch of ten batches."""

    calls = 0

    def forward(self, X):
        self.calls += self.training
        if self.training and self.calls == 25:
            raise KeyboardInterrupt
        return super().forward(X)


def test_ctrl_c_in_a_search_leaves_the_epochs_that_were_finished(data):
    options = {"c": 0.05, "seed": 0, "batch_size": 600, "validation": (data.X, data.y)}
    model, wanted = Interrupted(data.cardinalities, dim=4, seed=0), FM(data.cardinalities, dim=4, seed=0)
    with pytest.raises(KeyboardInterrupt) as caught:
        search(model, data.X, data.y, epochs=5, **options)
    assert caught.value.partial.identical(search(wanted, data.X, data.y, epochs=2, **options))
    assert caught.value.__notes__ == [
        "rdasde: .partial of this KeyboardInterrupt (sys.last_value) holds the 2 epochs that were finished, after the "
        "last of which model is."
    ]
    for mine, other in zip(model.parameters(), wanted.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_ctrl_c_while_training_anew_leaves_the_model_after_the_last_epoch(data):
    options = {"seed": 0, "batch_size": 600, "validation": (data.X, data.y), "patience": 5}
    with pytest.raises(KeyboardInterrupt) as caught:
        retrain(Interrupted(data.cardinalities, dim=4, seed=0), data.X, data.y, epochs=5, **options)
    partial = caught.value.partial
    wanted = retrain(FM(data.cardinalities, dim=4, seed=0), data.X, data.y, epochs=2, **options)
    assert not partial["model"].training
    assert partial["history"].sizes["epoch"] == 2
    assert partial["history"]["auc"].values[-1] == evaluate(wanted, data.X, data.y).auc
    np.testing.assert_array_equal(predict(partial["model"], data.X), predict(wanted, data.X))


def test_ctrl_c_before_an_epoch_is_finished_leaves_first_weights(data):
    model, before = Interrupted(data.cardinalities, dim=4, seed=0), FM(data.cardinalities, dim=4, seed=0)
    with pytest.raises(KeyboardInterrupt) as caught:
        search(model, data.X, data.y, epochs=5, seed=0, batch_size=200)
    assert not hasattr(caught.value, "partial")
    for mine, other in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_sizes_that_do_not_fit_are_refused_at_once():
    calls = [lambda: planted(10**12), lambda: planted(10, fields=10**7), lambda: planted(10, cardinality=10**7)]
    calls += [lambda: FM([10**12, 3]), lambda: Interactions(10**6), lambda: DeepFM([3, 4], hidden=(10**7, 10**7))]
    for call in calls:
        with pytest.raises(TooMuchMemoryError, match=r"would take .* GiB, but .* GiB of memory are free: \w+ .*\.$"):
            call()


def test_a_loss_that_runs_away_says_so(data):
    with pytest.raises(ArithmeticError, match="the learning rates are too large; lower lr or gate_lr"):
        search(FM(data.cardinalities, seed=0), data.X, data.y, epochs=3, lr=1e30, seed=0)

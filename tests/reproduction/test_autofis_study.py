"""The study of interactions, at a small size, on films drawn at random."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

from rdasde import _studies
from rdasde._studies import _interaction_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """900 ratings as recbole lays them out."""
    folder, rng = tmp_path_factory.mktemp("ml-100k"), np.random.default_rng(0)
    users = [f"{k}\t{20 + k}\t{'MF'[k % 2]}\tother\t{k % 10}1234" for k in range(30)]
    items = [f"{k}\tTitle\t{1960 + k}\t{['Drama', 'Comedy War'][k % 2]}" for k in range(20)]
    ratings = [
        f"{rng.integers(30)}\t{rng.integers(20)}\t{rng.integers(1, 6)}\t{int(rng.integers(10**6))}" for _ in range(900)
    ]
    for ending, header, lines in (
        ("user", "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token", users),
        ("item", "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq", items),
        ("inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", ratings),
    ):
        (folder / f"ml-100k.{ending}").write_text("\n".join([header, *lines]) + "\n")
    return folder


@pytest.fixture
def pieces(tmp_path_factory, folder, monkeypatch):
    monkeypatch.setenv("RDASDE_RECBOLE", str(folder))
    return _studies.Pieces(folder / "store", small=True)


def test_every_method_has_as_many_pairs_as_gates_are_open(pieces):
    plan = _interaction_runs.SMALL
    runs = _interaction_runs.all_films(pieces, plan)
    assert list(runs) == ["random", "time"]
    for by_seed in runs.values():
        assert len(by_seed) == plan.seeds
        for run in by_seed:
            for name, values in run.items():
                assert "kept" in name or (0.0 <= values[0] <= 1.0 and values[1] > 0.0), name


def test_draws_and_tabulates_from_the_same_pieces(pieces, monkeypatch):
    figure, table = _studies.run("autofis", pieces)
    assert len(figure.axes) == 3
    for word in (
        "Planted pairs",
        "split at random",
        "split by time",
        "gRDA 0.02",
        "l1 0.02",
        "information",
        "median ratio",
    ):
        assert word in table

    def refuse(*arguments):
        raise AssertionError("a finished piece is computed again")

    for name in ("_train", "_search", "_costs"):
        monkeypatch.setattr(_interaction_runs, name, refuse)
    assert _studies.run("autofis", pieces).table == table


def test_without_films_it_says_so(pieces, monkeypatch, tmp_path):
    _studies.run("autofis", pieces)
    for kind in ("planted", "cost"):
        for file in pieces.store.glob(f"interactions-{kind}-*"):
            shutil.copy(file, tmp_path)
    monkeypatch.delenv("RDASDE_RECBOLE")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    figure, table = _studies.run("autofis", _studies.Pieces(tmp_path, small=True))
    assert len(figure.axes) == 1
    assert "MovieLens-100K comes with recbole" in figure.caption
    assert "Planted pairs" in table


def test_information_is_that_of_the_definition():
    """A pair that decides the label alone, among pairs that do not; and the bias of Miller & Madow by hand."""
    rng = np.random.default_rng(0)
    X = rng.integers(2, size=(4000, 4))
    order = _interaction_runs._by_information(X, X[:, 1] ^ X[:, 3])
    assert _interaction_runs._pairs(4)[order[0]] == [1, 3]

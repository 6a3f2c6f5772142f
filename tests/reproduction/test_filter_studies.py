"""The studies of whole filters, at a small size."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_pruning")
pytest.importorskip("sklearn")

from rdasde import _studies
from rdasde._studies import _filter_runs


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return _studies.Pieces(tmp_path_factory.mktemp("store"), small=True)


def test_methods_are_compared_at_equal_multiply_adds(pieces):
    for plan in _filter_runs.SMALL:
        runs = _filter_runs.runs(pieces, plan).runs
        for directional, other in zip(runs["grda"], runs["magnitude"], strict=True):
            assert 0.0 < other["multiply_adds"] == directional["multiply_adds"] < 1.0
            assert max(directional["error"], other["error"]) < 1e-5


@pytest.mark.parametrize("name", ["filters", "valley-filters"])
def test_draws_and_tabulates(pieces, name):
    figure, table = _studies.run(name, pieces)
    assert len(figure.axes) == 3
    rows = table.splitlines()
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == {"filters": 2 + 6, "valley-filters": 2 + 2}[name]

"""The studies of the landscape, at small size: a network with batch norm on the digits."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from rdasde import _studies


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return _studies.Pieces(tmp_path_factory.mktemp("store"), small=True)


def test_valley(pieces):
    figure, table = _studies.run("valley", pieces)
    assert len(figure.axes) == 4  # a color bar
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["0", "1"]
    for row in rows:
        pruned, plain, curve, segment = map(float, row[4:8])
        assert curve >= max(pruned, plain)
        assert segment >= max(pruned, plain)
        assert row[-1].strip() == ("yes" if curve < max(pruned, plain) + 0.05 and float(row[8]) < 1.0 else "no")


def test_hessian_projection(pieces):
    figure, table = _studies.run("hessian-projection", pieces)
    assert len(figure.axes) == 2
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
    assert [row[1].strip() for row in rows] == ["1", "2"]
    assert all(0.0 <= float(row[2]) <= 1.0 for row in rows)
    assert all(float(row[5]) >= float(row[6]) for row in rows)


def test_closed_form(pieces):
    figure, table = _studies.run("closed-form", pieces)
    assert len(figure.axes) == 3
    rows = [line.split("|")[1:-1] for line in table.splitlines()[2:]]
    assert [(row[0].strip(), row[1].strip()) for row in rows] == [
        (c, rate) for c in ("0.005", "0.02") for rate in ("0.1", "0.05")
    ]
    for row in rows:
        assert all(0.0 <= float(value) <= 1.0 for value in row[4:])
    # at a smaller step the threshold is smaller beside the weights, and there are fewer zeros
    for here, there in ((rows[0], rows[1]), (rows[2], rows[3])):
        assert float(here[2]) > float(there[2])
        assert float(here[3]) > float(there[3])

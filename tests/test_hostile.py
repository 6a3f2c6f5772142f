"""Files that would run something if they were unpickled: nothing that is loaded is executed."""

import itertools
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rdasde as rs
from rdasde import _cli
from rdasde._engine.store import save_arrays

PROBLEM, RULE = rs.LinearRegression([0.5, 0.0]), rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))


class Bomb:
    """Unpickled, it makes a directory."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.mkdir, (self.place,)


@pytest.fixture
def crater(tmp_path):
    """What the bomb would make; it works."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "trial")))
    assert (tmp_path / "trial").is_dir()
    yield tmp_path / "crater"
    assert not (tmp_path / "crater").exists()


def objects(place):
    return np.array([Bomb(place)], dtype=object)


def test_a_block_of_a_store(tmp_path, crater):
    store = tmp_path / "store"
    runs = rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0, store=store)
    block = min(store.glob("block-*.npz"))
    whole = block.read_bytes()
    np.savez(block, dual=objects(crater))
    sentence = f"store is a directory whose file {block.name} cannot be read"
    for content in (block.read_bytes(), pickle.dumps(Bomb(crater)), whole[: len(whole) // 2], b""):
        block.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(sentence) + r".*remove the file, and its part is computed anew"):
            rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0, store=store)
    block.unlink()
    assert rs.simulate(PROBLEM, RULE, 0.1, replicates=20, seed=0, store=store).identical(runs)


def test_the_header_of_a_store(tmp_path, crater):
    rs.simulate(PROBLEM, RULE, 0.1, replicates=3, seed=0, store=tmp_path)
    for content in (pickle.dumps(Bomb(crater), protocol=0), b"[1, 2]", b"{"):
        (tmp_path / "run.json").write_bytes(content)
        for seed in (0, None):
            with pytest.raises(ValueError, match=r"^store is a directory whose run\.json does not describe a run"):
                rs.simulate(PROBLEM, RULE, 0.1, replicates=3, seed=seed, store=tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^store is a directory with another run"):
        rs.simulate(PROBLEM, RULE, 0.1, replicates=3, store=tmp_path)


def test_a_result(tmp_path, crater):
    path = tmp_path / "result.nc"
    path.write_bytes(pickle.dumps(Bomb(crater)))
    with pytest.raises(ValueError, match=r"^path is .*result\.nc, but must be a netCDF file"):
        rs.load(path)
    runs = rs.simulate(PROBLEM, RULE, 0.1, replicates=3, seed=0)
    evil = "pathlib.Path.mkdir"  # what a file calls its problem is looked up in a table, and nowhere else
    told = {"kind": evil, "path": str(crater)}
    descriptions = [{"problem": told, "schedule": told}, {"problem": evil, "schedule": 3}, {"problem": None}, [1], evil]
    for description, regularizer in itertools.product(descriptions, [evil, json.dumps(told), "[1]"]):
        runs.attrs |= {"description": json.dumps(description), "regularizer": regularizer}
        runs.to_netcdf(path, engine="scipy")
        with pytest.warns(UserWarning, match=r"of this result cannot be made again: .*; make it as you did before\.$"):
            loaded = rs.load(path)
        assert loaded.problem is None
        assert loaded.algorithm is None


def test_a_configuration(tmp_path, crater, capsys):
    np.save(tmp_path / "coef.npy", objects(crater))
    with zipfile.ZipFile(tmp_path / "coef.npz", "w") as file:
        file.writestr("coef.npy", (tmp_path / "coef.npy").read_bytes())
    (tmp_path / "coef.csv").write_bytes(pickle.dumps(Bomb(crater)))
    for name in ("coef.npy", "coef.npz", "coef.csv"):
        text = f'horizon = 1.0\n[problem]\nkind = "LinearRegression"\ncoef = "{name}"\n[algorithm]\nstep_size = 0.01\n'
        (tmp_path / "run.toml").write_text(text + "[simulate]\nreplicates = 3\n")
        assert _cli.main(["run", str(tmp_path / "run.toml")]) != 0
        assert f"problem.coef is in '{name}', which holds no such numbers" in capsys.readouterr().err


def test_a_piece_of_a_study(tmp_path, crater):
    from rdasde import _studies

    pieces = _studies.Pieces(tmp_path / "pieces", small=True)
    pieces("some", {"seed": 1}, lambda: {"x": np.arange(3)})
    (piece,) = (tmp_path / "pieces").glob("some-*.npz")
    np.savez(piece, x=objects(crater))
    with pytest.raises(ValueError, match=r"^store is a directory whose file some-"):
        pieces("some", {"seed": 1}, lambda: {"x": np.arange(3)})
    save_arrays(piece, {"x": np.arange(4)})
    assert len(pieces("some", {"seed": 1}, lambda: {"x": np.arange(3)})["x"]) == 4


def test_a_checkpoint(tmp_path, crater, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from rdasde.pruning import recipes

    checkpoint = tmp_path / "run.pt"
    torch.save({"settings": Bomb(crater), "epoch": 1, "model": {}, "optimizer": {}}, checkpoint)
    for content in (checkpoint.read_bytes(), pickle.dumps(Bomb(crater)), b"\x80"):
        checkpoint.write_bytes(content)
        assert recipes.main(["digits-resnet8", "--epochs", "1", "--checkpoint", str(checkpoint)]) == 1
        said = capsys.readouterr().err
        assert said.startswith("rdasde.pruning.recipes: checkpoint is a file that holds something else (")
        assert said.endswith("that of a run of this program: remove it, or give another --checkpoint.\n")
    torch.save([1, 2], checkpoint)
    assert recipes.main(["digits-resnet8", "--epochs", "1", "--checkpoint", str(checkpoint)]) == 1

"""``rdasde run FILE.toml``: what a file may say, what it does, and a sentence for each mistake."""

import json

import numpy as np
import pytest

import rdasde as rs
from rdasde import _cli, _configuration

GOOD = """
horizon = 1.0
seed = 7

[problem]
kind = "LinearRegression"
coef = [{value = 0.5, repeat = 2}, -0.3, {value = 0.0, repeat = 2}]
covariance = {d = 5, rho = 0.6}

[algorithm]
step_size = 0.01
regularizer = "L1"
schedule = {kind = "PowerLaw", c = 0.5, mu = 0.6}

[simulate]
replicates = 40
times = 6

[approximate]
times = 6
check = false

[band]
level = 0.9

[output]
folder = "FOLDER"
"""


def written(tmp_path, text):
    file = tmp_path / "run.toml"
    file.write_text(text.replace("FOLDER", str(tmp_path / "results")))
    return file


def mistakes(tmp_path, text):
    with pytest.raises(_configuration.Mistakes) as caught:
        _configuration.read(written(tmp_path, text))
    return caught.value.sentences


def test_does_what_the_file_says(tmp_path, capsys):
    assert _cli.main(["run", str(written(tmp_path, GOOD))]) == 0
    out = tmp_path / "results"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("coverage: 0.")
    assert printed[1:] == [str(out / f"{name}.nc") for name in ("runs", "theory", "band", "coverage")]
    runs, problem, algorithm = rs.load(out / "runs.nc")
    assert problem == rs.LinearRegression([0.5, 0.5, -0.3, 0.0, 0.0], rs.AR1(5, 0.6))
    assert algorithm == rs.RDA(0.01, rs.L1(), rs.PowerLaw(0.5, 0.6))
    again = rs.simulate(problem, algorithm, 1.0, replicates=40, times=6, seed=7)
    np.testing.assert_array_equal(again["primal"], runs["primal"])
    assert json.loads(runs.attrs["configuration"])["algorithm"]["step_size"] == 0.01
    file = str(tmp_path / "run.toml")
    other = tmp_path / "other"
    assert _cli.main(["run", file, "--seed", "8", "--replicates", "3", "--out", str(other)]) == 0
    few = rs.load(other / "runs.nc").result
    assert (few.sizes["replicate"], int(few.attrs["seed"])) == (3, 8)
    assert json.loads(few.attrs["configuration"])["simulate"]["replicates"] == 3


def test_every_kind_can_be_written(tmp_path):
    np.save(tmp_path / "X.npy", np.arange(12.0).reshape(6, 2) % 5)
    np.savez(tmp_path / "all.npz", y=np.array([0, 1, 0, 1, 0, 1]))
    np.savetxt(tmp_path / "Z.csv", np.eye(3), delimiter=",")
    for problem, expected in (
        ('kind = "LogisticRegression.from_data"\nX = "X.npy"\ny = "all.npz:y"', rs.LogisticRegression),
        ('kind = "OnlinePCA.from_data"\nZ = "Z.csv"\nvariant = "krasulina"', rs.OnlinePCA),
        ('kind = "OnlinePCA.spiked"\nspikes = [2.0]\ndirections = [[1.0, 0.0]]', rs.OnlinePCA),
    ):
        text = f"horizon = 1\n[problem]\n{problem}\n[algorithm]\nstep_size = 0.01\n[simulate]\n"
        read = _configuration.read(written(tmp_path, text))
        assert isinstance(read.problem, expected)
        assert read.folder == tmp_path / "results"


MISTAKES = [
    ("replicates = 40", "replicate = 40", ["'replicate' is not known in [simulate]: did you mean 'replicates'?"]),
    ("[simulate]", "[simulat]", ["'simulat' is not known in the file: did you mean 'simulate'?"]),
    (
        "step_size = 0.01",
        "step_size = -1.0",
        [
            "In [algorithm]: step_size is -1.0, but must be a finite number > 0: give for example step_size=1e-3.",
        ],
    ),
    (
        '"LinearRegression"',
        '"LinearRegresion"',
        ["problem.kind is 'LinearRegresion', which is not known: did you mean 'LinearRegression'?"],
    ),
    ('kind = "PowerLaw", ', "", ["algorithm.schedule has no kind: write for example kind = 'PowerLaw'."]),
    ("mu = 0.6", "muh = 0.6", ["'muh' is not known in [algorithm.schedule]: did you mean 'mu'?"]),
    (
        "horizon = 1.0",
        "horizon = 0",
        ["horizon is 0, but must be a finite number > 0: write for example horizon = 5.0."],
    ),
    ("seed = 7", "seed = -7", ["seed is -7, but must be a whole number >= 0: write for example seed = 0."]),
    (
        "step_size = 0.01",
        "",
        ["algorithm has no step_size, which RDA needs: write step_size = ... ."],
    ),
    (
        "coef = [{value = 0.5, repeat = 2}, -0.3, {value = 0.0, repeat = 2}]",
        'coef = "coef.npy"',
        ["problem.coef is in 'coef.npy', which cannot be read: No such file or directory."],
    ),
    (
        "replicates = 40\ntimes = 6",
        "replicats = 40\nseeds = 3\n[aproximate]",
        ["'aproximate' is not known in the file: did you mean 'approximate'?"],
    ),
    (
        "level = 0.9",
        "levl = 0.9\nspaces = 3",
        [
            "'levl' is not known in [band]: did you mean 'level'?",
            "'spaces' is not known in [band]: did you mean 'space'?",
        ],
    ),
    (
        "check = false",
        'check = false\nmethod = "closur"',
        [
            "In [approximate]: method is 'closur', but must be one of 'closure', 'limit', 'paths', 'sdeint': choose "
            "one of these."
        ],
    ),
    (
        "times = 6\ncheck",
        "times = 7\ncheck",
        ["simulate.times and approximate.times differ, but coverage needs the same: write the same."],
    ),
    (
        'folder = "FOLDER"',
        'figure = "no"',
        ["output.figure is 'no', but must be true or false: write one of them."],
    ),
    (
        "{value = 0.5, repeat = 2}",
        "{value = 0.5, repeat = -3}",
        ["problem.coef has the entry {'value': 0.5, 'repeat': -3}: write {value = 0.05, repeat = 50}."],
    ),
    (
        "{value = 0.5, repeat = 2}",
        "{value = 0.5, repeat = true}",
        ["problem.coef has the entry {'value': 0.5, 'repeat': True}: write {value = 0.05, repeat = 50}."],
    ),
]


@pytest.mark.parametrize(
    ("content", "end"),
    [
        ({"a": np.zeros(2), "b": np.ones(2)}, "which holds a, b: name one of them, as in two.npz:NAME."),
        ({}, "which holds nothing: name one of them, as in two.npz:NAME."),
        (None, "which holds no such numbers: "),
    ],
)
def test_files_of_several_arrays_or_none(tmp_path, content, end):
    if content is None:
        (tmp_path / "two.npz").write_bytes(b"PK\x03\x04 nothing")
    else:
        np.savez(tmp_path / "two.npz", **content)
    text = GOOD.replace("coef = [{value = 0.5, repeat = 2}, -0.3, {value = 0.0, repeat = 2}]", 'coef = "two.npz"')
    (sentence,) = mistakes(tmp_path, text)
    assert sentence.startswith(f"problem.coef is in 'two.npz', {end}")


@pytest.mark.parametrize(("right", "wrong", "sentences"), MISTAKES, ids=[case[1][:20] for case in MISTAKES])
def test_mistakes(tmp_path, right, wrong, sentences):
    assert right in GOOD
    assert mistakes(tmp_path, GOOD.replace(right, wrong)) == sentences


def test_what_is_missing(tmp_path):
    assert mistakes(tmp_path, "") == [
        "There is no horizon: write horizon = 5.0.",
        "There is no problem: write [problem].",
        "There is no algorithm: write [algorithm].",
        "There is nothing to do: write [simulate], [approximate], or both.",
    ]
    assert mistakes(tmp_path, "problem = 3")[0] == "problem is 3, but must be a table: write [problem]."
    assert mistakes(tmp_path, "horizon = = 1")[0].startswith(f"{tmp_path / 'run.toml'} is not TOML: ")


def test_the_command_line_says_so(tmp_path, capsys):
    assert _cli.main(["run", str(tmp_path / "none.toml")]) == 2
    message = f"rdasde run: {tmp_path / 'none.toml'} cannot be read: No such file or directory.\n"
    assert capsys.readouterr().err == message
    bad = written(tmp_path, GOOD.replace("level = 0.9", "level = 1.0"))
    assert _cli.main(["run", str(bad)]) == 2
    assert capsys.readouterr().err.startswith("rdasde run: In [band]: level is 1.0, but must be ")
    taken = written(tmp_path, GOOD)
    (tmp_path / "results").write_text("a file")
    assert _cli.main(["run", str(taken)]) == 1
    assert capsys.readouterr().err == f"rdasde run: {tmp_path / 'results'} cannot be written: File exists.\n"
    assert _cli.main(["run", "a\0b"]) == 2
    assert capsys.readouterr().err == "rdasde run: 'a\\x00b' cannot be read: embedded null byte.\n"


def test_what_is_finished_is_kept_when_a_later_verb_fails(tmp_path, monkeypatch, capsys):
    def failing(*arguments, **named):
        raise ArithmeticError("no finite solution.")

    monkeypatch.setattr(rs, "approximate", failing)
    assert _cli.main(["run", str(written(tmp_path, GOOD))]) == 1
    assert capsys.readouterr().err == "rdasde run: no finite solution.\n"
    assert rs.load(tmp_path / "results" / "runs.nc").result.sizes["replicate"] == 40


def test_results_lie_beside_the_file_unless_it_names_a_folder(tmp_path):
    text = GOOD.replace('folder = "FOLDER"', "figure = false")
    assert _configuration.read(written(tmp_path, text)).folder == tmp_path / "results"

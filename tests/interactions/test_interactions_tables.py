"""From tables to codes, and the films in recbole's wheel."""

import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch")

from rdasde.interactions import Codebook, movielens


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "city": ["Rome", "Bern", None, "Rome", "Oslo", "Bern"],
            "age": [30.0, 20.0, 50.0, np.nan, 40.0, 60.0],
            "user": [7, 7, 8, 9, 9, 9],
            "seen": [True, False, True, True, False, False],
            "when": pd.to_datetime(["2020-01-01", "2020-01-02", None, "2020-01-04", "2020-01-05", "2020-01-06"]),
            "bought": ["no", "yes", "no", "no", "yes", "yes"],
        }
    )


@pytest.fixture
def book(table):
    return Codebook.from_data(table, "bought", buckets=2, categorical=["user"], hashed={"city": 50})


def test_codes(table):
    book = Codebook.from_data(table, "bought", buckets=2, categorical=["user"])
    assert book.fields == ["city", "age", "user", "seen", "when"]
    assert book.cardinalities == [4, 3, 4, 3, 3]
    X = book.encode(table)
    assert X.T.tolist() == [
        [3, 1, 0, 3, 2, 1],  # Bern, Oslo, Rome; missing
        [1, 1, 2, 0, 2, 2],  # below and from the median 40
        [1, 1, 2, 3, 3, 3],
        [2, 1, 2, 2, 1, 1],
        [1, 1, 0, 2, 2, 2],
    ]
    assert book.outcome(table).tolist() == [0, 1, 0, 0, 1, 1]


def test_what_was_not_seen_has_code_zero(table, book):
    new = pd.DataFrame({"user": [8.0, 77.0, np.nan], "age": [-1e9, 1e9, 41.0], "city": ["Bern", "Ur", None]})
    new["seen"], new["when"] = True, pd.Timestamp("2030-01-01")
    X = book.encode(new)
    assert X[:, book.fields.index("user")].tolist() == [2, 0, 0]  # 8.0 is 8
    assert X[:, book.fields.index("age")].tolist() == [1, 2, 2]
    assert X[2, book.fields.index("city")] == 0
    assert (book.cardinalities > X).all()


def test_rare_categories_share_code_zero(table):
    book = Codebook.from_data(table, "bought", categorical=["user"], least=2)
    assert book.encode(table)[:, 0].tolist() == [2, 1, 0, 2, 0, 1]


def test_buckets_hold_equal_shares():
    numbers = np.random.default_rng(0).permutation(1000)
    codes = Codebook.from_data(pd.DataFrame({"a": numbers, "b": numbers % 2}), buckets=8).encode(
        pd.DataFrame({"a": numbers, "b": numbers % 2})
    )
    assert np.bincount(codes[:, 0]).tolist() == [0] + [125] * 8
    assert np.bincount(codes[:, 1]).tolist() == [0, 500, 500]


def test_saved_and_loaded_it_is_the_same(table, book, tmp_path):
    book.save(tmp_path / "book.json")
    again = Codebook.load(tmp_path / "book.json")
    assert again == book
    assert hash(again) == hash(book)
    np.testing.assert_array_equal(again.encode(table), book.encode(table))


def test_hashes_are_the_same_in_every_process(table, book):
    script = (
        "import pandas as pd; from rdasde.interactions import Codebook\n"
        "t = pd.DataFrame({'a': ['x', 'y', 'z'], 'b': 1})\n"
        "print(Codebook.from_data(t, hashed={'a': 1000}).encode(t)[:, 0].tolist())"
    )
    here = pd.DataFrame({"a": ["x", "y", "z"], "b": 1})
    codes = Codebook.from_data(here, hashed={"a": 1000}).encode(here)[:, 0].tolist()
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == str(codes)


BAD = {
    "empty column": (
        lambda t: Codebook.from_data(t.assign(city=None), "bought"),
        "city is a column without categories, but must be one with a value in some row: leave it out, or fill it.",
    ),
    "three classes": (
        lambda t: Codebook.from_data(t, "user"),
        "user is a label of 3 classes (7, 8, 9), but must be a label of two: make it two classes.",
    ),
    "no label": (
        lambda t: Codebook.from_data(t, "sold"),
        "label is one with 'sold', but must be among the columns of table: check its spelling.",
    ),
    "missing column": (
        lambda t: Codebook.from_data(t, "bought").encode(t.drop(columns="age")),
        "table is one without the column 'age', but must be one with all fields: pass a table with one column for each "
        "field.",
    ),
    "text": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(age="old")),
        "age is a column with text, but must be of numbers, as in the table of the codebook: clean it, or learn a new "
        "codebook.",
    ),
    "new class": (
        lambda t: Codebook.from_data(t, "bought").outcome(t.assign(bought="perhaps")),
        "bought is a column with 'perhaps', but must be of 'no' and 'yes': drop such rows.",
    ),
    "dates where there were numbers": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(age=t["when"])),
        "age is a column of dates, but must be of numbers, as in the table of the codebook: clean it, or learn a new "
        "codebook.",
    ),
    "dates as objects": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(age=t["when"].astype(object))),
        "age is a column of dates, but must be of numbers, as in the table of the codebook: clean it, or learn a new "
        "codebook.",
    ),
    "durations where there were dates": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(when=t["when"] - pd.Timestamp("2020"))),
        "when is a column of durations, but must be of dates, as in the table of the codebook: clean it, or learn a "
        "new codebook.",
    ),
    "numbers where there were dates": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(when=t["age"])),
        "when is a column of numbers, but must be of dates, as in the table of the codebook: clean it, or learn a new "
        "codebook.",
    ),
    "complex": (
        lambda t: Codebook.from_data(t, "bought").encode(t.assign(age=1j)),
        "age is a column of complex numbers, but must be of real numbers: make columns of its real and imaginary "
        "parts.",
    ),
    "complex from the start": (
        lambda t: Codebook.from_data(t.assign(age=1j), "bought"),
        "age is a column of complex numbers, but must be of real numbers: make columns of its real and imaginary "
        "parts.",
    ),
    "empty label": (
        lambda t: Codebook.from_data(t, ""),
        "label is one with '', but must be among the columns of table: check its spelling.",
    ),
    "levels": (
        lambda t: Codebook.from_data(pd.concat({"g": t}, axis=1)),
        "table is one whose columns have names of several levels, but must be one with one name for each column: "
        "flatten them, for example by table.droplevel.",
    ),
    "names twice": (
        lambda t: Codebook.from_data(t, "bought").encode(pd.concat([t, t[["age"]]], axis=1)),
        "table is one with two columns 'age', but must be one with a name for each: rename one of them.",
    ),
    "names alike": (
        lambda t: Codebook.from_data(t.assign(**{"0": 1}).assign(b=1).rename(columns={"b": 0})),
        "table is one with two columns '0', but must be one with a name for each: rename one of them.",
    ),
    "categorical text": (
        lambda t: Codebook.from_data(t, "bought", categorical="user"),
        "categorical is 'user' (str), but must be a sequence of names of columns: give for example categorical=['a'].",
    ),
    "categorical none": (
        lambda t: Codebook.from_data(t, "bought", categorical=None),
        "categorical is None (NoneType), but must be a sequence of names of columns: give for example "
        "categorical=['a'].",
    ),
    "hashed list": (
        lambda t: Codebook.from_data(t, "bought", hashed=["user"]),
        "hashed is ['user'] (list), but must be None or a mapping from names of columns to numbers of codes: "
        "give for example {'user': 1000}.",
    ),
    "no columns": (
        lambda t: Codebook(None),
        "columns is None (NoneType), but must be a mapping from names to Column: "
        "make one by Codebook.from_data(table).",
    ),
    "no path to save": (
        lambda t: Codebook.from_data(t, "bought").save(None),
        "path is None (NoneType), but must be the path of a file: give for example 'codebook.json', in a folder that "
        "is there.",
    ),
    "no path to load": (
        lambda t: Codebook.load(3),
        "path is 3 (int), but must be the path of a file: give for example 'codebook.json', in a folder that is there.",
    ),
    "no file": (
        lambda t: Codebook.load("nothing/there.json"),
        "path is 'nothing/there.json', but must be a file that Codebook.save wrote: save the codebook anew.",
    ),
    "no folder": (
        lambda t: Codebook.from_data(t, "bought").save("nothing/there.json"),
        "path is 'nothing/there.json' (No such file or directory), but must be a file that can be written: give for "
        "example 'codebook.json', in a folder that is there.",
    ),
    "films": (
        lambda t: movielens(3),
        "source is 3 (int), but must be the wheel of recbole, or a folder with ml-100k.inter, .item and .user: get it "
        "by pip download recbole --no-deps.",
    ),
    "no rows": (
        lambda t: Codebook.from_data(t.iloc[:0]),
        "table is one without rows, but must be one with rows: pass the rows to learn from.",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_in_one_sentence(name, table):
    call, sentence = BAD[name]
    with pytest.raises((ValueError, TypeError), match="but must be") as error:
        call(table)
    assert str(error.value) == sentence


@pytest.mark.parametrize("names", [[0, 1, 2], [7, "b", (1, 2)]])
def test_names_of_columns_may_be_anything(names):
    table = pd.DataFrame({"a": ["x", "y", "x"], "b": [1.0, 2.0, 3.0], "c": ["no", "yes", "yes"]})
    named = Codebook.from_data(table, "c", buckets=2)
    other = table.set_axis(pd.Index(names, tupleize_cols=False), axis=1)
    book = Codebook.from_data(other, names[2], buckets=2, categorical=[names[0]])
    assert book.fields == [str(name) for name in names[:2]]
    np.testing.assert_array_equal(book.encode(other), named.encode(table))
    np.testing.assert_array_equal(book.outcome(other), named.outcome(table))


def test_a_column_without_any_date_is_missing(table, book):
    assert book.encode(table.assign(when=None))[:, book.fields.index("when")].tolist() == [0] * 6


def test_a_directory_is_no_place_for_a_codebook(book, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match=r"^path is '.*there' \(it is a directory\), but must be a file that can be"):
        book.save(tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with pytest.raises(ValueError, match=r"^path is '.*there', but must be a file that Codebook\.save wrote"):
        Codebook.load(tmp_path / "there")


def test_another_file_is_no_codebook(tmp_path):
    (tmp_path / "x.json").write_text('{"format": "something else"}')
    with pytest.raises(ValueError, match="but must be a file that Codebook"):
        Codebook.load(tmp_path / "x.json")


@pytest.fixture
def wheel(tmp_path):
    """Three ratings, as recbole lays them out."""
    files = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t2\t4\t86400\n2\t1\t3\t90000\n1\t1\t5\t0\n",
        "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tComedy Animation Children's\n2\tHeat\t\tunheard-of\n",
        "user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\tT8H1N\n",
    }
    path = tmp_path / "recbole-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for ending, text in files.items():
            archive.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{ending}", text)
    return path


def test_films_as_a_table(wheel, monkeypatch):
    ratings = movielens(wheel)
    assert ratings["timestamp"].tolist() == [0, 86400, 90000]
    assert ratings.iloc[0].drop(["year", "timestamp"]).tolist() == [
        *("1", "1", 24, "M", "technician", "8", "Animation", "Children's", "0", "3", 1)
    ]
    assert ratings["genre"].tolist() == ["Animation", "none", "Animation"]
    assert np.isnan(ratings["year"][1])
    assert ratings["liked"].tolist() == [1, 1, 0]
    monkeypatch.setenv("RDASDE_RECBOLE", str(wheel))
    pd.testing.assert_frame_equal(movielens(), ratings)


def test_without_the_films_one_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv("RDASDE_RECBOLE", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError) as error:
        movielens()
    assert str(error.value) == (
        "MovieLens-100K comes with recbole: pip install 'rdasde[applications]', or pip download recbole --no-deps and "
        "name the wheel in source= or in the environment variable RDASDE_RECBOLE."
    )
    with pytest.raises(ValueError, match="but must be the wheel of recbole, or a folder"):
        movielens(tmp_path / "nothing.whl")

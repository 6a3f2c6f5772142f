"""MovieLens-100K, as it lies in the wheel of recbole; nothing is copied or downloaded."""

from __future__ import annotations

import importlib.util
import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from rdasde import _check

from ._given import path_of

if TYPE_CHECKING:
    import pandas as pd

_FOLDER = "dataset_example/ml-100k"
_SOURCE = "RDASDE_RECBOLE"  # environment variable: the wheel, where recbole is not installed
FIELDS = ("user", "item", "age", "gender", "occupation", "region", "year", "genre", "second_genre", "hour", "weekday")
_GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western", "unknown"),
)


def movielens(source: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """The 100 000 ratings of MovieLens-100K as a table of 11 fields, whether the film was liked, and when.

    Parameters
    ----------
    source : path, optional
        The wheel of recbole, or a folder with the files ``ml-100k.inter``, ``.item`` and ``.user``. Without it, the
        installed package, or the wheel that the environment variable RDASDE_RECBOLE names.

    Returns
    -------
    pandas.DataFrame
        Columns ``user, item, age, gender, occupation, region`` (first digit of the zip code), ``year`` (of release),
        ``genre, second_genre`` (in alphabetical order), ``hour, weekday`` (UTC), then ``liked`` (a rating of 4 or 5)
        and ``timestamp`` (seconds since 1970), rows in order of time.

    Raises
    ------
    ImportError
        If the data cannot be found.
    ValueError, TypeError
        If `source` holds something else.

    References
    ----------
    Harper & Konstan, "The MovieLens datasets", ACM TiiS 2015.

    Examples
    --------
    >>> from rdasde.interactions import movielens
    >>> ratings = movielens("recbole-1.2.1-py3-none-any.whl")  # doctest: +SKIP
    """
    import pandas as pd

    tables = {
        ending: pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)
        for ending, text in _texts(source).items()
    }
    for table in tables.values():
        table.columns = [name.split(":")[0] for name in table.columns]
    ratings = tables["inter"].merge(tables["user"], on="user_id").merge(tables["item"], on="item_id")
    when = ratings["timestamp"].astype(float).astype(int)
    clock = pd.to_datetime(when, unit="s")
    genres = [sorted(set(text.split()) & set(_GENRES)) for text in ratings["class"]]
    frame = pd.DataFrame(
        {
            "user": ratings["user_id"],
            "item": ratings["item_id"],
            "age": ratings["age"].astype(int),
            "gender": ratings["gender"],
            "occupation": ratings["occupation"],
            "region": ratings["zip_code"].str[:1],
            "year": pd.to_numeric(ratings["release_year"], errors="coerce"),
            "genre": [names[0] if names else "none" for names in genres],
            "second_genre": [names[1] if len(names) > 1 else "none" for names in genres],
            "hour": clock.dt.hour.astype(str),
            "weekday": clock.dt.day_of_week.astype(str),
            "liked": (ratings["rating"].astype(float) >= 4.0).astype(int),
            "timestamp": when,
        }
    )
    return frame.sort_values(["timestamp", "user", "item"], kind="stable", ignore_index=True)


def _texts(source: str | os.PathLike[str] | None) -> dict[str, str]:
    """The three files, by their endings."""
    wanted = "the wheel of recbole, or a folder with ml-100k.inter, .item and .user"
    mend = "get it by pip download recbole --no-deps"
    path = _installed() if source is None else path_of("source", source, wanted, mend)
    endings = ("inter", "item", "user")
    try:
        if path.is_dir():
            return {ending: (path / f"ml-100k.{ending}").read_text() for ending in endings}
        with zipfile.ZipFile(path) as wheel:
            return {ending: wheel.read(f"recbole/{_FOLDER}/ml-100k.{ending}").decode() for ending in endings}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise _check.bad("source", repr(str(path)), wanted, mend) from None


def _installed() -> Path:
    named = os.environ.get(_SOURCE)
    if named:
        return Path(named)
    package = importlib.util.find_spec("recbole")
    if package is not None and package.submodule_search_locations:
        return Path(next(iter(package.submodule_search_locations))) / _FOLDER
    raise ImportError(
        "MovieLens-100K comes with recbole: pip install 'rdasde[applications]', or pip download recbole --no-deps and "
        f"name the wheel in source= or in the environment variable {_SOURCE}."
    )

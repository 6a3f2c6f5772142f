"""What `rdasde run FILE.toml` reads: a problem, an algorithm, verbs, where results go; checked before anything runs."""

from __future__ import annotations

import difflib
import inspect
import json
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import rdasde as rs
from rdasde import _check
from rdasde._approximations.approximate import METHODS
from rdasde._bands.band import together_of
from rdasde._engine.arguments import check_equation_order

if TYPE_CHECKING:
    import xarray as xr

PROBLEMS: dict[str, Callable[..., rs.Problem]] = {
    "LinearRegression": rs.LinearRegression,
    "LinearRegression.from_data": rs.LinearRegression.from_data,
    "LogisticRegression": rs.LogisticRegression,
    "LogisticRegression.from_data": rs.LogisticRegression.from_data,
    "OnlinePCA": rs.OnlinePCA,
    "OnlinePCA.spiked": rs.OnlinePCA.spiked,
    "OnlinePCA.from_data": rs.OnlinePCA.from_data,
    "MLP": rs.MLP,
}
REGULARIZERS: dict[str, Callable[..., rs.Regularizer]] = {
    kind.__name__: kind for kind in (rs.L1, rs.ElasticNet, rs.GroupLasso, rs.NonNegativeL1, rs.Box)
}
SCHEDULES: dict[str, Callable[..., rs.Schedule]] = {
    kind.__name__: kind for kind in (rs.PowerLaw, rs.Linear, rs.Constant)
}
VERBS: dict[str, Callable[..., Any]] = {"simulate": rs.simulate, "approximate": rs.approximate, "band": rs.band}
_NOT_HERE = {"problem", "algorithm", "horizon", "result", "statistics", "executor", "progress", "regularizer", "seed"}
_OUTPUT, _FOLDER = ("folder", "figure"), "results"
_MOST = 10**8  # repeats of an entry
_TOP = ("horizon", "seed", "problem", "algorithm", *VERBS, "output")


class Mistakes(ValueError):
    """What is wrong with a configuration, a sentence each."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class Configuration(NamedTuple):
    """A checked configuration."""

    problem: rs.Problem
    algorithm: rs.RDA
    horizon: float
    verbs: dict[str, dict[str, Any]]  # the options of each that is asked for
    folder: Path
    figure: bool
    text: str  # everything as JSON, which results carry


def read(path: Path, **overrides: Any) -> Configuration:
    """The configuration in a file; `overrides` of ``seed``, ``replicates`` and ``out`` where they are not None.

    Raises
    ------
    Mistakes
        With a sentence for each, all that can be told at once.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistakes([f"{path} cannot be read: {error.strerror}."]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Mistakes([f"{path} is not TOML: {error}."]) from None
    except ValueError as error:  # of the name, in which a null byte is
        raise Mistakes([f"{str(path)!r} cannot be read: {error}."]) from None
    return check(_overridden(tables, overrides), path.parent)


def _overridden(tables: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    if overrides.get("seed") is not None:
        tables["seed"] = overrides["seed"]
    if overrides.get("replicates") is not None:
        tables.setdefault("simulate", {})["replicates"] = overrides["replicates"]
    if overrides.get("out") is not None:
        tables.setdefault("output", {})["folder"] = str(overrides["out"])
    return tables


def check(tables: dict[str, Any], beside: Path) -> Configuration:
    """The same from tables; files are named from the folder `beside`."""
    mistakes: list[str] = []
    _known("", tables, _TOP, mistakes)
    for name in ("problem", "algorithm", *VERBS, "output"):
        if name in tables and not isinstance(tables[name], dict):
            mistakes.append(f"{name} is {tables[name]!r}, but must be a table: write [{name}].")
    if mistakes:
        raise Mistakes(mistakes)
    for name in ("horizon", "problem", "algorithm"):
        if name not in tables:
            mistakes.append(f"There is no {name}: write {'horizon = 5.0' if name == 'horizon' else f'[{name}]'}.")
    if not set(VERBS) & set(tables):
        mistakes.append("There is nothing to do: write [simulate], [approximate], or both.")
    if "band" in tables and not {"simulate", "approximate"} & set(tables):
        mistakes.append("There is nothing to take a band of: write [approximate], or [simulate].")
    horizon = tables.get("horizon", 1.0)
    if isinstance(horizon, bool) or not isinstance(horizon, int | float) or not 0.0 < horizon < float("inf"):
        mistakes.append(f"horizon is {horizon!r}, but must be a finite number > 0: write for example horizon = 5.0.")
    seed = tables.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        mistakes.append(f"seed is {seed!r}, but must be a whole number >= 0: write for example seed = 0.")
    problem = _made("problem", tables["problem"], PROBLEMS, beside, mistakes) if "problem" in tables else None
    algorithm = _algorithm(tables["algorithm"], beside, mistakes) if "algorithm" in tables else None
    verbs = {}
    for name, verb in VERBS.items():
        if name in tables:
            accepted = [key for key in inspect.signature(verb).parameters if key not in _NOT_HERE]
            _known(name, tables[name], accepted, mistakes)
            verbs[name] = {key: _value(value, beside, f"{name}.{key}", mistakes) for key, value in tables[name].items()}
            if seed is not None and name != "band":
                verbs[name]["seed"] = seed
    _told_ahead(verbs, mistakes)
    output = tables.get("output", {})
    _known("output", output, _OUTPUT, mistakes)
    if not isinstance(output.get("figure", False), bool):
        mistakes.append(f"output.figure is {output['figure']!r}, but must be true or false: write one of them.")
    if not (isinstance(output.get("folder", ""), str) and output.get("folder", "results")):
        mistakes.append(f"output.folder is {output['folder']!r}, but must be a path: write for example 'results'.")
    if mistakes or problem is None or algorithm is None:
        raise Mistakes(mistakes)
    folder = Path(output["folder"]) if "folder" in output else beside / _FOLDER
    text = json.dumps(tables, default=str)
    return Configuration(problem, algorithm, float(horizon), verbs, folder, output.get("figure", False), text)


def _told_ahead(verbs: Mapping[str, dict[str, Any]], mistakes: list[str]) -> None:
    """What a verb would refuse only when another one has run for long."""
    checks: dict[tuple[str, str], Callable[[Any], object]] = {
        ("approximate", "method"): lambda method: _check.choice("method", method, tuple(METHODS)),
        ("approximate", "paths"): lambda paths: _check.count("paths", paths),
        ("approximate", "equation_order"): check_equation_order,
        ("band", "level"): _check.level,
        ("band", "space"): lambda space: _check.choice("space", space, ("primal", "dual")),
        ("band", "simultaneous"): together_of,
    }
    for (verb, option), check_option in checks.items():
        if option in verbs.get(verb, {}):
            try:
                check_option(verbs[verb][option])
            except (TypeError, ValueError) as error:
                mistakes.append(f"In [{verb}]: {error}")
    times = [verbs[verb].get("times") for verb in ("simulate", "approximate") if verb in verbs]
    if "band" in verbs and len(times) == 2 and times[0] != times[1]:
        mistakes.append("simulate.times and approximate.times differ, but coverage needs the same: write the same.")


def _known(table: str, keys: Mapping[str, Any], accepted: Any, mistakes: list[str]) -> None:
    where = f"[{table}]" if table else "the file"
    for key in keys:
        if key not in accepted:
            close = difflib.get_close_matches(key, accepted, 1)
            mend = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(accepted)}."
            mistakes.append(f"{key!r} is not known in {where}: {mend}")


def _made(name: str, table: Any, kinds: Mapping[str, Callable[..., Any]], beside: Path, mistakes: list[str]) -> Any:
    """What a table with a kind describes; None, and a mistake more, where it does not."""
    table = {"kind": table} if isinstance(table, str) else table
    if not isinstance(table, dict) or "kind" not in table:
        mistakes.append(f"{name} has no kind: write for example kind = {next(iter(kinds))!r}.")
        return None
    kind = kinds.get(str(table["kind"]))
    if kind is None:
        close = difflib.get_close_matches(str(table["kind"]), kinds, 1)
        mend = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(kinds)}."
        mistakes.append(f"{name}.kind is {table['kind']!r}, which is not known: {mend}")
        return None
    before = len(mistakes)
    options = {key: value for key, value in table.items() if key != "kind"}
    _known(name, options, tuple(inspect.signature(kind).parameters), mistakes)
    values = {key: _value(value, beside, f"{name}.{key}", mistakes) for key, value in options.items()}
    for key, parameter in inspect.signature(kind).parameters.items():
        if parameter.default is parameter.empty and key not in values and len(mistakes) == before:
            mistakes.append(f"{name} has no {key}, which {table['kind']} needs: write {key} = ... .")
    if len(mistakes) > before:
        return None
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        mistakes.append(f"In [{name}]: {str(error).rstrip('.')}.")
        return None


def _algorithm(table: dict[str, Any], beside: Path, mistakes: list[str]) -> rs.RDA | None:
    table, parts = dict(table), {}
    before = len(mistakes)
    for key, kinds in (("regularizer", REGULARIZERS), ("schedule", SCHEDULES)):
        if key in table:
            parts[key] = _made(f"algorithm.{key}", table.pop(key), kinds, beside, mistakes)
    if len(mistakes) > before:
        return None
    made: rs.RDA | None = _made("algorithm", {"kind": "RDA", **table, **parts}, {"RDA": rs.RDA}, beside, mistakes)
    return made


def _value(value: Any, beside: Path, name: str, mistakes: list[str]) -> Any:
    """A number, a word, an array (repeats written out), a covariance, or an array in a file."""
    if isinstance(value, dict) and set(value) == {"d", "rho"}:
        try:
            return rs.AR1(**value)
        except (TypeError, ValueError) as error:
            mistakes.append(f"In {name}: {error}")
            return None
    if isinstance(value, list):
        numbers: list[Any] = []
        for entry in value:
            if isinstance(entry, dict):
                repeat = entry.get("repeat")
                whole = isinstance(repeat, int) and not isinstance(repeat, bool) and 0 < repeat <= _MOST
                if set(entry) != {"value", "repeat"} or not whole:
                    mistakes.append(f"{name} has the entry {entry!r}: write {{value = 0.05, repeat = 50}}.")
                    return None
                numbers += [entry["value"]] * entry["repeat"]
            else:
                numbers.append(entry)
        return numbers
    if isinstance(value, str) and value.partition(":")[0].endswith((".npy", ".npz", ".csv")):
        return _array(beside, value, name, mistakes)
    return value


def _array(beside: Path, value: str, name: str, mistakes: list[str]) -> Any:
    file, _, entry = value.partition(":")
    try:
        if file.endswith(".csv"):
            return np.loadtxt(beside / file, delimiter=",", ndmin=1)
        with open(beside / file, "rb") as stream:  # NumPy leaves its own open where it finds no archive
            content = np.load(stream, allow_pickle=False)
            if not file.endswith(".npz"):
                return content
            if not entry and len(content.files) != 1:
                there = ", ".join(content.files) or "nothing"
                mistakes.append(f"{name} is in {value!r}, which holds {there}: name one of them, as in {file}:NAME.")
                return None
            return content[entry or content.files[0]]
    except OSError as error:
        mistakes.append(f"{name} is in {value!r}, which cannot be read: {str(error.strerror or error).rstrip('.')}.")
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        mistakes.append(f"{name} is in {value!r}, which holds no such numbers: {' '.join(str(error).split())}.")
    return None


def run(configuration: Configuration) -> list[str]:
    """Do what it says, write results; lines on what was found and written."""
    problem, algorithm, horizon, verbs, folder, figure, text = configuration
    results: dict[str, xr.Dataset] = {}
    folder.mkdir(parents=True, exist_ok=True)
    files, found = [], []

    def keep(name: str, result: xr.Dataset) -> None:
        """At once: what comes later may fail."""
        results[name] = result
        result.attrs["configuration"] = text
        result.to_netcdf(folder / f"{name}.nc")
        files.append(str(folder / f"{name}.nc"))

    if "simulate" in verbs:
        keep("runs", rs.simulate(problem, algorithm, horizon, **verbs["simulate"]))
    if "approximate" in verbs:
        keep("theory", rs.approximate(problem, algorithm, horizon, **verbs["approximate"]))
    if "band" in verbs:
        keep("band", rs.band(results["theory" if "theory" in results else "runs"], **verbs["band"]))
        if {"runs", "theory"} <= set(results) and "primal" in results["runs"] and results["band"].attrs["of"] != "mean":
            shares = rs.coverage(results["runs"], results["band"])
            keep("coverage", shares.to_dataset().assign_attrs(results["theory"].attrs))
            found.append(f"coverage: {float(shares.mean()):.4f} on average, {float(shares.min()):.4f} at worst")
    lines = found + files
    if figure and {"runs", "theory"} <= set(results) and "dual" in results["runs"]:
        rs.plot.trajectories(results["runs"], results["theory"]).savefig(folder / "trajectories.png", dpi=200)
        lines.append(str(folder / "trajectories.png"))
    return lines

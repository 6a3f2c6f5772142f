"""Every public object has a short example in its docstring, and it runs as it stands."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import rdasde
from rdasde import _schedule

PLACES = ("", "plot", "validate", "testing", "pruning", "interactions", "landscape")
NEEDS_TORCH = ("pruning", "interactions", "landscape")
OTHERS = ("mlxtend", "pandas", "sklearn", "torch", "torch_pruning")  # of extras
ALIASES = {"Schedule": _schedule}  # names of types, with their docstring below them


def home_of(place):
    return importlib.import_module(f"rdasde.{place}".rstrip("."))


def names_of(place):
    """The public classes and functions of a place; where there is no PyTorch, by its stub."""
    if place in NEEDS_TORCH:
        stub = Path(rdasde.__file__).parent / place / "__init__.pyi"
        return sorted(re.findall(r"^from \S+ import \w+ as (\w+)$", stub.read_text(encoding="utf-8"), re.M))
    return sorted(name for name in home_of(place).__all__ if callable(getattr(home_of(place), name)))


PUBLIC = [(place, name) for place in PLACES for name in names_of(place)]


def docstrings_of(place, name):
    """Of the object and, where it is a class, of what it defines."""
    if place in NEEDS_TORCH:
        pytest.importorskip("torch")
    if name in ALIASES:
        body = ast.parse(inspect.getsource(ALIASES[name])).body
        where = next(k for k, line in enumerate(body) if isinstance(line, ast.Assign) and line.targets[0].id == name)
        return [(name, ast.literal_eval(body[where + 1].value))]
    found = doctest.DocTestFinder(exclude_empty=False).find(getattr(home_of(place), name), name, globs={})
    return [(test.name, test.docstring) for test in found]


@pytest.mark.parametrize("place", NEEDS_TORCH)
def test_the_stub_names_what_is_public(place):
    pytest.importorskip("torch")
    home = home_of(place)
    assert names_of(place) == sorted(n for n in dir(home) if not n.startswith("_") and callable(getattr(home, n)))


@pytest.mark.parametrize(("place", "name"), PUBLIC)
def test_the_example_runs(place, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    docstrings = docstrings_of(place, name)
    assert ">>>" in dict(docstrings)[name], "its docstring has no example"
    said = []
    try:
        for label, docstring in docstrings:
            test = doctest.DocTestParser().get_doctest(docstring, {"__name__": "__main__"}, label, None, None)
            for module in OTHERS:
                if re.search(rf"\b{module}\b", "".join(example.source for example in test.examples)):
                    pytest.importorskip(module)
            doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    finally:
        plt.close("all")
    assert not said, "".join(said)

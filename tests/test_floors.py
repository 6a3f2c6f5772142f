"""Imports run one way: a file imports from its own floor or from floors below, and never in a circle."""

import ast
import graphlib
from pathlib import Path

import pytest

import rdasde

PACKAGE = Path(rdasde.__file__).parent
# from the bottom up, files and folders of the package; __init__ is its public face, used by what stands on it
FLOORS = [
    ["_errors", "_check", "_frames", "_html", "_normal", "_directional", "_users", "_published"],
    ["_compiled"],
    ["_losses"],
    ["_regularizers", "_problems"],
    ["_schedule", "_step_size", "_algorithm"],
    ["_engine"],
    ["_simulation", "_approximations", "_bands", "_drawing"],
    ["plot", "_loading", "_suggestion", "_weak_error", "_inference"],
    ["validate", "_network", "landscape", "pruning"],
    ["testing", "interactions"],
    ["__init__"],
    ["_figures", "_studies", "_configuration"],
    ["_cli", "__main__"],
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def modules():
    """The files of the package by their dotted names."""
    paths = {path.relative_to(PACKAGE.parent).with_suffix(""): path for path in PACKAGE.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}


def imports(name, path, files):
    """What a file imports of the package, at the top, within functions, and for types alone."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            targets = (f"{source}.{alias.name}" for alias in node.names)
            yield from (target if target in files else source for target in targets if source in files)


FILES = modules()
GRAPH = {name: set(imports(name, path, FILES)) - {name} for name, path in FILES.items()}
ARROWS = [(name, target) for name in GRAPH for target in GRAPH[name]]


def room(name):
    return [*name.split("."), "__init__"][1]


def test_every_file_has_a_floor():
    assert {room(name) for name in FILES} == set(FLOOR)
    assert len(ARROWS) > 200


def test_no_arrow_points_up():
    up = [f"{name} -> {target}" for name, target in ARROWS if FLOOR[room(target)] > FLOOR[room(name)]]
    assert not up, "\n".join(sorted(up))


def test_problems_and_regularizers_do_not_know_each_other():
    pair = {"_problems", "_regularizers"}
    assert not [arrow for arrow in ARROWS if {room(name) for name in arrow} == pair]


def test_no_circle_between_files():
    try:
        graphlib.TopologicalSorter(GRAPH).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))

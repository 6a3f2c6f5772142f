"""The pages that people read: every block of Python runs, in order, and prints what it says."""

import ast
import contextlib
import io
import re
import tokenize
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import rdasde as rs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs/start.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
PAGES = [page for page in PAGES if "```python\n" in page.read_text()]
NEEDS = {"torch": "rdasde.pruning|rdasde.interactions|import torch", "sklearn": "sklearn", "pandas": "pandas"}


def blocks(page):
    """The page's Python, each block on the lines where it stands."""
    lines = page.read_text().splitlines()
    inside, kept = False, []
    for line in lines:
        kept.append(line if inside and line != "```" else "")
        inside = line == "```python" if not inside else line != "```"
    return "\n".join(kept) + "\n"


def comments(source):
    """The last comment on each line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string[1:].strip() for token in tokens if token.type == tokenize.COMMENT}


@pytest.mark.filterwarnings("ignore::rdasde.AccuracyWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    source = blocks(page)
    for package, pattern in NEEDS.items():
        if re.search(pattern, source):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    said, names = comments(source), {"__name__": "page"}
    for statement in ast.parse(source).body:
        piece = ast.Module([statement], [])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(piece, page.name, "exec"), names)
        is_print = isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("print(")
        if is_print and statement.end_lineno in said:
            assert printed.getvalue().split() == re.split(r" {2,}", said[statement.end_lineno])[0].split(), page.name
    plt.close("all")


def test_the_reference_names_everything_public():
    reference = (ROOT / "docs/api.md").read_text()
    modules = {"rdasde": rs, "rdasde.plot": rs.plot, "rdasde.validate": rs.validate, "rdasde.testing": rs.testing}
    listed = {}
    for module, entries in re.findall(r"currentmodule:: (\S+)\n(.*?)(?=\.\. currentmodule|\Z)", reference, re.DOTALL):
        listed.setdefault(module, set()).update(re.findall(r"^   (\w+)$", entries, re.MULTILINE))
    for name, module in modules.items():
        public = {
            entry for entry in dir(module) if not (entry.startswith("_") or (entry.isupper() and name != "rdasde"))
        }
        assert public - listed[name] <= SUBMODULES, (name, public - listed[name] - SUBMODULES)
        assert listed[name] <= public, (name, listed[name] - public)


SUBMODULES = {"interactions", "landscape", "plot", "pruning", "testing", "validate"}

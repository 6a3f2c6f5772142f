"""CONTRIBUTING.md: its code runs as it stands, what it names is there, and the files around it can be read."""

import configparser
import re
import runpy
from pathlib import Path

import pytest
import yaml

import rdasde
from rdasde._approximations import approximate as _approximate
from rdasde._regularizers.base import Regularizer

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^## (An? [^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
}


@pytest.mark.parametrize("title", ["A problem", "A regularizer", "An approximation"])
def test_the_code_of_a_page_runs(title, tmp_path, monkeypatch):
    # a name that a page registers does not stay
    monkeypatch.setattr(_approximate, "METHODS", _approximate.METHODS.copy())
    monkeypatch.setattr(Regularizer, "kinds", Regularizer.kinds.copy())
    page = tmp_path / "page.py"
    page.write_text("\n\n".join(PAGES[title]))
    runpy.run_path(str(page))


def test_every_page_is_run():
    assert list(PAGES) == ["A problem", "A regularizer", "An approximation"]
    assert TEXT.count("```python") == sum(map(len, PAGES.values()))


def test_what_the_map_names_is_there():
    paths = re.findall(r"`((?:rdasde|tests)/[^`]*)`", TEXT)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
    for name, path in re.findall(r"`(\w+)` in `(rdasde/[^`]*)`", TEXT):
        assert re.search(rf"^(def {name}\b|{name} = )", (ROOT / path).read_text(), re.MULTILINE), name


def test_hooks_and_workflow_are_yaml_and_call_what_is_there():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["ruff-check", "ruff-format", "mypy"]
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    jobs = workflow["jobs"]
    assert jobs["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert any(step.get("run") == ".ci/run" for step in jobs["check"]["steps"])
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
    # quoted: 3.10 would be a number
    assert all(isinstance(version, str) for version in jobs["check"]["strategy"]["matrix"]["python"])
    assert jobs["without-torch"]["steps"][-1]["run"] == "make test EXTRA=test-without-torch"
    assert "EXTRA ?= test\n" in (ROOT / "Makefile").read_text()
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    assert "torch >=" in extras["test"]
    assert "torch" not in extras["test-without-torch"]


def test_citation_says_what_the_readme_says():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == rdasde.__version__
    assert citation["authors"] == [{"name": "rdasde developers"}]
    assert citation["license"] == "BSD-3-Clause"
    numbers = {identifier["value"] for work in citation["references"] for identifier in work["identifiers"]}
    assert numbers == {"arXiv:1909.10072", "arXiv:2006.09358"}
    readme = (ROOT / "README.md").read_text()
    entry = re.search(r"^(@software\{rdasde,.*?^\})$", readme, re.DOTALL | re.MULTILINE).group(1)
    for text in ("rdasde developers", citation["title"], citation["version"]):
        assert text in entry

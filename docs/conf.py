"""How the site is built: ``make docs``. Nothing is fetched; notebooks are executed, once for each state of theirs."""

import shutil
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer

import rdasde
from rdasde import _figures, _studies

HERE = Path(__file__).parent
ROOT = HERE.parent
ALIASES = {"rdasde.Schedule": "rdasde._schedule"}

project = "rdasde"
author = "rdasde developers"
version = release = rdasde.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",  # formulas are set without a network, too
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_cache", "_figures", "jupyter_execute"]  # what the last build left
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]  # tables of figures start at the third level

nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars, and what warnings say of this machine

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = "rdasde"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


def _copied(_):
    """Notebooks and figures stand where the project keeps them; Sphinx reads what is below its own folder."""
    for folder, target in (("notebooks", "tutorials"), ("figures", "_figures"), ("benchmarks", "_benchmarks")):
        (HERE / target).mkdir(exist_ok=True)
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix in (".ipynb", ".png", ".md"):
                copy = HERE / target / path.name
                if not copy.exists() or copy.read_bytes() != path.read_bytes():
                    shutil.copy(path, copy)


def _write(page, lines):
    """Sphinx reads again what is newer than its own copy: a page that says the same stays as it is."""
    text = "\n".join(lines) + "\n"
    if not page.exists() or page.read_text() != text:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)


def _folded(title, directive, path):
    return [f":::{{dropdown}} {title}", f"```{{{directive}}} {path}", "```", ":::", ""]


def _comparison(_):
    """README's section; what it links to are pages here."""
    text = (ROOT / "README.md").read_text().split("\n## How it compares\n")[1].split("\n## ")[0]
    text = text.replace("](benchmarks/", "](_benchmarks/").replace("](figures/sparsity", "](gallery/sparsity")
    pages = [f"_benchmarks/{path.stem}" for path in sorted((ROOT / "benchmarks").glob("*.md"))]
    contents = ["```{toctree}", ":hidden:", "", *pages, "```"]
    _write(HERE / "comparison.md", ["# How it compares", text, *contents])


def _gallery(_):
    """A page for each figure: the picture, what it shows, its table, and the code that draws it."""
    for known, source in ((_figures.FIGURES, "_figures"), (_studies.STUDIES, "_studies")):
        for name, what in known.items():
            if not (ROOT / "figures" / f"{name}.png").exists():
                continue
            lines = [f"# {name}", "", f"{what[0].upper()}{what[1:]}.", ""]
            lines += [f"```{{image}} ../_figures/{name}.png", "```", "", f"Redraw it with `rdasde figure {name}`.", ""]
            if (ROOT / "figures" / f"{name}.md").exists():
                lines += _folded("What it says, in words and numbers", "include", f"../_figures/{name}.md")
            lines += _folded("Code", "literalinclude", f"../../rdasde/{source}/{name.replace('-', '_')}.py")
            _write(HERE / "gallery" / f"{name}.md", lines)


def _alias(app, what, name, alias, options, lines):
    """What a type stands for has no docstring of its own: it is the string below it, where it is defined."""
    if what == "data":
        lines[:] = ModuleAnalyzer.for_module(ALIASES[name]).find_attr_docs()["", name.split(".")[-1]]


def setup(app):
    """Pages that are made of others, before Sphinx looks for them."""
    app.connect("autodoc-process-docstring", _alias, priority=100)  # before numpydoc
    for make in (_copied, _comparison, _gallery):
        app.connect("config-inited", lambda app, config, make=make: make(app))

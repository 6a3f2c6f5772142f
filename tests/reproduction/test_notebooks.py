"""The notebooks ask a question and hold answers; from top to bottom they print what is stored (`make notebooks`)."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def printed(notebook):
    """By cell: what was printed, and what was shown as text alone."""
    cells = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        streams = [output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"]
        shown = [output.data for output in outputs if output.output_type in ("execute_result", "display_data")]
        cells.append("".join(streams + [data["text/plain"] for data in shown if set(data) == {"text/plain"}]))
    return cells


@every_notebook
def test_answers_a_question(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert all(cell.outputs or cell.source.startswith("import") for cell in notebook.cells if cell.cell_type == "code")
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
@every_notebook
def test_runs_and_prints_what_is_stored(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    stored = printed(notebook)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert printed(notebook) == stored

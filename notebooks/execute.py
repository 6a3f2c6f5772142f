"""Execute the notebooks anew, in place: ``make notebooks``. What depends on the machine or the day is not stored.

Each runs in an empty folder of its own. Progress bars, warnings with paths in them (all that goes to stderr) and the
times of execution are left out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbclient
import nbformat


def stored(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from run to run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("widgets", None)
    return notebook


def main(paths: list[Path]) -> None:
    """Execute these, one after the other."""
    for path in paths:
        begin = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            client = nbclient.NotebookClient(
                notebook, timeout=900, record_timing=False, resources={"metadata": {"path": folder}}
            )
            client.execute()
        nbformat.write(stored(notebook), path)
        print(f"{path.name}: {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(Path(__file__).parent.glob("*.ipynb")))

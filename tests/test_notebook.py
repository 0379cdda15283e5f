"""The notebook runs from its first cell to its last on the shipped weights."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_every_cell_runs() -> None:
    notebook = nbformat.read(ROOT / "playground.ipynb", as_version=4)
    assert len([c for c in notebook.cells if c.cell_type == "code"]) >= 5
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    pictures = [
        o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})
    ]
    assert len(pictures) >= 3

"""The notebooks run from anywhere, and what is committed shows what they print."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATIENCE_SECONDS = 300
"""For one cell on a busy machine; a whole notebook takes less than 60 s on an idle one."""


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_there_are_four() -> None:
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_committed_and_are_no_errors(path: Path) -> None:
    cells = code_cells(path)
    assert cells
    for cell in cells:
        assert cell.outputs, cell.source
        assert {output.output_type for output in cell.outputs} <= {"stream", "execute_result", "display_data"}
        assert all(output.get("name") != "stderr" for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_anywhere(path: Path, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=PATIENCE_SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    executed = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for before, after in zip(code_cells(path), executed, strict=True):
        assert [output.output_type for output in after.outputs] == [output.output_type for output in before.outputs]

"""The notebooks run from anywhere, use the documented names only, and what is committed shows what they print."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

import ceesim

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SURFACE = {"run", "summary", "sweep", "load_trace", "load_hardware", "ExitNetwork"}
"""What a notebook may use of the package; what these return may be used too."""
PATIENCE_SECONDS = 300
"""For one cell on a busy machine; a whole notebook takes less than 60 s on an idle one."""


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_there_are_four() -> None:
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


def used_names(source: str) -> set[str]:
    """Names of the package that a program uses; what it imports in another way than `import ceesim` comes whole."""
    used = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                used |= {
                    name.name
                    for name in node.names
                    if name.name.split(".")[0] == "ceesim" and (name.asname or "." in name.name)
                }
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "ceesim":
                used |= {name.name if module == "ceesim" else module for name in node.names}
            case ast.Attribute(value=ast.Name(id="ceesim"), attr=attribute):
                used.add(attribute)
    return used


def test_internal_names_are_seen() -> None:
    assert used_names("import ceesim\nceesim.run(1).mean(2)") == {"run"}
    assert used_names("from ceesim.sim.run import run") == {"ceesim.sim.run"}
    assert used_names("import ceesim.sim.run") == {"ceesim.sim.run"}
    assert used_names("import ceesim\nceesim.sim.run.run()") == {"sim"}
    assert used_names("from ceesim import run, cli") == {"run", "cli"}


def test_the_documented_names_are_there() -> None:
    assert set(ceesim._SURFACE) == SURFACE <= set(dir(ceesim))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_only_documented_names_are_used(path: Path) -> None:
    used = used_names("\n".join(cell.source for cell in code_cells(path)))
    assert used
    assert used <= SURFACE


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

import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.errors import ToolError
from optimizer.model import sha256
from optimizer.package import write_package
from optimizer.results import Choice, Outcome
from optimizer.workspace import Workspace

FILES = ["example.py", "manifest.json", "model.onnx", "report.html"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("static_all", "candidates/static_all.onnx"),
        ("baseline", "simplified.onnx"),
        ("baseline", "converted.onnx"),  # where it was faster than its simplified form
        ("input", "converted.onnx"),
    ],
)
def test_the_model_is_the_file_that_was_chosen(
    outcome: Outcome, workspace: Workspace, name: str, file: str
) -> None:
    source = workspace.folder / file
    chosen = Choice(name=name, reasons=("why",))
    confirmation = outcome.confirmation.model_copy(update={"chosen": chosen})
    outcome = outcome.model_copy(update={"confirmation": confirmation, "artifact_sha256": sha256(source)})
    write_package(outcome, workspace)
    assert names(workspace.package) == FILES
    assert sha256(workspace.package / "model.onnx") == sha256(source)


def test_a_file_that_changed_after_it_was_measured_is_not_shipped(
    outcome: Outcome, workspace: Workspace
) -> None:
    before = names(workspace.folder)
    workspace.candidate("static_all").write_bytes(workspace.simplified.read_bytes())
    with pytest.raises(ToolError, match="not the file that was measured"):
        write_package(outcome, workspace)
    assert names(workspace.folder) == before


def test_a_missing_file_leaves_nothing_half_written(outcome: Outcome, workspace: Workspace) -> None:
    workspace.candidate("static_all").unlink()
    before = names(workspace.folder)
    with pytest.raises(ToolError, match="cannot be read"):
        write_package(outcome, workspace)
    assert names(workspace.folder) == before


def test_a_package_of_a_broken_run_is_replaced(outcome: Outcome, workspace: Workspace) -> None:
    workspace.package.mkdir()
    (workspace.package / "old.txt").write_text("old")
    write_package(outcome, workspace)
    assert names(workspace.package) == FILES


def test_the_table_loads_no_heavy_package() -> None:
    program = (
        "import sys; from optimizer.package import table_rows, write_package;"
        "print(sorted({'tensorflow', 'onnxruntime', 'onnx', 'scipy', 'jinja2'} & set(sys.modules)))"
    )
    command = [sys.executable, "-P", "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"

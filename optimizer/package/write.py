"""Writes the folder that the user gets; it appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from optimizer.errors import ToolError
from optimizer.external_data import model_files
from optimizer.model import copy_model, file_sha256, sha256
from optimizer.package.example import example_source
from optimizer.package.manifest import FileFacts, make_manifest
from optimizer.package.portable import portable
from optimizer.package.report import render_report
from optimizer.results import Outcome
from optimizer.workspace import Workspace


def write_package(outcome: Outcome, workspace: Workspace) -> Outcome:
    """Write `workspace.package`: model.onnx, manifest.json, example.py and report.html.

    Large weights come in a file of their own, model.onnx.data.

    Args:
        outcome: Everything that was found.
        workspace: Holds the file of the choice.

    Returns:
        The outcome with the hash of model.onnx as it was written: beside weights of its own it names them.

    Raises:
        ToolError: If that file is missing, or is not the one that was judged and measured.
    """
    artifact = artifact_file(outcome, workspace)
    partial = Path(tempfile.mkdtemp(prefix=".package-", dir=workspace.folder))
    try:
        graph, *weights = copy_checked(artifact, partial / "model.onnx", outcome.artifact_sha256)
        total = sum(file.size_bytes for file in (graph, *weights))
        outcome = outcome.model_copy(update={"artifact_sha256": graph.sha256, "artifact_bytes": total})
        texts = {
            "manifest.json": make_manifest(portable(outcome, workspace), *weights).to_json(),
            "example.py": example_source(outcome, has_weights=bool(weights)),
            "report.html": render_report(portable(outcome, workspace)),
        }
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8", newline="\n")
        partial.chmod(0o755)
        shutil.rmtree(workspace.package, ignore_errors=True)  # of a run that was broken off
        partial.rename(workspace.package)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return outcome


def artifact_file(outcome: Outcome, workspace: Workspace) -> Path:
    """The file behind the choice: a candidate's, else the simplified or the converted one.

    The hash decides between these two: the converted file is the baseline where it was the faster.
    """
    name = outcome.confirmation.chosen.name
    if name in {candidate.name for candidate in outcome.candidates}:
        return workspace.candidate(name)
    simplified, converted = workspace.simplified, workspace.converted
    as_converted = converted.exists() and sha256(converted) == outcome.artifact_sha256
    return converted if as_converted else simplified


def copy_checked(source: Path, target: Path, expected_sha256: str) -> list[FileFacts]:
    """Copy a model of one or two files and make sure that it is the one that was measured."""
    try:
        found = sha256(source)
        copy_model(source, target)
    except OSError as error:
        raise ToolError(f"The chosen model {source.name} cannot be read: {error.strerror}.") from error
    files = [
        FileFacts(name=file.name, sha256=file_sha256(file), size_bytes=file.stat().st_size)
        for file in model_files(target)
    ]
    if found != expected_sha256 or (len(files) == 1 and files[0].sha256 != expected_sha256):
        raise ToolError(
            f"The chosen model {source.name} is not the file that was measured: its hash has changed.",
            hint="Run the optimization again in an empty workspace.",
        )
    return files

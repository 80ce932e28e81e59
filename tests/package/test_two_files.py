"""A choice of two files: both are in the package, by names that fit, and the manifest has both hashes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper, parser

from optimizer.errors import ToolError
from optimizer.external_data import data_file
from optimizer.model import Model, file_bytes, from_proto, save_model, sha256
from optimizer.output import publish, publish_model
from optimizer.package import write_package
from optimizer.results import Outcome
from optimizer.runtime import open_session
from optimizer.workspace import Workspace


@pytest.fixture
def chosen(outcome: Outcome, workspace: Workspace) -> Outcome:
    """The outcome, whose candidate is now a model of two files."""
    path = workspace.candidate("static_all")
    save_model(wide_model(), path, largest_bytes=1 << 20)
    assert data_file(path).exists()
    return outcome.model_copy(update={"artifact_sha256": sha256(path), "artifact_bytes": file_bytes(path)})


def wide_model() -> Model:
    """A model like the others of the workspace, with a weight of 1.3 MB."""
    proto = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        demo (float[N, 28, 28, 1] image) => (float[N, 10] digit)
        <int64[2] flat = {-1, 784}>
        {
            pixels = Reshape (image, flat)
            hidden = MatMul (pixels, first)
            scores = MatMul (hidden, second)
            digit = Softmax (scores)
        }""")
    rng = np.random.default_rng(0)
    for name, shape in (("first", (784, 400)), ("second", (400, 10))):
        proto.graph.initializer.append(numpy_helper.from_array(rng.random(shape, np.float32), name))
    return from_proto(proto)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_package_holds_both_files_and_the_hash_of_each(chosen: Outcome, workspace: Workspace) -> None:
    written = write_package(chosen, workspace)
    names = sorted(path.name for path in workspace.package.iterdir())
    assert names == ["example.py", "manifest.json", "model.onnx", "model.onnx.data", "report.html"]
    manifest = json.loads((workspace.package / "manifest.json").read_text())
    for key, name in (("artifact", "model.onnx"), ("weights", "model.onnx.data")):
        file = workspace.package / name
        assert manifest[key] == {
            "name": name,
            "sha256": digest(file),
            "size_bytes": file.stat().st_size,
        }
    assert written.artifact_sha256 == digest(workspace.package / "model.onnx")
    assert written.artifact_bytes == file_bytes(workspace.package / "model.onnx")


def test_the_package_runs_where_it_is_published(
    chosen: Outcome, workspace: Workspace, tmp_path: Path
) -> None:
    write_package(chosen, workspace)
    publish(workspace.package, tmp_path / "out")
    source = (tmp_path / "out" / "example.py").read_text()
    assert "model.onnx.data" in source
    ran = subprocess.run(
        [sys.executable, "-P", str(tmp_path / "out" / "example.py")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ""},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "digit float32" in ran.stdout


def test_weights_that_changed_since_they_were_measured_are_not_handed_out(
    chosen: Outcome, workspace: Workspace
) -> None:
    with data_file(workspace.candidate("static_all")).open("r+b") as file:
        file.write(b"\x01\x02\x03")
    with pytest.raises(ToolError, match="not the file that was measured"):
        write_package(chosen, workspace)
    assert not workspace.package.exists()


def test_a_converted_model_is_published_with_its_weights_and_replaced_without(
    chosen: Outcome, workspace: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "model.onnx"
    publish_model(workspace.candidate("static_all"), target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert [spec.name for spec in open_session(target).outputs] == ["digit"]
    publish_model(workspace.simplified, target)
    assert [path.name for path in target.parent.iterdir()] == ["model.onnx"]
    assert digest(target) == digest(workspace.simplified)

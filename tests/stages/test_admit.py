"""What is wrong with an upload or a goal is told before a job is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.errors import InvalidOptionsError
from optimizer.goal import NEWEST_OPSET, Goal
from optimizer.isolation import Reporter
from optimizer.stages import admit
from optimizer.workspace import StageRequest

DEMO = Path(__file__).parents[2] / "optimizer" / "demo" / "demo.keras"


def look(upload: Path, workspace: Path, goal: Goal) -> None:
    admit.run(StageRequest(stage="admit", workspace=workspace, upload=upload, goal=goal), Reporter(-1))


def test_an_operator_set_that_a_conversion_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match=f"opset asks for operator set 16; .* 17 to {NEWEST_OPSET}"):
        look(DEMO, tmp_path, Goal(opset=16))
    look(DEMO, tmp_path, Goal(opset=17))


def test_a_signature_is_chosen_of_a_savedmodel_or_a_tflite_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match="the upload is of the format keras"):
        look(DEMO, tmp_path, Goal(signature="serve"))
    lite = tmp_path / "model.tflite"
    lite.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    look(lite, tmp_path, Goal(signature="serve"))

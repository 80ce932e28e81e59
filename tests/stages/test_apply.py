"""Making one candidate: what may not be chosen is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from optimizer.benchmark import describe_machine
from optimizer.goal import Goal
from optimizer.isolation import Reporter
from optimizer.model import load_model
from optimizer.results import Candidate, Plan, Probe, Samples
from optimizer.stages.apply import run
from optimizer.steps import QuantizeDynamic, Recipe
from optimizer.workspace import StageRequest

TEXT = """
<ir_version: 8, opset_import: ["": {opset}]>
g (float[N, 8] x) => (float[N, 4] y) <float[8, 4] w> {{ y = MatMul (x, w) }}
"""
DYNAMIC = Recipe(name="dynamic_int8", steps=(QuantizeDynamic(),))


def candidate(folder: Path, opset: int, goal: Goal) -> tuple[Candidate, Path]:
    """Apply dynamic INT8 to a small model."""
    request = StageRequest(stage="apply", workspace=folder, goal=goal, recipe=DYNAMIC)
    files = request.files
    proto = onnx.parser.parse_model(TEXT.format(opset=opset))
    weight = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    del proto.graph.initializer[:]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    files.simplified.write_bytes(proto.SerializeToString())
    files.write("probe", Probe(machine=describe_machine(), goal=goal, provider="cpu", threads=1))
    files.write("plan", Plan(samples=Samples(), recipes=(DYNAMIC,)))
    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        run(request, Reporter(descriptor))
    finally:
        os.close(descriptor)
    return files.read("candidates/dynamic_int8", Candidate), files.candidate("dynamic_int8")


@pytest.mark.parametrize("opset", [17, 21])
def test_a_candidate_keeps_the_operator_set_asked_for(opset: int, tmp_path: Path) -> None:
    made, path = candidate(tmp_path, opset, Goal(opset=opset))
    assert made.refused is None
    assert load_model(path).graph_ir.opset_imports[""] == opset


def test_a_candidate_that_needs_a_newer_operator_set_than_asked_for_is_refused(tmp_path: Path) -> None:
    made, path = candidate(tmp_path, 11, Goal(opset=11))
    assert made.refused == "it needs operator set 17, and the option opset asks for 11"
    assert not path.exists()
    assert candidate(tmp_path, 11, Goal())[0].refused is None

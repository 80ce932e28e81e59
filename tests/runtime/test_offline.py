from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from optimizer.errors import UnsupportedModelError
from optimizer.runtime import offline, optimize_basic

MODEL = """
<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[N, 2] x) => (float[N, 2] y, float[N, 2] z)
<float[2] one = {1, 1}, float[2] two = {2, 2}>
{
  three = Add(one, two)
  scaled = Mul(x, three)
  y = Relu(scaled)
  copied = Identity(scaled)
  z = Sigmoid(copied)
}
"""


def test_constants_fold_and_names_and_values_stay() -> None:
    model = onnx.parser.parse_model(MODEL)
    optimized = optimize_basic(model)
    assert sorted(node.op_type for node in optimized.graph.node) == ["Mul", "Relu", "Sigmoid"]
    assert [value.name for value in optimized.graph.output] == ["y", "z"]
    x = np.array([[-1, 2]], np.float32)
    for before, after in zip(
        ReferenceEvaluator(model).run(None, {"x": x}),
        ReferenceEvaluator(optimized).run(None, {"x": x}),
        strict=True,
    ):
        np.testing.assert_allclose(after, before, rtol=1e-6)


def test_only_operator_sets_in_use_are_imported() -> None:
    optimized = optimize_basic(onnx.parser.parse_model(MODEL))
    assert [(entry.domain, entry.version) for entry in optimized.opset_import] == [("", 17)]


def test_the_input_is_not_written_to() -> None:
    model = onnx.parser.parse_model(MODEL)
    before = model.SerializeToString()
    optimize_basic(model)
    assert model.SerializeToString() == before


def test_a_model_over_the_protobuf_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "MAX_PROTOBUF_BYTES", 10)
    with pytest.raises(UnsupportedModelError, match="2 GB"):
        optimize_basic(onnx.parser.parse_model(MODEL))

"""Post-processing stays in float, whatever the layers before it become."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_models import model_of

from optimizer.calibrate import collect_ranges
from optimizer.graph import simplify
from optimizer.graph.verify import open_proto
from optimizer.model import Model, PassResult
from optimizer.quantize import convert_half, quantize_static
from optimizer.steps import ConvertHalf, QuantizeStatic

TEXT = """
g (float[1, 3, 8, 8] image) => (float[D, 4] found, float[D, 3] chosen)
<int64[3] flat4 = {1, -1, 4}, int64[3] flat1 = {1, 1, -1}, int64[1] most = {10}, float[1] overlap = {0.5},
 int64[1] last = {2}, int64[1] first = {0}, int64[1] end = {3}, int64[1] axis = {1}>
{
  features = Conv (image, w)
  active = Relu (features)
  boxes = Conv (active, wb)
  listed = Reshape (boxes, flat4)
  grown = Exp (listed)
  decoded = Mul (grown, anchors)
  logits = Conv (active, ws)
  scores = Sigmoid (logits)
  by_class = Reshape (scores, flat1)
  indices = NonMaxSuppression (decoded, by_class, most, overlap)
  chosen = Cast <to = 1> (indices)
  columns = Slice (indices, last, end, axis)
  index = Squeeze (columns, axis)
  single = Squeeze (decoded, first)
  found = Gather (single, index)
}
"""
AFTER_LAYERS = {"Exp", "Mul", "Sigmoid", "NonMaxSuppression", "Gather"}


@pytest.fixture
def detector() -> Model:
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "wb": (4, 8, 1, 1), "ws": (1, 8, 1, 1), "anchors": (36, 4)}
    built = model_of(TEXT, **{name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()})
    return simplify(built).model


def batches() -> list[dict[str, np.ndarray]]:
    return [{"image": np.random.default_rng(n).random((1, 3, 8, 8), np.float32)} for n in range(4)]


def says_so(result: PassResult) -> bool:
    return any("Post-processing around NonMaxSuppression stays in float" in line for line in result.refusals)


def test_static_int8_quantizes_the_convolutions_and_nothing_behind_them(detector: Model) -> None:
    ranges = collect_ranges(detector, batches(), lambda _: None)
    result = quantize_static(detector, QuantizeStatic(), ranges)
    assert says_so(result)
    graph = result.model.to_proto().graph
    integers = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    weighted = [node for node in graph.node if node.op_type == "Conv"]
    assert all(node.input[1] in integers for node in weighted)
    sources = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in AFTER_LAYERS:
            # A layer's own result is rounded once; behind that, nothing is.
            rounded = [name for name in node.input if name in integers]
            behind = {sources[sources[sources[name].input[0]].input[0]].op_type for name in rounded}
            assert behind <= {"Conv"}, node
    before, after = (open_proto(each.to_proto()).run(batches()[0]) for each in (detector, result.model))
    assert after["found"].dtype == before["found"].dtype == np.float32


def test_half_precision_leaves_it_in_float32(detector: Model) -> None:
    result = convert_half(detector, ConvertHalf())
    assert says_so(result)
    inferred = onnx.shape_inference.infer_shapes(result.model.to_proto())
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    for node in inferred.graph.node:
        if node.op_type in {"Exp", "Mul", "Sigmoid"}:
            assert types[node.output[0]] == onnx.TensorProto.FLOAT, node.name
    assert any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in inferred.graph.initializer)

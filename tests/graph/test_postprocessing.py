"""What belongs to post-processing, and where it begins."""

from __future__ import annotations

import onnx
import onnx.parser

from optimizer.graph.postprocessing import Postprocessing, find_postprocessing, onnx_nodes

DETECTOR = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, 8, 8] image) => (float[D, 4] found, int64[D, 3] chosen, float[1, 2] other)
<float[8, 3, 1, 1] w, float[64, 4] anchors, int64[3] flat4 = {1, -1, 4}, int64[3] flat1 = {1, 1, -1},
 int64[1] most = {10}, float[1] overlap = {0.5}, float[4] bias, float[4, 8, 1, 1] wb, float[1, 8, 1, 1] ws,
 int64[1] last = {2}, int64[1] first = {0}, float[8, 2] wo, int64[1] end = {3}, int64[1] axis = {1}>
{
  features = Conv (image, w)
  active = Relu (features)
  raw = Conv (active, wb)
  boxes = Add (raw, anchors_bias)
  listed = Reshape (boxes, flat4)
  grown = Exp (listed)
  decoded = Mul (grown, anchors)
  logits = Conv (active, ws)
  scores = Sigmoid (logits)
  by_class = Reshape (scores, flat1)
  chosen = NonMaxSuppression (decoded, by_class, most, overlap)
  columns = Slice (chosen, last, end, axis)
  index = Squeeze (columns, axis)
  single = Squeeze (decoded, first)
  found = Gather (single, index)
  pooled = GlobalAveragePool (active)
  vector = Flatten (pooled)
  other = MatMul (vector, wo)
}
""".replace("float[4] bias", "float[1, 4, 1, 1] anchors_bias")


def find(text: str) -> Postprocessing:
    proto = onnx.parser.parse_model(text)
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in weights]
    return find_postprocessing(onnx_nodes(proto.graph), inputs)


def test_decoding_belongs_to_it_and_the_layers_with_their_biases_do_not() -> None:
    found = find(DETECTOR)
    assert found.operators == ("NonMaxSuppression",)
    assert set(found.begins_at) == {"boxes", "logits"}
    assert found.nodes == {
        *("listed", "grown", "decoded", "scores", "by_class", "chosen", "columns", "index", "single", "found")
    }


def test_what_a_layer_follows_on_is_no_postprocessing() -> None:
    """Top-k inside a network, as in a mixture of experts or for the proposals of a two-stage detector."""
    found = find(
        """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 8] x) => (float[1, 2] y)
<float[8, 8] w, float[3, 2] v, int64[1] k = {3}>
{
  a = MatMul (x, w)
  best, places = TopK (a, k)
  y = MatMul (best, v)
}
"""
    )
    assert found == Postprocessing((), frozenset(), ())


def test_a_classifiers_top_k_begins_behind_its_last_layer() -> None:
    found = find(
        """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 8] x) => (float[1, 3] best, int64[1, 3] places)
<float[8, 8] w, float[8] b, int64[1] k = {3}>
{
  a = Gemm (x, w, b)
  scores = Softmax (a)
  best, places = TopK (scores, k)
}
"""
    )
    assert (found.operators, found.begins_at) == (("TopK",), ("a",))
    assert found.nodes == {"scores", "best"}


def test_a_graph_that_is_nothing_else_begins_nowhere() -> None:
    found = find(
        """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 8] x) => (float[1, 3] best, int64[1, 3] places)
<int64[1] k = {3}>
{ best, places = TopK (x, k) }
"""
    )
    assert (found.operators, found.begins_at) == (("TopK",), ())

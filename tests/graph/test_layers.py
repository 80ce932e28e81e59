from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from recurrent_loops import Loop, loop_model
from small_models import model_of

from optimizer.graph import simplify
from optimizer.graph.layers import Layers
from optimizer.graph.rewrites import REWRITES
from optimizer.graph.rewrites.words import in_words
from optimizer.model import Model, from_proto


def graph(*nodes: tuple[str, list[str], str], weights: tuple[str, ...] = ()) -> onnx.ModelProto:
    """Nodes by name, inputs and output; all are Add, for names alone count."""
    made = [helper.make_node("Add", inputs, [output], name=name) for name, inputs, output in nodes]
    tensors = [numpy_helper.from_array(np.ones(1, np.float32), name) for name in weights]
    return helper.make_model(helper.make_graph(made, "g", [], [], tensors))


TENSORFLOW = graph(
    ("Call/model/conv/BiasAdd__6", ["x"], "Call/model/conv/BiasAdd__6:0"),
    ("Conv__9", ["Call/model/conv/BiasAdd__6:0", "Call/model/conv/Conv2D/ReadVariableOp:0"], "Conv__9:0"),
    ("Call/model/block/dense/MatMul", ["Conv__9:0"], "Call/model/block/dense/MatMul:0"),
    ("Call/model/block/dense/Tensordot/Prod_1", ["Call/model/block/dense/MatMul:0"], "p"),
    ("Shape__3", ["p"], "Shape__3:0"),
    ("Gather__4", ["Shape__3:0"], "Gather__4:0"),
    ("Call/model/flatten/Reshape", ["Gather__4:0"], "y"),
    ("Lonely__1", ["x"], "z"),
    weights=("Call/model/conv/Conv2D/ReadVariableOp:0",),
)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("Call/model/conv/BiasAdd__6", "conv"),
        ("Call/model/block/dense/MatMul", "block/dense"),
        ("Call/model/block/dense/MatMul:0_nchwc", "block/dense"),  # ONNX Runtime's blocked kernels
        ("Call/model/block/dense/MatMul/MatMulAddFusion", "block/dense"),  # its fusions
        ("Call/model/block/dense/MatMul:0_QuantizeLinear", "block/dense"),  # its quantizer
        ("Call/model/block/dense/MatMul:0/Gemm_3", "block/dense"),  # our rewrites
        ("Call/model/block/dense/Tensordot/Prod_1", "block/dense"),  # a function of TensorFlow, no layer
        ("Conv__9:0_nchwc", "conv"),  # whose weight it reads
        ("Shape__3", "flatten"),  # whose input it computes
        ("p", "block/dense"),  # a value of that name
        ("Lonely__1", "Lonely__1"),
        ("never/seen/before", "never/seen"),
        ("ReorderOutput_token_3", None),
    ],
)
def test_a_node_is_told_by_its_layer_whoever_made_it(name: str, layer: str | None) -> None:
    assert Layers(TENSORFLOW).layer_of(name) == layer


def test_pytorch_names_begin_with_a_slash() -> None:
    model = graph(
        ("/layers.0/attn/MatMul", ["x"], "/layers.0/attn/MatMul_output_0"),
        ("/layers.0/norm/Div", ["/layers.0/attn/MatMul_output_0"], "/layers.0/norm/Div_output_0"),
        ("/head/Gemm", ["/layers.0/norm/Div_output_0"], "y"),
    )
    layers = Layers(model)
    assert layers.layer_of("/layers.0/attn/MatMul_output_0_nchwc") == "layers.0/attn"
    assert layers.layer_of("/head/Gemm") == "head"


def test_a_layer_of_keras_is_one_row_with_its_loop() -> None:
    call = "StatefulPartitionedCall/functional_1"
    model = graph(
        (f"{call}/emb_1/GatherV2", ["x"], "e"),
        (f"{call}/gru_1/transpose", ["e"], f"{call}/gru_1/transpose:0"),
        ("functional_1/gru_1/while/gru_cell_1/MatMul", [f"{call}/gru_1/transpose:0"], "m"),
        ("Reshape__7", ["m"], "r"),
        (f"{call}/fc_1/Tensordot/MatMul", ["r"], "f"),
        (f"{call}/Cast", ["f"], "y"),
    )
    names = [*(node.name for node in model.graph.node), f"{call}/gru_1/transpose:0/GRU_3"]
    layers = ["emb", "gru", "gru", "fc", "fc", "functional_1", "gru"]
    assert list(map(Layers(model).layer_of, names)) == layers


def test_nodes_without_names_are_told_by_their_values() -> None:
    layers = Layers(graph(("", ["x"], "sum"), ("", ["sum"], "total")))
    assert layers.layer_of("sum") == "sum"
    assert layers.layer_of("sum/LSTM_3") == "sum"  # a rewrite's
    assert layers.layer_of("Add_total") == "total"  # as `name_nodes` calls it
    assert layers.layer_of("Shape_3") is None  # as ONNX Runtime calls it, by a number of its own


def test_a_model_of_one_layer_keeps_its_name() -> None:
    assert Layers(graph(("model/dense/MatMul", ["x"], "y"))).layer_of("model/dense/MatMul") == "dense"


LOOP = """
    g (int64 n, bool go, float[2] x) => (float[2] y) {
        y = Loop (n, go, x) <body = b (int64 i, bool c, float[2] h) => (bool d, float[2] k) {
            d = Identity (c)  k = Tanh (h)
        }>
    }"""


def test_nodes_of_a_body_have_layers_too() -> None:
    model = model_of(LOOP).to_proto()
    for node in model.graph.node[0].attribute[0].g.node:
        node.name = f"model/rnn/while/{node.op_type}"
    assert Layers(model).layer_of("model/rnn/while/Tanh") == "while"


def test_every_rewrite_is_told_in_plain_words() -> None:
    jargon = [
        rewrite.name for rewrite in REWRITES if in_words(rewrite.name) == rewrite.name.replace("_", " ")
    ]
    assert jargon == []


GELU = """
    g (float[batch, 4] x) => (float[batch, 4] y)
    <float root = {0.70710678}, float one = {1}, float half = {0.5}>
    { a = Mul (x, root)  e = Erf (a)  f = Add (e, one)  h = Mul (x, half)  y = Mul (h, f) }"""


def named(text: str, folder: str) -> Model:
    """A model whose nodes all lie in one folder."""
    proto = model_of(text).to_proto()
    for node in proto.graph.node:
        node.name = f"{folder}/{node.op_type}_{node.output[0]}"
    return from_proto(proto)


def test_a_rewrite_names_the_layers_that_it_touched() -> None:
    [done] = simplify(named(GELU, "model/ffn/act")).rewrites
    assert (done.name, done.count, done.layers) == ("fuse_gelu", 1, ("act",))
    assert done.words == in_words("fuse_gelu")


def test_what_is_recognized_but_left_is_told_where_nothing_else_is_rewritten() -> None:
    result = simplify(named(LOOP, "model/rnn"))
    assert result.rewrites == ()
    [left] = result.left
    assert (left.layer, left.rewrite) == ("rnn", "fuse_recurrence")
    assert left.reason == "it is no walk over a whole sequence"


def test_a_rewrite_of_a_loop_touches_the_layers_of_its_body_too() -> None:
    done = {rewrite.name: rewrite for rewrite in simplify(from_proto(loop_model(Loop("lstm")))).rewrites}
    fused = done["fuse_recurrence"]
    assert fused.count == 1
    # Nodes without names stand for themselves: the loop, the product of the state, the last sum.
    assert {"k_last", "fh_p", "c_next"} <= set(fused.layers)

"""Dynamic INT8: weights are int8, activations are measured and quantized to uint8 at each call.

Gemm becomes MatMul and Add first, since only MatMul has an integer kernel of this kind. An embedding's
table becomes uint8 and its rows are dequantized after the Gather.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from optimizer.external_data import PROTO_BYTES, withhold
from optimizer.graph.structure import all_graphs, with_shapes
from optimizer.model import Model, PassResult, from_proto
from optimizer.quantize.bodies import captured
from optimizer.quantize.model_edges import finished, prepared, tidied, tool_failure
from optimizer.quantize.selection import (
    Selection,
    dynamic_selection,
    names_to_keep,
    postprocessing_to_keep,
)
from optimizer.quantize.streaming import put_stand_ins, replace_stand_ins
from optimizer.steps import QuantizeDynamic

if TYPE_CHECKING:
    import onnx

_WHAT = "Dynamic INT8"


def quantize_dynamic(model: Model, step: QuantizeDynamic, largest_bytes: int = PROTO_BYTES) -> PassResult:
    """Give MatMul, Gemm and attention, and on demand LSTM and embeddings, INT8 weights. Never Conv.

    Args:
        model: The model.
        step: The options.
        largest_bytes: Of a model with more weights than that, large ones are quantized one after another, and
            only those of MatMul and Gemm.

    Returns:
        The quantized model, same inputs and outputs; and each node that stays in float with the reason.

    Raises:
        InvalidOptionsError: If `step.keep_float` names no node.
        UnsupportedModelError: If nothing is left to quantize, or ONNX Runtime's quantizer gives up.
    """
    if model.weight_bytes > largest_bytes:
        return _quantize_large(model, step)
    before = prepared(model)
    postprocessing, notes = postprocessing_to_keep(before)
    kept = names_to_keep(before, step.keep_float) | postprocessing
    proto = gemm_as_matmul(before)
    selection = dynamic_selection(proto, step.operators, kept)
    chosen = set(selection.nodes)
    operators = Counter(node.op_type for node in before.graph.node if node.name in chosen)
    after = _quantize(proto, step, selection)
    changes = tuple(f"{n} {name} with INT8 weights" for name, n in sorted(operators.items()))
    return PassResult(finished(before, after, _WHAT), changes, (*notes, *selection.refusals))


def _quantize_large(model: Model, step: QuantizeDynamic) -> PassResult:
    light, weights = withhold(model.graph_ir)
    before = with_shapes(prepared(from_proto(light)))
    postprocessing, notes = postprocessing_to_keep(before)
    kept = names_to_keep(before, step.keep_float) | postprocessing
    stand_ins, refusals = put_stand_ins(before, weights)
    proto = gemm_as_matmul(before)
    selection = dynamic_selection(proto, step.operators, kept)
    chosen = set(selection.nodes)
    operators = Counter(node.op_type for node in before.graph.node if node.name in chosen)
    after = tidied(before, _quantize(proto, step, selection), _WHAT).to_proto()
    result = replace_stand_ins(after, weights, stand_ins, reduce_range=step.reduce_range)
    changes = tuple(f"{n} {name} with INT8 weights" for name, n in sorted(operators.items()))
    return PassResult(Model(result), changes, (*notes, *selection.refusals, *refusals))


def _quantize(proto: onnx.ModelProto, step: QuantizeDynamic, selection: Selection) -> onnx.ModelProto:
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    typed = with_shapes(proto)
    outputs = len(typed.graph.output)
    # The quantizer gives outputs back in float, but overlooks what only a body reads.
    for name in sorted(captured(typed.graph) & _rows(typed.graph, selection)):
        typed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    try:
        quantizer = ONNXQuantizer(
            typed,
            per_channel=True,
            reduce_range=step.reduce_range,
            mode=QuantizationMode.IntegerOps,
            static=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=None,
            nodes_to_quantize=list(selection.nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({node.op_type for node in proto.graph.node}),
            # Behind an operator of ONNX Runtime's own no type is known; what is multiplied is a float.
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantized: onnx.ModelProto = quantizer.quantize_model()
    except Exception as error:  # the quantizer raises ValueError, KeyError, AssertionError, ... by operator
        raise tool_failure(error, _WHAT) from error
    del quantized.graph.output[outputs:]
    return quantized


def _rows(graph: onnx.GraphProto, selection: Selection) -> set[str]:
    """Names of the values that are looked up in integer tables."""
    chosen = set(selection.nodes)
    return {node.output[0] for node in graph.node if node.op_type == "Gather" and node.name in chosen}


def gemm_as_matmul(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each plain Gemm is a MatMul of the same name, and an Add.

        alpha * A @ B + beta * C = A @ B + C    with alpha = beta = 1 and A not transposed

    ONNX Runtime's quantizer does the same, but transposes B in place, once per reader: a weight that two
    Gemms share comes out wrong.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    transposed: dict[str, str] = {}
    for graph in all_graphs(copy.graph):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes.extend(_split_gemm(node, weights, transposed) if node.op_type == "Gemm" else [node])
        fresh = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(fresh)
    for name, new_name in transposed.items():
        array = onnx.numpy_helper.to_array(weights[name])
        copy.graph.initializer.append(
            onnx.numpy_helper.from_array(np.ascontiguousarray(array.T), name=new_name)
        )
    return copy


def _split_gemm(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], transposed: dict[str, str]
) -> list[onnx.NodeProto]:
    import onnx

    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    turn = bool(values.get("transB", 0))
    plain = values.get("alpha", 1.0) == 1.0 and values.get("beta", 1.0) == 1.0 and not values.get("transA", 0)
    if not plain or (turn and node.input[1] not in weights):
        return [node]
    weight = node.input[1]
    if turn:
        weight = transposed.setdefault(weight, f"{weight}/transposed")
    has_bias = len(node.input) > 2 and bool(node.input[2])
    product = f"{node.output[0]}/product" if has_bias else node.output[0]
    matmul = onnx.helper.make_node("MatMul", [node.input[0], weight], [product], name=node.name)
    if not has_bias:
        return [matmul]
    add = onnx.helper.make_node("Add", [product, node.input[2]], node.output, name=f"{node.name}/bias")
    return [matmul, add]

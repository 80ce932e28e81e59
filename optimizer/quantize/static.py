"""Static INT8: weights per channel, activations with the ranges of the calibration data, as QDQ.

    q = clip(round(x / scale) + zero_point)      x ~ (q - zero_point) * scale

Weights are int8, symmetric, one scale per output channel; activations uint8 (or int8, symmetric), one scale
per tensor, scale = (high - low) / 255 with [low, high] widened to hold 0.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from optimizer.calibrate import Ranges
from optimizer.errors import UnsupportedModelError
from optimizer.graph.structure import all_graphs, value_types, with_shapes
from optimizer.model import Model, PassResult
from optimizer.quantize.islands import close_islands
from optimizer.quantize.model_edges import finished, prepared, tool_failure
from optimizer.quantize.selection import (
    Selection,
    integer_operators,
    names_to_keep,
    postprocessing_to_keep,
    static_selection,
)
from optimizer.steps import QuantizeStatic

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_WHAT = "Static INT8"
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "LayerNormalization"})


def quantize_static(model: Model, step: QuantizeStatic, ranges: Ranges) -> PassResult:
    """Give the chosen operators INT8 weights and activations.

    Args:
        model: A simplified model: a BatchNormalization that could be folded costs a Conv of its own here.
        step: Which operators, which activation type, how many weight bits.
        ranges: Of this model, from `collect_ranges`.

    Returns:
        The quantized model, same inputs and outputs; and each node that stays in float with the reason.

    Raises:
        InvalidOptionsError: If `step.keep_float` names no node.
        UnsupportedModelError: If nothing is left to quantize, or ONNX Runtime's quantizer gives up.
    """
    before = prepared(model)
    postprocessing, notes = postprocessing_to_keep(before)
    kept = names_to_keep(before, step.keep_float) | postprocessing
    closed = close_islands(before, ranges.values, integer_operators(step.operators), kept)
    ranges = Ranges(closed.ranges)
    proto = _with_types(closed.proto, ranges)
    selection = static_selection(proto, step.operators, kept, ranges.values)
    if not selection.nodes:
        raise UnsupportedModelError(
            f"{_WHAT} has nothing to do here: {_why_nothing(proto, step, selection)}",
            hint="Use other operators, or give calibration data that reaches them.",
        )
    _unshare_biases(proto, selection)
    after = _quantize(proto, step, ranges, selection)
    result = finished(before, after, _WHAT)
    return PassResult(
        result,
        (*_changes(result, step), *closed.changes),
        (*notes, *selection.refusals, *_saturation(result, step)),
    )


def _with_types(before: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    """A copy with the type of every value that is known; the quantizer passes over the others."""
    import onnx

    proto = with_shapes(before)
    known = value_types(proto.graph)
    # ONNX cannot infer through operators of ONNX Runtime's own; what has a range is a float.
    for node in proto.graph.node:
        for name in node.output:
            if name in ranges.values and not known.get(name):
                value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                proto.graph.value_info.append(value)
    return proto


def _unshare_biases(proto: onnx.ModelProto, selection: Selection) -> None:
    """Give every layer a bias of its own, in place: its scale is the layer's, scale(x) * scale(w).

    The quantizer does so too, but calls the copy of `dense_2` `dense_20`, which may be another value.
    """
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    taken = {name for graph in all_graphs(proto.graph) for node in graph.node for name in node.output}
    taken.update(weights, (value.name for value in proto.graph.input))
    chosen, used = set(selection.nodes), set[str]()
    for node in proto.graph.node:
        bias = weights.get(node.input[2]) if node.op_type in _BIASED and len(node.input) > 2 else None
        if bias is None or node.name not in chosen:
            continue
        if bias.name in used:
            copy = proto.graph.initializer.add()
            copy.CopyFrom(bias)
            number = next(i for i in itertools.count(2) if f"{bias.name}/copy{i}" not in taken)
            copy.name = node.input[2] = f"{bias.name}/copy{number}"
            taken.add(copy.name)
        used.add(bias.name)


def _quantize(
    proto: onnx.ModelProto, step: QuantizeStatic, ranges: Ranges, selection: Selection
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    symmetric = step.activations == "int8"
    operators = sorted({node.op_type for node in proto.graph.node})
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.values.items()
    }
    add_infer_metadata(proto)  # or the quantizer infers the shapes again, through a file
    try:
        quantizer = QDQQuantizer(
            proto,
            per_channel=True,
            reduce_range=step.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range=data,
            nodes_to_quantize=list(selection.nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
        )
        quantized: onnx.ModelProto = quantizer.quantize_model()
    except Exception as error:  # the quantizer raises ValueError, KeyError, AssertionError, ... by operator
        raise tool_failure(error, _WHAT) from error
    return quantized


def _why_nothing(proto: onnx.ModelProto, step: QuantizeStatic, selection: Selection) -> str:
    if selection.refusals:
        return " ".join(selection.refusals[:3])
    present = ", ".join(sorted({node.op_type for node in proto.graph.node}))
    return f"operators {step.operators!r} are not among {present}, or all of them are kept in float."


def _changes(model: Model, step: QuantizeStatic) -> tuple[str, ...]:
    graph = model.graph_ir.graph
    integers = {value for node in graph if node.op_type == "DequantizeLinear" for value in node.outputs}
    layers = [node for node in graph if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}]
    count = sum(any(value in integers for value in node.inputs) for node in layers)
    return (f"{count} of {len(layers)} nodes read INT8, with {step.activations} activations",)


def _saturation(model: Model, step: QuantizeStatic) -> tuple[str, ...]:
    """Weights whose products with uint8 activations can overflow 16 bits, which CPUs without VNNI add in.

    Two products are added in 16 bits: 255 * (w1 + w2) > 32767 as soon as w1 + w2 > 128.
    """
    if step.reduce_range or step.activations != "uint8":
        return ()
    values = [node.inputs[0] for node in model.graph_ir.graph if node.op_type == "DequantizeLinear"]
    saturating = [str(value.name) for value in values if value is not None and _can_saturate(value)]
    if not saturating:
        return ()
    return (
        f"{len(saturating)} weights use all 8 bits and can saturate on x86 CPUs without VNNI "
        f"({', '.join(saturating[:3])}{', ...' if len(saturating) > 3 else ''}): "
        "the goal target_cpu=avx2 makes a file for those.",
    )


def _can_saturate(value: onnx_ir.Value) -> bool:
    if value.const_value is None:
        return False
    weight = value.const_value.numpy()
    if weight.dtype != np.int8 or weight.size < 2:  # it takes a pair
        return False
    largest = np.partition(weight.ravel().astype(np.int16), (1, weight.size - 2))
    return bool(largest[-2:].sum() > 128 or -largest[:2].sum() > 128)

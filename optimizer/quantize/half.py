"""FP16: weights and activations in half precision; inputs and outputs keep their dtype.

float16 holds |x| <= 65504, and nothing between 0 and 2**-24; below 2**-14 it loses digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from optimizer.errors import UnsupportedModelError
from optimizer.graph.structure import all_nodes
from optimizer.model import Model, PassResult
from optimizer.quantize.model_edges import finished, prepared, tool_failure
from optimizer.quantize.selection import names_to_keep, postprocessing_to_keep
from optimizer.steps import ConvertHalf

if TYPE_CHECKING:
    import onnx

_WHAT = "FP16"
_LARGEST = float(np.finfo(np.float16).max)  # 65504
_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)  # 2**-24

# Operators whose weights scale what they compute. Elsewhere (a mask of -1e9) the largest number serves too.
_WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Einsum"})


def convert_half(model: Model, step: ConvertHalf) -> PassResult:
    """Convert float32 weights and activations to FP16.

    A layer with a weight that FP16 cannot hold stays in float32, and is named.

    Returns:
        The converted model, same inputs and outputs; and what loses values, with counts.

    Raises:
        InvalidOptionsError: If `step.keep_float` names no node.
        UnsupportedModelError: If there is nothing to convert, or ONNX Runtime's converter gives up.
    """
    before = prepared(model, smallest_opset=1)
    postprocessing, notes = postprocessing_to_keep(before)
    kept = names_to_keep(before, step.keep_float) | postprocessing
    out_of_range, refusals = _range_check(before)
    after = _convert(before, sorted({*kept, *out_of_range}))
    result = finished(before, after, _WHAT)
    count = sum(tensor.data_type == tensor.FLOAT16 for tensor in result.to_proto().graph.initializer)
    return PassResult(result, (f"{count} constants in FP16",), (*notes, *refusals))


def _convert(before: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    floats = {onnx.TensorProto.FLOAT}
    if not any(tensor.data_type in floats for tensor in before.graph.initializer):
        raise UnsupportedModelError(
            f"{_WHAT} has nothing to do here: the model has no float32 weights.",
            hint="Leave this step out.",
        )
    copy = onnx.ModelProto()
    copy.CopyFrom(before)
    try:
        after: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=kept)
    except Exception as error:  # the converter raises AssertionError, ValueError, ... by operator
        raise tool_failure(error, _WHAT) from error
    _drop_repeated_casts(after.graph)
    return after


def _drop_repeated_casts(graph: onnx.GraphProto) -> None:
    """The converter casts a tensor once per float reader, each time to the same name."""
    seen: set[str] = set()
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in seen:
            continue
        seen.update(node.output)
        nodes.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)


def _range_check(proto: onnx.ModelProto) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of the nodes whose weights FP16 cannot hold, and sentences on every loss."""
    from onnx import TensorProto, numpy_helper

    kept: set[str] = set()
    refusals: list[str] = []
    vanishing, total = 0, 0
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        size = np.abs(numpy_helper.to_array(tensor))
        vanishing += int(((size > 0) & (size < _SMALLEST)).sum())
        total += size.size
        beyond = int(((size > _LARGEST) & np.isfinite(size)).sum())
        if not beyond:
            continue
        nodes = list(_weighted_readers(proto, tensor.name))
        kept.update(nodes)
        fate = f"{', '.join(nodes)} stay in float32" if nodes else f"they become {_LARGEST:.0f}"
        refusals.append(
            f"{beyond} of {size.size} values of {tensor.name} are beyond FP16 "
            f"(largest {size.max():.3g}): {fate}."
        )
    if vanishing:
        refusals.append(
            f"{vanishing} of {total} weights are smaller than FP16's smallest number "
            f"and become that ({_SMALLEST:.1g})."
        )
    return frozenset(kept), tuple(refusals)


def _weighted_readers(proto: onnx.ModelProto, name: str) -> Iterable[str]:
    return (node.name for node in all_nodes(proto.graph) if name in node.input and node.op_type in _WEIGHTED)

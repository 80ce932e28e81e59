"""Converters that tf2onnx 1.17.0 lacks, added to its registry when this module is imported.

    Erfc(x)              = 1 - erf(x)
    Log1p(x)             = log(1 + x)
    Expm1(x)             = exp(x) - 1
    Bucketize(x; b)      = number of boundaries b_i with b_i <= x
    TFL_GELU(x)          = x/2 * (1 + erf(x / sqrt 2)), or x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))
    LookupTableFindV2(k) = table[k], or the default: int64 -> int64 becomes ai.onnx.ml.LabelEncoder

tf2onnx takes the highest `version_N` that does not exceed the target opset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import constants, utils
from tf2onnx.custom_opsets import onnx_ml
from tf2onnx.handler import tf_op, tfl_op


def _constant(graph: Any, value: Any, like: str) -> str:
    """A scalar constant with the dtype of the value named `like`; returns its name."""
    dtype = utils.map_onnx_to_numpy_type(graph.get_dtype(like))
    name = utils.make_name("constant")
    return str(graph.make_const(name, np.array(value, dtype=dtype)).output[0])


def _apply(graph: Any, operator: str, *inputs: str) -> str:
    """Append an elementwise node; returns its output's name."""
    shape, dtype = graph.get_shape(inputs[0]), graph.get_dtype(inputs[0])
    return str(graph.make_node(operator, list(inputs), shapes=[shape], dtypes=[dtype]).output[0])


def _replace(graph: Any, node: Any, operator: str, inputs: list[str], **fields: Any) -> None:
    """Put another node in this one's place, under the same name and output names."""
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    graph.remove_node(node.name)
    fields = {"name": node.name, "outputs": outputs, "shapes": shapes, "dtypes": dtypes, **fields}
    graph.make_node(operator, inputs, **fields)


@tf_op("Erfc")
class Erfc:
    """1 - erf(x); TensorFlow's exact GELU is written with it."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        one = _constant(ctx, 1, node.input[0])
        _replace(ctx, node, "Sub", [one, _apply(ctx, "Erf", node.input[0])])


@tf_op("Log1p")
class Log1p:
    """log(1 + x)."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        one = _constant(ctx, 1, node.input[0])
        _replace(ctx, node, "Log", [_apply(ctx, "Add", node.input[0], one)])


@tf_op("Expm1")
class Expm1:
    """exp(x) - 1."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        one = _constant(ctx, 1, node.input[0])
        _replace(ctx, node, "Sub", [_apply(ctx, "Exp", node.input[0]), one])


@tf_op("Bucketize")
class Bucketize:
    """The number of boundaries that do not exceed x: int32, shaped like x."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        boundaries = np.array(node.get_attr_value("boundaries"), dtype=np.float32)  # [buckets - 1]
        last = ctx.make_const(utils.make_name("axis"), np.array([-1], dtype=np.int64)).output[0]
        bounds = ctx.make_const(utils.make_name("boundaries"), boundaries).output[0]
        value = node.input[0]
        if ctx.get_dtype(value) != onnx.TensorProto.FLOAT:
            value = ctx.make_node("Cast", [value], attr={"to": onnx.TensorProto.FLOAT}).output[0]
        column = ctx.make_node("Unsqueeze", [value, last]).output[0]  # [..., 1]
        reached = ctx.make_node("GreaterOrEqual", [column, bounds]).output[0]  # [..., buckets - 1]
        ones = ctx.make_node("Cast", [reached], attr={"to": onnx.TensorProto.INT32}).output[0]
        _replace(ctx, node, "ReduceSum", [ones, last], attr={"keepdims": 0})


@tfl_op("TFL_GELU")
class TfliteGelu:
    """GELU of TFLite, exact or with the tanh approximation, as the file says."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        x = node.input[0]
        if node.get_attr_value("approximate", False):
            cube = _apply(ctx, "Mul", x, _apply(ctx, "Mul", x, x))
            inner = _apply(ctx, "Add", x, _apply(ctx, "Mul", cube, _constant(ctx, 0.044715, x)))
            bend = _apply(ctx, "Tanh", _apply(ctx, "Mul", inner, _constant(ctx, np.sqrt(2 / np.pi), x)))
        else:
            bend = _apply(ctx, "Erf", _apply(ctx, "Mul", x, _constant(ctx, np.sqrt(0.5), x)))
        gate = _apply(ctx, "Add", bend, _constant(ctx, 1, x))
        half = _apply(ctx, "Mul", x, _constant(ctx, 0.5, x))
        _replace(ctx, node, "Mul", [half, gate])
        # The registry of TFLite operators hands what it made on to the registry of TensorFlow operators.


@tf_op("LookupTableFindV2")
class IntegerLookup:
    """A table of int64 keys and values (Keras IntegerLookup); other tables stay with tf2onnx."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, initialized_tables: dict[Any, Any], **fields: Any) -> None:
        """Convert one node."""
        integer = onnx.TensorProto.INT64
        if (ctx.get_dtype(node.input[1]), ctx.get_dtype(node.output[0])) != (integer, integer):
            onnx_ml.LookupTableFind.version_8(ctx, node, initialized_tables, **fields)
            return
        table = node.inputs[0]
        while table.type == "Identity":
            table = table.inputs[0]
        keys, values = initialized_tables[table.get_attr_value("shared_name")]
        attributes = {
            "keys_int64s": [int(key) for key in keys],
            "values_int64s": [int(value) for value in values],
            "default_int64": int(node.inputs[2].get_tensor_value()),
        }
        domain = constants.AI_ONNX_ML_DOMAIN
        _replace(ctx, node, "LabelEncoder", [node.input[1]], domain=domain, attr=attributes)
        if not ctx.find_output_consumers(table.output[0]):
            ctx.remove_node(table.name)

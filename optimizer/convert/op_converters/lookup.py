"""Converters of lookup tables whose contents are in the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tf2onnx import constants
from tf2onnx.custom_opsets import onnx_ml
from tf2onnx.handler import tf_op

_FIELDS = {
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.STRING: "string",
    onnx.TensorProto.FLOAT: "float",
}
_NARROW = {
    onnx.TensorProto.INT32: onnx.TensorProto.INT64,
    onnx.TensorProto.DOUBLE: onnx.TensorProto.FLOAT,
    onnx.TensorProto.BOOL: onnx.TensorProto.INT64,
}
"""Types that LabelEncoder lacks in opset 2 of ai.onnx.ml, and the one in which the table is kept."""


@tf_op(["LookupTableFindV2", "LookupTableFind"])
class LookupTableFind:
    """table[key], or the default, as ai.onnx.ml.LabelEncoder.

    Strings to int64 stay with tf2onnx, which makes a CategoryMapper of them.
    """

    @classmethod
    def version_9(cls, ctx: Any, node: Any, initialized_tables: dict[Any, Any], **fields: Any) -> None:
        """Convert one node."""
        key_type, value_type = ctx.get_dtype(node.input[1]), ctx.get_dtype(node.output[0])
        strings_to_integers = (key_type, value_type) == (onnx.TensorProto.STRING, onnx.TensorProto.INT64)
        if strings_to_integers or node.inputs[1].is_const():
            onnx_ml.LookupTableFind.version_8(ctx, node, initialized_tables, **fields)
            return
        table = node.inputs[0]
        while table.type == "Identity":
            table = table.inputs[0]
        keys, values = initialized_tables[table.get_attr_value("shared_name")]
        default = np.asarray(node.inputs[2].get_tensor_value(as_list=False)).reshape(1)
        kept_key, kept_value = _NARROW.get(key_type, key_type), _NARROW.get(value_type, value_type)
        attributes = {
            f"keys_{_FIELDS[kept_key]}s": _plain(keys, kept_key),
            f"values_{_FIELDS[kept_value]}s": _plain(values, kept_value),
            f"default_{_FIELDS[kept_value]}": _plain(default, kept_value)[0],
        }
        key, outputs = node.input[1], node.output
        shapes = [ctx.get_shape(key)]  # a saved graph knows no shape of the output
        if kept_key != key_type:
            key = ctx.make_node("Cast", [key], attr={"to": kept_key}).output[0]
        ctx.remove_node(node.name)
        domain = constants.AI_ONNX_ML_DOMAIN
        if kept_value == value_type:
            place = {"outputs": outputs, "shapes": shapes, "dtypes": [value_type]}
            ctx.make_node("LabelEncoder", [key], name=node.name, domain=domain, attr=attributes, **place)
        else:
            found = ctx.make_node(
                "LabelEncoder", [key], domain=domain, attr=attributes, shapes=shapes, dtypes=[kept_value]
            )
            place = {"outputs": outputs, "shapes": shapes, "dtypes": [value_type]}
            ctx.make_node("Cast", [found.output[0]], name=node.name, attr={"to": value_type}, **place)
        if not ctx.find_output_consumers(table.output[0]):
            ctx.remove_node(table.name)


def in_order_of_keys(tables: Mapping[Any, tuple[Any, Any]]) -> dict[Any, tuple[Any, Any]]:
    """The keys and values of tables, sorted: TensorFlow exports a hash map, in another order each time."""
    orders = {name: np.argsort(keys, kind="stable") for name, (keys, _) in tables.items()}
    return {name: (keys[orders[name]], values[orders[name]]) for name, (keys, values) in tables.items()}


def _plain(values: Any, dtype: int) -> list[Any]:
    """As Python values, which onnx takes for attributes."""
    if dtype == onnx.TensorProto.STRING:
        return [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return [int(value) if dtype == onnx.TensorProto.INT64 else float(value) for value in values]

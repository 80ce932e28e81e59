"""Converters of operations on shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand


@tf_op("ShapeN")
class ShapeN:
    """The shape of each input."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        inputs, outputs = list(node.input), list(node.output)
        shapes, dtypes = node.output_shapes, node.output_dtypes
        ctx.remove_node(node.name)
        for value, output, shape, dtype in zip(inputs, outputs, shapes, dtypes, strict=True):
            found = ctx.make_node("Shape", [value], dtypes=[onnx.TensorProto.INT64], shapes=[shape])
            place = {"outputs": [output], "shapes": [shape], "dtypes": [dtype]}
            ctx.make_node("Cast", [found.output[0]], attr={"to": dtype}, **place)


@tf_op("BroadcastArgs")
class BroadcastArgs:
    """The shape to which two shapes broadcast: b_i where a_i = 1, else a_i, 1s in front of the shorter."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        ranks = [(ctx.get_shape(name) or [-1])[0] for name in node.input]
        utils.make_sure(min(ranks) >= 0, "the number of axes of a shape to broadcast is not known")
        wide = [formula.cast(name, onnx.TensorProto.INT64) for name in node.input]
        a, b = (_padded(formula, shape, max(ranks) - rank) for shape, rank in zip(wide, ranks, strict=True))
        formula.replace(node, formula("Where", formula("Equal", a, np.int64(1)), b, a))


def _padded(formula: Formula, shape: Operand, missing: int) -> Operand:
    return formula("Concat", np.ones(missing, np.int64), shape, axis=0) if missing else shape

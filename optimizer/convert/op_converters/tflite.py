"""Converters of TFLite operators that tf2onnx lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tf_op, tfl_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of


@tfl_op("TFL_GELU")
class Gelu:
    """x/2 (1 + erf(x / sqrt 2)), or x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as the file says."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, x, number = Formula(ctx), node.input[0], dtype_of(ctx, node.input[0])
        if node.get_attr_value("approximate", False):
            cube = formula("Mul", x, formula("Mul", x, x))
            inner = formula("Add", x, formula("Mul", cube, number(0.044715)))
            bend = formula("Tanh", formula("Mul", inner, number(np.sqrt(2 / np.pi))))
        else:
            bend = formula("Erf", formula("Mul", x, number(np.sqrt(0.5))))
        gate: Operand = formula("Add", bend, number(1))
        formula.replace(node, formula("Mul", formula("Mul", x, number(0.5)), gate))


@tfl_op("TFL_RELU_N1_TO_1")
class ReluN1To1:
    """min(max(x, -1), 1)."""

    @classmethod
    def version_12(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        _clip(ctx, node, -1)


@tfl_op("TFL_RELU_0_TO_1")
class Relu0To1:
    """min(max(x, 0), 1)."""

    @classmethod
    def version_12(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        _clip(ctx, node, 0)


def _clip(ctx: Any, node: Any, low: int) -> None:
    formula, number = Formula(ctx), dtype_of(ctx, node.input[0])
    formula.replace(node, formula("Clip", node.input[0], number(low), number(1)))


@tfl_op("TFL_BUCKETIZE", tf_op="Bucketize")
@tfl_op("TFL_BITCAST", tf_op="Bitcast")
@tfl_op("TFL_BROADCAST_ARGS", tf_op="BroadcastArgs")
class SameInTensorflow:
    """Operators that are TensorFlow's under another name."""

    @classmethod
    def to_tf(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Leave the node as it is; its name is changed behind this."""


@tf_op("MatrixSetDiag")
class MatrixSetDiag:
    """diagonal where row = column, else the matrix."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (matrix, diagonal) = Formula(ctx), node.input
        rows, columns = (
            formula("Range", np.int64(0), formula.size(matrix, axis), np.int64(1)) for axis in (-2, -1)
        )
        on_diagonal = formula("Equal", formula.unsqueeze(rows, 1), formula.unsqueeze(columns, 0))
        rank = len(ctx.get_shape(matrix))
        # [.., k] -> [.., k, 1] broadcasts along columns, and has as many rows as the matrix unless it is wide
        square = formula.size(diagonal, -1)
        tall = formula("Sub", formula.size(matrix, -2), square)
        zeros: list[Operand | int] = [0] * (2 * rank - 3)
        padded = formula("Pad", diagonal, formula.vector(*zeros, tall))
        formula.replace(node, formula("Where", on_diagonal, formula.unsqueeze(padded, rank - 1), matrix))

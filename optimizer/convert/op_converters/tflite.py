"""Converters of TFLite operators that tf2onnx lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tfl_op

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

"""Gelu in the spellings of TensorFlow, Keras and PyTorch as the operator Gelu.

    exact   0.5 x (1 + erf(x / sqrt 2))  =  0.5 x (1 - erf(-x / sqrt 2))
    tanh    0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))

Reference: Hendrycks and Gimpel, arXiv:1606.08415.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import pi, sqrt
from typing import TYPE_CHECKING

from optimizer.graph.match import Pattern, either, find, number, op, scaled, variable
from optimizer.graph.rewriter import Builder, Rewrite

if TYPE_CHECKING:
    import onnx_ir as ir

X = variable("x")
_ERF = op("Erf", scaled(X, sqrt(0.5)))
_NEGATED_ERF = op(
    "Erf", either(scaled(op("Neg", X), sqrt(0.5)), scaled(X, -sqrt(0.5)), op("Neg", scaled(X, sqrt(0.5))))
)
_EXACT = either(op("Add", number(1.0), _ERF), op("Sub", number(1.0), _NEGATED_ERF))
_CUBE = either(op("Pow", X, number(3.0)), op("Mul", X, op("Mul", X, X)))
_POLYNOMIAL = either(
    op("Add", X, op("Mul", number(0.044715), _CUBE)),
    op("Add", X, op("Mul", op("Mul", op("Mul", number(0.044715), X), X), X)),
    op(
        "Mul",
        X,
        op(
            "Add",
            number(1.0),
            op("Mul", number(0.044715), either(op("Mul", X, X), op("Pow", X, number(2.0)))),
        ),
    ),
)
_TANH = op("Add", number(1.0), op("Tanh", op("Mul", number(sqrt(2 / pi)), _POLYNOMIAL)))


def _products(factor: Pattern) -> Pattern:
    """The product of x, 0.5 and a factor, in any order."""
    half = number(0.5)
    orders = [op("Mul", op("Mul", a, b), c) for a, b, c in permutations((X, half, factor)) if a is not half]
    halved = [op("Div", op("Mul", X, factor), number(2.0)), op("Mul", op("Div", X, number(2.0)), factor)]
    return either(*orders, *halved)


_GELUS = ((_products(_EXACT), "none"), (_products(_TANH), "tanh"))


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    import onnx_ir

    for pattern, approximate in _GELUS:
        found = find(pattern, node.outputs[0])
        # For other types ONNX Runtime writes the operator out again.
        if found is not None and found["x"].dtype == onnx_ir.DataType.FLOAT:
            return [build("Gelu", found["x"], approximate=approximate)]
    return None


FUSE_GELU = Rewrite("fuse_gelu", frozenset({"Mul", "Div"}), _fuse, opset=20)

"""Converters of elementwise functions, and of norms that are sums of squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of, is_float


@tf_op("Erfc")
class Erfc:
    """1 - erf(x); TensorFlow's exact GELU is written with it.

    Absolute rounding is that of 1 (6e-8); far out, where erfc is smaller than that, the result is 0.
    """

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, one = Formula(ctx), dtype_of(ctx, node.input[0])(1)
        formula.replace(node, formula("Sub", one, formula("Erf", node.input[0])))


@tf_op("Log1p")
class Log1p:
    """log(1 + x) without the loss at small |x|: with u = 1 + x rounded, log(u) * x / (u - 1), or x if u = 1.

    Reference: Goldberg, What every computer scientist should know about floating-point arithmetic, theorem 4.
    """

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, x, one = Formula(ctx), node.input[0], dtype_of(ctx, node.input[0])(1)
        u = formula("Add", x, one)
        # Infinity as well is its own result: inf / inf would make it NaN.
        whole = formula("Or", formula("Equal", u, one), formula("Equal", u, x))
        safe = formula("Where", whole, one + one, u)
        exact = formula("Div", formula("Mul", formula("Log", u), x), formula("Sub", safe, one))
        # From 1 on nothing is lost, and u = x for large x.
        large = formula("Greater", x, one)
        near = formula("Where", formula("Equal", u, one), x, exact)
        formula.replace(node, formula("Where", large, formula("Log", u), near))


@tf_op("Expm1")
class Expm1:
    """exp(x) - 1 without the loss at small |x|: 2 sinh(x/2) exp(x/2) where |x| < 1."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, x, dtype = Formula(ctx), node.input[0], dtype_of(ctx, node.input[0])
        half = formula("Mul", x, dtype(0.5))
        near = formula("Mul", formula("Mul", formula("Sinh", half), dtype(2)), formula("Exp", half))
        far = formula("Sub", formula("Exp", x), dtype(1))
        small = formula("Less", formula("Abs", x), dtype(1))
        formula.replace(node, formula("Where", small, near, far))


def _zero_where_x_is(formula: Formula, node: Any, zero_of: str, value: Operand) -> None:
    """0 where the operand `zero_of` is 0, whatever the value there (NaN and infinity too)."""
    dtype = dtype_of(formula.graph, zero_of)
    is_zero = formula("Equal", zero_of, dtype(0))
    formula.replace(node, formula("Where", is_zero, dtype(0), value))


@tf_op("Xlogy")
class Xlogy:
    """x log(y), and 0 where x = 0."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, y) = Formula(ctx), node.input
        _zero_where_x_is(formula, node, x, formula("Mul", x, formula("Log", y)))


@tf_op("Xdivy")
class Xdivy:
    """x / y, and 0 where x = 0."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, y) = Formula(ctx), node.input
        _zero_where_x_is(formula, node, x, formula("Div", x, y))


@tf_op("MulNoNan")
class MulNoNan:
    """x y, and 0 where y = 0."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, y) = Formula(ctx), node.input
        _zero_where_x_is(formula, node, y, formula("Mul", x, y))


@tf_op("EuclideanNorm")
class EuclideanNorm:
    """sqrt(sum of x^2) over some axes."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        rank = ctx.get_rank(node.input[0])
        given = np.atleast_1d(node.inputs[1].get_tensor_value(as_list=False))
        axes = [int(axis) % rank for axis in given]  # ReduceL2 has axes as an attribute until opset 18
        keep = int(bool(node.get_attr_value("keep_dims", False)))
        formula.replace(node, formula("ReduceL2", node.input[0], axes=axes, keepdims=keep))


@tf_op("L2Loss")
class L2Loss:
    """sum of x^2 / 2 over everything."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, dtype = Formula(ctx), dtype_of(ctx, node.input[0])
        total = formula("ReduceSumSquare", node.input[0], keepdims=0)
        formula.replace(node, formula("Mul", total, dtype(0.5)))


@tf_op(["TruncateMod", "Mod"])
class TruncateMod:
    """The remainder of a division that rounds towards 0: it has the sign of x."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        formula.replace(node, formula("Mod", *node.input, fmod=1))


@tf_op("FloorMod")
class FloorMod:
    """x - y floor(x / y): it has the sign of y. tf2onnx rounds the quotient of integers towards 0."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, y) = Formula(ctx), node.input
        if is_float(ctx, x):
            whole = formula("Floor", formula("Div", x, y))
            formula.replace(node, formula("Sub", x, formula("Mul", whole, y)))
        else:
            formula.replace(node, formula("Mod", x, y))


@tf_op("FloorDiv")
class FloorDiv:
    """floor(x / y); for integers (x - x mod y) / y, which tf2onnx rounds towards 0."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, y) = Formula(ctx), node.input
        if is_float(ctx, x):
            formula.replace(node, formula("Floor", formula("Div", x, y)))
        elif ctx.get_dtype(x) in _UNSIGNED:
            formula.replace(node, formula("Div", x, y))
        else:
            # In int64, since x - x mod y leaves the range next to its lower end.
            wide_x, wide_y = (formula.cast(value, onnx.TensorProto.INT64) for value in (x, y))
            whole = formula("Sub", wide_x, formula("Mod", wide_x, wide_y))
            formula.replace(node, formula("Div", whole, wide_y))


_UNSIGNED = (
    onnx.TensorProto.UINT8,
    onnx.TensorProto.UINT16,
    onnx.TensorProto.UINT32,
    onnx.TensorProto.UINT64,
)

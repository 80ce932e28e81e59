"""The converter of Select: one of two values, never a sum of products.

tf2onnx writes c*a + (1-c)*b, which is NaN as soon as the value that was not chosen is NaN or infinite, as in
where(x > 0, log(x), 0).
"""

from __future__ import annotations

from typing import Any

import onnx
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula

_WIDER = {
    onnx.TensorProto.BOOL: onnx.TensorProto.INT32,
    onnx.TensorProto.INT16: onnx.TensorProto.INT32,
    onnx.TensorProto.UINT16: onnx.TensorProto.INT32,
    onnx.TensorProto.UINT64: onnx.TensorProto.INT64,
}
"""Types in which ONNX Runtime does not choose, each with one that holds all its bits."""


@tf_op(["Select", "SelectV2"])
class Select:
    """Where(condition, x, y); in Select a vector of conditions chooses among rows."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (condition, x, y) = Formula(ctx), node.input
        rank = ctx.get_rank(x) if ctx.get_rank(x) is not None else ctx.get_rank(y)
        if node.type == "Select" and ctx.get_rank(condition) == 1 and rank is not None and rank > 1:
            condition = formula.name(formula.unsqueeze(condition, *range(1, rank)))
        dtype = ctx.get_dtype(node.output[0])
        wide = _WIDER.get(dtype, dtype)
        chosen = formula("Where", condition, formula.cast(x, wide), formula.cast(y, wide))
        formula.replace(node, chosen)

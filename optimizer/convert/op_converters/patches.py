"""Converter of tf.image.extract_patches, the first step of many vision transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand


@tf_op("ExtractImagePatches")
class ExtractImagePatches:
    """out[b, y, x, (i, j, c)] = in[b, y * stride + i * rate - pad, x * stride + j * rate - pad, c].

    Two Gathers, along height and along width: exact for any window, stride, rate and padding.
    """

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, images = Formula(ctx), node.input[0]
        sizes, strides, rates = (node.get_attr_value(name)[1:3] for name in ("ksizes", "strides", "rates"))
        padding = node.get_attr_value("padding")
        same = padding in (b"SAME", "SAME")
        channels = formula.size(images, 3)
        batch = formula.size(images, 0)
        value: Operand = images
        counts = []
        for index in (0, 1):
            span = (sizes[index] - 1) * rates[index] + 1
            size = formula.size(images, 1 + index)
            axis = 1 + 2 * index  # the first Gather made two axes of one
            before: Operand = np.int64(0)
            if same:
                before, after = _padding(formula, size, span, strides[index])
                size = formula("Add", formula("Add", size, before), after)
                dtype = ctx.get_dtype(images)
                value = _pad(formula, value, (axis, 4 + index), (before, after), dtype)
            stop = formula("Add", size, np.int64(1 - span))
            starts = formula("Range", np.int64(0), stop, np.int64(strides[index]))  # [patches]
            steps = np.arange(sizes[index], dtype=np.int64) * rates[index]  # [window]
            places = formula("Add", formula.unsqueeze(starts, 1), steps)  # [patches, window]
            value = formula("Gather", value, places, axis=axis)
            counts.append(_length(formula, starts))
        # [b, rows, i, columns, j, c] -> [b, rows, columns, i * j * c]
        value = formula("Transpose", value, perm=[0, 1, 3, 2, 4, 5])
        depth = formula("Mul", channels, np.int64(sizes[0] * sizes[1]))
        formula.replace(node, formula("Reshape", value, formula.vector(batch, *counts, depth)))


def _length(formula: Formula, vector: Operand) -> Operand:
    if not isinstance(vector, str):
        return np.array(np.size(vector), np.int64)
    return formula("Squeeze", formula("Shape", vector), np.array([0], np.int64))


def _padding(formula: Formula, size: Operand, span: int, stride: int) -> tuple[Operand, Operand]:
    """What SAME puts before and after: so much that each stride begins a patch."""
    patches = formula("Div", formula("Add", size, np.int64(stride - 1)), np.int64(stride))
    last = formula("Mul", formula("Sub", patches, np.int64(1)), np.int64(stride))
    needed = formula("Add", last, np.int64(span))
    total = formula("Max", formula("Sub", needed, size), np.int64(0))
    before = formula("Div", total, np.int64(2))
    return before, formula("Sub", total, before)


def _pad(
    formula: Formula, value: Operand, place: tuple[int, int], amounts: tuple[Operand, Operand], dtype: int
) -> Operand:
    """Zeros before and after one axis; `place` is the axis and the rank of the value."""
    axis, rank = place
    pads: list[Operand | int] = [0] * (2 * rank)
    pads[axis], pads[rank + axis] = amounts
    zero = formula.cast(np.zeros((), np.float32), dtype)
    return formula("Pad", value, formula.vector(*pads), zero, mode="constant")

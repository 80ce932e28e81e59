"""Converters of the last steps of detectors and recognizers, where tf2onnx's own leave an option out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset.nn import ConvTranspose, CTCGreedyDecoder
from tf2onnx.onnx_opset.tensor import NonMaxSuppression

from optimizer.convert.op_converters.formula import Formula


@tf_op("CTCGreedyDecoder")
class GreedyDecoder:
    """tf2onnx's own takes the last class for the blank: another blank is moved there, and the ids back.

    Keras's blank is class 0 by default.
    """

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        blank = node.get_attr_value("blank_index", -1)
        shape = ctx.get_shape(node.input[0])
        classes = shape[2] if shape is not None else -1
        if blank not in (-1, classes - 1):
            utils.make_sure(classes > 0, "the number of classes has to be fixed")
            blank %= classes
            order = np.array([*(n for n in range(classes) if n != blank), blank], np.int64)
            formula = Formula(ctx)
            moved = formula("Gather", node.input[0], order, axis=2)
            ctx.set_shape(moved, shape)
            ctx.replace_input(node, node.input[0], moved, 0)
            ids = ctx.insert_new_node_on_output("Identity", node.output[1])
            table = formula("Gather", order, ids.input[0], axis=0)
            ctx.set_dtype(table, onnx.TensorProto.INT64)
            ctx.replace_input(ids, ids.input[0], table, 0)
        CTCGreedyDecoder.version_11(ctx, node, **fields)


@tf_op("NonMaxSuppressionV5")
class SoftSuppression:
    """tf2onnx's own leaves out that boxes which overlap get smaller scores, where that is asked for."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        sigma = Formula(ctx).known(node.input[5])
        utils.make_sure(
            not isinstance(sigma, str) and float(sigma) == 0,
            "soft suppression (soft_nms_sigma) has no operator in ONNX",
        )
        NonMaxSuppression.version_13(ctx, node, **fields)


@tf_op(["Conv2DBackpropInput", "Conv3DBackpropInputV2"])
class TransposedConvolution:
    """tf2onnx's own; where the result is larger than kernel and stride tell, ONNX adds output_padding."""

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        ConvTranspose.version_11(ctx, node, **fields)
        pads = node.get_attr("pads")
        if pads is None or min(pads.ints) >= 0:
            return
        half = len(pads.ints) // 2
        node.set_attr("output_padding", [max(0, -pad) for pad in pads.ints[half:]])
        node.set_attr("pads", [max(0, pad) for pad in pads.ints])

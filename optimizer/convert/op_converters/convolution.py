"""Converters of convolutions whose filters are computed."""

from __future__ import annotations

from typing import Any

from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset import nn


@tf_op("DepthwiseConv2dNative")
class DepthwiseConv2d:
    """tf2onnx needs the filter's shape; of a computed one the input's and output's channels tell it.

    filter [height, width, channels in, channels out / channels in]
    """

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        axis = 1 if "data_format" in node.attr and node.get_attr_str("data_format") == "NCHW" else 3
        shape = ctx.get_shape(node.input[1])
        taken, made = (ctx.get_shape(name) for name in (node.input[0], node.output[0]))
        if shape is not None and min(shape[2:]) < 1 and taken and made and taken[axis] > 0 and made[axis] > 0:
            ctx.set_shape(node.input[1], [*shape[:2], taken[axis], made[axis] // taken[axis]])
        nn.DepthwiseConv2d.version_1(ctx, node, **fields)

"""Writes MediaPipe's Convolution2DTransposeBias as TFLite's own operators.

    y = TRANSPOSE_CONV(x, weights) + bias

Its options are three numbers of 32 bits: padding (1 SAME, 2 VALID) and the strides along width and height.
Reference: MediaPipe, util/tflite/operations/transpose_conv_bias.cc.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.tflite_graph.flat_graph import FlatGraph
from optimizer.errors import InvalidModelError

_NAME = "Convolution2DTransposeBias"
_PADDINGS = {1: schema.Padding.SAME, 2: schema.Padding.VALID}


def write_transposed_convolutions(model: Any) -> bool:
    """Do so in an unpacked file, in place; whether there was any.

    Raises:
        InvalidModelError: If the options of one cannot be read.
    """
    found = False
    for graph in model.subgraphs:
        flat, operators = FlatGraph(model, graph), []
        for operator in graph.operators:
            if flat.custom(operator) == _NAME:
                operators += _written(flat, operator)
                found = True
            else:
                operators.append(operator)
        graph.operators = operators
    return found


def _written(flat: FlatGraph, operator: Any) -> list[Any]:
    try:
        source, weights, bias = (int(index) for index in operator.inputs)
        content = np.asarray(operator.customOptions, np.uint8).tobytes()
        padding, width, height = struct.unpack("<3i", content)
        options = schema.TransposeConvOptionsT()
        options.padding, options.strideW, options.strideH = _PADDINGS[padding], width, height
    except (struct.error, KeyError, ValueError, TypeError) as error:
        raise InvalidModelError(
            f"The options of {_NAME} cannot be read.", hint="Check that the download is complete."
        ) from error
    (target,) = operator.outputs
    number = len(flat.graph.tensors)
    shape = flat.shape(target)
    size = flat.constant(f"{_NAME}_{number}_shape", np.array(shape, np.int32))
    product = flat.tensor(f"{_NAME}_{number}", shape)
    adding = ("AddOptions", schema.AddOptionsT())
    return [
        flat.operator(
            "TRANSPOSE_CONV", [size, weights, source], [product], ("TransposeConvOptions", options)
        ),
        flat.operator("ADD", [product, bias], [target], adding),
    ]

"""Converters that tf2onnx 1.17.0 lacks or gets wrong, added to its registry when this package is imported.

One module a family; each converter's docstring gives its formula. tf2onnx takes the highest `version_N`
that does not exceed the target opset, so a converter of ours that replaces one has at least its number; at
the same number the later registration counts, so tf2onnx's own are loaded first, whoever imports this first.
"""

from tf2onnx import tfonnx  # noqa: F401

from optimizer.convert.op_converters import (
    bits,
    color,
    convolution,
    counting,
    cumulative,
    decoding,
    detection,
    diagonals,
    elementwise,
    fake_quantization,
    lookup,
    loops,
    patches,
    resize,
    scatter,
    selection,
    shapes,
    text,
    tflite,
    tflite_recurrent,
)

__all__ = [
    "bits",
    "color",
    "convolution",
    "counting",
    "cumulative",
    "decoding",
    "detection",
    "diagonals",
    "elementwise",
    "fake_quantization",
    "lookup",
    "loops",
    "patches",
    "resize",
    "scatter",
    "selection",
    "shapes",
    "text",
    "tflite",
    "tflite_recurrent",
]

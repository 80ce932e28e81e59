"""The form of a TFLite file that TensorFlow's interpreter runs."""

from __future__ import annotations

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from optimizer.convert.tflite_graph.dense_weights import densify_weights
from optimizer.convert.tflite_graph.transposed_convolution import write_transposed_convolutions

_NOTES = (
    (densify_weights, "its sparse weights were written as dense ones, for the comparison too"),
    (
        write_transposed_convolutions,
        "Convolution2DTransposeBias was written as TRANSPOSE_CONV and ADD, for the comparison too",
    ),
)


def runnable(content: bytes) -> tuple[bytes, tuple[str, ...]]:
    """A file's bytes, the same where the interpreter runs them, and notes for the user."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    notes = tuple(note for rewrite, note in _NOTES if rewrite(model))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) if notes else content, notes

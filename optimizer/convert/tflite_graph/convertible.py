"""The form of a TFLite file that is converted: operators without a converter are written in others."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from optimizer.convert.tflite_graph.complex_numbers import without_complex_numbers
from optimizer.convert.tflite_graph.fused_activations import unfuse_activations
from optimizer.convert.tflite_graph.omitted_inputs import place_omitted_inputs

_REWRITES = (place_omitted_inputs, unfuse_activations, without_complex_numbers)


@contextlib.contextmanager
def convertible(path: Path) -> Iterator[Path]:
    """A file to convert in place of this one, as long as the context lasts; itself where nothing changes."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    if not any([rewrite(model) for rewrite in _REWRITES]):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, path.name)
        written.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
        yield written

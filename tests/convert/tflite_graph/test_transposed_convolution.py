"""MediaPipe's own transposed convolution converts."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert
from tflite_files import empty_model

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError


def upload(path: Path, options: bytes) -> Path:
    """A file with one Convolution2DTransposeBias: [1, 3, 4, 2] -> [1, 6, 8, 5]."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    from optimizer.convert.tflite_graph.flat_graph import FlatGraph

    model, graph = empty_model()
    flat, generator = FlatGraph(model, graph), np.random.default_rng(0)
    x, y = flat.tensor("x", [1, 3, 4, 2]), flat.tensor("y", [1, 6, 8, 5])
    weights = flat.constant("weights", generator.normal(size=(5, 2, 2, 2)).astype(np.float32))
    bias = flat.constant("bias", generator.normal(size=5).astype(np.float32))
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, 32
    code.customCode, code.version = b"Convolution2DTransposeBias", 1
    model.operatorCodes, graph.operators = [code], [operator]
    operator.inputs, operator.outputs = np.array([x, weights, bias], np.int32), np.array([y], np.int32)
    operator.customOptions, operator.opcodeIndex = np.frombuffer(options, np.uint8), 0
    graph.inputs, graph.outputs = np.array([x], np.int32), np.array([y], np.int32)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


@pytest.mark.parametrize("padding", [1, 2], ids=["same", "valid"])
def test_it_converts_with_parity(padding: int, tmp_path: Path) -> None:
    path = upload(tmp_path / "model.tflite", struct.pack("<3i", padding, 2, 2))
    scan(path, "tflite")
    conversion, _ = convert(path, "tflite", tmp_path)
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].value < 1e-6
    assert "Convolution2DTransposeBias" in conversion.notes[0]


@pytest.mark.parametrize("options", [b"", struct.pack("<3i", 7, 2, 2)], ids=["none", "no padding"])
def test_options_that_cannot_be_read_are_refused(options: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="Convolution2DTransposeBias"):
        convert(upload(tmp_path / "model.tflite", options), "tflite", tmp_path)

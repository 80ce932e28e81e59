"""TFLite's detection post-processing becomes ONNX operators that choose the same boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError

BOXES, CLASSES = 12, 3


def detections(path: Path, **settings: Any) -> Path:
    """Write a TFLite file that holds nothing but TFLite_Detection_PostProcess."""
    from flatbuffers import flexbuffers
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    options = {
        "max_detections": 5,
        "max_classes_per_detection": 1,
        "detections_per_class": 4,
        "num_classes": CLASSES,
        **{"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0},
        "nms_score_threshold": 1e-8,
        "nms_iou_threshold": 0.5,
        "use_regular_nms": False,
        **settings,
    }
    model, graph, code, operator = (
        made() for made in (schema.ModelT, schema.SubGraphT, schema.OperatorCodeT, schema.OperatorT)
    )
    anchors = np.random.default_rng(0).uniform(0.2, 0.8, (BOXES, 4)).astype(np.float32)
    weights = schema.BufferT()
    weights.data = np.frombuffer(anchors.tobytes(), np.uint8)
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT(), weights], [graph]
    slots = options["max_detections"] * options["max_classes_per_detection"]
    shapes: dict[str, list[int]] = {
        "boxes": [1, BOXES, 4],
        "scores": [1, BOXES, CLASSES + 1],
        "anchors": [BOXES, 4],
        "where": [1, slots, 4],
        "what": [1, slots],
        "sure": [1, slots],
        "count": [1],
    }
    graph.tensors = []
    for name, shape in shapes.items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), 0
        tensor.buffer = 1 if name == "anchors" else 0
        graph.tensors.append(tensor)
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode, code.customCode, code.version = 32, b"TFLite_Detection_PostProcess", 1
    model.operatorCodes, graph.operators = [code], [operator]
    graph.inputs, graph.outputs = np.array([0, 1], np.int32), np.array([3, 4, 5, 6], np.int32)
    operator.opcodeIndex, operator.builtinOptionsType = 0, 0
    operator.inputs, operator.outputs = np.array([0, 1, 2], np.int32), graph.outputs
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in options.items():
            write = {bool: builder.Bool, int: builder.Int, float: builder.Float}[type(value)]
            write(name, value)
    operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"nms_score_threshold": 0.5},
        {"nms_score_threshold": 0.9},  # fewer boxes than slots
        {"max_classes_per_detection": 2},
        {"max_classes_per_detection": 2, "nms_score_threshold": 0.9},
        {"use_regular_nms": True},
        {"use_regular_nms": True, "nms_score_threshold": 0.9},
    ],
    ids=str,
)
def test_the_same_boxes_are_chosen_as_by_tflite(settings: dict[str, Any], tmp_path: Path) -> None:
    upload = detections(tmp_path / "model.tflite", **settings)
    generator = np.random.default_rng(1)
    boxes = generator.normal(size=(20, BOXES, 4)).astype(np.float32)
    scores = generator.random((20, BOXES, CLASSES + 1)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", boxes=boxes, scores=scores)
    scan(upload, "tflite")
    conversion, _ = convert(upload, "tflite", tmp_path, samples=tmp_path / "samples.npz")
    assert conversion.parity is not None
    assert {entry.output: entry.measure for entry in conversion.parity.outputs} == dict.fromkeys(
        ["where", "what", "sure", "count"], "max_norm"
    )
    assert all(entry.value < 1e-6 for entry in conversion.parity.outputs)
    assert any("TFLite_Detection_PostProcess" in note for note in conversion.notes)


def test_damaged_options_are_told(tmp_path: Path) -> None:
    upload = detections(tmp_path / "model.tflite")
    upload.write_bytes(upload.read_bytes().replace(b"num_classes", b"sum_classes"))
    with pytest.raises(InvalidModelError, match="TFLite_Detection_PostProcess"):
        convert(upload, "tflite", tmp_path)

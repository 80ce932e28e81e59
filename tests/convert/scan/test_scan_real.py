"""The real models of `real_inputs`: each is told by its content, and each passes the scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import real_inputs

from optimizer.convert.detect import detect
from optimizer.convert.scan import scan

FORMATS = {
    "basic-pitch": "savedmodel",
    "basic-pitch-onnx": "onnx",
    "fer": "keras2_h5",
    "dgaintel": "keras2_h5",
    "magika": "onnx",
    "musicnn": "checkpoint",
    "spliceai": "keras2_h5",
    "guesslang": "savedmodel",  # its operators on strings do no harm; that ONNX lacks them, conversion says
}


@pytest.mark.parametrize("name", real_inputs.MODELS)
def test_a_real_model_is_recognized_and_passes(name: str, real_model: Callable[[str], Path]) -> None:
    path = real_model(name)
    format = detect(path)
    assert format == FORMATS.get(name, "tflite")
    scan(path, format)

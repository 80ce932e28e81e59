"""What schemathesis sends as files: a model and samples that the server takes. Loaded by its command line."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies
from onnx import parser

_MODEL = """
<ir_version: 8, opset_import: ["" : 17]>
tiny (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }
"""


def model_bytes() -> bytes:
    """A model that the server takes."""
    content: bytes = parser.parse_model(_MODEL).SerializeToString()
    return content


def samples_bytes() -> bytes:
    """Samples that fit it."""
    file = io.BytesIO()
    np.savez(file, x=np.zeros((8, 4), np.float32))
    return file.getvalue()


schemathesis.openapi.media_type("application/octet-stream", strategies.just(model_bytes()))
schemathesis.openapi.media_type("application/zip", strategies.just(samples_bytes()))


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave out what no JSON Schema can forbid: options that contradict each other or the model's format.

    tests/service/api/test_optimize.py checks that each of these is answered with 422.
    """
    options = body.get("options") if isinstance(body, dict) else None
    if not isinstance(options, dict):
        return True
    techniques = options.get("techniques", ["quantization"])
    keeps_nothing = "keep_float" in options and not {"quantization", "precision"} & set(map(str, techniques))
    calibrates_nothing = "allow_synthetic_calibration" in options and "quantization" not in techniques
    return not (
        keeps_nothing or calibrates_nothing or techniques == [] or options.get("signature") is not None
    )

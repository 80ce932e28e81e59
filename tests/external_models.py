"""A model whose weights are large enough to lie in a file of their own, yet small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from optimizer.model import Model, from_proto, save_model

ALWAYS_EXTERNAL = 1 << 20
"""Weights in one file at most, so that the model of this module needs two."""

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 512] x) => (float[batch, 640] y) {
    kept = Identity (x)
    a = MatMul (kept, first)
    b = Add (a, bias)
    c = Relu (b)
    d = Gemm <transB = 1> (c, second, shift)
    e = Add (d, zero)
    y = Softmax <axis = -1> (e)
}"""


def wide_proto() -> onnx.ModelProto:
    """Two layers of 1.3 and 1.6 MB, one of them a Gemm as PyTorch exports it, and nodes that do nothing."""
    rng = np.random.default_rng(5)
    proto = parser.parse_model(TEXT)
    weights: dict[str, np.ndarray] = {
        "first": rng.normal(size=(512, 640)).astype(np.float32) / 20,
        "second": rng.normal(size=(640, 640)).astype(np.float32) / 20,
        "bias": rng.normal(size=640).astype(np.float32),
        "shift": rng.normal(size=640).astype(np.float32),
        "zero": np.zeros(640, np.float32),
        "unused": rng.normal(size=(640, 640)).astype(np.float32),
    }
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return proto


def wide_model() -> Model:
    """The same, in memory."""
    return from_proto(wide_proto())


def write_wide(path: Path) -> Path:
    """The same in two files."""
    save_model(wide_model(), path, largest_bytes=ALWAYS_EXTERNAL)
    return path

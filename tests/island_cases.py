"""A small CNN, x -> Conv -> Relu -> (a) ... (m) -> Conv, with a place for any operator between its layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from rewrite_cases import proto_of

Array = NDArray[Any]

NORM = "m = BatchNormalization <epsilon = 0.01> (a, scale, bias, mean, variance)"


def cnn(body: str, channels: int = 16, opset: int = 17, **weights: Array) -> onnx.ModelProto:
    """Conv and Relu make `a`, `body` makes `m` of it, an image, which another Conv reads."""
    random = np.random.default_rng(channels)

    def normal(*shape: int) -> Array:
        return random.normal(0, 0.3, shape).astype(np.float32)

    defaults = {
        "w1": normal(channels, 3, 3, 3),
        "w2": normal(4, channels, 1, 1),
        "scale": normal(channels),  # of both signs
        "bias": normal(channels),
        "mean": normal(channels),
        "variance": np.abs(normal(channels)) + np.float32(0.1),
        "s": normal(channels, 1, 1) + np.float32(1),
        "t": normal(1, channels, 1, 1),
    }
    text = f"""g (float[n, 3, 8, 8] x) => (float[n, k, p, q] y) {{
        c = Conv <pads = [1, 1, 1, 1]> (x, w1) \n a = Relu (c) \n {body} \n y = Conv (m, w2) }}"""
    return proto_of(
        text, {name: array for name, array in (defaults | weights).items() if name in text}, opset
    )


def head(body: str) -> onnx.ModelProto:
    """The same, where `m` is [n, 16] and a Gemm reads it."""
    proto = cnn(body)
    proto.graph.node[-1].op_type = "Gemm"
    del proto.graph.output[0].type.tensor_type.shape.dim[2:]
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w2")
    del weight.dims[2:]
    weight.dims[:] = reversed(weight.dims)  # [4, 16, 1, 1] -> [16, 4]
    return proto


def feeds(seed: int = 0) -> dict[str, Array]:
    return {"x": np.random.default_rng(seed).normal(0, 1, (5, 3, 8, 8)).astype(np.float32)}

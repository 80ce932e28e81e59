"""Small models that every step must handle, each with inputs for calibration. Shared by several rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from optimizer.model import Model, from_proto

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class SmallModel:
    """A model as a converter would write it, and how to make inputs for it."""

    text: str
    weights: Callable[[np.random.Generator], dict[str, NDArray[Any]]]
    feeds: Callable[[np.random.Generator, int], Feeds]

    def build(self) -> Model:
        """The model, always the same one."""
        proto = parser.parse_model(self.text)
        for name, array in self.weights(np.random.default_rng(7)).items():
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
        onnx.checker.check_model(proto)
        return from_proto(proto)

    def batches(self, count: int = 4, size: int = 8, seed: int = 1) -> list[Feeds]:
        """Feeds of `size` samples each."""
        rng = np.random.default_rng(seed)
        return [self.feeds(rng, size) for _ in range(count)]


def model_of(text: str, **weights: NDArray[np.float32]) -> Model:
    """A model from the text of its graph, at opset 17."""
    opsets = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>'
    proto = parser.parse_model(opsets + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 16
    return rng.normal(0, 1 / np.sqrt(fan_in), shape).astype(np.float32)


def _positive(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    return rng.uniform(0.5, 1.5, size).astype(np.float32)


_CLASSIFIER = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
classifier (float[batch, 3, 12, 12] image) => (float[batch, 5] scores)
<float[1] unused = {1.0}>
{
    conv = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, w1, b1)
    normal = BatchNormalization (conv, gamma, beta, mean, variance)
    active = Relu (normal)
    pooled = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (active)
    same = Identity (pooled)
    mean_pooled = GlobalAveragePool (same)
    flat = Flatten (mean_pooled)
    logits = Gemm <transB = 1> (flat, w2, b2)
    dead = Exp (logits)
    scores = Softmax (logits)
}""",
    lambda rng: {
        "w1": _normal(rng, 16, 3, 3, 3),
        "b1": _normal(rng, 16),
        "gamma": _positive(rng, 16),
        "beta": _normal(rng, 16),
        "mean": _normal(rng, 16),
        "variance": _positive(rng, 16),
        "w2": _normal(rng, 5, 16),
        "b2": _normal(rng, 5),
    },
    lambda rng, n: {"image": rng.random((n, 3, 12, 12), np.float32)},
)

_MLP = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
mlp (float[batch, 20] x) => (float[batch, 1] y)
{
    a = Gemm (x, w1, b1)
    b = Relu (a)
    c = MatMul (b, w2)
    d = Add (c, b2)
    e = Sigmoid (d)
    y = Gemm (e, w3, b3)
}""",
    lambda rng: {
        "w1": _normal(rng, 20, 32),
        "b1": _normal(rng, 32),
        "w2": _normal(rng, 32, 32),
        "b2": _normal(rng, 32),
        "w3": _normal(rng, 32, 1),
        "b3": _normal(rng, 1),
    },
    lambda rng, n: {"x": rng.normal(0, 1, (n, 20)).astype(np.float32)},
)

_LSTM = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
recurrent (int64[batch, 10] tokens) => (float[batch, 3] scores)
<int64[1] axis = {0}>
{
    embedded = Gather (table, tokens)
    steps_first = Transpose <perm = [1, 0, 2]> (embedded)
    all_steps, last, cell = LSTM <hidden_size = 12> (steps_first, w, r, b)
    state = Squeeze (last, axis)
    logits = MatMul (state, w2)
    scores = Softmax (logits)
}""",
    lambda rng: {
        "table": rng.normal(0, 1, (30, 8)).astype(np.float32),
        "w": _normal(rng, 1, 48, 8),
        "r": _normal(rng, 1, 48, 12),
        "b": _normal(rng, 1, 96),
        "w2": _normal(rng, 12, 3),
    },
    lambda rng, n: {"tokens": rng.integers(0, 30, (n, 10))},
)

_CONV1D = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
conv1d (float[batch, 4, 24] signal) => (float[batch, 6] features)
<int64[1] axis = {2}, int64[1] last = {2}>
{
    wide = Unsqueeze (signal, axis)
    conv = Conv <kernel_shape = [1, 5]> (wide, w)
    narrow = Squeeze (conv, axis)
    biased = Add (narrow, bias)
    active = Relu (biased)
    mean = ReduceMean <axes = [2], keepdims = 0> (active)
    features = MatMul (mean, w2)
}""",
    lambda rng: {
        "w": _normal(rng, 12, 4, 1, 5),
        "bias": _normal(rng, 12).reshape(1, 12, 1),
        "w2": _normal(rng, 12, 6),
    },
    lambda rng, n: {"signal": rng.normal(0, 1, (n, 4, 24)).astype(np.float32)},
)

_ATTENTION = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
attention (float[batch, 6, 16] x) => (float[batch, 6, 16] y)
<float scale = {0.25}>
{
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    v = MatMul (x, wv)
    k_turned = Transpose <perm = [0, 2, 1]> (k)
    scores = MatMul (q, k_turned)
    scaled = Mul (scores, scale)
    weights = Softmax <axis = -1> (scaled)
    mixed = MatMul (weights, v)
    projected = MatMul (mixed, wo)
    residual = Add (x, projected)
    y = LayerNormalization <axis = -1> (residual, gamma, beta)
}""",
    lambda rng: {
        **{name: _normal(rng, 16, 16) for name in ("wq", "wk", "wv", "wo")},
        "gamma": _positive(rng, 16),
        "beta": _normal(rng, 16),
    },
    lambda rng, n: {"x": rng.normal(0, 1, (n, 6, 16)).astype(np.float32)},
)

_MULTI = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
multi (float[batch, 8] a, float[batch, 4] b, float[batch, 2] ignored)
    => (float[batch, 6] hidden, float[batch, 2] y, int64[batch] best)
{
    joined = Concat <axis = 1> (a, b)
    hidden = Gemm (joined, w1, b1)
    active = Tanh (hidden)
    y = Gemm (active, w2)
    best = ArgMax <axis = 1, keepdims = 0> (y)
}""",
    lambda rng: {"w1": _normal(rng, 12, 6), "b1": _normal(rng, 6), "w2": _normal(rng, 6, 2)},
    lambda rng, n: {
        "a": rng.normal(0, 1, (n, 8)).astype(np.float32),
        "b": rng.normal(0, 1, (n, 4)).astype(np.float32),
        "ignored": np.zeros((n, 2), np.float32),
    },
)

_RESIDUAL = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
residual (float[batch, 4, 8, 8] x) => (float[batch, 4, 8, 8] y)
<float[1] two = {2.0}, float[1] three = {3.0}>
{
    conv1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
    six = Mul (two, three)
    scaled = Mul (conv1, six)
    active = Relu (scaled)
    conv2 = Conv <kernel_shape = [1, 1]> (active, w2)
    y = Add (x, conv2)
}""",
    lambda rng: {"w1": _normal(rng, 8, 4, 3, 3), "b1": _normal(rng, 8), "w2": _normal(rng, 4, 8, 1, 1)},
    lambda rng, n: {"x": rng.normal(0, 1, (n, 4, 8, 8)).astype(np.float32)},
)

_CONTROL_FLOW = SmallModel(
    """
<ir_version: 8, opset_import: ["": 17]>
control_flow (float[batch, 6] x) => (float[batch, 3] y)
<int64 five = {5}, bool yes = {1}, float[1] zero = {0.0}>
{
    start = Gemm (x, w1, b1)
    same = Identity (start)
    state = Loop (five, yes, same) <
        body = step (int64 i, bool go_on, float[batch, 4] s) => (bool still, float[batch, 4] next) {
            still = Identity (go_on)
            moved = MatMul (s, r)
            turned = Gemm <transB = 1> (moved, r, b1)
            next = Tanh (turned)
        }
    >
    positive = Relu (state)
    total = ReduceSum <keepdims = 0> (positive)
    any = Greater (total, zero)
    chosen = If (any) <
        then_branch = yes () => (float[batch, 4] a) { a = MatMul (positive, r) },
        else_branch = no () => (float[batch, 4] n) { n = Neg (positive) }
    >
    y = MatMul (chosen, w2)
}""",
    lambda rng: {
        "w1": _normal(rng, 6, 4),
        "b1": _normal(rng, 4),
        "r": _normal(rng, 4, 4),
        "w2": _normal(rng, 4, 3),
    },
    lambda rng, n: {"x": rng.normal(0, 1, (n, 6)).astype(np.float32)},
)

SMALL_MODELS: dict[str, SmallModel] = {
    "classifier": _CLASSIFIER,
    "mlp": _MLP,
    "lstm": _LSTM,
    "conv1d": _CONV1D,
    "attention": _ATTENTION,
    "multi": _MULTI,
    "residual": _RESIDUAL,
    "control_flow": _CONTROL_FLOW,
}

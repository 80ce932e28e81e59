"""RMSNormalization in every spelling as the one that ONNX Runtime fuses.

    y = x / sqrt(mean(x^2) + epsilon) * gamma              the mean over the last axis
    ->  Mul(Div(x, Sqrt(Add(ReduceMean(Pow(x, 2)), epsilon))), gamma)

From this spelling ONNX Runtime makes one kernel of its own, at any operator set: 1.4 times (64 elements) to
2.1 times (128 x 768) faster than Keras' spelling (AVX512, one thread), as fast as the operator
RMSNormalization, which needs operator set 23 and is written where the model is there already.

Reference: Zhang and Sennrich, arXiv:1910.07467.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, constant, either, find, number, op, variable
from optimizer.graph.rewriter import Builder, Rewrite, attribute
from optimizer.graph.sizes import Size, shape

if TYPE_CHECKING:
    import onnx_ir as ir

X, _GAMMA = variable("x"), constant("gamma")
_POWER = op("Pow", X, number(2.0))
_MEAN = op("ReduceMean", either(op("Mul", X, X), _POWER), name="mean")
_SHIFTED = op("Add", _MEAN, constant("epsilon"))
_ROOT = either(op("Sqrt", _SHIFTED), op("Pow", _SHIFTED, number(0.5)))
_INVERSE = either(op("Reciprocal", _ROOT), op("Div", number(1.0), _ROOT), op("Pow", _SHIFTED, number(-0.5)))
_SPELLINGS = (
    op("Mul", X, op("Mul", _INVERSE, _GAMMA)),
    op("Mul", op("Mul", X, _INVERSE), _GAMMA),
    op("Mul", op("Div", X, _ROOT), _GAMMA),
    op("Div", op("Mul", X, _GAMMA), _ROOT),
    op("Mul", op("Mul", X, _GAMMA), _INVERSE),
)
_FUSED = op(
    "Mul",
    op("Div", X, op("Sqrt", op("Add", op("ReduceMean", _POWER), constant("epsilon")))),
    _GAMMA,
)


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    import onnx_ir as ir

    found = next(filter(None, (find(pattern, node.outputs[0]) for pattern in _SPELLINGS)), None)
    if found is None or found["x"].dtype != ir.DataType.FLOAT:
        return None
    x, sizes, mean = found["x"], shape(found["x"]), found["mean"].producer()
    gamma, epsilon = array(found["gamma"]), array(found["epsilon"])
    if not sizes or gamma is None or epsilon is None or epsilon.size != 1 or epsilon.ndim > len(sizes):
        return None
    last = len(sizes) - 1
    if sizes[-1] != Size(gamma.size) or gamma.shape[-1:] != (gamma.size,) or gamma.ndim > len(sizes):
        return None
    if axes_of(mean) != [last] or attribute(mean, "keepdims", 1) != 1:
        return None
    scale = build.constant(gamma.reshape(-1))
    if build.opset >= 23:
        return [build("RMSNormalization", x, scale, axis=-1, epsilon=float(epsilon.item()))]
    if find(_FUSED, node.outputs[0]) is not None:
        return None
    square = build("Pow", x, build.constant(np.array(2, np.float32)))
    average = build.reduce("ReduceMean", square, [last], keepdims=1)
    shifted = build("Add", average, build.constant(epsilon.reshape(())))
    return [build("Mul", build("Div", x, build("Sqrt", shifted)), scale)]


FUSE_RMS_NORMALIZATION = Rewrite("fuse_rms_normalization", frozenset({"Div", "Mul"}), _fuse)

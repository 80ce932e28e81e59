"""LayerNormalization in the spellings of TensorFlow, Keras and PyTorch as the operator.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta,   mean and var over the last axis

TensorFlow writes x * inv + (beta - mean * inv) with inv = gamma / sqrt(var + epsilon); Keras 2 reshapes the
rows into images and normalizes each with BatchNormalization. Where another single axis is normalized, the
formula is written with three passes over x.

Reference: Ba, Kiros, Hinton, arXiv:1607.06450.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import (
    Bindings,
    Pattern,
    array,
    constant,
    either,
    find,
    named,
    number,
    op,
    variable,
)
from optimizer.graph.rewriter import Builder, Rewrite
from optimizer.graph.sizes import Size, fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

X = variable("x")
_MEAN = op("ReduceMean", X, name="mean")
_CENTRED = either(op("Sub", X, _MEAN, name="centred"), op("Add", X, op("Neg", _MEAN), name="centred"))
_SQUARE = either(op("Mul", _CENTRED, _CENTRED), op("Pow", _CENTRED, number(2.0)))
_VARIANCE = op("ReduceMean", _SQUARE, name="variance")
_DEVIATION = either(
    op("Sqrt", op("Add", _VARIANCE, constant("epsilon"))),
    op("Pow", op("Add", _VARIANCE, constant("epsilon")), number(0.5)),
)
_INVERSE = either(
    op("Reciprocal", _DEVIATION, name="inverse"),
    op("Div", number(1.0), _DEVIATION, name="inverse"),
    op("Pow", op("Add", _VARIANCE, constant("epsilon")), number(-0.5), name="inverse"),
)
_GAMMA, _BETA = constant("gamma"), constant("beta")
_SCALE = named("scale", either(op("Mul", _INVERSE, _GAMMA), _INVERSE))
_NEGATED = either(op("Mul", op("Neg", _MEAN), _SCALE), op("Neg", op("Mul", _MEAN, _SCALE)))
_NORMALIZED = either(op("Mul", _CENTRED, _INVERSE), op("Div", _CENTRED, _DEVIATION))
_SCALED = either(op("Mul", _NORMALIZED, _GAMMA), op("Mul", _CENTRED, op("Mul", _INVERSE, _GAMMA)))
_SPELLINGS: tuple[Pattern, ...] = (
    op("Add", op("Add", op("Mul", X, _SCALE), _NEGATED), _BETA),
    op("Add", op("Mul", X, _SCALE), op("Add", _NEGATED, _BETA)),
    op("Add", op("Mul", X, _SCALE), op("Sub", _BETA, op("Mul", _MEAN, _SCALE))),
    op("Add", op("Mul", X, _SCALE), _NEGATED),
    op("Sub", op("Mul", X, _SCALE), op("Mul", _MEAN, _SCALE)),
    op("Add", _SCALED, _BETA),
    _SCALED,
    op("Add", _NORMALIZED, _BETA),
    _NORMALIZED,
)
_ROOTS = frozenset({"Add", "Sub", "Mul", "Div"})


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    for pattern in _SPELLINGS:
        found = find(pattern, node.outputs[0])
        if found is None:
            continue
        x, sizes = found["x"], shape(found["x"])
        axis = _axis(found["mean"], found["variance"])
        epsilon = array(found["epsilon"])
        if sizes is None or axis is None or epsilon is None or epsilon.size != 1 or sizes[axis].symbols:
            return None
        rank = len(sizes)
        place = (sizes[axis].factor, axis, rank)
        gamma = _along(array(found.get("gamma")), 1.0, place, x)
        beta = _along(array(found.get("beta")), 0.0, place, x)
        if gamma is None or beta is None or _is_continued(node, place, x):
            return None
        if axis != rank - 1:
            return _along_another_axis(build, found)
        weights = [build.constant(gamma), build.constant(beta)]
        return [build("LayerNormalization", x, *weights, axis=-1, epsilon=float(epsilon.item()))]
    return None


def _along_another_axis(build: Builder, found: Bindings) -> Sequence[ir.Value] | None:
    """(x - mean) * inv * gamma + beta, three passes over x where TensorFlow's spelling takes five."""
    if "scale" not in found or "centred" not in found:
        return None
    normalized = build("Mul", found["centred"], found["inverse"])
    scaled = build("Mul", normalized, found["gamma"]) if "gamma" in found else normalized
    return [build("Add", scaled, found["beta"]) if "beta" in found else scaled]


def _axis(mean: ir.Value, variance: ir.Value) -> int | None:
    """The one axis that both average over and keep."""
    nodes = [value.producer() for value in (mean, variance)]
    axes = [axes_of(node) for node in nodes if node is not None]
    kept = all(
        "keepdims" not in node.attributes or node.attributes["keepdims"].as_int() == 1
        for node in nodes
        if node
    )
    if not kept or axes[0] is None or len(axes[0]) != 1 or axes[0] != axes[1]:
        return None
    return axes[0][0]


def _along(
    weight: NDArray[Any] | None, default: float, place: tuple[int, int, int], x: ir.Value
) -> NDArray[Any] | None:
    """Gamma or beta as a vector along the axis; None where it varies along another."""
    size, axis, rank = place
    if weight is None:
        dtype = x.dtype.numpy() if x.dtype is not None else np.dtype(np.float32)
        return np.full(size, default, dtype)
    if weight.size == 1 and weight.ndim <= rank:
        return np.full(size, weight.item(), weight.dtype)
    padded = (1,) * (rank - weight.ndim) + weight.shape
    wanted = tuple(size if number == axis else 1 for number in range(rank))
    return weight.reshape(size) if padded == wanted else None


def _is_continued(node: ir.Node, place: tuple[int, int, int], x: ir.Value) -> bool:
    """Whether the next node multiplies by gamma or adds beta: then the whole is matched from there."""
    value = node.outputs[0]
    users = list(value.uses())
    if len(users) != 1 or value.is_graph_output() or users[0].node.op_type not in ("Add", "Mul"):
        return False
    weights = [array(other) for other in users[0].node.inputs if other is not value]
    suits = all(weight is not None and _along(weight, 0.0, place, x) is not None for weight in weights)
    return suits and any(find(pattern, users[0].node.outputs[0]) for pattern in _SPELLINGS)


def _fuse_batch_normalization(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """Reshape(BatchNormalization(Reshape(x), ones, zeros, mean, var)) over the rows of x."""
    move = node.inputs[0]
    norm = move.producer() if move is not None else None
    if norm is None or norm.op_type != "BatchNormalization":
        return None
    image = norm.inputs[0]
    before = image.producer() if image is not None else None
    if before is None or before.op_type != "Reshape" or not _is_own_statistics(norm):
        return None
    x = before.inputs[0]
    sizes, given = shape(x), shape(image)
    width = fixed(x, -1)
    if sizes is None or given is None or width is None or shape(node.outputs[0]) != sizes:
        return None
    if len(given) != 4 or given[0] != Size(1) or given[2:] != (Size(width), Size(1)):
        return None
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    ones = np.ones(width, np.float32)
    return [build("LayerNormalization", x, build.constant(ones), axis=-1, epsilon=epsilon)]


def _is_own_statistics(norm: ir.Node) -> bool:
    """Whether scale is 1, bias 0, and mean and variance are those of the image's own channels."""
    image, scale, bias, mean, variance = norm.inputs[:5]
    if not (_is_filled(scale, 1.0) and _is_filled(bias, 0.0)):
        return False
    x = variable("x")
    average = op("ReduceMean", x, name="mean")
    centred = op("Sub", x, average)
    spread = either(
        op("Div", op("ReduceSumSquare", centred, name="sum"), constant("count")),
        op("ReduceMean", op("Mul", centred, centred), name="sum"),
    )
    first, second = find(op("Squeeze", average), mean), find(spread, variance)
    if first is None or second is None or first["x"] is not image or second["x"] is not image:
        return False
    over = [
        axes_of(found[name].producer())
        for found, name in ((first, "mean"), (second, "mean"), (second, "sum"))
    ]
    count = array(second.get("count"))
    right = count is None or (count.size == 1 and count.item() == fixed(image, 2))
    return right and all(axes == [0, 2, 3] for axes in over)


def _is_filled(value: ir.Value | None, content: float) -> bool:
    """Whether a value holds one number everywhere: a constant, or one that Expand repeats."""
    node = value.producer() if value is not None else None
    known = array(node.inputs[0]) if node is not None and node.op_type == "Expand" else array(value)
    return known is not None and bool(np.all(known == content))


FUSE_LAYER_NORMALIZATION = Rewrite("fuse_layer_normalization", _ROOTS, _fuse, opset=17)
FUSE_LAYER_NORMALIZATION_OF_ROWS = Rewrite(
    "fuse_layer_normalization_of_rows", frozenset({"Reshape"}), _fuse_batch_normalization, opset=17
)

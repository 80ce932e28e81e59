"""LayerNormalization in the spellings of TensorFlow, Keras and PyTorch as the operator.

    over the last axes               ->  LayerNormalization(x)
    over several, gamma by channel   ->  InstanceNormalization(Reshape(x, [n, c, -1])) * gamma + beta
    over all axes behind channels    ->  InstanceNormalization(x)
    over one axis before the last    ->  LayerNormalization between Transposes, under 32768 elements a sample,
                                         else (x - mean) * inv * gamma + beta, three passes over x

Keras 2 reshapes the rows into images and normalizes each with BatchNormalization. Measured along axis 1
(AVX512, one thread): 16 x 12 elements 1.5 times faster between Transposes, 128 x 128 2.1 times; 384 x 512 3.5
times, but 5.4 times in three passes, whose means become products (reductions.py).

Reference: Ba, Kiros, Hinton, arXiv:1607.06450.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, constant, either, find, op, variable
from optimizer.graph.rewriter import Builder, Rewrite
from optimizer.graph.rewrites.normalization import Normalization, read_normalization, scaled_and_shifted
from optimizer.graph.sizes import Size, as_target, elements, fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

_ROOTS = frozenset({"Add", "Sub", "Mul", "Div"})
_FEWEST_FOR_PASSES = 1 << 15


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    norm = read_normalization(node.outputs[0])
    if norm is None:
        return None
    rank, first = len(norm.sizes), norm.axes[0]
    if norm.axes == tuple(range(first, rank)):
        if first == 2 and _are_by_channel(norm):
            return _by_channel(build, norm)
        inside = [_inside(norm, weight, first) for weight in (norm.gamma, norm.beta)]
        if first == rank - 1 or all(weight is not None for weight in inside):
            return [_over_the_last(build, norm.x, norm, first)]
        return _in_one_group(build, norm, first)
    return _along_another_axis(build, norm) if len(norm.axes) == 1 else None


def _inside(norm: Normalization, weight: Array | None, first: int) -> Array | None:
    """Gamma or beta over the normalized axes; None where the operator cannot take it."""
    if weight is None or any(size > 1 for size in weight.shape[:first]):
        return None
    part = weight.reshape(weight.shape[first:])
    full = tuple(size.factor for size in norm.sizes[first:])
    return np.broadcast_to(part, full).copy() if part.shape == full or len(full) == 1 else None


def _over_the_last(build: Builder, x: ir.Value, norm: Normalization, first: int) -> ir.Value:
    """The operator, and behind it what it does not take."""
    gamma, beta = (_inside(norm, weight, first) for weight in (norm.gamma, norm.beta))
    full = [size.factor for size in norm.sizes[first:]]
    if norm.gamma is not None and gamma is None:
        beta = None  # comes after gamma
    scale = np.ones(full, norm.dtype) if gamma is None else gamma
    weights = [build.constant(weight) for weight in (scale, beta) if weight is not None]
    axis = first - len(norm.sizes)
    value = build("LayerNormalization", x, *weights, axis=axis, epsilon=norm.epsilon)
    outside = [old if new is None else None for old, new in ((norm.gamma, gamma), (norm.beta, beta))]
    return scaled_and_shifted(build, value, *outside)


def _are_by_channel(norm: Normalization) -> bool:
    """Whether gamma and beta vary along axis 1 alone, of a known number of channels."""
    weights = [weight for weight in (norm.gamma, norm.beta) if weight is not None]
    along = all(weight.size == weight.shape[1] for weight in weights)
    return bool(weights) and along and not norm.sizes[1].symbols and norm.dtype == np.float32


def _by_channel(build: Builder, norm: Normalization) -> Sequence[ir.Value]:
    """x [n, c, ...] over all axes behind the channels."""
    channels = norm.sizes[1].factor
    pairs = ((norm.gamma, 1.0), (norm.beta, 0.0))
    weights = [
        np.full(channels, default, norm.dtype) if weight is None else np.resize(weight, channels)
        for weight, default in pairs
    ]
    return [build("InstanceNormalization", norm.x, *map(build.constant, weights), epsilon=norm.epsilon)]


def _in_one_group(build: Builder, norm: Normalization, first: int) -> Sequence[ir.Value] | None:
    """All normalized axes as one: the operator would need a gamma of every element."""
    lead, whole = norm.sizes[:first], as_target(norm.sizes)
    flat = as_target((*lead[:1], elements(lead[1:]), elements(norm.sizes[first:]))) if lead else None
    groups = elements(lead[1:])
    if flat is None or whole is None or groups.symbols or norm.dtype != np.float32:
        return None
    weights = (np.ones(groups.factor, np.float32), np.zeros(groups.factor, np.float32))
    rows = build("Reshape", norm.x, build.constant(flat))
    rows = build("InstanceNormalization", rows, *map(build.constant, weights), epsilon=norm.epsilon)
    return [scaled_and_shifted(build, build("Reshape", rows, build.constant(whole)), norm.gamma, norm.beta)]


def _along_another_axis(build: Builder, norm: Normalization) -> Sequence[ir.Value] | None:
    """One axis that is not the last."""
    count, axis, found = elements(norm.sizes[1:]), norm.axes[0], norm.found
    if not count.symbols and count.factor < _FEWEST_FOR_PASSES:
        order = [place for place in range(len(norm.sizes)) if place != axis] + [axis]
        moved = norm.transposed(order)
        value = _over_the_last(build, build("Transpose", norm.x, perm=order), moved, len(order) - 1)
        return [build("Transpose", value, perm=[order.index(place) for place in range(len(order))])]
    if "scale" not in found or "centred" not in found:
        return None
    normalized = build("Mul", found["centred"], found["inverse"])
    return [scaled_and_shifted(build, normalized, norm.gamma, norm.beta)]


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

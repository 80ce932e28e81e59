"""How operators without an integer kernel are written with ones that have one, exactly.

    BatchNormalization(x)                  ->  Conv(x, s, t), depthwise, 1x1        s, t by channel
    x * s + t, x * s, x + t, x / s, x - t  ->  the same
    ReduceMean(x, height and width)        ->  GlobalAveragePool(x)
    GlobalMaxPool(x), ReduceMax(x, ...)    ->  MaxPool(x) over the whole image
    MaxPool(Conv(x, s, t)), s > 0          ->  Conv(MaxPool(x), s, t)               depthwise, 1x1

With one number a channel, w = +-127 * scale: the depthwise weight has no rounding error. (As Max(conv, t) a
BatchNormalization behind ReLU could be folded too, but one scale for all channels then ruins it.)

Two 3x3 Conv with one of these and a MaxPool between them, INT8, one thread, AVX512-VNNI: 1.1 to 1.6 times as
fast as before for BatchNormalization with 8 to 256 channels, but 0.8 times with 3; 1.0 to 1.5 times for a
sum or product, 1.0 to 1.1 for the mean, 1.0 to 1.3 for the maximum. HardSigmoid and HardSwish, which are a
depthwise Conv and a Clip, gain nothing so (0.9 to 1.05) and stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array
from optimizer.graph.rewriter import Builder, attribute, attributes_of, single_use
from optimizer.graph.sizes import fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]
Range = tuple[float, float]

FEWEST_CHANNELS = 8
"""Of an integer depthwise Conv: with fewer it is slower than what it stands for."""

_IMAGE_AXES = (2, 3)

Make = Callable[[Builder, dict[str, Range]], "ir.Value"]


@dataclass(frozen=True)
class Form:
    """What a node can be written as."""

    x: ir.Value
    """Its only input that is no constant."""
    integer: str
    """The operator whose integer kernel it comes to use."""
    make: Make
    """Writes it; notes the ranges of values in between."""
    words: str = ""
    """What the user is told that was done; empty: the node's operator."""


Rule = Callable[["ir.Node"], "Form | None"]


def normalization_form(node: ir.Node) -> Form | None:
    """BatchNormalization with constant statistics."""
    scale, bias, mean, variance = (array(value) for value in node.inputs[1:5])
    if scale is None or bias is None or mean is None or variance is None:
        return None
    if attribute(node, "training_mode", 0) or any(value.uses() for value in node.outputs[1:]):
        return None
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)  # [channels]
    return _depthwise(node.inputs[0], factor, bias - mean * factor, scale.dtype, "BatchNormalization")


def sum_form(node: ir.Node) -> Form | None:
    """A shift by channel, and a scale in front of it."""
    x, term = _operands(node)
    if x is None or term is None:
        return None
    term = -term if node.op_type == "Sub" else term
    inner = x.producer()
    if inner is not None and inner.op_type in ("Mul", "Div") and single_use(x):
        source, factor = _operands(inner)
        if source is not None and factor is not None and factor.shape == term.shape:
            factor = 1 / factor if inner.op_type == "Div" else factor
            return _depthwise(source, factor, term, factor.dtype, "scale and shift by channel")
    return _depthwise(x, np.ones_like(term), term, term.dtype, "shift by channel")


def product_form(node: ir.Node) -> Form | None:
    """A scale by channel."""
    x, factor = _operands(node)
    if x is None or factor is None:
        return None
    factor = 1 / factor if node.op_type == "Div" else factor
    return _depthwise(x, factor, np.zeros_like(factor), factor.dtype, "scale by channel")


def _operands(node: ir.Node) -> tuple[ir.Value | None, Array | None]:
    """The value and the constant, as [channels], of an operator that changes each channel by a number."""
    pairs = [(node.inputs[0], node.inputs[1])]
    if node.op_type in ("Add", "Mul"):
        pairs.append((node.inputs[1], node.inputs[0]))
    for value, other in pairs:
        constant, channels = array(other), fixed(value, 1)
        if value is None or constant is None or channels is None or array(value) is not None:
            continue
        if constant.shape in ((channels, 1, 1), (1, channels, 1, 1)):
            return value, constant.reshape(channels)
    return None, None


def _depthwise(
    x: ir.Value | None, factor: Array, term: Array, dtype: np.dtype[Any], words: str
) -> Form | None:
    """x * factor + term by channel, where x is an image with enough channels."""
    sizes = shape(x)
    channels = len(factor)
    if x is None or sizes is None or len(sizes) != 4 or channels < FEWEST_CHANNELS:
        return None
    weight, bias = factor.reshape(channels, 1, 1, 1).astype(dtype), term.astype(dtype)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return None

    def make(build: Builder, ranges: dict[str, Range]) -> ir.Value:
        return build("Conv", x, build.constant(weight), build.constant(bias), group=channels)

    return Form(x, "Conv", make, words)


def pool_first_form(node: ir.Node) -> Form | None:
    """A function that rises by channel takes the maximum to the maximum, on integers too."""
    conv = node.inputs[0].producer() if node.inputs[0] is not None else None
    if conv is None or conv.op_type != "Conv" or len(conv.inputs) != 3 or not single_use(conv.outputs[0]):
        return None
    x, weight, bias = conv.inputs
    factor = array(weight)
    if x is None or factor is None or len(node.outputs) > 1 or set(conv.attributes) != {"group"}:
        return None
    channels = attribute(conv, "group", 1)
    if factor.shape != (channels, 1, 1, 1) or fixed(x, 1) != channels or not (factor > 0).all():
        return None

    def make(build: Builder, ranges: dict[str, Range]) -> ir.Value:
        pooled = build("MaxPool", x, **attributes_of(node))
        ranges[str(pooled.name)] = ranges[str(x.name)]
        return build("Conv", pooled, weight, bias, group=channels)

    return Form(x, "Conv", make, "MaxPool put before it")


def mean_form(node: ir.Node) -> Form | None:
    """A mean over height and width."""
    return _pool(node, "GlobalAveragePool", {})


def maximum_form(node: ir.Node) -> Form | None:
    """A maximum over height and width."""
    height, width = (fixed(node.inputs[0], axis) for axis in _IMAGE_AXES)
    if height is None or width is None:
        return None
    return _pool(node, "MaxPool", {"kernel_shape": [height, width]})


def _pool(node: ir.Node, pool: str, attributes: dict[str, Any]) -> Form | None:
    x, sizes = node.inputs[0], shape(node.inputs[0])
    if x is None or sizes is None or len(sizes) != 4:
        return None
    is_reduction = node.op_type.startswith("Reduce")
    if is_reduction and tuple(sorted(axis % 4 for axis in axes_of(node) or ())) != _IMAGE_AXES:
        return None
    flat = is_reduction and attribute(node, "keepdims", 1) == 0

    def make(build: Builder, ranges: dict[str, Range]) -> ir.Value:
        pooled = build(pool, x, **attributes)
        if not flat:
            return pooled
        ranges[str(pooled.name)] = ranges[str(node.outputs[0].name)]
        return build("Flatten", pooled, axis=1)  # [n, channels, 1, 1] -> [n, channels]

    return Form(x, pool, make)


# Operators, and what they are written as, in the order in which it is tried: sums before the products in
# front of them.
FORMS: tuple[tuple[frozenset[str], Rule], ...] = (
    (frozenset({"BatchNormalization"}), normalization_form),
    (frozenset({"Add", "Sub"}), sum_form),
    (frozenset({"Div", "Mul"}), product_form),
    (frozenset({"ReduceMean"}), mean_form),
    (frozenset({"GlobalMaxPool", "ReduceMax"}), maximum_form),
    (frozenset({"MaxPool"}), pool_first_form),
)

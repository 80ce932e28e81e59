"""Operators without an integer kernel become ones that have one: the same function, before it is quantized.

    BatchNormalization(x)                  ->  Conv(x, s, t), depthwise, 1x1        s, t by channel
    x * s + t, x * s, x + t, x / s, x - t  ->  the same
    ReduceMean(x, height and width)        ->  GlobalAveragePool(x)
    GlobalMaxPool(x), ReduceMax(x, ...)    ->  MaxPool(x) over the whole image

With one number a channel, w = +-127 * scale: the depthwise weight has no rounding error. (As Max(conv, t) a
BatchNormalization behind ReLU could be folded too, but one scale for all channels then ruins it.)

Two 3x3 Conv with one of these and a MaxPool between them, INT8, one thread, AVX512-VNNI: 1.1 to 1.6 times as
fast as before for BatchNormalization with 8 to 256 channels, but 0.8 times with 3; 1.0 to 1.5 times for a
sum or product, 1.0 to 1.1 for the mean, 1.0 to 1.3 for the maximum. HardSigmoid and HardSwish, which are a
depthwise Conv and a Clip, gain nothing so (0.9 to 1.05) and stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array
from optimizer.graph.rewriter import Builder, Rewrite, apply_rewrites, attribute, single_use
from optimizer.graph.sizes import fixed, shape
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Array = NDArray[Any]
Range = tuple[float, float]

FEWEST_CHANNELS = 8
"""Of an integer depthwise Conv: with fewer it is slower than what it stands for."""

# What hands integers on, or goes into the layer before it.
_PASSING = frozenset(
    {"Clip", "DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Slice"}
    | {"Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
_IMAGE_AXES = (2, 3)


@dataclass(frozen=True)
class Closed:
    """The model with fewer islands."""

    proto: onnx.ModelProto
    ranges: Mapping[str, Range]
    """Of the given model's values and of those that are new."""
    changes: tuple[str, ...]


def close_islands(
    proto: onnx.ModelProto, ranges: Mapping[str, Range], wanted: Collection[str], kept: Collection[str]
) -> Closed:
    """Rewrite what would stay float between integer operators.

    Args:
        proto: A model that is to be quantized; it stays as it is.
        ranges: Of its values.
        wanted: Operators that become integer.
        kept: Names of nodes that stay as they are.

    Returns:
        The model, or the given one where there is nothing to close.
    """
    import onnx_ir as ir

    islands = _Islands(frozenset(wanted), frozenset(kept), dict(ranges))
    model = ir.from_proto(proto)
    report = apply_rewrites(model, islands.rewrites())
    if not report.applied:
        return Closed(proto, ranges, ())
    counts = ", ".join(f"{name} ({count})" for name, count in sorted(islands.closed.items()))
    change = f"closed between integer operators, as depthwise Conv or pool: {counts}"
    return Closed(ir.to_proto(model), islands.ranges, (change,))


@dataclass
class _Islands:
    """The rewrites, with what they share: where integers are, and the ranges of what they make."""

    wanted: frozenset[str]
    kept: frozenset[str]
    ranges: dict[str, Range]
    closed: Counter[str] = field(default_factory=Counter)

    def rewrites(self) -> tuple[Rewrite, ...]:
        """In the order in which they are tried: sums before the products in front of them."""
        rules: tuple[tuple[str, Rule], ...] = (
            ("BatchNormalization", _normalization),
            ("Add Sub", _sum),
            ("Div Mul", _product),
            ("ReduceMean", _mean),
            ("GlobalMaxPool ReduceMax", _maximum),
        )
        return tuple(
            Rewrite(f"close_{rule.__name__.strip('_')}", frozenset(roots.split()), self._guarded(rule))
            for roots, rule in rules
        )

    def _guarded(self, rule: Rule) -> Callable[[ir.Node, Builder], Sequence[ir.Value] | None]:
        def replace(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
            found = rule(node)
            if found is None or found.integer not in self.wanted or not self._between(found.x, node):
                return None
            inside = (value.producer() for value in node.inputs if value is not None and value is not found.x)
            if any(each is not None and each.name in self.kept for each in (node, *inside)):
                return None
            value = found.make(build, self.ranges)
            self.ranges[str(value.name)] = self.ranges[str(node.outputs[0].name)]
            self.closed[node.op_type + " by channel" * (node.op_type in _ARITHMETIC)] += 1
            return [value]

        return replace

    def range_of(self, value: ir.Value) -> Range | None:
        """The range of a value, where it is known."""
        return self.ranges.get(str(value.name))

    def _between(self, x: ir.Value, node: ir.Node) -> bool:
        """Whether integers come in, and are wanted of what goes out."""
        known = self.range_of(x) is not None and self.range_of(node.outputs[0]) is not None
        return known and self._comes_integer(x) and self._goes_integer(node.outputs[0])

    def _comes_integer(self, value: ir.Value) -> bool:
        node = value.producer()
        while node is not None and node.op_type in _PASSING and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        return self._is_integer(node)

    def _goes_integer(self, value: ir.Value) -> bool:
        pending, seen = [value], set[int]()
        while pending:
            for node in pending.pop().consumers():
                if id(node) in seen:
                    continue
                seen.add(id(node))
                if node.op_type in _PASSING:
                    pending.extend(node.outputs)
                elif self._is_integer(node):
                    return True
        return False

    def _is_integer(self, node: ir.Node | None) -> bool:
        return (
            node is not None
            and node.domain in STANDARD_DOMAINS
            and node.name not in self.kept
            # Normalizations in a row: each becomes integer as its neighbour does.
            and (node.op_type in self.wanted or node.op_type == "BatchNormalization")
        )


Make = Callable[[Builder, dict[str, Range]], "ir.Value"]


@dataclass(frozen=True)
class _Form:
    """What a node can be written as."""

    x: ir.Value
    """Its only input that is no constant."""
    integer: str
    """The operator whose integer kernel it comes to use."""
    make: Make
    """Writes it; notes the ranges of values in between."""


Rule = Callable[["ir.Node"], "_Form | None"]


def _normalization(node: ir.Node) -> _Form | None:
    scale, bias, mean, variance = (array(value) for value in node.inputs[1:5])
    if scale is None or bias is None or mean is None or variance is None:
        return None
    if attribute(node, "training_mode", 0) or any(value.uses() for value in node.outputs[1:]):
        return None
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)  # [channels]
    return _depthwise(node.inputs[0], factor, bias - mean * factor, scale.dtype)


def _sum(node: ir.Node) -> _Form | None:
    x, term = _operands(node)
    if x is None or term is None:
        return None
    term = -term if node.op_type == "Sub" else term
    inner = x.producer()
    if inner is not None and inner.op_type in ("Mul", "Div") and single_use(x):
        source, factor = _operands(inner)
        if source is not None and factor is not None and factor.shape == term.shape:
            return _depthwise(source, 1 / factor if inner.op_type == "Div" else factor, term, factor.dtype)
    return _depthwise(x, np.ones_like(term), term, term.dtype)


def _product(node: ir.Node) -> _Form | None:
    x, factor = _operands(node)
    if x is None or factor is None:
        return None
    factor = 1 / factor if node.op_type == "Div" else factor
    return _depthwise(x, factor, np.zeros_like(factor), factor.dtype)


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


def _depthwise(x: ir.Value | None, factor: Array, term: Array, dtype: np.dtype[Any]) -> _Form | None:
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

    return _Form(x, "Conv", make)


def _mean(node: ir.Node) -> _Form | None:
    return _pooled(node, "GlobalAveragePool", {})


def _maximum(node: ir.Node) -> _Form | None:
    height, width = (fixed(node.inputs[0], axis) for axis in _IMAGE_AXES)
    if height is None or width is None:
        return None
    return _pooled(node, "MaxPool", {"kernel_shape": [height, width]})


def _pooled(node: ir.Node, pool: str, attributes: dict[str, Any]) -> _Form | None:
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

    return _Form(x, pool, make)

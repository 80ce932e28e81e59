"""Finds where a float operator would stand between integer ones, and writes it with integer kernels.

The ranges of the calibration go with it: a new value has the range of the one that it stands for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from optimizer.graph.rewriter import Builder, Rewrite, apply_rewrites
from optimizer.graph.structure import STANDARD_DOMAINS
from optimizer.quantize.islands.forms import FORMS, Range, Rule

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

# What hands integers on, or goes into the layer before it.
_PASSING = frozenset(
    {"Clip", "DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Relu", "Reshape", "Slice"}
    | {"Squeeze", "Tile", "Transpose", "Unsqueeze"}
)


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
    change = f"made integer between integer operators, as depthwise Conv or pool: {counts}"
    return Closed(ir.to_proto(model), islands.ranges, (change,))


@dataclass
class _Islands:
    """The rewrites, with what they share: where integers are, and the ranges of what they make."""

    wanted: frozenset[str]
    kept: frozenset[str]
    ranges: dict[str, Range]
    closed: Counter[str] = field(default_factory=Counter)

    def rewrites(self) -> tuple[Rewrite, ...]:
        """In the order in which they are tried."""
        return tuple(
            Rewrite(f"close_{rule.__name__}", operators, self._guarded(rule)) for operators, rule in FORMS
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
            self.closed[found.words or node.op_type] += 1
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

"""What masks are made of: comparisons with zero, and whether any element is true.

Not(Equal(x, 0))                                 ->  Cast(x) to bool            NaN is true in both
Unsqueeze(f(Reduce(x)))                          ->  f(Reduce(x) that keeps its axes)      f: a comparison
Cast(Greater(ReduceSum(Cast(b)), 0))             ->  ReduceMax(Cast(b))         b bool
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, find, is_standard, number, op, variable
from optimizer.graph.rewriter import Builder, Rewrite, attribute, single_use
from optimizer.graph.sizes import fixed

if TYPE_CHECKING:
    import onnx_ir as ir

_BOOL = 9
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_REDUCE = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
_NOT_ZERO = op("Not", op("Equal", variable("x"), number(0.0)))
_COUNT = op("ReduceSum", op("Cast", variable("b")), name="count")
_ANY = op("Cast", op("Greater", _COUNT, number(0.0)))


def _as_flag(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    found = find(_NOT_ZERO, node.outputs[0])
    return None if found is None else [build("Cast", found["x"], to=_BOOL)]


def _keep_axes(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    test = node.inputs[0].producer() if node.inputs[0] is not None else None
    compared = test is not None and any(is_standard(test, kind) for kind in _COMPARISONS)
    other = array(test.inputs[1]) if compared and test is not None else None
    value = test.inputs[0] if compared and test is not None else node.inputs[0]
    sums = value.producer() if value is not None else None
    if sums is None or not any(is_standard(sums, kind) for kind in _REDUCE) or attribute(sums, "keepdims", 1):
        return None
    if compared and (other is None or other.size > 1 or other.ndim > 1):
        return None
    axes = axes_of(sums)
    if not axes or axes_of(node) != axes or sums.inputs[0] is None:
        return None
    kept = build.reduce(sums.op_type, sums.inputs[0], axes, keepdims=1)
    return [build(test.op_type, kept, test.inputs[1]) if compared and test is not None else kept]


def _any(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    import onnx_ir as ir

    found = find(_ANY, node.outputs[0])
    if found is None or found["b"].dtype != ir.DataType.BOOL or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    sums = found["count"].producer()
    axes = axes_of(sums)
    if not axes or not single_use(found["count"]):
        return None
    flags = build("Cast", found["b"], to=int(ir.DataType.FLOAT))
    largest = build.reduce("ReduceMax", flags, axes, keepdims=attribute(sums, "keepdims", 1))
    sizes = [fixed(found["b"], axis) for axis in axes]
    if all(sizes):
        return [largest]
    return [build("Relu", largest)]  # of no elements the maximum is -inf, and the sum 0


FOLD_COMPARISON_WITH_ZERO = Rewrite("fold_comparison_with_zero", frozenset({"Not"}), _as_flag)
FOLD_AXES_INTO_REDUCTION = Rewrite("fold_axes_into_reduction", frozenset({"Unsqueeze"}), _keep_axes)
FUSE_ANY = Rewrite("fuse_any", frozenset({"Cast"}), _any)

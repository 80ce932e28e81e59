"""Writes down the sizes of every value, past operators where ONNX's own inference loses their names.

ONNX gives a free size a new name at each Reshape; here -1 becomes the quotient that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.graph.match import array
from optimizer.graph.sizes import KEY, Size, annotation, integers, order_of, reshaped, shape
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Sizes = tuple[Size, ...] | None

WHOLE = 1 << 29
"""Exporters write such ends of a Slice for "up to the end"."""

_SAME_SHAPE = frozenset(
    [
        "Abs",
        "Cast",
        "Ceil",
        "Clip",
        "Cos",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "IsNaN",
        "LayerNormalization",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "Mish",
        "Neg",
        "Not",
        "PRelu",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Sin",
        "Softmax",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
        "Dropout",
        "BatchNormalization",
        "CumSum",
        "ReverseSequence",
    ]
)
_BROADCAST = frozenset(
    [
        "Add",
        "And",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Or",
        "Pow",
        "Sub",
        "Where",
        "Xor",
    ]
)
_REDUCE = frozenset(
    ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceL2", "ReduceSumSquare"]
)


def infer_sizes(graph: ir.Graph) -> None:
    """Write the sizes of each node's first output into its `meta`, in the order of the graph."""
    for node in graph:
        output = node.outputs[0] if node.outputs else None
        if output is None or node.domain not in STANDARD_DOMAINS:
            continue
        output.meta.pop(KEY, None)
        sizes = _sizes(node)
        annotated = shape(output)
        if sizes is not None and (annotated is None or len(annotated) == len(sizes)):
            # A size that ONNX knows as a number is better than a product.
            pairs = zip(sizes, annotated or sizes, strict=True)
            output.meta[KEY] = tuple(known if not known.symbols else found for found, known in pairs)


def _sizes(node: ir.Node) -> Sizes:  # noqa: C901  # one flat match over the operators
    first = shape(node.inputs[0]) if node.inputs else None
    if node.op_type in _SAME_SHAPE:
        return first
    if node.op_type in _BROADCAST:
        return broadcast([shape(value) for value in node.inputs])
    if node.op_type == "Reshape":
        return reshaped(node)
    if first is None:
        return None
    match node.op_type:
        case "Transpose":
            return tuple(first[axis] for axis in order_of(node))
        case "Squeeze" | "Unsqueeze":
            return _with_axes(node, first)
        case "MatMul":
            return _product(first, shape(node.inputs[1]))
        case "Gemm":
            return _of_gemm(node, first, shape(node.inputs[1]))
        case "Gather":
            indices = shape(node.inputs[1])
            axis = node.attributes["axis"].as_int() % len(first) if "axis" in node.attributes else 0
            return None if indices is None else (*first[:axis], *indices, *first[axis + 1 :])
        case "Expand":
            target = integers(node.inputs[1])
            return None if target is None else broadcast([first, target])
        case "Concat":
            return _joined(node, [shape(value) for value in node.inputs])
        case "Tile":
            times = integers(node.inputs[1])
            pairs = zip(first, times or (), strict=False)
            return None if times is None or len(times) != len(first) else tuple(a * b for a, b in pairs)
        case "Slice":
            return _sliced(node, first)
        case "Resize":
            return _resized(node, first)
        case "GatherElements":
            return shape(node.inputs[1])
        case "LSTM" | "GRU" | "RNN":
            return _recurrent(node, first)
        case kind if kind in _REDUCE:
            return _reduced(node, first)
    return None


def broadcast(shapes: Sequence[Sizes]) -> Sizes:
    """The shape that elementwise operators give; None where a free size may be 1."""
    known = [sizes for sizes in shapes if sizes is not None]
    if len(known) < len(shapes):
        return None
    rank = max(map(len, known))
    padded = [(Size(1),) * (rank - len(sizes)) + sizes for sizes in known]
    result = []
    for column in zip(*padded, strict=True):
        different = {size for size in column if size != Size(1)}
        fixed = {size for size in different if not size.symbols}
        may_be_one = any(size.factor == 1 for size in different)
        if len(fixed) > 1 or (len(different) > 1 and not fixed and may_be_one):
            return None
        # A free size beside a fixed one has to be that one, or 1; two of which none can be 1 are equal.
        first = next((size for size in column if size in different), Size(1))
        result.append(next(iter(fixed), first))
    return tuple(result)


def _axes(node: ir.Node, rank: int) -> list[int] | None:
    """The axes of an operator that has them as an attribute or as a constant input."""
    if "axes" in node.attributes:
        return sorted(axis % rank for axis in node.attributes["axes"].as_ints())
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return None
    constant = array(node.inputs[1])
    return None if constant is None else sorted(int(axis) % rank for axis in constant.ravel())


def axes_of(node: ir.Node) -> list[int] | None:
    """The same, from 0 to rank - 1 of the input (of the output for Unsqueeze); None where unknown."""
    sizes = shape(node.inputs[0])
    if sizes is None:
        return None
    if node.op_type != "Unsqueeze":
        return _axes(node, len(sizes))
    constant = array(node.inputs[1]) if len(node.inputs) > 1 else None
    count = len(node.attributes["axes"].as_ints()) if constant is None and "axes" in node.attributes else None
    size = constant.size if constant is not None else count
    return None if size is None else _axes(node, len(sizes) + size)


def _with_axes(node: ir.Node, first: tuple[Size, ...]) -> Sizes:
    axes = axes_of(node)
    if axes is None:
        return None
    if node.op_type == "Squeeze":
        return tuple(size for axis, size in enumerate(first) if axis not in axes)
    rest = iter(first)
    return tuple(Size(1) if axis in axes else next(rest) for axis in range(len(first) + len(axes)))


def _product(left: tuple[Size, ...], right: Sizes) -> Sizes:
    if right is None or len(left) < 2 or len(right) < 2:
        return None
    batch = broadcast([left[:-2], right[:-2]])
    return None if batch is None else (*batch, left[-2], right[-1])


def _of_gemm(node: ir.Node, left: tuple[Size, ...], right: Sizes) -> Sizes:
    if right is None or len(left) != 2 or len(right) != 2:
        return None
    turned = [
        name in node.attributes and node.attributes[name].as_int() == 1 for name in ("transA", "transB")
    ]
    return left[1 if turned[0] else 0], right[0 if turned[1] else 1]


def _joined(node: ir.Node, parts: Sequence[Sizes]) -> Sizes:
    """Concat: where the sizes along its axis are fixed, and the others the same."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    axis = node.attributes["axis"].as_int() % len(known[0])
    along = [part[axis] for part in known]
    others = {(*part[:axis], *part[axis + 1 :]) for part in known}
    if len(others) > 1 or any(size.symbols for size in along):
        return None
    return (*known[0][:axis], Size(sum(size.factor for size in along)), *known[0][axis + 1 :])


def _sliced(node: ir.Node, first: tuple[Size, ...]) -> Sizes:
    """Slice: axes that are not named, or taken whole; the others as ONNX has them."""
    given, annotated = [array(value) for value in node.inputs[1:]], annotation(node.outputs[0])
    if len(given) < 2 or any(value is None for value in given) or annotated is None:
        return None
    starts, ends, *rest = (value.ravel() for value in given if value is not None)
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    cut = {
        int(axis) % len(first)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
        if start != 0 or end < WHOLE or step != 1
    }
    return tuple(annotated[axis] if axis in cut else size for axis, size in enumerate(first))


def _resized(node: ir.Node, first: tuple[Size, ...]) -> Sizes:
    """Resize: axes whose scale is 1 keep their names."""
    scales = array(node.inputs[2]) if len(node.inputs) > 2 else None
    annotated = annotation(node.outputs[0])
    if scales is None or scales.size != len(first) or annotated is None or "axes" in node.attributes:
        return None
    pairs = zip(scales.ravel(), first, annotated, strict=True)
    return tuple(size if scale == 1 else after for scale, size, after in pairs)


def _recurrent(node: ir.Node, first: tuple[Size, ...]) -> Sizes:
    """All outputs of a recurrent operator: [steps, directions, batch, hidden]."""
    state = shape(node.inputs[2])
    plain = "layout" not in node.attributes or node.attributes["layout"].as_int() == 0
    return (
        (first[0], state[0], first[1], state[2]) if plain and state is not None and len(first) == 3 else None
    )


def _reduced(node: ir.Node, first: tuple[Size, ...]) -> Sizes:
    axes = axes_of(node)
    if axes is None:
        return None
    keep = "keepdims" not in node.attributes or node.attributes["keepdims"].as_int() == 1
    if keep:
        return tuple(Size(1) if axis in axes else size for axis, size in enumerate(first))
    return tuple(size for axis, size in enumerate(first) if axis not in axes)

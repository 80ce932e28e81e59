"""One-dimensional convolutions and pools as exporters write them: as two-dimensional ones of height 1.

    f(Squeeze(x))                        ->  Squeeze(f(x))              f elementwise
    Squeeze(Conv(Unsqueeze(x)))          stays: ONNX Runtime's blocked kernels take four axes, not three

So the Squeeze behind one layer meets the Unsqueeze of the next and both go; the bias ends in the Conv.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import Builder, Rewrite, attributes_of, single_use
from optimizer.graph.sizes import shape

if TYPE_CHECKING:
    import onnx_ir as ir

_UNARY = frozenset(
    [
        "Abs",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Neg",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Tanh",
    ]
)
_BINARY = frozenset({"Add", "Div", "Max", "Min", "Mul", "Sub"})


def _squeeze_later(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """An elementwise operator before the Squeeze instead of behind it."""
    places = [number for number, value in enumerate(node.inputs) if _is_squeezed_image(value)]
    if len(places) != 1:
        return None
    squeeze = node.inputs[places[0]].producer()  # type: ignore[union-attr]  # it is a Squeeze, found there
    axes = axes_of(squeeze) if squeeze is not None else None
    if squeeze is None or axes is None or not single_use(squeeze.outputs[0]):
        return None
    inputs = list(node.inputs)
    rank = len(shape(squeeze.inputs[0]) or ())
    for number, value in enumerate(node.inputs):
        if number == places[0]:
            inputs[number] = squeeze.inputs[0]
        elif node.op_type in _BINARY:
            constant = array(value)
            if constant is None or constant.ndim > rank - len(axes):
                return None
            wide = constant.reshape((1,) * (rank - len(axes) - constant.ndim) + constant.shape)
            for axis in axes:
                wide = wide.reshape((*wide.shape[:axis], 1, *wide.shape[axis:]))
            inputs[number] = build.constant(wide)
    whole = build(node.op_type, *inputs, **attributes_of(node))
    return [build("Squeeze", whole, squeeze.inputs[1])]


def _is_squeezed_image(value: ir.Value | None) -> bool:
    """Whether a value is a Squeeze of one axis, behind an operator that keeps channels in axis 1."""
    node = value.producer() if value is not None else None
    if (
        node is None
        or not is_standard(node, "Squeeze")
        or len(node.inputs) < 2
        or len(axes_of(node) or ()) != 1
    ):
        return False
    return len(shape(node.inputs[0]) or ()) == 4


COLLAPSE_SQUEEZES = Rewrite("collapse_squeezes", _UNARY | _BINARY, _squeeze_later)

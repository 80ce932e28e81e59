"""Reads what normalizes over some axes by its own mean and variance, in any spelling.

    y = (x - mean) / sqrt(var + epsilon) * gamma + beta

TensorFlow writes x * inv + (beta - mean * inv) with inv = gamma / sqrt(var + epsilon). Means are written by
ReduceMean or, of images, by GlobalAveragePool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from optimizer.graph.rewriter import Builder, attribute
from optimizer.graph.sizes import Size, shape

if TYPE_CHECKING:
    import onnx_ir as ir

X = variable("x")
_MEAN = either(op("ReduceMean", X, name="mean"), op("GlobalAveragePool", X, name="mean"))
_CENTRED = either(op("Sub", X, _MEAN, name="centred"), op("Add", X, op("Neg", _MEAN), name="centred"))
_SQUARE = either(op("Mul", _CENTRED, _CENTRED), op("Pow", _CENTRED, number(2.0)))
_VARIANCE = either(
    op("ReduceMean", _SQUARE, name="variance"), op("GlobalAveragePool", _SQUARE, name="variance")
)
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


@dataclass(frozen=True)
class Normalization:
    """A normalization of a value of known rank."""

    x: ir.Value
    axes: tuple[int, ...]
    """Over which mean and variance go, in order; their sizes are fixed."""
    epsilon: float
    gamma: NDArray[Any] | None
    """One axis for each of x."""
    beta: NDArray[Any] | None
    found: Bindings
    sizes: tuple[Size, ...]
    """Of x."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of x."""
        return self.x.dtype.numpy() if self.x.dtype is not None else np.dtype(np.float32)

    def transposed(self, order: Sequence[int]) -> Normalization:
        """The same of x with its axes in another order."""
        gamma, beta = (
            None if weight is None else weight.transpose(order) for weight in (self.gamma, self.beta)
        )
        axes = tuple(sorted(order.index(axis) for axis in self.axes))
        return replace(
            self, axes=axes, gamma=gamma, beta=beta, sizes=tuple(self.sizes[each] for each in order)
        )


def read_normalization(value: ir.Value) -> Normalization | None:
    """Read a value as the last one of a normalization, or return None."""
    for pattern in _SPELLINGS:
        found = find(pattern, value)
        if found is None:
            continue
        x, sizes, axes = found["x"], shape(found["x"]), _axes(found["mean"], found["variance"])
        epsilon = array(found["epsilon"])
        if sizes is None or not axes or epsilon is None or epsilon.size != 1 or epsilon.ndim > len(sizes):
            return None
        weights = {name: _padded(array(found.get(name)), sizes) for name in ("gamma", "beta")}
        wide = any(name in found and weight is None for name, weight in weights.items())
        if wide or any(sizes[axis].symbols for axis in axes) or _is_continued(value, sizes):
            return None
        gamma, beta = weights["gamma"], weights["beta"]
        return Normalization(x, tuple(axes), float(epsilon.item()), gamma, beta, found, sizes)
    return None


def scaled_and_shifted(
    build: Builder, value: ir.Value, gamma: NDArray[Any] | None, beta: NDArray[Any] | None
) -> ir.Value:
    """Value * gamma + beta."""
    scaled = value if gamma is None else build("Mul", value, build.constant(gamma))
    return scaled if beta is None else build("Add", scaled, build.constant(beta))


def _axes(mean: ir.Value, variance: ir.Value) -> list[int] | None:
    """The axes that both average over and keep."""
    axes = []
    for node in (mean.producer(), variance.producer()):
        if node is None or attribute(node, "keepdims", 1) != 1:
            return None
        rank = len(shape(node.inputs[0]) or ())
        axes.append(list(range(2, rank)) if node.op_type == "GlobalAveragePool" else axes_of(node))
    return axes[0] if axes[0] == axes[1] else None


def _padded(weight: NDArray[Any] | None, sizes: tuple[Size, ...]) -> NDArray[Any] | None:
    """Gamma or beta with one axis for each of x; None where it would widen x."""
    if weight is None or weight.ndim > len(sizes):
        return None
    padded = weight.reshape((1,) * (len(sizes) - weight.ndim) + weight.shape)
    fits = all(length in (1, size.factor) for length, size in zip(padded.shape, sizes, strict=True))
    free = any(length > 1 and size.symbols for length, size in zip(padded.shape, sizes, strict=True))
    return padded if fits and not free else None


def _is_continued(value: ir.Value, sizes: tuple[Size, ...]) -> bool:
    """Whether the next node multiplies by gamma or adds beta: then the whole is matched from there."""
    users = list(value.uses())
    if len(users) != 1 or value.is_graph_output() or users[0].node.op_type not in ("Add", "Mul"):
        return False
    weights = [array(other) for other in users[0].node.inputs if other is not value]
    suits = all(_padded(weight, sizes) is not None for weight in weights)
    return suits and any(find(pattern, users[0].node.outputs[0]) for pattern in _SPELLINGS)

"""Writes Fourier transforms of a TFLite graph in real numbers, which is what ONNX has.

    RFFT2D    Re X = Ch (x Cw) - Sh (x Sw),  Im X = -(Ch (x Sw) + Sh (x Cw))
              with Ch, Cw = cos(2 pi jk/n) and Sh, Sw = sin(2 pi jk/n) along height and width
    moves     both parts alike
    real, imaginary part, conversion to a real type, absolute value    a, b, a, sqrt(a^2 + b^2)

Rows of the matrices beyond the transform's length are 0, where TFLite cuts its input; where it fills the
input with zeros, there are no rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.tflite_graph.flat_graph import FlatGraph

_MOVES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "GATHER", "TILE"}
_LARGEST = 1 << 24
"""Numbers in a matrix of waves."""


def without_complex_numbers(model: Any) -> bool:
    """Write the graphs of an unpacked file in real numbers, in place; whether there was a transform.

    A graph that does something else with complex numbers stays as it is.
    """
    found = False
    for graph in model.subgraphs:
        writer = _Writer(FlatGraph(model, graph))
        if any(writer.flat.kind(operator) == "RFFT2D" for operator in graph.operators) and writer.is_known():
            graph.operators = writer.write()
            found = True
    return found


class _Writer:
    def __init__(self, flat: FlatGraph) -> None:
        self.flat = flat
        self.parts: dict[int, tuple[int, int]] = {}
        """Complex tensor to its real and imaginary part."""
        self.written: list[Any] = []

    def is_known(self) -> bool:
        """Whether each operator on complex numbers has a rule."""
        tensors, graph = self.flat.graph.tensors, self.flat.graph
        complex_tensors = {i for i, t in enumerate(tensors) if t.type == schema.TensorType.COMPLEX64}
        if complex_tensors & {*graph.inputs, *graph.outputs}:
            return False
        for operator in graph.operators:
            if not complex_tensors & {*operator.inputs, *operator.outputs}:
                continue
            kind = self.flat.kind(operator)
            known = kind in _MOVES or kind in _RULES
            if kind == "RFFT2D":
                sizes, length = (
                    self.flat.shape(operator.inputs[0])[-2:],
                    self.flat.value(operator.inputs[1]),
                )
                known = length is not None and min(sizes) > 0 and _is_small(sizes, length)
            elif kind == "CAST":
                known = operator.inputs[0] in complex_tensors and operator.outputs[0] not in complex_tensors
            if not known:
                return False
        return True

    def write(self) -> list[Any]:
        """The operators of the new graph."""
        for operator in self.flat.graph.operators:
            kind = self.flat.kind(operator)
            if kind == "RFFT2D":
                self._transform(operator)
            elif not self.parts.keys() & set(operator.inputs):
                self.written.append(operator)
            elif kind in _MOVES:
                self._move(operator, kind)
            else:
                _RULES[kind](self, operator)
        return self.written

    def add(self, kind: str, *inputs: int, to: int | None = None, options: Any = None, like: int = 0) -> int:
        """One operator; what it gives, of the shape of one of its inputs unless it is said where to."""
        output = self._new(kind, self.flat.shape(inputs[like])) if to is None else to
        self.written.append(self.flat.operator(kind, inputs, [output], options))
        return output

    def _new(self, name: str, shape: list[int]) -> int:
        return self.flat.tensor(f"{name.lower()}_parts_{len(self.flat.graph.tensors)}", shape)

    def _transform(self, operator: Any) -> None:
        flat, (source, length), (target,) = self.flat, operator.inputs, operator.outputs
        shape, (rows, columns) = flat.shape(source), flat.value(length).tolist()  # type: ignore[union-attr]  # is_known
        cosine, sine = self._products(source, _waves(shape[-1], columns, columns // 2 + 1), transposed=False)
        if rows == 1 and shape[-2] == 1:
            self.parts[target] = cosine, self._negative(sine)
            return
        waves = _waves(shape[-2], rows, rows)
        (cos_cos, sin_cos), (cos_sin, sin_sin) = (
            self._products(part, waves, transposed=True) for part in (cosine, sine)
        )
        real = self.add("SUB", cos_cos, sin_sin, options=("SubOptions", schema.SubOptionsT()))
        self.parts[target] = real, self._negative(self._sum(cos_sin, sin_cos))

    def _products(self, source: int, waves: tuple[NDArray[Any], ...], *, transposed: bool) -> tuple[int, ...]:
        """x C and x S, or transposed C' x and S' x; the matrices are [taken, given]."""
        shape, found = self.flat.shape(source), []
        for matrix in waves:
            if transposed:
                constant = self.flat.constant(f"waves_{len(self.flat.graph.tensors)}", matrix.T.copy())
                pair, to = (constant, source), [*shape[:-2], matrix.shape[1], shape[-1]]
            else:
                constant = self.flat.constant(f"waves_{len(self.flat.graph.tensors)}", matrix)
                pair, to = (source, constant), [*shape[:-1], matrix.shape[1]]
            options = ("BatchMatMulOptions", schema.BatchMatMulOptionsT())
            found.append(self.add("BATCH_MATMUL", *pair, to=self._new("product", to), options=options))
        return tuple(found)

    def _negative(self, tensor: int) -> int:
        zero = self.flat.constant(f"zero_{len(self.flat.graph.tensors)}", np.zeros((), np.float32))
        return self.add("SUB", zero, tensor, options=("SubOptions", schema.SubOptionsT()), like=1)

    def _sum(self, a: int, b: int) -> int:
        return self.add("ADD", a, b, options=("AddOptions", schema.AddOptionsT()))

    def _move(self, operator: Any, kind: str) -> None:
        """The same operator on both parts."""
        (target,) = operator.outputs
        both = []
        for part in (0, 1):
            inputs = [self.parts[i][part] if i in self.parts else int(i) for i in operator.inputs]
            output = self._new(kind, self.flat.shape(target))
            made = self.flat.operator(kind, inputs, [output])
            made.builtinOptions, made.builtinOptionsType = (
                operator.builtinOptions,
                operator.builtinOptionsType,
            )
            self.written.append(made)
            both.append(output)
        self.parts[target] = both[0], both[1]

    def take_real(self, operator: Any) -> None:
        """The real part, in the type of the output."""
        self._take(operator, 0)

    def take_imaginary(self, operator: Any) -> None:
        """The imaginary part."""
        self._take(operator, 1)

    def _take(self, operator: Any, part: int) -> None:
        options = schema.CastOptionsT()
        options.inDataType = schema.TensorType.FLOAT32
        options.outDataType = self.flat.graph.tensors[operator.outputs[0]].type
        source = self.parts[operator.inputs[0]][part]
        self.add("CAST", source, to=operator.outputs[0], options=("CastOptions", options))

    def take_size(self, operator: Any) -> None:
        """The absolute value."""
        squares = [self.add("SQUARE", part) for part in self.parts[operator.inputs[0]]]
        self.add("SQRT", self._sum(*squares), to=operator.outputs[0])


_RULES: dict[str, Callable[[_Writer, Any], None]] = {
    "REAL": _Writer.take_real,
    "CAST": _Writer.take_real,
    "IMAG": _Writer.take_imaginary,
    "COMPLEX_ABS": _Writer.take_size,
}


def _is_small(sizes: list[int], length: NDArray[Any]) -> bool:
    rows, columns = length.tolist()
    return bool(max(sizes[0] * rows, sizes[1] * (columns // 2 + 1)) <= _LARGEST)


def _waves(taken: int, length: int, bins: int) -> tuple[NDArray[Any], ...]:
    """cos and sin of 2 pi jk/n: [taken, bins]; jk is reduced to below n first, where the angle is exact."""
    turns = np.outer(np.arange(taken), np.arange(bins)) % length
    angle = 2 * np.pi * turns / length
    sine = np.where(2 * turns % length == 0, 0, np.sin(angle))  # which floating-point pi misses
    inside = (np.arange(taken) < length)[:, None]
    return tuple(np.where(inside, wave, 0).astype(np.float32) for wave in (np.cos(angle), sine))

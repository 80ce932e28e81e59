"""Writes a graph with complex numbers as one with real numbers, which is what ONNX has.

A complex value becomes two real ones, and each operator what it does to them:

    move elements, add, sum        both parts alike
    (a + ib)(c + id)               ac - bd, ad + bc
    1/(c + id)                     c/n, -d/n       with n = c^2 + d^2
    abs, angle                     sqrt(a^2 + b^2), atan2(b, a)
    transform of length n          products with the matrices cos(2 pi jk/n) and sin(2 pi jk/n)

The matrices are constants where n is fixed. A loop or branch over complex values stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from optimizer.convert.tensorflow_graph.fourier import (
    Parts,
    crop_or_pad,
    inverse_real_transform,
    real_transform,
    transform,
)
from optimizer.errors import UnsupportedModelError

_REAL = {tf.complex64: tf.float32, tf.complex128: tf.float64}


def without_complex_numbers(graph_def: Any, ends: Iterable[str]) -> Any:
    """The same graph in real numbers; a graph without complex ones is returned as it is.

    Nodes of real values keep their names. An operator without a rule keeps complex inputs, which tf2onnx
    has no converter for.

    Args:
        graph_def: A graph.
        ends: Tensors that go in and come out.

    Raises:
        UnsupportedModelError: If one of these is complex.
    """
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    if not any(tensor.dtype.is_complex for op in graph.get_operations() for tensor in op.outputs):
        return graph_def
    for end in ends:
        if graph.get_tensor_by_name(end).dtype.is_complex:
            raise UnsupportedModelError(
                f"The model takes or gives complex numbers ({end}), and ONNX has none.",
                hint="Save it with real and imaginary part apart (tf.math.real, tf.math.imag).",
            )
    with tf.Graph().as_default() as written:
        library = type(graph_def)(library=graph_def.library, versions=graph_def.versions)
        tf.import_graph_def(library, name="")
        writer = _Writer(written)
        for op in graph.get_operations():
            writer.write(op)
    return written.as_graph_def(add_shapes=False)


class _Writer:
    """The graph that is being written: of each tensor of the old one, its tensor or its two parts."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.values: dict[str, Any] = {}

    def write(self, op: Any) -> None:
        """Write one operator of the old graph."""
        given = [self.values[tensor.name] for tensor in op.inputs]
        complex_outputs = any(tensor.dtype.is_complex for tensor in op.outputs)
        rule = _RULES.get(op.type)
        if op.type in _BOTH_ALIKE and complex_outputs:
            made: Sequence[Any] = self._alike(op, given)
        elif rule is not None and (complex_outputs or any(isinstance(value, tuple) for value in given)):
            with self.graph.name_scope(f"{op.name}_parts/"):
                made = [rule(op, *given)]
        else:
            made = self._copy(op, [_joined(value) for value in given], op.name, op.node_def.attr)
            made = [_split(value) if value.dtype.is_complex else value for value in made]
        for tensor, value in zip(op.outputs, made, strict=True):
            if not isinstance(value, tuple) and value.name != tensor.name:
                value = tf.identity(value, name=f"{op.name}/")  # the name without the slash
            self.values[tensor.name] = value

    def _alike(self, op: Any, given: Sequence[Any]) -> list[Parts]:
        """The same operator on both parts."""
        attributes = {name: _real_attribute(value) for name, value in op.node_def.attr.items()}
        parts = []
        for index, part in enumerate(("real", "imaginary")):
            inputs = [value[index] if isinstance(value, tuple) else value for value in given]
            parts.append(self._copy(op, inputs, f"{op.name}_parts/{part}", attributes))
        return list(zip(*parts, strict=True))

    def _copy(self, op: Any, inputs: Sequence[Any], name: str, attributes: Any) -> list[Any]:
        types = [
            _REAL.get(t.dtype, t.dtype) if attributes is not op.node_def.attr else t.dtype for t in op.outputs
        ]
        copy = self.graph.create_op(op.type, list(inputs), types, name=f"{name}/", attrs=dict(attributes))
        return list(copy.outputs)


def _real_attribute(value: Any) -> Any:
    kind = tf.as_dtype(value.type) if value.type else None
    return type(value)(type=_REAL[kind].as_datatype_enum) if kind in _REAL else value


def _joined(value: Any) -> Any:
    return tf.complex(*value) if isinstance(value, tuple) else value


def _split(value: Any) -> Parts:
    return tf.math.real(value), tf.math.imag(value)


def _const(op: Any) -> Any:
    value = tf.make_ndarray(op.node_def.attr["value"].tensor)
    return tf.constant(value.real), tf.constant(value.imag)


def _cast(op: Any, value: Any) -> Any:
    target = op.outputs[0].dtype
    if not target.is_complex:
        return tf.cast(value[0], target)
    if isinstance(value, tuple):
        return tuple(tf.cast(part, _REAL[target]) for part in value)
    real = tf.cast(value, _REAL[target])
    return real, tf.zeros_like(real)


def _multiply(a: Parts, b: Parts) -> Parts:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _invert(a: Parts) -> Parts:
    size = a[0] * a[0] + a[1] * a[1]
    return a[0] / size, -a[1] / size


def _matmul(op: Any, a: Parts, b: Parts) -> Parts:
    first, second = ("adj_x", "adj_y") if "adj_x" in op.node_def.attr else ("transpose_a", "transpose_b")
    flip_a, flip_b = op.get_attr(first), op.get_attr(second)
    if first == "adj_x":  # the adjoint is the transpose of the conjugate
        a = (a[0], -a[1]) if flip_a else a
        b = (b[0], -b[1]) if flip_b else b

    def product(x: Any, y: Any) -> Any:
        return tf.matmul(x, y, transpose_a=flip_a, transpose_b=flip_b)

    real = product(a[0], b[0]) - product(a[1], b[1])
    return real, product(a[0], b[1]) + product(a[1], b[0])


def _absolute(a: Parts) -> Any:
    return tf.sqrt(a[0] * a[0] + a[1] * a[1])


def _exponential(a: Parts) -> Parts:
    size = tf.exp(a[0])
    return size * tf.cos(a[1]), size * tf.sin(a[1])


def _square_root(a: Parts) -> Parts:
    """With t = sqrt((|a| + |re|)/2): t + i im/2t where re is positive, else |im|/2t + i t with im's sign."""
    root = tf.sqrt((_absolute(a) + tf.abs(a[0])) / 2)
    other = tf.math.divide_no_nan(tf.abs(a[1]) / 2, root)
    right = a[0] >= 0
    imaginary = tf.where(right, other, root)
    return tf.where(right, root, other), tf.where(a[1] < 0, -imaginary, imaginary)


def _rfft(op: Any, value: Any, length: Any) -> Parts:
    size = _sizes(op, length)
    if op.type == "RFFT2D":
        value = crop_or_pad(value, size[0], -2)
    real, imaginary = real_transform(value, size[-1])
    if op.type == "RFFT2D":
        return transform((real, imaginary), -2, inverse=False)
    return real, imaginary


def _irfft(op: Any, value: Parts, length: Any) -> Any:
    size = _sizes(op, length)
    if op.type == "IRFFT2D":
        value = (crop_or_pad(value[0], size[0], -2), crop_or_pad(value[1], size[0], -2))
        value = transform(value, -2, inverse=True)
    return inverse_real_transform(value, size[-1])


def _sizes(op: Any, length: Any) -> list[Any]:
    """The lengths of a transform: numbers where they are known."""
    known = tf.get_static_value(op.inputs[1])
    return list(map(int, known)) if known is not None else tf.unstack(length)


def _fft(op: Any, value: Parts) -> Parts:
    for axis in range(-2 if op.type.endswith("2D") else -1, 0):
        value = transform(value, axis, inverse=op.type.startswith("I"))
    return value


# Operators that do to the real part and to the imaginary part what they do to a real value.
_BOTH_ALIKE = frozenset(
    {
        "Add", "AddN", "AddV2", "BatchToSpaceND", "BroadcastTo", "ConcatV2", "Cumsum", "ExpandDims", "Fill",
        "GatherNd", "GatherV2", "Identity", "MatrixDiagV3", "Mean", "MirrorPad", "Neg", "Pack", "Pad",
        "PadV2", "Reshape", "ReverseV2", "Roll", "Select", "SelectV2", "Slice", "SpaceToBatchND", "Split",
        "SplitV", "Squeeze", "StridedSlice", "Sub", "Sum", "Tile", "Transpose", "Unpack", "ZerosLike",
    }
)  # fmt: skip

_RULES: dict[str, Callable[..., Any]] = {
    "Angle": lambda _, a: tf.atan2(a[1], a[0]),
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "Cast": _cast,
    "Complex": lambda _, real, imaginary: (real, imaginary),
    "ComplexAbs": lambda _, a: _absolute(a),
    "Conj": lambda _, a: (a[0], -a[1]),
    "ConjugateTranspose": lambda _, a, order: (tf.transpose(a[0], order), -tf.transpose(a[1], order)),
    "Const": _const,
    "Exp": lambda _, a: _exponential(a),
    "FFT": _fft,
    "FFT2D": _fft,
    "IFFT": _fft,
    "IFFT2D": _fft,
    "IRFFT": _irfft,
    "IRFFT2D": _irfft,
    "Imag": lambda _, a: a[1],
    "Log": lambda _, a: (tf.math.log(_absolute(a)), tf.atan2(a[1], a[0])),
    "MatMul": _matmul,
    "Mul": lambda _, a, b: _multiply(a, b),
    "RFFT": _rfft,
    "RFFT2D": _rfft,
    "Rank": lambda _, a: tf.rank(a[0]),
    "Real": lambda _, a: a[0],
    "RealDiv": lambda _, a, b: _multiply(a, _invert(b)),
    "Reciprocal": lambda _, a: _invert(a),
    "Shape": lambda op, a: tf.shape(a[0], out_type=op.outputs[0].dtype),
    "Size": lambda op, a: tf.size(a[0], out_type=op.outputs[0].dtype),
    "Sqrt": lambda _, a: _square_root(a),
    "Square": lambda _, a: _multiply(a, a),
}

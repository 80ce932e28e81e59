"""Converters of image resizing, as two matrix products: out[y, x] = sum_ij rows[y, i] columns[x, j] in[i, j].

The matrices follow TensorFlow's kernels to the last bit that matters: ONNX's own Resize has no lanczos,
gaussian or area mode, antialiases from opset 18 on only, and ONNX Runtime's cubic mode takes no NHWC images
and no table of coefficients. Where all sizes are fixed the matrices are constants.

With o and i the numbers of an output and an input pixel, s = output size / input size, and t a translation:

    ScaleAndTranslate   w(o, i) = k((i + 0.5 - c) / r) / (sum over i), c = (o + 0.5 - t) / s, r = max(1/s, 1)
                        where it antialiases, else 1; all 0 where c lies outside of the image
    ResizeBicubic       w(o, i) = the cubic kernel at i - c, with c's fraction rounded to 1/1024
    ResizeArea          w(o, i) = the part of input pixel i that output pixel o covers

Reference: tensorflow/core/kernels/image (scale_and_translate_op.cc, resize_bicubic_op.cc, resize_area_op.cc).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset.nn import Resize

from optimizer.convert.op_converters.formula import Formula, Operand

_FLOAT = onnx.TensorProto.FLOAT
_TABLE_SIZE = np.float32(1024)
_TINY = np.float32(1000 * np.finfo(np.float32).tiny)


def _f(value: float) -> Operand:
    return np.array(value, np.float32)


def _polynomial(formula: Formula, x: Operand, *coefficients: float) -> Operand:
    """Horner's rule, the highest power first."""
    result: Operand = _f(coefficients[0])
    for coefficient in coefficients[1:]:
        result = formula("Add", formula("Mul", result, x), _f(coefficient))
    return result


def _pieces(formula: Formula, x: Operand, near: Operand, far: Operand) -> Operand:
    """`near` up to 1, `far` up to 2, then 0."""
    beyond = formula("Where", formula("Less", x, _f(2)), far, _f(0))
    return formula("Where", formula("Less", x, _f(1)), near, beyond)


def _box(formula: Formula, x: Operand) -> Operand:
    edge = formula("Where", formula("Equal", x, _f(0.5)), _f(0.5), _f(0))
    return formula("Where", formula("Less", x, _f(0.5)), _f(1), edge)


def _triangle(formula: Formula, x: Operand) -> Operand:
    return formula("Max", formula("Sub", _f(1), x), _f(0))


def _keys_cubic(formula: Formula, x: Operand, a: float = -0.5) -> Operand:
    near = _polynomial(formula, x, a + 2, -(a + 3), 0, 1)
    return _pieces(formula, x, near, _polynomial(formula, x, a, -5 * a, 8 * a, -4 * a))


def _mitchell_cubic(formula: Formula, x: Operand) -> Operand:
    near = _polynomial(formula, x, 7 / 6, -2, 0, 8 / 9)
    return _pieces(formula, x, near, _polynomial(formula, x, -7 / 18, 2, -10 / 3, 16 / 9))


def _gaussian(formula: Formula, x: Operand) -> Operand:
    bell = formula("Exp", formula("Mul", formula("Mul", x, x), _f(-2)))
    return formula("Where", formula("Less", x, _f(1.5)), bell, _f(0))


def _lanczos(radius: float) -> Callable[[Formula, Operand], Operand]:
    def kernel(formula: Formula, x: Operand) -> Operand:
        small = formula("LessOrEqual", x, _f(1e-3))
        safe = formula("Where", small, _f(1), x)  # no 0/0
        angle = formula("Mul", safe, _f(np.pi))
        waves = formula("Mul", formula("Sin", angle), formula("Sin", formula("Div", angle, _f(radius))))
        value = formula("Div", formula("Mul", waves, _f(radius)), formula("Mul", angle, angle))
        inside = formula("Where", formula("LessOrEqual", x, _f(radius)), value, _f(0))
        return formula("Where", small, _f(1), inside)

    return kernel


_KERNELS: dict[str, Callable[[Formula, Operand], Operand]] = {
    "box": _box,
    "triangle": _triangle,
    "keyscubic": _keys_cubic,
    "mitchellcubic": _mitchell_cubic,
    "gaussian": _gaussian,
    "lanczos1": _lanczos(1.0),
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}


@dataclass(frozen=True)
class _Axis:
    """One axis of the image: the sizes, as int64 scalars."""

    formula: Formula
    size: Operand
    """Of the input."""
    target: Operand
    """Of the output."""

    def outputs(self) -> Operand:
        """The numbers of the output's pixels: float32[target, 1]."""
        numbers = self.formula("Range", np.int64(0), self.target, np.int64(1))
        return self.formula.unsqueeze(self.formula.cast(numbers, _FLOAT), 1)

    def inputs(self) -> Operand:
        """The numbers of the input's pixels: float32[size]."""
        return self.formula.cast(self.formula("Range", np.int64(0), self.size, np.int64(1)), _FLOAT)

    def pixels_per_output(self, *, align_corners: bool) -> Operand:
        """1/s; with aligned corners both ends of both grids lie on each other."""
        formula = self.formula
        size, target = formula.cast(self.size, _FLOAT), formula.cast(self.target, _FLOAT)
        if not align_corners:
            return formula("Div", size, target)
        steps = formula("Max", formula("Sub", target, _f(1)), _f(1))
        aligned = formula("Div", formula("Sub", size, _f(1)), steps)
        return formula("Where", formula("Greater", target, _f(1)), aligned, formula("Div", size, target))

    def normalized(self, weights: Operand) -> Operand:
        """Weights that sum to 1 over each output's inputs, where they do not cancel."""
        formula = self.formula
        total = formula.sum(weights, -1, keep=True)  # [target, 1]
        empty = formula("Less", formula("Abs", total), _TINY)
        shares = formula("Div", weights, formula("Where", empty, _f(1), total))
        return formula("Where", empty, _f(0), shares)


def _axes(formula: Formula, node: Any) -> tuple[_Axis, _Axis]:
    """Height and width of NHWC images, and of the size that the second input gives."""
    targets = formula.known(node.input[1])
    sizes = [formula.size(node.input[0], axis) for axis in (1, 2)]
    if isinstance(targets, str):
        wide = formula.cast(targets, onnx.TensorProto.INT64)
        found = [formula("Gather", wide, np.array(index, np.int64), axis=0) for index in (0, 1)]
    else:
        found = [np.array(target, np.int64) for target in np.asarray(targets)]
    height, width = (_Axis(formula, size, target) for size, target in zip(sizes, found, strict=True))
    return height, width


def _apply(formula: Formula, node: Any, rows: Operand, columns: Operand) -> None:
    """Both products: [b, h, w, c] -> [b, c, h, w] -> [b, c, H, w] -> [b, c, H, W] -> [b, H, W, c].

    With the channels first the second is one product for all rows, and the Transposes meet those of
    neighbours.
    """
    images = formula("Transpose", formula.cast(node.input[0], _FLOAT), perm=[0, 3, 1, 2])
    right = formula("Transpose", columns, perm=[1, 0]) if isinstance(columns, str) else columns.T  # [w, W]
    wide = formula("MatMul", formula("MatMul", rows, images), right)
    formula.replace(node, formula("Transpose", wide, perm=[0, 2, 3, 1]))


@tf_op("ScaleAndTranslate")
class ScaleAndTranslate:
    """tf.image.resize and Keras's Resizing with antialiasing or with lanczos, gaussian or mitchellcubic."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        kernel = node.get_attr_value("kernel_type", b"lanczos3")
        kernel = kernel.decode() if isinstance(kernel, bytes) else kernel
        antialias = bool(node.get_attr_value("antialias", True))
        scale, shift = formula.known(node.input[2]), formula.known(node.input[3])
        matrices = []
        for index, axis in enumerate(_axes(formula, node)):
            step = formula("Div", _f(1), _element(formula, scale, index))
            first = formula("Mul", formula("Neg", step), _element(formula, shift, index))
            widening = formula("Max", step, _f(1)) if antialias else _f(1)
            center = formula("Add", formula("Mul", formula("Add", axis.outputs(), _f(0.5)), step), first)
            offset = formula("Sub", formula("Add", axis.inputs(), _f(0.5)), center)  # [target, size]
            distance = formula("Abs", formula("Mul", offset, formula("Div", _f(1), widening)))
            weights = axis.normalized(_KERNELS[kernel](formula, distance))
            size = formula.cast(axis.size, _FLOAT)
            outside = formula("Or", formula("Less", center, _f(0)), formula("Greater", center, size))
            matrices.append(formula("Where", outside, _f(0), weights))
        _apply(formula, node, *matrices)


def _element(formula: Formula, vector: Operand, index: int) -> Operand:
    if not isinstance(vector, str):
        return np.asarray(np.asarray(vector)[index], np.float32)
    return formula("Gather", vector, np.array(index, np.int64), axis=0)


@tf_op("ResizeBicubic")
class ResizeBicubic:
    """Four taps an axis, their coefficients out of a table of 1024 positions between two pixels.

    Half pixel centers: Keys' kernel (a = -0.5), taps outside of the image left out and the rest normalized;
    else a = -0.75, and the pixels at the edge stand in for what is outside.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        half = bool(node.get_attr_value("half_pixel_centers", False))
        aligned = bool(node.get_attr_value("align_corners", False))
        _apply(formula, node, *(_cubic(axis, half, aligned) for axis in _axes(formula, node)))


def _cubic(axis: _Axis, half: bool, aligned: bool) -> Operand:
    formula, step = axis.formula, axis.pixels_per_output(align_corners=aligned)
    if half:
        scaled = formula("Mul", formula("Add", axis.outputs(), _f(0.5)), step)
        center = formula("Sub", scaled, _f(0.5))
    else:
        center = formula("Mul", axis.outputs(), step)  # [target, 1]
    base = formula("Floor", center)
    fraction = formula("Sub", center, base)
    fraction = formula("Div", formula("Round", formula("Mul", fraction, _TABLE_SIZE)), _TABLE_SIZE)
    last = formula("Sub", formula.cast(axis.size, _FLOAT), _f(1))
    total: Operand = _f(0)
    for tap in (-1, 0, 1, 2):
        weight = _keys_cubic(
            formula, formula("Abs", formula("Sub", _f(tap), fraction)), -0.5 if half else -0.75
        )
        place = formula("Add", base, _f(tap))
        if not half:
            place = formula("Max", formula("Min", place, last), _f(0))
        here = formula("Where", formula("Equal", place, axis.inputs()), weight, _f(0))  # [target, size]
        total = formula("Add", total, here)
    return axis.normalized(total) if half else total


@tf_op("ResizeArea")
class ResizeArea:
    """The mean of the input over the rectangle that an output pixel covers; tf2onnx samples one pixel."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        aligned = bool(node.get_attr_value("align_corners", False))
        matrices = []
        for axis in _axes(formula, node):
            step = axis.pixels_per_output(align_corners=aligned)
            start = formula("Mul", axis.outputs(), step)
            end = formula("Mul", formula("Add", axis.outputs(), _f(1)), step)
            pixel = axis.inputs()
            last = formula("Sub", formula.cast(axis.size, _FLOAT), _f(1))
            # With aligned corners the last rectangle leaves the image: the last pixel stands in for the rest.
            is_last = formula("Equal", pixel, last)
            upper = formula("Min", formula("Add", pixel, _f(1)), end)
            upper = formula("Where", is_last, end, upper)
            covered = formula("Max", formula("Sub", upper, formula("Max", pixel, start)), _f(0))
            matrices.append(formula("Div", covered, step))
        _apply(formula, node, *matrices)


@tf_op("ResizeBilinear")
class ResizeBilinear:
    """tf2onnx's own, of float32 images: TensorFlow gives float32 for images of any type."""

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        if ctx.get_dtype(node.input[0]) != _FLOAT:
            utils.make_sure(ctx.get_dtype(node.output[0]) == _FLOAT, "a bilinear resize gives float32")
            images = ctx.insert_new_node_on_input(node, "Cast", node.input[0], input_index=0, to=_FLOAT)
            ctx.set_dtype(images.output[0], _FLOAT)
        Resize.version_11(ctx, node, **fields)

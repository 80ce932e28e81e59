"""Converters between RGB and HSV, and of changes of saturation, on the last axis of three channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of


def _channels(formula: Formula, images: Operand) -> list[Operand]:
    """The three channels, each [..., 1]."""
    return [formula("Slice", images, np.array([n]), np.array([n + 1]), np.array([-1])) for n in range(3)]


def _hsv(formula: Formula, images: Operand, number: Any) -> list[Operand]:
    """Hue in [0, 1), saturation and value.

    v = max; s = (max - min) / max, or 0 where max <= 0; h = the place on the circle of six colours:
    (g - b) / d at red, 2 + (b - r) / d at green, 4 + (r - g) / d at blue, over 6, with d = max - min.
    """
    red, green, blue = _channels(formula, images)
    value = formula("Max", red, green, blue)
    span = formula("Sub", value, formula("Min", red, green, blue))
    lit = formula("Greater", value, number(0))
    saturation = formula(
        "Where", lit, formula("Div", span, formula("Where", lit, value, number(1))), number(0)
    )
    grey = formula("Equal", span, number(0))
    norm = formula("Div", number(1 / 6), formula("Where", grey, number(1), span))
    at_red = formula("Mul", norm, formula("Sub", green, blue))
    at_green = formula("Add", formula("Mul", norm, formula("Sub", blue, red)), number(2 / 6))
    at_blue = formula("Add", formula("Mul", norm, formula("Sub", red, green)), number(4 / 6))
    hue = formula("Where", formula("Equal", green, value), at_green, at_blue)
    hue = formula("Where", formula("Equal", red, value), at_red, hue)
    hue = formula("Where", grey, number(0), hue)
    hue = formula("Where", formula("Less", hue, number(0)), formula("Add", hue, number(1)), hue)
    return [hue, saturation, value]


def _rgb(formula: Formula, channels: list[Operand], number: Any) -> Operand:
    """v (1 - s + s clip(ramp, 0, 1)), with the ramps |6h - 3| - 1, 2 - |6h - 2|, 2 - |6h - 4|."""
    hue, saturation, value = channels
    place = formula("Mul", hue, number(6))
    ramps = [
        formula("Sub", formula("Abs", formula("Sub", place, number(3))), number(1)),
        formula("Sub", number(2), formula("Abs", formula("Sub", place, number(2)))),
        formula("Sub", number(2), formula("Abs", formula("Sub", place, number(4)))),
    ]
    clear = formula("Sub", number(1), saturation)
    mixed = []
    for ramp in ramps:
        clipped = formula("Min", formula("Max", ramp, number(0)), number(1))
        mixed.append(formula("Mul", formula("Add", clear, formula("Mul", saturation, clipped)), value))
    return formula("Concat", *mixed, axis=-1)


@tf_op("RGBToHSV")
class RgbToHsv:
    """tf.image.rgb_to_hsv."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        parts = _hsv(formula, node.input[0], dtype_of(ctx, node.input[0]))
        formula.replace(node, formula("Concat", *parts, axis=-1))


@tf_op("HSVToRGB")
class HsvToRgb:
    """tf.image.hsv_to_rgb."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        channels = _channels(formula, node.input[0])
        formula.replace(node, _rgb(formula, channels, dtype_of(ctx, node.input[0])))


@tf_op("AdjustSaturation")
class AdjustSaturation:
    """Through HSV, with s clip(s * factor, 0, 1)."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, number = Formula(ctx), dtype_of(ctx, node.input[0])
        hue, saturation, value = _hsv(formula, node.input[0], number)
        scaled = formula("Mul", saturation, node.input[1])
        clipped = formula("Min", formula("Max", scaled, number(0)), number(1))
        formula.replace(node, _rgb(formula, [hue, clipped, value], number))

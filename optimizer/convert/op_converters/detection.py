"""TFLite's detection post-processing: boxes decoded from their anchors, and chosen by suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx.handler import tfl_op
from tf2onnx.tflite_handlers.tfl_postprocess import TflDetectionPostProcess

from optimizer.convert.op_converters.formula import Formula, Operand

_TO_END = np.iinfo(np.int64).max
_ROWS = np.array([1, -1, 4], np.int64)


@tfl_op("TFL_TFLite_Detection_PostProcess")
class DetectionPostProcess:
    """The boxes b_i with the highest scores, each with its best classes; overlapping ones are suppressed.

        center = encoded[:2] / scale[:2] * anchor[2:] + anchor[:2]
        half   = exp(encoded[2:] / scale[2:]) * anchor[2:] / 2
        b      = (center - half, center + half)

    In its fast form, the usual one, boxes suppress each other whatever their classes, by the best score of
    each; tf2onnx compares them class by class, as the regular form does. `max_detections` boxes with
    `max_classes_per_detection` slots each come out; the slots that are left are 0.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **options: Any) -> None:
        """Convert one node."""
        if node.get_attr_value("use_regular_nms", False):
            TflDetectionPostProcess.version_11(ctx, node, **options)
            return
        formula = Formula(ctx)
        boxes = _decoded(formula, node)  # [1, n, 4]
        classes = int(node.get_attr_value("num_classes"))
        kept = min(int(node.get_attr_value("max_classes_per_detection", 1)), classes)
        # A first column may stand for "other".
        scores = _last(formula, node.input[1], -classes, _TO_END)  # [1, n, classes]
        best, which = ctx.make_node(  # [1, n, kept], the highest first
            "TopK", [formula.name(scores), formula.name(np.array([kept], np.int64))], output_count=2
        ).output
        limit = int(node.get_attr_value("max_detections"))
        chosen = formula(
            "NonMaxSuppression",
            boxes,
            formula("Transpose", _last(formula, best, 0, 1), perm=[0, 2, 1]),  # [1, 1, n]
            np.array([limit], np.int64),
            np.array([node.get_attr_value("nms_iou_threshold")], np.float32),
            np.array([node.get_attr_value("nms_score_threshold")], np.float32),
        )  # [found, 3]: batch, class, box
        index = formula("Gather", chosen, np.array(2, np.int64), axis=1)  # [found]
        repeated = formula("Gather", boxes, index, axis=1)  # [1, found, 4]
        if kept > 1:  # one slot per class: [1, found, 4 * kept] -> [1, found * kept, 4]
            repeated = formula("Reshape", formula("Tile", repeated, np.array([1, 1, kept], np.int64)), _ROWS)
        results = (
            _padded(formula, repeated, limit * kept),
            _padded(formula, _slots(formula, which, index), limit * kept),
            _padded(formula, _slots(formula, best, index), limit * kept),
            formula("Shape", index),
        )
        _replace(formula, node, results)


def _decoded(formula: Formula, node: Any) -> Operand:
    encoded, anchors = node.input[0], node.input[2]
    scale = np.array([node.get_attr_value(f"{axis}_scale") for axis in "yxhw"], np.float32)
    scaled = formula("Div", encoded, scale)
    middle, size = _last(formula, anchors, 0, 2), _last(formula, anchors, 2, 4)  # [n, 2]
    center = formula("Add", formula("Mul", _last(formula, scaled, 0, 2), size), middle)
    extent = formula("Mul", formula("Exp", _last(formula, scaled, 2, 4)), size)
    half = formula("Mul", extent, np.array(0.5, np.float32))
    return formula("Concat", formula("Sub", center, half), formula("Add", center, half), axis=-1)


def _last(formula: Formula, operand: Operand, start: int, end: int) -> Operand:
    """A part of the last axis."""
    return formula("Slice", operand, *(np.array([number], np.int64) for number in (start, end, -1)))


def _slots(formula: Formula, values: str, index: Operand) -> Operand:
    """The values of the chosen boxes, one after another: [1, n, kept] -> float32[1, found * kept]."""
    chosen = formula("Gather", formula.cast(values, onnx.TensorProto.FLOAT), index, axis=1)
    return formula("Reshape", chosen, np.array([1, -1], np.int64))


def _padded(formula: Formula, values: Operand, slots: int) -> Operand:
    """The values with zeros behind them, up to a number of slots along the second axis."""
    name = formula.name(values)
    missing = formula("Sub", np.array(slots, np.int64), formula.size(name, 1))
    zero = np.array(0, np.int64)
    rank = len(formula.graph.get_shape(name))
    behind = [missing if axis == 1 else zero for axis in range(rank)]
    return formula("Pad", name, formula.vector(*[zero] * rank, *behind))


def _replace(formula: Formula, node: Any, results: tuple[Operand, ...]) -> None:
    """Let the results take the place of a node's outputs."""
    outputs = [
        (name, formula.cast(result, dtype), shape, dtype)
        for name, result, shape, dtype in zip(
            node.output, results, node.output_shapes, node.output_dtypes, strict=True
        )
    ]
    formula.graph.remove_node(node.name)
    for name, result, shape, dtype in outputs:
        formula.graph.make_node(
            "Identity", [formula.name(result)], outputs=[name], shapes=[shape], dtypes=[dtype]
        )

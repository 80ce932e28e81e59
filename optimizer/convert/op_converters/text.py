"""Converters of operators on texts: into custom operators of onnxruntime-extensions, where that is asked for.

tf2onnx has converters of its own for some of them, which take the library for TensorFlow's equal. It is not
(version 0.15): its StringSplit cuts at any byte of the separator, at each byte where that is empty, and has
no part for an empty text; its StringJoin crashes on no texts; its StringToHashBucketFast is no FarmHash any
more, but whatever the C++ library hashes with. So none of tf2onnx's is kept.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tf2onnx import constants, utils
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset import logical

from optimizer.convert.op_converters.formula import Formula, Operand

DOMAIN: str = constants.CONTRIB_OPS_DOMAIN

for _operators in tf_op.get_opsets()[DOMAIN]:
    _operators.clear()

_WHITESPACE = " \t\n\v\f\r"
_BOOL, _INT64, _STRING = onnx.TensorProto.BOOL, onnx.TensorProto.INT64, onnx.TensorProto.STRING


def _texts(*values: str) -> NDArray[Any]:
    return np.array(values, object)


def _replace_all(formula: Formula, texts: Operand, pattern: str, rewrite: str, *, once: bool = False) -> str:
    """RE2's replacement, as TensorFlow has it: the library's is the same RE2."""
    operands = [formula.name(operand) for operand in (texts, _texts(pattern), _texts(rewrite))]
    attributes = {"global_replace": int(not once)}
    return _custom(formula, "StringRegexReplace", operands, [_STRING], attributes)[0]


def _custom(
    formula: Formula,
    operator: str,
    operands: list[str],
    dtypes: list[int],
    attributes: dict[str, int] | None = None,
) -> list[str]:
    """The outputs of an operator of onnxruntime-extensions."""
    made = formula.graph.make_node(
        operator,
        operands,
        attr=attributes or {},
        domain=DOMAIN,
        output_count=len(dtypes),
        dtypes=dtypes,
        shapes=[None] * len(dtypes),
    )
    return list(made.output)


def _constant_text(formula: Formula, name: str, what: str) -> str:
    value = formula.known(name)
    utils.make_sure(not isinstance(value, str) and np.size(value) == 1, f"the {what} is not constant")
    text = np.asarray(value).reshape(-1)[0]
    return text.decode() if isinstance(text, bytes) else str(text)


def _attribute(node: Any, name: str) -> str:
    value = node.get_attr_value(name, b"")
    return value.decode() if isinstance(value, bytes) else str(value)


@tf_op(["StringLower", "StringUpper"])
class StringCase:
    """ASCII letters in lower or upper case, all else as it is.

    ONNX's own StringNormalizer in the locale "C", which is there on each machine and has no other letters.
    """

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        utils.make_sure(not _attribute(node, "encoding"), "letters beyond ASCII change their case, too")
        flat = formula("Reshape", node.input[0], np.array([-1], np.int64))
        action = node.type.removeprefix("String").upper()
        flat = formula("StringNormalizer", flat, case_change_action=action, locale="C")
        formula.replace(node, formula("Reshape", flat, formula("Shape", node.input[0])))


@tf_op(["Equal", "NotEqual"])
class Equal:
    """Texts are compared with a constant by a table of one entry; all other types as tf2onnx has them."""

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        if ctx.get_dtype(node.input[0]) != _STRING:
            logical.Equal.version_11(ctx, node, **fields)
            return
        formula = Formula(ctx)
        sides = [formula.known(name) for name in node.input]
        free = [side for side in sides if isinstance(side, str)]
        constant = [side for side in sides if not isinstance(side, str) and side.size == 1]
        utils.make_sure(len(free) == len(constant) == 1, "texts are compared that are no constants")
        same, different = (1, 0) if node.type == "Equal" else (0, 1)
        entry = constant[0].reshape(-1)[0]
        attributes = {
            "cats_strings": [entry if isinstance(entry, bytes) else str(entry).encode()],
            "cats_int64s": [same],
            "default_int64": different,
        }
        # Not LabelEncoder: behind an operator without shape inference, ONNX's own crashes at that one.
        found = ctx.make_node(
            "CategoryMapper", free, attr=attributes, domain=constants.AI_ONNX_ML_DOMAIN, dtypes=[_INT64]
        )
        formula.replace(node, formula.cast(str(found.output[0]), _BOOL))


@tf_op(["Equal", "NotEqual"], domain=DOMAIN)
class EqualWithLibrary:
    """As without the library: its StringEqual does not broadcast as TensorFlow does."""

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        Equal.version_11(ctx, node, **fields)


@tf_op("StaticRegexReplace", domain=DOMAIN)
class StaticRegexReplace:
    """What a pattern of RE2 matches is rewritten, everywhere or once."""

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        pattern, rewrite = _attribute(node, "pattern"), _attribute(node, "rewrite")
        utils.make_sure(pattern, "an empty pattern")
        once = not node.get_attr_value("replace_global", True)
        formula = Formula(ctx)
        formula.replace(node, _replace_all(formula, node.input[0], pattern, rewrite, once=once))


@tf_op("StringStrip", domain=DOMAIN)
class StringStrip:
    """The text without ASCII whitespace at its ends."""

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        pattern = rf"\A[{_WHITESPACE}]+|[{_WHITESPACE}]+\z"
        formula.replace(node, _replace_all(formula, node.input[0], pattern, ""))


@tf_op(["StringSplit", "StringSplitV2"], domain=DOMAIN)
class StringSplit:
    """The parts of texts [n] between separators: indices [parts, 2], parts [parts], shape [2].

    Without a separator, whitespace divides, and there are no empty parts. With one, an empty text has one
    empty part, where the library has none: so each text is begun with a separator, and the first of its
    parts, which is always empty, left out.
    """

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        separator = _constant_text(formula, node.input[1], "separator")
        if node.type == "StringSplit":  # of TensorFlow 1: each byte of the separator divides
            skips = node.get_attr_value("skip_empty", True)
            utils.make_sure(skips and separator, "empty parts are kept, or each byte is a part")
            found = cls._split(formula, node.input[0], separator, skip_empty=True)
        else:
            utils.make_sure(node.get_attr_value("maxsplit", -1) < 0, "the number of parts is limited")
            utils.make_sure(len(separator.encode()) < 2, "the separator is longer than one byte")
            if separator:
                found = cls._with_empty_parts(formula, node.input[0], separator)
            else:
                found = cls._split(formula, node.input[0], _WHITESPACE, skip_empty=True)
        outputs, shapes, dtypes = list(node.output), node.output_shapes, node.output_dtypes
        ctx.remove_node(node.name)
        for value, output, shape, dtype in zip(found, outputs, shapes, dtypes, strict=True):
            place = {"outputs": [output], "shapes": [shape], "dtypes": [dtype]}
            ctx.make_node("Identity", [formula.name(value)], **place)

    @staticmethod
    def _split(formula: Formula, texts: str, separators: str, *, skip_empty: bool) -> list[Operand]:
        operands = [texts, formula.name(_texts(separators)), formula.name(np.array([skip_empty]))]
        return [*_custom(formula, "StringSplit", operands, [_INT64, _STRING, _INT64])]

    @classmethod
    def _with_empty_parts(cls, formula: Formula, texts: str, separator: str) -> list[Operand]:
        begun = _replace_all(formula, texts, r"\A", re.sub(r"\\", r"\\\\", separator), once=True)
        indices, parts, shape = cls._split(formula, begun, separator, skip_empty=False)
        column = formula("Gather", indices, np.array(1, np.int64), axis=1)  # [parts]
        kept = formula("Greater", column, np.int64(0))
        return [
            formula("Sub", formula("Compress", indices, kept, axis=0), np.array([0, 1], np.int64)),
            formula("Compress", parts, kept, axis=0),
            formula("Max", formula("Sub", shape, np.array([0, 1], np.int64)), np.int64(0)),
        ]


def _join(formula: Formula, rows: Operand, separator: str, size: Operand) -> Operand:
    """The texts of each column of rows [k, n], with a separator between: [n].

    A column more, since the library crashes where there is none.
    """
    count = formula("Gather", formula("Shape", rows), np.array([0], np.int64), axis=0)
    column = formula("Expand", _texts("").reshape(1, 1), formula("Concat", count, np.array([1]), axis=0))
    rows = formula("Concat", rows, column, axis=1)
    operands = [formula.name(rows), formula.name(_texts(separator)), formula.name(np.array([0], np.int64))]
    joined = _custom(formula, "StringJoin", operands, [_STRING])[0]
    return formula("Slice", joined, np.array([0], np.int64), size, np.array([0], np.int64))


@tf_op("StringJoin", domain=DOMAIN)
class StringJoin:
    """Texts in the same place of several tensors, one after another; a scalar stands in every place."""

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        ranks = [ctx.get_rank(name) for name in node.input]
        utils.make_sure(None not in ranks and any(ranks), "texts of no or unknown rank are joined")
        first = node.input[next(index for index, rank in enumerate(ranks) if rank)]
        shape = formula("Shape", first)
        flat = [
            formula("Reshape", name if rank else formula("Expand", name, shape), np.array([1, -1], np.int64))
            for name, rank in zip(node.input, ranks, strict=True)
        ]
        size = formula("ReduceProd", shape, axes=[0], keepdims=1)
        joined = _join(formula, formula("Concat", *flat, axis=0), _attribute(node, "separator"), size)
        formula.replace(node, formula("Reshape", joined, shape))


@tf_op("ReduceJoin", domain=DOMAIN)
class ReduceJoin:
    """Texts along one axis, one after another."""

    @classmethod
    def version_1(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, rank = Formula(ctx), ctx.get_rank(node.input[0])
        axes = formula.known(node.input[1])
        utils.make_sure(not isinstance(axes, str) and np.size(axes) == 1, "not one constant axis is joined")
        utils.make_sure(rank, "texts of no or unknown rank are joined")
        axis = int(np.asarray(axes).reshape(-1)[0]) % rank
        others = [index for index in range(rank) if index != axis]
        turned = formula("Transpose", node.input[0], perm=[axis, *others])  # [k, ...]
        shape = formula("Shape", turned)
        rest = formula("Slice", shape, np.array([1]), np.array([rank]), np.array([0]))
        size = formula("ReduceProd", rest, axes=[0], keepdims=1)
        count = formula("Slice", shape, np.array([0]), np.array([1]), np.array([0]))
        rows = formula("Reshape", turned, formula("Concat", count, size, axis=0), allowzero=1)
        joined = formula(
            "Reshape", _join(formula, rows, _attribute(node, "separator"), size), rest, allowzero=1
        )
        if node.get_attr_value("keep_dims", False):
            joined = formula.unsqueeze(joined, axis)
        formula.replace(node, joined)

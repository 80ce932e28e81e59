"""Converters of the diagonals of matrices: tf2onnx's own lose axes, and need an operator of ONNX Runtime's.

Diagonal k, of n elements, has the element [i, i + k] of each row. With max(k, 0) places in front of it, its
elements stand in their columns, so that it is a row from which every row of the matrix can take:

    n        = min(rows + min(k, 0), columns - max(k, 0))
    matrix   = Where(row + k == column, Pad(diagonal)[..., None, :], matrix without it)
    diagonal = flat[start : start + (n - 1) (columns + 1) + 1 : columns + 1],  start = k, or -k columns below

Several diagonals come in one array [..., diagonals, longest], the highest k first. Shorter ones are filled
up, on the left where they are aligned to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of, is_float

_CHOSEN = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8,
)
"""What ONNX Runtime's Where takes."""
_LAST = np.array([-1], np.int64)


@tf_op(["MatrixDiag", "MatrixDiagV2", "MatrixDiagV3"])
class MatrixDiag:
    """A matrix with the given diagonals, as small as they allow where no size is given."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, given = Formula(ctx), list(node.input)
        band, length = _Band.of(formula, node), formula.size(given[0], -1)
        rows = formula("Sub", length, np.int64(min(band.highest, 0)))
        columns = formula("Add", length, np.int64(max(band.lowest, 0)))
        asked = [_number(formula, name) for name in given[2:4]] or [-1, -1]
        if asked == [-1, -1]:
            rows = columns = formula("Max", rows, columns)
        rows = rows if asked[0] == -1 else np.int64(asked[0])
        columns = columns if asked[1] == -1 else np.int64(asked[1])
        empty: Operand = given[4] if len(given) > 4 else np.zeros((), dtype_of(ctx, given[0]))
        formula.replace(node, band.put(given[0], empty, rows, columns))


@tf_op(["MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3"])
class MatrixSetDiag:
    """A matrix with other diagonals."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (matrix, diagonals) = Formula(ctx), node.input[:2]
        band = _Band.of(formula, node, place=2)
        rows, columns = formula.size(matrix, -2), formula.size(matrix, -1)
        formula.replace(node, band.put(diagonals, matrix, rows, columns))


@tf_op(["MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3"])
class MatrixDiagPart:
    """Diagonals of a matrix."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, given = Formula(ctx), list(node.input)
        band = _Band.of(formula, node)
        rows, columns = formula.size(given[0], -2), formula.size(given[0], -1)
        empty: Operand = given[2] if len(given) > 2 else np.zeros((), dtype_of(ctx, given[0]))
        formula.replace(node, band.taken(given[0], empty, rows, columns))


@dataclass(frozen=True)
class _Band:
    """Neighbouring diagonals, lowest to highest."""

    formula: Formula
    lowest: int
    highest: int
    align: str
    """How those above and those below the main one are aligned, like RIGHT_LEFT."""

    @classmethod
    def of(cls, formula: Formula, node: Any, place: int = 1) -> _Band:
        """The diagonals that a node means; its input at `place` says which."""
        numbers = formula.known(node.input[place]) if len(node.input) > place else np.array(0)
        utils.make_sure(not isinstance(numbers, str), "which diagonals are meant is computed")
        ends = [int(number) for number in np.ravel(numbers)]
        align = node.get_attr_str("align") if "align" in node.attr else "LEFT_LEFT"
        return cls(formula, ends[0], ends[-1], align)

    @property
    def _numbers(self) -> range:
        return range(self.highest, self.lowest - 1, -1)

    def put(self, diagonals: str, matrix: Operand, rows: Operand, columns: Operand) -> Operand:
        """The matrix, or one number for all of it, with these diagonals in it."""
        formula, rank = self.formula, len(self.formula.graph.get_shape(diagonals))
        dtype = formula.graph.get_dtype(diagonals)
        utils.make_sure(dtype != onnx.TensorProto.STRING, "the elements are texts")
        if dtype not in _CHOSEN:
            wide = onnx.TensorProto.FLOAT if is_float(formula.graph, diagonals) else onnx.TensorProto.INT64
            matrix = formula.cast(matrix, wide)
            diagonals = formula.name(formula.cast(diagonals, wide))
        longest = formula.size(diagonals, -1)
        if self.lowest < self.highest:
            rank -= 1
        for place, k in enumerate(self._numbers):
            length, diagonal = self._length(k, rows, columns), diagonals
            if self.lowest < self.highest:
                row = formula("Gather", diagonals, np.int64(place), axis=-2)
                start = self._start(k, length, longest)
                ends = formula.vector(start), formula.vector(formula("Add", start, length))
                diagonal = formula.name(formula("Slice", row, *ends, _LAST))
            behind = formula("Sub", formula("Sub", columns, length), np.int64(max(k, 0)))
            spread = self._padded(diagonal, rank, np.int64(max(k, 0)), behind)
            numbers = [formula("Range", np.int64(0), size, np.int64(1)) for size in (rows, columns)]
            above = formula("Add", formula.unsqueeze(numbers[0], 1), np.int64(k))
            on = formula("Equal", above, numbers[1])
            matrix = formula("Where", on, formula.unsqueeze(spread, rank - 1), matrix)
        return matrix

    def taken(self, matrix: str, empty: Operand, rows: Operand, columns: Operand) -> Operand:
        """These diagonals out of a matrix."""
        formula, rank = self.formula, len(self.formula.graph.get_shape(matrix))
        flat = formula("Reshape", matrix, formula.vector(*[0] * (rank - 2), formula("Mul", rows, columns)))
        step = formula("Add", columns, np.int64(1))
        lengths = {k: self._length(k, rows, columns) for k in self._numbers}
        longest = lengths[min(max(0, self.lowest), self.highest)]
        found = []
        for k, length in lengths.items():
            start = np.int64(k) if k >= 0 else formula("Mul", columns, np.int64(-k))
            reach = formula("Mul", formula("Sub", length, np.int64(1)), step)
            end = formula("Add", formula("Add", start, reach), np.int64(1))
            ends = formula.vector(start), formula.vector(end), _LAST, formula.vector(step)
            diagonal = formula("Slice", flat, *ends)
            if self.lowest < self.highest:
                front = self._start(k, length, longest)
                behind = formula("Sub", formula("Sub", longest, length), front)
                diagonal = self._padded(formula.name(diagonal), rank - 1, front, behind, empty)
                diagonal = formula.unsqueeze(diagonal, rank - 2)
            found.append(diagonal)
        return found[0] if len(found) == 1 else formula("Concat", *found, axis=-2)

    def _length(self, k: int, rows: Operand, columns: Operand) -> Operand:
        down = self.formula("Add", rows, np.int64(min(k, 0)))
        return self.formula("Min", down, self.formula("Sub", columns, np.int64(max(k, 0))))

    def _start(self, k: int, length: Operand, longest: Operand) -> Operand:
        """Where a diagonal begins in its row of the array."""
        above, below = self.align.split("_")
        is_left = (k >= 0 and above == "LEFT") or (k <= 0 and below == "LEFT")
        return np.int64(0) if is_left else self.formula("Sub", longest, length)

    def _padded(
        self, row: str, rank: int, before: Operand, behind: Operand, value: Operand | None = None
    ) -> Operand:
        """A row with more places before and behind it, along the last axis."""
        none = [np.int64(0)] * (rank - 1)
        pads = self.formula.vector(*none, before, *none, behind)
        if not isinstance(pads, str) and not pads.any():
            return row
        return self.formula("Pad", row, pads, *([] if value is None else [value]))


def _number(formula: Formula, name: str) -> int:
    value = formula.known(name)
    utils.make_sure(not isinstance(value, str), "the size of the matrix is computed")
    return int(np.asarray(value).item())

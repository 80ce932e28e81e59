"""Adds tensors and operators to one graph of an unpacked TFLite file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.formats.tflite_codes import builtin_code

_ONE_BYTE = 127
"""From this number on an operator's code stands in its newer field alone."""
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
}
KINDS = {number: kind for kind, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
"""The names of TFLite's operators by their numbers."""


class FlatGraph:
    """One graph of a file: tensors are numbers, as in the file."""

    def __init__(self, model: Any, graph: Any) -> None:
        self.model = model
        self.graph = graph

    def kind(self, operator: Any) -> str:
        """The name of an operator in TFLite's schema; CUSTOM for one that is not its own."""
        return str(KINDS.get(builtin_code(self.model.operatorCodes[operator.opcodeIndex]), ""))

    def custom(self, operator: Any) -> str:
        """The name of a custom operator, else nothing."""
        return (self.model.operatorCodes[operator.opcodeIndex].customCode or b"").decode("utf-8", "replace")

    def value(self, tensor: int) -> NDArray[Any] | None:
        """The value of a constant of int32 or float32."""
        entry = self.graph.tensors[tensor]
        data = self.model.buffers[entry.buffer].data
        dtype = next((dtype for dtype, kind in _TYPES.items() if kind == entry.type), None)
        if data is None or dtype is None:
            return None
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype).reshape(entry.shape)

    def shape(self, tensor: int) -> list[int]:
        """The sizes of a tensor's axes; -1 where one is free."""
        entry = self.graph.tensors[tensor]
        known = entry.shape if entry.shapeSignature is None else entry.shapeSignature
        return [] if known is None else [int(size) for size in known]

    def tensor(self, name: str, shape: Sequence[int], kind: int = schema.TensorType.FLOAT32) -> int:
        """A new tensor; its number."""
        entry = schema.TensorT()
        entry.name, entry.type, entry.buffer = name.encode(), kind, 0
        entry.shape = np.maximum(np.array(shape, np.int32), 1)
        entry.shapeSignature = np.array(shape, np.int32)
        self.graph.tensors.append(entry)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, value: NDArray[Any]) -> int:
        """A new tensor with a value."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor = self.tensor(name, value.shape, _TYPES[value.dtype])
        self.graph.tensors[tensor].buffer = len(self.model.buffers) - 1
        return tensor

    def operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: tuple[str, Any] | None = None
    ) -> Any:
        """A new operator, which is not yet in the graph; options with the name of their type."""
        made = schema.OperatorT()
        made.opcodeIndex = self._code(getattr(schema.BuiltinOperator, kind))
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
            made.builtinOptions = options[1]
        return made

    def _code(self, number: int) -> int:
        for index, code in enumerate(self.model.operatorCodes):
            if builtin_code(code) == number and not code.customCode:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, _ONE_BYTE), 1
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

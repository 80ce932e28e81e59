"""Scan a TFLite model: built-in operators only, no buffers outside the file, graphs that can run."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from optimizer.convert.scan.tflite_graph import check_graphs, check_size
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError
from optimizer.model import first_line

# Named like custom operators: part of TFLite itself, or written in its own operators (tflite_graph).
_BUILT_IN = {"TFLite_Detection_PostProcess", "Convolution2DTransposeBias"}
_DAMAGE = (struct.error, IndexError, TypeError, ValueError, OverflowError, AttributeError, OSError)


def scan_tflite(path: Path) -> None:
    """Scan a TFLite model; `scan` says what it raises."""
    try:
        operators, has_external_buffers, model = _read(path.read_bytes())
    except _DAMAGE as error:
        raise InvalidModelError(
            f"{path.name} is no TFLite model, or it is damaged or cut off: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    if has_external_buffers:
        raise UnsafeModelError(
            f"{path.name} keeps weights in other files, which are not read.",
            hint="Convert to one .tflite file.",
        )
    flex = sorted(name for name in operators if name.startswith("Flex"))
    if flex:
        raise UnsupportedModelError(
            f"{path.name} runs TensorFlow operators inside TFLite: {', '.join(flex)}.",
            hint="Give the model that the .tflite was made of: a SavedModel or .keras file.",
        )
    if operators:
        raise UnsupportedModelError(
            f"{path.name} holds custom operators, whose code is not in it: {', '.join(sorted(operators))}.",
            hint="Give the model that the .tflite was made of, or convert it without them.",
        )
    check_graphs(model)


def _read(content: bytes) -> tuple[set[str], bool, Any]:
    """The names of operators that are not TFLite's own, whether buffers lie in other files, and the model."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() == 0:
        raise ValueError("it has no graph")
    check_size(model, len(content))
    names: set[str] = set()
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        # Before 2020 the code stood in one byte, `deprecated_builtin_code`; the larger of both counts.
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _text(code.CustomCode())
        if (builtin == schema.BuiltinOperator.CUSTOM or name) and name not in _BUILT_IN:
            names.add(name or "(without a name)")
    has_external_buffers = _length(model, "ExternalBufferGroups") > 0 or _length(model, "ExternalBuffers") > 0
    return names, has_external_buffers, schema.ModelT.InitFromPackedBuf(content, 0)


def _length(model: Any, table: str) -> int:
    """How many entries a table has; none where this TensorFlow's schema does not know the table."""
    count = getattr(model, f"{table}Length", None)
    return int(count()) if count is not None else 0


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")

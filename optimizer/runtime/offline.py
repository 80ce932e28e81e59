"""ONNX Runtime's basic optimizations, applied to the file rather than at load."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.errors import UnsupportedModelError
from optimizer.runtime import native

if TYPE_CHECKING:
    import onnx

MAX_PROTOBUF_BYTES = 2**31 - 1


def optimize_basic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Apply ONNX Runtime's basic optimizations, which hold on any hardware, and return the new model.

    Raises:
        UnsupportedModelError: If the model is over protobuf's 2 GB.
        InvalidModelError: If ONNX Runtime cannot load it.
    """
    import onnx
    import onnx_ir
    from onnx_ir.passes.common import RemoveUnusedOpsetsPass

    if model.ByteSize() > MAX_PROTOBUF_BYTES:
        raise UnsupportedModelError(
            "The model is larger than 2 GB, the most that one protobuf file can hold.",
            hint="Leave out the simplification, or use a smaller model.",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options = native.session_options(threads=1, level="ORT_ENABLE_BASIC")
        options.optimized_model_filepath = str(path)
        native.make_session(model.SerializeToString(), options, "cpu")
        optimized = onnx.load(str(path))
    # ONNX Runtime names every operator set that it knows; other runtimes refuse the ones they do not.
    return onnx_ir.to_proto(RemoveUnusedOpsetsPass()(onnx_ir.from_proto(optimized)).model)

"""Takes an ONNX upload as it is: checked, copied, not converted."""

from __future__ import annotations

import shutil
from pathlib import Path

from optimizer.convert.scan.onnx_file import read_onnx
from optimizer.errors import InvalidModelError
from optimizer.external_data import PROTO_BYTES
from optimizer.model import Model, first_line, save_model
from optimizer.results import Conversion
from optimizer.runtime import open_session


def copy_onnx(upload: Path, target: Path, largest_bytes: int = PROTO_BYTES) -> Conversion:
    """Check an ONNX file, whose weights `scan` found in it or in its folder, and copy it to `target`.

    Args:
        upload: The file.
        target: Where it goes; weights in other files come into the one file, or into the one beside it.
        largest_bytes: See `save_model`.

    Raises:
        InvalidModelError: If it is not a valid ONNX model.
        UnsupportedModelError: If ONNX Runtime does not load it.
    """
    import onnx
    import onnx_ir

    proto = read_onnx(upload)
    try:
        onnx.checker.check_model(str(upload))
    except onnx.checker.ValidationError as error:
        raise InvalidModelError(
            f"{upload.name} is not a valid ONNX model: {first_line(error)}.", hint="Export the model again."
        ) from error
    if any(tensor.external_data for tensor in proto.graph.initializer):
        save_model(Model(onnx_ir.load(upload)), target, largest_bytes)
    else:
        shutil.copyfile(upload, target)
    session = open_session(target)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    return Conversion(
        format="onnx",
        runtime="ONNX Runtime",
        producer=producer,
        inputs=session.inputs,
        outputs=session.outputs,
    )

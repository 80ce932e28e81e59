"""Takes an ONNX upload as it is: checked, copied, not converted."""

from __future__ import annotations

import shutil
from pathlib import Path

from optimizer.convert.scan.onnx_file import read_onnx
from optimizer.errors import InvalidModelError
from optimizer.model import first_line
from optimizer.results import Conversion
from optimizer.runtime import open_session


def copy_onnx(upload: Path, target: Path) -> Conversion:
    """Check an ONNX file, whose weights `scan` found inside it, and copy it to `target`.

    Raises:
        InvalidModelError: If it is not a valid ONNX model.
        UnsupportedModelError: If ONNX Runtime does not load it.
    """
    import onnx

    proto = read_onnx(upload)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise InvalidModelError(
            f"{upload.name} is not a valid ONNX model: {first_line(error)}.", hint="Export the model again."
        ) from error
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

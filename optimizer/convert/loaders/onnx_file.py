"""Takes an ONNX upload: as it is, or changed as the user asked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.convert.prepared import Prepared
from optimizer.convert.scan.onnx_file import read_onnx
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.external_data import PROTO_BYTES, weight_bytes
from optimizer.goal import Goal
from optimizer.model import Model, first_line, save_model, write_atomically
from optimizer.results import Conversion
from optimizer.runtime import open_session
from optimizer.runtime.extensions import note_custom_operators
from optimizer.workspace import Workspace

if TYPE_CHECKING:
    import onnx


def copy_onnx(upload: Path, workspace: Workspace, largest_bytes: int = PROTO_BYTES) -> Conversion:
    """Check an ONNX file, whose weights `scan` found in it or in its folder, and copy it.

    Args:
        upload: The file.
        workspace: Its `converted` is the copy; weights in other files come into the one file, or into the one
            beside it.
        largest_bytes: See `save_model`.

    Raises:
        InvalidModelError: If it is not a valid ONNX model.
        UnsupportedModelError: If ONNX Runtime does not load it.
    """
    import onnx_ir

    from optimizer.convert.cut.postprocessing_note import note_postprocessing
    from optimizer.graph.structure import custom_operators

    proto = _checked(upload)
    if any(tensor.external_data for tensor in proto.graph.initializer):
        save_model(Model(onnx_ir.load(upload)), workspace.converted, largest_bytes)
    else:
        shutil.copyfile(upload, workspace.converted)
    session = open_session(workspace.converted)
    prepared, custom = Prepared("ONNX Runtime", "", _producer(proto)), custom_operators(proto)
    return Conversion(
        format="onnx",
        runtime=prepared.runtime,
        producer=prepared.producer,
        inputs=session.inputs,
        outputs=session.outputs,
        custom_operators=custom,
        notes=(*note_postprocessing(proto, prepared, workspace), *note_custom_operators(custom)),
    )


def prepare_onnx(upload: Path, workspace: Workspace, goal: Goal) -> tuple[Prepared, onnx.ModelProto]:
    """Cut an ONNX file where the goal says so; `Workspace.original` is the whole one, with the same outputs.

    Raises:
        InvalidModelError: If it is not a valid ONNX model.
        InvalidOptionsError: If it has no value that was asked for, or cannot have that operator set.
        UnsupportedModelError: If ONNX Runtime does not load it.
    """
    from optimizer.convert.cut.onnx_graph import complete_types, cut_onnx, with_outputs
    from optimizer.convert.opset import require_opset
    from optimizer.graph.structure import opset

    proto = _with_weights(_checked(upload), upload)
    require_opset(goal.opset, opset(proto), f"{upload.name}, which has {opset(proto)},")
    notes: tuple[str, ...] = ()
    write_atomically(workspace.original, with_outputs(proto, goal.outputs).SerializeToString())
    session = open_session(workspace.original)
    if goal.outputs:
        notes = cut_onnx(proto, goal.outputs)
        complete_types(proto, session.outputs)
    return Prepared("ONNX Runtime", "", _producer(proto), notes=notes), proto


def _with_weights(proto: onnx.ModelProto, upload: Path) -> onnx.ModelProto:
    """The model with the weights of other files in it."""
    import onnx
    import onnx_ir

    if any(tensor.external_data for tensor in proto.graph.initializer):
        if weight_bytes(onnx_ir.load(upload)) > PROTO_BYTES:
            raise UnsupportedModelError(
                f"{upload.name} is too large to be cut or to get another operator set or other shapes.",
                hint="Leave out the options outputs, opset and fixed_shapes.",
            )
        onnx.load_external_data_for_model(proto, str(upload.parent))
    return proto


def _checked(upload: Path) -> onnx.ModelProto:
    import onnx

    proto = read_onnx(upload)
    try:
        onnx.checker.check_model(str(upload))
    except onnx.checker.ValidationError as error:
        raise InvalidModelError(
            f"{upload.name} is not a valid ONNX model: {first_line(error)}.", hint="Export the model again."
        ) from error
    return proto


def _producer(proto: onnx.ModelProto) -> str:
    return f"{proto.producer_name} {proto.producer_version}".strip()

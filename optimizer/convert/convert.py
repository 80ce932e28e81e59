"""The convert stage: the upload becomes ONNX, and is kept in the form that its own runtime loads."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.convert.prepared import Prepared
from optimizer.data import open_dataset
from optimizer.errors import (
    InvalidModelError,
    InvalidOptionsError,
    ResourceLimitError,
    ToolError,
    UnsupportedModelError,
)
from optimizer.evaluate import output_kinds
from optimizer.goal import Goal
from optimizer.model import file_bytes, first_line, from_proto, write_atomically
from optimizer.results import Conversion, Format
from optimizer.runtime import Session, open_session
from optimizer.workspace import Workspace

if TYPE_CHECKING:
    import onnx

_GROWTH = 1.1
_GROWTH_BYTES = 100_000  # of nodes and names


def convert_model(
    upload: Path, format: Format, workspace: Workspace, goal: Goal, samples: Path | None
) -> Conversion:
    """Write `Workspace.converted` (ONNX) and `Workspace.original`, and prove that both compute the same.

    An ONNX upload is its own original: it is checked and copied.

    Runs in a process of its own, once: TensorFlow keeps settings and memory for a process's life.

    Args:
        upload: The file, or the folder of a SavedModel; `scan` has found it harmless.
        format: As `detect` found it.
        workspace: Where the results go; its folder exists.
        goal: Its `signature` chooses among a SavedModel's, its `outputs` among a graph's nodes.
        samples: The user's data for the comparison, opened when the inputs are known; None makes inputs up.

    Raises:
        InvalidModelError: If the file is broken.
        InvalidOptionsError: If the signature asked for is not there, or several could be meant.
        InvalidDataError: If the samples do not fit the model.
        UnsupportedModelError: If an operator or layer cannot be converted, or the result differs.
    """
    _clear(workspace)
    try:
        if format == "onnx":
            from optimizer.convert.onnx_file import copy_onnx

            return copy_onnx(upload, workspace.converted)
        _prepare_environment(format)
        prepared = _prepare(upload, format, workspace, goal)
        prepared, session = _convert(prepared, workspace)
        prepared = _with_note_of_growth(prepared, upload, workspace)
        return _prove(prepared, session, (workspace, format, samples))
    except MemoryError as error:
        raise ResourceLimitError(
            f"Converting {upload.name} needs more memory than the stage may use.",
            hint="A conversion needs about 30 times the size of the weights; raise the limit.",
        ) from error


def _clear(workspace: Workspace) -> None:
    """Remove what an attempt that was cut off left behind."""
    workspace.converted.unlink(missing_ok=True)
    if workspace.original.is_dir():
        shutil.rmtree(workspace.original)
    workspace.original.unlink(missing_ok=True)


def _prepare_environment(format: Format) -> None:
    """Settings that TensorFlow reads when it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if format in ("keras2", "keras2_h5") and "tensorflow" not in sys.modules:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"


def _prepare(upload: Path, format: Format, workspace: Workspace, goal: Goal) -> Prepared:
    """Bring the upload into the form that its own runtime loads."""
    if goal.outputs and format not in ("graphdef", "checkpoint"):
        raise InvalidOptionsError(
            f"A {format} model tells its outputs itself; the option `outputs` is for graphs and checkpoints.",
            hint="Leave it out.",
        )
    if format == "savedmodel":
        from optimizer.convert.savedmodel import prepare_savedmodel

        return prepare_savedmodel(upload, workspace, goal.signature)
    if format == "tflite":
        from optimizer.convert.tflite import prepare_tflite

        return prepare_tflite(upload, workspace)
    if format == "graphdef":
        from optimizer.convert.graphdef import prepare_graphdef

        return prepare_graphdef(upload, workspace, goal.outputs)
    if format == "checkpoint":
        from optimizer.convert.checkpoint import prepare_checkpoint

        return prepare_checkpoint(upload, workspace, goal.outputs)
    from optimizer.convert.keras import prepare_keras

    return prepare_keras(upload, format, workspace)


def _convert(prepared: Prepared, workspace: Workspace) -> tuple[Prepared, Session]:
    """Write the ONNX file and load it."""
    from optimizer.convert import tf2onnx_tool

    if prepared.runtime == "TensorFlow":
        proto = tf2onnx_tool.convert_savedmodel(workspace.original, prepared.signature)
        return _write(proto, prepared, workspace)
    from optimizer.convert.tflite import read_tflite

    names = read_tflite(workspace.original).tensor_names
    proto = tf2onnx_tool.convert_tflite(workspace.original, names, dequantize=False)
    try:
        return _write(proto, prepared, workspace)
    except (UnsupportedModelError, ToolError):
        if prepared.rounding == "none":
            raise
        # ONNX Runtime has no kernels for some integer types of TFLite, such as 16-bit activations.
        proto = tf2onnx_tool.convert_tflite(workspace.original, names, dequantize=True)
        note = "the file's integer operators were converted to float"
        return _write(proto, replace(prepared, rounding="dynamic", notes=(*prepared.notes, note)), workspace)


def _with_note_of_growth(prepared: Prepared, upload: Path, workspace: Workspace) -> Prepared:
    """A file that stores its weights in fewer bits than the ONNX file does must not grow without a word."""
    before, after = file_bytes(upload), file_bytes(workspace.converted)
    if after <= _GROWTH * before + _GROWTH_BYTES:
        return prepared
    note = (
        f"the ONNX file is larger than the upload: {after} bytes instead of {before}, "
        "since some weights are stored in more bits"
    )
    return replace(prepared, notes=(*prepared.notes, note))


def _write(proto: onnx.ModelProto, prepared: Prepared, workspace: Workspace) -> tuple[Prepared, Session]:
    from optimizer.convert.naming import name_free_axes
    from optimizer.convert.parity import computes_in_half, is_of_bfloat16

    name_free_axes(proto)
    write_atomically(workspace.converted, proto.SerializeToString())
    try:
        session = open_session(workspace.converted)
    except InvalidModelError as error:  # the converter's fault, not the upload's
        reason = first_line(error.__cause__ or error).rpartition("failed:")[2]  # without the path
        raise UnsupportedModelError(
            f"ONNX Runtime does not load the converted model: {reason}.",
            hint="Hand in the model in another format, or in float32.",
        ) from error
    kinds = output_kinds(from_proto(proto))
    sigmoids = frozenset(name for name, kind in kinds.items() if kind == "sigmoid")
    half, bfloat16 = computes_in_half(proto), is_of_bfloat16(proto)
    return replace(prepared, half=half, bfloat16=bfloat16, sigmoids=sigmoids), session


def _prove(
    prepared: Prepared, session: Session, request: tuple[Workspace, Format, Path | None]
) -> Conversion:
    """Compare with the original, and write down in the file what the runs showed about its batch axis."""
    import onnx

    from optimizer.convert.naming import fix_batch, rename_first_axis
    from optimizer.convert.original import load_original
    from optimizer.convert.parity import prove_parity

    workspace, format, samples = request
    dataset = None if samples is None else open_dataset(samples, session.inputs, session.outputs)
    original = load_original(workspace.original, prepared.runtime, prepared.signature)
    proof = prove_parity(original, session, prepared, dataset)
    if proof.unbatched or proof.fixed_batch is not None:
        proto = onnx.load(str(workspace.converted))
        rename_first_axis(proto, proof.unbatched)
        if proof.fixed_batch is not None:
            fix_batch(proto, proof.fixed_batch)
        write_atomically(workspace.converted, proto.SerializeToString())
        session = open_session(workspace.converted)
    return Conversion(
        format=format,
        runtime=prepared.runtime,
        producer=prepared.producer,
        signature=prepared.signature,
        inputs=session.inputs,
        outputs=session.outputs,
        parity=proof.parity,
        notes=prepared.notes,
    )

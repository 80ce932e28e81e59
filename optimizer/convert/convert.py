"""The convert stage: the upload becomes ONNX, and is kept in the form that its own runtime loads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.convert.free_memory import free_model
from optimizer.convert.loaders.prepare import prepare
from optimizer.convert.prepared import Converted, Prepared
from optimizer.data import open_dataset
from optimizer.errors import (
    InvalidModelError,
    ResourceLimitError,
    UnsupportedModelError,
)
from optimizer.evaluate import output_kinds
from optimizer.external_data import PROTO_BYTES, remove_model
from optimizer.goal import Goal
from optimizer.model import file_bytes, from_proto, write_atomically
from optimizer.results import Conversion, Format
from optimizer.runtime import Session, error_text, open_session
from optimizer.runtime.extensions import note_custom_operators
from optimizer.workspace import Workspace

if TYPE_CHECKING:
    import onnx

_GROWTH = 1.1
_GROWTH_BYTES = 100_000  # of nodes and names


@dataclass(frozen=True)
class _Request:
    """What a conversion was asked for."""

    upload: Path
    format: Format
    workspace: Workspace
    goal: Goal
    samples: Path | None
    largest_bytes: int


def convert_model(  # noqa: PLR0913  # the limit is for tests: a model above it takes minutes
    upload: Path,
    format: Format,
    workspace: Workspace,
    goal: Goal,
    samples: Path | None,
    largest_bytes: int = PROTO_BYTES,
) -> Conversion:
    """Write `Workspace.converted` (ONNX) and `Workspace.original`, and prove that both compute the same.

    An ONNX upload is its own original: it is checked and copied, unless the goal asks for changes.

    Runs in a process of its own, once: TensorFlow keeps settings and memory for a process's life.

    Args:
        upload: The file, or the folder of a SavedModel; `scan` has found it harmless.
        format: As `detect` found it.
        workspace: Where the results go; its folder exists.
        goal: Its `signature` chooses among the upload's, its `outputs` are where the model ends.
        samples: The user's data for the comparison, opened when the inputs are known; None makes inputs up.
        largest_bytes: Of weights in one file; more go into a file of their own beside it.

    Raises:
        InvalidModelError: If the file is broken.
        InvalidOptionsError: If the signature or an output asked for is not there, or several could be
            meant.
        InvalidDataError: If the samples do not fit the model.
        UnsupportedModelError: If an operator or layer cannot be converted, or the result differs.
    """
    _clear(workspace)
    request = _Request(upload, format, workspace, goal, samples, largest_bytes)
    try:
        if format == "onnx":
            from optimizer.convert.loaders.onnx_file import copy_onnx, prepare_onnx

            if not (goal.outputs or goal.opset or goal.fixed_shapes):
                return copy_onnx(upload, workspace, largest_bytes)
            prepared, proto = prepare_onnx(upload, workspace, goal)
            return _prove(*_write(proto, prepared, request), request)
        return _convert_and_prove(prepare(upload, format, workspace, goal), request)
    except MemoryError as error:
        raise ResourceLimitError(
            f"Converting {upload.name} needs more memory than the stage may use.",
            hint="A conversion needs about 30 times the size of the weights; raise the limit.",
        ) from error


def _clear(workspace: Workspace) -> None:
    """Remove what an attempt that was cut off left behind."""
    remove_model(workspace.converted)
    if workspace.original.is_dir():
        shutil.rmtree(workspace.original)
    workspace.original.unlink(missing_ok=True)


def _convert_and_prove(prepared: Prepared, request: _Request) -> Conversion:
    """Convert into the fastest form; where that answers otherwise than the upload, into the exact one."""
    from optimizer.convert.triage.effects import find_effects

    fast, session = _convert(prepared, request)
    try:
        return _prove(fast, session, request)
    except UnsupportedModelError as error:
        if fast.runtime != "TensorFlow":
            raise
        effects = find_effects(request.workspace.original, fast.signature)
        if effects is not None:
            raise effects from error
        if fast.rounding != "dynamic":
            raise
    exact, session = _convert(prepared, request, exact=True)
    note = "activations are rounded as in the upload, which is slower: rounded faster it answered otherwise"
    return _prove(replace(exact, notes=(*exact.notes, note)), session, request)


def _convert(prepared: Prepared, request: _Request, *, exact: bool = False) -> tuple[Converted, Session]:
    """Write the ONNX file and load it."""
    from optimizer.convert import tf2onnx_tool
    from optimizer.convert.quantized.dynamic_graph import expose_dynamic_kernels
    from optimizer.convert.quantized.four_bit_graph import (
        keep_four_bits,
        note_of_small_layers,
        unpacks_four_bits,
    )
    from optimizer.convert.quantized.trained_rounding import keep_trained_rounding, output_steps
    from optimizer.convert.triage.unconvertible import NoConverterError, with_keras_lines

    workspace = request.workspace
    if prepared.runtime != "TensorFlow":
        proto, prepared = _convert_tflite(workspace.original, prepared)
        return _write(proto, prepared, request)
    try:
        proto = tf2onnx_tool.convert_savedmodel(
            workspace.original,
            prepared.signature,
            workspace.converted,
            request.largest_bytes,
            custom_operators=request.goal.onnxruntime_extensions,
        )
    except NoConverterError as error:
        raise with_keras_lines(error, prepared.layers) from error.__cause__
    free_model(workspace.original)
    rounds = expose_dynamic_kernels(proto, exact=exact)
    if unpacks_four_bits(workspace.original):
        rounds |= keep_four_bits(proto, exact=exact)
        prepared = replace(prepared, notes=(*prepared.notes, *note_of_small_layers(proto)))
    if keep_trained_rounding(proto):
        prepared = replace(prepared, rounding="static", output_steps=output_steps(proto))
    if rounds:
        prepared = replace(prepared, rounding="dynamic")
    return _write(proto, prepared, request)


def _convert_tflite(path: Path, prepared: Prepared) -> tuple[onnx.ModelProto, Prepared]:
    """Convert a TFLite file, whose weights stay in its own types."""
    from optimizer.convert.formats.tflite_file import read_tflite
    from optimizer.convert.quantized.dynamic_graph import expose_dynamic_kernels
    from optimizer.convert.quantized.float_graph import compute_in_float
    from optimizer.convert.quantized.narrow_weights import keep_half_weights, keep_integer_weights
    from optimizer.convert.tf2onnx_tool import convert_tflite

    file = read_tflite(path)
    proto = convert_tflite(path, file.tensor_names)
    if file.keeps_state:
        note = "the upload keeps the state of its recurrent layers between two calls, unless it is reset; "
        note += "the ONNX file begins each call with zeros"
        prepared = replace(prepared, notes=(*prepared.notes, note))
    if file.has_wide_activations:
        compute_in_float(proto)
        note = "its 16-bit activations have no integer kernels in ONNX Runtime: they were converted to float"
        prepared = replace(prepared, rounding="dynamic", notes=(*prepared.notes, note))
    elif prepared.rounding == "dynamic":
        expose_dynamic_kernels(proto)
    if prepared.rounding == "dynamic":
        keep_integer_weights(proto)
    if file.has_half_weights:
        keep_half_weights(proto)
    return proto, prepared


def _with_note_of_growth(prepared: Prepared, upload: Path, workspace: Workspace) -> Prepared:
    """A file that stores its weights in fewer bits than the ONNX file does must not grow without a word."""
    before, after = file_bytes(upload), file_bytes(workspace.converted)
    if after <= _GROWTH * before + _GROWTH_BYTES:
        return prepared
    note = (
        f"the ONNX file is larger than the upload: {after} bytes instead of {before}, "
        "since it stores some weights in more bits, or constants that the upload computes"
    )
    return replace(prepared, notes=(*prepared.notes, note))


def _write(proto: onnx.ModelProto, prepared: Prepared, request: _Request) -> tuple[Converted, Session]:
    """Give the model the form that the goal asks for, and load it."""
    import onnx

    from optimizer.convert.cut.postprocessing_note import note_postprocessing
    from optimizer.convert.fixed_shapes import fix_shapes
    from optimizer.convert.naming import name_free_axes, order_inputs, order_outputs
    from optimizer.convert.opset import raise_opset
    from optimizer.convert.parity.parity import is_of_bfloat16
    from optimizer.convert.pool_padding import keep_zeros_before_pools
    from optimizer.graph.structure import computes_in_half, custom_operators, known_words

    if prepared.runtime != "ONNX Runtime":  # whose names are the user's
        name_free_axes(proto)
        keep_zeros_before_pools(proto)
    if prepared.inputs:
        order_inputs(proto, prepared.inputs)
    if prepared.outputs:
        order_outputs(proto, prepared.outputs)
    workspace, goal = request.workspace, request.goal
    proto = raise_opset(fix_shapes(proto, goal.fixed_shapes), goal.opset)
    write_atomically(workspace.converted, proto.SerializeToString())
    try:
        session = open_session(workspace.converted)
    except (InvalidModelError, UnsupportedModelError) as error:  # the converter's fault, not the upload's
        reason = error_text(error.__cause__ or error).rpartition("failed:")[2].rstrip(".")  # without the path
        broken = isinstance(error, InvalidModelError)  # else an operator lacks a kernel or its library
        hint = "Hand in the model in another format, or in float32." if broken else error.hint
        if any(value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE for value in proto.graph.input):
            hint = "Save the model in float32: ONNX Runtime has not all operators in float64."
        raise UnsupportedModelError(
            f"ONNX Runtime does not load the converted model: {reason}.", hint=hint
        ) from error
    prepared = replace(prepared, notes=(*prepared.notes, *note_postprocessing(proto, prepared, workspace)))
    prepared = _with_note_of_growth(prepared, request.upload, workspace)
    kinds = output_kinds(from_proto(proto))
    sigmoids = frozenset(name for name, kind in kinds.items() if kind == "sigmoid")
    custom = custom_operators(proto)
    converted = Converted(
        **vars(replace(prepared, notes=(*prepared.notes, *note_custom_operators(custom)))),
        half=computes_in_half(proto),
        bfloat16=is_of_bfloat16(proto),
        sigmoids=sigmoids,
        words=known_words(proto),
        custom_operators=custom,
    )
    return converted, session


def _prove(converted: Converted, session: Session, request: _Request) -> Conversion:
    """Compare with the original, and write down in the file what the runs showed about its batch axis."""
    import onnx

    from optimizer.convert.naming import fix_batch, rename_first_axis
    from optimizer.convert.parity.original import load_original
    from optimizer.convert.parity.parity import prove_parity

    workspace, samples = request.workspace, request.samples
    dataset = None if samples is None else open_dataset(samples, session.inputs, session.outputs)
    original = load_original(workspace.original, converted.runtime, converted.signature)
    proof = prove_parity(original, session, converted, dataset)
    if proof.unbatched or proof.fixed_batch is not None:
        proto = onnx.load(str(workspace.converted), load_external_data=False)
        rename_first_axis(proto, proof.unbatched)
        if proof.fixed_batch is not None:
            fix_batch(proto, proof.fixed_batch)
        write_atomically(workspace.converted, proto.SerializeToString())
        session = open_session(workspace.converted)
    return Conversion(
        format=request.format,
        runtime=converted.runtime,
        producer=converted.producer,
        signature=converted.signature,
        inputs=session.inputs,
        outputs=session.outputs,
        parity=proof.parity,
        custom_operators=converted.custom_operators,
        notes=converted.notes,
    )

"""Turns a Keras file (Keras 3 or Keras 2, .keras or .h5) into a SavedModel that computes inference.

`model.export` leaves augmentation layers active, so the signature calls the model with training=False.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from optimizer.convert.cut.savedmodel import cut_savedmodel
from optimizer.convert.loaders.keras_free_sizes import free_sizes
from optimizer.convert.loaders.keras_layers import layer_names, with_asked
from optimizer.convert.naming import unique_names
from optimizer.convert.prepared import Prepared, Rounding
from optimizer.convert.signatures.argument_names import write_argument_names
from optimizer.errors import OptimizerError, ResourceLimitError, UnsupportedModelError
from optimizer.model import first_line
from optimizer.results import Format
from optimizer.workspace import Workspace

_SIGNATURE = "serve"
_UNKNOWN_CLASS = re.compile(r"(?:Could not locate|Unknown) (\w+):? '?([\w>.]+)'?")


def prepare_keras(
    upload: Path, format: Format, workspace: Workspace, outputs: Sequence[str] = ()
) -> Prepared:
    """Load a Keras file and write `Workspace.original`, a SavedModel.

    Inputs keep the names of the model's Input layers or the keys of its input dict; outputs get the
    keys of its output dict or the names of the layers they come from.

    Args:
        upload: The file.
        format: Which of the four Keras formats it has.
        workspace: Where the SavedModel goes.
        outputs: What shall come out instead: names of outputs, layers, or tensors between or in layers.

    Raises:
        InvalidOptionsError: If the model has no output, layer or tensor that was asked for.
        UnsupportedModelError: If Keras cannot load the file, it needs a class of the user's own, or holds
            a model without fixed inputs.
    """
    suffix = ".h5" if format in ("keras_h5", "keras2_h5") else ".keras"
    legacy = format in ("keras2", "keras2_h5")
    with _named(upload, suffix, workspace) as path, _explained(upload.name):
        version = _version_of_h5(path) if suffix == ".h5" else _version_of_zip(path)
        model = _load(path, legacy)
        if not getattr(model, "inputs", None):
            raise UnsupportedModelError(
                f"{upload.name} holds a model without fixed inputs.",
                hint="Give it an Input layer, or call it once before saving.",
            )
        _refuse_layers(upload.name, model)
        save = _save_legacy if legacy else _save
        rounding: Rounding = "none" if legacy else _rounding(model)
        producer = f"Keras {version}" if version else "Keras"
        if not outputs:
            taken, given = save(model, workspace.original)
            prepared = Prepared("TensorFlow", _SIGNATURE, producer, rounding, inputs=taken, outputs=given)
            return replace(prepared, layers=tuple(layer_names(model)))
        with tempfile.TemporaryDirectory(dir=workspace.folder) as folder:
            whole = Path(folder) / "whole"
            taken, asked = save(model, whole, outputs)
            cut = cut_savedmodel(whole, workspace.original, (_SIGNATURE, asked), layer_names(model))
        prepared = Prepared("TensorFlow", _SIGNATURE, producer, rounding, inputs=taken, outputs=cut.outputs)
        return replace(prepared, notes=cut.notes)


def _load(path: Path, legacy: bool) -> Any:
    if legacy:
        import tf_keras

        # The h5 loader of Keras 2 has no safe mode; the scan before this stage refuses Lambda layers.
        safe = {} if path.suffix == ".h5" else {"safe_mode": True}
        return tf_keras.models.load_model(str(path), compile=False, **safe)
    import keras

    return keras.models.load_model(str(path), compile=False, safe_mode=True)


def _save(model: Any, folder: Path, asked: Sequence[str] = ()) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write a Keras 3 model; returns inputs, and outputs, or those asked for, by their names there."""
    import keras

    sequential = isinstance(model, keras.Sequential)  # which has lists of one tensor, but takes a tensor
    taken = model.inputs[0] if sequential else model.input
    given = model.outputs[0] if sequential else model.output
    inputs = keras.tree.flatten_with_path(taken)
    input_names = unique_names(_argument(_name(path, tensor)) for path, tensor in inputs)
    entries = keras.tree.flatten_with_path(given)
    outputs = dict(
        zip(unique_names(_name(*entry) for entry in entries), [t for _, t in entries], strict=True)
    )
    _refuse_sparse(name for name, (_, t) in zip(input_names, inputs, strict=True) if t.sparse or t.ragged)
    outputs, wanted = with_asked(model, asked, outputs)
    called = keras.Model(taken, list(outputs.values())) if asked else model

    def serve(*tensors: Any) -> dict[str, Any]:
        results = called(keras.tree.pack_sequence_as(taken, tensors), training=False)
        return dict(zip(outputs, keras.tree.flatten(results), strict=True))

    archive = keras.export.ExportArchive()
    if _has_tables(called):  # what is tracked is written once more, besides the variables that `serve` reads
        archive.track(called)
    arguments = _lower(input_names)
    with free_sizes():
        archive.add_endpoint(_SIGNATURE, serve, _specs(arguments, [tensor for _, tensor in inputs]))
        archive.write_out(str(folder), verbose=False)
    write_argument_names(folder, dict(zip(arguments, input_names, strict=True)))
    return input_names, wanted if asked else tuple(outputs)


def _has_tables(model: Any) -> bool:
    found = tf.train.TrackableView(model).descendants()
    return any(isinstance(each, tf.saved_model.experimental.TrackableResource) for each in found)


def _save_legacy(
    model: Any, folder: Path, asked: Sequence[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write a Keras 2 model; returns inputs, and outputs, or those asked for, by their names there."""
    import tf_keras

    input_names = unique_names(_argument(name) for name in model.input_names)
    names = sorted(model.output) if isinstance(model.output, dict) else model.output_names
    outputs = dict(zip(unique_names(names), tf.nest.flatten(model.output), strict=True))
    _refuse_sparse(
        name
        for name, tensor in zip(input_names, model.inputs, strict=True)
        if not isinstance(tensor.type_spec, tf.TensorSpec)
    )
    outputs, wanted = with_asked(model, asked, outputs)
    called = tf_keras.Model(model.input, list(outputs.values())) if asked else model

    arguments = _lower(input_names)

    @tf.function(input_signature=_specs(arguments, model.inputs), autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(*tensors: Any) -> dict[str, Any]:
        results = called(tf.nest.pack_sequence_as(model.input, tensors), training=False)
        return dict(zip(outputs, tf.nest.flatten(results), strict=True))

    module = tf.Module()
    module.model = called
    tf.saved_model.save(module, str(folder), signatures={_SIGNATURE: serve})
    write_argument_names(folder, dict(zip(arguments, input_names, strict=True)))
    return input_names, wanted if asked else tuple(outputs)


def _name(path: Sequence[Any], tensor: Any) -> str:
    """The key of a tensor in a dict, else the name of the layer that it comes from."""
    if path and isinstance(path[-1], str):
        return path[-1]
    return str(tensor._keras_history.operation.name)


def _argument(name: str) -> str:
    """The name as TensorFlow writes it in a signature.

    >>> _argument("image.left")
    'image_left'
    """
    return re.sub(r"\W", "_", name)


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    """Names for arguments: TensorFlow writes those of placeholders in lower case, and then misses `Image`."""
    return unique_names(name.lower() for name in names)


def _specs(names: Sequence[str], tensors: Sequence[Any]) -> list[Any]:
    return [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(names, tensors, strict=True)
    ]


def _refuse_sparse(names: Iterable[str]) -> None:
    for name in names:
        raise UnsupportedModelError(
            f"Input {name} is a sparse or ragged tensor, which ONNX Runtime does not take.",
            hint="Give the model dense inputs.",
        )


def _refuse_layers(file: str, model: Any) -> None:
    """Raise for what would convert into another function."""
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False) and layer is not model and hasattr(layer, "reset_states"):
            raise UnsupportedModelError(
                f"{file}: layer {layer.name} ({type(layer).__name__}) keeps its state between "
                "calls (stateful=True).",
                hint="Build it with stateful=False, load the weights, and save it again.",
            )
        if getattr(layer, "quantization_mode", None) == "float8":
            raise UnsupportedModelError(
                f"{file}: layer {layer.name} ({type(layer).__name__}) is quantized to float8, which ONNX "
                "Runtime's CPU provider does not compute.",
                hint="Hand in the model as it was before model.quantize('float8'), or quantize it to int8.",
            )


def _rounding(model: Any) -> Rounding:
    """Keras' own INT8, INT4 and float8 layers round their activations at each call."""
    layers = model._flatten_layers()
    return "dynamic" if any(getattr(layer, "quantization_mode", None) for layer in layers) else "none"


@contextlib.contextmanager
def _named(upload: Path, suffix: str, workspace: Workspace) -> Iterator[Path]:
    """The upload under a name with the ending that Keras insists on."""
    if upload.suffix == suffix:
        yield upload
        return
    with tempfile.TemporaryDirectory(dir=workspace.folder) as folder:
        path = Path(folder) / f"model{suffix}"
        shutil.copyfile(upload, path)
        yield path


@contextlib.contextmanager
def _explained(file: str) -> Iterator[None]:
    """Turn any exception of Keras into one of our kinds."""
    try:
        yield
    except (OptimizerError, MemoryError):
        raise
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceLimitError(
            f"{file}: {first_line(error)}.", hint="Allow the stage more memory."
        ) from error
    except Exception as error:  # Keras raises TypeError, ValueError, AttributeError, KeyError, OSError, ...
        unknown = _UNKNOWN_CLASS.search(str(error))
        if unknown:
            raise UnsupportedModelError(
                f"{file} needs a {unknown[1]} of its author's own: {unknown[2]}.",
                hint="Code that belongs to a model is never run here. Save the model as a SavedModel "
                "(model.export), which needs none.",
            ) from error
        raise UnsupportedModelError(
            f"Keras cannot load {file}: {_reason(error)}.",
            hint="Save the model as a SavedModel (model.export) with the Keras that made it.",
        ) from error


def _reason(error: Exception) -> str:
    """What Keras says, without its colours and its opening words about where it was."""
    lines = [line for line in re.sub(r"\x1b\[\d+m", "", str(error)).splitlines() if line.strip()]
    opening = len(lines) > 1 and lines[0].startswith("Exception encountered")
    if opening:
        return first_line(ValueError(lines[1]))
    if len(lines) > 1 and lines[0].endswith(":"):  # what follows is the reason
        return first_line(ValueError(f"{lines[0]} {lines[1].strip()}"))
    return first_line(error)


def _version_of_zip(path: Path) -> str:
    """The Keras version in a .keras file, in which `detect` found one."""
    with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read("metadata.json"))["keras_version"])


def _version_of_h5(path: Path) -> str:
    """The Keras version in an .h5 file; old files have none."""
    import h5py

    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "")
    return version.decode() if isinstance(version, bytes) else str(version)

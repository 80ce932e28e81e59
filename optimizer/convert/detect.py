"""Tell what kind of model a file or folder holds: by its content, never by its name.

Light enough for the moment of submission: nothing is loaded, and no framework is imported.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from optimizer.convert.formats.checkpoint_files import SAVE_WHOLE, checkpoints, refuse_incomplete
from optimizer.convert.formats.protobuf_fields import parse_fields, read_fields
from optimizer.convert.formats.text_form import first_field
from optimizer.convert.upload import (
    archived_savedmodels,
    holds_savedmodel,
    is_keras_archive,
    member_names,
    model_folder,
    only_onnx,
    onnx_names,
    read_json,
    refuse_files,
)
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.model import first_line
from optimizer.results import Format

_HDF5 = b"\x89HDF\r\n\x1a\n"
_READ_FROM = "Give a SavedModel (folder, .zip, .tar.gz), .keras, .h5, .tflite, frozen .pb or .onnx file."
_WHOLE_CHECKPOINT = "Give a folder or .zip that holds its .meta, .index and .data files together."
_TABLE_END = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"
_DOWNLOAD_AGAIN = "Download or upload the file again."
_OPERATOR_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.>/]*\Z")


def detect(path: Path) -> Format:
    """Tell the format of a model.

    Args:
        path: A file, a SavedModel folder (or a folder with exactly one inside), or an archive of one.

    Raises:
        InvalidModelError: If it is no model; says what it looks like.
        UnsupportedModelError: If it is a model of a kind that cannot be converted, or weights alone.
    """
    if not path.exists():
        is_prefix = path.with_name(f"{path.name}.index").exists()
        raise InvalidModelError(
            f"{path.name} does not exist"
            + ", but a checkpoint of that name does." * is_prefix
            + "." * (not is_prefix),
            hint=_WHOLE_CHECKPOINT if is_prefix else "Check the path.",
        )
    if path.is_dir():
        if only_onnx(path):
            return "onnx"
        return "savedmodel" if holds_savedmodel(model_folder(path)) else "checkpoint"
    if not path.is_file():
        raise InvalidModelError(f"{path.name} is neither a file nor a folder.", hint=_READ_FROM)
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise InvalidModelError(f"{path.name} is empty.", hint=_DOWNLOAD_AGAIN)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith((b"PK\x03\x04", b"\x1f\x8b")) or head[257:262] == b"ustar":
        return _detect_archive(path)
    if _is_hdf5(path, head):
        return _detect_hdf5(path)
    _refuse_known(path, head)
    _refuse_weights(path)
    if field := first_field(head):
        return _detect_text(path, field)
    return _detect_protobuf(path)


def _detect_archive(path: Path) -> Format:
    names = member_names(path)
    if is_keras_archive(names):
        if not any(name.startswith("model.weights") for name in names):
            raise InvalidModelError(
                f"{path.name} is a .keras file without its weights: model.weights.h5 is missing in it.",
                hint=_DOWNLOAD_AGAIN,
            )
        return _detect_keras(path)
    if onnx_names(names):
        return "onnx"
    count = archived_savedmodels(path)
    if count == 1:
        return "savedmodel"
    if count == 0 and checkpoints(names):
        return "checkpoint"
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        raise _pytorch(path)
    if count == 0:
        refuse_files(path.name, names)
        refuse_incomplete(path.name, names)
    what = f"holds {count} SavedModels" if count else "holds no SavedModel (there is no saved_model.pb in it)"
    raise InvalidModelError(
        f"{path.name} is an archive that {what}.",
        hint="Pack one SavedModel folder; give .keras, .h5, .tflite, .pb and .onnx files as they are.",
    )


def _detect_keras(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = read_json(archive, "metadata.json")
        version = str(metadata["keras_version"])
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise InvalidModelError(
            f"{path.name} looks like a .keras file, but its metadata.json has no keras_version.",
            hint="Save the model again with model.save('model.keras').",
        ) from error
    return "keras" if _major(version) >= 3 else "keras2"


def _is_hdf5(path: Path, head: bytes) -> bool:
    """HDF5's signature stands at byte 0, 512, 1024, 2048 ... after a block of the user's own."""
    if head.startswith(_HDF5):
        return True
    with path.open("rb") as file:
        for offset in (512, 1024, 2048, 4096):
            file.seek(offset)
            if file.read(8) == _HDF5:
                return True
    return False


def _detect_hdf5(path: Path) -> Format:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            has_model = "model_config" in file.attrs
            version = file.attrs.get("keras_version", "2")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InvalidModelError(
            f"{path.name} is an HDF5 file that is damaged or incomplete: {first_line(error)}.",
            hint=_DOWNLOAD_AGAIN,
        ) from error
    if not has_model:
        raise UnsupportedModelError(
            f"{path.name} holds weights alone: the layers are missing (no attribute model_config).",
            hint="Build the model in Python, call load_weights, save it whole: model.save('model.keras').",
        )
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
    return "keras_h5" if _major(text) >= 3 else "keras2_h5"


def _major(version: str) -> int:
    digits = re.match(r"\d+", version)
    return int(digits.group()) if digits else 2


def _refuse_known(path: Path, head: bytes) -> None:
    """Raise for what is often handed over instead of a model."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
        raise InvalidModelError(
            f"{path.name} is a web page, not a model: probably an error or log-in page of the site.",
            hint="Download the file itself; open this one in a browser to see what the site said.",
        )
    if head.startswith(b"version https://git-lfs"):
        raise InvalidModelError(
            f"{path.name} is a Git LFS pointer: the model itself was not fetched.",
            hint="Run `git lfs pull` in the repository, then give the file again.",
        )
    if re.match(rb"\x80[\x02-\x05]", head):
        raise _pickle(path, head)
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < path.stat().st_size:
        raise UnsupportedModelError(
            f"{path.name} is a safetensors file: it holds weights alone, no layers.",
            hint="Load it in the framework that made it and export a SavedModel or ONNX file.",
        )
    if head[4:8] == b"ORTM":
        raise UnsupportedModelError(
            f"{path.name} is in ONNX Runtime's own .ort format.", hint="Give the .onnx file it was made of."
        )
    if text[:1] == b"{":
        raise UnsupportedModelError(
            f"{path.name} is JSON: a model's layers or a TensorFlow.js model, without the weights.",
            hint="Save the model whole: model.save('model.keras').",
        )


def _refuse_weights(path: Path) -> None:
    """Raise for one file of a TensorFlow checkpoint."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_TABLE_END)))
        is_table = file.read() == _TABLE_END
    if is_table or re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        raise UnsupportedModelError(
            f"{path.name} is a file of a TensorFlow checkpoint: it holds weights alone, no graph.",
            hint=f"{_WHOLE_CHECKPOINT} Where there is no .meta: {SAVE_WHOLE}",
        )


def _pickle(path: Path, head: bytes) -> UnsupportedModelError:
    if b"torch" in head or b"\x8a\x0al\xfc\x9cF\xf9" in head:
        return _pytorch(path)
    return UnsupportedModelError(
        f"{path.name} is a Python pickle, which runs code when it is read: it was not opened.",
        hint="Save a Keras model with model.save('model.keras').",
    )


def _pytorch(path: Path) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path.name} is a PyTorch file.", hint="Export it with torch.onnx.export, then give the .onnx file."
    )


def _detect_text(path: Path, field: str) -> Format:
    """Tell by the first field what a file in protobuf's text form is; the fields are those below."""
    if field in ("node", "library", "versions"):
        return "graphdef"
    if field in ("saved_model_schema_version", "meta_graphs"):
        raise _graph_of_savedmodel(path, "saved_model.pbtxt")
    if field in ("meta_info_def", "graph_def"):
        raise _meta_alone(path)
    if field in ("model_checkpoint_path", "all_model_checkpoint_paths"):
        raise UnsupportedModelError(
            f"{path.name} is the list of a folder's checkpoints; it holds no model.", hint=_WHOLE_CHECKPOINT
        )
    if field in ("ir_version", "opset_import", "producer_name"):
        raise UnsupportedModelError(
            f"{path.name} is an ONNX model in text form.",
            hint="Write it as a binary: onnx.save(onnx.load(path, format='textproto'), 'model.onnx').",
        )
    raise _unknown(path, set(), {}, None)


def _graph_of_savedmodel(path: Path, name: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path.name} is the {name} of a SavedModel; its variables are missing.",
        hint="Give the whole folder, or a .zip or .tar.gz of it.",
    )


def _meta_alone(path: Path) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path.name} is the .meta file of a TensorFlow 1 checkpoint: the weights are in other files.",
        hint=_WHOLE_CHECKPOINT,
    )


def _detect_protobuf(path: Path) -> Format:
    """Tell ONNX from a frozen graph by the fields of their messages.

    ModelProto: 1 ir_version (number), 7 graph. GraphDef: 1 node (message, repeated; in it 1 name, 2 op),
    2 library, 4 versions. MetaGraphDef: 1 meta_info_def, 2 graph_def. SavedModel: 1 version (number), 2.
    """
    numbers: set[int] = set()
    first: dict[int, bytes] = {}
    has_version = False
    try:
        for field in read_fields(path):
            numbers.add(field.number)
            has_version |= field.number == 1 and field.value is not None
            if field.value is None:
                first.setdefault(field.number, field.head)
    except ValueError as error:
        raise _unknown(path, numbers, first, error) from error
    if has_version and 7 in first:
        return "onnx"
    if has_version and numbers == {1, 2}:
        raise _graph_of_savedmodel(path, "saved_model.pb")
    if 1 in first and _is_node(first[1]):
        return "graphdef"
    if 1 in first and 2 in first:
        raise _meta_alone(path)
    raise _unknown(path, numbers, first, None)


def _is_node(message: bytes) -> bool:
    fields = parse_fields(message)
    return 1 in fields and _OPERATOR_NAME.match(fields.get(2, b"")) is not None


def _unknown(
    path: Path, numbers: set[int], first: dict[int, bytes], error: ValueError | None
) -> InvalidModelError:
    is_graph = 1 in first and _is_node(first[1])
    if error is not None and (is_graph or 8 in numbers or (numbers and numbers <= set(range(1, 8)))):
        return InvalidModelError(
            f"{path.name} is cut off or damaged: it begins like a graph, but {error}.", hint=_DOWNLOAD_AGAIN
        )
    return InvalidModelError(f"{path.name} is no model file that onnxpress knows.", hint=_READ_FROM)

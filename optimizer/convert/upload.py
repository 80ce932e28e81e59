"""Where an upload's model lies: inside its archive, or inside the one folder of a folder."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from optimizer.convert.formats.checkpoint_files import checkpoints, file_names, refuse_incomplete
from optimizer.errors import InvalidModelError
from optimizer.model import first_line

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
_WHOLE_MODELS = (".onnx", ".keras", ".tflite")
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_MEMBERS_LOOKED_AT = 20_000
_JSON_BYTES = 64 << 20


def prepare_upload(path: Path, folder: Path) -> Path:
    """Extract an archive of a SavedModel or checkpoint into `folder`, and find the model.

    Args:
        path: A model file, a folder, or an archive (.zip, .tar, .tar.gz) of one.
        folder: Where to extract an archive; must not exist, its parent must.

    Returns:
        The file, the SavedModel's own folder, the folder with a checkpoint in it, or the only .onnx file.

    Raises:
        InvalidModelError: If an archive or folder does not hold exactly one SavedModel, or a checkpoint.
        UnsupportedModelError: If it holds weights alone.
        UnsafeModelError: If an archive's members would leave the folder.
        ResourceLimitError: If an archive is too large when extracted.
    """
    from optimizer.archives import extract_archive

    if not path.is_dir() and not is_archive(path):
        return path
    extracted = path if path.is_dir() else extract_archive(path, folder)
    return only_onnx(extracted) or model_folder(extracted, shown_as=path.name)


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that may hold a SavedModel; a `.keras` file is none."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(_GZIP) or head[257:262] == b"ustar":
        return True
    return head[:4] == _ZIP and not is_keras_archive(member_names(path))


def is_keras_archive(names: list[str]) -> bool:
    """Whether an archive with these members is a `.keras` file."""
    return "metadata.json" in names and "config.json" in names


def only_onnx(folder: Path) -> Path | None:
    """The .onnx file of a folder that holds no other model: its weights may lie in files beside it."""
    names = file_names(folder)
    return folder / onnx_names(names)[0] if onnx_names(names) else None


def onnx_names(names: list[str]) -> list[str]:
    """The one .onnx file among the names of an archive or folder; none where another model is there too."""
    found = model_files_in(names)
    others = any(PurePosixPath(name).name in SAVED_MODEL_FILES for name in names)
    return found if len(found) == 1 and found[0].lower().endswith(".onnx") and not others else []


def model_files_in(names: list[str]) -> list[str]:
    """Those of an archive's or folder's files that each are a whole model, by their names.

    An .h5 beside another model holds samples or weights, as far as its name tells.
    """
    seen = [name for name in names if not _is_hidden(PurePosixPath(name))]
    found = [name for name in seen if name.lower().endswith(_WHOLE_MODELS)]
    hdf5 = [name for name in seen if name.lower().endswith((".h5", ".hdf5")) and ".weights." not in name]
    return found or hdf5


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def refuse_files(shown_as: str, names: list[str]) -> None:
    """Raise for an archive or folder that holds no SavedModel, but models that are files.

    Raises:
        InvalidModelError: Naming them.
    """
    if found := model_files_in(names):
        listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        what = "several models" if len(found) > 1 else "a model"
        hint = "Give one of them" if len(found) > 1 else "Give the file"
        raise InvalidModelError(f"{shown_as} holds {what}: {listed}.", hint=f"{hint} as it is.")


def model_folder(path: Path, shown_as: str = "") -> Path:
    """The folder of the SavedModel in `path`, or `path` itself where it holds a checkpoint and no SavedModel.

    Raises:
        InvalidModelError: If there is neither, or more than one SavedModel.
        UnsupportedModelError: If there are weights alone.
    """
    try:
        return savedmodel_folder(path, shown_as)
    except InvalidModelError:
        names = file_names(path)
        if any(PurePosixPath(name).name in SAVED_MODEL_FILES for name in names):
            raise
    if not checkpoints(names):
        refuse_files(shown_as or path.name, names)
        refuse_incomplete(shown_as or path.name, names)
        return savedmodel_folder(path, shown_as)
    return path


def savedmodel_folder(path: Path, shown_as: str = "") -> Path:
    """The folder that holds saved_model.pb: `path`, or the only such folder inside it, at most two deep.

    Raises:
        InvalidModelError: If there is none, or more than one.
    """
    if holds_savedmodel(path):
        return path
    inner = sorted(
        child for pattern in ("*", "*/*") for child in path.glob(pattern) if holds_savedmodel(child)
    )
    if len(inner) == 1:
        return inner[0]
    name = shown_as or path.name
    if inner:
        listed = ", ".join(child.relative_to(path).as_posix() for child in inner[:5])
        raise InvalidModelError(
            f"{name} holds {len(inner)} SavedModels: {listed}.", hint="Give one of these folders."
        )
    raise InvalidModelError(
        f"{name} holds no SavedModel: there is no saved_model.pb in it.",
        hint="Give the folder that tf.saved_model.save, model.export or model.save wrote, or a zip of it.",
    )


def archived_savedmodels(path: Path) -> int:
    """How many SavedModels an archive holds, by its members' names."""
    return sum(PurePosixPath(name).name in SAVED_MODEL_FILES for name in member_names(path))


def member_names(path: Path) -> list[str]:
    """The names in a zip or tar file.

    Raises:
        InvalidModelError: If the archive is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        with path.open("rb") as file:
            if file.read(4) == _ZIP:
                raise zipfile.BadZipFile("the end of the zip file is missing")
        names = []
        with tarfile.open(path, "r:*") as archive_tar:
            for member in archive_tar:
                names.append(member.name)
                if len(names) >= _MEMBERS_LOOKED_AT:
                    break
        return names
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} is a damaged archive: {first_line(error)}.",
            hint="Check that the upload or download is complete, or pack it again.",
        ) from error


def read_json(archive: zipfile.ZipFile, name: str) -> Any:
    """Parse a small JSON file of an archive.

    Raises:
        ValueError: If it is no JSON, or larger than any that describes a model.
        RecursionError: If it nests too deeply.
    """
    if archive.getinfo(name).file_size > _JSON_BYTES:
        raise ValueError(f"{name} is larger than {_JSON_BYTES >> 20} MiB")
    return json.loads(archive.read(name))


def holds_savedmodel(path: Path) -> bool:
    """Whether a folder is a SavedModel."""
    return path.is_dir() and any((path / name).is_file() for name in SAVED_MODEL_FILES)

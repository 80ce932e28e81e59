"""Scan a SavedModel folder: no links in it, assets that stay inside, and graphs of harmless operators."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from optimizer.convert.scan.graphs import check_graph
from optimizer.convert.scan.saver import find_saver
from optimizer.convert.scan.tables import assets_of, tables_from_assets
from optimizer.convert.upload import savedmodel_folder
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError
from optimizer.model import first_line

if TYPE_CHECKING:
    from tensorflow.core.protobuf import saved_model_pb2


def scan_savedmodel(folder: Path) -> None:
    """Scan every graph of a SavedModel; `scan` says what it raises."""
    folder = savedmodel_folder(folder)
    _check_files(folder)
    saved_model = read_savedmodel(folder)
    for meta_graph in saved_model.meta_graphs:
        for asset in assets_of(meta_graph):
            _check_asset(folder, asset.filename)
        exempt = replace(find_saver(meta_graph), tables=tables_from_assets(meta_graph))
        check_graph(meta_graph.graph_def, exempt)


def _check_files(folder: Path) -> None:
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise UnsafeModelError(
                    f"{path.relative_to(folder).as_posix()} in {folder.name} is a link or a special file.",
                    hint="Copy the folder with the files that the links mean: cp -rL.",
                )
    if (folder / "saved_model.cpb").exists():
        raise UnsupportedModelError(
            f"{folder.name} holds saved_model.cpb, a SavedModel in several pieces (over 2 GB).",
            hint="Save the model without the chunked format (SaveOptions.experimental_image_format=False).",
        )


def read_savedmodel(folder: Path) -> saved_model_pb2.SavedModel:
    """Parse what TensorFlow's loader would read: saved_model.pb, else saved_model.pbtxt.

    Raises:
        InvalidModelError: If it cannot be parsed, or holds no graph.
    """
    from google.protobuf import message, text_format
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    binary = folder / "saved_model.pb"
    try:
        if binary.exists():
            saved_model.ParseFromString(binary.read_bytes())
        else:
            text_format.Parse((folder / "saved_model.pbtxt").read_text(encoding="utf-8"), saved_model)
    except (message.DecodeError, text_format.ParseError, UnicodeDecodeError, OSError) as error:
        raise InvalidModelError(
            f"The saved_model.pb of {folder.name} cannot be parsed: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    if not saved_model.meta_graphs:
        raise InvalidModelError(
            f"The saved_model.pb of {folder.name} holds no graph.", hint="Save the model again."
        )
    return saved_model


def _check_asset(folder: Path, name: str) -> None:
    path = PurePosixPath(name)
    stays_inside = bool(name) and not path.is_absolute() and ".." not in path.parts and "\\" not in name
    if not stays_inside or "\0" in name:
        raise UnsafeModelError(
            f"Asset {name!r} of {folder.name} lies outside the model's assets folder.",
            hint="Save the model again; asset names are plain file names.",
        )
    if not (folder / "assets" / path).is_file():
        raise InvalidModelError(
            f"Asset {name!r} of {folder.name} is missing: there is no assets/{name}.",
            hint="Give the whole folder, with assets.",
        )

"""Scan Keras files: .keras archives and HDF5 files."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from optimizer.convert.scan.keras_config import check_config
from optimizer.convert.upload import read_json
from optimizer.errors import InvalidModelError, UnsafeModelError
from optimizer.model import first_line

if TYPE_CHECKING:
    import h5py

_AGAIN = "Save the model again, or check that the upload is complete."


def scan_keras(path: Path) -> None:
    """Scan a .keras archive: its members' names, its config and its weights; `scan` says what it raises."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            _check_members(path.name, names)
            check_config(read_json(archive, "config.json"), path.name)
            for name in names:
                if name.endswith((".h5", ".hdf5")):
                    _scan_member(archive, name, f"{name} in {path.name}")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RecursionError) as error:
        raise InvalidModelError(
            f"{path.name} is no readable .keras file: {first_line(error)}.", hint=_AGAIN
        ) from error


def scan_hdf5(path: Path) -> None:
    """Scan an HDF5 file: links and storage outside it, and its config; `scan` says what it raises."""
    import h5py

    with path.open("rb") as file:
        _scan_links(file, path.name)
    try:
        with h5py.File(path, "r") as opened:
            stored = opened.attrs["model_config"]
        config = json.loads(stored)
    except (KeyError, ValueError, TypeError, OSError, RecursionError) as error:
        raise InvalidModelError(
            f"{path.name} holds no readable model_config: {first_line(error)}.", hint=_AGAIN
        ) from error
    check_config(config, path.name)


def _check_members(file_name: str, names: list[str]) -> None:
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UnsafeModelError(
                f"{file_name} holds a member {name!r}, which lies outside it.", hint="Save the model again."
            )
    if len(set(names)) != len(names):
        raise UnsafeModelError(f"{file_name} holds two members of one name.", hint="Save the model again.")


def _scan_member(archive: zipfile.ZipFile, name: str, shown_as: str) -> None:
    """Scan an HDF5 file inside an archive, by way of the disk: it may hold more than fits into memory."""
    with tempfile.TemporaryFile() as file:
        with archive.open(name) as member:
            shutil.copyfileobj(member, file)
        _scan_links(file, shown_as)


def _scan_links(file: BinaryIO | IO[bytes], file_name: str) -> None:
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            _walk_group(opened, file_name)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InvalidModelError(
            f"{file_name} is a damaged HDF5 file: {first_line(error)}.", hint=_AGAIN
        ) from error


def _walk_group(root: h5py.Group, file_name: str) -> None:
    import h5py

    seen: set[Any] = set()
    waiting = [root]
    while waiting:
        group = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # hard links can make a ring
            continue
        seen.add(place)
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name} in {file_name}"
            if isinstance(link, h5py.ExternalLink):
                raise _outside(where, "is a link into another file")
            if isinstance(link, h5py.SoftLink):
                continue  # it leads to another place of this walk, or nowhere
            member = group[name]
            if isinstance(member, h5py.Group):
                waiting.append(member)
            elif isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
                raise _outside(where, "keeps its values in another file")


def _outside(where: str, what: str) -> UnsafeModelError:
    return UnsafeModelError(f"{where} {what}.", hint="Save the model whole: model.save('model.keras').")

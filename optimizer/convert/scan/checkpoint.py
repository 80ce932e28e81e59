"""Scan a TensorFlow 1 checkpoint: plain files, and a graph that can be parsed.

Of the graph only the part behind the outputs is ever loaded, which the user can choose: the loader checks
that part's operators before TensorFlow sees it. What trains, saves and reads data lies outside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.convert.formats.checkpoint_files import CheckpointFiles, find_checkpoint
from optimizer.convert.formats.text_form import first_field, parse_text
from optimizer.convert.scan.graphdef import read_graphdef
from optimizer.errors import InvalidModelError, UnsafeModelError
from optimizer.model import first_line

if TYPE_CHECKING:
    from tensorflow.core.framework import graph_pb2


def scan_checkpoint(folder: Path) -> None:
    """Scan a checkpoint; `scan` says what it raises."""
    files = find_checkpoint(folder)
    beside = [path for path in (folder / files.place).iterdir() if _belongs(path.name, files)]
    for path in [folder / files.graph, *beside]:
        if path.is_symlink() or not path.is_file():
            raise UnsafeModelError(
                f"{path.name} of the checkpoint is a link or no file.",
                hint="Copy the folder with the files that the links mean: cp -rL.",
            )
    read_checkpoint_graph(folder, files)


def _belongs(name: str, files: CheckpointFiles) -> bool:
    return name == files.name or name.startswith(f"{files.name}.")


def read_checkpoint_graph(folder: Path, files: CheckpointFiles) -> graph_pb2.GraphDef:
    """Parse the graph of a checkpoint; nothing of it runs.

    Raises:
        InvalidModelError: If it cannot be parsed.
        ResourceLimitError: If it is in text form, and long.
    """
    from google.protobuf import message
    from tensorflow.core.protobuf import meta_graph_pb2

    path = folder / files.graph
    if not path.name.endswith(".meta"):
        return read_graphdef(path)
    meta_graph = meta_graph_pb2.MetaGraphDef()
    try:
        with path.open("rb") as file:
            is_text = bool(first_field(file.read(1024)))
        if is_text:
            parse_text(path, meta_graph)
        else:
            meta_graph.ParseFromString(path.read_bytes())
    except (message.DecodeError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed as the .meta file of a checkpoint: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    return meta_graph.graph_def

"""Scan a frozen graph (GraphDef), in binary or text form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from optimizer.convert.formats.text_form import first_field, parse_text
from optimizer.convert.scan.graphs import check_graph
from optimizer.convert.scan.operators import RESTORE, SAVER
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.model import first_line

if TYPE_CHECKING:
    from tensorflow.core.framework import graph_pb2


def scan_graphdef(path: Path) -> None:
    """Scan a frozen graph; `scan` says what it raises."""
    graph = read_graphdef(path)
    saver = next((node for node in graph.node if node.op in SAVER or node.op == RESTORE), None)
    if saver is not None:
        raise UnsupportedModelError(
            f"{path.name} is not frozen: it holds a saver (node {saver.name}, operator {saver.op}), so its "
            "weights are in a checkpoint.",
            hint="Give it in a folder or .zip with its checkpoint (.index, .data), or the SavedModel.",
        )
    check_graph(graph)


def read_graphdef(path: Path) -> graph_pb2.GraphDef:
    """Parse a GraphDef; nothing of it runs.

    Raises:
        InvalidModelError: If it cannot be parsed.
        ResourceLimitError: If it is in text form, and long.
    """
    from google.protobuf import message
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    try:
        with path.open("rb") as file:
            is_text = bool(first_field(file.read(1024)))
        if is_text:
            return parse_text(path, graph)
        graph.ParseFromString(path.read_bytes())
    except (message.DecodeError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed as a graph: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    return graph

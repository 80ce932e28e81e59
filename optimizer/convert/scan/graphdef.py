"""Scan a frozen graph (GraphDef)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
            hint="Freeze the graph with its checkpoint first, or give a SavedModel.",
        )
    check_graph(graph)


def read_graphdef(path: Path) -> graph_pb2.GraphDef:
    """Parse a GraphDef; nothing of it runs.

    Raises:
        InvalidModelError: If it cannot be parsed.
    """
    from google.protobuf import message
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except (message.DecodeError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed as a graph: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    return graph

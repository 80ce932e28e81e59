"""Chooses the graph of a SavedModel that is converted, and copies it in a form that all tools load.

A SavedModel holds one graph per set of tags: `serve` for most, `serve,gpu`, `train` or none for some. The
copy holds the chosen one alone, tagged `serve`, without what its exporter noted and TensorFlow trips over.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2

from optimizer.convert.scan.savedmodel import read_savedmodel
from optimizer.convert.tensorflow_graph.clean_graph import strip_exporters_notes
from optimizer.errors import InvalidModelError, UnsupportedModelError

_SERVE = {"serve"}


def choose_graph(folder: Path) -> tuple[Any, tuple[str, ...]]:
    """The graph tagged `serve`; where there is none with signatures, the only one that has some.

    Returns:
        The graph, and notes for the user.

    Raises:
        InvalidModelError: If the SavedModel cannot be read, or lacks its weights.
        UnsupportedModelError: If several graphs could be meant.
    """
    graphs = list(read_savedmodel(folder).meta_graphs)
    callable_graphs = [graph for graph in graphs if signatures_of(graph)] or graphs
    serving = [graph for graph in callable_graphs if set(graph.meta_info_def.tags) == _SERVE]
    candidates = serving or callable_graphs
    if len(candidates) > 1:
        listed = "; ".join(f"{tags_of(graph)} ({', '.join(signatures_of(graph))})" for graph in candidates)
        raise UnsupportedModelError(
            f"The SavedModel has several graphs, and none tagged 'serve' alone: {listed}.",
            hint="Save the one to optimize in a SavedModel of its own, tagged 'serve'.",
        )
    [chosen] = candidates
    _require_variables(folder, chosen)
    if set(chosen.meta_info_def.tags) == _SERVE:
        return chosen, ()
    return chosen, (
        f"the graph tagged {tags_of(chosen)} was converted; none with a signature is tagged serve",
    )


def signatures_of(meta_graph: Any) -> list[str]:
    """The signatures that a user may call; TensorFlow keeps some of its own."""
    return sorted(name for name in meta_graph.signature_def if not name.startswith("_"))


def tags_of(meta_graph: Any) -> str:
    """The tags in words."""
    return ",".join(sorted(meta_graph.meta_info_def.tags)) or "with nothing"


def copy_graph(upload: Path, meta_graph: Any, target: Path) -> None:
    """Copy a SavedModel with one of its graphs alone, tagged `serve`."""
    shutil.copytree(upload, target)
    plain = saved_model_pb2.SavedModel(saved_model_schema_version=1, meta_graphs=[meta_graph])
    strip_exporters_notes(plain.meta_graphs[0].graph_def)
    plain.meta_graphs[0].meta_info_def.tags[:] = ["serve"]
    (target / "saved_model.pbtxt").unlink(missing_ok=True)
    (target / "saved_model.pb").write_bytes(plain.SerializeToString(deterministic=True))


def _require_variables(folder: Path, meta_graph: Any) -> None:
    holds_variables = any(node.op in ("VarHandleOp", "VariableV2") for node in meta_graph.graph_def.node)
    if holds_variables and not (folder / "variables" / "variables.index").is_file():
        raise InvalidModelError(
            f"The SavedModel {folder.name} lacks its weights: there is no variables/variables.index.",
            hint="Send the whole folder that was saved.",
        )

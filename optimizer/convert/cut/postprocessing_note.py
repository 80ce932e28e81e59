"""Tells the user of post-processing inside the graph, and where `--outputs` would cut it off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.convert.prepared import Prepared
from optimizer.graph.postprocessing import Node, Postprocessing, find_postprocessing, onnx_nodes
from optimizer.graph.structure import true_inputs
from optimizer.workspace import Workspace

if TYPE_CHECKING:
    import onnx

_SHOWN = 6
_CALLS = re.compile(r"^((Stateful)?PartitionedCall(_\d+)?/)+")


def note_postprocessing(proto: onnx.ModelProto, prepared: Prepared, workspace: Workspace) -> tuple[str, ...]:
    """A note that names the post-processing of a converted model, in the upload's own names."""
    converted = find_postprocessing(*_of_onnx(proto))
    if not converted.operators:
        return ()
    if prepared.runtime == "ONNX Runtime":
        return (_note(converted, converted.begins_at),)
    if prepared.runtime == "TFLite":
        from optimizer.convert.formats.tflite_file import tflite_nodes

        found = find_postprocessing(*tflite_nodes(workspace.original))
        return (_note(found if found.operators else converted, found.begins_at),)
    found = find_postprocessing(*_of_savedmodel(workspace, prepared.signature))
    names = dict.fromkeys(_name(tensor, prepared.layers) for tensor in found.begins_at)
    return (_note(found if found.operators else converted, list(names)),)


def _of_onnx(proto: onnx.ModelProto) -> tuple[list[Node], list[str]]:
    return onnx_nodes(proto.graph), [value.name for value in true_inputs(proto.graph)]


def _of_savedmodel(workspace: Workspace, signature: str) -> tuple[list[Node], tuple[str, ...]]:
    import tensorflow as tf

    from optimizer.convert.tensorflow_graph.inlined_graph import InlinedGraph

    loaded = tf.saved_model.load(str(workspace.original), tags=["serve"])
    graph = InlinedGraph(loaded.signatures[signature])
    return graph.nodes(), graph.inputs


def _name(tensor: str, layers: Sequence[str]) -> str:
    """How a user names a tensor: by its layer, else without the calls that it lies in.

    >>> _name("StatefulPartitionedCall/model_1/boxes_1/BiasAdd:0", ["boxes"])
    'boxes'
    >>> _name("StatefulPartitionedCall/model/split:1", [])
    'model/split:1'
    """
    name = _CALLS.sub("", tensor.removesuffix(":0"))
    scope = name.split("/")[-2] if "/" in name else ""
    return next((layer for layer in (scope, re.sub(r"_\d+$", "", scope)) if layer in layers), name)


def _note(found: Postprocessing, begins_at: Sequence[str]) -> str:
    note = (
        f"the graph holds post-processing ({', '.join(found.operators)}), which quantization leaves in float"
    )
    if not begins_at:
        return note
    if len(begins_at) > _SHOWN:
        shown = ", ".join(begins_at[:_SHOWN])
        return (
            f"{note}; it begins at {len(begins_at)} tensors ({shown}, ...), where --outputs can end the model"
        )
    return f"{note}; to leave it outside: --outputs {','.join(begins_at)}"

"""Lookup tables that are read from a text file: allowed where that file is one of the SavedModel's assets.

The file's name reaches the operator through Identity nodes, variables, calls and what TensorFlow 2 binds to a
function. The way is followed back: a table whose name comes from anywhere but an asset is left out.
"""

from __future__ import annotations

from typing import Any

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.scan.operators import TABLE_FROM_FILE
from optimizer.convert.scan.saver import CALLS, functions_of_objects, mentioned
from optimizer.errors import InvalidModelError

MAIN_GRAPH = ""
_ASSETS_KEY = "saved_model_assets"
_STEPS_LIMIT = 1000


def tables_from_assets(meta_graph: Any) -> frozenset[tuple[str, str]]:
    """The nodes that fill a table from an asset: (function, node), the function "" in the main graph."""
    graph = meta_graph.graph_def
    bodies = {MAIN_GRAPH: graph.node} | {f.signature.name: f.node_def for f in graph.library.function}
    found = [(name, node) for name, body in bodies.items() for node in body if node.op in TABLE_FROM_FILE]
    if not found:
        return frozenset()
    origin = _Origin(meta_graph, bodies)
    return frozenset(
        (name, node.name)
        for name, node in found
        if len(node.input) > 1 and origin.is_asset(name, node.input[1])
    )


def assets_of(meta_graph: Any) -> list[Any]:
    """The assets (AssetFileDef): TensorFlow 2 lists them in a field, TensorFlow 1 in a collection."""
    from google.protobuf import message
    from tensorflow.core.protobuf import meta_graph_pb2

    assets = list(meta_graph.asset_file_def)
    for key, collection in meta_graph.collection_def.items():
        if key == _ASSETS_KEY:
            for packed in collection.any_list.value:
                asset = meta_graph_pb2.AssetFileDef()
                try:
                    packed.Unpack(asset)
                except message.DecodeError as error:
                    raise InvalidModelError(
                        "An asset of the SavedModel cannot be parsed.", hint="Save the model again."
                    ) from error
                assets.append(asset)
    return assets


class _Origin:
    """Follows a value of a meta graph back to where it comes from."""

    def __init__(self, meta_graph: Any, bodies: dict[str, Any]) -> None:
        self._meta_graph = meta_graph
        self._bodies = bodies
        self._nodes = {name: {node.name: node for node in body} for name, body in bodies.items()}
        self._arguments = {
            function.signature.name: [argument.name for argument in function.signature.input_arg]
            for function in meta_graph.graph_def.library.function
        }
        self._assets = {node_name(asset.tensor_info.name) for asset in assets_of(meta_graph)}
        self._steps = 0

    def is_asset(self, function: str, reference: str) -> bool:
        """Whether an input of a node can be nothing but the path of an asset."""
        self._steps += 1
        if self._steps > _STEPS_LIMIT:
            return False
        if (
            function != MAIN_GRAPH and ":" not in reference
        ):  # in a function, a name without ":" is an argument
            arguments = self._arguments[function]
            return reference in arguments and self._is_asset_for_callers(function, arguments.index(reference))
        node = self._nodes[function].get(node_name(reference))
        if node is None:
            return False
        if node.op == "Identity" and node.input:
            return self.is_asset(function, node.input[0])
        if function == MAIN_GRAPH and node.op == "ReadVariableOp" and node.input:
            return self._is_asset_variable(node_name(node.input[0]))
        return function == MAIN_GRAPH and node.name in self._assets and node.op in ("Const", "Placeholder")

    def _is_asset_variable(self, handle: str) -> bool:
        """Whether a variable of the main graph holds an asset's path: TensorFlow 2 keeps it in one there."""
        variable = self._nodes[MAIN_GRAPH].get(handle)
        if variable is None or variable.op != "VarHandleOp" or self._has_twin(variable):
            return False
        for node in self._bodies[MAIN_GRAPH]:
            inputs = [node_name(reference) for reference in node.input if not reference.startswith("^")]
            if handle not in inputs or node.op in ("ReadVariableOp", "VarIsInitializedOp"):
                continue
            if node.op != "AssignVariableOp" or len(inputs) < 2 or not self.is_asset(MAIN_GRAPH, inputs[1]):
                return False
        return True

    def _has_twin(self, variable: Any) -> bool:
        """Whether another node could write the same variable under its shared name."""
        name = variable.attr["shared_name"].s
        same = [
            node
            for body in self._bodies.values()
            for node in body
            if node.op == "VarHandleOp" and node.attr["shared_name"].s == name
        ]
        return not name or len(same) > 1

    def _is_asset_for_callers(self, function: str, index: int) -> bool:
        """Whether all who call a function hand it an asset as the argument of this index."""
        calls = [
            (caller, node)
            for caller, body in self._bodies.items()
            for node in body
            if function in mentioned(node)
        ]
        if not all(
            node.op in CALLS and len(node.input) > index and self.is_asset(caller, node.input[index])
            for caller, node in calls
        ):
            return False
        objects = self._meta_graph.object_graph_def
        if function not in functions_of_objects(objects):
            return bool(calls)
        bound = (
            objects.concrete_functions[function].bound_inputs
            if function in objects.concrete_functions
            else []
        )
        place = index - (len(self._arguments[function]) - len(bound))  # bound inputs follow the caller's own
        return 0 <= place < len(bound) and self._is_asset_object(bound[place])

    def _is_asset_object(self, node_id: int) -> bool:
        nodes = self._meta_graph.object_graph_def.nodes
        return 0 <= node_id < len(nodes) and nodes[node_id].WhichOneof("kind") == "asset"

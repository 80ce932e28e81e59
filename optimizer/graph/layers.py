"""Finds the layer of a model that a node belongs to: its own node, or one that a tool made of some.

    model/block/dense/MatMul            block/dense, the folders of the node's name
    model/block/dense/MatMul:0_nchwc    the same, from the value that ONNX Runtime named it after
    model/block/dense/Tensordot/Prod    the same: TensorFlow writes some functions as several operators
    Conv__349                           the layer of its weight, else of what reads it

    StatefulPartitionedCall/model/gru/while/add    gru, as `scopes` reads what TensorFlow writes

Exporters name nodes like paths, and whoever makes a new node of old ones begins its name with one of theirs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from optimizer.graph.scopes import Scopes, is_called, without_calls
from optimizer.graph.structure import all_graphs, all_nodes

if TYPE_CHECKING:
    import onnx

_ENDS = re.compile(r"[/:_.]+[^/:_.]*$")
_PARTS = re.compile(
    r"(?:/(?:Tensordot|Gelu|moments|batchnorm|convolution|Reshape|Repeat|einsum|Softmax|MatMul)(?:_\d+)?)+$"
)
"""Functions of TensorFlow that are folders in names, but no layers."""

_MOST = 0.8
"""Of the names, to begin with a folder that is then left out."""

_FURTHEST = 3
"""Steps to a reader that has a layer, for a node whose name tells none."""


class Layers:
    """The layers of a model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Read the names of a model as its author wrote it; values of weights are not looked at."""
        nodes = list(all_nodes(model.graph))
        self._nodes = {name: node for node in nodes for name in _names(node) if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._weights = {tensor.name for graph in all_graphs(model.graph) for tensor in graph.initializer}
        names = [node.name for node in nodes]
        self._scopes = Scopes(names) if any(map(is_called, names)) else None
        self._root = _common_folder(filter(None, (_folder(node.name) for node in nodes)))

    def layer_of(self, name: str) -> str | None:
        """The layer of a node, by its name or that of a value, also after ONNX Runtime or a rewrite made it.

        Returns:
            The folders of the original node's name, without those that most nodes share; the node's own name,
            or that of its value, where it has no layer; None for a name that says nothing, as some of ONNX
            Runtime's own do.
        """
        node = self._origin(name)
        folder = self._folder_of(node) if node is not None else _folder(name)
        if folder is None:
            return node and next(filter(None, (node.name, *node.output)), name)
        return self._short(folder)

    def _origin(self, name: str) -> onnx.NodeProto | None:
        """The node of the model whose name, or the name of whose value, this name begins with."""
        while name and name not in self._nodes:
            shorter = _ENDS.sub("", name)
            if shorter == name:
                return None
            name = shorter
        return self._nodes.get(name)

    def _folder_of(self, node: onnx.NodeProto) -> str | None:
        """The folder of its name, of its weights' layer, or of the nearest node that reads it."""
        nodes = [node]
        for _ in range(_FURTHEST):
            for one in nodes:
                weights = (_folder(name) for name in one.input if name in self._weights)
                # A weight's name begins with the operator that reads it: dense/MatMul/ReadVariableOp.
                folders = (_folder(one.name), *(_folder(folder) or folder for folder in weights if folder))
                folder = next(filter(None, folders), None)
                if folder is not None:
                    return folder
            nodes = [reader for one in nodes for name in one.output for reader in self._readers.get(name, ())]
        return None

    def _short(self, folder: str) -> str:
        if self._scopes is not None:
            return self._scopes.layer_of(f"{folder}/") or without_calls(folder)
        if folder == self._root:
            return folder.rpartition("/")[2]
        return folder.removeprefix(f"{self._root}/") if self._root else folder


def _names(node: onnx.NodeProto) -> tuple[str, ...]:
    """All that a node is known by; one without a name also by that which `name_nodes` gives it."""
    given = node.name or f"{node.op_type}_{next(filter(None, node.output), '')}"
    return (*node.output, given)


def _folder(name: str) -> str | None:
    """The folders of a name; None where it has none. PyTorch's names begin with a slash.

    >>> _folder("/encoder/attention/MatMul"), _folder("dense/Tensordot/Prod"), _folder("Conv__3")
    ('encoder/attention', 'dense', None)
    """
    folder = name.strip("/").rpartition("/")[0]
    return _PARTS.sub("", folder) or None


def _common_folder(folders: Iterable[str]) -> str:
    """The folders that most names begin with.

    >>> _common_folder(["model/dense", "model/dense", "model/conv", "model/conv", "model", "transposes"])
    'model'
    """
    paths = [folder.split("/") for folder in folders]
    shared: list[str] = []
    while paths:
        part, count = Counter(path[len(shared)] if path[len(shared) :] else "" for path in paths).most_common(
            1
        )[0]
        if not part or count < _MOST * len(paths):
            break
        shared.append(part)
        paths = [path for path in paths if path[: len(shared)] == shared]
    return "/".join(shared)

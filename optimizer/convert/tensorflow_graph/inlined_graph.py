"""The graph of a SavedModel's signature, with the functions that it calls written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.naming import ambiguous_output, unknown_output
from optimizer.convert.tensorflow_graph.clean_graph import keep_needed
from optimizer.errors import InvalidOptionsError
from optimizer.graph.postprocessing import Node


class InlinedGraph:
    """The graph of a signature's function, with the functions that it calls written out."""

    def __init__(self, function: Any, layers: Sequence[str] = ()) -> None:
        self._layers = layers
        # Functions marked for XLA stay calls: TensorFlow may be able to run them only compiled.
        self.definition = convert_to_constants._run_inline_graph_optimization(function, False, True)
        taken = function.inputs[: len(function.inputs) - len(function.captured_inputs)]
        self._inputs = dict(zip(function._arg_keywords, taken, strict=True))
        keys = sorted(function.structured_outputs)
        self._outputs = {key: result.name for key, result in zip(keys, function.outputs, strict=True)}
        self._captured = {inner.name: outer for outer, inner in function.graph.captures}
        self._nodes: dict[str, Any] = {node.name: node for node in self.definition.node}
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(self.definition, name="")
        self._graph = graph

    def find(self, asked: str) -> list[tuple[str, str]]:
        """What a name means: the name that each output shall have, and its tensor."""
        if asked in self._outputs:
            return [(asked, self._outputs[asked])]
        node = self._node(asked)
        if ":" not in asked:
            return [(asked, tensor.name) for tensor in self._graph.get_operation_by_name(node).outputs]
        tensor = f"{node}:{asked.partition(':')[2]}"
        there = [result.name for result in self._graph.get_operation_by_name(node).outputs]
        if tensor not in there:
            raise InvalidOptionsError(
                f"The model has no tensor {asked!r}.", hint=f"Its node has these: {', '.join(there)}."
            )
        return [(asked, tensor)]

    def _node(self, asked: str) -> str:
        name = node_name(asked)
        if name in self._nodes:
            return name
        ending = [node for node in self._nodes if node.endswith(f"/{name}")]
        if len(ending) > 1:
            raise ambiguous_output(asked, ending)
        if not ending:
            raise unknown_output(asked, [*self._behind_inputs(), *self._outputs, *self._layers])
        return ending[0]

    def nodes(self) -> list[Node]:
        """All nodes, in topological order."""
        return [
            Node(
                operation.name,
                operation.type,
                tuple(tensor.name for tensor in operation.inputs),
                tuple(tensor.name for tensor in operation.outputs),
            )
            for operation in self._graph.get_operations()
        ]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors that are fed."""
        return tuple(tensor.name for tensor in self._inputs.values())

    def cut(self, tensors: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Remove what none of the tensors needs; the inputs that are left, and those that are not."""
        inputs = {tensor.op.name for tensor in self._inputs.values()}
        for tensor in tensors:
            if not self._behind(tensor) & inputs:
                raise InvalidOptionsError(
                    f"{tensor} needs none of the inputs ({', '.join(self._inputs)}), so it is no output.",
                    hint="Name a tensor behind the inputs.",
                )
        keep_needed(self.definition, tensors)
        left = {node.name for node in self.definition.node}
        needed = {name: tensor for name, tensor in self._inputs.items() if tensor.op.name in left}
        return needed, [name for name in self._inputs if name not in needed]

    def captures(self) -> Mapping[str, Any]:
        """Node to the weight or table that it stands for, of those that are left."""
        left = {node.name for node in self.definition.node}
        return {node_name(name): value for name, value in self._captured.items() if node_name(name) in left}

    def _behind_inputs(self) -> list[str]:
        """The nodes that depend on the inputs, which alone can be outputs."""
        live, found = set(self.inputs), []
        for node in self.nodes():
            if live.intersection(node.inputs):
                live.update(node.outputs)
                if node.outputs and not node.name.startswith("Func/"):  # which inlining put in
                    found.append(node.name)
        return found

    def _behind(self, tensor: str) -> set[str]:
        found: set[str] = set()
        waiting = [node_name(tensor)]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self._nodes:
                found.add(name)
                waiting += map(node_name, self._nodes[name].input)
        return found

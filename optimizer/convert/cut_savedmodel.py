"""Cuts one signature of a SavedModel at named tensors: what comes after them stays outside.

The signature's function is inlined, so that the tensors inside the functions that it calls can be named,
and saved again with these tensors as its results. Weights and tables stay variables and tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import wrap_function
from tensorflow.python.framework import convert_to_constants

from optimizer.convert.clean_graph import keep_needed
from optimizer.convert.naming import ambiguous_output, unique_names, unknown_output
from optimizer.convert.save_signature import save_signature
from optimizer.convert.tensor_names import node_name
from optimizer.errors import InvalidOptionsError, UnsupportedModelError
from optimizer.model import first_line


@dataclass(frozen=True)
class Cut:
    """What was saved."""

    outputs: tuple[str, ...]
    """In the order asked for."""
    notes: tuple[str, ...] = ()


def cut_savedmodel(
    source: Path, target: Path, request: tuple[str, Sequence[str]], layers: Sequence[str] = ()
) -> Cut:
    """Write `source` to `target` with a signature that has the tensors asked for as its outputs.

    Args:
        source: The folder of a SavedModel whose graph is tagged `serve`.
        target: The folder to write; it does not exist yet.
        request: The signature to cut, which keeps its name, and what shall come out of it: outputs of the
            signature; or nodes (all that they give) or tensors (`node:1`) of its graph, by their names or
            by the last parts of these, as long as they mean one node.
        layers: More names, to show where one is misspelled.

    Raises:
        InvalidOptionsError: If there is no such tensor, several could be meant, or it needs no input.
        UnsupportedModelError: If TensorFlow cannot cut the graph.
    """
    signature, asked = request
    try:
        loaded = tf.saved_model.load(str(source), tags=["serve"])
        graph = _InlinedGraph(loaded.signatures[signature], layers)
        tensors = [tensor for name in asked for tensor in graph.find(name)]
        names = unique_names(name.removesuffix(":0") for name, _ in tensors)
        needed, unused = graph.cut([tensor for _, tensor in tensors])
        function = wrap_function.function_from_graph_def(
            graph.definition,
            [tensor.name for tensor in needed.values()],
            [tensor for _, tensor in tensors],
            graph.captures(),
        )
        save_signature(function, (signature, needed, names), target, keep=loaded)
    except (AssertionError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UnsupportedModelError(
            f"TensorFlow cannot cut the graph at {', '.join(asked)}: {first_line(error)}.",
            hint="Cut the model where it was made, and save it again.",
        ) from error
    note = (f"inputs that no output needs were left out: {', '.join(unused)}",) if unused else ()
    return Cut(names, note)


class _InlinedGraph:
    """The graph of a signature's function, with the functions that it calls written out."""

    def __init__(self, function: Any, layers: Sequence[str]) -> None:
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
            known = [node for node in self._nodes if not node.startswith("Func/")]
            raise unknown_output(asked, [*known, *self._outputs, *self._layers])
        return ending[0]

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

    def _behind(self, tensor: str) -> set[str]:
        found: set[str] = set()
        waiting = [node_name(tensor)]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self._nodes:
                found.add(name)
                waiting += map(node_name, self._nodes[name].input)
        return found

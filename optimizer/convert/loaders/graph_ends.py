"""Finds where a TensorFlow graph without a signature begins and ends.

It begins at its placeholders. A placeholder with a default (is_training, keep_prob, the batch size) takes
that default, unless the graph has no other. It ends at the nodes that nobody consumes. In a graph that still
holds its training, those are the loss and the accuracy, for which the labels are inputs too: there, an end
that does without some of the inputs is the prediction. Where there is none, the user has to name the outputs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.convert.formats.tensor_names import node_name
from optimizer.errors import InvalidOptionsError, UnsupportedModelError

VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"})
_PLACEHOLDERS = {"Placeholder", "PlaceholderV2"}
_DEFAULTED = "PlaceholderWithDefault"
# Nodes without consumers that are no results: effects, checks, constants left over from training.
_NO_RESULT = {"NoOp", "Const", "Assert", "Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "Print"}
_TRAINING = ("Apply", "ResourceApply", "SparseApply", "ResourceSparseApply")
_EFFECTS = ("Assign", "Save", "Restore", "MergeV2", "Sharded", "QueueEnqueue", "QueueClose", *_TRAINING)
_LOOPS = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
_SHOWN = 8


@dataclass(frozen=True)
class Ends:
    """What goes into a graph and comes out of it."""

    inputs: tuple[str, ...]
    """Tensors, like `image:0`."""
    outputs: tuple[str, ...]
    """Tensors, or nodes of which all tensors come out."""
    notes: tuple[str, ...] = ()


def find_ends(graph_def: Any, asked: Sequence[str] = ()) -> Ends:
    """Choose inputs and outputs.

    Args:
        graph_def: The graph.
        asked: Nodes or tensors that shall come out; empty takes those that nobody consumes.

    Raises:
        InvalidOptionsError: If the graph has no node of that name, or it needs no input.
        UnsupportedModelError: If the graph has no input or result, or none that can be told for a prediction.
    """
    graph = _Graph(graph_def)
    inputs = graph.inputs()
    if not inputs:
        raise UnsupportedModelError(
            f"The graph has no Placeholder, so no inputs; its last nodes are: {graph.last_nodes()}.",
            hint="Hand in a SavedModel, whose signature names inputs and outputs.",
        )
    if asked:
        outputs, note = graph.asked(asked, inputs), ""
    else:
        outputs, note = graph.inferred(inputs)
    used = graph.needed(outputs)
    unused = [name for name in inputs if name not in used]
    notes = [note] if note else []
    if unused:
        notes.append(f"placeholders that no output needs were left out: {', '.join(unused)}")
    if fixed := [name for name in graph.defaulted() if name in used and name not in inputs]:
        shown = ", ".join(fixed[:_SHOWN]) + (f" and {len(fixed) - _SHOWN} more" if fixed[_SHOWN:] else "")
        notes.append(f"placeholders that have a default keep it, and are no inputs: {shown}")
    return Ends(tuple(f"{name}:0" for name in inputs if name in used), tuple(outputs), tuple(notes))


class _Graph:
    """The nodes of a graph, and who consumes whom."""

    def __init__(self, graph_def: Any) -> None:
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}
        self.consumers: dict[str, set[str]] = {}
        for node in graph_def.node:
            for source in node.input:
                self.consumers.setdefault(node_name(source), set()).add(node.name)

    def inputs(self) -> list[str]:
        """The placeholders, in the file's order; those with a default only where there are no others."""
        plain = [name for name, node in self.nodes.items() if node.op in _PLACEHOLDERS]
        defaulted = self.defaulted()
        settings = [name for name in defaulted if _is_scalar(self.nodes[name])]
        return plain or [name for name in defaulted if name not in settings] or defaulted

    def defaulted(self) -> list[str]:
        """The placeholders that have a default, in the file's order."""
        return [name for name, node in self.nodes.items() if node.op == _DEFAULTED]

    def last_nodes(self) -> str:
        return ", ".join(list(self.nodes)[-5:])

    def needed(self, tensors: Iterable[str]) -> set[str]:
        """The nodes behind some tensors, their own included."""
        found: set[str] = set()
        waiting = [node_name(tensor) for tensor in tensors]
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.nodes:
                found.add(name)
                waiting += map(node_name, self.nodes[name].input)
        return found

    def reached(self, roots: Iterable[str], without: set[str]) -> set[str]:
        """The nodes that depend on some nodes, these included, by ways around others."""
        found: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name not in found and name not in without:
                found.add(name)
                waiting += self.consumers.get(name, ())
        return found

    def asked(self, names: Sequence[str], inputs: Sequence[str]) -> list[str]:
        """The tensors that the user named."""
        for name in names:
            if node_name(name) not in self.nodes:
                near = difflib.get_close_matches(name, self.nodes, 3, 0.5) or [self.last_nodes()]
                raise InvalidOptionsError(
                    f"The graph has no node {name!r}.", hint=f"It has these: {', '.join(near)}."
                )
            if not self.needed([name]) & set(inputs):
                raise InvalidOptionsError(
                    f"{name} needs none of the graph's inputs ({', '.join(inputs)}), so it is no output.",
                    hint="Name a node behind the inputs.",
                )
        return list(names)

    def inferred(self, inputs: Sequence[str]) -> tuple[list[str], str]:
        """The results that nobody consumes, and what to tell the user of the choice."""
        training = [name for name, node in self.nodes.items() if node.op.startswith(_TRAINING)]
        effects = {name for name, node in self.nodes.items() if _is_effect(node)}
        apart = self.reached(effects, set()) if training else effects
        depend = {name: self.reached([name], apart) for name in inputs}
        behind = set().union(*depend.values())
        no_result = apart | {name for name, node in self.nodes.items() if node.op in _NO_RESULT}
        # A check behind a result consumes it, but does not make it less of one.
        results = [
            name
            for name in self.nodes
            if name in behind - no_result and not self.consumers.get(name, set()) - no_result
        ]
        results = [name for name in results if not self._is_left_of_loop(name)] or results
        results = self._not_assigned(results) or results
        if not results:
            raise UnsupportedModelError(
                "The graph has no result that depends on its inputs; its last nodes are: "
                f"{self.last_nodes()}.",
                hint="Name what shall come out with the option `outputs`.",
            )
        if training and len(inputs) > 1:
            return self._predictions(results, depend, apart)
        return results, f"outputs, taken from the nodes that nobody consumes: {', '.join(results)}"

    def _is_left_of_loop(self, name: str) -> bool:
        """Whether a node hands on a value of a loop or condition, of which TensorFlow does so for each."""
        node = self.nodes[name]
        source = self.nodes.get(node_name(node.input[0])) if node.input else None
        return node.op == "Exit" or (node.op == "Identity" and source is not None and source.op in _LOOPS)

    def _not_assigned(self, names: Sequence[str]) -> list[str]:
        """Those that do more than change a variable, as the update of a moving average does."""
        assigns = [name for name, node in self.nodes.items() if node.op.startswith("Assign")]
        updates = self.reached(assigns, set())
        return [name for name in names if not self.consumers.get(name) or self.consumers[name] - updates]

    def _predictions(
        self, results: Sequence[str], depend: Mapping[str, set[str]], apart: set[str]
    ) -> tuple[list[str], str]:
        """Of a training graph's results those that do without its labels."""
        variables = [name for name, node in self.nodes.items() if node.op in VARIABLES]
        weighted = self.reached(variables, apart) if variables else set(self.nodes) - apart
        behind = weighted & set().union(*depend.values())
        by_inputs = {
            name: frozenset(source for source, nodes in depend.items() if name in nodes) for name in behind
        }
        every = frozenset().union(*(by_inputs.get(name, frozenset()) for name in results))
        found = [name for name in results if name in behind and by_inputs[name] < every]
        if found:
            return (
                found,
                f"outputs, taken from the nodes that nobody consumes, without labels: {', '.join(found)}",
            )
        # The last nodes before the labels come in: logits, probabilities, classes.
        last = {
            name
            for name in behind
            if any(by_inputs[name] < by_inputs.get(by, frozenset()) for by in self.consumers.get(name, ()))
        }
        candidates = [name for name in self.nodes if name in last] or list(results)
        raise UnsupportedModelError(
            "The graph holds its training, and no node tells that it is the prediction. Candidates: "
            f"{', '.join(candidates[-_SHOWN:])}; behind the loss: {', '.join(results[:_SHOWN])}.",
            hint="Name what shall come out with the option `outputs`.",
        )


def _is_scalar(node: Any) -> bool:
    shape = node.attr["shape"].shape
    return not shape.unknown_rank and not shape.dim


def _is_effect(node: Any) -> bool:
    """Whether a node trains, saves or reports, or is part of a gradient."""
    scopes = node.name.split("/")[:-1]
    return (
        node.op.startswith(_EFFECTS)
        or node.op.endswith(("Summary", "SummaryV2"))
        or any(scope == "gradients" or scope.startswith("gradients_") for scope in scopes)
    )

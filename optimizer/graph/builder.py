"""Makes the nodes that take one node's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir


class Builder:
    """Collects the nodes that take one node's place."""

    def __init__(self, root: ir.Node, opset: int) -> None:
        import onnx_ir as ir

        self.opset = opset
        self._tape = ir.tape.Tape()
        # Names of values are the graph's own; those of nodes may stand twice, in a branch and around it.
        self._stem = _free_stem(
            root, next((value.name for value in root.outputs if value.name), root.name or root.op_type)
        )
        self._count = 0

    def __call__(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """One operator with one output."""
        return self.several(op_type, 1, *inputs, **attributes)[0]

    def several(
        self, op_type: str, outputs: int, *inputs: ir.Value | None, **attributes: Any
    ) -> Sequence[ir.Value]:
        """One operator with several outputs."""
        name = self._name(op_type)
        made = self._tape.op_multi_out(op_type, inputs, attributes, num_outputs=outputs, name=name)
        for index, value in enumerate(made):
            value.name = f"{name}:{index}"
        return made

    def reduce(self, op_type: str, value: ir.Value, axes: Sequence[int], *, keepdims: int) -> ir.Value:
        """A reduction: its axes are an attribute before operator set 18, and before 13 for a sum."""
        if self.opset >= (13 if op_type == "ReduceSum" else 18):
            return self(op_type, value, self.constant(axes), keepdims=keepdims)
        return self(op_type, value, axes=list(axes), keepdims=keepdims)

    def constant(self, content: NDArray[Any] | Sequence[int]) -> ir.Value:
        """A constant; a list of integers is int64."""
        import onnx_ir as ir

        is_array = isinstance(
            content, (np.ndarray, np.generic)
        )  # arithmetic on arrays without axes gives numbers
        values = np.asarray(content) if is_array else np.array(content, np.int64)
        return self._tape.initializer(ir.tensor(np.asarray(values, order="C")), name=self._name("constant"))

    def discard(self) -> None:
        """Let go of what was made: else the values that it reads count it among their users."""
        let_go(*self.nodes)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._stem}/{what}_{self._count}"

    @property
    def nodes(self) -> Sequence[ir.Node]:
        """What was made, in order."""
        return self._tape.nodes

    @property
    def constants(self) -> Sequence[ir.Value]:
        """The constants that were made."""
        return self._tape.initializers


def _free_stem(root: ir.Node, stem: str) -> str:
    """The start of new names: a graph's output keeps its name, under which some may have been made before."""
    if root.graph is None or not any(value.is_graph_output() for value in root.outputs):
        return stem
    taken = [value.name for node in root.graph for value in node.outputs if value.name]
    stems = (stem if number == 0 else f"{stem}/{number}" for number in count())
    return next(each for each in stems if not any(name.startswith(f"{each}/") for name in taken))


def inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes of a node's graphs: they read values from around it without being its inputs."""
    import onnx_ir as ir

    for entry in node.attributes.values():
        if entry.type == ir.AttributeType.GRAPH:
            yield from entry.as_graph().all_nodes()


def let_go(*nodes: ir.Node) -> None:
    """Read nothing any more, so that what is read by these nodes alone can go."""
    for node in nodes:
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)

"""Reads which tensors connect the nodes of a graph, with its function calls inlined; nothing is run.

Names are those that TensorFlow's own inlining gives: the calls around a node, then the node. The bodies of
loops and branches stay apart; what they return counts as an input of the loop or branch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.python.framework import op_def_registry
from tensorflow.python.framework.dtypes import as_dtype

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.formats.tflite_codes import builtin_code
from optimizer.graph.postprocessing import Node as PlainNode

INPUTS = frozenset({"Placeholder", "PlaceholderWithDefault", "input"})
CONSTANTS = frozenset({"Const", "ReadVariableOp", "VarHandleOp", "VariableV2", "HashTableV2", "HashTable"})
PASSING = frozenset({"Identity", "IdentityN", "StopGradient", "Enter", "Exit"})

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_MOST_NODES = 200_000
"""A hostile graph can call functions in functions without end."""


@dataclass(frozen=True)
class Node(PlainNode):
    """One operator of a graph, with its place."""

    around: str = ""
    """The loop or branch whose body it is in."""


@dataclass(frozen=True)
class Wiring:
    """All nodes of a graph, and what is known about their tensors."""

    nodes: Mapping[str, Node]
    outputs: tuple[str, ...]
    """Tensors that come out of the graph."""
    types: Mapping[str, str]
    """Tensor to its type, like int64 or string, where it is known."""
    shapes: Mapping[str, str]
    """Tensor to its shape, like [?, 3], where it is known."""

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """Tensor to the node that makes it."""
        return {tensor: node for node in self.nodes.values() for tensor in node.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, list[Node]]:
        """Tensor to the nodes that read it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            for tensor in node.inputs:
                found.setdefault(tensor, []).append(node)
        return found

    @cached_property
    def needed(self) -> Mapping[str, Node]:
        """The nodes that the graph's outputs depend on."""
        ends = [self.producers[tensor].name for tensor in self.outputs if tensor in self.producers]
        return self.before(ends)

    @cached_property
    def fed(self) -> frozenset[str]:
        """The nodes that depend on an input of the graph."""
        waiting = [node for node in self.nodes.values() if node.operator in INPUTS]
        found = {node.name for node in waiting}
        while waiting:
            for tensor in waiting.pop().outputs:
                for node in self.consumers.get(tensor, ()):
                    if node.name not in found:
                        found.add(node.name)
                        waiting.append(node)
        return frozenset(found)

    def before(self, names: Iterable[str]) -> Mapping[str, Node]:
        """Nodes by name, and all that these depend on."""
        waiting, found = list(names), dict[str, Node]()
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found[name] = self.nodes[name]
            waiting += (self.producers[t].name for t in found[name].inputs if t in self.producers)
        return found

    def describe(self, tensor: str) -> str:
        """A tensor with its type and shape, like ids:int64[?, 3]."""
        kind = self.types.get(tensor, "") + self.shapes.get(tensor, "")
        plain = tensor.removesuffix(":0")
        return f"{plain}:{kind}" if kind else plain


def read_graph(graph_def: Any, outputs: Iterable[str], weights: Collection[str] = ()) -> Wiring:
    """The wiring of a GraphDef.

    Args:
        graph_def: The graph, with its library of functions.
        outputs: Tensors or nodes.
        weights: Tensors of placeholders that stand for weights.
    """
    inlined = _Inlined({function.signature.name: function for function in graph_def.library.function})
    inlined.add(graph_def.node, "", _Place())
    ends = (output if ":" in output else f"{output}:0" for output in outputs)
    for tensor in weights:
        inlined.nodes[node_name(tensor)] = Node(node_name(tensor), "Const", (), (tensor,))
    return inlined.wiring(tuple(ends))


@dataclass(frozen=True)
class _Place:
    """Where a function's body stands."""

    functions: frozenset[str] = frozenset()
    """Those whose bodies are around it."""
    loop: str = ""
    """The loop or branch around it."""


@dataclass
class _Inlined:
    """A graph under construction."""

    library: Mapping[str, Any]
    nodes: dict[str, Node] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    """Arguments and results of functions to the tensors that they are."""

    def add(self, nodes: Sequence[Any], scope: str, place: _Place) -> None:
        """The nodes of the graph or of one function."""
        places = {node.name: dict(_places(node)) for node in nodes}
        for node in nodes:
            name = scope + node.name
            inputs = [scope + _tensor(source, places) for source in node.input if not source.startswith("^")]
            called = node.op if node.op in self.library else node.attr["f"].func.name
            inlined = node.op in _CALLS or node.op in self.library
            if inlined and self._may_enter(called, place):
                results = self._enter(called, name, inputs, place)
                self.same |= {f"{name}:{index}": result for index, result in enumerate(results)}
                continue
            given = inputs if "While" in node.op else inputs[1:]  # the first chooses the branch
            for attribute, function in _bodies(node):
                if self._may_enter(function, place):
                    body = _Place(place.functions, name)
                    inputs = [*inputs, *self._enter(function, f"{name}/{attribute}", given, body)]
            outputs = [f"{name}:{index}" for index in range(max(1, len(_types(node))))]
            self.nodes[name] = Node(name, node.op, tuple(inputs), tuple(outputs), place.loop)
            self.types |= dict(zip(outputs, _types(node), strict=False))
            self.shapes |= dict(zip(outputs, _shapes(node), strict=False))

    def _may_enter(self, function: str, place: _Place) -> bool:
        return function in self.library and function not in place.functions and len(self.nodes) < _MOST_NODES

    def _enter(self, function: str, name: str, inputs: Sequence[str], place: _Place) -> tuple[str, ...]:
        """Put in the body of a function; gives its results."""
        body = self.library[function]
        scope = f"{name}/"
        for argument, given in zip(body.signature.input_arg, inputs, strict=False):
            self.same[f"{scope}{argument.name}:0"] = given
        self.add(body.node_def, scope, replace(place, functions=place.functions | {function}))
        places = {node.name: dict(_places(node)) for node in body.node_def}
        returned = (body.ret[result.name] for result in body.signature.output_arg)
        return tuple(scope + _tensor(source, places) for source in returned)

    def _meant(self, tensor: str) -> str:
        while tensor in self.same:
            tensor = self.same[tensor]
        return tensor

    def wiring(self, outputs: tuple[str, ...]) -> Wiring:
        """The finished graph."""
        nodes = {
            name: replace(node, inputs=tuple(map(self._meant, node.inputs)))
            for name, node in self.nodes.items()
        }
        return Wiring(nodes, tuple(map(self._meant, outputs)), self.types, self.shapes)


def _bodies(node: Any) -> Iterator[tuple[str, str]]:
    """Attributes and functions of a loop or branch."""
    for attribute, value in sorted(node.attr.items()):
        for function in [value.func, *value.list.func]:
            if function.name:
                yield attribute, function.name


def _tensor(source: str, places: Mapping[str, Mapping[str, int]]) -> str:
    """The tensor that an input means: `node:number`, of a function's `node:result:number` too."""
    name, _, rest = source.partition(":")
    result, colon, number = rest.rpartition(":")
    if colon:
        return f"{name}:{places.get(name, {}).get(result, 0) + int(number)}"
    return f"{name}:{rest or 0}"


def _places(node: Any) -> Iterator[tuple[str, int]]:
    """Each result of an operator, which may be several tensors, and the number of its first tensor."""
    definition, first = op_def_registry.get(node.op), 0
    for result in definition.output_arg if definition is not None else ():
        yield result.name, first
        first += _count(node, result)


def _count(node: Any, result: Any) -> int:
    if result.type_list_attr:
        return len(node.attr[result.type_list_attr].list.type)
    return int(node.attr[result.number_attr].i) if result.number_attr else 1


def _types(node: Any) -> list[str]:
    definition = op_def_registry.get(node.op)
    found: list[int] = []
    for result in definition.output_arg if definition is not None else ():
        if result.type_list_attr:
            found += node.attr[result.type_list_attr].list.type
        else:
            found += [result.type or node.attr[result.type_attr].type] * _count(node, result)
    return [as_dtype(number).name if number else "" for number in found]


def _shapes(node: Any) -> list[str]:
    given = list(node.attr["_output_shapes"].list.shape) if "_output_shapes" in node.attr else []
    if not given and node.op in INPUTS:
        given = [node.attr["shape"].shape]
    return [_shape(each) for each in given]


def _shape(shape: Any) -> str:
    if shape.unknown_rank:
        return ""
    return f"[{', '.join(str(axis.size) if axis.size >= 0 else '?' for axis in shape.dim)}]"


def read_tflite_graph(path: Path) -> Wiring:
    """The wiring of a TFLite file's main graph; operators are called as in tf2onnx, TFL_ and their name."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    names = [tensor.name.decode(errors="replace") for tensor in graph.tensors]
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    nodes: dict[str, Node] = {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = (code.customCode or b"").decode(errors="replace") or kinds.get(builtin_code(code), "?")
        inputs, outputs = (
            tuple(names[index] for index in ends if index >= 0)
            for ends in (operator.inputs, operator.outputs)
        )
        if outputs:
            nodes[outputs[0]] = Node(outputs[0], f"TFL_{kind}", inputs, outputs)
    made = {tensor for node in nodes.values() for tensor in node.outputs}
    for index in graph.inputs:
        nodes[names[index]] = Node(names[index], "input", (), (names[index],))
    for tensor in {tensor for node in nodes.values() for tensor in node.inputs} - made - set(nodes):
        nodes[tensor] = Node(tensor, "Const", (), (tensor,))
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if name[0] != "_"}
    return Wiring(
        nodes,
        tuple(names[index] for index in graph.outputs),
        {name: types.get(tensor.type, "") for name, tensor in zip(names, graph.tensors, strict=True)},
        {name: _tflite_shape(tensor) for name, tensor in zip(names, graph.tensors, strict=True)},
    )


def _tflite_shape(tensor: Any) -> str:
    signature = tensor.shapeSignature
    shape = signature if signature is not None and len(signature) else tensor.shape
    return "" if shape is None else f"[{', '.join(str(n) if n >= 0 else '?' for n in shape)}]"


def node_meant(name: str, operator: str, wiring: Wiring) -> Node | None:
    """The node that a tool means: it may have put something behind the name, or left out the loop around."""
    plain = node_name(name)
    for each in (name, plain, plain.removesuffix("_prequant"), plain.rpartition("__")[0]):
        if each in wiring.nodes:
            return wiring.nodes[each]
    last = plain.rpartition("/")[2]
    inside = (node for node in wiring.nodes.values() if node.around and node.operator == operator)
    return next((node for node in inside if node.name.rpartition("/")[2] == last), None)

"""Converters for loops, above all for those that do not write their lists one element after the other.

tf2onnx takes what the turns of a loop write for the list, first turn first. That is so where a turn writes
the element of its own number and no turn is left out: elsewhere (tf.scan from the back or without a first
value, a loop that ends early) the places are collected too, and the elements put where they belong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tf2onnx import utils
from tf2onnx.handler import tf_op, tfl_op
from tf2onnx.onnx_opset import controlflow
from tf2onnx.tf_loader import find_function
from tf2onnx.tflite_handlers import tfl_controlflow

from optimizer.convert.op_converters.formula import Formula

_INT64 = onnx.TensorProto.INT64
_TO_END = np.iinfo(np.int64).max
_COUNTING = frozenset({"And", "Cast", "Const", "Identity", "Less", "Placeholder", "Squeeze"})
"""What a loop computes of its counters alone to know whether it goes on."""


@dataclass(frozen=True)
class _Written:
    """A list that the turns of a loop write."""

    place: int
    """Of the list among the inputs and outputs of the loop."""
    reserve: Any
    """The node that makes the list."""
    before: tuple[Any, ...]
    """The nodes that write an element ahead of the loop."""
    write: Any
    """The node that writes it, in the loop's body."""


@tf_op(["While", "StatelessWhile"])
class While:
    """A loop; each list in the order of its elements."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        for written in reversed(list(_written(ctx, node))):
            if written.before or not _is_in_order(ctx, node, written):
                node = _ordered(ctx, node, written)
        body = find_function(node.get_attr_str("body"))
        body.set_shape(body.input_names[0], [])  # the number of the turn, which ONNX Runtime wants to know
        controlflow.While.version_7(ctx, node, **fields)


@tfl_op("TFL_WHILE")
class TfliteWhile:
    """A loop of TFLite; tf2onnx takes an input for as large as the first result of what computes it."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        for place, (name, source) in enumerate(zip(node.input, node.inputs, strict=True)):
            if source is not None and name != source.output[0]:
                shapes, dtypes = [ctx.get_shape(name)], [ctx.get_dtype(name)]
                copied = ctx.make_node("Identity", [name], shapes=shapes, dtypes=dtypes)
                ctx.replace_input(node, name, copied.output[0], place)
        tfl_controlflow.TflWhile.version_7(ctx, node, **fields)


@tf_op("TensorListStack")
class TensorListStack:
    """A list is a tensor already, whether a loop or what ordered its elements has made it."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        source = _source(ctx, node.input[0])
        if source is None or source.type != "ScatterND":
            controlflow.TensorListStack.version_7(ctx, node, **fields)
            return
        ctx.remove_node(node.name)
        ctx.replace_all_inputs(node.output[0], source.output[0])


def _written(ctx: Any, node: Any) -> Iterator[_Written]:
    """The lists of plain tensors among a loop's variables."""
    body = find_function(node.get_attr_str("body"))
    for place, name in enumerate(node.input):
        before: list[Any] = []
        source = _source(ctx, name)
        while source is not None and source.type == "TensorListSetItem":
            before.append(source)
            source = _source(ctx, source.input[0])
        write = _source(body, body.outputs[place])
        if source is None or write is None or source.type != "TensorListReserve":
            continue
        if write.type != "TensorListSetItem" or write.inputs[2].type == "RaggedTensorToVariant":
            continue
        if _source(body, write.input[0]).output[0] == body.input_names[place]:
            yield _Written(place, source, tuple(before[::-1]), write)


def _source(graph: Any, name: str) -> Any:
    """The node that computes a value; those that hand it on are passed over."""
    node = graph.get_node_by_output(name)
    while node is not None and node.type in ("Identity", "Cast"):
        node = graph.get_node_by_output(node.input[0])
    return node


def _is_in_order(ctx: Any, node: Any, written: _Written) -> bool:
    """Whether each turn writes the element of its number, and there are as many turns as elements.

    A place that never moves is left alone: a list of one element that Keras keeps for the last step.
    """
    body = find_function(node.get_attr_str("body"))
    index = _source(body, written.write.input[1])
    if index is None or index.is_const():
        return True
    if index.output[0] not in body.input_names:
        return False
    if not _counts(ctx, node, body.input_names.index(index.output[0])):
        return False
    size = _constant(ctx, written.reserve.input[1])
    if written.write.get_attr_value("resize_if_index_out_of_bounds", False) and size == 0:
        return True  # it has as many elements as there were turns
    return _goes_through(ctx, node, size)


def _counts(ctx: Any, node: Any, place: int) -> bool:
    """Whether a variable of a loop is the number of the turn, from 0."""
    body = find_function(node.get_attr_str("body"))
    following = _source(body, body.outputs[place])
    if following is None or following.type != "Add" or _constant(ctx, node.input[place]) != 0:
        return False
    sources = [_source(body, name) for name in following.input]
    names = [None if source is None else source.output[0] for source in sources]
    if body.input_names[place] not in names:
        return False
    return bool(_held(ctx, node, body, sources[1 - names.index(body.input_names[place])]) == 1)


def _goes_through(ctx: Any, node: Any, size: NDArray[Any] | None) -> bool:
    """Whether the number of turns alone ends a loop, at the size of a list if that is fixed.

    A size that is known only when the model runs is taken for the number of turns if that is so too.
    """
    condition = find_function(node.get_attr_str("cond"))
    limits = []
    for each in condition.get_nodes():
        if each.type not in _COUNTING:
            return False
        if each.type == "Less":
            counter, limit = (_source(condition, name) for name in each.input)
            if counter is None or counter.output[0] not in condition.input_names:
                return False
            if not _counts(ctx, node, condition.input_names.index(counter.output[0])):
                return False
            limits.append(_held(ctx, node, condition, limit))
    known = [int(limit) for limit in limits if limit is not None]
    return min(known) == size if len(known) == len(limits) and known else size is None and not known


def _held(ctx: Any, node: Any, graph: Any, source: Any) -> NDArray[Any] | None:
    """The value of a node of a loop's body or condition, if it is a constant there or ahead of the loop."""
    if source is None or source.output[0] not in graph.input_names:
        return None if source is None else _constant(graph, source.output[0])
    place, body = graph.input_names.index(source.output[0]), find_function(node.get_attr_str("body"))
    stays = _source(body, body.outputs[place]) is body.inputs[place]
    return _constant(ctx, node.input[place]) if stays else None


def _constant(graph: Any, name: str) -> NDArray[Any] | None:
    source = _source(graph, name)
    return source.get_tensor_value(as_list=False) if source is not None and source.is_const() else None


def _ordered(ctx: Any, node: Any, written: _Written) -> Any:
    """The loop with a further list, of the places; who reads the elements gets them in order."""
    elements = node.output[written.place]
    readers = ctx.find_output_consumers(elements)
    loop = _with_places(ctx, node, written)
    ordered = _put(ctx, elements, loop.output[written.place + 1], written)
    for write in reversed(written.before):
        ctx.remove_node(write.name)
    for reader in readers:
        ctx.replace_input(reader, elements, ordered)
    return loop


def _with_places(ctx: Any, node: Any, written: _Written) -> Any:
    """The loop with a list of where each turn writes behind the list; without what was written before it.

    Not at the end: tf2onnx miscounts lists that are written behind such as are read.
    """
    body, condition = (find_function(node.get_attr_str(name)) for name in ("body", "cond"))
    here = written.place + 1
    for graph in (body, condition):
        name = utils.make_name("places")
        graph.make_node("Placeholder", [], name=name, outputs=[name], shapes=[[]], dtypes=[_INT64])
        given = list(graph.inputs)
        graph.inputs = [*given[:here], graph.get_node_by_name(name), *given[here:]]
    index = Formula(body).cast(written.write.input[1], _INT64)
    write = body.make_node("TensorListSetItem", [body.input_names[here], index, index], dtypes=[_INT64])
    body.outputs.insert(here, write.output[0])
    scalar = Formula(ctx).name(np.zeros(0, np.int64))
    places = ctx.make_node(
        "TensorListReserve", [scalar, written.reserve.input[1]], {"element_dtype": _INT64}, dtypes=[_INT64]
    )
    inputs, outputs = list(node.input), list(node.output)
    shapes, dtypes = list(node.output_shapes), list(node.output_dtypes)
    inputs[written.place : here] = [written.reserve.output[0], places.output[0]]
    for values, added in ((outputs, utils.make_name("places")), (shapes, [-1]), (dtypes, _INT64)):
        values.insert(here, added)
    ctx.remove_node(node.name)
    return ctx.make_node(
        node.type, inputs, node.attr, name=node.name, outputs=outputs, shapes=shapes, dtypes=dtypes
    )


def _put(ctx: Any, elements: str, places: str, written: _Written) -> str:
    """The elements [n, ...] in the order of their places [n]; zeros where none was written."""
    formula = Formula(ctx)
    dtype = written.reserve.get_attr_value("element_dtype")
    utils.make_sure(dtype != onnx.TensorProto.STRING, "ONNX cannot order texts by their places")
    if written.before:
        before = [formula.cast(formula.unsqueeze(each.input[1], 0), _INT64) for each in written.before]
        items = [formula.unsqueeze(each.input[2], 0) for each in written.before]
        places = formula.name(formula("Concat", *before, places, axis=0))
        elements = formula.name(formula("Concat", *items, elements, axis=0))
    size = formula.cast(formula.unsqueeze(written.reserve.input[1], 0), _INT64)
    if written.write.get_attr_value("resize_if_index_out_of_bounds", False):
        ends = formula("Concat", size, formula("Add", places, np.array([1])), axis=0)
        size = formula("ReduceMax", ends, axes=[0], keepdims=1)
    item = formula("Slice", formula("Shape", elements), np.array([1]), np.array([_TO_END]))
    zero = np.zeros((), utils.map_onnx_to_numpy_type(dtype))
    start = formula("Expand", zero, formula("Concat", size, item, axis=0))
    return formula.name(formula("ScatterND", start, formula.unsqueeze(places, 1), elements))

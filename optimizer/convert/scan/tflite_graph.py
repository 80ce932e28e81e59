"""Refuses a TFLite file that claims more than it holds, or whose graphs have no order in which to run.

The interpreter trusts all this: a loop whose body is the graph that it stands in ends in a crash, not in an
error.
"""

from __future__ import annotations

import math
from typing import Any

from optimizer.convert.formats.tflite_codes import graph_references
from optimizer.convert.scan.expansion import check_calls
from optimizer.errors import InvalidModelError, UnsafeModelError

TENSOR_LIMIT_BYTES = 2 << 30

_AGAIN = "Convert the model to TFLite again."
_OFFSET_BYTES = 4
_ITEM_BYTES = 4  # of most types; the others are 1 to 16


def check_size(model: Any, file_bytes: int) -> None:
    """Check that the tables of a file, not yet unpacked, can stand in it without being shared.

    Raises:
        ValueError: If they cannot; a few bytes could stand for millions of tables else.
    """
    tables = model.OperatorCodesLength() + model.BuffersLength() + model.SignatureDefsLength()
    text_bytes = 0
    budget = file_bytes // _OFFSET_BYTES
    for index in range(_within(model.SubgraphsLength(), budget)):
        graph = model.Subgraphs(index)
        tables += 1 + graph.OperatorsLength() + graph.TensorsLength()
        _within(tables, budget)
        for number in range(graph.TensorsLength()):
            text_bytes += len(graph.Tensors(number).Name() or b"")
            _within(text_bytes, file_bytes)


def _within(count: int, budget: int) -> int:
    if count > budget:
        raise ValueError("it claims more parts than it has room for")
    return count


def check_graphs(model: Any) -> None:
    """Check the graphs of an unpacked model (ModelT).

    Raises:
        InvalidModelError: If an index leads nowhere, or an operator reads what is computed after it.
        UnsafeModelError: If a tensor claims more than 2 GiB.
        UnsupportedModelError: If a graph calls itself.
        ResourceLimitError: If graphs call graphs without bound.
    """
    graphs = model.subgraphs
    calls: dict[str, list[str]] = {}
    sizes = {str(index): len(graph.operators or []) for index, graph in enumerate(graphs)}
    for index, graph in enumerate(graphs):
        for tensor in graph.tensors or []:
            _check_shape(tensor)
        _check_order(graph, index)
        called = [
            int(getattr(options, field))
            for operator in graph.operators or []
            for options, field in graph_references(operator)
        ]
        for target in called:
            _require(target, len(graphs), f"Graph {index} calls graph {target}")
        calls[str(index)] = list(map(str, called))
    for signature in model.signatureDefs or []:
        _check_signature(signature, graphs)
    check_calls(calls, sizes, "graph")


def _check_signature(signature: Any, graphs: Any) -> None:
    name = (signature.signatureKey or b"").decode("utf-8", "replace")
    _require(
        signature.subgraphIndex, len(graphs), f"The signature {name!r} names graph {signature.subgraphIndex}"
    )
    count = len(graphs[signature.subgraphIndex].tensors or [])
    for end in [*(signature.inputs or []), *(signature.outputs or [])]:
        _require(end.tensorIndex, count, f"The signature {name!r} names tensor {end.tensorIndex}")
    if not name or None in [end.name for end in [*(signature.inputs or []), *(signature.outputs or [])]]:
        raise InvalidModelError("A signature, or an end of one, has no name.", hint=_AGAIN)


def _check_shape(tensor: Any) -> None:
    sizes = [max(int(size), 1) for size in (tensor.shape if tensor.shape is not None else [])]
    if math.prod(sizes) * _ITEM_BYTES > TENSOR_LIMIT_BYTES:
        name = (tensor.name or b"").decode("utf-8", "replace")
        raise UnsafeModelError(
            f"Tensor {name} claims the shape {sizes}, {math.prod(sizes) * _ITEM_BYTES / 2**30:.1f} GiB.",
            hint="Convert the model to TFLite with a smaller batch or image.",
        )


def _check_order(graph: Any, index: int) -> None:
    count = len(graph.tensors or [])
    written: dict[int, int] = {}
    for number, operator in enumerate(graph.operators or []):
        for tensor in _indices(operator.outputs):
            written.setdefault(tensor, number)
    for number, operator in enumerate(graph.operators or []):
        where = f"Operator {number} of graph {index}"
        for tensor in [*_indices(operator.inputs), *_indices(operator.outputs)]:
            _require(tensor, count, f"{where} names tensor {tensor}")
        for tensor in _indices(operator.inputs):
            if written.get(tensor, -1) >= number and not graph.tensors[tensor].isVariable:
                raise InvalidModelError(
                    f"{where} reads tensor {tensor}, which is computed after it.",
                    hint=_AGAIN,
                )
    for tensor in [*_indices(graph.inputs), *_indices(graph.outputs)]:
        _require(tensor, count, f"Graph {index} names tensor {tensor}")


def _indices(array: Any) -> list[int]:
    """The tensors in a list of an operator or graph; -1 stands for an optional one that is not given."""
    return [int(index) for index in (array if array is not None else []) if index != -1]


def _require(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise InvalidModelError(f"{what}, which is not in the file.", hint=_AGAIN)

"""Scan an ONNX model: standard operators only, and no tensor outside the file and its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.convert.scan.onnx_folder import ModelFolder, elsewhere, is_external
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError
from optimizer.model import first_line
from optimizer.runtime import extensions

if TYPE_CHECKING:
    import onnx

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_REFUSED = {
    "EPContext": "it loads compiled code from a file",
    "PythonOp": "it runs Python code",
    "PythonOpGrad": "it runs Python code",
    "ATen": "it runs PyTorch code",
    "ATenOp": "it runs PyTorch code",
}
_CONSTANT_LIMIT_BYTES = 2 << 30


def scan_onnx(path: Path, *, custom_operators: bool = False) -> None:
    """Scan an ONNX model, its subgraphs and functions; `scan` says what it raises."""
    model = read_onnx(path)
    _check_external_weights(model.graph, path)
    # A function named like an operator of the library could run as that operator.
    functions = {(each.domain, each.name) for each in model.functions if each.domain != extensions.DOMAIN}
    if custom_operators:
        functions |= {(extensions.DOMAIN, name) for name in extensions.TEXT_OPERATORS}
    _check_graph(model.graph, f"graph {model.graph.name}", functions, inside=True)
    for function in model.functions:
        _check_nodes(function.node, f"function {function.name}", functions)
    for training in model.training_info:
        _check_graph(training.initialization, "the training initialization", functions)
        _check_graph(training.algorithm, "the training algorithm", functions)


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file, and nothing outside it.

    Raises:
        InvalidModelError: If it cannot be parsed.
    """
    import onnx
    from google.protobuf import message

    try:
        return onnx.load(str(path), load_external_data=False)
    except (message.DecodeError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed as ONNX: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error


def _check_external_weights(graph: onnx.GraphProto, path: Path) -> None:
    """Large weights may lie in files of the model's folder."""
    external = [tensor for tensor in graph.initializer if is_external(tensor)]
    if not external:
        return
    folder = ModelFolder(path.parent)
    for tensor in external:
        folder.check(tensor, f"Initializer {tensor.name} of graph {graph.name}")


def _check_graph(
    graph: onnx.GraphProto, place: str, functions: set[tuple[str, str]], *, inside: bool = False
) -> None:
    for tensor in graph.initializer:
        if not inside or not is_external(tensor):
            _check_tensor(tensor, f"Initializer {tensor.name} of {place}")
    for sparse in graph.sparse_initializer:
        _check_sparse(sparse, f"Sparse initializer {sparse.values.name} of {place}")
    _check_nodes(graph.node, place, functions)


def _check_nodes(nodes: Any, place: str, functions: set[tuple[str, str]]) -> None:
    for node in nodes:
        where = f"Node {node.name or (node.output[0] if node.output else '?')} in {place}"
        _check_operator(node, where, functions)
        for attribute in node.attribute:
            for tensor in _tensors(attribute):
                _check_tensor(tensor, f"{where}: attribute {attribute.name}")
            for sparse in [*attribute.sparse_tensors, attribute.sparse_tensor]:
                _check_sparse(sparse, f"{where}: attribute {attribute.name}")
            inner = [attribute.g] if attribute.HasField("g") else []
            for graph in [*inner, *attribute.graphs]:
                _check_graph(graph, f"{attribute.name} of {where}", functions)


def _tensors(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_operator(node: Any, where: str, functions: set[tuple[str, str]]) -> None:
    if node.op_type in _REFUSED:
        raise UnsafeModelError(
            f"{where}: operator {node.op_type} is refused, since {_REFUSED[node.op_type]}.",
            hint="Export the model without it.",
        )
    if node.domain in _DOMAINS or (node.domain, node.op_type) in functions:
        return
    if node.domain == extensions.DOMAIN:
        raise _custom_operator(node.op_type, where)
    raise UnsupportedModelError(
        f"{where}: operator {node.op_type} is of the domain {node.domain}, which is not ONNX's own.",
        hint="Export the part of the model that does without it.",
    )


def _custom_operator(operator: str, where: str) -> UnsupportedModelError:
    what = f"{where}: operator {operator} is one of {extensions.PACKAGE}"
    if operator in extensions.TEXT_OPERATORS:
        return UnsupportedModelError(
            f"{what}, which whoever runs the model then needs.",
            hint="If that is meant, ask for it: option onnxruntime_extensions (--onnxruntime-extensions).",
        )
    known = ", ".join(sorted(extensions.TEXT_OPERATORS))
    return UnsupportedModelError(
        f"{what}, but none of those that are taken: {known}.",
        hint="Export the part of the model that does without it.",
    )


def _check_sparse(sparse: Any, where: str) -> None:
    _check_tensor(sparse.values, where)
    _check_tensor(sparse.indices, where)


def _check_tensor(tensor: Any, where: str) -> None:
    if is_external(tensor):
        raise elsewhere(tensor, where)
    if any(size < 0 for size in tensor.dims):
        raise InvalidModelError(f"{where} has a negative size.", hint="Export the model again.")
    # A byte an element is the least that any type but the 4-bit ones takes.
    if math.prod(tensor.dims) > _CONSTANT_LIMIT_BYTES:
        raise UnsafeModelError(
            f"{where} claims the shape {list(tensor.dims)}, more than a file can hold.",
            hint="Export the model without the huge constant.",
        )

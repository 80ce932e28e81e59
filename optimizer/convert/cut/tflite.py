"""Cuts a TFLite file at named tensors: its graph ends there, and what comes after them is gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from optimizer.convert.naming import ambiguous_output, unknown_output
from optimizer.errors import InvalidOptionsError


def cut_tflite(model: Any, asked: Sequence[str], target: Path) -> tuple[str, ...]:
    """Write a TFLite model whose outputs are the tensors asked for, called as they were asked for.

    Args:
        model: A parsed TFLite file; it is changed.
        asked: Names of outputs in the signature, or of tensors.
        target: The file to write.

    Returns:
        Notes for the user.

    Raises:
        InvalidOptionsError: If there is no such tensor, several have the name, or it needs no input.
    """
    graph = model.subgraphs[0]
    signature = _only_signature(model)
    found = [_find(graph, signature, name) for name in asked]
    before = list(graph.inputs)
    _keep_needed(graph, found, asked)
    _sign(model, signature, dict(zip(asked, found, strict=True)))
    target.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    unused = [graph.tensors[index].name.decode() for index in before if index not in graph.inputs]
    return (f"inputs that no output needs were left out: {', '.join(unused)}",) if unused else ()


def _only_signature(model: Any) -> Any:
    signatures = model.signatureDefs or []
    return signatures[0] if len(signatures) == 1 else None


def _find(graph: Any, signature: Any, name: str) -> int:
    """The index of the tensor that a name means."""
    given = {entry.name.decode(): entry.tensorIndex for entry in (signature.outputs if signature else [])}
    if name in given:
        return int(given[name])
    computed = {index for operator in graph.operators for index in operator.outputs}
    there = [(i, t.name.decode()) for i, t in enumerate(graph.tensors) if i in computed]
    same = [index for index, tensor in there if tensor == name]
    if len(same) > 1:
        raise ambiguous_output(name, [tensor for _, tensor in there if tensor == name])
    if same:
        return same[0]
    ending = [(index, tensor) for index, tensor in there if tensor.endswith(f"/{name}")]
    if len(ending) > 1:
        raise ambiguous_output(name, [tensor for _, tensor in ending])
    if not ending:
        raise unknown_output(name, [*(tensor for _, tensor in there), *given])
    return ending[0][0]


def _keep_needed(graph: Any, outputs: Sequence[int], asked: Sequence[str]) -> None:
    """Let the graph end at some tensors: remove the operators and inputs that these do not need."""
    inputs = set(graph.inputs)
    needed, kept = set(outputs), []
    behind = {index: {index} & inputs for index in inputs}
    for operator in graph.operators:  # a file's operators stand in the order of execution
        sources = set().union(*(behind.get(index, set()) for index in operator.inputs))
        behind |= dict.fromkeys(operator.outputs, sources)
    for name, index in zip(asked, outputs, strict=True):
        if not behind.get(index):
            raise InvalidOptionsError(
                f"{name} needs none of the model's inputs, so it is no output.",
                hint="Name a tensor behind the inputs.",
            )
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            kept.append(operator)
            needed.update(operator.inputs)
    graph.operators = kept[::-1]
    graph.inputs = np.array([index for index in graph.inputs if index in needed], np.int32)
    graph.outputs = np.array(outputs, np.int32)


def _sign(model: Any, signature: Any, outputs: dict[str, int]) -> None:
    """Name inputs and outputs in a signature; without one the inputs are called like their tensors."""
    graph = model.subgraphs[0]
    given = {entry.tensorIndex: entry.name for entry in (signature.inputs if signature else [])}
    new = schema.SignatureDefT()
    new.signatureKey, new.subgraphIndex = b"cut", 0
    new.inputs = [_entry(given.get(index, graph.tensors[index].name), index) for index in graph.inputs]
    new.outputs = [_entry(name.encode(), index) for name, index in outputs.items()]
    model.signatureDefs = [new]


def _entry(name: bytes, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, int(index)
    return entry

"""Says which operators have no converter: each one's node, layer and surroundings, and the ways round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tf2onnx import tfonnx  # noqa: F401  # importing it fills tf2onnx's registry
from tf2onnx.handler import tf_op

from optimizer.convert import op_converters  # noqa: F401  # importing it adds ours
from optimizer.convert.scan.savedmodel import read_savedmodel
from optimizer.convert.triage.numeric_start import first_numbers
from optimizer.convert.triage.wiring import CONSTANTS, INPUTS, PASSING, Node, Wiring, node_meant, read_graph
from optimizer.convert.triage.workarounds import comes_before_model, without_layer, workarounds
from optimizer.errors import UnsupportedModelError
from optimizer.graph.scopes import Scopes
from optimizer.runtime.extensions import DOMAIN, PACKAGE

_SHOWN = 3
_LIBRARY_HINT = (
    f"With the option onnxruntime_extensions (--onnxruntime-extensions) they become operators of {PACKAGE}, "
    "which whoever runs the model then needs."
)
_STEPS_BEFORE, _STEPS_AFTER = 3, 2

# Freezing and inlining remove these before tf2onnx looks.
_REMOVED = frozenset(
    {
        "Assert",
        "NoOp",
        "PartitionedCall",
        "ReadVariableOp",
        "ResourceGather",
        "StatefulPartitionedCall",
        "VarHandleOp",
        "input",
    }
)


@dataclass(frozen=True)
class Fault:
    """An operator that could not be converted."""

    operator: str
    node: str
    reason: str = ""
    """What its converter says; empty where it has none."""


class NoConverterError(UnsupportedModelError):
    """Operators have no converter; knows the scopes around the first numbers behind them."""

    def __init__(self, message: str, *, hint: str = "", begins_in: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.begins_in = begins_in


def with_keras_lines(error: NoConverterError, layers: Sequence[str]) -> UnsupportedModelError:
    """The same error for a Keras user: with the lines that save the rest, where whole layers are left out."""
    found = tuple(dict.fromkeys(error.begins_in))
    if not found or not set(found) <= set(layers):
        return error
    return UnsupportedModelError(error.message, hint=f"{error.hint}\n{without_layer(found)}")


def find_unconvertible(
    folder: Path, signature: str, *, custom_operators: bool = False
) -> UnsupportedModelError | None:
    """The error about what a signature of a SavedModel needs and tf2onnx cannot convert, if anything.

    Args:
        folder: A SavedModel's folder.
        signature: One of its signatures.
        custom_operators: Whether texts may be computed by operators of onnxruntime-extensions.
    """
    wiring = read_wiring(folder, signature)
    known = _with_converter("") | _REMOVED | (_with_converter(DOMAIN) if custom_operators else set())
    missing = sorted((node.operator, node.name) for node in wiring.needed.values())
    faults = [Fault(operator, name) for operator, name in missing if operator not in known]
    return unconvertible(faults, wiring, custom_operators=custom_operators) if faults else None


def read_wiring(folder: Path, signature: str) -> Wiring:
    """The graph of a SavedModel, whose outputs are those of a signature."""
    saved_model = read_savedmodel(folder)
    meta_graph = next(graph for graph in saved_model.meta_graphs if signature in graph.signature_def)
    outputs = (info.name for info in meta_graph.signature_def[signature].outputs.values())
    return read_graph(meta_graph.graph_def, outputs)


def _with_converter(domain: str) -> set[str]:
    return {name for operators in tf_op.get_opsets()[domain] for name in operators}


def unconvertible(
    faults: Sequence[Fault], wiring: Wiring | None, *, custom_operators: bool = False
) -> UnsupportedModelError:
    """The error about some faults: the first operators with their surroundings, the others counted.

    Args:
        faults: At least one.
        wiring: The graph that they are in; None where it is not known.
        custom_operators: As in `find_unconvertible`.
    """
    counts = Counter(fault.operator for fault in faults)
    first = {fault.operator: fault for fault in reversed(faults)}
    here = " as they are used here" if any(fault.reason for fault in faults) else ""
    lines = [f"The model cannot be written as ONNX: no converter for {_counted(counts)}{here}."]
    lines += [_line(first[operator], counts[operator], wiring) for operator in list(counts)[:_SHOWN]]
    cut: tuple[str, ...] = ()
    if wiring is not None and any(map(comes_before_model, counts)):
        nodes = (node_meant(fault.node, fault.operator, wiring) for fault in faults)
        cut = first_numbers(wiring, [node.name for node in nodes if node])
        lines += _cut(wiring, cut)
    begins_in = tuple(map(_scopes(wiring).layer_of, cut))
    hint = workarounds(counts)
    if not custom_operators and counts.keys() <= _with_converter(DOMAIN):
        hint = f"{_LIBRARY_HINT} {hint}"
    return NoConverterError("\n".join(lines), hint=hint, begins_in=begins_in)


def _counted(counts: Counter[str]) -> str:
    names = list(counts)
    shown = ", ".join(names[:_SHOWN])
    rest = names[_SHOWN:]
    return shown + (f" and {len(rest)} more ({', '.join(rest[:12])})" if rest else "")


def _line(fault: Fault, count: int, wiring: Wiring | None) -> str:
    """operator (node N, layer L, and 2 more nodes): chain. Reason."""
    node = None if wiring is None else node_meant(fault.node, fault.operator, wiring)
    place = [f"node {fault.node}"]
    layer = _scopes(wiring).layer_of(fault.node)
    place += [f"layer {layer}"] if layer else []
    place += [f"and {count - 1} more nodes" if count > 2 else "and one more node"] if count > 1 else []
    chain = "" if wiring is None or node is None else f": {surroundings(node, wiring)}"
    reason = f"; {fault.reason.removeprefix('make_sure failure: ')}" if fault.reason else ""
    return f"- {fault.operator} ({', '.join(place)}){chain}{reason}"


def _scopes(wiring: Wiring | None) -> Scopes:
    return Scopes(() if wiring is None else wiring.needed)


def surroundings(node: Node, wiring: Wiring) -> str:
    """A node between the nearest inputs and consumers, like `ids:int64[?] -> AsString -> Cast`.

    What it takes beside its main input stands in parentheses.
    """
    before: list[str] = []
    tensor = _main_input(node, wiring)
    while tensor and len(before) <= _STEPS_BEFORE:
        made = wiring.producers.get(tensor)
        if made is None or made.operator in INPUTS | CONSTANTS:
            before.append(_leaf(tensor, made, wiring))
            break
        if made.operator not in PASSING:
            before.append("..." if len(before) == _STEPS_BEFORE else made.operator)
        tensor = _main_input(made, wiring)
    beside = dict.fromkeys(t for t in node.inputs if t != _main_input(node, wiring) and _is_fed(t, wiring))
    shown = [_leaf(tensor, wiring.producers[tensor], wiring) for tensor in list(beside)[:3]]
    label = node.operator + (f"({', '.join(shown)})" if shown else "")
    return " -> ".join([*reversed(before), label, *_after(node, wiring)])


def _after(node: Node, wiring: Wiring) -> list[str]:
    """What reads a node's result, the first of each."""
    found: list[str] = []
    while len(found) < _STEPS_AFTER:
        ends = [tensor for tensor in node.outputs if tensor in wiring.outputs]
        readers = [reader for tensor in node.outputs for reader in wiring.consumers.get(tensor, ())]
        readers = [reader for reader in readers if reader.name in wiring.needed]
        if ends and not readers:
            found.append("output")
        if not readers:
            break
        node = readers[0]
        if node.operator not in PASSING:
            found.append(node.operator)
    return found


def _main_input(node: Node, wiring: Wiring) -> str:
    """The first tensor that depends on an input of the model, else the first."""
    fed = (tensor for tensor in node.inputs if _is_fed(tensor, wiring))
    return next(fed, node.inputs[0] if node.inputs else "")


def _is_fed(tensor: str, wiring: Wiring) -> bool:
    made = wiring.producers.get(tensor)
    return made is not None and made.name in wiring.fed


def _leaf(tensor: str, made: Node | None, wiring: Wiring) -> str:
    if made is None or made.operator in INPUTS:
        return wiring.describe(tensor)
    return "constant" if made.operator in CONSTANTS else made.operator


def _cut(wiring: Wiring, cut: Sequence[str]) -> list[str]:
    """The line about where the model could begin instead."""
    if not cut:
        return []
    shown = ", ".join(map(wiring.describe, cut[:4])) + (f" and {len(cut) - 4} more" if len(cut) > 4 else "")
    return [f"The first numbers after these are {shown}: from there on every operator has a converter."]

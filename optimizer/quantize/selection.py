"""Which nodes change precision: by operator, by what the user keeps in float, by what is known of them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.errors import InvalidOptionsError, UnsupportedModelError
from optimizer.graph.postprocessing import find_postprocessing, onnx_nodes
from optimizer.graph.structure import STANDARD_DOMAINS, all_nodes, true_inputs
from optimizer.quantize.bodies import body_refusals
from optimizer.steps import DynamicOperators, StaticOperators

if TYPE_CHECKING:
    import onnx

_CONV = frozenset({"Conv", "ConvTranspose"})
_MATMUL = frozenset({"MatMul", "Gemm"})
_NEVER_STATIC = frozenset({"QuantizeLinear", "DequantizeLinear"})
# ONNX Runtime's quantizer takes them, but its CPU kernels are float: it would only round what goes in.
_NO_INTEGER_KERNEL = frozenset(
    {"BatchNormalization", "CumSum", "InstanceNormalization", "LayerNormalization", "TopK"}
)

# Exact on integers: the scale of what they read is that of what they give. The quantizer knows it of the
# first, and of the second it finds the same range. Then what goes into the layer before it.
_INTEGER_MOVES = frozenset(
    {"Flatten", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
    | {"DepthToSpace", "Expand", "Tile"}
)
_ACTIVATIONS = frozenset({"Clip", "Relu"})

# Operators that hand on what they read, so that a Softmax in front of them is still the last one.
_MOVES = frozenset(
    {"Cast", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
_DISTRIBUTIONS = frozenset({"Softmax", "LogSoftmax"})


@dataclass(frozen=True)
class Selection:
    """Names of the nodes that change, and sentences on those that do not though their operator would."""

    nodes: tuple[str, ...]
    refusals: tuple[str, ...]


def names_to_keep(proto: onnx.ModelProto, patterns: Iterable[str]) -> frozenset[str]:
    """Find the nodes that names or globs (`encoder/*`) mean, subgraphs included.

    Raises:
        InvalidOptionsError: If one matches no node; gives the nearest names.
    """
    names = sorted({node.name for node in all_nodes(proto.graph)})
    kept: set[str] = set()
    for pattern in patterns:
        # A name may hold [ and ]: the literal name comes first.
        matches = [pattern] if pattern in names else fnmatch.filter(names, pattern)
        if not matches:
            nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3) or names[:3]
            raise InvalidOptionsError(
                f"The option `keep_float` names {pattern!r}: no node has that name, and none matches it.",
                hint=f"The nearest names are: {', '.join(nearest)}. Netron (netron.app) shows them all.",
            )
        kept.update(matches)
    return frozenset(kept)


def postprocessing_to_keep(proto: onnx.ModelProto) -> tuple[frozenset[str], tuple[str, ...]]:
    """Names of the nodes of post-processing, which stay in float, and a sentence on them."""
    found = find_postprocessing(onnx_nodes(proto.graph), [value.name for value in true_inputs(proto.graph)])
    if not found.operators:
        return frozenset(), ()
    kinds = ", ".join(found.operators)
    return found.nodes, (f"Post-processing around {kinds} stays in float: {len(found.nodes)} nodes.",)


def static_selection(
    proto: onnx.ModelProto, operators: StaticOperators, kept: frozenset[str], ranges: Mapping[str, object]
) -> Selection:
    """Choose the nodes that become integer with fixed ranges.

    Whatever the operators: what only moves integers stays integer, and so does an activation that the layer
    before it takes in. In float they would be islands that gain nothing.

    Args:
        proto: The model, its nodes named, with every type that is known in `value_info`.
        operators: Which operators.
        kept: Names of nodes that stay in float.
        ranges: Tensors with a range.
    """
    wanted = integer_operators(operators)
    final = final_softmax(proto.graph)
    rules = _StaticRules(proto, ranges)
    nodes, refusals, integers = [], [], set[str]()
    for node in proto.graph.node:
        if node.domain not in STANDARD_DOMAINS or node.name in kept:
            continue
        if node.op_type not in wanted and not rules.follows(node, integers):
            continue
        reason = "it is the final Softmax" if node.name in final else rules.against(node)
        if reason is None:
            nodes.append(node.name)
            integers.update(node.output)
        elif reason:
            refusals.append(f"{node.op_type} {node.name} stays in float: {reason}.")
    refusals.extend(body_refusals(proto.graph, wanted))
    return Selection(tuple(nodes), tuple(refusals))


def integer_operators(operators: StaticOperators) -> frozenset[str]:
    """The operators that static INT8 makes integer."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    known = frozenset({*QDQRegistry, *QLinearOpsRegistry}) - _NEVER_STATIC - _NO_INTEGER_KERNEL
    chosen: dict[StaticOperators, frozenset[str]] = {
        "all": known,
        "all_but_softmax_sigmoid": known - {"Softmax", "Sigmoid"},
        "conv_matmul_gemm": _CONV | _MATMUL,
        "conv": _CONV,
    }
    return chosen[operators]


class _StaticRules:
    """Why a node cannot have fixed ranges: the reason; "" where it computes no floats; None where it can."""

    def __init__(self, proto: onnx.ModelProto, ranges: Mapping[str, object]) -> None:
        from onnx import TensorProto

        from optimizer.graph.structure import value_types

        self._floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
        self._types = value_types(proto.graph)
        self._weights = {tensor.name for tensor in proto.graph.initializer}
        self._ranges = ranges
        self._readers: dict[str, list[str]] = {value.name: ["output"] for value in proto.graph.output}
        for node in all_nodes(proto.graph):
            for name in node.input:
                self._readers.setdefault(name, []).append(node.op_type)

    def follows(self, node: onnx.NodeProto, integers: Collection[str]) -> bool:
        """Whether a node moves integers, or is an activation that goes into the integer layer before it."""
        source = node.input[0] if node.input else ""
        if source not in integers:
            return False
        alone = len(self._readers[source]) == 1
        return node.op_type in _INTEGER_MOVES or (node.op_type in _ACTIVATIONS and alone)

    def against(self, node: onnx.NodeProto) -> str | None:
        values = [name for name in (*node.input, *node.output) if name]
        unknown = [name for name in values if name not in self._types]
        if unknown:
            return f"the type of {unknown[0]} is not known"
        floats = [name for name in values if self._types[name] in self._floats]
        if not floats:
            return ""
        missing = [name for name in floats if name not in self._weights and name not in self._ranges]
        if missing:
            return f"{missing[0]} has no finite range in the calibration data"
        if node.op_type == "ConvTranspose" and _attribute(node, "group", 1) != 1:
            return "a grouped ConvTranspose has no per-channel scales"
        if node.op_type == "Gather" and node.input[0] in self._weights:
            others = set(self._readers[node.input[0]]) - {"Gather"}
            if others:
                return f"its table is also the weight of a {sorted(others)[0]}"
        return None


def final_softmax(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the Softmax nodes whose values reach an output, and of what moves the values there.

    Quantized, their fixed scale of 1/256 turns small probabilities into 0.
    """
    producers = {name: node for node in graph.node for name in node.output}
    final: set[str] = set()
    for output in graph.output:
        _collect_final(producers, output.name, (), final)
    return frozenset(final)


def _collect_final(
    producers: Mapping[str, onnx.NodeProto], name: str, path: tuple[str, ...], final: set[str]
) -> None:
    node = producers.get(name)
    if node is None or node.name in path:
        return
    if node.op_type in _DISTRIBUTIONS:
        final.update((*path, node.name))
    elif node.op_type in _MOVES:
        for source in node.input:
            _collect_final(producers, source, (*path, node.name), final)


def dynamic_selection(proto: onnx.ModelProto, operators: DynamicOperators, kept: frozenset[str]) -> Selection:
    """Choose the nodes whose weights become INT8 while activations are measured at each call. Never Conv.

    Raises:
        UnsupportedModelError: If there is none; says which operators there are instead.
    """
    wanted = {"MatMul", "Attention"}
    if operators == "matmul_lstm_gather":
        wanted |= {"LSTM", "Gather", "EmbedLayerNormalization"}
    weights = _FloatWeights(proto)
    nodes, refusals = [], []
    for node in proto.graph.node:
        if node.op_type not in wanted or node.name in kept:
            continue
        reason = _DYNAMIC_RULES[node.op_type](node, weights)
        if reason is None:
            nodes.append(node.name)
        elif reason:
            refusals.append(f"{node.op_type} {node.name} stays in float: {reason}.")
    refusals.extend(body_refusals(proto.graph, frozenset(wanted) - {"Gather"}))
    if not nodes:
        present = sorted({node.op_type for node in proto.graph.node})
        raise UnsupportedModelError(
            "Dynamic INT8 has nothing to do here: no MatMul, Gemm, Attention, LSTM or Gather with constant "
            f"weights is left to it; the operators are {', '.join(present)}."
            + (f" {refusals[0]}" if refusals else ""),
            hint="Use static INT8: it covers Conv and the rest, with calibration data.",
        )
    return Selection(tuple(nodes), tuple(refusals))


class _FloatWeights:
    """The float initializers, by name, and how many nodes read each."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        from onnx import TensorProto

        self.ranks = {
            tensor.name: len(tensor.dims)
            for tensor in proto.graph.initializer
            if tensor.data_type == TensorProto.FLOAT
        }
        self.readers: dict[str, int] = {}
        for node in all_nodes(proto.graph):
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1


def _against_matmul(node: onnx.NodeProto, weights: _FloatWeights) -> str | None:
    # Two activations (attention scores) would be measured and quantized twice at each call.
    return None if weights.ranks.get(node.input[1], 0) >= 2 else ""


def _against_attention(node: onnx.NodeProto, weights: _FloatWeights) -> str | None:
    if node.domain in STANDARD_DOMAINS:
        return ""  # ONNX's own Attention has no weights
    return None if node.input[1] in weights.ranks else "its weights are not constant"


def _against_lstm(node: onnx.NodeProto, weights: _FloatWeights) -> str | None:
    if any(name not in weights.ranks for name in node.input[1:3]):
        return "its weights are not constant"
    if any(weights.readers[name] > 1 for name in node.input[1:3]):
        return "another node reads its weights"
    if _attribute(node, "layout", 0):
        return "the integer LSTM knows no batch-first layout"
    return None


def _against_gather(node: onnx.NodeProto, weights: _FloatWeights) -> str | None:
    return None if weights.ranks.get(node.input[0], 0) >= 2 else ""  # an embedding table


_DYNAMIC_RULES: dict[str, Callable[[onnx.NodeProto, _FloatWeights], str | None]] = {
    "MatMul": _against_matmul,
    "Attention": _against_attention,
    "LSTM": _against_lstm,
    "Gather": _against_gather,
    "EmbedLayerNormalization": lambda node, weights: None,
}


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)

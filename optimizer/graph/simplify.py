"""Remove what computes nothing and fold what is constant, at no loss.

Four tools one after another, until nothing changes any more: onnx_ir's passes for what nothing reads, the
rewrites of this package, onnxslim, and ONNX Runtime's basic optimizations (the same on any hardware). Each
result is proven to be the same function before it is kept; else it is undone and the refusal says why. Where
the rewrites together differ, each is tried on its own, so that the refusal names the one at fault.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optimizer.errors import InvalidDataError, OptimizerError, ToolError
from optimizer.external_data import PROTO_BYTES, give_back, withhold
from optimizer.graph.layers import Layers
from optimizer.graph.narrow_weights import fold_narrow_weights, keep_narrow
from optimizer.graph.rewriter import Left, Report, Rewrite, rewrite
from optimizer.graph.rewrites import REWRITES
from optimizer.graph.rewrites.words import in_words
from optimizer.graph.structure import all_graphs, all_nodes, fingerprint, name_nodes, opset, true_inputs
from optimizer.graph.unused import remove_unused
from optimizer.graph.verify import NotTheSameError, Values, Witness, check_same, restore_edges, witness
from optimizer.model import Model, PassResult, first_line, from_proto
from optimizer.rewriting import AppliedRewrite, LeftNode

if TYPE_CHECKING:
    import onnx

_MAX_ROUNDS = 4
_GROWTH_BYTES = 1 << 16
_GROWTH = 1.02
_TABLE_BYTES = 1 << 18
_LARGE_BYTES = 1 << 24
_TABLE_GROWTH = 1.25  # a table that takes the place of a product may be larger than its weight

logger = logging.getLogger(__name__)


def simplify(model: Model, largest_bytes: int = PROTO_BYTES, highest_opset: int | None = None) -> PassResult:
    """Remove dead nodes and unused weights, fold constants and BatchNormalization.

    Inputs and outputs keep their names, types, shapes and order; an input that nothing reads stays and is
    named in the refusals. A second run changes nothing.

    Args:
        model: The model.
        largest_bytes: Of a model with more weights than that the large ones are withheld from the tools,
            which then fold nothing into them.
        highest_opset: The operator set is not raised above this; None: as far as a rewrite needs.

    Returns:
        The simplified model; sentences on what was changed; each tool whose result was undone, with why; and
        the largest max-norm difference of an output on the generated inputs, 0 where nothing was changed.

    Raises:
        OptimizerError: If ONNX Runtime cannot load the model.
    """
    if model.weight_bytes <= largest_bytes:
        return _simplified(model, model.to_proto(), {}, highest_opset)
    proto, weights = withhold(model.graph_ir)
    values = {name: tensor.numpy() for name, tensor in weights.items()}
    result = _simplified(model, proto, values, highest_opset)
    if result.model is model:
        return result
    return replace(result, model=Model(give_back(result.model.to_proto(), weights)))


def _simplified(
    model: Model, given: onnx.ModelProto, weights: Values, highest_opset: int | None
) -> PassResult:
    """Simplify a graph; the model itself where nothing was changed."""
    original, narrow = fold_narrow_weights(given)
    try:
        expected = witness(original, weights)
    except (InvalidDataError, ToolError) as error:  # it loads, but rejects values that we can make up
        refusal = f"Nothing was simplified: the model does not run on generated inputs. {error.message}"
        return PassResult(model, (), (refusal,))
    start = current = _Marked.of(original)
    difference = 0.0
    refusals: list[str] = []
    places: dict[str, list[tuple[str, ...]]] = {}
    recognized: dict[str, Left] = {}
    for _ in range(_MAX_ROUNDS):
        before = current.mark
        # Of the last round: what failed on the raw graph may work on the cleaned one.
        refusals, recognized = [], {}
        tools = list(_TOOLS)
        while tools:
            tool = tools.pop(0)
            try:
                after, change, report = _proven(current, tool, expected, highest_opset)
            except _Refused as refused:
                if len(tool.rewrites) > 1:
                    tools = [_rewriting(each) for each in tool.rewrites] + tools
                else:
                    refusals.append(f"{tool.name} was left out: {refused}.")
                continue
            recognized |= report.left
            if after is not current:
                current, difference = after, change
                for name, nodes in report.places.items():
                    places.setdefault(name, []).extend(nodes)
        if current.mark == before:
            break
    refusals.extend(_unused_inputs(current.proto, weights))
    layers = Layers(original)
    left = _left(recognized, layers)
    if current.mark == start.mark:
        return PassResult(model, (), tuple(refusals), left=left, made_up_scale=expected.scale)
    name_nodes(current.proto)  # so that keep_float can name them
    keep_narrow(current.proto, narrow)
    result = from_proto(current.proto)
    changes = _changes(given, current.proto)
    applied = _applied(places, layers)
    return PassResult(result, changes, tuple(refusals), difference, applied, left, expected.scale)


@dataclass(frozen=True)
class _Marked:
    """A graph, its fingerprint and its size, each of which takes a pass over all weights."""

    proto: onnx.ModelProto
    mark: str
    size: int

    @classmethod
    def of(cls, proto: onnx.ModelProto) -> _Marked:
        return cls(proto, fingerprint(proto), proto.ByteSize())


class _Refused(Exception):  # noqa: N818  # an outcome that is written down, no error
    pass


def _proven(
    before: _Marked, tool: _Tool, expected: Witness, highest_opset: int | None
) -> tuple[_Marked, float, Report]:
    """The tool's result, its max-norm difference from the original, and what the rewrites did and left.

    The given model where it changed nothing.
    """
    report, given = Report(), before.proto
    if before.size > _LARGE_BYTES:
        gc.collect()  # graphs of onnx_ir are cycles, each with a copy of the weights
    try:
        if tool.rewrites:
            proto, report = rewrite(given, tool.rewrites, highest_opset)
        else:
            proto = tool.run(given)
    except Exception as error:  # third-party code on any graph: whatever it raises, the model is kept
        logger.info("a simplification tool failed", exc_info=error)
        raise _Refused(f"it failed with {type(error).__name__}: {first_line(error)}") from error
    if proto is given:
        return before, 0.0, report
    try:
        restore_edges(given, proto)
        after = _Marked.of(proto)
        if after.mark == before.mark:
            return before, 0.0, report  # only names differ
        if not tool.rewrites and opset(proto) != opset(given):
            raise NotTheSameError("it has another operator set")
        growth, extra = (_TABLE_GROWTH, _TABLE_BYTES) if tool.rewrites else (_GROWTH, _GROWTH_BYTES)
        if after.size > before.size * growth + extra:
            raise NotTheSameError(f"the file would grow from {before.size} to {after.size} bytes")
        difference = check_same(given, proto, expected)
    except (NotTheSameError, OptimizerError) as error:
        raise _Refused(first_line(error).rstrip(".")) from error
    return after, difference, report


def _slim(proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnx
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)  # it writes into what it gets
    slimmed: onnx.ModelProto = onnxslim.slim(copy)
    return slimmed


def _optimize_basic(proto: onnx.ModelProto) -> onnx.ModelProto:
    from optimizer.runtime import optimize_basic

    return optimize_basic(proto)


@dataclass(frozen=True)
class _Tool:
    """Something that makes a graph smaller or faster; what it gets stays as it is."""

    name: str
    run: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda proto: proto
    rewrites: tuple[Rewrite, ...] = ()
    """Instead of `run`: what a tool of ours rewrites."""


def _rewriting(*rewrites: Rewrite) -> _Tool:
    name = f"The rewrite {rewrites[0].name}" if len(rewrites) == 1 else "Rewriting"
    return _Tool(name, rewrites=rewrites)


# What nothing reads goes first, and weights leave the list of inputs, where no tool takes them for constants.
# The rewrites before the tools, which would take patterns apart; they fold what the rewrites made constant.
# onnxslim before ONNX Runtime: it folds BatchNormalization and its Mul and Add spelling.
_TOOLS = (
    _Tool("Removal of what nothing reads", remove_unused),
    _rewriting(*REWRITES),
    _Tool("onnxslim", _slim),
    _Tool("ONNX Runtime's basic optimization", _optimize_basic),
)


def _applied(places: Mapping[str, Sequence[tuple[str, ...]]], layers: Layers) -> tuple[AppliedRewrite, ...]:
    """What was rewritten, from the nodes that each rewrite replaced."""
    return tuple(
        AppliedRewrite(
            name=name,
            words=in_words(name),
            count=len(times),
            layers=tuple(dict.fromkeys(layers.layer_of(node) or node for nodes in times for node in nodes)),
        )
        for name, times in sorted(places.items())
    )


def _left(recognized: Mapping[str, Left], layers: Layers) -> tuple[LeftNode, ...]:
    """What was recognized but left."""
    return tuple(
        LeftNode(
            node=node,
            layer=layers.layer_of(node) or node,
            rewrite=left.rewrite,
            words=in_words(left.rewrite),
            reason=left.reason,
        )
        for node, left in sorted(recognized.items())
    )


def _unused_inputs(proto: onnx.ModelProto, weights: Collection[str]) -> list[str]:
    read = {name for node in all_nodes(proto.graph) for name in node.input}
    read |= {value.name for graph in all_graphs(proto.graph) for value in graph.output}
    read |= set(weights)  # of which one that is not read is left out
    unused = [value.name for value in true_inputs(proto.graph) if value.name not in read]
    return [f"Input {name} is read by no node; it stays, since callers feed it." for name in unused]


def _changes(before: onnx.ModelProto, after: onnx.ModelProto) -> tuple[str, ...]:
    sizes = before.ByteSize(), after.ByteSize()
    operators = [Counter(node.op_type for node in all_nodes(proto.graph)) for proto in (before, after)]
    gone = operators[0] - operators[1]
    counts = [counter.total() for counter in operators]
    changes = [f"{counts[0]} -> {counts[1]} nodes"] if counts[0] != counts[1] else []
    folded = gone.pop("BatchNormalization", 0)
    if folded:
        changes.append(f"folded {folded} BatchNormalization into the layers before them")
    if gone:
        changes.append("removed or folded " + ", ".join(f"{n} {name}" for name, n in sorted(gone.items())))
    new = operators[1] - operators[0]
    if new:
        changes.append("put in their place " + ", ".join(f"{n} {name}" for name, n in sorted(new.items())))
    weights = [sum(len(graph.initializer) for graph in all_graphs(proto.graph)) for proto in (before, after)]
    if weights[0] != weights[1]:
        changes.append(f"{weights[0]} -> {weights[1]} constants")
    if sizes[0] != sizes[1]:
        changes.append(f"{sizes[0]} -> {sizes[1]} bytes")
    return tuple(changes) or ("dropped outputs that nothing reads",)

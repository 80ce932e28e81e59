"""Remove what computes nothing and fold what is constant, at no loss.

Four tools one after another, until nothing changes any more: onnx_ir's passes for what nothing reads, the
rewrites of this package, onnxslim, and ONNX Runtime's basic optimizations (the same on any hardware). Each
result is proven to be the same function before it is kept; else it is undone and the refusal says why. Where
the rewrites together differ, each is tried on its own, so that the refusal names the one at fault.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from optimizer.errors import InvalidDataError, OptimizerError, ToolError
from optimizer.external_data import PROTO_BYTES
from optimizer.graph.changes import left_nodes, rewritten_places, unused_inputs, what_changed
from optimizer.graph.layers import Layers
from optimizer.graph.light_graph import LightGraph, lighten
from optimizer.graph.narrow_weights import NarrowWeight, fold_narrow_weights, keep_narrow
from optimizer.graph.rewriter import Left, Report, Rewrite, rewrite
from optimizer.graph.rewrites import REWRITES
from optimizer.graph.structure import fingerprint, name_nodes, opset
from optimizer.graph.unused import remove_unused
from optimizer.graph.verify import (
    NotTheSameError,
    Values,
    Witness,
    check_same,
    check_whole,
    restore_edges,
    witness,
)
from optimizer.model import Model, PassResult, first_line

_MAX_ROUNDS = 4
_GROWTH_BYTES = 1 << 16
_GROWTH = 1.02
_TABLE_BYTES = 1 << 18
_LARGE_BYTES = 1 << 24
_TABLE_GROWTH = 1.25  # a table that takes the place of a product may be larger than its weight

logger = logging.getLogger(__name__)


def simplify(
    model: Model,
    largest_bytes: int = PROTO_BYTES,
    highest_opset: int | None = None,
    samples: Sequence[Values] = (),
) -> PassResult:
    """Remove dead nodes and unused weights, fold constants and BatchNormalization.

    Inputs and outputs keep their names, types, shapes and order; an input that nothing reads stays and is
    named in the refusals. A second run changes nothing.

    Args:
        model: The model.
        largest_bytes: Of a model with more weights than that the tools get none of the large ones, and fold
            nothing into them; the rewrites do.
        highest_opset: The operator set is not raised above this; None: as far as a rewrite needs.
        samples: Inputs of the user's, on which the result is compared besides generated ones.

    Returns:
        The simplified model; sentences on what was changed; each tool whose result was undone, with why; and
        the largest max-norm difference of an output, 0 where nothing was changed.

    Raises:
        OptimizerError: If ONNX Runtime cannot load the model.
    """
    heavy = model.weight_bytes > _LARGE_BYTES
    given = lighten(
        model.graph_ir, "all" if model.weight_bytes > largest_bytes else "layers" if heavy else "none"
    )
    # Weights that no protobuf holds could not be stored in fewer bits again.
    folded, narrow = (given.proto, ()) if given.apart == "all" else fold_narrow_weights(given.proto)
    original = given.with_ir(given.with_proto(folded).to_ir()) if narrow else given
    try:
        expected = witness(original.proto, original.values(), samples)
    except (InvalidDataError, ToolError) as error:  # it loads, but rejects values that we can make up
        tried = "the samples" if samples else "generated inputs"
        refusal = f"Nothing was simplified: the model does not run on {tried}. {error.message}"
        return PassResult(model, (), (refusal,))
    if len(expected.empty) == len(expected.outputs[0]):
        refusal = f"Nothing was simplified: every output is empty on {expected.source}, which proves nothing."
        return PassResult(model, (), (refusal,), made_up_scale=expected.scale)
    refusals: list[str] = []
    try:
        cleaned = _cleaned(original, expected, highest_opset)
        result, difference = _stored_narrow(cleaned, narrow, given, expected)
    except _Refused as refused:
        refusals = [f"The computation of weights from fewer bits was left: {refused}."]
        original, cleaned = given, _cleaned(given, expected, highest_opset)
        result, difference = cleaned.marked.graph, cleaned.difference
    refusals = [*cleaned.refusals, *unused_inputs(result), *_unproven(expected), *refusals]
    layers = Layers(original.proto)
    nodes_left = left_nodes(cleaned.left, layers)
    if not cleaned.is_changed:
        return PassResult(model, (), tuple(refusals), left=nodes_left, made_up_scale=expected.scale)
    name_nodes(result.proto)  # so that keep_float can name them
    whole = result.to_ir()
    if result.weights:
        try:
            difference = max(difference, check_whole(whole, expected))
        except (NotTheSameError, OptimizerError) as error:
            refusal = f"Nothing was simplified: with its weights in it, {first_line(error).rstrip('.')}."
            return PassResult(model, (), (*refusals, refusal), left=nodes_left, made_up_scale=expected.scale)
    return PassResult(
        Model(whole),
        what_changed(given, result),
        tuple(refusals),
        difference,
        rewritten_places(cleaned.places, layers),
        nodes_left,
        expected.scale,
    )


def _unproven(expected: Witness) -> tuple[str, ...]:
    return tuple(
        f"Output {name} is empty on {expected.source}: the proof says nothing of it."
        for name in expected.empty
    )


@dataclass
class _Cleaned:
    """A graph that no tool changes any more, and what they did."""

    marked: _Marked
    is_changed: bool = False
    difference: float = 0.0
    """Largest max-norm difference of an output from the original."""
    refusals: list[str] = field(default_factory=list)
    places: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)


def _cleaned(original: LightGraph, expected: Witness, highest_opset: int | None) -> _Cleaned:
    """Let the tools change a graph, one after another, until none does any more."""
    cleaned = _Cleaned(_Marked.of(original))
    start = cleaned.marked.state
    for _ in range(_MAX_ROUNDS):
        before = cleaned.marked.state
        # Of the last round: what failed on the raw graph may work on the cleaned one.
        cleaned.refusals, cleaned.left = [], {}
        tools = list(_TOOLS)
        while tools:
            tool = tools.pop(0)
            try:
                after, difference, report = _proven(cleaned.marked, tool, expected, highest_opset)
            except _Refused as refused:
                if len(tool.rewrites) > 1:
                    tools = [_rewriting(each) for each in tool.rewrites] + tools
                else:
                    cleaned.refusals.append(f"{tool.name} was left out: {refused}.")
                continue
            cleaned.left |= report.left
            if after is not cleaned.marked:
                cleaned.marked, cleaned.difference = after, difference
                for name, nodes in report.places.items():
                    cleaned.places.setdefault(name, []).extend(nodes)
        if cleaned.marked.state == before:
            break
    cleaned.is_changed = cleaned.marked.state != start
    return cleaned


def _stored_narrow(
    cleaned: _Cleaned, narrow: Sequence[NarrowWeight], given: LightGraph, expected: Witness
) -> tuple[LightGraph, float]:
    """The graph with its weights in as few bits as they were given, and its max-norm difference."""
    graph = cleaned.marked.graph
    if not narrow or not cleaned.is_changed:
        return graph, cleaned.difference
    whole = graph.whole()
    stored = keep_narrow(whole, narrow)
    try:
        _check_growth(given.size, stored.ByteSize())
        return LightGraph(stored), check_same(whole, stored, expected)
    except (NotTheSameError, OptimizerError) as error:
        raise _Refused(first_line(error).rstrip(".")) from error


def _check_growth(before: int, after: int, factor: float = _GROWTH, extra: int = _GROWTH_BYTES) -> None:
    if after > before * factor + extra:
        raise NotTheSameError(f"the file would grow from {before} to {after} bytes")


@dataclass(frozen=True)
class _Marked:
    """A graph, its fingerprint and its size, each of which takes a pass over the weights in it."""

    graph: LightGraph
    mark: str
    size: int
    edition: int = 0
    """How often rewrites changed what the fingerprint does not see: attributes, and what reads what."""

    @classmethod
    def of(cls, graph: LightGraph) -> _Marked:
        return cls(graph, fingerprint(graph.proto, graph.weights), graph.size)

    @property
    def state(self) -> tuple[str, int]:
        """What differs where anything but names does."""
        return self.mark, self.edition


class _Refused(Exception):  # noqa: N818  # an outcome that is written down, no error
    pass


def _proven(
    before: _Marked, tool: _Tool, expected: Witness, highest_opset: int | None
) -> tuple[_Marked, float, Report]:
    """The tool's result, its max-norm difference from the original, and what the rewrites did and left.

    The given model where it changed nothing.
    """
    report, given = Report(), before.graph
    if before.size > _LARGE_BYTES:
        gc.collect()  # graphs of onnx_ir are cycles, some with weights that were folded
    try:
        if tool.rewrites:
            graph, report = rewrite(given, tool.rewrites, highest_opset)
        else:
            graph = tool.run(given)
    except Exception as error:  # third-party code on any graph: whatever it raises, the model is kept
        logger.info("a simplification tool failed", exc_info=error)
        raise _Refused(f"it failed with {type(error).__name__}: {first_line(error)}") from error
    if graph is given:
        return before, 0.0, report
    try:
        restore_edges(given.proto, graph.proto, {*given.weights, *graph.weights})
        after = replace(_Marked.of(graph), edition=before.edition)
        if after.mark == before.mark:
            if not report.places:
                return before, 0.0, report  # only names differ, or how a tool writes down the same
            after = replace(after, edition=before.edition + 1)
        if not tool.rewrites and opset(graph.proto) != opset(given.proto):
            raise NotTheSameError("it has another operator set")
        limits = (_TABLE_GROWTH, _TABLE_BYTES) if tool.rewrites else (_GROWTH, _GROWTH_BYTES)
        _check_growth(before.size, after.size, *limits)
        difference = check_same(given.proto, graph.proto, expected, graph.values())
    except (NotTheSameError, OptimizerError) as error:
        raise _Refused(first_line(error).rstrip(".")) from error
    return after, difference, report


def _clean(graph: LightGraph) -> LightGraph:
    model = graph.to_ir()
    remove_unused(model)
    return graph.with_ir(model)


def _slim(graph: LightGraph) -> LightGraph:
    import onnx
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(graph.proto)  # it writes into what it gets
    return graph.with_proto(onnxslim.slim(copy))


def _optimize_basic(graph: LightGraph) -> LightGraph:
    from optimizer.runtime import optimize_basic

    return graph.with_proto(optimize_basic(graph.proto))


@dataclass(frozen=True)
class _Tool:
    """Something that makes a graph smaller or faster; what it gets stays as it is."""

    name: str
    run: Callable[[LightGraph], LightGraph] = lambda graph: graph
    rewrites: tuple[Rewrite, ...] = ()
    """Instead of `run`: what a tool of ours rewrites."""


def _rewriting(*rewrites: Rewrite) -> _Tool:
    name = f"The rewrite {rewrites[0].name}" if len(rewrites) == 1 else "Rewriting"
    return _Tool(name, rewrites=rewrites)


# What nothing reads goes first, and weights leave the list of inputs, where no tool takes them for constants.
# The rewrites before the tools, which would take patterns apart; they fold what the rewrites made constant.
# onnxslim before ONNX Runtime, which folds less.
_TOOLS = (
    _Tool("Removal of what nothing reads", _clean),
    _rewriting(*REWRITES),
    _Tool("onnxslim", _slim),
    _Tool("ONNX Runtime's basic optimization", _optimize_basic),
)

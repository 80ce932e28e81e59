"""Applies rewrites to a model until none fits any more.

A rewrite looks at one node, the last of its pattern, and returns the values that take the place of the node's
outputs, or None where it does not fit. What it leaves unused is removed afterwards.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from optimizer.graph.builder import Builder as Builder  # given to rewrites, which take both from here
from optimizer.graph.builder import inner_nodes, let_go
from optimizer.graph.infer_sizes import infer_sizes
from optimizer.graph.light_graph import LightGraph
from optimizer.graph.structure import STANDARD_DOMAINS, at_opset
from optimizer.model import first_line

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

logger = logging.getLogger(__name__)

_MAX_ROUNDS = 20


class LeftAsItIs(Exception):  # noqa: N818  # an outcome that is written down, no error
    """A rewrite recognized its pattern, but did not apply; says why."""


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite."""

    name: str
    """A verb and its object, as in `fuse_gelu`."""
    roots: frozenset[str]
    """Operators that the last node of the pattern may be."""
    replace: Callable[[ir.Node, Builder], Sequence[ir.Value | None] | None]
    opset: int = 13
    """The first operator set that has what it writes."""


@dataclass(frozen=True)
class Left:
    """Why a node was left that a rewrite recognized."""

    rewrite: str
    """Its name."""
    reason: str


@dataclass
class Report:
    """What was done, and what was recognized but left."""

    places: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    """By the name of the rewrite, for each time the names of the node that it replaced and of its bodies'."""
    left: dict[str, Left] = field(default_factory=dict)
    """By the name of the node."""
    wanted_opset: int = 0
    """The operator set that rewrites which fit would need."""

    @property
    def applied(self) -> Counter[str]:
        """How often each rewrite was applied."""
        return Counter({name: len(times) for name, times in self.places.items()})


def rewrite(
    graph: LightGraph, rewrites: Sequence[Rewrite], highest_opset: int | None = None
) -> tuple[LightGraph, Report]:
    """Apply rewrites until none fits; the operator set is raised as far as they need.

    Args:
        graph: The model.
        rewrites: In the order in which they are tried.
        highest_opset: The operator set is not raised above this; rewrites that need more do not apply.

    Returns:
        A new model, or the given one where nothing fits; and what was done, and left.
    """
    rewrites = [each for each in rewrites if highest_opset is None or each.opset <= highest_opset]
    model = graph.to_ir()
    report = apply_rewrites(model, rewrites)
    raised = _raised(graph.proto, report.wanted_opset) if report.wanted_opset else None
    if raised is not None:
        model = replace(graph, proto=raised).to_ir()
        report = apply_rewrites(model, rewrites)
    return (graph.with_ir(model) if report.applied else graph), report


def _raised(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto | None:
    """The model at a later operator set; None where ONNX cannot raise it."""
    try:
        return at_opset(proto, opset)
    except (RuntimeError, ValueError) as error:  # an operator without an adapter, or another domain's
        logger.info("the operator set stays", exc_info=error)
        return None


def apply_rewrites(model: ir.Model, rewrites: Sequence[Rewrite]) -> Report:
    """Apply rewrites, in place, until none fits.

    Args:
        model: The model; nothing is written into its tensors.
        rewrites: In the order in which they are tried.
    """
    report = Report()
    edges = _separate_sizes(model)
    for _ in range(_MAX_ROUNDS):
        tidy(model)
        before = report.applied.total()
        report.left.clear()  # what did not fit may do so by now
        for rewrite in rewrites:
            for node in list(_candidates(model, rewrite.roots)):
                if node.graph is not None and _is_read(node):
                    _try(node, rewrite, model, report)
        if report.applied.total() == before:
            break  # nothing has changed since it was tidied
    else:
        tidy(model)
    for value, shape in edges:
        value.shape = shape
    return report


def _separate_sizes(model: ir.Model) -> list[tuple[ir.Value, ir.Shape | None]]:
    """Give each free axis of each input a name of its own, in place.

    Files call the first axis of all inputs `batch`, whether they have to be equal or not.

    Returns:
        Inputs and outputs with the shapes that they had.
    """
    import onnx_ir as ir

    edges = [(value, value.shape) for value in (*model.graph.inputs, *model.graph.outputs)]
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.outputs:
            value.shape = None
        for value in graph.inputs:
            if value.shape is not None:
                sizes = enumerate(value.shape)
                value.shape = ir.Shape(
                    size if isinstance(size, int) else f"{value.name}[{axis}]" for axis, size in sizes
                )
    return edges


def tidy(model: ir.Model) -> None:
    """Remove what nothing reads, and infer shapes anew, in place."""
    from onnx_ir.passes import common

    common.RemoveUnusedNodesPass()(model)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    infer_sizes(model.graph)
    for graph in model.graph.subgraphs():
        infer_sizes(graph)


def _is_read(node: ir.Node) -> bool:
    """Whether anything reads a node: what a rewrite left unused goes with the next round."""
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


def _candidates(model: ir.Model, roots: frozenset[str]) -> Iterator[ir.Node]:
    for node in model.graph.all_nodes():
        if node.op_type in roots and node.domain in STANDARD_DOMAINS:
            yield node


def _try(node: ir.Node, rewrite: Rewrite, model: ir.Model, report: Report) -> None:
    opset = model.graph.opset_imports.get("", 0)
    build = Builder(node, opset)
    new = None
    name = node.name or node.outputs[0].name or node.op_type
    try:
        new = rewrite.replace(node, build)
    except LeftAsItIs as reason:
        report.left[name] = Left(rewrite.name, str(reason))
    except Exception as error:  # on a graph that nobody thought of; the node stays, and so do the others
        logger.info("the rewrite %s failed", rewrite.name, exc_info=error)
        report.left[name] = Left(rewrite.name, f"it failed with {type(error).__name__}: {first_line(error)}")
    if new is not None and opset < rewrite.opset:
        report.wanted_opset = max(report.wanted_opset, rewrite.opset)
        new = None
    if new is None:
        build.discard()
        return
    report.places.setdefault(rewrite.name, []).append(tuple(_names(node)))
    _put(node, build, new, model)


def _names(node: ir.Node) -> Iterator[str]:
    """The name of a node, and of each node of its bodies."""
    import onnx_ir as ir

    yield node.name or node.outputs[0].name or node.op_type
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _names(inner)


def _put(node: ir.Node, build: Builder, new: Sequence[ir.Value | None], model: ir.Model) -> None:
    """Let new values take the place of a node's outputs; names of the graph's outputs stay."""
    import onnx_ir as ir

    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for constant in build.constants:
        while constant.name in model.graph.initializers:  # branches may use a name twice
            constant.name = f"{constant.name}_"
        model.graph.register_initializer(constant)
    nodes = list(build.nodes)
    made = {id(output) for each in nodes for output in each.outputs}
    for old, value in zip(node.outputs, new, strict=True):
        if value is None:  # nobody reads it
            continue
        kept = value
        if old.is_graph_output() and (id(value) not in made or value.is_graph_output()):
            # The graph's output needs a value of its own.
            nodes.append(ir.node("Identity", [value], name=f"{old.name}/Identity"))
            kept = nodes[-1].outputs[0]
        if kept is not value or id(value) in made:
            kept.type = old.type if old.type is not None else kept.type
        if old.is_graph_output():
            kept.name, old.name = old.name, f"{old.name}/replaced"
        ir.convenience.replace_all_uses_with(old, kept, replace_graph_outputs=True)
    graph.insert_after(node, nodes)
    graph.remove(node, safe=True)
    let_go(*inner_nodes(node))


def single_use(value: ir.Value) -> bool:
    """Whether one node alone reads a value, and the graph does not give it out.

    Not where it is read in the body of a loop or branch: there it would be computed at each turn.
    """
    users, producer = value.uses(), value.producer()
    if len(users) != 1 or value.is_graph_output():
        return False
    return producer is None or next(iter(users)).node.graph is producer.graph


def attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute."""
    return node.attributes[name].as_int() if name in node.attributes else default


def automatic_padding(node: ir.Node) -> str:
    """How a layer or pool pads by itself: NOTSET where its pads count."""
    return node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"


def is_plain_gemm(node: ir.Node) -> bool:
    """Whether a Gemm multiplies neither its product nor its bias by a number."""
    return all(node.attributes[name].as_float() == 1 for name in ("alpha", "beta") if name in node.attributes)


def attributes_of(node: ir.Node) -> Mapping[str, Any]:
    """All attributes, to be handed to a new node."""
    return {name: entry.value for name, entry in node.attributes.items()}

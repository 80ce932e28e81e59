"""What simplifying changed and what it left, as results of the package say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from optimizer.graph.layers import Layers
from optimizer.graph.light_graph import LightGraph
from optimizer.graph.rewriter import Left
from optimizer.graph.rewrites.words import in_words
from optimizer.graph.structure import all_graphs, all_nodes, read_names, true_inputs
from optimizer.rewriting import AppliedRewrite, LeftNode


def rewritten_places(
    places: Mapping[str, Sequence[tuple[str, ...]]], layers: Layers
) -> tuple[AppliedRewrite, ...]:
    """What was rewritten, sorted by name, from the nodes that each rewrite replaced."""
    return tuple(
        AppliedRewrite(
            name=name,
            words=in_words(name),
            count=len(times),
            layers=tuple(dict.fromkeys(layers.layer_of(node) or node for nodes in times for node in nodes)),
        )
        for name, times in sorted(places.items())
    )


def left_nodes(recognized: Mapping[str, Left], layers: Layers) -> tuple[LeftNode, ...]:
    """What was recognized but left, sorted by node."""
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


def unused_inputs(graph: LightGraph) -> list[str]:
    """A sentence for each input that nothing reads."""
    read = read_names(graph.proto.graph)
    unused = [value.name for value in true_inputs(graph.proto.graph) if value.name not in read]
    return [f"Input {name} is read by no node; it stays, since callers feed it." for name in unused]


def what_changed(before: LightGraph, after: LightGraph) -> tuple[str, ...]:
    """Sentences on what the second has that the first had not, and the other way round."""
    sizes = before.size, after.size
    both = (before, after)
    operators = [Counter(node.op_type for node in all_nodes(graph.proto.graph)) for graph in both]
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
    weights = [
        sum((len(inner.initializer) for inner in all_graphs(graph.proto.graph)), len(graph.weights))
        for graph in both
    ]
    if weights[0] != weights[1]:
        changes.append(f"{weights[0]} -> {weights[1]} constants")
    if sizes[0] != sizes[1]:
        changes.append(f"{sizes[0]} -> {sizes[1]} bytes")
    return tuple(changes) or ("the same operators, connected otherwise",)

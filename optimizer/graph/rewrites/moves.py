"""Chains of operators that only move elements, as the fewest that do the same, or none.

    Reshape(Squeeze(Unsqueeze(x)))             ->  x, or one Reshape
    Transpose(Transpose(x))                    ->  x, or one Transpose
    Transpose(x [b, 28, 28, 1])                ->  Reshape(x)           axes of size 1 hold no order
    Reshape(Transpose(Unsqueeze(Reshape(x))))  ->  at most Reshape, Transpose, Reshape

A chain is replaced where it has fewer Transposes and no more operators, or fewer operators and no more
Transposes, or as many of both, but moving fewer axes of size 1. `optimizer.graph.layout` has the argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.graph.layout import (
    MOVES,
    Step,
    chain_above,
    cost,
    is_move,
    layout,
    own_moves,
    reshape,
    transposed,
)
from optimizer.graph.rewriter import Builder, Rewrite
from optimizer.graph.sizes import order_of, shape

if TYPE_CHECKING:
    import onnx_ir as ir


def _collapse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value = node.outputs[0]
    chain = chain_above(value)
    if not value.is_graph_output() and all(_sees(use.node, chain) for use in value.uses()):
        return None  # the last move of the chain sees it all
    own = 1 + own_moves(chain[:-1])
    best: tuple[list[Step], ir.Value | None] | None = None
    for start in range(len(chain)):
        steps = _steps(chain[start:])
        if steps is None:
            continue
        if _is_less(steps, chain[start:], own) and (best is None or cost(steps) < cost(best[0])):
            best = steps, chain[start].inputs[0]
    return None if best is None or best[1] is None else [put(best[0], best[1], build)]


def _sees(node: ir.Node, chain: list[ir.Node]) -> bool:
    """Whether a node is a move that has pieces in common with the moves before it."""
    return is_move(node) and _steps([*chain, node]) is not None


def _steps(chain: Sequence[ir.Node]) -> list[Step] | None:
    given, sizes = shape(chain[0].inputs[0]), shape(chain[-1].outputs[0])
    if given is not None and sizes is not None and all(node.op_type != "Transpose" for node in chain):
        return [] if given == sizes else reshape(given, sizes)  # they may have no pieces in common
    found = layout(chain)
    return None if found is None or found.sizes() != sizes else found.steps()


def _is_less(steps: Sequence[Step], chain: Sequence[ir.Node], own: int) -> bool:
    """Whether the steps are less than what goes; as much is well where a shared move is left behind."""
    transposes, moves, units = cost([_step(node) for node in chain[-own:]])
    fewer, moves_left, units_left = cost(steps)
    if moves_left > moves or fewer > transposes:
        return False
    if moves_left < moves or fewer < transposes or units_left < units:
        return True
    if len(chain) <= own:
        return False
    shared = chain[-own - 1].outputs[0]
    return not shared.is_graph_output() and all(is_move(use.node) for use in shared.uses())


def _step(node: ir.Node) -> Step:
    sizes = shape(node.inputs[0])
    if node.op_type == "Transpose" and sizes is not None:
        return transposed(sizes, order_of(node))
    return Step(node.op_type, ())


def put(steps: Sequence[Step], value: ir.Value, build: Builder) -> ir.Value:
    """Build the steps behind a value."""
    for step in steps:
        if step.op_type == "Transpose":
            value = build("Transpose", value, perm=list(step.numbers))
        else:
            value = build(step.op_type, value, build.constant(list(step.numbers)))
    return value


COLLAPSE_MOVES = Rewrite("collapse_moves", frozenset(MOVES), _collapse)

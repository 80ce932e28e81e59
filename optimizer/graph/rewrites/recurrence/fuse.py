"""A loop with a recurrent cell becomes the operator, masked ones too.

Keras carries the state over masked steps, so only the valid ones matter, in their order: they are moved to
the front, and the operator stops after their number (`sequence_lens`). Where the sequence is returned, the
output of a masked step is that of the last valid one before it, or zero. Exact for any mask, also one with
holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.rewriter import Builder, LeftAsItIs, Rewrite
from optimizer.graph.rewrites.recurrence.cells import Cell, read_cell, read_choice
from optimizer.graph.rewrites.recurrence.masks import Mask, mask_of, put_back, to_front
from optimizer.graph.rewrites.recurrence.states import is_last_slice, is_zeros
from optimizer.graph.rewrites.recurrence.steps import Steps, read_steps
from optimizer.graph.sizes import fixed, integers, shape

if TYPE_CHECKING:
    import onnx_ir as ir


def _fuse(node: ir.Node, build: Builder) -> Sequence[ir.Value | None] | None:
    steps = read_steps(node)
    if steps is None:
        raise LeftAsItIs("it is no walk over a whole sequence")
    cell = read_cell(steps)
    if cell is None:
        raise LeftAsItIs("its body is no LSTM, GRU or RNN")
    x = steps.sequence(cell.gates.x)
    if x is None:
        raise LeftAsItIs(f"the {cell.op_type} takes another input than the steps of a sequence")
    length = shape(x)
    if length is None or integers(steps.count) != length[:1]:
        raise LeftAsItIs("it may end before its sequence does")
    if cell.gates.w.dtype != np.float32:
        raise LeftAsItIs(f"ONNX Runtime has no {cell.op_type} for {cell.gates.w.dtype}")
    mask = _mask(steps, cell, build)
    if mask is not None:
        x = to_front(build, x, mask)
    results = _operator(build, cell, x, mask)
    y = build("Squeeze", results[0], build.constant([1]))  # [steps, batch, hidden]
    return [_replacement(build, steps, cell, output, (y, results, mask)) for output in node.outputs]


def _operator(build: Builder, cell: Cell, x: ir.Value, mask: Mask | None) -> Sequence[ir.Value]:
    """The recurrent operator: Y, Y_h, and Y_c of an LSTM."""
    states = [cell.hidden.initial] + ([cell.memory.initial] if cell.memory is not None else [])
    initial = [
        None if all(map(is_zeros, states)) else build("Unsqueeze", s, build.constant([0])) for s in states
    ]
    gates = cell.gates
    attributes = {"hidden_size": gates.r.shape[2], "activations": list(cell.activations)}
    if cell.op_type == "GRU":
        attributes["linear_before_reset"] = int(cell.linear_before_reset)
    inputs: list[ir.Value | None] = [x, *map(build.constant, (gates.w, gates.r, gates.b))]
    inputs += [mask.counts if mask is not None else None, *initial]
    while inputs[-1] is None:
        inputs.pop()
    return build.several(cell.op_type, 1 + len(states), *inputs, **attributes)


def _mask(steps: Steps, cell: Cell, build: Builder) -> Mask | None:
    """The mask as a sequence, time first."""
    if cell.mask is None:
        return None
    sequence = steps.sequence(cell.mask)
    sizes = shape(sequence)
    if sequence is None or sizes is None or len(sizes) != 3 or fixed(sequence, 2) != 1:
        raise LeftAsItIs("its mask is not one value a step and sample")
    states = [cell.hidden] + ([cell.memory] if cell.memory is not None else [])
    if not all(is_zeros(state.initial) for state in states):
        raise LeftAsItIs("it is masked and starts from a state of its own")
    return mask_of(build, sequence)


def _replacement(
    build: Builder,
    steps: Steps,
    cell: Cell,
    output: ir.Value,
    found: tuple[ir.Value, Sequence[ir.Value], Mask | None],
) -> ir.Value | None:
    """What takes the place of one output of the loop; None for one that nobody reads."""
    y, results, mask = found
    if not output.uses() and not output.is_graph_output():
        return None
    if output is cell.hidden.final:
        return build("Squeeze", results[1], build.constant([0]))
    if cell.memory is not None and output is cell.memory.final:
        return build("Squeeze", results[2], build.constant([0]))
    collected = steps.scans.get(output)
    if collected is None:
        raise LeftAsItIs("it carries more than its state")
    if mask is None:
        if collected is not cell.new:
            raise LeftAsItIs("it collects another value than its state")
        return y
    if collected is cell.hidden.leaving and cell.mask is not None:
        carries = True
    else:
        carries = _carries(steps, cell, collected)
    if carries and all(is_last_slice(use.node) for use in output.uses()) and not output.is_graph_output():
        return results[1]  # [1, batch, hidden]: the same last step
    return put_back(build, y, mask, carries=carries)


def _carries(steps: Steps, cell: Cell, collected: ir.Value) -> bool:
    """Whether a masked step gives the output of the step before, which starts as zero; else it gives zero."""
    choice = read_choice(collected)
    if choice is None or choice.mask is not cell.mask or choice.new is not cell.new:
        raise LeftAsItIs("it collects another value than its state")
    old = steps.state(choice.old)
    if old is not None and is_zeros(old.initial) and old.leaving in (collected, old.entering):
        return old.leaving is collected
    if old is None and is_zeros(choice.old):
        return False
    raise LeftAsItIs("its masked steps give neither the last output nor zeros")


FUSE_RECURRENCE = Rewrite("fuse_recurrence", frozenset({"Loop"}), _fuse)

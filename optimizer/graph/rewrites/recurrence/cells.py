"""Recognizes the cell of a loop's body: LSTM, GRU or simple RNN, masked or not.

    LSTM  c' = f c + i g,  h' = o tanh(c')    i, f, o = sigmoid(x W + h R + b),  g = tanh(x W + h R + b)
    GRU   h' = z h + (1 - z) n     n = tanh(x W + b + r (h R + b'))  or  tanh(x W + (r h) R + b)
    RNN   h' = tanh(x W + h R + b)

A mask keeps the old state: m ? new : old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import Bindings, Pattern, either, find, number, op, variable
from optimizer.graph.rewrites.recurrence.linear import Linear, read_linear
from optimizer.graph.rewrites.recurrence.steps import Carried, Steps

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

_ACTIVATIONS = ("Sigmoid", "Tanh", "Relu")


@dataclass(frozen=True)
class Gates:
    """The weights of a cell in ONNX's form, its gates one below the other."""

    x: ir.Value
    """The body's input element."""
    w: Array
    """float[1, gates * hidden, in]."""
    r: Array
    """float[1, gates * hidden, hidden]."""
    b: Array
    """float[1, 2 * gates * hidden]: those of the input, then those of the state."""


@dataclass(frozen=True)
class Cell:
    """A recognized cell."""

    op_type: str
    gates: Gates
    activations: tuple[str, ...]
    new: ir.Value
    """The hidden state that it computes, before a mask."""
    hidden: Carried
    memory: Carried | None = None
    """The state c of an LSTM."""
    mask: ir.Value | None = None
    """A value of the body: true where the step counts."""
    linear_before_reset: bool = False


@dataclass(frozen=True)
class Choice:
    """mask ? new : old."""

    mask: ir.Value
    new: ir.Value
    old: ir.Value


def read_choice(value: ir.Value) -> Choice | None:
    """A choice as Where, or as the sum of products that tf2onnx writes."""
    m, a, b = variable("m"), variable("a"), variable("b")
    product = op("Add", op("Mul", op("Cast", m), a), op("Mul", op("Cast", op("Not", m)), b))
    found = find(either(op("Where", m, a, b), product), value)
    return None if found is None else Choice(found["m"], found["a"], found["b"])


def read_cell(steps: Steps) -> Cell | None:
    """Recognize the cell of a loop, or return None."""
    for hidden in steps.carried:
        new, mask = _unmasked(hidden)
        for read in (_lstm, _gru, _rnn):
            cell = read(steps, hidden, new, mask)
            if cell is not None:
                return cell
    return None


def _unmasked(carried: Carried) -> tuple[ir.Value, ir.Value | None]:
    """What a state becomes where the step counts, and the mask that says so."""
    choice = read_choice(carried.leaving)
    if choice is None or choice.old is not carried.entering:
        return carried.leaving, None
    return choice.new, choice.mask


def _activated(name: str) -> Pattern:
    """An activation of something: the activation's own value under `name`."""
    return either(*(op(kind, variable(f"{name} of"), name=name) for kind in _ACTIVATIONS))


def _kinds(*values: ir.Value) -> tuple[str, ...]:
    """The operators that compute some values."""
    producers = [value.producer() for value in values]
    return tuple(node.op_type for node in producers if node is not None)


def _lstm(steps: Steps, hidden: Carried, new: ir.Value, mask: ir.Value | None) -> Cell | None:
    for order in (("o", "h"), ("h", "o")):  # both are activations of something
        outer = find(op("Mul", *map(_activated, order)), new)
        if outer is None:
            return None
        for memory in steps.carried:
            state, same = _unmasked(memory)
            if outer["h of"] is not state or same is not mask:
                continue
            c = memory.entering
            inner = _memory(outer["h of"], c)
            if inner is None:
                continue
            values = [inner["i of"], outer["o of"], inner["f of"], inner["g of"]]
            gates = _gates([read_linear(steps, value) for value in values], hidden.entering)
            kinds = _kinds(inner["i"], inner["g"], outer["h"])
            if gates is None or _kinds(outer["o"], inner["f"]) != (kinds[0], kinds[0]):
                return None
            return Cell("LSTM", gates, kinds, new, hidden, memory, mask)
    return None


_MEMORY = op(
    "Add",
    op("Mul", _activated("f"), variable("c")),
    op("Mul", op("Sigmoid", variable("i of"), name="i"), _activated("g")),
)


def _memory(value: ir.Value, c: ir.Value) -> Bindings | None:
    """The parts of f c + i g."""
    found = find(_MEMORY, value)
    return found if found is not None and found["c"] is c else None


_Z, _N, _H = variable("z"), variable("n"), variable("h")
_GRU = op("Add", op("Mul", _Z, _H), op("Mul", op("Sub", number(1.0), _Z), _N))


def _gru(steps: Steps, hidden: Carried, new: ir.Value, mask: ir.Value | None) -> Cell | None:
    found = find(_GRU, new)
    if found is None or found["h"] is not hidden.entering:
        return None
    z, n = found["z"].producer(), found["n"].producer()
    if z is None or n is None or z.op_type not in _ACTIVATIONS or n.op_type not in _ACTIVATIONS:
        return None
    update, whole = read_linear(steps, z.inputs[0]), n.inputs[0]
    h = hidden.entering
    after = find(op("Add", variable("x"), op("Mul", _activated("r"), variable("state"))), whole)
    reset: Bindings | None = after
    if after is not None:
        parts = [read_linear(steps, after[name]) for name in ("x", "state")]
        candidate = None if parts[0] is None or parts[1] is None or parts[0].weights.keys() & {h} else parts
    else:
        candidate, reset = _reset_before(steps, whole, h)
    if candidate is None or reset is None or _kinds(reset["r"]) != (z.op_type,):
        return None
    gates = _gates([update, read_linear(steps, reset["r of"])], h, candidate)
    if gates is None:
        return None
    kinds = (z.op_type, n.op_type)
    return Cell("GRU", gates, kinds, new, hidden, None, mask, linear_before_reset=after is not None)


def _reset_before(
    steps: Steps, value: ir.Value | None, h: ir.Value
) -> tuple[list[Linear | None] | None, Bindings | None]:
    """x W + (r h) R + b as two sums, the second one of h, and where r comes from."""
    whole = read_linear(steps, value)
    if whole is None:
        return None, None
    for source, weight in whole.weights.items():
        found = find(op("Mul", _activated("r"), variable("h")), source)
        if found is not None and found["h"] is h:
            rest = {other: each for other, each in whole.weights.items() if other is not source}
            return [Linear(rest, whole.bias), Linear({h: weight}, np.zeros(()))], found
    return None, None


def _rnn(steps: Steps, hidden: Carried, new: ir.Value, mask: ir.Value | None) -> Cell | None:
    node = new.producer()
    if node is None or node.op_type not in _ACTIVATIONS:
        return None
    gates = _gates([read_linear(steps, node.inputs[0])], hidden.entering)
    return None if gates is None else Cell("RNN", gates, (node.op_type,), new, hidden, None, mask)


def _gates(whole: Sequence[Linear | None], h: ir.Value, apart: Sequence[Linear | None] = ()) -> Gates | None:
    """Stack gates: each a sum over x and h, the last one perhaps `apart` as one sum over x and one over h."""
    if None in whole or None in apart:
        return None
    pairs = [(gate, gate) for gate in whole if gate] + ([(apart[0], apart[1])] if len(apart) == 2 else [])
    sources = {source for gate, _ in pairs if gate for source in gate.weights} - {h}
    if len(sources) != 1:
        return None
    (x,) = sources
    w, r, from_x, from_h = [], [], [], []
    for gate, state in pairs:
        if gate is None or state is None or x not in gate.weights or h not in state.weights:
            return None
        if not state.weights.keys() <= {x, h} or (gate is not state and x in state.weights):
            return None
        w.append(gate.weights[x].T)  # [hidden, in]
        r.append(state.weights[h].T)  # [hidden, hidden]
        width = len(w[-1])
        from_x.append(np.broadcast_to(gate.bias, width))
        from_h.append(np.broadcast_to(state.bias if state is not gate else 0.0, width))
    dtype = w[0].dtype
    bias = np.concatenate([*from_x, *from_h]).astype(dtype)
    return Gates(x, np.concatenate(w)[None], np.concatenate(r)[None], bias[None])

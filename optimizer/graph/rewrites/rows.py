"""Products of rows in as many axes as their input has.

    Reshape(Gemm(Reshape(x, [-1, k]), W) + c, [..., n])  ->  MatMul(x, W) + c

Einsums of free lengths arrive so, with a target that the graph computes. Several products that share the rows
lose them one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.layout import Layout, chain_above, layout, own_moves
from optimizer.graph.match import array, constant_operand, is_standard
from optimizer.graph.rewriter import Builder, Rewrite, attributes_of, single_use
from optimizer.graph.rewrites.moves import put
from optimizer.graph.sizes import Size, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]


def _unfold_rows(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """A product over the last axis without the rows that it is flattened to."""
    layer, added = _gemm_above(node.inputs[0])
    if layer is None:
        return None
    parameters, chain = weight_and_bias(layer), chain_above(layer.inputs[0])
    found, sizes = layout(chain) if chain else None, shape(node.outputs[0])
    if parameters is None or found is None or not found.given or sizes is None:
        return None
    weight, bias = parameters  # [in, out], [out]
    rows = found.given[:-1] if found.given[-1] == found.sizes()[-1] else found.pieces(0)
    first = found.steps() if found.regroup((*rows, Size(weight.shape[0]))) else None
    result = Layout((*rows, Size(weight.shape[1])))
    last = result.steps() if result.regroup(sizes) else None
    source, own = chain[0].inputs[0], own_moves(chain)
    if first is None or last is None or source is None or len(rows) < 2:
        return None
    if len(first) + len(last) > own + 1:  # as many are well: rows that several products share go at last
        return None
    value = build("MatMul", put(first, source, build), build.constant(weight))
    for each in (bias, added):
        if each is not None:
            value = build("Add", value, build.constant(each))
    return [put(last, value, build)]


def _gemm_above(value: ir.Value | None) -> tuple[ir.Node | None, Array | None]:
    """The Gemm that a value is, and what is added to each of its rows."""
    node = value.producer() if value is not None else None
    added = None
    if value is not None and node is not None and is_standard(node, "Add") and single_use(value):
        place = constant_operand(node)
        added = None if place is None else array(node.inputs[place])
        value = None if place is None or added is None or added.ndim > 1 else node.inputs[1 - place]
        node = value.producer() if value is not None else None
    if value is None or node is None or not is_standard(node, "Gemm") or not single_use(value):
        return None, None
    return node, added


def weight_and_bias(layer: ir.Node) -> tuple[Array, Array | None] | None:
    """[in, out] and [out] or [1] of a Gemm or MatMul; None where they are computed or have factors."""
    attributes, weight = attributes_of(layer), array(layer.inputs[1])
    given = layer.inputs[2] if len(layer.inputs) > 2 else None
    bias = array(given)
    if weight is None or weight.dtype.kind != "f" or attributes.get("transA", 0):
        return None
    if (given is not None and bias is None) or attributes.get("alpha", 1.0) != 1:
        return None
    if bias is not None and attributes.get("beta", 1.0) != 1:
        return None
    weight = np.ascontiguousarray(weight.T if attributes.get("transB", 0) else weight)
    if bias is not None and (
        bias.size not in (1, weight.shape[1]) or bias.shape[-1:] not in ((), (bias.size,))
    ):
        return None  # a column of them, one a row
    return weight, None if bias is None else bias.reshape(-1)


UNFOLD_ROWS = Rewrite("unfold_rows", frozenset({"Reshape", "Squeeze", "Unsqueeze"}), _unfold_rows)
